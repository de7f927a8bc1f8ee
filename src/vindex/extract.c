/* Extracting a vindex: every layer's rows, panel by panel, into the files of the format. */
#include "vindex/extract.h"
#include "base/signals.h"
#include "vindex/experts.h"
#include "vindex/extract_index.h"
#include "vindex/extract_manifest.h"
#include "vindex/extract_norms.h"
#include "vindex/extract_plan.h"
#include "vindex/extract_report.h"
#include "vindex/inventory.h"

#include <stdio.h>

/** One extraction under way. */
typedef struct job {
    const wa_model *model;
    const wa_extract_options *options;
    wa_staging staging;
    wa_panel panel;
    wa_compliance scan;                     /* fp4 */
    wa_fp4_choice fp4[WA_PROJECTION_COUNT]; /* fp4 */
    wa_extract_plan plan;
    wa_outfile files[WA_EXTRACT_FILES_MAX];
    /* open ones; one by layer is open while its layer is written, and has no descriptor between */
    size_t file_count;
    wa_extract_sum *sums; /* of the files that are done, in the order in which they were */
    size_t sum_count, sum_room;
    size_t passes;     /* over the model's matrices */
    size_t steps_done; /* matrices passed */
} job;

static size_t count_matrices(const job *j)
{
    size_t count = 0;
    for (size_t l = 0; l < j->model->layer_count; l++)
        count += WA_PROJECTION_COUNT * wa_extract_entries(j->model, j->options, l);
    return count;
}

/* A matrix is done. Whoever hears signals wants an unfinished vindex to be removed. */
static wa_status step(job *j, wa_error *err)
{
    size_t steps = j->passes * count_matrices(j);
    wa_model_forget(j->model);
    j->steps_done++;
    if (j->options->progress != NULL)
        j->options->progress(j->options->progress_context, j->steps_done, steps);
    int heard = wa_signals_heard();
    if (heard != 0)
        return wa_fail(err, WA_E_NO_PROGRESS,
                       "stopped by %s after %zu of %zu steps: nothing is kept",
                       wa_signal_name(heard), j->steps_done, steps);
    return WA_OK;
}

/* f16 by LARQL's converter, which has been the same at all times. */
static bool writes_larql(const job *j)
{
    return j->options->compat != WA_EXTRACT_COMPAT_NONE;
}

/* One panel of rows to each file that takes them. */
static wa_status write_panel(job *j, wa_projection projection, bool by_hidden, size_t rows,
                             size_t cols, wa_error *err)
{
    for (size_t f = 0; f < j->file_count; f++) {
        const wa_extract_part *part = wa_extract_part_of(&j->plan.files[f], projection, by_hidden);
        wa_bytes bytes;
        if (part == NULL)
            continue;
        WA_TRY(
            wa_panel_encode(&j->panel, rows, cols, part->encoding, writes_larql(j), &bytes, err));
        WA_TRY(wa_outfile_append(&j->files[f], bytes, err));
    }
    return WA_OK;
}

/* Rows of zeros after `rows` features, to a multiple of 256, in the files that want them. */
static wa_status pad_features(job *j, wa_projection projection, size_t rows, size_t cols,
                              wa_error *err)
{
    size_t padded;
    if (!wa_pad256(rows, &padded))
        return wa_fail(err, WA_E_UNSUPPORTED, "%zu features cannot be padded to 256", rows);
    memset(j->panel.rows, 0, (padded - rows) * cols * sizeof *j->panel.rows);
    for (size_t f = 0; f < j->file_count; f++) {
        const wa_extract_part *part = wa_extract_part_of(&j->plan.files[f], projection, false);
        wa_bytes bytes;
        if (part == NULL || !j->plan.files[f].pad_features)
            continue;
        WA_TRY(wa_panel_encode(&j->panel, padded - rows, cols, part->encoding, writes_larql(j),
                               &bytes, err));
        WA_TRY(wa_outfile_append(&j->files[f], bytes, err));
    }
    return WA_OK;
}

static bool is_wanted(const job *j, wa_projection projection, bool by_hidden)
{
    for (size_t f = 0; f < j->file_count; f++)
        if (wa_extract_part_of(&j->plan.files[f], projection, by_hidden) != NULL)
            return true;
    return false;
}

static wa_status write_projection(job *j, const wa_matrix *matrix, wa_projection projection,
                                  bool by_hidden, wa_error *err)
{
    wa_panel_source source = {.matrix = matrix, .turned = projection == WA_DOWN && !by_hidden};
    size_t rows = wa_panel_source_rows(&source), cols = wa_panel_source_cols(&source);
    size_t most = wa_panel_rows(&j->panel, cols);
    if (!is_wanted(j, projection, by_hidden))
        return WA_OK;
    for (size_t first = 0; first < rows; first += most) {
        size_t count = rows - first < most ? rows - first : most;
        wa_panel_decode(&j->panel, &source, first, count);
        WA_TRY(write_panel(j, projection, by_hidden, count, cols, err));
    }
    return by_hidden ? WA_OK : pad_features(j, projection, rows, cols, err);
}

static wa_status add_sum(job *j, const char *name, const char hex[WA_SHA256_HEX], wa_error *err)
{
    WA_TRY(wa_arena_grow(j->staging.arena, &j->sums, j->sum_count, &j->sum_room, sizeof *j->sums,
                         err));
    wa_extract_sum *sum = &j->sums[j->sum_count++];
    sum->name = name;
    memcpy(sum->hex, hex, WA_SHA256_HEX);
    return WA_OK;
}

static wa_status finish_file(job *j, size_t f, wa_error *err)
{
    WA_TRY(wa_outfile_finish(&j->files[f], err));
    return add_sum(j, j->files[f].name, j->files[f].hex, err);
}

/* The layer's own file, up to where its matrices begin. */
static wa_status begin_layer_file(job *j, size_t f, size_t l, size_t entries, wa_error *err)
{
    char *name;
    wa_bytes header;
    wa_arena *arena = j->staging.arena;
    WA_TRY(wa_arena_print(arena, &name, err, "layers/layer_%02zu.weights", l));
    WA_TRY(wa_outfile_open(&j->staging, name, &j->files[f], err));
    wa_mark mark = wa_arena_mark(arena);
    WA_TRY(wa_layer_file_header(j->plan.files[f].parts[0].encoding.format, entries,
                                wa_extract_matrix(j->model, l, WA_UP)->rows, j->model->hidden,
                                arena, &header, err));
    WA_TRY(wa_outfile_append(&j->files[f], header, err));
    wa_arena_release(arena, mark);
    return WA_OK;
}

static wa_status write_entry(job *j, size_t l, size_t entry, wa_error *err)
{
    const wa_expert ffn = wa_extract_entry(j->model, l, entry);
    for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
        wa_projection projection = (wa_projection)p;
        const wa_matrix *matrix = wa_expert_matrix(&ffn, projection);
        if (write_projection(j, matrix, projection, false, err) != WA_OK ||
            write_projection(j, matrix, projection, true, err) != WA_OK)
            return j->model->layers[l].experts == NULL
                       ? wa_note(err, "%s of layer %zu", wa_projection_name(projection), l)
                       : wa_note(err, "%s of layer %zu, expert %zu", wa_projection_name(projection),
                                 l, entry);
        WA_TRY(step(j, err));
    }
    return WA_OK;
}

static wa_status write_layer(job *j, size_t l, wa_error *err)
{
    size_t entries = wa_extract_entries(j->model, j->options, l);
    for (size_t f = 0; f < j->file_count && entries > 0; f++)
        if (j->plan.files[f].by_layer)
            WA_TRY(begin_layer_file(j, f, l, entries, err));
    for (size_t e = 0; e < entries; e++)
        WA_TRY(write_entry(j, l, e, err));
    for (size_t f = 0; f < j->file_count && entries > 0; f++)
        if (j->plan.files[f].by_layer)
            WA_TRY(finish_file(j, f, err));
    return WA_OK;
}

static wa_status write_norms(job *j, wa_error *err)
{
    wa_extract_sum sum;
    if (!wa_extract_has_experts(j->model))
        return WA_OK;
    WA_TRY(wa_extract_write_norms(j->model, &j->staging, &sum, err));
    return add_sum(j, sum.name, sum.hex, err);
}

static wa_status write_payloads(job *j, wa_error *err)
{
    for (size_t f = 0; f < j->plan.file_count; f++) {
        const wa_extract_file *file = &j->plan.files[f];
        j->files[f] = (wa_outfile){.fd = -1};
        if (file->by_layer)
            WA_TRY(wa_staging_folder(&j->staging, file->name, err));
        else
            WA_TRY(wa_outfile_open(&j->staging, file->name, &j->files[f], err));
        j->file_count++;
    }
    for (size_t l = 0; l < j->model->layer_count; l++)
        WA_TRY(write_layer(j, l, err));
    for (size_t f = 0; f < j->file_count; f++)
        if (!j->plan.files[f].by_layer)
            WA_TRY(finish_file(j, f, err));
    WA_TRY(write_norms(j, err));
    for (size_t f = 0; f < j->file_count; f++)
        if (j->plan.files[f].manifest != NULL)
            WA_TRY(wa_extract_write_manifest(j->model, &j->plan.files[f], &j->staging, err));
    return WA_OK;
}

/* The tokenizer beside the weights: in the model directory, or in the directory of the GGUF file.
 */
static wa_status find_tokenizer(const wa_model *model, wa_arena *arena, char **out, wa_error *err)
{
    if (wa_dir_exists(model->path))
        return wa_arena_print(arena, out, err, "%s/tokenizer.json", model->path);
    const char *slash = strrchr(model->path, '/');
    if (slash == NULL)
        return wa_arena_copy(arena, "tokenizer.json", strlen("tokenizer.json"), out, err);
    return wa_arena_print(arena, out, err, "%.*s/tokenizer.json", (int)(slash - model->path),
                          model->path);
}

static wa_status copy_tokenizer(const job *j, wa_error *err)
{
    char *path;
    WA_TRY(find_tokenizer(j->model, j->staging.arena, &path, err));
    if (!wa_file_exists(path))
        return WA_OK;
    wa_map map;
    WA_TRY(wa_map_open(path, &map, err));
    wa_status status = wa_staging_write(&j->staging, "tokenizer.json", map.bytes, err);
    wa_map_close(&map);
    return status;
}

/* Of experts, all rows are FP4. */
static bool chooses_fp4(const job *j)
{
    return j->options->format == WA_EXTRACT_FP4 && !wa_extract_has_experts(j->model);
}

/* FP4 first looks at every row: whether a projection complies is known at its end only. */
static wa_status choose_fp4(job *j, wa_error *err)
{
    const wa_model *model = j->model;
    if (!chooses_fp4(j))
        return WA_OK;
    WA_TRY(wa_compliance_open(model->layer_count, model->intermediate, model->hidden,
                              j->staging.arena, &j->scan, err));
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        for (size_t l = 0; l < model->layer_count; l++) {
            wa_panel_source source = {.matrix = wa_extract_matrix(model, l, (wa_projection)p),
                                      .turned = p == WA_DOWN};
            wa_compliance_add(&j->scan, &j->panel, &source);
            WA_TRY(step(j, err));
        }
    wa_fp4_choose(j->options, wa_extract_gate_format(j->options), &j->scan, j->fp4);
    return WA_OK;
}

static wa_status write_report(const job *j, wa_error *err)
{
    uint64_t sizes[WA_PROJECTION_COUNT];
    if (!chooses_fp4(j))
        return WA_OK;
    for (size_t p = 0; p < WA_PROJECTION_COUNT; p++)
        sizes[p] = j->files[p].bytes; /* an fp4 plan has one file for each projection, in order */
    return wa_extract_write_report(j->model, j->options, j->fp4, &j->scan, sizes, &j->staging, err);
}

static wa_status write_index(const job *j, wa_error *err)
{
    json_t *object = chooses_fp4(j) ? wa_fp4_index_object(j->model, j->options, j->fp4) : NULL;
    return wa_extract_write_index(j->model, j->options, &j->plan, j->sums, j->sum_count, object,
                                  &j->staging, err);
}

/* The new vindex is opened as any reader would, before an old one goes. */
static wa_status check_written(const job *j, wa_error *err)
{
    wa_vindex *vindex;
    wa_arena *arena;
    WA_TRY(wa_arena_open("check", 0, &arena, err));
    wa_status status = wa_vindex_open(j->staging.temp_path, arena, &vindex, err);
    if (status == WA_OK)
        wa_vindex_close(vindex);
    wa_arena_close(arena);
    return status;
}

static wa_status fill_and_commit(job *j, wa_error *err)
{
    WA_TRY(choose_fp4(j, err));
    j->plan = wa_extract_plan_build(j->model, j->options, j->fp4);
    WA_TRY(write_payloads(j, err));
    WA_TRY(write_report(j, err));
    WA_TRY(copy_tokenizer(j, err));
    WA_TRY(write_index(j, err));
    WA_TRY(check_written(j, err));
    return wa_staging_commit(&j->staging, err);
}

/* An index.json alone makes no vindex: what is replaced is removed with all that it holds. */
static wa_status check_replaced(const char *path, const wa_extract_options *options,
                                wa_arena *arena, wa_error *err)
{
    const char *foreign;
    if (!options->force || !wa_dir_exists(path))
        return WA_OK;
    WA_TRY(wa_vindex_find_foreign(path, arena, &foreign, err));
    if (foreign == NULL)
        return WA_OK;
    return wa_fail(err, WA_E_USAGE, "'%s' holds '%s', which is part of no vindex: not replaced",
                   path, foreign);
}

static wa_status extract_in(wa_arena *arena, const wa_model *model, const char *out_path,
                            const wa_extract_options *options, wa_error *err)
{
    job j = {.model = model, .options = options};
    size_t widest = wa_model_widest_ffn(model);
    widest = widest > model->hidden ? widest : model->hidden;
    j.passes = chooses_fp4(&j) ? 2 : 1;
    WA_TRY(wa_extract_check(model, options, err));
    WA_TRY(wa_panel_open(widest, arena, &j.panel, err));
    WA_TRY(check_replaced(out_path, options, arena, err));
    WA_TRY(wa_staging_open(out_path, options->force, arena, &j.staging, err));
    wa_status status = fill_and_commit(&j, err);
    if (status == WA_OK)
        return WA_OK;
    for (size_t f = 0; f < j.file_count; f++)
        wa_outfile_abandon(&j.files[f]);
    wa_staging_abandon(&j.staging);
    return status;
}

wa_status wa_extract(const wa_model *model, const char *out_path, const wa_extract_options *options,
                     wa_error *err)
{
    wa_arena *arena;
    WA_TRY(wa_arena_open("extract", 0, &arena, err));
    wa_status status = extract_in(arena, model, out_path, options, err);
    wa_arena_close(arena);
    return status == WA_OK ? WA_OK : wa_note(err, "writing vindex '%s'", out_path);
}

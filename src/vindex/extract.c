/* Extracting a vindex: every layer's rows, panel by panel, into the files of the format. */
#include "walkaudit/extract.h"
#include "vindex/extract_index.h"
#include "vindex/panel.h"

#include <stdio.h>

static const char *const FORMAT_NAMES[] = {"f32", "f16", "interleaved"};
enum { FORMAT_COUNT = sizeof FORMAT_NAMES / sizeof FORMAT_NAMES[0], FILES_MAX = 3 };

/* A file of a format: which projections it takes, and how. Order of projections: gate, up, down. */
typedef struct output {
    wa_payload payload;
    wa_encoding encoding;
} output;

/* vindex-format 3: only the gate is ever f16 on disk; feature and interleaved files are f32 files.
 */
static const struct {
    size_t count;
    output files[FILES_MAX];
} FORMATS[FORMAT_COUNT] = {
    [WA_EXTRACT_F32] = {3,
                        {{WA_PAYLOAD_GATE, WA_ENCODE_F32},
                         {WA_PAYLOAD_UP_FEATURES, WA_ENCODE_F32},
                         {WA_PAYLOAD_DOWN_FEATURES, WA_ENCODE_F32}}},
    [WA_EXTRACT_F16] = {3,
                        {{WA_PAYLOAD_GATE, WA_ENCODE_F16},
                         {WA_PAYLOAD_UP_FEATURES, WA_ENCODE_F32_VIA_F16},
                         {WA_PAYLOAD_DOWN_FEATURES, WA_ENCODE_F32_VIA_F16}}},
    [WA_EXTRACT_INTERLEAVED] = {2,
                                {{WA_PAYLOAD_GATE, WA_ENCODE_F32},
                                 {WA_PAYLOAD_INTERLEAVED, WA_ENCODE_F32}}},
};

wa_status wa_extract_format_parse(const char *name, wa_extract_format *out, wa_error *err)
{
    for (int i = 0; i < FORMAT_COUNT; i++) {
        if (strcmp(name, FORMAT_NAMES[i]) == 0) {
            *out = (wa_extract_format)i;
            return WA_OK;
        }
    }
    return wa_fail(err, WA_E_USAGE, "unknown format '%s', expected f32, f16 or interleaved", name);
}

/** One extraction under way. */
typedef struct job {
    const wa_model *model;
    const wa_extract_options *options;
    wa_staging staging;
    wa_panel panel;
    wa_outfile files[FILES_MAX];
    size_t file_count; /* open ones */
} job;

static wa_status check_model(const wa_model *model, wa_error *err)
{
    if (!model->gated)
        return wa_fail(
            err, WA_E_UNSUPPORTED,
            "model '%s' (%s) has no gate projection: upstream's walk would compute the gated "
            "formula on it",
            model->path, model->family);
    for (size_t l = 0; l < model->layer_count; l++) {
        const wa_layer *layer = &model->layers[l];
        if (layer->gate.rows != model->intermediate || layer->up.rows != model->intermediate ||
            layer->down.cols != model->intermediate)
            return wa_fail(err, WA_E_UNSUPPORTED, "layer %zu has %zu features, the model %zu", l,
                           layer->gate.rows, model->intermediate);
    }
    return WA_OK;
}

/* One panel of one projection to each file that takes the projection. */
static wa_status write_panel(job *j, wa_projection projection, size_t rows, wa_error *err)
{
    for (size_t f = 0; f < j->file_count; f++) {
        const output *out = &FORMATS[j->options->format].files[f];
        wa_bytes bytes;
        if (!wa_payload_holds(out->payload, projection))
            continue;
        WA_TRY(wa_panel_encode(&j->panel, rows, out->encoding, j->options->larql, &bytes, err));
        WA_TRY(wa_outfile_append(&j->files[f], bytes, err));
    }
    return WA_OK;
}

static wa_status write_projection(job *j, const wa_matrix *matrix, wa_projection projection,
                                  wa_error *err)
{
    size_t features = j->model->intermediate;
    for (size_t first = 0; first < features; first += j->panel.rows_max) {
        size_t left = features - first;
        size_t rows = left < j->panel.rows_max ? left : j->panel.rows_max;
        wa_panel_decode(&j->panel, matrix, projection, first, rows);
        WA_TRY(write_panel(j, projection, rows, err));
    }
    return WA_OK;
}

static wa_status write_layer(job *j, size_t l, wa_error *err)
{
    const wa_layer *layer = &j->model->layers[l];
    const wa_matrix *matrices[WA_PROJECTION_COUNT] = {&layer->gate, &layer->up, &layer->down};
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        if (write_projection(j, matrices[p], (wa_projection)p, err) != WA_OK)
            return wa_note(err, "%s of layer %zu", wa_projection_name((wa_projection)p), l);
    if (j->options->progress != NULL)
        j->options->progress(j->options->progress_context, l + 1, j->model->layer_count);
    return WA_OK;
}

static wa_status write_payloads(job *j, wa_error *err)
{
    for (size_t f = 0; f < FORMATS[j->options->format].count; f++) {
        const char *name = wa_payload_file(FORMATS[j->options->format].files[f].payload);
        WA_TRY(wa_outfile_open(&j->staging, name, &j->files[f], err));
        j->file_count++;
    }
    for (size_t l = 0; l < j->model->layer_count; l++)
        WA_TRY(write_layer(j, l, err));
    for (size_t f = 0; f < j->file_count; f++)
        WA_TRY(wa_outfile_finish(&j->files[f], err));
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

static wa_status copy_map(const job *j, wa_bytes bytes, wa_error *err)
{
    wa_outfile file;
    WA_TRY(wa_outfile_open(&j->staging, "tokenizer.json", &file, err));
    wa_status status = wa_outfile_append(&file, bytes, err);
    if (status == WA_OK)
        return wa_outfile_finish(&file, err);
    wa_outfile_abandon(&file);
    return status;
}

static wa_status copy_tokenizer(const job *j, wa_error *err)
{
    char *path;
    WA_TRY(find_tokenizer(j->model, j->staging.arena, &path, err));
    if (!wa_file_exists(path))
        return WA_OK;
    wa_map map;
    WA_TRY(wa_map_open(path, &map, err));
    wa_status status = copy_map(j, map.bytes, err);
    wa_map_close(&map);
    return status;
}

static wa_status fill_and_commit(job *j, wa_error *err)
{
    WA_TRY(write_payloads(j, err));
    WA_TRY(copy_tokenizer(j, err));
    WA_TRY(wa_extract_write_index(j->model, j->options, j->files, j->file_count, &j->staging, err));
    return wa_staging_commit(&j->staging, err);
}

static wa_status extract_in(wa_arena *arena, const wa_model *model, const char *out_path,
                            const wa_extract_options *options, wa_error *err)
{
    job j = {.model = model, .options = options};
    WA_TRY(check_model(model, err));
    WA_TRY(wa_panel_open(model->hidden, arena, &j.panel, err));
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

/* The result file before the measured fields: attributes, scales, strings, empty datasets. Serial,
 * rank 0. */
#include "store/assemble.h"

#include "base/utf8.h"
#include "path/external.h"

#include <hdf5.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

wa_extents wa_assembly_extents(const wa_result_meta *meta)
{
    return (wa_extents){.dims = meta->dims, .offers = meta->not_offered_count};
}

static wa_status write_text(wa_hid file, const char *name, const char *text, wa_arena *arena,
                            wa_error *err)
{
    const char *clean;
    WA_TRY(wa_text_escape(text == NULL ? "" : text, arena, &clean, err));
    return wa_attribute_write_text(file, name, clean, err);
}

static wa_status write_fingerprint(wa_hid file, const wa_result_meta *meta, wa_arena *arena,
                                   wa_error *err)
{
    const char **keys, **values;
    WA_TRY(wa_arena_take(arena, meta->fingerprint_count, sizeof *keys, &keys, err));
    WA_TRY(wa_arena_take(arena, meta->fingerprint_count, sizeof *values, &values, err));
    for (size_t i = 0; i < meta->fingerprint_count; i++) {
        WA_TRY(wa_text_escape(meta->fingerprint[i].key, arena, &keys[i], err));
        WA_TRY(wa_text_escape(meta->fingerprint[i].value, arena, &values[i], err));
    }
    WA_TRY(wa_attribute_write_texts(file, "fingerprint_keys", keys, meta->fingerprint_count, err));
    return wa_attribute_write_texts(file, "fingerprint_values", values, meta->fingerprint_count,
                                    err);
}

static wa_status write_root(wa_hid file, const wa_result_meta *meta, wa_arena *arena, wa_error *err)
{
    const struct {
        const char *name, *text;
    } texts[] = {{"Conventions", "CF-1.10"},
                 {"title", meta->title},
                 {"source", meta->source == NULL ? "walkaudit" : meta->source},
                 {"job_name", meta->job_name},
                 {"audit_name", meta->audit_name},
                 {"job_text", meta->job_text},
                 {"model_path", meta->model_path},
                 {"model_family", meta->model_family},
                 {"semantics", meta->semantics},
                 {"bounds_name", meta->bounds_name},
                 {"kernel_check", meta->kernel_check == NULL ? "none" : meta->kernel_check},
                 {"warnings", meta->warnings},
                 {"reference_dump", meta->reference_dump},
                 {"source_format_gate", meta->source_format[WA_GATE]},
                 {"source_format_up", meta->source_format[WA_UP]},
                 {"source_format_down", meta->source_format[WA_DOWN]}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        WA_TRY(write_text(file, texts[i].name, texts[i].text, arena, err));
    for (size_t i = 0; i < meta->understood_count; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "model_%s", meta->understood[i].name);
        WA_TRY(write_text(file, name, meta->understood[i].text, arena, err));
    }
    WA_TRY(wa_attribute_write_i64(file, "requantised", meta->requantised, err));
    WA_TRY(wa_attribute_write_i64(file, "unread_tensors", (int64_t)meta->unread_tensors, err));
    return write_fingerprint(file, meta, arena, err);
}

/* --- Scales --- */

static wa_status write_scale(wa_hid file, const wa_layout *row, const wa_extents *x,
                             wa_arena *arena, wa_error *err)
{
    size_t count = wa_layout_extent(x, row->axes[0]);
    int32_t *wide;
    int8_t *narrow;
    if (count > INT32_MAX)
        return wa_fail(err, WA_E_UNSUPPORTED, "axis '%s' has %zu entries, at most %d fit",
                       row->name, count, INT32_MAX);
    WA_TRY(wa_arena_take(arena, count, sizeof *wide, &wide, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *narrow, &narrow, err));
    for (size_t i = 0; i < count; i++) {
        wide[i] = (int32_t)i;
        narrow[i] = (int8_t)i; /* of words: payloads and projections are few */
    }
    return wa_dataset_add(file, row->name, x,
                          row->type == WA_LAYOUT_I8 ? (const void *)narrow : wide, err);
}

static wa_status write_scales(wa_hid file, const wa_extents *x, wa_arena *arena, wa_error *err)
{
    for (size_t i = 0; i < wa_layout_count(); i++) {
        wa_mark mark = wa_arena_mark(arena);
        if (wa_layout_exists(wa_layout_at(i), x) && wa_layout_at(i)->origin == WA_ORIGIN_SCALE)
            WA_TRY(write_scale(file, wa_layout_at(i), x, arena, err));
        wa_arena_release(arena, mark);
    }
    return WA_OK;
}

/* --- What is known beforehand --- */

static wa_status add_texts(wa_hid file, const char *name, const wa_extents *x,
                           const char *const *texts, size_t count, wa_arena *arena, wa_error *err)
{
    const char **clean;
    WA_TRY(wa_arena_take(arena, count, sizeof *clean, &clean, err));
    for (size_t i = 0; i < count; i++)
        WA_TRY(wa_text_escape(texts[i] == NULL ? "" : texts[i], arena, &clean[i], err));
    return wa_dataset_add(file, name, x, clean, err);
}

/* [vindexes, payloads]; NULL = all empty. */
static wa_status add_payload_texts(wa_hid file, const char *name, const wa_extents *x,
                                   const char *const *texts, wa_arena *arena, wa_error *err)
{
    const char **none;
    size_t count = x->dims.vindexes * WA_PAYLOAD_COUNT;
    WA_TRY(wa_arena_take(arena, count, sizeof *none, &none, err));
    return add_texts(file, name, x, texts == NULL ? none : texts, count, arena, err);
}

static wa_status add_due(wa_hid file, const char *name, const wa_extents *x, const int64_t *due,
                         wa_arena *arena, wa_error *err)
{
    int64_t *none;
    WA_TRY(wa_arena_take(arena, x->dims.cases, sizeof *none, &none, err));
    return wa_dataset_add(file, name, x, due == NULL ? none : due, err);
}

/* What external kernels claim to compute, and how near they must come. */
static wa_status add_likes(wa_hid file, const wa_result_meta *meta, const wa_extents *x,
                           wa_arena *arena, wa_error *err)
{
    size_t count = meta->dims.cases;
    const char **like;
    double *tolerance;
    WA_TRY(wa_arena_take(arena, count, sizeof *like, &like, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *tolerance, &tolerance, err));
    for (size_t c = 0; c < count; c++) {
        const wa_case *which = &meta->cases[c];
        like[c] = which->like == NULL ? "" : which->like->name;
        tolerance[c] = which->kernel_tolerance > 0.0 ? which->kernel_tolerance : NAN;
    }
    WA_TRY(add_texts(file, "case_like", x, like, count, arena, err));
    return wa_dataset_add(file, "case_kernel_tolerance", x, tolerance, err);
}

static wa_status write_cases(wa_hid file, const wa_result_meta *meta, const wa_extents *x,
                             wa_arena *arena, wa_error *err)
{
    size_t count = meta->dims.cases;
    const char **name, **kernel, **route, **not_run, **served;
    int32_t *vindex, *k, *k_all_layers;
    int8_t *path, *bucket, *payload, *own_stream;
    WA_TRY(wa_arena_take(arena, count, sizeof *name, &name, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *kernel, &kernel, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *route, &route, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *not_run, &not_run, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *served, &served, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *vindex, &vindex, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *k, &k, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *k_all_layers, &k_all_layers, err));
    WA_TRY(wa_arena_take(arena, count, 1, &path, err));
    WA_TRY(wa_arena_take(arena, count, 1, &bucket, err));
    WA_TRY(wa_arena_take(arena, count, 1, &own_stream, err));
    WA_TRY(wa_arena_take(arena, count * WA_PROJECTION_COUNT, 1, &payload, err));
    for (size_t c = 0; c < count; c++) {
        const wa_case *which = &meta->cases[c];
        name[c] = which->name;
        kernel[c] = which->external != NULL ? which->external->label : wa_label_text(which->kernel);
        route[c] = which->route;
        not_run[c] = which->not_run;
        served[c] = which->external == NULL ? NULL : which->external->facts;
        vindex[c] = which->vindex;
        k[c] = which->k;
        k_all_layers[c] = (int32_t)which->k_all_layers;
        path[c] = (int8_t)which->path;
        bucket[c] = (int8_t)which->bucket;
        own_stream[c] = !which->isolated;
        for (size_t p = 0; p < WA_PROJECTION_COUNT; p++)
            payload[c * WA_PROJECTION_COUNT + p] =
                which->source[p].from_model ? -1 : (int8_t)which->source[p].payload;
    }
    WA_TRY(add_texts(file, "case_name", x, name, count, arena, err));
    WA_TRY(wa_dataset_add(file, "case_vindex", x, vindex, err));
    WA_TRY(wa_dataset_add(file, "case_path", x, path, err));
    WA_TRY(wa_dataset_add(file, "case_k", x, k, err));
    WA_TRY(wa_dataset_add(file, "case_k_all_layers", x, k_all_layers, err));
    WA_TRY(wa_dataset_add(file, "case_bucket", x, bucket, err));
    WA_TRY(add_texts(file, "case_not_run", x, not_run, count, arena, err));
    WA_TRY(wa_dataset_add(file, "case_own_stream", x, own_stream, err));
    WA_TRY(add_texts(file, "case_kernel", x, kernel, count, arena, err));
    WA_TRY(add_texts(file, "case_route", x, route, count, arena, err));
    WA_TRY(wa_dataset_add(file, "case_payload", x, payload, err));
    WA_TRY(add_likes(file, meta, x, arena, err));
    WA_TRY(add_texts(file, "case_served", x, served, count, arena, err));
    WA_TRY(add_due(file, "case_kernel_due", x, meta->kernel_due, arena, err));
    WA_TRY(add_due(file, "case_kernel_own_due", x, meta->kernel_own_due, arena, err));
    return wa_dataset_add(file, "expected_label", x, meta->expected_label, err);
}

static wa_status write_prompts(wa_hid file, const wa_result_meta *meta, const wa_extents *x,
                               wa_arena *arena, wa_error *err)
{
    WA_TRY(add_texts(file, "prompt_key", x, meta->prompt_key, meta->dims.prompts, arena, err));
    WA_TRY(add_texts(file, "prompt_text", x, meta->prompt_text, meta->dims.prompts, arena, err));
    WA_TRY(wa_dataset_add(file, "prompt_rows", x, meta->prompt_rows, err));
    WA_TRY(wa_dataset_add(file, "obs_prompt", x, meta->obs_prompt, err));
    WA_TRY(wa_dataset_add(file, "obs_position", x, meta->obs_position, err));
    WA_TRY(wa_dataset_add(file, "token_id", x, meta->token_id, err));
    return add_texts(file, "token_text", x, meta->token_text, meta->dims.rows, arena, err);
}

/* The path's code in the file; not_offered names a path by any of its words. */
static wa_status path_code(const char *name, int8_t *out, wa_error *err)
{
    wa_path path;
    if (!wa_path_parse(name, &path))
        return wa_fail(err, WA_E_INTERNAL, "not_offered names the unknown path '%s'", name);
    *out = (int8_t)path;
    return WA_OK;
}

static wa_status write_offers(wa_hid file, const wa_result_meta *meta, const wa_extents *x,
                              wa_arena *arena, wa_error *err)
{
    const char **line;
    int32_t *vindex;
    int8_t *path;
    WA_TRY(wa_arena_take(arena, x->offers, sizeof *line, &line, err));
    WA_TRY(wa_arena_take(arena, x->offers, sizeof *vindex, &vindex, err));
    WA_TRY(wa_arena_take(arena, x->offers, sizeof *path, &path, err));
    for (size_t i = 0; i < x->offers; i++) {
        const wa_not_offered *offer = &meta->not_offered[i];
        char *text;
        WA_TRY(wa_arena_print(arena, &text, err, "%s:%s: %s", meta->vindex_name[offer->vindex],
                              offer->path, offer->reason));
        line[i] = text;
        vindex[i] = offer->vindex;
        WA_TRY(path_code(offer->path, &path[i], err));
    }
    WA_TRY(add_texts(file, "not_offered", x, line, x->offers, arena, err));
    WA_TRY(wa_dataset_add(file, "not_offered_vindex", x, vindex, err));
    return wa_dataset_add(file, "not_offered_path", x, path, err);
}

static wa_status add_layer_experts(wa_hid file, const wa_result_meta *meta, const wa_extents *x,
                                   wa_arena *arena, wa_error *err)
{
    int32_t *none;
    WA_TRY(wa_arena_take(arena, x->dims.layers, sizeof *none, &none, err));
    return wa_dataset_add(file, "layer_experts", x,
                          meta->layer_experts == NULL ? none : meta->layer_experts, err);
}

static wa_status write_meta(wa_hid file, const wa_result_meta *meta, const wa_extents *x,
                            wa_arena *arena, wa_error *err)
{
    WA_TRY(write_cases(file, meta, x, arena, err));
    WA_TRY(add_texts(file, "vindex_name", x, meta->vindex_name, meta->dims.vindexes, arena, err));
    WA_TRY(add_texts(file, "vindex_path", x, meta->vindex_path, meta->dims.vindexes, arena, err));
    WA_TRY(add_texts(file, "vindex_files", x, meta->vindex_files, meta->dims.vindexes, arena, err));
    WA_TRY(add_texts(file, "vindex_lack", x, meta->vindex_lack, meta->dims.vindexes, arena, err));
    WA_TRY(wa_dataset_add(file, "vindex_left_out", x, meta->vindex_left_out, err));
    WA_TRY(add_payload_texts(file, "payload_file", x, meta->payload_file, arena, err));
    WA_TRY(add_payload_texts(file, "payload_order", x, meta->payload_order, arena, err));
    WA_TRY(write_prompts(file, meta, x, arena, err));
    WA_TRY(wa_dataset_add(file, "row_err_nominal", x, meta->nominal_bound, err));
    if (x->dims.choices > 0)
        WA_TRY(add_layer_experts(file, meta, x, arena, err));
    return write_offers(file, meta, x, arena, err);
}

static wa_status create_streams(wa_hid file, const wa_extents *x, wa_error *err)
{
    for (size_t i = 0; i < wa_layout_count(); i++) {
        const wa_layout *row = wa_layout_at(i);
        if (row->origin == WA_ORIGIN_MEASURED && wa_layout_is_stream(row) &&
            wa_layout_exists(row, x))
            WA_TRY(wa_dataset_create(file, row, x, err));
    }
    return WA_OK;
}

wa_status wa_assembly_begin(const char *temporary, const wa_result_meta *meta, wa_arena *arena,
                            wa_error *err)
{
    wa_extents x = wa_assembly_extents(meta);
    wa_hid file;
    WA_TRY(wa_hdf5_create(temporary, &file, err));
    wa_status status = write_root(file, meta, arena, err);
    if (status == WA_OK)
        status = write_scales(file, &x, arena, err);
    if (status == WA_OK)
        status = write_meta(file, meta, &x, arena, err);
    if (status == WA_OK)
        status = create_streams(file, &x, err);
    return wa_hdf5_close(file, status, err);
}

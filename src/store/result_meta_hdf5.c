/* Reading back what a result says besides measured fields. */
#include "store/result.h"
#include "store/seal.h"

#include <hdf5.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

wa_status wa_result_extents(wa_hid file, wa_extents *out, wa_error *err)
{
    wa_extents x = {.offers = 0};
    struct {
        const char *scale;
        size_t *extent;
    } axes[] = {{"case", &x.dims.cases}, {"layer", &x.dims.layers},
                {"obs", &x.dims.rows},   {"prompt", &x.dims.prompts},
                {"slot", &x.dims.slots}, {"vindex", &x.dims.vindexes},
                {"offer", &x.offers}};
    for (size_t i = 0; i < sizeof axes / sizeof axes[0]; i++)
        WA_TRY(wa_dataset_length(file, axes[i].scale, axes[i].extent, err));
    if (H5Lexists(file, "choice", H5P_DEFAULT) > 0) /* models with experts */
        WA_TRY(wa_dataset_length(file, "choice", &x.dims.choices, err));
    if (x.dims.choices > 0)
        WA_TRY(wa_dataset_length(file, "expert", &x.dims.experts, err));
    x.dims.logits_all = H5Lexists(file, wa_field_get(WA_FIELD_obs_kl)->name, H5P_DEFAULT) > 0;
    *out = x;
    return WA_OK;
}

/* WA_E_FORMAT unless the file is a complete result of this layout version. */
static wa_status check_version(wa_hid file, wa_error *err)
{
    int64_t version;
    if (H5Aexists(file, "walkaudit_format") <= 0) {
        H5Eclear2(H5E_DEFAULT);
        return wa_fail(err, WA_E_FORMAT,
                       "HDF5, but not a result of walkaudit: no attribute 'walkaudit_format'");
    }
    WA_TRY(wa_attribute_read_i64(file, "walkaudit_format", &version, err));
    return wa_layout_check_version("result", version, err);
}

/* What has no seal may be a result of another version, which is told as such. */
static wa_status check_opened(wa_hid file, bool sealed, wa_error *err)
{
    WA_TRY(check_version(file, err));
    if (!sealed)
        return wa_fail(
            err, WA_E_FORMAT,
            "no digest at its end: damaged, changed by another program, or not finished");
    return WA_OK;
}

wa_status wa_result_file_open(const char *path, wa_hid *out, wa_error *err)
{
    bool sealed;
    wa_hid file;
    WA_TRY(wa_seal_check(path, &sealed, err));
    WA_TRY(wa_hdf5_open(path, false, &file, err));
    wa_status status = check_opened(file, sealed, err);
    if (status == WA_OK) {
        *out = file;
        return WA_OK;
    }
    wa_note(err, "in file '%s'", path);
    return wa_hdf5_close(file, status, err);
}

wa_status wa_result_fingerprint(wa_hid file, wa_arena *arena, const wa_fingerprint_item **out,
                                size_t *count, wa_error *err)
{
    const char *const *keys, *const *values;
    size_t key_count = 0, value_count = 0;
    WA_TRY(wa_attribute_read_texts(file, "fingerprint_keys", arena, &keys, &key_count, err));
    WA_TRY(wa_attribute_read_texts(file, "fingerprint_values", arena, &values, &value_count, err));
    if (key_count != value_count)
        return wa_fail(err, WA_E_FORMAT, "%zu fingerprint keys for %zu values", key_count,
                       value_count);
    wa_fingerprint_item *items;
    WA_TRY(wa_arena_take(arena, key_count, sizeof *items, &items, err));
    for (size_t i = 0; i < key_count; i++)
        items[i] = (wa_fingerprint_item){.key = keys[i], .value = values[i]};
    *out = items;
    *count = key_count;
    return WA_OK;
}

static wa_status load_attributes(wa_hid file, wa_arena *arena, wa_result_meta *meta, wa_error *err)
{
    const struct {
        const char *name, **out;
    } texts[] = {{"title", &meta->title},
                 {"source", &meta->source},
                 {"job_name", &meta->job_name},
                 {"audit_name", &meta->audit_name},
                 {"job_text", &meta->job_text},
                 {"model_path", &meta->model_path},
                 {"model_family", &meta->model_family},
                 {"semantics", &meta->semantics},
                 {"bounds_name", &meta->bounds_name},
                 {"kernel_check", &meta->kernel_check},
                 {"warnings", &meta->warnings},
                 {"reference_dump", &meta->reference_dump},
                 {"source_format_gate", &meta->source_format[WA_GATE]},
                 {"source_format_up", &meta->source_format[WA_UP]},
                 {"source_format_down", &meta->source_format[WA_DOWN]}};
    int64_t requantised, unread;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        WA_TRY(wa_attribute_read_text(file, texts[i].name, arena, texts[i].out, err));
    WA_TRY(wa_attribute_read_i64(file, "requantised", &requantised, err));
    meta->requantised = requantised != 0;
    WA_TRY(wa_attribute_read_i64(file, "unread_tensors", &unread, err));
    meta->unread_tensors = (size_t)unread;
    return wa_result_fingerprint(file, arena, &meta->fingerprint, &meta->fingerprint_count, err);
}

wa_status wa_result_check_codes(const char *name, const int8_t *values, size_t count, int least,
                                int limit, wa_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (values[i] < least || values[i] >= limit)
            return wa_fail(err, WA_E_FORMAT, "dataset '%s': found %d at %zu, expected %d to %d",
                           name, values[i], i, least, limit - 1);
    return WA_OK;
}

static wa_status check_range_i32(const char *name, const int32_t *values, size_t count,
                                 int64_t least, size_t limit, wa_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (values[i] < least || (values[i] >= 0 && (size_t)values[i] >= limit))
            return wa_fail(err, WA_E_FORMAT,
                           "dataset '%s': found %d at %zu, expected %lld to %zu - 1", name,
                           values[i], i, (long long)least, limit);
    return WA_OK;
}

static void fill_case(wa_case *out, int8_t path, int8_t bucket, const int8_t *payload)
{
    out->path = (wa_path)path;
    out->bucket = (wa_bucket)bucket;
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        out->source[p] = payload[p] < 0 ? (wa_source){.from_model = true}
                                        : (wa_source){.payload = (wa_payload)payload[p]};
}

/* Of what an external kernel is like, a file keeps the name. */
static wa_status take_like(const char *name, wa_arena *arena, const wa_case **out, wa_error *err)
{
    wa_case *like;
    if (name[0] == '\0')
        return WA_OK;
    WA_TRY(wa_arena_take(arena, 1, sizeof *like, &like, err));
    like->name = name;
    *out = like;
    return WA_OK;
}

static wa_status load_cases(wa_hid file, const wa_extents *x, wa_arena *arena, wa_result_meta *meta,
                            wa_error *err)
{
    size_t count = x->dims.cases;
    const char *const *name, *const *not_run, *const *like;
    const int32_t *vindex, *k, *k_all_layers;
    const int8_t *path, *bucket, *payload, *own_stream;
    const double *tolerance;
    wa_case *cases;
    WA_TRY(wa_dataset_load(file, "case_name", x, arena, &name, err));
    WA_TRY(wa_dataset_load(file, "case_not_run", x, arena, &not_run, err));
    WA_TRY(wa_dataset_load(file, "case_vindex", x, arena, &vindex, err));
    WA_TRY(wa_dataset_load(file, "case_k", x, arena, &k, err));
    WA_TRY(wa_dataset_load(file, "case_k_all_layers", x, arena, &k_all_layers, err));
    WA_TRY(wa_dataset_load(file, "case_path", x, arena, &path, err));
    WA_TRY(wa_dataset_load(file, "case_bucket", x, arena, &bucket, err));
    WA_TRY(wa_dataset_load(file, "case_payload", x, arena, &payload, err));
    WA_TRY(wa_dataset_load(file, "case_own_stream", x, arena, &own_stream, err));
    WA_TRY(wa_dataset_load(file, "case_like", x, arena, &like, err));
    WA_TRY(wa_dataset_load(file, "case_kernel_tolerance", x, arena, &tolerance, err));
    WA_TRY(wa_dataset_load(file, "case_kernel_due", x, arena, &meta->kernel_due, err));
    WA_TRY(wa_dataset_load(file, "case_kernel_own_due", x, arena, &meta->kernel_own_due, err));
    WA_TRY(wa_dataset_load(file, "expected_label", x, arena, &meta->expected_label, err));
    WA_TRY(check_range_i32("case_vindex", vindex, count, -1, x->dims.vindexes, err));
    WA_TRY(check_range_i32("case_k_all_layers", k_all_layers, count, 0, x->dims.layers + 1, err));
    WA_TRY(wa_result_check_codes("case_path", path, count, 0, WA_PATH_COUNT, err));
    WA_TRY(wa_result_check_codes("case_payload", payload, count * WA_PROJECTION_COUNT, -1,
                                 WA_PAYLOAD_COUNT, err));
    WA_TRY(wa_result_check_codes("case_bucket", bucket, count, 0, WA_BUCKET_COUNT, err));
    WA_TRY(wa_result_check_codes("expected_label", meta->expected_label, count * x->dims.layers, 0,
                                 WA_LABEL_COUNT, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *cases, &cases, err));
    for (size_t c = 0; c < count; c++) {
        cases[c] = (wa_case){.name = name[c],
                             .vindex = vindex[c],
                             .k = k[c],
                             .k_all_layers = (size_t)k_all_layers[c],
                             .kernel_tolerance = tolerance[c] > 0.0 ? tolerance[c] : 0.0,
                             .isolated = own_stream[c] == 0,
                             .not_run = not_run[c][0] == '\0' ? NULL : not_run[c]};
        WA_TRY(take_like(like[c], arena, &cases[c].like, err));
        fill_case(&cases[c], path[c], bucket[c], payload + c * WA_PROJECTION_COUNT);
        if (x->dims.layers > 0)
            cases[c].expected_label = (wa_label)meta->expected_label[c * x->dims.layers];
    }
    meta->cases = cases;
    return WA_OK;
}

/* "VINDEX:PATH: REASON" is for people: the word by which the path was asked for, and the reason. A
 * line of another form is all reason. */
static wa_status split_offer(const char *line, const char *vindex, wa_path path, wa_arena *arena,
                             wa_not_offered *out, wa_error *err)
{
    size_t front = strlen(vindex) + 1;
    out->path = wa_path_name(path);
    out->reason = line;
    if (strlen(line) < front || strncmp(line, vindex, front - 1) != 0 || line[front - 1] != ':')
        return WA_OK;
    const char *end = strstr(line + front, ": ");
    if (end == NULL)
        return WA_OK;
    char *word;
    wa_path found;
    WA_TRY(wa_arena_print(arena, &word, err, "%.*s", (int)(end - line - (ptrdiff_t)front),
                          line + front));
    if (!wa_path_parse(word, &found) || found != path)
        return WA_OK;
    out->path = word;
    out->reason = end + 2;
    return WA_OK;
}

static wa_status load_offers(wa_hid file, const wa_extents *x, wa_arena *arena,
                             wa_result_meta *meta, wa_error *err)
{
    const char *const *line;
    const int32_t *vindex;
    const int8_t *path;
    wa_not_offered *list;
    WA_TRY(wa_dataset_load(file, "not_offered", x, arena, &line, err));
    WA_TRY(wa_dataset_load(file, "not_offered_vindex", x, arena, &vindex, err));
    WA_TRY(wa_dataset_load(file, "not_offered_path", x, arena, &path, err));
    WA_TRY(check_range_i32("not_offered_vindex", vindex, x->offers, 0, x->dims.vindexes, err));
    WA_TRY(wa_result_check_codes("not_offered_path", path, x->offers, 0, WA_PATH_COUNT, err));
    WA_TRY(wa_arena_take(arena, x->offers, sizeof *list, &list, err));
    for (size_t i = 0; i < x->offers; i++) {
        list[i].vindex = vindex[i];
        WA_TRY(split_offer(line[i], meta->vindex_name[vindex[i]], (wa_path)path[i], arena, &list[i],
                           err));
    }
    meta->not_offered = list;
    meta->not_offered_count = x->offers;
    return WA_OK;
}

static wa_status load_prompts(wa_hid file, const wa_extents *x, wa_arena *arena,
                              wa_result_meta *meta, wa_error *err)
{
    WA_TRY(wa_dataset_load(file, "prompt_key", x, arena, &meta->prompt_key, err));
    WA_TRY(wa_dataset_load(file, "prompt_text", x, arena, &meta->prompt_text, err));
    WA_TRY(wa_dataset_load(file, "prompt_rows", x, arena, &meta->prompt_rows, err));
    WA_TRY(wa_dataset_load(file, "obs_prompt", x, arena, &meta->obs_prompt, err));
    WA_TRY(wa_dataset_load(file, "obs_position", x, arena, &meta->obs_position, err));
    WA_TRY(wa_dataset_load(file, "token_id", x, arena, &meta->token_id, err));
    WA_TRY(wa_dataset_load(file, "token_text", x, arena, &meta->token_text, err));
    size_t rows = 0;
    for (size_t p = 0; p < x->dims.prompts; p++) {
        if (meta->prompt_rows[p] < 0 || (size_t)meta->prompt_rows[p] > x->dims.rows - rows)
            return wa_fail(err, WA_E_FORMAT,
                           "dataset 'prompt_rows': prompt %zu has %d rows, %zu are left", p,
                           meta->prompt_rows[p], x->dims.rows - rows);
        rows += (size_t)meta->prompt_rows[p];
    }
    return check_range_i32("obs_prompt", meta->obs_prompt, x->dims.rows, 0, x->dims.prompts, err);
}

/* They say how much of a layer's figures of experts there is. */
static wa_status load_layer_experts(wa_hid file, const wa_extents *x, wa_arena *arena,
                                    const int32_t **out, wa_error *err)
{
    WA_TRY(wa_dataset_load(file, "layer_experts", x, arena, out, err));
    for (size_t l = 0; l < x->dims.layers; l++)
        if ((*out)[l] < 0 || (size_t)(*out)[l] > x->dims.experts)
            return wa_fail(err, WA_E_FORMAT,
                           "dataset 'layer_experts': found %d in layer %zu, expected 0 to %zu",
                           (*out)[l], l, x->dims.experts);
    return WA_OK;
}

wa_status wa_result_load_meta(wa_hid file, const wa_extents *x, wa_arena *arena,
                              wa_result_meta *out, wa_error *err)
{
    wa_result_meta meta = {.dims = x->dims};
    WA_TRY(load_attributes(file, arena, &meta, err));
    WA_TRY(wa_dataset_load(file, "vindex_name", x, arena, &meta.vindex_name, err));
    WA_TRY(wa_dataset_load(file, "vindex_path", x, arena, &meta.vindex_path, err));
    WA_TRY(wa_dataset_load(file, "vindex_files", x, arena, &meta.vindex_files, err));
    WA_TRY(wa_dataset_load(file, "vindex_lack", x, arena, &meta.vindex_lack, err));
    WA_TRY(wa_dataset_load(file, "payload_file", x, arena, &meta.payload_file, err));
    WA_TRY(wa_dataset_load(file, "payload_order", x, arena, &meta.payload_order, err));
    WA_TRY(wa_dataset_load(file, "vindex_left_out", x, arena, &meta.vindex_left_out, err));
    WA_TRY(wa_dataset_load(file, "row_err_nominal", x, arena, &meta.nominal_bound, err));
    if (x->dims.choices > 0)
        WA_TRY(load_layer_experts(file, x, arena, &meta.layer_experts, err));
    WA_TRY(load_cases(file, x, arena, &meta, err));
    WA_TRY(load_offers(file, x, arena, &meta, err));
    WA_TRY(load_prompts(file, x, arena, &meta, err));
    *out = meta;
    return WA_OK;
}

/* Observations of a result folded to one summary per case, and the evidence for its verdict. */
#include "store/result.h"

#include "base/bytes.h"

#include <string.h>

/* Fields of one observation that a summary looks at, in the order of the buffers below; the first five are needed again. */
static const wa_field STREAMS[] = {
    WA_FIELD_cos,           WA_FIELD_rel_l2,     WA_FIELD_l2,  WA_FIELD_max_abs, WA_FIELD_obs_status,
    WA_FIELD_one_minus_cos, WA_FIELD_norm_ratio, WA_FIELD_eta, WA_FIELD_drift,   WA_FIELD_kernel_rel_l2,
    WA_FIELD_kernel_own_rel_l2, WA_FIELD_max_abs_index};
enum { STREAM_COUNT = sizeof STREAMS / sizeof STREAMS[0], NEEDED_AGAIN = 5 };

typedef struct reader {
    wa_hid file;
    const wa_extents *extents;
    const wa_result_meta *meta;
    wa_arena *arena;
    wa_hid dataset[STREAM_COUNT];
    void *buffer[STREAM_COUNT]; /* a chunk of each */
    size_t unit[WA_LAYOUT_RANK]; /* extents of a chunk */
    bool first_token_shared;
} reader;

static void close_streams(reader *r)
{
    for (size_t s = 0; s < STREAM_COUNT; s++)
        (void)wa_dataset_close(r->dataset[s], WA_OK, NULL); /* only read */
}

static wa_status open_streams(reader *r, wa_arena *work, wa_error *err)
{
    for (size_t s = 0; s < STREAM_COUNT; s++) {
        const wa_layout *row = wa_layout_of_field(STREAMS[s]);
        size_t shape[WA_LAYOUT_RANK];
        wa_layout_shape(row, r->extents, shape);
        wa_layout_box(row, shape, r->unit);
        WA_TRY(wa_dataset_open(r->file, row, r->extents, &r->dataset[s], err));
        WA_TRY(wa_arena_take_raw(work, r->unit[1] * r->unit[2], wa_layout_size(row), &r->buffer[s], err));
    }
    return WA_OK;
}

static bool share_first_token(const wa_result_meta *meta)
{
    int32_t first = -1;
    for (size_t o = 0; o < meta->dims.rows; o++) {
        if (meta->obs_position[o] != 0)
            continue;
        if (first >= 0 && meta->token_id[o] != first)
            return false;
        first = meta->token_id[o];
    }
    return true;
}

/* The rows of one layer of the chunk that was read. */
static wa_summary_rows rows_of(const reader *r, const wa_box *box, size_t layer)
{
    size_t at = layer * box->count[2];
    const double *const *f64 = (const double *const *)(const void *)r->buffer;
    return (wa_summary_rows){.cos = f64[0] + at,
                             .rel_l2 = f64[1] + at,
                             .l2 = f64[2] + at,
                             .max_abs = f64[3] + at,
                             .obs_status = (const int8_t *)r->buffer[4] + at,
                             .one_minus_cos = f64[5] + at,
                             .norm_ratio = f64[6] + at,
                             .eta = f64[7] + at,
                             .drift = f64[8] + at,
                             .kernel_rel_l2 = f64[9] + at,
                             .kernel_own_rel_l2 = f64[10] + at,
                             .max_abs_index = (const int32_t *)r->buffer[11] + at,
                             .obs_position = r->meta->obs_position + box->start[2],
                             .first_obs = box->start[2],
                             .count = box->count[2]};
}

static wa_status add_chunk(const reader *r, const wa_box *box, bool again, wa_summary *summary, wa_error *err)
{
    for (size_t s = 0; s < (again ? NEEDED_AGAIN : STREAM_COUNT); s++)
        WA_TRY(
            wa_dataset_read(r->dataset[s], wa_layout_of_field(STREAMS[s]), box, r->buffer[s], err));
    for (size_t l = 0; l < box->count[1]; l++) {
        wa_summary_rows rows = rows_of(r, box, l);
        if (again)
            wa_summary_add_again(summary, &rows);
        else
            wa_summary_add(summary, box->start[1] + l, &rows);
    }
    return WA_OK;
}

static wa_status add_observations(const reader *r, size_t which, bool again, wa_summary *summary, wa_error *err)
{
    const wa_dims *dims = &r->extents->dims;
    for (size_t layer = 0; layer < dims->layers; layer += r->unit[1])
        for (size_t obs = 0; obs < dims->rows; obs += r->unit[2]) {
            wa_box box = {.start = {which, layer, obs},
                          .count = {1, wa_size_min(dims->layers - layer, r->unit[1]), wa_size_min(dims->rows - obs, r->unit[2])}};
            WA_TRY(add_chunk(r, &box, again, summary, err));
        }
    return WA_OK;
}

/* Every other figure of the case goes into the digest, in the table's order; not its label and
 * cost, which say how the numbers came about: two kernels with equal digests gave the same bits. */
static wa_status add_digest(reader *r, size_t which, wa_summary *summary, wa_arena *arena,
                            wa_error *err)
{
    for (int f = 0; f < WA_FIELD_COUNT; f++) {
        const wa_field_info *info = wa_field_get((wa_field)f);
        const wa_layout *row = wa_layout_of_field((wa_field)f);
        if (!wa_axes_has(info->axes, 'C') || wa_axes_has(info->axes, 'O') || info->axes == WA_CL ||
            f == WA_FIELD_label || !wa_field_exists((wa_field)f, &r->extents->dims))
            continue;
        size_t shape[WA_LAYOUT_RANK], bytes = wa_layout_size(row);
        size_t rank = wa_layout_shape(row, r->extents, shape);
        wa_box box = {.start = {which}, .count = {1}};
        for (size_t d = 1; d < rank; d++) {
            box.count[d] = shape[d];
            if (!wa_size_mul(bytes, shape[d], &bytes))
                return wa_fail(err, WA_E_FORMAT, "dataset '%s': its extents overflow", row->name);
        }
        if (bytes == 0)
            continue;
        wa_mark mark = wa_arena_mark(arena);
        void *values;
        wa_hid dataset;
        WA_TRY(wa_arena_take(arena, bytes, 1, &values, err));
        WA_TRY(wa_dataset_open(r->file, row, r->extents, &dataset, err));
        WA_TRY(wa_dataset_close(dataset, wa_dataset_read(dataset, row, &box, values, err), err));
        wa_summary_digest(summary, values, bytes);
        wa_arena_release(arena, mark);
    }
    return WA_OK;
}

/* `work` holds the summary, gone before the next case; the per-layer extremes move to the result's arena. */
static wa_status summarise(reader *r, size_t which, wa_arena *work, wa_case_summary *out,
                           wa_error *err)
{
    const wa_dims *dims = &r->extents->dims;
    wa_summary *summary;
    WA_TRY(wa_summary_open(work, dims->layers, dims->rows, &summary, err));
    WA_TRY(add_observations(r, which, false, summary, err));
    while (wa_summary_again(summary))
        WA_TRY(add_observations(r, which, true, summary, err));
    WA_TRY(add_digest(r, which, summary, work, err));
    wa_summary_finish(summary, r->first_token_shared, out);
    wa_extremes *layer;
    WA_TRY(wa_arena_take(r->arena, dims->layers, sizeof *layer, &layer, err));
    if (dims->layers > 0)
        memcpy(layer, out->layer, dims->layers * sizeof *layer);
    out->layer = layer;
    return WA_OK;
}

static wa_status summarise_all(reader *r, wa_arena *work, wa_case_summary *out, wa_error *err)
{
    WA_TRY(open_streams(r, work, err));
    wa_mark mark = wa_arena_mark(work);
    for (size_t c = 0; c < r->extents->dims.cases; c++) {
        WA_TRY(summarise(r, c, work, &out[c], err));
        wa_arena_release(work, mark);
    }
    return WA_OK;
}

/* --- Evidence --- */

/* Row errors of all payloads of all vindexes, as stored. */
typedef struct row_errors {
    const double *p50, *p99, *max;
    const int32_t *worst;
    const int8_t *checked;
    const int64_t *nonfinite;
} row_errors;

static wa_status load_row_errors(reader *r, row_errors *out, wa_error *err)
{
    WA_TRY(wa_dataset_load(r->file, "row_err_p50", r->extents, r->arena, &out->p50, err));
    WA_TRY(wa_dataset_load(r->file, "row_err_p99", r->extents, r->arena, &out->p99, err));
    WA_TRY(wa_dataset_load(r->file, "row_err_max", r->extents, r->arena, &out->max, err));
    WA_TRY(wa_dataset_load(r->file, "row_err_worst", r->extents, r->arena, &out->worst, err));
    WA_TRY(wa_dataset_load(r->file, "row_err_checked", r->extents, r->arena, &out->checked, err));
    return wa_dataset_load(r->file, "row_nonfinite", r->extents, r->arena, &out->nonfinite, err);
}

static bool reads(const wa_case *which, wa_projection projection)
{
    return which->vindex >= 0 && !which->source[projection].from_model;
}

/* Only the payloads that the case reads are evidence against it. */
static void fill_encoding(const reader *r, const wa_case *which, const row_errors *errors,
                          wa_encoding_figure *out)
{
    for (size_t layer = 0; layer < r->extents->dims.layers; layer++) {
        for (size_t p = 0; p < WA_PROJECTION_COUNT; p++) {
            size_t to = layer * WA_PROJECTION_COUNT + p;
            const wa_source *source = &which->source[p];
            if (!reads(which, (wa_projection)p))
                continue;
            size_t owner = (size_t)which->vindex * WA_PAYLOAD_COUNT + (size_t)source->payload;
            size_t at = owner * r->extents->dims.layers * WA_PROJECTION_COUNT + to;
            if (errors->checked[at] == 0)
                continue;
            out[to] = (wa_encoding_figure){.checked = true,
                                           .payload = source->payload,
                                           .p50 = errors->p50[at],
                                           .p99 = errors->p99[at],
                                           .max = errors->max[at],
                                           .nominal_bound = r->meta->nominal_bound[at],
                                           .worst_row = errors->worst[at],
                                           .nonfinite = errors->nonfinite[at]};
        }
    }
}

/* What the run said; else a case that ran has the label of a kernel somewhere. */
static const char *not_run_reason(const wa_case *which, const int8_t *label, size_t count)
{
    if (which->not_run != NULL)
        return which->not_run;
    bool none = true, empty = count > 0;
    for (size_t i = 0; i < count; i++) {
        none = none && label[i] == WA_LABEL_NONE;
        empty = empty && label[i] == WA_LABEL_ZERO_FEATURES_DENSE;
    }
    if (none)
        return "no kernel ran at any layer";
    return empty ? "the vindex has no features at any layer" : NULL;
}

static wa_status check_labels(const int8_t *label, size_t count, wa_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (label[i] < 0 || label[i] >= WA_LABEL_COUNT)
            return wa_fail(err, WA_E_FORMAT, "dataset 'label': found %d, expected 0 to %d",
                           label[i], WA_LABEL_COUNT - 1);
    return WA_OK;
}

static wa_status build_evidence(reader *r, const wa_result *result, wa_evidence *out, wa_error *err)
{
    const wa_dims *dims = &r->extents->dims;
    const int8_t *label;
    row_errors errors;
    size_t count;
    if (!wa_size_mul(dims->layers, dims->prompts, &count))
        return wa_fail(err, WA_E_FORMAT, "dataset 'label': its extents overflow");
    WA_TRY(wa_dataset_load(r->file, "label", r->extents, r->arena, &label, err));
    WA_TRY(check_labels(label, dims->cases * count, err));
    WA_TRY(load_row_errors(r, &errors, err));
    for (size_t c = 0; c < dims->cases; c++) {
        const wa_case *which = &r->meta->cases[c];
        wa_encoding_figure *encoding;
        WA_TRY(wa_arena_take(r->arena, dims->layers * WA_PROJECTION_COUNT, sizeof *encoding,
                             &encoding, err));
        fill_encoding(r, which, &errors, encoding);
        const int8_t *labels = label + c * count;
        out[c] = (wa_evidence){.case_name = which->name,
                               .not_run_reason = not_run_reason(which, labels, count),
                               .bucket = which->bucket,
                               .isolated = which->isolated,
                               .layers = dims->layers,
                               .prompts = dims->prompts,
                               .topk = dims->slots,
                               .label = labels,
                               .expected_label = r->meta->expected_label + c * dims->layers,
                               .encoding = encoding,
                               .reads = {reads(which, WA_GATE), reads(which, WA_UP), reads(which, WA_DOWN)},
                               .summary = &result->summary[c],
                               .kernel_tolerance = which->kernel_tolerance,
                               .kernel_due = r->meta->kernel_due[c],
                               .kernel_own_due = r->meta->kernel_own_due[c],
                               .prompt_key = r->meta->prompt_key,
                               .obs_prompt = r->meta->obs_prompt,
                               .obs_position = r->meta->obs_position,
                               .token_text = r->meta->token_text,
                               .top1_gap = result->top1_gap + c * dims->prompts,
                               .top1_match = result->top1_match + c * dims->prompts,
                               .prob_delta = result->prob_delta + c * dims->prompts,
                               .kl = result->kl + c * dims->prompts,
                               .top1_text = result->top1_text + c * dims->prompts,
                               .ref_top1_text = result->ref_top1_text,
                               .rate_rows = result->rate_rows == NULL || which->isolated ? NULL : &result->rate_rows[c]};
    }
    return WA_OK;
}

wa_status wa_result_load_cases(wa_hid file, const wa_extents *extents, wa_arena *arena,
                               wa_result *out, wa_error *err)
{
    reader r = {.file = file,
                .extents = extents,
                .meta = &out->meta,
                .arena = arena,
                .first_token_shared = share_first_token(&out->meta)};
    for (size_t s = 0; s < STREAM_COUNT; s++)
        r.dataset[s] = -1;
    wa_case_summary *summary;
    wa_evidence *evidence;
    WA_TRY(wa_arena_take(arena, extents->dims.cases, sizeof *summary, &summary, err));
    WA_TRY(wa_arena_take(arena, extents->dims.cases, sizeof *evidence, &evidence, err));
    wa_arena *work;
    WA_TRY(wa_arena_open("summary", 0, &work, err));
    wa_status status = summarise_all(&r, work, summary, err);
    close_streams(&r);
    wa_arena_close(work);
    WA_TRY(status);
    out->summary = summary;
    WA_TRY(build_evidence(&r, out, evidence, err));
    out->evidence = evidence;
    return WA_OK;
}

/* Access to the datasets of a result file that wa_result does not hold: observations, figures,
 * attributes. */
#include "store/result.h"

#include "base/bytes.h"
#include "base/utf8.h"

#include <string.h>

/* Fields of one observation that a summary looks at, in the order of the buffers below; the first
 * five are needed again. */
static const wa_field STREAMS[] = {WA_FIELD_cos,
                                   WA_FIELD_rel_l2,
                                   WA_FIELD_l2,
                                   WA_FIELD_max_abs,
                                   WA_FIELD_obs_status,
                                   WA_FIELD_one_minus_cos,
                                   WA_FIELD_norm_ratio,
                                   WA_FIELD_eta,
                                   WA_FIELD_drift,
                                   WA_FIELD_kernel_rel_l2,
                                   WA_FIELD_kernel_own_rel_l2,
                                   WA_FIELD_max_abs_index,
                                   WA_FIELD_routing_gap,
                                   WA_FIELD_same_experts_rel_l2,
                                   WA_FIELD_other_experts_rel_l2,
                                   WA_FIELD_routing_change,
                                   WA_FIELD_own_routing_change};
enum { STREAM_COUNT = sizeof STREAMS / sizeof STREAMS[0], NEEDED_AGAIN = 5 };

typedef struct access {
    wa_hid file; /* -1 = closed */
    wa_extents extents;
    const wa_result_meta *meta;
    wa_arena *arena;
} access;

/* The datasets of all streams, open. */
typedef struct reader {
    const access *from;
    wa_hid dataset[STREAM_COUNT];
    void *buffer[STREAM_COUNT];  /* a chunk of each */
    size_t unit[WA_LAYOUT_RANK]; /* extents of a chunk */
} reader;

static void close_streams(reader *r)
{
    for (size_t s = 0; s < STREAM_COUNT; s++)
        (void)wa_dataset_close(r->dataset[s], WA_OK, NULL); /* only read */
}

static wa_status open_streams(reader *r, bool again, wa_arena *work, wa_error *err)
{
    for (size_t s = 0; s < STREAM_COUNT; s++)
        r->dataset[s] = -1;
    for (size_t s = 0; s < (again ? NEEDED_AGAIN : STREAM_COUNT); s++) {
        const wa_layout *row = wa_layout_of_field(STREAMS[s]);
        size_t shape[WA_LAYOUT_RANK];
        if (!wa_field_exists(STREAMS[s], &r->from->extents.dims))
            continue; /* without experts */
        wa_layout_shape(row, &r->from->extents, shape);
        wa_layout_box(row, shape, r->unit);
        WA_TRY(wa_dataset_open(r->from->file, row, &r->from->extents, &r->dataset[s], err));
        WA_TRY(
            wa_arena_take(work, r->unit[1] * r->unit[2], wa_layout_size(row), &r->buffer[s], err));
    }
    return WA_OK;
}

/* The rows of one layer of the chunk that was read. */
static wa_summary_rows rows_of(const reader *r, const wa_box *box, size_t layer)
{
    size_t at = layer * box->count[2];
    const double *const *f64 = (const double *const *)(const void *)r->buffer;
    return (wa_summary_rows){
        .cos = f64[0] + at,
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
        .routing_gap = r->buffer[12] == NULL ? NULL : f64[12] + at,
        .same_experts = r->buffer[13] == NULL ? NULL : f64[13] + at,
        .other_experts = r->buffer[14] == NULL ? NULL : f64[14] + at,
        .routing_change = r->buffer[15] == NULL ? NULL : (const int8_t *)r->buffer[15] + at,
        .own_routing_change = r->buffer[16] == NULL ? NULL : (const int8_t *)r->buffer[16] + at,
        .obs_position = r->from->meta->obs_position + box->start[2],
        .first_obs = box->start[2],
        .count = box->count[2]};
}

static wa_status take_chunk(const reader *r, const wa_box *box, bool again, wa_rows_taker *take,
                            void *taker, wa_error *err)
{
    for (size_t s = 0; s < (again ? NEEDED_AGAIN : STREAM_COUNT); s++)
        if (r->buffer[s] != NULL)
            WA_TRY(wa_dataset_read(r->dataset[s], wa_layout_of_field(STREAMS[s]), box, r->buffer[s],
                                   err));
    for (size_t l = 0; l < box->count[1]; l++) {
        wa_summary_rows rows = rows_of(r, box, l);
        take(taker, box->start[1] + l, &rows);
    }
    return WA_OK;
}

static wa_status take_all(const reader *r, size_t which, bool again, wa_rows_taker *take,
                          void *taker, wa_error *err)
{
    const wa_dims *dims = &r->from->extents.dims;
    for (size_t layer = 0; layer < dims->layers; layer += r->unit[1])
        for (size_t obs = 0; obs < dims->rows; obs += r->unit[2]) {
            wa_box box = {.start = {which, layer, obs},
                          .count = {1, wa_size_min(dims->layers - layer, r->unit[1]),
                                    wa_size_min(dims->rows - obs, r->unit[2])}};
            WA_TRY(take_chunk(r, &box, again, take, taker, err));
        }
    return WA_OK;
}

static wa_status read_rows(void *context, size_t which, bool again, wa_rows_taker *take,
                           void *taker, wa_error *err)
{
    reader r = {.from = context};
    wa_arena *work;
    WA_TRY(wa_arena_open("rows", 0, &work, err));
    wa_status status = open_streams(&r, again, work, err);
    if (status == WA_OK)
        status = take_all(&r, which, again, take, taker, err);
    close_streams(&r);
    wa_arena_close(work);
    return status;
}

/* --- Outputs --- */

/* What a case computed besides observations; not its label, costs and counts, which say how the
 * numbers came about. */
static bool is_output(wa_field field, const wa_dims *dims)
{
    const wa_field_info *info = wa_field_get(field);
    return wa_axes_has(info->axes, 'C') && !wa_axes_has(info->axes, 'O') &&
           !wa_axes_has(info->axes, 'T') && info->axes != WA_CL && info->axes != WA_CLN &&
           field != WA_FIELD_label && field != WA_FIELD_modes_changed &&
           !(field >= WA_FIELD_decode_rel_l2 && field <= WA_FIELD_alike_rel_l2) &&
           wa_field_exists(field, dims);
}

static wa_status take_output(const access *a, const wa_layout *row, size_t which,
                             wa_bytes_taker *take, void *taker, wa_error *err)
{
    size_t shape[WA_LAYOUT_RANK], bytes = wa_layout_size(row);
    size_t rank = wa_layout_shape(row, &a->extents, shape);
    wa_box box = {.start = {which}, .count = {1}};
    for (size_t d = 1; d < rank; d++) {
        box.count[d] = shape[d];
        if (!wa_size_mul(bytes, shape[d], &bytes))
            return wa_fail(err, WA_E_FORMAT, "dataset '%s': its extents overflow", row->name);
    }
    if (bytes == 0)
        return WA_OK;
    wa_mark mark = wa_arena_mark(a->arena);
    void *values;
    wa_hid dataset;
    WA_TRY(wa_arena_take(a->arena, bytes, 1, &values, err));
    WA_TRY(wa_dataset_open(a->file, row, &a->extents, &dataset, err));
    wa_status status =
        wa_dataset_close(dataset, wa_dataset_read(dataset, row, &box, values, err), err);
    if (status == WA_OK)
        take(taker, values, bytes);
    wa_arena_release(a->arena, mark);
    return status;
}

static wa_status read_outputs(void *context, size_t which, wa_bytes_taker *take, void *taker,
                              wa_error *err)
{
    const access *a = context;
    for (int f = 0; f < WA_FIELD_COUNT; f++)
        if (is_output((wa_field)f, &a->extents.dims))
            WA_TRY(take_output(a, wa_layout_of_field((wa_field)f), which, take, taker, err));
    return WA_OK;
}

/* --- Whole datasets and attributes --- */

static wa_status read_dataset(void *context, const wa_layout *row, wa_arena *arena,
                              void *out_pointer, wa_error *err)
{
    const access *a = context;
    return wa_dataset_get(a->file, row, &a->extents, arena, out_pointer, err);
}

static wa_status read_text(void *context, const char *attribute, wa_arena *arena, const char **out,
                           wa_error *err)
{
    const access *a = context;
    return wa_attribute_read_text(a->file, attribute, arena, out, err);
}

static wa_status write_texts(const access *a, const wa_layout *row, const char *const *texts,
                             wa_error *err)
{
    size_t shape[WA_LAYOUT_RANK], count = 1;
    const char **clean;
    for (size_t d = wa_layout_shape(row, &a->extents, shape); d-- > 0;)
        count *= shape[d];
    wa_mark mark = wa_arena_mark(a->arena);
    WA_TRY(wa_arena_take(a->arena, count, sizeof *clean, &clean, err));
    for (size_t i = 0; i < count; i++)
        WA_TRY(wa_text_escape(texts[i], a->arena, &clean[i], err));
    wa_status status = wa_dataset_put(a->file, row, &a->extents, clean, err);
    wa_arena_release(a->arena, mark);
    return status;
}

static wa_status write_dataset(void *context, const wa_layout *row, const void *values,
                               wa_error *err)
{
    const access *a = context;
    if (row->type == WA_LAYOUT_TEXT)
        return write_texts(a, row, values, err);
    return wa_dataset_put(a->file, row, &a->extents, values, err);
}

static wa_status write_text(void *context, const char *attribute, const char *text, wa_error *err)
{
    const access *a = context;
    const char *clean;
    WA_TRY(wa_text_escape(text, a->arena, &clean, err));
    return wa_attribute_write_text(a->file, attribute, clean, err);
}

static wa_status write_f64(void *context, const char *attribute, double value, wa_error *err)
{
    return wa_attribute_write_f64(((const access *)context)->file, attribute, value, err);
}

static wa_status write_i64(void *context, const char *attribute, int64_t value, wa_error *err)
{
    return wa_attribute_write_i64(((const access *)context)->file, attribute, value, err);
}

/* --- All together --- */

wa_status wa_result_access_open(wa_hid file, const wa_extents *extents, const wa_result_meta *meta,
                                wa_arena *arena, wa_result_access *out, wa_error *err)
{
    access *a;
    WA_TRY(wa_arena_take(arena, 1, sizeof *a, &a, err));
    *a = (access){.file = file, .extents = *extents, .meta = meta, .arena = arena};
    *out = (wa_result_access){.context = a,
                              .rows = read_rows,
                              .outputs = read_outputs,
                              .read = read_dataset,
                              .read_text = read_text,
                              .write = write_dataset,
                              .write_text = write_text,
                              .write_f64 = write_f64,
                              .write_i64 = write_i64};
    return WA_OK;
}

wa_hid wa_result_access_file(const wa_result_access *access_)
{
    return ((const access *)access_->context)->file;
}

void wa_result_access_end(wa_result_access *access_)
{
    ((access *)access_->context)->file = -1;
}

/* A healthy vindex of one format, and how its rows were made. */
#include "selftest/bench.h"

#include "base/signals.h"
#include "path/evaluate.h"
#include "vindex/order.h"

#include <math.h>

/* --- Formats ---------------------------------------------------------------------------------- */

bool wa_bench_format_at(size_t i, wa_bench_format *out)
{
    enum { DENSE = 1, EXPERTS, EITHER };
    static const struct {
        const char *name;
        wa_extract_format format;
        int models;
        bool larql, down_q4k;
        wa_fp4_policy policy;
    } table[] = {{"f32", WA_EXTRACT_F32, EITHER, false, false, WA_FP4_POLICY_B},
                 {"f16", WA_EXTRACT_F16, EITHER, false, false, WA_FP4_POLICY_B},
                 {"f16-larql", WA_EXTRACT_F16, DENSE, true, false, WA_FP4_POLICY_B},
                 {"bf16", WA_EXTRACT_BF16, EXPERTS, false, false, WA_FP4_POLICY_B},
                 {"interleaved", WA_EXTRACT_INTERLEAVED, DENSE, false, false, WA_FP4_POLICY_B},
                 {"q4_0", WA_EXTRACT_Q4_0, EITHER, false, false, WA_FP4_POLICY_B},
                 {"q4k", WA_EXTRACT_Q4K, EITHER, false, false, WA_FP4_POLICY_B},
                 {"q4k-down-q4k", WA_EXTRACT_Q4K, DENSE, false, true, WA_FP4_POLICY_B},
                 {"q6k", WA_EXTRACT_Q6K, EXPERTS, false, false, WA_FP4_POLICY_B},
                 {"fp4-a", WA_EXTRACT_FP4, EITHER, false, false, WA_FP4_POLICY_A},
                 {"fp4-b", WA_EXTRACT_FP4, DENSE, false, false, WA_FP4_POLICY_B},
                 {"fp4-c", WA_EXTRACT_FP4, DENSE, false, false, WA_FP4_POLICY_C}};
    if (i >= sizeof table / sizeof table[0])
        return false;
    out->name = table[i].name;
    out->dense = (table[i].models & DENSE) != 0;
    out->experts = (table[i].models & EXPERTS) != 0;
    out->options = wa_extract_defaults(table[i].format);
    if (table[i].larql)
        out->options.compat = WA_EXTRACT_COMPAT_LARQL_2026_08;
    out->options.down_q4k = table[i].down_q4k;
    out->options.policy = table[i].policy;
    out->options.fp4_floor = 0.0; /* FP4 is what shall be tested, whatever the rows are like */
    return true;
}

const char *wa_selftest_format_name(size_t i)
{
    wa_bench_format format;
    return wa_bench_format_at(i, &format) ? format.name : NULL;
}

/* --- Rows ------------------------------------------------------------------------------------- */

bool wa_bench_has_experts(const wa_bench *bench)
{
    return wa_model_expert_layer(bench->model) < bench->model->layer_count;
}

size_t wa_bench_stack(const wa_bench *bench, const wa_bench_target *target, size_t layer)
{
    return wa_payload_is_of_experts(target->payload)
               ? wa_vindex_stack(bench->vindex, target->payload, target->projection, layer)
               : 1;
}

/* A dense layer among such with experts has one entry. */
static size_t entry_of(const wa_bench *bench, const wa_bench_target *target, size_t layer)
{
    size_t count = wa_bench_stack(bench, target, layer);
    return count == 0 ? 0 : target->entry % count;
}

wa_status wa_bench_stored(const wa_bench *bench, const wa_bench_target *target, size_t layer,
                          wa_matrix *out, wa_error *err)
{
    if (!wa_payload_is_of_experts(target->payload))
        return wa_case_stored(target->which, bench->vindex, target->projection, layer, out, err);
    return wa_vindex_stack_matrix(bench->vindex, target->payload, target->projection, layer,
                                  entry_of(bench, target, layer), out, err);
}

wa_matrix wa_bench_truth(const wa_bench *bench, const wa_bench_target *target, size_t layer)
{
    const wa_layer *own = &bench->model->layers[layer];
    if (own->experts != NULL)
        return wa_experts_matrix(own->experts, target->payload, target->projection,
                                 entry_of(bench, target, layer));
    switch (target->projection) {
    case WA_GATE: /* the gate file of an ungated model holds the up rows */
        return bench->model->gated ? own->gate : own->up;
    case WA_UP:
        return own->up;
    default:
        return own->down;
    }
}

wa_status wa_bench_rows(const wa_bench *bench, const wa_bench_target *target, size_t layer,
                        float **out, wa_error *err)
{
    const wa_matrix truth = wa_bench_truth(bench, target, layer);
    float *rows, *turned;
    WA_TRY(wa_arena_take_raw(bench->arena, truth.rows * truth.cols, sizeof *rows, &rows, err));
    wa_matrix_decode(&truth, 0, truth.rows, rows);
    *out = rows;
    if (!target->turned)
        return WA_OK;
    WA_TRY(wa_arena_take_raw(bench->arena, truth.rows * truth.cols, sizeof *turned, &turned, err));
    for (size_t r = 0; r < truth.rows; r++)
        for (size_t c = 0; c < truth.cols; c++)
            turned[c * truth.rows + r] = rows[r * truth.cols + c];
    *out = turned;
    return WA_OK;
}

static float through(wa_bench_source source, float x)
{
    if (source == WA_BENCH_DIRECT)
        return x;
    return wa_f16_to_f32(source == WA_BENCH_HALF ? wa_f32_to_f16(x) : wa_f32_to_f16_larql(x));
}

/* Towards zero: what a writer does that drops mantissa bits. */
static uint16_t cut_half(float x)
{
    uint16_t nearest = wa_f32_to_f16(x);
    return fabsf(wa_f16_to_f32(nearest)) > fabsf(x) ? (uint16_t)(nearest - 1) : nearest;
}

static float cut_single(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= 0xffff0000U; /* bf16, cut short */
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void encode_float(const wa_bench_target *target, bool truncate, float x, uint8_t *out)
{
    uint16_t half;
    switch (target->format) {
    case WA_FORMAT_F16:
        half = truncate                                ? cut_half(x)
               : target->source == WA_BENCH_LARQL_HALF ? wa_f32_to_f16_larql(x)
                                                       : wa_f32_to_f16(x);
        memcpy(out, &half, sizeof half);
        return;
    case WA_FORMAT_BF16:
        half = wa_f32_to_bf16(truncate ? cut_single(x) : x);
        memcpy(out, &half, sizeof half);
        return;
    default:
        break;
    }
    float value = target->source == WA_BENCH_DIRECT ? (truncate ? cut_single(x) : x)
                  : truncate                        ? wa_f16_to_f32(cut_half(x))
                                                    : through(target->source, x);
    memcpy(out, &value, sizeof value);
}

/* One row of `width` weights. */
static void encode_row(const wa_bench_target *target, wa_bench_encoder encoder, float *row,
                       size_t width, uint8_t *out)
{
    const wa_format_info *info = wa_format_get(target->format);
    for (size_t c = 0; c < width; c++) {
        if (info->encode == NULL)
            encode_float(target, encoder == WA_BENCH_TRUNCATING, row[c],
                         out + c * info->block_bytes);
        else
            row[c] = through(target->source, row[c]);
    }
    if (info->encode != NULL && encoder == WA_BENCH_OURS)
        wa_rows_encode(target->format, row, 1, width, out);
    else if (info->encode != NULL)
        wa_rows_encode_other(target->format, encoder == WA_BENCH_TRUNCATING, row, 1, width, out);
}

wa_status wa_bench_encode(const wa_bench *bench, const wa_bench_target *target,
                          wa_bench_encoder encoder, const float *rows, size_t count,
                          const wa_matrix *as, uint8_t *out, wa_error *err)
{
    const wa_format_info *info = wa_format_get(target->format);
    size_t width = as->row_bytes / info->block_bytes * info->block_elements;
    wa_mark mark = wa_arena_mark(bench->arena);
    float *row;
    WA_TRY(wa_arena_take(bench->arena, width, sizeof *row, &row, err));
    for (size_t r = 0; r < count; r++) {
        memcpy(row, rows + r * as->cols, as->cols * sizeof *row);
        encode_row(target, encoder, row, width, out + r * as->row_bytes);
    }
    wa_arena_release(bench->arena, mark);
    return WA_OK;
}

/* --- Targets ---------------------------------------------------------------------------------- */

/* Of the sources, the one that gives the stored bytes of layer 0. */
static wa_status learn_source(const wa_bench *bench, wa_bench_target *target, wa_error *err)
{
    wa_matrix stored;
    float *rows;
    uint8_t *made;
    wa_mark mark = wa_arena_mark(bench->arena);
    WA_TRY(wa_bench_stored(bench, target, 0, &stored, err));
    target->format = stored.format;
    WA_TRY(wa_bench_rows(bench, target, 0, &rows, err));
    size_t bytes = wa_matrix_bytes(&stored);
    WA_TRY(wa_arena_take_raw(bench->arena, bytes, 1, &made, err));
    bool found = false;
    for (int s = 0; s < WA_BENCH_SOURCES && !found; s++) {
        target->source = (wa_bench_source)s;
        WA_TRY(
            wa_bench_encode(bench, target, WA_BENCH_OURS, rows, stored.rows, &stored, made, err));
        found = memcmp(made, stored.data, bytes) == 0;
    }
    wa_arena_release(bench->arena, mark);
    if (!found)
        return wa_fail(err, WA_E_INTERNAL,
                       "%s, %s of layer 0: the extracted bytes cannot be made again", stored.name,
                       wa_projection_name(target->projection));
    return WA_OK;
}

static wa_status add_target(wa_bench *bench, const wa_case *which, wa_projection projection,
                            wa_error *err)
{
    wa_bench_target target = {
        .which = which, .projection = projection, .payload = which->source[projection].payload};
    wa_matrix stored, other;
    WA_TRY(wa_bench_stored(bench, &target, 0, &stored, err));
    for (size_t i = 0; i < bench->target_count; i++) {
        WA_TRY(wa_bench_stored(bench, &bench->targets[i], 0, &other, err));
        if (other.data == stored.data)
            return WA_OK;
    }
    target.turned = projection == WA_DOWN && wa_payload_down_is_feature_major(target.payload);
    WA_TRY(learn_source(bench, &target, err));
    bench->targets[bench->target_count++] = target;
    return WA_OK;
}

static wa_status find_targets(wa_bench *bench, wa_error *err)
{
    bench->target_count = 0;
    for (size_t c = 0; c < bench->cases.count; c++)
        for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
            const wa_case *which = &bench->cases.items[c];
            bool ungated = p == WA_GATE && !bench->model->gated;
            if (which->not_run == NULL && !which->source[p].from_model && !ungated)
                WA_TRY(add_target(bench, which, (wa_projection)p, err));
        }
    if (bench->target_count == 0)
        return wa_fail(err, WA_E_UNSUPPORTED, "format %s: no path reads such a vindex",
                       bench->format.name);
    return WA_OK;
}

/* The routers stand beside the matrices: faults do not go round them. */
static wa_status find_router(wa_bench *bench, wa_error *err)
{
    size_t layer = wa_model_expert_layer(bench->model);
    wa_matrix stored;
    bench->router = (wa_bench_target){
        .which = &bench->cases.items[0], .projection = WA_GATE, .payload = WA_PAYLOAD_ROUTER};
    if (layer == bench->model->layer_count || wa_bench_stack(bench, &bench->router, layer) == 0) {
        bench->router.which = NULL;
        return WA_OK;
    }
    WA_TRY(wa_bench_stored(bench, &bench->router, layer, &stored, err));
    bench->router.format = stored.format;
    return WA_OK;
}

wa_status wa_bench_open(wa_bench *bench, const wa_bench_format *format, wa_error *err)
{
    char *healthy;
    bench->format = *format;
    bench->vindex = NULL;
    WA_TRY(wa_arena_print(bench->arena, &healthy, err, "%s/%s", bench->directory, format->name));
    bench->healthy = healthy;
    WA_TRY(wa_extract(bench->model, healthy, &format->options, err));
    WA_TRY(wa_vindex_open(healthy, bench->arena, &bench->vindex, err));
    WA_TRY(wa_vindex_settle_orders(bench->vindex, bench->model, bench->arena, err));
    WA_TRY(wa_vindex_settle_experts(bench->vindex, bench->model, bench->arena, err));
    wa_case_input input = {
        .name = "healthy", .vindex = bench->vindex, .ladder = (wa_ladder)WA_BENCH_LADDER};
    WA_TRY(wa_cases_build(&input, 1, bench->model, bench->arena, &bench->cases, err));
    WA_TRY(find_targets(bench, err));
    return find_router(bench, err);
}

void wa_bench_close(wa_bench *bench)
{
    if (bench->vindex != NULL)
        wa_vindex_close(bench->vindex);
    bench->vindex = NULL;
}

/* --- Judging ---------------------------------------------------------------------------------- */

wa_status wa_bench_judge(const wa_bench *bench, const wa_bench_target *target,
                         const wa_encoding_pair *pairs, size_t count, bool turned,
                         wa_encoding_finding *out, wa_row_error *rows, wa_error *err)
{
    const wa_matrix *stored = &pairs[0].stored;
    wa_encoding_figure figure = {.checked = true,
                                 .file = wa_vindex_file(bench->vindex, target->payload),
                                 .format = stored->format,
                                 .nominal_bound = wa_encoding_nominal(bench->vindex, stored)};
    WA_TRY(wa_encoding_check_all(pairs, count, turned, wa_payload_encoded_by(target->payload),
                                 bench->arena, &figure.rows, NULL, err));
    *out = wa_encoding_judge(&figure, WA_ENCODER_NEAREST);
    if (rows != NULL)
        *rows = figure.rows;
    return WA_OK;
}

wa_status wa_bench_heed(wa_error *err)
{
    int heard = wa_signals_heard();
    if (heard != 0)
        return wa_fail(err, WA_E_NO_PROGRESS, "stopped by %s", wa_signal_name(heard));
    return WA_OK;
}

/* Bits of every significance: codes, scales, signs, exponents. */
#include "selftest/bits.h"

#include <math.h>

enum { ROWS = 64, LEAST_WEIGHTS = 8 };

typedef struct flips {
    const wa_bench *bench;
    wa_matrix stored, truth; /* rows of the slice: in memory, and as f32 */
    uint8_t *bytes;
    size_t row;
    float *healthy, *now;
    const float *model; /* its weights */
    uint8_t *made;      /* [row_bytes] */
} flips;

static wa_status prepare(flips *f, const wa_bench_target *target, wa_error *err)
{
    size_t layer = f->bench->vindex->layer_count / 2;
    float *rows;
    WA_TRY(wa_bench_stored(f->bench, target, layer, &f->stored, err));
    WA_TRY(wa_bench_rows(f->bench, target, layer, &rows, err));
    f->stored.rows = f->stored.rows < ROWS ? f->stored.rows : ROWS;
    f->truth = (wa_matrix){.data = (const uint8_t *)rows,
                           .name = "model",
                           .format = WA_FORMAT_F32,
                           .rows = f->stored.rows,
                           .cols = f->stored.cols,
                           .row_bytes = f->stored.cols * sizeof *rows};
    size_t bytes = wa_matrix_bytes(&f->stored);
    WA_TRY(wa_arena_take_raw(f->bench->arena, bytes, 1, &f->bytes, err));
    memcpy(f->bytes, f->stored.data, bytes);
    f->stored.data = f->bytes;
    f->row = f->stored.rows / 2;
    WA_TRY(
        wa_arena_take_raw(f->bench->arena, f->stored.cols, sizeof *f->healthy, &f->healthy, err));
    WA_TRY(wa_arena_take_raw(f->bench->arena, f->stored.cols, sizeof *f->now, &f->now, err));
    wa_matrix_decode(&f->stored, f->row, 1, f->healthy);
    f->model = rows + f->row * f->stored.cols;
    return wa_arena_take_raw(f->bench->arena, f->stored.row_bytes, 1, &f->made, err);
}

/* 0: the same values; infinite for what is no number. */
static double error_now(flips *f)
{
    double difference = 0.0, norm = 0.0;
    wa_matrix_decode(&f->stored, f->row, 1, f->now);
    for (size_t c = 0; c < f->stored.cols; c++) {
        double d = (double)f->now[c] - (double)f->healthy[c];
        difference += d * d;
        norm += (double)f->healthy[c] * (double)f->healthy[c];
    }
    double error = sqrt(difference) / (norm > 0.0 ? sqrt(norm) : 1.0);
    return isfinite(error) ? error : INFINITY;
}

/* Floats: every value is one of the model's two f16 neighbours. Blocks: the encoder makes this row
 * of the weights' f16 values, or of themselves. */
static wa_status is_lawful(flips *f, const wa_bench_target *target, bool *out, wa_error *err)
{
    double step = target->format == WA_FORMAT_BF16 ? 0x1p-7 : 0x1p-10;
    *out = false;
    if (wa_format_get(target->format)->encode == NULL) {
        *out = true;
        for (size_t c = 0; c < f->stored.cols; c++)
            *out = *out && fabs((double)f->now[c] - (double)f->model[c]) <=
                               fmax(fabs((double)f->model[c]) * step, 0x1p-14);
        return WA_OK;
    }
    for (int s = 0; s < WA_BENCH_SOURCES && !*out; s++) {
        wa_bench_target other = *target;
        other.source = (wa_bench_source)s;
        WA_TRY(wa_bench_encode(f->bench, &other, WA_BENCH_OURS, f->model, 1, &f->stored, f->made,
                               err));
        *out = memcmp(f->made, f->bytes + f->row * f->stored.row_bytes, f->stored.row_bytes) == 0;
    }
    return WA_OK;
}

static wa_status count(flips *f, const wa_encoding_finding *finding, wa_bits *out, wa_error *err)
{
    double error = error_now(f);
    bool lawful;
    out->bits++;
    if (!finding->faithful && finding->row == (int32_t)f->row) {
        out->found++;
        out->least_found = fmin(out->least_found, error);
        return WA_OK;
    }
    if (error == 0.0) {
        out->idle++;
        return WA_OK;
    }
    WA_TRY(is_lawful(f, &out->target, &lawful, err));
    out->lawful += lawful ? 1 : 0;
    double *most = lawful ? &out->most_lawful : &out->most_missed;
    *most = fmax(*most, error);
    return WA_OK;
}

static wa_status flip(flips *f, uint8_t *byte, unsigned bit, wa_bits *out, wa_error *err)
{
    wa_encoding_finding finding;
    const wa_encoding_pair pair = {.stored = f->stored, .model = f->truth};
    *byte = (uint8_t)(*byte ^ 1U << bit);
    wa_status status = wa_bench_judge(f->bench, &out->target, &pair, 1, false, &finding, NULL, err);
    if (status == WA_OK)
        status = count(f, &finding, out, err);
    *byte = (uint8_t)(*byte ^ 1U << bit);
    return status;
}

wa_status wa_bits_run(const wa_bench *bench, const wa_bench_target *target, wa_bits *out,
                      wa_error *err)
{
    flips f = {.bench = bench};
    wa_bits result = {.target = *target, .least_found = INFINITY};
    const wa_format_info *info = wa_format_get(target->format);
    wa_mark mark = wa_arena_mark(bench->arena);
    WA_TRY(prepare(&f, target, err));
    size_t blocks = (LEAST_WEIGHTS + info->block_elements - 1) / info->block_elements;
    uint8_t *at = f.bytes + f.row * f.stored.row_bytes;
    for (size_t i = 0; i < blocks * info->block_bytes; i++) {
        WA_TRY(wa_bench_heed(err));
        for (unsigned bit = 0; bit < 8; bit++)
            WA_TRY(flip(&f, at + i, bit, &result, err));
    }
    wa_arena_release(bench->arena, mark);
    *out = result;
    return WA_OK;
}

/* Number formats on one core: decoding into a panel that stays in cache, encoding, and decoding for
 * the row kernel of the per-feature loops; beside reading memory and sgemm in the same run. usage:
 * bench_codec [ROWS]   rows of the sgemm that a decoded layer feeds, 256 if not given */
#include "base/arena.h"

#include "rates.h"

#include <math.h>
#include <stdio.h>

enum {
    PACKED_BYTES = 128 << 20, /* beyond every cache */
    SOURCE = 1 << 18,         /* floats to encode */
    HIDDEN = 2048,
    FEATURES = 4096,
    PANEL_BYTES = WA_DOT_PANEL_BYTES /* within the second-level cache */
};

typedef struct bench {
    float *source;   /* [SOURCE] normal deviates */
    uint8_t *packed; /* [PACKED_BYTES + 1], used from an odd address */
    float *panel;    /* WA_PANEL_BYTES */
    float *x;        /* [HIDDEN] */
    /* [2 * PACKED_BYTES / HIDDEN]: more rows than any format packs */
    float *y;
    double read_gbps, gemm_weights; /* 1e9 bytes, 1e9 weights a second */
} bench;

/* Sum of twelve uniform deviates less six: normal enough for timing. */
static void fill_normal(float *out, size_t count, float deviation)
{
    uint64_t state = 88172645463325252U;
    for (size_t i = 0; i < count; i++) {
        float sum = -6.0F;
        for (int k = 0; k < 12; k++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            sum += (float)(state >> 40) * 0x1p-24F;
        }
        out[i] = deviation * sum;
    }
}

/* Encoded weights over and over; for formats without an encoder, bytes that make every scale and
 * value an ordinary number. */
static void fill_packed(const wa_format_info *info, bench *b)
{
    uint8_t *packed = b->packed + 1;
    if (info->encode == NULL) {
        for (size_t i = 0; i < PACKED_BYTES; i++)
            packed[i] = (uint8_t)(0x3c + (i * 2654435761U >> 20 & 3));
        return;
    }
    size_t tile = SOURCE / info->block_elements * info->block_bytes;
    info->encode(b->source, SOURCE / info->block_elements, packed);
    for (size_t at = tile; at < PACKED_BYTES; at += tile)
        memcpy(packed + at, packed, at + tile < PACKED_BYTES ? tile : PACKED_BYTES - at);
}

/* 1e9 floats a second of decoding everything, `panel_bytes` of floats at a time to the same place.
 */
static double decode_rate(const wa_format_info *info, wa_decode *decode, size_t panel_bytes,
                          const bench *b)
{
    size_t step = panel_bytes / sizeof(float) / info->block_elements;
    size_t panels = PACKED_BYTES / (step * info->block_bytes);
    double seconds[REPEATS];
    for (int r = 0; r < REPEATS; r++) {
        double start = processor_time();
        for (size_t p = 0; p < panels; p++)
            decode(b->packed + 1 + p * step * info->block_bytes, step, b->panel);
        seconds[r] = processor_time() - start;
    }
    return median_rate(seconds, 1e-9 * (double)(panels * step * info->block_elements));
}

static double encode_rate(const wa_format_info *info, wa_encode *encode, const bench *b)
{
    double seconds[REPEATS];
    for (int r = 0; r < REPEATS; r++) {
        double start = processor_time();
        encode(b->source, SOURCE / info->block_elements, b->packed + 1);
        seconds[r] = processor_time() - start;
    }
    return median_rate(seconds, 4e-6 * SOURCE);
}

/* 1e9 floats a second of the loops' row kernel at one position: every row decoded, then multiplied
 * by x. */
static double row_rate(wa_format format, bench *b)
{
    wa_matrix matrix = {.data = b->packed + 1, .format = format, .cols = HIDDEN};
    wa_scratch scratch = {.panel = b->panel};
    double seconds[REPEATS];
    if (!wa_row_bytes(format, HIDDEN, &matrix.row_bytes))
        return NAN;
    matrix.rows = PACKED_BYTES / matrix.row_bytes;
    wa_operand pair = {.x = b->x, .y = b->y};
    for (int r = 0; r < REPEATS; r++) {
        for (size_t i = 0; i < matrix.rows; i++)
            b->y[i] = 1.0F; /* wanted */
        double start = processor_time();
        wa_dot_marked(&matrix, 1, HIDDEN, matrix.rows, &pair, 1, &scratch);
        seconds[r] = processor_time() - start;
    }
    return median_rate(seconds, 1e-9 * (double)(matrix.rows * HIDDEN));
}

static void report(wa_format format, bench *b)
{
    const wa_format_info *info = wa_format_get(format);
    double per_byte = (double)info->block_bytes / (double)info->block_elements;
    fill_packed(info, b);
    double rate = decode_rate(info, info->decode, PANEL_BYTES, b);
    double large = decode_rate(info, info->decode, WA_PANEL_BYTES, b);
    double rows = row_rate(format, b);
    printf("%-4s  %7.2f %8.2f %6.0f %%  %8.2f %6.0f %%  %8.2f %8.2f %6.0f %%", info->name,
           rate * per_byte, rate * 4, 400 * rate / b->read_gbps, large * 4,
           100 * b->gemm_weights / large, rows * 2, rows * 4, 400 * rows / b->read_gbps);
    if (info->encode != NULL)
        printf("  %7.0f %7.0f", encode_rate(info, info->encode, b),
               encode_rate(info, info->encode_ref, b));
    printf("\n");
}

static wa_status take(wa_arena *arena, bench *b, wa_error *err)
{
    WA_TRY(wa_arena_take(arena, SOURCE, sizeof *b->source, &b->source, err));
    WA_TRY(wa_arena_take(arena, PACKED_BYTES + 1, 1, &b->packed, err));
    WA_TRY(wa_arena_take(arena, WA_PANEL_BYTES, 1, &b->panel, err));
    WA_TRY(wa_arena_take(arena, PACKED_BYTES / HIDDEN * 2, sizeof *b->y, &b->y, err));
    return wa_arena_take(arena, HIDDEN, sizeof *b->x, &b->x, err);
}

/* Memory and sgemm at `rows`, weights from memory. */
static wa_status measure_machine(wa_arena *arena, size_t rows, bench *b, wa_error *err)
{
    size_t copies = PACKED_BYTES / ((size_t)HIDDEN * FEATURES * sizeof(float));
    float *weights, *x, *y;
    WA_TRY(wa_arena_take(arena, PACKED_BYTES / sizeof *weights, sizeof *weights, &weights, err));
    WA_TRY(wa_arena_take(arena, rows * HIDDEN, sizeof *x, &x, err));
    WA_TRY(wa_arena_take(arena, rows * FEATURES, sizeof *y, &y, err));
    fill_normal(x, rows * HIDDEN, 1.0F);
    for (size_t i = 0; i < PACKED_BYTES / sizeof *weights; i++)
        weights[i] = (float)(i % 1021) * 1e-3F - 0.5F;
    b->read_gbps = read_rate(weights, PACKED_BYTES / sizeof *weights);
    double gflops = gemm_rate(rows, FEATURES, HIDDEN, copies, weights, x, y);
    b->gemm_weights = gflops / (2.0 * (double)rows);
    printf("one core: reads %.2f GB/s; sgemm at %zu rows %.2f GFLOP/s, %.2f GB/s of weights\n",
           b->read_gbps, rows, gflops, b->gemm_weights * 4);
    return WA_OK;
}

int main(int argc, char **argv)
{
    size_t rows = argc > 1 ? strtoul(argv[1], NULL, 10) : 256;
    bench b;
    wa_error err;
    wa_arena *arena;
    if (argc > 2 || rows == 0 || rows > 1 << 16) {
        fprintf(stderr, "usage: bench_codec [ROWS]\n");
        return 2;
    }
    wa_blas_set_threads(1);
    if (wa_arena_open("bench", 0, &arena, &err) != WA_OK || take(arena, &b, &err) != WA_OK ||
        measure_machine(arena, rows, &b, &err) != WA_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 3;
    }
    fill_normal(b.source, SOURCE, 0.02F);
    fill_normal(b.x, HIDDEN, 1.0F);
    printf("              decode GB/s: in, f32 out, of reading   4 MiB panel: f32, of sgemm   row "
           "kernel: "
           "GFLOP/s, GB/s f32, of reading   encode: MB/s f32, oracle\n");
    for (int f = 0; f < WA_FORMAT_COUNT; f++)
        report((wa_format)f, &b);
    wa_arena_close(arena);
    return 0;
}

/* What this machine can do, one core: sgemm at its best, sgemm at a job's row count, and reading memory. JSON on stdout.
 * usage: bench_limits ROWS HIDDEN INTERMEDIATE */
#include "walkaudit/arena.h"
#include "walkaudit/kernel.h"
#include "walkaudit/stage.h"

#include <stdio.h>
#include <stdlib.h>

enum { REPEATS = 7 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median rate of `work` units, the time of each repeat taken by itself. */
static double median_rate(double seconds[REPEATS], double work)
{
    qsort(seconds, REPEATS, sizeof *seconds, by_value);
    return work / seconds[REPEATS / 2];
}

/* GFLOP/s of [rows, k] x [n, k]^T over `copies` different weight matrices, whole matrices, so that weights come from memory
 * as they do in a layer loop. */
static double gemm_rate(size_t rows, size_t n, size_t k, size_t copies, const float *weights,
                        const float *x, float *y)
{
    double seconds[REPEATS];
    for (int r = 0; r < REPEATS; r++) {
        double start = wa_clock();
        for (size_t c = 0; c < copies; c++)
            wa_blas_gemm(rows, n, k, x, weights + c * n * k, y);
        seconds[r] = wa_clock() - start;
    }
    return median_rate(seconds, 2e-9 * (double)(rows * n * k * copies));
}

static double read_rate(const float *data, size_t floats)
{
    double seconds[REPEATS];
    volatile float sink = 0.0F;
    for (int r = 0; r < REPEATS; r++) {
        double start = wa_clock();
        sink = sink + wa_dot(data, data + floats / 2, floats / 2);
        seconds[r] = wa_clock() - start;
    }
    return median_rate(seconds, 4e-9 * (double)floats);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: bench_limits ROWS HIDDEN INTERMEDIATE\n");
        return 2;
    }
    size_t rows = strtoul(argv[1], NULL, 10);
    size_t hidden = strtoul(argv[2], NULL, 10);
    size_t features = strtoul(argv[3], NULL, 10);
    size_t floats = (size_t)64 << 20; /* 256 MiB: beyond every cache */
    size_t most = rows > 2048 ? rows : 2048;
    size_t wide = hidden > features ? hidden : features;
    if (rows == 0 || hidden == 0 || features == 0 || hidden * features > floats)
        return 2;
    wa_error err;
    wa_arena *arena;
    float *weights, *x, *y;
    if (wa_arena_open("bench", 0, &arena, &err) != WA_OK ||
        wa_arena_take(arena, floats, sizeof *weights, &weights, &err) != WA_OK ||
        wa_arena_take(arena, most * wide, sizeof *x, &x, &err) != WA_OK ||
        wa_arena_take(arena, most * wide, sizeof *y, &y, &err) != WA_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 3;
    }
    for (size_t i = 0; i < floats; i++)
        weights[i] = (float)(i % 1021) * 1e-3F - 0.5F;
    for (size_t i = 0; i < most * wide; i++)
        x[i] = (float)(i % 509) * 1e-3F - 0.25F;
    wa_blas_set_threads(1);
    size_t copies = floats / (hidden * features);
    if (copies > 16)
        copies = 16;
    double up = gemm_rate(rows, features, hidden, copies, weights, x, y);
    double down = gemm_rate(rows, hidden, features, copies, weights, x, y);
    printf("{\"sgemm_peak_gflops\": %.2f, \"sgemm_rows_gflops\": %.2f, \"read_gbps\": %.2f, "
           "\"core\": \"%s\"}\n",
           gemm_rate(2048, 2048, 2048, 1, weights, x, y), 3.0 / (2.0 / up + 1.0 / down),
           read_rate(weights, floats), wa_blas_core());
    wa_arena_close(arena);
    return 0;
}

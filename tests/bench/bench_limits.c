/* What this machine can do, one core: FMAs at their best, sgemm at its best, sgemm at a job's row
 * count, and reading memory. JSON on stdout. usage: bench_limits ROWS HIDDEN INTERMEDIATE */
#include "base/arena.h"

#include "peak.h"
#include "rates.h"

#include <stdio.h>

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
    /* rows, columns and depth of the product that shows the peak */
    enum { PEAK = 2048 };
    size_t most = rows > PEAK ? rows : PEAK;
    size_t wide = hidden > features ? hidden : features;
    wide = wide > PEAK ? wide : PEAK;
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
    const wa_isa *isa;
    if (wa_isa_choose(&isa, &err) != WA_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    printf("{\"isa\": \"%s\", \"fma_peak_gflops\": %.2f, ", wa_isa_name(isa),
           peak_rate(wa_isa_name(isa)));
    printf("\"sgemm_peak_gflops\": %.2f, \"sgemm_rows_gflops\": %.2f, \"read_gbps\": %.2f, "
           "\"core\": \"%s\"}\n",
           gemm_rate(PEAK, PEAK, PEAK, 1, weights, x, y), 3.0 / (2.0 / up + 1.0 / down),
           read_rate(weights, floats), wa_blas_look().core);
    wa_arena_close(arena);
    return 0;
}

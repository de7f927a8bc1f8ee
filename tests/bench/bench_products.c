/* Products of one core beside what it can do: the FMA peak, then our own products and engine blas
 * by turns, weights in bf16 and decoded anew for each product. usage: bench_products [HIDDEN
 * INTERMEDIATE] */
#include "base/arena.h"

#include "peak.h"
#include "rates.h"

#include <stdio.h>

enum { MOST_ROWS = 512, EVALUATIONS = 7, PAIRS_OF_RUNS = REPEATS, LEAST_COLUMNS = 512 };
/* Many rows take fewer columns of W, whose number changes no rate: a run is at most this many
 * operations. */
static const double MOST_FLOPS = 2e10;

static double seconds_of(wa_engine engine, const wa_matrix *w, size_t rows, const wa_operand *pairs,
                         size_t count, wa_scratch *scratch)
{
    scratch->engine = engine;
    double start = processor_time();
    wa_gemm_rows(w, rows, w->cols, w->rows, pairs, count, NULL, scratch);
    return processor_time() - start;
}

/* As much of W as its rows leave time for. */
static wa_matrix cut(const wa_matrix *w, size_t rows)
{
    wa_matrix part = *w;
    double columns = MOST_FLOPS / 2.0 / (double)(rows * w->cols);
    if (columns < (double)w->rows)
        part.rows = wa_size_min(w->rows, columns < LEAST_COLUMNS ? LEAST_COLUMNS : (size_t)columns);
    return part;
}

/* Medians of runs by turns, and of the ratios of neighbours. */
static void compare(const wa_matrix *whole, size_t rows, size_t count, const float *x, float *y,
                    double peak, wa_scratch *scratch)
{
    double own[PAIRS_OF_RUNS], blas[PAIRS_OF_RUNS], ratio[PAIRS_OF_RUNS];
    wa_operand pairs[EVALUATIONS];
    const wa_matrix part = cut(whole, rows * count), *w = &part;
    double flops = 2e-9 * (double)(rows * count) * (double)(w->rows * w->cols);
    for (size_t i = 0; i < count; i++)
        pairs[i] = (wa_operand){.x = x + i * rows * w->cols, .y = y + i * rows * w->rows};
    for (int r = 0; r < PAIRS_OF_RUNS; r++) {
        own[r] = seconds_of(WA_ENGINE_WALKAUDIT, w, rows, pairs, count, scratch);
        blas[r] = seconds_of(WA_ENGINE_BLAS, w, rows, pairs, count, scratch);
        ratio[r] = blas[r] / own[r];
    }
    qsort(ratio, PAIRS_OF_RUNS, sizeof *ratio, by_value);
    double rate = median_rate(own, flops);
    printf("%5zu x %zu   %8.1f %6.0f %%   %8.1f   %5.2f\n", rows, count, rate,
           peak > 0.0 ? 100.0 * rate / peak : 0.0, median_rate(blas, flops),
           ratio[PAIRS_OF_RUNS / 2]);
}

static int run(size_t hidden, size_t features, wa_arena *arena, wa_error *err)
{
    uint16_t *weights;
    float *x, *y;
    wa_scratch scratch;
    WA_TRY(wa_arena_take(arena, hidden * features, sizeof *weights, &weights, err));
    WA_TRY(wa_arena_take(arena, MOST_ROWS * EVALUATIONS * hidden, sizeof *x, &x, err));
    WA_TRY(wa_arena_take(arena, MOST_ROWS * EVALUATIONS * features, sizeof *y, &y, err));
    WA_TRY(wa_scratch_open(arena, MOST_ROWS, 1, hidden, &scratch, err));
    for (size_t i = 0; i < hidden * features; i++)
        weights[i] = wa_f32_to_bf16((float)(i % 1021) * 1e-3F - 0.5F);
    for (size_t i = 0; i < MOST_ROWS * EVALUATIONS * hidden; i++)
        x[i] = (float)(i % 509) * 1e-3F - 0.25F;
    wa_blas_set_threads(1);
    setvbuf(stdout, NULL, _IOLBF, 0);
    double peak = peak_rate(wa_isa_name(scratch.isa));
    printf("[%zu, %zu] bf16, %s; FMA peak %.1f GFLOP/s; BLAS core %s\n rows x n       ours  of "
           "peak       blas   ours is faster by\n",
           hidden, features, wa_isa_name(scratch.isa), peak, wa_blas_look().core);
    const wa_matrix w = {.data = (const uint8_t *)weights,
                         .format = WA_FORMAT_BF16,
                         .rows = features,
                         .cols = hidden,
                         .row_bytes = hidden * sizeof *weights};
    static const size_t rows[] = {1, 6, 39, 128, 512};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t count = 1; count <= EVALUATIONS; count += EVALUATIONS - 1)
            compare(&w, rows[i], count, x, y, peak, &scratch);
    return WA_OK;
}

int main(int argc, char **argv)
{
    wa_error err;
    wa_arena *arena;
    size_t hidden = argc > 2 ? strtoul(argv[1], NULL, 10) : 2560,
           features = argc > 2 ? strtoul(argv[2], NULL, 10) : 10240;
    if (hidden == 0 || features == 0 || wa_arena_open("bench", 0, &arena, &err) != WA_OK)
        return 2;
    int status = run(hidden, features, arena, &err);
    if (status != WA_OK)
        fprintf(stderr, "%s\n", err.text);
    wa_arena_close(arena);
    return status == WA_OK ? 0 : 3;
}

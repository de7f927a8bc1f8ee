/* What benchmarks share: rates of one core from repeated runs. */
#ifndef WALKAUDIT_BENCH_RATES_H
#define WALKAUDIT_BENCH_RATES_H

#include "compute/kernel.h"
#include "engine/stage.h"

#include <stdlib.h>
#include <time.h>

enum { REPEATS = 7 };

/* Seconds that this thread has had a core: others on the machine count less than by the clock. */
static inline double processor_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median rate of `work` units, the time of each repeat taken by itself. */
static inline double median_rate(double seconds[REPEATS], double work)
{
    qsort(seconds, REPEATS, sizeof *seconds, by_value);
    return work / seconds[REPEATS / 2];
}

/* GFLOP/s of [rows, k] x [n, k]^T over `copies` different weight matrices, whole matrices, so that
 * weights come from memory as they do in a layer loop. */
static inline double gemm_rate(size_t rows, size_t n, size_t k, size_t copies, const float *weights,
                               const float *x, float *y)
{
    double seconds[REPEATS];
    for (int r = 0; r < REPEATS; r++) {
        double start = processor_time();
        for (size_t c = 0; c < copies; c++)
            wa_blas_gemm(NULL, rows, n, k, x, weights + c * n * k, y);
        seconds[r] = processor_time() - start;
    }
    return median_rate(seconds, 2e-9 * (double)(rows * n * k * copies));
}

static inline double read_rate(const float *data, size_t floats)
{
    double seconds[REPEATS];
    volatile float sink = 0.0F;
    for (int r = 0; r < REPEATS; r++) {
        double start = processor_time();
        sink = sink + wa_dot(data, data + floats / 2, floats / 2);
        seconds[r] = processor_time() - start;
    }
    return median_rate(seconds, 4e-9 * (double)floats);
}

#endif

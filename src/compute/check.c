/* Do the products that a run uses come out right on this host? A wrong kernel for a new processor
 * would make every verdict wrong. */
#include "compute/kernel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Odd sizes reach the edges of every blocking. */
enum { MOST = 67 };

/* Whole numbers from -8 to 8: products and sums are exact in f32, so any order of summing gives the
 * same bits. */
static void fill(float *x, size_t n, size_t seed)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((i * 7 + seed * 5 + i / 11) % 17) - 8.0F;
}

/* A product of the installed library is wrong: what may be tried in its place. */
static wa_status refuse_blas(const char *product, const char *what, wa_error *err)
{
    wa_blas blas = wa_blas_look();
    if (strcmp(blas.name, "OpenBLAS") == 0)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "%s of OpenBLAS core '%s' gives %s: set OPENBLAS_CORETYPE to another",
                       product, blas.core, what);
    return wa_fail(err, WA_E_UNSUPPORTED, "%s of %s on '%s' gives %s: install another BLAS",
                   product, blas.config, blas.core, what);
}

static wa_status refuse(wa_engine engine, const wa_isa *isa, const char *what, wa_error *err)
{
    if (engine == WA_ENGINE_BLAS)
        return refuse_blas("sgemm", what, err);
    return wa_fail(err, WA_E_UNSUPPORTED, "products by %s give %s: set WALKAUDIT_ISA to another",
                   wa_isa_name(isa), what);
}

typedef struct shape {
    size_t m, n, k;
} shape;

static const shape SHAPES[] = {{1, 1, 1},    {1, 67, 33},  {5, 3, 7},
                               {13, 17, 64}, {33, 65, 67}, {67, 31, 1}};
enum { SHAPE_COUNT = sizeof SHAPES / sizeof SHAPES[0] };

/* What is wrong with element `at`, as a phrase for the messages above. */
static void describe(shape s, size_t at, double found, double expected, char *out, size_t size)
{
    snprintf(out, size, "%g at (%zu, %zu) of a %zu x %zu x %zu product, expected %g", found,
             at / s.n, at % s.n, s.m, s.n, s.k, expected);
}

static wa_status check_shape(wa_engine engine, wa_gemm_function *gemm, const wa_isa *isa, shape s,
                             wa_error *err)
{
    float a[MOST * MOST], b[MOST * MOST], c[MOST * MOST];
    fill(a, s.m * s.k, 1);
    fill(b, s.n * s.k, 2);
    for (size_t i = 0; i < s.m * s.n; i++)
        c[i] = NAN;
    gemm(isa, s.m, s.n, s.k, a, b, c);
    for (size_t at = 0; at < s.m * s.n; at++) {
        double sum = 0.0;
        for (size_t l = 0; l < s.k; l++)
            sum += (double)a[at / s.n * s.k + l] * (double)b[at % s.n * s.k + l];
        if ((double)c[at] == sum)
            continue;
        char what[160];
        describe(s, at, (double)c[at], sum, what, sizeof what);
        return refuse(engine, isa, what, err);
    }
    return WA_OK;
}

static void fill_wide(double *x, size_t n, size_t seed)
{
    float values[MOST * MOST];
    fill(values, n, seed);
    for (size_t i = 0; i < n; i++)
        x[i] = (double)values[i];
}

/* As the oracle calls it: b as rows of k, and a as rows of m or of k. */
static wa_status check_wide_shape(wa_dgemm_function *gemm, bool turned, shape s, wa_error *err)
{
    double a[MOST * MOST], b[MOST * MOST], c[MOST * MOST];
    fill_wide(a, s.m * s.k, 1);
    fill_wide(b, s.k * s.n, 2);
    for (size_t i = 0; i < s.m * s.n; i++)
        c[i] = NAN;
    gemm(turned, s.m, s.n, s.k, a, b, c);
    for (size_t at = 0; at < s.m * s.n; at++) {
        size_t i = at / s.n;
        double sum = 0.0;
        for (size_t l = 0; l < s.k; l++)
            sum += a[turned ? l * s.m + i : i * s.k + l] * b[l * s.n + at % s.n];
        if (c[at] == sum)
            continue;
        char what[160];
        describe(s, at, c[at], sum, what, sizeof what);
        return refuse_blas("dgemm", what, err);
    }
    return WA_OK;
}

wa_status wa_gemm_check(wa_engine engine, wa_gemm_function *gemm, const wa_isa *isa, wa_error *err)
{
    for (size_t i = 0; i < SHAPE_COUNT; i++)
        WA_TRY(check_shape(engine, gemm, isa, SHAPES[i], err));
    return WA_OK;
}

wa_status wa_dgemm_check(wa_dgemm_function *gemm, wa_error *err)
{
    for (size_t i = 0; i < 2 * SHAPE_COUNT; i++)
        WA_TRY(check_wide_shape(gemm, i % 2 == 1, SHAPES[i / 2], err));
    return WA_OK;
}

/* Do the products that a run uses come out right on this host? A wrong kernel for a new processor would make every verdict wrong. */
#include "compute/kernel.h"

#include <math.h>
#include <stdio.h>

/* Odd sizes reach the edges of every blocking. */
enum { MOST = 67 };

/* Whole numbers from -8 to 8: products and sums are exact in f32, so any order of summing gives the same bits. */
static void fill(float *x, size_t n, size_t seed)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((i * 7 + seed * 5 + i / 11) % 17) - 8.0F;
}

/* Who multiplied, and what may be tried in its place. */
static wa_status refuse(wa_engine engine, const wa_isa *isa, const char *what, wa_error *err)
{
    if (engine == WA_ENGINE_BLAS)
        return wa_fail(err, WA_E_UNSUPPORTED, "sgemm of OpenBLAS core '%s' gives %s: set OPENBLAS_CORETYPE to another",
                       wa_blas_core(), what);
    return wa_fail(err, WA_E_UNSUPPORTED, "products by %s give %s: set WALKAUDIT_ISA to another", wa_isa_name(isa), what);
}

static wa_status check_shape(wa_engine engine, wa_gemm_function *gemm, const wa_isa *isa, size_t m, size_t n, size_t k,
                             wa_error *err)
{
    float a[MOST * MOST], b[MOST * MOST], c[MOST * MOST];
    fill(a, m * k, 1);
    fill(b, n * k, 2);
    for (size_t i = 0; i < m * n; i++)
        c[i] = NAN;
    gemm(isa, m, n, k, a, b, c);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0.0;
            for (size_t l = 0; l < k; l++)
                sum += (double)a[i * k + l] * (double)b[j * k + l];
            if ((double)c[i * n + j] == sum)
                continue;
            char what[160];
            snprintf(what, sizeof what, "%g at (%zu, %zu) of a %zu x %zu x %zu product, expected %g",
                     (double)c[i * n + j], i, j, m, n, k, sum);
            return refuse(engine, isa, what, err);
        }
    return WA_OK;
}

wa_status wa_gemm_check(wa_engine engine, wa_gemm_function *gemm, const wa_isa *isa, wa_error *err)
{
    static const size_t shapes[][3] = {{1, 1, 1}, {1, 67, 33}, {5, 3, 7}, {13, 17, 64}, {33, 65, 67}, {67, 31, 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        WA_TRY(check_shape(engine, gemm, isa, shapes[i][0], shapes[i][1], shapes[i][2], err));
    return WA_OK;
}

/* Does the installed sgemm compute products on this host? A wrong kernel for a new processor would make every verdict wrong. */
#include "compute/kernel.h"

#include <math.h>

/* Odd sizes reach the edges of every blocking. */
enum { MOST = 67 };

/* Whole numbers from -8 to 8: products and sums are exact in f32, so any order of summing gives the same bits. */
static void fill(float *x, size_t n, size_t seed)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((i * 7 + seed * 5 + i / 11) % 17) - 8.0F;
}

static wa_status check_shape(wa_gemm_function *gemm, size_t m, size_t n, size_t k, wa_error *err)
{
    float a[MOST * MOST], b[MOST * MOST], c[MOST * MOST];
    fill(a, m * k, 1);
    fill(b, n * k, 2);
    for (size_t i = 0; i < m * n; i++)
        c[i] = NAN;
    gemm(m, n, k, a, b, c);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0.0;
            for (size_t l = 0; l < k; l++)
                sum += (double)a[i * k + l] * (double)b[j * k + l];
            if (!((double)c[i * n + j] == sum))
                return wa_fail(err, WA_E_UNSUPPORTED,
                               "sgemm of OpenBLAS core '%s' gives %g at (%zu, %zu) of a %zu x %zu x %zu product, "
                               "expected %g: set OPENBLAS_CORETYPE to another",
                               wa_blas_core(), (double)c[i * n + j], i, j, m, n, k, sum);
        }
    return WA_OK;
}

wa_status wa_gemm_check(wa_gemm_function *gemm, wa_error *err)
{
    static const size_t shapes[][3] = {{1, 1, 1}, {1, 67, 33}, {5, 3, 7}, {13, 17, 64}, {33, 65, 67}, {67, 31, 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        WA_TRY(check_shape(gemm, shapes[i][0], shapes[i][1], shapes[i][2], err));
    return WA_OK;
}

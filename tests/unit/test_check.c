/* The start-up check of sgemm: the installed one passes, wrong ones do not. */
#include "suite.h"

#include "compute/isa.h"
#include "compute/kernel.h"

#include <math.h>
#include <string.h>

static void the_installed_sgemm_is_right(void)
{
    wa_error err;
    WA_MUST(wa_gemm_check(WA_ENGINE_BLAS, wa_blas_gemm, NULL, &err), &err);
    WA_MUST(wa_dgemm_check(wa_blas_dgemm, &err), &err);
    wa_blas_set_threads(1);
    CU_ASSERT_EQUAL(wa_blas_threads(), 1);
}

static void our_own_products_are_right(void)
{
    wa_error err;
    const wa_isa *isa;
    for (size_t i = 0; (isa = wa_isa_at(i)) != NULL; i++)
        if (isa->is_here())
            WA_MUST(wa_gemm_check(WA_ENGINE_WALKAUDIT, wa_own_gemm, isa, &err), &err);
}

/* The defects of a bad kernel: an edge left out, one product lost, a NaN. */
static void loses_the_last_column(const wa_isa *isa, size_t m, size_t n, size_t k, const float *a,
                                  const float *b, float *c)
{
    wa_blas_gemm(isa, m, n, k, a, b, c);
    if (n == 67)
        c[(m - 1) * n + 66] = 0.0F;
}

static void loses_a_product(const wa_isa *isa, size_t m, size_t n, size_t k, const float *a,
                            const float *b, float *c)
{
    wa_blas_gemm(isa, m, n, k, a, b, c);
    if (k == 67)
        for (size_t i = 0; i < m * n; i++)
            c[i] -= a[i / n * k + 64] * b[i % n * k + 64];
}

static void gives_a_nan(const wa_isa *isa, size_t m, size_t n, size_t k, const float *a,
                        const float *b, float *c)
{
    wa_blas_gemm(isa, m, n, k, a, b, c);
    if (m == 67)
        c[0] = NAN;
}

static void is_not_there(const wa_isa *isa, size_t m, size_t n, size_t k, const float *a,
                         const float *b, float *c)
{
    (void)isa, (void)m, (void)n, (void)k, (void)a, (void)b, (void)c;
}

static void a_wrong_sgemm_is_found_with_its_shape_and_place(void)
{
    static const struct {
        wa_gemm_function *gemm;
        const char *story;
    } wrong[] = {{loses_the_last_column, "at (0, 66) of a 1 x 67 x 33 product"},
                 {loses_a_product, "of a 33 x 65 x 67 product"},
                 {gives_a_nan, "at (0, 0) of a 67 x 31 x 1 product"},
                 {is_not_there, "at (0, 0) of a 1 x 1 x 1 product"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        wa_error err = {.text = ""};
        CU_ASSERT_EQUAL(wa_gemm_check(WA_ENGINE_BLAS, wrong[i].gemm, NULL, &err), WA_E_UNSUPPORTED);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, wrong[i].story));
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, wa_blas_look().core));
    }
}

static void forgets_to_turn(bool turned, size_t m, size_t n, size_t k, const double *a,
                            const double *b, double *c)
{
    (void)turned;
    wa_blas_dgemm(false, m, n, k, a, b, c);
}

static void adds_a_hair(bool turned, size_t m, size_t n, size_t k, const double *a, const double *b,
                        double *c)
{
    wa_blas_dgemm(turned, m, n, k, a, b, c);
    if (!turned && n == 65)
        c[(m - 1) * n + 64] += 0x1p-40; /* no f32 sum would show it */
}

static void writes_nothing(bool turned, size_t m, size_t n, size_t k, const double *a,
                           const double *b, double *c)
{
    (void)turned, (void)m, (void)n, (void)k, (void)a, (void)b, (void)c;
}

static void a_wrong_dgemm_is_found(void)
{
    static const struct {
        wa_dgemm_function *gemm;
        const char *story;
    } wrong[] = {{forgets_to_turn, "of a 5 x 3 x 7 product"},
                 {adds_a_hair, "at (32, 64) of a 33 x 65 x 67 product"},
                 {writes_nothing, "at (0, 0) of a 1 x 1 x 1 product"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        wa_error err = {.text = ""};
        CU_ASSERT_EQUAL(wa_dgemm_check(wrong[i].gemm, &err), WA_E_UNSUPPORTED);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, wrong[i].story));
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "dgemm of "));
    }
}

static void a_wrong_product_of_ours_names_the_instruction_set(void)
{
    wa_error err = {.text = ""};
    CU_ASSERT_EQUAL(wa_gemm_check(WA_ENGINE_WALKAUDIT, gives_a_nan, wa_isa_portable(), &err),
                    WA_E_UNSUPPORTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "by portable"));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "WALKAUDIT_ISA"));
}

WA_SUITE("check", WA_CASE(the_installed_sgemm_is_right), WA_CASE(our_own_products_are_right),
         WA_CASE(a_wrong_dgemm_is_found),
         WA_CASE(a_wrong_product_of_ours_names_the_instruction_set),
         WA_CASE(a_wrong_sgemm_is_found_with_its_shape_and_place))

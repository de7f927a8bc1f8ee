/* Differences between rows: theory, and every special value. */
#include "measure/diff.h"
#include "suite.h"

#include <float.h>
#include <math.h>
#include <stdint.h>

enum { N = 640 };

/* splitmix64, fixed seed: the same rows everywhere. */
static double uniform(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53 * 2.0 - 1.0;
}

/* walk-paths-and-audit.md 4.11: r^2 = (1 - rho)^2 + 2 rho (1 - cos), 1e-6 relative for r > 1e-7. */
static void ratio_angle_and_distance_obey_the_cosine_rule(void)
{
    static const double noise[] = {1.0, 0.3, 1e-2, 1e-4, 1e-6};
    static const double gain[] = {1.0, 0.5, 1.001, 3.0, -1.0};
    uint64_t state = 1;
    float a[N], b[N];
    for (size_t trial = 0; trial < 200; trial++) {
        for (size_t i = 0; i < N; i++) {
            a[i] = (float)uniform(&state);
            b[i] = (float)(gain[trial / 5 % 5] * (double)a[i] + noise[trial % 5] * uniform(&state));
        }
        wa_diff d = wa_diff_rows(a, b, N);
        double direct =
            (1.0 - d.norm_ratio) * (1.0 - d.norm_ratio) + 2.0 * d.norm_ratio * d.one_minus_cos;
        CU_ASSERT_EQUAL(d.status, WA_OBS_OK);
        CU_ASSERT(d.rel_l2 > 1e-7);
        CU_ASSERT_DOUBLE_EQUAL(d.rel_l2 * d.rel_l2 / direct, 1.0, 1e-6);
        CU_ASSERT(d.cos == 1.0 - d.one_minus_cos && d.cos >= -1.0 && d.cos <= 1.0);
    }
}

static void figures_of_a_right_angle_are_known(void)
{
    /* a = (3, 0), b = (0, 4): distance 5, cosine 0, ratio 4/3; the largest component difference is
     * 4 at 1 */
    const float a[] = {3.0f, 0.0f}, b[] = {0.0f, 4.0f};
    wa_diff d = wa_diff_rows(a, b, 2);
    CU_ASSERT_DOUBLE_EQUAL(d.cos, 0.0, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(d.l2, 5.0, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(d.rel_l2, 5.0 / 3.0, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(d.norm_ratio, 4.0 / 3.0, 1e-15);
    CU_ASSERT_EQUAL(d.ref_norm, 3.0);
    CU_ASSERT_EQUAL(d.max_abs, 4.0);
    CU_ASSERT_EQUAL(d.max_abs_index, 1);
}

/* Angle t between (1, 0) and (1, t): 1 - cos(atan t) = t^2/2 - 3t^4/8. A plain cosine in f64 has
 * nothing left below 1e-8. */
static void tiny_angles_keep_their_digits(void)
{
    static const float tangents[] = {1e-3f, 1e-6f, 1e-9f, 1e-12f};
    for (size_t i = 0; i < sizeof tangents / sizeof tangents[0]; i++) {
        double t = (double)tangents[i];
        const float a[] = {1.0f, 0.0f}, b[] = {1.0f, tangents[i]};
        wa_diff d = wa_diff_rows(a, b, 2);
        CU_ASSERT_DOUBLE_EQUAL(d.one_minus_cos / (t * t / 2 - 3 * t * t * t * t / 8), 1.0, 1e-9);
        CU_ASSERT_DOUBLE_EQUAL(d.rel_l2 / t, 1.0, 1e-12);
    }
}

/* Equal rows but for one last bit of bf16: the distance is that bit over the norm. */
static void one_bf16_step_is_measured(void)
{
    float a[256], b[256];
    for (size_t i = 0; i < 256; i++)
        a[i] = b[i] = 1.0f;
    b[17] = 1.0f + 0x1p-7f;
    wa_diff d = wa_diff_rows(a, b, 256);
    CU_ASSERT_DOUBLE_EQUAL(d.rel_l2, 0x1p-7 / 16.0, 1e-18);
    CU_ASSERT_EQUAL(d.max_abs, 0x1p-7);
    CU_ASSERT_EQUAL(d.max_abs_index, 17);
    /* sin^2 of the angle: (n - 1) e^2 / (n |b|^2) with e the step */
    double e = 0x1p-7, b2 = 255.0 + (1.0 + e) * (1.0 + e);
    double sin2 = 255.0 * e * e / (256.0 * b2);
    CU_ASSERT_DOUBLE_EQUAL(d.one_minus_cos / (1.0 - sqrt(1.0 - sin2)), 1.0, 1e-8);
}

static void a_row_equals_itself_exactly(void)
{
    uint64_t state = 7;
    float a[N];
    for (size_t i = 0; i < N; i++)
        a[i] = (float)uniform(&state);
    wa_diff d = wa_diff_rows(a, a, N);
    CU_ASSERT_EQUAL(d.cos, 1.0);
    CU_ASSERT_EQUAL(d.one_minus_cos, 0.0);
    CU_ASSERT_EQUAL(d.rel_l2, 0.0);
    CU_ASSERT_EQUAL(d.norm_ratio, 1.0);
    CU_ASSERT_EQUAL(d.max_abs_index, 0);
    CU_ASSERT_EQUAL(d.status, WA_OBS_OK);
}

static void two_zero_rows_are_equal(void)
{
    const float zero[4] = {0.0f, -0.0f, 0.0f, 0.0f};
    wa_diff d = wa_diff_rows(zero, zero, 4);
    CU_ASSERT_EQUAL(d.status, WA_OBS_BOTH_ZERO);
    CU_ASSERT_EQUAL(d.cos, 1.0);
    CU_ASSERT_EQUAL(d.rel_l2, 0.0);
}

static void one_zero_row_is_not_equal(void)
{
    const float zero[2] = {0.0f, 0.0f}, v[2] = {3.0f, 4.0f};
    wa_diff lost = wa_diff_rows(v, zero, 2), made = wa_diff_rows(zero, v, 2);
    CU_ASSERT_EQUAL(lost.status, WA_OBS_ONE_ZERO);
    CU_ASSERT_EQUAL(lost.cos, 0.0);
    CU_ASSERT_EQUAL(lost.rel_l2, 1.0);
    CU_ASSERT_EQUAL(lost.norm_ratio, 0.0);
    CU_ASSERT_EQUAL(made.status, WA_OBS_ONE_ZERO);
    CU_ASSERT_EQUAL(made.cos, 0.0);
    CU_ASSERT_DOUBLE_EQUAL(made.rel_l2, 5.0 / 1e-6, 1e-6); /* the floor of the denominator */
    CU_ASSERT(isinf(made.norm_ratio));
}

static void nan_and_infinity_make_every_figure_nan(void)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t k = 0; k < 3; k++)
        for (size_t side = 0; side < 2; side++) {
            float a[3] = {1.0f, 2.0f, 3.0f}, b[3] = {1.0f, 2.0f, 3.5f};
            (side == 0 ? a : b)[k] = bad[k];
            wa_diff d = wa_diff_rows(a, b, 3);
            CU_ASSERT_EQUAL(d.status, WA_OBS_NON_FINITE);
            CU_ASSERT(isnan(d.cos) && isnan(d.one_minus_cos) && isnan(d.rel_l2) && isnan(d.l2));
            CU_ASSERT(isnan(d.max_abs) && isnan(d.norm_ratio) && isnan(d.ref_norm));
            CU_ASSERT_EQUAL(d.max_abs_index, -1);
        }
}

static void the_largest_finite_values_do_not_overflow(void)
{
    const float a[2] = {FLT_MAX, FLT_MAX}, b[2] = {-FLT_MAX, FLT_MAX};
    wa_diff d = wa_diff_rows(a, b, 2);
    CU_ASSERT_EQUAL(d.status, WA_OBS_OK);
    CU_ASSERT_DOUBLE_EQUAL(d.rel_l2, sqrt(2.0), 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(d.cos, 0.0, 1e-15);
}

static void the_first_of_equal_differences_is_named(void)
{
    const float a[4] = {0.0f, 1.0f, 1.0f, 1.0f}, b[4] = {0.0f, 3.0f, -1.0f, 3.0f};
    CU_ASSERT_EQUAL(wa_diff_rows(a, b, 4).max_abs_index, 1);
}

static void relative_distance_knows_zero_and_nan(void)
{
    const float a[2] = {1.0f, 1.0f}, b[2] = {4.0f, 5.0f}, h[2] = {6.0f, 8.0f};
    const float zero[2] = {0.0f, 0.0f}, bad[2] = {NAN, 0.0f};
    CU_ASSERT_EQUAL(wa_relative_distance(a, b, h, 2), 0.5);
    CU_ASSERT_EQUAL(wa_relative_distance(a, a, zero, 2), 0.0);
    CU_ASSERT(isinf(wa_relative_distance(a, b, zero, 2)));
    CU_ASSERT(isnan(wa_relative_distance(a, bad, h, 2)));
    CU_ASSERT(isnan(wa_relative_distance(a, a, bad, 2)));
    CU_ASSERT_EQUAL(wa_norm2(h, 2), 10.0);
}

static void kernel_error_is_relative_and_never_hides_nan(void)
{
    const double truth[2] = {3.0, 4.0}, none[2] = {0.0, 0.0};
    const double bad_truth[2] = {3.0, INFINITY};
    const float y[2] = {3.0f, 4.5f}, bad[2] = {3.0f, NAN}, zero[2] = {0.0f, 0.0f};
    CU_ASSERT_EQUAL(wa_kernel_error(truth, y, 2, 0.0), 0.1);
    CU_ASSERT_EQUAL(wa_kernel_error(truth, y, 2, 2.0), 0.1);
    /* what f32 resolves is larger than y */
    CU_ASSERT_EQUAL(wa_kernel_error(truth, y, 2, 50.0), 0.01);
    CU_ASSERT_EQUAL(wa_kernel_error(truth, bad, 2, 50.0), INFINITY);
    CU_ASSERT_EQUAL(wa_kernel_error(none, zero, 2, 0.0), 0.0);
    CU_ASSERT_EQUAL(wa_kernel_error(truth, bad, 2, 0.0), INFINITY);
    CU_ASSERT_EQUAL(wa_kernel_error(bad_truth, y, 2, 0.0), INFINITY);
}

WA_SUITE("diff", WA_CASE(ratio_angle_and_distance_obey_the_cosine_rule),
         WA_CASE(figures_of_a_right_angle_are_known), WA_CASE(tiny_angles_keep_their_digits),
         WA_CASE(one_bf16_step_is_measured), WA_CASE(a_row_equals_itself_exactly),
         WA_CASE(two_zero_rows_are_equal), WA_CASE(one_zero_row_is_not_equal),
         WA_CASE(nan_and_infinity_make_every_figure_nan),
         WA_CASE(the_largest_finite_values_do_not_overflow),
         WA_CASE(the_first_of_equal_differences_is_named),
         WA_CASE(relative_distance_knows_zero_and_nan),
         WA_CASE(kernel_error_is_relative_and_never_hides_nan))

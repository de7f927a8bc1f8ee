/* Distributions over the vocabulary against closed forms. */
#include "measure/logits.h"
#include "suite.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

enum { V = 5000 };

static bool are_same(double a, double b, double relative)
{
    return (isnan(a) && isnan(b)) || a == b || fabs(a - b) <= relative * fabs(b);
}

/* Both ways, which must agree. */
static wa_logits seen(const float *logits, size_t count, size_t panel, size_t k)
{
    wa_logits state, fast;
    wa_logits_start(&state, k);
    wa_logits_start(&fast, k);
    for (size_t at = 0; at < count; at += panel) {
        size_t size = count - at < panel ? count - at : panel;
        wa_logits_add(&state, logits + at, at, size);
        wa_logits_add_fast(&fast, logits + at, at, size);
    }
    CU_ASSERT(are_same(fast.sum, state.sum, 1e-13) && fast.max == state.max);
    CU_ASSERT(fast.nonfinite == state.nonfinite && fast.filled == state.filled);
    for (size_t i = 0; i < state.filled; i++)
        CU_ASSERT(fast.top_id[i] == state.top_id[i] && fast.top_logit[i] == state.top_logit[i]);
    return state;
}

static wa_divergence compared(const float *ref, const float *own, size_t count, size_t panel)
{
    wa_logits a = seen(ref, count, panel, 2), b = seen(own, count, panel, 2);
    wa_divergence divergence, fast;
    wa_divergence_start(&divergence);
    wa_divergence_start(&fast);
    for (size_t at = 0; at < count; at += panel) {
        size_t size = count - at < panel ? count - at : panel;
        wa_divergence_add(&divergence, &a, &b, ref + at, own + at, at, size);
        wa_divergence_add_fast(&fast, &a, &b, ref + at, own + at, at, size);
    }
    /* terms that differ by rounding of d, whose square they are: relative 1e-10 where nearly all is
     * rounding */
    CU_ASSERT(are_same(fast.kl, divergence.kl, 1e-10) || fabs(divergence.kl) < 1e-20);
    CU_ASSERT(are_same(fast.js, divergence.js, 1e-10) || fabs(divergence.js) < 1e-20);
    CU_ASSERT(are_same(fast.log_prob_of_ref_top1, divergence.log_prob_of_ref_top1, 1e-15));
    CU_ASSERT(fast.top1_gap == divergence.top1_gap ||
              (isnan(fast.top1_gap) && isnan(divergence.top1_gap)));
    return divergence;
}

/* Logits that rise, fall and repeat, so that maxima and ties move through the row. */
static void fill(float *logits, size_t count, unsigned seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        logits[i] = (float)(seed >> 16) / 65536.0f * 30.0f - 15.0f;
    }
}

static void two_points_have_the_logistic_probability(void)
{
    static const double gaps[] = {0.0, 1.0, 3.5, 20.0, 60.0};
    for (size_t i = 0; i < sizeof gaps / sizeof gaps[0]; i++) {
        const float z[2] = {(float)(gaps[i] + 7.0), 7.0f};
        wa_logits state = seen(z, 2, 1, 1);
        CU_ASSERT_DOUBLE_EQUAL(wa_logits_log_prob(&state, (double)z[0]), -log1p(exp(-gaps[i])),
                               1e-14);
        CU_ASSERT_DOUBLE_EQUAL(wa_logits_log_prob(&state, 7.0), -gaps[i] - log1p(exp(-gaps[i])),
                               1e-13);
    }
}

static void a_flat_row_is_uniform(void)
{
    static float z[V];
    for (size_t i = 0; i < V; i++)
        z[i] = -3.25f;
    wa_logits state = seen(z, V, 64, 5);
    CU_ASSERT_DOUBLE_EQUAL(wa_logits_log_prob(&state, -3.25), -log((double)V), 1e-13);
    for (int32_t i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(state.top_id[i], i); /* all tied: lower ids first */
}

static void panels_do_not_change_the_sum(void)
{
    static float z[V];
    static const size_t panels[] = {1, 7, 64, 4999, V};
    fill(z, V, 3);
    wa_logits whole = seen(z, V, V, 10);
    for (size_t i = 0; i < sizeof panels / sizeof panels[0]; i++) {
        wa_logits cut = seen(z, V, panels[i], 10);
        CU_ASSERT_DOUBLE_EQUAL(cut.sum / whole.sum, 1.0, 1e-15);
        CU_ASSERT_EQUAL(cut.max, whole.max);
        for (size_t k = 0; k < 10; k++)
            CU_ASSERT_EQUAL(cut.top_id[k], whole.top_id[k]);
    }
}

static void the_sum_is_that_of_the_definition(void)
{
    static float z[V];
    fill(z, V, 4);
    wa_logits state = seen(z, V, 128, 1);
    double max = -INFINITY;
    long double sum = 0.0L;
    for (size_t i = 0; i < V; i++)
        max = fmax(max, (double)z[i]);
    for (size_t i = 0; i < V; i++)
        sum += expl((long double)z[i] - (long double)max);
    CU_ASSERT_EQUAL(state.max, max);
    CU_ASSERT_DOUBLE_EQUAL(state.sum / (double)sum, 1.0, V * DBL_EPSILON);
}

static void a_shift_changes_no_probability(void)
{
    float z[100], shifted[100];
    fill(z, 100, 5);
    for (size_t i = 0; i < 100; i++) {
        z[i] = roundf(z[i] * 64.0f) / 64.0f; /* so that the shift is exact */
        shifted[i] = z[i] + 1024.0f;
    }
    wa_logits a = seen(z, 100, 9, 1), b = seen(shifted, 100, 9, 1);
    for (size_t i = 0; i < 100; i++)
        CU_ASSERT_DOUBLE_EQUAL(wa_logits_log_prob(&a, (double)z[i]),
                               wa_logits_log_prob(&b, (double)shifted[i]), 1e-12);
    wa_divergence d = compared(z, shifted, 100, 9);
    CU_ASSERT_DOUBLE_EQUAL(d.kl, 0.0, 1e-20);
    CU_ASSERT_DOUBLE_EQUAL(d.js, 0.0, 1e-20);
}

typedef struct pair {
    float logit;
    int32_t id;
} pair;

static int by_logit_then_id(const void *a, const void *b)
{
    const pair *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit < y->logit ? 1 : -1;
    return x->id < y->id ? -1 : 1;
}

static void top_k_is_that_of_a_sort_with_ties_to_the_lower_id(void)
{
    static float z[V];
    static pair sorted[V];
    fill(z, V, 6);
    for (size_t i = 0; i < V; i++) {
        z[i] = roundf(z[i]); /* 31 values: ties everywhere */
        sorted[i] = (pair){z[i], (int32_t)i};
    }
    qsort(sorted, V, sizeof sorted[0], by_logit_then_id);
    wa_logits state = seen(z, V, 77, WA_TOPK_MAX);
    CU_ASSERT_EQUAL_FATAL(state.filled, WA_TOPK_MAX);
    for (size_t i = 0; i < WA_TOPK_MAX; i++) {
        CU_ASSERT_EQUAL(state.top_id[i], sorted[i].id);
        CU_ASSERT_EQUAL(state.top_logit[i], sorted[i].logit);
    }
}

static void a_short_row_fills_what_it_can(void)
{
    const float z[3] = {1.0f, 3.0f, 2.0f};
    wa_logits state = seen(z, 3, 3, 16);
    CU_ASSERT_EQUAL(state.filled, 3);
    CU_ASSERT_EQUAL(state.top_id[0], 1);
    CU_ASSERT_EQUAL(state.top_id[2], 0);
}

/* p = (a, 1-a), q = (b, 1-b): KL = a ln(a/b) + (1-a) ln((1-a)/(1-b)). */
static double kl_of_two(double a, double b)
{
    return a * log(a / b) + (1.0 - a) * log((1.0 - a) / (1.0 - b));
}

static void divergences_of_two_points_are_known(void)
{
    static const double as[] = {0.5, 0.9, 0.2, 0.999}, bs[] = {0.25, 0.88, 0.97, 0.001};
    for (size_t i = 0; i < 4; i++) {
        const float zp[2] = {(float)log(as[i] / (1 - as[i])), 0.0f};
        const float zq[2] = {(float)log(bs[i] / (1 - bs[i])), 0.0f};
        double a = 1.0 / (1.0 + exp(-(double)zp[0])), b = 1.0 / (1.0 + exp(-(double)zq[0]));
        double m = (a + b) / 2.0;
        wa_divergence d = compared(zp, zq, 2, 1);
        CU_ASSERT_DOUBLE_EQUAL(d.kl, kl_of_two(a, b), 1e-13);
        CU_ASSERT_DOUBLE_EQUAL(d.js, 0.5 * (kl_of_two(a, m) + kl_of_two(b, m)), 1e-13);
        CU_ASSERT_DOUBLE_EQUAL(d.log_prob_of_ref_top1, log(as[i] >= 0.5 ? b : 1.0 - b), 1e-13);
    }
}

/* Second order: KL = p(1-p) e^2/2 and JS = KL/4 when one logit of two moves by e. */
static void a_tiny_divergence_keeps_its_digits(void)
{
    const float zp[2] = {0.0f, 0.0f}, zq[2] = {0x1p-20f, 0.0f};
    wa_divergence d = compared(zp, zq, 2, 2);
    CU_ASSERT_DOUBLE_EQUAL(d.kl / (0.25 * 0x1p-40 / 2.0), 1.0, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL(d.js / (0.25 * 0x1p-40 / 8.0), 1.0, 1e-6);
}

static void disjoint_distributions_reach_the_limits(void)
{
    const float zp[2] = {900.0f, 0.0f}, zq[2] = {0.0f, 900.0f};
    wa_divergence d = compared(zp, zq, 2, 2);
    CU_ASSERT_DOUBLE_EQUAL(d.kl, 900.0, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(d.js, log(2.0), 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(d.log_prob_of_ref_top1, -900.0, 1e-9);
}

static void divergences_agree_with_the_definition_on_long_rows(void)
{
    static float p[V], q[V];
    fill(p, V, 8);
    fill(q, V, 9);
    for (size_t i = 0; i < V; i++)
        q[i] = p[i] + 0.05f * q[i];
    long double sp = 0.0L, sq = 0.0L, kl = 0.0L, js = 0.0L;
    for (size_t i = 0; i < V; i++) {
        sp += expl((long double)p[i]);
        sq += expl((long double)q[i]);
    }
    for (size_t i = 0; i < V; i++) {
        long double a = expl((long double)p[i]) / sp, b = expl((long double)q[i]) / sq;
        kl += a * logl(a / b);
        js += 0.5L * (a * logl(2.0L * a / (a + b)) + b * logl(2.0L * b / (a + b)));
    }
    wa_divergence d = compared(p, q, V, 333);
    CU_ASSERT_DOUBLE_EQUAL(d.kl / (double)kl, 1.0, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(d.js / (double)js, 1.0, 1e-12);
}

/* Every size of d, one row each: q is p moved by up to +-size, so that each form of a term is
 * used. */
static void fast_terms_are_those_of_the_definition(void)
{
    static float p[V], q[V];
    static const double sizes[] = {1e-5, 1e-3, 0.009, 0.02, 0.3, 0.95, 1.5, 8.0, 40.0};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        fill(p, V, (unsigned)(20 + s));
        fill(q, V, (unsigned)(40 + s));
        long double sp = 0.0L, sq = 0.0L, kl = 0.0L, js = 0.0L;
        for (size_t i = 0; i < V; i++) {
            q[i] = p[i] + (float)sizes[s] / 15.0f * q[i];
            sp += expl((long double)p[i]);
            sq += expl((long double)q[i]);
        }
        for (size_t i = 0; i < V; i++) {
            long double a = expl((long double)p[i]) / sp, b = expl((long double)q[i]) / sq;
            kl += a * logl(a / b);
            js += 0.5L * (a * logl(2.0L * a / (a + b)) + b * logl(2.0L * b / (a + b)));
        }
        wa_logits x, y;
        wa_divergence d;
        wa_logits_start(&x, 5);
        wa_logits_start(&y, 5);
        wa_divergence_start(&d);
        for (size_t at = 0; at < V; at += 1000) {
            wa_logits_add_fast(&x, p + at, at, 1000);
            wa_logits_add_fast(&y, q + at, at, 1000);
        }
        for (size_t at = 0; at < V; at += 1000)
            wa_divergence_add_fast(&d, &x, &y, p + at, q + at, at, 1000);
        CU_ASSERT_DOUBLE_EQUAL(d.kl / (double)kl, 1.0, 1e-10 + 1e-17 / (double)kl);
        CU_ASSERT_DOUBLE_EQUAL(d.js / (double)js, 1.0, 1e-10 + 1e-17 / (double)kl);
    }
}

static void nan_and_infinity_spoil_the_whole_row(void)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        const float z[3] = {1.0f, bad[i], 2.0f}, good[3] = {1.0f, 0.0f, 2.0f};
        wa_logits state = seen(z, 3, 2, 2), fine = seen(good, 3, 2, 2);
        CU_ASSERT_EQUAL(state.nonfinite, 1);
        CU_ASSERT(isnan(wa_logits_log_prob(&state, 1.0)));
        CU_ASSERT(isnan(wa_topk_overlap(&state, &fine, 2)));
        wa_divergence d = compared(good, z, 3, 2);
        CU_ASSERT(isnan(d.kl) && isnan(d.js) && isnan(d.log_prob_of_ref_top1) && isnan(d.top1_gap));
        d = compared(z, good, 3, 2);
        CU_ASSERT(isnan(d.kl) && isnan(d.js) && isnan(d.log_prob_of_ref_top1) && isnan(d.top1_gap));
    }
}

/* The reference's two best are a near tie; a case that says the third is off by its distance, not
 * by theirs. */
static void the_gap_is_that_of_the_cases_own_token(void)
{
    const float ref[6] = {1.0f, 4.0f, 3.875f, -2.0f, 0.5f, 4.0f};
    for (size_t own_top = 0; own_top < 6; own_top++)
        for (size_t panel = 1; panel <= 6; panel++) {
            float own[6] = {0};
            own[own_top] = 1.0f;
            CU_ASSERT_EQUAL(compared(ref, own, 6, panel).top1_gap, 4.0 - (double)ref[own_top]);
        }
}

static void a_row_never_seen_has_no_probabilities(void)
{
    wa_logits state;
    wa_logits_start(&state, 3);
    CU_ASSERT(isnan(wa_logits_log_prob(&state, 0.0)));
}

static void overlap_is_common_over_all(void)
{
    const float a[6] = {9, 8, 7, 6, 5, 0}, b[6] = {9, 8, 0, 6, 5, 7};
    wa_logits x = seen(a, 6, 6, 5), y = seen(b, 6, 6, 5);
    CU_ASSERT_DOUBLE_EQUAL(wa_topk_overlap(&x, &y, 5), 4.0 / 6.0, 1e-15);
    CU_ASSERT_EQUAL(wa_topk_overlap(&x, &x, 5), 1.0);
    CU_ASSERT_EQUAL(wa_topk_overlap(&x, &y, 2), 1.0);
}

WA_SUITE("logits", WA_CASE(two_points_have_the_logistic_probability),
         WA_CASE(a_flat_row_is_uniform), WA_CASE(panels_do_not_change_the_sum),
         WA_CASE(the_sum_is_that_of_the_definition), WA_CASE(a_shift_changes_no_probability),
         WA_CASE(top_k_is_that_of_a_sort_with_ties_to_the_lower_id),
         WA_CASE(a_short_row_fills_what_it_can), WA_CASE(divergences_of_two_points_are_known),
         WA_CASE(the_gap_is_that_of_the_cases_own_token),
         WA_CASE(a_tiny_divergence_keeps_its_digits),
         WA_CASE(disjoint_distributions_reach_the_limits),
         WA_CASE(divergences_agree_with_the_definition_on_long_rows),
         WA_CASE(fast_terms_are_those_of_the_definition),
         WA_CASE(nan_and_infinity_spoil_the_whole_row),
         WA_CASE(a_row_never_seen_has_no_probabilities), WA_CASE(overlap_is_common_over_all))

/* Next-token distributions from panels of logits: a running normaliser and top k, then KL and JS.
 */
#include "walkaudit/logits.h"

#include <math.h>

/*
 * Below this difference to the maximum a term is less than half an ulp of a sum that is at least 1,
 * so adding it changes no bit: exp(-37) < 2^-53. Not calling exp for it is therefore no
 * approximation.
 */
static const double NEGLIGIBLE = -37.0;

/* exp of anything smaller is 0 in f64: ln of the least subnormal is -744.44, and half of that
 * rounds to 0. */
static const double EXP_IS_ZERO = -746.0;

static const double LN_2 = 0.69314718055994530942;

void wa_logits_start(wa_logits *state, size_t k)
{
    *state = (wa_logits){.max = -INFINITY, .k = k < WA_TOPK_MAX ? k : WA_TOPK_MAX};
}

/* Ids arrive in ascending order, so an equal logit stands behind those already there. */
static void insert_top(wa_logits *state, float logit, int32_t id)
{
    size_t at = state->filled < state->k ? state->filled : state->k - 1;
    while (at > 0 && state->top_logit[at - 1] < logit) {
        state->top_logit[at] = state->top_logit[at - 1];
        state->top_id[at] = state->top_id[at - 1];
        at--;
    }
    state->top_logit[at] = logit;
    state->top_id[at] = id;
    if (state->filled < state->k)
        state->filled++;
}

/* One logit at a time, so the sum has the same bits however the row is cut into panels. */
static void add_to_sum(wa_logits *state, double logit)
{
    if (logit > state->max) {
        state->sum = state->sum * exp(state->max - logit) + 1.0;
        state->max = logit;
    } else if (logit - state->max > NEGLIGIBLE) {
        state->sum += exp(logit - state->max);
    }
}

void wa_logits_add(wa_logits *state, const float *logits, size_t first_id, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float logit = logits[i];
        if (!isfinite(logit)) {
            state->nonfinite++;
            continue;
        }
        add_to_sum(state, (double)logit);
        if (state->k > 0 && (state->filled < state->k || logit > state->top_logit[state->k - 1]))
            insert_top(state, logit, (int32_t)(first_id + i));
    }
}

/* ln of the sum of exp(z); NaN when the row is no distribution. */
static double log_normaliser(const wa_logits *state)
{
    if (state->nonfinite > 0 || !(state->sum > 0.0))
        return NAN;
    return state->max + log(state->sum);
}

double wa_logits_log_prob(const wa_logits *state, double logit)
{
    return logit - log_normaliser(state);
}

void wa_divergence_start(wa_divergence *state)
{
    *state = (wa_divergence){.kl = 0.0, .js = 0.0, .log_prob_of_ref_top1 = NAN};
}

/*
 * With d = ln q - ln p the sums of p (ln p - ln q) and of p (e^d - 1 - d) are equal, since p and q
 * both sum to 1; so are JS and its form below. Every term of the second forms is >= 0 and keeps its
 * digits when q is close to p, where the first ones cancel down to the rounding of the normalisers.
 */
static void add_near(wa_divergence *state, double p, double d)
{
    double grow = expm1(d);         /* q / p - 1 */
    double t = grow / (grow + 2.0); /* (q - p) / (q + p) = tanh(d / 2) */
    double mean = p * (1.0 + 0.5 * grow);
    state->kl += p * (grow - d);
    state->js += 0.5 * mean * (log1p(-t * t) + t * d);
}

/*
 * |d| <= 0.01, which is nearly every term of a faithful case: both second forms as series, with no call but
 * the exp of p. e^d - 1 - d by Horner to d^6 (remainder below 1e-15 of the sum); with s = d/2 the JS term is
 * p e^s (s sinh s - cosh s ln cosh s) = p e^s (s^2/2 + s^6/144 + ...), the next term being of order s^8.
 */
static void add_close(wa_divergence *state, double p, double d)
{
    double rest = d * d / 2.0 * (1.0 + d / 3.0 * (1.0 + d / 4.0 * (1.0 + d / 5.0 * (1.0 + d / 6.0))));
    double s = d / 2.0;
    double s2 = s * s;
    double grow = 1.0 + s * (1.0 + s / 2.0 * (1.0 + s / 3.0 * (1.0 + s / 4.0 * (1.0 + s / 5.0))));
    state->kl += p * rest;
    state->js += p * grow * (s2 / 2.0 + s2 * s2 * s2 / 144.0);
}

/* |d| >= 1: nothing cancels, but e^d may overflow, so p and q stand for themselves. */
static void add_far(wa_divergence *state, double p, double q, double d)
{
    double log_p_over_m =
        d > 0.0 ? LN_2 - d - log1p(exp(-d)) : LN_2 - log1p(exp(d)); /* ln 2p/(p+q) */
    state->kl += (q - p) - p * d;
    state->js += 0.5 * (p * log_p_over_m + q * (d + log_p_over_m));
}

void wa_divergence_add(wa_divergence *state, const wa_logits *ref, const wa_logits *own,
                       const float *ref_logits, const float *own_logits, size_t first_id,
                       size_t count)
{
    double ref_norm = log_normaliser(ref);
    double own_norm = log_normaliser(own);
    if (isnan(ref_norm) || isnan(own_norm)) {
        *state = (wa_divergence){.kl = NAN, .js = NAN, .log_prob_of_ref_top1 = NAN};
        return;
    }
    for (size_t i = 0; i < count; i++) {
        double log_p = (double)ref_logits[i] - ref_norm;
        double log_q = (double)own_logits[i] - own_norm;
        if (log_p < EXP_IS_ZERO && log_q < EXP_IS_ZERO)
            continue;
        double d = log_q - log_p;
        if (fabs(d) <= 0.01)
            add_close(state, exp(log_p), d);
        else if (fabs(d) < 1.0)
            add_near(state, exp(log_p), d);
        else
            add_far(state, exp(log_p), exp(log_q), d);
    }
    if (ref->filled > 0) {
        size_t top = (size_t)ref->top_id[0];
        if (top >= first_id && top - first_id < count)
            state->log_prob_of_ref_top1 = (double)own_logits[top - first_id] - own_norm;
    }
}

double wa_topk_overlap(const wa_logits *a, const wa_logits *b, size_t k)
{
    size_t in_a = k < a->filled ? k : a->filled;
    size_t in_b = k < b->filled ? k : b->filled;
    if (a->nonfinite > 0 || b->nonfinite > 0 || in_a + in_b == 0)
        return NAN;
    size_t common = 0;
    for (size_t i = 0; i < in_a; i++)
        for (size_t j = 0; j < in_b; j++)
            common += a->top_id[i] == b->top_id[j] ? 1 : 0;
    return (double)common / (double)(in_a + in_b - common);
}

/* Next-token distributions from panels of logits: a running normaliser and top k, then KL and JS.
 */
#include "measure/logits.h"
#include "base/elementary.h"

#include "codec/simd.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

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
        state->sum = state->sum * wa_exp(state->max - logit) + 1.0;
        state->max = logit;
    } else if (logit - state->max > NEGLIGIBLE) {
        state->sum += wa_exp(logit - state->max);
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
    return state->max + wa_log(state->sum);
}

double wa_logits_log_prob(const wa_logits *state, double logit)
{
    return logit - log_normaliser(state);
}

/* Multiples of 2^64 over the golden ratio spread evenly over any run of observations, so that no
 * prompt length keeps falling on the same positions, as every eighth observation would. */
bool wa_text_has(size_t observation)
{
    enum { ALL = 1024, EIGHTH = 61 };
    return observation < ALL ||
           ((uint64_t)observation * UINT64_C(0x9E3779B97F4A7C15)) >> EIGHTH == 0;
}

void wa_divergence_start(wa_divergence *state)
{
    *state = (wa_divergence){.log_prob_of_ref_top1 = NAN, .top1_gap = NAN};
}

/*
 * With d = ln q - ln p the sums of p (ln p - ln q) and of p (e^d - 1 - d) are equal, since p and q
 * both sum to 1; so are JS and its form below. Every term of the second forms is >= 0 and keeps its
 * digits when q is close to p, where the first ones cancel down to the rounding of the normalisers.
 */
static void add_near(wa_divergence *state, double p, double d)
{
    double grow = wa_expm1(d);      /* q / p - 1 */
    double t = grow / (grow + 2.0); /* (q - p) / (q + p) = tanh(d / 2) */
    double mean = p * (1.0 + 0.5 * grow);
    state->kl += p * (grow - d);
    state->js += 0.5 * mean * (wa_log1p(-t * t) + t * d);
}

/*
 * |d| <= 0.01, which is nearly every term of a faithful case: both second forms as series, with no
 * call but the exp of p. e^d - 1 - d by Horner to d^6 (remainder below 1e-15 of the sum); with s =
 * d/2 the JS term is p e^s (s sinh s - cosh s ln cosh s) = p e^s (s^2/2 + s^6/144 + ...), the next
 * term being of order s^8.
 */
static void add_close(wa_divergence *state, double p, double d)
{
    double rest =
        d * d / 2.0 * (1.0 + d / 3.0 * (1.0 + d / 4.0 * (1.0 + d / 5.0 * (1.0 + d / 6.0))));
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
        d > 0.0 ? LN_2 - d - wa_log1p(wa_exp(-d)) : LN_2 - wa_log1p(wa_exp(d)); /* ln 2p/(p+q) */
    state->kl += (q - p) - p * d;
    state->js += 0.5 * (p * log_p_over_m + q * (d + log_p_over_m));
}

/* Where the first of a row's top k stands in a panel; false when it is not in it. */
static bool find_top(const wa_logits *row, size_t first_id, size_t count, size_t *at)
{
    if (row->filled == 0 || (size_t)row->top_id[0] < first_id)
        return false;
    *at = (size_t)row->top_id[0] - first_id;
    return *at < count;
}

/* What one row says of the other's top-1, from the panel that holds it. */
static void note_tops(wa_divergence *state, const wa_logits *ref, const wa_logits *own,
                      const float *ref_logits, const float *own_logits, size_t first_id,
                      size_t count)
{
    size_t at;
    if (find_top(ref, first_id, count, &at))
        state->log_prob_of_ref_top1 = wa_logits_log_prob(own, (double)own_logits[at]);
    if (find_top(own, first_id, count, &at))
        state->top1_gap = ref->max - (double)ref_logits[at];
}

void wa_divergence_add(wa_divergence *state, const wa_logits *ref, const wa_logits *own,
                       const float *ref_logits, const float *own_logits, size_t first_id,
                       size_t count)
{
    double ref_norm = log_normaliser(ref);
    double own_norm = log_normaliser(own);
    if (isnan(ref_norm) || isnan(own_norm)) {
        *state =
            (wa_divergence){.kl = NAN, .js = NAN, .log_prob_of_ref_top1 = NAN, .top1_gap = NAN};
        return;
    }
    for (size_t i = 0; i < count; i++) {
        double log_p = (double)ref_logits[i] - ref_norm;
        double log_q = (double)own_logits[i] - own_norm;
        if (log_p < EXP_IS_ZERO && log_q < EXP_IS_ZERO)
            continue;
        double d = log_q - log_p;
        if (fabs(d) <= 0.01)
            add_close(state, wa_exp(log_p), d);
        else if (fabs(d) < 1.0)
            add_near(state, wa_exp(log_p), d);
        else
            add_far(state, wa_exp(log_p), wa_exp(log_q), d);
    }
    note_tops(state, ref, own, ref_logits, own_logits, first_id, count);
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

/* --- Many rows: the same sums in vector lanes ------------------------------------------------- */

/* Values are made CHUNK at a time, element by element, which the compiler turns into vectors; then
 * summed. */
enum { CHUNK = 256 };

/* Eight partial sums folded in a fixed order: the bits do not depend on the vector width. */
WA_CLONES static double sum_of(const double *values, size_t count)
{
    enum { LANES = 8 };
    double lane[LANES] = {0};
    size_t body = count - count % LANES;
    for (size_t i = 0; i < body; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] += values[i + k];
    for (size_t i = body; i < count; i++)
        lane[i - body] += values[i];
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t k = 0; k < half; k++)
            lane[k] += lane[k + half];
    return lane[0];
}

/* The largest logit; false when some are no numbers: their exponent is all ones. */
WA_CLONES static bool find_max(const float *logits, size_t count, float *out)
{
    enum { LANES = 16 };
    float lane[LANES];
    uint32_t bad = 0;
    for (size_t k = 0; k < LANES; k++)
        lane[k] = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        bad |= (bits & 0x7F800000u) == 0x7F800000u ? 1u : 0u;
    }
    size_t body = count - count % LANES;
    for (size_t i = 0; i < body; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] = logits[i + k] > lane[k] ? logits[i + k] : lane[k];
    for (size_t i = body; i < count; i++)
        lane[0] = logits[i] > lane[0] ? logits[i] : lane[0];
    for (size_t k = 1; k < LANES; k++)
        lane[0] = lane[k] > lane[0] ? lane[k] : lane[0];
    *out = lane[0];
    return bad == 0;
}

WA_CLONES static void exp_all(const float *logits, size_t count, double max, double *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = wa_exp((double)logits[i] - max);
}

static void rank_all(wa_logits *state, const float *logits, size_t first_id, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (state->filled < state->k || logits[i] > state->top_logit[state->k - 1])
            insert_top(state, logits[i], (int32_t)(first_id + i));
}

void wa_logits_add_fast(wa_logits *state, const float *logits, size_t first_id, size_t count)
{
    float most = -INFINITY;
    if (!find_max(logits, count, &most)) {
        wa_logits_add(state, logits, first_id, count);
        return;
    }
    if ((double)most > state->max) {
        state->sum *= wa_exp(state->max - (double)most);
        state->max = (double)most;
    }
    for (size_t at = 0; at < count; at += CHUNK) {
        double terms[CHUNK];
        size_t size = count - at < CHUNK ? count - at : CHUNK;
        exp_all(logits + at, size, state->max, terms);
        state->sum += sum_of(terms, size);
    }
    if (state->k > 0 && (state->filled < state->k || most > state->top_logit[state->k - 1]))
        rank_all(state, logits, first_id, count);
}

/* Is every |ln q - ln p| below 1? */
WA_CLONES static bool are_near(const float *ref, const float *own, size_t count, double shift)
{
    int far = 0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)own[i] - (double)ref[i] + shift;
        far |= fabs(d) >= 1.0 ? 1 : 0;
    }
    return far == 0;
}

/*
 * The terms of logits.c: KL q - p - p d and JS (p + q)/4 (t^2 + t^4/6 + t^6/15 + ...), which is ((1
 * + t) ln(1 + t) + (1 - t) ln(1 - t)) (p + q)/4 with t = (q - p)/(q + p). For |d| < 1, t^2 < 0.214
 * and 18 terms leave 1e-14. Where |d| <= 0.01 the differences would lose digits; there the series
 * in d stand for both.
 */
static inline void make_term(double log_p, double d, double *kl, double *js)
{
    double p = wa_exp(log_p);
    double q = wa_exp(log_p + d);
    double s = d * 0.5;
    double s2 = s * s;
    double rest = 0.5 + d * (1.0 / 6.0 + d * (1.0 / 24.0 + d * (1.0 / 120.0 + d * (1.0 / 720.0))));
    double grow =
        1.0 + s * (1.0 + s * (0.5 + s * (1.0 / 6.0 + s * (1.0 / 24.0 + s * (1.0 / 120.0)))));
    double close_kl = p * (d * d * rest);
    double close_js = p * grow * (s2 * 0.5 + s2 * s2 * s2 * (1.0 / 144.0));
    double t = (q - p) / (q + p);
    double u = t * t;
    double series = 1.0 / 630.0; /* 1 / (k (2k - 1)), k = 18 … 1 */
    series = series * u + 1.0 / 561.0;
    series = series * u + 1.0 / 496.0;
    series = series * u + 1.0 / 435.0;
    series = series * u + 1.0 / 378.0;
    series = series * u + 1.0 / 325.0;
    series = series * u + 1.0 / 276.0;
    series = series * u + 1.0 / 231.0;
    series = series * u + 1.0 / 190.0;
    series = series * u + 1.0 / 153.0;
    series = series * u + 1.0 / 120.0;
    series = series * u + 1.0 / 91.0;
    series = series * u + 1.0 / 66.0;
    series = series * u + 1.0 / 45.0;
    series = series * u + 1.0 / 28.0;
    series = series * u + 1.0 / 15.0;
    series = series * u + 1.0 / 6.0;
    series = series * u + 1.0;
    double near_kl = (q - p) - p * d;
    double near_js = (p + q) * 0.25 * u * series;
    bool is_close = fabs(d) <= 0.01;
    *kl = is_close ? close_kl : near_kl;
    *js = is_close ? close_js : near_js;
}

WA_CLONES static void make_terms(const float *ref, const float *own, size_t count, double ref_norm,
                                 double shift, double *restrict kl, double *restrict js)
{
    for (size_t i = 0; i < count; i++)
        make_term((double)ref[i] - ref_norm, (double)own[i] - (double)ref[i] + shift, &kl[i],
                  &js[i]);
}

void wa_divergence_add_fast(wa_divergence *state, const wa_logits *ref, const wa_logits *own,
                            const float *ref_logits, const float *own_logits, size_t first_id,
                            size_t count)
{
    double ref_norm = log_normaliser(ref);
    double shift = ref_norm - log_normaliser(own);
    double kl[CHUNK];
    double js[CHUNK];
    for (size_t at = 0; at < count; at += CHUNK) {
        size_t size = count - at < CHUNK ? count - at : CHUNK;
        const float *z = ref_logits + at;
        const float *w = own_logits + at;
        if (!isnan(shift) && are_near(z, w, size, shift)) {
            make_terms(z, w, size, ref_norm, shift, kl, js);
            state->kl += sum_of(kl, size);
            state->js += sum_of(js, size);
            note_tops(state, ref, own, z, w, first_id + at, size);
        } else {
            wa_divergence_add(state, ref, own, z, w, first_id + at, size);
        }
    }
}

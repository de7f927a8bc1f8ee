/* Rates of one case over all positions, with errors and limits clustered by prompt. */
#include "judge/rates.h"
#include "base/elementary.h"

#include "judge/clusters.h"
#include "judge/interval.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* A figure at some positions, and which cluster each belongs to. */
typedef struct sample {
    double *value;   /* [count] */
    size_t *cluster; /* [count] ascending, numbered from 0 without gaps */
    size_t count;
    size_t from; /* cluster of the prompts that the last position belongs to */
} sample;

static void start(sample *s)
{
    s->count = 0;
}

static void append(sample *s, size_t from, double value)
{
    size_t last = s->count == 0 ? 0 : s->cluster[s->count - 1];
    s->cluster[s->count] = last + (s->count > 0 && from != s->from ? 1 : 0);
    s->value[s->count++] = value;
    s->from = from;
}

/* What a mean over clusters needs. */
typedef struct spread {
    double mean, variance; /* variance of the mean; NaN with fewer than two clusters */
    double skewness;       /* of the clusters, 0 where they do not differ */
    size_t clusters;
} spread;

/* First position after those of the cluster that `from` belongs to. */
static size_t cluster_end(const sample *s, size_t from)
{
    size_t end = from;
    while (end < s->count && s->cluster[end] == s->cluster[from])
        end++;
    return end;
}

static double sum_of(const sample *s, size_t from, size_t end)
{
    double sum = 0.0;
    for (size_t i = from; i < end; i++)
        sum += s->value[i];
    return sum;
}

static spread spread_of(const sample *s)
{
    double sum = 0.0;
    double squares = 0.0;
    double cubes = 0.0;
    size_t clusters = 0;
    for (size_t from = 0, end; from < s->count; from = end, clusters++) {
        end = cluster_end(s, from);
        sum += sum_of(s, from, end);
    }
    double n = (double)s->count;
    double mean = s->count > 0 ? sum / n : NAN;
    for (size_t from = 0, end; from < s->count; from = end) {
        end = cluster_end(s, from);
        double off = sum_of(s, from, end) - mean * (double)(end - from);
        squares += off * off;
        cubes += off * off * off;
    }
    double g = (double)clusters;
    /* of the population, not the sample */
    double scale = g > 2.0 ? sqrt(g * (g - 1.0)) / (g - 2.0) * sqrt(g) : 0.0;
    return (spread){.mean = mean,
                    .variance = clusters > 1 ? g / (g - 1.0) * squares / (n * n) : NAN,
                    .skewness = squares > 0.0 ? scale * cubes / (squares * sqrt(squares)) : 0.0,
                    .clusters = clusters};
}

/* Too few clusters set no limit, which is not the same as a limit that is no number. */
static wa_rate rate_of_mean(const spread *s, double least_skewness)
{
    wa_rate rate = {.value = s->mean, .error = sqrt(s->variance), .upper = INFINITY};
    if (isnan(s->mean))
        rate.upper = NAN;
    else if (s->clusters >= WA_RATE_CLUSTERS)
        rate.upper = wa_mean_upper(s->mean, rate.error, fmax(s->skewness, least_skewness),
                                   (double)s->clusters);
    return rate;
}

static wa_rate rate_of_share(const sample *hits)
{
    spread s = spread_of(hits);
    wa_rate rate = rate_of_mean(&s, 0.0);
    if (s.clusters >= WA_RATE_CLUSTERS)
        rate.upper =
            wa_share_upper(s.mean, wa_effective_count(s.mean, s.variance, (double)hits->count,
                                                      (double)s.clusters));
    return rate;
}

/* --- Shares and means ------------------------------------------------------------------------- */

static bool has_next(const wa_rate_rows *rows, size_t i)
{
    return i + 1 < rows->obs && rows->obs_prompt[i + 1] == rows->obs_prompt[i];
}

static wa_rate flips(const wa_rate_rows *rows, const wa_clusters *clusters, double margin,
                     sample *s)
{
    start(s);
    for (size_t p = 0; p < clusters->prompts; p++) {
        const wa_prompt_span *span = &clusters->span[p];
        for (size_t i = span->first + span->shared; i < span->first + span->count; i++) {
            bool flip = rows->top1_match[i] != 1 && !(rows->top1_gap[i] <= margin);
            append(s, span->cluster, flip ? 1.0 : 0.0);
        }
    }
    return rate_of_share(s);
}

/* The last shared position says something new where the texts part: another next token. */
static void next_tokens(const wa_rate_rows *rows, const wa_clusters *clusters, sample *s,
                        wa_rates *out)
{
    start(s);
    for (size_t p = 0; p < clusters->prompts; p++) {
        const wa_prompt_span *span = &clusters->span[p];
        for (size_t at = span->shared > 0 ? span->shared - 1 : 0; at + 1 < span->count; at++) {
            size_t i = span->first + at;
            append(s, span->cluster, rows->ref_next_logprob[i] - rows->next_logprob[i]);
        }
    }
    spread loss = spread_of(s);
    spread gain = loss;
    gain.mean = -loss.mean;
    gain.skewness = -loss.skewness;
    wa_rate log_ratio = rate_of_mean(&loss, 0.0);
    double ratio = wa_exp(log_ratio.value);
    out->n_next = (int64_t)s->count;
    out->mean_next_logprob_delta = rate_of_mean(&gain, 0.0);
    out->ppl_ratio = (wa_rate){
        .value = ratio, .error = ratio * log_ratio.error, .upper = wa_exp(log_ratio.upper)};
}

/* --- The 99th percentile ---------------------------------------------------------------------- */

static const double P99 = 0.99;

/* A value and its place, so that equal values keep an order. */
typedef struct ranked {
    double value;
    size_t at;
} ranked;

static int smallest_first(const void *left, const void *right)
{
    const ranked *a = left;
    const ranked *b = right;
    if (a->value != b->value)
        return a->value < b->value ? -1 : 1;
    return (a->at > b->at) - (a->at < b->at);
}

static double quantile(const ranked *sorted, size_t n, double f)
{
    double place = fmin(fmax(f, 0.0), 1.0) * (double)(n - 1);
    size_t at = (size_t)place;
    if (at + 1 >= n)
        return sorted[n - 1].value;
    return sorted[at].value + (place - (double)at) * (sorted[at + 1].value - sorted[at].value);
}

/* How many positions of each cluster lie above a value, kept so that one more costs nothing. */
typedef struct tally {
    size_t *above, *size; /* [clusters] */
    size_t clusters, count;
    double total;                    /* of above */
    double squares, products, sizes; /* sums of above^2, above * size, size^2: whole numbers */
} tally;

static void tally_one(tally *t, size_t cluster)
{
    t->total += 1.0;
    t->squares += 2.0 * (double)t->above[cluster] + 1.0;
    t->products += (double)t->size[cluster];
    t->above[cluster]++;
}

/* Is it certain to 95 % that at most 1 % of positions lie above? */
static bool is_certain(const tally *t)
{
    double n = (double)t->count;
    double g = (double)t->clusters;
    double share = t->total / n;
    if (t->clusters < WA_RATE_CLUSTERS)
        return false;
    double variance = g / (g - 1.0) *
                      (t->squares - 2.0 * share * t->products + share * share * t->sizes) / (n * n);
    double count = wa_effective_count(share, variance, n, g);
    double hits = share * count;
    return hits < count && wa_beta_share(1.0 - P99, hits + 1.0, count - hits) >= 0.95;
}

/* From the largest value down, as long as each is certain; every value equal to it goes with it. */
static double upper_p99(const ranked *sorted, const sample *kl, tally *t)
{
    double upper = INFINITY;
    for (size_t left = kl->count; left > 0 && is_certain(t);) {
        upper = sorted[left - 1].value;
        for (; left > 0 && sorted[left - 1].value == upper; left--)
            tally_one(t, (size_t)kl->cluster[sorted[left - 1].at]);
    }
    return upper;
}

static wa_status tally_open(const sample *s, wa_arena *arena, tally *out, wa_error *err)
{
    tally t = {.count = s->count};
    t.clusters = s->count > 0 ? s->cluster[s->count - 1] + 1 : 0;
    WA_TRY(wa_arena_take(arena, t.clusters, sizeof *t.above, &t.above, err));
    WA_TRY(wa_arena_take(arena, t.clusters, sizeof *t.size, &t.size, err));
    for (size_t i = 0; i < s->count; i++)
        t.size[s->cluster[i]]++;
    for (size_t c = 0; c < t.clusters; c++)
        t.sizes += (double)t.size[c] * (double)t.size[c];
    *out = t;
    return WA_OK;
}

static bool has_nan(const sample *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (isnan(s->value[i]))
            return true;
    return false;
}

/* Woodruff: the values that stand one standard error of the share above to both sides. */
static double error_p99(const ranked *sorted, sample *kl, double p99)
{
    for (size_t i = 0; i < kl->count; i++)
        kl->value[sorted[i].at] = sorted[i].value > p99 ? 1.0 : 0.0;
    double off = sqrt(spread_of(kl).variance);
    if (isnan(off))
        return NAN;
    return (quantile(sorted, kl->count, P99 + off) - quantile(sorted, kl->count, P99 - off)) / 2.0;
}

/* Uses up the values of `kl`. */
static wa_status p99_of(sample *kl, wa_arena *arena, wa_rate *out, wa_error *err)
{
    *out = (wa_rate){.value = NAN, .error = NAN, .upper = NAN};
    if (kl->count == 0 || has_nan(kl))
        return WA_OK;
    ranked *sorted;
    tally t;
    WA_TRY(wa_arena_take_raw(arena, kl->count, sizeof *sorted, &sorted, err));
    WA_TRY(tally_open(kl, arena, &t, err));
    for (size_t i = 0; i < kl->count; i++)
        sorted[i] = (ranked){.value = kl->value[i], .at = i};
    qsort(sorted, kl->count, sizeof *sorted, smallest_first);
    out->value = quantile(sorted, kl->count, P99);
    out->upper = upper_p99(sorted, kl, &t);
    out->error = error_p99(sorted, kl, out->value);
    return WA_OK;
}

wa_rates wa_rates_none(void)
{
    static const wa_rate none = {.value = NAN, .error = NAN, .upper = NAN};
    return (wa_rates){.mean_kl = none,
                      .p99_kl = none,
                      .flip_rate = none,
                      .far_flip_rate = none,
                      .mean_next_logprob_delta = none,
                      .ppl_ratio = none,
                      .flip_margin = NAN,
                      .first_non_finite = -1};
}

/* --- All together ----------------------------------------------------------------------------- */

static bool is_number(const wa_rate_rows *rows, size_t i)
{
    return isfinite(rows->kl[i]) && (!has_next(rows, i) || (isfinite(rows->next_logprob[i]) &&
                                                            isfinite(rows->ref_next_logprob[i])));
}

static void count_numbers(const wa_rate_rows *rows, wa_rates *out)
{
    out->first_non_finite = -1;
    for (size_t i = 0; i < rows->obs; i++)
        if (!is_number(rows, i) && out->n_non_finite++ == 0)
            out->first_non_finite = (int64_t)i;
}

/* KL is a square of deviations, never negative: where a few prompts show no tail, there still is
 * one. The prompts of jobs/baselines have 1.4 to 3.9, the last where one prompt is 4.4 times as bad
 * as the mean. */
static const double KL_SKEWNESS = 4.0;

static wa_status kl_rates(const wa_rate_rows *rows, const wa_clusters *clusters, sample *s,
                          wa_arena *arena, wa_rates *out, wa_error *err)
{
    start(s);
    for (size_t p = 0; p < clusters->prompts; p++) {
        const wa_prompt_span *span = &clusters->span[p];
        for (size_t i = span->first + span->shared; i < span->first + span->count; i++)
            append(s, span->cluster, rows->kl[i]);
    }
    spread kl = spread_of(s);
    out->mean_kl = rate_of_mean(&kl, KL_SKEWNESS);
    return p99_of(s, arena, &out->p99_kl, err);
}

wa_status wa_rates_build(const wa_rate_rows *rows, double margin, wa_arena *arena, wa_rates *out,
                         wa_error *err)
{
    wa_mark mark = wa_arena_mark(arena);
    sample s;
    WA_TRY(wa_arena_take_raw(arena, rows->obs, sizeof *s.value, &s.value, err));
    WA_TRY(wa_arena_take_raw(arena, rows->obs, sizeof *s.cluster, &s.cluster, err));
    wa_clusters clusters;
    WA_TRY(wa_clusters_build(rows->obs_prompt, rows->token_id, rows->obs, arena, &clusters, err));
    wa_rates rates = {.n_obs = (int64_t)rows->obs,
                      .n_distinct = (int64_t)clusters.distinct,
                      .n_prompts = (int64_t)clusters.prompts,
                      .n_clusters = (int64_t)clusters.clusters,
                      .flip_margin = margin};
    count_numbers(rows, &rates);
    rates.flip_rate = flips(rows, &clusters, -INFINITY, &s);
    rates.far_flip_rate = flips(rows, &clusters, margin, &s);
    next_tokens(rows, &clusters, &s, &rates);
    WA_TRY(kl_rates(rows, &clusters, &s, arena, &rates, err));
    wa_arena_release(arena, mark);
    *out = rates;
    return WA_OK;
}

/* Summaries: observations of one case, folded to what folding them in plan order gives. */
#include "judge/summary.h"

#include "base/bytes.h"
#include "base/quantile_stream.h"
#include "measure/diff.h"
#include "measure/routing.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* What depends on the order of observations within a layer, and whether it has seen a position
 * 0. */
typedef struct line {
    double rel_l2_sum;
    uint64_t digest[2];
    bool has_first;
} line;

/* The kernel's errors on one stream. */
typedef struct kernel_figures {
    wa_extreme max, infinite;
    int64_t count;
} kernel_figures;

struct wa_summary {
    size_t layers, obs;
    bool own_stream;
    wa_extremes all, first, rest;
    wa_extremes *layer;         /* [layers] */
    line *lines;                /* [layers] */
    wa_quantile_stream *rel_l2; /* those that are numbers */
    int64_t rel_l2_count;
    kernel_figures kernel, kernel_own;
    wa_extreme max_drift, first_nonfinite;
    wa_routing_summary routing;
    int64_t nonfinite, missing;
    uint64_t digest[2];
};

static const double QUANTILES[] = {0.50, 0.95, 0.99};
enum { QUANTILE_COUNT = sizeof QUANTILES / sizeof QUANTILES[0] };
/* the first digits of pi: nothing up a sleeve */
static const uint64_t DIGEST[2] = {0x243f6a8885a308d3u, 0x13198a2e03707344u};
static const wa_extreme NOWHERE = {.value = NAN, .layer = -1, .obs = -1};

static wa_extremes no_extremes(void)
{
    return (wa_extremes){.min_cos = NOWHERE,
                         .max_rel_l2 = NOWHERE,
                         .max_l2 = NOWHERE,
                         .max_max_abs = NOWHERE,
                         .max_eta = NOWHERE};
}

wa_status wa_summary_open(wa_arena *arena, size_t layers, size_t obs, bool own_stream,
                          wa_summary **out, wa_error *err)
{
    if (layers > INT32_MAX || obs > INT32_MAX)
        return wa_fail(err, WA_E_MEMORY, "summary of %zu layers x %zu observations overflows",
                       layers, obs);
    wa_summary *summary;
    WA_TRY(wa_arena_take(arena, 1, sizeof *summary, &summary, err));
    WA_TRY(wa_arena_take_raw(arena, layers, sizeof *summary->layer, &summary->layer, err));
    WA_TRY(wa_arena_take(arena, layers, sizeof *summary->lines, &summary->lines, err));
    WA_TRY(wa_quantile_stream_open(QUANTILES, QUANTILE_COUNT, arena, &summary->rel_l2, err));
    summary->layers = layers;
    summary->obs = obs;
    summary->own_stream = own_stream;
    summary->all = summary->first = summary->rest = no_extremes();
    for (size_t l = 0; l < layers; l++) {
        summary->layer[l] = no_extremes();
        memcpy(summary->lines[l].digest, DIGEST, sizeof DIGEST);
    }
    summary->kernel = summary->kernel_own = (kernel_figures){.max = NOWHERE, .infinite = NOWHERE};
    summary->max_drift = summary->first_nonfinite = NOWHERE;
    summary->routing =
        (wa_routing_summary){.max_gap = NOWHERE, .max_same = NOWHERE, .max_other = NOWHERE};
    memcpy(summary->digest, DIGEST, sizeof DIGEST);
    *out = summary;
    return WA_OK;
}

/* --- Extremes: of equals the first in plan order keeps its place (walk-paths 4.6) --- */

static bool is_first(const wa_extreme *so_far, int32_t layer, int32_t obs)
{
    return so_far->layer < 0 || layer < so_far->layer ||
           (layer == so_far->layer && obs < so_far->obs);
}

static void keep_first(wa_extreme *extreme, double value, int32_t layer, int32_t obs)
{
    if (is_first(extreme, layer, obs))
        *extreme = (wa_extreme){.value = value, .layer = layer, .obs = obs};
}

static void keep_largest(wa_extreme *extreme, double value, int32_t layer, int32_t obs)
{
    if (extreme->layer < 0 ? !isnan(value) : value > extreme->value)
        *extreme = (wa_extreme){.value = value, .layer = layer, .obs = obs};
    else if (value == extreme->value)
        keep_first(extreme, value, layer, obs);
}

static void keep_smallest(wa_extreme *extreme, double value, int32_t layer, int32_t obs)
{
    if (extreme->layer < 0 ? !isnan(value) : value < extreme->value)
        *extreme = (wa_extreme){.value = value, .layer = layer, .obs = obs};
    else if (value == extreme->value)
        keep_first(extreme, value, layer, obs);
}

static void add_extremes(wa_extremes *extremes, const wa_summary_rows *rows, size_t i,
                         int32_t layer, int32_t obs)
{
    keep_smallest(&extremes->min_cos, rows->cos[i], layer, obs);
    keep_largest(&extremes->max_rel_l2, rows->rel_l2[i], layer, obs);
    keep_largest(&extremes->max_l2, rows->l2[i], layer, obs);
    keep_largest(&extremes->max_max_abs, rows->max_abs[i], layer, obs);
    keep_largest(&extremes->max_eta, rows->eta[i], layer, obs);
}

/* NaN where the pair was not sampled, infinite where it was and some output is no number. */
static void add_kernel(kernel_figures *kernel, double value, int32_t layer, int32_t obs)
{
    if (isnan(value))
        return;
    kernel->count++;
    if (isinf(value))
        keep_first(&kernel->infinite, value, layer, obs);
    keep_largest(&kernel->max, value, layer, obs);
}

static void add_routing(wa_routing_summary *routing, const wa_summary_rows *rows, size_t i,
                        int32_t layer, int32_t obs)
{
    keep_largest(&routing->max_gap, rows->routing_gap[i], layer, obs);
    keep_largest(&routing->max_same, rows->same_experts[i], layer, obs);
    keep_largest(&routing->max_other, rows->other_experts[i], layer, obs);
    routing->flips += rows->routing_change[i] == WA_ROUTING_OTHER_EXPERTS ? 1 : 0;
    routing->own_flips += rows->own_routing_change[i] == WA_ROUTING_OTHER_EXPERTS ? 1 : 0;
}

static bool is_number(const wa_summary_rows *rows, size_t i)
{
    return rows->obs_status[i] != WA_OBS_NON_FINITE && isfinite(rows->cos[i]) &&
           isfinite(rows->rel_l2[i]) && isfinite(rows->l2[i]) && isfinite(rows->max_abs[i]);
}

/* The case's own residual stream behind a layer, if it has one. An observation counts once as not
 * finite, be it the output or the stream that is not. */
static void add_stream(wa_summary *summary, double drift, bool nonfinite, int32_t layer,
                       int32_t obs)
{
    keep_largest(&summary->max_drift, drift, layer, obs);
    if (nonfinite || (summary->own_stream && !isfinite(drift))) {
        summary->nonfinite++;
        keep_first(&summary->first_nonfinite, NAN, layer, obs);
    }
}

static void add_observation(wa_summary *summary, const wa_summary_rows *rows, size_t i,
                            int32_t layer, int32_t obs)
{
    bool begins = rows->obs_position[i] == 0;
    wa_extremes *part = begins ? &summary->first : &summary->rest;
    line *own = &summary->lines[layer];
    own->has_first = own->has_first || begins;
    summary->all.n_obs++;
    summary->layer[layer].n_obs++;
    part->n_obs++;
    add_kernel(&summary->kernel, rows->kernel_rel_l2[i], layer, obs);
    add_kernel(&summary->kernel_own, rows->kernel_own_rel_l2[i], layer, obs);
    if (rows->routing_gap != NULL)
        add_routing(&summary->routing, rows, i, layer, obs);
    bool number = is_number(rows, i);
    add_stream(summary, rows->drift[i], !number, layer, obs);
    if (!number)
        return;
    add_extremes(&summary->all, rows, i, layer, obs);
    add_extremes(&summary->layer[layer], rows, i, layer, obs);
    add_extremes(part, rows, i, layer, obs);
    wa_quantile_stream_add(summary->rel_l2, rows->rel_l2[i]);
    summary->rel_l2_count++;
    own->rel_l2_sum += rows->rel_l2[i];
}

/* --- Digest: two streams, the finaliser of splitmix64 over each word, chained ----------------- */

static uint64_t mix(uint64_t v)
{
    v ^= v >> 30;
    v *= 0xbf58476d1ce4e5b9u;
    v ^= v >> 27;
    v *= 0x94d049bb133111ebu;
    return v ^ (v >> 31);
}

static void digest_word(uint64_t digest[2], uint64_t word)
{
    digest[0] = mix(digest[0] ^ word);
    digest[1] = mix(digest[1] + word * 0x9e3779b97f4a7c15u + 1);
}

static void digest_f64(uint64_t digest[2], double value)
{
    uint64_t word;
    memcpy(&word, &value, sizeof word);
    digest_word(digest, word);
}

/* Row by row, so that the digest does not depend on how the rows were handed over. */
static void digest_observation(uint64_t digest[2], const wa_summary_rows *rows, size_t i)
{
    digest_f64(digest, rows->cos[i]);
    digest_f64(digest, rows->one_minus_cos[i]);
    digest_f64(digest, rows->rel_l2[i]);
    digest_f64(digest, rows->l2[i]);
    digest_f64(digest, rows->max_abs[i]);
    digest_f64(digest, rows->norm_ratio[i]);
    digest_f64(digest, rows->eta[i]);
    digest_f64(digest, rows->drift[i]);
    digest_word(digest,
                (uint64_t)(uint32_t)rows->max_abs_index[i] << 8 | (uint8_t)rows->obs_status[i]);
}

void wa_summary_digest(wa_summary *summary, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    digest_word(summary->digest, size);
    for (; size >= 8; size -= 8, at += 8)
        digest_word(summary->digest, wa_load_u64(at));
    uint64_t tail = 0;
    for (size_t i = 0; i < size; i++)
        tail |= (uint64_t)at[i] << (8 * i);
    if (size > 0)
        digest_word(summary->digest, tail);
}

static bool is_there(const wa_summary_rows *rows, size_t i)
{
    return rows->obs_status[i] != WA_OBS_MISSING && rows->obs_status[i] != WA_OBS_FAILED;
}

void wa_summary_add(wa_summary *summary, size_t layer, const wa_summary_rows *rows)
{
    assert(layer < summary->layers && rows->first_obs <= summary->obs &&
           rows->count <= summary->obs - rows->first_obs);
    for (size_t i = 0; i < rows->count; i++) {
        digest_observation(summary->lines[layer].digest, rows, i);
        if (rows->obs_status[i] == WA_OBS_NOT_SERVED)
            add_stream(summary, rows->drift[i], false, (int32_t)layer,
                       (int32_t)(rows->first_obs + i));
        else if (is_there(rows, i))
            add_observation(summary, rows, i, (int32_t)layer, (int32_t)(rows->first_obs + i));
        else
            summary->missing++;
    }
}

bool wa_summary_again(wa_summary *summary)
{
    return wa_quantile_stream_again(summary->rel_l2);
}

void wa_summary_add_again(wa_summary *summary, const wa_summary_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        if (is_there(rows, i) && is_number(rows, i))
            wa_quantile_stream_add(summary->rel_l2, rows->rel_l2[i]);
}

void wa_summary_finish(wa_summary *summary, bool first_token_shared, wa_case_summary *out)
{
    int64_t layers_with_first = 0;
    double sum = 0.0, quantile[QUANTILE_COUNT];
    for (size_t l = 0; l < summary->layers; l++) {
        const line *own = &summary->lines[l];
        layers_with_first += own->has_first;
        sum += own->rel_l2_sum;
        digest_word(summary->digest, own->digest[0]);
        digest_word(summary->digest, own->digest[1]);
    }
    wa_quantile_stream_finish(summary->rel_l2, quantile);
    int64_t first_distinct = first_token_shared ? layers_with_first : summary->first.n_obs,
            count = summary->rel_l2_count;
    *out = (wa_case_summary){.all = summary->all,
                             .first = summary->first,
                             .rest = summary->rest,
                             .layer = summary->layer,
                             .n_obs_distinct = summary->rest.n_obs + first_distinct,
                             .mean_rel_l2 = count > 0 ? sum / (double)count : NAN,
                             .p50_rel_l2 = quantile[0],
                             .p95_rel_l2 = quantile[1],
                             .p99_rel_l2 = quantile[2],
                             .max_kernel = summary->kernel.max,
                             .max_kernel_own = summary->kernel_own.max,
                             .kernel_nan = summary->kernel.infinite,
                             .kernel_own_nan = summary->kernel_own.infinite,
                             .n_kernel = summary->kernel.count,
                             .n_kernel_own = summary->kernel_own.count,
                             .max_drift = summary->max_drift,
                             .routing = summary->routing,
                             .nonfinite = summary->nonfinite,
                             .first_nonfinite = summary->first_nonfinite,
                             .missing = summary->missing,
                             .digest = {summary->digest[0], summary->digest[1]}};
}

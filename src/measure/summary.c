/* Summaries: observations of one case, folded in plan order. */
#include "walkaudit/summary.h"

#include "base/quantile.h"
#include "walkaudit/bytes.h"
#include "walkaudit/diff.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct wa_summary {
    size_t layers, obs;
    wa_extremes all, first, rest;
    wa_extremes *layer;       /* [layers] */
    uint8_t *layer_has_first; /* [layers] the layer has seen a position 0 */
    double *rel_l2;           /* [layers * obs] those that are numbers, in plan order */
    size_t rel_l2_count;
    double rel_l2_sum;
    wa_extreme max_kernel, kernel_infinite, max_drift, first_nonfinite;
    uint8_t *kernel_seen;      /* [obs] some layer has a kernel figure */
    int32_t *kernel_nan_layer; /* [obs] first layer without one, -1 = none */
    int64_t nonfinite, missing;
    uint64_t digest[2];
};

static const wa_extreme NOWHERE = {.value = NAN, .layer = -1, .obs = -1};

static wa_extremes no_extremes(void)
{
    return (wa_extremes){.min_cos = NOWHERE,
                         .max_rel_l2 = NOWHERE,
                         .max_l2 = NOWHERE,
                         .max_max_abs = NOWHERE,
                         .max_eta = NOWHERE};
}

wa_status wa_summary_open(wa_arena *arena, size_t layers, size_t obs, wa_summary **out,
                          wa_error *err)
{
    size_t count;
    if (!wa_size_mul(layers, obs, &count) || layers > INT32_MAX || obs > INT32_MAX)
        return wa_fail(err, WA_E_MEMORY, "summary of %zu layers x %zu observations overflows",
                       layers, obs);
    wa_summary *summary;
    WA_TRY(wa_arena_take(arena, 1, sizeof *summary, &summary, err));
    WA_TRY(wa_arena_take_raw(arena, layers, sizeof *summary->layer, &summary->layer, err));
    WA_TRY(wa_arena_take(arena, layers, 1, &summary->layer_has_first, err));
    WA_TRY(wa_arena_take_raw(arena, count, sizeof *summary->rel_l2, &summary->rel_l2, err));
    WA_TRY(wa_arena_take(arena, obs, 1, &summary->kernel_seen, err));
    WA_TRY(wa_arena_take_raw(arena, obs, sizeof *summary->kernel_nan_layer,
                             &summary->kernel_nan_layer, err));
    summary->layers = layers;
    summary->obs = obs;
    summary->all = summary->first = summary->rest = no_extremes();
    for (size_t l = 0; l < layers; l++)
        summary->layer[l] = no_extremes();
    for (size_t o = 0; o < obs; o++)
        summary->kernel_nan_layer[o] = -1;
    summary->max_kernel = summary->kernel_infinite = NOWHERE;
    summary->max_drift = summary->first_nonfinite = NOWHERE;
    summary->digest[0] = 0x243f6a8885a308d3u; /* the first digits of pi: nothing up a sleeve */
    summary->digest[1] = 0x13198a2e03707344u;
    *out = summary;
    return WA_OK;
}

/* --- Extremes: strict improvement only, so the first of equals keeps its place (walk-paths 4.6)
 * --- */

static void keep_largest(wa_extreme *extreme, double value, int32_t layer, int32_t obs)
{
    if (isnan(value) || (extreme->layer >= 0 && !(value > extreme->value)))
        return;
    *extreme = (wa_extreme){.value = value, .layer = layer, .obs = obs};
}

static void keep_smallest(wa_extreme *extreme, double value, int32_t layer, int32_t obs)
{
    if (isnan(value) || (extreme->layer >= 0 && !(value < extreme->value)))
        return;
    *extreme = (wa_extreme){.value = value, .layer = layer, .obs = obs};
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

/* Kernel figures are NaN where not computed, and they are computed for the same observations at
 * every layer: a NaN at an observation that has a figure elsewhere is one that went wrong. */
static void add_kernel(wa_summary *summary, double value, int32_t layer, int32_t obs)
{
    if (isnan(value)) {
        if (summary->kernel_nan_layer[obs] < 0)
            summary->kernel_nan_layer[obs] = layer;
        return;
    }
    summary->kernel_seen[obs] = 1;
    if (isinf(value) && summary->kernel_infinite.layer < 0)
        summary->kernel_infinite = (wa_extreme){.value = value, .layer = layer, .obs = obs};
    keep_largest(&summary->max_kernel, value, layer, obs);
}

static bool is_number(const wa_summary_rows *rows, size_t i)
{
    return rows->obs_status[i] != WA_OBS_NON_FINITE && isfinite(rows->cos[i]) &&
           isfinite(rows->rel_l2[i]) && isfinite(rows->l2[i]) && isfinite(rows->max_abs[i]);
}

static void add_observation(wa_summary *summary, const wa_summary_rows *rows, size_t i,
                            int32_t layer, int32_t obs)
{
    bool is_first = rows->obs_position[i] == 0;
    wa_extremes *part = is_first ? &summary->first : &summary->rest;
    if (is_first)
        summary->layer_has_first[layer] = 1;
    summary->all.n_obs++;
    summary->layer[layer].n_obs++;
    part->n_obs++;
    add_kernel(summary, rows->kernel_rel_l2[i], layer, obs);
    keep_largest(&summary->max_drift, rows->drift[i], layer, obs);
    if (!is_number(rows, i)) {
        if (summary->nonfinite++ == 0)
            summary->first_nonfinite = (wa_extreme){.value = NAN, .layer = layer, .obs = obs};
        return;
    }
    add_extremes(&summary->all, rows, i, layer, obs);
    add_extremes(&summary->layer[layer], rows, i, layer, obs);
    add_extremes(part, rows, i, layer, obs);
    summary->rel_l2[summary->rel_l2_count++] = rows->rel_l2[i];
    summary->rel_l2_sum += rows->rel_l2[i];
}

/* --- Digest: two streams, the finaliser of splitmix64 over each word, chained
 * --------------------- */

static uint64_t mix(uint64_t v)
{
    v ^= v >> 30;
    v *= 0xbf58476d1ce4e5b9u;
    v ^= v >> 27;
    v *= 0x94d049bb133111ebu;
    return v ^ (v >> 31);
}

static void digest_word(wa_summary *summary, uint64_t word)
{
    summary->digest[0] = mix(summary->digest[0] ^ word);
    summary->digest[1] = mix(summary->digest[1] + word * 0x9e3779b97f4a7c15u + 1);
}

static void digest_f64(wa_summary *summary, double value)
{
    uint64_t word;
    memcpy(&word, &value, sizeof word);
    digest_word(summary, word);
}

/* Row by row, so that the digest does not depend on how the rows were handed over. */
static void digest_observation(wa_summary *summary, const wa_summary_rows *rows, size_t i)
{
    digest_f64(summary, rows->cos[i]);
    digest_f64(summary, rows->one_minus_cos[i]);
    digest_f64(summary, rows->rel_l2[i]);
    digest_f64(summary, rows->l2[i]);
    digest_f64(summary, rows->max_abs[i]);
    digest_f64(summary, rows->norm_ratio[i]);
    digest_f64(summary, rows->eta[i]);
    digest_f64(summary, rows->drift[i]);
    digest_word(summary,
                (uint64_t)(uint32_t)rows->max_abs_index[i] << 8 | (uint8_t)rows->obs_status[i]);
}

void wa_summary_digest(wa_summary *summary, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    digest_word(summary, size);
    for (; size >= 8; size -= 8, at += 8)
        digest_word(summary, wa_load_u64(at));
    uint64_t tail = 0;
    for (size_t i = 0; i < size; i++)
        tail |= (uint64_t)at[i] << (8 * i);
    if (size > 0)
        digest_word(summary, tail);
}

void wa_summary_add(wa_summary *summary, size_t layer, const wa_summary_rows *rows)
{
    assert(layer < summary->layers && rows->first_obs <= summary->obs &&
           rows->count <= summary->obs - rows->first_obs);
    for (size_t i = 0; i < rows->count; i++) {
        digest_observation(summary, rows, i);
        wa_obs_status status = (wa_obs_status)rows->obs_status[i];
        if (status == WA_OBS_MISSING || status == WA_OBS_FAILED)
            summary->missing++;
        else
            add_observation(summary, rows, i, (int32_t)layer, (int32_t)(rows->first_obs + i));
    }
}

/* The first in plan order: the lower layer, then the lower observation. */
static wa_extreme first_bad_kernel(const wa_summary *summary)
{
    wa_extreme bad = summary->kernel_infinite;
    for (size_t o = 0; o < summary->obs; o++) {
        int32_t layer = summary->kernel_nan_layer[o];
        if (!summary->kernel_seen[o] || layer < 0)
            continue;
        if (bad.layer < 0 || layer < bad.layer || (layer == bad.layer && (int32_t)o < bad.obs))
            bad = (wa_extreme){.value = NAN, .layer = layer, .obs = (int32_t)o};
    }
    return bad;
}

void wa_summary_finish(wa_summary *summary, bool first_token_shared, wa_case_summary *out)
{
    int64_t first_distinct = summary->first.n_obs;
    if (first_token_shared) {
        first_distinct = 0;
        for (size_t l = 0; l < summary->layers; l++)
            first_distinct += summary->layer_has_first[l];
    }
    size_t count = summary->rel_l2_count;
    size_t from = 0;
    double p50 = wa_quantile(summary->rel_l2, count, 0.50, &from);
    double p95 = wa_quantile(summary->rel_l2, count, 0.95, &from);
    double p99 = wa_quantile(summary->rel_l2, count, 0.99, &from);
    *out = (wa_case_summary){.all = summary->all,
                             .first = summary->first,
                             .rest = summary->rest,
                             .layer = summary->layer,
                             .n_obs_distinct = summary->rest.n_obs + first_distinct,
                             .mean_rel_l2 = count > 0 ? summary->rel_l2_sum / (double)count : NAN,
                             .p50_rel_l2 = p50,
                             .p95_rel_l2 = p95,
                             .p99_rel_l2 = p99,
                             .max_kernel = summary->max_kernel,
                             .kernel_nan = first_bad_kernel(summary),
                             .max_drift = summary->max_drift,
                             .nonfinite = summary->nonfinite,
                             .first_nonfinite = summary->first_nonfinite,
                             .missing = summary->missing,
                             .digest = {summary->digest[0], summary->digest[1]}};
}

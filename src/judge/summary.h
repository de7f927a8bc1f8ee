/*
 * Summaries: extremes with their places and quantiles of one case, folded from observations: layers
 * in any order, so that a file is read chunk by chunk; memory does not grow with the observations
 * but for five bytes of each.
 */
#ifndef WALKAUDIT_JUDGE_SUMMARY_H
#define WALKAUDIT_JUDGE_SUMMARY_H

#include "base/arena.h"
#include "measure/rows.h"

#include <stdbool.h>
#include <stdint.h>

/** A value and where it stands; value NaN and places -1 when nothing was seen. First wins among
 * equals. */
typedef struct wa_extreme {
    double value;
    int32_t layer, obs;
} wa_extreme;

/** The four extremes of a set of observations, and how many there were. */
typedef struct wa_extremes {
    wa_extreme min_cos, max_rel_l2, max_l2, max_max_abs, max_eta;
    int64_t n_obs;
} wa_extremes;

/** Which experts a case's router chose; places -1 in a model without. */
typedef struct wa_routing_summary {
    wa_extreme max_gap, max_same,
        max_other;            /* largest routing_gap, same_ and other_experts_rel_l2 */
    int64_t flips, own_flips; /* (layer, observation) pairs with other experts: on the same input,
                                 and on the case's own residual stream */
} wa_routing_summary;

/** One case, whole file. */
typedef struct wa_case_summary {
    wa_extremes all, first, rest; /* first: position 0 of each prompt; rest: the others */
    wa_extremes *layer;           /* [layers], arena; places in .obs */
    int64_t n_obs_distinct;       /* position 0 counted once when all prompts share its token */
    double mean_rel_l2, p50_rel_l2, p95_rel_l2, p99_rel_l2; /* linear interpolation f*(n-1) */
    /* largest kernel_rel_l2 and kernel_own_rel_l2 where sampled */
    wa_extreme max_kernel, max_kernel_own;
    /* first of them that is infinite: some output was no number; layer -1 = none */
    wa_extreme kernel_nan, kernel_own_nan;
    int64_t n_kernel, n_kernel_own; /* how many of them there are */
    wa_extreme max_drift;
    wa_routing_summary routing;
    int64_t nonfinite; /* observations whose output, or own residual stream, is not finite */
    wa_extreme first_nonfinite; /* its place */
    int64_t missing;            /* status MISSING or FAILED */
    /* of what the case computed: differences from the reference and next tokens, not labels, costs
     * or kernel figures; equal digests = equal bit for bit */
    uint64_t digest[2];
} wa_case_summary;

typedef struct wa_summary wa_summary;
/** Start a case of [layers, obs] observations, with a residual stream of its own or without, where
 * no drift is a number. Arena: 4 MiB, some words a layer and 5 bytes for each of `obs`. */
WA_CHECKED wa_status wa_summary_open(wa_arena *arena, size_t layers, size_t obs, bool own_stream,
                                     wa_summary **out, wa_error *err);
/** Feed rows: observations ascend within a layer, layers come in any order. */
void wa_summary_add(wa_summary *summary, size_t layer, const wa_summary_rows *rows);
/** All rows were fed: are they needed once more, for the quantiles? Then all go to
 * wa_summary_add_again, and this is asked again. */
bool wa_summary_again(wa_summary *summary);
/** Rows with cos, rel_l2, l2, max_abs and obs_status; in any order. */
void wa_summary_add_again(wa_summary *summary, const wa_summary_rows *rows);
/** Mix further outputs of the case (per prompt: CP and CPS fields) into its digest, in a fixed
 * order. Labels and costs differ between any two paths, so with them no two cases would ever be
 * equal. */
void wa_summary_digest(wa_summary *summary, const void *bytes, size_t size);
/** first_token_shared: every prompt starts with the same id. */
void wa_summary_finish(wa_summary *summary, bool first_token_shared, wa_case_summary *out);

#endif

/* Distributions over the vocabulary, from logits that arrive in panels: normalisers, top k,
 * divergences. */
#ifndef WALKAUDIT_MEASURE_LOGITS_H
#define WALKAUDIT_MEASURE_LOGITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WA_TOPK_MAX = 128 };

/** One row of logits, seen panel by panel in ascending id. A plain value; start with
 * wa_logits_start. */
typedef struct wa_logits {
    double max; /* largest logit so far */
    double sum; /* sum of exp(z - max), f64, ids ascending */
    size_t nonfinite;
    size_t k, filled;
    int32_t top_id[WA_TOPK_MAX]; /* by logit descending, ties by lower id */
    float top_logit[WA_TOPK_MAX];
} wa_logits;

void wa_logits_start(wa_logits *state, size_t k);
/** Feed logits of ids [first_id, first_id + count). */
void wa_logits_add(wa_logits *state, const float *logits, size_t first_id, size_t count);
/**
 * The same for many rows: sums in vector lanes, several times faster. Equal to the above but for
 * rounding (1e-14 relative); the same bits on every ISA, for one cut into panels. What is no number
 * goes the way above.
 */
void wa_logits_add_fast(wa_logits *state, const float *logits, size_t first_id, size_t count);
/** ln p of a logit, once every panel has been seen; NaN when the row held a NaN or infinity. */
double wa_logits_log_prob(const wa_logits *state, double logit);

/**
 * With logits of last positions only: is the reference's surprise at the text measured at this
 * observation of the job too? All of the first 1,024, then one in eight, by a rule that knows
 * nothing but the observation: ranks, grids and batches are no part of it.
 */
bool wa_text_has(size_t observation);

/**
 * KL(ref || case), JS, both in nats over the whole vocabulary; the case's log-probability of the
 * reference's top-1; and by how much the reference's largest logit is above its logit of the case's
 * top-1: 0 when both agree, NaN when a row is no distribution.
 */
typedef struct wa_divergence {
    double kl, js;
    double log_prob_of_ref_top1, top1_gap;
} wa_divergence;
void wa_divergence_start(wa_divergence *state);
/** Second pass over the same panels of both rows. */
void wa_divergence_add(wa_divergence *state, const wa_logits *ref, const wa_logits *own,
                       const float *ref_logits, const float *own_logits, size_t first_id,
                       size_t count);
/** The same for many rows, as wa_logits_add_fast is; terms with |ln q - ln p| of 1 and more go the
 * way above, 256 at a time. */
void wa_divergence_add_fast(wa_divergence *state, const wa_logits *ref, const wa_logits *own,
                            const float *ref_logits, const float *own_logits, size_t first_id,
                            size_t count);

/** Jaccard index of the first `k` ids of both rows. */
double wa_topk_overlap(const wa_logits *a, const wa_logits *b, size_t k);

#endif

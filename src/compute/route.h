/* The router of a layer with experts: which experts a row goes through, and by which weights. */
#ifndef WALKAUDIT_COMPUTE_ROUTE_H
#define WALKAUDIT_COMPUTE_ROUTE_H

#include "compute/kernel.h"

/** What a router says of rows; whoever asks owns the arrays. */
typedef struct wa_routing {
    /* [rows, chosen], largest logit first; -1 throughout a row with a logit that is no number */
    int32_t *expert;
    float *weight; /* [rows, chosen]; NaN there */
    /* [rows, chosen] its logit less that of the next; of the last chosen, less that of the first
     * not chosen, infinite when all are chosen; NaN there */
    float *margin;
    float *logits; /* [rows, count] of all experts; NULL = not kept */
} wa_routing;

/** Space for `rows` rows, in `arena`; logits are not kept. Errors: WA_E_MEMORY. */
WA_CHECKED wa_status wa_routing_open(wa_arena *arena, const wa_experts *experts, size_t rows,
                                     wa_routing *out, wa_error *err);

/**
 * Route rows x [rows, H]. Logits are f32: sums of exact products in f64, in one order on every
 * processor, and the bias, rounded once. Experts of equal logits are taken by number. Weights:
 * softmax over all experts with f64 exponentials, over the chosen ones where `renormalised`,
 * rounded once (larql-2026-08.md 5.4). The router is decoded once. Local.
 *
 * through  NULL, or [rows, chosen] experts that the rows go through instead of the best: different
 *          ones, weighed by the same logits; -1 throughout a row that goes nowhere
 * scratch  its panel and its arena are used. Errors: WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_route_rows(const wa_experts *experts, size_t rows, const float *x,
                                   const int32_t *through, wa_scratch *scratch, wa_routing *out,
                                   wa_error *err);

/** out[r] = the logistic function of <gate, x[r]>, for a gate of one row; sums as above. Local. */
void wa_route_shared(const wa_matrix *gate, size_t rows, const float *x, wa_scratch *scratch,
                     float *out);

#endif

/* Measured values in memory, handed from whoever has them to whoever folds them. */
#ifndef WALKAUDIT_MEASURE_ROWS_H
#define WALKAUDIT_MEASURE_ROWS_H

#include <stddef.h>
#include <stdint.h>

/** Observations of one (case, layer), [count] each, starting at observation `first_obs`.
 * Borrowed. */
typedef struct wa_summary_rows {
    const double *cos, *one_minus_cos, *rel_l2, *l2, *max_abs, *norm_ratio, *kernel_rel_l2,
        *kernel_own_rel_l2, *eta, *drift;
    /* NULL = no experts */
    const double *routing_gap, *same_experts, *other_experts; /* the latter two: rel_l2 */
    const int8_t *routing_change, *own_routing_change;
    const int32_t *max_abs_index;
    const int8_t *obs_status;
    const int32_t *obs_position; /* position within the prompt */
    size_t first_obs, count;
} wa_summary_rows;

/** Distances from a dump, as stored; at: position of each, -1 = not compared. Borrowed. */
typedef struct wa_drift_figures {
    size_t layers, prompts;
    const double *x, *y, *logits;           /* [layers, prompts], [layers, prompts], [prompts] */
    const int32_t *x_at, *y_at, *logits_at; /* likewise */
} wa_drift_figures;

/** Takes rows of a layer, and bytes. */
typedef void wa_rows_taker(void *context, size_t layer, const wa_summary_rows *rows);
typedef void wa_bytes_taker(void *context, const void *bytes, size_t size);

#endif

/* In which order Q6_K and Q4_0 hold their elements: LARQL's own until 7 August 2026, ggml's since.
 * Nothing in a vindex says which (larql-2026-08.md 1.4), so that rows are compared with the
 * model's. */
#ifndef WALKAUDIT_VINDEX_ORDER_H
#define WALKAUDIT_VINDEX_ORDER_H

#include "model/model.h"
#include "vindex/vindex.h"

/**
 * Decide for each stored matrix of these formats by up to 16 spread rows whose model row is not
 * zero: a row speaks for the order in which its direction is clearly nearer to the model's, and
 * more than half of them must agree. An undecided matrix counts as one of August. From then on
 * wa_vindex_matrix reads in the order found. Of the experts of a layer, which are one file, the
 * first few speak for all, and wa_vindex_expert reads so. Local; the model fits the vindex
 * (wa_vindex_match). What was found stays in `arena`.
 *
 * Errors: WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_vindex_settle_orders(wa_vindex *vindex, const wa_model *model,
                                             wa_arena *arena, wa_error *err);

/**
 * One line for each projection and order that wa_vindex_settle_orders found in a payload: "down:
 * Q6_K, order of before August 2026: LARQL since then reads this as noise", with the layers where
 * not all are alike; lines end in no newline. "" where no matrix has two orders, and where nothing
 * was settled. Of EXPERTS a line for all projections: "experts, layers 0-3: Q6_K, order since
 * August 2026". Arena.
 */
WA_CHECKED wa_status wa_vindex_tell_orders(const wa_vindex *vindex, wa_payload payload,
                                           wa_arena *arena, const char **out, wa_error *err);

/**
 * The same from the bytes alone, for who has no model: Q6_K by what LARQL's encoder (and ours)
 * leaves in its codes, the document's second test; Q4_0 cannot be told.
 */
WA_CHECKED wa_status wa_vindex_guess_orders(const wa_vindex *vindex, wa_payload payload,
                                            wa_arena *arena, const char **out, wa_error *err);

#endif

/* The choice of a grid: dealing of cases, cuts of layers, and the time that both would take. */
#ifndef WALKAUDIT_PLAN_GRID_H
#define WALKAUDIT_PLAN_GRID_H

#include "walkaudit/plan.h"

/**
 * Fill in grid, stage_start, case_member, vindex_member, predicted_utilisation, flops_per_rank_max
 * and anonymous_bytes of a plan whose batches are there. Errors: as wa_plan_build.
 */
WA_CHECKED wa_status wa_plan_choose_grid(const wa_plan_input *input, int ranks, wa_arena *arena,
                                         wa_plan *plan, wa_error *err);

/**
 * Bytes of the arenas of one rank that holds `lanes` lanes. Saturates at SIZE_MAX.
 *
 * slots  batches in flight, each with its own residuals and results
 */
size_t wa_plan_memory(const wa_plan_input *input, const wa_plan *plan, size_t lanes, size_t slots);

#endif

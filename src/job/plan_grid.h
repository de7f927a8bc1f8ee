/* The choice of a grid: dealing of cases, cuts of layers, and the time that both would take. */
#ifndef WALKAUDIT_JOB_PLAN_GRID_H
#define WALKAUDIT_JOB_PLAN_GRID_H

#include "job/plan.h"

/**
 * Fill in grid, stage_start, case_member, vindex_member, predicted_utilisation, flops_per_rank_max
 * and anonymous_bytes of a plan whose batches are there. Errors: as wa_plan_build.
 */
WA_CHECKED wa_status wa_plan_choose_grid(const wa_plan_input *input, int ranks, wa_arena *arena,
                                         wa_plan *plan, wa_error *err);

/**
 * Most bytes that the arenas of one rank hold while batches run: of the writer of a group of `stages` x `teams`, which has lane 0 and
 * gathers the group's results, with `lanes` lanes. Vocabulary, texts and the libraries' own memory are not in it. Saturates at SIZE_MAX.
 */
size_t wa_plan_memory(const wa_plan_input *input, const wa_plan *plan, size_t lanes, int stages, int teams);

#endif

/* Cuts of the layers into stages, and the time that a candidate would take. Local, pure. */
#ifndef WALKAUDIT_JOB_PLAN_TIME_H
#define WALKAUDIT_JOB_PLAN_TIME_H

#include "job/plan_candidate.h"

/** Fill in c's stage_start, such that the dearest stage is cheapest. Its cases are dealt already.
 * Errors: WA_E_MEMORY. */
WA_CHECKED wa_status wa_plan_cut_layers(const wa_work *work, wa_arena *arena, wa_candidate *c,
                                        wa_error *err);

/** Fill in c's time, busy_max, busy_sum and first_group, for the batches of a plan. spread: by how
 * much ranks differ in speed, 0 = they are alike; below 0 others are slow. Errors: WA_E_MEMORY. */
WA_CHECKED wa_status wa_plan_predict(const wa_work *work, const wa_plan *plan, double spread,
                                     wa_arena *arena, wa_candidate *c, wa_error *err);

#endif

/* By which rule prompts are packed into batches: each is tried, its time judged. Local, pure. */
#ifndef WALKAUDIT_JOB_PLAN_RULE_H
#define WALKAUDIT_JOB_PLAN_RULE_H

#include "job/plan_candidate.h"

/** Groups that have a batch, of as many as the ranks make. */
void wa_plan_set_groups(wa_candidate *c, int ranks, size_t batches);

/** Pack the batches of a plan by a rule, and predict their time where ranks are alike. Errors:
 * WA_E_MEMORY. */
WA_CHECKED wa_status wa_plan_pack_by(const wa_work *work, int ranks, const wa_packing_rule *rule,
                                     wa_arena *arena, wa_candidate *c, wa_plan *plan,
                                     wa_error *err);

/** The quickest rule for a candidate whose cases are dealt and layers cut, with batches of at most
 * `most` rows. Errors: WA_E_MEMORY. */
WA_CHECKED wa_status wa_plan_choose_rule(const wa_work *work, int ranks, size_t most,
                                         wa_arena *arena, wa_candidate *c, wa_error *err);

#endif

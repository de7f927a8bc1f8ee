/* What the cases cost, and which member of a team each is dealt to. Local, pure. */
#ifndef WALKAUDIT_JOB_PLAN_CASES_H
#define WALKAUDIT_JOB_PLAN_CASES_H

#include "job/plan_candidate.h"

/** Operations of one member at one stage. packing: rows that decoding and packing a matrix for a
 * batch costs; 0 = only what is computed counts. */
double wa_plan_member_time(const wa_member_cost *m, size_t layers, bool is_last, const wa_amount *a,
                           double packing);

/** Dearest first, each to the member with the least to do; the lead has lane 0 already. Fills in
 * c's members and case_member. Errors: WA_E_MEMORY. */
WA_CHECKED wa_status wa_plan_deal_cases(const wa_work *work, wa_arena *arena, wa_candidate *c,
                                        wa_error *err);

/** Is case `which` the same function as another that the member has been dealt already? That one's
 * FFN answers it, and that one's oracle. case_member: of every case, -1 = not dealt yet. */
bool wa_plan_is_answered(const wa_plan_input *input, const int *case_member, size_t which,
                         int member);

/** Encoding checks: each vindex to the member with the fewest, lead last, since it has lane 0. */
void wa_plan_deal_vindexes(const wa_plan_input *input, int teams, int *vindex_member);

/** Fill in plan's spread_rows and spread_asks. Every expert is taken to be chosen equally often,
 * and each batch to ask every member. */
void wa_plan_count_spread(const wa_plan_input *input, wa_plan *plan);

#endif

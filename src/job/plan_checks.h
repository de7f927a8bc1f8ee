/* What the two checks of a run cost beside layers and logits. */
#ifndef WALKAUDIT_JOB_PLAN_CHECKS_H
#define WALKAUDIT_JOB_PLAN_CHECKS_H

#include "job/plan.h"

/** Of the rank that has most to do of either. */
typedef struct wa_check_costs {
    double kernel, encoding; /* seconds; 0: the job leaves the check out */
    double encoding_bytes;   /* what it reads for that */
} wa_check_costs;

/** flops_per_second: of the job's products. Local, pure. They take part in no choice of a grid:
 * the cases decide both. */
wa_check_costs wa_plan_check_costs(const wa_plan_input *input, const wa_plan *plan,
                                   double flops_per_second);

#endif

/* How fast a rank would be on this machine. */
#ifndef WALKAUDIT_CLI_PLAN_RATE_H
#define WALKAUDIT_CLI_PLAN_RATE_H

#include "engine/audit.h"

/** A plain value; zeros before it is measured. */
typedef struct wa_plan_rate {
    double flops_per_second; /* of a rank, while all ranks of its node compute */
    int threads;             /* that were measured at once; 0 = none, the rate was given */
} wa_plan_rate;

/**
 * Operations a second of products by the job's engine, at the rows of the plan's batches: what the
 * plan's operations are counted in. As many threads as a node has ranks multiply at once, but no
 * more than there are processors here, since they share a clock's budget, caches and memory; of
 * engine blas one. Takes a third of a second, or nothing where *rate is of as many threads already.
 * Local; memory of `arena`, some MB a thread. Errors: WA_E_MEMORY, and those of
 * wa_isa_choose.
 */
WA_CHECKED wa_status wa_plan_rate_measure(const wa_plan_input *input, const wa_plan *plan,
                                          wa_engine engine, wa_arena *arena, wa_plan_rate *rate,
                                          wa_error *err);

#endif

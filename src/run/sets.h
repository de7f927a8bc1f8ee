/*
 * Between the sets of a sweep. Their roots tell each other the signals they heard; and rank 0, root
 * of the first set, hands out the audits, each when a set asks for one.
 */
#ifndef WALKAUDIT_RUN_SETS_H
#define WALKAUDIT_RUN_SETS_H

#include "comm/comm.h"
#include "job/plan.h"

typedef struct wa_run_sets wa_run_sets;

/** Told on rank 0 of every audit that is given out. */
typedef void wa_run_sets_given(void *context, size_t set, size_t audit);

/** Local, on the root of a set. comm: all ranks of the sweep, the plan's. Borrows the plan.
 * Arena. */
WA_CHECKED wa_status wa_run_sets_open(wa_comm *comm, const wa_sweep *plan, wa_run_sets_given *given,
                                      void *context, wa_arena *arena, wa_run_sets **out,
                                      wa_error *err);
/** Often: pass on what this process heard, hear what others pass on, answer those that ask. Never
 * blocks; a failure is told by the other calls. */
void wa_run_sets_beat(wa_run_sets *sets);
/** The audit that this root's set is to begin; WA_NO_AUDIT = none, and it must not ask again. Waits
 * for rank 0. */
WA_CHECKED wa_status wa_run_sets_next(wa_run_sets *sets, size_t *audit_out, wa_error *err);
/** Say that nothing follows and wait for the same of all other sets. */
WA_CHECKED wa_status wa_run_sets_close(wa_run_sets *sets, wa_error *err);

#endif

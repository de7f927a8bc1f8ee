/* How long every audit of a sweep would take, on how many ranks. */
#ifndef WALKAUDIT_RUN_PREDICT_H
#define WALKAUDIT_RUN_PREDICT_H

#include "job/plan.h"
#include "run/sweep.h"

typedef struct wa_run_prediction {
    wa_comm *comm;
    const wa_job *job;
    const wa_run_options *options;
    const size_t *chosen; /* [chosen_count] audits, the same on every rank */
    size_t chosen_count;
} wa_run_prediction;

/**
 * Collective. Each rank opens its share of the audits. What is done already costs nothing, nor does
 * an audit that cannot be opened: it fails again, and is reported, when its turn comes. Nothing is
 * opened when there is nothing to decide.
 *
 * times_out  [chosen_count][wa_sweep_sizes(ranks)], the same on every rank, arena
 */
WA_CHECKED wa_status wa_run_predict(const wa_run_prediction *p, wa_arena *arena, double **times_out,
                                    wa_error *err);

#endif

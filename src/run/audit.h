/* One audit of a job, on all ranks of a communicator. */
#ifndef WALKAUDIT_RUN_AUDIT_H
#define WALKAUDIT_RUN_AUDIT_H

#include "run/sets.h"
#include "run/sweep.h"

#include <stdio.h>

/** Where rank 0 of an audit speaks, and to whom. */
typedef struct wa_run_voice {
    /* the result table goes there; NULL: the audit is judged, its table is printed later */
    FILE *table;
    /* before every line of the log; NULL: none, and progress may rewrite its line */
    const char *prefix;
    /* the other sets of the sweep, on the root of a set; NULL: there are none */
    wa_run_sets *sets;
} wa_run_voice;

/**
 * Collective over `comm`. Run audit `index` of the job, or find its result finished; judge it, and
 * print its table.
 *
 * Errors: WA_E_VERDICT when some case fails; otherwise whatever kept the audit from running, the
 * same story on every rank. WA_E_MPI means that ranks may no longer agree. Does not return when a
 * rank can no longer serve its peers (MPI_Abort).
 */
WA_CHECKED wa_status wa_run_audit(wa_comm *comm, const wa_job *job, size_t index,
                                  const wa_run_options *options, const wa_run_voice *voice,
                                  wa_error *err);

/** Print the table of an audit that has run, from its result file. Local. */
WA_CHECKED wa_status wa_run_print(const wa_job *job, size_t index, const wa_run_options *options,
                                  FILE *table, wa_error *err);

#endif

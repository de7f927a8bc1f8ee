/* Running a job: all its audits, on all ranks, to result files and tables. */
#ifndef WALKAUDIT_RUN_SWEEP_H
#define WALKAUDIT_RUN_SWEEP_H

#include "comm/comm.h"
#include "job/job.h"

typedef struct wa_run_options {
    /* --out: result file instead of RESULT/NAME-AUDIT.h5 (jobs of one audit); NULL = none */
    const char *out_file;
    bool fresh;             /* compute anew, whatever is there */
    bool only_failed;       /* only audits for which a .failed.json stands */
    wa_selection selection; /* which audits of the job */
    bool mixed_cores;       /* engine: blas: hosts may have different OpenBLAS cores */
    bool verbose;
    bool quiet;  /* no log on stderr */
    bool colour; /* of verdicts in the tables */
    /* bytes each rank may take for an audit, beside the mapped files; 0 = no limit */
    size_t memory;
    double deadline; /* wa_clock() at which to begin no further batch; 0 = never */
    double grace;    /* seconds for what is in flight then, and after SIGUSR1 or SIGUSR2 */
    /* counted on by each part of this run, over all its audits; the same on every rank between
     * audits */
    size_t *parts_added;
    const char *command_line; /* for /run/K */
} wa_run_options;

/**
 * Collective. Run the audits that the options leave of the job: one after another on all ranks, or
 * side by side on sets of ranks, whichever promises to be done first. Rank 0 prints the tables on
 * stdout, in the job's order; the log goes to stderr. An audit that fails leaves
 * NAME-AUDIT.failed.json with its reason until it has a result; the others go on.
 *
 * Returns the exit code of the process (design 4), the same on every rank. Does not return when a
 * rank can no longer serve its peers (MPI_Abort).
 */
int wa_run_job(wa_comm *comm, const wa_job *job, const wa_run_options *options);

#endif

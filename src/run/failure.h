/* NAME-AUDIT.failed.json beside NAME-AUDIT.h5: why the last run of an audit failed. */
#ifndef WALKAUDIT_RUN_FAILURE_H
#define WALKAUDIT_RUN_FAILURE_H

#include "run/sweep.h"

/** What a record says. */
typedef struct wa_run_failure {
    const char *reason; /* arena; NULL = no record stands */
    /* 75: a run has begun since, and did not come to its end */
    int exit_code;
} wa_run_failure;

/** Does one stand for this audit, whose results go where the options say? */
bool wa_run_failure_stands(const wa_job *job, const wa_job_audit *audit,
                           const wa_run_options *options);
/** Read the one of a result's path, if it stands; a record that holds something else gives a reason
 * that says so, and exit code 3. */
WA_CHECKED wa_status wa_run_failure_read(const char *result_path, wa_arena *arena,
                                         wa_run_failure *out, wa_error *err);
/** An audit begins: a record that stands tells no longer of its last run. */
void wa_run_failure_begin(const wa_job *job, const wa_job_audit *audit,
                          const wa_run_options *options);
/** What became of it. Written when it failed, removed when it has a result; one that was stopped,
 * or that another run computes, leaves what stands. A failure to write is a warning. */
void wa_run_failure_record(const wa_job *job, const wa_job_audit *audit,
                           const wa_run_options *options, wa_status status,
                           const wa_error *failure);

#endif

/* RESULT/NAME-AUDIT.failed.json: why an audit of a sweep has no result. */
#ifndef WALKAUDIT_RUN_FAILURE_H
#define WALKAUDIT_RUN_FAILURE_H

#include "run/sweep.h"

/** What a record says. */
typedef struct wa_run_failure {
    const char *reason; /* arena; NULL = no record stands */
    int exit_code;
} wa_run_failure;

/** Does it stand? */
bool wa_run_failure_stands(const wa_job *job, const wa_job_audit *audit);
/** Read it, if it stands; a record that holds something else gives a reason that says so, and exit
 * code 3. */
WA_CHECKED wa_status wa_run_failure_read(const wa_job *job, const wa_job_audit *audit,
                                         wa_arena *arena, wa_run_failure *out, wa_error *err);
/** Write it for an audit that could not run, remove it for one that could. Jobs of one audit leave
 * none: their error line says it all. */
void wa_run_failure_record(const wa_job *job, const wa_job_audit *audit,
                           const wa_run_options *options, wa_status status,
                           const wa_error *failure);

#endif

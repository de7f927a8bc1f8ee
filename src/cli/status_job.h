/* Status of a whole job: what became of each of its audits, judged from the files alone. */
#ifndef WALKAUDIT_CLI_STATUS_JOB_H
#define WALKAUDIT_CLI_STATUS_JOB_H

#include "walkaudit/job.h"

/** What `walkaudit status JOB.yaml` was asked for. */
typedef struct wa_status_question {
    const char *job;
    wa_selection selection;
    bool batches;   /* print the number of finished batches and nothing else; answers 0 */
    bool resumable; /* print nothing; answers 0 when some audit can go on, else 1 */
} wa_status_question;

/** Is this the name of a job file rather than of a result? By its ending. */
bool wa_cli_names_job(const char *path);

/** Answer on stdout. Returns the exit code: the gravest of the audits (4 > 2 > 3 > 75 > 1 > 0) unless the question says otherwise. */
int wa_cli_status_job(const wa_status_question *question);

#endif

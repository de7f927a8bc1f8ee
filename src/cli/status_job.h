/* Status of a whole job: what became of each of its audits, judged from the files alone. */
#ifndef WALKAUDIT_CLI_STATUS_JOB_H
#define WALKAUDIT_CLI_STATUS_JOB_H

#include "cli/cli.h"
#include "cli/selection.h"
#include "job/job.h"
#include "run/judged.h"

#include <jansson.h>

/** What `walkaudit status` was asked for. */
typedef struct wa_status_question {
    const char *path;     /* JOB.yaml or RESULT.h5; the rest is about jobs */
    const char *out_file; /* as --out of `run`; NULL = none */
    wa_cli_settings settings;
    wa_selection selection;
    bool prompts;   /* print the number of finished prompts and nothing else; answers 0 */
    bool json;      /* print JSON, schema walkaudit.status */
    bool resumable; /* print nothing; answers 0 when some audit can go on, else 1 */
} wa_status_question;

/** Is this the name of a job file rather than of a result? By its ending. */
bool wa_cli_names_job(const char *path);

/** The rest of a line about a finished result: how its cases fared. */
void wa_cli_print_outcome(const wa_judged_state *state);
/** The end of a line: that its last run failed, if it did. */
void wa_cli_print_failure(const wa_judged_state *state);

/** What is known of a result as members of a JSON object: "state" is finished, running, unfinished,
 * failed or absent. Owned by the caller. */
json_t *wa_cli_state_object(const char *path, const wa_judged_state *judged);

/** Answer a wa_status_question about a job on stdout. exit_code: the gravest of the audits (4 > 2 >
 * 3 > 75 > 1 > 0) unless the question says otherwise. */
wa_cli_body wa_cli_status_job;

#endif

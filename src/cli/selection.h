/* --audit and --array-index: which audits of a job a verb means; --set: with which keys; --out. */
#ifndef WALKAUDIT_CLI_SELECTION_H
#define WALKAUDIT_CLI_SELECTION_H

#include "job/job.h"

#include <argp.h>

enum { WA_CLI_AUDITS_MAX = 256, WA_CLI_SETTINGS_MAX = 64 };

typedef struct wa_cli_selection {
    wa_selection chosen; /* what the words said; points into `names` */
    const char *names[WA_CLI_AUDITS_MAX];
} wa_cli_selection;

/** Words of --set, for wa_job_open. */
typedef struct wa_cli_settings {
    const char *words[WA_CLI_SETTINGS_MAX];
    size_t count;
} wa_cli_settings;

/** A child parser; the verb gives it a wa_cli_selection as input at ARGP_KEY_INIT. */
extern const struct argp wa_cli_selection_parser;
/** Another; its input is a wa_cli_settings. */
extern const struct argp wa_cli_settings_parser;

/** --out (NULL: not given) names one file: WA_E_USAGE where the job has several audits. */
WA_CHECKED wa_status wa_cli_check_out(const char *out_file, const wa_job *job, wa_error *err);

#endif

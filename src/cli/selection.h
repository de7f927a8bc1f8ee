/* --audit and --array-index: which audits of a job a verb means. */
#ifndef WALKAUDIT_CLI_SELECTION_H
#define WALKAUDIT_CLI_SELECTION_H

#include "job/job.h"

#include <argp.h>

enum { WA_CLI_AUDITS_MAX = 256 };

typedef struct wa_cli_selection {
    wa_selection chosen; /* what the words said; points into `names` */
    const char *names[WA_CLI_AUDITS_MAX];
} wa_cli_selection;

/** A child parser; the verb gives it a wa_cli_selection as input at ARGP_KEY_INIT. */
extern const struct argp wa_cli_selection_parser;

#endif

/* Manual pages and completion, made of the tables that parse the command line and the job. */
#ifndef WALKAUDIT_CLI_MANUAL_H
#define WALKAUDIT_CLI_MANUAL_H

#include "cli/cli.h"

#include <stdbool.h>
#include <stdio.h>

/**
 * Write the document of that name: "man" (walkaudit.1), "man-job" (walkaudit-job.5), "bash" or
 * "zsh" (completion). false, and nothing is written, for another name. Local.
 *
 * verbs  [count] the table of main.c
 */
bool wa_cli_print_document(const char *name, const wa_cli_verb *verbs, size_t count, FILE *out);

#endif

/* The verbs: each parses its words, calls one module, prints. Exit codes: design 4. */
#ifndef WALKAUDIT_CLI_H
#define WALKAUDIT_CLI_H

#include "walkaudit/status.h"

/* argv[0] is "walkaudit VERB". Each returns the exit code of the process. */
int wa_cli_run(int argc, char **argv);
int wa_cli_plan(int argc, char **argv);
int wa_cli_inspect(int argc, char **argv);
int wa_cli_extract(int argc, char **argv);
int wa_cli_synth(int argc, char **argv);
int wa_cli_tokenize(int argc, char **argv);
int wa_cli_verdict(int argc, char **argv);
int wa_cli_status(int argc, char **argv);

/** Print "walkaudit: <story>" on stderr; returns the exit code of err->status. */
int wa_cli_fail(const wa_error *err);

#endif

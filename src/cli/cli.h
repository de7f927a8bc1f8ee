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

struct argp_state;
/** Value of an option in bytes, K, M, G or T of 1024; a wrong one is a usage error and does not return. */
size_t wa_cli_bytes(const char *option, const char *word, const struct argp_state *state);
/** Value of an option in seconds: 90, 90s, 45m, 3h30m. As above. */
double wa_cli_duration(const char *option, const char *text, const struct argp_state *state);

#endif

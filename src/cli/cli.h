/* The verbs: each parses its words, calls one module, prints. Exit codes: design 4. */
#ifndef WALKAUDIT_CLI_CLI_H
#define WALKAUDIT_CLI_CLI_H

#include "base/arena.h"

#include <argp.h>
#include <stdbool.h>

/** A row of the table of verbs (main.c), which help, manual and completion are made of. */
typedef struct wa_cli_verb {
    const char *name;
    /* argv[0] is "walkaudit VERB"; returns the exit code of the process */
    int (*run)(int argc, char **argv);
    const struct argp *parser; /* NULL: a verb of walkaudit-report */
    const char *arguments, *does;
} wa_cli_verb;

int wa_cli_run(int argc, char **argv);
int wa_cli_plan(int argc, char **argv);
int wa_cli_init(int argc, char **argv);
int wa_cli_inspect(int argc, char **argv);
int wa_cli_extract(int argc, char **argv);
int wa_cli_synth(int argc, char **argv);
int wa_cli_tokenize(int argc, char **argv);
int wa_cli_verdict(int argc, char **argv);
int wa_cli_selftest(int argc, char **argv);
int wa_cli_status(int argc, char **argv);
/** A verb of walkaudit-report: becomes that program, or says where it was looked for. */
int wa_cli_report(int argc, char **argv);

extern const struct argp wa_cli_run_parser, wa_cli_plan_parser, wa_cli_init_parser,
    wa_cli_inspect_parser, wa_cli_extract_parser, wa_cli_synth_parser, wa_cli_tokenize_parser,
    wa_cli_verdict_parser, wa_cli_selftest_parser, wa_cli_status_parser;

/** What every verb knows beside its own options. */
extern const struct argp wa_cli_common_parser;

/**
 * argp_parse of a verb's words, and of those that every verb knows. Does not return from --help or
 * a wrong command line.
 *
 * Returns whether --quiet is among them: the verb is to print errors and what was asked for, and no
 * progress, notes, warnings or closing line.
 */
bool wa_cli_parse(const struct argp *parser, int argc, char **argv, void *words);

/** What a verb does with its parsed words, in an arena of its own. exit_code: 0, or what it
 * sets. */
typedef wa_status wa_cli_body(void *words, wa_arena *arena, int *exit_code, wa_error *err);
/** Open an arena of at most `limit` bytes (0: no limit), run the body, close it; a failure is
 * printed. Returns the exit code. */
int wa_cli_answer(const char *name, size_t limit, wa_cli_body *body, void *words);

/** Value of an option, a number from 1; a wrong one is a usage error and does not return. */
int wa_cli_count(const char *option, const char *word, const struct argp_state *state);
/** Value of an option in bytes, K, M, G or T of 1024; a wrong one is a usage error and does not
 * return. */
size_t wa_cli_bytes(const char *option, const char *word, const struct argp_state *state);
/** Value of an option in seconds: 90, 90s, 45m, 3h30m. As above. */
double wa_cli_duration(const char *option, const char *text, const struct argp_state *state);

#endif

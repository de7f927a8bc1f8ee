/* `walkaudit selftest`: what the audit finds of faults planted in copies of a vindex. */
#include "selftest/selftest.h"
#include "base/signals.h"
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_FORMATS = 16, KEY_SEED = 0x100, KEY_QUICK, KEY_THRESHOLDS, KEY_MARKDOWN, KEY_EXPERTS };

typedef struct words {
    wa_selftest_options options;
    const char *formats[MOST_FORMATS];
    wa_comm *comm;
} words;

static void split_formats(words *w, char *list, struct argp_state *state)
{
    char *rest = list;
    for (char *name = strtok_r(list, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        if (w->options.format_count == MOST_FORMATS)
            argp_error(state, "--formats: found more than %d names", MOST_FORMATS);
        w->formats[w->options.format_count++] = name;
    }
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    words *w = state->input;
    char *end;
    switch (key) {
    case KEY_SEED:
        errno = 0;
        w->options.seed = strtoull(arg, &end, 10);
        if (errno != 0 || end == arg || *end != '\0' || arg[0] == '-')
            argp_error(state, "--seed '%s', expected a number", arg);
        return 0;
    case 'f':
        split_formats(w, arg, state);
        return 0;
    case 'd':
        w->options.directory = arg;
        return 0;
    case KEY_QUICK:
        w->options.quick = true;
        return 0;
    case KEY_THRESHOLDS:
        w->options.thresholds = true;
        return 0;
    case KEY_EXPERTS:
        w->options.experts = true;
        return 0;
    case KEY_MARKDOWN:
        w->options.markdown = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            argp_error(state, "unexpected argument '%s'", arg);
        w->options.model = arg;
        return 0;
    case ARGP_KEY_END:
        if (w->options.experts && w->options.model != NULL)
            argp_error(state, "--experts is of the synthetic model, found '%s'", w->options.model);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static wa_status run(void *given, wa_arena *arena, int *exit_code, wa_error *err)
{
    words *w = given;
    bool sound = false;
    WA_TRY(wa_selftest_run(w->comm, &w->options, arena, &sound, err));
    *exit_code = sound ? 0 : wa_status_exit_code(WA_E_VERDICT);
    return WA_OK;
}

static const char *temporary_directory(void)
{
    const char *named = getenv("TMPDIR");
    return named == NULL || named[0] == '\0' ? "/tmp" : named;
}

static const struct argp_option OPTIONS[] = {
    {.name = "seed", .key = KEY_SEED, .arg = "N", .doc = "other places and other noise (0)"},
    {.name = "formats",
     .key = 'f',
     .arg = "NAME,…",
     .doc = "only these of f32, f16, f16-larql, bf16, interleaved, q4_0, q4k, q4k-down-q4k, q6k, "
            "fp4-a, fp4-b, fp4-c; bf16 and q6k are of models with experts"},
    {.name = "experts",
     .key = KEY_EXPERTS,
     .doc = "without MODEL: the synthetic model has experts"},
    {.name = "directory",
     .key = 'd',
     .arg = "DIR",
     .doc = "where copies lie while it runs, instead of $TMPDIR or /tmp"},
    {.name = "quick",
     .key = KEY_QUICK,
     .doc = "measure each number format once, not in every projection"},
    {.name = "thresholds",
     .key = KEY_THRESHOLDS,
     .doc = "no whole audits, only thresholds and bits: quick even for a large model"},
    {.name = "markdown", .key = KEY_MARKDOWN, .doc = "print the tables as Markdown"},
    {0}};

const struct argp wa_cli_selftest_parser = {
    .options = OPTIONS,
    .parser = parse_option,
    .args_doc = "[MODEL]",
    .doc = "Plant faults in copies of a vindex and print which of them the audit finds, at the "
           "right place, with which verdict, "
           "and the smallest error that it finds.\v"
           "MODEL is a Hugging Face directory or a GGUF file; without it a synthetic one is made. "
           "Exit code 1 when a fault that "
           "must be found is not, or when something healthy is accused."};

int wa_cli_selftest(int argc, char **argv)
{
    words w = {.options = {.out = stdout, .directory = temporary_directory()}};
    (void)wa_cli_parse(&wa_cli_selftest_parser, argc, argv, &w);
    w.options.formats = w.formats;
    wa_error err = {.status = WA_OK};
    if (wa_comm_open(&argc, &argv, &w.comm, &err) != WA_OK)
        return wa_error_print(&err);
    wa_signals_guard();
    wa_signals_hear_end();
    int code = 0;
    if (wa_comm_size(w.comm) > 1) {
        (void)wa_fail(&err, WA_E_USAGE, "selftest runs on one rank, found %d",
                      wa_comm_size(w.comm));
        code = wa_comm_rank(w.comm) == 0 ? wa_error_print(&err) : wa_status_exit_code(WA_E_USAGE);
    } else {
        code = wa_cli_answer("selftest", 0, run, &w);
    }
    wa_comm_close(w.comm);
    return code;
}

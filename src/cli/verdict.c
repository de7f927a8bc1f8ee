/* walkaudit verdict: judge a finished result file again, perhaps with other bounds. */
#include "cli/cli.h"
#include "report/table.h"
#include "run/judged.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct arguments {
    const char *result;
    const char *bounds; /* NULL: those that made the stored verdicts */
    const char *print_bounds;
    bool store;
} arguments;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    arguments *args = state->input;
    switch (key) {
    case 'b':
        args->bounds = arg;
        return 0;
    case 's':
        args->store = true;
        return 0;
    case 'p':
        args->print_bounds = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            argp_error(state, "unexpected argument '%s'", arg);
        args->result = arg;
        return 0;
    case ARGP_KEY_END:
        if ((args->result == NULL) == (args->print_bounds == NULL))
            argp_error(state, "expected RESULT.h5, or --print-bounds NAME alone");
        if (args->print_bounds != NULL && args->store)
            argp_error(state, "--store needs RESULT.h5");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static wa_status print_bounds(const char *name, wa_arena *arena, wa_error *err)
{
    wa_bounds *bounds;
    char *text;
    WA_TRY(wa_bounds_open(name, arena, &bounds, err));
    WA_TRY(wa_bounds_print(bounds, arena, &text, err));
    if (fputs(text, stdout) < 0 || fflush(stdout) != 0)
        return wa_fail(err, WA_E_IO, "cannot write the bounds: %s", strerror(errno));
    return WA_OK;
}

/* A judgement that differs from the stored one is a question, until it is stored. */
static void say_what_is_stored(const arguments *args, const wa_judged *judged)
{
    if (args->store)
        fprintf(stderr, judged->was_stored ? "this judgement was stored already\n" : "this judgement is stored in '%s'\n", args->result);
    else if (!judged->stored)
        fprintf(stderr, "nothing is stored: '%s' keeps the judgement by bounds %s; --store replaces it\n", args->result,
                judged->result->meta.bounds_name);
}

static wa_status judge(const arguments *args, wa_arena *arena, int *exit_code, wa_error *err)
{
    wa_judge_order order = {.store = args->store};
    wa_bounds *bounds;
    wa_judged judged;
    if (args->bounds != NULL) {
        WA_TRY(wa_bounds_open(args->bounds, arena, &bounds, err));
        order.bounds = bounds;
    }
    WA_TRY(wa_judge_file(args->result, &order, arena, &judged, err));
    WA_TRY(wa_table_print(stdout, judged.result, judged.judgement, wa_table_wants_colour(), err));
    fflush(stdout);
    say_what_is_stored(args, &judged);
    *exit_code = judged.judgement->exit_code;
    return WA_OK;
}

static wa_status answer(void *words, wa_arena *arena, int *exit_code, wa_error *err)
{
    const arguments *args = words;
    return args->print_bounds != NULL ? print_bounds(args->print_bounds, arena, err)
                                      : judge(args, arena, exit_code, err);
}

static const struct argp_option OPTIONS[] = {
    {.name = "bounds",
     .key = 'b',
     .arg = "FILE|default|larql",
     .doc = "Judge by these bounds instead of those that made the stored verdicts"},
    {.name = "store",
     .key = 's',
     .doc = "Store this judgement and its bounds in the result file; without it, nothing is written"},
    {.name = "print-bounds",
     .key = 'p',
     .arg = "NAME",
     .doc = "Print a bounds set as a bounds file, to be changed and used"},
    {0}};

const struct argp wa_cli_verdict_parser = {
    .options = OPTIONS,
    .parser = parse_option,
    .args_doc = "RESULT.h5\n--print-bounds NAME",
    .doc =
        "Judge a finished result file again, from its stored observations. Needs no model and "
        "writes nothing without --store.\vExit code 0: no case fails; 1: some case fails, or none ran."};

int wa_cli_verdict(int argc, char **argv)
{
    arguments args = {0};
    wa_cli_parse(&wa_cli_verdict_parser, argc, argv, &args);
    return wa_cli_answer("verdict", 0, answer, &args);
}

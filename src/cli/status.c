/* walkaudit status: what is done of a result, who computes it, and what to type next. */
#include "cli/cli.h"
#include "walkaudit/store.h"

#include <argp.h>
#include <stdio.h>

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    const char **result = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            argp_error(state, "unexpected argument '%s'", arg);
        *result = arg;
        return 0;
    case ARGP_KEY_END:
        if (*result == NULL)
            argp_error(state, "expected RESULT.h5");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_finished(const char *path, const wa_result_status *state)
{
    printf("%s: finished, %zu batches; %s\n", path, state->batches,
           state->exit_code == 0 ? "every case passes or is measured"
                                 : "some case fails, or none ran");
    printf("next: walkaudit verdict %s\n", path);
}

static void print_rate(const wa_result_status *state)
{
    double left = (double)(state->batches - state->done) / state->batches_per_second;
    printf("rate: %.3g batches a minute; ", 60.0 * state->batches_per_second);
    if (left >= 5400.0)
        printf("about %.1f h left\n", left / 3600.0);
    else if (left >= 90.0)
        printf("about %.0f min left\n", left / 60.0);
    else
        printf("about %.0f s left\n", left);
}

static void print_unfinished(const char *path, const wa_result_status *state)
{
    if (state->batches == 0)
        printf("%s: nothing is done\n", path);
    else
        printf("%s: unfinished, %zu of %zu batches done, %zu missing\n", path, state->done,
               state->batches, state->batches - state->done);
    if (state->batches_per_second > 0.0)
        print_rate(state);
    if (state->owner_alive)
        printf("owner: %s, running\nnext: wait for it\n", state->owner);
    else if (state->owner != NULL)
        printf("owner: %s, gone; the next run takes over\n", state->owner);
    if (!state->owner_alive)
        printf("next: walkaudit run JOB.yaml%s\n",
               state->batches == 0 ? "" : ", with the same job: it goes on where this one stopped");
}

int wa_cli_status(int argc, char **argv)
{
    static const struct argp parser = {
        .parser = parse_option,
        .args_doc = "RESULT.h5",
        .doc = "What is done of a result and what is missing. Reads only; never locks a running "
               "job's files."
               "\vExit codes: 0 finished and every case passes or is measured; 1 finished, some "
               "case fails or "
               "none ran; 75 begun and not finished; 3 nothing there, or not a result."};
    const char *path = NULL;
    wa_arena *arena;
    wa_error err = {.status = WA_OK};
    wa_result_status state = {.finished = false};
    argp_err_exit_status = wa_status_exit_code(WA_E_USAGE);
    if (argp_parse(&parser, argc, argv, 0, NULL, &path) != 0)
        return wa_status_exit_code(WA_E_USAGE);
    if (wa_arena_open("status", 0, &arena, &err) != WA_OK)
        return wa_cli_fail(&err);
    wa_status status = wa_result_check(path, arena, &state, &err);
    if (status == WA_OK && state.finished)
        print_finished(path, &state);
    else if (status == WA_OK)
        print_unfinished(path, &state);
    wa_arena_close(arena);
    return status == WA_OK ? state.exit_code : wa_cli_fail(&err);
}

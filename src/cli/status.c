/* walkaudit status: what is done of a result, who computes it, and what to type next. */
#include "base/program.h"
#include "cli/cli.h"
#include "cli/document.h"
#include "cli/selection.h"
#include "cli/status_job.h"
#include "run/judged.h"

#include <stdio.h>

enum { KEY_OUT = 256, KEY_PROMPTS, KEY_RESUMABLE, KEY_JSON };

typedef struct arguments {
    wa_status_question question;
    wa_cli_selection selection;
} arguments;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    arguments *args = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &args->selection;
        state->child_inputs[1] = &args->question.settings;
        return 0;
    case KEY_OUT:
        args->question.out_file = arg;
        return 0;
    case KEY_PROMPTS:
        args->question.prompts = true;
        return 0;
    case KEY_JSON:
        args->question.json = true;
        return 0;
    case KEY_RESUMABLE:
        args->question.resumable = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            argp_error(state, "unexpected argument '%s'", arg);
        args->question.path = arg;
        return 0;
    case ARGP_KEY_END:
        if (args->question.path == NULL)
            argp_error(state, "expected RESULT.h5 or JOB.yaml");
        if (args->question.json && (args->question.prompts || args->question.resumable))
            argp_error(state, "--json and %s are two answers",
                       args->question.prompts ? "--prompts" : "--resumable");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static wa_status print_finished(const char *path, const wa_judged_state *state, wa_arena *arena,
                                wa_error *err)
{
    char *next;
    WA_TRY(wa_program_report(path, arena, &next, err));
    printf("%s: ", path);
    wa_cli_print_outcome(state);
    wa_cli_print_failure(state);
    printf("next: %s\n", next);
    return WA_OK;
}

static void print_rate(const wa_result_status *state)
{
    double left = (double)(state->prompts - state->done) / state->prompts_per_second;
    printf("rate: %.3g prompts a minute; ", 60.0 * state->prompts_per_second);
    if (left >= 5400.0)
        printf("about %.1f h left\n", left / 3600.0);
    else if (left >= 90.0)
        printf("about %.0f min left\n", left / 60.0);
    else
        printf("about %.0f s left\n", left);
}

static void print_unfinished(const char *path, const wa_judged_state *judged)
{
    const wa_result_status *state = &judged->result;
    if (state->prompts == 0)
        printf("%s: nothing is done", path);
    else if (state->owed)
        printf("%s: unfinished, all %zu prompts are to be computed anew", path, state->prompts);
    else
        printf("%s: unfinished, %zu of %zu prompts done, %zu missing", path, state->done,
               state->prompts, state->prompts - state->done);
    wa_cli_print_failure(judged);
    if (state->prompts_per_second > 0.0)
        print_rate(state);
    if (state->owner_alive)
        printf("owner: %s, running: wait for it\n", state->owner);
    else if (state->owner != NULL)
        printf("owner: %s, gone; the next run takes over\n", state->owner);
    if (!state->owner_alive)
        puts(state->prompts == 0 ? "to begin it, run its job"
                                 : "to finish it, run its job again: it resumes where this one "
                                   "stopped");
}

static wa_status answer_for_result(void *words, wa_arena *arena, int *exit_code, wa_error *err)
{
    const char *path = ((const wa_status_question *)words)->path;
    wa_judged_state state;
    WA_TRY(wa_judged_status(path, arena, &state, err));
    if (!state.result.finished && state.result.prompts == 0 && state.result.owner == NULL &&
        state.failure == NULL)
        return wa_fail(err, WA_E_IO,
                       "'%s' not found: neither a result nor an unfinished run of one", path);
    *exit_code = state.exit_code;
    if (((const wa_status_question *)words)->json) {
        json_t *object = wa_cli_document("status", 1), *audits = json_array();
        json_array_append_new(audits, wa_cli_state_object(path, &state));
        json_object_set_new(object, "exit_code", json_integer(state.exit_code));
        json_object_set_new(object, "audits", audits);
        return wa_cli_print_json(object, err);
    }
    if (state.result.finished)
        return print_finished(path, &state, arena, err);
    print_unfinished(path, &state);
    return WA_OK;
}

static const struct argp_option OPTIONS[] = {
    {.name = "out", .key = KEY_OUT, .arg = "FILE", .doc = "of a job that ran with this --out"},
    {.name = "json", .key = KEY_JSON, .doc = "print JSON, schema walkaudit.status"},
    {.name = "prompts",
     .key = KEY_PROMPTS,
     .doc = "of a job: print the number of finished prompts and nothing else"},
    {.name = "resumable",
     .key = KEY_RESUMABLE,
     .doc = "of a job: print nothing; exit code 0 when some audit is begun and can go on, else 1"},
    {0}};

static const struct argp_child CHILDREN[] = {
    {.argp = &wa_cli_selection_parser}, {.argp = &wa_cli_settings_parser}, {0}};

const struct argp wa_cli_status_parser = {
    .options = OPTIONS,
    .children = CHILDREN,
    .parser = parse_option,
    .args_doc = "RESULT.h5|JOB.yaml",
    .doc =
        "What is done of a result, or of every audit of a job, and what is missing. Reads only; "
        "never locks a "
        "running job's files."
        "\vExit codes: 0 finished and no case fails; 1 finished, some case fails or none ran; 75 "
        "begun and not finished; 3 nothing there, or not a result; that of the last run where it "
        "failed, also beside a result. Of a job's audits the gravest: 4, 2, 3, 75, 1, 0."};

int wa_cli_status(int argc, char **argv)
{
    arguments args = {.question = {.path = NULL}};
    (void)wa_cli_parse(&wa_cli_status_parser, argc, argv, &args);
    args.question.selection = args.selection.chosen;
    return wa_cli_answer(
        "status", 0, wa_cli_names_job(args.question.path) ? wa_cli_status_job : answer_for_result,
        &args.question);
}

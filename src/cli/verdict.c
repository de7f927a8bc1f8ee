/* walkaudit verdict: judge a finished result file again, perhaps with other bounds. */
#include "cli/cli.h"
#include "cli/document.h"
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
    bool json, quiet;
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
    case 'j':
        args->json = true;
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
        if (args->print_bounds != NULL && (args->store || args->json))
            argp_error(state, "%s needs RESULT.h5", args->store ? "--store" : "--json");
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

/* Lines of a text. */
static json_t *lines_of(const char *text)
{
    json_t *list = json_array();
    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, "\n");
        json_array_append_new(list, json_stringn(text, length));
        text += length + (text[length] == '\n' ? 1 : 0);
    }
    return list;
}

static json_t *case_object(const wa_case *which, const wa_case_judgement *it)
{
    const wa_case_summary *s = &it->summary;
    const struct {
        const char *name;
        double value;
    } figures[] = {
        {"min_cos", s->all.min_cos.value},        {"max_rel_l2", s->all.max_rel_l2.value},
        {"max_eta", s->all.max_eta.value},        {"max_drift", s->max_drift.value},
        {"max_kernel", s->max_kernel.value},      {"max_kernel_own", s->max_kernel_own.value},
        {"mean_kl", it->rates.mean_kl.value},     {"p99_kl", it->rates.p99_kl.value},
        {"flip_rate", it->rates.flip_rate.value}, {"ppl_ratio", it->rates.ppl_ratio.value}};
    json_t *object = json_pack("{s:s, s:s, s:s, s:o}", "case", which->name, "bucket",
                               wa_bucket_name(which->bucket), "verdict",
                               wa_verdict_name(it->verdict.code), "reasons", lines_of(it->reasons));
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        json_object_set_new(object, figures[i].name, wa_cli_number(figures[i].value));
    return object;
}

/* doc/json.md, walkaudit.verdict 1 */
static wa_status print_json(const char *path, const wa_judged *judged, wa_error *err)
{
    const wa_judgement *judgement = judged->judgement;
    const wa_result_meta *meta = &judged->result->meta;
    json_t *object = wa_cli_document("verdict", 1), *cases = json_array(), *vindexes = json_array();
    for (size_t c = 0; c < judgement->case_count; c++)
        json_array_append_new(cases, case_object(&meta->cases[c], &judgement->cases[c]));
    for (size_t v = 0; v < meta->dims.vindexes; v++)
        json_array_append_new(
            vindexes, json_pack("{s:s, s:o, s:s, s:o}", "vindex", meta->vindex_name[v], "path",
                                wa_json_text(meta->vindex_path[v]), "verdict",
                                wa_verdict_name((wa_verdict_code)judgement->vindexes[v].code),
                                "reasons", lines_of(judgement->vindexes[v].reason)));
    json_object_set_new(object, "result", wa_json_text(path));
    json_object_set_new(object, "bounds", wa_json_text(judgement->bounds->name));
    json_object_set_new(object, "stored", json_boolean(judged->stored));
    json_object_set_new(object, "exit_code", json_integer(judgement->exit_code));
    json_object_set_new(object, "vindexes", vindexes);
    json_object_set_new(object, "cases", cases);
    return wa_cli_print_json(object, err);
}

/* A judgement that differs from the stored one is a question, until it is stored. */
static void say_what_is_stored(const arguments *args, const wa_judged *judged)
{
    if (args->store)
        fprintf(stderr,
                judged->was_stored ? "this judgement was stored already\n"
                                   : "this judgement is stored in '%s'\n",
                args->result);
    else if (!judged->stored)
        fprintf(stderr,
                "nothing is stored: '%s' keeps the judgement by bounds %s; --store replaces it\n",
                args->result, judged->result->meta.bounds_name);
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
    *exit_code = judged.judgement->exit_code;
    if (args->json)
        return print_json(args->result, &judged, err);
    WA_TRY(wa_table_print(stdout, judged.result, judged.judgement, wa_table_wants_colour(), err));
    fflush(stdout);
    if (!args->quiet)
        say_what_is_stored(args, &judged);
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
     .doc =
         "Store this judgement and its bounds in the result file; without it, nothing is written"},
    {.name = "json", .key = 'j', .doc = "Print the judgement as JSON, schema walkaudit.verdict"},
    {.name = "print-bounds",
     .key = 'p',
     .arg = "NAME",
     .doc = "Print a bounds set as a bounds file, to be changed and used"},
    {0}};

const struct argp wa_cli_verdict_parser = {
    .options = OPTIONS,
    .parser = parse_option,
    .args_doc = "RESULT.h5\n--print-bounds NAME",
    .doc = "Judge a finished result file again, from its stored observations. Needs no model and "
           "writes nothing without --store.\vExit code 0: no case fails; 1: some case fails, or "
           "none ran."};

int wa_cli_verdict(int argc, char **argv)
{
    arguments args = {0};
    args.quiet = wa_cli_parse(&wa_cli_verdict_parser, argc, argv, &args);
    return wa_cli_answer("verdict", 0, answer, &args);
}

/* walkaudit init: a job for a model and its vindexes, to be run as it is or to be changed. */
#include "cli/cli.h"

#include "base/bytes.h"
#include "job/job.h"
#include "path/path.h"
#include "vindex/vindex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct arguments {
    char **places; /* [count] MODEL, VINDEX… */
    size_t count;
    FILE *job; /* in memory: what fails prints no half of one */
} arguments;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    arguments *args = state->input;
    (void)arg;
    if (key == ARGP_KEY_ARGS) {
        args->places = state->argv + state->next;
        args->count = (size_t)(state->argc - state->next);
        return 0;
    }
    if (key == ARGP_KEY_END && args->count < 2)
        argp_error(state, "expected MODEL and at least one VINDEX");
    return key == ARGP_KEY_END ? 0 : ARGP_ERR_UNKNOWN;
}

/* A word that YAML reads as itself, else in double quotes. */
static wa_status print_word(FILE *job, const char *text, wa_error *err)
{
    static const char PLAIN[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+@-";
    for (const char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return wa_fail(err, WA_E_USAGE,
                           "'%s' holds control character 0x%02x, which no job can name", text,
                           (unsigned)(unsigned char)*at);
    if (strchr("-@", text[0]) == NULL && text[strspn(text, PLAIN)] == '\0' &&
        text[strspn(text, "0123456789.+-eE_")] != '\0') {
        fputs(text, job);
        return WA_OK;
    }
    fputc('"', job);
    for (const char *at = text; *at != '\0'; at++)
        fprintf(job, "%s%c", *at == '"' || *at == '\\' ? "\\" : "", *at);
    fputc('"', job);
    return WA_OK;
}

/* The name that a job gives a place is fine as it is, and no other place's. */
static wa_status needs_name(const arguments *args, size_t at, wa_arena *arena, bool *out,
                            wa_error *err)
{
    char *mine, *other;
    WA_TRY(wa_job_stem(args->places[at], arena, &mine, err));
    *out = !wa_job_name_is_good(mine);
    for (size_t i = 1; i < args->count; i++) {
        WA_TRY(wa_job_stem(args->places[i], arena, &other, err));
        *out = *out || (at > 0 && i != at && strcmp(mine, other) == 0);
    }
    return WA_OK;
}

/* A number for "vN" that no place has as its own name, nor another place as its number: at, or that
 * and a multiple of the count of places. */
static wa_status free_number(const arguments *args, size_t at, wa_arena *arena, size_t *out,
                             wa_error *err)
{
    bool taken;
    *out = at;
    do {
        char *name, *other;
        taken = false;
        WA_TRY(wa_arena_print(arena, &name, err, "v%zu", *out));
        for (size_t i = 1; i < args->count; i++) {
            WA_TRY(wa_job_stem(args->places[i], arena, &other, err));
            taken = taken || strcmp(name, other) == 0;
        }
        *out += taken ? args->count : 0;
    } while (taken);
    return WA_OK;
}

/* "# sparse, full_mmap, exact": what the job runs for this one. */
static wa_status print_cases(FILE *job, const wa_model *model, wa_vindex *vindex, wa_arena *arena,
                             wa_error *err)
{
    const wa_case_input input = {.name = "vindex", .vindex = vindex, .ladder = WA_LADDER_DEFAULT};
    wa_cases cases;
    WA_TRY(wa_vindex_match(model, vindex, err));
    WA_TRY(wa_vindex_settle_experts(vindex, model, arena, err));
    WA_TRY(wa_cases_build(&input, 1, model, arena, &cases, err));
    for (size_t c = 0; c < cases.count; c++)
        fprintf(job, "%s%s", c == 0 ? "        # runs " : ", ",
                strchr(cases.items[c].name, ':') + 1);
    fputs(cases.count == 0 ? "        # holds nothing that any path can run\n" : "\n", job);
    return WA_OK;
}

static wa_status print_vindex(const arguments *args, size_t at, const wa_model *model,
                              wa_arena *arena, wa_error *err)
{
    const wa_model_options options = {.semantics = WA_SEMANTICS_NATIVE, .allow_unread = true};
    const char *place = args->places[at];
    char *index;
    bool named = false;
    wa_vindex *vindex;
    WA_TRY(wa_arena_print(arena, &index, err, "%s/index.json", place));
    bool is_vindex = wa_file_exists(index);
    if (is_vindex)
        WA_TRY(wa_vindex_open(place, arena, &vindex, err));
    else
        WA_TRY(wa_vindex_open_checkpoint(place, &options, arena, &vindex, err));
    size_t number = at;
    wa_status status = needs_name(args, at, arena, &named, err);
    if (status == WA_OK)
        status = free_number(args, at, arena, &number, err);
    fputs(is_vindex ? "      - path: " : "      - checkpoint: ", args->job);
    if (status == WA_OK)
        status = print_word(args->job, place, err);
    fputc('\n', args->job);
    if (status == WA_OK && named)
        fprintf(args->job, "        name: v%zu\n", number);
    if (status == WA_OK)
        status = print_cases(args->job, model, vindex, arena, err);
    wa_vindex_close(vindex);
    return status;
}

static wa_status print_job(const arguments *args, const wa_model *model, wa_arena *arena,
                           wa_error *err)
{
    bool named = false;
    WA_TRY(needs_name(args, 0, arena, &named, err));
    fputs(
        "# Written by `walkaudit init`. `walkaudit plan FILE` says what a run would do, `walkaudit "
        "run -n 2 FILE` does it.\n"
        "# Paths are relative to this file. `walkaudit run --help-job` lists every key.\n"
        "audits:\n"
        "  - model: ",
        args->job);
    WA_TRY(print_word(args->job, args->places[0], err));
    fprintf(args->job, "\n    # %s, %zu layers, hidden %zu, FFN %zu\n%s    vindexes:\n",
            model->family, model->layer_count, model->hidden, model->intermediate,
            named ? "    name: model\n" : "");
    for (size_t v = 1; v < args->count; v++)
        WA_TRY(print_vindex(args, v, model, arena, err));
    if (model->unread > 0)
        fputs("allow_unread: true # the model stores tensors of layers which nothing here reads\n",
              args->job);
    fputs("prompts: {builtin: seed} # three short ones; or {file: prompts.txt}, a prompt per line, "
          "with a limit: {file: …, limit: 100}\n"
          "logits: last # all: at every position, for flips, KL and perplexity\n"
          "# paths: [{path: sparse}, {path: sparse_serial, k: [64, 256, 1024]}] # only these\n"
          "result: results # directory of the result files\n",
          args->job);
    return WA_OK;
}

static wa_status init(void *words, wa_arena *arena, int *exit_code, wa_error *err)
{
    arguments *args = words;
    const wa_model_options options = {.semantics = WA_SEMANTICS_NATIVE, .allow_unread = true};
    wa_model *model;
    char *text = NULL;
    size_t size;
    (void)exit_code;
    WA_TRY(wa_model_open_with(args->places[0], &options, arena, &model, err));
    args->job = open_memstream(&text, &size);
    wa_status status = args->job == NULL
                           ? wa_fail(err, WA_E_MEMORY, "no memory for the text of a job")
                           : print_job(args, model, arena, err);
    bool is_whole = args->job != NULL && fclose(args->job) == 0;
    if (status == WA_OK && !is_whole)
        status = wa_fail(err, WA_E_MEMORY, "no memory for the text of a job");
    if (status == WA_OK)
        fputs(text, stdout);
    free(text);
    wa_model_close(model);
    return status;
}

const struct argp wa_cli_init_parser = {
    .parser = parse_option,
    .args_doc = "MODEL VINDEX...",
    .doc = "Print a job that audits each VINDEX against MODEL, to be kept in the directory where "
           "this command is given: "
           "walkaudit init MODEL VINDEX > job.yaml.\v"
           "MODEL is a Hugging Face directory or a GGUF file, VINDEX a vindex or another "
           "checkpoint of the model. All are opened: what "
           "cannot run is refused at once, and no job is printed."};

int wa_cli_init(int argc, char **argv)
{
    arguments args = {0};
    (void)wa_cli_parse(&wa_cli_init_parser, argc, argv, &args);
    return wa_cli_answer("init", 0, init, &args);
}

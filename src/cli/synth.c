/* `walkaudit synth`: a random model for tests and benchmarks. */
#include "model/synth.h"
#include "base/clock.h"
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    KEY_LAYERS = 0x100,
    KEY_SEED,
    KEY_DTYPE,
    KEY_VOCAB,
    KEY_NO_WEIGHTS,
    KEY_EXPERTS,
    KEY_CHOSEN,
    KEY_FEATURES
};
static const size_t ARENA_BYTES = (size_t)1 << 30;

typedef struct request {
    const char *out, *dtype;
    wa_synth_options options;
    bool quiet;
} request;

static uint64_t parse_number(const char *word, const char *what, struct argp_state *state)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(word, &end, 10);
    if (errno != 0 || end == word || *end != '\0' || word[0] == '-')
        argp_error(state, "--%s '%s', expected a number", what, word);
    return value;
}

/* A number of things: 0 would mean "as the shape says" further down. */
static size_t parse_count(const char *word, const char *what, struct argp_state *state)
{
    uint64_t value = parse_number(word, what, state);
    if (value == 0 || value > SIZE_MAX)
        argp_error(state, "--%s '%s', expected at least 1", what, word);
    return (size_t)value;
}

static error_t take_option(int key, char *arg, struct argp_state *state)
{
    request *r = state->input;
    switch (key) {
    case 'f':
        r->options.family = arg;
        return 0;
    case 's':
        r->options.shape = arg;
        return 0;
    case KEY_LAYERS:
        r->options.layers = parse_count(arg, "layers", state);
        return 0;
    case KEY_VOCAB:
        r->options.vocab = parse_count(arg, "vocab", state);
        return 0;
    case KEY_EXPERTS:
        r->options.experts = parse_count(arg, "experts", state);
        return 0;
    case KEY_CHOSEN:
        r->options.chosen = parse_count(arg, "chosen", state);
        return 0;
    case KEY_FEATURES:
        r->options.features = parse_count(arg, "features", state);
        return 0;
    case KEY_SEED:
        r->options.seed = parse_number(arg, "seed", state);
        return 0;
    case KEY_NO_WEIGHTS:
        r->options.no_weights = true;
        return 0;
    case KEY_DTYPE:
        r->dtype = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            argp_error(state, "unexpected argument '%s'", arg);
        r->out = arg;
        return 0;
    case ARGP_KEY_END:
        if (r->out == NULL)
            argp_error(state, "OUT is missing");
        if (r->options.family == NULL || r->options.shape == NULL)
            argp_error(state, "--family and --shape are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void draw(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    fprintf(stderr, "\r%3.0f %% of %.1f MB", 100.0 * (double)done / (double)total,
            1e-6 * (double)total);
    if (done == total)
        fputc('\n', stderr);
}

static wa_status run(void *words, wa_arena *arena, int *exit_code, wa_error *err)
{
    request *r = words;
    (void)exit_code;
    wa_synth_report report;
    double start = wa_clock();
    WA_TRY(wa_synth_dtype_parse(r->dtype, &r->options.dtype, err));
    if (!r->quiet && isatty(STDERR_FILENO))
        r->options.progress = draw;
    WA_TRY(wa_synth(r->out, &r->options, arena, &report, err));
    double seconds = wa_clock() - start;
    if (r->quiet)
        return WA_OK;
    char experts[96] = "";
    if (report.experts > 0)
        snprintf(experts, sizeof experts, "%zu experts, %zu chosen, each with ", report.experts,
                 report.chosen);
    printf("%s: %s, %zu layers, hidden %zu, %sFFN %zu, vocabulary %zu, %s; %" PRIu64
           " bytes, %.0f MB/s\n",
           r->out, r->options.family, report.layers, report.hidden, experts, report.intermediate,
           report.vocab, r->dtype, report.bytes,
           1e-6 * (double)report.bytes / (seconds > 1e-6 ? seconds : 1e-6));
    if (fflush(stdout) != 0 || ferror(stdout))
        return wa_fail(err, WA_E_IO, "cannot write to stdout");
    return WA_OK;
}

static const struct argp_option OPTIONS[] = {
    {.name = "family",
     .key = 'f',
     .arg = "FAMILY",
     .doc = "gemma3, llama, smollm3, olmo2, olmo3, glm4, phi3, exaone4, ernie4_5, "
            "seed_oss or arcee; with experts mixtral, qwen2_moe, qwen3_moe, olmoe or gpt_oss"},
    {.name = "shape",
     .key = 's',
     .arg = "SHAPE",
     .doc = "tiny, small, 270m, 1b or 4b; of llama also 8b and 70b"},
    {.name = "layers", .key = KEY_LAYERS, .arg = "N", .doc = "Layers, instead of the shape's"},
    {.name = "vocab",
     .key = KEY_VOCAB,
     .arg = "N",
     .doc = "Rows of the embedding, instead of the shape's"},
    {.name = "experts",
     .key = KEY_EXPERTS,
     .arg = "N",
     .doc = "Experts of a layer, of a family that has them (8)"},
    {.name = "chosen",
     .key = KEY_CHOSEN,
     .arg = "K",
     .doc = "Experts that a position goes through (2)"},
    {.name = "features",
     .key = KEY_FEATURES,
     .arg = "N",
     .doc = "Width of one expert, instead of the shape's FFN shared out among the chosen"},
    {.name = "seed", .key = KEY_SEED, .arg = "N", .doc = "Another seed, another model (0)"},
    {.name = "no-weights",
     .key = KEY_NO_WEIGHTS,
     .doc = "Leave a hole where the weights would be: enough for `plan`"},
    {.name = "dtype", .key = KEY_DTYPE, .arg = "TYPE", .doc = "bf16, f16 or f32 (bf16)"},
    {0}};

const struct argp wa_cli_synth_parser = {
    .options = OPTIONS,
    .parser = take_option,
    .args_doc = "OUT",
    .doc = "Write a random but realistic model with tokenizer to the new directory OUT.\v"
           "The same options give the same bytes on every machine. A 4b model in bf16 takes about "
           "8 GB of disk; --layers makes it smaller."};

int wa_cli_synth(int argc, char **argv)
{
    request r = {.dtype = "bf16"};
    r.quiet = wa_cli_parse(&wa_cli_synth_parser, argc, argv, &r);
    return wa_cli_answer("synth", ARENA_BYTES, run, &r);
}

/* walkaudit extract: a vindex from a model, with a progress bar and a closing line. */
#include "vindex/extract.h"
#include "base/clock.h"
#include "base/signals.h"
#include "base/staging.h"
#include "cli/cli.h"
#include "vindex/extract_plan.h"
#include "vindex/vindex.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BAR_WIDTH = 40 };

/* Keys of options without a letter. */
enum {
    KEY_GATE = 256,
    KEY_DOWN,
    KEY_FEATURE_MAJOR,
    KEY_DROP_GATE,
    KEY_POLICY,
    KEY_THRESHOLD,
    KEY_FLOOR,
    KEY_UNREAD
};

typedef struct arguments {
    const char *model, *out, *format, *compat, *gate, *down, *policy, *threshold, *floor;
    bool force, feature_major_down, drop_gate, allow_unread, quiet;
} arguments;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    arguments *args = state->input;
    switch (key) {
    case 'f':
        args->format = arg;
        return 0;
    case 'c':
        args->compat = arg;
        return 0;
    case 'F':
        args->force = true;
        return 0;
    case KEY_GATE:
        args->gate = arg;
        return 0;
    case KEY_DOWN:
        args->down = arg;
        return 0;
    case KEY_POLICY:
        args->policy = arg;
        return 0;
    case KEY_THRESHOLD:
        args->threshold = arg;
        return 0;
    case KEY_FLOOR:
        args->floor = arg;
        return 0;
    case KEY_FEATURE_MAJOR:
        args->feature_major_down = true;
        return 0;
    case KEY_UNREAD:
        args->allow_unread = true;
        return 0;
    case KEY_DROP_GATE:
        args->drop_gate = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num >= 2)
            return ARGP_ERR_UNKNOWN;
        *(state->arg_num == 0 ? &args->model : &args->out) = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* context: a bool, is a bar on the terminal's line? */
static void draw_bar(void *context, size_t done, size_t total)
{
    bool *on_line = context;
    char bar[BAR_WIDTH + 1];
    size_t filled = done * BAR_WIDTH / total;
    for (size_t i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r[%s] %3zu %%", bar, 100 * done / total);
    *on_line = done < total;
    if (done == total)
        fputc('\n', stderr);
}

typedef struct totals {
    size_t files;
    uint64_t bytes;
} totals;

static void count_files(const char *path, totals *sum)
{
    DIR *list = opendir(path);
    if (list == NULL)
        return;
    for (struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list)) {
        struct stat info;
        if (fstatat(dirfd(list), entry->d_name, &info, 0) != 0 || !S_ISREG(info.st_mode))
            continue;
        sum->files++;
        sum->bytes += (uint64_t)info.st_size;
    }
    closedir(list);
}

static wa_status count_vindex(const char *path, wa_arena *arena, totals *sum, wa_error *err)
{
    char *layers;
    *sum = (totals){0};
    WA_TRY(wa_arena_print(arena, &layers, err, "%s/layers", path));
    count_files(path, sum);
    count_files(layers, sum);
    return WA_OK;
}

/* The coarsest format among the FFN weights decides what the vindex can be compared with. */
static wa_format coarsest(const wa_model *model)
{
    const wa_extract_options all = {.format = WA_EXTRACT_F32};
    wa_format worst = WA_FORMAT_F64;
    for (size_t l = 0; l < model->layer_count; l++)
        for (size_t e = 0; e < wa_extract_entries(model, &all, l); e++) {
            const wa_expert ffn = wa_extract_entry(model, l, e);
            const wa_format formats[] = {ffn.gate.format, ffn.up.format, ffn.down.format};
            for (size_t p = 0; p < sizeof formats / sizeof formats[0]; p++)
                if (wa_format_get(formats[p])->source_bits < wa_format_get(worst)->source_bits)
                    worst = formats[p];
        }
    return worst;
}

static void print_closing(const wa_model *model, const arguments *args, totals sum, double seconds)
{
    wa_format source = coarsest(model);
    double megabytes = 1e-6 * (double)sum.bytes;
    printf("%s: %zu files, %" PRIu64 " bytes, %.1f MB/s; %s %s\n", args->out, sum.files, sum.bytes,
           megabytes / (seconds > 1e-6 ? seconds : 1e-6),
           wa_format_is_coarse(source) ? "requantised from" : "not requantised, from",
           wa_format_get(source)->name);
}

/* An option whose value is one of a few words, and what a word's place stands for. */
typedef struct choice {
    const char *option, *expected;
    const char *words[4]; /* NULL = no word for this place */
} choice;

/* The place of a word; an option that is absent leaves *out as it is. */
static wa_status read_choice(const choice *of, const char *word, size_t *out, wa_error *err)
{
    if (word == NULL)
        return WA_OK;
    for (size_t i = 0; i < sizeof of->words / sizeof of->words[0]; i++) {
        if (of->words[i] != NULL && strcmp(word, of->words[i]) == 0) {
            *out = i;
            return WA_OK;
        }
    }
    return wa_fail(err, WA_E_USAGE, "%s '%s', expected %s", of->option, word, of->expected);
}

static wa_status read_q4k_options(const arguments *args, wa_extract_options *out, wa_error *err)
{
    static const choice downs = {"--down", "q6k or q4k", {"q6k", "q4k"}};
    size_t down = 0;
    if (args->down != NULL && out->format != WA_EXTRACT_Q4K)
        return wa_fail(err, WA_E_USAGE, "--down is of format q4k, not %s", args->format);
    WA_TRY(read_choice(&downs, args->down, &down, err));
    out->down_q4k = down == 1;
    out->feature_major_down = args->feature_major_down;
    out->drop_gate = args->drop_gate;
    return WA_OK;
}

static wa_status read_number(const char *option, const char *word, double *out, wa_error *err)
{
    char *end;
    if (word == NULL)
        return WA_OK;
    double number = strtod(word, &end);
    if (end == word || *end != '\0')
        return wa_fail(err, WA_E_USAGE, "%s '%s' is no number", option, word);
    *out = number;
    return WA_OK;
}

static wa_status read_fp4_options(const arguments *args, wa_extract_options *out, wa_error *err)
{
    static const choice policies = {
        "--fp4-policy",
        "a, b or c",
        {[WA_FP4_POLICY_A] = "a", [WA_FP4_POLICY_B] = "b", [WA_FP4_POLICY_C] = "c"}};
    size_t policy = (size_t)out->policy;
    if (out->format != WA_EXTRACT_FP4 &&
        (args->policy != NULL || args->threshold != NULL || args->floor != NULL))
        return wa_fail(err, WA_E_USAGE, "--fp4-… are of format fp4, not %s", args->format);
    WA_TRY(read_choice(&policies, args->policy, &policy, err));
    out->policy = (wa_fp4_policy)policy;
    WA_TRY(read_number("--fp4-threshold", args->threshold, &out->fp4_threshold, err));
    return read_number("--fp4-floor", args->floor, &out->fp4_floor, err);
}

static wa_status read_options(const arguments *args, wa_extract_options *out, wa_error *err)
{
    enum { LARQL = 3 }; /* the word of May, when there was one state to be equal to */
    static const choice gates = {
        "--gate", "f32 or f16", {[WA_EXTRACT_GATE_F32] = "f32", [WA_EXTRACT_GATE_F16] = "f16"}};
    static const choice compats = {"--compat",
                                   "larql-2026-08, larql-2026-05 or larql",
                                   {[WA_EXTRACT_COMPAT_LARQL_2026_05] = "larql-2026-05",
                                    [WA_EXTRACT_COMPAT_LARQL_2026_08] = "larql-2026-08",
                                    [LARQL] = "larql"}};
    size_t gate = WA_EXTRACT_GATE_USUAL, compat = 0;
    wa_extract_format format;
    if (args->out == NULL || args->format == NULL)
        return wa_fail(err, WA_E_USAGE,
                       "extract needs MODEL, OUT.vindex and --format (see --help)");
    WA_TRY(wa_extract_format_parse(args->format, &format, err));
    *out = wa_extract_defaults(format);
    out->force = args->force;
    WA_TRY(read_choice(&compats, args->compat, &compat, err));
    WA_TRY(read_choice(&gates, args->gate, &gate, err));
    out->compat = compat == LARQL ? WA_EXTRACT_COMPAT_LARQL_2026_05 : (wa_extract_compat)compat;
    out->gate = (wa_extract_gate)gate;
    WA_TRY(read_q4k_options(args, out, err));
    WA_TRY(read_fp4_options(args, out, err));
    if (!args->quiet && isatty(STDERR_FILENO))
        out->progress = draw_bar;
    return WA_OK;
}

/* What the reader remarks on our own vindex, such as row padding that upstream misreads. */
static wa_status print_remarks(const char *path, wa_arena *arena, wa_error *err)
{
    wa_vindex *vindex;
    WA_TRY(wa_vindex_open(path, arena, &vindex, err));
    for (size_t i = 0; i < vindex->note_count; i++)
        fprintf(stderr, "walkaudit: warning: %s\n", vindex->notes[i]);
    wa_vindex_close(vindex);
    return WA_OK;
}

static wa_status name_leftover(const char *path, wa_arena *arena, wa_error *err)
{
    char *left;
    wa_leftover kind;
    WA_TRY(wa_staging_leftover(path, arena, &left, &kind, err));
    if (left != NULL)
        fprintf(stderr, "walkaudit: note: a killed extract left '%s', %s\n", left,
                kind == WA_LEFT_NEW
                    ? "which nothing reads: remove it"
                    : "the vindex that it was replacing: move it back, or remove it");
    return WA_OK;
}

/* As LARQL would understand the model, for a vindex that shall be LARQL's. Models with experts it
 * does not run as they are, but extracts; they are opened as their authors have them. */
static wa_status open_model(const arguments *args, wa_extract_compat compat, wa_arena *arena,
                            wa_model **out, wa_error *err)
{
    static const wa_semantics semantics[] = {
        [WA_EXTRACT_COMPAT_NONE] = WA_SEMANTICS_NATIVE,
        [WA_EXTRACT_COMPAT_LARQL_2026_05] = WA_SEMANTICS_LARQL_2026_05,
        [WA_EXTRACT_COMPAT_LARQL_2026_08] = WA_SEMANTICS_LARQL_2026_08};
    wa_model_options how = {.semantics = WA_SEMANTICS_NATIVE, .allow_unread = args->allow_unread};
    WA_TRY(wa_model_open_with(args->model, &how, arena, out, err));
    if (compat == WA_EXTRACT_COMPAT_NONE || wa_model_expert_layer(*out) < (*out)->layer_count)
        return WA_OK;
    wa_model_close(*out);
    how.semantics = semantics[compat];
    return wa_model_open_with(args->model, &how, arena, out, err);
}

static wa_status extract(void *words, wa_arena *arena, int *exit_code, wa_error *err)
{
    const arguments *args = words;
    (void)exit_code;
    wa_extract_options options;
    wa_model *model;
    WA_TRY(read_options(args, &options, err));
    WA_TRY(open_model(args, options.compat, arena, &model, err));
    for (size_t i = 0; !args->quiet && i < model->note_count; i++)
        fprintf(stderr, "walkaudit: warning: %s\n", model->notes[i]);
    if (!args->quiet)
        WA_TRY(name_leftover(args->out, arena, err));
    double start = wa_clock();
    bool bar_on_line = false;
    options.progress_context = &bar_on_line;
    wa_signals_hear_end();
    wa_status status = wa_extract(model, args->out, &options, err);
    if (bar_on_line)
        fputc('\n', stderr);
    if (status == WA_OK && !args->quiet) {
        totals sum;
        double seconds = wa_clock() - start;
        status = count_vindex(args->out, arena, &sum, err);
        if (status == WA_OK)
            print_closing(model, args, sum, seconds);
    }
    wa_model_close(model);
    return status == WA_OK && !args->quiet ? print_remarks(args->out, arena, err) : status;
}

static const struct argp_option OPTIONS[] = {
    {"format", 'f', "F", 0,
     "f32, f16, interleaved, q4_0, q4k or fp4; of a model with experts also bf16 or q6k, not "
     "interleaved",
     0},
    {"gate", KEY_GATE, "T", 0,
     "gate_vectors.bin in f32 or f16; q4_0, fp4 (default f32) and q4k (default f16)", 0},
    {"down", KEY_DOWN, "T", 0, "q4k: down in q6k (default) or q4k", 0},
    {"feature-major-down", KEY_FEATURE_MAJOR, NULL, 0, "q4k: down_features_kquant.bin, too", 0},
    {"drop-gate", KEY_DROP_GATE, NULL, 0,
     "q4k and experts: no gate_vectors.bin; of q4k readers remake it from interleaved_kquant.bin",
     0},
    {"compat", 'c', "STATE", 0,
     "payload files equal in every byte to those of LARQL of August 2026 (larql-2026-08), or of "
     "May "
     "with its file names and element orders (larql-2026-05, larql)",
     0},
    {"allow-unread", KEY_UNREAD, NULL, 0,
     "go on with a model that stores tensors of layers which nothing here reads", 0},
    {"force", 'F', NULL, 0, "replace an existing vindex", 0},
    {"fp4-policy", KEY_POLICY, "P", 0,
     "fp4: up in FP4, down in FP4 (a), FP8 (b, default) or f32 (c)", 0},
    {"fp4-threshold", KEY_THRESHOLD, "R", 0,
     "fp4: a row complies when its largest 32-element maximum is below R times the least "
     "(default 16)",
     0},
    {"fp4-floor", KEY_FLOOR, "S", 0,
     "fp4: FP8 instead where fewer than the share S of rows complies (default 0.99)", 0},
    {NULL, 0, NULL, 0, NULL, 0}};

const struct argp wa_cli_extract_parser = {
    OPTIONS,
    parse_option,
    "MODEL OUT.vindex",
    "Write a vindex from MODEL, a Hugging Face directory or a GGUF file.",
    NULL,
    NULL,
    NULL};

int wa_cli_extract(int argc, char **argv)
{
    arguments args = {0};
    args.quiet = wa_cli_parse(&wa_cli_extract_parser, argc, argv, &args);
    return wa_cli_answer("extract", 0, extract, &args);
}

/* walkaudit inspect: recognise what PATH is and print what is known about it. */
#include "cli/inspect.h"
#include "base/bytes.h"
#include "cli/cli.h"
#include "cli/document.h"
#include "store/store.h"

typedef struct arguments {
    const char *path;
    bool checksums, json;
} arguments;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    arguments *args = state->input;
    switch (key) {
    case 'c':
        args->checksums = true;
        return 0;
    case 'j':
        args->json = true;
        return 0;
    case ARGP_KEY_END:
        if (args->json && args->checksums)
            argp_error(state, "--json and --checksums are two answers");
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num >= 1)
            return ARGP_ERR_UNKNOWN;
        args->path = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

typedef enum kind { KIND_MODEL, KIND_VINDEX, KIND_RESULT } kind;

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static bool begins_with(wa_bytes bytes, const char *magic, size_t length)
{
    return bytes.size >= length && memcmp(bytes.data, magic, length) == 0;
}

/* By content first, so that a file may have any name; by name then, so that a damaged one gets its
 * own error. */
static wa_status recognise_file(const char *path, kind *out, wa_error *err)
{
    wa_map map;
    WA_TRY(wa_map_open(path, &map, err));
    bool gguf = begins_with(map.bytes, "GGUF", 4) || ends_with(path, ".gguf");
    bool result = begins_with(map.bytes, "\x89HDF\r\n\x1a\n", 8) || ends_with(path, ".h5");
    wa_map_close(&map);
    if (!gguf && !result)
        return wa_fail(err, WA_E_FORMAT,
                       "'%s' is no GGUF and no result file; models in safetensors and "
                       "vindexes are directories",
                       path);
    *out = gguf ? KIND_MODEL : KIND_RESULT;
    return WA_OK;
}

static wa_status has_file(const char *dir, const char *name, wa_arena *arena, bool *out,
                          wa_error *err)
{
    char *path;
    WA_TRY(wa_arena_print(arena, &path, err, "%s/%s", dir, name));
    *out = wa_file_exists(path);
    return WA_OK;
}

/* A vindex has index.json. What else a directory may be, the model's reader knows better. */
static wa_status recognise(const char *path, wa_arena *arena, kind *out, wa_error *err)
{
    bool index, config;
    if (!wa_dir_exists(path))
        return recognise_file(path, out, err);
    WA_TRY(has_file(path, "index.json", arena, &index, err));
    WA_TRY(has_file(path, "config.json", arena, &config, err));
    *out = index || (!config && ends_with(path, ".vindex")) ? KIND_VINDEX : KIND_MODEL;
    return WA_OK;
}

static wa_status print_json(const char *path, kind what, wa_arena *arena, wa_error *err)
{
    static wa_status (*const members[])(const char *, wa_arena *, json_t *,
                                        wa_error *) = {[KIND_MODEL] = wa_inspect_model_members,
                                                       [KIND_VINDEX] = wa_inspect_vindex_members,
                                                       [KIND_RESULT] = wa_inspect_result_members};
    json_t *object = wa_cli_document("inspect", 1);
    wa_status status = members[what](path, arena, object, err);
    if (status == WA_OK)
        return wa_cli_print_json(object, err);
    json_decref(object);
    return status;
}

static wa_status inspect(void *words, wa_arena *arena, int *exit_code, wa_error *err)
{
    const arguments *args = words;
    (void)exit_code;
    kind what = KIND_MODEL;
    if (args->path == NULL)
        return wa_fail(err, WA_E_USAGE, "inspect needs a PATH (see --help)");
    WA_TRY(recognise(args->path, arena, &what, err));
    if (args->json)
        return print_json(args->path, what, arena, err);
    switch (what) {
    case KIND_MODEL:
        return wa_inspect_model(args->path, arena, stdout, err);
    case KIND_VINDEX:
        return wa_inspect_vindex(args->path, args->checksums, arena, stdout, err);
    case KIND_RESULT:
        return wa_inspect_result(args->path, arena, stdout, err);
    }
    return wa_fail(err, WA_E_INTERNAL, "unknown kind %d", (int)what);
}

static const struct argp_option OPTIONS[] = {
    {"checksums", 'c', NULL, 0,
     "verify the SHA-256 sums of a vindex's index.json (reads whole files)", 0},
    {"json", 'j', NULL, 0,
     "print JSON, schema walkaudit.inspect; the values of a vindex are not looked at then", 0},
    {NULL, 0, NULL, 0, NULL, 0}};

const struct argp wa_cli_inspect_parser = {
    OPTIONS,
    parse_option,
    "PATH",
    "Print what PATH is: a model directory, a GGUF file, a vindex or a result file. Vindexes of "
    "LARQL's states of May to August 2026 are understood; those of its next generation (VINDEX3, "
    "LYRW v2) are refused.",
    NULL,
    NULL,
    NULL};

int wa_cli_inspect(int argc, char **argv)
{
    arguments args = {0};
    (void)wa_cli_parse(&wa_cli_inspect_parser, argc, argv, &args);
    return wa_cli_answer("inspect", 0, inspect, &args);
}

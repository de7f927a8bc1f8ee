/* `walkaudit tokenize`: the ids and pieces of a text, or the ids of every text of a file. */
#include "base/json.h"
#include "cli/cli.h"
#include "model/tokenizer.h"

#include <stdio.h>

typedef struct request {
    const char *model;
    const char *text; /* NULL: from stdin or `file` */
    const char *file; /* NULL: no JSON lines */
    bool quiet;
} request;

static error_t take_word(request *r, char *word, struct argp_state *state)
{
    if (state->arg_num == 0)
        r->model = word;
    else if (state->arg_num == 1)
        r->text = word;
    else
        argp_error(state, "unexpected argument '%s'", word);
    return 0;
}

static error_t take_option(int key, char *arg, struct argp_state *state)
{
    request *r = state->input;
    switch (key) {
    case 'f':
        r->file = arg;
        return 0;
    case ARGP_KEY_ARG:
        return take_word(r, arg, state);
    case ARGP_KEY_END:
        if (r->model == NULL)
            argp_error(state, "MODEL is missing");
        if (r->text != NULL && r->file != NULL)
            argp_error(state, "TEXT and --file exclude each other");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* A piece with its control characters escaped, so that each token stays on its line. */
static void print_piece(const char *piece, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)piece[i];
        if (byte == '\\')
            fputs("\\\\", stdout);
        else if (byte == '\n')
            fputs("\\n", stdout);
        else if (byte == '\t')
            fputs("\\t", stdout);
        else if (byte < 0x20 || byte == 0x7f)
            printf("\\x%02x", (unsigned)byte);
        else
            putchar(byte);
    }
}

static wa_status print_tokens(const wa_tokenizer *tokenizer, const char *text, size_t size,
                              wa_arena *arena, wa_error *err)
{
    int32_t *ids = NULL;
    size_t count = 0;
    WA_TRY(wa_tokenizer_encode(tokenizer, text, size, arena, &ids, &count, err));
    for (size_t i = 0; i < count; i++) {
        size_t length;
        const char *piece = wa_tokenizer_piece(tokenizer, ids[i], &length);
        printf("%d\t", (int)ids[i]);
        print_piece(piece, length);
        putchar('\n');
    }
    return WA_OK;
}

/* Reads to the end of stdin; each refill doubles the room. */
static wa_status read_stdin(wa_arena *arena, char **out, size_t *size, wa_error *err)
{
    size_t capacity = (size_t)64 << 10, used = 0, got;
    char *buffer;
    WA_TRY(wa_arena_take_raw(arena, capacity, 1, &buffer, err));
    while ((got = fread(buffer + used, 1, capacity - used, stdin)) > 0) {
        used += got;
        if (used < capacity)
            continue;
        char *larger;
        WA_TRY(wa_arena_take_raw(arena, capacity, 2, &larger, err));
        memcpy(larger, buffer, used);
        buffer = larger;
        capacity *= 2;
    }
    if (ferror(stdin))
        return wa_fail(err, WA_E_IO, "cannot read the text from stdin");
    *out = buffer;
    *size = used;
    return WA_OK;
}

/* One line of the file: {"text": …} in, {"ids": […]} out. */
static wa_status answer_line(const wa_tokenizer *tokenizer, wa_bytes line, wa_arena *arena,
                             wa_error *err)
{
    json_t *root = NULL;
    int32_t *ids = NULL;
    size_t count = 0;
    WA_TRY(wa_json_parse(line, &root, err));
    const json_t *text = json_object_get(root, "text");
    wa_status status = json_is_string(text)
                           ? wa_tokenizer_encode(tokenizer, json_string_value(text),
                                                 json_string_length(text), arena, &ids, &count, err)
                           : wa_fail(err, WA_E_FORMAT, "key 'text': found %s, expected a string",
                                     wa_json_type_name(text));
    wa_json_close(root);
    if (status != WA_OK)
        return status;
    fputs("{\"ids\": [", stdout);
    for (size_t i = 0; i < count; i++)
        printf("%s%d", i == 0 ? "" : ", ", (int)ids[i]);
    fputs("]}\n", stdout);
    return WA_OK;
}

static wa_status answer_lines(const wa_tokenizer *tokenizer, wa_bytes file, wa_arena *arena,
                              wa_error *err)
{
    size_t number = 1;
    for (size_t at = 0; at < file.size; number++) {
        const uint8_t *end = memchr(file.data + at, '\n', file.size - at);
        size_t size = end == NULL ? file.size - at : (size_t)(end - file.data) - at;
        wa_mark mark = wa_arena_mark(arena);
        wa_status status = answer_line(tokenizer, (wa_bytes){file.data + at, size}, arena, err);
        wa_arena_release(arena, mark);
        if (status != WA_OK)
            return wa_note(err, "in line %zu", number);
        at += size + 1;
    }
    return WA_OK;
}

static wa_status answer_file(const wa_tokenizer *tokenizer, const char *path, wa_arena *arena,
                             wa_error *err)
{
    wa_map map;
    WA_TRY(wa_map_open(path, &map, err));
    wa_status status = answer_lines(tokenizer, map.bytes, arena, err);
    wa_map_close(&map);
    return status == WA_OK ? WA_OK : wa_note(err, "in file '%s'", path);
}

static wa_status answer(const request *r, const wa_tokenizer *tokenizer, wa_arena *arena,
                        wa_error *err)
{
    char *text = NULL;
    size_t size = 0;
    if (r->file != NULL)
        return answer_file(tokenizer, r->file, arena, err);
    if (r->text != NULL)
        return print_tokens(tokenizer, r->text, strlen(r->text), arena, err);
    WA_TRY(read_stdin(arena, &text, &size, err));
    return print_tokens(tokenizer, text, size, arena, err);
}

static wa_status run(void *words, wa_arena *arena, int *exit_code, wa_error *err)
{
    const request *r = words;
    (void)exit_code;
    wa_tokenizer *tokenizer = NULL;
    WA_TRY(wa_tokenizer_open(r->model, &tokenizer, err));
    if (!r->quiet && wa_tokenizer_warning(tokenizer) != NULL)
        fprintf(stderr, "walkaudit: warning: %s; in tokenizer '%s'\n",
                wa_tokenizer_warning(tokenizer), wa_tokenizer_source(tokenizer));
    wa_status status = answer(r, tokenizer, arena, err);
    wa_tokenizer_close(tokenizer);
    if (status == WA_OK && (fflush(stdout) != 0 || ferror(stdout)))
        return wa_fail(err, WA_E_IO, "cannot write the ids to stdout");
    return status;
}

static const struct argp_option OPTIONS[] = {
    {.name = "file",
     .key = 'f',
     .arg = "FILE",
     .doc = "Answer each line {\"text\": …} of FILE (JSON lines) with {\"ids\": […]}"},
    {0}};

const struct argp wa_cli_tokenize_parser = {
    .options = OPTIONS,
    .parser = take_option,
    .args_doc = "MODEL [TEXT]",
    .doc = "Print the token ids and pieces of TEXT, or of stdin without TEXT.\v"
           "MODEL is a tokenizer.json, a directory with one, or a GGUF file. Special tokens are "
           "added as the model asks for, and recognised in the text."};

int wa_cli_tokenize(int argc, char **argv)
{
    request r = {0};
    r.quiet = wa_cli_parse(&wa_cli_tokenize_parser, argc, argv, &r);
    return wa_cli_answer("tokenize", 0, run, &r);
}

/* Prompts: the three published ones, lines of text, or lines of JSON. */
#include "base/json.h"
#include "job/job.h"

#include <stdlib.h>

/* LARQL's audit prompts, in its order (walk_path_audit.rs; ties depend on it). */
static const struct {
    const char *key, *text;
} seed[] = {
    {"paris", "The capital of France is"},
    {"apollo", "The Apollo 11 mission landed on the Moon on July 20, 1969. The commander was"},
    {"code", "def fibonacci(n):"},
};

static wa_status take_seed(wa_arena *arena, wa_prompt **out, size_t *count, wa_error *err)
{
    wa_prompt *prompts;
    size_t n = sizeof seed / sizeof seed[0];
    WA_TRY(wa_arena_take(arena, n, sizeof *prompts, &prompts, err));
    for (size_t i = 0; i < n; i++)
        prompts[i] = (wa_prompt){
            .key = seed[i].key, .text = seed[i].text, .text_length = strlen(seed[i].text)};
    *out = prompts;
    *count = n;
    return WA_OK;
}

/* --- JSONL ------------------------------------------------------------------------------------ */

static wa_status check_keys(json_t *object, wa_error *err)
{
    static const char *const known[] = {"key", "text", "ids", "max_tokens"};
    if (!json_is_object(object))
        return wa_fail(err, WA_E_FORMAT, "found %s, expected an object", wa_json_type_name(object));
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found = found || strcmp(known[i], key) == 0;
        if (!found)
            return wa_fail(err, WA_E_FORMAT,
                           "unknown key '%s', expected key, text, ids or max_tokens", key);
    }
    return WA_OK;
}

/* How a prompt without a key is called. */
static wa_status name_by_line(size_t number, wa_arena *arena, wa_prompt *out, wa_error *err)
{
    char *name;
    WA_TRY(wa_arena_print(arena, &name, err, "line%zu", number));
    out->key = name;
    return WA_OK;
}

static wa_status take_key(const json_t *object, size_t number, wa_arena *arena, wa_prompt *out,
                          wa_error *err)
{
    const char *key;
    char *copy;
    if (json_object_get(object, "key") == NULL)
        return name_by_line(number, arena, out, err);
    WA_TRY(wa_json_string(object, "key", &key, err));
    size_t length = json_string_length(json_object_get(object, "key"));
    if (length == 0 || length > 200)
        return wa_fail(err, WA_E_FORMAT, "'key' has %zu bytes, expected 1 to 200", length);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)key[i] < 0x20 || key[i] == 0x7f)
            return wa_fail(err, WA_E_FORMAT, "'key' holds control character 0x%02x",
                           (unsigned)(unsigned char)key[i]);
    WA_TRY(wa_arena_copy(arena, key, length, &copy, err));
    out->key = copy;
    return WA_OK;
}

static wa_status take_text(const json_t *text, wa_arena *arena, wa_prompt *out, wa_error *err)
{
    char *copy;
    if (!json_is_string(text))
        return wa_fail(err, WA_E_FORMAT, "'text' is %s, expected a string",
                       wa_json_type_name(text));
    out->text_length = json_string_length(text);
    WA_TRY(wa_arena_copy(arena, json_string_value(text), out->text_length, &copy, err));
    out->text = copy;
    return WA_OK;
}

static wa_status take_ids(const json_t *ids, wa_arena *arena, wa_prompt *out, wa_error *err)
{
    if (!json_is_array(ids) || json_array_size(ids) == 0)
        return wa_fail(err, WA_E_FORMAT, "'ids' is %s, expected a list of token ids",
                       json_is_array(ids) ? "empty" : wa_json_type_name(ids));
    int32_t *copy;
    out->id_count = json_array_size(ids);
    WA_TRY(wa_arena_take(arena, out->id_count, sizeof *copy, &copy, err));
    for (size_t i = 0; i < out->id_count; i++) {
        const json_t *id = json_array_get(ids, i);
        json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < 0 || value > INT32_MAX)
            return wa_fail(err, WA_E_FORMAT, "'ids' element %zu is no token id", i);
        copy[i] = (int32_t)value;
    }
    out->ids = copy;
    return WA_OK;
}

static wa_status take_prompt(json_t *object, size_t number, wa_arena *arena, wa_prompt *out,
                             wa_error *err)
{
    *out = (wa_prompt){.key = NULL};
    WA_TRY(check_keys(object, err));
    WA_TRY(take_key(object, number, arena, out, err));
    const json_t *text = json_object_get(object, "text"), *ids = json_object_get(object, "ids");
    if ((text == NULL) == (ids == NULL))
        return wa_fail(err, WA_E_FORMAT, "prompt '%s' has %s 'text' %s 'ids', expected one of them",
                       out->key, text == NULL ? "neither" : "both", text == NULL ? "nor" : "and");
    WA_TRY(wa_json_size_or(object, "max_tokens", 0, &out->max_tokens, err));
    if (json_object_get(object, "max_tokens") != NULL && out->max_tokens == 0)
        return wa_fail(err, WA_E_FORMAT, "'max_tokens' of prompt '%s' is 0, expected at least 1",
                       out->key);
    if (text != NULL)
        return take_text(text, arena, out, err);
    return take_ids(ids, arena, out, err);
}

/* A million ids fit; parsing takes some forty bytes for each. */
static const size_t LINE_BYTES = (size_t)16 << 20;

static wa_status take_json(wa_bytes line, size_t number, wa_arena *arena, wa_prompt *out,
                           wa_error *err)
{
    json_t *root;
    WA_TRY(wa_json_parse(line, &root, err));
    wa_status status = take_prompt(root, number, arena, out, err);
    wa_json_close(root);
    return status;
}

/* The line is the prompt, blanks at its ends included; CRLF ends it as LF does. */
static wa_status take_words(wa_bytes line, size_t number, wa_arena *arena, wa_prompt *out,
                            wa_error *err)
{
    char *copy;
    size_t length = line.size > 0 && line.data[line.size - 1] == '\r' ? line.size - 1 : line.size;
    *out = (wa_prompt){.text_length = length};
    WA_TRY(wa_arena_copy(arena, (const char *)line.data, length, &copy, err));
    out->text = copy;
    return name_by_line(number, arena, out, err);
}

typedef wa_status take_line(wa_bytes line, size_t number, wa_arena *arena, wa_prompt *out,
                            wa_error *err);

static take_line *line_taker(const char *path)
{
    size_t length = strlen(path);
    return length > 4 && strcmp(path + length - 4, ".txt") == 0 ? take_words : take_json;
}

static bool is_blank(wa_bytes line)
{
    for (size_t i = 0; i < line.size; i++)
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r')
            return false;
    return true;
}

/* Editors put a byte order mark before UTF-8; it is no part of the first line. */
static wa_bytes after_mark(wa_bytes text)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    if (text.size < sizeof mark || memcmp(text.data, mark, sizeof mark) != 0)
        return text;
    return (wa_bytes){.data = text.data + sizeof mark, .size = text.size - sizeof mark};
}

/* The next line from *at on, without its end; false at the end of the text. */
static bool next_line(wa_bytes text, size_t *at, wa_bytes *line)
{
    if (*at >= text.size)
        return false;
    const uint8_t *start = text.data + *at;
    const uint8_t *end = memchr(start, '\n', text.size - *at);
    size_t length = end == NULL ? text.size - *at : (size_t)(end - start);
    *line = (wa_bytes){.data = start, .size = length};
    *at += end == NULL ? length : length + 1;
    return true;
}

static size_t count_lines(wa_bytes text)
{
    size_t count = 0;
    wa_bytes line;
    for (size_t at = 0; next_line(text, &at, &line);)
        count += is_blank(line) ? 0 : 1;
    return count;
}

typedef struct keyed {
    const char *key;
    size_t line; /* from 1 */
} keyed;

static int compare_keyed(const void *left, const void *right)
{
    const keyed *a = left, *b = right;
    int order = strcmp(a->key, b->key);
    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

static wa_status check_unique(keyed *keys, size_t count, wa_error *err)
{
    qsort(keys, count, sizeof *keys, compare_keyed);
    for (size_t i = 1; i < count; i++)
        if (strcmp(keys[i - 1].key, keys[i].key) == 0)
            return wa_fail(err, WA_E_FORMAT, "repeated key '%s'; line %zu, first in line %zu",
                           keys[i].key, keys[i].line, keys[i - 1].line);
    return WA_OK;
}

/* limit  most prompts, 0 = all: lines behind them are not looked at */
static wa_status take_lines(wa_bytes text, take_line *take, size_t limit, wa_arena *arena,
                            wa_prompt **out, size_t *count, wa_error *err)
{
    size_t n = count_lines(text), filled = 0, number = 0;
    if (n == 0)
        return wa_fail(err, WA_E_FORMAT, "no prompts");
    n = limit > 0 && limit < n ? limit : n;
    wa_prompt *prompts;
    keyed *keys;
    WA_TRY(wa_arena_take(arena, n, sizeof *prompts, &prompts, err));
    WA_TRY(wa_arena_take(arena, n, sizeof *keys, &keys, err));
    wa_bytes line;
    for (size_t at = 0; filled < n && next_line(text, &at, &line);) {
        number++;
        if (is_blank(line))
            continue;
        wa_status status =
            line.size <= LINE_BYTES
                ? take(line, number, arena, &prompts[filled], err)
                : wa_fail(err, WA_E_FORMAT, "a line of %zu bytes, expected at most %zu", line.size,
                          LINE_BYTES);
        if (status != WA_OK)
            return wa_note(err, "line %zu", number);
        keys[filled] = (keyed){prompts[filled].key, number};
        filled++;
    }
    WA_TRY(check_unique(keys, n, err));
    *out = prompts;
    *count = n;
    return WA_OK;
}

wa_status wa_prompts_open(const wa_job *job, wa_arena *arena, wa_prompt **out, size_t *count,
                          wa_error *err)
{
    if (job->prompts_file == NULL) {
        const char *set = job->prompts_builtin == NULL ? "" : job->prompts_builtin;
        if (strcmp(set, "seed") != 0)
            return wa_fail(err, WA_E_JOB, "unknown set of prompts '%s', expected 'seed'", set);
        WA_TRY(take_seed(arena, out, count, err));
        *count =
            job->prompts_limit > 0 && job->prompts_limit < *count ? job->prompts_limit : *count;
        return WA_OK;
    }
    wa_map map;
    WA_TRY(wa_map_open(job->prompts_file, &map, err));
    wa_status status = take_lines(after_mark(map.bytes), line_taker(job->prompts_file),
                                  job->prompts_limit, arena, out, count, err);
    wa_map_close(&map);
    if (status != WA_OK)
        return wa_note(err, "in prompts '%s'", job->prompts_file);
    return WA_OK;
}

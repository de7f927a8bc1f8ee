/* A first pass over a YAML file with libyaml's events (libcyaml stands on the same library). */
#include "job/yaml_scan.h"

#include <yaml.h>

/* Far above any real job, low enough that hostile files cost little. */
enum { DEPTH_LIMIT = 16, KEY_LIMIT = 64, KEY_BYTES = 64, VALUE_BYTES = 4096, PATH_BYTES = 512 };
static const size_t FILE_BYTES = (size_t)4 << 20;

/* An open mapping or list. */
typedef struct frame {
    bool is_mapping;
    bool has_key;                /* a key has been read and waits for its value */
    const char *path;            /* of the mapping or list itself; "" for the root */
    const char *keys[KEY_LIMIT]; /* of a mapping: the keys so far */
    size_t count;                /* keys or items so far */
    yaml_mark_t start;
    yaml_mark_t key_mark; /* of the last key */
    size_t entry;         /* its place in the scan; the root has none */
} frame;

typedef struct scanner {
    wa_arena *arena;
    frame frames[DEPTH_LIMIT];
    size_t depth;
    size_t documents;
    wa_yaml_scan scan;
    size_t capacity;
} scanner;

/* Errors end in the place, in the same words everywhere. libyaml counts from 0. */
#define FAIL_AT(err, mark, ...)                                                                    \
    (wa_fail((err), WA_E_JOB, __VA_ARGS__),                                                        \
     wa_note((err), "line %zu, column %zu", (mark).line + 1, (mark).column + 1))

static wa_status push_entry(scanner *s, wa_yaml_entry entry, wa_error *err)
{
    if (s->scan.count == s->capacity) {
        size_t capacity = s->capacity == 0 ? 64 : 2 * s->capacity;
        wa_yaml_entry *entries;
        WA_TRY(wa_arena_take(s->arena, capacity, sizeof *entries, &entries, err));
        if (s->scan.count > 0)
            memcpy(entries, s->scan.entries, s->scan.count * sizeof *entries);
        s->scan.entries = entries;
        s->capacity = capacity;
    }
    s->scan.entries[s->scan.count++] = entry;
    return WA_OK;
}

static bool is_null_word(const char *text)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

/* Scalars end up in messages, file names and the result file: one line of printable text each. */
static wa_status check_scalar(const yaml_event_t *event, size_t limit, const char *what,
                              wa_error *err)
{
    const unsigned char *text = event->data.scalar.value;
    size_t length = event->data.scalar.length;
    if (length > limit)
        return FAIL_AT(err, event->start_mark, "%s of %zu bytes, at most %zu are allowed", what,
                       length, limit);
    for (size_t i = 0; i < length; i++)
        if (text[i] < 0x20 || text[i] == 0x7f)
            return FAIL_AT(err, event->start_mark, "%s with control character 0x%02x", what,
                           (unsigned)text[i]);
    return WA_OK;
}

static wa_status read_key(scanner *s, frame *top, const yaml_event_t *event, wa_error *err)
{
    if (event->type != YAML_SCALAR_EVENT)
        return FAIL_AT(err, event->start_mark, "a key is a list or mapping, expected a word");
    WA_TRY(check_scalar(event, KEY_BYTES, "key", err));
    const char *text = (const char *)event->data.scalar.value;
    for (size_t i = 0; i < top->count; i++)
        if (strcmp(top->keys[i], text) == 0)
            return FAIL_AT(err, event->start_mark, "repeated key '%s%s%s'", top->path,
                           top->path[0] == '\0' ? "" : ".", text);
    if (top->count == KEY_LIMIT)
        return FAIL_AT(err, event->start_mark, "more than %d keys in one mapping", KEY_LIMIT);
    char *copy;
    WA_TRY(wa_arena_copy(s->arena, text, event->data.scalar.length, &copy, err));
    top->keys[top->count++] = copy;
    top->key_mark = event->start_mark;
    top->has_key = true;
    return WA_OK;
}

/* Path and place of the value that `event` begins; the root has no frame above it. */
static wa_status start_value(scanner *s, const yaml_event_t *event, wa_yaml_entry *entry,
                             wa_error *err)
{
    char *path;
    yaml_mark_t key_mark = event->start_mark;
    *entry = (wa_yaml_entry){.path = "", .key = ""};
    if (s->depth > 0) {
        frame *top = &s->frames[s->depth - 1];
        if (top->is_mapping) {
            entry->key = top->keys[top->count - 1];
            key_mark = top->key_mark;
            top->has_key = false;
            WA_TRY(wa_arena_print(s->arena, &path, err, "%s%s%s", top->path,
                                  top->path[0] == '\0' ? "" : ".", entry->key));
        } else {
            WA_TRY(wa_arena_print(s->arena, &path, err, "%s[%zu]", top->path, top->count++));
        }
        if (strlen(path) > PATH_BYTES)
            return FAIL_AT(err, event->start_mark, "keys nested too long");
        entry->path = path;
    }
    entry->start = event->start_mark.index;
    entry->end = event->end_mark.index;
    entry->line = event->start_mark.line + 1;
    entry->column = event->start_mark.column + 1;
    entry->key_line = key_mark.line + 1;
    entry->key_column = key_mark.column + 1;
    return WA_OK;
}

static wa_status read_scalar(scanner *s, const yaml_event_t *event, wa_error *err)
{
    wa_yaml_entry entry;
    WA_TRY(start_value(s, event, &entry, err));
    const char *text = (const char *)event->data.scalar.value;
    if (s->depth == 0)
        return FAIL_AT(err, event->start_mark,
                       event->data.scalar.length == 0
                           ? "the file is empty, expected a job"
                           : "the file holds one value, expected a mapping");
    WA_TRY(check_scalar(event, VALUE_BYTES, "value", err));
    if (is_null_word(text))
        return FAIL_AT(err, event->start_mark,
                       "'%s' has no value; leave the key out to get the default", entry.path);
    char *copy;
    WA_TRY(wa_arena_copy(s->arena, text, event->data.scalar.length, &copy, err));
    entry.value = copy;
    return push_entry(s, entry, err);
}

static wa_status open_frame(scanner *s, const yaml_event_t *event, wa_error *err)
{
    wa_yaml_entry entry;
    WA_TRY(start_value(s, event, &entry, err));
    if (s->depth == DEPTH_LIMIT)
        return FAIL_AT(err, event->start_mark, "nested deeper than %d levels", DEPTH_LIMIT);
    if (s->depth > 0)
        WA_TRY(push_entry(s, entry, err));
    s->frames[s->depth++] = (frame){.is_mapping = event->type == YAML_MAPPING_START_EVENT,
                                    .path = entry.path,
                                    .start = event->start_mark,
                                    .entry = s->scan.count == 0 ? 0 : s->scan.count - 1};
    return WA_OK;
}

/* An empty mapping says nothing and does no harm; an empty list might mean "none" or "all". */
static wa_status close_frame(scanner *s, const yaml_event_t *event, wa_error *err)
{
    const frame *top = &s->frames[--s->depth];
    if (s->depth > 0)
        s->scan.entries[top->entry].end = event->end_mark.index;
    if (!top->is_mapping && top->count == 0)
        return FAIL_AT(err, top->start,
                       "'%s' is an empty list; leave the key out to get the default", top->path);
    return WA_OK;
}

static wa_status read_event(scanner *s, const yaml_event_t *event, wa_error *err)
{
    frame *top = s->depth == 0 ? NULL : &s->frames[s->depth - 1];
    bool closes = event->type == YAML_MAPPING_END_EVENT || event->type == YAML_SEQUENCE_END_EVENT;
    if (event->type == YAML_ALIAS_EVENT)
        return FAIL_AT(err, event->start_mark, "alias '*%s', aliases are not allowed",
                       (const char *)event->data.alias.anchor);
    if (event->type == YAML_DOCUMENT_START_EVENT && ++s->documents > 1)
        return FAIL_AT(err, event->start_mark, "a second document, expected one");
    if (top != NULL && top->is_mapping && !top->has_key && !closes)
        return read_key(s, top, event, err);

    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(s, event, err);
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        return open_frame(s, event, err);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        return close_frame(s, event, err);
    default:
        return WA_OK;
    }
}

/* What libyaml found wrong: the reader counts bytes, scanner and parser lines. */
static wa_status parser_failure(const yaml_parser_t *parser, wa_error *err)
{
    const char *problem = parser->problem == NULL ? "unreadable" : parser->problem;
    if (parser->error == YAML_MEMORY_ERROR)
        return wa_fail(err, WA_E_MEMORY, "libyaml has no memory");
    if (parser->error == YAML_READER_ERROR)
        return FAIL_AT(err, parser->mark, "bad YAML: %s; at byte %zu", problem,
                       parser->problem_offset);
    return FAIL_AT(err, parser->problem_mark, "bad YAML: %s", problem);
}

static wa_status walk_events(yaml_parser_t *parser, scanner *s, wa_error *err)
{
    bool ended = false;
    while (!ended) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event))
            return parser_failure(parser, err);
        ended = event.type == YAML_STREAM_END_EVENT;
        wa_status status = read_event(s, &event, err);
        yaml_event_delete(&event);
        WA_TRY(status);
    }
    if (s->documents == 0)
        return wa_fail(err, WA_E_JOB, "the file is empty, expected a job; line 1, column 1");
    return WA_OK;
}

wa_status wa_yaml_scan_run(wa_bytes text, wa_arena *arena, wa_yaml_scan *out, wa_error *err)
{
    if (text.size > FILE_BYTES)
        return wa_fail(err, WA_E_JOB, "%zu bytes, at most %zu are allowed", text.size, FILE_BYTES);
    scanner *s;
    WA_TRY(wa_arena_take(arena, 1, sizeof *s, &s, err));
    s->arena = arena;

    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return wa_fail(err, WA_E_MEMORY, "libyaml has no memory");
    yaml_parser_set_input_string(&parser, text.data == NULL ? (const unsigned char *)"" : text.data,
                                 text.size);
    wa_status status = walk_events(&parser, s, err);
    yaml_parser_delete(&parser);
    if (status == WA_OK)
        *out = s->scan;
    return status;
}

const wa_yaml_entry *wa_yaml_scan_find(const wa_yaml_scan *scan, const char *path)
{
    for (size_t i = 0; i < scan->count; i++)
        if (strcmp(scan->entries[i].path, path) == 0)
            return &scan->entries[i];
    return NULL;
}

/* libcyaml at work: job file to raw job and back, its complaints in our words, and --set. */
#include "job/job_load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { STORY_BYTES = 300, VALUE_LIMIT = 4096 };

/* libcyaml reports through a log: first what is wrong, then "Backtrace:", then places, innermost
 * first. */
typedef struct story {
    char what[STORY_BYTES];
    char where[STORY_BYTES];
    size_t lines;
} story;

static void hear(cyaml_log_t level, void *context, const char *format, va_list args)
{
    story *s = context;
    if (level != CYAML_LOG_ERROR)
        return;
    char *into = s->lines == 0 ? s->what : s->lines == 2 ? s->where : NULL;
    s->lines++;
    if (into != NULL && vsnprintf(into, STORY_BYTES, format, args) < 0)
        into[0] = '\0';
}

/* libcyaml's allocator on the arena. A block remembers its size, since growing means copying; sizes
 * double, since libcyaml grows lists one item at a time. Freeing is the arena's business. */
static void *arena_memory(void *context, void *old, size_t size)
{
    enum { HEADER = 16 };
    if (size == 0)
        return NULL;
    size_t had = 0;
    if (old != NULL)
        memcpy(&had, (char *)old - HEADER, sizeof had);
    if (had >= size)
        return old;
    size_t capacity = had > SIZE_MAX / 4 ? size : size > 2 * had ? size : 2 * had;
    size_t total;
    char *block;
    if (!wa_size_add(capacity, HEADER, &total) ||
        wa_arena_take(context, total, 1, &block, NULL) != WA_OK)
        return NULL;
    memcpy(block, &capacity, sizeof capacity);
    if (old != NULL)
        memcpy(block + HEADER, old, had);
    return block + HEADER;
}

static cyaml_config_t config_of(wa_arena *arena, story *heard)
{
    return (cyaml_config_t){.log_fn = hear,
                            .log_ctx = heard,
                            .mem_fn = arena_memory,
                            .mem_ctx = arena,
                            .log_level = CYAML_LOG_WARNING,
                            .flags = CYAML_CFG_NO_ALIAS | CYAML_CFG_STYLE_BLOCK};
}

wa_status wa_job_note_place(const wa_job_source *source, const char *key, wa_error *err)
{
    size_t length = strlen(key);
    for (size_t i = source->setting_count; i-- > 0;)
        if (strncmp(source->settings[i], key, length) == 0 && source->settings[i][length] == '=')
            return wa_note(err, "from --set");
    const wa_yaml_entry *entry = wa_yaml_scan_find(&source->scan, key);
    if (entry == NULL)
        return err == NULL ? WA_E_JOB : err->status;
    return wa_note(err, "line %zu, column %zu", entry->line, entry->column);
}

/* --- Integers -------------------------------------------------------------------------------- */

/* libcyaml takes 12abc as 12 and 010 as 8; a job means what it says in decimal. */
bool wa_job_int(const char *text, int64_t *out)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    size_t count = strspn(digits, "0123456789");
    if (count == 0 || digits[count] != '\0' || (digits[0] == '0' && count > 1))
        return false;
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno != 0)
        return false;
    *out = value;
    return true;
}

void wa_job_table_name(const char *path, char *out, size_t size)
{
    static const char vindex[] = "audits[].vindexes[].paths[].";
    size_t used = 0;
    for (const char *p = path; *p != '\0' && used + 1 < size; p++) {
        out[used++] = *p;
        if (*p == '[')
            p += strspn(p + 1, "0123456789");
    }
    out[used] = '\0';
    if (strncmp(out, vindex, sizeof vindex - 1) == 0) {
        const char *tail = strstr(out, "paths[].");
        memmove(out, tail, strlen(tail) + 1);
    }
}

static wa_status check_ints(const wa_job_source *source, wa_error *err)
{
    for (size_t i = 0; i < source->scan.count; i++) {
        const wa_yaml_entry *entry = &source->scan.entries[i];
        char name[128];
        wa_job_kind kind = WA_JOB_TEXT;
        int64_t ignored;
        wa_job_table_name(entry->path, name, sizeof name);
        bool is_int = strcmp(name, "captures.layers[]") == 0 || strcmp(name, "paths[].k") == 0 ||
                      strcmp(name, "paths[].k[]") == 0 ||
                      (wa_job_key_kind(name, &kind) && kind == WA_JOB_INT);
        if (is_int && entry->value != NULL && !wa_job_int(entry->value, &ignored))
            return WA_JOB_FAIL(source, entry->path, err, "'%s' is '%s', expected an integer",
                               entry->path, entry->value);
    }
    return WA_OK;
}

/* --- libcyaml's complaints ------------------------------------------------------------------- */

/* libcyaml's and libyaml's words for what a file holds. */
static const char *plain_word(const char *word)
{
    static const struct {
        const char *theirs, *ours;
    } words[] = {{"STRING", "a string"},        {"INT", "an integer"},
                 {"MAPPING", "a mapping"},      {"SEQUENCE", "a list"},
                 {"SCALAR", "a single value"},  {"SEQUENCE_START", "a list"},
                 {"MAPPING_START", "a mapping"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i].theirs, word) == 0)
            return words[i].ours;
    return word;
}

/* The place of an unknown key: it begins after the event that libcyaml names. */
static const wa_yaml_entry *find_key_after(const wa_yaml_scan *scan, const char *key, size_t line,
                                           size_t column)
{
    for (size_t i = 0; i < scan->count; i++) {
        const wa_yaml_entry *entry = &scan->entries[i];
        bool after =
            entry->key_line > line || (entry->key_line == line && entry->key_column > column);
        if (after && strcmp(entry->key, key) == 0)
            return entry;
    }
    return NULL;
}

static wa_status unknown_key(const wa_job_source *source, const char *key, size_t line,
                             size_t column, wa_error *err)
{
    const wa_yaml_entry *entry = find_key_after(&source->scan, key, line, column);
    char name[128], hint[WA_JOB_HINT];
    if (entry == NULL)
        return wa_fail(err, WA_E_JOB, "unknown key '%s'; after line %zu, column %zu", key, line,
                       column);
    wa_job_table_name(entry->path, name, sizeof name);
    wa_job_key_hint(name, hint);
    return wa_fail(err, WA_E_JOB, "unknown key '%s'%s; line %zu, column %zu", entry->path, hint,
                   entry->key_line, entry->key_column);
}

/* What libcyaml was reading: a field, an entry of a list, or the file itself. */
static void name_place(const char *where, const char *field, char *out, size_t room)
{
    if (strstr(where, "in sequence entry") != NULL)
        snprintf(out, room, "an entry of a list");
    else if (field[0] != '\0')
        snprintf(out, room, "'%s'", field);
    else
        snprintf(out, room, "the file");
}

static wa_status retell(const wa_job_source *source, cyaml_err_t code, const story *heard,
                        wa_error *err)
{
    if (code == CYAML_ERR_OOM)
        return wa_fail(err, WA_E_MEMORY, "no memory for the job");
    static const char unknown[] = "Load: Unexpected key: ";
    static const char missing[] = "Load: Missing required mapping field: ";
    char what[STORY_BYTES], expected[32] = "", found[32] = "", field[80] = "";
    snprintf(what, sizeof what, "%s", heard->what);
    what[strcspn(what, "\n")] = '\0';

    size_t line = 1, column = 1;
    const char *place = strstr(heard->where, "(line: ");
    if (place != NULL && sscanf(place, "(line: %zu, column: %zu)", &line, &column) != 2)
        line = column = 1;
    if (sscanf(heard->where, " in mapping field '%79[^']'", field) != 1)
        field[0] = '\0';

    if (strncmp(what, unknown, sizeof unknown - 1) == 0)
        return unknown_key(source, what + sizeof unknown - 1, line, column, err);
    if (strncmp(what, missing, sizeof missing - 1) == 0)
        return wa_fail(err, WA_E_JOB, "key '%s' is missing; after line %zu, column %zu",
                       what + sizeof missing - 1, line, column);
    char name[sizeof field + 2];
    name_place(heard->where, field, name, sizeof name);
    if (sscanf(what, "Load: Expecting %31[A-Z], got event: %31[A-Z_]", expected, found) == 2)
        return wa_fail(err, WA_E_JOB, "%s is %s, expected %s; after line %zu, column %zu", name,
                       plain_word(found), plain_word(expected), line, column);
    return wa_fail(err, WA_E_JOB, "%s: %s; after line %zu, column %zu", cyaml_strerror(code),
                   what[0] == '\0' ? field : what, line, column);
}

/* --- Reading, settings, defaults ------------------------------------------------------------- */

static wa_status load_text(wa_job_source *source, wa_bytes text, wa_error *err)
{
    WA_TRY(wa_yaml_scan_run(text, source->arena, &source->scan, err));
    WA_TRY(check_ints(source, err));
    WA_TRY(wa_job_lists_to_words(source, &text, err));
    story heard = {.lines = 0};
    cyaml_config_t config = config_of(source->arena, &heard);
    void *loaded = NULL;
    cyaml_err_t code =
        cyaml_load_data(text.data, text.size, &config, wa_job_schema(), &loaded, NULL);
    if (code != CYAML_OK)
        return retell(source, code, &heard, err);
    source->raw = loaded;
    if (loaded == NULL) /* an empty mapping */
        WA_TRY(wa_arena_take(source->arena, 1, sizeof *source->raw, &source->raw, err));
    return WA_OK;
}

static wa_status set_scalar(const wa_job_source *source, void *slot, wa_job_kind kind,
                            const char *text, wa_error *err)
{
    if (kind == WA_JOB_INT) {
        int64_t *number;
        WA_TRY(wa_arena_take(source->arena, 1, sizeof *number, &number, err));
        if (!wa_job_int(text, number))
            return wa_fail(err, WA_E_JOB, "found '%s', expected an integer", text);
        memcpy(slot, &number, sizeof number);
        return WA_OK;
    }
    char *copy;
    WA_TRY(wa_arena_copy(source->arena, text, strlen(text), &copy, err));
    memcpy(slot, &copy, sizeof copy);
    return WA_OK;
}

static wa_status check_setting(const char *value, wa_error *err)
{
    size_t length = strlen(value);
    if (length == 0 || length > VALUE_LIMIT)
        return wa_fail(err, WA_E_JOB, "a value of %zu bytes, expected 1 to %d", length,
                       VALUE_LIMIT);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
            return wa_fail(err, WA_E_JOB, "a value with control character 0x%02x",
                           (unsigned)(unsigned char)value[i]);
    return WA_OK;
}

/* A setting of one kind of prompts replaces the other kind, if that came from the file. */
static void drop_other_prompts(const wa_job_source *source, const char *name)
{
    bool file = strcmp(name, "prompts.file") == 0;
    if (!file && strcmp(name, "prompts.builtin") != 0)
        return;
    const char *other = file ? "prompts.builtin=" : "prompts.file=";
    for (size_t i = 0; i < source->setting_count; i++)
        if (strncmp(source->settings[i], other, strlen(other)) == 0)
            return;
    if (file)
        source->raw->prompts->builtin = NULL;
    else
        source->raw->prompts->file = NULL;
}

/* The one scalar of an audit that --set gives: what --reference-dump says. */
static wa_status audit_scalar(const wa_job_source *source, const char *name, void **slot,
                              wa_error *err)
{
    raw_job *raw = source->raw;
    if (strcmp(name, "audits[].reference_dump") != 0)
        return WA_OK;
    if (raw->audits_count != 1)
        return wa_fail(err, WA_E_JOB,
                       "a reference dump belongs to one model, and the job has %u audits: name the "
                       "dump in the job file, key 'reference_dump' of its audit",
                       (unsigned)raw->audits_count);
    *slot = &raw->audits[0].reference_dump;
    return WA_OK;
}

static wa_status apply_setting(const wa_job_source *source, const char *word, wa_error *err)
{
    char name[128];
    const char *equals = strchr(word, '=');
    size_t length = equals == NULL ? 0 : (size_t)(equals - word);
    if (length == 0 || length >= sizeof name)
        return wa_fail(err, WA_E_JOB, "--set '%s', expected KEY=VALUE", word);
    memcpy(name, word, length);
    name[length] = '\0';

    wa_job_kind kind = WA_JOB_TEXT;
    void *slot = wa_job_scalar(source->raw, name, &kind);
    WA_TRY(audit_scalar(source, name, &slot, err));
    if (slot == NULL && wa_job_key_kind(name, &kind))
        return wa_fail(err, WA_E_JOB, "--set '%s': only single values outside lists can be set",
                       name);
    if (slot == NULL) {
        char hint[WA_JOB_HINT];
        wa_job_setting_hint(name, hint);
        return wa_fail(err, WA_E_JOB, "--set '%s': unknown key%s", name, hint);
    }
    wa_status status = check_setting(equals + 1, err);
    if (status == WA_OK)
        status = set_scalar(source, slot, kind, equals + 1, err);
    if (status != WA_OK)
        return wa_note(err, "--set '%s'", name);
    drop_other_prompts(source, name);
    return WA_OK;
}

/* Make the mappings that hold single values, so that every such key has a place. */
static wa_status fill_mappings(wa_job_source *source, bool *had_prompts, wa_error *err)
{
    raw_job *raw = source->raw;
    *had_prompts = raw->prompts != NULL;
    if (raw->prompts == NULL)
        WA_TRY(wa_arena_take(source->arena, 1, sizeof *raw->prompts, &raw->prompts, err));
    if (raw->batch == NULL)
        WA_TRY(wa_arena_take(source->arena, 1, sizeof *raw->batch, &raw->batch, err));
    if (raw->grid == NULL)
        WA_TRY(wa_arena_take(source->arena, 1, sizeof *raw->grid, &raw->grid, err));
    return WA_OK;
}

static wa_status check_prompts(const wa_job_source *source, bool had_prompts, wa_error *err)
{
    const raw_prompts *prompts = source->raw->prompts;
    if (prompts->builtin != NULL && prompts->file != NULL)
        return WA_JOB_FAIL(source, "prompts.file", err,
                           "'prompts' has both 'builtin' and 'file', expected one of them");
    if (had_prompts && prompts->builtin == NULL && prompts->file == NULL && prompts->limit == NULL)
        return WA_JOB_FAIL(source, "prompts", err,
                           "'prompts' has neither 'builtin' nor 'file', expected one of them");
    return WA_OK;
}

/* Fallbacks in the key table are the defaults; those in parentheses depend on other keys. */
static wa_status fill_fallbacks(const wa_job_source *source, wa_error *err)
{
    size_t count;
    const wa_job_key *keys = wa_job_keys(&count);
    for (size_t i = 0; i < count; i++) {
        const char *fallback = keys[i].fallback;
        wa_job_kind kind = WA_JOB_TEXT;
        void *slot = wa_job_scalar(source->raw, keys[i].name, &kind), *value = NULL;
        if (slot == NULL || fallback[0] == '\0' || fallback[0] == '(')
            continue;
        if (strcmp(keys[i].name, "prompts.builtin") == 0 && source->raw->prompts->file != NULL)
            continue;
        memcpy(&value, slot, sizeof value);
        if (value == NULL)
            WA_TRY(set_scalar(source, slot, kind, fallback, err));
    }
    return WA_OK;
}

wa_status wa_job_load(wa_job_source *source, wa_error *err)
{
    wa_map map;
    if (wa_map_open(source->path, &map, err) != WA_OK)
        return err->status = WA_E_JOB; /* a job that cannot be read is a wrong job: exit 2 */
    wa_status status = load_text(source, map.bytes, err);
    wa_map_close(&map);
    WA_TRY(status);

    bool had_prompts;
    WA_TRY(fill_mappings(source, &had_prompts, err));
    for (size_t i = 0; i < source->setting_count; i++)
        WA_TRY(apply_setting(source, source->settings[i], err));
    WA_TRY(check_prompts(source, had_prompts, err));
    WA_TRY(wa_job_expand_lists(source, err));
    return fill_fallbacks(source, err);
}

wa_status wa_job_save(const wa_job_source *source, const char **out, wa_error *err)
{
    story heard = {.lines = 0};
    cyaml_config_t config = config_of(source->arena, &heard);
    char *text = NULL, *copy;
    size_t length = 0;
    cyaml_err_t code = cyaml_save_data(&text, &length, &config, wa_job_schema(), source->raw, 0);
    if (code == CYAML_ERR_OOM)
        return wa_fail(err, WA_E_MEMORY, "no memory for the text of the job");
    if (code != CYAML_OK)
        return wa_fail(err, WA_E_JOB,
                       "the job cannot be written as YAML (%s); are all values UTF-8?",
                       cyaml_strerror(code));
    WA_TRY(wa_arena_copy(source->arena, text, length, &copy, err));
    *out = copy;
    return WA_OK;
}

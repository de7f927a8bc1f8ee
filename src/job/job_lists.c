/* Values that may be a list: several k of one path are as many paths in the job, several url are
 * words of one value. */
#include "job/job_load.h"

#include <stdio.h>
#include <string.h>

static const char NUMBERS[] = "0123456789";

/* A place in UTF-8 text, as libyaml counts (characters, without a byte order mark) and in bytes. It
 * only moves on. */
typedef struct cursor {
    char *text;
    size_t size, character, byte;
} cursor;

static bool begins_character(char byte)
{
    return ((unsigned char)byte & 0xc0U) != 0x80U;
}

/* Byte of a character that does not stand before the last one asked for; the size when the text
 * ends before. */
static size_t move_to(cursor *at, size_t character)
{
    while (at->byte < at->size && at->character < character) {
        at->byte++;
        while (at->byte < at->size && !begins_character(at->text[at->byte]))
            at->byte++;
        at->character++;
    }
    return at->byte;
}

static bool is_number(const char *text)
{
    return text[strspn(text, NUMBERS)] == '\0';
}

/* A word: what has a meaning in YAML, or parts words, is in no URL that is asked. */
static bool is_url(const char *text)
{
    return text[0] != '\0' && text[strcspn(text, " ,\"'\\#&*!|>%@`{}\t\r\n")] == '\0';
}

/* Keys whose value may be a list: what an item is, and the characters that may lie around and in
 * items. */
static const struct list {
    const char *name, *item, *example;
    bool (*holds)(const char *text);
    const char *between; /* in brackets; in lines '-' instead of ',' */
} LISTS[] = {
    {"paths[].k", "an integer above 0", "[64, 256]", is_number, ", \r\n"},
    {"paths[].url", "a URL", "[http://one:8080, http://two:8080]", is_url, ",\"' \r\n"},
};

/* Every item of the list `entry` is what it should be: a list of lists, mappings or other words is
 * refused in its place. */
static wa_status check_items(const wa_job_source *source, const struct list *list,
                             const wa_yaml_entry *entry, wa_error *err)
{
    size_t length = strlen(entry->path);
    for (const wa_yaml_entry *item = entry + 1; item < source->scan.entries + source->scan.count;
         item++) {
        if (strncmp(item->path, entry->path, length) != 0 || item->path[length] != '[')
            return WA_OK;
        if (item->value == NULL || !list->holds(item->value))
            return WA_JOB_FAIL(source, item->path, err, "'%s' is %s%s%s, expected %s", item->path,
                               item->value == NULL ? "a list or mapping" : "'",
                               item->value == NULL ? "" : item->value,
                               item->value == NULL ? "" : "'", list->item);
    }
    return WA_OK;
}

/* Blanks for all that lies between the items of text[from, to). In lines, '-' is between items
 * where it begins one. False when there is more than items: a comment, an anchor, a tag. */
static bool blank_between(const struct list *list, bool brackets, char *text, size_t from,
                          size_t to)
{
    bool begun = false; /* an item of this line */
    for (size_t i = from; i < to; i++) {
        char item[2] = {text[i], '\0'};
        bool dash = !brackets && !begun && text[i] == '-';
        bool apart =
            dash || (strchr(list->between, text[i]) != NULL && (brackets || text[i] != ','));
        if (!apart && !list->holds(item))
            return false;
        begun = text[i] != '\n' && (begun || dash || !apart);
        if (apart && text[i] != '\r' && text[i] != '\n')
            text[i] = ' ';
    }
    return true;
}

/* "[64, 256]" becomes quotes around the same items; "- 64" in lines becomes "  64", words of one
 * value. */
static wa_status rewrite(const wa_job_source *source, const struct list *list,
                         const wa_yaml_entry *entry, cursor *at, wa_error *err)
{
    char *text = at->text;
    size_t start = move_to(at, entry->start), end = move_to(at, entry->end);
    bool brackets = start < end && text[start] == '[' && text[end - 1] == ']';
    size_t skip = brackets ? 1 : 0;
    if (!brackets && (start == end || text[start] != '-'))
        skip = end; /* a list of neither style */
    if (skip == end || !blank_between(list, brackets, text, start + skip, end - skip))
        return WA_JOB_FAIL(source, entry->path, err,
                           "'%s' holds more than its items, expected a plain list such as %s",
                           entry->path, list->example);
    if (brackets)
        text[start] = text[end - 1] = '"';
    return WA_OK;
}

/* The row of LISTS whose list begins at entry i; NULL when none does. */
static const struct list *list_at(const wa_yaml_scan *scan, size_t i)
{
    const wa_yaml_entry *entry = &scan->entries[i];
    char name[128];
    if (entry->value != NULL || i + 1 == scan->count || entry[1].path[strlen(entry->path)] != '[')
        return NULL;
    wa_job_table_name(entry->path, name, sizeof name);
    for (size_t l = 0; l < sizeof LISTS / sizeof LISTS[0]; l++)
        if (strcmp(name, LISTS[l].name) == 0)
            return &LISTS[l];
    return NULL;
}

wa_status wa_job_lists_to_words(const wa_job_source *source, wa_bytes *text, wa_error *err)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    cursor at = {.size = text->size};
    for (size_t i = 0; i < source->scan.count; i++) {
        const struct list *list = list_at(&source->scan, i);
        if (list == NULL)
            continue;
        WA_TRY(check_items(source, list, &source->scan.entries[i], err));
        if (at.text == NULL) {
            WA_TRY(
                wa_arena_copy(source->arena, (const char *)text->data, text->size, &at.text, err));
            at.byte = text->size >= sizeof mark && memcmp(text->data, mark, sizeof mark) == 0
                          ? sizeof mark
                          : 0;
        }
        WA_TRY(rewrite(source, list, &source->scan.entries[i], &at, err));
    }
    if (at.text != NULL)
        text->data = (const uint8_t *)at.text;
    return WA_OK;
}

/* Numbers in the words of a k. */
static size_t count_numbers(const char *k)
{
    size_t count = 0;
    for (k += strcspn(k, NUMBERS); *k != '\0'; k += strcspn(k, NUMBERS)) {
        k += strspn(k, NUMBERS);
        count++;
    }
    return count;
}

static wa_status expand(const wa_job_source *source, const char *prefix, raw_path **paths,
                        uint32_t *count, wa_error *err)
{
    raw_path *out;
    size_t total = 0, filled = 0;
    for (uint32_t i = 0; i < *count; i++)
        total += (*paths)[i].k == NULL ? 1 : count_numbers((*paths)[i].k);
    total += *count; /* those whose k holds no number, to be refused later */
    WA_TRY(wa_arena_take(source->arena, total, sizeof *out, &out, err));
    for (uint32_t i = 0; i < *count; i++) {
        raw_path path = (*paths)[i];
        path.place = i;
        const char *k = path.k;
        size_t several = k == NULL ? 0 : count_numbers(k);
        char key[200];
        snprintf(key, sizeof key, "%s[%u].name", prefix, (unsigned)i);
        if (several > 1 && path.name != NULL)
            return WA_JOB_FAIL(source, key, err,
                               "'%s' would name %zu cases, one for each k; leave it out", key,
                               several);
        for (size_t n = 0; several > 1 && n < several; n++) {
            k += strcspn(k, NUMBERS);
            size_t length = strspn(k, NUMBERS);
            WA_TRY(wa_arena_copy(source->arena, k, length, &path.k, err));
            out[filled++] = path;
            k += length;
        }
        if (several <= 1)
            out[filled++] = path;
    }
    *paths = filled == 0 ? *paths : out;
    *count = (uint32_t)filled;
    return WA_OK;
}

wa_status wa_job_expand_lists(const wa_job_source *source, wa_error *err)
{
    raw_job *raw = source->raw;
    WA_TRY(expand(source, "paths", &raw->paths, &raw->paths_count, err));
    for (uint32_t a = 0; a < raw->audits_count; a++)
        for (uint32_t v = 0; v < raw->audits[a].vindexes_count; v++) {
            char prefix[100];
            snprintf(prefix, sizeof prefix, "audits[%u].vindexes[%u].paths", (unsigned)a,
                     (unsigned)v);
            WA_TRY(expand(source, prefix, &raw->audits[a].vindexes[v].paths,
                          &raw->audits[a].vindexes[v].paths_count, err));
        }
    return WA_OK;
}

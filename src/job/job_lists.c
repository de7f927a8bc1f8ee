/* Several k of one path: a list in the file, as many paths in the job. */
#include "job/job_load.h"

#include <stdio.h>
#include <string.h>

static const char NUMBERS[] = "0123456789";

/* A place in UTF-8 text, as libyaml counts (characters, without a byte order mark) and in bytes. It only moves on. */
typedef struct cursor {
    char *text;
    size_t size, character, byte;
} cursor;

static bool begins_character(char byte)
{
    return ((unsigned char)byte & 0xc0U) != 0x80U;
}

/* Byte of a character that does not stand before the last one asked for; the size when the text ends before. */
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

/* Every item of the list `entry` is a number from 1: one list of lists, mappings or words is refused in its place. */
static wa_status check_items(const wa_job_source *source, const wa_yaml_entry *entry, wa_error *err)
{
    size_t length = strlen(entry->path);
    for (const wa_yaml_entry *item = entry + 1; item < source->scan.entries + source->scan.count; item++) {
        if (strncmp(item->path, entry->path, length) != 0 || item->path[length] != '[')
            return WA_OK;
        if (item->value == NULL || item->value[strspn(item->value, NUMBERS)] != '\0')
            return WA_JOB_FAIL(source, item->path, err, "'%s' is %s%s%s, expected an integer above 0", item->path,
                               item->value == NULL ? "a list or mapping" : "'", item->value == NULL ? "" : item->value,
                               item->value == NULL ? "" : "'");
    }
    return WA_OK;
}

/* "[64, 256]" becomes quotes around the same bytes; "- 64" in lines becomes "  64", words of one value. */
static wa_status rewrite(const wa_job_source *source, const wa_yaml_entry *entry, cursor *at, wa_error *err)
{
    char *text = at->text;
    size_t start = move_to(at, entry->start), end = move_to(at, entry->end);
    bool brackets = start < end && text[start] == '[' && text[end - 1] == ']';
    size_t inner = brackets ? start + 1 : start, last = brackets ? end - 1 : end;
    bool plain = brackets || (start < end && text[start] == '-');
    for (size_t i = inner; plain && i < last; i++)
        plain = strchr(brackets ? "0123456789, \r\n" : "0123456789- \r\n", text[i]) != NULL;
    if (!plain)
        return WA_JOB_FAIL(source, entry->path, err, "'%s' holds more than integers, expected a list such as [64, 256]", entry->path);
    if (brackets)
        text[start] = text[end - 1] = '"';
    for (size_t i = start; !brackets && i < end; i++)
        text[i] = (char)(text[i] == '-' ? ' ' : text[i]);
    return WA_OK;
}

static bool is_list_of_k(const wa_yaml_scan *scan, size_t i)
{
    const wa_yaml_entry *entry = &scan->entries[i];
    char name[128];
    if (strcmp(entry->key, "k") != 0 || entry->value != NULL || i + 1 == scan->count)
        return false;
    wa_job_table_name(entry->path, name, sizeof name);
    return strcmp(name, "paths[].k") == 0 && entry[1].path[strlen(entry->path)] == '[';
}

wa_status wa_job_lists_to_words(const wa_job_source *source, wa_bytes *text, wa_error *err)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    cursor at = {.size = text->size};
    for (size_t i = 0; i < source->scan.count; i++) {
        if (!is_list_of_k(&source->scan, i))
            continue;
        WA_TRY(check_items(source, &source->scan.entries[i], err));
        if (at.text == NULL) {
            WA_TRY(wa_arena_copy(source->arena, (const char *)text->data, text->size, &at.text, err));
            at.byte = text->size >= sizeof mark && memcmp(text->data, mark, sizeof mark) == 0 ? sizeof mark : 0;
        }
        WA_TRY(rewrite(source, &source->scan.entries[i], &at, err));
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

static wa_status expand(const wa_job_source *source, const char *prefix, raw_path **paths, uint32_t *count, wa_error *err)
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
            return WA_JOB_FAIL(source, key, err, "'%s' would name %zu cases, one for each k; leave it out", key, several);
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
            snprintf(prefix, sizeof prefix, "audits[%u].vindexes[%u].paths", (unsigned)a, (unsigned)v);
            WA_TRY(expand(source, prefix, &raw->audits[a].vindexes[v].paths, &raw->audits[a].vindexes[v].paths_count, err));
        }
    return WA_OK;
}

/* The vindexes of a result: their verdicts, and the files that nobody read. */
#include "report/table_parts.h"

#include <string.h>

/* Known names of a line at most; the rest is counted. All are in the result. */
enum { NAMES_SHOWN = 4 };

static const char READ[] = ": read";
static const char NOT_READ[] = ": not read: ";
static const char UNKNOWN[] = ": unknown";
static const char DIFFERS[] = ": read, SHA-256 differs from index.json";
static const char UNNAMED[] = ": read, no SHA-256 in index.json";

/* One line of vindex_files: is it of this kind? *after: what follows the words that say so. */
static bool is_kind(const char *line, size_t length, const char *kind, const char **after)
{
    size_t words = strlen(kind);
    for (size_t i = 0; i + words <= length; i++)
        if (memcmp(line + i, kind, words) == 0) {
            *after = line + i + words;
            return true;
        }
    return false;
}

typedef struct file_counts {
    size_t read, not_read, unknown, unnamed;
    char *names; /* the first that are not read, "a, b"; arena */
} file_counts;

static wa_status count_line(const wa_table *t, const char *line, size_t length, file_counts *c)
{
    const char *after;
    if (is_kind(line, length, NOT_READ, &after)) {
        size_t name = (size_t)(after - line) - strlen(NOT_READ);
        if (c->not_read++ < NAMES_SHOWN)
            return wa_arena_print(t->arena, &c->names, t->err, "%s%s%.*s", c->names,
                                  c->names[0] == '\0' ? "" : ", ", (int)name, line);
    } else if (is_kind(line, length, UNKNOWN, &after)) {
        c->unknown++;
    } else if (is_kind(line, length, READ, &after)) {
        c->read++;
        c->unnamed += is_kind(line, length, UNNAMED, &after) ? 1 : 0;
    }
    return WA_OK;
}

static wa_status count_files(const wa_table *t, const char *text, file_counts *out)
{
    *out = (file_counts){.names = ""};
    for (const char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        WA_TRY(count_line(t, line, length, out));
        line += length + (line[length] == '\n' ? 1 : 0);
    }
    return WA_OK;
}

static wa_status print_file_warnings(const wa_table *t, const char *vindex, const char *text)
{
    for (const char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        const char *after;
        if (is_kind(line, length, UNKNOWN, &after)) {
            char *copy;
            const char *name, *rest;
            WA_TRY(wa_arena_copy(t->arena, line, length, &copy, t->err));
            copy[(size_t)(after - line) - strlen(UNKNOWN)] = '\0';
            WA_TRY(wa_table_text(t, copy, 0, &name));
            WA_TRY(wa_table_text(t, copy + (after - line), 0, &rest));
            fprintf(t->out, "warning: %s: unknown file: %s%s\n", vindex, name, rest);
        } else if (is_kind(line, length, DIFFERS, &after)) {
            fprintf(t->out, "warning: %s: %.*s: not the bytes whose SHA-256 index.json has\n",
                    vindex, (int)((size_t)(after - line) - strlen(DIFFERS)), line);
        }
        line += length + (line[length] == '\n' ? 1 : 0);
    }
    return WA_OK;
}

/* "q4k: interleaved_q4k.bin, down: Q6_K, order of …" */
static wa_status print_orders(const wa_table *t, size_t v, const char *vindex)
{
    const wa_result_meta *meta = &t->result->meta;
    for (size_t p = 0; meta->payload_order != NULL && p < WA_PAYLOAD_COUNT; p++) {
        const char *file, *text;
        WA_TRY(wa_table_text(t, meta->payload_file[v * WA_PAYLOAD_COUNT + p], 0, &file));
        for (const char *line = meta->payload_order[v * WA_PAYLOAD_COUNT + p]; *line != '\0';) {
            size_t length = strcspn(line, "\n");
            char *copy;
            WA_TRY(wa_arena_copy(t->arena, line, length, &copy, t->err));
            WA_TRY(wa_table_text(t, copy, 0, &text));
            fprintf(t->out, "%s: %s, %s\n", vindex, file, text);
            line += length + (line[length] == '\n' ? 1 : 0);
        }
    }
    return WA_OK;
}

static wa_status print_vindex(const wa_table *t, size_t v)
{
    const wa_result_meta *meta = &t->result->meta;
    const wa_vindex_judgement *verdict = &t->judgement->vindexes[v];
    const char *name, *reason, *names;
    file_counts c;
    WA_TRY(wa_table_text(t, meta->vindex_name[v], 0, &name));
    WA_TRY(wa_table_text(t, verdict->reason, 0, &reason));
    WA_TRY(count_files(t, meta->vindex_files[v], &c));
    WA_TRY(wa_table_text(t, c.names, 0, &names));
    fprintf(t->out, "%s: %s%s%s; files: %zu read", name,
            wa_verdict_name((wa_verdict_code)verdict->code), reason[0] == '\0' ? "" : ": ", reason,
            c.read);
    if (c.unnamed > 0)
        fprintf(t->out, " (%zu without SHA-256 in index.json)", c.unnamed);
    if (c.not_read > 0)
        fprintf(t->out, "; not read: %s", names);
    if (c.not_read > NAMES_SHOWN)
        fprintf(t->out, " and %zu more", c.not_read - NAMES_SHOWN);
    fputc('\n', t->out);
    WA_TRY(print_orders(t, v, name));
    return print_file_warnings(t, name, meta->vindex_files[v]);
}

wa_status wa_table_print_vindexes(const wa_table *t)
{
    if (t->result->meta.dims.vindexes > 0)
        fputs("\nVindexes\n", t->out);
    for (size_t v = 0; v < t->result->meta.dims.vindexes; v++)
        WA_TRY(print_vindex(t, v));
    return WA_OK;
}

/* A first pass over a YAML file: where every key and value stands, and what the schema cannot say.
 */
#ifndef WALKAUDIT_JOB_YAML_SCAN_H
#define WALKAUDIT_JOB_YAML_SCAN_H

#include "base/arena.h"
#include "base/bytes.h"

/** One value, with the path that leads to it. */
typedef struct wa_yaml_entry {
    const char *path;            /* "audits[0].model", arena */
    const char *key;             /* last key of the path, arena; "" for an item of a list */
    const char *value;           /* text of a scalar, arena; NULL for a mapping or list */
    size_t line, column;         /* of the value, from 1 */
    size_t key_line, key_column; /* of the key; of the value for an item of a list */
    /* of the value, in characters of the file; end of a list in brackets: behind them */
    size_t start, end;
} wa_yaml_entry;

/** Entries in the order of the file, arena. */
typedef struct wa_yaml_scan {
    wa_yaml_entry *entries;
    size_t count;
} wa_yaml_scan;

/**
 * Walk the events of `text`. libcyaml knows only the position of the event before an error, takes
 * an empty file as a null job, reads `12abc` as 12 and only warns of further documents: this pass
 * refuses what it lets through. Local.
 *
 * Errors: WA_E_JOB with line and column: bad YAML, an empty file, several documents, aliases, keys
 * that are repeated or no scalars, values that are missing, null or empty lists, control
 * characters, excessive size or depth.
 */
WA_CHECKED wa_status wa_yaml_scan_run(wa_bytes text, wa_arena *arena, wa_yaml_scan *out,
                                      wa_error *err);

/** The entry at a path, NULL when there is none. */
const wa_yaml_entry *wa_yaml_scan_find(const wa_yaml_scan *scan, const char *path);

#endif

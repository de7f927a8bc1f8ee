/* What lies in a vindex directory: every entry is read by walk paths, known and not read, or
 * unknown. */
#ifndef WALKAUDIT_VINDEX_INVENTORY_H
#define WALKAUDIT_VINDEX_INVENTORY_H

#include "vindex/vindex.h"

/** One entry of the directory. */
typedef struct wa_vindex_entry {
    const char *name; /* control characters and ':' shown as '?'; arena */
    bool payload;     /* index.json, or a payload or its manifest, which walk paths can read */
    const char *what; /* what a known file is, static; NULL = unknown */
    /* an unknown file's: the absent name that it looks like, static; NULL = none */
    const char *like;
} wa_vindex_entry;

/**
 * The entries of a vindex directory (vindex-format.md 1), sorted by name, without "." and "..".
 * Local. A directory is one entry: what lies in it is not looked at. Names that index.json gives to
 * its fp4 files are known. Of a checkpoint the files that it was opened from, all payloads.
 *
 * Errors: WA_E_IO, WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_vindex_inventory(const wa_vindex *vindex, wa_arena *arena,
                                         wa_vindex_entry **out, size_t *count, wa_error *err);

/**
 * An entry of the directory `path` that no vindex has, by its name alone; of several the first in
 * order. *out NULL = none. Local, arena. Errors: WA_E_IO, WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_vindex_find_foreign(const char *path, wa_arena *arena, const char **out,
                                            wa_error *err);

#endif

/* Tensors of a model file, whatever the container, and a table of them by name. */
#ifndef WALKAUDIT_MODEL_TENSOR_H
#define WALKAUDIT_MODEL_TENSOR_H

#include "base/arena.h"
#include "codec/codec.h"

enum { WA_TENSOR_MAX_RANK = 8 };

/** A stored tensor. `data` covers exactly its elements where the type's size is known. */
typedef struct wa_tensor {
    const char *name;      /* as stored, arena */
    const char *type_name; /* "BF16", "Q4_K"; static or arena */
    wa_format format;      /* WA_FORMAT_COUNT: a type that nothing here decodes */
    size_t rank;
    size_t shape[WA_TENSOR_MAX_RANK]; /* outermost first, the contiguous dimension last */
    wa_bytes data;                    /* borrowed from the file */
} wa_tensor;

/** A tensor under the name by which a family calls it. */
typedef struct wa_tensor_entry {
    const char *name; /* NUL-terminated; the stored name, or its end after a known prefix */
    const wa_tensor *tensor;
} wa_tensor_entry;

/** Sorted by name, no two alike, once wa_tensor_table_sort has succeeded. */
typedef struct wa_tensor_table {
    wa_tensor_entry *entries; /* [count], arena */
    size_t count;
} wa_tensor_table;

/** Sort; two entries of one name are WA_E_FORMAT naming both stored tensors. */
WA_CHECKED wa_status wa_tensor_table_sort(wa_tensor_table *table, wa_error *err);

/** The entry of that name, NULL when there is none. */
const wa_tensor_entry *wa_tensor_table_entry(const wa_tensor_table *table, const char *name);
/** Its tensor, NULL when there is none. */
const wa_tensor *wa_tensor_table_find(const wa_tensor_table *table, const char *name);

/** A name and the bytes that belong to it. */
typedef struct wa_extent {
    const char *name;
    wa_bytes data;
} wa_extent;

/**
 * No two of them share a byte; empty ones share none. Sorts them. `start` is where the file's data
 * begin, from which the message counts. Errors: WA_E_FORMAT naming both and their bytes.
 */
WA_CHECKED wa_status wa_extents_disjoint(wa_extent *extents, size_t count, const uint8_t *start,
                                         wa_error *err);

/** "[2, 32]" into `out` of WA_SHAPE_TEXT bytes; returns `out`. */
enum { WA_SHAPE_TEXT = 24 * WA_TENSOR_MAX_RANK };
const char *wa_tensor_shape_text(const wa_tensor *tensor, char *out);

#endif

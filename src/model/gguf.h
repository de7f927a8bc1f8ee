/* A GGUF container (versions 2 and 3): checked views of its metadata and tensors. No I/O. */
#ifndef WALKAUDIT_MODEL_GGUF_H
#define WALKAUDIT_MODEL_GGUF_H

#include "base/arena.h"
#include "codec/codec.h"

/** Value types of metadata, as numbered in the file (forward-pass.md 1.5). */
typedef enum wa_gguf_value_type {
    WA_GGUF_U8,
    WA_GGUF_I8,
    WA_GGUF_U16,
    WA_GGUF_I16,
    WA_GGUF_U32,
    WA_GGUF_I32,
    WA_GGUF_F32,
    WA_GGUF_BOOL,
    WA_GGUF_STRING,
    WA_GGUF_ARRAY,
    WA_GGUF_U64,
    WA_GGUF_I64,
    WA_GGUF_F64
} wa_gguf_value_type;

/**
 * An array of the metadata: `count` elements of `type` in `size` bytes at `data`, as stored (a
 * string is a u64 length and its bytes). All lengths inside have been checked. Borrowed from the
 * file.
 */
typedef struct wa_gguf_array {
    const uint8_t *data;
    size_t size;
    uint32_t type;
    uint64_t count;
} wa_gguf_array;

enum { WA_GGUF_MAX_DIMS = 4 };

/** A tensor. `data` covers exactly the bytes that its type and dimensions need. */
typedef struct wa_gguf_tensor {
    const char *name;      /* arena */
    const char *type_name; /* "Q4_K", static */
    wa_format format;      /* WA_FORMAT_COUNT: a type of the format that nothing here decodes */
    uint32_t dim_count;    /* 1 to WA_GGUF_MAX_DIMS */
    size_t dims[WA_GGUF_MAX_DIMS]; /* dims[0] is the contiguous one; the unused ones are 1 */
    wa_bytes data;                 /* borrowed from the file */
} wa_gguf_tensor;

typedef struct wa_gguf wa_gguf;

/**
 * Check a whole container: every count and length against the file's size before anything is
 * allocated, alignment, tensor types, dimensions, and ranges. Local.
 *
 * file   borrowed; must outlive *out
 * arena  holds *out, a table of views (no copy of any value)
 *
 * Errors: WA_E_FORMAT with the place and both numbers; WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_gguf_parse(wa_bytes file, wa_arena *arena, wa_gguf **out, wa_error *err);

/** Is the key there, with whatever type? */
bool wa_gguf_has(const wa_gguf *gguf, const char *key);

/* Typed lookups. An absent key or another type is WA_E_FORMAT naming the key. */

/** A string, not NUL-terminated, borrowed. */
WA_CHECKED wa_status wa_gguf_string(const wa_gguf *gguf, const char *key, wa_bytes *out,
                                    wa_error *err);
/** An integer of any width that is not negative; a boolean counts as 0 or 1. */
WA_CHECKED wa_status wa_gguf_u64(const wa_gguf *gguf, const char *key, uint64_t *out,
                                 wa_error *err);
/** A float of either width, widened exactly, or an integer. */
WA_CHECKED wa_status wa_gguf_f64(const wa_gguf *gguf, const char *key, double *out, wa_error *err);
/** A boolean or an integer; any value but 0 is true. */
WA_CHECKED wa_status wa_gguf_bool(const wa_gguf *gguf, const char *key, bool *out, wa_error *err);
WA_CHECKED wa_status wa_gguf_find_array(const wa_gguf *gguf, const char *key, wa_gguf_array *out,
                                        wa_error *err);

/** Take the first string off an array of strings. False when none is left. O(1). */
bool wa_gguf_array_next_string(wa_gguf_array *array, wa_bytes *out);
/** Take the first element off an array of integers or booleans. False when none is left, or it is
 * negative or no integer. */
bool wa_gguf_array_next_u64(wa_gguf_array *array, uint64_t *out);

/** The metadata's keys, sorted, not NUL-terminated, borrowed. */
size_t wa_gguf_key_count(const wa_gguf *gguf);
wa_bytes wa_gguf_key_at(const wa_gguf *gguf, size_t index);
/** Value `index` for a message, cut to `room` bytes: "true", "8", a string itself, "an array of 3";
 * is_off: false, 0 or empty. */
void wa_gguf_value_text(const wa_gguf *gguf, size_t index, char *out, size_t room, bool *is_off);

/** The tensor of that name, NULL when there is none. */
const wa_gguf_tensor *wa_gguf_find_tensor(const wa_gguf *gguf, const char *name);
size_t wa_gguf_tensor_count(const wa_gguf *gguf);
/** Tensor `index` in the order of names. */
const wa_gguf_tensor *wa_gguf_tensor_at(const wa_gguf *gguf, size_t index);

#endif

/* The parsed container, for gguf.c (which fills it) and gguf_lookup.c (which answers from it). */
#ifndef WALKAUDIT_MODEL_GGUF_PRIVATE_H
#define WALKAUDIT_MODEL_GGUF_PRIVATE_H

#include "model/gguf.h"

/* One metadata entry; views into the file. */
typedef struct wa_gguf_entry {
    wa_bytes key;
    uint32_t type;
    wa_bytes value; /* as stored: a string with its length, an array with its type and count */
} wa_gguf_entry;

struct wa_gguf {
    wa_gguf_entry *entries; /* sorted by key, no two alike */
    size_t entry_count;
    wa_gguf_tensor *tensors; /* sorted by name, no two alike */
    size_t tensor_count;
};

/** Bytes of a scalar of that value type; 0 for strings, arrays and unknown types. */
size_t wa_gguf_scalar_size(uint32_t type);

#endif

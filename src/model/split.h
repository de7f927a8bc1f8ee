/* Names of the parts of a split GGUF: "model-00002-of-00003.gguf", counted from 1. No I/O. */
#ifndef WALKAUDIT_MODEL_SPLIT_H
#define WALKAUDIT_MODEL_SPLIT_H

#include "base/arena.h"

/** What a name says. number 1, count 1: a file that is whole. */
typedef struct wa_split {
    size_t number, count; /* 1 <= number <= count <= 99999 */
    size_t stem;          /* bytes of the path before "-00002-of-" */
} wa_split;

/** By the end of the path; a name of another form is that of a whole file. */
wa_split wa_split_of(const char *path);

/** The path of part `number` of the split to which `path` belongs; a whole file is its own. In
 * `arena`. Errors: WA_E_MEMORY. */
WA_CHECKED wa_status wa_split_part(const char *path, size_t number, wa_arena *arena, char **out,
                                   wa_error *err);

#endif

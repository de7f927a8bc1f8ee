/* A reference dump: dense FFN inputs, outputs and logits by another implementation, in an HDF5
 * file. doc/reference-dump.md. */
#ifndef WALKAUDIT_STORE_DUMP_H
#define WALKAUDIT_STORE_DUMP_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

/** What it must be a dump of. Borrowed for the call. */
typedef struct wa_dump_subject {
    const char *semantics; /* name of its root group */
    size_t layers, hidden, vocab, prompts;
    const char *const *key; /* [prompts] */
    const size_t *rows;     /* [prompts] */
    const int32_t *ids;     /* [sum of rows], prompts end to end */
} wa_dump_subject;

typedef enum wa_dump_tensor {
    WA_DUMP_X,
    WA_DUMP_Y,
    WA_DUMP_LOGITS,
    WA_DUMP_TENSORS
} wa_dump_tensor;

typedef struct wa_dump wa_dump;

/**
 * Open a dump and check the shapes and token ids of every prompt of the job that it has. Local;
 * close with wa_dump_close.
 *
 * Errors, one line each with file, dataset, found and expected: WA_E_IO, WA_E_FORMAT (no such group
 * or dataset, shape, type), WA_E_MISMATCH (other token ids, or none of the job's prompts).
 */
WA_CHECKED wa_status wa_dump_open(const char *path, const wa_dump_subject *subject, wa_arena *arena,
                                  wa_dump **out, wa_error *err);
/** May be NULL. */
void wa_dump_close(wa_dump *dump);
/** Has it this prompt of the job? */
bool wa_dump_has(const wa_dump *dump, size_t prompt);
/**
 * Values [first, first + count) of one row, of a prompt that it has: x and y of (layer, position),
 * logits of position (layer is not looked at). Local. Errors: WA_E_FORMAT.
 */
WA_CHECKED wa_status wa_dump_read(const wa_dump *dump, wa_dump_tensor tensor, size_t prompt,
                                  size_t layer, size_t position, size_t first, size_t count,
                                  double *out, wa_error *err);

#endif

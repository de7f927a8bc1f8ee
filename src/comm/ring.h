/* A ring of messages in memory that ranks of one host share: one writes, others read, and nobody
 * waits for a system call. */
#ifndef WALKAUDIT_COMM_RING_H
#define WALKAUDIT_COMM_RING_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** How one is laid out; equal for all who use it. */
typedef struct wa_ring_shape {
    size_t depth;   /* messages it holds; at least 1 */
    size_t bytes;   /* of the largest message */
    size_t readers; /* each reads every message */
} wa_ring_shape;

/** One rank's end of a ring. A plain value; memory NULL = there is none. */
typedef struct wa_ring {
    uint8_t *memory; /* owned: mapped, see wa_ring_close */
    size_t size;     /* of the mapping */
    wa_ring_shape shape;
    size_t reader; /* the index of this end, where it reads */
} wa_ring;

/** Bytes for names of shared memory, NUL included. */
enum { WA_RING_NAME = 64 };

/** Local. Bytes that a ring takes; false: they overflow. */
bool wa_ring_size(const wa_ring_shape *shape, size_t *out);
/** Local, the writer. Make shared memory `name` and an empty ring in it; every page of it is taken
 * now, so that none can be refused later. Errors: WA_E_MEMORY, where the system has no shared
 * memory of that size. */
WA_CHECKED wa_status wa_ring_make(const char *name, const wa_ring_shape *shape, wa_ring *out,
                                  wa_error *err);
/** Local, a reader. Map what the writer has made. Errors: WA_E_MEMORY, where it is not to be seen
 * from here. */
WA_CHECKED wa_status wa_ring_join(const char *name, const wa_ring_shape *shape, size_t reader,
                                  wa_ring *out, wa_error *err);
/** Take the name away; those who have the ring keep it, and nothing is left when they end, however
 * they end. */
void wa_ring_unname(const char *name);
/** Unmap. Others keep theirs. */
void wa_ring_close(wa_ring *ring);

/** The place of the first message, [shape.bytes], for those who use a ring as memory that all may
 * write: zeros before anybody does. Aligned to 64 bytes. */
uint8_t *wa_ring_board(const wa_ring *ring);

/** The writer: room for the next message, [shape.bytes], aligned to 64 bytes; NULL while some
 * reader still needs all. */
uint8_t *wa_ring_claim(const wa_ring *ring);
/** The writer: what was claimed is a message now. */
void wa_ring_publish(const wa_ring *ring);
/** A reader: the oldest message that it has not dropped, valid until then; NULL: there is none
 * yet. */
const uint8_t *wa_ring_peek(const wa_ring *ring);
/** A reader: that message is not needed any more. */
void wa_ring_drop(const wa_ring *ring);

#endif

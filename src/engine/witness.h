/* What a rank computes with is what stands in its files at the end. Of a file whose size and time
 * are as before, while its status is not, only the bytes tell. */
#ifndef WALKAUDIT_ENGINE_WITNESS_H
#define WALKAUDIT_ENGINE_WITNESS_H

#include "base/arena.h"
#include "base/digest.h"

/** Digests of spans of mapped files, each taken before this rank first computed with it. */
typedef struct wa_witness {
    wa_arena *arena; /* of this alone; borrowed */
    struct wa_witnessed *seen;
    size_t count, room;
    size_t *slots; /* [slot_count, a power of 2] index + 1 into seen, 0 = free, by address */
    size_t slot_count;
    /* [hashed_count] mapped files of which somebody has a digest of all bytes; borrowed */
    const wa_bytes *hashed;
    size_t hashed_count;
} wa_witness;

/** Take the digest of a span, unless it is there or its file's is. Local; reads the span. Errors:
 * WA_E_MEMORY. */
WA_CHECKED wa_status wa_witness_take(wa_witness *witness, wa_bytes span, wa_error *err);
/** After wa_opened_check: compare what lies in files that were touched. Local. WA_E_MISMATCH, naming
 * the file. */
WA_CHECKED wa_status wa_witness_check(const wa_witness *witness, wa_error *err);

#endif

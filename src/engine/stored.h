/* Stored numbers as a run knows them again: digests of what the encoding check compared. */
#ifndef WALKAUDIT_ENGINE_STORED_H
#define WALKAUDIT_ENGINE_STORED_H

#include "base/digest.h"
#include "vindex/vindex.h"

/** A projection of a layer in a payload. */
typedef struct wa_stored_place {
    const wa_vindex *vindex;
    size_t layer;
    wa_payload payload;
    wa_projection projection;
} wa_stored_place;

/**
 * Of its stored bytes; of several matrices, the digest of their digests. Adds what was read to
 * *bytes. Local.
 *
 * arena  given back before the return. Errors: WA_E_INTERNAL (nothing is stored there),
 *        WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_stored_digest(const wa_stored_place *place, wa_arena *arena,
                                      wa_short_digest *out, double *bytes, wa_error *err);

#endif

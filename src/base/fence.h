/* Memory lent to code that is not ours: a mapping of its own between two pages that nobody may
 * touch. */
#ifndef WALKAUDIT_BASE_FENCE_H
#define WALKAUDIT_BASE_FENCE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

/** A plain value; zeroed = nothing mapped yet. */
typedef struct wa_fence {
    unsigned char *map; /* owned: guard page, inner bytes, guard page; NULL = none */
    size_t page, inner; /* of a page; between the guard pages */
    size_t used;        /* bytes of the place in use */
    bool locked;
} wa_fence;

/** What was touched beside a place, or that nothing was. */
typedef enum wa_fence_side { WA_FENCE_WHOLE, WA_FENCE_BEFORE, WA_FENCE_AFTER } wa_fence_side;

/** Alignment of a place in bytes, promised by walkaudit/external.h. */
enum { WA_FENCE_ALIGNMENT = 64 };

/**
 * A place of so many bytes, writable, aligned to 64 bytes, whose end is a guard page but for the
 * fewer than 64 bytes that the alignment leaves. Those, and as many as 64 in front of it, hold a
 * pattern. Maps more when needed: an earlier place is then gone. Errors: WA_E_MEMORY. Local.
 */
WA_CHECKED wa_status wa_fence_place(wa_fence *fence, size_t bytes, void *out_pointer,
                                    wa_error *err);
/** Make the place read-only until the next one is asked for. Errors: WA_E_INTERNAL. */
WA_CHECKED wa_status wa_fence_lock(wa_fence *fence, wa_error *err);
/** Is the pattern around the place as it was? */
wa_fence_side wa_fence_check(const wa_fence *fence);
/** Where an address lies: WA_FENCE_WHOLE in the mapping but in no guard page; false: in none of
 * this mapping. Safe in a handler. */
bool wa_fence_has(const wa_fence *fence, const void *address, wa_fence_side *out);
void wa_fence_close(wa_fence *fence);

#endif

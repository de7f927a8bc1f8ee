/* Digests of what a rank computes with, held against the files when the run ends. */
#include "engine/witness.h"

typedef struct wa_witnessed {
    wa_bytes span;
    wa_short_digest digest;
} wa_witnessed;

static bool is_hashed(const wa_witness *witness, const void *at)
{
    for (size_t i = 0; i < witness->hashed_count; i++) {
        uintptr_t start = (uintptr_t)witness->hashed[i].data;
        if ((uintptr_t)at >= start && (uintptr_t)at - start < witness->hashed[i].size)
            return true;
    }
    return false;
}

wa_status wa_witness_take(wa_witness *witness, wa_bytes span, wa_error *err)
{
    wa_witnessed one = {.span = span};
    if (span.size == 0 || is_hashed(witness, span.data))
        return WA_OK;
    for (size_t i = 0; i < witness->count; i++)
        if (witness->seen[i].span.data == span.data && witness->seen[i].span.size >= span.size)
            return WA_OK;
    WA_TRY(wa_digest_short(span, &one.digest, err));
    WA_TRY(wa_arena_grow(witness->arena, &witness->seen, witness->count, &witness->room,
                         sizeof *witness->seen, err));
    witness->seen[witness->count++] = one;
    return WA_OK;
}

wa_status wa_witness_check(const wa_witness *witness, wa_error *err)
{
    for (size_t i = 0; i < witness->count; i++) {
        const wa_witnessed *then = &witness->seen[i];
        const char *path = wa_maps_touched(then->span.data);
        wa_short_digest now;
        if (path == NULL)
            continue;
        WA_TRY(wa_digest_short(then->span, &now, err));
        if (now.high != then->digest.high || now.low != then->digest.low)
            return wa_fail(err, WA_E_MISMATCH,
                           "an input changed while this run read it, and its time was set back; "
                           "in file '%s'; start again with --fresh",
                           path);
    }
    return WA_OK;
}

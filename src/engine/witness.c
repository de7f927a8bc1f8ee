/* Digests of what a rank computes with, held against the files when the run ends. */
#include "engine/witness.h"

#include "base/opened.h"

typedef struct wa_witnessed {
    wa_bytes span;
    wa_short_digest digest;
} wa_witnessed;

static bool is_hashed(const wa_witness *witness, const void *at)
{
    for (size_t i = 0; i < witness->hashed_count; i++)
        if (wa_bytes_hold(witness->hashed[i], at))
            return true;
    return false;
}

/* The slot of a span that has this one's start and reaches as far, or the free one for it. */
static size_t *find_slot(const wa_witness *witness, wa_bytes span)
{
    static const uint64_t spread = 0x9e3779b97f4a7c15; /* 2^64 over the golden ratio */
    size_t mask = witness->slot_count - 1;
    for (size_t at = (size_t)(((uintptr_t)span.data * spread) >> 32) & mask;;
         at = (at + 1) & mask) {
        size_t *slot = &witness->slots[at];
        if (*slot == 0)
            return slot;
        const wa_bytes *there = &witness->seen[*slot - 1].span;
        if (there->data == span.data && there->size >= span.size)
            return slot;
    }
}

/* At most half of the slots are taken. A model has as many spans as experts. */
static wa_status make_slots(wa_witness *witness, wa_error *err)
{
    enum { FIRST_SLOTS = 1024 };
    if (witness->count < witness->slot_count / 2)
        return WA_OK;
    size_t count = witness->slot_count == 0 ? FIRST_SLOTS : 2 * witness->slot_count;
    WA_TRY(wa_arena_take(witness->arena, count, sizeof *witness->slots, &witness->slots, err));
    witness->slot_count = count;
    for (size_t i = 0; i < witness->count; i++)
        *find_slot(witness, witness->seen[i].span) = i + 1;
    return WA_OK;
}

wa_status wa_witness_take(wa_witness *witness, wa_bytes span, wa_error *err)
{
    wa_witnessed one = {.span = span};
    if (span.size == 0 || is_hashed(witness, span.data))
        return WA_OK;
    WA_TRY(make_slots(witness, err));
    size_t *slot = find_slot(witness, span);
    if (*slot != 0)
        return WA_OK;
    WA_TRY(wa_digest_short(span, &one.digest, err));
    WA_TRY(wa_arena_grow(witness->arena, &witness->seen, witness->count, &witness->room,
                         sizeof *witness->seen, err));
    witness->seen[witness->count++] = one;
    *slot = witness->count;
    return WA_OK;
}

wa_status wa_witness_check(const wa_witness *witness, wa_error *err)
{
    for (size_t i = 0; i < witness->count; i++) {
        const wa_witnessed *then = &witness->seen[i];
        const char *path = wa_opened_touched(then->span.data);
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

/* Are the stored payloads still the bytes that were audited? A file's size and time can be kept
 * while its bytes change. */
#include "engine/inputs.h"
#include "engine/stored.h"

static wa_status digest_one(const wa_matrix *stored, wa_short_digest *out, double *bytes,
                            wa_error *err)
{
    wa_bytes span = wa_matrix_span(stored), scales = wa_matrix_scale_span(stored);
    wa_short_digest both[2];
    *bytes += (double)span.size;
    if (stored->scales.data == NULL)
        return wa_digest_short(span, out, err);
    *bytes += (double)scales.size;
    WA_TRY(wa_digest_short(span, &both[0], err));
    WA_TRY(wa_digest_short(scales, &both[1], err));
    return wa_digest_short((wa_bytes){(const uint8_t *)both, sizeof both}, out, err);
}

wa_status wa_stored_digest(const wa_stored_place *place, wa_arena *arena, wa_short_digest *out,
                           double *bytes, wa_error *err)
{
    size_t count = wa_vindex_stack(place->vindex, place->payload, place->projection, place->layer);
    wa_short_digest *each;
    wa_matrix stored;
    wa_mark mark = wa_arena_mark(arena);
    WA_TRY(wa_arena_take(arena, count, sizeof *each, &each, err));
    wa_status status = count > 0
                           ? WA_OK
                           : wa_fail(err, WA_E_INTERNAL,
                                     "layer %zu: nothing is stored to be digested", place->layer);
    for (size_t i = 0; i < count && status == WA_OK; i++) {
        status = wa_vindex_stack_matrix(place->vindex, place->payload, place->projection,
                                        place->layer, i, &stored, err);
        if (status == WA_OK)
            status = digest_one(&stored, &each[i], bytes, err);
    }
    if (status == WA_OK && count == 1)
        *out = each[0];
    else if (status == WA_OK)
        status = wa_digest_short((wa_bytes){(const uint8_t *)each, count * sizeof *each}, out, err);
    wa_arena_release(arena, mark);
    return status;
}

/* What number i of the axes vindex, payload, layer, projection stands for. */
static wa_stored_place place_of(const wa_audit *audit, size_t i)
{
    size_t layers = audit->model->layer_count, owner = i / WA_PROJECTION_COUNT / layers;
    return (wa_stored_place){.projection = (wa_projection)(i % WA_PROJECTION_COUNT),
                             .layer = i / WA_PROJECTION_COUNT % layers,
                             .payload = (wa_payload)(owner % WA_PAYLOAD_COUNT),
                             .vindex = audit->vindexes[owner / WA_PAYLOAD_COUNT]};
}

static wa_status check_one(const wa_audit *audit, const wa_stored_place *at,
                           const wa_short_digest *then, double *bytes, wa_error *err)
{
    wa_matrix stored;
    wa_short_digest now;
    WA_TRY(wa_vindex_stack_matrix(at->vindex, at->payload, at->projection, at->layer, 0, &stored,
                                  err));
    WA_TRY(wa_stored_digest(at, audit->arena, &now, bytes, err));
    if (now.high == then->high && now.low == then->low)
        return WA_OK;
    return wa_fail(err, WA_E_MISMATCH,
                   "layer %zu, %s: the stored bytes are not those that were audited "
                   "(digest %016llx…, expected %016llx…), though size and time are the same; in "
                   "file '%s' of vindex '%s'; start "
                   "again with --fresh",
                   at->layer, wa_projection_name(at->projection), (unsigned long long)now.high,
                   (unsigned long long)then->high, stored.name, at->vindex->path);
}

wa_status wa_audit_check_payload(const wa_audit *audit, const wa_payload_digests *then, size_t i,
                                 double *bytes, wa_error *err)
{
    wa_stored_place at = place_of(audit, i);
    wa_short_digest digest = {then->high[i], then->low[i]};
    return check_one(audit, &at, &digest, bytes, err);
}

/* Are the stored payloads still the bytes that were audited? A file's size and time can be kept while its bytes change. */
#include "base/digest.h"
#include "engine/inputs.h"

/* What number i of the axes vindex, payload, layer, projection stands for. */
typedef struct place {
    size_t vindex, layer;
    wa_payload payload;
    wa_projection projection;
} place;

static place place_of(size_t i, size_t layers)
{
    size_t owner = i / WA_PROJECTION_COUNT / layers;
    return (place){.projection = (wa_projection)(i % WA_PROJECTION_COUNT),
                   .layer = i / WA_PROJECTION_COUNT % layers,
                   .payload = (wa_payload)(owner % WA_PAYLOAD_COUNT),
                   .vindex = owner / WA_PAYLOAD_COUNT};
}

static wa_status check_one(const wa_audit *audit, const place *at, const wa_short_digest *then, double *bytes,
                           wa_error *err)
{
    const wa_vindex *vindex = audit->vindexes[at->vindex];
    wa_case reader = {.source = {[WA_GATE] = {.payload = at->payload},
                                 [WA_UP] = {.payload = at->payload},
                                 [WA_DOWN] = {.payload = at->payload}}};
    wa_matrix stored;
    wa_short_digest now;
    WA_TRY(wa_case_stored(&reader, vindex, at->projection, at->layer, &stored, err));
    WA_TRY(wa_digest_short((wa_bytes){stored.data, wa_matrix_bytes(&stored)}, &now, err));
    *bytes += (double)wa_matrix_bytes(&stored);
    if (now.high == then->high && now.low == then->low)
        return WA_OK;
    return wa_fail(err, WA_E_MISMATCH,
                   "layer %zu, %s: the stored bytes are not those that were audited "
                   "(digest %016llx…, expected %016llx…), though size and time are the same; in file '%s' of vindex '%s'; start "
                   "again with --fresh",
                   at->layer, wa_projection_name(at->projection), (unsigned long long)now.high,
                   (unsigned long long)then->high, stored.name, vindex->path);
}

wa_status wa_audit_check_payload(const wa_audit *audit, const wa_payload_digests *then, size_t i, double *bytes,
                                 wa_error *err)
{
    place at = place_of(i, audit->model->layer_count);
    wa_short_digest digest = {then->high[i], then->low[i]};
    return check_one(audit, &at, &digest, bytes, err);
}

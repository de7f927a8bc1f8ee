/* Digests of stored payloads, read back from a result or from the part that carries the row
 * errors. */
#include "store/part.h"
#include "store/parts.h"
#include "store/result.h"

#include <string.h>

static wa_status load(wa_hid file, const wa_extents *x, wa_arena *arena, wa_payload_digests *out,
                      wa_error *err)
{
    size_t count = x->dims.vindexes * WA_PAYLOAD_COUNT * x->dims.layers * WA_PROJECTION_COUNT;
    const int8_t *checked;
    const int64_t *high, *low;
    WA_TRY(wa_dataset_load(file, "row_err_checked", x, arena, &checked, err));
    WA_TRY(wa_dataset_load(file, "payload_digest_high", x, arena, &high, err));
    WA_TRY(wa_dataset_load(file, "payload_digest_low", x, arena, &low, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *out->checked, &out->checked, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *out->high, &out->high, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *out->low, &out->low, err));
    if (count > 0) {
        memcpy(out->checked, checked, count * sizeof *checked);
        memcpy(out->high, high, count * sizeof *high);
        memcpy(out->low, low, count * sizeof *low);
    }
    out->count = count;
    return WA_OK;
}

static wa_status load_part(wa_hid part, const wa_extents *x, wa_arena *arena,
                           wa_payload_digests *out, wa_error *err)
{
    bool has_encoding;
    WA_TRY(wa_part_has_encoding(part, &has_encoding, err));
    return has_encoding ? load(part, x, arena, out, err) : WA_OK;
}

wa_status wa_payload_digests_load(const char *result_path, const wa_result_meta *meta,
                                  const wa_batch *part, wa_arena *arena, wa_payload_digests *out,
                                  wa_error *err)
{
    char path[WA_NAME_BYTES];
    wa_hid file;
    bool finished = part == NULL;
    wa_extents x = {.dims = finished ? meta->dims : wa_part_dims(&meta->dims, part)};
    wa_payload_digests found = {.count = 0};
    wa_hdf5_quiet();
    if (finished) {
        WA_TRY(wa_result_file_open(result_path, &file, err));
    } else {
        WA_TRY(wa_part_name(result_path, part, path, err));
        WA_TRY(wa_part_open(path, NULL, part, &meta->dims, &file, err));
    }
    wa_status status =
        finished ? load(file, &x, arena, &found, err) : load_part(file, &x, arena, &found, err);
    if (status != WA_OK)
        wa_note(err, "in file '%s'", finished ? result_path : path);
    WA_TRY(wa_hdf5_close(file, status, err));
    *out = found;
    return WA_OK;
}

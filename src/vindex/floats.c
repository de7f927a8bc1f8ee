/* Files whose place and size follow from the layer table alone: gate, features, interleaved (f32
 * and Q4_0), embeddings. */
#include "vindex/parts.h"

#include <stdlib.h>

static wa_status map_payload(wa_vindex_build *build, wa_payload payload, bool *found, wa_error *err)
{
    return wa_vindex_map_file(build, wa_payload_file(payload), &build->maps->payload[payload],
                              found, err);
}

/* With `layers: []` no size is known; the files stay unread since no layer has a feature. */
static wa_status accept_unsized(wa_vindex_build *build, wa_payload payload, wa_error *err)
{
    build->vindex->present[payload] = true;
    return wa_vindex_remark(build, err,
                            "%s: %zu bytes, not checked, since index.json lists no layers",
                            wa_payload_file(payload), build->maps->payload[payload].bytes.size);
}

static bool is_canonical(const wa_vindex *vindex)
{
    uint64_t row = (uint64_t)vindex->hidden * wa_format_get(vindex->gate_format)->block_bytes;
    for (size_t l = 0; l < vindex->layer_count; l++)
        if (vindex->layers[l].gate_offset != vindex->layers[l].feature_start * row)
            return false;
    return true;
}

typedef struct gate_range {
    uint64_t begin, end;
    size_t layer;
} gate_range;

static int by_begin(const void *a, const void *b)
{
    const gate_range *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Ranges must lie in the file and apart from each other. Empty ones touch nothing. */
static wa_status check_gate_ranges(const wa_vindex_build *build, size_t size, wa_error *err)
{
    const wa_vindex *vindex = build->vindex;
    size_t row = vindex->hidden * wa_format_get(vindex->gate_format)->block_bytes;
    gate_range *ranges;
    size_t count = 0;
    WA_TRY(wa_arena_take(build->arena, vindex->layer_count, sizeof *ranges, &ranges, err));
    for (size_t l = 0; l < vindex->layer_count; l++) {
        uint64_t offset = vindex->layers[l].gate_offset;
        size_t length = vindex->layers[l].features * row;
        if (offset > size || length > size - offset)
            return wa_fail(err, WA_E_FORMAT,
                           "layer %zu: offset %llu + length %zu exceeds the file's %zu bytes", l,
                           (unsigned long long)offset, length, size);
        if (length > 0)
            ranges[count++] = (gate_range){.begin = offset, .end = offset + length, .layer = l};
    }
    qsort(ranges, count, sizeof *ranges, by_begin);
    for (size_t i = 1; i < count; i++)
        if (ranges[i].begin < ranges[i - 1].end)
            return wa_fail(
                err, WA_E_FORMAT,
                "gate ranges of layers %zu and %zu overlap: [%llu, %llu) and [%llu, %llu)",
                ranges[i - 1].layer, ranges[i].layer, (unsigned long long)ranges[i - 1].begin,
                (unsigned long long)ranges[i - 1].end, (unsigned long long)ranges[i].begin,
                (unsigned long long)ranges[i].end);
    return WA_OK;
}

/* V3. A file with the offsets every writer emits must have exactly their sum of bytes. */
static wa_status check_gate(const wa_vindex_build *build, wa_error *err)
{
    const wa_vindex *vindex = build->vindex;
    size_t size = build->maps->payload[WA_PAYLOAD_GATE].bytes.size;
    size_t expected = build->maps->feature_total * vindex->hidden *
                      wa_format_get(vindex->gate_format)->block_bytes;
    if (!is_canonical(vindex))
        return check_gate_ranges(build, size, err);
    if (size != expected)
        return wa_fail(err, WA_E_FORMAT, "%zu of %zu bytes (%zu features x %zu %s)", size, expected,
                       build->maps->feature_total, vindex->hidden,
                       wa_format_get(vindex->gate_format)->name);
    return WA_OK;
}

/* V5, V6. The products below cannot overflow: index.json's were checked with the factor 12. */
static wa_status check_f32_file(const wa_vindex_build *build, wa_payload payload, wa_error *err)
{
    size_t matrices = payload == WA_PAYLOAD_INTERLEAVED ? 3 : 1;
    size_t size = build->maps->payload[payload].bytes.size;
    size_t expected = matrices * 4 * build->vindex->hidden * build->maps->feature_total;
    if (size == expected)
        return WA_OK;
    /* A whole number of layers missing halves the file too; an f16 payload is not told from it by
     * size. */
    if (expected % 2 == 0 && size == expected / 2)
        return wa_fail(
            err, WA_E_FORMAT,
            "%zu of %zu bytes: exactly half, an f16 payload in an f32-only file or a file cut "
            "short",
            size, expected);
    return wa_fail(err, WA_E_FORMAT, "%zu of %zu bytes", size, expected);
}

/* V6 for interleaved_q4.bin: the layer stride is a layer's own size, so all must be equal
 * (vindex-format 4.3). */
static wa_status check_q4(const wa_vindex_build *build, wa_error *err)
{
    const wa_vindex *vindex = build->vindex;
    size_t size = build->maps->payload[WA_PAYLOAD_INTERLEAVED_Q4].bytes.size;
    if (vindex->hidden % 32 != 0)
        return wa_fail(err, WA_E_FORMAT,
                       "hidden_size %zu, expected a multiple of 32: Q4_0 blocks would "
                       "cross rows",
                       vindex->hidden);
    for (size_t l = 1; l < vindex->layer_count; l++)
        if (vindex->layers[l].features != vindex->layers[0].features)
            return wa_fail(
                err, WA_E_FORMAT,
                "layer %zu has %zu features, layer 0 has %zu: the format needs equal counts", l,
                vindex->layers[l].features, vindex->layers[0].features);
    size_t expected = 3 * 18 * (vindex->hidden / 32) * build->maps->feature_total;
    if (size != expected)
        return wa_fail(err, WA_E_FORMAT, "%zu of %zu bytes", size, expected);
    return WA_OK;
}

static wa_status check_payload(const wa_vindex_build *build, wa_payload payload, wa_error *err)
{
    if (payload == WA_PAYLOAD_GATE)
        return check_gate(build, err);
    if (payload == WA_PAYLOAD_INTERLEAVED_Q4)
        return check_q4(build, err);
    return check_f32_file(build, payload, err);
}

/* Feature counts came from the K-quant manifest: no entry of index.json says where a gate row
 * is. */
static wa_status refuse_unlisted_gate(wa_vindex_build *build, wa_error *err)
{
    bool there;
    WA_TRY(wa_vindex_has_entry(build, wa_payload_file(WA_PAYLOAD_GATE), &there, err));
    return there ? wa_vindex_reject(build, WA_PAYLOAD_GATE,
                                    "is not read, since index.json lists no layers", err)
                 : WA_OK;
}

static wa_status open_payload(wa_vindex_build *build, wa_payload payload, wa_error *err)
{
    bool found;
    if (payload == WA_PAYLOAD_GATE && build->maps->layers_from_manifest)
        return refuse_unlisted_gate(build, err);
    WA_TRY(map_payload(build, payload, &found, err));
    if (!found)
        return WA_OK;
    build->vindex->readable[payload] = true;
    if (!build->maps->layers_listed)
        return accept_unsized(build, payload, err);
    if (check_payload(build, payload, err) != WA_OK)
        return wa_note(err, "in file '%s'", wa_payload_file(payload));
    build->vindex->present[payload] = true;
    return WA_OK;
}

/* V4. The size is the only thing that tells f32 from f16 (vindex-format 2.5). */
static wa_status check_embeddings(wa_vindex_build *build, wa_error *err)
{
    static const char name[] = "embeddings.bin";
    wa_map map = {.bytes = {.data = NULL, .size = 0}};
    bool found;
    WA_TRY(wa_vindex_map_side(build, name, &map, &found, err));
    size_t size = map.bytes.size;
    wa_map_close(&map);
    if (!found)
        return WA_OK;
    size_t halves = build->vindex->vocab * build->vindex->hidden * 2;
    if (size != halves && size != 2 * halves)
        return wa_fail(err, WA_E_FORMAT, "%zu bytes, expected %zu (f32) or %zu (f16); in file '%s'",
                       size, 2 * halves, halves, name);
    return WA_OK;
}

wa_status wa_vindex_floats_open(wa_vindex_build *build, wa_error *err)
{
    static const wa_payload computed[] = {WA_PAYLOAD_GATE, WA_PAYLOAD_UP_FEATURES,
                                          WA_PAYLOAD_DOWN_FEATURES, WA_PAYLOAD_INTERLEAVED,
                                          WA_PAYLOAD_INTERLEAVED_Q4};
    for (size_t i = 0; i < sizeof computed / sizeof computed[0]; i++)
        WA_TRY(open_payload(build, computed[i], err));
    return check_embeddings(build, err);
}

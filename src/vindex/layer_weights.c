/* layers/layer_NN.weights: per-layer experts. Only their structure is checked, no walk path reads them
 * (V12, vindex-format 4.8). */
#include "vindex/parts.h"

#include <stdio.h>
#include <stdlib.h>

enum { HEADER_BYTES = 24, ROW_BYTES = 32, FORMAT_COUNT = 8, MAGIC_LYRW = 0x5752594C };

/* A range of the file and who has it: the header with its table (entry = SIZE_MAX), or a part of an
 * entry. */
typedef struct file_range {
    uint64_t begin, end;
    size_t entry;
    const char *part;
} file_range;

static int by_begin(const void *a, const void *b)
{
    const file_range *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static wa_status check_header(wa_bytes file, const wa_vindex *vindex, wa_error *err)
{
    if (file.size < HEADER_BYTES)
        return wa_fail(err, WA_E_FORMAT, "%zu bytes, the header alone has %d", file.size,
                       HEADER_BYTES);
    uint32_t magic = wa_load_u32(file.data), version = wa_load_u32(file.data + 4);
    uint32_t format = wa_load_u32(file.data + 8), hidden = wa_load_u32(file.data + 20);
    if (magic != MAGIC_LYRW)
        return wa_fail(err, WA_E_FORMAT, "bad magic %08x, expected %08x", magic, MAGIC_LYRW);
    if (version == 2) /* larql-2026-08 5.6 */
        return wa_fail(err, WA_E_UNSUPPORTED, "LYRW v2, a region of a VINDEX3 container: not audited");
    if (version != 1)
        return wa_fail(err, WA_E_FORMAT, "unsupported version %u, expected 1", version);
    if (format >= FORMAT_COUNT)
        return wa_fail(err, WA_E_FORMAT, "unknown format %u, expected 0 to %d", format,
                       FORMAT_COUNT - 1);
    if (hidden != vindex->hidden)
        return wa_fail(err, WA_E_FORMAT, "hidden size %u, index.json says %zu", hidden,
                       vindex->hidden);
    return WA_OK;
}

static wa_status take_range(wa_bytes file, const uint8_t *at, file_range *out, wa_error *err)
{
    uint64_t offset = wa_load_u64(at), length = wa_load_u64(at + 8);
    if (offset > file.size || length > file.size - offset)
        return wa_fail(err, WA_E_FORMAT,
                       "entry %zu: %s at offset %llu + %llu bytes exceeds the file's %zu bytes",
                       out->entry, out->part, (unsigned long long)offset,
                       (unsigned long long)length, file.size);
    out->begin = offset;
    out->end = offset + length;
    return WA_OK;
}

static wa_status refuse_overlaps(file_range *ranges, size_t count, wa_error *err)
{
    qsort(ranges, count, sizeof *ranges, by_begin);
    for (size_t i = 1; i < count; i++) {
        const file_range *a = &ranges[i - 1], *b = &ranges[i];
        if (b->begin >= a->end)
            continue;
        if (a->entry == SIZE_MAX)
            return wa_fail(err, WA_E_FORMAT,
                           "%s of entry %zu begins at %llu, inside the table that ends at %llu",
                           b->part, b->entry, (unsigned long long)b->begin,
                           (unsigned long long)a->end);
        return wa_fail(err, WA_E_FORMAT,
                       "%s of entry %zu, [%llu, %llu), and %s of entry %zu, [%llu, %llu), overlap",
                       a->part, a->entry, (unsigned long long)a->begin, (unsigned long long)a->end,
                       b->part, b->entry, (unsigned long long)b->begin, (unsigned long long)b->end);
    }
    return WA_OK;
}

static wa_status check_table(const wa_vindex_build *build, wa_bytes file, wa_error *err)
{
    size_t entries = wa_load_u32(file.data + 12), count = 0;
    if (entries > (file.size - HEADER_BYTES) / ROW_BYTES)
        return wa_fail(err, WA_E_FORMAT, "table of %zu entries needs %zu bytes, the file has %zu",
                       entries, HEADER_BYTES + entries * ROW_BYTES, file.size);
    file_range *ranges;
    WA_TRY(wa_arena_take(build->arena, 2 * entries + 1, sizeof *ranges, &ranges, err));
    ranges[count++] = (file_range){
        .end = HEADER_BYTES + entries * ROW_BYTES, .entry = SIZE_MAX, .part = "the table"};
    for (size_t e = 0; e < 2 * entries; e++) {
        file_range range = {.entry = e / 2, .part = e % 2 == 0 ? "gate_up" : "down"};
        WA_TRY(take_range(file, file.data + HEADER_BYTES + 16 * e, &range, err));
        if (range.end > range.begin)
            ranges[count++] = range;
    }
    return refuse_overlaps(ranges, count, err);
}

static wa_status check_layer(wa_vindex_build *build, size_t layer, wa_error *err)
{
    char name[64];
    wa_map map = {.bytes = {.data = NULL, .size = 0}};
    bool found;
    snprintf(name, sizeof name, "layers/layer_%02zu.weights", layer);
    WA_TRY(wa_vindex_map_side(build, name, &map, &found, err));
    if (!found)
        return WA_OK;
    wa_status status = check_header(map.bytes, build->vindex, err);
    if (status == WA_OK)
        status = check_table(build, map.bytes, err);
    wa_map_close(&map);
    return status == WA_OK ? WA_OK : wa_note(err, "in file '%s'", name);
}

wa_status wa_vindex_layer_weights_check(wa_vindex_build *build, wa_error *err)
{
    bool there;
    WA_TRY(wa_vindex_has_entry(build, "layers", &there, err));
    for (size_t l = 0; there && l < build->vindex->layer_count; l++) {
        wa_mark mark = wa_arena_mark(build->arena);
        size_t notes = build->vindex->note_count;
        WA_TRY(check_layer(build, l, err));
        if (build->vindex->note_count == notes) /* a remark would live behind the mark */
            wa_arena_release(build->arena, mark);
    }
    return WA_OK;
}

/* layers/layer_NN.weights, which is LYRW v1: header, table of experts and the length of every
 * region (V12, vindex-format 4.8, larql-2026-08 5.1), and the matrices as views of them. */
#include "vindex/experts.h"

#include "vindex/parts.h"

#include <stdlib.h>

enum { HEADER_BYTES = 24, MORE_BYTES = 8, REGION_BYTES = 16, MAGIC_LYRW = 0x5752594C, PAD = 256 };

/* By the file's own number. */
static const struct number_format {
    const char *name;
    wa_format format;       /* of values with scales beside them: of the whole */
    size_t elements, bytes; /* of a block in the region of values */
    bool may_split; /* the header says more: where scales are, and how rows of gate and up lie */
} FORMATS[] = {
    {"F32", WA_FORMAT_F32, 1, 4, false},          {"F16", WA_FORMAT_F16, 1, 2, false},
    {"BF16", WA_FORMAT_BF16, 1, 2, false},        {"Q4_0", WA_FORMAT_GGML_Q4_0, 32, 18, false},
    {"Q4_K", WA_FORMAT_Q4_K, 256, 144, false},    {"Q6_K", WA_FORMAT_GGML_Q6_K, 256, 210, false},
    {"Q8_0", WA_FORMAT_GGML_Q8_0, 32, 34, false}, {"FP4", WA_FORMAT_FP4, 256, 137, false},
    {"MXFP4", WA_FORMAT_E2M1, 32, 16, true},
};
enum { FORMAT_COUNT = sizeof FORMATS / sizeof FORMATS[0] };

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

/* --- Header ---------------------------------------------------------------------------------- */

/* Format 8 only: scale binding, then row layout. Nobody has said how blocks with scales inside
 * would lie. */
static wa_status read_more(wa_bytes file, wa_layer_file *out, wa_error *err)
{
    if (file.size < HEADER_BYTES + MORE_BYTES)
        return wa_fail(err, WA_E_FORMAT, "%zu bytes, the header of MXFP4 alone has %d", file.size,
                       HEADER_BYTES + MORE_BYTES);
    uint32_t binding = wa_load_u32(file.data + HEADER_BYTES),
             layout = wa_load_u32(file.data + HEADER_BYTES + 4);
    if (binding > 1)
        return wa_fail(err, WA_E_FORMAT,
                       "unknown scale binding %u, expected 0 (inline) or 1 (split)", binding);
    if (binding == 0)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "MXFP4 with inline scales: no document says how its blocks lie");
    if (layout > 1)
        return wa_fail(err, WA_E_FORMAT,
                       "unknown row layout %u, expected 0 (halves) or 1 (in turn)", layout);
    out->table += MORE_BYTES;
    out->entry_bytes *= 2;
    out->turns = layout == 1;
    return WA_OK;
}

static wa_status read_sizes(wa_bytes file, const wa_vindex *vindex, wa_layer_file *out,
                            wa_error *err)
{
    uint32_t hidden = wa_load_u32(file.data + 20);
    out->entries = wa_load_u32(file.data + 12);
    out->features = wa_load_u32(file.data + 16);
    if (hidden != vindex->hidden)
        return wa_fail(err, WA_E_FORMAT, "hidden size %u, index.json says %zu", hidden,
                       vindex->hidden);
    if (out->entries == 0 || out->features == 0)
        return wa_fail(err, WA_E_FORMAT,
                       "%zu entries of %zu features, expected at least one of each", out->entries,
                       out->features);
    return WA_OK;
}

static wa_status read_header(wa_bytes file, const wa_vindex *vindex, wa_layer_file *out,
                             wa_error *err)
{
    if (file.size < HEADER_BYTES)
        return wa_fail(err, WA_E_FORMAT, "%zu bytes, the header alone has %d", file.size,
                       HEADER_BYTES);
    uint32_t magic = wa_load_u32(file.data), version = wa_load_u32(file.data + 4);
    uint32_t format = wa_load_u32(file.data + 8);
    if (magic != MAGIC_LYRW)
        return wa_fail(err, WA_E_FORMAT, "bad magic %08x, expected %08x", magic, MAGIC_LYRW);
    if (version == 2) /* larql-2026-08 5.6 */
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "LYRW v2, a region of a VINDEX3 container: not audited");
    if (version != 1)
        return wa_fail(err, WA_E_FORMAT, "unsupported version %u, expected 1", version);
    if (format >= FORMAT_COUNT)
        return wa_fail(err, WA_E_FORMAT, "unknown format %u, expected 0 to %d", format,
                       FORMAT_COUNT - 1);
    out->format = format;
    out->order = FORMATS[format].format;
    out->table = HEADER_BYTES;
    out->entry_bytes = 2 * REGION_BYTES;
    WA_TRY(read_sizes(file, vindex, out, err));
    return FORMATS[format].may_split ? read_more(file, out, err) : WA_OK;
}

/* --- Table ----------------------------------------------------------------------------------- */

/* The regions of an entry, in the order of the table. */
enum { GATE_UP, DOWN, GATE_UP_SCALES, DOWN_SCALES };
static const char *const PARTS[] = {"gate_up", "down", "the scales of gate_up",
                                    "the scales of down"};

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

/* How the rows of a region lie. */
typedef enum row_layout {
    PADDED, /* each filled up to 256 elements: since August 2026 */
    TIGHT,  /* whole blocks, with nothing between them: before */
    FLAT    /* all elements in one stream of blocks, which cross rows: before */
} row_layout;

/* Bytes of `count` elements in whole blocks. */
static bool bytes_of(const struct number_format *format, size_t count, size_t *out)
{
    return count % format->elements == 0 &&
           wa_size_mul(count / format->elements, format->bytes, out);
}

/* Bytes of [rows, cols] in one layout; false: it cannot be laid so. */
static bool region_bytes(const struct number_format *format, row_layout layout, size_t rows,
                         size_t cols, size_t *out)
{
    size_t count;
    if (layout == FLAT && format->may_split) /* whose scales would be of two rows */
        return false;
    if (layout == FLAT)
        return wa_size_mul(rows, cols, &count) && bytes_of(format, count, out);
    if (layout == PADDED && !wa_pad256(cols, &cols))
        return false;
    return bytes_of(format, cols, out) && wa_size_mul(*out, rows, out);
}

static size_t rows_of(const wa_layer_file *file, size_t hidden, int part)
{
    return part % 2 == GATE_UP ? 2 * file->features : hidden;
}

static size_t cols_of(const wa_layer_file *file, size_t hidden, int part)
{
    return part % 2 == GATE_UP ? hidden : file->features;
}

/* The values of a region, or the scales beside them: one byte for a block. */
static struct number_format region_format(const wa_layer_file *file, int part)
{
    struct number_format format = FORMATS[file->format];
    format.bytes = part >= GATE_UP_SCALES ? 1 : format.bytes;
    return format;
}

/* The layout that gives a region its length. */
static bool find_layout(const wa_layer_file *file, size_t hidden, int part, uint64_t length,
                        row_layout *out)
{
    const struct number_format format = region_format(file, part);
    for (row_layout layout = PADDED; layout <= FLAT; layout++) {
        size_t bytes;
        *out = layout;
        if (region_bytes(&format, layout, rows_of(file, hidden, part), cols_of(file, hidden, part),
                         &bytes) &&
            bytes == length)
            return true;
    }
    return false;
}

static wa_status check_length(const wa_layer_file *file, size_t hidden, int part,
                              const file_range *range, wa_error *err)
{
    const struct number_format format = region_format(file, part);
    size_t rows = rows_of(file, hidden, part), cols = cols_of(file, hidden, part), padded = 0;
    uint64_t length = range->end - range->begin;
    row_layout layout;
    if (find_layout(file, hidden, part, length, &layout))
        return WA_OK;
    if (!region_bytes(&format, PADDED, rows, cols, &padded))
        return wa_fail(err, WA_E_FORMAT,
                       "entry %zu: %s of %zu rows of %zu elements overflows 64 bits", range->entry,
                       range->part, rows, cols);
    return wa_fail(
        err, WA_E_FORMAT,
        "entry %zu: %s has %llu bytes, expected %zu: %zu rows of %zu %s elements, padded to 256",
        range->entry, range->part, (unsigned long long)length, padded, rows, cols, format.name);
}

static int part_count(const wa_layer_file *file)
{
    return (int)(file->entry_bytes / REGION_BYTES);
}

static wa_status check_table(const wa_vindex_build *build, const wa_layer_file *file, wa_error *err)
{
    wa_bytes bytes = file->map.bytes;
    size_t parts = (size_t)part_count(file), count = 0, hidden = build->vindex->hidden;
    if (file->entries > (bytes.size - file->table) / file->entry_bytes)
        return wa_fail(err, WA_E_FORMAT, "table of %zu entries needs %zu bytes, the file has %zu",
                       file->entries, file->table + file->entries * file->entry_bytes, bytes.size);
    file_range *ranges;
    WA_TRY(wa_arena_take(build->arena, parts * file->entries + 1, sizeof *ranges, &ranges, err));
    ranges[count++] = (file_range){.end = file->table + file->entries * file->entry_bytes,
                                   .entry = SIZE_MAX,
                                   .part = "the table"};
    for (size_t i = 0; i < parts * file->entries; i++) {
        int part = (int)(i % parts);
        file_range *range = &ranges[count++];
        *range = (file_range){.entry = i / parts, .part = PARTS[part]};
        WA_TRY(take_range(bytes, bytes.data + file->table + REGION_BYTES * i, range, err));
        WA_TRY(check_length(file, hidden, part, range, err));
    }
    return refuse_overlaps(ranges, count, err);
}

/* --- Files ----------------------------------------------------------------------------------- */

static wa_status open_layer(wa_vindex_build *build, size_t layer, wa_error *err)
{
    char *name;
    bool found;
    wa_layer_file *file = &build->maps->layer_files[layer];
    WA_TRY(wa_arena_print(build->arena, &name, err, "layers/layer_%02zu.weights", layer));
    WA_TRY(wa_vindex_map_file(build, name, &file->map, &found, err));
    file->name = name;
    if (!found)
        return WA_OK;
    wa_mark mark = wa_arena_mark(build->arena);
    wa_status status = read_header(file->map.bytes, build->vindex, file, err);
    if (status == WA_OK)
        status = check_table(build, file, err);
    wa_arena_release(build->arena, mark);
    return status == WA_OK ? WA_OK : wa_note(err, "in file '%s'", name);
}

wa_status wa_vindex_layer_files_open(wa_vindex_build *build, wa_error *err)
{
    bool there;
    WA_TRY(wa_vindex_has_entry(build, "layers", &there, err));
    if (!there)
        return WA_OK;
    WA_TRY(wa_arena_take(build->arena, build->vindex->layer_count, sizeof *build->maps->layer_files,
                         &build->maps->layer_files, err));
    for (size_t l = 0; l < build->vindex->layer_count; l++)
        WA_TRY(open_layer(build, l, err));
    return wa_vindex_layers_remark(build, err);
}

/* --- Writing --------------------------------------------------------------------------------- */

static wa_status find_number(wa_format format, uint32_t *out, wa_error *err)
{
    for (uint32_t i = 0; i < FORMAT_COUNT; i++)
        if (FORMATS[i].format == format && !FORMATS[i].may_split) {
            *out = i;
            return WA_OK;
        }
    return wa_fail(err, WA_E_INTERNAL, "no layer file holds %s", wa_format_get(format)->name);
}

static uint8_t *put_u64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

/* Each region follows the one before. */
static void put_table(uint8_t *at, size_t entries, const size_t lengths[2], uint64_t start)
{
    for (size_t e = 0; e < entries; e++)
        for (int part = GATE_UP; part <= DOWN; part++) {
            at = put_u64(at, start);
            at = put_u64(at, lengths[part]);
            start += lengths[part];
        }
}

wa_status wa_layer_file_header(wa_format format, size_t entries, size_t features, size_t hidden,
                               wa_arena *arena, wa_bytes *out, wa_error *err)
{
    uint32_t number;
    size_t lengths[2], all;
    uint8_t *bytes;
    WA_TRY(find_number(format, &number, err));
    if (entries > UINT32_MAX || features > UINT32_MAX / 2 || hidden > UINT32_MAX ||
        !region_bytes(&FORMATS[number], PADDED, 2 * features, hidden, &lengths[GATE_UP]) ||
        !region_bytes(&FORMATS[number], PADDED, hidden, features, &lengths[DOWN]) ||
        !wa_size_add(lengths[GATE_UP], lengths[DOWN], &all) || !wa_size_mul(all, entries, &all))
        return wa_fail(err, WA_E_UNSUPPORTED, "%zu FFNs of %zu features overflow a layer file",
                       entries, features);
    size_t size = HEADER_BYTES + 2 * REGION_BYTES * entries;
    const uint32_t header[] = {MAGIC_LYRW,      1, number, (uint32_t)entries, (uint32_t)features,
                               (uint32_t)hidden};
    WA_TRY(wa_arena_take(arena, size, 1, &bytes, err));
    memcpy(bytes, header, sizeof header);
    put_table(bytes + HEADER_BYTES, entries, lengths, size);
    *out = (wa_bytes){.data = bytes, .size = size};
    return WA_OK;
}

/* --- Views ----------------------------------------------------------------------------------- */

static const wa_layer_file *file_of(const wa_vindex *vindex, size_t layer)
{
    const wa_layer_file *files = vindex->maps->layer_files;
    return files == NULL || layer >= vindex->layer_count || files[layer].map.bytes.data == NULL
               ? NULL
               : &files[layer];
}

/* Where a region of a checked table is, and how its rows lie. */
static const uint8_t *region(const wa_layer_file *file, size_t hidden, size_t entry, int part,
                             row_layout *layout)
{
    const uint8_t *at = file->map.bytes.data + file->table + entry * file->entry_bytes +
                        (size_t)part * REGION_BYTES;
    (void)find_layout(file, hidden, part, wa_load_u64(at + 8), layout);
    return file->map.bytes.data + wa_load_u64(at);
}

/* The rows of a region that are one matrix: first, first + step, … */
typedef struct row_range {
    size_t rows, first, step;
} row_range;

/* Of the entry's `part`, and of the scales beside it where there are any. */
static wa_matrix view(const wa_layer_file *file, size_t hidden, size_t entry, int part,
                      row_range range)
{
    row_layout layout, of_scales;
    const uint8_t *data = region(file, hidden, entry, part, &layout);
    const struct number_format *format = &FORMATS[file->format];
    size_t cols = cols_of(file, hidden, part), first = range.first, step = range.step;
    size_t stored = layout == PADDED ? (cols + PAD - 1) / PAD * PAD : cols;
    wa_matrix out = {.name = file->name, .format = file->order, .rows = range.rows, .cols = cols};
    if (layout == FLAT) {
        out.order = WA_ROWS_FLAT;
        out.stored_cols = step * cols;
        out.data = data + first * cols / format->elements * format->bytes;
        out.skip = first * cols % format->elements;
        return out;
    }
    size_t row = stored / format->elements * format->bytes;
    out.data = data + first * row;
    out.row_bytes = step * row;
    if (!format->may_split)
        return out;
    const uint8_t *scales = region(file, hidden, entry, part + GATE_UP_SCALES, &of_scales);
    row = (of_scales == PADDED ? (cols + PAD - 1) / PAD * PAD : cols) / format->elements;
    out.scales = (wa_scales){.data = scales + first * row,
                             .format = WA_FORMAT_E8M0,
                             .row_bytes = step * row,
                             .rows = 1,
                             .cols = format->elements};
    return out;
}

wa_status wa_vindex_expert(const wa_vindex *vindex, size_t layer, size_t entry, wa_expert *out,
                           wa_error *err)
{
    const wa_layer_file *file = file_of(vindex, layer);
    if (file == NULL || entry >= file->entries)
        return wa_fail(err, WA_E_INTERNAL, "no expert %zu in layer %zu of the vindex", entry,
                       layer);
    size_t hidden = vindex->hidden, features = file->features;
    const row_range gates = {.rows = features, .first = 0, .step = file->turns ? 2 : 1};
    const row_range ups = {
        .rows = features, .first = file->turns ? 1 : features, .step = gates.step};
    *out = (wa_expert){.gate = view(file, hidden, entry, GATE_UP, gates),
                       .up = view(file, hidden, entry, GATE_UP, ups),
                       .down =
                           view(file, hidden, entry, DOWN, (row_range){.rows = hidden, .step = 1})};
    return WA_OK;
}

wa_layer_store wa_vindex_layer_store(const wa_vindex *vindex, size_t layer)
{
    const wa_layer_file *file = file_of(vindex, layer);
    const wa_router_slice *router =
        vindex->maps->router == NULL ? NULL : &vindex->maps->router[WA_ROUTER_ROLES * layer];
    if (file == NULL)
        return (wa_layer_store){0};
    wa_layer_store store = {
        .format_name = FORMATS[file->format].name,
        .format = file->order,
        .entries = file->entries,
        .features = file->features,
        .has_router = router != NULL && router[WA_ROUTER_WEIGHT].elements > 0,
        .has_router_bias = router != NULL && router[WA_ROUTER_BIAS].elements > 0,
        .has_biases = router != NULL && (router[WA_ROUTER_GATE_UP_BIAS].elements > 0 ||
                                         router[WA_ROUTER_DOWN_BIAS].elements > 0)};
    for (size_t e = 0; e < file->entries; e++)
        for (int part = GATE_UP; part <= DOWN; part++) {
            row_layout layout;
            (void)region(file, vindex->hidden, e, part, &layout);
            store.unpadded = store.unpadded || layout != PADDED;
        }
    return store;
}

size_t wa_vindex_expert_layer(const wa_vindex *vindex)
{
    size_t layer = 0;
    while (layer < vindex->layer_count && file_of(vindex, layer) == NULL)
        layer++;
    return layer;
}

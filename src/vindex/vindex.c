/* Opening a vindex: the order of the checks, and what a gate source (or none) means. */
#include "vindex/parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

static const char *const PROJECTION_NAMES[WA_PROJECTION_COUNT] = {"gate", "up", "down"};

const char *wa_projection_name(wa_projection projection)
{
    return PROJECTION_NAMES[projection];
}

typedef struct payload_info {
    const char *file, *meaning;
} payload_info;

static const payload_info PAYLOADS[WA_PAYLOAD_COUNT] = {
#define PAYLOAD_ROW(id, file, meaning) {file, meaning},
    WA_PAYLOAD_LIST(PAYLOAD_ROW)
#undef PAYLOAD_ROW
};

const char *wa_payload_file(wa_payload payload)
{
    return PAYLOADS[payload].file;
}

const char *wa_payload_meaning(wa_payload payload)
{
    return PAYLOADS[payload].meaning;
}

bool wa_payload_down_is_feature_major(wa_payload payload)
{
    return payload != WA_PAYLOAD_INTERLEAVED_Q4K;
}

bool wa_payload_holds(wa_payload payload, wa_projection projection)
{
    switch (payload) {
    case WA_PAYLOAD_GATE:
        return projection == WA_GATE;
    case WA_PAYLOAD_UP_FEATURES:
        return projection == WA_UP;
    case WA_PAYLOAD_DOWN_FEATURES:
    case WA_PAYLOAD_DOWN_FEATURES_Q4K:
        return projection == WA_DOWN;
    case WA_PAYLOAD_INTERLEAVED:
    case WA_PAYLOAD_INTERLEAVED_Q4:
    case WA_PAYLOAD_INTERLEAVED_Q4K:
        return true;
    case WA_PAYLOAD_FP4:
        return projection != WA_GATE; /* no walk path reads an FP4 gate (vindex-format 8) */
    case WA_PAYLOAD_COUNT:
        break;
    }
    return false;
}

bool wa_pad256(size_t n, size_t *out)
{
    size_t up;
    if (!wa_size_add(n, 255, &up))
        return false;
    *out = up / 256 * 256;
    return true;
}

/* Lists of strings grow by doubling; what they outgrow stays in the arena. */
static wa_status append(wa_arena *arena, const char ***list, size_t *room, size_t count,
                        const char *text, wa_error *err)
{
    if (count == *room) {
        size_t wider = *room == 0 ? 8 : 2 * *room;
        const char **fresh;
        WA_TRY(wa_arena_take(arena, wider, sizeof *fresh, &fresh, err));
        for (size_t i = 0; i < count; i++)
            fresh[i] = (*list)[i];
        *list = fresh;
        *room = wider;
    }
    (*list)[count] = text;
    return WA_OK;
}

wa_status wa_vindex_remark(wa_vindex_build *build, wa_error *err, const char *format, ...)
{
    char text[WA_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length < 0)
        return wa_fail(err, WA_E_INTERNAL, "remark '%s' cannot be printed", format);

    char *kept;
    WA_TRY(wa_arena_copy(build->arena, text, strlen(text), &kept, err));
    wa_vindex *vindex = build->vindex;
    WA_TRY(append(build->arena, &build->maps->notes, &build->maps->note_room, vindex->note_count,
                  kept, err));
    vindex->notes = build->maps->notes;
    vindex->note_count++;
    return WA_OK;
}

wa_status wa_vindex_file_path(const wa_vindex_build *build, const char *name, char **out,
                              wa_error *err)
{
    return wa_arena_print(build->arena, out, err, "%s/%s", build->vindex->path, name);
}

/* lstat: a link that leads nowhere is damage, so it counts as an entry. */
wa_status wa_vindex_has_entry(const wa_vindex_build *build, const char *name, bool *out,
                              wa_error *err)
{
    char *path;
    WA_TRY(wa_vindex_file_path(build, name, &path, err));
    struct stat info;
    *out = lstat(path, &info) == 0;
    return WA_OK;
}

wa_status wa_vindex_map_file(wa_vindex_build *build, const char *name, wa_map *out, bool *found,
                             wa_error *err)
{
    WA_TRY(wa_vindex_has_entry(build, name, found, err));
    if (!*found)
        return WA_OK;
    char *path;
    WA_TRY(wa_vindex_file_path(build, name, &path, err));
    WA_TRY(wa_map_open(path, out, err));
    if (out->bytes.size == 0) {
        *found = false;
        return wa_vindex_remark(build, err,
                                "%s is empty and taken as absent (upstream would count it)", name);
    }
    wa_vindex *vindex = build->vindex;
    if (append(build->arena, &build->maps->files, &build->maps->file_room, vindex->file_count, path,
               err) != WA_OK) {
        wa_map_close(out);
        return err->status;
    }
    vindex->files = build->maps->files;
    vindex->file_count++;
    return WA_OK;
}

static wa_status refuse_interrupted(const wa_vindex_build *build, wa_error *err)
{
    static const char checkpoint[] = ".extract_checkpoint.json";
    bool there;
    WA_TRY(wa_vindex_has_entry(build, checkpoint, &there, err));
    if (there)
        return wa_fail(err, WA_E_FORMAT, "interrupted extraction: '%s' is there", checkpoint);
    return WA_OK;
}

/*
 * vindex-format 4.2 and 7.1: the feature counts come from the gate source, that is from
 * gate_vectors.bin, from the gate of interleaved_q4k.bin with its manifest, or from the FP4
 * storage. With none of them upstream has zero features in every layer, whatever the other files
 * hold, and calls every case a pass (U27). Sizes of files are checked with index.json's counts in
 * any case, so that damage is seen; then the counts become 0, so that no case can run and the
 * reason is told.
 */
static wa_status settle_features(wa_vindex_build *build, wa_error *err)
{
    wa_vindex *vindex = build->vindex;
    if (!build->maps->layers_listed)
        return wa_vindex_remark(build, err,
                                "index.json lists no layers: zero features, so no path can run");
    if (vindex->present[WA_PAYLOAD_GATE])
        return WA_OK;
    if (vindex->present[WA_PAYLOAD_INTERLEAVED_Q4K])
        return wa_vindex_remark(build, err,
                                "no gate_vectors.bin: upstream makes an f16 gate of the gate in "
                                "interleaved_q4k.bin");
    if (vindex->present[WA_PAYLOAD_FP4])
        return wa_vindex_remark(build, err,
                                "no gate_vectors.bin: feature counts come from the fp4 object, but "
                                "no feature can be chosen");
    for (size_t l = 0; l < vindex->layer_count; l++) {
        vindex->layers[l].features = 0;
        vindex->layers[l].feature_start = 0;
    }
    return wa_vindex_remark(build, err,
                            "no gate source (gate_vectors.bin, K-quant gate or fp4): zero "
                            "features, so no path can run");
}

static wa_status open_checked(wa_vindex_build *build, wa_error *err)
{
    if (!wa_dir_exists(build->vindex->path))
        return wa_fail(err, WA_E_IO, "no such directory");
    WA_TRY(refuse_interrupted(build, err));
    WA_TRY(wa_vindex_index_open(build, err));
    WA_TRY(wa_vindex_floats_open(build, err));
    WA_TRY(wa_vindex_kquants_open(build, err));
    WA_TRY(wa_vindex_fp4_open(build, err));
    WA_TRY(wa_vindex_down_meta_check(build, err));
    return settle_features(build, err);
}

wa_status wa_vindex_open(const char *path, wa_arena *arena, wa_vindex **out, wa_error *err)
{
    wa_vindex *vindex;
    char *kept_path;
    WA_TRY(wa_arena_take(arena, 1, sizeof *vindex, &vindex, err));
    WA_TRY(wa_arena_take(arena, 1, sizeof *vindex->maps, &vindex->maps, err));
    WA_TRY(wa_arena_copy(arena, path, strlen(path), &kept_path, err));
    vindex->path = kept_path;

    wa_vindex_build build = {.vindex = vindex, .maps = vindex->maps, .arena = arena};
    if (open_checked(&build, err) != WA_OK) {
        wa_vindex_close(vindex);
        return wa_note(err, "in vindex '%s'", path);
    }
    *out = vindex;
    return WA_OK;
}

void wa_vindex_close(wa_vindex *vindex)
{
    if (vindex == NULL)
        return;
    for (size_t p = 0; p < WA_PAYLOAD_COUNT; p++)
        wa_map_close(&vindex->maps->payload[p]);
    for (size_t p = 0; p < WA_PROJECTION_COUNT; p++)
        wa_map_close(&vindex->maps->fp4[p].map);
}

/* Where a projection starts in its payload (vindex-format 3.1, 3.3, 3.4). In bounds: V3, V5, V6. */
static uint64_t start_of(const wa_vindex *vindex, wa_payload payload, wa_projection projection,
                         size_t layer)
{
    const wa_vindex_layer *at = &vindex->layers[layer];
    uint64_t row = 4 * (uint64_t)vindex->hidden;
    switch (payload) {
    case WA_PAYLOAD_GATE:
        return at->gate_offset;
    case WA_PAYLOAD_INTERLEAVED:
        return 3 * row * at->feature_start + (uint64_t)projection * row * at->features;
    default:
        return row * at->feature_start;
    }
}

wa_status wa_vindex_matrix(const wa_vindex *vindex, wa_payload payload, wa_projection projection,
                           size_t layer, wa_matrix *out, wa_error *err)
{
    if (payload >= WA_PAYLOAD_COUNT || !vindex->readable[payload] ||
        !wa_payload_holds(payload, projection) || layer >= vindex->layer_count)
        return wa_fail(err, WA_E_INTERNAL, "no readable %s matrix of layer %zu in payload %d",
                       wa_projection_name(projection), layer, (int)payload);

    wa_format format = payload == WA_PAYLOAD_GATE ? vindex->gate_format : WA_FORMAT_F32;
    const wa_vindex_layer *at = &vindex->layers[layer];
    *out = (wa_matrix){.data = vindex->maps->payload[payload].bytes.data,
                       .name = wa_payload_file(payload),
                       .format = format,
                       .order = WA_ROWS_PLAIN,
                       .rows = at->features,
                       .cols = vindex->hidden,
                       .row_bytes = vindex->hidden * wa_format_get(format)->block_bytes};
    if (at->features > 0)
        out->data += start_of(vindex, payload, projection, layer);
    return WA_OK;
}

static size_t count_nonfinite(const float *row, size_t n, size_t *first)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = wa_load_u32(&row[i]);
        if ((bits & 0x7f800000u) != 0x7f800000u)
            continue;
        if (count == 0)
            *first = i;
        count++;
    }
    return count;
}

wa_nonfinite wa_matrix_nonfinite(const wa_matrix *matrix, float *scratch)
{
    wa_nonfinite found = {0};
    for (size_t r = 0; r < matrix->rows; r++) {
        wa_matrix_decode(matrix, r, 1, scratch);
        size_t first = 0;
        size_t count = count_nonfinite(scratch, matrix->cols, &first);
        if (count > 0 && found.count == 0) {
            found.first_row = r;
            found.first_col = first;
        }
        found.count += count;
    }
    return found;
}

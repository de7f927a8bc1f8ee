/* Opening a vindex: the order of the checks, and what a gate source (or none) means. */
#include "base/opened.h"
#include "vindex/experts.h"
#include "vindex/parts.h"

#include <assert.h>
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
/* clang-format off */
#define PAYLOAD_ROW(id, file, meaning) {file, meaning},
    /* clang-format on */
    WA_PAYLOAD_LIST(PAYLOAD_ROW)
#undef PAYLOAD_ROW
};

const char *wa_payload_name(wa_payload payload)
{
    static const char *const names[] = {
        [WA_PAYLOAD_GATE] = "gate_vectors",
        [WA_PAYLOAD_UP_FEATURES] = "up_features",
        [WA_PAYLOAD_DOWN_FEATURES] = "down_features",
        [WA_PAYLOAD_INTERLEAVED] = "interleaved",
        [WA_PAYLOAD_INTERLEAVED_Q4] = "interleaved_q4",
        [WA_PAYLOAD_INTERLEAVED_Q4K] = "interleaved_kquant",
        [WA_PAYLOAD_DOWN_FEATURES_Q4K] = "down_features_kquant",
        [WA_PAYLOAD_FP4] = "fp4",
        [WA_PAYLOAD_CHECKPOINT] = "checkpoint",
        [WA_PAYLOAD_EXPERTS] = "experts",
        [WA_PAYLOAD_ROUTER] = "router",
        [WA_PAYLOAD_SHARED] = "shared_expert",
        [WA_PAYLOAD_BIASES] = "ffn_biases",
        [WA_PAYLOAD_ATTENTION] = "attention",
        [WA_PAYLOAD_ATTENTION_BIASES] = "attention_biases",
        [WA_PAYLOAD_ATTENTION_OUT] = "attention_output",
        [WA_PAYLOAD_ATTENTION_NORMS] = "attention_norms",
        [WA_PAYLOAD_BLOCK_NORMS] = "block_norms",
        [WA_PAYLOAD_NORM_BIASES] = "norm_biases",
        [WA_PAYLOAD_ENDS] = "ends",
        [WA_PAYLOAD_OTHER_NORMS] = "other_norms",
    };
    static_assert(sizeof names / sizeof names[0] == WA_PAYLOAD_COUNT, "every payload has a name");
    return names[payload];
}

const char *wa_payload_file(wa_payload payload)
{
    return PAYLOADS[payload].file;
}

const char *wa_vindex_file(const wa_vindex *vindex, wa_payload payload)
{
    return vindex->file[payload] != NULL ? vindex->file[payload] : wa_payload_file(payload);
}

const char *wa_payload_meaning(wa_payload payload)
{
    return PAYLOADS[payload].meaning;
}

bool wa_pad256(size_t n, size_t *out)
{
    size_t up;
    if (!wa_size_add(n, 255, &up))
        return false;
    *out = up / 256 * 256;
    return true;
}

static wa_status append(wa_arena *arena, const char ***list, size_t *room, size_t count,
                        const char *text, wa_error *err)
{
    WA_TRY(wa_arena_grow(arena, list, count, room, sizeof **list, err));
    (*list)[count] = text;
    return WA_OK;
}

wa_status wa_vindex_reject(wa_vindex_build *build, wa_payload payload, const char *reason,
                           wa_error *err)
{
    build->vindex->unusable[payload] = reason;
    return wa_vindex_remark(build, err, "%s %s", wa_vindex_file(build->vindex, payload), reason);
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

static void reject_empty(wa_vindex *vindex, const char *name)
{
    for (int p = 0; p < WA_PAYLOAD_COUNT; p++)
        if (strcmp(wa_vindex_file(vindex, (wa_payload)p), name) == 0)
            vindex->unusable[p] = "is empty";
}

wa_status wa_vindex_map_side(wa_vindex_build *build, const char *name, wa_map *out, bool *found,
                             wa_error *err)
{
    WA_TRY(wa_vindex_has_entry(build, name, found, err));
    if (!*found)
        return WA_OK;
    char *path;
    WA_TRY(wa_vindex_file_path(build, name, &path, err));
    WA_TRY(wa_map_open(path, out, err));
    if (out->bytes.size > 0)
        return WA_OK;
    *found = false;
    reject_empty(build->vindex, name);
    return wa_vindex_remark(build, err, "%s is empty and taken as absent (upstream would count it)",
                            name);
}

wa_status wa_vindex_list_file(wa_vindex_build *build, const char *name, wa_error *err)
{
    char *path;
    wa_vindex *vindex = build->vindex;
    WA_TRY(wa_vindex_file_path(build, name, &path, err));
    WA_TRY(append(build->arena, &build->maps->files, &build->maps->file_room, vindex->file_count,
                  path, err));
    vindex->files = build->maps->files;
    vindex->file_count++;
    return WA_OK;
}

wa_status wa_vindex_map_file(wa_vindex_build *build, const char *name, wa_map *out, bool *found,
                             wa_error *err)
{
    WA_TRY(wa_vindex_map_side(build, name, out, found, err));
    if (*found && wa_vindex_list_file(build, name, err) != WA_OK) {
        wa_map_close(out);
        return err->status;
    }
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
 * gate_vectors.bin, from the gate of the interleaved K-quant file with its manifest, or from the
 * FP4 storage. With none of them upstream has zero features in every layer, whatever the other
 * files hold, and calls every case a pass (U27). Sizes of files are checked with index.json's
 * counts in any case, so that damage is seen; then the counts become 0, so that no case can run and
 * the reason is told.
 */
static wa_status settle_features(wa_vindex_build *build, wa_error *err)
{
    wa_vindex *vindex = build->vindex;
    if (!build->maps->layers_listed)
        return wa_vindex_remark(build, err,
                                "index.json lists no layers: zero features, so no path can run");
    if (vindex->present[WA_PAYLOAD_GATE])
        return WA_OK;
    if (vindex->present[WA_PAYLOAD_INTERLEAVED_Q4K]) {
        vindex->gate_is_remade = true;
        vindex->present[WA_PAYLOAD_GATE] = true;
        vindex->readable[WA_PAYLOAD_GATE] = true;
        return wa_vindex_remark(build, err,
                                "%s: the gate is re-made from the K-quant gate in %s, in f16 as "
                                "upstream does",
                                vindex->unusable[WA_PAYLOAD_GATE] != NULL
                                    ? "gate_vectors.bin is of no use"
                                    : "no gate_vectors.bin",
                                wa_vindex_file(vindex, WA_PAYLOAD_INTERLEAVED_Q4K));
    }
    if (vindex->present[WA_PAYLOAD_FP4])
        return wa_vindex_remark(build, err,
                                "no gate_vectors.bin: feature counts come from the fp4 object, but "
                                "no feature can be chosen");
    if (wa_vindex_expert_layer(vindex) < vindex->layer_count)
        return WA_OK; /* FFNs are in layers/, which need no gate beside them */
    for (size_t l = 0; l < vindex->layer_count; l++) {
        vindex->layers[l].features = 0;
        vindex->layers[l].feature_start = 0;
    }
    return wa_vindex_remark(build, err,
                            "no gate source (gate_vectors.bin, K-quant gate or fp4): zero "
                            "features, so no path can run");
}

/* Files in which someone could see a payload and that no walk path reads (vindex-format 8). */
static wa_status remark_unread(wa_vindex_build *build, wa_error *err)
{
    static const struct {
        const char *name, *why;
    } unread[] = {
        {"gate_vectors_q4.bin", "upstream loads it only on request, no walk path does"},
        {"down_meta.jsonl", "superseded by down_meta.bin, and its keys differ by writer (U9)"},
        {"experts_packed.bin", "obsolete"},
        {"router_weights.bin", "the router is taken from norms.bin"},
    };
    for (size_t i = 0; i < sizeof unread / sizeof unread[0]; i++) {
        bool there;
        WA_TRY(wa_vindex_has_entry(build, unread[i].name, &there, err));
        if (there)
            WA_TRY(
                wa_vindex_remark(build, err, "%s is not read: %s", unread[i].name, unread[i].why));
    }
    return WA_OK;
}

/* What LARQL's own audit of August would say of such a mixture (larql-2026-08.md 2.5, N5). */
static wa_status remark_audit(wa_vindex_build *build, wa_error *err)
{
    const wa_vindex *vindex = build->vindex;
    bool interleaved = vindex->present[WA_PAYLOAD_INTERLEAVED];
    bool features =
        vindex->present[WA_PAYLOAD_UP_FEATURES] && vindex->present[WA_PAYLOAD_DOWN_FEATURES];
    if (!vindex->readable[WA_PAYLOAD_INTERLEAVED_Q4K] || vindex->hidden % 256 != 0 ||
        !(interleaved || features))
        return WA_OK;
    return wa_vindex_remark(
        build, err,
        "LARQL's own audit of August measures interleaved_kquant:native in its case%s %s%s%s here, "
        "since it does not hide %s",
        interleaved && features ? "s" : "", interleaved ? "interleaved" : "",
        interleaved && features ? " and " : "", features ? "full_mmap" : "",
        wa_vindex_file(vindex, WA_PAYLOAD_INTERLEAVED_Q4K));
}

static wa_status open_checked(wa_vindex_build *build, wa_error *err)
{
    if (!wa_dir_exists(build->vindex->path))
        return wa_fail(err, WA_E_IO, "no such directory");
    WA_TRY(refuse_interrupted(build, err));
    WA_TRY(wa_vindex_index_open(build, err));
    WA_TRY(wa_vindex_kquants_open(build, err)); /* first: it may have to tell the feature counts */
    WA_TRY(wa_vindex_floats_open(build, err));
    WA_TRY(wa_vindex_fp4_open(build, err));
    WA_TRY(wa_vindex_down_meta_check(build, err));
    WA_TRY(wa_vindex_weights_check(build, err));
    WA_TRY(wa_vindex_layer_files_open(build, err));
    WA_TRY(remark_unread(build, err));
    WA_TRY(remark_audit(build, err));
    return settle_features(build, err);
}

wa_status wa_vindex_begin(const char *path, wa_arena *arena, wa_vindex **out, wa_error *err)
{
    wa_vindex *vindex;
    char *kept_path;
    WA_TRY(wa_arena_take(arena, 1, sizeof *vindex, &vindex, err));
    WA_TRY(wa_arena_take(arena, 1, sizeof *vindex->maps, &vindex->maps, err));
    WA_TRY(wa_arena_copy(arena, path, strlen(path), &kept_path, err));
    vindex->path = kept_path;
    *out = vindex;
    return WA_OK;
}

wa_status wa_vindex_open(const char *path, wa_arena *arena, wa_vindex **out, wa_error *err)
{
    wa_vindex *vindex;
    WA_TRY(wa_vindex_begin(path, arena, &vindex, err));
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
    for (size_t p = 0; p < WA_WEIGHT_FILES; p++)
        wa_map_close(&vindex->maps->weights[p].map);
    for (size_t l = 0; vindex->maps->layer_files != NULL && l < vindex->layer_count; l++)
        wa_map_close(&vindex->maps->layer_files[l].map);
    wa_map_close(&vindex->maps->norms);
    wa_opened_forget(vindex->maps);
    wa_model_close(vindex->checkpoint);
}

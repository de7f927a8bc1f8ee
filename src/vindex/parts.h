/* Private to src/vindex: what an open vindex holds besides its public facts, and who checks what.
 */
#ifndef WALKAUDIT_VINDEX_PARTS_H
#define WALKAUDIT_VINDEX_PARTS_H

#include "base/json.h"
#include "vindex/vindex.h"

/* No transformer comes near it; it bounds what a hostile num_layers can make us allocate. */
enum { WA_VINDEX_LAYERS_MAX = 65536 };

/** A matrix of a K-quant file, its manifest entry checked (vindex-format 4.4). */
typedef struct wa_kquant_slice {
    uint64_t offset;
    size_t length;
    size_t rows, padded_cols;
    wa_format format; /* Q4_K, or Q6_K of either order: ggml's until order.c finds the other */
} wa_kquant_slice;

/* X(id, name): how index.json's fp4 object stores a projection. FP4 and FP8 are files of blocks. */
#define WA_FP4_PRECISION_LIST(X) X(FP4, "fp4") X(FP8, "fp8") X(F16, "f16") X(F32, "f32")
typedef enum wa_fp4_precision {
#define WA_FP4_PRECISION_ENUM(id, name) WA_FP4_PRECISION_##id,
    WA_FP4_PRECISION_LIST(WA_FP4_PRECISION_ENUM)
#undef WA_FP4_PRECISION_ENUM
} wa_fp4_precision;

/** Stored in blocks, in a file of its own? f16 and f32 tags point to the ordinary files. */
bool wa_fp4_has_blocks(wa_fp4_precision precision);
/** Of blocks: their number format. */
wa_format wa_fp4_format(wa_fp4_precision precision);

typedef struct wa_fp4_projection {
    wa_fp4_precision precision;
    const char *file; /* plain name, arena */
    wa_map map;       /* FP4 and FP8 only; owned */
} wa_fp4_projection;

/** up_weights.bin or down_weights.bin: where weight_manifest.json puts a layer's matrix. */
typedef struct wa_weight_slice {
    uint64_t offset;
    wa_format format; /* f32 or f16 */
    bool there;
} wa_weight_slice;
typedef struct wa_weight_tier {
    wa_map map;              /* owned */
    wa_weight_slice *layers; /* [layer_count], arena; NULL = no manifest */
} wa_weight_tier;
enum { WA_WEIGHT_FILES = 2 }; /* up, down: there is no gate */

/** A tensor of a wa_router_role, its range checked; not there: elements = 0. */
typedef struct wa_router_slice {
    uint64_t offset; /* in norms.bin, or in up_weights.bin */
    size_t elements;
    wa_format format; /* f32, f16 or bf16 */
    bool in_up_weights;
} wa_router_slice;

/** layers/layer_NN.weights, its header and table checked (larql-2026-08 5.1). */
typedef struct wa_layer_file {
    wa_map map;       /* owned; empty: the layer has none */
    const char *name; /* "layers/layer_03.weights", arena */
    size_t format;    /* the file's own number */
    /* what that number is read as: of formats with two orders, ggml's until order.c finds the other
     * */
    wa_format order;
    size_t entries, features;
    size_t table, entry_bytes; /* where the table begins, and a row of it */
    bool turns;                /* gate and up rows in turn, not in halves */
} wa_layer_file;

/** One line of index.json: checksums. */
typedef struct wa_vindex_hash {
    const char *file; /* plain name, arena */
    const char *hex;  /* 64 lowercase digits, arena */
} wa_vindex_hash;

typedef struct wa_vindex_maps {
    wa_map payload[WA_PAYLOAD_COUNT]; /* owned */
    /* index.json's ffn_layout: FFNs lie in layers/, and dense layers may be unlisted */
    bool per_layer;
    /* the feature counts are known: index.json's layers is not [], or: */
    bool layers_listed;
    bool layers_from_manifest; /* it is, and they come from the K-quant manifest */
    size_t feature_total;      /* P[L], whatever the gate source */
    bool fp4_listed;           /* index.json has an fp4 object */
    size_t fp4_row_elements;   /* H, or fp4.padded_hidden (our extension) */
    wa_fp4_projection fp4[WA_PROJECTION_COUNT];
    /* whichever its name; [3 * layer_count], arena; NULL = not checked */
    wa_kquant_slice *interleaved_q4k;
    wa_kquant_slice *down_features_q4k; /* [layer_count], arena; NULL = not checked */
    wa_format *q4_formats;              /* [3 * layer_count], arena; NULL = all in ggml's order */
    /* [3 * layer_count] of order.c, of EXPERTS each layer's at the gate's place, arena; NULL = not
     * settled */
    const uint8_t *orders[WA_PAYLOAD_COUNT];
    wa_weight_tier weights[WA_WEIGHT_FILES]; /* [projection - WA_UP] */
    wa_map norms;                            /* owned: norms.bin, mapped where it has a router */
    /* [layer_count, WA_ROUTER_ROLES], arena; NULL = no manifest */
    wa_router_slice *router;
    wa_layer_file *layer_files;   /* [layer_count], arena; NULL = there is no `layers` */
    const wa_vindex_hash *hashes; /* [hash_count], arena */
    size_t hash_count;
    const char **notes, **files; /* the growing lists behind wa_vindex.notes and .files */
    size_t note_room, file_room;
} wa_vindex_maps;

/** A vindex while it is being opened. */
typedef struct wa_vindex_build {
    wa_vindex *vindex;
    wa_vindex_maps *maps;
    wa_arena *arena;
} wa_vindex_build;

/** An empty vindex of a path, which is kept; its maps too. In the arena; wa_vindex_close closes
 * what is opened into it. */
WA_CHECKED wa_status wa_vindex_begin(const char *path, wa_arena *arena, wa_vindex **out,
                                     wa_error *err);

/** Add a remark to the vindex. */
WA_CHECKED wa_status wa_vindex_remark(wa_vindex_build *build, wa_error *err, const char *format,
                                      ...) WA_PRINTF(3, 4);
/** A payload whose file is there but cannot be used: remark it, and keep why in `unusable`.
 * `reason` follows the file's name and outlives the vindex. */
WA_CHECKED wa_status wa_vindex_reject(wa_vindex_build *build, wa_payload payload,
                                      const char *reason, wa_error *err);
/** "<vindex path>/<name>", arena. */
WA_CHECKED wa_status wa_vindex_file_path(const wa_vindex_build *build, const char *name, char **out,
                                         wa_error *err);
/**
 * Map a file of the vindex if it is there. Absent: *found = false. Empty: false too, with a remark
 * (V18). Anything else that is no readable regular file is damage: WA_E_IO. Listed in `files`.
 */
WA_CHECKED wa_status wa_vindex_map_file(wa_vindex_build *build, const char *name, wa_map *out,
                                        bool *found, wa_error *err);
/** As wa_vindex_map_file, for a file that no walk path reads: not listed in `files`. */
WA_CHECKED wa_status wa_vindex_map_side(wa_vindex_build *build, const char *name, wa_map *out,
                                        bool *found, wa_error *err);
/** List a file of the vindex in `files`: its content counts, though it is not kept mapped. */
WA_CHECKED wa_status wa_vindex_list_file(wa_vindex_build *build, const char *name, wa_error *err);
/** Is there a directory entry of this name at all (dangling links included)? */
WA_CHECKED wa_status wa_vindex_has_entry(const wa_vindex_build *build, const char *name, bool *out,
                                         wa_error *err);

/** index.json into the vindex: V1, V2, the layer facts of V3. */
WA_CHECKED wa_status wa_vindex_index_open(wa_vindex_build *build, wa_error *err);
/** The `fp4` object of index.json: constants, names, precisions (V9). */
WA_CHECKED wa_status wa_vindex_fp4_parse(wa_vindex_build *build, const json_t *fp4, wa_error *err);
/** The files it names: there, and of exact size (V9). */
WA_CHECKED wa_status wa_vindex_fp4_open(wa_vindex_build *build, wa_error *err);
/** Gate, feature files, interleaved files, embeddings: V3 to V6, V18. */
WA_CHECKED wa_status wa_vindex_floats_open(wa_vindex_build *build, wa_error *err);
/** interleaved_kquant.bin and down_features_kquant.bin with their manifests, or those of the older
 * names: V7, V8. */
WA_CHECKED wa_status wa_vindex_kquants_open(wa_vindex_build *build, wa_error *err);
/** down_meta.bin: V10, and the tokenizer it needs. */
WA_CHECKED wa_status wa_vindex_down_meta_check(wa_vindex_build *build, wa_error *err);

/** weight_manifest.json: V11. Absent files are remarked. */
WA_CHECKED wa_status wa_vindex_weights_check(wa_vindex_build *build, wa_error *err);
/** layers/layer_NN.weights: V12, and the length of every region. They stay mapped. */
WA_CHECKED wa_status wa_vindex_layer_files_open(wa_vindex_build *build, wa_error *err);

/** Remark the entries of `layers`, which is there, that no layer of the vindex has. inventory.c */
WA_CHECKED wa_status wa_vindex_layers_remark(wa_vindex_build *build, wa_error *err);

/**
 * Header and table of a layer file of `entries` FFNs [features, hidden] in one format that has a
 * number there, rows padded to 256; the regions follow at once, gate and up before down, entry by
 * entry. Arena. Errors: WA_E_UNSUPPORTED (sizes), WA_E_INTERNAL (format), WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_layer_file_header(wa_format format, size_t entries, size_t features,
                                          size_t hidden, wa_arena *arena, wa_bytes *out,
                                          wa_error *err);

/** "up_weights.bin" or "down_weights.bin". */
const char *wa_weight_file(wa_projection projection);
/**
 * Up or down of a layer in the weight tier, feature-major [F, H]. false: the manifest or the file
 * has none of that shape.
 */
bool wa_vindex_weight(const wa_vindex *vindex, wa_projection projection, size_t layer,
                      wa_matrix *out);

/** Note which entry of a manifest an error is about. Returns the error's status. */
WA_CHECKED wa_status wa_vindex_note_entry(const json_t *entry, size_t at, wa_error *err);

/** A string member that must be one of `names`; *out is its place. `fallback` < 0: the key is
 * required. */
WA_CHECKED wa_status wa_vindex_choice(const json_t *object, const char *key,
                                      const char *const *names, size_t count, int fallback,
                                      size_t *out, wa_error *err);

/** 256 * ceil(n / 256); false on overflow. */
bool wa_pad256(size_t n, size_t *out);

#endif

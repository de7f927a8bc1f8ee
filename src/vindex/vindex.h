/* A vindex, opened and checked: index.json, and views of every FFN payload. */
#ifndef WALKAUDIT_VINDEX_VINDEX_H
#define WALKAUDIT_VINDEX_VINDEX_H

#include "base/arena.h"
#include "codec/codec.h"
#include "model/model.h"

typedef enum wa_projection { WA_GATE, WA_UP, WA_DOWN, WA_PROJECTION_COUNT } wa_projection;
/** "gate", "up", "down". */
const char *wa_projection_name(wa_projection projection);

/*
 * Payload files. X(id, file name, meaning). A payload is "present" when its file is there (and,
 * where it has one, its manifest) and every check of vindex-format.md 10 holds; damage is an error,
 * never absence. CHECKPOINT is no file of a vindex: it is all that wa_vindex_open_checkpoint gives,
 * and a vindex has none. Of a model with experts CHECKPOINT and EXPERTS hold the experts
 * themselves. What a layer has beside them, ROUTER, SHARED and BIASES hold, the first under the
 * names of projections: its gate is the router, its up the gate of the shared expert, its down the
 * router's bias.
 */
#define WA_PAYLOAD_LIST(X)                                                                         \
    X(GATE, "gate_vectors.bin", "gate rows, f32 or f16")                                           \
    X(UP_FEATURES, "up_features.bin", "up rows, f32")                                              \
    X(DOWN_FEATURES, "down_features.bin", "down rows, feature-major, f32")                         \
    X(INTERLEAVED, "interleaved.bin", "gate, up and down per layer, f32")                          \
    X(INTERLEAVED_Q4, "interleaved_q4.bin", "gate, up and down per layer, Q4_0")                   \
    X(INTERLEAVED_Q4K, "interleaved_kquant.bin", "gate, up and down per layer, K-quants")          \
    X(DOWN_FEATURES_Q4K, "down_features_kquant.bin", "feature-major down, K-quant")                \
    X(FP4, "index.json: fp4", "FP4 or FP8 projections")                                            \
    X(CHECKPOINT, "checkpoint", "the FFN weights of another checkpoint of the model")              \
    X(EXPERTS, "layers", "experts of each layer, a file for each")                                 \
    X(ROUTER, "norms.bin", "routers of experts")                                                   \
    X(SHARED, "shared", "shared experts of another checkpoint")                                    \
    X(BIASES, "norms.bin", "biases of experts, or of another checkpoint's FFNs")                   \
    X(ATTENTION, "attention", "queries, keys and values of another checkpoint")                    \
    X(ATTENTION_BIASES, "attention", "their biases")                                               \
    X(ATTENTION_OUT, "attention", "output of its attention, and its sinks")                        \
    X(ATTENTION_NORMS, "norms", "norms in and behind its attention")                               \
    X(BLOCK_NORMS, "norms", "norms before its attention and around its FFN")                       \
    X(NORM_BIASES, "norms", "biases of these")                                                     \
    X(ENDS, "ends", "its embedding, positions and output matrix")                                  \
    X(OTHER_NORMS, "norms", "its final norm, and what else is of norms")

typedef enum wa_payload {
#define WA_PAYLOAD_ENUM(id, file, meaning) WA_PAYLOAD_##id,
    WA_PAYLOAD_LIST(WA_PAYLOAD_ENUM)
#undef WA_PAYLOAD_ENUM
        WA_PAYLOAD_COUNT
} wa_payload;

/*
 * X(payload, gate, up, down): rows that lie beside an FFN's matrices, by what takes the places of
 * projections. Results count them behind projections, in this order.
 */
#define WA_BESIDE_LIST(X)                                                                          \
    X(ROUTER, "router", "gate of the shared expert", "bias of the router")                         \
    X(SHARED, "shared expert, gate", "shared expert, up", "shared expert, down")                   \
    X(BIASES, "bias of gate", "bias of up", "bias of down")                                        \
    X(ATTENTION, "queries", "keys", "values")                                                      \
    X(ATTENTION_BIASES, "bias of queries", "bias of keys", "bias of values")                       \
    X(ATTENTION_OUT, "attention output", "bias of attention output", "sinks")                      \
    X(ATTENTION_NORMS, "norm of queries", "norm of keys", "norm after attention")                  \
    X(BLOCK_NORMS, "norm before attention", "norm before the FFN", "norm after the FFN")           \
    X(NORM_BIASES, "bias of the norm before attention", "bias of the norm before the FFN",         \
      "bias of the norm after the FFN")                                                            \
    X(ENDS, "embedding", "positions", "output matrix")                                             \
    X(OTHER_NORMS, "final norm", "bias of the final norm", "bias of the norm after attention")
#define WA_BESIDE_ONE(payload, first, second, third) +WA_PROJECTION_COUNT
enum { WA_BESIDE_COUNT = 0 WA_BESIDE_LIST(WA_BESIDE_ONE) };
#undef WA_BESIDE_ONE
/** Of place `which` < WA_BESIDE_COUNT. */
const char *wa_beside_name(size_t which);
wa_payload wa_beside_payload(size_t which);

/** One word for results and tables: the file's name without .bin, "fp4" for those that index.json
 * names. */
const char *wa_payload_name(wa_payload payload);
/** The name that LARQL writes now. Where a vindex has its own: wa_vindex_file. */
const char *wa_payload_file(wa_payload payload);
const char *wa_payload_meaning(wa_payload payload);

typedef struct wa_vindex_layer {
    size_t features;      /* F[l] */
    size_t feature_start; /* P[l], prefix sum */
    uint64_t gate_offset; /* byte offset in gate_vectors.bin */
} wa_vindex_layer;

/** Read-only after wa_vindex_open. */
typedef struct wa_vindex {
    const char *path;  /* as given, arena */
    const char *model; /* index.json: a label only, arena */
    const char *family;
    const char *extract_level;
    wa_format gate_format; /* index.json: dtype */
    size_t layer_count, hidden, intermediate, vocab;
    double embed_scale, rope_base; /* as index.json has them; no rope_base: 0 */
    wa_vindex_layer *layers; /* [layer_count], arena; features = 0 where index.json lists none */
    bool present[WA_PAYLOAD_COUNT];
    bool readable[WA_PAYLOAD_COUNT]; /* present, and wa_vindex_matrix answers for all it holds */
    /* name of a payload's file that this vindex has, static; NULL = wa_payload_file */
    const char *file[WA_PAYLOAD_COUNT];
    /* not present though its file is there: why, to follow the file's name ("has no manifest …");
     * NULL = no file, or usable */
    const char *unusable[WA_PAYLOAD_COUNT];
    /* GATE is present without gate_vectors.bin: f16 values made from the K-quant gate of the
     * interleaved file (walk-paths 1.4); wa_matrix.through_f16 */
    bool gate_is_remade;
    /* our extension in index.json ("walkaudit": {"source_format": {...}}); NULL = not recorded */
    const char *source_format[WA_PROJECTION_COUNT];
    const char *const *notes; /* [note_count] things worth telling that are no errors, arena */
    size_t note_count;
    const char *const *files; /* [file_count] paths of index.json and every payload, arena */
    size_t file_count;
    struct wa_vindex_maps *maps; /* owned */
    /* [layer_count], arena: stacks.c; count 0 in a layer without; NULL = none at all */
    const struct wa_vindex_experts *experts;
    /* owned: another checkpoint of the model in the place of a vindex; else NULL */
    wa_model *checkpoint;
} wa_vindex;

/**
 * Open and check a vindex directory (vindex-format.md 10). Local. Payload *values* are not looked
 * at.
 *
 * Errors: WA_E_IO, WA_E_FORMAT (file, place, found, expected), WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_vindex_open(const char *path, wa_arena *arena, wa_vindex **out,
                                    wa_error *err);
void wa_vindex_close(wa_vindex *vindex);

/**
 * Another checkpoint of a model (a directory or a GGUF file, in any format that wa_model_open
 * reads), as a vindex whose one payload is CHECKPOINT: gate and up [F, H], down [H, F], as that
 * file stores them. Local. Errors as wa_model_open_with.
 */
WA_CHECKED wa_status wa_vindex_open_checkpoint(const char *path, const wa_model_options *options,
                                               wa_arena *arena, wa_vindex **out, wa_error *err);

/**
 * The name under which a vindex has a payload, or would: K-quant files were called …_q4k.bin until
 * May 2026 and …_kquant.bin since; where both are there the older is not read (larql-2026-08 1.1).
 */
const char *wa_vindex_file(const wa_vindex *vindex, wa_payload payload);

/**
 * The stored matrix of one projection of one layer in one payload. Gate and up are [F, H]; down is
 * feature-major [F, H], or [H, F] where wa_payload_down_is_feature_major says so. Rows of K-quants
 * and FP4 may be padded: cols is what counts, row_bytes covers the padding. rows = 0 when the layer
 * has no features. The payload must be readable and hold the projection, else WA_E_INTERNAL.
 */
WA_CHECKED wa_status wa_vindex_matrix(const wa_vindex *vindex, wa_payload payload,
                                      wa_projection projection, size_t layer, wa_matrix *out,
                                      wa_error *err);

/** EXPERTS, ROUTER, SHARED and BIASES: payloads of layers with experts. */
bool wa_payload_is_of_experts(wa_payload payload);
/** ATTENTION and all that follow: of a checkpoint that is compared as a whole. */
bool wa_payload_is_of_model(wa_payload payload);
/**
 * What of a model stands in the place of a projection in such a payload, or in BIASES of a layer
 * without experts: a matrix as stored, or a vector as a column of f32. rows = 0 where it has none;
 * embedding and positions stand at the first layer, final norm and output matrix at the last.
 */
wa_matrix wa_model_beside(const wa_model *model, wa_payload payload, wa_projection projection,
                          size_t layer);
/** Is it a norm to whose stored numbers a family adds wa_model.norm_offset? */
bool wa_beside_has_offset(wa_payload payload, wa_projection projection);
/** A vector as a column, so that a row is named where it differs; NULL has none. */
wa_matrix wa_vector_rows(const float *values, size_t count, const char *name);
/** How many matrices hold a projection of a layer in a payload: 1, of experts one for each, 0 where
 * it has none. layer < layer_count. */
size_t wa_vindex_stack(const wa_vindex *vindex, wa_payload payload, wa_projection projection,
                       size_t layer);
/** Matrix i of them. The gate file of an ungated model holds its up rows, and is opened as both.
 * Errors: as wa_vindex_matrix. */
WA_CHECKED wa_status wa_vindex_stack_matrix(const wa_vindex *vindex, wa_payload payload,
                                            wa_projection projection, size_t layer, size_t i,
                                            wa_matrix *out, wa_error *err);
/** The experts of a layer as the vindex, or checkpoint, has them; NULL = none, or not settled. */
const wa_experts *wa_vindex_experts_at(const wa_vindex *vindex, size_t layer);
/**
 * Matrix i of such a stack, of a vindex's experts or of the model's own; a view. Payloads
 * CHECKPOINT, EXPERTS, ROUTER, SHARED, BIASES. rows = 0 where these experts have no such part.
 */
wa_matrix wa_experts_matrix(const wa_experts *experts, wa_payload payload, wa_projection projection,
                            size_t i);
/**
 * Find out which experts of a model's a vindex or a checkpoint has: fills `experts` and offers
 * their payloads. Local. After wa_vindex_match. Errors as wa_vindex_experts_open (experts.h).
 */
WA_CHECKED wa_status wa_vindex_settle_experts(wa_vindex *vindex, const wa_model *model,
                                              wa_arena *arena, wa_error *err);

/** Where a matrix of wa_vindex_matrix starts in the file that it is named after; false when in
 * none. */
bool wa_vindex_offset(const wa_vindex *vindex, const wa_matrix *matrix, uint64_t *out);

/** Does the payload hold that projection? */
bool wa_payload_holds(wa_payload payload, wa_projection projection);

/**
 * The payload whose bytes wa_vindex_matrix gives for a projection that `payload` holds. Itself,
 * but: an FP4 projection tagged f16 or f32 lives in its ordinary file (policy C: down in
 * down_features.bin), and a re-made gate in the interleaved K-quant file. Buckets and labels follow
 * this one.
 */
wa_payload wa_vindex_serving(const wa_vindex *vindex, wa_payload payload, wa_projection projection);

/**
 * Is the payload's down stored feature-major, [F, H]? false: [H, F], a column is a feature
 * (interleaved_kquant.bin, vindex-format 4.4). Payloads without down: true.
 */
bool wa_payload_down_is_feature_major(wa_payload payload);

/** Non-finite values of one matrix: count, and the first place (feature row, element). */
typedef struct wa_nonfinite {
    size_t count;
    size_t first_row, first_col;
} wa_nonfinite;
/** Scan a stored matrix; scratch: [cols] f32 of the caller. */
wa_nonfinite wa_matrix_nonfinite(const wa_matrix *matrix, float *scratch);

#endif

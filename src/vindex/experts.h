/*
 * Experts that a vindex holds: layers/layer_NN.weights, which is LYRW v1 (larql-2026-08 5.1), and
 * the router and the biases that weight_manifest.json names (1.6, 5.3). A shared expert and its
 * gate have no place in a vindex.
 */
#ifndef WALKAUDIT_VINDEX_EXPERTS_H
#define WALKAUDIT_VINDEX_EXPERTS_H

#include "vindex/vindex.h"

/** What the file of a layer holds. A plain value. */
typedef struct wa_layer_store {
    const char *format_name; /* as the document calls it, static; NULL: the layer has no file */
    /* of every matrix; Q4_0 and Q6_K in ggml's order until wa_vindex_settle_orders finds the other
     * */
    wa_format format;
    size_t entries;  /* experts; 1 may also be a dense FFN */
    size_t features; /* of one entry */
    /* some matrix has rows that are not filled up to 256 elements, as LARQL wrote until May 2026 */
    bool unpadded;
    bool has_router;      /* the vindex also has the router of the layer: [entries, H] */
    bool has_router_bias; /* [entries] */
    bool has_biases;      /* of gate and up, or of down, of every entry */
} wa_layer_store;

/** Facts of a layer's file; entries = 0 where there is none, and in a checkpoint. layer <
 * layer_count. */
wa_layer_store wa_vindex_layer_store(const wa_vindex *vindex, size_t layer);

/** The first layer with such a file; layer_count = none. */
size_t wa_vindex_expert_layer(const wa_vindex *vindex);

/**
 * Gate and up [F, H], down [H, F] of one entry, views of the file; no biases. For entry 0 of a file
 * of one entry: the dense FFN of that layer. Local. Errors: WA_E_INTERNAL (no such entry).
 */
WA_CHECKED wa_status wa_vindex_expert(const wa_vindex *vindex, size_t layer, size_t entry,
                                      wa_expert *out, wa_error *err);

/** One of an FFN's matrices. */
const wa_matrix *wa_expert_matrix(const wa_expert *ffn, wa_projection projection);

/** What weight_manifest.json may say of a layer's experts. */
typedef enum wa_router_role {
    WA_ROUTER_WEIGHT,
    WA_ROUTER_BIAS,
    WA_ROUTER_GATE_UP_BIAS,
    WA_ROUTER_DOWN_BIAS,
    WA_ROUTER_ROLES
} wa_router_role;

/** A layer's experts as a vindex has them. */
typedef struct wa_vindex_experts {
    /* matrices of the vindex; counts, rule of the weights, shared expert and its gate are the
     * model's */
    wa_experts experts;
    /* What of this the vindex stores, to be compared with the model's; the rest is the model's own,
     * or nobody's. */
    bool stored[WA_ROUTER_ROLES];
} wa_vindex_experts;

/**
 * The experts of a layer as the vindex stores them, checked against the model's: as many, of the
 * same shapes. What the vindex lacks is taken from the model, and said; what the model lacks is
 * refused, since nothing could be compared with it. Local. The model's layer has experts, and the
 * vindex a file of the layer.
 *
 * arena  holds the list of experts and the biases as f32, about 4 * E * (2 F + H) bytes where there
 *        are any
 *
 * Errors: WA_E_MISMATCH (numbers of experts, features, sizes of router and biases: found,
 * expected; a bias that the model has not), WA_E_INTERNAL (no such layer), WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_vindex_experts_open(const wa_vindex *vindex, const wa_model *model,
                                            size_t layer, wa_arena *arena, wa_vindex_experts *out,
                                            wa_error *err);

/**
 * Names in weight_manifest.json behind "layers.N.", of the scheme that a family has; NULL where it
 * has no such tensor. The biases of all experts lie in one tensor each: gate and up in turn [E, 2
 * F], down [E, H], as GPT-OSS has them.
 */
typedef struct wa_router_names {
    const char *families; /* index.json's words, split by ' ' */
    const char *router, *router_bias, *gate_up_bias, *down_bias;
} wa_router_names;

/** The scheme of a family, NULL = none is known. */
const wa_router_names *wa_router_names_of(const char *family);

#endif

/* What each supported family is: tables of facts and of tensor names
 * (forward-pass.md 1.3, 1.7, 2.2). */
#ifndef WALKAUDIT_MODEL_FAMILY_H
#define WALKAUDIT_MODEL_FAMILY_H

#include "model/model.h"

/* Places of a model that a tensor can have. */
typedef enum wa_role {
    WA_ROLE_EMBEDDING,
    WA_ROLE_POSITIONS,
    WA_ROLE_OUTPUT,
    WA_ROLE_FINAL_NORM,
    WA_ROLE_ATTN_IN, /* from here on: one in each layer */
    WA_ROLE_ATTN_OUT,
    WA_ROLE_FFN_IN,
    WA_ROLE_FFN_OUT,
    WA_ROLE_Q,
    WA_ROLE_K,
    WA_ROLE_V,
    WA_ROLE_O,
    WA_ROLE_QKV, /* q, k and v in one tensor, in that order */
    WA_ROLE_SINKS,
    WA_ROLE_Q_NORM,
    WA_ROLE_K_NORM,
    WA_ROLE_GATE_UP, /* gate and up in one tensor, in that order */
    WA_ROLE_GATE,
    WA_ROLE_UP,
    WA_ROLE_DOWN,
    WA_ROLE_ROUTER,
    WA_ROLE_EXPERT_GATE,
    WA_ROLE_EXPERT_UP,
    WA_ROLE_EXPERT_DOWN,
    /* those of all experts in one tensor; gate and up in turn, stored [in, out] */
    WA_ROLE_PACKED_GATE_UP,
    WA_ROLE_PACKED_GATE, /* [experts, out, in], as GGUF has them */
    WA_ROLE_PACKED_UP,
    WA_ROLE_PACKED_DOWN,
    WA_ROLE_SHARED_WEIGHT, /* of the shared expert, by its logistic function */
    WA_ROLE_SHARED_GATE,
    WA_ROLE_SHARED_UP,
    WA_ROLE_SHARED_DOWN,
    WA_ROLE_COUNT
} wa_role;

/** Names of one container and family: layer_prefix, layer, ".", role, then ".weight" or ".bias". A
 * '#' in a role is the expert's number. */
typedef struct wa_names {
    const char *layer_prefix;        /* "layers." */
    const char *role[WA_ROLE_COUNT]; /* NULL = the family has no such tensor */
    bool conv1d;                     /* matrices of layers are stored [in, out] */
    /* packed experts and sinks have no ".weight" at the end, and biases of experts "_bias" */
    bool bare;
} wa_names;

/** Biases that a flag of config.json decides, or (key NULL) the family. */
typedef struct wa_bias_rule {
    const char *key;
    bool fallback; /* when the key is absent */
} wa_bias_rule;

/** Where the norms of a block stand (forward-pass.md 3.3). */
typedef enum wa_blocks {
    WA_BLOCKS_PRE,      /* before attention and FFN */
    WA_BLOCKS_SANDWICH, /* before and after both */
    WA_BLOCKS_POST      /* after both */
} wa_blocks;

/** RMS norms of q and k. */
typedef enum wa_qk_norm { WA_QK_NORM_NONE, WA_QK_NORM_HEADS, WA_QK_NORM_WIDE } wa_qk_norm;

/** Layers without rotation. */
typedef enum wa_nope_rule {
    WA_NOPE_NONE,
    WA_NOPE_LISTED, /* `no_rope_layers`, else every `no_rope_layer_interval`-th */
    WA_NOPE_FULL    /* full layers of a model that has windows */
} wa_nope_rule;

/* Which layers attend within a window only (native; never under larql-2026-05). */
typedef enum wa_window_rule {
    WA_WINDOW_NONE,
    WA_WINDOW_ALL,     /* every layer, when a window is given */
    WA_WINDOW_PATTERN, /* layer l iff (l + 1) mod n is not 0 */
    WA_WINDOW_FLAG,    /* layers from max_window_layers on, when use_sliding_window is true */
    WA_WINDOW_NOPE     /* layers without rotation, when use_sliding_window is true */
} wa_window_rule;

typedef enum wa_embed_rule { WA_EMBED_PLAIN, WA_EMBED_SQRT, WA_EMBED_MULTIPLIER } wa_embed_rule;

typedef enum wa_tie_rule { WA_TIE_NO, WA_TIE_YES, WA_TIE_IF_ABSENT } wa_tie_rule;

/** config.json's spelling of what families spell differently. */
typedef struct wa_config_keys {
    const char *hidden, *layers, *heads, *intermediate, *eps;
    const char *activation; /* NULL = no key decides it */
    bool gelu_is_tanh;      /* of that key: an old "gelu" that always meant the one by tanh */
} wa_config_keys;

/** Experts of a family. Static. */
typedef struct wa_expert_rule {
    size_t count, chosen;     /* when the keys are absent */
    const char *features_key; /* of one expert */
    size_t features;          /* when it is absent */
    /* features of the shared expert, when the key is absent; 0 = no such expert */
    size_t shared;
    /* NULL = weights are always renormalised; absent means they are not */
    const char *renormalise_key;
    bool biases; /* of router and experts */
    /* `decoder_sparse_step` and `mlp_only_layers` name layers without experts */
    bool some_dense;
} wa_expert_rule;

/** A family. Static. Defaults are those of `native` semantics. */
typedef struct wa_family {
    const char *model_type; /* of config.json, matched exactly */
    const char *family;     /* as index.json names it */
    const char *classes;    /* of transformers, split by ' '; NULL = none are known */
    const wa_config_keys *keys;
    const wa_names *names;
    wa_norm_kind norm_kind;
    float norm_offset; /* of HF weights; GGUF files already contain it */
    wa_blocks blocks;
    wa_qk_norm qk_norm;
    bool sinks; /* a score of no key in every head */
    bool gated;
    wa_activation activation;
    double eps;
    wa_bias_rule qkv_bias, o_bias, ffn_bias;
    wa_window_rule window_rule;
    size_t window_pattern; /* n of WA_WINDOW_PATTERN */
    size_t window;         /* when the key is absent; 0 = none */
    bool window_in_all;    /* whatever layer_types lists: its classes do not look at it */
    wa_embed_rule embed;
    wa_tie_rule tie;     /* when the key is absent */
    bool multipliers;    /* Granite's */
    bool position_table; /* instead of rotation */
    /* the classes of its authors assume a scaling where none is given */
    bool needs_rope_object;
    double rope_base, larql_rope_base; /* when the keys are absent */
    double local_rope_base; /* of sliding layers, when the keys are absent; 0 = as the others */
    /* of sliding layers, which rotate unscaled by a base of their own */
    const char *local_rope_key;
    bool rope_pairs;           /* rows of q and k are stored in interleaved pairs */
    double rotated;            /* fraction of a head, when absent; 0 = all of it, key refused */
    double original_positions; /* before scaling, when absent; 0 = as other keys say */
    wa_nope_rule nope;
    size_t head_dim;            /* when the key is absent; 0 = hidden size / heads */
    size_t q_heads, kv_heads;   /* when the keys are absent; 0 = required, and as q_heads */
    double attn_scalar;         /* query_pre_attn_scalar when absent; 0 = head_dim, key ignored */
    double attn_cap, final_cap; /* when the keys are absent; 0 = none */
    bool caps;                  /* reads the keys of the caps */
    const wa_expert_rule *experts; /* NULL = none */
    const char *larql_refusal;     /* why `larql` is not offered; NULL = it is */
} wa_family;

/**
 * The family of config.json's `model_type`. WA_E_UNSUPPORTED names the type and, for known families
 * that cannot be computed here, why (forward-pass.md 2.3).
 */
WA_CHECKED wa_status wa_family_find(const char *model_type, const wa_family **out, wa_error *err);

static const size_t WA_EVERY_MODEL = SIZE_MAX;

/** What a GGUF file's `general.architecture` stands for. */
typedef struct wa_gguf_family {
    const char *architecture;
    const wa_family *family;
    const wa_names *names;
    bool rope_pairs; /* rows of q and k are stored in pairs (forward-pass.md 1.7, point 2) */
    wa_window_rule window_rule;
    /* layer count of the model that has its family's window where no key says so; 0 = none has,
     * WA_EVERY_MODEL = each */
    size_t window_layers;
    size_t larger_layers; /* layer count of the 27B model, whose attention scalar is H / nq; 0 =
                             none */
    const wa_family *with_experts; /* what files with experts stand for; NULL = `family` says it */
    bool renormalised; /* weights of experts, where the family has a key for it, which files lack */
    /* YaRN's ramp does not end at whole dimensions, for which files have no key */
    bool exact_ramp;
} wa_gguf_family;

WA_CHECKED wa_status wa_gguf_family_find(wa_bytes architecture, const wa_gguf_family **out,
                                         wa_error *err);

/** "silu", "gelu_new", … as configurations spell it. False when unknown. */
bool wa_activation_find(const char *name, wa_activation *out);

#endif

/* A dense model, opened: facts of its family, and named weights as views into mapped files. */
#ifndef WALKAUDIT_MODEL_MODEL_H
#define WALKAUDIT_MODEL_MODEL_H

#include "base/arena.h"
#include "codec/codec.h"

/* X(id, word): what the model's authors define, or what LARQL computed in May (forward-pass.md
 * section 0) or in August 2026 (larql-2026-08.md 6.1). */
#define WA_SEMANTICS_LIST(X)                                                                       \
    X(NATIVE, "native")                                                                            \
    X(LARQL_2026_05, "larql-2026-05")                                                              \
    X(LARQL_2026_08, "larql-2026-08")
typedef enum wa_semantics {
#define WA_SEMANTICS_ENUM(id, word) WA_SEMANTICS_##id,
    WA_SEMANTICS_LIST(WA_SEMANTICS_ENUM)
#undef WA_SEMANTICS_ENUM
        WA_SEMANTICS_COUNT
} wa_semantics;
/** The word of a job file. */
const char *wa_semantics_name(wa_semantics semantics);
/** The word to the semantics; false when there is none. */
bool wa_semantics_parse(const char *word, wa_semantics *out);

typedef enum wa_activation {
    WA_SILU,
    WA_GELU_TANH,
    WA_GELU_ERF,
    WA_RELU2, /* max(x, 0) squared */
    /* gated only: m s(1.702 m) (clamp(up, -7, 7) + 1), m = min(gate, 7), s logistic: GPT-OSS */
    WA_CLAMPED_GLU
} wa_activation;
const char *wa_activation_name(wa_activation activation);

typedef enum wa_norm_kind { WA_NORM_RMS, WA_NORM_LAYER } wa_norm_kind;

/** Weights of one norm, decoded; the family's offset is already added to `weight` (f32 sum). */
typedef struct wa_norm {
    const float *weight; /* [n], arena; NULL = this block has no such norm */
    const float *bias;   /* [n], arena; LayerNorm only, else NULL */
} wa_norm;

/** One expert: an FFN of its own, as a layer's. */
typedef struct wa_expert {
    wa_matrix gate, up, down;                     /* [F, H], [F, H], [H, F] */
    const float *gate_bias, *up_bias, *down_bias; /* [F], [F], [H], arena; NULL = none */
} wa_expert;

/**
 * The FFN of a layer with experts: a router gives each row a logit for every expert; the row goes
 * through the `chosen` experts of the largest, whose outputs are added by their softmax weights.
 */
typedef struct wa_experts {
    size_t count, chosen;     /* 1 <= chosen <= count */
    size_t widest;            /* features of the widest FFN among them and the shared one */
    bool renormalised;        /* the weights of the chosen sum to 1; else as the softmax has them */
    wa_matrix router;         /* [count, H] */
    const float *router_bias; /* [count], arena; NULL = none */
    const wa_expert *experts; /* [count], arena */
    wa_expert shared;         /* takes every row as well; up.rows = 0: there is none */
    wa_matrix shared_gate;    /* [1, H]: the logistic function of its product is the weight */
} wa_experts;

/** One transformer layer. Matrices are views into maps, vectors are decoded f32 in the model's
 * arena (NULL = absent). */
typedef struct wa_layer {
    wa_norm attn_in;  /* before attention; NULL in a post block */
    wa_norm attn_out; /* on attention's output, in a sandwich or post block; else NULL */
    wa_norm ffn_in;   /* before the FFN; NULL in a post block */
    wa_norm ffn_out;  /* on the FFN's output, in a sandwich or post block; else NULL */
    /* [q_heads*head_dim, H], [kv_heads*head_dim, H] twice, [H, q_heads*head_dim] */
    wa_matrix q, k, v, o;
    const float *q_bias, *k_bias, *v_bias, *o_bias;
    const float *q_norm, *k_norm; /* [head_dim], or whole rows with wide_qk_norm; offset added */
    /* [q_heads], arena: a score of no key that takes its share of each head's softmax; NULL = none
     * */
    const float *sinks;
    /* instead of gate, up and down, whose rows are 0 then; NULL = none */
    const wa_experts *experts;
    wa_matrix gate, up, down; /* [I, H], [I, H], [H, I]; gate.rows = 0 for ungated models */
    const float *gate_bias, *up_bias, *down_bias; /* a vindex has no place for these */
    /* [rotary_dim/2] angle per position, scaling applied; NULL = no rotation */
    const double *rope_freq;
    const double *rope_long_freq; /* of prompts longer than rope_long_from; NULL = as rope_freq */
    size_t rope_long_from;
    double rope_factor; /* what cosines and sines are multiplied by; 1 = none */
    size_t window;      /* positions i - j < window attend; 0 = no window */
} wa_layer;

/** One line of how a model was understood. */
typedef struct wa_model_fact {
    const char *name; /* "rope", "windows", …: static */
    const char *text; /* in words and numbers, arena */
} wa_model_fact;

/** How a model is to be opened. */
typedef struct wa_model_options {
    wa_semantics semantics;
    bool allow_unread; /* go on without tensors of the decoder that nothing here reads */
} wa_model_options;

/** Facts and weights of a model. Read-only after wa_model_open. */
typedef struct wa_model {
    const char *path; /* as given, arena */
    /* "gemma3", "llama", …: index.json's `family` (forward-pass.md 2.2), static */
    const char *family;
    const char *model_type; /* config.json's model_type or the GGUF architecture, arena */
    const char *container;  /* "safetensors" or "gguf" */
    wa_semantics semantics;
    size_t layer_count, hidden, intermediate, q_heads, kv_heads, head_dim;
    size_t rotary_dim; /* first dimensions of a head that are rotated, in pairs (i, i + half) */
    bool wide_qk_norm; /* q and k are normed over all heads of a row at once */
    size_t vocab;      /* rows of the output matrix */
    wa_activation activation;
    bool gated;
    wa_norm_kind norm_kind;
    double norm_eps;
    float norm_offset;         /* what the weights of all norms have more than stored: Gemma's 1 */
    float attn_scale;          /* s = (k . q) * attn_scale */
    float attn_cap, final_cap; /* 0 = none */
    float embed_scale;         /* 1 = none */
    float residual_multiplier; /* 1 = none */
    float logits_scale;        /* reciprocal of logits_scaling; 1 = none */
    double rope_base;          /* of full layers, as index.json records it */
    double rope_local_base;    /* of sliding layers; 0 = same */
    size_t sliding_window;     /* from the config; 0 = none (layers[].window is what counts) */
    double query_pre_attn_scalar; /* 0 = not given */
    wa_matrix embedding;          /* [rows, H] */
    wa_matrix positions;          /* GPT-2 native: [n_ctx, H]; else rows = 0 */
    wa_matrix output;             /* [vocab, H]; the embedding when tied */
    bool tied;
    wa_norm final_norm;
    wa_layer *layers; /* [layer_count], arena */
    /* [file_count] paths of config.json and every file of weights, arena */
    const char *const *files;
    size_t file_count;
    const char *const *notes; /* [note_count] things worth telling that are no errors, arena */
    size_t note_count;
    size_t unread; /* tensors of the decoder that nothing reads; above 0 with allow_unread only */
    const wa_model_fact *understood; /* [understood_count], arena: how the model was understood */
    size_t understood_count;
    struct wa_model_maps *maps; /* owned */
} wa_model;

/**
 * Open a Hugging Face directory (config.json, safetensors shards) or a GGUF file, any part of a
 * split one, or a directory with one GGUF and no safetensors. Local. Every tensor's place and shape
 * is checked; weights stay mapped.
 *
 * arena  holds everything but the maps; must outlive the model
 *
 * Errors: WA_E_IO, WA_E_FORMAT (file, tensor, found, expected), WA_E_UNSUPPORTED (family,
 * activation, quantisation, experts), WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_model_open(const char *path, wa_semantics semantics, wa_arena *arena,
                                   wa_model **out, wa_error *err);
/** The same with every choice. Without allow_unread a tensor of a layer that is neither read nor
 * known to be inert is WA_E_UNSUPPORTED; with it, a note. */
WA_CHECKED wa_status wa_model_open_with(const char *path, const wa_model_options *options,
                                        wa_arena *arena, wa_model **out, wa_error *err);
/** Unmap. NULL is allowed. The arena's memory stays the caller's. */
void wa_model_close(wa_model *model);

/** wa_map_forget for every file of weights. Matrices stay valid; a model without files (made by a
 * test) is left alone. */
void wa_model_forget(const wa_model *model);

/** Features of the widest FFN of any layer, of one expert where there are experts. */
size_t wa_model_widest_ffn(const wa_model *model);

/** The first layer with experts; layer_count = none. */
size_t wa_model_expert_layer(const wa_model *model);

/** FFNs of a layer with experts: the experts, and the shared one behind them where there is one. */
size_t wa_experts_ffns(const wa_experts *experts);
const wa_expert *wa_experts_ffn(const wa_experts *experts, size_t i);

/** Stored bytes of a layer's router and experts. */
size_t wa_experts_bytes(const wa_experts *experts);

/** Stored bytes of the projections of attention at `layer`, of all of that layer, and of embedding +
 * output (tied counted once); for the plan. */
size_t wa_model_attention_bytes(const wa_model *model, size_t layer);
size_t wa_model_layer_bytes(const wa_model *model, size_t layer);
size_t wa_model_head_bytes(const wa_model *model);

#endif

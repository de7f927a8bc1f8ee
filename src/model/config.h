/* A model's configuration, from config.json or GGUF metadata: every fact that is no weight. */
#ifndef WALKAUDIT_MODEL_CONFIG_H
#define WALKAUDIT_MODEL_CONFIG_H

#include "model/family.h"
#include "model/gguf.h"
#include "model/notes.h"

#include "base/json.h"

typedef enum wa_scaling_kind {
    WA_SCALING_NONE,
    WA_SCALING_LINEAR,
    WA_SCALING_LLAMA3,
    WA_SCALING_YARN,
    WA_SCALING_LONGROPE
} wa_scaling_kind;

/** Scaling of rotation frequencies (forward-pass.md 3.4). Fields of other kinds are 0. */
typedef struct wa_rope_scaling {
    wa_scaling_kind kind;
    double factor;
    double original_positions;                /* llama3, yarn, longrope */
    double low_freq_factor, high_freq_factor; /* llama3 */
    double beta_fast, beta_slow;              /* yarn */
    bool truncate;                            /* yarn: the ramp ends at whole dimensions */
    double attention_factor; /* yarn, longrope: of cosines and sines; 0 elsewhere */
    const double *short_factors, *long_factors; /* longrope: [rotary_dim/2], arena */
} wa_rope_scaling;

/** Which layers are sliding: a list, or else a rule. */
typedef struct wa_layer_kinds {
    wa_window_rule rule;
    size_t number;          /* n of WA_WINDOW_PATTERN, first sliding layer of WA_WINDOW_FLAG */
    const bool *is_sliding; /* [layer_count], arena; NULL = by the rule */
    wa_nope_rule nope;
    size_t nope_interval;     /* WA_NOPE_LISTED: layer l rotates iff (l + 1) mod this is not 0 */
    const bool *is_unrotated; /* [layer_count], arena; NULL = by the rule */
} wa_layer_kinds;

/** Experts of a model; count 0 = none. */
typedef struct wa_expert_shape {
    size_t count, chosen, features, shared_features;
    bool renormalised;
    const bool *is_dense; /* [layer_count], arena: layers without experts */
} wa_expert_shape;

typedef struct wa_config {
    wa_model facts; /* the fields that are no weights, files or layers; vocab 0 = not given */
    const wa_family *family;
    const wa_names *names;
    wa_rope_scaling scaling;
    wa_layer_kinds kinds;
    wa_expert_shape experts;
    wa_tie_rule tie;
    float norm_offset;
    bool rotates;                    /* false: a position table instead */
    bool qkv_bias, o_bias, ffn_bias; /* required; the norms' biases follow from norm_kind */
    bool optional_biases;  /* GGUF has no flags: q, k, v, o biases are used where they are stored */
    bool refuses_ffn_bias; /* GGUF: stored FFN biases of a family without them are an error */
    bool rope_pairs;
    bool allow_unread; /* tensors of the decoder that nothing reads are a note, no error */
    wa_notes notes;    /* of the configuration; the weights add theirs */
    /* weights of FP8 that share a scale, quantization_config.weight_block_size; 0 = no blocks */
    size_t scale_rows, scale_cols;
    size_t positions;           /* rows of the position table; 0 = not given */
    size_t vocab_least;         /* GGUF: tokens of the vocabulary inside the file */
    const float *rope_divisors; /* GGUF's rope_freqs.weight; set by the weights, [rotary_dim/2] */
} wa_config;

/**
 * Read config.json's root object. Local. Strings are copied to `arena`.
 * Errors: WA_E_FORMAT (key, found, expected), WA_E_UNSUPPORTED (type, activation, experts,
 * scaling).
 */
WA_CHECKED wa_status wa_config_from_json(const json_t *root, wa_semantics semantics,
                                         wa_arena *arena, wa_config *out, wa_error *err);

/** The same from GGUF metadata (forward-pass.md 1.7). */
WA_CHECKED wa_status wa_config_from_gguf(const wa_gguf *gguf, wa_semantics semantics,
                                         wa_arena *arena, wa_config *out, wa_error *err);

/**
 * What both containers have in common, once sizes and numbers are in: checks of
 * forward-pass.md 1.4, and the embedding's scale where it follows from the width.
 */
WA_CHECKED wa_status wa_config_finish(wa_config *config, wa_error *err);

/** Experts in numbers that can be: 1 <= chosen <= count; `key` is that of `chosen`. No experts at
 * all are fine. */
WA_CHECKED wa_status wa_config_experts_check(const wa_expert_shape *shape, const char *key,
                                             wa_error *err);

/** More layers than any model has are an error of the file, told before tables of layers are made. */
enum { WA_LAYERS_MOST = 1 << 16 };
WA_CHECKED wa_status wa_config_layers_check(size_t layers, wa_error *err);

/** A number that must be finite and above 0; `what` for the message. */
WA_CHECKED wa_status wa_config_positive(const char *what, double value, wa_error *err);
/** A number of positions: that, and at most 2^53, so that a size can hold it. */
WA_CHECKED wa_status wa_config_positions(const char *what, double value, wa_error *err);

/** Does layer `layer` attend within a window, and rotate with the local base? */
bool wa_config_is_sliding(const wa_config *config, size_t layer);

/** Does layer `layer` go without rotation, in a model that rotates? */
bool wa_config_is_unrotated(const wa_config *config, size_t layer);

/** Sets of rotation frequencies that a model can have. */
typedef enum wa_rope_set {
    WA_ROPE_FULL,
    WA_ROPE_LOCAL, /* sliding layers; as full ones where they have no base of their own */
    WA_ROPE_LONG   /* longrope, prompts longer than original_positions */
} wa_rope_set;

/**
 * Rotation frequencies in f64, scaling included (rope.c; forward-pass.md 3.4).
 * out  [rotary_dim / 2], angle per position
 */
void wa_config_rope(const wa_config *config, wa_rope_set set, double *out);

/** What cosines and sines of a set are multiplied by. */
double wa_config_rope_factor(const wa_config *config, wa_rope_set set);

#endif

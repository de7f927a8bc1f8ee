/* Parts of a synthetic model: its shape, its tensors, their values, its tokenizer. */
#ifndef WALKAUDIT_MODEL_SYNTH_PARTS_H
#define WALKAUDIT_MODEL_SYNTH_PARTS_H

#include "base/arena.h"
#include "base/bytes.h"

/** Whose widths and streams a family has. */
typedef enum wa_synth_like { WA_SYNTH_GEMMA3, WA_SYNTH_LLAMA } wa_synth_like;

typedef enum wa_synth_size {
    WA_SYNTH_H,  /* hidden */
    WA_SYNTH_I,  /* intermediate, */
    WA_SYNTH_2I, /* twice of it */
    WA_SYNTH_Q,
    WA_SYNTH_KV,
    WA_SYNTH_QKV,
    WA_SYNTH_HEAD,
    WA_SYNTH_HEADS, /* of q */
    WA_SYNTH_F,     /* features of an expert */
    WA_SYNTH_2F,
    WA_SYNTH_S, /* of the shared one */
    WA_SYNTH_E, /* experts */
    WA_SYNTH_ONE
} wa_synth_size;

/** What a tensor does decides its values. */
typedef enum wa_synth_kind {
    WA_SYNTH_NORM,
    WA_SYNTH_QK_NORM,
    WA_SYNTH_POST_NORM,
    WA_SYNTH_IN,     /* reads the residual stream */
    WA_SYNTH_SHARP,  /* that, and its rows are not normed later: scores a little larger */
    WA_SYNTH_OUT,    /* writes to the residual stream */
    WA_SYNTH_ROUTER, /* logits of experts, spread enough that the chosen ones are clear */
    WA_SYNTH_BIAS,
    WA_SYNTH_SINKS,
    /* stacks of all experts in one tensor, which has no ".weight" at the end; of matrices [in, out]
     * and of biases: */
    WA_SYNTH_STACK_IN,
    WA_SYNTH_STACK_OUT,
    WA_SYNTH_STACK_BIAS
} wa_synth_kind;

/** One tensor of a layer; a vector has its size in rows. With '#' in its name there is one for each
 * expert, whose number it is. */
typedef struct wa_synth_part {
    const char *name; /* after "model.layers.N.", before ".weight" or ".bias" where there is one */
    wa_synth_kind kind;
    wa_synth_size rows, cols;
} wa_synth_part;

enum { WA_SYNTH_PARTS = 18 };

/** What config.json calls the numbers of experts; the number chosen is `num_experts_per_tok`
 * everywhere. */
typedef struct wa_synth_experts {
    const char *count, *features; /* keys; features NULL = `intermediate_size` itself */
    const char *shared;           /* key of the width of a shared expert; NULL = there is none */
} wa_synth_experts;

/** A family that can be written: a row of the table in synth_families.c. */
typedef struct wa_synth_family {
    const char *name;
    wa_synth_like like;
    bool post_norms;                     /* outputs of blocks are normed */
    bool attention_bias;                 /* of config.json */
    const char *config;                  /* lines of config.json that no other family has */
    const char *rope;                    /* the value of `rope_scaling`; NULL = null */
    const wa_synth_experts *experts;     /* NULL = none */
    wa_synth_part parts[WA_SYNTH_PARTS]; /* in the order of the file; up to name NULL */
} wa_synth_family;

/** WA_E_USAGE names the families there are. */
WA_CHECKED wa_status wa_synth_family_find(const char *name, const wa_synth_family **out,
                                          wa_error *err);

/** Facts of the model to be written. A plain value. */
typedef struct wa_synth_shape {
    wa_synth_like like;
    const char *name;
    size_t hidden, intermediate, layers, q_heads, kv_heads, head_dim, vocab;
    size_t window, pattern; /* gemma3: sliding window, one full layer in `pattern` */
    bool tied;
    uint64_t seed;
    const wa_synth_family *family; /* static */
    /* 0 without experts; shared: features of the shared one, 0 = none */
    size_t experts, chosen, features, shared;
} wa_synth_shape;

/* --- Values ----------------------------------------------------------------------------------- */

/** The i-th word (i from 0) of the SplitMix64 sequence that starts at `key`: a counter-based
 * generator. */
uint64_t wa_synth_word(uint64_t key, uint64_t i);

/** A key of its own for one use: the seed, a word for what, and an index. */
uint64_t wa_synth_key(uint64_t seed, const char *what, uint64_t index);

/** A double in [0, 1), 53 bits. */
double wa_synth_uniform(uint64_t word);

/**
 * One value of mean 0 and variance 1, near normal, with the slightly heavy tails of trained
 * weights: s + s^3 / 20 of a sum s of four 16-bit uniforms, scaled. No libm, so the same bits
 * everywhere.
 */
float wa_synth_normal(uint64_t word);

/** How a tensor is filled. */
typedef struct wa_synth_tensor {
    const char *name;  /* Hugging Face's, arena */
    size_t rows, cols; /* a vector has rows = 0 */
    /* so many matrices, of rows / stack rows each, in one tensor of three dimensions; 0 = a matrix
     * */
    size_t stack;
    double center;       /* mean of a vector, before offset */
    double sigma;        /* of the values */
    double offset;       /* taken off a vector before it is stored: 1 for Gemma's norms */
    bool feeds_residual; /* rows are channels of the residual stream: outliers are scaled */
    uint64_t key;
} wa_synth_tensor;

/** All tensors of a model in the order of the file. */
WA_CHECKED wa_status wa_synth_list(const wa_synth_shape *shape, wa_arena *arena,
                                   wa_synth_tensor **out, size_t *count, wa_error *err);

/** Values of row `row` (0 for a vector) to out [cols] f32. */
void wa_synth_fill(const wa_synth_shape *shape, const wa_synth_tensor *tensor, size_t row,
                   float *out);

/* --- Text files ------------------------------------------------------------------------------- */

/** Ids of the tokenizer, the same for every model: bytes, merges, then these two. */
typedef struct wa_synth_tokens {
    size_t count; /* all ids, special ones included */
    size_t bos, eos;
    const char *json; /* tokenizer.json, arena */
} wa_synth_tokens;

WA_CHECKED wa_status wa_synth_tokenizer(wa_arena *arena, wa_synth_tokens *out, wa_error *err);

#endif

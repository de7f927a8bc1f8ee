/* Parts of a synthetic model: its shape, its tensors, their values, its tokenizer. */
#ifndef WALKAUDIT_MODEL_SYNTH_PARTS_H
#define WALKAUDIT_MODEL_SYNTH_PARTS_H

#include "base/arena.h"
#include "base/bytes.h"

typedef enum wa_synth_family { WA_SYNTH_GEMMA3, WA_SYNTH_LLAMA } wa_synth_family;

/** Facts of the model to be written. A plain value. */
typedef struct wa_synth_shape {
    wa_synth_family family;
    const char *name;
    size_t hidden, intermediate, layers, q_heads, kv_heads, head_dim, vocab;
    size_t window, pattern; /* gemma3: sliding window, one full layer in `pattern` */
    bool tied;
    uint64_t seed;
} wa_synth_shape;

/* --- Values
 * --------------------------------------------------------------------------------------- */

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
    const char *name;    /* Hugging Face's, arena */
    size_t rows, cols;   /* a vector has rows = 0 */
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

/* --- Text files
 * ----------------------------------------------------------------------------------- */

/** Ids of the tokenizer, the same for every model: bytes, merges, then these two. */
typedef struct wa_synth_tokens {
    size_t count; /* all ids, special ones included */
    size_t bos, eos;
    const char *json; /* tokenizer.json, arena */
} wa_synth_tokens;

WA_CHECKED wa_status wa_synth_tokenizer(wa_arena *arena, wa_synth_tokens *out, wa_error *err);

#endif

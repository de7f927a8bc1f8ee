/* Synthetic models: random weights shaped like trained ones, with config and tokenizer. */
#ifndef WALKAUDIT_MODEL_SYNTH_H
#define WALKAUDIT_MODEL_SYNTH_H

#include "base/arena.h"
#include "codec/codec.h"

#include <stdbool.h>

typedef struct wa_synth_options {
    const char *family; /* a row of synth_families.c: "gemma3", "llama", … */
    const char *shape;  /* "tiny", "small", "270m", "1b", "4b"; of llama also "8b", "70b" */
    size_t layers;      /* 0 = as the shape says */
    size_t vocab;       /* rows of the embedding; 0 = as the shape says */
    size_t experts;     /* of families with experts, in each layer; 0 = 8 */
    size_t chosen;      /* for each position; 0 = 2, or all where there are fewer */
    size_t features;    /* of one expert; 0 = the shape's FFN shared out among the chosen */
    /* for plans: model.safetensors has its size, and a hole where tensors would be, which reads as
     * zeros */
    bool no_weights;
    uint64_t seed;
    wa_format dtype; /* WA_FORMAT_BF16, WA_FORMAT_F16 or WA_FORMAT_F32, of every tensor */
    void (*progress)(void *context, uint64_t bytes_done, uint64_t bytes); /* NULL = none */
    void *progress_context;
} wa_synth_options;

/** What was written. */
typedef struct wa_synth_report {
    size_t layers, hidden, intermediate, vocab, tensors;
    size_t experts, chosen; /* 0 without experts; else intermediate is the width of one */
    uint64_t bytes;         /* of model.safetensors */
} wa_synth_report;

/** "bf16", "f16" or "f32" to the format; WA_E_USAGE otherwise. */
WA_CHECKED wa_status wa_synth_dtype_parse(const char *name, wa_format *out, wa_error *err);

/**
 * Write the directory `path`: config.json, model.safetensors, tokenizer.json as Hugging Face would.
 * Local.
 *
 * The same options give the same bytes on every machine. Weights are drawn so that a forward stays
 * finite, the residual stream grows by a bounded factor, and the next-token distribution has a
 * clear first without being certain of it. A few channels are outliers, as in trained models. The
 * tokenizer is a byte-level BPE of some hundred merges; further rows of the embedding have no
 * token.
 *
 * Written to a temporary sibling, fsynced, renamed; on failure nothing is left behind. Memory: one
 * row panel beside the header. Errors: WA_E_USAGE (unknown words, sizes, experts of a family that
 * has none, `path` exists), WA_E_IO, WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_synth(const char *path, const wa_synth_options *options, wa_arena *arena,
                              wa_synth_report *report, wa_error *err);

#endif

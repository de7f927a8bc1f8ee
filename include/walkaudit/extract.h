/* Writing vindexes: extract one from a model. */
#ifndef WALKAUDIT_EXTRACT_H
#define WALKAUDIT_EXTRACT_H

#include "walkaudit/model.h"

/* X(id, name): what `--format` takes. q4k: Q4_K, with Q6_K or Q4_K for down. */
#define WA_EXTRACT_FORMAT_LIST(X)                                                        \
    X(F32, "f32")                                                                        \
    X(F16, "f16")                                                                        \
    X(INTERLEAVED, "interleaved")                                                        \
    X(Q4_0, "q4_0")                                                                      \
    X(Q4K, "q4k")

typedef enum wa_extract_format {
#define WA_EXTRACT_FORMAT_ENUM(id, name) WA_EXTRACT_##id,
    WA_EXTRACT_FORMAT_LIST(WA_EXTRACT_FORMAT_ENUM)
#undef WA_EXTRACT_FORMAT_ENUM
    WA_EXTRACT_FORMAT_COUNT
} wa_extract_format;

const char *wa_extract_format_name(wa_extract_format format);
/** The enum of a name; WA_E_USAGE lists the names. */
WA_CHECKED wa_status wa_extract_format_parse(const char *name, wa_extract_format *out, wa_error *err);

/** The type of gate_vectors.bin. USUAL: f16 for f16 and q4k (as upstream's extractor), f32 for the others. */
typedef enum wa_extract_gate { WA_EXTRACT_GATE_USUAL, WA_EXTRACT_GATE_F32, WA_EXTRACT_GATE_F16 } wa_extract_gate;

typedef struct wa_extract_options {
    wa_extract_format format;
    bool larql;         /* --compat larql: upstream's encoders, byte-identical payload files; refuses what it refuses */
    bool force;         /* replace an existing output directory */
    wa_extract_gate gate;    /* q4_0 and q4k; the others have their own */
    bool down_q4k;           /* q4k: down in Q4_K instead of Q6_K */
    bool feature_major_down; /* q4k: down_features_q4k.bin, too */
    bool drop_gate;          /* q4k: no gate_vectors.bin; index.json describes it all the same */
    void (*progress)(void *context, size_t done, size_t steps); /* after each step; NULL = none */
    void *progress_context;
} wa_extract_options;

/**
 * Write `out_path` from `model`: index.json, gate_vectors.bin, the format's payload with its manifests,
 * tokenizer.json (copied when the model directory has one). Written in a sibling temporary directory, fsynced, renamed
 * at the end; on failure nothing is left behind. Memory: one row panel; the model's pages are let go projection by
 * projection (wa_model_forget). In an f16 vindex the feature files are f32 files whose values went through f16 first.
 *
 * Ungated models: f32, f16 and interleaved, with the up rows as gate as upstream's in-memory builder does; block formats
 * are refused, since upstream has no such file that its reader could use.
 *
 * Errors: WA_E_UNSUPPORTED (widths, ungated, weights beyond f16), WA_E_USAGE (options, the output's place), WA_E_IO,
 * WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_extract(const wa_model *model, const char *out_path,
                                const wa_extract_options *options, wa_error *err);

#endif

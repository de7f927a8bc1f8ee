/* Writing vindexes: extract one from a model. */
#ifndef WALKAUDIT_VINDEX_EXTRACT_H
#define WALKAUDIT_VINDEX_EXTRACT_H

#include "model/model.h"

/* X(id, name): what `--format` takes. q4k: Q4_K, with Q6_K or Q4_K for down; fp4: by policy. Of a
 * model with experts each file has one format throughout (larql-2026-08 5.1); bf16 and q6k are for
 * such models only, and interleaved is not. */
#define WA_EXTRACT_FORMAT_LIST(X)                                                                  \
    X(F32, "f32")                                                                                  \
    X(F16, "f16")                                                                                  \
    X(INTERLEAVED, "interleaved")                                                                  \
    X(Q4_0, "q4_0")                                                                                \
    X(Q4K, "q4k")                                                                                  \
    X(FP4, "fp4")                                                                                  \
    X(BF16, "bf16")                                                                                \
    X(Q6K, "q6k")

typedef enum wa_extract_format {
#define WA_EXTRACT_FORMAT_ENUM(id, name) WA_EXTRACT_##id,
    WA_EXTRACT_FORMAT_LIST(WA_EXTRACT_FORMAT_ENUM)
#undef WA_EXTRACT_FORMAT_ENUM
        WA_EXTRACT_FORMAT_COUNT
} wa_extract_format;

const char *wa_extract_format_name(wa_extract_format format);
/** The enum of a name; WA_E_USAGE lists the names. */
WA_CHECKED wa_status wa_extract_format_parse(const char *name, wa_extract_format *out,
                                             wa_error *err);

/** The type of gate_vectors.bin. USUAL: f16 for f16 and q4k (as upstream's extractor), f32 for the
 * others. */
typedef enum wa_extract_gate {
    WA_EXTRACT_GATE_USUAL,
    WA_EXTRACT_GATE_F32,
    WA_EXTRACT_GATE_F16
} wa_extract_gate;

/** fp4: up is FP4 in all; down is FP4 (A), FP8 (B), or the f32 feature file, tagged f16 as upstream
 * does (C). */
typedef enum wa_fp4_policy { WA_FP4_POLICY_A, WA_FP4_POLICY_B, WA_FP4_POLICY_C } wa_fp4_policy;

/*
 * X(id, name): what `--compat` takes. NONE rounds to f16 to the nearest, and has LARQL's present
 * names and element orders. The others give the payload bytes that LARQL wrote then, and refuse
 * what it refused: 2026-05 has the older names of K-quant files and the older order of Q4_0 and
 * Q6_K, 2026-08 the present ones (larql-2026-08 1.1, 1.4).
 */
#define WA_EXTRACT_COMPAT_LIST(X)                                                                  \
    X(NONE, "none")                                                                                \
    X(LARQL_2026_05, "larql-2026-05")                                                              \
    X(LARQL_2026_08, "larql-2026-08")
typedef enum wa_extract_compat {
#define WA_EXTRACT_COMPAT_ENUM(id, name) WA_EXTRACT_COMPAT_##id,
    WA_EXTRACT_COMPAT_LIST(WA_EXTRACT_COMPAT_ENUM)
#undef WA_EXTRACT_COMPAT_ENUM
} wa_extract_compat;
const char *wa_extract_compat_name(wa_extract_compat compat);

typedef struct wa_extract_options {
    wa_extract_format format;
    wa_extract_compat compat;
    bool force;              /* replace a vindex that holds nothing else */
    wa_extract_gate gate;    /* q4_0, q4k and fp4; the others have their own */
    bool down_q4k;           /* q4k: down in Q4_K instead of Q6_K */
    bool feature_major_down; /* q4k: down_features_kquant.bin, too */
    /* q4k, and every format of experts: no gate_vectors.bin; index.json describes it all the same
     * */
    bool drop_gate;
    wa_fp4_policy policy; /* fp4 */
    /* fp4: a row complies when the largest of its 32-element maxima is below so many times the
     * least */
    double fp4_threshold;
    /* fp4: a projection meant for FP4 with a smaller share of complying rows is written in FP8 */
    double fp4_floor;
    void (*progress)(void *context, size_t done, size_t steps); /* after each step; NULL = none */
    void *progress_context;
} wa_extract_options;

/** Upstream's defaults: policy B, threshold 16, floor 0.99; everything else off. */
wa_extract_options wa_extract_defaults(wa_extract_format format);

/**
 * Write `out_path` from `model`: index.json, gate_vectors.bin, the format's payload with its
 * manifests or report, tokenizer.json (copied when the model directory has one). Written in a
 * sibling temporary directory, fsynced, renamed at the end; on failure nothing is left behind, nor
 * when the caller hears signals (wa_signals_hear_end) and one comes. Memory: one row panel; the
 * model's pages are let go projection by projection (wa_model_forget). In an f16 vindex the feature
 * files are f32 files whose values went through f16 first. FP4 rows of a width that is no multiple
 * of 256 are padded with zeros, and index.json says so (fp4.padded_hidden): our extension, refused
 * with `compat`.
 *
 * Models with experts: layers/layer_NN.weights of every layer, rows padded to 256, norms.bin with
 * routers, biases of experts and norms, weight_manifest.json. A dense layer among them is a file of
 * one entry, and with `compat` left out as LARQL leaves it out. One panel of rows of one expert is
 * in memory at a time. A shared expert has no place in a vindex.
 *
 * Ungated models: f32, f16 and interleaved, with the up rows as gate as upstream's in-memory
 * builder does; block formats are refused, since upstream has no such file that its reader could
 * use.
 *
 * Errors: WA_E_UNSUPPORTED (widths, ungated, weights beyond f16), WA_E_USAGE (options, the output's
 * place), WA_E_IO, WA_E_MEMORY, WA_E_NO_PROGRESS (a signal).
 */
WA_CHECKED wa_status wa_extract(const wa_model *model, const char *out_path,
                                const wa_extract_options *options, wa_error *err);

#endif

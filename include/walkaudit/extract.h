/* Writing vindexes: extract one from a model. */
#ifndef WALKAUDIT_EXTRACT_H
#define WALKAUDIT_EXTRACT_H

#include "walkaudit/model.h"

typedef enum wa_extract_format { WA_EXTRACT_F32, WA_EXTRACT_F16, WA_EXTRACT_INTERLEAVED } wa_extract_format;
/** "f32", "f16", "interleaved" to the enum; WA_E_USAGE otherwise. */
WA_CHECKED wa_status wa_extract_format_parse(const char *name, wa_extract_format *out, wa_error *err);

typedef struct wa_extract_options {
    wa_extract_format format;
    bool larql;         /* --compat larql: upstream's encoders, byte-identical payload files */
    bool force;         /* replace an existing output directory */
    void (*progress)(void *context, size_t layers_done, size_t layers); /* NULL = none */
    void *progress_context;
} wa_extract_options;

/**
 * Write `out_path` from `model`: index.json, gate_vectors.bin, the format's payload, tokenizer.json (copied
 * when the model directory has one). Written in a sibling temporary directory, fsynced, renamed at the end; on failure
 * nothing is left behind. Memory: one row panel. In an f16 vindex the feature files are f32 files whose values went
 * through f16 first. Ungated models are refused (WA_E_UNSUPPORTED) with the reason.
 */
WA_CHECKED wa_status wa_extract(const wa_model *model, const char *out_path,
                                const wa_extract_options *options, wa_error *err);

#endif

/* What an extraction writes: the files of its format, and what each holds. */
#ifndef WALKAUDIT_VINDEX_EXTRACT_PLAN_H
#define WALKAUDIT_VINDEX_EXTRACT_PLAN_H

#include "vindex/extract_fp4.h"

/** One projection of each layer in a file. */
typedef struct wa_extract_part {
    wa_projection projection;
    wa_encoding encoding;
    bool by_hidden; /* W_down as it is, [H, I]: a row is an output element, not a feature */
} wa_extract_part;

/** A payload file; a layer's parts follow one another. */
typedef struct wa_extract_file {
    const char *name;
    const char *manifest; /* the K-quant manifest beside it; NULL = none */
    bool pad_features;    /* rows of zeros up to a multiple of 256 (vindex-format 4.4) */
    /* layers/layer_NN.weights: a file for each layer, whose name `name` is not */
    bool by_layer;
    wa_extract_part parts[WA_PROJECTION_COUNT]; /* in the order of wa_projection */
    size_t part_count;
} wa_extract_file;

enum { WA_EXTRACT_FILES_MAX = 3 };

typedef struct wa_extract_plan {
    wa_format gate_format; /* index.json's dtype, with or without a gate file */
    wa_extract_file files[WA_EXTRACT_FILES_MAX];
    size_t file_count;
} wa_extract_plan;

/** FFNs of a layer that are written: its experts, or one. `compat` leaves out dense layers among
 * such with experts. */
size_t wa_extract_entries(const wa_model *model, const wa_extract_options *options, size_t layer);
/** One of them; its matrices are the model's. An ungated FFN has its up rows as gate. */
wa_expert wa_extract_entry(const wa_model *model, size_t layer, size_t entry);
/** Has the model experts anywhere? */
bool wa_extract_has_experts(const wa_model *model);

/** The part of `file` that takes these rows, or NULL. */
const wa_extract_part *wa_extract_part_of(const wa_extract_file *file, wa_projection projection,
                                          bool by_hidden);

/** The matrix a projection is taken from: the up rows are an ungated model's gate, as in upstream's
 * in-memory builder (vindex-format 2.6). Of a layer with experts, that of the first. */
const wa_matrix *wa_extract_matrix(const wa_model *model, size_t layer, wa_projection projection);

/** Can the format hold the model, and do the options belong together? WA_E_UNSUPPORTED,
 * WA_E_USAGE. */
WA_CHECKED wa_status wa_extract_check(const wa_model *model, const wa_extract_options *options,
                                      wa_error *err);

/** The type of gate_vectors.bin. */
wa_format wa_extract_gate_format(const wa_extract_options *options);

/** The files. fp4: [WA_PROJECTION_COUNT] for format fp4 of a dense model, else not looked at. */
wa_extract_plan wa_extract_plan_build(const wa_model *model, const wa_extract_options *options,
                                      const wa_fp4_choice *fp4);

#endif

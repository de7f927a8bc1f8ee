/* FP4 vindexes: which precision each projection gets, and what index.json says of it. */
#ifndef WALKAUDIT_VINDEX_EXTRACT_FP4_H
#define WALKAUDIT_VINDEX_EXTRACT_FP4_H

#include "vindex/compliance.h"
#include "vindex/extract.h"
#include "vindex/parts.h"

/** Name of the report beside index.json. */
#define WA_FP4_REPORT "fp4_compliance.json"

/** One projection: what the policy wants, and what the scan allows. */
typedef struct wa_fp4_choice {
    wa_fp4_precision policy, chosen;
    float share;        /* of rows that comply */
    const char *file;   /* static */
    const char *action; /* upstream's word for it, static */
} wa_fp4_choice;

/** [WA_PROJECTION_COUNT]; gate: the type of gate_vectors.bin. */
void wa_fp4_choose(const wa_extract_options *options, wa_format gate, const wa_compliance *scan,
                   wa_fp4_choice *out);

/** "fp4", "fp8", "f16", "f32". */
const char *wa_fp4_precision_name(wa_fp4_precision precision);

/** The `fp4` object of index.json (vindex-format 2.8); padded_hidden where rows are padded. */
json_t *wa_fp4_index_object(const wa_model *model, const wa_extract_options *options,
                            const wa_fp4_choice *choices);

#endif

/* norms.bin and weight_manifest.json of a vindex with experts (larql-2026-08 1.6). */
#ifndef WALKAUDIT_VINDEX_EXTRACT_NORMS_H
#define WALKAUDIT_VINDEX_EXTRACT_NORMS_H

#include "base/staging.h"
#include "vindex/extract_index.h"

/**
 * Write both, f32, in LARQL's order: of each layer the norms, the biases of attention and its
 * sinks, then router, biases of gate and up in turn, biases of down, bias of the router; the final
 * norm last. out: the line of norms.bin in `checksums`.
 *
 * Errors: WA_E_UNSUPPORTED (a family whose router has no known name), WA_E_IO, WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_extract_write_norms(const wa_model *model, const wa_staging *staging,
                                            wa_extract_sum *out, wa_error *err);

#endif

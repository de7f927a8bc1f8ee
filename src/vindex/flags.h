/* Capability flags and storage bucket as upstream would see a vindex: by presence, not by content.
 */
#ifndef WALKAUDIT_VINDEX_FLAGS_H
#define WALKAUDIT_VINDEX_FLAGS_H

#include "vindex/vindex.h"

/* X(field): the names of vindex-format 7.1. */
#define WA_VINDEX_FLAG_LIST(X)                                                                     \
    X(has_gate_vectors)                                                                            \
    X(has_down_features)                                                                           \
    X(has_full_mmap_ffn)                                                                           \
    X(has_interleaved)                                                                             \
    X(has_interleaved_q4)                                                                          \
    X(has_interleaved_q4k)                                                                         \
    X(has_down_features_q4k)                                                                       \
    X(has_fp4_storage)

typedef struct wa_vindex_flags {
#define WA_VINDEX_FLAG_FIELD(field) bool field;
    WA_VINDEX_FLAG_LIST(WA_VINDEX_FLAG_FIELD)
#undef WA_VINDEX_FLAG_FIELD
} wa_vindex_flags;

/** Local; looks at the directory. A file that we take as absent (empty, no manifest) still raises
 * its flag. */
wa_vindex_flags wa_vindex_upstream_flags(const wa_vindex *vindex);

/** primary_storage_bucket of vindex-format 7.2: "fp4", "exact" or "quantized". */
const char *wa_vindex_upstream_bucket(const wa_vindex_flags *flags);

#endif

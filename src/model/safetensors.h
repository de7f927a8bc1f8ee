/* A safetensors file (forward-pass.md 1.2): checked views of its tensors. No I/O. */
#ifndef WALKAUDIT_MODEL_SAFETENSORS_H
#define WALKAUDIT_MODEL_SAFETENSORS_H

#include "model/tensor.h"

typedef struct wa_safetensors {
    wa_tensor *tensors; /* [count], arena, in the order of the header */
    size_t count;
} wa_safetensors;

/**
 * Check a whole file: header length, JSON, shapes, ranges (inside the file, of the size that type
 * and shape demand, not overlapping). Holes and trailing bytes are allowed. A dtype that is not
 * known is no error here: the tensor gets the format WA_FORMAT_COUNT. Local.
 *
 * file   borrowed; must outlive *out
 *
 * Errors: WA_E_FORMAT with tensor and both numbers; WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_safetensors_parse(wa_bytes file, wa_arena *arena, wa_safetensors *out,
                                          wa_error *err);

#endif

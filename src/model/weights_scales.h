/* Codes of safetensors whose scales lie in tensors of their own: FP8, and MXFP4 as GPT-OSS is
 * published. */
#ifndef WALKAUDIT_MODEL_WEIGHTS_SCALES_H
#define WALKAUDIT_MODEL_WEIGHTS_SCALES_H

#include "model/weights_find.h"

/**
 * Scales of F8_E4M3 codes [R, C] there: beside NAME.weight lies NAME.weight_scale_inv or
 * NAME.weight_scale, to be multiplied with whichever of the names it has. One for all, one a row
 * ([R] or [R, 1]), or one for each rectangle of the configuration's weight_block_size, of which the
 * last of a row or column may be smaller.
 *
 * first   row of the tensor at which `matrix`, a view of all its columns, begins; its scales are
 *         set
 *
 * Errors: WA_E_FORMAT (no scales, another shape), WA_E_UNSUPPORTED (their type).
 */
WA_CHECKED wa_status wa_finder_scales(const wa_finder *finder, wa_place place,
                                      const wa_tensor *codes, size_t first, wa_matrix *matrix,
                                      wa_error *err);

/** Is the stack there stored as NAME_blocks and NAME_scales? */
bool wa_finder_has_blocks(const wa_finder *finder, wa_place place);

/**
 * Matrix [rows, cols] of such a stack: U8 blocks [count, step * rows, cols / 32, 16], two E2M1
 * codes in a byte, the first in its low half, and U8 scales [count, step * rows, cols / 32], E8M0.
 * Unlike the stack of floats, which is [count, cols, step * rows], it is stored in rows, of which
 * first, first + step, … are this matrix's. Errors: WA_E_FORMAT naming the tensor.
 */
WA_CHECKED wa_status wa_finder_blocks(const wa_finder *finder, wa_place place, wa_stack stack,
                                      size_t rows, size_t cols, wa_matrix *out, wa_error *err);

#endif

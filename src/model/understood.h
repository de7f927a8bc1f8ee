/* How a model was understood, in words: what inspect prints and the result file keeps. */
#ifndef WALKAUDIT_MODEL_UNDERSTOOD_H
#define WALKAUDIT_MODEL_UNDERSTOOD_H

#include "model/config.h"

/**
 * Fill model->understood: RoPE base and scaling per kind of layer, windows, norms, biases, scales,
 * caps, FFN, output. Local. `model` has its layers; strings go to `arena`. WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_understood_build(const wa_config *config, wa_arena *arena, wa_model *model,
                                         wa_error *err);

#endif

/* Named weights of a model: from a table of tensors and a configuration to embedding, layers,
 * output. */
#ifndef WALKAUDIT_MODEL_WEIGHTS_H
#define WALKAUDIT_MODEL_WEIGHTS_H

#include "model/config.h"
#include "model/tensor.h"

/**
 * Fill `model` (a copy of config->facts but for what is filled here: embedding, positions, output,
 * tied, vocab, final_norm, layers, notes, understood). Every tensor that the family needs must be
 * there with exactly the expected shape and a type that can be decoded, and every tensor of a layer
 * must be needed (unread.h). Vectors are decoded to `arena`; matrices stay views.
 *
 * Errors: WA_E_FORMAT and WA_E_UNSUPPORTED naming the tensor, WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_weights_build(const wa_config *config, const wa_tensor_table *table,
                                      wa_arena *arena, wa_model *model, wa_error *err);

#endif

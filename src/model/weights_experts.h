/* The router and the experts of a layer, in their places. */
#ifndef WALKAUDIT_MODEL_WEIGHTS_EXPERTS_H
#define WALKAUDIT_MODEL_WEIGHTS_EXPERTS_H

#include "model/weights_find.h"

/** Does layer `layer` have experts instead of one FFN? */
bool wa_config_has_experts(const wa_config *config, size_t layer);

/** Views of a layer's router, experts and shared expert; the list is the arena's. Errors: as
 * wa_finder_matrix. */
WA_CHECKED wa_status wa_weights_experts(const wa_finder *finder, int layer, const wa_experts **out,
                                        wa_error *err);

#endif

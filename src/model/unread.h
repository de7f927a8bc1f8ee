/* Tensors that a model stores and nothing here reads: inert, named, or a reason to refuse it. */
#ifndef WALKAUDIT_MODEL_UNREAD_H
#define WALKAUDIT_MODEL_UNREAD_H

#include "model/weights_find.h"

/**
 * Judge every tensor of the table that no lookup has read. Local. Call it last.
 *
 * - known inert (causal masks, stored rotation frequencies): nothing is said, but that frequencies
 *   contradict the configuration;
 * - towers, projectors, extra prediction heads, layers beyond the model's number, and what lies
 *   outside the text decoder: one note for each kind;
 * - anything else of a layer, or beside a weight that is read (`lm_head.bias`): WA_E_UNSUPPORTED
 *   naming them, or with finder->config->allow_unread a note, and their number in *unread.
 */
WA_CHECKED wa_status wa_unread_judge(const wa_finder *finder, wa_notes *notes, size_t *unread,
                                     wa_error *err);

#endif

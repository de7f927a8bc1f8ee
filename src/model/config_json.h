/* What the files that read config.json share. Private to them. */
#ifndef WALKAUDIT_MODEL_CONFIG_JSON_H
#define WALKAUDIT_MODEL_CONFIG_JSON_H

#include "model/config.h"

/** What one configuration is read from and into. */
typedef struct wa_json_reader {
    const json_t *text; /* text_config where there is one, else the root */
    const json_t *root;
    bool native, august; /* which semantics; neither: larql-2026-05 */
    wa_arena *arena;
    wa_config *config;
} wa_json_reader;

/** Is the key there, and not null? `object` may be NULL. */
bool wa_json_is_given(const json_t *object, const char *key);

/**
 * Bases and scaling of rotation into facts and config->scaling (forward-pass.md 3.4). Native: as
 * transformers 5 reads them. `rope_scaling` or `rope_parameters` is the object, its theta wins over
 * the one beside it (a note where they differ). Errors: WA_E_FORMAT; WA_E_UNSUPPORTED for two
 * objects that differ, other types, rotation of a part.
 */
WA_CHECKED wa_status wa_config_rope_json(const wa_json_reader *r, wa_error *err);

/** Experts into config->experts, where the family has any (larql-2026-08.md 5.5). Errors:
 * WA_E_FORMAT. */
WA_CHECKED wa_status wa_config_experts_json(const wa_json_reader *r, wa_error *err);

#endif

/* The tables of configuration keys: every key of a file is used, inert, refused, or told of. */
#ifndef WALKAUDIT_MODEL_CONFIG_KEYS_H
#define WALKAUDIT_MODEL_CONFIG_KEYS_H

#include "model/config.h"

/**
 * Walk the keys of config.json: `text`, and `root` too where it is another object. Local.
 * Unknown keys become one note. Errors: WA_E_UNSUPPORTED naming the key and its value.
 */
WA_CHECKED wa_status wa_config_keys_json(const json_t *root, const json_t *text,
                                         const wa_family *family, wa_notes *notes, wa_error *err);

/** The same for GGUF metadata. `architecture`: the prefix of the model's own keys. */
WA_CHECKED wa_status wa_config_keys_gguf(const wa_gguf *gguf, const char *architecture,
                                         const wa_family *family, wa_notes *notes, wa_error *err);

#endif

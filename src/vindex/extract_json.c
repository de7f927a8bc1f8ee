/* Writing JSON documents into a staging directory. */
#include "vindex/extract_json.h"

#include <stdlib.h>

wa_status wa_extract_write_json(const wa_staging *staging, const char *name, json_t *root,
                                wa_error *err)
{
    char *text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    if (text == NULL) /* also when a string is no UTF-8, which JSON cannot hold */
        return wa_fail(err, WA_E_UNSUPPORTED, "%s cannot be written: every name must be UTF-8",
                       name);
    wa_bytes bytes = {.data = (const uint8_t *)text, .size = strlen(text)};
    wa_status status = wa_staging_write(staging, name, bytes, err);
    free(text); /* Jansson's own allocation */
    return status;
}

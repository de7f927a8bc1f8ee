/* JSON documents of a vindex being written. */
#ifndef WALKAUDIT_VINDEX_EXTRACT_JSON_H
#define WALKAUDIT_VINDEX_EXTRACT_JSON_H

#include "base/json.h"
#include "base/staging.h"

/** Write `root` with an indent of 2, as upstream does, and give it back to Jansson, also on
 * failure. */
WA_CHECKED wa_status wa_extract_write_json(const wa_staging *staging, const char *name,
                                           json_t *root, wa_error *err);

#endif

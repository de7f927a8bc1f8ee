/* JSON: Jansson with errors in our terms. Values are owned by the root, freed with
 * wa_json_close. */
#ifndef WALKAUDIT_BASE_JSON_H
#define WALKAUDIT_BASE_JSON_H

#include "base/bytes.h"

#include <jansson.h>

/** Parse a whole document (UTF-8, duplicates refused). WA_E_FORMAT with line, column and byte. */
WA_CHECKED wa_status wa_json_parse(wa_bytes text, json_t **out, wa_error *err);

/** Map and parse a file; the error names the file. */
WA_CHECKED wa_status wa_json_open(const char *path, json_t **out, wa_error *err);
/** Parse the text of a map that decides what is computed: it is kept for `owner` (base/opened.h),
 * and closed, also on failure. */
WA_CHECKED wa_status wa_json_take(wa_map *map, const void *owner, json_t **out, wa_error *err);
/** wa_json_open of such a file. */
WA_CHECKED wa_status wa_json_open_kept(const char *path, const void *owner, json_t **out,
                                       wa_error *err);
void wa_json_close(json_t *root);

/* Members of an object. Each error names the key, what was found and what was expected.
 * The _or forms give `fallback` when the key is absent or null; a wrong type is always an error. */
WA_CHECKED wa_status wa_json_size(const json_t *object, const char *key, size_t *out,
                                  wa_error *err);
WA_CHECKED wa_status wa_json_size_or(const json_t *object, const char *key, size_t fallback,
                                     size_t *out, wa_error *err);
WA_CHECKED wa_status wa_json_u64(const json_t *object, const char *key, uint64_t *out,
                                 wa_error *err);
WA_CHECKED wa_status wa_json_f64_or(const json_t *object, const char *key, double fallback,
                                    double *out, wa_error *err);
WA_CHECKED wa_status wa_json_bool_or(const json_t *object, const char *key, bool fallback,
                                     bool *out, wa_error *err);
/** Strings are borrowed from the root. */
WA_CHECKED wa_status wa_json_string(const json_t *object, const char *key, const char **out,
                                    wa_error *err);
WA_CHECKED wa_status wa_json_string_or(const json_t *object, const char *key, const char *fallback,
                                       const char **out, wa_error *err);

/** A new string value of any bytes: what is no UTF-8 is shown as \xHH (a path may hold it). NULL:
 * of NULL, or without memory. */
json_t *wa_json_text(const char *text);

/** Name of a JSON value's type, for messages. */
const char *wa_json_type_name(const json_t *value);

#endif

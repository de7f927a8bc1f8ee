/* JSON through Jansson: duplicates refused, errors in one line with their place. */
#include "base/json.h"

#include "base/opened.h"
#include "base/utf8.h"

wa_status wa_json_parse(wa_bytes text, json_t **out, wa_error *err)
{
    json_error_t cause;
    json_t *root = json_loadb(text.size == 0 ? "" : (const char *)text.data, text.size,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &cause);
    if (root == NULL)
        return wa_fail(err, WA_E_FORMAT, "JSON error at line %d, column %d, byte %d: %s",
                       cause.line, cause.column, cause.position, cause.text);
    *out = root;
    return WA_OK;
}

wa_status wa_json_open(const char *path, json_t **out, wa_error *err)
{
    wa_map map;
    WA_TRY(wa_map_open(path, &map, err));
    wa_status status = wa_json_parse(map.bytes, out, err);
    wa_map_close(&map);
    return status == WA_OK ? WA_OK : wa_note(err, "in file '%s'", path);
}

wa_status wa_json_take(wa_map *map, const void *owner, json_t **out, wa_error *err)
{
    wa_status status = wa_opened_keep_map(owner, map, err);
    if (status == WA_OK)
        status = wa_json_parse(map->bytes, out, err);
    wa_map_close(map);
    return status;
}

wa_status wa_json_open_kept(const char *path, const void *owner, json_t **out, wa_error *err)
{
    wa_map map;
    WA_TRY(wa_map_open(path, &map, err));
    return wa_json_take(&map, owner, out, err) == WA_OK ? WA_OK
                                                        : wa_note(err, "in file '%s'", path);
}

void wa_json_close(json_t *root)
{
    json_decref(root);
}

json_t *wa_json_text(const char *text)
{
    json_t *out = text == NULL ? NULL : json_string(text);
    wa_arena *arena;
    const char *clean;
    if (text == NULL || out != NULL || wa_arena_open("text", 0, &arena, NULL) != WA_OK)
        return out;
    if (wa_text_escape(text, arena, &clean, NULL) == WA_OK)
        out = json_string(clean);
    wa_arena_close(arena);
    return out;
}

const char *wa_json_type_name(const json_t *value)
{
    if (value == NULL)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a real number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "an unknown value";
}

static wa_status wrong_type(const char *key, const json_t *value, const char *expected,
                            wa_error *err)
{
    return wa_fail(err, WA_E_FORMAT, "key '%s': found %s, expected %s", key,
                   wa_json_type_name(value), expected);
}

static const json_t *member_or_null(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

wa_status wa_json_u64(const json_t *object, const char *key, uint64_t *out, wa_error *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value))
        return wrong_type(key, value, "an integer", err);
    json_int_t number = json_integer_value(value);
    if (number < 0)
        return wa_fail(err, WA_E_FORMAT,
                       "key '%s': found %" JSON_INTEGER_FORMAT ", expected an integer of 0 or more",
                       key, number);
    *out = (uint64_t)number;
    return WA_OK;
}

wa_status wa_json_size(const json_t *object, const char *key, size_t *out, wa_error *err)
{
    uint64_t wide = 0;
    WA_TRY(wa_json_u64(object, key, &wide, err));
    *out = (size_t)wide;
    return WA_OK;
}

wa_status wa_json_size_or(const json_t *object, const char *key, size_t fallback, size_t *out,
                          wa_error *err)
{
    if (member_or_null(object, key) != NULL)
        return wa_json_size(object, key, out, err);
    *out = fallback;
    return WA_OK;
}

wa_status wa_json_f64_or(const json_t *object, const char *key, double fallback, double *out,
                         wa_error *err)
{
    const json_t *value = member_or_null(object, key);
    if (value != NULL && !json_is_number(value))
        return wrong_type(key, value, "a number", err);
    *out = value == NULL ? fallback : json_number_value(value);
    return WA_OK;
}

wa_status wa_json_bool_or(const json_t *object, const char *key, bool fallback, bool *out,
                          wa_error *err)
{
    const json_t *value = member_or_null(object, key);
    if (value != NULL && !json_is_boolean(value))
        return wrong_type(key, value, "true or false", err);
    *out = value == NULL ? fallback : json_is_true(value);
    return WA_OK;
}

wa_status wa_json_string(const json_t *object, const char *key, const char **out, wa_error *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return wrong_type(key, value, "a string", err);
    if (strlen(json_string_value(value)) != json_string_length(value))
        return wa_fail(err, WA_E_FORMAT, "key '%s': the string holds a NUL", key);
    *out = json_string_value(value);
    return WA_OK;
}

wa_status wa_json_string_or(const json_t *object, const char *key, const char *fallback,
                            const char **out, wa_error *err)
{
    if (member_or_null(object, key) != NULL)
        return wa_json_string(object, key, out, err);
    *out = fallback;
    return WA_OK;
}

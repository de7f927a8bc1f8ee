/* Answers from a parsed GGUF container: typed metadata values and tensors by name. */
#include "model/gguf.h"
#include "model/gguf_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { STRING_LENGTH_BYTES = 8, ARRAY_HEADER_BYTES = 12 };

static const char *type_name(uint32_t type)
{
    static const char *const names[] = {
        [WA_GGUF_U8] = "a u8",        [WA_GGUF_I8] = "an i8",       [WA_GGUF_U16] = "a u16",
        [WA_GGUF_I16] = "an i16",     [WA_GGUF_U32] = "a u32",      [WA_GGUF_I32] = "an i32",
        [WA_GGUF_F32] = "an f32",     [WA_GGUF_BOOL] = "a boolean", [WA_GGUF_STRING] = "a string",
        [WA_GGUF_ARRAY] = "an array", [WA_GGUF_U64] = "a u64",      [WA_GGUF_I64] = "an i64",
        [WA_GGUF_F64] = "an f64",
    };
    return type < sizeof names / sizeof names[0] ? names[type] : "an unknown type";
}

static int compare_key(const void *key, const void *element)
{
    const char *wanted = key;
    const wa_gguf_entry *entry = element;
    size_t length = strlen(wanted);
    size_t shared = length < entry->key.size ? length : entry->key.size;
    int order = shared == 0 ? 0 : memcmp(wanted, entry->key.data, shared);
    return order != 0 ? order : (length > entry->key.size) - (length < entry->key.size);
}

static const wa_gguf_entry *find(const wa_gguf *gguf, const char *key)
{
    if (gguf->entry_count == 0)
        return NULL;
    return bsearch(key, gguf->entries, gguf->entry_count, sizeof *gguf->entries, compare_key);
}

static wa_status wrong(const wa_gguf_entry *entry, const char *key, const char *expected,
                       wa_error *err)
{
    if (entry == NULL)
        return wa_fail(err, WA_E_FORMAT, "metadata key '%s' is missing, expected %s", key,
                       expected);
    return wa_fail(err, WA_E_FORMAT, "metadata key '%s': found %s, expected %s", key,
                   type_name(entry->type), expected);
}

bool wa_gguf_has(const wa_gguf *gguf, const char *key)
{
    return find(gguf, key) != NULL;
}

/* An integer or boolean of any width at `data` as a sign and a magnitude. False: another type. */
static bool load_integer(uint32_t type, const uint8_t *data, int64_t *negative, uint64_t *value)
{
    int64_t number = 0;
    switch (type) {
    case WA_GGUF_BOOL:
    case WA_GGUF_U8:
        *value = data[0];
        break;
    case WA_GGUF_U16:
        *value = wa_load_u16(data);
        break;
    case WA_GGUF_U32:
        *value = wa_load_u32(data);
        break;
    case WA_GGUF_U64:
        *value = wa_load_u64(data);
        break;
    case WA_GGUF_I8:
        number = (int8_t)data[0];
        *value = (uint64_t)number;
        break;
    case WA_GGUF_I16:
        number = (int16_t)wa_load_u16(data);
        *value = (uint64_t)number;
        break;
    case WA_GGUF_I32:
        number = (int32_t)wa_load_u32(data);
        *value = (uint64_t)number;
        break;
    case WA_GGUF_I64:
        number = (int64_t)wa_load_u64(data);
        *value = (uint64_t)number;
        break;
    default:
        return false;
    }
    *negative = number < 0 ? number : 0;
    return true;
}

wa_status wa_gguf_string(const wa_gguf *gguf, const char *key, wa_bytes *out, wa_error *err)
{
    const wa_gguf_entry *entry = find(gguf, key);
    if (entry == NULL || entry->type != WA_GGUF_STRING)
        return wrong(entry, key, "a string", err);
    *out = (wa_bytes){.data = entry->value.data + STRING_LENGTH_BYTES,
                      .size = entry->value.size - STRING_LENGTH_BYTES};
    return WA_OK;
}

wa_status wa_gguf_u64(const wa_gguf *gguf, const char *key, uint64_t *out, wa_error *err)
{
    const wa_gguf_entry *entry = find(gguf, key);
    int64_t negative;
    uint64_t value;
    if (entry == NULL || !load_integer(entry->type, entry->value.data, &negative, &value))
        return wrong(entry, key, "an integer", err);
    if (negative < 0)
        return wa_fail(err, WA_E_FORMAT, "metadata key '%s': found %" PRId64 ", expected 0 or more",
                       key, negative);
    *out = value;
    return WA_OK;
}

wa_status wa_gguf_f64(const wa_gguf *gguf, const char *key, double *out, wa_error *err)
{
    const wa_gguf_entry *entry = find(gguf, key);
    int64_t negative;
    uint64_t value;
    if (entry != NULL && entry->type == WA_GGUF_F32) {
        *out = (double)wa_load_f32(entry->value.data);
    } else if (entry != NULL && entry->type == WA_GGUF_F64) {
        memcpy(out, entry->value.data, sizeof *out);
    } else if (entry != NULL && load_integer(entry->type, entry->value.data, &negative, &value)) {
        *out = negative < 0 ? (double)negative : (double)value;
    } else {
        return wrong(entry, key, "a number", err);
    }
    return WA_OK;
}

wa_status wa_gguf_bool(const wa_gguf *gguf, const char *key, bool *out, wa_error *err)
{
    const wa_gguf_entry *entry = find(gguf, key);
    int64_t negative;
    uint64_t value;
    if (entry == NULL || !load_integer(entry->type, entry->value.data, &negative, &value))
        return wrong(entry, key, "a boolean", err);
    *out = value != 0;
    return WA_OK;
}

wa_status wa_gguf_find_array(const wa_gguf *gguf, const char *key, wa_gguf_array *out,
                             wa_error *err)
{
    const wa_gguf_entry *entry = find(gguf, key);
    if (entry == NULL || entry->type != WA_GGUF_ARRAY)
        return wrong(entry, key, "an array", err);
    *out = (wa_gguf_array){.data = entry->value.data + ARRAY_HEADER_BYTES,
                           .size = entry->value.size - ARRAY_HEADER_BYTES,
                           .type = wa_load_u32(entry->value.data),
                           .count = wa_load_u64(entry->value.data + 4)};
    return WA_OK;
}

static void drop(wa_gguf_array *array, size_t bytes)
{
    array->data += bytes;
    array->size -= bytes;
    array->count--;
}

bool wa_gguf_array_next_string(wa_gguf_array *array, wa_bytes *out)
{
    if (array->type != WA_GGUF_STRING || array->count == 0)
        return false;
    *out = (wa_bytes){.data = array->data + STRING_LENGTH_BYTES, .size = wa_load_u64(array->data)};
    drop(array, STRING_LENGTH_BYTES + out->size);
    return true;
}

bool wa_gguf_array_next_u64(wa_gguf_array *array, uint64_t *out)
{
    int64_t negative;
    uint64_t value;
    if (array->count == 0 || !load_integer(array->type, array->data, &negative, &value) ||
        negative < 0)
        return false;
    *out = value;
    drop(array, wa_gguf_scalar_size(array->type));
    return true;
}

static int compare_name(const void *name, const void *tensor)
{
    return strcmp(name, ((const wa_gguf_tensor *)tensor)->name);
}

const wa_gguf_tensor *wa_gguf_find_tensor(const wa_gguf *gguf, const char *name)
{
    if (gguf->tensor_count == 0)
        return NULL;
    return bsearch(name, gguf->tensors, gguf->tensor_count, sizeof *gguf->tensors, compare_name);
}

size_t wa_gguf_tensor_count(const wa_gguf *gguf)
{
    return gguf->tensor_count;
}

const wa_gguf_tensor *wa_gguf_tensor_at(const wa_gguf *gguf, size_t index)
{
    return &gguf->tensors[index];
}

size_t wa_gguf_key_count(const wa_gguf *gguf)
{
    return gguf->entry_count;
}

wa_bytes wa_gguf_key_at(const wa_gguf *gguf, size_t index)
{
    return gguf->entries[index].key;
}

void wa_gguf_value_text(const wa_gguf *gguf, size_t index, char *out, size_t room, bool *is_off)
{
    const wa_gguf_entry *entry = &gguf->entries[index];
    int64_t negative = 0;
    uint64_t integer = 0;
    double number = 0;
    if (entry->type == WA_GGUF_STRING) {
        wa_bytes text = {entry->value.data + STRING_LENGTH_BYTES,
                         entry->value.size - STRING_LENGTH_BYTES};
        *is_off = text.size == 0;
        (void)snprintf(out, room, "%.*s", (int)(text.size < 60 ? text.size : 60),
                       (const char *)text.data);
        return;
    }
    if (entry->type == WA_GGUF_ARRAY) {
        uint64_t count = wa_load_u64(entry->value.data + 4);
        *is_off = count == 0;
        (void)snprintf(out, room, "an array of %" PRIu64, count);
        return;
    }
    if (entry->type == WA_GGUF_F32)
        number = (double)wa_load_f32(entry->value.data);
    else if (entry->type == WA_GGUF_F64)
        memcpy(&number, entry->value.data, sizeof number);
    else if (load_integer(entry->type, entry->value.data, &negative, &integer))
        number = negative < 0 ? (double)negative : (double)integer;
    *is_off = number == 0;
    if (entry->type == WA_GGUF_BOOL)
        (void)snprintf(out, room, "%s", *is_off ? "false" : "true");
    else
        (void)snprintf(out, room, "%.9g", number);
}

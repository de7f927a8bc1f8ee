/* Parsing a safetensors file: an 8-byte length, a JSON header, then the data. */
#include "model/safetensors.h"

#include "base/json.h"

#include <stdlib.h>

enum { LENGTH_BYTES = 8, SHOWN = 200 };
static const uint64_t HEADER_LIMIT = 100000000; /* of the format's own library */

typedef struct dtype {
    const char *name;
    size_t bytes;
    wa_format format;
} dtype;

static const dtype dtypes[] = {
    {"F32", 4, WA_FORMAT_F32},       {"F16", 2, WA_FORMAT_F16},
    {"BF16", 2, WA_FORMAT_BF16},     {"F64", 8, WA_FORMAT_F64},
    {"F8_E4M3", 1, WA_FORMAT_E4M3},  {"F8_E5M2", 1, WA_FORMAT_COUNT},
    {"F8_E8M0", 1, WA_FORMAT_COUNT}, {"I8", 1, WA_FORMAT_COUNT},
    {"U8", 1, WA_FORMAT_COUNT},      {"BOOL", 1, WA_FORMAT_COUNT},
    {"I16", 2, WA_FORMAT_COUNT},     {"U16", 2, WA_FORMAT_COUNT},
    {"I32", 4, WA_FORMAT_COUNT},     {"U32", 4, WA_FORMAT_COUNT},
    {"I64", 8, WA_FORMAT_COUNT},     {"U64", 8, WA_FORMAT_COUNT},
};

static const dtype *find_dtype(const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return &dtypes[i];
    return NULL;
}

/* The JSON header and the data after it. */
static wa_status split(wa_bytes file, wa_bytes *header, wa_bytes *data, wa_error *err)
{
    if (file.size < LENGTH_BYTES)
        return wa_fail(err, WA_E_FORMAT, "%zu bytes, expected at least %d for the header's length",
                       file.size, LENGTH_BYTES);
    uint64_t length = wa_load_u64(file.data);
    if (length > HEADER_LIMIT || length > file.size - LENGTH_BYTES)
        return wa_fail(
            err, WA_E_FORMAT,
            "header length %llu, expected at most %llu and at most the %zu bytes that follow",
            (unsigned long long)length, (unsigned long long)HEADER_LIMIT, file.size - LENGTH_BYTES);
    *header = (wa_bytes){.data = file.data + LENGTH_BYTES, .size = (size_t)length};
    *data =
        (wa_bytes){.data = header->data + length, .size = file.size - LENGTH_BYTES - header->size};
    if (length == 0 || header->data[0] != '{')
        return wa_fail(err, WA_E_FORMAT, "the header does not begin with '{'");
    return WA_OK;
}

static wa_status read_size(const json_t *value, const char *what, size_t *out, wa_error *err)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return wa_fail(err, WA_E_FORMAT, "%s holds %s, expected integers of 0 or more", what,
                       json_is_integer(value) ? "a negative number" : wa_json_type_name(value));
    *out = (size_t)json_integer_value(value);
    return WA_OK;
}

static wa_status read_shape(const json_t *object, wa_tensor *tensor, wa_error *err)
{
    const json_t *shape = json_object_get(object, "shape");
    if (!json_is_array(shape))
        return wa_fail(err, WA_E_FORMAT, "'shape' is %s, expected an array",
                       wa_json_type_name(shape));
    tensor->rank = json_array_size(shape);
    if (tensor->rank > WA_TENSOR_MAX_RANK)
        return wa_fail(err, WA_E_FORMAT, "'shape' has %zu dimensions, expected at most %d",
                       tensor->rank, WA_TENSOR_MAX_RANK);
    for (size_t i = 0; i < tensor->rank; i++)
        WA_TRY(read_size(json_array_get(shape, i), "'shape'", &tensor->shape[i], err));
    return WA_OK;
}

static wa_status read_range(const json_t *object, wa_bytes data, wa_tensor *tensor, wa_error *err)
{
    const json_t *offsets = json_object_get(object, "data_offsets");
    size_t begin = 0;
    size_t end = 0;
    if (!json_is_array(offsets) || json_array_size(offsets) != 2)
        return wa_fail(err, WA_E_FORMAT, "'data_offsets' is %s, expected an array of two integers",
                       wa_json_type_name(offsets));
    WA_TRY(read_size(json_array_get(offsets, 0), "'data_offsets'", &begin, err));
    WA_TRY(read_size(json_array_get(offsets, 1), "'data_offsets'", &end, err));
    if (begin > end)
        return wa_fail(err, WA_E_FORMAT, "'data_offsets' begin at %zu after their end at %zu",
                       begin, end);
    if (!wa_bytes_slice(data, begin, end - begin, &tensor->data))
        return wa_fail(err, WA_E_FORMAT, "the data end at %zu of %zu bytes", end, data.size);
    return WA_OK;
}

/* Bytes that type and shape need. */
static wa_status needed_bytes(const wa_tensor *tensor, size_t element_bytes, size_t *out,
                              wa_error *err)
{
    size_t bytes = element_bytes;
    for (size_t i = 0; i < tensor->rank; i++)
        if (!wa_size_mul(bytes, tensor->shape[i], &bytes))
            return wa_fail(err, WA_E_FORMAT, "the product of its shape overflows 64 bits");
    *out = bytes;
    return WA_OK;
}

static wa_status read_known(const json_t *object, const dtype *type, wa_bytes data,
                            wa_tensor *tensor, wa_error *err)
{
    size_t bytes = 0;
    WA_TRY(needed_bytes(tensor, type->bytes, &bytes, err));
    WA_TRY(read_range(object, data, tensor, err));
    if (bytes != tensor->data.size)
        return wa_fail(err, WA_E_FORMAT, "its range holds %zu bytes, its shape needs %zu",
                       tensor->data.size, bytes);
    tensor->type_name = type->name;
    tensor->format = type->format;
    return WA_OK;
}

static wa_status read_tensor(const json_t *object, wa_bytes data, wa_arena *arena,
                             wa_tensor *tensor, wa_error *err)
{
    if (!json_is_object(object))
        return wa_fail(err, WA_E_FORMAT, "found %s, expected an object", wa_json_type_name(object));
    const char *name;
    WA_TRY(wa_json_string(object, "dtype", &name, err));
    WA_TRY(read_shape(object, tensor, err));
    const dtype *type = find_dtype(name);
    if (type != NULL)
        return read_known(object, type, data, tensor, err);

    char *copy;
    WA_TRY(wa_arena_copy(arena, name, strlen(name), &copy, err));
    tensor->type_name = copy;
    tensor->format = WA_FORMAT_COUNT;
    return read_range(object, data, tensor, err);
}

static wa_status check_overlap(const wa_safetensors *file, const uint8_t *start, wa_arena *arena,
                               wa_error *err)
{
    wa_mark mark = wa_arena_mark(arena);
    wa_extent *extents;
    WA_TRY(wa_arena_take(arena, file->count, sizeof *extents, &extents, err));
    for (size_t i = 0; i < file->count; i++)
        extents[i] = (wa_extent){file->tensors[i].name, file->tensors[i].data};
    wa_status status = wa_extents_disjoint(extents, file->count, start, err);
    wa_arena_release(arena, mark);
    return status;
}

/* A file that was cut is told once, by the tensor that reaches furthest. Malformed ranges are left
 * for read_range to find. */
static wa_status check_end(json_t *root, size_t data_start, size_t data_size, wa_error *err)
{
    const char *furthest = NULL;
    size_t end = data_size;
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value)
    {
        const json_t *last = json_array_get(json_object_get(value, "data_offsets"), 1);
        json_int_t found = json_integer_value(last);
        if (found > 0 && (size_t)found > end) {
            end = (size_t)found;
            furthest = name;
        }
    }
    if (furthest == NULL)
        return WA_OK;
    return wa_fail(err, WA_E_FORMAT,
                   "the file needs %zu + %zu bytes for tensor '%.*s' and has %zu: truncated?",
                   data_start, end, SHOWN, furthest, data_start + data_size);
}

static wa_status read_header(json_t *root, wa_bytes file, wa_bytes data, wa_arena *arena,
                             wa_safetensors *out, wa_error *err)
{
    if (!json_is_object(root))
        return wa_fail(err, WA_E_FORMAT, "the header is %s, expected an object",
                       wa_json_type_name(root));
    WA_TRY(check_end(root, file.size - data.size, data.size, err));
    wa_safetensors found = {0};
    WA_TRY(
        wa_arena_take(arena, json_object_size(root), sizeof *found.tensors, &found.tensors, err));
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        wa_tensor *tensor = &found.tensors[found.count++];
        char *copy;
        WA_TRY(wa_arena_copy(arena, name, strlen(name), &copy, err));
        tensor->name = copy;
        if (read_tensor(value, data, arena, tensor, err) != WA_OK)
            return wa_note(err, "in tensor '%.*s'", SHOWN, copy);
    }
    WA_TRY(check_overlap(&found, data.data, arena, err));
    *out = found;
    return WA_OK;
}

wa_status wa_safetensors_parse(wa_bytes file, wa_arena *arena, wa_safetensors *out, wa_error *err)
{
    wa_bytes header = {0};
    wa_bytes data = {0};
    json_t *root;
    WA_TRY(split(file, &header, &data, err));
    if (wa_json_parse(header, &root, err) != WA_OK)
        return wa_note(err, "in the header of %zu bytes", header.size);
    wa_status status = read_header(root, file, data, arena, out, err);
    wa_json_close(root);
    return status;
}

/* Parsing a GGUF container: header, metadata, tensor infos, in file order, every bound first. */
#include "model/gguf.h"
#include "model/gguf_private.h"
#include "model/tensor.h"

#include <inttypes.h>
#include <stdlib.h>

static const uint32_t MAGIC = 0x46554747; /* "GGUF" */
static const uint64_t DEFAULT_ALIGNMENT = 32;
enum {
    SMALLEST_ENTRY = 8 + 4 + 1,          /* key length, type, a one-byte value */
    SMALLEST_TENSOR = 8 + 4 + 8 + 4 + 8, /* name length, rank, one dimension, type, offset */
    SMALLEST_ARRAY = 4 + 8,              /* element type, count */
    MAX_NESTING = 4,                     /* the format sets no limit; real files use 1 */
    SHOWN = 128                          /* bytes of a name shown in a message */
};

/* X(id in the file, name, elements of a block, bytes of a block, our format): every type that the
 * format defines, so that sizes are checked even where nothing here decodes the values. */
#define TENSOR_TYPES(X)                                                                            \
    X(0, "F32", 1, 4, WA_FORMAT_F32)                                                               \
    X(1, "F16", 1, 2, WA_FORMAT_F16)                                                               \
    X(2, "Q4_0", 32, 18, WA_FORMAT_GGML_Q4_0)                                                      \
    X(3, "Q4_1", 32, 20, WA_FORMAT_GGML_Q4_1)                                                      \
    X(6, "Q5_0", 32, 22, WA_FORMAT_GGML_Q5_0)                                                      \
    X(7, "Q5_1", 32, 24, WA_FORMAT_GGML_Q5_1)                                                      \
    X(8, "Q8_0", 32, 34, WA_FORMAT_GGML_Q8_0)                                                      \
    X(9, "Q8_1", 32, 36, WA_FORMAT_COUNT)                                                          \
    X(10, "Q2_K", 256, 84, WA_FORMAT_GGML_Q2_K)                                                    \
    X(11, "Q3_K", 256, 110, WA_FORMAT_GGML_Q3_K)                                                   \
    X(12, "Q4_K", 256, 144, WA_FORMAT_Q4_K)                                                        \
    X(13, "Q5_K", 256, 176, WA_FORMAT_GGML_Q5_K)                                                   \
    X(14, "Q6_K", 256, 210, WA_FORMAT_GGML_Q6_K)                                                   \
    X(15, "Q8_K", 256, 292, WA_FORMAT_COUNT)                                                       \
    X(16, "IQ2_XXS", 256, 66, WA_FORMAT_COUNT)                                                     \
    X(17, "IQ2_XS", 256, 74, WA_FORMAT_COUNT)                                                      \
    X(18, "IQ3_XXS", 256, 98, WA_FORMAT_COUNT)                                                     \
    X(19, "IQ1_S", 256, 50, WA_FORMAT_COUNT)                                                       \
    X(20, "IQ4_NL", 32, 18, WA_FORMAT_GGML_IQ4_NL)                                                 \
    X(21, "IQ3_S", 256, 110, WA_FORMAT_COUNT)                                                      \
    X(22, "IQ2_S", 256, 82, WA_FORMAT_COUNT)                                                       \
    X(23, "IQ4_XS", 256, 136, WA_FORMAT_GGML_IQ4_XS)                                               \
    X(24, "I8", 1, 1, WA_FORMAT_COUNT)                                                             \
    X(25, "I16", 1, 2, WA_FORMAT_COUNT)                                                            \
    X(26, "I32", 1, 4, WA_FORMAT_COUNT)                                                            \
    X(27, "I64", 1, 8, WA_FORMAT_COUNT)                                                            \
    X(28, "F64", 1, 8, WA_FORMAT_F64)                                                              \
    X(29, "IQ1_M", 256, 56, WA_FORMAT_COUNT)                                                       \
    X(30, "BF16", 1, 2, WA_FORMAT_BF16)                                                            \
    X(34, "TQ1_0", 256, 54, WA_FORMAT_COUNT)                                                       \
    X(35, "TQ2_0", 256, 66, WA_FORMAT_COUNT)                                                       \
    X(39, "MXFP4", 32, 17, WA_FORMAT_GGML_MXFP4)

typedef struct tensor_type {
    const char *name;
    size_t elements, bytes;
    uint32_t id;
    wa_format format;
} tensor_type;

static const tensor_type tensor_types[] = {
/* clang-format off */
#define TENSOR_TYPE_ROW(id, name, elements, bytes, format) {name, elements, bytes, id, format},
    /* clang-format on */
    TENSOR_TYPES(TENSOR_TYPE_ROW)
#undef TENSOR_TYPE_ROW
};

static const tensor_type *find_type(uint32_t id)
{
    for (size_t i = 0; i < sizeof tensor_types / sizeof tensor_types[0]; i++)
        if (tensor_types[i].id == id)
            return &tensor_types[i];
    return NULL;
}

size_t wa_gguf_scalar_size(uint32_t type)
{
    static const uint8_t sizes[] = {
        [WA_GGUF_U8] = 1,  [WA_GGUF_I8] = 1,  [WA_GGUF_U16] = 2, [WA_GGUF_I16] = 2,
        [WA_GGUF_U32] = 4, [WA_GGUF_I32] = 4, [WA_GGUF_F32] = 4, [WA_GGUF_BOOL] = 1,
        [WA_GGUF_U64] = 8, [WA_GGUF_I64] = 8, [WA_GGUF_F64] = 8,
    };
    return type < sizeof sizes ? sizes[type] : 0;
}

/* A place in the file; nothing before `pos` is read again. */
typedef struct reader {
    wa_bytes file;
    size_t pos;
} reader;

static wa_status take(reader *r, uint64_t length, wa_bytes *out, wa_error *err)
{
    if (!wa_bytes_slice(r->file, r->pos, length, out))
        return wa_fail(err, WA_E_FORMAT,
                       "unexpected end: %" PRIu64
                       " bytes needed at byte %zu, file ends at byte %zu",
                       length, r->pos, r->file.size);
    r->pos += out->size;
    return WA_OK;
}

static wa_status take_u32(reader *r, uint32_t *out, wa_error *err)
{
    wa_bytes bytes;
    WA_TRY(take(r, sizeof *out, &bytes, err));
    *out = wa_load_u32(bytes.data);
    return WA_OK;
}

static wa_status take_u64(reader *r, uint64_t *out, wa_error *err)
{
    wa_bytes bytes;
    WA_TRY(take(r, sizeof *out, &bytes, err));
    *out = wa_load_u64(bytes.data);
    return WA_OK;
}

static wa_status take_string(reader *r, wa_bytes *out, wa_error *err)
{
    uint64_t length;
    WA_TRY(take_u64(r, &length, err));
    return take(r, length, out, err);
}

/* A count of things of at least `smallest` bytes each must fit into what is left of the file. */
static wa_status take_count(reader *r, size_t smallest, const char *what, uint64_t *out,
                            wa_error *err)
{
    size_t at = r->pos;
    uint64_t count;
    WA_TRY(take_u64(r, &count, err));
    if (count > (r->file.size - r->pos) / smallest)
        return wa_fail(err, WA_E_FORMAT,
                       "%" PRIu64
                       " %s counted at byte %zu, the file of %zu bytes has no room for them",
                       count, what, at, r->file.size);
    *out = count;
    return WA_OK;
}

static wa_status skip_array(reader *r, int depth, wa_error *err);

static wa_status skip_value(reader *r, uint32_t type, int depth, wa_error *err)
{
    wa_bytes skipped;
    if (type == WA_GGUF_STRING)
        return take_string(r, &skipped, err);
    if (type == WA_GGUF_ARRAY)
        return skip_array(r, depth + 1, err);
    size_t size = wa_gguf_scalar_size(type);
    if (size == 0)
        return wa_fail(err, WA_E_FORMAT, "unknown value type %" PRIu32 " before byte %zu", type,
                       r->pos);
    return take(r, size, &skipped, err);
}

static wa_status skip_array(reader *r, int depth, wa_error *err)
{
    if (depth > MAX_NESTING)
        return wa_fail(err, WA_E_FORMAT, "arrays nested deeper than %d at byte %zu", MAX_NESTING,
                       r->pos);
    uint32_t type;
    WA_TRY(take_u32(r, &type, err));
    size_t size = wa_gguf_scalar_size(type);
    size_t smallest = type == WA_GGUF_STRING ? sizeof(uint64_t) : SMALLEST_ARRAY;
    uint64_t count;
    WA_TRY(take_count(r, size != 0 ? size : smallest, "array elements", &count, err));
    if (size != 0) {
        r->pos += (size_t)count * size; /* take_count has seen that they fit */
        return WA_OK;
    }
    if (type != WA_GGUF_STRING && type != WA_GGUF_ARRAY)
        return wa_fail(err, WA_E_FORMAT, "unknown element type %" PRIu32 " before byte %zu", type,
                       r->pos);
    for (uint64_t i = 0; i < count; i++)
        WA_TRY(skip_value(r, type, depth, err));
    return WA_OK;
}

static wa_status take_entry(reader *r, wa_gguf_entry *entry, wa_error *err)
{
    WA_TRY(take_string(r, &entry->key, err));
    WA_TRY(take_u32(r, &entry->type, err));
    size_t start = r->pos;
    if (skip_value(r, entry->type, 0, err) != WA_OK)
        return wa_note(err, "in metadata key '%.*s'",
                       (int)(entry->key.size < SHOWN ? entry->key.size : SHOWN),
                       (const char *)entry->key.data);
    entry->value = (wa_bytes){.data = r->file.data + start, .size = r->pos - start};
    return WA_OK;
}

static int compare_bytes(wa_bytes a, wa_bytes b)
{
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = shared == 0 ? 0 : memcmp(a.data, b.data, shared);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_entries(const void *a, const void *b)
{
    return compare_bytes(((const wa_gguf_entry *)a)->key, ((const wa_gguf_entry *)b)->key);
}

static wa_status take_entries(reader *r, uint64_t count, wa_arena *arena, wa_gguf *gguf,
                              wa_error *err)
{
    WA_TRY(wa_arena_take(arena, count, sizeof *gguf->entries, &gguf->entries, err));
    gguf->entry_count = count;
    for (size_t i = 0; i < gguf->entry_count; i++)
        WA_TRY(take_entry(r, &gguf->entries[i], err));
    if (count > 1)
        qsort(gguf->entries, gguf->entry_count, sizeof *gguf->entries, compare_entries);
    for (size_t i = 1; i < gguf->entry_count; i++) {
        wa_bytes key = gguf->entries[i].key;
        if (compare_bytes(gguf->entries[i - 1].key, key) == 0)
            return wa_fail(err, WA_E_FORMAT, "metadata key '%.*s' is there twice",
                           (int)(key.size < SHOWN ? key.size : SHOWN), (const char *)key.data);
    }
    return WA_OK;
}

static wa_status take_dims(reader *r, wa_gguf_tensor *tensor, wa_error *err)
{
    WA_TRY(take_u32(r, &tensor->dim_count, err));
    if (tensor->dim_count < 1 || tensor->dim_count > WA_GGUF_MAX_DIMS)
        return wa_fail(err, WA_E_FORMAT, "%" PRIu32 " dimensions, expected 1 to %d",
                       tensor->dim_count, WA_GGUF_MAX_DIMS);
    for (size_t i = 0; i < WA_GGUF_MAX_DIMS; i++) {
        uint64_t dim = 1;
        if (i < tensor->dim_count)
            WA_TRY(take_u64(r, &dim, err));
        tensor->dims[i] = (size_t)dim;
    }
    return WA_OK;
}

/* Bytes of the tensor: whole blocks along dims[0], times the other dimensions. */
static wa_status count_bytes(const wa_gguf_tensor *tensor, const tensor_type *type, size_t *out,
                             wa_error *err)
{
    if (tensor->dims[0] % type->elements != 0)
        return wa_fail(err, WA_E_FORMAT, "rows of %zu elements, %s needs a multiple of %zu",
                       tensor->dims[0], type->name, type->elements);
    size_t bytes = tensor->dims[0] / type->elements;
    bool fits = wa_size_mul(bytes, type->bytes, &bytes);
    for (size_t i = 1; fits && i < WA_GGUF_MAX_DIMS; i++)
        fits = wa_size_mul(bytes, tensor->dims[i], &bytes);
    if (!fits)
        return wa_fail(err, WA_E_FORMAT, "its %" PRIu32 " dimensions overflow 64 bits",
                       tensor->dim_count);
    *out = bytes;
    return WA_OK;
}

/* Fills all but data.data; `offset` is relative to a data section whose start is not known yet. */
static wa_status take_tensor_body(reader *r, wa_gguf_tensor *tensor, uint64_t *offset,
                                  wa_error *err)
{
    WA_TRY(take_dims(r, tensor, err));
    uint32_t id;
    WA_TRY(take_u32(r, &id, err));
    WA_TRY(take_u64(r, offset, err));
    const tensor_type *type = find_type(id);
    if (type == NULL)
        return wa_fail(err, WA_E_FORMAT, "unknown tensor type %" PRIu32, id);
    tensor->type_name = type->name;
    tensor->format = type->format;
    return count_bytes(tensor, type, &tensor->data.size, err);
}

static wa_status take_tensor(reader *r, wa_arena *arena, wa_gguf_tensor *tensor, uint64_t *offset,
                             wa_error *err)
{
    wa_bytes name;
    WA_TRY(take_string(r, &name, err));
    char *copy;
    WA_TRY(wa_arena_copy(arena, (const char *)name.data, name.size, &copy, err));
    tensor->name = copy;
    if (strlen(copy) != name.size)
        return wa_fail(err, WA_E_FORMAT, "the tensor name '%.*s...' holds a NUL", SHOWN, copy);
    if (take_tensor_body(r, tensor, offset, err) != WA_OK)
        return wa_note(err, "in tensor '%.*s'", SHOWN, copy);
    return WA_OK;
}

static wa_status place_tensor(wa_bytes file, uint64_t data_start, uint64_t alignment,
                              uint64_t offset, wa_gguf_tensor *tensor, wa_error *err)
{
    if (offset % alignment != 0)
        return wa_fail(err, WA_E_FORMAT,
                       "tensor '%.*s': offset %" PRIu64 " is not aligned to %" PRIu64, SHOWN,
                       tensor->name, offset, alignment);
    size_t begin;
    if (!wa_size_add(data_start, offset, &begin) ||
        !wa_bytes_slice(file, begin, tensor->data.size, &tensor->data)) {
        size_t left = data_start > file.size || offset > file.size - data_start
                          ? 0
                          : (size_t)(file.size - data_start - offset);
        return wa_fail(err, WA_E_FORMAT,
                       "tensor '%.*s': offset %" PRIu64 " + %zu bytes from byte %" PRIu64
                       " leaves the file of %zu bytes: %zu bytes present",
                       SHOWN, tensor->name, offset, tensor->data.size, data_start, file.size, left);
    }
    return WA_OK;
}

static int compare_tensors(const void *a, const void *b)
{
    return strcmp(((const wa_gguf_tensor *)a)->name, ((const wa_gguf_tensor *)b)->name);
}

static wa_status read_alignment(const wa_gguf *gguf, uint64_t *out, wa_error *err)
{
    uint64_t alignment = DEFAULT_ALIGNMENT;
    if (wa_gguf_has(gguf, "general.alignment"))
        WA_TRY(wa_gguf_u64(gguf, "general.alignment", &alignment, err));
    if (alignment == 0 || alignment > UINT32_MAX || (alignment & (alignment - 1)) != 0)
        return wa_fail(err, WA_E_FORMAT, "bad alignment %" PRIu64 ", expected a power of two",
                       alignment);
    *out = alignment;
    return WA_OK;
}

static wa_status check_overlap(const wa_gguf *gguf, const uint8_t *start, wa_arena *arena,
                               wa_error *err)
{
    wa_mark mark = wa_arena_mark(arena);
    wa_extent *extents;
    WA_TRY(wa_arena_take(arena, gguf->tensor_count, sizeof *extents, &extents, err));
    for (size_t i = 0; i < gguf->tensor_count; i++)
        extents[i] = (wa_extent){gguf->tensors[i].name, gguf->tensors[i].data};
    wa_status status = wa_extents_disjoint(extents, gguf->tensor_count, start, err);
    wa_arena_release(arena, mark);
    return status;
}

static wa_status take_tensors(reader *r, uint64_t count, wa_arena *arena, wa_gguf *gguf,
                              wa_error *err)
{
    uint64_t alignment = DEFAULT_ALIGNMENT;
    uint64_t *offsets;
    WA_TRY(read_alignment(gguf, &alignment, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *gguf->tensors, &gguf->tensors, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *offsets, &offsets, err));
    gguf->tensor_count = count;
    for (size_t i = 0; i < gguf->tensor_count; i++)
        WA_TRY(take_tensor(r, arena, &gguf->tensors[i], &offsets[i], err));

    /* No overflow: r->pos is at most the size of a mapped file, alignment fits 32 bits. */
    uint64_t data_start = (r->pos + alignment - 1) / alignment * alignment;
    for (size_t i = 0; i < gguf->tensor_count; i++)
        WA_TRY(place_tensor(r->file, data_start, alignment, offsets[i], &gguf->tensors[i], err));

    if (count > 1)
        qsort(gguf->tensors, gguf->tensor_count, sizeof *gguf->tensors, compare_tensors);
    for (size_t i = 1; i < gguf->tensor_count; i++)
        if (compare_tensors(&gguf->tensors[i - 1], &gguf->tensors[i]) == 0)
            return wa_fail(err, WA_E_FORMAT, "tensor '%.*s' is there twice", SHOWN,
                           gguf->tensors[i].name);
    return check_overlap(gguf, r->file.data + data_start, arena, err);
}

wa_status wa_gguf_parse(wa_bytes file, wa_arena *arena, wa_gguf **out, wa_error *err)
{
    reader r = {.file = file};
    uint32_t magic;
    uint32_t version;
    uint64_t tensor_count = 0;
    uint64_t entry_count = 0;
    WA_TRY(take_u32(&r, &magic, err));
    if (magic != MAGIC)
        return wa_fail(err, WA_E_FORMAT,
                       "not a GGUF file: it begins with 0x%08" PRIx32 ", expected 0x%08" PRIx32,
                       magic, MAGIC);
    WA_TRY(take_u32(&r, &version, err));
    if (version != 0 && version % (1U << 24) == 0)
        return wa_fail(err, WA_E_FORMAT,
                       "GGUF of version %" PRIu32 " in big-endian order, expected little-endian",
                       version >> 24);
    if (version != 2 && version != 3)
        return wa_fail(err, WA_E_FORMAT, "unsupported version %" PRIu32 " of GGUF, expected 2 or 3",
                       version);
    WA_TRY(take_count(&r, SMALLEST_TENSOR, "tensors", &tensor_count, err));
    WA_TRY(take_count(&r, SMALLEST_ENTRY, "metadata entries", &entry_count, err));

    wa_gguf *gguf;
    WA_TRY(wa_arena_take(arena, 1, sizeof *gguf, &gguf, err));
    WA_TRY(take_entries(&r, entry_count, arena, gguf, err));
    WA_TRY(take_tensors(&r, tensor_count, arena, gguf, err));
    *out = gguf;
    return WA_OK;
}

/* Attributes: variable-length UTF-8 strings and numbers. */
#include "store/file.h"
#include "store/guard.h"

#include "store/types_hdf5.h"

#include <hdf5.h>
#include <string.h>

static wa_status write_values(wa_hid object, const char *name, wa_hid file_type, wa_hid memory_type,
                              wa_hid space, const void *values, wa_error *err)
{
    wa_ids ids = {.count = 0};
    hid_t attribute = -1;
    if (H5Aexists(object, name) > 0 && H5Adelete(object, name) < 0)
        return wa_hdf5_failed(err, WA_E_IO, "cannot replace attribute", name);
    if (file_type >= 0 && memory_type >= 0 && space >= 0)
        attribute =
            wa_ids_keep(&ids, H5Acreate2(object, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT));
    wa_status status = WA_OK;
    if (attribute < 0 || (values != NULL && H5Awrite(attribute, memory_type, values) < 0))
        status = wa_hdf5_failed(err, WA_E_IO, "cannot write attribute", name);
    return wa_ids_close(&ids, status, err);
}

wa_status wa_attribute_write_text(wa_hid object, const char *name, const char *text, wa_error *err)
{
    wa_ids ids = {.count = 0};
    wa_hid type = wa_ids_keep(&ids, wa_text_type());
    wa_hid space = wa_ids_keep(&ids, H5Screate(H5S_SCALAR));
    return wa_ids_close(&ids, write_values(object, name, type, type, space, &text, err), err);
}

/* A string of just so many bytes, NUL-terminated; negative on failure. */
static wa_hid word_type(wa_ids *ids, size_t bytes)
{
    hid_t type = wa_ids_keep(ids, H5Tcopy(H5T_C_S1));
    return type < 0 || H5Tset_size(type, bytes) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0 ? -1
                                                                                            : type;
}

wa_status wa_attribute_write_word(wa_hid object, const char *name, const char *text, wa_error *err)
{
    wa_ids ids = {.count = 0};
    wa_hid type = word_type(&ids, strlen(text) + 1);
    wa_hid space = wa_ids_keep(&ids, H5Screate(H5S_SCALAR));
    return wa_ids_close(&ids, write_values(object, name, type, type, space, text, err), err);
}

wa_status wa_attribute_write_texts(wa_hid object, const char *name, const char *const *texts,
                                   size_t count, wa_error *err)
{
    wa_ids ids = {.count = 0};
    hsize_t extent = count;
    wa_hid type = wa_ids_keep(&ids, wa_text_type());
    wa_hid space = wa_ids_keep(&ids, H5Screate_simple(1, &extent, NULL));
    const void *values = count == 0 ? NULL : texts;
    return wa_ids_close(&ids, write_values(object, name, type, type, space, values, err), err);
}

wa_status wa_attribute_write_numbers(wa_hid object, const char *name, wa_layout_type type,
                                     const void *values, size_t count, wa_error *err)
{
    wa_ids ids = {.count = 0};
    hsize_t extent = count;
    wa_hid space = wa_ids_keep(&ids, H5Screate_simple(1, &extent, NULL));
    return wa_ids_close(
        &ids,
        write_values(object, name, wa_file_type(type), wa_memory_type(type), space, values, err),
        err);
}

wa_status wa_attribute_write_i64(wa_hid object, const char *name, int64_t value, wa_error *err)
{
    return wa_attribute_write_numbers(object, name, WA_LAYOUT_I64, &value, 1, err);
}

wa_status wa_attribute_write_f64(wa_hid object, const char *name, double value, wa_error *err)
{
    return wa_attribute_write_numbers(object, name, WA_LAYOUT_F64, &value, 1, err);
}

typedef struct opened {
    hid_t attribute, type, space;
} opened;

/* Open an attribute that must be there. */
static wa_status open_attribute(wa_ids *ids, wa_hid object, const char *name, opened *out,
                                wa_error *err)
{
    wa_guard_enter();
    bool there = H5Aexists(object, name) > 0;
    wa_guard_leave();
    if (!there)
        return wa_fail(err, WA_E_FORMAT, "no attribute '%s'", name);
    hid_t attribute = wa_ids_keep(ids, H5Aopen(object, name, H5P_DEFAULT));
    hid_t type = attribute < 0 ? -1 : wa_ids_keep(ids, H5Aget_type(attribute));
    hid_t space = attribute < 0 ? -1 : wa_ids_keep(ids, H5Aget_space(attribute));
    if (type < 0 || space < 0)
        return wa_hdf5_failed(err, WA_E_FORMAT, "cannot read attribute", name);
    *out = (opened){.attribute = attribute, .type = type, .space = space};
    return WA_OK;
}

/* The same, of one class. A scalar has a count of 1. */
static wa_status open_checked(wa_ids *ids, wa_hid object, const char *name,
                              H5T_class_t class_wanted, wa_hid *out, size_t *count, wa_error *err)
{
    opened it;
    WA_TRY(open_attribute(ids, object, name, &it, err));
    hssize_t points = H5Sget_simple_extent_npoints(it.space);
    bool right = H5Tget_class(it.type) == class_wanted && points >= 0;
    if (right && class_wanted == H5T_STRING)
        right = H5Tis_variable_str(it.type) > 0;
    if (!right)
        return wa_fail(err, WA_E_FORMAT, "attribute '%s': found another type, expected %s", name,
                       class_wanted == H5T_STRING ? "variable-length strings" : "an integer");
    *count = (size_t)points;
    *out = it.attribute;
    return WA_OK;
}

static wa_status copy_texts(char *const *texts, size_t count, wa_arena *arena, const char **out,
                            wa_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = texts[i] == NULL ? "" : texts[i];
        char *copy;
        WA_TRY(wa_arena_copy(arena, text, strlen(text), &copy, err));
        out[i] = copy;
    }
    return WA_OK;
}

static wa_status read_texts(wa_ids *ids, wa_hid attribute, const char *name, wa_arena *arena,
                            size_t count, const char **out, wa_error *err)
{
    char **raw;
    WA_TRY(wa_arena_take(arena, count, sizeof *raw, &raw, err));
    wa_hid type = wa_ids_keep(ids, wa_text_type());
    hid_t space = wa_ids_keep(ids, H5Aget_space(attribute));
    if (count > 0 && H5Aread(attribute, type, raw) < 0)
        return wa_hdf5_failed(err, WA_E_FORMAT, "cannot read attribute", name);
    wa_status status = copy_texts(raw, count, arena, out, err);
    if (count > 0)
        H5Dvlen_reclaim(type, space, H5P_DEFAULT, raw);
    return status;
}

static wa_status load_texts(wa_ids *ids, wa_hid object, const char *name, wa_arena *arena,
                            const char *const **out, size_t *count, wa_error *err)
{
    wa_hid attribute;
    const char **texts;
    WA_TRY(open_checked(ids, object, name, H5T_STRING, &attribute, count, err));
    WA_TRY(wa_arena_take(arena, *count, sizeof *texts, &texts, err));
    WA_TRY(read_texts(ids, attribute, name, arena, *count, texts, err));
    *out = texts;
    return WA_OK;
}

wa_status wa_attribute_read_texts(wa_hid object, const char *name, wa_arena *arena,
                                  const char *const **out, size_t *count, wa_error *err)
{
    wa_ids ids = {.count = 0};
    return wa_ids_close(&ids, load_texts(&ids, object, name, arena, out, count, err), err);
}

wa_status wa_attribute_read_text(wa_hid object, const char *name, wa_arena *arena, const char **out,
                                 wa_error *err)
{
    const char *const *texts = NULL;
    size_t count = 0;
    WA_TRY(wa_attribute_read_texts(object, name, arena, &texts, &count, err));
    if (count != 1)
        return wa_fail(err, WA_E_FORMAT, "attribute '%s': found %zu strings, expected one", name,
                       count);
    *out = texts[0];
    return WA_OK;
}

static wa_status read_i64(wa_ids *ids, wa_hid object, const char *name, int64_t *out, wa_error *err)
{
    wa_hid attribute;
    size_t count = 0;
    WA_TRY(open_checked(ids, object, name, H5T_INTEGER, &attribute, &count, err));
    if (count != 1)
        return wa_fail(err, WA_E_FORMAT, "attribute '%s': found %zu numbers, expected one", name,
                       count);
    if (H5Aread(attribute, H5T_NATIVE_INT64, out) < 0)
        return wa_hdf5_failed(err, WA_E_FORMAT, "cannot read attribute", name);
    return WA_OK;
}

wa_status wa_attribute_read_i64(wa_hid object, const char *name, int64_t *out, wa_error *err)
{
    wa_ids ids = {.count = 0};
    return wa_ids_close(&ids, read_i64(&ids, object, name, out, err), err);
}

static wa_status read_word(wa_ids *ids, wa_hid object, const char *name, char out[WA_WORD_BYTES],
                           wa_error *err)
{
    opened it;
    WA_TRY(open_attribute(ids, object, name, &it, err));
    if (H5Sget_simple_extent_npoints(it.space) != 1 || H5Tget_class(it.type) != H5T_STRING ||
        H5Tis_variable_str(it.type) != 0 || H5Tget_size(it.type) >= WA_WORD_BYTES)
        return wa_fail(err, WA_E_FORMAT,
                       "attribute '%s': found another type, expected a text of less than %d bytes",
                       name, WA_WORD_BYTES);
    wa_hid type = word_type(ids, WA_WORD_BYTES);
    char text[WA_WORD_BYTES] = "";
    if (type < 0 || H5Aread(it.attribute, type, text) < 0)
        return wa_hdf5_failed(err, WA_E_FORMAT, "cannot read attribute", name);
    memcpy(out, text, WA_WORD_BYTES);
    out[WA_WORD_BYTES - 1] = '\0';
    return WA_OK;
}

wa_status wa_attribute_read_word(wa_hid object, const char *name, char out[WA_WORD_BYTES],
                                 wa_error *err)
{
    wa_ids ids = {.count = 0};
    return wa_ids_close(&ids, read_word(&ids, object, name, out, err), err);
}

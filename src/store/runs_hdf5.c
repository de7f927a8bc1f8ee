/* /run/K of a result: run-K.json of each run as attributes of a group; lists of numbers as
 * datasets. Serial, rank 0. */
#include "store/assemble.h"
#include "store/parts.h"

#include "base/json.h"

#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>

static bool all_strings(const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (!json_is_string(json_array_get(array, i)))
            return false;
    return json_is_array(array);
}

static wa_status write_strings(wa_hid group, const char *key, const json_t *array, wa_arena *arena,
                               wa_error *err)
{
    size_t count = json_array_size(array);
    const char **texts;
    WA_TRY(wa_arena_take(arena, count, sizeof *texts, &texts, err));
    for (size_t i = 0; i < count; i++)
        texts[i] = json_string_value(json_array_get(array, i));
    return wa_attribute_write_texts(group, key, texts, count, err);
}

static bool all_integers(const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (!json_is_integer(json_array_get(array, i)))
            return false;
    return json_array_size(array) > 0;
}

/* An attribute holds 64 KiB at most, so a list of numbers is a dataset of its own, with a checksum
 * as others have. */
static wa_status write_integers(wa_hid group, const char *key, const json_t *array, wa_arena *arena,
                                wa_error *err)
{
    wa_ids ids = {.count = 0};
    hsize_t count = json_array_size(array);
    int64_t *values;
    WA_TRY(wa_arena_take(arena, count, sizeof *values, &values, err));
    for (size_t i = 0; i < count; i++)
        values[i] = json_integer_value(json_array_get(array, i));
    hid_t space = wa_ids_keep(&ids, H5Screate_simple(1, &count, NULL));
    hid_t creation = wa_ids_keep(&ids, H5Pcreate(H5P_DATASET_CREATE));
    hid_t dataset = -1;
    if (space >= 0 && creation >= 0 && H5Pset_obj_track_times(creation, false) >= 0 &&
        H5Pset_chunk(creation, 1, &count) >= 0 && H5Pset_fletcher32(creation) >= 0)
        dataset = H5Dcreate2(group, key, H5T_STD_I64LE, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    wa_status status = WA_OK;
    if (dataset < 0 ||
        H5Dwrite(dataset, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
        status = wa_hdf5_failed(err, WA_E_IO, "cannot write dataset /run/K/", key);
    status = wa_dataset_close(dataset, status, err);
    return wa_ids_close(&ids, status, err);
}

/* What has no attribute type of its own is kept as JSON text. */
static wa_status write_json(wa_hid group, const char *key, const json_t *value, wa_error *err)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text == NULL)
        return wa_fail(err, WA_E_INTERNAL, "cannot write key '%s' as JSON", key);
    wa_status status = wa_attribute_write_text(group, key, text, err);
    free(text); /* Jansson's own allocation */
    return status;
}

static wa_status write_value(wa_hid group, const char *key, const json_t *value, wa_arena *arena,
                             wa_error *err)
{
    if (json_is_string(value))
        return wa_attribute_write_text(group, key, json_string_value(value), err);
    if (json_is_integer(value))
        return wa_attribute_write_i64(group, key, json_integer_value(value), err);
    if (json_is_real(value))
        return wa_attribute_write_f64(group, key, json_real_value(value), err);
    if (json_is_boolean(value))
        return wa_attribute_write_i64(group, key, json_is_true(value), err);
    if (all_integers(value))
        return write_integers(group, key, value, arena, err);
    if (all_strings(value))
        return write_strings(group, key, value, arena, err);
    return write_json(group, key, value, err);
}

static wa_status write_run(wa_hid group, const char *path, wa_arena *arena, wa_error *err)
{
    json_t *root;
    WA_TRY(wa_json_open(path, &root, err));
    wa_status status = WA_OK;
    for (void *at = json_object_iter(root); status == WA_OK && at != NULL;
         at = json_object_iter_next(root, at))
        status =
            write_value(group, json_object_iter_key(at), json_object_iter_value(at), arena, err);
    wa_json_close(root);
    if (status != WA_OK)
        return wa_note(err, "in file '%s'", path);
    return WA_OK;
}

static wa_hid new_group(wa_ids *ids, wa_hid parent, const char *name)
{
    hid_t creation = wa_ids_keep(ids, H5Pcreate(H5P_GROUP_CREATE));
    if (creation < 0 ||
        H5Pset_attr_creation_order(creation, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED) < 0 ||
        H5Pset_obj_track_times(creation, false) < 0)
        return -1;
    return wa_ids_keep(ids, H5Gcreate2(parent, name, H5P_DEFAULT, creation, H5P_DEFAULT));
}

static wa_status add_run(wa_hid runs, size_t k, const char *path, wa_arena *arena, wa_error *err)
{
    wa_ids ids = {.count = 0};
    char name[32];
    snprintf(name, sizeof name, "%zu", k);
    wa_status status = WA_OK;
    wa_hid group = new_group(&ids, runs, name);
    if (group < 0)
        status = wa_hdf5_failed(err, WA_E_IO, "cannot create group /run", name);
    else
        status = write_run(group, path, arena, err);
    return wa_ids_close(&ids, status, err);
}

/* In the result they are numbered without gaps, also where a file was set aside. */
static wa_status add_runs(wa_ids *ids, wa_hid file, const char *directory, wa_arena *arena,
                          wa_error *err)
{
    wa_hid runs = new_group(ids, file, "run");
    if (runs < 0)
        return wa_hdf5_failed(err, WA_E_IO, "cannot create group", "run");
    size_t count, added = 0;
    WA_TRY(wa_parts_count_runs(directory, &count, err));
    for (size_t k = 0; k < count; k++) {
        char path[WA_NAME_BYTES];
        WA_TRY(wa_parts_run_name(directory, k, path, err));
        if (wa_file_exists(path))
            WA_TRY(add_run(runs, added++, path, arena, err));
    }
    return WA_OK;
}

wa_status wa_assembly_runs(wa_hid file, const char *directory, wa_arena *arena, wa_error *err)
{
    wa_ids ids = {.count = 0};
    return wa_ids_close(&ids, add_runs(&ids, file, directory, arena, err), err);
}

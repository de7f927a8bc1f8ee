/* Datasets of the result: created from their layout row, checked against it, read and written by
 * boxes. */
#include "store/guard.h"
#include "store/types_hdf5.h"

#include "base/bytes.h"

#include <assert.h>
#include <hdf5.h>
#include <hdf5_hl.h>
#include <math.h>
#include <stdio.h>

wa_hid wa_file_type(wa_layout_type type)
{
    switch (type) {
    case WA_LAYOUT_F64:
        return H5T_IEEE_F64LE;
    case WA_LAYOUT_I64:
        return H5T_STD_I64LE;
    case WA_LAYOUT_I32:
        return H5T_STD_I32LE;
    default:
        assert(type == WA_LAYOUT_I8);
        return H5T_STD_I8LE;
    }
}

wa_hid wa_memory_type(wa_layout_type type)
{
    switch (type) {
    case WA_LAYOUT_F64:
        return H5T_NATIVE_DOUBLE;
    case WA_LAYOUT_I64:
        return H5T_NATIVE_INT64;
    case WA_LAYOUT_I32:
        return H5T_NATIVE_INT32;
    default:
        assert(type == WA_LAYOUT_I8);
        return H5T_NATIVE_INT8;
    }
}

wa_hid wa_text_type(void)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 &&
        (H5Tset_size(type, H5T_VARIABLE) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0)) {
        H5Tclose(type);
        return -1;
    }
    return type;
}

/* A type that wa_ids may close: a copy for numbers. */
static wa_hid own_type(wa_layout_type type, bool in_memory)
{
    if (type == WA_LAYOUT_TEXT)
        return wa_text_type();
    return H5Tcopy(in_memory ? wa_memory_type(type) : wa_file_type(type));
}

/* How texts are transferred. HDF5 converts them, in memory that it fills with zeros first for every
 * transfer: by default 1 MiB, for a few bytes of text in each of some 50 datasets. */
static wa_hid text_transfer(wa_ids *ids)
{
    enum { BYTES = 1 << 14 };
    hid_t transfer = wa_ids_keep(ids, H5Pcreate(H5P_DATASET_XFER));
    return transfer < 0 || H5Pset_buffer(transfer, BYTES, NULL, NULL) < 0 ? -1 : transfer;
}

static wa_hid transfer_of(wa_ids *ids, wa_layout_type type)
{
    return type == WA_LAYOUT_TEXT ? text_transfer(ids) : H5P_DEFAULT;
}

/* --- Creating --- */

static herr_t set_fill(hid_t creation, const wa_layout *row, hid_t type)
{
    double number = row->type == WA_LAYOUT_F64 ? (double)NAN : (double)wa_layout_fill(row);
    const char *text = "";
    if (row->type == WA_LAYOUT_TEXT)
        return H5Pset_fill_value(creation, type, &text);
    return H5Pset_fill_value(creation, H5T_NATIVE_DOUBLE, &number);
}

static herr_t set_chunks(hid_t creation, const wa_layout *row, const size_t *shape, size_t rank)
{
    if (!wa_layout_is_chunked(row, shape))
        return 0;
    size_t box[WA_LAYOUT_RANK];
    hsize_t chunk[WA_LAYOUT_RANK];
    wa_layout_box(row, shape, box);
    for (size_t d = 0; d < rank; d++)
        chunk[d] = box[d];
    if (H5Pset_chunk(creation, (int)rank, chunk) < 0)
        return -1;
    /* Deflate saves 14 % of the metrics at an eighth of the speed: integers only (design 8). */
    if (wa_layout_is_compressed(row) &&
        (H5Pset_shuffle(creation) < 0 || H5Pset_deflate(creation, 4) < 0))
        return -1;
    return H5Pset_fletcher32(creation);
}

static wa_hid new_creation(wa_ids *ids, const wa_layout *row, const size_t *shape, size_t rank,
                           hid_t type)
{
    hid_t creation = wa_ids_keep(ids, H5Pcreate(H5P_DATASET_CREATE));
    unsigned order = H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED;
    if (creation < 0 || H5Pset_attr_creation_order(creation, order) < 0 ||
        H5Pset_obj_track_times(creation, false) < 0 || set_fill(creation, row, type) < 0 ||
        set_chunks(creation, row, shape, rank) < 0)
        return -1;
    return creation;
}

static wa_status write_words(wa_hid dataset, const wa_layout *row, wa_error *err)
{
    const char *words[WA_CODES_MAX];
    size_t count = wa_layout_words(row, words);
    if (count == 0)
        return WA_OK;
    char meanings[512] = "";
    int8_t values[WA_CODES_MAX];
    for (size_t i = 0, used = 0; i < count; i++) {
        values[i] = (int8_t)i;
        used += (size_t)snprintf(meanings + used, sizeof meanings - used, "%s%s", i == 0 ? "" : " ",
                                 words[i]);
        assert(used < sizeof meanings);
    }
    WA_TRY(wa_attribute_write_numbers(dataset, "flag_values", WA_LAYOUT_I8, values, count, err));
    return wa_attribute_write_text(dataset, "flag_meanings", meanings, err);
}

static wa_status write_attributes(wa_hid dataset, const wa_layout *row, wa_error *err)
{
    WA_TRY(wa_attribute_write_text(dataset, "long_name", row->long_name, err));
    WA_TRY(wa_attribute_write_text(dataset, "units", row->unit, err));
    /* On integers the attribute makes xarray turn them into floats. */
    if (row->type == WA_LAYOUT_F64)
        WA_TRY(wa_attribute_write_f64(dataset, "_FillValue", (double)NAN, err));
    return write_words(dataset, row, err);
}

static wa_status attach_scales(wa_ids *ids, wa_hid file, wa_hid dataset, const wa_layout *row,
                               wa_error *err)
{
    if (row->origin == WA_ORIGIN_SCALE) {
        if (H5DSset_scale(dataset, row->name) < 0)
            return wa_hdf5_failed(err, WA_E_IO, "cannot make scale", row->name);
        return WA_OK;
    }
    for (unsigned d = 0; row->axes[d] != '\0'; d++) {
        hid_t scale = wa_ids_keep(ids, H5Dopen2(file, wa_layout_scale(row->axes[d]), H5P_DEFAULT));
        if (scale < 0 || H5DSattach_scale(dataset, scale, d) < 0)
            return wa_hdf5_failed(err, WA_E_IO, "cannot attach a scale to", row->name);
    }
    return WA_OK;
}

static wa_hid new_space(wa_ids *ids, const size_t *shape, size_t rank)
{
    hsize_t extent[WA_LAYOUT_RANK];
    for (size_t d = 0; d < rank; d++)
        extent[d] = shape[d];
    return wa_ids_keep(ids, H5Screate_simple((int)rank, extent, NULL));
}

static wa_status create(wa_ids *ids, wa_hid file, const wa_layout *row, const wa_extents *extents,
                        wa_error *err)
{
    size_t shape[WA_LAYOUT_RANK];
    size_t rank = wa_layout_shape(row, extents, shape);
    wa_hid type = wa_ids_keep(ids, own_type(row->type, false));
    wa_hid space = new_space(ids, shape, rank);
    wa_hid creation = new_creation(ids, row, shape, rank, type);
    hid_t dataset = -1;
    if (type >= 0 && space >= 0 && creation >= 0)
        dataset = wa_ids_keep(
            ids, H5Dcreate2(file, row->name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT));
    if (dataset < 0)
        return wa_hdf5_failed(err, WA_E_IO, "cannot create dataset", row->name);
    WA_TRY(write_attributes(dataset, row, err));
    return attach_scales(ids, file, dataset, row, err);
}

wa_status wa_dataset_create(wa_hid file, const wa_layout *row, const wa_extents *extents,
                            wa_error *err)
{
    wa_ids ids = {.count = 0};
    return wa_ids_close(&ids, create(&ids, file, row, extents, err), err);
}

/* --- Writing and reading --- */

/* Spaces of a transfer: memory holds just the box. False when the box is empty: nothing to do. */
static bool select_box(wa_ids *ids, wa_hid dataset, const wa_box *box, wa_hid *memory, wa_hid *file)
{
    *memory = H5S_ALL;
    *file = wa_ids_keep(ids, H5Dget_space(dataset));
    if (box == NULL)
        return true;
    int rank = H5Sget_simple_extent_ndims(*file);
    hsize_t start[WA_LAYOUT_RANK], count[WA_LAYOUT_RANK];
    for (int d = 0; d < rank && d < WA_LAYOUT_RANK; d++) {
        start[d] = box->start[d];
        count[d] = box->count[d];
    }
    *memory = wa_ids_keep(ids, H5Screate_simple(rank, count, NULL));
    return H5Sselect_hyperslab(*file, H5S_SELECT_SET, start, NULL, count, NULL) >= 0;
}

wa_status wa_dataset_write(wa_hid dataset, const wa_layout *row, const wa_box *box,
                           const void *values, wa_error *err)
{
    wa_ids ids = {.count = 0};
    wa_status status = WA_OK;
    wa_hid memory, file;
    wa_hid type = wa_ids_keep(&ids, own_type(row->type, true));
    wa_hid transfer = transfer_of(&ids, row->type);
    if (transfer < 0 || !select_box(&ids, dataset, box, &memory, &file) ||
        H5Dwrite(dataset, type, memory, file, transfer, values) < 0)
        status = wa_hdf5_failed(err, WA_E_IO, "cannot write dataset", row->name);
    return wa_ids_close(&ids, status, err);
}

wa_status wa_dataset_read(wa_hid dataset, const wa_layout *row, const wa_box *box, void *values,
                          wa_error *err)
{
    assert(row->type != WA_LAYOUT_TEXT);
    wa_ids ids = {.count = 0};
    wa_status status = WA_OK;
    wa_hid memory, file;
    wa_hid type = wa_ids_keep(&ids, own_type(row->type, true));
    if (!select_box(&ids, dataset, box, &memory, &file) ||
        H5Dread(dataset, type, memory, file, H5P_DEFAULT, values) < 0)
        status = wa_hdf5_failed(err, WA_E_FORMAT, "cannot read dataset", row->name);
    return wa_ids_close(&ids, status, err);
}

static wa_status count_elements(const wa_layout *row, const wa_extents *extents, size_t *out,
                                wa_error *err)
{
    size_t shape[WA_LAYOUT_RANK], count = 1;
    size_t rank = wa_layout_shape(row, extents, shape);
    for (size_t d = 0; d < rank; d++)
        if (!wa_size_mul(count, shape[d], &count))
            return wa_fail(err, WA_E_FORMAT, "dataset '%s': its extents overflow", row->name);
    *out = count;
    return WA_OK;
}

wa_status wa_dataset_put(wa_hid file, const wa_layout *row, const wa_extents *extents,
                         const void *values, wa_error *err)
{
    size_t count;
    WA_TRY(count_elements(row, extents, &count, err));
    if (H5Lexists(file, row->name, H5P_DEFAULT) <= 0)
        WA_TRY(wa_dataset_create(file, row, extents, err));
    if (count == 0)
        return WA_OK;
    wa_hid dataset;
    WA_TRY(wa_dataset_open(file, row, extents, &dataset, err));
    wa_status status = wa_dataset_write(dataset, row, NULL, values, err);
    return wa_dataset_close(dataset, status, err);
}

/* --- Opening --- */

static bool type_fits(wa_ids *ids, wa_hid dataset, const wa_layout *row)
{
    hid_t found = wa_ids_keep(ids, H5Dget_type(dataset));
    if (found < 0)
        return false;
    if (row->type == WA_LAYOUT_TEXT)
        return H5Tis_variable_str(found) > 0;
    return H5Tequal(found, wa_file_type(row->type)) > 0;
}

static bool shape_fits(wa_ids *ids, wa_hid dataset, const size_t *shape, size_t rank)
{
    hid_t space = wa_ids_keep(ids, H5Dget_space(dataset));
    hsize_t extent[WA_LAYOUT_RANK];
    if (space < 0 || H5Sget_simple_extent_ndims(space) != (int)rank ||
        H5Sget_simple_extent_dims(space, extent, NULL) < 0)
        return false;
    for (size_t d = 0; d < rank; d++)
        if (extent[d] != shape[d])
            return false;
    return true;
}

/* HDF5 1.10 believes the extents of a chunk: where damage made them larger, it reads the chunk's
 * bytes past their end. And without a checksum it takes any bytes for numbers. */
static bool chunks_fit(wa_ids *ids, wa_hid dataset, const wa_layout *row, const size_t *shape,
                       size_t rank)
{
    hid_t creation = wa_ids_keep(ids, H5Dget_create_plist(dataset));
    hsize_t chunk[WA_LAYOUT_RANK];
    size_t box[WA_LAYOUT_RANK], values = 0;
    unsigned flags;
    if (creation < 0)
        return false;
    if (!wa_layout_is_chunked(row, shape))
        return H5Pget_layout(creation) == H5D_CONTIGUOUS;
    if (H5Pget_layout(creation) != H5D_CHUNKED ||
        H5Pget_chunk(creation, WA_LAYOUT_RANK, chunk) != (int)rank ||
        H5Pget_filter_by_id2(creation, H5Z_FILTER_FLETCHER32, &flags, &values, NULL, 0, NULL,
                             NULL) < 0)
        return false;
    wa_layout_box(row, shape, box);
    for (size_t d = 0; d < rank; d++)
        if (chunk[d] != box[d])
            return false;
    return true;
}

static wa_status check(wa_hid dataset, const wa_layout *row, const wa_extents *extents,
                       wa_error *err)
{
    wa_ids ids = {.count = 0};
    size_t shape[WA_LAYOUT_RANK];
    size_t rank = wa_layout_shape(row, extents, shape);
    wa_status status = WA_OK;
    if (!type_fits(&ids, dataset, row))
        status = wa_fail(err, WA_E_FORMAT, "dataset '%s' has another type than this version writes",
                         row->name);
    else if (!shape_fits(&ids, dataset, shape, rank))
        status = wa_fail(err, WA_E_FORMAT, "dataset '%s' has other extents than its axes %s",
                         row->name, row->axes);
    else if (!chunks_fit(&ids, dataset, row, shape, rank))
        status = wa_fail(err, WA_E_FORMAT,
                         "dataset '%s' has other chunks than this version writes, or no checksums",
                         row->name);
    return wa_ids_close(&ids, status, err);
}

wa_status wa_dataset_open(wa_hid file, const wa_layout *row, const wa_extents *extents, wa_hid *out,
                          wa_error *err)
{
    wa_guard_enter();
    bool there = H5Lexists(file, row->name, H5P_DEFAULT) > 0;
    wa_guard_leave();
    if (!there) {
        H5Eclear2(H5E_DEFAULT);
        return wa_fail(err, WA_E_FORMAT, "no dataset '%s'", row->name);
    }
    wa_ids ids = {.count = 0};
    hid_t access = wa_ids_keep(&ids, H5Pcreate(H5P_DATASET_ACCESS));
    H5Pset_chunk_cache(access, 0, 0, H5D_CHUNK_CACHE_W0_DEFAULT);
    hid_t dataset = H5Dopen2(file, row->name, access);
    wa_status status = WA_OK;
    if (dataset < 0)
        status = wa_hdf5_failed(err, WA_E_FORMAT, "cannot open dataset", row->name);
    else
        status = check(dataset, row, extents, err);
    if (status == WA_OK)
        *out = dataset;
    else
        status = wa_dataset_close(dataset, status, err);
    return wa_ids_close(&ids, status, err);
}

wa_status wa_dataset_release(wa_hid dataset, wa_status status, wa_error *err)
{
    wa_guard_enter();
    bool failed = dataset >= 0 && H5Dclose(dataset) < 0;
    wa_guard_leave();
    if (failed && status == WA_OK)
        return wa_hdf5_failed(err, WA_E_IO, "cannot finish writing a dataset", NULL);
    return status;
}

/* --- Loading whole --- */

static wa_status load_texts(wa_hid dataset, const wa_layout *row, wa_arena *arena, size_t count,
                            char **out, wa_error *err)
{
    wa_ids ids = {.count = 0};
    char **raw;
    WA_TRY(wa_arena_take(arena, count, sizeof *raw, &raw, err));
    wa_hid type = wa_ids_keep(&ids, wa_text_type());
    hid_t space = wa_ids_keep(&ids, H5Dget_space(dataset));
    wa_hid transfer = text_transfer(&ids);
    wa_status status = WA_OK;
    if (transfer < 0 || H5Dread(dataset, type, H5S_ALL, H5S_ALL, transfer, raw) < 0)
        status = wa_hdf5_failed(err, WA_E_FORMAT, "cannot read dataset", row->name);
    for (size_t i = 0; status == WA_OK && i < count; i++) {
        const char *text = raw[i] == NULL ? "" : raw[i];
        status = wa_arena_copy(arena, text, strlen(text), &out[i], err);
    }
    H5Dvlen_reclaim(type, space, H5P_DEFAULT, raw);
    return wa_ids_close(&ids, status, err);
}

/*
 * What is not compressed takes as many bytes as it has, and some for checksums: an extent that the
 * file holds no bytes for is caught here, before memory of that size is taken.
 */
static wa_status check_stored(wa_hid dataset, const wa_layout *row, size_t count, wa_error *err)
{
    size_t element = row->type == WA_LAYOUT_TEXT ? 16 : wa_layout_size(row);
    hsize_t stored = H5Dget_storage_size(dataset);
    size_t wanted = 0;
    if (!wa_size_mul(count, element, &wanted) || stored == 0 ||
        (!wa_layout_is_compressed(row) && stored < wanted))
        return wa_fail(err, WA_E_FORMAT,
                       "dataset '%s': %llu bytes stored for %zu elements of %zu bytes", row->name,
                       (unsigned long long)stored, count, element);
    return WA_OK;
}

wa_status wa_dataset_add(wa_hid file, const char *name, const wa_extents *extents,
                         const void *values, wa_error *err)
{
    const wa_layout *row = wa_layout_find(name);
    assert(row != NULL);
    return wa_dataset_put(file, row, extents, values, err);
}

wa_status wa_dataset_get(wa_hid file, const wa_layout *row, const wa_extents *extents,
                         wa_arena *arena, void *out_pointer, wa_error *err)
{
    size_t count;
    WA_TRY(count_elements(row, extents, &count, err));
    wa_hid dataset;
    WA_TRY(wa_dataset_open(file, row, extents, &dataset, err));
    void *values = NULL;
    wa_status status = count == 0 ? WA_OK : check_stored(dataset, row, count, err);
    if (status == WA_OK)
        status = wa_arena_take(arena, count, wa_layout_size(row), &values, err);
    if (status == WA_OK && count > 0)
        status = row->type == WA_LAYOUT_TEXT ? load_texts(dataset, row, arena, count, values, err)
                                             : wa_dataset_read(dataset, row, NULL, values, err);
    status = wa_dataset_close(dataset, status, err);
    if (status == WA_OK)
        memcpy(out_pointer, &values, sizeof values);
    return status;
}

wa_status wa_dataset_load(wa_hid file, const char *name, const wa_extents *extents, wa_arena *arena,
                          void *out_pointer, wa_error *err)
{
    const wa_layout *row = wa_layout_find(name);
    assert(row != NULL);
    return wa_dataset_get(file, row, extents, arena, out_pointer, err);
}

wa_status wa_dataset_length(wa_hid file, const char *name, size_t *out, wa_error *err)
{
    wa_ids ids = {.count = 0};
    wa_status status = WA_OK;
    hsize_t length = 0;
    wa_guard_enter();
    hid_t dataset = H5Lexists(file, name, H5P_DEFAULT) <= 0
                        ? -1
                        : wa_ids_keep(&ids, H5Dopen2(file, name, H5P_DEFAULT));
    hid_t space = dataset < 0 ? -1 : wa_ids_keep(&ids, H5Dget_space(dataset));
    if (space < 0 || H5Sget_simple_extent_ndims(space) != 1 ||
        H5Sget_simple_extent_dims(space, &length, NULL) < 0)
        status = wa_fail(err, WA_E_FORMAT, "no scale '%s'", name);
    H5Eclear2(H5E_DEFAULT);
    *out = (size_t)length;
    return wa_ids_close(&ids, status, err);
}

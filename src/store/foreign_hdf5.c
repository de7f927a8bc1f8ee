/* Datasets of HDF5 files that others write: shape, type and chunks are checked before anything is
 * read. */
#include "store/foreign.h"
#include "store/guard.h"

#include "base/bytes.h"

#include <hdf5.h>

static wa_status check_shape(wa_hid dataset, const char *name, H5T_class_t class,
                             const size_t *shape, int rank, wa_error *err)
{
    wa_ids ids = {.count = 0};
    hsize_t extent[3] = {0, 0, 0};
    wa_status status = WA_OK;
    hid_t space = wa_ids_keep(&ids, H5Dget_space(dataset));
    hid_t type = wa_ids_keep(&ids, H5Dget_type(dataset));
    if (H5Tget_class(type) != class)
        status = wa_fail(err, WA_E_FORMAT, "dataset '%s' holds no %s", name,
                         class == H5T_FLOAT ? "floating-point numbers" : "integers");
    int found = H5Sget_simple_extent_ndims(space);
    if (status == WA_OK &&
        (found != rank || H5Sget_simple_extent_dims(space, extent, NULL) != rank))
        status = wa_fail(err, WA_E_FORMAT, "dataset '%s' has %d dimensions, expected %d", name,
                         found, rank);
    for (int d = 0; status == WA_OK && d < rank; d++)
        if (extent[d] != shape[d])
            status = wa_fail(err, WA_E_FORMAT,
                             "dataset '%s': dimension %d has %llu entries, the job's has %zu", name,
                             d, (unsigned long long)extent[d], shape[d]);
    return wa_ids_close(&ids, status, err);
}

/* A chunk is decoded whole, so that its size is memory: what HDF5 takes for one read. */
static wa_status check_chunks(wa_hid dataset, const char *name, int rank, wa_error *err)
{
    enum { LIMIT = 256 << 20 };
    wa_ids ids = {.count = 0};
    hsize_t chunk[3] = {1, 1, 1};
    wa_status status = WA_OK;
    hid_t creation = wa_ids_keep(&ids, H5Dget_create_plist(dataset));
    hid_t type = wa_ids_keep(&ids, H5Dget_type(dataset));
    size_t bytes = H5Tget_size(type);
    if (H5Pget_layout(creation) == H5D_CHUNKED) {
        bool fits = H5Pget_chunk(creation, 3, chunk) == rank;
        for (int d = 0; fits && d < rank; d++)
            fits = wa_size_mul(bytes, (size_t)chunk[d], &bytes) && bytes <= LIMIT;
        if (!fits)
            status = wa_fail(err, WA_E_FORMAT,
                             "dataset '%s' has chunks of more than %d MiB, expected smaller ones",
                             name, LIMIT >> 20);
    }
    return wa_ids_close(&ids, status, err);
}

wa_status wa_foreign_open(wa_hid file, const char *name, bool floats, const size_t *shape, int rank,
                          wa_hid *out, wa_error *err)
{
    wa_guard_enter();
    hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
    wa_guard_leave();
    if (dataset < 0)
        return wa_hdf5_failed(err, WA_E_FORMAT, "cannot open dataset", name);
    wa_status status =
        check_shape(dataset, name, floats ? H5T_FLOAT : H5T_INTEGER, shape, rank, err);
    if (status == WA_OK)
        status = check_chunks(dataset, name, rank, err);
    if (status != WA_OK) {
        H5Dclose(dataset);
        return status;
    }
    *out = dataset;
    return WA_OK;
}

wa_status wa_foreign_read(wa_hid file, const char *name, bool floats, const size_t *shape, int rank,
                          void *values, wa_error *err)
{
    wa_hid dataset;
    WA_TRY(wa_foreign_open(file, name, floats, shape, rank, &dataset, err));
    hid_t type = floats ? H5T_NATIVE_DOUBLE : H5T_NATIVE_INT32;
    wa_status status = WA_OK;
    wa_guard_enter();
    if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
        status = wa_hdf5_failed(err, WA_E_FORMAT, "cannot read dataset", name);
    H5Dclose(dataset);
    wa_guard_leave();
    return status;
}

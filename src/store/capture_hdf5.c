/* One capture file, written with the serial driver as its layers end. */
#include "store/capture_file.h"

#include "store/seal.h"
#include "store/types_hdf5.h"

#include <hdf5.h>
#include <unistd.h>

struct wa_capture_file {
    const wa_capture_owner *owner;
    const wa_captures *captures;
    wa_capture_place place;
    size_t rows;
    wa_hid file, dataset[WA_CAPTURE_TENSORS]; /* a dataset that the content has not is -1 */
    char path[WA_NAME_BYTES], temporary[WA_NAME_BYTES];
};

/* The n-th kept layer from the file's first on; of the layer itself: its place in the file. */
static size_t place_of(const wa_capture_file *file, size_t layer)
{
    size_t place = 0;
    for (size_t l = file->place.first_layer; l < layer; l++)
        place += file->captures->layer[l] != 0;
    return place;
}

static bool holds(const wa_capture_file *file, wa_capture_tensor tensor)
{
    bool is_reference = file->place.which == WA_CAPTURE_REFERENCE;
    return file->captures->tensor[tensor] && is_reference == (tensor != WA_CAPTURE_Y_WALK);
}

static wa_status create_dataset(wa_capture_file *file, wa_capture_tensor tensor, wa_error *err)
{
    wa_ids ids = {.count = 0};
    hsize_t extent[3] = {place_of(file, file->place.last_layer) + 1, file->rows,
                         file->captures->hidden};
    hid_t space = wa_ids_keep(&ids, H5Screate_simple(3, extent, NULL));
    hid_t creation = wa_ids_keep(&ids, H5Pcreate(H5P_DATASET_CREATE));
    hid_t dataset = -1;
    if (space >= 0 && creation >= 0 && H5Pset_obj_track_times(creation, false) >= 0 &&
        H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER) >= 0)
        dataset = H5Dcreate2(file->file, wa_capture_name(tensor), H5T_IEEE_F32LE, space,
                             H5P_DEFAULT, creation, H5P_DEFAULT);
    wa_status status = WA_OK;
    if (dataset < 0)
        status = wa_hdf5_failed(err, WA_E_IO, "cannot create dataset", wa_capture_name(tensor));
    file->dataset[tensor] = dataset;
    return wa_ids_close(&ids, status, err);
}

static wa_status create_datasets(wa_capture_file *file, wa_error *err)
{
    for (int t = 0; t < WA_CAPTURE_TENSORS; t++)
        if (holds(file, (wa_capture_tensor)t))
            WA_TRY(create_dataset(file, (wa_capture_tensor)t, err));
    return WA_OK;
}

wa_status wa_capture_begin(const wa_capture_owner *owner, const wa_captures *captures,
                           const wa_capture_place *place, size_t rows, wa_arena *arena,
                           wa_capture_file **out, wa_error *err)
{
    wa_hdf5_quiet();
    wa_capture_file *file;
    char name[WA_HOST_BYTES], folder[WA_NAME_BYTES];
    WA_TRY(wa_captures_folder(owner->result_path, owner->mark->captures, folder, err));
    WA_TRY(wa_arena_take(arena, 1, sizeof *file, &file, err));
    file->owner = owner;
    file->captures = captures;
    file->place = *place;
    file->rows = rows;
    for (int t = 0; t < WA_CAPTURE_TENSORS; t++)
        file->dataset[t] = -1;
    wa_capture_file_name(place, name);
    WA_TRY(wa_parts_join(folder, name, file->path, err));
    WA_TRY(wa_temporary_name(file->path, file->temporary, err));
    WA_TRY(wa_hdf5_create(file->temporary, &file->file, err));
    if (create_datasets(file, err) != WA_OK) {
        wa_capture_abandon(file);
        return wa_note(err, "in file '%s'", file->path);
    }
    *out = file;
    return WA_OK;
}

wa_status wa_capture_write(wa_capture_file *file, wa_capture_tensor tensor, size_t layer,
                           const float *values, wa_error *err)
{
    wa_ids ids = {.count = 0};
    hsize_t start[3] = {place_of(file, layer), 0, 0};
    hsize_t count[3] = {1, file->rows, file->captures->hidden};
    hid_t dataset = file->dataset[tensor];
    if (dataset < 0)
        return WA_OK; /* not asked for */
    hid_t memory = wa_ids_keep(&ids, H5Screate_simple(3, count, NULL));
    hid_t space = wa_ids_keep(&ids, H5Dget_space(dataset));
    wa_status status = WA_OK;
    if (memory < 0 || space < 0 ||
        H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) < 0 ||
        H5Dwrite(dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, values) < 0) {
        wa_hdf5_failed(err, WA_E_IO, "cannot write dataset", wa_capture_name(tensor));
        status = wa_note(err, "in file '%s'", file->path);
    }
    return wa_ids_close(&ids, status, err);
}

static wa_status close_file(wa_capture_file *file, wa_error *err)
{
    wa_status status = WA_OK;
    for (int t = 0; t < WA_CAPTURE_TENSORS; t++)
        status = wa_dataset_close(file->dataset[t], status, err);
    return wa_hdf5_close(file->file, status, err);
}

static wa_status publish(const wa_capture_file *file, wa_error *err)
{
    char directory[WA_NAME_BYTES];
    wa_passage passage = {.directory = directory, .run = file->owner->mark->run};
    const wa_gate gate = wa_lock_gate(&passage);
    WA_TRY(wa_parts_directory(file->owner->result_path, directory, err));
    return wa_file_publish(file->temporary, file->path, &gate, err);
}

wa_status wa_capture_finish(wa_capture_file *file, wa_error *err)
{
    wa_status status = close_file(file, err);
    if (status == WA_OK)
        status = wa_seal_append(file->temporary, err);
    if (status != WA_OK) {
        unlink(file->temporary);
        return wa_note(err, "in file '%s'", file->path);
    }
    return publish(file, err);
}

void wa_capture_abandon(wa_capture_file *file)
{
    if (close_file(file, NULL) != WA_OK)
        file->file = -1; /* it goes anyway */
    unlink(file->temporary);
}

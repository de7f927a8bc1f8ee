/* Ids, errors, opening and closing of HDF5 files. */
#include "store/file.h"
#include "store/guard.h"

#include "base/bytes.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <unistd.h>

static_assert(sizeof(hid_t) == sizeof(wa_hid), "wa_hid stands for hid_t");

wa_hid wa_ids_keep(wa_ids *ids, wa_hid id)
{
    assert(ids->count < WA_IDS);
    wa_guard_enter();
    if (id >= 0)
        ids->id[ids->count++] = id;
    return id;
}

wa_status wa_ids_release(wa_ids *ids, wa_status status, wa_error *err)
{
    while (ids->count > 0) {
        bool failed = H5Idec_ref(ids->id[--ids->count]) < 0;
        if (failed && status == WA_OK)
            status = wa_hdf5_failed(err, WA_E_IO, "cannot finish writing", NULL);
    }
    wa_guard_leave();
    return status;
}

void wa_hdf5_quiet(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

/* Walking upward begins with the innermost: where the failure was found. */
static herr_t take_first(unsigned n, const H5E_error2_t *record, void *out)
{
    if (n == 0 && record->desc != NULL)
        snprintf(out, WA_ERROR_TEXT / 2, "%s", record->desc);
    return 0;
}

wa_status wa_hdf5_complain(wa_error *err, wa_status status, const char *what, const char *name)
{
    char reason[WA_ERROR_TEXT / 2] = "no reason given";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, reason);
    H5Eclear2(H5E_DEFAULT);
    if (name == NULL)
        return wa_fail(err, status, "%s: HDF5 says: %s", what, reason);
    return wa_fail(err, status, "%s '%s': HDF5 says: %s", what, name, reason);
}

/* HDF5's own words for a missing file are three lines long, and it waits for a FIFO's writer: ask
 * the system first. */
static wa_status check_readable(const char *path, wa_error *err)
{
    int fd;
    WA_TRY(wa_regular_open(path, &fd, err));
    close(fd);
    return WA_OK;
}

/* A failure known before is told with what the driver saw, which may be its cause. */
static wa_status add_failure(wa_status status, wa_error *err)
{
    wa_error lost = {.status = WA_OK};
    wa_status seen = wa_hdf5_take_failure(&lost);
    if (seen == WA_OK)
        return status;
    if (status != WA_OK)
        return wa_note(err, "%s", lost.text);
    if (err != NULL)
        *err = lost;
    return seen;
}

wa_status wa_hdf5_open(const char *path, bool writable, wa_hid *out, wa_error *err)
{
    WA_TRY(check_readable(path, err));
    wa_guard_file(path);
    wa_ids ids = {.count = 0};
    wa_hid access = wa_ids_keep(&ids, wa_hdf5_access());
    hid_t file = access < 0 ? -1 : H5Fopen(path, writable ? H5F_ACC_RDWR : H5F_ACC_RDONLY, access);
    wa_status status = WA_OK;
    if (file < 0)
        status = add_failure(wa_hdf5_failed(err, WA_E_FORMAT, "not a whole HDF5 file", path), err);
    status = wa_ids_close(&ids, status, err);
    if (status == WA_OK)
        *out = file;
    return status;
}

wa_status wa_hdf5_create(const char *path, wa_hid *out, wa_error *err)
{
    wa_ids ids = {.count = 0};
    wa_hid access = wa_ids_keep(&ids, wa_hdf5_access());
    hid_t creation = wa_ids_keep(&ids, H5Pcreate(H5P_FILE_CREATE));
    unsigned order =
        H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED; /* listed in the table's order */
    hid_t file = -1;
    if (access >= 0 && creation >= 0 && H5Pset_link_creation_order(creation, order) >= 0 &&
        H5Pset_attr_creation_order(creation, order) >= 0 &&
        H5Pset_obj_track_times(creation, false) >= 0)
        file = H5Fcreate(path, H5F_ACC_TRUNC, creation, access);
    wa_status status = file < 0 ? wa_hdf5_take_failure(err) : WA_OK;
    if (file < 0 && status == WA_OK)
        status = wa_hdf5_failed(err, WA_E_IO, "cannot create file", path);
    status = wa_ids_close(&ids, status, err);
    if (status == WA_OK)
        *out = file;
    return status;
}

wa_status wa_hdf5_close(wa_hid file, wa_status status, wa_error *err)
{
    if (file < 0)
        return status;
    wa_guard_enter();
    bool failed = !wa_hdf5_give_up(file) && H5Fclose(file) < 0;
    wa_guard_leave();
    status = add_failure(status, err);
    if (status == WA_OK && failed)
        return wa_hdf5_failed(err, WA_E_IO, "cannot finish writing", NULL);
    return status;
}

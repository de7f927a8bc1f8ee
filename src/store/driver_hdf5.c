/*
 * How HDF5 reaches our files: a file driver whose writes always succeed for HDF5, and which
 * remembers the first call that did not, reads too.
 *
 * HDF5 1.10 cannot be told that a write failed: it drops the answer where small datasets are
 * closed, keeps what it could not write in its cache, and crashes on it when it shuts down within
 * MPI_Finalize. Here it never hears of it; whoever closes the file asks, and what was written goes
 * no further than its temporary name.
 *
 * A failed read it must hear of, but it does not recover: what it takes to be absent may only be
 * unread, and closing the file fails half-way and leaves an id that leads to freed memory. So a
 * file of which a read failed is given up, not closed, and HDF5 is never asked to shut down: the
 * process ends without it.
 */
#include "store/file.h"
#include "store/store.h"

#include "base/durable.h"
#include "base/opened.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One open file. HDF5 keeps its own things in `base`, which comes first. */
typedef struct driver_file {
    H5FD_t base;
    int fd;
    dev_t device;
    ino_t inode;
    haddr_t eoa, eof; /* end of what HDF5 has given out, and of what the file holds */
    bool unreadable;  /* a read failed */
    char failure[WA_ERROR_TEXT / 2]; /* the first call that failed; "" = none */
} driver_file;

/* Of the file closed last, or not opened since; a rank is one thread. */
static char failure[WA_ERROR_TEXT / 2];

static void remember(driver_file *file, const char *what, haddr_t at, int cause)
{
    if (file->failure[0] == '\0')
        snprintf(file->failure, sizeof file->failure, "cannot %s at byte %llu: %s", what,
                 (unsigned long long)at, strerror(cause));
}

wa_status wa_hdf5_take_failure(wa_error *err)
{
    char text[sizeof failure];
    memcpy(text, failure, sizeof text);
    failure[0] = '\0';
    return text[0] == '\0' ? WA_OK : wa_fail(err, WA_E_IO, "%s", text);
}

/* Whatever is written is a temporary of ours, made here and nowhere else: no other file is emptied,
 * and none is reached through a link. */
static int open_file(const char *name, unsigned flags)
{
    int fd = -1;
    wa_error refused = {.status = WA_OK};
    if ((flags & H5F_ACC_CREAT) != 0) {
        if (wa_temporary_create(name, &fd, &refused) != WA_OK)
            snprintf(failure, sizeof failure, "%.*s", (int)sizeof failure - 1, refused.text);
        return fd;
    }
    int mode = (flags & H5F_ACC_RDWR) != 0 ? O_RDWR | O_NOFOLLOW : O_RDONLY;
    fd = open(name, mode | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        snprintf(failure, sizeof failure, "%s", strerror(errno));
    return fd;
}

static H5FD_t *driver_open(const char *name, unsigned flags, hid_t access, haddr_t limit)
{
    (void)access;
    (void)limit;
    struct stat info;
    driver_file *file = calloc(1, sizeof *file);
    if (file == NULL)
        return NULL;
    file->fd = open_file(name, flags);
    if (file->fd < 0 || fstat(file->fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        if (file->fd >= 0)
            close(file->fd);
        free(file);
        return NULL;
    }
    failure[0] = '\0'; /* HDF5 looks for a file before it creates one */
    file->device = info.st_dev;
    file->inode = info.st_ino;
    file->eof = (haddr_t)info.st_size;
    return &file->base;
}

/* The file is done with: what failed is now for the asking. */
static void end(driver_file *file)
{
    if (file->fd >= 0 && close(file->fd) != 0)
        remember(file, "close the file", file->eof, errno);
    file->fd = -1;
    memcpy(failure, file->failure, sizeof failure);
}

static herr_t driver_close(H5FD_t *base)
{
    driver_file *file = (driver_file *)base;
    end(file);
    free(file);
    return 0;
}

static herr_t driver_get_handle(H5FD_t *base, hid_t access, void **out)
{
    (void)access;
    *out = base;
    return 0;
}

/* NULL: not one of ours. */
static driver_file *find_file(wa_hid id)
{
    void *handle = NULL;
    return H5Fget_vfd_handle(id, H5P_DEFAULT, &handle) < 0 ? NULL : handle;
}

/* NULL: not one of ours, or every read succeeded. */
static driver_file *find_unreadable(wa_hid id)
{
    driver_file *file = find_file(id);
    return file != NULL && file->unreadable ? file : NULL;
}

wa_status wa_hdf5_keep(wa_hid id, const void *owner, const char *path, wa_error *err)
{
    const driver_file *file = find_file(id);
    if (file == NULL)
        return wa_fail(err, WA_E_INTERNAL, "'%s' was opened by another driver", path);
    return wa_opened_keep(owner, path, file->fd, err);
}

wa_status wa_hdf5_check_reads(wa_hid id, wa_error *err)
{
    const driver_file *file = find_unreadable(id);
    return file == NULL ? WA_OK : wa_fail(err, WA_E_IO, "%s", file->failure);
}

bool wa_hdf5_give_up(wa_hid id)
{
    driver_file *file = find_unreadable(id);
    if (file == NULL)
        return false;
    end(file);
    file->device = 0; /* HDF5 still lists it: no file opened later may be taken for it */
    file->inode = 0;
    return true;
}

static int driver_compare(const H5FD_t *a, const H5FD_t *b)
{
    const driver_file *one = (const driver_file *)a, *two = (const driver_file *)b;
    if (one->device != two->device)
        return one->device < two->device ? -1 : 1;
    if (one->inode != two->inode)
        return one->inode < two->inode ? -1 : 1;
    return 0;
}

static herr_t driver_query(const H5FD_t *base, unsigned long *flags)
{
    (void)base;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
             H5FD_FEAT_AGGREGATE_SMALLDATA;
    return 0;
}

static haddr_t driver_get_eoa(const H5FD_t *base, H5FD_mem_t type)
{
    (void)type;
    return ((const driver_file *)base)->eoa;
}

static herr_t driver_set_eoa(H5FD_t *base, H5FD_mem_t type, haddr_t at)
{
    (void)type;
    ((driver_file *)base)->eoa = at;
    return 0;
}

static haddr_t driver_get_eof(const H5FD_t *base, H5FD_mem_t type)
{
    (void)type;
    return ((const driver_file *)base)->eof;
}

/* What lies behind the end of the file reads as zeros, as HDF5's own driver has it. After a failed
 * read there is no other. */
static herr_t driver_read(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t size,
                          void *out)
{
    (void)type;
    (void)transfer;
    driver_file *file = (driver_file *)base;
    size_t done = 0;
    if (file->unreadable || at > INT64_MAX || size > (size_t)INT64_MAX - (size_t)at)
        return -1;
    while (done < size) {
        ssize_t got = pread(file->fd, (char *)out + done, size - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            remember(file, "read", at + done, errno);
            file->unreadable = true;
            return -1;
        }
        if (got == 0)
            break;
        done += (size_t)got;
    }
    memset((char *)out + done, 0, size - done);
    return 0;
}

static herr_t driver_write(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t size,
                           const void *from)
{
    (void)type;
    (void)transfer;
    driver_file *file = (driver_file *)base;
    for (size_t done = 0; done < size;) {
        ssize_t wrote =
            pwrite(file->fd, (const char *)from + done, size - done, (off_t)(at + done));
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0) {
            remember(file, "write", at + done, wrote < 0 ? errno : ENOSPC);
            break;
        }
        done += (size_t)wrote;
    }
    if (at + size > file->eof)
        file->eof = at + size;
    return 0;
}

/* Cut off, or grow to, what HDF5 has given out. */
static herr_t driver_truncate(H5FD_t *base, hid_t transfer, hbool_t closing)
{
    (void)transfer;
    (void)closing;
    driver_file *file = (driver_file *)base;
    if (file->eoa == file->eof)
        return 0;
    if (ftruncate(file->fd, (off_t)file->eoa) != 0)
        remember(file, "set the file's end", file->eoa, errno);
    file->eof = file->eoa;
    return 0;
}

static hid_t driver_id(void)
{
    enum { DRIVER_NUMBER = 600 }; /* above HDF5's registered ones; used in memory only */
    static const H5FD_class_t class = {
#if H5_VERSION_GE(1, 13, 2)
        .version = H5FD_CLASS_VERSION,
        .value = (H5FD_class_value_t)DRIVER_NUMBER,
#endif
        .name = "walkaudit",
        .maxaddr = (haddr_t)INT64_MAX,
        .fc_degree = H5F_CLOSE_STRONG,
        .open = driver_open,
        .close = driver_close,
        .cmp = driver_compare,
        .query = driver_query,
        .get_eoa = driver_get_eoa,
        .set_eoa = driver_set_eoa,
        .get_eof = driver_get_eof,
        .get_handle = driver_get_handle,
        .read = driver_read,
        .write = driver_write,
        .truncate = driver_truncate,
        .fl_map = H5FD_FLMAP_DICHOTOMY,
    };
    static hid_t id = -1;
    (void)DRIVER_NUMBER;
    if (id < 0 || H5Iis_valid(id) <= 0)
        id = H5FDregister(&class);
    return id;
}

wa_hid wa_hdf5_access(void)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access < 0 || H5Pset_driver(access, driver_id(), NULL) < 0 ||
        H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) < 0) {
        H5Pclose(access);
        return -1;
    }
    return access;
}

void wa_store_prepare(void)
{
    H5dont_atexit();
    H5open();
}

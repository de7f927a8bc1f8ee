/* Read-only maps of whole files. */
#define _GNU_SOURCE /* madvise: posix_madvise's DONTNEED does nothing in glibc */
#include "base/bytes.h"

#include "base/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *kind_of(mode_t mode)
{
    if (S_ISDIR(mode))
        return "a directory";
    if (S_ISFIFO(mode))
        return "a FIFO";
    if (S_ISSOCK(mode))
        return "a socket";
    if (S_ISCHR(mode) || S_ISBLK(mode))
        return "a device";
    return "something else";
}

/* O_NONBLOCK: open of a FIFO waits for a writer otherwise; on regular files it does nothing. */
wa_status wa_regular_open(const char *path, int *fd, wa_error *err)
{
    struct stat info;
    int opened = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (opened < 0)
        return wa_fail(err, WA_E_IO, "cannot open '%s': %s", path, strerror(errno));
    wa_status status = WA_OK;
    if (fstat(opened, &info) != 0)
        status = wa_fail(err, WA_E_IO, "cannot stat '%s': %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = wa_fail(err, WA_E_IO, "'%s' is %s, expected a regular file", path, kind_of(info.st_mode));
    if (status == WA_OK)
        *fd = opened;
    else
        close(opened);
    return status;
}

static wa_status map_descriptor(int fd, wa_map *out, wa_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return wa_fail(err, WA_E_IO, "cannot stat: %s", strerror(errno));
    wa_map map = {.bytes = {.data = NULL, .size = (size_t)info.st_size}};
    if (map.bytes.size > 0) {
        void *at = mmap(NULL, map.bytes.size, PROT_READ, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED)
            return wa_fail(err, WA_E_IO, "cannot map %zu bytes: %s", map.bytes.size,
                           strerror(errno));
        map.bytes.data = at;
    }
    *out = map;
    return WA_OK;
}

wa_status wa_map_open(const char *path, wa_map *out, wa_error *err)
{
    int fd;
    WA_TRY(wa_regular_open(path, &fd, err));
    wa_status status = map_descriptor(fd, out, err);
    close(fd);
    if (status != WA_OK)
        return wa_note(err, "in file '%s'", path);
    if (out->bytes.size > 0)
        wa_signals_watch(out->bytes.data, out->bytes.size, path);
    return WA_OK;
}

void wa_map_forget(const wa_map *map)
{
    if (map->bytes.data != NULL)
        (void)madvise((void *)(uintptr_t)map->bytes.data, map->bytes.size, MADV_DONTNEED);
}

void wa_map_close(wa_map *map)
{
    if (map->bytes.data != NULL) {
        wa_signals_unwatch(map->bytes.data);
        munmap((void *)(uintptr_t)map->bytes.data, map->bytes.size);
    }
    map->bytes = (wa_bytes){.data = NULL, .size = 0};
}

bool wa_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

bool wa_dir_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

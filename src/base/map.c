/* Read-only maps of whole files. */
#define _GNU_SOURCE /* madvise: posix_madvise's DONTNEED does nothing in glibc */
#include "base/bytes.h"

#include "base/opened.h"
#include "base/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
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

static wa_status refuse_kind(const char *path, mode_t mode, wa_error *err)
{
    return wa_fail(err, WA_E_IO, "'%s' is %s, expected a regular file", path, kind_of(mode));
}

wa_status wa_regular_or_free(const char *path, wa_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0 || S_ISREG(info.st_mode))
        return WA_OK; /* whoever writes there says why it cannot */
    return refuse_kind(path, info.st_mode, err);
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
        status = refuse_kind(path, info.st_mode, err);
    if (status == WA_OK)
        *fd = opened;
    else
        close(opened);
    return status;
}

static wa_status map_whole(int fd, const char *path, wa_map *out, wa_error *err)
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
        if (wa_opened_add_map(at, path, &info, err) != WA_OK) {
            munmap(at, map.bytes.size);
            return WA_E_MEMORY;
        }
        if (!wa_signals_watch(at, map.bytes.size, path)) {
            wa_map_close(&map);
            return wa_fail(err, WA_E_MEMORY, "no memory for the list of mapped files");
        }
    }
    *out = map;
    return WA_OK;
}

wa_status wa_map_descriptor(int fd, const char *path, wa_map *out, wa_error *err)
{
    return map_whole(fd, path, out, err) == WA_OK ? WA_OK : wa_note(err, "in file '%s'", path);
}

wa_status wa_map_open(const char *path, wa_map *out, wa_error *err)
{
    int fd;
    WA_TRY(wa_regular_open(path, &fd, err));
    wa_status status = wa_map_descriptor(fd, path, out, err);
    close(fd);
    return status;
}

/* Linux reads no more at one wish than a device's read-ahead, 128 KB by default, however much was
 * asked for. */
enum { WISH = 128 << 10 };

void wa_bytes_expect(wa_bytes bytes)
{
    long size = sysconf(_SC_PAGESIZE);
    uintptr_t page = size > 0 ? (uintptr_t)size : 4096;
    uintptr_t start = (uintptr_t)bytes.data / page * page, end = (uintptr_t)bytes.data + bytes.size;
    for (uintptr_t at = start; at < end && bytes.size > 0; at += WISH)
        (void)madvise((void *)at, end - at < WISH ? end - at : WISH, MADV_WILLNEED);
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
        wa_opened_remove_map(map->bytes.data);
        munmap((void *)(uintptr_t)map->bytes.data, map->bytes.size);
    }
    map->bytes = (wa_bytes){.data = NULL, .size = 0};
}

bool wa_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

const char *wa_last_name(const char *path, size_t *length)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    *length = end - start;
    return path + start;
}

bool wa_dir_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool wa_file_is_at(const char *path, int fd)
{
    struct stat here, there;
    return fstat(fd, &here) == 0 && stat(path, &there) == 0 && here.st_dev == there.st_dev &&
           here.st_ino == there.st_ino;
}

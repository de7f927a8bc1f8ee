/* Read-only maps of whole files. */
#define _GNU_SOURCE /* madvise: posix_madvise's DONTNEED does nothing in glibc */
#include "base/bytes.h"

#include "base/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is mapped, to be held against what stands at its path later on. A rank is one thread. */
typedef struct mapped {
    const void *data;
    char *path; /* malloc */
    struct stat info;
    bool touched; /* its status was another when it was checked */
} mapped;
static mapped *maps;
static size_t map_count, map_room;

static wa_status remember(const void *data, const char *path, const struct stat *info,
                          wa_error *err)
{
    if (map_count == map_room) {
        size_t room = map_room == 0 ? 64 : 2 * map_room;
        mapped *more = realloc(maps, room * sizeof *more);
        if (more == NULL)
            return wa_fail(err, WA_E_MEMORY, "no memory for the list of mapped files");
        maps = more;
        map_room = room;
    }
    char *copy = strdup(path);
    if (copy == NULL)
        return wa_fail(err, WA_E_MEMORY, "no memory for the list of mapped files");
    maps[map_count++] = (mapped){.data = data, .path = copy, .info = *info};
    return WA_OK;
}

static void forget(const void *data)
{
    for (size_t i = 0; i < map_count; i++)
        if (maps[i].data == data) {
            free(maps[i].path);
            maps[i] = maps[--map_count];
            return;
        }
}

static wa_status check_map(mapped *map, wa_error *err)
{
    struct stat now;
    const struct stat *then = &map->info;
    if (stat(map->path, &now) != 0)
        return wa_fail(err, WA_E_MISMATCH, "an input of this run is gone: %s; in file '%s'",
                       strerror(errno), map->path);
    if (now.st_dev != then->st_dev || now.st_ino != then->st_ino)
        return wa_fail(err, WA_E_MISMATCH,
                       "another file was put in the place of an input while this run read it; in "
                       "file '%s'; start again "
                       "with --fresh",
                       map->path);
    if (now.st_size != then->st_size || now.st_mtim.tv_sec != then->st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != then->st_mtim.tv_nsec)
        return wa_fail(err, WA_E_MISMATCH,
                       "an input changed while this run read it: found %lld bytes, expected %lld "
                       "and the same time of change; in file '%s'; start again with --fresh",
                       (long long)now.st_size, (long long)then->st_size, map->path);
    map->touched =
        now.st_ctim.tv_sec != then->st_ctim.tv_sec || now.st_ctim.tv_nsec != then->st_ctim.tv_nsec;
    return WA_OK;
}

static wa_bytes bytes_of(const mapped *map)
{
    return (wa_bytes){map->data, (size_t)map->info.st_size};
}

const char *wa_maps_touched(const void *at)
{
    for (size_t i = 0; i < map_count; i++)
        if (maps[i].touched && wa_bytes_hold(bytes_of(&maps[i]), at))
            return maps[i].path;
    return NULL;
}

wa_bytes wa_maps_find(const char *path)
{
    for (size_t i = 0; i < map_count; i++)
        if (strcmp(maps[i].path, path) == 0)
            return bytes_of(&maps[i]);
    return (wa_bytes){NULL, 0};
}

wa_status wa_maps_check(wa_error *err)
{
    for (size_t i = 0; i < map_count; i++)
        WA_TRY(check_map(&maps[i], err));
    return WA_OK;
}

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

static wa_status map_descriptor(int fd, const char *path, wa_map *out, wa_error *err)
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
        if (remember(at, path, &info, err) != WA_OK) {
            munmap(at, map.bytes.size);
            return WA_E_MEMORY;
        }
        wa_signals_watch(at, map.bytes.size, path);
    }
    *out = map;
    return WA_OK;
}

wa_status wa_map_open(const char *path, wa_map *out, wa_error *err)
{
    int fd;
    WA_TRY(wa_regular_open(path, &fd, err));
    wa_status status = map_descriptor(fd, path, out, err);
    close(fd);
    return status == WA_OK ? WA_OK : wa_note(err, "in file '%s'", path);
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
        forget(map->bytes.data);
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

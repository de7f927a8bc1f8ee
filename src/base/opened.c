/* The list of opened files. */
#include "base/opened.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Larger files are digested by samples: those that are read and loaded are small as a rule. */
enum { KEPT_WHOLE = 64 << 20, MAPPED_WHOLE = 1 << 20 };

typedef struct opened {
    const void *data;  /* where it is mapped; NULL = it is kept for an owner */
    const void *owner; /* of a kept one */
    char *path;        /* malloc */
    struct stat info;
    bool touched;           /* its status was another when it was checked */
    wa_short_digest digest; /* of a kept one */
} opened;
static opened *list;
static size_t list_count, list_room;

static wa_status add(const opened *one, const char *path, wa_error *err)
{
    if (list_count == list_room) {
        size_t room = list_room == 0 ? 64 : 2 * list_room;
        opened *more = realloc(list, room * sizeof *more);
        if (more == NULL)
            return wa_fail(err, WA_E_MEMORY, "no memory for the list of opened files");
        list = more;
        list_room = room;
    }
    char *copy = strdup(path);
    if (copy == NULL)
        return wa_fail(err, WA_E_MEMORY, "no memory for the list of opened files");
    list[list_count] = *one;
    list[list_count++].path = copy;
    return WA_OK;
}

static void drop(size_t i)
{
    free(list[i].path);
    list[i] = list[--list_count];
}

static const opened *find_map(const void *data)
{
    for (size_t i = 0; i < list_count; i++)
        if (list[i].data == data)
            return &list[i];
    return NULL;
}

static wa_bytes bytes_of(const opened *one)
{
    return (wa_bytes){one->data, (size_t)one->info.st_size};
}

wa_status wa_opened_add_map(const void *data, const char *path, const struct stat *info,
                            wa_error *err)
{
    return add(&(opened){.data = data, .info = *info}, path, err);
}

void wa_opened_remove_map(const void *data)
{
    const opened *map = find_map(data);
    if (map != NULL)
        drop((size_t)(map - list));
}

wa_status wa_opened_keep_map(const void *owner, const wa_map *map, wa_error *err)
{
    if (map->bytes.data == NULL)
        return WA_OK;
    const opened *mapped = find_map(map->bytes.data);
    if (mapped == NULL)
        return wa_fail(err, WA_E_INTERNAL, "a map that nobody has opened");
    opened kept = {.owner = owner, .info = mapped->info};
    if (wa_digest_samples(map->bytes, KEPT_WHOLE, &kept.digest, err) != WA_OK)
        return wa_note(err, "in file '%s'", mapped->path);
    return add(&kept, mapped->path, err);
}

wa_status wa_opened_keep(const void *owner, const char *path, int fd, wa_error *err)
{
    wa_map map;
    WA_TRY(wa_map_descriptor(fd, path, &map, err));
    wa_status status = wa_opened_keep_map(owner, &map, err);
    wa_map_close(&map);
    return status;
}

wa_status wa_opened_keep_path(const void *owner, const char *path, wa_error *err)
{
    int fd;
    WA_TRY(wa_regular_open(path, &fd, err));
    wa_status status = wa_opened_keep(owner, path, fd, err);
    close(fd);
    return status;
}

void wa_opened_forget(const void *owner)
{
    for (size_t i = list_count; i-- > 0;)
        if (list[i].data == NULL && list[i].owner == owner)
            drop(i);
}

static bool is_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool has_bytes_of(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool has_status_of(const struct stat *a, const struct stat *b)
{
    return a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static wa_status check_state(opened *one, wa_error *err)
{
    struct stat now;
    if (stat(one->path, &now) != 0)
        return wa_fail(err, WA_E_MISMATCH, "an input of this run is gone: %s; in file '%s'",
                       strerror(errno), one->path);
    if (!is_file(&now, &one->info))
        return wa_fail(err, WA_E_MISMATCH,
                       "another file was put in the place of an input while this run read it; in "
                       "file '%s'; start again with --fresh",
                       one->path);
    if (!has_bytes_of(&now, &one->info))
        return wa_fail(err, WA_E_MISMATCH,
                       "an input changed while this run read it: found %lld bytes, expected %lld "
                       "and the same time of change; in file '%s'; start again with --fresh",
                       (long long)now.st_size, (long long)one->info.st_size, one->path);
    one->touched = !has_status_of(&now, &one->info);
    return WA_OK;
}

static wa_status digest_path(const char *path, size_t whole, wa_short_digest *out, wa_error *err)
{
    wa_map map;
    WA_TRY(wa_map_open(path, &map, err));
    wa_status status = wa_digest_samples(map.bytes, whole, out, err);
    wa_map_close(&map);
    return status;
}

/* Times of bytes can be set back. */
static wa_status check_digest(const opened *kept, wa_error *err)
{
    wa_short_digest now;
    const wa_short_digest then = kept->digest;
    const char *path = kept->path;
    wa_status status = digest_path(path, KEPT_WHOLE, &now, err); /* which may move the list */
    if (status == WA_OK && (now.high != then.high || now.low != then.low))
        return wa_fail(err, WA_E_MISMATCH,
                       "an input changed while this run read it, and its time was set back; in "
                       "file '%s'; start again with --fresh",
                       path);
    return status;
}

wa_status wa_opened_check(wa_error *err)
{
    for (size_t i = 0; i < list_count; i++) {
        WA_TRY(check_state(&list[i], err));
        if (list[i].touched && list[i].data == NULL)
            WA_TRY(check_digest(&list[i], err));
    }
    return WA_OK;
}

bool wa_opened_is_untouched(const void *owner)
{
    for (size_t i = 0; i < list_count; i++) {
        struct stat now;
        const struct stat *then = &list[i].info;
        if (list[i].data == NULL && list[i].owner == owner &&
            (stat(list[i].path, &now) != 0 || !is_file(&now, then) || !has_bytes_of(&now, then) ||
             !has_status_of(&now, then)))
            return false;
    }
    return true;
}

const char *wa_opened_touched(const void *at)
{
    for (size_t i = 0; i < list_count; i++)
        if (list[i].touched && list[i].data != NULL && wa_bytes_hold(bytes_of(&list[i]), at))
            return list[i].path;
    return NULL;
}

wa_status wa_opened_digest(const char *path, wa_short_digest *out, wa_error *err)
{
    for (size_t i = 0; i < list_count; i++) {
        if (strcmp(list[i].path, path) != 0)
            continue;
        if (list[i].data != NULL)
            return wa_digest_samples(bytes_of(&list[i]), MAPPED_WHOLE, out, err);
        *out = list[i].digest;
        return WA_OK;
    }
    return digest_path(path, MAPPED_WHOLE, out, err);
}

wa_bytes wa_opened_find(const char *path)
{
    for (size_t i = 0; i < list_count; i++)
        if (list[i].data != NULL && strcmp(list[i].path, path) == 0)
            return bytes_of(&list[i]);
    return (wa_bytes){NULL, 0};
}

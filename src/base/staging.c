/* Temporary sibling directories: made, filled, synced, renamed, or removed without a trace. */
#include "base/staging.h"

#include "base/durable.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEMP_TRIES = 100 };

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static void remove_entry(int dir, const char *name);

static void remove_content(int dir)
{
    DIR *list = fdopendir(dir); /* owns dir from here on */
    if (list == NULL) {
        close(dir);
        return;
    }
    for (struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list))
        if (!is_dot(entry->d_name))
            remove_entry(dirfd(list), entry->d_name);
    closedir(list);
}

/* Links are removed, not followed: O_NOFOLLOW refuses them and unlinkat takes them for files. */
static void remove_entry(int dir, const char *name)
{
    int inner = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner >= 0) {
        remove_content(inner);
        (void)unlinkat(dir, name, AT_REMOVEDIR);
        return;
    }
    (void)unlinkat(dir, name, 0);
}

static bool is_empty_directory(const char *path)
{
    DIR *list = opendir(path);
    if (list == NULL)
        return false;
    bool empty = true;
    for (struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list))
        empty = empty && is_dot(entry->d_name);
    closedir(list);
    return empty;
}

static wa_status check_existing(wa_staging *staging, bool force, wa_error *err)
{
    const char *path = staging->final_path;
    struct stat info;
    if (lstat(path, &info) != 0) {
        if (errno == ENOENT)
            return WA_OK;
        return wa_fail(err, WA_E_IO, "cannot stat '%s': %s", path, strerror(errno));
    }
    if (!force)
        return wa_fail(err, WA_E_USAGE, "'%s' exists; --force replaces a vindex", path);
    char *index;
    WA_TRY(wa_arena_print(staging->arena, &index, err, "%s/index.json", path));
    if (!wa_file_exists(index) && !is_empty_directory(path))
        return wa_fail(err, WA_E_USAGE, "'%s' exists and is no vindex: not replaced", path);
    staging->replace = true;
    return WA_OK;
}

/* "a/b/" has the parent "a"; what has no name of its own cannot be made. */
static wa_status split_path(wa_staging *staging, const char *path, wa_error *err)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    WA_TRY(wa_arena_copy(staging->arena, path, length, &staging->final_path, err));
    const char *slash = strrchr(staging->final_path, '/');
    const char *name = slash == NULL ? staging->final_path : slash + 1;
    if (!wa_name_is_plain(name))
        return wa_fail(err, WA_E_USAGE, "'%s' does not name a directory to be made", path);
    if (slash == NULL)
        return wa_arena_copy(staging->arena, ".", 1, &staging->parent, err);
    size_t parent = slash == staging->final_path ? 1 : (size_t)(slash - staging->final_path);
    return wa_arena_copy(staging->arena, staging->final_path, parent, &staging->parent, err);
}

static wa_status make_temporary(wa_staging *staging, wa_error *err)
{
    for (int i = 0; i < TEMP_TRIES; i++) {
        WA_TRY(wa_arena_print(staging->arena, &staging->temp_path, err, "%s.tmp-%ld-%d",
                              staging->final_path, (long)getpid(), i));
        if (mkdir(staging->temp_path, 0777) == 0)
            return WA_OK;
        if (errno != EEXIST)
            break;
    }
    return wa_fail(err, WA_E_IO, "cannot make directory '%s': %s", staging->temp_path,
                   strerror(errno));
}

wa_status wa_staging_open(const char *path, bool force, wa_arena *arena, wa_staging *out,
                          wa_error *err)
{
    wa_staging staging = {.arena = arena};
    WA_TRY(split_path(&staging, path, err));
    if (!wa_dir_exists(staging.parent))
        return wa_fail(err, WA_E_IO,
                       "'%s', where '%s' is to be made, is not a directory: make it first",
                       staging.parent, staging.final_path);
    WA_TRY(check_existing(&staging, force, err));
    WA_TRY(make_temporary(&staging, err));
    *out = staging;
    return WA_OK;
}

/* Is it "NAME.tmp-PID-N" or "NAME.old-PID" of a process that is not running here? */
static bool is_left(const char *entry, const char *name, wa_leftover *kind)
{
    static const char *const marks[] = {[WA_LEFT_NEW] = ".tmp-", [WA_LEFT_OLD] = ".old-"};
    size_t length = strlen(name);
    if (strncmp(entry, name, length) != 0)
        return false;
    for (int k = WA_LEFT_NEW; k <= WA_LEFT_OLD; k++) {
        size_t mark = strlen(marks[k]);
        long process = strncmp(entry + length, marks[k], mark) == 0
                           ? strtol(entry + length + mark, NULL, 10)
                           : 0;
        *kind = (wa_leftover)k;
        if (process > 0 && kill((pid_t)process, 0) != 0 && errno == ESRCH)
            return true;
    }
    return false;
}

wa_status wa_staging_leftover(const char *path, wa_arena *arena, char **out, wa_leftover *kind,
                              wa_error *err)
{
    wa_staging place = {.arena = arena};
    *out = NULL;
    WA_TRY(split_path(&place, path, err));
    const char *slash = strrchr(place.final_path, '/');
    DIR *list = opendir(place.parent);
    if (list == NULL)
        return WA_OK; /* making the directory will tell */
    wa_status status = WA_OK;
    for (struct dirent *entry = readdir(list); entry != NULL && *out == NULL && status == WA_OK;
         entry = readdir(list))
        if (is_left(entry->d_name, slash == NULL ? place.final_path : slash + 1, kind))
            status = wa_arena_print(arena, out, err, "%s/%s", place.parent, entry->d_name);
    closedir(list);
    return status;
}

void wa_staging_abandon(const wa_staging *staging)
{
    remove_entry(AT_FDCWD, staging->temp_path);
}

static wa_status move(const char *from, const char *to, wa_error *err)
{
    if (rename(from, to) != 0)
        return wa_fail(err, WA_E_IO, "cannot rename '%s' to '%s': %s", from, to, strerror(errno));
    return WA_OK;
}

/* The old directory steps aside first and comes back when the new one cannot take its place. */
static wa_status replace_old(const wa_staging *staging, wa_error *err)
{
    char *old;
    WA_TRY(wa_arena_print(staging->arena, &old, err, "%s.old-%ld", staging->final_path,
                          (long)getpid()));
    WA_TRY(move(staging->final_path, old, err));
    if (move(staging->temp_path, staging->final_path, err) != WA_OK) {
        if (rename(old, staging->final_path) != 0)
            return wa_note(err, "the old vindex is now '%s'", old);
        return err == NULL ? WA_E_IO : err->status;
    }
    wa_status status = wa_directory_sync(staging->final_path, err);
    remove_entry(AT_FDCWD, old);
    return status;
}

wa_status wa_staging_folder(wa_staging *staging, const char *name, wa_error *err)
{
    char *path;
    WA_TRY(wa_arena_print(staging->arena, &path, err, "%s/%s", staging->temp_path, name));
    if (mkdir(path, 0777) != 0)
        return wa_fail(err, WA_E_IO, "cannot make directory '%s': %s", path, strerror(errno));
    staging->folder = name;
    return WA_OK;
}

wa_status wa_staging_commit(wa_staging *staging, wa_error *err)
{
    char *inside;
    if (staging->folder != NULL) {
        WA_TRY(wa_arena_print(staging->arena, &inside, err, "%s/%s/.", staging->temp_path,
                              staging->folder));
        WA_TRY(wa_directory_sync(inside, err));
    }
    WA_TRY(wa_arena_print(staging->arena, &inside, err, "%s/index.json", staging->temp_path));
    WA_TRY(wa_directory_sync(inside, err));
    if (staging->replace)
        return replace_old(staging, err);
    WA_TRY(move(staging->temp_path, staging->final_path, err));
    return wa_directory_sync(staging->final_path, err);
}

wa_status wa_outfile_open(const wa_staging *staging, const char *name, wa_outfile *out,
                          wa_error *err)
{
    char *path;
    wa_outfile file = {.name = name};
    WA_TRY(wa_arena_print(staging->arena, &path, err, "%s/%s", staging->temp_path, name));
    WA_TRY(wa_digest_open(&file.digest, err));
    wa_status status = wa_temporary_create(path, &file.fd, err);
    if (status != WA_OK)
        wa_digest_close(&file.digest);
    else
        *out = file;
    return status;
}

wa_status wa_outfile_append(wa_outfile *file, wa_bytes bytes, wa_error *err)
{
    size_t done;
    if (wa_write_all(file->fd, bytes.data, bytes.size, &done, err) != WA_OK)
        return wa_note(err, "in file '%s' at byte %llu", file->name,
                       (unsigned long long)(file->bytes + done));
    file->bytes += bytes.size;
    return wa_digest_add(&file->digest, bytes, err);
}

wa_status wa_outfile_skip(wa_outfile *file, uint64_t bytes, wa_error *err)
{
    if (bytes > (uint64_t)INT64_MAX - file->bytes ||
        ftruncate(file->fd, (off_t)(file->bytes + bytes)) != 0 ||
        lseek(file->fd, (off_t)bytes, SEEK_CUR) < 0)
        return wa_fail(err, WA_E_IO, "cannot make file '%s' %llu bytes longer: %s", file->name,
                       (unsigned long long)bytes, strerror(errno));
    file->bytes += bytes;
    return WA_OK;
}

wa_status wa_outfile_finish(wa_outfile *file, wa_error *err)
{
    wa_status status = wa_digest_finish(&file->digest, file->hex, err);
    if (status == WA_OK && fsync(file->fd) != 0)
        status = wa_fail(err, WA_E_IO, "cannot sync '%s': %s", file->name, strerror(errno));
    if (close(file->fd) != 0 && status == WA_OK)
        status = wa_fail(err, WA_E_IO, "cannot close '%s': %s", file->name, strerror(errno));
    file->fd = -1;
    wa_digest_close(&file->digest);
    return status;
}

void wa_outfile_abandon(wa_outfile *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
    wa_digest_close(&file->digest);
}

wa_status wa_staging_write(const wa_staging *staging, const char *name, wa_bytes bytes,
                           wa_error *err)
{
    wa_outfile file;
    WA_TRY(wa_outfile_open(staging, name, &file, err));
    wa_status status = wa_outfile_append(&file, bytes, err);
    if (status == WA_OK)
        return wa_outfile_finish(&file, err);
    wa_outfile_abandon(&file);
    return status;
}

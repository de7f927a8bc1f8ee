/* The parts directory: names, cleaning up, space. */
#include "store/parts.h"

#include "base/bytes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

wa_status wa_parts_directory(const char *result_path, char out[WA_NAME_BYTES], wa_error *err)
{
    return wa_path_print(out, err, "%s.parts", result_path);
}

wa_status wa_parts_make_directory(const char *directory, wa_error *err)
{
    struct stat info;
    WA_TRY(wa_directory_make(directory, err));
    if (lstat(directory, &info) != 0 || !S_ISDIR(info.st_mode))
        return wa_fail(err, WA_E_IO, "'%s' is a link, expected a directory of this run's own",
                       directory);
    return WA_OK;
}

#define PART_NAME "prompts-%06zu-%06zu.h5"

wa_status wa_part_name(const char *result_path, const wa_batch *range, char out[WA_NAME_BYTES],
                       wa_error *err)
{
    return wa_path_print(out, err, "%s.parts/" PART_NAME, result_path, range->first_prompt,
                         range->first_prompt + range->prompt_count - 1);
}

/* What follows the name of a part; NULL: it is none. */
static const char *after_part(const char *name, size_t *first, size_t *last)
{
    char again[64];
    if (sscanf(name, "prompts-%9zu-%9zu.h5", first, last) != 2 || *first > *last)
        return NULL;
    int length = snprintf(again, sizeof again, PART_NAME, *first, *last);
    return strncmp(name, again, (size_t)length) == 0 ? name + length : NULL;
}

bool wa_part_parse(const char *name, wa_batch *out)
{
    size_t first, last;
    const char *rest = after_part(name, &first, &last);
    if (rest == NULL || *rest != '\0')
        return false;
    *out = (wa_batch){.first_prompt = first, .prompt_count = last - first + 1};
    return true;
}

wa_status wa_parts_join(const char *directory, const char *name, char out[WA_NAME_BYTES],
                        wa_error *err)
{
    return wa_path_print(out, err, "%s/%s", directory, name);
}

wa_status wa_directory_visit(const char *path, wa_visit visit, void *context, wa_error *err)
{
    DIR *directory = opendir(path);
    if (directory == NULL && errno == ENOENT)
        return WA_OK;
    if (directory == NULL)
        return wa_fail(err, WA_E_IO, "cannot list directory '%s': %s", path, strerror(errno));
    wa_status status = WA_OK;
    for (struct dirent *entry = readdir(directory); status == WA_OK && entry != NULL;
         entry = readdir(directory))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = visit(context, entry->d_name, err);
    closedir(directory);
    return status;
}

/* "run-K.json" and what follows; NULL when the name is not one that we write. */
static const char *after_run(const char *name, size_t *k)
{
    char again[64];
    if (sscanf(name, "run-%9zu.json", k) != 1)
        return NULL;
    int length = snprintf(again, sizeof again, "run-%zu.json", *k);
    return strncmp(name, again, (size_t)length) == 0 ? name + length : NULL;
}

wa_status wa_parts_run_name(const char *directory, size_t k, char out[WA_NAME_BYTES], wa_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "run-%zu.json", k);
    return wa_parts_join(directory, name, out, err);
}

static wa_status count_run(void *context, const char *name, wa_error *err)
{
    (void)err;
    size_t *count = context, k;
    const char *rest = after_run(name, &k);
    if (rest != NULL && *rest == '\0' && k >= *count)
        *count = k + 1;
    return WA_OK;
}

wa_status wa_parts_count_runs(const char *directory, size_t *out, wa_error *err)
{
    *out = 0;
    return wa_directory_visit(directory, count_run, out, err);
}

wa_status wa_parts_remove_name(const char *directory, const char *name, wa_error *err)
{
    char path[WA_NAME_BYTES];
    WA_TRY(wa_parts_join(directory, name, path, err));
    if (unlink(path) != 0 && errno != ENOENT)
        return wa_fail(err, WA_E_IO, "cannot remove '%s': %s", path, strerror(errno));
    return WA_OK;
}

/* The job's description, runs and parts, and those set aside: what we write, letter for letter, and
 * nothing of anybody else's. Parts were "batch-NNNNNN.h5" before. */
static bool is_ours(const char *name)
{
    char again[64];
    size_t number, last;
    if (strcmp(name, "job.json") == 0)
        return true;
    const char *rest = after_run(name, &number);
    if (rest == NULL)
        rest = after_part(name, &number, &last);
    if (rest == NULL && sscanf(name, "batch-%9zu.h5", &number) == 1) {
        int length = snprintf(again, sizeof again, "batch-%06zu.h5", number);
        rest = strncmp(name, again, (size_t)length) == 0 ? name + length : NULL;
    }
    return rest != NULL && (*rest == '\0' || strcmp(rest, ".damaged") == 0);
}

/* What is written under the lock and by way of a temporary. */
static bool is_written_under_lock(const char *name)
{
    return is_ours(name) || strcmp(name, "result.h5") == 0;
}

/* What is written without it: another run may be at it. */
static bool is_written_without_lock(const char *name)
{
    return strcmp(name, "lock") == 0 || strcmp(name, "owed") == 0;
}

static wa_status remove_if_stale(void *directory, const char *name, wa_error *err)
{
    return wa_temporary_is_of(name, is_written_under_lock)
               ? wa_parts_remove_name(directory, name, err)
               : WA_OK;
}

static wa_status remove_if_ours(void *directory, const char *name, wa_error *err)
{
    bool ours = is_ours(name) || wa_temporary_is_of(name, is_written_under_lock) ||
                wa_temporary_is_of(name, is_written_without_lock);
    return ours ? wa_parts_remove_name(directory, name, err) : WA_OK;
}

wa_status wa_parts_remove_stale(const char *directory, wa_error *err)
{
    return wa_directory_visit(directory, remove_if_stale, (void *)(uintptr_t)directory, err);
}

/* The job's description first: without it what is left is nobody's. */
wa_status wa_parts_remove_files(const char *directory, wa_error *err)
{
    WA_TRY(wa_parts_remove_name(directory, "job.json", err));
    return wa_directory_visit(directory, remove_if_ours, (void *)(uintptr_t)directory, err);
}

wa_status wa_space_check(const char *path, size_t bytes, wa_error *err)
{
    struct statvfs info;
    if (statvfs(path, &info) != 0)
        return WA_OK; /* unknown: writing will tell */
    unsigned long long room = (unsigned long long)info.f_bavail * info.f_frsize;
    if (room < bytes)
        return wa_fail(err, WA_E_IO,
                       "not enough space in '%s': the result needs %zu bytes, %llu are free", path,
                       bytes, room);
    return WA_OK;
}

static int reserve(const char *path, size_t bytes)
{
    struct stat info;
    size_t end = 0;
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int cause = fstat(fd, &info) != 0 ? errno : 0;
    if (cause == 0 && (!wa_size_add((size_t)info.st_size, bytes, &end) || end > INT64_MAX))
        cause = EFBIG;
    if (cause == 0)
        cause = posix_fallocate(fd, 0, (off_t)end); /* returns the cause, leaves errno alone */
    close(fd);
    return cause;
}

wa_status wa_space_reserve(const char *path, size_t bytes, wa_error *err)
{
    int cause = reserve(path, bytes);
    /* A file system that knows no reservations is used as it is. */
    if (cause != 0 && cause != EOPNOTSUPP && cause != EINVAL && cause != ENOSYS)
        return wa_fail(err, WA_E_IO, "cannot reserve %zu bytes for the result: %s; in file '%s'",
                       bytes, strerror(cause), path);
    return WA_OK;
}

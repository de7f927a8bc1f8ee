/* Names and whole-file writes of the parts directory: a file has its final name only when it is
 * complete. */
#include "store/parts.h"

#include "base/bytes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static wa_status check_length(int length, const char *path, wa_error *err)
{
    if (length < 0 || length >= WA_NAME_BYTES)
        return wa_fail(err, WA_E_IO, "path is too long: '%.200s…', at most %d bytes", path,
                       WA_NAME_BYTES - 1);
    return WA_OK;
}

wa_status wa_parts_directory(const char *result_path, char out[WA_NAME_BYTES], wa_error *err)
{
    return check_length(snprintf(out, WA_NAME_BYTES, "%s.parts", result_path), result_path, err);
}

wa_status wa_part_name(const char *result_path, size_t batch, char out[WA_NAME_BYTES],
                       wa_error *err)
{
    return check_length(snprintf(out, WA_NAME_BYTES, "%s.parts/batch-%06zu.h5", result_path, batch),
                        result_path, err);
}

wa_status wa_parts_join(const char *directory, const char *name, char out[WA_NAME_BYTES],
                        wa_error *err)
{
    return check_length(snprintf(out, WA_NAME_BYTES, "%s/%s", directory, name), directory, err);
}

wa_status wa_temporary_name(const char *final_path, char out[WA_NAME_BYTES], wa_error *err)
{
    char host[WA_HOST_BYTES] = "";
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    return check_length(
        snprintf(out, WA_NAME_BYTES, "%s.%s-%ld.tmp", final_path, host, (long)getpid()), final_path,
        err);
}

wa_status wa_directory_make(const char *path, wa_error *err)
{
    char name[WA_NAME_BYTES];
    WA_TRY(check_length(snprintf(name, sizeof name, "%s", path), path, err));
    for (char *at = name + 1; name[0] != '\0'; at++) {
        char here = *at;
        if (here != '/' && here != '\0')
            continue;
        *at = '\0';
        int cause = mkdir(name, 0777) == 0 ? 0 : errno;
        if (cause != 0 && !wa_dir_exists(name))
            return wa_fail(err, WA_E_IO, "cannot make directory '%s': %s", name,
                           strerror(cause == EEXIST ? ENOTDIR : cause));
        *at = here;
        if (here == '\0')
            break;
    }
    return WA_OK;
}

wa_status wa_directory_sync(const char *path, wa_error *err)
{
    char directory[WA_NAME_BYTES];
    WA_TRY(check_length(snprintf(directory, sizeof directory, "%s", path), path, err));
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        strcpy(directory, ".");
    else
        slash[slash == directory ? 1 : 0] = '\0';
    int fd = open(directory, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return wa_fail(err, WA_E_IO, "cannot open directory '%s': %s", directory, strerror(errno));
    int failed = fsync(fd);
    int cause = errno;
    close(fd);
    /* Some file systems have no fsync of directories and say EINVAL. */
    if (failed != 0 && cause != EINVAL)
        return wa_fail(err, WA_E_IO, "cannot sync directory '%s': %s", directory, strerror(cause));
    return WA_OK;
}

static wa_status sync_file(const char *path, wa_error *err)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return wa_fail(err, WA_E_IO, "cannot open '%s': %s", path, strerror(errno));
    int failed = fsync(fd);
    int cause = errno;
    close(fd);
    if (failed != 0)
        return wa_fail(err, WA_E_IO, "cannot sync '%s': %s", path, strerror(cause));
    return WA_OK;
}

wa_status wa_file_publish(const char *temporary, const char *final_path, wa_error *err)
{
    wa_status status = sync_file(temporary, err);
    if (status == WA_OK && rename(temporary, final_path) != 0)
        status = wa_fail(err, WA_E_IO, "cannot rename '%s' to '%s': %s", temporary, final_path,
                         strerror(errno));
    if (status != WA_OK) {
        unlink(temporary);
        return status;
    }
    return wa_directory_sync(final_path, err);
}

static wa_status write_bytes(int fd, const char *bytes, size_t size, wa_error *err)
{
    for (size_t done = 0; done < size;) {
        ssize_t wrote = write(fd, bytes + done, size - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return wa_fail(err, WA_E_IO, "cannot write %zu bytes: %s", size,
                           wrote < 0 ? strerror(errno) : "nothing was taken");
        done += (size_t)wrote;
    }
    return WA_OK;
}

static wa_status write_temporary(const char *temporary, const void *bytes, size_t size,
                                 wa_error *err)
{
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return wa_fail(err, WA_E_IO, "cannot create file: %s", strerror(errno));
    wa_status status = write_bytes(fd, bytes, size, err);
    if (close(fd) != 0 && status == WA_OK)
        status = wa_fail(err, WA_E_IO, "cannot write %zu bytes: %s", size, strerror(errno));
    if (status != WA_OK)
        unlink(temporary);
    return status;
}

wa_status wa_file_write(const char *final_path, const void *bytes, size_t size, wa_error *err)
{
    char temporary[WA_NAME_BYTES];
    WA_TRY(wa_temporary_name(final_path, temporary, err));
    if (write_temporary(temporary, bytes, size, err) != WA_OK)
        return wa_note(err, "in file '%s'", final_path);
    return wa_file_publish(temporary, final_path, err);
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

static wa_status remove_name(const char *directory, const char *name, wa_error *err)
{
    char path[WA_NAME_BYTES];
    WA_TRY(wa_parts_join(directory, name, path, err));
    if (unlink(path) != 0 && errno != ENOENT)
        return wa_fail(err, WA_E_IO, "cannot remove '%s': %s", path, strerror(errno));
    return WA_OK;
}

static wa_status remove_if_stale(void *directory, const char *name, wa_error *err)
{
    static const char suffix[] = ".tmp";
    size_t length = strlen(name), tail = sizeof suffix - 1;
    if (length < tail || strcmp(name + length - tail, suffix) != 0)
        return WA_OK;
    return remove_name(directory, name, err);
}

static wa_status remove_unless_lock(void *directory, const char *name, wa_error *err)
{
    if (strcmp(name, "lock") == 0)
        return WA_OK;
    return remove_name(directory, name, err);
}

wa_status wa_parts_remove_stale(const char *directory, wa_error *err)
{
    return wa_directory_visit(directory, remove_if_stale, (void *)(uintptr_t)directory, err);
}

wa_status wa_parts_remove_files(const char *directory, wa_error *err)
{
    return wa_directory_visit(directory, remove_unless_lock, (void *)(uintptr_t)directory, err);
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
    int fd = open(path, O_RDWR | O_CLOEXEC);
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

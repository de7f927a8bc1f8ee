/* Whole-file writes: a file has its final name only when it is complete and on the disk. */
#include "base/durable.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

wa_status wa_path_print(char out[WA_NAME_BYTES], wa_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(out, WA_NAME_BYTES, format, args);
    va_end(args);
    if (length < 0 || length >= WA_NAME_BYTES)
        return wa_fail(err, WA_E_IO, "path is too long: '%.200s…', at most %d bytes", out,
                       WA_NAME_BYTES - 1);
    return WA_OK;
}

wa_status wa_temporary_name(const char *final_path, char out[WA_NAME_BYTES], wa_error *err)
{
    char host[WA_HOST_BYTES] = "";
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    return wa_path_print(out, err, "%s.%s-%ld.tmp", final_path, host, (long)getpid());
}

/* "-PID.tmp" */
static bool is_process(const char *rest)
{
    size_t digits = rest[0] == '-' ? strspn(rest + 1, "0123456789") : 0;
    return digits > 0 && strcmp(rest + 1 + digits, ".tmp") == 0;
}

bool wa_temporary_is_of(const char *name, bool (*is_final)(const char *final_name))
{
    char start[WA_NAME_BYTES];
    const char *process = strrchr(name, '-');
    size_t length = process == NULL ? 0 : (size_t)(process - name);
    if (length == 0 || length >= sizeof start || !is_process(process))
        return false;
    for (size_t dot = length; dot-- > 0;) { /* names of hosts may hold dots */
        if (name[dot] != '.')
            continue;
        memcpy(start, name, dot);
        start[dot] = '\0';
        if (is_final(start))
            return true;
    }
    return false;
}

wa_status wa_temporary_create(const char *path, int *fd, wa_error *err)
{
    enum { FLAGS = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC };
    struct stat info;
    *fd = open(path, FLAGS, 0666);
    if (*fd < 0 && errno == EEXIST && lstat(path, &info) == 0 && S_ISREG(info.st_mode) &&
        unlink(path) == 0)
        *fd = open(path, FLAGS, 0666);
    if (*fd < 0)
        return wa_fail(err, WA_E_IO, "cannot create file '%s': %s", path, strerror(errno));
    return WA_OK;
}

wa_status wa_directory_make(const char *path, wa_error *err)
{
    char name[WA_NAME_BYTES];
    WA_TRY(wa_path_print(name, err, "%s", path));
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

/* fsync of what stands at `path`, and its close; `tolerated` is no error. */
static wa_status sync_path(const char *path, int flags, int tolerated, wa_error *err)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        return wa_fail(err, WA_E_IO, "cannot open '%s': %s", path, strerror(errno));
    int cause = fsync(fd) == 0 ? 0 : errno;
    if (close(fd) != 0 && cause == 0)
        cause = errno;
    if (cause != 0 && cause != tolerated)
        return wa_fail(err, WA_E_IO, "cannot sync '%s': %s", path, strerror(cause));
    return WA_OK;
}

wa_status wa_directory_sync(const char *path, wa_error *err)
{
    char directory[WA_NAME_BYTES];
    WA_TRY(wa_path_print(directory, err, "%s", path));
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        strcpy(directory, ".");
    else
        slash[slash == directory ? 1 : 0] = '\0';
    /* Some file systems have no fsync of directories and say EINVAL. */
    return sync_path(directory, O_RDONLY, EINVAL, err);
}

wa_status wa_file_sync(const char *path, wa_error *err)
{
    return sync_path(path, O_RDWR, 0, err);
}

static wa_status rename_through(const char *temporary, const char *final_path, const wa_gate *gate,
                                wa_error *err)
{
    wa_status status = WA_OK;
    if (gate != NULL)
        WA_TRY(gate->enter(gate->context, err));
    if (rename(temporary, final_path) != 0)
        status = wa_fail(err, WA_E_IO, "cannot rename '%s' to '%s': %s", temporary, final_path,
                         strerror(errno));
    if (gate != NULL)
        gate->leave(gate->context);
    return status;
}

wa_status wa_file_publish(const char *temporary, const char *final_path, const wa_gate *gate,
                          wa_error *err)
{
    wa_status status = wa_file_sync(temporary, err);
    if (status == WA_OK)
        status = rename_through(temporary, final_path, gate, err);
    if (status != WA_OK) {
        unlink(temporary);
        return status;
    }
    return wa_directory_sync(final_path, err);
}

wa_status wa_write_all(int fd, const void *bytes, size_t size, size_t *written, wa_error *err)
{
    const char *from = bytes;
    size_t own, *done = written == NULL ? &own : written;
    for (*done = 0; *done < size;) {
        ssize_t wrote = write(fd, from + *done, size - *done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return wa_fail(err, WA_E_IO, "cannot write %zu bytes: %s", size,
                           wrote < 0 ? strerror(errno) : "nothing was taken");
        *done += (size_t)wrote;
    }
    return WA_OK;
}

wa_status wa_copy_all(int from, int to, wa_error *err)
{
    enum { PIECE = 1 << 16 };
    char piece[PIECE];
    for (;;) {
        ssize_t got = read(from, piece, sizeof piece);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return wa_fail(err, WA_E_IO, "cannot read: %s", strerror(errno));
        if (got == 0)
            return WA_OK;
        WA_TRY(wa_write_all(to, piece, (size_t)got, NULL, err));
    }
}

static wa_status write_temporary(const char *temporary, const wa_bytes *pieces, size_t count,
                                 wa_error *err)
{
    int fd;
    WA_TRY(wa_temporary_create(temporary, &fd, err));
    wa_status status = WA_OK;
    for (size_t i = 0; status == WA_OK && i < count; i++)
        status = wa_write_all(fd, pieces[i].data, pieces[i].size, NULL, err);
    if (close(fd) != 0 && status == WA_OK)
        status = wa_fail(err, WA_E_IO, "cannot close: %s", strerror(errno));
    if (status != WA_OK)
        unlink(temporary);
    return status;
}

wa_status wa_file_write_pieces(const char *final_path, const wa_bytes *pieces, size_t count,
                               const wa_gate *gate, wa_error *err)
{
    char temporary[WA_NAME_BYTES];
    WA_TRY(wa_temporary_name(final_path, temporary, err));
    if (write_temporary(temporary, pieces, count, err) != WA_OK)
        return wa_note(err, "in file '%s'", final_path);
    return wa_file_publish(temporary, final_path, gate, err);
}

wa_status wa_file_write(const char *final_path, const void *bytes, size_t size, wa_error *err)
{
    return wa_file_write_pieces(final_path, &(wa_bytes){.data = bytes, .size = size}, 1, NULL, err);
}

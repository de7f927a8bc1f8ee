/* Fingerprints: SHA-256 of bytes and of files. */
#include "store/store.h"

#include "base/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static wa_status finish_hex(wa_digest *digest, const char *prefix, wa_arena *arena, char **out,
                            wa_error *err)
{
    char hex[WA_SHA256_HEX];
    WA_TRY(wa_digest_finish(digest, hex, err));
    return wa_arena_print(arena, out, err, "%s:%s", prefix, hex);
}

/* Digest [offset, offset + length) of an open file through a buffer of one MiB. */
static wa_status add_range(wa_digest *digest, int fd, off_t offset, off_t length, uint8_t *buffer,
                           wa_error *err)
{
    for (off_t done = 0; done < length;) {
        off_t left = length - done;
        ssize_t got = pread(fd, buffer, left < MIB ? (size_t)left : MIB, offset + done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return wa_fail(err, WA_E_IO, "cannot read: %s", strerror(errno));
        if (got == 0)
            return wa_fail(err, WA_E_IO, "shrank while it was read");
        WA_TRY(wa_digest_add(digest, (wa_bytes){.data = buffer, .size = (size_t)got}, err));
        done += got;
    }
    return WA_OK;
}

static wa_status add_open_file(wa_digest *digest, int fd, bool full, uint8_t *buffer, wa_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return wa_fail(err, WA_E_IO, "cannot stat: %s", strerror(errno));
    /* Quick: an edit in the middle that keeps size and both ends is told by the time. */
    int64_t facts[] = {info.st_size, full ? 0 : info.st_mtim.tv_sec,
                       full ? 0 : info.st_mtim.tv_nsec};
    WA_TRY(wa_digest_add(digest, (wa_bytes){.data = (const uint8_t *)facts, .size = sizeof facts},
                         err));
    if (full || info.st_size <= 2 * (off_t)MIB)
        return add_range(digest, fd, 0, info.st_size, buffer, err);
    WA_TRY(add_range(digest, fd, 0, MIB, buffer, err));
    return add_range(digest, fd, info.st_size - MIB, MIB, buffer, err);
}

static wa_status add_file(wa_digest *digest, const char *path, bool full, uint8_t *buffer,
                          wa_error *err)
{
    int fd;
    WA_TRY(wa_regular_open(path, &fd, err));
    wa_status status = add_open_file(digest, fd, full, buffer, err);
    close(fd);
    if (status != WA_OK)
        return wa_note(err, "in file '%s'", path);
    return WA_OK;
}

static wa_status hash_file(wa_digest *digest, const char *path, bool full, wa_arena *arena,
                           char **out, wa_error *err)
{
    uint8_t *buffer;
    wa_mark mark = wa_arena_mark(arena);
    WA_TRY(wa_arena_take_raw(arena, MIB, 1, &buffer, err));
    wa_status status = add_file(digest, path, full, buffer, err);
    wa_arena_release(arena, mark);
    WA_TRY(status);
    return finish_hex(digest, full ? "full" : "quick", arena, out, err);
}

wa_status wa_fingerprint_file(const char *path, bool full, wa_arena *arena, char **out,
                              wa_error *err)
{
    wa_digest digest;
    WA_TRY(wa_digest_open(&digest, err));
    wa_status status = hash_file(&digest, path, full, arena, out, err);
    wa_digest_close(&digest);
    return status;
}

wa_status wa_file_state_read(const char *path, wa_file_state *out, wa_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return wa_fail(err, WA_E_IO, "cannot stat '%s': %s", path, strerror(errno));
    *out = (wa_file_state){.size = (int64_t)info.st_size,
                           .seconds = (int64_t)info.st_mtim.tv_sec,
                           .nanoseconds = (int64_t)info.st_mtim.tv_nsec,
                           .status_seconds = (int64_t)info.st_ctim.tv_sec,
                           .status_nanoseconds = (int64_t)info.st_ctim.tv_nsec};
    return WA_OK;
}

wa_status wa_fingerprint_bytes(const void *bytes, size_t size, wa_arena *arena, char **out,
                               wa_error *err)
{
    char hex[WA_SHA256_HEX];
    WA_TRY(wa_digest_bytes((wa_bytes){.data = bytes, .size = size}, hex, err));
    return wa_arena_print(arena, out, err, "sha256:%s", hex);
}

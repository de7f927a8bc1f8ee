/* Bytes of files: bounds-checked views, size arithmetic that cannot overflow, read-only maps. */
#ifndef WALKAUDIT_BASE_BYTES_H
#define WALKAUDIT_BASE_BYTES_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/** A view of bytes; borrowed from whoever owns the memory (a wa_map, an arena). */
typedef struct wa_bytes {
    const uint8_t *data;
    size_t size;
} wa_bytes;

/** out = a * b. False on overflow; *out is then unchanged. */
bool wa_size_mul(size_t a, size_t b, size_t *out);

/** out = a + b. False on overflow; *out is then unchanged. */
bool wa_size_add(size_t a, size_t b, size_t *out);

/** The smaller of two sizes. */
static inline size_t wa_size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/** Does this place lie in `bytes`? */
static inline bool wa_bytes_hold(wa_bytes bytes, const void *at)
{
    return (uintptr_t)at >= (uintptr_t)bytes.data &&
           (uintptr_t)at - (uintptr_t)bytes.data < bytes.size;
}

/** out = bytes[offset, offset + length). False when the range leaves `bytes`; *out is then
 * unchanged. */
bool wa_bytes_slice(wa_bytes bytes, uint64_t offset, uint64_t length, wa_bytes *out);

/* Little-endian loads from memory that need not be aligned. The caller has checked the bounds.
 * walkaudit refuses to be built for a big-endian host (src/base/bytes.c). */
static inline uint16_t wa_load_u16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t wa_load_u32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t wa_load_u64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline float wa_load_f32(const void *p)
{
    float v;
    memcpy(&v, p, sizeof v);
    return v;
}

/** A file mapped read-only. Close with wa_map_close; an empty file maps to size 0 and data NULL. */
typedef struct wa_map {
    wa_bytes bytes;
} wa_map;

/**
 * Open a regular file for reading. Something else (a FIFO, a device, a socket, a directory) is
 * refused without waiting for it. Errors: WA_E_IO, naming the path and what it is.
 */
WA_CHECKED wa_status wa_regular_open(const char *path, int *fd, wa_error *err);
/** Is the name free, or that of a regular file or of a link to one? Errors: WA_E_IO, naming the path
 * and what it is. */
WA_CHECKED wa_status wa_regular_or_free(const char *path, wa_error *err);

/** Map a regular file. Errors: WA_E_IO (open, stat, mmap, not a regular file), the message names
 * the path. */
WA_CHECKED wa_status wa_map_open(const char *path, wa_map *out, wa_error *err);
/** The same of an open file, which the caller closes. */
WA_CHECKED wa_status wa_map_descriptor(int fd, const char *path, wa_map *out, wa_error *err);
void wa_map_close(wa_map *map);
/**
 * Ask the system to read these bytes of mapped files, while the caller does something else. Local;
 * a wish that may be ignored, and is, where they are no file's. What is there already costs a look
 * at each page.
 */
void wa_bytes_expect(wa_bytes bytes);
/** Let go of the pages read so far: they no longer count as this process's memory, and come back
 * when touched. */
void wa_map_forget(const wa_map *map);

/**
 * Does something other than a directory (or, _dir, a directory) stand at `path`? Local; follows
 * links. What is no regular file is then refused by name when it is opened, and not passed over.
 */
bool wa_file_exists(const char *path);
bool wa_dir_exists(const char *path);

/** Does the file behind the descriptor stand at `path`? Local; follows links. */
bool wa_file_is_at(const char *path, int fd);

/** The last component of a path, less slashes at its end: a place within `path`, and its length. */
const char *wa_last_name(const char *path, size_t *length);

/** Is `name` a plain file name: not empty, no '/', not "." or ".."? Manifests may name nothing
 * else. */
bool wa_name_is_plain(const char *name);

#endif

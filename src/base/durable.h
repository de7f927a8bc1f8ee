/* Files that appear whole or not at all, and stay after a crash: temporary name, sync, rename, sync
 * of the folder. */
#ifndef WALKAUDIT_BASE_DURABLE_H
#define WALKAUDIT_BASE_DURABLE_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>

/** Room for a path of ours; longer ones are refused. */
enum { WA_NAME_BYTES = 4096, WA_HOST_BYTES = 256 };

/** Print a path. WA_E_IO when it does not fit. */
#ifdef __GNUC__
__attribute__((format(printf, 3, 4)))
#endif
WA_CHECKED wa_status
wa_path_print(char out[WA_NAME_BYTES], wa_error *err, const char *format, ...);

/** "FINAL.HOST-PID.tmp": unique to this process, removed as stale by the next owner. */
WA_CHECKED wa_status wa_temporary_name(const char *final_path, char out[WA_NAME_BYTES],
                                       wa_error *err);
/** Is the name of a file, without its directory, one that wa_temporary_name gives to a file for
 * whose name `is_final` holds? */
bool wa_temporary_is_of(const char *name, bool (*is_final)(const char *final_name));

/**
 * Create an empty temporary file to write to: never an existing one, never through a link. A
 * regular file of that name can only be left over from a dead process that had this one's number,
 * and is removed first.
 */
WA_CHECKED wa_status wa_temporary_create(const char *path, int *fd, wa_error *err);

/** Make a directory and those above it. WA_E_IO. */
WA_CHECKED wa_status wa_directory_make(const char *path, wa_error *err);
/** fsync of the directory that holds `path`. File systems that cannot (EINVAL) are taken as they
 * are. */
WA_CHECKED wa_status wa_directory_sync(const char *path, wa_error *err);
/** fsync of a file. */
WA_CHECKED wa_status wa_file_sync(const char *path, wa_error *err);
/** Asked when a temporary is whole and on the disk, right before the rename: `enter` refuses it, or
 * keeps others out until `leave`, which follows every `enter` that went well. */
typedef struct wa_gate {
    wa_status (*enter)(void *context, wa_error *err);
    void (*leave)(void *context);
    void *context;
} wa_gate;
/** fsync, rename to the final name, fsync of the directory; on failure the temporary is removed.
 * gate: NULL = nobody is asked. */
WA_CHECKED wa_status wa_file_publish(const char *temporary, const char *final_path,
                                     const wa_gate *gate, wa_error *err);
/** All of it for pieces of memory, one behind the other. No file with the final name unless it is
 * whole. */
WA_CHECKED wa_status wa_file_write_pieces(const char *final_path, const wa_bytes *pieces,
                                          size_t count, const wa_gate *gate, wa_error *err);
/** The same for one piece. */
WA_CHECKED wa_status wa_file_write(const char *final_path, const void *bytes, size_t size,
                                   wa_error *err);

/**
 * Write all of `size` bytes at the descriptor's place, however many calls it takes. WA_E_IO.
 * written (may be NULL): how many were, also when it fails
 */
WA_CHECKED wa_status wa_write_all(int fd, const void *bytes, size_t size, size_t *written,
                                  wa_error *err);

/** Write all that is left to read of one descriptor to another. WA_E_IO. */
WA_CHECKED wa_status wa_copy_all(int from, int to, wa_error *err);

#endif

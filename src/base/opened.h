/* Files that were opened, held against what stands at their paths later on: a result may tell of no
 * other bytes than it was computed from. Local: device and inode numbers mean nothing on another
 * host. A rank is one thread. */
#ifndef WALKAUDIT_BASE_OPENED_H
#define WALKAUDIT_BASE_OPENED_H

#include "base/digest.h"

struct stat;

/** Used by wa_map_open and wa_map_close: a file is mapped at `data`, and no longer. The name is
 * copied. Errors: WA_E_MEMORY. */
WA_CHECKED wa_status wa_opened_add_map(const void *data, const char *path, const struct stat *info,
                                       wa_error *err);
void wa_opened_remove_map(const void *data);

/**
 * Keep what a file is that is about to be read or loaded, and is not mapped while the run goes on:
 * its state, and a digest of its bytes, of samples of a large one. Until wa_opened_forget for the
 * same `owner`, which is only a name.
 *
 * keep       an open descriptor, whose path is copied. Errors: WA_E_IO, WA_E_MEMORY.
 * keep_path  the same of what stands at a path; besides, WA_E_IO where that is no regular file
 * keep_map   a map that is closed when its text is parsed; an empty one is passed over
 */
WA_CHECKED wa_status wa_opened_keep(const void *owner, const char *path, int fd, wa_error *err);
WA_CHECKED wa_status wa_opened_keep_path(const void *owner, const char *path, wa_error *err);
WA_CHECKED wa_status wa_opened_keep_map(const void *owner, const wa_map *map, wa_error *err);
void wa_opened_forget(const void *owner);

/**
 * Does each path still name the file that was opened: device, inode, size and time of change of
 * content? Where the status of a kept file alone changed, its digest decides; of mapped files,
 * wa_opened_touched tells. WA_E_MISMATCH, naming the first that does not.
 */
WA_CHECKED wa_status wa_opened_check(wa_error *err);
/** Is nothing of what this owner keeps moved, written or so much as touched? */
bool wa_opened_is_untouched(const void *owner);
/**
 * Had the status of the file that is mapped at `at` changed when wa_opened_check looked: its path;
 * NULL = no. Somebody wrote to it, and set its time back; or only gave it another owner,
 * other rights, or another name. Nobody can set the status back.
 */
const char *wa_opened_touched(const void *at);

/** A digest of samples of the file that was opened by this path (wa_digest_samples), as it was when
 * it was kept, or is where it is mapped; of one that was not opened, as it stands there. Errors:
 * WA_E_IO. */
WA_CHECKED wa_status wa_opened_digest(const char *path, wa_short_digest *out, wa_error *err);
/** The bytes of the file that is mapped by this path; none where it is not. */
wa_bytes wa_opened_find(const char *path);

#endif

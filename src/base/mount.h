/* What kind of file system a path lies on, as far as a run has to know. */
#ifndef WALKAUDIT_BASE_MOUNT_H
#define WALKAUDIT_BASE_MOUNT_H

/**
 * "NFS" or "Lustre" when the directory that holds `path` lies on one, which may refuse locks. NULL
 * for every other file system, for a directory that is not there, and on systems other than Linux.
 * `path` itself need not be there. Local.
 */
const char *wa_mount_without_locks(const char *path);

#endif

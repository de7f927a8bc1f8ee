/* A directory written beside its final place and renamed at the end, so that it is there whole or
 * not at all. */
#ifndef WALKAUDIT_BASE_STAGING_H
#define WALKAUDIT_BASE_STAGING_H

#include "base/arena.h"
#include "base/digest.h"

typedef struct wa_staging {
    char *final_path, *temp_path, *parent; /* arena */
    wa_arena *arena;
    bool replace;       /* an old vindex stands at final_path and may go */
    const char *folder; /* inside it, borrowed; NULL = none */
} wa_staging;

/**
 * Make the temporary sibling of `path`. An existing `path` is an error (WA_E_USAGE) unless `force`
 * and it is an empty directory or a vindex: nothing else is ever removed.
 */
WA_CHECKED wa_status wa_staging_open(const char *path, bool force, wa_arena *arena, wa_staging *out,
                                     wa_error *err);
/**
 * What a killed run left beside `path`: a temporary of it (WA_LEFT_NEW) or the old directory that
 * was being replaced (WA_LEFT_OLD), of a process that is not running here. *out NULL: nothing.
 * Arena.
 */
typedef enum wa_leftover { WA_LEFT_NEW, WA_LEFT_OLD } wa_leftover;
WA_CHECKED wa_status wa_staging_leftover(const char *path, wa_arena *arena, char **out,
                                         wa_leftover *kind, wa_error *err);
/** fsync, rename to the final path, fsync of the parent; then an old directory is removed. */
WA_CHECKED wa_status wa_staging_commit(wa_staging *staging, wa_error *err);
/** Remove the temporary directory with all it holds. */
void wa_staging_abandon(const wa_staging *staging);

/** Make the folder `name`, borrowed, in the staging directory, for files "name/…". One at most.
 * Errors: WA_E_IO. */
WA_CHECKED wa_status wa_staging_folder(wa_staging *staging, const char *name, wa_error *err);

/** A file being written in a staging directory. */
typedef struct wa_outfile {
    int fd;
    const char *name; /* borrowed */
    uint64_t bytes;
    wa_digest digest;        /* owned */
    char hex[WA_SHA256_HEX]; /* after finish */
} wa_outfile;

WA_CHECKED wa_status wa_outfile_open(const wa_staging *staging, const char *name, wa_outfile *out,
                                     wa_error *err);
WA_CHECKED wa_status wa_outfile_append(wa_outfile *file, wa_bytes bytes, wa_error *err);
/** Leave a hole, which reads as zeros and takes no room; the digest leaves it out. Errors:
 * WA_E_IO. */
WA_CHECKED wa_status wa_outfile_skip(wa_outfile *file, uint64_t bytes, wa_error *err);
/** fsync and close; `hex` is set. The file is closed on failure, too. */
WA_CHECKED wa_status wa_outfile_finish(wa_outfile *file, wa_error *err);
/** A whole file at once. */
WA_CHECKED wa_status wa_staging_write(const wa_staging *staging, const char *name, wa_bytes bytes,
                                      wa_error *err);
/** Close without more ado; allowed after finish. */
void wa_outfile_abandon(wa_outfile *file);

#endif

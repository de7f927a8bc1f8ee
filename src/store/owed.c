/* RESULT.h5.parts/owed: this result is to be computed anew, whatever is done. Of many audits that a
 * run with --fresh is to compute the first may take hours, and it may end, or be killed, before it
 * comes to the next: the old result would then be taken for the new one. And parts may be of two
 * contents of a file that changed meanwhile. */
#include "store/parts.h"
#include "store/store.h"

#include "base/digest.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static wa_status name_of(const char *result_path, char directory[WA_NAME_BYTES],
                         char out[WA_NAME_BYTES], wa_error *err)
{
    WA_TRY(wa_parts_directory(result_path, directory, err));
    return wa_parts_join(directory, "owed", out, err);
}

/* What it says: the job by its text, since what --fresh is asked for is often another fingerprint
 * than that of the result. */
static wa_status print(const char *job_text, char out[WA_SHA256_HEX + 1], wa_error *err)
{
    WA_TRY(wa_digest_bytes((wa_bytes){(const uint8_t *)job_text, strlen(job_text)}, out, err));
    strcat(out, "\n");
    return WA_OK;
}

/* Is there a result, or a job that was begun, which a run could take for its own? */
static bool stands(const char *result_path, const char *directory)
{
    struct stat info;
    char job[WA_NAME_BYTES];
    return (stat(result_path, &info) == 0 && S_ISREG(info.st_mode)) ||
           (wa_parts_join(directory, "job.json", job, NULL) == WA_OK && wa_file_exists(job));
}

wa_status wa_owed_record(const char *result_path, const char *job_text, wa_error *err)
{
    enum { TRIES = 3 };
    char directory[WA_NAME_BYTES], path[WA_NAME_BYTES], text[WA_SHA256_HEX + 1];
    WA_TRY(name_of(result_path, directory, path, err));
    WA_TRY(print(job_text, text, err));
    wa_status status = WA_OK;
    for (int tries = 0; tries < TRIES && stands(result_path, directory); tries++) {
        WA_TRY(wa_parts_make_directory(directory, err));
        status = wa_file_write(path, text, strlen(text), err);
        if (status == WA_OK)
            return wa_directory_sync(directory, err);
        /* else another run may have ended in between, and removed what it found here */
    }
    return status;
}

wa_owed wa_owed_look(const char *result_path, const char *job_text)
{
    char directory[WA_NAME_BYTES], path[WA_NAME_BYTES], text[WA_SHA256_HEX + 1];
    wa_map map;
    if (name_of(result_path, directory, path, NULL) != WA_OK || !wa_file_exists(path))
        return WA_OWED_NOT;
    if (print(job_text, text, NULL) != WA_OK || wa_map_open(path, &map, NULL) != WA_OK)
        return WA_OWED_BY_ANOTHER;
    bool ours = map.bytes.size == strlen(text) && memcmp(map.bytes.data, text, map.bytes.size) == 0;
    wa_map_close(&map);
    return ours ? WA_OWED_BY_THIS_JOB : WA_OWED_BY_ANOTHER;
}

wa_status wa_owed_settle(const char *result_path, wa_error *err)
{
    char directory[WA_NAME_BYTES], path[WA_NAME_BYTES];
    WA_TRY(name_of(result_path, directory, path, err));
    if (unlink(path) == 0)
        return wa_directory_sync(path, err);
    return errno == ENOENT || errno == ENOTDIR
               ? WA_OK
               : wa_fail(err, WA_E_IO, "cannot remove '%s': %s", path, strerror(errno));
}

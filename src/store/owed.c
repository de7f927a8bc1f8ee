/* RESULT.h5.parts/owed: this result is to be computed anew, whatever is done. Of many audits that a
 * run with --fresh is to compute the first may take hours, and it may end, or be killed, before it
 * comes to the next: the old result would then be taken for the new one. And parts may be of two
 * contents of a file that changed meanwhile. */
#include "store/parts.h"
#include "store/store.h"

#include "base/digest.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static wa_status name_of(const char *result_path, char directory[WA_NAME_BYTES],
                         char out[WA_NAME_BYTES], wa_error *err)
{
    WA_TRY(wa_parts_directory(result_path, directory, err));
    return wa_parts_join(directory, "owed", out, err);
}

/* --- What it says: a line for each run that asked, with the job's digest and the run's id. The job
 * by its text, since what --fresh is asked for is often another fingerprint than that of the
 * result. An earlier version wrote the digest alone. --- */

static wa_status digest_of(const char *job_text, char out[WA_SHA256_HEX], wa_error *err)
{
    return wa_digest_bytes((wa_bytes){(const uint8_t *)job_text, strlen(job_text)}, out, err);
}

/* Take the first whole line off a text, its newline included; false when there is none. */
static bool next_line(wa_bytes *rest, wa_bytes *line)
{
    const uint8_t *end = rest->size == 0 ? NULL : memchr(rest->data, '\n', rest->size);
    if (end == NULL)
        return false;
    *line = (wa_bytes){.data = rest->data, .size = (size_t)(end - rest->data) + 1};
    *rest = (wa_bytes){.data = end + 1, .size = rest->size - line->size};
    return true;
}

static bool is_of_job(wa_bytes line, const char *digest)
{
    size_t length = strlen(digest);
    return line.size > length && memcmp(line.data, digest, length) == 0 &&
           (line.data[length] == ' ' || line.data[length] == '\n');
}

static bool is_of_run(wa_bytes line, const char *run)
{
    size_t length = strlen(run);
    return line.size > length + 1 && memcmp(line.data + line.size - 1 - length, run, length) == 0 &&
           line.data[line.size - 2 - length] == ' ';
}

static wa_status remove_record(const char *path, wa_error *err)
{
    if (unlink(path) == 0)
        return wa_directory_sync(path, err);
    return errno == ENOENT || errno == ENOTDIR
               ? WA_OK
               : wa_fail(err, WA_E_IO, "cannot remove '%s': %s", path, strerror(errno));
}

/* This run's line goes, and `added` comes in its place. What cannot be read, or is no whole line, is
 * not kept where something is written. */
static wa_status rewrite(const char *path, const char *run, const char *added, wa_error *err)
{
    wa_map map;
    if (wa_map_open(path, &map, NULL) != WA_OK)
        map.bytes = (wa_bytes){.data = NULL};
    wa_bytes line, pieces[] = {{.data = map.bytes.data},
                               {.data = NULL},
                               {.data = (const uint8_t *)added, .size = strlen(added)}};
    bool found = false;
    for (wa_bytes rest = map.bytes; next_line(&rest, &line);) {
        if (!found && is_of_run(line, run)) {
            found = true;
            pieces[1].data = rest.data;
        } else {
            pieces[found ? 1 : 0].size += line.size;
        }
    }
    wa_status status = WA_OK;
    if (found && pieces[0].size + pieces[1].size + pieces[2].size == 0)
        status = remove_record(path, err);
    else if (found || pieces[2].size > 0)
        status = wa_file_write_pieces(path, pieces, 3, NULL, err);
    wa_map_close(&map);
    return status;
}

/* Under the guard, so that no run's line is lost to another's, nor comes back. */
static wa_status rewrite_alone(const char *directory, const char *path, const char *run,
                               const char *added, wa_error *err)
{
    int guard;
    WA_TRY(wa_lock_guard(directory, &guard, err));
    wa_status status = run == NULL ? remove_record(path, err) : rewrite(path, run, added, err);
    wa_lock_unguard(guard);
    return status;
}

/* Is there a result, or a job that was begun, which a run could take for its own? */
static bool stands(const char *result_path, const char *directory)
{
    struct stat info;
    char job[WA_NAME_BYTES];
    return (stat(result_path, &info) == 0 && S_ISREG(info.st_mode)) ||
           (wa_parts_join(directory, "job.json", job, NULL) == WA_OK && wa_file_exists(job));
}

wa_status wa_owed_record(const char *result_path, const char *job_text, const char *run,
                         wa_error *err)
{
    enum { TRIES = 3 };
    char directory[WA_NAME_BYTES], path[WA_NAME_BYTES], digest[WA_SHA256_HEX];
    char line[WA_SHA256_HEX + WA_RUN_ID_BYTES + 1];
    WA_TRY(name_of(result_path, directory, path, err));
    WA_TRY(digest_of(job_text, digest, err));
    snprintf(line, sizeof line, "%s %s\n", digest, run);
    wa_status status = WA_OK;
    for (int tries = 0; tries < TRIES && stands(result_path, directory); tries++) {
        WA_TRY(wa_parts_make_directory(directory, err));
        status = rewrite_alone(directory, path, run, line, err);
        if (status == WA_OK)
            return wa_directory_sync(directory, err);
        /* else another run may have ended in between, and removed what it found here */
    }
    return status;
}

wa_owed wa_owed_look(const char *result_path, const char *job_text)
{
    char directory[WA_NAME_BYTES], path[WA_NAME_BYTES], digest[WA_SHA256_HEX];
    wa_map map;
    wa_bytes line;
    if (name_of(result_path, directory, path, NULL) != WA_OK || !wa_file_exists(path))
        return WA_OWED_NOT;
    if (digest_of(job_text, digest, NULL) != WA_OK || wa_map_open(path, &map, NULL) != WA_OK)
        return WA_OWED_BY_ANOTHER;
    bool ours = false;
    for (wa_bytes rest = map.bytes; next_line(&rest, &line);)
        ours = ours || is_of_job(line, digest);
    wa_map_close(&map);
    return ours ? WA_OWED_BY_THIS_JOB : WA_OWED_BY_ANOTHER;
}

/* Nothing is made where nothing is recorded. */
static wa_status take_back(const char *result_path, const char *run, wa_error *err)
{
    char directory[WA_NAME_BYTES], path[WA_NAME_BYTES];
    WA_TRY(name_of(result_path, directory, path, err));
    return wa_file_exists(path) ? rewrite_alone(directory, path, run, "", err) : WA_OK;
}

wa_status wa_owed_waive(const char *result_path, const char *run, wa_error *err)
{
    return take_back(result_path, run, err);
}

wa_status wa_owed_settle(const char *result_path, wa_error *err)
{
    return take_back(result_path, NULL, err);
}

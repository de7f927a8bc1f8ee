/* What stands at a result's path: finished, begun, or nothing. Reads only, takes no lock. */
#include "store/part.h"
#include "store/parts.h"
#include "store/result.h"

#include "base/bytes.h"

#include <stdio.h>
#include <string.h>

typedef struct counter {
    const char *result_path, *directory;
    size_t batches, done;
    double run_began;     /* when the newest run-K.json was written; 0 = never */
    double *part_written; /* [batches] file times; 0 = no part */
} counter;

/* Time of a file's last change in seconds; 0 when it is gone. */
static double file_time(const char *directory, const char *name)
{
    char path[WA_NAME_BYTES];
    wa_file_state state;
    if (wa_parts_join(directory, name, path, NULL) != WA_OK || wa_file_state_read(path, &state, NULL) != WA_OK)
        return 0.0;
    return (double)state.seconds + 1e-9 * (double)state.nanoseconds;
}

static wa_status count_file(void *context, const char *name, wa_error *err)
{
    (void)err;
    counter *c = context;
    size_t batch;
    char full[WA_NAME_BYTES], tail[8];
    if (sscanf(name, "run-%*9u.%5s", tail) == 1 && strcmp(tail, "json") == 0) {
        double at = file_time(c->directory, name);
        c->run_began = at > c->run_began ? at : c->run_began;
    }
    if (sscanf(name, "batch-%9zu.h5", &batch) != 1 || batch >= c->batches)
        return WA_OK;
    /* Only the exact final name counts: not a temporary, not a part set aside. */
    if (wa_part_name(c->result_path, batch, full, NULL) != WA_OK || strcmp(strrchr(full, '/') + 1, name) != 0)
        return WA_OK;
    c->done++;
    c->part_written[batch] = file_time(c->directory, name);
    return WA_OK;
}

/* Batches a second of the last run: its parts over the time from its start to the last of them. */
static double rate(const counter *c)
{
    size_t written = 0;
    double last = c->run_began;
    for (size_t b = 0; c->run_began > 0.0 && b < c->batches; b++)
        if (c->part_written[b] > c->run_began) {
            written++;
            last = c->part_written[b] > last ? c->part_written[b] : last;
        }
    return written == 0 ? 0.0 : (double)written / (last - c->run_began);
}

static wa_status check_parts(const char *path, wa_arena *arena, wa_result_status *out,
                             wa_error *err)
{
    char directory[WA_NAME_BYTES];
    WA_TRY(wa_parts_directory(path, directory, err));
    wa_owner owner;
    wa_lock_look(directory, &owner);
    if (owner.present) {
        char *text;
        WA_TRY(wa_arena_print(arena, &text, err, "host %s, process %ld%s%s",
                              owner.host[0] == '\0' ? "unknown" : owner.host, owner.process,
                              owner.slurm_job[0] == '\0' ? "" : ", Slurm job ", owner.slurm_job));
        out->owner = text;
        out->owner_alive = owner.alive;
    }
    wa_parts_job job;
    wa_error why = {.status = WA_OK};
    wa_status status = wa_parts_job_open(directory, arena, &job, &why);
    if (status == WA_E_MISMATCH) /* of another format: `run` refuses them, too */
        return wa_fail(err, status, "%s", why.text);
    if (status != WA_OK)
        return WA_OK; /* no job yet, or an unreadable one: nothing is known to be done */
    counter c = {.result_path = path, .directory = directory, .batches = job.batch_count};
    WA_TRY(wa_arena_take(arena, c.batches, sizeof *c.part_written, &c.part_written, err));
    WA_TRY(wa_directory_visit(directory, count_file, &c, err));
    out->batches = c.batches;
    out->done = c.done;
    out->batches_per_second = rate(&c);
    return WA_OK;
}

static wa_status count_batches(wa_hid file, wa_result_status *out, wa_error *err)
{
    wa_extents x;
    WA_TRY(wa_result_extents(file, &x, err));
    out->finished = true;
    out->batches = x.batches;
    out->done = x.batches;
    return WA_OK;
}

static wa_status check_result(const char *path, wa_result_status *out, wa_error *err)
{
    wa_hid file;
    WA_TRY(wa_result_file_open(path, &file, err));
    wa_status status = count_batches(file, out, err);
    if (status != WA_OK)
        wa_note(err, "in file '%s'", path);
    return wa_hdf5_close(file, status, err);
}

wa_status wa_result_check(const char *path, wa_arena *arena, wa_result_status *out, wa_error *err)
{
    wa_hdf5_quiet();
    wa_result_status state = {.finished = false};
    WA_TRY(check_parts(path, arena, &state, err));
    if (wa_file_exists(path) || wa_dir_exists(path))
        WA_TRY(check_result(path, &state, err));
    *out = state;
    return WA_OK;
}

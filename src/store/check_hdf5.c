/* What stands at a result's path: finished, begun, or nothing. Reads only, takes no lock. */
#include "store/part.h"
#include "store/parts.h"
#include "store/result.h"

#include "base/bytes.h"

#include <stdio.h>
#include <string.h>

typedef struct counter {
    const char *directory;
    size_t prompts, done; /* of the job; of all parts */
    double run_began;     /* when the newest run-K.json was written; 0 = never */
    size_t written;       /* prompts of parts since then */
    double last;          /* when the newest of these was */
} counter;

/* Time of a file's last change in seconds; 0 when it is gone. */
static double file_time(const char *directory, const char *name)
{
    char path[WA_NAME_BYTES];
    wa_file_state state;
    if (wa_parts_join(directory, name, path, NULL) != WA_OK ||
        wa_file_state_read(path, &state, NULL) != WA_OK)
        return 0.0;
    return (double)state.seconds + 1e-9 * (double)state.nanoseconds;
}

static wa_status find_run(void *context, const char *name, wa_error *err)
{
    (void)err;
    counter *c = context;
    char tail[8];
    if (sscanf(name, "run-%*9u.%5s", tail) == 1 && strcmp(tail, "json") == 0) {
        double at = file_time(c->directory, name);
        c->run_began = at > c->run_began ? at : c->run_began;
    }
    return WA_OK;
}

/* Only the exact final name counts: not a temporary, not a part set aside. */
static wa_status count_part(void *context, const char *name, wa_error *err)
{
    (void)err;
    counter *c = context;
    wa_batch part;
    if (!wa_part_parse(name, &part) || part.first_prompt + part.prompt_count > c->prompts)
        return WA_OK;
    double at = file_time(c->directory, name);
    c->done += part.prompt_count;
    if (c->run_began > 0.0 && at > c->run_began) {
        c->written += part.prompt_count;
        c->last = at > c->last ? at : c->last;
    }
    return WA_OK;
}

/* begun: there is a job with parts, done or to come. */
static wa_status check_parts(const char *path, wa_arena *arena, wa_result_status *out, bool *begun,
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
    counter c = {.directory = directory, .prompts = job.prompt_count};
    WA_TRY(wa_directory_visit(directory, find_run, &c, err));
    WA_TRY(wa_directory_visit(directory, count_part, &c, err));
    *begun = true;
    out->prompts = c.prompts;
    /* two parts that share a prompt: the next run keeps one */
    out->done = c.done < c.prompts ? c.done : c.prompts;
    out->prompts_per_second = c.written == 0 ? 0.0 : (double)c.written / (c.last - c.run_began);
    return WA_OK;
}

static wa_status count_prompts(wa_hid file, wa_result_status *out, wa_error *err)
{
    wa_extents x;
    WA_TRY(wa_result_extents(file, &x, err));
    out->finished = true;
    out->prompts = x.dims.prompts;
    out->done = x.dims.prompts;
    return WA_OK;
}

static wa_status check_result(const char *path, wa_result_status *out, wa_error *err)
{
    wa_hid file;
    WA_TRY(wa_result_file_open(path, &file, err));
    wa_status status = count_prompts(file, out, err);
    if (status != WA_OK)
        wa_note(err, "in file '%s'", path);
    return wa_hdf5_close(file, status, err);
}

wa_status wa_result_check(const char *path, wa_arena *arena, wa_result_status *out, wa_error *err)
{
    wa_hdf5_quiet();
    wa_result_status state = {.finished = false};
    bool begun = false;
    WA_TRY(check_parts(path, arena, &state, &begun, err));
    state.owed = wa_owed_look(path, "") != WA_OWED_NOT;
    wa_status status = WA_OK;
    /* a result that a run with --fresh has begun anew stands until the new one takes its name */
    if (!begun && (wa_file_exists(path) || wa_dir_exists(path)))
        status = check_result(path, &state, err);
    if (status != WA_OK && !state.owed)
        return status;
    if (state.owed) {
        state.finished = false;
        state.done = 0;
        state.prompts_per_second = 0.0;
    }
    *out = state;
    return WA_OK;
}

/* Which audits of a job, and which files are theirs: both follow from the job alone. */
#include "job/job.h"

#include "base/spell.h"

#include <string.h>

static bool job_has(const wa_job *job, const char *name)
{
    for (size_t a = 0; a < job->audit_count; a++)
        if (strcmp(job->audits[a].name, name) == 0)
            return true;
    return false;
}

enum { LISTED = 64 }; /* audits of a sweep that a message may name */

static wa_status no_such_audit(const wa_job *job, const char *name, wa_error *err)
{
    const char *known[LISTED];
    size_t count = 0;
    char hint[WA_SPELL_HINT];
    for (size_t a = 0; a < job->audit_count && count < LISTED; a++)
        known[count++] = job->audits[a].name;
    wa_spell_hint(name, known, count, hint);
    return wa_fail(err, WA_E_USAGE, "--audit '%s': the job has no such audit%s", name, hint);
}

wa_status wa_selection_check(const wa_selection *selection, const wa_job *job, wa_error *err)
{
    for (size_t i = 0; i < selection->audit_count; i++)
        if (!job_has(job, selection->audits[i]))
            return no_such_audit(job, selection->audits[i], err);
    /* Of N tasks, some may have nothing to do; an audit named by its place must be there. */
    if (selection->by_index && selection->count == 0 &&
        (size_t)selection->index >= job->audit_count)
        return wa_fail(err, WA_E_USAGE, "--array-index %d: the job has %zu audits, counted from 0",
                       selection->index, job->audit_count);
    return WA_OK;
}

static bool is_named(const wa_selection *selection, const char *name)
{
    for (size_t i = 0; i < selection->audit_count; i++)
        if (strcmp(selection->audits[i], name) == 0)
            return true;
    return selection->audit_count == 0;
}

static bool is_indexed(const wa_selection *selection, size_t audit)
{
    if (!selection->by_index)
        return true;
    size_t first = (size_t)selection->index, step = (size_t)selection->count;
    return step == 0 ? audit == first : audit % step == first;
}

bool wa_selection_has(const wa_selection *selection, const wa_job *job, size_t audit)
{
    return is_indexed(selection, audit) && is_named(selection, job->audits[audit].name);
}

wa_status wa_job_result_path(const wa_job *job, const wa_job_audit *audit, wa_arena *arena,
                             char **out, wa_error *err)
{
    return wa_arena_print(arena, out, err, "%s/%s-%s.h5", job->result, job->name, audit->name);
}

/* walkaudit status JOB.yaml: a line per audit, one exit code. */
#include "cli/status_job.h"

#include "cli/document.h"

#include "run/failure.h"
#include "run/judged.h"

#include <stdio.h>
#include <string.h>

/* Over the audits looked at. */
typedef struct tally {
    size_t audits, finished, prompts;
    bool resumable;
    int code;
    json_t *list; /* an object per audit, with --json */
} tally;

bool wa_cli_names_job(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot != NULL && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

void wa_cli_print_outcome(const wa_judged_state *state)
{
    printf("finished, %zu prompts; ", state->result.prompts);
    if (state->unaudited > 0)
        printf("vindexes of which no case ran: %zu\n", state->unaudited);
    else if (state->exit_code != 0)
        puts("some case fails, none ran, or the reference drifts");
    else if (state->unchecked > 0)
        printf("no case fails, %zu UNCHECKED\n", state->unchecked);
    else
        puts("every case passes or is measured");
}

static void print_line(const wa_job_audit *audit, const wa_judged_state *judged, const char *reason)
{
    const wa_result_status *state = &judged->result;
    printf("%-20s ", audit->name);
    if (state->finished)
        wa_cli_print_outcome(judged);
    else if (state->owner_alive)
        printf("running, %zu of %zu prompts; %s\n", state->done, state->prompts, state->owner);
    else if (state->prompts > 0)
        printf("unfinished, %zu of %zu prompts%s%s\n", state->done, state->prompts,
               reason == NULL ? "" : "; last: ", reason == NULL ? "" : reason);
    else
        printf("%s%s\n", reason == NULL ? "not begun" : "failed: ", reason == NULL ? "" : reason);
}

json_t *wa_cli_state_object(const char *path, const wa_judged_state *judged, const char *failure)
{
    const wa_result_status *s = &judged->result;
    const char *state = s->finished       ? "finished"
                        : s->owner_alive  ? "running"
                        : s->prompts > 0  ? "unfinished"
                        : failure != NULL ? "failed"
                                          : "absent";
    return json_pack("{s:s, s:s, s:I, s:I, s:o, s:s?, s:b, s:I, s:I, s:s?, s:i}", "result", path,
                     "state", state, "prompts", (json_int_t)s->prompts, "prompts_done",
                     (json_int_t)(s->finished ? s->prompts : s->done), "prompts_per_second",
                     s->prompts_per_second > 0.0 ? wa_cli_number(s->prompts_per_second)
                                                 : json_null(),
                     "owner", s->owner, "owner_alive", s->owner_alive ? 1 : 0, "unchecked",
                     (json_int_t)judged->unchecked, "unaudited", (json_int_t)judged->unaudited,
                     "failure", failure, "exit_code", judged->exit_code);
}

static wa_status look(const wa_status_question *q, const wa_job *job, size_t index, wa_arena *arena,
                      tally *t, wa_error *err)
{
    char *path;
    wa_run_failure failed;
    wa_judged_state judged = {.exit_code = 0};
    const wa_job_audit *audit = &job->audits[index];
    WA_TRY(wa_job_result_path(job, audit, arena, &path, err));
    WA_TRY(wa_run_failure_read(job, audit, arena, &failed, err));
    if (q->prompts || q->resumable) /* how cases fared is not asked */
        WA_TRY(wa_result_check(path, arena, &judged.result, err));
    else
        WA_TRY(wa_judged_status(path, arena, &judged, err));
    const wa_result_status *state = &judged.result;
    t->audits++;
    t->finished += state->finished;
    t->prompts += state->done;
    t->resumable = t->resumable || (!state->finished && state->prompts > 0);
    bool is_failed = failed.reason != NULL && !state->finished && state->prompts == 0;
    t->code = wa_exit_code_graver(t->code, is_failed ? failed.exit_code : judged.exit_code);
    if (q->json) {
        json_t *object = wa_cli_state_object(path, &judged, failed.reason);
        json_object_set_new(object, "audit", json_string(audit->name));
        json_array_append_new(t->list, object);
    } else if (!q->prompts && !q->resumable) {
        print_line(audit, &judged, failed.reason);
    }
    return WA_OK;
}

static wa_status look_at_all(const wa_status_question *q, wa_arena *arena, tally *t, wa_error *err)
{
    wa_job *job;
    WA_TRY(wa_job_open(q->path, NULL, 0, arena, &job, err));
    WA_TRY(wa_selection_check(&q->selection, job, err));
    for (size_t a = 0; a < job->audit_count; a++)
        if (wa_selection_has(&q->selection, job, a))
            WA_TRY(look(q, job, a, arena, t, err));
    return WA_OK;
}

wa_status wa_cli_status_job(void *words, wa_arena *arena, int *exit_code, wa_error *err)
{
    const wa_status_question *question = words;
    tally t = {.code = 0};
    t.list = question->json ? json_array() : NULL;
    wa_status status = look_at_all(question, arena, &t, err);
    if (question->json && status == WA_OK) {
        json_t *object = wa_cli_document("status", 1);
        json_object_set_new(object, "exit_code", json_integer(t.code));
        json_object_set(object, "audits", t.list);
        *exit_code = t.code;
        status = wa_cli_print_json(object, err);
    }
    json_decref(t.list);
    if (question->json || status != WA_OK)
        return status;
    if (question->resumable) {
        *exit_code = t.resumable ? 0 : 1;
        return WA_OK;
    }
    if (question->prompts) {
        printf("%zu\n", t.prompts);
        return WA_OK;
    }
    printf("%zu of %zu audits finished; exit code %d\n", t.finished, t.audits, t.code);
    *exit_code = t.code;
    return WA_OK;
}

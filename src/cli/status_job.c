/* walkaudit status JOB.yaml: a line per audit, one exit code. */
#include "cli/status_job.h"

#include "cli/document.h"

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
        printf("vindexes of which no case ran: %zu", state->unaudited);
    else if (state->case_code != 0)
        printf("some case fails, none ran, or the reference drifts");
    else if (state->unchecked > 0)
        printf("no case fails, %zu UNCHECKED", state->unchecked);
    else
        printf("every case passes or is measured");
}

void wa_cli_print_failure(const wa_judged_state *state)
{
    if (state->failure != NULL)
        printf("; the last run %s: %s",
               state->failure_code == wa_status_exit_code(WA_E_STOPPED) ? "was cut short"
                                                                        : "failed",
               state->failure);
    putchar('\n');
}

static void print_line(const wa_job_audit *audit, const wa_judged_state *judged)
{
    const wa_result_status *state = &judged->result;
    printf("%-20s ", audit->name);
    if (state->finished)
        wa_cli_print_outcome(judged);
    else if (state->owner_alive)
        printf("running, %zu of %zu prompts; %s", state->done, state->prompts, state->owner);
    else if (state->prompts > 0)
        printf("unfinished, %zu of %zu prompts", state->done, state->prompts);
    else
        printf("%s", judged->failure == NULL ? "not begun" : "no result");
    wa_cli_print_failure(judged);
}

json_t *wa_cli_state_object(const char *path, const wa_judged_state *judged)
{
    const wa_result_status *s = &judged->result;
    const char *state = s->finished               ? "finished"
                        : s->owner_alive          ? "running"
                        : s->prompts > 0          ? "unfinished"
                        : judged->failure != NULL ? "failed"
                                                  : "absent";
    return json_pack(
        "{s:o, s:s, s:I, s:I, s:o, s:s?, s:b, s:I, s:I, s:o?, s:i}", "result", wa_json_text(path),
        "state", state, "prompts", (json_int_t)s->prompts, "prompts_done",
        (json_int_t)(s->finished ? s->prompts : s->done), "prompts_per_second",
        s->prompts_per_second > 0.0 ? wa_cli_number(s->prompts_per_second) : json_null(), "owner",
        s->owner, "owner_alive", s->owner_alive ? 1 : 0, "unchecked", (json_int_t)judged->unchecked,
        "unaudited", (json_int_t)judged->unaudited, "failure", wa_json_text(judged->failure),
        "exit_code", judged->exit_code);
}

static wa_status look(const wa_status_question *q, const wa_job *job, size_t index, wa_arena *arena,
                      tally *t, wa_error *err)
{
    char *job_path;
    wa_judged_state judged;
    const wa_job_audit *audit = &job->audits[index];
    WA_TRY(wa_job_result_path(job, audit, arena, &job_path, err));
    const char *path = q->out_file != NULL ? q->out_file : job_path;
    if (q->prompts || q->resumable) /* how cases fared is not asked */
        WA_TRY(wa_judged_look(path, arena, &judged, err));
    else
        WA_TRY(wa_judged_status(path, arena, &judged, err));
    t->audits++;
    t->finished += judged.result.finished;
    t->prompts += judged.result.done;
    t->resumable = t->resumable || judged.resumable;
    t->code = wa_exit_code_graver(t->code, judged.exit_code);
    if (q->json) {
        json_t *object = wa_cli_state_object(path, &judged);
        json_object_set_new(object, "audit", wa_json_text(audit->name));
        json_array_append_new(t->list, object);
    } else if (!q->prompts && !q->resumable) {
        print_line(audit, &judged);
    }
    return WA_OK;
}

static wa_status look_at_all(const wa_status_question *q, wa_arena *arena, tally *t, wa_error *err)
{
    wa_job *job;
    WA_TRY(wa_job_open(q->path, q->settings.words, q->settings.count, arena, &job, err));
    WA_TRY(wa_cli_check_out(q->out_file, job, err));
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

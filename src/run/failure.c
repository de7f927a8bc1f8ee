/* Records of audits that could not run. */
#include "run/failure.h"

#include "base/durable.h"
#include "base/json.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool path_of(const wa_job *job, const wa_job_audit *audit, char *out, size_t size)
{
    int length = snprintf(out, size, "%s/%s-%s.failed.json", job->result, job->name, audit->name);
    return length > 0 && (size_t)length < size;
}

bool wa_run_failure_stands(const wa_job *job, const wa_job_audit *audit)
{
    char path[PATH_MAX];
    return path_of(job, audit, path, sizeof path) && access(path, F_OK) == 0;
}

wa_status wa_run_failure_read(const wa_job *job, const wa_job_audit *audit, wa_arena *arena,
                              wa_run_failure *out, wa_error *err)
{
    char path[PATH_MAX], *copy;
    *out = (wa_run_failure){.reason = NULL};
    if (!path_of(job, audit, path, sizeof path) || access(path, F_OK) != 0)
        return WA_OK;
    json_t *record = NULL;
    if (wa_json_open(path, &record, NULL) != WA_OK)
        record = NULL;
    const char *reason = json_string_value(json_object_get(record, "reason"));
    const json_t *code = json_object_get(record, "exit_code");
    if (reason == NULL)
        reason = "its .failed.json gives no reason";
    wa_status status = wa_arena_copy(arena, reason, strlen(reason), &copy, err);
    if (status == WA_OK)
        *out =
            (wa_run_failure){.reason = copy,
                             .exit_code = json_is_integer(code) ? (int)json_integer_value(code)
                                                                : wa_status_exit_code(WA_E_FORMAT)};
    json_decref(record);
    return status;
}

void wa_run_failure_record(const wa_job *job, const wa_job_audit *audit,
                           const wa_run_options *options, wa_status status, const wa_error *failure)
{
    char path[PATH_MAX];
    if (options->out_file != NULL || !path_of(job, audit, path, sizeof path))
        return;
    if (status == WA_OK || status == WA_E_VERDICT) {
        unlink(path);
        return;
    }
    /* nothing is wrong with it: run it again */
    if (status == WA_E_STOPPED || status == WA_E_NO_PROGRESS)
        return;
    if (job->audit_count < 2)
        return;
    json_t *object = json_pack("{s:s, s:s, s:s, s:i}", "audit", audit->name, "model", audit->model,
                               "reason", failure->text, "exit_code", wa_status_exit_code(status));
    char *text = object == NULL ? NULL : json_dumps(object, JSON_INDENT(1) | JSON_SORT_KEYS);
    wa_error cause = {.status = WA_OK};
    wa_status written = wa_fail(&cause, WA_E_MEMORY, "no memory for the text");
    if (text != NULL)
        written = wa_directory_make(job->result, &cause);
    if (text != NULL && written == WA_OK)
        written = wa_file_write(path, text, strlen(text), &cause);
    if (written != WA_OK)
        fprintf(stderr, "warning: cannot write '%s': %s\n", path, cause.text);
    free(text);
    json_decref(object);
}

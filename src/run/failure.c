/* Records of audits that failed. */
#include "run/failure.h"

#include "base/durable.h"
#include "base/json.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "DIR/NAME-AUDIT.h5" has "DIR/NAME-AUDIT.failed.json". */
static bool path_beside(const char *result_path, char out[PATH_MAX])
{
    size_t stem = strlen(result_path);
    if (stem > 3 && strcmp(result_path + stem - 3, ".h5") == 0)
        stem -= 3;
    int length = snprintf(out, PATH_MAX, "%.*s.failed.json", (int)stem, result_path);
    return length > 0 && length < PATH_MAX;
}

static bool path_of(const wa_job *job, const wa_job_audit *audit, const wa_run_options *options,
                    char out[PATH_MAX])
{
    char result[PATH_MAX];
    if (options->out_file != NULL)
        return path_beside(options->out_file, out);
    int length =
        snprintf(result, sizeof result, "%s/%s-%s.h5", job->result, job->name, audit->name);
    return length > 0 && (size_t)length < sizeof result && path_beside(result, out);
}

bool wa_run_failure_stands(const wa_job *job, const wa_job_audit *audit,
                           const wa_run_options *options)
{
    char path[PATH_MAX];
    return path_of(job, audit, options, path) && access(path, F_OK) == 0;
}

wa_status wa_run_failure_read(const char *result_path, wa_arena *arena, wa_run_failure *out,
                              wa_error *err)
{
    char path[PATH_MAX], *copy;
    *out = (wa_run_failure){.reason = NULL};
    if (!path_beside(result_path, path) || access(path, F_OK) != 0)
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

/* directory: to be made first; NULL = none */
static void write_record(const wa_job_audit *audit, const char *directory, const char *path,
                         const char *reason, int exit_code)
{
    json_t *object =
        json_pack("{s:s, s:o, s:o, s:i}", "audit", audit->name, "model", wa_json_text(audit->model),
                  "reason", wa_json_text(reason), "exit_code", exit_code);
    char *text = object == NULL ? NULL : json_dumps(object, JSON_INDENT(1) | JSON_SORT_KEYS);
    wa_error cause = {.status = WA_OK};
    wa_status written = wa_fail(&cause, WA_E_MEMORY, "no memory for the text");
    if (text != NULL)
        written = directory == NULL ? WA_OK : wa_directory_make(directory, &cause);
    if (text != NULL && written == WA_OK)
        written = wa_file_write(path, text, strlen(text), &cause);
    if (written != WA_OK)
        fprintf(stderr, "warning: cannot write '%s': %s\n", path, cause.text);
    free(text);
    json_decref(object);
}

void wa_run_failure_begin(const wa_job *job, const wa_job_audit *audit,
                          const wa_run_options *options)
{
    char path[PATH_MAX];
    if (path_of(job, audit, options, path) && access(path, F_OK) == 0)
        write_record(audit, NULL, path, "it was run again, and did not come to its end",
                     wa_status_exit_code(WA_E_STOPPED));
}

void wa_run_failure_record(const wa_job *job, const wa_job_audit *audit,
                           const wa_run_options *options, wa_status status, const wa_error *failure)
{
    char path[PATH_MAX];
    if (!path_of(job, audit, options, path))
        return;
    switch (status) {
    case WA_OK:
    case WA_E_VERDICT:
        unlink(path);
        return;
    case WA_E_STOPPED: /* nothing is wrong with it: run it again */
    case WA_E_NO_PROGRESS:
    case WA_E_BUSY:
        return;
    default:
        write_record(audit, options->out_file == NULL ? job->result : NULL, path, failure->text,
                     wa_status_exit_code(status));
    }
}

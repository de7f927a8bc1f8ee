/* All audits of a job. */
#include "run_audit.h"

#include "cli/cli.h"
#include "run_log.h"
#include "walkaudit/kernel.h"

/* In a sweep 4 > 2 > 3 > 75 > 1 > 0 (design 4). */
static int graver(int a, int b)
{
    static const int order[] = {4, 2, 3, 75, 1, 0};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        if (a == order[i] || b == order[i])
            return order[i];
    return 4;
}

int wa_run_job(wa_comm *comm, const wa_job *job, const wa_run_options *options)
{
    const wa_run_voice voice = {.table = stdout};
    int code = 0;
    wa_blas_set_threads(job->threads);
    for (size_t i = 0; i < job->audit_count; i++) {
        wa_error err = {.status = WA_OK};
        if (options->only_failed && !wa_run_failure_stands(job, &job->audits[i]))
            continue;
        wa_status status = wa_run_audit(comm, job, i, options, &voice, &err);
        if (status == WA_E_MPI)
            wa_comm_abort(comm, wa_cli_fail(&err));
        if (wa_comm_rank(comm) == 0) {
            wa_run_record_failure(job, &job->audits[i], options, status, &err);
            if (status != WA_OK && status != WA_E_VERDICT)
                wa_cli_fail(&err);
        }
        code = graver(code, wa_status_exit_code(status));
    }
    return code;
}

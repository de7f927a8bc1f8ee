/* A job file; one that is accepted prints as a job that is accepted too. */
#include "fuzz_numbers.h"
#include "job/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[FUZZ_PATH];
    wa_error err = {0};
    wa_job *job, *again;
    wa_arena *arena = fuzz_arena();
    fuzz_write("job.yaml", data, size);
    if (fuzz_answer(wa_job_open(fuzz_path(path, "job.yaml"), NULL, 0, arena, &job, &err), &err)) {
        fuzz_write("again.yaml", job->text, strlen(job->text));
        wa_status status = wa_job_open(fuzz_path(path, "again.yaml"), NULL, 0, arena, &again, &err);
        if (status != WA_OK)
            fprintf(stderr, "%s\n%s\n", err.text, job->text);
        fuzz_require(status == WA_OK, "the effective job is no job");
    }
    wa_arena_close(arena);
    return 0;
}

/* All audits of a job: which, in which sets of ranks, and what became of them. */
#include "run/audit.h"

#include "compute/kernel.h"
#include "run/allocation.h"
#include "run/failure.h"
#include "run/predict.h"
#include "store/store.h"

#include <string.h>

enum { NOT_RUN = -1 };

typedef struct sweep {
    wa_comm *comm;
    const wa_job *job;
    const wa_run_options *options;
    wa_arena *arena;
    size_t *chosen; /* [chosen_count] audits to run, ascending */
    size_t chosen_count;
    char run[WA_RUN_ID_BYTES]; /* by which results are asked for anew */
    wa_sweep *plan;
    wa_comm *part;     /* the ranks of my set; comm itself when there is one set */
    wa_run_sets *sets; /* on the root of a set, when there are several */
    int32_t *outcome;  /* [chosen_count] wa_status, or NOT_RUN where another rank answers */
} sweep;

static bool is_root(const wa_comm *comm)
{
    return wa_comm_rank(comm) == 0;
}

/* --- Which ------------------------------------------------------------------------------------ */

/* Failure records are files, so one rank looks. */
static wa_status choose(sweep *s, wa_error *err)
{
    const wa_run_options *o = s->options;
    wa_status status = wa_selection_check(&o->selection, s->job, err);
    if (status == WA_OK)
        status = wa_arena_take(s->arena, s->job->audit_count, sizeof *s->chosen, &s->chosen, err);
    WA_TRY(wa_comm_agree(s->comm, status, err));
    for (size_t a = 0; is_root(s->comm) && a < s->job->audit_count; a++) {
        if (wa_selection_has(&o->selection, s->job, a) &&
            (!o->only_failed || wa_run_failure_stands(s->job, &s->job->audits[a], o)))
            s->chosen[s->chosen_count++] = a;
    }
    WA_TRY(wa_comm_broadcast(s->comm, &s->chosen_count, sizeof s->chosen_count, err));
    return wa_comm_broadcast(s->comm, s->chosen, s->chosen_count * sizeof *s->chosen, err);
}

static wa_status result_path(const sweep *s, size_t index, char **out, wa_error *err)
{
    if (s->options->out_file != NULL)
        return wa_arena_copy(s->arena, s->options->out_file, strlen(s->options->out_file), out,
                             err);
    return wa_job_result_path(s->job, &s->job->audits[index], s->arena, out, err);
}

/* --fresh asks for all of them, and this run may end before it comes to the last. */
static wa_status record_owed(sweep *s, wa_error *err)
{
    char *path;
    bool records = s->options->fresh && is_root(s->comm);
    wa_status status = records ? wa_run_id_draw(s->run, err) : WA_OK;
    for (size_t i = 0; records && status == WA_OK && i < s->chosen_count; i++) {
        status = result_path(s, s->chosen[i], &path, err);
        if (status == WA_OK)
            status = wa_owed_record(path, s->job->text, s->run, err);
    }
    WA_TRY(wa_comm_agree(s->comm, status, err));
    return wa_comm_broadcast(s->comm, s->run, sizeof s->run, err); /* roots of sets may waive */
}

/* Another run computes it now: this one is refused, and its wish with it. */
static void waive(sweep *s, size_t index)
{
    char *path;
    wa_error err;
    if (s->options->fresh &&
        (result_path(s, index, &path, &err) != WA_OK || wa_owed_waive(path, s->run, &err) != WA_OK))
        fprintf(stderr, "warning: %s\n", err.text);
}

/* --- Where ------------------------------------------------------------------------------------ */

static void describe(const sweep *s)
{
    const wa_sweep *plan = s->plan;
    if (!is_root(s->comm) || s->options->quiet || s->chosen_count < 2 || wa_comm_size(s->comm) < 2)
        return;
    char reason[256];
    wa_sweep_reason(plan, reason, sizeof reason);
    fprintf(stderr, "sweep: %zu audits, %s\n", s->chosen_count, reason);
    for (size_t i = 0; plan->set_count > 1 && i < s->chosen_count; i++) {
        size_t set = plan->audit_set[i];
        fprintf(stderr, "sweep: ranks %d to %d: %s\n", plan->set_start[set],
                plan->set_start[set + 1] - 1, s->job->audits[s->chosen[i]].name);
    }
}

/* Audits that run where they were planned are no news. */
static void tell_of_change(void *context, size_t set, size_t audit)
{
    const sweep *s = context;
    if (!s->options->quiet && s->plan->audit_set[audit] != set)
        fprintf(stderr, "sweep: ranks %d to %d have time for %s\n", s->plan->set_start[set],
                s->plan->set_start[set + 1] - 1, s->job->audits[s->chosen[audit]].name);
}

static wa_status divide(sweep *s, wa_error *err)
{
    int ranks = wa_comm_size(s->comm);
    wa_run_prediction p = {.comm = s->comm,
                           .job = s->job,
                           .options = s->options,
                           .chosen = s->chosen,
                           .chosen_count = s->chosen_count};
    double *times;
    WA_TRY(wa_run_predict(&p, s->arena, &times, err));
    WA_TRY(wa_comm_agree(
        s->comm, wa_sweep_build(times, s->chosen_count, ranks, s->arena, &s->plan, err), err));
    describe(s);
    s->part = s->comm;
    if (s->plan->set_count == 1)
        return WA_OK;
    WA_TRY(
        wa_comm_split(s->comm, (int)wa_sweep_set(s->plan, wa_comm_rank(s->comm)), &s->part, err));
    wa_status status = WA_OK;
    if (is_root(s->part))
        status = wa_run_sets_open(s->comm, s->plan, tell_of_change, s, s->arena, &s->sets, err);
    return wa_comm_agree(s->comm, status, err);
}

/* --- Running ---------------------------------------------------------------------------------- */

static bool is_stopped(wa_status status)
{
    return status == WA_E_STOPPED || status == WA_E_NO_PROGRESS;
}

static wa_status run_one(sweep *s, size_t i)
{
    wa_error err = {.status = WA_OK};
    size_t index = s->chosen[i];
    bool alone = s->plan->set_count == 1;
    char prefix[128];
    snprintf(prefix, sizeof prefix, "[%.100s] ", s->job->audits[index].name);
    const wa_run_voice voice = {
        .table = alone ? stdout : NULL, .prefix = alone ? NULL : prefix, .sets = s->sets};
    if (is_root(s->part))
        wa_run_failure_begin(s->job, &s->job->audits[index], s->options);
    wa_status status = wa_run_audit(s->part, s->job, index, s->options, &voice, &err);
    bool failed = status != WA_OK && status != WA_E_VERDICT;
    if (failed && s->job->audit_count > 1 && strstr(err.text, "in audit '") == NULL)
        wa_note(&err, "in audit '%s'", s->job->audits[index].name);
    if (status == WA_E_MPI)
        wa_comm_abort(s->comm, wa_error_print(&err));
    s->outcome[i] = is_root(s->part) ? (int32_t)status : NOT_RUN;
    if (!is_root(s->part))
        return status;
    wa_run_failure_record(s->job, &s->job->audits[index], s->options, status, &err);
    if (status == WA_E_BUSY)
        waive(s, index);
    if (failed)
        wa_error_print(&err);
    return status;
}

/* Collective over my set: its next audit, WA_NO_AUDIT = none. */
static wa_status next_audit(sweep *s, size_t *audit_out, wa_error *err)
{
    if (s->sets != NULL)
        WA_TRY(wa_run_sets_next(s->sets, audit_out, err));
    WA_TRY(wa_comm_meet(s->part, err));
    return wa_comm_broadcast(s->part, audit_out, sizeof *audit_out, err);
}

/* A stop ends a set: what no set has begun is as resumable as the audit it met. */
static wa_status run_set(sweep *s, wa_error *err)
{
    size_t audit;
    WA_TRY(next_audit(s, &audit, err));
    while (audit != WA_NO_AUDIT && !is_stopped(run_one(s, audit)))
        WA_TRY(next_audit(s, &audit, err));
    return WA_OK;
}

/* One set: the job's order. */
static void run_in_order(sweep *s)
{
    wa_status status = WA_OK;
    for (size_t i = 0; i < s->chosen_count && !is_stopped(status); i++)
        status = run_one(s, i);
}

/* An audit has been answered for by the root of the set that ran it, or by nobody, after a stop:
 * rank 0 collects. */
static wa_status collect(sweep *s, wa_error *err)
{
    size_t ranks = (size_t)wa_comm_size(s->comm), n = s->chosen_count;
    int32_t *all = NULL;
    WA_TRY(wa_comm_meet(s->comm, err));
    wa_status status =
        is_root(s->comm) ? wa_arena_take(s->arena, ranks * n, sizeof *all, &all, err) : WA_OK;
    WA_TRY(wa_comm_agree(s->comm, status, err));
    WA_TRY(wa_comm_gather(s->comm, s->outcome, n * sizeof *s->outcome, all, err));
    for (size_t i = 0; all != NULL && i < ranks * n; i++)
        if (all[i] != NOT_RUN)
            s->outcome[i % n] = all[i];
    for (size_t i = 0; all != NULL && i < n; i++)
        if (s->outcome[i] == NOT_RUN)
            s->outcome[i] = WA_E_NO_PROGRESS;
    return WA_OK;
}

/* A set without a part is no reason to give up while another set has one. */
static wa_status judge_stop(sweep *s, wa_error *err)
{
    size_t ranks = (size_t)wa_comm_size(s->comm), *all = NULL;
    wa_status status =
        is_root(s->comm) ? wa_arena_take(s->arena, ranks, sizeof *all, &all, err) : WA_OK;
    WA_TRY(wa_comm_agree(s->comm, status, err));
    WA_TRY(wa_comm_gather(s->comm, s->options->parts_added, sizeof *all, all, err));
    bool added = false;
    for (size_t r = 0; all != NULL && r < ranks; r++)
        added = added || all[r] > 0;
    for (size_t i = 0; added && i < s->chosen_count; i++)
        if (s->outcome[i] == WA_E_NO_PROGRESS)
            s->outcome[i] = WA_E_STOPPED;
    return WA_OK;
}

static void print_tables(const sweep *s)
{
    for (size_t i = 0; i < s->chosen_count; i++) {
        wa_error err = {.status = WA_OK};
        if (s->outcome[i] != WA_OK && s->outcome[i] != WA_E_VERDICT)
            continue;
        wa_status status = wa_run_print(s->job, s->chosen[i], s->options, stdout, &err);
        if (status != WA_OK && status != WA_E_VERDICT) {
            wa_error_print(&err);
            s->outcome[i] = (int32_t)status;
        }
    }
}

/* Each audit's table ends with that audit's own exit code; this is the process's. */
static void print_outcome(const sweep *s, int code)
{
    size_t finished = 0, failed = 0;
    for (size_t i = 0; i < s->chosen_count; i++) {
        finished += s->outcome[i] == WA_OK || s->outcome[i] == WA_E_VERDICT ? 1 : 0;
        failed += s->outcome[i] == WA_E_VERDICT ? 1 : 0;
    }
    printf("\nsweep: %zu of %zu audits finished, %zu of them with a verdict that fails; exit code "
           "%d\n",
           finished, s->chosen_count, failed, code);
    fflush(stdout);
}

static wa_status run_chosen(sweep *s, int32_t *code, wa_error *err)
{
    WA_TRY(choose(s, err));
    if (s->chosen_count == 0) {
        if (is_root(s->comm) && !s->options->quiet)
            fprintf(stderr, "no audit is left to run\n");
        return WA_OK;
    }
    wa_status status =
        wa_arena_take(s->arena, s->chosen_count, sizeof *s->outcome, &s->outcome, err);
    WA_TRY(wa_comm_agree(s->comm, status, err));
    memset(s->outcome, NOT_RUN, s->chosen_count * sizeof *s->outcome);
    WA_TRY(record_owed(s, err));
    WA_TRY(divide(s, err));
    if (s->plan->set_count == 1)
        run_in_order(s);
    else
        WA_TRY(run_set(s, err));
    if (s->sets != NULL)
        WA_TRY(wa_run_sets_close(s->sets, err));
    WA_TRY(collect(s, err));
    WA_TRY(judge_stop(s, err));
    if (s->plan->set_count > 1 && is_root(s->comm))
        print_tables(s);
    for (size_t i = 0; is_root(s->comm) && i < s->chosen_count; i++)
        *code = wa_exit_code_graver(*code, wa_status_exit_code((wa_status)s->outcome[i]));
    if (is_root(s->comm) && s->job->audit_count > 1)
        print_outcome(s, *code);
    return wa_comm_broadcast(s->comm, code, sizeof *code, err);
}

/* Whole nodes may have been asked for and paid. */
static void warn_of_idle_tasks(const wa_comm *comm, bool quiet)
{
    char text[512];
    if (is_root(comm) && !quiet &&
        wa_allocation_warning((size_t)wa_comm_size(comm), wa_allocation_tasks(), text, sizeof text))
        fprintf(stderr, "warning: %s\n", text);
}

int wa_run_job(wa_comm *comm, const wa_job *job, const wa_run_options *options)
{
    sweep s = {.comm = comm, .job = job, .options = options};
    wa_error err = {.status = WA_OK};
    int32_t code = 0;
    wa_blas_set_threads(job->threads);
    warn_of_idle_tasks(comm, options->quiet);
    wa_status status = wa_comm_agree(comm, wa_arena_open("sweep", 0, &s.arena, &err), &err);
    if (status == WA_OK)
        status = run_chosen(&s, &code, &err);
    if (status == WA_E_MPI)
        wa_comm_abort(comm, wa_error_print(&err));
    if (status != WA_OK) {
        code = (int32_t)wa_status_exit_code(status);
        if (is_root(comm))
            wa_error_print(&err);
    }
    if (s.part != NULL && s.part != comm)
        wa_comm_leave(s.part);
    wa_arena_close(s.arena);
    return (int)code;
}

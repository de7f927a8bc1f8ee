/* The log of a run. */
#include "run/log.h"

#include "base/json.h"
#include "base/launched.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Between two lines of progress: on a terminal, in a file, and in a file with -v. */
static const double TERMINAL_SECONDS = 0.2, FILE_SECONDS = 30.0, VERBOSE_SECONDS = 1.0;

/* What each rank reports at the end. */
typedef struct rank_report {
    wa_cost cost;
    wa_traffic traffic;     /* of this audit */
    double anonymous_bytes; /* RssAnon of /proc/self/status: mapped weights are not in it */
    /* most that the arenas of the audit ever held, and memory that it made for its team */
    double arena_bytes;
    char host[64];
} rank_report;

struct wa_run_log {
    const wa_comm *comm;
    const wa_run_options *options;
    const wa_run_places *places;
    wa_traffic before; /* what this rank had sent when the audit began */
    const char *prefix;
    bool speaks, terminal;
    double started, last_line;
    double computing; /* since when batches are handed out */
    size_t told;      /* prompts in the last line of progress */
    int shown;        /* characters of the line that is being rewritten; 0 = none is */
    time_t wall_start;
    rank_report *reports; /* [ranks], rank 0, after wa_run_log_costs */
};

/* mpirun hands on what its ranks write, through pipes: what it writes to itself is what counts, and
 * stands in /proc. */
static bool reaches_terminal(void)
{
    char link[64], target[64];
    if (isatty(STDERR_FILENO) != 0 || wa_launched_on_terminal(STDERR_FILENO))
        return true;
    if (getenv("OMPI_COMM_WORLD_SIZE") == NULL)
        return false;
    snprintf(link, sizeof link, "/proc/%ld/fd/2", (long)getppid());
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length <= 0)
        return false;
    target[length] = '\0';
    return strncmp(target, "/dev/pts/", 9) == 0 || strncmp(target, "/dev/tty", 8) == 0;
}

wa_status wa_run_log_open(wa_comm *comm, const wa_run_options *options, const char *prefix,
                          wa_arena *arena, wa_run_log **out, wa_error *err)
{
    wa_run_log *log;
    WA_TRY(wa_arena_take(arena, 1, sizeof *log, &log, err));
    log->comm = comm;
    log->options = options;
    log->speaks = wa_comm_rank(comm) == 0;
    log->prefix = prefix == NULL ? "" : prefix;
    log->terminal = prefix == NULL && log->speaks && reaches_terminal();
    log->started = log->last_line = wa_clock();
    log->wall_start = time(NULL);
    log->before = wa_comm_traffic(comm);
    *out = log;
    return WA_OK;
}

void wa_run_log_places(wa_run_log *log, const wa_run_places *places)
{
    log->places = places;
}

void wa_run_log_line(const wa_run_log *log, const char *format, ...)
{
    if (!log->speaks || log->options->quiet)
        return;
    char line[2048]; /* in one piece, since audits beside this one speak too */
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fprintf(stderr, "%s%s\n", log->prefix, line);
}

void wa_run_log_start(wa_run_log *log, const wa_audit *audit, const wa_plan *plan)
{
    log->computing = log->last_line = wa_clock();
    wa_run_log_line(
        log, "audit %s: %s, %zu layer%s, %zu prompt%s, %zu positions, %zu case%s, %zu batch%s%s",
        audit->request->name, audit->model->family, audit->model->layer_count,
        audit->model->layer_count == 1 ? "" : "s", audit->prompt_count,
        audit->prompt_count == 1 ? "" : "s", audit->obs_count, audit->cases.count,
        audit->cases.count == 1 ? "" : "s", plan->batch_count, plan->batch_count == 1 ? "" : "es",
        plan->work.rows < (double)audit->obs_count ? " of what is missing" : "");
    wa_blas blas = wa_blas_look();
    wa_run_log_line(
        log, "ranks: %d = %d group%s x %d stage%s x %d team%s%s%s; BLAS %s, %d thread%s each",
        plan->grid.used, plan->grid.groups, plan->grid.groups == 1 ? "" : "s", plan->grid.stages,
        plan->grid.stages == 1 ? "" : "s", plan->grid.teams, plan->grid.teams == 1 ? "" : "s",
        plan->grid.spread ? ", experts spread" : "", plan->grid.idle > 0 ? ", others idle" : "",
        blas.core, audit->job->threads, audit->job->threads == 1 ? "" : "s");
    if (plan->grid.idle > 0)
        wa_run_log_line(log, "warning: %d of %d ranks are idle: this audit has no work for them",
                        plan->grid.idle, wa_comm_size(log->comm));
    if (audit->job->kernel_check_was != NULL)
        wa_run_log_line(log, "note: kernel_check: %s of an earlier version is taken as '%s'",
                        audit->job->kernel_check_was,
                        wa_kernel_check_name(audit->job->kernel_check));
    for (size_t i = 0; i < audit->warnings.count; i++)
        wa_run_log_line(log, "warning: %s", audit->warnings.items[i]);
    if (audit->tokenizer != NULL && wa_tokenizer_warning(audit->tokenizer) != NULL)
        wa_run_log_line(log, "warning: %s", wa_tokenizer_warning(audit->tokenizer));
}

/* h:mm:ss, or m:ss below an hour. */
static void print_duration(double seconds, char out[24])
{
    long all = seconds < 1e9 ? lround(seconds) : 1000000000L;
    if (all >= 3600)
        snprintf(out, 24, "%ld:%02ld:%02ld", all / 3600, all / 60 % 60, all % 60);
    else
        snprintf(out, 24, "%ld:%02ld", all / 60, all % 60);
}

/* The time left is that of what is left at the rate so far, rows counted. */
static void print_progress(const wa_progress *p, double elapsed, char *out, size_t size)
{
    char gone[24], left[24] = "?";
    print_duration(elapsed, gone);
    if (p->share > 0.0)
        print_duration(elapsed * (1.0 - p->share) / p->share, left);
    snprintf(out, size, "%3.0f %%: layer %zu of %zu, prompt %zu of %zu, %.3g layers/s, %s, %s left",
             floor(100.0 * p->share), p->layers, p->layer_total, p->prompts, p->prompt_total,
             elapsed > 0.0 ? (double)p->layers / elapsed : 0.0, gone, left);
}

void wa_run_log_progress(wa_run_log *log, const wa_progress *progress)
{
    if (!log->speaks || log->options->quiet)
        return;
    double now = wa_clock();
    double pause = log->terminal           ? TERMINAL_SECONDS
                   : log->options->verbose ? VERBOSE_SECONDS
                                           : FILE_SECONDS;
    bool is_done = progress->prompts == progress->prompt_total && log->told < progress->prompts;
    if (now - log->last_line < pause && !is_done)
        return;
    char line[256];
    log->last_line = now;
    log->told = progress->prompts;
    print_progress(progress, now - log->computing, line, sizeof line);
    if (log->terminal) {
        log->shown = fprintf(stderr, "\r%-*s", log->shown > 0 ? log->shown - 1 : 0, line);
        fflush(stderr);
    } else {
        wa_run_log_line(log, "%s", line);
    }
}

void wa_run_log_end_progress(wa_run_log *log)
{
    if (log->shown > 0)
        fputc('\n', stderr);
    log->shown = 0;
}

static double anonymous_bytes(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    if (file == NULL)
        return 0.0;
    char line[256];
    unsigned long kib = 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "RssAnon: %lu", &kib) == 1)
            break;
    fclose(file);
    return (double)kib * 1024.0;
}

wa_status wa_run_log_costs(wa_run_log *log, wa_comm *comm, const wa_cost *cost, wa_arena *arena,
                           wa_error *err)
{
    rank_report mine = {.cost = *cost,
                        .anonymous_bytes = anonymous_bytes(),
                        .arena_bytes =
                            (double)(wa_arena_high_water(arena) + wa_comm_shared_bytes(comm))};
    wa_traffic now = wa_comm_traffic(comm);
    mine.traffic = (wa_traffic){.messages = now.messages - log->before.messages,
                                .bytes = now.bytes - log->before.bytes,
                                .bytes_to_root = now.bytes_to_root - log->before.bytes_to_root};
    snprintf(mine.host, sizeof mine.host, "%.63s", wa_comm_host(comm));
    wa_status status = WA_OK;
    if (log->speaks)
        status = wa_arena_take(arena, (size_t)wa_comm_size(comm), sizeof mine, &log->reports, err);
    WA_TRY(wa_comm_agree(comm, status, err));
    return wa_comm_gather(comm, &mine, sizeof mine, log->reports, err);
}

static void set(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value);
}

static void set_time(json_t *object, const char *key, time_t when)
{
    struct tm utc;
    char text[32];
    gmtime_r(&when, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    set(object, key, wa_json_text(text));
}

/* As this run cut what was missing, in the order in which it hands them out. */
static void set_batches(json_t *object, const wa_plan *plan)
{
    json_t *first = json_array(), *prompts = json_array();
    for (size_t b = 0; b < plan->batch_count; b++) {
        json_array_append_new(first, json_integer((json_int_t)plan->batches[b].first_prompt));
        json_array_append_new(prompts, json_integer((json_int_t)plan->batches[b].prompt_count));
    }
    set(object, "batches", json_integer((json_int_t)plan->batch_count));
    set(object, "batch_first_prompt", first);
    set(object, "batch_prompts", prompts);
}

static void set_costs(json_t *object, const wa_run_log *log, const wa_plan *plan)
{
    double memory = 0.0, arenas = 0.0, spent = 0.0, waited = 0.0, processor = 0.0, longest = 0.0;
    double lent = 0.0;
    int ranks = wa_comm_size(log->comm);
    for (int p = 0; p < WA_PHASE_COUNT; p++) {
        wa_cost sum = {.seconds = {0.0}};
        for (int r = 0; r < ranks; r++) {
            sum.seconds[p] += log->reports[r].cost.seconds[p];
            sum.flops[p] += log->reports[r].cost.flops[p];
            sum.bytes[p] += log->reports[r].cost.bytes[p];
        }
        spent += sum.seconds[p];
        waited += p == WA_PHASE_WAIT ? sum.seconds[p] : 0.0;
        char key[64];
        snprintf(key, sizeof key, "seconds_%s", wa_phase_name((wa_phase)p));
        set(object, key, json_real(sum.seconds[p]));
        snprintf(key, sizeof key, "flops_%s", wa_phase_name((wa_phase)p));
        set(object, key, json_real(sum.flops[p]));
        snprintf(key, sizeof key, "bytes_%s", wa_phase_name((wa_phase)p));
        set(object, key, json_real(sum.bytes[p]));
    }
    for (int r = 0; r < ranks; r++) {
        memory = fmax(memory, log->reports[r].anonymous_bytes);
        arenas = fmax(arenas, log->reports[r].arena_bytes);
        processor += log->reports[r].cost.processor + log->reports[r].cost.lent;
        lent += log->reports[r].cost.lent;
        longest = fmax(longest, log->reports[r].cost.processor);
    }
    set(object, "processor_seconds", json_real(processor));
    set(object, "processor_seconds_of_busiest", json_real(longest));
    set(object, "processor_seconds_lent", json_real(lent));
    set(object, "predicted_utilisation", json_real(plan->predicted_utilisation));
    set(object, "utilisation",
        json_real(spent > 0.0 ? 1.0 - fmax(waited - lent, 0.0) / spent : 1.0));
    set(object, "anonymous_bytes_per_rank_max", json_real(memory));
    set(object, "arena_bytes_per_rank_max", json_real(arenas));
    wa_traffic sum = {.messages = 0};
    for (int r = 0; r < ranks; r++) {
        sum.messages += log->reports[r].traffic.messages;
        sum.bytes += log->reports[r].traffic.bytes;
        sum.bytes_to_root += log->reports[r].traffic.bytes_to_root;
    }
    set(object, "messages", json_integer(sum.messages));
    set(object, "message_bytes", json_integer(sum.bytes));
    set(object, "message_bytes_to_rank_0", json_integer(sum.bytes_to_root));
    set(object, "wall_seconds", json_real(wa_clock() - log->started));
}

wa_status wa_run_log_write(const wa_run_log *log, wa_parts *parts, const wa_plan *plan, bool at_end,
                           wa_error *err)
{
    json_t *object = json_object();
    set(object, "command", wa_json_text(log->options->command_line));
    set(object, "host", wa_json_text(wa_comm_host(log->comm)));
    set(object, "hosts", json_integer(wa_comm_nodes(log->comm)));
    set(object, "ranks", json_integer(wa_comm_size(log->comm)));
    set(object, "groups", json_integer(plan->grid.groups));
    set(object, "stages", json_integer(plan->grid.stages));
    set(object, "teams", json_integer(plan->grid.teams));
    set(object, "experts", wa_json_text(wa_spreading_word(plan->grid.spread)));
    set(object, "idle", json_integer(plan->grid.idle));
    set_batches(object, plan);
    wa_run_places_describe(log->places, object);
    wa_blas blas = wa_blas_look();
    char mpi[128];
    wa_comm_library(mpi, sizeof mpi);
    set(object, "blas_core", wa_json_text(blas.core));
    set(object, "blas", wa_json_text(blas.config));
    set(object, "mpi", wa_json_text(mpi));
    set(object, "walkaudit", wa_json_text(WALKAUDIT_VERSION));
    const char *job = getenv("SLURM_JOB_ID");
    set(object, "slurm_job_id", wa_json_text(job == NULL ? "" : job));
    set_time(object, "started", log->wall_start);
    set(object, "finished", json_boolean(at_end));
    if (at_end) {
        set_time(object, "ended", time(NULL));
        set_costs(object, log, plan);
    }
    char *text = json_dumps(object, JSON_INDENT(1) | JSON_SORT_KEYS);
    json_decref(object);
    if (text == NULL)
        return wa_fail(err, WA_E_MEMORY, "no memory for the facts of this run");
    wa_status status = wa_parts_write_run(parts, text, err);
    free(text);
    return status;
}

void wa_run_log_finish(const wa_run_log *log, double assembling)
{
    if (!log->speaks || log->reports == NULL)
        return;
    char line[1024] = "";
    size_t at = 0;
    wa_cost sum = {.seconds = {0.0}};
    double all = 0.0;
    for (int r = 0; r < wa_comm_size(log->comm); r++)
        sum.lent += log->reports[r].cost.lent;
    for (int p = 0; p < WA_PHASE_COUNT; p++) {
        for (int r = 0; r < wa_comm_size(log->comm); r++)
            sum.seconds[p] += log->reports[r].cost.seconds[p];
        double seconds = sum.seconds[p];
        all += seconds;
        int length = snprintf(line + at, sizeof line - at, "%s %s %.2f s", p == 0 ? "" : ",",
                              wa_phase_name((wa_phase)p), seconds);
        if (length > 0 && (size_t)length < sizeof line - at)
            at += (size_t)length;
    }
    wa_run_log_line(log, "time of all ranks:%s", line);
    wa_run_log_line(
        log,
        "compute %.2f s, wait %.2f s (core lent %.2f s), gather %.2f s, write %.2f s on "
        "%d ranks; assemble %.2f s; wall %.2f s",
        all - wa_cost_aside(&sum), sum.seconds[WA_PHASE_WAIT], sum.lent,
        sum.seconds[WA_PHASE_GATHER], sum.seconds[WA_PHASE_WRITE], wa_comm_size(log->comm),
        assembling, wa_clock() - log->started);
    for (int r = 0; log->options->verbose && r < wa_comm_size(log->comm); r++) {
        const wa_cost *cost = &log->reports[r].cost;
        double busy = 0.0;
        for (int p = 0; p < WA_PHASE_COUNT; p++)
            busy += cost->seconds[p];
        wa_run_log_line(log,
                        "rank %d on %s: compute %.2f s, wait %.2f s, gather %.2f s, write %.2f s; "
                        "%.0f MB beside the mapped files",
                        r, log->reports[r].host, busy - wa_cost_aside(cost),
                        cost->seconds[WA_PHASE_WAIT], cost->seconds[WA_PHASE_GATHER],
                        cost->seconds[WA_PHASE_WRITE], log->reports[r].anonymous_bytes / 1e6);
    }
}

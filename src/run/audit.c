/* One audit from end to end: open, share, plan, compute, assemble, judge, print. */
#include "run/audit.h"

#include "base/digest.h"
#include "base/mount.h"
#include "base/opened.h"
#include "base/signals.h"
#include "engine/audit.h"
#include "engine/pipeline.h"
#include "path/external.h"
#include "report/modes.h"
#include "report/table.h"
#include "run/judged.h"
#include "run/log.h"
#include "run/payloads.h"
#include "run/places.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

/* One audit on its way. */
typedef struct task {
    wa_comm *comm;
    const wa_run_options *options;
    const wa_run_voice *voice;
    wa_arena *arena;
    wa_audit *audit;
    wa_plan *plan;
    const wa_batch *kept; /* [kept_count] parts that an earlier run left */
    size_t kept_count;
    bool kept_encoding; /* one of them carries the row errors */
    wa_part_mark mark;  /* of this run */
    wa_witness witness; /* of what this rank computes with */
    char *result_path;
    wa_run_log *log;
    wa_run_places *places;
    /* rank 0 only */
    wa_bounds *bounds;
    wa_result_meta meta;
    wa_parts *parts;
    wa_judged judged;
} task;

static bool is_root(const task *t)
{
    return wa_comm_rank(t->comm) == 0;
}

/* --- Inputs ----------------------------------------------------------------------------------- */

/* Rank 0 reads and tokenises; the others need ids and lengths only. */
static wa_status share_prompts(task *t, wa_error *err)
{
    wa_audit *audit = t->audit;
    wa_status status = is_root(t) ? wa_audit_tokenize(audit, err) : WA_OK;
    WA_TRY(wa_comm_agree(t->comm, status, err));
    size_t counts[2] = {audit->prompt_count, audit->obs_count};
    WA_TRY(wa_comm_broadcast(t->comm, counts, sizeof counts, err));
    if (!is_root(t)) {
        audit->prompt_count = counts[0];
        audit->obs_count = counts[1];
        status = wa_arena_take(t->arena, counts[0], sizeof *audit->prompt_rows, &audit->prompt_rows,
                               err);
        if (status == WA_OK)
            status = wa_arena_take(t->arena, counts[1], sizeof *audit->ids, &audit->ids, err);
    }
    WA_TRY(wa_comm_agree(t->comm, status, err));
    WA_TRY(wa_comm_broadcast(t->comm, audit->prompt_rows, counts[0] * sizeof *audit->prompt_rows,
                             err));
    return wa_comm_broadcast(t->comm, audit->ids, counts[1] * sizeof *audit->ids, err);
}

/* Keys name the prompts of a reference dump: with one, every rank has them. Each in so many bytes,
 * the last of them NUL. */
static wa_status share_keys(task *t, wa_error *err)
{
    enum { KEY_BYTES = 256 };
    wa_audit *audit = t->audit;
    char *text;
    const char **key;
    if (audit->request->reference_dump == NULL)
        return WA_OK;
    wa_status status = wa_arena_take(t->arena, audit->prompt_count, KEY_BYTES, &text, err);
    if (status == WA_OK)
        status = wa_arena_take(t->arena, audit->prompt_count, sizeof *key, &key, err);
    WA_TRY(wa_comm_agree(t->comm, status, err));
    for (size_t p = 0; p < audit->prompt_count; p++) {
        key[p] = text + p * KEY_BYTES;
        if (is_root(t))
            /* a key has at most 200 bytes */
            strncpy(text + p * KEY_BYTES, audit->prompt_key[p], KEY_BYTES - 1);
    }
    WA_TRY(wa_comm_broadcast(t->comm, text, audit->prompt_count * KEY_BYTES, err));
    audit->prompt_key = key;
    return WA_OK;
}

/* Collective. Each rank asks the servers of path served by itself: where one URL stands for several
 * of them, they must say the same. */
static wa_status check_servers(const task *t, wa_error *err)
{
    char said[WA_SHA256_HEX], first[WA_SHA256_HEX];
    char *text = "";
    wa_status status = WA_OK;
    for (size_t c = 0; c < t->audit->cases.count && status == WA_OK; c++) {
        const wa_external *external = t->audit->cases.items[c].external;
        if (external != NULL && external->identity != NULL)
            status = wa_arena_print(t->arena, &text, err, "%s%s%s", text,
                                    text[0] == '\0' ? "" : "; ", external->identity);
    }
    if (status == WA_OK)
        status = wa_digest_bytes((wa_bytes){(const uint8_t *)text, strlen(text)}, said, err);
    WA_TRY(wa_comm_agree(t->comm, status, err));
    memcpy(first, said, sizeof first);
    WA_TRY(wa_comm_broadcast(t->comm, first, sizeof first, err));
    if (strcmp(said, first) != 0)
        status =
            wa_fail(err, WA_E_MISMATCH,
                    "path 'served': rank %d found %s, and rank 0 something else; a URL must lead "
                    "all ranks to the same server",
                    wa_comm_rank(t->comm), text);
    return wa_comm_agree(t->comm, status, err);
}

static wa_status build_plan(task *t, wa_error *err)
{
    wa_plan_input input;
    WA_TRY(wa_audit_plan_input(t->audit, wa_comm_nodes(t->comm), wa_run_places_memory(t->places),
                               &input, err));
    input.kept = t->kept;
    input.kept_count = t->kept_count;
    return wa_plan_build(&input, wa_comm_size(t->comm), t->arena, &t->plan, err);
}

static wa_status open_places(task *t, wa_error *err)
{
    WA_TRY(
        wa_run_places_open(t->comm, t->options, t->audit->job->engine, t->arena, &t->places, err));
    char text[512];
    for (size_t at = 0; is_root(t) && wa_run_places_warning(t->places, &at, text, sizeof text);)
        wa_run_log_line(t->log, "warning: %s", text);
    wa_run_log_places(t->log, t->places);
    return WA_OK;
}

static wa_status make_directory(const char *path, wa_error *err)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return wa_fail(err, WA_E_IO, "cannot make the result directory '%s': %s", path,
                       strerror(errno));
    return WA_OK;
}

/* HDF5 locks a file that it reads; this program's own driver takes no such lock, so that only
 * readers of the result fail. */
static void warn_of_locks(const task *t)
{
    const char *kind = wa_mount_without_locks(t->result_path);
    if (kind != NULL && getenv("HDF5_USE_FILE_LOCKING") == NULL)
        wa_run_log_line(t->log,
                        "warning: '%s' lies on %s: if that refuses locks, set "
                        "HDF5_USE_FILE_LOCKING=FALSE for what reads the result",
                        t->result_path, kind);
}

/* Rank 0's preparations: bounds, what the file will say, the parts. */
static wa_status prepare_root(task *t, wa_error *err)
{
    WA_TRY(wa_bounds_open(t->audit->job->bounds, t->arena, &t->bounds, err));
    /* Which host makes which bits is chance: such a result is no other's equal, and only such a run
     * goes on with it. */
    wa_blas blas = wa_blas_look();
    WA_TRY(wa_audit_meta(t->audit, t->options->mixed_cores ? "mixed" : blas.core, &t->meta, err));
    for (size_t v = 0; v < t->meta.dims.vindexes; v++)
        if (t->meta.vindex_lack[v][0] != '\0')
            wa_run_log_line(t->log, "warning: no case of vindex '%s' can run: %s",
                            t->meta.vindex_name[v], t->meta.vindex_lack[v]);
    if (t->options->out_file == NULL)
        WA_TRY(make_directory(t->audit->job->result, err));
    warn_of_locks(t);
    WA_TRY(wa_parts_open(t->result_path, &t->meta, t->options->fresh, t->arena, &t->parts, err));
    if (wa_parts_note(t->parts) != NULL)
        wa_run_log_line(t->log, "note: %s", wa_parts_note(t->parts));
    return WA_OK;
}

/* Collective. Rank 0 tells what its parts directory holds; all plan for what it does not. */
static wa_status share_kept(task *t, wa_error *err)
{
    const wa_batch *kept = NULL;
    wa_batch *copy;
    size_t told[2] = {0, 0};
    if (is_root(t)) {
        t->mark = wa_parts_get_mark(t->parts);
        kept = wa_parts_kept(t->parts, &told[0]);
        told[1] = wa_parts_encoding(t->parts) != NULL;
    }
    WA_TRY(wa_comm_broadcast(t->comm, &t->mark, sizeof t->mark, err));
    WA_TRY(wa_comm_broadcast(t->comm, told, sizeof told, err));
    if (told[0] == 0)
        return WA_OK; /* the plan that is there is of all prompts */
    WA_TRY(wa_comm_agree(t->comm, wa_arena_take(t->arena, told[0], sizeof *copy, &copy, err), err));
    if (kept != NULL) /* on rank 0 */
        memcpy(copy, kept, told[0] * sizeof *copy);
    WA_TRY(wa_comm_broadcast(t->comm, copy, told[0] * sizeof *copy, err));
    t->kept = copy;
    t->kept_count = told[0];
    t->kept_encoding = told[1] != 0;
    return wa_comm_agree(t->comm, build_plan(t, err), err);
}

/* --- Computing -------------------------------------------------------------------------------- */

static void tell_progress(void *context, const wa_progress *progress)
{
    task *t = context;
    if (progress->parts > 0)
        wa_signals_resumable();
    wa_run_log_progress(t->log, progress);
}

static void beat(void *context)
{
    const task *t = context;
    if (t->voice->sets != NULL)
        wa_run_sets_beat(t->voice->sets);
}

/* After a stop. */
static const char *what_goes_on(const wa_run_options *options)
{
    return options->fresh ? "the same command without --fresh resumes it"
                          : "the same command resumes it";
}

static wa_status compute(task *t, wa_cost *cost, wa_error *err)
{
    wa_stage_audit stage_audit = {.model = t->audit->model,
                                  .vindexes = (const wa_vindex *const *)t->audit->vindexes,
                                  .cases = t->audit->cases.items,
                                  .vindex_count = t->audit->vindex_count,
                                  .case_count = t->audit->cases.count,
                                  .max_rows = t->plan->max_rows,
                                  .max_prompts = t->plan->max_prompts,
                                  .topk = wa_audit_dims(t->audit).slots,
                                  .obs_count = t->audit->obs_count,
                                  .engine = t->audit->job->engine,
                                  .kernel_check = t->audit->job->kernel_check,
                                  .encoding_check = t->audit->job->encoding_check,
                                  .dump = t->audit->dump,
                                  .captures = t->audit->captures,
                                  .witness = t->audit->job->fingerprint_full ? NULL : &t->witness,
                                  .captures_owner = {t->result_path, &t->mark}};
    for (size_t p = 0; p < t->audit->prompt_count; p++)
        if (t->audit->prompt_rows[p] > stage_audit.longest_prompt)
            stage_audit.longest_prompt = t->audit->prompt_rows[p];
    wa_pipeline_input input = {.comm = t->comm,
                               .plan = t->plan,
                               .audit = &stage_audit,
                               .dims = wa_audit_dims(t->audit),
                               .ids = t->audit->ids,
                               .prompt_rows = t->audit->prompt_rows,
                               .result_path = t->result_path,
                               .mark = &t->mark,
                               .wants_encoding = !t->kept_encoding,
                               .arena = t->arena,
                               .deadline = t->options->deadline,
                               .grace = t->options->grace,
                               .parts_added = t->options->parts_added,
                               .goes_on = what_goes_on(t->options),
                               .progress = tell_progress,
                               .beat = beat,
                               .context = t};
    bool fatal;
    wa_status status = wa_pipeline_run(&input, cost, &fatal, err);
    wa_run_log_end_progress(t->log);
    if (fatal) {
        wa_note(err, "on rank %d of %d", wa_comm_rank(t->comm), wa_comm_size(t->comm));
        wa_comm_abort(t->comm, wa_error_print(err));
    }
    status = wa_comm_agree(t->comm, status, err);
    wa_error lost = {.status = WA_OK};
    if (wa_comm_broadcast(t->comm, t->options->parts_added, sizeof *t->options->parts_added,
                          &lost) != WA_OK)
        *err = lost;
    return lost.status != WA_OK ? lost.status : status;
}

static wa_status token_text(void *context, int32_t id, wa_arena *arena, char **out, wa_error *err)
{
    const task *t = context;
    return wa_audit_token_text(t->audit, id, arena, out, err);
}

static wa_status tell_modes(const task *t, const wa_result *result, wa_error *err)
{
    for (size_t c = 0; c < result->meta.dims.cases; c++) {
        char *warning;
        WA_TRY(wa_modes_warning(result, c, t->arena, &warning, err));
        if (warning != NULL)
            wa_run_log_line(t->log, "warning: %s", warning);
    }
    return WA_OK;
}

/* Once for all: what is stored is what is printed. */
static wa_status judge(void *context, wa_result *result, wa_error *err)
{
    task *t = context;
    beat(t);
    WA_TRY(tell_modes(t, result, err));
    t->judged = (wa_judged){.result = result, .stored = true};
    WA_TRY(wa_judge(result, t->bounds, t->arena, &t->judged.judgement, err));
    beat(t);
    return wa_judgement_store(t->judged.judgement, result, t->arena, err);
}

static wa_status publish(void *context, const char *temporary, wa_error *err)
{
    const task *t = context;
    return wa_parts_publish(t->parts, temporary, err);
}

/* Collective. Parts may be of both, of what stands there and of what stood there before: whoever goes
 * on, also when the file is back, has them computed anew. */
static wa_status check_inputs(const task *t, wa_error *err)
{
    wa_status status = is_root(t) ? wa_audit_check_inputs(t->audit, err) : WA_OK;
    if (status == WA_OK)
        status = wa_opened_check(err);
    if (status == WA_OK)
        status = wa_witness_check(&t->witness, err);
    status = wa_comm_agree(t->comm, status, err);
    wa_error unwritten;
    if (is_root(t) && status == WA_E_MISMATCH &&
        wa_owed_record(t->result_path, t->audit->job->text, t->mark.run, &unwritten) != WA_OK)
        wa_note(err, "and parts of other bytes cannot be marked: %.200s", unwritten.text);
    return status;
}

static wa_status compute_and_assemble(task *t, wa_error *err)
{
    wa_cost cost = {.seconds = {0.0}};
    wa_run_log_start(t->log, t->audit, t->plan);
    wa_status status = is_root(t) ? wa_run_log_write(t->log, t->parts, t->plan, false, err) : WA_OK;
    WA_TRY(wa_comm_agree(t->comm, status, err));
    /* else an earlier run ended between its last part and the result */
    if (t->plan->batch_count > 0)
        WA_TRY(compute(t, &cost, err));
    WA_TRY(wa_run_log_costs(t->log, t->comm, &cost, t->arena, err));
    WA_TRY(check_inputs(t, err));
    if (is_root(t))
        status = wa_run_log_write(t->log, t->parts, t->plan, true, err);
    WA_TRY(wa_comm_agree(t->comm, status, err));
    wa_assembly_caller caller = {.text = token_text,
                                 .beat = beat,
                                 .judge = judge,
                                 .figures = wa_figure_row,
                                 .publish = publish,
                                 .context = t};
    double start = wa_clock();
    wa_batch *parts;
    status = wa_batches_join(t->kept, t->kept_count, t->plan->batches, t->plan->batch_count,
                             t->audit->prompt_count, t->arena, &parts, err);
    WA_TRY(wa_comm_agree(t->comm, status, err));
    wa_part_list list = {.mark = t->mark,
                         .dims = wa_audit_dims(t->audit),
                         .parts = parts,
                         .count = t->kept_count + t->plan->batch_count};
    status = wa_assemble(t->comm, t->result_path, &list, &t->meta, &caller, t->arena, err);
    WA_TRY(wa_comm_agree(t->comm, status, err));
    wa_run_log_finish(t->log, wa_clock() - start);
    return WA_OK;
}

/* --- Answering -------------------------------------------------------------------------------- */

static wa_status answer(const wa_judged *judged, FILE *table, bool colour, wa_error *err)
{
    if (table != NULL) {
        WA_TRY(wa_table_print(table, judged->result, judged->judgement, colour, err));
        fflush(table);
    }
    if (judged->judgement->exit_code != 0)
        return wa_fail(err, WA_E_VERDICT, "verdict");
    return WA_OK;
}

/* A result that was there already: one verdict everywhere, so what the job's bounds say of it is
 * stored. */
static wa_status judge_finished(task *t, wa_error *err)
{
    wa_judge_order order = {.bounds = t->bounds, .store = true};
    WA_TRY(wa_judge_file(t->result_path, &order, t->arena, &t->judged, err));
    if (!t->judged.was_stored)
        wa_run_log_line(t->log,
                        "note: judged anew by bounds %s, and stored; before, it was judged by "
                        "bounds %s",
                        t->bounds->name, t->judged.result->meta.bounds_name);
    return WA_OK;
}

wa_status wa_run_print(const wa_job *job, size_t index, const wa_run_options *options, FILE *table,
                       wa_error *err)
{
    wa_arena *arena;
    WA_TRY(wa_arena_open("table", 0, &arena, err));
    wa_audit audit = {.job = job, .request = &job->audits[index], .arena = arena};
    wa_judge_order stored = {.store = false};
    wa_judged judged;
    char *path;
    wa_status status = wa_audit_result_path(&audit, NULL, &path, err);
    if (status == WA_OK)
        status = wa_judge_file(path, &stored, arena, &judged, err);
    if (status == WA_OK)
        status = answer(&judged, table, options->colour, err);
    wa_arena_close(arena);
    return status;
}

/* Rank 0 hashes these files again where they were touched, so that no rank needs digests of what it
 * reads there. Other hosts may have files of their own. */
static wa_status list_hashed(task *t, wa_error *err)
{
    wa_bytes *hashed;
    if (wa_comm_nodes(t->comm) > 1)
        return WA_OK;
    WA_TRY(wa_arena_take(t->arena, t->audit->file_count, sizeof *hashed, &hashed, err));
    t->witness.hashed = hashed;
    for (size_t i = 0; i < t->audit->file_count; i++)
        if (t->audit->files[i].vindex >= 0)
            hashed[t->witness.hashed_count++] = wa_opened_find(t->audit->files[i].path);
    return WA_OK;
}

static wa_status run_open_audit(task *t, wa_error *err)
{
    WA_TRY(share_prompts(t, err));
    WA_TRY(share_keys(t, err));
    WA_TRY(wa_comm_agree(t->comm, wa_audit_open_files(t->audit, err), err));
    WA_TRY(check_servers(t, err));
    WA_TRY(wa_comm_agree(t->comm, build_plan(t, err), err));
    WA_TRY(wa_comm_agree(
        t->comm, wa_audit_result_path(t->audit, t->options->out_file, &t->result_path, err), err));
    WA_TRY(wa_run_hash_inputs(t->comm, t->audit, t->log, t->arena, err));
    wa_status status = list_hashed(t, err);
    if (is_root(t) && status == WA_OK)
        status = prepare_root(t, err);
    if (status == WA_OK)
        /* what was fingerprinted by its name is what this rank has mapped, read and loaded */
        status = wa_opened_check(err);
    WA_TRY(wa_comm_agree(t->comm, status, err));
    WA_TRY(share_kept(t, err));

    int32_t finished = is_root(t) && wa_parts_get_state(t->parts) == WA_PARTS_FINISHED;
    WA_TRY(wa_comm_broadcast(t->comm, &finished, sizeof finished, err));
    WA_TRY(wa_run_check_payloads(t->comm, t->audit, t->result_path, &t->meta,
                                 is_root(t) ? t->parts : NULL, t->log, t->arena, err));
    if (finished)
        wa_run_log_line(t->log,
                        "%s is finished and nothing changed: not computed again (--fresh does)",
                        t->result_path);
    else
        WA_TRY(compute_and_assemble(t, err));
    if (is_root(t)) {
        wa_parts_close(t->parts, true);
        t->parts = NULL;
        status = finished ? judge_finished(t, err) : WA_OK;
        if (status == WA_OK)
            status = answer(&t->judged, t->voice->table, t->options->colour, err);
    }
    return wa_comm_agree(t->comm, status, err);
}

/* Collective. Was this run asked to stop, on any rank, between two batches or audits? */
static wa_status check_stop(wa_comm *comm, const wa_run_options *options, wa_error *err)
{
    int heard = wa_signals_heard();
    bool late = options->deadline != 0.0 && wa_clock() >= options->deadline;
    wa_status status = *options->parts_added > 0 ? WA_E_STOPPED : WA_E_NO_PROGRESS;
    bool some = status == WA_E_STOPPED;
    if (heard != 0 || late)
        status = wa_fail(err, status, "stopped by %s%s%s",
                         heard != 0 ? wa_signal_name(heard) : "--max-time", some ? "; " : ", ",
                         some ? what_goes_on(options) : "before any batch was done");
    else
        status = WA_OK;
    return wa_comm_agree(comm, status, err);
}

wa_status wa_run_audit(wa_comm *comm, const wa_job *job, size_t index,
                       const wa_run_options *options, const wa_run_voice *voice, wa_error *err)
{
    task t = {.comm = comm, .options = options, .voice = voice};
    WA_TRY(check_stop(comm, options, err));
    wa_status status = wa_arena_open("audit", options->memory, &t.arena, err);
    if (status == WA_OK)
        status = wa_arena_open("witness", 0, &t.witness.arena, err);
    WA_TRY(wa_comm_agree(comm, status, err));
    status = wa_run_log_open(comm, options, voice->prefix, t.arena, &t.log, err);
    if (status == WA_OK)
        status = wa_audit_open(job, index, t.arena, &t.audit, err);
    status = wa_comm_agree(comm, status, err);
    if (status == WA_OK)
        status = open_places(&t, err);
    if (status == WA_OK)
        status = run_open_audit(&t, err);
    if (t.parts != NULL)
        wa_parts_close(t.parts, false);
    wa_audit_close(t.audit);
    wa_arena_close(t.witness.arena);
    wa_arena_close(t.arena);
    return status;
}

/* Taking a parts directory: the lock, the fingerprint, and which parts are kept. */
#include "store/capture_file.h"
#include "store/part.h"
#include "store/parts.h"
#include "store/result.h"

#include "base/bytes.h"
#include "base/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct wa_parts {
    const char *result_path;
    char directory[WA_NAME_BYTES];
    wa_lock lock;
    wa_parts_state state;
    wa_batch *kept; /* [kept_count] in order of their prompts */
    size_t kept_count, room;
    const wa_batch *encoding;    /* the first of them that carries the row errors; NULL = none */
    size_t run;                  /* K of this run's run-K.json */
    char job[WA_JOB_HASH_BYTES]; /* hash of the fingerprint */
    int captures;                /* number of their folder; WA_CAPTURES_NONE = the job has none */
    int replaces;                /* of that of the result that this job's takes the place of */
    char note[WA_ERROR_TEXT];    /* what was repaired; "" = nothing */
};

static void add_note(wa_parts *parts, const char *text)
{
    size_t used = strlen(parts->note);
    snprintf(parts->note + used, sizeof parts->note - used, "%s%s", used == 0 ? "" : "; ", text);
}

/* --- A result that is already there --- */

static wa_status compare_result(wa_hid file, const wa_result_meta *meta, wa_arena *arena,
                                wa_error *err)
{
    const wa_fingerprint_item *items;
    size_t count;
    WA_TRY(wa_result_fingerprint(file, arena, &items, &count, err));
    return wa_fingerprint_compare(items, count, meta->fingerprint, meta->fingerprint_count, err);
}

static wa_status find_result(const char *path, const wa_result_meta *meta, wa_arena *arena,
                             bool *finished, wa_error *err)
{
    *finished = false;
    if (access(path, F_OK) != 0)
        return WA_OK;
    wa_hid file;
    if (wa_result_file_open(path, &file, err) != WA_OK)
        return wa_note(err, "use --fresh to compute it anew, or another --out");
    wa_status status = compare_result(file, meta, arena, err);
    if (status != WA_OK)
        wa_note(err, "in file '%s'; use --fresh to compute it anew, or another --out", path);
    *finished = status == WA_OK;
    return wa_hdf5_close(file, status, err);
}

/* --- Parts --- */

static wa_status rename_aside(const char *path, wa_error *err)
{
    char aside[WA_NAME_BYTES + 16];
    snprintf(aside, sizeof aside, "%s.damaged", path);
    if (rename(path, aside) != 0)
        return wa_fail(err, WA_E_IO, "cannot rename '%s': %s", path, strerror(errno));
    return WA_OK;
}

/* said: what it is, and what becomes of it */
static wa_status set_aside(wa_parts *parts, const char *path, const char *said, const wa_error *why,
                           wa_error *err)
{
    WA_TRY(rename_aside(path, err));
    char text[WA_ERROR_TEXT + 128];
    snprintf(text, sizeof text, "%s: %s", said, why->text);
    add_note(parts, text);
    return WA_OK;
}

/* The names of a directory come in any order. */
typedef struct finder {
    wa_parts *parts;
    wa_arena *arena;
} finder;

static wa_status find_part(void *context, const char *name, wa_error *err)
{
    const finder *f = context;
    wa_parts *parts = f->parts;
    wa_batch found;
    if (!wa_part_parse(name, &found))
        return WA_OK;
    WA_TRY(wa_arena_grow(f->arena, &parts->kept, parts->kept_count, &parts->room,
                         sizeof *parts->kept, err));
    parts->kept[parts->kept_count++] = found;
    return WA_OK;
}

/* By their first prompts; of several with the same the longest first. */
static int compare_ranges(const void *left, const void *right)
{
    const wa_batch *a = left, *b = right;
    if (a->first_prompt != b->first_prompt)
        return a->first_prompt < b->first_prompt ? -1 : 1;
    return (a->prompt_count < b->prompt_count) - (a->prompt_count > b->prompt_count);
}

/* Observations of the prompts that the name tells. after: what the parts before it leave, from a
 * prompt and its observation on. */
static wa_status place_part(const wa_result_meta *meta, const wa_batch *after, wa_batch *part,
                            const char *path, wa_error *err)
{
    size_t end = part->first_prompt + part->prompt_count; /* of numbers of nine digits */
    if (end > meta->dims.prompts)
        return wa_fail(err, WA_E_FORMAT, "it ends with prompt %zu, the job has %zu; in file '%s'",
                       end - 1, meta->dims.prompts, path);
    if (part->first_prompt < after->first_prompt)
        return wa_fail(err, WA_E_FORMAT, "another part holds prompt %zu, too; in file '%s'",
                       part->first_prompt, path);
    part->first_obs = after->first_obs;
    for (size_t p = after->first_prompt; p < end; p++)
        *(p < part->first_prompt ? &part->first_obs : &part->rows) += (size_t)meta->prompt_rows[p];
    return WA_OK;
}

static bool wants_captures(const wa_result_meta *meta)
{
    return meta->captures != NULL && wa_captures_any(meta->captures);
}

static wa_status check_captures(const wa_parts *parts, const wa_result_meta *meta,
                                const wa_batch *part, wa_arena *arena, wa_error *err)
{
    char folder[WA_NAME_BYTES];
    if (!wants_captures(meta))
        return WA_OK;
    WA_TRY(wa_captures_folder(parts->result_path, parts->captures, folder, err));
    return wa_captures_check(folder, meta->captures, part, arena, err);
}

/* Of the parts that were found, keep those that are whole, of this job, and hold what no other
 * does. */
static wa_status keep_parts(wa_parts *parts, const wa_result_meta *meta, const char *hash,
                            wa_arena *arena, wa_error *err)
{
    size_t kept = 0, found = parts->kept_count;
    wa_batch after = {.first_prompt = 0};
    if (found > 0)
        qsort(parts->kept, found, sizeof *parts->kept, compare_ranges);
    for (size_t i = 0; i < found; i++) {
        char path[WA_NAME_BYTES];
        wa_batch part = parts->kept[i];
        wa_error why = {.status = WA_OK};
        bool encoding = false;
        WA_TRY(wa_part_name(parts->result_path, &part, path, err));
        wa_status status = place_part(meta, &after, &part, path, &why);
        if (status == WA_OK)
            status = wa_part_check(path, hash, &part, &meta->dims, &encoding, arena, &why);
        if (status == WA_OK)
            status = check_captures(parts, meta, &part, arena, &why);
        if (status != WA_OK) {
            WA_TRY(set_aside(parts, path,
                             "a damaged part is set aside and its prompts computed again", &why,
                             err));
            continue;
        }
        after.first_prompt = part.first_prompt + part.prompt_count;
        after.first_obs = part.first_obs + part.rows;
        parts->kept[kept] = part;
        if (encoding && parts->encoding == NULL)
            parts->encoding = &parts->kept[kept];
        kept++;
    }
    parts->kept_count = kept;
    return WA_OK;
}

/* What earlier runs told of themselves goes into the result: it must be readable by then. */
static wa_status keep_runs(wa_parts *parts, wa_error *err)
{
    WA_TRY(wa_parts_count_runs(parts->directory, &parts->run, err));
    for (size_t k = 0; k < parts->run; k++) {
        char path[WA_NAME_BYTES];
        json_t *root;
        wa_error why = {.status = WA_OK};
        WA_TRY(wa_parts_run_name(parts->directory, k, path, err));
        if (!wa_file_exists(path))
            continue;
        if (wa_json_open(path, &root, &why) == WA_OK)
            wa_json_close(root);
        else
            WA_TRY(set_aside(parts, path,
                             "what an earlier run told of itself is damaged and set aside", &why,
                             err));
    }
    return WA_OK;
}

/* What was begun before. */
typedef struct begun_job {
    bool present;
    /* files whose status is another than when the parts were begun, one of a vindex and one of
     * anything else; NULL = none */
    const char *touched_vindex, *touched;
    int captures, replaces; /* folders, as in wa_parts_job */
} begun_job;

static wa_status compare_job(const wa_parts *parts, const wa_result_meta *meta, wa_arena *arena,
                             begun_job *out, wa_error *err)
{
    char path[WA_NAME_BYTES];
    wa_parts_job job = {.hash = NULL};
    *out = (begun_job){.captures = WA_CAPTURES_NONE, .replaces = WA_CAPTURES_NONE};
    WA_TRY(wa_parts_join(parts->directory, "job.json", path, err));
    if (!wa_file_exists(path))
        return WA_OK;
    wa_status status = wa_parts_job_open(parts->directory, arena, &job, err);
    if (status == WA_OK)
        status = wa_fingerprint_compare(job.items, job.item_count, meta->fingerprint,
                                        meta->fingerprint_count, err);
    if (status != WA_OK)
        return wa_note(err, "in '%s'; use --fresh to compute it anew, or another --out",
                       parts->directory);
    *out = (begun_job){.present = true, .captures = job.captures, .replaces = job.replaces};
    out->touched_vindex = wa_fingerprint_touched(job.items, job.item_count, meta->fingerprint,
                                                 meta->fingerprint_count, true);
    out->touched = wa_fingerprint_touched(job.items, job.item_count, meta->fingerprint,
                                          meta->fingerprint_count, false);
    return WA_OK;
}

/* Is there a payload whose bytes the kept parts tell? */
static wa_status has_digests(const wa_parts *parts, const wa_result_meta *meta, wa_arena *arena,
                             bool *out, wa_error *err)
{
    wa_payload_digests digests;
    *out = false;
    if (parts->encoding == NULL)
        return WA_OK;
    WA_TRY(
        wa_payload_digests_load(parts->result_path, meta, parts->encoding, arena, &digests, err));
    for (size_t i = 0; i < digests.count; i++)
        *out = *out || digests.checked[i] == 1;
    return WA_OK;
}

static wa_status set_all_aside(wa_parts *parts, const char *touched, wa_error *err)
{
    for (size_t i = 0; i < parts->kept_count; i++) {
        char path[WA_NAME_BYTES];
        WA_TRY(wa_part_name(parts->result_path, &parts->kept[i], path, err));
        WA_TRY(rename_aside(path, err));
    }
    char text[WA_ERROR_TEXT];
    snprintf(text, sizeof text,
             "what was done is set aside and computed again: '%s' was written, moved or given "
             "other rights since, and no part has digests that tell whether its bytes changed",
             touched);
    add_note(parts, text);
    parts->kept_count = 0;
    parts->encoding = NULL;
    return WA_OK;
}

/*
 * Size, time and both ends of all files are as before, and where a part carries the encoding check,
 * the payloads of vindexes are read again and compared with its digests. Of other files, and without
 * such a part, the status decides: nobody can set it back after an edit.
 */
static wa_status doubt_parts(wa_parts *parts, const wa_result_meta *meta, const begun_job *begun,
                             wa_arena *arena, wa_error *err)
{
    bool told = false;
    if (begun->touched == NULL)
        WA_TRY(has_digests(parts, meta, arena, &told, err));
    if (told || parts->kept_count == 0)
        return WA_OK;
    return set_all_aside(parts, begun->touched != NULL ? begun->touched : begun->touched_vindex,
                         err);
}

/*
 * Of a job that is given up, the folder that goes: its own, or, where a run was killed right after
 * it had published, that of the result before. Any other folder that the result does not show may be
 * shown by one that was given another name: what this directory's jobs did not make, nor replace,
 * stays.
 */
static int captures_of_begun(const wa_parts *parts, wa_arena *arena)
{
    wa_parts_job job;
    int shown = wa_captures_shown(parts->result_path);
    if (shown == WA_CAPTURES_UNKNOWN ||
        wa_parts_job_open(parts->directory, arena, &job, NULL) != WA_OK ||
        job.captures == WA_CAPTURES_NONE)
        return WA_CAPTURES_NONE;
    int goes = job.captures == shown ? job.replaces : job.captures;
    return goes == shown ? WA_CAPTURES_NONE : goes;
}

/* The folder of this job's captures: that of a job that was begun, or a new one, since the result
 * that stands there may show another until the new one takes its name. */
static wa_status choose_captures(wa_parts *parts, const wa_result_meta *meta,
                                 const begun_job *begun, bool finished, wa_error *err)
{
    int shown = wa_captures_shown(parts->result_path);
    bool published = finished && begun->present && begun->captures == shown;
    if (published)
        parts->replaces = begun->replaces;
    else if (shown != WA_CAPTURES_UNKNOWN)
        parts->replaces = shown;
    parts->captures = wants_captures(meta) ? begun->captures : WA_CAPTURES_NONE;
    if (wants_captures(meta) && parts->captures == WA_CAPTURES_NONE)
        WA_TRY(wa_captures_free(parts->result_path, &parts->captures, err));
    return WA_OK;
}

static wa_status prepare_captures(const wa_parts *parts, const wa_result_meta *meta, wa_error *err)
{
    char folder[WA_NAME_BYTES];
    if (!wants_captures(meta))
        return WA_OK;
    WA_TRY(wa_captures_folder(parts->result_path, parts->captures, folder, err));
    return wa_captures_prepare(folder, meta, parts->kept, parts->kept_count, err);
}

/* Under the lock. finished: a result of this job stands there. */
static wa_status take_stock(wa_parts *parts, const wa_result_meta *meta, bool fresh, bool finished,
                            wa_arena *arena, wa_error *err)
{
    begun_job begun;
    char *hash;
    WA_TRY(wa_parts_hash(meta, arena, &hash, err));
    snprintf(parts->job, sizeof parts->job, "%s", hash);
    WA_TRY(wa_parts_remove_stale(parts->directory, err));
    if (fresh) {
        WA_TRY(wa_captures_remove(parts->result_path, captures_of_begun(parts, arena), err));
        WA_TRY(wa_parts_remove_files(parts->directory, err));
    }
    WA_TRY(compare_job(parts, meta, arena, &begun, err));
    WA_TRY(choose_captures(parts, meta, &begun, finished, err));
    finder f = {.parts = parts, .arena = arena};
    WA_TRY(wa_directory_visit(parts->directory, find_part, &f, err));
    WA_TRY(keep_parts(parts, meta, hash, arena, err));
    bool touched = begun.touched != NULL || begun.touched_vindex != NULL;
    if (touched)
        WA_TRY(doubt_parts(parts, meta, &begun, arena, err));
    if (!begun.present || (touched && parts->kept_count == 0) ||
        begun.captures != parts->captures || begun.replaces != parts->replaces)
        WA_TRY(wa_parts_job_write(parts->directory, meta, hash, parts->captures, parts->replaces,
                                  err));
    WA_TRY(prepare_captures(parts, meta, err));
    if (fresh || !begun.present) /* nothing of before is kept, and the job is on the disk */
        WA_TRY(wa_owed_settle(parts->result_path, err));
    parts->state = parts->kept_count > 0 ? WA_PARTS_RESUMED : WA_PARTS_FRESH;
    return keep_runs(parts, err);
}

static wa_status take_directory(wa_parts *parts, const wa_result_meta *meta, bool fresh,
                                bool finished, wa_arena *arena, wa_error *err)
{
    wa_owner before;
    WA_TRY(wa_parts_make_directory(parts->directory, err));
    WA_TRY(wa_lock_take(parts->directory, &parts->lock, &before, err));
    if (before.present) {
        char text[WA_HOST_BYTES + 96];
        snprintf(text, sizeof text, "took over from a run that is gone: host %s, process %ld",
                 before.host, before.process);
        add_note(parts, text);
    }
    wa_status status = take_stock(parts, meta, fresh, finished, arena, err);
    if (status != WA_OK)
        wa_lock_release(&parts->lock);
    return status;
}

/* Beside a result of this job: what a run that was killed while it removed its parts left, or
 * parts of another job. wa_parts_close removes what is locked. */
static void adopt_leftovers(wa_parts *parts, wa_arena *arena)
{
    wa_owner before;
    char path[WA_NAME_BYTES];
    if (!wa_dir_exists(parts->directory))
        return;
    if (wa_lock_take(parts->directory, &parts->lock, &before, NULL) != WA_OK)
        /* its owner is still at it, or nothing can be written here: it may stay */
        parts->lock.fd = -1;
    else if (wa_parts_join(parts->directory, "job.json", path, NULL) == WA_OK &&
             wa_file_exists(path)) {
        parts->replaces = captures_of_begun(parts, arena);
        add_note(parts, "parts of another job, begun beside this job's result, are removed");
    }
}

/* Has a run with --fresh begun this very job beside a result, of this job or of another? */
static bool is_begun(const wa_parts *parts, const wa_result_meta *meta, wa_arena *arena)
{
    begun_job begun;
    return compare_job(parts, meta, arena, &begun, NULL) == WA_OK && begun.present;
}

wa_status wa_parts_open(const char *result_path, const wa_result_meta *meta, bool fresh,
                        wa_arena *arena, wa_parts **out, wa_error *err)
{
    wa_hdf5_quiet();
    wa_parts *parts;
    char *path;
    bool finished = false;
    WA_TRY(wa_arena_take(arena, 1, sizeof *parts, &parts, err));
    WA_TRY(wa_arena_copy(arena, result_path, strlen(result_path), &path, err));
    parts->result_path = path;
    parts->lock.fd = -1;
    parts->captures = parts->replaces = WA_CAPTURES_NONE;
    /* the result takes the name in the end: nothing can take that of a directory, and a device or a
     * FIFO would be gone */
    WA_TRY(wa_regular_or_free(path, err));
    WA_TRY(wa_parts_directory(path, parts->directory, err));
    wa_owed owed = fresh ? WA_OWED_NOT : wa_owed_look(path, meta->job_text);
    bool anew = fresh || owed == WA_OWED_BY_THIS_JOB;
    wa_status status = anew ? WA_OK : find_result(path, meta, arena, &finished, err);
    bool begun = !anew && is_begun(parts, meta, arena);
    anew = anew || (owed == WA_OWED_BY_ANOTHER && (finished || begun));
    if (!begun) /* else the old result stands until the new one takes its name */
        WA_TRY(status);
    if (anew && !fresh)
        add_note(parts, "computed anew: an earlier run asked for that, and did not come to it");
    if (finished && !begun && !anew) {
        parts->state = WA_PARTS_FINISHED;
        adopt_leftovers(parts, arena);
    } else {
        WA_TRY(take_directory(parts, meta, anew, finished, arena, err));
    }
    *out = parts;
    return WA_OK;
}

wa_parts_state wa_parts_get_state(const wa_parts *parts)
{
    return parts->state;
}

wa_part_mark wa_parts_get_mark(const wa_parts *parts)
{
    wa_part_mark mark = {.job = ""};
    if (parts->lock.fd < 0)
        return mark;
    memcpy(mark.job, parts->job, sizeof mark.job);
    memcpy(mark.run, parts->lock.run, sizeof mark.run);
    mark.captures = parts->captures;
    return mark;
}

wa_status wa_parts_publish(wa_parts *parts, const char *temporary, wa_error *err)
{
    int shown = wa_captures_shown(parts->result_path);
    if (shown != parts->replaces && shown != parts->captures)
        parts->replaces =
            WA_CAPTURES_NONE; /* it was given another name meanwhile, and is not replaced */
    wa_passage passage = {.directory = parts->directory, .run = parts->lock.run};
    const wa_gate gate = wa_lock_gate(&passage);
    return wa_file_publish(temporary, parts->result_path, &gate, err);
}

const char *wa_parts_note(const wa_parts *parts)
{
    return parts->note[0] == '\0' ? NULL : parts->note;
}

const wa_batch *wa_parts_kept(const wa_parts *parts, size_t *count)
{
    *count = parts->kept_count;
    return parts->kept;
}

const wa_batch *wa_parts_encoding(const wa_parts *parts)
{
    return parts->encoding;
}

wa_status wa_parts_write_run(wa_parts *parts, const char *json_text, wa_error *err)
{
    char path[WA_NAME_BYTES];
    wa_passage passage = {.directory = parts->directory, .run = parts->lock.run};
    const wa_gate gate = wa_lock_gate(&passage);
    const wa_bytes text = {.data = (const uint8_t *)json_text, .size = strlen(json_text)};
    WA_TRY(wa_parts_run_name(parts->directory, parts->run, path, err));
    return wa_file_write_pieces(path, &text, 1, &gate, err);
}

void wa_parts_close(wa_parts *parts, bool remove_all)
{
    if (parts == NULL || parts->lock.fd < 0)
        return;
    /* What cannot be removed is left: the result is complete, and the next run sees it first. */
    if (remove_all && wa_lock_is_held(&parts->lock)) {
        wa_status tidied = wa_captures_remove(parts->result_path, parts->replaces, NULL);
        if (wa_parts_remove_files(parts->directory, NULL) == WA_OK && tidied == WA_OK)
            wa_lock_remove(&parts->lock, parts->directory);
    }
    wa_lock_release(&parts->lock);
}

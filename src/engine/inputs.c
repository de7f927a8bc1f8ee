/* What decides an audit's numbers: a fingerprint of each, and whether the files are still those it
 * was taken from. */
#include "engine/inputs.h"

#include "path/external.h"
#include "remote/remote.h"

/* Raised when the same inputs would give other numbers than before. */
#define WA_NUMERIC_VERSION "3"

enum { ITEMS_BESIDE_FILES = 12 };

static wa_status case_list(const wa_audit *audit, char **out, wa_error *err)
{
    char *text;
    WA_TRY(wa_arena_print(audit->arena, &text, err, "%zu", audit->cases.count));
    for (size_t c = 0; c < audit->cases.count; c++)
        WA_TRY(wa_arena_print(audit->arena, &text, err, "%s %s=%s:%d", text,
                              audit->cases.items[c].name, wa_path_name(audit->cases.items[c].path),
                              audit->cases.items[c].k));
    /* Who states a bucket decides what the file says; and so does what a kernel is said to be
     * like. */
    for (size_t c = 0; c < audit->cases.count; c++) {
        const wa_case *which = &audit->cases.items[c];
        if (wa_path_is_foreign(which->path))
            WA_TRY(wa_arena_print(audit->arena, &text, err, "%s %s", text,
                                  wa_bucket_name(which->bucket)));
        if (which->external != NULL && which->external->identity != NULL)
            WA_TRY(wa_arena_print(audit->arena, &text, err, "%s served: %s", text,
                                  which->external->identity));
        if (which->decode)
            WA_TRY(wa_arena_print(audit->arena, &text, err, "%s rows decode", text));
        if (which->command != NULL)
            WA_TRY(wa_arena_print(audit->arena, &text, err, "%s by '%s'", text, which->command));
        if (which->like != NULL)
            WA_TRY(wa_arena_print(audit->arena, &text, err, "%s like %s within %g", text,
                                  which->like->name, which->kernel_tolerance));
    }
    *out = text;
    return WA_OK;
}

/* One hash over ids and rows, then chained over every key. */
static wa_status prompts_hash(const wa_audit *audit, char **out, wa_error *err)
{
    char *rows, *hash;
    WA_TRY(wa_fingerprint_bytes(audit->ids, audit->obs_count * sizeof *audit->ids, audit->arena,
                                &hash, err));
    WA_TRY(wa_fingerprint_bytes(audit->prompt_rows,
                                audit->prompt_count * sizeof *audit->prompt_rows, audit->arena,
                                &rows, err));
    WA_TRY(wa_arena_print(audit->arena, &hash, err, "%s %s", hash, rows));
    for (size_t p = 0; p < audit->prompt_count; p++) {
        WA_TRY(wa_arena_print(audit->arena, &hash, err, "%s %s", hash, audit->prompts[p].key));
        WA_TRY(wa_fingerprint_bytes(hash, strlen(hash), audit->arena, &hash, err));
    }
    *out = hash;
    return WA_OK;
}

static wa_status list_files(wa_audit *audit, const char *owner, const char *const *paths,
                            size_t count, wa_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const char *slash = strrchr(paths[i], '/');
        char *key;
        WA_TRY(wa_arena_print(audit->arena, &key, err, "%s: %s", owner,
                              slash == NULL ? paths[i] : slash + 1));
        audit->files[audit->file_count++] =
            (wa_input_file){.path = paths[i], .key = key, .vindex = -1};
    }
    return WA_OK;
}

/* What is kept: tensors, layers, cases. Without captures nothing is said. */
static wa_status captures_text(const wa_audit *audit, const char *settings, char **out,
                               wa_error *err)
{
    const wa_captures *captures = audit->captures;
    char *text;
    WA_TRY(wa_arena_print(audit->arena, &text, err, "%s%s", settings,
                          captures == NULL ? "" : ", captures"));
    for (int t = 0; captures != NULL && t < WA_CAPTURE_TENSORS; t++)
        if (captures->tensor[t])
            WA_TRY(wa_arena_print(audit->arena, &text, err, "%s %s", text,
                                  wa_capture_name((wa_capture_tensor)t)));
    for (size_t l = 0; captures != NULL && l < captures->layer_count; l++)
        if (captures->layer[l])
            WA_TRY(wa_arena_print(audit->arena, &text, err, "%s %zu", text, l));
    for (size_t c = 0; captures != NULL && c < captures->case_count; c++)
        if (captures->of_case[c])
            WA_TRY(wa_arena_print(audit->arena, &text, err, "%s %s", text,
                                  audit->cases.items[c].name));
    *out = text;
    return WA_OK;
}

static wa_status list_command(wa_audit *audit, const char *owner, const wa_case *which,
                              wa_error *err)
{
    const char *files[WA_COMMAND_FILES];
    size_t count;
    WA_TRY(wa_external_command_files(which, audit->arena, files, &count, err));
    return list_files(audit, owner, files, count, err);
}

static wa_status list_all(wa_audit *audit, wa_error *err)
{
    char *owner;
    WA_TRY(list_files(audit, "model", audit->model->files, audit->model->file_count, err));
    for (size_t v = 0; v < audit->vindex_count; v++) {
        const wa_vindex *vindex = audit->vindexes[v];
        WA_TRY(wa_arena_print(audit->arena, &owner, err, "vindex %s",
                              audit->request->vindexes[v].name));
        WA_TRY(list_files(audit, owner, vindex->files, vindex->file_count, err));
    }
    for (size_t c = 0; c < audit->cases.count; c++) {
        const wa_case *which = &audit->cases.items[c];
        const char *source = which->library != NULL ? which->library : which->file;
        WA_TRY(wa_arena_print(audit->arena, &owner, err, "case %s", which->name));
        if (source != NULL)
            WA_TRY(list_files(audit, owner, &source, 1, err));
        if (which->command != NULL)
            WA_TRY(list_command(audit, owner, which, err));
    }
    const char *const *dump = &audit->request->reference_dump;
    return *dump == NULL ? WA_OK : list_files(audit, "reference dump", dump, 1, err);
}

wa_status wa_audit_list_inputs(wa_audit *audit, wa_error *err)
{
    size_t room = audit->model->file_count + WA_COMMAND_FILES * audit->cases.count + 1;
    for (size_t v = 0; v < audit->vindex_count; v++)
        room += audit->vindexes[v]->file_count;
    WA_TRY(wa_arena_take(audit->arena, room, sizeof *audit->files, &audit->files, err));
    audit->file_count = 0;
    WA_TRY(list_all(audit, err));
    WA_TRY(wa_audit_find_checksums(audit, err));
    for (size_t i = 0; i < audit->file_count; i++)
        WA_TRY(wa_file_state_read(audit->files[i].path, &audit->files[i].state, err));
    return WA_OK;
}

/* When the status of a file last changed, if its fingerprint is not of all its bytes. */
static wa_status tell_touched(const wa_audit *audit, const wa_input_file *file, const char **out,
                              wa_error *err)
{
    char *text;
    *out = NULL;
    if (audit->job->fingerprint_full)
        return WA_OK;
    WA_TRY(wa_arena_print(audit->arena, &text, err, "%lld.%09lld",
                          (long long)file->state.status_seconds,
                          (long long)file->state.status_nanoseconds));
    *out = text;
    return WA_OK;
}

/* A fingerprint for each file, so that a refusal names the one that changed. */
static wa_status fingerprint_files(wa_audit *audit, wa_fingerprint_item *items, wa_error *err)
{
    for (size_t i = 0; i < audit->file_count; i++) {
        wa_input_file *file = &audit->files[i];
        char *hash;
        if (file->hash == NULL) {
            WA_TRY(wa_fingerprint_file(file->path, audit->job->fingerprint_full, audit->arena,
                                       &hash, err));
            file->hash = hash;
        }
        items[i] = (wa_fingerprint_item){.key = file->key, .value = file->hash};
        WA_TRY(tell_touched(audit, file, &items[i].touched, err));
    }
    return WA_OK;
}

wa_status wa_audit_fingerprint(wa_audit *audit, const char *blas_core, wa_result_meta *meta,
                               wa_error *err)
{
    const wa_job *job = audit->job;
    wa_fingerprint_item *items;
    if (audit->files == NULL)
        WA_TRY(wa_audit_list_inputs(audit, err));
    size_t n = audit->file_count;
    WA_TRY(wa_arena_take(audit->arena, ITEMS_BESIDE_FILES + n, sizeof *items, &items, err));
    WA_TRY(fingerprint_files(audit, items, err));
    char *prompts, *paths, *numbers;
    WA_TRY(prompts_hash(audit, &prompts, err));
    WA_TRY(case_list(audit, &paths, err));
    WA_TRY(wa_arena_print(
        audit->arena, &numbers, err, "logits %s, topk %zu, kernel_check %s, encoding_check %s",
        job->logits_all ? "all" : "last", job->topk, wa_kernel_check_name(job->kernel_check),
        job->encoding_check ? "all" : "none"));
    if (!job->texts)
        WA_TRY(wa_arena_print(audit->arena, &numbers, err, "%s, texts none", numbers));
    WA_TRY(captures_text(audit, numbers, &numbers, err));
    items[n++] = (wa_fingerprint_item){.key = "prompts", .value = prompts};
    items[n++] = (wa_fingerprint_item){.key = "cases", .value = paths};
    items[n++] =
        (wa_fingerprint_item){.key = "semantics", .value = wa_semantics_name(job->semantics)};
    items[n++] = (wa_fingerprint_item){.key = "ladder", .value = wa_ladder_word(job->ladder)};
    items[n++] = (wa_fingerprint_item){.key = "settings", .value = numbers};
    items[n++] = (wa_fingerprint_item){.key = "engine", .value = wa_engine_name(job->engine)};
    /* its bits are those of a core, of its threads and of the batches; ours are everybody's */
    if (job->engine == WA_ENGINE_BLAS) {
        char *rows, *core, *threads;
        WA_TRY(wa_arena_print(audit->arena, &rows, err, "%zu", job->batch_rows));
        WA_TRY(wa_arena_print(audit->arena, &core, err, "%s", blas_core));
        items[n++] = (wa_fingerprint_item){.key = "blas_core", .value = core};
        WA_TRY(wa_arena_print(audit->arena, &threads, err, "%d", job->threads));
        items[n++] = (wa_fingerprint_item){.key = "batch.rows", .value = rows};
        items[n++] = (wa_fingerprint_item){.key = "threads", .value = threads};
    }
    items[n++] = (wa_fingerprint_item){.key = "numeric_version", .value = WA_NUMERIC_VERSION};
    meta->fingerprint = items;
    meta->fingerprint_count = n;
    return WA_OK;
}

/* Times of bytes can be set back, that of the status cannot: where it alone changed, the file is
 * hashed again. */
static wa_status check_again(const wa_audit *audit, const wa_input_file *file, wa_error *err)
{
    char *hash;
    wa_input_file now = *file;
    WA_TRY(wa_fingerprint_file(file->path, audit->job->fingerprint_full, audit->arena, &hash, err));
    if (file->sum != NULL)
        WA_TRY(wa_audit_take_checksum(audit, &now, audit->arena, err));
    bool differs = file->sum != NULL && (now.sum == NULL || strcmp(now.sum, file->sum) != 0);
    if (differs || (file->hash != NULL && strcmp(hash, file->hash) != 0))
        return wa_fail(err, WA_E_MISMATCH,
                       "an input changed while this run read it, and its time was set back; in "
                       "file '%s'; start again "
                       "with --fresh",
                       file->path);
    return WA_OK;
}

wa_status wa_audit_check_inputs(const wa_audit *audit, wa_error *err)
{
    for (size_t c = 0; audit->externals != NULL && c < audit->cases.count; c++)
        if (audit->externals[c] != NULL && audit->externals[c]->check != NULL)
            WA_TRY(audit->externals[c]->check(audit->externals[c], err));
    for (size_t i = 0; i < audit->file_count; i++) {
        const wa_input_file *file = &audit->files[i];
        const wa_file_state *then = &file->state;
        wa_file_state now;
        if (wa_file_state_read(file->path, &now, err) != WA_OK)
            return wa_note(err, "an input of this run is gone; put it back and run again to go on "
                                "with what is done");
        if (now.size != then->size || now.seconds != then->seconds ||
            now.nanoseconds != then->nanoseconds)
            return wa_fail(err, WA_E_MISMATCH,
                           "an input changed while this run read it: found %lld bytes, expected "
                           "%lld of the time "
                           "before; in file '%s'; start again with --fresh",
                           (long long)now.size, (long long)then->size, file->path);
        if (now.status_seconds != then->status_seconds ||
            now.status_nanoseconds != then->status_nanoseconds)
            WA_TRY(check_again(audit, file, err));
    }
    return WA_OK;
}

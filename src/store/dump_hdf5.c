/* Reading a reference dump: SEMANTICS/PROMPT/{token_id, x, y, logits}. */
#include "base/opened.h"
#include "store/dump.h"
#include "store/foreign.h"
#include "store/guard.h"

#include <hdf5.h>
#include <stdio.h>
#include <string.h>

static const char *const NAMES[WA_DUMP_TENSORS] = {
    [WA_DUMP_X] = "x", [WA_DUMP_Y] = "y", [WA_DUMP_LOGITS] = "logits"};

typedef struct dumped_prompt {
    bool there;
    wa_hid tensor[WA_DUMP_TENSORS];
} dumped_prompt;

struct wa_dump {
    char *path;
    wa_hid file;
    dumped_prompt *prompts; /* [prompt_count] */
    size_t prompt_count;
};

/* A key as the name of a group: '/' and '%', and a '.' that stands alone, would mean something else
 * to HDF5. */
static wa_status group_name(const wa_dump_subject *subject, size_t prompt, wa_arena *arena,
                            char **out, wa_error *err)
{
    const char *key = subject->key[prompt];
    char *name;
    size_t at = 0;
    WA_TRY(wa_arena_take(arena, 3 * strlen(key) + 1, 1, &name, err));
    for (const char *c = key; *c != '\0'; c++) {
        if (*c == '/' || *c == '%' || strcmp(key, ".") == 0)
            at += (size_t)snprintf(name + at, 4, "%%%02X", (unsigned)(unsigned char)*c);
        else
            name[at++] = *c;
    }
    return wa_arena_print(arena, out, err, "%s/%s", subject->semantics, name);
}

static wa_status check_ids(const wa_dump *dump, const char *group, const int32_t *ids, size_t rows,
                           wa_arena *arena, wa_error *err)
{
    char *name;
    int32_t *found;
    WA_TRY(wa_arena_print(arena, &name, err, "%s/token_id", group));
    WA_TRY(wa_arena_take(arena, rows, sizeof *found, &found, err));
    WA_TRY(wa_foreign_read(dump->file, name, false, &rows, 1, found, err));
    for (size_t i = 0; i < rows; i++)
        if (found[i] != ids[i])
            return wa_fail(err, WA_E_MISMATCH,
                           "dataset '%s': found id %d at position %zu, the job's prompt has %d",
                           name, (int)found[i], i, (int)ids[i]);
    return WA_OK;
}

static bool has(const wa_dump *dump, const char *group)
{
    wa_guard_enter();
    bool there = H5Lexists(dump->file, group, H5P_DEFAULT) > 0;
    wa_guard_leave();
    return there;
}

static wa_status open_prompt(wa_dump *dump, const wa_dump_subject *subject, size_t prompt,
                             const int32_t *ids, wa_arena *arena, wa_error *err)
{
    size_t rows = subject->rows[prompt];
    const size_t shapes[WA_DUMP_TENSORS][3] = {{subject->layers, rows, subject->hidden},
                                               {subject->layers, rows, subject->hidden},
                                               {rows, subject->vocab, 0}};
    dumped_prompt *out = &dump->prompts[prompt];
    char *group, *name;
    WA_TRY(group_name(subject, prompt, arena, &group, err));
    if (!has(dump, group))
        return WA_OK;
    WA_TRY(check_ids(dump, group, ids, rows, arena, err));
    for (int t = 0; t < WA_DUMP_TENSORS; t++) {
        WA_TRY(wa_arena_print(arena, &name, err, "%s/%s", group, NAMES[t]));
        WA_TRY(wa_foreign_open(dump->file, name, true, shapes[t], t == WA_DUMP_LOGITS ? 2 : 3,
                               &out->tensor[t], err));
    }
    out->there = true;
    return WA_OK;
}

/* Dumps from before LARQL computed in two ways have a group `larql` for the first. */
static const char *group_of(const wa_dump *dump, const char *semantics)
{
    static const char OLD[] = "larql", NOW[] = "larql-2026-05";
    return strcmp(semantics, NOW) == 0 && !has(dump, NOW) && has(dump, OLD) ? OLD : semantics;
}

static wa_status open_prompts(wa_dump *dump, const wa_dump_subject *of, wa_arena *arena,
                              wa_error *err)
{
    size_t at = 0, there = 0;
    wa_dump_subject named = *of;
    const wa_dump_subject *subject = &named;
    named.semantics = group_of(dump, of->semantics);
    if (!has(dump, subject->semantics))
        return wa_fail(err, WA_E_FORMAT,
                       "there is no group '%s', expected one of the job's semantics",
                       subject->semantics);
    for (size_t p = 0; p < subject->prompts; p++) {
        WA_TRY(open_prompt(dump, subject, p, subject->ids + at, arena, err));
        at += subject->rows[p];
        there += dump->prompts[p].there;
    }
    WA_TRY(wa_hdf5_check_reads(dump->file, err));
    if (there == 0)
        return wa_fail(err, WA_E_MISMATCH,
                       "group '%s' has none of the job's %zu prompts, expected '%s' or another",
                       subject->semantics, subject->prompts,
                       subject->prompts > 0 ? subject->key[0] : "");
    return WA_OK;
}

wa_status wa_dump_open(const char *path, const wa_dump_subject *subject, wa_arena *arena,
                       wa_dump **out, wa_error *err)
{
    wa_dump *dump;
    wa_hdf5_quiet();
    WA_TRY(wa_arena_take(arena, 1, sizeof *dump, &dump, err));
    WA_TRY(wa_arena_copy(arena, path, strlen(path), &dump->path, err));
    WA_TRY(wa_arena_take(arena, subject->prompts, sizeof *dump->prompts, &dump->prompts, err));
    dump->prompt_count = subject->prompts;
    for (size_t p = 0; p < subject->prompts; p++)
        for (int t = 0; t < WA_DUMP_TENSORS; t++)
            dump->prompts[p].tensor[t] = -1;
    wa_status status = wa_hdf5_open(path, false, &dump->file, err);
    if (status != WA_OK)
        return wa_note(err, "in reference dump '%s'", path);
    status = wa_hdf5_keep(dump->file, dump, path, err);
    if (status == WA_OK)
        status = open_prompts(dump, subject, arena, err);
    if (status != WA_OK) {
        wa_dump_close(dump);
        return wa_note(err, "in reference dump '%s'", path);
    }
    *out = dump;
    return WA_OK;
}

void wa_dump_close(wa_dump *dump)
{
    if (dump == NULL || dump->file < 0)
        return;
    wa_opened_forget(dump);
    for (size_t p = 0; p < dump->prompt_count; p++)
        for (int t = 0; t < WA_DUMP_TENSORS; t++)
            if (dump->prompts[p].tensor[t] >= 0)
                H5Dclose(dump->prompts[p].tensor[t]);
    (void)(wa_hdf5_close(dump->file, WA_OK, NULL) == WA_OK); /* it was only read */
    dump->file = -1;
}

bool wa_dump_has(const wa_dump *dump, size_t prompt)
{
    return prompt < dump->prompt_count && dump->prompts[prompt].there;
}

wa_status wa_dump_read(const wa_dump *dump, wa_dump_tensor tensor, size_t prompt, size_t layer,
                       size_t position, size_t first, size_t count, double *out, wa_error *err)
{
    bool logits = tensor == WA_DUMP_LOGITS;
    wa_hid dataset = dump->prompts[prompt].tensor[tensor];
    wa_guard_file(dump->path);
    wa_ids ids = {.count = 0};
    hsize_t start[3] = {layer, position, first}, extent[3] = {1, 1, count};
    int rank = logits ? 2 : 3;
    wa_status status = WA_OK;
    hid_t memory = wa_ids_keep(&ids, H5Screate_simple(rank, extent + (logits ? 1 : 0), NULL));
    hid_t space = wa_ids_keep(&ids, H5Dget_space(dataset));
    if (memory < 0 || space < 0 ||
        H5Sselect_hyperslab(space, H5S_SELECT_SET, start + (logits ? 1 : 0), NULL,
                            extent + (logits ? 1 : 0), NULL) < 0 ||
        H5Dread(dataset, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, out) < 0) {
        status = wa_hdf5_failed(err, WA_E_FORMAT, "cannot read dataset", NAMES[tensor]);
        wa_note(err, "prompt %zu in reference dump '%s'", prompt, dump->path);
    }
    return wa_ids_close(&ids, status, err);
}

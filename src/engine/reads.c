/* Which files of each vindex the cases read, and why no case of one runs. */
#include "engine/inputs.h"
#include "vindex/inventory.h"
#include "vindex/order.h"
#include "vindex/scan.h"

/* --- Files */

/* Matrices carry the name of the file that they lie in; those of a case have one name at every
 * layer that has features. */
static wa_status names_of_case(const wa_audit *audit, const wa_case *which, const char *names[4],
                               wa_error *err)
{
    const wa_vindex *vindex = audit->vindexes[which->vindex];
    wa_walk_layer weights;
    size_t layer = 0;
    while (layer + 1 < vindex->layer_count && vindex->layers[layer].features == 0)
        layer++;
    WA_TRY(wa_case_open_layer(which, audit->model, vindex, layer, &weights, err));
    const wa_matrix *own[WA_PROJECTION_COUNT] = {&weights.gate, &weights.up, &weights.down};
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        names[p] = which->source[p].from_model ? NULL : own[p]->name;
    names[WA_PROJECTION_COUNT] = weights.select.rows == 0 ? NULL : weights.select.name;
    return WA_OK;
}

static bool is_manifest_of(const char *manifest, const char *file)
{
    static const char end[] = "_manifest.json";
    size_t stem = strlen(file) - strlen(".bin");
    return strlen(file) > strlen(".bin") && strncmp(manifest, file, stem) == 0 &&
           strcmp(manifest + stem, end) == 0;
}

/* Is it an entry, "NAME" or of a directory "NAME/", or does it lie in that directory? */
static bool is_of_entry(const wa_vindex_entry *entry, const char *file)
{
    size_t length = strlen(entry->name);
    bool directory = length > 0 && entry->name[length - 1] == '/';
    return directory ? strncmp(file, entry->name, length) == 0 : strcmp(file, entry->name) == 0;
}

static void mark(const wa_vindex_entry *entries, size_t count, const char *file, bool *read)
{
    for (size_t i = 0; file != NULL && i < count; i++)
        if (is_of_entry(&entries[i], file) || is_manifest_of(entries[i].name, file))
            read[i] = true;
}

/* Files of experts, of routers and of their biases, which have no matrix of a layer; the latter are
 * found by the weight manifest. */
static void mark_experts(const wa_vindex *vindex, const wa_case *which,
                         const wa_vindex_entry *entries, size_t count, bool *read)
{
    static const struct {
        wa_payload payload;
        const char *files[2];
    } kinds[] = {{WA_PAYLOAD_EXPERTS, {"layers/"}},
                 {WA_PAYLOAD_ROUTER, {"norms.bin", "weight_manifest.json"}},
                 {WA_PAYLOAD_BIASES, {"norms.bin", "weight_manifest.json"}}};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        for (size_t f = 0; f < 2 && vindex->present[kinds[k].payload] &&
                           wa_case_reads_payload(which, kinds[k].payload, WA_UP);
             f++)
            mark(entries, count, kinds[k].files[f], read);
}

static wa_status mark_read(const wa_audit *audit, size_t v, const wa_vindex_entry *entries,
                           size_t count, bool *read, wa_error *err)
{
    mark(entries, count, "index.json", read);
    if (audit->vindexes[v]->checkpoint != NULL) { /* opened as a model is: whole */
        memset(read, 1, count * sizeof *read);
        return WA_OK;
    }
    for (size_t c = 0; c < audit->cases.count; c++) {
        const char *names[WA_PROJECTION_COUNT + 1];
        if (audit->cases.items[c].vindex != (int)v || audit->cases.items[c].not_run != NULL)
            continue;
        WA_TRY(names_of_case(audit, &audit->cases.items[c], names, err));
        for (int i = 0; i <= WA_PROJECTION_COUNT; i++)
            mark(entries, count, names[i], read);
        mark_experts(audit->vindexes[v], &audit->cases.items[c], entries, count, read);
    }
    return WA_OK;
}

/* A payload: index.json and manifests have no checksums, a checkpoint has no list of them. */
static bool may_have_checksum(const wa_vindex *vindex, const char *name)
{
    const char *end = strrchr(name, '.');
    return vindex->checkpoint == NULL && end != NULL &&
           (strcmp(end, ".bin") == 0 || strcmp(end, ".weights") == 0);
}

/* What an input file is called inside a vindex; NULL: it is none of its files. */
static const char *name_inside(const wa_vindex *vindex, const wa_input_file *file)
{
    size_t directory = strlen(vindex->path);
    bool inside = strncmp(file->path, vindex->path, directory) == 0 && file->path[directory] == '/';
    return inside ? file->path + directory + 1 : NULL;
}

wa_status wa_audit_find_checksums(wa_audit *audit, wa_error *err)
{
    for (size_t v = 0; v < audit->vindex_count; v++) {
        const wa_vindex *vindex = audit->vindexes[v];
        wa_vindex_entry *entries;
        size_t count;
        bool *read;
        WA_TRY(wa_vindex_inventory(vindex, audit->arena, &entries, &count, err));
        WA_TRY(wa_arena_take(audit->arena, count, sizeof *read, &read, err));
        WA_TRY(mark_read(audit, v, entries, count, read, err));
        for (size_t i = 0; i < audit->file_count; i++) {
            const char *name = name_inside(vindex, &audit->files[i]);
            if (name == NULL || !may_have_checksum(vindex, name) ||
                !wa_vindex_has_checksum(vindex, name))
                continue;
            for (size_t e = 0; e < count; e++)
                if (read[e] && is_of_entry(&entries[e], name))
                    audit->files[i].vindex = (int)v;
        }
    }
    return WA_OK;
}

wa_status wa_audit_take_checksum(const wa_audit *audit, wa_input_file *file, wa_arena *arena,
                                 wa_error *err)
{
    const wa_vindex *vindex = audit->vindexes[file->vindex];
    wa_vindex_checksum sum;
    WA_TRY(wa_vindex_verify_file(vindex, file->path + strlen(vindex->path) + 1, arena, &sum, err));
    file->checksum = (int)sum.state;
    file->sum = sum.found;
    return WA_OK;
}

/* How a file that a case reads, or all files of such a directory, stand to index.json's checksums.
 * LARQL's name the gate file alone among payloads. */
static const char *checksum_words(const wa_audit *audit, size_t v, const wa_vindex_entry *entry)
{
    const wa_vindex *vindex = audit->vindexes[v];
    const char *words = "";
    for (size_t i = 0; i < audit->file_count; i++) {
        const wa_input_file *file = &audit->files[i];
        const char *name = name_inside(vindex, file);
        if (name == NULL || !is_of_entry(entry, name) || !may_have_checksum(vindex, name))
            continue;
        if (file->vindex >= 0 && file->checksum == WA_CHECKSUM_DIFFERS)
            return ", SHA-256 differs from index.json";
        if (file->vindex < 0)
            words = ", no SHA-256 in index.json";
        else if (words[0] == '\0' && file->checksum == WA_CHECKSUM_EQUAL)
            words = ", SHA-256 as in index.json";
    }
    return words;
}

/* One line per entry; a directory of very many says how many are left out. */
enum { MOST_LINES = 200 };

static wa_status file_lines(const wa_audit *audit, size_t v, const wa_vindex_entry *entries,
                            size_t count, const bool *read, const char **out, wa_error *err)
{
    wa_arena *arena = audit->arena;
    char *text = "";
    for (size_t i = 0; i < count && i < MOST_LINES; i++) {
        const wa_vindex_entry *e = &entries[i];
        const char *before = i == 0 ? "" : "\n";
        if (read[i]) {
            WA_TRY(wa_arena_print(arena, &text, err, "%s%s%s: read%s", text, before, e->name,
                                  checksum_words(audit, v, e)));
        } else if (e->what != NULL) {
            WA_TRY(wa_arena_print(arena, &text, err, "%s%s%s: not read: %s", text, before, e->name,
                                  e->what));
        } else {
            WA_TRY(wa_arena_print(arena, &text, err, "%s%s%s: unknown%s%s", text, before, e->name,
                                  e->like == NULL ? "" : ", like ",
                                  e->like == NULL ? "" : e->like));
        }
    }
    if (count > MOST_LINES)
        WA_TRY(wa_arena_print(arena, &text, err, "%s\n(%zu more)", text, count - MOST_LINES));
    *out = text;
    return WA_OK;
}

/* --- Why nothing runs */

static bool runs(const wa_cases *cases, size_t v)
{
    for (size_t c = 0; c < cases->count; c++)
        if (cases->items[c].vindex == (int)v && cases->items[c].not_run == NULL)
            return true;
    return false;
}

/* Would any path run, had the job not chosen? */
static wa_status could_run(const wa_audit *audit, size_t v, bool *out, wa_error *err)
{
    wa_case_input input = {.name = audit->request->vindexes[v].name,
                           .vindex = audit->vindexes[v],
                           .ladder = audit->job->ladder};
    wa_cases cases;
    WA_TRY(wa_cases_build(&input, 1, audit->model, audit->arena, &cases, err));
    *out = runs(&cases, 0);
    return WA_OK;
}

/* A file in which a payload could have been meant. */
static wa_status find_damage(const wa_audit *audit, size_t v, const wa_vindex_entry *entries,
                             size_t count, const char **out, wa_error *err)
{
    char *text = NULL;
    for (size_t i = 0; i < count && text == NULL; i++)
        if (entries[i].like != NULL)
            WA_TRY(wa_arena_print(audit->arena, &text, err, "unknown file %s, where %s is missing",
                                  entries[i].name, entries[i].like));
    for (int p = 0; p < WA_PAYLOAD_COUNT && text == NULL; p++)
        if (audit->vindexes[v]->unusable[p] != NULL)
            WA_TRY(wa_arena_print(audit->arena, &text, err, "%s %s",
                                  wa_vindex_file(audit->vindexes[v], (wa_payload)p),
                                  audit->vindexes[v]->unusable[p]));
    *out = text;
    return WA_OK;
}

/* What its first case says, or else the first path that it does not offer. */
static const char *first_reason(const wa_audit *audit, size_t v)
{
    for (size_t c = 0; c < audit->cases.count; c++)
        if (audit->cases.items[c].vindex == (int)v && audit->cases.items[c].not_run != NULL)
            return audit->cases.items[c].not_run;
    for (size_t i = 0; i < audit->cases.not_offered_count; i++)
        if (audit->cases.not_offered[i].vindex == (int)v)
            return audit->cases.not_offered[i].reason;
    return "no path was asked for";
}

static wa_status find_lack(const wa_audit *audit, size_t v, const wa_vindex_entry *entries,
                           size_t count, const char **lack, int8_t *left_out, wa_error *err)
{
    const char *damage;
    char *text;
    bool able;
    *lack = "";
    *left_out = 0;
    if (runs(&audit->cases, v))
        return WA_OK;
    WA_TRY(find_damage(audit, v, entries, count, &damage, err));
    WA_TRY(could_run(audit, v, &able, err));
    *left_out = able && damage == NULL;
    const char *before = *left_out ? "it runs no path that the job names" : damage,
               *reason = first_reason(audit, v);
    bool says_both = before == NULL || strstr(reason, before) != NULL;
    WA_TRY(wa_arena_print(audit->arena, &text, err, "%s%s%s", says_both ? "" : before,
                          says_both ? "" : "; ", reason));
    *lack = text;
    return WA_OK;
}

/* The name of each payload's file, "" where the vindex has none, and its element orders. */
static wa_status tell_payloads(const wa_audit *audit, wa_result_meta *meta, wa_error *err)
{
    const char **names, **orders;
    size_t count;
    if (!wa_size_mul(audit->vindex_count, WA_PAYLOAD_COUNT, &count))
        return wa_fail(err, WA_E_MEMORY, "%zu vindexes", audit->vindex_count);
    WA_TRY(wa_arena_take(audit->arena, count, sizeof *names, &names, err));
    WA_TRY(wa_arena_take(audit->arena, count, sizeof *orders, &orders, err));
    for (size_t i = 0; i < count; i++) {
        const wa_vindex *vindex = audit->vindexes[i / WA_PAYLOAD_COUNT];
        wa_payload payload = (wa_payload)(i % WA_PAYLOAD_COUNT);
        names[i] = vindex->present[payload] ? wa_vindex_file(vindex, payload) : "";
        WA_TRY(wa_vindex_tell_orders(vindex, payload, audit->arena, &orders[i], err));
    }
    meta->payload_file = names;
    meta->payload_order = orders;
    return WA_OK;
}

wa_status wa_audit_reads(const wa_audit *audit, wa_result_meta *meta, wa_error *err)
{
    const char **files, **lack;
    int8_t *left_out;
    WA_TRY(wa_arena_take(audit->arena, audit->vindex_count, sizeof *files, &files, err));
    WA_TRY(wa_arena_take(audit->arena, audit->vindex_count, sizeof *lack, &lack, err));
    WA_TRY(wa_arena_take(audit->arena, audit->vindex_count, 1, &left_out, err));
    for (size_t v = 0; v < audit->vindex_count; v++) {
        wa_vindex_entry *entries;
        size_t count;
        bool *read;
        WA_TRY(wa_vindex_inventory(audit->vindexes[v], audit->arena, &entries, &count, err));
        WA_TRY(wa_arena_take(audit->arena, count, sizeof *read, &read, err));
        WA_TRY(mark_read(audit, v, entries, count, read, err));
        WA_TRY(file_lines(audit, v, entries, count, read, &files[v], err));
        WA_TRY(find_lack(audit, v, entries, count, &lack[v], &left_out[v], err));
    }
    WA_TRY(tell_payloads(audit, meta, err));
    meta->vindex_files = files;
    meta->vindex_lack = lack;
    meta->vindex_left_out = left_out;
    return WA_OK;
}

/* Jobs: the raw job judged, names and paths resolved, to a wa_job. */
#include "job/job_load.h"

#include "base/spell.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { NAME_LIMIT = 100, KEY_TEXT = 200, TIMEOUT = 300, TIMEOUT_MAX = 86400 };

/* --- Strings --------------------------------------------------------------------------------- */

wa_status wa_job_stem(const char *path, wa_arena *arena, char **out, wa_error *err)
{
    static const char *const suffixes[] = {".gguf", ".vindex", ".yaml", ".yml"};
    size_t length;
    const char *name = wa_last_name(path, &length);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        size_t size = strlen(suffixes[i]);
        if (length > size && strncmp(name + length - size, suffixes[i], size) == 0) {
            length -= size;
            break;
        }
    }
    return wa_arena_copy(arena, name, length, out, err);
}

static wa_status take_directory(const char *path, wa_arena *arena, const char **out, wa_error *err)
{
    const char *slash = strrchr(path, '/');
    char *copy;
    size_t length = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    WA_TRY(wa_arena_copy(arena, length == 0 ? "." : path, length == 0 ? 1 : length, &copy, err));
    *out = copy;
    return WA_OK;
}

/* Whether DIRECTORY/.. is what remains when its last name is cut off: no link, no dots. */
static bool can_go_up(const char *directory)
{
    const char *slash = strrchr(directory, '/'), *last = slash == NULL ? directory : slash + 1;
    struct stat about;
    return last[0] != '\0' && strcmp(last, ".") != 0 && strcmp(last, "..") != 0 &&
           lstat(directory, &about) == 0 && S_ISDIR(about.st_mode);
}

/* Paths in a job start at the job file's directory. `jobs` and `../models` are `models`, which is
 * what a reader would write. */
static wa_status resolve(const char *directory, const char *path, wa_arena *arena, const char **out,
                         wa_error *err)
{
    char *joined;
    while (strncmp(path, "../", 3) == 0 && can_go_up(directory)) {
        WA_TRY(take_directory(directory, arena, &directory, err));
        path += 3 + strspn(path + 3, "/");
        path = *path == '\0' ? "." : path;
    }
    bool as_is = path[0] == '/' || strcmp(directory, ".") == 0;
    bool root = strcmp(directory, "/") == 0;
    WA_TRY(wa_arena_print(arena, &joined, err, "%s%s%s", as_is ? "" : directory,
                          as_is || root ? "" : "/", path));
    *out = joined;
    return WA_OK;
}

/* --- Values ---------------------------------------------------------------------------------- */

static wa_status check_range(const wa_job_source *source, const char *key, int64_t value,
                             int64_t least, int64_t most, wa_error *err)
{
    if (value >= least && value <= most)
        return WA_OK;
    return WA_JOB_FAIL(source, key, err, "'%s' is %lld, expected %lld to %lld", key,
                       (long long)value, (long long)least, (long long)most);
}

static wa_status check_choice(const wa_job_source *source, const char *key, const char *value,
                              const char *first, const char *second, wa_error *err)
{
    if (strcmp(value, first) == 0 || (second != NULL && strcmp(value, second) == 0))
        return WA_OK;
    return WA_JOB_FAIL(source, key, err, "'%s' is '%s', expected '%s'%s%s%s", key, value, first,
                       second == NULL ? "" : " or '", second == NULL ? "" : second,
                       second == NULL ? "" : "'");
}

/* True for a number, which an earlier version read as so many positions of the first batch, -1 as
 * all of every batch. The word must have been checked. */
static bool read_kernel_check(const char *word, wa_kernel_check *out)
{
    for (int i = WA_KERNEL_NONE; i <= WA_KERNEL_ALL; i++)
        if (strcmp(word, wa_kernel_check_name((wa_kernel_check)i)) == 0) {
            *out = (wa_kernel_check)i;
            return false;
        }
    *out = word[0] == '-'           ? WA_KERNEL_ALL
           : strcmp(word, "0") == 0 ? WA_KERNEL_NONE
                                    : WA_KERNEL_SAMPLE;
    return true;
}

static wa_status check_kernel_check(const wa_job_source *source, const char *word, wa_error *err)
{
    wa_kernel_check ignored;
    size_t digits = strspn(word, "0123456789");
    bool number =
        digits > 0 && digits < 8 && word[digits] == '\0' && (word[0] != '0' || digits == 1);
    if (number || strcmp(word, "-1") == 0 || !read_kernel_check(word, &ignored))
        return WA_OK;
    return WA_JOB_FAIL(source, "kernel_check", err,
                       "'kernel_check' is '%s', expected 'sample', 'all' or 'none'", word);
}

/* `larql` was a word while LARQL computed in one way only. */
static wa_status check_semantics(const wa_job_source *source, const char *word, wa_error *err)
{
    wa_semantics ignored;
    const char *may = wa_semantics_name(WA_SEMANTICS_LARQL_2026_05),
               *august = wa_semantics_name(WA_SEMANTICS_LARQL_2026_08);
    if (wa_semantics_parse(word, &ignored))
        return WA_OK;
    if (strcmp(word, "larql") == 0)
        return WA_JOB_FAIL(source, "semantics", err,
                           "'semantics' is 'larql', but LARQL computed otherwise in May 2026 than "
                           "since August: expected '%s' or "
                           "'%s'",
                           may, august);
    return WA_JOB_FAIL(source, "semantics", err, "'semantics' is '%s', expected native, %s or %s",
                       word, may, august);
}

static wa_status check_scalars(const wa_job_source *source, wa_error *err)
{
    const raw_job *raw = source->raw;
    const struct {
        const char *key;
        int64_t value, least, most;
    } ranges[] = {
        {"batch.rows", *raw->batch->rows, 1, 1 << 20},
        {"grid.stages", *raw->grid->stages, 0, 1 << 16},
        {"grid.teams", *raw->grid->teams, 0, 1 << 16},
        {"threads", *raw->threads, 1, 1024},
        {"served_timeout", *raw->served_timeout, 1, TIMEOUT_MAX},
        {"served_retries", *raw->served_retries, 0, 1000},
        {"topk", *raw->topk, 5, 128}, /* topk_overlap compares 5; WA_TOPK_MAX */
    };
    const struct {
        const char *key, *value, *first, *second;
    } choices[] = {
        {"ladder", raw->ladder, wa_ladder_word(WA_LADDER_2026_05),
         wa_ladder_word(WA_LADDER_2026_08)},
        {"encoding_check", raw->encoding_check, "all", "none"},
        {"allow_unread", raw->allow_unread, "true", "false"},
        {"texts", raw->texts, "all", "none"},
        {"logits", raw->logits, "last", "all"},
        {"engine", raw->engine, wa_engine_name(WA_ENGINE_WALKAUDIT),
         wa_engine_name(WA_ENGINE_BLAS)},
        {"fingerprint", raw->fingerprint, "quick", "full"},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        WA_TRY(check_range(source, ranges[i].key, ranges[i].value, ranges[i].least, ranges[i].most,
                           err));
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++)
        WA_TRY(check_choice(source, choices[i].key, choices[i].value, choices[i].first,
                            choices[i].second, err));
    WA_TRY(check_semantics(source, raw->semantics, err));
    WA_TRY(check_kernel_check(source, raw->kernel_check, err));
    if (raw->grid->experts != NULL)
        WA_TRY(check_choice(source, "grid.experts", raw->grid->experts, wa_spreading_word(true),
                            wa_spreading_word(false), err));
    if (raw->prompts->builtin == NULL)
        return WA_OK;
    return check_choice(source, "prompts.builtin", raw->prompts->builtin, "seed", NULL, err);
}

/* Names end up in file names and in case names VINDEX:PATH. */
bool wa_job_name_is_good(const char *name)
{
    return wa_name_is_plain(name) && name[0] != '.' && name[0] != '-' &&
           strchr(name, ':') == NULL && strlen(name) <= NAME_LIMIT;
}

static wa_status check_name(const wa_job_source *source, const char *key, const char *name,
                            wa_error *err)
{
    if (wa_job_name_is_good(name))
        return WA_OK;
    return WA_JOB_FAIL(source, key, err,
                       "'%s' is '%s', expected a name of at most %d bytes that has no '/' or ':' "
                       "and begins with neither '.' nor '-'",
                       key, name, NAME_LIMIT);
}

typedef struct named {
    const char *name;
    size_t index;
} named;

static int compare_named(const void *left, const void *right)
{
    const named *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

/* prefix  "audits" or "audits[3].vindexes": where the names stand, for the message */
static wa_status check_unique(const wa_job_source *source, const char *prefix, named *names,
                              size_t count, wa_error *err)
{
    qsort(names, count, sizeof *names, compare_named);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(names[i - 1].name, names[i].name) != 0)
            continue;
        char key[KEY_TEXT];
        snprintf(key, sizeof key, "%s[%zu].name", prefix, names[i].index);
        if (wa_yaml_scan_find(&source->scan, key) == NULL) /* a default: show its item instead */
            snprintf(key, sizeof key, "%s[%zu]", prefix, names[i].index);
        return WA_JOB_FAIL(source, key, err, "the name '%s' is used by %s[%zu] and %s[%zu]",
                           names[i].name, prefix, names[i - 1].index, prefix, names[i].index);
    }
    return WA_OK;
}

/* 0 when there is none; no number, or none between 0 and 0.1: NaN. (A kernel that gives zeros is
 * wrong by 1.) */
static double read_tolerance(const char *text)
{
    char *end;
    double value = text == NULL ? 0.0 : strtod(text, &end);
    if (text != NULL && (end == text || *end != '\0' || !(value > 0.0 && value <= 0.1)))
        return NAN;
    return value;
}

static wa_status check_like(const wa_job_source *source, const char *prefix, const raw_path *raw,
                            wa_error *err)
{
    char key[KEY_TEXT + sizeof ".kernel_tolerance"];
    wa_path like;
    snprintf(key, sizeof key, "%s.like", prefix);
    if (raw->like != NULL && (!wa_path_parse(raw->like, &like) || wa_path_is_foreign(like)))
        return WA_JOB_FAIL(source, key, err, "'%s' is '%s', expected another walk path", key,
                           raw->like);
    snprintf(key, sizeof key, "%s.kernel_tolerance", prefix);
    if (raw->like == NULL && raw->kernel_tolerance != NULL)
        return WA_JOB_FAIL(source, key, err, "'%s' needs 'like'", key);
    if (isnan(read_tolerance(raw->kernel_tolerance)))
        return WA_JOB_FAIL(source, key, err, "'%s' is '%s', expected a number above 0, at most 0.1",
                           key, raw->kernel_tolerance);
    return WA_OK;
}

/* --- Paths ----------------------------------------------------------------------------------- */

static wa_status check_served(const wa_job_source *source, const char *prefix, const raw_path *raw,
                              wa_error *err)
{
    char key[KEY_TEXT + sizeof ".wire"];
    wa_wire wire;
    snprintf(key, sizeof key, "%s.wire", prefix);
    if (raw->file != NULL || raw->library != NULL || raw->command != NULL)
        return WA_JOB_FAIL(source, prefix, err,
                           "'%s': served takes no 'file', 'library' or 'command'", prefix);
    if (raw->url == NULL || raw->url[strspn(raw->url, " ")] == '\0')
        return WA_JOB_FAIL(source, prefix, err, "'%s': served needs 'url'", prefix);
    if (raw->wire != NULL && !wa_wire_parse(raw->wire, &wire))
        return WA_JOB_FAIL(source, key, err, "'%s' is '%s', expected f32, f16, i8 or q8k", key,
                           raw->wire);
    return WA_OK;
}

static wa_status check_foreign(const wa_job_source *source, const char *prefix, const raw_path *raw,
                               wa_path path, wa_error *err)
{
    int sources = (raw->file != NULL) + (raw->library != NULL) + (raw->command != NULL);
    if (path == WA_PATH_SERVED)
        WA_TRY(check_served(source, prefix, raw, err));
    else if (raw->url != NULL || raw->wire != NULL)
        return WA_JOB_FAIL(source, prefix, err, "'%s': external takes no 'url' or 'wire'", prefix);
    else if (sources != 1)
        return WA_JOB_FAIL(source, prefix, err,
                           "'%s': external needs one of 'file', 'library' and 'command'", prefix);
    if (raw->timeout != NULL && raw->command == NULL)
        return WA_JOB_FAIL(source, prefix, err, "'%s': 'timeout' needs 'command'", prefix);
    wa_bucket ignored;
    if (raw->bucket != NULL && !wa_bucket_parse(raw->bucket, &ignored))
        return WA_JOB_FAIL(source, prefix, err,
                           "'%s': %s has bucket '%s', expected exact, quantized, fp4 or "
                           "approximate",
                           prefix, raw->path, raw->bucket);
    return check_like(source, prefix, raw, err);
}

static void hint_of_paths(const char *word, char out[WA_SPELL_HINT])
{
    const char *known[WA_PATH_COUNT];
    size_t count = 0;
    for (int p = 0; p < WA_PATH_COUNT; p++)
        if (p != WA_PATH_DENSE)
            known[count++] = wa_path_name((wa_path)p);
    wa_spell_hint(word, known, count, out);
}

static wa_status check_path(const wa_job_source *source, const char *prefix, const raw_path *raw,
                            wa_error *err)
{
    char key[KEY_TEXT + sizeof ".timeout"];
    wa_path path = WA_PATH_DENSE;
    snprintf(key, sizeof key, "%s.path", prefix);
    if (!wa_path_parse(raw->path, &path)) {
        char hint[WA_SPELL_HINT];
        hint_of_paths(raw->path, hint);
        return WA_JOB_FAIL(source, key, err, "unknown path '%s'%s", raw->path, hint);
    }
    if (raw->k != NULL) {
        int64_t k = 0;
        snprintf(key, sizeof key, "%s.k", prefix);
        if (!wa_job_int(raw->k, &k))
            return WA_JOB_FAIL(source, key, err, "'%s' is '%s', expected an integer", key, raw->k);
        WA_TRY(check_range(source, key, k, 1, INT_MAX, err));
        wa_path computes = path;
        if (wa_path_is_foreign(path) && raw->like != NULL && !wa_path_parse(raw->like, &computes))
            computes = path;
        if (computes != WA_PATH_SPARSE_SERIAL && computes != WA_PATH_SPARSE_PARALLEL &&
            computes != WA_PATH_WEIGHTS_FALLBACK)
            return WA_JOB_FAIL(source, key, err,
                               "path '%s' takes no 'k'; sparse_serial, sparse_parallel and "
                               "weights_fallback take one",
                               raw->path);
    }
    if (raw->name != NULL) {
        snprintf(key, sizeof key, "%s.name", prefix);
        WA_TRY(check_name(source, key, raw->name, err));
    }
    snprintf(key, sizeof key, "%s.rows", prefix);
    if (raw->rows != NULL)
        WA_TRY(check_choice(source, key, raw->rows, "batch", "decode", err));
    if (raw->timeout != NULL) {
        snprintf(key, sizeof key, "%s.timeout", prefix);
        WA_TRY(check_range(source, key, *raw->timeout, 1, TIMEOUT_MAX, err));
    }
    if (wa_path_is_foreign(path))
        return check_foreign(source, prefix, raw, path, err);
    if (raw->url != NULL || raw->wire != NULL)
        return WA_JOB_FAIL(source, prefix, err, "'%s': path '%s' takes no 'url' or 'wire'", prefix,
                           raw->path);
    if (raw->file != NULL || raw->library != NULL || raw->bucket != NULL)
        return WA_JOB_FAIL(source, prefix, err,
                           "'%s': path '%s' takes no 'file', 'library' or 'bucket'", prefix,
                           raw->path);
    if (raw->command != NULL || raw->timeout != NULL)
        return WA_JOB_FAIL(source, prefix, err, "'%s': path '%s' takes no 'command' or 'timeout'",
                           prefix, raw->path);
    if (raw->like != NULL || raw->kernel_tolerance != NULL)
        return WA_JOB_FAIL(source, prefix, err,
                           "'%s': path '%s' takes no 'like' or 'kernel_tolerance'", prefix,
                           raw->path);
    return WA_OK;
}

static wa_status build_paths(const wa_job_source *source, const char *prefix, const raw_path *raw,
                             size_t count, const wa_path_request **out, wa_error *err)
{
    const char *directory;
    *out = NULL;
    if (raw == NULL)
        return WA_OK;
    wa_path_request *requests;
    WA_TRY(take_directory(source->path, source->arena, &directory, err));
    WA_TRY(wa_arena_take(source->arena, count, sizeof *requests, &requests, err));
    for (size_t i = 0; i < count; i++) {
        char key[KEY_TEXT];
        int64_t k = WA_K_ALL;
        snprintf(key, sizeof key, "%s[%u]", prefix, (unsigned)raw[i].place);
        WA_TRY(check_path(source, key, &raw[i], err));
        if (raw[i].k != NULL && !wa_job_int(raw[i].k, &k))
            k = WA_K_ALL; /* not reached: checked */
        requests[i] =
            (wa_path_request){.path = raw[i].path,
                              .k = (int)k,
                              .name = raw[i].name,
                              .file = raw[i].file,
                              .library = raw[i].library,
                              .decode = raw[i].rows != NULL && strcmp(raw[i].rows, "decode") == 0,
                              .command = raw[i].command,
                              .directory = directory,
                              .timeout = raw[i].timeout == NULL ? TIMEOUT : (double)*raw[i].timeout,
                              .url = raw[i].url,
                              .wire = raw[i].wire,
                              .bucket = raw[i].bucket,
                              .like = raw[i].like,
                              .kernel_tolerance = read_tolerance(raw[i].kernel_tolerance)};
        if (raw[i].file != NULL)
            WA_TRY(resolve(directory, raw[i].file, source->arena, &requests[i].file, err));
        if (raw[i].library != NULL)
            WA_TRY(resolve(directory, raw[i].library, source->arena, &requests[i].library, err));
    }
    *out = requests;
    return WA_OK;
}

/* --- Audits ---------------------------------------------------------------------------------- */

/* The name as given, or the stem of `path`; written back, so that the effective job shows it. */
static wa_status settle_name(const wa_job_source *source, const char *key, char **name,
                             const char *path, wa_error *err)
{
    if (*name != NULL)
        return check_name(source, key, *name, err);
    WA_TRY(wa_job_stem(path, source->arena, name, err));
    if (check_name(source, key, *name, err) != WA_OK)
        return wa_note(err, "it comes from '%s', give '%s' in the job", path, key);
    return WA_OK;
}

static wa_status check_place(const wa_job_source *source, size_t audit, size_t at,
                             const raw_vindex *vindex, wa_error *err)
{
    char key[KEY_TEXT];
    snprintf(key, sizeof key, "audits[%zu].vindexes[%zu]", audit, at);
    if ((vindex->path != NULL) == (vindex->checkpoint != NULL))
        return WA_JOB_FAIL(
            source, key, err, "'%s' has %s 'path' %s 'checkpoint', expected one of them", key,
            vindex->path != NULL ? "both" : "neither", vindex->path != NULL ? "and" : "nor");
    if (vindex->scope == NULL)
        return WA_OK;
    if (vindex->checkpoint == NULL || vindex->paths_count > 0)
        return WA_JOB_FAIL(source, key, err,
                           "'%s' has 'scope' %s, expected 'checkpoint' alone beside it", key,
                           vindex->checkpoint == NULL ? "and 'path'" : "and 'paths'");
    snprintf(key, sizeof key, "audits[%zu].vindexes[%zu].scope", audit, at);
    return check_choice(source, key, vindex->scope, "ffn", "model", err);
}

static wa_status build_vindexes(const wa_job_source *source, const wa_job *job, size_t audit,
                                wa_job_audit *out, wa_error *err)
{
    raw_audit *raw = &source->raw->audits[audit];
    size_t count = raw->vindexes_count;
    wa_job_vindex *built;
    named *names;
    WA_TRY(wa_arena_take(source->arena, count, sizeof *built, &built, err));
    WA_TRY(wa_arena_take(source->arena, count, sizeof *names, &names, err));
    for (size_t i = 0; i < count; i++) {
        raw_vindex *vindex = &raw->vindexes[i];
        char key[KEY_TEXT];
        snprintf(key, sizeof key, "audits[%zu].vindexes[%zu].name", audit, i);
        WA_TRY(check_place(source, audit, i, vindex, err));
        built[i].is_checkpoint = vindex->checkpoint != NULL;
        built[i].whole = vindex->scope != NULL && strcmp(vindex->scope, "model") == 0;
        const char *place = built[i].is_checkpoint ? vindex->checkpoint : vindex->path;
        WA_TRY(settle_name(source, key, &vindex->name, place, err));
        snprintf(key, sizeof key, "audits[%zu].vindexes[%zu].paths", audit, i);
        WA_TRY(build_paths(source, key, vindex->paths, vindex->paths_count, &built[i].paths, err));
        WA_TRY(resolve(job->directory, place, source->arena, &built[i].path, err));
        built[i].path_count = vindex->paths_count;
        built[i].name = vindex->name;
        names[i] = (named){vindex->name, i};
    }
    char prefix[KEY_TEXT];
    snprintf(prefix, sizeof prefix, "audits[%zu].vindexes", audit);
    out->vindexes = built;
    out->vindex_count = count;
    return check_unique(source, prefix, names, count, err);
}

static wa_status build_audits(const wa_job_source *source, wa_job *job, wa_error *err)
{
    raw_job *raw = source->raw;
    size_t count = raw->audits_count;
    if (count == 0)
        return wa_fail(err, WA_E_JOB, "key 'audits' is missing; line 1, column 1");
    wa_job_audit *built;
    named *names;
    WA_TRY(wa_arena_take(source->arena, count, sizeof *built, &built, err));
    WA_TRY(wa_arena_take(source->arena, count, sizeof *names, &names, err));
    for (size_t i = 0; i < count; i++) {
        raw_audit *audit = &raw->audits[i];
        char key[KEY_TEXT];
        snprintf(key, sizeof key, "audits[%zu].name", i);
        WA_TRY(settle_name(source, key, &audit->name, audit->model, err));
        snprintf(key, sizeof key, "audits[%zu]", i);
        if (audit->vindexes_count == 0)
            return WA_JOB_FAIL(source, key, err, "key '%s.vindexes' is missing", key);
        WA_TRY(build_vindexes(source, job, i, &built[i], err));
        WA_TRY(resolve(job->directory, audit->model, source->arena, &built[i].model, err));
        if (audit->reference_dump != NULL)
            WA_TRY(resolve(job->directory, audit->reference_dump, source->arena,
                           &built[i].reference_dump, err));
        built[i].name = audit->name;
        names[i] = (named){audit->name, i};
    }
    job->audits = built;
    job->audit_count = count;
    return check_unique(source, "audits", names, count, err);
}

/* --- The rest -------------------------------------------------------------------------------- */

static wa_status take_captures(const wa_job_source *source, wa_job_captures *out, wa_error *err)
{
    const raw_captures *captures = source->raw->captures;
    if (captures == NULL)
        return WA_OK;
    char key[KEY_TEXT];
    if (captures->tensors_count == 0)
        return WA_JOB_FAIL(source, "captures", err,
                           "'captures' names no 'tensors', expected some of x, y_ref, y_walk");
    for (size_t i = 0; i < captures->tensors_count; i++) {
        const char *name = captures->tensors[i];
        snprintf(key, sizeof key, "captures.tensors[%zu]", i);
        if (strcmp(name, "x") != 0 && strcmp(name, "y_ref") != 0 && strcmp(name, "y_walk") != 0)
            return WA_JOB_FAIL(source, key, err, "unknown tensor '%s', expected x, y_ref or y_walk",
                               name);
    }
    for (size_t i = 0; i < captures->layers_count; i++) {
        snprintf(key, sizeof key, "captures.layers[%zu]", i);
        WA_TRY(check_range(source, key, captures->layers[i], 0, INT_MAX, err));
    }
    *out = (wa_job_captures){.asked = true,
                             .tensors = (const char *const *)captures->tensors,
                             .cases = (const char *const *)captures->cases,
                             .layers = captures->layers,
                             .tensor_count = captures->tensors_count,
                             .case_count = captures->cases_count,
                             .layer_count = captures->layers_count};
    return WA_OK;
}

static wa_status resolve_files(const wa_job_source *source, wa_job *job, wa_error *err)
{
    const raw_job *raw = source->raw;
    job->prompts_builtin = raw->prompts->builtin;
    if (raw->prompts->limit != NULL) {
        WA_TRY(check_range(source, "prompts.limit", *raw->prompts->limit, 1, INT_MAX, err));
        job->prompts_limit = (size_t)*raw->prompts->limit;
    }
    if (raw->prompts->file != NULL)
        WA_TRY(resolve(job->directory, raw->prompts->file, source->arena, &job->prompts_file, err));
    job->bounds = raw->bounds;
    if (strcmp(raw->bounds, "default") != 0 && strcmp(raw->bounds, "larql") != 0)
        WA_TRY(resolve(job->directory, raw->bounds, source->arena, &job->bounds, err));
    return resolve(job->directory, raw->result, source->arena, &job->result, err);
}

static wa_spreading read_spreading(const char *word)
{
    if (word == NULL)
        return WA_SPREADING_BY_PLAN;
    bool spread = strcmp(word, wa_spreading_word(true)) == 0;
    return spread ? WA_SPREADING_ALWAYS : WA_SPREADING_NEVER;
}

static void copy_scalars(const raw_job *raw, wa_job *job)
{
    job->ladder = strcmp(raw->ladder, wa_ladder_word(WA_LADDER_2026_08)) == 0 ? WA_LADDER_2026_08
                                                                              : WA_LADDER_2026_05;
    job->kernel_check_was =
        read_kernel_check(raw->kernel_check, &job->kernel_check) ? raw->kernel_check : NULL;
    job->engine = strcmp(raw->engine, wa_engine_name(WA_ENGINE_BLAS)) == 0 ? WA_ENGINE_BLAS
                                                                           : WA_ENGINE_WALKAUDIT;
    job->encoding_check = strcmp(raw->encoding_check, "all") == 0;
    job->texts = strcmp(raw->texts, "all") == 0;
    job->allow_unread = strcmp(raw->allow_unread, "true") == 0;
    job->batch_rows = (size_t)*raw->batch->rows;
    job->grid_stages = (int)*raw->grid->stages;
    job->grid_teams = (int)*raw->grid->teams;
    job->grid_experts = read_spreading(raw->grid->experts);
    job->threads = (int)*raw->threads;
    job->logits_all = strcmp(raw->logits, "all") == 0;
    job->topk = (size_t)*raw->topk;
    job->served_timeout = (double)*raw->served_timeout;
    job->served_retries = (int)*raw->served_retries;
    job->fingerprint_full = strcmp(raw->fingerprint, "full") == 0;
}

static wa_status build_job(wa_job_source *source, wa_job *job, wa_error *err)
{
    WA_TRY(wa_job_load(source, err));
    WA_TRY(check_scalars(source, err));
    WA_TRY(take_directory(source->path, source->arena, &job->directory, err));
    WA_TRY(settle_name(source, "name", &source->raw->name, source->path, err));
    job->path = source->path;
    job->name = source->raw->name;
    if (!wa_semantics_parse(source->raw->semantics, &job->semantics))
        return wa_fail(err, WA_E_INTERNAL, "semantics '%s' were not checked",
                       source->raw->semantics);
    WA_TRY(build_paths(source, "paths", source->raw->paths, source->raw->paths_count, &job->paths,
                       err));
    job->path_count = source->raw->paths_count;
    WA_TRY(build_audits(source, job, err));
    WA_TRY(resolve_files(source, job, err));
    copy_scalars(source->raw, job);
    WA_TRY(take_captures(source, &job->captures, err));
    return wa_job_save(source, &job->text, err);
}

wa_status wa_job_open(const char *path, const char *const *settings, size_t setting_count,
                      wa_arena *arena, wa_job **out, wa_error *err)
{
    wa_job *job;
    char *copy;
    WA_TRY(wa_arena_take(arena, 1, sizeof *job, &job, err));
    WA_TRY(wa_arena_copy(arena, path, strlen(path), &copy, err));
    wa_job_source source = {
        .path = copy, .settings = settings, .setting_count = setting_count, .arena = arena};
    wa_status status = build_job(&source, job, err);
    if (status != WA_OK)
        return wa_note(err, "in job '%s'", path);
    *out = job;
    return WA_OK;
}

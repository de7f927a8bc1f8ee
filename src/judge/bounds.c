/* Bounds sets: two built in, others from YAML files; and any set as such a file. */
#include "base/bytes.h"
#include "base/spell.h"
#include "judge/verdict.h"

#include "base/show.h"

#include <cyaml/cyaml.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* --- Built-in sets: the table of design 7 ----------------------------------------------------- */

static const double KERNEL_BOUND = 1e-5, ROUTER_MARGIN = 1e-5;

static const char *const PARIS[] = {"paris"};

#define NO_BOUND                                                                                   \
    .cos = NAN, .rel_l2 = NAN, .dp = NAN, .near_tie = NAN, .mean_kl = NAN, .p99_kl = NAN,          \
    .flip_rate = NAN, .ppl_ratio = NAN
#define LARQL_ROW(cos_, rel_l2_, dp_)                                                              \
    {                                                                                              \
        .cos = (cos_), .rel_l2 = (rel_l2_), .dp = (dp_), .near_tie = 0.0, .mean_kl = NAN,          \
        .p99_kl = NAN, .flip_rate = NAN, .ppl_ratio = NAN, .dp_prompts = PARIS,                    \
        .dp_prompt_count = 1, .present = true                                                      \
    }

static wa_bounds build_default(void)
{
    return (wa_bounds){.name = "default",
                       .bucket = {[WA_BUCKET_EXACT] = {.cos = 0.99999,
                                                       .rel_l2 = 1e-2,
                                                       .dp = 5e-3,
                                                       .near_tie = 0.02,
                                                       .mean_kl = NAN,
                                                       .p99_kl = NAN,
                                                       .flip_rate = NAN,
                                                       .ppl_ratio = NAN,
                                                       .present = true},
                                  [WA_BUCKET_QUANTIZED] = {NO_BOUND},
                                  [WA_BUCKET_FP4] = {NO_BOUND},
                                  [WA_BUCKET_APPROXIMATE] = {NO_BOUND}},
                       .kernel = KERNEL_BOUND,
                       .router_margin = ROUTER_MARGIN};
}

static wa_bounds build_larql(void)
{
    return (wa_bounds){
        .name = "larql",
        .bucket = {[WA_BUCKET_EXACT] = LARQL_ROW(0.99999, 1e-2, 5e-3),
                   [WA_BUCKET_QUANTIZED] = LARQL_ROW(0.99, 5e-1, 5e-2),
                   [WA_BUCKET_FP4] = LARQL_ROW(0.98, 1e-2, 5e-2),
                   [WA_BUCKET_APPROXIMATE] = {NO_BOUND}},
        .kernel = KERNEL_BOUND,
        .router_margin = ROUTER_MARGIN,
        .warning =
            "the fp4 row contradicts itself (rel_L2 <= 0.01 demands cos >= 0.99995, not 0.98); "
            "kept as published"};
}

/* --- A bounds file as libcyaml sees it -------------------------------------------------------- */

/* Numbers are read as text: libcyaml takes 0.5x as 0.5, and nan, inf and 0x10 as numbers. */
typedef struct raw_row {
    char *cos, *rel_l2, *dp, *near_tie, *mean_kl, *p99_kl, *flip_rate, *ppl_ratio;
    char **dp_prompts;
    unsigned dp_prompts_count;
} raw_row;

typedef struct raw_bounds {
    raw_row *exact, *quantized, *fp4, *approximate;
    char *encoding_factor, *encoder, *kernel, *router_margin;
} raw_bounds;

enum { OPTIONAL = CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL };
#define NUMBER(holder, key) CYAML_FIELD_STRING_PTR(#key, OPTIONAL, holder, key, 0, CYAML_UNLIMITED)

static const cyaml_schema_value_t PROMPT = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED)};

static const cyaml_schema_field_t ROW_FIELDS[] = {
    NUMBER(raw_row, cos),
    NUMBER(raw_row, rel_l2),
    NUMBER(raw_row, dp),
    CYAML_FIELD_SEQUENCE("dp_prompts", OPTIONAL, raw_row, dp_prompts, &PROMPT, 0, CYAML_UNLIMITED),
    NUMBER(raw_row, near_tie),
    NUMBER(raw_row, mean_kl),
    NUMBER(raw_row, p99_kl),
    NUMBER(raw_row, flip_rate),
    NUMBER(raw_row, ppl_ratio),
    CYAML_FIELD_END};

static const cyaml_schema_field_t BOUNDS_FIELDS[] = {
    CYAML_FIELD_MAPPING_PTR("exact", OPTIONAL, raw_bounds, exact, ROW_FIELDS),
    CYAML_FIELD_MAPPING_PTR("quantized", OPTIONAL, raw_bounds, quantized, ROW_FIELDS),
    CYAML_FIELD_MAPPING_PTR("fp4", OPTIONAL, raw_bounds, fp4, ROW_FIELDS),
    CYAML_FIELD_MAPPING_PTR("approximate", OPTIONAL, raw_bounds, approximate, ROW_FIELDS),
    /* of versions that judged by it: accepted, without effect */
    NUMBER(raw_bounds, encoding_factor), NUMBER(raw_bounds, encoder), NUMBER(raw_bounds, kernel),
    NUMBER(raw_bounds, router_margin), CYAML_FIELD_END};

static const cyaml_schema_value_t BOUNDS_SCHEMA = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, raw_bounds, BOUNDS_FIELDS)};

/* --- Numbers ---------------------------------------------------------------------------------- */

/* Which members of a row a key fills, and what it may be. */
typedef struct number_key {
    const char *key;
    size_t raw, built; /* offsets of char * and double */
    double least, most;
    /* with this or anything further from what is wanted it bounds nothing: a model that says
     * something else at every position stays within it */
    double void_at;
} number_key;

/* An FFN that gives zeros is off by rel_L2 1, a walk at right angles has cos 0, probabilities and
 * shares end at 1. */
#define KEY(key, least, most, void_at)                                                             \
    {                                                                                              \
#key, offsetof(raw_row, key), offsetof(wa_bound, key), least, most, void_at                \
    }
static const number_key NUMBER_KEYS[] = {
    KEY(cos, -1.0, 1.0, 0.0),
    KEY(rel_l2, 0.0, HUGE_VAL, 1.0),
    KEY(dp, 0.0, 1.0, 1.0),
    KEY(near_tie, 0.0, HUGE_VAL, 10.0),
    KEY(mean_kl, 0.0, HUGE_VAL, 10.0),
    KEY(p99_kl, 0.0, HUGE_VAL, 100.0),
    KEY(flip_rate, 0.0, 1.0, 1.0),
    KEY(ppl_ratio, 0.0, HUGE_VAL, 1000.0),
};
enum { NUMBER_KEY_COUNT = sizeof NUMBER_KEYS / sizeof NUMBER_KEYS[0] };

static double *bound_member(wa_bound *bound, const number_key *key)
{
    return (double *)(void *)((char *)bound + key->built);
}

/* A finite decimal within [least, most]. */
static wa_status parse_number(const char *text, const char *where, const char *key, double least,
                              double most, double *out, wa_error *err)
{
    char *end;
    double value = strtod(text, &end);
    bool is_decimal = text[0] != '\0' && text[strspn(text, "0123456789+-.eE")] == '\0';
    if (!is_decimal || *end != '\0' || !isfinite(value))
        return wa_fail(err, WA_E_JOB, "%s%s: found '%s', expected a number", where, key, text);
    if (!(value >= least && value <= most))
        return wa_fail(err, WA_E_JOB, "%s%s: found %s, expected a number from %g to %g", where, key,
                       text, least, most);
    *out = value;
    return WA_OK;
}

/* cos is a floor, the others are ceilings. */
static wa_status check_bounds_something(const number_key *key, double value, const char *where,
                                        wa_error *err)
{
    bool is_floor = key->built == offsetof(wa_bound, cos);
    if (is_floor ? !(value <= key->void_at) : !(value >= key->void_at))
        return WA_OK;
    return wa_fail(err, WA_E_JOB, "%s%s: found %g, which bounds nothing; expected a number %s %g",
                   where, key->key, value, is_floor ? "above" : "below", key->void_at);
}

/* --- Rows ------------------------------------------------------------------------------------- */

wa_bound wa_bound_none(void)
{
    return (wa_bound){NO_BOUND};
}

/* walk-paths-and-audit.md 4.11: rows with |b - a|/|a| = r have cos >= sqrt(1 - r^2), so a limit on
 * r below sqrt(1 - cos^2) makes the limit on cos meaningless. */
static wa_status check_pair(const wa_bound *bound, const char *bucket, wa_error *err)
{
    double least = sqrt(1.0 - bound->cos * bound->cos);
    if (isnan(bound->cos) || isnan(bound->rel_l2) || bound->rel_l2 >= least)
        return WA_OK;
    return wa_fail(
        err, WA_E_JOB,
        "%s: rel_l2 %g contradicts cos %.9g; a vector with that cosine is off by at least "
        "sqrt(1 - cos^2) = %g",
        bucket, bound->rel_l2, bound->cos, least);
}

static wa_status copy_prompts(const raw_row *raw, wa_arena *arena, wa_bound *bound, wa_error *err)
{
    char **keys;
    WA_TRY(wa_arena_take(arena, raw->dp_prompts_count, sizeof *keys, &keys, err));
    for (unsigned i = 0; i < raw->dp_prompts_count; i++)
        WA_TRY(wa_arena_copy(arena, raw->dp_prompts[i], strlen(raw->dp_prompts[i]), &keys[i], err));
    bound->dp_prompts = (const char *const *)keys;
    bound->dp_prompt_count = raw->dp_prompts_count;
    return WA_OK;
}

static wa_status build_row(const raw_row *raw, const char *bucket, bool is_stored, wa_arena *arena,
                           wa_bound *out, wa_error *err)
{
    wa_bound bound = wa_bound_none();
    if (raw == NULL) {
        *out = bound;
        return WA_OK;
    }
    char *where;
    WA_TRY(wa_arena_print(arena, &where, err, "%s.", bucket));
    bool is_empty = true;
    for (int i = 0; i < NUMBER_KEY_COUNT; i++) {
        const number_key *key = &NUMBER_KEYS[i];
        const char *text;
        memcpy(&text, (const char *)raw + key->raw, sizeof text);
        if (text == NULL)
            continue;
        is_empty = false;
        double *value = bound_member(&bound, key);
        WA_TRY(parse_number(text, where, key->key, key->least, key->most, value, err));
        WA_TRY(check_bounds_something(key, *value, where, err));
    }
    if (is_empty)
        return wa_fail(err, WA_E_JOB,
                       "%s: a row without bounds would pass anything; leave it out to "
                       "have the bucket MEASURED",
                       bucket);
    if (raw->dp_prompts_count > 0 && isnan(bound.dp))
        return wa_fail(err, WA_E_JOB, "%s.dp_prompts: needs dp beside it", bucket);
    if (!is_stored) /* what has judged once is taken as it is */
        WA_TRY(check_pair(&bound, bucket, err));
    WA_TRY(copy_prompts(raw, arena, &bound, err));
    bound.present = true;
    *out = bound;
    return WA_OK;
}

/* --- Files ------------------------------------------------------------------------------------ */

/* A bounds file is some lines; what is larger is something else. */
enum { STORY_BYTES = 300, FILE_LIMIT = 1 << 20 };

/* libcyaml reports through a log: mostly what is wrong, then "Backtrace:", then places, innermost
 * first. */
typedef struct story {
    char what[STORY_BYTES], where[STORY_BYTES];
    bool is_tracing;
} story;

/* Its own words, less the "Load: " before and the blanks around them. */
static const char *plain(const char *words)
{
    if (strncmp(words, "Load: ", 6) == 0)
        words += 6;
    return words + strspn(words, " ");
}

static void listen(cyaml_log_t level, void *context, const char *format, va_list args)
{
    story *heard = context;
    char line[STORY_BYTES];
    if (level < CYAML_LOG_WARNING || vsnprintf(line, sizeof line, format, args) < 0)
        return;
    line[strcspn(line, "\n")] = '\0';
    char *into = heard->is_tracing ? heard->where : heard->what;
    if (strcmp(plain(line), "Backtrace:") == 0)
        heard->is_tracing = true;
    else if (into[0] == '\0')
        memcpy(into, line, sizeof line);
}

static wa_status build_encoder(const raw_bounds *raw, wa_bounds *set, wa_error *err)
{
    double unused;
    if (raw->encoding_factor != NULL) {
        WA_TRY(parse_number(raw->encoding_factor, "", "encoding_factor", 1.0, 1e6, &unused, err));
        set->warning = "encoding_factor has no effect: ENCODING has limits of its own";
    }
    if (raw->encoder != NULL && !wa_encoder_parse(raw->encoder, &set->encoder))
        return wa_fail(err, WA_E_JOB, "encoder: found '%.40s', expected '%s' or '%s'", raw->encoder,
                       wa_encoder_word(WA_ENCODER_NEAREST),
                       wa_encoder_word(WA_ENCODER_COMPENSATING));
    return WA_OK;
}

static wa_status build_set(const raw_bounds *raw, bool is_stored, wa_arena *arena, wa_bounds *out,
                           wa_error *err)
{
    const raw_row *const rows[WA_BUCKET_COUNT] = {[WA_BUCKET_EXACT] = raw->exact,
                                                  [WA_BUCKET_QUANTIZED] = raw->quantized,
                                                  [WA_BUCKET_FP4] = raw->fp4,
                                                  [WA_BUCKET_APPROXIMATE] = raw->approximate};
    wa_bounds set = {.kernel = KERNEL_BOUND, .router_margin = ROUTER_MARGIN};
    for (int b = 0; b < WA_BUCKET_COUNT; b++)
        WA_TRY(build_row(rows[b], wa_bucket_name((wa_bucket)b), is_stored, arena, &set.bucket[b],
                         err));
    WA_TRY(build_encoder(raw, &set, err));
    if (raw->kernel != NULL)
        WA_TRY(parse_number(raw->kernel, "", "kernel", 0.0, 0.1, &set.kernel, err));
    if (raw->router_margin != NULL)
        WA_TRY(parse_number(raw->router_margin, "", "router_margin", 0.0, 10.0, &set.router_margin,
                            err));
    *out = set;
    return WA_OK;
}

static wa_status load_set(wa_bytes text, bool is_stored, wa_arena *arena, wa_bounds *out,
                          wa_error *err)
{
    story heard = {.is_tracing = false};
    cyaml_config_t config = {.log_fn = listen,
                             .log_ctx = &heard,
                             .mem_fn = cyaml_mem,
                             .log_level = CYAML_LOG_WARNING,
                             .flags = CYAML_CFG_NO_ALIAS};
    if (text.size == 0 || text.size > FILE_LIMIT)
        return wa_fail(err, WA_E_JOB, "%zu bytes; a bounds file has 1 to %d", text.size,
                       FILE_LIMIT);
    raw_bounds *raw = NULL;
    cyaml_err_t code =
        cyaml_load_data(text.data, text.size, &config, &BOUNDS_SCHEMA, (cyaml_data_t **)&raw, NULL);
    wa_status status;
    if (code != CYAML_OK)
        status = wa_fail(err, WA_E_JOB, "%s%s%s%s",
                         heard.what[0] != '\0' ? plain(heard.what) : cyaml_strerror(code),
                         heard.where[0] != '\0' ? ", " : "", plain(heard.where),
                         heard.where[0] != '\0' ? " or just after" : "");
    else if (heard.what[0] != '\0') /* a warning: further documents, which libcyaml would drop */
        status = wa_fail(err, WA_E_JOB, "%s; expected one document", plain(heard.what));
    else if (raw == NULL)
        status = wa_fail(err, WA_E_JOB, "no YAML document, expected a row for some bucket");
    else
        status = build_set(raw, is_stored, arena, out, err);
    cyaml_free(&config, &BOUNDS_SCHEMA, raw, 0);
    return status;
}

/* Whoever named it, in a job or on the command line, named it wrongly: perhaps a built-in set. */
static wa_status note_missing(const char *path, wa_error *err)
{
    static const char *const sets[] = {"default", "larql"};
    const char *slash = strrchr(path, '/');
    const char *near = wa_spell_nearest(slash == NULL ? path : slash + 1, sets, 2);
    err->status = WA_E_JOB;
    if (near != NULL)
        return wa_note(err, "as bounds file; did you mean the built-in set '%s'?", near);
    return wa_note(err, "as bounds file");
}

static wa_status open_file(const char *path, wa_arena *arena, wa_bounds *out, wa_error *err)
{
    wa_map map;
    if (wa_map_open(path, &map, err) != WA_OK)
        return note_missing(path, err);
    wa_status status = load_set(map.bytes, false, arena, out, err);
    wa_map_close(&map);
    if (status != WA_OK)
        return wa_note(err, "in bounds file '%s'", path);
    char *name;
    WA_TRY(wa_arena_copy(arena, path, strlen(path), &name, err));
    out->name = name;
    return WA_OK;
}

wa_status wa_bounds_open(const char *name_or_path, wa_arena *arena, wa_bounds **out, wa_error *err)
{
    wa_bounds *set;
    WA_TRY(wa_arena_take(arena, 1, sizeof *set, &set, err));
    if (strcmp(name_or_path, "default") == 0)
        *set = build_default();
    else if (strcmp(name_or_path, "larql") == 0)
        *set = build_larql();
    else
        WA_TRY(open_file(name_or_path, arena, set, err));
    *out = set;
    return WA_OK;
}

/* --- Printing --------------------------------------------------------------------------------- */

/* A prompt key as a YAML scalar in double quotes. */
static wa_status quote_key(const char *key, wa_arena *arena, char **out, wa_error *err)
{
    enum { ESCAPE = 4 };
    char *quoted;
    WA_TRY(wa_arena_take_raw(arena, strlen(key) + 1, ESCAPE, &quoted, err));
    char *to = quoted;
    for (; *key != '\0'; key++) {
        unsigned byte = (unsigned char)*key;
        if (byte < 0x20 || byte == 0x7f)
            to += sprintf(to, "\\x%02X", byte);
        else
            to += sprintf(to, *key == '"' || *key == '\\' ? "\\%c" : "%c", *key);
    }
    *to = '\0';
    *out = quoted;
    return WA_OK;
}

static wa_status print_prompts(const wa_bound *bound, wa_arena *arena, char **text, wa_error *err)
{
    for (size_t i = 0; i < bound->dp_prompt_count; i++) {
        char *key;
        WA_TRY(quote_key(bound->dp_prompts[i], arena, &key, err));
        WA_TRY(wa_arena_print(arena, text, err, "%s%s\"%s\"", *text,
                              i > 0 ? ", " : "  dp_prompts: [", key));
    }
    return wa_arena_print(arena, text, err, "%s]\n", *text);
}

static wa_status print_row(const wa_bound *bound, const char *bucket, bool is_stored,
                           wa_arena *arena, char **text, wa_error *err)
{
    if (!bound->present)
        return WA_OK;
    WA_TRY(wa_arena_print(arena, text, err, "%s%s:\n", *text, bucket));
    bool contradicts = !is_stored && check_pair(bound, bucket, NULL) != WA_OK;
    for (int i = 0; i < NUMBER_KEY_COUNT; i++) {
        wa_bound copy = *bound;
        double value = *bound_member(&copy, &NUMBER_KEYS[i]);
        if (isnan(value))
            continue;
        char number[WA_SHOW_NUMBER];
        wa_show_exact(value, number);
        bool is_left_out = contradicts && strcmp(NUMBER_KEYS[i].key, "rel_l2") == 0;
        WA_TRY(wa_arena_print(arena, text, err, "%s  %s%s: %s%s\n", *text, is_left_out ? "# " : "",
                              NUMBER_KEYS[i].key, number,
                              is_left_out ? "  # contradicts cos; a bounds file with it is refused"
                                          : ""));
    }
    if (bound->dp_prompt_count > 0)
        WA_TRY(print_prompts(bound, arena, text, err));
    return WA_OK;
}

static wa_status print_set(const wa_bounds *bounds, bool is_stored, wa_arena *arena, char **out,
                           wa_error *err)
{
    char *text;
    char kernel[WA_SHOW_NUMBER], margin[WA_SHOW_NUMBER];
    wa_show_exact(bounds->kernel, kernel);
    wa_show_exact(bounds->router_margin, margin);
    WA_TRY(wa_arena_print(arena, &text, err,
                          "# Bounds set '%s'. Buckets without a row are MEASURED.\n%s%s%s"
                          "encoder: %s\nkernel: %s\nrouter_margin: %s\n",
                          bounds->name, bounds->warning != NULL ? "# Warning: " : "",
                          bounds->warning != NULL ? bounds->warning : "",
                          bounds->warning != NULL ? "\n" : "", wa_encoder_word(bounds->encoder),
                          kernel, margin));
    for (int b = 0; b < WA_BUCKET_COUNT; b++)
        WA_TRY(print_row(&bounds->bucket[b], wa_bucket_name((wa_bucket)b), is_stored, arena, &text,
                         err));
    *out = text;
    return WA_OK;
}

wa_status wa_bounds_print(const wa_bounds *bounds, wa_arena *arena, char **out, wa_error *err)
{
    return print_set(bounds, false, arena, out, err);
}

wa_status wa_bounds_store(const wa_bounds *bounds, wa_arena *arena, char **out, wa_error *err)
{
    return print_set(bounds, true, arena, out, err);
}

/* --- Stored sets --- */

/* A set built in has a warning that its text cannot give back. */
static wa_status is_built_in(const wa_bounds *set, const char *text, wa_arena *arena, bool *out,
                             wa_error *err)
{
    char *own;
    WA_TRY(wa_bounds_store(set, arena, &own, err));
    *out = strcmp(own, text) == 0;
    return WA_OK;
}

wa_status wa_bounds_restore(const char *name, const char *text, wa_arena *arena, wa_bounds **out,
                            wa_error *err)
{
    const wa_bounds built_in[] = {build_default(), build_larql()};
    wa_bounds *set;
    WA_TRY(wa_arena_take(arena, 1, sizeof *set, &set, err));
    for (size_t i = 0; i < sizeof built_in / sizeof built_in[0]; i++) {
        bool same;
        WA_TRY(is_built_in(&built_in[i], text, arena, &same, err));
        if (same && strcmp(name, built_in[i].name) == 0) {
            *set = built_in[i];
            *out = set;
            return WA_OK;
        }
    }
    wa_bytes bytes = {.data = (const uint8_t *)text, .size = strlen(text)};
    if (load_set(bytes, true, arena, set, err) != WA_OK)
        return wa_note(err, "in the stored bounds '%.200s'", name);
    set->name = name;
    *out = set;
    return WA_OK;
}

/* The components of a tokenizer.json by type name (forward-pass.md 4.3); others are refused by
 * name. */
#include "model/tokenizer_parts.h"

/* Tested patterns, as the files spell them. */
const char WA_REGEX_GPT2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|"
                             "\\s+(?!\\S)|\\s+";
const char WA_REGEX_QWEN2[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
                              " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const char WA_REGEX_LLAMA3[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
                               "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
                               "\\s+(?!\\S)|\\s+";

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

wa_status wa_read_component(const char *kind, const json_t *json, const wa_component *table,
                            size_t count, wa_tokenizer *t, wa_error *err)
{
    if (json == NULL || json_is_null(json))
        return WA_OK;
    const char *type = NULL;
    if (!json_is_object(json))
        return wa_fail(err, WA_E_FORMAT, "%s: found %s, expected an object", kind,
                       wa_json_type_name(json));
    if (wa_json_string(json, "type", &type, err) != WA_OK)
        return wa_note(err, "in the %s", kind);
    for (size_t i = 0; i < count; i++)
        if (strcmp(table[i].type, type) == 0) {
            if (table[i].read == NULL)
                return WA_OK; /* known to change nothing */
            wa_status status = table[i].read(json, t, err);
            return status == WA_OK ? WA_OK : wa_note(err, "in %s '%s'", kind, type);
        }
    return wa_fail(err, WA_E_UNSUPPORTED, "unsupported tokenizer component: %s '%s'", kind, type);
}

static wa_status read_list(const json_t *json, const char *key,
                           wa_status (*read)(const json_t *, wa_tokenizer *, wa_error *),
                           wa_tokenizer *t, wa_error *err)
{
    const json_t *list = json_object_get(json, key);
    if (!json_is_array(list))
        return wa_fail(err, WA_E_FORMAT, "key '%s': found %s, expected an array", key,
                       wa_json_type_name(list));
    for (size_t i = 0; i < json_array_size(list); i++)
        WA_TRY(read(json_array_get(list, i), t, err));
    return WA_OK;
}

/* A string member, copied, since the document is closed before the tokenizer. */
static wa_status read_text(const json_t *json, const char *key, wa_tokenizer *t, wa_text *out,
                           wa_error *err)
{
    const json_t *value = json_object_get(json, key);
    if (!json_is_string(value))
        return wa_fail(err, WA_E_FORMAT, "key '%s': found %s, expected a string", key,
                       wa_json_type_name(value));
    return wa_text_copy((wa_text){json_string_value(value), json_string_length(value)}, t->arena,
                        out, err);
}

/* {"String": …} or {"Regex": …}. */
static wa_status read_pattern(const json_t *json, wa_tokenizer *t, wa_text *out, bool *is_regex,
                              wa_error *err)
{
    const json_t *pattern = json_object_get(json, "pattern");
    if (!json_is_object(pattern))
        return wa_fail(err, WA_E_FORMAT, "key 'pattern': found %s, expected an object",
                       wa_json_type_name(pattern));
    *is_regex = json_object_get(pattern, "Regex") != NULL;
    return read_text(pattern, *is_regex ? "Regex" : "String", t, out, err);
}

/* Pattern (a string, not empty) and content of a Replace. */
static wa_status read_replace(const json_t *json, wa_tokenizer *t, wa_text *from, wa_text *to,
                              wa_error *err)
{
    bool is_regex = false;
    WA_TRY(read_pattern(json, t, from, &is_regex, err));
    if (is_regex)
        return wa_fail(err, WA_E_UNSUPPORTED, "unsupported: a Regex pattern, expected a String");
    if (from->size == 0)
        return wa_fail(err, WA_E_FORMAT, "key 'pattern': found an empty string");
    return read_text(json, "content", t, to, err);
}

wa_status wa_steps_add(wa_steps *steps, wa_step step, wa_error *err)
{
    if (steps->count == WA_MAX_STEPS)
        return wa_fail(err, WA_E_UNSUPPORTED, "more than %d steps", WA_MAX_STEPS);
    steps->list[steps->count++] = step;
    return WA_OK;
}

wa_status wa_decoders_add(wa_decoders *decoders, wa_decoder decode, wa_error *err)
{
    if (decoders->count == WA_MAX_STEPS)
        return wa_fail(err, WA_E_UNSUPPORTED, "more than %d steps", WA_MAX_STEPS);
    decoders->list[decoders->count++] = decode;
    return WA_OK;
}

/* --- Normalisers ----------------------------------------------------------------------------- */

static wa_status read_normalizers(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    return read_list(json, "normalizers", wa_read_normalizer, t, err);
}

static wa_status read_normalizer_replace(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    wa_step step = {.kind = WA_STEP_REPLACE};
    WA_TRY(read_replace(json, t, &step.from, &step.to, err));
    return wa_steps_add(&t->normalizers, step, err);
}

static wa_status read_prepend(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    wa_step step = {.kind = WA_STEP_PREFIX, .when = WA_PREFIX_ALWAYS};
    WA_TRY(read_text(json, "prepend", t, &step.to, err));
    return wa_steps_add(&t->normalizers, step, err);
}

static wa_status read_nfc(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    (void)json;
    return wa_steps_add(&t->normalizers, (wa_step){.kind = WA_STEP_NFC}, err);
}

wa_status wa_read_normalizer(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    static const wa_component table[] = {{"Sequence", read_normalizers},
                                         {"Replace", read_normalizer_replace},
                                         {"Prepend", read_prepend},
                                         {"NFC", read_nfc}};
    return wa_read_component("normalizer", json, table, COUNT(table), t, err);
}

/* --- Pre-tokenisers -------------------------------------------------------------------------- */

wa_status wa_steps_add_regex(wa_tokenizer *t, wa_text pattern, wa_split_behavior behavior,
                             bool invert, wa_error *err)
{
    static const char *const tested[] = {WA_REGEX_GPT2, WA_REGEX_QWEN2, WA_REGEX_LLAMA3};
    bool known = false;
    for (size_t i = 0; i < COUNT(tested); i++)
        known |= wa_text_equals(pattern, (wa_text){tested[i], strlen(tested[i])});
    if (!known)
        WA_TRY(wa_regex_check_portable(pattern, err));
    if (!known && t->warning == NULL)
        WA_TRY(wa_arena_print(t->arena, &t->warning, err,
                              "untested regular expression in the pre-tokenizer: %.*s",
                              pattern.size > 300 ? 300 : (int)pattern.size, pattern.data));

    wa_step step = {.kind = WA_STEP_SPLIT, .behavior = behavior, .invert = invert};
    WA_TRY(wa_regex_open(pattern, t->arena, &step.regex, err));
    wa_status status = wa_steps_add(&t->splitters, step, err);
    if (status != WA_OK)
        wa_regex_close(step.regex);
    return status;
}

wa_status wa_steps_add_byte_level(wa_tokenizer *t, bool add_space, bool use_regex, wa_error *err)
{
    const wa_step space = {.kind = WA_STEP_PREFIX, .to = WA_TEXT(" "), .when = WA_PREFIX_MISSING};
    const wa_text gpt2 = {WA_REGEX_GPT2, sizeof WA_REGEX_GPT2 - 1};
    if (add_space)
        WA_TRY(wa_steps_add(&t->splitters, space, err));
    if (use_regex)
        WA_TRY(wa_steps_add_regex(t, gpt2, WA_SPLIT_ISOLATED, false, err));
    return wa_steps_add(&t->splitters, (wa_step){.kind = WA_STEP_BYTES}, err);
}

static wa_status read_pre_tokenizers(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    return read_list(json, "pretokenizers", wa_read_pre_tokenizer, t, err);
}

static wa_status read_behavior(const json_t *json, wa_split_behavior *out, wa_error *err)
{
    static const char *const names[] = {[WA_SPLIT_ISOLATED] = "Isolated",
                                        [WA_SPLIT_REMOVED] = "Removed",
                                        [WA_SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
                                        [WA_SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
                                        [WA_SPLIT_CONTIGUOUS] = "Contiguous"};
    const char *name = NULL;
    WA_TRY(wa_json_string(json, "behavior", &name, err));
    for (size_t i = 0; i < COUNT(names); i++)
        if (strcmp(names[i], name) == 0) {
            *out = (wa_split_behavior)i;
            return WA_OK;
        }
    return wa_fail(err, WA_E_UNSUPPORTED, "unsupported behavior '%s'", name);
}

static wa_status read_split(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    wa_step step = {.kind = WA_STEP_SPLIT};
    bool is_regex = false;
    WA_TRY(read_pattern(json, t, &step.from, &is_regex, err));
    WA_TRY(read_behavior(json, &step.behavior, err));
    WA_TRY(wa_json_bool_or(json, "invert", false, &step.invert, err));
    if (is_regex)
        return wa_steps_add_regex(t, step.from, step.behavior, step.invert, err);
    if (step.from.size == 0)
        return wa_fail(err, WA_E_FORMAT, "key 'pattern': found an empty string");
    return wa_steps_add(&t->splitters, step, err);
}

static wa_status read_byte_level(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    bool add_space = true, use_regex = true; /* defaults of Hugging Face's library */
    WA_TRY(wa_json_bool_or(json, "add_prefix_space", true, &add_space, err));
    WA_TRY(wa_json_bool_or(json, "use_regex", true, &use_regex, err));
    return wa_steps_add_byte_level(t, add_space, use_regex, err);
}

static wa_status read_digits(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    bool individual = false;
    WA_TRY(wa_json_bool_or(json, "individual_digits", false, &individual, err));
    wa_step step = {.kind = WA_STEP_SPLIT,
                    .behavior = individual ? WA_SPLIT_ISOLATED : WA_SPLIT_CONTIGUOUS};
    return wa_steps_add(&t->splitters, step, err);
}

typedef enum prepend_scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } prepend_scheme;

/* Files older than `prepend_scheme` have the boolean `add_prefix_space`. */
static wa_status read_metaspace_keys(const json_t *json, wa_tokenizer *t, wa_text *mark,
                                     prepend_scheme *scheme, wa_error *err)
{
    static const char *const names[] = {
        [PREPEND_ALWAYS] = "always", [PREPEND_FIRST] = "first", [PREPEND_NEVER] = "never"};
    const char *name = NULL;
    bool add_space = true;
    WA_TRY(read_text(json, "replacement", t, mark, err));
    if (mark->size == 0)
        return wa_fail(err, WA_E_FORMAT, "key 'replacement': found an empty string");
    WA_TRY(wa_json_bool_or(json, "add_prefix_space", true, &add_space, err));
    WA_TRY(wa_json_string_or(json, "prepend_scheme", add_space ? "always" : "never", &name, err));
    for (size_t i = 0; i < COUNT(names); i++)
        if (strcmp(names[i], name) == 0) {
            *scheme = (prepend_scheme)i;
            return WA_OK;
        }
    return wa_fail(err, WA_E_UNSUPPORTED, "unsupported prepend_scheme '%s'", name);
}

static wa_status read_metaspace(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    wa_text mark = {NULL, 0};
    prepend_scheme scheme = PREPEND_ALWAYS;
    bool split = true;
    WA_TRY(read_metaspace_keys(json, t, &mark, &scheme, err));
    WA_TRY(wa_json_bool_or(json, "split", true, &split, err));

    const wa_step replace = {.kind = WA_STEP_REPLACE, .from = WA_TEXT(" "), .to = mark};
    const wa_step prefix = {.kind = WA_STEP_PREFIX,
                            .to = mark,
                            .when = scheme == PREPEND_FIRST ? WA_PREFIX_MISSING_AT_START
                                                            : WA_PREFIX_MISSING};
    const wa_step cut = {
        .kind = WA_STEP_SPLIT, .from = mark, .behavior = WA_SPLIT_MERGED_WITH_NEXT};
    WA_TRY(wa_steps_add(&t->splitters, replace, err));
    if (scheme != PREPEND_NEVER)
        WA_TRY(wa_steps_add(&t->splitters, prefix, err));
    return split ? wa_steps_add(&t->splitters, cut, err) : WA_OK;
}

wa_status wa_read_pre_tokenizer(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    static const wa_component table[] = {{"Sequence", read_pre_tokenizers},
                                         {"Split", read_split},
                                         {"ByteLevel", read_byte_level},
                                         {"Digits", read_digits},
                                         {"Metaspace", read_metaspace}};
    return wa_read_component("pre-tokenizer", json, table, COUNT(table), t, err);
}

/* --- Decoders -------------------------------------------------------------------------------- */

static wa_status read_decoders(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    return read_list(json, "decoders", wa_read_decoder, t, err);
}

static wa_status read_decoder_byte_level(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    (void)json;
    return wa_decoders_add(&t->decoders, (wa_decoder){.kind = WA_DECODE_BYTE_LEVEL}, err);
}

static wa_status read_decoder_replace(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    wa_decoder decode = {.kind = WA_DECODE_REPLACE};
    WA_TRY(read_replace(json, t, &decode.from, &decode.to, err));
    return wa_decoders_add(&t->decoders, decode, err);
}

static wa_status read_byte_fallback(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    (void)json;
    return wa_decoders_add(&t->decoders, (wa_decoder){.kind = WA_DECODE_BYTE_FALLBACK}, err);
}

static wa_status read_strip(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    wa_decoder decode = {.kind = WA_DECODE_STRIP};
    WA_TRY(read_text(json, "content", t, &decode.from, err));
    if (decode.from.size == 0)
        return wa_fail(err, WA_E_FORMAT, "key 'content': found an empty string");
    WA_TRY(wa_json_size(json, "start", &decode.start, err));
    WA_TRY(wa_json_size(json, "stop", &decode.stop, err));
    return wa_decoders_add(&t->decoders, decode, err);
}

/* The first token, and ours always is, loses its marks unless none were put in front. */
static wa_status read_decoder_metaspace(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    wa_decoder decode = {.kind = WA_DECODE_REPLACE};
    prepend_scheme scheme = PREPEND_ALWAYS;
    WA_TRY(read_metaspace_keys(json, t, &decode.from, &scheme, err));
    if (scheme == PREPEND_NEVER)
        decode.to = WA_TEXT(" ");
    return wa_decoders_add(&t->decoders, decode, err);
}

wa_status wa_read_decoder(const json_t *json, wa_tokenizer *t, wa_error *err)
{
    static const wa_component table[] = {{"Sequence", read_decoders},
                                         {"ByteLevel", read_decoder_byte_level},
                                         {"Replace", read_decoder_replace},
                                         {"ByteFallback", read_byte_fallback},
                                         {"Fuse", NULL},
                                         {"Strip", read_strip},
                                         {"Metaspace", read_decoder_metaspace}};
    return wa_read_component("decoder", json, table, COUNT(table), t, err);
}

/* A tokenizer.json: the large tables through the scanner, the rest through Jansson. */
#include "model/tokenizer_parts.h"
#include "model/tokenizer_scan.h"

/* --- Document -------------------------------------------------------------------------------- */

/* Parses all but the spans. On failure the whole document is parsed for the right line and column.
 */
static wa_status parse_rest(wa_bytes document, const wa_scan_spans *spans, wa_arena *arena,
                            json_t **out, wa_error *err)
{
    if (spans->vocab.bytes.data == NULL && spans->merges.bytes.data == NULL)
        return wa_json_parse(document, out, err);
    wa_bytes rest = {NULL, 0};
    WA_TRY(wa_scan_rest(document, spans, arena, &rest, err));
    wa_status status = wa_json_parse(rest, out, err);
    if (status != WA_E_FORMAT)
        return status;
    json_t *whole;
    wa_error better;
    if (wa_json_parse(document, &whole, &better) == WA_OK)
        wa_json_close(whole);
    else if (err != NULL)
        *err = better;
    return status;
}

static wa_status refuse_unless_null(const json_t *root, const char *key, wa_error *err)
{
    const json_t *value = json_object_get(root, key);
    if (value == NULL || json_is_null(value))
        return WA_OK;
    return wa_fail(err, WA_E_UNSUPPORTED,
                   "unsupported tokenizer component: '%s' is %s, expected null", key,
                   wa_json_type_name(value));
}

/* --- Model ----------------------------------------------------------------------------------- */

/* Old files of GPT-2 have no type, but then a vocabulary and merges. */
static wa_status check_model(const json_t *model, const wa_scan_spans *spans, wa_error *err)
{
    const char *type = NULL;
    if (!json_is_object(model))
        return wa_fail(err, WA_E_FORMAT, "key 'model': found %s, expected an object",
                       wa_json_type_name(model));
    WA_TRY(wa_json_string_or(model, "type", "BPE", &type, err));
    if (strcmp(type, "BPE") != 0)
        return wa_fail(err, WA_E_UNSUPPORTED, "unsupported tokenizer model '%s', expected 'BPE'",
                       type);
    if (spans->vocab.bytes.data == NULL || spans->vocab.bytes.data[0] != '{')
        return wa_fail(err, WA_E_FORMAT, "model.vocab: found no object");
    if (spans->merges.bytes.data == NULL || spans->merges.bytes.data[0] != '[')
        return wa_fail(err, WA_E_FORMAT, "model.merges: found no array");
    return WA_OK;
}

static wa_status read_flags(const json_t *model, wa_tokenizer *t, wa_error *err)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < 2; i++) {
        const char *affix = "";
        WA_TRY(wa_json_string_or(model, affixes[i], "", &affix, err));
        if (affix[0] != '\0')
            return wa_fail(err, WA_E_UNSUPPORTED, "unsupported in the tokenizer model: %s '%s'",
                           affixes[i], affix);
    }
    double dropout = 0.0;
    WA_TRY(wa_json_f64_or(model, "dropout", 0.0, &dropout, err));
    if (dropout != 0.0)
        return wa_fail(err, WA_E_UNSUPPORTED, "unsupported in the tokenizer model: dropout %g",
                       dropout);
    WA_TRY(wa_json_bool_or(model, "fuse_unk", false, &t->fuse_unk, err));
    WA_TRY(wa_json_bool_or(model, "byte_fallback", false, &t->byte_fallback, err));
    return wa_json_bool_or(model, "ignore_merges", false, &t->ignore_merges, err);
}

static wa_status read_unk(const json_t *model, wa_tokenizer *t, wa_error *err)
{
    const char *unk = "";
    WA_TRY(wa_json_string_or(model, "unk_token", "", &unk, err));
    t->unk_id = -1;
    if (unk[0] == '\0')
        return WA_OK;
    t->unk_id = wa_vocab_find(&t->vocab, (wa_text){unk, strlen(unk)});
    if (t->unk_id < 0)
        return wa_fail(err, WA_E_FORMAT, "unk_token '%s' is not in the vocabulary", unk);
    return WA_OK;
}

static wa_status read_merges(const wa_scan_span *span, wa_tokenizer *t, wa_arena *scratch,
                             wa_error *err)
{
    size_t buffer_size, count = 0;
    char *buffer;
    wa_merge *list, *kept;
    if (!wa_size_mul(2, span->longest, &buffer_size) ||
        !wa_size_add(buffer_size, WA_SCAN_BATCH_BYTES, &buffer_size))
        return wa_fail(err, WA_E_MEMORY, "model.merges: a string of %zu bytes", span->longest);
    WA_TRY(wa_arena_take_raw(scratch, buffer_size, 1, &buffer, err));
    WA_TRY(wa_arena_take_raw(scratch, span->strings, sizeof *list, &list, err));
    WA_TRY(wa_scan_merges(span, &t->vocab, buffer, list, &count, err));
    WA_TRY(wa_arena_take_raw(t->arena, count, sizeof *kept, &kept, err));
    if (count > 0)
        memcpy(kept, list, count * sizeof *kept);
    return wa_merges_build(kept, count, t->arena, &t->merges, err);
}

/* --- Added tokens and vocabulary -------------------------------------------------------------- */

typedef struct added_json {
    wa_text content; /* borrowed from the document */
    uint32_t id;
    bool special, normalized, strip_left, strip_right;
} added_json;

static wa_status read_added_one(const json_t *json, added_json *out, wa_error *err)
{
    const json_t *content = json_object_get(json, "content");
    if (!json_is_string(content))
        return wa_fail(err, WA_E_FORMAT, "key 'content': found %s, expected a string",
                       wa_json_type_name(content));
    out->content = (wa_text){json_string_value(content), json_string_length(content)};

    uint64_t id = 0;
    bool single_word = false;
    WA_TRY(wa_json_u64(json, "id", &id, err));
    if (id > WA_VOCAB_MAX_ID)
        return wa_fail(err, WA_E_FORMAT, "token id %llu, at most %d is expected",
                       (unsigned long long)id, WA_VOCAB_MAX_ID);
    out->id = (uint32_t)id;
    WA_TRY(wa_json_bool_or(json, "special", false, &out->special, err));
    WA_TRY(wa_json_bool_or(json, "normalized", !out->special, &out->normalized, err));
    WA_TRY(wa_json_bool_or(json, "lstrip", false, &out->strip_left, err));
    WA_TRY(wa_json_bool_or(json, "rstrip", false, &out->strip_right, err));
    WA_TRY(wa_json_bool_or(json, "single_word", false, &single_word, err));
    if (single_word)
        return wa_fail(err, WA_E_UNSUPPORTED, "unsupported: 'single_word' of added token '%s'",
                       out->content.data);
    return WA_OK;
}

static wa_status read_added(const json_t *root, wa_arena *scratch, added_json **out, size_t *count,
                            wa_error *err)
{
    const json_t *list = json_object_get(root, "added_tokens");
    *count = 0;
    if (list != NULL && !json_is_null(list) && !json_is_array(list))
        return wa_fail(err, WA_E_FORMAT, "key 'added_tokens': found %s, expected an array",
                       wa_json_type_name(list));
    size_t n = json_array_size(list);
    WA_TRY(wa_arena_take(scratch, n, sizeof **out, out, err));
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_object(item))
            return wa_fail(err, WA_E_FORMAT, "added_tokens[%zu]: found %s, expected an object", i,
                           wa_json_type_name(item));
        if (read_added_one(item, &(*out)[i], err) != WA_OK)
            return wa_note(err, "in added_tokens[%zu]", i);
    }
    *count = n;
    return WA_OK;
}

/* The model's tokens and the added ones in one pool; only the former can come out of BPE. */
static wa_status read_vocab(const wa_scan_span *span, const added_json *added, size_t added_count,
                            wa_tokenizer *t, wa_arena *scratch, wa_error *err)
{
    size_t pool_size = span->bytes.size, entry_count, used = 0;
    for (size_t i = 0; i < added_count; i++)
        if (!wa_size_add(pool_size, added[i].content.size, &pool_size))
            return wa_fail(err, WA_E_MEMORY, "added tokens overflow");
    if (pool_size > UINT32_MAX || !wa_size_add(span->strings, added_count, &entry_count))
        return wa_fail(err, WA_E_UNSUPPORTED, "a vocabulary of %zu bytes", pool_size);

    char *pool;
    wa_vocab_entry *entries;
    WA_TRY(wa_arena_take_raw(scratch, pool_size, 1, &pool, err));
    WA_TRY(wa_arena_take_raw(scratch, entry_count, sizeof *entries, &entries, err));
    wa_vocab_source source = {.entries = entries};
    WA_TRY(wa_scan_vocab(span, pool, &used, entries, &source.model_count, err));
    source.count = source.model_count;
    for (size_t i = 0; i < added_count; i++) {
        wa_text content = added[i].content;
        entries[source.count++] =
            (wa_vocab_entry){added[i].id, (uint32_t)used, (uint32_t)content.size};
        memcpy(pool + used, content.data, content.size);
        used += content.size;
    }
    wa_text kept;
    WA_TRY(wa_text_copy((wa_text){pool, used}, t->arena, &kept, err));
    source.pool = kept.data;
    return wa_vocab_build(&source, t->arena, &t->vocab, err);
}

static wa_status normalize_content(wa_tokenizer *t, wa_text *content, wa_error *err)
{
    for (size_t i = 0; i < t->normalizers.count && content->size > 0; i++)
        WA_TRY(wa_step_run(&t->normalizers.list[i], (wa_piece){*content, true}, t->arena, content,
                           err));
    return WA_OK;
}

/* An added token that the model has too must have the model's id: nothing else says which counts.
 */
static wa_status build_added(const added_json *added, size_t count, wa_tokenizer *t, wa_error *err)
{
    wa_added_token *raw, *normalized;
    size_t raw_count = 0, normalized_count = 0;
    WA_TRY(wa_arena_take(t->arena, count, sizeof *raw, &raw, err));
    WA_TRY(wa_arena_take(t->arena, count, sizeof *normalized, &normalized, err));
    for (size_t i = 0; i < count; i++) {
        int32_t id = (int32_t)added[i].id, found = wa_vocab_find(&t->vocab, added[i].content);
        if (found >= 0 && found != id)
            return wa_fail(err, WA_E_FORMAT, "added token '%s' has id %d, in the vocabulary %d",
                           added[i].content.data, (int)id, (int)found);
        wa_added_token token = {.content = wa_vocab_text(&t->vocab, id),
                                .id = id,
                                .strip_left = added[i].strip_left,
                                .strip_right = added[i].strip_right};
        if (added[i].special)
            t->vocab.special[id] = 1;
        if (added[i].normalized) {
            WA_TRY(normalize_content(t, &token.content, err));
            normalized[normalized_count++] = token;
        } else {
            raw[raw_count++] = token;
        }
    }
    wa_added_build(raw, raw_count, &t->raw);
    wa_added_build(normalized, normalized_count, &t->normalized);
    return WA_OK;
}

/* --- The whole ------------------------------------------------------------------------------- */

static wa_status read_components(const json_t *root, wa_tokenizer *t, wa_error *err)
{
    WA_TRY(refuse_unless_null(root, "truncation", err));
    WA_TRY(refuse_unless_null(root, "padding", err));
    WA_TRY(wa_read_normalizer(json_object_get(root, "normalizer"), t, err));
    WA_TRY(wa_read_pre_tokenizer(json_object_get(root, "pre_tokenizer"), t, err));
    WA_TRY(wa_read_post_processor(json_object_get(root, "post_processor"), t, err));
    return wa_read_decoder(json_object_get(root, "decoder"), t, err);
}

/* Post-processors name ids before the vocabulary is known. */
static wa_status check_around(const wa_tokenizer *t, const int32_t *ids, size_t count,
                              wa_error *err)
{
    for (size_t i = 0; i < count; i++)
        if ((size_t)ids[i] >= t->vocab.id_count)
            return wa_fail(err, WA_E_FORMAT,
                           "post-processor adds token id %d, the vocabulary has %zu ids",
                           (int)ids[i], t->vocab.id_count);
    return WA_OK;
}

static wa_status read_root(const json_t *root, const wa_scan_spans *spans, wa_tokenizer *t,
                           wa_arena *scratch, wa_error *err)
{
    const json_t *model = json_object_get(root, "model");
    added_json *added = NULL;
    size_t added_count = 0;
    if (!json_is_object(root))
        return wa_fail(err, WA_E_FORMAT, "found %s, expected an object", wa_json_type_name(root));
    WA_TRY(check_model(model, spans, err));
    WA_TRY(read_flags(model, t, err));
    WA_TRY(read_components(root, t, err));
    WA_TRY(read_added(root, scratch, &added, &added_count, err));
    WA_TRY(read_vocab(&spans->vocab, added, added_count, t, scratch, err));
    WA_TRY(check_around(t, t->before, t->before_count, err));
    WA_TRY(check_around(t, t->after, t->after_count, err));
    WA_TRY(read_unk(model, t, err));
    WA_TRY(build_added(added, added_count, t, err));
    return read_merges(&spans->merges, t, scratch, err);
}

wa_status wa_tokenizer_read_json(wa_bytes document, wa_tokenizer *tokenizer, wa_error *err)
{
    wa_scan_spans spans = wa_scan_locate(document);
    wa_arena *scratch;
    json_t *root = NULL;
    WA_TRY(wa_arena_open("tokenizer.json", 0, &scratch, err));
    wa_status status = parse_rest(document, &spans, scratch, &root, err);
    if (status == WA_OK)
        status = read_root(root, &spans, tokenizer, scratch, err);
    wa_json_close(root);
    wa_arena_close(scratch);
    return status;
}

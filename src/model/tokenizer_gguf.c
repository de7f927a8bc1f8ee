/* The vocabulary inside a GGUF (forward-pass.md 4.6): SentencePiece style or byte-level BPE. */
#include "model/gguf.h"
#include "model/tokenizer_parts.h"

#include <math.h>

#define KEY(name) "tokenizer.ggml." name

/* tokenizer.ggml.token_type */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4, TYPE_BYTE = 6 };

/* --- Vocabulary ------------------------------------------------------------------------------ */

static wa_status read_types(const wa_gguf *gguf, size_t count, wa_arena *scratch, uint8_t **out,
                            wa_error *err)
{
    wa_gguf_array types = {0};
    WA_TRY(wa_arena_take_raw(scratch, count, 1, out, err));
    memset(*out, TYPE_NORMAL, count);
    if (!wa_gguf_has(gguf, KEY("token_type")))
        return WA_OK;
    WA_TRY(wa_gguf_find_array(gguf, KEY("token_type"), &types, err));
    if (types.count != count)
        return wa_fail(err, WA_E_FORMAT, KEY("token_type") ": found %llu entries, expected %zu",
                       (unsigned long long)types.count, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t type;
        if (!wa_gguf_array_next_u64(&types, &type) || type > UINT8_MAX)
            return wa_fail(err, WA_E_FORMAT, KEY("token_type") "[%zu]: expected a small integer",
                           i);
        (*out)[i] = (uint8_t)type;
    }
    return WA_OK;
}

/* Copies the strings to one pool; the last of equal ones is found, as in llama.cpp. */
static wa_status read_tokens(wa_gguf_array tokens, wa_tokenizer *t, wa_arena *scratch,
                             wa_error *err)
{
    if (tokens.type != WA_GGUF_STRING || tokens.count == 0 || tokens.count > WA_VOCAB_MAX_ID + 1 ||
        tokens.size > UINT32_MAX)
        return wa_fail(err, WA_E_FORMAT,
                       KEY("tokens") ": found %llu entries of type %u, expected 1 to %d strings",
                       (unsigned long long)tokens.count, (unsigned)tokens.type,
                       WA_VOCAB_MAX_ID + 1);
    size_t count = (size_t)tokens.count, used = 0;
    char *pool;
    wa_vocab_entry *entries;
    wa_bytes text;
    WA_TRY(wa_arena_take_raw(t->arena, tokens.size, 1, &pool, err));
    WA_TRY(wa_arena_take_raw(scratch, count, sizeof *entries, &entries, err));
    for (size_t i = 0; i < count; i++) {
        if (!wa_gguf_array_next_string(&tokens, &text))
            return wa_fail(err, WA_E_FORMAT, KEY("tokens") "[%zu]: expected a string", i);
        entries[i] = (wa_vocab_entry){(uint32_t)i, (uint32_t)used, (uint32_t)text.size};
        if (text.size > 0)
            memcpy(pool + used, text.data, text.size);
        used += text.size;
    }
    wa_vocab_source source = {.pool = pool,
                              .entries = entries,
                              .model_count = count,
                              .count = count,
                              .allow_repeats = true};
    return wa_vocab_build(&source, t->arena, &t->vocab, err);
}

/* Control and user-defined tokens are cut out of the raw text. */
static wa_status build_added(const uint8_t *types, wa_tokenizer *t, wa_error *err)
{
    wa_added_token *list;
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < t->vocab.id_count; i++)
        count += types[i] == TYPE_CONTROL || types[i] == TYPE_USER_DEFINED;
    WA_TRY(wa_arena_take(t->arena, count, sizeof *list, &list, err));
    for (size_t i = 0; i < t->vocab.id_count; i++) {
        t->vocab.special[i] = types[i] == TYPE_CONTROL || types[i] == TYPE_UNKNOWN;
        if (types[i] != TYPE_CONTROL && types[i] != TYPE_USER_DEFINED)
            continue;
        wa_text content = wa_vocab_text(&t->vocab, (int32_t)i);
        if (wa_utf8_valid_size(content) != content.size)
            return wa_fail(err, WA_E_FORMAT,
                           KEY("tokens") "[%zu]: an added token with invalid UTF-8", i);
        list[kept++] = (wa_added_token){.content = content, .id = (int32_t)i};
    }
    wa_added_build(list, kept, &t->raw);
    return WA_OK;
}

/* --- Ids around the encoding ------------------------------------------------------------------ */

static wa_status read_token_id(const wa_gguf *gguf, const char *key, const wa_tokenizer *t,
                               int32_t *out, wa_error *err)
{
    uint64_t id = 0;
    WA_TRY(wa_gguf_u64(gguf, key, &id, err));
    if (id >= t->vocab.id_count)
        return wa_fail(err, WA_E_FORMAT, "%s is %llu, the vocabulary has %zu tokens", key,
                       (unsigned long long)id, t->vocab.id_count);
    *out = (int32_t)id;
    return WA_OK;
}

static wa_status read_edge(const wa_gguf *gguf, const char *flag_key, const char *id_key,
                           bool fallback, const wa_tokenizer *t, int32_t **ids, size_t *count,
                           wa_error *err)
{
    bool wanted = fallback;
    if (wa_gguf_has(gguf, flag_key))
        WA_TRY(wa_gguf_bool(gguf, flag_key, &wanted, err));
    if (!wanted)
        return WA_OK;
    WA_TRY(wa_arena_take(t->arena, 1, sizeof **ids, ids, err));
    WA_TRY(read_token_id(gguf, id_key, t, *ids, err));
    *count = 1;
    return WA_OK;
}

static wa_status read_edges(const wa_gguf *gguf, bool add_bos, wa_tokenizer *t, wa_error *err)
{
    WA_TRY(read_edge(gguf, KEY("add_bos_token"), KEY("bos_token_id"), add_bos, t, &t->before,
                     &t->before_count, err));
    return read_edge(gguf, KEY("add_eos_token"), KEY("eos_token_id"), false, t, &t->after,
                     &t->after_count, err);
}

/* --- Model "llama": merge by score -------------------------------------------------------------
 */

/* Maps scores to integers in reverse order: the highest score gets the smallest. */
static uint32_t order_of_score(float score)
{
    uint32_t bits;
    score += 0.0f; /* -0 and 0 are equal scores */
    memcpy(&bits, &score, sizeof bits);
    uint32_t ascending = bits >> 31 ? ~bits : bits | 0x80000000u;
    return ~ascending;
}

/* As in SentencePiece, byte, control and unknown tokens never come out of a merge. */
static wa_status read_scores(const wa_gguf *gguf, const uint8_t *types, wa_tokenizer *t,
                             wa_error *err)
{
    wa_gguf_array scores = {0};
    size_t count = t->vocab.id_count;
    WA_TRY(wa_gguf_find_array(gguf, KEY("scores"), &scores, err));
    if (scores.type != WA_GGUF_F32 || scores.count != count)
        return wa_fail(err, WA_E_FORMAT,
                       KEY("scores") ": found %llu entries of type %u, expected %zu of type f32",
                       (unsigned long long)scores.count, (unsigned)scores.type, count);
    WA_TRY(wa_arena_take_raw(t->arena, count, sizeof *t->order, &t->order, err));
    for (size_t i = 0; i < count; i++) {
        float score = wa_load_f32(scores.data + 4 * i);
        if (isnan(score))
            return wa_fail(err, WA_E_FORMAT, KEY("scores") "[%zu] is not a number", i);
        bool never = types[i] == TYPE_UNKNOWN || types[i] == TYPE_CONTROL || types[i] == TYPE_BYTE;
        t->order[i] = never ? WA_ORDER_NEVER : order_of_score(score);
    }
    return WA_OK;
}

static wa_status read_spm(const wa_gguf *gguf, const uint8_t *types, wa_tokenizer *t, wa_error *err)
{
    const wa_step prefix = {.kind = WA_STEP_PREFIX, .to = WA_TEXT(" "), .when = WA_PREFIX_ALWAYS};
    const wa_step marks = {
        .kind = WA_STEP_REPLACE, .from = WA_TEXT(" "), .to = WA_TEXT(WA_SPACE_MARK)};
    const wa_decoder unmark = {
        .kind = WA_DECODE_REPLACE, .from = WA_TEXT(WA_SPACE_MARK), .to = WA_TEXT(" ")};
    bool add_space = true;
    t->is_spm = true;
    WA_TRY(read_scores(gguf, types, t, err));
    if (wa_gguf_has(gguf, KEY("add_space_prefix")))
        WA_TRY(wa_gguf_bool(gguf, KEY("add_space_prefix"), &add_space, err));
    if (wa_gguf_has(gguf, KEY("unknown_token_id")))
        WA_TRY(read_token_id(gguf, KEY("unknown_token_id"), t, &t->unk_id, err));
    if (add_space)
        WA_TRY(wa_steps_add(&t->normalizers, prefix, err));
    WA_TRY(wa_steps_add(&t->normalizers, marks, err));
    WA_TRY(wa_decoders_add(&t->decoders, unmark, err));
    WA_TRY(wa_decoders_add(&t->decoders, (wa_decoder){.kind = WA_DECODE_BYTE_FALLBACK}, err));
    return read_edges(gguf, true, t, err);
}

/* --- Model "gpt2": merge by rank ---------------------------------------------------------------
 */

typedef enum pre_family { PRE_GPT2, PRE_DIGITS_GPT2, PRE_QWEN2, PRE_LLAMA3 } pre_family;

static wa_status find_family(const wa_gguf *gguf, pre_family *out, wa_error *err)
{
    static const struct {
        const char *name;
        pre_family family;
    } known[] = {
        {"gpt-2", PRE_GPT2},         {"smollm", PRE_DIGITS_GPT2},    {"starcoder", PRE_DIGITS_GPT2},
        {"refact", PRE_DIGITS_GPT2}, {"command-r", PRE_DIGITS_GPT2}, {"qwen2", PRE_QWEN2},
        {"llama-bpe", PRE_LLAMA3},   {"llama3", PRE_LLAMA3},         {"llama-v3", PRE_LLAMA3}};
    wa_bytes name = {NULL, 0};
    WA_TRY(wa_gguf_string(gguf, KEY("pre"), &name, err));
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (name.size == strlen(known[i].name) &&
            memcmp(name.data, known[i].name, name.size) == 0) {
            *out = known[i].family;
            return WA_OK;
        }
    return wa_fail(err, WA_E_UNSUPPORTED,
                   "unsupported tokenizer component: " KEY("pre") " is '%.*s'",
                   name.size > 100 ? 100 : (int)name.size, (const char *)name.data);
}

/* The steps that the family's tokenizer.json has (forward-pass.md 4.3); for Qwen that includes NFC.
 */
static wa_status add_family_steps(pre_family family, wa_tokenizer *t, wa_error *err)
{
    const wa_step digits = {.kind = WA_STEP_SPLIT, .behavior = WA_SPLIT_ISOLATED};
    const char *regex = family == PRE_QWEN2 ? WA_REGEX_QWEN2 : WA_REGEX_LLAMA3;
    if (family == PRE_QWEN2)
        WA_TRY(wa_steps_add(&t->normalizers, (wa_step){.kind = WA_STEP_NFC}, err));
    if (family == PRE_DIGITS_GPT2)
        WA_TRY(wa_steps_add(&t->splitters, digits, err));
    if (family == PRE_QWEN2 || family == PRE_LLAMA3)
        WA_TRY(
            wa_steps_add_regex(t, (wa_text){regex, strlen(regex)}, WA_SPLIT_ISOLATED, false, err));
    bool use_regex = family == PRE_GPT2 || family == PRE_DIGITS_GPT2;
    return wa_steps_add_byte_level(t, false, use_regex, err);
}

/* A merge "a b" with its space closed up in `buffer`, which grows by what it takes. */
static wa_status close_up(wa_bytes text, size_t rank, char *buffer, size_t room, wa_merge_text *out,
                          wa_error *err)
{
    const uint8_t *space = text.size == 0 ? NULL : memchr(text.data, ' ', text.size);
    size_t left = space == NULL ? 0 : (size_t)(space - text.data);
    size_t right = text.size - left - (space == NULL ? 0 : 1);
    if (space == NULL || memchr(space + 1, ' ', right) != NULL || text.size > room)
        return wa_fail(err, WA_E_FORMAT,
                       KEY("merges") "[%zu] is '%.*s', expected two tokens and one space", rank,
                       text.size > 60 ? 60 : (int)text.size, (const char *)text.data);
    memcpy(buffer, text.data, left);
    memcpy(buffer + left, space + 1, right);
    *out = (wa_merge_text){{buffer, left + right}, left};
    return WA_OK;
}

/* Batch by batch; a merge is no longer than the two longest tokens and a space. */
static wa_status resolve_merges(wa_gguf_array merges, const wa_vocab *vocab, char *buffer,
                                wa_merge *list, wa_error *err)
{
    wa_merge_text batch[WA_MERGE_BATCH];
    size_t count = (size_t)merges.count, room = 2 * vocab->longest + 1;
    for (size_t rank = 0; rank < count;) {
        size_t waiting = 0;
        for (; waiting < WA_MERGE_BATCH && rank + waiting < count; waiting++) {
            wa_bytes text;
            if (!wa_gguf_array_next_string(&merges, &text))
                return wa_fail(err, WA_E_FORMAT, KEY("merges") "[%zu]: expected a string",
                               rank + waiting);
            WA_TRY(close_up(text, rank + waiting, buffer + waiting * room, room, &batch[waiting],
                            err));
        }
        WA_TRY(wa_merges_resolve(vocab, rank, batch, waiting, list + rank, err));
        rank += waiting;
    }
    return WA_OK;
}

static wa_status read_merges(const wa_gguf *gguf, wa_tokenizer *t, wa_arena *scratch, wa_error *err)
{
    wa_gguf_array merges = {0};
    WA_TRY(wa_gguf_find_array(gguf, KEY("merges"), &merges, err));
    if (merges.type != WA_GGUF_STRING || merges.count > UINT32_MAX - 1)
        return wa_fail(err, WA_E_FORMAT,
                       KEY("merges") ": found %llu entries of type %u, expected strings",
                       (unsigned long long)merges.count, (unsigned)merges.type);
    size_t count = (size_t)merges.count;
    char *buffer;
    wa_merge *list;
    WA_TRY(wa_arena_take_raw(scratch, 2 * t->vocab.longest + 1, WA_MERGE_BATCH, &buffer, err));
    WA_TRY(wa_arena_take_raw(t->arena, count, sizeof *list, &list, err));
    WA_TRY(resolve_merges(merges, &t->vocab, buffer, list, err));
    return wa_merges_build(list, count, t->arena, &t->merges, err);
}

static wa_status read_bpe(const wa_gguf *gguf, wa_tokenizer *t, wa_arena *scratch, wa_error *err)
{
    pre_family family = PRE_GPT2;
    WA_TRY(find_family(gguf, &family, err));
    WA_TRY(add_family_steps(family, t, err));
    WA_TRY(wa_decoders_add(&t->decoders, (wa_decoder){.kind = WA_DECODE_BYTE_LEVEL}, err));
    WA_TRY(read_merges(gguf, t, scratch, err));
    t->ignore_merges = family == PRE_LLAMA3;
    return read_edges(gguf, family == PRE_LLAMA3, t, err);
}

/* --- The whole ------------------------------------------------------------------------------- */

static bool bytes_equal(wa_bytes bytes, const char *name)
{
    return bytes.size == strlen(name) && memcmp(bytes.data, name, bytes.size) == 0;
}

static wa_status read_model(wa_bytes file, wa_tokenizer *t, wa_arena *scratch, wa_error *err)
{
    wa_gguf *gguf = NULL;
    wa_bytes model = {NULL, 0};
    wa_gguf_array tokens = {0};
    uint8_t *types = NULL;
    WA_TRY(wa_gguf_parse(file, scratch, &gguf, err));
    WA_TRY(wa_gguf_string(gguf, KEY("model"), &model, err));
    bool is_spm = bytes_equal(model, "llama");
    if (!is_spm && !bytes_equal(model, "gpt2"))
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "unsupported tokenizer model '%.*s', expected 'llama' or 'gpt2'",
                       model.size > 100 ? 100 : (int)model.size, (const char *)model.data);
    WA_TRY(wa_gguf_find_array(gguf, KEY("tokens"), &tokens, err));
    WA_TRY(read_tokens(tokens, t, scratch, err));
    WA_TRY(read_types(gguf, t->vocab.id_count, scratch, &types, err));
    WA_TRY(build_added(types, t, err));
    return is_spm ? read_spm(gguf, types, t, err) : read_bpe(gguf, t, scratch, err);
}

wa_status wa_tokenizer_read_gguf(wa_bytes file, wa_tokenizer *tokenizer, wa_error *err)
{
    wa_arena *scratch;
    WA_TRY(wa_arena_open("gguf vocabulary", 0, &scratch, err));
    wa_status status = read_model(file, tokenizer, scratch, err);
    wa_arena_close(scratch);
    return status;
}

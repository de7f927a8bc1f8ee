/* Vocabularies inside GGUF files, made by hand: SentencePiece style, byte-level, damaged. */
#include "tokenizer_files.h"

typedef struct blob {
    uint8_t bytes[4096];
    size_t size;
    uint64_t keys;
} blob;

static void put(blob *b, const void *data, size_t size)
{
    CU_ASSERT_FATAL(b->size + size <= sizeof b->bytes);
    memcpy(b->bytes + b->size, data, size);
    b->size += size;
}

static void put_u32(blob *b, uint32_t value)
{
    put(b, &value, sizeof value);
}

static void put_u64(blob *b, uint64_t value)
{
    put(b, &value, sizeof value);
}

static void put_string(blob *b, const char *text)
{
    put_u64(b, strlen(text));
    put(b, text, strlen(text));
}

static void start(blob *b)
{
    *b = (blob){0};
    put(b, "GGUF", 4);
    put_u32(b, 3);
    put_u64(b, 0); /* tensors */
    put_u64(b, 0); /* keys, written by finish */
}

static void put_key(blob *b, const char *name, uint32_t type)
{
    char key[64];
    snprintf(key, sizeof key, "tokenizer.ggml.%s", name);
    put_string(b, key);
    put_u32(b, type);
    b->keys++;
    memcpy(b->bytes + 16, &b->keys, sizeof b->keys);
}

enum { TYPE_U32 = 4, TYPE_I32 = 5, TYPE_F32 = 6, TYPE_BOOL = 7, TYPE_STRING = 8, TYPE_ARRAY = 9 };

static void put_array(blob *b, const char *name, uint32_t type, size_t count)
{
    put_key(b, name, TYPE_ARRAY);
    put_u32(b, type);
    put_u64(b, count);
}

static void put_text(blob *b, const char *name, const char *value)
{
    put_key(b, name, TYPE_STRING);
    put_string(b, value);
}

static void put_flag(blob *b, const char *name, bool value)
{
    uint8_t byte = value;
    put_key(b, name, TYPE_BOOL);
    put(b, &byte, 1);
}

/* "▁" is U+2581. Scores: "ab" and "bc" tie, "abc" never arises by itself. */
static const struct {
    const char *text;
    int32_t type;
    float score;
} spm_tokens[] = {{"<unk>", 2, 0.0f},
                  {"<s>", 3, 0.0f},
                  {"\n", 4, 0.0f},
                  {"a", 1, -9.0f},
                  {"b", 1, -9.0f},
                  {"c", 1, -9.0f},
                  {"ab", 1, -2.0f},
                  {"bc", 1, -2.0f},
                  {"\xe2\x96\x81", 1, -9.0f},
                  {"\xe2\x96\x81"
                   "a",
                   1, -1.0f},
                  {"<0xC3>", 6, 0.0f},
                  {"<0xA9>", 6, 0.0f},
                  {"cc", 1, -1.0f},
                  {"ccc", 1, -0.5f}};
enum { SPM_COUNT = sizeof spm_tokens / sizeof spm_tokens[0] };

static void make_spm(blob *b, bool space_prefix)
{
    start(b);
    put_text(b, "model", "llama");
    put_array(b, "tokens", TYPE_STRING, SPM_COUNT);
    for (size_t i = 0; i < SPM_COUNT; i++)
        put_string(b, spm_tokens[i].text);
    put_array(b, "token_type", TYPE_I32, SPM_COUNT);
    for (size_t i = 0; i < SPM_COUNT; i++)
        put(b, &spm_tokens[i].type, 4);
    put_array(b, "scores", TYPE_F32, SPM_COUNT);
    for (size_t i = 0; i < SPM_COUNT; i++)
        put(b, &spm_tokens[i].score, 4);
    put_key(b, "bos_token_id", TYPE_U32);
    put_u32(b, 1);
    put_key(b, "unknown_token_id", TYPE_U32);
    put_u32(b, 0);
    if (!space_prefix)
        put_flag(b, "add_space_prefix", false);
}

static wa_tokenizer *open_blob(const char *name, const blob *b)
{
    char path[512];
    wa_test_write(name, b->bytes, b->size, path);
    return wa_test_tokenizer(path);
}

static void spm_merges_by_score_then_from_the_left(void)
{
    blob b;
    make_spm(&b, false);
    wa_tokenizer *t = open_blob("spm.gguf", &b);
    wa_test_text(t, "abc", 3, "[1, 6, 5]");   /* the tie goes to the left pair */
    wa_test_text(t, "bcc", 3, "[1, 4, 12]");  /* "cc" before "bc" */
    wa_test_text(t, "cccc", 4, "[1, 13, 5]"); /* cc, then ccc, before the second cc */
    wa_test_text(t, "a a", 3, "[1, 3, 9]");
    wa_test_text(t, "a\n a", 4, "[1, 3, 2, 9]");
    wa_test_text(t, "a<s>b", 5, "[1, 3, 1, 4]");
    wa_test_text(t, "\xc3\xa9", 2, "[1, 10, 11]"); /* no token: its bytes */
    wa_test_text(t, "x", 1, "[1, 0]");             /* and without those, unk */
    wa_test_decoded(t, 9, " a");
    wa_test_decoded(t, 10, "\xef\xbf\xbd");
    wa_test_decoded(t, 1, "<s>");
    CU_ASSERT(wa_tokenizer_is_special(t, 1));
    CU_ASSERT(!wa_tokenizer_is_special(t, 2));
    wa_tokenizer_close(t);

    make_spm(&b, true); /* the default: a space before every fragment */
    put_flag(&b, "add_bos_token", false);
    t = open_blob("spm.gguf", &b);
    wa_test_text(t, "a\nab", 4, "[9, 2, 9, 4]");
    wa_test_text(t, "", 0, "[]");
    wa_tokenizer_close(t);
}

static void make_gpt2(blob *b, const char *pre)
{
    static const char *const tokens[] = {"1",
                                         "2",
                                         "\xc4\xa0",
                                         "a",
                                         "12",
                                         "\xc4\xa0"
                                         "a",
                                         "<s>",
                                         "21"};
    static const int32_t types[] = {1, 1, 1, 1, 1, 1, 3, 1};
    static const char *const merges[] = {"1 2", "\xc4\xa0 a"};
    start(b);
    put_text(b, "model", "gpt2");
    if (pre != NULL)
        put_text(b, "pre", pre);
    put_array(b, "tokens", TYPE_STRING, 8);
    for (size_t i = 0; i < 8; i++)
        put_string(b, tokens[i]);
    put_array(b, "token_type", TYPE_I32, 8);
    put(b, types, sizeof types);
    put_array(b, "merges", TYPE_STRING, 2);
    for (size_t i = 0; i < 2; i++)
        put_string(b, merges[i]);
    put_key(b, "bos_token_id", TYPE_U32);
    put_u32(b, 6);
}

static void pre_decides_digits_bos_and_ignored_merges(void)
{
    static const struct {
        const char *pre, *ids; /* of "12 a<s>21" */
    } cases[] = {{"gpt-2", "[4, 5, 6, 1, 0]"},
                 {"smollm", "[0, 1, 5, 6, 1, 0]"},
                 {"starcoder", "[0, 1, 5, 6, 1, 0]"},
                 {"qwen2", "[0, 1, 5, 6, 1, 0]"},
                 {"llama-bpe", "[6, 4, 5, 6, 7]"}};
    blob b;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        make_gpt2(&b, cases[i].pre);
        wa_tokenizer *t = open_blob("gpt2.gguf", &b);
        wa_test_text(t, "12 a<s>21", 9, cases[i].ids);
        wa_test_decoded(t, 5, " a");
        wa_tokenizer_close(t);
    }
}

static void damaged_vocabularies_are_named(void)
{
    blob b;
    make_gpt2(&b, NULL);
    wa_test_refuse("bad.gguf", b.bytes, b.size, WA_E_FORMAT, "tokenizer.ggml.pre");
    make_gpt2(&b, "other-pre");
    wa_test_refuse("bad.gguf", b.bytes, b.size, WA_E_UNSUPPORTED, "'other-pre'");
    start(&b);
    put_text(&b, "model", "bert");
    wa_test_refuse("bad.gguf", b.bytes, b.size, WA_E_UNSUPPORTED, "'bert'");
    start(&b);
    wa_test_refuse("bad.gguf", b.bytes, b.size, WA_E_FORMAT, "tokenizer.ggml.model");
    start(&b);
    put_text(&b, "model", "llama");
    put_array(&b, "tokens", TYPE_STRING, 1);
    put_string(&b, "a");
    wa_test_refuse("bad.gguf", b.bytes, b.size, WA_E_FORMAT, "tokenizer.ggml.scores");
    put_array(&b, "scores", TYPE_F32, 0);
    wa_test_refuse("bad.gguf", b.bytes, b.size, WA_E_FORMAT,
                   "found 0 entries of type 6, expected 1");
}

static void damage_to_a_gguf_vocabulary_is_harmless(void)
{
    blob b;
    for (size_t kind = 0; kind < 2; kind++) {
        if (kind == 0)
            make_spm(&b, true);
        else
            make_gpt2(&b, "qwen2");
        for (size_t size = 4; size < b.size; size++)
            wa_test_refuse("cut.gguf", b.bytes, size, WA_E_FORMAT, "test_tokenizer-cut.gguf");
        for (size_t i = 4; i < b.size; i++) {
            uint8_t bit = (uint8_t)(1u << i % 8);
            b.bytes[i] ^= bit;
            wa_test_damaged("flipped.gguf", b.bytes, b.size);
            b.bytes[i] ^= bit;
        }
    }
}

WA_SUITE("tokenizer_gguf", WA_CASE(spm_merges_by_score_then_from_the_left),
         WA_CASE(pre_decides_digits_bos_and_ignored_merges),
         WA_CASE(damaged_vocabularies_are_named), WA_CASE(damage_to_a_gguf_vocabulary_is_harmless))

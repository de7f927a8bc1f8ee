/* Tokenizers: ids of fixtures and of Hugging Face's library, hand-made vocabularies, damage. */
#include "golden.h"
#include "tokenizer_files.h"

/* --- Helpers --------------------------------------------------------------------------------- */

static wa_tokenizer *open_golden(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", WA_GOLDEN, name);
    return wa_test_tokenizer(path);
}

static wa_tokenizer *open_json(const char *name, const char *json)
{
    char path[512];
    wa_test_write(name, json, strlen(json), path);
    return wa_test_tokenizer(path);
}

/* Calls `check` with each line of a JSON-lines file; returns the number of lines. */
static size_t for_each_line(const char *name, void (*check)(json_t *line))
{
    char path[512];
    wa_map map;
    wa_error err;
    size_t lines = 0;
    snprintf(path, sizeof path, "%s/tokenizer/%s", WA_GOLDEN, name);
    WA_MUST(wa_map_open(path, &map, &err), &err);
    for (size_t at = 0; at < map.bytes.size; lines++) {
        const uint8_t *start = map.bytes.data + at;
        const uint8_t *end = memchr(start, '\n', map.bytes.size - at);
        CU_ASSERT_PTR_NOT_NULL_FATAL(end);
        size_t size = (size_t)(end - start);
        json_t *line;
        WA_MUST(wa_json_parse((wa_bytes){start, size}, &line, &err), &err);
        check(line);
        json_decref(line);
        at += size + 1;
    }
    wa_map_close(&map);
    return lines;
}

/* --- Golden data ----------------------------------------------------------------------------- */

static void check_prompt(json_t *line)
{
    wa_tokenizer *tokenizer = open_golden(json_string_value(json_object_get(line, "tokenizer")));
    wa_test_ids(tokenizer, json_object_get(line, "text"), json_object_get(line, "ids"));
    wa_tokenizer_close(tokenizer);
}

static void prompts_have_the_ids_of_the_dense_goldens(void)
{
    CU_ASSERT_EQUAL(for_each_line("prompts.jsonl", check_prompt),
                    39); /* 13 tokenizers, 3 prompts */
}

/* `set` replaces members of the base's tokenizer.json, as golden/tokenizer/make_components.py says.
 */
static void apply_changes(json_t *root, json_t *set)
{
    const char *key;
    json_t *value;
    json_object_foreach(set, key, value)
    {
        json_t *old = json_object_get(root, key);
        int failed = strcmp(key, "model") == 0          ? json_object_update(old, value)
                     : strcmp(key, "added_tokens") == 0 ? json_array_extend(old, value)
                                                        : json_object_set(root, key, value);
        CU_ASSERT_EQUAL(failed, 0);
    }
}

static wa_tokenizer *open_variation(json_t *line)
{
    char path[512];
    json_t *root;
    wa_error err;
    snprintf(path, sizeof path, "%s/models/%s/tokenizer.json", WA_GOLDEN,
             json_string_value(json_object_get(line, "base")));
    WA_MUST(wa_json_open(path, &root, &err), &err);
    apply_changes(root, json_object_get(line, "set"));
    char *text = json_dumps(root, JSON_COMPACT | JSON_ENSURE_ASCII); /* so escapes are read too */
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    wa_tokenizer *tokenizer = open_json("variation.json", text);
    free(text);
    json_decref(root);
    return tokenizer;
}

static void check_variation(json_t *line)
{
    wa_tokenizer *tokenizer = open_variation(line);
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(line, "cases"), i, item)
    {
        wa_test_ids(tokenizer, json_array_get(item, 0), json_array_get(item, 1));
    }
    json_array_foreach(json_object_get(line, "decoded"), i, item)
    {
        wa_test_decoded(tokenizer, (int32_t)json_integer_value(json_array_get(item, 0)),
                        json_string_value(json_array_get(item, 1)));
    }
    wa_tokenizer_close(tokenizer);
}

static void components_do_what_the_hugging_face_library_does(void)
{
    CU_ASSERT_EQUAL(for_each_line("components.jsonl", check_variation), 134);
}

/* --- Hand-made tokenizer.json ------------------------------------------------------------------
 */

/* a to g and powers of "a"; a merge list; whatever else the case wants before the model. */
#define HAND(before, merges)                                                                       \
    "{" before "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"aa\": 2, "        \
    "\"aaaa\": 3, \"ab\": 4, \"\\u00e9\": 5, \"\\ud83e\\udd16\": 6, \" \": 7, \"\\u0000\": 8}, "   \
    "\"merges\": [" merges "]}}"

static void merges_apply_by_rank_then_from_the_left(void)
{
    wa_tokenizer *t = open_json("rank.json", HAND("", "\"a a\", [\"aa\", \"aa\"], [\"a\", \"b\"]"));
    wa_test_text(t, "aaa", 3, "[2, 0]");
    wa_test_text(t, "aaab", 4, "[2, 4]");
    wa_test_text(t, "aaaaa", 5, "[3, 0]");
    wa_test_text(t, "", 0, "[]");
    wa_tokenizer_close(t);

    t = open_json("rank.json", HAND("", "\"a b\", \"a a\""));
    wa_test_text(t, "aab", 3, "[0, 4]");
    wa_tokenizer_close(t);
}

static void escapes_and_surrogate_pairs_are_read(void)
{
    wa_tokenizer *t = open_json("escape.json", HAND("", ""));
    wa_test_text(t, "\xc3\xa9\xf0\x9f\xa4\x96", 6, "[5, 6]");
    size_t size;
    CU_ASSERT_EQUAL(memcmp(wa_tokenizer_piece(t, 6, &size), "\xf0\x9f\xa4\x96", 4), 0);
    CU_ASSERT_EQUAL(size, 4);
    wa_tokenizer_close(t);
}

static void nul_is_a_character_like_any_other(void)
{
    wa_tokenizer *t = open_json("nul.json", HAND("", "\"a b\""));
    wa_test_text(t, "a\0ab", 4, "[0, 8, 4]");
    wa_tokenizer_close(t);
}

static void characters_without_token_are_dropped_when_there_is_no_unk(void)
{
    wa_tokenizer *t = open_json("drop.json", HAND("", "\"a b\""));
    wa_test_text(t, "xaybz", 5, "[4]"); /* what is left is adjacent, so it merges */
    wa_test_text(t, "xyz", 3, "[]");
    wa_tokenizer_close(t);
}

static void template_puts_ids_around(void)
{
    wa_tokenizer *t = open_json(
        "template.json",
        HAND("\"post_processor\": {\"type\": \"Sequence\", \"processors\": [{\"type\": "
             "\"ByteLevel\"}, {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": "
             "{\"id\": \"S\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "
             "{\"SpecialToken\": {\"id\": \"E\", \"type_id\": 0}}], \"special_tokens\": {\"S\": "
             "{\"id\": \"S\", \"ids\": [5, 6]}, \"E\": {\"id\": \"E\", \"ids\": [7]}}}]},",
             ""));
    wa_test_text(t, "ab", 2, "[5, 6, 0, 1, 7]");
    wa_test_text(t, "", 0, "[5, 6, 7]");
    wa_tokenizer_close(t);
}

static void added_tokens_match_leftmost_then_longest(void)
{
    wa_tokenizer *t =
        open_json("added.json",
                  HAND("\"added_tokens\": [{\"id\": 20, \"content\": \"ba\", \"special\": true}, "
                       "{\"id\": 21, \"content\": \"bab\", \"normalized\": false}, {\"id\": 30, "
                       "\"content\": \"aba\", \"normalized\": false}],",
                       ""));
    wa_test_text(t, "babab", 5, "[21, 0, 1]");
    wa_test_text(t, "abab", 4, "[30, 1]");
    wa_test_text(t, "aba", 3, "[30]");
    wa_test_text(t, "baa", 3, "[20, 0]");
    CU_ASSERT_EQUAL(wa_tokenizer_id_count(t), 31);
    CU_ASSERT(wa_tokenizer_is_special(t, 20));
    CU_ASSERT(!wa_tokenizer_is_special(t, 21));
    CU_ASSERT(!wa_tokenizer_is_special(t, -1));
    CU_ASSERT(!wa_tokenizer_is_special(t, 31));
    wa_test_decoded(t, 20, "ba");
    wa_test_decoded(t, 25, ""); /* between the added ones: no token */
    wa_test_decoded(t, -1, "");
    wa_test_decoded(t, 99, "");
    size_t size;
    CU_ASSERT_PTR_NULL(wa_tokenizer_piece(t, 25, &size));
    wa_tokenizer_close(t);
}

static void an_untested_regex_is_used_with_a_warning(void)
{
    wa_tokenizer *t =
        open_json("regex.json",
                  HAND("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\"}, "
                       "\"behavior\": \"Isolated\"},",
                       "\"a a\""));
    wa_test_text(t, "aab", 3, "[0, 0, 1]");
    CU_ASSERT_PTR_NOT_NULL_FATAL(wa_tokenizer_warning(t));
    CU_ASSERT_PTR_NOT_NULL(strstr(wa_tokenizer_warning(t), "untested regular expression"));
    wa_tokenizer_close(t);
    t = open_golden("models/tiny-qwen3");
    CU_ASSERT_PTR_NULL(wa_tokenizer_warning(t));
    wa_tokenizer_close(t);
}

/* --- Text ------------------------------------------------------------------------------------ */

static void invalid_utf8_is_refused_with_its_offset(void)
{
    static const struct {
        const char *text;
        size_t size, offset;
    } cases[] = {{"ab\xff", 3, 2},
                 {"\xc3", 1, 0},
                 {"12345678\xc3(", 10, 8},
                 {"\xed\xa0\x80", 3, 0},      /* a surrogate */
                 {"a\xf4\x90\x80\x80", 5, 1}, /* beyond U+10FFFF */
                 {"a\xc0\x80", 3, 1},
                 {"\xf0\x9f\xa4", 3, 0}};
    wa_tokenizer *t = open_golden("models/tiny-qwen3");
    wa_arena *arena = wa_test_arena();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wa_error err;
        int32_t *ids;
        size_t count;
        char part[64];
        snprintf(part, sizeof part, "invalid UTF-8 at byte %zu of", cases[i].offset);
        CU_ASSERT_EQUAL(
            wa_tokenizer_encode(t, cases[i].text, cases[i].size, arena, &ids, &count, &err),
            WA_E_FORMAT);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, part));
    }
    wa_arena_close(arena);
    wa_tokenizer_close(t);
}

/* Encodes `count` copies of `unit`; returns the number of ids. */
static size_t encode_copies(const wa_tokenizer *t, const char *unit, size_t count)
{
    size_t size = strlen(unit), id_count = 0;
    char *text = malloc(count * size);
    wa_arena *arena = wa_test_arena();
    wa_error err;
    int32_t *ids;
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    for (size_t i = 0; i < count; i++)
        memcpy(text + i * size, unit, size);
    WA_MUST(wa_tokenizer_encode(t, text, count * size, arena, &ids, &id_count, &err), &err);
    wa_arena_close(arena);
    free(text);
    return id_count;
}

/* What makes a regex engine recurse, a merge loop quadratic, or NFC sort by exchanges. */
static void pieces_of_100_kb_take_no_more_than_they_should(void)
{
    wa_tokenizer *t = open_json("long.json", HAND("", "\"a a\", \"aa aa\""));
    CU_ASSERT_EQUAL(encode_copies(t, "a", 100000), 25000);
    CU_ASSERT_EQUAL(encode_copies(t, "a", 100003), 25002); /* three left: "aa", "a" */
    wa_tokenizer_close(t);

    static const char *const models[] = {"models/tiny-qwen3", "models/tiny-llama", "models/gpt2",
                                         "models/tiny-gemma3"};
    for (size_t i = 0; i < 4; i++) {
        t = open_golden(models[i]);
        CU_ASSERT(encode_copies(t, "q", 100000) >= 100000); /* no merge makes "qq" */
        CU_ASSERT(encode_copies(t, " ", 100000) > 0);
        CU_ASSERT(encode_copies(t, "\n ", 50000) >= 50000);
        CU_ASSERT(encode_copies(t, "!", 100000) > 0);
        CU_ASSERT(encode_copies(t, "\xcc\x81\xcc\xa3", 25000) >
                  0); /* marks of two classes in turn */
        wa_tokenizer_close(t);
    }
}

static void an_arena_that_fails_gives_its_error(void)
{
    wa_tokenizer *t = open_golden("models/tiny-qwen3");
    wa_arena *arena = wa_test_arena();
    wa_error err;
    int32_t *ids;
    size_t count;
    char *text;
    wa_arena_fail_at(arena, 1);
    CU_ASSERT_EQUAL(wa_tokenizer_encode(t, "is on", 5, arena, &ids, &count, &err), WA_E_MEMORY);
    for (size_t k = 1; k <= 3; k++) {
        wa_arena_fail_at(arena, k);
        CU_ASSERT_EQUAL(wa_tokenizer_text(t, 1, arena, &text, &err), WA_E_MEMORY);
    }
    wa_arena_close(arena);
    wa_tokenizer_close(t);
}

/* --- Refused files --------------------------------------------------------------------------- */

static void malformed_fixtures_are_refused_by_name(void)
{
    static const struct {
        const char *name;
        wa_status status;
        const char *part;
    } cases[] = {{"unknown-normalizer", WA_E_UNSUPPORTED, "'Lowercase'"},
                 {"merge-not-in-vocab", WA_E_FORMAT, "merge 0"},
                 {"unigram", WA_E_UNSUPPORTED, "'Unigram'"}};
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/malformed/tokenizer/%s.json", WA_GOLDEN, cases[i].name);
        wa_bytes file = wa_test_read(path);
        wa_test_refuse("malformed.json", file.data, file.size, cases[i].status, cases[i].part);
        wa_test_free(file);
    }
}

#define MODEL(inside) "{\"model\": {\"type\": \"BPE\", " inside "}}"

static void what_cannot_be_read_is_named(void)
{
    static const struct {
        const char *json, *part;
        wa_status status;
    } cases[] = {
        {"", "JSON error", WA_E_FORMAT},
        {"[]", "found an array", WA_E_FORMAT},
        {"{}", "key 'model': found nothing", WA_E_FORMAT},
        {MODEL("\"merges\": []"), "model.vocab", WA_E_FORMAT},
        {MODEL("\"vocab\": {}"), "model.merges", WA_E_FORMAT},
        {MODEL("\"vocab\": {\"a\": -1}, \"merges\": []"), "byte 41: found '-'", WA_E_FORMAT},
        {MODEL("\"vocab\": {\"a\": 1.5}, \"merges\": []"), "found '.'", WA_E_FORMAT},
        {MODEL("\"vocab\": {\"a\": 4194304}, \"merges\": []"), "above 4194303", WA_E_FORMAT},
        {MODEL("\"vocab\": {\"a\": 0, \"a\": 1}, \"merges\": []"), "two ids", WA_E_FORMAT},
        {MODEL("\"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []"), "token id 0", WA_E_FORMAT},
        {MODEL("\"vocab\": {\"\\ud800\": 0}, \"merges\": []"), "bad escape", WA_E_FORMAT},
        {MODEL("\"vocab\": {\"\xff\": 0}, \"merges\": []"), "invalid UTF-8", WA_E_FORMAT},
        {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [\"aa\"]"), "one space", WA_E_FORMAT},
        {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]"), "expected ','", WA_E_FORMAT},
        {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [], \"merges\": []"), "duplicate", WA_E_FORMAT},
        {MODEL("\"unk_token\": \"u\", \"vocab\": {\"a\": 0}, \"merges\": []"), "unk_token 'u'",
         WA_E_FORMAT},
        {MODEL("\"dropout\": 0.1, \"vocab\": {}, \"merges\": []"), "dropout", WA_E_UNSUPPORTED},
        {MODEL("\"end_of_word_suffix\": \"</w>\", \"vocab\": {}, \"merges\": []"),
         "end_of_word_suffix", WA_E_UNSUPPORTED},
        {HAND("\"truncation\": {},", ""), "'truncation'", WA_E_UNSUPPORTED},
        {HAND("\"padding\": {},", ""), "'padding'", WA_E_UNSUPPORTED},
        {HAND("\"pre_tokenizer\": {\"type\": \"Bert\"},", ""), "pre-tokenizer 'Bert'",
         WA_E_UNSUPPORTED},
        {HAND("\"decoder\": {\"type\": \"WordPiece\"},", ""), "decoder 'WordPiece'",
         WA_E_UNSUPPORTED},
        {HAND("\"post_processor\": {\"type\": \"Bert\"},", ""), "post-processor 'Bert'",
         WA_E_UNSUPPORTED},
        {HAND("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": "
              "{\"id\": "
              "\"A\"}}, {\"SpecialToken\": {\"id\": \"E\"}}], \"special_tokens\": {\"E\": "
              "{\"ids\": [8, 9]}}},",
              ""),
         "post-processor adds token id 9, the vocabulary has 9 ids", WA_E_FORMAT},
        {HAND("\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a\"}, "
              "\"content\": \"\"},",
              ""),
         "Regex", WA_E_UNSUPPORTED},
        {HAND("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}, "
              "\"behavior\": \"Isolated\"},",
              ""),
         "regular expression '('", WA_E_FORMAT},
        {HAND("\"added_tokens\": [{\"id\": 9, \"content\": \"x\", \"single_word\": true}],", ""),
         "single_word", WA_E_UNSUPPORTED},
        {HAND("\"added_tokens\": [{\"id\": 9, \"content\": \"a\"}],", ""),
         "added token 'a' has id 9, in the vocabulary 0", WA_E_FORMAT},
        {HAND("\"added_tokens\": [{\"id\": 0, \"content\": \"x\"}],", ""),
         "token id 0 belongs to 'a' and to 'x'", WA_E_FORMAT}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        wa_test_refuse("refused.json", cases[i].json, strlen(cases[i].json), cases[i].status,
                       cases[i].part);
}

/* A document cut anywhere is no document. */
static void every_prefix_of_a_tokenizer_is_refused(void)
{
    static const char json[] =
        HAND("\"added_tokens\": [{\"id\": 20, \"content\": \"\\n\"}],", "\"a a\", [\"a\", \"b\"]");
    for (size_t size = 0; size + 1 < sizeof json; size++)
        wa_test_refuse("prefix.json", json, size, WA_E_FORMAT, "test_tokenizer-prefix.json");
}

static void a_flipped_bit_never_does_more_than_change_the_answer(void)
{
    wa_bytes file = wa_test_read(WA_GOLDEN "/models/tiny-odd/tokenizer.json");
    uint8_t *copy = malloc(file.size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    memcpy(copy, file.data, file.size);
    for (size_t i = 0; i < file.size; i += 29) {
        uint8_t bit = (uint8_t)(1u << i % 8);
        copy[i] ^= bit;
        wa_test_damaged("flipped.json", copy, file.size);
        copy[i] ^= bit;
    }
    free(copy);
    wa_test_free(file);
}

/* --- Sources --------------------------------------------------------------------------------- */

static void a_missing_source_is_named(void)
{
    wa_tokenizer *t;
    wa_error err;
    CU_ASSERT_EQUAL(wa_tokenizer_open("no/such/file", &t, &err), WA_E_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "no/such/file"));
    CU_ASSERT_EQUAL(wa_tokenizer_open(WA_GOLDEN "/gguf", &t, &err), WA_E_FORMAT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "4 GGUF files"));
}

static void a_tokenizer_json_in_a_directory_is_the_source(void)
{
    wa_tokenizer *t = open_golden("models/tiny-qwen3");
    CU_ASSERT_STRING_EQUAL(wa_tokenizer_source(t), WA_GOLDEN "/models/tiny-qwen3/tokenizer.json");
    wa_tokenizer_close(t);
}

WA_SUITE("tokenizer", WA_CASE(prompts_have_the_ids_of_the_dense_goldens),
         WA_CASE(components_do_what_the_hugging_face_library_does),
         WA_CASE(merges_apply_by_rank_then_from_the_left),
         WA_CASE(escapes_and_surrogate_pairs_are_read), WA_CASE(nul_is_a_character_like_any_other),
         WA_CASE(characters_without_token_are_dropped_when_there_is_no_unk),
         WA_CASE(template_puts_ids_around), WA_CASE(added_tokens_match_leftmost_then_longest),
         WA_CASE(an_untested_regex_is_used_with_a_warning),
         WA_CASE(invalid_utf8_is_refused_with_its_offset),
         WA_CASE(pieces_of_100_kb_take_no_more_than_they_should),
         WA_CASE(an_arena_that_fails_gives_its_error),
         WA_CASE(malformed_fixtures_are_refused_by_name), WA_CASE(what_cannot_be_read_is_named),
         WA_CASE(every_prefix_of_a_tokenizer_is_refused),
         WA_CASE(a_flipped_bit_never_does_more_than_change_the_answer),
         WA_CASE(a_missing_source_is_named), WA_CASE(a_tokenizer_json_in_a_directory_is_the_source))

/* What is stored and not read: keys by their tables, tensors by their places, patterns by their
 * signs. */
#include "model_dirs.h"

#include "model/key_rules.h"
#include "model/tokenizer_regex.h"

/* --- rows of a table --- */

static const wa_key_rule rules[] = {
    {.key = "exact", .kind = WA_KEY_USED, .families = "llama qwen2"},
    {.key = "exact", .kind = WA_KEY_INERT},
    {.key = "begin_*", .kind = WA_KEY_ONLY, .only = "off"},
    {.key = "*_end", .kind = WA_KEY_ONLY, .only = "1|off", .meaning = "ends"},
    {.key = "word", .kind = WA_KEY_ONLY, .only = "true|null"},
    {.key = "told", .kind = WA_KEY_WARNED, .meaning = "who knows"},
};

static const wa_key_rule *find(const char *key, const char *family)
{
    return wa_key_find(rules, sizeof rules / sizeof rules[0], key, family);
}

static void the_first_row_that_fits_key_and_family_counts(void)
{
    CU_ASSERT_PTR_EQUAL(find("exact", "llama"), &rules[0]);
    CU_ASSERT_PTR_EQUAL(find("exact", "qwen2"), &rules[0]);
    CU_ASSERT_PTR_EQUAL(find("exact", "qwen"), &rules[1]); /* whole words only */
    CU_ASSERT_PTR_EQUAL(find("exact", "gemma"), &rules[1]);
    CU_ASSERT_PTR_EQUAL(find("begin_", "x"), &rules[2]);
    CU_ASSERT_PTR_EQUAL(find("begin_with", "x"), &rules[2]);
    CU_ASSERT_PTR_EQUAL(find("the_end", "x"), &rules[3]);
    CU_ASSERT_PTR_NULL(find("exactly", "llama"));
    CU_ASSERT_PTR_NULL(find("end", "llama"));
    CU_ASSERT_PTR_NULL(find("", "llama"));
}

static wa_status judge(const char *key, const char *text, bool is_off, wa_notes *notes,
                       wa_error *err)
{
    wa_key_value value = {.is_off = is_off};
    (void)snprintf(value.text, sizeof value.text, "%s", text);
    *err = (wa_error){0};
    return wa_key_judge(find(key, "llama"), key, &value, notes, err);
}

static void a_value_is_allowed_as_text_or_as_off(void)
{
    wa_arena *arena = wa_test_arena();
    wa_notes notes = {.arena = arena};
    wa_error err;
    CU_ASSERT_EQUAL(judge("exact", "anything", false, &notes, &err), WA_OK);
    CU_ASSERT_EQUAL(judge("begin_x", "0", true, &notes, &err), WA_OK);
    CU_ASSERT_EQUAL(judge("begin_x", "8", false, &notes, &err), WA_E_UNSUPPORTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "'begin_x' is 8, which changes the model"));
    CU_ASSERT_EQUAL(judge("begin_x", "off", false, &notes, &err), WA_OK); /* the word itself */
    CU_ASSERT_EQUAL(judge("x_end", "1", false, &notes, &err), WA_OK);
    CU_ASSERT_EQUAL(judge("x_end", "null", true, &notes, &err), WA_OK);
    CU_ASSERT_EQUAL(judge("x_end", "11", false, &notes, &err), WA_E_UNSUPPORTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "ends are unsupported: 'x_end' is 11"));
    CU_ASSERT_EQUAL(judge("word", "null", true, &notes, &err), WA_OK);
    CU_ASSERT_EQUAL(judge("word", "false", true, &notes, &err), WA_E_UNSUPPORTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "'word' is false, only true is computed"));
    CU_ASSERT_EQUAL(notes.count, 0);
    CU_ASSERT_EQUAL(judge("told", "x", false, &notes, &err), WA_OK);
    CU_ASSERT_EQUAL_FATAL(notes.count, 1);
    CU_ASSERT_STRING_EQUAL(notes.items[0], "'told': who knows");
    wa_arena_close(arena);
}

/* --- notes --- */

static void a_listing_shows_the_first_and_counts_the_rest(void)
{
    wa_listing few = {0}, many = {0}, none = {0};
    wa_listing_add(&few, "a");
    wa_listing_add(&few, "b");
    CU_ASSERT_STRING_EQUAL(wa_listing_text(&few), "'a', 'b'");
    CU_ASSERT_STRING_EQUAL(wa_listing_text(&none), "");
    char name[200];
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof name, "%0*d", 20 + i % 150, i);
        wa_listing_add(&many, name);
    }
    const char *text = wa_listing_text(&many);
    CU_ASSERT(strlen(text) < sizeof many.text);
    CU_ASSERT_EQUAL(many.count, 1000);
    char tail[40];
    (void)snprintf(tail, sizeof tail, "' and %zu more", 1000 - many.shown);
    CU_ASSERT(many.shown > 3 && strcmp(text + strlen(text) - strlen(tail), tail) == 0);
}

static void a_note_is_one_line_of_valid_text(void)
{
    wa_arena *arena = wa_test_arena();
    wa_notes notes = {.arena = arena};
    wa_error err;
    WA_MUST(wa_notes_add(&notes, &err, "a%cb\x1b[31m \xe2\x82", '\n'), &err);
    CU_ASSERT_STRING_EQUAL(notes.items[0], "a?b?[31m \xef\xbf\xbd");
    for (size_t i = 1; i < 50; i++)
        WA_MUST(wa_notes_add(&notes, &err, "%zu", i), &err);
    CU_ASSERT_EQUAL(notes.count, 50);
    CU_ASSERT_STRING_EQUAL(notes.items[49], "49");
    CU_ASSERT_STRING_EQUAL(notes.items[1], "1");
    wa_arena_close(arena);
}

/* --- tensors --- */

static const char GPT2[] = "{\"model_type\":\"gpt2\",\"n_embd\":8,\"n_layer\":1,\"n_head\":2,"
                           "\"n_inner\":12,\"n_positions\":6,\"vocab_size\":10}";
static const wa_test_tensor gpt2[] = {
    {"wte.weight", 10, 8},
    {"wpe.weight", 6, 8},
    {"ln_f.weight", 8, 0},
    {"ln_f.bias", 8, 0},
    {"h.0.ln_1.weight", 8, 0},
    {"h.0.ln_1.bias", 8, 0},
    {"h.0.ln_2.weight", 8, 0},
    {"h.0.ln_2.bias", 8, 0},
    {"h.0.attn.c_attn.weight", 8, 24},
    {"h.0.attn.c_attn.bias", 24, 0},
    {"h.0.attn.c_proj.weight", 8, 8},
    {"h.0.attn.c_proj.bias", 8, 0},
    {"h.0.mlp.c_fc.weight", 8, 12},
    {"h.0.mlp.c_fc.bias", 12, 0},
    {"h.0.mlp.c_proj.weight", 12, 8},
    {"h.0.mlp.c_proj.bias", 8, 0},
    {"h.0.attn.bias", 6, 6},
    {"h.0.attn.masked_bias", 1, 0},
    {"planted", 4, 0},
};
enum { GPT2_COUNT = sizeof gpt2 / sizeof gpt2[0] };

/* The model with its last tensor under another name; NULL = without it. */
static void write_gpt2(const char *planted, char directory[WA_TEST_PATH])
{
    wa_test_tensor tensors[GPT2_COUNT];
    memcpy(tensors, gpt2, sizeof gpt2);
    tensors[GPT2_COUNT - 1].name = planted;
    wa_test_make_dir("unread", directory);
    wa_test_write_in(directory, "config.json", GPT2, strlen(GPT2));
    wa_test_write_safetensors(directory, "model.safetensors", tensors,
                              planted == NULL ? GPT2_COUNT - 1 : GPT2_COUNT, "F32");
}

static void masks_of_gpt2_are_inert(void)
{
    char directory[WA_TEST_PATH];
    wa_arena *arena = wa_test_arena();
    write_gpt2(NULL, directory);
    wa_model *model = wa_test_open(directory, WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL(model->note_count, 0);
    CU_ASSERT_EQUAL(model->unread, 0);
    CU_ASSERT_EQUAL(model->understood_count, 8);
    wa_model_close(model);
    wa_arena_close(arena);
}

/* Names near those of inert tensors, of layers and of weights that are read. */
static void names_are_judged_by_whole_words(void)
{
    static const char *const refused[] = {
        "h.0.attn.q_attn.bias", "h.0.attn.biased", "h.0.attn.bias.scale", "h.0.crossattention.bias",
        "h.0.adapter.weight",   "lm_head.bias",    "wte.scale",           "ln_f.weight_scale",
        "h.00.attn.c_x.weight",
    };
    static const struct {
        const char *name, *says;
    } told[] = {
        {"h.1.attn.c_attn.weight", "of layers beyond the model's number"},
        {"h.10.attn.bias", "of layers beyond the model's number"},
        {"h.0", "outside the text decoder's layers"},
        {"h.x.attn.c_attn.weight", "outside the text decoder's layers"},
        {"h.9999999999.x", "outside the text decoder's layers"},
        {"wte", "outside the text decoder's layers"},
        {"wtes.weight", "outside the text decoder's layers"},
        {"vision_tower.h.0.attn.weight", "of towers and projectors"},
        {"mtp.0.weight", "of extra prediction heads"},
        {"h.0.nextn.weight", "of extra prediction heads"},
    };
    char directory[WA_TEST_PATH];
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        write_gpt2(refused[i], directory);
        wa_test_refused(directory, WA_E_UNSUPPORTED, refused[i]);
    }
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        wa_arena *arena = wa_test_arena();
        write_gpt2(told[i].name, directory);
        wa_model *model = wa_test_open(directory, WA_SEMANTICS_NATIVE, arena);
        CU_ASSERT(model->note_count == 1 && strstr(model->notes[0], told[i].says) != NULL &&
                  strstr(model->notes[0], told[i].name) != NULL);
        wa_model_close(model);
        wa_arena_close(arena);
    }
}

static void allow_unread_counts_what_it_leaves_out(void)
{
    const wa_model_options options = {.semantics = WA_SEMANTICS_NATIVE, .allow_unread = true};
    char directory[WA_TEST_PATH];
    wa_arena *arena = wa_test_arena();
    wa_error err;
    wa_model *model = NULL;
    write_gpt2("h.0.attn.sinks", directory);
    WA_MUST(wa_model_open_with(directory, &options, arena, &model, &err), &err);
    CU_ASSERT_EQUAL(model->unread, 1);
    CU_ASSERT(model->note_count == 1 && strstr(model->notes[0], "'h.0.attn.sinks'") != NULL);
    wa_model_close(model);
    wa_arena_close(arena);
}

/* --- patterns --- */

static void patterns_that_engines_share_pass(void)
{
    static const char *const shared[] = {
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|\\s*[\\r\\n]+",
        "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{M}]*[\\p{Ll}\\p{M}]+(?i:'s|'t)?",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+", /* anchors and & inside a class */
        "\\^\\$\\[\\]\\(\\)\\{\\}",
        "[^\\]]+",
        "(?<!a)b(?<=b)(?>c+)",
        "",
        "\\x{3b1}++",
        "a{2,3}?",
    };
    wa_error err;
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++)
        WA_MUST(wa_regex_check_portable((wa_text){shared[i], strlen(shared[i])}, &err), &err);
}

static void patterns_that_engines_read_otherwise_are_refused(void)
{
    static const struct {
        const char *pattern, *says;
    } cases[] = {
        {"^a", "an anchor at byte 0"},
        {"a|b$", "an anchor at byte 3"},
        {"a\\h", "an escape at byte 1"},
        {"\\w+", "an escape at byte 0"},
        {"[\\w]", "an escape at byte 1"},
        {"\\bx", "an escape"},
        {"\\R", "an escape"},
        {"[[:alpha:]]", "a POSIX class at byte 1"},
        {"[a[bc]]", "a class inside a class at byte 2"},
        {"[a-z&&[^b]]", "an intersection of classes at byte 4"},
        {"[]a]", "an empty class"},
        {"[^]a]", "an empty class"},
        {"(?m:.)", "a group at byte 0"},
        {"(?<name>a)", "a group"},
        {"(?P<name>a)", "a group"},
        {"(*UCP)a", "a group"},
        {"(?#note)", "a group"},
        {"a{,3}", "a repeat at byte 1"},
        {"a{1,3}+", "a repeat at byte 5"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wa_error err = {0};
        wa_text pattern = {cases[i].pattern, strlen(cases[i].pattern)};
        bool said = wa_regex_check_portable(pattern, &err) == WA_E_UNSUPPORTED &&
                    strstr(err.text, cases[i].says) != NULL;
        if (!said)
            fprintf(stderr, "    %s gives '%s', expected '%s'\n", cases[i].pattern, err.text,
                    cases[i].says);
        CU_ASSERT(said);
    }
}

WA_SUITE("unread", WA_CASE(the_first_row_that_fits_key_and_family_counts),
         WA_CASE(a_value_is_allowed_as_text_or_as_off),
         WA_CASE(a_listing_shows_the_first_and_counts_the_rest),
         WA_CASE(a_note_is_one_line_of_valid_text), WA_CASE(masks_of_gpt2_are_inert),
         WA_CASE(names_are_judged_by_whole_words), WA_CASE(allow_unread_counts_what_it_leaves_out),
         WA_CASE(patterns_that_engines_share_pass),
         WA_CASE(patterns_that_engines_read_otherwise_are_refused))

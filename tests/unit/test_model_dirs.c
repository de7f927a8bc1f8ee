/* Models written by the test: names of every family, each missing or misshapen tensor, directories.
 */
#include "model_dirs.h"

#define GGUFS WA_GOLDEN "/gguf/"
enum { H = 8, I = 12, V = 10, HD = 4 }; /* of the models written here: 2 heads, 1 key/value head */

/* --- families written here --- */

#define CONFIG(type, more)                                                                         \
    "{\"model_type\":\"" type "\",\"hidden_size\":8,\"intermediate_size\":12,"                     \
    "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,"                 \
    "\"head_dim\":4,\"vocab_size\":10" more "}"
#define ATTENTION(p)                                                                               \
    {p "self_attn.q_proj.weight", 8, 8}, {p "self_attn.k_proj.weight", 4, 8},                      \
        {p "self_attn.v_proj.weight", 4, 8},                                                       \
    {                                                                                              \
        p "self_attn.o_proj.weight", 8, 8                                                          \
    }
#define GATED(p)                                                                                   \
    {p "mlp.gate_proj.weight", 12, 8}, {p "mlp.up_proj.weight", 12, 8},                            \
    {                                                                                              \
        p "mlp.down_proj.weight", 8, 12                                                            \
    }
#define QK_NORM(p)                                                                                 \
    {p "self_attn.q_norm.weight", 4, 0},                                                           \
    {                                                                                              \
        p "self_attn.k_norm.weight", 4, 0                                                          \
    }
#define PRE(p)                                                                                     \
    {p "input_layernorm.weight", 8, 0},                                                            \
    {                                                                                              \
        p "post_attention_layernorm.weight", 8, 0                                                  \
    }

static const wa_test_tensor llama[] = {{"model.embed_tokens.weight", 10, 8},
                                       {"model.norm.weight", 8, 0},
                                       {"lm_head.weight", 10, 8},
                                       PRE("model.layers.0."),
                                       ATTENTION("model.layers.0."),
                                       GATED("model.layers.0.")};
static const wa_test_tensor llama_bias[] = {{"model.embed_tokens.weight", 10, 8},
                                            {"model.norm.weight", 8, 0},
                                            {"lm_head.weight", 10, 8},
                                            PRE("model.layers.0."),
                                            ATTENTION("model.layers.0."),
                                            GATED("model.layers.0."),
                                            {"model.layers.0.self_attn.q_proj.bias", 8, 0},
                                            {"model.layers.0.self_attn.k_proj.bias", 4, 0},
                                            {"model.layers.0.self_attn.v_proj.bias", 4, 0},
                                            {"model.layers.0.self_attn.o_proj.bias", 8, 0}};
static const wa_test_tensor qwen3[] = {{"model.embed_tokens.weight", 10, 8},
                                       {"model.norm.weight", 8, 0},
                                       {"lm_head.weight", 10, 8},
                                       PRE("model.layers.0."),
                                       ATTENTION("model.layers.0."),
                                       GATED("model.layers.0."),
                                       QK_NORM("model.layers.0.")};
static const wa_test_tensor gemma[] = {{"model.embed_tokens.weight", 10, 8},
                                       {"model.norm.weight", 8, 0},
                                       PRE("model.layers.0."),
                                       ATTENTION("model.layers.0."),
                                       GATED("model.layers.0.")};
#define NEWER "model.language_model.layers.0."
static const wa_test_tensor gemma3[] = {/* the newer multimodal spelling, foreign parts ignored */
                                        {"model.language_model.embed_tokens.weight", 10, 8},
                                        {"model.language_model.norm.weight", 8, 0},
                                        PRE(NEWER),
                                        {NEWER "pre_feedforward_layernorm.weight", 8, 0},
                                        {NEWER "post_feedforward_layernorm.weight", 8, 0},
                                        ATTENTION(NEWER),
                                        GATED(NEWER),
                                        QK_NORM(NEWER)};
static const wa_test_tensor starcoder2[] = {{"model.embed_tokens.weight", 10, 8},
                                            {"model.norm.weight", 8, 0},
                                            {"model.norm.bias", 8, 0},
                                            PRE("model.layers.0."),
                                            {"model.layers.0.input_layernorm.bias", 8, 0},
                                            {"model.layers.0.post_attention_layernorm.bias", 8, 0},
                                            ATTENTION("model.layers.0."),
                                            {"model.layers.0.self_attn.q_proj.bias", 8, 0},
                                            {"model.layers.0.self_attn.k_proj.bias", 4, 0},
                                            {"model.layers.0.self_attn.v_proj.bias", 4, 0},
                                            {"model.layers.0.self_attn.o_proj.bias", 8, 0},
                                            {"model.layers.0.mlp.c_fc.weight", 12, 8},
                                            {"model.layers.0.mlp.c_fc.bias", 12, 0},
                                            {"model.layers.0.mlp.c_proj.weight", 8, 12},
                                            {"model.layers.0.mlp.c_proj.bias", 8, 0}};
static const wa_test_tensor tinymodel[] = {{"embed.weight", 10, 8},
                                           {"norm.weight", 8, 0},
                                           {"layers.0.attn_norm.weight", 8, 0},
                                           {"layers.0.ffn_norm.weight", 8, 0},
                                           {"layers.0.attn.q_proj.weight", 8, 8},
                                           {"layers.0.attn.k_proj.weight", 4, 8},
                                           {"layers.0.attn.v_proj.weight", 4, 8},
                                           {"layers.0.attn.o_proj.weight", 8, 8},
                                           {"layers.0.ffn.gate.weight", 12, 8},
                                           {"layers.0.ffn.up.weight", 12, 8},
                                           {"layers.0.ffn.down.weight", 8, 12}};

static const struct written {
    const char *name, *config;
    const wa_test_tensor *tensors;
    size_t count;
} written[] = {
#define WRITTEN(name, config)                                                                      \
    {                                                                                              \
#name, config, name, sizeof name / sizeof name[0]                                          \
    }
    WRITTEN(llama, CONFIG("llama", "")),
    WRITTEN(llama_bias, CONFIG("llama", ",\"attention_bias\":true")),
    WRITTEN(qwen3, CONFIG("qwen3", "")),
    WRITTEN(gemma, CONFIG("gemma", "")),
    WRITTEN(gemma3, CONFIG("gemma3", ",\"sliding_window\":3")),
    WRITTEN(starcoder2, CONFIG("starcoder2", "")),
    WRITTEN(tinymodel, CONFIG("tinymodel", "")),
};
enum { WRITTEN_COUNT = sizeof written / sizeof written[0], MAX_TENSORS = 32 };

static void write_model(const char *directory, const struct written *w,
                        const wa_test_tensor *tensors, size_t count)
{
    wa_test_write_in(directory, "config.json", w->config, strlen(w->config));
    wa_test_write_safetensors(directory, "model.safetensors", tensors, count, "F32");
}

static void every_family_opens_with_its_own_names(void)
{
    for (size_t w = 0; w < WRITTEN_COUNT; w++) {
        char directory[WA_TEST_PATH];
        wa_test_make_dir(written[w].name, directory);
        write_model(directory, &written[w], written[w].tensors, written[w].count);
        wa_arena *arena = wa_test_arena();
        wa_model *m = wa_test_open(directory, WA_SEMANTICS_NATIVE, arena);
        CU_ASSERT_EQUAL(m->embedding.rows, V);
        CU_ASSERT_EQUAL(m->layers[0].q.rows, 2 * HD);
        CU_ASSERT_EQUAL(m->layers[0].k.rows, HD);
        CU_ASSERT_EQUAL(m->layers[0].up.rows, I);
        CU_ASSERT_EQUAL(m->layers[0].down.rows, H);
        float offset = strncmp(m->family, "gemma", 5) == 0 ? 1.0f : 0.0f;
        CU_ASSERT_EQUAL(m->final_norm.weight[3], offset + 1 + 3.0f / 1024); /* tensor 1 */
        CU_ASSERT_EQUAL(m->layers[0].q_bias != NULL,
                        written[w].tensors == llama_bias || written[w].tensors == starcoder2);
        CU_ASSERT_EQUAL(m->layers[0].q_norm != NULL,
                        written[w].tensors == qwen3 || written[w].tensors == gemma3);
        CU_ASSERT_EQUAL(m->layers[0].ffn_out.weight != NULL, written[w].tensors == gemma3);
        CU_ASSERT_EQUAL(m->layers[0].rope_freq[0], 1.0);
        CU_ASSERT_DOUBLE_EQUAL(m->layers[0].rope_freq[1], 0.01, 1e-17); /* 1e4^(-2/4) */
        wa_model_close(m);
        wa_arena_close(arena);
    }
}

/* A stored name without its prefix, as messages tell it. */
static const char *bare(const char *name)
{
    static const char *const prefixes[] = {"model.language_model.", "model."};
    for (size_t i = 0; i < 2; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return name + strlen(prefixes[i]);
    return name;
}

static void each_missing_tensor_is_named(void)
{
    for (size_t w = 0; w < WRITTEN_COUNT; w++) {
        char directory[WA_TEST_PATH];
        wa_test_make_dir(written[w].name, directory);
        for (size_t gone = 0; gone < written[w].count; gone++) {
            wa_test_tensor tensors[MAX_TENSORS];
            size_t kept = 0;
            for (size_t t = 0; t < written[w].count; t++)
                if (t != gone)
                    tensors[kept++] = written[w].tensors[t];
            write_model(directory, &written[w], tensors, kept);
            char says[128];
            snprintf(says, sizeof says, "tensor '%s' is missing",
                     bare(written[w].tensors[gone].name));
            wa_test_refused(directory, WA_E_FORMAT, says);
        }
    }
}

static void each_misshapen_tensor_is_named(void)
{
    for (size_t w = 0; w < WRITTEN_COUNT; w++) {
        char directory[WA_TEST_PATH];
        wa_test_make_dir(written[w].name, directory);
        for (size_t bad = 0; bad < written[w].count; bad++) {
            for (int change = 0; change < 3; change++) {
                wa_test_tensor tensors[MAX_TENSORS];
                memcpy(tensors, written[w].tensors, written[w].count * sizeof tensors[0]);
                tensors[bad].rows += change == 0;
                tensors[bad].cols += change == 1;
                if (change == 2) { /* the same elements in another shape */
                    tensors[bad].rows *= tensors[bad].cols == 0 ? 1 : tensors[bad].cols;
                    tensors[bad].cols = tensors[bad].cols == 0 ? 1 : 0;
                }
                write_model(directory, &written[w], tensors, written[w].count);
                wa_test_refused(directory, WA_E_FORMAT, bare(written[w].tensors[bad].name));
                wa_test_refused(directory, WA_E_FORMAT, ", expected [");
            }
        }
    }
}

static void a_needed_tensor_of_unknown_type_is_refused(void)
{
    char directory[WA_TEST_PATH];
    wa_test_make_dir("dtype", directory);
    write_model(directory, &written[0], llama, written[0].count);
    wa_test_write_safetensors(directory, "model.safetensors", llama, written[0].count, "X32");
    wa_test_refused(directory, WA_E_UNSUPPORTED, "has type X32, which is not decoded");
    wa_test_write_safetensors(directory, "model.safetensors", llama, written[0].count, "I32");
    wa_test_refused(directory, WA_E_UNSUPPORTED, "has type I32, which is not decoded");
}

static void ties_follow_the_semantics(void)
{
    char directory[WA_TEST_PATH];
    wa_test_make_dir("tie", directory);
    static const char tied[] = CONFIG("llama", ",\"tie_word_embeddings\":true");
    write_model(directory, &written[0], llama, written[0].count);
    wa_test_write_in(directory, "config.json", tied, strlen(tied));
    wa_arena *arena = wa_test_arena();
    wa_model *native = wa_test_open(directory, WA_SEMANTICS_NATIVE, arena);
    wa_model *larql = wa_test_open(directory, WA_SEMANTICS_LARQL_2026_05, arena);
    CU_ASSERT(!native->tied && /* the stored head differs: it is used, and that is said */
              wa_test_element(&native->output, 0, 1) == 2 + 1.0f / 1024);
    CU_ASSERT_EQUAL(native->note_count, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(native->notes[0], "'lm_head.weight' is stored and differs"));
    CU_ASSERT_EQUAL(larql->note_count, 0);
    CU_ASSERT(!larql->tied &&
              wa_test_element(&larql->output, 0, 1) == 2 + 1.0f / 1024); /* lm_head */
    wa_model_close(native);
    wa_model_close(larql);
    wa_arena_close(arena);
}

/* --- directories --- */

static void a_directory_must_say_which_file_it_means(void)
{
    char directory[WA_TEST_PATH];
    wa_bytes gguf = wa_test_read(GGUFS "qwen2-v2.gguf");
    wa_test_make_dir("sources", directory);
    wa_test_refused(directory, WA_E_FORMAT, "neither a .gguf nor a .safetensors file");
    wa_test_write_in(directory, "a.gguf", gguf.data, gguf.size);
    wa_arena *arena = wa_test_arena();
    wa_model *m = wa_test_open(directory, WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_STRING_EQUAL(m->container, "gguf");
    wa_model_close(m);
    wa_arena_close(arena);
    wa_test_write_in(directory, "b.gguf", gguf.data, gguf.size);
    wa_test_refused(directory, WA_E_UNSUPPORTED, "2 .gguf and 0 .safetensors files");
    wa_test_make_dir("sources", directory);
    wa_test_write_in(directory, "a.gguf", gguf.data, gguf.size);
    write_model(directory, &written[0], llama, written[0].count);
    wa_test_refused(directory, WA_E_UNSUPPORTED, "1 .gguf and 1 .safetensors files");
    wa_test_make_dir("sources", directory);
    wa_test_write_safetensors(directory, "model.safetensors", llama, written[0].count, "F32");
    wa_test_refused(directory, WA_E_IO, "config.json");
    wa_test_refused(WA_TEST_BINARY_DIR "/no-such-model", WA_E_IO, "cannot open");
    wa_test_free(gguf);
}

static void weights_may_lie_in_a_subdirectory(void)
{
    char directory[WA_TEST_PATH];
    char weights[WA_TEST_PATH];
    wa_test_make_dir("nested", directory);
    wa_test_make_dir("nested/weights", weights);
    wa_test_write_in(directory, "config.json", written[0].config, strlen(written[0].config));
    wa_test_write_safetensors(weights, "model.safetensors", llama, written[0].count, "F32");
    wa_arena *arena = wa_test_arena();
    wa_model *m = wa_test_open(directory, WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL(m->vocab, V);
    wa_model_close(m);
    wa_arena_close(arena);
}

static void write_index(const char *directory, const char *embedding_file, const char *more)
{
    char text[4096] = "{\"metadata\":{},\"weight_map\":{";
    for (size_t t = 0; t < written[0].count; t++) {
        char entry[256];
        snprintf(entry, sizeof entry, "%s\"%s\":\"%s\"", t == 0 ? "" : ",", llama[t].name,
                 t == 0 ? embedding_file : (t < 6 ? "one.safetensors" : "two.safetensors"));
        strncat(text, entry, sizeof text - strlen(text) - 1);
    }
    strncat(text, more, sizeof text - strlen(text) - 1);
    strncat(text, "}}", sizeof text - strlen(text) - 1);
    wa_test_write_in(directory, "model.safetensors.index.json", text, strlen(text));
}

static void an_index_names_exactly_what_is_read(void)
{
    char directory[WA_TEST_PATH];
    wa_test_make_dir("indexed", directory);
    wa_test_write_in(directory, "config.json", written[0].config, strlen(written[0].config));
    wa_test_write_safetensors(directory, "one.safetensors", llama, 6, "F32");
    wa_test_write_safetensors(directory, "two.safetensors", llama + 6, written[0].count - 6, "F32");
    /* a stray file that the index does not name would be a second copy of every tensor */
    wa_test_write_safetensors(directory, "model.safetensors", llama, written[0].count, "F32");
    write_index(directory, "one.safetensors", "");
    wa_arena *arena = wa_test_arena();
    wa_model *m = wa_test_open(directory, WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL(m->file_count, 3);
    wa_model_close(m);
    wa_arena_close(arena);

    write_index(directory, "two.safetensors", "");
    wa_test_refused(directory, WA_E_FORMAT,
                    "tensor 'model.embed_tokens.weight' is not in 'two.safetensors'");
    write_index(directory, "one.safetensors", ",\"model.extra\":\"one.safetensors\"");
    wa_test_refused(directory, WA_E_FORMAT, "tensor 'model.extra' is not in 'one.safetensors'");
    write_index(directory, "../indexed/one.safetensors", "");
    wa_test_refused(directory, WA_E_FORMAT, "no plain file name");
    write_index(directory, "three.safetensors", "");
    wa_test_refused(directory, WA_E_IO, "three.safetensors");
    wa_test_write_in(directory, "model.safetensors.index.json", "{}", 2);
    wa_test_refused(directory, WA_E_FORMAT, "'weight_map': found nothing");

    wa_test_make_dir("indexed", directory);
    wa_test_write_in(directory, "config.json", written[0].config, strlen(written[0].config));
    wa_test_write_safetensors(directory, "one.safetensors", llama, 6, "F32");
    wa_test_write_safetensors(directory, "two.safetensors", llama, written[0].count, "F32");
    wa_test_refused(directory, WA_E_FORMAT, "have the same meaning");
}

static void hostile_sizes_take_no_memory(void)
{
    char directory[WA_TEST_PATH];
    wa_test_make_dir("hostile", directory);
    wa_test_write_safetensors(directory, "model.safetensors", llama, written[0].count, "F32");
    static const char deep[] =
        "{\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":12,"
        "\"num_attention_heads\":2,\"num_hidden_layers\":40000}";
    /* whose experts' places are a table of its layers */
    static const char endless[] =
        "{\"model_type\":\"gpt_oss\",\"hidden_size\":8,\"intermediate_size\":12,"
        "\"num_attention_heads\":2,\"num_hidden_layers\":72057594037927936}";
    static const char wide[] =
        "{\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":12,"
        "\"num_attention_heads\":1,\"head_dim\":1000000000000,"
        "\"num_hidden_layers\":1}";
    wa_test_write_in(directory, "config.json", deep, strlen(deep));
    wa_test_refused(directory, WA_E_FORMAT, "40000 layers, but only 12 tensors");
    wa_test_write_in(directory, "config.json", endless, strlen(endless));
    wa_test_refused(directory, WA_E_FORMAT, "layers is 72057594037927936, expected at most 65536");
    wa_test_write_in(directory, "config.json", wide, strlen(wide));
    wa_test_refused(directory, WA_E_FORMAT, "expected [1000000000000, 8]");
}

static void closing_nothing_is_allowed(void)
{
    wa_model_close(NULL);
    CU_ASSERT_STRING_EQUAL(wa_semantics_name(WA_SEMANTICS_LARQL_2026_05), "larql-2026-05");
    CU_ASSERT_STRING_EQUAL(wa_activation_name(WA_GELU_TANH), "gelu_tanh");
}

WA_SUITE("model_dirs", WA_CASE(every_family_opens_with_its_own_names),
         WA_CASE(each_missing_tensor_is_named), WA_CASE(each_misshapen_tensor_is_named),
         WA_CASE(a_needed_tensor_of_unknown_type_is_refused), WA_CASE(ties_follow_the_semantics),
         WA_CASE(a_directory_must_say_which_file_it_means),
         WA_CASE(weights_may_lie_in_a_subdirectory), WA_CASE(an_index_names_exactly_what_is_read),
         WA_CASE(hostile_sizes_take_no_memory), WA_CASE(closing_nothing_is_allowed))

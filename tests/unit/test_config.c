/* Configurations: facts of each family under both semantics, and refusals that say why. */
#include "model/config.h"

#include "golden.h"

#include <math.h>

static wa_arena *open_arena(void)
{
    wa_arena *arena;
    wa_error err;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    return arena;
}

static wa_status parse(const char *text, wa_semantics semantics, wa_arena *arena, wa_config *out,
                       wa_error *err)
{
    json_t *root;
    WA_TRY(wa_json_parse((wa_bytes){(const uint8_t *)text, strlen(text)}, &root, err));
    wa_status status = wa_config_from_json(root, semantics, arena, out, err);
    wa_json_close(root);
    return status;
}

/* The configuration of `text`; one arena for a whole case. */
static wa_config must(const char *text, wa_semantics semantics, wa_arena *arena)
{
    wa_error err;
    wa_config config = {0};
    WA_MUST(parse(text, semantics, arena, &config, &err), &err);
    return config;
}

static void refused(const char *text, wa_semantics semantics, wa_status status, const char *says)
{
    wa_error err = {0};
    wa_config config;
    wa_arena *arena = open_arena();
    bool said =
        parse(text, semantics, arena, &config, &err) == status && strstr(err.text, says) != NULL;
    if (!said)
        fprintf(stderr, "    %s\n    gives '%s', expected '%s'\n", text, err.text, says);
    CU_ASSERT(said);
    wa_arena_close(arena);
}

static const wa_semantics NATIVE = WA_SEMANTICS_NATIVE;
static const wa_semantics LARQL = WA_SEMANTICS_LARQL_2026_05, AUGUST = WA_SEMANTICS_LARQL_2026_08;

#define SIZES "\"hidden_size\":64,\"intermediate_size\":128,\"num_hidden_layers\":6"
#define OF_TYPE(name) "{\"model_type\":\"" name "\",\"num_attention_heads\":4," SIZES
#define LLAMA OF_TYPE("llama")

/* --- Gemma --- */

/* The shape in which the multimodal 4B model is published: defaults do the rest. */
static const char GEMMA3_4B[] =
    "{\"model_type\":\"gemma3\",\"text_config\":{\"model_type\":\"gemma3_text\","
    "\"hidden_size\":2560,\"intermediate_size\":10240,\"num_hidden_layers\":34,"
    "\"rope_scaling\":{\"factor\":8.0,\"rope_type\":\"linear\"},\"sliding_window\":1024}}";

static void gemma3_fills_in_what_its_published_file_leaves_out(void)
{
    wa_arena *arena = open_arena();
    wa_config config = must(GEMMA3_4B, NATIVE, arena);
    const wa_model *facts = &config.facts;
    CU_ASSERT_STRING_EQUAL(facts->family, "gemma3");
    CU_ASSERT_STRING_EQUAL(facts->model_type, "gemma3_text");
    CU_ASSERT_EQUAL(facts->q_heads, 8);
    CU_ASSERT_EQUAL(facts->kv_heads, 4);
    CU_ASSERT_EQUAL(facts->head_dim, 256);
    CU_ASSERT_EQUAL(facts->vocab, 0);
    CU_ASSERT_EQUAL(facts->norm_eps, 1e-6);
    CU_ASSERT_EQUAL(facts->attn_scale, 0.0625f);
    CU_ASSERT_EQUAL(facts->embed_scale, 50.596443f);
    CU_ASSERT_EQUAL(facts->attn_cap, 0.0f);
    CU_ASSERT_EQUAL(facts->rope_base, 1e6);
    CU_ASSERT_EQUAL(facts->rope_local_base, 1e4);
    CU_ASSERT_EQUAL(facts->activation, WA_GELU_TANH);
    CU_ASSERT_EQUAL(config.norm_offset, 1.0f);
    CU_ASSERT_EQUAL(config.tie, WA_TIE_YES);
    for (size_t l = 0; l < 34; l++) /* full: 5, 11, 17, 23, 29 */
        CU_ASSERT_EQUAL(wa_config_is_sliding(&config, l), l % 6 != 5);

    double full[128];
    double sliding[128];
    wa_config_rope(&config, WA_ROPE_FULL, full);
    wa_config_rope(&config, WA_ROPE_LOCAL, sliding);
    CU_ASSERT_EQUAL(full[0], 0.125);
    CU_ASSERT_DOUBLE_EQUAL(full[64], 0.000125, 1e-18); /* 1e6^(-1/2) / 8 */
    CU_ASSERT_EQUAL(sliding[0], 1.0);
    CU_ASSERT_DOUBLE_EQUAL(sliding[64], 0.01, 1e-16); /* 1e4^(-1/2), not scaled */
    wa_arena_close(arena);
}

static void gemma3_under_larql_scales_no_frequency(void)
{
    wa_arena *arena = open_arena();
    wa_config config = must(GEMMA3_4B, LARQL, arena);
    CU_ASSERT_EQUAL(config.facts.q_heads, 8);
    CU_ASSERT_EQUAL(config.facts.kv_heads, 4);
    CU_ASSERT_EQUAL(config.facts.attn_scale, 0.0625f);
    CU_ASSERT_EQUAL(config.tie, WA_TIE_IF_ABSENT);
    double full[128];
    wa_config_rope(&config, WA_ROPE_FULL, full);
    CU_ASSERT_EQUAL(full[0], 1.0);
    /* a pattern of the file's own counts for native only */
    config = must("{\"model_type\":\"gemma3_text\",\"sliding_window_pattern\":2,"
                  "\"layer_types\":[\"full_attention\",\"full_attention\",\"full_attention\","
                  "\"full_attention\",\"full_attention\",\"full_attention\"]," SIZES "}",
                  LARQL, arena);
    CU_ASSERT(wa_config_is_sliding(&config, 1));
    CU_ASSERT_FALSE(wa_config_is_sliding(&config, 5));
    wa_arena_close(arena);
}

static void new_style_rope_parameters_are_read(void)
{
    static const char text[] =
        "{\"model_type\":\"gemma3_text\"," SIZES ",\"rope_parameters\":{\"full_attention\":"
        "{\"rope_type\":\"linear\",\"factor\":4,\"rope_theta\":500000},"
        "\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":20000}}}";
    wa_arena *arena = open_arena();
    wa_config config = must(text, NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.rope_base, 5e5);
    CU_ASSERT_EQUAL(config.facts.rope_local_base, 2e4);
    CU_ASSERT_EQUAL(config.scaling.kind, WA_SCALING_LINEAR);
    CU_ASSERT_EQUAL(config.scaling.factor, 4.0);
    config = must(text, LARQL, arena);
    CU_ASSERT_EQUAL(config.facts.rope_base, 5e5);
    CU_ASSERT_EQUAL(config.scaling.kind, WA_SCALING_NONE);
    /* a flat theta is seen by native only (S10) */
    static const char flat[] = LLAMA ",\"rope_parameters\":{\"rope_theta\":777}}";
    CU_ASSERT_EQUAL(must(flat, NATIVE, arena).facts.rope_base, 777.0);
    CU_ASSERT_EQUAL(must(flat, LARQL, arena).facts.rope_base, 1e4);
    wa_arena_close(arena);
}

static void gemma2_caps_and_scalar_have_defaults_that_null_removes(void)
{
    wa_arena *arena = open_arena();
    static const char absent[] = "{\"model_type\":\"gemma2\"," SIZES "}";
    static const char nulls[] =
        "{\"model_type\":\"gemma2\",\"attn_logit_softcapping\":null,"
        "\"final_logit_softcapping\":null,\"query_pre_attn_scalar\":144," SIZES "}";
    wa_config config = must(absent, NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.attn_cap, 50.0f);
    CU_ASSERT_EQUAL(config.facts.final_cap, 30.0f);
    CU_ASSERT_EQUAL(config.facts.rope_base, 1e4);
    CU_ASSERT_EQUAL(config.facts.query_pre_attn_scalar, 0.0);
    CU_ASSERT(wa_config_is_sliding(&config, 0) && !wa_config_is_sliding(&config, 1));
    config = must(nulls, NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.attn_cap, 0.0f);
    CU_ASSERT_EQUAL(config.facts.final_cap, 0.0f);
    CU_ASSERT_EQUAL(config.facts.attn_scale, (float)(1.0 / 12));
    config = must(absent, LARQL, arena);
    CU_ASSERT_EQUAL(config.facts.attn_cap, 0.0f);
    CU_ASSERT_EQUAL(config.facts.rope_base, 1e6);
    CU_ASSERT_FALSE(wa_config_is_sliding(&config, 0));
    wa_arena_close(arena);
}

/* As transformers 5: Gemma 1 by hidden_act, where "gelu" is the one by tanh, its successors by
 * hidden_activation; neither looks at the other's key. */
/* As transformers 5: no cap of scores in Gemma 3, and no pattern by the name under which it saves
 * one. */
static void gemma3_has_keys_that_its_classes_do_not_read(void)
{
    wa_arena *arena = open_arena();
    refused(OF_TYPE("gemma3_text") ",\"attn_logit_softcapping\":2}", NATIVE, WA_E_UNSUPPORTED,
            "'attn_logit_softcapping' is given");
    CU_ASSERT_EQUAL(must(OF_TYPE("gemma3_text") ",\"attn_logit_softcapping\":null}", NATIVE, arena)
                        .facts.attn_cap,
                    0.0F);
    CU_ASSERT_EQUAL(
        must(OF_TYPE("gemma2") ",\"attn_logit_softcapping\":2}", NATIVE, arena).facts.attn_cap,
        2.0F);
    wa_config config =
        must(OF_TYPE("gemma3_text") ",\"_sliding_window_pattern\":2}", NATIVE, arena);
    CU_ASSERT(wa_config_is_sliding(&config, 1) && !wa_config_is_sliding(&config, 5));
    wa_arena_close(arena);
}

static void each_gemma_honours_one_key_of_its_activation(void)
{
    static const struct {
        const char *text;
        wa_activation activation;
    } cases[] = {
        {OF_TYPE("gemma") "}", WA_GELU_TANH},
        {OF_TYPE("gemma") ",\"hidden_act\":\"gelu\"}", WA_GELU_TANH},
        {OF_TYPE("gemma") ",\"hidden_act\":\"silu\"}", WA_SILU},
        {OF_TYPE("gemma") ",\"hidden_act\":null,\"hidden_activation\":\"gelu\"}", WA_GELU_TANH},
        {OF_TYPE("gemma") ",\"hidden_act\":\"silu\",\"hidden_activation\":\"gelu\"}", WA_SILU},
        {OF_TYPE("gemma2") ",\"hidden_activation\":\"gelu\"}", WA_GELU_ERF},
        {OF_TYPE("gemma2") ",\"hidden_act\":\"silu\"}", WA_GELU_TANH},
        {OF_TYPE("gemma3_text") ",\"hidden_act\":\"silu\",\"hidden_activation\":\"gelu\"}",
         WA_GELU_ERF},
        {OF_TYPE("gemma3_text") ",\"hidden_act\":\"silu\"}", WA_GELU_TANH},
    };
    wa_arena *arena = open_arena();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CU_ASSERT_EQUAL(must(cases[i].text, NATIVE, arena).facts.activation, cases[i].activation);
    wa_arena_close(arena);
}

/* --- Llama and its kin --- */

static void larql_ignores_what_native_reads(void)
{
    static const char text[] =
        LLAMA ",\"rms_norm_eps\":1e-5,\"hidden_act\":\"gelu\",\"tie_word_embeddings\":true,"
              "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4}}";
    static const char plain[] = LLAMA ",\"rms_norm_eps\":1e-5,\"hidden_act\":\"gelu\","
                                      "\"tie_word_embeddings\":true}";
    wa_arena *arena = open_arena();
    wa_config config = must(text, LARQL, arena);
    CU_ASSERT_EQUAL(config.facts.norm_eps, 1e-6);          /* S1 */
    CU_ASSERT_EQUAL(config.scaling.kind, WA_SCALING_NONE); /* S2 */
    CU_ASSERT_EQUAL(config.facts.kv_heads, 4);             /* S6 */
    CU_ASSERT_EQUAL(config.tie, WA_TIE_IF_ABSENT);         /* S7 */
    CU_ASSERT_EQUAL(config.facts.activation, WA_SILU);     /* S8 */
    config = must(plain, NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.norm_eps, 1e-5);
    CU_ASSERT_EQUAL(config.tie, WA_TIE_YES);
    CU_ASSERT_EQUAL(config.facts.activation, WA_GELU_ERF);
    CU_ASSERT_EQUAL(config.facts.head_dim, 16);
    CU_ASSERT_EQUAL(config.facts.attn_scale, 0.25f);
    refused(text, NATIVE, WA_E_FORMAT,
            "key 'original_max_position_embeddings' of the RoPE scaling");
    static const char two[] = "{\"model_type\":\"llama\",\"num_attention_heads\":8," SIZES "}";
    CU_ASSERT_EQUAL(must(two, NATIVE, arena).facts.kv_heads, 8);
    CU_ASSERT_EQUAL(must(two, LARQL, arena).facts.kv_heads, 4);
    wa_arena_close(arena);
}

/* larql-2026-08.md 6.1, row by row: S1 spellings, S6, S7, S8, S10. */
static void august_reads_what_may_ignored(void)
{
    static const struct {
        const char *text;
        double eps;
        wa_tie_rule tie;
        wa_activation activation;
    } cases[] = {
        {LLAMA "}", 1e-6, WA_TIE_IF_ABSENT, WA_SILU},
        {LLAMA ",\"rms_norm_eps\":1e-5,\"hidden_act\":\"gelu\",\"tie_word_embeddings\":true}", 1e-5,
         WA_TIE_IF_ABSENT, WA_GELU_TANH},
        {LLAMA ",\"norm_epsilon\":1e-3,\"layer_norm_epsilon\":1e-4,\"tie_word_embeddings\":false}",
         1e-4, WA_TIE_NO, WA_SILU},
        {LLAMA ",\"layer_norm_eps\":1e-4,\"hidden_activation\":\"gelu_new\"}", 1e-4,
         WA_TIE_IF_ABSENT, WA_GELU_TANH},
        {LLAMA ",\"hidden_act\":\"gelu_pytorch_tanh\"}", 1e-6, WA_TIE_IF_ABSENT, WA_GELU_TANH},
        {LLAMA ",\"hidden_act\":\"swish\"}", 1e-6, WA_TIE_IF_ABSENT, WA_SILU},
        {LLAMA ",\"hidden_act\":\"mish\"}", 1e-6, WA_TIE_IF_ABSENT, WA_SILU},
        {"{\"model_type\":\"gemma3_text\",\"hidden_activation\":\"silu\",\"rms_norm_eps\":1e-"
         "5," SIZES "}",
         1e-5, WA_TIE_IF_ABSENT, WA_GELU_TANH},
        {OF_TYPE("starcoder2") "}", 1e-5, WA_TIE_IF_ABSENT, WA_GELU_TANH},
        {OF_TYPE("starcoder2") ",\"norm_epsilon\":1e-4,\"hidden_act\":\"silu\"}", 1e-4,
         WA_TIE_IF_ABSENT, WA_GELU_TANH},
    };
    wa_arena *arena = open_arena();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wa_config config = must(cases[i].text, AUGUST, arena);
        CU_ASSERT_EQUAL(config.facts.norm_eps, cases[i].eps);
        CU_ASSERT_EQUAL(config.tie, cases[i].tie);
        CU_ASSERT_EQUAL(config.facts.activation, cases[i].activation);
        bool told =
            config.notes.count > 0 && strstr(config.notes.items[config.notes.count - 1],
                                             "'mish' in 'hidden_act' is SiLU to LARQL") != NULL;
        CU_ASSERT_EQUAL(told, strstr(cases[i].text, "mish") != NULL);
    }
    /* S6 */
    CU_ASSERT_EQUAL(
        must("{\"model_type\":\"llama\",\"num_attention_heads\":8," SIZES "}", AUGUST, arena)
            .facts.kv_heads,
        4);
    /* S10: of full layers, then flat, then beside */
    CU_ASSERT_EQUAL(
        must(LLAMA ",\"rope_theta\":5,\"rope_parameters\":{\"rope_theta\":777}}", AUGUST, arena)
            .facts.rope_base,
        777.0);
    CU_ASSERT_EQUAL(must(LLAMA ",\"rope_theta\":5,\"rope_parameters\":{\"full_attention\":{\"rope_"
                               "theta\":9},\"rope_theta\":777}}",
                         AUGUST, arena)
                        .facts.rope_base,
                    9.0);
    CU_ASSERT_EQUAL(must(LLAMA ",\"rope_theta\":5}", AUGUST, arena).facts.rope_base, 5.0);
    refused(LLAMA ",\"hidden_act\":\"relu\"}", AUGUST, WA_E_UNSUPPORTED, "LARQL panics (N6)");
    refused(OF_TYPE("olmo2") "}", AUGUST, WA_E_UNSUPPORTED, "larql semantics of family 'olmo2'");
    wa_arena_close(arena);
}

/* S2: linear of Gemma 3's full layers, llama3 of Llama, yarn with the original length; the rest is
 * passed over. */
static void august_scales_three_ways(void)
{
#define YARN                                                                                       \
    ",\"max_position_embeddings\":256,\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4"
#define LLAMA3_OBJECT                                                                              \
    ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_"  \
    "factor\":4,"                                                                                  \
    "\"original_max_position_embeddings\":8192}}"
    static const struct {
        const char *text;
        wa_scaling_kind kind;
        double amplitude;
    } cases[] = {
        {LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}}", WA_SCALING_NONE, 0},
        {LLAMA LLAMA3_OBJECT, WA_SCALING_LLAMA3, 0},
        {OF_TYPE("qwen2") LLAMA3_OBJECT, WA_SCALING_NONE, 0},
        {OF_TYPE("qwen2") YARN ",\"original_max_position_embeddings\":64}}", WA_SCALING_YARN,
         1.1386294361119891},
        {OF_TYPE("qwen2") YARN ",\"original_max_position_embeddings\":64,\"attention_factor\":3}}",
         WA_SCALING_YARN, 1.1386294361119891},
        {OF_TYPE("qwen2") YARN
         ",\"original_max_position_embeddings\":64,\"mscale\":1,\"mscale_all_dim\":1}}",
         WA_SCALING_YARN, 1.0},
        {OF_TYPE("qwen2") YARN "}}", WA_SCALING_NONE, 0},
        {LLAMA ",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}", WA_SCALING_NONE, 0},
    };
    wa_arena *arena = open_arena();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wa_config config = must(cases[i].text, AUGUST, arena);
        CU_ASSERT_EQUAL(config.scaling.kind, cases[i].kind);
        CU_ASSERT_DOUBLE_EQUAL(config.scaling.attention_factor, cases[i].amplitude, 1e-15);
    }
    wa_config config = must(GEMMA3_4B, AUGUST, arena);
    double full[128], sliding[128];
    wa_config_rope(&config, WA_ROPE_FULL, full);
    wa_config_rope(&config, WA_ROPE_LOCAL, sliding);
    CU_ASSERT(full[0] == 0.125 && sliding[0] == 1.0);
    wa_arena_close(arena);
}

/* S3: by the family's pattern whatever is listed, or of the layers that are listed, or none;
 * without a size they see all. */
static void august_has_windows_where_they_are_declared(void)
{
#define LISTED                                                                                     \
    ",\"layer_types\":[\"full_attention\",\"sliding_attention\",\"full_attention\",\"full_"        \
    "attention\",\"full_attention\",\"full_attention\"]"
    static const struct {
        const char *text;
        size_t window;
        const char *slides; /* a digit for each of six layers */
    } cases[] = {
        {"{\"model_type\":\"gemma3_text\",\"sliding_window\":7,\"sliding_window_pattern\":2" LISTED
         "," SIZES "}",
         7, "111110"},
        {"{\"model_type\":\"gemma3_text\"," SIZES "}", 0, "111110"},
        {"{\"model_type\":\"gemma2\",\"sliding_window\":7" LISTED "," SIZES "}", 7, "101010"},
        {OF_TYPE("mistral") ",\"sliding_window\":7}", 7, "000000"},
        {OF_TYPE("mistral") ",\"sliding_window\":7" LISTED "}", 7, "010000"},
        {OF_TYPE(
             "qwen2") ",\"use_sliding_window\":true,\"max_window_layers\":2,\"sliding_window\":7}",
         7, "000000"},
        {LLAMA LISTED "}", 0, "010000"},
    };
    wa_arena *arena = open_arena();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wa_config config = must(cases[i].text, AUGUST, arena);
        CU_ASSERT_EQUAL(config.facts.sliding_window, cases[i].window);
        for (size_t l = 0; l < 6; l++)
            CU_ASSERT_EQUAL(wa_config_is_sliding(&config, l), cases[i].slides[l] == '1');
    }
    wa_arena_close(arena);
}

static void words_of_semantics_are_read_and_written(void)
{
    wa_semantics read;
    for (int s = 0; s < WA_SEMANTICS_COUNT; s++)
        CU_ASSERT(wa_semantics_parse(wa_semantics_name((wa_semantics)s), &read) &&
                  read == (wa_semantics)s);
    CU_ASSERT_FALSE(wa_semantics_parse("larql", &read));
}

/* By hand, from the paper's rule: head 16, base 100, 8 pairs, original length 64. The dimension
 * that turns n times is 16 ln(64 / 2 pi n) / (2 ln 100) = 4.03200 - 1.73718 ln n: 5.23612 for n =
 * 0.5 and 0.41964 for n = 8. Truncated: a ramp from 0 to 6; else between these two. */
static void yarn_keeps_blends_and_slows(void)
{
    static const char whole[] =
        LLAMA ",\"rope_theta\":100,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,"
              "\"beta_fast\":8,\"beta_slow\":0.5,\"original_max_position_embeddings\":64}}";
    static const char ramp[] =
        LLAMA ",\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":4,\"rope_theta\":100,"
              "\"beta_fast\":8,\"beta_slow\":0.5,\"original_max_position_embeddings\":64,"
              "\"truncate\":false,\"mscale\":2,\"mscale_all_dim\":0.5}}";
    wa_arena *arena = open_arena();
    double f[8];
    wa_config config = must(whole, NATIVE, arena);
    wa_config_rope(&config, WA_ROPE_FULL, f);
    CU_ASSERT_EQUAL(f[0], 1.0);
    CU_ASSERT_DOUBLE_EQUAL(f[3], pow(100, -3.0 / 8) * (0.5 + 0.5 / 4), 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(f[7], pow(100, -7.0 / 8) / 4, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(wa_config_rope_factor(&config, WA_ROPE_FULL), 0.1 * log(4) + 1, 1e-15);
    config = must(ramp, NATIVE, arena);
    wa_config_rope(&config, WA_ROPE_FULL, f);
    double slowed = (3 - 0.41964) / (5.23612 - 0.41964);
    CU_ASSERT_EQUAL(f[0], 1.0);
    CU_ASSERT_DOUBLE_EQUAL(f[3], pow(100, -3.0 / 8) * (1 - slowed + slowed / 4), 1e-5);
    CU_ASSERT_DOUBLE_EQUAL(wa_config_rope_factor(&config, WA_ROPE_FULL),
                           (0.2 * log(4) + 1) / (0.05 * log(4) + 1), 1e-15);
    wa_arena_close(arena);
}

#define PHI3(factors_)                                                                             \
    "{\"model_type\":\"phi3\",\"num_attention_heads\":16,\"max_position_embeddings\":128," SIZES   \
    ",\"original_max_position_embeddings\":32,\"rope_scaling\":{\"type\":\"longrope\"," factors_   \
    "}}"

static void longrope_has_two_sets_of_divisors(void)
{
    wa_arena *arena = open_arena();
    double f[2];
    wa_config config = must(PHI3("\"short_factor\":[1,2],\"long_factor\":[4,8]"), NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.rotary_dim, 4);
    wa_config_rope(&config, WA_ROPE_FULL, f);
    CU_ASSERT(f[0] == 1.0 && fabs(f[1] - 0.005) < 1e-17);
    wa_config_rope(&config, WA_ROPE_LONG, f);
    CU_ASSERT(f[0] == 0.25 && fabs(f[1] - 0.00125) < 1e-17);
    CU_ASSERT_DOUBLE_EQUAL(wa_config_rope_factor(&config, WA_ROPE_LONG), sqrt(1 + log(4) / log(32)),
                           1e-15);
    wa_arena_close(arena);
    refused(PHI3("\"short_factor\":[1,2],\"long_factor\":[4]"), NATIVE, WA_E_FORMAT,
            "'long_factor' of the RoPE scaling: found an array of 1, expected an array of 2");
    refused(PHI3("\"long_factor\":[4,8]"), NATIVE, WA_E_FORMAT,
            "'short_factor' of the RoPE scaling");
    refused(PHI3("\"short_factor\":[1,0],\"long_factor\":[4,8]"), NATIVE, WA_E_FORMAT,
            "'short_factor' is 0");
    refused(PHI3("\"short_factor\":[1,\"2\"],\"long_factor\":[4,8]"), NATIVE, WA_E_FORMAT,
            "'short_factor' is nan");
}

/* Kept as a size, which 1e300 is out of the range of. */
static void more_positions_than_a_size_can_count_are_refused(void)
{
    static const char divisors[] = "\"short_factor\":[1,2],\"long_factor\":[4,8]}}";
    static const struct {
        const char *key, *other;
        bool taken;
    } cases[] = {{"\"original_max_position_embeddings\":1e300", "\"factor\":4", false},
                 {"\"original_max_position_embeddings\":1.9e19", "\"factor\":4", false},
                 {"\"original_max_position_embeddings\":9007199254740994", "\"factor\":4", false},
                 {"\"original_max_position_embeddings\":9007199254740992", "\"factor\":4", true},
                 {"\"max_position_embeddings\":1e300", "\"type\":\"longrope\"", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "{\"model_type\":\"phi3\",\"num_attention_heads\":16," SIZES
                 ",%s,\"rope_scaling\":{\"rope_type\":\"longrope\",%s,%s",
                 cases[i].key, cases[i].other, divisors);
        wa_arena *arena = open_arena();
        if (cases[i].taken)
            CU_ASSERT_EQUAL(must(text, NATIVE, arena).scaling.original_positions, 0x1p53);
        wa_arena_close(arena);
        if (!cases[i].taken)
            refused(text, NATIVE, WA_E_FORMAT, "expected at most 9007199254740992 positions");
    }
}

static void some_layers_and_some_dimensions_are_not_rotated(void)
{
    wa_arena *arena = open_arena();
    wa_config config = must(OF_TYPE("smollm3") "}", NATIVE, arena);
    for (size_t l = 0; l < 6; l++)
        CU_ASSERT_EQUAL(wa_config_is_unrotated(&config, l), l == 3);
    config = must(OF_TYPE("smollm3") ",\"no_rope_layers\":[0,1,1,1,1,0],"
                                     "\"use_sliding_window\":true,\"sliding_window\":8}",
                  NATIVE, arena);
    for (size_t l = 0; l < 6; l++) {
        CU_ASSERT_EQUAL(wa_config_is_unrotated(&config, l), l == 0 || l == 5);
        CU_ASSERT_EQUAL(wa_config_is_sliding(&config, l), l == 0 || l == 5);
    }
    config =
        must(OF_TYPE("exaone4") ",\"num_key_value_heads\":4,\"sliding_window\":8}", NATIVE, arena);
    for (size_t l = 0; l < 6; l++)
        CU_ASSERT(wa_config_is_unrotated(&config, l) == (l == 3) &&
                  wa_config_is_sliding(&config, l) == (l != 3));
    config = must(OF_TYPE("exaone4") ",\"num_key_value_heads\":4,\"sliding_window\":null}", NATIVE,
                  arena);
    CU_ASSERT_FALSE(wa_config_is_unrotated(&config, 3));
    config = must(OF_TYPE("glm4") "}", NATIVE, arena);
    CU_ASSERT(config.facts.head_dim == 128 && config.facts.rotary_dim == 64 && config.rope_pairs);
    CU_ASSERT(config.qkv_bias && !config.o_bias);
    wa_arena_close(arena);
    refused(OF_TYPE("smollm3") ",\"no_rope_layers\":[1,1]}", NATIVE, WA_E_FORMAT,
            "'no_rope_layers': found an array of 2, expected an array of 6");
    refused(OF_TYPE("smollm3") ",\"no_rope_layers\":[1,1,2,1,1,1]}", NATIVE, WA_E_FORMAT,
            "'no_rope_layers' of layer 2 is not 0 or 1");
    refused(OF_TYPE("smollm3") ",\"no_rope_layer_interval\":0}", NATIVE, WA_E_FORMAT,
            "'no_rope_layer_interval' is 0");
    refused(OF_TYPE("glm4") ",\"partial_rotary_factor\":1.5}", NATIVE, WA_E_FORMAT,
            "expected at most 1");
    refused(OF_TYPE("glm4") ",\"partial_rotary_factor\":0.001}", NATIVE, WA_E_FORMAT,
            "rotation of 0 of 128 dimensions");
}

/* Base 1e4, head 32, factor 16, original length 32: waves below 8 kept, above 32 slowed, f_1
 * blended: wave 11.173, t = (32/11.173 - 1)/3 = 0.62133, f_1 (0.37867/16 + 0.62133). */
static void llama3_scaling_keeps_blends_and_slows(void)
{
    wa_arena *arena = open_arena();
    wa_config config = must("{\"model_type\":\"llama\",\"num_attention_heads\":4,\"head_dim\":32,"
                            "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":16.0,"
                            "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
                            "\"original_max_position_embeddings\":32}," SIZES "}",
                            NATIVE, arena);
    double f[16];
    wa_config_rope(&config, WA_ROPE_FULL, f);
    CU_ASSERT_EQUAL(f[0], 1.0);
    CU_ASSERT_DOUBLE_EQUAL(f[1], 0.362706789747283, 1e-15);
    CU_ASSERT_DOUBLE_EQUAL(f[4], 0.1 / 16, 1e-17);
    CU_ASSERT_DOUBLE_EQUAL(f[8], 0.01 / 16, 1e-18);
    wa_arena_close(arena);
}

static void windows_follow_the_rule_of_the_family(void)
{
#define WINDOW ",\"sliding_window\":5"
    wa_arena *arena = open_arena();
    wa_config config =
        must("{\"model_type\":\"mistral\",\"num_attention_heads\":4" WINDOW "," SIZES "}", NATIVE,
             arena);
    CU_ASSERT(wa_config_is_sliding(&config, 0) && wa_config_is_sliding(&config, 5));
    CU_ASSERT_EQUAL(config.facts.sliding_window, 5);
    config = must("{\"model_type\":\"mistral\",\"num_attention_heads\":4" WINDOW "," SIZES "}",
                  LARQL, arena);
    CU_ASSERT_FALSE(wa_config_is_sliding(&config, 0));
    CU_ASSERT_EQUAL(config.facts.sliding_window, 5); /* index.json records it all the same */
    config = must(LLAMA WINDOW "}", NATIVE, arena);
    CU_ASSERT_FALSE(wa_config_is_sliding(&config, 0));

#define QWEN "{\"model_type\":\"qwen2\",\"num_attention_heads\":4" WINDOW "," SIZES
    config = must(QWEN ",\"use_sliding_window\":false}", NATIVE, arena);
    CU_ASSERT_FALSE(wa_config_is_sliding(&config, 5));
    config = must(QWEN ",\"use_sliding_window\":true,\"max_window_layers\":2}", NATIVE, arena);
    CU_ASSERT(!wa_config_is_sliding(&config, 1) && wa_config_is_sliding(&config, 2));
    CU_ASSERT(config.qkv_bias && !config.o_bias && !config.ffn_bias);

    config =
        must("{\"model_type\":\"gemma3_text\",\"sliding_window_pattern\":3" WINDOW "," SIZES "}",
             NATIVE, arena);
    CU_ASSERT(wa_config_is_sliding(&config, 1) && !wa_config_is_sliding(&config, 2));
    config =
        must("{\"model_type\":\"gemma3_text\",\"sliding_window_pattern\":3" WINDOW
             ",\"layer_types\":[\"full_attention\",\"sliding_attention\",\"sliding_attention\","
             "\"sliding_attention\",\"sliding_attention\",\"sliding_attention\"]," SIZES "}",
             NATIVE, arena);
    CU_ASSERT(!wa_config_is_sliding(&config, 0) && wa_config_is_sliding(&config, 2));
    wa_arena_close(arena);
}

static void granite_has_four_multipliers(void)
{
#define GRANITE "{\"model_type\":\"granite\",\"num_attention_heads\":4," SIZES
    wa_arena *arena = open_arena();
    wa_config config = must(GRANITE ",\"embedding_multiplier\":12,\"residual_multiplier\":0.22,"
                                    "\"attention_multiplier\":0.09375,\"logits_scaling\":6}",
                            NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.embed_scale, 12.0f);
    CU_ASSERT_EQUAL(config.facts.residual_multiplier, 0.22f);
    CU_ASSERT_EQUAL(config.facts.attn_scale, 0.09375f);
    CU_ASSERT_EQUAL(config.facts.logits_scale, 1.0f / 6.0f);
    /* 1 means 1 to the authors, "not given" to LARQL */
    CU_ASSERT_EQUAL(must(GRANITE "}", NATIVE, arena).facts.attn_scale, 1.0f);
    CU_ASSERT_EQUAL(must(GRANITE "}", LARQL, arena).facts.attn_scale, 0.25f);
    refused(GRANITE ",\"logits_scaling\":0}", NATIVE, WA_E_FORMAT, "'logits_scaling' is 0");
    wa_arena_close(arena);
}

static void ungated_families_have_their_own_keys(void)
{
    wa_arena *arena = open_arena();
    wa_config config = must("{\"model_type\":\"gpt2\",\"n_embd\":64,\"n_layer\":2,\"n_head\":4,"
                            "\"n_inner\":null,\"n_positions\":32,\"layer_norm_epsilon\":1e-4}",
                            NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.intermediate, 256);
    CU_ASSERT_EQUAL(config.facts.kv_heads, 4);
    CU_ASSERT_EQUAL(config.positions, 32);
    CU_ASSERT_EQUAL(config.facts.norm_eps, 1e-4);
    CU_ASSERT_EQUAL(config.facts.norm_kind, WA_NORM_LAYER);
    CU_ASSERT(!config.rotates && !config.facts.gated && config.qkv_bias && config.ffn_bias);
    CU_ASSERT_EQUAL(config.tie, WA_TIE_YES);

#define STARCODER2 "{\"model_type\":\"starcoder2\",\"num_attention_heads\":4," SIZES
    config = must(STARCODER2 "}", NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.norm_eps, 1e-5);
    CU_ASSERT_EQUAL(config.facts.activation, WA_GELU_TANH);
    CU_ASSERT(config.rotates && !config.facts.gated && config.o_bias && config.ffn_bias);
    config = must(STARCODER2 ",\"norm_epsilon\":1e-3,\"use_bias\":false}", NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.norm_eps, 1e-3);
    CU_ASSERT(!config.qkv_bias && !config.o_bias && !config.ffn_bias);
    wa_arena_close(arena);
}

static void attention_bias_is_a_flag(void)
{
    wa_arena *arena = open_arena();
    wa_config config = must(LLAMA ",\"attention_bias\":true}", NATIVE, arena);
    CU_ASSERT(config.qkv_bias && config.o_bias && !config.ffn_bias);
    config = must(LLAMA "}", NATIVE, arena);
    CU_ASSERT(!config.qkv_bias && !config.o_bias);
    wa_arena_close(arena);
}

/* --- refusals --- */

static void each_malformed_config_gets_its_error(void)
{
    static const struct {
        const char *file;
        wa_status status;
        const char *says;
    } cases[] = {
        {"no-hidden-size.json", WA_E_FORMAT, "'hidden_size': found nothing"},
        {"kv-heads.json", WA_E_FORMAT, "4 attention heads are not divisible by 3"},
        {"unknown-type.json", WA_E_UNSUPPORTED, "unknown model type 'mystery'"},
        {"moe.json", WA_E_UNSUPPORTED, "expert models are unsupported: 'num_local_experts' is 8"},
        {"activation.json", WA_E_UNSUPPORTED, "unknown activation 'laplace'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512];
        wa_error err = {0};
        json_t *root;
        wa_config config;
        wa_arena *arena = open_arena();
        snprintf(path, sizeof path, WA_GOLDEN "/malformed/config/%s", cases[i].file);
        WA_MUST(wa_json_open(path, &root, &err), &err);
        CU_ASSERT_EQUAL(wa_config_from_json(root, NATIVE, arena, &config, &err), cases[i].status);
        bool said = strstr(err.text, cases[i].says) != NULL;
        if (!said)
            fprintf(stderr, "    %s: '%s' lacks '%s'\n", path, err.text, cases[i].says);
        CU_ASSERT(said);
        wa_json_close(root);
        wa_arena_close(arena);
    }
}

static void what_cannot_be_computed_is_refused_with_a_reason(void)
{
#define TYPE(name) "{\"model_type\":\"" name "\"," SIZES ",\"num_attention_heads\":4}"
    static const struct {
        const char *text;
        wa_semantics semantics;
        const char *says;
    } cases[] = {
        {TYPE("mixtral"), WA_SEMANTICS_LARQL_2026_05,
         "LARQL feeds router and experts the residual"},
        {OF_TYPE("qwen3_moe") ",\"use_sliding_window\":true}", WA_SEMANTICS_NATIVE,
         "'use_sliding_window' is true"},
        {OF_TYPE("olmoe") ",\"clip_qkv\":8.0}", WA_SEMANTICS_NATIVE, "'clip_qkv' is 8"},
        {TYPE("llama4"), WA_SEMANTICS_NATIVE, "expert models"},
        {TYPE("deepseek_v3"), WA_SEMANTICS_NATIVE, "latent attention (MLA)"},
        {TYPE("gemma4_text"), WA_SEMANTICS_NATIVE, "per-layer embeddings"},
        {TYPE("phi"), WA_SEMANTICS_LARQL_2026_05, "Phi"},
        {TYPE("phimoe"), WA_SEMANTICS_NATIVE, "expert models"},
        {TYPE("phi3"), WA_SEMANTICS_LARQL_2026_05,
         "larql semantics of family 'phi3': LARQL knows no such"},
        {TYPE("olmo2"), WA_SEMANTICS_LARQL_2026_05, "larql semantics of family 'olmo2'"},
        {TYPE("llamas"), WA_SEMANTICS_LARQL_2026_05, "unknown model type 'llamas'"},
        {TYPE("gemma"), WA_SEMANTICS_LARQL_2026_05, "larql semantics of family 'gemma'"},
        {"{\"model_type\":\"gpt2\",\"n_embd\":64,\"n_layer\":2,\"n_head\":4}",
         WA_SEMANTICS_LARQL_2026_05, "larql semantics of family 'gpt2'"},
        {"{\"model_type\":\"gpt2\",\"n_embd\":64,\"n_layer\":2,\"n_head\":4,"
         "\"scale_attn_by_inverse_layer_idx\":true}",
         WA_SEMANTICS_NATIVE, "'scale_attn_by_inverse_layer_idx' is true"},
        {LLAMA ",\"kv_lora_rank\":512}", WA_SEMANTICS_NATIVE, "'kv_lora_rank' is 512"},
        {LLAMA ",\"hidden_size_per_layer_input\":256}", WA_SEMANTICS_NATIVE,
         "per-layer embeddings"},
        {OF_TYPE("qwen2") ",\"mlp_bias\":true}", WA_SEMANTICS_NATIVE, "'mlp_bias' is true"},
        {LLAMA ",\"mlp_bias\":true}", WA_SEMANTICS_LARQL_2026_05,
         "LARQL leaves those of gate and up out"},
        {LLAMA ",\"partial_rotary_factor\":0.5}", WA_SEMANTICS_NATIVE, "partial_rotary_factor"},
        {LLAMA ",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}", WA_SEMANTICS_NATIVE,
         "RoPE scaling 'dynamic' is not computed: beyond max_position_embeddings"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refused(cases[i].text, cases[i].semantics, WA_E_UNSUPPORTED, cases[i].says);
    refused("{\"model_type\":\"gemma3_text\",\"layer_types\":[\"full_attention\"]," SIZES "}",
            NATIVE, WA_E_FORMAT, "1 entries, expected 6");
    refused("{\"model_type\":\"mistral\",\"num_attention_heads\":4,\"sliding_window\":4,"
            "\"layer_types\":[1,2,3,4,5,6]," SIZES "}",
            NATIVE, WA_E_UNSUPPORTED, "layer 0");
}

/* The classes of these families give every layer the window; Mistral's goes by the list. */
static void a_list_of_layer_types_is_not_obeyed_where_classes_ignore_it(void)
{
#define LISTS(types_) ",\"sliding_window\":5,\"layer_types\":[" types_ "]}"
#define SLIDING "\"sliding_attention\","
#define FIVE SLIDING SLIDING SLIDING SLIDING SLIDING
    static const char *const mixed[] = {
        OF_TYPE("phi3") LISTS(FIVE "\"full_attention\""),
        OF_TYPE("mixtral") LISTS(FIVE "\"full_attention\""),
        OF_TYPE("starcoder2") LISTS(FIVE "\"full_attention\""),
    };
    wa_arena *arena = open_arena();
    for (size_t i = 0; i < sizeof mixed / sizeof mixed[0]; i++)
        refused(mixed[i], NATIVE, WA_E_UNSUPPORTED,
                "'layer_types' of layer 5 is 'full_attention', but the classes of family '");
    wa_config config = must(OF_TYPE("phi3") LISTS(FIVE "\"sliding_attention\""), NATIVE, arena);
    CU_ASSERT(wa_config_is_sliding(&config, 0) && wa_config_is_sliding(&config, 5));
    /* without a window the list says nothing */
    must(OF_TYPE("phi3") ",\"layer_types\":[" FIVE "\"full_attention\"]}", NATIVE, arena);
    config = must(OF_TYPE("mistral") LISTS(FIVE "\"full_attention\""), NATIVE, arena);
    CU_ASSERT(wa_config_is_sliding(&config, 0) && !wa_config_is_sliding(&config, 5));
    wa_arena_close(arena);
#undef FIVE
#undef SLIDING
#undef LISTS
}

static void numbers_without_sense_are_refused(void)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"[]", "expected an object"},
        {"{}", "'model_type': found nothing"},
        {"{\"model_type\":\"llama\"," SIZES "}", "'num_attention_heads': found nothing"},
        {LLAMA ",\"num_key_value_heads\":0}", "key/value heads is 0"},
        {LLAMA ",\"num_key_value_heads\":8}", "not divisible by 8"},
        {LLAMA ",\"head_dim\":7}", "head dimension 7 is odd"},
        {LLAMA ",\"head_dim\":0}", "head dimension is 0"},
        {LLAMA ",\"rms_norm_eps\":0}", "'norm epsilon' is 0"},
        {LLAMA ",\"rope_theta\":-1}", "'RoPE base' is -1"},
        {LLAMA ",\"head_dim\":4611686018427387904}", "overflow"},
        {LLAMA ",\"sliding_window\":0}", "'sliding_window' is 0"},
        {LLAMA ",\"rope_scaling\":7}", "'rope_scaling': found an integer"},
        {LLAMA ",\"rope_scaling\":{\"type\":\"linear\"}}", "'factor' of the RoPE scaling"},
        {LLAMA ",\"hidden_act\":7}", "'hidden_act': found an integer"},
        {"{\"model_type\":\"gemma3_text\",\"final_logit_softcapping\":-3," SIZES "}",
         "'final_logit_softcapping' is -3"},
        {"{\"model_type\":\"gemma3_text\",\"sliding_window_pattern\":0," SIZES "}",
         "'sliding_window_pattern' is 0"},
        {"{\"model_type\":\"gemma3_text\",\"query_pre_attn_scalar\":-4," SIZES "}",
         "'attention scale'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refused(cases[i].text, NATIVE, WA_E_FORMAT, cases[i].says);
}

/* --- as transformers 5 reads it --- */

static void the_object_of_rope_wins_over_what_stands_beside_it(void)
{
    static const struct {
        const char *text;
        double base;
        size_t notes;
    } cases[] = {
        {LLAMA ",\"rope_theta\":9}", 9, 0},
        {LLAMA ",\"rope_theta\":9,\"rope_parameters\":{\"rope_theta\":7}}", 7, 1},
        {LLAMA ",\"rope_theta\":9,\"rope_parameters\":{\"rope_theta\":9}}", 9, 0},
        {LLAMA ",\"rope_theta\":9,\"rope_parameters\":{\"rope_theta\":null}}", 9, 0},
        {LLAMA ",\"rope_theta\":9,\"rope_scaling\":{\"rope_theta\":7}}", 7, 1},
        {LLAMA ",\"rope_theta\":9,\"rope_scaling\":{}}", 9, 0},
        {LLAMA ",\"rope_scaling\":{},\"rope_parameters\":{\"rope_theta\":7}}", 7, 0},
        {LLAMA ",\"rope_scaling\":null,\"rope_parameters\":{\"rope_theta\":7}}", 7, 0},
        {LLAMA ",\"rope_scaling\":{\"rope_theta\":7},\"rope_parameters\":{\"rope_theta\":7}}", 7,
         0},
        {LLAMA ",\"rope_parameters\":{\"rope_theta\":7,\"factor\":2}}", 7, 1},
        {LLAMA "}", 1e4, 0},
    };
    wa_arena *arena = open_arena();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wa_config config = must(cases[i].text, NATIVE, arena);
        CU_ASSERT_EQUAL(config.facts.rope_base, cases[i].base);
        CU_ASSERT_EQUAL(config.notes.count, cases[i].notes);
    }
    wa_arena_close(arena);
    refused(LLAMA ",\"rope_scaling\":{\"rope_theta\":7},\"rope_parameters\":{\"rope_theta\":8}}",
            NATIVE, WA_E_UNSUPPORTED, "both given and differ");
    refused(OF_TYPE("gemma3_text") ",\"rope_parameters\":{\"full_attention\":{\"partial_rotary_"
                                   "factor\":0.5}}}",
            NATIVE, WA_E_UNSUPPORTED, "'partial_rotary_factor' is 0.5");
    /* each layout only where the classes read it */
    static const char *const flat[] = {"gemma3", "olmo3"};
    for (size_t i = 0; i < sizeof flat / sizeof flat[0]; i++)
        refused(i == 0 ? OF_TYPE("gemma3_text") ",\"rope_parameters\":{\"rope_theta\":7}}"
                       : OF_TYPE("olmo3") ",\"rope_parameters\":{\"rope_theta\":7}}",
                NATIVE, WA_E_UNSUPPORTED, flat[i]);
    static const char *const by_kind[] = {
        LLAMA ",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":7}}}",
        OF_TYPE("phi3") ",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":7},"
                        "\"sliding_attention\":{\"rope_theta\":5}}}",
        OF_TYPE("mistral") ",\"rope_parameters\":{\"sliding_attention\":{\"rope_theta\":5}}}",
        OF_TYPE("gemma3_text") ",\"rope_scaling\":{\"full_attention\":{\"rope_theta\":7}}}"};
    for (size_t i = 0; i < sizeof by_kind / sizeof by_kind[0]; i++)
        refused(by_kind[i], NATIVE, WA_E_UNSUPPORTED, "has an object for each kind of layer");
    refused(LLAMA ",\"rope_scaling\":{\"partial_rotary_factor\":0.25}}", NATIVE, WA_E_UNSUPPORTED,
            "'partial_rotary_factor' is 0.25");
}

static void llama3_takes_its_positions_from_where_they_stand(void)
{
#define LLAMA3                                                                                     \
    ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,"              \
    "\"high_freq_factor\":4"
#define POSITIONS ",\"original_max_position_embeddings\":"
    static const struct {
        const char *text;
        double positions;
    } cases[] = {
        {LLAMA LLAMA3 POSITIONS "64}}", 64},
        {LLAMA ",\"max_position_embeddings\":128" LLAMA3 "}}", 128},
        {LLAMA ",\"max_position_embeddings\":128" LLAMA3 POSITIONS "64}}", 64},
        {LLAMA POSITIONS "32" LLAMA3 POSITIONS "64}}", 32},
    };
    wa_arena *arena = open_arena();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CU_ASSERT_EQUAL(must(cases[i].text, NATIVE, arena).scaling.original_positions,
                        cases[i].positions);
    wa_arena_close(arena);
    refused(LLAMA LLAMA3 "}}", NATIVE, WA_E_FORMAT, "original_max_position_embeddings");
}

/* 4096, as the configuration classes of transformers have it; null means none. */
static void absent_windows_have_the_default_of_the_family(void)
{
    static const struct {
        const char *text;
        size_t window;
        bool slides; /* the last layer */
    } cases[] = {
        {OF_TYPE("mistral") "}", 4096, true},
        {OF_TYPE("mistral") ",\"sliding_window\":null}", 0, true},
        {OF_TYPE("mistral") ",\"sliding_window\":7}", 7, true},
        {OF_TYPE("qwen2") "}", 0, false},
        {OF_TYPE("qwen2") ",\"use_sliding_window\":true,\"max_window_layers\":2}", 4096, true},
        {OF_TYPE("qwen3") ",\"use_sliding_window\":true,\"max_window_layers\":2}", 4096, true},
        {OF_TYPE("starcoder2") "}", 0, true},
        {LLAMA "}", 0, false},
    };
    wa_arena *arena = open_arena();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wa_config config = must(cases[i].text, NATIVE, arena);
        CU_ASSERT_EQUAL(config.facts.sliding_window, cases[i].window);
        CU_ASSERT_EQUAL(wa_config_is_sliding(&config, 5), cases[i].slides);
    }
    CU_ASSERT_EQUAL(must(cases[0].text, LARQL, arena).facts.sliding_window, 0);
    wa_arena_close(arena);
}

/* Keys as published configurations have them: no remark on any. */
static void published_configurations_pass_in_silence(void)
{
    static const char *const texts[] = {
        LLAMA ",\"architectures\":[\"LlamaForCausalLM\"],\"is_llama_config\":true,"
              "\"rope_interleaved\":false,\"transformers.js_config\":{\"dtype\":\"q4\"},"
              "\"pretraining_tp\":1,\"attention_dropout\":0.0,\"initializer_range\":0.04,"
              "\"rope_scaling\":null,\"torch_dtype\":\"bfloat16\",\"eos_token_id\":[1,2]}",
        OF_TYPE(
            "qwen2") ",\"use_mrope\":false,\"use_sliding_window\":false,\"sliding_window\":4096,"
                     "\"max_window_layers\":21,\"layer_types\":[\"full_attention\",\"full_"
                     "attention\","
                     "\"full_attention\",\"full_attention\",\"full_attention\",\"full_attention\"]"
                     "}",
        OF_TYPE(
            "gemma3_text") ",\"cache_implementation\":\"hybrid\",\"_sliding_window_pattern\":6,"
                           "\"use_bidirectional_attention\":false,\"attn_logit_softcapping\":null,"
                           "\"rope_local_base_freq\":10000,\"rope_theta\":1000000}",
        "{\"model_type\":\"gemma3\",\"architectures\":[\"Gemma3ForConditionalGeneration\"],"
        "\"boi_token_index\":255999,\"mm_tokens_per_image\":256,\"vision_config\":{\"a\":1},"
        "\"text_config\":{\"model_type\":\"gemma3_text\"," SIZES "}}",
    };
    wa_arena *arena = open_arena();
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        wa_config config = must(texts[i], NATIVE, arena);
        CU_ASSERT_EQUAL(config.notes.count, 0);
        for (size_t n = 0; n < config.notes.count; n++)
            fprintf(stderr, "    %s\n", config.notes.items[n]);
    }
    wa_arena_close(arena);
}

WA_SUITE("config", WA_CASE(the_object_of_rope_wins_over_what_stands_beside_it),
         WA_CASE(llama3_takes_its_positions_from_where_they_stand),
         WA_CASE(absent_windows_have_the_default_of_the_family),
         WA_CASE(published_configurations_pass_in_silence),
         WA_CASE(gemma3_fills_in_what_its_published_file_leaves_out),
         WA_CASE(gemma3_under_larql_scales_no_frequency),
         WA_CASE(new_style_rope_parameters_are_read),
         WA_CASE(a_list_of_layer_types_is_not_obeyed_where_classes_ignore_it),
         WA_CASE(gemma2_caps_and_scalar_have_defaults_that_null_removes),
         WA_CASE(gemma3_has_keys_that_its_classes_do_not_read),
         WA_CASE(each_gemma_honours_one_key_of_its_activation),
         WA_CASE(larql_ignores_what_native_reads), WA_CASE(august_reads_what_may_ignored),
         WA_CASE(august_scales_three_ways), WA_CASE(august_has_windows_where_they_are_declared),
         WA_CASE(words_of_semantics_are_read_and_written),
         WA_CASE(llama3_scaling_keeps_blends_and_slows), WA_CASE(yarn_keeps_blends_and_slows),
         WA_CASE(longrope_has_two_sets_of_divisors),
         WA_CASE(more_positions_than_a_size_can_count_are_refused),
         WA_CASE(some_layers_and_some_dimensions_are_not_rotated),
         WA_CASE(windows_follow_the_rule_of_the_family), WA_CASE(granite_has_four_multipliers),
         WA_CASE(ungated_families_have_their_own_keys), WA_CASE(attention_bias_is_a_flag),
         WA_CASE(each_malformed_config_gets_its_error),
         WA_CASE(what_cannot_be_computed_is_refused_with_a_reason),
         WA_CASE(numbers_without_sense_are_refused))

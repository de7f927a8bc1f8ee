/* Configurations in GGUF metadata: defaults of the format, patterns, refusals. */
#include "model/config.h"

#include "golden.h"

static wa_arena *open_arena(void)
{
    wa_arena *arena;
    wa_error err;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    return arena;
}

static const wa_semantics NATIVE = WA_SEMANTICS_NATIVE;
static const wa_semantics LARQL = WA_SEMANTICS_LARQL_2026_05, AUGUST = WA_SEMANTICS_LARQL_2026_08;

typedef struct builder {
    uint8_t bytes[4096];
    size_t size;
    uint64_t entries;
} builder;

static void put(builder *b, const void *data, size_t size)
{
    memcpy(b->bytes + b->size, data, size);
    b->size += size;
}

static void put_key(builder *b, const char *key, uint32_t type)
{
    uint64_t length = strlen(key);
    put(b, &length, sizeof length);
    put(b, key, strlen(key));
    put(b, &type, sizeof type);
    b->entries++;
}

static void put_u32(builder *b, const char *key, uint32_t value)
{
    put_key(b, key, WA_GGUF_U32);
    put(b, &value, sizeof value);
}

static void put_f32(builder *b, const char *key, float value)
{
    put_key(b, key, WA_GGUF_F32);
    put(b, &value, sizeof value);
}

static void put_text(builder *b, const char *key, const char *text)
{
    uint64_t length = strlen(text);
    put_key(b, key, WA_GGUF_STRING);
    put(b, &length, sizeof length);
    put(b, text, strlen(text));
}

static void put_bytes(builder *b, const char *key, uint32_t type, const void *values,
                      uint64_t count, size_t size)
{
    put_key(b, key, WA_GGUF_ARRAY);
    put(b, &type, sizeof type);
    put(b, &count, sizeof count);
    put(b, values, count * size);
}

/* "NAME.key" of an architecture; static storage is enough for one call at a time. */
static const char *key(const char *architecture, const char *name)
{
    static char text[128];
    snprintf(text, sizeof text, "%s.%s", architecture, name);
    return text;
}

static builder begin(const char *architecture, uint32_t layers, bool rms)
{
    builder b = {.size = 24};
    put_text(&b, "general.architecture", architecture);
    put_u32(&b, key(architecture, "embedding_length"), 64);
    put_u32(&b, key(architecture, "block_count"), layers);
    put_u32(&b, key(architecture, "feed_forward_length"), 128);
    put_u32(&b, key(architecture, "attention.head_count"), 4);
    put_f32(&b,
            key(architecture,
                rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon"),
            1e-5f);
    return b;
}

static wa_status parse_gguf(builder *b, wa_semantics semantics, wa_arena *arena, wa_config *out,
                            wa_error *err)
{
    const uint64_t head[3] = {0x0000000346554747, 0, b->entries};
    memcpy(b->bytes, head, sizeof head);
    wa_gguf *gguf;
    WA_TRY(wa_gguf_parse((wa_bytes){b->bytes, b->size}, arena, &gguf, err));
    return wa_config_from_gguf(gguf, semantics, arena, out, err);
}

static wa_config must_gguf(builder b, wa_semantics semantics, wa_arena *arena)
{
    wa_error err;
    wa_config config = {0};
    WA_MUST(parse_gguf(&b, semantics, arena, &config, &err), &err);
    return config;
}

static void refused_gguf(builder b, wa_status status, const char *says)
{
    wa_error err = {0};
    wa_config config;
    wa_arena *arena = open_arena();
    bool said =
        parse_gguf(&b, NATIVE, arena, &config, &err) == status && strstr(err.text, says) != NULL;
    if (!said)
        fprintf(stderr, "    '%s', expected '%s'\n", err.text, says);
    CU_ASSERT(said);
    wa_arena_close(arena);
}

static void gguf_defaults_are_those_of_the_format(void)
{
    wa_arena *arena = open_arena();
    wa_config config = must_gguf(begin("llama", 2, true), NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.kv_heads, 4);
    CU_ASSERT_EQUAL(config.facts.head_dim, 16);
    CU_ASSERT_EQUAL(config.facts.rope_base, 1e4);
    CU_ASSERT_EQUAL(config.facts.norm_eps, (double)1e-5f);
    CU_ASSERT(config.rope_pairs && config.optional_biases);
    CU_ASSERT_EQUAL(must_gguf(begin("llama", 2, true), LARQL, arena).facts.norm_eps, 1e-6);
    /* Since August 2026 LARQL reads it, and of scaling and windows still nothing (larql-2026-08.md
     * 6.2). */
    CU_ASSERT_EQUAL(must_gguf(begin("llama", 2, true), AUGUST, arena).facts.norm_eps,
                    (double)1e-5f);
    builder scaled = begin("gemma3", 2, true);
    put_u32(&scaled, "gemma3.attention.sliding_window", 5);
    put_f32(&scaled, "gemma3.rope.scaling.factor", 8);
    config = must_gguf(scaled, AUGUST, arena);
    CU_ASSERT(config.facts.sliding_window == 0 && config.scaling.kind == WA_SCALING_NONE);

    config = must_gguf(begin("gemma2", 46, true), NATIVE, arena); /* 27B: H / nq */
    CU_ASSERT_EQUAL(config.facts.attn_scale, 0.25f);
    CU_ASSERT_EQUAL(config.facts.attn_cap, 50.0f);
    CU_ASSERT_EQUAL(config.norm_offset, 0.0f);
    CU_ASSERT_FALSE(config.rope_pairs);
    builder b = begin("gemma3", 62, true);
    put_u32(&b, "gemma3.attention.key_length", 64);
    CU_ASSERT_EQUAL(must_gguf(b, NATIVE, arena).facts.attn_scale, 0.25f);
    b = begin("gemma3", 34, true);
    put_u32(&b, "gemma3.attention.key_length", 64);
    put_u32(&b, "gemma3.attention.sliding_window", 1024);
    config = must_gguf(b, NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.attn_scale, 0.125f);
    CU_ASSERT_EQUAL(config.facts.rope_local_base, 1e4);
    CU_ASSERT(wa_config_is_sliding(&config, 0) && !wa_config_is_sliding(&config, 5));
    wa_arena_close(arena);
}

/* As llama.cpp has it: the model of 64 layers has windows and rotates none but sliding layers, the
 * one of 30 (whose window is null) neither. */
static void windows_of_exaone4_are_those_of_its_larger_model(void)
{
    wa_arena *arena = open_arena();
    wa_config config = must_gguf(begin("exaone4", 30, true), NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.sliding_window, 0);
    for (size_t l = 0; l < 30; l++)
        CU_ASSERT_FALSE(wa_config_is_unrotated(&config, l));
    config = must_gguf(begin("exaone4", 64, true), NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.sliding_window, 4096);
    CU_ASSERT(wa_config_is_sliding(&config, 2) && !wa_config_is_sliding(&config, 3));
    CU_ASSERT(!wa_config_is_unrotated(&config, 2) && wa_config_is_unrotated(&config, 3));
    builder b = begin("exaone4", 30, true);
    put_u32(&b, "exaone4.attention.sliding_window", 9);
    put_u32(&b, "exaone4.attention.sliding_window_pattern", 2);
    config = must_gguf(b, NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.sliding_window, 9);
    CU_ASSERT(!wa_config_is_unrotated(&config, 2) && wa_config_is_unrotated(&config, 3));
    wa_arena_close(arena);
}

/* As llama.cpp has it: without a window all layers of Gemma 3 have the one base. */
static void without_a_window_no_layer_of_gemma3_slides(void)
{
    static const uint8_t kinds[6] = {1, 1, 0, 1, 1, 0};
    wa_arena *arena = open_arena();
    for (int i = 0; i < 3; i++) {
        builder b = begin("gemma3", 6, true);
        if (i > 0)
            put_u32(&b, "gemma3.attention.sliding_window", 0);
        if (i > 1)
            put_bytes(&b, "gemma3.attention.sliding_window_pattern", WA_GGUF_BOOL, kinds, 6, 1);
        wa_config config = must_gguf(b, NATIVE, arena);
        CU_ASSERT_EQUAL(config.facts.sliding_window, 0);
        CU_ASSERT_EQUAL(config.facts.rope_local_base, 0);
        for (size_t l = 0; l < 6; l++)
            CU_ASSERT_FALSE(wa_config_is_sliding(&config, l));
    }
    wa_config config = must_gguf(begin("gemma2", 6, true), NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.sliding_window, 4096);
    CU_ASSERT(wa_config_is_sliding(&config, 0) && !wa_config_is_sliding(&config, 1));
    wa_arena_close(arena);
}

/* Numbers of sliding layers that differ from the others', but for the base of Gemma 3. */
static void sliding_layers_of_other_numbers_are_refused(void)
{
    wa_arena *arena = open_arena();
    builder b = begin("gemma2", 2, true);
    put_f32(&b, "gemma2.rope.freq_base_swa", 10000);
    put_u32(&b, "gemma2.attention.key_length_swa", 16);
    CU_ASSERT_EQUAL(must_gguf(b, NATIVE, arena).facts.rope_base, 1e4);
    b = begin("gemma2", 2, true);
    put_f32(&b, "gemma2.rope.freq_base_swa", 5000);
    refused_gguf(b, WA_E_UNSUPPORTED, "'gemma2.rope.freq_base_swa' is 5000, but 10000 in layers");
    b = begin("gemma3", 6, true);
    put_u32(&b, "gemma3.attention.sliding_window", 9);
    put_f32(&b, "gemma3.rope.freq_base_swa", 5000);
    CU_ASSERT_EQUAL(must_gguf(b, NATIVE, arena).facts.rope_local_base, 5000);
    put_u32(&b, "gemma3.rope.dimension_count_swa", 8);
    refused_gguf(b, WA_E_UNSUPPORTED, "'gemma3.rope.dimension_count_swa' is 8, but 16 in layers");
    b = begin("llama", 2, true); /* nothing slides */
    put_f32(&b, "llama.rope.freq_base_swa", 5000);
    CU_ASSERT_EQUAL(must_gguf(b, NATIVE, arena).facts.rope_base, 1e4);
    wa_arena_close(arena);
}

static builder begin_scaled(const char *type, float ramp)
{
    builder b = begin("llama", 2, true);
    put_text(&b, "llama.rope.scaling.type", type);
    put_f32(&b, "llama.rope.scaling.factor", 4);
    put_u32(&b, "llama.rope.scaling.original_context_length", 64);
    put_f32(&b, "llama.rope.scaling.yarn_ext_factor", ramp);
    return b;
}

static void factors_of_scaling_that_are_not_computed_are_refused(void)
{
    wa_arena *arena = open_arena();
    refused_gguf(begin_scaled("yarn", 0), WA_E_UNSUPPORTED,
                 "'llama.rope.scaling.yarn_ext_factor' is 0 beside yarn scaling, only 1");
    refused_gguf(begin_scaled("linear", 1), WA_E_UNSUPPORTED,
                 "'llama.rope.scaling.yarn_ext_factor' is 1 beside linear scaling, only 0");
    CU_ASSERT_EQUAL(must_gguf(begin_scaled("yarn", 1), NATIVE, arena).scaling.kind,
                    WA_SCALING_YARN);
    CU_ASSERT_EQUAL(must_gguf(begin_scaled("yarn", -1), NATIVE, arena).scaling.kind,
                    WA_SCALING_YARN);
    CU_ASSERT_EQUAL(must_gguf(begin_scaled("linear", 0), NATIVE, arena).scaling.kind,
                    WA_SCALING_LINEAR);
    builder b = begin_scaled("yarn", 1);
    put_f32(&b, "llama.rope.scaling.attn_factor", 0);
    refused_gguf(b, WA_E_UNSUPPORTED, "'llama.rope.scaling.attn_factor' is 0, only 1");
    wa_arena_close(arena);
}

static void gguf_patterns_and_arrays_are_read(void)
{
    static const uint8_t kinds[4] = {0, 1, 1, 0};
    static const int32_t widths[4] = {128, 128, 128, 128};
    wa_arena *arena = open_arena();
    builder b = begin("gemma3", 4, true);
    put_u32(&b, "gemma3.attention.sliding_window", 9);
    put_bytes(&b, "gemma3.attention.sliding_window_pattern", WA_GGUF_BOOL, kinds, 4, 1);
    wa_config config = must_gguf(b, NATIVE, arena);
    for (size_t l = 0; l < 4; l++)
        CU_ASSERT_EQUAL(wa_config_is_sliding(&config, l), kinds[l] != 0);
    CU_ASSERT_EQUAL(config.facts.sliding_window, 9);

    b = begin("llama", 4, true);
    put_bytes(&b, "llama.attention.head_count_kv", WA_GGUF_I32, widths, 4, 4);
    refused_gguf(b, WA_E_FORMAT, "not divisible by 128");
    static const uint16_t twos[2] = {2, 2};
    b = begin("llama", 4, true);
    put_bytes(&b, "llama.attention.head_count_kv", WA_GGUF_U16, twos, 2, 2);
    CU_ASSERT_EQUAL(must_gguf(b, NATIVE, arena).facts.kv_heads, 2);
    wa_arena_close(arena);
}

static void gguf_of_granite_holds_its_scales(void)
{
    wa_arena *arena = open_arena();
    builder b = begin("granite", 2, true);
    put_f32(&b, "granite.embedding_scale", 12);
    put_f32(&b, "granite.residual_scale", 0.22f);
    put_f32(&b, "granite.attention.scale", 0.09375f);
    put_f32(&b, "granite.logit_scale", 8);
    wa_config config = must_gguf(b, NATIVE, arena);
    CU_ASSERT_EQUAL(config.facts.embed_scale, 12.0f);
    CU_ASSERT_EQUAL(config.facts.residual_multiplier, 0.22f);
    CU_ASSERT_EQUAL(config.facts.attn_scale, 0.09375f);
    CU_ASSERT_EQUAL(config.facts.logits_scale, 0.125f);
    CU_ASSERT(config.rope_pairs);
    put_u32(&b, "granite.rope.scaling.finetuned", 1);
    CU_ASSERT_EQUAL(must_gguf(b, NATIVE, arena).facts.logits_scale, 0.125f);
    b = begin("granite", 2, true);
    put_u32(&b, "granite.rope.scaling.finetuned", 0);
    refused_gguf(b, WA_E_UNSUPPORTED, "'granite.rope.scaling.finetuned' is 0, only true");
    wa_arena_close(arena);
}

static void gguf_that_cannot_be_computed_is_refused(void)
{
    builder b = begin("gemma2", 2, true);
    put_u32(&b, "gemma2.expert_count", 8);
    refused_gguf(b, WA_E_UNSUPPORTED, "'gemma2.expert_count' is 8");
    b = begin("llama", 2, true);
    put_u32(&b, "llama.expert_count", 8);
    put_u32(&b, "llama.expert_used_count", 9);
    refused_gguf(b, WA_E_FORMAT, "'expert_used_count' is 9, expected 1 to 8 experts");
    b = begin("llama", 2, true);
    put_text(&b, "llama.rope.scaling.type", "longrope");
    refused_gguf(b, WA_E_UNSUPPORTED, "RoPE scaling 'longrope'");
    b = begin("llama", 2, true);
    put_u32(&b, "llama.rope.dimension_count", 8);
    refused_gguf(b, WA_E_UNSUPPORTED, "8 of 16 dimensions");
    b = begin("llama", 2, true);
    put_u32(&b, "llama.attention.value_length", 32);
    refused_gguf(b, WA_E_UNSUPPORTED, "key length 16 and value length 32");
    static const int32_t unequal[2] = {128, 256};
    b = begin("qwen3", 2, true);
    put_bytes(&b, "qwen3.attention.head_count_kv", WA_GGUF_I32, unequal, 2, 4);
    refused_gguf(b, WA_E_UNSUPPORTED, "differs by layer: 128 and 256");
    b = begin("qwen2", 2, true);
    put_u32(&b, "qwen2.attention.sliding_window", 4);
    refused_gguf(b, WA_E_UNSUPPORTED, "without a pattern of layers");
    refused_gguf(begin("phimoe", 2, true), WA_E_UNSUPPORTED, "architecture 'phimoe'");
    refused_gguf(begin("mamba", 2, true), WA_E_UNSUPPORTED, "unknown architecture 'mamba'");
    refused_gguf(begin("llama", 2, false), WA_E_FORMAT,
                 "'llama.attention.layer_norm_rms_epsilon' is missing");
}

WA_SUITE("config_gguf", WA_CASE(gguf_defaults_are_those_of_the_format),
         WA_CASE(windows_of_exaone4_are_those_of_its_larger_model),
         WA_CASE(without_a_window_no_layer_of_gemma3_slides),
         WA_CASE(sliding_layers_of_other_numbers_are_refused),
         WA_CASE(factors_of_scaling_that_are_not_computed_are_refused),
         WA_CASE(gguf_patterns_and_arrays_are_read), WA_CASE(gguf_of_granite_holds_its_scales),
         WA_CASE(gguf_that_cannot_be_computed_is_refused))

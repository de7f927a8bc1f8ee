/* GGUF metadata to facts (forward-pass.md 1.7), under any semantics (forward-pass.md 0,
 * larql-2026-08.md 6.2). */
#include "base/elementary.h"
#include "model/config.h"
#include "model/config_keys.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { KEY_SIZE = 128 };
static const double LARQL_EPS = 1e-6;

typedef struct reader {
    const wa_gguf *gguf;
    const wa_gguf_family *kind;
    bool native, august; /* which semantics; neither: larql-2026-05 */
    wa_arena *arena;
    wa_config *config;
} reader;

/* A key of the architecture: "llama." before `name`. */
typedef struct key {
    char text[KEY_SIZE];
} key;

static key key_of(const reader *r, const char *name)
{
    key k;
    (void)snprintf(k.text, sizeof k.text, "%s.%s", r->kind->architecture, name);
    return k;
}

static bool has(const reader *r, const char *name)
{
    return wa_gguf_has(r->gguf, key_of(r, name).text);
}

/* One value for all layers; converters write some of them as an array, one a layer. */
static wa_status read_constant(const reader *r, const char *name, size_t *out, wa_error *err)
{
    key k = key_of(r, name);
    wa_gguf_array array = {0};
    uint64_t value = 0;
    if (wa_gguf_find_array(r->gguf, k.text, &array, NULL) != WA_OK) {
        WA_TRY(wa_gguf_u64(r->gguf, k.text, &value, err));
        *out = (size_t)value;
        return WA_OK;
    }
    if (!wa_gguf_array_next_u64(&array, &value))
        return wa_fail(err, WA_E_FORMAT, "metadata key '%s': found an array, expected integers",
                       k.text);
    for (uint64_t other = value; array.count > 0;) {
        if (!wa_gguf_array_next_u64(&array, &other))
            return wa_fail(err, WA_E_FORMAT, "metadata key '%s': found an array, expected integers",
                           k.text);
        if (other != value)
            return wa_fail(err, WA_E_UNSUPPORTED,
                           "metadata key '%s' differs by layer: %" PRIu64 " and %" PRIu64, k.text,
                           value, other);
    }
    *out = (size_t)value;
    return WA_OK;
}

static wa_status read_constant_or(const reader *r, const char *name, size_t fallback, size_t *out,
                                  wa_error *err)
{
    if (has(r, name))
        return read_constant(r, name, out, err);
    *out = fallback;
    return WA_OK;
}

static wa_status read_number_or(const reader *r, const char *name, double fallback, double *out,
                                wa_error *err)
{
    key k = key_of(r, name);
    if (wa_gguf_has(r->gguf, k.text))
        return wa_gguf_f64(r->gguf, k.text, out, err);
    *out = fallback;
    return WA_OK;
}

/* --- sizes --- */

static wa_status read_head_dim(const reader *r, wa_model *facts, wa_error *err)
{
    if (!has(r, "attention.key_length") &&
        (facts->q_heads == 0 || facts->hidden % facts->q_heads != 0))
        return wa_fail(err, WA_E_FORMAT,
                       "'attention.key_length' is missing and hidden size %zu is not divisible by "
                       "%zu heads",
                       facts->hidden, facts->q_heads);
    size_t fallback = facts->q_heads == 0 ? 0 : facts->hidden / facts->q_heads;
    size_t value_length = 0;
    WA_TRY(read_constant_or(r, "attention.key_length", fallback, &facts->head_dim, err));
    WA_TRY(read_constant_or(r, "attention.value_length", facts->head_dim, &value_length, err));
    if (value_length != facts->head_dim)
        return wa_fail(err, WA_E_UNSUPPORTED, "key length %zu and value length %zu differ",
                       facts->head_dim, value_length);
    size_t rotary = 0;
    WA_TRY(read_constant_or(r, "rope.dimension_count", facts->head_dim, &rotary, err));
    if (!r->config->family->position_table && r->config->family->rotated == 0 &&
        rotary != facts->head_dim)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "rotation of %zu of %zu dimensions of a head is not computed", rotary,
                       facts->head_dim);
    facts->rotary_dim = rotary;
    return WA_OK;
}

static wa_status read_sizes(const reader *r, wa_model *facts, wa_error *err)
{
    WA_TRY(read_constant(r, "embedding_length", &facts->hidden, err));
    WA_TRY(read_constant(r, "block_count", &facts->layer_count, err));
    WA_TRY(wa_config_layers_check(facts->layer_count, err));
    WA_TRY(read_constant(r, "feed_forward_length", &facts->intermediate, err));
    WA_TRY(read_constant(r, "attention.head_count", &facts->q_heads, err));
    WA_TRY(read_constant_or(r, "attention.head_count_kv", facts->q_heads, &facts->kv_heads, err));
    wa_gguf_array tokens = {0};
    if (wa_gguf_has(r->gguf, "tokenizer.ggml.tokens"))
        WA_TRY(wa_gguf_find_array(r->gguf, "tokenizer.ggml.tokens", &tokens, err));
    r->config->vocab_least = tokens.count;
    return read_head_dim(r, facts, err);
}

/* --- rotation --- */

static wa_status read_positive(const reader *r, const char *name, double *out, wa_error *err)
{
    WA_TRY(wa_gguf_f64(r->gguf, key_of(r, name).text, out, err));
    return wa_config_positive(name, *out, err);
}

/* As llama.cpp: cosines and sines grow by the factor's logarithm. */
static wa_status read_yarn(const reader *r, wa_rope_scaling *scaling, wa_error *err)
{
    WA_TRY(read_positive(r, "rope.scaling.factor", &scaling->factor, err));
    WA_TRY(read_positive(r, "rope.scaling.original_context_length", &scaling->original_positions,
                         err));
    WA_TRY(wa_config_positions("rope.scaling.original_context_length", scaling->original_positions,
                               err));
    WA_TRY(read_number_or(r, "rope.scaling.yarn_beta_fast", 32, &scaling->beta_fast, err));
    WA_TRY(read_number_or(r, "rope.scaling.yarn_beta_slow", 1, &scaling->beta_slow, err));
    WA_TRY(wa_config_positive("rope.scaling.yarn_beta_fast", scaling->beta_fast, err));
    WA_TRY(wa_config_positive("rope.scaling.yarn_beta_slow", scaling->beta_slow, err));
    scaling->kind = WA_SCALING_YARN;
    scaling->truncate = !r->kind->exact_ramp;
    scaling->attention_factor = scaling->factor <= 1 ? 1 : 0.1 * wa_log(scaling->factor) + 1;
    return WA_OK;
}

static wa_status read_scaling_type(const reader *r, wa_rope_scaling *scaling, wa_error *err)
{
    if (has(r, "rope.scale_linear"))
        return wa_fail(err, WA_E_UNSUPPORTED, "the old key '%s.rope.scale_linear' is not computed",
                       r->kind->architecture);
    key k = key_of(r, "rope.scaling.type");
    bool typed = wa_gguf_has(r->gguf, k.text);
    wa_bytes type = {(const uint8_t *)"linear", 6}; /* a factor without a type, as llama.cpp */
    WA_TRY(read_number_or(r, "rope.scaling.factor", 0, &scaling->factor, err));
    if (!typed && scaling->factor == 0) /* absent, or llama.cpp's "none" */
        return WA_OK;
    if (typed)
        WA_TRY(wa_gguf_string(r->gguf, k.text, &type, err));
    if (type.size == 4 && memcmp(type.data, "none", 4) == 0)
        return WA_OK;
    if (type.size == 4 && memcmp(type.data, "yarn", 4) == 0)
        return read_yarn(r, scaling, err);
    if (type.size != 6 || memcmp(type.data, "linear", 6) != 0)
        return wa_fail(err, WA_E_UNSUPPORTED, "RoPE scaling '%.*s' is not computed",
                       (int)(type.size < 64 ? type.size : 64), (const char *)type.data);
    if (typed)
        WA_TRY(wa_gguf_f64(r->gguf, key_of(r, "rope.scaling.factor").text, &scaling->factor, err));
    scaling->kind = WA_SCALING_LINEAR;
    return wa_config_positive("rope.scaling.factor", scaling->factor, err);
}

/* How much of YaRN's ramp there is: all of it with YaRN, nothing with linear scaling. A number
 * below 0 says nothing. */
static wa_status check_ramp(const reader *r, wa_scaling_kind kind, wa_error *err)
{
    double usual = kind == WA_SCALING_YARN ? 1 : 0, share;
    WA_TRY(read_number_or(r, "rope.scaling.yarn_ext_factor", usual, &share, err));
    if (kind == WA_SCALING_NONE || share < 0 || share == usual)
        return WA_OK;
    return wa_fail(err, WA_E_UNSUPPORTED,
                   "'%s.rope.scaling.yarn_ext_factor' is %g beside %s scaling, only %g is computed",
                   r->kind->architecture, share, kind == WA_SCALING_YARN ? "yarn" : "linear",
                   usual);
}

static wa_status read_scaling(const reader *r, wa_rope_scaling *scaling, wa_error *err)
{
    if (!r->native) /* S2 */
        return WA_OK;
    WA_TRY(read_scaling_type(r, scaling, err));
    return check_ramp(r, scaling->kind, err);
}

/* --- scales --- */

static wa_status read_scales(const reader *r, wa_model *facts, wa_error *err)
{
    facts->embed_scale = facts->residual_multiplier = facts->logits_scale = 1;
    /* Not stored for Gemma: head_dim for all sizes but the 27B model of each generation. */
    bool larger = r->kind->larger_layers != 0 && facts->layer_count == r->kind->larger_layers;
    double scalar = larger && facts->q_heads != 0 ? (double)facts->hidden / (double)facts->q_heads
                                                  : (double)facts->head_dim;
    facts->attn_scale = (float)(1 / sqrt(scalar));
    if (!r->config->family->multipliers)
        return WA_OK;
    double embedding;
    double residual;
    double attention;
    double logits;
    WA_TRY(read_number_or(r, "embedding_scale", 1, &embedding, err));
    WA_TRY(read_number_or(r, "residual_scale", 1, &residual, err));
    WA_TRY(read_number_or(r, "attention.scale", 0, &attention, err));
    WA_TRY(read_number_or(r, "logit_scale", 1, &logits, err));
    WA_TRY(wa_config_positive("logit_scale", logits, err));
    facts->embed_scale = (float)embedding;
    facts->residual_multiplier = (float)residual;
    facts->logits_scale = 1 / (float)logits;
    /* larql takes 1 for "not given": forward-pass.md 3.5 */
    if (attention != 0 && (r->native || attention != 1))
        facts->attn_scale = (float)attention;
    return WA_OK;
}

static wa_status read_numbers(const reader *r, wa_model *facts, wa_error *err)
{
    const wa_family *family = r->config->family;
    bool rms = family->norm_kind == WA_NORM_RMS;
    facts->norm_eps = LARQL_EPS; /* S1 */
    if (r->native || r->august)
        WA_TRY(wa_gguf_f64(
            r->gguf,
            key_of(r, rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon")
                .text,
            &facts->norm_eps, err));
    WA_TRY(read_number_or(r, "rope.freq_base", 1e4, &facts->rope_base, err));
    if (family->local_rope_key != NULL)
        WA_TRY(read_number_or(r, "rope.freq_base_swa", family->local_rope_base,
                              &facts->rope_local_base, err));
    WA_TRY(read_scaling(r, &r->config->scaling, err));
    WA_TRY(read_scales(r, facts, err));
    if (!family->caps)
        return WA_OK;
    double attention;
    double final;
    WA_TRY(read_number_or(r, "attn_logit_softcapping", family->attn_cap, &attention, err));
    WA_TRY(read_number_or(r, "final_logit_softcapping", family->final_cap, &final, err));
    facts->attn_cap = (float)attention;
    facts->final_cap = (float) final;
    return WA_OK;
}

/* --- windows --- */

/* The pattern is n, or one truth value for each layer. */
static wa_status read_pattern(const reader *r, wa_layer_kinds *kinds, wa_error *err)
{
    key k = key_of(r, "attention.sliding_window_pattern");
    kinds->rule = WA_WINDOW_PATTERN;
    wa_gguf_array array = {0};
    if (wa_gguf_find_array(r->gguf, k.text, &array, NULL) != WA_OK) {
        WA_TRY(read_constant(r, "attention.sliding_window_pattern", &kinds->number, err));
        if (kinds->number == 0)
            return wa_fail(err, WA_E_FORMAT, "metadata key '%s' is 0, expected more", k.text);
        return WA_OK;
    }
    size_t layers = r->config->facts.layer_count;
    if (array.count != layers)
        return wa_fail(err, WA_E_FORMAT,
                       "metadata key '%s' has %" PRIu64 " entries, expected %zu, one a layer",
                       k.text, array.count, layers);
    bool *is_sliding;
    WA_TRY(wa_arena_take(r->arena, layers, sizeof *is_sliding, &is_sliding, err));
    for (size_t l = 0; l < layers; l++) {
        uint64_t value = 0;
        if (!wa_gguf_array_next_u64(&array, &value))
            return wa_fail(err, WA_E_FORMAT, "metadata key '%s': expected booleans", k.text);
        is_sliding[l] = value != 0;
    }
    kinds->is_sliding = is_sliding;
    return WA_OK;
}

static wa_status read_windows(const reader *r, wa_model *facts, wa_error *err)
{
    const wa_family *family = r->config->family;
    wa_layer_kinds *kinds = &r->config->kinds;
    size_t usual = r->kind->window_layers;
    bool assumed = r->native && (usual == WA_EVERY_MODEL || usual == facts->layer_count);
    WA_TRY(read_constant_or(r, "attention.sliding_window", assumed ? family->window : 0,
                            &facts->sliding_window, err));
    kinds->rule = family->local_rope_key != NULL ? WA_WINDOW_PATTERN : WA_WINDOW_NONE;
    kinds->number = family->window_pattern;
    if (r->august) /* LARQL does not read the window of these files: larql-2026-08.md 6.2, G6 */
        facts->sliding_window = 0;
    if (!r->native) /* S3; Gemma 3's local base by a fixed pattern */
        return WA_OK;
    kinds->rule = WA_WINDOW_NONE;
    if (facts->sliding_window == 0) {
        facts->rope_local_base = 0; /* as in llama.cpp: no layer is rotated as a sliding one */
        return WA_OK;
    }
    if (r->kind->window_rule != WA_WINDOW_NONE && has(r, "attention.sliding_window_pattern"))
        return read_pattern(r, kinds, err);
    /* converters drop the first sliding layer's number */
    if (r->kind->window_rule == WA_WINDOW_FLAG)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "a sliding window of %zu without a pattern of layers is not defined",
                       facts->sliding_window);
    kinds->rule = r->kind->window_rule;
    return WA_OK;
}

/* Newer files may give sliding layers numbers of their own. Computed is Gemma 3's base alone. */
static wa_status check_sliding(const reader *r, const wa_model *facts, wa_error *err)
{
    bool own_base = r->config->family->local_rope_key != NULL;
    const struct {
        const char *name;
        double full;
    } numbers[] = {{"attention.key_length_swa", (double)facts->head_dim},
                   {"attention.value_length_swa", (double)facts->head_dim},
                   {"rope.dimension_count_swa", (double)facts->rotary_dim},
                   {"rope.freq_base_swa", facts->rope_base}};
    size_t count = sizeof numbers / sizeof numbers[0] - (own_base ? 1 : 0);
    for (size_t i = 0; i < count && facts->sliding_window != 0; i++) {
        double sliding;
        WA_TRY(read_number_or(r, numbers[i].name, numbers[i].full, &sliding, err));
        if (sliding != numbers[i].full)
            return wa_fail(err, WA_E_UNSUPPORTED,
                           "'%s.%s' is %g, but %g in layers that do not slide, which is not "
                           "computed",
                           r->kind->architecture, numbers[i].name, sliding, numbers[i].full);
    }
    return WA_OK;
}

/* --- the whole --- */

/* How many, how wide, how many chosen. Every layer has them: no key says which would not. */
static wa_status read_experts(const reader *r, wa_error *err)
{
    wa_config *config = r->config;
    wa_expert_shape *shape = &config->experts;
    const wa_expert_rule *rule = config->family->experts;
    size_t layers = config->facts.layer_count;
    bool *is_dense;
    if (rule == NULL)
        return WA_OK;
    WA_TRY(read_constant(r, "expert_count", &shape->count, err));
    WA_TRY(read_constant(r, "expert_used_count", &shape->chosen, err));
    WA_TRY(read_constant_or(r, "expert_feed_forward_length", config->facts.intermediate,
                            &shape->features, err));
    if (rule->shared != 0)
        WA_TRY(read_constant(r, "expert_shared_feed_forward_length", &shape->shared_features, err));
    shape->renormalised = rule->renormalise_key == NULL || r->kind->renormalised;
    WA_TRY(wa_arena_take(r->arena, layers, sizeof *is_dense, &is_dense, err));
    shape->is_dense = is_dense;
    if (shape->count == 0)
        return wa_fail(err, WA_E_FORMAT, "'%s.expert_count' is 0, expected more",
                       r->kind->architecture);
    return wa_config_experts_check(shape, "expert_used_count", err);
}

/* Files of some architectures have experts or not. */
static wa_status choose_family(const reader *r, wa_error *err)
{
    size_t experts = 0;
    WA_TRY(read_constant_or(r, "expert_count", 0, &experts, err));
    if (experts > 0 && r->kind->with_experts != NULL)
        r->config->family = r->kind->with_experts;
    if (experts > 0 && r->config->family->experts == NULL)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "expert models are unsupported: '%s.expert_count' is %zu",
                       r->kind->architecture, experts);
    return WA_OK;
}

/* What `attention_bias` decides in config.json is used where it is stored: published models of one
 * family differ. */
static bool is_required(const wa_bias_rule *rule)
{
    return rule->fallback && (rule->key == NULL || strcmp(rule->key, "attention_bias") != 0);
}

static void set_flags(const wa_gguf_family *kind, wa_config *config)
{
    const wa_family *family = config->family;
    config->names = kind->names;
    config->rope_pairs = kind->rope_pairs;
    config->norm_offset = 0; /* the converter has added Gemma's 1 */
    config->tie = WA_TIE_IF_ABSENT;
    config->kinds.nope = family->nope;
    config->kinds.nope_interval = 4; /* as llama.cpp has it; files have no key */
    config->qkv_bias = is_required(&family->qkv_bias);
    config->o_bias = is_required(&family->o_bias);
    config->ffn_bias = family->ffn_bias.fallback;
    config->refuses_ffn_bias = !config->ffn_bias && family->ffn_bias.key == NULL;
    config->optional_biases = family->qkv_bias.key != NULL || family->o_bias.key != NULL;
    config->facts.family = family->family;
    config->facts.model_type = kind->architecture;
    config->facts.gated = family->gated;
    config->facts.activation = family->activation;
    config->facts.norm_kind = family->norm_kind;
}

wa_status wa_config_from_gguf(const wa_gguf *gguf, wa_semantics semantics, wa_arena *arena,
                              wa_config *out, wa_error *err)
{
    wa_config config = {.facts = {.semantics = semantics, .container = "gguf"},
                        .notes = {.arena = arena}};
    reader r = {.gguf = gguf,
                .native = semantics == WA_SEMANTICS_NATIVE,
                .august = semantics == WA_SEMANTICS_LARQL_2026_08,
                .arena = arena,
                .config = &config};
    wa_bytes architecture = {0};
    WA_TRY(wa_gguf_string(gguf, "general.architecture", &architecture, err));
    WA_TRY(wa_gguf_family_find(architecture, &r.kind, err));
    config.family = r.kind->family;
    WA_TRY(choose_family(&r, err));
    set_flags(r.kind, &config);
    WA_TRY(wa_config_keys_gguf(gguf, r.kind->architecture, config.family, &config.notes, err));
    WA_TRY(read_sizes(&r, &config.facts, err));
    WA_TRY(read_experts(&r, err));
    WA_TRY(read_numbers(&r, &config.facts, err));
    WA_TRY(read_windows(&r, &config.facts, err));
    WA_TRY(check_sliding(&r, &config.facts, err));
    WA_TRY(wa_config_finish(&config, err));
    *out = config;
    return WA_OK;
}

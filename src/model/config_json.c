/* config.json to facts (forward-pass.md 1.4), under any semantics (forward-pass.md 0,
 * larql-2026-08.md 6.1). */
#include "model/config_json.h"
#include "model/config_keys.h"

#include <math.h>

enum { LARQL_Q_HEADS = 8, LARQL_KV_HEADS = 4, LARQL_PATTERN = 6 };
static const double LARQL_EPS = 1e-6;

typedef wa_json_reader reader;

static const json_t *object_or_null(const json_t *object, const char *key)
{
    const json_t *value = object == NULL ? NULL : json_object_get(object, key);
    return json_is_object(value) ? value : NULL;
}

bool wa_json_is_given(const json_t *object, const char *key)
{
    const json_t *value = object == NULL ? NULL : json_object_get(object, key);
    return value != NULL && !json_is_null(value);
}

/* The object that has the key: only a few keys may also stand at the top level. */
static const json_t *owner(const reader *r, const char *key)
{
    return wa_json_is_given(r->text, key) ? r->text : r->root;
}

/* --- sizes --- */

static wa_status read_heads(const reader *r, wa_model *facts, wa_error *err)
{
    const wa_family *family = r->config->family;
    size_t fallback = r->native ? family->q_heads : LARQL_Q_HEADS;
    if (fallback == 0)
        WA_TRY(wa_json_size(r->text, family->keys->heads, &facts->q_heads, err));
    else
        WA_TRY(wa_json_size_or(r->text, family->keys->heads, fallback, &facts->q_heads, err));

    size_t kv_fallback = r->native ? family->kv_heads : LARQL_KV_HEADS;
    if (kv_fallback == 0)
        kv_fallback = facts->q_heads;
    WA_TRY(wa_json_size_or(r->text, "num_key_value_heads", kv_fallback, &facts->kv_heads, err));

    if (family->head_dim != 0)
        return wa_json_size_or(r->text, "head_dim", family->head_dim, &facts->head_dim, err);
    if (wa_json_is_given(r->text, "head_dim"))
        return wa_json_size(r->text, "head_dim", &facts->head_dim, err);
    if (facts->q_heads == 0 || facts->hidden % facts->q_heads != 0)
        return wa_fail(err, WA_E_FORMAT,
                       "'head_dim' is missing and hidden size %zu is not divisible by %zu heads",
                       facts->hidden, facts->q_heads);
    facts->head_dim = facts->hidden / facts->q_heads;
    return WA_OK;
}

static wa_status read_sizes(const reader *r, wa_model *facts, wa_error *err)
{
    const wa_config_keys *keys = r->config->family->keys;
    WA_TRY(wa_json_size(owner(r, keys->hidden), keys->hidden, &facts->hidden, err));
    WA_TRY(wa_json_size(owner(r, keys->layers), keys->layers, &facts->layer_count, err));
    WA_TRY(wa_config_layers_check(facts->layer_count, err));
    const json_t *place = owner(r, keys->intermediate);
    if (r->config->family->position_table && !wa_json_is_given(place, keys->intermediate)) {
        if (!wa_size_mul(4, facts->hidden, &facts->intermediate)) /* GPT-2: n_inner null */
            return wa_fail(err, WA_E_FORMAT, "4 x hidden size %zu overflows", facts->hidden);
    } else {
        WA_TRY(wa_json_size(place, keys->intermediate, &facts->intermediate, err));
    }
    WA_TRY(wa_json_size_or(r->text, "vocab_size", 0, &facts->vocab, err));
    const char *positions = wa_json_is_given(r->text, "n_positions") ? "n_positions" : "n_ctx";
    WA_TRY(wa_json_size_or(r->text, positions, 0, &r->config->positions, err));
    return read_heads(r, facts, err);
}

/* --- scales and caps --- */

static wa_status read_attn_scale(const reader *r, wa_model *facts, wa_error *err)
{
    const wa_family *family = r->config->family;
    WA_TRY(wa_json_f64_or(r->text, "query_pre_attn_scalar", 0, &facts->query_pre_attn_scalar, err));
    double scalar = facts->query_pre_attn_scalar;
    if (r->native && (family->attn_scalar == 0 || scalar == 0))
        scalar = family->attn_scalar; /* the key means nothing outside Gemma 2 and 3 */
    if (scalar == 0)
        scalar = (double)facts->head_dim;
    facts->attn_scale = (float)(1 / sqrt(scalar));
    if (!family->multipliers)
        return WA_OK;
    double multiplier;
    WA_TRY(wa_json_f64_or(r->text, "attention_multiplier", 1, &multiplier, err));
    if (r->native || multiplier != 1) /* upstream takes 1 for "not given": forward-pass.md 3.5 */
        facts->attn_scale = (float)multiplier;
    return WA_OK;
}

static wa_status read_multipliers(const reader *r, wa_model *facts, wa_error *err)
{
    facts->embed_scale = facts->residual_multiplier = facts->logits_scale = 1;
    if (!r->config->family->multipliers)
        return WA_OK;
    double embedding;
    double residual;
    double logits;
    WA_TRY(wa_json_f64_or(r->text, "embedding_multiplier", 1, &embedding, err));
    WA_TRY(wa_json_f64_or(r->text, "residual_multiplier", 1, &residual, err));
    WA_TRY(wa_json_f64_or(r->text, "logits_scaling", 1, &logits, err));
    WA_TRY(wa_config_positive("logits_scaling", logits, err));
    facts->embed_scale = (float)embedding;
    facts->residual_multiplier = (float)residual;
    facts->logits_scale = 1 / (float)logits;
    return WA_OK;
}

/* An absent key means the family's default, an explicit null means none. */
static wa_status read_cap(const reader *r, const char *key, double fallback, float *out,
                          wa_error *err)
{
    if (r->native && !r->config->family->caps)
        return WA_OK;
    double cap;
    bool absent = json_object_get(r->text, key) == NULL;
    WA_TRY(wa_json_f64_or(r->text, key, absent && r->native ? fallback : 0, &cap, err));
    if (wa_json_is_given(r->text, key))
        WA_TRY(wa_config_positive(key, cap, err));
    *out = (float)cap;
    return WA_OK;
}

/* S1: 1e-6 whatever the configuration says; in August 2026 the first of four spellings, whoever the
 * family. */
static wa_status read_eps(const reader *r, double *out, wa_error *err)
{
    static const char *const spellings[] = {"rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon",
                                            "norm_epsilon"};
    const wa_family *family = r->config->family;
    *out = LARQL_EPS;
    if (r->native)
        return wa_json_f64_or(r->text, family->keys->eps, family->eps, out, err);
    if (!r->august)
        return WA_OK;
    *out = family->eps;
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++)
        if (wa_json_is_given(r->text, spellings[i]))
            return wa_json_f64_or(r->text, spellings[i], family->eps, out, err);
    return WA_OK;
}

/* Gemma 3's classes take the key and never pass it on to their attention. */
static wa_status refuse_attn_cap(const reader *r, wa_error *err)
{
    const wa_family *family = r->config->family;
    if (r->native && family->caps && family->attn_cap == 0.0 &&
        wa_json_is_given(r->text, "attn_logit_softcapping"))
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "'attn_logit_softcapping' is given, which the classes of family '%s' do not "
                       "apply; expected null",
                       family->family);
    return WA_OK;
}

static wa_status read_numbers(const reader *r, wa_model *facts, wa_error *err)
{
    const wa_family *family = r->config->family;
    WA_TRY(read_eps(r, &facts->norm_eps, err));
    WA_TRY(wa_config_rope_json(r, err));
    WA_TRY(read_attn_scale(r, facts, err));
    WA_TRY(read_multipliers(r, facts, err));
    WA_TRY(refuse_attn_cap(r, err));
    WA_TRY(read_cap(r, "attn_logit_softcapping", family->attn_cap, &facts->attn_cap, err));
    return read_cap(r, "final_logit_softcapping", family->final_cap, &facts->final_cap, err);
}

/* --- windows --- */

static wa_status read_layer_types(const reader *r, const json_t *types, wa_error *err)
{
    wa_config *config = r->config;
    if (!json_is_array(types))
        return wa_fail(err, WA_E_FORMAT, "key 'layer_types': found %s, expected an array",
                       wa_json_type_name(types));
    size_t count = json_array_size(types);
    if (count != config->facts.layer_count)
        return wa_fail(err, WA_E_FORMAT, "'layer_types' has %zu entries, expected %zu, one a layer",
                       count, config->facts.layer_count);
    bool *is_sliding;
    WA_TRY(wa_arena_take(r->arena, count, sizeof *is_sliding, &is_sliding, err));
    for (size_t l = 0; l < count; l++) {
        const char *type = json_string_value(json_array_get(types, l));
        if (type == NULL ||
            (strcmp(type, "sliding_attention") != 0 && strcmp(type, "full_attention") != 0))
            return wa_fail(err, WA_E_UNSUPPORTED,
                           "'layer_types' of layer %zu is '%.100s', expected sliding_attention or "
                           "full_attention",
                           l, type == NULL ? "no string" : type);
        is_sliding[l] = type[0] == 's';
    }
    config->kinds.is_sliding = is_sliding;
    return WA_OK;
}

static wa_status read_rule(const reader *r, wa_layer_kinds *kinds, wa_error *err)
{
    const wa_family *family = r->config->family;
    kinds->rule = family->window_rule;
    kinds->number = family->window_pattern;
    if (kinds->rule == WA_WINDOW_PATTERN) {
        static const char pattern[] = "sliding_window_pattern";
        bool in_letters = json_is_string(json_object_get(r->text, pattern));
        if (!in_letters || !wa_json_is_given(r->text, "layer_types")) /* "LLLG", listed anyway */
            WA_TRY(wa_json_size_or(r->text, pattern, kinds->number, &kinds->number, err));
        if (kinds->number == 0)
            return wa_fail(err, WA_E_FORMAT, "'sliding_window_pattern' is 0, expected more");
    }
    if (kinds->rule == WA_WINDOW_FLAG || kinds->rule == WA_WINDOW_NOPE) {
        bool use;
        WA_TRY(wa_json_bool_or(r->text, "use_sliding_window", false, &use, err));
        kinds->rule = use ? family->window_rule : WA_WINDOW_NONE;
        /* 28: what the authors' configuration class assumes. */
        WA_TRY(wa_json_size_or(r->text, "max_window_layers", 28, &kinds->number, err));
    }
    return WA_OK;
}

/* 1 = the layer rotates. */
static wa_status read_no_rope_layers(const reader *r, const json_t *list, wa_error *err)
{
    size_t count = r->config->facts.layer_count;
    if (!json_is_array(list) || json_array_size(list) < count)
        return wa_fail(err, WA_E_FORMAT,
                       "key 'no_rope_layers': found %s of %zu, expected an array of %zu, one a "
                       "layer",
                       wa_json_type_name(list), json_array_size(list), count);
    bool *is_unrotated;
    WA_TRY(wa_arena_take(r->arena, count, sizeof *is_unrotated, &is_unrotated, err));
    for (size_t l = 0; l < count; l++) {
        const json_t *item = json_array_get(list, l);
        if (!json_is_integer(item) || json_integer_value(item) < 0 || json_integer_value(item) > 1)
            return wa_fail(err, WA_E_FORMAT, "'no_rope_layers' of layer %zu is not 0 or 1", l);
        is_unrotated[l] = json_integer_value(item) == 0;
    }
    r->config->kinds.is_unrotated = is_unrotated;
    return WA_OK;
}

static wa_status read_unrotated(const reader *r, wa_error *err)
{
    wa_layer_kinds *kinds = &r->config->kinds;
    kinds->nope = r->config->family->nope;
    if (kinds->nope != WA_NOPE_LISTED)
        return WA_OK;
    WA_TRY(wa_json_size_or(r->text, "no_rope_layer_interval", 4, &kinds->nope_interval, err));
    if (kinds->nope_interval == 0)
        return wa_fail(err, WA_E_FORMAT, "'no_rope_layer_interval' is 0, expected more");
    if (!wa_json_is_given(r->text, "no_rope_layers"))
        return WA_OK;
    return read_no_rope_layers(r, json_object_get(r->text, "no_rope_layers"), err);
}

/* A family (or a flag) without windows, and layers that are called sliding all the same. */
static wa_status refuse_sliding(const reader *r, wa_error *err)
{
    wa_layer_kinds *kinds = &r->config->kinds;
    for (size_t l = 0; l < r->config->facts.layer_count; l++)
        if (kinds->is_sliding[l])
            return wa_fail(err, WA_E_UNSUPPORTED,
                           "'layer_types' of layer %zu is 'sliding_attention', but family '%s' has "
                           "no window here",
                           l, r->config->family->family);
    kinds->is_sliding = NULL;
    return WA_OK;
}

/* A list that the family's classes do not look at may say only what they do. */
static wa_status refuse_full(const reader *r, wa_error *err)
{
    const wa_config *config = r->config;
    for (size_t l = 0; l < config->facts.layer_count; l++)
        if (!config->kinds.is_sliding[l])
            return wa_fail(err, WA_E_UNSUPPORTED,
                           "'layer_types' of layer %zu is 'full_attention', but the classes of "
                           "family '%s' ignore the list and give every layer the window of "
                           "'sliding_window'",
                           l, config->family->family);
    return WA_OK;
}

static wa_status read_windows(const reader *r, wa_model *facts, wa_error *err)
{
    const wa_family *family = r->config->family;
    wa_layer_kinds *kinds = &r->config->kinds;
    bool fixed = family->window_rule == WA_WINDOW_PATTERN; /* whatever the configuration lists */
    if (r->native) {
        WA_TRY(read_rule(r, kinds, err));
        /* S3: windows by the family's pattern, or of the layers that are listed, or none */
    } else if (r->august) {
        kinds->rule = fixed ? WA_WINDOW_PATTERN : WA_WINDOW_NONE;
        kinds->number = family->window_pattern;
    } else { /* S3: no window; Gemma 3's local base by a fixed pattern */
        kinds->rule = family->local_rope_key != NULL ? WA_WINDOW_PATTERN : WA_WINDOW_NONE;
        kinds->number = LARQL_PATTERN;
    }
    bool assumed = r->native && kinds->rule != WA_WINDOW_NONE &&
                   json_object_get(r->text, "sliding_window") == NULL; /* null means none */
    WA_TRY(wa_json_size_or(r->text, "sliding_window", assumed ? family->window : 0,
                           &facts->sliding_window, err));
    /* qwen2_moe saves 0 */
    bool says_none = family->experts != NULL && family->window_rule == WA_WINDOW_NONE;
    if (!says_none && wa_json_is_given(r->text, "sliding_window") && facts->sliding_window == 0)
        return wa_fail(err, WA_E_FORMAT, "'sliding_window' is 0, expected more or null");
    bool listed = r->native || (r->august && !fixed);
    if (!listed || !wa_json_is_given(r->text, "layer_types"))
        return WA_OK;
    WA_TRY(read_layer_types(r, json_object_get(r->text, "layer_types"), err));
    if (r->native && family->window_in_all && facts->sliding_window > 0)
        return refuse_full(r, err);
    return r->native && kinds->rule == WA_WINDOW_NONE ? refuse_sliding(r, err) : WA_OK;
}

/* --- flags --- */

/* S8 since August 2026: every GELU is the one by tanh, and what LARQL has no name for is SiLU;
 * families of tanh-GELU have no choice. */
static wa_status read_august_activation(const reader *r, wa_model *facts, wa_error *err)
{
    const char *key = wa_json_is_given(r->text, "hidden_act") ? "hidden_act" : "hidden_activation",
               *name;
    if (facts->activation == WA_GELU_TANH || !wa_json_is_given(r->text, key))
        return WA_OK;
    WA_TRY(wa_json_string(r->text, key, &name, err));
    if (strcmp(name, "relu") == 0)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "larql semantics of activation 'relu' in '%s': LARQL panics (N6)", key);
    if (strcmp(name, "gelu") == 0 || strcmp(name, "gelu_new") == 0 ||
        strcmp(name, "gelu_pytorch_tanh") == 0)
        facts->activation = WA_GELU_TANH;
    else if (strcmp(name, "silu") != 0 && strcmp(name, "swish") != 0)
        return wa_notes_add(&r->config->notes, err,
                            "activation '%.100s' in '%s' is SiLU to LARQL, which does not know it",
                            name, key);
    return WA_OK;
}

static wa_status read_activation(const reader *r, wa_model *facts, wa_error *err)
{
    const wa_family *family = r->config->family;
    facts->activation = family->activation;
    if (r->august)
        return read_august_activation(r, facts, err);
    if (!r->native || family->keys->activation == NULL ||
        !wa_json_is_given(r->text, family->keys->activation)) /* S8 */
        return WA_OK;
    const char *name;
    WA_TRY(wa_json_string(r->text, family->keys->activation, &name, err));
    if (family->keys->gelu_is_tanh && strcmp(name, "gelu") == 0)
        return WA_OK;
    if (!wa_activation_find(name, &facts->activation))
        return wa_fail(err, WA_E_UNSUPPORTED, "unknown activation '%.100s' in '%s'", name,
                       family->keys->activation);
    return WA_OK;
}

static wa_status read_bias(const reader *r, const wa_bias_rule *rule, bool *out, wa_error *err)
{
    *out = rule->fallback;
    return rule->key == NULL ? WA_OK
                             : wa_json_bool_or(r->text, rule->key, rule->fallback, out, err);
}

static wa_status read_biases(const reader *r, wa_config *config, wa_error *err)
{
    const wa_family *family = config->family;
    WA_TRY(read_bias(r, &family->qkv_bias, &config->qkv_bias, err));
    WA_TRY(read_bias(r, &family->o_bias, &config->o_bias, err));
    return read_bias(r, &family->ffn_bias, &config->ffn_bias, err);
}

static wa_status read_tie(const reader *r, wa_config *config, wa_error *err)
{
    config->tie = r->native ? config->family->tie : WA_TIE_IF_ABSENT; /* S7 */
    const json_t *place = owner(r, "tie_word_embeddings");
    if (!(r->native || r->august) || !wa_json_is_given(place, "tie_word_embeddings"))
        return WA_OK;
    bool tied;
    WA_TRY(wa_json_bool_or(place, "tie_word_embeddings", false, &tied, err));
    config->tie = !tied ? WA_TIE_NO : r->native ? WA_TIE_YES : WA_TIE_IF_ABSENT;
    return WA_OK;
}

/* Codes whose scales lie in tensors of their own: what is allowed of this key stands in the table
 * of keys. */
static wa_status read_scale_blocks(const reader *r, wa_config *config, wa_error *err)
{
    const json_t *how = object_or_null(owner(r, "quantization_config"), "quantization_config");
    const char *method = json_string_value(json_object_get(how, "quant_method"));
    if (method != NULL && strcmp(method, "mxfp4") != 0) /* the only other ones are of FP8 */
        WA_TRY(wa_notes_add(&config->notes, err,
                            "weights are FP8 codes times their scales; kernels of FP8 round "
                            "activations too, which is not done here"));
    const json_t *size = how == NULL ? NULL : json_object_get(how, "weight_block_size");
    if (size == NULL && method != NULL &&
        strcmp(method, "fp8") == 0) /* what transformers assumes */
        config->scale_rows = config->scale_cols = 128;
    if (size == NULL || json_is_null(size))
        return WA_OK;
    json_int_t rows = json_integer_value(json_array_get(size, 0)),
               cols = json_integer_value(json_array_get(size, 1));
    if (json_array_size(size) != 2 || rows < 1 || cols < 1)
        return wa_fail(
            err, WA_E_FORMAT,
            "'weight_block_size' of 'quantization_config' is no array of two integers above 0");
    config->scale_rows = (size_t)rows;
    config->scale_cols = (size_t)cols;
    return WA_OK;
}

static wa_status read_type(reader *r, wa_error *err)
{
    const char *type;
    WA_TRY(wa_json_string(owner(r, "model_type"), "model_type", &type, err));
    WA_TRY(wa_family_find(type, &r->config->family, err));
    char *copy;
    WA_TRY(wa_arena_copy(r->arena, type, strlen(type), &copy, err));
    r->config->facts.model_type = copy;
    return WA_OK;
}

wa_status wa_config_from_json(const json_t *root, wa_semantics semantics, wa_arena *arena,
                              wa_config *out, wa_error *err)
{
    if (!json_is_object(root))
        return wa_fail(err, WA_E_FORMAT, "found %s, expected an object", wa_json_type_name(root));
    wa_config config = {.facts = {.semantics = semantics, .container = "safetensors"},
                        .notes = {.arena = arena}};
    const json_t *text = object_or_null(root, "text_config");
    reader r = {.text = text == NULL ? root : text,
                .root = root,
                .native = semantics == WA_SEMANTICS_NATIVE,
                .august = semantics == WA_SEMANTICS_LARQL_2026_08,
                .arena = arena,
                .config = &config};
    WA_TRY(read_type(&r, err));
    WA_TRY(wa_config_keys_json(root, r.text, config.family, &config.notes, err));

    const wa_family *family = config.family;
    wa_model *facts = &config.facts;
    facts->family = family->family;
    facts->gated = family->gated;
    facts->norm_kind = family->norm_kind;
    config.names = family->names;
    config.norm_offset = family->norm_offset;
    config.rope_pairs = family->rope_pairs;
    WA_TRY(read_sizes(&r, facts, err));
    WA_TRY(wa_config_experts_json(&r, err));
    WA_TRY(read_numbers(&r, facts, err));
    WA_TRY(read_windows(&r, facts, err));
    WA_TRY(read_unrotated(&r, err));
    WA_TRY(read_activation(&r, facts, err));
    WA_TRY(read_biases(&r, &config, err));
    WA_TRY(read_tie(&r, &config, err));
    WA_TRY(read_scale_blocks(&r, &config, err));
    WA_TRY(wa_config_finish(&config, err));
    *out = config;
    return WA_OK;
}

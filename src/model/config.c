/* Facts that follow from a configuration, whichever container it came from. */
#include "model/config.h"

#include <math.h>

const char *wa_semantics_name(wa_semantics semantics)
{
    static const char *const words[WA_SEMANTICS_COUNT] = {
#define SEMANTICS_WORD(id, word) [WA_SEMANTICS_##id] = (word),
        WA_SEMANTICS_LIST(SEMANTICS_WORD)
#undef SEMANTICS_WORD
    };
    return words[semantics];
}

bool wa_semantics_parse(const char *word, wa_semantics *out)
{
    for (int semantics = 0; semantics < WA_SEMANTICS_COUNT; semantics++)
        if (strcmp(word, wa_semantics_name((wa_semantics)semantics)) == 0) {
            *out = (wa_semantics)semantics;
            return true;
        }
    return false;
}

const char *wa_activation_name(wa_activation activation)
{
    static const char *const names[] = {[WA_SILU] = "silu",
                                        [WA_GELU_TANH] = "gelu_tanh",
                                        [WA_GELU_ERF] = "gelu_erf",
                                        [WA_RELU2] = "relu2",
                                        [WA_CLAMPED_GLU] = "clamped_glu"};
    return names[activation];
}

wa_status wa_config_positive(const char *what, double value, wa_error *err)
{
    if (isfinite(value) && value > 0)
        return WA_OK;
    return wa_fail(err, WA_E_FORMAT, "'%s' is %g, expected a finite number above 0", what, value);
}

static const double POSITIONS_MOST = 0x1p53;

wa_status wa_config_positions(const char *what, double value, wa_error *err)
{
    WA_TRY(wa_config_positive(what, value, err));
    if (value > POSITIONS_MOST)
        return wa_fail(err, WA_E_FORMAT, "'%s' is %g, expected at most %.0f positions", what, value,
                       POSITIONS_MOST);
    return WA_OK;
}

wa_status wa_config_layers_check(size_t layers, wa_error *err)
{
    if (layers > WA_LAYERS_MOST)
        return wa_fail(err, WA_E_FORMAT, "the number of layers is %zu, expected at most %d", layers,
                       WA_LAYERS_MOST);
    return WA_OK;
}

static wa_status check_sizes(const wa_model *facts, wa_error *err)
{
    const struct {
        const char *name;
        size_t value;
    } sizes[] = {
        {"number of layers", facts->layer_count},
        {"hidden size", facts->hidden},
        {"intermediate size", facts->intermediate},
        {"number of attention heads", facts->q_heads},
        {"number of key/value heads", facts->kv_heads},
        {"head dimension", facts->head_dim},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].value == 0)
            return wa_fail(err, WA_E_FORMAT, "the %s is 0, expected more", sizes[i].name);
    if (facts->kv_heads > facts->q_heads || facts->q_heads % facts->kv_heads != 0)
        return wa_fail(err, WA_E_FORMAT,
                       "%zu attention heads are not divisible by %zu key/value heads",
                       facts->q_heads, facts->kv_heads);
    size_t ignored;
    if (!wa_size_mul(facts->q_heads, facts->head_dim, &ignored) ||
        !wa_size_mul(3, facts->hidden, &ignored))
        return wa_fail(err, WA_E_FORMAT, "%zu heads of dimension %zu, hidden size %zu overflow",
                       facts->q_heads, facts->head_dim, facts->hidden);
    return WA_OK;
}

static wa_status check_numbers(const wa_model *facts, wa_error *err)
{
    WA_TRY(wa_config_positive("norm epsilon", facts->norm_eps, err));
    WA_TRY(wa_config_positive("RoPE base", facts->rope_base, err));
    if (facts->rope_local_base != 0)
        WA_TRY(wa_config_positive("local RoPE base", facts->rope_local_base, err));
    WA_TRY(wa_config_positive("attention scale", (double)facts->attn_scale, err));
    WA_TRY(wa_config_positive("embedding scale", (double)facts->embed_scale, err));
    WA_TRY(wa_config_positive("residual multiplier", (double)facts->residual_multiplier, err));
    WA_TRY(wa_config_positive("logits scale", (double)facts->logits_scale, err));
    if (facts->attn_cap != 0)
        WA_TRY(wa_config_positive("attention cap", (double)facts->attn_cap, err));
    if (facts->final_cap != 0)
        WA_TRY(wa_config_positive("final cap", (double)facts->final_cap, err));
    return WA_OK;
}

wa_status wa_config_finish(wa_config *config, wa_error *err)
{
    wa_model *facts = &config->facts;
    const wa_family *family = config->family;
    bool larql = facts->semantics != WA_SEMANTICS_NATIVE;
    if (larql && family->larql_refusal != NULL)
        return wa_fail(err, WA_E_UNSUPPORTED, "larql semantics of family '%s': %s", family->family,
                       family->larql_refusal);
    if (larql && facts->gated && config->ffn_bias)
        return wa_fail(
            err, WA_E_UNSUPPORTED,
            "larql semantics of a gated FFN with biases: LARQL leaves those of gate and up "
            "out, which is not the model");
    WA_TRY(check_sizes(facts, err));
    config->rotates = !family->position_table;
    if (config->rotates && facts->rotary_dim == facts->head_dim && facts->head_dim % 2 != 0)
        return wa_fail(err, WA_E_FORMAT, "head dimension %zu is odd, rotation needs pairs",
                       facts->head_dim);
    if (config->rotates && (facts->rotary_dim == 0 || facts->rotary_dim > facts->head_dim ||
                            facts->rotary_dim % 2 != 0))
        return wa_fail(err, WA_E_FORMAT,
                       "rotation of %zu of %zu dimensions of a head, expected a number of pairs",
                       facts->rotary_dim, facts->head_dim);
    facts->wide_qk_norm = family->qk_norm == WA_QK_NORM_WIDE;
    if (family->embed == WA_EMBED_SQRT)
        facts->embed_scale = sqrtf((float)facts->hidden); /* f32: forward-pass.md 3.1 */
    return check_numbers(facts, err);
}

bool wa_config_is_sliding(const wa_config *config, size_t layer)
{
    const wa_layer_kinds *kinds = &config->kinds;
    if (kinds->is_sliding != NULL)
        return kinds->is_sliding[layer];
    switch (kinds->rule) {
    case WA_WINDOW_NONE:
        return false;
    case WA_WINDOW_ALL:
        return true;
    case WA_WINDOW_PATTERN:
        return (layer + 1) % kinds->number != 0;
    case WA_WINDOW_FLAG:
        return layer >= kinds->number;
    case WA_WINDOW_NOPE:
        return wa_config_is_unrotated(config, layer);
    }
    return false;
}

bool wa_config_is_unrotated(const wa_config *config, size_t layer)
{
    const wa_layer_kinds *kinds = &config->kinds;
    if (kinds->is_unrotated != NULL)
        return kinds->is_unrotated[layer];
    switch (kinds->nope) {
    case WA_NOPE_NONE:
        return false;
    case WA_NOPE_LISTED:
        return (layer + 1) % kinds->nope_interval == 0;
    case WA_NOPE_FULL:
        return config->facts.sliding_window != 0 && !wa_config_is_sliding(config, layer);
    }
    return false;
}

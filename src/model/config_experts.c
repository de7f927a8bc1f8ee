/* Experts of config.json: how many, how wide, which layers have them (larql-2026-08.md 5.5). */
#include "model/config_json.h"

typedef wa_json_reader reader;

/* Two spellings of one number. */
static wa_status read_count(const reader *r, size_t fallback, size_t *out, wa_error *err)
{
    static const char *const keys[] = {"num_local_experts", "num_experts"};
    size_t counts[2];
    for (int i = 0; i < 2; i++)
        WA_TRY(wa_json_size_or(r->text, keys[i], 0, &counts[i], err));
    if (counts[0] != 0 && counts[1] != 0 && counts[0] != counts[1])
        return wa_fail(err, WA_E_FORMAT, "'%s' is %zu, but '%s' is %zu", keys[0], counts[0],
                       keys[1], counts[1]);
    *out = counts[0] != 0 ? counts[0] : counts[1];
    if (*out == 0 && !wa_json_is_given(r->text, keys[0]) && !wa_json_is_given(r->text, keys[1]))
        *out = fallback;
    return WA_OK;
}

static wa_status mark_listed(const reader *r, bool *is_dense, size_t layers, wa_error *err)
{
    const json_t *list = json_object_get(r->text, "mlp_only_layers");
    if (!wa_json_is_given(r->text, "mlp_only_layers"))
        return WA_OK;
    if (!json_is_array(list))
        return wa_fail(err, WA_E_FORMAT, "key 'mlp_only_layers': found %s, expected an array",
                       wa_json_type_name(list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_integer(item) || json_integer_value(item) < 0)
            return wa_fail(err, WA_E_FORMAT, "'mlp_only_layers' has no layer at place %zu", i);
        if ((uint64_t)json_integer_value(item) < layers)
            is_dense[json_integer_value(item)] = true;
    }
    return WA_OK;
}

/* `mlp_only_layers` are dense, and of the others all but every `decoder_sparse_step`-th. */
static wa_status read_places(const reader *r, wa_expert_shape *shape, wa_error *err)
{
    size_t layers = r->config->facts.layer_count;
    size_t step = 1;
    bool *is_dense;
    WA_TRY(wa_arena_take(r->arena, layers, sizeof *is_dense, &is_dense, err));
    if (r->config->family->experts->some_dense) {
        WA_TRY(wa_json_size_or(r->text, "decoder_sparse_step", 1, &step, err));
        WA_TRY(mark_listed(r, is_dense, layers, err));
    }
    if (step == 0)
        return wa_fail(err, WA_E_FORMAT, "'decoder_sparse_step' is 0, expected more");
    for (size_t l = 0; l < layers; l++)
        is_dense[l] = is_dense[l] || shape->count == 0 || (l + 1) % step != 0;
    shape->is_dense = is_dense;
    return WA_OK;
}

wa_status wa_config_experts_check(const wa_expert_shape *shape, const char *key, wa_error *err)
{
    if (shape->count != 0 && (shape->chosen == 0 || shape->chosen > shape->count))
        return wa_fail(err, WA_E_FORMAT, "'%s' is %zu, expected 1 to %zu experts", key,
                       shape->chosen, shape->count);
    if (shape->count > INT32_MAX || shape->features > INT32_MAX ||
        (shape->count != 0 && shape->features == 0))
        return wa_fail(err, WA_E_FORMAT, "%zu experts of %zu features", shape->count,
                       shape->features);
    return WA_OK;
}

wa_status wa_config_experts_json(const wa_json_reader *r, wa_error *err)
{
    const wa_expert_rule *rule = r->config->family->experts;
    wa_expert_shape *shape = &r->config->experts;
    if (rule == NULL)
        return WA_OK;
    WA_TRY(read_count(r, rule->count, &shape->count, err));
    WA_TRY(wa_json_size_or(r->text, "num_experts_per_tok", rule->chosen, &shape->chosen, err));
    WA_TRY(wa_json_size_or(r->text, rule->features_key, rule->features, &shape->features, err));
    if (rule->shared != 0)
        WA_TRY(wa_json_size_or(r->text, "shared_expert_intermediate_size", rule->shared,
                               &shape->shared_features, err));
    shape->renormalised = rule->renormalise_key == NULL;
    if (rule->renormalise_key != NULL)
        WA_TRY(wa_json_bool_or(r->text, rule->renormalise_key, false, &shape->renormalised, err));
    WA_TRY(wa_config_experts_check(shape, "num_experts_per_tok", err));
    return read_places(r, shape, err);
}

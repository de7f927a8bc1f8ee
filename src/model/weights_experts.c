/* Router, experts and shared expert of a layer, each a view of its own tensors. */
#include "model/weights_experts.h"

bool wa_config_has_experts(const wa_config *config, size_t layer)
{
    return config->experts.is_dense != NULL && !config->experts.is_dense[layer];
}

static wa_status take(const wa_finder *finder, wa_role role, int layer, size_t expert, size_t rows,
                      size_t cols, wa_matrix *out, wa_error *err)
{
    const wa_place place = {.role = role, .layer = layer, .suffix = ".weight", .expert = expert};
    return wa_finder_matrix(finder, place, (wa_part){.rows = rows, .total = rows}, cols, out, err);
}

static wa_status take_expert(const wa_finder *finder, int layer, size_t expert, wa_expert *out,
                             wa_error *err)
{
    size_t hidden = finder->config->facts.hidden;
    size_t features = finder->config->experts.features;
    WA_TRY(take(finder, WA_ROLE_EXPERT_GATE, layer, expert, features, hidden, &out->gate, err));
    WA_TRY(take(finder, WA_ROLE_EXPERT_UP, layer, expert, features, hidden, &out->up, err));
    return take(finder, WA_ROLE_EXPERT_DOWN, layer, expert, hidden, features, &out->down, err);
}

static wa_status take_shared(const wa_finder *finder, int layer, wa_experts *out, wa_error *err)
{
    size_t hidden = finder->config->facts.hidden;
    size_t features = finder->config->experts.shared_features;
    wa_expert *shared = &out->shared;
    if (features == 0)
        return WA_OK;
    WA_TRY(take(finder, WA_ROLE_SHARED_WEIGHT, layer, 0, 1, hidden, &out->shared_gate, err));
    WA_TRY(take(finder, WA_ROLE_SHARED_GATE, layer, 0, features, hidden, &shared->gate, err));
    WA_TRY(take(finder, WA_ROLE_SHARED_UP, layer, 0, features, hidden, &shared->up, err));
    return take(finder, WA_ROLE_SHARED_DOWN, layer, 0, hidden, features, &shared->down, err);
}

wa_status wa_weights_experts(const wa_finder *finder, int layer, const wa_experts **out,
                             wa_error *err)
{
    const wa_expert_shape *shape = &finder->config->experts;
    if (shape->count > finder->table->count)
        return wa_fail(err, WA_E_FORMAT, "%zu experts, but only %zu tensors are stored",
                       shape->count, finder->table->count);
    wa_experts *experts;
    wa_expert *list;
    WA_TRY(wa_arena_take(finder->arena, 1, sizeof *experts, &experts, err));
    WA_TRY(wa_arena_take(finder->arena, shape->count, sizeof *list, &list, err));
    bool wide = shape->shared_features > shape->features;
    *experts = (wa_experts){.count = shape->count,
                            .chosen = shape->chosen,
                            .widest = wide ? shape->shared_features : shape->features,
                            .renormalised = shape->renormalised,
                            .experts = list};
    WA_TRY(take(finder, WA_ROLE_ROUTER, layer, 0, shape->count, finder->config->facts.hidden,
                &experts->router, err));
    for (size_t e = 0; e < shape->count; e++)
        WA_TRY(take_expert(finder, layer, e, &list[e], err));
    WA_TRY(take_shared(finder, layer, experts, err));
    *out = experts;
    return WA_OK;
}

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

/* A matrix of the stack of all experts, and its bias. */
static wa_status take_stacked(const wa_finder *finder, wa_role role, int layer, wa_stack stack,
                              size_t rows, size_t cols, wa_matrix *out, const float **bias,
                              wa_error *err)
{
    wa_place place = wa_finder_bare(finder, role, layer);
    float *values;
    WA_TRY(wa_finder_stacked(finder, place, stack, rows, cols, out, err));
    if (!finder->config->family->experts->biases)
        return WA_OK;
    place.suffix = finder->config->names->bare ? "_bias" : ".bias";
    WA_TRY(wa_finder_stacked_vector(finder, place, stack, rows, &values, err));
    *bias = values;
    return WA_OK;
}

/* Gate and up in turn, or each by itself. */
static wa_status take_packed(const wa_finder *finder, int layer, size_t expert, wa_expert *out,
                             wa_error *err)
{
    size_t hidden = finder->config->facts.hidden;
    size_t features = finder->config->experts.features;
    bool turned = finder->config->names->role[WA_ROLE_PACKED_GATE_UP] != NULL;
    wa_stack down = {
        .count = finder->config->experts.count, .expert = expert, .turned = turned, .step = 1};
    wa_stack gate = down, up = down;
    gate.step = up.step = turned ? 2 : 1;
    up.first = turned ? 1 : 0;
    wa_role to_gate = turned ? WA_ROLE_PACKED_GATE_UP : WA_ROLE_PACKED_GATE;
    wa_role to_up = turned ? WA_ROLE_PACKED_GATE_UP : WA_ROLE_PACKED_UP;
    WA_TRY(take_stacked(finder, to_gate, layer, gate, features, hidden, &out->gate, &out->gate_bias,
                        err));
    WA_TRY(take_stacked(finder, to_up, layer, up, features, hidden, &out->up, &out->up_bias, err));
    return take_stacked(finder, WA_ROLE_PACKED_DOWN, layer, down, hidden, features, &out->down,
                        &out->down_bias, err);
}

static wa_status take_router_bias(const wa_finder *finder, int layer, wa_experts *out,
                                  wa_error *err)
{
    const wa_place place = {.role = WA_ROLE_ROUTER, .layer = layer, .suffix = ".bias"};
    float *bias;
    if (!finder->config->family->experts->biases)
        return WA_OK;
    WA_TRY(wa_finder_vector(finder, place, (wa_part){.rows = out->count, .total = out->count},
                            &bias, err));
    out->router_bias = bias;
    return WA_OK;
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
    const wa_names *names = finder->config->names;
    bool packed = names->role[WA_ROLE_PACKED_DOWN] != NULL;
    if (!packed && shape->count > finder->table->count)
        return wa_fail(err, WA_E_FORMAT, "%zu experts, but only %zu tensors are stored",
                       shape->count, finder->table->count);
    wa_experts *experts;
    wa_expert *list;
    WA_TRY(wa_arena_take(finder->arena, 1, sizeof *experts, &experts, err));
    bool wide = shape->shared_features > shape->features;
    *experts = (wa_experts){.count = shape->count,
                            .chosen = shape->chosen,
                            .widest = wide ? shape->shared_features : shape->features,
                            .renormalised = shape->renormalised};
    WA_TRY(take(finder, WA_ROLE_ROUTER, layer, 0, shape->count, finder->config->facts.hidden,
                &experts->router, err));
    WA_TRY(take_router_bias(finder, layer, experts, err));
    /* the router has so many rows */
    WA_TRY(wa_arena_take(finder->arena, shape->count, sizeof *list, &list, err));
    for (size_t e = 0; e < shape->count; e++)
        WA_TRY(packed ? take_packed(finder, layer, e, &list[e], err)
                      : take_expert(finder, layer, e, &list[e], err));
    experts->experts = list;
    WA_TRY(take_shared(finder, layer, experts, err));
    *out = experts;
    return WA_OK;
}

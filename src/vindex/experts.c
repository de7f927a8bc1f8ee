/* A layer's experts as a vindex has them, beside the model's: matrices of its layer file, router
 * and biases of its norms. */
#include "vindex/experts.h"

#include "vindex/parts.h"

/* One layer being put together. */
typedef struct builder {
    const wa_vindex *vindex;
    const wa_experts *model;
    size_t layer, features; /* of one expert */
    wa_arena *arena;
    wa_experts *out;
    wa_expert *list; /* [count] */
    bool *stored;    /* [WA_ROUTER_ROLES] */
} builder;

static const wa_router_slice *slice_of(const builder *b, wa_router_role role)
{
    const wa_router_slice *all = b->vindex->maps->router;
    return all == NULL || all[WA_ROUTER_ROLES * b->layer + role].elements == 0
               ? NULL
               : &all[WA_ROUTER_ROLES * b->layer + role];
}

/* [rows, cols] of a slice: `what` of a message. */
static wa_status view_slice(const builder *b, const wa_router_slice *slice, const char *what,
                            size_t rows, size_t cols, wa_matrix *out, wa_error *err)
{
    const wa_vindex_maps *maps = b->vindex->maps;
    wa_bytes file = slice->in_up_weights ? maps->weights[0].map.bytes : maps->norms.bytes;
    size_t count;
    if (!wa_size_mul(rows, cols, &count) || slice->elements != count)
        return wa_fail(err, WA_E_MISMATCH,
                       "layer %zu: %s of the vindex has %zu elements, the model's [%zu, %zu]",
                       b->layer, what, slice->elements, rows, cols);
    *out = (wa_matrix){.data = file.data + slice->offset,
                       .name = slice->in_up_weights ? wa_weight_file(WA_UP) : "norms.bin",
                       .format = slice->format,
                       .rows = rows,
                       .cols = cols,
                       .row_bytes = cols * wa_format_get(slice->format)->block_bytes};
    return WA_OK;
}

/* A slice [rows, cols] as f32; NULL where the vindex has none. */
static wa_status decode_slice(const builder *b, wa_router_role role, const char *what, size_t rows,
                              size_t cols, float **out, wa_error *err)
{
    const wa_router_slice *slice = slice_of(b, role);
    wa_matrix view;
    *out = NULL;
    if (slice == NULL)
        return WA_OK;
    WA_TRY(view_slice(b, slice, what, rows, cols, &view, err));
    WA_TRY(wa_arena_take_raw(b->arena, slice->elements, sizeof **out, out, err));
    wa_matrix_decode(&view, 0, rows, *out);
    return WA_OK;
}

/* A bias [rows, cols] as f32; NULL where the vindex has none. The model has it, or it has not. */
static wa_status take_bias(builder *b, wa_router_role role, const char *what, size_t rows,
                           size_t cols, bool model_has, float **out, wa_error *err)
{
    b->stored[role] = slice_of(b, role) != NULL;
    if (b->stored[role] && !model_has)
        return wa_fail(err, WA_E_MISMATCH,
                       "layer %zu: %s of the vindex has no counterpart in the model", b->layer,
                       what);
    return decode_slice(b, role, what, rows, cols, out, err);
}

static wa_status take_router(builder *b, wa_error *err)
{
    const wa_router_slice *slice = slice_of(b, WA_ROUTER_WEIGHT);
    const wa_experts *model = b->model;
    float *bias;
    b->stored[WA_ROUTER_WEIGHT] = slice != NULL;
    if (slice != NULL)
        WA_TRY(view_slice(b, slice, "the router", model->router.rows, model->router.cols,
                          &b->out->router, err));
    WA_TRY(take_bias(b, WA_ROUTER_BIAS, "the router's bias", 1, model->count,
                     model->router_bias != NULL, &bias, err));
    if (bias != NULL)
        b->out->router_bias = bias;
    return WA_OK;
}

/* Gate and up lie in turn: those of one expert apart. */
static wa_status part_gate_up(const builder *b, const float *both, wa_error *err)
{
    float *apart;
    size_t features = b->features;
    WA_TRY(wa_arena_take_raw(b->arena, 2 * features * b->model->count, sizeof *apart, &apart, err));
    for (size_t e = 0; e < b->model->count; e++, apart += 2 * features, both += 2 * features) {
        for (size_t f = 0; f < features; f++) {
            apart[f] = both[2 * f];
            apart[features + f] = both[2 * f + 1];
        }
        b->list[e].gate_bias = apart;
        b->list[e].up_bias = apart + features;
    }
    return WA_OK;
}

static wa_status take_biases(builder *b, wa_error *err)
{
    const wa_expert *first = &b->model->experts[0];
    size_t count = b->model->count, hidden = first->down.rows;
    float *gate_up, *down;
    WA_TRY(take_bias(b, WA_ROUTER_GATE_UP_BIAS, "the bias of gate and up", count, 2 * b->features,
                     first->gate_bias != NULL && first->up_bias != NULL, &gate_up, err));
    WA_TRY(take_bias(b, WA_ROUTER_DOWN_BIAS, "the bias of down", count, hidden,
                     first->down_bias != NULL, &down, err));
    if (gate_up != NULL)
        WA_TRY(part_gate_up(b, gate_up, err));
    for (size_t e = 0; down != NULL && e < count; e++)
        b->list[e].down_bias = down + e * hidden;
    return WA_OK;
}

static wa_status check_counts(const builder *b, wa_error *err)
{
    wa_layer_store store = wa_vindex_layer_store(b->vindex, b->layer);
    if (store.entries != b->model->count)
        return wa_fail(err, WA_E_MISMATCH,
                       "layer %zu of the vindex has %zu experts, the model's has %zu", b->layer,
                       store.entries, b->model->count);
    if (store.features != b->features)
        return wa_fail(err, WA_E_MISMATCH,
                       "experts of layer %zu of the vindex have %zu features, the model's have %zu",
                       b->layer, store.features, b->features);
    return WA_OK;
}

static wa_status take_matrices(builder *b, wa_error *err)
{
    WA_TRY(wa_arena_take(b->arena, b->model->count, sizeof *b->list, &b->list, err));
    for (size_t e = 0; e < b->model->count; e++) {
        const wa_expert *own = &b->model->experts[e];
        WA_TRY(wa_vindex_expert(b->vindex, b->layer, e, &b->list[e], err));
        b->list[e].gate_bias = own->gate_bias;
        b->list[e].up_bias = own->up_bias;
        b->list[e].down_bias = own->down_bias;
    }
    b->out->experts = b->list;
    return WA_OK;
}

wa_status wa_vindex_experts_open(const wa_vindex *vindex, const wa_model *model, size_t layer,
                                 wa_arena *arena, wa_vindex_experts *out, wa_error *err)
{
    if (layer >= model->layer_count || layer >= vindex->layer_count ||
        model->layers[layer].experts == NULL || wa_vindex_layer_store(vindex, layer).entries == 0 ||
        vindex->hidden != model->hidden)
        return wa_fail(err, WA_E_INTERNAL, "no experts in layer %zu of model and vindex alike",
                       layer);
    wa_vindex_experts found = {.experts = *model->layers[layer].experts};
    builder b = {.vindex = vindex,
                 .model = model->layers[layer].experts,
                 .layer = layer,
                 .features = model->layers[layer].experts->experts[0].up.rows,
                 .arena = arena,
                 .out = &found.experts,
                 .stored = found.stored};
    WA_TRY(check_counts(&b, err));
    WA_TRY(take_matrices(&b, err));
    WA_TRY(take_router(&b, err));
    WA_TRY(take_biases(&b, err));
    *out = found;
    return WA_OK;
}

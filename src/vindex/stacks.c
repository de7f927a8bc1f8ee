/* Rows of a projection as several matrices: one for each expert of a layer. And which experts a
 * vindex has for a model. */
#include "vindex/experts.h"
#include "vindex/parts.h"

bool wa_payload_is_of_experts(wa_payload payload)
{
    return payload == WA_PAYLOAD_EXPERTS || payload == WA_PAYLOAD_ROUTER ||
           payload == WA_PAYLOAD_SHARED || payload == WA_PAYLOAD_BIASES;
}

const wa_experts *wa_vindex_experts_at(const wa_vindex *vindex, size_t layer)
{
    bool has = vindex->experts != NULL && layer < vindex->layer_count &&
               vindex->experts[layer].experts.count > 0;
    return has ? &vindex->experts[layer].experts : NULL;
}

/* --- Matrices */

const wa_matrix *wa_expert_matrix(const wa_expert *ffn, wa_projection projection)
{
    return projection == WA_GATE ? &ffn->gate : projection == WA_UP ? &ffn->up : &ffn->down;
}

static const float *bias_of(const wa_expert *ffn, wa_projection projection)
{
    return projection == WA_GATE ? ffn->gate_bias
           : projection == WA_UP ? ffn->up_bias
                                 : ffn->down_bias;
}

wa_matrix wa_experts_matrix(const wa_experts *experts, wa_payload payload, wa_projection projection,
                            size_t i)
{
    if (payload == WA_PAYLOAD_SHARED)
        return *wa_expert_matrix(&experts->shared, projection);
    if (payload == WA_PAYLOAD_BIASES) {
        const wa_matrix *beside = wa_expert_matrix(&experts->experts[i], projection);
        return wa_vector_rows(bias_of(&experts->experts[i], projection), beside->rows,
                              beside->name);
    }
    if (payload != WA_PAYLOAD_ROUTER)
        return *wa_expert_matrix(&experts->experts[i], projection);
    if (projection == WA_DOWN)
        return wa_vector_rows(experts->router_bias, experts->count, experts->router.name);
    return projection == WA_GATE ? experts->router : experts->shared_gate;
}

/* A file of one entry, of a layer without experts. */
static const wa_expert *dense_entry(const wa_vindex *vindex, size_t layer)
{
    return vindex->experts == NULL || vindex->experts[layer].experts.count > 0
               ? NULL
               : vindex->experts[layer].experts.experts;
}

/* Of another checkpoint, beside its FFN's matrices. */
static bool is_beside(const wa_vindex *vindex, wa_payload payload, size_t layer)
{
    return wa_payload_is_of_model(payload) ||
           (payload == WA_PAYLOAD_BIASES && vindex->checkpoint != NULL &&
            wa_vindex_experts_at(vindex, layer) == NULL);
}

size_t wa_vindex_stack(const wa_vindex *vindex, wa_payload payload, wa_projection projection,
                       size_t layer)
{
    const wa_experts *experts = wa_vindex_experts_at(vindex, layer);
    bool checkpoint = vindex->checkpoint != NULL;
    if (is_beside(vindex, payload, layer))
        return checkpoint &&
                       wa_model_beside(vindex->checkpoint, payload, projection, layer).rows > 0
                   ? 1
                   : 0;
    if (experts == NULL)
        return wa_payload_is_of_experts(payload)
                   ? (payload == WA_PAYLOAD_EXPERTS && dense_entry(vindex, layer) != NULL)
                   : 1;
    const bool *stored = vindex->experts[layer].stored;
    switch (payload) {
    case WA_PAYLOAD_EXPERTS:
    case WA_PAYLOAD_CHECKPOINT:
        return experts->count;
    case WA_PAYLOAD_SHARED: /* no vindex has one */
        return checkpoint && experts->shared.up.rows > 0 ? 1 : 0;
    case WA_PAYLOAD_BIASES:
        return stored[projection == WA_DOWN ? WA_ROUTER_DOWN_BIAS : WA_ROUTER_GATE_UP_BIAS]
                   ? experts->count
                   : 0;
    case WA_PAYLOAD_ROUTER:
        if (projection == WA_UP)
            return checkpoint && experts->shared_gate.rows > 0 ? 1 : 0;
        return stored[projection == WA_GATE ? WA_ROUTER_WEIGHT : WA_ROUTER_BIAS] ? 1 : 0;
    default:
        return 0;
    }
}

wa_status wa_vindex_stack_matrix(const wa_vindex *vindex, wa_payload payload,
                                 wa_projection projection, size_t layer, size_t i, wa_matrix *out,
                                 wa_error *err)
{
    const wa_experts *experts = wa_vindex_experts_at(vindex, layer);
    if (i >= wa_vindex_stack(vindex, payload, projection, layer))
        return wa_fail(err, WA_E_INTERNAL, "no matrix %zu of %s of layer %zu in payload %d", i,
                       wa_projection_name(projection), layer, (int)payload);
    if (is_beside(vindex, payload, layer)) {
        *out = wa_model_beside(vindex->checkpoint, payload, projection, layer);
        out->name = wa_vindex_file(vindex, WA_PAYLOAD_CHECKPOINT);
        return WA_OK;
    }
    if (experts == NULL && payload == WA_PAYLOAD_EXPERTS) {
        *out = *wa_expert_matrix(dense_entry(vindex, layer), projection);
        return WA_OK;
    }
    if (experts == NULL)
        return wa_vindex_matrix(vindex, payload,
                                wa_payload_holds(payload, projection) ? projection : WA_GATE, layer,
                                out, err);
    *out = wa_experts_matrix(experts, payload, projection, i);
    return WA_OK;
}

/* --- Which there are */

static void offer(wa_vindex *vindex, wa_payload payload, const char *file)
{
    vindex->present[payload] = vindex->readable[payload] = true;
    if (file != NULL)
        vindex->file[payload] = file;
}

static wa_status take_list(wa_vindex *vindex, wa_arena *arena, wa_vindex_experts **out,
                           wa_error *err)
{
    WA_TRY(wa_arena_take(arena, vindex->layer_count, sizeof **out, out, err));
    vindex->experts = *out;
    return WA_OK;
}

/* What lies beside its FFN's matrices. */
static void offer_beside(wa_vindex *vindex, const char *file)
{
    for (size_t i = 0; i < WA_BESIDE_COUNT * vindex->layer_count; i++) {
        size_t which = i / vindex->layer_count, layer = i % vindex->layer_count;
        wa_payload payload = wa_beside_payload(which);
        if (is_beside(vindex, payload, layer) &&
            wa_vindex_stack(vindex, payload, (wa_projection)(which % WA_PROJECTION_COUNT), layer) >
                0)
            offer(vindex, payload, file);
    }
}

/* A checkpoint's experts: all that there is, is its own. */
static wa_vindex_experts experts_of_checkpoint(const wa_experts *own)
{
    const wa_expert *first = &own->experts[0];
    return (wa_vindex_experts){
        .experts = *own,
        .stored = {[WA_ROUTER_WEIGHT] = true,
                   [WA_ROUTER_BIAS] = own->router_bias != NULL,
                   [WA_ROUTER_GATE_UP_BIAS] = first->gate_bias != NULL || first->up_bias != NULL,
                   [WA_ROUTER_DOWN_BIAS] = first->down_bias != NULL}};
}

/* What of a layer's experts is to be compared besides their matrices. */
static void offer_experts(wa_vindex *vindex, const wa_vindex_experts *experts, const char *file)
{
    const bool *stored = experts->stored;
    if (stored[WA_ROUTER_WEIGHT] || stored[WA_ROUTER_BIAS])
        offer(vindex, WA_PAYLOAD_ROUTER, file);
    if (stored[WA_ROUTER_GATE_UP_BIAS] || stored[WA_ROUTER_DOWN_BIAS])
        offer(vindex, WA_PAYLOAD_BIASES, file);
}

static wa_status settle_checkpoint(wa_vindex *vindex, wa_arena *arena, wa_error *err)
{
    wa_vindex_experts *list;
    const wa_model *other = vindex->checkpoint;
    const char *file = vindex->file[WA_PAYLOAD_CHECKPOINT];
    offer_beside(vindex, file);
    if (wa_model_expert_layer(other) == other->layer_count)
        return WA_OK;
    WA_TRY(take_list(vindex, arena, &list, err));
    for (size_t l = 0; l < other->layer_count; l++) {
        if (other->layers[l].experts == NULL)
            continue;
        list[l] = experts_of_checkpoint(other->layers[l].experts);
        offer_experts(vindex, &list[l], file);
        if (list[l].experts.shared.up.rows > 0)
            offer(vindex, WA_PAYLOAD_SHARED, file);
    }
    return WA_OK;
}

/* Rows that begin inside a block are read, and not compared with the model's: a block of two rows
 * is no encoding of either. The first layer that has such is named. */
static wa_status find_flat(size_t layer, const wa_expert *expert, wa_arena *arena, const char **out,
                           wa_error *err)
{
    char *text;
    if (*out != NULL || (expert->gate.order != WA_ROWS_FLAT && expert->down.order != WA_ROWS_FLAT))
        return WA_OK;
    WA_TRY(wa_arena_print(
        arena, &text, err,
        "holds rows that begin inside blocks in layer %zu, as LARQL wrote them until May 2026",
        layer));
    *out = text;
    return WA_OK;
}

/* Why the layer's experts cannot be audited; NULL: they can. */
static wa_status find_obstacle(const wa_vindex *vindex, size_t layer, wa_arena *arena,
                               const char **out, wa_error *err)
{
    wa_layer_store store = wa_vindex_layer_store(vindex, layer);
    char *text;
    *out = NULL;
    if (store.entries > 0)
        return WA_OK;
    WA_TRY(wa_arena_print(arena, &text, err, "has no file of layer %zu", layer));
    *out = text;
    return WA_OK;
}

/* The file of a layer without experts, where there is one: count 0 and one entry. */
static wa_status take_dense_entry(wa_vindex *vindex, const wa_model *model, size_t layer,
                                  wa_arena *arena, wa_vindex_experts *out, wa_error *err)
{
    wa_layer_store store = wa_vindex_layer_store(vindex, layer);
    size_t features = model->layers[layer].up.rows;
    wa_expert *entry;
    if (store.entries != 1)
        return WA_OK;
    if (store.features != features)
        return wa_fail(
            err, WA_E_MISMATCH,
            "the file of layer %zu of the vindex has %zu features, the model's layer has %zu",
            layer, store.features, features);
    WA_TRY(wa_arena_take(arena, 1, sizeof *entry, &entry, err));
    WA_TRY(wa_vindex_expert(vindex, layer, 0, entry, err));
    WA_TRY(find_flat(layer, entry, arena, &vindex->unusable[WA_PAYLOAD_EXPERTS], err));
    out->experts.experts = entry;
    return WA_OK;
}

wa_status wa_vindex_settle_experts(wa_vindex *vindex, const wa_model *model, wa_arena *arena,
                                   wa_error *err)
{
    wa_vindex_experts *list;
    if (vindex->checkpoint != NULL)
        return settle_checkpoint(vindex, arena, err);
    if (wa_model_expert_layer(model) == model->layer_count ||
        wa_vindex_expert_layer(vindex) == vindex->layer_count)
        return WA_OK;
    for (size_t l = 0; l < model->layer_count && vindex->unusable[WA_PAYLOAD_EXPERTS] == NULL; l++)
        if (model->layers[l].experts != NULL)
            WA_TRY(find_obstacle(vindex, l, arena, &vindex->unusable[WA_PAYLOAD_EXPERTS], err));
    if (vindex->unusable[WA_PAYLOAD_EXPERTS] != NULL)
        return WA_OK;
    WA_TRY(take_list(vindex, arena, &list, err));
    for (size_t l = 0; l < model->layer_count; l++) {
        if (model->layers[l].experts == NULL) {
            WA_TRY(take_dense_entry(vindex, model, l, arena, &list[l], err));
            continue;
        }
        WA_TRY(wa_vindex_experts_open(vindex, model, l, arena, &list[l], err));
        WA_TRY(find_flat(l, &list[l].experts.experts[0], arena,
                         &vindex->unusable[WA_PAYLOAD_EXPERTS], err));
    }
    if (vindex->unusable[WA_PAYLOAD_EXPERTS] != NULL) {
        vindex->experts = NULL;
        return WA_OK;
    }
    offer(vindex, WA_PAYLOAD_EXPERTS, NULL);
    for (size_t l = 0; l < model->layer_count; l++)
        offer_experts(vindex, &list[l], NULL);
    return WA_OK;
}

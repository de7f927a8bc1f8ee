/* Layers with experts: which ones routers chose, and where a case's choice is another. */
#include "engine/stage_private.h"

#include "measure/routing.h"

#include <math.h>

static double *f64(const wa_comparison *c, wa_field field)
{
    return wa_block_f64(c->batch->block, field, c->index, c->layer);
}

static const wa_experts *experts_of(const wa_comparison *c)
{
    return c->stage->audit->model->layers[c->layer].experts;
}

/* rows [experts] += how often each is in `expert` [places]. */
static void count_rows(const int32_t *expert, size_t places, int64_t *rows)
{
    for (size_t i = 0; i < places; i++)
        if (expert[i] >= 0)
            rows[expert[i]]++;
}

void wa_stage_keep_routing(const wa_stage *stage, const wa_stage_batch *batch, size_t layer)
{
    const wa_experts *experts = stage->audit->model->layers[layer].experts;
    if (experts == NULL)
        return;
    size_t places = batch->rows * experts->chosen;
    int32_t *id = wa_block_i32(batch->block, WA_FIELD_expert_id, 0, layer);
    double *weight = wa_block_f64(batch->block, WA_FIELD_expert_weight, 0, layer);
    double *margin = wa_block_f64(batch->block, WA_FIELD_expert_margin, 0, layer);
    for (size_t i = 0; i < places; i++) {
        id[i] = stage->routing.expert[i];
        weight[i] = (double)stage->routing.weight[i];
        margin[i] = (double)stage->routing.margin[i];
    }
    count_rows(stage->routing.expert, places,
               wa_block_i64(batch->block, WA_FIELD_expert_rows, 0, layer));
}

/* The reference's router on its own input: once for all cases of a layer. A lead has run it, but
 * without keeping its logits; other ranks have not. */
static wa_status route_reference(const wa_comparison *c, wa_error *err)
{
    wa_stage *stage = c->stage;
    if (stage->is_routed)
        return WA_OK;
    WA_TRY(wa_route_rows(experts_of(c), c->batch->rows, c->reference->x, &stage->scratch,
                         &stage->routing, err));
    stage->is_routed = true;
    return WA_OK;
}

static void store_changes(const wa_comparison *c, wa_field field, const wa_routing *theirs)
{
    const wa_stage *stage = c->stage;
    size_t chosen = experts_of(c)->chosen;
    int8_t *change = wa_block_i8(c->batch->block, field, c->index, c->layer);
    for (size_t row = 0; row < c->batch->rows; row++)
        change[row] = (int8_t)wa_routing_compare(stage->routing.expert + row * chosen,
                                                 theirs->expert + row * chosen, chosen);
}

static void store_gaps(const wa_comparison *c)
{
    const wa_stage *stage = c->stage;
    const wa_experts *experts = experts_of(c);
    double *gap = f64(c, WA_FIELD_routing_gap);
    for (size_t row = 0; row < c->batch->rows; row++)
        gap[row] =
            wa_routing_gap(stage->routing.logits + row * experts->count, experts->count,
                           stage->case_routing[WA_STREAM_REFERENCE].expert + row * experts->chosen,
                           experts->chosen);
}

/* On the case's own stream. */
static void store_own(const wa_comparison *c)
{
    const wa_routing *own = &c->stage->case_routing[WA_STREAM_OWN];
    const wa_block *block = c->batch->block;
    size_t chosen = experts_of(c)->chosen, places = c->batch->rows * chosen;
    int32_t *id = wa_block_i32(block, WA_FIELD_own_expert_id, c->index, c->layer);
    double *weight = f64(c, WA_FIELD_own_expert_weight);
    double *margin = f64(c, WA_FIELD_own_routing_margin);
    for (size_t i = 0; i < places; i++) {
        id[i] = own->expert[i];
        weight[i] = (double)own->weight[i];
    }
    for (size_t row = 0; row < c->batch->rows; row++)
        margin[row] = (double)own->margin[(row + 1) * chosen - 1];
    count_rows(own->expert, places,
               wa_block_i64(block, WA_FIELD_own_expert_rows, c->index, c->layer));
    store_changes(c, WA_FIELD_own_routing_change, own);
}

wa_status wa_stage_compare_routing(const wa_comparison *c, wa_error *err)
{
    WA_TRY(route_reference(c, err));
    store_gaps(c);
    if (c->lane != WA_NO_LANE)
        store_own(c);
    store_changes(c, WA_FIELD_routing_change, &c->stage->case_routing[WA_STREAM_REFERENCE]);
    return WA_OK;
}

void wa_stage_keep_expert_errors(const wa_comparison *c, const int32_t *expert,
                                 const double *errors)
{
    const wa_stage *stage = c->stage;
    size_t chosen = experts_of(c)->chosen;
    int64_t *rows = wa_block_i64(c->batch->block, WA_FIELD_expert_kernel_rows, c->index, c->layer);
    double *most = f64(c, WA_FIELD_expert_kernel_rel_l2);
    for (size_t i = 0; i < stage->sampled_count; i++) {
        const int32_t *took = expert + stage->sampled[i] * chosen;
        double e = errors[stage->sampled[i]];
        for (size_t k = 0; k < chosen && took[k] >= 0; k++) {
            rows[took[k]]++;
            most[took[k]] = fmax(most[took[k]], e); /* NaN before the first */
        }
    }
}

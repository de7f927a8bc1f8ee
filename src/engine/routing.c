/* Layers with experts: which ones routers chose, where a case's choice is another, and what that
 * costs. */
#include "engine/stage_private.h"

#include "measure/diff.h"
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

/* The reference's router on its own input: once for all cases of a layer. A lead has run it with
 * the dense FFN. */
static wa_status route_reference(const wa_comparison *c, wa_error *err)
{
    wa_stage *stage = c->stage;
    if (stage->is_routed)
        return WA_OK;
    WA_TRY(wa_route_rows(experts_of(c), c->batch->rows, c->reference->x, NULL, &stage->scratch,
                         &stage->routing, err));
    stage->is_routed = true;
    return WA_OK;
}

static int8_t *store_changes(const wa_comparison *c, wa_field field, const wa_routing *theirs)
{
    const wa_stage *stage = c->stage;
    size_t chosen = experts_of(c)->chosen;
    int8_t *change = wa_block_i8(c->batch->block, field, c->index, c->layer);
    for (size_t row = 0; row < c->batch->rows; row++)
        change[row] = (int8_t)wa_routing_compare(stage->routing.expert + row * chosen,
                                                 theirs->expert + row * chosen, chosen);
    return change;
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
    (void)store_changes(c, WA_FIELD_own_routing_change, own);
}

/* Rows that took other experts, and what they give by the reference's. */
typedef struct detour {
    size_t count;
    size_t *row;      /* [count] of the batch, ascending */
    float *x, *y;     /* [count, H] */
    int32_t *through; /* [count, chosen] */
} detour;

static wa_status take_detour(const wa_comparison *c, const int8_t *change, detour *out,
                             wa_error *err)
{
    const wa_stage *stage = c->stage;
    size_t rows = c->batch->rows, hidden = c->weights.hidden, chosen = experts_of(c)->chosen;
    size_t count = 0;
    for (size_t row = 0; row < rows; row++)
        count += change[row] == WA_ROUTING_OTHER_EXPERTS ? 1 : 0;
    WA_TRY(wa_arena_take_raw(stage->arena, count, sizeof *out->row, &out->row, err));
    WA_TRY(wa_arena_take_raw(stage->arena, count * hidden, sizeof *out->x, &out->x, err));
    WA_TRY(wa_arena_take_raw(stage->arena, count * hidden, sizeof *out->y, &out->y, err));
    WA_TRY(
        wa_arena_take_raw(stage->arena, count * chosen, sizeof *out->through, &out->through, err));
    out->count = 0;
    for (size_t row = 0; row < rows; row++) {
        if (change[row] != WA_ROUTING_OTHER_EXPERTS)
            continue;
        memcpy(out->x + out->count * hidden, c->reference->x + row * hidden,
               hidden * sizeof *out->x);
        memcpy(out->through + out->count * chosen, stage->routing.expert + row * chosen,
               chosen * sizeof *out->through);
        out->row[out->count++] = row;
    }
    return WA_OK;
}

static wa_status run_detour(const wa_comparison *c, const detour *d, wa_error *err)
{
    wa_stage *stage = c->stage;
    wa_label ignored;
    wa_status status;
    wa_walk_io io = {.x = d->x, .y = d->y, .through = d->through, .first_obs = c->batch->first_obs};
    WA_TIMED(stage, WA_PHASE_WALK_FFN,
             status = wa_case_run(c->which, &c->weights, d->count, &io, 1, &stage->scratch,
                                  &ignored, err));
    stage->cost.flops[WA_PHASE_WALK_FFN] += wa_case_flops(c->which, &c->weights, d->count);
    return status;
}

/*
 * The case's difference is the sum of two: what it would have by the reference's experts, and what
 * other experts add (result-format.md 5). Only rows that took others are evaluated again.
 */
static wa_status split_errors(const wa_comparison *c, const int8_t *change, wa_error *err)
{
    size_t hidden = c->weights.hidden;
    const double *whole = f64(c, WA_FIELD_rel_l2);
    double *same = f64(c, WA_FIELD_same_experts_rel_l2),
           *other = f64(c, WA_FIELD_other_experts_rel_l2);
    detour d;
    for (size_t row = 0; row < c->batch->rows; row++) {
        same[row] = whole[row];
        other[row] = change[row] == WA_ROUTING_NON_FINITE ? NAN : 0.0;
    }
    WA_TRY(take_detour(c, change, &d, err));
    if (d.count == 0)
        return WA_OK;
    WA_TRY(run_detour(c, &d, err));
    for (size_t i = 0; i < d.count; i++) {
        size_t row = d.row[i];
        const float *y_ref = c->reference->y + row * hidden, *y = d.y + i * hidden;
        same[row] = wa_diff_rows(y_ref, y, hidden).rel_l2;
        other[row] = wa_part_rel_l2(y_ref, y, c->stage->y_walk + row * hidden, hidden);
    }
    return WA_OK;
}

wa_status wa_stage_compare_routing(const wa_comparison *c, wa_error *err)
{
    WA_TRY(route_reference(c, err));
    store_gaps(c);
    if (c->lane != WA_NO_LANE)
        store_own(c);
    const int8_t *change =
        store_changes(c, WA_FIELD_routing_change, &c->stage->case_routing[WA_STREAM_REFERENCE]);
    return split_errors(c, change, err);
}

bool wa_stage_tells_experts(const wa_comparison *c)
{
    return c->weights.experts != NULL && !wa_path_is_foreign(c->which->path);
}

wa_status wa_stage_keep_expert_errors(const wa_comparison *c, int stream, const double *errors,
                                      wa_error *err)
{
    const wa_stage *stage = c->stage;
    bool told = wa_stage_tells_experts(c);
    if (c->weights.experts == NULL || (!told && stream != WA_STREAM_REFERENCE))
        return WA_OK;
    WA_TRY(route_reference(c, err));
    const int32_t *expert = told ? stage->case_routing[stream].expert : stage->routing.expert;
    size_t chosen = experts_of(c)->chosen;
    int64_t *rows = wa_block_i64(c->batch->block, WA_FIELD_expert_kernel_rows, c->index, c->layer);
    double *most = f64(c, WA_FIELD_expert_kernel_rel_l2);
    for (size_t i = 0; i < stage->sampled_count; i++) {
        const int32_t *took = expert + stage->sampled[i] * chosen;
        double e = errors[stage->sampled[i]];
        for (size_t k = 0; k < chosen && took[k] >= 0; k++) {
            rows[took[k]]++;
            most[took[k]] = fmax(most[took[k]], e); /* NaN before the first; e never is */
        }
    }
    return WA_OK;
}

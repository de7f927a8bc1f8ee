/* One rank's layers, all lanes together: every matrix is decoded once per batch. Design 3. */
#include "engine/stage_private.h"

#include "measure/diff.h"

const char *wa_phase_name(wa_phase phase)
{
    static const char *const names[] = {
#define WA_PHASE_NAME(id, name) name,
        WA_PHASE_LIST(WA_PHASE_NAME)
#undef WA_PHASE_NAME
    };
    return names[phase];
}

double wa_cost_aside(const wa_cost *cost)
{
    return cost->seconds[WA_PHASE_WAIT] + cost->seconds[WA_PHASE_GATHER] +
           cost->seconds[WA_PHASE_WRITE];
}

double wa_cost_clock(const wa_cost *cost)
{
    double charged = 0.0;
    for (int phase = 0; phase < WA_PHASE_COUNT; phase++)
        charged += cost->seconds[phase];
    return wa_clock() - charged;
}

size_t wa_share_lanes(const wa_stage_audit *audit, const wa_share *share)
{
    size_t lanes = share->is_lead ? 1 : 0;
    for (size_t c = 0; c < audit->case_count; c++)
        if (share->owns_case[c] && audit->cases[c].not_run == NULL && !audit->cases[c].isolated)
            lanes++;
    return lanes;
}

size_t wa_stage_lanes(const wa_stage *stage)
{
    return stage->lanes;
}

wa_steps wa_stage_steps(const wa_stage *stage)
{
    return stage->steps;
}

wa_cost *wa_stage_cost(wa_stage *stage)
{
    return &stage->cost;
}

static void name_lane(wa_stage *stage, size_t lane, int which)
{
    const wa_stage_audit *audit = stage->audit;
    const wa_model *own = which < 0 ? NULL : audit->cases[which].stream;
    stage->lane_case[lane] = which;
    stage->lane_model[lane] = own == NULL ? audit->model : own;
}

static void name_lanes(wa_stage *stage)
{
    size_t lane = 0;
    if (stage->share.is_lead)
        name_lane(stage, lane++, -1);
    for (size_t c = 0; c < stage->audit->case_count; c++)
        if (stage->share.owns_case[c] && stage->audit->cases[c].not_run == NULL &&
            !stage->audit->cases[c].isolated)
            name_lane(stage, lane++, (int)c);
}

size_t wa_stage_lanes_alike(const wa_stage *stage, size_t first)
{
    size_t end = first + 1;
    while (end < stage->lanes && stage->lane_model[end] == stage->lane_model[first])
        end++;
    return end - first;
}

/* Of the widest FFN. */
static size_t most_features(const wa_stage_audit *audit)
{
    size_t features = wa_model_widest_ffn(audit->model);
    for (size_t v = 0; v < audit->vindex_count; v++)
        for (size_t l = 0; l < audit->vindexes[v]->layer_count; l++)
            if (audit->model->layers[l].experts == NULL &&
                audit->vindexes[v]->layers[l].features > features)
                features = audit->vindexes[v]->layers[l].features;
    return features;
}

/* The widest FFN and the longest row of any matrix decide the scratch. */
static wa_status open_scratch(wa_stage *stage, wa_error *err)
{
    const wa_model *model = stage->audit->model;
    size_t features = most_features(stage->audit);
    size_t longest = model->q_heads * model->head_dim;
    longest = features > longest ? features : longest;
    longest = model->hidden > longest ? model->hidden : longest;
    WA_TRY(wa_scratch_open(stage->arena, stage->audit->max_rows, features, longest, &stage->scratch,
                           err));
    stage->scratch.engine = stage->audit->engine;
    return WA_OK;
}

static wa_status take_rows(wa_stage *stage, size_t lanes, size_t width, float **out, wa_error *err)
{
    size_t floats;
    if (!wa_size_mul(stage->audit->max_rows, width, &floats))
        return wa_fail(err, WA_E_MEMORY, "%zu rows of %zu values overflow", stage->audit->max_rows,
                       width);
    size_t total;
    if (!wa_size_mul(floats, lanes, &total))
        return wa_fail(err, WA_E_MEMORY, "%zu lanes of %zu values overflow", lanes, floats);
    return wa_arena_take_raw(stage->arena, total, sizeof(float), out, err);
}

wa_status wa_stage_open(const wa_stage_audit *audit, const wa_share *share, wa_arena *arena,
                        wa_stage **out, wa_error *err)
{
    wa_stage *stage;
    WA_TRY(wa_arena_take(arena, 1, sizeof *stage, &stage, err));
    stage->audit = audit;
    stage->share = *share;
    stage->arena = arena;
    stage->lanes = wa_share_lanes(audit, share);
    const wa_model *model = audit->model;
    size_t q_width = model->q_heads * model->head_dim;
    size_t kv_width = model->kv_heads * model->head_dim;

    WA_TRY(wa_arena_take(arena, stage->lanes, sizeof *stage->lane_case, &stage->lane_case, err));
    WA_TRY(wa_arena_take(arena, stage->lanes, sizeof *stage->lane_model, &stage->lane_model, err));
    WA_TRY(wa_arena_take(arena, stage->lanes, sizeof *stage->operands, &stage->operands, err));
    WA_TRY(wa_arena_take(arena, stage->lanes, sizeof *stage->repeats, &stage->repeats, err));
    name_lanes(stage);
    WA_TRY(wa_arena_take(arena, share->layer_count + 1, sizeof *stage->ahead.bytes,
                         &stage->ahead.bytes, err));
    WA_TRY(wa_arena_take(arena, share->layer_count + 1, sizeof *stage->ahead.witnessed,
                         &stage->ahead.witnessed, err));
    WA_TRY(open_scratch(stage, err));
    WA_TRY(wa_attention_open(arena, model, audit->longest_prompt, &stage->scratch,
                             &stage->attention, err));
    WA_TRY(take_rows(stage, stage->lanes, model->hidden, &stage->normed, err));
    WA_TRY(take_rows(stage, stage->lanes, q_width, &stage->q, err));
    WA_TRY(take_rows(stage, stage->lanes, kv_width, &stage->k, err));
    WA_TRY(take_rows(stage, stage->lanes, kv_width, &stage->v, err));
    WA_TRY(take_rows(stage, 1, model->hidden, &stage->y_ref, err));
    WA_TRY(take_rows(stage, 1, model->hidden, &stage->y_walk, err));
    WA_TRY(take_rows(stage, 1, model->hidden, &stage->y_own, err));
    WA_TRY(take_rows(stage, 1, model->hidden, &stage->post_ref, err));
    WA_TRY(take_rows(stage, 1, model->hidden, &stage->post_walk, err));
    size_t expert = wa_model_expert_layer(model);
    if (expert < model->layer_count) {
        const wa_experts *experts = model->layers[expert].experts;
        WA_TRY(wa_routing_open(arena, experts, audit->max_rows, &stage->routing, err));
        WA_TRY(take_rows(stage, 1, experts->count, &stage->routing.logits, err));
        for (int i = 0; i < WA_STREAMS; i++)
            WA_TRY(wa_routing_open(arena, experts, audit->max_rows, &stage->case_routing[i], err));
    }
    WA_TRY(wa_stage_open_captures(stage, err));
    size_t sampled =
        wa_sample_most(audit->kernel_check, audit->max_rows, audit->obs_count, model->layer_count);
    WA_TRY(wa_arena_take_raw(arena, sampled, sizeof *stage->sampled, &stage->sampled, err));
    WA_TRY(wa_arena_take_raw(arena, 2 * sampled * model->hidden, sizeof *stage->truth,
                             &stage->truth, err));
    WA_TRY(wa_arena_take_raw(arena, 2 * sampled, sizeof *stage->truth_least, &stage->truth_least,
                             err));
    if (sampled > 0)
        WA_TRY(wa_oracle_open(arena, 2 * sampled, model->hidden, most_features(audit),
                              &stage->oracle, err));
    *out = stage;
    return WA_OK;
}

void wa_stage_take_help(wa_stage *stage, wa_crew *crew)
{
    stage->scratch.crew = crew;
}

wa_status wa_stage_embed(wa_stage *stage, const wa_stage_batch *batch, wa_error *err)
{
    size_t hidden = stage->audit->model->hidden, size = batch->rows * hidden;
    const size_t *start = batch->packing.start;
    for (size_t lane = 0, alike = 0; lane < stage->lanes; lane += alike) {
        float *h = batch->h + lane * size;
        alike = wa_stage_lanes_alike(stage, lane);
        if (stage->audit->witness != NULL)
            WA_TRY(wa_witness_take(stage->audit->witness,
                                   wa_matrix_span(&stage->lane_model[lane]->embedding), err));
        for (size_t prompt = 0; prompt < batch->packing.prompts; prompt++)
            for (size_t row = start[prompt]; row < start[prompt + 1]; row++)
                WA_TRY(wa_embed(stage->lane_model[lane], batch->ids[row], row - start[prompt],
                                stage->post_walk, h + row * hidden, err));
        for (size_t other = 1; other < alike; other++)
            memcpy(h + other * size, h, size * sizeof *h);
    }
    return WA_OK;
}

/* Lanes of one model that are equal bit for bit, as all are in the first layer and those of cases of
 * one function are throughout, have one attention. repeats [lanes]: is it the lane before? */
static void find_repeats(wa_stage *stage, size_t lanes, size_t values, const float *h)
{
    for (size_t lane = 0; lane < lanes; lane++)
        stage->repeats[lane] =
            lane > 0 && memcmp(h + lane * values, h + (lane - 1) * values, values * sizeof *h) == 0;
}

/* y of every lane but repeats = x of the lane . W^T (+ bias); x and y hold [lanes][rows][...]. */
static void project(wa_stage *stage, size_t lanes, const wa_matrix *w, const float *bias,
                    size_t rows, const float *x, float *y)
{
    size_t count = 0;
    for (size_t lane = 0; lane < lanes; lane++)
        if (stage->repeats[lane] == 0)
            stage->operands[count++] =
                (wa_operand){.x = x + lane * rows * w->cols, .y = y + lane * rows * w->rows};
    wa_gemm_rows(w, rows, w->cols, w->rows, stage->operands, count, bias, &stage->scratch);
    stage->cost.flops[WA_PHASE_PROJECTIONS] +=
        2.0 * (double)(count * rows) * (double)w->rows * (double)w->cols;
    stage->cost.bytes[WA_PHASE_PROJECTIONS] += (double)wa_matrix_bytes(w);
}

/* Rows normed, or as they are where the block has no such norm. */
static void norm_or_copy(const wa_model *model, const wa_norm *norm, const float *x, size_t rows,
                         float *out)
{
    if (norm->weight != NULL)
        wa_norm_rows(model, norm, x, rows, model->hidden, out);
    else if (out != x)
        memcpy(out, x, rows * model->hidden * sizeof *out);
}

/* Attention half of a layer for `lanes` lanes of one model, the first of which is `first`: h +=
 * attention, then normed = FFN input. q, k and v hold these lanes alone. */
static void attend(wa_stage *stage, const wa_stage_batch *batch, size_t layer, size_t first,
                   size_t lanes)
{
    const wa_model *model = stage->lane_model[first];
    const wa_layer *w = &model->layers[layer];
    size_t rows = batch->rows;
    size_t all = lanes * rows;
    size_t hidden = model->hidden;
    size_t q_width = model->q_heads * model->head_dim;
    size_t kv_width = model->kv_heads * model->head_dim;
    float *h = batch->h + first * rows * hidden, *normed = stage->normed + first * rows * hidden;

    find_repeats(stage, lanes, rows * hidden, h);
    norm_or_copy(model, &w->attn_in, h, all, normed);
    WA_TIMED(stage, WA_PHASE_PROJECTIONS, {
        project(stage, lanes, &w->q, w->q_bias, rows, normed, stage->q);
        project(stage, lanes, &w->k, w->k_bias, rows, normed, stage->k);
        project(stage, lanes, &w->v, w->v_bias, rows, normed, stage->v);
    });
    WA_TIMED(stage, WA_PHASE_ATTENTION, {
        for (size_t lane = 0; lane < lanes; lane++)
            if (stage->repeats[lane] == 0)
                wa_attention_run(model, layer, &batch->packing, stage->q + lane * rows * q_width,
                                 stage->k + lane * rows * kv_width,
                                 stage->v + lane * rows * kv_width, &stage->attention);
    });
    WA_TIMED(stage, WA_PHASE_PROJECTIONS,
             project(stage, lanes, &w->o, w->o_bias, rows, stage->q, normed));
    for (size_t lane = 0; lane < lanes; lane++)
        if (stage->repeats[lane] != 0)
            memcpy(normed + lane * rows * hidden, normed + (lane - 1) * rows * hidden,
                   rows * hidden * sizeof *normed);

    norm_or_copy(model, &w->attn_out, normed, all, normed);
    wa_residual_add(h, normed, all * hidden, model->residual_multiplier);
    norm_or_copy(model, &w->ffn_in, h, all, normed);
}

void wa_stage_post(const wa_model *model, size_t layer, const float *y, size_t rows, float *out)
{
    norm_or_copy(model, &model->layers[layer].ffn_out, y, rows, out);
    if (model->residual_multiplier != 1.0F)
        for (size_t i = 0; i < rows * model->hidden; i++)
            out[i] *= model->residual_multiplier;
}

/* The dense FFN on lane 0, path 0 of the table; its fields; and the news of it to the team. */
static wa_status run_reference(wa_stage *stage, const wa_stage_batch *batch, size_t layer,
                               const wa_team_link *link, wa_reference *out, wa_error *err)
{
    const wa_model *model = stage->audit->model;
    size_t hidden = model->hidden;
    wa_case dense = wa_case_dense();
    wa_walk_layer weights;
    WA_TRY(wa_case_open_layer(&dense, model, NULL, layer, &weights, err));
    weights.spread = link->spread;
    weights.watch = wa_stage_watch(stage);
    wa_walk_io io = {.x = stage->normed, .y = stage->y_ref, .routing = &stage->routing};
    wa_label label;
    wa_status status;
    WA_TIMED(stage, WA_PHASE_DENSE_FFN,
             status =
                 wa_case_run(&dense, &weights, batch->rows, &io, 1, &stage->scratch, &label, err));
    WA_TRY(status);
    stage->is_routed = weights.experts != NULL;
    stage->cost.flops[WA_PHASE_DENSE_FFN] += wa_case_flops(&dense, &weights, batch->rows);
    stage->cost.bytes[WA_PHASE_DENSE_FFN] += (double)wa_case_bytes(&dense, &weights);
    wa_stage_keep_routing(stage, batch, layer);
    int32_t *evaluations = wa_block_i32(batch->block, WA_FIELD_dense_evaluations, 0, layer);
    for (size_t prompt = 0; prompt < batch->packing.prompts; prompt++)
        evaluations[prompt]++;

    wa_stage_post(model, layer, stage->y_ref, batch->rows, stage->post_ref);
    wa_residual_add(batch->h, stage->post_ref, batch->rows * hidden, 1.0F);
    double *x_norm = wa_block_f64(batch->block, WA_FIELD_x_norm, 0, layer);
    double *ref_norm = wa_block_f64(batch->block, WA_FIELD_ref_norm, 0, layer);
    double *h_norm = wa_block_f64(batch->block, WA_FIELD_h_norm, 0, layer);
    for (size_t row = 0; row < batch->rows; row++) {
        x_norm[row] = wa_norm2(stage->normed + row * hidden, hidden);
        ref_norm[row] = wa_norm2(stage->y_ref + row * hidden, hidden);
        h_norm[row] = wa_norm2(batch->h + row * hidden, hidden);
    }
    *out = (wa_reference){.x = stage->normed, .y = stage->y_ref, .h = batch->h};
    return link->publish(link->context, layer, out, err);
}

/* Until the first case has added to it, every stream of the model is the same: a member need not wait
 * for the lead to know the first layer's x. Products of BLAS may differ from host to host, and where
 * experts are spread the lead waits for the member. */
static bool knows_input(const wa_stage *stage, size_t layer, const wa_team_link *link)
{
    return layer == 0 && stage->lanes > 0 && stage->lane_model[0] == stage->audit->model &&
           stage->audit->engine == WA_ENGINE_WALKAUDIT && link->spread == NULL;
}

wa_status wa_stage_await_reference(wa_stage *stage, const wa_stage_batch *batch, size_t layer,
                                   const wa_team_link *link, wa_reference *reference, wa_error *err)
{
    if (reference->y != NULL)
        return WA_OK;
    WA_TRY(link->await(link->context, layer, reference, err));
    wa_stage_post(stage->audit->model, layer, reference->y, batch->rows, stage->post_ref);
    return WA_OK;
}

static wa_status run_layer(wa_stage *stage, const wa_stage_batch *batch, size_t layer,
                           const wa_team_link *link, wa_error *err)
{
    stage->is_routed = false;
    for (size_t lane = 0, alike = 0; lane < stage->lanes; lane += alike) {
        alike = wa_stage_lanes_alike(stage, lane);
        attend(stage, batch, layer, lane, alike);
    }
    WA_TRY(link->poll(link->context, err));
    wa_reference reference = {.x = stage->normed};
    if (stage->share.is_lead) {
        WA_TRY(run_reference(stage, batch, layer, link, &reference, err));
        WA_TRY(wa_stage_keep_reference(stage, batch, layer, &reference, err));
        WA_TRY(wa_stage_compare_dump(stage, batch, layer, &reference, err));
    } else if (!knows_input(stage, layer, link)) {
        WA_TRY(wa_stage_await_reference(stage, batch, layer, link, &reference, err));
    }
    WA_TRY(wa_stage_compare(stage, batch, layer, &reference, link, err));
    if (stage->audit->encoding_check && batch->has_encoding)
        WA_TRY(wa_stage_check_encoding(stage, batch, layer, err));
    stage->steps.layers++;
    stage->steps.rows += (int64_t)batch->rows;
    return link->poll(link->context, err);
}

wa_status wa_stage_run(wa_stage *stage, const wa_stage_batch *batch, const wa_team_link *link,
                       wa_error *err)
{
    size_t end = stage->share.first_layer + stage->share.layer_count;
    wa_status status = WA_OK;
    wa_stage_begin_ahead(stage);
    for (size_t layer = stage->share.first_layer; status == WA_OK && layer < end; layer++) {
        wa_stage_look_ahead(stage, batch, layer);
        status = wa_stage_witness(stage, batch, layer, err);
        if (status == WA_OK)
            status = run_layer(stage, batch, layer, link, err);
        if (status != WA_OK)
            status = wa_note(err, "at layer %zu of prompts %zu to %zu", layer, batch->first_prompt,
                             batch->first_prompt + batch->packing.prompts - 1);
    }
    wa_stage_end_captures(stage);
    return status;
}

int wa_stage_case(const wa_stage *stage, const wa_case *which)
{
    return which->path == WA_PATH_DENSE ? -1 : (int)(which - stage->audit->cases);
}

wa_status wa_stage_feed(wa_stage *stage, int which, size_t layer, const wa_expert_rows *rows,
                        size_t first, size_t end, wa_error *err)
{
    const wa_stage_audit *audit = stage->audit;
    const wa_case dense = wa_case_dense(), *of = which < 0 ? &dense : &audit->cases[which];
    wa_walk_layer weights;
    WA_TRY(wa_case_open_layer(of, audit->model, which < 0 ? NULL : audit->vindexes[of->vindex],
                              layer, &weights, err));
    weights.watch = wa_stage_watch(stage);
    wa_expert_rows mine = *rows;
    mine.which = of;
    mine.layer = &weights;
    return wa_experts_feed(&mine, first, end, &stage->scratch, err);
}

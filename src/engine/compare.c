/* Every own case at one layer: twice its FFN, the differences, the kernel check. */
#include "engine/stage_private.h"

#include "measure/diff.h"
#include "path/external.h"

#include <math.h>

/* A case is evaluated on the reference's stream, unless no server has the layer, and on its own,
 * where it has one. */
static size_t first_stream(const wa_comparison *c)
{
    return wa_case_serves(c->which, c->layer) ? WA_STREAM_REFERENCE : WA_STREAM_OWN;
}

static size_t evaluations_of(const wa_comparison *c)
{
    return (c->lane == WA_NO_LANE ? WA_STREAM_OWN : WA_STREAMS) - first_stream(c);
}

static double *f64(const wa_comparison *c, wa_field field)
{
    return wa_block_f64(c->batch->block, field, c->index, c->layer);
}

/* Two cases at K = all that read the same stored numbers have one truth: their oracle is the same
 * sum, unless it hangs on how they rounded. */
static bool has_same_truth(const wa_case *a, const wa_case *b)
{
    if (a == NULL || a->vindex != b->vindex || a->k != WA_K_ALL || b->k != WA_K_ALL ||
        wa_case_is_loop(a) != wa_case_is_loop(b) || wa_case_may_round(a) || wa_case_may_round(b))
        return false; /* the per-feature loops leave out activations at the floor */
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        if (a->source[p].from_model != b->source[p].from_model ||
            (!a->source[p].from_model && a->source[p].payload != b->source[p].payload))
            return false;
    return true;
}

/* What all cases of a layer share: rows of the batch that the check looks at, on either stream; and
 * nothing known yet of the oracle. */
static void begin_layer(wa_stage *stage, const wa_stage_batch *batch, size_t layer)
{
    const wa_stage_audit *audit = stage->audit;
    stage->sampled_count = 0;
    for (size_t row = 0; row < batch->rows; row++)
        if (wa_sample_has(audit->kernel_check, batch->first_obs + row, audit->obs_count, layer,
                          audit->model->layer_count))
            stage->sampled[stage->sampled_count++] = row;
    stage->truth_of = stage->own_truth_of = NULL;
    stage->last.which = NULL;
}

/* A case's kernel on one of its streams, and what it chose there. */
typedef struct answer {
    const float *x, *y;  /* [rows][H] */
    const int32_t *hits; /* [rows][hit_width] features, or experts; NULL = none */
} answer;

/* Cases that read the same bytes compute the same bits, so their own inputs are equal as well. */
static bool has_same_input(const wa_stage *stage, const float *a, const float *b)
{
    size_t hidden = stage->audit->model->hidden;
    for (size_t i = 0; i < stage->sampled_count; i++)
        if (memcmp(a + stage->sampled[i] * hidden, b + stage->sampled[i] * hidden,
                   hidden * sizeof *a) != 0)
            return false;
    return true;
}

/* How many pairs of this layer the whole job checks before an observation. */
static size_t sampled_before(const wa_comparison *c, size_t obs)
{
    const wa_stage_audit *audit = c->stage->audit;
    return wa_sample_before(audit->kernel_check, obs, audit->obs_count, c->layer,
                            audit->model->layer_count);
}

/*
 * An evaluation has its seat by its place in the job alone, so that no batch changes its bits:
 * first those on the reference's stream. Where a case's own input is the reference's, bit for bit,
 * they are one evaluation in that seat.
 */
static size_t seat_of(const wa_comparison *c, const answer *of, size_t stream, size_t row)
{
    size_t hidden = c->stage->audit->model->hidden,
           seat = sampled_before(c, c->batch->first_obs + row);
    bool apart = stream != WA_STREAM_REFERENCE &&
                 memcmp(of[stream].x + row * hidden, of[WA_STREAM_REFERENCE].x + row * hidden,
                        hidden * sizeof(float)) != 0;
    return apart ? stream * sampled_before(c, c->stage->audit->obs_count) + seat : seat;
}

/* Evaluate the sampled rows of streams [first, end) by the oracle, together: its result for one row
 * does not depend on the others. */
static wa_status ask_oracle(const wa_comparison *c, const answer *of, int first, int end,
                            size_t hit_width, wa_error *err)
{
    wa_stage *stage = c->stage;
    size_t hidden = stage->audit->model->hidden, sampled = stage->sampled_count;
    size_t count = (size_t)(end - first) * sampled;
    /* As many seats as the job needs; at the first layer no case but a whole checkpoint has gone a
     * way of its own. */
    size_t width = wa_oracle_width((c->layer == 0 ? 1 : WA_STREAMS) *
                                   sampled_before(c, stage->audit->obs_count));
    float *x, *y = NULL;
    int32_t *hits = NULL;
    size_t *seats;
    WA_TRY(wa_arena_take_raw(stage->arena, count * hidden, sizeof *x, &x, err));
    if (wa_case_may_round(wa_case_oracle(c->which)))
        WA_TRY(wa_arena_take_raw(stage->arena, count * hidden, sizeof *y, &y, err));
    WA_TRY(wa_arena_take_raw(stage->arena, count, sizeof *seats, &seats, err));
    if (of[first].hits != NULL)
        WA_TRY(wa_arena_take_raw(stage->arena, count * hit_width, sizeof *hits, &hits, err));
    for (size_t i = 0; i < count; i++) {
        size_t stream = (size_t)first + i / sampled, row = stage->sampled[i % sampled];
        const answer *from = &of[stream];
        seats[i] = seat_of(c, of, stream, row);
        wa_wire_deliver(c->which->wire, from->x + row * hidden, hidden, x + i * hidden);
        if (y != NULL)
            memcpy(y + i * hidden, from->y + row * hidden, hidden * sizeof *y);
        if (hits != NULL)
            memcpy(hits + i * hit_width, from->hits + row * hit_width, hit_width * sizeof *hits);
    }
    double before = wa_oracle_flops(stage->oracle);
    WA_TRY(wa_oracle_run(stage->oracle, wa_case_oracle(c->which), &c->weights, count, x, width,
                         seats, hits, y, stage->truth + (size_t)first * sampled * hidden,
                         stage->truth_least + (size_t)first * sampled, err));
    stage->cost.flops[WA_PHASE_KERNEL_CHECK] += wa_oracle_flops(stage->oracle) - before;
    return WA_OK;
}

static wa_status store_kernel_errors(const wa_comparison *c, const answer *of, int stream,
                                     wa_field field, wa_error *err)
{
    const wa_stage *stage = c->stage;
    size_t hidden = stage->audit->model->hidden;
    const double *truth = stage->truth + (size_t)stream * stage->sampled_count * hidden;
    const double *least = stage->truth_least + (size_t)stream * stage->sampled_count;
    double *errors = f64(c, field);
    for (size_t i = 0; i < stage->sampled_count; i++) {
        size_t row = stage->sampled[i];
        errors[row] =
            wa_kernel_error(truth + i * hidden, of[stream].y + row * hidden, hidden, least[i]);
    }
    return wa_stage_keep_expert_errors(c, stream, errors, err);
}

/* Does a server see other numbers than the oracle would, or say others than it computed? */
static bool has_travelled(const wa_case *which)
{
    return which->wire > WA_WIRE_F32 ||
           (which->external != NULL && which->external->answer > WA_WIRE_F32);
}

static wa_status measure_kernel(const wa_comparison *c, const answer *of, size_t hit_width,
                                wa_error *err)
{
    wa_stage *stage = c->stage;
    const wa_case *judge = wa_case_oracle(c->which);
    bool has_own = c->lane != WA_NO_LANE, travels = has_travelled(c->which);
    if (stage->sampled_count == 0 || judge == NULL)
        return WA_OK;
    bool known = !travels && has_same_truth(stage->truth_of, judge);
    bool own_known = !has_own || (!travels && has_same_truth(stage->own_truth_of, judge) &&
                                  has_same_input(stage, stage->own_truth_x, of[WA_STREAM_OWN].x));
    if (!known || !own_known)
        WA_TRY(ask_oracle(c, of, known ? WA_STREAM_OWN : WA_STREAM_REFERENCE,
                          own_known ? WA_STREAM_OWN : WA_STREAMS, hit_width, err));
    if (travels) {
        size_t rows = (has_own ? WA_STREAMS : WA_STREAM_OWN) * stage->sampled_count,
               hidden = stage->audit->model->hidden;
        for (size_t i = 0; i < rows; i++)
            wa_wire_round(c->which->external->answer, stage->truth + i * hidden, hidden);
        stage->truth_of = stage->own_truth_of = NULL;
    } else {
        stage->truth_of = known ? stage->truth_of : judge;
    }
    if (!own_known && !travels) {
        stage->own_truth_of = judge;
        stage->own_truth_x = of[WA_STREAM_OWN].x;
    }
    WA_TRY(store_kernel_errors(c, of, WA_STREAM_REFERENCE, WA_FIELD_kernel_rel_l2, err));
    if (!has_own)
        return WA_OK;
    return store_kernel_errors(c, of, WA_STREAM_OWN, WA_FIELD_kernel_own_rel_l2, err);
}

static void store_differences(const wa_comparison *c)
{
    size_t hidden = c->stage->audit->model->hidden;
    int32_t *index = wa_block_i32(c->batch->block, WA_FIELD_max_abs_index, c->index, c->layer);
    int8_t *status = wa_block_i8(c->batch->block, WA_FIELD_obs_status, c->index, c->layer);
    double *eta = f64(c, WA_FIELD_eta);
    for (size_t row = 0; row < c->batch->rows; row++) {
        size_t at = row * hidden;
        wa_diff diff = wa_diff_rows(c->reference->y + at, c->stage->y_walk + at, hidden);
        f64(c, WA_FIELD_cos)[row] = diff.cos;
        f64(c, WA_FIELD_one_minus_cos)[row] = diff.one_minus_cos;
        f64(c, WA_FIELD_rel_l2)[row] = diff.rel_l2;
        f64(c, WA_FIELD_l2)[row] = diff.l2;
        f64(c, WA_FIELD_max_abs)[row] = diff.max_abs;
        f64(c, WA_FIELD_norm_ratio)[row] = diff.norm_ratio;
        index[row] = diff.max_abs_index;
        status[row] = (int8_t)diff.status;
        eta[row] = wa_relative_distance(c->stage->post_ref + at, c->stage->post_walk + at,
                                        c->reference->h + at, hidden);
    }
}

/* No figures, and captures without numbers. */
static void store_absence(const wa_comparison *c)
{
    size_t rows = c->batch->rows, values = rows * c->stage->audit->model->hidden;
    int8_t *status = wa_block_i8(c->batch->block, WA_FIELD_obs_status, c->index, c->layer);
    memset(status, WA_OBS_NOT_SERVED, rows);
    for (size_t i = 0; i < values; i++)
        c->stage->y_walk[i] = NAN;
}

/* The case's own lane takes its own output, and drifts. */
static void advance_lane(const wa_comparison *c)
{
    wa_stage *stage = c->stage;
    size_t hidden = stage->audit->model->hidden;
    size_t rows = c->batch->rows;
    float *h = c->batch->h + c->lane * rows * hidden;
    wa_stage_post(stage->lane_model[c->lane], c->layer, stage->y_own, rows, stage->post_walk);
    wa_residual_add(h, stage->post_walk, rows * hidden, 1.0F);
    double *drift = f64(c, WA_FIELD_drift);
    for (size_t row = 0; row < rows; row++)
        drift[row] = wa_relative_distance(c->reference->h + row * hidden, h + row * hidden,
                                          c->reference->h + row * hidden, hidden);
}

/* What there is to compare; and the case's own lane goes on. */
static void store_outputs(const wa_comparison *c)
{
    wa_stage *stage = c->stage;
    if (wa_case_serves(c->which, c->layer)) {
        wa_stage_post(stage->audit->model, c->layer, stage->y_walk, c->batch->rows,
                      stage->post_walk);
        store_differences(c);
    } else {
        store_absence(c);
    }
    if (c->lane != WA_NO_LANE)
        advance_lane(c);
}

/* Of the streams, how many does the case before it on this rank answer, if it is the same function
 * of its input? The reference's at least, and its own where that is the same bit for bit. */
static size_t count_known(const wa_comparison *c)
{
    const wa_stage *stage = c->stage;
    const last_case *last = &stage->last;
    size_t hidden = stage->audit->model->hidden, values = c->batch->rows * hidden;
    if (last->which == NULL || !wa_case_is_same(last->which, &last->weights, c->which, &c->weights))
        return 0;
    bool has_own = c->lane != WA_NO_LANE && last->lane != WA_NO_LANE;
    return has_own && memcmp(stage->normed + c->lane * values, stage->normed + last->lane * values,
                             values * sizeof *stage->normed) == 0
               ? WA_STREAMS
               : WA_STREAM_OWN;
}

/* Run the case on its streams, less those whose answers are known: they stand in y_walk and y_own.
 * io [WA_STREAMS] */
static wa_status evaluate(const wa_comparison *c, const wa_walk_io *io, wa_label *label,
                          wa_error *err)
{
    wa_stage *stage = c->stage;
    size_t rows = c->batch->rows, end = first_stream(c) + evaluations_of(c);
    size_t known = count_known(c), first = first_stream(c) > known ? first_stream(c) : known;
    first = first < end ? first : end;
    size_t evaluated = wa_case_evaluated(&c->weights, c->which, rows, io + first, end - first);
    double start = wa_cost_clock(&stage->cost), seconds;
    WA_TRY(wa_case_run(c->which, &c->weights, rows, io + first, end - first, &stage->scratch, label,
                       err));
    seconds = wa_cost_clock(&stage->cost) - start;
    stage->cost.seconds[WA_PHASE_WALK_FFN] += seconds;
    stage->cost.flops[WA_PHASE_WALK_FFN] +=
        (double)evaluated * wa_case_flops(c->which, &c->weights, rows);
    if (evaluated > 0)
        stage->cost.bytes[WA_PHASE_WALK_FFN] += (double)wa_case_bytes(c->which, &c->weights);
    /* what was evaluated for both cases is the time of both */
    seconds += first > first_stream(c) ? stage->last.seconds : 0.0;
    stage->last =
        (last_case){.which = c->which, .weights = c->weights, .lane = c->lane, .seconds = seconds};
    *f64(c, WA_FIELD_seconds) = seconds;
    return WA_OK;
}

/* Of the case, whoever's evaluations have answered it, so that no other case changes it. modes
 * [prompts] */
static void store_cost(const wa_comparison *c, wa_label label, const int *modes)
{
    double flops = (double)evaluations_of(c) * wa_case_flops(c->which, &c->weights, c->batch->rows);
    size_t bytes = wa_case_bytes(c->which, &c->weights);
    *wa_block_i64(c->batch->block, WA_FIELD_bytes_read, c->index, c->layer) = (int64_t)bytes;
    *wa_block_i64(c->batch->block, WA_FIELD_flops, c->index, c->layer) = (int64_t)flops;
    int8_t *labels = wa_block_i8(c->batch->block, WA_FIELD_label, c->index, c->layer);
    int32_t *evaluations =
        wa_block_i32(c->batch->block, WA_FIELD_walk_evaluations, c->index, c->layer);
    int8_t *changed = wa_block_i8(c->batch->block, WA_FIELD_modes_changed, c->index, c->layer);
    for (size_t prompt = 0; prompt < c->batch->packing.prompts; prompt++) {
        labels[prompt] = (int8_t)label;
        changed[prompt] = (int8_t)modes[prompt];
        evaluations[prompt] += (int32_t)evaluations_of(c);
    }
}

static wa_status take_ways(const wa_comparison *c, wa_ways **out, wa_error *err)
{
    WA_TRY(wa_arena_take(c->stage->arena, c->batch->packing.prompts, sizeof **out, out, err));
    for (size_t p = 0; p < c->batch->packing.prompts; p++)
        (*out)[p] = (wa_ways){.repeat = NAN, .order = NAN, .alone = NAN, .alike = NAN};
    return WA_OK;
}

static void store_ways(const wa_comparison *c, const wa_ways *ways)
{
    for (size_t p = 0; p < c->batch->packing.prompts; p++) {
        f64(c, WA_FIELD_repeat_rel_l2)[p] = ways[p].repeat;
        f64(c, WA_FIELD_order_rel_l2)[p] = ways[p].order;
        f64(c, WA_FIELD_alone_rel_l2)[p] = ways[p].alone;
        f64(c, WA_FIELD_alike_rel_l2)[p] = ways[p].alike;
    }
}

/* One position at a time, as a model that writes text runs it, beside all of the batch; on the
 * reference's stream. */
static wa_status measure_decode(const wa_comparison *c, wa_error *err)
{
    wa_stage *stage = c->stage;
    static const size_t alone[2] = {0, 1};
    const wa_packing one = {.start = alone, .prompts = 1}, *packing = &c->batch->packing;
    size_t hidden = stage->audit->model->hidden;
    float *y;
    wa_label ignored;
    WA_TRY(wa_arena_take_raw(stage->arena, hidden, sizeof *y, &y, err));
    for (size_t p = 0; p < packing->prompts; p++) {
        double *most = f64(c, WA_FIELD_decode_rel_l2) + p;
        *most = 0.0;
        for (size_t row = packing->start[p]; row < packing->start[p + 1]; row++) {
            wa_walk_io io = {.x = c->reference->x + row * hidden,
                             .y = y,
                             .packing = &one,
                             .first_prompt = c->batch->first_prompt + p,
                             .first_obs = c->batch->first_obs + row};
            WA_TRY(wa_case_run(c->which, &c->weights, 1, &io, 1, &stage->scratch, &ignored, err));
            *most = fmax(*most, wa_answer_distance(stage->y_walk + row * hidden, y, hidden));
        }
    }
    return WA_OK;
}

static wa_status run_case(wa_comparison *c, wa_error *err)
{
    wa_stage *stage = c->stage;
    size_t rows = c->batch->rows;
    size_t hidden = stage->audit->model->hidden;
    const wa_vindex *vindex = stage->audit->vindexes[c->which->vindex];
    WA_TRY(wa_case_open_layer(c->which, stage->audit->model, vindex, c->layer, &c->weights, err));
    c->weights.spread = c->link->spread;
    c->weights.watch = wa_stage_watch(stage);
    int32_t *hits[WA_STREAMS] = {NULL};
    bool tells_hits = c->which->k != WA_K_ALL && !wa_path_is_foreign(c->which->path);
    bool tells_experts = wa_stage_tells_experts(c);
    size_t hit_width = !tells_hits ? 0 : wa_case_hit_count(c->which, c->weights.features);
    for (size_t i = 0; i < evaluations_of(c) && hit_width > 0; i++)
        WA_TRY(wa_arena_take_raw(stage->arena, rows * hit_width, sizeof *hits[i], &hits[i], err));

    /* of each prompt, like the calls: what another prompt's left changed is no matter of this one
     * */
    int *modes;
    wa_ways *ways;
    WA_TRY(wa_arena_take(stage->arena, c->batch->packing.prompts, sizeof *modes, &modes, err));
    WA_TRY(take_ways(c, &ways, err));
    wa_walk_io io[WA_STREAMS] = {{.x = c->reference->x,
                                  .y = stage->y_walk,
                                  .hits = hits[WA_STREAM_REFERENCE],
                                  .modes = modes,
                                  .packing = &c->batch->packing,
                                  .first_prompt = c->batch->first_prompt,
                                  .ways = ways,
                                  .first_obs = c->batch->first_obs}};
    if (c->lane != WA_NO_LANE)
        io[WA_STREAM_OWN] = (wa_walk_io){.x = stage->normed + c->lane * rows * hidden,
                                         .y = stage->y_own,
                                         .hits = hits[WA_STREAM_OWN],
                                         .modes = modes,
                                         .packing = &c->batch->packing,
                                         .first_prompt = c->batch->first_prompt,
                                         .first_obs = c->batch->first_obs};
    for (size_t i = 0; i < evaluations_of(c) && tells_experts; i++)
        io[i].routing = &stage->case_routing[i];
    wa_label label = WA_LABEL_NONE;
    WA_TRY(evaluate(c, io, &label, err));
    store_cost(c, label, modes);
    store_ways(c, ways);
    c->lead_failed =
        wa_stage_await_reference(stage, c->batch, c->layer, c->link, c->reference, err) != WA_OK;
    if (c->lead_failed)
        return err->status;

    WA_TIMED(stage, WA_PHASE_COMPARE, { store_outputs(c); });
    if (tells_experts)
        WA_TRY(wa_stage_compare_routing(c, err));
    WA_TRY(wa_stage_keep_walk(stage, c->batch, c->layer, c->index, err));
    if (!wa_case_serves(c->which, c->layer))
        return WA_OK;
    answer of[WA_STREAMS];
    for (int i = 0; i < WA_STREAMS; i++)
        of[i] = (answer){.x = io[i].x,
                         .y = io[i].y,
                         .hits = tells_experts ? stage->case_routing[i].expert : io[i].hits};
    hit_width = tells_experts ? c->weights.experts->chosen : hit_width;
    wa_status status;
    WA_TIMED(stage, WA_PHASE_KERNEL_CHECK, {
        status = measure_kernel(c, of, hit_width, err);
        if (status == WA_OK && c->which->decode)
            status = measure_decode(c, err);
    });
    return status;
}

wa_status wa_stage_compare(wa_stage *stage, const wa_stage_batch *batch, size_t layer,
                           wa_reference *reference, const wa_team_link *link, wa_error *err)
{
    size_t lane = stage->share.is_lead ? 1 : 0;
    begin_layer(stage, batch, layer);
    for (size_t i = 0; i < stage->audit->case_count; i++) {
        const wa_case *which = &stage->audit->cases[i];
        if (!stage->share.owns_case[i] || which->not_run != NULL)
            continue;
        wa_comparison c = {.stage = stage,
                           .batch = batch,
                           .reference = reference,
                           .link = link,
                           .which = which,
                           .index = i,
                           .layer = layer,
                           .lane = which->isolated ? WA_NO_LANE : lane++};
        wa_mark mark = wa_arena_mark(stage->arena);
        wa_status status = run_case(&c, err);
        wa_arena_release(stage->arena, mark);
        if (status != WA_OK)
            return c.lead_failed ? status : wa_note(err, "in case '%s'", c.which->name);
        WA_TRY(link->poll(link->context, err));
    }
    return WA_OK;
}

/* One rank's life: serve messages, start what may start, compute what has arrived. */
#define _DEFAULT_SOURCE
#include "engine/pipeline_private.h"

#include "base/signals.h"

#include <assert.h>
#include <time.h>

static_assert(sizeof(message_head) == 1024, "data after a head stay aligned");

static size_t prompt_starts(const wa_pipeline *p, size_t batch, size_t *start)
{
    const wa_batch *b = &p->input->plan->batches[batch];
    start[0] = 0;
    for (size_t i = 0; i < b->prompt_count; i++)
        start[i + 1] = start[i] + p->input->prompt_rows[b->first_prompt + i];
    return start[b->prompt_count];
}

wa_dims wa_pipeline_batch_dims(const wa_pipeline *p, size_t batch)
{
    wa_dims dims = p->input->dims;
    dims.rows = p->input->plan->batches[batch].rows;
    dims.prompts = p->input->plan->batches[batch].prompt_count;
    return dims;
}

bool wa_pipeline_has_encoding(const wa_pipeline *p, size_t batch)
{
    return batch == 0 && p->input->wants_encoding;
}

wa_status wa_pipeline_make_share(const wa_pipeline *p, int stage, int member, wa_arena *arena,
                                 wa_share *out, wa_error *err)
{
    const wa_plan *plan = p->input->plan;
    uint8_t *owns_case, *owns_vindex;
    WA_TRY(wa_arena_take(arena, p->input->dims.cases, 1, &owns_case, err));
    WA_TRY(wa_arena_take(arena, p->input->dims.vindexes, 1, &owns_vindex, err));
    for (size_t c = 0; c < p->input->dims.cases; c++)
        owns_case[c] = plan->case_member[c] == member;
    for (size_t v = 0; v < p->input->dims.vindexes; v++)
        owns_vindex[v] = plan->vindex_member[v] == member;
    *out = (wa_share){.first_layer = plan->stage_start[stage],
                      .layer_count = plan->stage_start[stage + 1] - plan->stage_start[stage],
                      .owns_case = owns_case,
                      .owns_vindex = owns_vindex,
                      .is_lead = member == 0,
                      .is_last_stage = stage == plan->grid.stages - 1};
    return WA_OK;
}

size_t wa_pipeline_results_bytes(const wa_pipeline *p, const wa_share *share, size_t batch)
{
    wa_dims dims = wa_pipeline_batch_dims(p, batch);
    wa_share mine = *share;
    mine.has_encoding = wa_pipeline_has_encoding(p, batch);
    return sizeof(message_head) + wa_share_bytes(&dims, &mine);
}

/* --- Slots ------------------------------------------------------------------------------------ */

static wa_status fill_slot(wa_pipeline *p, batch_slot *slot, size_t batch, wa_error *err)
{
    const wa_batch *b = &p->input->plan->batches[batch];
    size_t *start;
    WA_TRY(wa_arena_take(slot->arena, b->prompt_count + 1, sizeof *start, &start, err));
    size_t rows = prompt_starts(p, batch, start);
    slot->lanes_size =
        sizeof(message_head) + wa_stage_lanes(p->stage) * rows * p->hidden * sizeof(float);
    slot->results_size = wa_pipeline_results_bytes(p, &p->share, batch);
    WA_TRY(wa_arena_take(slot->arena, slot->lanes_size, 1, &slot->lanes, err));
    WA_TRY(wa_arena_take(slot->arena, slot->results_size, 1, &slot->results, err));
    WA_TRY(wa_block_open(slot->arena, wa_pipeline_batch_dims(p, batch), &slot->block, err));
    float *h = (float *)(void *)(slot->lanes + sizeof(message_head));
    slot->index = (int32_t)batch;
    slot->work = (wa_stage_batch){.rows = rows,
                                  .first_obs = b->first_obs,
                                  .first_prompt = b->first_prompt,
                                  .has_encoding = wa_pipeline_has_encoding(p, batch),
                                  .packing = {.start = start, .prompts = b->prompt_count},
                                  .ids = p->input->ids + b->first_obs,
                                  .h = h,
                                  .block = &slot->block};
    return WA_OK;
}

static wa_status start_slot(wa_pipeline *p, batch_slot *slot, size_t batch, wa_error *err)
{
    WA_TRY(fill_slot(p, slot, batch, err));
    slot->arriving = slot->leaving = slot->delivering = WA_TICKET_NONE;
    if (p->is_first)
        return WA_OK;
    int from = wa_plan_rank(p->input->plan, p->seat.group, p->seat.stage - 1, p->seat.member);
    return wa_comm_receive(p->input->comm, from, WA_TAG_RESIDUAL, slot->lanes, slot->lanes_size,
                           &slot->arriving, err);
}

/* Between two halves of a layer: messages, and whether this batch is still wanted. */
static wa_status poll_link(void *context, wa_error *err)
{
    wa_pipeline *p = context;
    WA_TRY(wa_pipeline_serve(p, err));
    if (p->computed >= p->keep)
        return wa_fail(err, WA_E_STOPPED, "abandoned");
    return WA_OK;
}

/* The stage's own work; a failure is the batch's, not the rank's: it travels on in the messages. */
static wa_status compute(wa_pipeline *p, batch_slot *slot, wa_error *err)
{
    wa_team_link link = {.context = p,
                         .publish = wa_pipeline_publish_reference,
                         .await = wa_pipeline_await_reference,
                         .poll = poll_link,
                         .spread = wa_spread_link(p)};
    if (p->computed >= p->keep)
        return wa_fail(err, WA_E_STOPPED, "not begun");
    if (p->is_first)
        WA_TRY(wa_stage_embed(p->stage, &slot->work, err));
    WA_TRY(wa_stage_run(p->stage, &slot->work, &link, err));
    if (p->is_last)
        WA_TRY(wa_stage_head(p->stage, &slot->work, &link, err));
    return WA_OK;
}

static wa_status send_results(wa_pipeline *p, batch_slot *slot, const wa_error *failure,
                              wa_error *err)
{
    message_head head = {.batch = slot->index, .error = *failure};
    memcpy(slot->results, &head, sizeof head);
    if (failure->status == WA_OK) {
        wa_share share = p->share;
        share.has_encoding = slot->work.has_encoding;
        double start = wa_clock();
        wa_share_pack(&slot->block, &share, slot->results + sizeof head);
        wa_stage_cost(p->stage)->seconds[WA_PHASE_GATHER] += wa_clock() - start;
    }
    const wa_plan *plan = p->input->plan;
    int writer = wa_plan_rank(plan, p->seat.group, plan->grid.stages - 1, 0);
    WA_TRY(wa_comm_send(p->input->comm, writer, WA_TAG_BLOCK, slot->results, slot->results_size,
                        &slot->delivering, err));
    if (p->is_last)
        return WA_OK;
    memcpy(slot->lanes, &head, sizeof head);
    int next = wa_plan_rank(plan, p->seat.group, p->seat.stage + 1, p->seat.member);
    return wa_comm_send(p->input->comm, next, WA_TAG_RESIDUAL, slot->lanes, slot->lanes_size,
                        &slot->leaving, err);
}

static wa_status run_slot(wa_pipeline *p, batch_slot *slot, wa_error *err)
{
    message_head head;
    memcpy(&head, slot->lanes, sizeof head);
    wa_error failure = head.error;
    WA_TRY(wa_references_start(p, slot, err));
    wa_pipeline_resume(p);
    p->computing = true;
    p->layers_before = wa_stage_steps(p->stage).layers;
    if (failure.status == WA_OK && compute(p, slot, &failure) == WA_OK)
        failure = (wa_error){.status = WA_OK};
    p->computing = false;
    if (failure.status == WA_E_MPI) {
        *err = failure; /* messages no longer travel: this is the rank's own end */
        return failure.status;
    }
    if (failure.status != WA_OK && head.error.status == WA_OK && wa_comm_size(p->input->comm) > 1 &&
        strstr(failure.text, "on rank ") == NULL)
        wa_note(&failure, "on rank %d of %d", wa_comm_rank(p->input->comm),
                wa_comm_size(p->input->comm));
    WA_TRY(wa_references_finish(p, &failure, err));
    WA_TRY(send_results(p, slot, &failure, err));
    return WA_OK;
}

/* --- Messages --------------------------------------------------------------------------------- */

static void obey(wa_pipeline *p)
{
    size_t value = (size_t)p->order.value;
    size_t begun = p->computed + (p->computing ? 1 : 0);
    p->progressed = true;
    switch ((order_kind)p->order.kind) {
    case ORDER_BATCH:
        p->asked = false;
        p->queue[p->queued++] = p->order.value;
        break;
    case ORDER_NO_MORE:
        p->asked = false;
        p->ended = true;
        break;
    case ORDER_STOP:
        /* What the lead of the first stage does not begin, no other rank of the group has begun;
         * the members of its team learn from its messages what that is. */
        value = p->is_first && p->share.is_lead && begun < value ? begun : value;
        p->keep = value < p->keep ? value : p->keep;
        break;
    case ORDER_CLOSE:
        p->closed = true;
        break;
    }
}

static wa_status serve_orders(wa_pipeline *p, wa_error *err)
{
    while (!p->closed && wa_comm_is_done(p->input->comm, &p->ordering)) {
        obey(p);
        if (!p->closed)
            WA_TRY(wa_comm_receive(p->input->comm, 0, WA_TAG_GRANT, &p->order, sizeof p->order,
                                   &p->ordering, err));
    }
    return WA_OK;
}

/* Leads of stages tell how far they are, now and then. */
static bool has_news(const wa_pipeline *p)
{
    static const double SECONDS = 0.25;
    return p->stage != NULL && p->share.is_lead &&
           wa_stage_steps(p->stage).layers != p->told.layers && wa_clock() - p->told_at >= SECONDS;
}

/* A signal may reach any one rank: rank 0 hears of it, and of nothing more after GOODBYE. */
static wa_status give_notice(wa_pipeline *p, wa_error *err)
{
    int heard = wa_signals_heard();
    if (wa_signal_is_urgent(heard))
        p->keep = 0;
    if (p->said_goodbye || (heard == p->noticed && !p->closed && !has_news(p)) ||
        !wa_comm_is_done(p->input->comm, &p->noticing))
        return WA_OK;
    p->notice.word = p->closed ? GOODBYE : heard != p->noticed ? heard : PROGRESS;
    if (p->stage != NULL && p->share.is_lead)
        p->notice.steps = p->told = wa_stage_steps(p->stage);
    p->told_at = wa_clock();
    p->said_goodbye = p->closed;
    p->noticed = heard;
    p->progressed = true;
    return wa_comm_send(p->input->comm, 0, WA_TAG_NOTICE, &p->notice, sizeof p->notice,
                        &p->noticing, err);
}

/* Will this rank be free for a batch that it has not been given yet, soon or now? */
static bool wants_batch(const wa_pipeline *p)
{
    size_t given = p->queued - p->computed;
    if (given == 0)
        return true;
    return given == 1 && p->computing &&
           (size_t)(wa_stage_steps(p->stage).layers - p->layers_before) >=
               wa_plan_asks_after(p->share.layer_count);
}

/* The lead of the first stage asks for a batch early enough to have one when it is free. */
static wa_status ask_for_batch(wa_pipeline *p, wa_error *err)
{
    if (!p->is_first || !p->share.is_lead || p->ended || p->asked || !wants_batch(p) ||
        !wa_comm_is_done(p->input->comm, &p->requesting))
        return WA_OK;
    p->asked = true;
    p->request = (int32_t)p->seat.group;
    return wa_comm_send(p->input->comm, 0, WA_TAG_REQUEST, &p->request, sizeof p->request,
                        &p->requesting, err);
}

/* Of the batch at a position of the queue. */
static batch_slot *slot_of(wa_pipeline *p, size_t position)
{
    return &p->slots[position % p->slot_count];
}

static wa_status serve_slots(wa_pipeline *p, wa_error *err)
{
    while (p->left < p->computed) {
        batch_slot *slot = slot_of(p, p->left);
        if (!wa_comm_is_done(p->input->comm, &slot->leaving) ||
            !wa_comm_is_done(p->input->comm, &slot->delivering))
            break;
        wa_arena_reset(slot->arena);
        p->left++;
        p->progressed = true;
    }
    while (p->started < p->queued && p->started - p->left < p->slot_count) {
        WA_TRY(start_slot(p, slot_of(p, p->started), (size_t)p->queue[p->started], err));
        p->started++;
        p->progressed = true;
    }
    return WA_OK;
}

wa_status wa_pipeline_serve(wa_pipeline *p, wa_error *err)
{
    WA_TRY(wa_comm_poll(p->input->comm, err));
    if (p->coordinator != NULL)
        WA_TRY(wa_coordinator_serve(p, err));
    WA_TRY(serve_orders(p, err));
    WA_TRY(give_notice(p, err));
    WA_TRY(serve_slots(p, err));
    WA_TRY(ask_for_batch(p, err));
    if (p->collector != NULL)
        WA_TRY(wa_collector_serve(p, err));
    if (p->spread != NULL)
        WA_TRY(wa_spread_serve(p, err));
    return WA_OK;
}

/* An idle rank has no stage, and nothing else to do. */
wait_start wa_pipeline_begin_wait(wa_pipeline *p)
{
    if (p->stage == NULL)
        return (wait_start){.at = 0.0};
    return (wait_start){.at = wa_cost_clock(wa_stage_cost(p->stage)),
                        .processor = wa_processor_clock() - p->lent_processor};
}

void wa_pipeline_end_wait(wa_pipeline *p, wait_start start)
{
    if (p->stage == NULL)
        return;
    wa_cost *cost = wa_stage_cost(p->stage);
    cost->seconds[WA_PHASE_WAIT] += wa_cost_clock(cost) - start.at;
    cost->processor -= wa_processor_clock() - p->lent_processor - start.processor;
}

/* Who has waited for long has time. */
static const struct timespec SHORT_REST = {.tv_nsec = 20000}, LONG_REST = {.tv_nsec = 200000};
enum { SHORT_RESTS = 20 };

void wa_pipeline_rest(wa_pipeline *p)
{
    if (p->progressed) {
        p->rests = 0;
    } else {
        if (p->core != NULL && !p->lends)
            wa_core_wait(p->core, true);
        p->lends = true;
        nanosleep(p->rests < SHORT_RESTS ? &SHORT_REST : &LONG_REST, NULL);
        p->rests++;
    }
    p->progressed = false;
}

void wa_pipeline_resume(wa_pipeline *p)
{
    if (p->core != NULL && p->lends)
        wa_core_wait(p->core, false);
    p->lends = false;
    p->rests = 0;
}

static bool is_done(wa_pipeline *p)
{
    return p->closed && p->left == p->queued && wa_comm_is_done(p->input->comm, &p->requesting) &&
           p->said_goodbye && wa_comm_is_done(p->input->comm, &p->noticing) &&
           wa_references_are_done(p) && wa_spread_is_done(p) &&
           (p->collector == NULL || wa_collector_is_done(p)) &&
           (p->coordinator == NULL || wa_coordinator_is_done(p));
}

static wa_status loop(wa_pipeline *p, wa_error *err)
{
    WA_TRY(wa_comm_receive(p->input->comm, 0, WA_TAG_GRANT, &p->order, sizeof p->order,
                           &p->ordering, err));
    WA_TRY(wa_spread_start(p, err));
    while (!is_done(p)) {
        wait_start start = wa_pipeline_begin_wait(p);
        WA_TRY(wa_pipeline_serve(p, err));
        batch_slot *slot = p->computed < p->started ? slot_of(p, p->computed) : NULL;
        if (slot != NULL && wa_comm_is_done(p->input->comm, &slot->arriving)) {
            WA_TRY(run_slot(p, slot, err));
            p->computed++;
            p->progressed = true;
        } else {
            wa_pipeline_rest(p);
            wa_pipeline_end_wait(p, start);
        }
    }
    return WA_OK;
}

/* What only ranks with work have. */
static wa_status open_seat(wa_pipeline *p, wa_error *err)
{
    const wa_pipeline_input *in = p->input;
    p->hidden = in->audit->model->hidden;
    p->is_first = p->seat.stage == 0;
    p->is_last = p->seat.stage == in->plan->grid.stages - 1;
    WA_TRY(wa_pipeline_make_share(p, p->seat.stage, p->seat.member, in->arena, &p->share, err));
    WA_TRY(wa_stage_open(in->audit, &p->share, in->arena, &p->stage, err));
    WA_TRY(wa_arena_take(in->arena, in->plan->batch_count + 1, sizeof *p->queue, &p->queue, err));
    p->slot_count = wa_plan_slots(&in->plan->grid, p->seat.stage, p->seat.member);
    for (size_t i = 0; i < p->slot_count; i++)
        WA_TRY(wa_arena_open_within(in->arena, "batch", &p->slots[i].arena, err));
    if (p->is_last && p->share.is_lead)
        WA_TRY(wa_collector_open(p, err));
    if (in->plan->grid.spread)
        WA_TRY(wa_spread_open(p, err));
    return WA_OK;
}

static wa_status open_pipeline(wa_pipeline *p, wa_error *err)
{
    const wa_pipeline_input *in = p->input;
    p->ordering = p->noticing = p->requesting = WA_TICKET_NONE;
    p->keep = SIZE_MAX;
    if (p->seat.group >= 0)
        WA_TRY(open_seat(p, err));
    if (wa_comm_rank(in->comm) == 0)
        WA_TRY(wa_coordinator_open(p, err));
    return WA_OK;
}

wa_status wa_pipeline_run(const wa_pipeline_input *input, wa_cost *cost, bool *fatal, wa_error *err)
{
    wa_pipeline p = {.input = input, .seat = wa_plan_seat(input->plan, wa_comm_rank(input->comm))};
    *fatal = false;
    wa_status status = open_pipeline(&p, err);
    /* A rank that cannot open its stage would leave its group waiting: all agree before the first
     * message. */
    status = wa_comm_agree(input->comm, status, err);
    if (status == WA_OK)
        status = wa_comm_agree(input->comm, wa_references_open(&p, err), err);
    if (status == WA_OK)
        status = wa_comm_agree(input->comm, wa_lending_open(&p, err), err);
    if (status == WA_OK)
        status = wa_comm_agree(input->comm, wa_comm_keep_moving(input->comm, err), err);
    double begun = wa_processor_clock();
    if (status == WA_OK) {
        status = loop(&p, err);
        *fatal = status != WA_OK;
    }
    wa_comm_rest(input->comm);
    if (status == WA_OK && p.coordinator != NULL)
        status = wa_coordinator_answer(&p, err);
    if (p.stage != NULL)
        *cost = *wa_stage_cost(p.stage);
    cost->processor += wa_processor_clock() - begun;
    cost->lent = wa_lending_close(&p);
    wa_stage_close(p.stage);
    for (int i = 0; i < SLOTS; i++)
        wa_arena_close(p.slots[i].arena);
    wa_collector_close(&p);
    wa_spread_close(&p);
    wa_references_close(&p);
    return status;
}

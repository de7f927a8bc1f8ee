/*
 * Experts spread over a team: rows travel, weights do not. Each member has a range of every layer's
 * experts. A lane's rank gathers the rows of each expert, asks every other member for what its
 * range makes of them, computes its own range meanwhile, and adds up what comes back in the order
 * in which it would have added its own. An ask is a head and its rows, an answer a head and as many
 * rows; between two ranks there is one at a time in each direction.
 */
#include "engine/pipeline_private.h"

/* LISTENING: its next ask may come. FETCHING: its rows do. ANSWERING: theirs leave. GONE: it has
 * said that it asks no more. */
typedef enum state { LISTENING, FETCHING, ANSWERING, GONE } state;

/* What goes before rows; `more` false: nothing goes, now or later. */
typedef struct ask {
    int32_t more;
    int32_t which, layer; /* case, -1 = the reference */
    uint64_t most;        /* rows that go through an expert together */
    uint64_t rows_of[];   /* [experts of the member that is asked] */
} ask;

/* Another member, as we ask it and as it asks us. */
typedef struct neighbour {
    int rank;
    size_t first, end; /* experts that it has */

    ask *ask; /* of us */
    wa_ticket asked, rows_left;
    message_head answer; /* to us */
    wa_ticket answered, rows_back;

    state state;
    ask *order;      /* of it */
    wa_arena *arena; /* owned: what one order needs */
    size_t *start;   /* [experts + 1] as in wa_expert_rows */
    float *x, *y;
    message_head reply; /* to it */
    wa_ticket ordered, fetched, replied, rows_gone;
} neighbour;

typedef struct spread {
    wa_pipeline *pipeline;
    neighbour *neighbours; /* [count] */
    size_t count;
    size_t experts;    /* of a layer */
    size_t first, end; /* that this rank has */
    bool is_over;      /* it has said that it asks no more */
    wa_expert_spread link;
} spread;

static size_t ask_bytes(size_t first, size_t end)
{
    return sizeof(ask) + (end - first) * sizeof(uint64_t);
}

/* --- We ask ----------------------------------------------------------------------------------- */

static wa_status ask_one(spread *s, neighbour *n, const wa_expert_rows *of, wa_error *err)
{
    wa_comm *comm = s->pipeline->input->comm;
    size_t hidden = of->layer->hidden, from = of->start[n->first];
    size_t rows = of->start[n->end] - from, bytes = rows * hidden * sizeof(float);
    if (rows == 0)
        return WA_OK;
    n->ask->more = 1;
    n->ask->which = wa_stage_case(s->pipeline->stage, of->which);
    n->ask->layer = (int32_t)of->layer->layer;
    n->ask->most = of->most;
    for (size_t e = n->first; e < n->end; e++)
        n->ask->rows_of[e - n->first] = of->start[e + 1] - of->start[e];
    WA_TRY(wa_comm_receive(comm, n->rank, WA_TAG_ANSWER, &n->answer, sizeof n->answer, &n->answered,
                           err));
    WA_TRY(wa_comm_receive(comm, n->rank, WA_TAG_ANSWER, of->y + from * hidden, bytes,
                           &n->rows_back, err));
    WA_TRY(wa_comm_send(comm, n->rank, WA_TAG_ASK, n->ask, ask_bytes(n->first, n->end), &n->asked,
                        err));
    return wa_comm_send(comm, n->rank, WA_TAG_ASK, of->x + from * hidden, bytes, &n->rows_left,
                        err);
}

static bool is_answered(spread *s, neighbour *n)
{
    wa_comm *comm = s->pipeline->input->comm;
    bool sent = wa_comm_is_done(comm, &n->asked) && wa_comm_is_done(comm, &n->rows_left);
    return wa_comm_is_done(comm, &n->answered) && wa_comm_is_done(comm, &n->rows_back) && sent;
}

/* Buffers are borrowed until then, so nothing but MPI's own failure ends it before. */
static wa_status await_answers(spread *s, wa_error *err)
{
    wait_start start = wa_pipeline_begin_wait(s->pipeline);
    for (size_t i = 0; i < s->count; i++)
        while (!is_answered(s, &s->neighbours[i])) {
            WA_TRY(wa_pipeline_serve(s->pipeline, err));
            wa_pipeline_rest(s->pipeline);
        }
    wa_pipeline_resume(s->pipeline);
    wa_pipeline_end_wait(s->pipeline, start);
    return WA_OK;
}

static wa_status feed(void *context, const wa_expert_rows *of, wa_error *err)
{
    spread *s = context;
    wa_stage *stage = s->pipeline->stage;
    for (size_t i = 0; i < s->count; i++) {
        s->neighbours[i].answer.error.status = WA_OK; /* of one that is not asked */
        WA_TRY(ask_one(s, &s->neighbours[i], of, err));
    }
    wa_status status = wa_stage_feed(stage, wa_stage_case(stage, of->which), of->layer->layer, of,
                                     s->first, s->end, err);
    wa_error broken;
    if (await_answers(s, &broken) != WA_OK) {
        *err = broken;
        return broken.status;
    }
    for (size_t i = 0; i < s->count && status == WA_OK; i++)
        if (s->neighbours[i].answer.error.status != WA_OK) {
            *err = s->neighbours[i].answer.error;
            status = err->status;
        }
    return status;
}

/* --- We are asked ----------------------------------------------------------------------------- */

static wa_status listen(spread *s, neighbour *n, wa_error *err)
{
    n->state = LISTENING;
    return wa_comm_receive(s->pipeline->input->comm, n->rank, WA_TAG_ASK, n->order,
                           ask_bytes(s->first, s->end), &n->ordered, err);
}

static wa_status fetch(spread *s, neighbour *n, wa_error *err)
{
    size_t floats;
    wa_arena_reset(n->arena); /* of a fetch that memory was short for */
    WA_TRY(wa_arena_take(n->arena, s->experts + 1, sizeof *n->start, &n->start, err));
    for (size_t e = s->first; e < s->end; e++)
        n->start[e + 1] = n->start[e] + n->order->rows_of[e - s->first];
    if (!wa_size_mul(n->start[s->end], s->pipeline->hidden, &floats))
        return wa_fail(err, WA_E_MEMORY, "%zu rows of %zu values overflow", n->start[s->end],
                       s->pipeline->hidden);
    WA_TRY(wa_arena_take_raw(n->arena, floats, sizeof *n->x, &n->x, err));
    WA_TRY(wa_arena_take_raw(n->arena, floats, sizeof *n->y, &n->y, err));
    n->state = FETCHING;
    return wa_comm_receive(s->pipeline->input->comm, n->rank, WA_TAG_ASK, n->x,
                           floats * sizeof *n->x, &n->fetched, err);
}

/* A failure is that of whoever asked: it is told, and the rows are zeros. */
static void compute(spread *s, neighbour *n)
{
    wa_cost *cost = wa_stage_cost(s->pipeline->stage);
    wa_phase phase = n->order->which < 0 ? WA_PHASE_DENSE_FFN : WA_PHASE_WALK_FFN;
    const wa_expert_rows rows = {.most = n->order->most, .start = n->start, .x = n->x, .y = n->y};
    double start = wa_cost_clock(cost), processor = wa_processor_clock();
    n->reply = (message_head){.error = {.status = WA_OK}};
    wa_pipeline_resume(s->pipeline);
    if (wa_stage_feed(s->pipeline->stage, n->order->which, (size_t)n->order->layer, &rows, s->first,
                      s->end, &n->reply.error) == WA_OK)
        n->reply.error.status = WA_OK;
    else
        memset(n->y, 0, n->start[s->end] * s->pipeline->hidden * sizeof *n->y);
    cost->seconds[phase] += wa_cost_clock(cost) - start;
    s->pipeline->lent_processor += wa_processor_clock() - processor;
}

static wa_status reply(spread *s, neighbour *n, wa_error *err)
{
    wa_comm *comm = s->pipeline->input->comm;
    size_t bytes = n->start[s->end] * s->pipeline->hidden * sizeof *n->y;
    n->state = ANSWERING;
    WA_TRY(
        wa_comm_send(comm, n->rank, WA_TAG_ANSWER, &n->reply, sizeof n->reply, &n->replied, err));
    return wa_comm_send(comm, n->rank, WA_TAG_ANSWER, n->y, bytes, &n->rows_gone, err);
}

/* One step of what a neighbour wants, where it can be made. */
static wa_status serve_neighbour(spread *s, neighbour *n, wa_error *err)
{
    wa_comm *comm = s->pipeline->input->comm;
    switch (n->state) {
    case LISTENING:
        if (!wa_comm_is_done(comm, &n->ordered))
            return WA_OK;
        s->pipeline->progressed = true;
        if (n->order->more)
            return fetch(s, n, err);
        n->state = GONE;
        return WA_OK;
    case FETCHING:
        if (!wa_comm_is_done(comm, &n->fetched))
            return WA_OK;
        s->pipeline->progressed = true;
        compute(s, n);
        return reply(s, n, err);
    case ANSWERING:
        if (!wa_comm_is_done(comm, &n->replied) || !wa_comm_is_done(comm, &n->rows_gone))
            return WA_OK;
        s->pipeline->progressed = true;
        wa_arena_reset(n->arena);
        return listen(s, n, err);
    case GONE:
        break;
    }
    return WA_OK;
}

/* No batch follows: nobody need listen to us any more. */
static wa_status say_over(spread *s, wa_error *err)
{
    s->is_over = true;
    for (size_t i = 0; i < s->count; i++) {
        neighbour *n = &s->neighbours[i];
        n->ask->more = 0;
        WA_TRY(wa_comm_send(s->pipeline->input->comm, n->rank, WA_TAG_ASK, n->ask,
                            ask_bytes(n->first, n->end), &n->asked, err));
    }
    return WA_OK;
}

wa_status wa_spread_serve(wa_pipeline *p, wa_error *err)
{
    spread *s = p->spread;
    for (size_t i = 0; i < s->count; i++)
        WA_TRY(serve_neighbour(s, &s->neighbours[i], err));
    if (p->closed && p->left == p->queued && !s->is_over)
        return say_over(s, err);
    return WA_OK;
}

bool wa_spread_is_done(wa_pipeline *p)
{
    bool all = true;
    for (size_t i = 0; p->spread != NULL && i < p->spread->count; i++) {
        neighbour *n = &p->spread->neighbours[i];
        all = p->spread->is_over && n->state == GONE &&
              wa_comm_is_done(p->input->comm, &n->asked) && all;
    }
    return all;
}

/* --- Start and end ---------------------------------------------------------------------------- */

static wa_status open_neighbour(spread *s, int member, neighbour *n, wa_error *err)
{
    const wa_pipeline *p = s->pipeline;
    wa_arena *arena = p->input->arena;
    *n = (neighbour){.rank = wa_plan_rank(p->input->plan, p->seat.group, p->seat.stage, member),
                     .asked = WA_TICKET_NONE,
                     .rows_left = WA_TICKET_NONE,
                     .answered = WA_TICKET_NONE,
                     .rows_back = WA_TICKET_NONE,
                     .ordered = WA_TICKET_NONE,
                     .fetched = WA_TICKET_NONE,
                     .replied = WA_TICKET_NONE,
                     .rows_gone = WA_TICKET_NONE};
    wa_plan_experts(p->input->plan, s->experts, member, &n->first, &n->end);
    WA_TRY(wa_arena_take(arena, ask_bytes(n->first, n->end), 1, &n->ask, err));
    WA_TRY(wa_arena_take(arena, ask_bytes(s->first, s->end), 1, &n->order, err));
    WA_TRY(wa_arena_open_within(arena, "rows of others", &n->arena, err));
    return WA_OK;
}

wa_status wa_spread_open(wa_pipeline *p, wa_error *err)
{
    const wa_model *model = p->input->audit->model;
    size_t teams = (size_t)p->input->plan->grid.teams;
    spread *s;
    WA_TRY(wa_arena_take(p->input->arena, 1, sizeof *s, &s, err));
    p->spread = s;
    s->pipeline = p;
    s->experts = model->layers[wa_model_expert_layer(model)].experts->count;
    s->link = (wa_expert_spread){.context = s, .feed = feed};
    wa_plan_experts(p->input->plan, s->experts, p->seat.member, &s->first, &s->end);
    WA_TRY(wa_arena_take(p->input->arena, teams, sizeof *s->neighbours, &s->neighbours, err));
    for (int member = 0; member < (int)teams; member++)
        if (member != p->seat.member) {
            WA_TRY(open_neighbour(s, member, &s->neighbours[s->count], err));
            s->count++;
        }
    return WA_OK;
}

wa_status wa_spread_start(wa_pipeline *p, wa_error *err)
{
    for (size_t i = 0; p->spread != NULL && i < p->spread->count; i++)
        WA_TRY(listen(p->spread, &p->spread->neighbours[i], err));
    return WA_OK;
}

void wa_spread_close(wa_pipeline *p)
{
    for (size_t i = 0; p->spread != NULL && i < p->spread->count; i++)
        wa_arena_close(p->spread->neighbours[i].arena);
}

const wa_expert_spread *wa_spread_link(const wa_pipeline *p)
{
    return p->spread == NULL ? NULL : &p->spread->link;
}

void wa_spread_count(const wa_plan *plan, size_t hidden, wa_traffic *out)
{
    const wa_grid *grid = &plan->grid;
    double heads = plan->spread_asks, ends = (double)(grid->used * (grid->teams - 1));
    double row = (double)(hidden * sizeof(float));
    if (!grid->spread)
        return;
    out->messages += (int64_t)(4.0 * heads + ends);
    out->bytes += (int64_t)(2.0 * row * plan->spread_rows +
                            heads * (double)(sizeof(ask) + sizeof(message_head)) +
                            ends * (double)sizeof(ask));
}

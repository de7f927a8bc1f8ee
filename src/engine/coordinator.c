/* Rank 0's other half: hands out the batches in order, on demand, hears of finished ones, and ends
 * a run early. */
#include "engine/pipeline_private.h"

#include "base/signals.h"

typedef struct group {
    int32_t request; /* receive buffer */
    wa_ticket requesting;
    bool asks;         /* it has asked, and was not answered yet */
    message_head done; /* receive buffer */
    wa_ticket finishing;
    order *orders;            /* [batches + 1] batches given to this group, then NO_MORE */
    size_t ordered, finished; /* batches: positions of its queue */
    size_t order_count;       /* batches, and NO_MORE when it was given */
    bool ended;
    size_t keep; /* what STOP says */
    /* What its batches take, measured. */
    double since; /* when it began the first of those under way */
    double seconds;
    size_t rows;
} group;

/* A rank hears of its group's orders one at a time, and may give notice at any time. */
typedef struct listener {
    order order; /* send buffer */
    wa_ticket ordering;
    size_t sent; /* of the group's orders */
    size_t told_keep;
    bool closed;
    notice notice; /* receive buffer */
    wa_ticket noticing;
    wa_steps steps;       /* that it told last */
    bool listening, gone; /* a receive was posted; it said goodbye */
} listener;

struct coordinator {
    group *groups;
    listener *listeners; /* [ranks] */
    size_t next_batch;
    size_t done, total;        /* prompts of the job */
    size_t added;              /* of the done those of this run */
    wa_steps steps, all_steps; /* of all ranks: told so far, and of all batches */
    wa_error failure;
    const char *reason; /* why it stops early; NULL = it does not */
    bool urgent;        /* abandon everything at once */
    bool judged;        /* it is decided which batches are finished yet */
    double began, stop_at;
};

static group *group_of(const wa_pipeline *p, int rank)
{
    int index = wa_plan_seat(p->input->plan, rank).group;
    return index < 0 ? NULL : &p->coordinator->groups[index];
}

static size_t under_way(const group *g)
{
    return g->ordered - g->finished;
}

wa_status wa_coordinator_open(wa_pipeline *p, wa_error *err)
{
    const wa_plan *plan = p->input->plan;
    wa_arena *arena = p->input->arena;
    size_t ranks = (size_t)wa_comm_size(p->input->comm);
    struct coordinator *c;
    WA_TRY(wa_arena_take(arena, 1, sizeof *c, &c, err));
    WA_TRY(wa_arena_take(arena, (size_t)plan->grid.groups, sizeof *c->groups, &c->groups, err));
    WA_TRY(wa_arena_take(arena, ranks, sizeof *c->listeners, &c->listeners, err));
    for (int i = 0; i < plan->grid.groups; i++) {
        group *g = &c->groups[i];
        g->requesting = g->finishing = WA_TICKET_NONE;
        g->keep = SIZE_MAX;
        WA_TRY(wa_arena_take(arena, plan->batch_count + 1, sizeof *g->orders, &g->orders, err));
    }
    for (size_t r = 0; r < ranks; r++) {
        c->listeners[r].ordering = c->listeners[r].noticing = WA_TICKET_NONE;
        c->listeners[r].told_keep = SIZE_MAX;
    }
    c->began = wa_clock();
    c->done = c->total = p->input->dims.prompts;
    for (size_t b = 0; b < plan->batch_count; b++)
        c->done -= plan->batches[b].prompt_count;
    for (size_t b = 0; b < plan->batch_count; b++) {
        c->all_steps.layers += (int64_t)p->input->dims.layers;
        c->all_steps.rows += (int64_t)(p->input->dims.layers * plan->batches[b].rows);
    }
    p->coordinator = c;
    return WA_OK;
}

/* --- Batches ---------------------------------------------------------------------------------- */

/* Answer a request with the next batch, or with the end. After a failure or a stop only the end is
 * given. */
static void answer(wa_pipeline *p, group *g)
{
    struct coordinator *c = p->coordinator;
    if (c->next_batch < p->input->plan->batch_count && c->failure.status == WA_OK &&
        c->reason == NULL) {
        if (under_way(g) == 0)
            g->since = wa_clock();
        g->orders[g->order_count++] = (order){ORDER_BATCH, (int32_t)c->next_batch++};
        g->ordered++;
    } else {
        g->orders[g->order_count++] = (order){.kind = ORDER_NO_MORE};
        g->ended = true;
    }
}

static const wa_batch *batch_at(const wa_pipeline *p, const group *g, size_t position)
{
    return &p->input->plan->batches[g->orders[position].value];
}

static void stop(struct coordinator *c, const char *reason, double grace)
{
    if (c->reason == NULL) {
        c->reason = reason;
        c->stop_at = wa_clock() + grace;
    }
}

static void tell_progress(const wa_pipeline *p)
{
    const struct coordinator *c = p->coordinator;
    bool is_done = c->done == c->total;
    wa_progress now = {.prompts = c->done,
                       .prompt_total = c->total,
                       .layers = (size_t)(is_done ? c->all_steps.layers : c->steps.layers),
                       .layer_total = (size_t)c->all_steps.layers,
                       .share = is_done ? 1.0 : (double)c->steps.rows / (double)c->all_steps.rows,
                       .parts = *p->input->parts_added};
    if (p->input->progress != NULL)
        p->input->progress(p->input->context, &now);
}

static void hear_of(wa_pipeline *p, group *g)
{
    struct coordinator *c = p->coordinator;
    double now = wa_clock();
    const wa_batch *batch = batch_at(p, g, g->finished++);
    if (g->done.error.status == WA_E_STOPPED) {
        /* abandoned by a rank whose own notice is on its way */
        c->urgent = c->urgent || c->reason == NULL;
        stop(c, "SIGTERM", 0.0);
        return;
    }
    if (g->done.error.status != WA_OK) {
        if (c->failure.status == WA_OK)
            c->failure = g->done.error;
        return;
    }
    g->seconds += now - g->since;
    g->since = now;
    g->rows += batch->rows;
    c->done += batch->prompt_count;
    c->added += batch->prompt_count;
    ++*p->input->parts_added;
    tell_progress(p);
}

/* --- Stopping early --------------------------------------------------------------------------- */

/* How many batches of its queue a group finishes in time, at the rate it had so far; all when it
 * has finished none. */
static size_t fitting(const wa_pipeline *p, const group *g, double until)
{
    size_t keep = g->finished;
    double at = g->since;
    if (g->rows == 0)
        return g->ordered;
    while (keep < g->ordered) {
        at += g->seconds / (double)g->rows * (double)batch_at(p, g, keep)->rows;
        if (at > until)
            break;
        keep++;
    }
    return keep;
}

static void heed(wa_pipeline *p, int signal_number)
{
    struct coordinator *c = p->coordinator;
    stop(c, wa_signal_name(signal_number), p->input->grace);
    wa_signals_pass_on(signal_number); /* so that no further audit begins */
    c->urgent = c->urgent || wa_signal_is_urgent(signal_number);
}

/* Decide when the stop is asked for which batches fit, and when time is up that none does. */
static void judge_time(wa_pipeline *p)
{
    struct coordinator *c = p->coordinator;
    double now = wa_clock();
    if (p->input->deadline != 0.0 && now >= p->input->deadline)
        stop(c, "--max-time", p->input->grace);
    if (c->reason == NULL)
        return;
    bool up = c->urgent || now >= c->stop_at;
    for (int i = 0; i < p->input->plan->grid.groups; i++) {
        group *g = &c->groups[i];
        if (up)
            g->keep = 0;
        else if (!c->judged)
            g->keep = fitting(p, g, c->stop_at);
    }
    c->judged = true;
}

/* --- Messages --------------------------------------------------------------------------------- */

static bool is_closing(const wa_pipeline *p)
{
    for (int i = 0; i < p->input->plan->grid.groups; i++) {
        const group *g = &p->coordinator->groups[i];
        if (!g->ended || under_way(g) > 0)
            return false;
    }
    return true;
}

/* Groups ask for a batch ahead of time, and nobody is answered while rank 0 computes: so nobody
 * gets two batches before everybody has one, and rank 0's own group begins last. */
static bool may_have_one(const wa_pipeline *p, const group *g)
{
    const group *groups = p->coordinator->groups;
    if (g->order_count == 0 && g != groups)
        return true;
    for (int i = 0; i < p->input->plan->grid.groups; i++)
        if (&groups[i] != g && groups[i].order_count == 0)
            return false;
    return true;
}

static wa_status serve_group(wa_pipeline *p, int index, wa_error *err)
{
    group *g = &p->coordinator->groups[index];
    const wa_plan *plan = p->input->plan;
    wa_comm *comm = p->input->comm;
    if (g->requesting != WA_TICKET_NONE && wa_comm_is_done(comm, &g->requesting))
        g->asks = true;
    if (g->asks && may_have_one(p, g)) {
        g->asks = false;
        answer(p, g);
    }
    if (g->finishing != WA_TICKET_NONE && wa_comm_is_done(comm, &g->finishing))
        hear_of(p, g);
    if (g->requesting == WA_TICKET_NONE && !g->asks && !g->ended)
        WA_TRY(wa_comm_receive(comm, wa_plan_rank(plan, index, 0, 0), WA_TAG_REQUEST, &g->request,
                               sizeof g->request, &g->requesting, err));
    if (g->finishing == WA_TICKET_NONE && under_way(g) > 0)
        WA_TRY(wa_comm_receive(comm, wa_plan_rank(plan, index, plan->grid.stages - 1, 0),
                               WA_TAG_DONE, &g->done, sizeof g->done, &g->finishing, err));
    return WA_OK;
}

/* The next order for a rank; false when there is none. */
static bool next_order(listener *l, const group *g, bool closing, order *out)
{
    if (g != NULL && g->keep < l->told_keep) {
        l->told_keep = g->keep;
        *out = (order){ORDER_STOP, (int32_t)g->keep};
    } else if (g != NULL && l->sent < g->order_count) {
        *out = g->orders[l->sent++];
    } else if (closing && !l->closed) {
        l->closed = true;
        *out = (order){.kind = ORDER_CLOSE};
    } else {
        return false;
    }
    return true;
}

static wa_status serve_listener(wa_pipeline *p, int rank, bool closing, wa_error *err)
{
    listener *l = &p->coordinator->listeners[rank];
    wa_comm *comm = p->input->comm;
    order next;
    while (wa_comm_is_done(comm, &l->ordering) &&
           next_order(l, group_of(p, rank), closing, &next)) {
        l->order = next;
        p->progressed = true;
        WA_TRY(
            wa_comm_send(comm, rank, WA_TAG_GRANT, &l->order, sizeof l->order, &l->ordering, err));
    }
    return WA_OK;
}

/* A rank's steps only grow: the last that it told are all. */
static void note_steps(struct coordinator *c, listener *l)
{
    c->steps.layers += l->notice.steps.layers - l->steps.layers;
    c->steps.rows += l->notice.steps.rows - l->steps.rows;
    l->steps = l->notice.steps;
}

static wa_status hear_listener(wa_pipeline *p, int rank, wa_error *err)
{
    listener *l = &p->coordinator->listeners[rank];
    wa_comm *comm = p->input->comm;
    if (l->gone || (l->listening && !wa_comm_is_done(comm, &l->noticing)))
        return WA_OK;
    if (l->listening) {
        p->progressed = true;
        note_steps(p->coordinator, l);
        l->gone = l->notice.word == GOODBYE;
        if (l->gone)
            return WA_OK;
        if (l->notice.word != PROGRESS)
            heed(p, (int)l->notice.word);
    }
    l->listening = true;
    return wa_comm_receive(comm, rank, WA_TAG_NOTICE, &l->notice, sizeof l->notice, &l->noticing,
                           err);
}

wa_status wa_coordinator_serve(wa_pipeline *p, wa_error *err)
{
    int ranks = wa_comm_size(p->input->comm);
    if (p->input->beat != NULL)
        p->input->beat(p->input->context);
    for (int r = 0; r < ranks; r++)
        WA_TRY(hear_listener(p, r, err));
    judge_time(p);
    tell_progress(p);
    for (int i = 0; i < p->input->plan->grid.groups; i++)
        WA_TRY(serve_group(p, i, err));
    bool closing = is_closing(p);
    for (int r = 0; r < ranks; r++)
        WA_TRY(serve_listener(p, r, closing, err));
    return WA_OK;
}

bool wa_coordinator_is_done(const wa_pipeline *p)
{
    struct coordinator *c = p->coordinator;
    for (int r = 0; r < wa_comm_size(p->input->comm); r++)
        if (!c->listeners[r].gone || !wa_comm_is_done(p->input->comm, &c->listeners[r].ordering))
            return false;
    return true;
}

wa_status wa_coordinator_answer(const wa_pipeline *p, wa_error *err)
{
    const struct coordinator *c = p->coordinator;
    double seconds = wa_clock() - c->began;
    /* it may be back when the command is given again */
    if (c->failure.status == WA_E_AWAY && *p->input->parts_added > 0) {
        *err = c->failure;
        err->status = WA_E_STOPPED;
        return wa_note(err, "%zu of %zu prompts are done, %zu of them by this run in %.1f s; %s",
                       c->done, c->total, c->added, seconds, p->input->goes_on);
    }
    if (c->failure.status != WA_OK) {
        *err = c->failure;
        return c->failure.status;
    }
    if (c->done == c->total)
        return WA_OK;
    if (*p->input->parts_added == 0)
        return wa_fail(
            err, WA_E_NO_PROGRESS,
            "stopped by %s before this run had any batch done: one takes more than %.1f s; give "
            "more time or a smaller batch.rows",
            c->reason, seconds);
    return wa_fail(
        err, WA_E_STOPPED,
        "stopped by %s with %zu of %zu prompts done, %zu of them by this run in %.1f s; %s",
        c->reason, c->done, c->total, c->added, seconds, p->input->goes_on);
}

/* Rank 0's other half: hands out the missing batches in order, on demand, and hears of finished ones. */
#include "engine/pipeline_private.h"

typedef struct group {
    int32_t request;      /* receive buffer */
    wa_ticket requesting;
    message_head done;    /* receive buffer */
    wa_ticket finishing;
    int32_t *grants;      /* [batches + 1] batches given to this group, then NO_MORE */
    size_t granted;
    bool ended;
    size_t outstanding;   /* granted, not yet heard of */
} group;

/* A rank hears of its group's grants one at a time. */
typedef struct listener {
    size_t sent;
    wa_ticket ticket;
} listener;

struct coordinator {
    group *groups;
    listener *listeners; /* [used ranks] */
    size_t next_batch, done, total;
    wa_error failure;
};

static wa_status listen_to(wa_pipeline *p, int group_index, wa_error *err)
{
    group *g = &p->coordinator->groups[group_index];
    const wa_plan *plan = p->input->plan;
    int lead = wa_plan_rank(plan, group_index, 0, 0);
    int writer = wa_plan_rank(plan, group_index, plan->grid.stages - 1, 0);
    if (g->requesting == WA_TICKET_NONE && !g->ended)
        WA_TRY(wa_comm_receive(p->input->comm, lead, WA_TAG_REQUEST, &g->request, sizeof g->request,
                               &g->requesting, err));
    if (g->finishing == WA_TICKET_NONE && g->outstanding > 0)
        WA_TRY(wa_comm_receive(p->input->comm, writer, WA_TAG_DONE, &g->done, sizeof g->done,
                               &g->finishing, err));
    return WA_OK;
}

wa_status coordinator_open(wa_pipeline *p, wa_error *err)
{
    const wa_plan *plan = p->input->plan;
    wa_arena *arena = p->input->arena;
    struct coordinator *c;
    WA_TRY(wa_arena_take(arena, 1, sizeof *c, &c, err));
    WA_TRY(wa_arena_take(arena, (size_t)plan->grid.groups, sizeof *c->groups, &c->groups, err));
    WA_TRY(wa_arena_take(arena, (size_t)plan->grid.used, sizeof *c->listeners, &c->listeners, err));
    for (int g = 0; g < plan->grid.groups; g++) {
        c->groups[g].requesting = c->groups[g].finishing = WA_TICKET_NONE;
        WA_TRY(wa_arena_take(arena, plan->batch_count + 1, sizeof *c->groups[g].grants,
                             &c->groups[g].grants, err));
    }
    for (int r = 0; r < plan->grid.used; r++)
        c->listeners[r].ticket = WA_TICKET_NONE;
    c->total = plan->batch_count;
    for (size_t b = 0; b < c->total; b++)
        c->done += p->input->batch_done[b];
    p->coordinator = c;
    return WA_OK;
}

/* Answer a request with the next batch that has no part, or with the end. After a failure only the end is given. */
static void answer(wa_pipeline *p, group *g)
{
    struct coordinator *c = p->coordinator;
    while (c->next_batch < c->total && p->input->batch_done[c->next_batch])
        c->next_batch++;
    if (c->next_batch < c->total && c->failure.status == WA_OK) {
        g->grants[g->granted++] = (int32_t)c->next_batch++;
        g->outstanding++;
    } else {
        g->grants[g->granted++] = NO_MORE;
        g->ended = true;
    }
}

static void hear_of(wa_pipeline *p, group *g)
{
    struct coordinator *c = p->coordinator;
    g->outstanding--;
    if (g->done.error.status != WA_OK) {
        if (c->failure.status == WA_OK)
            c->failure = g->done.error;
        return;
    }
    c->done++;
    if (p->input->batch_finished != NULL)
        p->input->batch_finished(p->input->context, c->done, c->total);
}

static wa_status tell_ranks(wa_pipeline *p, wa_error *err)
{
    struct coordinator *c = p->coordinator;
    for (int r = 0; r < p->input->plan->grid.used; r++) {
        listener *l = &c->listeners[r];
        group *g = &c->groups[wa_plan_seat(p->input->plan, r).group];
        while (l->sent < g->granted && wa_comm_is_done(p->input->comm, &l->ticket)) {
            WA_TRY(wa_comm_send(p->input->comm, r, WA_TAG_GRANT, &g->grants[l->sent],
                                sizeof *g->grants, &l->ticket, err));
            l->sent++;
            p->progressed = true;
        }
    }
    return WA_OK;
}

wa_status coordinator_serve(wa_pipeline *p, wa_error *err)
{
    struct coordinator *c = p->coordinator;
    if (p->input->beat != NULL)
        p->input->beat(p->input->context);
    for (int i = 0; i < p->input->plan->grid.groups; i++) {
        group *g = &c->groups[i];
        bool was_requesting = g->requesting != WA_TICKET_NONE;
        bool was_finishing = g->finishing != WA_TICKET_NONE;
        if (was_requesting && wa_comm_is_done(p->input->comm, &g->requesting))
            answer(p, g);
        if (was_finishing && wa_comm_is_done(p->input->comm, &g->finishing))
            hear_of(p, g);
        WA_TRY(listen_to(p, i, err));
    }
    return tell_ranks(p, err);
}

bool coordinator_is_done(const wa_pipeline *p)
{
    const struct coordinator *c = p->coordinator;
    for (int i = 0; i < p->input->plan->grid.groups; i++)
        if (!c->groups[i].ended || c->groups[i].outstanding > 0)
            return false;
    for (int r = 0; r < p->input->plan->grid.used; r++) {
        const group *g = &c->groups[wa_plan_seat(p->input->plan, r).group];
        if (c->listeners[r].sent < g->granted || !wa_comm_is_done(p->input->comm, &c->listeners[r].ticket))
            return false;
    }
    return true;
}

const wa_error *coordinator_failure(const wa_pipeline *p)
{
    return &p->coordinator->failure;
}

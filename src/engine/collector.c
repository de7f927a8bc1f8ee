/* The writer of a group: gathers every rank's share of a batch, writes its part, tells rank 0. */
#include "engine/pipeline_private.h"

#include "store/store.h"

/* One batch being gathered. */
typedef struct entry {
    wa_arena *arena; /* owned */
    wa_block block;
    size_t missing; /* shares still to come */
    wa_error error; /* of the first share that failed */
} entry;

/* One rank of the group, whose shares arrive in queue order. */
typedef struct source {
    int rank;
    wa_share share;
    uint8_t *message;
    wa_ticket ticket;
    size_t next; /* position in the queue of the share being received */
    bool posted;
} source;

/* A note to rank 0, in flight. */
typedef struct note {
    message_head head;
    wa_ticket ticket;
} note;

struct collector {
    source *sources;
    size_t source_count;
    entry *entries; /* ring by position */
    note *notes;    /* one per entry */
    size_t depth;
    size_t opened, finished; /* positions in the queue */
};

static size_t largest_message(const wa_pipeline *p, const wa_share *share)
{
    size_t largest = 0;
    for (size_t b = 0; b < p->input->plan->batch_count; b++) {
        size_t size = wa_pipeline_results_bytes(p, share, b);
        largest = size > largest ? size : largest;
    }
    return largest;
}

wa_status wa_collector_open(wa_pipeline *p, wa_error *err)
{
    const wa_plan *plan = p->input->plan;
    wa_arena *arena = p->input->arena;
    struct collector *c;
    WA_TRY(wa_arena_take(arena, 1, sizeof *c, &c, err));
    c->source_count = (size_t)(plan->grid.stages * plan->grid.teams);
    c->depth = wa_plan_gathered(&plan->grid);
    if (c->depth > plan->batch_count)
        c->depth = plan->batch_count == 0 ? 1 : plan->batch_count;
    WA_TRY(wa_arena_take(arena, c->source_count, sizeof *c->sources, &c->sources, err));
    WA_TRY(wa_arena_take(arena, c->depth, sizeof *c->entries, &c->entries, err));
    WA_TRY(wa_arena_take(arena, c->depth, sizeof *c->notes, &c->notes, err));
    for (size_t i = 0; i < c->depth; i++) {
        WA_TRY(wa_arena_open_within(arena, "gathered batch", &c->entries[i].arena, err));
        c->notes[i].ticket = WA_TICKET_NONE;
    }
    for (size_t i = 0; i < c->source_count; i++) {
        int stage = (int)i / plan->grid.teams;
        int member = (int)i % plan->grid.teams;
        source *s = &c->sources[i];
        s->rank = wa_plan_rank(plan, p->seat.group, stage, member);
        s->ticket = WA_TICKET_NONE;
        WA_TRY(wa_pipeline_make_share(p, stage, member, arena, &s->share, err));
        WA_TRY(wa_arena_take(arena, largest_message(p, &s->share), 1, &s->message, err));
    }
    p->collector = c;
    return WA_OK;
}

/* Open entries for granted batches while there is room; a note still in flight keeps its place. */
static wa_status open_entries(wa_pipeline *p, struct collector *c, wa_error *err)
{
    while (c->opened < p->queued && c->opened - c->finished < c->depth &&
           wa_comm_is_done(p->input->comm, &c->notes[c->opened % c->depth].ticket)) {
        entry *e = &c->entries[c->opened % c->depth];
        wa_arena_reset(e->arena);
        WA_TRY(wa_block_open(e->arena, wa_pipeline_batch_dims(p, (size_t)p->queue[c->opened]),
                             &e->block, err));
        e->missing = c->source_count;
        e->error = (wa_error){.status = WA_OK};
        c->opened++;
    }
    return WA_OK;
}

static void take_share(wa_pipeline *p, struct collector *c, source *s)
{
    entry *e = &c->entries[s->next % c->depth];
    message_head head;
    memcpy(&head, s->message, sizeof head);
    if (head.error.status == WA_OK) {
        wa_share share = s->share;
        share.has_encoding = wa_pipeline_has_encoding(p, (size_t)p->queue[s->next]);
        double start = wa_clock();
        wa_share_unpack(&e->block, &share, s->message + sizeof head);
        wa_stage_cost(p->stage)->seconds[WA_PHASE_GATHER] += wa_clock() - start;
    } else if (e->error.status == WA_OK) {
        e->error = head.error;
    }
    e->missing--;
    s->next++;
    s->posted = false;
    p->progressed = true;
}

static wa_status serve_source(wa_pipeline *p, struct collector *c, source *s, wa_error *err)
{
    if (s->posted && wa_comm_is_done(p->input->comm, &s->ticket))
        take_share(p, c, s);
    if (s->posted || s->next >= c->opened)
        return WA_OK;
    size_t size = wa_pipeline_results_bytes(p, &s->share, (size_t)p->queue[s->next]);
    s->posted = true;
    return wa_comm_receive(p->input->comm, s->rank, WA_TAG_BLOCK, s->message, size, &s->ticket,
                           err);
}

/* A complete batch becomes a part, or its failure becomes the note. */
static wa_status finish_entry(wa_pipeline *p, struct collector *c, wa_error *err)
{
    entry *e = &c->entries[c->finished % c->depth];
    note *n = &c->notes[c->finished % c->depth];
    size_t batch = (size_t)p->queue[c->finished];
    double start = wa_clock();
    if (e->error.status == WA_OK &&
        wa_part_write(p->input->result_path, &p->input->plan->batches[batch], p->input->mark,
                      &e->block, wa_pipeline_has_encoding(p, batch), &e->error) == WA_OK)
        e->error = (wa_error){.status = WA_OK};
    wa_stage_cost(p->stage)->seconds[WA_PHASE_WRITE] += wa_clock() - start;
    n->head = (message_head){.batch = (int32_t)batch, .error = e->error};
    wa_arena_reset(e->arena);
    c->finished++;
    p->progressed = true;
    return wa_comm_send(p->input->comm, 0, WA_TAG_DONE, &n->head, sizeof n->head, &n->ticket, err);
}

wa_status wa_collector_serve(wa_pipeline *p, wa_error *err)
{
    struct collector *c = p->collector;
    WA_TRY(open_entries(p, c, err));
    for (size_t i = 0; i < c->source_count; i++)
        WA_TRY(serve_source(p, c, &c->sources[i], err));
    while (c->finished < c->opened && c->entries[c->finished % c->depth].missing == 0)
        WA_TRY(finish_entry(p, c, err));
    return WA_OK;
}

bool wa_collector_is_done(wa_pipeline *p)
{
    struct collector *c = p->collector;
    bool all = c->finished == p->queued;
    for (size_t i = 0; i < c->depth; i++)
        all = wa_comm_is_done(p->input->comm, &c->notes[i].ticket) && all;
    return all;
}

void wa_collector_close(wa_pipeline *p)
{
    if (p->collector == NULL)
        return;
    for (size_t i = 0; i < p->collector->depth; i++)
        wa_arena_close(p->collector->entries[i].arena);
}

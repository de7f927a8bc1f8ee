/* What the files of the pipeline share: one rank's state. */
#ifndef WALKAUDIT_ENGINE_PIPELINE_PRIVATE_H
#define WALKAUDIT_ENGINE_PIPELINE_PRIVATE_H

#include "compute/crew.h"
#include "engine/pipeline.h"
#include "path/evaluate.h"

/* Every message starts with this: which batch, and how the sender fared. 1 KiB, so that data after
 * it stay aligned. */
typedef struct message_head {
    int32_t batch;
    wa_error error; /* error.status WA_OK: all well */
    char padding[1024 - 4 - sizeof(wa_error)];
} message_head;

/* SLOTS: the most that wa_plan_slots answers. REFERENCES_AHEAD: messages a member has receives
 * for. */
enum { SLOTS = 3, REFERENCES_AHEAD = 2 };

/*
 * What rank 0 tells every rank, in order. BATCH: the next of your group. NO_MORE: your group gets
 * no other. STOP: batches from this position of the queue on are abandoned at the next layer, and
 * what has not begun does not begin. CLOSE: no batch of any group is under way, and nothing
 * follows; it is answered by GOODBYE.
 */
typedef enum order_kind { ORDER_BATCH, ORDER_NO_MORE, ORDER_STOP, ORDER_CLOSE } order_kind;
typedef struct order {
    int32_t kind, value;
} order;
/* What every rank tells rank 0: the number of a signal it got, how far it is, or that it has
 * nothing more to tell. */
enum { GOODBYE = 0, PROGRESS = -1 };
typedef struct notice {
    int64_t word;   /* GOODBYE, PROGRESS or a signal */
    wa_steps steps; /* of a lead of a stage so far; of others nothing */
} notice;

/* One batch on this rank. */
typedef struct batch_slot {
    wa_arena *arena; /* owned: all of the batch's memory, from its start until it has left */
    int32_t index;   /* in the plan */
    wa_stage_batch work;
    wa_block block;
    uint8_t *lanes; /* message: head, then h [lanes][rows][H] */
    size_t lanes_size;
    uint8_t *results; /* message: head, then this rank's share of the block */
    size_t results_size;
    wa_ticket arriving, leaving, delivering;
} batch_slot;

/* A message buffer on its way between a lead and its team. */
typedef struct reference_buffer {
    uint8_t *bytes;
    wa_ticket *tickets; /* lead: [teams - 1]; member: [1] */
} reference_buffer;

struct collector;
struct coordinator;
struct spread;

typedef struct wa_pipeline {
    const wa_pipeline_input *input;
    wa_seat seat;
    wa_share share;
    wa_stage *stage;
    size_t hidden;
    bool is_first, is_last;

    int32_t *queue; /* batches granted to this group, in order */
    size_t queued;
    bool ended;  /* no further batch will come */
    size_t keep; /* the batch at this position and later ones are abandoned */
    bool closed; /* rank 0 has said its last */
    order order; /* receive buffer */
    wa_ticket ordering;
    notice notice; /* send buffer */
    wa_ticket noticing;
    int noticed;    /* the signal that rank 0 knows of */
    wa_steps told;  /* what rank 0 knows of this rank, */
    double told_at; /* and since when */
    bool said_goodbye;
    int32_t request; /* send buffer */
    wa_ticket requesting;
    bool asked; /* a request is unanswered */

    batch_slot slots[SLOTS];
    size_t slot_count; /* used of them */
    /* positions in the queue: slot taken, stage run, slot free again */
    size_t started, computed, left;
    bool computing;        /* the batch at `computed` has begun */
    int64_t layers_before; /* that the stage had run when it began */

    /* the reference in memory that the team shares; none: by messages, in the buffers below */
    wa_ring ring;
    bool reference_held; /* a member reads what it last took of the ring */
    reference_buffer *references;
    size_t reference_count;                                   /* buffers */
    size_t reference_sent, reference_posted, reference_taken; /* of the current batch */
    const batch_slot *reference_slot;

    /* Cores of this host by their ranks, this one's among them; NULL = not told. And threads there. */
    wa_ring board;
    wa_core *cores, *core;
    wa_crew *crew;
    bool lends; /* core is said to be free */
    int rests;  /* one after another, nothing having happened */

    struct collector *collector;     /* lead of the last stage */
    struct coordinator *coordinator; /* rank 0 */
    struct spread *spread;           /* NULL = each rank computes all experts that its lanes take */
    double lent_processor;           /* seconds of the rank's own thread for rows of others */
    bool progressed;                 /* something happened since the last look */
} wa_pipeline;

/* Dimensions of one batch's block. */
wa_dims wa_pipeline_batch_dims(const wa_pipeline *p, size_t batch);
/* Does this batch carry the row errors, which are of no prompt? One does, unless a kept part has
 * them. */
bool wa_pipeline_has_encoding(const wa_pipeline *p, size_t batch);
/* The share of a seat of this group. owns_case and owns_vindex are taken from `arena`. */
WA_CHECKED wa_status wa_pipeline_make_share(const wa_pipeline *p, int stage, int member,
                                            wa_arena *arena, wa_share *out, wa_error *err);
size_t wa_pipeline_results_bytes(const wa_pipeline *p, const wa_share *share, size_t batch);

/* Serve every kind of message once; never blocks. */
WA_CHECKED wa_status wa_pipeline_serve(wa_pipeline *p, wa_error *err);
/* Time from here on is waiting, less what serving meanwhile charges to other phases. */
typedef struct wait_start {
    double at, processor;
} wait_start;
wait_start wa_pipeline_begin_wait(wa_pipeline *p);
void wa_pipeline_end_wait(wa_pipeline *p, wait_start start);
/* Give the processor away for a moment when nothing happened; from then on others on this host may
 * multiply there, until wa_pipeline_resume. */
void wa_pipeline_rest(wa_pipeline *p);
void wa_pipeline_resume(wa_pipeline *p);
/* Collective over all ranks. Where the host has no shared memory, or products are BLAS's, nobody
 * lends. */
WA_CHECKED wa_status wa_lending_open(wa_pipeline *p, wa_error *err);
/* Returns the seconds of a processor that others' cores gave. */
double wa_lending_close(wa_pipeline *p);

/* Collective over all ranks, those without a seat too. */
WA_CHECKED wa_status wa_references_open(wa_pipeline *p, wa_error *err);
void wa_references_close(wa_pipeline *p);
WA_CHECKED wa_status wa_references_start(wa_pipeline *p, const batch_slot *slot, wa_error *err);
WA_CHECKED wa_status wa_references_finish(wa_pipeline *p, const wa_error *failure, wa_error *err);
wa_status wa_pipeline_publish_reference(void *context, size_t layer, const wa_reference *reference,
                                        wa_error *err);
wa_status wa_pipeline_await_reference(void *context, size_t layer, wa_reference *out,
                                      wa_error *err);
bool wa_references_are_done(wa_pipeline *p);

/*
 * Experts spread over a team: a member computes its own share of them for the rows of all, whenever
 * it serves messages. A rank that waits for its rows serves others meanwhile; so whoever asks is
 * answered, after a failure too, until all members have said that they ask no more.
 */
WA_CHECKED wa_status wa_spread_open(wa_pipeline *p, wa_error *err);
/* After all ranks have opened theirs: the first messages. */
WA_CHECKED wa_status wa_spread_start(wa_pipeline *p, wa_error *err);
WA_CHECKED wa_status wa_spread_serve(wa_pipeline *p, wa_error *err);
bool wa_spread_is_done(wa_pipeline *p);
void wa_spread_close(wa_pipeline *p);
/* Add to a forecast what this takes, every expert being chosen equally often. */
void wa_spread_count(const wa_plan *plan, size_t hidden, wa_traffic *out);
/* For a stage; NULL where `spread` is. */
const wa_expert_spread *wa_spread_link(const wa_pipeline *p);

WA_CHECKED wa_status wa_collector_open(wa_pipeline *p, wa_error *err);
WA_CHECKED wa_status wa_collector_serve(wa_pipeline *p, wa_error *err);
bool wa_collector_is_done(wa_pipeline *p);
void wa_collector_close(wa_pipeline *p);

WA_CHECKED wa_status wa_coordinator_open(wa_pipeline *p, wa_error *err);
WA_CHECKED wa_status wa_coordinator_serve(wa_pipeline *p, wa_error *err);
bool wa_coordinator_is_done(const wa_pipeline *p);
/* How it ended: WA_OK when every batch has its part, else the story of the first that failed, or of
 * the early stop. */
WA_CHECKED wa_status wa_coordinator_answer(const wa_pipeline *p, wa_error *err);

#endif

/* The reference's rows from a lead to its team: one message a layer, always, so that counts match
 * whatever fails. On one host they stand in memory that the team shares; between hosts each member
 * is sent them. */
#include "engine/pipeline_private.h"

/* Rows of one message: x_0, y_ref and h of a layer; of the head, those that get logits. */
static size_t message_rows(const wa_pipeline *p, const wa_stage_batch *batch, size_t number)
{
    bool is_head = number >= p->share.layer_count;
    return is_head && !p->input->dims.logits_all ? batch->packing.prompts : batch->rows;
}

/* Messages of one batch: every layer of the stage, and the head's on the last stage. */
static size_t messages_of(const wa_pipeline *p)
{
    return p->share.layer_count + (p->is_last ? 1 : 0);
}

static size_t message_bytes(const wa_pipeline *p, const wa_stage_batch *batch, size_t number)
{
    size_t parts = number < p->share.layer_count ? 3 : 1;
    return sizeof(message_head) +
           parts * message_rows(p, batch, number) * p->hidden * sizeof(float);
}

static bool has_team(const wa_pipeline *p)
{
    return p->seat.group >= 0 && p->input->plan->grid.teams > 1;
}

static bool is_shared(const wa_pipeline *p)
{
    return p->ring.memory != NULL;
}

static wa_status open_buffers(wa_pipeline *p, size_t bytes, size_t count, wa_error *err)
{
    const wa_plan *plan = p->input->plan;
    size_t receivers = p->share.is_lead ? (size_t)plan->grid.teams - 1 : 1;
    p->reference_count = count;
    WA_TRY(wa_arena_take(p->input->arena, p->reference_count, sizeof *p->references, &p->references,
                         err));
    for (size_t i = 0; i < p->reference_count; i++) {
        reference_buffer *buffer = &p->references[i];
        WA_TRY(wa_arena_take(p->input->arena, bytes, 1, &buffer->bytes, err));
        WA_TRY(wa_arena_take(p->input->arena, receivers, sizeof *buffer->tickets, &buffer->tickets,
                             err));
        for (size_t t = 0; t < receivers; t++)
            buffer->tickets[t] = WA_TICKET_NONE;
    }
    return WA_OK;
}

wa_status wa_references_open(wa_pipeline *p, wa_error *err)
{
    const wa_plan *plan = p->input->plan;
    size_t bytes = sizeof(message_head) + 3 * plan->max_rows * p->hidden * sizeof(float), count = 1;
    wa_ring_team team = {.count = 0};
    if (has_team(p)) {
        count = wa_plan_references(bytes, messages_of(p));
        team =
            (wa_ring_team){wa_plan_rank(plan, p->seat.group, p->seat.stage, 0), plan->grid.teams};
    }
    const wa_ring_shape shape = {
        .depth = count, .bytes = bytes, .readers = (size_t)plan->grid.teams - 1};
    WA_TRY(wa_comm_open_ring(p->input->comm, &team, &shape, &p->ring, err));
    if (!has_team(p) || is_shared(p))
        return WA_OK;
    return open_buffers(p, bytes, p->share.is_lead ? count : REFERENCES_AHEAD, err);
}

void wa_references_close(wa_pipeline *p)
{
    wa_ring_close(&p->ring);
}

/* --- The team's side -------------------------------------------------------------------------- */

/* Keep up to REFERENCES_AHEAD receives posted; the buffer being read is not one of them. In shared
 * memory the lead may write over what was read. */
static wa_status post_receives(wa_pipeline *p, wa_error *err)
{
    if (is_shared(p)) {
        if (p->reference_held)
            wa_ring_drop(&p->ring);
        p->reference_held = false;
        return WA_OK;
    }
    int lead = wa_plan_rank(p->input->plan, p->seat.group, p->seat.stage, 0);
    while (p->reference_posted < messages_of(p) &&
           p->reference_posted < p->reference_taken + REFERENCES_AHEAD) {
        reference_buffer *buffer = &p->references[p->reference_posted % REFERENCES_AHEAD];
        size_t size = message_bytes(p, &p->reference_slot->work, p->reference_posted);
        WA_TRY(wa_comm_receive(p->input->comm, lead, WA_TAG_REFERENCE, buffer->bytes, size,
                               &buffer->tickets[0], err));
        p->reference_posted++;
    }
    return WA_OK;
}

wa_status wa_references_start(wa_pipeline *p, const batch_slot *slot, wa_error *err)
{
    p->reference_slot = slot;
    p->reference_sent = p->reference_posted = p->reference_taken = 0;
    if (!has_team(p) || p->share.is_lead)
        return WA_OK;
    return post_receives(p, err);
}

/* The next message, if it is there. */
static const uint8_t *look(wa_pipeline *p)
{
    if (is_shared(p))
        return wa_ring_peek(&p->ring);
    reference_buffer *buffer = &p->references[p->reference_taken % REFERENCES_AHEAD];
    return wa_comm_is_done(p->input->comm, &buffer->tickets[0]) ? buffer->bytes : NULL;
}

/* Wait for the next message. It stays valid until the next call posts receives. */
static wa_status take_next(wa_pipeline *p, const uint8_t **out, wa_error *err)
{
    wait_start start = wa_pipeline_begin_wait(p);
    const uint8_t *bytes;
    while ((bytes = look(p)) == NULL) {
        WA_TRY(wa_pipeline_serve(p, err));
        wa_pipeline_rest(p);
    }
    wa_pipeline_resume(p);
    wa_pipeline_end_wait(p, start);
    p->reference_held = true;
    *out = bytes;
    return WA_OK;
}

wa_status wa_pipeline_await_reference(void *context, size_t layer, wa_reference *out, wa_error *err)
{
    wa_pipeline *p = context;
    (void)layer;                   /* messages of one batch come in order */
    WA_TRY(post_receives(p, err)); /* the buffer read last is free now */
    const uint8_t *bytes;
    WA_TRY(take_next(p, &bytes, err));
    size_t number = p->reference_taken++;
    message_head head;
    memcpy(&head, bytes, sizeof head);
    if (head.error.status != WA_OK) {
        *err = head.error;
        return head.error.status;
    }
    const float *data = (const float *)(const void *)(bytes + sizeof head);
    size_t floats = p->reference_slot->work.rows * p->hidden;
    *out = number < p->share.layer_count
               ? (wa_reference){.x = data, .y = data + floats, .h = data + 2 * floats}
               : (wa_reference){.h = data};
    return WA_OK;
}

/* --- The lead's side -------------------------------------------------------------------------- */

static bool buffer_is_free(wa_pipeline *p, reference_buffer *buffer)
{
    bool all = true;
    for (int t = 0; t < p->input->plan->grid.teams - 1; t++)
        all = wa_comm_is_done(p->input->comm, &buffer->tickets[t]) && all;
    return all;
}

/* Room for the next message, if there is any. */
static uint8_t *room(wa_pipeline *p)
{
    if (is_shared(p))
        return wa_ring_claim(&p->ring);
    reference_buffer *buffer = &p->references[p->reference_sent % p->reference_count];
    return buffer_is_free(p, buffer) ? buffer->bytes : NULL;
}

/* Written in room(): to the members. */
static wa_status hand_out(wa_pipeline *p, wa_error *err)
{
    size_t number = p->reference_sent++;
    if (is_shared(p)) {
        wa_ring_publish(&p->ring);
        return WA_OK;
    }
    reference_buffer *buffer = &p->references[number % p->reference_count];
    size_t size = message_bytes(p, &p->reference_slot->work, number);
    for (int t = 1; t < p->input->plan->grid.teams; t++) {
        int member = wa_plan_rank(p->input->plan, p->seat.group, p->seat.stage, t);
        WA_TRY(wa_comm_send(p->input->comm, member, WA_TAG_REFERENCE, buffer->bytes, size,
                            &buffer->tickets[t - 1], err));
    }
    return WA_OK;
}

static wa_status send_next(wa_pipeline *p, const wa_reference *reference, const wa_error *failure,
                           wa_error *err)
{
    wait_start start = wa_pipeline_begin_wait(p);
    uint8_t *bytes;
    while ((bytes = room(p)) == NULL) {
        WA_TRY(wa_pipeline_serve(p, err));
        wa_pipeline_rest(p);
    }
    wa_pipeline_resume(p);
    wa_pipeline_end_wait(p, start);
    message_head head = {.batch = p->reference_slot->index, .error = *failure};
    memcpy(bytes, &head, sizeof head);
    if (reference != NULL) {
        uint8_t *at = bytes + sizeof head;
        size_t size = message_rows(p, &p->reference_slot->work, p->reference_sent) * p->hidden *
                      sizeof(float);
        const float *const parts[] = {reference->x, reference->y, reference->h};
        for (int i = 0; i < 3; i++)
            if (parts[i] != NULL) {
                memcpy(at, parts[i], size);
                at += size;
            }
    }
    return hand_out(p, err);
}

wa_status wa_pipeline_publish_reference(void *context, size_t layer, const wa_reference *reference,
                                        wa_error *err)
{
    wa_pipeline *p = context;
    (void)layer;
    if (!has_team(p))
        return WA_OK;
    wa_error none = {.status = WA_OK};
    return send_next(p, reference, &none, err);
}

/* After a failure the rest of the batch's messages still pass, saying so, or are taken and
 * dropped. */
wa_status wa_references_finish(wa_pipeline *p, const wa_error *failure, wa_error *err)
{
    if (!has_team(p))
        return WA_OK;
    if (p->share.is_lead) {
        while (p->reference_sent < messages_of(p))
            WA_TRY(send_next(p, NULL, failure, err));
        return WA_OK;
    }
    while (p->reference_taken < messages_of(p)) {
        const uint8_t *bytes;
        WA_TRY(post_receives(p, err));
        WA_TRY(take_next(p, &bytes, err));
        p->reference_taken++;
    }
    return is_shared(p) ? post_receives(p, err) : WA_OK;
}

bool wa_references_are_done(wa_pipeline *p)
{
    if (!has_team(p) || !p->share.is_lead)
        return true;
    bool all = true;
    for (size_t i = 0; i < p->reference_count; i++)
        all = buffer_is_free(p, &p->references[i]) && all;
    return all;
}

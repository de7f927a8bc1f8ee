/* The reference's rows from a lead to its team: one message a layer, always, so that counts match whatever fails. */
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

wa_status wa_references_open(wa_pipeline *p, wa_error *err)
{
    const wa_plan *plan = p->input->plan;
    if (plan->grid.teams == 1)
        return WA_OK;
    size_t bytes = sizeof(message_head) + 3 * plan->max_rows * p->hidden * sizeof(float);
    size_t receivers = p->share.is_lead ? (size_t)plan->grid.teams - 1 : 1;
    p->reference_count = p->share.is_lead ? wa_plan_references(bytes, messages_of(p)) : REFERENCES_AHEAD;
    WA_TRY(wa_arena_take(p->input->arena, p->reference_count, sizeof *p->references, &p->references, err));
    for (size_t i = 0; i < p->reference_count; i++) {
        reference_buffer *buffer = &p->references[i];
        WA_TRY(wa_arena_take(p->input->arena, bytes, 1, &buffer->bytes, err));
        WA_TRY(wa_arena_take(p->input->arena, receivers, sizeof *buffer->tickets, &buffer->tickets, err));
        for (size_t t = 0; t < receivers; t++)
            buffer->tickets[t] = WA_TICKET_NONE;
    }
    return WA_OK;
}

/* --- The team's side ------------------------------------------------------------------------------- */

/* Keep up to REFERENCES_AHEAD receives posted; the buffer being read is not one of them. */
static wa_status post_receives(wa_pipeline *p, wa_error *err)
{
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
    if (p->share.is_lead)
        return WA_OK;
    return post_receives(p, err);
}

/* Wait for the next message. The buffer stays valid until the next call posts over it. */
static wa_status take_next(wa_pipeline *p, const uint8_t **out, wa_error *err)
{
    reference_buffer *buffer = &p->references[p->reference_taken % REFERENCES_AHEAD];
    wait_start start = wa_pipeline_begin_wait(p);
    while (!wa_comm_is_done(p->input->comm, &buffer->tickets[0])) {
        WA_TRY(wa_pipeline_serve(p, err));
        wa_pipeline_rest(p);
    }
    wa_pipeline_end_wait(p, start);
    *out = buffer->bytes;
    return WA_OK;
}

wa_status wa_pipeline_await_reference(void *context, size_t layer, wa_reference *out, wa_error *err)
{
    wa_pipeline *p = context;
    (void)layer; /* messages of one batch come in order */
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

/* --- The lead's side ------------------------------------------------------------------------------- */

static bool buffer_is_free(wa_pipeline *p, reference_buffer *buffer)
{
    bool all = true;
    for (int t = 0; t < p->input->plan->grid.teams - 1; t++)
        all = wa_comm_is_done(p->input->comm, &buffer->tickets[t]) && all;
    return all;
}

static wa_status send_next(wa_pipeline *p, const wa_reference *reference, const wa_error *failure,
                           wa_error *err)
{
    size_t number = p->reference_sent;
    reference_buffer *buffer = &p->references[number % p->reference_count];
    wait_start start = wa_pipeline_begin_wait(p);
    while (!buffer_is_free(p, buffer)) {
        WA_TRY(wa_pipeline_serve(p, err));
        wa_pipeline_rest(p);
    }
    wa_pipeline_end_wait(p, start);
    const wa_stage_batch *batch = &p->reference_slot->work;
    message_head head = {.batch = p->reference_slot->index, .error = *failure};
    memcpy(buffer->bytes, &head, sizeof head);
    if (reference != NULL) {
        uint8_t *at = buffer->bytes + sizeof head;
        size_t size = message_rows(p, batch, number) * p->hidden * sizeof(float);
        const float *const parts[] = {reference->x, reference->y, reference->h};
        for (int i = 0; i < 3; i++)
            if (parts[i] != NULL) {
                memcpy(at, parts[i], size);
                at += size;
            }
    }
    for (int t = 1; t < p->input->plan->grid.teams; t++) {
        int member = wa_plan_rank(p->input->plan, p->seat.group, p->seat.stage, t);
        WA_TRY(wa_comm_send(p->input->comm, member, WA_TAG_REFERENCE, buffer->bytes,
                            message_bytes(p, batch, number), &buffer->tickets[t - 1], err));
    }
    p->reference_sent++;
    return WA_OK;
}

wa_status wa_pipeline_publish_reference(void *context, size_t layer, const wa_reference *reference, wa_error *err)
{
    wa_pipeline *p = context;
    (void)layer;
    if (p->reference_count == 0)
        return WA_OK; /* no team */
    wa_error none = {.status = WA_OK};
    return send_next(p, reference, &none, err);
}

/* After a failure the rest of the batch's messages still pass, saying so, or are taken and dropped. */
wa_status wa_references_finish(wa_pipeline *p, const wa_error *failure, wa_error *err)
{
    if (p->reference_count == 0)
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
    return WA_OK;
}

bool wa_references_are_done(wa_pipeline *p)
{
    if (p->reference_count == 0 || !p->share.is_lead)
        return true;
    bool all = true;
    for (size_t i = 0; i < p->reference_count; i++)
        all = buffer_is_free(p, &p->references[i]) && all;
    return all;
}

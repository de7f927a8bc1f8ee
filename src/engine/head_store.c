/* What is taken from the logits of a tile of rows: next tokens, how far cases are from the
 * reference, and how the reference fares with the prompts' own text. Design 3. */
#include "engine/head.h"

#include "base/elementary.h"

#include <math.h>

wa_head_place wa_head_place_of(const wa_head *head, size_t i)
{
    const size_t *start = head->batch->packing.start;
    size_t row = head->row[head->first + i], p = 0;
    while (start[p + 1] <= row)
        p++;
    return (wa_head_place){
        .prompt = p, .position = row - start[p], .is_last = start[p + 1] == row + 1};
}

/* A row of one lane, as its figures are taken from it. */
static const wa_logits *row_of(const wa_head *head, size_t lane, size_t i)
{
    return &head->logits[lane * head->count + i];
}

static double top_prob(const wa_logits *row)
{
    return wa_exp(wa_logits_log_prob(row, (double)row->top_logit[0]));
}

static double next_log_prob(const wa_head *head, size_t lane, size_t i)
{
    return wa_logits_log_prob(row_of(head, lane, i),
                              (double)head->next_logit[lane * head->count + i]);
}

static void store_top(const wa_block *block, const wa_logits *row, wa_field ids, wa_field probs,
                      size_t first, size_t prompt)
{
    size_t slots = block->dims.slots;
    int32_t *id = wa_block_i32(block, ids, first, 0) + prompt * slots;
    double *log_prob = wa_block_f64(block, probs, first, 0) + prompt * slots;
    for (size_t s = 0; s < slots && s < row->filled; s++) {
        id[s] = row->top_id[s];
        log_prob[s] = wa_logits_log_prob(row, (double)row->top_logit[s]);
    }
}

static bool same_top(const wa_logits *ref, const wa_logits *own)
{
    return own->nonfinite == 0 && ref->nonfinite == 0 && own->top_id[0] == ref->top_id[0];
}

/* Fields of one row's next token: at prompts' ends, or at every row. */
typedef struct row_fields {
    wa_field ref_id, ref_prob, ref_margin;
    wa_field id, prob, prob_of_ref, prob_delta, match, gap, kl, js, overlap;
} row_fields;

static const row_fields AT_ENDS = {.ref_id = WA_FIELD_ref_top1_id,
                                   .ref_prob = WA_FIELD_ref_top1_prob,
                                   .ref_margin = WA_FIELD_ref_margin,
                                   .id = WA_FIELD_top1_id,
                                   .prob = WA_FIELD_top1_prob,
                                   .prob_of_ref = WA_FIELD_prob_of_ref_top1,
                                   .prob_delta = WA_FIELD_prob_delta,
                                   .match = WA_FIELD_top1_match,
                                   .gap = WA_FIELD_top1_gap,
                                   .kl = WA_FIELD_kl,
                                   .js = WA_FIELD_js,
                                   .overlap = WA_FIELD_topk_overlap};
static const row_fields AT_ROWS = {.ref_id = WA_FIELD_obs_ref_top1_id,
                                   .ref_prob = WA_FIELD_obs_ref_top1_prob,
                                   .ref_margin = WA_FIELD_obs_ref_margin,
                                   .id = WA_FIELD_obs_top1_id,
                                   .prob = WA_FIELD_obs_top1_prob,
                                   .prob_of_ref = WA_FIELD_obs_prob_of_ref_top1,
                                   .prob_delta = WA_FIELD_obs_prob_delta,
                                   .match = WA_FIELD_obs_top1_match,
                                   .gap = WA_FIELD_obs_top1_gap,
                                   .kl = WA_FIELD_obs_kl,
                                   .js = WA_FIELD_obs_js,
                                   .overlap = WA_FIELD_obs_topk_overlap};

static void store_reference(const wa_head *head, const row_fields *fields, size_t i, size_t at)
{
    const wa_block *block = head->batch->block;
    const wa_logits *ref = row_of(head, 0, i);
    wa_block_i32(block, fields->ref_id, 0, 0)[at] = ref->top_id[0];
    wa_block_f64(block, fields->ref_prob, 0, 0)[at] = top_prob(ref);
    if (ref->filled > 1)
        wa_block_f64(block, fields->ref_margin, 0, 0)[at] =
            (double)ref->top_logit[0] - (double)ref->top_logit[1];
}

static void store_case(const wa_head *head, const row_fields *fields, size_t lane, size_t i,
                       size_t at)
{
    const wa_block *block = head->batch->block;
    size_t c = (size_t)head->cases[lane - 1];
    const wa_logits *ref = row_of(head, 0, i), *own = row_of(head, lane, i);
    const wa_divergence *divergence = &head->divergences[lane * head->count + i];
    double own_of_ref = wa_exp(divergence->log_prob_of_ref_top1);
    wa_block_i32(block, fields->id, c, 0)[at] = own->top_id[0];
    wa_block_f64(block, fields->prob, c, 0)[at] = top_prob(own);
    wa_block_f64(block, fields->prob_of_ref, c, 0)[at] = own_of_ref;
    wa_block_f64(block, fields->prob_delta, c, 0)[at] = own_of_ref - top_prob(ref);
    wa_block_i8(block, fields->match, c, 0)[at] = same_top(ref, own);
    wa_block_f64(block, fields->gap, c, 0)[at] = divergence->top1_gap;
    wa_block_f64(block, fields->kl, c, 0)[at] = divergence->kl;
    wa_block_f64(block, fields->js, c, 0)[at] = divergence->js;
    wa_block_f64(block, fields->overlap, c, 0)[at] = wa_topk_overlap(ref, own, 5);
}

static void store_end_of_reference(const wa_head *head, size_t i, size_t prompt)
{
    store_reference(head, &AT_ENDS, i, prompt);
    store_top(head->batch->block, row_of(head, 0, i), WA_FIELD_ref_topk_id,
              WA_FIELD_ref_topk_logprob, 0, prompt);
}

static void store_end(const wa_head *head, size_t lane, size_t i, size_t prompt)
{
    const wa_block *block = head->batch->block;
    const wa_logits *own = row_of(head, lane, i);
    size_t c = (size_t)head->cases[lane - 1];
    store_case(head, &AT_ENDS, lane, i, prompt);
    wa_block_f64(block, WA_FIELD_prob_delta_compat, c, 0)[prompt] =
        fabs(top_prob(own) - top_prob(row_of(head, 0, i)));
    store_top(block, own, WA_FIELD_topk_id, WA_FIELD_topk_logprob, c, prompt);
}

static void store_row_of_reference(const wa_head *head, size_t i, size_t obs)
{
    store_reference(head, &AT_ROWS, i, obs);
    wa_block_f64(head->batch->block, WA_FIELD_obs_ref_next_logprob, 0, 0)[obs] =
        next_log_prob(head, 0, i);
}

static void store_row(const wa_head *head, size_t lane, size_t i, size_t obs)
{
    const wa_block *block = head->batch->block;
    size_t c = (size_t)head->cases[lane - 1];
    double next = next_log_prob(head, lane, i);
    store_case(head, &AT_ROWS, lane, i, obs);
    wa_block_f64(block, WA_FIELD_obs_next_logprob, c, 0)[obs] = next;
    wa_block_f64(block, WA_FIELD_obs_next_prob_delta, c, 0)[obs] =
        wa_exp(next) - wa_exp(next_log_prob(head, 0, i));
}

/* What the dense model makes of the prompt's own text: the next token's surprise at one more
 * position. */
static void add_surprise(const wa_head *head, size_t i, size_t prompt)
{
    const wa_block *block = head->batch->block;
    wa_block_f64(block, WA_FIELD_ref_nll, 0, 0)[prompt] -= next_log_prob(head, 0, i);
    wa_block_i32(block, WA_FIELD_ref_nll_positions, 0, 0)[prompt]++;
}

static void store_dump(const wa_head *head)
{
    const wa_block *block = head->batch->block;
    for (size_t i = 0; head->apart != NULL && i < head->count; i++) {
        wa_head_place place = wa_head_place_of(head, i);
        size_t p = place.prompt;
        if (wa_dump_has(head->stage->audit->dump, head->batch->first_prompt + p))
            wa_distance_keep(&head->apart[i], place.position,
                             wa_block_f64(block, WA_FIELD_dump_logits_rel_l2, 0, 0) + p,
                             wa_block_i32(block, WA_FIELD_dump_logits_position, 0, 0) + p);
    }
}

void wa_head_store(const wa_head *head)
{
    bool is_lead = head->stage->share.is_lead;
    store_dump(head);
    for (size_t i = 0; i < head->count; i++) {
        wa_head_place place = wa_head_place_of(head, i);
        if (place.is_last && is_lead)
            store_end_of_reference(head, i, place.prompt);
        for (size_t lane = 1; place.is_last && lane < head->lanes; lane++)
            store_end(head, lane, i, place.prompt);
        if (head->all_rows && is_lead)
            store_row_of_reference(head, i, head->first + i);
        if (head->all_rows && is_lead && !place.is_last)
            add_surprise(head, i, place.prompt);
        for (size_t lane = 1; head->all_rows && lane < head->lanes; lane++)
            store_row(head, lane, i, head->first + i);
    }
}

void wa_head_store_text(const wa_head *head)
{
    store_dump(head);
    for (size_t i = 0; i < head->count; i++)
        add_surprise(head, i, wa_head_place_of(head, i).prompt);
}

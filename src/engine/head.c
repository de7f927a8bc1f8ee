/* Logits of every prompt's last row for all lanes, streamed over the vocabulary in two passes. Design 3. */
#include "engine/stage_private.h"

#include "walkaudit/logits.h"

#include <math.h>

/* The reference's rows are the first lane here on every rank: the team gets them from its lead, and the
 * product has the same shape everywhere, so its logits have the same bits. */
typedef struct head_work {
    wa_stage *stage;
    const wa_stage_batch *batch;
    size_t prompts;
    size_t lanes;       /* the reference, then own cases */
    const int *cases;   /* [lanes - 1] */
    const float *y;     /* [lanes][prompts][H] after the final norm */
    size_t panel_ids;   /* ids of one panel */
    float *panel;       /* [lanes][prompts][panel_ids] logits */
    float *all;         /* every panel kept, when that is small enough; else NULL */
    wa_logits *logits;  /* [lanes][prompts] */
    wa_divergence *divergences; /* [lanes][prompts]; the reference's unused */
    wa_operand *operands;       /* [lanes] */
} head_work;

/* Logits of all lanes kept between the passes when they fit here; else the second pass makes them again, with the same bits. */
static const size_t KEPT_BYTES = (size_t)32 << 20;

/* Few rows are multiplied here: panels of this size keep three rows within the reach of OpenBLAS's kernels for small
 * matrices, which are three times faster there. */
enum { PANEL_BYTES = 512 << 10 };

static wa_status norm_last_rows(head_work *head, const wa_team_link *link, wa_error *err)
{
    wa_stage *stage = head->stage;
    const wa_stage_batch *batch = head->batch;
    const wa_model *model = stage->audit->model;
    size_t hidden = model->hidden;
    float *y;
    WA_TRY(wa_arena_take_raw(stage->arena, head->lanes * head->prompts * hidden, sizeof *y, &y, err));
    head->y = y;
    size_t first_own = stage->share.is_lead ? 0 : 1; /* where this rank's own lanes start */
    for (size_t lane = 0; lane < stage->lanes; lane++)
        for (size_t p = 0; p < head->prompts; p++)
            wa_norm_rows(model, &model->final_norm,
                         batch->h + (lane * batch->rows + batch->packing.start[p + 1] - 1) * hidden, 1,
                         hidden, y + ((first_own + lane) * head->prompts + p) * hidden);
    if (stage->share.is_lead) {
        wa_reference mine = {.x = NULL, .y = NULL, .h = y};
        return link->publish(link->context, model->layer_count, &mine, err);
    }
    wa_reference theirs;
    WA_TRY(link->await(link->context, model->layer_count, &theirs, err));
    memcpy(y, theirs.h, head->prompts * hidden * sizeof *y);
    return WA_OK;
}

static void finish_logits(const wa_model *model, float *z, size_t count)
{
    if (model->logits_scale != 1.0F)
        for (size_t i = 0; i < count; i++)
            z[i] *= model->logits_scale;
    if (model->final_cap != 0.0F)
        for (size_t i = 0; i < count; i++)
            z[i] = tanhf(z[i] / model->final_cap) * model->final_cap;
}

/* Logits of ids [first, first + count) of all lanes into `out` [lanes][prompts][count]. */
static void make_panel(head_work *head, size_t first, size_t count, float *out)
{
    wa_stage *stage = head->stage;
    const wa_model *model = stage->audit->model;
    wa_matrix rows = model->output;
    rows.rows = count;
    rows.data += first * rows.row_bytes;
    for (size_t lane = 0; lane < head->lanes; lane++)
        head->operands[lane] = (wa_operand){.x = head->y + lane * head->prompts * model->hidden,
                                            .y = out + lane * head->prompts * count};
    wa_gemm_rows(&rows, head->prompts, model->hidden, count, head->operands, head->lanes, NULL,
                 &stage->scratch);
    finish_logits(model, out, head->lanes * head->prompts * count);
    stage->cost.flops[WA_PHASE_HEAD] +=
        2.0 * (double)(head->lanes * head->prompts * count) * (double)model->hidden;
    stage->cost.bytes[WA_PHASE_HEAD] += (double)wa_matrix_bytes(&rows);
}

/* The panel that starts at `first`: made now, or kept from the first pass. */
static float *panel_at(head_work *head, size_t first, size_t count, bool again)
{
    float *out = head->all == NULL ? head->panel : head->all + first * head->lanes * head->prompts;
    if (head->all == NULL || !again)
        make_panel(head, first, count, out);
    return out;
}

static void first_pass(head_work *head, size_t first, size_t count)
{
    const float *z = panel_at(head, first, count, false);
    for (size_t i = 0; i < head->lanes * head->prompts; i++)
        wa_logits_add(&head->logits[i], z + i * count, first, count);
}

static void second_pass(head_work *head, size_t first, size_t count)
{
    const float *z = panel_at(head, first, count, true);
    for (size_t i = head->prompts; i < head->lanes * head->prompts; i++) {
        size_t reference = i % head->prompts;
        wa_divergence_add(&head->divergences[i], &head->logits[reference], &head->logits[i],
                          z + reference * count, z + i * count, first, count);
    }
}

static wa_status stream(head_work *head, const wa_team_link *link,
                        void (*pass)(struct head_work *, size_t, size_t), wa_error *err)
{
    size_t vocab = head->stage->audit->model->vocab;
    size_t panel = 0;
    for (size_t first = 0; first < vocab; first += head->panel_ids) {
        pass(head, first, vocab - first < head->panel_ids ? vocab - first : head->panel_ids);
        if (++panel % 64 == 0)
            WA_TRY(link->poll(link->context, err));
    }
    return WA_OK;
}

static wa_status open_head(head_work *head, wa_error *err)
{
    wa_stage *stage = head->stage;
    const wa_model *model = stage->audit->model;
    wa_arena *arena = stage->arena;
    size_t rows = head->lanes * head->prompts;
    head->panel_ids = PANEL_BYTES / sizeof(float) / model->hidden;
    if (head->panel_ids == 0)
        head->panel_ids = 1;
    size_t kept;
    if (!wa_size_mul(rows * sizeof(float), model->vocab, &kept))
        return wa_fail(err, WA_E_MEMORY, "%zu rows of %zu logits overflow", rows, model->vocab);
    if (kept <= KEPT_BYTES)
        WA_TRY(wa_arena_take_raw(arena, rows * model->vocab, sizeof(float), &head->all, err));
    else
        WA_TRY(wa_arena_take_raw(arena, rows * head->panel_ids, sizeof(float), &head->panel, err));
    WA_TRY(wa_arena_take(arena, rows, sizeof *head->logits, &head->logits, err));
    WA_TRY(wa_arena_take(arena, rows, sizeof *head->divergences, &head->divergences, err));
    WA_TRY(wa_arena_take(arena, head->lanes, sizeof *head->operands, &head->operands, err));
    for (size_t i = 0; i < rows; i++) {
        wa_logits_start(&head->logits[i], stage->audit->topk > 5 ? stage->audit->topk : 5);
        wa_divergence_start(&head->divergences[i]);
    }
    return WA_OK;
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

static void store_reference(const head_work *head, size_t prompt)
{
    const wa_block *block = head->batch->block;
    const wa_logits *ref = &head->logits[prompt];
    wa_block_i32(block, WA_FIELD_ref_top1_id, 0, 0)[prompt] = ref->top_id[0];
    wa_block_f64(block, WA_FIELD_ref_top1_prob, 0, 0)[prompt] =
        exp(wa_logits_log_prob(ref, (double)ref->top_logit[0]));
    if (ref->filled > 1)
        wa_block_f64(block, WA_FIELD_ref_margin, 0, 0)[prompt] =
            (double)ref->top_logit[0] - (double)ref->top_logit[1];
    store_top(block, ref, WA_FIELD_ref_topk_id, WA_FIELD_ref_topk_logprob, 0, prompt);
}

static void store_case(const head_work *head, size_t lane, size_t prompt)
{
    const wa_block *block = head->batch->block;
    size_t c = (size_t)head->cases[lane - 1];
    const wa_logits *ref = &head->logits[prompt];
    const wa_logits *own = &head->logits[lane * head->prompts + prompt];
    const wa_divergence *divergence = &head->divergences[lane * head->prompts + prompt];
    double ref_prob = exp(wa_logits_log_prob(ref, (double)ref->top_logit[0]));
    double own_prob = exp(wa_logits_log_prob(own, (double)own->top_logit[0]));
    double own_of_ref = exp(divergence->log_prob_of_ref_top1);
    wa_block_i32(block, WA_FIELD_top1_id, c, 0)[prompt] = own->top_id[0];
    wa_block_f64(block, WA_FIELD_top1_prob, c, 0)[prompt] = own_prob;
    wa_block_f64(block, WA_FIELD_prob_of_ref_top1, c, 0)[prompt] = own_of_ref;
    wa_block_f64(block, WA_FIELD_prob_delta, c, 0)[prompt] = own_of_ref - ref_prob;
    wa_block_f64(block, WA_FIELD_prob_delta_compat, c, 0)[prompt] = fabs(own_prob - ref_prob);
    wa_block_i8(block, WA_FIELD_top1_match, c, 0)[prompt] =
        own->nonfinite == 0 && ref->nonfinite == 0 && own->top_id[0] == ref->top_id[0];
    wa_block_f64(block, WA_FIELD_kl, c, 0)[prompt] = divergence->kl;
    wa_block_f64(block, WA_FIELD_js, c, 0)[prompt] = divergence->js;
    wa_block_f64(block, WA_FIELD_topk_overlap, c, 0)[prompt] = wa_topk_overlap(ref, own, 5);
    store_top(block, own, WA_FIELD_topk_id, WA_FIELD_topk_logprob, c, prompt);
}

static wa_status run_head(head_work *head, const wa_team_link *link, wa_error *err)
{
    WA_TRY(norm_last_rows(head, link, err));
    WA_TRY(open_head(head, err));
    WA_TRY(stream(head, link, first_pass, err));
    WA_TRY(stream(head, link, second_pass, err));
    for (size_t p = 0; p < head->prompts; p++) {
        if (head->stage->share.is_lead)
            store_reference(head, p);
        for (size_t lane = 1; lane < head->lanes; lane++)
            store_case(head, lane, p);
    }
    return WA_OK;
}

wa_status wa_stage_head(wa_stage *stage, const wa_stage_batch *batch, const wa_team_link *link,
                        wa_error *err)
{
    size_t own = stage->lanes - (stage->share.is_lead ? 1 : 0);
    head_work head = {.stage = stage,
                 .batch = batch,
                 .prompts = batch->packing.prompts,
                 .lanes = 1 + own,
                 .cases = stage->lane_case + (stage->share.is_lead ? 1 : 0)};
    wa_mark mark = wa_arena_mark(stage->arena);
    double start = wa_clock();
    double waited = stage->cost.seconds[WA_PHASE_WAIT];
    wa_status status = run_head(&head, link, err);
    stage->cost.seconds[WA_PHASE_HEAD] +=
        wa_clock() - start - (stage->cost.seconds[WA_PHASE_WAIT] - waited);
    wa_arena_release(stage->arena, mark);
    if (status != WA_OK)
        return wa_note(err, "in the output head of batch %zu", batch->index);
    return WA_OK;
}

/* Logits of every prompt's last row, or of all rows, for all lanes, streamed over the vocabulary in
 * two passes. Design 3. */
#include "engine/stage_private.h"

#include "base/elementary.h"
#include "measure/logits.h"

#include <math.h>

/* The reference's rows are the first lane here on every rank: the team gets them from its lead, and
 * the product has the same shape everywhere, so its logits have the same bits. */
typedef struct head_work {
    wa_stage *stage;
    const wa_stage_batch *batch;
    /* logits at every row of the batch, or of those of the text; else at each prompt's last */
    bool all_rows;
    const size_t *row; /* [rows] the batch's rows that get logits, ascending */
    size_t rows;
    bool once;        /* no second pass: the reference alone */
    size_t lanes;     /* the reference, then own cases */
    const int *cases; /* [lanes - 1] */
    /* [lanes] whose final norm and output matrix; ids are the reference's */
    const wa_model *const *models;
    const float *y;             /* [lanes][rows][H] after the final norm */
    size_t tile;                /* rows that the vocabulary is streamed past at a time */
    size_t first, count;        /* those at hand */
    size_t panel_ids;           /* ids of one panel */
    float *panel;               /* [lanes][count][panel_ids] logits */
    float *kept;                /* every panel of the tile, when that is small enough; else NULL */
    wa_logits *logits;          /* [lanes][count] */
    wa_divergence *divergences; /* [lanes][count]; the reference's unused */
    int32_t *next;              /* [count] id of the prompt's next token, -1 = none */
    float *next_logit;          /* [lanes][count] its logit; NaN = none */
    wa_operand *operands;       /* [lanes] */
    /* [count] of the reference's logits from the dump's; NULL = there is no dump, or this is no
     * lead */
    wa_distance *apart;
    double *strip; /* [panel_ids] of the dump */
} head_work;

/* Where few rows are multiplied, panels of this size keep three rows within the reach of OpenBLAS's
 * kernels for small matrices, which are three times faster there. */
enum { PANEL_BYTES = 512 << 10 };

/* The batch's row of row `i` of the head. */
static size_t batch_row(const head_work *head, size_t i)
{
    return head->row[i];
}

/* Final norm of a lane's rows into the head's lane `to`. */
static void norm_lane(const head_work *head, size_t lane, size_t to, float *y)
{
    const wa_stage_batch *batch = head->batch;
    const wa_model *model = head->models[to];
    size_t hidden = model->hidden;
    for (size_t i = 0; i < head->rows; i++)
        wa_norm_rows(model, &model->final_norm,
                     batch->h + (lane * batch->rows + batch_row(head, i)) * hidden, 1, hidden,
                     y + (to * head->rows + i) * hidden);
}

static wa_status take_normed(head_work *head, float **out, wa_error *err)
{
    size_t hidden = head->stage->audit->model->hidden;
    WA_TRY(wa_arena_take_raw(head->stage->arena, head->lanes * head->rows * hidden, sizeof **out,
                             out, err));
    head->y = *out;
    return WA_OK;
}

static wa_status norm_rows(head_work *head, const wa_team_link *link, wa_error *err)
{
    wa_stage *stage = head->stage;
    const wa_model *model = stage->audit->model;
    float *y;
    WA_TRY(take_normed(head, &y, err));
    size_t first_own = stage->share.is_lead ? 0 : 1; /* where this rank's own lanes start */
    for (size_t lane = 0; lane < stage->lanes; lane++)
        norm_lane(head, lane, first_own + lane, y);
    if (stage->share.is_lead) {
        wa_reference mine = {.x = NULL, .y = NULL, .h = y};
        return link->publish(link->context, model->layer_count, &mine, err);
    }
    wa_reference theirs;
    WA_TRY(link->await(link->context, model->layer_count, &theirs, err));
    memcpy(y, theirs.h, head->rows * model->hidden * sizeof *y);
    return WA_OK;
}

static void finish_logits(const wa_model *model, float *z, size_t count)
{
    if (model->logits_scale != 1.0F)
        for (size_t i = 0; i < count; i++)
            z[i] *= model->logits_scale;
    if (model->final_cap != 0.0F)
        wa_soft_cap(z, count, model->final_cap);
}

/* Logits of ids [first, first + count) of the tile's rows of `lanes` lanes of one model, from lane
 * `from` on. */
static void make_panel_alike(head_work *head, size_t from, size_t lanes, size_t first, size_t count,
                             float *out)
{
    wa_stage *stage = head->stage;
    const wa_model *model = head->models[from];
    wa_matrix rows = wa_matrix_rows(&model->output, first, count);
    for (size_t lane = 0; lane < lanes; lane++)
        head->operands[lane] =
            (wa_operand){.x = head->y + ((from + lane) * head->rows + head->first) * model->hidden,
                         .y = out + (from + lane) * head->count * count};
    wa_gemm_rows(&rows, head->count, model->hidden, count, head->operands, lanes, NULL,
                 &stage->scratch);
    finish_logits(model, out + from * head->count * count, lanes * head->count * count);
    stage->cost.flops[WA_PHASE_HEAD] +=
        2.0 * (double)(lanes * head->count * count) * (double)model->hidden;
    stage->cost.bytes[WA_PHASE_HEAD] += (double)wa_matrix_bytes(&rows);
}

/* The same of all lanes into `out` [lanes][rows of the tile][count]. */
static void make_panel(head_work *head, size_t first, size_t count, float *out)
{
    for (size_t from = 0, end = 1; from < head->lanes; from = end++) {
        while (end < head->lanes && head->models[end] == head->models[from])
            end++;
        make_panel_alike(head, from, end - from, first, count, out);
    }
}

/* The panel that starts at `first`: made now, or kept from the first pass. */
static float *panel_at(head_work *head, size_t first, size_t count, bool again)
{
    float *out = head->kept == NULL ? head->panel : head->kept + first * head->lanes * head->count;
    if (head->kept == NULL || !again)
        make_panel(head, first, count, out);
    return out;
}

/* Prompt of the job and position of row `i` of the head. */
static size_t place_of(const head_work *head, size_t i, size_t *position)
{
    const wa_packing *packing = &head->batch->packing;
    size_t row = batch_row(head, i), p = 0;
    while (packing->start[p + 1] <= row)
        p++;
    *position = row - packing->start[p];
    return head->batch->first_prompt + p;
}

/* The reference's logits of one panel beside the dump's. */
static wa_status add_dump(head_work *head, const float *z, size_t first, size_t count,
                          wa_error *err)
{
    const wa_dump *dump = head->stage->audit->dump;
    for (size_t i = 0; head->apart != NULL && i < head->count; i++) {
        size_t position, prompt = place_of(head, head->first + i, &position);
        if (!wa_dump_has(dump, prompt))
            continue;
        WA_TRY(wa_dump_read(dump, WA_DUMP_LOGITS, prompt, 0, position, first, count, head->strip,
                            err));
        wa_distance_add(&head->apart[i], z + i * count, head->strip, count);
    }
    return WA_OK;
}

static wa_status first_pass(head_work *head, size_t first, size_t count, wa_error *err)
{
    const float *z = panel_at(head, first, count, false);
    WA_TRY(add_dump(head, z, first, count, err));
    for (size_t i = 0; i < head->lanes * head->count; i++) {
        (head->all_rows ? wa_logits_add_fast : wa_logits_add)(&head->logits[i], z + i * count,
                                                              first, count);
        int32_t next = head->next[i % head->count];
        if (next >= 0 && (size_t)next >= first && (size_t)next - first < count)
            head->next_logit[i] = z[i * count + (size_t)next - first];
    }
    return WA_OK;
}

static wa_status second_pass(head_work *head, size_t first, size_t count, wa_error *err)
{
    (void)err;
    const float *z = panel_at(head, first, count, true);
    for (size_t i = head->count; i < head->lanes * head->count; i++) {
        size_t reference = i % head->count;
        (head->all_rows ? wa_divergence_add_fast : wa_divergence_add)(
            &head->divergences[i], &head->logits[reference], &head->logits[i],
            z + reference * count, z + i * count, first, count);
    }
    return WA_OK;
}

static wa_status stream(head_work *head, const wa_team_link *link,
                        wa_status (*pass)(struct head_work *, size_t, size_t, wa_error *),
                        wa_error *err)
{
    size_t vocab = head->stage->audit->model->vocab;
    size_t panel = 0;
    for (size_t first = 0; first < vocab; first += head->panel_ids) {
        WA_TRY(pass(head, first, vocab - first < head->panel_ids ? vocab - first : head->panel_ids,
                    err));
        if (++panel % (head->all_rows ? 4 : 64) == 0)
            WA_TRY(link->poll(link->context, err));
    }
    return WA_OK;
}

/* Panels depend on the model alone, tiles on model and job: they decide the shapes handed to
 * BLAS. */
static wa_status open_head(head_work *head, wa_error *err)
{
    wa_stage *stage = head->stage;
    const wa_model *model = stage->audit->model;
    wa_arena *arena = stage->arena;
    head->tile = head->all_rows && head->rows > WA_HEAD_ROWS ? WA_HEAD_ROWS : head->rows;
    size_t rows = head->lanes * head->tile;
    head->panel_ids = head->all_rows ? WA_HEAD_IDS : PANEL_BYTES / sizeof(float) / model->hidden;
    if (head->panel_ids == 0)
        head->panel_ids = 1;
    head->panel_ids = wa_size_min(head->panel_ids, model->vocab);
    size_t kept;
    if (!wa_size_mul(rows * sizeof(float), model->vocab, &kept))
        return wa_fail(err, WA_E_MEMORY, "%zu rows of %zu logits overflow", rows, model->vocab);
    if (kept <= WA_HEAD_KEPT_BYTES && !head->once)
        WA_TRY(wa_arena_take_raw(arena, rows * model->vocab, sizeof(float), &head->kept, err));
    else
        WA_TRY(wa_arena_take_raw(arena, rows * head->panel_ids, sizeof(float), &head->panel, err));
    WA_TRY(wa_arena_take(arena, rows, sizeof *head->logits, &head->logits, err));
    WA_TRY(wa_arena_take(arena, rows, sizeof *head->divergences, &head->divergences, err));
    WA_TRY(wa_arena_take(arena, rows, sizeof *head->next_logit, &head->next_logit, err));
    WA_TRY(wa_arena_take(arena, head->tile, sizeof *head->next, &head->next, err));
    if (stage->audit->dump != NULL && stage->share.is_lead) {
        WA_TRY(wa_arena_take(arena, head->tile, sizeof *head->apart, &head->apart, err));
        WA_TRY(wa_arena_take_raw(arena, head->panel_ids, sizeof *head->strip, &head->strip, err));
    }
    return wa_arena_take(arena, head->lanes, sizeof *head->operands, &head->operands, err);
}

/* The prompt of row `i` of the head, and whether the row is its last. */
static bool prompt_ending_at(const head_work *head, size_t i, size_t *prompt)
{
    const wa_packing *packing = &head->batch->packing;
    size_t row = batch_row(head, i), p = 0;
    while (packing->start[p + 1] <= row)
        p++;
    *prompt = p;
    return packing->start[p + 1] == row + 1;
}

static void start_tile(head_work *head, size_t first)
{
    size_t prompt, left = head->rows - first;
    size_t k = head->stage->audit->topk > 5 ? head->stage->audit->topk : 5;
    head->first = first;
    head->count = left < head->tile ? left : head->tile;
    for (size_t i = 0; i < head->count; i++)
        head->next[i] = prompt_ending_at(head, first + i, &prompt)
                            ? -1
                            : head->batch->ids[batch_row(head, first + i) + 1];
    for (size_t i = 0; head->apart != NULL && i < head->count; i++)
        head->apart[i] = (wa_distance){.apart = 0.0};
    for (size_t i = 0; i < head->lanes * head->count; i++) {
        wa_logits_start(&head->logits[i], k);
        wa_divergence_start(&head->divergences[i]);
        head->next_logit[i] = NAN;
    }
}

/* --- Into the block --------------------------------------------------------------------------- */

/* A row of one lane, as its figures are taken from it. */
static const wa_logits *row_of(const head_work *head, size_t lane, size_t i)
{
    return &head->logits[lane * head->count + i];
}

static double top_prob(const wa_logits *row)
{
    return wa_exp(wa_logits_log_prob(row, (double)row->top_logit[0]));
}

static double next_log_prob(const head_work *head, size_t lane, size_t i)
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

static void store_reference(const head_work *head, size_t i, size_t prompt)
{
    const wa_block *block = head->batch->block;
    const wa_logits *ref = row_of(head, 0, i);
    wa_block_i32(block, WA_FIELD_ref_top1_id, 0, 0)[prompt] = ref->top_id[0];
    wa_block_f64(block, WA_FIELD_ref_top1_prob, 0, 0)[prompt] = top_prob(ref);
    if (ref->filled > 1)
        wa_block_f64(block, WA_FIELD_ref_margin, 0, 0)[prompt] =
            (double)ref->top_logit[0] - (double)ref->top_logit[1];
    store_top(block, ref, WA_FIELD_ref_topk_id, WA_FIELD_ref_topk_logprob, 0, prompt);
}

static void store_case(const head_work *head, size_t lane, size_t i, size_t prompt)
{
    const wa_block *block = head->batch->block;
    size_t c = (size_t)head->cases[lane - 1];
    const wa_logits *ref = row_of(head, 0, i), *own = row_of(head, lane, i);
    const wa_divergence *divergence = &head->divergences[lane * head->count + i];
    double ref_prob = top_prob(ref), own_prob = top_prob(own);
    double own_of_ref = wa_exp(divergence->log_prob_of_ref_top1);
    wa_block_i32(block, WA_FIELD_top1_id, c, 0)[prompt] = own->top_id[0];
    wa_block_f64(block, WA_FIELD_top1_prob, c, 0)[prompt] = own_prob;
    wa_block_f64(block, WA_FIELD_prob_of_ref_top1, c, 0)[prompt] = own_of_ref;
    wa_block_f64(block, WA_FIELD_prob_delta, c, 0)[prompt] = own_of_ref - ref_prob;
    wa_block_f64(block, WA_FIELD_prob_delta_compat, c, 0)[prompt] = fabs(own_prob - ref_prob);
    wa_block_i8(block, WA_FIELD_top1_match, c, 0)[prompt] = same_top(ref, own);
    wa_block_f64(block, WA_FIELD_top1_gap, c, 0)[prompt] = divergence->top1_gap;
    wa_block_f64(block, WA_FIELD_kl, c, 0)[prompt] = divergence->kl;
    wa_block_f64(block, WA_FIELD_js, c, 0)[prompt] = divergence->js;
    wa_block_f64(block, WA_FIELD_topk_overlap, c, 0)[prompt] = wa_topk_overlap(ref, own, 5);
    store_top(block, own, WA_FIELD_topk_id, WA_FIELD_topk_logprob, c, prompt);
}

static void store_reference_row(const head_work *head, size_t i, size_t obs)
{
    const wa_block *block = head->batch->block;
    const wa_logits *ref = row_of(head, 0, i);
    wa_block_i32(block, WA_FIELD_obs_ref_top1_id, 0, 0)[obs] = ref->top_id[0];
    wa_block_f64(block, WA_FIELD_obs_ref_top1_prob, 0, 0)[obs] = top_prob(ref);
    if (ref->filled > 1)
        wa_block_f64(block, WA_FIELD_obs_ref_margin, 0, 0)[obs] =
            (double)ref->top_logit[0] - (double)ref->top_logit[1];
    wa_block_f64(block, WA_FIELD_obs_ref_next_logprob, 0, 0)[obs] = next_log_prob(head, 0, i);
}

/* What the dense model makes of the prompt's own text: the next token's surprise at one more
 * position. */
static void add_surprise(const head_work *head, size_t i, size_t prompt)
{
    const wa_block *block = head->batch->block;
    wa_block_f64(block, WA_FIELD_ref_nll, 0, 0)[prompt] -= next_log_prob(head, 0, i);
    wa_block_i32(block, WA_FIELD_ref_nll_positions, 0, 0)[prompt]++;
}

static void store_dump(const head_work *head)
{
    const wa_block *block = head->batch->block;
    for (size_t i = 0; head->apart != NULL && i < head->count; i++) {
        size_t position, prompt = place_of(head, head->first + i, &position);
        size_t p = prompt - head->batch->first_prompt;
        if (wa_dump_has(head->stage->audit->dump, prompt))
            wa_distance_keep(&head->apart[i], position,
                             wa_block_f64(block, WA_FIELD_dump_logits_rel_l2, 0, 0) + p,
                             wa_block_i32(block, WA_FIELD_dump_logits_position, 0, 0) + p);
    }
}

static void store_case_row(const head_work *head, size_t lane, size_t i, size_t obs)
{
    const wa_block *block = head->batch->block;
    size_t c = (size_t)head->cases[lane - 1];
    const wa_logits *ref = row_of(head, 0, i), *own = row_of(head, lane, i);
    const wa_divergence *divergence = &head->divergences[lane * head->count + i];
    double own_of_ref = wa_exp(divergence->log_prob_of_ref_top1);
    double next = next_log_prob(head, lane, i);
    wa_block_i32(block, WA_FIELD_obs_top1_id, c, 0)[obs] = own->top_id[0];
    wa_block_f64(block, WA_FIELD_obs_top1_prob, c, 0)[obs] = top_prob(own);
    wa_block_f64(block, WA_FIELD_obs_prob_of_ref_top1, c, 0)[obs] = own_of_ref;
    wa_block_f64(block, WA_FIELD_obs_prob_delta, c, 0)[obs] = own_of_ref - top_prob(ref);
    wa_block_i8(block, WA_FIELD_obs_top1_match, c, 0)[obs] = same_top(ref, own);
    wa_block_f64(block, WA_FIELD_obs_top1_gap, c, 0)[obs] = divergence->top1_gap;
    wa_block_f64(block, WA_FIELD_obs_kl, c, 0)[obs] = divergence->kl;
    wa_block_f64(block, WA_FIELD_obs_js, c, 0)[obs] = divergence->js;
    wa_block_f64(block, WA_FIELD_obs_topk_overlap, c, 0)[obs] = wa_topk_overlap(ref, own, 5);
    wa_block_f64(block, WA_FIELD_obs_next_logprob, c, 0)[obs] = next;
    wa_block_f64(block, WA_FIELD_obs_next_prob_delta, c, 0)[obs] =
        wa_exp(next) - wa_exp(next_log_prob(head, 0, i));
}

static void store_tile(const head_work *head)
{
    bool is_lead = head->stage->share.is_lead;
    store_dump(head);
    for (size_t i = 0; i < head->count; i++) {
        size_t prompt;
        bool is_last = prompt_ending_at(head, head->first + i, &prompt);
        if (is_last && is_lead)
            store_reference(head, i, prompt);
        for (size_t lane = 1; is_last && lane < head->lanes; lane++)
            store_case(head, lane, i, prompt);
        if (head->all_rows && is_lead)
            store_reference_row(head, i, head->first + i);
        if (head->all_rows && is_lead && !is_last)
            add_surprise(head, i, prompt);
        for (size_t lane = 1; head->all_rows && lane < head->lanes; lane++)
            store_case_row(head, lane, i, head->first + i);
    }
}

/* --- The head --------------------------------------------------------------------------------- */

/* Rows that get logits: all of the batch, or each prompt's last. */
static wa_status choose_rows(head_work *head, wa_error *err)
{
    size_t *row;
    WA_TRY(wa_arena_take(head->stage->arena, head->rows, sizeof *row, &row, err));
    for (size_t i = 0; i < head->rows; i++)
        row[i] = head->all_rows ? i : head->batch->packing.start[i + 1] - 1;
    head->row = row;
    return WA_OK;
}

static wa_status run_head(head_work *head, const wa_team_link *link, wa_error *err)
{
    WA_TRY(choose_rows(head, err));
    WA_TRY(norm_rows(head, link, err));
    WA_TRY(open_head(head, err));
    for (size_t first = 0; first < head->rows; first += head->tile) {
        start_tile(head, first);
        WA_TRY(stream(head, link, first_pass, err));
        WA_TRY(stream(head, link, second_pass, err));
        store_tile(head);
    }
    return WA_OK;
}

/* --- The text --------------------------------------------------------------------------------- */

static wa_status choose_text(head_work *text, wa_error *err)
{
    const wa_stage_batch *batch = text->batch;
    size_t *row;
    WA_TRY(wa_arena_take(text->stage->arena, batch->rows, sizeof *row, &row, err));
    for (size_t p = 0; p < batch->packing.prompts; p++)
        for (size_t at = batch->packing.start[p]; at + 1 < batch->packing.start[p + 1]; at++)
            if (wa_text_has(batch->first_obs + at))
                row[text->rows++] = at;
    text->row = row;
    return WA_OK;
}

/* With logits of last positions only, the reference alone reads the prompts' other positions. */
static wa_status run_text(wa_stage *stage, const wa_stage_batch *batch, const wa_team_link *link,
                          wa_error *err)
{
    head_work text = {.stage = stage,
                      .batch = batch,
                      .all_rows = true,
                      .lanes = 1,
                      .models = &stage->audit->model,
                      .once = true};
    float *y;
    WA_TRY(choose_text(&text, err));
    if (text.rows == 0)
        return WA_OK;
    WA_TRY(take_normed(&text, &y, err));
    norm_lane(&text, 0, 0, y);
    WA_TRY(open_head(&text, err));
    for (size_t first = 0; first < text.rows; first += text.tile) {
        start_tile(&text, first);
        WA_TRY(stream(&text, link, first_pass, err));
        store_dump(&text);
        for (size_t i = 0; i < text.count; i++) {
            size_t prompt;
            (void)prompt_ending_at(&text, first + i, &prompt);
            add_surprise(&text, i, prompt);
        }
    }
    return WA_OK;
}

/* The reference's first, on every rank. */
static wa_status take_models(head_work *head, wa_error *err)
{
    const wa_model **models;
    const wa_stage *stage = head->stage;
    WA_TRY(wa_arena_take(stage->arena, head->lanes, sizeof *models, &models, err));
    models[0] = stage->audit->model;
    for (size_t own = stage->share.is_lead ? 1 : 0, lane = 1; lane < head->lanes; own++, lane++)
        models[lane] = stage->lane_model[own];
    head->models = models;
    return WA_OK;
}

static wa_status run_both(head_work *head, const wa_team_link *link, wa_error *err)
{
    wa_stage *stage = head->stage;
    const wa_block *block = head->batch->block;
    for (size_t p = 0; stage->share.is_lead && p < block->dims.prompts; p++) {
        wa_block_f64(block, WA_FIELD_ref_nll, 0, 0)[p] = 0.0;
        wa_block_i32(block, WA_FIELD_ref_nll_positions, 0, 0)[p] = 0;
    }
    wa_mark mark = wa_arena_mark(stage->arena);
    WA_TRY(take_models(head, err));
    WA_TRY(run_head(head, link, err));
    wa_arena_release(stage->arena, mark);
    if (!stage->share.is_lead || head->all_rows)
        return WA_OK;
    return run_text(stage, head->batch, link, err);
}

wa_status wa_stage_head(wa_stage *stage, const wa_stage_batch *batch, const wa_team_link *link,
                        wa_error *err)
{
    size_t own = stage->lanes - (stage->share.is_lead ? 1 : 0);
    bool all_rows = batch->block->dims.logits_all;
    head_work head = {.stage = stage,
                      .batch = batch,
                      .all_rows = all_rows,
                      .rows = all_rows ? batch->rows : batch->packing.prompts,
                      .lanes = 1 + own,
                      .cases = stage->lane_case + (stage->share.is_lead ? 1 : 0)};
    WA_TRY(wa_stage_witness(stage, batch, stage->audit->model->layer_count, err));
    wa_mark mark = wa_arena_mark(stage->arena);
    wa_status status;
    WA_TIMED(stage, WA_PHASE_HEAD, status = run_both(&head, link, err));
    wa_arena_release(stage->arena, mark);
    if (status != WA_OK)
        return wa_note(err, "in the output head of prompts %zu to %zu", batch->first_prompt,
                       batch->first_prompt + batch->packing.prompts - 1);
    return WA_OK;
}

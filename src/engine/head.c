/* Logits of every prompt's last row, or of all rows, for all lanes, streamed over the vocabulary in
 * two passes. Design 3. */
#include "engine/head.h"

#include <math.h>

/* Where few rows are multiplied, panels of this size keep three rows within the reach of OpenBLAS's
 * kernels for small matrices, which are three times faster there. */
enum { PANEL_BYTES = 512 << 10 };

/* Final norm of a lane's rows into the head's lane `to`. */
static void norm_lane(const wa_head *head, size_t lane, size_t to, float *y)
{
    const wa_stage_batch *batch = head->batch;
    const wa_model *model = head->models[to];
    size_t hidden = model->hidden;
    for (size_t i = 0; i < head->rows; i++)
        wa_norm_rows(model, &model->final_norm,
                     batch->h + (lane * batch->rows + head->row[i]) * hidden, 1, hidden,
                     y + (to * head->rows + i) * hidden);
}

static wa_status take_normed(wa_head *head, float **out, wa_error *err)
{
    size_t hidden = head->stage->audit->model->hidden;
    WA_TRY(wa_arena_take_raw(head->stage->arena, head->lanes * head->rows * hidden, sizeof **out,
                             out, err));
    head->y = *out;
    return WA_OK;
}

static wa_status norm_rows(wa_head *head, const wa_team_link *link, wa_error *err)
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
static void make_panel_alike(wa_head *head, size_t from, size_t lanes, size_t first, size_t count,
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
static void make_panel(wa_head *head, size_t first, size_t count, float *out)
{
    for (size_t from = 0, end = 1; from < head->lanes; from = end++) {
        while (end < head->lanes && head->models[end] == head->models[from])
            end++;
        make_panel_alike(head, from, end - from, first, count, out);
    }
}

/* The panel that starts at `first`: made now, or kept from the first pass. */
static float *panel_at(wa_head *head, size_t first, size_t count, bool again)
{
    float *out = head->kept == NULL ? head->panel : head->kept + first * head->lanes * head->count;
    if (head->kept == NULL || !again)
        make_panel(head, first, count, out);
    return out;
}

/* The reference's logits of one panel beside the dump's. */
static wa_status add_dump(wa_head *head, const float *z, size_t first, size_t count, wa_error *err)
{
    const wa_dump *dump = head->stage->audit->dump;
    for (size_t i = 0; head->apart != NULL && i < head->count; i++) {
        wa_head_place place = wa_head_place_of(head, i);
        size_t prompt = head->batch->first_prompt + place.prompt;
        if (!wa_dump_has(dump, prompt))
            continue;
        WA_TRY(wa_dump_read(dump, WA_DUMP_LOGITS, prompt, 0, place.position, first, count,
                            head->strip, err));
        wa_distance_add(&head->apart[i], z + i * count, head->strip, count);
    }
    return WA_OK;
}

static wa_status first_pass(wa_head *head, size_t first, size_t count, wa_error *err)
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

static wa_status second_pass(wa_head *head, size_t first, size_t count, wa_error *err)
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

static wa_status stream(wa_head *head, const wa_team_link *link,
                        wa_status (*pass)(struct wa_head *, size_t, size_t, wa_error *),
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
static wa_status open_head(wa_head *head, wa_error *err)
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

static void start_tile(wa_head *head, size_t first)
{
    size_t left = head->rows - first;
    size_t k = head->stage->audit->topk > 5 ? head->stage->audit->topk : 5;
    head->first = first;
    head->count = left < head->tile ? left : head->tile;
    for (size_t i = 0; i < head->count; i++)
        head->next[i] =
            wa_head_place_of(head, i).is_last ? -1 : head->batch->ids[head->row[first + i] + 1];
    for (size_t i = 0; head->apart != NULL && i < head->count; i++)
        head->apart[i] = (wa_distance){.apart = 0.0};
    for (size_t i = 0; i < head->lanes * head->count; i++) {
        wa_logits_start(&head->logits[i], k);
        wa_divergence_start(&head->divergences[i]);
        head->next_logit[i] = NAN;
    }
}

/* --- The head --------------------------------------------------------------------------------- */

/* Rows that get logits: all of the batch, or each prompt's last. */
static wa_status choose_rows(wa_head *head, wa_error *err)
{
    size_t *row;
    WA_TRY(wa_arena_take(head->stage->arena, head->rows, sizeof *row, &row, err));
    for (size_t i = 0; i < head->rows; i++)
        row[i] = head->all_rows ? i : head->batch->packing.start[i + 1] - 1;
    head->row = row;
    return WA_OK;
}

static wa_status run_head(wa_head *head, const wa_team_link *link, wa_error *err)
{
    WA_TRY(choose_rows(head, err));
    WA_TRY(norm_rows(head, link, err));
    WA_TRY(open_head(head, err));
    for (size_t first = 0; first < head->rows; first += head->tile) {
        start_tile(head, first);
        WA_TRY(stream(head, link, first_pass, err));
        WA_TRY(stream(head, link, second_pass, err));
        wa_head_store(head);
    }
    return WA_OK;
}

/* --- The text --------------------------------------------------------------------------------- */

static wa_status choose_text(wa_head *text, wa_error *err)
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
    wa_head text = {.stage = stage,
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
        wa_head_store_text(&text);
    }
    return WA_OK;
}

/* The reference's first, on every rank. */
static wa_status take_models(wa_head *head, wa_error *err)
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

static wa_status run_both(wa_head *head, const wa_team_link *link, wa_error *err)
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
    wa_head head = {.stage = stage,
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

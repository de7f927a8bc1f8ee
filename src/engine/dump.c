/* The reference beside a dump of another implementation: where they drift apart. */
#include "engine/stage_private.h"

#include <math.h>

/* Of a row that is nearly zero: as that of the walk rows. */
static const double NORM_FLOOR = 1e-6;

void wa_distance_add(wa_distance *distance, const float *ours, const double *theirs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double d = (double)ours[i] - theirs[i];
        distance->apart += d * d;
        distance->theirs += theirs[i] * theirs[i];
    }
}

void wa_distance_keep(const wa_distance *distance, size_t position, double *rel_l2, int32_t *at)
{
    double norm = sqrt(distance->theirs);
    double value = sqrt(distance->apart) / (norm < NORM_FLOOR ? NORM_FLOOR : norm);
    if (*at >= 0 && (value <= *rel_l2 || isnan(*rel_l2)))
        return;
    *rel_l2 = value;
    *at = (int32_t)position;
}

/* One tensor of one prompt at one layer; ours [rows of the prompt, hidden]. */
static wa_status compare_rows(const wa_stage *stage, const wa_dump *dump, wa_dump_tensor tensor,
                              size_t prompt, size_t layer, const float *ours, size_t rows,
                              double *row, double *rel_l2, int32_t *at, wa_error *err)
{
    size_t hidden = stage->audit->model->hidden;
    for (size_t position = 0; position < rows; position++) {
        wa_distance distance = {.apart = 0.0};
        WA_TRY(wa_dump_read(dump, tensor, prompt, layer, position, 0, hidden, row, err));
        wa_distance_add(&distance, ours + position * hidden, row, hidden);
        wa_distance_keep(&distance, position, rel_l2, at);
    }
    return WA_OK;
}

wa_status wa_stage_compare_dump(wa_stage *stage, const wa_stage_batch *batch, size_t layer,
                                const wa_reference *reference, wa_error *err)
{
    const wa_dump *dump = stage->audit->dump;
    size_t hidden = stage->audit->model->hidden;
    double *row;
    if (dump == NULL)
        return WA_OK;
    wa_mark mark = wa_arena_mark(stage->arena);
    WA_TRY(wa_arena_take_raw(stage->arena, hidden, sizeof *row, &row, err));
    for (size_t p = 0; p < batch->packing.prompts; p++) {
        size_t start = batch->packing.start[p], rows = batch->packing.start[p + 1] - start;
        size_t prompt = batch->first_prompt + p;
        if (!wa_dump_has(dump, prompt))
            continue;
        WA_TRY(
            compare_rows(stage, dump, WA_DUMP_X, prompt, layer, reference->x + start * hidden, rows,
                         row, wa_block_f64(batch->block, WA_FIELD_dump_x_rel_l2, 0, layer) + p,
                         wa_block_i32(batch->block, WA_FIELD_dump_x_position, 0, layer) + p, err));
        WA_TRY(
            compare_rows(stage, dump, WA_DUMP_Y, prompt, layer, reference->y + start * hidden, rows,
                         row, wa_block_f64(batch->block, WA_FIELD_dump_y_rel_l2, 0, layer) + p,
                         wa_block_i32(batch->block, WA_FIELD_dump_y_position, 0, layer) + p, err));
    }
    wa_arena_release(stage->arena, mark);
    return WA_OK;
}

/* Keeping what a stage computes: a file per content is open from its first kept layer to its
 * last. */
#include "engine/stage_private.h"

/* Of the reference first, then of each case. */
static wa_capture_file **slot_of(wa_stage *stage, int which)
{
    return &stage->capture[which + 1];
}

static wa_status begin(wa_stage *stage, const wa_stage_batch *batch, size_t layer, int which,
                       wa_error *err)
{
    const wa_stage_audit *audit = stage->audit;
    size_t end = stage->share.first_layer + stage->share.layer_count;
    wa_capture_place place = {.first_prompt = batch->first_prompt,
                              .prompt_count = batch->packing.prompts,
                              .first_layer = layer,
                              .last_layer = wa_capture_last_layer(audit->captures, layer, end),
                              .which = which};
    return wa_capture_begin(&audit->captures_owner, audit->captures, &place, batch->rows,
                            stage->capture_arena, slot_of(stage, which), err);
}

static wa_status keep(wa_stage *stage, const wa_stage_batch *batch, size_t layer, int which,
                      const float *const values[WA_CAPTURE_TENSORS], wa_error *err)
{
    const wa_captures *captures = stage->audit->captures;
    wa_capture_file **file = slot_of(stage, which);
    size_t end = stage->share.first_layer + stage->share.layer_count;
    if (!wa_capture_is_kept(captures, which, layer))
        return WA_OK;
    if (*file == NULL)
        WA_TRY(begin(stage, batch, layer, which, err));
    for (int t = 0; t < WA_CAPTURE_TENSORS; t++)
        if (values[t] != NULL)
            WA_TRY(wa_capture_write(*file, (wa_capture_tensor)t, layer, values[t], err));
    if (wa_capture_last_layer(captures, layer, end) != layer)
        return WA_OK;
    wa_capture_file *whole = *file;
    *file = NULL;
    return wa_capture_finish(whole, err);
}

wa_status wa_stage_keep_reference(wa_stage *stage, const wa_stage_batch *batch, size_t layer,
                                  const wa_reference *reference, wa_error *err)
{
    const float *const values[WA_CAPTURE_TENSORS] = {
        [WA_CAPTURE_INPUT] = reference->x, [WA_CAPTURE_Y_REF] = reference->y};
    if (stage->audit->captures == NULL)
        return WA_OK;
    return keep(stage, batch, layer, WA_CAPTURE_REFERENCE, values, err);
}

wa_status wa_stage_keep_walk(wa_stage *stage, const wa_stage_batch *batch, size_t layer,
                             size_t which, wa_error *err)
{
    const float *const values[WA_CAPTURE_TENSORS] = {[WA_CAPTURE_Y_WALK] = stage->y_walk};
    if (stage->audit->captures == NULL)
        return WA_OK;
    return keep(stage, batch, layer, (int)which, values, err);
}

wa_status wa_stage_open_captures(wa_stage *stage, wa_error *err)
{
    if (stage->audit->captures == NULL)
        return WA_OK;
    WA_TRY(wa_arena_take(stage->arena, stage->audit->case_count + 1, sizeof *stage->capture,
                         &stage->capture, err));
    return wa_arena_open("captures", 0, &stage->capture_arena, err);
}

void wa_stage_end_captures(wa_stage *stage)
{
    if (stage->audit->captures == NULL)
        return;
    for (size_t i = 0; i <= stage->audit->case_count; i++) {
        if (stage->capture[i] != NULL)
            wa_capture_abandon(stage->capture[i]);
        stage->capture[i] = NULL;
    }
    wa_arena_reset(stage->capture_arena);
}

void wa_stage_close(wa_stage *stage)
{
    if (stage != NULL)
        wa_arena_close(stage->capture_arena);
}

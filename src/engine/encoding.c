/* The encoding check of a run: what is stored at a layer against the model's, and digests of what
 * was compared. */
#include "engine/stage_private.h"

#include "base/clock.h"

static void store_row_error(const wa_block *block, size_t owner, size_t layer,
                            wa_projection projection, wa_format format, const wa_row_error *e)
{
    const struct {
        wa_field field;
        double value;
    } figures[] = {{WA_FIELD_row_err_p50, e->p50},
                   {WA_FIELD_row_err_p99, e->p99},
                   {WA_FIELD_row_err_max, e->max},
                   {WA_FIELD_row_err_steps, e->steps},
                   {WA_FIELD_row_err_ratio, e->ratio},
                   {WA_FIELD_row_err_gain, e->gain},
                   {WA_FIELD_row_err_row_gain, e->row_gain},
                   {WA_FIELD_row_err_row_ratio, e->row_ratio},
                   {WA_FIELD_row_err_expert_ratio, e->part_ratio},
                   {WA_FIELD_row_err_unequal_error, e->unequal_error}};
    const struct {
        wa_field field;
        int32_t row;
    } rows[] = {{WA_FIELD_row_err_worst, e->worst_row},
                {WA_FIELD_row_err_unequal_row, e->unequal_row},
                {WA_FIELD_row_err_steps_row, e->steps_row},
                {WA_FIELD_row_err_row_gain_row, e->row_gain_row},
                {WA_FIELD_row_err_row_ratio_row, e->row_ratio_row},
                {WA_FIELD_row_err_expert_ratio_row, e->part_ratio_row}};
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        wa_block_f64(block, figures[i].field, owner, layer)[projection] = figures[i].value;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        wa_block_i32(block, rows[i].field, owner, layer)[projection] = rows[i].row;
    wa_block_i8(block, WA_FIELD_row_err_checked, owner, layer)[projection] = 1;
    wa_block_i8(block, WA_FIELD_row_err_format, owner, layer)[projection] = (int8_t)format;
    wa_block_i8(block, WA_FIELD_row_err_basis, owner, layer)[projection] = (int8_t)e->basis;
    wa_block_i64(block, WA_FIELD_row_nonfinite, owner, layer)[projection] = (int64_t)e->nonfinite;
    wa_block_i64(block, WA_FIELD_row_err_rows, owner, layer)[projection] = (int64_t)e->rows;
    wa_block_i64(block, WA_FIELD_row_err_unequal, owner, layer)[projection] = (int64_t)e->unequal;
}

/* Of the bytes that were just compared, so that another run knows them again. */
static wa_status store_digest(const wa_block *block, size_t owner, size_t layer,
                              wa_projection projection, const wa_stored_place *place,
                              wa_arena *arena, wa_error *err)
{
    wa_short_digest digest;
    double ignored = 0.0;
    WA_TRY(wa_stored_digest(place, arena, &digest, &ignored, err));
    wa_block_i64(block, WA_FIELD_payload_digest_high, owner, layer)[projection] = digest.high;
    wa_block_i64(block, WA_FIELD_payload_digest_low, owner, layer)[projection] = digest.low;
    return WA_OK;
}

/* Each expert by itself. */
static void store_parts(const wa_block *block, const wa_stored_place *place, size_t vindex,
                        size_t count, const wa_encoding_part *parts)
{
    double *max = wa_block_f64(block, WA_FIELD_expert_err_max, vindex, place->layer);
    int32_t *worst = wa_block_i32(block, WA_FIELD_expert_err_worst, vindex, place->layer);
    int64_t *unequal = wa_block_i64(block, WA_FIELD_expert_err_unequal, vindex, place->layer);
    double *ratio = wa_block_f64(block, WA_FIELD_expert_err_ratio, vindex, place->layer);
    for (size_t i = 0; i < count; i++) {
        size_t at = i * WA_PROJECTION_COUNT + place->projection;
        max[at] = parts[i].max;
        worst[at] = parts[i].row;
        unequal[at] = (int64_t)parts[i].unequal;
        ratio[at] = parts[i].ratio;
    }
}

static wa_status take_pairs(wa_stage *stage, const wa_checked *of, const wa_stored_place *place,
                            wa_encoding_pair **out, wa_error *err)
{
    size_t count = wa_checked_stack(place);
    wa_encoding_pair *pairs;
    WA_TRY(wa_arena_take(stage->arena, count, sizeof *pairs, &pairs, err));
    for (size_t i = 0; i < count; i++) {
        WA_TRY(wa_checked_pair(of, place, i, &pairs[i], err));
        stage->cost.bytes[WA_PHASE_ENCODING_CHECK] += (double)wa_checked_bytes(&pairs[i]);
    }
    *out = pairs;
    return WA_OK;
}

/* One projection of a layer in one payload. */
static wa_status check_stored(wa_stage *stage, const wa_stage_batch *batch, size_t vindex,
                              const wa_stored_place *place, wa_error *err)
{
    const wa_checked of = wa_stage_checked(stage);
    size_t owner = vindex * WA_PAYLOAD_COUNT + place->payload, count = wa_checked_stack(place);
    wa_encoding_pair *pairs;
    wa_encoding_part *parts;
    wa_row_error rows;
    bool experts = place->payload == WA_PAYLOAD_EXPERTS || place->payload == WA_PAYLOAD_CHECKPOINT;
    WA_TRY(take_pairs(stage, &of, place, &pairs, err));
    WA_TRY(wa_arena_take(stage->arena, count, sizeof *parts, &parts, err));
    WA_TRY(wa_encoding_check_all(pairs, count, wa_checked_is_turned(place),
                                 wa_payload_encoded_by(place->payload), stage->arena, &rows, parts,
                                 err));
    store_row_error(batch->block, owner, place->layer, place->projection, pairs[0].stored.format,
                    &rows);
    if (experts && wa_vindex_experts_at(place->vindex, place->layer) != NULL)
        store_parts(batch->block, place, vindex, count, parts);
    return store_digest(batch->block, owner, place->layer, place->projection, place, stage->arena,
                        err);
}

wa_checked wa_stage_checked(const wa_stage *stage)
{
    const wa_stage_audit *audit = stage->audit;
    return (wa_checked){.model = audit->model,
                        .vindexes = audit->vindexes,
                        .cases = audit->cases,
                        .vindex_count = audit->vindex_count,
                        .case_count = audit->case_count};
}

/* Those of one vindex. */
static wa_status check_vindex(wa_stage *stage, const wa_stage_batch *batch, size_t vindex,
                              size_t layer, wa_error *err)
{
    const wa_checked of = wa_stage_checked(stage);
    wa_stored_place place;
    for (size_t number = 0; number < WA_CHECKED_PLACES; number++) {
        if (!wa_checked_place(&of, vindex, number, layer, &place))
            continue;
        wa_mark mark = wa_arena_mark(stage->arena);
        wa_status status = check_stored(stage, batch, vindex, &place, err);
        wa_arena_release(stage->arena, mark);
        WA_TRY(status);
    }
    return WA_OK;
}

wa_status wa_stage_check_encoding(wa_stage *stage, const wa_stage_batch *batch, size_t layer,
                                  wa_error *err)
{
    double start = wa_clock();
    for (size_t v = 0; v < stage->audit->vindex_count; v++)
        if (stage->share.owns_vindex[v])
            WA_TRY(check_vindex(stage, batch, v, layer, err));
    stage->cost.seconds[WA_PHASE_ENCODING_CHECK] += wa_clock() - start;
    return WA_OK;
}

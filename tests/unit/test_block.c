/* Blocks: the memory of the field table, and its transport in shares. */
#include "measure/block.h"
#include "suite.h"
#include "vindex/vindex.h"

#include <math.h>
#include <string.h>

static const wa_dims DIMS = {.cases = 3,
                             .layers = 5,
                             .rows = 7,
                             .prompts = 2,
                             .slots = 4,
                             .choices = 3,
                             .experts = 6,
                             .vindexes = 2,
                             .logits_all = true};

static wa_arena *arena_for_test(void)
{
    wa_arena *arena;
    wa_error err = {0};
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    return arena;
}

static wa_block block_for_test(wa_arena *arena)
{
    wa_block block;
    wa_error err = {0};
    WA_MUST(wa_block_open(arena, DIMS, &block, &err), &err);
    return block;
}

/* Elements of a field by its axes, written out a second time. */
static size_t elements(wa_axes axes)
{
    switch (axes) {
    case WA_CLO:
    case WA_CLT:
        return 3 * 5 * 7;
    case WA_CLOE:
        return 3 * 5 * 7 * 3;
    case WA_LO:
        return 5 * 7;
    case WA_LOE:
        return 5 * 7 * 3;
    case WA_CLP:
        return 3 * 5 * 2;
    case WA_LP:
        return 5 * 2;
    case WA_CL:
        return 3 * 5;
    case WA_CP:
        return 3 * 2;
    case WA_P:
        return 2;
    case WA_CPS:
        return 3 * 2 * 4;
    case WA_PS:
        return 2 * 4;
    case WA_CA:
        return 3 * 7;
    case WA_A:
        return 7;
    case WA_VYLJ:
        return 2 * WA_PAYLOAD_COUNT * 5 * 3;
    case WA_VLNJ:
        return 2 * 5 * 6 * 3;
    case WA_LN:
        return 5 * 6;
    case WA_CLN:
        return 3 * 5 * 6;
    }
    return 0;
}

static size_t field_bytes(int field)
{
    const wa_field_info *info = wa_field_get((wa_field)field);
    return elements(info->axes) * wa_type_size(info->type);
}

static void the_table_names_every_field(void)
{
    for (int f = 0; f < WA_FIELD_COUNT; f++) {
        const wa_field_info *info = wa_field_get((wa_field)f);
        CU_ASSERT_PTR_NOT_NULL_FATAL(info->name);
        CU_ASSERT(strlen(info->name) > 0 && strlen(info->unit) > 0 && strlen(info->long_name) > 0);
        for (int g = 0; g < f; g++)
            CU_ASSERT_STRING_NOT_EQUAL(info->name, wa_field_get((wa_field)g)->name);
    }
    CU_ASSERT_STRING_EQUAL(wa_field_get(WA_FIELD_rel_l2)->name, "rel_l2");
    CU_ASSERT(wa_axes_has(WA_CLO, 'O') && !wa_axes_has(WA_CLO, 'P') && wa_axes_has(WA_VYLJ, 'Y'));
}

static void floats_start_as_nan_and_ids_as_minus_one(void)
{
    wa_arena *arena = arena_for_test();
    wa_block block = block_for_test(arena);
    CU_ASSERT(isnan(wa_block_f64(&block, WA_FIELD_cos, 2, 4)[6]));
    CU_ASSERT(isnan(wa_block_f64(&block, WA_FIELD_row_err_max, 1 * 8 + 7, 4)[2]));
    CU_ASSERT_EQUAL(wa_block_i32(&block, WA_FIELD_topk_id, 2, 0)[7], -1);
    CU_ASSERT(isnan(wa_block_f64(&block, WA_FIELD_obs_kl, 2, 0)[6]));
    CU_ASSERT_EQUAL(wa_block_i32(&block, WA_FIELD_obs_top1_id, 2, 0)[6], -1);
    CU_ASSERT_EQUAL(wa_block_i32(&block, WA_FIELD_obs_ref_top1_id, 0, 0)[6], -1);
    CU_ASSERT_EQUAL(wa_block_i32(&block, WA_FIELD_max_abs_index, 0, 0)[0], -1);
    CU_ASSERT_EQUAL(wa_block_i32(&block, WA_FIELD_dense_evaluations, 0, 4)[1], 0);
    CU_ASSERT_EQUAL(wa_block_i8(&block, WA_FIELD_obs_status, 2, 4)[6], 0);
    CU_ASSERT_EQUAL(wa_block_i64(&block, WA_FIELD_bytes_read, 2, 4)[0], 0);
    wa_arena_close(arena);
}

static void runs_are_contiguous_in_the_order_of_the_axes(void)
{
    wa_arena *arena = arena_for_test();
    wa_block block = block_for_test(arena);
    size_t count;
    double *at = wa_block_run(&block, WA_FIELD_cos, 2, 3, &count);
    CU_ASSERT_EQUAL(count, 7);
    CU_ASSERT_PTR_EQUAL(at, (double *)block.field[WA_FIELD_cos] + (2 * 5 + 3) * 7);
    wa_block_run(&block, WA_FIELD_seconds, 1, 2, &count);
    CU_ASSERT_EQUAL(count, 1);
    int32_t *ids = wa_block_run(&block, WA_FIELD_topk_id, 1, 0, &count);
    CU_ASSERT_EQUAL(count, 8);
    CU_ASSERT_PTR_EQUAL(ids, (int32_t *)block.field[WA_FIELD_topk_id] + 8);
    double *errors = wa_block_run(&block, WA_FIELD_row_err_p99, 1 * 8 + 3, 4, &count);
    CU_ASSERT_EQUAL(count, 3);
    CU_ASSERT_PTR_EQUAL(errors,
                        (double *)block.field[WA_FIELD_row_err_p99] + ((8 + 3) * 5 + 4) * 3);
    wa_arena_close(arena);
}

/* Two stages by three members: lead, and two that deal with cases and vindexes. */
typedef struct deal {
    uint8_t cases[3], vindexes[2];
    wa_share share;
} deal;

static void deal_shares(deal out[6], bool has_encoding)
{
    static const uint8_t case_owner[3] = {1, 2, 1}, vindex_owner[2] = {2, 0};
    for (size_t i = 0; i < 6; i++) {
        size_t stage = i / 3, member = i % 3;
        out[i] = (deal){.share = {.first_layer = stage == 0 ? 0 : 2,
                                  .layer_count = stage == 0 ? 2 : 3,
                                  .is_lead = member == 0,
                                  .is_last_stage = stage == 1,
                                  .has_encoding = has_encoding}};
        for (size_t c = 0; c < 3; c++)
            out[i].cases[c] = case_owner[c] == member;
        for (size_t v = 0; v < 2; v++)
            out[i].vindexes[v] = vindex_owner[v] == member;
        out[i].share.owns_case = out[i].cases;
        out[i].share.owns_vindex = out[i].vindexes;
    }
}

static void fill_pattern(const wa_block *block)
{
    uint32_t state = 17;
    for (int f = 0; f < WA_FIELD_COUNT; f++)
        for (size_t i = 0; i < field_bytes(f); i++) {
            state = state * 1664525u + 1013904223u;
            ((uint8_t *)block->field[f])[i] = (uint8_t)(state >> 24);
        }
}

static void shares_of_a_grid_rebuild_the_block(void)
{
    wa_arena *arena = arena_for_test();
    wa_error err = {0};
    wa_block from = block_for_test(arena), to = block_for_test(arena);
    deal deals[6];
    fill_pattern(&from);
    deal_shares(deals, true);
    size_t total = 0, expected = 0;
    for (size_t i = 0; i < 6; i++) {
        size_t bytes = wa_share_bytes(&DIMS, &deals[i].share);
        uint8_t *message;
        WA_MUST(wa_arena_take(arena, bytes + 1, 1, &message, &err), &err);
        message[bytes] = 0xa5;
        wa_share_pack(&from, &deals[i].share, message);
        CU_ASSERT_EQUAL(message[bytes], 0xa5);
        wa_share_unpack(&to, &deals[i].share, message);
        total += bytes;
    }
    for (int f = 0; f < WA_FIELD_COUNT; f++) {
        CU_ASSERT_EQUAL(memcmp(from.field[f], to.field[f], field_bytes(f)), 0);
        expected += field_bytes(f);
    }
    CU_ASSERT_EQUAL(total, expected); /* with all bytes equal: each byte travels exactly once */
    wa_arena_close(arena);
}

/* Every byte of every field is written by exactly one share. */
static void shares_do_not_overlap(void)
{
    wa_arena *arena = arena_for_test();
    wa_error err = {0};
    deal deals[6];
    deal_shares(deals, true);
    wa_block sum = block_for_test(arena), one = block_for_test(arena);
    for (int f = 0; f < WA_FIELD_COUNT; f++)
        memset(sum.field[f], 0, field_bytes(f));
    for (size_t i = 0; i < 6; i++) {
        uint8_t *message;
        size_t bytes = wa_share_bytes(&DIMS, &deals[i].share);
        WA_MUST(wa_arena_take(arena, bytes, 1, &message, &err), &err);
        memset(message, 1, bytes);
        for (int f = 0; f < WA_FIELD_COUNT; f++)
            memset(one.field[f], 0, field_bytes(f));
        wa_share_unpack(&one, &deals[i].share, message);
        for (int f = 0; f < WA_FIELD_COUNT; f++)
            for (size_t b = 0; b < field_bytes(f); b++)
                ((uint8_t *)sum.field[f])[b] =
                    (uint8_t)(((uint8_t *)sum.field[f])[b] + ((uint8_t *)one.field[f])[b]);
    }
    for (int f = 0; f < WA_FIELD_COUNT; f++)
        for (size_t b = 0; b < field_bytes(f); b++)
            CU_ASSERT_EQUAL_FATAL(((uint8_t *)sum.field[f])[b], 1);
    wa_arena_close(arena);
}

static void later_batches_carry_no_encoding(void)
{
    deal with[6], without[6];
    deal_shares(with, true);
    deal_shares(without, false);
    size_t saved = 0, expected = 0;
    for (size_t i = 0; i < 6; i++)
        saved += wa_share_bytes(&DIMS, &with[i].share) - wa_share_bytes(&DIMS, &without[i].share);
    for (int f = 0; f < WA_FIELD_COUNT; f++)
        expected +=
            wa_field_get((wa_field)f)->axes == WA_VYLJ || wa_field_get((wa_field)f)->axes == WA_VLNJ
                ? field_bytes(f)
                : 0;
    CU_ASSERT_EQUAL(saved, expected);
}

static void one_rank_alone_carries_everything(void)
{
    static const uint8_t all[3] = {1, 1, 1};
    wa_share share = {.layer_count = 5,
                      .owns_case = all,
                      .owns_vindex = all,
                      .is_lead = true,
                      .is_last_stage = true,
                      .has_encoding = true};
    size_t expected = 0;
    for (int f = 0; f < WA_FIELD_COUNT; f++)
        expected += field_bytes(f);
    CU_ASSERT_EQUAL(wa_share_bytes(&DIMS, &share), expected);
}

/* logits: last. No byte of memory or message for what does not exist. */
static void without_logits_everywhere_their_fields_do_not_exist(void)
{
    static const uint8_t all[3] = {1, 1, 1};
    wa_share share = {.layer_count = 5,
                      .owns_case = all,
                      .owns_vindex = all,
                      .is_lead = true,
                      .is_last_stage = true,
                      .has_encoding = true};
    wa_dims last = DIMS;
    size_t gone = 0;
    last.logits_all = false;
    for (int f = 0; f < WA_FIELD_COUNT; f++) {
        wa_axes axes = wa_field_get((wa_field)f)->axes;
        bool along = axes == WA_A || axes == WA_CA;
        CU_ASSERT(wa_field_exists((wa_field)f, &DIMS));
        CU_ASSERT_EQUAL(wa_field_exists((wa_field)f, &last), !along);
        gone += along ? field_bytes(f) : 0;
    }
    CU_ASSERT(gone > 0);
    CU_ASSERT_EQUAL(wa_share_bytes(&DIMS, &share) - wa_share_bytes(&last, &share), gone);
}

static void dims_that_overflow_are_refused(void)
{
    wa_arena *arena = arena_for_test();
    wa_error err = {0};
    wa_block block;
    wa_dims huge = DIMS;
    huge.rows = SIZE_MAX / 4;
    CU_ASSERT_EQUAL(wa_block_open(arena, huge, &block, &err), WA_E_MEMORY);
    wa_arena_close(arena);
}

static void every_failing_take_is_reported(void)
{
    for (size_t k = 1; k <= WA_FIELD_COUNT; k++) {
        wa_arena *arena = arena_for_test();
        wa_error err = {0};
        wa_block block;
        wa_arena_fail_at(arena, k);
        CU_ASSERT_EQUAL(wa_block_open(arena, DIMS, &block, &err), WA_E_MEMORY);
        wa_arena_close(arena);
    }
}

WA_SUITE("block", WA_CASE(the_table_names_every_field),
         WA_CASE(floats_start_as_nan_and_ids_as_minus_one),
         WA_CASE(runs_are_contiguous_in_the_order_of_the_axes),
         WA_CASE(shares_of_a_grid_rebuild_the_block), WA_CASE(shares_do_not_overlap),
         WA_CASE(later_batches_carry_no_encoding), WA_CASE(one_rank_alone_carries_everything),
         WA_CASE(without_logits_everywhere_their_fields_do_not_exist),
         WA_CASE(dims_that_overflow_are_refused), WA_CASE(every_failing_take_is_reported))

/* ENCODING: row errors by hand, quantiles by definition, and the damage that must be seen. */
#include "walk_layers.h"

enum { F = 200, H = 96 };

static const double NOMINAL_F16 = 1e-3;

/* Design 7: fails when max > 1e-3 + 4 * p99. */
static bool fails(const wa_row_error *e)
{
    return !(e->max <= 1e-3 + 4.0 * e->p99) || !(e->p99 <= NOMINAL_F16);
}

static wa_row_error check(wa_arena *arena, const wa_matrix *stored, const wa_matrix *model,
                          bool transpose)
{
    wa_row_error out;
    WA_MUST(wa_encoding_check(stored, model, transpose, arena, &out, &test_err), &test_err);
    return out;
}

static void errors_and_quantiles_are_those_by_hand(void)
{
    wa_arena *arena = test_arena();
    /* Model rows (3,4), (0,5), (5,0), (4,3): each of norm 5, so the RMS row norm is 5. */
    const float model[] = {3, 4, 0, 5, 5, 0, 4, 3};
    /* Errors |d| / 5: 0, 1/5, 2/5 (0,2), 5/5 (3,4). */
    const float stored[] = {3, 4, 1, 5, 5, 2, 7, 7};
    wa_matrix m = test_store(arena, model, 4, 2, WA_FORMAT_F32, 0);
    wa_matrix s = test_store(arena, stored, 4, 2, WA_FORMAT_F32, 0);
    wa_row_error e = check(arena, &s, &m, false);
    CU_ASSERT_DOUBLE_EQUAL(e.max, 1.0, 1e-15);
    CU_ASSERT_EQUAL(e.worst_row, 3);
    CU_ASSERT_EQUAL(e.nonfinite, 0);
    CU_ASSERT_DOUBLE_EQUAL(e.p50, 0.3, 1e-15);              /* place 1.5 of 0, 0.2, 0.4, 1 */
    CU_ASSERT_DOUBLE_EQUAL(e.p99, 0.4 + 0.97 * 0.6, 1e-12); /* place 2.97 */
    wa_arena_close(arena);
}

static void equal_matrices_have_no_error_even_when_all_zero(void)
{
    wa_arena *arena = test_arena();
    uint64_t seed = 1;
    wa_matrix m = test_matrix(arena, F, H, WA_FORMAT_BF16, 0, 1.0F, &seed);
    wa_row_error e = check(arena, &m, &m, false);
    CU_ASSERT(e.max == 0.0 && e.p50 == 0.0 && e.p99 == 0.0 && e.nonfinite == 0);
    const float zeros[4] = {0};
    wa_matrix z = test_store(arena, zeros, 2, 2, WA_FORMAT_F32, 0);
    e = check(arena, &z, &z, false);
    CU_ASSERT(e.max == 0.0 && !fails(&e));
    wa_arena_close(arena);
}

/* f16 keeps 11 bits: each value within 2^-11 of itself, so each row is too, and below the nominal
 * 1e-3. */
static void a_healthy_f16_copy_passes(void)
{
    wa_arena *arena = test_arena();
    uint64_t seed = 2;
    const float *values = test_values(arena, F * H, 0.05F, &seed);
    wa_matrix model = test_store(arena, values, F, H, WA_FORMAT_F32, 0);
    wa_matrix half = test_store(arena, values, F, H, WA_FORMAT_F16, 0);
    wa_row_error e = check(arena, &half, &model, false);
    CU_ASSERT(e.p50 > 0.0 && e.p50 <= e.p99 && e.p99 <= e.max);
    CU_ASSERT(e.max < 0x1p-11 * 1.5);
    CU_ASSERT(!fails(&e));
    wa_arena_close(arena);
}

static void a_flipped_exponent_bit_names_its_row(void)
{
    wa_arena *arena = test_arena();
    uint64_t seed = 3;
    const float *values = test_values(arena, F * H, 0.05F, &seed);
    wa_matrix model = test_store(arena, values, F, H, WA_FORMAT_F32, 0);
    float *broken = test_take(arena, F * H, sizeof *broken);
    memcpy(broken, values, F * H * sizeof *broken);
    uint32_t bits = wa_load_u32(&broken[71 * H + 5]) ^ (1U << 24); /* a factor of 4 */
    memcpy(&broken[71 * H + 5], &bits, sizeof bits);
    wa_matrix stored = test_store(arena, broken, F, H, WA_FORMAT_F32, 0);
    wa_row_error e = check(arena, &stored, &model, false);
    CU_ASSERT(fails(&e));
    CU_ASSERT_EQUAL(e.worst_row, 71);
    wa_arena_close(arena);
}

static void swapped_rows_are_both_wrong(void)
{
    wa_arena *arena = test_arena();
    uint64_t seed = 4;
    float *values = test_values(arena, F * H, 0.05F, &seed);
    wa_matrix model = test_store(arena, values, F, H, WA_FORMAT_F16, 0);
    for (size_t h = 0; h < H; h++) {
        float swap = values[17 * H + h];
        values[17 * H + h] = values[18 * H + h];
        values[18 * H + h] = swap;
    }
    wa_matrix stored = test_store(arena, values, F, H, WA_FORMAT_F16, 0);
    wa_row_error e = check(arena, &stored, &model, false);
    CU_ASSERT(fails(&e));
    CU_ASSERT_EQUAL(e.worst_row, 17);
    CU_ASSERT(e.max > 1.0 && e.max < 2.0); /* sqrt 2 for rows of random sign */
    wa_arena_close(arena);
}

/* Both ways: stored rows in place, and decoded from f16, which takes another band height. */
static void down_is_compared_with_the_transpose_of_the_model(void)
{
    wa_arena *arena = test_arena();
    uint64_t seed = 5;
    const float *values = test_values(arena, F * H, 0.05F, &seed);
    float *turned = test_take(arena, F * H, sizeof *turned);
    for (size_t f = 0; f < F; f++)
        for (size_t h = 0; h < H; h++)
            turned[h * F + f] = values[f * H + h];
    static const wa_format formats[] = {WA_FORMAT_F32, WA_FORMAT_F16};
    for (size_t i = 0; i < 2; i++) {
        wa_matrix stored = test_store(arena, values, F, H, formats[i], 0);
        wa_matrix model = test_store(arena, turned, H, F, WA_FORMAT_F32, 0);
        wa_matrix straight = test_store(arena, values, F, H, WA_FORMAT_F32, 0);
        wa_row_error a = check(arena, &stored, &model, true),
                     b = check(arena, &stored, &straight, false);
        CU_ASSERT_DOUBLE_EQUAL(a.p50, b.p50, 1e-15);
        CU_ASSERT_DOUBLE_EQUAL(a.p99, b.p99, 1e-15);
        CU_ASSERT_DOUBLE_EQUAL(a.max, b.max, 1e-15);
        CU_ASSERT_EQUAL(a.worst_row, b.worst_row);
        CU_ASSERT(i == 1 || a.max == 0.0);
    }
    wa_arena_close(arena);
}

/* 1100 features of 96: a band in the cache holds 119 of the model's rows, so 96 + rest are cut when
 * H is larger. */
static void bands_leave_no_element_out(void)
{
    enum { WIDE = 1100, TALL = 250 };
    wa_arena *arena = test_arena();
    float *values = test_take(arena, WIDE * TALL, sizeof *values);
    float *turned = test_take(arena, WIDE * TALL, sizeof *turned);
    uint64_t seed = 6;
    for (size_t f = 0; f < WIDE; f++)
        for (size_t h = 0; h < TALL; h++)
            values[f * TALL + h] = turned[h * WIDE + f] = test_random(&seed);
    wa_matrix model = test_store(arena, turned, TALL, WIDE, WA_FORMAT_F32, 0);
    static const size_t places[] = {0, 118, 119, 120, 237, 238, 249};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        float *at = &values[1087 * TALL + places[i]], kept = *at;
        *at += 3.0F;
        wa_matrix stored = test_store(arena, values, WIDE, TALL, WA_FORMAT_F32, 0);
        wa_row_error e = check(arena, &stored, &model, true);
        CU_ASSERT(e.worst_row == 1087 && e.max > 0.1 && e.p99 == 0.0);
        *at = kept;
    }
    wa_arena_close(arena);
}

static void values_that_are_no_numbers_are_counted_and_placed(void)
{
    wa_arena *arena = test_arena();
    uint64_t seed = 7;
    float *values = test_values(arena, F * H, 0.05F, &seed);
    wa_matrix model = test_store(arena, values, F, H, WA_FORMAT_F32, 0);
    values[9 * H + 3] = NAN;
    values[9 * H + 4] = INFINITY;
    values[60 * H] = -INFINITY;
    values[5 * H] += 1.0F; /* a larger finite error does not hide them */
    wa_matrix stored = test_store(arena, values, F, H, WA_FORMAT_F32, 0);
    wa_row_error e = check(arena, &stored, &model, false);
    CU_ASSERT_EQUAL(e.nonfinite, 3);
    CU_ASSERT(isnan(e.max));
    CU_ASSERT_EQUAL(e.worst_row, 9);
    CU_ASSERT(e.p50 == 0.0 && fails(&e));
    wa_arena_close(arena);
}

static void shapes_that_do_not_belong_together_are_refused(void)
{
    wa_arena *arena = test_arena();
    uint64_t seed = 8;
    wa_matrix a = test_matrix(arena, 8, 4, WA_FORMAT_F32, 0, 1.0F, &seed);
    wa_matrix b = test_matrix(arena, 8, 5, WA_FORMAT_F32, 0, 1.0F, &seed);
    wa_row_error e;
    CU_ASSERT_EQUAL(wa_encoding_check(&a, &b, false, arena, &e, &test_err), WA_E_MISMATCH);
    CU_ASSERT_EQUAL(wa_encoding_check(&a, &a, true, arena, &e, &test_err), WA_E_MISMATCH);
    CU_ASSERT_PTR_NOT_NULL(strstr(test_err.text, "8 x 4"));
    wa_arena_close(arena);
}

WA_SUITE("encoding", WA_CASE(errors_and_quantiles_are_those_by_hand),
         WA_CASE(equal_matrices_have_no_error_even_when_all_zero),
         WA_CASE(a_healthy_f16_copy_passes), WA_CASE(a_flipped_exponent_bit_names_its_row),
         WA_CASE(swapped_rows_are_both_wrong),
         WA_CASE(down_is_compared_with_the_transpose_of_the_model),
         WA_CASE(bands_leave_no_element_out),
         WA_CASE(values_that_are_no_numbers_are_counted_and_placed),
         WA_CASE(shapes_that_do_not_belong_together_are_refused))

/* ENCODING: row errors by hand, quantiles by definition, and the damage that must be seen. */
#include "walk_layers.h"

#include "path/encoding.h"

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
    WA_MUST(wa_encoding_check(stored, model, transpose, WA_ENCODED_LARQL, arena, &out, &test_err),
            &test_err);
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

/* bf16 keeps 8 bits: the nearest value lies within 2^-8 of the model's, either neighbour within
 * 2^-7, and the next one beyond is no rounding of it. */
static void a_bf16_copy_holds_neighbours_alone(void)
{
    enum { ROW = 71, BF16_STEP = 1 << 16 };
    wa_arena *arena = test_arena();
    uint64_t seed = 2;
    const float *values = test_values(arena, F * H, 0.05F, &seed);
    wa_matrix model = test_store(arena, values, F, H, WA_FORMAT_F32, 0);
    wa_matrix nearest = test_store(arena, values, F, H, WA_FORMAT_BF16, 0);
    wa_row_error e = check(arena, &nearest, &model, false);
    CU_ASSERT(e.basis == WA_BASIS_BF16 && e.unequal == 0 && e.max > 0.0 && e.max <= 0x1p-8);

    float *below = test_take(arena, F * H, sizeof *below);
    for (size_t i = 0; i < (size_t)F * H; i++) {
        uint32_t bits = wa_load_u32(&values[i]) & ~(uint32_t)(BF16_STEP - 1);
        memcpy(&below[i], &bits, sizeof bits);
    }
    wa_matrix truncated = test_store(arena, below, F, H, WA_FORMAT_BF16, 0);
    double least = e.max;
    e = check(arena, &truncated, &model, false);
    CU_ASSERT(e.unequal == 0 && e.max > least && e.max <= 0x1p-7);

    uint32_t bits = wa_load_u32(&below[ROW * H + 5]) - BF16_STEP;
    memcpy(&below[ROW * H + 5], &bits, sizeof bits);
    wa_matrix wrong = test_store(arena, below, F, H, WA_FORMAT_BF16, 0);
    e = check(arena, &wrong, &model, false);
    CU_ASSERT(e.unequal == 1 && e.unequal_row == ROW);
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

/* --- Which rows are equal --------------------------------------------------------------------- */

static size_t unequal_of_one(wa_arena *arena, float stored, float model, wa_format format)
{
    uint16_t half = wa_f32_to_f16(stored); /* exact: `stored` is an f16 value where the format is */
    wa_matrix m = test_store(arena, &model, 1, 1, WA_FORMAT_F32, 0),
              s = test_store(arena, &stored, 1, 1, format, 0);
    CU_ASSERT(format != WA_FORMAT_F16 || wa_f16_to_f32(half) == stored);
    return check(arena, &s, &m, false).unequal;
}

/* One of the two f16 neighbours; itself where it is an f16 value; a flushed subnormal. In f16 files
 * and f32 ones. */
static void f16_values_are_neighbours_of_the_model(void)
{
    static const struct {
        float model, stored;
        size_t unequal;
    } table[] = {{1.0F, 1.0F, 0},
                 {1.0F, 1.0F + 0x1p-10F, 1}, /* representable: nothing else will do */
                 {1.0F + 0x1p-11F, 1.0F, 0},
                 {1.0F + 0x1p-11F, 1.0F + 0x1p-10F, 0},
                 {1.0F + 0x1p-11F, 1.0F + 0x1p-9F, 1},
                 {1.0F + 0x1p-20F, 1.0F - 0x1p-11F, 1}, /* below the lower neighbour */
                 {-0.3F, -0.300048828125F, 0},
                 {-0.3F, -0.2998046875F, 0},
                 {-0.3F, 0.300048828125F, 1}, /* the sign */
                 {65519.0F, 65504.0F, 0},
                 {0x1.8p-24F, 0x1p-24F, 0},
                 {0x1.8p-24F, 0x1p-23F, 0},
                 {0x1.8p-24F, 0x1.8p-23F, 1},
                 {0x1p-20F, 0.0F, 0}, /* flushed by LARQL's converter */
                 {0x1p-20F, 0x1p-20F + 0x1p-24F, 1},
                 {0x1.ffcp-15F, 0x1p-14F, 0},
                 {0x1p-14F, 0.0F, 1}, /* not below the normal values */
                 {0.0F, -0.0F, 0},
                 {0.0F, 0x1p-24F, 1}};
    wa_arena *arena = test_arena();
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        float model = table[i].model, stored = table[i].stored;
        CU_ASSERT_EQUAL(unequal_of_one(arena, stored, model, WA_FORMAT_F16), table[i].unequal);
        CU_ASSERT_EQUAL(unequal_of_one(arena, stored, model, WA_FORMAT_F32), table[i].unequal);
    }
    wa_arena_close(arena);
}

/* An f32 file is one of f16 values as a whole or not at all. */
static void an_f32_file_holds_f16_values_or_the_models(void)
{
    wa_arena *arena = test_arena();
    uint64_t seed = 21;
    const float *values = test_values(arena, F * H, 0.05F, &seed);
    wa_matrix model = test_store(arena, values, F, H, WA_FORMAT_F32, 0);
    for (int larql = 0; larql < 2; larql++) {
        float *through = test_take(arena, F * H, sizeof *through);
        for (size_t i = 0; i < F * H; i++)
            through[i] = wa_f16_to_f32(larql != 0 ? wa_f32_to_f16_larql(values[i])
                                                  : wa_f32_to_f16(values[i]));
        wa_matrix half = test_store(arena, through, F, H, WA_FORMAT_F32, 0);
        wa_row_error e = check(arena, &half, &model, false);
        CU_ASSERT(e.unequal == 0 && e.basis == WA_BASIS_F16 && e.rows == F);
        /* a row of the model's own: f16 no more */
        memcpy(through + 30 * H, values + 30 * H, H * sizeof *values);
        half = test_store(arena, through, F, H, WA_FORMAT_F32, 0);
        e = check(arena, &half, &model, false);
        CU_ASSERT(e.unequal == 1 && e.unequal_row == 30 && e.basis == WA_BASIS_F16);
        /* a row of f16 values among the model's own */
        float *mixed = test_take(arena, F * H, sizeof *mixed);
        memcpy(mixed, values, F * H * sizeof *values);
        memcpy(mixed + 31 * H, through + 31 * H, H * sizeof *values);
        wa_matrix own = test_store(arena, mixed, F, H, WA_FORMAT_F32, 0);
        e = check(arena, &own, &model, false);
        CU_ASSERT(e.unequal == 1 && e.unequal_row == 31 && e.basis == WA_BASIS_EQUALITY);
    }
    wa_arena_close(arena);
}

static const wa_format BLOCKS[] = {WA_FORMAT_GGML_Q4_0, WA_FORMAT_GGML_Q6_K, WA_FORMAT_Q4_0,
                                   WA_FORMAT_Q4_K,      WA_FORMAT_Q6_K,      WA_FORMAT_FP4,
                                   WA_FORMAT_FP8};
enum { BLOCK_FORMATS = sizeof BLOCKS / sizeof BLOCKS[0] };

/* Rows of 96 are padded in all formats but Q4_0. From the weights, or from either kind of their f16
 * values. */
static void every_re_encoding_is_equal_and_one_bit_is_not(void)
{
    for (size_t f = 0; f < BLOCK_FORMATS; f++)
        for (int source = 0; source < 3; source++) {
            wa_arena *arena = test_arena();
            uint64_t seed = 31;
            float *values = test_values(arena, F * H, 0.05F, &seed),
                  *turned = test_take(arena, F * H, sizeof *turned);
            for (size_t i = 0; i < F * H; i++)
                turned[i % H * F + i / H] = values[i];
            wa_matrix model = test_store(arena, values, F, H, WA_FORMAT_F32, 0);
            wa_matrix down = test_store(arena, turned, H, F, WA_FORMAT_F32, 0);
            for (size_t i = 0; i < F * H && source > 0; i++)
                values[i] = wa_f16_to_f32(source == 1 ? wa_f32_to_f16(values[i])
                                                      : wa_f32_to_f16_larql(values[i]));
            wa_matrix stored = test_store(arena, values, F, H, BLOCKS[f], 1);
            wa_row_error e = check(arena, &stored, &model, false),
                         t = check(arena, &stored, &down, true);
            CU_ASSERT(e.unequal == 0 && e.unequal_row == -1 && e.basis == WA_BASIS_REENCODING &&
                      e.p99 > 0.0);
            CU_ASSERT(t.unequal == 0 && t.p99 == e.p99 && t.max == e.max);
            /* as a gate re-made from K-quants is read: the stored bytes are the same */
            stored.through_f16 = true;
            CU_ASSERT_EQUAL(check(arena, &stored, &model, false).unequal, 0);
            stored.through_f16 = false;
            size_t code = BLOCKS[f] == WA_FORMAT_Q4_0 || BLOCKS[f] == WA_FORMAT_GGML_Q4_0 ? 2
                          : BLOCKS[f] == WA_FORMAT_Q4_K                                   ? 16
                                                                                          : 0;
            /* one code by four levels */
            ((uint8_t *)(uintptr_t)stored.data)[57 * stored.row_bytes + code + 3] ^= 4;
            e = check(arena, &stored, &model, false);
            t = check(arena, &stored, &down, true);
            CU_ASSERT(e.unequal == 1 && e.unequal_row == 57 && e.steps_row == 57 && e.steps > 1.0);
            CU_ASSERT(t.unequal == 1 && t.unequal_row == 57 && t.steps == e.steps &&
                      t.ratio == e.ratio);
            wa_arena_close(arena);
        }
}

/* Weights that are the stored values lie no step away; between two levels it is a half; out of
 * range, nothing. */
static void steps_are_those_of_the_stored_scales(void)
{
    wa_arena *arena = test_arena();
    for (size_t f = 0; f < BLOCK_FORMATS; f++) {
        uint64_t seed = 41;
        enum { N = 512 };
        float *values = test_values(arena, N, 0.05F, &seed),
              *back = test_take(arena, N, sizeof *back);
        wa_matrix stored = test_store(arena, values, 1, N, BLOCKS[f], 0);
        wa_matrix_decode(&stored, 0, 1, back);
        CU_ASSERT(wa_row_steps(BLOCKS[f], stored.data, back, N) < 1e-3F);
        float own = wa_row_steps(BLOCKS[f], stored.data, values, N);
        /* LARQL truncates scales after the codes are chosen, and of FP8 drops what is below a
         * level */
        CU_ASSERT(own > 0.4F && own < (BLOCKS[f] == WA_FORMAT_FP8 ? 1.0F : 0.7F));
        for (size_t i = 0; i < N; i++)
            back[i] *= 1.06F;
        CU_ASSERT(wa_row_steps(BLOCKS[f], stored.data, back, N) > 0.12F);
        for (size_t i = 0; i < N; i++)
            back[i] = values[(i + 1) % N];
        CU_ASSERT(wa_row_steps(BLOCKS[f], stored.data, back, N) > 3.0F);
        /* a row that ends in a block */
        CU_ASSERT(wa_row_steps(BLOCKS[f], stored.data, values, 300) <= own);
    }
    /* by hand: d = 2, codes -8 .. 7 at 2 * (q - 8) */
    uint8_t block[18] = {0x00, 0x40};
    memset(block + 2, 0x99, 16); /* q = 9: all values are 2 */
    float weights[32];
    for (size_t i = 0; i < 32; i++)
        weights[i] = 2.0F;
    CU_ASSERT_EQUAL(wa_row_steps(WA_FORMAT_Q4_0, block, weights, 32), 0.0F);
    weights[5] = 3.5F;
    CU_ASSERT_EQUAL(wa_row_steps(WA_FORMAT_Q4_0, block, weights, 32), 0.75F);
    CU_ASSERT_EQUAL(wa_row_steps(WA_FORMAT_Q4_0, block, weights, 5), 0.0F);
    weights[5] = 100.0F; /* beyond the last level, 7 */
    CU_ASSERT_EQUAL(wa_row_steps(WA_FORMAT_Q4_0, block, weights, 32), 6.0F);
    /* no scale at all: weights above half of what the least scale spans are lost */
    block[1] = block[0] = 0;
    CU_ASSERT(wa_row_steps(WA_FORMAT_Q4_0, block, weights, 32) > 1e6F);
    wa_arena_close(arena);
}

/* Sums over unequal rows alone, by hand: values twice as long. */
static void gain_and_ratio_are_of_the_unequal_rows(void)
{
    wa_arena *arena = test_arena();
    uint64_t seed = 51;
    float *values = test_values(arena, F * H, 0.05F, &seed);
    wa_matrix model = test_store(arena, values, F, H, WA_FORMAT_F32, 0);
    for (size_t i = 20 * H; i < 24 * H; i++)
        values[i] *= i < 21 * H ? 4.0F : 2.0F;
    wa_matrix stored = test_store(arena, values, F, H, WA_FORMAT_Q4_K, 0);
    wa_row_error e = check(arena, &stored, &model, false);
    CU_ASSERT_EQUAL(e.unequal, 4);
    CU_ASSERT(e.unequal_row == 20 && e.row_gain_row == 20);
    CU_ASSERT_DOUBLE_EQUAL(e.row_gain, 3.0, 0.1);
    /* (3 + 1 + 1 + 1) / 4, rows of unlike length */
    CU_ASSERT(e.gain > 1.2 && e.gain < 1.8 && e.ratio > 10.0);
    wa_arena_close(arena);
}

/* Rows of Q4_0 by an encoder that is not LARQL's: the signed largest over -8, `stretch` times that
 * in one row, and nearest levels of it. */
static wa_matrix another_encoders(wa_arena *arena, const float *values, size_t cols,
                                  size_t stretched, float stretch)
{
    wa_matrix stored = test_store(arena, values, F, cols, WA_FORMAT_Q4_0, 0);
    uint8_t *bytes;
    WA_MUST(wa_arena_take(arena, F * stored.row_bytes, 1, &bytes, &test_err), &test_err);
    for (size_t block = 0; block < F * cols / 32; block++) {
        const float *w = values + block * 32;
        uint8_t *out = bytes + block * 18;
        float most = 0.0F;
        for (size_t i = 0; i < 32; i++)
            most = fabsf(w[i]) > fabsf(most) ? w[i] : most;
        bool is_stretched = block / (cols / 32) == stretched || stretched == F;
        uint16_t half = wa_f32_to_f16(most / -8.0F * (is_stretched ? stretch : 1.0F));
        float d = wa_f16_to_f32(half);
        memcpy(out, &half, sizeof half);
        for (size_t i = 0; i < 32; i++) {
            float code = fminf(fmaxf(nearbyintf(w[i] / d), -8.0F), 7.0F) + 8.0F;
            out[2 + i / 2] |= (uint8_t)((unsigned)code << (i % 2 * 4));
        }
    }
    stored.data = bytes;
    return stored;
}

/* One bad row of many: of all rows together nobody sees it. */
static void one_coarse_row_shows_in_its_own_ratio(void)
{
    wa_arena *arena = test_arena();
    uint64_t seed = 52;
    const float *values = test_values(arena, F * H, 0.05F, &seed);
    wa_matrix model = test_store(arena, values, F, H, WA_FORMAT_F32, 0);
    static const wa_encoded_by by[] = {WA_ENCODED_LARQL, WA_ENCODED_ANY};
    for (size_t i = 0; i < 2; i++) {
        wa_row_error e;
        wa_matrix good = another_encoders(arena, values, H, 100, 1.0F);
        WA_MUST(wa_encoding_check(&good, &model, false, by[i], arena, &e, &test_err), &test_err);
        CU_ASSERT(e.unequal > F / 2 && e.steps < 0.51 && e.ratio < 1.02);
        CU_ASSERT(e.row_ratio > e.ratio && e.row_ratio < 1.4);
        CU_ASSERT_DOUBLE_EQUAL(e.part_ratio, e.ratio, 1e-9); /* one matrix is all */
        CU_ASSERT_EQUAL(e.part_ratio_row, e.row_ratio_row);
        wa_matrix bad = another_encoders(arena, values, H, 100, 4.0F);
        WA_MUST(wa_encoding_check(&bad, &model, false, by[i], arena, &e, &test_err), &test_err);
        CU_ASSERT(e.steps < 0.51 && e.ratio < 1.1);
        CU_ASSERT(e.row_ratio_row == 100 && e.row_ratio > 3.0 && e.row_ratio < 5.0);
    }
    /* equal rows have none */
    wa_row_error own = check(arena, &model, &model, false);
    CU_ASSERT(own.row_ratio == 0.0 && own.row_ratio_row == -1 && own.part_ratio_row == -1);
    wa_arena_close(arena);
}

/* A bad expert of many: its rows are a small share of all. */
static void one_coarse_matrix_of_many_shows_in_its_own_ratio(void)
{
    enum { EXPERTS = 24, BAD = 17 };
    wa_arena *arena = test_arena();
    uint64_t seed = 53;
    wa_encoding_pair pairs[EXPERTS] = {0};
    wa_encoding_part parts[EXPERTS] = {0};
    for (size_t i = 0; i < EXPERTS; i++) {
        const float *values = test_values(arena, F * H, 0.05F, &seed);
        pairs[i].model = test_store(arena, values, F, H, WA_FORMAT_F32, 0);
        pairs[i].stored = another_encoders(arena, values, H, F, i == BAD ? 1.8F : 1.0F);
    }
    wa_row_error e;
    WA_MUST(
        wa_encoding_check_all(pairs, EXPERTS, false, WA_ENCODED_LARQL, arena, &e, parts, &test_err),
        &test_err);
    CU_ASSERT(e.ratio < 1.1 && e.row_ratio < 2.0);
    CU_ASSERT(e.part_ratio > 1.5 && e.part_ratio_row / F == BAD);
    CU_ASSERT_EQUAL(parts[BAD].ratio, e.part_ratio);
    for (size_t i = 0; i < EXPERTS; i++)
        CU_ASSERT(i == BAD || (parts[i].ratio > 0.5 && parts[i].ratio < 1.1));
    wa_arena_close(arena);
}

static void shapes_that_do_not_belong_together_are_refused(void)
{
    wa_arena *arena = test_arena();
    uint64_t seed = 8;
    wa_matrix a = test_matrix(arena, 8, 4, WA_FORMAT_F32, 0, 1.0F, &seed);
    wa_matrix b = test_matrix(arena, 8, 5, WA_FORMAT_F32, 0, 1.0F, &seed);
    wa_row_error e;
    CU_ASSERT_EQUAL(wa_encoding_check(&a, &b, false, WA_ENCODED_LARQL, arena, &e, &test_err),
                    WA_E_MISMATCH);
    CU_ASSERT_EQUAL(wa_encoding_check(&a, &a, true, WA_ENCODED_LARQL, arena, &e, &test_err),
                    WA_E_MISMATCH);
    CU_ASSERT_PTR_NOT_NULL(strstr(test_err.text, "8 x 4"));
    wa_arena_close(arena);
}

WA_SUITE("encoding", WA_CASE(errors_and_quantiles_are_those_by_hand),
         WA_CASE(equal_matrices_have_no_error_even_when_all_zero),
         WA_CASE(a_healthy_f16_copy_passes), WA_CASE(a_bf16_copy_holds_neighbours_alone),
         WA_CASE(a_flipped_exponent_bit_names_its_row), WA_CASE(swapped_rows_are_both_wrong),
         WA_CASE(down_is_compared_with_the_transpose_of_the_model),
         WA_CASE(bands_leave_no_element_out),
         WA_CASE(values_that_are_no_numbers_are_counted_and_placed),
         WA_CASE(f16_values_are_neighbours_of_the_model),
         WA_CASE(an_f32_file_holds_f16_values_or_the_models),
         WA_CASE(every_re_encoding_is_equal_and_one_bit_is_not),
         WA_CASE(steps_are_those_of_the_stored_scales),
         WA_CASE(gain_and_ratio_are_of_the_unequal_rows),
         WA_CASE(one_coarse_row_shows_in_its_own_ratio),
         WA_CASE(one_coarse_matrix_of_many_shows_in_its_own_ratio),
         WA_CASE(shapes_that_do_not_belong_together_are_refused))

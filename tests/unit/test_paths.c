/* Kernels of the paths: against the oracle, against the goldens, and against each other bit for
 * bit. */
#include "walk_layers.h"

#include <float.h>

enum { ROWS = 11, K = 37 };

static const test_kind GATED = {.gated = true, .feature_major = true, .activation = WA_GELU_TANH};
static const test_kind GATED_F16_SILU = {
    .gated = true, .feature_major = true, .activation = WA_SILU, .gate_format = WA_FORMAT_F16};
static const test_kind UNALIGNED = {
    .gated = true, .feature_major = true, .biased = true, .activation = WA_GELU_ERF, .shift = 2};
static const test_kind UNGATED = {
    .feature_major = true, .biased = true, .activation = WA_GELU_TANH};
static const test_kind MODEL = {.gated = true,
                                .activation = WA_SILU,
                                .gate_format = WA_FORMAT_BF16,
                                .model_format = WA_FORMAT_BF16};
static const test_kind MODEL_UNGATED = {.biased = true,
                                        .activation = WA_GELU_TANH,
                                        .gate_format = WA_FORMAT_BF16,
                                        .model_format = WA_FORMAT_BF16};

/* A down stored [H, F], as K-quants have it; and blocks in feature-major rows. */
static const test_kind Q4K = {.gated = true,
                              .activation = WA_GELU_TANH,
                              .gate_format = WA_FORMAT_F16,
                              .model_format = WA_FORMAT_Q4_K};
static const test_kind Q6K_UNGATED = {.biased = true,
                                      .activation = WA_SILU,
                                      .gate_format = WA_FORMAT_Q4_K,
                                      .model_format = WA_FORMAT_Q6_K};
static const test_kind FP4 = {.gated = true,
                              .feature_major = true,
                              .biased = true,
                              .activation = WA_SILU,
                              .model_format = WA_FORMAT_FP4};
static const test_kind FP8 = {.gated = true,
                              .feature_major = true,
                              .activation = WA_GELU_TANH,
                              .model_format = WA_FORMAT_FP8};
static const test_kind Q4 = {.gated = true,
                             .feature_major = true,
                             .activation = WA_SILU,
                             .gate_format = WA_FORMAT_Q4_0,
                             .model_format = WA_FORMAT_Q4_0};
static const test_kind Q4_UNGATED = {.feature_major = true,
                                     .biased = true,
                                     .activation = WA_GELU_TANH,
                                     .gate_format = WA_FORMAT_Q4_0,
                                     .model_format = WA_FORMAT_Q4_0};

static const struct shape {
    size_t features, hidden;
} SHAPES[] = {{96, 64}, {131, 37}, {640, 129}, {1023, 5}, {40, 300}, {70, 608}};
enum { SHAPE_COUNT = sizeof SHAPES / sizeof SHAPES[0] };

/*
 * Rounding errors of an f32 sum of n products are random, so they grow like sqrt(n) times the unit
 * roundoff 2^-24 of the root of the sum of squares, which for weights of random sign is the size of
 * the sum itself (Higham, Accuracy and Stability, 2.8). Three sums follow one another, H, H and F
 * long; 4 covers them and phi.
 */
static double bound(const wa_walk_layer *l)
{
    return 4.0 * 0x1p-24 * sqrt((double)(l->features + l->hidden));
}

static void check_against_oracle(const wa_case *which, const wa_walk_layer *l)
{
    wa_arena *arena = test_arena();
    uint64_t seed = 77;
    const float *x = test_values(arena, ROWS * l->hidden, 1.0F, &seed);
    int32_t *hits =
        which->k == WA_K_ALL ? NULL : test_take(arena, (size_t)which->k * ROWS, sizeof *hits);
    float *y = test_run(arena, which, l, ROWS, x, hits);
    double *truth = test_oracle(arena, which, l, ROWS, x, hits);
    /* All rows together: a row of a single feature whose up score cancels is small, its error is
     * not. */
    CU_ASSERT(test_rel_l2(y, truth, ROWS * l->hidden) <= bound(l));
    wa_arena_close(arena);
}

static void check_kind(wa_path path, wa_label kernel, int k, test_kind kind)
{
    wa_arena *arena = test_arena();
    wa_case which = test_case(path, kernel, k);
    for (size_t s = 0; s < SHAPE_COUNT; s++) {
        wa_walk_layer l = test_layer(arena, SHAPES[s].features, SHAPES[s].hidden, kind, 1 + s);
        check_against_oracle(&which, &l);
    }
    wa_arena_close(arena);
}

static void products_stay_within_rounding_of_the_oracle(void)
{
    check_kind(WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL, GATED);
    check_kind(WA_PATH_SPARSE, WA_LABEL_SPARSE_GEMV_FULL_K, WA_K_ALL, GATED_F16_SILU);
    check_kind(WA_PATH_INTERLEAVED, WA_LABEL_INTERLEAVED, WA_K_ALL, UNALIGNED);
    check_kind(WA_PATH_EXACT, WA_LABEL_EXACT, WA_K_ALL, UNGATED);
    check_kind(WA_PATH_DENSE, WA_LABEL_NONE, WA_K_ALL, MODEL);
    check_kind(WA_PATH_DENSE, WA_LABEL_NONE, WA_K_ALL, MODEL_UNGATED);
}

static void the_per_feature_loop_stays_within_rounding_of_the_oracle(void)
{
    static const int ks[] = {1, K, 5000, WA_K_ALL};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
        check_kind(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, ks[i], GATED);
        check_kind(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, ks[i], GATED_F16_SILU);
        check_kind(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, ks[i], UNALIGNED);
        check_kind(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, ks[i], UNGATED);
    }
}

/* Rows of 37 or 300 elements are padded to whole blocks; 608 columns are cut into bands. */
static void blocks_stay_within_rounding_of_the_oracle(void)
{
    static const test_kind *const kinds[] = {&Q4K, &Q6K_UNGATED, &FP4, &FP8};
    static const int ks[] = {1, K, WA_K_ALL};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        check_kind(WA_PATH_SPARSE, WA_LABEL_SPARSE_GEMV_FULL_K, WA_K_ALL, *kinds[i]);
        check_kind(WA_PATH_INTERLEAVED_Q4K, WA_LABEL_INTERLEAVED_Q4K_DEQUANT, WA_K_ALL, *kinds[i]);
        for (size_t k = 0; k < sizeof ks / sizeof ks[0]; k++) {
            check_kind(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, ks[k], *kinds[i]);
            check_kind(WA_PATH_SPARSE_PARALLEL, WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN, ks[k],
                       *kinds[i]);
        }
    }
}

static void q8_activations_stay_within_rounding_of_the_oracle(void)
{
    static const struct shape shapes[] = {{96, 64}, {131, 32}, {640, 160}, {40, 288}, {1, 608}};
    static const test_kind *const kinds[] = {&Q4, &Q4_UNGATED};
    wa_case which = test_case(WA_PATH_INTERLEAVED_Q4, WA_LABEL_INTERLEAVED_Q4_CPU, WA_K_ALL);
    wa_arena *arena = test_arena();
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (size_t i = 0; i < 2; i++) {
            wa_walk_layer l =
                test_layer(arena, shapes[s].features, shapes[s].hidden, *kinds[i], 3 + s);
            check_against_oracle(&which, &l);
        }
    wa_arena_close(arena);
}

/* 32 values by hand: weights 1 to 7 in turn, so d = 1; x = 1.27 once and 0.014, which is 1.4 of
 * 0.01 and rounds to 1. gate = up = s * dot = 0.01 * (127 * 1 + sum of the others), down = act *
 * 1. */
static void q8_rounds_x_and_not_the_activations(void)
{
    enum { H = 32 };
    wa_arena *arena = test_arena();
    float row[H], ones[H], x[H];
    int sum = 127;
    for (int i = 0; i < H; i++) {
        row[i] = (float)(1 + i % 7);
        ones[i] = i == 0 ? 7.0F : 1.0F; /* the largest is 7, so d = 1 */
        x[i] = i == 0 ? 1.27F : 0.014F;
        sum += i == 0 ? 0 : 1 + i % 7;
    }
    wa_walk_layer l = {.gated = true,
                       .down_is_feature_major = true,
                       .activation = WA_SILU,
                       .features = 1,
                       .hidden = H};
    l.gate = l.up = test_store(arena, row, 1, H, WA_FORMAT_Q4_0, 0);
    l.down = test_store(arena, ones, 1, H, WA_FORMAT_Q4_0, 0);
    wa_case which = test_case(WA_PATH_INTERLEAVED_Q4, WA_LABEL_INTERLEAVED_Q4_CPU, WA_K_ALL);
    double score = 0.01 * sum, act = wa_phi_ref(WA_SILU, score) * score;
    CU_ASSERT_DOUBLE_EQUAL(test_run(arena, &which, &l, 1, x, NULL)[5], act, 1e-5 * act);
    CU_ASSERT_DOUBLE_EQUAL(test_oracle(arena, &which, &l, 1, x, NULL)[5], act, 1e-6 * act);

    x[9] = NAN; /* upstream would round it to 0 */
    CU_ASSERT(isnan(test_run(arena, &which, &l, 1, x, NULL)[5]));
    CU_ASSERT(isnan(test_oracle(arena, &which, &l, 1, x, NULL)[5]));
    wa_matrix f32 = test_store(arena, row, 1, H, WA_FORMAT_F32, 0);
    l.up = f32;
    wa_scratch scratch = test_scratch(arena, 1, &l);
    float y[H];
    wa_walk_io io = {.x = x, .y = y};
    wa_label label;
    CU_ASSERT_EQUAL(wa_case_run(&which, &l, 1, &io, 1, &scratch, &label, &test_err),
                    WA_E_UNSUPPORTED);
    wa_arena_close(arena);
}

static void the_fallback_stays_within_rounding_of_the_oracle(void)
{
    static const int ks[] = {1, K, 5000, WA_K_ALL};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
        check_kind(WA_PATH_WEIGHTS_FALLBACK, WA_LABEL_WEIGHTS_FALLBACK_SPARSE, ks[i], MODEL);
        check_kind(WA_PATH_WEIGHTS_FALLBACK, WA_LABEL_WEIGHTS_FALLBACK_SPARSE, ks[i],
                   MODEL_UNGATED);
    }
}

/* Bits of two cases on one layer and the same x. */
static bool same_bits(const wa_case *a, const wa_walk_layer *la, const wa_case *b,
                      const wa_walk_layer *lb, size_t rows)
{
    wa_arena *arena = test_arena();
    uint64_t seed = 5;
    const float *x = test_values(arena, rows * la->hidden, 1.0F, &seed);
    const float *ya = test_run(arena, a, la, rows, x, NULL),
                *yb = test_run(arena, b, lb, rows, x, NULL);
    bool same = memcmp(ya, yb, rows * la->hidden * sizeof *ya) == 0;
    wa_arena_close(arena);
    return same;
}

static void gemv_full_k_equals_full_mmap_in_every_bit(void)
{
    wa_arena *arena = test_arena();
    test_kind biased = GATED;
    biased.biased = true; /* ours adds the down bias in both (Q6) */
    wa_walk_layer l = test_layer(arena, 331, 129, biased, 3);
    wa_case gemv = test_case(WA_PATH_SPARSE, WA_LABEL_SPARSE_GEMV_FULL_K, WA_K_ALL);
    wa_case mmap = test_case(WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL);
    CU_ASSERT(same_bits(&gemv, &l, &mmap, &l, ROWS));
    wa_arena_close(arena);
}

static void the_fallback_with_four_fifths_equals_dense_in_every_bit(void)
{
    wa_arena *arena = test_arena();
    wa_walk_layer l = test_layer(arena, 131, 64, MODEL, 3);
    wa_case dense = wa_case_dense();
    wa_case all = test_case(WA_PATH_WEIGHTS_FALLBACK, WA_LABEL_WEIGHTS_FALLBACK_SPARSE, WA_K_ALL);
    wa_case enough = test_case(WA_PATH_WEIGHTS_FALLBACK, WA_LABEL_WEIGHTS_FALLBACK_SPARSE, 105);
    wa_case too_few = test_case(WA_PATH_WEIGHTS_FALLBACK, WA_LABEL_WEIGHTS_FALLBACK_SPARSE, 104);
    CU_ASSERT(same_bits(&dense, &l, &all, &l, ROWS));
    CU_ASSERT(same_bits(&dense, &l, &enough, &l, ROWS));   /* 5 * 105 = 525 >= 4 * 131 = 524 */
    CU_ASSERT(!same_bits(&dense, &l, &too_few, &l, ROWS)); /* 520 < 524 */
    wa_arena_close(arena);
}

static void unaligned_rows_give_the_bits_of_aligned_ones(void)
{
    wa_arena *arena = test_arena();
    test_kind shifted = GATED;
    shifted.shift = 2;
    wa_walk_layer plain = test_layer(arena, 203, 40, GATED, 9);
    wa_walk_layer moved = test_layer(arena, 203, 40, shifted, 9);
    wa_case mmap = test_case(WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL);
    wa_case serial = test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, K);
    CU_ASSERT(same_bits(&mmap, &plain, &mmap, &moved, ROWS));
    CU_ASSERT(same_bits(&serial, &plain, &serial, &moved, ROWS));
    wa_arena_close(arena);
}

static void check_inputs_are_independent(const wa_case *which, const wa_walk_layer *l)
{
    wa_arena *arena = test_arena();
    uint64_t seed = 21;
    const float *x[2] = {test_values(arena, ROWS * l->hidden, 1.0F, &seed),
                         test_values(arena, ROWS * l->hidden, 3.0F, &seed)};
    float *both[2];
    wa_walk_io io[2];
    for (size_t i = 0; i < 2; i++) {
        both[i] = test_take(arena, ROWS * l->hidden, sizeof(float));
        io[i] = (wa_walk_io){.x = x[i], .y = both[i]};
    }
    wa_scratch scratch = test_scratch(arena, ROWS, l);
    wa_label label;
    WA_MUST(wa_case_run(which, l, ROWS, io, 2, &scratch, &label, &test_err), &test_err);
    for (size_t i = 0; i < 2; i++) {
        const float *alone = test_run(arena, which, l, ROWS, x[i], NULL);
        CU_ASSERT_EQUAL(memcmp(alone, both[i], ROWS * l->hidden * sizeof *alone), 0);
    }
    wa_arena_close(arena);
}

static void an_input_has_the_same_bits_alone_and_beside_another(void)
{
    wa_arena *arena = test_arena();
    wa_walk_layer gated = test_layer(arena, 131, 37, GATED_F16_SILU, 2);
    wa_walk_layer model = test_layer(arena, 131, 37, MODEL, 2);
    wa_case mmap = test_case(WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL);
    wa_case serial = test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, K);
    wa_case fallback = test_case(WA_PATH_WEIGHTS_FALLBACK, WA_LABEL_WEIGHTS_FALLBACK_SPARSE, K);
    check_inputs_are_independent(&mmap, &gated);
    check_inputs_are_independent(&serial, &gated);
    check_inputs_are_independent(&fallback, &model);
    wa_arena_close(arena);
}

static void rows_beyond_one_tile_are_computed_too(void)
{
    enum { MANY = WA_TILE_ROWS + 3 };
    wa_arena *arena = test_arena();
    wa_walk_layer l = test_layer(arena, 21, 6, GATED, 4),
                  model = test_layer(arena, 21, 6, MODEL, 4);
    uint64_t seed = 8;
    const float *x = test_values(arena, MANY * l.hidden, 1.0F, &seed);
    const wa_case cases[] = {
        test_case(WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL),
        test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, 7),
        test_case(WA_PATH_WEIGHTS_FALLBACK, WA_LABEL_WEIGHTS_FALLBACK_SPARSE, 7),
    };
    for (size_t c = 0; c < 3; c++) {
        const wa_walk_layer *from = c == 2 ? &model : &l;
        int32_t *hits = test_take(arena, (size_t)7 * MANY, sizeof *hits);
        const float *y = test_run(arena, &cases[c], from, MANY, x, hits);
        const double *truth = test_oracle(arena, &cases[c], from, MANY, x, c == 0 ? NULL : hits);
        for (size_t row = WA_TILE_ROWS - 2; row < MANY; row++)
            CU_ASSERT(test_rel_l2(y + row * 6, truth + row * 6, 6) <= bound(from));
    }
    wa_arena_close(arena);
}

/* 1x1 by hand: two features, gate 3 and -4 (so feature 1 first), silu. */
static void hits_stand_in_descending_magnitude_with_ties_by_index(void)
{
    wa_arena *arena = test_arena();
    const float gate[] = {3.0F, -4.0F, 4.0F, 0.5F, -3.0F}, one[] = {1, 1, 1, 1, 1},
                x[] = {1.0F, 1.0F};
    wa_walk_layer l = {.gated = true,
                       .down_is_feature_major = true,
                       .activation = WA_SILU,
                       .features = 5,
                       .hidden = 1};
    l.gate = l.select = test_store(arena, gate, 5, 1, WA_FORMAT_F32, 0);
    l.up = l.down = test_store(arena, one, 5, 1, WA_FORMAT_F32, 0);
    wa_case which = test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, 3);
    int32_t hits[11] = {[10] = 77};
    const float *y = test_run(arena, &which, &l, 1, x, hits);
    CU_ASSERT(hits[0] == 1 && hits[1] == 2 && hits[2] == 0);
    double expected =
        wa_phi_ref(WA_SILU, -4.0) + wa_phi_ref(WA_SILU, 4.0) + wa_phi_ref(WA_SILU, 3.0);
    CU_ASSERT_DOUBLE_EQUAL(y[0], expected, 1e-6);

    which.k = 7; /* more than there are: all, and lists are no wider than that */
    y = test_run(arena, &which, &l, 2, x, hits);
    const double *truth = test_oracle(arena, &which, &l, 2, x, hits);
    CU_ASSERT(hits[3] == 4 && hits[4] == 3 && hits[5] == 1 && hits[9] == 3 && hits[10] == 77);
    CU_ASSERT_DOUBLE_EQUAL(y[1], truth[1], 1e-6);
    wa_arena_close(arena);
}

/* 16 hits, so eight chunks of two. The first adds 1.25 and all others 0.75 * 2^-24, three eighths
 * of the last place: one by one they vanish; two of them together reach three quarters of it and
 * round up, once for each of the other seven chunks. */
static void the_parallel_loop_adds_eight_chunks_in_their_order(void)
{
    enum { HITS = 16 };
    wa_arena *arena = test_arena();
    float gate[HITS], up[HITS], down[HITS];
    const float x[] = {1.0F};
    for (int f = 0; f < HITS; f++) {
        gate[f] = 2.0F - 0.0625F * (float)f;
        up[f] = 1.0F;
        down[f] = (f == 0 ? 1.25F : 0.75F * 0x1p-24F) / (float)wa_phi_ref(WA_SILU, gate[f]);
    }
    wa_walk_layer l = {.gated = true,
                       .down_is_feature_major = true,
                       .activation = WA_SILU,
                       .features = HITS,
                       .hidden = 1};
    l.gate = l.select = test_store(arena, gate, HITS, 1, WA_FORMAT_F32, 0);
    l.up = test_store(arena, up, HITS, 1, WA_FORMAT_F32, 0);
    l.down = test_store(arena, down, HITS, 1, WA_FORMAT_F32, 0);
    wa_case serial = test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, WA_K_ALL);
    wa_case parallel =
        test_case(WA_PATH_SPARSE_PARALLEL, WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN, WA_K_ALL);
    float one_by_one = test_run(arena, &serial, &l, 1, x, NULL)[0];
    CU_ASSERT_DOUBLE_EQUAL(one_by_one, 1.25, 1e-6);
    CU_ASSERT_EQUAL(test_run(arena, &parallel, &l, 1, x, NULL)[0] - one_by_one, 7 * 0x1p-23F);
    wa_arena_close(arena);
}

static void activations_at_the_floor_are_left_out_and_nan_never_is(void)
{
    wa_arena *arena = test_arena();
    const float gate[] = {1.0F, 1.0F}, x[] = {1.0F};
    float up[] = {1e-10F, 1.0F}, down[] = {1e30F, 1.0F}; /* act of feature 0: 0.731e-10 */
    wa_walk_layer l = {.gated = true,
                       .down_is_feature_major = true,
                       .activation = WA_SILU,
                       .features = 2,
                       .hidden = 1};
    l.gate = l.select = test_store(arena, gate, 2, 1, WA_FORMAT_F32, 0);
    l.up = test_store(arena, up, 2, 1, WA_FORMAT_F32, 0);
    l.down = test_store(arena, down, 2, 1, WA_FORMAT_F32, 0);
    wa_case which = test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, WA_K_ALL);
    CU_ASSERT_DOUBLE_EQUAL(test_run(arena, &which, &l, 1, x, NULL)[0], 0.7310586, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL(test_oracle(arena, &which, &l, 1, x, NULL)[0], 0.7310585786, 1e-9);

    up[0] = NAN;
    l.up = test_store(arena, up, 2, 1, WA_FORMAT_F32, 0);
    CU_ASSERT(isnan(test_run(arena, &which, &l, 1, x, NULL)[0]));
    CU_ASSERT(isnan(test_oracle(arena, &which, &l, 1, x, NULL)[0]));
    wa_arena_close(arena);
}

static void a_nan_gate_score_shows_in_its_row_and_no_other(void)
{
    wa_arena *arena = test_arena();
    static const wa_path paths[] = {WA_PATH_SPARSE_SERIAL, WA_PATH_WEIGHTS_FALLBACK};
    static const wa_label kernels[] = {WA_LABEL_SPARSE_SERIAL, WA_LABEL_WEIGHTS_FALLBACK_SPARSE};
    for (size_t p = 0; p < 2; p++) {
        wa_walk_layer l = test_layer(arena, 33, 8, p == 0 ? GATED : MODEL, 6);
        uint64_t seed = 12;
        float *x = test_values(arena, (size_t)3 * 8, 1.0F, &seed);
        x[8 + 3] = NAN; /* row 1 */
        wa_case which = test_case(paths[p], kernels[p], 4);
        int32_t hits[12];
        const float *y = test_run(arena, &which, &l, 3, x, hits);
        const double *truth = test_oracle(arena, &which, &l, 3, x, hits);
        for (size_t h = 0; h < 8; h++) {
            CU_ASSERT(isfinite(y[h]) && isnan(y[8 + h]) && isfinite(y[16 + h]));
            CU_ASSERT(isfinite(truth[h]) && isnan(truth[8 + h]) && isfinite(truth[16 + h]));
        }
        CU_ASSERT(hits[4] == -1 && hits[7] == -1 && hits[8] >= 0);
    }
    wa_arena_close(arena);
}

static void a_kernel_that_is_not_here_is_refused_and_never_replaced(void)
{
    wa_arena *arena = test_arena();
    wa_walk_layer l = test_layer(arena, 8, 4, GATED, 1);
    wa_scratch scratch = test_scratch(arena, 1, &l);
    float x[4] = {1, 1, 1, 1}, y[4] = {7, 7, 7, 7};
    wa_walk_io io = {.x = x, .y = y};
    wa_label label = WA_LABEL_NONE;
    wa_case metal = test_case(WA_PATH_INTERLEAVED_Q4, WA_LABEL_INTERLEAVED_Q4_METAL, WA_K_ALL);
    CU_ASSERT_EQUAL(wa_case_run(&metal, &l, 1, &io, 1, &scratch, &label, &test_err),
                    WA_E_UNSUPPORTED);
    wa_case empty = test_case(WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL);
    empty.not_run = "layer 0 has zero features in the vindex";
    CU_ASSERT_EQUAL(wa_case_run(&empty, &l, 1, &io, 1, &scratch, &label, &test_err),
                    WA_E_UNSUPPORTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(test_err.text, "zero features"));
    wa_case plain = test_case(WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL);
    CU_ASSERT_EQUAL(wa_case_run(&plain, &l, 2, &io, 1, &scratch, &label, &test_err), WA_E_INTERNAL);
    CU_ASSERT(y[0] == 7 && label == WA_LABEL_NONE);
    wa_arena_close(arena);
}

static void every_failing_take_is_reported_and_leaves_the_arena_as_it_was(void)
{
    wa_arena *arena = test_arena();
    wa_walk_layer gated = test_layer(arena, 30, 8, GATED, 1),
                  model = test_layer(arena, 30, 8, MODEL, 1);
    uint64_t seed = 3;
    const float *x = test_values(arena, (size_t)2 * 8, 1.0F, &seed);
    float y[32];
    wa_walk_io io[2] = {{.x = x, .y = y}, {.x = x, .y = y + 16}};
    wa_scratch scratch = test_scratch(arena, 2, &gated);
    const wa_case cases[] = {
        test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, 5),
        test_case(WA_PATH_WEIGHTS_FALLBACK, WA_LABEL_WEIGHTS_FALLBACK_SPARSE, 5)};
    for (size_t c = 0; c < 2; c++) {
        const wa_walk_layer *l = c == 0 ? &gated : &model;
        wa_mark before = wa_arena_mark(arena);
        wa_status status = WA_E_MEMORY;
        for (size_t k = 1; status != WA_OK; k++) {
            wa_label label;
            wa_arena_fail_at(arena, k);
            status = wa_case_run(&cases[c], l, 2, io, 2, &scratch, &label, &test_err);
            CU_ASSERT(status == WA_OK || status == WA_E_MEMORY);
            CU_ASSERT_FATAL(k < 50);
            wa_mark after = wa_arena_mark(arena);
            CU_ASSERT(after.chunk == before.chunk && after.used == before.used);
        }
        wa_arena_fail_at(arena, 0);
    }
    wa_arena_close(arena);
}

/* --- Goldens -------------------------------------------------------------------------------------
 */

static void check_golden_y(const wa_case *which, const wa_walk_layer *l, const test_golden *g)
{
    wa_arena *arena = test_arena();
    const float *y = test_run(arena, which, l, g->rows, g->x, NULL);
    for (size_t row = 0; row < g->rows; row++)
        CU_ASSERT(test_rel_l2(y + row * g->hidden, g->y + row * g->hidden, g->hidden) <= 2e-6);
    wa_arena_close(arena);
}

static void dense_and_float_paths_reproduce_golden_y(void)
{
    static const test_shape *const shapes[] = {&TEST_GEMMA, &TEST_STARCODER, &TEST_QWEN};
    const wa_case dense = wa_case_dense();
    const wa_case mmap = test_case(WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL);
    const wa_case serial = test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, WA_K_ALL);
    for (size_t s = 0; s < 3; s++) {
        wa_arena *arena = test_arena();
        test_golden g = test_golden_open(arena, shapes[s]);
        wa_walk_layer model = test_golden_layer(arena, &g, false);
        wa_walk_layer vindex = test_golden_layer(arena, &g, true);
        check_golden_y(&dense, &model, &g);
        check_golden_y(&mmap, &vindex, &g);
        check_golden_y(&serial, &vindex, &g);
        wa_arena_close(arena);
    }
}

static bool same_set(const int32_t *a, const int32_t *b, size_t k, size_t features)
{
    bool in_a[1024] = {false};
    CU_ASSERT_FATAL(features <= 1024);
    for (size_t i = 0; i < k; i++)
        in_a[a[i]] = true;
    for (size_t i = 0; i < k; i++)
        if (!in_a[b[i]])
            return false;
    return true;
}

static double rank_score(const wa_walk_layer *l, int32_t feature, const float *x, double *norm)
{
    float row[1024];
    CU_ASSERT_FATAL(l->hidden <= 1024);
    wa_matrix_decode(&l->select, (size_t)feature, 1, row);
    *norm = sqrt(wa_dot_ref(row, row, l->hidden));
    return fabs(wa_dot_ref(row, x, l->hidden));
}

/* Where two orders differ, the scores there must be nearer than 1e-6 |x||g|: no f32 sum can tell
 * them apart. */
static bool same_order(const wa_walk_layer *l, const float *x, const int32_t *a, const int32_t *b,
                       size_t k)
{
    double length = sqrt(wa_dot_ref(x, x, l->hidden));
    for (size_t i = 0; i < k; i++) {
        double norm_a, norm_b;
        double gap = rank_score(l, a[i], x, &norm_a) - rank_score(l, b[i], x, &norm_b);
        if (a[i] != b[i] && fabs(gap) > 1e-6 * length * (norm_a > norm_b ? norm_a : norm_b))
            return false;
    }
    return true;
}

static void check_golden_walk(wa_path path, wa_label kernel, const test_golden *g,
                              const wa_walk_layer *l, int w)
{
    wa_arena *arena = test_arena();
    size_t k = (size_t)g->walk[w].k, last = g->rows - 1, h = g->hidden;
    wa_case which = test_case(path, kernel, (int)k);
    int32_t *hits = test_take(arena, g->rows * k, sizeof *hits);
    const float *y = test_run(arena, &which, l, g->rows, g->x, hits);
    for (size_t row = 0; row < g->rows; row++) {
        double rel = test_rel_l2(y + row * h, g->y + row * h, h), golden = g->walk[w].rel_l2[row];
        CU_ASSERT(k < g->features ? fabs(rel - golden) <= 2e-5 * golden : rel <= 2e-6);
    }
    CU_ASSERT(test_rel_l2(y + last * h, g->walk[w].y_last, h) <= 2e-6);
    if (hits[last * k] >= 0) {
        CU_ASSERT(same_set(g->walk[w].hits_last, hits + last * k, k, g->features));
        CU_ASSERT(same_order(l, g->x + last * h, g->walk[w].hits_last, hits + last * k, k));
    }
    wa_arena_close(arena);
}

static void finite_k_reproduces_golden_errors_and_hits(void)
{
    static const test_shape *const shapes[] = {&TEST_GEMMA, &TEST_STARCODER};
    for (size_t s = 0; s < 2; s++) {
        wa_arena *arena = test_arena();
        test_golden g = test_golden_open(arena, shapes[s]);
        wa_walk_layer vindex = test_golden_layer(arena, &g, true);
        wa_walk_layer model = test_golden_layer(arena, &g, false);
        for (int w = 0; w < TEST_WALKS; w++) {
            check_golden_walk(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, &g, &vindex, w);
            /* On exact weights the fallback sums the same features. */
            check_golden_walk(WA_PATH_WEIGHTS_FALLBACK, WA_LABEL_WEIGHTS_FALLBACK_SPARSE, &g,
                              &model, w);
        }
        wa_arena_close(arena);
    }
}

static void costs_follow_the_products(void)
{
    wa_arena *arena = test_arena();
    wa_walk_layer l = test_layer(arena, 100, 10, GATED, 1);
    wa_case mmap = test_case(WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL);
    wa_case serial = test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, 25);
    CU_ASSERT_DOUBLE_EQUAL(wa_case_flops(&serial, &l, 4), 2.0 * 4 * 1000 * 1.5, 1e-9);
    CU_ASSERT_EQUAL(wa_case_bytes(&serial, &l), 3 * 4000);
    wa_case parallel = test_case(WA_PATH_SPARSE_PARALLEL, WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN, 25);
    /* rows of 10 and of 100 padded to 256 */
    wa_walk_layer q4k = test_layer(arena, 100, 10, Q4K, 1);
    CU_ASSERT_DOUBLE_EQUAL(wa_case_flops(&parallel, &q4k, 4), 2.0 * 4 * 1000 * 1.5, 1e-9);
    CU_ASSERT_EQUAL(wa_case_bytes(&parallel, &q4k), 2 * 1000 + 100 * 144 + 10 * 144);
    wa_case q4 = test_case(WA_PATH_INTERLEAVED_Q4, WA_LABEL_INTERLEAVED_Q4_CPU, WA_K_ALL);
    wa_walk_layer blocks = test_layer(arena, 100, 64, Q4, 1);
    blocks.select = (wa_matrix){0};
    CU_ASSERT_DOUBLE_EQUAL(wa_case_flops(&q4, &blocks, 4), 2.0 * 4 * 6400 * 3, 1e-9);
    CU_ASSERT_EQUAL(wa_case_bytes(&q4, &blocks), 3 * 100 * 2 * 18);
    l.select = (wa_matrix){0};
    CU_ASSERT_DOUBLE_EQUAL(wa_case_flops(&mmap, &l, 4), 2.0 * 4 * 1000 * 3, 1e-9);
    CU_ASSERT_EQUAL(wa_case_bytes(&mmap, &l), 3 * 4000);
    wa_arena_close(arena);
}

WA_SUITE("paths", WA_CASE(products_stay_within_rounding_of_the_oracle),
         WA_CASE(the_per_feature_loop_stays_within_rounding_of_the_oracle),
         WA_CASE(blocks_stay_within_rounding_of_the_oracle),
         WA_CASE(q8_activations_stay_within_rounding_of_the_oracle),
         WA_CASE(q8_rounds_x_and_not_the_activations),
         WA_CASE(the_fallback_stays_within_rounding_of_the_oracle),
         WA_CASE(gemv_full_k_equals_full_mmap_in_every_bit),
         WA_CASE(the_fallback_with_four_fifths_equals_dense_in_every_bit),
         WA_CASE(unaligned_rows_give_the_bits_of_aligned_ones),
         WA_CASE(an_input_has_the_same_bits_alone_and_beside_another),
         WA_CASE(rows_beyond_one_tile_are_computed_too),
         WA_CASE(hits_stand_in_descending_magnitude_with_ties_by_index),
         WA_CASE(the_parallel_loop_adds_eight_chunks_in_their_order),
         WA_CASE(activations_at_the_floor_are_left_out_and_nan_never_is),
         WA_CASE(a_nan_gate_score_shows_in_its_row_and_no_other),
         WA_CASE(a_kernel_that_is_not_here_is_refused_and_never_replaced),
         WA_CASE(every_failing_take_is_reported_and_leaves_the_arena_as_it_was),
         WA_CASE(dense_and_float_paths_reproduce_golden_y),
         WA_CASE(finite_k_reproduces_golden_errors_and_hits), WA_CASE(costs_follow_the_products))

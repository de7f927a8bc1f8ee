/* The oracle against goldens and plain loops written here, its ties, and the decoders it relies on.
 */
#include "walk_layers.h"

#include "path/oracle_state.h"

enum { ROWS = 21 };

static const test_kind GATED = {.gated = true, .feature_major = true, .activation = WA_GELU_TANH};
static const test_kind UNGATED = {
    .feature_major = true, .biased = true, .activation = WA_SILU, .gate_format = WA_FORMAT_F16};
static const test_kind MODEL = {.gated = true,
                                .biased = true,
                                .activation = WA_SILU,
                                .gate_format = WA_FORMAT_BF16,
                                .model_format = WA_FORMAT_BF16};

static double *decoded(wa_arena *arena, const wa_matrix *m)
{
    float *values = test_take(arena, m->rows * m->cols, sizeof *values);
    double *wide = test_take(arena, m->rows * m->cols, sizeof *wide);
    wa_matrix_decode_ref(m, 0, m->rows, values);
    for (size_t i = 0; i < m->rows * m->cols; i++)
        wide[i] = (double)values[i];
    return wide;
}

/* y of one row by the definition: use[f] says which features count. */
static void plain_ffn(wa_arena *arena, const wa_walk_layer *l, const float *x, const bool *use,
                      double *y)
{
    const double *up = decoded(arena, &l->up), *down = decoded(arena, &l->down);
    const double *gate = l->gated ? decoded(arena, &l->gate) : NULL;
    for (size_t h = 0; h < l->hidden; h++)
        y[h] = l->down_bias == NULL ? 0.0 : (double)l->down_bias[h];
    for (size_t f = 0; f < l->features; f++) {
        double u = l->up_bias == NULL ? 0.0 : (double)l->up_bias[f];
        double g = l->gate_bias == NULL ? 0.0 : (double)l->gate_bias[f];
        for (size_t h = 0; h < l->hidden; h++) {
            u += up[f * l->hidden + h] * (double)x[h];
            g += l->gated ? gate[f * l->hidden + h] * (double)x[h] : 0.0;
        }
        double act = l->gated ? wa_phi_ref(l->activation, g) * u : wa_phi_ref(l->activation, u);
        for (size_t h = 0; h < l->hidden && use[f]; h++)
            y[h] += act * (l->down_is_feature_major ? down[f * l->hidden + h]
                                                    : down[h * l->features + f]);
    }
}

/* The k features of greatest |score|, one by one. */
static void plain_choice(wa_arena *arena, const wa_walk_layer *l, const float *x, size_t k,
                         bool *use)
{
    const double *rows = decoded(arena, &l->select);
    memset(use, 0, l->features);
    for (size_t picked = 0; picked < k && picked < l->features; picked++) {
        size_t best = l->features;
        double most = -1.0;
        for (size_t f = 0; f < l->features; f++) {
            double score = l->gate_bias == NULL ? 0.0 : (double)l->gate_bias[f];
            for (size_t h = 0; h < l->hidden; h++)
                score += rows[f * l->hidden + h] * (double)x[h];
            if (!use[f] && fabs(score) > most) {
                most = fabs(score);
                best = f;
            }
        }
        use[best] = true;
    }
}

static void check_against_plain(const wa_case *which, const wa_walk_layer *l)
{
    wa_arena *arena = test_arena();
    uint64_t seed = 4;
    const float *x = test_values(arena, ROWS * l->hidden, 1.0F, &seed);
    const double *y = test_oracle(arena, which, l, ROWS, x, NULL);
    double *expected = test_take(arena, l->hidden, sizeof *expected);
    bool *use = test_take(arena, l->features, 1);
    for (size_t row = 0; row < ROWS; row++) {
        size_t k = which->k == WA_K_ALL ? l->features : (size_t)which->k;
        plain_choice(arena, l, x + row * l->hidden, k, use);
        plain_ffn(arena, l, x + row * l->hidden, use, expected);
        CU_ASSERT(test_rel_l2_f64(y + row * l->hidden, expected, l->hidden) <= 1e-13);
    }
    wa_arena_close(arena);
}

static void every_path_follows_its_definition(void)
{
    wa_arena *arena = test_arena();
    wa_walk_layer gated = test_layer(arena, 43, 17, GATED, 1);
    wa_walk_layer ungated = test_layer(arena, 42, 16, UNGATED, 2);
    wa_walk_layer model = test_layer(arena, 41, 18, MODEL, 3);
    const struct {
        wa_case which;
        const wa_walk_layer *l;
    } checks[] = {
        {test_case(WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL), &gated},
        {test_case(WA_PATH_EXACT, WA_LABEL_EXACT, WA_K_ALL), &ungated},
        {wa_case_dense(), &model},
        {test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, WA_K_ALL), &gated},
        {test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, 9), &gated},
        {test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, 1), &ungated},
        {test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, 40), &ungated},
        {test_case(WA_PATH_WEIGHTS_FALLBACK, WA_LABEL_WEIGHTS_FALLBACK_SPARSE, 7), &model},
        {test_case(WA_PATH_WEIGHTS_FALLBACK, WA_LABEL_WEIGHTS_FALLBACK_SPARSE, WA_K_ALL), &model},
    };
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        check_against_plain(&checks[i].which, checks[i].l);
    wa_arena_close(arena);
}

static void golden_y_is_reproduced_to_f64(void)
{
    static const test_shape *const shapes[] = {&TEST_GEMMA, &TEST_STARCODER, &TEST_QWEN};
    for (size_t s = 0; s < 3; s++) {
        wa_arena *arena = test_arena();
        test_golden g = test_golden_open(arena, shapes[s]);
        wa_walk_layer model = test_golden_layer(arena, &g, false);
        wa_walk_layer vindex = test_golden_layer(arena, &g, true);
        wa_case dense = wa_case_dense();
        wa_case mmap = test_case(WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL);
        const double *y = test_oracle(arena, &dense, &model, g.rows, g.x, NULL);
        const double *walk = test_oracle(arena, &mmap, &vindex, g.rows, g.x, NULL);
        CU_ASSERT(test_rel_l2_f64(y, g.y, g.rows * g.hidden) <= 1e-11);
        CU_ASSERT(test_rel_l2_f64(walk, g.y, g.rows * g.hidden) <= 1e-11);
        wa_arena_close(arena);
    }
}

static void golden_walks_are_reproduced_to_f64(void)
{
    static const test_shape *const shapes[] = {&TEST_GEMMA, &TEST_STARCODER};
    for (size_t s = 0; s < 2; s++) {
        wa_arena *arena = test_arena();
        test_golden g = test_golden_open(arena, shapes[s]);
        wa_walk_layer vindex = test_golden_layer(arena, &g, true);
        for (int w = 0; w < TEST_WALKS; w++) {
            wa_case which = test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, g.walk[w].k);
            const double *y = test_oracle(arena, &which, &vindex, g.rows, g.x, NULL);
            CU_ASSERT(test_rel_l2_f64(y + (g.rows - 1) * g.hidden, g.walk[w].y_last, g.hidden) <=
                      1e-11);
            for (size_t row = 0; row < g.rows; row++) {
                double rel = test_rel_l2_f64(y + row * g.hidden, g.y + row * g.hidden, g.hidden);
                CU_ASSERT_DOUBLE_EQUAL(rel, g.walk[w].rel_l2[row],
                                       1e-9 * g.walk[w].rel_l2[row] + 1e-12);
            }
        }
        wa_arena_close(arena);
    }
}

/* Gate 1, 1 + gap, 0.5; k = 1: ours is feature 1, the list at hand says feature 0. */
static double tie_answer(wa_arena *arena, float gap, int32_t theirs)
{
    const float gate[] = {1.0F, 1.0F + gap, 0.5F}, up[] = {1, 1, 1}, down[] = {1.0F, 100.0F, 0.0F},
                x[] = {1.0F};
    wa_walk_layer l = {.gated = true,
                       .down_is_feature_major = true,
                       .activation = WA_SILU,
                       .features = 3,
                       .hidden = 1};
    l.gate = l.select = test_store(arena, gate, 3, 1, WA_FORMAT_F32, 0);
    l.up = test_store(arena, up, 3, 1, WA_FORMAT_F32, 0);
    l.down = test_store(arena, down, 3, 1, WA_FORMAT_F32, 0);
    wa_case which = test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, 1);
    return test_oracle(arena, &which, &l, 1, x, &theirs)[0];
}

static void a_tie_is_no_defect_and_a_wrong_hit_is(void)
{
    wa_arena *arena = test_arena();
    double zero = 0.7310585786, one = 100.0 * zero;
    CU_ASSERT_DOUBLE_EQUAL(tie_answer(arena, 5e-7F, 0), zero,
                           1e-4);                                   /* within 1e-6 |x||g|: theirs */
    CU_ASSERT_DOUBLE_EQUAL(tie_answer(arena, 2e-6F, 0), one, 1e-2); /* beyond: ours */
    CU_ASSERT_DOUBLE_EQUAL(tie_answer(arena, 5e-7F, 2), one, 1e-2); /* 0.5 is no tie */
    CU_ASSERT_DOUBLE_EQUAL(tie_answer(arena, 5e-7F, -1), one, 1e-2); /* no feature */
    CU_ASSERT_DOUBLE_EQUAL(tie_answer(arena, 5e-7F, 3), one, 1e-2);
    wa_arena_close(arena);
}

static void a_nan_row_that_no_position_uses_changes_nothing(void)
{
    wa_arena *arena = test_arena();
    wa_walk_layer l = test_layer(arena, 16, 8, GATED, 6);
    float gate[16 * 8], down[16 * 8], x[8] = {1, 0, 0, 0, 0, 0, 0, 0};
    wa_matrix_decode(&l.select, 0, 16, gate);
    wa_matrix_decode(&l.down, 0, 16, down);
    gate[5 * 8] = 0.0F; /* score 0: ranked last */
    l.gate = l.select = test_store(arena, gate, 16, 8, WA_FORMAT_F32, 0);
    wa_case which = test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, 15);
    double before[8];
    memcpy(before, test_oracle(arena, &which, &l, 1, x, NULL), sizeof before);
    down[5 * 8 + 2] = NAN;
    l.down = test_store(arena, down, 16, 8, WA_FORMAT_F32, 0);
    const double *after = test_oracle(arena, &which, &l, 1, x, NULL);
    CU_ASSERT(test_rel_l2_f64(after, before, 8) == 0.0);
    wa_case all = test_case(WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL);
    CU_ASSERT(isnan(test_oracle(arena, &all, &l, 1, x, NULL)[2]));
    wa_arena_close(arena);
}

static size_t count_unlike(const float *a, const float *b, size_t n)
{
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++)
        if (!(isnan(a[i]) && isnan(b[i])) && memcmp(&a[i], &b[i], sizeof a[i]) != 0)
            wrong++;
    return wrong;
}

/* The oracle lets plain floats pass through the fast decoder, so every pattern must be the
 * reference's. */
static void fast_and_reference_decoders_agree_on_every_16_bit_pattern(void)
{
    enum { PATTERNS = 1 << 16 };
    wa_arena *arena = test_arena();
    uint8_t *bits = test_take(arena, PATTERNS, 2);
    float *fast = test_take(arena, PATTERNS, sizeof *fast);
    float *reference = test_take(arena, PATTERNS, sizeof *reference);
    for (uint32_t i = 0; i < PATTERNS; i++) {
        bits[2 * i] = (uint8_t)i;
        bits[2 * i + 1] = (uint8_t)(i >> 8);
    }
    static const wa_format formats[] = {WA_FORMAT_F16, WA_FORMAT_BF16};
    for (size_t f = 0; f < 2; f++) {
        wa_matrix m = {.data = bits,
                       .name = "all",
                       .format = formats[f],
                       .rows = 256,
                       .cols = 256,
                       .row_bytes = 512};
        wa_matrix_decode(&m, 0, 256, fast);
        wa_matrix_decode_ref(&m, 0, 256, reference);
        CU_ASSERT_EQUAL(count_unlike(fast, reference, PATTERNS), 0);
    }
    wa_arena_close(arena);
}

/* A block of one f16 scale: bytes of codes, and of bits above them, if there are any. */
typedef struct coded {
    wa_format format;
    size_t high_bytes, code_bytes, bits; /* bits of a code; one more stands in high_bytes */
} coded;

/* Block `v` of a scale: whatever an element's place, its code goes through all values as v does. */
static void fill_block(const coded *c, uint32_t scale, uint32_t v, uint8_t *out)
{
    out[0] = (uint8_t)scale;
    out[1] = (uint8_t)(scale >> 8);
    for (size_t i = 0; i < c->high_bytes; i++)
        out[2 + i] = (uint8_t)((v >> 4 & 1) != 0 ? 0x5a : 0xa5);
    uint8_t *codes = out + 2 + c->high_bytes;
    for (uint32_t i = 0; i < c->code_bytes; i++)
        codes[i] = (uint8_t)(c->bits == 8 ? v + i : ((v + i) & 15) | ((v + 3 * i + 7) & 15) << 4);
}

/* So may formats whose blocks have one f16 scale: every scale with every code at every place. */
static void fast_and_reference_decoders_agree_on_every_scale_and_code(void)
{
    enum { ELEMENTS = 32, MOST = 256, LONGEST = 34 };
    static const coded all[] = {{WA_FORMAT_GGML_Q4_0, 0, 16, 4},
                                {WA_FORMAT_Q4_0, 0, 16, 4},
                                {WA_FORMAT_GGML_Q5_0, 4, 16, 4},
                                {WA_FORMAT_GGML_Q8_0, 0, 32, 8}};
    enum { COUNT = sizeof all / sizeof all[0] };
    static uint8_t blocks[MOST * LONGEST];
    static float fast[MOST * ELEMENTS], reference[MOST * ELEMENTS];
    for (size_t f = 0; f < COUNT; f++) {
        const wa_format_info *info = wa_format_get(all[f].format);
        size_t codes = (size_t)1 << (all[f].bits + (all[f].high_bytes > 0 ? 1 : 0)), wrong = 0;
        CU_ASSERT_EQUAL_FATAL(info->block_bytes, 2 + all[f].high_bytes + all[f].code_bytes);
        for (uint32_t scale = 0; scale < 1U << 16; scale++) {
            for (uint32_t v = 0; v < codes; v++)
                fill_block(&all[f], scale, v, blocks + v * info->block_bytes);
            info->decode(blocks, codes, fast);
            info->decode_ref(blocks, codes, reference);
            wrong += memcmp(fast, reference, codes * ELEMENTS * sizeof *fast) == 0
                         ? 0
                         : count_unlike(fast, reference, codes * ELEMENTS);
        }
        CU_ASSERT_EQUAL(wrong, 0);
    }
    /* no other has blocks and passes unseen */
    for (int format = 0; format < WA_FORMAT_COUNT; format++) {
        bool tested = wa_format_get(format)->block_elements == 1;
        for (size_t f = 0; f < COUNT; f++)
            tested = tested || (int)all[f].format == format;
        CU_ASSERT_EQUAL(wa_oracle_decodes_fast(format), tested);
    }
}

/* The answers for rows of seats 0 to ROWS - 1 in company, one after the other. */
typedef struct company {
    size_t width; /* seats of a product */
    wa_case which;
    const wa_walk_layer *l;
    const float *x;
    const double *y;     /* [ROWS][H] */
    const double *least; /* [ROWS] */
} company;

/* In another order, rows between that were not there before, and a space of one group only. */
static void check_in_other_order(const company *c, size_t room)
{
    enum { MORE = 2 * ROWS };
    wa_arena *arena = test_arena();
    size_t hidden = c->l->hidden, seats[MORE], from[MORE];
    float *x = test_take(arena, MORE * hidden, sizeof *x);
    double *y = test_take(arena, MORE * hidden, sizeof *y), least[MORE];
    for (size_t i = 0; i < MORE; i++) {
        /* each row twice, both with its seat and with one that only looks different */
        from[i] = (i * 8 + 3) % ROWS;
        seats[i] = from[i] + (i < ROWS ? 0 : 5 * c->width);
        memcpy(x + i * hidden, c->x + from[i] * hidden, hidden * sizeof *x);
    }
    wa_oracle *oracle;
    WA_MUST(wa_oracle_open(arena, room, hidden, c->l->features, &oracle, &test_err), &test_err);
    for (size_t first = 0; first < MORE; first += room) {
        size_t now = MORE - first < room ? MORE - first : room;
        WA_MUST(wa_oracle_run(oracle, &c->which, c->l, now, x + first * hidden, c->width,
                              seats + first, NULL, NULL, y + first * hidden, least + first,
                              &test_err),
                &test_err);
    }
    for (size_t i = 0; i < MORE; i++) {
        CU_ASSERT_EQUAL(memcmp(y + i * hidden, c->y + from[i] * hidden, hidden * sizeof *y), 0);
        CU_ASSERT_EQUAL(memcmp(least + i, c->least + from[i], sizeof *least), 0);
    }
    wa_arena_close(arena);
}

static void a_row_has_the_same_bits_alone_in_company_and_in_any_order(void)
{
    wa_arena *arena = test_arena();
    wa_walk_layer gated = test_layer(arena, 203, 77, GATED, 1);
    wa_walk_layer ungated = test_layer(arena, 130, 64, UNGATED, 2);
    wa_walk_layer model = test_layer(arena, 259, 130, MODEL, 3);
    company all[] = {
        {.which = test_case(WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL), .l = &gated},
        {.which = test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, 9), .l = &gated},
        {.which = test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, WA_K_ALL),
         .l = &ungated},
        {.which = test_case(WA_PATH_EXACT, WA_LABEL_EXACT, WA_K_ALL), .l = &ungated},
        {.which = wa_case_dense(), .l = &model},
        {.which = test_case(WA_PATH_WEIGHTS_FALLBACK, WA_LABEL_WEIGHTS_FALLBACK_SPARSE, 7),
         .l = &model},
    };
    /* rows share seats, or some stay empty */
    static const size_t widths[] = {4, 16, 24, 40, WA_ORACLE_WIDEST};
    enum { COMPANIES = sizeof all / sizeof all[0], WIDTHS = sizeof widths / sizeof widths[0] };
    for (size_t i = 0; i < COMPANIES * WIDTHS; i++) {
        company *c = &all[i / WIDTHS];
        c->width = widths[i % WIDTHS];
        uint64_t seed = 9 + i;
        c->x = test_values(arena, ROWS * c->l->hidden, 1.0F, &seed);
        double *y = test_take(arena, ROWS * c->l->hidden, sizeof *y),
               *least = test_take(arena, ROWS, sizeof *least);
        wa_oracle *oracle;
        WA_MUST(wa_oracle_open(arena, ROWS, c->l->hidden, c->l->features, &oracle, &test_err),
                &test_err);
        WA_MUST(wa_oracle_run(oracle, &c->which, c->l, ROWS, c->x, c->width, NULL, NULL, NULL, y,
                              least, &test_err),
                &test_err);
        c->y = y;
        c->least = least;
        check_in_other_order(c, 2 * ROWS);
        check_in_other_order(c, 5);
        check_in_other_order(c, 1);
    }
    wa_arena_close(arena);
}

static void evaluations_share_as_few_products_as_they_can(void)
{
    for (size_t n = 1; n < 1000; n++) {
        size_t width = wa_oracle_width(n), least = (n + WA_ORACLE_WIDEST - 1) / WA_ORACLE_WIDEST;
        CU_ASSERT(width <= WA_ORACLE_WIDEST && width * least >= n);
        CU_ASSERT(width * least < n + 4 * least); /* fewer than four seats of each stay empty */
    }
    CU_ASSERT_EQUAL(wa_oracle_width(40), 40);
    CU_ASSERT_EQUAL(wa_oracle_width(50), 28);
    CU_ASSERT(wa_oracle_width(0) > 0);
}

/* Rows of one x and one seat are one evaluation, unless their kernels chose one feature each of two
 * that tie. */
static void equal_rows_of_a_seat_are_evaluated_once(void)
{
    wa_arena *arena = test_arena();
    const float gate[] = {1.0F, 1.0F, 0.5F}, up[] = {1, 1, 1}, down[] = {1.0F, 100.0F, 0.0F},
                x[] = {1.0F, 1.0F, 1.0F, 1.0F};
    const int32_t hits[] = {0, 1, 0, 0};
    const size_t seats[] = {2, 2, 2, 3};
    double y[4], least[4];
    wa_walk_layer l = {.gated = true,
                       .down_is_feature_major = true,
                       .activation = WA_SILU,
                       .features = 3,
                       .hidden = 1};
    l.gate = l.select = test_store(arena, gate, 3, 1, WA_FORMAT_F32, 0);
    l.up = test_store(arena, up, 3, 1, WA_FORMAT_F32, 0);
    l.down = test_store(arena, down, 3, 1, WA_FORMAT_F32, 0);
    wa_case which = test_case(WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, 1);
    wa_oracle *oracle;
    WA_MUST(wa_oracle_open(arena, 4, 1, 3, &oracle, &test_err), &test_err);
    WA_MUST(wa_oracle_run(oracle, &which, &l, 4, x, 4, seats, hits, NULL, y, least, &test_err),
            &test_err);
    CU_ASSERT_DOUBLE_EQUAL(y[1], 100.0 * y[0], 1e-12);
    CU_ASSERT(y[2] == y[0] && least[2] == least[0] && y[3] == y[0]);
    CU_ASSERT_DOUBLE_EQUAL(wa_oracle_flops(oracle), wa_case_flops(&which, &l, 3), 1e-6);
    wa_arena_close(arena);
}

/* Longer and higher than a panel, at the shapes where BLAS changes its way: every sum within
 * Higham's bound of the plain one. */
static void products_stay_within_rounding_of_plain_sums(void)
{
    static const size_t sizes[][2] = {{2048, 640}, {640, 2048}, {33, 2560}, {9, 10240}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        wa_arena *arena = test_arena();
        size_t features = sizes[s][0], hidden = sizes[s][1];
        wa_walk_layer l = test_layer(arena, features, hidden, GATED, 5 + s);
        uint64_t seed = 11 + s;
        const float *x = test_values(arena, hidden, 1.0F, &seed);
        wa_case which = test_case(WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL);
        const double *y = test_oracle(arena, &which, &l, 1, x, NULL);
        bool *use = test_take(arena, features, 1);
        memset(use, 1, features);
        double *plain = test_take(arena, hidden, sizeof *plain);
        plain_ffn(arena, &l, x, use, plain);
        CU_ASSERT(test_rel_l2_f64(y, plain, hidden) <= 2.0 * (double)(hidden + features) * 0x1p-53);
        wa_arena_close(arena);
    }
}

static void a_space_that_is_too_small_is_refused(void)
{
    wa_arena *arena = test_arena();
    wa_walk_layer l = test_layer(arena, 9, 5, GATED, 1);
    float x[10] = {1};
    double y[10];
    wa_case which = test_case(WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL);
    static const size_t rooms[][3] = {{1, 5, 9}, {2, 4, 9}, {2, 5, 8}};
    for (size_t i = 0; i < 3; i++) {
        wa_oracle *oracle;
        WA_MUST(wa_oracle_open(arena, rooms[i][0], rooms[i][1], rooms[i][2], &oracle, &test_err),
                &test_err);
        CU_ASSERT_EQUAL(
            wa_oracle_run(oracle, &which, &l, 2, x, 4, NULL, NULL, NULL, y, NULL, &test_err),
            WA_E_INTERNAL);
    }
    wa_arena_close(arena);
}

static void every_failing_take_is_reported(void)
{
    wa_arena *arena = test_arena();
    wa_status status = WA_E_MEMORY;
    for (size_t k = 1; status != WA_OK; k++) {
        wa_oracle *oracle;
        wa_arena_fail_at(arena, k);
        status = wa_oracle_open(arena, 3, 5, 9, &oracle, &test_err);
        CU_ASSERT(status == WA_OK || status == WA_E_MEMORY);
        CU_ASSERT_FATAL(k < 50);
    }
    wa_arena_close(arena);
}

WA_SUITE("oracle", WA_CASE(every_path_follows_its_definition),
         WA_CASE(golden_y_is_reproduced_to_f64), WA_CASE(golden_walks_are_reproduced_to_f64),
         WA_CASE(a_tie_is_no_defect_and_a_wrong_hit_is),
         WA_CASE(a_nan_row_that_no_position_uses_changes_nothing),
         WA_CASE(fast_and_reference_decoders_agree_on_every_16_bit_pattern),
         WA_CASE(fast_and_reference_decoders_agree_on_every_scale_and_code),
         WA_CASE(a_row_has_the_same_bits_alone_in_company_and_in_any_order),
         WA_CASE(evaluations_share_as_few_products_as_they_can),
         WA_CASE(equal_rows_of_a_seat_are_evaluated_once),
         WA_CASE(products_stay_within_rounding_of_plain_sums),
         WA_CASE(a_space_that_is_too_small_is_refused), WA_CASE(every_failing_take_is_reported))

/* Our own products: every element is the sum that isa.h defines, to the last bit, on every
 * instruction set that is here, whatever else is multiplied with it; and BLAS's are near it. */
#include "walk_layers.h"

#include "compute/isa.h"
#include "compute/kernel.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 3, MOST_PAIRS = 7, MOST_ROWS = 40 };

/* The definition, written down: x and w lie `step` floats apart. */
static float defined_sum(const float *x, const float *w, size_t step, size_t n)
{
    float total = 0.0F;
    for (size_t at = 0; at < n; at += WA_SUM_PRODUCTS) {
        float sum = 0.0F;
        for (size_t k = at; k < n && k < at + WA_SUM_PRODUCTS; k++)
            sum = fmaf(x[k], w[k * step], sum);
        total = at == 0 ? sum : total + sum;
    }
    return total;
}

static bool same_bits(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* A product with its operands, and what it should give. */
typedef struct trial {
    wa_matrix w;
    wa_product product;
    size_t depth, width;
    float *decoded; /* [w.rows, w.cols] */
    float *wanted;  /* [count][rows][width] */
    wa_operand pairs[MOST_PAIRS];
} trial;

static trial new_trial(wa_arena *arena, const wa_matrix *w, bool by_features, size_t rows,
                       size_t count, uint64_t *seed)
{
    trial t = {.w = *w,
               .depth = by_features ? w->rows : w->cols,
               .width = by_features ? w->cols : w->rows};
    t.product = (wa_product){.by_features = by_features,
                             .rows = rows,
                             .ldx = t.depth + GAP,
                             .ldy = t.width + GAP,
                             .count = count};
    t.decoded = test_take(arena, w->rows * w->cols, sizeof *t.decoded);
    wa_matrix_decode_ref(w, 0, w->rows, t.decoded);
    t.wanted = test_take(arena, count * rows * t.width, sizeof *t.wanted);
    for (size_t i = 0; i < count; i++) {
        const float *x = test_values(arena, rows * t.product.ldx, 1.0F, seed);
        t.pairs[i] =
            (wa_operand){.x = x, .y = test_take(arena, rows * t.product.ldy, sizeof(float))};
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < t.width; c++)
                t.wanted[(i * rows + r) * t.width + c] =
                    by_features
                        ? defined_sum(x + r * t.product.ldx, t.decoded + c, t.width, t.depth)
                        : defined_sum(x + r * t.product.ldx, t.decoded + c * t.depth, 1, t.depth);
    }
    return t;
}

/* Runs rows [first, first + rows) of every pair; what is not theirs in y must stay. The number of
 * wrong elements. */
static size_t run_rows(trial *t, wa_scratch *scratch, size_t first, size_t rows)
{
    static const float untouched = -77.0F;
    wa_operand pairs[MOST_PAIRS];
    wa_product product = t->product;
    size_t wrong = 0, ldy = product.ldy;
    for (size_t i = 0; i < product.count; i++) {
        for (size_t at = 0; at < product.rows * ldy; at++)
            t->pairs[i].y[at] = untouched;
        pairs[i] = (wa_operand){.x = t->pairs[i].x + first * product.ldx,
                                .y = t->pairs[i].y + first * ldy};
    }
    product.w = &t->w;
    product.pairs = pairs;
    product.rows = rows;
    wa_multiply(&product, scratch);
    for (size_t i = 0; i < product.count; i++)
        for (size_t r = 0; r < t->product.rows; r++)
            for (size_t c = 0; c < ldy; c++) {
                bool is_in = c < t->width && r >= first && r < first + rows;
                float wanted =
                    is_in ? t->wanted[(i * t->product.rows + r) * t->width + c] : untouched;
                wrong += !same_bits(t->pairs[i].y[r * ldy + c], wanted);
            }
    return wrong;
}

/* On every instruction set here: the rows in company, and one of them alone. Says how many sets
 * there were. */
static size_t check_trial(trial *t, wa_arena *arena, size_t alone)
{
    const wa_isa *isa;
    size_t checked = 0;
    wa_scratch scratch;
    WA_MUST(wa_scratch_open(arena, 1, 1, t->w.cols, &scratch, &test_err), &test_err);
    CU_ASSERT_EQUAL(scratch.engine, WA_ENGINE_WALKAUDIT);
    for (size_t i = 0; (isa = wa_isa_at(i)) != NULL; i++) {
        if (!isa->is_here())
            continue;
        scratch.isa = isa;
        CU_ASSERT_EQUAL(run_rows(t, &scratch, 0, t->product.rows), 0);
        CU_ASSERT_EQUAL(run_rows(t, &scratch, alone, 1), 0);
        checked++;
    }
    return checked;
}

static void check_matrix(wa_arena *arena, const wa_matrix *w, size_t rows, size_t count,
                         uint64_t *seed)
{
    for (int by_features = 0; by_features < 2; by_features++) {
        wa_mark mark = wa_arena_mark(arena);
        trial t = new_trial(arena, w, by_features != 0, rows, count, seed);
        CU_ASSERT(check_trial(&t, arena, rows - 1) >= 1);
        wa_arena_release(arena, mark);
    }
}

static void sums_are_as_defined_at_every_number_of_rows(void)
{
    uint64_t seed = 3;
    wa_arena *arena = test_arena();
    wa_matrix w = test_matrix(arena, 67, 135, WA_FORMAT_BF16, 0, 1.0F, &seed);
    for (size_t rows = 1; rows <= MOST_ROWS; rows++)
        for (size_t count = 1; count <= MOST_PAIRS; count += 3)
            check_matrix(arena, &w, rows, count, &seed);
    wa_arena_close(arena);
}

/* At, before and behind the ends of sums, panels and what is packed at once. */
static void sums_are_as_defined_at_every_size(void)
{
    static const size_t sizes[] = {1,  2,  15,  16,  17,  31,  32,  33,  63,  64,
                                   65, 96, 128, 255, 256, 257, 288, 511, 513, 577};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    static const wa_format formats[] = {WA_FORMAT_F32, WA_FORMAT_F16, WA_FORMAT_BF16};
    uint64_t seed = 5;
    for (size_t f = 0; f < 3; f++)
        for (size_t i = 0; i < COUNT; i++)
            for (size_t j = f % 2; j < COUNT; j += 2) {
                wa_arena *arena = test_arena();
                wa_matrix w =
                    test_matrix(arena, sizes[i], sizes[j], formats[f], (i + j) % 3, 1.0F, &seed);
                check_matrix(arena, &w, 1 + (i + 3 * j) % 5, 1 + j % 2, &seed);
                wa_arena_close(arena);
            }
}

/* Blocks of any bytes: each decodes to something, if only to NaN. */
static wa_matrix random_blocks(wa_arena *arena, size_t rows, size_t cols, wa_format format,
                               uint64_t *seed)
{
    size_t row_bytes;
    CU_ASSERT_FATAL(wa_row_bytes(format, cols, &row_bytes));
    uint8_t *data = test_take(arena, rows * row_bytes, 1);
    for (size_t i = 0; i < rows * row_bytes; i++)
        data[i] = (uint8_t)(int)(128.0F + 127.0F * test_random(seed));
    return (wa_matrix){.data = data,
                       .name = "test",
                       .format = format,
                       .rows = rows,
                       .cols = cols,
                       .row_bytes = row_bytes};
}

static void sums_are_as_defined_in_every_format(void)
{
    uint64_t seed = 7;
    for (int f = 0; f < WA_FORMAT_COUNT; f++)
        for (size_t narrow = 0; narrow < 2; narrow++) {
            wa_format format = (wa_format)f;
            size_t block = wa_format_get(format)->block_elements;
            size_t cols = block == 1 || narrow != 0 ? 300 : 2 * block, rows = 45 + 256 * narrow;
            wa_arena *arena = test_arena();
            bool is_known = wa_format_get(format)->encode != NULL || f == WA_FORMAT_F32 ||
                            f == WA_FORMAT_F16 || f == WA_FORMAT_BF16;
            wa_matrix w = is_known ? test_matrix(arena, rows, cols, format, narrow, 1.0F, &seed)
                                   : random_blocks(arena, rows, cols, format, &seed);
            check_matrix(arena, &w, 5, 2, &seed);
            w.through_f16 = true;
            check_matrix(arena, &w, 2, 1, &seed);
            wa_arena_close(arena);
        }
}

/* Heads whose rows lie in pairs, and matrices stored on their side, a part of a wider one. */
static void sums_are_as_defined_in_every_order_of_rows(void)
{
    static const wa_format formats[] = {WA_FORMAT_F32, WA_FORMAT_F16, WA_FORMAT_BF16};
    uint64_t seed = 11;
    for (size_t f = 0; f < 3; f++) {
        wa_arena *arena = test_arena();
        wa_matrix pairs = test_matrix(arena, 6 * 22, 100, formats[f], f, 1.0F, &seed);
        pairs.order = WA_ROWS_ROPE_PAIRS;
        pairs.head_rows = 22;
        check_matrix(arena, &pairs, 5, 2, &seed);
        enum { STORED = 400, PART = 70, DEPTH = 290 };
        wa_matrix wide = test_matrix(arena, DEPTH, STORED, formats[f], 0, 1.0F, &seed);
        wa_matrix side = wide;
        side.order = WA_ROWS_TRANSPOSED;
        side.rows = PART;
        side.cols = DEPTH;
        side.stored_cols = STORED;
        side.data += 33 * wa_format_get(formats[f])->block_bytes;
        check_matrix(arena, &side, 5, 2, &seed);
        side.step = 2; /* every second column of 140 */
        check_matrix(arena, &side, 5, 2, &seed);
        wa_arena_close(arena);
    }
}

/* What is not a number stays with its row and column. */
static void a_nan_spoils_its_row_alone(void)
{
    uint64_t seed = 13;
    wa_arena *arena = test_arena();
    wa_matrix w = test_matrix(arena, 50, 90, WA_FORMAT_F32, 0, 1.0F, &seed);
    trial t = new_trial(arena, &w, false, 16, 1, &seed);
    float *x = test_take(arena, 16 * t.product.ldx, sizeof *x);
    memcpy(x, t.pairs[0].x, 16 * t.product.ldx * sizeof *x);
    x[4 * t.product.ldx + 70] = NAN;
    t.pairs[0].x = x;
    for (size_t c = 0; c < t.width; c++)
        t.wanted[4 * t.width + c] = NAN;
    CU_ASSERT(check_trial(&t, arena, 5) >= 1);
    wa_arena_close(arena);
}

/* kernel.h's bound for either engine. */
static void both_engines_stay_within_the_bound_of_f64(void)
{
    enum { ROWS = 9, WIDTH = 75, DEPTH = 1500 };
    uint64_t seed = 17;
    for (int by_features = 0; by_features < 2; by_features++)
        for (int engine = WA_ENGINE_WALKAUDIT; engine <= WA_ENGINE_BLAS; engine++) {
            wa_arena *arena = test_arena();
            wa_matrix w = test_matrix(arena, by_features ? DEPTH : WIDTH,
                                      by_features ? WIDTH : DEPTH, WA_FORMAT_F16, 0, 1.0F, &seed);
            trial t = new_trial(arena, &w, by_features != 0, ROWS, 2, &seed);
            wa_scratch scratch;
            size_t wrong = 0;
            WA_MUST(wa_scratch_open(arena, ROWS, 1, DEPTH, &scratch, &test_err), &test_err);
            scratch.engine = (wa_engine)engine;
            t.product.w = &t.w;
            t.product.pairs = t.pairs;
            wa_multiply(&t.product, &scratch);
            for (size_t i = 0; i < 2 * ROWS * WIDTH; i++) {
                size_t c = i % WIDTH, r = i / WIDTH % ROWS;
                const wa_operand *pair = &t.pairs[i / WIDTH / ROWS];
                double sum = 0.0, size = 0.0;
                for (size_t k = 0; k < DEPTH; k++) {
                    double term = (double)pair->x[r * t.product.ldx + k] *
                                  (double)t.decoded[by_features ? k * WIDTH + c : c * DEPTH + k];
                    sum += term;
                    size += fabs(term);
                }
                double allowed = (68 + (double)DEPTH / 64) * 0x1p-24 * size;
                wrong += !(fabs((double)pair->y[r * t.product.ldy + c] - sum) <= allowed);
            }
            CU_ASSERT_EQUAL(wrong, 0);
            wa_arena_close(arena);
        }
}

static void the_environment_chooses_the_instruction_set(void)
{
    const wa_isa *isa = NULL, *fastest = NULL;
    wa_error err;
    const char *was = getenv("WALKAUDIT_ISA");
    char *kept = was == NULL ? NULL : strdup(was);
    unsetenv("WALKAUDIT_ISA");
    WA_MUST(wa_isa_choose(&fastest, &err), &err);
    CU_ASSERT(fastest->is_here());
    for (size_t i = 0; (isa = wa_isa_at(i)) != NULL; i++) {
        const wa_isa *chosen = NULL;
        setenv("WALKAUDIT_ISA", isa->name, 1);
        CU_ASSERT_EQUAL(wa_isa_choose(&chosen, &err), isa->is_here() ? WA_OK : WA_E_UNSUPPORTED);
        CU_ASSERT(!isa->is_here() || chosen == isa);
    }
    setenv("WALKAUDIT_ISA", "avx1024", 1);
    CU_ASSERT_EQUAL(wa_isa_choose(&isa, &err), WA_E_USAGE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "avx1024"));
    setenv("WALKAUDIT_ISA", "", 1);
    WA_MUST(wa_isa_choose(&isa, &err), &err);
    CU_ASSERT_PTR_EQUAL(isa, fastest);
    unsetenv("WALKAUDIT_ISA");
    if (kept != NULL)
        setenv("WALKAUDIT_ISA", kept, 1);
    free(kept);
}

WA_SUITE("products", WA_CASE(sums_are_as_defined_at_every_number_of_rows),
         WA_CASE(sums_are_as_defined_at_every_size), WA_CASE(sums_are_as_defined_in_every_format),
         WA_CASE(sums_are_as_defined_in_every_order_of_rows), WA_CASE(a_nan_spoils_its_row_alone),
         WA_CASE(both_engines_stay_within_the_bound_of_f64),
         WA_CASE(the_environment_chooses_the_instruction_set))

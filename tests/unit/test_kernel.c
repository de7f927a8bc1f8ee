/* Inner loops against their f64 oracles, within the bounds that kernel.h states; edges, gaps and
 * unaligned rows. */
#include "walk_layers.h"

#include <float.h>
#include <string.h>

static const double UNIT = 0x1p-24; /* half the distance from 1 to the next f32 */

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* --- activations --- */

/* kernel.h's bound for finite v of at least -87. The oracle's own 1 + tanh and 1 + erf lose what is
 * below 2^-53. */
static double phi_bound(wa_activation activation, double v, double ref)
{
    double size = fabs(ref), sigmoid = 2 * 0.7978846 * fabs(v + 0.044715 * v * v * v);
    if (activation == WA_SILU)
        return 3 * UNIT * size;
    if (activation == WA_GELU_TANH)
        return (4 + 3 * fmin(sigmoid, 100)) * UNIT * size + 0x1p-52 * fabs(v);
    return UNIT * (4 * size + fabs(v));
}

/* Every 911th float of both signs, from 0 to 1e30 and to -87. */
static void activations_stay_within_their_bounds(void)
{
    static const wa_activation all[] = {WA_SILU, WA_GELU_TANH, WA_GELU_ERF};
    for (size_t a = 0; a < 3; a++) {
        size_t beyond = 0, compared = 0;
        for (uint32_t bits = 0; float_of(bits) < 1e30F; bits += 911)
            for (uint32_t sign = 0; sign < 2; sign++) {
                float v = float_of(bits | sign << 31);
                if (v < -87.0F)
                    continue;
                double ref = wa_phi_ref(all[a], (double)v);
                beyond += !(fabs((double)wa_phi(all[a], v) - ref) <=
                            phi_bound(all[a], (double)v, ref) + FLT_MIN);
                compared++;
            }
        CU_ASSERT_EQUAL(beyond, 0);
        CU_ASSERT(compared > 2000000);
    }
}

static void activations_of_the_ends_are_their_limits(void)
{
    static const wa_activation all[] = {WA_SILU, WA_GELU_TANH, WA_GELU_ERF};
    for (size_t a = 0; a < 3; a++) {
        CU_ASSERT(isnan(wa_phi(all[a], NAN)));
        CU_ASSERT_EQUAL(wa_phi(all[a], INFINITY), INFINITY);
        CU_ASSERT_EQUAL(wa_phi(all[a], 0.0F), 0.0F);
        CU_ASSERT_EQUAL(wa_phi(all[a], 1e4F), 1e4F);
        CU_ASSERT(fabsf(wa_phi(all[a], -200.0F)) < 1e-34F); /* the exponential stops at e^-87 */
    }
}

static void squared_relu_is_the_square_of_what_is_above_0(void)
{
    static const struct {
        float v, phi;
    } values[] = {
        {0.0F, 0.0F},     {-0.0F, 0.0F},     {-3.0F, 0.0F},        {1.5F, 2.25F},
        {0x1p-80F, 0.0F}, {-INFINITY, 0.0F}, {INFINITY, INFINITY}, {0x1.000002p0F, 0x1.000004p0F}};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        CU_ASSERT_EQUAL(wa_phi(WA_RELU2, values[i].v), values[i].phi);
    CU_ASSERT(isnan(wa_phi(WA_RELU2, NAN)) && isnan(wa_phi_ref(WA_RELU2, NAN)));
    CU_ASSERT_EQUAL(wa_phi_ref(WA_RELU2, 1.5), 2.25);
    CU_ASSERT_EQUAL(wa_phi_ref(WA_RELU2, -1.5), 0.0);
}

/* By the definition in f64; both are cut off at 7. */
static void clamped_units_are_as_gpt_oss_defines_them(void)
{
    static const struct {
        float gate, up;
        double act;
    } vectors[] = {{1.0F, 0.0F, 0.8457958}, {8.0F, 1.0F, 13.9999065}, {-3.0F, -9.0F, 0.1084279}};
    for (size_t v = 0; v < sizeof vectors / sizeof vectors[0]; v++) { /* larql-2026-08.md 9 */
        float act;
        wa_activate_gated(WA_CLAMPED_GLU, &vectors[v].gate, &vectors[v].up, &act, 1);
        CU_ASSERT(fabs((double)act - vectors[v].act) <= 1e-6 * vectors[v].act);
    }
    static const float gates[] = {-20.0F, -7.5F, -1.0F, 0.0F, 0.3F, 6.9F, 7.0F, 7.1F, 100.0F};
    static const float ups[] = {-90.0F, -7.0F, -1.0F, 0.0F, 2.5F, 7.0F, 8.0F};
    for (size_t g = 0; g < sizeof gates / sizeof gates[0]; g++)
        for (size_t u = 0; u < sizeof ups / sizeof ups[0]; u++) {
            double gate = fmin((double)gates[g], 7.0), up = fmax(fmin((double)ups[u], 7.0), -7.0);
            double want = (up + 1.0) * gate / (1.0 + exp(-1.702 * gate));
            float act = -1.0F;
            wa_activate_gated(WA_CLAMPED_GLU, &gates[g], &ups[u], &act, 1);
            CU_ASSERT(fabs((double)act - want) <= 1e-5 * fabs(want));
            CU_ASSERT(fabs(wa_phi_ref(WA_CLAMPED_GLU, (double)gates[g]) * (up + 1.0) - want) <=
                      1e-14 * fabs(want));
            wa_activate(WA_CLAMPED_GLU, &gates[g], &act, 1);
            CU_ASSERT_EQUAL(act, wa_phi(WA_CLAMPED_GLU, gates[g]));
        }
    CU_ASSERT(isnan(wa_phi(WA_CLAMPED_GLU, NAN)) && isnan(wa_phi_ref(WA_CLAMPED_GLU, NAN)));
    float nan = NAN, one = 1.0F, act;
    wa_activate_gated(WA_CLAMPED_GLU, &one, &nan, &act, 1);
    CU_ASSERT(isnan(act));
}

/* Vectors of every length give the bits of one value at a time, in place and not. */
static void activations_of_many_are_those_of_one(void)
{
    enum { MOST = 70 };
    static const wa_activation all[] = {WA_SILU, WA_GELU_TANH, WA_GELU_ERF, WA_RELU2};
    uint64_t seed = 5;
    for (size_t n = 0; n <= MOST; n++) {
        float gate[MOST + 1], up[MOST + 1], out[MOST + 1] = {0}, in_place[MOST + 1];
        for (size_t i = 0; i < n; i++) {
            gate[i] = 8.0F * test_random(&seed);
            up[i] = test_random(&seed);
        }
        wa_activation phi = all[n % 4];
        size_t wrong = 0;
        out[n] = in_place[n] = -77.0F;
        wa_activate_gated(phi, gate, up, out, n);
        memcpy(in_place, gate, n * sizeof *gate);
        wa_activate_gated(phi, in_place, up, in_place, n);
        for (size_t i = 0; i < n; i++)
            wrong += out[i] != wa_phi(phi, gate[i]) * up[i] || in_place[i] != out[i];
        memcpy(in_place, gate, n * sizeof *gate);
        wa_activate(phi, in_place, in_place, n);
        for (size_t i = 0; i < n; i++)
            wrong += in_place[i] != wa_phi(phi, gate[i]);
        CU_ASSERT_EQUAL(wrong, 0);
        CU_ASSERT(out[n] == -77.0F && in_place[n] == -77.0F);
    }
}

static void oracle_activations_of_many_are_those_of_one(void)
{
    static const double ends[] = {NAN,    INFINITY, -INFINITY, 0.0,    -0.0,  745.0,
                                  -745.0, 1e300,    -1e300,    5e-324, 0.875, -8.5};
    static const wa_activation all[] = {WA_SILU, WA_GELU_TANH, WA_GELU_ERF, WA_RELU2};
    enum { MOST = 67 };
    const size_t count = sizeof ends / sizeof ends[0];
    uint64_t seed = 5;
    for (size_t n = 0; n <= MOST; n++) {
        double many[MOST], one[MOST];
        for (size_t i = 0; i < n; i++)
            many[i] = one[i] =
                i % 3 == 0 ? ends[(n + i) % count] : 10.0 * (double)test_random(&seed);
        wa_activation phi = all[n % 4];
        wa_phi_ref_all(phi, many, n);
        size_t wrong = 0;
        for (size_t i = 0; i < n; i++) {
            one[i] = wa_phi_ref(phi, one[i]);
            bool same =
                isnan(one[i]) ? isnan(many[i]) : memcmp(&many[i], &one[i], sizeof one[i]) == 0;
            wrong += same ? 0 : 1;
        }
        CU_ASSERT_EQUAL(wrong, 0);
    }
}

/* --- dots and rows --- */

static const size_t WIDTHS[] = {0,  1,  2,  15,  16,  17,  31,  32,  33,
                                63, 64, 65, 127, 255, 257, 640, 2049};
enum { WIDTH_COUNT = sizeof WIDTHS / sizeof WIDTHS[0], WIDEST = 2049 };

static double magnitude(const float *x, const float *y, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += fabs((double)x[i] * (double)y[i]);
    return sum;
}

static void dots_stay_within_their_bound_and_need_no_alignment(void)
{
    static float x[WIDEST + 3], y[WIDEST + 3], moved[WIDEST + 3];
    uint64_t seed = 9;
    for (size_t w = 0; w < WIDTH_COUNT; w++) {
        size_t n = WIDTHS[w];
        for (size_t i = 0; i < n; i++) {
            x[i] = ldexpf(test_random(&seed), (int)(i % 23) - 11); /* of very different sizes */
            y[i] = test_random(&seed);
        }
        double allowed = ((double)(n / 16) + 6) * UNIT * magnitude(x, y, n) + FLT_MIN;
        float dot = wa_dot(x, y, n);
        CU_ASSERT(fabs((double)dot - wa_dot_ref(x, y, n)) <= allowed);
        memcpy(moved + 1, x, n * sizeof *x);
        CU_ASSERT_EQUAL(wa_dot(moved + 1, y, n), dot);
    }
    x[3] = NAN;
    CU_ASSERT(isnan(wa_dot(x, y, WIDEST)));
}

static void rows_are_added_element_by_element(void)
{
    static float x[WIDEST + 1], y[WIDEST + 1], was[WIDEST + 1];
    uint64_t seed = 3;
    for (size_t w = 0; w < WIDTH_COUNT; w++) {
        size_t n = WIDTHS[w], wrong = 0;
        for (size_t i = 0; i <= n; i++) {
            x[i] = test_random(&seed);
            y[i] = was[i] = test_random(&seed);
        }
        wa_axpy(0.3F, x, y, n);
        for (size_t i = 0; i <= n; i++)
            wrong += y[i] != (i < n ? was[i] + 0.3F * x[i] : was[i]);
        memcpy(y, was, sizeof y);
        wa_add_bias(y, 1, n, x);
        for (size_t i = 0; i <= n; i++)
            wrong += y[i] != (i < n ? was[i] + x[i] : was[i]);
        CU_ASSERT_EQUAL(wrong, 0);
    }
}

/* --- products with stored matrices --- */

enum { ROWS = 5, GAP = 3 };

/* Element [r, c] of x . W^T or of x . W, and the sum of its products' magnitudes. */
typedef struct element {
    double value, size;
} element;

static element product(const float *x, const float *w, size_t from, size_t stride, size_t n)
{
    element e = {0.0, 0.0};
    for (size_t i = 0; i < n; i++) {
        double term = (double)x[i] * (double)w[from + i * stride];
        e.value += term;
        e.size += fabs(term);
    }
    return e;
}

/* A sum of at most 64 products, then one addition for each further 64; the panels add in the same
 * way. */
static double sum_bound(size_t n)
{
    return (64 + (double)n / 64 + 4) * UNIT;
}

/* x has GAP elements between its rows, y too, and those of y stay as they are. */
static void check_products(wa_arena *arena, const wa_matrix *m, bool by_features)
{
    size_t depth = by_features ? m->rows : m->cols, width = by_features ? m->cols : m->rows;
    size_t ldx = depth + GAP, ldy = by_features ? width : width + GAP, wrong = 0;
    uint64_t seed = 17 + m->rows;
    float *w = test_take(arena, m->rows * m->cols, sizeof *w);
    const float *x = test_values(arena, ROWS * ldx, 1.0F, &seed),
                *bias = test_values(arena, width, 1.0F, &seed);
    float *y = test_values(arena, ROWS * ldy, 7.0F, &seed),
          *was = test_take(arena, ROWS * ldy, sizeof *was);
    wa_scratch scratch;
    wa_operand pair = {.x = x, .y = y};
    memcpy(was, y, ROWS * ldy * sizeof *y);
    wa_matrix_decode_ref(m, 0, m->rows, w);
    WA_MUST(wa_scratch_open(arena, ROWS, m->rows, m->cols, &scratch, &test_err), &test_err);
    if (by_features)
        wa_gemm_features(m, ROWS, ldx, &pair, 1, &scratch);
    else
        wa_gemm_rows(m, ROWS, ldx, ldy, &pair, 1, bias, &scratch);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t c = 0; c < width; c++) {
            element e = by_features ? product(x + r * ldx, w, c, width, depth)
                                    : product(x + r * ldx, w, c * depth, 1, depth);
            double add = by_features ? 0.0 : (double)bias[c];
            double allowed = sum_bound(depth) * e.size + UNIT * fabs(e.value + add) + FLT_MIN;
            wrong += !(fabs((double)y[r * ldy + c] - (e.value + add)) <= allowed);
        }
        for (size_t c = width; c < ldy; c++)
            wrong += y[r * ldy + c] != was[r * ldy + c];
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void products_with_stored_matrices_stay_within_their_bound(void)
{
    static const struct {
        size_t rows, cols;
    } shapes[] = {{1, 1}, {3, 64}, {65, 63}, {64, 65}, {17, 129}, {130, 32}, {2, 640}, {300, 7}};
    static const wa_format formats[] = {
        WA_FORMAT_F32,  WA_FORMAT_F16, WA_FORMAT_BF16, WA_FORMAT_Q4_0,      WA_FORMAT_Q4_K,
        WA_FORMAT_Q6_K, WA_FORMAT_FP4, WA_FORMAT_FP8,  WA_FORMAT_GGML_Q4_0, WA_FORMAT_GGML_Q6_K};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++)
            for (size_t shift = 0; shift < 2; shift++) {
                wa_arena *arena = test_arena();
                uint64_t seed = 31 * s + f;
                size_t rows = shapes[s].rows, cols = shapes[s].cols;
                wa_matrix m = test_store(arena, test_values(arena, rows * cols, 1.0F, &seed), rows,
                                         cols, formats[f], shift);
                check_products(arena, &m, false);
                check_products(arena, &m, true);
                wa_arena_close(arena);
            }
}

/* Four features in use go together, fewer go alone: neither changes a bit, and unmarked places stay
 * 0. */
static void marked_dots_are_those_of_one_row_each(void)
{
    enum { FEATURES = 23, TOP = 300 };
    static const size_t cols[] = {1, 15, 16, 17, 64, 256, TOP};
    for (size_t s = 0; s < sizeof cols / sizeof cols[0]; s++)
        /* of so many features one is left out; 1: none */
        for (size_t every = 1; every <= 7; every++) {
            wa_arena *arena = test_arena();
            uint64_t seed = 5 + s;
            size_t n = cols[s], ldx = n + GAP, ldy = FEATURES + GAP, wrong = 0;
            float *x = test_values(arena, ROWS * ldx, 1.0F, &seed),
                  *y = test_take(arena, ROWS * ldy, sizeof *y);
            float *w = test_values(arena, FEATURES * n, 1.0F, &seed);
            wa_matrix m = test_store(arena, w, FEATURES, n, WA_FORMAT_F32, 0);
            for (size_t i = 0; i < ROWS * ldy; i++)
                y[i] = every == 1 || i % every != 0 ? 1.0F : 0.0F;
            wa_scratch scratch;
            wa_operand pair = {.x = x, .y = y};
            WA_MUST(wa_scratch_open(arena, ROWS, FEATURES, n, &scratch, &test_err), &test_err);
            wa_dot_marked(&m, ROWS, ldx, ldy, &pair, 1, &scratch);
            for (size_t i = 0; i < ROWS * ldy; i++) {
                size_t row = i / ldy, f = i % ldy;
                float mark = every == 1 || i % every != 0 ? 1.0F : 0.0F;
                float due =
                    f < FEATURES && mark != 0.0F ? wa_dot(w + f * n, x + row * ldx, n) : mark;
                wrong += y[i] != due;
            }
            CU_ASSERT_EQUAL(wrong, 0);
            wa_arena_close(arena);
        }
}

WA_SUITE("kernel", WA_CASE(activations_stay_within_their_bounds),
         WA_CASE(activations_of_the_ends_are_their_limits),
         WA_CASE(squared_relu_is_the_square_of_what_is_above_0),
         WA_CASE(clamped_units_are_as_gpt_oss_defines_them),
         WA_CASE(activations_of_many_are_those_of_one),
         WA_CASE(oracle_activations_of_many_are_those_of_one),
         WA_CASE(dots_stay_within_their_bound_and_need_no_alignment),
         WA_CASE(rows_are_added_element_by_element), WA_CASE(marked_dots_are_those_of_one_row_each),
         WA_CASE(products_with_stored_matrices_stay_within_their_bound))

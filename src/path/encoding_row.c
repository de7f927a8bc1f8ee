/* One stored row against the model's: is it what an encoder known here makes of it, and if not, how
 * far off is it? encoding.c has the rules. */
#include "path/encoding_state.h"

#include "codec/simd.h"

#include <math.h>

enum { LANES = 8 };

/* Sums of (a - b)^2 and b^2: eight partial sums each, so that the compiler may use vectors. */
WA_CLONES static void compare(const float *restrict a, const float *restrict b, size_t n,
                              double *restrict difference, double *restrict square)
{
    double d[LANES] = {0}, s[LANES] = {0};
    size_t body = n - n % LANES;
    for (size_t i = 0; i < body; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            double delta = (double)a[i + k] - (double)b[i + k];
            d[k] += delta * delta;
            s[k] += (double)b[i + k] * (double)b[i + k];
        }
    for (size_t i = body; i < n; i++) {
        double delta = (double)a[i] - (double)b[i];
        d[i - body] += delta * delta;
        s[i - body] += (double)b[i] * (double)b[i];
    }
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t k = 0; k < half; k++) {
            d[k] += d[k + half];
            s[k] += s[k + half];
        }
    *difference += d[0];
    *square += s[0];
}

/* The same, and the sum of (a - b) * b. */
WA_CLONES static void measure(const float *restrict a, const float *restrict b, size_t n,
                              double *restrict difference, double *restrict square,
                              double *restrict excess)
{
    double x[LANES] = {0};
    size_t body = n - n % LANES;
    for (size_t i = 0; i < body; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            x[k] += ((double)a[i + k] - (double)b[i + k]) * (double)b[i + k];
    for (size_t i = body; i < n; i++)
        x[i - body] += ((double)a[i] - (double)b[i]) * (double)b[i];
    for (size_t k = 0; k < LANES; k++)
        *excess += x[k];
    compare(a, b, n, difference, square);
}

const float *wa_encoding_row_of(const wa_matrix *matrix, size_t row, float *space)
{
    const float *rows = wa_matrix_in_place(matrix);
    if (rows != NULL)
        return rows + row * matrix->cols;
    wa_matrix_decode(matrix, row, 1, space);
    return space;
}

/* --- Floats ---------------------------------------------------------------------------------- */

/*
 * Is `stored` what some rounding to f16 makes of `model`: one of its two neighbours, itself where
 * that is an f16 value, or a zero for what lies below the normal ones? Both are bits of an f32
 * without the sign.
 */
static inline uint32_t is_half_of(uint32_t stored, uint32_t model)
{
    uint32_t below = model & ~0x1fffU, exact = (model & 0x1fffU) == 0;
    uint32_t normal = (stored == below) | ((stored == below + 0x2000U) & !exact);
    float m, s;
    memcpy(&m, &model, sizeof m);
    memcpy(&s, &stored, sizeof s);
    /* Below 2^-14 f16 values are multiples of 2^-24; the products are exact, and clamped for the
     * conversion. */
    float steps = m * 0x1p24F, at = s * 0x1p24F;
    steps = steps < 4096.0F ? steps : 4096.0F;
    at = at < 4096.0F ? at : 4096.0F;
    float floor = (float)(int32_t)steps;
    uint32_t tiny = (at == 0.0F) | (at == floor) | ((at == floor + 1.0F) & (floor != steps));
    return model < 0x38800000U ? tiny : normal;
}

/* Any of these values other than its bits tell: WA_ROW_DIFFERS and WA_ROW_NO_HALF. Zeros of either
 * sign are the same. */
WA_CLONES static void compare_any(const float *restrict stored, const float *restrict model,
                                  size_t n, uint32_t *restrict differs, uint32_t *restrict no_half)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t s, m;
        memcpy(&s, stored + i, sizeof s);
        memcpy(&m, model + i, sizeof m);
        uint32_t size_s = s & 0x7fffffffU, size_m = m & 0x7fffffffU;
        uint32_t same_sign = ((s ^ m) >> 31 == 0) | (size_s == 0);
        *differs |= (size_s != size_m) | !same_sign;
        *no_half |= !(is_half_of(size_s, size_m) & same_sign);
    }
}

/*
 * The same, by integers alone, for values of the model's that are zero or normal in f16. False,
 * with nothing told, when some are not, or when some stored value is no neighbour: perhaps a zero
 * of the other sign.
 */
WA_CLONES static bool compare_normal(const float *restrict stored, const float *restrict model,
                                     size_t n, uint32_t *restrict differs)
{
    uint32_t change = 0, other = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t s, m;
        memcpy(&s, stored + i, sizeof s);
        memcpy(&m, model + i, sizeof m);
        uint32_t above = s - (m & ~0x1fffU), exact = (m & 0x1fffU) == 0;
        change |= s ^ m;
        other |= (above != 0) & ((above != 0x2000U) | exact);
        other |= (m & 0x7fffffffU) - 1U < 0x38800000U - 1U;
    }
    if (other != 0)
        return false;
    *differs |= change;
    return true;
}

/* WA_ROW_DIFFERS and WA_ROW_NO_HALF of a row. */
static uint8_t compare_floats(const float *restrict stored, const float *restrict model, size_t n)
{
    enum { STRETCH = 64 };
    uint32_t differs = 0, no_half = 0;
    for (size_t i = 0; i < n; i += STRETCH) {
        size_t left = n - i < STRETCH ? n - i : STRETCH;
        if (!compare_normal(stored + i, model + i, left, &differs))
            compare_any(stored + i, model + i, left, &differs, &no_half);
    }
    return (uint8_t)((differs != 0 ? WA_ROW_DIFFERS : 0) | (no_half != 0 ? WA_ROW_NO_HALF : 0));
}

/*
 * Is a value no rounding of the model's to bf16: neither of its two neighbours, nor itself where
 * that is a bf16 value? Zeros of either sign are the same; from the largest value the next is
 * infinity, which is told elsewhere.
 */
WA_CLONES static bool is_no_bf16(const float *restrict stored, const float *restrict model,
                                 size_t n)
{
    uint32_t wrong = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t s, m;
        memcpy(&s, stored + i, sizeof s);
        memcpy(&m, model + i, sizeof m);
        uint32_t below = m & ~0xffffU, exact = (m & 0xffffU) == 0;
        uint32_t near = (s == below) | ((s == below + 0x10000U) & !exact);
        uint32_t zeros = ((s | m) & 0x7fffffffU) == 0;
        wrong |= !(near | zeros);
    }
    return wrong != 0;
}

/* --- Block formats --------------------------------------------------------------------------- */

/* NULL: the model's weights are f16 values already, so that this source is the direct one. */
static const float *take_source(const wa_encoding *c, wa_encoding_source from, const float *model)
{
    if (from == WA_FROM_WEIGHTS)
        return model;
    for (size_t i = 0; i < c->cols; i++)
        c->made_row[i] = wa_f16_to_f32(from == WA_FROM_HALF ? wa_f32_to_f16(model[i])
                                                            : wa_f32_to_f16_larql(model[i]));
    return memcmp(c->made_row, model, c->cols * sizeof *model) != 0 ? c->made_row : NULL;
}

static bool is_made_from(wa_encoding *c, wa_encoding_source from, const float *model,
                         const uint8_t *stored)
{
    const float *weights = take_source(c, from, model);
    if (weights == NULL)
        return false;
    wa_rows_encode(c->stored->format, weights, 1, c->cols, c->made);
    if (memcmp(c->made, stored, c->made_bytes) != 0)
        return false;
    c->usual = from;
    return true;
}

/* Last the direct source, whose re-encoding stays in c->made. */
static bool is_made_here(wa_encoding *c, const float *model, const uint8_t *stored)
{
    if (is_made_from(c, c->usual, model, stored))
        return true;
    for (int from = WA_ENCODING_SOURCES - 1; from >= WA_FROM_WEIGHTS; from--)
        if (((wa_encoding_source)from != c->usual || from == WA_FROM_WEIGHTS) &&
            is_made_from(c, (wa_encoding_source)from, model, stored))
            return true;
    return false;
}

static bool are_equal_values(const float *a, const float *b, size_t n)
{
    bool equal = true;
    for (size_t i = 0; i < n; i++)
        equal = equal && (a[i] == b[i] || (isnan(a[i]) && isnan(b[i])));
    return equal;
}

/* A row's gain, less what the format does to the row: one so small that it is dropped is nobody's
 * fault. */
static void take_gain(wa_encoding *c, size_t r, double gain, double own)
{
    gain = fabs(gain) > own ? gain - copysign(own, gain) : isnan(gain) ? gain : 0.0;
    if (!(fabs(gain) <= fabs(c->out.row_gain))) {
        c->out.row_gain = gain;
        c->out.row_gain_row = (int32_t)(c->first + r);
    }
}

double wa_encoding_gain(const wa_encoding_sums *sums)
{
    double least = fmin(sums->expected, 0.0), most = fmax(sums->expected, 0.0);
    double excess = sums->excess > most    ? sums->excess - most
                    : sums->excess < least ? sums->excess - least
                                           : 0.0 * sums->excess; /* NaN stays */
    return sums->norm > 0.0 ? excess / sums->norm : 0.0;
}

/*
 * A row that no encoder here makes: into the sums, and to its extremes.
 *
 * own   what our encoding changes of the row's length
 * lost  what the rounding of subnormal scales may add to the error that is expected, of its norm
 */
static void add_unequal(wa_encoding *c, size_t r, const wa_encoding_sums *row, double steps,
                        double own, double lost)
{
    c->unequal.ours += row->ours;
    c->unequal.theirs += row->theirs;
    c->unequal.excess += row->excess;
    c->unequal.expected += row->expected;
    c->unequal.norm += row->norm;
    c->own[r] = sqrt(row->ours) + lost * sqrt(row->norm);
    if (!(steps <= c->out.steps)) {
        c->out.steps = steps;
        c->out.steps_row = (int32_t)(c->first + r);
    }
    take_gain(c, r, wa_encoding_gain(row), own);
}

static void compare_blocks(wa_encoding *c, size_t r, const float *model)
{
    const uint8_t *stored = c->stored->data + r * c->stored->row_bytes;
    if (is_made_here(c, model, stored))
        return;
    wa_matrix made = c->raw;
    made.data = c->made;
    made.row_bytes = c->made_bytes;
    made.rows = 1;
    wa_matrix_decode(&made, 0, 1, c->made_row);
    wa_matrix_decode(&c->raw, r, 1, c->raw_row);
    if (are_equal_values(c->made_row, c->raw_row, c->cols))
        return;
    c->known[r] |= WA_ROW_DIFFERS;
    wa_encoding_sums own = {0}, row = {0};
    measure(c->made_row, model, c->cols, &row.ours, &own.norm, &own.excess);
    measure(c->raw_row, model, c->cols, &row.theirs, &row.norm, &row.excess);
    add_unequal(c, r, &row, (double)wa_row_steps(c->stored->format, stored, model, c->cols),
                own.norm > 0.0 ? fabs(own.excess) / own.norm : 0.0, 0.0);
}

/* A row of a checkpoint's blocks. One that has the model's very values is right, whoever made
 * it. */
static void compare_levels(wa_encoding *c, size_t r, const float *model, const float *stored)
{
    if (are_equal_values(stored, model, c->cols))
        return;
    wa_encoding_sums row = {0};
    wa_expected expected = wa_matrix_expected(c->stored, r, model);
    c->known[r] |= WA_ROW_DIFFERS;
    measure(stored, model, c->cols, &row.theirs, &row.norm, &row.excess);
    row.ours = expected.error;
    row.expected = expected.excess;
    add_unequal(c, r, &row, (double)wa_matrix_steps(c->stored, r, model), expected.lost,
                expected.lost);
}

/* --- A row ----------------------------------------------------------------------------------- */

void wa_encoding_compare_row(wa_encoding *c, size_t r, const float *model)
{
    const float *stored = wa_encoding_row_of(c->stored, r, c->stored_row);
    float apart[2];
    size_t cols = c->cols;
    bool is_offset = c->offset != 0.0F; /* of a column of floats */
    if (is_offset) {
        apart[0] = stored[0] - c->offset;
        apart[1] = model[0] - c->offset;
        stored = &apart[0];
        model = &apart[1];
        cols = 1;
    }
    compare(stored, model, cols, &c->error[r], &c->square[r]);
    if (c->levels && !is_offset)
        compare_levels(c, r, model, stored);
    else if (c->made_bytes > 0 && !is_offset)
        compare_blocks(c, r, model);
    else
        c->known[r] = compare_floats(stored, model, cols);
    /* a vector that was decoded does not say what it was */
    bool may_be_bf16 = c->stored->format == WA_FORMAT_BF16 || cols == 1;
    if (may_be_bf16 && is_no_bf16(stored, model, cols))
        c->known[r] |= WA_ROW_NO_BF16;
}

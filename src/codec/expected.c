/* The error that a block format is expected to make of weights: levels that span each group's
 * range. */
#include "codec/coders.h"

#include <assert.h>
#include <math.h>

/* How the levels of a group follow from its weights. */
typedef enum span {
    EXTREME, /* evenly from low to high, the largest magnitude, whatever its sign, at low */
    EVEN,    /* the same, the largest magnitude at high */
    RANGE,   /* evenly from the least weight to the greatest */
    RANGE_0, /* the same, with zero among them */
    LEVELS,  /* uneven ones, the largest magnitude at the last */
    SIGNED,  /* uneven ones, the largest magnitude, whatever its sign, at the first */
    FLOATS,  /* those of E4M3, the largest magnitude at the last */
    /* those of E4M3 under a scale that other rows share, so that these weights do not tell it */
    SHARED,
    /* as LEVELS, but the scale a power of two, the largest magnitude between the last but one and
     * twice that */
    POWER
} span;

static const float E2M1[15] = {-6, -4, -3, -2, -1.5F, -1, -0.5F, 0, 0.5F, 1, 1.5F, 2, 3, 4, 6};

/*
 * Weights that share a scale, their codes, and how they lie; most: of super-blocks the largest code
 * of a scale, else 1, and 0 where no 16-bit scale is stored.
 */
static const struct rule {
    size_t group;
    span span;
    float low, high, most;
} RULES[WA_FORMAT_COUNT] = {
    [WA_FORMAT_GGML_Q4_0] = {32, EXTREME, -8, 7, 1},
    [WA_FORMAT_Q4_0] = {32, EXTREME, -8, 7, 1},
    [WA_FORMAT_GGML_Q4_1] = {32, RANGE, 0, 15, 1},
    [WA_FORMAT_GGML_Q5_0] = {32, EXTREME, -16, 15, 1},
    [WA_FORMAT_GGML_Q5_1] = {32, RANGE, 0, 31, 1},
    [WA_FORMAT_GGML_Q8_0] = {32, EVEN, -127, 127, 1},
    [WA_FORMAT_Q4_K] = {32, RANGE_0, 0, 15, 63},
    [WA_FORMAT_GGML_Q5_K] = {32, RANGE_0, 0, 31, 63},
    [WA_FORMAT_GGML_Q6_K] = {16, EXTREME, -32, 31, 128},
    [WA_FORMAT_Q6_K] = {16, EXTREME, -32, 31, 128},
    [WA_FORMAT_FP4] = {32, LEVELS, 0, 6, 1},
    [WA_FORMAT_GGML_Q2_K] = {16, RANGE_0, 0, 3, 15},
    [WA_FORMAT_GGML_Q3_K] = {16, EXTREME, -4, 3, 32},
    [WA_FORMAT_GGML_IQ4_NL] = {32, SIGNED, -127, 113, 1},
    [WA_FORMAT_GGML_IQ4_XS] = {32, SIGNED, -127, 113, 32},
    [WA_FORMAT_GGML_MXFP4] = {32, POWER, 0, 6, 0},
    [WA_FORMAT_E2M1] = {32, POWER, 0, 6, 0},
    [WA_FORMAT_FP8] = {256, FLOATS, 0, 448, 1},
    [WA_FORMAT_E4M3] = {128, SHARED, 0, 448, 0},
};

/* Three bits behind the leading one. */
static double error_of_e4m3(const float *w, size_t n, double unit)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        int exponent;
        double x = (double)w[i] / unit;
        frexp(x, &exponent);
        double step = ldexp(1.0, exponent > -5 ? exponent - 4 : -9);
        double error = (x - step * nearbyint(x / step)) * unit;
        sum += error * error;
    }
    return sum;
}

/*
 * The mean over all scales: a step is 2^-3 of a power of two, its squared error step^2 / 12, and
 * the power of two as often near the weight as near its half, which is 3 / 8 / ln 2 of the weight's
 * square. Near zero steps are even; there the scale is that of these weights, at least.
 */
static double error_of_shared(const float *w, size_t n, double unit)
{
    const double of_square = 0x1p-6 / 12.0 * 0.375 / 0.69314718055994531,
                 even = 0x1p-18 / 12.0 * unit * unit;
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        bool is_even = fabs((double)w[i]) < 0x1p-6 * unit;
        sum += w[i] == 0.0F ? 0.0 : is_even ? even : of_square * (double)w[i] * (double)w[i];
    }
    return sum;
}

static double error_of_levels(const float *w, size_t n, double unit, const float *levels,
                              size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)w[i] / unit, least = INFINITY;
        for (size_t k = 0; k < count; k++)
            least = fmin(least, fabs(x - (double)levels[k]));
        sum += least * least * unit * unit;
    }
    return sum;
}

static double error_of_even(const float *w, size_t n, const struct rule *rule, double scale,
                            double zero)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        double code = nearbyint(((double)w[i] - zero) / scale);
        code = fmin(fmax(code, (double)rule->low), (double)rule->high);
        double error = (double)w[i] - zero - code * scale;
        sum += error * error;
    }
    return sum;
}

/* The scale of a group, and its least level: where the extremes put them. */
static double scale_of(const struct rule *rule, const float *w, size_t n, double *zero)
{
    float least = w[0], greatest = w[0];
    for (size_t i = 1; i < n; i++) {
        least = w[i] < least ? w[i] : least;
        greatest = w[i] > greatest ? w[i] : greatest;
    }
    float extreme = -least > greatest ? least : greatest;
    if (rule->span == RANGE_0) {
        least = least < 0.0F ? least : 0.0F;
        greatest = greatest > 0.0F ? greatest : 0.0F;
    }
    bool ranged = rule->span == RANGE || rule->span == RANGE_0;
    *zero = ranged ? (double)least : 0.0;
    if (rule->span == POWER) {
        int exponent;
        frexp((double)extreme, &exponent);
        return extreme == 0.0F ? 0.0 : ldexp(1.0, exponent - 3);
    }
    bool is_signed = rule->span == EXTREME || rule->span == SIGNED;
    return ranged      ? ((double)greatest - (double)least) / (double)rule->high
           : is_signed ? (double)extreme / (double)rule->low
                       : fabs((double)extreme) / (double)rule->high;
}

static double error_of_group(const struct rule *rule, const float *w, size_t n, double *scale)
{
    double zero;
    *scale = scale_of(rule, w, n, &zero);
    if (*scale == 0.0 || !isfinite(*scale))
        return 0.0;
    if (rule->span == FLOATS)
        return error_of_e4m3(w, n, *scale);
    if (rule->span == SHARED)
        return error_of_shared(w, n, *scale);
    if (rule->span == SIGNED)
        return error_of_levels(w, n, *scale, wa_iq4_levels, 16);
    if (rule->span == LEVELS || rule->span == POWER)
        return error_of_levels(w, n, *scale, E2M1, sizeof E2M1 / sizeof E2M1[0]);
    return error_of_even(w, n, rule, *scale, zero);
}

static double square_of(const float *w, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)w[i] * (double)w[i];
    return sum;
}

/* A scale of 16 bits below the normal ones is off by up to 2^-24, and of ranges the least value's
 * is as well. */
static double lost_of(const struct rule *rule, double scale)
{
    if (rule->most == 0.0F)
        return 0.0;
    double d = fabs(scale) / (double)rule->most;
    bool ranged = rule->span == RANGE || rule->span == RANGE_0;
    return d >= 0x1p-14 ? 0.0 : d > 0.0 ? fmin(1.0, (ranged ? 0x1p-23 : 0x1p-24) / d) : 1.0;
}

double wa_row_expected(wa_format format, const float *weights, size_t cols, double *lost)
{
    const struct rule *rule = &RULES[format];
    assert(rule->group > 0);
    size_t width = wa_format_get(format)->block_elements < rule->group
                       ? rule->group
                       : wa_format_get(format)->block_elements;
    double sum = 0.0, norm = 0.0, least = 0.0;
    for (size_t block = 0; block < cols; block += width) {
        size_t end = cols - block < width ? cols : block + width;
        double most = 0.0, scale;
        for (size_t at = block; at < end; at += rule->group) {
            sum += error_of_group(rule, weights + at,
                                  end - at < rule->group ? end - at : rule->group, &scale);
            most = fmax(most, fabs(scale));
        }
        double square = square_of(weights + block, end - block);
        norm += square;
        least += square * lost_of(rule, most);
    }
    *lost = norm > 0.0 ? least / norm : 0.0;
    return sum;
}

/* The share of a row's length that lies below half of the least step under its scales: of a row
 * that is small beside others. */
static double lost_below(const wa_matrix *matrix, size_t row, const float *weights)
{
    double norm = 0.0, least = 0.0;
    for (size_t col = 0, end = 0; col < matrix->cols; col = end) {
        double half = fabs((double)wa_scales_at(matrix, row, col, &end)) * 0x1p-10;
        double square = square_of(weights + col, end - col),
               rms = sqrt(square / (double)(end - col));
        norm += square;
        least += rms > half ? square * half / rms : square;
    }
    return norm > 0.0 ? least / norm : 0.0;
}

double wa_matrix_expected(const wa_matrix *matrix, size_t row, const float *weights, double *lost)
{
    double sum = wa_row_expected(matrix->format, weights, matrix->cols, lost);
    if (matrix->format == WA_FORMAT_E4M3)
        *lost = lost_below(matrix, wa_matrix_stored_row(matrix, row), weights);
    return sum;
}

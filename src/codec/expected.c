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

/* A weight whose nearest level is off by `error`, weight less level. */
static void add(wa_expected *sum, double weight, double error)
{
    sum->error += error * error;
    sum->excess -= error * weight;
}

/* Three bits behind the leading one. */
static void add_e4m3(const float *w, size_t n, double unit, wa_expected *sum)
{
    for (size_t i = 0; i < n; i++) {
        int exponent;
        double x = (double)w[i] / unit;
        frexp(x, &exponent);
        double step = ldexp(1.0, exponent > -5 ? exponent - 4 : -9);
        add(sum, (double)w[i], (x - step * nearbyint(x / step)) * unit);
    }
}

/*
 * The mean over all scales: a step is 2^-3 of a power of two, its squared error step^2 / 12, and
 * the power of two as often near the weight as near its half, which is 3 / 8 / ln 2 of the weight's
 * square. Near zero steps are even; there the scale is that of these weights, at least. No length
 * is gained or lost.
 */
static void add_shared(const float *w, size_t n, double unit, wa_expected *sum)
{
    const double of_square = 0x1p-6 / 12.0 * 0.375 / 0.69314718055994531,
                 even = 0x1p-18 / 12.0 * unit * unit;
    for (size_t i = 0; i < n; i++) {
        bool is_even = fabs((double)w[i]) < 0x1p-6 * unit;
        sum->error += w[i] == 0.0F ? 0.0 : is_even ? even : of_square * (double)w[i] * (double)w[i];
    }
}

static void add_levels(const float *w, size_t n, double unit, const float *levels, size_t count,
                       wa_expected *sum)
{
    for (size_t i = 0; i < n; i++) {
        double x = (double)w[i] / unit, least = x - (double)levels[0];
        for (size_t k = 1; k < count; k++) {
            double apart = x - (double)levels[k];
            least = fabs(apart) < fabs(least) ? apart : least;
        }
        add(sum, (double)w[i], least * unit);
    }
}

static void add_even(const float *w, size_t n, const struct rule *rule, double scale, double zero,
                     wa_expected *sum)
{
    for (size_t i = 0; i < n; i++) {
        double code = nearbyint(((double)w[i] - zero) / scale);
        code = fmin(fmax(code, (double)rule->low), (double)rule->high);
        add(sum, (double)w[i], (double)w[i] - zero - code * scale);
    }
}

static bool is_ranged(const struct rule *rule)
{
    return rule->span == RANGE || rule->span == RANGE_0;
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
    bool ranged = is_ranged(rule);
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

/* The weights of a scale, from its extremes. */
typedef struct group {
    const float *w;
    size_t n;
    double scale, zero;
} group;

static void add_group(const struct rule *rule, const group *g, wa_expected *sum)
{
    if (rule->span == FLOATS)
        add_e4m3(g->w, g->n, g->scale, sum);
    else if (rule->span == SHARED)
        add_shared(g->w, g->n, g->scale, sum);
    else if (rule->span == SIGNED)
        add_levels(g->w, g->n, g->scale, wa_iq4_levels, 16, sum);
    else if (rule->span == LEVELS || rule->span == POWER)
        add_levels(g->w, g->n, g->scale, E2M1, sizeof E2M1 / sizeof E2M1[0], sum);
    else
        add_even(g->w, g->n, rule, g->scale, g->zero, sum);
}

/*
 * Scales and least values that are codes of their super-block's largest, at steps of `scale` and
 * `zero`, are off by the twelfth of a step's square in the mean. Codes are chosen anew for them, so
 * that weights get no worse than if they lay anywhere between two levels.
 */
static double rounding_of(const struct rule *rule, const group *g, double scale, double zero)
{
    double sum = 0.0, level = g->scale;
    if (rule->span == SIGNED)
        level *= (double)(rule->high - rule->low) / 15.0; /* of 16 */
    for (size_t i = 0; i < g->n; i++) {
        double code = ((double)g->w[i] - g->zero) / g->scale;
        sum += scale * scale * code * code + zero * zero;
    }
    return fmin(sum, (double)g->n * level * level) / 12.0;
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
    double off = is_ranged(rule) ? 0x1p-23 : 0x1p-24;
    return d >= 0x1p-14 ? 0.0 : d > 0.0 ? fmin(1.0, off / d) : 1.0;
}

enum { GROUPS = 16 }; /* of a super-block, at most */

/* A block: its groups, and what is lost where its scales are subnormal. */
static void add_block(const struct rule *rule, const float *w, size_t n, double *lost, double *norm,
                      wa_expected *sum)
{
    group groups[GROUPS]; /* those that have levels */
    size_t count = 0;
    double most = 0.0, far = 0.0;
    for (size_t at = 0; at < n; at += rule->group) {
        group g = {.w = w + at, .n = n - at < rule->group ? n - at : rule->group};
        g.scale = scale_of(rule, g.w, g.n, &g.zero);
        most = fmax(most, fabs(g.scale));
        far = fmax(far, fabs(g.zero));
        if (g.scale == 0.0 || !isfinite(g.scale))
            continue;
        add_group(rule, &g, sum);
        groups[count++] = g;
    }
    if (rule->most > 1.0F) /* scales are codes */
        for (size_t i = 0; i < count; i++)
            sum->error +=
                rounding_of(rule, &groups[i], most / (double)rule->most, far / (double)rule->most);
    double square = square_of(w, n);
    *norm += square;
    *lost += square * lost_of(rule, most);
}

wa_expected wa_row_expected(wa_format format, const float *weights, size_t cols)
{
    const struct rule *rule = &RULES[format];
    assert(rule->group > 0);
    size_t elements = wa_format_get(format)->block_elements;
    size_t width = elements < rule->group ? rule->group : elements;
    assert(width <= GROUPS * rule->group);
    wa_expected sum = {0};
    double norm = 0.0, lost = 0.0;
    for (size_t block = 0; block < cols; block += width)
        add_block(rule, weights + block, cols - block < width ? cols - block : width, &lost, &norm,
                  &sum);
    sum.lost = norm > 0.0 ? lost / norm : 0.0;
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

wa_expected wa_matrix_expected(const wa_matrix *matrix, size_t row, const float *weights)
{
    wa_expected expected = wa_row_expected(matrix->format, weights, matrix->cols);
    if (matrix->format == WA_FORMAT_E4M3)
        expected.lost = lost_below(matrix, wa_matrix_stored_row(matrix, row), weights);
    return expected;
}

/* The elementary functions that single values go through: sums of two f64 where one is not
 * enough. */
#include "base/elementary.h"

#include <stdbool.h>

/* A number as an unevaluated sum; |low| is at most half an ulp of high. */
typedef struct pair {
    double high, low;
} pair;

static const pair THIRD = {0x1.5555555555555p-2, 0x1.5555555555555p-56};
static const pair HALF_PI = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54};
static const pair HALF_LN_TAU = {0x1.d67f1c864beb5p-1, -0x1.65b5a1b7ff5dfp-55}; /* ln(2 pi) / 2 */

/* a + b exactly, whatever their sizes: Knuth, The Art of Computer Programming 2, 4.2.2. */
static pair add_exactly(double a, double b)
{
    double sum = a + b;
    double of_b = sum - a;
    return (pair){sum, (a - (sum - of_b)) + (b - of_b)};
}

/* The same for |a| >= |b| or a = 0: Dekker, Numerische Mathematik 18 (1971), as is the product
 * below. */
static pair add_smaller(double a, double b)
{
    double sum = a + b;
    return (pair){sum, b - (sum - a)};
}

/* Both factors are cut into halves of 26 bits, whose products are exact. |a|, |b| < 2^500, products
 * above 2^-900. */
static pair multiply_exactly(double a, double b)
{
    const double cut = 0x1p27 + 1.0;
    double a_high = a * cut - (a * cut - a);
    double b_high = b * cut - (b * cut - b);
    double a_low = a - a_high;
    double b_low = b - b_high;
    double product = a * b;
    double lost = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
    return (pair){product, lost};
}

/* Sums and products of pairs, relative error below 2^-100 (sums: where nothing cancels). */
static pair add(pair a, pair b)
{
    pair sum = add_exactly(a.high, b.high);
    return add_smaller(sum.high, sum.low + (a.low + b.low));
}

static pair multiply(pair a, pair b)
{
    pair product = multiply_exactly(a.high, b.high);
    return add_smaller(product.high, product.low + (a.high * b.low + a.low * b.high));
}

double wa_expm1(double x)
{
    if (!(x < 38.0))
        return wa_exp(x); /* 1 is less than half an ulp; NaN and infinity go the same way */
    if (x < -38.0)
        return -1.0;
    wa_exp_parts parts = wa_exp_reduce(x, 0.0);
    if (parts.n == 0.0)
        return x == 0.0 ? x : parts.r + parts.tail;
    double scale = wa_power_of_two(parts.n);
    pair whole = add_exactly(scale, -1.0);
    pair sum = add_exactly(whole.high, scale * parts.r);
    return sum.high + (sum.low + (whole.low + scale * parts.tail));
}

/*
 * ln x for a normal x > 0: x = 2^k m with m in [sqrt(1/2), sqrt(2)), and ln m = 2 s (1 + s^2/3 +
 * s^4/5 + …) with s = (m - 1)/(m + 1), |s| < 0.172. Up to s^24 the remainder is below 2^-70; what
 * follows s^2/3 is at most 2^-12 of the sum, so one f64 holds it to 2^-65.
 */
static pair log_pair(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    /* the exponent that leaves a mantissa of at least sqrt(1/2), whose upper bits are
     * 0x3FE6A09E… */
    uint64_t above = bits - UINT64_C(0x3FE6A09E667F3BCD);
    int64_t k = (int64_t)(above >> 52) - (above >> 63 != 0 ? 4096 : 0);
    bits -= (uint64_t)k << 52;
    double m;
    memcpy(&m, &bits, sizeof m);

    double f = m - 1.0; /* exact */
    pair divisor = add_smaller(2.0, f);
    double s_high = f / divisor.high;
    pair back = multiply_exactly(s_high, divisor.high);
    double s_low = (((f - back.high) - back.low) - s_high * divisor.low) / divisor.high;
    pair s = add_smaller(s_high, s_low);
    pair square = multiply(s, s);
    double z = square.high;
    double rest = 1.0 / 25.0;
    for (int odd = 23; odd >= 5; odd -= 2)
        rest = rest * z + 1.0 / odd;
    pair series = add(multiply(square, THIRD), (pair){rest * z * z, 0.0});
    pair of_m =
        add((pair){2.0 * s.high, 2.0 * s.low}, multiply((pair){2.0 * s.high, 2.0 * s.low}, series));
    double count = (double)k;
    return add(add_exactly(count * WA_LN2_HIGH, count * WA_LN2_LOW), of_m);
}

double wa_log(double x)
{
    if (!(x > 0.0))
        return x == 0.0 ? -INFINITY : NAN;
    if (x > DBL_MAX)
        return x;
    if (x >= DBL_MIN) {
        pair log = log_pair(x);
        return log.high + log.low;
    }
    pair log = add(log_pair(x * 0x1p54), (pair){-54.0 * WA_LN2_HIGH, -54.0 * WA_LN2_LOW});
    return log.high + log.low;
}

double wa_log1p(double x)
{
    if (!(x > -1.0))
        return x == -1.0 ? -INFINITY : NAN;
    if (x > DBL_MAX || x == 0.0)
        return x;
    pair sum = add_exactly(1.0, x);
    /* ln(a + b) = ln a + b/a - …: b/a is at most 2^-53, its square is nothing */
    pair log = add(log_pair(sum.high), (pair){sum.low / sum.high, 0.0});
    return log.high + log.low;
}

double wa_pow(double x, double y)
{
    if (!(x > 0.0) || !(x <= DBL_MAX) || !(fabs(y) <= DBL_MAX))
        return NAN;
    double scale = x < DBL_MIN ? 54.0 : 0.0;
    pair log = log_pair(x < DBL_MIN ? x * 0x1p54 : x);
    log = add(log, (pair){-scale * WA_LN2_HIGH, -scale * WA_LN2_LOW});
    /* |ln x| >= 2^-53 or 0: it overflows long before */
    y = fabs(y) > 0x1p64 ? copysign(0x1p64, y) : y;
    pair power = multiply_exactly(y, log.high);
    power = add_smaller(power.high, power.low + y * log.low);
    if (fabs(power.high) > 800.0)
        power.low = 0.0; /* 0 or infinity, whatever is added */
    return wa_exp_sum(power.high, power.low);
}

/*
 * Stirling's series at z = x + n >= 16: (z - 1/2) ln z - z + ln(2 pi)/2 + sum B_2k / (2k (2k - 1)
 * z^(2k - 1)), whose term after the last one here is below 2e-18; less ln of x (x + 1) … (z - 1).
 */
double wa_log_gamma(double x)
{
    if (!(x > 0.0) || !(x <= DBL_MAX))
        return NAN;
    if (x > 0x1p100 || x < 0x1p-100) /* x ln x - x, and -ln x, to the last bit */
        return x < 1.0 ? -wa_log(x) : x * (wa_log(x) - 1.0);
    pair z = {x, 0.0};
    pair product = {1.0, 0.0};
    while (z.high < 16.0) {
        product = multiply(product, z);
        z = add(z, (pair){1.0, 0.0});
    }
    double inverse = 1.0 / z.high;
    double w = inverse * inverse;
    double rest = -691.0 / 360360.0;
    rest = rest * w + 1.0 / 1188.0;
    rest = rest * w - 1.0 / 1680.0;
    rest = rest * w + 1.0 / 1260.0;
    rest = rest * w - 1.0 / 360.0;
    rest = rest * w + 1.0 / 12.0;
    pair log = log_pair(z.high);
    log = add(log, (pair){z.low / z.high, 0.0});
    pair value = multiply(add(z, (pair){-0.5, 0.0}), log);
    value = add(value, (pair){-z.high, -z.low});
    value = add(value, HALF_LN_TAU);
    value = add(value, (pair){rest * inverse, 0.0});
    pair below = log_pair(product.high);
    value = add(value, (pair){-below.high, -below.low});
    return value.high + (value.low - product.low / product.high);
}

/* --- Sine and cosine -------------------------------------------------------------------------- */

/* Binary digits of 2/pi, as many as the largest exponent asks for. */
static const uint32_t TWO_OVER_PI[] = {
    0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB, 0xDEBBC561,
    0xB7246E3A, 0x424DD2E0, 0x06492EEA, 0x09D1921C, 0xFE1DEB1C, 0xB129A73E, 0xE88235F5, 0x2EBB4484,
    0xE99C7026, 0xB45F7E41, 0x3991D639, 0x835339F4, 0x9C845F8B, 0xBDF9283B, 0x1FF897FF, 0xDE05980F,
    0xEF2F118B, 0x5A0A6D1F, 0x6D367ECF, 0x27CB09B7, 0x4F463F66, 0x9E5FEA2D, 0x7527BAC7, 0xEBE5F17B,
    0x3D0739F7, 0x8A5292EA, 0x6BFB5FB1, 0x1F8D5D08, 0x56033046, 0xFC7B6BAB, 0xF0CFBC20};

enum { WORD = 32, WINDOW_WORDS = 6, PRODUCT_WORDS = 8 };

/* 32 bits of a number of PRODUCT_WORDS words, lowest word first, from `bit` on. */
static uint32_t take_word(const uint32_t *words, unsigned bit)
{
    uint64_t low = words[bit / WORD];
    uint64_t high = bit / WORD + 1 < PRODUCT_WORDS ? words[bit / WORD + 1] : 0;
    return (uint32_t)((high << WORD | low) >> bit % WORD);
}

/* A mantissa times 192 digits of 2/pi, from digit `from` (0: the first) on. */
static void multiply_digits(uint64_t mantissa, unsigned from, uint32_t product[PRODUCT_WORDS])
{
    const uint64_t factor[2] = {mantissa & 0xFFFFFFFF, mantissa >> WORD};
    memset(product, 0, PRODUCT_WORDS * sizeof *product);
    for (unsigned i = 0; i < WINDOW_WORDS; i++) {
        unsigned at = from / WORD + WINDOW_WORDS - 1 - i;
        uint64_t two_words = (uint64_t)TWO_OVER_PI[at] << WORD | TWO_OVER_PI[at + 1];
        uint64_t word = two_words >> (WORD - from % WORD) & 0xFFFFFFFF;
        uint64_t carry = 0;
        for (unsigned j = 0; j < 2; j++) {
            uint64_t sum = word * factor[j] + product[i + j] + carry;
            product[i + j] = (uint32_t)sum;
            carry = sum >> WORD;
        }
        product[i + 2] = (uint32_t)carry;
    }
}

/*
 * x > pi/4 less the nearest multiple of pi/2: x = m 2^e times 2/pi in whole numbers (Payne and
 * Hanek, ACM SIGNUM 18,
 * 1983). Digits worth a multiple of 4 are left out; after 192 others the error is below 2^-136, and
 * no f64 comes closer than 2^-62 to a multiple of pi/2.
 */
static pair reduce_angle(double x, unsigned *quadrant)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52) - 1075;
    unsigned from = exponent < 2 ? 0 : (unsigned)exponent - 2;
    uint32_t product[PRODUCT_WORDS];
    multiply_digits((bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52, from, product);

    unsigned point = exponent < 2 ? (unsigned)(192 - exponent) : 190; /* where the fraction ends */
    uint32_t part[4];
    for (unsigned i = 0; i < 4; i++)
        part[i] = take_word(product, point - 4 * WORD + i * WORD);
    *quadrant = take_word(product, point) & 3;
    bool is_above = part[3] >> (WORD - 1) != 0;
    if (is_above) { /* the next multiple is nearer: 2^128 less the fraction */
        uint64_t carry = 1;
        for (unsigned i = 0; i < 4; i++) {
            carry += (uint32_t)~part[i];
            part[i] = (uint32_t)carry;
            carry >>= WORD;
        }
        *quadrant = (*quadrant + 1) & 3;
    }
    pair fraction = add_smaller((double)part[3] * 0x1p-32, (double)part[2] * 0x1p-64);
    fraction.low += (double)part[1] * 0x1p-96 + (double)part[0] * 0x1p-128;
    fraction = multiply(add_smaller(fraction.high, fraction.low), HALF_PI);
    return is_above ? (pair){-fraction.high, -fraction.low} : fraction;
}

/* |r| <= pi/4; Taylor's series, the term after the last is below 2e-19 of the sum. */
static double sine_of(pair r)
{
    double z = r.high * r.high;
    double p = 1.0 / 355687428096000.0;
    p = p * z - 1.0 / 1307674368000.0;
    p = p * z + 1.0 / 6227020800.0;
    p = p * z - 1.0 / 39916800.0;
    p = p * z + 1.0 / 362880.0;
    p = p * z - 1.0 / 5040.0;
    p = p * z + 1.0 / 120.0;
    p = p * z - 1.0 / 6.0;
    return r.high + (r.low * (1.0 - z * 0.5) + r.high * z * p);
}

/* The same; below 4e-21. */
static double cosine_of(pair r)
{
    pair square = multiply_exactly(r.high, r.high);
    double z = square.high;
    double p = -1.0 / 6402373705728000.0;
    p = p * z + 1.0 / 20922789888000.0;
    p = p * z - 1.0 / 87178291200.0;
    p = p * z + 1.0 / 479001600.0;
    p = p * z - 1.0 / 3628800.0;
    p = p * z + 1.0 / 40320.0;
    p = p * z - 1.0 / 720.0;
    p = p * z + 1.0 / 24.0;
    double sum = 1.0 - z * 0.5;
    double lost = (1.0 - sum) - z * 0.5;
    return sum + ((lost - square.low * 0.5 - r.high * r.low) + z * z * p);
}

void wa_sin_cos(double x, double *sine, double *cosine)
{
    double size = fabs(x);
    if (!(size <= DBL_MAX)) {
        *sine = *cosine = NAN;
        return;
    }
    if (size < 0x1p-30) { /* x^2/6 is below 2^-62 */
        *sine = x;
        *cosine = 1.0;
        return;
    }
    unsigned quadrant = 0;
    pair r = size <= HALF_PI.high / 2.0 ? (pair){size, 0.0} : reduce_angle(size, &quadrant);
    double s = sine_of(r);
    double c = cosine_of(r);
    double turned_s = quadrant % 2 == 0 ? s : c;
    double turned_c = quadrant % 2 == 0 ? c : s;
    turned_s = quadrant >= 2 ? -turned_s : turned_s;
    *cosine = quadrant == 1 || quadrant == 2 ? -turned_c : turned_c;
    *sine = x < 0.0 ? -turned_s : turned_s;
}

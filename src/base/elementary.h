/* exp, log, sin and their like in f64: the same bits on every processor and with every C
 * library. */
#ifndef WALKAUDIT_BASE_ELEMENTARY_H
#define WALKAUDIT_BASE_ELEMENTARY_H

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/*
 * A C library picks its exp or sin by processor and changes them from release to release, so that
 * stored numbers would depend on both. These are plain additions, multiplications and divisions in
 * a fixed order, never contracted (-ffp-contract=off): IEEE 754 leaves them one result. Of math.h
 * only what is exact by definition is used (fabs, copysign). Series are Taylor's, their remainders
 * stated; constants are made by tests/golden/elementary/make.py, and unit/test_elementary.c holds
 * the bounds below against values of 106 bits. An ulp is that of the exact value.
 *
 * The functions that vectors of values go through are inline and free of branches, for loops under
 * WA_CLONES. All are pure and local; NaN gives NaN. Rounding is to nearest, as everywhere in this
 * program.
 */
static_assert(FLT_EVAL_METHOD == 0, "f64 arithmetic is done in f64");

#define WA_LOG2_E 0x1.71547652b82fep+0
/* ln 2 in two parts: the first has 42 bits, so that its product with an exponent (11 bits) is
 * exact. */
#define WA_LN2_HIGH 0x1.62e42fefa3800p-1
#define WA_LN2_LOW 0x1.ef35793c76730p-45

/** x = n ln 2 + r + rest with |r| <= 0.35, |rest| below half an ulp of r; and e^(r + rest) - 1 = r
 * + tail. */
typedef struct wa_exp_parts {
    double n, r, tail;
} wa_exp_parts;

/** Of x + extra, for |x| < 2000 and |extra| far below |x|. Taylor's polynomial of degree 13:
 * remainder below 5e-18. */
static inline wa_exp_parts wa_exp_reduce(double x, double extra)
{
    const double shift = 0x1.8p52; /* adding it rounds to a whole number */
    double n = (x * WA_LOG2_E + shift) - shift;
    double high = x - n * WA_LN2_HIGH; /* exact: a multiple of 2^-54 below 1/2 */
    double low = n * WA_LN2_LOW - extra;
    double r = high - low;
    double rest = (high - r) - low;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    return (wa_exp_parts){.n = n, .r = r, .tail = rest + rest * r + r * r * p};
}

/** 2^n for a whole n in [-1022, 1023]. */
static inline double wa_power_of_two(double n)
{
    double shifted = n + 0x1.8p52; /* n stands in the low bits */
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 52) + (UINT64_C(1023) << 52);
    double power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/** x, or `limit` where `beyond` says so: by bits, since gcc makes branches of some choices, above
 * all between x and a constant, and no loop with branches becomes one over vectors. */
static inline double wa_limited(double x, double limit, bool beyond)
{
    uint64_t bits, instead, all = 0 - (uint64_t)beyond;
    memcpy(&bits, &x, sizeof bits);
    memcpy(&instead, &limit, sizeof instead);
    bits = (instead & all) | (bits & ~all);
    memcpy(&x, &bits, sizeof x);
    return x;
}

/** e^(x + extra), |extra| far below |x|: what wa_exp and wa_pow are made of. */
static inline double wa_exp_sum(double x, double extra)
{
    x = wa_limited(x, -746.0, x < -746.0); /* e^-746 rounds to 0, e^710 to infinity */
    x = wa_limited(x, 710.0, x > 710.0);
    wa_exp_parts parts = wa_exp_reduce(x, extra);
    double sum = 1.0 + parts.r;
    double value = sum + (((1.0 - sum) + parts.r) + parts.tail);
    /* in two steps, since 2^1024 and 2^-1075 are no numbers; the first of them is exact */
    double half = (parts.n * 0.5 + 0x1.8p52) - 0x1.8p52;
    return value * wa_power_of_two(half) * wa_power_of_two(parts.n - half);
}

/** e^x; error at most 0.7 ulp, 1.1 where the result is subnormal. */
static inline double wa_exp(double x)
{
    return wa_exp_sum(x, 0.0);
}

/** erf x / x - 1 for |x| <= 7/8, of z = x^2: Taylor's series to x^34, remainder below 5e-20. */
static inline double wa_erf_inner(double z)
{
    double p = -0x1.a2007af3447f6p-54; /* 2 / sqrt(pi) (-1)^n / (n! (2n + 1)), n = 17 … 1 */
    p = p * z + 0x1.d70b3537f4765p-50;
    p = p * z - 0x1.f56f071a885cfp-46;
    p = p * z + 0x1.f683ae4a97007p-42;
    p = p * z - 0x1.d8453cb0c46eap-38;
    p = p * z + 0x1.9e6ad5e55a730p-34;
    p = p * z - 0x1.51d7181c5d36dp-30;
    p = p * z + 0x1.fcc5720624c1cp-27;
    p = p * z - 0x1.5f742ec43e71ap-23;
    p = p * z + 0x1.b9e6c9dc651a3p-20;
    p = p * z - 0x1.f4d25c3e0c2ebp-17;
    p = p * z + 0x1.f9a326f9b89b7p-14;
    p = p * z - 0x1.c02db40040b86p-11;
    p = p * z + 0x1.565bcd0e6a53fp-8;
    p = p * z - 0x1.b82ce31288b51p-6;
    p = p * z + 0x1.ce2f21a042be2p-4;
    p = p * z - 0x1.2746b0379e6c2p-10; /* 3/8 is taken out: unlike 0.376 z, its halves are exact */
    return ((0x1.06eba8214db69p-3 - z * 0.25) - z * 0.125) + p * z; /* 2 / sqrt(pi) - 1 first */
}

/** e^(x^2) erfc x for x in [7/8, 6]: a least-squares polynomial in (x - 5/2) / (x + 5/2), worth
 * 2^-57 in erf x. */
static inline double wa_erf_outer(double x)
{
    double t = (x - 2.5) / (x + 2.5);
    double p = 0x1.c2f0e2146292ep-18;
    p = p * t + 0x1.f03a2edea45bdp-17;
    p = p * t - 0x1.3cd36cbe6db47p-15;
    p = p * t - 0x1.11eaa8e309717p-13;
    p = p * t + 0x1.ddf68d7b4c5e0p-13;
    p = p * t + 0x1.cb33706c01e4ep-11;
    p = p * t - 0x1.5a57037c3eb04p-9;
    p = p * t - 0x1.05bb284fa6abfp-8;
    p = p * t + 0x1.470ba21218f10p-5;
    p = p * t - 0x1.00115436faa57p-3;
    p = p * t + 0x1.01c11a73594efp-2;
    p = p * t - 0x1.7ca88dec21a76p-2;
    return p * t + 0x1.afbb3f3b73436p-3;
}

/** erf x; error at most 1.2 ulp for normal x. */
static inline double wa_erf(double x)
{
    double size = fabs(x);
    size = wa_limited(size, 6.0, size > 6.0); /* erfc 6 = 2e-17: erf is 1 from there on */
    double z = size * size;
    /* what rounding takes from the square, by halves of 26 bits (Dekker, Numerische Mathematik 18,
     * 1971) */
    double high = size * (0x1p27 + 1.0) - (size * (0x1p27 + 1.0) - size);
    double low = size - high;
    double lost = ((high * high - z) + 2.0 * high * low) + low * low;
    double inner = size + size * (wa_erf_inner(z) - 0.28 * lost); /* the derivative in z, roughly */
    double outer = 1.0 - wa_exp_sum(-z, -lost) * wa_erf_outer(size);
    return copysign(wa_limited(outer, inner, size < 0.875), x);
}

/** tanh x of an f32; error at most 0.501 ulp of f32. Below 2^-9 the next term of x - x^3/3 is 2^-39
 * of the sum. */
static inline float wa_tanh_f32(float x)
{
    double size = fabs((double)x);
    double large = 1.0 - 2.0 / (wa_exp(2.0 * size) + 1.0);
    double small = size - size * size * size * (1.0 / 3.0);
    return (float)copysign(size < 0x1p-9 ? small : large, (double)x);
}

/** e^x - 1; error at most 1 ulp. */
double wa_expm1(double x);
/** ln x, -infinity at 0, NaN below; error at most 0.51 ulp. */
double wa_log(double x);
/** ln (1 + x), -infinity at -1, NaN below; error at most 0.51 ulp. */
double wa_log1p(double x);
/** x^y for finite x > 0 and finite y, else NaN; error at most 0.8 ulp. */
double wa_pow(double x, double y);
/** ln of the gamma function for finite x > 0, else NaN; error at most 2^-52 max(1, |result|). */
double wa_log_gamma(double x);
/** Sine and cosine of x radians, any finite x (else NaN); error at most 0.8 ulp each. */
void wa_sin_cos(double x, double *sine, double *cosine);

#endif

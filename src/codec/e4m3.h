/* E4M3, the 8-bit float of FP8 and of FP4's scales (vindex-format.md 5.8). */
#ifndef WALKAUDIT_CODEC_E4M3_H
#define WALKAUDIT_CODEC_E4M3_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/*
 * Sign, four bits of exponent (bias 7), three of mantissa. No infinity; 7F and FF are NaN. Largest
 * 448 (7E), smallest 2^-9 (01).
 */
static inline float wa_e4m3_decode_ref(uint8_t code)
{
    int exponent = code >> 3 & 15;
    int mantissa = code & 7;
    if (exponent == 15 && mantissa == 7)
        return NAN;
    float magnitude =
        exponent == 0 ? ldexpf((float)mantissa, -9) : ldexpf((float)(8 + mantissa), exponent - 10);
    return (code & 0x80) != 0 ? -magnitude : magnitude;
}

/*
 * LARQL's rounding: to nearest even, but [2^-10, 2^-9) goes to zero and [7.5, 8) * 2^-9 to 7 *
 * 2^-9. 448 and more is 7E, infinity included.
 */
static inline uint8_t wa_e4m3_encode_ref(float x)
{
    uint8_t sign = signbit(x) ? 0x80 : 0;
    float magnitude = fabsf(x);
    if (isnan(x))
        return sign | 0x7f;
    if (magnitude >= 448.0F)
        return sign | 0x7e;
    if (magnitude < 0x1p-9F)
        return sign;
    int exponent = ilogbf(magnitude);
    if (exponent <= -7) {
        int steps = (int)rintf(magnitude * 512.0F);
        return sign | (uint8_t)(steps < 7 ? steps : 7);
    }
    /* 8 to 16 eighths of 2^exponent; 16 carries into the exponent, and below 448 it stops at 7E */
    int eighths = (int)rintf(ldexpf(magnitude, 3 - exponent));
    return sign | (uint8_t)((exponent + 6) * 8 + eighths);
}

/* The same two without a branch or a table, so that loops over them vectorise. Every alternative is
 * computed and then chosen by bits, as in wa_f16_bits_to_f32_bits. */
static inline float wa_e4m3_decode(uint32_t code)
{
    uint32_t rest = code & 0x7fU; /* exponent and mantissa */
    float tiny = (float)(int32_t)(rest & 7U) * 0x1p-9F;
    uint32_t tiny_bits;
    memcpy(&tiny_bits, &tiny, sizeof tiny_bits);
    uint32_t bits = (rest << 20) + (120U << 23);   /* bias 7 to bias 127 */
    uint32_t is_tiny = 0U - (uint32_t)(rest < 8U); /* all bits or none */
    uint32_t is_nan = 0U - (uint32_t)(rest == 0x7fU);
    bits = (tiny_bits & is_tiny) | (bits & ~is_tiny) | (is_nan & 0x7fc00000U);
    bits |= (code & 0x80U) << 24;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t wa_e4m3_encode(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t rest = bits & 0x7fffffffU;
    /* steps of 2^-9: adding 2^23 rounds to an integer, ties to even, in the low bits */
    float shifted = fabsf(x) * 512.0F + 8388608.0F;
    uint32_t steps;
    memcpy(&steps, &shifted, sizeof steps);
    steps &= 15U;
    steps = steps < 7U ? steps : 7U;
    uint32_t code = ((rest + 0x7ffffU + (rest >> 20 & 1U)) >> 20) - (120U << 3);
    code = rest < 0x3c800000U ? steps : code;  /* 2^-6 */
    code = rest < 0x3b000000U ? 0U : code;     /* 2^-9 */
    code = rest >= 0x43e00000U ? 0x7eU : code; /* 448 */
    code = rest > 0x7f800000U ? 0x7fU : code;
    return (bits >> 24 & 0x80U) | code;
}

#endif

/* E4M3, the 8-bit float of FP8 and of FP4's scales (vindex-format.md 5.8). */
#ifndef WALKAUDIT_CODEC_E4M3_H
#define WALKAUDIT_CODEC_E4M3_H

#include <math.h>
#include <stdint.h>

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

#endif

/* Plain float formats: f16, bf16, f32 and f64 to f32, and f32 to the 16-bit ones. */
#include "codec/coders.h"
#include "codec/simd.h"

#include <math.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* --- f16 --- */

float wa_f16_to_f32(uint16_t half)
{
    return float_of(wa_f16_bits_to_f32_bits(half));
}

WA_CLONES void wa_f16_decode(const uint8_t *restrict src, size_t count, float *restrict out)
{
    size_t body = count - count % WA_WIDEN;
    for (size_t i = 0; i < body; i += WA_WIDEN) {
        uint32_t wide[WA_WIDEN];
        for (size_t k = 0; k < WA_WIDEN; k++)
            wide[k] = wa_load_u16(src + 2 * (i + k));
        for (size_t k = 0; k < WA_WIDEN; k++)
            wide[k] = wa_f16_bits_to_f32_bits(wide[k]);
        memcpy(out + i, wide, sizeof wide);
    }
    for (size_t i = body; i < count; i++) {
        uint32_t bits = wa_f16_bits_to_f32_bits(wa_load_u16(src + 2 * i));
        memcpy(out + i, &bits, sizeof bits);
    }
}

void wa_decode_F16(const uint8_t *src, size_t blocks, float *out)
{
    wa_f16_decode(src, blocks, out);
}

/* IEEE 754 binary16 by its definition: (-1)^s * 2^(e-15) * 1.m, or 2^-14 * 0.m when e = 0. */
static float f16_by_definition(uint16_t half)
{
    int exponent = half >> 10 & 31;
    int mantissa = half & 1023;
    if (exponent == 31) {
        uint32_t special = (uint32_t)(half & 0x8000) << 16 | 0x7f800000u | (uint32_t)mantissa << 13;
        return float_of(special);
    }
    double magnitude = exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);
    return (float)((half & 0x8000) != 0 ? -magnitude : magnitude);
}

void wa_decode_ref_F16(const uint8_t *src, size_t blocks, float *out)
{
    for (size_t i = 0; i < blocks; i++)
        out[i] = f16_by_definition(wa_load_u16(src + 2 * i));
}

/* --- bf16: the upper half of an f32 --- */

WA_CLONES void wa_decode_BF16(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    for (size_t i = 0; i < blocks; i++) {
        uint32_t bits = (uint32_t)wa_load_u16(src + 2 * i) << 16;
        memcpy(out + i, &bits, sizeof bits);
    }
}

void wa_decode_ref_BF16(const uint8_t *src, size_t blocks, float *out)
{
    for (size_t i = 0; i < blocks; i++) {
        const uint8_t bytes[4] = {0, 0, src[2 * i], src[2 * i + 1]};
        out[i] = wa_load_f32(bytes);
    }
}

/* --- f32 and f64 --- */

void wa_decode_F32(const uint8_t *src, size_t blocks, float *out)
{
    if (blocks > 0)
        memcpy(out, src, blocks * sizeof *out);
}

void wa_decode_ref_F32(const uint8_t *src, size_t blocks, float *out)
{
    for (size_t i = 0; i < blocks; i++)
        out[i] = wa_load_f32(src + 4 * i);
}

static double load_f64(const uint8_t *p)
{
    double value;
    memcpy(&value, p, sizeof value);
    return value;
}

WA_CLONES void wa_decode_F64(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    for (size_t i = 0; i < blocks; i++)
        out[i] = (float)load_f64(src + 8 * i);
}

void wa_decode_ref_F64(const uint8_t *src, size_t blocks, float *out)
{
    for (size_t i = 0; i < blocks; i++)
        out[i] = (float)load_f64(src + 8 * i);
}

/* --- encoders --- */

/* Drops the low `shift` bits of `value`, 1 to 31 of them, rounding to nearest and ties to even. */
static uint32_t shift_round_even(uint32_t value, unsigned shift)
{
    uint32_t half = 1u << (shift - 1);
    uint32_t odd = value >> shift & 1;
    return (value + (half - 1) + odd) >> shift;
}

uint16_t wa_f32_to_f16(float value)
{
    uint32_t bits = bits_of(value);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u) /* NaN: quiet, upper payload bits kept */
        return (uint16_t)(sign | 0x7e00u | (rest >> 13 & 0x3ffu));
    if (rest >= 0x47800000u) /* 65536 and more, infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (rest >=
        0x38800000u) /* 2^-14 and more; a carry moves into the exponent, 65520 to infinity */
        return (uint16_t)(sign | shift_round_even(rest - (112u << 23), 13));
    if (rest < 0x33000000u) /* below 2^-25, half of the smallest subnormal */
        return (uint16_t)sign;
    uint32_t exponent = rest >> 23; /* 102 to 112 */
    uint32_t mantissa = (rest & 0x7fffffu) | 0x800000u;
    return (uint16_t)(sign | shift_round_even(mantissa, 126u - exponent));
}

/* vindex-format.md 5.2, column A. */
uint16_t wa_f32_to_f16_larql(float value)
{
    uint32_t bits = bits_of(value);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (rest >= 0x47800000u)
        return (uint16_t)(sign | 0x7c00u);
    if (rest < 0x38800000u)
        return (uint16_t)sign;
    return (uint16_t)(sign | (rest - (112u << 23)) >> 13);
}

uint16_t wa_f32_to_f16_truncated(float value)
{
    uint32_t bits = bits_of(value);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t exponent = bits >> 23 & 255;
    uint32_t mantissa = bits & 0x7fffffu;
    if (exponent == 255) /* a NaN whose payload lies in the low bits becomes infinity */
        return (uint16_t)(sign | 0x7c00u | mantissa >> 13);
    if (exponent >= 143)
        return (uint16_t)(sign | 0x7c00u);
    if (exponent >= 113)
        return (uint16_t)(sign | (exponent - 112) << 10 | mantissa >> 13);
    uint32_t shift = 126 - exponent;
    if (exponent == 0 || shift >= 24)
        return (uint16_t)sign;
    return (uint16_t)(sign | (mantissa | 0x800000u) >> shift);
}

uint16_t wa_f32_to_bf16(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffffu) >
        0x7f800000u) /* NaN: quiet, so that rounding cannot make it infinity */
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

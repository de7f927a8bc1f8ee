/* What the block encoders share: rounding and the largest magnitude of a block (vindex-format.md
 * 5). */
#ifndef WALKAUDIT_CODEC_QUANTISE_H
#define WALKAUDIT_CODEC_QUANTISE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Oracle: `value` rounded half away from zero, then clamped. NaN is 0, which lies in [low, high].
 */
static inline int wa_round_clamp_ref(float value, int low, int high)
{
    if (isnan(value))
        return 0;
    float rounded = roundf(value);
    if (rounded <= (float)low)
        return low;
    if (rounded >= (float)high)
        return high;
    return (int)rounded;
}

/* Oracle: the largest |x|; NaN is passed over, an empty or all-NaN run has 0. Not fmaxf, which lets
 * a signalling NaN through. */
static inline float wa_max_abs_ref(const float *x, size_t count)
{
    float most = 0.0F;
    for (size_t i = 0; i < count; i++)
        if (fabsf(x[i]) > most)
            most = fabsf(x[i]);
    return most;
}

/* The bits of a float that is positive, else something negative or zero; NaN is 0. As integers they
 * order as the floats do, and a maximum of integers may be taken in any order, hence in vector
 * registers. */
static inline int32_t wa_positive_key(uint32_t bits)
{
    int32_t key;
    memcpy(&key, &bits, sizeof key);
    return key > 0x7f800000 ? 0 : key;
}

static inline uint32_t wa_bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float wa_float_of_key(int32_t key)
{
    float x;
    memcpy(&x, &key, sizeof x);
    return x;
}

/*
 * wa_round_clamp_ref without a branch or a call, for -2^20 <= low <= 0 <= high <= 2^20. The
 * magnitude is cut to 2^20 first, so that the conversion is defined for every float; then, half
 * away from zero is truncation after adding the largest float below a half: a half itself would
 * carry 0.49999997 up to 1, and this one still carries every k + 0.5 (the sum rounds to k + 1). NaN
 * and the sign are masks: of choices gcc 12 makes branches, and no vectors of a loop with one.
 */
static inline int wa_round_clamp(float value, int low, int high)
{
    const float almost_half = 0.49999997F;
    const int32_t most = 0x49800000; /* the bits of 2^20 */
    uint32_t bits = wa_bits_of(value), size = bits & 0x7fffffffU, sign = bits >> 31;
    int32_t key = (int32_t)(size & (0U - ((size - 0x7f800001U) >> 31))); /* NaN: 0 */
    key = key < most ? key : most;
    int whole = (int)(wa_float_of_key(key) + almost_half);
    whole = (whole ^ -(int)sign) + (int)sign;
    whole = whole > low ? whole : low;
    return whole < high ? whole : high;
}

static inline float wa_max_abs(const float *x, size_t count)
{
    int32_t most = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t key = wa_positive_key(wa_bits_of(x[i]) & 0x7fffffffU);
        most = key > most ? key : most;
    }
    return wa_float_of_key(most);
}

/* Two codes of four bits to a byte, the first of them low. */
static inline void wa_pack_nibbles(const uint8_t *restrict codes, size_t bytes,
                                   uint8_t *restrict out)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)((codes[2 * i] & 15) | codes[2 * i + 1] << 4);
}

/* The codes of 32 elements, one to a byte: of 16 bytes the low nibbles, then the high ones, as ggml
 * has them. Eight bytes at a time, since of loops of 16 gcc 12 makes no vectors. */
static inline void wa_part_nibbles(const uint8_t *restrict qs, uint8_t *restrict codes)
{
    for (size_t at = 0; at < 16; at += 8) {
        uint64_t eight, mask = 0x0f0f0f0f0f0f0f0fU;
        memcpy(&eight, qs + at, sizeof eight);
        uint64_t low = eight & mask, high = eight >> 4 & mask;
        memcpy(codes + at, &low, sizeof low);
        memcpy(codes + 16 + at, &high, sizeof high);
    }
}

/* Eight codes of four bits, or of two, to eight bytes, the first of them lowest: the upper half of
 * every lane moves into a lane of its own, then the halves of those. For loops over bytes, gcc 12
 * has nothing as fast. */
static inline uint64_t wa_spread_nibbles(uint32_t eight)
{
    uint64_t x = eight;
    x = (x | x << 16) & 0x0000ffff0000ffffU;
    x = (x | x << 8) & 0x00ff00ff00ff00ffU;
    return (x | x << 4) & 0x0f0f0f0f0f0f0f0fU;
}

static inline uint64_t wa_spread_pairs(uint16_t eight)
{
    uint64_t x = eight;
    x = (x | x << 24) & 0x000000ff000000ffU;
    x = (x | x << 12) & 0x000f000f000f000fU;
    return (x | x << 6) & 0x0303030303030303U;
}

#endif

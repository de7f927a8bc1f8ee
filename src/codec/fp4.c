/* FP4 blocks of vindexes: E2M1 codes under two levels of E4M3 scales (vindex-format.md 5.9). */
#include "codec/coders.h"
#include "codec/e4m3.h"
#include "codec/quantise.h"
#include "codec/simd.h"

#include <assert.h>

enum { BLOCK = 256, SUB = 32, SUBS = BLOCK / SUB };

/*
 *   codes[128]  sub[8]  scale    value * (sub * scale / 6); all zeros where the block's scale is
 * zero
 *
 *   codes  byte i/2, element i even in the low nibble, odd in the high one
 */
typedef struct block_fp4 {
    uint8_t codes[BLOCK / 2], sub[SUBS], scale;
} block_fp4;
static_assert(sizeof(block_fp4) == 137, "FP4");

const float wa_e2m1[16] = {0.0F,  0.5F,  1.0F,  1.5F,  2.0F,  3.0F,  4.0F,  6.0F,
                           -0.0F, -0.5F, -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F};

void wa_decode_ref_FP4(const uint8_t *src, size_t blocks, float *out)
{
    const block_fp4 *b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += BLOCK) {
        float scale = wa_e4m3_decode_ref(b->scale);
        for (int s = 0; s < SUBS; s++) {
            float product = wa_e4m3_decode_ref(b->sub[s]) * scale;
            float unit = product / 6.0F;
            for (int i = s * SUB; i < (s + 1) * SUB; i++) {
                float value = wa_e2m1[b->codes[i / 2] >> 4 * (i % 2) & 15];
                out[i] = scale == 0.0F ? 0.0F : value * unit;
            }
        }
    }
}

/* Sign in bit 7, below it twice the magnitude: 0 1 2 3 4 6 8 12. */
static inline uint8_t e2m1_twice(uint8_t code)
{
    uint8_t c = code & 7;
    uint8_t past_4 = c > 4 ? (uint8_t)(c - 4) : 0;
    uint8_t at_7 = c == 7 ? 2 : 0;
    return (uint8_t)((code & 8) << 4 | (c + past_4 + at_7));
}

static inline void expand_codes(const uint8_t *restrict codes, uint8_t *restrict twice)
{
    for (size_t g = 0; g < BLOCK / 8; g++) {
        uint64_t eight = wa_spread_nibbles(wa_load_u32(codes + 4 * g));
        memcpy(twice + 8 * g, &eight, sizeof eight);
    }
    for (size_t i = 0; i < BLOCK; i++)
        twice[i] = e2m1_twice(twice[i]);
}

/* Magnitudes are halves, so half the unit, which is exact, times twice the magnitude is the same
 * product. */
WA_CLONES void wa_decode_FP4(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_fp4 *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += BLOCK) {
        uint8_t twice[BLOCK];
        float half_units[SUBS];
        float scale = wa_e4m3_decode(b->scale);
        if (scale == 0.0F) {
            memset(out, 0, BLOCK * sizeof *out);
            continue;
        }
        for (size_t s = 0; s < SUBS; s++)
            half_units[s] = wa_e4m3_decode(b->sub[s]) * scale / 6.0F * 0.5F;
        expand_codes(b->codes, twice);
        for (size_t s = 0; s < SUBS; s++) {
            const uint8_t *restrict from = twice + s * SUB;
            float *restrict to = out + s * SUB;
            float half_unit = half_units[s];
            for (size_t l = 0; l < SUB; l++) {
                float value = (float)(from[l] & 127) * half_unit;
                uint32_t bits = wa_bits_of(value) ^ (from[l] & 128U) << 24;
                memcpy(to + l, &bits, sizeof bits);
            }
        }
    }
}

/* To nearest, ties to the even code, saturating. The sign is kept: a tiny negative is code 8. LARQL
 * itself gives 6 for finite |x| beyond about 3.4e7, which takes weights above 1e12. */
static int e2m1_encode_ref(float x)
{
    if (isnan(x))
        return 0;
    float magnitude = fabsf(x);
    int code = magnitude <= 0.25F   ? 0
               : magnitude < 0.75F  ? 1
               : magnitude <= 1.25F ? 2
               : magnitude < 1.75F  ? 3
               : magnitude <= 2.5F  ? 4
               : magnitude < 3.5F   ? 5
               : magnitude <= 5.0F  ? 6
                                    : 7;
    return signbit(x) ? code | 8 : code;
}

/* A block below 2^-9 is lost: its scale is zero, and so is every byte. */
void wa_encode_ref_FP4(const float *src, size_t blocks, uint8_t *out)
{
    block_fp4 *b = (void *)out;
    for (size_t k = 0; k < blocks; k++, b++, src += BLOCK) {
        memset(b, 0, sizeof *b);
        uint8_t code = wa_e4m3_encode_ref(wa_max_abs_ref(src, BLOCK));
        float scale = wa_e4m3_decode_ref(code);
        if (scale == 0.0F)
            continue;
        b->scale = code;
        for (int s = 0; s < SUBS; s++) {
            b->sub[s] = wa_e4m3_encode_ref(wa_max_abs_ref(src + s * SUB, SUB) / scale);
            float range = wa_e4m3_decode_ref(b->sub[s]) * scale;
            if (range == 0.0F)
                continue;
            float steps = 6.0F / range;
            for (int i = s * SUB; i < (s + 1) * SUB; i++)
                b->codes[i / 2] |= (uint8_t)(e2m1_encode_ref(src[i] * steps) << 4 * (i % 2));
        }
    }
}

/* The same by counting the bounds that are passed. */
static inline uint32_t e2m1_encode(float x)
{
    float m = fabsf(x);
    int code = (m > 0.25F) + (m >= 0.75F) + (m > 1.25F) + (m >= 1.75F) + (m > 2.5F) + (m >= 3.5F) +
               (m > 5.0F);
    uint32_t sign = wa_bits_of(x) >> 28 & 8;
    return (uint32_t)code | (x == x ? sign : 0);
}

WA_CLONES void wa_encode_FP4(const float *restrict src, size_t blocks, uint8_t *restrict out)
{
    block_fp4 *restrict b = (void *)out;
    for (size_t k = 0; k < blocks; k++, b++, src += BLOCK) {
        uint8_t codes[BLOCK];
        uint32_t code = wa_e4m3_encode(wa_max_abs(src, BLOCK));
        float scale = wa_e4m3_decode(code);
        if (scale == 0.0F) {
            memset(b, 0, sizeof *b);
            continue;
        }
        b->scale = (uint8_t)code;
        for (size_t s = 0; s < SUBS; s++) {
            const float *restrict sub = src + s * SUB;
            uint32_t own = wa_e4m3_encode(wa_max_abs(sub, SUB) / scale);
            float range = wa_e4m3_decode(own) * scale;
            b->sub[s] = (uint8_t)own;
            uint32_t kept = range == 0.0F ? 0 : 15; /* else a negative would give code 8 */
            float steps = 6.0F / range;
            for (size_t l = 0; l < SUB; l++)
                codes[s * SUB + l] = (uint8_t)(e2m1_encode(sub[l] * steps) & kept);
        }
        wa_pack_nibbles(codes, BLOCK / 2, b->codes);
    }
}

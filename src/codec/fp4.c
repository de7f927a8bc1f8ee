/* FP4 blocks of vindexes: E2M1 codes under two levels of E4M3 scales (vindex-format.md 5.9). */
#include "coders.h"
#include "e4m3.h"
#include "quantise.h"
#include "simd.h"

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

static const float E2M1[16] = {0.0F,  0.5F,  1.0F,  1.5F,  2.0F,  3.0F,  4.0F,  6.0F,
                               -0.0F, -0.5F, -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F};

void wa_decode_ref_FP4(const uint8_t *src, size_t blocks, float *out)
{
    const block_fp4 *b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += BLOCK) {
        float scale = wa_e4m3_decode_ref(b->scale);
        for (int i = 0; i < BLOCK; i++) {
            float product = wa_e4m3_decode_ref(b->sub[i / SUB]) * scale;
            float unit = product / 6.0F;
            float value = E2M1[b->codes[i / 2] >> 4 * (i % 2) & 15];
            out[i] = scale == 0.0F ? 0.0F : value * unit;
        }
    }
}

void wa_decode_FP4(const uint8_t *src, size_t blocks, float *out)
{
    wa_decode_ref_FP4(src, blocks, out);
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
        for (int i = 0; i < BLOCK; i++) {
            float most = wa_max_abs_ref(src + i / SUB * SUB, SUB);
            b->sub[i / SUB] = wa_e4m3_encode_ref(most / scale);
            float range = wa_e4m3_decode_ref(b->sub[i / SUB]) * scale;
            if (range == 0.0F)
                continue;
            float steps = 6.0F / range;
            b->codes[i / 2] |= (uint8_t)(e2m1_encode_ref(src[i] * steps) << 4 * (i % 2));
        }
    }
}

void wa_encode_FP4(const float *src, size_t blocks, uint8_t *out)
{
    wa_encode_ref_FP4(src, blocks, out);
}

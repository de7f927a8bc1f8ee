/* Q4_0 of vindexes: neighbours share a byte until August 2026 (vindex-format.md 5.4), and then
 * elements 16 apart, as ggml has them (larql-2026-08 1.5). The encoders of both; ggml's order is
 * decoded in ggml_q32.c. */
#include "codec/coders.h"
#include "codec/quantise.h"
#include "codec/simd.h"

#include <assert.h>
#include <float.h>

enum { BLOCK = 32 };

/*
 *   d  qs[16]    (q - 8) * d; byte j: low nibble element 2j, high nibble element 2j + 1
 */
typedef struct block_q4_0 {
    uint8_t d[2], qs[BLOCK / 2];
} block_q4_0;
static_assert(sizeof(block_q4_0) == 18, "Q4_0");

void wa_decode_ref_Q4_0(const uint8_t *src, size_t blocks, float *out)
{
    const block_q4_0 *b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += BLOCK) {
        float d = wa_load_f16(b->d);
        for (int i = 0; i < BLOCK; i++) {
            int q = b->qs[i / 2] >> 4 * (i % 2) & 15;
            out[i] = (float)(q - 8) * d;
        }
    }
}

/* One byte for each element, 0 to 15. */
static inline void spread(const uint8_t *restrict qs, uint8_t *restrict codes)
{
    for (size_t g = 0; g < BLOCK / 8; g++) {
        uint64_t eight = wa_spread_nibbles(wa_load_u32(qs + 4 * g));
        memcpy(codes + 8 * g, &eight, sizeof eight);
    }
}

WA_CLONES void wa_decode_Q4_0(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_q4_0 *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, out += BLOCK) {
        uint8_t codes[BLOCK];
        float d = wa_load_f16(b[k].d);
        spread(b[k].qs, codes);
        for (size_t i = 0; i < BLOCK; i++)
            out[i] = (float)(codes[i] - 8) * d;
    }
}

WA_CLONES void wa_q4_0_split(wa_format format, const uint8_t *restrict src, size_t blocks,
                             int8_t *restrict q, float *restrict scale)
{
    assert(format == WA_FORMAT_Q4_0 || format == WA_FORMAT_GGML_Q4_0);
    const block_q4_0 *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, q += BLOCK) {
        scale[k] = wa_load_f16(b[k].d);
        uint8_t codes[BLOCK];
        if (format == WA_FORMAT_Q4_0)
            spread(b[k].qs, codes);
        else
            wa_part_nibbles(b[k].qs, codes);
        for (size_t i = 0; i < BLOCK; i++)
            q[i] = (int8_t)(codes[i] - 8);
    }
}

/* --- encoding ---
 *
 * Where the largest |x| is below 7 * 2^-14 the stored d is zero, and so is every element decoded.
 */

static float scale_of(float most, float *inverse)
{
    float scale = most / 7.0F;
    *inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
    return scale;
}

/* Below about 2e-38 the inverse is infinite. LARQL adds 8 to the largest int there, which wraps
 * around. */
static uint8_t nibble_ref(float steps)
{
    int q = isinf(steps) ? -8 : wa_round_clamp_ref(steps, -8, 7);
    return (uint8_t)(q + 8);
}

static void encode_ref(const float *src, size_t blocks, bool ggml, uint8_t *out)
{
    block_q4_0 *b = (void *)out;
    for (size_t k = 0; k < blocks; k++, b++, src += BLOCK) {
        float inverse;
        float scale = scale_of(wa_max_abs_ref(src, BLOCK), &inverse);
        wa_store_u16(b->d, wa_f32_to_f16_larql(scale));
        for (int j = 0; j < BLOCK / 2; j++) {
            uint8_t low = nibble_ref(src[ggml ? j : 2 * j] * inverse);
            uint8_t high = nibble_ref(src[ggml ? j + BLOCK / 2 : 2 * j + 1] * inverse);
            b->qs[j] = (uint8_t)(low | high << 4);
        }
    }
}

void wa_encode_ref_Q4_0(const float *src, size_t blocks, uint8_t *out)
{
    encode_ref(src, blocks, false, out);
}

void wa_encode_ref_GGML_Q4_0(const float *src, size_t blocks, uint8_t *out)
{
    encode_ref(src, blocks, true, out);
}

/* The codes of a block's elements in order; false, with nothing done, where the inverse of the
 * scale is infinite. */
static inline bool quantise(const float *restrict src, block_q4_0 *restrict b,
                            uint8_t *restrict codes)
{
    float inverse;
    float scale = scale_of(wa_max_abs(src, BLOCK), &inverse);
    if (inverse > FLT_MAX)
        return false;
    for (size_t i = 0; i < BLOCK; i++)
        codes[i] = (uint8_t)(wa_round_clamp(src[i] * inverse, -8, 7) + 8);
    wa_store_u16(b->d, wa_f32_to_f16_larql(scale));
    return true;
}

WA_CLONES void wa_encode_Q4_0(const float *restrict src, size_t blocks, uint8_t *restrict out)
{
    block_q4_0 *restrict b = (void *)out;
    for (size_t k = 0; k < blocks; k++, b++, src += BLOCK) {
        uint8_t codes[BLOCK];
        if (quantise(src, b, codes))
            wa_pack_nibbles(codes, BLOCK / 2, b->qs);
        else
            wa_encode_ref_Q4_0(src, 1, (uint8_t *)b);
    }
}

WA_CLONES void wa_encode_GGML_Q4_0(const float *restrict src, size_t blocks, uint8_t *restrict out)
{
    block_q4_0 *restrict b = (void *)out;
    for (size_t k = 0; k < blocks; k++, b++, src += BLOCK) {
        uint8_t codes[BLOCK];
        if (!quantise(src, b, codes)) {
            wa_encode_ref_GGML_Q4_0(src, 1, (uint8_t *)b);
            continue;
        }
        for (size_t j = 0; j < BLOCK / 2; j++)
            b->qs[j] = (uint8_t)(codes[j] | codes[j + BLOCK / 2] << 4);
    }
}

/* Q6_K of vindexes: elements in order until August 2026 (vindex-format.md 5.7), and then ggml's
 * (larql-2026-08 1.5). The encoders of both; ggml's order is decoded in ggml_k.c. */
#include "codec/coders.h"
#include "codec/quantise.h"
#include "codec/simd.h"

#include <assert.h>
#include <stdlib.h>

enum { BLOCK = 256, SUB = 16, SUBS = BLOCK / SUB };

/*
 *   ql[128]  qh[64]  sc[16]  d    (d * scale) * (q - 32), scale signed, d IEEE half
 *
 *   ql  low 4 bits: byte i/2, element i even in the low nibble, odd in the high one
 *   qh  high 2 bits: byte i/4, bits 2*(i%4)
 */
typedef struct block_q6_k {
    uint8_t ql[BLOCK / 2], qh[BLOCK / 4];
    int8_t sc[SUBS];
    uint8_t d[2];
} block_q6_k;
static_assert(sizeof(block_q6_k) == 210, "Q6_K");

void wa_decode_ref_Q6_K(const uint8_t *src, size_t blocks, float *out)
{
    const block_q6_k *b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += BLOCK) {
        float d = wa_load_f16(b->d);
        for (size_t j = 0; j < SUBS; j++) {
            float scale = d * (float)b->sc[j];
            for (size_t i = j * SUB; i < (j + 1) * SUB; i++) {
                int low = b->ql[i / 2] >> 4 * (i % 2) & 15;
                int high = b->qh[i / 4] >> 2 * (i % 4) & 3;
                out[i] = scale * (float)((low | high << 4) - 32);
            }
        }
    }
}

/* Two sub-blocks at a time: loops of 32 become full vector registers, loops of 16 do not (gcc 12,
 * measured). */
WA_CLONES void wa_decode_Q6_K(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_q6_k *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++) {
        uint8_t codes[BLOCK];
        float d = wa_load_f16(b->d);
        for (size_t g = 0; g < BLOCK / 8; g++) {
            uint64_t eight = wa_spread_nibbles(wa_load_u32(b->ql + 4 * g)) |
                             wa_spread_pairs(wa_load_u16(b->qh + 2 * g)) << 4;
            memcpy(codes + 8 * g, &eight, sizeof eight);
        }
        for (size_t j = 0; j < SUBS; j += 2, out += 2 * SUB) {
            const uint8_t *restrict two = codes + j * SUB;
            float first = d * (float)b->sc[j];
            float second = d * (float)b->sc[j + 1];
            for (size_t l = 0; l < 2 * SUB; l++)
                out[l] = (l < SUB ? first : second) * (float)(two[l] - 32);
        }
    }
}

/* Scales out, values are codes: every group gets the scale 1 under the unit d. */
static void codes_of(wa_format format, const block_q6_k *b, float codes[BLOCK])
{
    block_q6_k plain = *b;
    memset(plain.sc, 1, sizeof plain.sc);
    wa_store_u16(plain.d, 0x3c00);
    wa_format_get(format)->decode((const uint8_t *)&plain, 1, codes);
}

void wa_q6_k_split(wa_format format, const uint8_t *src, wa_k_block *out)
{
    const block_q6_k *b = (const void *)src;
    float codes[BLOCK];
    codes_of(format, b, codes);
    for (size_t i = 0; i < BLOCK; i++)
        out->code[i] = (int8_t)codes[i];
    memcpy(out->scale, b->sc, sizeof out->scale);
    memset(out->min, 0, sizeof out->min);
    out->d = wa_load_f16(b->d);
    out->dmin = 0.0F;
}

size_t wa_q6_k_full_groups(wa_format format, const uint8_t *src, size_t blocks, size_t *counted)
{
    enum { LEAST_SCALE = 16, FULL = 30 };
    size_t full = 0;
    for (size_t k = 0; k < blocks; k++) {
        const block_q6_k *b = (const block_q6_k *)(const void *)src + k;
        float codes[BLOCK];
        bool empty = wa_load_f16(b->d) == 0.0F;
        codes_of(format, b, codes);
        for (size_t j = 0; j < SUBS; j++) {
            bool used = !empty && abs(b->sc[j]) >= LEAST_SCALE;
            *counted += used ? 1 : 0;
            full += used && wa_max_abs_ref(codes + j * SUB, SUB) >= (float)FULL ? 1 : 0;
        }
    }
    return full;
}

/* --- encoding: scales and elements come from the unrounded d, a decoder sees the truncated one ---
 */

/* Scale of a sub-block, and what its elements are multiplied by. */
static inline int scale_of(float d, float most, float *inverse)
{
    int scale = d > 0.0F ? wa_round_clamp_ref(most / (31.0F * d), -128, 127) : 0;
    float step = d * (float)scale;
    *inverse = fabsf(step) > 1e-10F ? 1.0F / step : 0.0F;
    return scale;
}

void wa_encode_ref_Q6_K(const float *src, size_t blocks, uint8_t *out)
{
    block_q6_k *b = (void *)out;
    for (size_t k = 0; k < blocks; k++, b++, src += BLOCK) {
        float d = wa_max_abs_ref(src, BLOCK) / (31.0F * 127.0F);
        memset(b, 0, sizeof *b);
        wa_store_u16(b->d, wa_f32_to_f16_truncated(d));
        for (int j = 0; j < SUBS; j++) {
            float inverse;
            b->sc[j] = (int8_t)scale_of(d, wa_max_abs_ref(src + j * SUB, SUB), &inverse);
            for (int i = j * SUB; i < (j + 1) * SUB; i++) {
                int q = wa_round_clamp_ref(src[i] * inverse, -32, 31) + 32;
                b->ql[i / 2] |= (uint8_t)((q & 15) << 4 * (i % 2));
                b->qh[i / 4] |= (uint8_t)((q >> 4) << 2 * (i % 4));
            }
        }
    }
}

/* As ggml packs them: of 128 codes, four that are 32 apart share two bytes of ql and one of qh. */
void wa_encode_ref_GGML_Q6_K(const float *src, size_t blocks, uint8_t *out)
{
    block_q6_k *b = (void *)out;
    for (size_t k = 0; k < blocks; k++, b++, src += BLOCK) {
        float d = wa_max_abs_ref(src, BLOCK) / (31.0F * 127.0F);
        memset(b, 0, sizeof *b);
        wa_store_u16(b->d, wa_f32_to_f16_truncated(d));
        for (int i = 0; i < BLOCK; i++) {
            float inverse;
            int half = i / 128, quarter = i % 128 / 32, l = i % 32;
            b->sc[i / SUB] =
                (int8_t)scale_of(d, wa_max_abs_ref(src + i / SUB * SUB, SUB), &inverse);
            int q = wa_round_clamp_ref(src[i] * inverse, -32, 31) + 32;
            b->ql[64 * half + 32 * (quarter % 2) + l] |= (uint8_t)((q & 15) << 4 * (quarter / 2));
            b->qh[32 * half + l] |= (uint8_t)((q >> 4) << 2 * quarter);
        }
    }
}

/* scale_of of all sub-blocks, with masks for choices, so that its loop is one of vectors. */
static inline void scale_all(float d, const float *restrict most, int8_t *restrict scales,
                             float *restrict inverse)
{
    float top = 31.0F * d;
    int used = -(int)(d > 0.0F);
    for (size_t j = 0; j < SUBS; j++) {
        int scale = wa_round_clamp(most[j] / top, -128, 127) & used;
        float step = d * (float)scale;
        uint32_t kept = 0U - (uint32_t)(fabsf(step) > 1e-10F);
        inverse[j] = wa_float_of_key((int32_t)(wa_bits_of(1.0F / step) & kept));
        scales[j] = (int8_t)scale;
    }
}

/* Scales into the block, and the codes of its elements in order. */
static inline void quantise(const float *restrict src, block_q6_k *restrict b,
                            uint8_t *restrict codes)
{
    float most[SUBS], inverse[SUBS], widest = 0.0F;
    for (size_t j = 0; j < SUBS; j++)
        most[j] = wa_max_abs(src + j * SUB, SUB);
    for (size_t j = 0; j < SUBS; j++)
        widest = most[j] > widest ? most[j] : widest;
    float d = widest / (31.0F * 127.0F);
    wa_store_u16(b->d, wa_f32_to_f16_truncated(d));
    scale_all(d, most, b->sc, inverse);
    for (size_t j = 0; j < SUBS; j += 2, src += 2 * SUB, codes += 2 * SUB) {
        float first = inverse[j], second = inverse[j + 1];
        for (size_t l = 0; l < 2 * SUB; l++)
            codes[l] = (uint8_t)(wa_round_clamp(src[l] * (l < SUB ? first : second), -32, 31) + 32);
    }
}

WA_CLONES void wa_encode_Q6_K(const float *restrict src, size_t blocks, uint8_t *restrict out)
{
    block_q6_k *restrict b = (void *)out;
    for (size_t k = 0; k < blocks; k++, b++, src += BLOCK) {
        uint8_t codes[BLOCK];
        quantise(src, b, codes);
        wa_pack_nibbles(codes, BLOCK / 2, b->ql);
        for (size_t i = 0; i < BLOCK / 4; i++) {
            const uint8_t *four = codes + 4 * i;
            b->qh[i] = (uint8_t)(four[0] >> 4 | (four[1] >> 4) << 2 | (four[2] >> 4) << 4 |
                                 (four[3] >> 4) << 6);
        }
    }
}

WA_CLONES void wa_encode_GGML_Q6_K(const float *restrict src, size_t blocks, uint8_t *restrict out)
{
    block_q6_k *restrict b = (void *)out;
    for (size_t k = 0; k < blocks; k++, b++, src += BLOCK) {
        uint8_t codes[BLOCK];
        quantise(src, b, codes);
        for (size_t half = 0; half < 2; half++) {
            const uint8_t *restrict q = codes + 128 * half;
            uint8_t *restrict ql = b->ql + 64 * half, *restrict qh = b->qh + 32 * half;
            for (size_t l = 0; l < 64; l++)
                ql[l] = (uint8_t)((q[l] & 15) | q[l + 64] << 4);
            for (size_t l = 0; l < 32; l++)
                qh[l] = (uint8_t)(q[l] >> 4 | (q[l + 32] >> 4) << 2 | (q[l + 64] >> 4) << 4 |
                                  (q[l + 96] >> 4) << 6);
        }
    }
}

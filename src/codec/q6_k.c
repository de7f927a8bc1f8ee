/* Q6_K of vindexes: elements in order (vindex-format.md 5.7). GGML's order is in ggml_k.c. */
#include "coders.h"
#include "quantise.h"
#include "simd.h"

#include <assert.h>

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
        for (int i = 0; i < BLOCK; i++) {
            int low = b->ql[i / 2] >> 4 * (i % 2) & 15;
            int high = b->qh[i / 4] >> 2 * (i % 4) & 3;
            float scale = wa_load_f16(b->d) * (float)b->sc[i / SUB];
            out[i] = scale * (float)((low | high << 4) - 32);
        }
    }
}

void wa_decode_Q6_K(const uint8_t *src, size_t blocks, float *out)
{
    wa_decode_ref_Q6_K(src, blocks, out);
}

/* --- encoding: scales and elements come from the unrounded d, a decoder sees the truncated one ---
 */

void wa_encode_ref_Q6_K(const float *src, size_t blocks, uint8_t *out)
{
    block_q6_k *b = (void *)out;
    for (size_t k = 0; k < blocks; k++, b++, src += BLOCK) {
        float d = wa_max_abs_ref(src, BLOCK) / (31.0F * 127.0F);
        memset(b, 0, sizeof *b);
        wa_store_u16(b->d, wa_f32_to_f16_truncated(d));
        for (int i = 0; i < BLOCK; i++) {
            const float *sub = src + i / SUB * SUB;
            int scale = 0;
            if (d > 0.0F)
                scale = wa_round_clamp_ref(wa_max_abs_ref(sub, SUB) / (31.0F * d), -128, 127);
            float step = d * (float)scale;
            float inverse = fabsf(step) > 1e-10F ? 1.0F / step : 0.0F;
            int q = wa_round_clamp_ref(src[i] * inverse, -32, 31) + 32;
            b->sc[i / SUB] = (int8_t)scale;
            b->ql[i / 2] |= (uint8_t)((q & 15) << 4 * (i % 2));
            b->qh[i / 4] |= (uint8_t)((q >> 4) << 2 * (i % 4));
        }
    }
}

void wa_encode_Q6_K(const float *src, size_t blocks, uint8_t *out)
{
    wa_encode_ref_Q6_K(src, blocks, out);
}

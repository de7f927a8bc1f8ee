/* GGML's super-blocks of 256 that vindexes do not have, or order differently: Q5_K and Q6_K as GGUF
 * files hold them (forward-pass.md 1.6). Q4_K is in q4_k.c. */
#include "codec/coders.h"
#include "codec/k_scales.h"
#include "codec/simd.h"

#include <assert.h>

enum { BLOCK = WA_K_BLOCK, SUB = WA_K_SUB, GROUP = WA_K_GROUP };

/*
 * Bytes of a super-block, in order. d and dmin are IEEE half.
 *
 *   Q5_K  d  dmin  sc[12]  qh[32]  qs[128]  (d * scale) * q - (dmin * min), bit 4 of q from qh
 *   Q6_K  ql[128]  qh[64]  sc[16]  d        (d * scale) * (q - 32), scale signed
 */
typedef struct block_q5_k {
    uint8_t d[2], dmin[2], sc[12], qh[BLOCK / 8], qs[BLOCK / 2];
} block_q5_k;
typedef struct block_q6_k {
    uint8_t ql[BLOCK / 2], qh[BLOCK / 4];
    int8_t sc[BLOCK / 16];
    uint8_t d[2];
} block_q6_k;
static_assert(sizeof(block_q5_k) == 176, "Q5_K");
static_assert(sizeof(block_q6_k) == 210, "Q6_K");

/* --- oracles: element by element, as the definition reads --- */

void wa_decode_ref_GGML_Q5_K(const uint8_t *src, size_t blocks, float *out)
{
    const block_q5_k *b = (const void *)src;
    for (size_t at = 0; at < blocks; at++, b++) {
        float d = wa_load_f16(b->d), dmin = wa_load_f16(b->dmin);
        for (int j = 0; j < BLOCK / SUB; j++, out += SUB) {
            float scale = d * (float)wa_k_scale(b->sc, j);
            float min = dmin * (float)wa_k_min(b->sc, j);
            const uint8_t *qs = b->qs + SUB * (j / 2); /* of two sub-blocks, low nibbles first */
            for (int l = 0; l < SUB; l++) {
                int low = qs[l] >> 4 * (j % 2) & 15, fifth = b->qh[l] >> j & 1;
                float product = scale * (float)(low | fifth << 4);
                out[l] = product - min;
            }
        }
    }
}

/* Of each half of a block element 32 * k + l. */
void wa_decode_ref_GGML_Q6_K(const uint8_t *src, size_t blocks, float *out)
{
    const block_q6_k *b = (const void *)src;
    for (size_t at = 0; at < blocks; at++, b++) {
        float d = wa_load_f16(b->d);
        for (int n = 0; n < 2; n++)
            for (int k = 0; k < 4; k++, out += SUB) {
                const uint8_t *ql = b->ql + 64 * n + 32 * (k % 2), *qh = b->qh + 32 * n;
                const int8_t *sc = b->sc + 8 * n + 2 * k;
                float first = d * (float)sc[0], second = d * (float)sc[1];
                for (int l = 0; l < SUB; l++) {
                    int low = ql[l] >> 4 * (k / 2) & 15, high = qh[l] >> 2 * k & 3;
                    out[l] = (l < 16 ? first : second) * (float)((low | high << 4) - 32);
                }
            }
    }
}

/* --- the ones that run: fixed trip counts, no dependence between elements --- */

WA_CLONES void wa_decode_GGML_Q5_K(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_q5_k *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++) {
        float scales[8];
        float mins[8];
        wa_k_expand(b->sc, wa_load_f16(b->d), wa_load_f16(b->dmin), scales, mins);
        for (size_t g = 0; g < 4; g++, out += GROUP) {
            const uint8_t *restrict qs = b->qs + SUB * g;
            const uint8_t *restrict qh = b->qh;
            float low = scales[2 * g];
            float low_min = mins[2 * g];
            float high = scales[2 * g + 1];
            float high_min = mins[2 * g + 1];
            for (size_t l = 0; l < SUB; l++) {
                int fifths = qh[l] >> 2 * g;
                out[l] = low * (float)((qs[l] & 15) | (fifths & 1) << 4) - low_min;
                out[l + SUB] = high * (float)(qs[l] >> 4 | (fifths & 2) << 3) - high_min;
            }
        }
    }
}

WA_CLONES void wa_decode_GGML_Q6_K(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_q6_k *restrict b = (const void *)src;
    for (size_t at = 0; at < blocks; at++, b++) {
        float d = wa_load_f16(b->d);
        for (size_t n = 0; n < 2; n++, out += BLOCK / 2) {
            for (size_t half = 0; half < 2; half++) {
                const uint8_t *restrict ql = b->ql + 64 * n + 16 * half;
                const uint8_t *restrict qh = b->qh + 32 * n + 16 * half;
                const int8_t *restrict sc = b->sc + 8 * n + half;
                const float scales[4] = {d * (float)sc[0], d * (float)sc[2], d * (float)sc[4],
                                         d * (float)sc[6]};
                float *restrict to = out + 16 * half;
                for (size_t l = 0; l < 16; l++) {
                    int q0 = (ql[l] & 15) | (qh[l] & 3) << 4;
                    int q1 = (ql[l + 32] & 15) | (qh[l] >> 2 & 3) << 4;
                    int q2 = ql[l] >> 4 | (qh[l] >> 4 & 3) << 4;
                    int q3 = ql[l + 32] >> 4 | (qh[l] >> 6) << 4;
                    to[l] = scales[0] * (float)(q0 - 32);
                    to[l + 32] = scales[1] * (float)(q1 - 32);
                    to[l + 64] = scales[2] * (float)(q2 - 32);
                    to[l + 96] = scales[3] * (float)(q3 - 32);
                }
            }
        }
    }
}

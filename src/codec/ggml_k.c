/* GGML's super-blocks of 256: Q4_K (the same in vindexes), Q5_K and Q6_K in the element order of
 * GGUF files (forward-pass.md 1.6). Vindexes order Q6_K differently; that is another format. */
#include "decoders.h"
#include "simd.h"

#include <assert.h>

enum { BLOCK = 256, SUB = 32, GROUP = 64 };

/*
 * Bytes of a super-block, in order. d and dmin are IEEE half.
 *
 *   Q4_K  d  dmin  sc[12]  qs[128]          (d * scale) * q - (dmin * min)
 *   Q5_K  d  dmin  sc[12]  qh[32]  qs[128]  the same with a fifth bit
 *   Q6_K  ql[128]  qh[64]  sc[16]  d        (d * scale) * (q - 32), scale signed
 *
 * sc packs eight 6-bit scales and eight 6-bit mins, one of each for a sub-block of 32:
 *
 *   byte  0..3   bits 0-5 scale 0..3, bits 6-7 upper bits of scale 4..7
 *   byte  4..7   bits 0-5 min 0..3,   bits 6-7 upper bits of min 4..7
 *   byte  8..11  low nibble scale 4..7, high nibble min 4..7
 */
typedef struct block_q4_k {
    uint8_t d[2], dmin[2], sc[12], qs[BLOCK / 2];
} block_q4_k;
typedef struct block_q5_k {
    uint8_t d[2], dmin[2], sc[12], qh[BLOCK / 8], qs[BLOCK / 2];
} block_q5_k;
typedef struct block_q6_k {
    uint8_t ql[BLOCK / 2], qh[BLOCK / 4];
    int8_t sc[BLOCK / 16];
    uint8_t d[2];
} block_q6_k;
static_assert(sizeof(block_q4_k) == 144, "Q4_K");
static_assert(sizeof(block_q5_k) == 176, "Q5_K");
static_assert(sizeof(block_q6_k) == 210, "Q6_K");

static inline int scale_of(const uint8_t *sc, int j)
{
    return j < 4 ? sc[j] & 63 : (sc[j + 4] & 15) | (sc[j - 4] >> 6) << 4;
}

static inline int min_of(const uint8_t *sc, int j)
{
    return j < 4 ? sc[j + 4] & 63 : sc[j + 4] >> 4 | (sc[j] >> 6) << 4;
}

/* --- oracles: element i of a super-block, as the definition reads --- */

static int nibble_of_group(const uint8_t *qs, int i)
{
    int group = i / GROUP;
    uint8_t byte = qs[group * SUB + i % SUB];
    return i % GROUP < SUB ? byte & 15 : byte >> 4;
}

void wa_decode_ref_Q4_K(const uint8_t *src, size_t blocks, float *out)
{
    const block_q4_k *b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += BLOCK) {
        for (int i = 0; i < BLOCK; i++) {
            float scale = wa_load_f16(b->d) * (float)scale_of(b->sc, i / SUB);
            float min = wa_load_f16(b->dmin) * (float)min_of(b->sc, i / SUB);
            float product = scale * (float)nibble_of_group(b->qs, i);
            out[i] = product - min;
        }
    }
}

void wa_decode_ref_GGML_Q5_K(const uint8_t *src, size_t blocks, float *out)
{
    const block_q5_k *b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += BLOCK) {
        for (int i = 0; i < BLOCK; i++) {
            float scale = wa_load_f16(b->d) * (float)scale_of(b->sc, i / SUB);
            float min = wa_load_f16(b->dmin) * (float)min_of(b->sc, i / SUB);
            int fifth = b->qh[i % SUB] >> i / SUB & 1;
            float product = scale * (float)(nibble_of_group(b->qs, i) + 16 * fifth);
            out[i] = product - min;
        }
    }
}

void wa_decode_ref_GGML_Q6_K(const uint8_t *src, size_t blocks, float *out)
{
    const block_q6_k *b = (const void *)src;
    for (size_t at = 0; at < blocks; at++, b++, out += BLOCK) {
        for (int i = 0; i < BLOCK; i++) {
            int n = i / 128;
            int k = i % 128 / 32;
            int l = i % 32;
            uint8_t byte = b->ql[64 * n + 32 * (k & 1) + l];
            int low = k < 2 ? byte & 15 : byte >> 4;
            int high = b->qh[32 * n + l] >> 2 * k & 3;
            int sub = 8 * n + 2 * k + l / 16;
            float scale = wa_load_f16(b->d) * (float)b->sc[sub];
            out[i] = scale * (float)((low | high << 4) - 32);
        }
    }
}

/* --- the ones that run: fixed trip counts, no dependence between elements --- */

/* (d * scale) and (dmin * min) of the eight sub-blocks. */
static inline void expand_scales(const uint8_t *restrict sc, float d, float dmin,
                                 float *restrict scales, float *restrict mins)
{
    for (int j = 0; j < 8; j++) {
        scales[j] = d * (float)scale_of(sc, j);
        mins[j] = dmin * (float)min_of(sc, j);
    }
}

WA_CLONES void wa_decode_Q4_K(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_q4_k *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++) {
        float scales[8];
        float mins[8];
        expand_scales(b->sc, wa_load_f16(b->d), wa_load_f16(b->dmin), scales, mins);
        for (size_t g = 0; g < 4; g++, out += GROUP) {
            const uint8_t *restrict qs = b->qs + SUB * g;
            float low = scales[2 * g];
            float low_min = mins[2 * g];
            float high = scales[2 * g + 1];
            float high_min = mins[2 * g + 1];
            for (size_t l = 0; l < SUB; l++) {
                out[l] = low * (float)(qs[l] & 15) - low_min;
                out[l + SUB] = high * (float)(qs[l] >> 4) - high_min;
            }
        }
    }
}

WA_CLONES void wa_decode_GGML_Q5_K(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_q5_k *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++) {
        float scales[8];
        float mins[8];
        expand_scales(b->sc, wa_load_f16(b->d), wa_load_f16(b->dmin), scales, mins);
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

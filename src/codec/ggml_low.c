/* GGML's formats of 2 to 4 bits beside Q4_0 and Q4_K, as GGUF files hold them: Q2_K, Q3_K, IQ4_NL,
 * IQ4_XS, MXFP4 (ggml-common.h and ggml-quants.c of llama.cpp). */
#include "codec/coders.h"
#include "codec/k_scales.h"
#include "codec/simd.h"

#include <assert.h>
#include <math.h>

enum { BLOCK = WA_K_BLOCK, SUB = 16, SMALL = 32 };

/*
 * Bytes of a block, in order. d and dmin are IEEE half. Codes of two bits: element 128 n + 32 k + l
 * in bits 2k of byte 32 n + l. Codes of four bits in 32 elements: element j in the low nibble of
 * byte j, j + 16 in the high one.
 *
 *   Q2_K    sc[16]  qs[64]  d  dmin            (d * (sc & 15)) * q - (dmin * (sc >> 4)), for 16
 *           elements
 *   Q3_K    hmask[32]  qs[64]  sc[12]  d       (d * (scale - 32)) * (q - 4), bit 2 of q from hmask,
 *           for 16 elements
 *   IQ4_NL  d  qs[16]                          d * LEVELS[q]
 *   IQ4_XS  d  sc_high (u16)  sc_low[4]  qs[128]  (d * (scale - 32)) * LEVELS[q], for 32 elements
 *   MXFP4   e  qs[16]                          2^(e - 127) * E2M1[q]
 */
typedef struct block_q2_k {
    uint8_t sc[BLOCK / SUB], qs[BLOCK / 4], d[2], dmin[2];
} block_q2_k;
typedef struct block_q3_k {
    uint8_t hmask[BLOCK / 8], qs[BLOCK / 4], sc[12], d[2];
} block_q3_k;
typedef struct block_iq4_nl {
    uint8_t d[2], qs[SMALL / 2];
} block_iq4_nl;
typedef struct block_iq4_xs {
    uint8_t d[2], high[2], low[BLOCK / 64], qs[BLOCK / 2];
} block_iq4_xs;
typedef struct block_mxfp4 {
    uint8_t e, qs[SMALL / 2];
} block_mxfp4;
static_assert(sizeof(block_q2_k) == 84, "Q2_K");
static_assert(sizeof(block_q3_k) == 110, "Q3_K");
static_assert(sizeof(block_iq4_nl) == 18, "IQ4_NL");
static_assert(sizeof(block_iq4_xs) == 136, "IQ4_XS");
static_assert(sizeof(block_mxfp4) == 17, "MXFP4");

const float wa_iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113};
/* Twice the value: 2^(e - 128) stands before it, as in ggml. */
static const float E2M1_TWICE[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* --- Scales --- */

/* Six bits of a scale of Q3_K: four in the first eight bytes, two in the last four. */
int wa_q3_k_scale(const uint8_t *sc, int j)
{
    int low = j < 8 ? sc[j] & 15 : sc[j - 8] >> 4;
    return (low | (sc[8 + j % 4] >> 2 * (j / 4) & 3) << 4) - 32;
}

int wa_iq4_xs_scale(const uint8_t *src, int j)
{
    const block_iq4_xs *b = (const void *)src;
    int low = b->low[j / 2] >> 4 * (j % 2) & 15, high = wa_load_u16(b->high) >> 2 * j & 3;
    return (low | high << 4) - 32;
}

/* 2^(e - 128): e of 0 and 1 are subnormal. */
static float power_of(uint8_t e)
{
    return ldexpf(1.0F, (int)e - 128);
}

/* --- oracles: element i of a block, as the definition reads --- */

static int pair_of(const uint8_t *qs, int i)
{
    return qs[32 * (i / 128) + i % 32] >> 2 * (i % 128 / 32) & 3;
}

static int nibble(const uint8_t *qs, int i)
{
    return i < SMALL / 2 ? qs[i] & 15 : qs[i - SMALL / 2] >> 4;
}

void wa_decode_ref_GGML_Q2_K(const uint8_t *src, size_t blocks, float *out)
{
    const block_q2_k *b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += BLOCK)
        for (int i = 0; i < BLOCK; i++) {
            float scale = wa_load_f16(b->d) * (float)(b->sc[i / SUB] & 15);
            float min = wa_load_f16(b->dmin) * (float)(b->sc[i / SUB] >> 4);
            float product = scale * (float)pair_of(b->qs, i);
            out[i] = product - min;
        }
}

void wa_decode_ref_GGML_Q3_K(const uint8_t *src, size_t blocks, float *out)
{
    const block_q3_k *b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += BLOCK)
        for (int i = 0; i < BLOCK; i++) {
            float scale = wa_load_f16(b->d) * (float)wa_q3_k_scale(b->sc, i / SUB);
            int third = b->hmask[i % 32] >> i / 32 & 1;
            out[i] = scale * (float)((pair_of(b->qs, i) | third << 2) - 4);
        }
}

void wa_decode_ref_GGML_IQ4_NL(const uint8_t *src, size_t blocks, float *out)
{
    const block_iq4_nl *b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += SMALL)
        for (int i = 0; i < SMALL; i++)
            out[i] = wa_load_f16(b->d) * wa_iq4_levels[nibble(b->qs, i)];
}

void wa_decode_ref_GGML_IQ4_XS(const uint8_t *src, size_t blocks, float *out)
{
    const block_iq4_xs *b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += BLOCK)
        for (int i = 0; i < BLOCK; i++) {
            float scale = wa_load_f16(b->d) * (float)wa_iq4_xs_scale((const uint8_t *)b, i / SMALL);
            out[i] = scale * wa_iq4_levels[nibble(b->qs + 16 * (i / SMALL), i % SMALL)];
        }
}

void wa_decode_ref_GGML_MXFP4(const uint8_t *src, size_t blocks, float *out)
{
    const block_mxfp4 *b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += SMALL)
        for (int i = 0; i < SMALL; i++)
            out[i] = power_of(b->e) * E2M1_TWICE[nibble(b->qs, i)];
}

/* --- the ones that run: fixed trip counts, no dependence between elements --- */

WA_CLONES void wa_decode_GGML_Q2_K(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_q2_k *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++) {
        float d = wa_load_f16(b->d), dmin = wa_load_f16(b->dmin);
        for (int j = 0; j < BLOCK / SUB; j++, out += SUB) {
            const uint8_t *restrict qs = b->qs + 32 * (j / 8) + 16 * (j % 2);
            int shift = 2 * (j % 8 / 2);
            float scale = d * (float)(b->sc[j] & 15), min = dmin * (float)(b->sc[j] >> 4);
            for (int l = 0; l < SUB; l++)
                out[l] = scale * (float)(qs[l] >> shift & 3) - min;
        }
    }
}

WA_CLONES void wa_decode_GGML_Q3_K(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_q3_k *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++) {
        float d = wa_load_f16(b->d);
        for (int j = 0; j < BLOCK / SUB; j++, out += SUB) {
            const uint8_t *restrict qs = b->qs + 32 * (j / 8) + 16 * (j % 2);
            const uint8_t *restrict mask = b->hmask + 16 * (j % 2);
            int shift = 2 * (j % 8 / 2), bit = j / 2;
            float scale = d * (float)wa_q3_k_scale(b->sc, j);
            for (int l = 0; l < SUB; l++)
                out[l] = scale * (float)(((qs[l] >> shift & 3) | (mask[l] >> bit & 1) << 2) - 4);
        }
    }
}

/* 32 elements: a scale and levels by four bits. */
static inline void decode_levels(const uint8_t *restrict qs, float scale,
                                 const float *restrict levels, float *restrict out)
{
    for (int j = 0; j < SMALL / 2; j++)
        out[j] = scale * levels[qs[j] & 15];
    for (int j = 0; j < SMALL / 2; j++)
        out[j + SMALL / 2] = scale * levels[qs[j] >> 4];
}

WA_CLONES void wa_decode_GGML_IQ4_NL(const uint8_t *restrict src, size_t blocks,
                                     float *restrict out)
{
    const block_iq4_nl *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += SMALL)
        decode_levels(b->qs, wa_load_f16(b->d), wa_iq4_levels, out);
}

WA_CLONES void wa_decode_GGML_IQ4_XS(const uint8_t *restrict src, size_t blocks,
                                     float *restrict out)
{
    const block_iq4_xs *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++) {
        float d = wa_load_f16(b->d);
        for (int j = 0; j < BLOCK / SMALL; j++, out += SMALL)
            decode_levels(b->qs + 16 * j, d * (float)wa_iq4_xs_scale((const uint8_t *)b, j),
                          wa_iq4_levels, out);
    }
}

WA_CLONES void wa_decode_GGML_MXFP4(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_mxfp4 *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += SMALL)
        decode_levels(b->qs, power_of(b->e), E2M1_TWICE, out);
}

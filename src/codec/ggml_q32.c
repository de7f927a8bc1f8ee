/* GGML's blocks of 32: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 in the element order of GGUF files
 * (forward-pass.md 1.6). Vindexes order Q4_0 differently; that is another format. */
#include "codec/coders.h"
#include "codec/quantise.h"
#include "codec/simd.h"

#include <assert.h>

enum { BLOCK = 32, HALF = 16 };

/*
 * Bytes of a block, in order. d and m are IEEE half; byte j of qs holds element j in its low nibble
 * and element j + 16 in its high one; bit i of qh is bit 4 of element i.
 *
 *   Q4_0  d  qs[16]         (q - 8) * d
 *   Q4_1  d  m  qs[16]      q * d + m
 *   Q5_0  d  qh[4] qs[16]   (q - 16) * d
 *   Q5_1  d  m  qh[4] qs[16]  q * d + m
 *   Q8_0  d  qs[32]         q * d, q signed
 */
typedef struct block_q4_0 {
    uint8_t d[2], qs[HALF];
} block_q4_0;
typedef struct block_q4_1 {
    uint8_t d[2], m[2], qs[HALF];
} block_q4_1;
typedef struct block_q5_0 {
    uint8_t d[2], qh[4], qs[HALF];
} block_q5_0;
typedef struct block_q5_1 {
    uint8_t d[2], m[2], qh[4], qs[HALF];
} block_q5_1;
typedef struct block_q8_0 {
    uint8_t d[2];
    int8_t qs[BLOCK];
} block_q8_0;
static_assert(sizeof(block_q4_0) == 18, "Q4_0");
static_assert(sizeof(block_q4_1) == 20, "Q4_1");
static_assert(sizeof(block_q5_0) == 22, "Q5_0");
static_assert(sizeof(block_q5_1) == 24, "Q5_1");
static_assert(sizeof(block_q8_0) == 34, "Q8_0");

/* --- oracles: element i of a block, as the definition reads --- */

static int nibble(const uint8_t *qs, size_t i)
{
    return i < HALF ? qs[i] & 15 : qs[i - HALF] >> 4;
}

static int fifth_bit(const uint8_t *qh, size_t i)
{
    return (qh[i / 8] >> i % 8 & 1) << 4;
}

void wa_decode_ref_GGML_Q4_0(const uint8_t *src, size_t blocks, float *out)
{
    const block_q4_0 *b = (const void *)src;
    for (size_t block = 0; block < blocks; block++) {
        float d = wa_load_f16(b[block].d);
        for (size_t i = 0; i < BLOCK; i++) {
            int q = nibble(b[block].qs, i);
            out[block * BLOCK + i] = (float)(q - 8) * d;
        }
    }
}

void wa_decode_ref_GGML_Q4_1(const uint8_t *src, size_t blocks, float *out)
{
    const block_q4_1 *b = (const void *)src;
    for (size_t block = 0; block < blocks; block++) {
        float d = wa_load_f16(b[block].d);
        float m = wa_load_f16(b[block].m);
        for (size_t half = 0; half < 2; half++, out += HALF)
            for (size_t j = 0; j < HALF; j++) {
                int q = b[block].qs[j] >> 4 * half & 15;
                float product = (float)q * d;
                out[j] = product + m;
            }
    }
}

void wa_decode_ref_GGML_Q5_0(const uint8_t *src, size_t blocks, float *out)
{
    const block_q5_0 *b = (const void *)src;
    for (size_t block = 0; block < blocks; block++) {
        float d = wa_load_f16(b[block].d);
        for (size_t i = 0; i < BLOCK; i++) {
            int q = nibble(b[block].qs, i) | fifth_bit(b[block].qh, i);
            out[block * BLOCK + i] = (float)(q - 16) * d;
        }
    }
}

void wa_decode_ref_GGML_Q5_1(const uint8_t *src, size_t blocks, float *out)
{
    const block_q5_1 *b = (const void *)src;
    for (size_t block = 0; block < blocks; block++) {
        float d = wa_load_f16(b[block].d);
        float m = wa_load_f16(b[block].m);
        for (size_t i = 0; i < BLOCK; i++) {
            int q = nibble(b[block].qs, i) | fifth_bit(b[block].qh, i);
            float product = (float)q * d;
            out[block * BLOCK + i] = product + m;
        }
    }
}

void wa_decode_ref_GGML_Q8_0(const uint8_t *src, size_t blocks, float *out)
{
    const block_q8_0 *b = (const void *)src;
    for (size_t block = 0; block < blocks; block++) {
        float d = wa_load_f16(b[block].d);
        for (size_t i = 0; i < BLOCK; i++) {
            int q = b[block].qs[i];
            out[block * BLOCK + i] = (float)q * d;
        }
    }
}

/* --- the ones that run: fixed trip counts, no dependence between elements ---
 *
 * One loop or two over a block: whichever gcc 12 turns into full vector registers (measured).
 * Nibbles are parted for a stretch of blocks first: right after they were stored they would be read
 * by wider loads than the stores were, and wait for the cache. */
enum { STRETCH = 8 };

WA_CLONES void wa_decode_GGML_Q4_0(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_q4_0 *restrict b = (const void *)src;
    for (size_t first = 0; first < blocks; first += STRETCH) {
        uint8_t codes[STRETCH][BLOCK];
        size_t end = wa_size_min(first + STRETCH, blocks);
        for (size_t k = first; k < end; k++)
            wa_part_nibbles(b[k].qs, codes[k - first]);
        for (size_t k = first; k < end; k++, out += BLOCK) {
            float d = wa_load_f16(b[k].d);
            for (size_t i = 0; i < BLOCK; i++)
                out[i] = (float)(codes[k - first][i] - 8) * d;
        }
    }
}

WA_CLONES void wa_decode_GGML_Q4_1(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_q4_1 *restrict b = (const void *)src;
    for (size_t first = 0; first < blocks; first += STRETCH) {
        uint8_t codes[STRETCH][BLOCK];
        size_t end = wa_size_min(first + STRETCH, blocks);
        for (size_t k = first; k < end; k++)
            wa_part_nibbles(b[k].qs, codes[k - first]);
        for (size_t k = first; k < end; k++, out += BLOCK) {
            float d = wa_load_f16(b[k].d);
            float m = wa_load_f16(b[k].m);
            for (size_t i = 0; i < BLOCK; i++)
                out[i] = (float)codes[k - first][i] * d + m;
        }
    }
}

WA_CLONES void wa_decode_GGML_Q5_0(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_q5_0 *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, out += BLOCK) {
        const uint8_t *restrict qs = b[k].qs;
        float d = wa_load_f16(b[k].d);
        uint32_t qh = wa_load_u32(b[k].qh);
        for (int j = 0; j < HALF; j++) {
            int low = (qs[j] & 15) | ((qh & 1u << j) != 0 ? 16 : 0);
            int high = (qs[j] >> 4) | ((qh & 1u << (j + HALF)) != 0 ? 16 : 0);
            out[j] = (float)(low - 16) * d;
            out[j + HALF] = (float)(high - 16) * d;
        }
    }
}

WA_CLONES void wa_decode_GGML_Q5_1(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_q5_1 *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, out += BLOCK) {
        const uint8_t *restrict qs = b[k].qs;
        float d = wa_load_f16(b[k].d);
        float m = wa_load_f16(b[k].m);
        uint32_t qh = wa_load_u32(b[k].qh);
        for (int j = 0; j < HALF; j++) {
            int low = (qs[j] & 15) | ((qh & 1u << j) != 0 ? 16 : 0);
            int high = (qs[j] >> 4) | ((qh & 1u << (j + HALF)) != 0 ? 16 : 0);
            out[j] = (float)low * d + m;
            out[j + HALF] = (float)high * d + m;
        }
    }
}

WA_CLONES void wa_decode_GGML_Q8_0(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_q8_0 *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, out += BLOCK) {
        float d = wa_load_f16(b[k].d);
        for (int j = 0; j < BLOCK; j++)
            out[j] = (float)b[k].qs[j] * d;
    }
}

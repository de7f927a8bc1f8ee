/* Q4_K, the same in GGUF files and in vindexes; the encoder is LARQL's (vindex-format.md 5.6). */
#include "codec/coders.h"
#include "codec/k_scales.h"
#include "codec/quantise.h"
#include "codec/simd.h"

#include <assert.h>

enum { BLOCK = WA_K_BLOCK, SUB = WA_K_SUB, GROUP = WA_K_GROUP, SUBS = BLOCK / SUB };

/*
 *   d  dmin  sc[12]  qs[128]    (d * scale) * q - (dmin * min); d and dmin are IEEE half
 */
typedef struct block_q4_k {
    uint8_t d[2], dmin[2], sc[12], qs[BLOCK / 2];
} block_q4_k;
static_assert(sizeof(block_q4_k) == 144, "Q4_K");

void wa_decode_ref_Q4_K(const uint8_t *src, size_t blocks, float *out)
{
    const block_q4_k *b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += BLOCK) {
        float d = wa_load_f16(b->d);
        float dmin = wa_load_f16(b->dmin);
        for (int j = 0; j < SUBS; j++) {
            float scale = d * (float)wa_k_scale(b->sc, j);
            float min = dmin * (float)wa_k_min(b->sc, j);
            /* two sub-blocks share 32 bytes, low nibbles first */
            const uint8_t *bytes = b->qs + j / 2 * SUB;
            for (int l = 0; l < SUB; l++) {
                float product = scale * (float)(bytes[l] >> j % 2 * 4 & 15);
                out[j * SUB + l] = product - min;
            }
        }
    }
}

WA_CLONES void wa_decode_Q4_K(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_q4_k *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++) {
        float scales[SUBS];
        float mins[SUBS];
        wa_k_expand(b->sc, wa_load_f16(b->d), wa_load_f16(b->dmin), scales, mins);
        for (size_t g = 0; g < SUBS / 2; g++, out += GROUP) {
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

void wa_q4_k_split(const uint8_t *src, wa_k_block *out)
{
    const block_q4_k *b = (const void *)src;
    out->d = wa_load_f16(b->d);
    out->dmin = wa_load_f16(b->dmin);
    for (int j = 0; j < SUBS; j++) {
        out->scale[2 * j] = out->scale[2 * j + 1] = (int8_t)wa_k_scale(b->sc, j);
        out->min[j] = (uint8_t)wa_k_min(b->sc, j);
    }
    for (size_t g = 0; g < SUBS / 2; g++)
        for (size_t l = 0; l < SUB; l++) {
            out->code[g * GROUP + l] = (int8_t)(b->qs[g * SUB + l] & 15);
            out->code[g * GROUP + SUB + l] = (int8_t)(b->qs[g * SUB + l] >> 4);
        }
}

/* --- encoding ---
 *
 * Scales, mins and nibbles come from the unrounded d and dmin; a decoder sees the truncated ones.
 */

/* What a super-block is made of before it is packed. */
typedef struct parts {
    float d, dmin;
    int scale[SUBS], min[SUBS];
} parts;

/* From the least and the largest of each sub-block, both reaching to zero at least. */
static parts choose_scales(const float lows[SUBS], const float highs[SUBS])
{
    float widest = 0.0F;
    float lowest = 0.0F;
    for (int j = 0; j < SUBS; j++) {
        widest = fmaxf(widest, highs[j] - lows[j]);
        lowest = fminf(lowest, lows[j]);
    }
    parts p = {.d = widest > 0.0F ? widest / (15.0F * 63.0F) : 0.0F,
               .dmin = lowest < 0.0F ? -lowest / 63.0F : 0.0F};
    for (int j = 0; j < SUBS; j++) {
        if (p.d > 0.0F)
            p.scale[j] = wa_round_clamp_ref((highs[j] - lows[j]) / (15.0F * p.d), 0, 63);
        if (p.dmin > 0.0F)
            p.min[j] = wa_round_clamp_ref(-lows[j] / p.dmin, 0, 63);
    }
    return p;
}

static void pack_scales(const parts *p, block_q4_k *b)
{
    wa_store_u16(b->d, wa_f32_to_f16_truncated(p->d));
    wa_store_u16(b->dmin, wa_f32_to_f16_truncated(p->dmin));
    for (int j = 0; j < 4; j++) {
        b->sc[j] = (uint8_t)(p->scale[j] | (p->scale[j + 4] >> 4) << 6);
        b->sc[j + 4] = (uint8_t)(p->min[j] | (p->min[j + 4] >> 4) << 6);
        b->sc[j + 8] = (uint8_t)((p->scale[j + 4] & 15) | (p->min[j + 4] & 15) << 4);
    }
}

static int nibble_ref(const parts *p, int j, float x)
{
    float scale = p->d * (float)p->scale[j];
    float min = p->dmin * (float)p->min[j];
    float inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
    return wa_round_clamp_ref((x + min) * inverse, 0, 15);
}

void wa_encode_ref_Q4_K(const float *src, size_t blocks, uint8_t *out)
{
    block_q4_k *b = (void *)out;
    for (size_t k = 0; k < blocks; k++, b++, src += BLOCK) {
        float lows[SUBS] = {0};
        float highs[SUBS] = {0};
        for (int i = 0; i < BLOCK; i++) {
            lows[i / SUB] = src[i] < lows[i / SUB] ? src[i] : lows[i / SUB];
            highs[i / SUB] = src[i] > highs[i / SUB] ? src[i] : highs[i / SUB];
        }
        parts p = choose_scales(lows, highs);
        pack_scales(&p, b);
        for (int i = 0; i < BLOCK / 2; i++) {
            int j = i / SUB * 2;
            const float *pair = src + j * SUB + i % SUB;
            b->qs[i] =
                (uint8_t)(nibble_ref(&p, j, pair[0]) | nibble_ref(&p, j + 1, pair[SUB]) << 4);
        }
    }
}

/* The least and the largest of a sub-block and zero. */
static inline void reach(const float *x, float *low, float *high)
{
    int32_t least = 0;
    int32_t most = 0;
    for (size_t l = 0; l < SUB; l++) {
        uint32_t bits = wa_bits_of(x[l]);
        int32_t up = wa_positive_key(bits);
        int32_t down = wa_positive_key(bits ^ 0x80000000U);
        most = up > most ? up : most;
        least = down > least ? down : least;
    }
    *low = -wa_float_of_key(least);
    *high = wa_float_of_key(most);
}

/* choose_scales without a branch or a call, so that its loops are vectors. */
static inline parts choose_scales_fast(const float *restrict lows, const float *restrict highs)
{
    float spans[SUBS], widest = 0.0F, lowest = 0.0F;
    for (int j = 0; j < SUBS; j++)
        spans[j] = highs[j] - lows[j];
    for (int j = 0; j < SUBS; j++) {
        widest = spans[j] > widest ? spans[j] : widest;
        lowest = lows[j] < lowest ? lows[j] : lowest;
    }
    parts p = {.d = widest / (15.0F * 63.0F), .dmin = (0.0F - lowest) / 63.0F};
    float top = 15.0F * p.d;
    for (int j = 0; j < SUBS; j++) {
        int scale = wa_round_clamp(spans[j] / top, 0, 63);
        int min = wa_round_clamp(-lows[j] / p.dmin, 0, 63);
        p.scale[j] = p.d > 0.0F ? scale : 0;
        p.min[j] = p.dmin > 0.0F ? min : 0;
    }
    return p;
}

WA_CLONES void wa_encode_Q4_K(const float *restrict src, size_t blocks, uint8_t *restrict out)
{
    block_q4_k *restrict b = (void *)out;
    for (size_t k = 0; k < blocks; k++, b++, src += BLOCK) {
        float lows[SUBS], highs[SUBS];
        uint8_t codes[BLOCK];
        for (size_t j = 0; j < SUBS; j++)
            reach(src + j * SUB, &lows[j], &highs[j]);
        parts p = choose_scales_fast(lows, highs);
        pack_scales(&p, b);
        for (size_t j = 0; j < SUBS; j++) {
            float scale = p.d * (float)p.scale[j];
            float min = p.dmin * (float)p.min[j];
            float inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
            for (size_t l = j * SUB; l < (j + 1) * SUB; l++)
                codes[l] = (uint8_t)wa_round_clamp((src[l] + min) * inverse, 0, 15);
        }
        for (size_t g = 0; g < SUBS / 2; g++)
            for (size_t l = 0; l < SUB; l++)
                b->qs[g * SUB + l] =
                    (uint8_t)(codes[g * GROUP + l] | codes[g * GROUP + SUB + l] << 4);
    }
}

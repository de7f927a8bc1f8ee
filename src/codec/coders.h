/* The decoders and encoders behind wa_format_info, two of each for each format that has them. */
#ifndef WALKAUDIT_CODEC_CODERS_H
#define WALKAUDIT_CODEC_CODERS_H

#include "codec/codec.h"

/*
 * wa_decode_ID, wa_encode_ID          the ones that run
 * wa_decode_ref_ID, wa_encode_ref_ID  the oracles: one element at a time, as the definition reads
 *
 * Both of a pair do the same f32 operations on each element, so their results are the same bits
 * (where a block's scales make an element NaN, both decode to NaN, of unspecified payload).
 */
#define WA_DECODER_DECLARE(id, name, elements, bytes, bound, bits)                                 \
    wa_decode wa_decode_##id;                                                                      \
    wa_decode wa_decode_ref_##id;
WA_FORMAT_LIST(WA_DECODER_DECLARE)
#undef WA_DECODER_DECLARE

#define WA_ENCODER_DECLARE(id, name, elements, bytes, bound, bits)                                 \
    wa_encode wa_encode_##id;                                                                      \
    wa_encode wa_encode_ref_##id;
WA_FORMAT_WRITTEN_LIST(WA_ENCODER_DECLARE)
#undef WA_ENCODER_DECLARE

/** The 16 levels of IQ4_NL and IQ4_XS, and the scale codes of 16 or 32 elements: IQ4_XS of a block,
 * Q3_K of its sc[12]. */
extern const float wa_iq4_levels[16];
/** Values of the codes of FP4 and MXFP4: sign, two bits of exponent, one behind the leading one. */
extern const float wa_e2m1[16];
int wa_iq4_xs_scale(const uint8_t *src, int j);
int wa_q3_k_scale(const uint8_t *sc, int j);

/**
 * Scales that lie apart, of stored row `row` of a matrix that has such: wa_scales_at is that of
 * column `col`, and *end the first column of another one (at most matrix->cols); wa_scales_apply
 * multiplies the codes [cols] of the row by theirs.
 */
float wa_scales_at(const wa_matrix *matrix, size_t row, size_t col, size_t *end);
void wa_scales_apply(const wa_matrix *matrix, size_t row, float *codes);
/** Their bytes. */
size_t wa_matrix_scale_bytes(const wa_matrix *matrix);
/** Where a logical row is stored: its number among the stored rows; PLAIN and ROPE_PAIRS. */
size_t wa_matrix_stored_row(const wa_matrix *matrix, size_t row);

/** wa_k_split of either kind. */
void wa_q4_k_split(const uint8_t *src, wa_k_block *out);
void wa_q6_k_split(wa_format format, const uint8_t *src, wa_k_block *out);

enum { WA_BLOCK_MAX = 256 }; /* elements of the largest block */

/** f16 bits to f32 bits without a table or a branch, so that loops over it vectorise; exact. */
static inline uint32_t wa_f16_bits_to_f32_bits(uint32_t half)
{
    uint32_t sign = (half & 0x8000u) << 16;
    uint32_t rest = half & 0x7fffu; /* exponent and mantissa */
    /* A subnormal is rest * 2^-24; the conversion and the product are exact. The product is made
     * for every input and then masked: behind a condition it would keep loops from vectorising,
     * since a compiler may not make a float operation that the source does not. */
    float tiny = (float)(int32_t)rest * 0x1p-24f;
    uint32_t tiny_bits;
    memcpy(&tiny_bits, &tiny, sizeof tiny_bits);
    uint32_t wide = (rest << 13) + (112u << 23);        /* bias 15 to bias 127 */
    wide += rest >= 0x7c00u ? 112u << 23 : 0;           /* exponent 31 (infinity, NaN) to 255 */
    uint32_t is_tiny = 0u - (uint32_t)(rest < 0x0400u); /* all bits or none */
    return sign | (tiny_bits & is_tiny) | (wide & ~is_tiny);
}

/** One stored half, for the scales of a block: nearly always a normal number, so a branch is
 * cheapest. */
static inline float wa_load_f16(const uint8_t *p)
{
    uint32_t half = wa_load_u16(p);
    uint32_t rest = half & 0x7fffu;
    uint32_t bits = (half & 0x8000u) << 16 | ((rest << 13) + (112u << 23));
    if (rest - 0x0400u >= 0x7800u) /* subnormal, zero, infinity or NaN */
        bits = wa_f16_bits_to_f32_bits(half);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/** Converter B of vindex-format.md 5.2, for the block scales of Q4_K and Q6_K: truncates,
 * subnormals kept. */
uint16_t wa_f32_to_f16_truncated(float value);

static inline void wa_store_u16(uint8_t *p, uint16_t value)
{
    memcpy(p, &value, sizeof value);
}

#endif

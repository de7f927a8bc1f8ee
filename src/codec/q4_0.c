/* Q4_0 of vindexes: neighbours share a byte (vindex-format.md 5.4). GGML's order is in ggml_q32.c.
 */
#include "coders.h"
#include "quantise.h"
#include "simd.h"

#include <assert.h>

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
        for (int i = 0; i < BLOCK; i++) {
            int q = b->qs[i / 2] >> 4 * (i % 2) & 15;
            out[i] = (float)(q - 8) * wa_load_f16(b->d);
        }
    }
}

WA_CLONES void wa_decode_Q4_0(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_q4_0 *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, out += BLOCK) {
        float d = wa_load_f16(b[k].d);
        for (int j = 0; j < BLOCK / 2; j++) {
            out[2 * j] = (float)((b[k].qs[j] & 15) - 8) * d;
            out[2 * j + 1] = (float)((b[k].qs[j] >> 4) - 8) * d;
        }
    }
}

WA_CLONES void wa_q4_0_split(const uint8_t *restrict src, size_t blocks, int8_t *restrict q,
                             float *restrict scale)
{
    const block_q4_0 *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, q += BLOCK) {
        scale[k] = wa_load_f16(b[k].d);
        for (int j = 0; j < BLOCK / 2; j++) {
            q[2 * j] = (int8_t)((b[k].qs[j] & 15) - 8);
            q[2 * j + 1] = (int8_t)((b[k].qs[j] >> 4) - 8);
        }
    }
}

/* Below 7 * 2^-14 the stored d is zero and the block decodes to zeros, whatever its nibbles. */
void wa_encode_ref_Q4_0(const float *src, size_t blocks, uint8_t *out)
{
    block_q4_0 *b = (void *)out;
    for (size_t k = 0; k < blocks; k++, b++, src += BLOCK) {
        float scale = wa_max_abs_ref(src, BLOCK) / 7.0F;
        float inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
        wa_store_u16(b->d, wa_f32_to_f16_larql(scale));
        for (int j = 0; j < BLOCK / 2; j++) {
            int low = wa_round_clamp_ref(src[2 * j] * inverse, -8, 7) + 8;
            int high = wa_round_clamp_ref(src[2 * j + 1] * inverse, -8, 7) + 8;
            b->qs[j] = (uint8_t)(low | high << 4);
        }
    }
}

void wa_encode_Q4_0(const float *src, size_t blocks, uint8_t *out)
{
    wa_encode_ref_Q4_0(src, blocks, out);
}

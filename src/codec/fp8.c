/* FP8 blocks of vindexes: 256 E4M3 codes and their E4M3 scale (vindex-format.md 5.10). */
#include "codec/coders.h"
#include "codec/e4m3.h"
#include "codec/quantise.h"
#include "codec/simd.h"

#include <assert.h>

enum { BLOCK = 256 };

/*
 *   codes[256]  scale    code * scale; all zeros where the scale is zero
 */
typedef struct block_fp8 {
    uint8_t codes[BLOCK], scale;
} block_fp8;
static_assert(sizeof(block_fp8) == 257, "FP8");
static_assert(BLOCK % WA_WIDEN == 0, "blocks are widened in whole pieces");

void wa_decode_ref_FP8(const uint8_t *src, size_t blocks, float *out)
{
    const block_fp8 *b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += BLOCK) {
        float scale = wa_e4m3_decode_ref(b->scale);
        for (int i = 0; i < BLOCK; i++)
            out[i] = scale == 0.0F ? 0.0F : wa_e4m3_decode_ref(b->codes[i]) * scale;
    }
}

WA_CLONES void wa_decode_FP8(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    const block_fp8 *restrict b = (const void *)src;
    for (size_t k = 0; k < blocks; k++, b++, out += BLOCK) {
        float scale = wa_e4m3_decode(b->scale);
        if (scale == 0.0F) {
            memset(out, 0, BLOCK * sizeof *out);
            continue;
        }
        for (size_t i = 0; i < BLOCK; i += WA_WIDEN) {
            uint32_t wide[WA_WIDEN];
            for (size_t l = 0; l < WA_WIDEN; l++)
                wide[l] = b->codes[i + l];
            for (size_t l = 0; l < WA_WIDEN; l++)
                out[i + l] = wa_e4m3_decode(wide[l]) * scale;
        }
    }
}

/* A NaN becomes 7F or FF; it takes no part in the scale. */
void wa_encode_ref_FP8(const float *src, size_t blocks, uint8_t *out)
{
    block_fp8 *b = (void *)out;
    for (size_t k = 0; k < blocks; k++, b++, src += BLOCK) {
        b->scale = wa_e4m3_encode_ref(wa_max_abs_ref(src, BLOCK));
        float scale = wa_e4m3_decode_ref(b->scale);
        for (int i = 0; i < BLOCK; i++)
            b->codes[i] = scale == 0.0F ? 0 : wa_e4m3_encode_ref(src[i] / scale);
    }
}

WA_CLONES void wa_encode_FP8(const float *restrict src, size_t blocks, uint8_t *restrict out)
{
    block_fp8 *restrict b = (void *)out;
    for (size_t k = 0; k < blocks; k++, b++, src += BLOCK) {
        uint32_t code = wa_e4m3_encode(wa_max_abs(src, BLOCK));
        float scale = wa_e4m3_decode(code);
        b->scale = (uint8_t)code;
        if (scale == 0.0F) {
            memset(b->codes, 0, sizeof b->codes);
            continue;
        }
        for (size_t i = 0; i < BLOCK; i++)
            b->codes[i] = (uint8_t)wa_e4m3_encode(src[i] / scale);
    }
}

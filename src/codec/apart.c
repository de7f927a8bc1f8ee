/* Codes of 8 and 4 bits whose scales lie in a tensor of their own, as safetensors hold them: FP8
 * with a scale for a rectangle of weights, and MXFP4 of GPT-OSS (OCP Microscaling Formats 1.0). */
#include "codec/coders.h"
#include "codec/e4m3.h"
#include "codec/simd.h"

#include <assert.h>

enum { BLOCK = 32, NOT_A_SCALE = 255 };

/*
 *   E4M3   one byte
 *   E2M1   element 2j in the low nibble of byte j, 2j + 1 in the high one (GGUF has j and j + 16)
 *   E8M0   one byte e: 2^(e - 127); 255 is NaN
 */
void wa_decode_ref_E4M3(const uint8_t *src, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = wa_e4m3_decode_ref(src[i]);
}

WA_CLONES void wa_decode_E4M3(const uint8_t *restrict src, size_t count, float *restrict out)
{
    size_t whole = count - count % WA_WIDEN;
    for (size_t i = 0; i < whole; i += WA_WIDEN) {
        uint32_t wide[WA_WIDEN];
        for (size_t l = 0; l < WA_WIDEN; l++)
            wide[l] = src[i + l];
        for (size_t l = 0; l < WA_WIDEN; l++)
            out[i + l] = wa_e4m3_decode(wide[l]);
    }
    for (size_t i = whole; i < count; i++)
        out[i] = wa_e4m3_decode(src[i]);
}

void wa_decode_ref_E2M1(const uint8_t *src, size_t blocks, float *out)
{
    for (size_t i = 0; i < blocks * BLOCK; i++)
        out[i] = wa_e2m1[src[i / 2] >> 4 * (i % 2) & 15];
}

WA_CLONES void wa_decode_E2M1(const uint8_t *restrict src, size_t blocks, float *restrict out)
{
    for (size_t j = 0; j < blocks * BLOCK / 2; j++) {
        out[2 * j] = wa_e2m1[src[j] & 15];
        out[2 * j + 1] = wa_e2m1[src[j] >> 4];
    }
}

void wa_decode_ref_E8M0(const uint8_t *src, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = src[i] == NOT_A_SCALE ? NAN : ldexpf(1.0F, (int)src[i] - 127);
}

void wa_decode_E8M0(const uint8_t *restrict src, size_t count, float *restrict out)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = src[i] == 0 ? 1U << 22 : (uint32_t)src[i] << 23; /* 2^-127 is subnormal */
        bits = src[i] == NOT_A_SCALE ? 0x7fc00000U : bits;
        memcpy(&out[i], &bits, sizeof bits);
    }
}

/* --- Scales --- */

float wa_scales_at(const wa_matrix *matrix, size_t row, size_t col, size_t *end)
{
    const wa_scales *scales = &matrix->scales;
    const wa_format_info *info = wa_format_get(scales->format);
    size_t column = (scales->first_col + col) / scales->cols;
    const uint8_t *at = scales->data +
                        (scales->first_row + row) / scales->rows * scales->row_bytes +
                        column * info->block_bytes;
    float scale;
    assert(info->block_elements == 1);
    info->decode(at, 1, &scale);
    *end = wa_size_min((column + 1) * scales->cols - scales->first_col, matrix->cols);
    return scale;
}

void wa_scales_apply(const wa_matrix *matrix, size_t row, float *codes)
{
    for (size_t col = 0, end = 0; col < matrix->cols; col = end) {
        float scale = wa_scales_at(matrix, row, col, &end);
        for (size_t i = col; i < end; i++)
            codes[i] *= scale;
    }
}

/* From the scale of the first element to that of the last. */
wa_bytes wa_matrix_scale_span(const wa_matrix *matrix)
{
    const wa_scales *scales = &matrix->scales;
    if (scales->data == NULL || matrix->rows == 0 || matrix->cols == 0)
        return (wa_bytes){0};
    size_t bytes = wa_format_get(scales->format)->block_bytes;
    size_t top = scales->first_row / scales->rows,
           bottom = (scales->first_row + matrix->rows - 1) / scales->rows;
    size_t left = scales->first_col / scales->cols,
           right = (scales->first_col + matrix->cols - 1) / scales->cols;
    return (wa_bytes){.data = scales->data + top * scales->row_bytes + left * bytes,
                      .size = (bottom - top) * scales->row_bytes + (right - left + 1) * bytes};
}

size_t wa_matrix_scale_bytes(const wa_matrix *matrix)
{
    const wa_scales *scales = &matrix->scales;
    if (scales->data == NULL || matrix->rows == 0 || matrix->cols == 0)
        return 0;
    size_t down = (scales->first_row + matrix->rows - 1) / scales->rows -
                  scales->first_row / scales->rows + 1;
    size_t across = (scales->first_col + matrix->cols - 1) / scales->cols -
                    scales->first_col / scales->cols + 1;
    return down * across * wa_format_get(scales->format)->block_bytes;
}

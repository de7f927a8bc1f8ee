/* Encoders that are not LARQL's: scales from the extremes of a block, codes at the nearest level of
 * the stored scales. What files from elsewhere look like; for faults that are planted in such
 * files, and with `truncate` a fault themselves. */
#include "codec/coders.h"
#include "codec/e4m3.h"
#include "codec/k_scales.h"
#include "codec/quantise.h"

#include <assert.h>

enum {
    Q4_0_BLOCK = 32,
    SUB = 32,
    SUBS = WA_K_BLOCK / SUB,
    Q6_SUB = 16,
    Q6_SUBS = WA_K_BLOCK / Q6_SUB
};

static float half_of(float x)
{
    return wa_f16_to_f32(wa_f32_to_f16(x));
}

/* The value of the largest magnitude, with its sign. */
static float signed_largest(const float *x, size_t n)
{
    float largest = 0.0F;
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(largest))
            largest = x[i];
    return largest;
}

static float over(float a, float b)
{
    return b == 0.0F ? 0.0F : a / b;
}

/* x in levels: the nearest, or the one below. */
static int code_of(float x, int low, int high, bool truncate)
{
    return truncate ? wa_round_clamp_ref(floorf(x), low, high) : wa_round_clamp_ref(x, low, high);
}

/* As ggml does it: the value of the largest magnitude becomes -8, and halves go upwards. */
static void encode_q4_0(const float *x, bool ggml, bool truncate, uint8_t *out)
{
    float d = half_of(signed_largest(x, Q4_0_BLOCK) / -8.0F), up = truncate ? 0.0F : 0.5F;
    uint8_t codes[Q4_0_BLOCK];
    for (size_t i = 0; i < Q4_0_BLOCK; i++)
        codes[i] = (uint8_t)(code_of(over(x[i], d) + up, -8, 7, true) + 8);
    wa_store_u16(out, wa_f32_to_f16(d));
    size_t step = ggml ? 1 : 2, apart = ggml ? Q4_0_BLOCK / 2 : 1;
    for (size_t j = 0; j < Q4_0_BLOCK / 2; j++)
        out[2 + j] = (uint8_t)(codes[step * j] | codes[step * j + apart] << 4);
}

/* A step and a minimum, at most 0, of each sub-block; 6-bit scales of both under f16 ones. */
static void encode_q4_k(const float *x, bool truncate, uint8_t *out)
{
    float step[SUBS], low[SUBS], most_step = 0.0F, most_low = 0.0F;
    for (int j = 0; j < SUBS; j++) {
        float high = 0.0F;
        low[j] = 0.0F;
        for (int i = 0; i < SUB; i++) {
            low[j] = fminf(low[j], x[j * SUB + i]);
            high = fmaxf(high, x[j * SUB + i]);
        }
        step[j] = (high - low[j]) / 15.0F;
        most_step = fmaxf(most_step, step[j]);
        most_low = fmaxf(most_low, -low[j]);
    }
    float d = half_of(most_step / 63.0F), dmin = half_of(most_low / 63.0F);
    memset(out, 0, 144);
    wa_store_u16(out, wa_f32_to_f16(d));
    wa_store_u16(out + 2, wa_f32_to_f16(dmin));
    uint8_t *sc = out + 4, *qs = out + 16;
    for (int j = 0; j < SUBS; j++) {
        int s = wa_round_clamp_ref(over(step[j], d), 0, 63),
            m = wa_round_clamp_ref(over(-low[j], dmin), 0, 63);
        if (j < 4) {
            sc[j] |= (uint8_t)s;
            sc[j + 4] |= (uint8_t)m;
        } else {
            sc[j + 4] |= (uint8_t)((s & 15) | (m & 15) << 4);
            sc[j - 4] |= (uint8_t)((s >> 4) << 6);
            sc[j] |= (uint8_t)((m >> 4) << 6);
        }
        for (int i = 0; i < SUB; i++) {
            float levels = over(x[j * SUB + i] + dmin * (float)m, d * (float)s);
            int q = code_of(levels, 0, 15, truncate);
            qs[j / 2 * SUB + i] |= (uint8_t)(q << 4 * (j % 2));
        }
    }
}

/* The value of the largest magnitude of a sub-block becomes -32, its scale 8 bits under an f16
 * one. */
static void encode_q6_k(const float *x, bool ggml, bool truncate, uint8_t *out)
{
    float scale[Q6_SUBS];
    for (int j = 0; j < Q6_SUBS; j++)
        scale[j] = signed_largest(x + j * Q6_SUB, Q6_SUB) / -32.0F;
    float d = half_of(signed_largest(scale, Q6_SUBS) / -128.0F);
    memset(out, 0, 210);
    uint8_t *qh = out + 128, *sc = qh + 64;
    wa_store_u16(sc + Q6_SUBS, wa_f32_to_f16(d));
    for (int j = 0; j < Q6_SUBS; j++) {
        int s = wa_round_clamp_ref(over(scale[j], d), -128, 127);
        sc[j] = (uint8_t)(int8_t)s;
        for (int i = j * Q6_SUB; i < (j + 1) * Q6_SUB; i++) {
            int q = code_of(over(x[i], d * (float)s), -32, 31, truncate) + 32;
            int half = i / 128, quarter = i % 128 / 32, l = i % 32;
            if (ggml) {
                out[64 * half + 32 * (quarter % 2) + l] |= (uint8_t)((q & 15) << 4 * (quarter / 2));
                qh[32 * half + l] |= (uint8_t)((q >> 4) << 2 * quarter);
            } else {
                out[i / 2] |= (uint8_t)((q & 15) << 4 * (i % 2));
                qh[i / 4] |= (uint8_t)((q >> 4) << 2 * (i % 4));
            }
        }
    }
}

/* Code of an E4M3 magnitude: the nearest, or the largest that is no larger; or (up) the smallest
 * that is no smaller. */
typedef enum rounding { NEAREST, DOWN, UP } rounding;
static uint8_t e4m3_code(float size, rounding how)
{
    uint8_t code = 0;
    while (code < 0x7e && wa_e4m3_decode_ref((uint8_t)(code + 1)) <= size)
        code++;
    float below = wa_e4m3_decode_ref(code), above = wa_e4m3_decode_ref((uint8_t)(code + 1));
    if (code == 0x7e || how == DOWN || size == below)
        return code;
    bool nearer = size - below > above - size || (size - below == above - size && code % 2 == 1);
    return how == UP || nearer ? (uint8_t)(code + 1) : code;
}

/* The same of E2M1, 0 to 7. */
static uint8_t e2m1_code(float size, bool truncate)
{
    uint8_t code = 0;
    while (code < 7 && wa_e2m1[code + 1] <= size)
        code++;
    if (code == 7 || truncate)
        return code;
    float down = size - wa_e2m1[code], up = wa_e2m1[code + 1] - size;
    return (uint8_t)(code + (down > up || (down == up && code % 2 == 1)));
}

static float e2m1_unit(uint8_t sub, float scale)
{
    return wa_e4m3_decode_ref(sub) * scale / 6.0F;
}

static float e2m1_value(uint8_t code, float unit)
{
    return wa_e2m1[code] * unit;
}

/* Of the scale nearest to the largest magnitude and its two neighbours, the one that leaves the
 * least squared error. */
static uint8_t choose_sub(const float *x, float scale)
{
    uint8_t middle = e4m3_code(wa_max_abs_ref(x, SUB) / scale, NEAREST), best = middle;
    float least = INFINITY;
    for (int code = middle > 0 ? middle - 1 : 0; code <= middle + 1 && code <= 0x7e; code++) {
        float unit = e2m1_unit((uint8_t)code, scale), error = 0.0F;
        for (int i = 0; unit > 0.0F && i < SUB; i++) {
            float off = e2m1_value(e2m1_code(fabsf(x[i]) / unit, false), unit) - fabsf(x[i]);
            error += off * off;
        }
        if (unit > 0.0F && error < least) {
            least = error;
            best = (uint8_t)code;
        }
    }
    return best;
}

/* The block's scale is rounded up, so that nothing is cut. */
static void encode_fp4(const float *x, bool truncate, uint8_t *out)
{
    memset(out, 0, 137);
    uint8_t *sub = out + WA_K_BLOCK / 2, code = e4m3_code(wa_max_abs_ref(x, WA_K_BLOCK), UP);
    float scale = wa_e4m3_decode_ref(code);
    if (wa_max_abs_ref(x, WA_K_BLOCK) < 0x1p-9F)
        return;
    sub[SUBS] = code;
    for (int j = 0; j < SUBS; j++) {
        sub[j] = choose_sub(x + j * SUB, scale);
        float unit = e2m1_unit(sub[j], scale);
        for (int i = j * SUB; unit > 0.0F && i < (j + 1) * SUB; i++) {
            uint8_t q = e2m1_code(fabsf(x[i]) / unit, truncate);
            q |= x[i] < 0.0F ? 8 : 0;
            out[i / 2] |= (uint8_t)(q << 4 * (i % 2));
        }
    }
}

/* The scale takes the largest value to 448 or less. */
static void encode_fp8(const float *x, bool truncate, uint8_t *out)
{
    uint8_t code = e4m3_code(wa_max_abs_ref(x, WA_K_BLOCK) / 448.0F, UP);
    float scale = wa_e4m3_decode_ref(code);
    out[WA_K_BLOCK] = code;
    for (int i = 0; i < WA_K_BLOCK; i++) {
        uint8_t q = e4m3_code(over(fabsf(x[i]), scale), truncate ? DOWN : NEAREST);
        out[i] = (uint8_t)(q | (x[i] < 0.0F ? 128 : 0));
    }
}

static void encode_block(wa_format format, const float *x, bool truncate, uint8_t *out)
{
    switch (format) {
    case WA_FORMAT_Q4_0:
    case WA_FORMAT_GGML_Q4_0:
        encode_q4_0(x, wa_format_is_ggml_order(format), truncate, out);
        return;
    case WA_FORMAT_Q4_K:
        encode_q4_k(x, truncate, out);
        return;
    case WA_FORMAT_Q6_K:
    case WA_FORMAT_GGML_Q6_K:
        encode_q6_k(x, wa_format_is_ggml_order(format), truncate, out);
        return;
    case WA_FORMAT_FP4:
        encode_fp4(x, truncate, out);
        return;
    default:
        assert(format == WA_FORMAT_FP8);
        encode_fp8(x, truncate, out);
    }
}

void wa_rows_encode_other(wa_format format, bool truncate, const float *rows, size_t count,
                          size_t cols, uint8_t *out)
{
    const wa_format_info *info = wa_format_get(format);
    for (size_t r = 0; r < count; r++)
        for (size_t at = 0; at < cols; at += info->block_elements, out += info->block_bytes) {
            float block[WA_BLOCK_MAX] = {0.0F};
            size_t n = cols - at < info->block_elements ? cols - at : info->block_elements;
            memcpy(block, rows + r * cols + at, n * sizeof *block);
            encode_block(format, block, truncate, out);
        }
}

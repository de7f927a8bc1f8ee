/* How far weights lie from the values stored for them, in steps of the stored scales: what an
 * encoder that takes the nearest level keeps to a half. */
#include "codec/coders.h"
#include "codec/e4m3.h"
#include "codec/k_scales.h"
#include "codec/quantise.h"
#include "codec/simd.h"

#include <assert.h>

/* Elements that share a scale: value = code * scale - min, codes from low to high. */
typedef struct run {
    float scale, min;
    float low, high;
    /* of the steps that the format could have stored: where scale is 0 it was rounded to that */
    float finest;
    /* steps by which a scale's own rounding, where it is subnormal, moves the last level */
    float slack;
} run;

/* The least f16, and the least normal one. */
static const float HALF_LEAST = 0x1p-24F, HALF_NORMAL = 0x1p-14F;

/* A scale that is a subnormal f16 is itself off by up to 2^-24, truncated: `levels` times as much
 * at the end. */
static float slack_of(float d, float levels)
{
    float size = fabsf(d);
    return size > 0.0F && size < HALF_NORMAL ? levels * HALF_LEAST / size : 0.0F;
}

/* The largest |x - code|, x being the weight in codes; beyond the range it is the end. */
WA_CLONES static float farthest(const float *restrict weights, const float *restrict codes,
                                size_t n, const run *of)
{
    int32_t most = 0;
    float inverse = 1.0F / of->scale, min = of->min, low = of->low, high = of->high;
    for (size_t i = 0; i < n; i++) {
        float x = (weights[i] + min) * inverse;
        x = x > low ? x : low;
        x = x < high ? x : high;
        int32_t key = wa_positive_key(wa_bits_of(x - codes[i]) & 0x7fffffffU);
        most = key > most ? key : most;
    }
    return wa_float_of_key(most);
}

/* No step at all: every weight has the value -min. Half of the range that the finest step spans
 * would have been rounded to it. */
static float farthest_of_none(const float *weights, size_t n, const run *of)
{
    float most = 0.0F;
    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(weights[i] + of->min));
    return most / ((of->high - of->low) * of->finest);
}

static float steps_of(const float *weights, const float *codes, size_t n, const run *of)
{
    float most =
        of->scale == 0.0F ? farthest_of_none(weights, n, of) : farthest(weights, codes, n, of);
    return most > of->slack ? most - of->slack : 0.0F;
}

/* The least step under d; where d itself was lost, the least that keeps the largest sub-block's
 * scale, `most`. */
static float finest_of(float d, float most)
{
    return d == 0.0F ? HALF_LEAST * most : fabsf(d);
}

static float steps_Q4_0(wa_format format, const uint8_t *src, const float *weights)
{
    enum { BLOCK = 32 };
    int8_t q[BLOCK];
    float codes[BLOCK], d;
    wa_q4_0_split(format, src, 1, q, &d);
    for (size_t i = 0; i < BLOCK; i++)
        codes[i] = q[i];
    run of = {.scale = d, .low = -8, .high = 7, .finest = HALF_LEAST, .slack = slack_of(d, 8)};
    return steps_of(weights, codes, BLOCK, &of);
}

static float steps_Q4_K(const uint8_t *src, const float *weights)
{
    enum { SUBS = WA_K_BLOCK / WA_K_SUB };
    float scales[SUBS], mins[SUBS], codes[WA_K_SUB], most = 0.0F;
    float d = wa_load_f16(src), dmin = wa_load_f16(src + 2);
    wa_k_expand(src + 4, d, dmin, scales, mins);
    for (int j = 0; j < SUBS; j++) {
        for (int i = 0; i < WA_K_SUB; i++)
            codes[i] = (float)wa_k_nibble(src + 16, j * WA_K_SUB + i);
        run of = {.scale = scales[j], .min = mins[j], .high = 15, .finest = finest_of(d, 63)};
        if (scales[j] != 0.0F) /* the last level moves with d, all of them with dmin */
            of.slack = slack_of(d, 15) + slack_of(dmin, mins[j] / scales[j]);
        most = fmaxf(most, steps_of(weights + j * WA_K_SUB, codes, WA_K_SUB, &of));
    }
    return most;
}

/* The code of element i, less 32, in either order. */
static float code_Q6_K(const uint8_t *ql, const uint8_t *qh, int i, bool ggml)
{
    int half = i / 128, quarter = i % 128 / 32, l = i % 32;
    int low = ggml ? ql[64 * half + 32 * (quarter % 2) + l] >> 4 * (quarter / 2)
                   : ql[i / 2] >> 4 * (i % 2);
    int high = ggml ? qh[32 * half + l] >> 2 * quarter : qh[i / 4] >> 2 * (i % 4);
    return (float)((low & 15) | (high & 3) << 4) - 32;
}

static float steps_Q6_K(wa_format format, const uint8_t *src, const float *weights)
{
    enum { BLOCK = 256, SUB = 16 };
    const uint8_t *ql = src, *qh = src + BLOCK / 2, *sc = qh + BLOCK / 4;
    float d = wa_load_f16(sc + BLOCK / SUB), codes[SUB], most = 0.0F;
    for (int j = 0; j < BLOCK / SUB; j++) {
        for (int l = 0; l < SUB; l++)
            codes[l] = code_Q6_K(ql, qh, j * SUB + l, format == WA_FORMAT_GGML_Q6_K);
        run of = {.scale = d * (float)(int8_t)sc[j],
                  .low = -32,
                  .high = 31,
                  .finest = finest_of(d, 128),
                  .slack = slack_of(d, 32)};
        most = fmaxf(most, steps_of(weights + j * SUB, codes, SUB, &of));
    }
    return most;
}

/*
 * Levels that are floats themselves lie unevenly: a magnitude's place among them is its code, and a
 * fraction of the way to the next. Above `normal` a code is an exponent and `bits` of the mantissa,
 * below it a multiple of `tiny`.
 */
typedef struct levels {
    float normal, tiny, most;
    int bits;
    float first; /* the exponent and mantissa of `normal` as an integer, less its code */
} levels;
static const levels E2M1 = {.normal = 1.0F, .tiny = 0.5F, .most = 6.0F, .bits = 1, .first = 252.0F};
static const levels E4M3 = {
    .normal = 0x1p-6F, .tiny = 0x1p-9F, .most = 448.0F, .bits = 3, .first = 960.0F};

/* The largest difference of place between weights over their unit and codes, whose lower bits are a
 * place and whose highest is the sign. */
WA_CLONES static float farthest_place(const float *restrict weights, const uint8_t *restrict codes,
                                      size_t n, float unit, const levels *of)
{
    int32_t most = 0;
    float inverse = 1.0F / unit, per_tiny = 1.0F / of->tiny;
    float per_bits = 1.0F / (float)(1 << (23 - of->bits));
    for (size_t i = 0; i < n; i++) {
        float x = weights[i] * inverse, size = fabsf(x);
        size = size < of->most ? size : of->most;
        float place = (float)(int32_t)wa_bits_of(size) * per_bits - of->first;
        place = size < of->normal ? size * per_tiny : place;
        place = x < 0.0F ? -place : place;
        float stored = (float)(codes[i] & 127);
        stored = (codes[i] & 128) != 0 ? -stored : stored;
        int32_t key = wa_positive_key(wa_bits_of(place - stored) & 0x7fffffffU);
        most = key > most ? key : most;
    }
    return wa_float_of_key(most);
}

/* Zeros stored since the unit was: below `lost` it had to be. */
static float steps_of_zeros(const float *weights, size_t n, float lost)
{
    return 0.5F * wa_max_abs(weights, n) / lost;
}

static float steps_FP4(const uint8_t *src, const float *weights)
{
    enum { BLOCK = 256, SUB = 32 };
    float scale = wa_e4m3_decode(src[BLOCK / 2 + BLOCK / SUB]), most = 0.0F;
    if (scale == 0.0F)
        return steps_of_zeros(weights, BLOCK, 0x1p-9F);
    for (int s = 0; s < BLOCK / SUB; s++) {
        uint8_t codes[SUB];
        float unit = wa_e4m3_decode(src[BLOCK / 2 + s]) * scale / 6.0F;
        for (int l = 0; l < SUB; l++) {
            int i = s * SUB + l, code = src[i / 2] >> 4 * (i % 2) & 15;
            codes[l] = (uint8_t)((code & 7) | (code & 8) << 4);
        }
        float own = unit == 0.0F ? steps_of_zeros(weights + s * SUB, SUB, 0x1p-9F * scale)
                                 : farthest_place(weights + s * SUB, codes, SUB, unit, &E2M1);
        most = fmaxf(most, own);
    }
    return most;
}

static float steps_FP8(const uint8_t *src, const float *weights)
{
    enum { BLOCK = 256 };
    float scale = wa_e4m3_decode(src[BLOCK]);
    if (scale == 0.0F)
        return steps_of_zeros(weights, BLOCK, 0x1p-9F);
    return farthest_place(weights, src, BLOCK, scale, &E4M3);
}

/* --- Formats that are only read here: values and stored scales tell the codes. */

/* A scale of 16 bits that was rounded after the codes were chosen by the full one moves the last
 * level by so much of a step. */
static float late_of(float codes)
{
    return codes * 0x1p-11F;
}

/* Blocks of 32: a scale, and with `shifted` a least value behind it. */
static float steps_of_32(const uint8_t *src, const float *weights, const float *values, float low,
                         float high, bool shifted)
{
    enum { BLOCK = 32 };
    float codes[BLOCK], d = wa_load_f16(src), m = shifted ? wa_load_f16(src + 2) : 0.0F;
    run of = {.scale = d, .min = -m, .low = low, .high = high, .finest = HALF_LEAST};
    for (size_t i = 0; i < BLOCK; i++)
        codes[i] = d == 0.0F ? 0.0F : roundf((values[i] - m) / d);
    if (d != 0.0F)
        of.slack = slack_of(d, high) + late_of(high) + late_of(fabsf(m / d));
    return steps_of(weights, codes, BLOCK, &of);
}

/* Sub-blocks of 16 or 32 with scales, and mins where there are some. */
typedef struct subs {
    float scale[16], min[16];
    size_t size;
    float low, high, finest;
    float slack_scale, slack_min; /* steps at the last level; per step of min */
} subs;

static float steps_of_subs(const float *weights, const float *values, const subs *s)
{
    float codes[WA_K_SUB], most = 0.0F;
    for (size_t j = 0; j < WA_K_BLOCK / s->size; j++) {
        float scale = s->scale[j], min = s->min[j];
        run of = {.scale = scale, .min = min, .low = s->low, .high = s->high, .finest = s->finest};
        for (size_t i = 0; i < s->size; i++)
            codes[i] = scale == 0.0F ? 0.0F : roundf((values[j * s->size + i] + min) / scale);
        if (scale != 0.0F)
            of.slack = s->slack_scale + s->slack_min * fabsf(min / scale);
        most = fmaxf(most, steps_of(weights + j * s->size, codes, s->size, &of));
    }
    return most;
}

static float steps_Q5_K(const uint8_t *src, const float *weights, const float *values)
{
    float d = wa_load_f16(src), dmin = wa_load_f16(src + 2);
    subs s = {.size = WA_K_SUB,
              .high = 31,
              .finest = finest_of(d, 63),
              .slack_scale = slack_of(d, 31),
              .slack_min = slack_of(dmin, 1)};
    wa_k_expand(src + 4, d, dmin, s.scale, s.min);
    return steps_of_subs(weights, values, &s);
}

static float steps_Q2_K(const uint8_t *src, const float *weights, const float *values)
{
    enum { SUBS = 16 };
    float d = wa_load_f16(src + 80), dmin = wa_load_f16(src + 82);
    subs s = {.size = 16,
              .high = 3,
              .finest = finest_of(d, 15),
              .slack_scale = slack_of(d, 3),
              .slack_min = slack_of(dmin, 1)};
    for (int j = 0; j < SUBS; j++) {
        s.scale[j] = d * (float)(src[j] & 15);
        s.min[j] = dmin * (float)(src[j] >> 4);
    }
    return steps_of_subs(weights, values, &s);
}

static float steps_Q3_K(const uint8_t *src, const float *weights, const float *values)
{
    enum { SUBS = 16 };
    float d = wa_load_f16(src + 108);
    subs s = {.size = 16,
              .low = -4,
              .high = 3,
              .finest = finest_of(d, 32),
              .slack_scale = slack_of(d, 4)};
    for (int j = 0; j < SUBS; j++)
        s.scale[j] = d * (float)wa_q3_k_scale(src + 96, j);
    return steps_of_subs(weights, values, &s);
}

/* A value's place among uneven levels in rising order; beyond them the end. */
static float place_among(float x, const float *ladder, size_t count)
{
    size_t k = 0;
    if (!(x > ladder[0]))
        return 0.0F;
    while (k + 1 < count && x >= ladder[k + 1])
        k++;
    return k + 1 == count ? (float)k : (float)k + (x - ladder[k]) / (ladder[k + 1] - ladder[k]);
}

/* 32 elements over one scale. */
static float steps_of_levels(const float *weights, const float *values, float scale, float finest,
                             const float *ladder, size_t count)
{
    enum { SMALL = 32 };
    float most = 0.0F;
    if (scale == 0.0F)
        return steps_of_zeros(weights, SMALL, finest * ladder[count - 1]);
    for (size_t i = 0; i < SMALL; i++) {
        float far = place_among(weights[i] / scale, ladder, count) -
                    place_among(values[i] / scale, ladder, count);
        most = fabsf(far) > most ? fabsf(far) : most;
    }
    return most;
}

static float steps_IQ4_XS(const uint8_t *src, const float *weights, const float *values)
{
    enum { SMALL = 32, SUBS = 8 };
    float d = wa_load_f16(src), most = 0.0F;
    float slack = slack_of(d, 16);
    for (int j = 0; j < SUBS; j++)
        most = fmaxf(most, steps_of_levels(weights + SMALL * j, values + SMALL * j,
                                           d * (float)wa_iq4_xs_scale(src, j), finest_of(d, 32),
                                           wa_iq4_levels, 16));
    return most > slack ? most - slack : 0.0F;
}

static float steps_IQ4_NL(const uint8_t *src, const float *weights, const float *values)
{
    float d = wa_load_f16(src), slack = slack_of(d, 16) + late_of(16);
    float most = steps_of_levels(weights, values, d, HALF_LEAST, wa_iq4_levels, 16);
    return most > slack ? most - slack : 0.0F;
}

/* Scales are told halved: levels are whole numbers then. */
static float steps_of_e2m1(const float *weights, const float *values, float half)
{
    static const float ladder[15] = {-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12};
    return steps_of_levels(weights, values, half, 0x1p-127F, ladder, 15);
}

static float steps_of_read(wa_format format, const uint8_t *src, const float *weights)
{
    float values[WA_BLOCK_MAX];
    wa_format_get(format)->decode(src, 1, values);
    switch (format) {
    case WA_FORMAT_GGML_Q4_1:
        return steps_of_32(src, weights, values, 0, 15, true);
    case WA_FORMAT_GGML_Q5_0:
        return steps_of_32(src, weights, values, -16, 15, false);
    case WA_FORMAT_GGML_Q5_1:
        return steps_of_32(src, weights, values, 0, 31, true);
    case WA_FORMAT_GGML_Q8_0:
        return steps_of_32(src, weights, values, -127, 127, false);
    case WA_FORMAT_GGML_Q2_K:
        return steps_Q2_K(src, weights, values);
    case WA_FORMAT_GGML_Q3_K:
        return steps_Q3_K(src, weights, values);
    case WA_FORMAT_GGML_IQ4_NL:
        return steps_IQ4_NL(src, weights, values);
    case WA_FORMAT_GGML_IQ4_XS:
        return steps_IQ4_XS(src, weights, values);
    case WA_FORMAT_GGML_MXFP4:
        return steps_of_e2m1(weights, values, ldexpf(1.0F, (int)src[0] - 128));
    default:
        assert(format == WA_FORMAT_GGML_Q5_K);
        return steps_Q5_K(src, weights, values);
    }
}

static float steps_of_block(wa_format format, const uint8_t *src, const float *weights)
{
    switch (format) {
    case WA_FORMAT_Q4_0:
    case WA_FORMAT_GGML_Q4_0:
        return steps_Q4_0(format, src, weights);
    case WA_FORMAT_Q4_K:
        return steps_Q4_K(src, weights);
    case WA_FORMAT_Q6_K:
    case WA_FORMAT_GGML_Q6_K:
        return steps_Q6_K(format, src, weights);
    case WA_FORMAT_FP4:
        return steps_FP4(src, weights);
    case WA_FORMAT_FP8:
        return steps_FP8(src, weights);
    default:
        return steps_of_read(format, src, weights);
    }
}

float wa_row_steps(wa_format format, const uint8_t *row, const float *weights, size_t cols)
{
    const wa_format_info *info = wa_format_get(format);
    size_t width = info->block_elements, whole = cols / width, rest = cols % width;
    float most = 0.0F;
    for (size_t b = 0; b < whole; b++)
        most =
            fmaxf(most, steps_of_block(format, row + b * info->block_bytes, weights + b * width));
    if (rest > 0) { /* the padding is nobody's weight: there the stored value stands for it */
        float last[WA_BLOCK_MAX];
        info->decode(row + whole * info->block_bytes, 1, last);
        memcpy(last, weights + whole * width, rest * sizeof *last);
        most = fmaxf(most, steps_of_block(format, row + whole * info->block_bytes, last));
    }
    return most;
}

/* --- Scales that lie apart --- */

/* Columns [col, end), whose scale is known. */
static float steps_apart(const wa_matrix *matrix, const uint8_t *codes, const float *weights,
                         size_t n, float scale)
{
    enum { SMALL = 32 };
    float values[SMALL], own[SMALL];
    if (matrix->format == WA_FORMAT_E4M3)
        return scale == 0.0F ? steps_of_zeros(weights, n, 0x1p-126F)
                             : farthest_place(weights, codes, n, scale, &E4M3);
    assert(matrix->format == WA_FORMAT_E2M1 && n <= SMALL);
    wa_decode_E2M1(codes, 1, values);
    for (size_t i = 0; i < SMALL; i++)
        values[i] *= scale;
    memcpy(own, values, sizeof own); /* the padding is nobody's weight */
    memcpy(own, weights, n * sizeof *own);
    return steps_of_e2m1(own, values, 0.5F * scale);
}

float wa_matrix_steps(const wa_matrix *matrix, size_t row, const float *weights)
{
    const wa_format_info *info = wa_format_get(matrix->format);
    const uint8_t *codes = wa_matrix_row(matrix, row);
    if (matrix->scales.data == NULL)
        return wa_row_steps(matrix->format, codes, weights, matrix->cols);
    float most = 0.0F;
    for (size_t col = 0, end = 0; col < matrix->cols; col = end) {
        float scale = wa_scales_at(matrix, wa_matrix_stored_row(matrix, row), col, &end);
        const uint8_t *at = codes + col / info->block_elements * info->block_bytes;
        most = fmaxf(most, steps_apart(matrix, at, weights + col, end - col, scale));
    }
    return most;
}

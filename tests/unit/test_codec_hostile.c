/* Block formats on anything: every bit pattern of a block, every kind of float, and how far a value
 * may move. */
#include "codec/codec.h"

#include "golden.h"

#include <float.h>
#include <math.h>

enum { BLOCK = 256, BYTES_MAX = 257 };

static const wa_format written[] = {WA_FORMAT_GGML_Q4_0, WA_FORMAT_GGML_Q6_K, WA_FORMAT_Q4_0,
                                    WA_FORMAT_Q4_K,      WA_FORMAT_Q6_K,      WA_FORMAT_FP4,
                                    WA_FORMAT_FP8};
enum { WRITTEN = sizeof written / sizeof written[0] };

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool same(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* --- decoding --- */

/* One block of vindex order each, by hand from vindex-format.md 5. */
static void hand_made_blocks_decode_to_hand_made_values(void)
{
    float out[BLOCK];
    const uint8_t q4_0[18] = {0x00, 0x38, 0x19, [17] = 0xf0}; /* d = 0.5 */
    wa_format_get(WA_FORMAT_Q4_0)->decode(q4_0, 1, out);
    CU_ASSERT_EQUAL(out[0], 0.5F);  /* (9 - 8) / 2 */
    CU_ASSERT_EQUAL(out[1], -3.5F); /* (1 - 8) / 2: neighbours share a byte */
    CU_ASSERT_EQUAL(out[30], -4.0F);
    CU_ASSERT_EQUAL(out[31], 3.5F);

    uint8_t q6_k[210] = {0}; /* d = 2, element 213: ql[106] high nibble, qh[53] bits 2-3, sc[13] */
    q6_k[106] = 0xa0;
    q6_k[128 + 53] = 3 << 2;
    q6_k[192 + 13] = 0xfd; /* -3 */
    q6_k[209] = 0x40;
    wa_format_get(WA_FORMAT_Q6_K)->decode(q6_k, 1, out);
    CU_ASSERT_EQUAL(out[213], -156.0F); /* 2 * -3 * (10 + 48 - 32) */
    CU_ASSERT_EQUAL(out[212], 192.0F);  /* 2 * -3 * (0 - 32) */
    CU_ASSERT_EQUAL(out[207], 0.0F);    /* the sub-block before it has scale 0 */

    uint8_t fp4[137] = {[16] = 0xf5, [129] = 0x44, [136] = 0x3c}; /* scales 3 and 1.5: unit 0.75 */
    wa_format_get(WA_FORMAT_FP4)->decode(fp4, 1, out);
    CU_ASSERT_EQUAL(out[32], 2.25F); /* 3 * 0.75 */
    CU_ASSERT_EQUAL(out[33], -4.5F); /* -6 * 0.75 */
    CU_ASSERT_EQUAL(out[34], 0.0F);
    CU_ASSERT_EQUAL(out[0], 0.0F);

    uint8_t fp8[257] = {0x38, 0xc0, [255] = 0x01, [256] = 0x3c}; /* scale 1.5 */
    wa_format_get(WA_FORMAT_FP8)->decode(fp8, 1, out);
    CU_ASSERT_EQUAL(out[0], 1.5F);
    CU_ASSERT_EQUAL(out[1], -3.0F);
    CU_ASSERT_EQUAL(out[255], 1.5F * 0x1p-9F);
}

static void nan_scales_decode_to_nan_and_zero_scales_to_zero(void)
{
    static const struct {
        wa_format format;
        size_t at, first, count; /* the scale byte, and the elements it governs */
    } scales[] = {{WA_FORMAT_FP8, 256, 0, BLOCK},
                  {WA_FORMAT_FP4, 136, 0, BLOCK},
                  {WA_FORMAT_FP4, 130, 64, 32}};
    for (size_t s = 0; s < sizeof scales / sizeof scales[0]; s++) {
        const wa_format_info *info = wa_format_get(scales[s].format);
        wa_decode *const decoders[] = {info->decode, info->decode_ref};
        for (size_t d = 0; d < 2; d++)
            for (unsigned sign = 0; sign < 256; sign += 128) {
                uint8_t bytes[BYTES_MAX];
                float out[BLOCK];
                size_t nans = 0;
                size_t zeros = 0;
                memset(bytes, 0x35, sizeof bytes);
                bytes[scales[s].at] = (uint8_t)(0x7f | sign);
                decoders[d](bytes, 1, out);
                for (size_t i = 0; i < BLOCK; i++)
                    nans += isnan(out[i]) != 0;
                CU_ASSERT_EQUAL(nans, scales[s].count);
                CU_ASSERT(isnan(out[scales[s].first]));
                bytes[scales[s].at] = (uint8_t)sign;
                decoders[d](bytes, 1, out);
                for (size_t i = 0; i < BLOCK; i++)
                    zeros += out[i] == 0.0F;
                CU_ASSERT_EQUAL(zeros, scales[s].count);
            }
    }
}

/* One block on the heap, so that a sanitizer sees a read beyond it. */
static size_t differences(const wa_format_info *info, const uint8_t *block)
{
    float fast[BLOCK], slow[BLOCK];
    size_t wrong = 0;
    info->decode(block, 1, fast);
    info->decode_ref(block, 1, slow);
    for (size_t i = 0; i < info->block_elements; i++)
        wrong += !same(fast[i], slow[i]);
    return wrong;
}

/* Each byte takes all 256 values, the others being random; under sanitizers this also shows that no
 * pattern is undefined behaviour. */
static void every_byte_of_a_block_may_have_every_value(void)
{
    uint64_t state = 31337;
    for (int f = 0; f < WA_FORMAT_COUNT; f++) {
        const wa_format_info *info = wa_format_get((wa_format)f);
        uint8_t *block = malloc(info->block_bytes);
        size_t wrong = 0;
        CU_ASSERT_PTR_NOT_NULL_FATAL(block);
        for (size_t at = 0; at < info->block_bytes; at++) {
            for (size_t i = 0; i < info->block_bytes; i++)
                block[i] = (uint8_t)(wa_test_random(&state) >> 24);
            bool edge = at < 16 || at + 24 >= info->block_bytes; /* scales lie at the ends */
            for (unsigned value = 0; value < 256; value += edge ? 1 : 51) {
                block[at] = (uint8_t)value;
                wrong += differences(info, block);
            }
        }
        CU_ASSERT_EQUAL(wrong, 0);
        free(block);
    }
}

/* --- encoding --- */

/* Kinds of blocks; `kind` counts up. */
static void fill_kind(unsigned kind, uint64_t *state, float x[BLOCK])
{
    static const float specials[] = {0.0F,     -0.0F,   NAN,      INFINITY, -INFINITY, FLT_MAX,
                                     -FLT_MAX, FLT_MIN, 1e-45F,   -1e-45F,  1.0F,      -1.0F,
                                     0x1p-9F,  448.0F,  65504.0F, 1e30F};
    int exponent = (int)(wa_test_random(state) % 250) - 140;
    for (size_t i = 0; i < BLOCK; i++) {
        uint64_t r = wa_test_random(state);
        float unit = (float)(int)(r >> 40) * 0x1p-23F - 1.0F; /* [-1, 1) */
        float any = float_of((uint32_t)(r >> 16));
        float special = specials[(r >> 8) % (sizeof specials / sizeof specials[0])];
        switch (kind % 6) {
        case 0: /* a random size */
            x[i] = ldexpf(unit, exponent);
            break;
        case 1: /* any float at all */
            x[i] = any;
            break;
        case 2: /* ordinary weights, some of them special */
            x[i] = r % 16 == 0 ? special : 0.02F * unit;
            break;
        case 3: /* sub-blocks of very different sizes */
            x[i] = ldexpf(unit, -(int)(i / 16) * 2);
            break;
        case 4: /* one sign, few levels: many ties */
            x[i] = (float)(int)(r >> 60) * 0.125F;
            break;
        default: /* specials only */
            x[i] = special;
        }
    }
}

static void fast_encoders_write_the_bytes_of_the_oracle(void)
{
    enum { ROUNDS = 1200 };
    uint64_t state = 20261124;
    for (size_t f = 0; f < WRITTEN; f++) {
        const wa_format_info *info = wa_format_get(written[f]);
        size_t blocks = BLOCK / info->block_elements;
        size_t wrong = 0;
        for (unsigned round = 0; round < ROUNDS; round++) {
            float x[BLOCK];
            uint8_t fast[BYTES_MAX + 1], slow[BYTES_MAX + 1];
            memset(fast, 0xa5, sizeof fast);
            memset(slow, 0x5a, sizeof slow);
            fill_kind(round, &state, x);
            info->encode(x, blocks, fast);
            info->encode_ref(x, blocks, slow);
            wrong += memcmp(fast, slow, blocks * info->block_bytes) != 0;
            wrong += fast[blocks * info->block_bytes] != 0xa5;
        }
        CU_ASSERT_EQUAL(wrong, 0);
    }
}

/* LARQL adds 8 to a converted int, which wraps where 1/scale is infinite (vindex-format.md 5.4: d
 * is 0 there). */
static void q4_0_of_almost_nothing_is_zero(void)
{
    float x[32] = {1e-40F, -1e-40F, 0.0F};
    uint8_t bytes[18];
    float out[32];
    wa_rows_encode(WA_FORMAT_Q4_0, x, 1, 32, bytes);
    static const uint8_t expected[18] = {0,    0,    0x00, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88,
                                         0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88};
    CU_ASSERT(memcmp(bytes, expected, sizeof bytes) == 0);
    wa_format_get(WA_FORMAT_Q4_0)->decode(bytes, 1, out);
    for (size_t i = 0; i < 32; i++)
        CU_ASSERT_EQUAL(out[i], 0.0F);
}

/* --- how far a value may move --- */

/* Largest magnitude, least and largest with zero, of n values. */
typedef struct extent {
    double most, low, high;
} extent;

static extent extent_of(const float *x, size_t n)
{
    extent e = {0};
    for (size_t i = 0; i < n; i++) {
        e.low = fmin(e.low, x[i]);
        e.high = fmax(e.high, x[i]);
    }
    e.most = fmax(e.high, -e.low);
    return e;
}

static const double TRUNCATED = 0x1p-10; /* relative error of a truncated f16, at most */
static const double SUBNORMAL = 0x1p-24; /* its absolute error below 2^-14 */

/*
 * Bounds of |decoded - x| from the encoders' definitions (vindex-format.md 5.4 to 5.10): half a
 * step, what clamping cuts off when a scale was rounded down, and the truncation of stored scales.
 * `own` is of the sub-block, `all` of the block.
 */
static double bound_q4_0(extent own, extent all)
{
    (void)own;
    return all.most < 7 * 0x1p-14 ? all.most : all.most * (0.5 / 7 + TRUNCATED);
}

static double bound_q4_k(extent own, extent all)
{
    double d = (all.high - all.low) / 945; /* at least each sub-block's range over 945 */
    double dmin = -all.low / 63;
    double step = (own.high - own.low) / 15 + d / 2;
    double clamped = 7.5 * d + dmin / 2;
    double stored = TRUNCATED * (15 * step - own.low + dmin) + (945 + 63) * SUBNORMAL;
    return fmax(step / 2, clamped) + stored;
}

static double bound_q6_k(extent own, extent all)
{
    double d = all.most / 3937;
    double step = own.most / 31 + d / 2;
    double lost = step < 2e-10 ? own.most : 0; /* below 1e-10 a step is none */
    return fmax(step / 2, 15.5 * d) + TRUNCATED * 32 * step + 127 * 32 * SUBNORMAL + lost;
}

/* Scales of FP4 and FP8 move by up to 1/16, hence 17/16 in what they scale. */
static double bound_fp4(extent own, extent all)
{
    double scale = all.most * 17 / 16;
    return all.most < 0x1p-9 ? all.most : own.most * 17 / 16 / 6 + scale * 0x1p-9;
}

static double bound_fp8(extent own, extent all)
{
    return all.most < 0x1p-9 ? all.most : fmax(own.most / 16, all.most * 17 / 16 * 0x1p-9);
}

typedef struct rule {
    wa_format format;
    size_t sub; /* elements that share the finest scale */
    double (*bound)(extent own, extent all);
} rule;

static const rule rules[] = {
    {WA_FORMAT_GGML_Q4_0, 32, bound_q4_0}, {WA_FORMAT_GGML_Q6_K, 16, bound_q6_k},
    {WA_FORMAT_Q4_0, 32, bound_q4_0},      {WA_FORMAT_Q4_K, 32, bound_q4_k},
    {WA_FORMAT_Q6_K, 16, bound_q6_k},      {WA_FORMAT_FP4, 32, bound_fp4},
    {WA_FORMAT_FP8, 1, bound_fp8}};

/* Elements of a block of 256 that moved further than the rule allows. */
static size_t moved_too_far(const rule *by, const float x[BLOCK])
{
    const wa_format_info *info = wa_format_get(by->format);
    uint8_t bytes[BYTES_MAX];
    float out[BLOCK];
    size_t blocks = BLOCK / info->block_elements;
    size_t wrong = 0;
    info->encode(x, blocks, bytes);
    info->decode(bytes, blocks, out);
    for (size_t i = 0; i < BLOCK; i++) {
        extent own = extent_of(x + i / by->sub * by->sub, by->sub);
        extent all =
            extent_of(x + i / info->block_elements * info->block_elements, info->block_elements);
        double bound = by->bound(own, all) * (1 + 1e-5) + FLT_MIN;
        wrong += !(fabs((double)out[i] - x[i]) <= bound); /* a NaN is wrong */
    }
    return wrong;
}

/* Shapes of weights, times `size`. */
static float shape_value(unsigned shape, size_t i, uint64_t *state)
{
    float noise = 0;
    for (int k = 0; k < 6; k++)
        noise += (float)(wa_test_random(state) >> 40) * 0x1p-24F - 0.5F;
    switch (shape) {
    case 0:
        return noise; /* nearly normal */
    case 1:
        return 0.0F;
    case 2:
        return 1.0F; /* constant */
    case 3:
        return -1.0F;
    case 4:
        return i == 77 ? 1.0F : 0.0F; /* a spike */
    case 5:
        return i == 200 ? -1.0F : 1e-3F * noise; /* an outlier */
    case 6:
        return i % 2 == 0 ? 1.0F : -1.0F;
    case 7:
        return (float)i / BLOCK; /* one sign */
    case 8:
        return 1.0F + 1e-3F * noise; /* far from zero, narrow */
    default:
        return ldexpf(noise, -(int)(i / 16)); /* every sub-block smaller than the last */
    }
}

static void values_move_no_further_than_the_format_allows(void)
{
    static const float sizes[] = {1.0F, 0.02F, 1e3F, 3e4F, 1e-3F, 1e-6F, 1e-12F, 1e-38F};
    uint64_t state = 5;
    for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++)
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
            for (unsigned shape = 0; shape < 10; shape++) {
                float x[BLOCK];
                for (size_t i = 0; i < BLOCK; i++)
                    x[i] = sizes[s] * shape_value(shape, i, &state);
                size_t wrong = moved_too_far(&rules[r], x);
                if (wrong > 0)
                    fprintf(stderr, "    %s, size %g, shape %u: %zu beyond the bound\n",
                            wa_format_get(rules[r].format)->name, (double)sizes[s], shape, wrong);
                CU_ASSERT_EQUAL(wrong, 0);
            }
}

/* f16 scales become infinite, E4M3 scales stop at 448: 448 * 448 for FP8; for FP4 the same, as 6 *
 * (448 * 448 / 6). */
static void huge_blocks_overflow_where_the_format_ends(void)
{
    for (size_t f = 0; f < WRITTEN; f++) {
        const wa_format_info *info = wa_format_get(written[f]);
        bool small_float = written[f] == WA_FORMAT_FP4 || written[f] == WA_FORMAT_FP8;
        size_t blocks = BLOCK / info->block_elements;
        uint8_t bytes[BYTES_MAX];
        float x[BLOCK], out[BLOCK];
        size_t wrong = 0;
        for (size_t i = 0; i < BLOCK; i++)
            x[i] = 1e30F;
        info->encode(x, blocks, bytes);
        info->decode(bytes, blocks, out);
        for (size_t i = 0; i < BLOCK; i++)
            wrong += small_float ? !(fabsf(out[i] - 200704.0F) <= 0.02F) : isfinite(out[i]) != 0;
        CU_ASSERT_EQUAL(wrong, 0);
    }
}

WA_SUITE("codec_hostile", WA_CASE(hand_made_blocks_decode_to_hand_made_values),
         WA_CASE(nan_scales_decode_to_nan_and_zero_scales_to_zero),
         WA_CASE(every_byte_of_a_block_may_have_every_value),
         WA_CASE(fast_encoders_write_the_bytes_of_the_oracle),
         WA_CASE(q4_0_of_almost_nothing_is_zero),
         WA_CASE(values_move_no_further_than_the_format_allows),
         WA_CASE(huge_blocks_overflow_where_the_format_ends))

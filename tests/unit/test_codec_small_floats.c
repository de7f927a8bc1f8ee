/* The scalars inside block formats: E4M3, E2M1 as FP4 uses it, truncated f16, rounding. */
#include "codec/codec.h"

#include "codec/coders.h"
#include "codec/e4m3.h"
#include "codec/quantise.h"
#include "golden.h"

#include <float.h>
#include <math.h>

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* --- E4M3 --- */

static void e4m3_codes_have_the_values_of_ocp(void)
{
    static const struct {
        uint8_t code;
        float value;
    } known[] = {{0x00, 0.0F},     {0x01, 0x1p-9F}, {0x07, 7 * 0x1p-9F}, {0x08, 0x1p-6F},
                 {0x38, 1.0F},     {0x3c, 1.5F},    {0x7e, 448.0F},      {0xb8, -1.0F},
                 {0x81, -0x1p-9F}, {0xfe, -448.0F}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        CU_ASSERT_EQUAL(wa_e4m3_decode(known[i].code), known[i].value);
        CU_ASSERT_EQUAL(wa_e4m3_decode_ref(known[i].code), known[i].value);
    }
    CU_ASSERT(isnan(wa_e4m3_decode(0x7f)) && isnan(wa_e4m3_decode(0xff)));
    CU_ASSERT(isnan(wa_e4m3_decode_ref(0x7f)) && isnan(wa_e4m3_decode_ref(0xff)));
    CU_ASSERT(signbit(wa_e4m3_decode(0x80)) != 0 && signbit(wa_e4m3_decode_ref(0x80)) != 0);
}

static void every_e4m3_code_survives_a_round_trip(void)
{
    for (unsigned code = 0; code < 256; code++) {
        float value = wa_e4m3_decode(code);
        CU_ASSERT_EQUAL(wa_e4m3_encode(value) & 0x7f, code & 0x7f);
        CU_ASSERT_EQUAL(wa_e4m3_encode_ref(value) & 0x7f, code & 0x7f);
        if (isnan(value)) /* which sign a NaN has is nobody's business */
            continue;
        CU_ASSERT_EQUAL(wa_bits_of(value), wa_bits_of(wa_e4m3_decode_ref((uint8_t)code)));
        CU_ASSERT_EQUAL(wa_e4m3_encode(value), code);
    }
}

/* vindex-format.md 12, and the two deviations from rounding of vindex-format.md 5.8. */
static void e4m3_encodes_the_edges_as_larql(void)
{
    static const struct {
        float x;
        uint8_t code;
    } known[] = {{0x1p-9F, 0x01},
                 {0.75F * 0x1p-9F, 0x00},
                 {0.015F, 0x07},
                 {0x1p-6F, 0x08},
                 {432.0F, 0x7e},
                 {447.9F, 0x7e},
                 {-0.0F, 0x80},
                 {448.0F, 0x7e},
                 {1e30F, 0x7e},
                 {-INFINITY, 0xfe},
                 {NAN, 0x7f},
                 {7.5F * 0x1p-9F, 0x07},
                 {1.5F * 0x1p-9F, 0x02},
                 {2.5F * 0x1p-9F, 0x02},
                 {1.0625F, 0x38},
                 {1.1875F, 0x3a}, /* ties to even */
                 {-1e-40F, 0x80},
                 {1.9999F, 0x40}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        CU_ASSERT_EQUAL(wa_e4m3_encode(known[i].x), known[i].code);
        CU_ASSERT_EQUAL(wa_e4m3_encode_ref(known[i].x), known[i].code);
    }
}

/* Every float whose low 11 bits are all zeros or all ones, or one beside. */
static void both_e4m3_encoders_agree_over_the_whole_range(void)
{
    size_t wrong = 0;
    for (uint32_t high = 0; high < 1U << 21; high++)
        for (uint32_t low = 0; low < 2; low++) {
            float x = float_of((high << 11) - low);
            wrong += wa_e4m3_encode(x) != wa_e4m3_encode_ref(x);
        }
    CU_ASSERT_EQUAL(wrong, 0);
}

/* --- E2M1, through a block of FP4 whose scales are 6 and 1, so that codes are of x itself --- */

static void e2m1_rounds_ties_to_even_and_keeps_the_sign(void)
{
    static const struct {
        float x;
        uint8_t code;
    } known[] = {{6.0F, 7},  {0.25F, 0}, {0.2500001F, 1}, {0.75F, 2},  {0.7499999F, 1}, {1.25F, 2},
                 {1.26F, 3}, {1.75F, 4}, {1.74F, 3},      {2.5F, 4},   {2.6F, 5},       {3.5F, 6},
                 {3.4F, 5},  {5.0F, 6},  {5.1F, 7},       {-6.0F, 15}, {-1e-20F, 8},    {-0.0F, 8},
                 {0.0F, 0},  {NAN, 0},   {-NAN, 0},       {-3.0F, 13}};
    enum { KNOWN = sizeof known / sizeof known[0] };
    const wa_format_info *info = wa_format_get(WA_FORMAT_FP4);
    wa_encode *const encoders[] = {info->encode, info->encode_ref};
    for (size_t e = 0; e < 2; e++) {
        float x[256] = {0};
        uint8_t bytes[137];
        for (size_t i = 0; i < KNOWN; i++)
            x[i] = known[i].x;
        encoders[e](x, 1, bytes);
        CU_ASSERT_EQUAL(bytes[136], 0x4c); /* 6 = 1.5 * 2^2 */
        CU_ASSERT_EQUAL(bytes[128], 0x38); /* 1 */
        for (size_t i = 0; i < KNOWN; i++)
            CU_ASSERT_EQUAL(bytes[i / 2] >> 4 * (i % 2) & 15, known[i].code);
    }
}

/* --- the other scalars --- */

/* vindex-format.md 5.2, column B. */
static void truncated_f16_keeps_subnormals(void)
{
    CU_ASSERT_EQUAL(wa_f32_to_f16_truncated(1.0F), 0x3c00);
    CU_ASSERT_EQUAL(wa_f32_to_f16_truncated(-1.9999F), 0xbfff);
    CU_ASSERT_EQUAL(wa_f32_to_f16_truncated(65535.9F), 0x7bff);
    CU_ASSERT_EQUAL(wa_f32_to_f16_truncated(65536.0F), 0x7c00);
    CU_ASSERT_EQUAL(wa_f32_to_f16_truncated(INFINITY), 0x7c00);
    CU_ASSERT_EQUAL(wa_f32_to_f16_truncated(float_of(0x7fc00000)), 0x7e00);
    CU_ASSERT_EQUAL(wa_f32_to_f16_truncated(float_of(0x7f800001)), 0x7c00); /* NaN to infinity */
    CU_ASSERT_EQUAL(wa_f32_to_f16_truncated(0x1p-14F), 0x0400);
    CU_ASSERT_EQUAL(wa_f32_to_f16_truncated(0x1.ffep-15F), 0x03ff);
    CU_ASSERT_EQUAL(wa_f32_to_f16_truncated(-0x1p-24F), 0x8001);
    CU_ASSERT_EQUAL(wa_f32_to_f16_truncated(0x1.fffffep-24F), 0x0001);
    CU_ASSERT_EQUAL(wa_f32_to_f16_truncated(0x1.fffffep-25F), 0x0000);
    CU_ASSERT_EQUAL(wa_f32_to_f16_truncated(-1e-40F), 0x8000);
}

/* Distance of neighbouring halves at x: 2^(e-10), and 2^-24 below the smallest normal (IEEE 754
 * binary16). */
static double half_spacing(double x)
{
    int exponent;
    frexp(x, &exponent);
    return ldexp(1.0, exponent < -13 ? -24 : exponent - 11);
}

/* vindex-format.md 5.2: both go towards zero, by less than one place; A has no subnormals. Every
 * 997th float. */
static void larqls_f16_encoders_go_towards_zero_by_less_than_a_place(void)
{
    size_t wrong = 0;
    for (uint32_t bits = 0; bits < 0x7f800000U; bits += 997) {
        float x = float_of(bits | (bits % 2) << 31); /* both signs */
        double flushed = (double)wa_f16_to_f32(wa_f32_to_f16_larql(x));
        double kept = (double)wa_f16_to_f32(wa_f32_to_f16_truncated(x));
        double size = fabs((double)x);
        wrong += (signbit(flushed) != 0) != (signbit(x) != 0) ||
                 (signbit(kept) != 0) != (signbit(x) != 0);
        if (size >= 65536.0) {
            wrong += isinf(flushed) == 0 || isinf(kept) == 0;
            continue;
        }
        wrong += !(fabs(kept) <= size && size - fabs(kept) < half_spacing(size));
        wrong += size < 0x1p-14 ? flushed != 0.0 : flushed != kept;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

/* Every half the formats can round at, and the floats on both sides of it. */
static void rounding_without_a_call_is_rounding(void)
{
    static const struct {
        int low, high;
    } ranges[] = {{-8, 7}, {0, 15}, {0, 63}, {-32, 31}, {-128, 127}};
    static const float others[] = {0.0F,     -0.0F,  NAN,     INFINITY, -INFINITY,  FLT_MAX,
                                   -FLT_MAX, 1e-45F, 0x1p20F, 0x1p31F,  -0x1.8p20F, -0x1p31F};
    for (size_t r = 0; r < sizeof ranges / sizeof ranges[0]; r++) {
        int low = ranges[r].low;
        int high = ranges[r].high;
        size_t wrong = 0;
        for (int twice = -300; twice <= 300; twice++) {
            float x = 0.5F * (float)twice;
            float near[3] = {x, nextafterf(x, INFINITY), nextafterf(x, -INFINITY)};
            for (size_t i = 0; i < 3; i++)
                wrong +=
                    wa_round_clamp(near[i], low, high) != wa_round_clamp_ref(near[i], low, high);
        }
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
            wrong +=
                wa_round_clamp(others[i], low, high) != wa_round_clamp_ref(others[i], low, high);
        CU_ASSERT_EQUAL(wrong, 0);
    }
    CU_ASSERT_EQUAL(wa_round_clamp(0.5F, -8, 7), 1);
    CU_ASSERT_EQUAL(wa_round_clamp(-2.5F, -8, 7), -3);
    CU_ASSERT_EQUAL(wa_round_clamp(0.49999997F, -8, 7), 0);
}

WA_SUITE("codec_small_floats", WA_CASE(e4m3_codes_have_the_values_of_ocp),
         WA_CASE(every_e4m3_code_survives_a_round_trip), WA_CASE(e4m3_encodes_the_edges_as_larql),
         WA_CASE(both_e4m3_encoders_agree_over_the_whole_range),
         WA_CASE(e2m1_rounds_ties_to_even_and_keeps_the_sign),
         WA_CASE(truncated_f16_keeps_subnormals),
         WA_CASE(larqls_f16_encoders_go_towards_zero_by_less_than_a_place),
         WA_CASE(rounding_without_a_call_is_rounding))

/* Inner loops of products for AVX-512: 13 rows by 32 columns, 26 sums in registers. */
#include "compute/isa.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define INLINE static inline __attribute__((always_inline)) AVX512

/* One block of WA_SUM_PRODUCTS or fewer, of `m` rows: a constant where this is inlined, so that
 * sums are registers. */
INLINE void multiply_block(const size_t m, size_t depth, const float *x, const float *panel,
                           bool fresh, float *const *y)
{
    __m512 sum[WA_TILE_MOST][2];
#pragma GCC unroll 13
    for (size_t r = 0; r < m; r++)
        sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (size_t k = 0; k < depth; k++) {
        __m512 w0 = _mm512_loadu_ps(panel + k * WA_PANEL_WIDTH);
        __m512 w1 = _mm512_loadu_ps(panel + k * WA_PANEL_WIDTH + 16);
#pragma GCC unroll 13
        for (size_t r = 0; r < m; r++) {
            __m512 value = _mm512_set1_ps(x[r * WA_TILE_STRIDE + k]);
            sum[r][0] = _mm512_fmadd_ps(value, w0, sum[r][0]);
            sum[r][1] = _mm512_fmadd_ps(value, w1, sum[r][1]);
        }
    }
#pragma GCC unroll 13
    for (size_t r = 0; r < m; r++) {
        if (!fresh) {
            sum[r][0] = _mm512_add_ps(_mm512_loadu_ps(y[r]), sum[r][0]);
            sum[r][1] = _mm512_add_ps(_mm512_loadu_ps(y[r] + 16), sum[r][1]);
        }
        _mm512_storeu_ps(y[r], sum[r][0]);
        _mm512_storeu_ps(y[r] + 16, sum[r][1]);
    }
}

#define ROWS_LIST(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)

#define DEFINE_ROWS(m)                                                                             \
    AVX512 static void multiply_##m(size_t depth, const float *x, const float *panel, bool fresh,  \
                                    float *const *y)                                               \
    {                                                                                              \
        for (size_t at = 0; at < depth; at += WA_SUM_PRODUCTS)                                     \
            multiply_block(m, wa_size_min(depth - at, WA_SUM_PRODUCTS), x + at,                    \
                           panel + at * WA_PANEL_WIDTH, fresh && at == 0, y);                      \
    }
ROWS_LIST(DEFINE_ROWS)

static void multiply(size_t rows, size_t depth, const float *tile, const float *panel, bool fresh,
                     float *const *y)
{
    typedef void of_rows(size_t, const float *, const float *, bool, float *const *);
#define NAME_ROWS(m) multiply_##m,
    static of_rows *const table[] = {ROWS_LIST(NAME_ROWS)};
    table[rows - 1](depth, tile, panel, fresh, y);
}

/* 16 x 16 of 32 bits, rows to columns. */
INLINE void turn_square(__m512i v[16])
{
    __m512i t[16];
#pragma GCC unroll 8
    for (size_t i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 16; i += 4) {
        v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    /* v[4g + j]: in lane l, column 4l + j of rows 4g to 4g + 3 */
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++) {
        t[j] = _mm512_shuffle_i32x4(v[j], v[4 + j], 0x88);
        t[4 + j] = _mm512_shuffle_i32x4(v[j], v[4 + j], 0xdd);
        t[8 + j] = _mm512_shuffle_i32x4(v[8 + j], v[12 + j], 0x88);
        t[12 + j] = _mm512_shuffle_i32x4(v[8 + j], v[12 + j], 0xdd);
    }
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++) {
        v[j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0x88);
        v[8 + j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0xdd);
        v[4 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0x88);
        v[12 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0xdd);
    }
}

/* 64 bytes of each row from byte `at` on, turned. */
INLINE void load_square(const uint8_t *const *rows, size_t at, __m512i v[16])
{
#pragma GCC unroll 16
    for (size_t r = 0; r < 16; r++)
        v[r] = _mm512_loadu_si512(rows[r] + at);
    turn_square(v);
}

AVX512 static void turn_f32(const uint8_t *const *rows, size_t depth, float *panel)
{
    size_t body = depth - depth % 16;
    for (size_t k = 0; k < body; k += 16) {
        __m512i v[16];
        load_square(rows, 4 * k, v);
#pragma GCC unroll 16
        for (size_t i = 0; i < 16; i++)
            _mm512_storeu_si512(panel + (k + i) * WA_PANEL_WIDTH, v[i]);
    }
    wa_turn_rest_f32(rows, body, depth, panel);
}

/* Two neighbours of a row are one element of the square; then the lower half is the first of
 * them. */
AVX512 static void turn_bf16(const uint8_t *const *rows, size_t depth, float *panel)
{
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000u);
    size_t body = depth - depth % 32;
    for (size_t k = 0; k < body; k += 32) {
        __m512i v[16];
        load_square(rows, 2 * k, v);
#pragma GCC unroll 16
        for (size_t i = 0; i < 16; i++) {
            float *to = panel + (k + 2 * i) * WA_PANEL_WIDTH;
            _mm512_storeu_si512(to, _mm512_slli_epi32(v[i], 16));
            _mm512_storeu_si512(to + WA_PANEL_WIDTH, _mm512_and_si512(v[i], upper));
        }
    }
    wa_turn_rest_bf16(rows, body, depth, panel);
}

AVX512 static void turn_f16(const uint8_t *const *rows, size_t depth, float *panel)
{
    size_t body = depth - depth % 32;
    for (size_t k = 0; k < body; k += 32) {
        __m512i v[16];
        load_square(rows, 2 * k, v);
#pragma GCC unroll 16
        for (size_t i = 0; i < 16; i++) {
            float *to = panel + (k + 2 * i) * WA_PANEL_WIDTH;
            __m512i second = _mm512_srli_epi32(v[i], 16);
            _mm512_storeu_ps(to, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v[i])));
            _mm512_storeu_ps(to + WA_PANEL_WIDTH, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(second)));
        }
    }
    wa_turn_rest_f16(rows, body, depth, panel);
}

static bool is_here(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

const wa_isa *wa_isa_avx512(void)
{
    static const wa_isa isa = {.name = "avx512",
                               .is_here = is_here,
                               .tile_rows = WA_TILE_MOST,
                               .multiply = multiply,
                               .turn_f32 = turn_f32,
                               .turn_bf16 = turn_bf16,
                               .turn_f16 = turn_f16};
    return &isa;
}

#else

const wa_isa *wa_isa_avx512(void)
{
    return NULL;
}

#endif

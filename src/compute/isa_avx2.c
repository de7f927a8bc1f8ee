/* Inner loops of products for AVX2 with FMA and F16C: 6 rows by 16 columns, half a panel, 12 sums
 * in registers. */
#include "compute/isa.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline)) AVX2

enum { ROWS = 6, WIDTH = 16 };

/* As in isa_avx512.c, of half a panel. */
INLINE void multiply_block(const size_t m, size_t depth, const float *x, const float *panel,
                           bool fresh, float *const *y, size_t column)
{
    __m256 sum[ROWS][2];
#pragma GCC unroll 6
    for (size_t r = 0; r < m; r++)
        sum[r][0] = sum[r][1] = _mm256_setzero_ps();
    for (size_t k = 0; k < depth; k++) {
        __m256 w0 = _mm256_loadu_ps(panel + k * WA_PANEL_WIDTH);
        __m256 w1 = _mm256_loadu_ps(panel + k * WA_PANEL_WIDTH + 8);
#pragma GCC unroll 6
        for (size_t r = 0; r < m; r++) {
            __m256 value = _mm256_broadcast_ss(x + r * WA_TILE_STRIDE + k);
            sum[r][0] = _mm256_fmadd_ps(value, w0, sum[r][0]);
            sum[r][1] = _mm256_fmadd_ps(value, w1, sum[r][1]);
        }
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < m; r++) {
        float *to = y[r] + column;
        if (!fresh) {
            sum[r][0] = _mm256_add_ps(_mm256_loadu_ps(to), sum[r][0]);
            sum[r][1] = _mm256_add_ps(_mm256_loadu_ps(to + 8), sum[r][1]);
        }
        _mm256_storeu_ps(to, sum[r][0]);
        _mm256_storeu_ps(to + 8, sum[r][1]);
    }
}

#define ROWS_LIST(X) X(1) X(2) X(3) X(4) X(5) X(6)

#define DEFINE_ROWS(m)                                                                             \
    AVX2 static void multiply_##m(size_t depth, const float *x, const float *panel, bool fresh,    \
                                  float *const *y)                                                 \
    {                                                                                              \
        for (size_t at = 0; at < depth; at += WA_SUM_PRODUCTS)                                     \
            for (size_t column = 0; column < WA_PANEL_WIDTH; column += WIDTH)                      \
                multiply_block(m, wa_size_min(depth - at, WA_SUM_PRODUCTS), x + at,                \
                               panel + at * WA_PANEL_WIDTH + column, fresh && at == 0, y, column); \
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

/* 32 bytes of eight rows from byte `at` on: 8 x 8 of 32 bits, rows to columns. */
INLINE void load_square(const uint8_t *const *rows, size_t at, __m256i v[8])
{
    __m256i t[8];
#pragma GCC unroll 8
    for (size_t r = 0; r < 8; r++)
        v[r] = _mm256_loadu_si256((const __m256i *)(const void *)(rows[r] + at));
#pragma GCC unroll 4
    for (size_t i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi32(v[i], v[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(v[i], v[i + 1]);
    }
#pragma GCC unroll 2
    for (size_t i = 0; i < 8; i += 4) {
        v[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        v[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        v[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        v[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++) {
        t[j] = _mm256_permute2x128_si256(v[j], v[4 + j], 0x20);
        t[4 + j] = _mm256_permute2x128_si256(v[j], v[4 + j], 0x31);
    }
#pragma GCC unroll 8
    for (size_t j = 0; j < 8; j++)
        v[j] = t[j];
}

INLINE void store(float *to, __m256i v)
{
    _mm256_storeu_si256((__m256i *)(void *)to, v);
}

AVX2 static void turn_f32(const uint8_t *const *rows, size_t depth, float *panel)
{
    size_t body = depth - depth % 8;
    for (size_t k = 0; k < body; k += 8)
        for (size_t half = 0; half < WA_TURN_ROWS; half += 8) {
            __m256i v[8];
            load_square(rows + half, 4 * k, v);
#pragma GCC unroll 8
            for (size_t i = 0; i < 8; i++)
                store(panel + (k + i) * WA_PANEL_WIDTH + half, v[i]);
        }
    wa_turn_rest_f32(rows, body, depth, panel);
}

AVX2 static void turn_bf16(const uint8_t *const *rows, size_t depth, float *panel)
{
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000u);
    size_t body = depth - depth % 16;
    for (size_t k = 0; k < body; k += 16)
        for (size_t half = 0; half < WA_TURN_ROWS; half += 8) {
            __m256i v[8];
            load_square(rows + half, 2 * k, v);
#pragma GCC unroll 8
            for (size_t i = 0; i < 8; i++) {
                float *to = panel + (k + 2 * i) * WA_PANEL_WIDTH + half;
                store(to, _mm256_slli_epi32(v[i], 16));
                store(to + WA_PANEL_WIDTH, _mm256_and_si256(v[i], upper));
            }
        }
    wa_turn_rest_bf16(rows, body, depth, panel);
}

/* The lower halves of eight elements, then as f32. */
INLINE __m256 widen(__m256i v)
{
    __m256i low = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
}

AVX2 static void turn_f16(const uint8_t *const *rows, size_t depth, float *panel)
{
    size_t body = depth - depth % 16;
    for (size_t k = 0; k < body; k += 16)
        for (size_t half = 0; half < WA_TURN_ROWS; half += 8) {
            __m256i v[8];
            load_square(rows + half, 2 * k, v);
#pragma GCC unroll 8
            for (size_t i = 0; i < 8; i++) {
                float *to = panel + (k + 2 * i) * WA_PANEL_WIDTH + half;
                _mm256_storeu_ps(to, widen(v[i]));
                _mm256_storeu_ps(to + WA_PANEL_WIDTH, widen(_mm256_srli_epi32(v[i], 16)));
            }
        }
    wa_turn_rest_f16(rows, body, depth, panel);
}

static bool is_here(void)
{
    unsigned a, b, c = 0, d; /* clang 14 knows no "f16c" */
    bool f16c = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c;
}

const wa_isa *wa_isa_avx2(void)
{
    static const wa_isa isa = {.name = "avx2",
                               .is_here = is_here,
                               .tile_rows = ROWS,
                               .multiply = multiply,
                               .turn_f32 = turn_f32,
                               .turn_bf16 = turn_bf16,
                               .turn_f16 = turn_f16};
    return &isa;
}

#else

const wa_isa *wa_isa_avx2(void)
{
    return NULL;
}

#endif

/* The FMA peak of a core. Each loop has as many independent sums as its processor needs to be kept
 * busy (two units, four cycles: eight), and all of them in registers: look at it with `objdump -d
 * bench_limits`, where a round is FMAs and the count. */
#include "peak.h"

#include "rates.h"

enum { ROUNDS = 1 << 20, SUMS = 12 };
/* Sums go towards 2 and stay there: no overflow, and nothing denormal. */
static const float FACTOR = 0.5F, TERM = 1.0F;

/* A loop over vectors of `lanes` f32, whose sums come back as one, so that none of them is left
 * out. */
#define DEFINE_LOOP(name, type, attribute, set, fma, store)                                        \
    attribute static float name(size_t rounds)                                                     \
    {                                                                                              \
        type sum[SUMS], factor = set(FACTOR), term = set(TERM);                                    \
        float lanes[sizeof(type) / sizeof(float)], all = 0.0F;                                     \
        for (size_t i = 0; i < SUMS; i++)                                                          \
            sum[i] = set((float)i);                                                                \
        for (size_t r = 0; r < rounds; r++) {                                                      \
            _Pragma("GCC unroll 12") for (size_t i = 0; i < SUMS; i++) sum[i] =                    \
                fma(sum[i], factor, term);                                                         \
        }                                                                                          \
        for (size_t i = 0; i < SUMS; i++) {                                                        \
            store(lanes, sum[i]);                                                                  \
            for (size_t k = 0; k < sizeof lanes / sizeof *lanes; k++)                              \
                all += lanes[k];                                                                   \
        }                                                                                          \
        return all;                                                                                \
    }

typedef struct peak_loop {
    float (*run)(size_t rounds);
    size_t lanes;
} peak_loop;

#if defined(__x86_64__)

#include <immintrin.h>

DEFINE_LOOP(loop_avx512, __m512, __attribute__((target("avx512f"))), _mm512_set1_ps,
            _mm512_fmadd_ps, _mm512_storeu_ps)
DEFINE_LOOP(loop_avx2, __m256, __attribute__((target("avx2,fma"))), _mm256_set1_ps, _mm256_fmadd_ps,
            _mm256_storeu_ps)

static peak_loop choose(const char *isa)
{
    if (strcmp(isa, "avx512") == 0 && __builtin_cpu_supports("avx512f"))
        return (peak_loop){loop_avx512, sizeof(__m512) / sizeof(float)};
    if (strcmp(isa, "portable") != 0 && __builtin_cpu_supports("fma"))
        return (peak_loop){loop_avx2, sizeof(__m256) / sizeof(float)};
    return (peak_loop){NULL, 0};
}

#else

static peak_loop choose(const char *isa)
{
    (void)isa;
    return (peak_loop){NULL, 0};
}

#endif

double peak_run(const char *isa)
{
    static volatile float sink;
    peak_loop loop = choose(isa);
    if (loop.run == NULL)
        return 0.0;
    sink = sink + loop.run(ROUNDS);
    return 2e-9 * ROUNDS * (double)(SUMS * loop.lanes);
}

double peak_rate(const char *isa)
{
    double best = 0.0;
    for (int r = 0; r < 4 * REPEATS; r++) {
        double start = processor_time();
        double work = peak_run(isa);
        double rate = work / (processor_time() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

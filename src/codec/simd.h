/* One source, several instruction sets: the loader picks the widest that the processor has. */
#ifndef WALKAUDIT_CODEC_SIMD_H
#define WALKAUDIT_CODEC_SIMD_H

/*
 * WA_CLONES before a function compiles it for x86-64-v4 (AVX-512), x86-64-v3 (AVX2) and the
 * baseline, and resolves the call once, at load time (GNU indirect functions, so ELF and glibc
 * only). The bits are the same in each: no contraction (-ffp-contract=off), no reassociation, and
 * the loops below it are elementwise. gcc before 12 does not take those names here and is given
 * features instead; "arch=haswell" and the like would ask for that very processor. Sanitizers run
 * before indirect functions are resolved, hence not under them; then, and on other processors,
 * there is the one plain version. So also with clang, whose release 14 gives the clones a name that
 * no other file can link with.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WA_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#define WA_SANITIZED 1
#endif
#endif

#if defined(__linux__) /* tells __GLIBC__ */
#include <features.h>
#endif

#if defined(__x86_64__) && defined(__ELF__) && defined(__GLIBC__) &&                               \
    !defined(__clang__) && /* a test compiles the loops for one at a time */                       \
    !defined(WA_SANITIZED) && !defined(WA_ONE_ISA)
#if __GNUC__ >= 12
#define WA_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WA_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#else
#define WA_CLONES
#endif

/* Codes narrower than 32 bits are widened this many at a time before any arithmetic. In one loop
 * over narrow codes gcc compares in the narrow type and then splits the masks, which costs twice
 * the time. */
enum { WA_WIDEN = 64 };

#endif

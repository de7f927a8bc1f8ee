/* The two blocks of 256 values that larql-2026-08.md 9 gives sums and codes of, and bits to compare
 * by. */
#ifndef WALKAUDIT_TEST_LARQL_VECTORS_H
#define WALKAUDIT_TEST_LARQL_VECTORS_H

#include <stdint.h>
#include <string.h>

enum { LARQL_BLOCK = 256 };

static inline void larql_vectors(float a[LARQL_BLOCK], float b[LARQL_BLOCK])
{
    for (int i = 0; i < LARQL_BLOCK; i++) {
        a[i] = (float)(i - 128) / 128;
        b[i] = (float)((73 * i + 41) % 257 - 128) / 1024 * (float)(1 + i / 32) / 8;
    }
}

static inline uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

#endif

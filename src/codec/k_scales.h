/* The twelve bytes that hold the scales of Q4_K and Q5_K, and their nibbles (vindex-format.md 5.6).
 */
#ifndef WALKAUDIT_CODEC_K_SCALES_H
#define WALKAUDIT_CODEC_K_SCALES_H

#include <stdint.h>

enum { WA_K_BLOCK = 256, WA_K_SUB = 32, WA_K_GROUP = 64 };

/*
 * Eight 6-bit scales and eight 6-bit mins, one of each for a sub-block of 32:
 *
 *   byte  0..3   bits 0-5 scale 0..3, bits 6-7 upper bits of scale 4..7
 *   byte  4..7   bits 0-5 min 0..3,   bits 6-7 upper bits of min 4..7
 *   byte  8..11  low nibble scale 4..7, high nibble min 4..7
 */
static inline int wa_k_scale(const uint8_t *sc, int j)
{
    return j < 4 ? sc[j] & 63 : (sc[j + 4] & 15) | (sc[j - 4] >> 6) << 4;
}

static inline int wa_k_min(const uint8_t *sc, int j)
{
    return j < 4 ? sc[j + 4] & 63 : sc[j + 4] >> 4 | (sc[j] >> 6) << 4;
}

/* Oracle: nibble of element i. A group of 64 elements has 32 bytes, low nibbles first. */
static inline int wa_k_nibble(const uint8_t *qs, int i)
{
    uint8_t byte = qs[i / WA_K_GROUP * WA_K_SUB + i % WA_K_SUB];
    return i % WA_K_GROUP < WA_K_SUB ? byte & 15 : byte >> 4;
}

/* (d * scale) and (dmin * min) of the eight sub-blocks. */
static inline void wa_k_expand(const uint8_t *restrict sc, float d, float dmin,
                               float *restrict scales, float *restrict mins)
{
    for (int j = 0; j < 8; j++) {
        scales[j] = d * (float)wa_k_scale(sc, j);
        mins[j] = dmin * (float)wa_k_min(sc, j);
    }
}

#endif

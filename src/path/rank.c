/* The top K of a row of gate scores: |score| descending, ties by index ascending. */
#include "path/walk.h"

/* Magnitudes are compared as integers: for numbers that are no NaN, the bits without the sign grow
 * with |score|. */
enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS, PASSES = 3 };
static const uint32_t INFINITY_BITS = 0x7F800000U;
static const int COARSE_SHIFT = 20; /* exponent and 3 bits of the mantissa: 2041 values */

static uint32_t magnitude(const float *score)
{
    return wa_load_u32(score) & 0x7FFFFFFFU;
}

wa_status wa_rank_open(wa_arena *arena, size_t n, wa_rank *out, wa_error *err)
{
    if (n > INT32_MAX)
        return wa_fail(err, WA_E_UNSUPPORTED, "%zu features, at most %d can be ranked", n,
                       INT32_MAX);
    WA_TRY(wa_arena_take_raw(arena, n, sizeof *out->list, &out->list, err));
    return wa_arena_take_raw(arena, n, sizeof *out->spare, &out->spare, err);
}

/* The coarse value from which on at least k scores lie; false when a score is NaN. */
static bool find_cut(const float *scores, size_t n, size_t k, uint32_t *cut)
{
    size_t count[DIGITS] = {0};
    uint32_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = magnitude(&scores[i]);
        largest = bits > largest ? bits : largest;
        count[bits >> COARSE_SHIFT]++;
    }
    if (largest > INFINITY_BITS)
        return false;
    uint32_t at = DIGITS - 1;
    for (size_t above = count[at]; above < k; above += count[at])
        at--;
    *cut = at;
    return true;
}

static size_t gather(const float *scores, size_t n, uint32_t cut, struct wa_ranked *out)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = magnitude(&scores[i]);
        if (bits >> COARSE_SHIFT < cut)
            continue;
        out[found++] = (struct wa_ranked){.key = INFINITY_BITS - bits, .feature = (int32_t)i};
    }
    return found;
}

/* One stable pass of a radix sort; stability keeps equal scores in index order. */
static void sort_digit(const struct wa_ranked *from, struct wa_ranked *to, size_t n, int shift)
{
    size_t start[DIGITS + 1] = {0};
    for (size_t i = 0; i < n; i++)
        start[(from[i].key >> shift) % DIGITS + 1]++;
    for (size_t d = 1; d <= DIGITS; d++)
        start[d] += start[d - 1];
    for (size_t i = 0; i < n; i++)
        to[start[(from[i].key >> shift) % DIGITS]++] = from[i];
}

bool wa_rank_top(const wa_rank *rank, const float *scores, size_t n, size_t k, int32_t *hits)
{
    uint32_t cut;
    if (!find_cut(scores, n, k, &cut))
        return false;
    struct wa_ranked *from = rank->list, *to = rank->spare;
    size_t found = gather(scores, n, cut, from);
    for (int pass = 0; pass < PASSES; pass++) {
        sort_digit(from, to, found, pass * DIGIT_BITS);
        struct wa_ranked *sorted = to;
        to = from;
        from = sorted;
    }
    for (size_t i = 0; i < k; i++)
        hits[i] = from[i].feature;
    return true;
}

/* A mutator for text formats: half of the time one number becomes another that is nearly right or
 * at the edge of a type. Random bytes seldom leave a document whole and a number wrong by one. */
#ifndef WALKAUDIT_FUZZ_NUMBERS_H
#define WALKAUDIT_FUZZ_NUMBERS_H

#include "fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static inline bool fuzz_is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* The `which`-th run of digits (counted around); false: there is none. */
static inline bool fuzz_find_number(const uint8_t *data, size_t size, size_t which, size_t *begin,
                                    size_t *end)
{
    size_t count = 0;
    for (int pass = 0; pass < 2; pass++) {
        size_t wanted = pass == 1 ? which % count : SIZE_MAX, at = 0;
        for (size_t i = 0; i < size; i++) {
            if (!fuzz_is_digit(data[i]) || (i > 0 && fuzz_is_digit(data[i - 1])))
                continue;
            if (at++ == wanted) {
                *begin = *end = i;
                while (*end < size && fuzz_is_digit(data[*end]))
                    (*end)++;
                return true;
            }
        }
        count = at;
        if (count == 0)
            return false;
    }
    return false;
}

static inline uint64_t fuzz_near(uint64_t value, unsigned choice)
{
    switch (choice % 8) {
    case 0:
        return value + 1;
    case 1:
        return value - 1;
    case 2:
        return 2 * value;
    case 3:
        return value / 2;
    case 4:
        return value + 256;
    case 5:
        return UINT64_C(1) << (choice / 8 % 64);
    case 6:
        return (UINT64_C(1) << (choice / 8 % 64)) - 1;
    default:
        return 0;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    size_t begin, end;
    if (seed % 2 == 0 || !fuzz_find_number(data, size, seed / 2 % 1021, &begin, &end))
        return LLVMFuzzerMutate(data, size, max_size);
    uint64_t value = 0;
    for (size_t i = begin; i < end; i++)
        value = 10 * value + (uint64_t)(data[i] - '0');
    char text[32];
    int length =
        snprintf(text, sizeof text, "%llu", (unsigned long long)fuzz_near(value, seed >> 11));
    size_t changed = size - (end - begin) + (size_t)length;
    if (length < 0 || changed > max_size)
        return LLVMFuzzerMutate(data, size, max_size);
    memmove(data + begin + length, data + end, size - end);
    memcpy(data + begin, text, (size_t)length);
    return changed;
}

#endif

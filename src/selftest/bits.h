/* Every bit of a stored block, one after another. */
#ifndef WALKAUDIT_SELFTEST_BITS_H
#define WALKAUDIT_SELFTEST_BITS_H

#include "selftest/bench.h"

/** What became of them. */
typedef struct wa_bits {
    wa_bench_target target;
    size_t bits, found;
    size_t idle; /* the block decodes to the same values */
    /* the row is what the encoder, or a rounding, makes of the same weights another way */
    size_t lawful;
    /* relative errors of the row; missed: none of these */
    double least_found, most_lawful, most_missed;
} wa_bits;

/** Flip each bit of the first blocks (of at least eight weights) of a row among 64. */
WA_CHECKED wa_status wa_bits_run(const wa_bench *bench, const wa_bench_target *target, wa_bits *out,
                                 wa_error *err);

#endif

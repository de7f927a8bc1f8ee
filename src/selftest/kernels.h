/* Faults in the kernels: only in the program that has them, walkaudit-faulty (path/fault.h). */
#ifndef WALKAUDIT_SELFTEST_KERNELS_H
#define WALKAUDIT_SELFTEST_KERNELS_H

#include "selftest/audits.h"

/** What became of one. */
typedef struct wa_kernel_outcome {
    const char *fault, *meaning, *format;
    size_t layer;
    size_t wrong, found; /* cases that it makes wrong, and that are KERNEL at its layer */
    bool holds;
} wa_kernel_outcome;

enum { WA_KERNELS_MOST = 16 };

/** Run healthy vindexes of this format with each fault switched on that its paths have. None in the
 * real program. */
WA_CHECKED wa_status wa_kernels_run(const wa_bench *bench, wa_kernel_outcome *outcomes,
                                    size_t *count, wa_error *err);

#endif

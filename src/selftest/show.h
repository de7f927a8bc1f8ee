/* The tables of a selftest, in columns or in Markdown. */
#ifndef WALKAUDIT_SELFTEST_SHOW_H
#define WALKAUDIT_SELFTEST_SHOW_H

#include "selftest/audits.h"
#include "selftest/bits.h"
#include "selftest/kernels.h"
#include "selftest/search.h"

enum { WA_SELFTEST_FORMATS = 16, WA_SELFTEST_MATRICES = 128 };

/** Everything that was found out. */
typedef struct wa_selftest_findings {
    const char *model; /* in words, arena */
    const char *notes; /* formats that the model cannot be written in, a line each; arena */
    const char *formats[WA_SELFTEST_FORMATS];
    size_t format_count;
    wa_outcome *outcomes[WA_SELFTEST_FORMATS]; /* [outcome_count[f]] */
    size_t outcome_count[WA_SELFTEST_FORMATS];
    struct {
        const char *format;
        wa_threshold threshold;
    } thresholds[WA_SELFTEST_MATRICES];
    size_t threshold_count;
    struct {
        const char *format;
        wa_bits bits;
    } bits[WA_SELFTEST_MATRICES];
    size_t bits_count;
    wa_kernel_outcome kernels[WA_SELFTEST_FORMATS * WA_KERNELS_MOST];
    size_t kernel_count;
} wa_selftest_findings;

/** Print all tables and one line of what does not hold, or that everything does. Errors:
 * WA_E_IO. */
WA_CHECKED wa_status wa_selftest_show(const wa_selftest_findings *findings,
                                      const wa_selftest_options *options, bool *sound,
                                      wa_error *err);

#endif

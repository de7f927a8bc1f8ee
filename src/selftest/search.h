/* Thresholds: the smallest relative error that the encoding check finds. */
#ifndef WALKAUDIT_SELFTEST_SEARCH_H
#define WALKAUDIT_SELFTEST_SEARCH_H

#include "selftest/bench.h"

/* Where an error lies, and what it is: a factor 1 + e, or noise of e times the row's norm. */
typedef enum wa_search_extent { WA_SEARCH_ROW, WA_SEARCH_ALL, WA_SEARCH_EXTENTS } wa_search_extent;
typedef enum wa_search_kind { WA_SEARCH_SCALE, WA_SEARCH_NOISE, WA_SEARCH_KINDS } wa_search_kind;

/** One stored matrix of one encoder. */
typedef struct wa_threshold {
    wa_bench_target target;
    wa_bench_encoder encoder;
    size_t layer;
    double own;   /* median error of a healthy row */
    bool accused; /* the healthy matrix was found unfaithful */
    /* smallest e from which on all are found; NaN = none up to 1 */
    double found[WA_SEARCH_EXTENTS][WA_SEARCH_KINDS];
} wa_threshold;

/** Search one target, planted in memory, in the middle layer. Errors are planted in the model's
 * weights before they are encoded. */
WA_CHECKED wa_status wa_search(const wa_bench *bench, const wa_bench_target *target,
                               wa_bench_encoder encoder, wa_threshold *out, wa_error *err);

/** What it must not exceed; infinity where nothing is promised. */
double wa_search_limit(const wa_threshold *threshold, wa_search_extent extent);
/** Is the matrix on the grid of LARQL's encoder, so that another encoder's healthy rows are no
 * measure? */
bool wa_search_on_grid(const wa_threshold *threshold);
/** Everything within its limits, or excused by the grid, and nothing healthy accused. */
bool wa_search_holds(const wa_threshold *threshold);

#endif

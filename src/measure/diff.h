/* Differences between a reference row and a walk row: the definitions of every per-observation
 * metric. */
#ifndef WALKAUDIT_MEASURE_DIFF_H
#define WALKAUDIT_MEASURE_DIFF_H

#include <stddef.h>
#include <stdint.h>

/* X(id, code, flag_meaning): obs_status of the result file. */
#define WA_OBS_STATUS_LIST(X)                                                                      \
    X(MISSING, 0, "missing")                                                                       \
    X(OK, 1, "ok")                                                                                 \
    X(NON_FINITE, 2, "non_finite")                                                                 \
    X(BOTH_ZERO, 3, "both_zero")                                                                   \
    X(ONE_ZERO, 4, "one_zero")                                                                     \
    X(FAILED, 5, "failed")                                                                         \
    X(NOT_SERVED, 6, "not_served") /* no server has the layer: nothing to compare */
typedef enum wa_obs_status {
#define WA_OBS_STATUS_ENUM(id, code, meaning) WA_OBS_##id = (code),
    WA_OBS_STATUS_LIST(WA_OBS_STATUS_ENUM)
#undef WA_OBS_STATUS_ENUM
        WA_OBS_STATUS_COUNT
} wa_obs_status;

/** Differences at one (case, layer, observation). A plain value. Formulas: walk-paths-and-audit.md
 * 4.5, 4.11, 7.1, all in f64. */
typedef struct wa_diff {
    double cos;            /* cosine similarity, 1 - one_minus_cos, in [-1, 1] */
    double one_minus_cos;  /* half |a/|a| - b/|b||^2: tiny angles survive */
    double rel_l2;         /* |b - a| / max(|a|, 1e-6) */
    double l2;             /* |b - a|, activation units */
    double max_abs;        /* max |b[i] - a[i]| */
    double norm_ratio;     /* |b| / |a| */
    double ref_norm;       /* |a| */
    int32_t max_abs_index; /* first i of the maximum; -1 when not finite */
    wa_obs_status status;
} wa_diff;

/**
 * Compare row b (walk) with row a (reference), [n] f32 each, may be the same row. Local; cannot
 * fail. Both all zero: cos 1, rel_l2 0, BOTH_ZERO. One all zero: cos 0, ONE_ZERO. A NaN or infinity
 * in either: every figure NaN, NON_FINITE. Sums run in index order.
 */
wa_diff wa_diff_rows(const float *a, const float *b, size_t n);

/** |v|, f64 sum of squares in index order. */
double wa_norm2(const float *v, size_t n);

/** |b - a| / |scale| in f64; 0/0 is 0; NaN stays NaN. For eta and drift. */
double wa_relative_distance(const float *a, const float *b, const float *scale, size_t n);

/** |to - from| / max(|reference|, 1e-6) in f64: a part of a difference in units of rel_l2. NaN when
 * any is not finite. */
double wa_part_rel_l2(const float *reference, const float *from, const float *to, size_t n);

/**
 * Two answers to one question: 0 when all bits are equal, else |b - a| / max(|a|, 1e-6), at least
 * DBL_MIN; infinite when it is no number.
 */
double wa_answer_distance(const float *a, const float *b, size_t n);

/**
 * |y - truth| / max(|truth|, least, 1e-6), truth in f64: kernel_rel_l2. Infinite when either is
 * not finite: NaN means that nothing was measured.
 * least  what f32 can resolve here (wa_oracle_run); 0 = nothing is known of it
 */
double wa_kernel_error(const double *truth, const float *y, size_t n, double least);

#endif

/* Differences between rows: one pass for the sums, one more for the angle. */
#include "measure/diff.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Floor of a denominator: walk-paths-and-audit.md 4.5. */
static const double NORM_FLOOR = 1e-6;

/* Sums of squares of f32 values cannot overflow f64, so a sum is finite exactly when every value
 * is. */
typedef struct sums {
    double aa, bb, dd; /* of a, b and b - a */
    double max_abs;
    size_t max_abs_at;
} sums;

static sums sum_rows(const float *a, const float *b, size_t n)
{
    sums s = {.max_abs = -1.0};
    for (size_t i = 0; i < n; i++) {
        double ai = (double)a[i];
        double bi = (double)b[i];
        double d = bi - ai;
        s.aa += ai * ai;
        s.bb += bi * bi;
        s.dd += d * d;
        if (fabs(d) > s.max_abs) {
            s.max_abs = fabs(d);
            s.max_abs_at = i;
        }
    }
    return s;
}

/* Half |a/|a| - b/|b||^2. The norms' rounding enters squared, where 1 - a.b/(|a||b|) would keep it.
 */
static double one_minus_cos(const float *a, const float *b, size_t n, double norm_a, double norm_b)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] / norm_a - (double)b[i] / norm_b;
        sum += d * d;
    }
    return fmin(0.5 * sum, 2.0);
}

static wa_diff non_finite(void)
{
    return (wa_diff){.cos = NAN,
                     .one_minus_cos = NAN,
                     .rel_l2 = NAN,
                     .l2 = NAN,
                     .max_abs = NAN,
                     .norm_ratio = NAN,
                     .ref_norm = NAN,
                     .max_abs_index = -1,
                     .status = WA_OBS_NON_FINITE};
}

wa_diff wa_diff_rows(const float *a, const float *b, size_t n)
{
    sums s = sum_rows(a, b, n);
    if (!isfinite(s.aa) || !isfinite(s.bb))
        return non_finite();

    double norm_a = sqrt(s.aa);
    double norm_b = sqrt(s.bb);
    wa_diff diff = {.one_minus_cos = 0.0,
                    .l2 = sqrt(s.dd),
                    .rel_l2 = sqrt(s.dd) / fmax(norm_a, NORM_FLOOR),
                    .max_abs = fmax(s.max_abs, 0.0),
                    .norm_ratio = 1.0,
                    .ref_norm = norm_a,
                    .max_abs_index = n == 0 ? -1 : (int32_t)s.max_abs_at,
                    .status = WA_OBS_BOTH_ZERO};
    if (norm_a > 0.0 && norm_b > 0.0) {
        diff.one_minus_cos = one_minus_cos(a, b, n, norm_a, norm_b);
        diff.norm_ratio = norm_b / norm_a;
        diff.status = WA_OBS_OK;
    } else if (norm_a > 0.0 || norm_b > 0.0) {
        diff.one_minus_cos = 1.0;          /* no angle to a zero row: upstream's cos 0 */
        diff.norm_ratio = norm_b / norm_a; /* 0, or infinite for a zero reference */
        diff.status = WA_OBS_ONE_ZERO;
    }
    diff.cos = 1.0 - diff.one_minus_cos;
    return diff;
}

double wa_norm2(const float *v, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    return sqrt(sum);
}

double wa_relative_distance(const float *a, const float *b, const float *scale, size_t n)
{
    double distance = 0.0;
    double size = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)b[i] - (double)a[i];
        distance += d * d;
        size += (double)scale[i] * (double)scale[i];
    }
    if (distance == 0.0 && size == 0.0)
        return 0.0;
    return sqrt(distance) / sqrt(size);
}

double wa_part_rel_l2(const float *reference, const float *from, const float *to, size_t n)
{
    double distance = 0.0, size = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)to[i] - (double)from[i];
        distance += d * d;
        size += (double)reference[i] * (double)reference[i];
    }
    if (!isfinite(distance) || !isfinite(size))
        return NAN;
    return sqrt(distance) / fmax(sqrt(size), NORM_FLOOR);
}

double wa_kernel_error(const double *truth, const float *y, size_t n, double least)
{
    double distance = 0.0;
    double size = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)y[i] - truth[i];
        distance += d * d;
        size += truth[i] * truth[i];
    }
    if (!isfinite(distance) || !isfinite(size))
        return INFINITY;
    return sqrt(distance) / fmax(fmax(sqrt(size), least), NORM_FLOOR);
}

double wa_answer_distance(const float *a, const float *b, size_t n)
{
    double norm = 0.0, apart = 0.0;
    if (memcmp(a, b, n * sizeof *a) == 0)
        return 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)b[i] - (double)a[i];
        norm += (double)a[i] * (double)a[i];
        apart += d * d;
    }
    double distance = sqrt(apart) / fmax(sqrt(norm), 1e-6);
    return isfinite(distance) ? fmax(distance, DBL_MIN) : INFINITY;
}

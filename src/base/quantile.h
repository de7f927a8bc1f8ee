/* Quantiles of unsorted values. */
#ifndef WALKAUDIT_BASE_QUANTILE_H
#define WALKAUDIT_BASE_QUANTILE_H

#include <stddef.h>

/**
 * The f-quantile by linear interpolation at f * (n - 1), 0 <= f <= 1. Reorders values; no NaN among
 * them. Local.
 *
 * sorted_from  in/out: values before it are the smallest ones already; start with 0 and ask for
 * ascending f
 *
 * NaN when n = 0.
 */
double wa_quantile(double *values, size_t n, double f, size_t *sorted_from);

#endif

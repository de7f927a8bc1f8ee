/* Quantiles by selection: O(n) where sorting every case of a long corpus would cost seconds. */
#include "base/quantile.h"

#include <math.h>

static void swap(double *a, double *b)
{
    double keep = *a;
    *a = *b;
    *b = keep;
}

static double median_of_3(double a, double b, double c)
{
    return fmax(fmin(a, b), fmin(fmax(a, b), c));
}

/* Put the value of rank `at` at its place among values[low, high], smaller ones before it, larger
 * ones after. Hoare. */
static void select_rank(double *values, size_t low, size_t high, size_t at)
{
    while (low < high) {
        double pivot = median_of_3(values[low], values[low + (high - low) / 2], values[high]);
        size_t i = low;
        size_t j = high;
        for (;;) {
            while (values[i] < pivot)
                i++;
            while (values[j] > pivot)
                j--;
            if (i >= j)
                break;
            swap(&values[i++], &values[j--]);
        }
        /* values[low..i-1] <= pivot <= values[j+1..high]; a lone value in between is the pivot */
        if (i == j && at == i)
            return;
        if (at < i)
            high = i - 1;
        else
            low = i == j ? i + 1 : i;
    }
}

double wa_quantile(double *values, size_t n, double f, size_t *sorted_from)
{
    if (n == 0)
        return NAN;
    double place = f * (double)(n - 1);
    size_t at = (size_t)place;
    if (at > n - 1)
        at = n - 1;
    select_rank(values, at < *sorted_from ? 0 : *sorted_from, n - 1, at);
    *sorted_from = at;

    double below = values[at];
    double fraction = place - (double)at;
    if (at + 1 >= n || fraction == 0.0)
        return below;
    double above = values[at + 1];
    for (size_t i = at + 2; i < n; i++)
        above = fmin(above, values[i]);
    return below + fraction * (above - below);
}

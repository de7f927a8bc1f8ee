/* Sets, orders, and how far apart two choices are. */
#include "measure/routing.h"

#include <math.h>
#include <stdbool.h>

static bool has_taken(const int32_t *taken, size_t chosen, int32_t expert)
{
    for (size_t k = 0; k < chosen; k++)
        if (taken[k] == expert)
            return true;
    return false;
}

wa_routing_change wa_routing_compare(const int32_t *a, const int32_t *b, size_t chosen)
{
    wa_routing_change change = WA_ROUTING_SAME;
    for (size_t k = 0; k < chosen; k++) {
        if (a[k] < 0 || b[k] < 0)
            return WA_ROUTING_NON_FINITE;
        if (!has_taken(b, chosen, a[k]))
            change = WA_ROUTING_OTHER_EXPERTS;
        else if (a[k] != b[k] && change == WA_ROUTING_SAME)
            change = WA_ROUTING_OTHER_ORDER;
    }
    return change;
}

double wa_routing_gap(const float *logits, size_t count, const int32_t *taken, size_t chosen)
{
    double best_left = -INFINITY, worst_taken = INFINITY;
    if (taken[0] < 0)
        return NAN;
    for (size_t e = 0; e < count; e++) {
        bool is_taken = has_taken(taken, chosen, (int32_t)e);
        if (!isfinite(logits[e]))
            return NAN;
        if (is_taken && (double)logits[e] < worst_taken)
            worst_taken = (double)logits[e];
        if (!is_taken && (double)logits[e] > best_left)
            best_left = (double)logits[e];
    }
    return best_left > worst_taken ? best_left - worst_taken : 0.0;
}

/* What two routers chose for the same row of a layer with experts, beside each other. */
#ifndef WALKAUDIT_MEASURE_ROUTING_H
#define WALKAUDIT_MEASURE_ROUTING_H

#include <stddef.h>
#include <stdint.h>

/* X(id, code, flag_meaning): routing_change and own_routing_change of the result file. */
#define WA_ROUTING_CHANGE_LIST(X)                                                                  \
    X(NOT_COMPARED, 0, "not_compared") /* no experts here, or nobody told which */                 \
    X(SAME, 1, "same")                                                                             \
    X(OTHER_ORDER, 2, "other_order") /* the same experts, their logits in another order */         \
    X(OTHER_EXPERTS, 3, "other_experts")                                                           \
    X(NON_FINITE, 4, "non_finite") /* a logit of either router is no number */
typedef enum wa_routing_change {
#define WA_ROUTING_CHANGE_ENUM(id, code, meaning) WA_ROUTING_##id = (code),
    WA_ROUTING_CHANGE_LIST(WA_ROUTING_CHANGE_ENUM)
#undef WA_ROUTING_CHANGE_ENUM
        WA_ROUTING_CHANGE_COUNT
} wa_routing_change;

/** Beside each other: [chosen] experts each, largest logit first, none twice, or -1 throughout
 * where a logit is no number. */
wa_routing_change wa_routing_compare(const int32_t *a, const int32_t *b, size_t chosen);

/**
 * What another choice costs by the reference's logits [count]: that of the best expert left out
 * less that of the worst taken; 0 where none of the experts left out is better than one taken, and
 * so where the reference's own are taken. NaN where taken [chosen] is -1 throughout, or a logit of
 * the reference is no number.
 */
double wa_routing_gap(const float *logits, size_t count, const int32_t *taken, size_t chosen);

#endif

/* What two routers chose, beside each other. */
#include "measure/routing.h"
#include "suite.h"

#include <math.h>

static void choices_are_the_same_or_differ_in_order_or_in_experts(void)
{
    const int32_t first[] = {4, 1, 7}, order[] = {1, 4, 7}, other[] = {4, 1, 6}, both[] = {1, 6, 4};
    CU_ASSERT_EQUAL(wa_routing_compare(first, first, 3), WA_ROUTING_SAME);
    CU_ASSERT_EQUAL(wa_routing_compare(first, order, 3), WA_ROUTING_OTHER_ORDER);
    CU_ASSERT_EQUAL(wa_routing_compare(first, other, 3), WA_ROUTING_OTHER_EXPERTS);
    CU_ASSERT_EQUAL(wa_routing_compare(first, both, 3), WA_ROUTING_OTHER_EXPERTS);
    CU_ASSERT_EQUAL(wa_routing_compare(both, first, 3), WA_ROUTING_OTHER_EXPERTS);
}

static void a_router_without_numbers_chose_nothing(void)
{
    const int32_t some[] = {2, 0}, none[] = {-1, -1};
    CU_ASSERT_EQUAL(wa_routing_compare(some, none, 2), WA_ROUTING_NON_FINITE);
    CU_ASSERT_EQUAL(wa_routing_compare(none, some, 2), WA_ROUTING_NON_FINITE);
    CU_ASSERT_EQUAL(wa_routing_compare(none, none, 2), WA_ROUTING_NON_FINITE);
}

static void a_gap_is_what_the_best_left_out_had_over_the_worst_taken(void)
{
    const float logits[] = {0.5F, 3.0F, 2.0F, 1.0F};
    const int32_t best[] = {1, 2}, worse[] = {1, 3}, worst[] = {0, 3}, all[] = {3, 2, 1, 0};
    CU_ASSERT_EQUAL(wa_routing_gap(logits, 4, best, 2), 0.0);
    CU_ASSERT_EQUAL(wa_routing_gap(logits, 4, worse, 2), 1.0);
    CU_ASSERT_EQUAL(wa_routing_gap(logits, 4, worst, 2), 2.5);
    CU_ASSERT_EQUAL(wa_routing_gap(logits, 4, all, 4), 0.0);
}

/* A tie broken the other way is another choice that costs nothing. */
static void of_equal_logits_either_may_be_taken(void)
{
    const float logits[] = {1.0F, 2.0F, 1.0F};
    const int32_t first[] = {1, 0}, second[] = {1, 2};
    CU_ASSERT_EQUAL(wa_routing_gap(logits, 3, second, 2), 0.0);
    CU_ASSERT_EQUAL(wa_routing_compare(first, second, 2), WA_ROUTING_OTHER_EXPERTS);
}

static void what_is_no_number_has_no_gap(void)
{
    const float logits[] = {1.0F, 2.0F}, broken[] = {1.0F, NAN};
    const int32_t taken[] = {0}, none[] = {-1};
    CU_ASSERT(isnan(wa_routing_gap(logits, 2, none, 1)));
    CU_ASSERT(isnan(wa_routing_gap(broken, 2, taken, 1)));
}

WA_SUITE("routing", WA_CASE(choices_are_the_same_or_differ_in_order_or_in_experts),
         WA_CASE(a_router_without_numbers_chose_nothing),
         WA_CASE(a_gap_is_what_the_best_left_out_had_over_the_worst_taken),
         WA_CASE(of_equal_logits_either_may_be_taken), WA_CASE(what_is_no_number_has_no_gap))

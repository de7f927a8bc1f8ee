/* Routers by hand: which experts, which weights, in which order; and that an expert which no row
 * chose is not even read. */
#include "compute/route.h"
#include "made_model.h"
#include "path/evaluate.h"
#include "suite.h"

#include <math.h>

enum { HIDDEN = 2, EXPERTS = 4, CHOSEN = 2, FEATURES = 3 };

typedef struct bench {
    wa_arena *arena;
    wa_scratch scratch;
    wa_experts experts;
    wa_routing routing;
} bench;

/* Logits of x = (a, b) are a * ROUTER[e][0] + b * ROUTER[e][1]. */
static const float ROUTER[EXPERTS][HIDDEN] = {{1, 0}, {2, 0}, {2, 1}, {0, 1}};

static bench open_bench(size_t rows, bool renormalised)
{
    wa_error err = {0};
    bench b = {.experts = {.count = EXPERTS,
                           .chosen = CHOSEN,
                           .widest = FEATURES,
                           .renormalised = renormalised,
                           .router = test_view(&ROUTER[0][0], EXPERTS, HIDDEN)}};
    WA_MUST(wa_arena_open("test", 0, &b.arena, &err), &err);
    WA_MUST(wa_scratch_open(b.arena, rows, FEATURES, FEATURES, &b.scratch, &err), &err);
    WA_MUST(wa_routing_open(b.arena, &b.experts, rows, &b.routing, &err), &err);
    return b;
}

static void route(bench *b, size_t rows, const float *x)
{
    wa_error err = {0};
    WA_MUST(wa_route_rows(&b->experts, rows, x, NULL, &b->scratch, &b->routing, &err), &err);
}

static void equal_logits_are_taken_by_number(void)
{
    bench b = open_bench(2, false);
    const float x[] = {1, 0, 0, 1}; /* logits 1 2 2 0, and 0 0 1 1 */
    route(&b, 2, x);
    CU_ASSERT(b.routing.expert[0] == 1 && b.routing.expert[1] == 2);
    CU_ASSERT(b.routing.expert[2] == 2 && b.routing.expert[3] == 3);
    CU_ASSERT(b.routing.margin[1] == 1.0F && b.routing.margin[3] == 1.0F &&
              b.routing.margin[0] == 0.0F);
    const float zero[] = {0, 0, 0, 0};
    route(&b, 2, zero);
    CU_ASSERT(b.routing.expert[0] == 0 && b.routing.expert[1] == 1 && b.routing.margin[0] == 0.0F);
    wa_arena_close(b.arena);
}

static void weights_are_those_of_the_softmax_over_all_or_over_the_chosen(void)
{
    const float x[] = {1, 0}; /* logits 1 2 2 0 */
    const double all = exp(1.0) + 2.0 * exp(2.0) + 1.0;
    bench raw = open_bench(1, false), sum = open_bench(1, true);
    route(&raw, 1, x);
    route(&sum, 1, x);
    CU_ASSERT(raw.routing.weight[0] == (float)(exp(2.0) / all) &&
              raw.routing.weight[1] == raw.routing.weight[0]);
    CU_ASSERT(sum.routing.weight[0] == 0.5F && sum.routing.weight[1] == 0.5F);
    wa_arena_close(raw.arena);
    wa_arena_close(sum.arena);
}

static void large_logits_overflow_nothing(void)
{
    const float x[] = {1e30F, 0}; /* logits 1e30 2e30 2e30 0 */
    bench b = open_bench(1, false);
    route(&b, 1, x);
    CU_ASSERT(b.routing.weight[0] == 0.5F && b.routing.weight[1] == 0.5F);
    wa_arena_close(b.arena);
}

static void a_row_that_holds_no_number_chooses_no_expert(void)
{
    const float x[] = {1, NAN, 1, 0};
    bench b = open_bench(2, true);
    route(&b, 2, x);
    CU_ASSERT(b.routing.expert[0] == -1 && b.routing.expert[1] == -1);
    CU_ASSERT(isnan(b.routing.weight[0]) && isnan(b.routing.margin[0]));
    CU_ASSERT(b.routing.expert[2] == 1 && b.routing.expert[3] == 2);
    wa_arena_close(b.arena);
}

static void with_all_chosen_the_margin_is_infinite(void)
{
    const float x[] = {1, 0};
    bench b = open_bench(1, true);
    b.experts.chosen = EXPERTS;
    wa_error err = {0};
    WA_MUST(wa_routing_open(b.arena, &b.experts, 1, &b.routing, &err), &err);
    route(&b, 1, x);
    CU_ASSERT(b.routing.margin[0] == 0.0F && b.routing.margin[3] == INFINITY &&
              b.routing.expert[3] == 3);
    wa_arena_close(b.arena);
}

/* Experts that the caller names have the weights that the router's own logits give them. */
static void rows_go_through_experts_that_are_named(void)
{
    const float x[] = {1, 0, 1, 0, 1, 0}; /* logits 1 2 2 0 */
    const int32_t through[] = {3, 0, 1, 2, -1, -1};
    const double e[] = {exp(1.0), exp(2.0), exp(2.0), 1.0}, all = e[0] + e[1] + e[2] + e[3];
    wa_error err = {0};
    bench raw = open_bench(3, false), sum = open_bench(3, true), own = open_bench(3, false);
    route(&own, 3, x);
    WA_MUST(wa_route_rows(&raw.experts, 3, x, through, &raw.scratch, &raw.routing, &err), &err);
    WA_MUST(wa_route_rows(&sum.experts, 3, x, through, &sum.scratch, &sum.routing, &err), &err);
    CU_ASSERT(raw.routing.expert[0] == 3 && raw.routing.expert[1] == 0);
    CU_ASSERT_DOUBLE_EQUAL((double)raw.routing.weight[0], e[3] / all, 1e-7);
    CU_ASSERT_DOUBLE_EQUAL((double)raw.routing.weight[1], e[0] / all, 1e-7);
    CU_ASSERT_DOUBLE_EQUAL((double)sum.routing.weight[0], e[3] / (e[3] + e[0]), 1e-7);
    for (size_t k = 0; k < CHOSEN; k++)
        CU_ASSERT_EQUAL(raw.routing.weight[CHOSEN + k], own.routing.weight[k]);
    CU_ASSERT(raw.routing.expert[4] == -1 && isnan(raw.routing.weight[5]));
    wa_arena_close(raw.arena);
    wa_arena_close(sum.arena);
    wa_arena_close(own.arena);
}

/* Nor does what is left out overflow, or drown, what is not. */
static void weights_of_far_experts_sum_to_one(void)
{
    const float x[] = {1e30F, 0}; /* logits 1e30 2e30 2e30 0 */
    const int32_t through[] = {3, 0};
    wa_error err = {0};
    bench b = open_bench(1, true);
    WA_MUST(wa_route_rows(&b.experts, 1, x, through, &b.scratch, &b.routing, &err), &err);
    CU_ASSERT(b.routing.weight[0] == 0.0F && b.routing.weight[1] == 1.0F);
    wa_arena_close(b.arena);
}

/* gate and up rows all (1, 0): act = silu(a) * a in each feature; down e adds the features, times
 * e. */
static void run_experts(const float *x, size_t rows, float *y)
{
    static const float in[FEATURES][HIDDEN] = {{1, 0}, {1, 0}, {1, 0}};
    static const float out[EXPERTS][HIDDEN][FEATURES] = {
        [1] = {{1, 1, 1}}, [2] = {{2, 2, 2}, {2, 2, 2}}, [3] = {{3, 3, 3}}};
    bench b = open_bench(rows, true);
    wa_expert list[EXPERTS];
    for (size_t e = 0; e < EXPERTS; e++)
        list[e] = (wa_expert){.gate = test_view(&in[0][0], FEATURES, HIDDEN),
                              .up = test_view(&in[0][0], FEATURES, HIDDEN),
                              .down = test_view(&out[e][0][0], HIDDEN, FEATURES)};
    /* reading it would be a crash */
    list[0].gate.data = list[0].up.data = list[0].down.data = NULL;
    b.experts.experts = list;
    const wa_walk_layer layer = {.experts = &b.experts,
                                 .activation = WA_SILU,
                                 .gated = true,
                                 .features = FEATURES,
                                 .hidden = HIDDEN};
    const wa_walk_io io = {.x = x, .y = y};
    wa_case dense = wa_case_dense();
    wa_label label;
    wa_error err = {0};
    WA_MUST(wa_case_run(&dense, &layer, rows, &io, 1, &b.scratch, &label, &err), &err);
    wa_arena_close(b.arena);
}

static void rows_go_through_their_experts_and_no_other_is_read(void)
{
    const float x[] = {1, 0, 1, 3, 1, NAN}; /* experts 1 and 2; 2 and 3 with logits 5 and 3; none */
    float y[6];
    run_experts(x, 3, y);
    double act = 1.0 / (1.0 + exp(-1.0)), first = 1.0 / (1.0 + exp(-2.0));
    CU_ASSERT_DOUBLE_EQUAL((double)y[0], 0.5 * 3.0 * act + 0.5 * 6.0 * act, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL((double)y[1], 0.5 * 6.0 * act, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL((double)y[2], first * 6.0 * act + (1.0 - first) * 9.0 * act, 1e-6);
    CU_ASSERT_DOUBLE_EQUAL((double)y[3], first * 6.0 * act, 1e-6);
    CU_ASSERT(isnan(y[4]) && isnan(y[5]));
}

WA_SUITE("route", WA_CASE(equal_logits_are_taken_by_number),
         WA_CASE(weights_are_those_of_the_softmax_over_all_or_over_the_chosen),
         WA_CASE(large_logits_overflow_nothing),
         WA_CASE(a_row_that_holds_no_number_chooses_no_expert),
         WA_CASE(with_all_chosen_the_margin_is_infinite),
         WA_CASE(rows_go_through_experts_that_are_named),
         WA_CASE(weights_of_far_experts_sum_to_one),
         WA_CASE(rows_go_through_their_experts_and_no_other_is_read))

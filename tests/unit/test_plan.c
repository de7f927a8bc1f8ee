/* Plans: batches by hand, grids by the rules of design 10, and properties that hold for any input.
 */
#include "suite.h"

#include "job/plan.h"
#include "job/plan_checks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MANY = 64 };

static wa_arena *new_arena(void)
{
    wa_arena *arena;
    wa_error err;
    WA_MUST(wa_arena_open("test", (size_t)256 << 20, &arena, &err), &err);
    return arena;
}

/* Attention and one FFN cost 1 per row each, so lane 0 costs 2 a layer and a case 3, but in the
 * first of 10 layers 2, its two inputs being one: 2.9. */
#define COST(flops, bytes)                                                                         \
    {                                                                                              \
        .flops_per_row = (flops), .layer_bytes = (bytes)                                           \
    }
static const wa_case_cost unit_cases[MANY] = {COST(1.0, 0), COST(1.0, 0), COST(1.0, 0),
                                              COST(1.0, 0), COST(1.0, 0), COST(1.0, 0),
                                              COST(1.0, 0), COST(1.0, 0)};

static wa_plan_input unit_input(const size_t *prompt_rows, size_t prompts, size_t cases)
{
    return (wa_plan_input){.layer_count = 10,
                           .attention_flops_per_row = 1.0,
                           .dense_flops_per_row = 1.0,
                           .hidden = 8,
                           .intermediate = 16,
                           .kv_width = 8,
                           .q_width = 8,
                           .vocab = 32,
                           .prompt_rows = prompt_rows,
                           .prompt_count = prompts,
                           .cases = unit_cases,
                           .case_count = cases,
                           .vindex_count = 2,
                           .batch_rows = 512,
                           .nodes = 1};
}

static const size_t seed_rows[] = {6, 26, 7};

static void the_seed_job_on_two_ranks_is_a_team_of_two(void)
{
    wa_arena *arena = new_arena();
    wa_plan_input input = unit_input(seed_rows, 3, 3);
    wa_plan *plan;
    wa_error err;
    WA_MUST(wa_plan_build(&input, 2, arena, &plan, &err), &err);
    CU_ASSERT_EQUAL(plan->batch_count, 1);
    CU_ASSERT_EQUAL(plan->batches[0].rows, 39);
    CU_ASSERT_EQUAL(plan->batches[0].prompt_count, 3);
    CU_ASSERT_EQUAL(plan->obs_count, 39);
    CU_ASSERT_EQUAL(plan->grid.groups, 1);
    CU_ASSERT_EQUAL(plan->grid.stages, 1);
    CU_ASSERT_EQUAL(plan->grid.teams, 2);
    CU_ASSERT_EQUAL(plan->grid.used, 2);
    CU_ASSERT_EQUAL(plan->grid.idle, 0);
    int with_lead = 0;
    for (int c = 0; c < 3; c++)
        with_lead += plan->case_member[c] == 0 ? 1 : 0;
    CU_ASSERT_EQUAL(with_lead, 1);
    /* lead 2 + 2.9, the other 2 x 2.9, of which 10.7 are busy; 5.8 x 10 layers x 39 rows */
    CU_ASSERT_DOUBLE_EQUAL(plan->flops_per_rank_max, 5.8 * 10 * 39, 1e-9);
    /* three quarters of what the lead waits, 0.45 more than both would if they shared, it helps */
    CU_ASSERT_DOUBLE_EQUAL(plan->flops_until_done, (5.8 - 0.75 * 0.45) * 10 * 39, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(plan->predicted_utilisation, 10.7 / (2.0 * (5.8 - 0.75 * 0.45)), 1e-12);
    input.batches_are_fixed = true; /* products of BLAS are not shared */
    WA_MUST(wa_plan_build(&input, 2, arena, &plan, &err), &err);
    CU_ASSERT_DOUBLE_EQUAL(plan->predicted_utilisation, 10.7 / 11.6, 1e-12);
    wa_arena_close(arena);
}

static void teams_grow_to_one_rank_a_lane_and_further_ranks_are_idle(void)
{
    static const struct {
        int ranks, teams, idle;
        double utilisation;
    } cases[] = {
        {1, 1, 0, 1.0},                          /* 2 + 8.7 on one rank */
        {2, 2, 0, 5.35 / (5.8 - 0.75 * 0.45)},   /* 4.9 and 5.8: the mean, and the time with help */
        {4, 4, 0, 2.675 / (2.9 - 0.75 * 0.225)}, /* 2, 2.9, 2.9, 2.9 */
        {8, 4, 4, 2.675 / (2.9 - 0.75 * 0.225)}}; /* four have nothing to do */
    static const size_t one[] = {39};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wa_arena *arena = new_arena();
        wa_plan_input input = unit_input(one, 1, 3);
        wa_plan *plan;
        wa_error err;
        WA_MUST(wa_plan_build(&input, cases[i].ranks, arena, &plan, &err), &err);
        CU_ASSERT_EQUAL(plan->grid.teams, cases[i].teams);
        CU_ASSERT_EQUAL(plan->grid.idle, cases[i].idle);
        CU_ASSERT_DOUBLE_EQUAL(plan->predicted_utilisation, cases[i].utilisation, 1e-12);
        wa_arena_close(arena);
    }
}

static void many_batches_make_groups(void)
{
    static size_t rows[100];
    for (size_t i = 0; i < 100; i++)
        rows[i] = 512;
    wa_arena *arena = new_arena();
    wa_plan_input input = unit_input(rows, 100, 3);
    wa_plan *plan;
    wa_error err;
    WA_MUST(wa_plan_build(&input, 4, arena, &plan, &err), &err);
    CU_ASSERT_EQUAL(plan->batch_count, 100);
    CU_ASSERT_EQUAL(plan->grid.groups, 4);
    CU_ASSERT_EQUAL(plan->grid.teams, 1);
    CU_ASSERT_DOUBLE_EQUAL(plan->predicted_utilisation, 1.0, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(plan->flops_per_rank_max, 25.0 * 10.7 * 10 * 512, 1e-3);
    wa_arena_close(arena);
}

/* A group for each prompt: 10.7 a row. Two groups of two: 2 x 5.8, though they could take the prompts
 * as they come. */
static void a_batch_for_each_group_is_enough(void)
{
    static const size_t rows[] = {512, 512, 512, 512};
    wa_arena *arena = new_arena();
    wa_plan_input input = unit_input(rows, 4, 3);
    wa_plan *plan;
    wa_error err;
    WA_MUST(wa_plan_build(&input, 4, arena, &plan, &err), &err);
    CU_ASSERT_EQUAL(plan->grid.groups, 4);
    CU_ASSERT_EQUAL(plan->grid.teams, 1);
    CU_ASSERT_DOUBLE_EQUAL(plan->predicted_utilisation, 1.0, 1e-12);
    wa_arena_close(arena);
}

static void whole_prompts_are_packed_in_order_and_a_longer_one_is_alone(void)
{
    static const size_t rows[] = {4, 4, 4, 20, 1, 9, 1};
    static const wa_batch expected[] = {
        {0, 2, 0, 8}, {2, 1, 8, 4}, {3, 1, 12, 20}, {4, 2, 32, 10}, {6, 1, 42, 1}};
    wa_arena *arena = new_arena();
    wa_plan_input input = unit_input(rows, 7, 0);
    wa_plan *plan;
    wa_error err;
    input.batch_rows = 10;
    WA_MUST(wa_plan_build(&input, 1, arena, &plan, &err), &err);
    CU_ASSERT_EQUAL_FATAL(plan->batch_count, 5);
    for (size_t b = 0; b < 5; b++)
        CU_ASSERT_EQUAL(memcmp(&plan->batches[b], &expected[b], sizeof expected[b]), 0);
    CU_ASSERT_EQUAL(plan->max_rows, 20);
    CU_ASSERT_EQUAL(plan->max_prompts, 2);
    CU_ASSERT_EQUAL(plan->obs_count, 43);
    wa_arena_close(arena);
}

static void stages_are_the_fewest_that_nodes_can_hold(void)
{
    static const size_t gib = (size_t)1 << 30;
    static const struct {
        int nodes;
        size_t memory_gib;
        int stages;
    } cases[] = {{4, 0, 1},  /* unknown memory: no limit */
                 {4, 20, 1}, /* 10 layers of 1 GiB and a head of 1 */
                 {4, 7, 2},  /* 5 + 1, and the arenas */
                 {4, 5, 4},  /* 4 + 1 of three stages leave no room for the arenas, 3 + 1 do */
                 {2, 5, 2},  /* at most one stage per node */
                 {1, 5, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wa_arena *arena = new_arena();
        wa_plan_input input = unit_input(seed_rows, 3, 3);
        wa_plan *plan;
        wa_error err;
        input.layer_bytes = input.head_bytes = gib;
        input.nodes = cases[i].nodes;
        input.node_memory = cases[i].memory_gib * gib;
        WA_MUST(wa_plan_build(&input, 8, arena, &plan, &err), &err);
        CU_ASSERT_EQUAL(plan->grid.stages, cases[i].stages);
        wa_arena_close(arena);
    }
}

/* The dearest stage of every way to cut `layers` into `stages` contiguous ranges, and the least of
 * them. */
static double cheapest_cut(size_t layers, size_t stages, double layer, double head)
{
    double best = INFINITY;
    if (stages == 1)
        return (double)layers * layer + head;
    for (size_t first = 1; first <= layers - (stages - 1); first++) {
        double rest = cheapest_cut(layers - first, stages - 1, layer, head);
        double own = (double)first * layer;
        double most = own > rest ? own : rest;
        best = most < best ? most : best;
    }
    return best;
}

static void layers_are_cut_so_that_the_dearest_stage_is_cheapest(void)
{
    static const size_t one_prompt[] = {1};
    for (size_t layers = 1; layers <= 12; layers++)
        for (size_t stages = 1; stages <= layers && stages <= 5; stages++)
            for (int head = 0; head <= 12; head += 3) {
                wa_arena *arena = new_arena();
                wa_plan_input input = unit_input(one_prompt, 1, 0);
                wa_plan *plan;
                wa_error err;
                input.layer_count = layers;
                input.stages = (int)stages;
                input.head_flops_per_row = (double)head; /* made twice */
                WA_MUST(wa_plan_build(&input, (int)stages, arena, &plan, &err), &err);
                double most = 0.0;
                for (size_t s = 0; s < stages; s++) {
                    double own = 2.0 * (double)(plan->stage_start[s + 1] - plan->stage_start[s]) +
                                 (s == stages - 1 ? 2.0 * head : 0.0);
                    most = own > most ? own : most;
                }
                CU_ASSERT_DOUBLE_EQUAL(most, cheapest_cut(layers, stages, 2.0, 2.0 * head), 1e-12);
                CU_ASSERT_DOUBLE_EQUAL(plan->flops_per_rank_max, most, 1e-12);
                wa_arena_close(arena);
            }
}

static void logits_of_all_positions_make_the_head_dearer(void)
{
    static const size_t rows[] = {100, 100};
    wa_arena *arena = new_arena();
    wa_plan_input input = unit_input(rows, 2, 0);
    wa_plan *last, *all;
    wa_error err;
    input.stages = 2;
    input.head_flops_per_row = 4.0;
    WA_MUST(wa_plan_build(&input, 2, arena, &last, &err), &err);
    input.logits_all = true;
    WA_MUST(wa_plan_build(&input, 2, arena, &all, &err), &err);
    /* 10 layers of 200 x 2; head 2 x 4 x 2 rows: negligible, but the reference reads the text once:
     * 4 x 198, two layers, so 6 and 4; 2 x 4 x 200 rows: four layers, so 7 and 3 */
    CU_ASSERT_EQUAL(last->stage_start[1], 6);
    CU_ASSERT_EQUAL(all->stage_start[1], 7);
    CU_ASSERT(all->anonymous_bytes > last->anonymous_bytes);
    wa_arena_close(arena);
}

/* Three quarters of every FFN go through experts, and nine tenths of the bytes. */
static wa_plan_input input_of_experts(wa_spreading spreading)
{
    static const wa_experts_cost experts = {.flops_per_row = 0.75, .bytes = 900 << 20};
    static wa_case_cost costs[2];
    wa_plan_input input = unit_input(seed_rows, 3, 2);
    for (size_t c = 0; c < 2; c++)
        costs[c] =
            (wa_case_cost){.flops_per_row = 1.0, .layer_bytes = 1000 << 20, .experts = experts};
    input.cases = costs;
    input.experts = experts;
    input.layer_bytes = 1000 << 20;
    input.expert_count = 8;
    input.expert_choices = 2;
    input.expert_layers = input.layer_count;
    input.spreading = spreading;
    input.stages = 1;
    return input;
}

static void spread_experts_are_shared_out_and_nothing_is_lost(void)
{
    wa_arena *arena = new_arena();
    wa_plan *plan;
    wa_error err;
    for (int teams = 2; teams <= 8; teams++) {
        wa_plan_input input = input_of_experts(WA_SPREADING_ALWAYS);
        wa_seat_cost sum = {.flops = 0.0};
        size_t begun = 0, most = 0, first, end;
        input.teams = teams;
        WA_MUST(wa_plan_build(&input, teams, arena, &plan, &err), &err);
        CU_ASSERT_TRUE(plan->grid.spread);
        for (int m = 0; m < teams; m++) {
            wa_seat_cost seat = wa_plan_seat_cost(&input, plan, 0, m);
            sum.flops += seat.flops;
            most = seat.mapped_bytes > most ? seat.mapped_bytes : most;
            wa_plan_experts(plan, input.expert_count, m, &first, &end);
            CU_ASSERT_EQUAL(first, begun);
            CU_ASSERT_TRUE(end > first);
            begun = end;
        }
        CU_ASSERT_EQUAL(begun, input.expert_count);
        double rows = plan->work.rows; /* of 10 layers: lane 0 takes 2, each case 2.9 */
        CU_ASSERT_DOUBLE_EQUAL(sum.flops, rows * 10.0 * 7.8, 1e-6 * rows);
        /* what is not of experts, of the model and two cases at most, and a share of three times 900 */
        CU_ASSERT_TRUE(most >> 20 <= 10 * (3 * 100 + 3 * 900 / (size_t)teams));
        /* the reference on one input, two cases on two, but in the first layer on one: 4.8
         * evaluations of 2 choices */
        double away = (teams - 1.0) / teams;
        CU_ASSERT_DOUBLE_EQUAL(plan->spread_rows, rows * 10.0 * 4.8 * 2.0 * away, 1e-6 * rows);
    }
    wa_arena_close(arena);
}

static void experts_are_spread_where_a_stage_fits_no_node(void)
{
    wa_arena *arena = new_arena();
    wa_plan *plan;
    wa_error err;
    wa_plan_input input = input_of_experts(WA_SPREADING_BY_PLAN);
    WA_MUST(wa_plan_build(&input, 4, arena, &plan, &err), &err);
    CU_ASSERT_FALSE(plan->grid.spread); /* nobody says what a node holds */
    size_t anonymous = 2 * plan->anonymous_bytes;
    input.nodes = 4;
    for (size_t cache = 10000; cache <= 40000; cache += 10000) {
        /* a stage maps 10 * 3000 MB, of which 27,000 are of experts; a rank on each node */
        input.node_memory = anonymous + (cache << 20);
        WA_MUST(wa_plan_build(&input, 4, arena, &plan, &err), &err);
        CU_ASSERT_EQUAL(plan->grid.spread, cache < 30000);
        if (cache < 30000)
            CU_ASSERT_EQUAL(plan->grid.teams, cache == 10000 ? 4 : 2);
    }
    input.spreading = WA_SPREADING_NEVER;
    input.node_memory = anonymous + ((size_t)10000 << 20);
    WA_MUST(wa_plan_build(&input, 4, arena, &plan, &err), &err);
    CU_ASSERT_FALSE(plan->grid.spread);
    wa_arena_close(arena);
}

static void dear_cases_are_dealt_first(void)
{
    /* costs 1 + 1.9 f: 20, 10.5, 4.8, 2.9; lane 0: 2. Two members: 20 | 2 + 10.5 + 4.8 + 2.9 */
    static const wa_case_cost costs[] = {COST(1.0, 0), COST(5.0, 0), COST(10.0, 0), COST(2.0, 0)};
    wa_arena *arena = new_arena();
    wa_plan_input input = unit_input(seed_rows, 3, 4);
    wa_plan *plan;
    wa_error err;
    input.cases = costs;
    input.teams = 2;
    WA_MUST(wa_plan_build(&input, 2, arena, &plan, &err), &err);
    static const int expected[] = {0, 0, 1, 0};
    int other = 1 - plan->case_member[2];
    CU_ASSERT_EQUAL(other, plan->case_member[0]);
    CU_ASSERT_EQUAL(other, plan->case_member[1]);
    CU_ASSERT_EQUAL(other, plan->case_member[3]);
    /* whom the dearest meets is settled by load alone: the lead has lane 0 */
    CU_ASSERT_EQUAL(memcmp(plan->case_member, expected, sizeof expected), 0);
    CU_ASSERT_DOUBLE_EQUAL(plan->flops_per_rank_max, 20.2 * 10 * 39, 1e-9);
    wa_arena_close(arena);
}

/* The second and third case are the first one's function: with it they cost their attention, 1; the
 * fourth has an FFN of its own. 2 + 2.9 | 2.9 + 1 + 1, and on one rank 9.8. */
static void cases_of_one_function_are_dealt_together(void)
{
    static const wa_case_cost costs[] = {
        COST(1.0, 0),
        {.flops_per_row = 1.0, .repeats = true},
        {.flops_per_row = 0.0}, /* it does not run, and has none between it and them */
        {.flops_per_row = 1.0, .repeats = true},
        COST(1.0, 0)};
    static const int together[] = {1, 1, 0, 1, 0};
    wa_arena *arena = new_arena();
    wa_plan_input input = unit_input(seed_rows, 3, 5);
    wa_plan *one, *plan;
    wa_error err;
    input.cases = costs;
    WA_MUST(wa_plan_build(&input, 1, arena, &one, &err), &err);
    CU_ASSERT_DOUBLE_EQUAL(one->flops_per_rank_max, 9.8 * 10 * 39, 1e-9);
    WA_MUST(wa_plan_build(&input, 2, arena, &plan, &err), &err);
    for (size_t c = 0; c < 5; c++)
        if (costs[c].flops_per_row > 0.0)
            CU_ASSERT_EQUAL(plan->case_member[c], together[c]);
    CU_ASSERT_DOUBLE_EQUAL(plan->flops_per_rank_max, 4.9 * 10 * 39, 1e-9);
    wa_seat_cost lead = wa_plan_seat_cost(&input, plan, 0, 0),
                 other = wa_plan_seat_cost(&input, plan, 0, 1);
    CU_ASSERT_DOUBLE_EQUAL(lead.flops, 4.9 * 10 * 39, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(other.flops, 4.9 * 10 * 39, 1e-9);
    wa_arena_close(arena);
}

static void an_asked_grid_is_honoured_or_refused_with_what_fits(void)
{
    static const struct {
        int stages, teams, ranks;
        const char *story; /* NULL: fits */
    } cases[] = {{2, 2, 4, NULL},
                 {2, 0, 2, NULL},
                 {0, 3, 3, NULL},
                 {10, 1, 10, NULL},
                 {1, 1, 1, NULL},
                 {11, 1, 11, "the model has 10 layers"},
                 {1, 5, 8, "at most 4 fit"},
                 {2, 2, 3, "needs 4 ranks, found 3"},
                 {4, 0, 3, "needs 4 ranks, found 3"},
                 {-1, 0, 3, "expected 0 or more"},
                 {1, 1, 0, "at least 1"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wa_arena *arena = new_arena();
        wa_plan_input input = unit_input(seed_rows, 3, 3);
        wa_plan *plan = NULL;
        wa_error err = {.text = ""};
        input.stages = cases[i].stages;
        input.teams = cases[i].teams;
        wa_status status = wa_plan_build(&input, cases[i].ranks, arena, &plan, &err);
        CU_ASSERT_EQUAL(status, cases[i].story == NULL ? WA_OK : WA_E_USAGE);
        if (cases[i].story != NULL)
            CU_ASSERT_PTR_NOT_NULL(strstr(err.text, cases[i].story));
        if (status == WA_OK && cases[i].stages > 0)
            CU_ASSERT_EQUAL(plan->grid.stages, cases[i].stages);
        if (status == WA_OK && cases[i].teams > 0)
            CU_ASSERT_EQUAL(plan->grid.teams, cases[i].teams);
        wa_arena_close(arena);
    }
}

static void impossible_input_is_refused(void)
{
    static const size_t none[] = {3, 0}, huge[] = {SIZE_MAX, 2};
    wa_arena *arena = new_arena();
    wa_plan *plan;
    wa_error err;
    wa_plan_input input = unit_input(none, 2, 3);
    CU_ASSERT_EQUAL(wa_plan_build(&input, 1, arena, &plan, &err), WA_E_USAGE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "prompt 1 has no positions"));
    input = unit_input(huge, 2, 3);
    CU_ASSERT_EQUAL(wa_plan_build(&input, 1, arena, &plan, &err), WA_E_USAGE);
    input = unit_input(none, 0, 3);
    CU_ASSERT_EQUAL(wa_plan_build(&input, 1, arena, &plan, &err), WA_E_USAGE);
    input = unit_input(none, 1, 3);
    input.batch_rows = 0;
    CU_ASSERT_EQUAL(wa_plan_build(&input, 1, arena, &plan, &err), WA_E_USAGE);
    input = unit_input(none, 1, 3);
    input.layer_count = 0;
    CU_ASSERT_EQUAL(wa_plan_build(&input, 1, arena, &plan, &err), WA_E_USAGE);
    wa_arena_close(arena);
}

/* Gemma 3 4B: L 34, H 2560, I 10240, 8 heads and 4 kv heads of 256. Design 3 promises under 200 MB.
 */
static wa_plan_input gemma_4b(const size_t *rows)
{
    wa_plan_input input = unit_input(rows, 1, 3);
    input.layer_count = 34;
    input.hidden = 2560;
    input.intermediate = 10240;
    input.q_width = 2048;
    input.kv_width = 1024;
    input.vocab = 262144;
    return input;
}

static void four_lanes_of_a_4b_model_take_less_than_200_mb(void)
{
    static const size_t rows[] = {512};
    wa_arena *arena = new_arena();
    wa_plan_input input = gemma_4b(rows);
    wa_plan *plan;
    wa_error err;
    WA_MUST(wa_plan_build(&input, 1, arena, &plan, &err), &err);
    CU_ASSERT(plan->anonymous_bytes < 200000000);
    /* at least the residuals of four lanes and two tiles of activations */
    CU_ASSERT(plan->anonymous_bytes > (4 * 512 * 2560 + 2 * 512 * 10240) * sizeof(float));
    size_t last = plan->anonymous_bytes;
    /* final norms of all rows, and no matrix of rows x vocabulary: that has 537 MB */
    input.logits_all = true;
    WA_MUST(wa_plan_build(&input, 1, arena, &plan, &err), &err);
    CU_ASSERT(plan->anonymous_bytes < 200000000);
    CU_ASSERT(plan->anonymous_bytes > last + 4 * 511 * 2560 * sizeof(float));
    input.node_memory = 100000000;
    CU_ASSERT_EQUAL(wa_plan_build(&input, 1, arena, &plan, &err), WA_E_MEMORY);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "the node has 100000000"));
    wa_arena_close(arena);
}

static void seats_and_ranks_are_inverse_and_ranks_beyond_are_idle(void)
{
    static size_t rows[64];
    for (size_t i = 0; i < 64; i++)
        rows[i] = 512;
    wa_arena *arena = new_arena();
    wa_plan_input input = unit_input(rows, 64, 3);
    wa_plan *plan;
    wa_error err;
    input.stages = 2;
    input.teams = 3;
    WA_MUST(wa_plan_build(&input, 20, arena, &plan, &err), &err);
    CU_ASSERT_EQUAL(plan->grid.groups, 3);
    CU_ASSERT_EQUAL(plan->grid.used, 18);
    CU_ASSERT_EQUAL(plan->grid.idle, 2);
    for (int rank = 0; rank < 18; rank++) {
        wa_seat seat = wa_plan_seat(plan, rank);
        CU_ASSERT(seat.group >= 0 && seat.group < 3);
        CU_ASSERT(seat.stage >= 0 && seat.stage < 2);
        CU_ASSERT(seat.member >= 0 && seat.member < 3);
        CU_ASSERT_EQUAL(wa_plan_rank(plan, seat.group, seat.stage, seat.member), rank);
    }
    CU_ASSERT_EQUAL(wa_plan_seat(plan, 13).group, 1); /* (1 * 3 + 1) * 3 + 1 */
    CU_ASSERT_EQUAL(wa_plan_seat(plan, 13).stage, 1);
    CU_ASSERT_EQUAL(wa_plan_seat(plan, 13).member, 1);
    for (int rank = 0; rank < 9; rank++) /* the first half of the ranks is the first stage */
        CU_ASSERT_EQUAL(wa_plan_seat(plan, rank).stage, 0);
    CU_ASSERT_EQUAL(wa_plan_seat(plan, 18).group, -1);
    CU_ASSERT_EQUAL(wa_plan_seat(plan, -1).group, -1);
    wa_arena_close(arena);
}

/* --- Properties over many inputs ----------------------------------------------------------------
 */

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u; /* Knuth, MMIX */
    return *state >> 33;
}

/* Kept parts and batches are all prompts, once each; batches are whole prompts and no larger than
 * they may be. */
static void check_batches(const wa_plan *plan, const wa_plan_input *input)
{
    wa_arena *arena = new_arena();
    wa_batch *all;
    wa_error err;
    WA_MUST(wa_batches_join(input->kept, input->kept_count, plan->batches, plan->batch_count,
                            input->prompt_count, arena, &all, &err),
            &err);
    size_t obs = 0;
    for (size_t i = 0; i < input->kept_count + plan->batch_count; i++) {
        size_t rows = 0;
        CU_ASSERT(all[i].prompt_count > 0);
        CU_ASSERT_EQUAL(all[i].first_obs, obs);
        for (size_t p = 0; p < all[i].prompt_count; p++)
            rows += input->prompt_rows[all[i].first_prompt + p];
        CU_ASSERT_EQUAL(all[i].rows, rows);
        obs += rows;
    }
    CU_ASSERT_EQUAL(obs, plan->obs_count);
    for (size_t b = 0; b < plan->batch_count; b++) {
        CU_ASSERT(plan->batches[b].rows <= input->batch_rows || plan->batches[b].prompt_count == 1);
        CU_ASSERT(plan->batches[b].rows <= plan->max_rows &&
                  plan->batches[b].prompt_count <= plan->max_prompts);
    }
    wa_arena_close(arena);
}

/* Some of the prompts, in parts of one or two. */
static size_t random_parts(uint64_t *state, const wa_plan_input *input, wa_batch *out)
{
    size_t count = 0, obs = 0;
    for (size_t p = 0; p < input->prompt_count;) {
        wa_batch part = {.first_prompt = p, .first_obs = obs};
        size_t end = p + 1 + next_random(state) % 2;
        for (; p < end && p < input->prompt_count; p++, part.prompt_count++)
            part.rows += input->prompt_rows[p];
        obs += part.rows;
        if (next_random(state) % 3 == 0)
            out[count++] = part;
    }
    return count;
}

static void check_grid(const wa_plan *plan, const wa_plan_input *input, int ranks)
{
    const wa_grid *grid = &plan->grid;
    CU_ASSERT(grid->groups >= 1 && grid->stages >= 1 && grid->teams >= 1);
    CU_ASSERT_EQUAL(grid->used, grid->groups * grid->stages * grid->teams);
    CU_ASSERT_EQUAL(grid->used + grid->idle, ranks);
    CU_ASSERT(grid->idle >= 0);
    CU_ASSERT((size_t)grid->groups <= plan->batch_count ||
              (plan->batch_count == 0 && grid->groups == 1));
    CU_ASSERT((size_t)grid->teams <= 1 + input->case_count);
    CU_ASSERT_EQUAL(plan->stage_start[0], 0);
    CU_ASSERT_EQUAL(plan->stage_start[grid->stages], input->layer_count);
    for (int s = 0; s < grid->stages; s++)
        CU_ASSERT(plan->stage_start[s] < plan->stage_start[s + 1]);
    for (size_t c = 0; c < input->case_count; c++)
        CU_ASSERT(plan->case_member[c] >= 0 && plan->case_member[c] < grid->teams);
    for (size_t v = 0; v < input->vindex_count; v++)
        CU_ASSERT(plan->vindex_member[v] >= 0 && plan->vindex_member[v] < grid->teams);
    CU_ASSERT(plan->predicted_utilisation > 0.0 && plan->predicted_utilisation <= 1.0 + 1e-12);
}

static wa_plan_input random_input(uint64_t *state, size_t *rows, wa_case_cost *costs)
{
    wa_plan_input input = unit_input(rows, 1 + next_random(state) % MANY, next_random(state) % 9);
    for (size_t p = 0; p < input.prompt_count; p++)
        rows[p] = 1 + next_random(state) % 300;
    for (size_t c = 0; c < input.case_count; c++)
        costs[c] =
            (wa_case_cost)COST((double)(1 + next_random(state) % 5), next_random(state) % 1000);
    input.cases = costs;
    input.layer_count = 1 + next_random(state) % 40;
    input.head_flops_per_row = (double)(next_random(state) % 30);
    input.layer_bytes = (size_t)next_random(state) % 4000000;
    input.nodes = (int)(1 + next_random(state) % 5);
    input.node_memory = next_random(state) % 2 == 0 ? 0 : (size_t)100000000;
    input.vindex_count = 1 + next_random(state) % 4;
    input.packing_rows = next_random(state) % 2 == 0 ? 0.0 : (double)(next_random(state) % 60);
    return input;
}

static bool are_equal(const wa_grid *a, const wa_grid *b)
{
    return a->groups == b->groups && a->stages == b->stages && a->teams == b->teams &&
           a->used == b->used && a->idle == b->idle && a->spread == b->spread;
}

static void any_plan_covers_everything_once(void)
{
    uint64_t state = 20261124;
    size_t rows[MANY];
    wa_case_cost costs[MANY];
    int planned = 0;
    for (int round = 0; round < 400; round++) {
        wa_arena *arena = new_arena();
        wa_plan_input input = random_input(&state, rows, costs);
        wa_batch kept[MANY];
        int ranks = (int)(1 + next_random(&state) % 24);
        input.kept = kept;
        input.kept_count = next_random(&state) % 2 == 0 ? 0 : random_parts(&state, &input, kept);
        wa_plan *plan, *again;
        wa_error err;
        wa_status status = wa_plan_build(&input, ranks, arena, &plan, &err);
        CU_ASSERT(status == WA_OK || status == WA_E_MEMORY);
        if (status == WA_OK) {
            planned++;
            check_batches(plan, &input);
            check_grid(plan, &input, ranks);
            WA_MUST(wa_plan_build(&input, ranks, arena, &again, &err), &err);
            CU_ASSERT_TRUE(are_equal(&plan->grid, &again->grid));
            CU_ASSERT_EQUAL(memcmp(plan->case_member, again->case_member,
                                   input.case_count * sizeof *plan->case_member),
                            0);
        }
        wa_arena_close(arena);
    }
    CU_ASSERT(planned > 300);
}

static void more_ranks_never_make_the_busiest_rank_busier(void)
{
    for (size_t prompts = 1; prompts <= 3; prompts++) {
        double before = INFINITY;
        for (int ranks = 1; ranks <= 4; ranks *= 2) {
            wa_arena *arena = new_arena();
            wa_plan_input input = unit_input(seed_rows, prompts, 3);
            wa_plan *plan;
            wa_error err;
            WA_MUST(wa_plan_build(&input, ranks, arena, &plan, &err), &err);
            CU_ASSERT(plan->flops_per_rank_max < before);
            before = plan->flops_per_rank_max;
            wa_arena_close(arena);
        }
    }
}

/* Four layers of Gemma 3 4B, f16, three cases; and SmolLM2. Decoding and packing a matrix costs 24
 * rows. */
static wa_plan_input model_input(bool is_small, const wa_case_cost *costs, const size_t *rows,
                                 size_t prompts)
{
    wa_plan_input input = unit_input(rows, prompts, 3);
    input.layer_count = is_small ? 30 : 4;
    input.hidden = is_small ? 576 : 2560;
    input.intermediate = is_small ? 1536 : 10240;
    input.q_width = is_small ? 576 : 2048;
    input.kv_width = is_small ? 192 : 1024;
    input.vocab = is_small ? 49152 : 32768;
    input.attention_flops_per_row = 4.0 * (double)((input.q_width + input.kv_width) * input.hidden);
    input.attention_flops_per_pair = 4.0 * (double)input.q_width;
    input.dense_flops_per_row = costs[0].flops_per_row;
    input.head_flops_per_row = 2.0 * (double)(input.vocab * input.hidden);
    input.cases = costs;
    input.packing_rows = 24.0;
    return input;
}

static const wa_case_cost large_costs[] = {COST(6.0 * 2560 * 10240, 0), COST(6.0 * 2560 * 10240, 0),
                                           COST(6.0 * 2560 * 10240, 0)};
static const wa_case_cost small_costs[] = {COST(6.0 * 576 * 1536, 0), COST(6.0 * 576 * 1536, 0),
                                           COST(6.0 * 576 * 1536, 0)};

/* Busy share of all ranks, and how many times as fast they are as one, which packs each matrix less
 * often. 64 prompts of 40 rows on 16 ranks were five batches of 512, later 8 in four groups of
 * teams of four: 90 % busy, 13.9 times as fast. Packing counts as busy: 1,000 prompts on 128 ranks
 * are busier in more batches, but slower. */
static void ranks_are_busy_and_gain(void)
{
    enum { MOST_PROMPTS = 1000 };
    static const struct {
        size_t prompts, least, most; /* and rows of each */
        int ranks;
        double busy, gain;
    } jobs[] = {{64, 40, 40, 2, 0.99, 1.95},       {64, 40, 40, 4, 0.99, 3.9},
                {64, 40, 40, 8, 0.97, 7.7},        {64, 40, 40, 16, 0.97, 14.8},
                {64, 40, 40, 32, 0.9, 27.9},       {100, 20, 60, 2, 0.99, 1.92},
                {100, 20, 60, 8, 0.92, 7.1},       {320, 20, 60, 16, 0.97, 14.3},
                {320, 20, 60, 32, 0.97, 27.6},     {1000, 20, 60, 16, 0.99, 15.4},
                {1000, 20, 60, 64, 0.98, 56.9},    {1000, 20, 60, 128, 0.85, 104.3},
                {1000, 400, 512, 512, 0.91, 490.0}};
    static size_t rows[MOST_PROMPTS];
    for (size_t j = 0; j < sizeof jobs / sizeof jobs[0]; j++)
        for (int is_small = 0; is_small < 2; is_small++) {
            uint64_t state = 11;
            for (size_t p = 0; p < jobs[j].prompts; p++)
                rows[p] = jobs[j].least + next_random(&state) % (jobs[j].most - jobs[j].least + 1);
            wa_arena *arena = new_arena();
            wa_plan_input input = model_input(
                is_small != 0, is_small != 0 ? small_costs : large_costs, rows, jobs[j].prompts);
            wa_plan *one, *plan;
            wa_error err;
            WA_MUST(wa_plan_build(&input, 1, arena, &one, &err), &err);
            WA_MUST(wa_plan_build(&input, jobs[j].ranks, arena, &plan, &err), &err);
            check_batches(plan, &input);
            check_grid(plan, &input, jobs[j].ranks);
            double busy = plan->predicted_utilisation * plan->grid.used / jobs[j].ranks;
            double gain = one->flops_until_done / plan->flops_until_done;
            CU_ASSERT(busy >= jobs[j].busy);
            CU_ASSERT(gain >= jobs[j].gain);
            if (busy < jobs[j].busy || gain < jobs[j].gain)
                fprintf(
                    stderr,
                    "%zu prompts of %zu to %zu rows on %d ranks: %.3f busy, %.2f times as fast\n",
                    jobs[j].prompts, jobs[j].least, jobs[j].most, jobs[j].ranks, busy, gain);
            wa_arena_close(arena);
        }
}

/* Whatever is too small for its ranks still gains by more of them, and no rank is idle while there
 * are prompts and cases. */
static void more_ranks_never_take_longer(void)
{
    static const size_t counts[] = {3, 10, 50};
    static size_t rows[50];
    uint64_t state = 3;
    for (size_t p = 0; p < 50; p++)
        rows[p] = 5 + next_random(&state) % 60;
    for (size_t j = 0; j < sizeof counts / sizeof counts[0]; j++) {
        double before = INFINITY;
        for (int ranks = 1; ranks <= 512; ranks *= 2) {
            wa_arena *arena = new_arena();
            wa_plan_input input = model_input(true, small_costs, rows, counts[j]);
            wa_plan *plan;
            wa_error err;
            WA_MUST(wa_plan_build(&input, ranks, arena, &plan, &err), &err);
            CU_ASSERT(plan->flops_until_done <= before * (1.0 + 1e-12));
            before = plan->flops_until_done;
            wa_arena_close(arena);
        }
    }
}

/* Nobody knows which of the ranks are slow: where each has many prompts, what is handed out last is
 * less than a tenth of its share. */
static void small_batches_even_out_slow_ranks(void)
{
    static size_t rows[320];
    uint64_t state = 11;
    for (size_t p = 0; p < 320; p++)
        rows[p] = 20 + next_random(&state) % 41;
    for (int ranks = 2; ranks <= 16; ranks *= 2) {
        wa_arena *arena = new_arena();
        wa_plan_input input = model_input(true, small_costs, rows, 320);
        wa_plan *plan;
        wa_error err;
        WA_MUST(wa_plan_build(&input, ranks, arena, &plan, &err), &err);
        CU_ASSERT_EQUAL(plan->grid.groups, ranks);
        CU_ASSERT(plan->batches[plan->batch_count - 1].rows * (size_t)ranks * 10 < plan->obs_count);
        CU_ASSERT(plan->batches[0].rows > 4 * plan->batches[plan->batch_count - 1].rows);
        wa_arena_close(arena);
    }
}

/* Of equal batches, one for each group, no group takes two. */
static void every_group_has_a_batch_before_any_has_two(void)
{
    static const size_t rows[] = {300, 300, 300, 300, 300, 300, 300, 300};
    wa_arena *arena = new_arena();
    wa_plan_input input = unit_input(rows, 8, 3);
    wa_plan *plan;
    wa_error err;
    input.teams = input.stages = 1;
    WA_MUST(wa_plan_build(&input, 8, arena, &plan, &err), &err);
    CU_ASSERT_EQUAL(plan->grid.groups, 8);
    CU_ASSERT_EQUAL(plan->first_group.batches, 1);
    CU_ASSERT_DOUBLE_EQUAL(plan->flops_until_done, 300.0 * 10.7 * 10, 1e-6);
    wa_arena_close(arena);
}

/* 60 rows are three quarters done while 100 are not: the 55 that are left go to the group with the
 * 60, which is rank 0's, since it begins last. */
static void a_batch_goes_to_the_group_that_is_free_first(void)
{
    static const size_t rows[] = {100, 60, 55};
    wa_arena *arena = new_arena();
    wa_plan_input input = unit_input(rows, 3, 3);
    wa_plan *plan;
    wa_error err;
    input.batch_rows = 100;
    input.teams = input.stages = 1;
    WA_MUST(wa_plan_build(&input, 2, arena, &plan, &err), &err);
    CU_ASSERT_EQUAL(plan->batch_count, 3);
    CU_ASSERT_DOUBLE_EQUAL(plan->flops_until_done, (60.0 + 55.0) * 10.7 * 10, 1e-6);
    CU_ASSERT_EQUAL(plan->first_group.batches, 2);
    CU_ASSERT_EQUAL(plan->first_group.rows, 60 + 55);
    wa_arena_close(arena);
}

/* Of 1 to 8 layers and of 30: all but a quarter, rounded up. */
static void a_group_asks_when_a_quarter_of_its_layers_is_left(void)
{
    static const size_t after[] = {0, 1, 2, 3, 3, 4, 5, 6};
    for (size_t layers = 1; layers <= 8; layers++)
        CU_ASSERT_EQUAL(wa_plan_asks_after(layers), after[layers - 1]);
    CU_ASSERT_EQUAL(wa_plan_asks_after(30), 22);
}

/* Handed out on demand: the small ones at the end even out what a prediction cannot know. */
static void large_batches_come_first(void)
{
    static size_t rows[400];
    uint64_t state = 7;
    for (size_t i = 0; i < 400; i++)
        /* the last prompt is the longest */
        rows[i] = i == 399 ? 700 : 10 + next_random(&state) % 50;
    wa_arena *arena = new_arena();
    wa_plan_input input = unit_input(rows, 400, 3);
    wa_plan *plan;
    wa_error err;
    input.packing_rows = 24.0;
    input.teams = input.stages = 1;
    WA_MUST(wa_plan_build(&input, 4, arena, &plan, &err), &err);
    check_batches(plan, &input);
    CU_ASSERT_EQUAL(plan->batches[0].rows, 700);
    for (size_t b = 1; b < plan->batch_count; b++)
        CU_ASSERT(plan->batches[b].rows <= plan->batches[b - 1].rows);
    CU_ASSERT(plan->batches[plan->batch_count - 1].rows < 100);
    wa_arena_close(arena);
}

static void kept_parts_are_not_computed_again(void)
{
    static const size_t rows[] = {100, 200, 300, 50, 500, 12};
    static const wa_batch kept[] = {{1, 1, 100, 200}, {4, 1, 650, 500}},
                          again[] = {{4, 1, 650, 500}, {4, 1, 650, 500}};
    static const wa_batch expected[] = {{0, 1, 0, 100}, {2, 2, 300, 350}, {5, 1, 1150, 12}};
    static const wa_batch everything[] = {{0, 6, 0, 1162}};
    wa_arena *arena = new_arena();
    wa_plan_input input = unit_input(rows, 6, 3);
    wa_plan *plan;
    wa_error err;
    input.kept = kept;
    input.kept_count = 2;
    WA_MUST(wa_plan_build(&input, 1, arena, &plan, &err), &err);
    CU_ASSERT_EQUAL_FATAL(plan->batch_count, 3);
    CU_ASSERT_EQUAL(memcmp(plan->batches, expected, sizeof expected), 0);
    CU_ASSERT_DOUBLE_EQUAL(plan->flops_per_rank_max, 462.0 * 10.7 * 10, 1e-6);
    check_batches(plan, &input);
    input.kept = everything; /* a run that was killed before it assembled */
    input.kept_count = 1;
    for (int ranks = 1; ranks < 5; ranks++) {
        WA_MUST(wa_plan_build(&input, ranks, arena, &plan, &err), &err);
        CU_ASSERT_EQUAL(plan->batch_count, 0);
        CU_ASSERT_EQUAL(plan->obs_count, 1162);
        check_grid(plan, &input, ranks);
    }
    input.kept = again; /* a prompt twice */
    input.kept_count = 2;
    CU_ASSERT_EQUAL(wa_plan_build(&input, 1, arena, &plan, &err), WA_E_INTERNAL);
    wa_arena_close(arena);
}

static void runs_of_prompts_that_leave_a_gap_are_no_job(void)
{
    static const wa_batch first[] = {{0, 2, 0, 5}}, gap[] = {{3, 1, 9, 1}},
                          twice[] = {{1, 3, 2, 8}}, rest[] = {{2, 2, 5, 5}};
    wa_arena *arena = new_arena();
    wa_batch *all;
    wa_error err;
    WA_MUST(wa_batches_join(rest, 1, first, 1, 4, arena, &all, &err), &err);
    CU_ASSERT(all[0].first_prompt == 0 && all[1].first_prompt == 2);
    CU_ASSERT_EQUAL(wa_batches_join(first, 1, gap, 1, 4, arena, &all, &err), WA_E_INTERNAL);
    CU_ASSERT_EQUAL(wa_batches_join(first, 1, twice, 1, 4, arena, &all, &err), WA_E_INTERNAL);
    CU_ASSERT_EQUAL(wa_batches_join(first, 1, rest, 1, 5, arena, &all, &err), WA_E_INTERNAL);
    wa_arena_close(arena);
}

/* Of an engine whose bits depend on them. */
static void fixed_batches_follow_from_the_job_alone(void)
{
    static const size_t rows[] = {100, 200, 300, 50, 500, 12};
    static const wa_batch kept[] = {{2, 2, 300, 350}};
    wa_arena *arena = new_arena();
    wa_plan_input input = unit_input(rows, 6, 3);
    wa_plan *one, *other;
    wa_error err;
    input.batches_are_fixed = true;
    input.packing_rows = 24.0;
    WA_MUST(wa_plan_build(&input, 1, arena, &one, &err), &err);
    CU_ASSERT_EQUAL_FATAL(one->batch_count, 3);
    for (int ranks = 2; ranks < 20; ranks++) {
        WA_MUST(wa_plan_build(&input, ranks, arena, &other, &err), &err);
        CU_ASSERT_EQUAL_FATAL(other->batch_count, one->batch_count);
        CU_ASSERT_EQUAL(
            memcmp(other->batches, one->batches, one->batch_count * sizeof *one->batches), 0);
    }
    input.kept = kept;
    input.kept_count = 1;
    WA_MUST(wa_plan_build(&input, 3, arena, &other, &err), &err);
    CU_ASSERT_EQUAL_FATAL(other->batch_count, 2); /* what is missing, as it was */
    CU_ASSERT_EQUAL(memcmp(&other->batches[0], &one->batches[0], sizeof *one->batches), 0);
    CU_ASSERT_EQUAL(memcmp(&other->batches[1], &one->batches[2], sizeof *one->batches), 0);
    wa_arena_close(arena);
}

static void little_memory_makes_batches_smaller(void)
{
    static const size_t rows[] = {64, 64, 64, 64, 64, 64, 64, 64};
    wa_arena *arena = new_arena();
    wa_plan_input input = gemma_4b(rows);
    wa_plan *large, *small;
    wa_error err;
    input.prompt_count = 8;
    WA_MUST(wa_plan_build(&input, 1, arena, &large, &err), &err);
    CU_ASSERT_EQUAL(large->max_rows, 512);
    input.node_memory = large->anonymous_bytes / 2;
    WA_MUST(wa_plan_build(&input, 1, arena, &small, &err), &err);
    CU_ASSERT(small->max_rows < 512 && small->anonymous_bytes <= input.node_memory);
    check_batches(small, &input);
    wa_arena_close(arena);
}

/* Logits everywhere, and checks of the kernels and of four layers' encodings. */
static void checks_of_a_4b_model_fit_into_200_mb_too(void)
{
    size_t rows[64];
    wa_arena *arena = new_arena();
    wa_plan_input input = gemma_4b(rows);
    wa_plan *plan;
    wa_error err;
    for (size_t i = 0; i < 64; i++)
        rows[i] = 40;
    input.prompt_count = 64;
    input.logits_all = true;
    input.kernel_check = WA_KERNEL_SAMPLE;
    input.check_memory = (size_t)4 << 20;
    for (int ranks = 1; ranks <= 16; ranks++) {
        WA_MUST(wa_plan_build(&input, ranks, arena, &plan, &err), &err);
        CU_ASSERT(plan->anonymous_bytes <= 200000000);
        CU_ASSERT(ranks > 8 || plan->max_rows > 128);
        check_batches(plan, &input);
    }
    input.batch_rows = 400; /* half of it would be too few */
    WA_MUST(wa_plan_build(&input, 1, arena, &plan, &err), &err);
    CU_ASSERT(plan->max_rows > 256);
    input.batch_rows = 512;
    input.batches_are_fixed = true;
    WA_MUST(wa_plan_build(&input, 1, arena, &plan, &err), &err);
    CU_ASSERT(plan->max_rows > 256); /* smaller batches would give other bits */
    wa_arena_close(arena);
}

/* Two stages of five layers, two members: 39 rows, 3 rows of logits, a head of 3 per row made
 * twice. */
static void a_seat_costs_its_layers_lanes_and_head(void)
{
    static const wa_case_cost costs[] = {COST(1.0, 10), COST(1.0, 20),
                                         COST(0.0, 40)}; /* the third does not run */
    wa_arena *arena = new_arena();
    wa_plan_input input = unit_input(seed_rows, 3, 3);
    wa_plan *plan;
    wa_error err;
    input.cases = costs;
    input.stages = input.teams = 2;
    input.head_flops_per_row = 3.0;
    input.layer_bytes = 1000;
    input.head_bytes = 7;
    WA_MUST(wa_plan_build(&input, 4, arena, &plan, &err), &err);
    CU_ASSERT_EQUAL_FATAL(plan->stage_start[1], 5);
    CU_ASSERT_NOT_EQUAL(plan->case_member[0], plan->case_member[1]);
    size_t own = plan->case_member[0] == 0 ? 10 : 20;
    wa_seat_cost lead = wa_plan_seat_cost(&input, plan, 0, 0);
    CU_ASSERT_EQUAL(lead.lanes, 2);
    CU_ASSERT_DOUBLE_EQUAL(lead.flops, 5 * 39 * 4.9, 1e-9);
    CU_ASSERT_EQUAL(lead.mapped_bytes, 5 * (1000 + own) + 7);
    wa_seat_cost other = wa_plan_seat_cost(&input, plan, 1, 1);
    CU_ASSERT_EQUAL(other.lanes, 1);
    /* its own logits and the reference's */
    CU_ASSERT_DOUBLE_EQUAL(other.flops, 5 * 39 * 2.9 + 2 * 3 * 2 * 3.0, 1e-9);
    CU_ASSERT_EQUAL(other.mapped_bytes, 5 * (1000 + 30 - own) + 7);
    /* and the text */
    CU_ASSERT_DOUBLE_EQUAL(plan->flops_per_rank_max, 5 * 39 * 4.9 + 2 * 3 * 2 * 3.0 + 36 * 3.0,
                           1e-9);
    wa_arena_close(arena);
}

/* What follows from ranks, stages, batches and the job; the unit is the module's own. */
static void checks_cost_what_is_decoded_and_compared(void)
{
    static const wa_compared compared[] = {{600.0, 2400.0}, {200.0, 400.0}};
    wa_case_cost cases[] = {COST(1.0, 0), COST(1.0, 0), COST(1.0, 0)};
    size_t rows[40];
    wa_arena *arena = new_arena();
    wa_plan_input input = unit_input(rows, 40, 3);
    wa_plan *plan;
    wa_error err;
    for (size_t p = 0; p < 40; p++)
        rows[p] = 10;
    input.cases = cases;
    input.stages = input.teams = 1;
    WA_MUST(wa_plan_build(&input, 1, arena, &plan, &err), &err);
    CU_ASSERT_EQUAL(wa_plan_check_costs(&input, plan, 1e9).kernel, 0.0);
    CU_ASSERT_EQUAL(wa_plan_check_costs(&input, plan, 1e9).encoding, 0.0);
    input.compared = compared;
    input.kernel_check = WA_KERNEL_SAMPLE;
    for (size_t c = 0; c < 3; c++)
        cases[c].oracle_numbers = 100.0;
    wa_check_costs one = wa_plan_check_costs(&input, plan, 1e9);
    CU_ASSERT(one.kernel > 0.0 && one.encoding > 0.0);
    CU_ASSERT_EQUAL(one.encoding_bytes, 2800.0);
    input.kernel_check = WA_KERNEL_ALL;
    CU_ASSERT(wa_plan_check_costs(&input, plan, 1e9).kernel > 1.1 * one.kernel);
    input.kernel_check = WA_KERNEL_SAMPLE;
    cases[2].oracle_numbers = 0.0; /* a server's, say */
    CU_ASSERT_DOUBLE_EQUAL(wa_plan_check_costs(&input, plan, 1e9).kernel, one.kernel * 2 / 3,
                           1e-9 * one.kernel);
    cases[2].oracle_numbers = 100.0;
    cases[1].repeats = true; /* its oracle has answered the case before */
    CU_ASSERT_DOUBLE_EQUAL(wa_plan_check_costs(&input, plan, 1e9).kernel, one.kernel * 2 / 3,
                           1e-9 * one.kernel);
    cases[1].repeats = false;
    wa_check_costs faster = wa_plan_check_costs(&input, plan, 2e9); /* products of f64, no more */
    CU_ASSERT(faster.kernel < one.kernel && faster.kernel > one.kernel / 2);
    CU_ASSERT_EQUAL(faster.encoding, one.encoding);

    input.stages = 2; /* each has half of the layers */
    WA_MUST(wa_plan_build(&input, 2, arena, &plan, &err), &err);
    wa_check_costs halves = wa_plan_check_costs(&input, plan, 1e9);
    CU_ASSERT_DOUBLE_EQUAL(halves.encoding, one.encoding / 2, 1e-9 * one.encoding);
    CU_ASSERT(halves.kernel >= one.kernel / 2); /* more batches: each decodes anew */
    input.stages = 1;
    input.teams = 2; /* one of them has the larger vindex */
    WA_MUST(wa_plan_build(&input, 2, arena, &plan, &err), &err);
    CU_ASSERT_DOUBLE_EQUAL(wa_plan_check_costs(&input, plan, 1e9).encoding, one.encoding * 3 / 4,
                           1e-9 * one.encoding);
    CU_ASSERT_EQUAL(wa_plan_check_costs(&input, plan, 1e9).encoding_bytes, 2400.0);
    wa_arena_close(arena);
}

static void every_failing_take_is_reported_as_memory(void)
{
    wa_plan_input input = unit_input(seed_rows, 3, 3);
    wa_status status = WA_E_MEMORY;
    for (size_t k = 1; status == WA_E_MEMORY; k++) {
        wa_arena *arena = new_arena();
        wa_plan *plan;
        wa_error err;
        wa_arena_fail_at(arena, k);
        status = wa_plan_build(&input, 4, arena, &plan, &err);
        CU_ASSERT(status == WA_OK || status == WA_E_MEMORY);
        wa_arena_close(arena);
        CU_ASSERT_FATAL(k < 10000);
    }
    CU_ASSERT_EQUAL(status, WA_OK);
}

WA_SUITE("plan", WA_CASE(the_seed_job_on_two_ranks_is_a_team_of_two),
         WA_CASE(teams_grow_to_one_rank_a_lane_and_further_ranks_are_idle),
         WA_CASE(many_batches_make_groups), WA_CASE(a_batch_for_each_group_is_enough),
         WA_CASE(whole_prompts_are_packed_in_order_and_a_longer_one_is_alone),
         WA_CASE(stages_are_the_fewest_that_nodes_can_hold),
         WA_CASE(layers_are_cut_so_that_the_dearest_stage_is_cheapest),
         WA_CASE(logits_of_all_positions_make_the_head_dearer), WA_CASE(dear_cases_are_dealt_first),
         WA_CASE(cases_of_one_function_are_dealt_together),
         WA_CASE(spread_experts_are_shared_out_and_nothing_is_lost),
         WA_CASE(experts_are_spread_where_a_stage_fits_no_node),
         WA_CASE(an_asked_grid_is_honoured_or_refused_with_what_fits),
         WA_CASE(impossible_input_is_refused),
         WA_CASE(four_lanes_of_a_4b_model_take_less_than_200_mb),
         WA_CASE(seats_and_ranks_are_inverse_and_ranks_beyond_are_idle),
         WA_CASE(any_plan_covers_everything_once),
         WA_CASE(more_ranks_never_make_the_busiest_rank_busier), WA_CASE(ranks_are_busy_and_gain),
         WA_CASE(more_ranks_never_take_longer), WA_CASE(small_batches_even_out_slow_ranks),
         WA_CASE(every_group_has_a_batch_before_any_has_two), WA_CASE(large_batches_come_first),
         WA_CASE(a_batch_goes_to_the_group_that_is_free_first),
         WA_CASE(a_group_asks_when_a_quarter_of_its_layers_is_left),
         WA_CASE(kept_parts_are_not_computed_again),
         WA_CASE(runs_of_prompts_that_leave_a_gap_are_no_job),
         WA_CASE(fixed_batches_follow_from_the_job_alone),
         WA_CASE(little_memory_makes_batches_smaller),
         WA_CASE(checks_of_a_4b_model_fit_into_200_mb_too),
         WA_CASE(a_seat_costs_its_layers_lanes_and_head),
         WA_CASE(checks_cost_what_is_decoded_and_compared),
         WA_CASE(every_failing_take_is_reported_as_memory))

/* Sweeps: sets of ranks by hand, and properties that hold for any audits. */
#include "suite.h"

#include "job/plan.h"

#include <math.h>
#include <string.h>

enum { MOST_AUDITS = 40 };
/* Far above what opening an audit is taken to cost. */
static const double UNIT = 1e15;

static wa_arena *new_arena(void)
{
    wa_arena *arena;
    wa_error err;
    WA_MUST(wa_arena_open("test", (size_t)256 << 20, &arena, &err), &err);
    return arena;
}

/* Time of an audit of so much work, a share of which no further rank makes shorter (Amdahl). */
static void fill_times(double work, double serial, int ranks, double *times)
{
    int sizes[WA_SWEEP_SIZES];
    size_t count = wa_sweep_sizes(ranks, sizes);
    for (size_t i = 0; i < count; i++)
        times[i] = UNIT * work * (serial + (1.0 - serial) / sizes[i]);
}

static wa_sweep *build(const double *times, size_t audits, int ranks, wa_arena *arena)
{
    wa_sweep *sweep;
    wa_error err;
    WA_MUST(wa_sweep_build(times, audits, ranks, arena, &sweep, &err), &err);
    return sweep;
}

static void sizes_are_powers_of_two_and_half_way_between(void)
{
    static const int eight[] = {1, 2, 3, 4, 6, 8}, seven[] = {1, 2, 3, 4, 6, 7},
                     hundred[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 100};
    int sizes[WA_SWEEP_SIZES];
    CU_ASSERT_EQUAL(wa_sweep_sizes(1, sizes), 1);
    CU_ASSERT_EQUAL(sizes[0], 1);
    CU_ASSERT_EQUAL(wa_sweep_sizes(2, sizes), 2);
    CU_ASSERT_EQUAL(sizes[1], 2);
    CU_ASSERT_EQUAL_FATAL(wa_sweep_sizes(8, sizes), 6);
    CU_ASSERT_EQUAL(memcmp(sizes, eight, sizeof eight), 0);
    CU_ASSERT_EQUAL_FATAL(wa_sweep_sizes(7, sizes), 6);
    CU_ASSERT_EQUAL(memcmp(sizes, seven, sizeof seven), 0);
    CU_ASSERT_EQUAL_FATAL(wa_sweep_sizes(100, sizes), 14);
    CU_ASSERT_EQUAL(memcmp(sizes, hundred, sizeof hundred), 0);
    size_t most = wa_sweep_sizes(INT32_MAX, sizes);
    CU_ASSERT(most <= WA_SWEEP_SIZES);
    for (size_t i = 1; i < most; i++)
        CU_ASSERT(sizes[i - 1] < sizes[i]);
    CU_ASSERT_EQUAL(sizes[most - 1], INT32_MAX);
}

static void audits_that_use_all_ranks_run_one_after_another(void)
{
    wa_arena *arena = new_arena();
    int sizes[WA_SWEEP_SIZES];
    double times[3 * WA_SWEEP_SIZES];
    size_t width = wa_sweep_sizes(8, sizes);
    for (size_t a = 0; a < 3; a++)
        fill_times(1.0 + (double)a, 0.0, 8, times + a * width);
    wa_sweep *sweep = build(times, 3, 8, arena);
    CU_ASSERT_EQUAL(sweep->set_count, 1);
    CU_ASSERT_EQUAL(sweep->set_start[0], 0);
    CU_ASSERT_EQUAL(sweep->set_start[1], 8);
    CU_ASSERT_DOUBLE_EQUAL(sweep->flops_until_done / UNIT, 6.0 / 8.0, 1e-3);
    /* 1 + 2 on four ranks, 3 on the others */
    CU_ASSERT_DOUBLE_EQUAL(sweep->flops_side_by_side / UNIT, 6.0 / 8.0, 1e-3);
    char reason[128];
    wa_sweep_reason(sweep, reason, sizeof reason);
    CU_ASSERT_STRING_EQUAL(
        reason, "one after another on all 8 ranks; side by side they would take 1.00 x as long");
    wa_arena_close(arena);
}

/* Four audits that one rank does as fast as two: 1 + 1 on each of two ranks, not 4 in a row. */
static void audits_that_cannot_be_shared_run_side_by_side(void)
{
    wa_arena *arena = new_arena();
    int sizes[WA_SWEEP_SIZES];
    double times[4 * WA_SWEEP_SIZES];
    size_t width = wa_sweep_sizes(2, sizes), dealt[2] = {0, 0};
    for (size_t a = 0; a < 4; a++)
        fill_times(1.0, 1.0, 2, times + a * width);
    wa_sweep *sweep = build(times, 4, 2, arena);
    CU_ASSERT_EQUAL_FATAL(sweep->set_count, 2);
    for (size_t a = 0; a < 4; a++)
        dealt[sweep->audit_set[a]]++;
    CU_ASSERT_EQUAL(dealt[0], 2);
    CU_ASSERT_EQUAL(wa_sweep_set(sweep, 0), 0);
    CU_ASSERT_EQUAL(wa_sweep_set(sweep, 1), 1);
    CU_ASSERT_DOUBLE_EQUAL(sweep->flops_until_done / UNIT, 2.0, 1e-3);
    CU_ASSERT_DOUBLE_EQUAL(sweep->flops_one_by_one / UNIT, 4.0, 1e-3);
    wa_arena_close(arena);
}

/* 9 and 3 units on four ranks, a tenth of each serial: in a row 12 x 0.325 = 3.9; on 3 and 1 ranks
 * max(9 x 0.4, 3) = 3.6. */
static void sets_are_as_large_as_their_work(void)
{
    wa_arena *arena = new_arena();
    int sizes[WA_SWEEP_SIZES];
    double times[2 * WA_SWEEP_SIZES];
    size_t width = wa_sweep_sizes(4, sizes);
    fill_times(3.0, 0.1, 4, times);
    fill_times(9.0, 0.1, 4, times + width);
    wa_sweep *sweep = build(times, 2, 4, arena);
    CU_ASSERT_EQUAL_FATAL(sweep->set_count, 2);
    size_t dear = sweep->audit_set[1];
    CU_ASSERT_EQUAL(sweep->audit_set[0], 1 - dear);
    CU_ASSERT_EQUAL(sweep->set_start[dear + 1] - sweep->set_start[dear], 3);
    CU_ASSERT_DOUBLE_EQUAL(sweep->flops_until_done / UNIT, 3.6, 1e-3);
    CU_ASSERT_DOUBLE_EQUAL(sweep->flops_one_by_one / UNIT, 3.9, 1e-3);
    wa_arena_close(arena);
}

/* Two serial audits and one whose grid wants two ranks, on three: the latter is not on a set of
 * one. */
static void an_audit_gets_the_ranks_its_grid_wants(void)
{
    wa_arena *arena = new_arena();
    int sizes[WA_SWEEP_SIZES];
    double times[3 * WA_SWEEP_SIZES];
    size_t width = wa_sweep_sizes(3, sizes);
    fill_times(1.0, 1.0, 3, times);
    fill_times(1.0, 1.0, 3, times + width);
    fill_times(4.0, 0.0, 3, times + 2 * width);
    times[2 * width] = (double)INFINITY;
    wa_sweep *sweep = build(times, 3, 3, arena);
    size_t set = sweep->audit_set[2];
    CU_ASSERT(sweep->set_start[set + 1] - sweep->set_start[set] >= 2);
    CU_ASSERT(isfinite(sweep->flops_until_done));
    /* now it fits nowhere: it fails at once, and decides nothing */
    for (size_t i = 0; i < width; i++)
        times[2 * width + i] = (double)INFINITY;
    sweep = build(times, 3, 3, arena);
    CU_ASSERT(sweep->set_count >= 2);
    CU_ASSERT_DOUBLE_EQUAL(sweep->flops_until_done / UNIT, 1.0, 1e-3);
    wa_arena_close(arena);
}

/* Audits of 3, 2, 1, 1 and 1 units that cannot be shared, on two ranks: 3 + 1 and 2 + 1 + 1. */
static wa_dealer deal_five(wa_sweep **sweep_out, wa_arena *arena)
{
    static const double units[] = {3.0, 2.0, 1.0, 1.0, 1.0};
    int sizes[WA_SWEEP_SIZES];
    double times[5 * WA_SWEEP_SIZES];
    size_t width = wa_sweep_sizes(2, sizes);
    wa_error err;
    wa_dealer dealer;
    for (size_t a = 0; a < 5; a++)
        fill_times(units[a], 1.0, 2, times + a * width);
    *sweep_out = build(times, 5, 2, arena);
    CU_ASSERT_EQUAL_FATAL((*sweep_out)->set_count, 2);
    WA_MUST(wa_dealer_open(*sweep_out, arena, &dealer, &err), &err);
    return dealer;
}

static void as_predicted_every_set_gets_its_own_audits_in_order(void)
{
    wa_arena *arena = new_arena();
    wa_sweep *sweep;
    wa_dealer dealer = deal_five(&sweep, arena);
    double at[2] = {0.0, 0.0};
    for (int i = 0; i < 5; i++) {
        size_t set = at[0] <= at[1] ? 0 : 1;
        size_t audit = wa_dealer_next(&dealer, set);
        CU_ASSERT_NOT_EQUAL_FATAL(audit, WA_NO_AUDIT);
        CU_ASSERT_EQUAL(sweep->audit_set[audit], set);
        at[set] += sweep->set_time[audit * 2 + set];
    }
    CU_ASSERT_DOUBLE_EQUAL(at[0] / UNIT, 4.0, 1e-3);
    CU_ASSERT_DOUBLE_EQUAL(at[1] / UNIT, 4.0, 1e-3);
    CU_ASSERT_EQUAL(wa_dealer_next(&dealer, 0), WA_NO_AUDIT);
    CU_ASSERT_EQUAL(wa_dealer_next(&dealer, 1), WA_NO_AUDIT);
    wa_arena_close(arena);
}

/* One set is done with everything at once: no audit waits while it is idle, but for none that it
 * would be done with later. */
static void a_set_that_is_done_begins_what_others_have_not(void)
{
    wa_arena *arena = new_arena();
    wa_sweep *sweep;
    wa_dealer dealer = deal_five(&sweep, arena);
    size_t slow = sweep->audit_set[1], fast = 1 - slow, begun[5] = {0};
    CU_ASSERT_EQUAL(wa_dealer_next(&dealer, slow), 1);
    begun[1]++;
    for (int i = 0; i < 4; i++) {
        size_t audit = wa_dealer_next(&dealer, fast);
        CU_ASSERT_NOT_EQUAL_FATAL(audit, WA_NO_AUDIT);
        begun[audit]++;
    }
    for (size_t a = 0; a < 5; a++)
        CU_ASSERT_EQUAL(begun[a], 1);
    CU_ASSERT_EQUAL(wa_dealer_next(&dealer, fast), WA_NO_AUDIT);
    wa_arena_close(arena);
}

/* Set 0 has audits 0 and 2, of 4 each; set 1 has audit 1, and would take 9 for audit 2: longer than
 * set 0 for both. With 8 it begins it. */
static void a_set_leaves_alone_what_it_would_finish_later(void)
{
    static const double small_sets[] = {9.0, 8.0, (double)INFINITY};
    wa_arena *arena = new_arena();
    wa_error err;
    wa_dealer dealer;
    for (size_t i = 0; i < sizeof small_sets / sizeof small_sets[0]; i++) {
        int start[] = {0, 3, 4};
        size_t set_of[] = {0, 1, 0};
        double time[] = {4.0, 9.0, 1.0, 3.0, 4.0, small_sets[i]};
        wa_sweep sweep = {.set_count = 2,
                          .audit_count = 3,
                          .set_start = start,
                          .audit_set = set_of,
                          .set_time = time};
        WA_MUST(wa_dealer_open(&sweep, arena, &dealer, &err), &err);
        CU_ASSERT_EQUAL(wa_dealer_next(&dealer, 1), 1);
        CU_ASSERT_EQUAL(wa_dealer_next(&dealer, 0), 0);
        CU_ASSERT_EQUAL(wa_dealer_next(&dealer, 1), i == 1 ? 2 : WA_NO_AUDIT);
        CU_ASSERT_EQUAL(wa_dealer_next(&dealer, 0), i == 1 ? WA_NO_AUDIT : 2);
    }
    wa_arena_close(arena);
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u; /* Knuth, MMIX */
    return *state >> 33;
}

/* Sets that ask in any order until each is told that there is nothing more. */
static void check_dealing(const wa_sweep *sweep, uint64_t *state, wa_arena *arena)
{
    wa_dealer dealer;
    wa_error err;
    size_t begun[MOST_AUDITS] = {0}, told = 0;
    bool done[70] = {false};
    WA_MUST(wa_dealer_open(sweep, arena, &dealer, &err), &err);
    while (told < sweep->set_count) {
        size_t set = next_random(state) % sweep->set_count;
        if (done[set])
            continue;
        size_t audit = wa_dealer_next(&dealer, set);
        done[set] = audit == WA_NO_AUDIT;
        told += done[set];
        if (!done[set])
            begun[audit]++;
    }
    for (size_t a = 0; a < sweep->audit_count; a++)
        CU_ASSERT_EQUAL(begun[a], 1);
}

static void any_sweep_gives_every_rank_a_set_and_every_audit_a_place(void)
{
    uint64_t state = 11;
    double times[MOST_AUDITS * WA_SWEEP_SIZES];
    size_t shared = 0;
    for (int round = 0; round < 300; round++) {
        wa_arena *arena = new_arena();
        int sizes[WA_SWEEP_SIZES], ranks = (int)(1 + next_random(&state) % 70);
        size_t width = wa_sweep_sizes(ranks, sizes), audits = 1 + next_random(&state) % MOST_AUDITS;
        for (size_t a = 0; a < audits; a++)
            fill_times((double)(next_random(&state) % 100),
                       (double)(next_random(&state) % 11) / 10.0, ranks, times + a * width);
        wa_sweep *sweep = build(times, audits, ranks, arena);
        CU_ASSERT_FATAL(sweep->set_count >= 1 && sweep->set_count <= (size_t)ranks);
        CU_ASSERT(sweep->set_count <= audits);
        CU_ASSERT_EQUAL(sweep->set_start[0], 0);
        CU_ASSERT_EQUAL(sweep->set_start[sweep->set_count], ranks);
        for (size_t s = 0; s < sweep->set_count; s++) {
            CU_ASSERT(sweep->set_start[s] < sweep->set_start[s + 1]);
            CU_ASSERT_EQUAL(wa_sweep_set(sweep, sweep->set_start[s]), s);
            CU_ASSERT_EQUAL(wa_sweep_set(sweep, sweep->set_start[s + 1] - 1), s);
        }
        for (size_t a = 0; a < audits; a++)
            CU_ASSERT(sweep->audit_set[a] < sweep->set_count);
        CU_ASSERT(sweep->flops_until_done <= sweep->flops_one_by_one);
        shared += sweep->set_count > 1;
        check_dealing(sweep, &state, arena);
        wa_arena_close(arena);
    }
    CU_ASSERT(shared > 100 && shared < 300);
}

/* Two prompts of 10 rows, batches of 10, no cases: two ranks take half the time of one, a third has
 * nothing to do. */
static void times_are_those_of_the_plans(void)
{
    static const size_t rows[] = {10, 10};
    wa_arena *arena = new_arena();
    wa_plan_input input = {.layer_count = 4,
                           .attention_flops_per_row = 1.0,
                           .dense_flops_per_row = 2.0,
                           .hidden = 8,
                           .intermediate = 8,
                           .kv_width = 8,
                           .q_width = 8,
                           .vocab = 8,
                           .prompt_rows = rows,
                           .prompt_count = 2,
                           .batch_rows = 10,
                           .nodes = 1};
    static const int sizes[] = {1, 2, 3};
    double times[3];
    wa_error err;
    WA_MUST(wa_sweep_times(&input, sizes, 3, arena, times, &err), &err);
    CU_ASSERT_DOUBLE_EQUAL(times[0], 2 * 10 * 4 * 3.0, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(times[1], 10 * 4 * 3.0, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(times[2], 10 * 4 * 3.0, 1e-9);
    input.stages = 2;
    WA_MUST(wa_sweep_times(&input, sizes, 3, arena, times, &err), &err);
    CU_ASSERT(isinf(times[0]));
    /* two batches through two stages of 2 layers */
    CU_ASSERT_DOUBLE_EQUAL(times[1], 3 * 10 * 2 * 3.0, 1e-9);
    wa_arena_close(arena);
}

WA_SUITE("sweep", WA_CASE(sizes_are_powers_of_two_and_half_way_between),
         WA_CASE(audits_that_use_all_ranks_run_one_after_another),
         WA_CASE(audits_that_cannot_be_shared_run_side_by_side),
         WA_CASE(sets_are_as_large_as_their_work), WA_CASE(an_audit_gets_the_ranks_its_grid_wants),
         WA_CASE(as_predicted_every_set_gets_its_own_audits_in_order),
         WA_CASE(a_set_that_is_done_begins_what_others_have_not),
         WA_CASE(a_set_leaves_alone_what_it_would_finish_later),
         WA_CASE(any_sweep_gives_every_rank_a_set_and_every_audit_a_place),
         WA_CASE(times_are_those_of_the_plans))

/* The choice of a grid (design 10). Costs are counted in floating-point operations. A candidate
 * goes through plan_cases.c, which deals the cases, plan_time.c, which cuts the layers and predicts
 * the time, and plan_rule.c, which packs the batches. */
#include "job/plan_grid.h"

#include "base/bytes.h"
#include "job/plan_cases.h"
#include "job/plan_rule.h"
#include "job/plan_time.h"

#include <assert.h>
#include <limits.h>

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Bytes that the dearest stage touches. Cases of one vindex may share a payload, so this is an
 * upper bound. */
static double stage_bytes(const wa_plan_input *input, int stages, int nodes)
{
    size_t per_stage = (input->layer_count + (size_t)stages - 1) / (size_t)stages;
    double layer = (double)input->layer_bytes, experts = (double)input->experts.bytes;
    double head = (double)input->head_bytes;
    for (size_t i = 0; i < input->case_count; i++) {
        layer += (double)input->cases[i].layer_bytes;
        head += (double)input->cases[i].head_bytes;
        experts += (double)input->cases[i].experts.bytes;
    }
    layer -= experts * (1.0 - 1.0 / nodes);
    return (double)per_stage * layer + head;
}

/* The fewest stages for which a node's memory holds what its ranks map, at most one per node. */
static int choose_stages(const wa_plan_input *input, int limit, double page_cache)
{
    int most = least(limit, input->nodes), stages = 1;
    if (input->node_memory == 0)
        return 1;
    while (stages < most && stage_bytes(input, stages, 1) > page_cache)
        stages++;
    return stages;
}

/* Each member has a lane, or an expert of every layer. */
static int largest_team(const wa_plan_input *input, bool spread)
{
    size_t most = 1 + input->case_count;
    most = spread && input->expert_count > most ? input->expert_count : most;
    return most < INT_MAX ? (int)most : INT_MAX;
}

/*
 * Are the experts of a layer to be spread over a team? Where no number of stages makes a node hold
 * what its ranks map, over as many nodes as it takes: *teams, 0 before, becomes as many ranks.
 */
static bool choose_spreading(const wa_plan_input *input, int ranks, int stages, double page_cache,
                             int *teams)
{
    int each = (ranks + input->nodes - 1) / input->nodes, most = input->nodes / stages, nodes = 2;
    if (input->spreading != WA_SPREADING_BY_PLAN)
        return input->spreading == WA_SPREADING_ALWAYS;
    if (input->experts.bytes == 0 || input->node_memory == 0 || most < 2 ||
        stage_bytes(input, stages, 1) <= page_cache)
        return false;
    while (nodes < most && stage_bytes(input, stages, nodes) > page_cache)
        nodes++;
    if (*teams == 0)
        *teams = least(least(nodes * each, ranks / stages), largest_team(input, true));
    return *teams > each;
}

static wa_status check_asked(const wa_plan_input *input, int ranks, wa_error *err)
{
    int stages = input->stages, teams = input->teams;
    if (stages < 0 || teams < 0)
        return wa_fail(err, WA_E_USAGE, "grid.stages %d, grid.teams %d, expected 0 or more", stages,
                       teams);
    if ((size_t)stages > input->layer_count)
        return wa_fail(err, WA_E_USAGE, "grid.stages is %d, the model has %zu layers", stages,
                       input->layer_count);
    if (input->spreading == WA_SPREADING_ALWAYS && input->expert_count == 0)
        return wa_fail(err, WA_E_USAGE, "grid.experts is spread, but the model has no experts");
    if (teams > largest_team(input, input->spreading == WA_SPREADING_ALWAYS))
        return wa_fail(
            err, WA_E_USAGE, "grid.teams is %d, at most %d fit: the reference and %zu cases%s",
            teams, largest_team(input, input->spreading == WA_SPREADING_ALWAYS), input->case_count,
            input->spreading == WA_SPREADING_ALWAYS ? ", or as many as experts" : "");
    int s = stages == 0 ? 1 : stages, t = teams == 0 ? 1 : teams;
    if (s > ranks || t > ranks || (long long)s * t > ranks)
        return wa_fail(
            err, WA_E_USAGE,
            "grid.stages %d x grid.teams %d needs %lld ranks, found %d; with %d ranks "
            "fit %d stages of 1, or 1 stage of %d",
            s, t, (long long)s * t, ranks, ranks,
            (int)((size_t)ranks < input->layer_count ? (size_t)ranks : input->layer_count),
            (int)((size_t)ranks < 1 + input->case_count ? (size_t)ranks : 1 + input->case_count));
    return WA_OK;
}

/* Everything but the batches themselves, which are made once for the candidate that is chosen. */
static wa_status work_out(const wa_work *work, int ranks, size_t most, wa_grid shape,
                          wa_arena *arena, wa_candidate *out, wa_error *err)
{
    assert(shape.teams > 0);
    int here = ranks / work->input->nodes;
    *out = (wa_candidate){.grid = shape};
    out->helps =
        !work->input->batches_are_fixed && (work->input->nodes == 1 || here % shape.teams == 0);
    out->grid.spread = shape.spread && shape.teams > 1;
    wa_plan_set_groups(out, ranks, work->prompts);
    WA_TRY(wa_plan_deal_cases(work, arena, out, err));
    WA_TRY(wa_plan_cut_layers(work, arena, out, err));
    return wa_plan_choose_rule(work, ranks, most, arena, out, err);
}

/* Every size of team, with as many groups as are left: the quickest; of equals the smaller team. */
static wa_status choose_teams(const wa_work *work, int ranks, size_t most, wa_grid shape,
                              wa_arena *arena, int *out, wa_error *err)
{
    int largest = least(ranks / shape.stages, largest_team(work->input, shape.spread));
    double best = 0.0;
    for (int teams = 1; teams <= largest; teams++) {
        wa_candidate c;
        wa_mark mark = wa_arena_mark(arena);
        shape.teams = teams;
        WA_TRY(work_out(work, ranks, most, shape, arena, &c, err));
        wa_arena_release(arena, mark);
        double time = c.judged;
        if (teams == 1 || time < best) {
            best = time;
            *out = teams;
        }
    }
    return WA_OK;
}

static size_t most_lanes(const wa_candidate *c)
{
    size_t most = 0;
    for (int m = 0; m < c->grid.teams; m++)
        most = c->members[m].lanes > most ? c->members[m].lanes : most;
    return most;
}

static bool fits_memory(const wa_plan_input *input, const wa_plan *plan, int ranks)
{
    size_t here = ((size_t)ranks + (size_t)input->nodes - 1) / (size_t)input->nodes, total;
    return input->node_memory == 0 ||
           (wa_size_mul(here, plan->anonymous_bytes, &total) && total <= input->node_memory);
}

/* No more than a rank should take, or no less without losing time: 256 rows of a 4B model take as
 * long as 512, since its FFN goes through the kernels in tiles of 256 (doc/speed.md). */
static bool is_modest(const wa_plan *plan, size_t most)
{
    enum { AIM_BYTES = 200 * 1000 * 1000, FEW_ROWS = 256 };
    return plan->anonymous_bytes <= AIM_BYTES || most / 2 < FEW_ROWS;
}

static wa_status check_memory(const wa_plan_input *input, const wa_plan *plan, int ranks,
                              wa_error *err)
{
    size_t here = ((size_t)ranks + (size_t)input->nodes - 1) / (size_t)input->nodes;
    if (fits_memory(input, plan, ranks))
        return WA_OK;
    return wa_fail(err, WA_E_MEMORY,
                   "%zu ranks of a node need %zu bytes each, the node has %zu; fewer ranks per "
                   "node, smaller batch.rows or larger grid.teams fit",
                   here, plan->anonymous_bytes, input->node_memory);
}

/* The grid for batches of at most `most` rows. */
static wa_status choose_grid(const wa_work *work, int ranks, size_t most, wa_arena *arena,
                             wa_plan *plan, wa_error *err)
{
    const wa_plan_input *input = work->input;
    int stages = input->stages, teams = input->teams;
    int limit = ranks / (teams == 0 ? 1 : teams);
    if ((size_t)limit > input->layer_count)
        limit = (int)input->layer_count;
    size_t here = ((size_t)ranks + (size_t)input->nodes - 1) / (size_t)input->nodes;
    const wa_packing_rule largest = {.most = most, .least = 1, .groups = 1};
    WA_TRY(wa_work_pack(work, &largest, arena, plan, err));
    double anonymous =
        (double)here * (double)wa_plan_memory(input, plan, 1 + input->case_count, 1, 1);
    double page_cache = (double)input->node_memory - anonymous;
    if (stages == 0)
        stages = choose_stages(input, limit, page_cache);
    wa_grid shape = {.stages = stages};
    shape.spread = choose_spreading(input, ranks, stages, page_cache, &teams);
    if (teams == 0)
        WA_TRY(choose_teams(work, ranks, most, shape, arena, &teams, err));
    shape.teams = teams;

    wa_candidate c;
    WA_TRY(work_out(work, ranks, most, shape, arena, &c, err));
    const wa_packing_rule rule = c.rule;
    WA_TRY(wa_plan_pack_by(work, ranks, &rule, arena, &c, plan, err));
    plan->work = work->all;
    plan->grid = c.grid;
    plan->stage_start = c.stage_start;
    plan->case_member = c.case_member;
    plan->flops_per_rank_max = c.busy_max;
    plan->flops_until_done = c.time;
    plan->first_group = c.first_group;
    plan->predicted_utilisation = c.time > 0.0 ? c.busy_sum / (c.time * c.grid.used) : 1.0;
    plan->anonymous_bytes = wa_plan_memory(input, plan, most_lanes(&c), stages, teams);
    WA_TRY(wa_arena_take(arena, input->vindex_count, sizeof *plan->vindex_member,
                         &plan->vindex_member, err));
    wa_plan_deal_vindexes(input, teams, plan->vindex_member);
    wa_plan_count_spread(input, plan);
    return WA_OK;
}

wa_status wa_plan_choose_grid(const wa_work *work, int ranks, wa_arena *arena, wa_plan *plan,
                              wa_error *err)
{
    const wa_plan_input *input = work->input;
    WA_TRY(check_asked(input, ranks, err));
    for (size_t most = input->batch_rows;; most /= 2) { /* smaller batches need less memory */
        WA_TRY(choose_grid(work, ranks, most, arena, plan, err));
        bool fits = fits_memory(input, plan, ranks) && is_modest(plan, most);
        if (fits || most <= work->longest || most == 1 || input->batches_are_fixed)
            return check_memory(input, plan, ranks, err);
    }
}

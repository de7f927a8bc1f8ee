/* What the cases cost, and which member of a team each is dealt to. */
#include "job/plan_cases.h"

#include "compute/kernel.h"

#include <math.h>
#include <stdlib.h>

/* Logits are made twice: for the normalisers, then for the divergences (design 3). */
static const double HEAD_PASSES = 2.0;

/* --- What they cost --------------------------------------------------------------------------- */

/* Does it run? Else it has no lane. */
static bool runs(const wa_plan_input *input, size_t which)
{
    return input->cases[which].flops_per_row > 0.0;
}

/* Operations of an evaluation on the rank whose lane it is, where its experts may be spread. */
static double kept(const wa_grid *grid, double flops, const wa_experts_cost *experts)
{
    return grid->spread ? flops - experts->flops_per_row : flops;
}

/* Inputs of a case in a layer: x_0 and x_c, which are the same in the first. The mean of all
 * layers, since stages are cut as if these were alike. */
static double inputs_of(const wa_plan_input *input)
{
    return 2.0 - 1.0 / (double)input->layer_count;
}

bool wa_plan_is_answered(const wa_plan_input *input, const int *case_member, size_t which,
                         int member)
{
    while (input->cases[which].repeats) {
        do
            which--;
        while (!runs(input, which));
        if (case_member[which] == member)
            return true;
    }
    return false;
}

/* Of its FFN in a layer, where it is evaluated. */
static double case_ffn_cost(const wa_plan_input *input, const wa_grid *grid, size_t which)
{
    const wa_case_cost *c = &input->cases[which];
    return inputs_of(input) * kept(grid, c->flops_per_row, &c->experts);
}

/* Its own lane, then its FFN. */
static double case_layer_cost(const wa_plan_input *input, const wa_grid *grid, size_t which)
{
    return runs(input, which) ? input->attention_flops_per_row + case_ffn_cost(input, grid, which)
                              : 0.0;
}

static double dense_layer_cost(const wa_plan_input *input, const wa_grid *grid)
{
    return input->attention_flops_per_row + kept(grid, input->dense_flops_per_row, &input->experts);
}

/* A member's share of spread experts, whoever's rows they are: operations per row, and of each
 * matrix once; and bytes of a layer. */
typedef struct expert_share {
    double layer, matrices;
    size_t bytes;
} expert_share;

static expert_share share_of_experts(const wa_plan_input *input, const wa_grid *grid)
{
    expert_share out = {.layer = 0.0};
    double teams = grid->teams;
    if (!grid->spread)
        return out;
    out = (expert_share){input->experts.flops_per_row / teams, input->experts.flops_per_row / teams,
                         input->experts.bytes / (size_t)grid->teams};
    for (size_t i = 0; i < input->case_count; i++) {
        const wa_experts_cost *experts = &input->cases[i].experts;
        if (!runs(input, i))
            continue;
        out.layer += inputs_of(input) * experts->flops_per_row / teams;
        out.matrices += experts->flops_per_row / teams;
        out.bytes += experts->bytes / (size_t)grid->teams;
    }
    return out;
}

/* lane: what its attention and its logits take beside the layers' rows */
static double case_cost(const wa_plan_input *input, const wa_grid *grid, size_t which, double rows,
                        double lane)
{
    double layers = case_layer_cost(input, grid, which);
    return layers > 0.0 ? rows * layers + lane : 0.0;
}

double wa_plan_member_time(const wa_member_cost *m, size_t layers, bool is_last, const wa_amount *a,
                           double packing)
{
    double time = (double)layers *
                  (a->rows * m->layer + a->pairs * m->pair + a->batches * packing * m->matrices);
    return time +
           (is_last ? a->heads * m->head + a->text * m->text + a->batches * packing * m->head_matrix
                    : 0.0);
}

/* --- Dealing the cases ------------------------------------------------------------------------ */

enum { NOBODY = -1 };

/* cost: where its function is answered already, else all of it is added. */
typedef struct dealt {
    double cost;
    size_t which;
} dealt;

static int dearest_first(const void *left, const void *right)
{
    const dealt *a = left, *b = right;
    if (a->cost != b->cost)
        return a->cost < b->cost ? 1 : -1;
    return (a->which > b->which) - (a->which < b->which);
}

/* To the member that then has the least to do. */
static void deal_case(const wa_plan_input *input, dealt what, double rows, double *load,
                      wa_candidate *c)
{
    const wa_case_cost *cost = &input->cases[what.which];
    double ffn = case_ffn_cost(input, &c->grid, what.which), least_load = INFINITY;
    int to = 0;
    for (int m = 0; m < c->grid.teams; m++) {
        bool evaluated =
            cost->repeats && !wa_plan_is_answered(input, c->case_member, what.which, m);
        double then = load[m] + what.cost + (evaluated ? rows * ffn : 0.0);
        if (then < least_load) {
            least_load = then;
            to = m;
        }
    }
    bool answered = wa_plan_is_answered(input, c->case_member, what.which, to);
    c->members[to].layer += case_layer_cost(input, &c->grid, what.which) - (answered ? ffn : 0.0);
    c->members[to].lanes += what.cost > 0.0 ? 1 : 0;
    c->members[to].matrices += answered ? 0.0 : kept(&c->grid, cost->flops_per_row, &cost->experts);
    c->case_member[what.which] = to;
    load[to] = least_load;
}

wa_status wa_plan_deal_cases(const wa_work *work, wa_arena *arena, wa_candidate *c, wa_error *err)
{
    const wa_plan_input *input = work->input;
    int teams = c->grid.teams;
    dealt *order;
    double *load;
    WA_TRY(wa_arena_take(arena, input->case_count, sizeof *order, &order, err));
    WA_TRY(wa_arena_take(arena, (size_t)teams, sizeof *load, &load, err));
    WA_TRY(wa_arena_take(arena, (size_t)teams, sizeof *c->members, &c->members, err));
    WA_TRY(wa_arena_take(arena, input->case_count, sizeof *c->case_member, &c->case_member, err));

    wa_amount job = work->all;
    double rows = job.rows * (double)input->layer_count;
    double head = HEAD_PASSES * input->head_flops_per_row;
    double lane =
        job.pairs * (double)input->layer_count * input->attention_flops_per_pair + job.heads * head;
    c->members[0].layer = dense_layer_cost(input, &c->grid);
    c->members[0].lanes = 1;
    c->members[0].text = input->head_flops_per_row;
    c->members[0].matrices = kept(&c->grid, input->dense_flops_per_row, &input->experts);
    load[0] = rows * c->members[0].layer + lane + job.text * c->members[0].text;
    for (size_t i = 0; i < input->case_count; i++) {
        double saved = input->cases[i].repeats ? rows * case_ffn_cost(input, &c->grid, i) : 0.0;
        order[i] = (dealt){case_cost(input, &c->grid, i, rows, lane) - saved, i};
    }
    qsort(order, input->case_count, sizeof *order, dearest_first);

    for (size_t i = 0; i < input->case_count; i++)
        c->case_member[i] = NOBODY;
    for (size_t i = 0; i < input->case_count; i++)
        deal_case(input, order[i], rows, load, c);
    /* A member without lane 0 makes the reference's logits too: divergences need both. */
    expert_share share = share_of_experts(input, &c->grid);
    for (int m = 0; m < teams; m++) {
        c->members[m].layer += share.layer;
        c->members[m].matrices += share.matrices;
        c->members[m].pair = input->attention_flops_per_pair * (double)c->members[m].lanes;
        c->members[m].matrices += c->members[m].lanes > 0 ? input->attention_flops_per_row : 0.0;
        c->members[m].head_matrix = head;
        c->members[m].head = head * (double)(c->members[m].lanes + (m == 0 ? 0 : 1));
    }
    return WA_OK;
}

void wa_plan_deal_vindexes(const wa_plan_input *input, int teams, int *vindex_member)
{
    for (size_t v = 0; v < input->vindex_count; v++)
        vindex_member[v] = (int)((v + 1) % (size_t)teams);
}

/* --- What a seat costs ------------------------------------------------------------------------ */

wa_seat_cost wa_plan_seat_cost(const wa_plan_input *input, const wa_plan *plan, int stage,
                               int member)
{
    bool is_lead = member == 0, is_last = stage == plan->grid.stages - 1;
    const wa_grid *grid = &plan->grid;
    expert_share share = share_of_experts(input, grid);
    wa_member_cost cost = {.layer = share.layer, .lanes = is_lead ? 1 : 0};
    size_t head_bytes = input->head_bytes;
    size_t layer_bytes =
        input->layer_bytes - (grid->spread ? input->experts.bytes : 0) + share.bytes;
    if (is_lead) {
        cost.layer += dense_layer_cost(input, grid);
        cost.text = input->head_flops_per_row;
    }
    for (size_t i = 0; i < input->case_count; i++) {
        double layer = case_layer_cost(input, grid, i);
        if (plan->case_member[i] != member || layer <= 0.0)
            continue;
        if (wa_plan_is_answered(input, plan->case_member, i, member))
            layer -= case_ffn_cost(input, grid, i);
        cost.layer += layer;
        cost.lanes++;
        head_bytes += input->cases[i].head_bytes;
        layer_bytes +=
            input->cases[i].layer_bytes - (grid->spread ? input->cases[i].experts.bytes : 0);
    }
    cost.head = HEAD_PASSES * input->head_flops_per_row * (double)(cost.lanes + (is_lead ? 0 : 1));
    size_t layers = plan->stage_start[stage + 1] - plan->stage_start[stage];
    cost.pair = input->attention_flops_per_pair * (double)cost.lanes;
    return (wa_seat_cost){
        .flops = wa_plan_member_time(&cost, layers, is_last, &plan->work, 0.0) / plan->grid.groups,
        .mapped_bytes = layers * layer_bytes + (is_last || stage == 0 ? head_bytes : 0),
        .lanes = cost.lanes};
}

void wa_plan_count_spread(const wa_plan_input *input, wa_plan *plan)
{
    size_t calls = 1, tile = wa_tile_rows(input->intermediate), tiles = 0;
    double others = plan->grid.teams - 1, layers = (double)input->expert_layers;
    plan->spread_rows = plan->spread_asks = 0.0;
    if (!plan->grid.spread)
        return;
    for (size_t i = 0; i < input->case_count; i++)
        calls += runs(input, i) && input->cases[i].experts.bytes > 0 ? 1 : 0;
    for (size_t b = 0; b < plan->batch_count; b++)
        tiles += (plan->batches[b].rows + tile - 1) / tile;
    /* the reference on one input, each case on two */
    double evaluations = 1.0 + inputs_of(input) * (double)(calls - 1);
    plan->spread_asks = layers * others * (double)(tiles * calls);
    plan->spread_rows = layers * evaluations * plan->work.rows * (double)input->expert_choices *
                        others / plan->grid.teams;
}

/* The choice of a grid (design 10). Costs are counted in floating-point operations. */
#include "job/plan_grid.h"

#include "base/bytes.h"
#include "compute/kernel.h"
#include "measure/logits.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

/* Logits are made twice: for the normalisers, then for the divergences (design 3). */
static const double HEAD_PASSES = 2.0;
/* The slowest rank is taken to need so much more time than the fastest when ways are compared:
 * clocks, heat, neighbours and page caches differ (measured on a shared host of 16 cores: 1.2 to
 * 1.7 times). Small batches at the end even that out. */
#define SPREAD 0.3

/* Of the time that a rank of a team waits for another one, the share that it helps with that one's
 * products: the rest of the work is nobody else's. */
#define HELPED 0.75

/* What one team member does: operations per row and per pair of a layer, per row of logits, and per
 * row of the text; and of its matrices, each once, per row: of a layer, and of the head. */
typedef struct member_cost {
    double layer, pair, head, text;
    double matrices, head_matrix;
    size_t lanes;
} member_cost;

/* One candidate, worked out. Arrays are of the arena. */
typedef struct candidate {
    wa_grid grid;
    size_t *stage_start;
    int *case_member;
    member_cost *members; /* [teams] */
    bool helps;           /* each team is of one host, and its products are ours */
    wa_packing_rule rule; /* how its batches are packed */
    size_t batches;
    /* operations until the last batch is done, decoding and packing among them */
    double time;
    double judged;             /* the same where ranks are not alike: what decides */
    double busy_max, busy_sum; /* of any rank, products alone; of all used ranks, all operations */
    wa_plan_share first_group;
} candidate;

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* --- Dealing the cases ------------------------------------------------------------------------ */

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

/* Inputs of a case in a layer: x_0 and x_c, which are the same in the first. The mean of all layers,
 * since stages are cut as if these were alike. */
static double inputs_of(const wa_plan_input *input)
{
    return 2.0 - 1.0 / (double)input->layer_count;
}

/* Is it the same function as another case that the member has been dealt already? That one's FFN
 * answers it. */
static bool is_answered(const wa_plan_input *input, const int *case_member, size_t which,
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
                      candidate *c)
{
    const wa_case_cost *cost = &input->cases[what.which];
    double ffn = case_ffn_cost(input, &c->grid, what.which), least_load = INFINITY;
    int to = 0;
    for (int m = 0; m < c->grid.teams; m++) {
        bool evaluated = cost->repeats && !is_answered(input, c->case_member, what.which, m);
        double then = load[m] + what.cost + (evaluated ? rows * ffn : 0.0);
        if (then < least_load) {
            least_load = then;
            to = m;
        }
    }
    bool answered = is_answered(input, c->case_member, what.which, to);
    c->members[to].layer += case_layer_cost(input, &c->grid, what.which) - (answered ? ffn : 0.0);
    c->members[to].lanes += what.cost > 0.0 ? 1 : 0;
    c->members[to].matrices += answered ? 0.0 : kept(&c->grid, cost->flops_per_row, &cost->experts);
    c->case_member[what.which] = to;
    load[to] = least_load;
}

/* Dearest first, each to the member with the least to do; the lead has lane 0 already. */
static wa_status deal_cases(const wa_work *work, wa_arena *arena, candidate *c, wa_error *err)
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

/* Encoding checks: each vindex to the member with the fewest, lead last, since it has lane 0. */
static void deal_vindexes(const wa_plan_input *input, int teams, int *vindex_member)
{
    for (size_t v = 0; v < input->vindex_count; v++)
        vindex_member[v] = (int)((v + 1) % (size_t)teams);
}

/* --- Cutting the layers ----------------------------------------------------------------------- */

/* Layers of a stage when the last has `last` and the others share the rest evenly, longer ones
 * first. */
static size_t stage_layers(size_t layers, size_t stages, size_t last, size_t stage)
{
    if (stage == stages - 1)
        return last;
    size_t rest = layers - last, share = stages - 1;
    return rest / share + (stage < rest % share ? 1 : 0);
}

/* Operations of one member at one stage. packing: rows that decoding and packing a matrix for a
 * batch costs; 0 = only what is computed counts. */
static double member_time(const member_cost *m, size_t layers, bool is_last, const wa_amount *a,
                          double packing)
{
    double time = (double)layers *
                  (a->rows * m->layer + a->pairs * m->pair + a->batches * packing * m->matrices);
    return time +
           (is_last ? a->heads * m->head + a->text * m->text + a->batches * packing * m->head_matrix
                    : 0.0);
}

/* Ranks are slow by turns: multiples of the golden ratio are spread evenly over any number of them.
 * A negative spread is the same the other way round. */
static double slowness(double spread, int rank)
{
    double at = 0.6180339887498949 * rank, share = at - (double)(long long)at;
    return 1.0 + (spread < 0.0 ? -spread * (1.0 - share) : spread * share);
}

/* Of a group's stage, whose first rank is `lead`. Members of one host that are done help the
 * others. */
static double stage_time(const candidate *c, size_t layers, bool is_last, const wa_amount *a,
                         double packing, double spread, int lead)
{
    double most = 0.0, sum = 0.0;
    for (int m = 0; m < c->grid.teams; m++) {
        double own =
            member_time(&c->members[m], layers, is_last, a, packing) * slowness(spread, lead + m);
        most = own > most ? own : most;
        sum += own;
    }
    return most - (c->helps ? HELPED * (most - sum / c->grid.teams) : 0.0);
}

/* Cut so that the dearest stage is cheapest. All layers cost the same, the head is the last
 * stage's: the only choice is how many layers the last stage has. */
static wa_status cut_layers(const wa_work *work, wa_arena *arena, candidate *c, wa_error *err)
{
    size_t layers = work->input->layer_count, stages = (size_t)c->grid.stages, best = layers;
    const wa_amount *job = &work->all;
    double best_time = 0.0;
    for (size_t last = 1; stages > 1 && last <= layers - (stages - 1); last++) {
        double end = stage_time(c, last, true, job, 0.0, 0.0, 0);
        double other =
            stage_time(c, stage_layers(layers, stages, last, 0), false, job, 0.0, 0.0, 0);
        double time = end > other ? end : other;
        if (last == 1 || time <= best_time) {
            best_time = time;
            best = last;
        }
    }
    WA_TRY(wa_arena_take(arena, stages + 1, sizeof *c->stage_start, &c->stage_start, err));
    for (size_t s = 0; s < stages; s++)
        c->stage_start[s + 1] = c->stage_start[s] + stage_layers(layers, stages, best, s);
    return WA_OK;
}

/* --- Predicting the time ---------------------------------------------------------------------- */

/* Groups by when they ask for a batch, which is shortly before they are free for it: a binary heap,
 * so that many batches cost little. */
typedef struct waiting {
    double asks_at;
    size_t group, given; /* batches */
} waiting;

/* Nobody is given two batches before everybody has one, and rank 0's group gets its first after the
 * others. */
static bool comes_before(const waiting *a, const waiting *b)
{
    if (a->asks_at != b->asks_at)
        return a->asks_at < b->asks_at;
    return a->given < b->given ||
           (a->given == b->given && (b->group == 0 || a->group < b->group) && a->group != 0);
}

static void sink_top(waiting *heap, size_t count)
{
    for (size_t at = 0;;) {
        size_t child = 2 * at + 1;
        if (child >= count)
            return;
        if (child + 1 < count && comes_before(&heap[child + 1], &heap[child]))
            child++;
        if (!comes_before(&heap[child], &heap[at]))
            return;
        waiting moved = heap[at];
        heap[at] = heap[child];
        heap[child] = moved;
        at = child;
    }
}

typedef struct timeline {
    waiting *heap;    /* [groups] */
    double *free_at;  /* [groups, stages] */
    wa_amount *given; /* [groups] */
    double packing;   /* of member_time */
    double spread;    /* of slowness */
} timeline;

static void add_amount(wa_amount *sum, const wa_amount *more)
{
    sum->batches += more->batches;
    sum->rows += more->rows;
    sum->pairs += more->pairs;
    sum->heads += more->heads;
    sum->text += more->text;
}

/* One batch through the stages of the group that asks first. Returns the group. */
static size_t run_batch(const candidate *c, const wa_amount *batch, timeline *t)
{
    size_t stages = (size_t)c->grid.stages, group = t->heap[0].group;
    double *free_at = t->free_at + group * stages, at = t->heap[0].asks_at;
    for (size_t s = 0; s < stages; s++) {
        double start = at > free_at[s] ? at : free_at[s];
        size_t layers = c->stage_start[s + 1] - c->stage_start[s];
        int lead = ((int)s * c->grid.groups + (int)group) * c->grid.teams;
        if (s == 0)
            t->heap[0].asks_at = start + stage_time(c, wa_plan_asks_after(layers), false, batch,
                                                    t->packing, t->spread, lead);
        at = start + stage_time(c, layers, s == stages - 1, batch, t->packing, t->spread, lead);
        free_at[s] = at;
    }
    add_amount(&t->given[group], batch);
    t->heap[0].given++;
    sink_top(t->heap, (size_t)c->grid.groups);
    return group;
}

/* What the members of a group's stage do. */
static void sum_busy(candidate *c, size_t stage, const wa_amount *given, double packing)
{
    size_t layers = c->stage_start[stage + 1] - c->stage_start[stage];
    bool is_last = stage + 1 == (size_t)c->grid.stages;
    for (int m = 0; m < c->grid.teams; m++) {
        double products = member_time(&c->members[m], layers, is_last, given, 0.0);
        c->busy_sum += member_time(&c->members[m], layers, is_last, given, packing);
        c->busy_max = products > c->busy_max ? products : c->busy_max;
    }
}

/* Batches are handed out in order, on demand; messages are taken to cost nothing. */
static wa_status predict(const wa_work *work, const wa_plan *plan, double spread, wa_arena *arena,
                         candidate *c, wa_error *err)
{
    size_t groups = (size_t)c->grid.groups, stages = (size_t)c->grid.stages;
    timeline t = {.packing = work->input->packing_rows, .spread = spread};
    WA_TRY(wa_arena_take(arena, groups, sizeof *t.heap, &t.heap, err));
    WA_TRY(wa_arena_take(arena, groups * stages, sizeof *t.free_at, &t.free_at, err));
    WA_TRY(wa_arena_take(arena, groups, sizeof *t.given, &t.given, err));
    c->time = c->busy_max = c->busy_sum = 0.0;
    c->first_group = (wa_plan_share){0};
    for (size_t g = 0; g < groups; g++)
        t.heap[g].group = g + 1 < groups ? g + 1 : 0;
    for (size_t b = 0; b < plan->batch_count; b++) {
        wa_amount batch = wa_work_amount(work, &plan->batches[b]);
        if (run_batch(c, &batch, &t) == 0) {
            c->first_group.batches++;
            c->first_group.rows += plan->batches[b].rows;
            c->first_group.prompts += plan->batches[b].prompt_count;
        }
    }

    for (size_t g = 0; g < groups; g++) {
        double done = t.free_at[g * stages + stages - 1];
        c->time = done > c->time ? done : c->time;
        for (size_t s = 0; s < stages; s++)
            sum_busy(c, s, &t.given[g], t.packing);
    }
    return WA_OK;
}

/* --- Cutting the batches ---------------------------------------------------------------------- */

/* Groups that have a batch, of as many as the ranks make. */
static void set_groups(candidate *c, int ranks, size_t batches)
{
    assert(c->grid.stages > 0 && c->grid.teams > 0);
    int fit = ranks / (c->grid.stages * c->grid.teams);
    c->grid.groups = batches == 0 ? 1 : (size_t)fit < batches ? fit : (int)batches;
    c->grid.used = c->grid.groups * c->grid.stages * c->grid.teams;
    c->grid.idle = ranks - c->grid.used;
}

static wa_status pack_by(const wa_work *work, int ranks, const wa_packing_rule *rule,
                         wa_arena *arena, candidate *c, wa_plan *plan, wa_error *err)
{
    c->rule = *rule;
    WA_TRY(wa_work_pack(work, rule, arena, plan, err));
    c->batches = plan->batch_count;
    set_groups(c, ranks, plan->batch_count);
    return predict(work, plan, 0.0, arena, c, err);
}

/* Nobody knows which rank is slow: the mean of ranks that are alike, counted twice, and of two ways
 * in which they are not. Without help, which ranks that wait for whatever reason give to others: it
 * speaks for no way. */
static wa_status judge(const wa_work *work, const wa_plan *plan, wa_arena *arena, candidate *c,
                       wa_error *err)
{
    static const double spreads[] = {0.0, 0.0, SPREAD, -SPREAD};
    enum { WAYS = sizeof spreads / sizeof spreads[0] };
    candidate other = *c;
    other.helps = false;
    c->judged = 0.0;
    for (size_t i = 0; i < WAYS; i++) {
        WA_TRY(predict(work, plan, spreads[i], arena, &other, err));
        c->judged += other.time / WAYS;
    }
    return WA_OK;
}

/* Is it quicker than what was tried before, by more than a prediction can tell? */
static wa_status try_rule(const wa_work *work, int ranks, const wa_packing_rule *rule,
                          wa_arena *arena, const candidate *c, candidate *best, wa_error *err)
{
    wa_plan tried;
    candidate now = *c;
    wa_mark mark = wa_arena_mark(arena);
    WA_TRY(pack_by(work, ranks, rule, arena, &now, &tried, err));
    WA_TRY(judge(work, &tried, arena, &now, err));
    wa_arena_release(arena, mark);
    if (best->batches == 0 || now.judged < 0.98 * best->judged)
        *best = now;
    return WA_OK;
}

/* Of a group's share of what is left, in sixths: what the first batches may take. */
enum { HALF = 3, MOST_SIXTHS = 5 };

/* Rows of a batch below which packing a matrix costs twice its products. */
static size_t smallest_batch(const wa_plan_input *input)
{
    return 1 + (size_t)(input->packing_rows / 2.0);
}

/* Large batches and ever smaller ones after them, down to the smallest, four or sixteen times that.
 * The first take three, four or five sixths of a group's share: more of it where that saves packing.
 * Sizes that no batch reaches are not tried. */
static wa_status try_tails(const wa_work *work, int ranks, size_t most, size_t fit, wa_arena *arena,
                           const candidate *c, candidate *best, wa_error *err)
{
    size_t smallest = smallest_batch(work->input);
    wa_packing_rule rule = {.groups = fit, .dearest_first = true};
    for (rule.sixths = HALF; rule.sixths <= (fit > 1 ? MOST_SIXTHS : HALF); rule.sixths++) {
        rule.most = most;
        rule.least = smallest;
        size_t first = wa_packing_target(&rule, work->rows);
        while (rule.most / 2 >= first)
            rule.most /= 2;
        for (; rule.most >= smallest; rule.most /= 2)
            for (rule.least = smallest; rule.least <= 16 * smallest && rule.least < rule.most;
                 rule.least *= 4)
                WA_TRY(try_rule(work, ranks, &rule, arena, c, best, err));
    }
    return WA_OK;
}

/* As many equal ones for every group. */
static wa_status try_shares(const wa_work *work, int ranks, size_t most, size_t fit,
                            wa_arena *arena, const candidate *c, candidate *best, wa_error *err)
{
    enum { SHARES = 8 };
    wa_packing_rule rule = {.least = 1, .groups = 1};
    for (size_t share = 1; share <= SHARES; share++) {
        rule.most = wa_size_min((work->rows + fit * share - 1) / (fit * share), most);
        WA_TRY(try_rule(work, ranks, &rule, arena, c, best, err));
    }
    return WA_OK;
}

/* Smaller batches let stages and groups begin and end together, but each decodes and packs every
 * matrix again. Where a group has many of the largest it gets those, and smaller ones at the end;
 * else every way is tried. */
static wa_status choose_rule(const wa_work *work, int ranks, size_t most, wa_arena *arena,
                             candidate *c, wa_error *err)
{
    enum { MANY = 16 };
    size_t fit = (size_t)(ranks / (c->grid.stages * c->grid.teams));
    bool alone = fit * (size_t)c->grid.stages == 1 || work->input->batches_are_fixed;
    const wa_packing_rule largest = {.most = most,
                                     .least = smallest_batch(work->input),
                                     .groups = alone ? 1 : fit,
                                     .sixths = HALF,
                                     .dearest_first = !alone};
    candidate best = {.batches = 0};
    WA_TRY(try_rule(work, ranks, &largest, arena, c, &best, err));
    if (!alone && best.batches < MANY * fit) {
        WA_TRY(try_shares(work, ranks, most, fit, arena, c, &best, err));
        WA_TRY(try_tails(work, ranks, most, fit, arena, c, &best, err));
    }
    *c = best;
    return WA_OK;
}

/* --- Choosing --------------------------------------------------------------------------------- */

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
                          wa_arena *arena, candidate *out, wa_error *err)
{
    assert(shape.teams > 0);
    int here = ranks / work->input->nodes;
    *out = (candidate){.grid = shape};
    out->helps =
        !work->input->batches_are_fixed && (work->input->nodes == 1 || here % shape.teams == 0);
    out->grid.spread = shape.spread && shape.teams > 1;
    set_groups(out, ranks, work->prompts);
    WA_TRY(deal_cases(work, arena, out, err));
    WA_TRY(cut_layers(work, arena, out, err));
    return choose_rule(work, ranks, most, arena, out, err);
}

/* Every size of team, with as many groups as are left: the quickest; of equals the smaller team. */
static wa_status choose_teams(const wa_work *work, int ranks, size_t most, wa_grid shape,
                              wa_arena *arena, int *out, wa_error *err)
{
    int largest = least(ranks / shape.stages, largest_team(work->input, shape.spread));
    double best = 0.0;
    for (int teams = 1; teams <= largest; teams++) {
        candidate c;
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

wa_seat_cost wa_plan_seat_cost(const wa_plan_input *input, const wa_plan *plan, int stage,
                               int member)
{
    bool is_lead = member == 0, is_last = stage == plan->grid.stages - 1;
    const wa_grid *grid = &plan->grid;
    expert_share share = share_of_experts(input, grid);
    member_cost cost = {.layer = share.layer, .lanes = is_lead ? 1 : 0};
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
        if (is_answered(input, plan->case_member, i, member))
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
        .flops = member_time(&cost, layers, is_last, &plan->work, 0.0) / plan->grid.groups,
        .mapped_bytes = layers * layer_bytes + (is_last || stage == 0 ? head_bytes : 0),
        .lanes = cost.lanes};
}

static size_t most_lanes(const candidate *c)
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

/* Every expert is taken to be chosen equally often, and each batch to ask every member. */
static void count_spread(const wa_plan_input *input, wa_plan *plan)
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

    candidate c;
    WA_TRY(work_out(work, ranks, most, shape, arena, &c, err));
    const wa_packing_rule rule = c.rule;
    WA_TRY(pack_by(work, ranks, &rule, arena, &c, plan, err));
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
    deal_vindexes(input, teams, plan->vindex_member);
    count_spread(input, plan);
    return WA_OK;
}

wa_status wa_plan_choose_grid(const wa_work *work, int ranks, wa_arena *arena, wa_plan *plan,
                              wa_error *err)
{
    const wa_plan_input *input = work->input;
    WA_TRY(check_asked(input, ranks, err));
    for (size_t most = input->batch_rows;; most /= 2) { /* smaller batches need less memory */
        WA_TRY(choose_grid(work, ranks, most, arena, plan, err));
        if (fits_memory(input, plan, ranks) || most <= work->longest || most == 1 ||
            input->batches_are_fixed)
            return check_memory(input, plan, ranks, err);
    }
}

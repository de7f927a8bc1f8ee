/*
 * A layer with experts: the rows that chose an expert are gathered, go through its FFN together,
 * and what comes out is added to them by its weight, experts in ascending order. An expert is
 * decoded when some row chose it, for all inputs at once. Where the experts are spread over a team
 * (wa_expert_spread), all rows are gathered first, and whoever has an expert runs it.
 */
#include "compute/route.h"
#include "path/fault.h"
#include "path/walk.h"

#include <math.h>

/* One tile. Rows are those of all inputs, one input after the other. */
typedef struct gathering {
    wa_walk *walk;
    wa_tile tile;
    wa_experts experts;   /* the layer's */
    wa_expert_feed *feed; /* of its experts; the shared one is the model's, and decoded */
    wa_routing routing;   /* [rows] */
    size_t rows;
    size_t *start; /* [count + 1] first place of each expert in `place` */
    size_t *place; /* [rows * chosen] row * chosen + rank, by expert */
    float *x, *y;  /* [tile.rows, H] of the rows that go through one FFN together */
    float *weight; /* [tile.rows] */
} gathering;

/* By decoded rows. */
static wa_status feed_decoded(wa_walk *walk, const wa_expert *expert, size_t rows, const float *x,
                              float *y)
{
    const wa_walk_layer *l = walk->layer;
    size_t features = expert->up.rows;
    float *act = walk->act[0], *up = walk->up[0];
    const wa_operand to_gate = {.x = x, .y = act}, to_up = {.x = x, .y = up};
    const wa_operand to_down = {.x = act, .y = y};
    wa_gemm_rows(&expert->gate, rows, l->hidden, features, &to_gate, 1, expert->gate_bias,
                 walk->scratch);
    wa_gemm_rows(&expert->up, rows, l->hidden, features, &to_up, 1, expert->up_bias, walk->scratch);
    wa_activate_gated(l->activation, act, up, act, rows * features);
    wa_gemm_rows(&expert->down, rows, features, l->hidden, &to_down, 1, expert->down_bias,
                 walk->scratch);
    return WA_OK;
}

/* How a case's experts are fed. */
static wa_expert_feed *feed_of(const wa_case *which)
{
    return which->kernel == WA_LABEL_EXPERTS_Q8K ? wa_q8k_feed : feed_decoded;
}

static size_t row_of(const gathering *g, size_t place)
{
    return place / g->experts.chosen;
}

static const float *input_row(const gathering *g, size_t row)
{
    const wa_walk_io *io = &g->walk->io[row / g->tile.rows];
    return io->x + (g->tile.first + row % g->tile.rows) * g->walk->layer->hidden;
}

static float *output_row(const gathering *g, size_t row)
{
    const wa_walk_io *io = &g->walk->io[row / g->tile.rows];
    return io->y + (g->tile.first + row % g->tile.rows) * g->walk->layer->hidden;
}

static wa_status open_gathering(wa_walk *walk, wa_tile tile, gathering *g)
{
    wa_arena *arena = walk->scratch->arena;
    size_t places, floats;
    *g = (gathering){
        .walk = walk, .tile = tile, .experts = *walk->layer->experts, .feed = feed_of(walk->which)};
    wa_fault_experts(walk->which, walk->layer, &g->experts);
    const wa_experts *experts = &g->experts;
    if (!wa_size_mul(walk->io_count, tile.rows, &g->rows) ||
        !wa_size_mul(g->rows, experts->chosen, &places) ||
        !wa_size_mul(tile.rows, walk->layer->hidden, &floats))
        return wa_fail(walk->err, WA_E_MEMORY, "%zu rows of %zu values overflow", tile.rows,
                       walk->layer->hidden);
    WA_TRY(wa_routing_open(arena, experts, g->rows, &g->routing, walk->err));
    WA_TRY(wa_arena_take(arena, experts->count + 1, sizeof *g->start, &g->start, walk->err));
    WA_TRY(wa_arena_take_raw(arena, places, sizeof *g->place, &g->place, walk->err));
    WA_TRY(wa_arena_take_raw(arena, tile.rows, sizeof *g->weight, &g->weight, walk->err));
    WA_TRY(wa_arena_take_raw(arena, floats, sizeof *g->x, &g->x, walk->err));
    return wa_arena_take_raw(arena, floats, sizeof *g->y, &g->y, walk->err);
}

static wa_status route(gathering *g)
{
    const wa_experts *experts = &g->experts;
    for (size_t i = 0; i < g->walk->io_count; i++) {
        size_t first = i * g->tile.rows;
        wa_routing part = {.expert = g->routing.expert + first * experts->chosen,
                           .weight = g->routing.weight + first * experts->chosen,
                           .margin = g->routing.margin + first * experts->chosen};
        const wa_walk_io *io = &g->walk->io[i];
        if (io->routing != NULL && io->routing->logits != NULL)
            part.logits = io->routing->logits + g->tile.first * experts->count;
        const int32_t *through = io->through;
        if (through != NULL)
            through += g->tile.first * experts->chosen;
        WA_TRY(wa_route_rows(experts, g->tile.rows, input_row(g, first), through, g->walk->scratch,
                             &part, g->walk->err));
    }
    wa_fault_routing(g->walk->which, g->walk->layer, g->rows, &g->routing);
    return WA_OK;
}

/* What the caller wants to know of it. */
static void tell_routing(const gathering *g)
{
    size_t chosen = g->experts.chosen, count = g->tile.rows * chosen;
    for (size_t i = 0; i < g->walk->io_count; i++) {
        const wa_routing *out = g->walk->io[i].routing;
        size_t from = i * count, to = g->tile.first * chosen;
        if (out == NULL)
            continue;
        memcpy(out->expert + to, g->routing.expert + from, count * sizeof *out->expert);
        memcpy(out->weight + to, g->routing.weight + from, count * sizeof *out->weight);
        memcpy(out->margin + to, g->routing.margin + from, count * sizeof *out->margin);
    }
}

/* Places by expert, and within one in the order of rows. */
static void sort_places(gathering *g)
{
    const wa_experts *experts = &g->experts;
    size_t places = g->rows * experts->chosen;
    for (size_t at = 0; at < places; at++)
        if (g->routing.expert[at] >= 0)
            g->start[g->routing.expert[at] + 1]++;
    for (size_t e = 0; e < experts->count; e++)
        g->start[e + 1] += g->start[e];
    for (size_t at = 0; at < places; at++)
        if (g->routing.expert[at] >= 0)
            g->place[g->start[g->routing.expert[at]]++] = at;
    for (size_t e = experts->count; e > 0; e--) /* each start has moved to the next one's */
        g->start[e] = g->start[e - 1];
    g->start[0] = 0;
}

/* x [rows, H]: what `rows` places from `at` on take in. */
static void gather_rows(const gathering *g, size_t at, size_t rows, float *x)
{
    const wa_walk_layer *l = g->walk->layer;
    for (size_t r = 0; r < rows; r++)
        memcpy(x + r * l->hidden, input_row(g, row_of(g, g->place[at + r])), l->hidden * sizeof *x);
    wa_fault_expert_input(g->walk->which, l, x, rows);
}

/* y [rows, H]: what they give, by their weights. */
static void add_rows(const gathering *g, size_t at, size_t rows, const float *y)
{
    size_t hidden = g->walk->layer->hidden;
    for (size_t r = 0; r < rows; r++)
        wa_axpy(g->routing.weight[g->place[at + r]], y + r * hidden,
                output_row(g, row_of(g, g->place[at + r])), hidden);
}

static wa_status tell_watch(const wa_walk *walk, size_t e)
{
    const wa_walk_layer *l = walk->layer;
    if (l->watch == NULL)
        return WA_OK;
    return l->watch->see(l->watch->context, &l->experts->experts[e], walk->err);
}

static wa_status run_expert(gathering *g, size_t e)
{
    wa_expert own = g->experts.experts[e];
    if (g->start[e] < g->start[e + 1])
        WA_TRY(tell_watch(g->walk, e));
    wa_fault_expert(g->walk->which, g->walk->layer, &own);
    for (size_t at = g->start[e]; at < g->start[e + 1]; at += g->tile.rows) {
        size_t rows = wa_size_min(g->start[e + 1] - at, g->tile.rows);
        gather_rows(g, at, rows, g->x);
        WA_TRY(g->feed(g->walk, &own, rows, g->x, g->y));
        add_rows(g, at, rows, g->y);
    }
    return WA_OK;
}

/* All experts, each by whoever has it: the same products, added up in the same order. */
static wa_status run_spread(const gathering *g)
{
    const wa_walk_layer *l = g->walk->layer;
    size_t rows = g->start[g->experts.count], floats;
    wa_expert_rows all = {
        .which = g->walk->which, .layer = l, .most = g->tile.rows, .start = g->start};
    float *x;
    if (!wa_size_mul(rows, l->hidden, &floats))
        return wa_fail(g->walk->err, WA_E_MEMORY, "%zu rows of %zu values overflow", rows,
                       l->hidden);
    WA_TRY(wa_arena_take_raw(g->walk->scratch->arena, floats, sizeof *x, &x, g->walk->err));
    WA_TRY(wa_arena_take_raw(g->walk->scratch->arena, floats, sizeof *x, &all.y, g->walk->err));
    all.x = x;
    gather_rows(g, 0, rows, x);
    WA_TRY(l->spread->feed(l->spread->context, &all, g->walk->err));
    add_rows(g, 0, rows, all.y);
    return WA_OK;
}

static wa_status feed_expert(wa_walk *walk, size_t e, const wa_expert_rows *of)
{
    size_t hidden = of->layer->hidden;
    wa_expert own = of->layer->experts->experts[e];
    if (of->start[e] < of->start[e + 1])
        WA_TRY(tell_watch(walk, e));
    wa_fault_expert(of->which, of->layer, &own);
    for (size_t at = of->start[e]; at < of->start[e + 1]; at += of->most)
        WA_TRY(feed_of(of->which)(walk, &own, wa_size_min(of->start[e + 1] - at, of->most),
                                  of->x + at * hidden, of->y + at * hidden));
    return WA_OK;
}

wa_status wa_experts_feed(const wa_expert_rows *of, size_t first, size_t end, wa_scratch *scratch,
                          wa_error *err)
{
    wa_walk walk = {.which = of->which,
                    .layer = of->layer,
                    .scratch = scratch,
                    .act = &scratch->act,
                    .up = &scratch->up,
                    .err = err};
    for (size_t e = first; e < end; e++)
        WA_TRY(feed_expert(&walk, e, of));
    return WA_OK;
}

static wa_status run_shared(gathering *g)
{
    const wa_walk_layer *l = g->walk->layer;
    const wa_experts *experts = &g->experts;
    wa_expert shared = experts->shared;
    if (shared.up.rows == 0)
        return WA_OK;
    wa_fault_expert(g->walk->which, l, &shared);
    for (size_t i = 0; i < g->walk->io_count; i++) {
        const float *x = input_row(g, i * g->tile.rows);
        float *y = output_row(g, i * g->tile.rows);
        WA_TRY(feed_decoded(g->walk, &shared, g->tile.rows, x, g->y));
        wa_route_shared(&experts->shared_gate, g->tile.rows, x, g->walk->scratch, g->weight);
        for (size_t r = 0; r < g->tile.rows; r++)
            wa_axpy(g->weight[r], g->y + r * l->hidden, y + r * l->hidden, l->hidden);
    }
    return WA_OK;
}

/* Nothing yet, and NaN where the router has no answer. */
static void clear_rows(const gathering *g)
{
    const wa_walk_layer *l = g->walk->layer;
    for (size_t row = 0; row < g->rows; row++) {
        float start = g->routing.expert[row * g->experts.chosen] < 0 ? NAN : 0.0F;
        float *y = output_row(g, row);
        for (size_t h = 0; h < l->hidden; h++)
            y[h] = start;
    }
}

wa_status wa_experts_tile(wa_walk *walk, wa_tile tile)
{
    gathering g;
    WA_TRY(open_gathering(walk, tile, &g));
    WA_TRY(route(&g));
    tell_routing(&g);
    sort_places(&g);
    clear_rows(&g);
    if (walk->layer->spread != NULL)
        WA_TRY(run_spread(&g));
    for (size_t e = 0; e < g.experts.count && walk->layer->spread == NULL; e++)
        WA_TRY(run_expert(&g, e));
    return run_shared(&g);
}

/* The oracle of a layer with experts: logits, choice and weights in f64, row by row, and the FFN of
 * each expert by that of layers. */
#include "path/oracle_state.h"

#include "base/elementary.h"

#include <math.h>

/* One row at hand. */
typedef struct choice {
    const wa_experts *experts;
    double *logit;      /* [count] */
    double *tie;        /* [count] what an f32 logit of that expert may be off by */
    bool *own, *theirs; /* [count] */
} choice;

static wa_status open_choice(const wa_experts *experts, wa_arena *arena, choice *out, wa_error *err)
{
    *out = (choice){.experts = experts};
    WA_TRY(wa_arena_take_raw(arena, experts->count, sizeof *out->logit, &out->logit, err));
    WA_TRY(wa_arena_take_raw(arena, experts->count, sizeof *out->tie, &out->tie, err));
    WA_TRY(wa_arena_take_raw(arena, experts->count, sizeof *out->own, &out->own, err));
    return wa_arena_take_raw(arena, experts->count, sizeof *out->theirs, &out->theirs, err);
}

/* <w, x>, and |w||x|. */
static double product(const double *w, const float *x, size_t n, double *size)
{
    double sum = 0.0, ww = 0.0, xx = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += w[i] * (double)x[i];
        ww += w[i] * w[i];
        xx += (double)x[i] * (double)x[i];
    }
    *size = sqrt(ww) * sqrt(xx);
    return sum;
}

/* False when a logit is no number. */
static bool make_logits(choice *c, const float *x, wa_oracle_panel *panel)
{
    bool sound = true;
    for (size_t e = 0; e < c->experts->count; e++) {
        double size,
            bias = c->experts->router_bias == NULL ? 0.0 : (double)c->experts->router_bias[e];
        double sum = product(wa_oracle_row(&c->experts->router, e, panel), x,
                             c->experts->router.cols, &size);
        c->logit[e] = sum + bias;
        c->tie[e] = WA_ORACLE_TIE * (size + fabs(bias));
        sound = sound && isfinite(c->logit[e]);
    }
    return sound;
}

/* The best `chosen`, of equals the first; and the logit of the last of them. */
static double choose(const choice *c)
{
    size_t last = 0;
    memset(c->own, 0, c->experts->count * sizeof *c->own);
    for (size_t k = 0; k < c->experts->chosen; k++) {
        size_t best = c->experts->count;
        for (size_t e = 0; e < c->experts->count; e++)
            if (!c->own[e] && (best == c->experts->count || c->logit[e] > c->logit[best]))
                best = e;
        c->own[best] = true;
        last = best;
    }
    return c->logit[last];
}

/* Is the kernel's choice ours but for ties? Then `theirs` holds it. */
static bool agrees_but_for_ties(const choice *c, const int32_t *theirs, double edge)
{
    memset(c->theirs, 0, c->experts->count * sizeof *c->theirs);
    for (size_t k = 0; k < c->experts->chosen; k++) {
        if (theirs[k] < 0 || (size_t)theirs[k] >= c->experts->count || c->theirs[theirs[k]])
            return false;
        c->theirs[theirs[k]] = true;
    }
    for (size_t e = 0; e < c->experts->count; e++)
        if (c->own[e] != c->theirs[e] && !(fabs(c->logit[e] - edge) <= c->tie[e]))
            return false;
    return true;
}

/* The softmax over all experts, or over those taken. */
static void weigh(const choice *c, const bool *taken, double *weight)
{
    double top = -INFINITY, sum = 0.0;
    size_t count = c->experts->count;
    for (size_t e = 0; e < count; e++)
        top = c->logit[e] > top ? c->logit[e] : top;
    for (size_t e = 0; e < count; e++)
        sum += taken[e] || !c->experts->renormalised ? wa_exp(c->logit[e] - top) : 0.0;
    for (size_t e = 0; e < count; e++)
        weight[e] = taken[e] ? wa_exp(c->logit[e] - top) / sum : 0.0;
}

static void route_row(choice *c, const float *x, const int32_t *theirs, wa_oracle_panel *panel,
                      double *weight, double *shared)
{
    const wa_experts *experts = c->experts;
    double ignored;
    *shared = 0.0;
    if (!make_logits(c, x, panel)) {
        for (size_t e = 0; e < experts->count; e++)
            weight[e] = NAN;
        *shared = NAN;
        return;
    }
    double edge = choose(c);
    weigh(c, theirs != NULL && agrees_but_for_ties(c, theirs, edge) ? c->theirs : c->own, weight);
    if (experts->shared.up.rows > 0)
        *shared = 1.0 / (1.0 + wa_exp(-product(wa_oracle_row(&experts->shared_gate, 0, panel), x,
                                               experts->shared_gate.cols, &ignored)));
}

/* What the router says of all rows. */
typedef struct routing {
    /* [rows][count] of each expert, 0 where it was not chosen; NaN throughout a row with a logit
     * that is no number */
    double *weight;
    double *shared; /* [rows] of the shared expert, 0 without one; NaN likewise */
} routing;

static wa_status route(const wa_oracle_call *call, routing *out, wa_error *err)
{
    const wa_experts *experts = call->layer->experts;
    choice c;
    size_t weights;
    if (!wa_size_mul(call->rows, experts->count, &weights))
        return wa_fail(err, WA_E_MEMORY, "%zu rows of %zu experts overflow", call->rows,
                       experts->count);
    WA_TRY(open_choice(experts, call->arena, &c, err));
    WA_TRY(wa_arena_take_raw(call->arena, weights, sizeof *out->weight, &out->weight, err));
    WA_TRY(wa_arena_take_raw(call->arena, call->rows, sizeof *out->shared, &out->shared, err));
    for (size_t row = 0; row < call->rows; row++)
        route_row(&c, call->x + row * experts->router.cols,
                  call->hits == NULL ? NULL : call->hits + row * experts->chosen, call->panel,
                  out->weight + row * experts->count, &out->shared[row]);
    return WA_OK;
}

/* --- FFNs */

/* One of its FFNs as a layer of its own. No vindex has the shared one. */
static wa_walk_layer layer_of_ffn(const wa_walk_layer *layer, size_t number)
{
    const wa_expert *ffn = wa_experts_ffn(layer->experts, number);
    wa_walk_layer own = *layer;
    own.of_model = number >= layer->experts->count;
    own.experts = NULL;
    own.gate = ffn->gate;
    own.up = ffn->up;
    own.down = ffn->down;
    own.gate_bias = ffn->gate_bias;
    own.up_bias = ffn->up_bias;
    own.down_bias = ffn->down_bias;
    own.features = ffn->up.rows;
    own.down_is_feature_major = false;
    return own;
}

/* The rows that go through one FFN together, and what comes out. */
typedef struct group {
    float *x;           /* [rows][H] */
    double *y;          /* [rows][H] */
    double *weight;     /* [rows] */
    size_t *seat, *row; /* [rows] */
    size_t count;
} group;

static wa_status take_group(wa_arena *arena, size_t rows, size_t hidden, group *out, wa_error *err)
{
    size_t values;
    if (!wa_size_mul(rows, hidden, &values))
        return wa_fail(err, WA_E_MEMORY, "%zu rows of %zu values overflow", rows, hidden);
    WA_TRY(wa_arena_take_raw(arena, values, sizeof *out->x, &out->x, err));
    WA_TRY(wa_arena_take_raw(arena, values, sizeof *out->y, &out->y, err));
    WA_TRY(wa_arena_take_raw(arena, rows, sizeof *out->weight, &out->weight, err));
    WA_TRY(wa_arena_take_raw(arena, rows, sizeof *out->seat, &out->seat, err));
    return wa_arena_take_raw(arena, rows, sizeof *out->row, &out->row, err);
}

/* Few rows choose one expert, and what stays empty in a product costs as much as what is used:
 * products as narrow as BLAS likes them, whatever the caller's width. */
enum { EXPERT_WIDTH = 4 };

/* What one FFN left open, as the layer sees it. */
static void place_ties(const wa_oracle_call *call, size_t first, const wa_expert *ffn,
                       const group *g)
{
    for (size_t t = first; t < call->ties->count; t++) {
        wa_tie *tie = &call->ties->items[t];
        tie->step *= g->weight[tie->row];
        tie->row = g->row[tie->row];
        tie->down = &ffn->down;
    }
}

static wa_status run_group(const wa_oracle_call *call, size_t number, const group *g, double *y,
                           wa_error *err)
{
    const wa_walk_layer own = layer_of_ffn(call->layer, number);
    size_t hidden = own.hidden, first = call->ties->count;
    wa_oracle_call part = *call;
    if (g->count == 0)
        return WA_OK;
    part.layer = &own;
    part.rows = g->count;
    part.width = EXPERT_WIDTH;
    part.x = g->x;
    part.seats = g->seat;
    part.hits = NULL;
    WA_TRY(wa_oracle_ffn(&part, g->y, NULL, err));
    place_ties(call, first, wa_experts_ffn(call->layer->experts, number), g);
    for (size_t i = 0; i < g->count; i++)
        for (size_t h = 0; h < hidden; h++)
            y[g->row[i] * hidden + h] += g->weight[i] * g->y[i * hidden + h];
    return WA_OK;
}

/* Rows whose weight of FFN e is not zero. */
static void gather(const wa_oracle_call *call, const routing *said, size_t e, group *g)
{
    size_t count = call->layer->experts->count, hidden = call->layer->hidden;
    g->count = 0;
    for (size_t row = 0; row < call->rows; row++) {
        double weight = e < count ? said->weight[row * count + e] : said->shared[row];
        if (weight == 0.0 || isnan(weight))
            continue;
        memcpy(g->x + g->count * hidden, call->x + row * hidden, hidden * sizeof *g->x);
        g->weight[g->count] = weight;
        g->row[g->count] = row;
        g->seat[g->count++] = call->seats == NULL ? row : call->seats[row];
    }
}

/* Experts in ascending order, then the shared one, as the definition has it. */
wa_status wa_oracle_experts(const wa_oracle_call *call, double *y, wa_error *err)
{
    const wa_experts *experts = call->layer->experts;
    size_t hidden = call->layer->hidden;
    routing said;
    group g;
    WA_TRY(route(call, &said, err));
    WA_TRY(take_group(call->arena, call->rows, hidden, &g, err));
    for (size_t i = 0; i < call->rows * hidden; i++)
        y[i] = isnan(said.shared[i / hidden]) ? NAN : 0.0;
    for (size_t e = 0; e < wa_experts_ffns(experts); e++) {
        gather(call, &said, e, &g);
        WA_TRY(run_group(call, e, &g, y, err));
    }
    return WA_OK;
}

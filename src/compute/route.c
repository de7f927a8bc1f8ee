/* Logits, the choice of experts, and their weights. */
#include "compute/route.h"

#include "base/elementary.h"

#include <math.h>

/* Products of f32 are exact in f64; eight sums, folded in pairs, whatever the processor. */
static double dot(const float *x, const float *w, size_t n)
{
    enum { LANES = 8 };
    double sum[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            sum[j] += (double)x[i + j] * (double)w[i + j];
    for (size_t j = 0; i + j < n; j++)
        sum[j] += (double)x[i + j] * (double)w[i + j];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

wa_status wa_routing_open(wa_arena *arena, const wa_experts *experts, size_t rows, wa_routing *out,
                          wa_error *err)
{
    size_t places;
    if (!wa_size_mul(rows, experts->chosen, &places))
        return wa_fail(err, WA_E_MEMORY, "%zu rows of %zu experts overflow", rows, experts->chosen);
    WA_TRY(wa_arena_take_raw(arena, places, sizeof *out->expert, &out->expert, err));
    WA_TRY(wa_arena_take_raw(arena, places, sizeof *out->weight, &out->weight, err));
    out->logits = NULL;
    return wa_arena_take_raw(arena, places, sizeof *out->margin, &out->margin, err);
}

/* logits [rows, count]; as many experts at a time as the panel takes. */
static void make_logits(const wa_experts *experts, size_t rows, const float *x,
                        const wa_scratch *scratch, float *logits)
{
    size_t hidden = experts->router.cols, count = experts->count;
    size_t most = scratch->panel_floats / hidden;
    for (size_t first = 0; first < count; first += most) {
        size_t taken = count - first < most ? count - first : most;
        wa_matrix_decode(&experts->router, first, taken, scratch->panel);
        for (size_t row = 0; row < rows; row++)
            for (size_t e = 0; e < taken; e++)
                logits[row * count + first + e] =
                    (float)(dot(x + row * hidden, scratch->panel + e * hidden, hidden) +
                            (experts->router_bias == NULL
                                 ? 0.0
                                 : (double)experts->router_bias[first + e]));
    }
}

/* The best of those that are left, the first among equals; count when none is. */
static size_t best_left(const float *logits, const bool *taken, size_t count)
{
    size_t best = count;
    for (size_t e = 0; e < count; e++)
        if (!taken[e] && (best == count || logits[e] > logits[best]))
            best = e;
    return best;
}

static bool all_are_numbers(const float *logits, size_t count)
{
    for (size_t e = 0; e < count; e++)
        if (!isfinite(logits[e]))
            return false;
    return true;
}

/* One row at hand. */
typedef struct routed_row {
    const wa_experts *experts;
    const float *logits; /* [count] */
    bool *taken;         /* [count] */
    int32_t *expert;     /* [chosen], as weight and margin */
    float *weight, *margin;
} routed_row;

static void take_none(const routed_row *r)
{
    for (size_t k = 0; k < r->experts->chosen; k++) {
        r->expert[k] = -1;
        r->weight[k] = r->margin[k] = NAN;
    }
}

/* Those that the caller names, or the best. */
static void take(const routed_row *r, const int32_t *through)
{
    size_t count = r->experts->count;
    memset(r->taken, 0, count * sizeof *r->taken);
    for (size_t k = 0; k < r->experts->chosen; k++) {
        size_t next = through != NULL ? (size_t)through[k] : best_left(r->logits, r->taken, count);
        r->taken[next] = true;
        r->expert[k] = (int32_t)next;
    }
}

static void find_margins(const routed_row *r)
{
    const wa_experts *experts = r->experts;
    size_t last = experts->chosen - 1, next = best_left(r->logits, r->taken, experts->count);
    for (size_t k = 0; k < last; k++)
        r->margin[k] = r->logits[r->expert[k]] - r->logits[r->expert[k + 1]];
    r->margin[last] =
        next == experts->count ? INFINITY : r->logits[r->expert[last]] - r->logits[next];
}

/* The softmax over those that count: all, or those taken. */
static void weigh(const routed_row *r)
{
    const wa_experts *experts = r->experts;
    double top = -INFINITY, sum = 0.0;
    for (size_t e = 0; e < experts->count; e++)
        if ((r->taken[e] || !experts->renormalised) && (double)r->logits[e] > top)
            top = (double)r->logits[e];
    for (size_t e = 0; e < experts->count; e++)
        sum += r->taken[e] || !experts->renormalised ? wa_exp((double)r->logits[e] - top) : 0.0;
    for (size_t k = 0; k < experts->chosen; k++)
        r->weight[k] = (float)(wa_exp((double)r->logits[r->expert[k]] - top) / sum);
}

static void route_row(const routed_row *r, const int32_t *through)
{
    bool goes = through == NULL || through[0] >= 0;
    if (!goes || !all_are_numbers(r->logits, r->experts->count)) {
        take_none(r);
        return;
    }
    take(r, through);
    find_margins(r);
    weigh(r);
}

wa_status wa_route_rows(const wa_experts *experts, size_t rows, const float *x,
                        const int32_t *through, wa_scratch *scratch, wa_routing *out, wa_error *err)
{
    float *logits = out->logits;
    bool *taken;
    size_t places, chosen = experts->chosen;
    if (!wa_size_mul(rows, experts->count, &places))
        return wa_fail(err, WA_E_MEMORY, "%zu rows of %zu logits overflow", rows, experts->count);
    wa_mark mark = wa_arena_mark(scratch->arena);
    wa_status status = WA_OK;
    if (logits == NULL)
        status = wa_arena_take_raw(scratch->arena, places, sizeof *logits, &logits, err);
    if (status == WA_OK)
        status = wa_arena_take_raw(scratch->arena, experts->count, sizeof *taken, &taken, err);
    if (status == WA_OK)
        make_logits(experts, rows, x, scratch, logits);
    for (size_t i = 0; i < rows && status == WA_OK; i++) {
        const routed_row r = {.experts = experts,
                              .logits = logits + i * experts->count,
                              .taken = taken,
                              .expert = out->expert + i * chosen,
                              .weight = out->weight + i * chosen,
                              .margin = out->margin + i * chosen};
        route_row(&r, through == NULL ? NULL : through + i * chosen);
    }
    wa_arena_release(scratch->arena, mark);
    return status;
}

void wa_route_shared(const wa_matrix *gate, size_t rows, const float *x, wa_scratch *scratch,
                     float *out)
{
    wa_matrix_decode(gate, 0, 1, scratch->panel);
    for (size_t row = 0; row < rows; row++) {
        double v = (double)(float)dot(x + row * gate->cols, scratch->panel, gate->cols);
        out[row] = (float)(1.0 / (1.0 + wa_exp(-v)));
    }
}

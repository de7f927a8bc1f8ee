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

static void route_row(const wa_experts *experts, const float *logits, bool *taken, int32_t *expert,
                      float *weight, float *margin)
{
    size_t count = experts->count, chosen = experts->chosen;
    bool sound = all_are_numbers(logits, count);
    for (size_t k = 0; k < chosen && !sound; k++) {
        expert[k] = -1;
        weight[k] = margin[k] = NAN;
    }
    if (!sound)
        return;
    memset(taken, 0, count * sizeof *taken);
    for (size_t k = 0; k < chosen; k++) {
        size_t best = best_left(logits, taken, count);
        taken[best] = true;
        expert[k] = (int32_t)best;
    }
    size_t next = best_left(logits, taken, count);
    for (size_t k = 0; k + 1 < chosen; k++)
        margin[k] = logits[expert[k]] - logits[expert[k + 1]];
    margin[chosen - 1] = next == count ? INFINITY : logits[expert[chosen - 1]] - logits[next];

    double top = (double)logits[expert[0]], sum = 0.0;
    for (size_t e = 0; e < count; e++)
        sum += taken[e] || !experts->renormalised ? wa_exp((double)logits[e] - top) : 0.0;
    for (size_t k = 0; k < chosen; k++)
        weight[k] = (float)(wa_exp((double)logits[expert[k]] - top) / sum);
}

wa_status wa_route_rows(const wa_experts *experts, size_t rows, const float *x, wa_scratch *scratch,
                        wa_routing *out, wa_error *err)
{
    float *logits = out->logits;
    bool *taken;
    size_t places;
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
    for (size_t row = 0; row < rows && status == WA_OK; row++)
        route_row(experts, logits + row * experts->count, taken,
                  out->expert + row * experts->chosen, out->weight + row * experts->chosen,
                  out->margin + row * experts->chosen);
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

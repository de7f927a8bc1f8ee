/* What rounding does to the oracle's comparison: how small an output f32 sums can resolve, and which
 * integers of rounded activations they decide. */
#include "path/oracle_state.h"

#include <math.h>

/* Of the same share of |x||g| f32 sums of Q8_K's integers are off at most, and with them an
 * activation: ten times what was seen. */
static const double SHIFT = 2.5e-7;

/* --- What f32 can resolve --- */

static void row_norms(const wa_matrix *m, wa_oracle_panel *panel, double *out)
{
    for (size_t f = 0; f < m->rows; f++) {
        const double *row = wa_oracle_row(m, f, panel);
        double sum = 0.0;
        for (size_t h = 0; h < m->cols; h++)
            sum += row[h] * row[h];
        out[f] = sqrt(sum);
    }
}

static void column_norms(const wa_matrix *m, wa_oracle_panel *panel, double *out)
{
    memset(out, 0, m->cols * sizeof *out);
    for (size_t h = 0; h < m->rows; h++) {
        const double *row = wa_oracle_row(m, h, panel);
        for (size_t f = 0; f < m->cols; f++)
            out[f] += row[f] * row[f];
    }
    for (size_t f = 0; f < m->cols; f++)
        out[f] = sqrt(out[f]);
}

void wa_oracle_take_norms(wa_oracle *o)
{
    const wa_walk_layer *l = o->layer;
    bool serial = wa_case_is_loop(o->which);
    if (l->gated)
        row_norms(serial ? &l->select : &l->gate, &o->panel, o->gate_norm);
    row_norms(l->gated || !serial ? &l->up : &l->select, &o->panel, o->up_norm);
    if (l->down_is_feature_major)
        row_norms(&l->down, &o->panel, o->down_norm);
    else
        column_norms(&l->down, &o->panel, o->down_norm);
}

/* How an activation shifts when its scores do by |x| times their rows: a of a place, in units of a
 * relative error of |x||row|. */
static double shift_of(const wa_oracle *o, size_t place, size_t f, double a, double u)
{
    double x = o->norm[place], shift = x * o->up_norm[f];
    if (!o->layer->gated)
        return shift;
    return x * o->gate_norm[f] * u + (u > 0.0 ? a / u : x * o->gate_norm[f]) * shift;
}

double wa_oracle_resolution(const wa_oracle *o, size_t place)
{
    enum { SHARE = 64 };
    const wa_walk_layer *l = o->layer;
    const double *act = o->act + wa_oracle_start(o, place, l->features),
                 *up = o->up + wa_oracle_start(o, place, l->features);
    double sum = 0.0;
    for (size_t f = 0; f < l->features; f++) {
        double a = fabs(act[f * o->width]), u = fabs(up[f * o->width]);
        if (a == 0.0)
            continue; /* left out */
        double shift = shift_of(o, place, f, a, u);
        sum += shift * shift * o->down_norm[f] * o->down_norm[f];
    }
    return sqrt(sum) / SHARE;
}

/* --- Activations in Q8_K --- */

/* One block of a place rounded by an exact scale, and in o->scores what the other integer would add
 * where f32 sums may take it. */
static void round_block(wa_oracle *o, size_t place, size_t first, size_t n)
{
    enum { MOST = 127 };
    size_t at = wa_oracle_start(o, place, o->layer->features) + first * o->width;
    double *act = o->act + at, *other = o->scores + at, *up = o->up + at, amax = 0.0, widest = 0.0,
           nothing = 0.0;
    for (size_t i = 0; i < n; i++) {
        double a = fabs(act[i * o->width]);
        nothing += 0.0 * a;
        if (a > amax)
            widest = shift_of(o, place, first + i, a, fabs(up[i * o->width]));
        amax = fmax(amax, a);
    }
    double d = amax / MOST;
    for (size_t i = 0; i < n; i++) {
        double a = act[i * o->width], exact = d > 0.0 ? a / d : 0.0, code = round(exact);
        double shift = shift_of(o, place, first + i, fabs(a), fabs(up[i * o->width]));
        double reach = d > 0.0 ? SHIFT * (shift / d + fabs(exact) * (widest / amax + 1.0)) : 0.0;
        double from_middle = 0.5 - fabs(exact - code);
        other[i * o->width] = from_middle > reach ? 0.0 : exact > code ? d : -d;
        act[i * o->width] = code * d + nothing;
    }
}

void wa_oracle_round_activations(wa_oracle *o)
{
    size_t features = o->layer->features;
    for (size_t i = 0; i < o->rows; i++)
        for (size_t f = 0; f < features; f += WA_Q8_K_BLOCK)
            round_block(o, o->place[i], f, wa_size_min(features - f, WA_Q8_K_BLOCK));
}

static wa_status note_tie(const wa_oracle_call *call, wa_tie tie, wa_error *err)
{
    enum { LEAST = 256 };
    wa_ties *ties = call->ties;
    if (ties->count == ties->room) {
        wa_tie *items;
        size_t room = ties->room == 0 ? LEAST : 2 * ties->room;
        WA_TRY(wa_arena_take_raw(call->arena, room, sizeof *items, &items, err));
        if (ties->count > 0)
            memcpy(items, ties->items, ties->count * sizeof *items);
        ties->items = items;
        ties->room = room;
    }
    ties->items[ties->count++] = tie;
    return WA_OK;
}

wa_status wa_oracle_note_ties(const wa_oracle_call *call, wa_error *err)
{
    const wa_oracle *o = call->oracle;
    size_t features = o->layer->features;
    for (size_t i = 0; i < o->rows; i++) {
        const double *other = o->scores + wa_oracle_start(o, o->place[i], features);
        for (size_t f = 0; f < features; f++) {
            double step = other[f * o->width];
            if (step == 0.0 || !isfinite(step))
                continue;
            wa_tie tie = {.row = o->row[i], .feature = f, .step = step, .down = &call->layer->down};
            WA_TRY(note_tie(call, tie, err));
        }
    }
    return WA_OK;
}

wa_status wa_oracle_repeat_ties(const wa_oracle_call *call, size_t first, wa_error *err)
{
    const wa_oracle *o = call->oracle;
    size_t end = call->ties->count;
    for (size_t row = 0; row < call->rows && end > first; row++)
        for (size_t t = first; t < end && o->same_as[row] != row; t++) {
            wa_tie tie = call->ties->items[t];
            if (tie.row != o->same_as[row])
                continue;
            tie.row = row;
            WA_TRY(note_tie(call, tie, err));
        }
    return WA_OK;
}

/* o->column = what a feature adds to y for each unit of its activation. */
static void take_column(wa_oracle *o, const wa_tie *tie)
{
    size_t first = tie->feature / WA_Q8_K_BLOCK * WA_Q8_K_BLOCK;
    wa_matrix block =
        wa_matrix_columns(tie->down, first, wa_size_min(tie->down->cols - first, WA_Q8_K_BLOCK));
    for (size_t h = 0; h < block.rows; h++)
        o->column[h] = wa_oracle_row(&block, h, &o->panel)[tie->feature - first];
}

/* A tie's integer becomes the other one, where that leaves y nearer to the kernel's. */
static bool settle_tie(wa_oracle *o, wa_tie *tie, size_t hidden, double *y)
{
    double step = tie->is_taken ? -tie->step : tie->step, along = 0.0, size = 0.0;
    take_column(o, tie);
    for (size_t h = 0; h < hidden; h++) {
        along += o->rest[h] * step * o->column[h];
        size += step * o->column[h] * step * o->column[h];
    }
    if (!(along > size / 2))
        return false;
    tie->is_taken = !tie->is_taken;
    for (size_t h = 0; h < hidden; h++) {
        o->rest[h] -= step * o->column[h];
        y[h] += step * o->column[h];
    }
    return true;
}

void wa_oracle_settle_ties(wa_oracle *o, wa_ties *ties, size_t row, size_t hidden,
                           const float *theirs, double *y)
{
    enum { MOST_PASSES = 16 };
    bool changed = true;
    for (size_t h = 0; h < hidden; h++)
        o->rest[h] = (double)theirs[h] - y[h];
    for (size_t pass = 0; changed && pass < MOST_PASSES; pass++) {
        changed = false;
        for (size_t t = 0; t < ties->count; t++)
            if (ties->items[t].row == row && settle_tie(o, &ties->items[t], hidden, y))
                changed = true;
    }
}

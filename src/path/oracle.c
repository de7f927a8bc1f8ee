/*
 * The oracle: a path's defined arithmetic on its own stored numbers, by the reference decoder, in
 * f64. Sums run in index order for each position; eight positions go side by side, which changes no
 * sum.
 *
 * It shares no arithmetic with the kernels: no BLAS, no f32 accumulation, its own decoding and its
 * own hits.
 */
#include "path/oracle.h"

#include "path/walk.h"

#include <math.h>

/* Groups that go through the weights together: each row is decoded once for them. */
enum { LANES = WA_ORACLE_ROWS, GROUPS = 8 };

/* A hit list that differs from ours only among scores closer than this times |x||g| is as good as
 * ours. */
static const double TIE = 1e-6;

/* Buffers for some groups of at most eight positions. Arrays of [groups][n][LANES] hold one value per
 * position. */
typedef struct oracle {
    const wa_case *which;
    const wa_walk_layer *layer;
    size_t groups;
    double *x;      /* [groups][H][LANES] as the gate and up products take it */
    double *scores; /* [groups][F][LANES] of the ranking rows, when some are ranked */
    double *act;    /* [groups][F][LANES] gate, then activations */
    double *up;     /* [groups][F][LANES] */
    double *y;      /* [groups][H][LANES] */
    double norm[GROUPS * LANES]; /* |x| of each position */
    wa_oracle_panel panel;
    bool *used;   /* [F]: in the hit list of the position at hand */
    int32_t *own; /* [count] */
    double *key;  /* [F] |score| of the position at hand */
    size_t count; /* features a position uses */
    bool ranked;  /* else all are used */
    double *gate_norm, *up_norm, *down_norm; /* [F] of each feature's stored rows; NULL: not asked for */
} oracle;

static wa_status open_oracle(const wa_case *which, const wa_walk_layer *l, size_t groups,
                             wa_arena *arena, oracle *o, wa_error *err)
{
    *o = (oracle){.which = which, .layer = l, .count = wa_case_hit_count(which, l->features)};
    bool drops =
        which->path == WA_PATH_WEIGHTS_FALLBACK && !wa_fallback_uses_all(which, l->features);
    o->ranked = l->select.rows > 0 && (wa_case_is_loop(which) || drops);
    size_t row = groups * LANES * sizeof(double);
    WA_TRY(wa_arena_take_raw(arena, l->hidden, row, &o->x, err));
    WA_TRY(wa_arena_take_raw(arena, l->features, row, &o->scores, err));
    WA_TRY(wa_arena_take_raw(arena, l->features, row, &o->act, err));
    WA_TRY(wa_arena_take_raw(arena, l->features, row, &o->up, err));
    WA_TRY(wa_arena_take_raw(arena, l->hidden, row, &o->y, err));
    WA_TRY(wa_arena_take_raw(arena, l->features, sizeof *o->used, &o->used, err));
    WA_TRY(wa_arena_take_raw(arena, l->features, sizeof *o->own, &o->own, err));
    WA_TRY(wa_arena_take_raw(arena, l->features, sizeof *o->key, &o->key, err));
    return wa_oracle_panel_open(arena, l->hidden > l->features ? l->hidden : l->features, &o->panel,
                                err);
}

/* Where the values of one position begin in an array of [groups][n][LANES]; they stand LANES apart. */
static size_t start_of(size_t position, size_t n)
{
    return position / LANES * n * LANES + position % LANES;
}

/* x [rows, H] to [groups][H][LANES]; lanes without a position are zero. */
static void load_positions(oracle *o, const float *x, size_t rows)
{
    size_t hidden = o->layer->hidden;
    for (size_t position = 0; position < o->groups * LANES; position++) {
        double sum = 0.0, *to = o->x + start_of(position, hidden);
        for (size_t h = 0; h < hidden; h++) {
            double v = position < rows ? (double)x[position * hidden + h] : 0.0;
            to[h * LANES] = v;
            sum += v * v;
        }
        o->norm[position] = sqrt(sum);
    }
}

/* interleaved_q4 rounds x to 8-bit integers, a scale for each 32 (walk-paths 3.4): in f32, since the
 * rounding decides the integers, and by the definition, value by value. A block with a value that is
 * no number is NaN. */
static void round_x(const float *x, size_t n, double *out)
{
    float most = 0.0F;
    bool broken = false;
    for (size_t i = 0; i < n; i++) {
        broken = broken || !isfinite(x[i]);
        most = fmaxf(most, fabsf(x[i]));
    }
    float scale = most / 127.0F;
    float inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
    for (size_t i = 0; i < n; i++) {
        double q = isfinite(inverse) ? (double)roundf(x[i] * inverse) : 0.0;
        out[i * LANES] = broken ? NAN : q * (double)scale;
    }
}

static void round_positions(oracle *o, const float *x, size_t rows)
{
    enum { BLOCK = 32 };
    size_t hidden = o->layer->hidden;
    for (size_t position = 0; position < rows; position++)
        for (size_t h = 0; h < hidden; h += BLOCK)
            round_x(x + position * hidden + h, hidden - h < BLOCK ? hidden - h : BLOCK,
                    o->x + start_of(position, hidden) + h * LANES);
}

/* act = phi(gate) * up, or ungated phi(up). */
static void activate(oracle *o)
{
    const wa_walk_layer *l = o->layer;
    for (size_t i = 0; i < o->groups * l->features; i++)
        for (size_t lane = 0; lane < LANES; lane++) {
            size_t at = i * LANES + lane;
            o->act[at] = l->gated ? wa_phi_ref(l->activation, o->act[at]) * o->up[at]
                                  : wa_phi_ref(l->activation, o->up[at]);
        }
}

/* values [groups, features, LANES] += bias, where there is one. */
static void add_bias(const oracle *o, const float *bias, double *values)
{
    size_t features = o->layer->features;
    for (size_t i = 0; bias != NULL && i < o->groups * features; i++)
        for (size_t lane = 0; lane < LANES; lane++)
            values[i * LANES + lane] += (double)bias[i % features];
}

/* The per-feature loop's gate is the ranking score itself, and for an ungated model so is its up
 * score. */
static void feed(oracle *o)
{
    const wa_walk_layer *l = o->layer;
    bool serial = wa_case_is_loop(o->which);
    size_t bytes = o->groups * l->features * LANES * sizeof(double);
    if (o->ranked) {
        wa_oracle_rows(&l->select, o->x, o->scores, o->groups, &o->panel);
        add_bias(o, l->gate_bias, o->scores); /* an ungated model's scores are without b_up */
    }
    if (serial)
        memcpy(l->gated ? o->act : o->up, o->scores, bytes);
    if (l->gated && !serial) {
        wa_oracle_rows(&l->gate, o->x, o->act, o->groups, &o->panel);
        add_bias(o, l->gate_bias, o->act);
    }
    if (l->gated || !serial)
        wa_oracle_rows(&l->up, o->x, o->up, o->groups, &o->panel);
    add_bias(o, l->up_bias, o->up);
    activate(o);
}

/* Does a stand before b: greater |score|, or equal and a smaller index? */
static bool before(const double *key, int32_t a, int32_t b)
{
    return key[a] > key[b] || (key[a] == key[b] && a < b);
}

static void sift(const double *key, int32_t *heap, size_t n, size_t at)
{
    for (size_t child = 2 * at + 1; child < n; at = child, child = 2 * at + 1) {
        if (child + 1 < n && before(key, heap[child], heap[child + 1]))
            child++; /* the root is the one that stands last */
        if (!before(key, heap[at], heap[child]))
            return;
        int32_t swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

/* The best `count` of n features: a heap whose root is the worst kept one. */
static void pick(const double *key, size_t n, int32_t *heap, size_t count)
{
    for (size_t i = 0; i < count; i++)
        heap[i] = (int32_t)i;
    for (size_t at = count / 2; at-- > 0;)
        sift(key, heap, count, at);
    for (size_t f = count; f < n && count > 0; f++) {
        if (!before(key, (int32_t)f, heap[0]))
            continue;
        heap[0] = (int32_t)f;
        sift(key, heap, count, 0);
    }
}

/* Marks `hits` in used; false when an entry is no feature or stands twice. */
static bool mark(bool *used, size_t features, const int32_t *hits, size_t count)
{
    memset(used, 0, features * sizeof *used);
    for (size_t i = 0; i < count; i++) {
        if (hits[i] < 0 || (size_t)hits[i] >= features || used[hits[i]])
            return false;
        used[hits[i]] = true;
    }
    return true;
}

static double row_norm(oracle *o, size_t f)
{
    const double *row = wa_oracle_row(&o->layer->select, f, &o->panel);
    double sum = 0.0;
    for (size_t h = 0; h < o->layer->hidden; h++)
        sum += row[h] * row[h];
    return sqrt(sum);
}

/* Is feature f, taken or left out against our choice, within the tie of the last feature we chose?
 */
static bool is_tie(oracle *o, size_t f, size_t position)
{
    double edge = o->key[o->own[0]];
    return fabs(o->key[f] - edge) <= TIE * o->norm[position] * row_norm(o, f);
}

/* The kernel's list is ours but for ties. `used` holds the kernel's on success. */
static bool agrees_but_for_ties(oracle *o, size_t position, const int32_t *theirs)
{
    if (!mark(o->used, o->layer->features, theirs, o->count))
        return false;
    for (size_t i = 0; i < o->count; i++) /* ours that they left out */
        if (!o->used[o->own[i]] && !is_tie(o, (size_t)o->own[i], position))
            return false;
    for (size_t i = 0; i < o->count; i++) /* theirs that we left out stand after our last */
        if (before(o->key, o->own[0], theirs[i]) && !is_tie(o, (size_t)theirs[i], position))
            return false;
    return true;
}

/* Choose the features of one position: `used`. False when a score is NaN. */
static bool choose(oracle *o, size_t position, const int32_t *theirs)
{
    size_t features = o->layer->features;
    const double *scores = o->scores + start_of(position, features);
    for (size_t f = 0; f < features; f++) {
        o->key[f] = fabs(scores[f * LANES]);
        if (isnan(o->key[f]))
            return false;
    }
    pick(o->key, features, o->own, o->count);
    if (theirs == NULL || o->count == features || !agrees_but_for_ties(o, position, theirs))
        mark(o->used, features, o->own, o->count);
    return true;
}

/* Activations of features that a position does not use become zero; a NaN score makes them all NaN.
 */
static void drop_unused(oracle *o, size_t rows, const int32_t *hits)
{
    size_t features = o->layer->features;
    for (size_t position = 0; position < rows; position++) {
        const int32_t *theirs = hits == NULL ? NULL : hits + position * o->count;
        double *act = o->act + start_of(position, features);
        bool known = choose(o, position, theirs);
        for (size_t f = 0; f < features; f++) {
            if (!known)
                act[f * LANES] = NAN;
            else if (!o->used[f])
                act[f * LANES] = 0.0;
        }
    }
}

/* y of every lane. The per-feature loops, and interleaved_q4, leave out what is at or below their
 * floor; so a stored row that no position uses is never touched, whatever it holds. */
static void project(oracle *o)
{
    const wa_walk_layer *l = o->layer;
    bool drops = wa_case_is_loop(o->which) || o->which->kernel == WA_LABEL_INTERLEAVED_Q4_CPU;
    memset(o->y, 0, o->groups * l->hidden * LANES * sizeof *o->y);
    if (drops)
        wa_oracle_drop(o->act, o->groups * l->features, (double)WA_ACT_FLOOR);
    if (drops && !l->down_is_feature_major)
        wa_oracle_rows_used(&l->down, o->act, o->y, o->groups, &o->panel);
    else if (!l->down_is_feature_major)
        wa_oracle_rows(&l->down, o->act, o->y, o->groups, &o->panel);
    else if (drops)
        wa_oracle_features_used(&l->down, o->act, o->y, o->groups, &o->panel);
    else
        wa_oracle_features(&l->down, o->act, o->y, o->groups, &o->panel);
}

static void store_positions(const oracle *o, size_t rows, double *y)
{
    const wa_walk_layer *l = o->layer;
    for (size_t position = 0; position < rows; position++) {
        const double *from = o->y + start_of(position, l->hidden);
        for (size_t h = 0; h < l->hidden; h++) {
            double bias = l->down_bias == NULL ? 0.0 : (double)l->down_bias[h];
            y[position * l->hidden + h] = from[h * LANES] + bias;
        }
    }
}

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

/* Norms of the rows that give a feature's gate score, its up score and its output. */
static wa_status take_norms(oracle *o, wa_arena *arena, wa_error *err)
{
    const wa_walk_layer *l = o->layer;
    bool serial = wa_case_is_loop(o->which);
    WA_TRY(wa_arena_take(arena, l->features, sizeof(double), &o->gate_norm, err));
    WA_TRY(wa_arena_take(arena, l->features, sizeof(double), &o->up_norm, err));
    WA_TRY(wa_arena_take(arena, l->features, sizeof(double), &o->down_norm, err));
    if (l->gated)
        row_norms(serial ? &l->select : &l->gate, &o->panel, o->gate_norm);
    row_norms(l->gated || !serial ? &l->up : &l->select, &o->panel, o->up_norm);
    if (l->down_is_feature_major)
        row_norms(&l->down, &o->panel, o->down_norm);
    else
        column_norms(&l->down, &o->panel, o->down_norm);
    return WA_OK;
}

/*
 * The size of y below which f32 sums cannot tell it from another: rounding shifts each score by about |x||row|, and the
 * shifts of the features used add up as their outputs do. With many features y is larger than a 64th of this; with a
 * few it may cancel to less, and be off by more than KERNEL's limit although nothing is wrong.
 */
static double resolution_of(const oracle *o, size_t position)
{
    enum { SHARE = 64 };
    const wa_walk_layer *l = o->layer;
    const double *act = o->act + start_of(position, l->features), *up = o->up + start_of(position, l->features);
    double sum = 0.0, x = o->norm[position];
    for (size_t f = 0; f < l->features; f++) {
        double a = fabs(act[f * LANES]), u = fabs(up[f * LANES]);
        if (a == 0.0)
            continue; /* left out */
        double shift = x * o->up_norm[f];
        if (l->gated)
            shift = x * o->gate_norm[f] * u + (u > 0.0 ? a / u : x * o->gate_norm[f]) * shift;
        sum += shift * shift * o->down_norm[f] * o->down_norm[f];
    }
    return sqrt(sum) / SHARE;
}

static size_t groups_of(size_t rows)
{
    return rows > GROUPS * LANES ? GROUPS : (rows + LANES - 1) / LANES;
}

wa_status wa_oracle_run(const wa_case *which, const wa_walk_layer *layer, size_t rows,
                        const float *x, const int32_t *hits, wa_arena *arena, double *y,
                        double *least, wa_error *err)
{
    if (which->not_run != NULL || layer->features > INT32_MAX)
        return wa_fail(err, WA_E_UNSUPPORTED, "case '%s' has no oracle here", which->name);
    wa_mark mark_point = wa_arena_mark(arena);
    oracle o;
    wa_status status = open_oracle(which, layer, groups_of(rows), arena, &o, err);
    if (status == WA_OK && least != NULL && o.ranked)
        status = take_norms(&o, arena, err);
    for (size_t first = 0; status == WA_OK && first < rows; first += GROUPS * LANES) {
        size_t now = rows - first < GROUPS * LANES ? rows - first : GROUPS * LANES;
        o.groups = groups_of(now);
        load_positions(&o, x + first * layer->hidden, now);
        if (which->kernel == WA_LABEL_INTERLEAVED_Q4_CPU)
            round_positions(&o, x + first * layer->hidden, now);
        feed(&o);
        if (o.ranked)
            drop_unused(&o, now, hits == NULL || which->k == WA_K_ALL ? NULL : hits + first * o.count);
        for (size_t i = 0; least != NULL && i < now; i++)
            least[first + i] = o.ranked ? resolution_of(&o, i) : 0.0;
        project(&o);
        store_positions(&o, now, y + first * layer->hidden);
    }
    wa_arena_release(arena, mark_point);
    return status;
}

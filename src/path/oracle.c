/*
 * The oracle: a path's defined arithmetic on its own stored numbers, by the reference decoder, in
 * f64. Evaluations go side by side through a product (oracle_blas.c); each has a seat there that
 * its caller names, and its bits follow from its input, that seat and the product's width alone.
 *
 * It shares no arithmetic with the kernels: no f32 accumulation, its own decoding and its own hits.
 */
#include "path/oracle_state.h"

#include "base/bytes.h"
#include "path/walk.h"

#include <math.h>

/* Groups go through the weights together, so that each row is decoded once for them: as many as
 * hold all evaluations, or fill this, but two of the widest at least. */
enum { COLUMNS_BYTES = 16 << 20, COLUMNS_LEAST = 2 * WA_ORACLE_WIDEST };

size_t wa_oracle_width(size_t evaluations)
{
    enum { UNIT = 4 }; /* what BLAS's inner loops take at once, or half of it */
    size_t groups = (evaluations + WA_ORACLE_WIDEST - 1) / WA_ORACLE_WIDEST;
    return groups == 0 ? UNIT : ((evaluations + groups - 1) / groups + UNIT - 1) / UNIT * UNIT;
}

/* What a seat takes. */
static size_t column_bytes(size_t hidden, size_t features)
{
    return sizeof(double) * (2 * hidden + 3 * features);
}

static size_t columns_for(size_t rows, size_t hidden, size_t features)
{
    size_t most = COLUMNS_BYTES / column_bytes(hidden, features);
    return wa_size_min(rows + WA_ORACLE_WIDEST, most < COLUMNS_LEAST ? COLUMNS_LEAST : most);
}

size_t wa_oracle_bytes(size_t rows, size_t hidden, size_t features)
{
    size_t longest = hidden > features ? hidden : features;
    if (rows == 0)
        return 0;
    return columns_for(rows, hidden, features) * column_bytes(hidden, features) +
           wa_oracle_panel_values(longest) * (sizeof(float) + sizeof(double));
}

wa_status wa_oracle_open(wa_arena *arena, size_t rows, size_t hidden, size_t features,
                         wa_oracle **out, wa_error *err)
{
    enum { SANE = 1 << 28 }; /* no product below overflows */
    if (features > SANE || hidden > SANE)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "an FFN of %zu features and %zu values has no oracle here", features,
                       hidden);
    wa_oracle *o;
    WA_TRY(wa_arena_take(arena, 1, sizeof *o, &o, err));
    o->arena = arena;
    o->columns = columns_for(rows, hidden, features);
    o->most_rows = rows;
    o->longest_hidden = hidden;
    o->most_features = features;
    size_t row = o->columns * sizeof(double);
    WA_TRY(wa_arena_take_raw(arena, o->columns, sizeof *o->row, &o->row, err));
    WA_TRY(wa_arena_take_raw(arena, o->columns, sizeof *o->place, &o->place, err));
    WA_TRY(wa_arena_take_raw(arena, o->columns, sizeof *o->norm, &o->norm, err));
    WA_TRY(wa_arena_take_raw(arena, rows, sizeof *o->done, &o->done, err));
    WA_TRY(wa_arena_take_raw(arena, rows, sizeof *o->same_as, &o->same_as, err));
    WA_TRY(wa_arena_take_raw(arena, hidden, row, &o->x, err));
    WA_TRY(wa_arena_take_raw(arena, features, row, &o->scores, err));
    WA_TRY(wa_arena_take_raw(arena, features, row, &o->act, err));
    WA_TRY(wa_arena_take_raw(arena, features, row, &o->up, err));
    WA_TRY(wa_arena_take_raw(arena, hidden, row, &o->y, err));
    WA_TRY(wa_arena_take_raw(arena, features, sizeof *o->used, &o->used, err));
    WA_TRY(wa_arena_take_raw(arena, features, sizeof *o->own, &o->own, err));
    WA_TRY(wa_arena_take_raw(arena, features, sizeof *o->key, &o->key, err));
    WA_TRY(wa_arena_take_raw(arena, features, sizeof(double), &o->gate_norm, err));
    WA_TRY(wa_arena_take_raw(arena, features, sizeof(double), &o->up_norm, err));
    WA_TRY(wa_arena_take_raw(arena, features, sizeof(double), &o->down_norm, err));
    WA_TRY(wa_arena_take_raw(arena, hidden, sizeof(double), &o->rest, err));
    WA_TRY(wa_arena_take_raw(arena, hidden, sizeof(double), &o->column, err));
    *out = o;
    return wa_oracle_panel_open(arena, hidden > features ? hidden : features, &o->panel, err);
}

/* Ready for a call. */
static wa_status begin(wa_oracle *o, const wa_case *which, const wa_walk_layer *l, size_t rows,
                       size_t width, wa_error *err)
{
    if (which->not_run != NULL)
        return wa_fail(err, WA_E_UNSUPPORTED, "case '%s' has no oracle here", which->name);
    if (rows > o->most_rows || l->hidden > o->longest_hidden || l->features > o->most_features)
        return wa_fail(err, WA_E_INTERNAL,
                       "the oracle has room for %zu rows of %zu values and %zu features, not %zu "
                       "of %zu and %zu",
                       o->most_rows, o->longest_hidden, o->most_features, rows, l->hidden,
                       l->features);
    if (width == 0 || width > WA_ORACLE_WIDEST)
        return wa_fail(err, WA_E_INTERNAL, "%zu evaluations do not go side by side", width);
    bool drops =
        which->path == WA_PATH_WEIGHTS_FALLBACK && !wa_fallback_uses_all(which, l->features);
    o->which = which;
    o->layer = l;
    o->width = o->panel.width = width;
    o->room = o->columns / width;
    o->count = wa_case_hit_count(which, l->features);
    o->ranked = l->select.rows > 0 && (wa_case_is_loop(which) || drops);
    return WA_OK;
}

/* Is an evaluation of a call another one's, bit for bit? hits: those that are looked at. */
static bool are_same(const wa_oracle_call *call, const int32_t *hits, size_t i, size_t j)
{
    size_t hidden = call->layer->hidden, count = call->oracle->count;
    return call->seats[i] == call->seats[j] &&
           memcmp(call->x + i * hidden, call->x + j * hidden, hidden * sizeof *call->x) == 0 &&
           (hits == NULL || memcmp(hits + i * count, hits + j * count, count * sizeof *hits) == 0);
}

/* Where evaluations of a call are one: what is done already. */
static void find_same(const wa_oracle_call *call, const int32_t *hits)
{
    wa_oracle *o = call->oracle;
    for (size_t i = 0; i < call->rows; i++) {
        o->same_as[i] = i;
        for (size_t j = 0; j < i && call->seats != NULL && o->same_as[i] == i; j++)
            if (o->same_as[j] == j && are_same(call, hits, i, j))
                o->same_as[i] = j;
        o->done[i] = o->same_as[i] != i;
    }
}

/* Such rows have the answers of those that they equal. */
static void repeat_rows(const wa_oracle *o, size_t rows, double *y, double *least)
{
    size_t hidden = o->layer->hidden;
    for (size_t i = 0; i < rows; i++) {
        size_t same = o->same_as[i];
        if (same == i)
            continue;
        memcpy(y + i * hidden, y + same * hidden, hidden * sizeof *y);
        if (least != NULL)
            least[i] = least[same];
    }
}

/* The next rows to go through the weights together: each to the first group where its seat is free.
 * False: none is left. */
static bool seat_rows(wa_oracle *o, size_t rows, const size_t *seats)
{
    memset(o->taken, 0, sizeof o->taken);
    o->rows = o->groups = 0;
    for (size_t i = 0; i < rows; i++) {
        size_t seat = (seats == NULL ? i : seats[i]) % o->width;
        if (o->done[i] || o->taken[seat] == o->room)
            continue;
        o->row[o->rows] = i;
        o->place[o->rows++] = o->taken[seat]++ * o->width + seat;
        o->groups = o->taken[seat] > o->groups ? o->taken[seat] : o->groups;
        o->done[i] = true;
    }
    o->flops += wa_case_flops(o->which, o->layer, o->rows);
    return o->rows > 0;
}

/* x [rows, H] to [groups][H][width]; seats without a row are zero. */
static void load_rows(wa_oracle *o, const float *x)
{
    size_t hidden = o->layer->hidden;
    memset(o->x, 0, o->groups * hidden * o->width * sizeof *o->x);
    for (size_t i = 0; i < o->rows; i++) {
        const float *from = x + o->row[i] * hidden;
        double sum = 0.0, *to = o->x + wa_oracle_start(o, o->place[i], hidden);
        for (size_t h = 0; h < hidden; h++) {
            double v = (double)from[h];
            to[h * o->width] = v;
            sum += v * v;
        }
        o->norm[o->place[i]] = sqrt(sum);
    }
}

/* interleaved_q4 rounds x to 8-bit integers, a scale for each 32 (walk-paths 3.4), and q8k one for
 * each 256 (larql-2026-08 3.3): in f32, since the rounding decides the integers, and by the
 * definition, value by value. A block with a value that is no number is NaN. */
static void round_x(const float *x, size_t n, size_t width, double *out)
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
        out[i * width] = broken ? NAN : q * (double)scale;
    }
}

/* Values to a scale of a kernel's integers; 0 = it rounds nothing. */
static size_t rounded_block(const wa_case *which, const wa_walk_layer *layer)
{
    return which->kernel == WA_LABEL_INTERLEAVED_Q4_CPU ? 32
           : wa_case_rounds_inputs(which, layer)        ? WA_Q8_K_BLOCK
                                                        : 0;
}

static void round_rows(wa_oracle *o, const float *x, size_t block)
{
    size_t hidden = o->layer->hidden;
    for (size_t i = 0; i < o->rows; i++)
        for (size_t h = 0; h < hidden; h += block)
            round_x(x + o->row[i] * hidden + h, wa_size_min(hidden - h, block), o->width,
                    o->x + wa_oracle_start(o, o->place[i], hidden) + h * o->width);
}

/* act = phi(gate) * up, or ungated phi(up). */
static void activate(wa_oracle *o)
{
    const wa_walk_layer *l = o->layer;
    size_t n = o->groups * l->features * o->width;
    if (!l->gated)
        memcpy(o->act, o->up, n * sizeof *o->act);
    wa_phi_ref_all(l->activation, o->act, n);
    if (l->gated)
        wa_factor_ref_all(l->activation, o->up, n);
    for (size_t i = 0; l->gated && i < n; i++)
        o->act[i] *= o->up[i];
}

/* values [groups, features, width] += bias, where there is one. */
static void add_bias(const wa_oracle *o, const float *bias, double *values)
{
    size_t features = o->layer->features;
    for (size_t i = 0; bias != NULL && i < o->groups * features; i++)
        for (size_t lane = 0; lane < o->width; lane++)
            values[i * o->width + lane] += (double)bias[i % features];
}

/* The per-feature loop's gate is the ranking score itself, and for an ungated model so is its up
 * score. */
static void feed(wa_oracle *o)
{
    const wa_walk_layer *l = o->layer;
    bool serial = wa_case_is_loop(o->which);
    size_t bytes = o->groups * l->features * o->width * sizeof(double);
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

static double row_norm(wa_oracle *o, size_t f)
{
    const double *row = wa_oracle_row(&o->layer->select, f, &o->panel);
    double sum = 0.0;
    for (size_t h = 0; h < o->layer->hidden; h++)
        sum += row[h] * row[h];
    return sqrt(sum);
}

/* Is feature f, taken or left out against our choice, within the tie of the last feature we chose?
 */
static bool is_tie(wa_oracle *o, size_t f, size_t place)
{
    double edge = o->key[o->own[0]];
    return fabs(o->key[f] - edge) <= WA_ORACLE_TIE * o->norm[place] * row_norm(o, f);
}

/* The kernel's list is ours but for ties. `used` holds the kernel's on success. */
static bool agrees_but_for_ties(wa_oracle *o, size_t place, const int32_t *theirs)
{
    if (!mark(o->used, o->layer->features, theirs, o->count))
        return false;
    for (size_t i = 0; i < o->count; i++) /* ours that they left out */
        if (!o->used[o->own[i]] && !is_tie(o, (size_t)o->own[i], place))
            return false;
    for (size_t i = 0; i < o->count; i++) /* theirs that we left out stand after our last */
        if (before(o->key, o->own[0], theirs[i]) && !is_tie(o, (size_t)theirs[i], place))
            return false;
    return true;
}

/* Choose the features of one position: `used`. False when a score is NaN. */
static bool choose(wa_oracle *o, size_t place, const int32_t *theirs)
{
    size_t features = o->layer->features;
    const double *scores = o->scores + wa_oracle_start(o, place, features);
    for (size_t f = 0; f < features; f++) {
        o->key[f] = fabs(scores[f * o->width]);
        if (isnan(o->key[f]))
            return false;
    }
    pick(o->key, features, o->own, o->count);
    if (theirs == NULL || o->count == features || !agrees_but_for_ties(o, place, theirs))
        mark(o->used, features, o->own, o->count);
    return true;
}

/* Activations of features that a row does not use become zero; a NaN score makes them all NaN. */
static void drop_unused(wa_oracle *o, const int32_t *hits)
{
    size_t features = o->layer->features;
    for (size_t i = 0; i < o->rows; i++) {
        const int32_t *theirs = hits == NULL ? NULL : hits + o->row[i] * o->count;
        double *act = o->act + wa_oracle_start(o, o->place[i], features);
        bool known = choose(o, o->place[i], theirs);
        for (size_t f = 0; f < features; f++) {
            if (!known)
                act[f * o->width] = NAN;
            else if (!o->used[f])
                act[f * o->width] = 0.0;
        }
    }
}

/* y of every lane. The per-feature loops, and interleaved_q4, leave out what is at or below their
 * floor; so a stored row that no position uses is never touched, whatever it holds. */
static void project(wa_oracle *o)
{
    const wa_walk_layer *l = o->layer;
    bool drops = wa_case_is_loop(o->which) || o->which->kernel == WA_LABEL_INTERLEAVED_Q4_CPU;
    memset(o->y, 0, o->groups * l->hidden * o->width * sizeof *o->y);
    if (drops)
        wa_oracle_drop(o->act, o->groups * l->features * o->width, (double)WA_ACT_FLOOR);
    if (drops && !l->down_is_feature_major)
        wa_oracle_rows_used(&l->down, o->act, o->y, o->groups, &o->panel);
    else if (!l->down_is_feature_major)
        wa_oracle_rows(&l->down, o->act, o->y, o->groups, &o->panel);
    else if (drops)
        wa_oracle_features_used(&l->down, o->act, o->y, o->groups, &o->panel);
    else
        wa_oracle_features(&l->down, o->act, o->y, o->groups, &o->panel);
}

static void store_rows(const wa_oracle *o, double *y)
{
    const wa_walk_layer *l = o->layer;
    for (size_t i = 0; i < o->rows; i++) {
        const double *from = o->y + wa_oracle_start(o, o->place[i], l->hidden);
        for (size_t h = 0; h < l->hidden; h++) {
            double bias = l->down_bias == NULL ? 0.0 : (double)l->down_bias[h];
            y[o->row[i] * l->hidden + h] = from[h * o->width] + bias;
        }
    }
}

wa_status wa_oracle_ffn(const wa_oracle_call *call, double *y, double *least, wa_error *err)
{
    wa_oracle *o = call->oracle;
    const wa_case *which = call->which;
    WA_TRY(begin(o, which, call->layer, call->rows, call->width, err));
    bool rounds = wa_case_rounds_activations(which, call->layer);
    const int32_t *hits = o->ranked && which->k != WA_K_ALL ? call->hits : NULL;
    size_t block = rounded_block(which, call->layer), first = call->ties->count;
    find_same(call, hits);
    if (rounds || (least != NULL && o->ranked))
        wa_oracle_take_norms(o);
    while (seat_rows(o, call->rows, call->seats)) {
        load_rows(o, call->x);
        if (block > 0)
            round_rows(o, call->x, block);
        feed(o);
        if (o->ranked)
            drop_unused(o, hits);
        for (size_t i = 0; least != NULL && i < o->rows; i++)
            least[o->row[i]] = o->ranked ? wa_oracle_resolution(o, o->place[i]) : 0.0;
        if (rounds) {
            wa_oracle_round_activations(o);
            WA_TRY(wa_oracle_note_ties(call, err));
        }
        project(o);
        store_rows(o, y);
    }
    repeat_rows(o, call->rows, y, least);
    return wa_oracle_repeat_ties(call, first, err);
}

static wa_status run_call(const wa_oracle_call *call, const float *theirs, double *y, double *least,
                          wa_error *err)
{
    size_t hidden = call->layer->hidden;
    if (call->layer->experts == NULL)
        WA_TRY(wa_oracle_ffn(call, y, least, err));
    else
        WA_TRY(wa_oracle_experts(call, y, err));
    for (size_t i = 0; call->layer->experts != NULL && least != NULL && i < call->rows; i++)
        least[i] = 0.0;
    for (size_t i = 0; theirs != NULL && call->ties->count > 0 && i < call->rows; i++)
        wa_oracle_settle_ties(call->oracle, call->ties, i, hidden, theirs + i * hidden,
                              y + i * hidden);
    return WA_OK;
}

wa_status wa_oracle_run(wa_oracle *o, const wa_case *which, const wa_walk_layer *layer, size_t rows,
                        const float *x, size_t width, const size_t *seats, const int32_t *hits,
                        const float *theirs, double *y, double *least, wa_error *err)
{
    wa_ties ties = {0};
    const wa_oracle_call call = {.oracle = o,
                                 .which = which,
                                 .layer = layer,
                                 .rows = rows,
                                 .width = width,
                                 .x = x,
                                 .seats = seats,
                                 .hits = hits,
                                 .ties = &ties,
                                 .panel = &o->panel,
                                 .arena = o->arena};
    wa_mark mark = wa_arena_mark(o->arena);
    wa_status status = run_call(&call, theirs, y, least, err);
    wa_arena_release(o->arena, mark);
    return status;
}

double wa_oracle_flops(const wa_oracle *oracle)
{
    return oracle->flops;
}

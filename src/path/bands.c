/*
 * The second half of the per-feature loops: y = sum over hits of act * D_f, in the order of the
 * hits.
 *
 * Down rows are decoded a band of columns at a time, all features of it, into slices of 32 columns,
 * and every position walks its hits over a slice with its 32 sums in registers. Elements of y are
 * sums by themselves, so each keeps the order of the hits to the last bit; every stored block is
 * decoded once; a slice of some 2,000 features stays in the second-level cache, whose rows each
 * position reads in another order; and a band is small however many features there are. A down
 * matrix stored [H, F] gives a band by decoding rows and turning them. Of f32 rows that can be used
 * in place, few hits read theirs alone.
 */
#include "base/bytes.h"
#include "path/fault.h"
#include "path/walk.h"

#include "codec/simd.h"

#include <math.h>

/* A band is 256 columns (one block of the widest formats), or more where the features are few. */
enum { BAND_UNIT = 256, BAND_BYTES = 1 << 20, TURN = 16, SLICE = 32, FEW_OF = 4 };

/* Columns [first, first + width) of every feature's down row, as slices [F, SLICE] one after the
 * other; what the last one has beyond `width` is zero. */
typedef struct band {
    float *slices;
    size_t features, first, width;
} band;

/* Columns [first, first + width) of y, at most SLICE, of every feature's down row. */
typedef struct slice {
    const float *rows; /* [F, SLICE], `stride` floats apart; readable to the end of a row */
    size_t stride, first, width;
} slice;

static size_t band_width(const wa_walk_layer *l)
{
    size_t units = BAND_BYTES / sizeof(float) / BAND_UNIT / l->features;
    return wa_size_min(l->hidden, (units == 0 ? 1 : units) * BAND_UNIT);
}

static float *slice_of(const band *b, size_t column)
{
    return b->slices + column / SLICE * b->features * SLICE + column % SLICE;
}

/* Rows [h, h + count) of the stored matrix, `from` [count, F], become columns of the band. */
WA_CLONES static void turn(const float *restrict from, size_t h, size_t count, const band *b)
{
    for (size_t first = 0; first < b->features; first += TURN) {
        size_t end = first + TURN < b->features ? first + TURN : b->features;
        for (size_t i = 0; i < count; i++) {
            float *restrict to = slice_of(b, h + i);
            for (size_t f = first; f < end; f++)
                to[f * SLICE] = from[i * b->features + f];
        }
    }
}

/* down [H, F]: as many rows at a time as the panel holds. */
static void decode_rows(const wa_walk *walk, const band *b)
{
    const wa_scratch *scratch = walk->scratch;
    size_t most = WA_PANEL_BYTES / sizeof(float) / b->features;
    most = most == 0 ? 1 : most;
    for (size_t h = 0; h < b->width; h += most) {
        size_t count = wa_size_min(b->width - h, most);
        wa_matrix_decode(&walk->layer->down, b->first + h, count, scratch->panel);
        turn(scratch->panel, h, count, b);
    }
}

/* down [F, H]: a few rows at a time, which are still in the first-level cache when they are cut. */
static void decode_columns(const wa_walk *walk, const band *b)
{
    wa_matrix columns = wa_matrix_columns(&walk->layer->down, b->first, b->width);
    float *rows = walk->scratch->panel;
    for (size_t first = 0; first < b->features; first += TURN) {
        size_t count = wa_size_min(b->features - first, TURN);
        wa_matrix_decode(&columns, first, count, rows);
        for (size_t f = 0; f < count; f++)
            for (size_t h = 0; h < b->width; h += SLICE)
                memcpy(slice_of(b, h) + (first + f) * SLICE, rows + f * b->width + h,
                       wa_size_min(b->width - h, SLICE) * sizeof(float));
    }
}

static void decode_band(const wa_walk *walk, const band *b)
{
    if (b->width % SLICE != 0)
        memset(slice_of(b, b->width / SLICE * SLICE), 0, b->features * SLICE * sizeof(float));
    if (walk->layer->down_is_feature_major)
        decode_columns(walk, b);
    else
        decode_rows(walk, b);
}

/* y = the sum of act * D_f over the hits in turn, leaving out small activations. */
WA_CLONES static void sum_hits(const slice *from, const int32_t *restrict hits,
                               const float *restrict act, size_t count, float *restrict y)
{
    const float *restrict rows = from->rows;
    size_t stride = from->stride;
    float sum[SLICE] = {0};
    for (size_t h = 0; h < count; h++) {
        float a = act[h];
        if (fabsf(a) <= WA_ACT_FLOOR)
            continue;
        const float *restrict row = rows + (size_t)hits[h] * stride;
        for (size_t i = 0; i < SLICE; i++)
            sum[i] += a * row[i];
    }
    memcpy(y, sum, sizeof sum);
}

/* Eight chunks of the hit list, each summed by itself; their sums added in order (Q12). */
static void sum_chunks(const slice *from, const int32_t *hits, const float *act, size_t count,
                       float *y)
{
    float part[SLICE];
    size_t most = (count + WA_PARALLEL_CHUNKS - 1) / WA_PARALLEL_CHUNKS;
    memset(y, 0, sizeof part);
    for (size_t first = 0; first < count; first += most) {
        sum_hits(from, hits + first, act + first, wa_size_min(count - first, most), part);
        wa_axpy(1.0F, part, y, SLICE);
    }
}

/* A slice, for every position. */
static void walk_slice(const wa_walk *walk, wa_tile tile, size_t count, const slice *from)
{
    const wa_walk_layer *l = walk->layer;
    bool chunks = walk->which->kernel == WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN;
    for (size_t i = 0; i < walk->io_count; i++)
        for (size_t row = 0; row < tile.rows; row++) {
            const float *act = walk->up[i] + row * l->features;
            const int32_t *hits = (const int32_t *)(const void *)(walk->act[i] + row * l->features);
            float sum[SLICE];
            if (hits[0] < 0)
                continue;
            (chunks ? sum_chunks : sum_hits)(from, hits, act, count, sum);
            memcpy(walk->io[i].y + (tile.first + row) * l->hidden + from->first, sum,
                   from->width * sizeof *sum);
        }
}

static wa_status walk_bands(wa_walk *walk, wa_tile tile, size_t count)
{
    const wa_walk_layer *l = walk->layer;
    size_t width = band_width(l), stored = (width + SLICE - 1) / SLICE * SLICE;
    band b = {.features = l->features};
    WA_TRY(wa_arena_take_raw(walk->scratch->arena, l->features, stored * sizeof(float), &b.slices,
                             walk->err));
    for (b.first = 0; b.first < l->hidden; b.first += width) {
        b.width = wa_size_min(l->hidden - b.first, width);
        decode_band(walk, &b);
        for (size_t column = 0; column < b.width; column += SLICE) {
            slice from = {.rows = slice_of(&b, column),
                          .stride = SLICE,
                          .first = b.first + column,
                          .width = wa_size_min(b.width - column, SLICE)};
            walk_slice(walk, tile, count, &from);
        }
    }
    return WA_OK;
}

/* The stored down rows themselves, where hits are so few that copying all rows takes longer; NULL:
 * not so. Slices are whole. */
static const float *rows_in_place(const wa_walk_layer *l, size_t count)
{
    bool few = count <= l->features / FEW_OF;
    return few && l->down_is_feature_major && l->hidden % SLICE == 0 ? wa_matrix_in_place(&l->down)
                                                                     : NULL;
}

static wa_status walk_columns(wa_walk *walk, wa_tile tile, size_t count)
{
    const wa_walk_layer *l = walk->layer;
    const float *rows = rows_in_place(l, count);
    if (rows == NULL)
        return walk_bands(walk, tile, count);
    for (size_t first = 0; first < l->hidden; first += SLICE) {
        slice from = {.rows = rows + first, .stride = l->hidden, .first = first, .width = SLICE};
        walk_slice(walk, tile, count, &from);
    }
    return WA_OK;
}

wa_status wa_walk_sum_hits(wa_walk *walk, wa_tile tile, size_t count)
{
    const wa_walk_layer *l = walk->layer;
    WA_TRY(walk_columns(walk, tile, count));
    for (size_t i = 0; i < walk->io_count; i++)
        for (size_t row = 0; row < tile.rows; row++) {
            float *y = walk->io[i].y + (tile.first + row) * l->hidden;
            if (l->down_bias != NULL)
                wa_add_bias(y, 1, l->hidden, l->down_bias);
            wa_fault_sum(walk->which, l, y, l->hidden);
        }
    return WA_OK;
}

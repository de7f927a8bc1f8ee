/*
 * The second half of the per-feature loops: y = sum over hits of act * D_f, in the order of the
 * hits.
 *
 * Down rows that cannot be used in place are decoded a band of columns at a time, all features of
 * it, and every position walks its hits over the band. Elements of y are sums by themselves, so each
 * keeps the order of the hits to the last bit; every stored block is decoded once; and a band is
 * small however many features there are. A down matrix stored [H, F] gives a band by decoding rows
 * and turning them.
 */
#include "path/fault.h"
#include "path/walk.h"
#include "base/bytes.h"

#include "codec/simd.h"

#include <math.h>

/* A band is 256 columns (one block of the widest formats), or more where the features are few. */
enum { BAND_UNIT = 256, BAND_BYTES = 1 << 20, TURN = 16 };

/* Columns [first, first + width) of every feature's down row. */
typedef struct band {
    const float *rows; /* [F] rows, `stride` apart */
    size_t stride, first, width;
} band;

static size_t band_width(const wa_walk_layer *l)
{
    size_t units = BAND_BYTES / sizeof(float) / BAND_UNIT / l->features;
    return wa_size_min(l->hidden, (units == 0 ? 1 : units) * BAND_UNIT);
}

/* from [width, F] rows of the stored matrix to columns of `to` [F, stride]. */
WA_CLONES static void turn(const float *restrict from, size_t width, size_t features,
                           float *restrict to, size_t stride)
{
    for (size_t first = 0; first < features; first += TURN) {
        size_t end = first + TURN < features ? first + TURN : features;
        for (size_t f = first; f < end; f++)
            for (size_t h = 0; h < width; h++)
                to[f * stride + h] = from[h * features + f];
    }
}

/* down [H, F]: rows [first, first + width), as many at a time as the panel holds. */
static void decode_rows(const wa_walk *walk, size_t first, size_t width, float *to)
{
    const wa_walk_layer *l = walk->layer;
    const wa_scratch *scratch = walk->scratch;
    size_t most = WA_PANEL_BYTES / sizeof(float) / l->features;
    most = most == 0 ? 1 : most;
    for (size_t h = 0; h < width; h += most) {
        size_t count = wa_size_min(width - h, most);
        wa_matrix_decode(&l->down, first + h, count, scratch->panel);
        turn(scratch->panel, count, l->features, to + h, width);
    }
}

static void decode_band(const wa_walk *walk, size_t first, size_t width, float *to)
{
    const wa_walk_layer *l = walk->layer;
    if (!l->down_is_feature_major) {
        decode_rows(walk, first, width, to);
        return;
    }
    wa_matrix columns = wa_matrix_columns(&l->down, first, width);
    wa_matrix_decode(&columns, 0, l->features, to);
}

/* y += act * D_f for each hit in turn, leaving out small activations. Four at a time, added one after
 * the other, so that y is loaded and stored once for them; the same bits as one at a time. */
WA_CLONES static void add_hits(const band *b, const int32_t *hits, const float *act, size_t count,
                               float *restrict y)
{
    enum { TOGETHER = 4 };
    const float *row[TOGETHER];
    float a[TOGETHER];
    size_t n = 0;
    for (size_t h = 0; h < count; h++) {
        if (fabsf(act[h]) <= WA_ACT_FLOOR)
            continue;
        row[n] = b->rows + (size_t)hits[h] * b->stride;
        a[n++] = act[h];
        if (n < TOGETHER)
            continue;
        const float *restrict r0 = row[0], *restrict r1 = row[1];
        const float *restrict r2 = row[2], *restrict r3 = row[3];
        for (size_t i = 0; i < b->width; i++)
            y[i] = (((y[i] + a[0] * r0[i]) + a[1] * r1[i]) + a[2] * r2[i]) + a[3] * r3[i];
        n = 0;
    }
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < b->width; i++)
            y[i] += a[k] * row[k][i];
}

/* Eight chunks of the hit list, each summed by itself; their sums added in order (Q12). */
static void add_chunks(const band *b, const int32_t *hits, const float *act, size_t count,
                       float *part, float *y)
{
    size_t most = (count + WA_PARALLEL_CHUNKS - 1) / WA_PARALLEL_CHUNKS;
    for (size_t first = 0; first < count; first += most) {
        memset(part, 0, b->width * sizeof *part);
        add_hits(b, hits + first, act + first, wa_size_min(count - first, most), part);
        wa_axpy(1.0F, part, y, b->width);
    }
}

static void walk_band(const wa_walk *walk, wa_tile tile, size_t count, const band *b, float *part)
{
    const wa_walk_layer *l = walk->layer;
    bool chunks = walk->which->kernel == WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN;
    for (size_t i = 0; i < walk->io_count; i++)
        for (size_t row = 0; row < tile.rows; row++) {
            const float *act = walk->up[i] + row * l->features;
            const int32_t *hits =
                (const int32_t *)(const void *)(walk->act[i] + row * l->features);
            float *y = walk->io[i].y + (tile.first + row) * l->hidden + b->first;
            if (hits[0] < 0)
                continue;
            memset(y, 0, b->width * sizeof *y);
            if (chunks)
                add_chunks(b, hits, act, count, part, y);
            else
                add_hits(b, hits, act, count, y);
        }
}

static wa_status walk_bands(wa_walk *walk, wa_tile tile, size_t count)
{
    const wa_walk_layer *l = walk->layer;
    wa_arena *arena = walk->scratch->arena;
    const float *in_place = l->down_is_feature_major ? wa_matrix_in_place(&l->down) : NULL;
    size_t width = in_place != NULL ? l->hidden : band_width(l);
    float *part, *decoded = NULL;
    WA_TRY(wa_arena_take_raw(arena, width, sizeof *part, &part, walk->err));
    if (in_place == NULL)
        WA_TRY(wa_arena_take_raw(arena, l->features, width * sizeof(float), &decoded, walk->err));
    for (size_t first = 0; first < l->hidden; first += width) {
        band b = {.rows = in_place,
                  .stride = l->hidden,
                  .first = first,
                  .width = wa_size_min(l->hidden - first, width)};
        if (in_place == NULL) {
            decode_band(walk, first, b.width, decoded);
            b.rows = decoded;
            b.stride = b.width;
        }
        walk_band(walk, tile, count, &b, part);
    }
    return WA_OK;
}

wa_status wa_walk_sum_hits(wa_walk *walk, wa_tile tile, size_t count)
{
    const wa_walk_layer *l = walk->layer;
    WA_TRY(walk_bands(walk, tile, count));
    for (size_t i = 0; i < walk->io_count; i++)
        for (size_t row = 0; row < tile.rows; row++) {
            float *y = walk->io[i].y + (tile.first + row) * l->hidden;
            if (l->down_bias != NULL)
                wa_add_bias(y, 1, l->hidden, l->down_bias);
            wa_fault_sum(walk->which, l, y, l->hidden);
        }
    return WA_OK;
}

/*
 * interleaved_q4:cpu (walk-paths 3.4). Gate and up: x is rounded to 8-bit integers, a scale for
 * each 32 of them; dots of a block are exact integers, scaled and added in f32, block by block.
 * Down: f32 activations on dequantised rows, those below 1e-10 left out.
 */
#include "path/fault.h"
#include "path/walk.h"

#include "codec/simd.h"

#include <math.h>

enum { BLOCK = 32, Q8_MAX = 127, STRIP = 64 };

/* Rows of blocks of small integers: value = integer * scale of its block. */
typedef struct block_rows {
    int8_t *q;    /* [rows, H] */
    float *scale; /* [rows, H / 32] */
} block_rows;

static wa_status open_blocks(const wa_walk *walk, size_t rows, block_rows *out)
{
    wa_arena *arena = walk->scratch->arena;
    size_t hidden = walk->layer->hidden;
    WA_TRY(wa_arena_take_raw(arena, rows, hidden, &out->q, walk->err));
    return wa_arena_take_raw(arena, rows, hidden / BLOCK * sizeof(float), &out->scale, walk->err);
}

/* s = max|x| / 127, q = x / s rounded, halves away from zero. A block with a value that is no
 * number has the scale NaN, so that it is seen; upstream drops it. */
static void round_block(const float *x, int8_t *q, float *scale)
{
    float most = 0.0F, nothing = 0.0F;
    for (int i = 0; i < BLOCK; i++) {
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
        nothing += 0.0F * x[i]; /* NaN if any is infinite or NaN */
    }
    float s = most / (float)Q8_MAX;
    float inverse = s > 0.0F ? 1.0F / s : 0.0F;
    bool usable = nothing == 0.0F && isfinite(inverse);
    for (int i = 0; i < BLOCK; i++)
        q[i] = usable ? (int8_t)roundf(x[i] * inverse) : 0;
    *scale = nothing == 0.0F ? s : NAN;
}

static void round_rows(const wa_walk *walk, const float *x, size_t rows, const block_rows *to)
{
    size_t count = rows * walk->layer->hidden / BLOCK;
    for (size_t b = 0; b < count; b++)
        round_block(x + b * BLOCK, to->q + b * BLOCK, to->scale + b);
    wa_fault_q8(walk->which, walk->layer, to->q, count * BLOCK);
}

/* A strip of stored rows turned over, so that vector lanes hold rows and no dot needs folding. */
typedef struct strip {
    int16_t (*w)[STRIP]; /* [H]: element h of each row */
    float (*d)[STRIP];   /* [H / 32] */
    block_rows stored;   /* [STRIP rows] as split by the codec */
} strip;

static wa_status open_strip(const wa_walk *walk, strip *out)
{
    wa_arena *arena = walk->scratch->arena;
    size_t hidden = walk->layer->hidden;
    WA_TRY(open_blocks(walk, STRIP, &out->stored));
    WA_TRY(wa_arena_take(arena, hidden, sizeof *out->w, &out->w, walk->err));
    return wa_arena_take(arena, hidden / BLOCK, sizeof *out->d, &out->d, walk->err);
}

static void load_strip(const wa_matrix *w, size_t first, size_t height, const strip *to)
{
    size_t each = w->cols / BLOCK;
    wa_q4_0_split(w->format, w->data + first * w->row_bytes, height * each, to->stored.q,
                  to->stored.scale);
    for (size_t f = 0; f < height; f++) {
        for (size_t h = 0; h < w->cols; h++)
            to->w[h][f] = to->stored.q[f * w->cols + h];
        for (size_t b = 0; b < each; b++)
            to->d[b][f] = to->stored.scale[f * each + b];
    }
}

/* A strip with one position. A dot of a block is at most 32 * 127 * 8 = 32512: it fits 16 bits. */
WA_CLONES static void dot_strip(const strip *w, const int8_t *restrict x, const float *restrict s,
                                size_t count, float *restrict sum)
{
    for (size_t f = 0; f < STRIP; f++)
        sum[f] = 0.0F;
    for (size_t b = 0; b < count; b++) {
        int16_t dot[STRIP] = {0};
        for (size_t i = 0; i < BLOCK; i++) {
            const int16_t *restrict row = w->w[b * BLOCK + i];
            int16_t q = x[b * BLOCK + i];
            for (size_t f = 0; f < STRIP; f++)
                dot[f] = (int16_t)(dot[f] + q * row[f]);
        }
        for (size_t f = 0; f < STRIP; f++)
            sum[f] += (float)dot[f] * (w->d[b][f] * s[b]);
    }
}

/* to [tile, F] of each input = its rounded rows . W^T, a strip of stored rows at a time. */
static void dot_matrix(const wa_walk *walk, wa_tile tile, const wa_matrix *w, const block_rows *x,
                       const strip *space, float *const *to)
{
    size_t hidden = walk->layer->hidden, features = walk->layer->features, each = hidden / BLOCK;
    for (size_t first = 0; first < features; first += STRIP) {
        size_t height = features - first < STRIP ? features - first : STRIP;
        load_strip(w, first, height, space);
        for (size_t i = 0; i < walk->io_count; i++)
            for (size_t row = 0; row < tile.rows; row++) {
                float sum[STRIP];
                dot_strip(space, x[i].q + row * hidden, x[i].scale + row * each, each, sum);
                memcpy(to[i] + row * features + first, sum, height * sizeof *sum);
            }
    }
}

static void drop_small(float *act, size_t n)
{
    for (size_t i = 0; i < n; i++)
        act[i] = fabsf(act[i]) < WA_ACT_FLOOR ? 0.0F : act[i];
}

static wa_status feed(wa_walk *walk, wa_tile tile)
{
    const wa_walk_layer *l = walk->layer;
    block_rows *x;
    strip space;
    WA_TRY(wa_arena_take_raw(walk->scratch->arena, walk->io_count, sizeof *x, &x, walk->err));
    WA_TRY(open_strip(walk, &space));
    for (size_t i = 0; i < walk->io_count; i++) {
        WA_TRY(open_blocks(walk, tile.rows, &x[i]));
        round_rows(walk, walk->io[i].x + tile.first * l->hidden, tile.rows, &x[i]);
    }
    if (l->gated)
        dot_matrix(walk, tile, &l->gate, x, &space, walk->act);
    dot_matrix(walk, tile, &l->up, x, &space, walk->up);
    for (size_t i = 0; i < walk->io_count; i++) {
        if (l->gate_bias != NULL)
            wa_add_bias(walk->act[i], tile.rows, l->features, l->gate_bias);
        if (l->up_bias != NULL)
            wa_add_bias(walk->up[i], tile.rows, l->features, l->up_bias);
    }
    wa_walk_activate(walk, tile);
    for (size_t i = 0; i < walk->io_count; i++)
        drop_small(walk->act[i], tile.rows * l->features);
    return WA_OK;
}

/* Blocks must fill the rows, and rows follow one another: V6 of a vindex. */
static wa_status check_matrix(const wa_walk *walk, const wa_matrix *w)
{
    bool fits = w->cols % BLOCK == 0 &&
                (w->format == WA_FORMAT_Q4_0 || w->format == WA_FORMAT_GGML_Q4_0) &&
                w->order == WA_ROWS_PLAIN &&
                w->row_bytes == w->cols / BLOCK * wa_format_get(w->format)->block_bytes;
    if (fits)
        return WA_OK;
    return wa_fail(walk->err, WA_E_UNSUPPORTED,
                   "case '%s': %s is no matrix of whole Q4_0 rows (%zu columns)", walk->which->name,
                   w->name, w->cols);
}

wa_status wa_q4_tile(wa_walk *walk, wa_tile tile)
{
    const wa_walk_layer *l = walk->layer;
    if (l->gated)
        WA_TRY(check_matrix(walk, &l->gate));
    WA_TRY(check_matrix(walk, &l->up));
    wa_mark mark = wa_arena_mark(walk->scratch->arena);
    wa_status status = feed(walk, tile);
    wa_arena_release(walk->scratch->arena, mark);
    if (status == WA_OK)
        wa_walk_project(walk, tile, walk->act);
    return status;
}

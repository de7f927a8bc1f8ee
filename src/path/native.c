/*
 * interleaved_kquant:native (larql-2026-08 3.1): gate, up and down by dots of stored K-quant rows
 * with f32 activations. A dot is one f32 sum, each product rounded, in the order in which LARQL's
 * x86 kernel goes through a row; so every output has the bits of its stored row and its position
 * alone.
 */
#include "path/fault.h"
#include "path/walk.h"

#include "codec/simd.h"

enum { STRIP = 64, BLOCK = 256, GROUP = 64 };

/* A block of columns of a strip of stored rows, turned over, so that vector lanes hold rows: each
 * lane is a sum of its own. */
typedef struct strip {
    float (*w)[STRIP];   /* [BLOCK]: the element that is taken k-th, of each row */
    float (*sum)[STRIP]; /* [inputs * tile rows] */
    float *rows;         /* [STRIP, BLOCK] as decoded */
} strip;

static wa_status open_strip(const wa_walk *walk, wa_tile tile, strip *out)
{
    wa_arena *arena = walk->scratch->arena;
    size_t sums;
    if (!wa_size_mul(walk->io_count, tile.rows, &sums))
        return wa_fail(walk->err, WA_E_MEMORY, "%zu rows of %zu inputs overflow", tile.rows,
                       walk->io_count);
    WA_TRY(wa_arena_take(arena, BLOCK, sizeof *out->w, &out->w, walk->err));
    WA_TRY(wa_arena_take_raw(arena, sums, sizeof *out->sum, &out->sum, walk->err));
    return wa_arena_take_raw(arena, (size_t)STRIP * BLOCK, sizeof *out->rows, &out->rows,
                             walk->err);
}

/* Q4_K: of each 64 elements, one of the low and one of the high nibbles in turn; Q6_K as they
 * stand. */
static void set_order(wa_format format, uint16_t order[BLOCK])
{
    for (size_t k = 0; k < BLOCK; k++) {
        size_t in_turn = k / GROUP * GROUP + k % 2 * (GROUP / 2) + k % GROUP / 2;
        order[k] = (uint16_t)(format == WA_FORMAT_Q4_K ? in_turn : k);
    }
}

/* Lanes beyond `height` keep what they had; nobody looks at their sums. */
static void load_block(const wa_matrix *w, size_t block, size_t first, size_t height,
                       const uint16_t *order, const strip *to)
{
    wa_matrix view = wa_matrix_columns(w, block * BLOCK, BLOCK);
    wa_matrix_decode(&view, first, height, to->rows);
    for (size_t k = 0; k < BLOCK; k++)
        for (size_t f = 0; f < height; f++)
            to->w[k][f] = to->rows[f * BLOCK + order[k]];
}

WA_CLONES static void add_block(float (*restrict w)[STRIP], const uint16_t *restrict order,
                                const float *restrict x, float *restrict sum)
{
    float lane[STRIP];
    for (size_t f = 0; f < STRIP; f++)
        lane[f] = sum[f];
    for (size_t k = 0; k < BLOCK; k++) {
        float value = x[order[k]];
        for (size_t f = 0; f < STRIP; f++)
            lane[f] += w[k][f] * value;
    }
    for (size_t f = 0; f < STRIP; f++)
        sum[f] = lane[f];
}

/* y [tile, rows of w] of each pair = x [tile, cols of w] . W^T */
static void dot_matrix(const wa_walk *walk, wa_tile tile, const wa_matrix *w,
                       const wa_operand *pairs, const strip *s)
{
    uint16_t order[BLOCK];
    set_order(w->format, order);
    for (size_t first = 0; first < w->rows; first += STRIP) {
        size_t height = w->rows - first < STRIP ? w->rows - first : STRIP;
        memset(s->sum, 0, walk->io_count * tile.rows * sizeof *s->sum);
        for (size_t block = 0; block < w->cols / BLOCK; block++) {
            load_block(w, block, first, height, order, s);
            for (size_t i = 0; i < walk->io_count; i++)
                for (size_t row = 0; row < tile.rows; row++)
                    add_block(s->w, order, pairs[i].x + row * w->cols + block * BLOCK,
                              s->sum[i * tile.rows + row]);
        }
        for (size_t i = 0; i < walk->io_count; i++)
            for (size_t row = 0; row < tile.rows; row++)
                memcpy(pairs[i].y + row * w->rows + first, s->sum[i * tile.rows + row],
                       height * sizeof(float));
    }
}

static void add_bias(const wa_walk *walk, wa_tile tile, const wa_operand *pairs, const float *bias,
                     size_t width)
{
    for (size_t i = 0; i < walk->io_count && bias != NULL; i++)
        wa_add_bias(pairs[i].y, tile.rows, width, bias);
}

static wa_status run(wa_walk *walk, wa_tile tile)
{
    const wa_walk_layer *l = walk->layer;
    strip s;
    WA_TRY(open_strip(walk, tile, &s));
    const wa_operand *pairs = wa_walk_pair(walk, tile, walk->act);
    dot_matrix(walk, tile, &l->gate, pairs, &s);
    add_bias(walk, tile, pairs, l->gate_bias, l->features);
    pairs = wa_walk_pair(walk, tile, walk->up);
    dot_matrix(walk, tile, &l->up, pairs, &s);
    add_bias(walk, tile, pairs, l->up_bias, l->features);
    wa_walk_activate(walk, tile);
    for (size_t i = 0; i < walk->io_count; i++)
        walk->pairs[i] =
            (wa_operand){.x = walk->act[i], .y = walk->io[i].y + tile.first * l->hidden};
    dot_matrix(walk, tile, &l->down, walk->pairs, &s);
    add_bias(walk, tile, walk->pairs, l->down_bias, l->hidden);
    for (size_t i = 0; i < walk->io_count; i++)
        wa_fault_sum(walk->which, l, walk->pairs[i].y, tile.rows * l->hidden);
    return WA_OK;
}

/* Whole blocks of the file's own formats; wa_cases_build offers the path to nothing else. */
static wa_status check_matrix(const wa_walk *walk, const wa_matrix *w)
{
    bool format = w->format == WA_FORMAT_Q4_K || w->format == WA_FORMAT_Q6_K ||
                  w->format == WA_FORMAT_GGML_Q6_K;
    if (format && w->cols % BLOCK == 0 && w->order == WA_ROWS_PLAIN && !w->through_f16)
        return WA_OK;
    return wa_fail(walk->err, WA_E_UNSUPPORTED,
                   "case '%s': %s is no matrix of whole K-quant rows (%zu columns)",
                   walk->which->name, w->name, w->cols);
}

wa_status wa_native_tile(wa_walk *walk, wa_tile tile)
{
    const wa_walk_layer *l = walk->layer;
    if (!l->gated || l->down_is_feature_major)
        return wa_fail(walk->err, WA_E_UNSUPPORTED, "case '%s': no gated FFN with down [H, F]",
                       walk->which->name);
    WA_TRY(check_matrix(walk, &l->gate));
    WA_TRY(check_matrix(walk, &l->up));
    WA_TRY(check_matrix(walk, &l->down));
    wa_mark mark = wa_arena_mark(walk->scratch->arena);
    wa_status status = run(walk, tile);
    wa_arena_release(walk->scratch->arena, mark);
    return status;
}

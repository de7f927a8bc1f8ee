/*
 * Integer dots of stored rows with inputs in Q8_K. interleaved_kquant:q8k is LARQL's server for such
 * inputs (larql-2026-08 3.4): gate and up with x rounded to Q8_K, activations in f32; down likewise,
 * with the activations rounded, where it is Q4_K in whole blocks, else as decoded rows and f32
 * activations. experts:q8k is LARQL's experts (larql-2026-08 5.4): x and activations are rounded for
 * either K-quant, and filled up with zeros to whole blocks as the stored rows are.
 */
#include "path/fault.h"
#include "path/walk.h"

#include "compute/q8k.h"

typedef struct rounded {
    size_t count;
    wa_q8k_rows *rows;        /* [count] */
    wa_q8k_operand *operands; /* [count] */
} rounded;

bool wa_case_may_round(const wa_case *which)
{
    return which->kernel == WA_LABEL_INTERLEAVED_KQUANT_Q8K ||
           which->kernel == WA_LABEL_EXPERTS_Q8K;
}

bool wa_case_rounds_inputs(const wa_case *which, const wa_walk_layer *layer)
{
    return wa_case_may_round(which) && !layer->of_model;
}

bool wa_case_rounds_activations(const wa_case *which, const wa_walk_layer *layer)
{
    bool whole = layer->down.format == WA_FORMAT_Q4_K && layer->down.cols % WA_Q8_K_BLOCK == 0;
    return wa_case_rounds_inputs(which, layer) && (which->kernel == WA_LABEL_EXPERTS_Q8K || whole);
}

/* The values [rows, n] of `count` inputs rounded. */
static wa_status round_inputs(const wa_walk *walk, size_t rows, const wa_operand *pairs,
                              size_t count, size_t n, rounded *out)
{
    wa_arena *arena = walk->scratch->arena;
    out->count = count;
    WA_TRY(wa_arena_take(arena, count, sizeof *out->rows, &out->rows, walk->err));
    WA_TRY(wa_arena_take(arena, count, sizeof *out->operands, &out->operands, walk->err));
    for (size_t i = 0; i < count; i++) {
        WA_TRY(wa_q8k_take(arena, rows, n, &out->rows[i], walk->err));
        wa_q8k_round(pairs[i].x, n, &out->rows[i]);
        size_t blocks = rows * out->rows[i].blocks;
        wa_fault_q8(walk->which, walk->layer, out->rows[i].q, blocks * WA_Q8_K_BLOCK);
        wa_fault_q8_scales(walk->which, walk->layer, out->rows[i].d, blocks);
    }
    return WA_OK;
}

static wa_status multiply(const wa_walk *walk, const wa_matrix *w, const rounded *x,
                          float *const *to, const float *bias)
{
    for (size_t i = 0; i < x->count; i++)
        x->operands[i] = (wa_q8k_operand){.x = &x->rows[i], .y = to[i]};
    if (wa_q8k_multiply(w, x->operands, x->count, walk->scratch->arena, walk->err) != WA_OK)
        return wa_note(walk->err, "case '%s'", walk->which->name);
    for (size_t i = 0; i < x->count && bias != NULL; i++)
        wa_add_bias(to[i], x->rows[i].rows, w->rows, bias);
    return WA_OK;
}

/* y by the down rows as integers. */
static wa_status project(wa_walk *walk, wa_tile tile)
{
    const wa_walk_layer *l = walk->layer;
    rounded act;
    float **y;
    WA_TRY(wa_arena_take(walk->scratch->arena, walk->io_count, sizeof *y, &y, walk->err));
    for (size_t i = 0; i < walk->io_count; i++) {
        y[i] = walk->io[i].y + tile.first * l->hidden;
        walk->pairs[i] = (wa_operand){.x = walk->act[i], .y = y[i]};
    }
    WA_TRY(round_inputs(walk, tile.rows, walk->pairs, walk->io_count, l->features, &act));
    WA_TRY(multiply(walk, &l->down, &act, y, l->down_bias));
    for (size_t i = 0; i < walk->io_count; i++)
        wa_fault_sum(walk->which, l, y[i], tile.rows * l->hidden);
    return WA_OK;
}

static wa_status run(wa_walk *walk, wa_tile tile)
{
    const wa_walk_layer *l = walk->layer;
    rounded x;
    WA_TRY(round_inputs(walk, tile.rows, wa_walk_pair(walk, tile, walk->act), walk->io_count,
                        l->hidden, &x));
    WA_TRY(multiply(walk, &l->gate, &x, walk->act, l->gate_bias));
    WA_TRY(multiply(walk, &l->up, &x, walk->up, l->up_bias));
    wa_walk_activate(walk, tile);
    if (wa_case_rounds_activations(walk->which, l))
        return project(walk, tile);
    wa_walk_project(walk, tile, walk->act);
    return WA_OK;
}

wa_status wa_q8k_tile(wa_walk *walk, wa_tile tile)
{
    const wa_walk_layer *l = walk->layer;
    if (!wa_case_rounds_inputs(walk->which, l))
        return wa_products_tile(walk, tile);
    if (!l->gated || l->down_is_feature_major)
        return wa_fail(walk->err, WA_E_UNSUPPORTED, "case '%s': no gated FFN with down [H, F]",
                       walk->which->name);
    wa_mark mark = wa_arena_mark(walk->scratch->arena);
    wa_status status = run(walk, tile);
    wa_arena_release(walk->scratch->arena, mark);
    return status;
}

/* y = FFN(x) of one expert. */
static wa_status feed(wa_walk *walk, const wa_expert *ffn, size_t rows, const float *x, float *y)
{
    const wa_walk_layer *l = walk->layer;
    size_t features = ffn->up.rows;
    float *act = walk->act[0], *up = walk->up[0];
    const wa_operand to_ffn = {.x = x}, to_down = {.x = act};
    rounded in, between;
    WA_TRY(round_inputs(walk, rows, &to_ffn, 1, l->hidden, &in));
    WA_TRY(multiply(walk, &ffn->gate, &in, &act, ffn->gate_bias));
    WA_TRY(multiply(walk, &ffn->up, &in, &up, ffn->up_bias));
    wa_activate_gated(l->activation, act, up, act, rows * features);
    WA_TRY(round_inputs(walk, rows, &to_down, 1, features, &between));
    return multiply(walk, &ffn->down, &between, &y, ffn->down_bias);
}

wa_status wa_q8k_feed(wa_walk *walk, const wa_expert *ffn, size_t rows, const float *x, float *y)
{
    wa_mark mark = wa_arena_mark(walk->scratch->arena);
    wa_status status = feed(walk, ffn, rows, x, y);
    wa_arena_release(walk->scratch->arena, mark);
    return status;
}

/*
 * interleaved_kquant:q8k, LARQL's server for inputs in Q8_K (larql-2026-08 3.4): gate and up by
 * integer dots of stored rows with x rounded to Q8_K, activations in f32; down likewise, with the
 * activations rounded, where it is Q4_K in whole blocks, else as decoded rows and f32 activations.
 */
#include "path/fault.h"
#include "path/walk.h"

#include "compute/q8k.h"

typedef struct rounded {
    wa_q8k_rows *rows;        /* [io_count] */
    wa_q8k_operand *operands; /* [io_count] */
} rounded;

bool wa_case_rounds_activations(const wa_case *which, const wa_walk_layer *layer)
{
    return which->kernel == WA_LABEL_INTERLEAVED_KQUANT_Q8K &&
           layer->down.format == WA_FORMAT_Q4_K && layer->down.cols % WA_Q8_K_BLOCK == 0;
}

/* Each input's values [tile rows, n] rounded. */
static wa_status round_inputs(const wa_walk *walk, wa_tile tile, const wa_operand *pairs, size_t n,
                              rounded *out)
{
    wa_arena *arena = walk->scratch->arena;
    WA_TRY(wa_arena_take(arena, walk->io_count, sizeof *out->rows, &out->rows, walk->err));
    WA_TRY(wa_arena_take(arena, walk->io_count, sizeof *out->operands, &out->operands, walk->err));
    for (size_t i = 0; i < walk->io_count; i++) {
        WA_TRY(wa_q8k_take(arena, tile.rows, n, &out->rows[i], walk->err));
        wa_q8k_round(pairs[i].x, n, &out->rows[i]);
        wa_fault_q8(walk->which, walk->layer, out->rows[i].q,
                    tile.rows * out->rows[i].blocks * WA_Q8_K_BLOCK);
    }
    return WA_OK;
}

static wa_status multiply(const wa_walk *walk, const wa_matrix *w, const rounded *x,
                          float *const *to, const float *bias)
{
    for (size_t i = 0; i < walk->io_count; i++)
        x->operands[i] = (wa_q8k_operand){.x = &x->rows[i], .y = to[i]};
    if (wa_q8k_multiply(w, x->operands, walk->io_count, walk->scratch->arena, walk->err) != WA_OK)
        return wa_note(walk->err, "case '%s'", walk->which->name);
    for (size_t i = 0; i < walk->io_count && bias != NULL; i++)
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
    WA_TRY(round_inputs(walk, tile, walk->pairs, l->features, &act));
    WA_TRY(multiply(walk, &l->down, &act, y, l->down_bias));
    for (size_t i = 0; i < walk->io_count; i++)
        wa_fault_sum(walk->which, l, y[i], tile.rows * l->hidden);
    return WA_OK;
}

static wa_status run(wa_walk *walk, wa_tile tile)
{
    const wa_walk_layer *l = walk->layer;
    rounded x;
    WA_TRY(round_inputs(walk, tile, wa_walk_pair(walk, tile, walk->act), l->hidden, &x));
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
    if (!l->gated || l->down_is_feature_major)
        return wa_fail(walk->err, WA_E_UNSUPPORTED, "case '%s': no gated FFN with down [H, F]",
                       walk->which->name);
    wa_mark mark = wa_arena_mark(walk->scratch->arena);
    wa_status status = run(walk, tile);
    wa_arena_release(walk->scratch->arena, mark);
    return status;
}

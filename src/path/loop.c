/*
 * The per-feature loops, sparse:serial and sparse:parallel_q4k_down: each position adds up its
 * features in descending |gate score| (walk-paths 3.3).
 *
 * Stored rows are decoded once for all positions, not once for each of their hits. Up rows go tile
 * by tile, since a position's dots depend on no order; down rows go band by band of columns
 * (bands.c), which leaves the order of each element's sum as defined.
 *
 * Buffers: act holds the gate scores and, at last, the hits; up holds marks, dots, activations by
 * feature and, at last, activations in the order of the hits.
 */
#include "path/fault.h"
#include "path/walk.h"

/* One tile under way. */
typedef struct loop {
    wa_walk *walk;
    wa_tile tile;
    size_t count;   /* hits of a position */
    wa_rank rank;   /* and the next two: space for one position */
    int32_t *hits;  /* [count] */
    float *ordered; /* [count] */
} loop;

static wa_status open_loop(wa_walk *walk, wa_tile tile, loop *out)
{
    wa_arena *arena = walk->scratch->arena;
    size_t features = walk->layer->features;
    *out = (loop){.walk = walk, .tile = tile, .count = wa_case_hit_count(walk->which, features)};
    WA_TRY(wa_arena_take_raw(arena, out->count, sizeof *out->hits, &out->hits, walk->err));
    WA_TRY(wa_arena_take_raw(arena, out->count, sizeof *out->ordered, &out->ordered, walk->err));
    return wa_rank_open(arena, features, &out->rank, walk->err);
}

static bool rank_row(const loop *o, size_t i, size_t row)
{
    size_t features = o->walk->layer->features;
    return wa_rank_top(&o->rank, o->walk->act[i] + row * features, features, o->count, o->hits);
}

/* up becomes 1 where a position uses a feature, else 0. */
static void mark_used(const loop *o, size_t i, size_t row)
{
    size_t features = o->walk->layer->features;
    float *marks = o->walk->up[i] + row * features;
    bool all = o->count == features;
    for (size_t f = 0; f < features; f++)
        marks[f] = all ? 1.0F : 0.0F;
    if (all || !rank_row(o, i, row))
        return; /* a row with a NaN score uses none */
    for (size_t h = 0; h < o->count; h++)
        marks[o->hits[h]] = 1.0F;
}

/* up [tile, F] = phi(score) * (<U_f, x> + b_up) of the features in use, or ungated phi(score +
 * b_up). */
static void activate(const loop *o)
{
    wa_walk *walk = o->walk;
    const wa_walk_layer *l = walk->layer;
    wa_activation phi = wa_fault_activation(walk->which, l);
    size_t n = o->tile.rows * l->features;
    if (l->gated) {
        for (size_t i = 0; i < walk->io_count; i++)
            for (size_t row = 0; row < o->tile.rows; row++)
                mark_used(o, i, row);
        wa_dot_marked(&l->up, o->tile.rows, l->hidden, l->features,
                      wa_walk_pair(walk, o->tile, walk->up), walk->io_count, walk->scratch);
    }
    for (size_t i = 0; i < walk->io_count; i++) {
        if (!l->gated)
            memcpy(walk->up[i], walk->act[i], n * sizeof(float));
        if (l->up_bias != NULL) /* of a feature that is not in use, too: its value is not taken */
            wa_add_bias(walk->up[i], o->tile.rows, l->features, l->up_bias);
        wa_fault_rows(walk->which, l, walk->up[i], o->tile.rows);
        if (l->gated)
            wa_activate_gated(phi, walk->act[i], walk->up[i], walk->up[i], n);
        else
            wa_activate(phi, walk->up[i], walk->up[i], n);
        wa_fault_act(walk->which, l, walk->up[i], n);
    }
}

/* Hits and their activations take the places of the scores and of the activations by feature. */
static void order_row(const loop *o, size_t i, size_t row)
{
    wa_walk *walk = o->walk;
    size_t features = walk->layer->features;
    float *act = walk->up[i] + row * features;
    int32_t *kept = (int32_t *)(void *)(walk->act[i] + row * features);
    if (!rank_row(o, i, row)) {
        wa_walk_poison(walk, &walk->io[i], o->tile.first + row);
        kept[0] = -1;
        return;
    }
    wa_walk_tell_hits(walk, &walk->io[i], o->tile.first + row, o->hits);
    for (size_t h = 0; h < o->count; h++)
        o->ordered[h] = act[o->hits[h]];
    memcpy(act, o->ordered, o->count * sizeof *act);
    wa_fault_hits(walk->which, walk->layer, o->hits, o->count);
    memcpy(kept, o->hits, o->count * sizeof *kept);
}

static wa_status run_loop(wa_walk *walk, wa_tile tile)
{
    loop o;
    WA_TRY(open_loop(walk, tile, &o));
    wa_walk_score(walk, tile);
    activate(&o);
    for (size_t i = 0; i < walk->io_count; i++)
        for (size_t row = 0; row < tile.rows; row++)
            order_row(&o, i, row);
    return wa_walk_sum_hits(walk, tile, o.count);
}

wa_status wa_loop_tile(wa_walk *walk, wa_tile tile)
{
    wa_mark mark = wa_arena_mark(walk->scratch->arena);
    wa_status status = run_loop(walk, tile);
    wa_arena_release(walk->scratch->arena, mark);
    return status;
}

/*
 * weights_fallback: the model's own weights over the features that the vindex's gate ranks highest,
 * chosen for each position by itself (Q13). A position's sum over its features is the product of
 * its activations, those of the other features set to zero, with the whole down matrix: equal in
 * exact arithmetic, and one matrix product for all positions. With four fifths of the features or
 * more, all are used: then it is the dense FFN, bit for bit.
 */
#include "path/walk.h"

typedef struct choice {
    int32_t *hits; /* [io_count, tile_rows, count] */
    bool *is_nan;  /* [io_count, tile_rows]: a score was NaN */
    size_t count;
} choice;

static wa_status choose(wa_walk *walk, wa_tile tile, choice *out)
{
    const wa_walk_layer *l = walk->layer;
    wa_arena *arena = walk->scratch->arena;
    size_t rows, hits;
    wa_rank rank;
    out->count = wa_case_hit_count(walk->which, l->features);
    if (!wa_size_mul(walk->io_count, tile.rows, &rows) || !wa_size_mul(rows, out->count, &hits))
        return wa_fail(walk->err, WA_E_MEMORY, "hit lists overflow");
    WA_TRY(wa_arena_take_raw(arena, hits, sizeof *out->hits, &out->hits, walk->err));
    WA_TRY(wa_arena_take(arena, rows, sizeof *out->is_nan, &out->is_nan, walk->err));
    WA_TRY(wa_rank_open(arena, l->features, &rank, walk->err));

    wa_walk_score(walk, tile);
    for (size_t i = 0; i < walk->io_count; i++)
        for (size_t row = 0; row < tile.rows; row++) {
            size_t at = i * tile.rows + row;
            out->is_nan[at] = !wa_rank_top(&rank, walk->act[i] + row * l->features, l->features,
                                           out->count, out->hits + at * out->count);
        }
    return WA_OK;
}

/* walk->up becomes the activations of the chosen features, zero elsewhere. */
static void keep_chosen(wa_walk *walk, wa_tile tile, const choice *chosen)
{
    size_t features = walk->layer->features;
    for (size_t i = 0; i < walk->io_count; i++) {
        memset(walk->up[i], 0, tile.rows * features * sizeof *walk->up[i]);
        for (size_t row = 0; row < tile.rows; row++) {
            size_t at = i * tile.rows + row;
            const int32_t *hits = chosen->hits + at * chosen->count;
            for (size_t h = 0; h < chosen->count && !chosen->is_nan[at]; h++) {
                size_t place = row * features + (size_t)hits[h];
                walk->up[i][place] = walk->act[i][place];
            }
        }
    }
}

static void tell(wa_walk *walk, wa_tile tile, const choice *chosen)
{
    for (size_t i = 0; i < walk->io_count; i++)
        for (size_t row = 0; row < tile.rows; row++) {
            size_t at = i * tile.rows + row;
            if (chosen->is_nan[at])
                wa_walk_poison(walk, &walk->io[i], tile.first + row);
            else
                wa_walk_tell_hits(walk, &walk->io[i], tile.first + row,
                                  chosen->hits + at * chosen->count);
        }
}

/* All features are used, in no order. */
static void tell_all_used(wa_walk *walk, wa_tile tile)
{
    for (size_t i = 0; i < walk->io_count; i++)
        for (size_t row = 0; row < tile.rows; row++)
            wa_walk_tell_hits(walk, &walk->io[i], tile.first + row, NULL);
}

static wa_status run_chosen(wa_walk *walk, wa_tile tile)
{
    choice chosen;
    WA_TRY(choose(walk, tile, &chosen));
    wa_walk_feed(walk, tile);
    keep_chosen(walk, tile, &chosen);
    wa_walk_project(walk, tile, walk->up);
    tell(walk, tile, &chosen);
    return WA_OK;
}

wa_status wa_fallback_tile(wa_walk *walk, wa_tile tile)
{
    wa_arena *arena = walk->scratch->arena;
    if (wa_fallback_uses_all(walk->which, walk->layer->features)) {
        WA_TRY(wa_products_tile(walk, tile));
        tell_all_used(walk, tile);
        return WA_OK;
    }
    wa_mark mark = wa_arena_mark(arena);
    wa_status status = run_chosen(walk, tile);
    wa_arena_release(arena, mark);
    return status;
}

/* What the kernels of the paths share: one call, its row tiles, its buffers. Private to src/path.
 */
#ifndef WALKAUDIT_PATH_WALK_H
#define WALKAUDIT_PATH_WALK_H

#include "path/evaluate.h"

/** One call of wa_case_run, and the buffers of its inputs. */
typedef struct wa_walk {
    const wa_case *which;
    const wa_walk_layer *layer;
    size_t rows;
    const wa_walk_io *io;
    size_t io_count;
    wa_scratch *scratch;
    float **act,
        **up; /* [io_count] of [tile_rows, features]; the first are the scratch's, the rest arena */
    wa_operand *pairs; /* [io_count] */
    wa_error *err;
} wa_walk;

/** Rows [first, first + rows) of every input. */
typedef struct wa_tile {
    size_t first, rows;
} wa_tile;

/** Evaluate one tile. */
typedef wa_status wa_walk_tile(wa_walk *walk, wa_tile tile);

/** Operands of a product from the tile's x to `to` [io_count] of [tile, F]; valid until the next
 * call. */
const wa_operand *wa_walk_pair(wa_walk *walk, wa_tile tile, float *const *to);
/** act [tile, F] = the scores that rank: gate scores, or for an ungated model the up scores. */
void wa_walk_score(wa_walk *walk, wa_tile tile);
/* act of a tile by matrix products: gate, up, activation; the activation alone, of scores that are
 * there; then y by the down product and its bias. */
void wa_walk_activate(wa_walk *walk, wa_tile tile);
void wa_walk_feed(wa_walk *walk, wa_tile tile);
void wa_walk_project(wa_walk *walk, wa_tile tile, float *const *act);

wa_walk_tile wa_products_tile, wa_loop_tile, wa_fallback_tile, wa_q4_tile, wa_native_tile,
    wa_q8k_tile, wa_external_tile, wa_experts_tile;

/** y [rows, H] = FFN(x [rows, H]) of one expert; the walk's first buffers are used. */
typedef wa_status wa_expert_feed(wa_walk *walk, const wa_expert *ffn, size_t rows, const float *x,
                                 float *y);
wa_expert_feed wa_q8k_feed;

/** Parts of the hit list whose sums sparse:parallel_q4k_down makes by themselves and then adds. */
enum { WA_PARALLEL_CHUNKS = 8 };

/**
 * y of a tile from its hits: for each input and row, `count` hits in walk->act (as int32_t) and
 * their activations, in the same order, in walk->up. Rows whose first hit is -1 are left alone.
 */
WA_CHECKED wa_status wa_walk_sum_hits(wa_walk *walk, wa_tile tile, size_t count);

/** Space for ranking n scores. */
typedef struct wa_rank {
    struct wa_ranked {
        uint32_t key; /* grows as |score| falls */
        int32_t feature;
    } * list, *spare; /* [n] each, arena */
} wa_rank;

WA_CHECKED wa_status wa_rank_open(wa_arena *arena, size_t n, wa_rank *out, wa_error *err);
/**
 * The k best of n scores by |score| descending, ties by index ascending, to hits [k]; k <= n <
 * 2^31. False, hits unspecified, when a score is NaN.
 */
bool wa_rank_top(const wa_rank *rank, const float *scores, size_t n, size_t k, int32_t *hits);

/** weights_fallback's 80 % rule: 5 |F| >= 4 I, then all features are used (walk-paths 3.3). */
bool wa_fallback_uses_all(const wa_case *which, size_t features);

/** Copy a hit list to row `row` of an input's `hits`, if it wants it; hits = NULL writes -1. */
void wa_walk_tell_hits(const wa_walk *walk, const wa_walk_io *io, size_t row, const int32_t *hits);
/** A row whose gate score is NaN: y is NaN, so that it is seen. */
void wa_walk_poison(const wa_walk *walk, const wa_walk_io *io, size_t row);

/** |act| at or below which the per-feature loops leave a feature out (walk-paths 3.3). NaN is never
 * left out. */
#define WA_ACT_FLOOR 1e-10F

#endif

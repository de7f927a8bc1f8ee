/* sparse:serial: for each position its features one by one, in descending |gate score|
 * (walk-paths 3.3). */
#include "path/fault.h"
#include "path/walk.h"

#include <math.h>

/* One position. */
typedef struct position {
    const float *x;      /* [H] */
    const float *scores; /* [F] gate scores; ungated: x.U^T, which the gate file gives */
    const int32_t *hits; /* [count] */
    size_t count;
    float *y; /* [H] */
} position;

/* Row f as f32: in place, else decoded into the scratch's panel until the next call. */
static const float *row_of(const wa_matrix *matrix, const float *in_place, size_t f,
                           const wa_scratch *scratch)
{
    if (in_place != NULL)
        return in_place + f * matrix->cols;
    wa_matrix_decode(matrix, f, 1, scratch->panel);
    return scratch->panel;
}

/* act = phi(g) * <U_f, x>, or ungated phi(score + b_up). */
static float activate(const wa_walk *walk, const position *at, const float *up_rows, size_t f)
{
    const wa_walk_layer *l = walk->layer;
    wa_activation phi = wa_fault_activation(walk->which, l);
    size_t row = wa_fault_row(walk->which, l, f);
    float act;
    if (l->gated) {
        float u = wa_dot(row_of(&l->up, up_rows, row, walk->scratch), at->x, l->hidden);
        act = wa_phi(phi, at->scores[f]) * u;
    } else {
        float bias = l->up_bias == NULL ? 0.0F : l->up_bias[row];
        act = wa_phi(phi, at->scores[row] + bias);
    }
    wa_fault_act(walk->which, l, &act, 1);
    return act;
}

static void walk_position(const wa_walk *walk, const position *at, const float *up_rows,
                          const float *down_rows)
{
    const wa_walk_layer *l = walk->layer;
    memset(at->y, 0, l->hidden * sizeof *at->y);
    for (size_t i = 0; i < at->count; i++) {
        size_t f = (size_t)at->hits[i];
        float act = activate(walk, at, up_rows, f);
        if (fabsf(act) <= WA_ACT_FLOOR)
            continue;
        wa_axpy(act, row_of(&l->down, down_rows, f, walk->scratch), at->y, l->hidden);
    }
    if (l->down_bias != NULL)
        wa_add_bias(at->y, 1, l->hidden, l->down_bias);
    wa_fault_sum(walk->which, l, at->y, l->hidden);
}

static wa_status walk_tile(wa_walk *walk, wa_tile tile)
{
    const wa_walk_layer *l = walk->layer;
    size_t count = wa_case_hit_count(walk->which, l->features);
    const float *up_rows = wa_matrix_in_place(&l->up), *down_rows = wa_matrix_in_place(&l->down);
    int32_t *hits;
    wa_rank rank;
    WA_TRY(wa_arena_take_raw(walk->scratch->arena, count, sizeof *hits, &hits, walk->err));
    WA_TRY(wa_rank_open(walk->scratch->arena, l->features, &rank, walk->err));

    for (size_t i = 0; i < walk->io_count; i++)
        for (size_t row = 0; row < tile.rows; row++) {
            const wa_walk_io *io = &walk->io[i];
            size_t at = tile.first + row;
            position here = {.x = io->x + at * l->hidden,
                             .scores = walk->act[i] + row * l->features,
                             .hits = hits,
                             .count = count,
                             .y = io->y + at * l->hidden};
            if (!wa_rank_top(&rank, here.scores, l->features, count, hits)) {
                wa_walk_poison(walk, io, at);
                continue;
            }
            walk_position(walk, &here, up_rows, down_rows);
            wa_walk_tell_hits(walk, io, at, hits);
        }
    return WA_OK;
}

wa_status wa_serial_tile(wa_walk *walk, wa_tile tile)
{
    const wa_walk_layer *l = walk->layer;
    for (size_t i = 0; i < walk->io_count; i++)
        walk->pairs[i] =
            (wa_operand){.x = walk->io[i].x + tile.first * l->hidden, .y = walk->act[i]};
    wa_gemm_rows(&l->select, tile.rows, l->hidden, l->features, walk->pairs, walk->io_count, NULL,
                 walk->scratch);

    wa_mark mark = wa_arena_mark(walk->scratch->arena);
    wa_status status = walk_tile(walk, tile);
    wa_arena_release(walk->scratch->arena, mark);
    return status;
}

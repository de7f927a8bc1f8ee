/*
 * Paths that are three matrix products: dense, interleaved, full_mmap, exact, sparse:gemv_full_k
 * and interleaved_q4k:dequant. They differ only in the files behind the matrices, so two that read
 * the same bytes give the same bits.
 */
#include "path/fault.h"
#include "path/walk.h"

const wa_operand *wa_walk_pair(wa_walk *walk, wa_tile tile, float *const *to)
{
    for (size_t i = 0; i < walk->io_count; i++)
        walk->pairs[i] =
            (wa_operand){.x = walk->io[i].x + tile.first * walk->layer->hidden, .y = to[i]};
    return walk->pairs;
}

void wa_walk_score(wa_walk *walk, wa_tile tile)
{
    const wa_walk_layer *l = walk->layer;
    wa_gemm_rows(&l->select, tile.rows, l->hidden, l->features, wa_walk_pair(walk, tile, walk->act),
                 walk->io_count, l->gate_bias, walk->scratch);
}

/* act [tile, F] = phi(act) * up, or ungated phi(up). */
void wa_walk_activate(wa_walk *walk, wa_tile tile)
{
    const wa_walk_layer *l = walk->layer;
    size_t n = tile.rows * l->features;
    wa_activation phi = wa_fault_activation(walk->which, l);
    for (size_t i = 0; i < walk->io_count; i++) {
        wa_fault_rows(walk->which, l, walk->up[i], tile.rows);
        if (l->gated)
            wa_activate_gated(phi, walk->act[i], walk->up[i], walk->act[i], n);
        else
            wa_activate(phi, walk->up[i], walk->act[i], n);
        wa_fault_act(walk->which, l, walk->act[i], n);
    }
}

/* act [tile, F] = phi(x.G^T + b_gate) * (x.U^T + b_up), or ungated phi(x.U^T + b_up). */
void wa_walk_feed(wa_walk *walk, wa_tile tile)
{
    const wa_walk_layer *l = walk->layer;
    if (l->gated)
        wa_gemm_rows(&l->gate, tile.rows, l->hidden, l->features,
                     wa_walk_pair(walk, tile, walk->act), walk->io_count, l->gate_bias,
                     walk->scratch);
    wa_gemm_rows(&l->up, tile.rows, l->hidden, l->features, wa_walk_pair(walk, tile, walk->up),
                 walk->io_count, l->up_bias, walk->scratch);
    wa_walk_activate(walk, tile);
}

/* y [tile, H] = act . D (feature-major) or act . Wd^T (the model's, and K-quants as stored), then +
 * b_down. */
void wa_walk_project(wa_walk *walk, wa_tile tile, float *const *act)
{
    const wa_walk_layer *l = walk->layer;
    for (size_t i = 0; i < walk->io_count; i++)
        walk->pairs[i] = (wa_operand){.x = act[i], .y = walk->io[i].y + tile.first * l->hidden};
    if (l->down_is_feature_major) {
        wa_gemm_features(&l->down, tile.rows, l->features, walk->pairs, walk->io_count,
                         walk->scratch);
        for (size_t i = 0; i < walk->io_count && l->down_bias != NULL; i++)
            wa_add_bias(walk->pairs[i].y, tile.rows, l->hidden, l->down_bias);
    } else {
        wa_gemm_rows(&l->down, tile.rows, l->features, l->hidden, walk->pairs, walk->io_count,
                     l->down_bias, walk->scratch);
    }
    for (size_t i = 0; i < walk->io_count; i++)
        wa_fault_sum(walk->which, l, walk->pairs[i].y, tile.rows * l->hidden);
}

wa_status wa_products_tile(wa_walk *walk, wa_tile tile)
{
    wa_walk_feed(walk, tile);
    wa_walk_project(walk, tile, walk->act);
    return WA_OK;
}

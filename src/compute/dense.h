/* The dense side of a layer less its products with weights: norms, rotation, attention, embedding.
 * forward-pass.md 3. */
#ifndef WALKAUDIT_COMPUTE_DENSE_H
#define WALKAUDIT_COMPUTE_DENSE_H

#include "base/arena.h"
#include "compute/kernel.h"
#include "model/model.h"

/** y = norm(x), rows [rows, n] each, in place allowed. norm->weight must not be NULL. f64 sums in
 * index order. */
void wa_norm_rows(const wa_model *model, const wa_norm *norm, const float *x, size_t rows, size_t n,
                  float *y);

/** h += a * multiplier (no multiplication when it is 1), n values. */
void wa_residual_add(float *h, const float *a, size_t n, float multiplier);

/** Row `row` of the residual stream before layer 0: embedding of `id`, scaled, plus the position's
 * row where the model has a table. out [H]; row [H] is scratch. Errors: WA_E_FORMAT (id out of
 * range), WA_E_UNSUPPORTED (position beyond the table). */
WA_CHECKED wa_status wa_embed(const wa_model *model, int32_t id, size_t position, float *row,
                              float *out, wa_error *err);

/** Prompts of a batch laid end to end: rows [start[p], start[p+1]) belong to prompt p, position =
 * row - start. */
typedef struct wa_packing {
    const size_t *start; /* [prompts + 1], borrowed */
    size_t prompts;
} wa_packing;

/** cos and sin of every (position, frequency) of a batch, for the one or two frequency sets of a
 * model. */
typedef struct wa_rotation {
    size_t positions, half;
    const double *frequencies[2]; /* whose tables they are; NULL = not made yet */
    double factor[2];             /* what their values are multiplied by */
    float *cosine[2], *sine[2];   /* [positions, half], arena */
    unsigned next;                /* the table to overwrite next */
} wa_rotation;

/** Buffers of attention, made once. The heads that share keys and values are taken together, so
 * many queries at a time that there are at most WA_QUERY_ROWS rows of scores, or one of each
 * head. */
typedef struct wa_attention {
    wa_scratch *scratch; /* borrowed: who multiplies */
    float *scores;       /* [heads that share, query_rows, longest prompt] */
    size_t query_rows;
    wa_operand *pairs; /* [heads that share] */
    wa_rotation rotation;
} wa_attention;
enum { WA_QUERY_ROWS = 128 };
WA_CHECKED wa_status wa_attention_open(wa_arena *arena, const wa_model *model,
                                       size_t longest_prompt, wa_scratch *scratch,
                                       wa_attention *out, wa_error *err);

/** values = tanh(values / cap) * cap, n of them; same bits on every ISA. */
void wa_soft_cap(float *values, size_t n, float cap);

/**
 * One query's scores [keys] to weights, in place: scale, cap, softmax over keys [first, last] with
 * f64 exponentials and an f64 sum in index order; the other keys get 0. forward-pass.md 3.5; same
 * bits on every ISA.
 *
 * sink  a further score, of no key, whose weight is dropped: it is neither scaled nor capped;
 *       -INFINITY = none
 */
void wa_softmax_row(const wa_model *model, float *scores, size_t first, size_t last, size_t keys,
                    float sink);

/**
 * Attention of one lane between the projections: QK-norm, rotation, scores, softmax, weighted sum.
 *
 * A prompt's length decides the frequencies where the layer has a set for long ones.
 *
 * q  in [rows, q_heads*head_dim] after bias, out: the heads' outputs, concatenated (in place)
 * k, v  [rows, kv_heads*head_dim]; k is overwritten
 */
void wa_attention_run(const wa_model *model, size_t layer, const wa_packing *packing, float *q,
                      float *k, const float *v, wa_attention *attention);

#endif

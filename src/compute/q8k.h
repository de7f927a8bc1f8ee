/*
 * Products of stored K-quant rows with rows of activations rounded to Q8_K (larql-2026-08.md 3.3):
 * what LARQL's server and its experts compute with. Sums of a block are exact integers; blocks are
 * scaled and added in f32, ascending, each operation rounded. So an element's bits follow from its
 * stored row and its position alone.
 */
#ifndef WALKAUDIT_COMPUTE_Q8K_H
#define WALKAUDIT_COMPUTE_Q8K_H

#include "base/arena.h"
#include "codec/codec.h"

/** Rows of Q8_K: each of `blocks` blocks, the last one filled up with zeros. */
typedef struct wa_q8k_rows {
    size_t rows, blocks;
    int8_t *q;     /* [rows, blocks, 256], arena */
    float *d;      /* [rows, blocks], arena */
    int16_t *sums; /* [rows, blocks, 8] of 32 integers each, arena */
} wa_q8k_rows;

/** Space for `rows` rows of n values. Errors: WA_E_MEMORY. */
WA_CHECKED wa_status wa_q8k_take(wa_arena *arena, size_t rows, size_t n, wa_q8k_rows *out,
                                 wa_error *err);
/** Round x [to->rows, n], n as it was taken. Local, cannot fail. */
void wa_q8k_round(const float *x, size_t n, const wa_q8k_rows *to);

/** One operand of a product: y [x->rows, rows of W] is written. */
typedef struct wa_q8k_operand {
    const wa_q8k_rows *x;
    float *y;
} wa_q8k_operand;

/**
 * y = x . W^T for each of `count` operands; W is split into integers once for all. W: plain rows of
 * Q4_K or Q6_K whose columns the blocks of x cover, padding of the last block included. Local; work
 * space from the arena, released. Errors: WA_E_UNSUPPORTED (another matrix), WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_q8k_multiply(const wa_matrix *w, const wa_q8k_operand *operands,
                                     size_t count, wa_arena *arena, wa_error *err);

#endif

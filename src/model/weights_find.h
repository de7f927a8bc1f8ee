/* Tensors by role, checked and turned into matrices and decoded vectors. */
#ifndef WALKAUDIT_MODEL_WEIGHTS_FIND_H
#define WALKAUDIT_MODEL_WEIGHTS_FIND_H

#include "model/config.h"
#include "model/tensor.h"

/* What all lookups of one model share. Borrowed pointers. */
typedef struct wa_finder {
    const wa_config *config;
    const wa_tensor_table *table;
    bool *used; /* [table->count]: has a lookup taken it? */
    wa_arena *arena;
} wa_finder;

enum { WA_NO_LAYER = -1, WA_TENSOR_NAME = 256 };

/** Where a tensor belongs: role, layer (or WA_NO_LAYER), ".weight" or ".bias", and the number of an
 * expert. */
typedef struct wa_place {
    wa_role role;
    int layer;
    const char *suffix;
    size_t expert;
} wa_place;

/** The rows that are wanted of a tensor of `total` rows: all, or one part of a fused one. */
typedef struct wa_part {
    size_t first, rows, total;
} wa_part;

/** The place of a tensor that some containers store without ".weight" (wa_names.bare). */
wa_place wa_finder_bare(const wa_finder *finder, wa_role role, int layer);

/** Is a tensor stored there? */
bool wa_finder_has(const wa_finder *finder, wa_place place);

/** The tensor there of whatever type, marked as used. WA_E_FORMAT when missing. */
WA_CHECKED wa_status wa_finder_any(const wa_finder *finder, wa_place place, const wa_tensor **out,
                                   wa_error *err);

/** The same of a type that can be decoded. WA_E_FORMAT when missing, WA_E_UNSUPPORTED of any other
 * type. */
WA_CHECKED wa_status wa_finder_tensor(const wa_finder *finder, wa_place place,
                                      const wa_tensor **out, wa_error *err);

/** WA_E_FORMAT naming the tensor, its shape and the expected one, unless they are the same. */
WA_CHECKED wa_status wa_finder_shape(const wa_tensor *tensor, const size_t *dims, size_t rank,
                                     wa_error *err);

/** Rows `part` of a matrix of `cols` logical columns, in plain or (conv1d layers) transposed order.
 */
WA_CHECKED wa_status wa_finder_matrix(const wa_finder *finder, wa_place place, wa_part part,
                                      size_t cols, wa_matrix *out, wa_error *err);

/** How the matrices of all experts lie in one tensor of three dimensions. */
typedef struct wa_stack {
    size_t count, expert; /* of how many matrices, which one */
    bool turned;          /* [in, out] each */
    /* turned, or scales apart: its first column or row and the way to the next; else 0 and 1 */
    size_t first, step;
} wa_stack;

/** Matrix [rows, cols] of the stack there. */
WA_CHECKED wa_status wa_finder_stacked(const wa_finder *finder, wa_place place, wa_stack stack,
                                       size_t rows, size_t cols, wa_matrix *out, wa_error *err);

/** Row stack.expert of the stored [count, step * n] there as f32 [n], in the arena: elements first,
 * first + step, … */
WA_CHECKED wa_status wa_finder_stacked_vector(const wa_finder *finder, wa_place place,
                                              wa_stack stack, size_t n, float **out, wa_error *err);

/** Elements `part` of a vector as f32, in the arena. */
WA_CHECKED wa_status wa_finder_vector(const wa_finder *finder, wa_place place, wa_part part,
                                      float **out, wa_error *err);

#endif

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

/** Where a tensor belongs: role, layer (or WA_NO_LAYER), ".weight" or ".bias", and the number of an expert. */
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

/** The tensor there, marked as used. WA_E_FORMAT when missing, WA_E_UNSUPPORTED when its type cannot be decoded. */
WA_CHECKED wa_status wa_finder_tensor(const wa_finder *finder, wa_place place,
                                      const wa_tensor **out, wa_error *err);

/** Rows `part` of a matrix of `cols` logical columns, in plain or (conv1d layers) transposed order.
 */
WA_CHECKED wa_status wa_finder_matrix(const wa_finder *finder, wa_place place, wa_part part,
                                      size_t cols, wa_matrix *out, wa_error *err);

/** How the matrices of all experts lie in one tensor of three dimensions. */
typedef struct wa_stack {
    size_t count, expert; /* of how many matrices, which one */
    bool turned;          /* [in, out] each */
    size_t first, step;   /* turned, or scales apart: its first column or row and the way to the next; else 0 and 1 */
} wa_stack;

/** Matrix [rows, cols] of the stack there. */
WA_CHECKED wa_status wa_finder_stacked(const wa_finder *finder, wa_place place, wa_stack stack, size_t rows, size_t cols,
                                       wa_matrix *out, wa_error *err);

/**
 * The same of MXFP4 with its scales apart: "…_blocks" [count, step * rows, cols / 32, 16] and "…_scales" without the last dimension,
 * bytes (larql-2026-08 5.2). Rows are first, first + step, …; `turned` does not matter. place.suffix is set here.
 */
WA_CHECKED wa_status wa_finder_apart(const wa_finder *finder, wa_place place, wa_stack stack, size_t rows, size_t cols,
                                     wa_matrix *out, wa_error *err);
/** Is it stored so? */
bool wa_finder_has_apart(const wa_finder *finder, wa_place place);

/** Row stack.expert of the stored [count, step * n] there as f32 [n], in the arena: elements first, first + step, … */
WA_CHECKED wa_status wa_finder_stacked_vector(const wa_finder *finder, wa_place place, wa_stack stack, size_t n,
                                              float **out, wa_error *err);

/** Elements `part` of a vector as f32, in the arena. */
WA_CHECKED wa_status wa_finder_vector(const wa_finder *finder, wa_place place, wa_part part,
                                      float **out, wa_error *err);

#endif

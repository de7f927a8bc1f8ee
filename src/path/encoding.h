/* The encoding check: stored rows against the model's own (doc/encoding.md). */
#ifndef WALKAUDIT_PATH_ENCODING_H
#define WALKAUDIT_PATH_ENCODING_H

#include "path/path.h"

/* X(id, word): what stored rows were held against. */
#define WA_BASIS_LIST(X)                                                                           \
    X(NONE, "none")                                                                                \
    X(EQUALITY, "equality") /* f32: the model's values */                                          \
    /* f16, and f32 made of f16 values: what some rounding to f16 gives */                         \
    X(F16, "f16_neighbours")                                                                       \
    /* block formats: LARQL's encoder on the model's row, or on its f16 values */                  \
    X(REENCODING, "re-encoding")                                                                   \
    X(BF16, "bf16_neighbours") /* bf16: what some rounding to bf16 gives */                        \
    /* block formats of checkpoints: any encoder that takes the nearest levels */                  \
    X(LEVELS, "nearest_levels")
typedef enum wa_encoding_basis {
#define WA_BASIS_ENUM(id, word) WA_BASIS_##id,
    WA_BASIS_LIST(WA_BASIS_ENUM)
#undef WA_BASIS_ENUM
        WA_BASIS_COUNT
} wa_encoding_basis;
const char *wa_encoding_basis_word(wa_encoding_basis basis);

/** One stored projection against the model's own (doc/encoding.md). */
typedef struct wa_row_error {
    /* each row's error / max(its own norm, RMS row norm) in the model's matrix */
    double p50, p99, max;
    int32_t worst_row;
    /* stored values that are no numbers; then max is NaN and worst_row the first such row */
    size_t nonfinite;
    wa_encoding_basis basis;
    size_t rows, unequal; /* rows compared; those that the basis does not give */
    int32_t unequal_row;  /* of those, the one with the largest error; -1 = none */
    double unequal_error; /* that error; NaN when it holds values that are no numbers */
    /* Block formats, over the unequal rows only; 0 and -1 without any: */
    double steps; /* E: largest distance of a weight from its stored value, wa_row_steps */
    int32_t steps_row;
    /* R: their error over that of our re-encoding of the model's rows; LEVELS: over wa_row_expected
     * */
    double ratio;
    double gain; /* <stored, model> / <model, model> - 1 of all together; LEVELS: less what
                  * wa_row_expected says, */
    /* and of the row where it is largest in magnitude, less that of our re-encoding of it, if any
     * */
    double row_gain;
    int32_t row_gain_row;
    /* R of the row where it is largest; of the matrix (expert) where it is largest, and the row of
     * that one where it is largest */
    double row_ratio, part_ratio;
    int32_t row_ratio_row, part_ratio_row;
} wa_row_error;

/** Who may have made stored rows of blocks: LARQL's encoder is tried on vindexes; a checkpoint is
 * held against nearest levels. */
typedef enum wa_encoded_by { WA_ENCODED_LARQL, WA_ENCODED_ANY } wa_encoded_by;
/** The one for a payload. */
wa_encoded_by wa_payload_encoded_by(wa_payload payload);

/**
 * Compare a stored matrix with the model's, row by row: [F, H] with gate or up [F, H], a down
 * stored [H, F] with down [H, F] (then a row is an output), or, transposed here, a feature-major
 * down [F, H] with down [H, F]. Local.
 */
WA_CHECKED wa_status wa_encoding_check(const wa_matrix *stored, const wa_matrix *model_matrix,
                                       bool transpose_model, wa_encoded_by by, wa_arena *arena,
                                       wa_row_error *out, wa_error *err);

/** A stored matrix and the model's. */
typedef struct wa_encoding_pair {
    wa_matrix stored, model;
    /* of columns: what is taken off both before they are compared, since stored numbers are without
     * it */
    float offset;
} wa_encoding_pair;

/** What one of several matrices contributes. */
typedef struct wa_encoding_part {
    double max;     /* largest row error; NaN: a row holds values that are no numbers */
    int32_t row;    /* its row in the matrix */
    size_t unequal; /* rows that the basis does not give */
    double ratio;   /* R of these; 0 without any */
} wa_encoding_part;

/**
 * The same of `count` matrices of one shape and format, whose rows are taken end to end: row i of
 * matrix m is row m * rows + i of
 * *out. Each row's error is in units of its own matrix's RMS row norm. parts: [count], or NULL.
 * Errors: besides, WA_E_UNSUPPORTED where shapes or formats differ.
 */
WA_CHECKED wa_status wa_encoding_check_all(const wa_encoding_pair *pairs, size_t count,
                                           bool transpose_model, wa_encoded_by by, wa_arena *arena,
                                           wa_row_error *out, wa_encoding_part *parts,
                                           wa_error *err);
/** Bytes of an arena that it takes for `count` matrices like this pair, about: a little more than
 * it needs, where rows are not encoded again. */
size_t wa_encoding_memory(const wa_encoding_pair *first, size_t count, bool transpose_model);

/** Largest healthy p99 of a stored matrix: its format's nominal bound, or of f32 files made of f16
 * values that of f16. */
double wa_encoding_nominal(const wa_vindex *vindex, const wa_matrix *stored);

#endif

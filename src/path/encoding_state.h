/* What the comparison of stored rows with the model's is made of: which rows, and in which order
 * (encoding.c), one row (encoding_row.c), and what all of them give (encoding_figures.c). Private to
 * src/path. */
#ifndef WALKAUDIT_PATH_ENCODING_STATE_H
#define WALKAUDIT_PATH_ENCODING_STATE_H

#include "path/encoding.h"

/** What is known of a row: it differs from the model's (f32) or from all re-encodings; it holds a
 * value that no rounding to f16, or to bf16, gives. */
enum { WA_ROW_DIFFERS = 1, WA_ROW_NO_HALF = 2, WA_ROW_NO_BF16 = 4 };

/** Ways to make a row of a block format: from the model's weights, from their f16 values by either
 * converter. */
typedef enum wa_encoding_source {
    WA_FROM_WEIGHTS,
    WA_FROM_HALF,
    WA_FROM_LARQL_HALF,
    WA_ENCODING_SOURCES
} wa_encoding_source;

/** Of unequal rows of block formats: squared errors of our encoder's rows and of those stored, and
 * what the gain follows from; expected: the excess of a checkpoint's format (wa_expected). */
typedef struct wa_encoding_sums {
    double ours, theirs, excess, expected, norm;
} wa_encoding_sums;

/** One comparison under way. Arrays are of all matrices end to end, and point at the rows of the one
 * at hand. */
typedef struct wa_encoding {
    const wa_encoding_pair *pairs; /* [count] */
    size_t count;
    const wa_matrix *stored, *model; /* of the pair at hand */
    wa_matrix raw;                   /* the stored matrix without through_f16 */
    size_t rows, cols;               /* of each stored matrix */
    float offset;                    /* of the pair */
    size_t first;                    /* rows of the matrices before */
    double *error;                   /* [rows] sum of squared differences, then the error */
    double *square;                  /* [rows] sum of squares of the model's row */
    double *own;                     /* [rows] of unequal rows: norm of our encoder's error */
    uint8_t *known;                  /* [rows] WA_ROW_ bits */
    float *stored_row;               /* [cols] when not in place */
    float *raw_row;                  /* [cols] */
    float *made_row;                 /* [cols] a re-encoding decoded, or what is to be encoded */
    uint8_t *made;                   /* [made_bytes] a re-encoding */
    size_t made_bytes;               /* 0: no re-encoding */
    bool levels;              /* blocks, held against the nearest levels of their stored scales */
    wa_encoding_source usual; /* what fitted last, tried first */
    wa_encoding_sums unequal; /* of all matrices */
    wa_row_error out;
} wa_encoding;

/** <stored, model> / <model, model> - 1, less what is expected of the format, if that has its sign. */
double wa_encoding_gain(const wa_encoding_sums *sums);

/** Row `row` of a matrix, in place or decoded to space [cols]. */
const float *wa_encoding_row_of(const wa_matrix *matrix, size_t row, float *space);

/** Row r of the pair at hand against the model's [cols]: what is known of it, its squares, and where
 * no encoder known here makes it, the sums and extremes of such rows. */
void wa_encoding_compare_row(wa_encoding *c, size_t r, const float *model);

/** The figures of all rows, c->out, and parts [count] of each matrix by itself (NULL = not asked
 * for), once every row has been compared. c->error and c->square are used up. */
void wa_encoding_make_figures(wa_encoding *c, wa_encoding_part *parts);

#endif

/* Number formats: how stored bytes become f32. The only module that knows a bit layout. */
#ifndef WALKAUDIT_CODEC_CODEC_H
#define WALKAUDIT_CODEC_CODEC_H

#include "base/bytes.h"

/*
 * X(id, name, elements of a block, bytes of a block, nominal bound, source bits)
 *
 * GGML_… are the orders of GGUF files (forward-pass.md 1.6), and of vindexes since 7 August 2026.
 * Older vindexes order the elements of Q4_0 and Q6_K differently (vindex-format.md 5); those are
 * rows of their own. Q4_K is the same in both.
 * nominal bound  largest healthy p99 of a row's relative error (design 7, ENCODING). f16: LARQL's
 * encoder truncates and
 *                flushes below 2^-14; on healthy files of weights with deviation 0.004 that gives
 *                up to 1.7e-3
 * source bits    bits per weight
 *
 * E4M3 and E2M1 are the codes of safetensors whose scales lie in a tensor of their own (wa_scales),
 * E8M0 is such a scale.
 */
#define WA_FORMAT_LIST(X) WA_FORMAT_TABLE(X, X)
/** Those that are only decoded here (single f16 and bf16 values have encoders below), and the block
 * formats of vindexes. */
#define WA_FORMAT_READ_LIST(X) WA_FORMAT_TABLE(X, WA_FORMAT_NOT)
#define WA_FORMAT_WRITTEN_LIST(X) WA_FORMAT_TABLE(WA_FORMAT_NOT, X)
#define WA_FORMAT_NOT(id, name, elements, bytes, bound, bits)

/* The order is that of the codes in result files: what is new goes to the end. */
#define WA_FORMAT_TABLE(READ, WRITTEN)                                                             \
    READ(F32, "f32", 1, 4, 1e-6, 32)                                                               \
    READ(F16, "f16", 1, 2, 2.5e-3, 16)                                                             \
    READ(BF16, "bf16", 1, 2, 1e-2, 16)                                                             \
    READ(F64, "f64", 1, 8, 1e-6, 64)                                                               \
    WRITTEN(GGML_Q4_0, "Q4_0", 32, 18, 0.5, 4)                                                     \
    READ(GGML_Q4_1, "Q4_1", 32, 20, 0.5, 4)                                                        \
    READ(GGML_Q5_0, "Q5_0", 32, 22, 0.5, 5)                                                        \
    READ(GGML_Q5_1, "Q5_1", 32, 24, 0.5, 5)                                                        \
    READ(GGML_Q8_0, "Q8_0", 32, 34, 0.1, 8)                                                        \
    READ(GGML_Q5_K, "Q5_K", 256, 176, 0.35, 5)                                                     \
    WRITTEN(GGML_Q6_K, "Q6_K", 256, 210, 0.1, 6)                                                   \
    WRITTEN(Q4_0, "Q4_0", 32, 18, 0.5, 4)                                                          \
    WRITTEN(Q4_K, "Q4_K", 256, 144, 0.35, 4)                                                       \
    WRITTEN(Q6_K, "Q6_K", 256, 210, 0.1, 6)                                                        \
    WRITTEN(FP4, "FP4", 256, 137, 0.45, 4)                                                         \
    WRITTEN(FP8, "FP8", 256, 257, 0.1, 8)                                                          \
    READ(GGML_Q2_K, "Q2_K", 256, 84, 0.6, 2)                                                       \
    READ(GGML_Q3_K, "Q3_K", 256, 110, 0.5, 3)                                                      \
    READ(GGML_IQ4_NL, "IQ4_NL", 32, 18, 0.5, 4)                                                    \
    READ(GGML_IQ4_XS, "IQ4_XS", 256, 136, 0.5, 4)                                                  \
    READ(GGML_MXFP4, "MXFP4", 32, 17, 0.5, 4)                                                      \
    READ(E4M3, "F8_E4M3", 1, 1, 0.1, 8)                                                            \
    READ(E2M1, "MXFP4_blocks", 32, 16, 0.5, 4)                                                     \
    READ(E8M0, "F8_E8M0", 1, 1, 0.5, 8)

typedef enum wa_format {
#define WA_FORMAT_ENUM(id, name, elements, bytes, bound, bits) WA_FORMAT_##id,
    WA_FORMAT_LIST(WA_FORMAT_ENUM)
#undef WA_FORMAT_ENUM
        WA_FORMAT_COUNT
} wa_format;

/** Decode `blocks` consecutive blocks at `src` (unaligned) into f32. Cannot fail: every bit pattern
 * means something. */
typedef void wa_decode(const uint8_t *src, size_t blocks, float *out);

/**
 * Encode `blocks` consecutive blocks of f32 at `src` to `out` (unaligned), the very bytes that
 * LARQL writes (vindex-format.md 5.4 to 5.10). Cannot fail: what NaN and infinity become is part of
 * the format.
 */
typedef void wa_encode(const float *src, size_t blocks, uint8_t *out);

typedef struct wa_format_info {
    const char *name;
    size_t block_elements;
    size_t block_bytes;
    double nominal_bound;
    int source_bits;
    wa_decode *decode;     /* the one that runs; same bits as decode_ref on every ISA */
    wa_decode *decode_ref; /* written to be obviously right */
    /* NULL for formats we do not write; same bytes as encode_ref on every ISA */
    wa_encode *encode;
    wa_encode *encode_ref;
} wa_format_info;

/** Facts of a format; static. `format` must be below WA_FORMAT_COUNT. */
const wa_format_info *wa_format_get(wa_format format);
/** Has it 6 bits a weight or fewer, so that what is made from such weights is "requantised"? */
bool wa_format_is_coarse(wa_format format);

/** Do its numbers stand each for itself, neither in blocks nor under a scale: f32, f16, bf16,
 * f64? */
bool wa_format_is_float(wa_format format);

/** Bytes of a row of `cols` elements, padded to whole blocks. False on overflow; *out is then
 * unchanged. */
bool wa_row_bytes(wa_format format, size_t cols, size_t *out);

/**
 * Encode `rows` [count, cols] f32 to `out`, `count` rows of wa_row_bytes each, end to end. Every
 * row is filled up with zeros to whole blocks. `format` has an encoder. Local, cannot fail, takes
 * no memory.
 */
void wa_rows_encode(wa_format format, const float *rows, size_t count, size_t cols, uint8_t *out);
/**
 * As wa_rows_encode by an encoder that is not LARQL's: scales from the extremes, codes at the
 * nearest level of what is stored. truncate: at the level below, which is a fault. Weights are
 * finite.
 */
void wa_rows_encode_other(wa_format format, bool truncate, const float *rows, size_t count,
                          size_t cols, uint8_t *out);

/**
 * How far the weights [cols] of a row lie from the values stored for them, at most, in steps of the
 * *stored* scales: a weight beyond the range counts from its end, between uneven levels a step is
 * the way to the next, and what the rounding of a subnormal f16 scale does is taken off, as is what
 * the rounding of any f16 scale does in formats of GGUF that are only read here. An encoder that
 * takes nearest levels keeps to a half. `format` has blocks. Weights that are NaN are passed over.
 * Local, cannot fail.
 */
float wa_row_steps(wa_format format, const uint8_t *row, const float *weights, size_t cols);

/** What a block format is expected to make of a row of weights. */
typedef struct wa_expected {
    double error;  /* squared, of all of them together */
    double excess; /* <stored, weights> - <weights, weights> */
    /* the share of the row's length that 16-bit scales may lose: of rows so small that scales are
     * subnormal, else 0 */
    double lost;
} wa_expected;

/**
 * Of weights [cols]: nearest levels, were each group's scale (and least value) taken from its
 * extremes and stored exactly; where they are codes of a super-block, the error of rounding them is
 * added. doc/encoding.md 5. `format` has blocks. Cannot fail.
 */
wa_expected wa_row_expected(wa_format format, const float *weights, size_t cols);

/** f16 -> f32, exact, subnormals, infinities and NaN included (vindex-format.md 5.1). */
float wa_f16_to_f32(uint16_t half);
void wa_f16_decode(const uint8_t *src, size_t count, float *out);

/** f32 -> f16, round to nearest even, subnormals kept, overflow to infinity. Our writer's
 * default. */
uint16_t wa_f32_to_f16(float value);
/** Converter A of vindex-format.md 5.2: truncates, flushes |x| < 2^-14 to zero. For --compat
 * larql. */
uint16_t wa_f32_to_f16_larql(float value);
/** f32 -> bf16, round to nearest even (used by synth and by planted faults). */
uint16_t wa_f32_to_bf16(float value);

/** How the rows of a stored matrix map to logical rows. */
typedef enum wa_row_order {
    WA_ROWS_PLAIN,
    WA_ROWS_ROPE_PAIRS, /* q/k rows in interleaved pairs: of the first pair_rows of each head_rows
                           rows, logical row j*pair_rows/2 + i is stored row 2i + j; the others
                           stay (forward-pass.md 1.7, 3.4) */
    WA_ROWS_TRANSPOSED, /* stored [cols, rows] (HF GPT-2 Conv1D); float formats only */
    /* one stream of blocks: row r begins at its element skip + r * stored_cols, also inside a block
     * */
    WA_ROWS_FLAT
} wa_row_order;

/**
 * Scales that lie apart from a matrix's codes, in rows: each is that of a rectangle of codes, and a
 * value is code * scale, one f32 product. A plain value; `data` is borrowed as a matrix's is. Only
 * of rows that are stored as such (PLAIN, ROPE_PAIRS).
 */
typedef struct wa_scales {
    const uint8_t *data; /* NULL = none */
    wa_format format;    /* one element each: F32, F16, BF16 or E8M0 */
    size_t row_bytes;    /* from one row of scales to the next */
    size_t rows, cols;   /* of a rectangle: stored rows and columns that share a scale */
    /* where, among the codes that the scales count, the matrix begins */
    size_t first_row, first_col;
} wa_scales;

/**
 * A stored matrix, logical shape [rows, cols], row-major once decoded. A plain value; `data` is
 * borrowed from a map whose bounds the maker of this value has checked.
 */
typedef struct wa_matrix {
    const uint8_t *data;
    const char *name; /* for messages; borrowed from the model or vindex */
    wa_format format;
    wa_row_order order;
    size_t rows, cols;
    /* from one stored row to the next; covers padding of the row to whole blocks */
    size_t row_bytes;
    size_t head_rows, pair_rows; /* WA_ROWS_ROPE_PAIRS only; pair_rows is even */
    /* WA_ROWS_TRANSPOSED and _FLAT only: elements of a stored row (fused c_attn has 3 parts) */
    size_t stored_cols;
    size_t skip; /* WA_ROWS_FLAT only: elements of the first block before row 0 */
    /* elements of a stored row from one of ours to the next; 0 = 1; 2: columns of two matrices in
     * turn, floats only */
    size_t step;
    /* decoded values go through LARQL's f16 converter: a gate re-made from K-quants (walk-paths
     * 1.4) */
    bool through_f16;
    wa_scales scales; /* where they lie apart */
} wa_matrix;

/** Local. Are they the same bytes, read the same way? Names do not matter. */
bool wa_matrix_is_same(const wa_matrix *a, const wa_matrix *b);
/** Local. The stored bytes from a matrix's first element to its last; those of a fused tensor hold
 * other parts in between. */
wa_bytes wa_matrix_span(const wa_matrix *matrix);
/** The same of its scales; empty where it has none that lie apart. */
wa_bytes wa_matrix_scale_span(const wa_matrix *matrix);

/**
 * Decode rows [first, first + count) to `out` [count, cols] f32. first + count <= rows. Local,
 * cannot fail. A row may end inside a block (padded rows): the padding is dropped.
 */
void wa_matrix_decode(const wa_matrix *matrix, size_t first, size_t count, float *out);

/** As wa_matrix_decode by the reference decoder, for oracles. */
void wa_matrix_decode_ref(const wa_matrix *matrix, size_t first, size_t count, float *out);

/** Where logical row `row` is stored; orders other than WA_ROWS_TRANSPOSED. _FLAT: the block in
 * which it begins. */
const uint8_t *wa_matrix_row(const wa_matrix *matrix, size_t row);

/** The matrix itself when it is plain, aligned f32 with row_bytes = 4*cols and can be used in
 * place; else NULL. */
const float *wa_matrix_in_place(const wa_matrix *matrix);

/**
 * The view of columns [first, first + count) of every row; first is a multiple of the format's
 * block. Decoding it touches those blocks alone.
 */
wa_matrix wa_matrix_columns(const wa_matrix *matrix, size_t first, size_t count);
/** The view of rows [first, first + count); WA_ROWS_PLAIN. */
wa_matrix wa_matrix_rows(const wa_matrix *matrix, size_t first, size_t count);

/** wa_row_steps and wa_row_expected of row `row` of a matrix, whose scales may also lie apart.
 * Weights [matrix->cols]. Cannot fail. */
float wa_matrix_steps(const wa_matrix *matrix, size_t row, const float *weights);
wa_expected wa_matrix_expected(const wa_matrix *matrix, size_t row, const float *weights);

/** The other of the two element orders of Q4_0 or of Q6_K; any other format itself. */
wa_format wa_format_other_order(wa_format format);
/** Q4_0 and Q6_K in ggml's order? */
bool wa_format_is_ggml_order(wa_format format);

/** Q4_0 of either order as integers: q [32 * blocks] in -8..7 and scale [blocks]; a value is q *
 * scale. For integer dots. */
void wa_q4_0_split(wa_format format, const uint8_t *src, size_t blocks, int8_t *q, float *scale);

/*
 * Integer dots of K-quants (larql-2026-08 3.3). A row of activations is rounded to Q8_K: of each
 * 256 values integers in -127..127 and one scale. Not ggml's Q8_K, whose scale is signed.
 */
enum { WA_Q8_K_BLOCK = 256, WA_Q8_K_GROUP = 32 };
/** q [256] and the scale d of x [256]; d is NaN where a value is no number, so that it is seen.
 * Cannot fail. */
float wa_q8_k_round(const float *x, int8_t *q);

/** A block of Q4_K or Q6_K as integers: element e is d * scale[e / 16] * code[e] - dmin * min[e /
 * 32]. */
typedef struct wa_k_block {
    int8_t code[WA_Q8_K_BLOCK];                 /* 0..15, or of Q6_K -32..31 */
    int8_t scale[WA_Q8_K_BLOCK / 16];           /* 0..63, or of Q6_K any */
    uint8_t min[WA_Q8_K_BLOCK / WA_Q8_K_GROUP]; /* 0..63, or of Q6_K 0 */
    float d, dmin;
} wa_k_block;
/** Has a format such blocks: Q4_K, and Q6_K of either order? */
bool wa_format_is_k_block(wa_format format);
/** One stored block; wa_format_is_k_block(format). */
void wa_k_split(wa_format format, const uint8_t *src, wa_k_block *out);

/**
 * Of `blocks` Q6_K blocks, read in the order of `format`: the groups of 16 elements that hold a
 * code of 30 or more from the middle, as LARQL's encoder leaves one in every group of its own order
 * (larql-2026-08 1.4). *counted grows by the groups looked at: those of a small scale and blocks of
 * zeros are passed over.
 */
size_t wa_q6_k_full_groups(wa_format format, const uint8_t *src, size_t blocks, size_t *counted);

/** Stored bytes of the whole matrix, with scales that lie apart. */
size_t wa_matrix_bytes(const wa_matrix *matrix);

#endif

/* Rows of stored matrices as f32 and back: padding dropped and made, stored row orders undone. */
#include "codec/coders.h"

#include <assert.h>

static const wa_format_info *info_of(const wa_matrix *matrix)
{
    return wa_format_get(matrix->format);
}

static size_t step_of(const wa_matrix *matrix)
{
    return matrix->step == 0 ? 1 : matrix->step;
}

/* `count` elements of a stored row, of which others may lie in between. */
static void decode_stepped(const wa_matrix *matrix, wa_decode *decode, const uint8_t *src,
                           size_t count, float *out)
{
    enum { PIECE = 64, MOST = 2 };
    float piece[PIECE * MOST];
    size_t step = step_of(matrix), bytes = info_of(matrix)->block_bytes;
    assert(step <= MOST && info_of(matrix)->block_elements == 1);
    for (size_t at = 0; at < count; at += PIECE) {
        size_t taken = wa_size_min(count - at, PIECE);
        decode(src + at * step * bytes, (taken - 1) * step + 1, piece);
        for (size_t i = 0; i < taken; i++)
            out[at + i] = piece[i * step];
    }
}

/* One row of `cols` elements; the last block may hold padding beyond them. */
static void decode_row(const wa_matrix *matrix, wa_decode *decode, const uint8_t *src, float *out)
{
    const wa_format_info *info = info_of(matrix);
    if (step_of(matrix) > 1) {
        decode_stepped(matrix, decode, src, matrix->cols, out);
        return;
    }
    size_t whole = matrix->cols / info->block_elements;
    size_t rest = matrix->cols % info->block_elements;
    decode(src, whole, out);
    if (rest == 0)
        return;
    float last[WA_BLOCK_MAX];
    decode(src + whole * info->block_bytes, 1, last);
    memcpy(out + whole * info->block_elements, last, rest * sizeof *out);
}

static void decode_plain(const wa_matrix *matrix, wa_decode *decode, size_t first, size_t count,
                         float *out)
{
    const wa_format_info *info = info_of(matrix);
    const uint8_t *src = matrix->data + first * matrix->row_bytes;
    size_t blocks = matrix->cols / info->block_elements;
    if (step_of(matrix) == 1 && matrix->cols % info->block_elements == 0 &&
        matrix->row_bytes == blocks * info->block_bytes) {
        decode(src, count * blocks, out); /* rows lie end to end */
        return;
    }
    for (size_t r = 0; r < count; r++)
        decode_row(matrix, decode, src + r * matrix->row_bytes, out + r * matrix->cols);
}

/* Stored place of a logical row (forward-pass.md 1.7, point 2). */
size_t wa_matrix_stored_row(const wa_matrix *matrix, size_t row)
{
    if (matrix->order == WA_ROWS_PLAIN)
        return row;
    assert(matrix->order == WA_ROWS_ROPE_PAIRS);
    size_t head = row / matrix->head_rows;
    size_t within = row % matrix->head_rows;
    size_t half = matrix->pair_rows / 2;
    if (within >= matrix->pair_rows)
        return row;
    size_t i = within % half;
    size_t j = within / half;
    return head * matrix->head_rows + 2 * i + j;
}

/* WA_ROWS_FLAT: the place of a row's first element in the stream. */
static size_t flat_element(const wa_matrix *matrix, size_t row)
{
    return matrix->skip + row * matrix->stored_cols;
}

const uint8_t *wa_matrix_row(const wa_matrix *matrix, size_t row)
{
    assert(matrix->order != WA_ROWS_TRANSPOSED && row < matrix->rows);
    const wa_format_info *info = info_of(matrix);
    if (matrix->order == WA_ROWS_FLAT)
        return matrix->data + flat_element(matrix, row) / info->block_elements * info->block_bytes;
    return matrix->data + wa_matrix_stored_row(matrix, row) * matrix->row_bytes;
}

static void decode_pairs(const wa_matrix *matrix, wa_decode *decode, size_t first, size_t count,
                         float *out)
{
    for (size_t r = 0; r < count; r++)
        decode_row(matrix, decode, wa_matrix_row(matrix, first + r), out + r * matrix->cols);
}

/* Codes, and then their scales. */
static void decode_scaled(const wa_matrix *matrix, wa_decode *decode, size_t first, size_t count,
                          float *out)
{
    for (size_t r = first; r < first + count; r++, out += matrix->cols) {
        decode_row(matrix, decode, wa_matrix_row(matrix, r), out);
        wa_scales_apply(matrix, wa_matrix_stored_row(matrix, r), out);
    }
}

/* A row that may begin and end inside blocks. */
static void decode_flat(const wa_matrix *matrix, wa_decode *decode, size_t first, size_t count,
                        float *out)
{
    float block[WA_BLOCK_MAX];
    size_t elements = info_of(matrix)->block_elements;
    for (size_t r = first; r < first + count; r++) {
        const uint8_t *src = wa_matrix_row(matrix, r);
        size_t from = flat_element(matrix, r) % elements;
        for (size_t done = 0; done < matrix->cols; src += info_of(matrix)->block_bytes, from = 0) {
            size_t taken = wa_size_min(elements - from, matrix->cols - done);
            decode(src, 1, block);
            memcpy(out, block + from, taken * sizeof *out);
            out += taken;
            done += taken;
        }
    }
}

/* A logical row is a stored column. Square tiles, so that neither side is touched a cache line at a
 * time for one element. */
static void decode_transposed(const wa_matrix *matrix, wa_decode *decode, size_t first,
                              size_t count, float *out)
{
    enum { TILE = 32 };
    float tile[TILE][TILE];
    size_t bytes = info_of(matrix)->block_bytes * step_of(matrix);
    assert(info_of(matrix)->block_elements == 1);
    for (size_t row = 0; row < count; row += TILE) {
        size_t rows = count - row < TILE ? count - row : TILE;
        for (size_t col = 0; col < matrix->cols; col += TILE) {
            size_t cols = matrix->cols - col < TILE ? matrix->cols - col : TILE;
            for (size_t c = 0; c < cols; c++)
                decode_stepped(matrix, decode,
                               matrix->data + (col + c) * matrix->row_bytes + (first + row) * bytes,
                               rows, tile[c]);
            for (size_t r = 0; r < rows; r++)
                for (size_t c = 0; c < cols; c++)
                    out[(row + r) * matrix->cols + col + c] = tile[c][r];
        }
    }
}

static void decode_by(const wa_matrix *matrix, wa_decode *decode, size_t first, size_t count,
                      float *out)
{
    assert(first <= matrix->rows && count <= matrix->rows - first);
    switch (matrix->order) {
    case WA_ROWS_PLAIN:
        (matrix->scales.data != NULL ? decode_scaled : decode_plain)(matrix, decode, first, count,
                                                                     out);
        break;
    case WA_ROWS_ROPE_PAIRS:
        (matrix->scales.data != NULL ? decode_scaled : decode_pairs)(matrix, decode, first, count,
                                                                     out);
        break;
    case WA_ROWS_TRANSPOSED:
        decode_transposed(matrix, decode, first, count, out);
        break;
    case WA_ROWS_FLAT:
        decode_flat(matrix, decode, first, count, out);
        break;
    }
    if (matrix->through_f16)
        for (size_t i = 0; i < count * matrix->cols; i++)
            out[i] = wa_f16_to_f32(wa_f32_to_f16_larql(out[i]));
}

void wa_matrix_decode(const wa_matrix *matrix, size_t first, size_t count, float *out)
{
    decode_by(matrix, info_of(matrix)->decode, first, count, out);
}

void wa_matrix_decode_ref(const wa_matrix *matrix, size_t first, size_t count, float *out)
{
    decode_by(matrix, info_of(matrix)->decode_ref, first, count, out);
}

const float *wa_matrix_in_place(const wa_matrix *matrix)
{
    bool plain = matrix->format == WA_FORMAT_F32 && matrix->order == WA_ROWS_PLAIN &&
                 step_of(matrix) == 1 && matrix->row_bytes == matrix->cols * sizeof(float);
    bool aligned = (uintptr_t)matrix->data % _Alignof(float) == 0;
    return plain && aligned ? (const float *)(const void *)matrix->data : NULL;
}

/* Of the blocks that the rows touch; those at the ends may hold other rows too. */
static size_t flat_bytes(const wa_matrix *matrix)
{
    const wa_format_info *info = info_of(matrix);
    size_t last = matrix->rows == 0 ? 0 : flat_element(matrix, matrix->rows - 1) + matrix->cols;
    return (last + info->block_elements - 1) / info->block_elements * info->block_bytes;
}

/* Of one row, to the end of its last block. */
static size_t own_bytes(const wa_matrix *matrix)
{
    const wa_format_info *info = info_of(matrix);
    return (matrix->cols + info->block_elements - 1) / info->block_elements * info->block_bytes;
}

size_t wa_matrix_bytes(const wa_matrix *matrix)
{
    if (matrix->order == WA_ROWS_TRANSPOSED) /* its own columns of a stored row that may be fused */
        return matrix->cols * matrix->rows * info_of(matrix)->block_bytes;
    if (matrix->order == WA_ROWS_FLAT)
        return flat_bytes(matrix);
    if (matrix->scales.data != NULL) /* rows of another matrix may lie in between */
        return matrix->rows * own_bytes(matrix) + wa_matrix_scale_bytes(matrix);
    return matrix->rows * matrix->row_bytes;
}

static bool has_same_scales(const wa_scales *a, const wa_scales *b)
{
    return a->data == b->data && a->format == b->format && a->row_bytes == b->row_bytes &&
           a->rows == b->rows && a->cols == b->cols && a->first_row == b->first_row &&
           a->first_col == b->first_col;
}

bool wa_matrix_is_same(const wa_matrix *a, const wa_matrix *b)
{
    return a->data == b->data && a->format == b->format && a->order == b->order &&
           a->rows == b->rows && a->cols == b->cols && a->row_bytes == b->row_bytes &&
           a->head_rows == b->head_rows && a->pair_rows == b->pair_rows &&
           a->stored_cols == b->stored_cols && a->skip == b->skip && a->step == b->step &&
           a->through_f16 == b->through_f16 && has_same_scales(&a->scales, &b->scales);
}

wa_bytes wa_matrix_span(const wa_matrix *matrix)
{
    bool turned = matrix->order == WA_ROWS_TRANSPOSED; /* a stored row is a column of ours */
    size_t stored = turned ? matrix->cols : matrix->rows;
    if (matrix->order == WA_ROWS_FLAT)
        return (wa_bytes){.data = matrix->data, .size = flat_bytes(matrix)};
    size_t row = matrix->scales.data != NULL ? own_bytes(matrix) : matrix->row_bytes;
    size_t last =
        turned ? ((matrix->rows - 1) * step_of(matrix) + 1) * info_of(matrix)->block_bytes : row;
    size_t size = stored == 0 || matrix->rows == 0 ? 0 : (stored - 1) * matrix->row_bytes + last;
    return (wa_bytes){.data = matrix->data, .size = size};
}

bool wa_row_bytes(wa_format format, size_t cols, size_t *out)
{
    const wa_format_info *info = wa_format_get(format);
    size_t blocks = cols / info->block_elements + (cols % info->block_elements != 0);
    return wa_size_mul(blocks, info->block_bytes, out);
}

void wa_rows_encode(wa_format format, const float *rows, size_t count, size_t cols, uint8_t *out)
{
    const wa_format_info *info = wa_format_get(format);
    assert(info->encode != NULL);
    size_t whole = cols / info->block_elements;
    size_t rest = cols % info->block_elements;
    if (rest == 0) {
        info->encode(rows, count * whole, out); /* rows lie end to end */
        return;
    }
    float last[WA_BLOCK_MAX] = {0};
    for (size_t r = 0; r < count; r++, rows += cols) {
        info->encode(rows, whole, out);
        out += whole * info->block_bytes;
        memcpy(last, rows + whole * info->block_elements, rest * sizeof *last);
        info->encode(last, 1, out);
        out += info->block_bytes;
    }
}

wa_matrix wa_matrix_columns(const wa_matrix *matrix, size_t first, size_t count)
{
    const wa_format_info *info = info_of(matrix);
    wa_matrix view = *matrix;
    assert(first <= matrix->cols && count <= matrix->cols - first);
    assert(first % info->block_elements == 0);
    if (matrix->order == WA_ROWS_TRANSPOSED)
        view.data += first * matrix->row_bytes;
    else if (matrix->order == WA_ROWS_FLAT)
        view.skip += first;
    else
        view.data += first / info->block_elements * info->block_bytes * step_of(matrix);
    view.scales.first_col += first;
    view.cols = count;
    return view;
}

wa_matrix wa_matrix_rows(const wa_matrix *matrix, size_t first, size_t count)
{
    wa_matrix view = *matrix;
    assert(matrix->order == WA_ROWS_PLAIN && first <= matrix->rows &&
           count <= matrix->rows - first);
    view.data += first * matrix->row_bytes;
    view.scales.first_row += first;
    view.rows = count;
    return view;
}

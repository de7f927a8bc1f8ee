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
static void decode_stepped(const wa_matrix *matrix, wa_decode *decode, const uint8_t *src, size_t count, float *out)
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

/* --- MXFP4 with its scales apart: a block is a byte of scale and 16 of values, elements i and i + 16 in one (forward-pass.md 1.6);
 * apart, neighbours share a byte. */

enum { MX_ELEMENTS = 32, MX_VALUES = 16, MX_BLOCK = 17 };

static size_t mx_blocks(const wa_matrix *matrix)
{
    return (matrix->cols + MX_ELEMENTS - 1) / MX_ELEMENTS;
}

static void join_blocks(const uint8_t *values, const uint8_t *scales, size_t blocks, uint8_t *out)
{
    for (size_t b = 0; b < blocks; b++, values += MX_VALUES, out += MX_BLOCK) {
        out[0] = scales[b];
        for (size_t j = 0; j < MX_VALUES; j++) {
            unsigned shift = j % 2 * 4;
            unsigned low = values[j / 2] >> shift & 15U, high = values[MX_VALUES / 2 + j / 2] >> shift & 15U;
            out[1 + j] = (uint8_t)(low | high << 4);
        }
    }
}

const uint8_t *wa_matrix_row_joined(const wa_matrix *matrix, size_t row, uint8_t *room)
{
    const uint8_t *values = wa_matrix_row(matrix, row);
    if (matrix->scales == NULL)
        return values;
    join_blocks(values, matrix->scales + row * matrix->scale_bytes, mx_blocks(matrix), room);
    return room;
}

static void decode_apart(const wa_matrix *matrix, wa_decode *decode, size_t row, float *out)
{
    enum { TOGETHER = 16 };
    uint8_t joined[TOGETHER * MX_BLOCK];
    float values[TOGETHER * MX_ELEMENTS];
    const uint8_t *data = wa_matrix_row(matrix, row), *scales = matrix->scales + row * matrix->scale_bytes;
    size_t blocks = mx_blocks(matrix);
    for (size_t at = 0; at < blocks; at += TOGETHER) {
        size_t taken = wa_size_min(blocks - at, TOGETHER), done = at * MX_ELEMENTS;
        join_blocks(data + at * MX_VALUES, scales + at, taken, joined);
        decode(joined, taken, values);
        memcpy(out + done, values, wa_size_min(matrix->cols - done, taken * MX_ELEMENTS) * sizeof *out);
    }
}

static void decode_plain(const wa_matrix *matrix, wa_decode *decode, size_t first, size_t count,
                         float *out)
{
    for (size_t r = 0; matrix->scales != NULL && r < count; r++)
        decode_apart(matrix, decode, first + r, out + r * matrix->cols);
    if (matrix->scales != NULL)
        return;
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
static size_t stored_row(const wa_matrix *matrix, size_t row)
{
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
    size_t at = matrix->order == WA_ROWS_ROPE_PAIRS ? stored_row(matrix, row) : row;
    return matrix->data + at * matrix->row_bytes;
}

static void decode_pairs(const wa_matrix *matrix, wa_decode *decode, size_t first, size_t count,
                         float *out)
{
    for (size_t r = 0; r < count; r++)
        decode_row(matrix, decode, wa_matrix_row(matrix, first + r), out + r * matrix->cols);
}

/* A row that may begin and end inside blocks. */
static void decode_flat(const wa_matrix *matrix, wa_decode *decode, size_t first, size_t count, float *out)
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
                decode_stepped(matrix, decode, matrix->data + (col + c) * matrix->row_bytes + (first + row) * bytes, rows,
                               tile[c]);
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
        decode_plain(matrix, decode, first, count, out);
        break;
    case WA_ROWS_ROPE_PAIRS:
        decode_pairs(matrix, decode, first, count, out);
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
    bool plain = matrix->format == WA_FORMAT_F32 && matrix->order == WA_ROWS_PLAIN && step_of(matrix) == 1 &&
                 matrix->row_bytes == matrix->cols * sizeof(float);
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

size_t wa_matrix_bytes(const wa_matrix *matrix)
{
    if (matrix->scales != NULL)
        return matrix->rows * mx_blocks(matrix) * MX_VALUES;
    if (matrix->order == WA_ROWS_TRANSPOSED) /* its own columns of a stored row that may be fused */
        return matrix->cols * matrix->rows * info_of(matrix)->block_bytes;
    return matrix->order == WA_ROWS_FLAT ? flat_bytes(matrix) : matrix->rows * matrix->row_bytes;
}

wa_bytes wa_matrix_span(const wa_matrix *matrix)
{
    bool turned = matrix->order == WA_ROWS_TRANSPOSED; /* a stored row is a column of ours */
    size_t stored = turned ? matrix->cols : matrix->rows;
    if (matrix->order == WA_ROWS_FLAT)
        return (wa_bytes){.data = matrix->data, .size = flat_bytes(matrix)};
    size_t last = turned ? ((matrix->rows - 1) * step_of(matrix) + 1) * info_of(matrix)->block_bytes : matrix->row_bytes;
    if (matrix->scales != NULL)
        last = mx_blocks(matrix) * MX_VALUES;
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
    else if (matrix->scales != NULL) {
        view.data += first / MX_ELEMENTS * MX_VALUES;
        view.scales += first / MX_ELEMENTS;
    }
    else
        view.data += first / info->block_elements * info->block_bytes * step_of(matrix);
    view.cols = count;
    return view;
}

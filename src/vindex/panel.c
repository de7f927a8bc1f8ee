/* Panels: dense rows (or columns) to feature rows, and those to the bytes of a file. */
#include "vindex/panel.h"

#include <math.h>

/* 16 MiB in each of three buffers. */
static const size_t PANEL_FLOATS = (size_t)4 << 20;
/* Every block format's elements divide it, so a panel of columns starts at a block. */
enum { ROW_UNIT = 256 };

wa_status wa_panel_open(size_t hidden, wa_arena *arena, wa_panel *out, wa_error *err)
{
    wa_panel panel = {.hidden = hidden};
    panel.rows_max = PANEL_FLOATS / hidden / ROW_UNIT * ROW_UNIT;
    if (panel.rows_max == 0)
        panel.rows_max = ROW_UNIT;
    size_t floats;
    if (!wa_size_mul(panel.rows_max, hidden, &floats))
        return wa_fail(err, WA_E_MEMORY, "hidden size %zu overflows a panel", hidden);
    WA_TRY(wa_arena_take_raw(arena, floats, sizeof *panel.rows, &panel.rows, err));
    WA_TRY(wa_arena_take_raw(arena, floats, sizeof *panel.columns, &panel.columns, err));
    WA_TRY(wa_arena_take_raw(arena, floats, sizeof(float), &panel.encoded, err));
    *out = panel;
    return WA_OK;
}

/* The view of columns [first, first + count). A transposed matrix stores a column as one of its
 * rows. */
static wa_matrix columns_of(const wa_matrix *matrix, size_t first, size_t count)
{
    const wa_format_info *info = wa_format_get(matrix->format);
    wa_matrix view = *matrix;
    if (matrix->order == WA_ROWS_TRANSPOSED)
        view.data += first * matrix->row_bytes;
    else
        view.data += first / info->block_elements * info->block_bytes;
    view.cols = count;
    return view;
}

/* in [rows, cols] to out [cols, rows], in squares that stay in the first cache. */
static void transpose(const float *in, size_t rows, size_t cols, float *out)
{
    enum { TILE = 32 };
    for (size_t r0 = 0; r0 < rows; r0 += TILE) {
        size_t r1 = rows - r0 < TILE ? rows : r0 + TILE;
        for (size_t c0 = 0; c0 < cols; c0 += TILE) {
            size_t c1 = cols - c0 < TILE ? cols : c0 + TILE;
            for (size_t c = c0; c < c1; c++)
                for (size_t r = r0; r < r1; r++)
                    out[c * rows + r] = in[r * cols + c];
        }
    }
}

void wa_panel_decode(wa_panel *panel, const wa_matrix *matrix, wa_projection projection,
                     size_t first, size_t count)
{
    if (projection != WA_DOWN) {
        wa_matrix_decode(matrix, first, count, panel->rows);
        return;
    }
    wa_matrix view = columns_of(matrix, first, count);
    wa_matrix_decode(&view, 0, view.rows, panel->columns);
    transpose(panel->columns, view.rows, count, panel->rows);
}

static wa_status to_half(float value, bool larql, uint16_t *out, wa_error *err)
{
    *out = larql ? wa_f32_to_f16_larql(value) : wa_f32_to_f16(value);
    if (!larql && (*out & 0x7fff) == 0x7c00 && isfinite(value))
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "weight %g does not fit f16 (largest 65504): extract as f32", (double)value);
    return WA_OK;
}

wa_status wa_panel_encode(wa_panel *panel, size_t count, wa_encoding encoding, bool larql,
                          wa_bytes *out, wa_error *err)
{
    size_t n = count * panel->hidden;
    if (encoding == WA_ENCODE_F32) {
        *out = (wa_bytes){.data = (const uint8_t *)panel->rows, .size = n * sizeof(float)};
        return WA_OK;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        WA_TRY(to_half(panel->rows[i], larql, &half, err));
        float back = wa_f16_to_f32(half);
        if (encoding == WA_ENCODE_F16)
            memcpy(panel->encoded + i * sizeof half, &half, sizeof half);
        else
            memcpy(panel->encoded + i * sizeof back, &back, sizeof back);
    }
    size_t element = encoding == WA_ENCODE_F16 ? sizeof(uint16_t) : sizeof(float);
    *out = (wa_bytes){.data = panel->encoded, .size = n * element};
    return WA_OK;
}

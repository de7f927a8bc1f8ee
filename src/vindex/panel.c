/* Panels: dense rows (or columns) to feature rows, and those to the bytes of a file. */
#include "vindex/panel.h"

#include <assert.h>
#include <math.h>

/* 16 MiB in each of three buffers. */
static const size_t PANEL_FLOATS = (size_t)4 << 20;
/* Every block format's elements divide it: a panel of columns starts at a block, and no format
 * needs more room than a row padded to it. */
enum { UNIT = 256 };

static size_t padded(size_t cols)
{
    return (cols + UNIT - 1) / UNIT * UNIT;
}

size_t wa_panel_source_rows(const wa_panel_source *source)
{
    return source->turned ? source->matrix->cols : source->matrix->rows;
}

size_t wa_panel_source_cols(const wa_panel_source *source)
{
    return source->turned ? source->matrix->rows : source->matrix->cols;
}

wa_status wa_panel_open(size_t widest, wa_arena *arena, wa_panel *out, wa_error *err)
{
    wa_panel panel;
    size_t least;
    if (!wa_size_add(widest, UNIT, &least) || !wa_size_mul(least, UNIT, &least))
        return wa_fail(err, WA_E_MEMORY, "rows of %zu elements overflow a panel", widest);
    least = padded(widest) * UNIT;
    panel.room = least > PANEL_FLOATS ? least : PANEL_FLOATS;
    WA_TRY(wa_arena_take_raw(arena, panel.room, sizeof *panel.rows, &panel.rows, err));
    WA_TRY(wa_arena_take_raw(arena, panel.room, sizeof *panel.columns, &panel.columns, err));
    WA_TRY(wa_arena_take_raw(arena, panel.room, sizeof(float), &panel.encoded, err));
    *out = panel;
    return WA_OK;
}

size_t wa_panel_rows(const wa_panel *panel, size_t cols)
{
    return panel->room / padded(cols) / UNIT * UNIT;
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

void wa_panel_decode(wa_panel *panel, const wa_panel_source *source, size_t first, size_t count)
{
    if (!source->turned) {
        wa_matrix_decode(source->matrix, first, count, panel->rows);
        return;
    }
    wa_matrix view = wa_matrix_columns(source->matrix, first, count);
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

/* The first n values as f16, or as f32 that went through f16. */
static wa_status encode_halves(wa_panel *panel, const float *rows, size_t n, wa_encoding encoding,
                               bool larql, wa_error *err)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        WA_TRY(to_half(rows[i], larql, &half, err));
        float back = wa_f16_to_f32(half);
        if (encoding.format == WA_FORMAT_F16)
            memcpy(panel->encoded + i * sizeof half, &half, sizeof half);
        else
            memcpy(panel->encoded + i * sizeof back, &back, sizeof back);
    }
    return WA_OK;
}

static void encode_bf16(const float *rows, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half = wa_f32_to_bf16(rows[i]);
        memcpy(out + i * sizeof half, &half, sizeof half);
    }
}

bool wa_encoding_row(wa_encoding encoding, size_t cols, size_t *out)
{
    return cols <= SIZE_MAX - UNIT &&
           wa_row_bytes(encoding.format, encoding.pads ? padded(cols) : cols, out);
}

/* The first rows with zeros behind each. A turned source needs its columns no longer. */
static const float *widen(wa_panel *panel, size_t count, size_t cols)
{
    size_t wide = padded(cols);
    if (wide == cols)
        return panel->rows;
    for (size_t r = 0; r < count; r++) {
        memcpy(panel->columns + r * wide, panel->rows + r * cols, cols * sizeof *panel->columns);
        memset(panel->columns + r * wide + cols, 0, (wide - cols) * sizeof *panel->columns);
    }
    return panel->columns;
}

/* values [count]: a block, or what a row has of its last one */
static wa_status check_block(const float *values, size_t count, const wa_format_info *info,
                             const uint8_t *encoded, wa_error *err)
{
    float most = 0.0F, back[UNIT];
    for (size_t i = 0; i < count; i++)
        most = fabsf(values[i]) > most ? fabsf(values[i]) : most;
    if (!(most > 65504.0F) || !isfinite(most))
        return WA_OK;
    info->decode(encoded, 1, back);
    for (size_t i = 0; i < count; i++)
        if (!isfinite(back[i]))
            return wa_fail(err, WA_E_UNSUPPORTED,
                           "weight %g does not fit %s, whose scale would be infinite: extract as "
                           "f32",
                           (double)most, info->name);
    return WA_OK;
}

/* Scales are f16 in most formats of blocks: of weights that are too large for theirs, what is read
 * again is infinite. rows [count, width]; row: bytes of an encoded one */
static wa_status check_scales(const float *rows, size_t count, size_t width, wa_format format,
                              const uint8_t *encoded, size_t row, wa_error *err)
{
    const wa_format_info *info = wa_format_get(format);
    const size_t elements = info->block_elements;
    assert(elements > 1);
    for (size_t r = 0; r < count; r++)
        for (size_t first = 0; first < width; first += elements)
            WA_TRY(check_block(rows + r * width + first, wa_size_min(elements, width - first), info,
                               encoded + r * row + first / elements * info->block_bytes, err));
    return WA_OK;
}

wa_status wa_panel_encode(wa_panel *panel, size_t count, size_t cols, wa_encoding encoding,
                          bool larql, wa_bytes *out, wa_error *err)
{
    size_t row, width = encoding.pads ? padded(cols) : cols;
    if (!wa_encoding_row(encoding, cols, &row))
        return wa_fail(err, WA_E_UNSUPPORTED, "rows of %zu elements overflow", cols);
    const float *rows = encoding.pads ? widen(panel, count, cols) : panel->rows;
    *out = (wa_bytes){.data = panel->encoded, .size = count * row};
    if (encoding.format == WA_FORMAT_F16 || encoding.via_f16)
        return encode_halves(panel, rows, count * width, encoding, larql, err);
    if (encoding.format == WA_FORMAT_BF16)
        encode_bf16(rows, count * width, panel->encoded);
    else if (encoding.format == WA_FORMAT_F32)
        out->data = (const uint8_t *)rows;
    else
        wa_rows_encode(encoding.format, rows, count, width, panel->encoded);
    if (!larql && wa_format_get(encoding.format)->block_elements > 1)
        return check_scales(rows, count, width, encoding.format, panel->encoded, row, err);
    return WA_OK;
}

/* Stored weights as panels of columns: a few rows are decoded into the first-level cache and turned
 * from there. */
#include "compute/pack.h"

wa_packing_source wa_packing_source_of(const wa_matrix *w, bool by_features)
{
    wa_packing_source source = {.w = *w, .by_features = by_features};
    source.columns = by_features ? w->cols : w->rows;
    source.depth = by_features ? w->rows : w->cols;
    /* stored [cols, rows]: its rows run the other way, and nothing has to be turned twice */
    if (w->order == WA_ROWS_TRANSPOSED) {
        source.w.order = WA_ROWS_PLAIN;
        source.w.rows = w->cols;
        source.w.cols = w->rows;
        source.by_features = !by_features;
    }
    return source;
}

/* Loops that read these rows as they are stored; NULL: they are decoded first. */
static wa_turn *turn_stored(const wa_isa *isa, const wa_matrix *w)
{
    if (w->through_f16 || w->step > 1)
        return NULL;
    switch (w->format) {
    case WA_FORMAT_F32:
        return isa->turn_f32;
    case WA_FORMAT_BF16:
        return isa->turn_bf16;
    case WA_FORMAT_F16:
        return isa->turn_f16;
    default:
        return NULL;
    }
}

/* Rows [first, first + count) lie far apart, so no processor foresees them. */
static void prefetch_rows(const wa_matrix *part, size_t first, size_t count)
{
    enum { LINE = 64 };
    const wa_format_info *info = wa_format_get(part->format);
    size_t bytes =
        (part->cols + info->block_elements - 1) / info->block_elements * info->block_bytes;
    for (size_t r = 0; r < count; r++) {
        const uint8_t *row = wa_matrix_row(part, first + r);
        for (size_t at = 0; at < bytes; at += LINE)
            __builtin_prefetch(row + at);
    }
}

/* Stored rows are columns of y. Rows beyond the last are the last again. */
static void pack_rows(const wa_isa *isa, const wa_matrix *part, size_t first, size_t width,
                      float *panels)
{
    float decoded[WA_TURN_ROWS * WA_PANEL_DEPTH];
    size_t depth = part->cols, end = first + width;
    wa_turn *turn = turn_stored(isa, part);
    size_t packed = (width + WA_PANEL_WIDTH - 1) / WA_PANEL_WIDTH * WA_PANEL_WIDTH;
    for (size_t at = 0; at < packed; at += WA_TURN_ROWS) {
        const uint8_t *rows[WA_TURN_ROWS];
        size_t row = wa_size_min(first + at, end - 1), count = wa_size_min(end - row, WA_TURN_ROWS);
        if (row + count < end)
            prefetch_rows(part, row + count, wa_size_min(end - row - count, WA_TURN_ROWS));
        if (turn == NULL)
            wa_matrix_decode(part, row, count, decoded);
        for (size_t r = 0; r < WA_TURN_ROWS; r++) {
            size_t of = wa_size_min(r, count - 1);
            rows[r] = turn != NULL ? wa_matrix_row(part, row + of)
                                   : (const uint8_t *)(decoded + of * depth);
        }
        float *panel = panels + at / WA_PANEL_WIDTH * depth * WA_PANEL_WIDTH + at % WA_PANEL_WIDTH;
        (turn != NULL ? turn : isa->turn_f32)(rows, depth, panel);
    }
}

/* Stored rows are rows of the panels. */
static void pack_features(const wa_matrix *part, size_t from, size_t depth, float *panels)
{
    enum { TOGETHER = 16 };
    float decoded[TOGETHER * WA_PACK_COLUMNS];
    size_t width = part->cols, rest = width % WA_PANEL_WIDTH, whole = width - rest;
    if (rest > 0)
        memset(panels + whole * depth, 0, depth * WA_PANEL_WIDTH * sizeof *panels);
    for (size_t at = 0; at < depth; at += TOGETHER) {
        size_t count = wa_size_min(depth - at, TOGETHER);
        if (at + count < depth)
            prefetch_rows(part, from + at + count, wa_size_min(depth - at - count, TOGETHER));
        wa_matrix_decode(part, from + at, count, decoded);
        for (size_t r = 0; r < count; r++) {
            const float *row = decoded + r * width;
            float *to = panels + (at + r) * WA_PANEL_WIDTH;
            for (size_t c = 0; c < whole; c += WA_PANEL_WIDTH)
                memcpy(to + c * depth, row + c, WA_PANEL_WIDTH * sizeof *to);
            if (rest > 0)
                memcpy(to + whole * depth, row + whole, rest * sizeof *to);
        }
    }
}

void wa_pack(const wa_isa *isa, const wa_packing_source *source, size_t first, size_t width,
             size_t from, size_t depth, float *panels)
{
    if (source->by_features) {
        wa_matrix part = wa_matrix_columns(&source->w, first, width);
        pack_features(&part, from, depth, panels);
    } else {
        wa_matrix part = wa_matrix_columns(&source->w, from, depth);
        pack_rows(isa, &part, first, width, panels);
    }
}

/*
 * Our own matrix products. Weights are packed into panels a few columns and products at a time, and
 * all rows of all operands pass by them while they are in the second-level cache; rows of x are
 * copied to a tile of the first-level cache, where no two of them get into each other's way. What
 * an element is, isa.h says: nothing here changes it.
 */
#include "compute/kernel.h"
#include "compute/pack.h"

/* One product under way, at columns [first, first + width) and products [from, from + depth). */
typedef struct part {
    const wa_product *product;
    const wa_isa *isa;
    const float *panels;
    size_t first, width, from, depth;
} part;

/* Row `row` of all operands, laid end to end. */
static const float *row_of_x(const part *p, size_t row)
{
    return p->product->pairs[row / p->product->rows].x + row % p->product->rows * p->product->ldx +
           p->from;
}

static float *row_of_y(const part *p, size_t row)
{
    return p->product->pairs[row / p->product->rows].y + row % p->product->rows * p->product->ldy +
           p->first;
}

/* The last panel where it is narrower than the others: through a place as wide as they. */
static void multiply_narrow(const part *p, size_t rows, size_t width, const float *tile,
                            const float *panel, float *const *y)
{
    float wide[WA_TILE_MOST][WA_PANEL_WIDTH];
    float *to[WA_TILE_MOST];
    bool is_fresh = p->from == 0;
    for (size_t r = 0; r < rows; r++) {
        to[r] = wide[r];
        memset(wide[r], 0, sizeof wide[r]);
        if (!is_fresh)
            memcpy(wide[r], y[r], width * sizeof *y[r]);
    }
    p->isa->multiply(rows, p->depth, tile, panel, is_fresh, to);
    for (size_t r = 0; r < rows; r++)
        memcpy(y[r], wide[r], width * sizeof *y[r]);
}

/* Rows [row, row + rows) of all operands past every panel. */
static void multiply_tile(const part *p, size_t row, size_t rows)
{
    float tile[WA_TILE_MOST * WA_TILE_STRIDE];
    float *y[WA_TILE_MOST];
    for (size_t r = 0; r < rows; r++) {
        memcpy(tile + r * WA_TILE_STRIDE, row_of_x(p, row + r), p->depth * sizeof *tile);
        y[r] = row_of_y(p, row + r);
    }
    for (size_t at = 0; at < p->width; at += WA_PANEL_WIDTH) {
        const float *panel = p->panels + at * p->depth;
        size_t width = wa_size_min(p->width - at, WA_PANEL_WIDTH);
        if (width == WA_PANEL_WIDTH)
            p->isa->multiply(rows, p->depth, tile, panel, p->from == 0, y);
        else
            multiply_narrow(p, rows, width, tile, panel, y);
        for (size_t r = 0; r < rows; r++)
            y[r] += width;
    }
}

/* Tiles are as equal as can be: one of a few rows would not keep the processor busy. */
static void multiply_part(const part *p)
{
    size_t rows = p->product->rows * p->product->count, most = p->isa->tile_rows;
    size_t tiles = (rows + most - 1) / most;
    for (size_t t = 0; t < tiles; t++)
        multiply_tile(p, rows * t / tiles, rows * (t + 1) / tiles - rows * t / tiles);
}

/* A product in pieces of so many columns, which any thread may make. */
typedef struct pieces {
    const wa_isa *isa;
    const wa_product *product;
    wa_packing_source source;
    size_t columns;
} pieces;

/* `panels` holds the piece's columns of WA_PANEL_DEPTH products. */
static void multiply_piece(const void *context, size_t piece, float *panels)
{
    const pieces *of = context;
    part p = {
        .product = of->product, .isa = of->isa, .panels = panels, .first = piece * of->columns};
    p.width = wa_size_min(of->source.columns - p.first, of->columns);
    for (p.from = 0; p.from < of->source.depth; p.from += WA_PANEL_DEPTH) {
        p.depth = wa_size_min(of->source.depth - p.from, WA_PANEL_DEPTH);
        wa_pack(of->isa, &of->source, p.first, p.width, p.from, p.depth, panels);
        multiply_part(&p);
    }
}

static void multiply_all(const pieces *of, wa_crew *crew, float *panels)
{
    size_t count = (of->source.columns + of->columns - 1) / of->columns;
    wa_crew_run(crew, count, multiply_piece, of, panels);
}

/* Several for each thread, so that they end together; but a narrow one copies its rows of x for few
 * products, and whole blocks lie side by side in a row of features. */
static size_t columns_for_help(const pieces *of)
{
    enum { PIECES = 16, LEAST = 2 * WA_PANEL_WIDTH };
    size_t columns = of->source.columns / PIECES / WA_PANEL_WIDTH * WA_PANEL_WIDTH;
    if (of->source.by_features && wa_format_get(of->source.w.format)->block_elements > 1)
        return WA_PACK_COLUMNS;
    return columns < LEAST ? LEAST : wa_size_min(columns, WA_PACK_COLUMNS);
}

void wa_multiply_own(const wa_product *product, wa_scratch *scratch)
{
    /* products that are done before anybody has come */
    static const size_t SMALL = 1 << 20;
    size_t rows = product->rows * product->count;
    wa_crew *crew = rows * product->w->cols * product->w->rows < SMALL ? NULL : scratch->crew;
    pieces of = {.isa = scratch->isa,
                 .product = product,
                 .source = wa_packing_source_of(product->w, product->by_features),
                 .columns = WA_PACK_COLUMNS};
    if (wa_crew_has_help(crew))
        of.columns = columns_for_help(&of);
    if (rows > 0)
        multiply_all(&of, crew, scratch->panel);
}

void wa_own_gemm(const wa_isa *isa, size_t m, size_t n, size_t k, const float *a, const float *b,
                 float *c)
{
    float panels[WA_PANEL_WIDTH * WA_PANEL_DEPTH];
    wa_matrix w = {.data = (const uint8_t *)b,
                   .format = WA_FORMAT_F32,
                   .order = WA_ROWS_PLAIN,
                   .rows = n,
                   .cols = k,
                   .row_bytes = k * sizeof *b};
    wa_operand pair = {.x = a, .y = c};
    wa_product product = {.w = &w, .rows = m, .ldx = k, .ldy = n, .pairs = &pair, .count = 1};
    pieces of = {.isa = isa,
                 .product = &product,
                 .source = wa_packing_source_of(&w, false),
                 .columns = WA_PANEL_WIDTH};
    multiply_all(&of, NULL, panels);
}

const char *wa_engine_name(wa_engine engine)
{
    return engine == WA_ENGINE_BLAS ? "blas" : "walkaudit";
}

void wa_multiply(const wa_product *product, wa_scratch *scratch)
{
    (scratch->engine == WA_ENGINE_BLAS ? wa_multiply_blas : wa_multiply_own)(product, scratch);
}

void wa_gemm_rows(const wa_matrix *w, size_t rows, size_t ldx, size_t ldy, const wa_operand *pairs,
                  size_t count, const float *bias, wa_scratch *scratch)
{
    wa_product product = {
        .w = w, .rows = rows, .ldx = ldx, .ldy = ldy, .pairs = pairs, .count = count};
    wa_multiply(&product, scratch);
    for (size_t i = 0; i < count && bias != NULL; i++)
        for (size_t row = 0; row < rows; row++)
            wa_add_bias(pairs[i].y + row * ldy, 1, w->rows, bias);
}

void wa_gemm_features(const wa_matrix *w, size_t rows, size_t ldx, const wa_operand *pairs,
                      size_t count, wa_scratch *scratch)
{
    wa_product product = {.w = w,
                          .by_features = true,
                          .rows = rows,
                          .ldx = ldx,
                          .ldy = w->cols,
                          .pairs = pairs,
                          .count = count};
    wa_multiply(&product, scratch);
}

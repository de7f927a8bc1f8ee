/* Inner loops of products in plain C: for processors without a set of their own, and the reference
 * of the others. */
#include "codec/codec.h"
#include "compute/isa.h"

#include <math.h>

enum { ROWS = 4, WIDTH = 16 };

/* Columns [0, WIDTH) of a panel with up to ROWS rows. What lies beyond `rows` is computed of row 0
 * and dropped. */
static void multiply_part(size_t rows, size_t depth, const float *const *x, const float *panel,
                          bool fresh, float *const *y, size_t column)
{
    for (size_t at = 0; at < depth; at += WA_SUM_PRODUCTS) {
        size_t end = wa_size_min(depth, at + WA_SUM_PRODUCTS);
        float sum[ROWS][WIDTH] = {{0}};
        for (size_t k = at; k < end; k++)
            for (size_t r = 0; r < ROWS; r++)
                for (size_t c = 0; c < WIDTH; c++)
                    sum[r][c] = fmaf(x[r][k], panel[k * WA_PANEL_WIDTH + c], sum[r][c]);
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < WIDTH; c++)
                y[r][column + c] = fresh && at == 0 ? sum[r][c] : y[r][column + c] + sum[r][c];
    }
}

static void multiply(size_t rows, size_t depth, const float *tile, const float *panel, bool fresh,
                     float *const *y)
{
    const float *x[ROWS];
    for (size_t r = 0; r < ROWS; r++)
        x[r] = tile + (r < rows ? r : 0) * WA_TILE_STRIDE;
    for (size_t column = 0; column < WA_PANEL_WIDTH; column += WIDTH)
        multiply_part(rows, depth, x, panel + column, fresh, y, column);
}

void wa_turn_rest_f32(const uint8_t *const *rows, size_t from, size_t depth, float *panel)
{
    for (size_t r = 0; r < WA_TURN_ROWS; r++)
        for (size_t k = from; k < depth; k++)
            panel[k * WA_PANEL_WIDTH + r] = wa_load_f32(rows[r] + 4 * k);
}

void wa_turn_rest_bf16(const uint8_t *const *rows, size_t from, size_t depth, float *panel)
{
    for (size_t r = 0; r < WA_TURN_ROWS; r++)
        for (size_t k = from; k < depth; k++) {
            uint32_t bits = (uint32_t)wa_load_u16(rows[r] + 2 * k) << 16;
            memcpy(&panel[k * WA_PANEL_WIDTH + r], &bits, sizeof bits);
        }
}

void wa_turn_rest_f16(const uint8_t *const *rows, size_t from, size_t depth, float *panel)
{
    for (size_t r = 0; r < WA_TURN_ROWS; r++)
        for (size_t k = from; k < depth; k++)
            panel[k * WA_PANEL_WIDTH + r] = wa_f16_to_f32(wa_load_u16(rows[r] + 2 * k));
}

static void turn_f32(const uint8_t *const *rows, size_t depth, float *panel)
{
    wa_turn_rest_f32(rows, 0, depth, panel);
}

static void turn_bf16(const uint8_t *const *rows, size_t depth, float *panel)
{
    wa_turn_rest_bf16(rows, 0, depth, panel);
}

static void turn_f16(const uint8_t *const *rows, size_t depth, float *panel)
{
    wa_turn_rest_f16(rows, 0, depth, panel);
}

static bool is_here(void)
{
    return true;
}

const wa_isa *wa_isa_portable(void)
{
    static const wa_isa isa = {.name = "portable",
                               .is_here = is_here,
                               .tile_rows = ROWS,
                               .multiply = multiply,
                               .turn_f32 = turn_f32,
                               .turn_bf16 = turn_bf16,
                               .turn_f16 = turn_f16};
    return &isa;
}

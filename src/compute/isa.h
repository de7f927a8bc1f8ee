/* The inner loops of products.c, one set for each instruction set; all give the same bits. Private
 * to src/compute and to tests. */
#ifndef WALKAUDIT_COMPUTE_ISA_H
#define WALKAUDIT_COMPUTE_ISA_H

#include "base/bytes.h"

/*
 * What an element of a product is, on every processor: for each WA_SUM_PRODUCTS consecutive
 * products, in ascending order, sum = 0, then sum = fmaf(x, w, sum) one after the other; the first
 * of these sums is the element, and each further one is added to it in f32. fmaf is exact by
 * definition, so nothing is left to an instruction set; and no other row, column or panel is in it.
 */
enum { WA_SUM_PRODUCTS = 64 };

enum {
    /* columns of y that a panel of weights serves: panel [depth, WA_PANEL_WIDTH] */
    WA_PANEL_WIDTH = 32,
    WA_PANEL_DEPTH = 256, /* its products; a whole block of every format, and of WA_SUM_PRODUCTS */
    WA_TURN_ROWS = 16,    /* stored rows that become columns together: half a panel */
    WA_TILE_MOST = 13,    /* rows of x that are multiplied together, at most */
    /* floats from one of these rows to the next: not a power of two, which would put all rows into
     * the same places of the first-level cache */
    WA_TILE_STRIDE = WA_PANEL_DEPTH + 16,
};

/** Turn WA_TURN_ROWS stored rows of `depth` values into as many columns of a panel: panel[k *
 * WA_PANEL_WIDTH + row]. */
typedef void wa_turn(const uint8_t *const *rows, size_t depth, float *panel);

typedef struct wa_isa {
    const char *name;
    bool (*is_here)(void); /* may this process use it? */
    size_t tile_rows;      /* rows of x that `multiply` takes at most */
    /**
     * y[r] [WA_PANEL_WIDTH] = (fresh) or += the sums of tile row r with every column of the panel,
     * r < rows <= tile_rows. tile [rows, WA_TILE_STRIDE]; depth <= WA_PANEL_DEPTH; y may be
     * unaligned.
     */
    void (*multiply)(size_t rows, size_t depth, const float *tile, const float *panel, bool fresh,
                     float *const *y);
    wa_turn *turn_f32, *turn_bf16, *turn_f16; /* rows as stored, unaligned */
} wa_isa;

/* NULL where the compiler cannot make them. */
const wa_isa *wa_isa_avx512(void);
const wa_isa *wa_isa_avx2(void);
const wa_isa *wa_isa_portable(void);

/** The i-th instruction set known to this build, fastest first; NULL beyond the last. */
const wa_isa *wa_isa_at(size_t i);

/* The portable loops, used also for what is left at the ends. [from, depth) of `rows`. */
void wa_turn_rest_f32(const uint8_t *const *rows, size_t from, size_t depth, float *panel);
void wa_turn_rest_bf16(const uint8_t *const *rows, size_t from, size_t depth, float *panel);
void wa_turn_rest_f16(const uint8_t *const *rows, size_t from, size_t depth, float *panel);

#endif

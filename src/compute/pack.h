/* Stored weights as panels: decoding and packing in one step. Private to src/compute. */
#ifndef WALKAUDIT_COMPUTE_PACK_H
#define WALKAUDIT_COMPUTE_PACK_H

#include "codec/codec.h"
#include "compute/isa.h"

/** Columns of y that are packed together at most: a whole block of every format. */
enum { WA_PACK_COLUMNS = 256 };

/** Weights of a product as its panels see them: which of W's two ways the products run along. */
typedef struct wa_packing_source {
    wa_matrix w; /* no WA_ROWS_TRANSPOSED */
    bool by_features;
    size_t columns, depth; /* of y; of the sum */
} wa_packing_source;

wa_packing_source wa_packing_source_of(const wa_matrix *w, bool by_features);

/**
 * Pack columns [first, first + width) and products [from, from + depth) to `panels` [ceil(width /
 * WA_PANEL_WIDTH)][depth] [WA_PANEL_WIDTH]. first is a multiple of WA_PANEL_WIDTH, and by features
 * of WA_PACK_COLUMNS; from is one of WA_PANEL_DEPTH. What lies beyond `width` in the last panel is
 * some number and means nothing. Local, cannot fail.
 */
void wa_pack(const wa_isa *isa, const wa_packing_source *source, size_t first, size_t width,
             size_t from, size_t depth, float *panels);

#endif

/* Feature rows of a dense FFN, decoded a panel at a time and encoded for a file. */
#ifndef WALKAUDIT_VINDEX_PANEL_H
#define WALKAUDIT_VINDEX_PANEL_H

#include "walkaudit/arena.h"
#include "walkaudit/model.h"
#include "walkaudit/vindex.h"

typedef enum wa_encoding {
    WA_ENCODE_F32,
    WA_ENCODE_F16,
    WA_ENCODE_F32_VIA_F16 /* f32 bytes whose values went through f16: feature files of an f16 vindex
                           */
} wa_encoding;

/** Buffers for one panel; everything in an arena. */
typedef struct wa_panel {
    size_t rows_max; /* feature rows a panel holds at most; a multiple of 256 */
    size_t hidden;
    float *rows;      /* [rows_max, hidden] features, decoded */
    float *columns;   /* [hidden, rows_max] the same of a down matrix, before it is turned */
    uint8_t *encoded; /* [rows_max * hidden * 4] */
} wa_panel;

/** About 48 MiB for any hidden size up to 16384. */
WA_CHECKED wa_status wa_panel_open(size_t hidden, wa_arena *arena, wa_panel *out, wa_error *err);

/**
 * Decode features [first, first + count) of a projection into panel->rows, feature-major: rows of a
 * gate or up matrix [I, H], columns of a down matrix [H, I]. count <= rows_max; first is a multiple
 * of 256.
 */
void wa_panel_decode(wa_panel *panel, const wa_matrix *matrix, wa_projection projection,
                     size_t first, size_t count);

/**
 * Encode panel->rows. larql: converter A of vindex-format 5.2; else nearest even, where a finite
 * value beyond f16 is refused (WA_E_UNSUPPORTED). *out is borrowed from the panel until the next
 * call.
 */
WA_CHECKED wa_status wa_panel_encode(wa_panel *panel, size_t count, wa_encoding encoding,
                                     bool larql, wa_bytes *out, wa_error *err);

#endif

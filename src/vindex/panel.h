/* Rows of a dense FFN matrix, decoded a panel at a time and encoded for a file. */
#ifndef WALKAUDIT_VINDEX_PANEL_H
#define WALKAUDIT_VINDEX_PANEL_H

#include "base/arena.h"
#include "codec/codec.h"

/** How rows become the bytes of a file. */
typedef struct wa_encoding {
    /* F32, F16, BF16, or a block format: there each row is padded to whole blocks */
    wa_format format;
    /* F32 only: values go through f16 first, as in an f16 vindex's feature files */
    bool via_f16;
    bool pads; /* rows are filled up with zeros to 256 elements, in any format */
} wa_encoding;

/** The rows that are taken: those of a matrix, or its columns. */
typedef struct wa_panel_source {
    const wa_matrix *matrix;
    bool turned; /* a row is a column of the matrix: a feature of W_down [H, I] */
} wa_panel_source;

/** How many rows a source has, and how many elements each. */
size_t wa_panel_source_rows(const wa_panel_source *source);
size_t wa_panel_source_cols(const wa_panel_source *source);

/** Buffers for one panel; everything in an arena. */
typedef struct wa_panel {
    size_t room;      /* elements, rows counted as padded to 256 */
    float *rows;      /* [rows, cols] decoded */
    float *columns;   /* [cols, rows] the same of a turned source, before it is turned */
    uint8_t *encoded; /* [room * 4] */
} wa_panel;

/** Buffers for rows of up to `widest` elements: about 48 MiB up to 16384. */
WA_CHECKED wa_status wa_panel_open(size_t widest, wa_arena *arena, wa_panel *out, wa_error *err);

/** Bytes of a row of `cols` elements as it is written; false on overflow. */
bool wa_encoding_row(wa_encoding encoding, size_t cols, size_t *out);

/** Rows of `cols` elements that a panel holds: a multiple of 256. cols <= widest. */
size_t wa_panel_rows(const wa_panel *panel, size_t cols);

/**
 * Decode rows [first, first + count) of the source into panel->rows. count <= wa_panel_rows(cols);
 * first is a multiple of 256.
 */
void wa_panel_decode(wa_panel *panel, const wa_panel_source *source, size_t first, size_t count);

/**
 * Encode the first `count` rows, of `cols` elements. larql: f16 by converter A of vindex-format
 * 5.2; else to the nearest, where a finite value beyond f16 is refused (WA_E_UNSUPPORTED). *out is
 * borrowed from the panel until the next call.
 */
WA_CHECKED wa_status wa_panel_encode(wa_panel *panel, size_t count, size_t cols,
                                     wa_encoding encoding, bool larql, wa_bytes *out,
                                     wa_error *err);

#endif

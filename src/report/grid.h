/* Aligned columns of text on a terminal. */
#ifndef WALKAUDIT_REPORT_GRID_H
#define WALKAUDIT_REPORT_GRID_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdio.h>

typedef enum wa_colour { WA_COLOUR_NONE, WA_COLOUR_GOOD, WA_COLOUR_PLAIN, WA_COLOUR_BAD } wa_colour;

/** A column's heading and side. */
typedef struct wa_grid_column {
    const char *head;
    bool right; /* aligned to the right, for numbers */
} wa_grid_column;

typedef struct wa_grid_cell {
    const char *text; /* UTF-8, one line; borrowed; NULL = "-" */
    wa_colour colour;
} wa_grid_cell;

typedef struct wa_text_grid {
    const wa_grid_column *columns;
    size_t column_count, row_count;
    wa_grid_cell *cells; /* [row_count, column_count], arena */
} wa_text_grid;

WA_CHECKED wa_status wa_text_grid_open(wa_arena *arena, const wa_grid_column *columns,
                                       size_t column_count, size_t row_count, wa_text_grid *out,
                                       wa_error *err);
/** Print heading and rows, two blanks between columns, widths in display columns, no blanks at line
 * ends. On a terminal that is too narrow, columns that do not fit follow below, again beside the
 * first. */
WA_CHECKED wa_status wa_text_grid_print(const wa_text_grid *grid, FILE *out, bool colour,
                                        wa_arena *arena, wa_error *err);

#endif

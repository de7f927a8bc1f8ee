/* Aligned columns: widths are counted in display columns, since tokens may be of any script. */
#include "report/grid.h"

#include "base/launched.h"
#include "base/show.h"

#include <stdint.h>

enum { GAP = 2 }; /* blanks between columns */

wa_status wa_text_grid_open(wa_arena *arena, const wa_grid_column *columns, size_t column_count,
                            size_t row_count, wa_text_grid *out, wa_error *err)
{
    wa_text_grid grid = {.columns = columns, .column_count = column_count, .row_count = row_count};
    WA_TRY(wa_arena_take(arena, row_count, column_count * sizeof *grid.cells, &grid.cells, err));
    *out = grid;
    return WA_OK;
}

static const char *cell_text(const wa_text_grid *grid, size_t row, size_t column)
{
    const char *text = grid->cells[row * grid->column_count + column].text;
    return text == NULL ? "-" : text;
}

static void pad(FILE *out, size_t count)
{
    while (count-- > 0)
        fputc(' ', out);
}

static void print_text(FILE *out, const char *text, wa_colour colour)
{
    static const char *const codes[] = {[WA_COLOUR_NONE] = NULL,
                                        [WA_COLOUR_GOOD] = "\033[32m",
                                        [WA_COLOUR_PLAIN] = "\033[36m",
                                        [WA_COLOUR_BAD] = "\033[1;31m"};
    if (codes[colour] == NULL)
        fputs(text, out);
    else
        fprintf(out, "%s%s\033[0m", codes[colour], text);
}

/* The first column, and those from `from` to before `to`. row = row_count: the heading */
static void print_line(const wa_text_grid *grid, FILE *out, size_t row, size_t from, size_t to,
                       const size_t *widths, bool colour)
{
    size_t owed = 0; /* blanks before the next text: none are written at the end of a line */
    for (size_t c = 0; c < to; c = c == 0 ? from : c + 1) {
        bool is_head = row == grid->row_count;
        const char *text = is_head ? grid->columns[c].head : cell_text(grid, row, c);
        wa_colour with =
            is_head || !colour ? WA_COLOUR_NONE : grid->cells[row * grid->column_count + c].colour;
        size_t room = widths[c] - wa_show_width(text);
        bool right = grid->columns[c].right;
        pad(out, owed + (right ? room : 0));
        print_text(out, text, with);
        owed = GAP + (right ? 0 : room);
    }
    fputc('\n', out);
}

/* Columns from `from` on that fit beside the first; at least one, however wide. */
static size_t end_of_block(const wa_text_grid *grid, size_t from, const size_t *widths, size_t room)
{
    size_t used = widths[0];
    size_t to = from;
    while (to < grid->column_count && (to == from || used + GAP + widths[to] <= room))
        used += GAP + widths[to++];
    return to;
}

wa_status wa_text_grid_print(const wa_text_grid *grid, FILE *out, bool colour, wa_arena *arena,
                             wa_error *err)
{
    size_t *widths;
    WA_TRY(wa_arena_take(arena, grid->column_count, sizeof *widths, &widths, err));
    for (size_t c = 0; c < grid->column_count; c++) {
        widths[c] = wa_show_width(grid->columns[c].head);
        for (size_t r = 0; r < grid->row_count; r++) {
            size_t width = wa_show_width(cell_text(grid, r, c));
            widths[c] = width > widths[c] ? width : widths[c];
        }
    }
    size_t room = wa_terminal_columns(fileno(out));
    size_t from = 1;
    do {
        size_t to = end_of_block(grid, from, widths, room == 0 ? SIZE_MAX : room);
        if (from > 1)
            fputc('\n', out);
        print_line(grid, out, grid->row_count, from, to, widths, colour);
        for (size_t r = 0; r < grid->row_count; r++)
            print_line(grid, out, r, from, to, widths, colour);
        from = to;
    } while (from < grid->column_count);
    return WA_OK;
}

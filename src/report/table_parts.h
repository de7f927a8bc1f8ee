/* Parts of the result table that its two files share. */
#ifndef WALKAUDIT_REPORT_TABLE_PARTS_H
#define WALKAUDIT_REPORT_TABLE_PARTS_H

#include "report/table.h"

/** What every part of the table looks at. Borrowed for one wa_table_print. */
typedef struct wa_table {
    FILE *out;
    const wa_result *result;
    const wa_judgement *judgement;
    bool colour;
    wa_arena *arena;
    wa_error *err;
} wa_table;

size_t wa_table_case_count(const wa_table *table);
bool wa_table_has_run(const wa_table *table, size_t which);

/** Text of others (keys, names, paths) without what could break a line; at most `columns` wide, 0 =
 * no limit. Arena. */
WA_CHECKED wa_status wa_table_text(const wa_table *table, const char *text, size_t columns,
                                   const char **out);

/** An extreme's figure, and its place: "L12 code/5 ' x'"; NULL when nothing was seen, or no place
 * is worse than another. Arena. */
WA_CHECKED wa_status wa_table_extreme(const wa_table *table, wa_extreme extreme, const char **out);
WA_CHECKED wa_status wa_table_place(const wa_table *table, wa_extreme extreme, const char **out);

/** The grids over cases: how large, where, on what; and rates over all positions, when a verdict
 * has some. A grid has a heading and a blank line before it. */
WA_CHECKED wa_status wa_table_print_figures(const wa_table *table);
WA_CHECKED wa_status wa_table_print_places(const wa_table *table);
WA_CHECKED wa_status wa_table_print_basis(const wa_table *table);
/** How much of each case the kernel check looked at, and which cases it did not look at. */
WA_CHECKED wa_status wa_table_print_coverage(const wa_table *table);
/** How many of a model's experts the prompts did not reach, and which; nothing without experts. */
void wa_table_print_experts_reached(const wa_table *table);
/** The grid of which experts cases chose, and what that cost; nothing without experts. */
WA_CHECKED wa_status wa_table_print_experts(const wa_table *table);
/** The same x asked in another way: one position at a time, again, in another order, of another
 * server. */
WA_CHECKED wa_status wa_table_print_ways(const wa_table *table);
WA_CHECKED wa_status wa_table_print_rates(const wa_table *table);

/** A line for each vindex: its verdict, which of its files nobody reads; and a warning for each
 * unknown file. */
WA_CHECKED wa_status wa_table_print_vindexes(const wa_table *table);

#endif

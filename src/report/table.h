/* The result table: what `run` and `verdict` print on stdout. */
#ifndef WALKAUDIT_REPORT_TABLE_H
#define WALKAUDIT_REPORT_TABLE_H

#include "judge/judgement.h"

#include <stdbool.h>

/**
 * Print verdicts, figures with their places, failures, and what to type next. About 110 columns
 * wide.
 *
 * judgement  of `result`
 * colour     colour the verdicts (terminals)
 *
 * Errors: WA_E_IO when `out` cannot be written, WA_E_MEMORY. Local.
 */
WA_CHECKED wa_status wa_table_print(FILE *out, const wa_result *result,
                                    const wa_judgement *judgement, bool colour, wa_error *err);

/** Colour on stdout: a terminal, no NO_COLOR, and not a rank of mpirun, whose output goes through a
 * terminal of mpirun's own even into a file. */
bool wa_table_wants_colour(void);

#endif

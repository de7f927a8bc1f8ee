/* What the libraries of path external changed of the process that runs them, in words. */
#ifndef WALKAUDIT_REPORT_MODES_H
#define WALKAUDIT_REPORT_MODES_H

#include "store/store.h"

/**
 * "case q4k:mine: its library changed FTZ or DAZ in 3 of 4 layers; put back after each call",
 * arena; NULL when case `c` changed nothing. Follows from what the result holds, so that a run and
 * everyone who prints its table say the same. Local.
 */
WA_CHECKED wa_status wa_modes_warning(const wa_result *result, size_t c, wa_arena *arena,
                                      char **out, wa_error *err);

#endif

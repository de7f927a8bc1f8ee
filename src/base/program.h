/* Commands to type next, in words that run where they are printed. */
#ifndef WALKAUDIT_BASE_PROGRAM_H
#define WALKAUDIT_BASE_PROGRAM_H

#include "base/arena.h"

/**
 * This program as a shell calls it from the working directory: "walkaudit" where PATH leads to it,
 * else its path, from here if it lies below. "walkaudit" as well when the system does not tell, or
 * when this is another program. Arena. Local.
 */
WA_CHECKED wa_status wa_program_word(wa_arena *arena, char **out, wa_error *err);

/** "PROGRAM report RESULT -o DIRECTORY", the directory being the result's. Arena. Local. */
WA_CHECKED wa_status wa_program_report(const char *result, wa_arena *arena, char **out,
                                       wa_error *err);

#endif

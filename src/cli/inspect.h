/* The reports of `walkaudit inspect`, one per kind of thing. */
#ifndef WALKAUDIT_CLI_INSPECT_H
#define WALKAUDIT_CLI_INSPECT_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdio.h>

/** Print what a model is. */
WA_CHECKED wa_status wa_inspect_model(const char *path, wa_arena *arena, FILE *out, wa_error *err);

/**
 * Print what a vindex is: facts, payloads, upstream's flags and bucket, cases, values that are no
 * numbers. Values that are no numbers and copies that differ are listed; damage fails
 * (WA_E_FORMAT). checksums: also hash every file that index.json has a hash of.
 */
WA_CHECKED wa_status wa_inspect_vindex(const char *path, bool checksums, wa_arena *arena, FILE *out,
                                       wa_error *err);

/** The same of a result file. Errors: also WA_E_FORMAT when its stored judgement does not follow from its stored figures. */
WA_CHECKED wa_status wa_inspect_result(const char *path, wa_arena *arena, FILE *out, wa_error *err);

#endif

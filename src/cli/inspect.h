/* The reports of `walkaudit inspect`, one per kind of thing. */
#ifndef WALKAUDIT_CLI_INSPECT_H
#define WALKAUDIT_CLI_INSPECT_H

#include "path/path.h"

#include <jansson.h>
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

/**
 * Cases that a vindex alone tells of, for a gated model of its shape. Whether the FFN has a gate is
 * not recorded; `plan` has the list for a given model. Arena.
 */
WA_CHECKED wa_status wa_inspect_list_cases(const wa_vindex *vindex, wa_arena *arena, wa_cases *out,
                                           wa_error *err);

/** The same of a result file. Errors: also WA_E_FORMAT when its stored judgement does not follow
 * from its stored figures. */
WA_CHECKED wa_status wa_inspect_result(const char *path, wa_arena *arena, FILE *out, wa_error *err);

/**
 * What --json says of each kind, as members added to `object` (doc/json.md, walkaudit.inspect).
 * Values of a vindex are not looked at. Errors as above.
 */
WA_CHECKED wa_status wa_inspect_model_members(const char *path, wa_arena *arena, json_t *object,
                                              wa_error *err);
WA_CHECKED wa_status wa_inspect_vindex_members(const char *path, wa_arena *arena, json_t *object,
                                               wa_error *err);
WA_CHECKED wa_status wa_inspect_result_members(const char *path, wa_arena *arena, json_t *object,
                                               wa_error *err);

#endif

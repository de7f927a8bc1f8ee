/* Answers for programs: what --json prints, one object with the name and version of its schema
 * (doc/json.md). */
#ifndef WALKAUDIT_CLI_DOCUMENT_H
#define WALKAUDIT_CLI_DOCUMENT_H

#include "base/json.h"
#include "path/path.h"

#include <stdbool.h>

/** An object that begins with "schema" (walkaudit.NAME) and "version". Owned by the caller; NULL
 * without memory, as all of jansson's. */
json_t *wa_cli_document(const char *name, int version);
/** A number, or null for one that JSON does not have (NaN, infinities). */
json_t *wa_cli_number(double value);
/** What a case is, by this name: "case", "bucket", "kernel" and "not_run" (null: it runs). */
json_t *wa_cli_case(const wa_case *which, const char *name);
/** Print the object and a newline on stdout, and drop it. WA_E_IO, WA_E_MEMORY. */
WA_CHECKED wa_status wa_cli_print_json(json_t *object, wa_error *err);

#endif

/* walkaudit plan --json: an audit's plan as one object (doc/json.md, walkaudit.plan). */
#ifndef WALKAUDIT_CLI_PLAN_DOCUMENT_H
#define WALKAUDIT_CLI_PLAN_DOCUMENT_H

#include "cli/plan_sums.h"

#include <jansson.h>

/** What an audit is: model, prompts, cases, what cannot run; and an empty list "plans". The caller
 * owns *out. WA_E_IO, WA_E_MEMORY. */
WA_CHECKED wa_status wa_plan_audit_object(const wa_audit *audit, json_t **out, wa_error *err);

/** Add a plan of that audit to its list: grid, batches, costs. nodes: of this plan. */
void wa_plan_add_object(json_t *audit_object, const wa_audit *audit, const wa_plan *plan, int nodes,
                        const wa_plan_figures *figures);

#endif

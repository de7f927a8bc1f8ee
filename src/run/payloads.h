/* Before a run goes on with what is done, or says that all is: are the vindexes still those bytes? */
#ifndef WALKAUDIT_RUN_PAYLOADS_H
#define WALKAUDIT_RUN_PAYLOADS_H

#include "engine/inputs.h"
#include "run/log.h"

/**
 * Collective. Where batch 0 is done, read every stored payload again that has a digest, the ranks sharing them, and compare.
 *
 * meta, parts  of rank 0; others: dims of meta, and NULL
 * Errors: WA_E_MISMATCH.
 */
WA_CHECKED wa_status wa_run_check_payloads(wa_comm *comm, const wa_audit *audit, const char *result_path,
                                           const wa_result_meta *meta, wa_parts *parts, wa_run_log *log,
                                           wa_arena *arena, wa_error *err);

#endif

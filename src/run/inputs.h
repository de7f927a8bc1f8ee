/* Are the inputs of all ranks the same? */
#ifndef WALKAUDIT_RUN_INPUTS_H
#define WALKAUDIT_RUN_INPUTS_H

#include "comm/comm.h"
#include "engine/audit.h"

/**
 * Collective, after wa_audit_list_inputs. Compare each rank's inputs with those of rank 0, as they
 * were opened there: names, sizes, and content, of large files samples (wa_digest_samples). Device,
 * inode and times are a host's own. Errors: WA_E_MISMATCH, naming file, host and what differs.
 */
WA_CHECKED wa_status wa_run_compare_inputs(wa_comm *comm, const wa_audit *audit, wa_arena *arena,
                                           wa_error *err);

/** "host 'b' reads other inputs than rank 0: 'vindex v: index.json' has other bytes, though as
 * many": WA_E_MISMATCH. */
wa_status wa_run_fail_bytes(const wa_comm *comm, const wa_input_file *file, wa_error *err);

#endif

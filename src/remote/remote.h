/* Kernels of path external and served that are no code of this process: each becomes a wa_external. */
#ifndef WALKAUDIT_REMOTE_REMOTE_H
#define WALKAUDIT_REMOTE_REMOTE_H

#include "path/path.h"

/**
 * Start the program of a case (walkaudit/external_process.h) and greet it. Local. Close with wa_external_close, which ends it.
 * Errors: WA_E_IO (it cannot be started, ends, or does not answer in time), WA_E_MISMATCH (it answers in another version, or
 * no answer of the protocol), WA_E_UNSUPPORTED (it answers with a status that is not 0).
 *
 * model_path, vindex_path  what it is told, made absolute
 */
WA_CHECKED wa_status wa_external_start(const wa_case *which, const wa_model *model, const char *model_path,
                                       const char *vindex_path, wa_arena *arena, wa_external **out,
                                       wa_error *err);

#endif

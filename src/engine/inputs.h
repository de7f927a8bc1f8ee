/* Fingerprints of what decides an audit's numbers. Used by meta.c. */
#ifndef WALKAUDIT_ENGINE_INPUTS_H
#define WALKAUDIT_ENGINE_INPUTS_H

#include "engine/audit.h"

/** Fill meta->fingerprint and audit->files: one item per input file, then prompts, cases, settings. Reads the files. */
WA_CHECKED wa_status wa_audit_fingerprint(wa_audit *audit, const char *blas_core, wa_result_meta *meta, wa_error *err);

#endif

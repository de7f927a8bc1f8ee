/* What an audit reads: fingerprints of what decides its numbers, and the files of its vindexes.
 * Used by meta.c. */
#ifndef WALKAUDIT_ENGINE_INPUTS_H
#define WALKAUDIT_ENGINE_INPUTS_H

#include "engine/audit.h"

/** Fill audit->files but for hashes and checksums: model, vindexes, libraries and files of cases,
 * the reference dump. Local; the same list on every rank. */
WA_CHECKED wa_status wa_audit_list_inputs(wa_audit *audit, wa_error *err);

/** Of the files listed, find those that cases read and index.json has a checksum of. Local. */
WA_CHECKED wa_status wa_audit_find_checksums(wa_audit *audit, wa_error *err);

/** Read such a file whole, and compare: fills its `checksum` and `sum`. Local; memory of `arena`. */
WA_CHECKED wa_status wa_audit_take_checksum(const wa_audit *audit, wa_input_file *file,
                                            wa_arena *arena, wa_error *err);

/** Fill meta->fingerprint: one item per input file, then prompts, cases, settings. Reads files
 * whose hash nobody has taken. */
WA_CHECKED wa_status wa_audit_fingerprint(wa_audit *audit, const char *blas_core,
                                          wa_result_meta *meta, wa_error *err);

/** Fill what lies in each vindex: meta->vindex_files, vindex_lack, vindex_left_out. Lists the
 * directories; checksums are taken already. Local. */
WA_CHECKED wa_status wa_audit_reads(const wa_audit *audit, wa_result_meta *meta, wa_error *err);

/**
 * Read stored payload i of the digests again, one that has a digest, and compare. Adds to *bytes
 * what was read. Local. Errors: WA_E_MISMATCH, naming file, layer, projection.
 */
WA_CHECKED wa_status wa_audit_check_payload(const wa_audit *audit, const wa_payload_digests *then,
                                            size_t i, double *bytes, wa_error *err);

#endif

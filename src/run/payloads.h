/* What a run reads of its inputs beside computing, on all ranks: hashes of whole files, and whether
 * payloads are still the bytes that were audited. */
#ifndef WALKAUDIT_RUN_PAYLOADS_H
#define WALKAUDIT_RUN_PAYLOADS_H

#include "engine/inputs.h"
#include "run/log.h"

/**
 * Collective. Where a kept part or a finished result has digests, read every stored payload again
 * that has one, the ranks sharing them, and compare.
 *
 * meta, parts  of rank 0; others: anything, and NULL
 * Errors: WA_E_MISMATCH.
 */
WA_CHECKED wa_status wa_run_check_payloads(wa_comm *comm, const wa_audit *audit,
                                           const char *result_path, const wa_result_meta *meta,
                                           const wa_parts *parts, wa_run_log *log, wa_arena *arena,
                                           wa_error *err);

/**
 * Collective. List the inputs, compare them with rank 0's (run/inputs.h), and read whole those that
 * must be: every one with `fingerprint: full`, and the files of vindexes that cases read and
 * index.json has a checksum of. The ranks share the files, each taking the next where least is to be
 * read so far, and rank 0 gets hashes and checksums into audit->files. With `full` the ranks of each
 * host share its own, and all hosts must have the same. Errors: WA_E_MISMATCH.
 */
WA_CHECKED wa_status wa_run_hash_inputs(wa_comm *comm, wa_audit *audit, wa_run_log *log,
                                        wa_arena *arena, wa_error *err);

#endif

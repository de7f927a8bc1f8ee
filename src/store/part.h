/* A part: the file of some prompts that follow one another; and the description of the job beside
 * the parts. Private to src/store. */
#ifndef WALKAUDIT_STORE_PART_H
#define WALKAUDIT_STORE_PART_H

#include "store/file.h"
#include "store/store.h"

/** What job.json says: enough to know which parts belong here and how many prompts they must have.
 * Arena. */
typedef struct wa_parts_job {
    const char *hash; /* of all fingerprint items */
    const wa_fingerprint_item *items;
    size_t item_count;
    size_t prompt_count;
    int captures; /* number of the folder of its captures; WA_CAPTURES_NONE = it has none */
    int replaces; /* of the folder that the result shows whose name its own will take */
} wa_parts_job;

/** "sha256:…" over the items, in order. Arena. */
WA_CHECKED wa_status wa_parts_hash(const wa_result_meta *meta, wa_arena *arena, char **out,
                                   wa_error *err);
/** captures, replaces: as in wa_parts_job. */
WA_CHECKED wa_status wa_parts_job_write(const char *directory, const wa_result_meta *meta,
                                        const char *hash, int captures, int replaces,
                                        wa_error *err);
/** WA_E_IO when there is none, WA_E_FORMAT when it is damaged. */
WA_CHECKED wa_status wa_parts_job_open(const char *directory, wa_arena *arena, wa_parts_job *out,
                                       wa_error *err);
/** WA_E_MISMATCH naming the first item that differs, with both values. */
WA_CHECKED wa_status wa_fingerprint_compare(const wa_fingerprint_item *found, size_t found_count,
                                            const wa_fingerprint_item *expected,
                                            size_t expected_count, wa_error *err);
/** The key of the first file whose status changed since `found` was written, or is not known of
 * then; NULL: none. of_vindexes: of the files of vindexes, else of the others. */
const char *wa_fingerprint_touched(const wa_fingerprint_item *found, size_t found_count,
                                   const wa_fingerprint_item *expected, size_t expected_count,
                                   bool of_vindexes);

/** Extents of a part within a job. */
wa_dims wa_part_dims(const wa_dims *job, const wa_batch *range);
/** Open a part of a job of these extents and check version, fingerprint hash (NULL = any), range
 * and extents. Close with wa_hdf5_close. */
WA_CHECKED wa_status wa_part_open(const char *path, const char *hash, const wa_batch *range,
                                  const wa_dims *job, wa_hid *out, wa_error *err);
/** Does the digest at the end fit all bytes of a part? WA_E_FORMAT. */
WA_CHECKED wa_status wa_part_check_bytes(const char *path, wa_error *err);
/** As wa_part_open after wa_part_check_bytes, and read every dataset, so that every checksum is
 * checked. */
WA_CHECKED wa_status wa_part_check(const char *path, const char *hash, const wa_batch *range,
                                   const wa_dims *job, bool *has_encoding, wa_arena *arena,
                                   wa_error *err);
/** Does an open part carry row errors? */
WA_CHECKED wa_status wa_part_has_encoding(wa_hid part, bool *out, wa_error *err);

#endif

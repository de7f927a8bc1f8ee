/* The parts of the result reader that assembly and status share. Private to src/store. */
#ifndef WALKAUDIT_STORE_RESULT_H
#define WALKAUDIT_STORE_RESULT_H

#include "store/file.h"
#include "store/store.h"

/** Extents from the scales of an open result. WA_E_FORMAT. */
WA_CHECKED wa_status wa_result_extents(wa_hid file, wa_extents *out, wa_error *err);
/** Open a finished result, read only: its digest, then its version are checked. WA_E_FORMAT. Close
 * with wa_hdf5_close. */
WA_CHECKED wa_status wa_result_file_open(const char *path, wa_hid *out, wa_error *err);
/** Its fingerprint items. Arena. */
WA_CHECKED wa_status wa_result_fingerprint(wa_hid file, wa_arena *arena,
                                           const wa_fingerprint_item **out, size_t *count,
                                           wa_error *err);
/** Codes and indices of a dataset, which are used to index tables: each must lie in [least, limit).
 * WA_E_FORMAT. */
WA_CHECKED wa_status wa_result_check_codes(const char *name, const int8_t *values, size_t count,
                                           int least, int limit, wa_error *err);
/** Everything of wa_result_meta. out->dims must be set. */
WA_CHECKED wa_status wa_result_load_meta(wa_hid file, const wa_extents *extents, wa_arena *arena,
                                         wa_result_meta *out, wa_error *err);
/** meta, cases and small arrays of an open file, complete or in the making; the result's access
 * reads and writes it. */
WA_CHECKED wa_status wa_result_load(wa_hid file, const char *path, wa_arena *arena, wa_result **out,
                                    wa_error *err);

/** Access to an open file, which must outlive it. Arena. */
WA_CHECKED wa_status wa_result_access_open(wa_hid file, const wa_extents *extents,
                                           const wa_result_meta *meta, wa_arena *arena,
                                           wa_result_access *out, wa_error *err);
/** The file of an access; negative when it has ended. */
wa_hid wa_result_access_file(const wa_result_access *access);
/** The file is about to be closed. */
void wa_result_access_end(wa_result_access *access);

#endif

/* The directory of capture files: names, and which of them belong to kept parts. Private to
 * src/store. */
#ifndef WALKAUDIT_STORE_CAPTURE_FILE_H
#define WALKAUDIT_STORE_CAPTURE_FILE_H

#include "store/capture.h"
#include "store/file.h"
#include "store/parts.h"
#include "store/store.h"

/** "RESULT.h5.captures". */
WA_CHECKED wa_status wa_captures_directory(const char *result_path, char out[WA_NAME_BYTES],
                                           wa_error *err);
/** What else than a number stands for a folder: there are no captures, they lie in the directory
 * itself (as an earlier version put them), or nobody can tell. */
enum { WA_CAPTURES_NONE = -1, WA_CAPTURES_BARE = -2, WA_CAPTURES_UNKNOWN = -3 };
/** The folder that the result at this path shows, which may be damaged, or not there. Local. */
int wa_captures_shown(const char *result_path);
/** Remove the captures of a folder, and what is empty then; nothing where `number` names none. Files
 * of others stay, and so do their folders. Under the lock. */
WA_CHECKED wa_status wa_captures_remove(const char *result_path, int number, wa_error *err);
/** The first number at whose name nothing stands. */
WA_CHECKED wa_status wa_captures_free(const char *result_path, int *out, wa_error *err);
/** The number that a folder's name tells; WA_CAPTURES_NONE: it is none of ours. */
int wa_captures_parse_folder(const char *name);
/** Bytes of the values of so many observations. False on overflow. */
bool wa_captures_bytes(const wa_captures *captures, size_t rows, size_t *out);
/** "prompts-000003-000007-layers-0008-0015-reference.h5", "…-case-0002.h5". */
void wa_capture_file_name(const wa_capture_place *place, char out[WA_HOST_BYTES]);
/** The place a name tells; false when it is no capture file's. */
bool wa_capture_parse(const char *name, wa_capture_place *out);

/**
 * Look whether the capture files of a folder that hold `part` are what was written: all that is
 * kept is there, each file is sealed, and its seal fits. Reads them whole. Local. Errors:
 * WA_E_FORMAT, naming the file, or what no file holds; WA_E_IO.
 */
WA_CHECKED wa_status wa_captures_check(const char *folder, const wa_captures *captures,
                                       const wa_batch *part, wa_arena *arena, wa_error *err);

/**
 * Make the folder for a run, with room for what is still to come; remove files of what no kept part
 * holds, and temporary ones. Under the lock.
 */
WA_CHECKED wa_status wa_captures_prepare(const char *folder, const wa_result_meta *meta,
                                         const wa_batch *kept, size_t kept_count, wa_error *err);
/** The part whose prompts are those of a place, out of an ascending list; NULL = none. */
const wa_batch *wa_capture_part(const wa_capture_place *place, const wa_batch *parts, size_t count);
/** Group /captures of the result: virtual datasets over the files of the folder that the list's mark
 * names, by relative names. */
WA_CHECKED wa_status wa_assembly_captures(wa_hid file, const char *result_path,
                                          const wa_part_list *list, const wa_result_meta *meta,
                                          wa_arena *arena, wa_error *err);

#endif

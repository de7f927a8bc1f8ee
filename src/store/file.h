/* HDF5 files in our terms: ids that are always closed, errors in one line, datasets by layout row.
 * Private to src/store. */
#ifndef WALKAUDIT_STORE_FILE_H
#define WALKAUDIT_STORE_FILE_H

#include "store/layout.h"

#include <stdint.h>

/** hid_t (checked in file_hdf5.c); so that this header needs no hdf5.h. Negative = none. */
typedef int64_t wa_hid;

/** Ids to close together, last first. */
enum { WA_IDS = 16 };
typedef struct wa_ids {
    wa_hid id[WA_IDS];
    size_t count;
} wa_ids;
/** Remember an id (a negative one is passed through). */
wa_hid wa_ids_keep(wa_ids *ids, wa_hid id);
/* Behind wa_ids_close and wa_dataset_close. */
wa_status wa_ids_release(wa_ids *ids, wa_status status, wa_error *err);
wa_status wa_dataset_release(wa_hid dataset, wa_status status, wa_error *err);
/** Close all; a failure to close makes WA_OK a WA_E_IO. Returns the status to go on with. */
static inline wa_status wa_ids_close(wa_ids *ids, wa_status status, wa_error *err)
{
    return wa_kept(status, wa_ids_release(ids, status, err));
}

/** No messages of HDF5's own on stderr. Call first in every public function. */
void wa_hdf5_quiet(void);
/** wa_fail with HDF5's innermost reason: "WHAT: reason". */
#define wa_hdf5_failed(...) wa_failed(wa_hdf5_complain(__VA_ARGS__))
wa_status wa_hdf5_complain(wa_error *err, wa_status status, const char *what, const char *name);

/** A property list for opening files through our own driver (driver_hdf5.c), all ids closed with
 * the file, no file locks: our owner lock protects what is written, and HDF5's own fail on many
 * network file systems. To be closed; negative on failure. */
wa_hid wa_hdf5_access(void);
/** Was every read of this open file answered? Else what HDF5 says is absent may only be unread.
 * WA_E_IO. */
WA_CHECKED wa_status wa_hdf5_check_reads(wa_hid file, wa_error *err);
/** Keep its state, under the name that it was opened by (base/opened.h). */
WA_CHECKED wa_status wa_hdf5_keep(wa_hid file, const void *owner, const char *path, wa_error *err);
/** A read of this file failed: its descriptor is closed, the rest is left in HDF5's memory, and no
 * call may name its ids again. False: none failed, and the file is to be closed. */
WA_CHECKED bool wa_hdf5_give_up(wa_hid file);
/** What failed first in the file closed or given up last, or that could not be opened since.
 * WA_E_IO: what, where, why. Asked once. */
WA_CHECKED wa_status wa_hdf5_take_failure(wa_error *err);

/** Our driver. Errors: WA_E_IO (cannot open),
 * WA_E_FORMAT (no HDF5, truncated). */
WA_CHECKED wa_status wa_hdf5_open(const char *path, bool writable, wa_hid *out, wa_error *err);
/** A new file in the place of a temporary that a dead process left; anything else there, a link
 * too, is refused. WA_E_IO. */
WA_CHECKED wa_status wa_hdf5_create(const char *path, wa_hid *out, wa_error *err);
/** Close a file; keeps an earlier failure. WA_E_IO when anything that was written did not reach
 * it. */
wa_status wa_hdf5_close(wa_hid file, wa_status status, wa_error *err);

/* --- Attributes: written over one of the same name --- */

WA_CHECKED wa_status wa_attribute_write_text(wa_hid object, const char *name, const char *text,
                                             wa_error *err);
WA_CHECKED wa_status wa_attribute_write_texts(wa_hid object, const char *name,
                                              const char *const *texts, size_t count,
                                              wa_error *err);
WA_CHECKED wa_status wa_attribute_write_i64(wa_hid object, const char *name, int64_t value,
                                            wa_error *err);
WA_CHECKED wa_status wa_attribute_write_f64(wa_hid object, const char *name, double value,
                                            wa_error *err);
/** A short text of fixed length, for files whose damage must be found and not crash HDF5: a text of
 * variable length lies in a heap whose own sizes HDF5 1.10 believes. read: at most WA_WORD_BYTES -
 * 1 bytes, else WA_E_FORMAT. */
enum { WA_WORD_BYTES = 128 };
WA_CHECKED wa_status wa_attribute_write_word(wa_hid object, const char *name, const char *text,
                                             wa_error *err);
WA_CHECKED wa_status wa_attribute_read_word(wa_hid object, const char *name,
                                            char out[WA_WORD_BYTES], wa_error *err);
/** Values of `count` numbers; type is one of the number types. */
WA_CHECKED wa_status wa_attribute_write_numbers(wa_hid object, const char *name,
                                                wa_layout_type type, const void *values,
                                                size_t count, wa_error *err);
/** Errors: WA_E_FORMAT when it is missing or of another type. */
WA_CHECKED wa_status wa_attribute_read_text(wa_hid object, const char *name, wa_arena *arena,
                                            const char **out, wa_error *err);
WA_CHECKED wa_status wa_attribute_read_texts(wa_hid object, const char *name, wa_arena *arena,
                                             const char *const **out, size_t *count, wa_error *err);
WA_CHECKED wa_status wa_attribute_read_i64(wa_hid object, const char *name, int64_t *out,
                                           wa_error *err);

/* --- Datasets --- */

/** A box of a dataset: start and count per dimension. */
typedef struct wa_box {
    size_t start[WA_LAYOUT_RANK], count[WA_LAYOUT_RANK];
} wa_box;

/** Create a dataset of the result with chunks, filters, fill value and attributes, scales attached
 * when they are there. */
WA_CHECKED wa_status wa_dataset_create(wa_hid file, const wa_layout *row, const wa_extents *extents,
                                       wa_error *err);
/** Create and write whole: values in memory order, char * for text (escaped where it is no UTF-8).
 */
WA_CHECKED wa_status wa_dataset_add(wa_hid file, const char *name, const wa_extents *extents,
                                    const void *values, wa_error *err);
/** The same for a row that need not be in the table; over what an earlier write left there. */
WA_CHECKED wa_status wa_dataset_put(wa_hid file, const wa_layout *row, const wa_extents *extents,
                                    const void *values, wa_error *err);
/** Open and check type class, size, rank and extents against the table. WA_E_FORMAT. To be read and
 * written by whole chunks (wa_layout_box): it keeps none. Close with wa_dataset_close. */
WA_CHECKED wa_status wa_dataset_open(wa_hid file, const wa_layout *row, const wa_extents *extents,
                                     wa_hid *out, wa_error *err);
/** Close a dataset (a negative id is none); a failure to finish writing it makes WA_OK a WA_E_IO.
 * Returns the status to go on with. */
static inline wa_status wa_dataset_close(wa_hid dataset, wa_status status, wa_error *err)
{
    return wa_kept(status, wa_dataset_release(dataset, status, err));
}
/** Read or write a box of numbers; memory holds just the box. box NULL = all. */
WA_CHECKED wa_status wa_dataset_read(wa_hid dataset, const wa_layout *row, const wa_box *box,
                                     void *values, wa_error *err);
WA_CHECKED wa_status wa_dataset_write(wa_hid dataset, const wa_layout *row, const wa_box *box,
                                      const void *values, wa_error *err);
/** Open, check and read all of it: *out in the arena; strings as const char *. */
WA_CHECKED wa_status wa_dataset_load(wa_hid file, const char *name, const wa_extents *extents,
                                     wa_arena *arena, void *out_pointer, wa_error *err);
/** The same for a row that need not be in the table. */
WA_CHECKED wa_status wa_dataset_get(wa_hid file, const wa_layout *row, const wa_extents *extents,
                                    wa_arena *arena, void *out_pointer, wa_error *err);
/** Length of a one-dimensional dataset: the extents of an axis. WA_E_FORMAT. */
WA_CHECKED wa_status wa_dataset_length(wa_hid file, const char *name, size_t *out, wa_error *err);

#endif

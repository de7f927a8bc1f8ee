/* Datasets of HDF5 files that others write. Private to src/store. */
#ifndef WALKAUDIT_STORE_FOREIGN_H
#define WALKAUDIT_STORE_FOREIGN_H

#include "store/file.h"

#include <stdbool.h>

/**
 * Open a dataset of floating-point numbers (else integers) of just this shape, in chunks of at most
 * 256 MiB. Close with H5Dclose. Local. Errors: WA_E_FORMAT, naming the dataset, what was found and
 * what is expected.
 *
 * shape  [rank], rank 1 to 3
 */
WA_CHECKED wa_status wa_foreign_open(wa_hid file, const char *name, bool floats,
                                     const size_t *shape, int rank, wa_hid *out, wa_error *err);
/** The same, read whole into `values`: f64, or i32 of integers. */
WA_CHECKED wa_status wa_foreign_read(wa_hid file, const char *name, bool floats,
                                     const size_t *shape, int rank, void *values, wa_error *err);

#endif

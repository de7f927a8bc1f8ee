/*
 * The seal: a line behind the last byte of HDF5's own, which holds the SHA-256 of all before it.
 * HDF5 does not look behind its end; we look there first, so a file that was damaged anywhere,
 * attributes and names included, never reaches HDF5. POSIX only.
 */
#ifndef WALKAUDIT_STORE_SEAL_H
#define WALKAUDIT_STORE_SEAL_H

#include "base/bytes.h"
#include "base/digest.h"

/* "\nwalkaudit sha256 " 64 digits "\n" */
enum { WA_SEAL_BYTES = 18 + 64 + 1 };

/** The seal of these bytes. */
WA_CHECKED wa_status wa_seal_of(wa_bytes bytes, char out[WA_SEAL_BYTES + 1], wa_error *err);
/** Append the seal to a closed file. Reads all of it. WA_E_IO. */
WA_CHECKED wa_status wa_seal_append(const char *path, wa_error *err);
/**
 * Is the file sealed, and does the seal fit? Reads all of it. *sealed = false: there is no seal (a
 * file of another version or program, one that was changed by another program, or not finished).
 * WA_E_FORMAT: damaged; both digests.
 */
WA_CHECKED wa_status wa_seal_check(const char *path, bool *sealed, wa_error *err);

#endif

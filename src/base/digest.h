/* SHA-256 of bytes as they pass, for checksums in index.json; and a faster digest, to know bytes
 * again. */
#ifndef WALKAUDIT_BASE_DIGEST_H
#define WALKAUDIT_BASE_DIGEST_H

#include "base/bytes.h"

enum { WA_SHA256_HEX = 65 }; /* 64 digits and NUL */

/** A running hash; the library's memory, owned. */
typedef struct wa_digest {
    void *context;
} wa_digest;

WA_CHECKED wa_status wa_digest_open(wa_digest *out, wa_error *err);
WA_CHECKED wa_status wa_digest_add(wa_digest *digest, wa_bytes bytes, wa_error *err);
/** Lowercase hexadecimal digits of what was added. */
WA_CHECKED wa_status wa_digest_finish(wa_digest *digest, char out[WA_SHA256_HEX], wa_error *err);
/** Free; allowed on a zeroed digest. */
void wa_digest_close(wa_digest *digest);

/**
 * A digest of 128 bits that costs a fifth of a SHA-256: GMAC, that is AES-128-GCM of nothing with
 * the bytes as associated data, under the key "walkaudit digest" and a nonce of zeros. As two
 * numbers, big-endian. Two contents that differ by chance have one digest with a probability below
 * 2^-100; since the key is known, a forger could make such a pair: against forgers there is
 * SHA-256.
 */
typedef struct wa_short_digest {
    int64_t high, low;
} wa_short_digest;
WA_CHECKED wa_status wa_digest_short(wa_bytes bytes, wa_short_digest *out, wa_error *err);

/**
 * A short digest of samples: of all bytes of a file of `whole` bytes or less, or of less than
 * three pages; else of a page at the start, one at the end, and others at equal distances between
 * them: one, and one more for each 256 MiB, up to 15. Each may cost a reading of the disk.
 */
WA_CHECKED wa_status wa_digest_samples(wa_bytes file, size_t whole, wa_short_digest *out,
                                       wa_error *err);

/** All of it at once. */
WA_CHECKED wa_status wa_digest_bytes(wa_bytes bytes, char out[WA_SHA256_HEX], wa_error *err);

#endif

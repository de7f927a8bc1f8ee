/* SHA-256 of bytes as they pass, for checksums in index.json. */
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

/** The first 16 bytes of the SHA-256 of bytes, as two numbers: enough to tell one file's bytes from another's. */
typedef struct wa_short_digest {
    int64_t high, low;
} wa_short_digest;
WA_CHECKED wa_status wa_digest_short(wa_bytes bytes, wa_short_digest *out, wa_error *err);

/** All of it at once. */
WA_CHECKED wa_status wa_digest_bytes(wa_bytes bytes, char out[WA_SHA256_HEX], wa_error *err);

#endif

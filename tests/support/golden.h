/* Golden files in unit tests: read a whole file, hash bytes. */
#ifndef WALKAUDIT_TEST_GOLDEN_H
#define WALKAUDIT_TEST_GOLDEN_H

#include "base/bytes.h"

#include "suite.h"

#include <openssl/evp.h>
#include <stdlib.h>

enum { WA_SHA256_TEXT = 65 };

/* SHA-256 as lower-case hex digits. */
static inline void wa_test_sha256(const void *data, size_t size, char out[WA_SHA256_TEXT])
{
    unsigned char digest[32];
    unsigned length = 0;
    CU_ASSERT_FATAL(EVP_Digest(data, size, digest, &length, EVP_sha256(), NULL) == 1);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* A whole golden file on the heap, to be freed; so that sanitizers see reads beyond its end. */
static inline wa_bytes wa_test_read(const char *path)
{
    wa_map map;
    wa_error err;
    WA_MUST(wa_map_open(path, &map, &err), &err);
    uint8_t *copy = malloc(map.bytes.size == 0 ? 1 : map.bytes.size);
    CU_ASSERT_FATAL(copy != NULL);
    memcpy(copy, map.bytes.data, map.bytes.size);
    wa_bytes bytes = {.data = copy, .size = map.bytes.size};
    wa_map_close(&map);
    return bytes;
}

static inline void wa_test_free(wa_bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

/* Deterministic noise: xorshift64. */
static inline uint64_t wa_test_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif

/* SHA-256 and GMAC through OpenSSL's libcrypto. */
#include "base/digest.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>

enum { SHA256_BYTES = 32 };

static wa_status broken(wa_error *err)
{
    return wa_fail(err, WA_E_INTERNAL, "libcrypto refuses SHA-256");
}

wa_status wa_digest_open(wa_digest *out, wa_error *err)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL)
        return wa_fail(err, WA_E_MEMORY, "no memory for a SHA-256");
    if (EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        return broken(err);
    }
    out->context = context;
    return WA_OK;
}

wa_status wa_digest_add(wa_digest *digest, wa_bytes bytes, wa_error *err)
{
    if (EVP_DigestUpdate(digest->context, bytes.data, bytes.size) != 1)
        return broken(err);
    return WA_OK;
}

wa_status wa_digest_finish(wa_digest *digest, char out[WA_SHA256_HEX], wa_error *err)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    if (EVP_DigestFinal_ex(digest->context, sum, NULL) != 1)
        return broken(err);
    for (size_t i = 0; i < SHA256_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", sum[i]);
    return WA_OK;
}

void wa_digest_close(wa_digest *digest)
{
    EVP_MD_CTX_free(digest->context);
    digest->context = NULL;
}

/* EVP counts in int: whole blocks of less than 2 GiB at once. */
enum { GMAC_BYTES = 16, GMAC_PIECE = 1 << 30 };

static bool add_gmac(EVP_CIPHER_CTX *context, wa_bytes bytes)
{
    int ignored;
    for (size_t done = 0; done < bytes.size;) {
        size_t left = bytes.size - done;
        size_t piece = left < GMAC_PIECE ? left : GMAC_PIECE;
        if (EVP_EncryptUpdate(context, NULL, &ignored, bytes.data + done, (int)piece) != 1)
            return false;
        done += piece;
    }
    return true;
}

static bool run_gmac(EVP_CIPHER_CTX *context, wa_bytes bytes, unsigned char tag[GMAC_BYTES])
{
    static const unsigned char key[] = "walkaudit digest"; /* 16 bytes and a NUL */
    static const unsigned char nonce[12] = {0};
    int ignored;
    return EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), NULL, key, nonce) == 1 &&
           add_gmac(context, bytes) && EVP_EncryptFinal_ex(context, tag, &ignored) == 1 &&
           EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, GMAC_BYTES, tag) == 1;
}

wa_status wa_digest_short(wa_bytes bytes, wa_short_digest *out, wa_error *err)
{
    unsigned char tag[GMAC_BYTES] = {0};
    uint64_t half[2] = {0};
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context == NULL)
        return wa_fail(err, WA_E_MEMORY, "no memory for a digest");
    bool done = run_gmac(context, bytes, tag);
    EVP_CIPHER_CTX_free(context);
    if (!done)
        return wa_fail(err, WA_E_INTERNAL, "libcrypto refuses AES-128-GCM");
    for (size_t i = 0; i < GMAC_BYTES; i++)
        half[i / 8] = half[i / 8] << 8 | tag[i];
    memcpy(&out->high, &half[0], sizeof out->high);
    memcpy(&out->low, &half[1], sizeof out->low);
    return WA_OK;
}

enum { SAMPLE = 4096, LEAST_SAMPLES = 3, MOST_SAMPLES = 17, BYTES_PER_SAMPLE = 256 << 20 };

wa_status wa_digest_samples(wa_bytes file, size_t whole, wa_short_digest *out, wa_error *err)
{
    uint8_t samples[MOST_SAMPLES * SAMPLE];
    if (file.size <= whole || file.size < LEAST_SAMPLES * SAMPLE)
        return wa_digest_short(file, out, err);
    size_t gaps = wa_size_min(LEAST_SAMPLES + file.size / BYTES_PER_SAMPLE, MOST_SAMPLES) - 1;
    size_t last = file.size - SAMPLE;
    for (size_t i = 0; i <= gaps; i++)
        memcpy(samples + i * SAMPLE, file.data + (i < gaps ? last / gaps * i : last), SAMPLE);
    return wa_digest_short((wa_bytes){samples, (gaps + 1) * SAMPLE}, out, err);
}

wa_status wa_digest_bytes(wa_bytes bytes, char out[WA_SHA256_HEX], wa_error *err)
{
    wa_digest digest;
    WA_TRY(wa_digest_open(&digest, err));
    wa_status status = wa_digest_add(&digest, bytes, err);
    if (status == WA_OK)
        status = wa_digest_finish(&digest, out, err);
    wa_digest_close(&digest);
    return status;
}

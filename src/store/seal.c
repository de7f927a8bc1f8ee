/* Sealing and checking: SHA-256 over the mapped file. */
#include "store/seal.h"

#include "base/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const char HEAD[] = "\nwalkaudit sha256 ";

wa_status wa_seal_of(wa_bytes bytes, char out[WA_SEAL_BYTES + 1], wa_error *err)
{
    char hex[WA_SHA256_HEX];
    WA_TRY(wa_digest_bytes(bytes, hex, err));
    snprintf(out, WA_SEAL_BYTES + 1, "%s%s\n", HEAD, hex);
    return WA_OK;
}

static wa_status append(const char *path, const char *seal, wa_error *err)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return wa_fail(err, WA_E_IO, "cannot open '%s': %s", path, strerror(errno));
    wa_status status = wa_write_all(fd, seal, WA_SEAL_BYTES, NULL, err);
    if (close(fd) != 0 && status == WA_OK)
        status = wa_fail(err, WA_E_IO, "cannot close: %s", strerror(errno));
    return status == WA_OK ? WA_OK : wa_note(err, "in file '%s'", path);
}

wa_status wa_seal_append(const char *path, wa_error *err)
{
    wa_map map;
    char seal[WA_SEAL_BYTES + 1];
    WA_TRY(wa_map_open(path, &map, err));
    wa_status status = wa_seal_of(map.bytes, seal, err);
    wa_map_close(&map);
    return status == WA_OK ? append(path, seal, err) : status;
}

/* The seal at the end of these bytes; false when there is none. */
static bool find_seal(wa_bytes bytes, wa_bytes *sealed, const char **digits)
{
    size_t head = sizeof HEAD - 1;
    if (bytes.size < WA_SEAL_BYTES)
        return false;
    *sealed = (wa_bytes){.data = bytes.data, .size = bytes.size - WA_SEAL_BYTES};
    *digits = (const char *)bytes.data + sealed->size + head;
    return memcmp(bytes.data + sealed->size, HEAD, head) == 0;
}

static wa_status compare(wa_bytes sealed, const char *digits, wa_error *err)
{
    char hex[WA_SHA256_HEX];
    WA_TRY(wa_digest_bytes(sealed, hex, err));
    if (memcmp(hex, digits, WA_SHA256_HEX - 1) != 0 || digits[WA_SHA256_HEX - 1] != '\n')
        return wa_fail(
            err, WA_E_FORMAT,
            "the file is damaged: its bytes have the SHA-256 %.12s…, its last line says %.12s…",
            hex, digits);
    return WA_OK;
}

wa_status wa_seal_check(const char *path, bool *sealed, wa_error *err)
{
    wa_map map;
    wa_bytes bytes;
    const char *digits;
    WA_TRY(wa_map_open(path, &map, err));
    bool found = find_seal(map.bytes, &bytes, &digits);
    wa_status status = found ? compare(bytes, digits, err) : WA_OK;
    wa_map_close(&map);
    *sealed = found;
    return status == WA_OK ? WA_OK : wa_note(err, "in file '%s'", path);
}

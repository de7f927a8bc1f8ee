/* Size arithmetic and slices: every length from a file passes here before it is used. */
#include "base/bytes.h"

#include <assert.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "walkaudit reads little-endian files in place");
static_assert(sizeof(size_t) == 8, "walkaudit maps files larger than 4 GiB");

bool wa_size_mul(size_t a, size_t b, size_t *out)
{
    if (a != 0 && b > SIZE_MAX / a)
        return false;
    *out = a * b;
    return true;
}

bool wa_size_add(size_t a, size_t b, size_t *out)
{
    if (b > SIZE_MAX - a)
        return false;
    *out = a + b;
    return true;
}

bool wa_bytes_slice(wa_bytes bytes, uint64_t offset, uint64_t length, wa_bytes *out)
{
    if (offset > bytes.size || length > bytes.size - offset)
        return false;
    out->data = bytes.data == NULL ? NULL : bytes.data + offset;
    out->size = length;
    return true;
}

bool wa_name_is_plain(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

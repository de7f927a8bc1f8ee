/* Number formats: the first byte names one, the rest is blocks of it, and then floats to encode.
 * The one that runs and its oracle agree. */
#include "codec/codec.h"
#include "fuzz.h"

#include <math.h>

enum { ELEMENTS_MAX = 256, BYTES_MAX = 257 };

static void check_decoders(const wa_format_info *info, const uint8_t *block)
{
    float fast[ELEMENTS_MAX], slow[ELEMENTS_MAX];
    info->decode(block, 1, fast);
    info->decode_ref(block, 1, slow);
    for (size_t i = 0; i < info->block_elements; i++)
        fuzz_require(memcmp(&fast[i], &slow[i], sizeof *fast) == 0 ||
                         (isnan(fast[i]) && isnan(slow[i])),
                     "two decoders differ");
}

static void check_encoders(const wa_format_info *info, const uint8_t *floats)
{
    float x[ELEMENTS_MAX];
    uint8_t fast[BYTES_MAX], slow[BYTES_MAX];
    memcpy(x, floats, info->block_elements * sizeof *x);
    info->encode(x, 1, fast);
    info->encode_ref(x, 1, slow);
    fuzz_require(memcmp(fast, slow, info->block_bytes) == 0, "two encoders differ");
    check_decoders(info, fast);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const wa_format_info *info = wa_format_get((wa_format)(data[0] % WA_FORMAT_COUNT));
    wa_bytes rest = {.data = data + 1, .size = size - 1}, part;
    for (size_t at = 0; wa_bytes_slice(rest, at, info->block_bytes, &part); at += info->block_bytes)
        check_decoders(info, part.data);
    size_t floats = info->block_elements * sizeof(float);
    for (size_t at = 0; info->encode != NULL && wa_bytes_slice(rest, at, floats, &part);
         at += floats)
        check_encoders(info, part.data);
    return 0;
}

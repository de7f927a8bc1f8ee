/* The table of number formats. */
#include "codec/coders.h"

#include <assert.h>

static const wa_format_info formats[WA_FORMAT_COUNT] = {
#define READ_ROW(id, name, elements, bytes, bound, bits)                                           \
    [WA_FORMAT_##id] = {name,           elements,           bytes, bound, bits,                    \
                        wa_decode_##id, wa_decode_ref_##id, NULL,  NULL},
#define WRITTEN_ROW(id, name, elements, bytes, bound, bits)                                        \
    [WA_FORMAT_##id] = {                                                                           \
        name,           elements,          bytes, bound, bits, wa_decode_##id, wa_decode_ref_##id, \
        wa_encode_##id, wa_encode_ref_##id},
    WA_FORMAT_READ_LIST(READ_ROW) WA_FORMAT_WRITTEN_LIST(WRITTEN_ROW)
#undef READ_ROW
#undef WRITTEN_ROW
};

#define FORMAT_FITS(id, name, elements, bytes, bound, bits)                                        \
    static_assert((elements) <= WA_BLOCK_MAX, name);
WA_FORMAT_LIST(FORMAT_FITS)
#undef FORMAT_FITS

const wa_format_info *wa_format_get(wa_format format)
{
    assert((size_t)format < WA_FORMAT_COUNT);
    return &formats[format];
}

bool wa_format_is_coarse(wa_format format)
{
    return wa_format_get(format)->source_bits <= 6;
}

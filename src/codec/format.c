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
    WA_FORMAT_TABLE(READ_ROW, WRITTEN_ROW)
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

wa_format wa_format_other_order(wa_format format)
{
    switch (format) {
    case WA_FORMAT_Q4_0:
        return WA_FORMAT_GGML_Q4_0;
    case WA_FORMAT_GGML_Q4_0:
        return WA_FORMAT_Q4_0;
    case WA_FORMAT_Q6_K:
        return WA_FORMAT_GGML_Q6_K;
    case WA_FORMAT_GGML_Q6_K:
        return WA_FORMAT_Q6_K;
    default:
        return format;
    }
}

bool wa_format_is_ggml_order(wa_format format)
{
    return format == WA_FORMAT_GGML_Q4_0 || format == WA_FORMAT_GGML_Q6_K;
}

bool wa_format_is_float(wa_format format)
{
    return format == WA_FORMAT_F32 || format == WA_FORMAT_F16 || format == WA_FORMAT_BF16 ||
           format == WA_FORMAT_F64;
}

bool wa_format_is_coarse(wa_format format)
{
    return wa_format_get(format)->source_bits <= 6;
}

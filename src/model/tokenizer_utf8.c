/* UTF-8 by the table of well-formed byte sequences (Unicode 15, table 3-7). */
#include "model/tokenizer_utf8.h"

bool wa_text_equals(wa_text a, wa_text b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool wa_text_starts_with(wa_text text, wa_text start)
{
    return text.size >= start.size &&
           (start.size == 0 || memcmp(text.data, start.data, start.size) == 0);
}

size_t wa_text_find(wa_text text, wa_text part, size_t from)
{
    while (from < text.size && text.size - from >= part.size) {
        size_t last = text.size - part.size;
        const char *hit = memchr(text.data + from, part.data[0], last - from + 1);
        if (hit == NULL)
            break;
        if (memcmp(hit, part.data, part.size) == 0)
            return (size_t)(hit - text.data);
        from = (size_t)(hit - text.data) + 1;
    }
    return text.size;
}

/* Length of the sequence a lead byte starts (0: none) and the range of its second byte. */
static size_t sequence_size(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    *high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 2;
    if (lead >= 0xe0 && lead <= 0xef)
        return 3;
    return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

bool wa_utf8_take(wa_text text, size_t at, uint32_t *code, size_t *taken)
{
    static const unsigned char lead_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const unsigned char *bytes = (const unsigned char *)text.data + at;
    unsigned char low, high;
    size_t size = sequence_size(bytes[0], &low, &high);
    *taken = 1;
    if (size == 0)
        return false;

    uint32_t value = bytes[0] & lead_mask[size];
    for (size_t i = 1; i < size; i++) {
        if (i == text.size - at || bytes[i] < low || bytes[i] > high)
            return false;
        value = value << 6 | (bytes[i] & 0x3f);
        *taken = i + 1;
        low = 0x80;
        high = 0xbf;
    }
    *code = value;
    return true;
}

size_t wa_utf8_valid_size(wa_text text)
{
    static const uint64_t HIGH_BITS = 0x8080808080808080u;
    size_t at = 0;
    while (at < text.size) {
        if (text.size - at >= 8 && (wa_load_u64(text.data + at) & HIGH_BITS) == 0) {
            at += 8; /* eight ASCII characters at once */
            continue;
        }
        uint32_t code;
        size_t taken;
        if (!wa_utf8_take(text, at, &code, &taken))
            return at;
        at += taken;
    }
    return at;
}

size_t wa_utf8_put(uint32_t code, char *out)
{
    unsigned char *bytes = (unsigned char *)out;
    if (code < 0x80) {
        bytes[0] = (unsigned char)code;
        return 1;
    }
    size_t size = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--) {
        bytes[i] = (unsigned char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    bytes[0] = (unsigned char)((0xf00u >> size & 0xf0u) | code);
    return size;
}

wa_status wa_utf8_repair(wa_text text, wa_arena *arena, wa_text *out, wa_error *err)
{
    static const char REPLACEMENT[] = "\xef\xbf\xbd";
    char *at;
    size_t used = 0;
    WA_TRY(wa_arena_take(arena, text.size + 1, 3, &at, err)); /* one byte may grow to three */
    for (size_t i = 0; i < text.size;) {
        uint32_t code;
        size_t taken;
        bool valid = wa_utf8_take(text, i, &code, &taken);
        memcpy(at + used, valid ? text.data + i : REPLACEMENT, valid ? taken : 3);
        used += valid ? taken : 3;
        i += taken;
    }
    at[used] = '\0';
    *out = (wa_text){at, used};
    return WA_OK;
}

bool wa_utf8_is_space(uint32_t code)
{
    return (code >= 0x09 && code <= 0x0d) || code == 0x20 || code == 0x85 || code == 0xa0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

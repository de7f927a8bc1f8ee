/*
 * Canonical composition with the tables of utf8proc. Its own utf8proc_decompose orders marks by
 * exchanging neighbours, which is quadratic in a long run of them; so they are ordered here.
 */
#include "model/tokenizer_parts.h"

#include <stdlib.h>
#include <utf8proc.h>

static const utf8proc_option_t NFC = UTF8PROC_STABLE | UTF8PROC_COMPOSE;

static bool is_ascii(wa_text text)
{
    unsigned char all = 0;
    for (size_t i = 0; i < text.size; i++)
        all |= (unsigned char)text.data[i];
    return all < 0x80;
}

/* Decomposes each character; with codes NULL it only counts. False: utf8proc refused a character.
 */
static bool decompose(wa_text text, utf8proc_int32_t *codes, size_t room, size_t *count)
{
    size_t used = 0, taken;
    for (size_t at = 0; at < text.size; at += taken) {
        uint32_t code = 0;
        int boundary = 0;
        if (!wa_utf8_take(text, at, &code, &taken))
            return false;
        utf8proc_ssize_t size = utf8proc_decompose_char(
            (utf8proc_int32_t)code, codes == NULL ? NULL : codes + used,
            codes == NULL ? 0 : (utf8proc_ssize_t)(room - used), NFC, &boundary);
        if (size < 0)
            return false;
        used += (size_t)size;
    }
    *count = used;
    return true;
}

static uint64_t class_of(utf8proc_int32_t code)
{
    return (uint64_t)utf8proc_get_property(code)->combining_class;
}

static int compare_keys(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/*
 * Orders a run of marks by class, equal ones as they stand. A key is the class (8 bits), the place
 * in the run (32 bits) and the code point (21 bits).
 */
static void order_run(utf8proc_int32_t *codes, size_t count, uint64_t *keys)
{
    bool ordered = true;
    for (size_t i = 0; i < count; i++) {
        keys[i] = class_of(codes[i]) << 53 | (uint64_t)i << 21 | (uint64_t)codes[i];
        ordered &= i == 0 || keys[i - 1] < keys[i];
    }
    if (ordered)
        return;
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 0; i < count; i++)
        codes[i] = (utf8proc_int32_t)(keys[i] & 0x1fffff);
}

static void order_marks(utf8proc_int32_t *codes, size_t count, uint64_t *keys)
{
    for (size_t start = 0; start < count;) {
        size_t end = start;
        while (end < count && class_of(codes[end]) != 0)
            end++;
        if (end - start > 1)
            order_run(codes + start, end - start, keys);
        start = end + 1;
    }
}

wa_status wa_nfc_run(wa_text text, wa_arena *arena, wa_text *out, wa_error *err)
{
    size_t count;
    utf8proc_int32_t *codes;
    uint64_t *keys;
    if (is_ascii(text)) {
        *out = text;
        return WA_OK;
    }
    if (!decompose(text, NULL, 0, &count) || count > UINT32_MAX)
        return wa_fail(err, WA_E_UNSUPPORTED, "NFC: text of %zu bytes cannot be decomposed",
                       text.size);
    WA_TRY(wa_arena_take_raw(arena, count + 1, sizeof *codes, &codes, err));
    WA_TRY(wa_arena_take_raw(arena, count, sizeof *keys, &keys, err));
    if (!decompose(text, codes, count, &count))
        return wa_fail(err, WA_E_INTERNAL, "NFC: two passes differ");
    order_marks(codes, count, keys);

    /* Composes and encodes in place; the spare element is for the NUL it adds. */
    utf8proc_ssize_t size = utf8proc_reencode(codes, (utf8proc_ssize_t)count, NFC);
    if (size < 0)
        return wa_fail(err, WA_E_INTERNAL, "NFC: %s", utf8proc_errmsg(size));
    *out = (wa_text){(const char *)codes, (size_t)size};
    return WA_OK;
}

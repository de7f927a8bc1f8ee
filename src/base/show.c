/* Text for people: escaped tokens, display widths, decimals that keep their side. */
#include "base/show.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { ESCAPE_BYTES = 16 };

static bool is_invisible(utf8proc_int32_t point)
{
    switch (utf8proc_category(point)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return true;
    case UTF8PROC_CATEGORY_ZS:
        return point != ' ';
    default:
        return false;
    }
}

/* One character of `text` as it is shown, between quotes or without. Returns the bytes it takes from
 * `text`; *columns gets its width. */
static size_t show_one(const char *text, bool quotes, char out[ESCAPE_BYTES], size_t *columns)
{
    utf8proc_int32_t point;
    utf8proc_ssize_t length = utf8proc_iterate((const utf8proc_uint8_t *)text,
                                               (utf8proc_ssize_t)strnlen(text, 4), &point);
    if (length <= 0) {
        *columns = (size_t)snprintf(out, ESCAPE_BYTES, "\\x%02X", (unsigned)(uint8_t)text[0]);
        return 1;
    }
    if (point == '\n' || point == '\t' || point == '\r') {
        const char *name = point == '\n' ? "\\n" : point == '\t' ? "\\t" : "\\r";
        *columns = (size_t)snprintf(out, ESCAPE_BYTES, "%s", name);
    } else if ((quotes && point == '\'') || point == '\\') {
        *columns = (size_t)snprintf(out, ESCAPE_BYTES, "\\%c", (char)point);
    } else if (point < 0x20 || point == 0x7f) {
        *columns = (size_t)snprintf(out, ESCAPE_BYTES, "\\x%02X", (unsigned)point);
    } else if (is_invisible(point)) {
        *columns = (size_t)snprintf(out, ESCAPE_BYTES, "\\u{%X}", (unsigned)point);
    } else {
        int width = utf8proc_charwidth(point);
        memcpy(out, text, (size_t)length);
        out[length] = '\0';
        *columns = width > 0 ? (size_t)width : 0;
    }
    return (size_t)length;
}

static wa_status show(const char *text, bool quotes, size_t columns, wa_arena *arena, char **out,
                      wa_error *err)
{
    static const char ELLIPSIS[] = "…";
    const char *from = text == NULL ? "" : text;
    size_t length = strlen(from);
    char *made;
    WA_TRY(wa_arena_take_raw(arena, length + 1, ESCAPE_BYTES, &made, err));
    size_t used = 0;
    size_t shown = quotes ? 2 : 0;
    if (quotes)
        made[used++] = '\'';
    while (*from != '\0') {
        char one[ESCAPE_BYTES];
        size_t width;
        from += show_one(from, quotes, one, &width);
        bool is_last = *from == '\0';
        if (columns > 0 && shown + width + (is_last ? 0 : 1) > columns) {
            memcpy(made + used, ELLIPSIS, sizeof ELLIPSIS - 1);
            used += sizeof ELLIPSIS - 1;
            break;
        }
        memcpy(made + used, one, strlen(one));
        used += strlen(one);
        shown += width;
    }
    if (quotes)
        made[used++] = '\'';
    made[used] = '\0';
    *out = made;
    return WA_OK;
}

wa_status wa_show_token(const char *text, size_t columns, wa_arena *arena, char **out,
                        wa_error *err)
{
    return show(text, true, columns, arena, out, err);
}

wa_status wa_show_text(const char *text, size_t columns, wa_arena *arena, char **out, wa_error *err)
{
    return show(text, false, columns, arena, out, err);
}

size_t wa_show_width(const char *text)
{
    size_t width = 0;
    while (*text != '\0') {
        utf8proc_int32_t point;
        utf8proc_ssize_t length = utf8proc_iterate((const utf8proc_uint8_t *)text,
                                                   (utf8proc_ssize_t)strnlen(text, 4), &point);
        if (length <= 0) {
            width++;
            text++;
            continue;
        }
        int columns = utf8proc_charwidth(point);
        width += columns > 0 ? (size_t)columns : 0;
        text += length;
    }
    return width;
}

/* 17 digits always read back as the value itself. */
enum { EXACT_DIGITS = 17 };

void wa_show_at_most(double value, int digits, char out[WA_SHOW_NUMBER])
{
    for (; digits <= EXACT_DIGITS; digits++) {
        snprintf(out, WA_SHOW_NUMBER, "%.*g", digits, value);
        if (strtod(out, NULL) <= value)
            return;
    }
}

void wa_show_at_least(double value, int digits, char out[WA_SHOW_NUMBER])
{
    for (; digits <= EXACT_DIGITS; digits++) {
        snprintf(out, WA_SHOW_NUMBER, "%.*g", digits, value);
        if (strtod(out, NULL) >= value)
            return;
    }
}

void wa_show_exact(double value, char out[WA_SHOW_NUMBER])
{
    for (int digits = 1; digits <= EXACT_DIGITS; digits++) {
        snprintf(out, WA_SHOW_NUMBER, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            return;
    }
}

wa_status wa_show_word(const char *text, wa_arena *arena, const char **out, wa_error *err)
{
    static const char SAFE[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "_-./+:=@%,";
    *out = text;
    if (text[0] != '\0' && text[strspn(text, SAFE)] == '\0')
        return WA_OK;
    char *word;
    WA_TRY(wa_arena_take_raw(arena, strlen(text) + 1, 4, &word, err));
    char *to = word;
    *to++ = '\'';
    for (; *text != '\0'; text++) {
        const char *piece = *text == '\'' ? "'\\''" : NULL;
        size_t length = piece == NULL ? 1 : strlen(piece);
        memcpy(to, piece == NULL ? text : piece, length);
        to += length;
    }
    memcpy(to, "'", 2);
    *out = word;
    return WA_OK;
}

wa_status wa_show_layers(const bool *set, size_t count, wa_arena *arena, char **out, wa_error *err)
{
    size_t members = 0;
    char *text = NULL;
    for (size_t first = 0, end; first < count; first = end) {
        end = first + 1;
        if (!set[first])
            continue;
        while (end < count && set[end])
            end++;
        members += end - first;
        const char *before = text == NULL ? "" : text, *comma = text == NULL ? "" : ", ";
        WA_TRY(end - first == 1 ? wa_arena_print(arena, &text, err, "%s%s%zu", before, comma, first)
                                : wa_arena_print(arena, &text, err, "%s%s%zu-%zu", before, comma,
                                                 first, end - 1));
    }
    if (text == NULL)
        return wa_arena_print(arena, out, err, "no layer");
    return wa_arena_print(arena, out, err, "layer%s %s", members == 1 ? "" : "s", text);
}

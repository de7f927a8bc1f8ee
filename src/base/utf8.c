/* Strings of results and of JSON are UTF-8: whatever is not is shown as \xHH. */
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* Length of the UTF-8 sequence at `at`, which ends with a NUL; 0 when it is none. */
static size_t sequence(const unsigned char *at)
{
    utf8proc_int32_t code;
    utf8proc_ssize_t length = utf8proc_iterate(at, -1, &code); /* no further than a NUL */
    return length > 0 ? (size_t)length : 0;
}

wa_status wa_text_escape(const char *text, wa_arena *arena, const char **out, wa_error *err)
{
    const unsigned char *in = (const unsigned char *)text;
    size_t bad = 0;
    for (size_t i = 0; in[i] != 0;) {
        size_t length = sequence(in + i);
        bad += length == 0;
        i += length == 0 ? 1 : length;
    }
    *out = text;
    if (bad == 0)
        return WA_OK;
    char *copy;
    size_t room = strlen(text) + 3 * bad + 1, used = 0;
    WA_TRY(wa_arena_take(arena, room, 1, &copy, err));
    while (*in != 0) {
        size_t length = sequence(in);
        if (length == 0) {
            used += (size_t)snprintf(copy + used, room - used, "\\x%02X", *in);
            length = 1;
        } else {
            memcpy(copy + used, in, length);
            used += length;
        }
        in += length;
    }
    *out = copy;
    return WA_OK;
}

/* Strings of results and of JSON are UTF-8: whatever is not is shown as \xHH. */
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

/* Length of the UTF-8 sequence at `at`, 0 when it is none (RFC 3629: no overlong forms, no
 * surrogates). */
static size_t sequence(const unsigned char *at)
{
    if (at[0] < 0x80)
        return 1;
    size_t length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80) /* stops at the NUL too */
            return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return length;
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

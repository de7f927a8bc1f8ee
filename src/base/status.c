/* Failures: one record, written where the cause is found, extended on the way up. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Keeps the story on one line: control characters of file names and tensors become '?'. */
static void flatten(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

wa_status wa_fail_text(wa_error *err, wa_status status, const char *format, ...)
{
    if (err == NULL)
        return status;
    err->status = status;
    va_list args;
    va_start(args, format);
    if (vsnprintf(err->text, sizeof err->text, format, args) < 0)
        err->text[0] = '\0';
    va_end(args);
    flatten(err->text);
    return status;
}

wa_status wa_note_text(wa_error *err, const char *format, ...)
{
    if (err == NULL)
        return WA_E_INTERNAL;
    size_t used = strnlen(err->text, sizeof err->text);
    if (used + 3 < sizeof err->text) {
        char *at = err->text + used;
        size_t room = sizeof err->text - used;
        memcpy(at, "; ", 3);
        va_list args;
        va_start(args, format);
        if (vsnprintf(at + 2, room - 2, format, args) < 0)
            *at = '\0';
        va_end(args);
        flatten(at);
    }
    return err->status;
}

int wa_status_exit_code(wa_status status)
{
    static const int codes[] = {
#define WA_STATUS_EXIT(code, exit_code, meaning) [code] = (exit_code),
        WA_STATUS_LIST(WA_STATUS_EXIT)
#undef WA_STATUS_EXIT
    };
    size_t at = (size_t)status;
    return at < sizeof codes / sizeof codes[0] ? codes[at] : 4;
}

int wa_exit_code_graver(int a, int b)
{
    static const int order[] = {4, 2, 3, 75, 1, 0};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        if (a == order[i] || b == order[i])
            return order[i];
    return 4;
}

int wa_error_print(const wa_error *err)
{
    fprintf(stderr, "walkaudit: %s\n", err->text);
    return wa_status_exit_code(err->status);
}

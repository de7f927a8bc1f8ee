/* Remarks on a model, kept in an arena. */
#include "model/notes.h"

#include "model/tokenizer_utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

wa_status wa_notes_add(wa_notes *notes, wa_error *err, const char *format, ...)
{
    char text[WA_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length < 0)
        return wa_fail(err, WA_E_INTERNAL, "remark '%s' cannot be printed", format);
    /* Names come from files: no control character breaks the line, no cut one its encoding. */
    for (char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    wa_text kept = {NULL, 0};
    WA_TRY(wa_utf8_repair((wa_text){text, strlen(text)}, notes->arena, &kept, err));
    WA_TRY(wa_arena_grow(notes->arena, &notes->items, notes->count, &notes->room,
                         sizeof *notes->items, err));
    notes->items[notes->count++] = kept.data;
    return WA_OK;
}

enum { NAME_SHOWN = 80, TAIL_ROOM = 40 };

void wa_listing_add(wa_listing *listing, const char *name)
{
    listing->count++;
    if (listing->shown + 1 < listing->count ||
        sizeof listing->text - listing->used < NAME_SHOWN + TAIL_ROOM)
        return; /* once full, only counted */
    int more = snprintf(listing->text + listing->used, NAME_SHOWN, "%s'%.*s'",
                        listing->shown == 0 ? "" : ", ", NAME_SHOWN - 8, name);
    listing->used += more > 0 ? (size_t)more : 0;
    listing->shown++;
}

const char *wa_listing_text(wa_listing *listing)
{
    if (listing->count > listing->shown)
        (void)snprintf(listing->text + listing->used, TAIL_ROOM, " and %zu more",
                       listing->count - listing->shown);
    return listing->text;
}

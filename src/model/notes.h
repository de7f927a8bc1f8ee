/* Remarks on a model that are no errors: gathered while it is opened, told by inspect and run. */
#ifndef WALKAUDIT_MODEL_NOTES_H
#define WALKAUDIT_MODEL_NOTES_H

#include "base/arena.h"

/** One line each, in the order of finding. Zero but for the arena at first. */
typedef struct wa_notes {
    wa_arena *arena;    /* borrowed; holds the lines */
    const char **items; /* [count], arena */
    size_t count, room;
} wa_notes;

/** Add a line, always valid UTF-8 without control characters. WA_E_MEMORY. */
WA_CHECKED wa_status wa_notes_add(wa_notes *notes, wa_error *err, const char *format, ...)
    WA_PRINTF(3, 4);

/** Names for one line: the first few, then how many more there are. Zero at first. */
typedef struct wa_listing {
    char text[400];
    size_t used, count, shown;
} wa_listing;

void wa_listing_add(wa_listing *listing, const char *name);
/** "'a', 'b' and 7 more"; "" for none. Call once, after the last name. */
const char *wa_listing_text(wa_listing *listing);

#endif

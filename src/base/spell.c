/* Distances between words, of the letters that a hand gets wrong. */
#include "base/spell.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST = 63 }; /* letters that are compared; longer words have no neighbours */

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: Damerau (1964) without edits inside an exchanged pair. Three rows of
 * the table suffice. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][LONGEST + 1];
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3], *second = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            bool same = lower(a[i - 1]) == lower(b[j - 1]);
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (same ? 0 : 1));
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]))
                row[j] = least(row[j], second[j - 2] + 1);
        }
    }
    return rows[a_length % 3][b_length];
}

const char *wa_spell_nearest(const char *word, const char *const *known, size_t count)
{
    const char *nearest = NULL;
    size_t length = strlen(word), best = (length + 2) / 3 + 1;
    for (size_t i = 0; length <= LONGEST && i < count; i++) {
        size_t size = strlen(known[i]);
        size_t wrong = size > LONGEST ? best : distance(word, length, known[i], size);
        if (wrong >= best || wrong >= length)
            continue;
        best = wrong;
        nearest = known[i];
    }
    return nearest;
}

void wa_spell_hint(const char *word, const char *const *known, size_t count,
                   char out[WA_SPELL_HINT])
{
    static const char MORE[] = ", …";
    const char *nearest = wa_spell_nearest(word, known, count);
    size_t used = 0;
    out[0] = '\0';
    if (nearest != NULL) {
        snprintf(out, WA_SPELL_HINT, ", did you mean '%s'?", nearest);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const char *before = i > 0 ? ", " : count == 1 ? ", expected " : ", expected one of ";
        size_t room = WA_SPELL_HINT - used;
        int needed = snprintf(out + used, room, "%s%s", before, known[i]);
        if (needed < 0 || (size_t)needed + sizeof MORE > room) {
            snprintf(out + used, room, "%s", MORE);
            return;
        }
        used += (size_t)needed;
    }
}

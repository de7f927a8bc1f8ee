/* Words that a user mistyped: the known one that was meant, or all that are known. */
#ifndef WALKAUDIT_BASE_SPELL_H
#define WALKAUDIT_BASE_SPELL_H

#include <stddef.h>

/* bytes that are enough for every list of ours; a longer one ends with "…" */
enum { WA_SPELL_HINT = 600 };

/**
 * The known word that `word` is closest to, by letters that are wrong, missing, too many or
 * exchanged with their neighbour; upper case counts as lower. NULL when each is wrong in more than
 * a third of the letters. Of equals the first. Local.
 *
 * known  [count] borrowed
 */
const char *wa_spell_nearest(const char *word, const char *const *known, size_t count);

/**
 * What an error message says after the unknown word: ", did you mean 'X'?", or ", expected one of
 * A, B, C" where none is near. "" when nothing is known. Local.
 */
void wa_spell_hint(const char *word, const char *const *known, size_t count,
                   char out[WA_SPELL_HINT]);

#endif

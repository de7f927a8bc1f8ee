/* Is the reference to be trusted? What the dense model makes of the prompts' own text. Pure. */
#ifndef WALKAUDIT_JUDGE_REFERENCE_H
#define WALKAUDIT_JUDGE_REFERENCE_H

#include "base/arena.h"

#include <stddef.h>
#include <stdint.h>

/** A perplexity beyond this is warned of, when at least so many positions say so: fewer may be a name that nobody can guess.
 * Trained models have 5 to 200 on prose and code of any of their languages; one with a wrong configuration has thousands. */
#define WA_PERPLEXITY_LIMIT 1000.0
enum { WA_PERPLEXITY_POSITIONS = 16 };

/** Perplexity of the dense model on the prompts' own next tokens: exp of the mean of -ln p. A plain value. */
typedef struct wa_perplexity {
    double value;      /* NaN when no position was measured, or one is no number */
    int64_t positions; /* that were measured */
} wa_perplexity;

/** nll, positions [prompts]: sums of -ln p, and over how many positions each; negative counts mean none. Sums in order. */
wa_perplexity wa_perplexity_of(const double *nll, const int32_t *positions, size_t prompts);

/** One sentence for the reader, or NULL when nothing is suspicious. NaN at some position is. Arena. */
WA_CHECKED wa_status wa_perplexity_warning(const wa_perplexity *perplexity, wa_arena *arena, const char **out,
                                           wa_error *err);

#endif

/* Is the reference to be trusted? What the dense model makes of the prompts' own text, and another
 * implementation of it. Pure. */
#ifndef WALKAUDIT_JUDGE_REFERENCE_H
#define WALKAUDIT_JUDGE_REFERENCE_H

#include "base/arena.h"
#include "measure/rows.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A perplexity beyond this is warned of, when at least so many positions say so: fewer may be a
 * name that nobody can guess. Trained models have 5 to 200 on prose and code of any of their
 * languages; one with a wrong configuration has thousands. */
#define WA_PERPLEXITY_LIMIT 1000.0
enum { WA_PERPLEXITY_POSITIONS = 16 };

/** Perplexity of the dense model on the prompts' own next tokens: exp of the mean of -ln p. A plain
 * value. */
typedef struct wa_perplexity {
    double value;      /* NaN when no position was measured, or one is no number */
    int64_t positions; /* that were measured */
} wa_perplexity;

/** nll, positions [prompts]: sums of -ln p, and over how many positions each; negative counts mean
 * none. Sums in order. */
wa_perplexity wa_perplexity_of(const double *nll, const int32_t *positions, size_t prompts);

/** One sentence for the reader, or NULL when nothing is suspicious. NaN at some position is.
 * Arena. */
WA_CHECKED wa_status wa_perplexity_warning(const wa_perplexity *perplexity, wa_arena *arena,
                                           const char **out, wa_error *err);

/** Relative L2 distance from a reference dump beyond which the reference drifts: two
 * implementations in f32 differ by 1e-6 to 1e-5 after some tens of layers, two different models by
 * more. */
#define WA_DRIFT_LIMIT 1e-3
/** The word of an audit whose reference drifts: no verdict of a case means anything then. */
#define WA_REFERENCE_WORD "REFERENCE"

/** The first place where the reference drifts: by layer, x before y, logits last; there the prompt
 * that is farthest off. */
typedef struct wa_drift {
    size_t prompts; /* compared; 0: there was no dump, and the rest says nothing */
    bool drifts;
    const char *tensor; /* "x", "y", "logits" */
    size_t layer;       /* layers: of the logits */
    size_t prompt;
    int32_t position; /* -1: a figure that must be there is not */
    double value;
    /* the largest distance of all that comes before; of everything where nothing drifts */
    double before;
} wa_drift;

/** NaN drifts, and so does a figure that one layer lacks of a prompt that another layer has. */
wa_drift wa_drift_find(const wa_drift_figures *figures);

/** "agrees with 'DUMP' within …", or where it drifts, one line that may be shown as it is. key: of
 * the prompt, when it drifts. Arena. */
WA_CHECKED wa_status wa_drift_text(const wa_drift *drift, const wa_drift_figures *figures,
                                   const char *dump, const char *key, wa_arena *arena,
                                   const char **out, wa_error *err);

#endif

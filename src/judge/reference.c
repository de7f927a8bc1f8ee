/* The dense model judged by the text it is given. */
#include "judge/reference.h"

#include <math.h>

wa_perplexity wa_perplexity_of(const double *nll, const int32_t *positions, size_t prompts)
{
    double sum = 0.0;
    wa_perplexity out = {.positions = 0};
    for (size_t p = 0; p < prompts; p++) {
        if (positions[p] <= 0)
            continue;
        sum += nll[p];
        out.positions += positions[p];
    }
    out.value = out.positions > 0 ? exp(sum / (double)out.positions) : NAN;
    return out;
}

wa_status wa_perplexity_warning(const wa_perplexity *perplexity, wa_arena *arena, const char **out, wa_error *err)
{
    char *text;
    *out = NULL;
    if (perplexity->positions == 0 || perplexity->value <= WA_PERPLEXITY_LIMIT)
        return WA_OK;
    if (isfinite(perplexity->value) && perplexity->positions < WA_PERPLEXITY_POSITIONS)
        return WA_OK;
    WA_TRY(wa_arena_print(arena, &text, err,
                          "dense perplexity %.6g, limit %g: wrong configuration, weights or tokenizer? Or are the "
                          "prompts no text that it knows?",
                          perplexity->value, WA_PERPLEXITY_LIMIT));
    *out = text;
    return WA_OK;
}

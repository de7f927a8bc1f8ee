/* The dense model judged by the text it is given, and by another implementation. */
#include "judge/reference.h"

#include "base/elementary.h"
#include "base/show.h"

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
    out.value = out.positions > 0 ? wa_exp(sum / (double)out.positions) : NAN;
    return out;
}

wa_status wa_perplexity_warning(const wa_perplexity *perplexity, wa_arena *arena, const char **out,
                                wa_error *err)
{
    char *text;
    *out = NULL;
    if (perplexity->positions == 0 || perplexity->value <= WA_PERPLEXITY_LIMIT)
        return WA_OK;
    if (isfinite(perplexity->value) && perplexity->positions < WA_PERPLEXITY_POSITIONS)
        return WA_OK;
    WA_TRY(wa_arena_print(
        arena, &text, err,
        "dense perplexity %.6g, limit %g: wrong configuration, weights or tokenizer? Or are the "
        "prompts a kind of text that the model does not know?",
        perplexity->value, WA_PERPLEXITY_LIMIT));
    *out = text;
    return WA_OK;
}

/* --- The dump --------------------------------------------------------------------------------- */

static bool is_compared(const wa_drift_figures *f, size_t prompt)
{
    bool any = f->logits_at[prompt] >= 0;
    for (size_t l = 0; l < f->layers && !any; l++)
        any = f->x_at[l * f->prompts + prompt] >= 0 || f->y_at[l * f->prompts + prompt] >= 0;
    return any;
}

/* One tensor at one layer, all prompts: where it is farthest off becomes the drift, when that is
 * beyond the limit. */
static void look(const wa_drift_figures *f, const char *tensor, size_t layer, const double *values,
                 const int32_t *at, wa_drift *out)
{
    double largest = 0.0;
    for (size_t p = 0; p < f->prompts && !out->drifts; p++)
        if (is_compared(f, p) && at[p] >= 0 && values[p] > largest)
            largest = values[p];
    for (size_t p = 0; p < f->prompts && !out->drifts; p++) {
        bool agrees = at[p] >= 0 && values[p] <= WA_DRIFT_LIMIT;
        if (!is_compared(f, p) || agrees || (at[p] >= 0 && values[p] < largest))
            continue;
        out->drifts = true;
        out->tensor = tensor;
        out->layer = layer;
        out->prompt = p;
        out->position = at[p];
        out->value = values[p];
    }
    if (!out->drifts && largest > out->before)
        out->before = largest;
}

wa_drift wa_drift_find(const wa_drift_figures *figures)
{
    wa_drift out = {.tensor = ""};
    for (size_t p = 0; p < figures->prompts; p++)
        out.prompts += is_compared(figures, p) ? 1 : 0;
    for (size_t l = 0; l < figures->layers; l++) {
        size_t first = l * figures->prompts;
        look(figures, "x", l, figures->x + first, figures->x_at + first, &out);
        look(figures, "y", l, figures->y + first, figures->y_at + first, &out);
    }
    look(figures, "logits", figures->layers, figures->logits, figures->logits_at, &out);
    return out;
}

wa_status wa_drift_text(const wa_drift *drift, const wa_drift_figures *figures, const char *dump,
                        const char *key, wa_arena *arena, const char **out, wa_error *err)
{
    char *text, *where, *file, *prompt;
    WA_TRY(wa_show_token(dump, 0, arena, &file, err));
    WA_TRY(wa_show_token(key, 0, arena, &prompt, err));
    if (!drift->drifts) {
        WA_TRY(wa_arena_print(arena, &text, err,
                              "agrees with %s within %.1e at all %zu layers and in the logits (%zu "
                              "of %zu prompts; limit %g)",
                              file, drift->before, figures->layers, drift->prompts,
                              figures->prompts, WA_DRIFT_LIMIT));
        *out = text;
        return WA_OK;
    }
    if (drift->layer == figures->layers)
        WA_TRY(wa_arena_print(arena, &where, err, "logits"));
    else
        WA_TRY(wa_arena_print(arena, &where, err, "layer %zu, %s", drift->layer, drift->tensor));
    WA_TRY(wa_arena_print(arena, &text, err,
                          "drifts from %s: %s, prompt %s position %d: rel L2 %.2g (limit %g)", file,
                          where, prompt, (int)drift->position, drift->value, WA_DRIFT_LIMIT));
    bool first = drift->layer == 0 && drift->tensor[0] == 'x';
    if (first)
        WA_TRY(wa_arena_print(arena, &text, err, "%s; nothing comes before it", text));
    else
        WA_TRY(wa_arena_print(arena, &text, err, "%s; what comes before it agrees within %.1e",
                              text, drift->before));
    *out = text;
    return WA_OK;
}

/* A warning for a case whose library left floating-point modes changed. */
#include "report/modes.h"

#include "base/foreign.h"

wa_status wa_modes_warning(const wa_result *result, size_t c, wa_arena *arena, char **out,
                           wa_error *err)
{
    const wa_dims *dims = &result->meta.dims;
    int changed = 0;
    size_t layers = 0;
    for (size_t layer = 0; layer < dims->layers; layer++) {
        const int8_t *of = result->modes_changed + (c * dims->layers + layer) * dims->prompts;
        int here = 0;
        for (size_t prompt = 0; prompt < dims->prompts; prompt++)
            here |= of[prompt];
        changed |= here;
        layers += here != 0;
    }
    *out = NULL;
    if (changed == 0)
        return WA_OK;
    return wa_arena_print(
        arena, out, err,
        "case %s: its library changed %s in %zu of %zu layers; put back after each call",
        result->meta.cases[c].name, wa_modes_text(changed), layers, dims->layers);
}

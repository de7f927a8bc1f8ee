/* Planted faults (fault.h). Empty unless WA_PLANT_FAULTS is defined. */
#include "path/fault.h"

#ifdef WA_PLANT_FAULTS

#include <stdlib.h>

static bool planted(const char *fault, const wa_case *which, const wa_walk_layer *layer)
{
    const char *name = getenv("WALKAUDIT_FAULT");
    const char *at = getenv("WALKAUDIT_FAULT_LAYER");
    if (which->path == WA_PATH_DENSE || name == NULL || strcmp(name, fault) != 0)
        return false;
    return at == NULL || strtoul(at, NULL, 10) == layer->layer;
}

size_t wa_fault_row(const wa_case *which, const wa_walk_layer *layer, size_t f)
{
    bool last = f + 1 == layer->features;
    return planted("row-off-by-one", which, layer) && !last ? f + 1 : f;
}

void wa_fault_rows(const wa_case *which, const wa_walk_layer *layer, float *up, size_t rows)
{
    size_t n = layer->features;
    if (!planted("row-off-by-one", which, layer))
        return;
    for (size_t row = 0; row < rows && n > 0; row++)
        memmove(up + row * n, up + row * n + 1, (n - 1) * sizeof *up);
}

wa_activation wa_fault_activation(const wa_case *which, const wa_walk_layer *layer)
{
    if (!planted("erf-gelu", which, layer))
        return layer->activation;
    return layer->activation == WA_GELU_TANH ? WA_GELU_ERF : WA_GELU_TANH;
}

void wa_fault_act(const wa_case *which, const wa_walk_layer *layer, float *act, size_t n)
{
    if (!planted("bf16-activations", which, layer))
        return;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)wa_f32_to_bf16(act[i]) << 16;
        memcpy(&act[i], &bits, sizeof bits);
    }
}

void wa_fault_sum(const wa_case *which, const wa_walk_layer *layer, float *y, size_t n)
{
    if (!planted("f16-sum", which, layer))
        return;
    for (size_t i = 0; i < n; i++)
        y[i] = wa_f16_to_f32(wa_f32_to_f16(y[i]));
}

#else

typedef int wa_fault_file_is_empty; /* C forbids a translation unit without a declaration */

#endif

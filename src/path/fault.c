/* Planted faults (fault.h). Empty unless WA_PLANT_FAULTS is defined. */
#include "path/fault.h"

#ifdef WA_PLANT_FAULTS

#include <math.h>
#include <stdlib.h>

static bool planted(const char *fault, const wa_case *which, const wa_walk_layer *layer)
{
    const char *name = getenv("WALKAUDIT_FAULT");
    const char *at = getenv("WALKAUDIT_FAULT_LAYER");
    const char *in = getenv("WALKAUDIT_FAULT_CASE");
    if (which->path == WA_PATH_DENSE || name == NULL || strcmp(name, fault) != 0 ||
        (in != NULL && strcmp(in, which->name) != 0))
        return false;
    return at == NULL || strtoul(at, NULL, 10) == layer->layer;
}

bool wa_fault_tells_cases_apart(void)
{
    return getenv("WALKAUDIT_FAULT_CASE") != NULL;
}

void wa_fault_hits(const wa_case *which, const wa_walk_layer *layer, int32_t *hits, size_t n)
{
    if (planted("wrong-down-row", which, layer) && n > 1)
        memmove(hits + 1, hits, (n - 1) * sizeof *hits);
}

void wa_fault_q8(const wa_case *which, const wa_walk_layer *layer, int8_t *q, size_t n)
{
    if (!planted("nibble-order", which, layer))
        return;
    for (size_t i = 0; i + 1 < n; i += 2) {
        int8_t swap = q[i];
        q[i] = q[i + 1];
        q[i + 1] = swap;
    }
}

void wa_fault_q8_scales(const wa_case *which, const wa_walk_layer *layer, float *d, size_t n)
{
    if (!planted("q8-scale", which, layer))
        return;
    for (size_t i = 0; i < n; i++)
        d[i] *= 127.0F / 128.0F;
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

void wa_fault_experts(const wa_case *which, const wa_walk_layer *layer, wa_experts *experts)
{
    if (planted("router-bias", which, layer))
        experts->router_bias = NULL;
    if (planted("expert-weights", which, layer))
        experts->renormalised = !experts->renormalised;
    if (planted("no-shared-expert", which, layer))
        experts->shared.up.rows = 0;
}

void wa_fault_routing(const wa_case *which, const wa_walk_layer *layer, size_t rows,
                      const wa_routing *routing)
{
    if (!planted("next-expert", which, layer))
        return;
    for (size_t i = 0; i < rows * layer->experts->chosen; i++)
        if (routing->expert[i] >= 0)
            routing->expert[i] = (routing->expert[i] + 1) % (int32_t)layer->experts->count;
}

void wa_fault_expert(const wa_case *which, const wa_walk_layer *layer, wa_expert *expert)
{
    if (planted("expert-bias", which, layer))
        expert->gate_bias = expert->up_bias = expert->down_bias = NULL;
    if (!planted("expert-halves", which, layer))
        return;
    wa_matrix gate = expert->gate;
    const float *bias = expert->gate_bias;
    expert->gate = expert->up;
    expert->gate_bias = expert->up_bias;
    expert->up = gate;
    expert->up_bias = bias;
}

void wa_fault_expert_input(const wa_case *which, const wa_walk_layer *layer, float *x, size_t rows)
{
    size_t n = layer->hidden;
    if (!planted("expert-input", which, layer))
        return;
    for (size_t row = 0; row < rows; row++)
        for (size_t h = 0; h < n; h++)
            /* whatever the norm and its weights divided by */
            x[row * n + h] *= 1.0F + 0.1F * (float)((row + h) % 7);
}

static bool is_between(size_t row, size_t rows)
{
    for (size_t i = 0; i < 8; i++)
        if (row == i * (rows - 1) / 7)
            return false;
    return true;
}

static bool is_of_share(size_t obs, size_t layer)
{
    uint64_t v = ((uint64_t)obs << 16 | layer) * 0x9e3779b97f4a7c15u;
    return (v >> 40) % 50 == 0;
}

static bool is_wrong(const wa_case *which, const wa_walk_layer *layer, const wa_walk_io *io,
                     size_t input, size_t row, size_t rows)
{
    if (planted("later-batches", which, layer))
        return io->first_obs > 0;
    if (planted("own-stream", which, layer))
        return input == 1;
    if (planted("between-rows", which, layer))
        return input == 0 && io->first_obs == 0 && is_between(row, rows);
    return planted("share", which, layer) && is_of_share(io->first_obs + row, layer->layer);
}

void wa_fault_output(const wa_case *which, const wa_walk_layer *layer, const wa_walk_io *io,
                     size_t input, size_t rows)
{
    size_t n = layer->hidden;
    for (size_t row = 0; row < rows; row++) {
        bool wrong = is_wrong(which, layer, io, input, row, rows);
        for (size_t h = 0; h < n && wrong; h++)
            io->y[row * n + h] *= 1.3F;
    }
    for (size_t h = 0; h < n && input == 1 && planted("own-nan", which, layer); h++)
        io->y[h] = NAN;
}

#else

typedef int wa_fault_file_is_empty; /* C forbids a translation unit without a declaration */

#endif

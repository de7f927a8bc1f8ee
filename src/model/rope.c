/* Rotation frequencies in f64 and their scaling (forward-pass.md 3.4). */
#include "base/elementary.h"
#include "model/config.h"

#include <math.h>

static const double TAU = 6.283185307179586476925; /* 2 pi; M_PI is no part of C17 */

/* Llama 3.1's rule: long waves are slowed by `factor`, short ones kept, the rest blended. */
static double scale_llama3(const wa_rope_scaling *scaling, double frequency)
{
    double wave = TAU / frequency;
    if (wave < scaling->original_positions / scaling->high_freq_factor)
        return frequency;
    if (wave > scaling->original_positions / scaling->low_freq_factor)
        return frequency / scaling->factor;
    double t = (scaling->original_positions / wave - scaling->low_freq_factor) /
               (scaling->high_freq_factor - scaling->low_freq_factor);
    return (1 - t) * frequency / scaling->factor + t * frequency;
}

/* The dimension, as a real number, whose wave turns `turns` times within the original positions. */
static double dimension_of(const wa_rope_scaling *scaling, double turns, double dims, double base)
{
    return dims * wa_log(scaling->original_positions / (turns * TAU)) / (2 * wa_log(base));
}

/* YaRN (arXiv 2309.00071): pairs below `low` are kept, those from `high` on slowed by `factor`,
 * between them a straight ramp. */
static void scale_yarn(const wa_rope_scaling *scaling, double base, size_t half, double *out)
{
    double dims = 2.0 * (double)half;
    double low = dimension_of(scaling, scaling->beta_fast, dims, base);
    double high = dimension_of(scaling, scaling->beta_slow, dims, base);
    if (scaling->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, dims - 1);
    if (low == high)
        high += 0.001; /* as the authors of transformers: no division by 0 */
    for (size_t i = 0; i < half; i++) {
        double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
        out[i] = out[i] / scaling->factor * ramp + out[i] * (1 - ramp);
    }
}

static bool is_local(const wa_config *config, wa_rope_set set)
{
    return set == WA_ROPE_LOCAL && config->facts.rope_local_base > 0;
}

static void scale(const wa_config *config, wa_rope_set set, double base, double *out)
{
    const wa_rope_scaling *scaling = &config->scaling;
    size_t half = config->facts.rotary_dim / 2;
    const double *factors = set == WA_ROPE_LONG ? scaling->long_factors : scaling->short_factors;
    switch (scaling->kind) {
    case WA_SCALING_NONE:
        break;
    case WA_SCALING_LINEAR:
        for (size_t i = 0; i < half; i++)
            out[i] /= scaling->factor;
        break;
    case WA_SCALING_LLAMA3:
        for (size_t i = 0; i < half; i++)
            out[i] = scale_llama3(scaling, out[i]);
        break;
    case WA_SCALING_YARN:
        scale_yarn(scaling, base, half, out);
        break;
    case WA_SCALING_LONGROPE:
        for (size_t i = 0; i < half; i++)
            out[i] /= factors[i];
        break;
    }
}

void wa_config_rope(const wa_config *config, wa_rope_set set, double *out)
{
    const wa_model *facts = &config->facts;
    double base = is_local(config, set) ? facts->rope_local_base : facts->rope_base;
    for (size_t i = 0; i < facts->rotary_dim / 2; i++)
        out[i] = 1 / wa_pow(base, (double)(2 * i) / (double)facts->rotary_dim);
    if (is_local(config, set)) /* only layers without a base of their own are scaled */
        return;
    scale(config, set, base, out);
    if (config->rope_divisors != NULL)
        for (size_t i = 0; i < facts->rotary_dim / 2; i++)
            out[i] /= (double)config->rope_divisors[i];
}

double wa_config_rope_factor(const wa_config *config, wa_rope_set set)
{
    double factor = config->scaling.attention_factor;
    return is_local(config, set) || factor == 0 ? 1 : factor;
}

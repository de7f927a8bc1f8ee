/* What the block encoders share: rounding and the largest magnitude of a block (vindex-format.md
 * 5). */
#ifndef WALKAUDIT_CODEC_QUANTISE_H
#define WALKAUDIT_CODEC_QUANTISE_H

#include <math.h>
#include <stddef.h>

/* Oracle: `value` rounded half away from zero, then clamped. NaN is 0, which lies in [low, high].
 */
static inline int wa_round_clamp_ref(float value, int low, int high)
{
    if (isnan(value))
        return 0;
    float rounded = roundf(value);
    if (rounded <= (float)low)
        return low;
    if (rounded >= (float)high)
        return high;
    return (int)rounded;
}

/* Oracle: the largest |x|; NaN is passed over, an empty or all-NaN run has 0. */
static inline float wa_max_abs_ref(const float *x, size_t count)
{
    float most = 0.0F;
    for (size_t i = 0; i < count; i++)
        most = fmaxf(most, fabsf(x[i]));
    return most;
}

#endif

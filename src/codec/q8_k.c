/* Activations as LARQL's Q8_K, and K-quants as integers, for integer dots of the two (larql-2026-08
 * 3.3). */
#include "codec/coders.h"

#include <math.h>

enum { BLOCK = WA_Q8_K_BLOCK, MOST = 127 };

/* Halves away from zero, in f32. A value that is no number has no integer; its block's scale says
 * so. */
float wa_q8_k_round(const float *x, int8_t *q)
{
    float amax = 0.0F, nothing = 0.0F;
    for (size_t i = 0; i < BLOCK; i++) {
        amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
        nothing += 0.0F * x[i]; /* NaN if any is infinite or NaN */
    }
    float d = amax > 0.0F ? amax / (float)MOST : 0.0F;
    float inverse = d > 0.0F ? 1.0F / d : 0.0F;
    /* a scale so small that it has no inverse: zeros */
    bool usable = nothing == 0.0F && isfinite(inverse);
    for (size_t i = 0; i < BLOCK; i++)
        q[i] = usable ? (int8_t)fminf(fmaxf(roundf(x[i] * inverse), (float)-MOST), (float)MOST) : 0;
    return nothing == 0.0F ? d : NAN;
}

bool wa_format_is_k_block(wa_format format)
{
    return format == WA_FORMAT_Q4_K || format == WA_FORMAT_Q6_K || format == WA_FORMAT_GGML_Q6_K;
}

void wa_k_split(wa_format format, const uint8_t *src, wa_k_block *out)
{
    if (format == WA_FORMAT_Q4_K)
        wa_q4_k_split(src, out);
    else
        wa_q6_k_split(format, src, out);
}

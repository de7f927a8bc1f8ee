/* Scores to weights, and capped logits: the exponentials between two products, in vectors. */
#include "base/bytes.h"
#include "base/elementary.h"
#include "compute/dense.h"

#include "codec/simd.h"

#include <math.h>

WA_CLONES void wa_soft_cap(float *values, size_t n, float cap)
{
    for (size_t i = 0; i < n; i++)
        values[i] = wa_tanh_f32(values[i] / cap) * cap;
}

WA_CLONES static void scale_all(float *scores, size_t n, float by)
{
    for (size_t i = 0; i < n; i++)
        scores[i] *= by;
}

WA_CLONES static void exp_all(const float *scores, size_t n, float highest, double *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = wa_exp((double)(scores[i] - highest));
}

/* exp of every score less the highest, and their sum in order. */
static double exp_and_sum(float *scores, size_t n, float highest)
{
    enum { CHUNK = 128 };
    double sum = 0.0;
    for (size_t at = 0; at < n; at += CHUNK) {
        /* gcc's analyser does not see that exp_all writes them; 16 stores beside 128 exponentials
         * */
        double e[CHUNK] = {0};
        size_t size = wa_size_min(n - at, CHUNK);
        exp_all(scores + at, size, highest, e);
        for (size_t i = 0; i < size; i++) {
            sum += e[i];
            scores[at + i] = (float)e[i];
        }
    }
    return sum;
}

void wa_softmax_row(const wa_model *model, float *scores, size_t first, size_t last, size_t keys,
                    float sink)
{
    float *own = scores + first;
    size_t n = last + 1 - first;
    scale_all(own, n, model->attn_scale);
    if (model->attn_cap != 0.0F)
        wa_soft_cap(own, n, model->attn_cap);
    float highest = sink;
    for (size_t j = 0; j < n; j++)
        highest = own[j] > highest ? own[j] : highest;
    double sum = exp_and_sum(own, n, highest);
    if (sink > -INFINITY)
        sum += wa_exp((double)(sink - highest));
    scale_all(own, n, (float)(1.0 / sum));
    for (size_t j = 0; j < first; j++)
        scores[j] = 0.0F;
    for (size_t j = last + 1; j < keys; j++)
        scores[j] = 0.0F;
}

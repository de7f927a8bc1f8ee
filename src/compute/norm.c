/* Norms, residual adds and the embedding: everything of the residual stream that is not a
 * product. */
#include "compute/dense.h"

#include "codec/simd.h"

#include <math.h>

/* forward-pass.md 3.2: y = (x / r) * w with r = (float)sqrt(mean of squares + eps); w holds the
 * offset. */
static void rms_row(const float *x, const float *w, size_t n, double eps, float *y)
{
    double squares = 0.0;
    for (size_t i = 0; i < n; i++)
        squares += (double)x[i] * (double)x[i];
    float r = (float)sqrt(squares / (double)n + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] / r * w[i];
}

static void layer_norm_row(const float *x, const wa_norm *norm, size_t n, double eps, float *y)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    double mean = sum / (double)n;
    double squares = 0.0;
    for (size_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    float deviation = (float)sqrt(squares / (double)n + eps);
    for (size_t i = 0; i < n; i++) {
        float scaled = (x[i] - (float)mean) / deviation * norm->weight[i];
        y[i] = norm->bias == NULL ? scaled : scaled + norm->bias[i];
    }
}

void wa_norm_rows(const wa_model *model, const wa_norm *norm, const float *x, size_t rows, size_t n,
                  float *y)
{
    for (size_t row = 0; row < rows; row++) {
        if (model->norm_kind == WA_NORM_RMS)
            rms_row(x + row * n, norm->weight, n, model->norm_eps, y + row * n);
        else
            layer_norm_row(x + row * n, norm, n, model->norm_eps, y + row * n);
    }
}

WA_CLONES void wa_residual_add(float *h, const float *a, size_t n, float multiplier)
{
    if (multiplier == 1.0F) {
        for (size_t i = 0; i < n; i++)
            h[i] += a[i];
        return;
    }
    for (size_t i = 0; i < n; i++)
        h[i] += a[i] * multiplier;
}

wa_status wa_embed(const wa_model *model, int32_t id, size_t position, float *row, float *out,
                   wa_error *err)
{
    size_t n = model->hidden;
    if (id < 0 || (size_t)id >= model->embedding.rows)
        return wa_fail(err, WA_E_FORMAT, "token id %d at position %zu; the embedding has %zu rows",
                       (int)id, position, model->embedding.rows);
    wa_matrix_decode(&model->embedding, (size_t)id, 1, out);
    if (model->embed_scale != 1.0F)
        for (size_t i = 0; i < n; i++)
            out[i] *= model->embed_scale;
    if (model->positions.rows == 0)
        return WA_OK;

    if (position >= model->positions.rows)
        return wa_fail(err, WA_E_UNSUPPORTED, "position %zu; the model's table has %zu positions",
                       position, model->positions.rows);
    wa_matrix_decode(&model->positions, position, 1, row);
    for (size_t i = 0; i < n; i++)
        out[i] += row[i];
    return WA_OK;
}

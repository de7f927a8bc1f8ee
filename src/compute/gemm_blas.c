/* Matrix products over stored weights: decode a panel, hand it to sgemm while it is in the cache. */
#include "walkaudit/kernel.h"

#include <cblas.h>

static size_t panel_rows(const wa_matrix *w)
{
    size_t floats = WA_PANEL_BYTES / sizeof(float);
    size_t rows = floats / w->cols;
    return rows == 0 ? 1 : rows;
}

/* Rows [first, first + count) of w as f32: in place when stored so, else decoded into the panel.
 * Both ways the product has the same shape, so equal values give equal bits. */
static const float *panel_of(const wa_matrix *w, size_t first, size_t count, wa_scratch *scratch)
{
    const float *in_place = wa_matrix_in_place(w);
    if (in_place != NULL)
        return in_place + first * w->cols;
    wa_matrix_decode(w, first, count, scratch->panel);
    return scratch->panel;
}

void wa_gemm_rows(const wa_matrix *w, size_t rows, size_t ldx, size_t ldy, const wa_operand *pairs,
                  size_t count, const float *bias, wa_scratch *scratch)
{
    size_t step = panel_rows(w);
    for (size_t first = 0; first < w->rows; first += step) {
        size_t height = w->rows - first < step ? w->rows - first : step;
        const float *panel = panel_of(w, first, height, scratch);
        for (size_t i = 0; i < count; i++)
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)height,
                        (int)w->cols, 1.0F, pairs[i].x, (int)ldx, panel, (int)w->cols, 0.0F,
                        pairs[i].y + first, (int)ldy);
    }
    if (bias == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        for (size_t row = 0; row < rows; row++)
            wa_add_bias(pairs[i].y + row * ldy, 1, w->rows, bias);
}

void wa_gemm_features(const wa_matrix *w, size_t rows, size_t ldx, const wa_operand *pairs,
                      size_t count, wa_scratch *scratch)
{
    size_t step = panel_rows(w);
    for (size_t first = 0; first < w->rows; first += step) {
        size_t height = w->rows - first < step ? w->rows - first : step;
        const float *panel = panel_of(w, first, height, scratch);
        for (size_t i = 0; i < count; i++)
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)w->cols,
                        (int)height, 1.0F, pairs[i].x + first, (int)ldx, panel, (int)w->cols,
                        first == 0 ? 0.0F : 1.0F, pairs[i].y, (int)w->cols);
    }
}

void wa_blas_gemm(size_t m, size_t n, size_t k, const float *a, const float *b, float *c)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1.0F, a, (int)k, b,
                (int)k, 0.0F, c, (int)n);
}

const char *wa_blas_core(void)
{
    return openblas_get_corename();
}

const char *wa_blas_config(void)
{
    return openblas_get_config();
}

void wa_blas_set_threads(int threads)
{
    openblas_set_num_threads(threads);
}

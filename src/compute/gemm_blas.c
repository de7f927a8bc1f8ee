/* Engine blas: decode a panel of stored weights, hand it to sgemm while it is in the cache. */
#include "compute/isa.h"
#include "compute/kernel.h"

#include <cblas.h>

static size_t panel_rows(const wa_matrix *w)
{
    size_t floats = WA_PANEL_BYTES / sizeof(float);
    size_t rows = floats / w->cols;
    return rows == 0 ? 1 : rows;
}

/* y [rows, width] = x [rows, depth] . panel, which is [width, depth] transposed or [depth, width];
 * added to y unless `fresh`. Sums are cut where our own products cut them: sgemm adds one after the
 * other in f32, so its error grows with their number, and whole rows miss the KL of far-off walks
 * threefold. It costs little: OpenBLAS cuts long sums too, only later. */
static void multiply(enum CBLAS_TRANSPOSE transpose, size_t rows, size_t width, size_t depth,
                     const float *x, size_t ldx, const float *panel, size_t ldp, bool fresh,
                     float *y, size_t ldy)
{
    for (size_t at = 0; at < depth; at += WA_SUM_PRODUCTS)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, transpose, (int)rows, (int)width,
                    (int)wa_size_min(depth - at, WA_SUM_PRODUCTS), 1.0F, x + at, (int)ldx,
                    transpose == CblasTrans ? panel + at : panel + at * ldp, (int)ldp,
                    fresh && at == 0 ? 0.0F : 1.0F, y, (int)ldy);
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

static void multiply_rows(const wa_product *p, wa_scratch *scratch)
{
    size_t step = panel_rows(p->w);
    for (size_t first = 0; first < p->w->rows; first += step) {
        size_t height = wa_size_min(p->w->rows - first, step);
        const float *panel = panel_of(p->w, first, height, scratch);
        for (size_t i = 0; i < p->count; i++)
            multiply(CblasTrans, p->rows, height, p->w->cols, p->pairs[i].x, p->ldx, panel,
                     p->w->cols, true, p->pairs[i].y + first, p->ldy);
    }
}

/* Panels run along the features and are summed into y in order. */
static void multiply_features(const wa_product *p, wa_scratch *scratch)
{
    size_t step = panel_rows(p->w);
    for (size_t first = 0; first < p->w->rows; first += step) {
        size_t height = wa_size_min(p->w->rows - first, step);
        const float *panel = panel_of(p->w, first, height, scratch);
        for (size_t i = 0; i < p->count; i++)
            multiply(CblasNoTrans, p->rows, p->w->cols, height, p->pairs[i].x + first, p->ldx,
                     panel, p->w->cols, first == 0, p->pairs[i].y, p->ldy);
    }
}

/* The shapes of the sgemms depend on rows and W only. */
void wa_multiply_blas(const wa_product *product, wa_scratch *scratch)
{
    (product->by_features ? multiply_features : multiply_rows)(product, scratch);
}

void wa_blas_gemm(const wa_isa *isa, size_t m, size_t n, size_t k, const float *a, const float *b,
                  float *c)
{
    (void)isa;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1.0F, a, (int)k, b,
                (int)k, 0.0F, c, (int)n);
}

void wa_blas_dgemm(bool turned, size_t m, size_t n, size_t k, const double *a, const double *b,
                   double *c)
{
    cblas_dgemm(CblasRowMajor, turned ? CblasTrans : CblasNoTrans, CblasNoTrans, (int)m, (int)n,
                (int)k, 1.0, a, (int)(turned ? m : k), b, (int)n, 0.0, c, (int)n);
}

/*
 * Products of the oracle (oracle.h). BLAS's dgemm makes them: another library's arithmetic than the
 * kernels', and another precision. A panel of rows is decoded once and multiplied with each group
 * while it is in the cache.
 */
#include "path/oracle_state.h"

#include "base/bytes.h"
#include "codec/simd.h"

#include <cblas.h>
#include <math.h>

/* A function of the row's length alone, as the shape of every product must be. */
static size_t panel_rows(size_t cols)
{
    size_t rows = WA_ORACLE_PANEL_VALUES / cols / WA_ORACLE_PANEL_LEAST * WA_ORACLE_PANEL_LEAST;
    rows = rows < WA_ORACLE_PANEL_LEAST ? WA_ORACLE_PANEL_LEAST : rows;
    return wa_size_min(rows, WA_ORACLE_PANEL_ROWS);
}

size_t wa_oracle_panel_values(size_t longest)
{
    /* no shorter row makes a larger panel */
    size_t most = wa_size_min(WA_ORACLE_PANEL_ROWS * longest, WA_ORACLE_PANEL_VALUES);
    size_t least = WA_ORACLE_PANEL_LEAST * longest;
    return most > least ? most : least;
}

wa_status wa_oracle_panel_open(wa_arena *arena, size_t longest, wa_oracle_panel *out, wa_error *err)
{
    if (longest > SIZE_MAX / WA_ORACLE_PANEL_ROWS)
        return wa_fail(err, WA_E_MEMORY, "rows of %zu values overflow", longest);
    size_t values = wa_oracle_panel_values(longest);
    WA_TRY(wa_arena_take_raw(arena, values, sizeof *out->decoded, &out->decoded, err));
    return wa_arena_take_raw(arena, values, sizeof *out->wide, &out->wide, err);
}

WA_CLONES static void widen(const float *restrict from, double *restrict to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (double)from[i];
}

bool wa_oracle_decodes_fast(wa_format format)
{
    switch (format) {
    case WA_FORMAT_GGML_Q4_0:
    case WA_FORMAT_GGML_Q5_0:
    case WA_FORMAT_GGML_Q8_0:
    case WA_FORMAT_Q4_0:
        return true;
    default:
        return wa_format_get(format)->block_elements == 1;
    }
}

static const double *decode(const wa_matrix *w, size_t first, size_t count, wa_oracle_panel *panel)
{
    const float *in_place = wa_matrix_in_place(w);
    panel->rows = in_place != NULL ? in_place + first * w->cols : panel->decoded;
    if (in_place == NULL)
        (wa_oracle_decodes_fast(w->format) ? wa_matrix_decode
                                           : wa_matrix_decode_ref)(w, first, count, panel->decoded);
    widen(panel->rows, panel->wide, count * w->cols);
    return panel->wide;
}

const double *wa_oracle_row(const wa_matrix *matrix, size_t f, wa_oracle_panel *panel)
{
    return decode(matrix, f, 1, panel);
}

/* out [count, width] = w [count, n] . in [n, width] */
static void dot_rows(const double *w, size_t count, size_t n, size_t width, const double *in,
                     double *out)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)count, (int)width, (int)n, 1.0, w,
                (int)n, in, (int)width, 0.0, out, (int)width);
}

/* out [n, width] += w [count, n] transposed . act [count, width] */
static void add_rows(const double *w, size_t count, size_t n, size_t width, const double *act,
                     double *out)
{
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)n, (int)width, (int)count, 1.0, w,
                (int)n, act, (int)width, 1.0, out, (int)width);
}

void wa_oracle_rows(const wa_matrix *w, const double *in, double *out, size_t groups,
                    wa_oracle_panel *panel)
{
    size_t step = panel_rows(w->cols), width = panel->width;
    for (size_t first = 0; first < w->rows; first += step) {
        size_t count = wa_size_min(w->rows - first, step);
        const double *rows = decode(w, first, count, panel);
        for (size_t g = 0; g < groups; g++)
            dot_rows(rows, count, w->cols, width, in + g * w->cols * width,
                     out + (g * w->rows + first) * width);
    }
}

void wa_oracle_features(const wa_matrix *w, const double *act, double *out, size_t groups,
                        wa_oracle_panel *panel)
{
    size_t step = panel_rows(w->cols), width = panel->width;
    for (size_t first = 0; first < w->rows; first += step) {
        size_t count = wa_size_min(w->rows - first, step);
        const double *rows = decode(w, first, count, panel);
        for (size_t g = 0; g < groups; g++)
            add_rows(rows, count, w->cols, width, act + (g * w->rows + first) * width,
                     out + g * w->cols * width);
    }
}

WA_CLONES static bool all_finite(const double *values, size_t n)
{
    uint64_t infinite = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = wa_load_u64(&values[i]) & 0x7FF0000000000000U;
        infinite |= bits == 0x7FF0000000000000U;
    }
    return infinite == 0;
}

void wa_oracle_drop(double *act, size_t n, double floor)
{
    for (size_t i = 0; i < n; i++)
        if (fabs(act[i]) <= floor)
            act[i] = 0.0;
}

static bool any_used(const double *act, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (act[i] != 0.0)
            return true;
    return false;
}

/*
 * Values that are no numbers must not even meet an evaluation that leaves their feature out. They
 * become zero in the panel, which changes nothing for those; what uses them gets its products
 * afterwards.
 */
static bool hide_broken(wa_oracle_panel *panel, size_t n)
{
    if (all_finite(panel->wide, n))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(panel->wide[i]))
            panel->wide[i] = 0.0;
    return true;
}

/* out [width] += value * act [width] where act is used */
static void add_used(double value, const double *act, size_t width, double *out)
{
    for (size_t p = 0; p < width; p++)
        if (act[p] != 0.0)
            out[p] += act[p] * value;
}

/* Panels that no evaluation uses are not even decoded: they would add zeros. */
void wa_oracle_features_used(const wa_matrix *w, const double *act, double *out, size_t groups,
                             wa_oracle_panel *panel)
{
    size_t step = panel_rows(w->cols), n = w->cols, width = panel->width;
    for (size_t first = 0; first < w->rows; first += step) {
        size_t count = wa_size_min(w->rows - first, step);
        bool used = false;
        for (size_t g = 0; g < groups; g++)
            used = used || any_used(act + (g * w->rows + first) * width, count * width);
        if (!used)
            continue;
        decode(w, first, count, panel);
        bool broken = hide_broken(panel, count * n);
        for (size_t g = 0; g < groups; g++) {
            const double *a = act + (g * w->rows + first) * width;
            double *y = out + g * n * width;
            add_rows(panel->wide, count, n, width, a, y);
            for (size_t i = 0; broken && i < count * n; i++)
                if (!isfinite(panel->rows[i]))
                    add_used((double)panel->rows[i], a + i / n * width, width, y + i % n * width);
        }
    }
}

void wa_oracle_rows_used(const wa_matrix *w, const double *in, double *out, size_t groups,
                         wa_oracle_panel *panel)
{
    size_t step = panel_rows(w->cols), n = w->cols, width = panel->width;
    for (size_t first = 0; first < w->rows; first += step) {
        size_t count = wa_size_min(w->rows - first, step);
        decode(w, first, count, panel);
        bool broken = hide_broken(panel, count * n);
        for (size_t g = 0; g < groups; g++) {
            const double *a = in + g * n * width;
            double *y = out + (g * w->rows + first) * width;
            dot_rows(panel->wide, count, n, width, a, y);
            for (size_t i = 0; broken && i < count * n; i++)
                if (!isfinite(panel->rows[i]))
                    add_used((double)panel->rows[i], a + i % n * width, width, y + i / n * width);
        }
    }
}

/* Products of the oracle (oracle.h), fast enough to check every layer: positions fill the vector
 * registers. */
#include "path/oracle.h"

#include "codec/simd.h"

#include <math.h>

enum { LANES = WA_ORACLE_ROWS, ROWS = 4 }; /* four rows at once hide the latency of the additions */

wa_status wa_oracle_panel_open(wa_arena *arena, size_t longest, wa_oracle_panel *out, wa_error *err)
{
    size_t row = ROWS * sizeof(double);
    WA_TRY(wa_arena_take_raw(arena, longest, row, &out->decoded, err));
    return wa_arena_take_raw(arena, longest, row, &out->wide, err);
}

WA_CLONES static void widen(const float *from, double *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (double)from[i];
}

/* Plain floats have so few patterns that a test compares the decoders on every one of them
 * (test_oracle.c); so these rows may come from the fast one. Blocks come from the reference
 * decoder. */
static const double *decode(const wa_matrix *w, size_t first, size_t count, wa_oracle_panel *panel)
{
    const float *rows = wa_matrix_in_place(w);
    if (rows != NULL) {
        rows += first * w->cols;
    } else if (wa_format_get(w->format)->block_elements == 1) {
        wa_matrix_decode(w, first, count, panel->decoded);
        rows = panel->decoded;
    } else {
        wa_matrix_decode_ref(w, first, count, panel->decoded);
        rows = panel->decoded;
    }
    widen(rows, panel->wide, count * w->cols);
    return panel->wide;
}

const double *wa_oracle_row(const wa_matrix *matrix, size_t f, wa_oracle_panel *panel)
{
    return decode(matrix, f, 1, panel);
}

/* Eight positions as one value: the compiler gives it one, two or four registers. Elementwise only.
 */
typedef double lanes __attribute__((vector_size(LANES * sizeof(double))));

/* Four rows of n weights against eight positions. `in` is aligned as an arena's memory is. */
WA_CLONES static void dot_rows(const double *restrict w, size_t n, const double *restrict in,
                               double *restrict out)
{
    const lanes *x = (const lanes *)(const void *)in;
    lanes s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    for (size_t i = 0; i < n; i++) {
        s0 += w[i] * x[i];
        s1 += w[n + i] * x[i];
        s2 += w[2 * n + i] * x[i];
        s3 += w[3 * n + i] * x[i];
    }
    lanes *to = (lanes *)(void *)out;
    to[0] = s0;
    to[1] = s1;
    to[2] = s2;
    to[3] = s3;
}

static void dot_row(const double *restrict w, size_t n, const double *restrict in,
                    double *restrict out)
{
    double sum[LANES] = {0};
    for (size_t i = 0; i < n; i++)
        for (int p = 0; p < LANES; p++)
            sum[p] += w[i] * in[i * LANES + (size_t)p];
    memcpy(out, sum, sizeof sum);
}

void wa_oracle_rows(const wa_matrix *w, const double *in, double *out, wa_oracle_panel *panel)
{
    size_t first = 0;
    for (; first + ROWS <= w->rows; first += ROWS)
        dot_rows(decode(w, first, ROWS, panel), w->cols, in, out + first * LANES);
    for (; first < w->rows; first++)
        dot_row(decode(w, first, 1, panel), w->cols, in, out + first * LANES);
}

/* Four features, each added in its turn. */
WA_CLONES static void add_rows(const double *restrict w, size_t n, const double *restrict act,
                               double *restrict out)
{
    const lanes *a = (const lanes *)(const void *)act;
    lanes *y = (lanes *)(void *)out;
    lanes a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
    for (size_t h = 0; h < n; h++)
        y[h] = (((y[h] + a0 * w[h]) + a1 * w[n + h]) + a2 * w[2 * n + h]) + a3 * w[3 * n + h];
}

static void add_row(const double *restrict w, size_t n, const double *restrict act,
                    double *restrict out)
{
    for (size_t h = 0; h < n; h++)
        for (int p = 0; p < LANES; p++)
            out[h * LANES + (size_t)p] += act[p] * w[h];
}

void wa_oracle_features(const wa_matrix *w, const double *act, double *out, wa_oracle_panel *panel)
{
    size_t first = 0;
    for (; first + ROWS <= w->rows; first += ROWS)
        add_rows(decode(w, first, ROWS, panel), w->cols, act + first * LANES, out);
    for (; first < w->rows; first++)
        add_row(decode(w, first, 1, panel), w->cols, act + first * LANES, out);
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

/* Only positions that use the feature: an unused one must not even meet a NaN of the row. */
static void add_used(const double *w, size_t n, const double *act, double *out)
{
    for (size_t h = 0; h < n; h++)
        for (size_t p = 0; p < LANES; p++)
            if (act[p] != 0.0)
                out[h * LANES + p] += act[p] * w[h];
}

void wa_oracle_drop(double *act, size_t n, double floor)
{
    for (size_t i = 0; i < n * LANES; i++)
        if (fabs(act[i]) <= floor)
            act[i] = 0.0;
}

static bool any_used(const double *act, size_t n)
{
    for (size_t i = 0; i < n * LANES; i++)
        if (act[i] != 0.0)
            return true;
    return false;
}

void wa_oracle_features_used(const wa_matrix *w, const double *act, double *out,
                             wa_oracle_panel *panel)
{
    for (size_t first = 0; first < w->rows; first += ROWS) {
        size_t count = w->rows - first < ROWS ? w->rows - first : ROWS;
        const double *kept = act + first * LANES;
        if (!any_used(kept, count))
            continue;
        const double *rows = decode(w, first, count, panel);
        if (count == ROWS && all_finite(rows, count * w->cols)) {
            add_rows(rows, w->cols, kept, out); /* adding 0 * a finite number changes nothing */
            continue;
        }
        for (size_t r = 0; r < count; r++)
            add_used(rows + r * w->cols, w->cols, kept + r * LANES, out);
    }
}

/* As add_used: a column that a position does not use is left alone. */
static void dot_used(const double *w, size_t n, const double *in, double *out)
{
    double sum[LANES] = {0};
    for (size_t i = 0; i < n; i++)
        for (size_t p = 0; p < LANES; p++)
            if (in[i * LANES + p] != 0.0)
                sum[p] += w[i] * in[i * LANES + p];
    memcpy(out, sum, sizeof sum);
}

void wa_oracle_rows_used(const wa_matrix *w, const double *in, double *out, wa_oracle_panel *panel)
{
    for (size_t first = 0; first < w->rows; first += ROWS) {
        size_t count = w->rows - first < ROWS ? w->rows - first : ROWS;
        const double *rows = decode(w, first, count, panel);
        if (count == ROWS && all_finite(rows, count * w->cols)) {
            dot_rows(rows, w->cols, in, out + first * LANES);
            continue;
        }
        for (size_t r = 0; r < count; r++)
            dot_used(rows + r * w->cols, w->cols, in, out + (first + r) * LANES);
    }
}

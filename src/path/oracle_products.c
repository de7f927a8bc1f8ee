/* Products of the oracle (oracle.h), fast enough to check every layer: positions fill the vector
 * registers. */
#include "path/oracle.h"

#include "codec/simd.h"

#include <math.h>

/* Eight rows at once hide the latency of the additions; each is decoded once for all positions. */
enum { LANES = WA_ORACLE_ROWS, ROWS = 8 };

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

/* Eight rows of n weights against eight positions. `in` is aligned as an arena's memory is. */
WA_CLONES static void dot_rows(const double *restrict w, size_t n, const double *restrict in,
                               double *restrict out)
{
    const lanes *x = (const lanes *)(const void *)in;
    lanes s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}, s4 = {0}, s5 = {0}, s6 = {0}, s7 = {0};
    for (size_t i = 0; i < n; i++) {
        s0 += w[i] * x[i];
        s1 += w[n + i] * x[i];
        s2 += w[2 * n + i] * x[i];
        s3 += w[3 * n + i] * x[i];
        s4 += w[4 * n + i] * x[i];
        s5 += w[5 * n + i] * x[i];
        s6 += w[6 * n + i] * x[i];
        s7 += w[7 * n + i] * x[i];
    }
    lanes *to = (lanes *)(void *)out;
    to[0] = s0;
    to[1] = s1;
    to[2] = s2;
    to[3] = s3;
    to[4] = s4;
    to[5] = s5;
    to[6] = s6;
    to[7] = s7;
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

void wa_oracle_rows(const wa_matrix *w, const double *in, double *out, size_t groups,
                    wa_oracle_panel *panel)
{
    size_t in_group = w->cols * LANES, out_group = w->rows * LANES;
    for (size_t first = 0; first < w->rows; first += ROWS) {
        size_t count = w->rows - first < ROWS ? w->rows - first : ROWS;
        const double *rows = decode(w, first, count, panel);
        for (size_t g = 0; g < groups; g++) {
            const double *x = in + g * in_group;
            double *y = out + g * out_group + first * LANES;
            if (count == ROWS)
                dot_rows(rows, w->cols, x, y);
            for (size_t r = 0; r < count && count < ROWS; r++)
                dot_row(rows + r * w->cols, w->cols, x, y + r * LANES);
        }
    }
}

/* Eight features, each added in its turn. */
WA_CLONES static void add_rows(const double *restrict w, size_t n, const double *restrict act,
                               double *restrict out)
{
    const lanes *a = (const lanes *)(const void *)act;
    lanes *y = (lanes *)(void *)out;
    lanes a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3], a4 = a[4], a5 = a[5], a6 = a[6], a7 = a[7];
    for (size_t h = 0; h < n; h++) {
        lanes sum = (((y[h] + a0 * w[h]) + a1 * w[n + h]) + a2 * w[2 * n + h]) + a3 * w[3 * n + h];
        y[h] = (((sum + a4 * w[4 * n + h]) + a5 * w[5 * n + h]) + a6 * w[6 * n + h]) + a7 * w[7 * n + h];
    }
}

static void add_row(const double *restrict w, size_t n, const double *restrict act,
                    double *restrict out)
{
    for (size_t h = 0; h < n; h++)
        for (int p = 0; p < LANES; p++)
            out[h * LANES + (size_t)p] += act[p] * w[h];
}

void wa_oracle_features(const wa_matrix *w, const double *act, double *out, size_t groups,
                        wa_oracle_panel *panel)
{
    size_t act_group = w->rows * LANES, out_group = w->cols * LANES;
    for (size_t first = 0; first < w->rows; first += ROWS) {
        size_t count = w->rows - first < ROWS ? w->rows - first : ROWS;
        const double *rows = decode(w, first, count, panel);
        for (size_t g = 0; g < groups; g++) {
            const double *a = act + g * act_group + first * LANES;
            double *y = out + g * out_group;
            if (count == ROWS)
                add_rows(rows, w->cols, a, y);
            for (size_t r = 0; r < count && count < ROWS; r++)
                add_row(rows + r * w->cols, w->cols, a + r * LANES, y);
        }
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

void wa_oracle_features_used(const wa_matrix *w, const double *act, double *out, size_t groups,
                             wa_oracle_panel *panel)
{
    size_t act_group = w->rows * LANES, out_group = w->cols * LANES;
    for (size_t first = 0; first < w->rows; first += ROWS) {
        size_t count = w->rows - first < ROWS ? w->rows - first : ROWS;
        bool used = false;
        for (size_t g = 0; g < groups; g++)
            used = used || any_used(act + g * act_group + first * LANES, count);
        if (!used)
            continue;
        const double *rows = decode(w, first, count, panel);
        bool plain = count == ROWS && all_finite(rows, count * w->cols);
        for (size_t g = 0; g < groups; g++) {
            const double *a = act + g * act_group + first * LANES;
            double *y = out + g * out_group;
            if (plain) /* adding 0 * a finite number changes nothing */
                add_rows(rows, w->cols, a, y);
            for (size_t r = 0; r < count && !plain; r++)
                add_used(rows + r * w->cols, w->cols, a + r * LANES, y);
        }
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

void wa_oracle_rows_used(const wa_matrix *w, const double *in, double *out, size_t groups,
                         wa_oracle_panel *panel)
{
    size_t in_group = w->cols * LANES, out_group = w->rows * LANES;
    for (size_t first = 0; first < w->rows; first += ROWS) {
        size_t count = w->rows - first < ROWS ? w->rows - first : ROWS;
        const double *rows = decode(w, first, count, panel);
        bool plain = count == ROWS && all_finite(rows, count * w->cols);
        for (size_t g = 0; g < groups; g++) {
            const double *x = in + g * in_group;
            double *y = out + g * out_group + first * LANES;
            if (plain)
                dot_rows(rows, w->cols, x, y);
            for (size_t r = 0; r < count && !plain; r++)
                dot_used(rows + r * w->cols, w->cols, x, y + r * LANES);
        }
    }
}

/* ENCODING: how far each stored row lies from the model's row, in units of the model's RMS row norm, or
 * of the row's own norm where that is larger. Design 7 names the RMS norm alone; but a format's error is
 * relative to each row, and SmolLM2 has an up row of 9.5 times the RMS norm (layer 28), which then looks
 * ten times worse encoded than its neighbours in a healthy f16 vindex. A wrong row is off by about its
 * own norm either way. */
#include "path/walk.h"

#include "base/quantile.h"
#include "codec/simd.h"

#include <math.h>

/* Rows of a transposed model matrix are decoded in bands of at most this many bytes: what stays in
 * the cache, or, where every band costs another decoding of the stored rows, a whole layer of a
 * small model. */
enum { CACHE_BAND_BYTES = 512 << 10, DECODED_BAND_BYTES = 16 << 20 };
/* Features that are turned from columns to rows at a time. */
enum { FEATURES = 16, LANES = 8 };

/* One comparison under way. */
typedef struct check {
    const wa_matrix *stored, *model;
    size_t rows, cols; /* of the stored matrix */
    double *error;     /* [rows] sum of squared differences, then the error */
    double *square;    /* [rows] sum of squares of the model's row */
    float *stored_row; /* [cols] when not in place */
    float *model_rows;
} check;

/* Sums of (a - b)^2 and b^2: eight partial sums each, so that the compiler may use vectors. */
WA_CLONES static void compare(const float *restrict a, const float *restrict b, size_t n,
                              double *restrict difference, double *restrict square)
{
    double d[LANES] = {0}, s[LANES] = {0};
    size_t body = n - n % LANES;
    for (size_t i = 0; i < body; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            double delta = (double)a[i + k] - (double)b[i + k];
            d[k] += delta * delta;
            s[k] += (double)b[i + k] * (double)b[i + k];
        }
    for (size_t i = body; i < n; i++) {
        double delta = (double)a[i] - (double)b[i];
        d[i - body] += delta * delta;
        s[i - body] += (double)b[i] * (double)b[i];
    }
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t k = 0; k < half; k++) {
            d[k] += d[k + half];
            s[k] += s[k + half];
        }
    *difference += d[0];
    *square += s[0];
}

static const float *row_of(const wa_matrix *matrix, size_t row, float *space)
{
    const float *rows = wa_matrix_in_place(matrix);
    if (rows != NULL)
        return rows + row * matrix->cols;
    wa_matrix_decode(matrix, row, 1, space);
    return space;
}

static wa_status compare_rows(check *c, wa_arena *arena, wa_error *err)
{
    WA_TRY(wa_arena_take_raw(arena, c->cols, sizeof(float), &c->model_rows, err));
    for (size_t r = 0; r < c->rows; r++)
        compare(row_of(c->stored, r, c->stored_row), row_of(c->model, r, c->model_rows), c->cols,
                &c->error[r], &c->square[r]);
    return WA_OK;
}

/* Columns [first, first + count) of a band [height][width] become rows of out [FEATURES][height].
 */
WA_CLONES static void turn(const float *restrict band, size_t height, size_t width, size_t first,
                           size_t count, float *restrict out)
{
    for (size_t h = 0; h < height; h++)
        for (size_t f = 0; f < count; f++)
            out[f * height + h] = band[h * width + first + f];
}

/* Elements [from, from + height) of every stored row against rows [from, from + height) of the
 * model's [H, F]. */
static void compare_band(check *c, size_t from, size_t height, float *turned)
{
    wa_matrix_decode(c->model, from, height, c->model_rows);
    for (size_t first = 0; first < c->rows; first += FEATURES) {
        size_t count = c->rows - first < FEATURES ? c->rows - first : FEATURES;
        turn(c->model_rows, height, c->rows, first, count, turned);
        for (size_t f = 0; f < count; f++)
            compare(row_of(c->stored, first + f, c->stored_row) + from, turned + f * height, height,
                    &c->error[first + f], &c->square[first + f]);
    }
}

static wa_status compare_transposed(check *c, wa_arena *arena, wa_error *err)
{
    bool in_place = wa_matrix_in_place(c->stored) != NULL;
    size_t band = (in_place ? CACHE_BAND_BYTES : DECODED_BAND_BYTES) / sizeof(float) / c->rows;
    band = band == 0 ? 1 : band;
    band = band > c->cols ? c->cols : band;
    float *turned;
    WA_TRY(wa_arena_take_raw(arena, band * c->rows, sizeof(float), &c->model_rows, err));
    WA_TRY(wa_arena_take_raw(arena, band * FEATURES, sizeof(float), &turned, err));
    for (size_t from = 0; from < c->cols; from += band)
        compare_band(c, from, c->cols - from < band ? c->cols - from : band, turned);
    return WA_OK;
}

static size_t count_nonfinite(const float *row, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += isfinite(row[i]) ? 0 : 1;
    return count;
}

/* Errors of rows with values that are no numbers leave the quantiles; the first such row is the
 * worst. */
static void summarise(check *c, wa_row_error *out)
{
    double sum = 0.0;
    for (size_t r = 0; r < c->rows; r++)
        sum += c->square[r];
    double mean_square = sum / (double)c->rows;
    size_t finite = 0;
    for (size_t r = 0; r < c->rows; r++) {
        double distance = sqrt(c->error[r]);
        double square = c->square[r] > mean_square ? c->square[r] : mean_square;
        double error = distance == 0.0 ? 0.0 : distance / sqrt(square);
        bool usable = isfinite(distance);
        if (!usable)
            out->nonfinite += count_nonfinite(row_of(c->stored, r, c->stored_row), c->cols);
        bool first_broken = !usable && !isnan(out->max);
        bool worse = usable && error > out->max;
        if (first_broken || worse || out->worst_row < 0) {
            out->max = usable ? error : NAN;
            out->worst_row = (int32_t)r;
        }
        if (usable)
            c->error[finite++] = error;
    }
    size_t sorted_from = 0;
    out->p50 = wa_quantile(c->error, finite, 0.50, &sorted_from);
    out->p99 = wa_quantile(c->error, finite, 0.99, &sorted_from);
}

static wa_status check_shapes(const wa_matrix *stored, const wa_matrix *model, bool transpose,
                              wa_error *err)
{
    size_t rows = transpose ? model->cols : model->rows;
    size_t cols = transpose ? model->rows : model->cols;
    if (stored->rows != rows || stored->cols != cols)
        return wa_fail(err, WA_E_MISMATCH, "%s is %zu x %zu, the model's %s gives %zu x %zu",
                       stored->name, stored->rows, stored->cols, model->name, rows, cols);
    if (rows == 0 || rows > INT32_MAX || cols == 0)
        return wa_fail(err, WA_E_UNSUPPORTED, "%s: %zu rows of %zu cannot be compared",
                       stored->name, rows, cols);
    return WA_OK;
}

wa_status wa_encoding_check(const wa_matrix *stored, const wa_matrix *model_matrix,
                            bool transpose_model, wa_arena *arena, wa_row_error *out, wa_error *err)
{
    WA_TRY(check_shapes(stored, model_matrix, transpose_model, err));
    check c = {.stored = stored, .model = model_matrix, .rows = stored->rows, .cols = stored->cols};
    wa_row_error result = {.worst_row = -1};
    wa_mark mark = wa_arena_mark(arena);
    wa_status status = wa_arena_take(arena, c.rows, sizeof *c.error, &c.error, err);
    if (status == WA_OK)
        status = wa_arena_take(arena, c.rows, sizeof *c.square, &c.square, err);
    if (status == WA_OK)
        status = wa_arena_take_raw(arena, c.cols, sizeof(float), &c.stored_row, err);
    if (status == WA_OK)
        status =
            transpose_model ? compare_transposed(&c, arena, err) : compare_rows(&c, arena, err);
    if (status == WA_OK) {
        summarise(&c, &result);
        *out = result;
    }
    wa_arena_release(arena, mark);
    return status;
}

/* Feature files of an f16 vindex are f32 whose values went through f16 (vindex-format 2.5, 3.3). */
double wa_encoding_nominal(const wa_vindex *vindex, const wa_matrix *stored)
{
    double own = wa_format_get(stored->format)->nominal_bound;
    double named = wa_format_get(vindex->gate_format)->nominal_bound;
    return stored->format == WA_FORMAT_F32 && named > own ? named : own;
}

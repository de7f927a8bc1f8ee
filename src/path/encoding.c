/*
 * ENCODING: stored rows against the model's.
 *
 * Each row is told equal or not to what an encoder known here makes of the model's row: for block
 * formats LARQL's, on the row itself or on its f16 values; for f16 (and f32 files made of f16
 * values) whatever rounds to one of the two neighbours; for f32 the row itself. Rows that are not
 * equal are measured: how far weights lie from their values in steps of the stored scales, how
 * large the error is beside that of our encoder, and by what factor they are too long.
 *
 * Besides, and reported only, each row's error in units of the model's RMS row norm, or of the
 * row's own norm where that is larger. (Design 7 names the RMS norm alone; but a format's error is
 * relative to each row, and SmolLM2 has an up row of 9.5 times the RMS norm in layer 28.)
 */
#include "path/encoding_state.h"

#include "codec/simd.h"

/* A transposed model matrix is turned in bands that stay in the cache, of UNIT features at least:
 * columns that are decoded alone start at a block of the model's format. */
enum { BAND_BYTES = 512 << 10, UNIT = 256 };
/* Rows of the model's that are decoded and turned at a time: 16 floats are a cache line. */
enum { TILE = 16 };

static wa_status compare_rows(wa_encoding *c, wa_arena *arena, wa_error *err)
{
    float *row;
    WA_TRY(wa_arena_take_raw(arena, c->cols, sizeof *row, &row, err));
    for (size_t r = 0; r < c->rows; r++)
        wa_encoding_compare_row(c, r, wa_encoding_row_of(c->model, r, row));
    return WA_OK;
}

/* A tile [height][width] becomes columns `at` and on of out [width][cols]. */
WA_CLONES static void turn(const float *restrict tile, size_t height, size_t width, size_t at,
                           size_t cols, float *restrict out)
{
    for (size_t f = 0; f < width; f++)
        for (size_t h = 0; h < height; h++)
            out[f * cols + at + h] = tile[h * width + f];
}

/* The model's [H, F], whose columns [first, first + width) become whole rows. */
static void turn_band(const wa_encoding *c, size_t first, size_t width, float *tile, float *out)
{
    wa_matrix band = wa_matrix_columns(c->model, first, width);
    for (size_t h = 0; h < c->cols; h += TILE) {
        size_t height = c->cols - h < TILE ? c->cols - h : TILE;
        wa_matrix_decode(&band, h, height, tile);
        turn(tile, height, width, h, c->cols, out);
    }
}

/* Rows that are turned at a time. */
static size_t band_rows(size_t rows, size_t cols)
{
    size_t band = BAND_BYTES / sizeof(float) / cols / UNIT * UNIT;
    band = band == 0 ? UNIT : band;
    return band > rows ? rows : band;
}

static wa_status compare_transposed(wa_encoding *c, wa_arena *arena, wa_error *err)
{
    size_t band = band_rows(c->rows, c->cols);
    float *tile, *turned;
    WA_TRY(wa_arena_take_raw(arena, TILE * band, sizeof *tile, &tile, err));
    WA_TRY(wa_arena_take_raw(arena, band * c->cols, sizeof *turned, &turned, err));
    for (size_t first = 0; first < c->rows; first += band) {
        size_t width = c->rows - first < band ? c->rows - first : band;
        turn_band(c, first, width, tile, turned);
        for (size_t f = 0; f < width; f++)
            wa_encoding_compare_row(c, first + f, turned + f * c->cols);
    }
    return WA_OK;
}

static wa_status check_shapes(const wa_encoding_pair *pairs, size_t count, bool transpose,
                              wa_error *err)
{
    const wa_matrix *first = &pairs[0].stored;
    for (size_t i = 0; i < count; i++) {
        const wa_matrix *stored = &pairs[i].stored, *model = &pairs[i].model;
        size_t rows = transpose ? model->cols : model->rows;
        size_t cols = transpose ? model->rows : model->cols;
        if (stored->rows != rows || stored->cols != cols)
            return wa_fail(err, WA_E_MISMATCH, "%s is %zu x %zu, the model's %s gives %zu x %zu",
                           stored->name, stored->rows, stored->cols, model->name, rows, cols);
        if (rows == 0 || cols == 0 || rows > INT32_MAX / count)
            return wa_fail(err, WA_E_UNSUPPORTED,
                           "%s: %zu times %zu rows of %zu cannot be compared", stored->name, count,
                           rows, cols);
        if (stored->rows != first->rows || stored->cols != first->cols ||
            stored->format != first->format)
            return wa_fail(
                err, WA_E_UNSUPPORTED, "%s: %zu x %zu in %s, the first expert has %zu x %zu in %s",
                stored->name, stored->rows, stored->cols, wa_format_get(stored->format)->name,
                first->rows, first->cols, wa_format_get(first->format)->name);
    }
    return WA_OK;
}

static wa_status take_rows(wa_encoding *c, wa_arena *arena, wa_error *err)
{
    const wa_matrix *stored = &c->pairs[0].stored;
    WA_TRY(wa_arena_take(arena, c->out.rows, sizeof *c->error, &c->error, err));
    WA_TRY(wa_arena_take(arena, c->out.rows, sizeof *c->square, &c->square, err));
    WA_TRY(wa_arena_take(arena, c->out.rows, sizeof *c->own, &c->own, err));
    WA_TRY(wa_arena_take(arena, c->out.rows, sizeof *c->known, &c->known, err));
    WA_TRY(wa_arena_take_raw(arena, c->cols, sizeof(float), &c->stored_row, err));
    /* A row that begins inside a block of another one was not encoded by itself. */
    if (c->levels || stored->order == WA_ROWS_FLAT || wa_format_get(stored->format)->encode == NULL)
        return WA_OK;
    if (!wa_row_bytes(stored->format, c->cols, &c->made_bytes) || c->made_bytes > stored->row_bytes)
        return wa_fail(err, WA_E_INTERNAL, "%s: rows of %zu bytes, %zu elements need %zu",
                       stored->name, stored->row_bytes, c->cols, c->made_bytes);
    WA_TRY(wa_arena_take_raw(arena, c->cols, sizeof(float), &c->raw_row, err));
    WA_TRY(wa_arena_take_raw(arena, c->cols, sizeof(float), &c->made_row, err));
    return wa_arena_take_raw(arena, c->made_bytes, 1, &c->made, err);
}

size_t wa_encoding_memory(const wa_encoding_pair *first, size_t count, bool transpose_model)
{
    const wa_matrix *stored = &first->stored;
    size_t rows = count * stored->rows, row = stored->cols * sizeof(float), made;
    size_t band = transpose_model ? band_rows(stored->rows, stored->cols) : 1;
    if (!wa_row_bytes(stored->format, stored->cols, &made))
        made = 0;
    return rows * (3 * sizeof(double) + sizeof(uint8_t)) + 3 * row + made + band * row +
           (transpose_model ? TILE * band * sizeof(float) : 0) +
           count * (sizeof(wa_encoding_pair) + sizeof(wa_encoding_part));
}

/* The rows of matrix i, by a view of the check in which the arrays begin with them. */
static wa_status compare_pair(wa_encoding *all, size_t i, bool transpose_model, wa_arena *arena,
                              wa_error *err)
{
    wa_encoding c = *all;
    c.stored = &all->pairs[i].stored;
    c.model = &all->pairs[i].model;
    c.offset = all->pairs[i].offset;
    c.raw = *c.stored;
    c.raw.through_f16 = false;
    c.first = i * all->rows;
    c.error += c.first;
    c.square += c.first;
    c.own += c.first;
    c.known += c.first;
    wa_mark mark = wa_arena_mark(arena);
    wa_status status =
        transpose_model ? compare_transposed(&c, arena, err) : compare_rows(&c, arena, err);
    wa_arena_release(arena, mark);
    c.error = all->error;
    c.square = all->square;
    c.own = all->own;
    c.known = all->known;
    *all = c;
    return status;
}

wa_status wa_encoding_check_all(const wa_encoding_pair *pairs, size_t count, bool transpose_model,
                                wa_encoded_by by, wa_arena *arena, wa_row_error *out,
                                wa_encoding_part *parts, wa_error *err)
{
    WA_TRY(check_shapes(pairs, count, transpose_model, err));
    const wa_matrix *stored = &pairs[0].stored;
    const wa_format_info *format = wa_format_get(stored->format);
    wa_encoding c = {.pairs = pairs,
                     .count = count,
                     .stored = stored,
                     .levels = !wa_format_is_float(stored->format) &&
                               (by == WA_ENCODED_ANY || format->encode == NULL),
                     .rows = stored->rows,
                     .cols = stored->cols,
                     .out = {.rows = count * stored->rows,
                             .worst_row = -1,
                             .unequal_row = -1,
                             .steps_row = -1,
                             .row_gain_row = -1,
                             .row_ratio_row = -1,
                             .part_ratio_row = -1}};
    wa_mark mark = wa_arena_mark(arena);
    wa_status status = take_rows(&c, arena, err);
    for (size_t i = 0; i < count && status == WA_OK; i++)
        status = compare_pair(&c, i, transpose_model, arena, err);
    if (status == WA_OK) {
        wa_encoding_make_figures(&c, parts);
        *out = c.out;
    }
    wa_arena_release(arena, mark);
    return status;
}

wa_status wa_encoding_check(const wa_matrix *stored, const wa_matrix *model_matrix,
                            bool transpose_model, wa_encoded_by by, wa_arena *arena,
                            wa_row_error *out, wa_error *err)
{
    const wa_encoding_pair pair = {.stored = *stored, .model = *model_matrix};
    return wa_encoding_check_all(&pair, 1, transpose_model, by, arena, out, NULL, err);
}

wa_encoded_by wa_payload_encoded_by(wa_payload payload)
{
    /* floats: nothing is encoded */
    bool beside_experts = wa_payload_is_of_experts(payload) && payload != WA_PAYLOAD_EXPERTS;
    return payload == WA_PAYLOAD_CHECKPOINT || beside_experts || wa_payload_is_of_model(payload)
               ? WA_ENCODED_ANY
               : WA_ENCODED_LARQL;
}

const char *wa_encoding_basis_word(wa_encoding_basis basis)
{
    static const char *const words[] = {
#define BASIS_WORD(id, word) [WA_BASIS_##id] = (word),
        WA_BASIS_LIST(BASIS_WORD)
#undef BASIS_WORD
    };
    return words[basis];
}

/* Feature files of an f16 vindex are f32 whose values went through f16 (vindex-format 2.5, 3.3). */
double wa_encoding_nominal(const wa_vindex *vindex, const wa_matrix *stored)
{
    double own = wa_format_get(stored->format)->nominal_bound;
    double named = wa_format_get(vindex->gate_format)->nominal_bound;
    return stored->format == WA_FORMAT_F32 && named > own ? named : own;
}

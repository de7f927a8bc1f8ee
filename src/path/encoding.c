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
#include "path/walk.h"

#include "base/quantile.h"
#include "codec/simd.h"

#include <math.h>

/* A transposed model matrix is turned in bands that stay in the cache, of UNIT features at least:
 * columns that are decoded alone start at a block of the model's format. */
enum { BAND_BYTES = 512 << 10, UNIT = 256 };
/* Rows of the model's that are decoded and turned at a time: 16 floats are a cache line. */
enum { TILE = 16, LANES = 8 };

/* What is known of a row: it differs from the model's (f32) or from all re-encodings; it holds a
 * value that no rounding to f16 gives. */
enum { DIFFERS = 1, NO_HALF = 2, NO_BF16 = 4 };

/* Ways to make a row of a block format: from the model's weights, from their f16 values by either
 * converter. */
typedef enum source { DIRECT, FROM_HALF, FROM_LARQL_HALF, SOURCES } source;

/* A matrix that our encoder reproduces more exactly lies on that encoder's own grid, and its error
 * is no measure. */
static const double OWN_GRID = 1e-2;

/* Of unequal rows of block formats: squared errors of our encoder's rows and of those stored, and
 * what the gain follows from. */
typedef struct sums {
    double ours, theirs, excess, norm;
} sums;

/* One comparison under way. Arrays are of all matrices end to end, and point at the rows of the one
 * at hand. */
typedef struct check {
    const wa_encoding_pair *pairs; /* [count] */
    size_t count;
    const wa_matrix *stored, *model; /* of the pair at hand */
    wa_matrix raw;                   /* the stored matrix without through_f16 */
    size_t rows, cols;               /* of each stored matrix */
    float offset;                    /* of the pair */
    size_t first;                    /* rows of the matrices before */
    double *error;                   /* [rows] sum of squared differences, then the error */
    double *square;                  /* [rows] sum of squares of the model's row */
    double *own;                     /* [rows] of unequal rows: norm of our encoder's error */
    uint8_t *known;                  /* [rows] DIFFERS, NO_HALF */
    float *stored_row;               /* [cols] when not in place */
    float *raw_row;                  /* [cols] */
    float *made_row;                 /* [cols] a re-encoding decoded, or what is to be encoded */
    uint8_t *made;                   /* [made_bytes] a re-encoding */
    size_t made_bytes;               /* 0: no re-encoding */
    bool levels;  /* blocks, held against the nearest levels of their stored scales */
    source usual; /* what fitted last, tried first */
    sums unequal; /* of all matrices */
    wa_row_error out;
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

/* The same, and the sum of (a - b) * b. */
WA_CLONES static void measure(const float *restrict a, const float *restrict b, size_t n,
                              double *restrict difference, double *restrict square,
                              double *restrict excess)
{
    double x[LANES] = {0};
    size_t body = n - n % LANES;
    for (size_t i = 0; i < body; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            x[k] += ((double)a[i + k] - (double)b[i + k]) * (double)b[i + k];
    for (size_t i = body; i < n; i++)
        x[i - body] += ((double)a[i] - (double)b[i]) * (double)b[i];
    for (size_t k = 0; k < LANES; k++)
        *excess += x[k];
    compare(a, b, n, difference, square);
}

static const float *row_of(const wa_matrix *matrix, size_t row, float *space)
{
    const float *rows = wa_matrix_in_place(matrix);
    if (rows != NULL)
        return rows + row * matrix->cols;
    wa_matrix_decode(matrix, row, 1, space);
    return space;
}

/* --- Floats ---------------------------------------------------------------------------------- */

/*
 * Is `stored` what some rounding to f16 makes of `model`: one of its two neighbours, itself where
 * that is an f16 value, or a zero for what lies below the normal ones? Both are bits of an f32
 * without the sign.
 */
static inline uint32_t is_half_of(uint32_t stored, uint32_t model)
{
    uint32_t below = model & ~0x1fffU, exact = (model & 0x1fffU) == 0;
    uint32_t normal = (stored == below) | ((stored == below + 0x2000U) & !exact);
    float m, s;
    memcpy(&m, &model, sizeof m);
    memcpy(&s, &stored, sizeof s);
    /* Below 2^-14 f16 values are multiples of 2^-24; the products are exact, and clamped for the
     * conversion. */
    float steps = m * 0x1p24F, at = s * 0x1p24F;
    steps = steps < 4096.0F ? steps : 4096.0F;
    at = at < 4096.0F ? at : 4096.0F;
    float floor = (float)(int32_t)steps;
    uint32_t tiny = (at == 0.0F) | (at == floor) | ((at == floor + 1.0F) & (floor != steps));
    return model < 0x38800000U ? tiny : normal;
}

/* Any of these values other than its bits tell: DIFFERS and NO_HALF. Zeros of either sign are the
 * same. */
WA_CLONES static void compare_any(const float *restrict stored, const float *restrict model,
                                  size_t n, uint32_t *restrict differs, uint32_t *restrict no_half)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t s, m;
        memcpy(&s, stored + i, sizeof s);
        memcpy(&m, model + i, sizeof m);
        uint32_t size_s = s & 0x7fffffffU, size_m = m & 0x7fffffffU;
        uint32_t same_sign = ((s ^ m) >> 31 == 0) | (size_s == 0);
        *differs |= (size_s != size_m) | !same_sign;
        *no_half |= !(is_half_of(size_s, size_m) & same_sign);
    }
}

/*
 * The same, by integers alone, for values of the model's that are zero or normal in f16. False,
 * with nothing told, when some are not, or when some stored value is no neighbour: perhaps a zero
 * of the other sign.
 */
WA_CLONES static bool compare_normal(const float *restrict stored, const float *restrict model,
                                     size_t n, uint32_t *restrict differs)
{
    uint32_t change = 0, other = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t s, m;
        memcpy(&s, stored + i, sizeof s);
        memcpy(&m, model + i, sizeof m);
        uint32_t above = s - (m & ~0x1fffU), exact = (m & 0x1fffU) == 0;
        change |= s ^ m;
        other |= (above != 0) & ((above != 0x2000U) | exact);
        other |= (m & 0x7fffffffU) - 1U < 0x38800000U - 1U;
    }
    if (other != 0)
        return false;
    *differs |= change;
    return true;
}

/* DIFFERS and NO_HALF of a row. */
static uint8_t compare_floats(const float *restrict stored, const float *restrict model, size_t n)
{
    enum { STRETCH = 64 };
    uint32_t differs = 0, no_half = 0;
    for (size_t i = 0; i < n; i += STRETCH) {
        size_t left = n - i < STRETCH ? n - i : STRETCH;
        if (!compare_normal(stored + i, model + i, left, &differs))
            compare_any(stored + i, model + i, left, &differs, &no_half);
    }
    return (uint8_t)((differs != 0 ? DIFFERS : 0) | (no_half != 0 ? NO_HALF : 0));
}

/*
 * Is a value no rounding of the model's to bf16: neither of its two neighbours, nor itself where
 * that is a bf16 value? Zeros of either sign are the same; from the largest value the next is
 * infinity, which is told elsewhere.
 */
WA_CLONES static bool is_no_bf16(const float *restrict stored, const float *restrict model,
                                 size_t n)
{
    uint32_t wrong = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t s, m;
        memcpy(&s, stored + i, sizeof s);
        memcpy(&m, model + i, sizeof m);
        uint32_t below = m & ~0xffffU, exact = (m & 0xffffU) == 0;
        uint32_t near = (s == below) | ((s == below + 0x10000U) & !exact);
        uint32_t zeros = ((s | m) & 0x7fffffffU) == 0;
        wrong |= !(near | zeros);
    }
    return wrong != 0;
}

/* --- Block formats --------------------------------------------------------------------------- */

/* NULL: the model's weights are f16 values already, so that this source is the direct one. */
static const float *take_source(const check *c, source from, const float *model)
{
    if (from == DIRECT)
        return model;
    for (size_t i = 0; i < c->cols; i++)
        c->made_row[i] = wa_f16_to_f32(from == FROM_HALF ? wa_f32_to_f16(model[i])
                                                         : wa_f32_to_f16_larql(model[i]));
    return memcmp(c->made_row, model, c->cols * sizeof *model) != 0 ? c->made_row : NULL;
}

static bool is_made_from(check *c, source from, const float *model, const uint8_t *stored)
{
    const float *weights = take_source(c, from, model);
    if (weights == NULL)
        return false;
    wa_rows_encode(c->stored->format, weights, 1, c->cols, c->made);
    if (memcmp(c->made, stored, c->made_bytes) != 0)
        return false;
    c->usual = from;
    return true;
}

/* Last the direct source, whose re-encoding stays in c->made. */
static bool is_made_here(check *c, const float *model, const uint8_t *stored)
{
    if (is_made_from(c, c->usual, model, stored))
        return true;
    for (int from = SOURCES - 1; from >= DIRECT; from--)
        if (((source)from != c->usual || from == DIRECT) &&
            is_made_from(c, (source)from, model, stored))
            return true;
    return false;
}

static bool are_equal_values(const float *a, const float *b, size_t n)
{
    bool equal = true;
    for (size_t i = 0; i < n; i++)
        equal = equal && (a[i] == b[i] || (isnan(a[i]) && isnan(b[i])));
    return equal;
}

/* A row's gain, less what the format does to the row: one so small that it is dropped is nobody's
 * fault. */
static void take_gain(check *c, size_t r, double gain, double own)
{
    gain = fabs(gain) > own ? gain - copysign(own, gain) : isnan(gain) ? gain : 0.0;
    if (!(fabs(gain) <= fabs(c->out.row_gain))) {
        c->out.row_gain = gain;
        c->out.row_gain_row = (int32_t)(c->first + r);
    }
}

/*
 * A row that no encoder here makes: into the sums, and to its extremes.
 *
 * own   what our encoding changes of the row's length
 * lost  what the rounding of subnormal scales may add to the error that is expected, of its norm
 */
static void add_unequal(check *c, size_t r, const sums *row, double steps, double own, double lost)
{
    c->unequal.ours += row->ours;
    c->unequal.theirs += row->theirs;
    c->unequal.excess += row->excess;
    c->unequal.norm += row->norm;
    c->own[r] = sqrt(row->ours) + lost * sqrt(row->norm);
    if (!(steps <= c->out.steps)) {
        c->out.steps = steps;
        c->out.steps_row = (int32_t)(c->first + r);
    }
    take_gain(c, r, row->norm > 0.0 ? row->excess / row->norm : 0.0, own);
}

static void compare_blocks(check *c, size_t r, const float *model)
{
    const uint8_t *stored = c->stored->data + r * c->stored->row_bytes;
    if (is_made_here(c, model, stored))
        return;
    wa_matrix made = c->raw;
    made.data = c->made;
    made.row_bytes = c->made_bytes;
    made.rows = 1;
    wa_matrix_decode(&made, 0, 1, c->made_row);
    wa_matrix_decode(&c->raw, r, 1, c->raw_row);
    if (are_equal_values(c->made_row, c->raw_row, c->cols))
        return;
    c->known[r] |= DIFFERS;
    sums own = {0}, row = {0};
    measure(c->made_row, model, c->cols, &row.ours, &own.norm, &own.excess);
    measure(c->raw_row, model, c->cols, &row.theirs, &row.norm, &row.excess);
    add_unequal(c, r, &row, (double)wa_row_steps(c->stored->format, stored, model, c->cols),
                own.norm > 0.0 ? fabs(own.excess) / own.norm : 0.0, 0.0);
}

/* A row of a checkpoint's blocks. One that has the model's very values is right, whoever made
 * it. */
static void compare_levels(check *c, size_t r, const float *model, const float *stored)
{
    if (are_equal_values(stored, model, c->cols))
        return;
    sums row = {0};
    double lost;
    c->known[r] |= DIFFERS;
    measure(stored, model, c->cols, &row.theirs, &row.norm, &row.excess);
    row.ours = wa_matrix_expected(c->stored, r, model, &lost);
    add_unequal(c, r, &row, (double)wa_matrix_steps(c->stored, r, model), lost, lost);
}

/* --- Rows ------------------------------------------------------------------------------------ */

static void compare_row(check *c, size_t r, const float *model)
{
    const float *stored = row_of(c->stored, r, c->stored_row);
    float apart[2];
    bool is_offset = c->offset != 0.0F; /* of a column */
    if (is_offset) {
        apart[0] = stored[0] - c->offset;
        apart[1] = model[0] - c->offset;
        stored = &apart[0];
        model = &apart[1];
    }
    compare(stored, model, is_offset ? 1 : c->cols, &c->error[r], &c->square[r]);
    if (c->levels)
        compare_levels(c, r, model, stored);
    else if (c->made_bytes > 0)
        compare_blocks(c, r, model);
    else
        c->known[r] = compare_floats(stored, model, c->cols);
    /* a vector that was decoded does not say what it was */
    bool may_be_bf16 = c->stored->format == WA_FORMAT_BF16 || c->cols == 1;
    if (may_be_bf16 && is_no_bf16(stored, model, c->cols))
        c->known[r] |= NO_BF16;
}

static wa_status compare_rows(check *c, wa_arena *arena, wa_error *err)
{
    float *row;
    WA_TRY(wa_arena_take_raw(arena, c->cols, sizeof *row, &row, err));
    for (size_t r = 0; r < c->rows; r++)
        compare_row(c, r, row_of(c->model, r, row));
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
static void turn_band(const check *c, size_t first, size_t width, float *tile, float *out)
{
    wa_matrix band = wa_matrix_columns(c->model, first, width);
    for (size_t h = 0; h < c->cols; h += TILE) {
        size_t height = c->cols - h < TILE ? c->cols - h : TILE;
        wa_matrix_decode(&band, h, height, tile);
        turn(tile, height, width, h, c->cols, out);
    }
}

static wa_status compare_transposed(check *c, wa_arena *arena, wa_error *err)
{
    size_t band = BAND_BYTES / sizeof(float) / c->cols / UNIT * UNIT;
    band = band == 0 ? UNIT : band;
    band = band > c->rows ? c->rows : band;
    float *tile, *turned;
    WA_TRY(wa_arena_take_raw(arena, TILE * band, sizeof *tile, &tile, err));
    WA_TRY(wa_arena_take_raw(arena, band * c->cols, sizeof *turned, &turned, err));
    for (size_t first = 0; first < c->rows; first += band) {
        size_t width = c->rows - first < band ? c->rows - first : band;
        turn_band(c, first, width, tile, turned);
        for (size_t f = 0; f < width; f++)
            compare_row(c, first + f, turned + f * c->cols);
    }
    return WA_OK;
}

/* --- All rows --------------------------------------------------------------------------------- */

/*
 * What a float matrix is held against, and which flag breaks it. A file whose every value rounds to
 * f16 counts as one of f16 values; of a file that breaks both, what fewer of its rows break is what
 * it was meant to be.
 */
static uint8_t choose_basis(const check *c, wa_encoding_basis *basis)
{
    size_t differ = 0, no_half = 0, no_bf16 = 0;
    if (c->levels) {
        *basis = WA_BASIS_LEVELS;
        return DIFFERS;
    }
    if (c->stored->format == WA_FORMAT_BF16) {
        *basis = WA_BASIS_BF16;
        return NO_BF16;
    }
    for (size_t r = 0; r < c->out.rows; r++) {
        differ += (c->known[r] & DIFFERS) != 0;
        no_half += (c->known[r] & NO_HALF) != 0;
        no_bf16 += (c->known[r] & NO_BF16) != 0;
    }
    if (c->cols == 1 && no_bf16 < no_half && no_bf16 < differ) {
        *basis = WA_BASIS_BF16;
        return NO_BF16;
    }
    bool half = c->stored->format == WA_FORMAT_F16 || (differ > 0 && no_half < differ);
    *basis = c->made_bytes > 0 ? WA_BASIS_REENCODING : half ? WA_BASIS_F16 : WA_BASIS_EQUALITY;
    return half && c->made_bytes == 0 && differ > 0 ? NO_HALF : DIFFERS;
}

static size_t count_nonfinite(const float *row, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += isfinite(row[i]) ? 0 : 1;
    return count;
}

static bool is_worse(double error, double than)
{
    return error > than || (isnan(error) && !isnan(than));
}

static bool has_ratios(const check *c)
{
    return (c->made_bytes > 0 || c->levels) && c->unequal.norm > 0.0;
}

/*
 * The error of some rows over that of our encoder: from sums of squares. A row that our encoder
 * gives better than the others, by its grid or by chance, is held against the error of all,
 * `usual`, a share of the norm.
 */
static double ratio_of(double theirs, double own, double norm, double usual)
{
    double least = usual * usual * norm;
    return theirs == 0.0 ? 0.0 : sqrt(theirs / (own > least ? own : least));
}

/* Of matrix i and of each of its rows by themselves, since all together dilute them. */
static void take_ratios(check *c, size_t i, double usual, wa_encoding_part *part)
{
    double theirs = 0.0, own = 0.0, norm = 0.0, worst = 0.0;
    int32_t worst_row = -1;
    for (size_t r = i * c->rows; r < (i + 1) * c->rows; r++) {
        if ((c->known[r] & DIFFERS) == 0)
            continue;
        double ours = c->own[r] * c->own[r];
        double ratio = ratio_of(c->error[r], ours, c->square[r], usual);
        theirs += c->error[r];
        own += ours;
        norm += c->square[r];
        if (worst_row < 0 || is_worse(ratio, worst)) {
            worst = ratio;
            worst_row = (int32_t)r;
        }
    }
    double whole = ratio_of(theirs, own, norm, usual);
    if (worst_row >= 0 && (c->out.row_ratio_row < 0 || is_worse(worst, c->out.row_ratio))) {
        c->out.row_ratio = worst;
        c->out.row_ratio_row = worst_row;
    }
    if (worst_row >= 0 && (c->out.part_ratio_row < 0 || is_worse(whole, c->out.part_ratio))) {
        c->out.part_ratio = whole;
        c->out.part_ratio_row = worst_row;
    }
    if (part != NULL)
        part->ratio = whole;
}

/* Sums of squares to errors, by the RMS row norm of matrix i; of rows with values that are no
 * numbers NaN. */
static void make_errors(check *c, size_t i)
{
    double sum = 0.0, *squares = c->square + i * c->rows, *errors = c->error + i * c->rows;
    for (size_t r = 0; r < c->rows; r++)
        sum += squares[r];
    double mean_square = sum / (double)c->rows;
    for (size_t r = 0; r < c->rows; r++) {
        double distance = sqrt(errors[r]);
        double square = squares[r] > mean_square ? squares[r] : mean_square;
        double error = distance == 0.0 ? 0.0 : distance / sqrt(square);
        errors[r] = isfinite(distance) ? error : NAN;
    }
}

static void finish_parts(check *c, wa_encoding_part *parts)
{
    double usual = has_ratios(c) ? sqrt(c->unequal.ours / c->unequal.norm) : 0.0;
    usual = usual > OWN_GRID ? usual : OWN_GRID;
    for (size_t i = 0; i < c->count; i++) {
        if (has_ratios(c))
            take_ratios(c, i, usual, parts == NULL ? NULL : &parts[i]);
        make_errors(c, i);
    }
}

/* Of each matrix by itself: its worst row, and how many rows `flag` is set of. */
static void count_parts(const check *c, uint8_t flag, wa_encoding_part *parts)
{
    for (size_t i = 0; parts != NULL && i < c->count; i++) {
        wa_encoding_part part = {.row = 0, .ratio = parts[i].ratio};
        for (size_t r = 0; r < c->rows; r++) {
            size_t at = i * c->rows + r;
            part.row = is_worse(c->error[at], c->error[i * c->rows + (size_t)part.row]) ? (int32_t)r
                                                                                        : part.row;
            part.unequal += (c->known[at] & flag) != 0 ? 1 : 0;
        }
        part.max = c->error[i * c->rows + (size_t)part.row];
        parts[i] = part;
    }
}

/* How many rows are not equal, and which of them is worst. */
static void count_unequal(check *c, wa_encoding_part *parts)
{
    uint8_t flag = choose_basis(c, &c->out.basis);
    count_parts(c, flag, parts);
    for (size_t r = 0; r < c->out.rows; r++) {
        if ((c->known[r] & flag) == 0)
            continue;
        c->out.unequal++;
        if (c->out.unequal_row < 0 || is_worse(c->error[r], c->error[c->out.unequal_row]))
            c->out.unequal_row = (int32_t)r;
    }
    if (c->out.unequal > 0)
        c->out.unequal_error = c->error[c->out.unequal_row];
    if ((c->made_bytes == 0 && !c->levels) || c->out.unequal == 0)
        return;
    const sums *s = &c->unequal;
    c->out.ratio = ratio_of(s->theirs, s->ours, s->norm, OWN_GRID);
    c->out.gain = s->norm > 0.0 ? s->excess / s->norm : 0.0;
}

/* Errors that are no numbers leave the quantiles; the first such row is the worst. */
static void summarise(check *c)
{
    wa_row_error *out = &c->out;
    size_t finite = 0;
    for (size_t r = 0; r < out->rows; r++) {
        double error = c->error[r];
        if (isnan(error))
            out->nonfinite += count_nonfinite(
                row_of(&c->pairs[r / c->rows].stored, r % c->rows, c->stored_row), c->cols);
        bool first_broken = isnan(error) && !isnan(out->max);
        if (first_broken || error > out->max || out->worst_row < 0) {
            out->max = error;
            out->worst_row = (int32_t)r;
        }
        if (!isnan(error))
            c->error[finite++] = error;
    }
    size_t sorted_from = 0;
    out->p50 = wa_quantile(c->error, finite, 0.50, &sorted_from);
    out->p99 = wa_quantile(c->error, finite, 0.99, &sorted_from);
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

static wa_status take_rows(check *c, wa_arena *arena, wa_error *err)
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

/* The rows of matrix i, by a view of the check in which the arrays begin with them. */
static wa_status compare_pair(check *all, size_t i, bool transpose_model, wa_arena *arena,
                              wa_error *err)
{
    check c = *all;
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
    check c = {.pairs = pairs,
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
        finish_parts(&c, parts);
        count_unequal(&c, parts);
        summarise(&c);
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

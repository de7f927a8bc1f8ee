/* What the rows of a comparison give together: what they are held against, how many are not equal
 * and which is worst, their errors beside those of our encoder, quantiles. */
#include "path/encoding_state.h"

#include "base/quantile.h"

#include <math.h>

/* A matrix that our encoder reproduces more exactly lies on that encoder's own grid, and its error
 * is no measure. */
static const double OWN_GRID = 1e-2;

/*
 * What a float matrix is held against, and which flag breaks it. A file whose every value rounds to
 * f16 counts as one of f16 values; of a file that breaks both, what fewer of its rows break is what
 * it was meant to be.
 */
static uint8_t choose_basis(const wa_encoding *c, wa_encoding_basis *basis)
{
    size_t differ = 0, no_half = 0, no_bf16 = 0;
    if (c->levels) {
        *basis = WA_BASIS_LEVELS;
        return WA_ROW_DIFFERS;
    }
    if (c->stored->format == WA_FORMAT_BF16) {
        *basis = WA_BASIS_BF16;
        return WA_ROW_NO_BF16;
    }
    for (size_t r = 0; r < c->out.rows; r++) {
        differ += (c->known[r] & WA_ROW_DIFFERS) != 0;
        no_half += (c->known[r] & WA_ROW_NO_HALF) != 0;
        no_bf16 += (c->known[r] & WA_ROW_NO_BF16) != 0;
    }
    if (c->cols == 1 && no_bf16 < no_half && no_bf16 < differ) {
        *basis = WA_BASIS_BF16;
        return WA_ROW_NO_BF16;
    }
    bool half = c->stored->format == WA_FORMAT_F16 || (differ > 0 && no_half < differ);
    *basis = c->made_bytes > 0 ? WA_BASIS_REENCODING : half ? WA_BASIS_F16 : WA_BASIS_EQUALITY;
    return half && c->made_bytes == 0 && differ > 0 ? WA_ROW_NO_HALF : WA_ROW_DIFFERS;
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

static bool has_ratios(const wa_encoding *c)
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
static void take_ratios(wa_encoding *c, size_t i, double usual, wa_encoding_part *part)
{
    double theirs = 0.0, own = 0.0, norm = 0.0, worst = 0.0;
    int32_t worst_row = -1;
    for (size_t r = i * c->rows; r < (i + 1) * c->rows; r++) {
        if ((c->known[r] & WA_ROW_DIFFERS) == 0)
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
static void make_errors(wa_encoding *c, size_t i)
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

static void finish_parts(wa_encoding *c, wa_encoding_part *parts)
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
static void count_parts(const wa_encoding *c, uint8_t flag, wa_encoding_part *parts)
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
static void count_unequal(wa_encoding *c, wa_encoding_part *parts)
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
    const wa_encoding_sums *s = &c->unequal;
    c->out.ratio = ratio_of(s->theirs, s->ours, s->norm, OWN_GRID);
    c->out.gain = wa_encoding_gain(s);
}

/* Errors that are no numbers leave the quantiles; the first such row is the worst. */
static void summarise(wa_encoding *c)
{
    wa_row_error *out = &c->out;
    size_t finite = 0;
    for (size_t r = 0; r < out->rows; r++) {
        double error = c->error[r];
        if (isnan(error))
            out->nonfinite += count_nonfinite(
                wa_encoding_row_of(&c->pairs[r / c->rows].stored, r % c->rows, c->stored_row),
                c->cols);
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

void wa_encoding_make_figures(wa_encoding *c, wa_encoding_part *parts)
{
    finish_parts(c, parts);
    count_unequal(c, parts);
    summarise(c);
}

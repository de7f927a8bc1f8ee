/* Limits and judgement of ENCODING. doc/encoding.md has the measurements behind the limits. */
#include "judge/encoding.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *wa_encoder_word(wa_encoder encoder)
{
    static const char *const words[] = {
#define ENCODER_WORD(id, word, meaning) [WA_ENCODER_##id] = (word),
        WA_ENCODER_LIST(ENCODER_WORD)
#undef ENCODER_WORD
    };
    return words[encoder];
}

bool wa_encoder_parse(const char *word, wa_encoder *out)
{
    for (int e = 0; e < WA_ENCODER_COUNT; e++)
        if (strcmp(word, wa_encoder_word((wa_encoder)e)) == 0) {
            *out = (wa_encoder)e;
            return true;
        }
    return false;
}

const char *wa_encoding_rule_word(wa_encoding_rule rule)
{
    static const char *const words[] = {
#define RULE_WORD(id, word) [WA_ENCODING_RULE_##id] = (word),
        WA_ENCODING_RULE_LIST(RULE_WORD)
#undef RULE_WORD
    };
    return words[rule];
}

const char *wa_encoding_statistic_word(wa_encoding_statistic statistic)
{
    static const char *const words[] = {
#define STATISTIC_WORD(id, word) [WA_ENCODING_STATISTIC_##id] = (word),
        WA_ENCODING_STATISTIC_LIST(STATISTIC_WORD)
#undef STATISTIC_WORD
    };
    return words[statistic];
}

/* --- Limits ---------------------------------------------------------------------------------- */

/* The largest |value| of each statistic that a matrix may show. */
typedef struct limits {
    double steps, ratio, gain, row_gain, row_ratio;
} limits;

/*
 * Of formats of blocks, a row for each; of floats each value has its neighbours instead, which are
 * 2^-7 of it away in bf16 and 2^-10 in f16 (compare_row of path/encoding.c):
 *
 * reencoded  payloads of a vindex that another encoder than LARQL's made; the ratio is to LARQL's
 *            encoder. Formats without it have no encoder of LARQL's.
 * levels     a checkpoint's blocks, whoever made them; the ratio is to what the format is expected
 *            to make of the model's rows (wa_matrix_expected), whose scales are not rounded
 *
 * Codes of nearest levels keep `steps` to 0.5 (a half and rounding); Q4_0 to 0.63 where the scale
 * is refitted after the codes are chosen; Q2_K beyond, since a sub-block that lost its scale rounds
 * its min all the same. Few levels make rows longer or shorter by their error alone, and MXFP4 cuts
 * what lies between 6 and 8 of a scale. A row's error varies more than that of all rows: FP8's with
 * where its scale lies between two powers of two. doc/encoding.md 3 and 5 have what healthy files of
 * several encoders show, by which each of these was chosen.
 */
static const struct {
    limits reencoded, levels;
} LIMITS[WA_FORMAT_COUNT] = {
    [WA_FORMAT_GGML_Q4_0] = {{0.70, 1.15, 0.030, 0.08, 2.0}, {0.70, 1.25, 0.030, 0.08, 2.0}},
    [WA_FORMAT_Q4_0] = {{0.70, 1.15, 0.030, 0.08, 2.0}, {0.70, 1.25, 0.030, 0.08, 2.0}},
    [WA_FORMAT_GGML_Q4_1] = {.levels = {0.55, 1.25, 0.015, 0.04, 2.0}},
    [WA_FORMAT_GGML_Q5_0] = {.levels = {0.55, 1.25, 0.015, 0.04, 2.0}},
    [WA_FORMAT_GGML_Q5_1] = {.levels = {0.55, 1.25, 0.015, 0.04, 2.0}},
    [WA_FORMAT_GGML_Q8_0] = {.levels = {0.55, 1.25, 0.015, 0.04, 2.0}},
    [WA_FORMAT_Q4_K] = {{0.55, 1.05, 0.015, 0.04, 2.0}, {0.55, 1.25, 0.015, 0.04, 2.0}},
    [WA_FORMAT_GGML_Q5_K] = {.levels = {0.55, 1.25, 0.015, 0.04, 2.0}},
    [WA_FORMAT_GGML_Q6_K] = {{0.55, 1.05, 0.015, 0.04, 2.0}, {0.55, 1.25, 0.015, 0.04, 2.0}},
    [WA_FORMAT_Q6_K] = {{0.55, 1.05, 0.015, 0.04, 2.0}, {0.55, 1.25, 0.015, 0.04, 2.0}},
    [WA_FORMAT_FP4] = {{0.55, 1.05, 0.025, 0.08, 2.0}, {0.55, 1.25, 0.025, 0.08, 2.0}},
    [WA_FORMAT_FP8] = {{0.55, 1.10, 0.025, 0.08, 2.5}, {0.55, 1.25, 0.025, 0.08, 2.5}},
    [WA_FORMAT_E4M3] = {.levels = {0.55, 1.25, 0.025, 0.08, 2.5}},
    [WA_FORMAT_GGML_Q2_K] = {.levels = {0.90, 1.25, 0.060, 0.16, 2.0}},
    [WA_FORMAT_GGML_Q3_K] = {.levels = {0.55, 1.25, 0.050, 0.12, 2.0}},
    [WA_FORMAT_GGML_IQ4_NL] = {.levels = {0.55, 1.25, 0.015, 0.08, 2.0}},
    [WA_FORMAT_GGML_IQ4_XS] = {.levels = {0.55, 1.25, 0.015, 0.08, 2.0}},
    [WA_FORMAT_GGML_MXFP4] = {.levels = {0.55, 1.25, 0.100, 0.35, 2.0}},
    [WA_FORMAT_E2M1] = {.levels = {0.55, 1.25, 0.100, 0.35, 2.0}},
};

/* Codes that are no nearest levels: any distance, and an error that may double, without a change of
 * length. */
static limits widen(limits l)
{
    l.steps = INFINITY;
    l.ratio = 2.0;
    l.row_gain *= 2.0; /* what is left to chance in a row grows with the error */
    l.row_ratio *= 2.0;
    return l;
}

/* Of the rows of one expert, which are fewer than all, and of which few may be unequal: a third of
 * the way to what one row may show. */
static double expert_limit(const limits *l)
{
    return l->ratio + (l->row_ratio - l->ratio) / 3.0;
}

/* The share of unequal rows from which on a matrix is another encoder's. An encoder of FP4 that
 * rounds its scales up instead of to nearest gives LARQL's bytes in half of all rows of one block,
 * so that a half itself is no sign. */
static const double OTHERS = 0.25;

/* --- Judgement ------------------------------------------------------------------------------- */

static bool is_number(const wa_row_error *rows)
{
    return rows->nonfinite == 0 && isfinite(rows->max) && isfinite(rows->p99);
}

/* Rows that the rule does not give. By the nominal error, so that a wrong row is worse than a wrong
 * bit. */
static wa_encoding_finding unequal(const wa_encoding_figure *figure, wa_encoding_rule rule)
{
    const wa_row_error *rows = &figure->rows;
    wa_encoding_finding found = {.faithful = rows->unequal == 0,
                                 .rule = rule,
                                 .statistic = WA_ENCODING_STATISTIC_UNEQUAL,
                                 .value = (double)rows->unequal,
                                 .row = rows->unequal_row};
    if (!found.faithful)
        found.excess = 1.0 + rows->unequal_error / figure->nominal_bound;
    if (isnan(found.excess))
        found.excess = INFINITY;
    return found;
}

/* The statistic nearest to its limit, or farthest beyond. */
static wa_encoding_finding foreign(const wa_encoding_figure *figure, wa_encoder encoder)
{
    const wa_row_error *rows = &figure->rows;
    bool any = rows->basis == WA_BASIS_LEVELS;
    const limits *own = any ? &LIMITS[figure->format].levels : &LIMITS[figure->format].reencoded;
    const limits l = encoder == WA_ENCODER_COMPENSATING ? widen(*own) : *own;
    const struct {
        wa_encoding_statistic statistic;
        double value, limit;
        int32_t row;
    } tests[] = {
        {WA_ENCODING_STATISTIC_STEPS, rows->steps, l.steps, rows->steps_row},
        {WA_ENCODING_STATISTIC_RATIO, rows->ratio, l.ratio, -1},
        {WA_ENCODING_STATISTIC_GAIN, rows->gain, l.gain, -1},
        {WA_ENCODING_STATISTIC_ROW_GAIN, rows->row_gain, l.row_gain, rows->row_gain_row},
        {WA_ENCODING_STATISTIC_EXPERT_RATIO, rows->part_ratio, expert_limit(&l),
         rows->part_ratio_row},
        {WA_ENCODING_STATISTIC_ROW_RATIO, rows->row_ratio, l.row_ratio, rows->row_ratio_row}};
    wa_encoding_finding found = {.rule = encoder == WA_ENCODER_COMPENSATING
                                             ? WA_ENCODING_RULE_COMPENSATING
                                             : WA_ENCODING_RULE_FOREIGN,
                                 .excess = -1.0};
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        double excess = fabs(tests[i].value) / tests[i].limit;
        if (isnan(excess))
            excess = INFINITY;
        if (excess <= found.excess)
            continue;
        found.excess = excess;
        found.statistic = tests[i].statistic;
        found.value = tests[i].value;
        found.limit = tests[i].limit;
        found.row = tests[i].row;
    }
    found.faithful = found.excess <= 1.0;
    return found;
}

wa_encoding_finding wa_encoding_judge(const wa_encoding_figure *figure, wa_encoder encoder)
{
    const wa_row_error *rows = &figure->rows;
    if (!figure->checked)
        return (wa_encoding_finding){.faithful = true, .row = -1};
    if (!is_number(rows))
        return (wa_encoding_finding){.statistic = WA_ENCODING_STATISTIC_NON_FINITE,
                                     .value = (double)rows->nonfinite,
                                     .excess = INFINITY,
                                     .row = rows->worst_row};
    switch (rows->basis) {
    case WA_BASIS_EQUALITY:
        return unequal(figure, WA_ENCODING_RULE_EQUALITY);
    case WA_BASIS_F16:
        return unequal(figure, WA_ENCODING_RULE_F16);
    case WA_BASIS_BF16:
        return unequal(figure, WA_ENCODING_RULE_BF16);
    /* of no encoder in particular: every row that is not the model's own is judged so */
    case WA_BASIS_LEVELS:
        return foreign(figure, encoder);
    case WA_BASIS_REENCODING:
        /* The limit follows from how many rows are equal, never from how large the errors are: else
         * a fault in every row would earn itself the wide limits. */
        if ((double)rows->unequal < OTHERS * (double)rows->rows || rows->unequal == 0)
            return unequal(figure, WA_ENCODING_RULE_REENCODING);
        return foreign(figure, encoder);
    default: /* nothing says what to hold it against */
        return (wa_encoding_finding){.excess = INFINITY, .row = -1};
    }
}

void wa_encoding_name_row(size_t which, int32_t experts, size_t rows, int32_t row, char *out)
{
    bool own = which < WA_PROJECTION_COUNT;
    size_t place = own ? 0 : which - WA_PROJECTION_COUNT;
    bool stacked = own || wa_beside_payload(place) == WA_PAYLOAD_BIASES;
    const char *name = own ? wa_projection_name((wa_projection)which) : wa_beside_name(place);
    int32_t each = experts > 0 ? (int32_t)(rows / (size_t)experts) : 0;
    if (row < 0)
        snprintf(out, WA_ENCODING_PLACE_BYTES, "%s%s", name,
                 own && experts > 0 ? " of experts" : "");
    else if (stacked && each > 0)
        snprintf(out, WA_ENCODING_PLACE_BYTES, "expert %d, %s, row %d", row / each, name,
                 row % each);
    else
        snprintf(out, WA_ENCODING_PLACE_BYTES, "%s, row %d", name, row);
}

/* --- Words ----------------------------------------------------------------------------------- */

static wa_status explain_unequal(const wa_encoding_figure *figure,
                                 const wa_encoding_finding *finding, wa_arena *arena, char **out,
                                 wa_error *err)
{
    static const char REENCODING[] =
        "are not LARQL's encoding of the model's rows, though the others are";
    static const char *const ends[] = {
        [WA_ENCODING_RULE_EQUALITY] = "are not the model's values",
        [WA_ENCODING_RULE_F16] = "hold values that no rounding to f16 gives",
        [WA_ENCODING_RULE_BF16] = "hold values that no rounding to bf16 gives",
        [WA_ENCODING_RULE_REENCODING] = REENCODING};
    const wa_row_error *rows = &figure->rows;
    return wa_arena_print(arena, out, err, "%zu of %zu rows %s; the row's error is %.3g",
                          rows->unequal, rows->rows, ends[finding->rule], rows->unequal_error);
}

static const char *whose(wa_encoding_statistic statistic)
{
    return statistic == WA_ENCODING_STATISTIC_ROW_RATIO      ? " of this row"
           : statistic == WA_ENCODING_STATISTIC_EXPERT_RATIO ? " of all rows of this expert"
                                                             : "";
}

wa_status wa_encoding_explain(const wa_encoding_figure *figure, const wa_encoding_finding *finding,
                              wa_arena *arena, char **out, wa_error *err)
{
    switch (finding->statistic) {
    case WA_ENCODING_STATISTIC_NON_FINITE:
        return wa_arena_print(arena, out, err,
                              "stored values are no finite numbers, %zu in the projection",
                              figure->rows.nonfinite);
    case WA_ENCODING_STATISTIC_UNEQUAL:
        return explain_unequal(figure, finding, arena, out, err);
    case WA_ENCODING_STATISTIC_STEPS:
        return wa_arena_print(
            arena, out, err,
            "a weight lies %.3g steps from its stored value, above the limit of %.3g "
            "for another encoder",
            finding->value, finding->limit);
    case WA_ENCODING_STATISTIC_RATIO:
    case WA_ENCODING_STATISTIC_ROW_RATIO:
    case WA_ENCODING_STATISTIC_EXPERT_RATIO:
        return wa_arena_print(arena, out, err, "the error%s is %.4g times %s, above %.4g",
                              whose(finding->statistic), finding->value,
                              figure->rows.basis == WA_BASIS_LEVELS
                                  ? "what its format is expected to make of the model's rows"
                                  : "that of LARQL's encoder",
                              finding->limit);
    case WA_ENCODING_STATISTIC_GAIN:
    case WA_ENCODING_STATISTIC_ROW_GAIN:
        return wa_arena_print(arena, out, err,
                              "its length is off by %+.3g of the model's, beyond %.3g",
                              finding->value, finding->limit);
    default:
        return wa_arena_print(arena, out, err, "nothing says what its rows were held against");
    }
}

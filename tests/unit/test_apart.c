/* Codes whose scales lie in a tensor of their own: values, views and spans. */
#include "codec/codec.h"

#include "golden.h"

#include <math.h>
#include <strings.h>

enum { MOST = 1024 };

/* A matrix of golden/blocks/apart.tsv, what it views on the heap, so that sanitizers see reads
 * beyond its end. */
typedef struct sample {
    wa_matrix matrix;
    uint8_t *codes, *scales;
    size_t code_bytes, scale_bytes;
    float values[MOST];
} sample;

static wa_format find_format(const char *name)
{
    for (int f = 0; f < WA_FORMAT_COUNT; f++)
        if (strcasecmp(wa_format_get((wa_format)f)->name, name) == 0)
            return (wa_format)f;
    return WA_FORMAT_COUNT;
}

static uint8_t *read_hex(const char *text, size_t *size)
{
    *size = strlen(text) / 2;
    uint8_t *out = malloc(*size);
    CU_ASSERT_FATAL(*size > 0 && out != NULL);
    for (size_t i = 0; i < *size; i++) {
        const char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return out;
}

static void read_sample(char *line, sample *s)
{
    enum { FIELDS = 9 };
    char *field[FIELDS], *rest = NULL;
    size_t number[FIELDS] = {0}, size;
    for (int i = 0; i < FIELDS; i++) {
        field[i] = strtok_r(i == 0 ? line : NULL, "\t\n", &rest);
        CU_ASSERT_FATAL(field[i] != NULL);
        number[i] = i >= 2 && i < 6 ? strtoul(field[i], NULL, 10) : 0;
    }
    s->codes = read_hex(field[6], &s->code_bytes);
    s->scales = read_hex(field[7], &s->scale_bytes);
    uint8_t *values = read_hex(field[8], &size);
    CU_ASSERT_FATAL(size <= sizeof s->values && size == number[2] * number[3] * sizeof *s->values);
    memcpy(s->values, values, size);
    free(values);
    wa_format format = find_format(field[0]), of_scale = find_format(field[1]);
    CU_ASSERT_FATAL(format < WA_FORMAT_COUNT && of_scale < WA_FORMAT_COUNT);
    s->matrix = (wa_matrix){
        .data = s->codes, .name = "golden", .format = format, .rows = number[2], .cols = number[3]};
    s->matrix.row_bytes = s->code_bytes / number[2];
    s->matrix.scales =
        (wa_scales){.data = s->scales, .format = of_scale, .rows = number[4], .cols = number[5]};
    s->matrix.scales.row_bytes = s->scale_bytes / (number[2] / number[4]);
}

static void for_each_sample(void (*check)(const sample *s))
{
    FILE *file = fopen(WA_GOLDEN "/blocks/apart.tsv", "r");
    char *line = NULL;
    size_t room = 0, samples = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    while (getline(&line, &room, file) > 0) {
        sample s;
        if (line[0] == '#')
            continue;
        read_sample(line, &s);
        check(&s);
        free(s.codes);
        free(s.scales);
        samples++;
    }
    CU_ASSERT_EQUAL(samples, 5);
    free(line);
    CU_ASSERT_EQUAL(fclose(file), 0);
}

static bool are_equal(const float *a, const float *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

/* --- values --- */

static void check_values(const sample *s)
{
    float fast[MOST], slow[MOST];
    const wa_matrix *m = &s->matrix;
    wa_matrix_decode(m, 0, m->rows, fast);
    wa_matrix_decode_ref(m, 0, m->rows, slow);
    CU_ASSERT(are_equal(fast, s->values, m->rows * m->cols));
    CU_ASSERT(memcmp(fast, slow, m->rows * m->cols * sizeof *fast) == 0);
    CU_ASSERT_EQUAL(wa_matrix_bytes(m), s->code_bytes + s->scale_bytes);
    CU_ASSERT_EQUAL(wa_matrix_span(m).size, s->code_bytes);
    CU_ASSERT_EQUAL(wa_matrix_scale_span(m).size, s->scale_bytes);
    CU_ASSERT_PTR_NULL(wa_matrix_in_place(m));
}

static void values_are_those_of_transformers(void)
{
    for_each_sample(check_values);
}

/* --- views --- */

/* A view of some rows and columns has the values of the whole, and its spans end where it ends. */
static void check_views(const sample *s)
{
    const wa_matrix *m = &s->matrix;
    size_t block = wa_format_get(m->format)->block_elements;
    for (size_t first = 0; first < m->rows; first++)
        for (size_t left = 0; left < m->cols; left += block * (block == 1 ? 11 : 1)) {
            float row[MOST];
            wa_matrix rows = wa_matrix_rows(m, first, m->rows - first);
            wa_matrix view = wa_matrix_columns(&rows, left, m->cols - left);
            for (size_t r = 0; r < view.rows; r++) {
                wa_matrix_decode(&view, r, 1, row);
                CU_ASSERT(are_equal(row, s->values + (first + r) * m->cols + left, view.cols));
            }
            wa_bytes codes = wa_matrix_span(&view), scales = wa_matrix_scale_span(&view);
            CU_ASSERT_PTR_EQUAL(codes.data + codes.size, s->codes + s->code_bytes);
            CU_ASSERT_PTR_EQUAL(scales.data + scales.size, s->scales + s->scale_bytes);
        }
}

static void views_have_their_own_scales(void)
{
    for_each_sample(check_views);
}

/* Rows of two matrices in turn, each with a row of scales: of the second one nothing lies behind
 * the end. */
static void check_turns(const sample *s)
{
    if (s->matrix.scales.rows != 1)
        return;
    for (size_t which = 0; which < 2; which++) {
        float out[MOST];
        wa_matrix m = s->matrix;
        m.rows = (m.rows + 1 - which) / 2;
        m.data += which * m.row_bytes;
        m.scales.data += which * m.scales.row_bytes;
        m.row_bytes *= 2;
        m.scales.row_bytes *= 2;
        wa_matrix_decode(&m, 0, m.rows, out);
        for (size_t r = 0; r < m.rows; r++)
            CU_ASSERT(are_equal(out + r * m.cols, s->values + (2 * r + which) * m.cols, m.cols));
        CU_ASSERT(wa_matrix_span(&m).data + wa_matrix_span(&m).size <= s->codes + s->code_bytes);
        CU_ASSERT(wa_matrix_scale_span(&m).data + wa_matrix_scale_span(&m).size <=
                  s->scales + s->scale_bytes);
    }
}

static void rows_in_turn_are_told_apart(void)
{
    for_each_sample(check_turns);
}

/* Heads of 4 rows, of which the first 4 are stored in pairs: logical row j * 2 + i is stored row 2
 * i + j. */
static void check_pairs(const sample *s)
{
    float out[MOST];
    wa_matrix m = s->matrix;
    if (m.rows % 4 != 0)
        return;
    m.order = WA_ROWS_ROPE_PAIRS;
    m.head_rows = m.pair_rows = 4;
    wa_matrix_decode(&m, 0, m.rows, out);
    for (size_t r = 0; r < m.rows; r++) {
        size_t stored = r / 4 * 4 + 2 * (r % 2) + r % 4 / 2;
        CU_ASSERT(are_equal(out + r * m.cols, s->values + stored * m.cols, m.cols));
    }
}

static void rows_in_pairs_keep_their_scales(void)
{
    for_each_sample(check_pairs);
}

/* --- statistics --- */

/* The stored values are no step away; one that is moved half way to the next level is half a step
 * away. */
static void check_steps(const sample *s)
{
    float row[MOST];
    const wa_matrix *m = &s->matrix;
    for (size_t r = 0; r < m->rows; r++) {
        wa_matrix_decode(m, r, 1, row);
        CU_ASSERT(wa_matrix_steps(m, r, row) < 1e-3F);
        for (size_t i = 0; i < m->cols; i++)
            /* a quarter to a half step of three bits, an eighth to a quarter of one bit */
            row[i] *= 1.03125F;
        CU_ASSERT(wa_matrix_steps(m, r, row) > 0.09F);
        CU_ASSERT(wa_matrix_steps(m, r, row) < 0.55F);
    }
}

static void steps_are_told_in_stored_scales(void)
{
    for_each_sample(check_steps);
}

/* The squared error of the nearest of all codes under a scale. */
static double error_of_nearest(const float *weights, size_t n, double scale)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        double least = INFINITY;
        for (int c = 0; c < 256; c++) {
            const uint8_t code = (uint8_t)c;
            float value;
            wa_format_get(WA_FORMAT_E4M3)->decode_ref(&code, 1, &value);
            /* NaN is passed over */
            least = fmin(least, fabs((double)value * scale - (double)weights[i]));
        }
        sum += least * least;
    }
    return sum;
}

/* The expected error is the mean over scales of an octave; of a row that is lost beside others all
 * is lost. */
static void the_expected_error_is_that_of_nearest_codes_under_any_scale(void)
{
    enum { N = 1024, SCALES = 8 };
    const uint8_t codes[2 * N] = {0};
    float weights[N], scale = 0.5F;
    uint64_t state = 5;
    const wa_matrix m = {.data = codes,
                         .name = "made",
                         .format = WA_FORMAT_E4M3,
                         .rows = 2,
                         .cols = N,
                         .row_bytes = N,
                         .scales = {.data = (const uint8_t *)&scale,
                                    .format = WA_FORMAT_F32,
                                    .row_bytes = 4,
                                    .rows = 2,
                                    .cols = N}};
    double error = 0.0;
    for (size_t i = 0; i < N; i++)
        weights[i] = (float)(wa_test_random(&state) >> 40) * 0x1p-20F - 8.0F; /* -8 to 8 */
    for (int s = 0; s < SCALES; s++)
        error += error_of_nearest(weights, N, exp2((double)s / SCALES) * 0x1p-5) / SCALES;
    wa_expected expected = wa_matrix_expected(&m, 0, weights);
    CU_ASSERT_DOUBLE_EQUAL(expected.error, error, 0.03 * error);
    CU_ASSERT(expected.lost < 1e-3);
    for (size_t i = 0; i < N; i++)
        weights[i] *= 0x1p-20F;
    CU_ASSERT_EQUAL(wa_matrix_expected(&m, 1, weights).lost, 1.0);
}

static void every_code_has_one_value(void)
{
    static const wa_format formats[] = {WA_FORMAT_E4M3, WA_FORMAT_E8M0};
    uint8_t all[256];
    float fast[256], slow[256];
    for (size_t i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    for (size_t f = 0; f < 2; f++) {
        wa_format_get(formats[f])->decode(all, 256, fast);
        wa_format_get(formats[f])->decode_ref(all, 256, slow);
        for (size_t i = 0; i < 256; i++)
            CU_ASSERT(isnan(slow[i]) ? isnan(fast[i])
                                     : memcmp(&fast[i], &slow[i], sizeof *fast) == 0);
        CU_ASSERT(isnan(fast[255]));
    }
    CU_ASSERT_EQUAL(fast[127], 1.0F);
    CU_ASSERT_EQUAL(fast[0], 0x1p-127F);
}

WA_SUITE("apart", WA_CASE(values_are_those_of_transformers), WA_CASE(views_have_their_own_scales),
         WA_CASE(rows_in_turn_are_told_apart), WA_CASE(rows_in_pairs_keep_their_scales),
         WA_CASE(steps_are_told_in_stored_scales),
         WA_CASE(the_expected_error_is_that_of_nearest_codes_under_any_scale),
         WA_CASE(every_code_has_one_value))

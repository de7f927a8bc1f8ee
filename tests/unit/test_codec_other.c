/* The encoder that is not LARQL's: nearest levels of what it stores, other bytes, and a fault when
 * it truncates. */
#include "codec/codec.h"
#include "suite.h"

#include <math.h>
#include <stdlib.h>

enum { ROWS = 16, COLS = 300, ROW_BYTES_MOST = 2 * 257 };
static const wa_format FORMATS[] = {WA_FORMAT_GGML_Q4_0, WA_FORMAT_GGML_Q6_K, WA_FORMAT_Q4_0,
                                    WA_FORMAT_Q4_K,      WA_FORMAT_Q6_K,      WA_FORMAT_FP4,
                                    WA_FORMAT_FP8};
enum { FORMAT_COUNT = sizeof FORMATS / sizeof FORMATS[0] };

/* Sums of uniform draws: bell-shaped, deviation about 0.03, and one row of zeros. */
static void fill(float *rows)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++) {
        double sum = -6.0;
        for (int k = 0; k < 12; k++) {
            state = state * 1664525U + 1013904223U;
            sum += (double)(state >> 8) * 0x1p-24;
        }
        rows[i] = i / COLS == 3 ? 0.0F : (float)(0.03 * sum);
    }
}

static float farthest(wa_format format, bool truncate, uint8_t *bytes)
{
    float rows[ROWS * COLS], most = 0.0F;
    size_t row_bytes;
    fill(rows);
    CU_ASSERT_TRUE_FATAL(wa_row_bytes(format, COLS, &row_bytes) && row_bytes <= ROW_BYTES_MOST);
    wa_rows_encode_other(format, truncate, rows, ROWS, COLS, bytes);
    for (size_t r = 0; r < ROWS; r++)
        most = fmaxf(most, wa_row_steps(format, bytes + r * row_bytes, rows + r * COLS, COLS));
    return most;
}

static void no_weight_lies_farther_than_half_a_step(void)
{
    static uint8_t bytes[ROWS * ROW_BYTES_MOST];
    for (int f = 0; f < FORMAT_COUNT; f++) {
        float most = farthest(FORMATS[f], false, bytes);
        CU_ASSERT(most > 0.4F && most < 0.505F);
    }
}

static void truncating_leaves_weights_nearly_a_step_away(void)
{
    static uint8_t bytes[ROWS * ROW_BYTES_MOST];
    for (int f = 0; f < FORMAT_COUNT; f++)
        CU_ASSERT(farthest(FORMATS[f], true, bytes) > 0.9F);
}

/* The error of a row of n levels is about that of LARQL's encoder; zeros stay zeros. */
static void its_rows_decode_to_the_weights_and_are_not_LARQLs(void)
{
    static uint8_t bytes[ROWS * ROW_BYTES_MOST], ours[ROWS * ROW_BYTES_MOST];
    float rows[ROWS * COLS], values[COLS];
    fill(rows);
    for (int f = 0; f < FORMAT_COUNT; f++) {
        size_t row_bytes;
        CU_ASSERT_TRUE_FATAL(wa_row_bytes(FORMATS[f], COLS, &row_bytes));
        (void)farthest(FORMATS[f], false, bytes);
        wa_rows_encode(FORMATS[f], rows, ROWS, COLS, ours);
        CU_ASSERT(memcmp(bytes, ours, ROWS * row_bytes) != 0);
        for (size_t r = 0; r < ROWS; r++) {
            wa_matrix one = {.data = bytes + r * row_bytes,
                             .format = FORMATS[f],
                             .rows = 1,
                             .cols = COLS,
                             .row_bytes = row_bytes};
            double difference = 0.0, norm = 0.0;
            wa_matrix_decode(&one, 0, 1, values);
            for (size_t c = 0; c < COLS; c++) {
                double d = (double)values[c] - (double)rows[r * COLS + c];
                difference += d * d;
                norm += (double)rows[r * COLS + c] * (double)rows[r * COLS + c];
            }
            CU_ASSERT(sqrt(difference) <= 0.15 * sqrt(norm));
        }
    }
}

WA_SUITE("codec_other", WA_CASE(no_weight_lies_farther_than_half_a_step),
         WA_CASE(truncating_leaves_weights_nearly_a_step_away),
         WA_CASE(its_rows_decode_to_the_weights_and_are_not_LARQLs))

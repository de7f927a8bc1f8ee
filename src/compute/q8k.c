/* Integer dots of K-quants (q8k.h). Rows of W are turned over, a strip at a time, so that vector
 * lanes hold rows. */
#include "compute/q8k.h"

#include "codec/simd.h"

#include <string.h>

enum {
    BLOCK = WA_Q8_K_BLOCK,
    GROUP = WA_Q8_K_GROUP,
    GROUPS = BLOCK / GROUP,
    SUB = 16,
    SUBS = BLOCK / SUB,
    STRIP = 64
};

/* One block of each row of a strip. Lanes beyond the strip's height keep what they had; nobody
 * looks at their sums. */
typedef struct strip {
    int16_t code[BLOCK][STRIP];
    int32_t scale[SUBS][STRIP], min[GROUPS][STRIP];
    float d[STRIP], dmin[STRIP];
} strip;

wa_status wa_q8k_take(wa_arena *arena, size_t rows, size_t n, wa_q8k_rows *out, wa_error *err)
{
    size_t blocks;
    *out = (wa_q8k_rows){.rows = rows, .blocks = n / BLOCK + (n % BLOCK != 0 ? 1 : 0)};
    if (!wa_size_mul(rows, out->blocks, &blocks))
        return wa_fail(err, WA_E_MEMORY, "%zu rows of %zu values overflow", rows, n);
    WA_TRY(wa_arena_take_raw(arena, blocks, BLOCK, &out->q, err));
    WA_TRY(wa_arena_take_raw(arena, blocks, sizeof *out->d, &out->d, err));
    return wa_arena_take_raw(arena, blocks, GROUPS * sizeof *out->sums, &out->sums, err);
}

static void round_block(const float *x, const wa_q8k_rows *to, size_t block)
{
    int8_t *q = to->q + block * BLOCK;
    to->d[block] = wa_q8_k_round(x, q);
    for (size_t g = 0; g < GROUPS; g++) {
        int sum = 0;
        for (size_t i = 0; i < GROUP; i++)
            sum += q[g * GROUP + i];
        to->sums[block * GROUPS + g] = (int16_t)sum;
    }
}

void wa_q8k_round(const float *x, size_t n, const wa_q8k_rows *to)
{
    size_t whole = n / BLOCK;
    for (size_t row = 0; row < to->rows; row++, x += n) {
        for (size_t b = 0; b < whole; b++)
            round_block(x + b * BLOCK, to, row * to->blocks + b);
        if (whole < to->blocks) {
            float last[BLOCK] = {0};
            memcpy(last, x + whole * BLOCK, (n - whole * BLOCK) * sizeof *last);
            round_block(last, to, row * to->blocks + whole);
        }
    }
}

static void load_block(const wa_matrix *w, size_t block, size_t first, size_t height, strip *to)
{
    size_t bytes = wa_format_get(w->format)->block_bytes;
    for (size_t f = 0; f < height; f++) {
        wa_k_block b;
        wa_k_split(w->format, wa_matrix_row(w, first + f) + block * bytes, &b);
        for (size_t i = 0; i < BLOCK; i++)
            to->code[i][f] = b.code[i];
        for (size_t j = 0; j < SUBS; j++)
            to->scale[j][f] = b.scale[j];
        for (size_t g = 0; g < GROUPS; g++)
            to->min[g][f] = b.min[g];
        to->d[f] = b.d;
        to->dmin[f] = b.dmin;
    }
}

/* One block of a position: sum [STRIP] grows. Of eight elements a dot is at most 8 * 127 * 32 =
 * 32512: it fits 16 bits. */
WA_CLONES static void add_block(const strip *restrict w, const int8_t *restrict q,
                                const int16_t *restrict sums, float d, float *restrict sum)
{
    enum { FEW = 8 };
    int32_t codes[STRIP] = {0}, mins[STRIP] = {0};
    for (size_t j = 0; j < SUBS; j++) {
        int32_t part[STRIP] = {0};
        for (size_t half = j * SUB; half < (j + 1) * SUB; half += FEW) {
            int16_t dot[STRIP] = {0};
            for (size_t i = half; i < half + FEW; i++) {
                int16_t value = q[i];
                for (size_t f = 0; f < STRIP; f++)
                    dot[f] = (int16_t)(dot[f] + w->code[i][f] * value);
            }
            for (size_t f = 0; f < STRIP; f++)
                part[f] += dot[f];
        }
        for (size_t f = 0; f < STRIP; f++)
            codes[f] += w->scale[j][f] * part[f];
    }
    for (size_t g = 0; g < GROUPS; g++)
        for (size_t f = 0; f < STRIP; f++)
            mins[f] += w->min[g][f] * sums[g];
    for (size_t f = 0; f < STRIP; f++) {
        float above = w->d[f] * d * (float)codes[f], below = w->dmin[f] * d * (float)mins[f];
        sum[f] += above - below;
    }
}

static void dot_strip(const wa_matrix *w, size_t first, size_t height,
                      const wa_q8k_operand *operands, size_t count, strip *space,
                      float (*sum)[STRIP])
{
    size_t at = 0;
    for (size_t block = 0; block < operands[0].x->blocks; block++) {
        load_block(w, block, first, height, space);
        at = 0;
        for (size_t i = 0; i < count; i++)
            for (size_t row = 0; row < operands[i].x->rows; row++, at++) {
                size_t of = row * operands[i].x->blocks + block;
                add_block(space, operands[i].x->q + of * BLOCK, operands[i].x->sums + of * GROUPS,
                          operands[i].x->d[of], sum[at]);
            }
    }
    at = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t row = 0; row < operands[i].x->rows; row++, at++)
            memcpy(operands[i].y + row * w->rows + first, sum[at], height * sizeof(float));
}

static wa_status check_matrix(const wa_matrix *w, const wa_q8k_operand *operands, size_t count,
                              wa_error *err)
{
    size_t blocks = w->cols / BLOCK + (w->cols % BLOCK != 0 ? 1 : 0);
    bool fits = wa_format_is_k_block(w->format) && w->order == WA_ROWS_PLAIN && !w->through_f16;
    for (size_t i = 0; i < count; i++)
        fits = fits && operands[i].x->blocks == blocks;
    if (fits)
        return WA_OK;
    return wa_fail(err, WA_E_UNSUPPORTED, "%s is no matrix of K-quant rows of %zu columns", w->name,
                   w->cols);
}

wa_status wa_q8k_multiply(const wa_matrix *w, const wa_q8k_operand *operands, size_t count,
                          wa_arena *arena, wa_error *err)
{
    size_t rows = 0;
    WA_TRY(check_matrix(w, operands, count, err));
    for (size_t i = 0; i < count; i++)
        rows += operands[i].x->rows;
    if (rows == 0)
        return WA_OK;
    strip *space;
    float(*sum)[STRIP];
    wa_mark mark = wa_arena_mark(arena);
    wa_status status = wa_arena_take(arena, 1, sizeof *space, &space, err);
    if (status == WA_OK)
        status = wa_arena_take_raw(arena, rows, sizeof *sum, &sum, err);
    for (size_t first = 0; status == WA_OK && first < w->rows; first += STRIP) {
        memset(sum, 0, rows * sizeof *sum);
        dot_strip(w, first, wa_size_min(w->rows - first, STRIP), operands, count, space, sum);
    }
    wa_arena_release(arena, mark);
    return status;
}

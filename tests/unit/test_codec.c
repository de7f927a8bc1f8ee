/* Number formats: every decoder against its oracle, encoders against the definition, row orders. */
#include "codec/codec.h"

#include "golden.h"

#include <math.h>
#include <strings.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool same(float a, float b)
{
    return bits_of(a) == bits_of(b) || (isnan(a) && isnan(b));
}

/* --- f16 --- */

static void halves_have_the_values_of_ieee_754(void)
{
    static const struct {
        uint16_t half;
        uint32_t bits;
    } known[] = {
        {0x0000, 0x00000000}, {0x8000, 0x80000000}, {0x3c00, 0x3f800000},
        {0xc000, 0xc0000000}, {0x0001, 0x33800000},                       /* 2^-24 */
        {0x03ff, 0x387fc000},                                             /* 1023 * 2^-24 */
        {0x0400, 0x38800000},                                             /* 2^-14 */
        {0x7bff, 0x477fe000},                                             /* 65504 */
        {0x7c00, 0x7f800000}, {0xfc00, 0xff800000}, {0x7e00, 0x7fc00000}, /* quiet NaN */
        {0xfc01, 0xff802000}, /* payload shifted up by 13 bits */
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        CU_ASSERT_EQUAL(bits_of(wa_f16_to_f32(known[i].half)), known[i].bits);
}

/* The oracle builds each value with ldexp, the fast decoder with integer operations. */
static void all_65536_halves_decode_alike_by_both_decoders(void)
{
    enum { COUNT = 65536 };
    uint8_t *bytes = malloc(2 * COUNT + 1);
    float *fast = malloc(COUNT * sizeof *fast);
    float *slow = malloc(COUNT * sizeof *slow);
    CU_ASSERT_FATAL(bytes != NULL && fast != NULL && slow != NULL);
    for (uint32_t h = 0; h < COUNT; h++) {
        bytes[1 + 2 * h] = (uint8_t)h; /* at an odd address */
        bytes[2 + 2 * h] = (uint8_t)(h >> 8);
    }
    wa_f16_decode(bytes + 1, COUNT, fast);
    wa_format_get(WA_FORMAT_F16)->decode_ref(bytes + 1, COUNT, slow);
    size_t wrong = 0;
    for (uint32_t h = 0; h < COUNT; h++)
        wrong += bits_of(fast[h]) != bits_of(slow[h]) ||
                 bits_of(wa_f16_to_f32((uint16_t)h)) != bits_of(slow[h]);
    CU_ASSERT_EQUAL(wrong, 0);
    free(bytes);
    free(fast);
    free(slow);
}

static void every_half_survives_a_round_trip(void)
{
    size_t wrong = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        float value = wa_f16_to_f32((uint16_t)h);
        bool kept = isnan(value) ? isnan(wa_f16_to_f32(wa_f32_to_f16(value))) != 0
                                 : wa_f32_to_f16(value) == h;
        wrong += !kept;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

/* Between two neighbours: the midpoint goes to the even one, its neighbours to the nearer one. */
static void f16_encoder_rounds_to_nearest_even(void)
{
    size_t wrong = 0;
    for (uint32_t h = 0; h < 0x7bff; h++) { /* the midpoint is exact in f32 */
        float middle = 0.5f * (wa_f16_to_f32((uint16_t)h) + wa_f16_to_f32((uint16_t)(h + 1)));
        uint32_t even = h + (h & 1);
        wrong += wa_f32_to_f16(middle) != even;
        wrong += wa_f32_to_f16(-middle) != (even | 0x8000);
        wrong += wa_f32_to_f16(nextafterf(middle, 0.0f)) != h;
        wrong += wa_f32_to_f16(nextafterf(middle, 1e9f)) != h + 1;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(wa_f32_to_f16(65519.996f), 0x7bff);
    CU_ASSERT_EQUAL(wa_f32_to_f16(65520.0f), 0x7c00);
    CU_ASSERT_EQUAL(wa_f32_to_f16(-INFINITY), 0xfc00);
    CU_ASSERT_EQUAL(wa_f32_to_f16(0x1p-25f), 0x0000);
    CU_ASSERT_EQUAL(wa_f32_to_f16(0x1.000002p-25f), 0x0001);
    CU_ASSERT_EQUAL(wa_f32_to_f16(0x1p-140f), 0x0000);
}

/* Edge values and hashes: vindex-format.md 12. */
static void larql_f16_encoder_truncates_and_flushes(void)
{
    CU_ASSERT_EQUAL(wa_f32_to_f16_larql(65535.9f), 0x7bff);
    CU_ASSERT_EQUAL(wa_f32_to_f16_larql(65536.0f), 0x7c00);
    CU_ASSERT_EQUAL(wa_f32_to_f16_larql(6.1e-5f), 0x0000);
    CU_ASSERT_EQUAL(wa_f32_to_f16_larql(-6.1e-5f), 0x8000);
    CU_ASSERT_EQUAL(wa_f32_to_f16_larql(6.103515625e-5f), 0x0400);
    CU_ASSERT_EQUAL(wa_f32_to_f16_larql(INFINITY), 0x7c00);
    CU_ASSERT_EQUAL(wa_f32_to_f16_larql(float_of(0xff800001)), 0xfe00);

    uint16_t a[256];
    uint16_t b[256];
    char hash[WA_SHA256_TEXT];
    for (int i = 0; i < 256; i++) {
        a[i] = wa_f32_to_f16_larql((float)(i - 128) / 128);
        b[i] = wa_f32_to_f16_larql((float)((73 * i + 41) % 257 - 128) / 1024 * (float)(1 + i / 32) /
                                   8);
    }
    wa_test_sha256(a, sizeof a, hash);
    CU_ASSERT_STRING_EQUAL(hash,
                           "267b12a18a7ac6442e8407735dbef74d03d90b6600da1623f093da09542b8f0d");
    wa_test_sha256(b, sizeof b, hash);
    CU_ASSERT_STRING_EQUAL(hash,
                           "56a87571fd08ccdfea2e8136853a3d6e477e287e5faa0f2621ef9119cd082d51");
}

static void bf16_encoder_rounds_to_nearest_even(void)
{
    CU_ASSERT_EQUAL(wa_f32_to_bf16(float_of(0x3f808000)), 0x3f80); /* tie to even, down */
    CU_ASSERT_EQUAL(wa_f32_to_bf16(float_of(0x3f818000)), 0x3f82); /* tie to even, up */
    CU_ASSERT_EQUAL(wa_f32_to_bf16(float_of(0x3f808001)), 0x3f81);
    CU_ASSERT_EQUAL(wa_f32_to_bf16(float_of(0x3f807fff)), 0x3f80);
    CU_ASSERT_EQUAL(wa_f32_to_bf16(float_of(0xbf818000)), 0xbf82);
    CU_ASSERT_EQUAL(wa_f32_to_bf16(float_of(0x7f7fffff)), 0x7f80); /* overflow to infinity */
    CU_ASSERT_EQUAL(wa_f32_to_bf16(float_of(0x7f800001)), 0x7fc0); /* NaN stays NaN */
    CU_ASSERT_EQUAL(wa_f32_to_bf16(float_of(0x80000001)), 0x8000);
}

/* --- all formats --- */

static void fast_decoders_give_the_bits_of_the_oracle(void)
{
    enum { ELEMENTS = 64 * 256, BYTES = 8 * ELEMENTS };
    uint8_t *bytes = malloc(BYTES + 1);
    float *fast = malloc(ELEMENTS * sizeof *fast);
    float *slow = malloc(ELEMENTS * sizeof *slow);
    CU_ASSERT_FATAL(bytes != NULL && fast != NULL && slow != NULL);
    uint64_t state = 20240607;
    for (size_t i = 0; i <= BYTES; i++)
        bytes[i] = (uint8_t)(wa_test_random(&state) >> 24);
    for (int f = 0; f < WA_FORMAT_COUNT; f++) {
        const wa_format_info *info = wa_format_get((wa_format)f);
        static const size_t counts[] = {0, 1, 3, 17, 64};
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            size_t elements = counts[c] * info->block_elements;
            for (size_t i = 0; i < ELEMENTS; i++)
                fast[i] = slow[i] = -77.0f;
            info->decode(bytes + 1, counts[c], fast);
            info->decode_ref(bytes + 1, counts[c], slow);
            size_t wrong = 0;
            for (size_t i = 0; i < ELEMENTS; i++)
                wrong += i < elements ? !same(fast[i], slow[i]) : fast[i] != -77.0f;
            CU_ASSERT_EQUAL(wrong, 0);
        }
    }
    free(bytes);
    free(fast);
    free(slow);
}

/* A line of golden/blocks: type, bytes of its blocks, values of their elements. */
static wa_format find_format(const char *name)
{
    for (int f = 0; f < WA_FORMAT_COUNT; f++) {
        /* the orders of vindexes, under the same names */
        bool is_older = f == WA_FORMAT_Q4_0 || f == WA_FORMAT_Q6_K;
        if (strcasecmp(wa_format_get((wa_format)f)->name, name) == 0 && !is_older)
            return (wa_format)f;
    }
    return WA_FORMAT_COUNT;
}

static size_t read_hex(const char *text, uint8_t *out, size_t most)
{
    size_t size = strlen(text) / 2;
    CU_ASSERT_FATAL(size <= most);
    for (size_t i = 0; i < size; i++) {
        const char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return size;
}

static void check_blocks(const char *name, const char *blocks_hex, const char *values_hex)
{
    enum { MOST = 2048 };
    uint8_t bytes[MOST];
    float values[MOST], fast[MOST], slow[MOST];
    wa_format format = find_format(name);
    CU_ASSERT_FATAL(format < WA_FORMAT_COUNT);
    const wa_format_info *info = wa_format_get(format);
    size_t blocks = read_hex(blocks_hex, bytes, sizeof bytes) / info->block_bytes,
           count = blocks * info->block_elements;
    CU_ASSERT_FATAL(blocks > 0 && count <= MOST);
    CU_ASSERT_EQUAL_FATAL(read_hex(values_hex, (uint8_t *)values, sizeof values),
                          count * sizeof *values);
    info->decode(bytes, blocks, fast);
    info->decode_ref(bytes, blocks, slow);
    for (size_t i = 0; i < count; i++)
        if (!same(fast[i], values[i]) || !same(slow[i], values[i])) {
            fprintf(stderr, "    %s, element %zu: %a and by definition %a, expected %a\n", name, i,
                    (double)fast[i], (double)slow[i], (double)values[i]);
            CU_FAIL("another value");
            return;
        }
}

/* Every type of GGUF that is decoded, against gguf.quants.dequantize
 * (golden/blocks/make_gguf.py). */
static void blocks_decode_to_the_values_of_the_gguf_package(void)
{
    FILE *file = fopen(WA_GOLDEN "/blocks/gguf.tsv", "r");
    char *line = NULL;
    size_t room = 0, types = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    while (getline(&line, &room, file) > 0) {
        char *rest = NULL, *name = strtok_r(line, "\t\n", &rest);
        char *blocks = strtok_r(NULL, "\t\n", &rest), *values = strtok_r(NULL, "\t\n", &rest);
        if (name[0] == '#')
            continue;
        CU_ASSERT_FATAL(blocks != NULL && values != NULL);
        check_blocks(name, blocks, values);
        types++;
    }
    CU_ASSERT_EQUAL(types, 15);
    free(line);
    CU_ASSERT_EQUAL(fclose(file), 0);
}

/* One block of each GGML format, decoded by hand from forward-pass.md 1.6. */
static void hand_made_blocks_decode_to_hand_made_values(void)
{
    float out[256];
    const uint8_t q4_0[18] = {0x00, 0x38, 0x19, [17] = 0xf0}; /* d = 0.5 */
    wa_format_get(WA_FORMAT_GGML_Q4_0)->decode(q4_0, 1, out);
    CU_ASSERT_EQUAL(out[0], 0.5f);   /* (9 - 8) / 2 */
    CU_ASSERT_EQUAL(out[16], -3.5f); /* (1 - 8) / 2 */
    CU_ASSERT_EQUAL(out[15], -4.0f);
    CU_ASSERT_EQUAL(out[31], 3.5f);

    const uint8_t q5_1[24] = {0x00, 0x40, 0x00, 0xbc, 0x01, 0, 0, 0x80, 0x23}; /* d = 2, m = -1 */
    wa_format_get(WA_FORMAT_GGML_Q5_1)->decode(q5_1, 1, out);
    CU_ASSERT_EQUAL(out[0], 37.0f);  /* (16 + 3) * 2 - 1 */
    CU_ASSERT_EQUAL(out[16], 3.0f);  /* 2 * 2 - 1 */
    CU_ASSERT_EQUAL(out[31], 31.0f); /* 16 * 2 - 1 */
    CU_ASSERT_EQUAL(out[1], -1.0f);

    const uint8_t q8_0[34] = {0x00, 0x34, 0x80, 0x7f}; /* d = 0.25 */
    wa_format_get(WA_FORMAT_GGML_Q8_0)->decode(q8_0, 1, out);
    CU_ASSERT_EQUAL(out[0], -32.0f);
    CU_ASSERT_EQUAL(out[1], 31.75f);

    /* d = 1, dmin = 1; scale 0 = 5, min 0 = 3; scale 5 = 2 | 1 << 4 = 18, min 5 = 4 | 2 << 4 = 36
     */
    uint8_t q4_k[144] = {0x00, 0x3c, 0x00, 0x3c};
    q4_k[4 + 0] = 5;
    q4_k[4 + 1] = 1 << 6;
    q4_k[4 + 4] = 3;
    q4_k[4 + 5] = 2 << 6;
    q4_k[4 + 9] = 0x42;
    q4_k[16] = 0x0f;      /* group 0, element 0 */
    q4_k[16 + 64] = 0x70; /* group 2, sub-block 5 in the high nibble: element 160 */
    wa_format_get(WA_FORMAT_Q4_K)->decode(q4_k, 1, out);
    CU_ASSERT_EQUAL(out[0], 72.0f); /* 5 * 15 - 3 */
    CU_ASSERT_EQUAL(out[1], -3.0f);
    CU_ASSERT_EQUAL(out[160], 90.0f); /* 18 * 7 - 36 */
    CU_ASSERT_EQUAL(out[161], -36.0f);

    /* d = 2; element 128 + 32 * 2 + 20 = 212: low bits in the high nibble of ql[64 + 20], high bits
     * 4-5 of qh[32 + 20], scale sc[8 + 4 + 1] */
    uint8_t q6_k[210] = {0};
    q6_k[84] = 0xa0;
    q6_k[128 + 52] = 3 << 4;
    q6_k[192 + 13] = 0xfd; /* -3 */
    q6_k[209] = 0x40;
    wa_format_get(WA_FORMAT_GGML_Q6_K)->decode(q6_k, 1, out);
    CU_ASSERT_EQUAL(out[212], -156.0f); /* 2 * -3 * (10 + 48 - 32) */
    CU_ASSERT_EQUAL(out[213], 192.0f);  /* 2 * -3 * (0 - 32) */
}

/* --- matrices --- */

enum { ROWS = 40, COLS = 70 };

static void fill(uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float value = (float)i;
        memcpy(bytes + 4 * i, &value, sizeof value);
    }
}

static void plain_rows_come_in_any_range(void)
{
    uint8_t bytes[4 * ROWS * COLS];
    fill(bytes, ROWS * COLS);
    wa_matrix matrix = {.data = bytes, .rows = ROWS, .cols = COLS, .row_bytes = 4 * COLS};
    float out[3 * COLS];
    wa_matrix_decode(&matrix, 7, 3, out);
    CU_ASSERT_EQUAL(out[0], 7.0f * COLS);
    CU_ASSERT_EQUAL(out[3 * COLS - 1], 10.0f * COLS - 1);
    CU_ASSERT_EQUAL(wa_matrix_bytes(&matrix), sizeof bytes);
}

static void rope_pairs_are_undone_within_each_head(void)
{
    enum { HEAD = 8, HEADS = 5 };
    uint8_t bytes[4 * HEAD * HEADS];
    fill(bytes, HEAD * HEADS);
    wa_matrix matrix = {.data = bytes,
                        .order = WA_ROWS_ROPE_PAIRS,
                        .rows = HEAD * HEADS,
                        .cols = 1,
                        .row_bytes = 4,
                        .head_rows = HEAD,
                        .pair_rows = HEAD};
    float out[HEAD * HEADS];
    wa_matrix_decode(&matrix, 0, HEAD * HEADS, out);
    for (int head = 0; head < HEADS; head++)
        for (int i = 0; i < HEAD / 2; i++)
            for (int j = 0; j < 2; j++)
                CU_ASSERT_EQUAL(out[head * HEAD + j * HEAD / 2 + i],
                                (float)(head * HEAD + 2 * i + j));
    wa_matrix_decode(&matrix, 9, 2, out); /* head 1, rows 1 and 2: stored rows 10 and 12 */
    CU_ASSERT_EQUAL(out[0], 10.0f);
    CU_ASSERT_EQUAL(out[1], 12.0f);

    /* of head 1, the first 4 in pairs */
    static const float half[HEAD] = {8, 10, 9, 11, 12, 13, 14, 15};
    matrix.pair_rows = HEAD / 2;
    wa_matrix_decode(&matrix, HEAD, HEAD, out);
    CU_ASSERT(memcmp(out, half, sizeof half) == 0);
}

/* Stored [cols, 3 * rows] as a fused projection; the matrix is its middle third. */
static void transposed_rows_are_columns_of_their_part(void)
{
    enum { STORED = 3 * ROWS };
    static uint8_t bytes[4 * COLS * STORED];
    static float out[ROWS * COLS];
    fill(bytes, COLS * STORED);
    wa_matrix matrix = {.data = bytes + 4 * ROWS,
                        .order = WA_ROWS_TRANSPOSED,
                        .rows = ROWS,
                        .cols = COLS,
                        .row_bytes = 4 * STORED,
                        .stored_cols = STORED};
    wa_matrix_decode(&matrix, 0, ROWS, out);
    size_t wrong = 0;
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++)
            wrong += out[r * COLS + c] != (float)(c * STORED + ROWS + r);
    CU_ASSERT_EQUAL(wrong, 0);
    wa_matrix_decode(&matrix, 39, 1, out);
    CU_ASSERT_EQUAL(out[69], 69.0f * STORED + ROWS + 39);
    CU_ASSERT_EQUAL(wa_matrix_bytes(&matrix), 4 * ROWS * COLS);
}

/* Q8_0 in one stream, of which rows take 70 elements each, from the seventh on: block by block,
 * whatever row they are of. */
static void rows_of_one_stream_begin_inside_blocks(void)
{
    enum { SKIP = 7, BLOCKS = (SKIP + ROWS * COLS + 31) / 32 };
    static uint8_t bytes[34 * BLOCKS];
    static float out[ROWS * COLS], all[32 * BLOCKS], part[ROWS * 32];
    const wa_format_info *info = wa_format_get(WA_FORMAT_GGML_Q8_0);
    for (size_t b = 0; b < BLOCKS; b++) {
        uint16_t scale = wa_f32_to_f16((float)(b % 5 + 1));
        memcpy(bytes + 34 * b, &scale, sizeof scale);
        for (size_t i = 0; i < 32; i++)
            bytes[34 * b + 2 + i] = (uint8_t)(37 * b + 11 * i);
    }
    info->decode_ref(bytes, BLOCKS, all);
    wa_matrix matrix = {.data = bytes,
                        .format = WA_FORMAT_GGML_Q8_0,
                        .order = WA_ROWS_FLAT,
                        .rows = ROWS,
                        .cols = COLS,
                        .stored_cols = COLS,
                        .skip = SKIP};
    wa_matrix_decode(&matrix, 0, ROWS, out);
    CU_ASSERT(memcmp(out, all + SKIP, sizeof out) == 0);
    wa_matrix_decode_ref(&matrix, 39, 1, out);
    CU_ASSERT(memcmp(out, all + SKIP + 39 * COLS, COLS * sizeof *out) == 0);
    wa_matrix columns = wa_matrix_columns(&matrix, 32, 32);
    wa_matrix_decode(&columns, 0, ROWS, part);
    for (size_t r = 0; r < ROWS; r++)
        CU_ASSERT(memcmp(part + 32 * r, all + SKIP + r * COLS + 32, 32 * sizeof *part) == 0);
    CU_ASSERT_EQUAL(wa_matrix_bytes(&matrix), 34 * BLOCKS);
    CU_ASSERT_EQUAL(wa_matrix_span(&matrix).size, 34 * BLOCKS);
    CU_ASSERT_PTR_EQUAL(wa_matrix_row(&matrix, 1), bytes + 34 * ((SKIP + COLS) / 32));
}

/* Stored [cols, 2 * rows], the columns of two matrices in turn; and the same read as rows of every
 * second element. */
static void columns_in_turn_are_told_apart(void)
{
    enum { STORED = 2 * ROWS };
    static uint8_t bytes[4 * COLS * STORED];
    static float out[ROWS * COLS];
    fill(bytes, COLS * STORED);
    for (int which = 0; which < 2; which++) {
        wa_matrix matrix = {.data = bytes + 4 * which,
                            .order = WA_ROWS_TRANSPOSED,
                            .rows = ROWS,
                            .cols = COLS,
                            .row_bytes = 4 * STORED,
                            .stored_cols = STORED,
                            .step = 2};
        size_t wrong = 0;
        wa_matrix_decode(&matrix, 0, ROWS, out);
        for (int r = 0; r < ROWS; r++)
            for (int c = 0; c < COLS; c++)
                wrong += out[r * COLS + c] != (float)(c * STORED + 2 * r + which);
        CU_ASSERT_EQUAL(wrong, 0);
        CU_ASSERT_EQUAL(wa_matrix_span(&matrix).size, 4 * ((COLS - 1) * STORED + STORED - 1));
        matrix.order = WA_ROWS_PLAIN;
        matrix.rows = COLS;
        matrix.cols = ROWS;
        CU_ASSERT_PTR_NULL(wa_matrix_in_place(&matrix));
        matrix = wa_matrix_columns(&matrix, 3, 5);
        wa_matrix_decode(&matrix, 7, 1, out);
        for (int c = 0; c < 5; c++)
            CU_ASSERT_EQUAL(out[c], (float)(7 * STORED + 2 * (c + 3) + which));
    }
}

/* Rows of 320 in two super-blocks of 256, as K-quant vindexes store them. */
static void padding_of_a_row_is_dropped(void)
{
    enum { WIDTH = 320, STORED = 512, COUNT = 3 };
    uint8_t bytes[COUNT * 2 * 144];
    float whole[COUNT * STORED];
    float out[COUNT * WIDTH + 1];
    uint64_t state = 7;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(wa_test_random(&state) >> 24);
    for (size_t b = 0; b < COUNT * 2; b++) /* finite scales */
        bytes[144 * b + 1] = bytes[144 * b + 3] = 0x20;
    wa_format_get(WA_FORMAT_Q4_K)->decode_ref(bytes, COUNT * 2, whole);
    wa_matrix matrix = {
        .data = bytes, .format = WA_FORMAT_Q4_K, .rows = COUNT, .cols = WIDTH, .row_bytes = 288};
    out[COUNT * WIDTH] = -77.0f;
    wa_matrix_decode(&matrix, 0, COUNT, out);
    for (size_t r = 0; r < COUNT; r++)
        CU_ASSERT(memcmp(out + r * WIDTH, whole + r * STORED, WIDTH * sizeof *out) == 0);
    CU_ASSERT_EQUAL(out[COUNT * WIDTH], -77.0f);
    float ref[COUNT * WIDTH];
    wa_matrix_decode_ref(&matrix, 0, COUNT, ref);
    CU_ASSERT(memcmp(ref, out, sizeof ref) == 0);
}

static void only_plain_aligned_f32_is_used_in_place(void)
{
    _Alignas(16) uint8_t bytes[64] = {0};
    wa_matrix matrix = {.data = bytes, .rows = 2, .cols = 4, .row_bytes = 16};
    CU_ASSERT_PTR_EQUAL(wa_matrix_in_place(&matrix), bytes);
    matrix.data = bytes + 2;
    CU_ASSERT_PTR_NULL(wa_matrix_in_place(&matrix));
    matrix.data = bytes;
    matrix.row_bytes = 32;
    CU_ASSERT_PTR_NULL(wa_matrix_in_place(&matrix));
    matrix.row_bytes = 16;
    matrix.order = WA_ROWS_TRANSPOSED;
    CU_ASSERT_PTR_NULL(wa_matrix_in_place(&matrix));
    matrix.order = WA_ROWS_PLAIN;
    matrix.format = WA_FORMAT_BF16;
    CU_ASSERT_PTR_NULL(wa_matrix_in_place(&matrix));
}

WA_SUITE("codec", WA_CASE(halves_have_the_values_of_ieee_754),
         WA_CASE(all_65536_halves_decode_alike_by_both_decoders),
         WA_CASE(every_half_survives_a_round_trip), WA_CASE(f16_encoder_rounds_to_nearest_even),
         WA_CASE(larql_f16_encoder_truncates_and_flushes),
         WA_CASE(bf16_encoder_rounds_to_nearest_even),
         WA_CASE(blocks_decode_to_the_values_of_the_gguf_package),
         WA_CASE(fast_decoders_give_the_bits_of_the_oracle),
         WA_CASE(hand_made_blocks_decode_to_hand_made_values),
         WA_CASE(plain_rows_come_in_any_range), WA_CASE(rope_pairs_are_undone_within_each_head),
         WA_CASE(transposed_rows_are_columns_of_their_part),
         WA_CASE(rows_of_one_stream_begin_inside_blocks), WA_CASE(columns_in_turn_are_told_apart),
         WA_CASE(padding_of_a_row_is_dropped), WA_CASE(only_plain_aligned_f32_is_used_in_place))

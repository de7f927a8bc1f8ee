/* The block formats of vindexes: LARQL's bytes, what they decode to, and hostile input. */
#include "codec/codec.h"

#include "codec/coders.h"
#include "golden.h"

#include <math.h>

enum { BLOCK = 256, BYTES_MAX = 257 };

static const wa_format written[] = {WA_FORMAT_GGML_Q4_0, WA_FORMAT_GGML_Q6_K, WA_FORMAT_Q4_0,
                                    WA_FORMAT_Q4_K,      WA_FORMAT_Q6_K,      WA_FORMAT_FP4,
                                    WA_FORMAT_FP8};
enum { WRITTEN = sizeof written / sizeof written[0] };

/* The two inputs of vindex-format.md 12; every value is exact in f32. */
static void input_a(float x[BLOCK])
{
    for (int i = 0; i < BLOCK; i++)
        x[i] = (float)(i - 128) / 128;
}

static void input_b(float x[BLOCK])
{
    for (int i = 0; i < BLOCK; i++)
        x[i] = (float)((73 * i + 41) % 257 - 128) / 1024 * (float)(1 + i / 32) / 8;
}

/* One vector of vindex-format.md 12: 256 elements of one input in one format. */
typedef struct vector {
    wa_format format;
    void (*input)(float x[BLOCK]);
    const char *sha256;
    size_t at;       /* where `hex` starts */
    const char *hex; /* to find a bug quickly */
} vector;

/* Of Q4_0 of input A the document lists byte 7 as 12; its own hash, and the arithmetic by hand
 * (elements 10 and 11 are -6.45 and -6.40 steps), give 22. */
static const vector vectors[] = {
    {WA_FORMAT_Q4_0, input_a, "1072e924811bdd5a1fc6b0dbe819e18a622e9bffd0096525afacb8a4436a12b4", 0,
     "92301111111111222222"},
    {WA_FORMAT_Q4_0, input_b, "fefd277a9eedef46efc8ab518ffcfe63327f88888651c268d8ce4344488c2c7e", 0,
     "9218731b953db751d973"},
    {WA_FORMAT_Q4_K, input_a, "069317cc929d714b3d944139ef7ed3937e981ad84808098a2301c8d6a6246f85", 0,
     "551410243f6f9fd03f2f1f100f0f0f0f"},
    {WA_FORMAT_Q4_K, input_b, "dced3c9cf1bc5ed8434c593609c4569ffb40ae6e7d05c0a6ec280813b420d034", 0,
     "d20bbe1789d0d8e088cfd8db671407ff"},
    {WA_FORMAT_Q6_K, input_a, "7a534f9ddabde24f854dd66f851ee2e4a22907b7b0f7da605882ca2da2778938",
     192, "7f6f5f4f403020100f1f2f3f4e5e6e7e290c"},
    {WA_FORMAT_Q6_K, input_b, "e7ed45198e336cb4f01eff69c701faed045d8eda4b8ce563adf1c99abf78b988",
     192, "11101e1e2f3143404a4d61637169797ffb01"},
    /* larql-2026-08.md 9 */
    {WA_FORMAT_GGML_Q4_0, input_a,
     "e54bac2b5f8284661c69621603a5a9f442f4093469a2e8cbad282d7a9c8b220b", 0, "92302121212121212121"},
    {WA_FORMAT_GGML_Q4_0, input_b,
     "15c8530e88a7f916a371a80b2ba563f4e00cd3c71478fd722f743d83141ebf36", 0, "9218b3f75b91d5397db3"},
    {WA_FORMAT_GGML_Q6_K, input_a,
     "4a5f561b4da9257fdc76a7d687d805cef30aecf5315dbbeeb2025450244e424d", 0, "1121213232424253"},
    {WA_FORMAT_GGML_Q6_K, input_b,
     "2dcb6fb7342485960a1e7fc6d7443866dac0a3b5ed36e34981983bac187957a7", 128, "50a9fe4095fa0f50"},
    {WA_FORMAT_FP4, input_a, "19ec7c90ec776342dac9e9c94103800e2cd26ac65052d3186ab3bb60f71ca350",
     128, "383430282830343838"},
    {WA_FORMAT_FP4, input_b, "887bbd0b0877afab12e3732125eb33302e14fde2390ea9b10828134f0574e315",
     128, "21282d31323536381f"},
    {WA_FORMAT_FP8, input_a, "88671d0339d33a31c4bb414af7cbc9c8de62a3a3ec76dcedf10109b9ed588aa5",
     256, "38"},
    {WA_FORMAT_FP8, input_b, "fe1b1d695927b515c71c441ef0f43421caf2a9836435b41c743cb7eb02e7f8a6",
     256, "1f"},
};
enum { VECTORS = sizeof vectors / sizeof vectors[0] };

static void inputs_are_those_of_the_vectors(void)
{
    float x[BLOCK];
    char hash[WA_SHA256_TEXT];
    input_a(x);
    wa_test_sha256(x, sizeof x, hash);
    CU_ASSERT_STRING_EQUAL(hash,
                           "9568f931ee9064e415b8831a14e7f6128c399b028e7648c557082456f24eb5fc");
    input_b(x);
    wa_test_sha256(x, sizeof x, hash);
    CU_ASSERT_STRING_EQUAL(hash,
                           "bcc2f6c960ae787139d54ab0c96de4ba603c28289c9a40f339af80a1caaf0afa");
}

static void encoders_write_the_bytes_of_larql(void)
{
    for (size_t v = 0; v < VECTORS; v++) {
        const wa_format_info *info = wa_format_get(vectors[v].format);
        wa_encode *const encoders[] = {info->encode, info->encode_ref};
        for (size_t e = 0; e < 2; e++) {
            float x[BLOCK];
            uint8_t bytes[BYTES_MAX];
            char hash[WA_SHA256_TEXT], two[3];
            size_t blocks = BLOCK / info->block_elements;
            vectors[v].input(x);
            encoders[e](x, blocks, bytes);
            for (size_t i = 0; vectors[v].hex[2 * i] != '\0'; i++) {
                snprintf(two, sizeof two, "%02x", bytes[vectors[v].at + i]);
                CU_ASSERT(memcmp(two, vectors[v].hex + 2 * i, 2) == 0);
            }
            wa_test_sha256(bytes, blocks * info->block_bytes, hash);
            CU_ASSERT_STRING_EQUAL(hash, vectors[v].sha256);
        }
    }
}

/* Each row of any width is the encoding of that row followed by zeros. */
static void rows_are_filled_up_with_zeros_to_whole_blocks(void)
{
    static const size_t widths[] = {1, 31, 32, 33, 70, 255, 256, 257, 320, 511, 512};
    enum { ROWS = 3, WIDEST = 512 };
    float x[ROWS * WIDEST];
    for (int i = 0; i < ROWS * WIDEST; i++)
        x[i] = (float)((i * 37 + 11) % 101 - 50) / 64;
    for (size_t at = 0; at < WRITTEN * (sizeof widths / sizeof widths[0]); at++) {
        wa_format format = written[at % WRITTEN];
        size_t cols = widths[at / WRITTEN];
        const wa_format_info *info = wa_format_get(format);
        size_t blocks = (cols + info->block_elements - 1) / info->block_elements;
        size_t row_bytes = 0;
        CU_ASSERT(wa_row_bytes(format, cols, &row_bytes));
        CU_ASSERT_EQUAL(row_bytes, blocks * info->block_bytes);
        uint8_t out[ROWS * 2 * BYTES_MAX + 1];
        memset(out, 0xa5, sizeof out);
        wa_rows_encode(format, x, ROWS, cols, out);
        CU_ASSERT_EQUAL(out[ROWS * row_bytes], 0xa5);
        for (size_t r = 0; r < ROWS; r++) {
            float padded[WIDEST] = {0};
            uint8_t row[2 * BYTES_MAX];
            memcpy(padded, x + r * cols, cols * sizeof *padded);
            info->encode_ref(padded, blocks, row);
            CU_ASSERT(memcmp(out + r * row_bytes, row, row_bytes) == 0);
        }
    }
}

static void row_bytes_refuse_to_overflow(void)
{
    size_t bytes = 77;
    CU_ASSERT_FALSE(wa_row_bytes(WA_FORMAT_F64, SIZE_MAX / 4, &bytes));
    CU_ASSERT_FALSE(wa_row_bytes(WA_FORMAT_FP8, SIZE_MAX, &bytes));
    CU_ASSERT_EQUAL(bytes, 77);
    CU_ASSERT(wa_row_bytes(WA_FORMAT_Q4_K, 257, &bytes));
    CU_ASSERT_EQUAL(bytes, 288);
    CU_ASSERT(wa_row_bytes(WA_FORMAT_Q4_K, 0, &bytes));
    CU_ASSERT_EQUAL(bytes, 0);
}

static void columns_decode_to_their_part_of_every_row(void)
{
    enum { ROWS = 3, COLS = 600 };
    float x[ROWS * COLS], whole[ROWS * COLS], part[ROWS * COLS];
    for (int i = 0; i < ROWS * COLS; i++)
        x[i] = (float)((73 * i + 41) % 257 - 128) / 64;
    for (int f = 0; f < WRITTEN; f++) {
        uint8_t out[ROWS * 3 * BYTES_MAX];
        wa_matrix m = {.data = out, .name = "m", .format = written[f], .rows = ROWS, .cols = COLS};
        CU_ASSERT_FATAL(wa_row_bytes(m.format, COLS, &m.row_bytes));
        wa_rows_encode(m.format, x, ROWS, COLS, out);
        wa_matrix_decode(&m, 0, ROWS, whole);
        static const size_t cuts[] = {0, 256, 512, COLS}; /* the last block is part padding */
        for (size_t c = 0; c < 3; c++) {
            size_t width = cuts[c + 1] - cuts[c];
            wa_matrix view = wa_matrix_columns(&m, cuts[c], width);
            wa_matrix_decode(&view, 0, ROWS, part);
            for (size_t r = 0; r < ROWS; r++)
                CU_ASSERT_EQUAL(
                    memcmp(part + r * width, whole + r * COLS + cuts[c], width * sizeof *part), 0);
        }
    }
}

static void q4_0_splits_into_what_it_decodes_to(void)
{
    enum { COUNT = 7, ELEMENTS = 32 };
    uint8_t bytes[COUNT * 18];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 11) & (i % 18 == 1 ? 0x3f : 0xff); /* finite scales */
    float values[COUNT * ELEMENTS], scale[COUNT];
    int8_t q[COUNT * ELEMENTS];
    static const wa_format orders[] = {WA_FORMAT_Q4_0, WA_FORMAT_GGML_Q4_0};
    for (size_t o = 0; o < 2; o++) {
        wa_format_get(orders[o])->decode_ref(bytes, COUNT, values);
        wa_q4_0_split(orders[o], bytes, COUNT, q, scale);
        for (int i = 0; i < COUNT * ELEMENTS; i++) {
            CU_ASSERT(q[i] >= -8 && q[i] <= 7);
            CU_ASSERT_EQUAL((float)q[i] * scale[i / ELEMENTS], values[i]);
        }
    }
}

WA_SUITE("codec_blocks", WA_CASE(inputs_are_those_of_the_vectors),
         WA_CASE(encoders_write_the_bytes_of_larql),
         WA_CASE(rows_are_filled_up_with_zeros_to_whole_blocks),
         WA_CASE(row_bytes_refuse_to_overflow), WA_CASE(columns_decode_to_their_part_of_every_row),
         WA_CASE(q4_0_splits_into_what_it_decodes_to))

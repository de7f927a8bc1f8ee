/* LARQL's serving protocol: the document's vectors, and what a server of August 2026 was sent and
 * answered. */
#include "golden.h"
#include "path/wire.h"
#include "remote/served.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 256, RECORDED_BLOBS = 10 };

static wa_error err;

/* larql-2026-08.md 4.4: (1, -2.5, 0.1, 0). */
static const float FOUR[4] = {1.0F, -2.5F, 0.1F, 0.0F};

static void a_request_has_the_documents_bytes(void)
{
    static const uint8_t expected[] = {3,    0,    0,    0,    1,    0,    0, 0,    1,    0, 0,
                                       0,    0,    0,    0,    0,    0,    0, 0x80, 0x3f, 0, 0,
                                       0x20, 0xc0, 0xcd, 0xcc, 0xcc, 0x3d, 0, 0,    0,    0};
    static const uint8_t i8[] = {0x85, 0x42, 0xa1, 0x3c, 0, 0, 0, 0, 0x33, 0x81, 0x05, 0x00};
    uint8_t body[64];
    wa_ffn_request request = {
        .wire = WA_WIRE_F32, .layer = 3, .rows = 1, .hidden = 4, .x = FOUR, .body = body};
    CU_ASSERT_EQUAL_FATAL(wa_ffn_encode(&request), sizeof expected);
    CU_ASSERT_EQUAL(memcmp(body, expected, sizeof expected), 0);
    request.wire = WA_WIRE_I8;
    CU_ASSERT_EQUAL_FATAL(wa_ffn_encode(&request), 16 + sizeof i8);
    CU_ASSERT_EQUAL(memcmp(body + 16, i8, sizeof i8), 0);
}

static void f16_rounds_to_even_keeps_subnormals_and_overflows(void)
{
    static const float values[8] = {1.0F, -2.5F,   0.1F,         6e-8F,
                                    0.0F, 1000.0F, -1.0F / 3.0F, 65520.0F};
    static const uint16_t expected[8] = {0x3c00, 0xc100, 0x2e66, 0x0001, 0, 0x63d0, 0xb555, 0x7c00};
    uint8_t bytes[16];
    float back[8], delivered[8];
    wa_wire_encode(WA_WIRE_F16, values, 1, 8, bytes);
    CU_ASSERT_EQUAL(memcmp(bytes, expected, sizeof expected), 0);
    wa_wire_decode(WA_WIRE_F16, bytes, 1, 8, back);
    wa_wire_deliver(WA_WIRE_F16, values, 8, delivered);
    CU_ASSERT_EQUAL(memcmp(back, delivered, sizeof back), 0);
    CU_ASSERT(isinf(back[7]));
}

/* Inputs A and B of vindex-format.md 12; larql-2026-08.md 9 has the hashes of the bodies. */
static void q8k_has_the_documents_bytes(void)
{
    static const char *const hashes[2] = {
        "dae15a188fb83050d091b0d66e9d409f46b0c1d7f154ece1dd8406ab8835936f",
        "f82f9231f14fe57fddc979a6d989865e0b72531110ac6df200c30eb6614ca44c"};
    static const uint32_t scales[2] = {0x3c010204, 0x3a75ebd8};
    float x[2][BLOCK], delivered[BLOCK], back[BLOCK];
    for (int i = 0; i < BLOCK; i++) {
        x[0][i] = (float)(i - 128) / 128;
        x[1][i] = (float)((73 * i + 41) % 257 - 128) / 1024 * (float)(1 + i / 32) / 8;
    }
    for (int v = 0; v < 2; v++) {
        uint8_t body[BLOCK + 20];
        char hash[WA_SHA256_TEXT];
        CU_ASSERT_EQUAL_FATAL(wa_wire_bytes(WA_WIRE_Q8K, BLOCK), sizeof body);
        wa_wire_encode(WA_WIRE_Q8K, x[v], 1, BLOCK, body);
        CU_ASSERT_EQUAL(wa_load_u32(body + BLOCK), scales[v]);
        wa_test_sha256(body, sizeof body, hash);
        CU_ASSERT_STRING_EQUAL(hash, hashes[v]);
        wa_wire_decode(WA_WIRE_Q8K, body, 1, BLOCK, back);
        wa_wire_deliver(WA_WIRE_Q8K, x[v], BLOCK, delivered);
        CU_ASSERT_EQUAL(memcmp(back, delivered, sizeof back), 0);
    }
}

/* Whatever x is, the oracle gets what the bytes say; nothing finite comes out of a row that is not. */
static void what_is_delivered_is_what_the_bytes_say(void)
{
    static const float odd[] = {0.0F,  -0.0F,   1e-45F,   6e-8F,     -1e-39F,
                                1e30F, 3.4e38F, INFINITY, -INFINITY, NAN};
    static const wa_wire wires[] = {WA_WIRE_F32, WA_WIRE_F16, WA_WIRE_I8, WA_WIRE_Q8K};
    uint8_t bytes[BLOCK * sizeof(float)];
    float x[BLOCK], back[BLOCK], delivered[BLOCK];
    for (size_t o = 0; o < sizeof odd / sizeof odd[0]; o++)
        for (int company = 0; company < 2; company++) /* all alike, or one among others */
            for (size_t w = 0; w < sizeof wires / sizeof wires[0]; w++) {
                size_t different = 0, finite = 0;
                for (int i = 0; i < BLOCK; i++)
                    x[i] = company == 0 || i == 77 ? odd[o] : (float)(i - 100) / 64;
                CU_ASSERT_FATAL(wa_wire_bytes(wires[w], BLOCK) <= sizeof bytes);
                wa_wire_encode(wires[w], x, 1, BLOCK, bytes);
                wa_wire_decode(wires[w], bytes, 1, BLOCK, back);
                wa_wire_deliver(wires[w], x, BLOCK, delivered);
                for (int i = 0; i < BLOCK; i++) {
                    bool both_nan = isnan(back[i]) && isnan(delivered[i]);
                    different += both_nan || back[i] == delivered[i] ? 0 : 1;
                    finite += isfinite(delivered[i]) ? 1 : 0;
                }
                CU_ASSERT_EQUAL(different, 0);
                if (isfinite(odd[o]) && wires[w] != WA_WIRE_F16)
                    CU_ASSERT_EQUAL(finite, BLOCK);
                if (!isfinite(odd[o]))
                    CU_ASSERT_FALSE(isfinite(delivered[77]));
            }
}

/* --- What a server was sent and answered (tests/golden/README.md) --- */

typedef struct recorded {
    wa_bytes file, blob[RECORDED_BLOBS]; /* x; request and answer of f32, f16, q8k; y of each */
    size_t rows, hidden;
} recorded;

static recorded read_recorded(void)
{
    recorded r = {.file = wa_test_read(WA_GOLDEN "/served/tiny-llama-q4k.bin")};
    CU_ASSERT_EQUAL_FATAL(memcmp(r.file.data, "WASERVED", 8), 0);
    r.rows = wa_load_u32(r.file.data + 8);
    r.hidden = wa_load_u32(r.file.data + 12);
    CU_ASSERT_EQUAL_FATAL(wa_load_u32(r.file.data + 16), RECORDED_BLOBS);
    size_t at = 20;
    for (int i = 0; i < RECORDED_BLOBS; i++) {
        size_t size = wa_load_u32(r.file.data + at);
        CU_ASSERT_FATAL(wa_bytes_slice(r.file, at + 4, size, &r.blob[i]));
        at += 4 + size;
    }
    CU_ASSERT_EQUAL(at, r.file.size);
    return r;
}

static const wa_wire WIRES[3] = {WA_WIRE_F32, WA_WIRE_F16, WA_WIRE_Q8K};
static const char *const TYPES[3] = {"application/x-larql-ffn", "application/x-larql-ffn-f16",
                                     "application/octet-stream"};

static void requests_are_those_that_a_server_was_sent(void)
{
    recorded r = read_recorded();
    float *x = malloc(r.blob[0].size);
    memcpy(x, r.blob[0].data, r.blob[0].size);
    for (int w = 0; w < 3; w++) {
        wa_bytes sent = r.blob[1 + 2 * w];
        size_t rows = WIRES[w] == WA_WIRE_Q8K ? 1 : r.rows;
        uint8_t *body = malloc(wa_ffn_bytes(WIRES[w], rows, r.hidden));
        wa_ffn_request request = {
            .wire = WIRES[w], .rows = rows, .hidden = r.hidden, .x = x, .body = body};
        CU_ASSERT_EQUAL_FATAL(wa_ffn_encode(&request), sent.size);
        CU_ASSERT_EQUAL(memcmp(body, sent.data, sent.size), 0);
        free(body);
    }
    free(x);
    wa_test_free(r.file);
}

static void answers_are_read_as_they_were(void)
{
    recorded r = read_recorded();
    float *y = malloc(r.rows * r.hidden * sizeof *y);
    for (int w = 0; w < 3; w++) {
        wa_bytes got = r.blob[2 + 2 * w];
        size_t rows = WIRES[w] == WA_WIRE_Q8K ? 1 : r.rows;
        wa_ffn_request request = {.wire = WIRES[w], .rows = rows, .hidden = r.hidden};
        wa_http_answer from = {
            .status = 200, .content_type = TYPES[w], .body = got.data, .size = got.size};
        wa_wire travelled;
        WA_MUST(wa_ffn_decode(&request, &from, &travelled, y, &err), &err);
        CU_ASSERT_EQUAL(travelled, WIRES[w] == WA_WIRE_F16 ? WA_WIRE_F16 : WA_WIRE_F32);
        CU_ASSERT_EQUAL(memcmp(y, r.blob[7 + w].data, rows * r.hidden * sizeof *y), 0);
    }
    free(y);
    wa_test_free(r.file);
}

static void an_answer_to_something_else_is_refused(void)
{
    recorded r = read_recorded();
    float *y = malloc(r.rows * r.hidden * sizeof *y);
    wa_bytes got = r.blob[2];
    wa_wire travelled;
    const struct {
        size_t layer, cut;
        const char *type, *said;
        wa_wire expected;
    } wrong[] = {
        {1, 0, TYPES[0], "of layer 0 with 11 positions, expected layer 1 with 11", WA_WIRE_NONE},
        {0, 4, TYPES[0], "the answer has 11272 bytes, expected 11276 for 11 positions in f32",
         WA_WIRE_NONE},
        {0, got.size, TYPES[0], "the answer has 0 bytes", WA_WIRE_NONE},
        {0, 0, TYPES[1], "the answer has 11276 bytes, expected 5644", WA_WIRE_NONE},
        {0, 0, "text/html", "Content-Type 'text/html'", WA_WIRE_NONE},
        {0, 0, TYPES[0], "travels as f32, expected f16", WA_WIRE_F16},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        wa_ffn_request request = {.wire = WA_WIRE_F32,
                                  .layer = wrong[i].layer,
                                  .rows = r.rows,
                                  .hidden = r.hidden,
                                  .expected = wrong[i].expected};
        wa_http_answer from = {.status = 200,
                               .content_type = wrong[i].type,
                               .body = got.data,
                               .size = got.size - wrong[i].cut};
        CU_ASSERT_EQUAL(wa_ffn_decode(&request, &from, &travelled, y, &err), WA_E_MISMATCH);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, wrong[i].said));
    }
    free(y);
    wa_test_free(r.file);
}

static void truth_is_rounded_as_an_answer_is(void)
{
    double y[4] = {1.0 + 0x1p-11, -1.0 - 0x1.8p-10, 254.0, 1e-3};
    wa_wire_round(WA_WIRE_F16, y, 3);
    CU_ASSERT_EQUAL(y[0], 1.0);
    CU_ASSERT_EQUAL(y[1], -1.0 - 0x1p-9);
    wa_wire_round(WA_WIRE_I8, y, 4); /* steps of 2 */
    CU_ASSERT_EQUAL(y[0], 2.0);
    CU_ASSERT_EQUAL(y[2], 254.0);
    CU_ASSERT_EQUAL(y[3], 0.0);
    y[0] = NAN;
    wa_wire_round(WA_WIRE_I8, y, 4);
    CU_ASSERT(isnan(y[0]));
}

static void a_request_fits_into_what_a_server_takes(void)
{
    static const size_t widths[] = {4, 640, 2560, 16384};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        for (int w = WA_WIRE_F32; w <= WA_WIRE_I8; w++) {
            size_t most = wa_ffn_most_rows((wa_wire)w, widths[i]);
            CU_ASSERT(wa_ffn_bytes((wa_wire)w, most, widths[i]) <= WA_SERVED_BODY);
            CU_ASSERT(wa_ffn_bytes((wa_wire)w, most + 1, widths[i]) > WA_SERVED_BODY);
        }
    CU_ASSERT_EQUAL(wa_ffn_most_rows(WA_WIRE_Q8K, 2560), 1);
}

WA_SUITE("wire", WA_CASE(a_request_has_the_documents_bytes),
         WA_CASE(f16_rounds_to_even_keeps_subnormals_and_overflows),
         WA_CASE(q8k_has_the_documents_bytes), WA_CASE(requests_are_those_that_a_server_was_sent),
         WA_CASE(what_is_delivered_is_what_the_bytes_say), WA_CASE(answers_are_read_as_they_were),
         WA_CASE(an_answer_to_something_else_is_refused), WA_CASE(truth_is_rounded_as_an_answer_is),
         WA_CASE(a_request_fits_into_what_a_server_takes))

/* Extraction of float vindexes: nearest f16, panels, and nothing left behind on failure. */
#include "base/digest.h"
#include "base/signals.h"
#include "made_model.h"
#include "suite.h"
#include "vindex/extract.h"
#include "vindex/panel.h"
#include "vindex/vindex.h"
#include "vindex_dirs.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void sha256_of_a_known_text_is_the_published_one(void)
{
    /* FIPS 180-2, appendix B.1 */
    static const char expected[] =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    char hex[WA_SHA256_HEX];
    wa_error err = {0};
    wa_bytes text = {.data = (const uint8_t *)"abc", .size = 3};
    WA_MUST(wa_digest_bytes(text, hex, &err), &err);
    CU_ASSERT_STRING_EQUAL(hex, expected);
}

/* --- models made here: one layer, f32 weights given by the test ----------------------------------
 */

enum { HIDDEN = 4, FEATURES = 3, WEIGHTS = HIDDEN * FEATURES };

static wa_model model_of(wa_layer *layer, const float *gate, const float *up, const float *down,
                         size_t features, size_t hidden)
{
    *layer = (wa_layer){.gate = test_view(gate, features, hidden),
                        .up = test_view(up, features, hidden),
                        .down = test_view(down, hidden, features)};
    return test_model("llama", layer, 1, features, hidden);
}

static const float PLAIN[WEIGHTS] = {1, -2, 3, 4, 5, 6, -7, 8, 9, 10, 11, 12};

/* Distance of neighbouring f16 values at x: 2^(e-10), and 2^-24 below the smallest normal (IEEE 754
 * binary16). */
static double f16_spacing(double x)
{
    int exponent;
    frexp(x, &exponent); /* x = m * 2^exponent, 0.5 <= m < 1 */
    return ldexp(1.0, exponent - 1 < -14 ? -24 : exponent - 1 - 10);
}

static void default_f16_is_nearest_and_keeps_subnormals(void)
{
    static const float values[WEIGHTS] = {1.00048828125f, 1.0004883f, 65504.0f,     -65519.0f,
                                          6.1035156e-5f,  6.0e-5f,    -3.1e-7f,     5.9604645e-8f,
                                          2.9e-8f,        0.1f,       -1.0f / 3.0f, 0.0f};
    char out[PATH_ROOM];
    wa_error err = {0};
    wa_arena *arena;
    wa_layer layer;
    wa_vindex *vindex;
    wa_extract_options options = {.format = WA_EXTRACT_F16, .force = true};
    wa_model model = model_of(&layer, values, values, PLAIN, FEATURES, HIDDEN);
    scratch_path(out, "extract", "nearest");
    WA_MUST(wa_extract(&model, out, &options, &err), &err);
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_vindex_open(out, arena, &vindex, &err), &err);
    CU_ASSERT_EQUAL(vindex->gate_format, WA_FORMAT_F16);
    for (size_t p = 0; p < 2; p++) { /* the gate is f16, up is f32 after f16: the same values */
        wa_matrix matrix;
        float stored[WEIGHTS];
        WA_MUST(wa_vindex_matrix(vindex, p == 0 ? WA_PAYLOAD_GATE : WA_PAYLOAD_UP_FEATURES,
                                 (wa_projection)p, 0, &matrix, &err),
                &err);
        wa_matrix_decode(&matrix, 0, FEATURES, stored);
        for (size_t i = 0; i < WEIGHTS; i++)
            CU_ASSERT(fabs((double)stored[i] - (double)values[i]) <=
                      0.5 * f16_spacing((double)values[i]));
        CU_ASSERT_EQUAL(stored[0], 1.0f); /* a tie goes to the even neighbour */
        CU_ASSERT(stored[7] > 0.0f);      /* 2^-24 is f16's smallest subnormal */
    }
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

/* vindex-format 12: 6.1e-5 -> 0000, 6.103515625e-5 -> 0400; truncation: 1 + 1.5 * 2^-10 -> 3C01. */
static void larql_f16_truncates_and_flushes(void)
{
    static const float values[WEIGHTS] = {6.1e-5f, 6.103515625e-5f, 1.00146484375f, -6.1e-5f};
    static const uint16_t expected[] = {0x0000, 0x0400, 0x3c01, 0x8000};
    char out[PATH_ROOM], path[2 * PATH_ROOM];
    uint16_t found[WEIGHTS];
    wa_error err = {0};
    wa_layer layer;
    wa_extract_options options = {
        .format = WA_EXTRACT_F16, .compat = WA_EXTRACT_COMPAT_LARQL_2026_05, .force = true};
    wa_model model = model_of(&layer, values, PLAIN, PLAIN, FEATURES, HIDDEN);
    scratch_path(out, "extract", "larql");
    WA_MUST(wa_extract(&model, out, &options, &err), &err);
    snprintf(path, sizeof path, "%s/gate_vectors.bin", out);
    FILE *file = fopen(path, "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fread(found, sizeof found[0], WEIGHTS, file), WEIGHTS);
    fclose(file);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        CU_ASSERT_EQUAL(found[i], expected[i]);
}

static void a_weight_beyond_f16_is_refused_by_default(void)
{
    static const float values[WEIGHTS] = {1.0f, 70000.0f};
    char out[PATH_ROOM];
    wa_error err = {0};
    wa_layer layer;
    wa_extract_options options = {.format = WA_EXTRACT_F16};
    wa_model model = model_of(&layer, PLAIN, values, PLAIN, FEATURES, HIDDEN);
    scratch_path(out, "extract", "overflow");
    CU_ASSERT_EQUAL(wa_extract(&model, out, &options, &err), WA_E_UNSUPPORTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "70000"));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "up of layer 0"));
    CU_ASSERT_EQUAL(count_entries(WA_TEST_BINARY_DIR, "extract-overflow"), 0);
}

/* Down rows are columns of W_down; the index tells formats, and upstream's required keys are those
 * the reader demands. */
static void an_extracted_vindex_holds_the_models_weights(void)
{
    static const wa_extract_format formats[] = {WA_EXTRACT_F32, WA_EXTRACT_INTERLEAVED};
    char out[PATH_ROOM];
    wa_error err = {0};
    wa_layer layer;
    wa_model model = model_of(&layer, PLAIN, PLAIN, PLAIN, FEATURES, HIDDEN);
    scratch_path(out, "extract", "weights");
    for (size_t i = 0; i < 2; i++) {
        wa_extract_options options = {.format = formats[i], .force = true};
        wa_payload payload = i == 0 ? WA_PAYLOAD_DOWN_FEATURES : WA_PAYLOAD_INTERLEAVED;
        wa_arena *arena;
        wa_vindex *vindex;
        wa_matrix matrix;
        float down[WEIGHTS];
        WA_MUST(wa_extract(&model, out, &options, &err), &err);
        WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
        WA_MUST(wa_vindex_open(out, arena, &vindex, &err), &err);
        CU_ASSERT_STRING_EQUAL(vindex->source_format[WA_DOWN], "f32");
        WA_MUST(wa_vindex_matrix(vindex, payload, WA_DOWN, 0, &matrix, &err), &err);
        wa_matrix_decode(&matrix, 0, FEATURES, down);
        for (size_t f = 0; f < FEATURES; f++)
            for (size_t h = 0; h < HIDDEN; h++)
                CU_ASSERT_EQUAL(down[f * HIDDEN + h], PLAIN[h * FEATURES + f]);
        wa_vindex_close(vindex);
        wa_arena_close(arena);
    }
}

/* More features than a panel holds (1024 rows of 4096), each weight its own index modulo 2^20,
 * exact in f32. */
static void panels_join_without_a_seam(void)
{
    enum { WIDE = 4096, MANY = 1100 };
    char out[PATH_ROOM];
    float *weights, row[WIDE];
    wa_error err = {0};
    wa_arena *arena;
    wa_layer layer;
    wa_vindex *vindex;
    wa_matrix matrix;
    size_t wrong = 0;
    wa_extract_options options = {.format = WA_EXTRACT_INTERLEAVED, .force = true};
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_arena_take(arena, WIDE * MANY, sizeof *weights, &weights, &err), &err);
    for (size_t i = 0; i < WIDE * MANY; i++)
        weights[i] = (float)(i % (1 << 20));
    wa_model model = model_of(&layer, weights, weights, weights, MANY, WIDE);
    scratch_path(out, "extract", "panels");
    WA_MUST(wa_extract(&model, out, &options, &err), &err);
    WA_MUST(wa_vindex_open(out, arena, &vindex, &err), &err);
    for (size_t f = 0; f < MANY; f++) {
        WA_MUST(wa_vindex_matrix(vindex, WA_PAYLOAD_INTERLEAVED, WA_UP, 0, &matrix, &err), &err);
        wa_matrix_decode(&matrix, f, 1, row);
        wrong += memcmp(row, weights + f * WIDE, sizeof row) != 0;
        WA_MUST(wa_vindex_matrix(vindex, WA_PAYLOAD_INTERLEAVED, WA_DOWN, 0, &matrix, &err), &err);
        wa_matrix_decode(&matrix, f, 1, row);
        for (size_t h = 0; h < WIDE; h++)
            wrong += row[h] != weights[h * MANY + f];
    }
    CU_ASSERT_EQUAL(wrong, 0);
    wa_vindex_close(vindex);
    wa_arena_close(arena);
    CU_ASSERT(shell("rm -rf '%s'%s", out, ""));
}

/* Column panels of block formats start at a block: compared with columns of the matrix decoded
 * whole. */
static void down_panels_of_quantised_weights_are_its_columns(void)
{
    enum { ROWS = 5, COLS = 512, BYTES = ROWS * COLS / 32 * 34 };
    uint8_t blocks[BYTES];
    float whole[ROWS * COLS];
    wa_error err = {0};
    wa_arena *arena;
    wa_panel panel;
    for (size_t i = 0; i < BYTES; i++) /* f16 scales 0x3c00 + i%4, any int8 */
        blocks[i] = i % 34 == 0   ? (uint8_t)(i / 34 % 4)
                    : i % 34 == 1 ? 0x3c
                                  : (uint8_t)(37 * i + 11);
    wa_matrix matrix = {.data = blocks,
                        .name = "test",
                        .format = WA_FORMAT_GGML_Q8_0,
                        .rows = ROWS,
                        .cols = COLS,
                        .row_bytes = COLS / 32 * 34};
    wa_matrix_decode_ref(&matrix, 0, ROWS, whole);
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_panel_open(ROWS, arena, &panel, &err), &err);
    wa_panel_source source = {.matrix = &matrix, .turned = true};
    wa_panel_decode(&panel, &source, 256, 200);
    for (size_t f = 0; f < 200; f++)
        for (size_t h = 0; h < ROWS; h++)
            CU_ASSERT_EQUAL(panel.rows[f * ROWS + h], whole[h * COLS + 256 + f]);
    wa_arena_close(arena);
}

/* Also in the part of a block that ends a row, as rows of 48 have one in blocks of 32. */
static void a_scale_that_would_be_infinite_is_refused_in_any_block(void)
{
    enum { ROWS = 2, COLS = 48 };
    const wa_encoding encoding = {.format = WA_FORMAT_Q4_0};
    wa_error err = {0};
    wa_arena *arena;
    wa_panel panel;
    wa_bytes out;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_panel_open(COLS, arena, &panel, &err), &err);
    for (size_t at = 0; at < (size_t)ROWS * COLS; at++) {
        memset(panel.rows, 0, sizeof *panel.rows * ROWS * COLS);
        WA_MUST(wa_panel_encode(&panel, ROWS, COLS, encoding, false, &out, &err), &err);
        CU_ASSERT_EQUAL(out.size, ROWS * 2 * 18);
        panel.rows[at] = 1.3e9F;
        CU_ASSERT_EQUAL(wa_panel_encode(&panel, ROWS, COLS, encoding, false, &out, &err),
                        WA_E_UNSUPPORTED);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "weight 1.3e+09 does not fit Q4_0"));
    }
    wa_arena_close(arena);
}

/* A full disk as the kernel reports it for a file: no byte beyond the limit can be written. */
static void a_write_that_fails_leaves_nothing_behind(void)
{
    char out[PATH_ROOM];
    wa_error err = {0};
    wa_layer layer;
    struct rlimit old, tight;
    wa_extract_options options = {.format = WA_EXTRACT_F32};
    static float big[64 * 64];
    wa_model model = model_of(&layer, big, big, big, 64, 64);
    scratch_path(out, "extract", "full");
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_FSIZE, &old), 0);
    fflush(stdout);
    signal(SIGXFSZ, SIG_IGN);
    tight = (struct rlimit){.rlim_cur = 10000, .rlim_max = old.rlim_max};
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &tight), 0);
    wa_status status = wa_extract(&model, out, &options, &err);
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &old), 0);
    CU_ASSERT_EQUAL(status, WA_E_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "in file 'gate_vectors.bin' at byte 10000"));
    CU_ASSERT_EQUAL(count_entries(WA_TEST_BINARY_DIR, "extract-full"), 0);
}

static void raise_at_the_second_step(void *context, size_t done, size_t steps)
{
    (void)context;
    (void)steps;
    if (done == 2)
        raise(SIGINT);
}

/* In a process of its own, since what was heard is not forgotten: exit code 1 when all is as it
 * should be. */
static int extract_and_be_stopped(const char *out)
{
    wa_error err = {0};
    wa_layer layer;
    wa_extract_options options = wa_extract_defaults(WA_EXTRACT_FP4);
    wa_model model = model_of(&layer, PLAIN, PLAIN, PLAIN, FEATURES, HIDDEN);
    options.progress = raise_at_the_second_step;
    wa_signals_hear_end();
    return wa_extract(&model, out, &options, &err) == WA_E_NO_PROGRESS &&
           strstr(err.text, "stopped by SIGINT after 2 of 6 steps") != NULL;
}

static void a_signal_leaves_nothing_behind(void)
{
    char out[PATH_ROOM];
    int status = 0;
    scratch_path(out, "extract", "stopped");
    fflush(NULL);
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0)
        _exit(extract_and_be_stopped(out));
    CU_ASSERT(waitpid(child, &status, 0) == child);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    CU_ASSERT_EQUAL(count_entries(WA_TEST_BINARY_DIR, "extract-stopped"), 0);
}

static void a_place_that_cannot_be_written_is_an_error(void)
{
    char file[PATH_ROOM], out[2 * PATH_ROOM];
    wa_error err = {0};
    wa_layer layer;
    wa_extract_options options = {.format = WA_EXTRACT_F32};
    wa_model model = model_of(&layer, PLAIN, PLAIN, PLAIN, FEATURES, HIDDEN);
    write_file(WA_TEST_BINARY_DIR, "extract-file", "x", 1);
    scratch_path(file, "extract", "file");
    snprintf(out, sizeof out, "%s/out.vindex", file);
    CU_ASSERT_EQUAL(wa_extract(&model, out, &options, &err), WA_E_IO);
    snprintf(out, sizeof out, "%s-not-there/out.vindex", file);
    CU_ASSERT_EQUAL(wa_extract(&model, out, &options, &err), WA_E_IO);
    CU_ASSERT_EQUAL(wa_extract(&model, "/", &options, &err), WA_E_USAGE);
    CU_ASSERT_EQUAL(wa_extract(&model, "..", &options, &err), WA_E_USAGE);
}

static void only_a_vindex_is_ever_replaced_and_only_by_force(void)
{
    char out[PATH_ROOM];
    wa_error err = {0};
    wa_layer layer;
    wa_extract_options plain = {.format = WA_EXTRACT_F32},
                       force = {.format = WA_EXTRACT_F32, .force = true};
    wa_model model = model_of(&layer, PLAIN, PLAIN, PLAIN, FEATURES, HIDDEN);
    scratch_path(out, "extract", "replace");
    CU_ASSERT(shell("rm -rf '%s'%s", out, ""));
    CU_ASSERT_EQUAL(mkdir(out, 0777), 0);
    write_file(out, "letters", "dear", 4);
    CU_ASSERT_EQUAL(wa_extract(&model, out, &force, &err), WA_E_USAGE);
    CU_ASSERT_EQUAL(count_entries(out, "letters"), 1);
    write_file(out, "index.json", "{}", 2);
    CU_ASSERT_EQUAL(wa_extract(&model, out, &plain, &err), WA_E_USAGE);
    CU_ASSERT_EQUAL(count_entries(out, "letters"), 1);
    CU_ASSERT_EQUAL(wa_extract(&model, out, &force, &err), WA_E_USAGE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "holds 'letters', which is part of no vindex"));
    CU_ASSERT_EQUAL(count_entries(out, "letters"), 1);
    CU_ASSERT(shell("rm '%s/%s'", out, "letters"));
    write_file(out, "embeddings.bin", "", 0);
    WA_MUST(wa_extract(&model, out, &force, &err), &err);
    CU_ASSERT_EQUAL(count_entries(out, ""), 4);
    CU_ASSERT_EQUAL(count_entries(out, "embeddings"), 0);
    CU_ASSERT_EQUAL(count_entries(WA_TEST_BINARY_DIR, "extract-replace"), 1);
}

/* vindex-format 2.6: upstream's in-memory builder takes the up rows for the gate. */
static void an_ungated_models_gate_is_its_up_rows(void)
{
    static const float other[WEIGHTS] = {12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1};
    char out[PATH_ROOM];
    wa_error err = {0};
    wa_arena *arena;
    wa_vindex *vindex;
    wa_matrix matrix;
    wa_layer layer;
    float stored[WEIGHTS];
    wa_extract_options options = {.format = WA_EXTRACT_INTERLEAVED, .force = true};
    wa_model model = model_of(&layer, other, PLAIN, other, FEATURES, HIDDEN);
    model.gated = false;
    layer.gate = (wa_matrix){.rows = 0};
    scratch_path(out, "extract", "ungated");
    WA_MUST(wa_extract(&model, out, &options, &err), &err);
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_vindex_open(out, arena, &vindex, &err), &err);
    for (size_t p = 0; p < 2; p++) {
        WA_MUST(wa_vindex_matrix(vindex, p == 0 ? WA_PAYLOAD_GATE : WA_PAYLOAD_INTERLEAVED, WA_GATE,
                                 0, &matrix, &err),
                &err);
        wa_matrix_decode(&matrix, 0, FEATURES, stored);
        CU_ASSERT_EQUAL(memcmp(stored, PLAIN, sizeof stored), 0);
    }
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

WA_SUITE("extract", WA_CASE(sha256_of_a_known_text_is_the_published_one),
         WA_CASE(default_f16_is_nearest_and_keeps_subnormals),
         WA_CASE(larql_f16_truncates_and_flushes),
         WA_CASE(a_weight_beyond_f16_is_refused_by_default),
         WA_CASE(an_extracted_vindex_holds_the_models_weights), WA_CASE(panels_join_without_a_seam),
         WA_CASE(down_panels_of_quantised_weights_are_its_columns),
         WA_CASE(a_scale_that_would_be_infinite_is_refused_in_any_block),
         WA_CASE(a_write_that_fails_leaves_nothing_behind), WA_CASE(a_signal_leaves_nothing_behind),
         WA_CASE(a_place_that_cannot_be_written_is_an_error),
         WA_CASE(only_a_vindex_is_ever_replaced_and_only_by_force),
         WA_CASE(an_ungated_models_gate_is_its_up_rows))

/* Views of quantised payloads: each row starts where the format puts it, padding is dropped, and
 * what cannot be read is said. Every block of a made-up file decodes to one number that tells which
 * block it is. */
#include "suite.h"
#include "vindex/vindex.h"
#include "vindex_dirs.h"

#include <math.h>

enum { LAYERS = 2, SMALL_ARENA = 8 << 20 };

/* ---- Blocks whose elements all have the value of their number in the file ---- */

static void put_f16(uint8_t *at, float value)
{
    uint16_t bits = wa_f32_to_f16(value);
    at[0] = (uint8_t)bits;
    at[1] = (uint8_t)(bits >> 8);
}

/* f16 holds integers up to 2048. */
static float kquant_mark(size_t block)
{
    return (float)(1 + block % 1999);
}

/* 96 codes of E4M3 from 2^-6 on (vindex-format 5.8). */
static uint8_t fp_code(size_t block)
{
    return (uint8_t)(8 + block % 96);
}

static float fp_mark(size_t block)
{
    uint8_t code = fp_code(block);
    return ldexpf(1.0f + (float)(code & 7) / 8.0f, (code >> 3) - 7);
}

/* vindex-format 5.4, 5.6, 5.7, 5.9, 5.10: nibble 9 - 8 = 1; scale 1 x nibble 1; 33 - 32 = 1 with
 * scale 1; code 2 (1.0) with sub-scale 4C (6.0) divided by 6; code 38 (1.0). */
static void put_block(wa_format format, size_t block, uint8_t *at)
{
    memset(at, 0, wa_format_get(format)->block_bytes);
    switch (format) {
    case WA_FORMAT_Q4_0:
        put_f16(at, kquant_mark(block));
        memset(at + 2, 0x99, 16);
        break;
    case WA_FORMAT_Q4_K:
        put_f16(at, kquant_mark(block));
        memset(at + 4, 1, 4);
        memset(at + 12, 1, 4);
        memset(at + 16, 0x11, 128);
        break;
    case WA_FORMAT_Q6_K:
        memset(at, 0x11, 128);
        memset(at + 128, 0xaa, 64);
        memset(at + 192, 1, 16);
        put_f16(at + 208, kquant_mark(block));
        break;
    case WA_FORMAT_FP4:
        memset(at, 0x22, 128);
        memset(at + 128, 0x4c, 8);
        at[136] = fp_code(block);
        break;
    default: /* FP8 */
        memset(at, 0x38, 256);
        at[256] = fp_code(block);
        break;
    }
}

typedef struct bytes {
    uint8_t data[1 << 20];
    size_t size;
} bytes;

/* `count` blocks numbered from 0 in this file's format. */
static void add_blocks(bytes *to, wa_format format, size_t first, size_t count)
{
    size_t block_bytes = wa_format_get(format)->block_bytes;
    CU_ASSERT_FATAL(to->size + count * block_bytes <= sizeof to->data);
    for (size_t b = 0; b < count; b++, to->size += block_bytes)
        put_block(format, first + b, to->data + to->size);
}

/* Element [r, c] of a matrix of `padded` columns whose first block has number `first`. */
static float expected_at(const wa_matrix *matrix, size_t padded, size_t first, size_t r, size_t c)
{
    size_t elements = wa_format_get(matrix->format)->block_elements;
    size_t block = first + r * (padded / elements) + c / elements;
    bool is_fp = matrix->format == WA_FORMAT_FP4 || matrix->format == WA_FORMAT_FP8;
    return is_fp ? fp_mark(block) : kquant_mark(block);
}

static void expect_rows(const wa_matrix *matrix, size_t padded, size_t first)
{
    static float row[4096];
    size_t wrong = 0;
    CU_ASSERT_FATAL(matrix->cols <= 4096);
    for (size_t r = 0; r < matrix->rows; r++) {
        wa_matrix_decode(matrix, r, 1, row);
        for (size_t c = 0; c < matrix->cols; c++)
            wrong += row[c] != expected_at(matrix, padded, first, r, c);
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

/* ---- Directories ---- */

typedef struct shape {
    size_t hidden, features[LAYERS];
} shape;

static void fresh_directory(char *path, const char *name)
{
    scratch_path(path, "quantised", name);
    if (!shell("rm -rf '%s'%s", path, "") || !shell("mkdir '%s'%s", path, ""))
        abort();
}

static void write_index(const char *dir, const shape *s, const char *tail)
{
    char text[4096], layers[512] = "";
    size_t start = 0;
    for (size_t l = 0; l < LAYERS; l++) {
        size_t used = strlen(layers);
        snprintf(layers + used, sizeof layers - used,
                 "%s{\"layer\": %zu, \"num_features\": %zu, \"offset\": %zu, \"length\": %zu}",
                 l == 0 ? "" : ", ", l, s->features[l], start, 4 * s->features[l] * s->hidden);
        start += 4 * s->features[l] * s->hidden;
    }
    int length =
        snprintf(text, sizeof text,
                 "{\"version\": 2, \"model\": \"m\", \"family\": \"llama\", \"num_layers\": 2, "
                 "\"hidden_size\": %zu, \"intermediate_size\": %zu, \"vocab_size\": 8, "
                 "\"embed_scale\": 1.0, \"layers\": [%s], \"down_top_k\": 2%s}",
                 s->hidden, s->features[0], layers, tail);
    CU_ASSERT_FATAL(length > 0 && (size_t)length < sizeof text);
    write_file(dir, "index.json", text, (size_t)length);
}

static void write_floats(const char *dir, const char *name, size_t count)
{
    static float zeros[1 << 19];
    CU_ASSERT_FATAL(count <= sizeof zeros / sizeof zeros[0]);
    write_file(dir, name, zeros, count * sizeof zeros[0]);
}

static size_t pad(size_t n)
{
    return (n + 255) / 256 * 256;
}

/* Adds a matrix and its manifest entry; returns the number of its first block. */
static size_t add_entry(bytes *payload, char *manifest, size_t room, const char *key,
                        wa_format format, size_t rows, size_t cols)
{
    size_t first = payload->size / 7; /* any number: matrices must not look alike */
    size_t offset = payload->size, used = strlen(manifest);
    add_blocks(payload, format, first, rows * pad(cols) / 256);
    snprintf(manifest + used, room - used,
             "%s{\"key\": \"%s\", \"shape\": [%zu, %zu], \"format\": \"%s\", \"offset\": %zu, "
             "\"length\": %zu}",
             used == 1 ? "" : ", ", key, rows, pad(cols), wa_format_get(format)->name, offset,
             payload->size - offset);
    return first;
}

/* interleaved_q4k.bin of both layers; *first: block number of each matrix. */
static void write_interleaved_q4k(const char *dir, const shape *s, wa_format down,
                                  size_t first[LAYERS][WA_PROJECTION_COUNT])
{
    static bytes payload;
    char manifest[4096] = "[", key[64];
    payload.size = 0;
    for (size_t l = 0; l < LAYERS; l++)
        for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
            snprintf(key, sizeof key, "layers.%zu.mlp.%s_proj.weight", l,
                     wa_projection_name((wa_projection)p));
            first[l][p] = p == WA_DOWN ? add_entry(&payload, manifest, sizeof manifest, key, down,
                                                   s->hidden, s->features[l])
                                       : add_entry(&payload, manifest, sizeof manifest, key,
                                                   WA_FORMAT_Q4_K, s->features[l], s->hidden);
        }
    strcat(manifest, "]");
    write_file(dir, "interleaved_q4k.bin", payload.data, payload.size);
    write_file(dir, "interleaved_q4k_manifest.json", manifest, strlen(manifest));
}

static wa_vindex *must_open(const char *path, wa_arena **arena)
{
    wa_error err = {0};
    wa_vindex *vindex = NULL;
    WA_MUST(wa_arena_open("test", SMALL_ARENA, arena, &err), &err);
    WA_MUST(wa_vindex_open(path, *arena, &vindex, &err), &err);
    return vindex;
}

static wa_matrix must_view(const wa_vindex *vindex, wa_payload payload, wa_projection projection,
                           size_t layer)
{
    wa_error err = {0};
    wa_matrix matrix = {0};
    WA_MUST(wa_vindex_matrix(vindex, payload, projection, layer, &matrix, &err), &err);
    return matrix;
}

static bool has_note(const wa_vindex *vindex, const char *text)
{
    for (size_t i = 0; i < vindex->note_count; i++)
        if (strstr(vindex->notes[i], text) != NULL)
            return true;
    return false;
}

/* ---- Tests ---- */

/* Neither H nor any F is a multiple of 256, and the layers differ. */
static const shape PADDED = {.hidden = 320, .features = {288, 40}};

static void padded_kquant_rows_start_on_blocks(void)
{
    static const wa_format downs[] = {WA_FORMAT_Q6_K, WA_FORMAT_Q4_K};
    char path[PATH_ROOM];
    wa_arena *arena = NULL;
    size_t first[LAYERS][WA_PROJECTION_COUNT];
    for (size_t d = 0; d < 2; d++) {
        fresh_directory(path, "padded");
        write_index(path, &PADDED, "");
        write_floats(path, "gate_vectors.bin", 320 * (288 + 40));
        write_interleaved_q4k(path, &PADDED, downs[d], first);
        wa_vindex *vindex = must_open(path, &arena);
        for (size_t l = 0; l < LAYERS; l++)
            for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
                wa_matrix m = must_view(vindex, WA_PAYLOAD_INTERLEAVED_Q4K, (wa_projection)p, l);
                size_t rows = p == WA_DOWN ? 320 : PADDED.features[l];
                size_t cols = p == WA_DOWN ? PADDED.features[l] : 320;
                /* without a model, in the order since August 2026 */
                CU_ASSERT_EQUAL(m.format, p != WA_DOWN                 ? WA_FORMAT_Q4_K
                                          : downs[d] == WA_FORMAT_Q6_K ? WA_FORMAT_GGML_Q6_K
                                                                       : downs[d]);
                CU_ASSERT_EQUAL(m.rows, rows);
                CU_ASSERT_EQUAL(m.cols, cols);
                CU_ASSERT_FALSE(m.through_f16);
                expect_rows(&m, pad(cols), first[l][p]);
            }
        CU_ASSERT_FALSE(wa_payload_down_is_feature_major(WA_PAYLOAD_INTERLEAVED_Q4K));
        CU_ASSERT(has_note(vindex, "320 padded to 512"));
        CU_ASSERT_FALSE(vindex->gate_is_remade);
        wa_vindex_close(vindex);
        wa_arena_close(arena);
    }
}

/* Opening with this feature-major pair fails and both texts are said. */
static void expect_damage(const char *dir, const bytes *payload, const char *manifest,
                          const char *first, const char *second)
{
    wa_error err = {0};
    wa_arena *arena = NULL;
    wa_vindex *vindex = NULL;
    write_file(dir, "down_features_q4k.bin", payload->data, payload->size);
    write_file(dir, "down_features_q4k_manifest.json", manifest, strlen(manifest));
    WA_MUST(wa_arena_open("test", SMALL_ARENA, &arena, &err), &err);
    wa_status status = wa_vindex_open(dir, arena, &vindex, &err);
    bool said = strstr(err.text, first) != NULL && strstr(err.text, second) != NULL;
    if (!said)
        fprintf(stderr, "    said '%s', wanted '%s' and '%s'\n", err.text, first, second);
    CU_ASSERT_EQUAL(status, WA_E_FORMAT);
    CU_ASSERT(said);
    if (status == WA_OK)
        wa_vindex_close(vindex);
    wa_arena_close(arena);
}

/* Its rows are features, as many as F padded to 256; only F of them count. */
static void feature_major_down_drops_rows_and_columns_of_padding(void)
{
    static bytes payload;
    char path[PATH_ROOM], manifest[1024] = "[";
    wa_arena *arena = NULL;
    size_t first[LAYERS];
    fresh_directory(path, "feature-major");
    write_index(path, &PADDED, "");
    write_floats(path, "gate_vectors.bin", 320 * (288 + 40));
    payload.size = 0;
    first[0] = add_entry(&payload, manifest, sizeof manifest, "layers.0.mlp.down_proj.weight",
                         WA_FORMAT_Q6_K, 512, 320);
    first[1] = add_entry(&payload, manifest, sizeof manifest, "layers.1.mlp.down_proj.weight",
                         WA_FORMAT_Q4_K, 256, 320);
    strcat(manifest, "]");
    write_file(path, "down_features_q4k.bin", payload.data, payload.size);
    write_file(path, "down_features_q4k_manifest.json", manifest, strlen(manifest));
    wa_vindex *vindex = must_open(path, &arena);
    for (size_t l = 0; l < LAYERS; l++) {
        wa_matrix m = must_view(vindex, WA_PAYLOAD_DOWN_FEATURES_Q4K, WA_DOWN, l);
        CU_ASSERT_EQUAL(m.rows, PADDED.features[l]);
        CU_ASSERT_EQUAL(m.cols, 320);
        expect_rows(&m, 512, first[l]);
    }
    CU_ASSERT(wa_payload_down_is_feature_major(WA_PAYLOAD_DOWN_FEATURES_Q4K));
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

/* V7 of the other manifest. Each row: what stands in it instead, and both texts that are said. */
static void a_broken_rule_of_the_feature_major_manifest_is_told(void)
{
    static const struct {
        const char *from, *to, *first, *second;
    } rows[] = {
        {"layers.1.mlp.down", "layers.0.mlp.down", "is of another layer, expected layer 1",
         "entry 1"},
        {"layers.0.mlp.down", "layers.0.mlp.up", "is up_proj, expected down_proj of layer 0",
         "entry 0"},
        {"[512, 512]", "[288, 512]", "shape [288, 512], expected [512, 512] (320 padded",
         "entry 0"},
        {"[256, 512]", "[256, 320]", "shape [256, 320], expected [256, 512]", "entry 1"},
        {"Q6_K", "Q4_K", "length 215040, expected 147456 (1024 blocks of 144 bytes)", "entry 0"},
        {"Q6_K", "FP4", "unknown format FP4, expected Q4_K or Q6_K", "entry 0"},
        {"\"offset\": 215040", "\"offset\": 215184",
         "range [215184, 288912) ends beyond the file's 288768", "entry 1"},
        {", {", "], [{", "JSON error", "down_features_q4k_manifest.json"},
    };
    static bytes payload;
    char path[PATH_ROOM], manifest[1024] = "[", changed[1100];
    fresh_directory(path, "feature-major-damage");
    write_index(path, &PADDED, "");
    write_floats(path, "gate_vectors.bin", 320 * (288 + 40));
    payload.size = 0;
    add_entry(&payload, manifest, sizeof manifest, "layers.0.mlp.down_proj.weight", WA_FORMAT_Q6_K,
              512, 320);
    expect_damage(path, &payload, "[]", "0 entries, expected 2", "down_features_q4k_manifest.json");
    snprintf(changed, sizeof changed, "%s]", manifest);
    expect_damage(path, &payload, changed, "1 entries, expected 2",
                  "down_features_q4k_manifest.json");
    add_entry(&payload, manifest, sizeof manifest, "layers.1.mlp.down_proj.weight", WA_FORMAT_Q4_K,
              256, 320);
    strcat(manifest, "]");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *at = strstr(manifest, rows[i].from);
        CU_ASSERT_PTR_NOT_NULL_FATAL(at);
        snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - manifest), manifest, rows[i].to,
                 at + strlen(rows[i].from));
        expect_damage(path, &payload, changed, rows[i].first, rows[i].second);
    }
    payload.size--;
    expect_damage(path, &payload, manifest, "ends beyond the file's 288767 bytes", "entry 1");
}

/* vindex-format 4.3: matrix c of layer l starts at (3 l + c) F (H / 32) blocks. */
static void q4_matrices_follow_each_other(void)
{
    static const shape q4 = {.hidden = 96, .features = {5, 5}};
    static bytes payload;
    char path[PATH_ROOM];
    wa_arena *arena = NULL;
    fresh_directory(path, "q4");
    write_index(path, &q4, "");
    write_floats(path, "gate_vectors.bin", 96 * 10);
    payload.size = 0;
    add_blocks(&payload, WA_FORMAT_Q4_0, 0, LAYERS * 3 * 5 * 3);
    write_file(path, "interleaved_q4.bin", payload.data, payload.size);
    wa_vindex *vindex = must_open(path, &arena);
    for (size_t l = 0; l < LAYERS; l++)
        for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
            wa_matrix m = must_view(vindex, WA_PAYLOAD_INTERLEAVED_Q4, (wa_projection)p, l);
            CU_ASSERT_EQUAL(m.format, WA_FORMAT_GGML_Q4_0);
            CU_ASSERT_EQUAL(m.rows, 5);
            CU_ASSERT_EQUAL(m.cols, 96);
            expect_rows(&m, 96, (3 * l + (size_t)p) * 5 * 3);
        }
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

/* The gate in f16 as LARQL makes it: what is below 2^-14 becomes zero, the rest keeps 11 bits
 * (vindex-format 5.2 A, 7.1). */
static void a_gate_left_out_is_made_of_the_kquant_gate(void)
{
    static const shape s = {.hidden = 256, .features = {2, 3}};
    char path[PATH_ROOM];
    float row[256];
    wa_arena *arena = NULL;
    size_t first[LAYERS][WA_PROJECTION_COUNT];
    fresh_directory(path, "no-gate");
    write_index(path, &s, "");
    write_interleaved_q4k(path, &s, WA_FORMAT_Q6_K, first);
    wa_vindex *vindex = must_open(path, &arena);
    CU_ASSERT(vindex->gate_is_remade);
    CU_ASSERT(vindex->present[WA_PAYLOAD_GATE] && vindex->readable[WA_PAYLOAD_GATE]);
    CU_ASSERT(has_note(vindex, "re-made from the K-quant gate"));
    CU_ASSERT_EQUAL(wa_vindex_serving(vindex, WA_PAYLOAD_GATE, WA_GATE),
                    WA_PAYLOAD_INTERLEAVED_Q4K);
    CU_ASSERT_EQUAL(vindex->layers[1].features, 3);
    for (size_t l = 0; l < LAYERS; l++) {
        wa_matrix m = must_view(vindex, WA_PAYLOAD_GATE, WA_GATE, l);
        CU_ASSERT_EQUAL(m.rows, s.features[l]);
        CU_ASSERT(m.through_f16);
        expect_rows(&m, 256, first[l][WA_GATE]);
    }
    wa_vindex_close(vindex);
    wa_arena_close(arena);

    /* One gate row whose d is 2^-16: as Q4_K it is 2^-16, as the gate it is zero. */
    static bytes payload;
    char name[2 * PATH_ROOM];
    snprintf(name, sizeof name, "%s/interleaved_q4k.bin", path);
    FILE *file = fopen(name, "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    payload.size = fread(payload.data, 1, sizeof payload.data, file);
    fclose(file);
    put_f16(payload.data, 0x1p-16f);
    write_file(path, "interleaved_q4k.bin", payload.data, payload.size);
    vindex = must_open(path, &arena);
    wa_matrix m = must_view(vindex, WA_PAYLOAD_INTERLEAVED_Q4K, WA_GATE, 0);
    wa_matrix_decode(&m, 0, 1, row);
    CU_ASSERT_EQUAL(row[17], 0x1p-16f);
    m = must_view(vindex, WA_PAYLOAD_GATE, WA_GATE, 0);
    wa_matrix_decode(&m, 0, 1, row);
    CU_ASSERT_EQUAL(row[17], 0.0f);
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

static void write_fp4_index(const char *dir, const shape *s, const char *gate, const char *up,
                            const char *down, size_t padded_hidden)
{
    char tail[2048], extension[64] = "";
    if (padded_hidden > 0)
        snprintf(extension, sizeof extension, ", \"padded_hidden\": %zu", padded_hidden);
    snprintf(
        tail, sizeof tail,
        ", \"fp4\": {\"fp4_format_version\": 1, \"block_elements\": 256, "
        "\"sub_block_elements\": 32, \"sub_block_scale_dtype\": \"fp8_e4m3\", "
        "\"block_scale_dtype\": \"fp8_e4m3\", "
        "\"value_encoding\": \"fp4_e2m1_mxfp4_nibble_order\", \"projections\": {"
        "\"gate\": %s, \"up\": %s, \"down\": %s}, \"compliance_gate\": {\"threshold_ratio\": 16.0, "
        "\"min_compliant_fraction\": 0.99, \"fallback_precision\": \"fp8\"}, "
        "\"compliance_report\": \"fp4_compliance.json\"%s}",
        gate, up, down, extension);
    write_index(dir, s, tail);
}

static const char GATE_F32[] = "{\"precision\": \"f32\", \"file\": \"gate_vectors.bin\"}";
static const char UP_FP4[] = "{\"precision\": \"fp4\", \"file\": \"up_features_fp4.bin\"}";
static const char DOWN_FP8[] = "{\"precision\": \"fp8\", \"file\": \"down_features_fp8.bin\"}";

static void fp4_rows_have_the_padded_width(void)
{
    static bytes up, down;
    char path[PATH_ROOM];
    wa_arena *arena = NULL;
    fresh_directory(path, "fp4");
    write_fp4_index(path, &PADDED, GATE_F32, UP_FP4, DOWN_FP8, 512);
    write_floats(path, "gate_vectors.bin", 320 * (288 + 40));
    up.size = down.size = 0;
    add_blocks(&up, WA_FORMAT_FP4, 0, 2 * (288 + 40));
    add_blocks(&down, WA_FORMAT_FP8, 0, 2 * (288 + 40));
    write_file(path, "up_features_fp4.bin", up.data, up.size);
    write_file(path, "down_features_fp8.bin", down.data, down.size);
    wa_vindex *vindex = must_open(path, &arena);
    for (size_t l = 0; l < LAYERS; l++) {
        wa_matrix m = must_view(vindex, WA_PAYLOAD_FP4, WA_UP, l);
        CU_ASSERT_EQUAL(m.format, WA_FORMAT_FP4);
        CU_ASSERT_EQUAL(m.rows, PADDED.features[l]);
        CU_ASSERT_STRING_EQUAL(m.name, "up_features_fp4.bin");
        expect_rows(&m, 512, l * 288 * 2);
        m = must_view(vindex, WA_PAYLOAD_FP4, WA_DOWN, l);
        CU_ASSERT_EQUAL(m.format, WA_FORMAT_FP8);
        CU_ASSERT_EQUAL(m.cols, 320);
        expect_rows(&m, 512, l * 288 * 2);
    }
    CU_ASSERT_EQUAL(wa_vindex_serving(vindex, WA_PAYLOAD_FP4, WA_DOWN), WA_PAYLOAD_FP4);
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

/* Policy C: the tag says f16, the file is the f32 one that upstream reads (vindex-format 2.8). */
static void a_projection_tagged_float_lies_in_its_ordinary_file(void)
{
    static const shape s = {.hidden = 256, .features = {2, 2}};
    static bytes up;
    char path[PATH_ROOM];
    float row[256], numbers[4 * 256];
    wa_arena *arena = NULL;
    fresh_directory(path, "policy-c");
    write_fp4_index(path, &s, GATE_F32, UP_FP4,
                    "{\"precision\": \"f16\", \"file\": \"down_features.bin\"}", 0);
    write_floats(path, "gate_vectors.bin", 4 * 256);
    for (size_t i = 0; i < 4 * 256; i++)
        numbers[i] = (float)i;
    up.size = 0;
    add_blocks(&up, WA_FORMAT_FP4, 0, 4);
    write_file(path, "up_features_fp4.bin", up.data, up.size);
    write_file(path, "down_features.bin", numbers, sizeof numbers);
    wa_vindex *vindex = must_open(path, &arena);
    CU_ASSERT(vindex->readable[WA_PAYLOAD_FP4]);
    CU_ASSERT_EQUAL(wa_vindex_serving(vindex, WA_PAYLOAD_FP4, WA_UP), WA_PAYLOAD_FP4);
    CU_ASSERT_EQUAL(wa_vindex_serving(vindex, WA_PAYLOAD_FP4, WA_DOWN), WA_PAYLOAD_DOWN_FEATURES);
    wa_matrix m = must_view(vindex, WA_PAYLOAD_FP4, WA_DOWN, 1);
    CU_ASSERT_EQUAL(m.format, WA_FORMAT_F32);
    wa_matrix_decode(&m, 1, 1, row);
    CU_ASSERT_EQUAL(row[5], (float)(3 * 256 + 5));
    wa_vindex_close(vindex);
    wa_arena_close(arena);

    /* Tagged f32 in a file that upstream never opens, and the ordinary one is not there. */
    fresh_directory(path, "policy-lie");
    write_fp4_index(path, &s, GATE_F32, UP_FP4, "{\"precision\": \"f32\", \"file\": \"other.bin\"}",
                    0);
    write_floats(path, "gate_vectors.bin", 4 * 256);
    write_floats(path, "other.bin", 4 * 256);
    write_file(path, "up_features_fp4.bin", up.data, up.size);
    vindex = must_open(path, &arena);
    CU_ASSERT(vindex->present[WA_PAYLOAD_FP4]);
    CU_ASSERT_FALSE(vindex->readable[WA_PAYLOAD_FP4]);
    CU_ASSERT(has_note(vindex, "down_features.bin is absent"));
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

/* U8: upstream then finds no feature and calls an output of zeros a success. */
static void a_gate_in_fp4_chooses_no_feature(void)
{
    static const shape s = {.hidden = 256, .features = {3, 2}};
    static bytes blocks;
    char path[PATH_ROOM];
    wa_arena *arena = NULL;
    blocks.size = 0;
    add_blocks(&blocks, WA_FORMAT_FP4, 0, 5);
    for (int with_file = 0; with_file < 2; with_file++) {
        fresh_directory(path, "gate-fp4");
        write_fp4_index(path, &s, "{\"precision\": \"fp4\", \"file\": \"gate_vectors_fp4.bin\"}",
                        UP_FP4, "{\"precision\": \"fp4\", \"file\": \"down_features_fp4.bin\"}", 0);
        write_file(path, "gate_vectors_fp4.bin", blocks.data, blocks.size);
        write_file(path, "up_features_fp4.bin", blocks.data, blocks.size);
        write_file(path, "down_features_fp4.bin", blocks.data, blocks.size);
        if (with_file == 1)
            write_floats(path, "gate_vectors.bin", 5 * 256);
        wa_vindex *vindex = must_open(path, &arena);
        CU_ASSERT_EQUAL(vindex->present[WA_PAYLOAD_GATE], with_file == 1);
        CU_ASSERT(vindex->readable[WA_PAYLOAD_FP4]);
        CU_ASSERT_FALSE(wa_payload_holds(WA_PAYLOAD_FP4, WA_GATE));
        CU_ASSERT_EQUAL(vindex->layers[0].features, 3);
        CU_ASSERT(has_note(vindex, "'gate_vectors_fp4.bin' is not read"));
        CU_ASSERT_EQUAL(has_note(vindex, "no feature can be chosen"), with_file == 0);
        wa_vindex_close(vindex);
        wa_arena_close(arena);
    }
}

static void files_nobody_can_use_are_told_with_the_reason(void)
{
    static const shape s = {.hidden = 256, .features = {2, 2}};
    char path[PATH_ROOM];
    wa_arena *arena = NULL;
    fresh_directory(path, "unusable");
    write_index(path, &s, "");
    write_floats(path, "gate_vectors.bin", 4 * 256);
    write_file(path, "interleaved_q4k.bin", "x", 1);
    write_file(path, "gate_vectors_q4.bin", "x", 1);
    write_file(path, "interleaved_q4.bin", "", 0);
    wa_vindex *vindex = must_open(path, &arena);
    CU_ASSERT_FALSE(vindex->present[WA_PAYLOAD_INTERLEAVED_Q4K]);
    CU_ASSERT_PTR_NOT_NULL_FATAL(vindex->unusable[WA_PAYLOAD_INTERLEAVED_Q4K]);
    CU_ASSERT_PTR_NOT_NULL(strstr(vindex->unusable[WA_PAYLOAD_INTERLEAVED_Q4K], "no manifest"));
    CU_ASSERT_STRING_EQUAL(vindex->unusable[WA_PAYLOAD_INTERLEAVED_Q4], "is empty");
    CU_ASSERT_PTR_NULL(vindex->unusable[WA_PAYLOAD_DOWN_FEATURES_Q4K]);
    CU_ASSERT(has_note(vindex, "gate_vectors_q4.bin is not read"));
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

/* A block whose d is a NaN: 256 values, of one stored row of down [H, F]. */
static void a_scale_that_is_no_number_is_counted_at_its_block(void)
{
    static const shape s = {.hidden = 256, .features = {512, 512}};
    static bytes payload;
    char path[PATH_ROOM], name[2 * PATH_ROOM];
    float row[512];
    wa_arena *arena = NULL;
    size_t first[LAYERS][WA_PROJECTION_COUNT];
    fresh_directory(path, "nan");
    write_index(path, &s, "");
    write_floats(path, "gate_vectors.bin", 256 * 1024);
    write_interleaved_q4k(path, &s, WA_FORMAT_Q6_K, first);
    snprintf(name, sizeof name, "%s/interleaved_q4k.bin", path);
    FILE *file = fopen(name, "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    payload.size = fread(payload.data, 1, sizeof payload.data, file);
    fclose(file);
    /* gate and up of layer 0, then row 7 of down: its second block */
    put_f16(payload.data + 2 * 512 * 144 + (7 * 2 + 1) * 210 + 208, NAN);
    write_file(path, "interleaved_q4k.bin", payload.data, payload.size);
    wa_vindex *vindex = must_open(path, &arena);
    wa_matrix m = must_view(vindex, WA_PAYLOAD_INTERLEAVED_Q4K, WA_DOWN, 0);
    wa_nonfinite found = wa_matrix_nonfinite(&m, row);
    CU_ASSERT_EQUAL(found.count, 256);
    CU_ASSERT_EQUAL(found.first_row, 7);
    CU_ASSERT_EQUAL(found.first_col, 256);
    m = must_view(vindex, WA_PAYLOAD_INTERLEAVED_Q4K, WA_DOWN, 1);
    CU_ASSERT_EQUAL(wa_matrix_nonfinite(&m, row).count, 0);
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

WA_SUITE("vindex_quantised", WA_CASE(a_scale_that_is_no_number_is_counted_at_its_block),
         WA_CASE(padded_kquant_rows_start_on_blocks),
         WA_CASE(feature_major_down_drops_rows_and_columns_of_padding),
         WA_CASE(a_broken_rule_of_the_feature_major_manifest_is_told),
         WA_CASE(q4_matrices_follow_each_other),
         WA_CASE(a_gate_left_out_is_made_of_the_kquant_gate),
         WA_CASE(fp4_rows_have_the_padded_width),
         WA_CASE(a_projection_tagged_float_lies_in_its_ordinary_file),
         WA_CASE(a_gate_in_fp4_chooses_no_feature),
         WA_CASE(files_nobody_can_use_are_told_with_the_reason))

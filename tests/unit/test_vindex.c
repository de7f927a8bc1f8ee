/* Vindexes: sound ones open with the right views, every kind of damage is named with its numbers.
 */
#include "suite.h"
#include "vindex/scan.h"
#include "vindex/vindex.h"
#include "vindex_dirs.h"

#include <sys/stat.h>
#include <unistd.h>

enum { SMALL_ARENA = 8 << 20 };

static const char MALFORMED[] = WA_GOLDEN "/malformed/vindex";

/* Open `path` with 8 MiB of memory; the caller closes both. */
static wa_status open_at(const char *path, wa_arena **arena, wa_vindex **vindex, wa_error *err)
{
    wa_status status = wa_arena_open("test", SMALL_ARENA, arena, err);
    return status == WA_OK ? wa_vindex_open(path, *arena, vindex, err) : status;
}

static void golden_path(char *out, const char *name)
{
    snprintf(out, PATH_ROOM, "%s/%s", MALFORMED, name);
}

/* Opening must fail with WA_E_FORMAT and both texts. */
static void expect_damage(const char *path, const char *first, const char *second)
{
    wa_error err = {0};
    wa_arena *arena = NULL;
    wa_vindex *vindex = NULL;
    wa_status status = open_at(path, &arena, &vindex, &err);
    bool said = strstr(err.text, first) != NULL && strstr(err.text, second) != NULL;
    if (status != WA_E_FORMAT || !said)
        fprintf(stderr, "    %s: status %d '%s', wanted '%s' and '%s'\n", path, (int)status,
                err.text, first, second);
    CU_ASSERT_EQUAL(status, WA_E_FORMAT);
    CU_ASSERT(said);
    if (status == WA_OK)
        wa_vindex_close(vindex);
    wa_arena_close(arena);
}

/* The rows of the fixtures' table of damaged vindexes. */
static void every_damaged_vindex_is_refused_with_its_numbers(void)
{
    static const struct {
        const char *name, *first, *second;
    } rows[] = {
        {"offset-not-canonical", "layer 1: offset 2052 + length 2048", "4096"},
        {"offset-overlap", "layers 0 and 1 overlap", "gate_vectors.bin"},
        {"offset-unaligned", "layer 1: offset 2050", "multiple of the element size 4"},
        {"layer-out-of-range", "layer 2", "num_layers 2"},
        {"layer-missing", "1 of 2 layers", "index.json"},
        {"length-wrong", "length 5", "2048"},
        {"index-bad-json", "line 1", "column"},
        {"index-unknown-enum", "'extract_level': found 'everything'",
         "browse, attention, inference, all"},
        {"index-float-int", "hidden_size", "integer"},
        {"index-version-99", "unsupported version 99", "index.json"},
        {"up-f16", "2048 of 4096", "f16 payload in an f32-only file"},
        {"down-short", "2048 of 4096 bytes", "down_features.bin"},
        {"gate-truncated", "4092 of 4096 bytes", "gate_vectors.bin"},
        {"checkpoint", "interrupted extraction", ".extract_checkpoint.json"},
        {"embeddings-size", "1000 bytes, expected 1024 (f32) or 512 (f16)", "embeddings.bin"},
        {"down-meta-magic", "bad magic", "down_meta.bin"},
        {"down-meta-short", "layer 1 runs past the end", "down_meta.bin"},
        {"q4k-length", "length 2160, expected 2304", "layers.1.mlp.up_proj.weight"},
        {"q4k-missing-entry", "5 entries, expected 6", "interleaved_q4k_manifest.json"},
        {"q4k-swapped", "is down_proj, expected up_proj", "entry 1"},
        {"q4k-format", "unknown format Q5_K", "entry 4"},
        {"q4k-old-blocks", "obsolete 148-byte", "Q4_K"},
        {"q4k-short", "116736", "116735"},
        {"fp4-short", "4383 of 4384 bytes", "up_features_fp4.bin"},
        {"fp4-path", "path separator", "../ok/up_features.bin"},
        {"fp4-version", "unsupported FP4 version 9", "fp4"},
        {"fp4-precision", "'fp6'", "fp4, fp8, f16, f32"},
    };
    char path[PATH_ROOM];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        golden_path(path, rows[i].name);
        expect_damage(path, rows[i].first, rows[i].second);
    }
}

/* Opens a control and checks which payloads are there; *note: text that some remark must contain.
 */
static void expect_sound(const char *path, const bool present[WA_PAYLOAD_COUNT], const char *note)
{
    wa_error err = {0};
    wa_arena *arena = NULL;
    wa_vindex *vindex = NULL;
    bool noted = note == NULL;
    WA_MUST(open_at(path, &arena, &vindex, &err), &err);
    for (int p = 0; p < WA_PAYLOAD_COUNT; p++)
        CU_ASSERT_EQUAL(vindex->present[p], present[p]);
    for (size_t i = 0; note != NULL && i < vindex->note_count; i++)
        noted = noted || strstr(vindex->notes[i], note) != NULL;
    if (!noted)
        fprintf(stderr, "    %s: no remark with '%s'\n", path, note);
    CU_ASSERT(noted);
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

static void controls_are_accepted(void)
{
    static const struct {
        const char *name, *note;
        bool present[WA_PAYLOAD_COUNT];
    } rows[] = {
        {"ok",
         NULL,
         {[WA_PAYLOAD_GATE] = true,
          [WA_PAYLOAD_UP_FEATURES] = true,
          [WA_PAYLOAD_DOWN_FEATURES] = true}},
        {"down-meta-ok",
         NULL,
         {[WA_PAYLOAD_GATE] = true,
          [WA_PAYLOAD_UP_FEATURES] = true,
          [WA_PAYLOAD_DOWN_FEATURES] = true}},
        {"down-meta-no-tokenizer",
         "without tokenizer.json",
         {[WA_PAYLOAD_GATE] = true,
          [WA_PAYLOAD_UP_FEATURES] = true,
          [WA_PAYLOAD_DOWN_FEATURES] = true}},
        {"q4k-ok",
         "16 -> 256 in down",
         {[WA_PAYLOAD_GATE] = true, [WA_PAYLOAD_INTERLEAVED_Q4K] = true}},
        {"fp4-ok", NULL, {[WA_PAYLOAD_GATE] = true, [WA_PAYLOAD_FP4] = true}},
        {"fp4-nan-scale", NULL, {[WA_PAYLOAD_GATE] = true, [WA_PAYLOAD_FP4] = true}},
    };
    char path[PATH_ROOM];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        golden_path(path, rows[i].name);
        expect_sound(path, rows[i].present, rows[i].note);
    }
}

/* The scales of a vindex are sound (says = NULL), or what is said of them has that text. */
static void expect_scales(const char *path, const char *says)
{
    wa_error err = {0};
    wa_arena *arena = NULL;
    wa_vindex *vindex = NULL;
    WA_MUST(open_at(path, &arena, &vindex, &err), &err);
    CU_ASSERT_EQUAL(wa_vindex_check_fp4_scales(vindex, &err), says == NULL ? WA_OK : WA_E_FORMAT);
    CU_ASSERT(says == NULL || strstr(err.text, says) != NULL);
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

/* fp4-ok: 2 layers of 16 features, a block each; up in FP4 (137 bytes), down in FP8 (257). */
static void a_nan_scale_is_found_at_its_feature(void)
{
    static const struct {
        const char *file, *says;
        long at;
        char code;
    } scales[] = {
        {"up_features_fp4.bin", "1 NaN scales, the first at layer 0, feature 15;", 15 * 137 + 128,
         0x7f},
        {"up_features_fp4.bin", "1 NaN scales, the first at layer 1, feature 0;", 16 * 137 + 135,
         -1},
        {"down_features_fp8.bin", "1 NaN scales, the first at layer 1, feature 2;", 18 * 257 + 256,
         -1},
        {"down_features_fp8.bin", NULL, 18 * 257 + 255, 0x7f}, /* a code, no scale */
    };
    char golden[PATH_ROOM], path[PATH_ROOM], name[2 * PATH_ROOM];
    golden_path(golden, "fp4-nan-scale");
    expect_scales(golden, "1 NaN scales, the first at layer 1, feature 1;");
    golden_path(golden, "fp4-ok");
    expect_scales(golden, NULL);
    scratch_path(path, "vindex", "scales");
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        copy_directory(golden, path);
        snprintf(name, sizeof name, "%s/%s", path, scales[i].file);
        FILE *file = fopen(name, "r+b");
        CU_ASSERT_PTR_NOT_NULL_FATAL(file);
        CU_ASSERT_EQUAL(fseek(file, scales[i].at, SEEK_SET), 0);
        CU_ASSERT_EQUAL(fwrite(&scales[i].code, 1, 1, file), 1);
        fclose(file);
        expect_scales(path, scales[i].says);
    }
}

/* The fixture has NaN at down layer 1 feature 5 element 7 and +inf at feature 6 element 0, and no
 * more. */
static void non_finite_values_are_counted_and_placed(void)
{
    char path[PATH_ROOM];
    wa_error err = {0};
    wa_arena *arena = NULL;
    wa_vindex *vindex = NULL;
    float scratch[32];
    wa_matrix matrix;
    golden_path(path, "non-finite");
    WA_MUST(open_at(path, &arena, &vindex, &err), &err);
    WA_MUST(wa_vindex_matrix(vindex, WA_PAYLOAD_DOWN_FEATURES, WA_DOWN, 0, &matrix, &err), &err);
    CU_ASSERT_EQUAL(wa_matrix_nonfinite(&matrix, scratch).count, 0);
    WA_MUST(wa_vindex_matrix(vindex, WA_PAYLOAD_DOWN_FEATURES, WA_DOWN, 1, &matrix, &err), &err);
    wa_nonfinite found = wa_matrix_nonfinite(&matrix, scratch);
    CU_ASSERT_EQUAL(found.count, 2);
    CU_ASSERT_EQUAL(found.first_row, 5);
    CU_ASSERT_EQUAL(found.first_col, 7);
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

static float float_at(const char *dir, const char *name, long offset)
{
    char path[2 * PATH_ROOM];
    float value = 0;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fseek(file, offset, SEEK_SET), 0);
    CU_ASSERT_EQUAL(fread(&value, sizeof value, 1, file), 1);
    fclose(file);
    return value;
}

/* vindex-format 3.1, 3.3: row f of layer l starts at 4*H*(16*l + f) in files of H 32 and 16
 * features. */
static void views_lie_where_the_format_puts_them(void)
{
    static const wa_payload payloads[] = {WA_PAYLOAD_GATE, WA_PAYLOAD_UP_FEATURES,
                                          WA_PAYLOAD_DOWN_FEATURES};
    char path[PATH_ROOM];
    wa_error err = {0};
    wa_arena *arena = NULL;
    wa_vindex *vindex = NULL;
    golden_path(path, "ok");
    WA_MUST(open_at(path, &arena, &vindex, &err), &err);
    for (size_t i = 0; i < 3; i++) {
        float row[32];
        wa_matrix matrix;
        WA_MUST(wa_vindex_matrix(vindex, payloads[i], (wa_projection)i, 1, &matrix, &err), &err);
        CU_ASSERT_EQUAL(matrix.rows, 16);
        CU_ASSERT_EQUAL(matrix.cols, 32);
        wa_matrix_decode(&matrix, 3, 1, row);
        CU_ASSERT_EQUAL(row[9],
                        float_at(path, wa_payload_file(payloads[i]), 4 * (32 * (16 + 3) + 9)));
    }
    wa_matrix none;
    CU_ASSERT_EQUAL(wa_vindex_matrix(vindex, WA_PAYLOAD_INTERLEAVED, WA_UP, 0, &none, &err),
                    WA_E_INTERNAL);
    CU_ASSERT_EQUAL(wa_vindex_matrix(vindex, WA_PAYLOAD_GATE, WA_UP, 0, &none, &err),
                    WA_E_INTERNAL);
    CU_ASSERT_EQUAL(wa_vindex_matrix(vindex, WA_PAYLOAD_GATE, WA_GATE, 2, &none, &err),
                    WA_E_INTERNAL);
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

/* vindex-format 3.4, with a file whose every float is its own index. */
static void interleaved_views_are_gate_up_down_of_each_layer(void)
{
    enum { FEATURES = 16, HIDDEN = 32, MATRIX = FEATURES * HIDDEN };
    static float numbers[2 * 3 * MATRIX];
    char path[PATH_ROOM], golden[PATH_ROOM];
    wa_error err = {0};
    wa_arena *arena = NULL;
    wa_vindex *vindex = NULL;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        numbers[i] = (float)i;
    golden_path(golden, "ok");
    scratch_path(path, "vindex", "interleaved");
    copy_directory(golden, path);
    write_file(path, "interleaved.bin", numbers, sizeof numbers);
    WA_MUST(open_at(path, &arena, &vindex, &err), &err);
    for (size_t l = 0; l < 2; l++)
        for (size_t p = 0; p < WA_PROJECTION_COUNT; p++) {
            float row[HIDDEN];
            wa_matrix matrix;
            WA_MUST(wa_vindex_matrix(vindex, WA_PAYLOAD_INTERLEAVED, (wa_projection)p, l, &matrix,
                                     &err),
                    &err);
            wa_matrix_decode(&matrix, 7, 1, row);
            CU_ASSERT_EQUAL(row[2], (float)((3 * l + p) * MATRIX + 7 * HIDDEN + 2));
        }
    wa_vindex_close(vindex);
    wa_arena_close(arena);
    write_file(path, "interleaved.bin", numbers, sizeof numbers - 4);
    expect_damage(path, "12284 of 12288 bytes", "interleaved.bin");
}

static void copy_ok(char *path, const char *name)
{
    char golden[PATH_ROOM];
    golden_path(golden, "ok");
    scratch_path(path, "vindex", name);
    copy_directory(golden, path);
}

static const bool ALL_FEATURES[WA_PAYLOAD_COUNT] = {
    [WA_PAYLOAD_GATE] = true, [WA_PAYLOAD_UP_FEATURES] = true, [WA_PAYLOAD_DOWN_FEATURES] = true};

/* V3, V5: a size that is too large is as wrong as one that is too small. */
static void files_longer_than_their_layers_are_refused(void)
{
    static const char *const names[] = {"gate_vectors.bin", "up_features.bin", "down_features.bin"};
    static const float zeros[2 * 16 * 32 + 1];
    char path[PATH_ROOM];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        copy_ok(path, "long");
        write_file(path, names[i], zeros, sizeof zeros);
        expect_damage(path, "4100 of 4096 bytes", names[i]);
    }
}

/* V18, and a K-quant file of the legacy builder (vindex-format 4.5). */
static void unusable_files_are_absent_with_a_remark(void)
{
    static const bool no_up[WA_PAYLOAD_COUNT] = {
        [WA_PAYLOAD_GATE] = true, [WA_PAYLOAD_DOWN_FEATURES] = true};
    char path[PATH_ROOM];
    copy_ok(path, "empty-up");
    write_file(path, "up_features.bin", "", 0);
    expect_sound(path, no_up, "up_features.bin is empty");

    copy_ok(path, "legacy");
    write_file(path, "interleaved_q4k.bin", "x", 1);
    expect_sound(path, ALL_FEATURES, "no manifest");
}

/* U27: without a gate source upstream has no features and passes; here nothing can run and it is
 * said. */
static void no_gate_source_means_zero_features(void)
{
    static const bool no_gate[WA_PAYLOAD_COUNT] = {
        [WA_PAYLOAD_UP_FEATURES] = true, [WA_PAYLOAD_DOWN_FEATURES] = true};
    char path[PATH_ROOM], gate[2 * PATH_ROOM];
    wa_error err = {0};
    wa_arena *arena = NULL;
    wa_vindex *vindex = NULL;
    copy_ok(path, "no-gate");
    snprintf(gate, sizeof gate, "%s/gate_vectors.bin", path);
    CU_ASSERT_EQUAL(remove(gate), 0);
    expect_sound(path, no_gate, "no gate source");
    WA_MUST(open_at(path, &arena, &vindex, &err), &err);
    CU_ASSERT_EQUAL(vindex->layers[1].features, 0);
    wa_vindex_close(vindex);
    wa_arena_close(arena);
    write_file(path, "up_features.bin", "1234", 4); /* damage is still seen */
    expect_damage(path, "4 of 4096 bytes", "up_features.bin");
}

/* An index.json of the shape of "ok", with what differs put in: sizes, layers, tail. */
static void write_index(const char *dir, const char *sizes, const char *layers, const char *tail)
{
    char text[4096];
    int length = snprintf(
        text, sizeof text,
        "{\"version\": 2, \"model\": \"m\", \"family\": \"llama\", %s, \"embed_scale\": 1.0, "
        "\"layers\": [%s], \"down_top_k\": 2%s}",
        sizes, layers, tail);
    CU_ASSERT_FATAL(length > 0 && (size_t)length < sizeof text);
    write_file(dir, "index.json", text, (size_t)length);
}

static const char SIZES[] =
    "\"num_layers\": 2, \"hidden_size\": 32, \"intermediate_size\": 16, \"vocab_size\": 8";
static const char LAYERS[] =
    "{\"layer\": 0, \"num_features\": 16, \"offset\": 0, \"length\": 2048}, "
    "{\"layer\": 1, \"num_features\": 16, \"offset\": 2048, \"length\": 2048}";

static void an_empty_layer_list_opens_with_zero_features(void)
{
    char path[PATH_ROOM];
    wa_error err = {0};
    wa_arena *arena = NULL;
    wa_vindex *vindex = NULL;
    wa_matrix matrix;
    copy_ok(path, "no-layers");
    write_index(path, SIZES, "", "");
    expect_sound(path, ALL_FEATURES, "lists no layers: zero features");
    WA_MUST(open_at(path, &arena, &vindex, &err), &err);
    CU_ASSERT_EQUAL(vindex->layer_count, 2);
    WA_MUST(wa_vindex_matrix(vindex, WA_PAYLOAD_GATE, WA_GATE, 1, &matrix, &err), &err);
    CU_ASSERT_EQUAL(matrix.rows, 0);
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

/* The hash of gate_vectors.bin is the one published with the golden files. */
static void checksums_are_verified_on_demand(void)
{
    char path[PATH_ROOM];
    wa_error err = {0};
    wa_arena *arena = NULL;
    wa_vindex *vindex = NULL;
    wa_vindex_checksum *sums;
    size_t count;
    copy_ok(path, "checksums");
    write_index(
        path, SIZES, LAYERS,
        ", \"checksums\": {\"gate_vectors.bin\": "
        "\"6e9f1d07c69d1e506a68c7ffc8c02483560e29fdfce9a98c772cc78af4913b7b\", "
        "\"up_features.bin\": "
        "\"0000000000000000000000000000000000000000000000000000000000000000\", "
        "\"norms.bin\": \"0000000000000000000000000000000000000000000000000000000000000000\"}");
    WA_MUST(open_at(path, &arena, &vindex, &err), &err);
    WA_MUST(wa_vindex_verify(vindex, arena, &sums, &count, &err), &err);
    CU_ASSERT_EQUAL_FATAL(count, 4);
    CU_ASSERT_EQUAL(sums[0].state, WA_CHECKSUM_EQUAL);
    CU_ASSERT_EQUAL(sums[1].state, WA_CHECKSUM_DIFFERS);
    CU_ASSERT_EQUAL(sums[2].state, WA_CHECKSUM_FILE_ABSENT);
    CU_ASSERT_EQUAL(sums[3].state, WA_CHECKSUM_NONE);
    CU_ASSERT_STRING_EQUAL(sums[3].file, "down_features.bin");
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

/* A copy of up_features.bin with one float of layer 1, feature 4 changed, as the up part of
 * interleaved.bin. */
static void copies_that_disagree_are_found(void)
{
    enum { MATRIX = 16 * 32 };
    static float numbers[6 * MATRIX], up[2 * MATRIX];
    char path[PATH_ROOM];
    wa_error err = {0};
    wa_arena *arena = NULL;
    wa_vindex *vindex = NULL;
    wa_vindex_difference found;
    copy_ok(path, "copies");
    for (size_t i = 0; i < 2 * MATRIX; i++) {
        up[i] = (float)i;
        numbers[(3 * (i / MATRIX) + 1) * MATRIX + i % MATRIX] = (float)i;
    }
    write_file(path, "up_features.bin", up, sizeof up);
    write_file(path, "interleaved.bin", numbers, sizeof numbers);
    WA_MUST(open_at(path, &arena, &vindex, &err), &err);
    WA_MUST(wa_vindex_compare(vindex, WA_UP, WA_PAYLOAD_UP_FEATURES, WA_PAYLOAD_INTERLEAVED, arena,
                              &found, &err),
            &err);
    CU_ASSERT_EQUAL(found.rows, 0);
    wa_vindex_close(vindex);
    wa_arena_reset(arena);

    numbers[4 * MATRIX + 4 * 32 + 31] += 1;
    write_file(path, "interleaved.bin", numbers, sizeof numbers);
    WA_MUST(wa_vindex_open(path, arena, &vindex, &err), &err);
    WA_MUST(wa_vindex_compare(vindex, WA_UP, WA_PAYLOAD_UP_FEATURES, WA_PAYLOAD_INTERLEAVED, arena,
                              &found, &err),
            &err);
    CU_ASSERT_EQUAL(found.rows, 1);
    CU_ASSERT_EQUAL(found.first_layer, 1);
    CU_ASSERT_EQUAL(found.first_row, 4);
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

/* Each is refused by arithmetic alone: the arena holds 8 MiB. The first index is the sound one they
 * vary. */
static void hostile_numbers_in_index_json_are_refused(void)
{
    static const struct {
        const char *sizes, *layers, *tail, *said;
    } rows[] = {
        {"\"num_layers\": 1000000000000000, \"hidden_size\": 32, \"intermediate_size\": 1, "
         "\"vocab_size\": 8",
         "", "", "num_layers 1000000000000000"},
        {"\"num_layers\": 0, \"hidden_size\": 32, \"intermediate_size\": 1, \"vocab_size\": 8", "",
         "", "num_layers"},
        {"\"num_layers\": -1, \"hidden_size\": 32, \"intermediate_size\": 1, \"vocab_size\": 8", "",
         "", "num_layers"},
        {"\"num_layers\": 2, \"hidden_size\": 4611686018427387904, \"intermediate_size\": 1, "
         "\"vocab_size\": 8",
         "", "", "overflows"},
        {"\"num_layers\": 2, \"hidden_size\": 99999999999999999999, \"intermediate_size\": 1, "
         "\"vocab_size\": 8",
         "", "", "JSON error"},
        {SIZES,
         "{\"layer\": 0, \"num_features\": 9223372036854775807, \"offset\": 0, \"length\": 0}, "
         "{\"layer\": 1, \"num_features\": 16, \"offset\": 0, \"length\": 0}",
         "", "overflows"},
        {SIZES,
         "{\"layer\": 0, \"num_features\": 144115188075855871, \"offset\": 0, \"length\": 0}", "",
         "1 of 2 layers"},
        {SIZES,
         "{\"layer\": 0, \"num_features\": 50000000000000000, \"offset\": 0, \"length\": "
         "6400000000000000000}, {\"layer\": 1, \"num_features\": 16, \"offset\": 0, \"length\": "
         "2048}",
         "", "overflows"},
        {SIZES,
         "{\"layer\": 0, \"num_features\": 16, \"offset\": 9223372036854775804, \"length\": 2048}, "
         "{\"layer\": 1, \"num_features\": 16, \"offset\": 0, \"length\": 2048}",
         "", "exceeds the file's 4096"},
        {SIZES, "1, 2", "", "found an integer, expected an object"},
        {SIZES,
         "{\"layer\": 0, \"num_features\": 16, \"offset\": 0, \"length\": 2048}, "
         "{\"layer\": 1, \"num_features\": 16, \"offset\": 2048, \"length\": 2048}, "
         "{\"layer\": 2, \"num_features\": 0, \"offset\": 4096, \"length\": 0}",
         "", "3 layers listed, num_layers is 2"},
        {SIZES, "", ", \"checksums\": {\"../x\": \"00\"}", "path separator"},
        {SIZES, "", ", \"fp4\": 3", "expected an object"},
        {SIZES, "", ", \"dtype\": \"bf16\"", "'dtype': found 'bf16'"},
    };
    char path[PATH_ROOM];
    copy_ok(path, "hostile");
    write_index(path, SIZES, LAYERS, "");
    expect_sound(path, ALL_FEATURES, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_index(path, rows[i].sizes, rows[i].layers, rows[i].tail);
        expect_damage(path, rows[i].said, "hostile");
    }
}

/* A document that ends before its last brace is no JSON, wherever it is cut. */
static void every_prefix_of_index_json_is_refused(void)
{
    char path[PATH_ROOM], text[600], golden[2 * PATH_ROOM];
    copy_ok(path, "prefix");
    snprintf(golden, sizeof golden, "%s/ok/index.json", MALFORMED);
    FILE *file = fopen(golden, "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    size_t size = fread(text, 1, sizeof text, file);
    fclose(file);
    CU_ASSERT(size == 497);
    for (size_t n = 0; n < size; n++) {
        write_file(path, "index.json", text, n);
        expect_damage(path, "index.json", n == 0 ? "empty" : "JSON error");
    }
}

static void a_file_named_by_fp4_must_be_there(void)
{
    char golden[PATH_ROOM], path[PATH_ROOM], file[2 * PATH_ROOM];
    golden_path(golden, "fp4-ok");
    scratch_path(path, "vindex", "fp4-missing");
    copy_directory(golden, path);
    snprintf(file, sizeof file, "%s/down_features_fp8.bin", path);
    CU_ASSERT_EQUAL(remove(file), 0);
    expect_damage(path, "'down_features_fp8.bin'", "absent");
}

/* 3 matrices of 2 layers, each 16 features of 32 elements: one block of 18 bytes per feature. */
static void interleaved_q4_has_its_computed_size(void)
{
    enum { SIZE = 3 * 2 * 16 * 18 };
    static const bool with_q4[WA_PAYLOAD_COUNT] = {[WA_PAYLOAD_GATE] = true,
                                                   [WA_PAYLOAD_UP_FEATURES] = true,
                                                   [WA_PAYLOAD_DOWN_FEATURES] = true,
                                                   [WA_PAYLOAD_INTERLEAVED_Q4] = true};
    static const char zeros[SIZE];
    char path[PATH_ROOM];
    copy_ok(path, "q4");
    write_file(path, "interleaved_q4.bin", zeros, SIZE);
    expect_sound(path, with_q4, NULL);
    write_file(path, "interleaved_q4.bin", zeros, SIZE - 1);
    expect_damage(path, "1727 of 1728 bytes", "interleaved_q4.bin");

    /* A block must not cross rows, and the stride needs layers alike (vindex-format 4.3). The gate
     * file that fits is written beside. */
    write_index(path,
                "\"num_layers\": 2, \"hidden_size\": 16, \"intermediate_size\": 16, "
                "\"vocab_size\": 8",
                "{\"layer\": 0, \"num_features\": 32, \"offset\": 0, \"length\": 2048}, "
                "{\"layer\": 1, \"num_features\": 32, \"offset\": 2048, \"length\": 2048}",
                "");
    expect_damage(path, "hidden_size 16, expected a multiple of 32", "interleaved_q4.bin");
    write_index(path, SIZES,
                "{\"layer\": 0, \"num_features\": 17, \"offset\": 0, \"length\": 2176}, "
                "{\"layer\": 1, \"num_features\": 15, \"offset\": 2176, \"length\": 1920}",
                "");
    expect_damage(path, "layer 1 has 15 features, layer 0 has 17", "interleaved_q4.bin");
}

static void a_directory_without_index_or_none_at_all_is_named(void)
{
    wa_error err = {0};
    wa_arena *arena = NULL;
    wa_vindex *vindex = NULL;
    char path[PATH_ROOM];
    CU_ASSERT_EQUAL(open_at("no/such/vindex", &arena, &vindex, &err), WA_E_IO);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "no/such/vindex"));
    wa_arena_close(arena);
    scratch_path(path, "vindex", "bare");
    (void)mkdir(path, 0777);
    expect_damage(path, "index.json is absent", "bare");
}

/* Whichever allocation fails, the vindex is closed and the story is one of memory. */
static void every_failing_allocation_is_reported(void)
{
    char path[PATH_ROOM];
    golden_path(path, "q4k-ok");
    bool opened = false;
    for (size_t k = 1; k < 500 && !opened; k++) {
        wa_error err = {0};
        wa_arena *arena = NULL;
        wa_vindex *vindex = NULL;
        WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
        wa_arena_fail_at(arena, k);
        wa_status status = wa_vindex_open(path, arena, &vindex, &err);
        opened = status == WA_OK;
        CU_ASSERT(opened || status == WA_E_MEMORY);
        if (opened)
            wa_vindex_close(vindex);
        wa_arena_close(arena);
    }
    CU_ASSERT(opened);
}

WA_SUITE("vindex", WA_CASE(every_damaged_vindex_is_refused_with_its_numbers),
         WA_CASE(controls_are_accepted), WA_CASE(a_nan_scale_is_found_at_its_feature),
         WA_CASE(non_finite_values_are_counted_and_placed),
         WA_CASE(views_lie_where_the_format_puts_them),
         WA_CASE(interleaved_views_are_gate_up_down_of_each_layer),
         WA_CASE(files_longer_than_their_layers_are_refused),
         WA_CASE(unusable_files_are_absent_with_a_remark),
         WA_CASE(no_gate_source_means_zero_features), WA_CASE(checksums_are_verified_on_demand),
         WA_CASE(copies_that_disagree_are_found),
         WA_CASE(an_empty_layer_list_opens_with_zero_features),
         WA_CASE(hostile_numbers_in_index_json_are_refused),
         WA_CASE(every_prefix_of_index_json_is_refused), WA_CASE(a_file_named_by_fp4_must_be_there),
         WA_CASE(interleaved_q4_has_its_computed_size),
         WA_CASE(a_directory_without_index_or_none_at_all_is_named),
         WA_CASE(every_failing_allocation_is_reported))

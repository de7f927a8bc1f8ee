/* The files of a vindex that no walk path reads: weight_manifest.json (V11), the layer files (V12),
 * down_meta.bin (V10), and the weight tier against the feature files (V16). */
#include "suite.h"
#include "vindex/parts.h"
#include "vindex/scan.h"
#include "vindex_dirs.h"

#include <sys/stat.h>

enum { SMALL_ARENA = 8 << 20, HIDDEN = 32, FEATURES = 16, LAYERS = 2 };

static void copy_golden(char *path, const char *golden, const char *name)
{
    char from[PATH_ROOM];
    snprintf(from, sizeof from, WA_GOLDEN "/malformed/vindex/%s", golden);
    scratch_path(path, "weights", name);
    copy_directory(from, path);
}

/* Two layers of 16 features, H 32, vocabulary 8. */
static void copy_ok(char *path, const char *name)
{
    copy_golden(path, "ok", name);
}

/* Opens; damage must be told with both texts, NULL: it must be sound. The caller closes the
 * vindex. */
static wa_vindex *open_case(const char *path, wa_arena **arena, const char *first,
                            const char *second)
{
    wa_error err = {0};
    wa_vindex *vindex = NULL;
    WA_MUST(wa_arena_open("test", SMALL_ARENA, arena, &err), &err);
    wa_status status = wa_vindex_open(path, *arena, &vindex, &err);
    bool said = first == NULL ? status == WA_OK
                              : status == WA_E_FORMAT && strstr(err.text, first) != NULL &&
                                    strstr(err.text, second) != NULL;
    if (!said)
        fprintf(stderr, "    %s: status %d '%s', wanted '%s' and '%s'\n", path, (int)status,
                err.text, first == NULL ? "OK" : first, first == NULL ? "" : second);
    CU_ASSERT(said);
    return status == WA_OK ? vindex : NULL;
}

static void expect_damage(const char *path, const char *first, const char *second)
{
    wa_arena *arena = NULL;
    wa_vindex_close(open_case(path, &arena, first, second));
    wa_arena_close(arena);
}

static bool has_note(const wa_vindex *vindex, const char *text)
{
    for (size_t i = 0; i < vindex->note_count; i++)
        if (strstr(vindex->notes[i], text) != NULL)
            return true;
    return false;
}

static void write_text(const char *dir, const char *name, const char *text)
{
    write_file(dir, name, text, strlen(text));
}

/* One entry of a manifest. */
#define ENTRY(key, kind, shape, offset, length, file)                                              \
    "{\"key\": \"" key "\", \"kind\": \"" kind "\", \"shape\": " shape ", \"offset\": " offset     \
    ", \"length\": " length ", \"file\": \"" file "\"}"

static void a_damaged_weight_manifest_is_refused_with_its_numbers(void)
{
    static const struct {
        const char *text, *first, *second;
    } rows[] = {
        {"{}", "found an object, expected an array", "weight_manifest.json"},
        {"[7]", "found an integer, expected an object", "entry 0"},
        {"[" ENTRY("a", "tensor_q8", "[2, 2]", "0", "16", "w.bin") "]", "'tensor_q8'",
         "vector, tensor, tensor_q4k, tensor_f16, packed_bf16"},
        {"[" ENTRY("a", "tensor", "[4]", "0", "16", "w.bin") "]",
         "shape has 1 dimensions, expected 2 for a tensor", "entry 0, 'a'"},
        {"[" ENTRY("a", "vector", "[2, 2]", "0", "16", "w.bin") "]",
         "shape has 2 dimensions, expected 1 for a vector", "weight_manifest.json"},
        {"[" ENTRY("a", "tensor", "7", "0", "16", "w.bin") "]", "shape has 0 dimensions", "'a'"},
        {"[" ENTRY("a", "tensor", "[2, -2]", "0", "16", "w.bin") "]", "shape[1]: expected a count",
         "'a'"},
        {"[" ENTRY("a", "tensor", "[4294967296, 4294967296]", "0", "16", "w.bin") "]",
         "overflows 64 bits", "'a'"},
        {"[" ENTRY("a", "tensor", "[2, 2]", "0", "12", "w.bin") "]",
         "length 12, expected 4 elements of 4 or 2 bytes", "'a'"},
        {"[" ENTRY("a", "tensor_f16", "[2, 2]", "0", "16", "w.bin") "]",
         "length 16, expected 4 elements of 2 bytes", "'a'"},
        {"[" ENTRY("a", "tensor_q4k", "[2, 100]", "0", "16", "w.bin") "]",
         "shape[1] is 100, expected a multiple of 256", "'a'"},
        {"[" ENTRY("a", "tensor_q4k", "[2, 256]", "0", "287", "w.bin") "]",
         "length 287, expected 2 blocks of 144 bytes", "'a'"},
        {"[" ENTRY("a", "tensor", "[2, 2]", "52", "16", "w.bin") "]",
         "offset 52 + length 16 exceeds the 64 bytes of 'w.bin'", "entry 0, 'a'"},
        {"[" ENTRY("a", "tensor", "[2, 2]", "9223372036854775807", "16", "w.bin") "]",
         "offset 9223372036854775807", "'a'"},
        {"[" ENTRY("a", "tensor", "[2, 2]", "0", "16", "../w.bin") "]",
         "path separator in file name '../w.bin'", "'a'"},
        {"[" ENTRY("a", "tensor", "[2, 2]", "0", "16", "w.bin") ", " ENTRY(
             "b", "vector", "[2]", "16", "8", "w.bin") ", " ENTRY("a", "tensor", "[2, 2]", "0", "8",
                                                                  "w.bin") "]",
         "entries 0 and 2 have the same key 'a'", "weight_manifest.json"},
    };
    char path[PATH_ROOM];
    static const char zeros[64];
    copy_ok(path, "manifest");
    write_file(path, "w.bin", zeros, sizeof zeros);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_text(path, "weight_manifest.json", rows[i].text);
        expect_damage(path, rows[i].first, rows[i].second);
    }
}

static void a_manifest_of_absent_files_is_remarked(void)
{
    char path[PATH_ROOM];
    wa_arena *arena = NULL;
    copy_ok(path, "absent");
    write_text(path, "weight_manifest.json",
               "[" ENTRY("a", "tensor", "[2, 2]", "0", "16", "w.bin") ", " ENTRY(
                   "b", "vector", "[2]", "16", "8",
                   "w.bin") ", " ENTRY("c", "packed_bf16", "[2, 3, 4]", "0", "48", "") "]");
    wa_vindex *vindex = open_case(path, &arena, NULL, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(vindex);
    CU_ASSERT(has_note(vindex, "'w.bin' of 2 entries is not there"));
    CU_ASSERT(has_note(vindex, "'model_weights.bin' of 1 entries is not there"));
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

/* Down of the weight tier is [H, F]; the feature files of "ok" are read back in that order. */
static void write_tier(const char *dir, bool changed)
{
    enum { MATRIX = HIDDEN * FEATURES };
    static float features[LAYERS * MATRIX], weights[LAYERS * MATRIX];
    char path[2 * PATH_ROOM];
    snprintf(path, sizeof path, "%s/down_features.bin", dir);
    FILE *file = fopen(path, "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL_FATAL(fread(features, sizeof features, 1, file), 1);
    fclose(file);
    for (size_t l = 0; l < LAYERS; l++)
        for (size_t f = 0; f < FEATURES; f++)
            for (size_t h = 0; h < HIDDEN; h++)
                weights[l * MATRIX + h * FEATURES + f] = features[l * MATRIX + f * HIDDEN + h];
    if (changed)
        weights[MATRIX + 3 * FEATURES + 9] += 1.0f;
    write_file(dir, "down_weights.bin", weights, sizeof weights);
    write_text(dir, "weight_manifest.json",
               "[" ENTRY("layers.0.mlp.down_proj.weight", "tensor", "[32, 16]", "0", "2048",
                         "down_weights.bin") ", " ENTRY("layers.1.mlp.down_proj.weight", "tensor",
                                                        "[32, 16]", "2048", "2048",
                                                        "down_weights.bin") "]");
}

static void down_of_the_weight_tier_is_compared_with_the_features(void)
{
    for (int changed = 0; changed < 2; changed++) {
        char path[PATH_ROOM];
        wa_arena *arena = NULL;
        wa_error err = {0};
        wa_matrix matrix;
        wa_vindex_difference found;
        copy_ok(path, "tier");
        write_tier(path, changed == 1);
        wa_vindex *vindex = open_case(path, &arena, NULL, NULL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(vindex);
        CU_ASSERT(wa_vindex_weight(vindex, WA_DOWN, 1, &matrix));
        CU_ASSERT_FALSE(wa_vindex_weight(vindex, WA_UP, 1, &matrix));
        WA_MUST(wa_vindex_compare_weights(vindex, WA_DOWN, WA_PAYLOAD_DOWN_FEATURES, arena, &found,
                                          &err),
                &err);
        CU_ASSERT_EQUAL(found.rows, (size_t)changed);
        CU_ASSERT_EQUAL(found.first_layer, changed == 1 ? 1 : 0);
        CU_ASSERT_EQUAL(found.first_row, changed == 1 ? 9 : 0);
        WA_MUST(
            wa_vindex_compare_weights(vindex, WA_UP, WA_PAYLOAD_UP_FEATURES, arena, &found, &err),
            &err);
        CU_ASSERT_EQUAL(found.rows, 0);
        wa_vindex_close(vindex);
        wa_arena_close(arena);
    }
}

/* ---- layers/layer_01.weights: two entries in Q8_0, unpadded: 32 rows of one block, and 512 el- */

enum {
    GATE_UP_BYTES = 2 * FEATURES * 34,
    DOWN_BYTES = FEATURES * 34,
    ENTRY_BYTES = GATE_UP_BYTES + DOWN_BYTES,
    LAYER_BYTES = 24 + 2 * 32 + 2 * ENTRY_BYTES
};

static void put_u32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

static void put_u64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
}

static void sound_layer(uint8_t bytes[LAYER_BYTES])
{
    memset(bytes, 0, LAYER_BYTES);
    memcpy(bytes, "LYRW", 4);
    put_u32(bytes + 4, 1);
    put_u32(bytes + 8, 6);
    put_u32(bytes + 12, 2);
    put_u32(bytes + 16, FEATURES);
    put_u32(bytes + 20, HIDDEN);
    for (uint64_t e = 0; e < 2; e++) {
        put_u64(bytes + 24 + 32 * e, 88 + ENTRY_BYTES * e);
        put_u64(bytes + 32 + 32 * e, GATE_UP_BYTES);
        put_u64(bytes + 40 + 32 * e, 88 + GATE_UP_BYTES + ENTRY_BYTES * e);
        put_u64(bytes + 48 + 32 * e, DOWN_BYTES);
    }
}

static void a_damaged_layer_file_is_refused_with_its_numbers(void)
{
    static const struct {
        size_t at; /* of the u32 or, from 24 on, u64 that is replaced */
        uint64_t value;
        const char *first, *second;
    } rows[] = {
        {0, 0x4C595257, "bad magic 4c595257, expected 5752594c", "layers/layer_01.weights"},
        {4, 3, "unsupported version 3", "layer_01"},
        {8, 9, "unknown format 9, expected 0 to 8", "layer_01"},
        {8, 8, "unknown scale binding 88, expected 0 (inline) or 1 (split)", "layer_01"},
        {8, 4,
         "entry 0: gate_up has 1088 bytes, expected 4608: 32 rows of 32 Q4_K elements, padded to "
         "256",
         "layer_01"},
        {12, 105, "table of 105 entries needs 3384 bytes, the file has 3352", "layer_01"},
        {12, 0xffffffff, "table of 4294967295 entries", "the file has 3352"},
        {12, 0, "0 entries of 16 features, expected at least one of each", "layer_01"},
        {16, 0, "2 entries of 0 features", "layer_01"},
        {16, 17, "entry 0: gate_up has 1088 bytes, expected 9248: 34 rows", "layer_01"},
        {16, 0xffffffff, "entry 0: gate_up has 1088 bytes, expected", "layer_01"},
        {20, 33, "hidden size 33, index.json says 32", "layer_01"},
        {24, 3000, "entry 0: gate_up at offset 3000 + 1088 bytes exceeds the file's 3352",
         "layer_01"},
        {64, UINT64_MAX, "entry 1: gate_up at offset 1720 + 18446744073709551615 bytes", "3352"},
        {48, 0, "entry 0: down has 0 bytes, expected 8704", "layer_01"},
        {72, 1200, "down of entry 0, [1176, 1720), and down of entry 1, [1200, 1744), overlap",
         "layer_01"},
        {24, 87, "gate_up of entry 0 begins at 87, inside the table that ends at 88", "layer_01"},
    };
    uint8_t bytes[LAYER_BYTES];
    char path[PATH_ROOM], layers[2 * PATH_ROOM];
    wa_arena *arena = NULL;
    copy_ok(path, "layers");
    snprintf(layers, sizeof layers, "%s/layers", path);
    CU_ASSERT_EQUAL_FATAL(mkdir(layers, 0777), 0);
    sound_layer(bytes);
    write_file(path, "layers/layer_01.weights", bytes, sizeof bytes);
    wa_vindex_close(open_case(path, &arena, NULL, NULL));
    wa_arena_close(arena);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sound_layer(bytes);
        if (rows[i].at < 24)
            put_u32(bytes + rows[i].at, (uint32_t)rows[i].value);
        else
            put_u64(bytes + rows[i].at, rows[i].value);
        write_file(path, "layers/layer_01.weights", bytes, sizeof bytes);
        expect_damage(path, rows[i].first, rows[i].second);
    }
    write_file(path, "layers/layer_01.weights", bytes, 23);
    expect_damage(path, "23 bytes, the header alone has 24", "layer_01");
}

/* ---- down_meta.bin: 2 layers, one record with one slot each ---- */

enum { META_BYTES = 16 + 2 * (4 + 16) };

static void damaged_down_meta_is_refused_with_its_numbers(void)
{
    static const struct {
        size_t at;
        uint32_t value;
        const char *first;
    } rows[] = {
        {4, 3, "unsupported version 3, expected 1"},
        {8, 3, "3 layers, num_layers is 2"},
        {12, 0xffffffff, "record 0 of layer 0 runs past the end"},
        {16, 17, "layer 0: 17 records for 16 features"},
        {20, 8, "layer 0, record 0: token id 8, vocab_size is 8"},
        {48, 9, "layer 1, record 0: token id 9, vocab_size is 8"},
        {36, 0, "layers end at 40, file has 56 bytes"},
    };
    uint8_t sound[META_BYTES] = "TEMD", bytes[META_BYTES];
    char path[PATH_ROOM];
    wa_arena *arena = NULL;
    put_u32(sound + 4, 1);
    put_u32(sound + 8, 2);
    put_u32(sound + 12, 1);
    put_u32(sound + 16, 1);
    put_u32(sound + 36, 1);
    copy_golden(path, "down-meta-ok", "meta");
    write_file(path, "down_meta.bin", sound, sizeof sound);
    wa_vindex_close(open_case(path, &arena, NULL, NULL));
    wa_arena_close(arena);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memcpy(bytes, sound, sizeof bytes);
        put_u32(bytes + rows[i].at, rows[i].value);
        write_file(path, "down_meta.bin", bytes, sizeof bytes);
        expect_damage(path, rows[i].first, "down_meta.bin");
    }
}

WA_SUITE("vindex_weights", WA_CASE(a_damaged_weight_manifest_is_refused_with_its_numbers),
         WA_CASE(a_manifest_of_absent_files_is_remarked),
         WA_CASE(down_of_the_weight_tier_is_compared_with_the_features),
         WA_CASE(a_damaged_layer_file_is_refused_with_its_numbers),
         WA_CASE(damaged_down_meta_is_refused_with_its_numbers))

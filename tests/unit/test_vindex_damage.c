/* One word of a sound vindex's JSON changed: each rule of vindex-format 10 that a JSON file can
 * break is told with what was found and expected. */
#include "suite.h"
#include "vindex/vindex.h"
#include "vindex_dirs.h"

enum { SMALL_ARENA = 8 << 20, TEXT_ROOM = 16384 };

/* The golden vindex, its file, the first occurrence of `from`, what stands there instead; both
 * texts. */
typedef struct damage {
    const char *golden, *file, *from, *to, *first, *second;
} damage;

static size_t read_text(const char *dir, const char *name, char *out)
{
    char path[2 * PATH_ROOM];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    size_t size = fread(out, 1, TEXT_ROOM - 1, file);
    fclose(file);
    out[size] = '\0';
    return size;
}

static void apply(const damage *d, char *path)
{
    static char text[TEXT_ROOM], changed[2 * TEXT_ROOM];
    char golden[PATH_ROOM];
    snprintf(golden, sizeof golden, WA_GOLDEN "/malformed/vindex/%s", d->golden);
    scratch_path(path, "damage", "one");
    copy_directory(golden, path);
    (void)read_text(path, d->file, text);
    const char *at = strstr(text, d->from);
    if (at == NULL)
        fprintf(stderr, "    no '%s' in %s of %s\n", d->from, d->file, d->golden);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, d->to,
             at + strlen(d->from));
    write_file(path, d->file, changed, strlen(changed));
}

static void expect(const damage *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char path[PATH_ROOM];
        wa_error err = {0};
        wa_arena *arena = NULL;
        wa_vindex *vindex = NULL;
        apply(&rows[i], path);
        WA_MUST(wa_arena_open("test", SMALL_ARENA, &arena, &err), &err);
        wa_status status = wa_vindex_open(path, arena, &vindex, &err);
        bool said =
            strstr(err.text, rows[i].first) != NULL && strstr(err.text, rows[i].second) != NULL;
        if (status != WA_E_FORMAT || !said)
            fprintf(stderr, "    '%s' for '%s': status %d '%s', wanted '%s' and '%s'\n", rows[i].to,
                    rows[i].from, (int)status, err.text, rows[i].first, rows[i].second);
        CU_ASSERT_EQUAL(status, WA_E_FORMAT);
        CU_ASSERT(said);
        if (status == WA_OK)
            wa_vindex_close(vindex);
        wa_arena_close(arena);
    }
}

#define EXPECT(rows) expect(rows, sizeof rows / sizeof rows[0])

/* V1, V2, V3: index.json itself. */
static void a_broken_rule_of_index_json_is_told(void)
{
    static const damage rows[] = {
        {"ok", "index.json", "\"hidden_size\": 32", "\"hidden_size\": 0", "'hidden_size': found 0",
         "index.json"},
        {"ok", "index.json", "\"vocab_size\": 8", "\"vocab_size\": 0", "'vocab_size': found 0",
         "expected 1 or more"},
        {"ok", "index.json", "\"vocab_size\": 8", "\"vocab_size\": 9000000000000000000",
         "vocab_size 9000000000000000000 x hidden_size 32 x 4 overflows", "index.json"},
        {"ok", "index.json", "\"layer\": 1", "\"layer\": 0", "layers[1] names layer 0, expected 1",
         "index.json"},
        {"ok", "index.json", "\"num_features\": 16", "\"num_features\": 15",
         "layer 0: length 2048, expected 1920 (15 x 32 f32)", "index.json"},
        {"ok", "index.json", "\"embed_scale\":", "\"embed\":", "'embed_scale': found nothing",
         "expected a number"},
    };
    EXPECT(rows);
}

/* V7: the manifest of interleaved_q4k.bin; the fixtures have the rest of its rules. */
static void a_broken_rule_of_a_kquant_manifest_is_told(void)
{
    static const char file[] = "interleaved_q4k_manifest.json";
    static const damage rows[] = {
        {"q4k-ok", file, "layers.1.mlp.gate_proj", "layers.0.mlp.gate_proj",
         "is of another layer, expected layer 1", "entry 3"},
        {"q4k-ok", file, "mlp.gate_proj", "self_attn.q_proj",
         "is no FFN projection, expected gate_proj of layer 0", "entry 0"},
        {"q4k-ok", file, "16,\n      256", "17,\n      256",
         "shape [17, 256], expected [16, 256] (256 padded to a multiple of 256)", "entry 0"},
        {"q4k-ok", file, "16,\n      256", "16,\n      255", "shape [16, 255], expected [16, 256]",
         "entry 0"},
        {"q4k-ok", file, "16,\n      256", "16", "'shape': expected two integers", "entry 0"},
        {"q4k-ok", file, "\"offset\": 0", "\"offset\": 114433",
         "range [114433, 116737) ends beyond the file's 116736 bytes", "entry 0"},
        {"q4k-ok", file, "\"offset\": 0", "\"offset\": -1", "offset", "entry 0"},
        {"q4k-ok", file, "\"length\": 2304", "\"len\": 2304", "length", "entry 0"},
    };
    EXPECT(rows);
}

/* V9: what upstream never looks at. */
static void a_broken_rule_of_the_fp4_object_is_told(void)
{
    static const char file[] = "index.json";
    static const damage rows[] = {
        {"fp4-ok", file, "\"block_elements\": 256", "\"block_elements\": 128",
         "'block_elements': found 128, expected 256", "fp4"},
        {"fp4-ok", file, "\"sub_block_elements\": 32", "\"sub_block_elements\": 16",
         "'sub_block_elements': found 16, expected 32", "fp4"},
        {"fp4-ok", file, "\"sub_block_scale_dtype\": \"fp8_e4m3\"",
         "\"sub_block_scale_dtype\": \"fp8_e5m2\"", "found 'fp8_e5m2', expected 'fp8_e4m3'",
         "sub_block_scale_dtype"},
        {"fp4-ok", file, "\"block_scale_dtype\": \"fp8_e4m3\"", "\"block_scale_dtype\": \"f16\"",
         "'block_scale_dtype': found 'f16', expected 'fp8_e4m3'", "fp4"},
        {"fp4-ok", file, "fp4_e2m1_mxfp4_nibble_order", "fp4_e2m1",
         "found 'fp4_e2m1', expected 'fp4_e2m1_mxfp4_nibble_order'", "value_encoding"},
        {"fp4-ok", file, "\"fp4_format_version\": 1",
         "\"padded_hidden\": 512, \"fp4_format_version\": 1",
         "padded_hidden 512, expected 256 for hidden_size 256", "fp4"},
        {"fp4-ok", file, "\"up_features_fp4.bin\"", "\"..\"", "path separator in file name '..'",
         "projections.up"},
        {"fp4-ok", file, "\"threshold_ratio\":", "\"ratio\":", "'compliance_gate.threshold_ratio'",
         "fp4"},
        {"ok", file, "\"down_top_k\":",
         "\"fp4\": {\"fp4_format_version\": 1, \"block_elements\": 256, \"sub_block_elements\": "
         "32, "
         "\"sub_block_scale_dtype\": \"fp8_e4m3\", \"block_scale_dtype\": \"fp8_e4m3\", "
         "\"value_encoding\": \"fp4_e2m1_mxfp4_nibble_order\", \"projections\": {"
         "\"gate\": {\"precision\": \"f32\", \"file\": \"g\"}, "
         "\"up\": {\"precision\": \"f32\", \"file\": \"u\"}, "
         "\"down\": {\"precision\": \"f32\", \"file\": \"d\"}}, \"compliance_gate\": {"
         "\"threshold_ratio\": 16.0, \"min_compliant_fraction\": 0.99, "
         "\"fallback_precision\": \"fp8\"}, \"compliance_report\": \"r\"}, \"down_top_k\":",
         "hidden_size 32, expected a multiple of 256", "fp4"},
    };
    EXPECT(rows);
}

WA_SUITE("vindex_damage", WA_CASE(a_broken_rule_of_index_json_is_told),
         WA_CASE(a_broken_rule_of_a_kquant_manifest_is_told),
         WA_CASE(a_broken_rule_of_the_fp4_object_is_told))

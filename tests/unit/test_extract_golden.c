/* extract --compat: the very bytes that upstream wrote in May and in August 2026, by their
 * SHA-256. */
#include "base/digest.h"
#include "base/json.h"
#include "suite.h"
#include "vindex/extract.h"
#include "vindex_dirs.h"

/* How the fixtures' variants are asked for (vindex-format 9). */
static const struct {
    const char *name;
    wa_extract_options options;
} VARIANTS[] = {
    {"f32", {.format = WA_EXTRACT_F32}},
    {"f16", {.format = WA_EXTRACT_F16}},
    {"interleaved", {.format = WA_EXTRACT_INTERLEAVED}},
    {"q4k-fm", {.format = WA_EXTRACT_Q4K, .feature_major_down = true}},
    {"q4k-down4", {.format = WA_EXTRACT_Q4K, .down_q4k = true}},
    {"q4k-from-f32",
     {.format = WA_EXTRACT_Q4K, .gate = WA_EXTRACT_GATE_F32, .feature_major_down = true}},
    {"q4k", {.format = WA_EXTRACT_Q4K}},
    {"q4k-nogate", {.format = WA_EXTRACT_Q4K, .drop_gate = true}},
    {"fp4a", {.format = WA_EXTRACT_FP4, .policy = WA_FP4_POLICY_A}},
    {"fp4b", {.format = WA_EXTRACT_FP4, .policy = WA_FP4_POLICY_B}},
    {"fp4c", {.format = WA_EXTRACT_FP4, .policy = WA_FP4_POLICY_C}},
};
enum { VARIANT_COUNT = sizeof VARIANTS / sizeof VARIANTS[0] };

static void extract_variant(const wa_model *model, const char *name, wa_extract_compat compat,
                            const char *out)
{
    wa_error err = {0};
    for (size_t i = 0; i < VARIANT_COUNT; i++) {
        if (strcmp(VARIANTS[i].name, name) != 0)
            continue;
        wa_extract_options options = VARIANTS[i].options;
        options.compat = compat;
        options.force = true;
        options.fp4_threshold = 16.0; /* upstream's defaults */
        options.fp4_floor = 0.99;
        WA_MUST(wa_extract(model, out, &options, &err), &err);
        return;
    }
    CU_FAIL_FATAL("the table names a variant that is not known here");
}

static void expect_hash(const char *dir, const char *name, const char *expected)
{
    char path[2 * PATH_ROOM], hex[WA_SHA256_HEX];
    wa_error err = {0};
    wa_map map;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    WA_MUST(wa_map_open(path, &map, &err), &err);
    WA_MUST(wa_digest_bytes(map.bytes, hex, &err), &err);
    wa_map_close(&map);
    if (strcmp(hex, expected) != 0)
        fprintf(stderr, "    %s: SHA-256 %s, upstream's is %s\n", path, hex, expected);
    CU_ASSERT_STRING_EQUAL(hex, expected);
}

/* Rows of a table of vindex-extract for one model; returns how many were compared. */
static size_t compare_rows(const wa_model *model, const char *name, wa_extract_compat compat)
{
    bool august = compat == WA_EXTRACT_COMPAT_LARQL_2026_08;
    char line[512], row_model[64], variant[32], file[64], hash[80], last[32] = "";
    char out[PATH_ROOM] = "";
    size_t compared = 0;
    FILE *table = fopen(august ? WA_GOLDEN "/vindex-extract/sha256-2026-08.tsv"
                               : WA_GOLDEN "/vindex-extract/sha256.tsv",
                        "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(table);
    while (fgets(line, sizeof line, table) != NULL) {
        if (sscanf(line, "%63s %31s %63s %79s", row_model, variant, file, hash) != 4 ||
            strcmp(row_model, name) != 0)
            continue;
        if (strcmp(variant, last) != 0) {
            scratch_path(out, "extract-golden", variant);
            extract_variant(model, variant, compat, out);
            snprintf(last, sizeof last, "%s", variant);
        }
        expect_hash(out, file, hash);
        compared++;
    }
    fclose(table);
    return compared;
}

static size_t compare_golden_as(const char *name, wa_semantics semantics, wa_extract_compat compat)
{
    char path[PATH_ROOM];
    wa_error err = {0};
    wa_arena *arena;
    wa_model *model;
    unpack_model("extract-golden-model", name, path);
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_model_open(path, semantics, arena, &model, &err), &err);
    size_t compared = compare_rows(model, name, compat);
    wa_model_close(model);
    wa_arena_close(arena);
    return compared;
}

static size_t compare_golden(const char *name, wa_extract_compat compat)
{
    return compare_golden_as(name, WA_SEMANTICS_LARQL_2026_05, compat);
}

static const wa_extract_compat MAY = WA_EXTRACT_COMPAT_LARQL_2026_05;

/* Other names, and Q6_K in the other order; gates, Q4_K and manifests are as in May. Padded rows as
 * well (tiny-odd). */
static void compat_of_august_writes_the_bytes_of_august(void)
{
    static const char *const models[] = {"tiny-gemma3", "tiny-llama", "tiny-odd", "tiny-qwen3"};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        CU_ASSERT_EQUAL(compare_golden(models[i], WA_EXTRACT_COMPAT_LARQL_2026_08), 10);
}

/* Experts of three layers, routers and norms, gate rows; layer 0 is dense, and LARQL writes nothing
 * of it. */
static void compat_of_august_writes_experts_as_larql_does(void)
{
    CU_ASSERT_EQUAL(
        compare_golden_as("qwen3_moe", WA_SEMANTICS_NATIVE, WA_EXTRACT_COMPAT_LARQL_2026_08), 5);
}

static void compat_larql_writes_upstreams_bytes(void)
{
    CU_ASSERT_EQUAL(compare_golden("tiny-gemma3", MAY), 8);
    CU_ASSERT_EQUAL(compare_golden("tiny-llama", MAY), 6);
    CU_ASSERT_EQUAL(compare_golden("tiny-qwen3", MAY), 30);
}

/* Neither width is a multiple of 256: rows of all K-quants, and feature rows, are padded. */
static void compat_larql_pads_rows_as_upstream_does(void)
{
    CU_ASSERT_EQUAL(compare_golden("tiny-odd", MAY), 15);
}

static json_t *read_json(const char *dir, const char *name)
{
    char path[2 * PATH_ROOM];
    wa_error err = {0};
    json_t *root;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    WA_MUST(wa_json_open(path, &root, &err), &err);
    return root;
}

/* The report has but one value of its own: when it was made. index.json: the fp4 object. */
static void the_fp4_report_is_upstreams(void)
{
    char path[PATH_ROOM], out[PATH_ROOM];
    wa_error err = {0};
    wa_arena *arena;
    wa_model *model;
    unpack_model("extract-golden-model", "tiny-qwen3", path);
    scratch_path(out, "extract-golden", "report");
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_model_open(path, WA_SEMANTICS_LARQL_2026_05, arena, &model, &err), &err);
    extract_variant(model, "fp4b", MAY, out);
    json_t *report = read_json(out, "fp4_compliance.json"), *index = read_json(out, "index.json");
    json_t *upstream = read_json(WA_GOLDEN "/vindex-extract", "tiny-qwen3-fp4b-compliance.json");
    json_t *their_index = read_json(WA_GOLDEN "/vindex-extract", "tiny-qwen3-fp4b-index.json");
    CU_ASSERT_EQUAL(
        strncmp(json_string_value(json_object_get(report, "extracted_at")), "@epoch+", 7), 0);
    CU_ASSERT_EQUAL(json_object_del(report, "extracted_at"), 0);
    CU_ASSERT_EQUAL(json_object_del(upstream, "extracted_at"), 0);
    CU_ASSERT_TRUE(json_equal(report, upstream));
    CU_ASSERT_TRUE(json_equal(json_object_get(index, "fp4"), json_object_get(their_index, "fp4")));
    CU_ASSERT_TRUE(
        json_equal(json_object_get(index, "layers"), json_object_get(their_index, "layers")));
    wa_json_close(report);
    wa_json_close(index);
    wa_json_close(upstream);
    wa_json_close(their_index);
    wa_model_close(model);
    wa_arena_close(arena);
}

WA_SUITE("extract_golden", WA_CASE(compat_of_august_writes_the_bytes_of_august),
         WA_CASE(compat_of_august_writes_experts_as_larql_does),
         WA_CASE(compat_larql_writes_upstreams_bytes),
         WA_CASE(compat_larql_pads_rows_as_upstream_does), WA_CASE(the_fp4_report_is_upstreams))

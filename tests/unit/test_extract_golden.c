/* extract --compat larql: the very bytes that upstream wrote, by their SHA-256. */
#include "suite.h"
#include "vindex/digest.h"
#include "vindex_dirs.h"
#include "walkaudit/extract.h"

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
    {"q4k-nogate", {.format = WA_EXTRACT_Q4K, .drop_gate = true}},
};
enum { VARIANT_COUNT = sizeof VARIANTS / sizeof VARIANTS[0] };

static void extract_variant(const wa_model *model, const char *name, const char *out)
{
    wa_error err = {0};
    for (size_t i = 0; i < VARIANT_COUNT; i++) {
        if (strcmp(VARIANTS[i].name, name) != 0)
            continue;
        wa_extract_options options = VARIANTS[i].options;
        options.larql = true;
        options.force = true;
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

/* Rows of vindex-extract/sha256.tsv for one model; returns how many were compared. */
static size_t compare_rows(const wa_model *model, const char *name)
{
    char line[512], row_model[64], variant[32], file[64], hash[80], last[32] = "";
    char out[PATH_ROOM] = "";
    size_t compared = 0;
    FILE *table = fopen(WA_GOLDEN "/vindex-extract/sha256.tsv", "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(table);
    while (fgets(line, sizeof line, table) != NULL) {
        if (sscanf(line, "%63s %31s %63s %79s", row_model, variant, file, hash) != 4 ||
            strcmp(row_model, name) != 0)
            continue;
        if (strcmp(variant, last) != 0) {
            scratch_path(out, "extract-golden", variant);
            extract_variant(model, variant, out);
            snprintf(last, sizeof last, "%s", variant);
        }
        expect_hash(out, file, hash);
        compared++;
    }
    fclose(table);
    return compared;
}

static size_t compare_golden(const char *name)
{
    char path[PATH_ROOM];
    wa_error err = {0};
    wa_arena *arena;
    wa_model *model;
    unpack_model("extract-golden-model", name, path);
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_model_open(path, WA_SEMANTICS_LARQL, arena, &model, &err), &err);
    size_t compared = compare_rows(model, name);
    wa_model_close(model);
    wa_arena_close(arena);
    return compared;
}

static void compat_larql_writes_upstreams_bytes(void)
{
    CU_ASSERT_EQUAL(compare_golden("tiny-gemma3"), 5);
    CU_ASSERT_EQUAL(compare_golden("tiny-llama"), 3);
    CU_ASSERT_EQUAL(compare_golden("tiny-qwen3"), 21);
}

/* Neither width is a multiple of 256: rows of all K-quants, and feature rows, are padded. */
static void compat_larql_pads_rows_as_upstream_does(void)
{
    CU_ASSERT_EQUAL(compare_golden("tiny-odd"), 15);
}

WA_SUITE("extract_golden", WA_CASE(compat_larql_writes_upstreams_bytes),
         WA_CASE(compat_larql_pads_rows_as_upstream_does))

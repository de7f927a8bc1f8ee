/* K-quant files under their newer and their older names, and what else a newer LARQL writes: which
 * is read, which is said to lie there unread, and what is refused by name (larql-2026-08.md 1.1,
 * 1.2). */
#include "suite.h"
#include "vindex/extract.h"
#include "vindex/inventory.h"
#include "vindex/vindex.h"
#include "vindex_dirs.h"

enum { HIDDEN = 256, FEATURES = 512 }; /* of tiny-qwen3 */

/* A q4k vindex of tiny-qwen3 with both K-quant files, of the older names. */
static void extract_old(char *out, const char *name)
{
    char path[PATH_ROOM];
    wa_error err = {0};
    wa_arena *arena;
    wa_model *model;
    wa_extract_options options = wa_extract_defaults(WA_EXTRACT_Q4K);
    options.feature_major_down = true;
    options.compat = WA_EXTRACT_COMPAT_LARQL_2026_05;
    options.force = true;
    unpack_model("names-model", "tiny-qwen3", path);
    scratch_path(out, "names", name);
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_model_open(path, WA_SEMANTICS_NATIVE, arena, &model, &err), &err);
    WA_MUST(wa_extract(model, out, &options, &err), &err);
    wa_model_close(model);
    wa_arena_close(arena);
}

/* "cd DIR && COMMAND" */
static void edit(const char *directory, const char *command)
{
    CU_ASSERT_TRUE_FATAL(shell("cd '%s' && { %s; }", directory, command));
}

static const char TO_NEW[] =
    "for f in *q4k*; do mv \"$f\" \"$(echo \"$f\" | sed s/q4k/kquant/)\"; done";

static wa_vindex *must_open(const char *path, wa_arena **arena)
{
    wa_error err = {0};
    wa_vindex *vindex = NULL;
    WA_MUST(wa_arena_open("test", 0, arena, &err), &err);
    WA_MUST(wa_vindex_open(path, *arena, &vindex, &err), &err);
    return vindex;
}

static void close_all(wa_vindex *vindex, wa_arena *arena)
{
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

static bool has_note(const wa_vindex *vindex, const char *text)
{
    for (size_t i = 0; i < vindex->note_count; i++)
        if (strstr(vindex->notes[i], text) != NULL)
            return true;
    return false;
}

static void expect_refused(const char *path, wa_status status, const char *text)
{
    wa_error err = {0};
    wa_arena *arena;
    wa_vindex *vindex;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    CU_ASSERT_EQUAL(wa_vindex_open(path, arena, &vindex, &err), status);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, text));
    wa_arena_close(arena);
}

/* The first value of down of layer 1: a number to know a file by. */
static float first_down(const wa_vindex *vindex)
{
    static float row[FEATURES];
    wa_error err = {0};
    wa_matrix down = {0};
    WA_MUST(wa_vindex_matrix(vindex, WA_PAYLOAD_INTERLEAVED_Q4K, WA_DOWN, 1, &down, &err), &err);
    wa_matrix_decode(&down, 0, 1, row);
    return row[0];
}

/* Is the entry of that name taken for a payload, and what is it said to be? */
static void expect_entry(const wa_vindex *vindex, const char *name, bool payload, const char *what)
{
    wa_error err = {0};
    wa_arena *arena;
    wa_vindex_entry *entries;
    size_t count, at = 0;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_vindex_inventory(vindex, arena, &entries, &count, &err), &err);
    while (at < count && strcmp(entries[at].name, name) != 0)
        at++;
    CU_ASSERT_FATAL(at < count);
    CU_ASSERT_EQUAL(entries[at].payload, payload);
    CU_ASSERT_PTR_NOT_NULL_FATAL(entries[at].what);
    CU_ASSERT_PTR_NOT_NULL(strstr(entries[at].what, what));
    wa_arena_close(arena);
}

static void either_name_is_read_and_said(void)
{
    char path[PATH_ROOM];
    wa_arena *arena;
    extract_old(path, "either");
    wa_vindex *vindex = must_open(path, &arena);
    CU_ASSERT_STRING_EQUAL(wa_vindex_file(vindex, WA_PAYLOAD_INTERLEAVED_Q4K),
                           "interleaved_q4k.bin");
    CU_ASSERT_STRING_EQUAL(wa_vindex_file(vindex, WA_PAYLOAD_DOWN_FEATURES_Q4K),
                           "down_features_q4k.bin");
    CU_ASSERT(has_note(vindex, "interleaved_q4k.bin: name of before 17 May 2026"));
    expect_entry(vindex, "interleaved_q4k.bin", true, "K-quants");
    float old = first_down(vindex);
    close_all(vindex, arena);

    edit(path, TO_NEW);
    vindex = must_open(path, &arena);
    CU_ASSERT(vindex->readable[WA_PAYLOAD_INTERLEAVED_Q4K] &&
              vindex->readable[WA_PAYLOAD_DOWN_FEATURES_Q4K]);
    CU_ASSERT_STRING_EQUAL(wa_vindex_file(vindex, WA_PAYLOAD_INTERLEAVED_Q4K),
                           "interleaved_kquant.bin");
    CU_ASSERT_FALSE(has_note(vindex, "17 May"));
    expect_entry(vindex, "interleaved_kquant.bin", true, "K-quants");
    CU_ASSERT_EQUAL(first_down(vindex), old);
    wa_matrix down;
    wa_error err = {0};
    WA_MUST(wa_vindex_matrix(vindex, WA_PAYLOAD_DOWN_FEATURES_Q4K, WA_DOWN, 0, &down, &err), &err);
    CU_ASSERT_STRING_EQUAL(down.name, "down_features_kquant.bin");
    close_all(vindex, arena);
}

/* Each purpose for itself: one directory may mix generations. */
static void purposes_are_decided_one_by_one(void)
{
    char path[PATH_ROOM];
    wa_arena *arena;
    extract_old(path, "mixed");
    edit(path, "mv down_features_q4k.bin down_features_kquant.bin && "
               "mv down_features_q4k_manifest.json down_features_kquant_manifest.json");
    wa_vindex *vindex = must_open(path, &arena);
    CU_ASSERT(vindex->readable[WA_PAYLOAD_INTERLEAVED_Q4K] &&
              vindex->readable[WA_PAYLOAD_DOWN_FEATURES_Q4K]);
    CU_ASSERT_STRING_EQUAL(wa_vindex_file(vindex, WA_PAYLOAD_INTERLEAVED_Q4K),
                           "interleaved_q4k.bin");
    CU_ASSERT_STRING_EQUAL(wa_vindex_file(vindex, WA_PAYLOAD_DOWN_FEATURES_Q4K),
                           "down_features_kquant.bin");
    close_all(vindex, arena);
}

/* The newer wins, whatever the older holds, and it is said. */
static void an_older_file_beside_a_newer_is_not_opened(void)
{
    char path[PATH_ROOM];
    wa_arena *arena;
    extract_old(path, "both");
    edit(path, TO_NEW);
    edit(path, "echo damage > interleaved_q4k.bin; echo '{' > interleaved_q4k_manifest.json");
    wa_vindex *vindex = must_open(path, &arena);
    CU_ASSERT(vindex->readable[WA_PAYLOAD_INTERLEAVED_Q4K]);
    CU_ASSERT(
        has_note(vindex, "interleaved_q4k.bin is not read, since interleaved_kquant.bin is there"));
    expect_entry(vindex, "interleaved_q4k.bin", false, "older name, not read beside the newer one");
    expect_entry(vindex, "interleaved_q4k_manifest.json", false, "older name");
    for (size_t i = 0; i < vindex->file_count; i++)
        CU_ASSERT_PTR_NULL(strstr(vindex->files[i], "interleaved_q4k"));
    close_all(vindex, arena);
}

/* U13: a manifest belongs to the file of its own generation. */
static void a_manifest_of_the_other_generation_is_none(void)
{
    char path[PATH_ROOM];
    wa_arena *arena;
    extract_old(path, "manifest");
    edit(path, "mv interleaved_q4k.bin interleaved_kquant.bin");
    wa_vindex *vindex = must_open(path, &arena);
    CU_ASSERT_FALSE(vindex->present[WA_PAYLOAD_INTERLEAVED_Q4K]);
    CU_ASSERT(has_note(vindex, "interleaved_kquant.bin has no manifest"));
    CU_ASSERT(has_note(
        vindex, "interleaved_q4k_manifest.json is not read: it belongs to interleaved_q4k.bin"));
    CU_ASSERT(has_note(vindex, "index.json") || vindex->present[WA_PAYLOAD_GATE]);
    close_all(vindex, arena);

    extract_old(path, "manifest");
    edit(path, "rm interleaved_q4k.bin");
    vindex = must_open(path, &arena);
    CU_ASSERT(has_note(
        vindex, "manifest 'interleaved_q4k_manifest.json' is there without interleaved_q4k.bin"));
    close_all(vindex, arena);
}

/* Without layers[] the stored gate tells the features of each layer; no gate file then says where
 * its rows are. */
static void the_manifest_counts_features_where_index_json_lists_none(void)
{
    char path[PATH_ROOM];
    wa_arena *arena;
    wa_error err = {0};
    wa_matrix gate;
    extract_old(path, "counts");
    edit(path, TO_NEW);
    edit(path, "python3 -c \"import json; d = json.load(open('index.json')); d['layers'] = []; "
               "json.dump(d, open('index.json', 'w'))\"");
    wa_vindex *vindex = must_open(path, &arena);
    CU_ASSERT(has_note(vindex, "feature counts come from the manifest of interleaved_kquant.bin"));
    CU_ASSERT(has_note(vindex, "gate_vectors.bin is not read"));
    CU_ASSERT(vindex->gate_is_remade);
    for (size_t l = 0; l < vindex->layer_count; l++) {
        CU_ASSERT_EQUAL(vindex->layers[l].features, FEATURES);
        WA_MUST(wa_vindex_matrix(vindex, WA_PAYLOAD_GATE, WA_GATE, l, &gate, &err), &err);
        CU_ASSERT(gate.rows == FEATURES && gate.cols == HIDDEN && gate.format == WA_FORMAT_Q4_K);
    }
    close_all(vindex, arena);

    edit(path, "printf x > up_features.bin"); /* sizes follow from those counts */
    expect_refused(path, WA_E_FORMAT, "1 of ");
}

static void newer_containers_are_refused_by_name(void)
{
    static const struct {
        const char *edit, *text;
        wa_status status;
    } rows[] = {
        {"sed -i 's/\"version\": 2/\"version\": 3/' index.json",
         "VINDEX3 container, schema 3: not audited", WA_E_UNSUPPORTED},
        {"sed -i 's/\"version\": 2/\"version\": 4/' index.json",
         "VINDEX3 container, schema 4: not audited", WA_E_UNSUPPORTED},
        {"sed -i 's/\"version\": 2/\"version\": 5/' index.json",
         "unsupported version 5, expected 1 or 2", WA_E_FORMAT},
        {"mkdir layers; printf 'LYRW\\2\\0\\0\\0%016d' 0 > layers/layer_00.weights", "LYRW v2",
         WA_E_UNSUPPORTED},
        {"sed -i 's/\"quant\": \"q4k\"/\"quant\": \"q4q\"/' index.json",
         "found 'q4q', expected one of: none, q4k, kquant", WA_E_FORMAT},
    };
    char path[PATH_ROOM];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        extract_old(path, "refused");
        edit(path, rows[i].edit);
        expect_refused(path, rows[i].status, rows[i].text);
    }
    wa_arena *arena;
    extract_old(path, "refused");
    edit(path, "sed -i 's/\"quant\": \"q4k\"/\"quant\": \"kquant\"/' index.json");
    wa_vindex *vindex = must_open(path, &arena);
    CU_ASSERT(vindex->readable[WA_PAYLOAD_INTERLEAVED_Q4K]);
    close_all(vindex, arena);
}

/* Names of the tables of 1.1 that no walk path reads: known, so that nobody is warned of them. */
static void other_files_of_a_newer_larql_are_known(void)
{
    static const char *const names[] = {"attn_weights_kquant.bin",
                                        "attn_weights_kquant_manifest.json",
                                        "lm_head_kquant.bin",
                                        "ple_weights.bin",
                                        "router_weights.bin",
                                        "knn_store.bin",
                                        "bitnet/",
                                        "layers/"};
    char path[PATH_ROOM];
    wa_arena *arena;
    extract_old(path, "others");
    edit(path, "touch attn_weights_kquant.bin attn_weights_kquant_manifest.json lm_head_kquant.bin "
               "ple_weights.bin "
               "router_weights.bin knn_store.bin; mkdir bitnet layers; touch bitnet/scales.f32");
    wa_vindex *vindex = must_open(path, &arena);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        expect_entry(vindex, names[i], false, "");
    close_all(vindex, arena);
}

WA_SUITE("vindex_names", WA_CASE(either_name_is_read_and_said),
         WA_CASE(purposes_are_decided_one_by_one),
         WA_CASE(an_older_file_beside_a_newer_is_not_opened),
         WA_CASE(a_manifest_of_the_other_generation_is_none),
         WA_CASE(the_manifest_counts_features_where_index_json_lists_none),
         WA_CASE(newer_containers_are_refused_by_name),
         WA_CASE(other_files_of_a_newer_larql_are_known))

/* Job files and prompts: every refusal names its place, defaults and settings land where they
 * should. */
#include "suite.h"

#include "job/job.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECTORY WA_TEST_BINARY_DIR "/job-files"
#define JOB DIRECTORY "/tiny.yaml"

static const char MINIMAL[] = "audits:\n"
                              "  - model: models/smollm2.gguf\n"
                              "    vindexes: [{path: v/smollm2-f16.vindex}]\n";

static void write_file(const char *path, const char *text, size_t size)
{
    mkdir(DIRECTORY, 0777);
    FILE *file = fopen(path, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL_FATAL(fwrite(text, 1, size, file), size);
    CU_ASSERT_EQUAL_FATAL(fclose(file), 0);
}

static wa_arena *new_arena(void)
{
    wa_arena *arena;
    wa_error err;
    WA_MUST(wa_arena_open("test", (size_t)64 << 20, &arena, &err), &err);
    return arena;
}

static wa_status open_text(const char *text, const char *const *settings, size_t count,
                           wa_arena *arena, wa_job **job, wa_error *err)
{
    write_file(JOB, text, strlen(text));
    return wa_job_open(JOB, settings, count, arena, job, err);
}

/* The file is refused with `status`, and the story holds every one of the words. */
static void expect_refusal(const char *text, wa_status status, const char *first,
                           const char *second)
{
    wa_arena *arena = new_arena();
    wa_job *job;
    wa_error err = {.status = WA_OK, .text = ""};
    wa_status got = open_text(text, NULL, 0, arena, &job, &err);
    if (got != status || strstr(err.text, first) == NULL || strstr(err.text, second) == NULL)
        fprintf(stderr, "    wanted %d '%s' '%s', got %d '%s'\n", (int)status, first, second,
                (int)got, got == WA_OK ? "" : err.text);
    CU_ASSERT_EQUAL(got, status);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, first));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, second));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "in job '" JOB "'"));
    CU_ASSERT_PTR_NULL(strchr(err.text, '\n'));
    wa_arena_close(arena);
}

static void only_audits_are_required_and_the_rest_has_the_published_defaults(void)
{
    wa_arena *arena = new_arena();
    wa_job *job;
    wa_error err;
    WA_MUST(open_text(MINIMAL, NULL, 0, arena, &job, &err), &err);
    CU_ASSERT_STRING_EQUAL(job->path, JOB);
    CU_ASSERT_STRING_EQUAL(job->directory, DIRECTORY);
    CU_ASSERT_STRING_EQUAL(job->name, "tiny");
    CU_ASSERT_EQUAL_FATAL(job->audit_count, 1);
    CU_ASSERT_STRING_EQUAL(job->audits[0].name, "smollm2");
    CU_ASSERT_STRING_EQUAL(job->audits[0].model, DIRECTORY "/models/smollm2.gguf");
    CU_ASSERT_EQUAL_FATAL(job->audits[0].vindex_count, 1);
    CU_ASSERT_STRING_EQUAL(job->audits[0].vindexes[0].name, "smollm2-f16");
    CU_ASSERT_STRING_EQUAL(job->audits[0].vindexes[0].path, DIRECTORY "/v/smollm2-f16.vindex");
    CU_ASSERT_PTR_NULL(job->audits[0].vindexes[0].paths);
    CU_ASSERT_PTR_NULL(job->paths);
    CU_ASSERT_STRING_EQUAL(job->prompts_builtin, "seed");
    CU_ASSERT_PTR_NULL(job->prompts_file);
    CU_ASSERT_EQUAL(job->semantics, WA_SEMANTICS_NATIVE);
    CU_ASSERT_STRING_EQUAL(job->bounds, "default");
    CU_ASSERT_EQUAL(job->kernel_check, WA_KERNEL_SAMPLE);
    CU_ASSERT_PTR_NULL(job->kernel_check_was);
    CU_ASSERT(job->encoding_check);
    CU_ASSERT_EQUAL(job->batch_rows, 512);
    CU_ASSERT_EQUAL(job->grid_stages, 0);
    CU_ASSERT_EQUAL(job->grid_teams, 0);
    CU_ASSERT_EQUAL(job->threads, 1);
    CU_ASSERT(!job->logits_all);
    CU_ASSERT_EQUAL(job->topk, 16);
    CU_ASSERT(!job->fingerprint_full);
    CU_ASSERT_STRING_EQUAL(job->result, DIRECTORY "/results");
    wa_arena_close(arena);
}

static const char FULL[] = "name: full\n"
                           "audits:\n"
                           "  - {name: a, model: /m/a, vindexes: [{name: x, path: /v/x}, {path: "
                           "v/y.vindex/, paths: [{path: exact}]}]}\n"
                           "  - model: models/b/\n"
                           "    vindexes:\n"
                           "      - {path: x}\n"
                           "prompts: {file: corpus.jsonl}\n"
                           "paths:\n"
                           "  - {path: sparse}\n"
                           "  - {path: sparse_serial, k: 512, name: half}\n"
                           "semantics: larql-2026-05\n"
                           "bounds: mine.yaml\n"
                           "kernel_check: all\n"
                           "encoding_check: none\n"
                           "batch: {rows: 8}\n"
                           "grid: {stages: 2, teams: 3}\n"
                           "threads: 4\n"
                           "topk: 5\n"
                           "fingerprint: full\n"
                           "result: /out\n";

static void check_full(const wa_job *job)
{
    CU_ASSERT_STRING_EQUAL(job->name, "full");
    CU_ASSERT_EQUAL_FATAL(job->audit_count, 2);
    CU_ASSERT_STRING_EQUAL(job->audits[0].model, "/m/a");
    CU_ASSERT_STRING_EQUAL(job->audits[0].vindexes[1].name, "y");
    CU_ASSERT_EQUAL_FATAL(job->audits[0].vindexes[1].path_count, 1);
    CU_ASSERT_STRING_EQUAL(job->audits[0].vindexes[1].paths[0].path, "exact");
    CU_ASSERT_EQUAL(job->audits[0].vindexes[1].paths[0].k, WA_K_ALL);
    CU_ASSERT_STRING_EQUAL(job->audits[1].name, "b");
    CU_ASSERT_PTR_NULL(job->prompts_builtin);
    CU_ASSERT_STRING_EQUAL(job->prompts_file, DIRECTORY "/corpus.jsonl");
    CU_ASSERT_EQUAL_FATAL(job->path_count, 2);
    CU_ASSERT_EQUAL(job->paths[1].k, 512);
    CU_ASSERT_STRING_EQUAL(job->paths[1].name, "half");
    CU_ASSERT_EQUAL(job->semantics, WA_SEMANTICS_LARQL_2026_05);
    CU_ASSERT_STRING_EQUAL(job->bounds, DIRECTORY "/mine.yaml");
    CU_ASSERT_EQUAL(job->kernel_check, WA_KERNEL_ALL);
    CU_ASSERT(!job->encoding_check);
    CU_ASSERT_EQUAL(job->batch_rows, 8);
    CU_ASSERT_EQUAL(job->grid_stages, 2);
    CU_ASSERT_EQUAL(job->grid_teams, 3);
    CU_ASSERT_EQUAL(job->threads, 4);
    CU_ASSERT_EQUAL(job->topk, 5);
    CU_ASSERT(job->fingerprint_full);
    CU_ASSERT_STRING_EQUAL(job->result, "/out");
}

static void every_key_reaches_the_job_and_its_effective_text_means_the_same(void)
{
    wa_arena *arena = new_arena();
    wa_job *job, *again;
    wa_error err;
    WA_MUST(open_text(FULL, NULL, 0, arena, &job, &err), &err);
    check_full(job);
    WA_MUST(open_text(job->text, NULL, 0, arena, &again, &err), &err);
    check_full(again);
    CU_ASSERT_STRING_EQUAL(again->text, job->text);
    wa_arena_close(arena);
}

static void the_effective_text_shows_every_default(void)
{
    wa_arena *arena = new_arena();
    wa_job *job;
    wa_error err;
    WA_MUST(open_text(MINIMAL, NULL, 0, arena, &job, &err), &err);
    static const char *const lines[] = {"name: tiny\n",
                                        "builtin: seed\n",
                                        "semantics: native\n",
                                        "bounds: default\n",
                                        "kernel_check: sample\n",
                                        "encoding_check: all\n",
                                        "texts: all\n",
                                        "rows: 512\n",
                                        "stages: 0\n",
                                        "teams: 0\n",
                                        "threads: 1\n",
                                        "logits: last\n",
                                        "topk: 16\n",
                                        "fingerprint: quick\n",
                                        "result: results\n",
                                        "name: smollm2\n",
                                        "name: smollm2-f16\n"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (strstr(job->text, lines[i]) == NULL)
            fprintf(stderr, "    no '%s'", lines[i]);
        CU_ASSERT_PTR_NOT_NULL(strstr(job->text, lines[i]));
    }
    wa_arena_close(arena);
}

static void settings_replace_single_values(void)
{
    static const char *const settings[] = {"batch.rows=8", "result=/elsewhere", "name=n=1",
                                           "prompts.file=p.jsonl", "kernel_check=-1"};
    wa_arena *arena = new_arena();
    wa_job *job;
    wa_error err;
    char text[1000];
    snprintf(text, sizeof text, "%sprompts: {builtin: seed}\nbatch: {rows: 512}\n", MINIMAL);
    WA_MUST(open_text(text, settings, 5, arena, &job, &err), &err);
    CU_ASSERT_EQUAL(job->batch_rows, 8);
    CU_ASSERT_STRING_EQUAL(job->result, "/elsewhere");
    CU_ASSERT_STRING_EQUAL(job->name, "n=1");
    CU_ASSERT_PTR_NULL(job->prompts_builtin);
    CU_ASSERT_STRING_EQUAL(job->prompts_file, DIRECTORY "/p.jsonl");
    CU_ASSERT_EQUAL(job->kernel_check, WA_KERNEL_ALL);
    CU_ASSERT_PTR_NOT_NULL(strstr(job->text, "rows: 8\n"));
    wa_arena_close(arena);
}

static void numbers_of_kernel_check_become_words(void)
{
    static const struct {
        const char *said;
        wa_kernel_check means;
    } old[] = {{"0", WA_KERNEL_NONE},
               {"8", WA_KERNEL_SAMPLE},
               {"1", WA_KERNEL_SAMPLE},
               {"1048576", WA_KERNEL_SAMPLE},
               {"-1", WA_KERNEL_ALL}};
    for (size_t i = 0; i < sizeof old / sizeof old[0]; i++) {
        wa_arena *arena = new_arena();
        wa_job *job;
        wa_error err;
        char text[1000];
        snprintf(text, sizeof text, "%skernel_check: %s\n", MINIMAL, old[i].said);
        WA_MUST(open_text(text, NULL, 0, arena, &job, &err), &err);
        CU_ASSERT_EQUAL(job->kernel_check, old[i].means);
        CU_ASSERT_STRING_EQUAL(job->kernel_check_was, old[i].said);
        wa_arena_close(arena);
    }
}

static void settings_that_make_no_sense_are_refused(void)
{
    static const struct {
        const char *setting, *story;
    } bad[] = {
        {"batch.rows", "expected KEY=VALUE"},
        {"=3", "expected KEY=VALUE"},
        {"batch.row=3", "'batch.row': unknown key"},
        {"batch=3", "only single values outside lists"},
        {"audits[].name=x", "only single values outside lists"},
        {"captures.layers=1", "only single values outside lists"},
        {"batch.rows=8x", "found '8x', expected an integer"},
        {"batch.rows=0", "'batch.rows' is 0, expected 1 to 1048576; from --set"},
        {"name=", "a value of 0 bytes"},
        {"name=a\nb", "control character 0x0a"},
        {"semantics=both",
         "'semantics' is 'both', expected native, larql-2026-05 or larql-2026-08; from --set"},
        {"semantics=larql", "'larql', but LARQL computed otherwise in May 2026 than since August: "
                            "expected 'larql-2026-05' or 'larql-2026-08'"},
        {"result=\xff", "UTF-8"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        wa_arena *arena = new_arena();
        wa_job *job;
        wa_error err = {.text = ""};
        wa_status status = open_text(MINIMAL, &bad[i].setting, 1, arena, &job, &err);
        if (status != WA_E_JOB || strstr(err.text, bad[i].story) == NULL)
            fprintf(stderr, "    '%s': %d %s\n", bad[i].setting, (int)status, err.text);
        CU_ASSERT_EQUAL(status, WA_E_JOB);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, bad[i].story));
        wa_arena_close(arena);
    }
}

#define HEAD                                                                                       \
    "audits:\n  - model: m\n    vindexes: [{path: v}]\n" /* three lines; tests go on in line 4 */

static void wrong_keys_and_types_are_refused_with_line_and_column(void)
{
    static const struct {
        const char *text, *story, *place;
    } bad[] = {
        {HEAD "semantic: native\n", "unknown key 'semantic'", "line 4, column 1"},
        {HEAD "batch: {row: 3}\n", "unknown key 'batch.row'", "line 4, column 9"},
        {HEAD "batch:\n  rows: 1\n  row: 3\n", "unknown key 'batch.row'", "line 6, column 3"},
        {"audits:\n  - model: m\n    vindex: [{path: v}]\n", "unknown key 'audits[0].vindex'",
         "line 3, column 5"},
        {HEAD "name: a\nname: b\n", "repeated key 'name'", "line 5, column 1"},
        {HEAD "grid: {teams: 1, teams: 1}\n", "repeated key 'grid.teams'", "line 4, column 18"},
        {HEAD "name: [a]\n", "'name' is a list, expected a string", "line 4, column 7"},
        {HEAD "name: {a: b}\n", "'name' is a mapping, expected a string", "line 4, column 7"},
        {HEAD "batch: 512\n", "'batch' is a single value, expected a mapping", "line 4, column 8"},
        {HEAD "paths: sparse\n", "'paths' is a single value, expected a list", "line 4, column 8"},
        {HEAD "paths: [sparse]\n", "an entry of a list is a single value, expected a mapping",
         "line 4, column"},
        {HEAD "paths: []\n", "'paths' is an empty list", "line 4, column 8"},
        {HEAD "topk: abc\n", "'topk' is 'abc', expected an integer", "line 4, column 7"},
        {HEAD "topk: 12abc\n", "'topk' is '12abc', expected an integer", "line 4, column 7"},
        {HEAD "topk: 010\n", "'topk' is '010', expected an integer", "line 4, column 7"},
        {HEAD "topk: 1.5\n", "'topk' is '1.5', expected an integer", "line 4, column 7"},
        {HEAD "topk: 99999999999999999999\n", "expected an integer", "line 4, column 7"},
        {HEAD "paths: [{path: sparse_serial, k: all}]\n", "'paths[0].k' is 'all'",
         "line 4, column 34"},
        {HEAD "captures: {layers: [0, x]}\n", "'captures.layers[1]' is 'x'", "line 4, column 24"},
        {HEAD "name:\n", "'name' has no value", "line 4, column"},
        {HEAD "name: ~\n", "'name' has no value", "line 4, column 7"},
        {HEAD "grid: null\n", "'grid' has no value", "line 4, column 7"},
        {"audits:\n  - vindexes: [{path: v}]\n", "key 'model' is missing", "line 2, column"},
        {"name: x\n", "key 'audits' is missing", "line 1"},
        {"{}", "key 'audits' is missing", "line 1"},
        {"audits:\n  - model: m\n", "key 'audits[0].vindexes' is missing", "line 2, column 5"},
        {"- audits\n", "the file is a list, expected a mapping", "line 1, column 1"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_refusal(bad[i].text, WA_E_JOB, bad[i].story, bad[i].place);
}

static void values_out_of_range_are_refused_with_line_and_column(void)
{
    static const struct {
        const char *text, *story, *place;
    } bad[] = {
        {HEAD "topk: 4\n", "'topk' is 4, expected 5 to 128", "line 4, column 7"},
        {HEAD "threads: 0\n", "'threads' is 0", "line 4, column 10"},
        {HEAD "kernel_check: -2\n", "'kernel_check' is '-2', expected 'sample', 'all' or 'none'",
         "line 4, column 15"},
        {HEAD "kernel_check: 007\n", "'kernel_check' is '007'", "line 4, column 15"},
        {HEAD "kernel_check: 8 of them\n", "'kernel_check' is '8 of them'", "line 4, column 15"},
        {HEAD "grid:\n  stages: -1\n", "'grid.stages' is -1", "line 5, column 11"},
        {HEAD "semantics: upstream\n", "expected native, larql-2026-05 or larql-2026-08",
         "line 4, column 12"},
        {HEAD "encoding_check: some\n", "expected 'all' or 'none'", "line 4, column 17"},
        {HEAD "logits: first\n", "expected 'last' or 'all'", "line 4, column 9"},
        {HEAD "fingerprint: 'no'\n", "expected 'quick' or 'full'", "line 4, column 14"},
        {HEAD "prompts: {builtin: sprout}\n", "expected 'seed'", "line 4, column 20"},
        {HEAD "prompts: {}\n", "neither 'builtin' nor 'file'", "line 4, column 10"},
        {HEAD "prompts: {builtin: seed, file: f}\n", "both 'builtin' and 'file'",
         "line 4, column 32"},
        {HEAD "name: a/b\n", "'name' is 'a/b'", "line 4, column 7"},
        {HEAD "name: .hidden\n", "'name' is '.hidden'", "line 4, column 7"},
        {HEAD "name: 'a:b'\n", "'name' is 'a:b'", "line 4, column 7"},
        {"audits: [{model: .., vindexes: [{path: v}]}]", "it comes from '..'", "audits[0].name"},
        {"audits:\n  - {model: m/a, vindexes: [{path: v}]}\n  - {model: n/a, vindexes: [{path: "
         "v}]}\n",
         "the name 'a' is used by audits[0] and audits[1]", "line 3, column 5"},
        {"audits:\n  - model: m\n    vindexes: [{path: v}, {path: w, name: v}]\n",
         "used by audits[0].vindexes[0] and audits[0].vindexes[1]", "line 3, column 43"},
        {HEAD "paths: [{path: dense}]\n", "unknown path 'dense'", "line 4, column 16"},
        {HEAD "paths:\n  - path: spares\n", "unknown path 'spares'", "line 5, column 11"},
        {HEAD "paths: [{path: exact, k: 3}]\n",
         "path 'exact' takes no 'k'; sparse_serial, sparse_parallel and weights_fallback take one",
         "line 4, column 26"},
        {HEAD "paths: [{path: sparse_serial, k: 0}]\n", "'paths[0].k' is 0", "line 4, column 34"},
        {HEAD "paths: [{path: exact, bucket: fp4}]\n", "takes no 'file'", "line 4, column 9"},
        {HEAD "paths: [{path: external}]\n", "needs one of 'file', 'library' and 'command'",
         "line 4, column 9"},
        {HEAD "paths: [{path: external, file: f, bucket: good}]\n", "bucket 'good'",
         "line 4, column 9"},
        {HEAD "captures: {tensors: [x, z]}\n", "unknown tensor 'z'", "line 4, column 25"},
        {HEAD "captures: {layers: [1]}\n", "'captures' names no 'tensors'", "line 4, column 11"},
        {HEAD "captures: {tensors: [x], layers: [-1]}\n", "'captures.layers[0]' is -1",
         "line 4, column 35"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_refusal(bad[i].text, WA_E_JOB, bad[i].story, bad[i].place);
}

static void hostile_yaml_is_refused_with_its_place(void)
{
    static const struct {
        const char *text, *story, *place;
    } bad[] = {
        {"", "the file is empty", "line 1, column 1"},
        {"# only a comment\n", "the file is empty", "line 1, column 1"},
        {"---\n", "the file is empty", "line"},
        {"just words\n", "expected a mapping", "line 1, column 1"},
        {HEAD "---\nname: x\n", "a second document", "line 4, column 1"},
        {HEAD "name: \"x\n", "bad YAML", "line"},
        {HEAD "name: [\n", "bad YAML", "line"},
        {HEAD "\tname: x\n", "bad YAML", "line 4"},
        {HEAD "name: \x80\xff\n", "bad YAML", "byte"},
        {HEAD "name: \x01\n", "bad YAML", "line"},
        {HEAD "name: \"a\\0b\"\n", "control character 0x00", "line 4, column 7"},
        {HEAD "name: \"a\\nb\"\n", "control character 0x0a", "line 4, column 7"},
        {HEAD "name: &a x\nresult: *a\n", "aliases are not allowed", "line 5, column 9"},
        {HEAD "? [a]\n: b\n", "a key is a list or mapping", "line 4, column 3"},
        {HEAD "<<: {name: x}\n", "unknown key '<<'", "line 4, column 1"},
        {HEAD "x: [[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]\n", "nested deeper than 16",
         "line 4"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_refusal(bad[i].text, WA_E_JOB, bad[i].story, bad[i].place);
}

static void oversized_yaml_is_refused_cheaply(void)
{
    static const struct {
        const char *head, *item, *story;
        size_t times;
    } big[] = {{"name: ", "x", "value of 5000 bytes", 5000},
               {"", "x", "key of 70 bytes", 70},
               {"name: [", "a, ", "'name' is a list", 200000},
               {"", "[", "nested deeper", 200000},
               {"audits:\n", "#", "no value", 3000000},
               {"# ", "#", "at most 4194304 are allowed", 5000000}};
    for (size_t i = 0; i < sizeof big / sizeof big[0]; i++) {
        size_t head = strlen(big[i].head), item = strlen(big[i].item);
        char *text = malloc(head + item * big[i].times + 4);
        CU_ASSERT_PTR_NOT_NULL_FATAL(text);
        memcpy(text, big[i].head, head);
        for (size_t t = 0; t < big[i].times; t++)
            memcpy(text + head + t * item, big[i].item, item);
        const char *tail = i == 1 ? ": 1" : i == 2 ? "]" : "";
        memcpy(text + head + item * big[i].times, tail, strlen(tail) + 1);
        expect_refusal(text, WA_E_JOB, big[i].story, "in job");
        free(text);
    }
}

static void keys_by_the_thousand_are_refused(void)
{
    enum { KEYS = 1000, BYTES = 8 };
    static char text[KEYS * BYTES + 1];
    for (size_t i = 0; i < KEYS; i++)
        snprintf(text + i * BYTES, BYTES + 1, "k%03zu: 1\n", i);
    expect_refusal(text, WA_E_JOB, "more than 64 keys", "line 65, column 1");
}

static void every_prefix_of_a_job_is_read_or_refused(void)
{
    wa_arena *arena = new_arena();
    wa_error err;
    size_t good = 0;
    for (size_t size = 0; size < sizeof FULL; size++) {
        wa_job *job;
        write_file(JOB, FULL, size);
        wa_status status = wa_job_open(JOB, NULL, 0, arena, &job, &err);
        CU_ASSERT(status == WA_OK || status == WA_E_JOB);
        good += status == WA_OK ? 1 : 0;
        wa_arena_reset(arena);
    }
    CU_ASSERT(good > 1 && good < sizeof FULL / 2);
    wa_arena_close(arena);
}

static void every_failing_take_is_reported_as_memory(void)
{
    wa_error err;
    wa_status status = WA_E_MEMORY;
    write_file(JOB, FULL, sizeof FULL - 1);
    for (size_t k = 1; status == WA_E_MEMORY; k++) {
        wa_job *job;
        wa_arena *arena = new_arena();
        wa_arena_fail_at(arena, k);
        status = wa_job_open(JOB, NULL, 0, arena, &job, &err);
        CU_ASSERT(status == WA_OK || status == WA_E_MEMORY);
        wa_arena_close(arena);
        CU_ASSERT_FATAL(k < 10000);
    }
    CU_ASSERT_EQUAL(status, WA_OK);
}

static void a_job_beside_the_caller_keeps_its_paths_as_they_are(void)
{
    char here[4096];
    wa_arena *arena = new_arena();
    wa_job *job;
    wa_error err;
    CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(here, sizeof here));
    write_file(JOB, MINIMAL, sizeof MINIMAL - 1);
    CU_ASSERT_EQUAL_FATAL(chdir(DIRECTORY), 0);
    WA_MUST(wa_job_open("tiny.yaml", NULL, 0, arena, &job, &err), &err);
    CU_ASSERT_STRING_EQUAL(job->audits[0].model, "models/smollm2.gguf");
    CU_ASSERT_STRING_EQUAL(job->directory, ".");
    CU_ASSERT_EQUAL(chdir(here), 0);
    CU_ASSERT_EQUAL(wa_job_open(DIRECTORY "/none.yaml", NULL, 0, arena, &job, &err), WA_E_JOB);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "none.yaml"));
    wa_arena_close(arena);
}

/* As a reader would write them; a link or dots in the way stay, since .. of a link is elsewhere. */
static void paths_above_the_job_are_written_without_the_way_down(void)
{
    static const struct {
        const char *file, *model;
    } jobs[] = {
        {DIRECTORY "/below/deep/job.yaml", DIRECTORY "/models/m"},
        {DIRECTORY "/below/link/job.yaml", DIRECTORY "/below/link/../../models/m"},
        {DIRECTORY "/below/deep/../job.yaml", DIRECTORY "/below/deep/../../../models/m"},
    };
    static const char text[] = "audits: [{model: ../../models/m, vindexes: [{path: ../v}]}]";
    wa_arena *arena = new_arena();
    mkdir(DIRECTORY, 0777);
    mkdir(DIRECTORY "/below", 0777);
    mkdir(DIRECTORY "/below/deep", 0777);
    (void)unlink(DIRECTORY "/below/link");
    CU_ASSERT_EQUAL_FATAL(symlink("deep", DIRECTORY "/below/link"), 0);
    for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
        wa_job *job;
        wa_error err;
        write_file(jobs[i].file, text, sizeof text - 1);
        WA_MUST(wa_job_open(jobs[i].file, NULL, 0, arena, &job, &err), &err);
        CU_ASSERT_STRING_EQUAL(job->audits[0].model, jobs[i].model);
    }
    wa_arena_close(arena);
}

/* --- Prompts ---------------------------------------------------------------------------------- */

static void the_seed_is_the_three_published_prompts(void)
{
    wa_arena *arena = new_arena();
    wa_job job = {.prompts_builtin = "seed"};
    wa_prompt *prompts;
    size_t count;
    wa_error err;
    WA_MUST(wa_prompts_open(&job, arena, &prompts, &count, &err), &err);
    CU_ASSERT_EQUAL_FATAL(count, 3);
    CU_ASSERT_STRING_EQUAL(prompts[0].key, "paris");
    CU_ASSERT_STRING_EQUAL(prompts[0].text, "The capital of France is");
    CU_ASSERT_STRING_EQUAL(prompts[1].key, "apollo");
    CU_ASSERT_STRING_EQUAL(
        prompts[1].text,
        "The Apollo 11 mission landed on the Moon on July 20, 1969. The commander was");
    CU_ASSERT_STRING_EQUAL(prompts[2].key, "code");
    CU_ASSERT_STRING_EQUAL(prompts[2].text, "def fibonacci(n):");
    CU_ASSERT_EQUAL(prompts[2].text_length, 17);
    job.prompts_builtin = "sprout";
    CU_ASSERT_EQUAL(wa_prompts_open(&job, arena, &prompts, &count, &err), WA_E_JOB);
    wa_arena_close(arena);
}

#define CORPUS DIRECTORY "/corpus.jsonl"

static wa_status open_corpus(const char *text, wa_arena *arena, wa_prompt **prompts, size_t *count,
                             wa_error *err)
{
    wa_job job = {.prompts_file = CORPUS};
    write_file(CORPUS, text, strlen(text));
    return wa_prompts_open(&job, arena, prompts, count, err);
}

static void a_corpus_gives_texts_ids_and_limits_in_order(void)
{
    wa_arena *arena = new_arena();
    wa_prompt *prompts;
    size_t count;
    wa_error err;
    WA_MUST(open_corpus("{\"key\": \"a\", \"text\": \"x\\u0000y\", \"max_tokens\": 7}\r\n\n"
                        "{\"key\": \"\xc3\xa4\", \"ids\": [0, 2147483647]}",
                        arena, &prompts, &count, &err),
            &err);
    CU_ASSERT_EQUAL_FATAL(count, 2);
    CU_ASSERT_STRING_EQUAL(prompts[0].key, "a");
    CU_ASSERT_EQUAL(prompts[0].text_length, 3);
    CU_ASSERT_EQUAL(memcmp(prompts[0].text, "x\0y", 4), 0);
    CU_ASSERT_EQUAL(prompts[0].max_tokens, 7);
    CU_ASSERT_PTR_NULL(prompts[0].ids);
    CU_ASSERT_STRING_EQUAL(prompts[1].key, "\xc3\xa4");
    CU_ASSERT_PTR_NULL(prompts[1].text);
    CU_ASSERT_EQUAL_FATAL(prompts[1].id_count, 2);
    CU_ASSERT_EQUAL(prompts[1].ids[1], 2147483647);
    CU_ASSERT_EQUAL(prompts[1].max_tokens, 0);
    wa_arena_close(arena);
}

static void a_byte_order_mark_is_skipped_at_the_start_only(void)
{
    wa_arena *arena = new_arena();
    wa_prompt *prompts;
    size_t count;
    wa_error err;
    WA_MUST(open_corpus("\xef\xbb\xbf{\"key\": \"a\", \"text\": \"t\"}\r\n\r\n", arena, &prompts,
                        &count, &err),
            &err);
    CU_ASSERT_EQUAL(count, 1);
    CU_ASSERT_STRING_EQUAL(prompts[0].key, "a");
    CU_ASSERT_EQUAL(
        open_corpus(
            "{\"key\": \"a\", \"text\": \"t\"}\n\xef\xbb\xbf{\"key\": \"b\", \"text\": \"t\"}\n",
            arena, &prompts, &count, &err),
        WA_E_FORMAT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "line 2"));
    wa_arena_close(arena);
}

/* 17 MiB in one line, well-formed: refused by its size before anything is made of it. */
static void a_huge_line_is_refused_by_its_size(void)
{
    static const char head[] = "{\"key\": \"a\", \"text\": \"";
    const size_t size = (size_t)17 << 20;
    wa_arena *arena = new_arena();
    wa_prompt *prompts;
    size_t count;
    wa_error err;
    char *text;
    WA_MUST(wa_arena_take(arena, size + 1, 1, &text, &err), &err);
    memset(text, 'x', size);
    memcpy(text, head, sizeof head - 1);
    memcpy(text + size - 3, "\"}\n", 3);
    CU_ASSERT_EQUAL(open_corpus(text, arena, &prompts, &count, &err), WA_E_FORMAT);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(err.text, "a line of 17825791 bytes, expected at most 16777216; line 1"));
    remove(CORPUS);
    wa_arena_close(arena);
}

static void a_bad_line_of_a_corpus_is_named(void)
{
    static const char good[] = "{\"key\": \"a\", \"text\": \"t\"}\n";
    static const struct {
        const char *line, *story;
    } bad[] = {{"{\"key\": \"b\"", "JSON error"},
               {"[1]", "found an array, expected an object"},
               {"{\"key\": 3, \"text\": \"t\"}", "key"},
               {"{\"key\": \"\", \"text\": \"t\"}", "'key' has 0 bytes"},
               {"{\"key\": \"b\\n\", \"text\": \"t\"}", "control character 0x0a"},
               {"{\"key\": \"b\"}", "neither 'text' nor 'ids'"},
               {"{\"key\": \"b\", \"text\": \"t\", \"ids\": [1]}", "both 'text' and 'ids'"},
               {"{\"key\": \"b\", \"text\": 1}", "'text' is"},
               {"{\"key\": \"b\", \"ids\": []}", "'ids' is empty"},
               {"{\"key\": \"b\", \"ids\": \"1\"}", "expected a list of token ids"},
               {"{\"key\": \"b\", \"ids\": [1, -1]}", "element 1"},
               {"{\"key\": \"b\", \"ids\": [2147483648]}", "element 0"},
               {"{\"key\": \"b\", \"ids\": [1.0]}", "element 0"},
               {"{\"key\": \"b\", \"text\": \"t\", \"max_tokens\": 0}", "'max_tokens'"},
               {"{\"key\": \"b\", \"text\": \"t\", \"max_tokens\": -1}", "max_tokens"},
               {"{\"key\": \"b\", \"text\": \"t\", \"label\": 1}", "unknown key 'label'"},
               {"{\"key\": \"b\", \"text\": \"t\", \"text\": \"u\"}", "duplicate"},
               {"{\"key\": \"a\", \"text\": \"t\"}", "repeated key 'a'"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[300];
        wa_arena *arena = new_arena();
        wa_prompt *prompts;
        size_t count;
        wa_error err = {.text = ""};
        snprintf(text, sizeof text, "%s\n%s\n", good, bad[i].line); /* a blank line 2 */
        wa_status status = open_corpus(text, arena, &prompts, &count, &err);
        if (status != WA_E_FORMAT || strstr(err.text, bad[i].story) == NULL)
            fprintf(stderr, "    '%s': %d %s\n", bad[i].line, (int)status, err.text);
        CU_ASSERT_EQUAL(status, WA_E_FORMAT);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, bad[i].story));
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "line 3"));
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "in prompts '" CORPUS "'"));
        wa_arena_close(arena);
    }
}

static void prompts_without_keys_are_called_by_their_lines(void)
{
    wa_arena *arena = new_arena();
    wa_prompt *prompts;
    size_t count;
    wa_error err;
    WA_MUST(
        open_corpus("{\"text\": \"t\"}\n\n{\"key\": \"own\", \"text\": \"t\"}\n{\"ids\": [1]}\n",
                    arena, &prompts, &count, &err),
        &err);
    CU_ASSERT_EQUAL_FATAL(count, 3);
    CU_ASSERT_STRING_EQUAL(prompts[0].key, "line1");
    CU_ASSERT_STRING_EQUAL(prompts[1].key, "own");
    CU_ASSERT_STRING_EQUAL(prompts[2].key, "line4");
    CU_ASSERT_EQUAL(open_corpus("{\"text\": \"t\"}\n{\"key\": \"line1\", \"text\": \"t\"}\n", arena,
                                &prompts, &count, &err),
                    WA_E_FORMAT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "repeated key 'line1'; line 2, first in line 1"));
    wa_arena_close(arena);
}

static void a_text_file_has_a_prompt_in_each_line(void)
{
    static const char text[] =
        "\xef\xbb\xbfThe capital of France is\r\n \n{\"text\": 3}\n two blanks  \nlast";
    static const char *const expected[] = {"The capital of France is", "{\"text\": 3}",
                                           " two blanks  ", "last"};
    static const char *const keys[] = {"line1", "line3", "line4", "line5"};
    wa_job job = {.prompts_file = DIRECTORY "/prompts.txt"};
    wa_arena *arena = new_arena();
    wa_prompt *prompts;
    size_t count;
    wa_error err;
    write_file(job.prompts_file, text, strlen(text));
    WA_MUST(wa_prompts_open(&job, arena, &prompts, &count, &err), &err);
    CU_ASSERT_EQUAL_FATAL(count, 4);
    for (size_t i = 0; i < count; i++) {
        CU_ASSERT_STRING_EQUAL(prompts[i].text, expected[i]);
        CU_ASSERT_EQUAL(prompts[i].text_length, strlen(expected[i]));
        CU_ASSERT_STRING_EQUAL(prompts[i].key, keys[i]);
        CU_ASSERT_PTR_NULL(prompts[i].ids);
    }
    wa_arena_close(arena);
}

static void a_limit_takes_the_first_prompts_and_reads_no_further(void)
{
    static const char text[] = "{\"text\": \"a\"}\n{\"text\": \"b\"}\nno JSON\n";
    wa_job job = {.prompts_file = CORPUS, .prompts_limit = 2};
    wa_arena *arena = new_arena();
    wa_prompt *prompts;
    size_t count;
    wa_error err;
    write_file(CORPUS, text, strlen(text));
    WA_MUST(wa_prompts_open(&job, arena, &prompts, &count, &err), &err);
    CU_ASSERT_EQUAL(count, 2);
    CU_ASSERT_STRING_EQUAL(prompts[1].text, "b");
    job.prompts_limit = 3;
    CU_ASSERT_EQUAL(wa_prompts_open(&job, arena, &prompts, &count, &err), WA_E_FORMAT);
    job = (wa_job){.prompts_builtin = "seed", .prompts_limit = 2};
    WA_MUST(wa_prompts_open(&job, arena, &prompts, &count, &err), &err);
    CU_ASSERT_EQUAL(count, 2);
    job.prompts_limit = 9;
    WA_MUST(wa_prompts_open(&job, arena, &prompts, &count, &err), &err);
    CU_ASSERT_EQUAL(count, 3);
    wa_arena_close(arena);
}

#define SERIAL "path: sparse_serial, "

/* In brackets, in lines, at a vindex, behind characters of several bytes; and the text that is
 * stored names each by itself. */
static void a_list_of_k_is_a_path_for_each(void)
{
    static const char *const texts[] = {
        "\xef\xbb\xbf# \xc3\xa4\xe2\x82\xac\nname: \xc3\xa4\n" HEAD
        "paths: [{path: sparse}, {" SERIAL "k: [64, 256,\n    1024]}, {" SERIAL "k: 7}]\n",
        HEAD
        "paths:\n- path: sparse\n- path: sparse_serial\n  k:\n  - 64\n  - 256\n  - 1024\n- {" SERIAL
        "k: [7]}\n",
        HEAD "paths:\n  - path: sparse\n  - k:\n      - 64\n      - 256\n      - 1024\n    path: "
             "sparse_serial\n  - {" SERIAL "k: 7}\n",
    };
    static const int expected[] = {WA_K_ALL, 64, 256, 1024, 7};
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        wa_arena *arena = new_arena();
        wa_job *job, *again;
        wa_error err = {.text = ""};
        WA_MUST(open_text(texts[t], NULL, 0, arena, &job, &err), &err);
        CU_ASSERT_EQUAL_FATAL(job->path_count, 5);
        for (size_t i = 0; i < 5; i++)
            CU_ASSERT_EQUAL(job->paths[i].k, expected[i]);
        CU_ASSERT_PTR_NOT_NULL(strstr(job->text, "k: 64\n"));
        WA_MUST(open_text(job->text, NULL, 0, arena, &again, &err), &err);
        CU_ASSERT_STRING_EQUAL(again->text, job->text);
        wa_arena_close(arena);
    }
    wa_arena *arena = new_arena();
    wa_job *job;
    wa_error err = {.text = ""};
    WA_MUST(open_text("audits: [{model: m, vindexes: [{path: v, paths: [{" SERIAL
                      "k: [1, 2]}]}]}]\n",
                      NULL, 0, arena, &job, &err),
            &err);
    CU_ASSERT_EQUAL(job->audits[0].vindexes[0].path_count, 2);
    CU_ASSERT_EQUAL(job->audits[0].vindexes[0].paths[1].k, 2);
    wa_arena_close(arena);
}

static void a_wrong_list_of_k_is_refused_in_its_place(void)
{
    static const struct {
        const char *text, *story, *place;
    } bad[] = {
        {HEAD "paths: [{" SERIAL "k: [64, x]}]\n", "'paths[0].k[1]' is 'x', expected an integer",
         "line 4, column 39"},
        {HEAD "paths: [{" SERIAL "k: [64, -3]}]\n",
         "'paths[0].k[1]' is '-3', expected an integer above 0", "line 4, column 39"},
        {HEAD "paths: [{" SERIAL "k: [[64]]}]\n", "'paths[0].k[0]' is a list or mapping",
         "line 4, column 35"},
        {HEAD "paths: [{" SERIAL "k: [64, 0]}]\n", "'paths[0].k' is 0, expected 1", "line 4"},
        {HEAD "paths: [{path: sparse}, {" SERIAL "k: ['64', 3]}]\n",
         "'paths[1].k' holds more than its items", "line 4, column 50"},
        {HEAD "paths: [{" SERIAL "k: []}]\n", "'paths[0].k' is an empty list", "line 4, column 34"},
        {HEAD "paths: [{" SERIAL "k: '64, 3'}]\n", "'paths[0].k' is '64, 3', expected an integer",
         "line 4, column 34"},
        {HEAD "paths: [{" SERIAL "k: {a: 1}}]\n", "'k' is a mapping, expected a string", "line 4"},
        {HEAD "paths: [{" SERIAL "k: [1, 2], name: n}]\n", "'paths[0].name' would name 2 cases",
         "line 4, column 48"},
        {HEAD "paths: [{" SERIAL "k: [1, 2]}, {path: exact, k: 3}]\n", "path 'exact' takes no 'k'",
         "line 4, column 60"},
        {HEAD "paths: [{" SERIAL "k: [1, 2]}]\nlogit: all\n", "unknown key 'logit'",
         "line 5, column 1"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_refusal(bad[i].text, WA_E_JOB, bad[i].story, bad[i].place);
}

#define SERVED "path: served, name: s, "

/* In brackets with and without quotes, in lines, and as words of one value; stored as words. */
static void a_list_of_urls_is_one_value(void)
{
    static const char *const texts[] = {
        HEAD "paths: [{" SERVED "url: [http://one-a:1, http://two-b:2/x-y]}]\n",
        HEAD "paths: [{" SERVED "url: [\"http://one-a:1\",\n     'http://two-b:2/x-y']}]\n",
        HEAD "paths:\n- path: served\n  name: s\n  url:\n  - http://one-a:1\n  - "
             "\"http://two-b:2/x-y\"\n",
        HEAD "paths: [{" SERVED "url: http://one-a:1  http://two-b:2/x-y}]\n",
    };
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        wa_arena *arena = new_arena();
        wa_job *job, *again;
        wa_error err = {.text = ""};
        WA_MUST(open_text(texts[t], NULL, 0, arena, &job, &err), &err);
        CU_ASSERT_EQUAL_FATAL(job->path_count, 1);
        char one[40] = "", two[40] = "", more[40] = "";
        CU_ASSERT_EQUAL(sscanf(job->paths[0].url, "%39s %39s %39s", one, two, more), 2);
        CU_ASSERT_STRING_EQUAL(one, "http://one-a:1");
        CU_ASSERT_STRING_EQUAL(two, "http://two-b:2/x-y");
        WA_MUST(open_text(job->text, NULL, 0, arena, &again, &err), &err);
        CU_ASSERT_STRING_EQUAL(again->paths[0].url, job->paths[0].url);
        wa_arena_close(arena);
    }
}

static void a_wrong_list_of_urls_is_refused_in_its_place(void)
{
    static const struct {
        const char *text, *story, *place;
    } bad[] = {{HEAD "paths: [{" SERVED "url: [http://a, [http://b]]}]\n",
                "'paths[0].url[1]' is a list or mapping", "line 4"},
               {HEAD "paths: [{" SERVED "url: [http://a, '']}]\n", "'paths[0].url[1]' has no value",
                "line 4"},
               {HEAD "paths: [{" SERVED "url: ['http://a b']}]\n",
                "'paths[0].url[0]' is 'http://a b', expected a URL", "line 4"},
               {HEAD "paths: [{" SERVED "url: []}]\n", "'paths[0].url' is an empty list", "line 4"},
               {HEAD "paths:\n- path: served\n  url:\n  - http://a # one\n  - http://b\n",
                "'paths[0].url' holds more than", "line 7"},
               {HEAD "paths: [{" SERVED "url: [http://a, !t http://b]}]\n", "", "line 4"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_refusal(bad[i].text, WA_E_JOB, bad[i].story, bad[i].place);
}

/* Most vindexes of today are read by LARQL of August 2026; other words are refused. */
static void the_ladder_is_that_of_august_unless_the_job_says_otherwise(void)
{
    static const struct {
        const char *text;
        wa_ladder ladder;
    } jobs[] = {{HEAD, WA_LADDER_DEFAULT},
                {HEAD "ladder: larql-2026-08\n", WA_LADDER_2026_08},
                {HEAD "ladder: larql-2026-05\n", WA_LADDER_2026_05}};
    for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
        wa_arena *arena = new_arena();
        wa_job *job;
        wa_error err = {.text = ""};
        WA_MUST(open_text(jobs[i].text, NULL, 0, arena, &job, &err), &err);
        CU_ASSERT_EQUAL(job->ladder, jobs[i].ladder);
        wa_arena_close(arena);
    }
}

static void an_empty_corpus_is_refused(void)
{
    wa_arena *arena = new_arena();
    wa_prompt *prompts;
    size_t count;
    wa_error err;
    CU_ASSERT_EQUAL(open_corpus("", arena, &prompts, &count, &err), WA_E_FORMAT);
    CU_ASSERT_EQUAL(open_corpus("\n \n", arena, &prompts, &count, &err), WA_E_FORMAT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "no prompts"));
    wa_arena_close(arena);
}

/* --- Documentation ---------------------------------------------------------------------------- */

/* Every key is one row of jobs/README.md, word for word, and there is no other row. */
static void the_readme_lists_every_key_with_type_default_and_meaning(void)
{
    static char readme[64 << 10];
    FILE *file = fopen(WA_GOLDEN "/../../jobs/README.md", "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    size_t size = fread(readme, 1, sizeof readme - 1, file);
    CU_ASSERT(size < sizeof readme - 1);
    fclose(file);
    readme[size] = '\0';

    size_t count, rows = 0;
    const wa_job_key *keys = wa_job_keys(&count);
    for (size_t i = 0; i < count; i++) {
        char row[400];
        snprintf(row, sizeof row, "\n| `%s` | %s | %s | %s |\n", keys[i].name, keys[i].type,
                 keys[i].fallback, keys[i].meaning);
        if (strstr(readme, row) == NULL)
            fprintf(stderr, "    not in jobs/README.md:%s", row);
        CU_ASSERT_PTR_NOT_NULL(strstr(readme, row));
    }
    const char *end = strstr(readme, "## Prompts");
    CU_ASSERT_PTR_NOT_NULL_FATAL(end);
    for (const char *at = readme; (at = strstr(at, "\n| `")) != NULL && at < end; at++)
        rows++;
    CU_ASSERT_EQUAL(rows, count);
}

/* jobs/baselines: a vindex of every format, those of August again under its ladder; rates at every
 * position, prompts that all have text. */
static void the_baselines_cover_every_format_and_position(void)
{
    static const char *const names[] = {"f32",       "f16",  "q4_0", "q4k",
                                        "q4k-down4", "fp4a", "fp4b", "fp4c"};
    static const struct {
        const char *file;
        wa_ladder ladder;
        size_t first, count; /* of the names */
    } jobs[] = {
        {WA_GOLDEN "/../../jobs/baselines/smollm2.yaml", WA_LADDER_2026_05, 0, 8},
        {WA_GOLDEN "/../../jobs/baselines/gemma3-270m.yaml", WA_LADDER_2026_05, 0, 8},
        {WA_GOLDEN "/../../jobs/baselines/smollm2-2026-08.yaml", WA_LADDER_2026_08, 2, 3},
        {WA_GOLDEN "/../../jobs/baselines/gemma3-270m-2026-08.yaml", WA_LADDER_2026_08, 2, 3},
    };
    for (size_t f = 0; f < sizeof jobs / sizeof jobs[0]; f++) {
        wa_arena *arena = new_arena();
        wa_job *job;
        wa_prompt *prompts;
        size_t count;
        wa_error err;
        WA_MUST(wa_job_open(jobs[f].file, NULL, 0, arena, &job, &err), &err);
        CU_ASSERT_EQUAL(job->ladder, jobs[f].ladder);
        CU_ASSERT_TRUE(job->logits_all);
        CU_ASSERT_EQUAL_FATAL(job->audit_count, 1);
        CU_ASSERT_EQUAL_FATAL(job->audits[0].vindex_count, jobs[f].count);
        for (size_t v = 0; v < job->audits[0].vindex_count; v++)
            CU_ASSERT_STRING_EQUAL(job->audits[0].vindexes[v].name, names[jobs[f].first + v]);
        WA_MUST(wa_prompts_open(job, arena, &prompts, &count, &err), &err);
        CU_ASSERT_EQUAL(count, 40);
        for (size_t p = 0; p < count; p++)
            CU_ASSERT(prompts[p].text_length > 200 && prompts[p].max_tokens == 120);
        wa_arena_close(arena);
    }
}

WA_SUITE(
    "job", WA_CASE(only_audits_are_required_and_the_rest_has_the_published_defaults),
    WA_CASE(every_key_reaches_the_job_and_its_effective_text_means_the_same),
    WA_CASE(the_effective_text_shows_every_default), WA_CASE(settings_replace_single_values),
    WA_CASE(numbers_of_kernel_check_become_words), WA_CASE(settings_that_make_no_sense_are_refused),
    WA_CASE(wrong_keys_and_types_are_refused_with_line_and_column),
    WA_CASE(values_out_of_range_are_refused_with_line_and_column),
    WA_CASE(hostile_yaml_is_refused_with_its_place), WA_CASE(oversized_yaml_is_refused_cheaply),
    WA_CASE(keys_by_the_thousand_are_refused), WA_CASE(every_prefix_of_a_job_is_read_or_refused),
    WA_CASE(every_failing_take_is_reported_as_memory),
    WA_CASE(a_job_beside_the_caller_keeps_its_paths_as_they_are),
    WA_CASE(paths_above_the_job_are_written_without_the_way_down),
    WA_CASE(the_seed_is_the_three_published_prompts),
    WA_CASE(a_corpus_gives_texts_ids_and_limits_in_order),
    WA_CASE(a_byte_order_mark_is_skipped_at_the_start_only),
    WA_CASE(a_huge_line_is_refused_by_its_size), WA_CASE(a_bad_line_of_a_corpus_is_named),
    WA_CASE(prompts_without_keys_are_called_by_their_lines),
    WA_CASE(a_text_file_has_a_prompt_in_each_line),
    WA_CASE(a_limit_takes_the_first_prompts_and_reads_no_further),
    WA_CASE(a_list_of_k_is_a_path_for_each), WA_CASE(a_wrong_list_of_k_is_refused_in_its_place),
    WA_CASE(a_list_of_urls_is_one_value), WA_CASE(a_wrong_list_of_urls_is_refused_in_its_place),
    WA_CASE(the_ladder_is_that_of_august_unless_the_job_says_otherwise),
    WA_CASE(an_empty_corpus_is_refused), WA_CASE(the_baselines_cover_every_format_and_position),
    WA_CASE(the_readme_lists_every_key_with_type_default_and_meaning))

/* The result table: what a reader must find, and that nothing in a file can break a line. */
#include "report/grid.c"
#include "report/modes.c"
#include "report/table.c"
#include "report/table_experts.c"
#include "report/table_grids.c"
#include "report/table_vindexes.c"
#include "report/table_ways.c"
#include "suite.h"

#include <stdlib.h>

enum { LAYERS = 2, PROMPTS = 2, OBS = 3, CASES = 4 };

/* A hand-made result: two cases equal bit for bit, one quantised, one that did not run. */
typedef struct scene {
    wa_arena *arena;
    wa_error err;
    wa_case cases[CASES];
    wa_case_judgement judged[CASES];
    wa_judgement judgement;
    int8_t label[LAYERS * PROMPTS], expected[LAYERS];
    wa_encoding_figure encoding[LAYERS * WA_PROJECTION_COUNT];
    double delta[CASES * PROMPTS], kl[CASES * PROMPTS], seconds[CASES];
    int8_t match[CASES * PROMPTS];
    int64_t bytes[CASES];
    const char *text[CASES * PROMPTS];
    wa_result result;
} scene;

static const int32_t OBS_PROMPT[OBS] = {0, 0, 1}, OBS_POSITION[OBS] = {0, 1, 0};
static const int64_t KERNEL_DUE[CASES] = {3, 0, 2, 0}, KERNEL_OWN_DUE[CASES] = {3, 0, 0, 0};
static const char *const TOKENS[OBS] = {"<bos>", "\n\x1b[31m", "日本"};
static const char *const KEYS[PROMPTS] = {"paris", "code"};
static const char *const REF_TEXT[PROMPTS] = {" Paris", "\n"};
static const char *const VINDEXES[2] = {"f16", "q4k"};
static const char *const VINDEX_FILES[2] = {
    "index.json: read\ntokenizer.json: not read: tokenizer",
    "index.json: read\ngate_vectrs.bin: unknown, like gate_vectors.bin"};
static const char *const VINDEX_LACK[2] = {"", ""};
static const int8_t VINDEX_LEFT_OUT[2] = {0, 0};
static const char *const VINDEX_PATHS[2] = {"v/f16.vindex", "v/my q4k.vindex"};
static const int8_t MODES_CHANGED[CASES * LAYERS * PROMPTS] = {0};
static const double REF_PROB[PROMPTS] = {0.8065804839, 0.9982932806}, MARGIN[PROMPTS] = {2.5, 6.25};
static const int32_t REF_ID[PROMPTS] = {9079, 107};
static const double REF_NLL[PROMPTS] = {8.0, 1.0};
static const int32_t REF_NLL_POSITIONS[PROMPTS] = {1, 0}; /* e^8, too few to be suspicious */
static const wa_not_offered NOT_OFFERED[] = {
    {1, "full_mmap", "up_features.bin is missing"},
    {0, "interleaved", "interleaved.bin is missing"},
    {1, "interleaved", "interleaved.bin is missing"},
    {0, "native", "interleaved.bin is missing"},
    {1, "native", "interleaved.bin is missing"},
    {1, "dequant", "interleaved.bin is missing"},
};

static void fill_case(scene *s, size_t c, const char *name, int vindex, wa_bucket bucket)
{
    wa_extreme nowhere = {NAN, -1, -1};
    s->cases[c] = (wa_case){.name = name, .vindex = vindex, .k = WA_K_ALL, .bucket = bucket};
    s->judged[c].summary = (wa_case_summary){.all = {{0.999998, 1, 1},
                                                     {1.88e-3, 1, 1},
                                                     {0.1, 0, 0},
                                                     {0.1, 0, 0},
                                                     {2.5e-4, 0, 2},
                                                     LAYERS * OBS},
                                             .max_kernel = {1.25e-7, 1, 2},
                                             .max_kernel_own = {2.5e-7, 0, 1},
                                             .kernel_nan = nowhere,
                                             .kernel_own_nan = nowhere,
                                             .max_drift = nowhere,
                                             .first_nonfinite = nowhere,
                                             .digest = {1, 2}};
    s->judged[c].evidence = (wa_evidence){.case_name = name,
                                          .bucket = bucket,
                                          .layers = LAYERS,
                                          .prompts = PROMPTS,
                                          .label = s->label,
                                          .expected_label = s->expected,
                                          .encoding = s->encoding,
                                          .summary = &s->judged[c].summary,
                                          .prompt_key = KEYS,
                                          .obs_prompt = OBS_PROMPT,
                                          .obs_position = OBS_POSITION,
                                          .token_text = TOKENS,
                                          .top1_gap = MARGIN,
                                          .top1_match = s->match + c * PROMPTS,
                                          .prob_delta = s->delta + c * PROMPTS,
                                          .kl = s->kl + c * PROMPTS,
                                          .top1_text = s->text + c * PROMPTS,
                                          .ref_top1_text = REF_TEXT};
    s->seconds[c] = 0.25;
    s->bytes[c] = 12340000;
    for (size_t p = 0; p < PROMPTS; p++) {
        s->delta[c * PROMPTS + p] = p == 0 ? -1.5e-4 : 1e-6;
        s->kl[c * PROMPTS + p] = p == 0 ? 1e-9 : 3e-8;
        s->match[c * PROMPTS + p] = 1;
        s->text[c * PROMPTS + p] = REF_TEXT[p];
    }
}

static void open_scene(scene *s)
{
    *s = (scene){0};
    WA_MUST(wa_arena_open("test", 0, &s->arena, &s->err), &s->err);
    memset(s->label, WA_LABEL_FULL_MMAP, sizeof s->label);
    memset(s->expected, WA_LABEL_FULL_MMAP, sizeof s->expected);
    for (size_t i = 0; i < LAYERS * WA_PROJECTION_COUNT; i++)
        s->encoding[i] = (wa_encoding_figure){.checked = true,
                                              .file = "gate_vectors.bin",
                                              .nominal_bound = 1e-3,
                                              .rows = {.p99 = 4e-4,
                                                       .max = i == 5 ? 7e-4 : 6e-4,
                                                       .worst_row = 41,
                                                       .basis = WA_BASIS_F16,
                                                       .rows = 64}};
    fill_case(s, 0, "f16:sparse", 0, WA_BUCKET_EXACT);
    fill_case(s, 1, "f16:full_mmap", 0, WA_BUCKET_EXACT);
    fill_case(s, 2, "q4k:interleaved_q4k", 1, WA_BUCKET_QUANTIZED);
    fill_case(s, 3, "q4k:sparse", 1, WA_BUCKET_QUANTIZED);
    s->judged[2].summary.digest[1] = 3;
    s->judged[3].evidence = (wa_evidence){.case_name = "q4k:sparse",
                                          .not_run_reason = "gate_vectors.bin is missing",
                                          .bucket = WA_BUCKET_QUANTIZED};
    s->result =
        (wa_result){.path = "results/a b.h5",
                    .modes_changed = MODES_CHANGED,
                    .meta = {.audit_name = "gemma",
                             .model_path = "models/gemma.gguf",
                             .model_family = "gemma3",
                             .semantics = "native",
                             .bounds_name = "default",
                             .kernel_due = KERNEL_DUE,
                             .kernel_own_due = KERNEL_OWN_DUE,
                             .vindex_name = VINDEXES,
                             .vindex_path = VINDEX_PATHS,
                             .vindex_files = VINDEX_FILES,
                             .vindex_lack = VINDEX_LACK,
                             .vindex_left_out = VINDEX_LEFT_OUT,
                             .source_format = {"Q4_1", "Q4_1", "Q4_1,Q8_0"},
                             .requantised = true,
                             .dims = {.cases = CASES,
                                      .layers = LAYERS,
                                      .rows = OBS,
                                      .prompts = PROMPTS,
                                      .vindexes = 2},
                             .cases = s->cases,
                             .not_offered = NOT_OFFERED,
                             .not_offered_count = sizeof NOT_OFFERED / sizeof NOT_OFFERED[0],
                             .prompt_key = KEYS,
                             .obs_prompt = OBS_PROMPT,
                             .obs_position = OBS_POSITION,
                             .token_text = TOKENS},
                    .seconds = s->seconds,
                    .bytes_read = s->bytes,
                    .ref_top1_prob = REF_PROB,
                    .ref_margin = MARGIN,
                    .ref_top1_id = REF_ID,
                    .ref_nll = REF_NLL,
                    .ref_nll_positions = REF_NLL_POSITIONS,
                    .ref_top1_text = REF_TEXT,
                    .prob_delta = s->delta,
                    .kl = s->kl,
                    .top1_match = s->match,
                    .top1_text = s->text,
                    .dense_evaluations = LAYERS * PROMPTS};
}

/* The table as one string of the scene's arena. */
static const char *printed(scene *s, const char *bounds_name, bool colour, int *exit_code)
{
    wa_bounds *bounds;
    char *text;
    FILE *file = tmpfile();
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    WA_MUST(wa_bounds_open(bounds_name, s->arena, &bounds, &s->err), &s->err);
    s->judgement = (wa_judgement){.bounds = bounds,
                                  .meta = &s->result.meta,
                                  .cases = s->judged,
                                  .case_count = s->result.meta.dims.cases,
                                  .layer_count = LAYERS};
    WA_MUST(wa_judgement_decide(&s->judgement, s->arena, &s->err), &s->err);
    WA_MUST(wa_table_print(file, &s->result, &s->judgement, colour, &s->err), &s->err);
    *exit_code = s->judgement.exit_code;
    long size = ftell(file);
    CU_ASSERT_FATAL(size > 0);
    rewind(file);
    WA_MUST(wa_arena_take(s->arena, (size_t)size + 1, 1, &text, &s->err), &s->err);
    CU_ASSERT_EQUAL(fread(text, 1, (size_t)size, file), (size_t)size);
    CU_ASSERT_EQUAL(fclose(file), 0);
    if (getenv("WA_SHOW_TABLE") != NULL)
        fprintf(stderr, "\n%s", text);
    return text;
}

static void expect_lines(const char *shown, const char *const *lines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strstr(shown, lines[i]) == NULL)
            fprintf(stderr, "    missing: '%s'\n", lines[i]);
        CU_ASSERT_PTR_NOT_NULL(strstr(shown, lines[i]));
    }
}

static void the_table_says_what_a_reader_needs(void)
{
    static const char *const lines[] = {
        "gemma: models/gemma.gguf (gemma3, semantics native)\n",
        "bounds: default\n",
        "gate Q4_1, up Q4_1, down Q4_1,Q8_0\n*requantised*",
        "f16:sparse           PASS      exact      0.99999800  1.88e-03  2.50e-04  1.50e-04  "
        "3.00e-08     12.3 "
        "    0.25\n",
        "q4k:interleaved_q4k  MEASURED  quantized",
        "q4k:sparse           NOT-RUN   quantized           -",
        "q4k:sparse: NOT-RUN: gate_vectors.bin is missing\n",
        "L1 paris/1 '\\n\\x1B[31m'",
        "L0 code/0 '日本'",
        "full_mmap 4/4",
        "4.00e-04  7.00e-04  L1 down row 41",
        "2.50e-07  L0 paris/1 '\\n\\x1B[31m' own\n",
        "kernel: 3 of 6 pairs, every layer, both streams\n"
        "        a fault in a share p of all pairs is missed with probability (1 - p)^3: 0.94 for "
        "p = 2 %\n",
        "kernel: 2 of 6 pairs, every layer, the reference's stream (cases without one of their "
        "own)",
        "kernel: not checked: f16:full_mmap\n",
        "paris   ' Paris'     0.806580   2.500             0 of 3\n",
        "dense perplexity: 2980.96 on 1 of the prompts' own tokens\n",
        "dense FFN: 4 evaluations, one forward pass per prompt: 2 layers x 2 prompts\n",
        "equal bit for bit: f16:sparse = f16:full_mmap\n",
        "not offered: full_mmap: up_features.bin is missing (q4k)\n"
        "not offered: interleaved, native: interleaved.bin is missing (f16, q4k)\n"
        "not offered: dequant: interleaved.bin is missing (q4k)\n",
        "4 cases: 2 pass, 1 measured (no bound for their bucket), 1 fail; exit code 1: some case "
        "fails",
        "next: walkaudit inspect 'v/my q4k.vindex'\n",
    };
    scene s;
    int code;
    open_scene(&s);
    expect_lines(printed(&s, "default", false, &code), lines, sizeof lines / sizeof lines[0]);
    CU_ASSERT_EQUAL(code, 1);
    wa_arena_close(s.arena);
}

static void a_dense_model_that_does_not_know_its_own_text_is_warned_of(void)
{
    static const double nll[PROMPTS] = {12 * 9.5, 8 * 9.5};
    static const int32_t positions[PROMPTS] = {12, 8};
    static const char *const lines[] = {
        "dense perplexity: 13359.73 on 20 of the prompts' own tokens\n",
        "warning: dense perplexity 13359.7, limit 1000: wrong configuration, weights or tokenizer?",
    };
    scene s;
    int code;
    open_scene(&s);
    CU_ASSERT_PTR_NULL(strstr(printed(&s, "default", false, &code), "warning: dense perplexity"));
    s.result.ref_nll = nll;
    s.result.ref_nll_positions = positions;
    expect_lines(printed(&s, "default", false, &code), lines, sizeof lines / sizeof lines[0]);
    wa_arena_close(s.arena);
}

static void lines_fit_and_end_without_blanks(void)
{
    scene s;
    int code;
    open_scene(&s);
    for (const char *line = printed(&s, "default", false, &code); *line != '\0';) {
        size_t length = strcspn(line, "\n");
        char copy[512] = {0};
        CU_ASSERT_FATAL(length < sizeof copy);
        memcpy(copy, line, length);
        CU_ASSERT(wa_show_width(copy) <= 120);
        CU_ASSERT(length == 0 || copy[length - 1] != ' ');
        CU_ASSERT_PTR_NULL(strchr(copy, '\x1b')); /* neither colour nor a token's own */
        line += length + 1;
    }
    wa_arena_close(s.arena);
}

static void colour_marks_verdicts_only(void)
{
    scene s;
    int code;
    open_scene(&s);
    const char *shown = printed(&s, "default", true, &code);
    size_t marks = 0;
    for (const char *at = shown; (at = strchr(at, '\x1b')) != NULL; at++)
        marks++;
    CU_ASSERT_EQUAL(marks, 2 * CASES);
    CU_ASSERT_PTR_NOT_NULL(strstr(shown, "\x1b[32mPASS\x1b[0m"));
    wa_arena_close(s.arena);
}

static void the_exit_code_is_0_only_when_all_that_is_there_succeeds(void)
{
    scene s;
    int code;
    open_scene(&s);
    s.result.meta.dims.cases = 3; /* without the one that did not run */
    const char *shown = printed(&s, "default", false, &code);
    CU_ASSERT_EQUAL(code, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(shown, "next: walkaudit report 'results/a b.h5' -o results\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(shown, "exit code 0"));
    shown = printed(&s, "larql", false, &code);
    CU_ASSERT_EQUAL(code, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(shown, "warning: bounds larql: the fp4 row contradicts itself"));
    CU_ASSERT_PTR_NOT_NULL(strstr(shown, "next: walkaudit report 'results/a b.h5' -o results\n"));
    s.result.meta.dims.cases = 0;
    shown = printed(&s, "default", false, &code);
    CU_ASSERT_EQUAL(code, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(shown, "no case ran"));
    wa_arena_close(s.arena);
}

static void equal_rows_have_no_worst_place(void)
{
    scene s;
    int code;
    open_scene(&s);
    s.result.meta.dims.cases = 1;
    s.judged[0].summary.all.max_rel_l2.value = s.judged[0].summary.all.max_eta.value = 0.0;
    for (size_t p = 0; p < PROMPTS; p++)
        s.delta[p] = s.kl[p] = 0.0;
    for (size_t i = 0; i < LAYERS * WA_PROJECTION_COUNT; i++)
        s.encoding[i].rows.p99 = s.encoding[i].rows.max = 0.0;
    static const char *const lines[] = {
        "f16:sparse  -                                -     -        -\n",
        "f16:sparse  full_mmap 4/4        0        0  -   2.50e-07",
    };
    expect_lines(printed(&s, "default", false, &code), lines, 2);
    wa_arena_close(s.arena);
}

static void what_is_unusual_is_said(void)
{
    scene s;
    int code;
    open_scene(&s);
    s.result.dense_evaluations = 7;
    s.result.meta.requantised = false;
    s.result.meta.prompt_key = (const char *const[]){"rome", "code"};
    s.judged[1].summary.digest[0] = 9;
    s.delta[1] = NAN;
    s.label[3] = WA_LABEL_EXACT;
    s.match[0] = 0;
    const char *shown = printed(&s, "larql", false, &code);
    static const char *const lines[] = {
        "7 evaluations, which is NOT one forward pass per prompt of 2 layers x 2 prompts",
        "note: dp of bucket exact holds at prompt 'paris', which is not in this job\n",
        "equal bit for bit: no two cases\n",
        "full_mmap 3/4",
        "NaN",
        "f16:sparse: DISPATCH: layer 1, prompt 'code': label 'exact' seen, 'full_mmap' expected (1 "
        "of 4)\n",
        "1 of 3\n",
    };
    expect_lines(shown, lines, sizeof lines / sizeof lines[0]);
    CU_ASSERT_PTR_NULL(strstr(shown, "requantised"));
    CU_ASSERT_EQUAL(code, 1);
    wa_arena_close(s.arena);
}

static void tokens_are_quoted_on_one_line(void)
{
    static const struct {
        const char *text, *quoted;
        size_t columns;
    } cases[] = {
        {"a b", "'a b'", 0},
        {"", "''", 0},
        {NULL, "''", 0},
        {"\n\t\r\x01\x7f", "'\\n\\t\\r\\x01\\x7F'", 0},
        {"it's \\", "'it\\'s \\\\'", 0},
        {"\xff\xc3", "'\\xFF\\xC3'", 0},
        {"\xe2\x80\xae", "'\\u{202E}'", 0}, /* right-to-left override */
        {"\xc2\xa0", "'\\u{A0}'", 0},
        {"日本語", "'日本語'", 8},
        {"日本語", "'日…'", 6},
        {"abcdef", "'abcdef'", 8},
        {"abcdefg", "'abcde…'", 8},
    };
    wa_arena *arena;
    wa_error err = {0};
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *quoted;
        WA_MUST(wa_show_token(cases[i].text, cases[i].columns, arena, &quoted, &err), &err);
        CU_ASSERT_STRING_EQUAL(quoted, cases[i].quoted);
        CU_ASSERT(cases[i].columns == 0 || wa_show_width(quoted) <= cases[i].columns);
    }
    char *plain;
    WA_MUST(wa_show_text("it's \\\n", 0, arena, &plain, &err), &err);
    CU_ASSERT_STRING_EQUAL(plain, "it's \\\\\\n");
    WA_MUST(wa_show_text("abcdefg", 6, arena, &plain, &err), &err);
    CU_ASSERT_STRING_EQUAL(plain, "abcde…");
    WA_MUST(wa_show_text(NULL, 6, arena, &plain, &err), &err);
    CU_ASSERT_STRING_EQUAL(plain, "");
    CU_ASSERT_EQUAL(wa_show_width("日a\xcc\x81"), 3);
    wa_arena_close(arena);
}

static void layers_are_listed_in_ranges(void)
{
    static const struct {
        bool set[8];
        const char *text;
    } cases[] = {{{false}, "no layer"},
                 {{true}, "layer 0"},
                 {{false, false, false, false, false, false, false, true}, "layer 7"},
                 {{true, true}, "layers 0-1"},
                 {{true, false, true, true, true, false, false, true}, "layers 0, 2-4, 7"}};
    wa_arena *arena;
    wa_error err = {0};
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text;
        WA_MUST(wa_show_layers(cases[i].set, 8, arena, &text, &err), &err);
        CU_ASSERT_STRING_EQUAL(text, cases[i].text);
    }
    wa_arena_close(arena);
}

/* Layer 1 has four experts, of which rows chose two; the check looked at rows of one of these. */
static void experts_that_nobody_chose_are_counted_and_named(void)
{
    static const int32_t experts[LAYERS] = {0, 4};
    static const int64_t rows[LAYERS * 4] = {0, 0, 0, 0, 0, 2, 0, 1};
    static const int64_t own[CASES * LAYERS * 4] = {0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 1, 1, 0, 1};
    static const int64_t checked[CASES * LAYERS * 4] = {0, 0, 0, 0, 0, 2, 0, 0};
    static const char *const lines[] = {
        "experts: 2 of 4 were never chosen by these prompts: layer 1: 0, 2\n"
        "         their stored numbers are compared all the same; no kernel ran with them\n",
        "\nExperts: rows that a router sent to others than the dense model's; rel_L2 by the same "
        "experts, and what others add\n",
        "f16:sparse                  1 of 3      2 of 3      5.00e-01    2.50e-01  L1 paris/1",
        "1 of 2\nf16:full_mmap", "0 of 3\n"};
    int exit_code;
    scene s;
    open_scene(&s);
    s.result.meta.dims.experts = 4;
    s.result.meta.dims.choices = 1;
    s.result.meta.layer_experts = experts;
    s.result.expert_rows = rows;
    s.result.own_expert_rows = own;
    s.result.expert_kernel_rows = checked;
    for (size_t c = 0; c < 3; c++)
        s.judged[c].summary.routing = (wa_routing_summary){.max_gap = {0.0, 1, 0},
                                                           .max_same = {0.5, 1, 1},
                                                           .max_other = {0.25, 1, 1},
                                                           .flips = 1,
                                                           .own_flips = 2};
    expect_lines(printed(&s, "default", false, &exit_code), lines, sizeof lines / sizeof lines[0]);
    wa_arena_close(s.arena);
}

static void with_all_chosen_that_is_said(void)
{
    static const int32_t experts[LAYERS] = {1, 1};
    static const int64_t rows[CASES * LAYERS] = {3, 3};
    static const char *const line = "experts: these prompts chose each of 2\n";
    int exit_code;
    scene s;
    open_scene(&s);
    s.result.meta.dims.experts = s.result.meta.dims.choices = 1;
    s.result.meta.layer_experts = experts;
    s.result.expert_rows = s.result.own_expert_rows = s.result.expert_kernel_rows = rows;
    expect_lines(printed(&s, "default", false, &exit_code), &line, 1);
    wa_arena_close(s.arena);
}

static void quotes_in_a_text_stand_as_they_are(void)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {{"only 'experts' compute", "only 'experts' compute"},
                 {"'", "'"},
                 {"a\\'b", "a\\\\'b"}, /* a backslash is doubled all the same */
                 {"\\", "\\\\"},
                 {"\\\\", "\\\\\\\\"},
                 {"", ""}};
    scene s;
    open_scene(&s);
    wa_table t = {.arena = s.arena, .err = &s.err};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *shown;
        WA_MUST(wa_table_text(&t, cases[i].text, 0, &shown), &s.err);
        CU_ASSERT_STRING_EQUAL(shown, cases[i].shown);
    }
    wa_arena_close(s.arena);
}

static void a_full_disk_is_an_error(void)
{
    FILE *full = fopen("/dev/full", "w");
    if (full == NULL)
        return; /* a system without it */
    scene s;
    wa_bounds *bounds;
    open_scene(&s);
    WA_MUST(wa_bounds_open("default", s.arena, &bounds, &s.err), &s.err);
    s.judgement = (wa_judgement){.bounds = bounds,
                                 .meta = &s.result.meta,
                                 .cases = s.judged,
                                 .case_count = CASES,
                                 .layer_count = LAYERS};
    WA_MUST(wa_judgement_decide(&s.judgement, s.arena, &s.err), &s.err);
    CU_ASSERT_EQUAL(wa_table_print(full, &s.result, &s.judgement, false, &s.err), WA_E_IO);
    fclose(full);
    wa_arena_close(s.arena);
}

WA_SUITE("table", WA_CASE(the_table_says_what_a_reader_needs),
         WA_CASE(a_dense_model_that_does_not_know_its_own_text_is_warned_of),
         WA_CASE(lines_fit_and_end_without_blanks), WA_CASE(colour_marks_verdicts_only),
         WA_CASE(the_exit_code_is_0_only_when_all_that_is_there_succeeds),
         WA_CASE(equal_rows_have_no_worst_place), WA_CASE(what_is_unusual_is_said),
         WA_CASE(tokens_are_quoted_on_one_line), WA_CASE(layers_are_listed_in_ranges),
         WA_CASE(a_full_disk_is_an_error), WA_CASE(experts_that_nobody_chose_are_counted_and_named),
         WA_CASE(with_all_chosen_that_is_said), WA_CASE(quotes_in_a_text_stand_as_they_are))

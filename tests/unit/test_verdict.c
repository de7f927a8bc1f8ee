/* Verdicts and bounds: every kind, every place, and NaN at every door. */
#include "judge/verdict.h"
#include "suite.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LAYERS = 3, PROMPTS = 3, OBS = 6, EVERYWHERE = 24 };

/* A healthy case that each test damages in its own way. Two positions a prompt. */
typedef struct scene {
    wa_arena *arena;
    wa_error err;
    int8_t label[LAYERS * PROMPTS], expected[LAYERS], match[PROMPTS];
    wa_encoding_figure encoding[LAYERS * WA_PROJECTION_COUNT];
    wa_case_summary summary;
    int32_t obs_prompt[OBS], obs_position[OBS];
    const char *token[OBS], *key[PROMPTS], *own_top[PROMPTS], *ref_top[PROMPTS];
    double gap[PROMPTS], delta[PROMPTS], kl[PROMPTS];
    wa_evidence evidence;
} scene;

static void open_scene(scene *s, wa_bucket bucket)
{
    *s = (scene){.obs_prompt = {0, 0, 1, 1, 2, 2},
                 .obs_position = {0, 1, 0, 1, 0, 1},
                 .token = {"<bos>", " one", "<bos>", "\n", "<bos>", "it's"},
                 .key = {"apollo", "code", "paris"},
                 .own_top = {" Neil", "\n", " Paris"},
                 .ref_top = {" Neil", "\n", " Paris"},
                 .gap = {5.0, 1.0, 0.01},
                 .match = {1, 1, 1},
                 .delta = {1e-5, -1e-5, 1e-4},
                 .kl = {1e-9, 1e-9, 1e-9}};
    WA_MUST(wa_arena_open("test", 0, &s->arena, &s->err), &s->err);
    memset(s->label, WA_LABEL_FULL_MMAP, sizeof s->label);
    memset(s->expected, WA_LABEL_FULL_MMAP, sizeof s->expected);
    for (size_t i = 0; i < LAYERS * WA_PROJECTION_COUNT; i++)
        s->encoding[i] = (wa_encoding_figure){.checked = true,
                                              .file = "gate_vectors.bin",
                                              .format = WA_FORMAT_F16,
                                              .nominal_bound = 1e-3,
                                              .rows = {.p50 = 1e-4,
                                                       .p99 = 4e-4,
                                                       .max = 6e-4,
                                                       .worst_row = 7,
                                                       .basis = WA_BASIS_F16,
                                                       .rows = 1000,
                                                       .unequal_row = -1}};
    wa_extreme nowhere = {NAN, -1, -1};
    s->summary = (wa_case_summary){
        .all =
            {{0.999998, 1, 3}, {1e-3, 1, 3}, {0.1, 0, 0}, {0.1, 0, 0}, {1e-3, 0, 0}, LAYERS * OBS},
        .max_kernel = {1e-7, 2, 5},
        .max_kernel_own = {2e-7, 1, 4},
        .kernel_nan = nowhere,
        .kernel_own_nan = nowhere,
        .max_drift = {1e-3, 2, 5},
        .first_nonfinite = nowhere};
    s->evidence = (wa_evidence){.case_name = "f16:full_mmap",
                                .bucket = bucket,
                                .layers = LAYERS,
                                .prompts = PROMPTS,
                                .topk = 5,
                                .label = s->label,
                                .expected_label = s->expected,
                                .encoding = s->encoding,
                                .summary = &s->summary,
                                .prompt_key = s->key,
                                .obs_prompt = s->obs_prompt,
                                .obs_position = s->obs_position,
                                .token_text = s->token,
                                .top1_gap = s->gap,
                                .top1_match = s->match,
                                .prob_delta = s->delta,
                                .kl = s->kl,
                                .top1_text = s->own_top,
                                .ref_top1_text = s->ref_top};
}

static wa_verdict judge(scene *s, const char *bounds_name)
{
    wa_bounds *bounds;
    wa_verdict verdict = {0};
    WA_MUST(wa_bounds_open(bounds_name, s->arena, &bounds, &s->err), &s->err);
    WA_MUST(wa_verdict_judge(bounds, &s->evidence, s->arena, &verdict, &s->err), &s->err);
    return verdict;
}

/* Judge, compare the verdict, and look for words in its first reason. Closes the scene. */
static void expect(scene *s, const char *bounds, wa_verdict_code code, const char *words)
{
    wa_verdict verdict = judge(s, bounds);
    if (verdict.code != code)
        fprintf(stderr, "    %s expected, %s found\n", wa_verdict_name(code),
                wa_verdict_name(verdict.code));
    CU_ASSERT_EQUAL(verdict.code, code);
    CU_ASSERT_EQUAL(verdict.reason_count > 0,
                    !wa_verdict_is_success(code) || code == WA_VERDICT_UNCHECKED);
    if (verdict.reason_count > 0 && words != NULL) {
        CU_ASSERT_PTR_NOT_NULL(strstr(verdict.reasons[0], words));
        if (strstr(verdict.reasons[0], words) == NULL)
            fprintf(stderr, "    '%s' lacks '%s'\n", verdict.reasons[0], words);
    }
    for (size_t i = 0; i < verdict.reason_count; i++) {
        CU_ASSERT_PTR_NULL(strchr(verdict.reasons[i], '\n'));
        CU_ASSERT(i == 0 || wa_verdict_rank(verdict.reason_codes[i]) >=
                                wa_verdict_rank(verdict.reason_codes[i - 1]));
    }
    wa_arena_close(s->arena);
}

static void a_healthy_case_passes(void)
{
    scene s;
    open_scene(&s, WA_BUCKET_EXACT);
    expect(&s, "default", WA_VERDICT_PASS, NULL);
    open_scene(&s, WA_BUCKET_EXACT);
    expect(&s, "larql", WA_VERDICT_PASS, NULL);
}

static void a_bucket_without_a_row_is_measured(void)
{
    static const wa_bucket buckets[] = {WA_BUCKET_QUANTIZED, WA_BUCKET_FP4, WA_BUCKET_APPROXIMATE};
    for (size_t i = 0; i < 3; i++) {
        scene s;
        open_scene(&s, buckets[i]);
        s.summary.all.max_rel_l2.value = 0.4;
        s.match[0] = 0;
        s.delta[0] = 0.9;
        expect(&s, "default", WA_VERDICT_MEASURED, NULL);
    }
    scene s;
    open_scene(&s, WA_BUCKET_APPROXIMATE);
    expect(&s, "larql", WA_VERDICT_MEASURED, NULL);
    CU_ASSERT(wa_verdict_is_success(WA_VERDICT_MEASURED) && wa_verdict_is_success(WA_VERDICT_PASS));
    CU_ASSERT(!wa_verdict_is_success(WA_VERDICT_NOT_RUN) &&
              !wa_verdict_is_success(WA_VERDICT_RATE));
}

static void a_case_that_did_not_run_says_why(void)
{
    scene s;
    open_scene(&s, WA_BUCKET_EXACT);
    s.evidence =
        (wa_evidence){.not_run_reason = "vindex has zero features", .bucket = WA_BUCKET_EXACT};
    expect(&s, "default", WA_VERDICT_NOT_RUN, "zero features");
    open_scene(&s, WA_BUCKET_QUANTIZED);
    s.summary.missing = 2;
    expect(&s, "default", WA_VERDICT_NOT_RUN, "2 of 20 observations are missing");
    open_scene(&s, WA_BUCKET_QUANTIZED);
    s.summary.all.n_obs = 0;
    expect(&s, "default", WA_VERDICT_NOT_RUN, NULL);
    open_scene(&s, WA_BUCKET_QUANTIZED);
    s.evidence.layers = 0;
    expect(&s, "default", WA_VERDICT_NOT_RUN, NULL);
}

static void a_wrong_label_names_layer_prompt_and_labels(void)
{
    scene s;
    open_scene(&s, WA_BUCKET_QUANTIZED);
    s.label[1 * PROMPTS + 1] = WA_LABEL_EXACT;
    s.label[2 * PROMPTS + 2] = WA_LABEL_EXACT;
    expect(&s, "default", WA_VERDICT_DISPATCH,
           "layer 1, prompt 'code': label 'exact' seen, 'full_mmap' expected (2 of 9)");
    open_scene(&s, WA_BUCKET_EXACT); /* no label is never the expected one */
    memset(s.label, 0, sizeof s.label);
    memset(s.expected, 0, sizeof s.expected);
    expect(&s, "default", WA_VERDICT_DISPATCH, NULL);
    open_scene(&s, WA_BUCKET_EXACT); /* a code of a damaged file */
    s.label[0] = 99;
    expect(&s, "default", WA_VERDICT_DISPATCH, "layer 0, prompt 'apollo'");
}

static void what_is_no_number_fails_in_every_bucket(void)
{
    for (int bucket = 0; bucket < WA_BUCKET_COUNT; bucket++) {
        scene s;
        open_scene(&s, (wa_bucket)bucket);
        s.summary.nonfinite = 4;
        s.summary.first_nonfinite = (wa_extreme){NAN, 2, 3};
        expect(&s, "default", WA_VERDICT_NON_FINITE,
               "4 of 18 observations hold NaN or infinity, the first at layer 2, prompt 'code', "
               "position 1 ('\\n')");
        open_scene(&s, (wa_bucket)bucket);
        s.delta[2] = NAN;
        expect(&s, "default", WA_VERDICT_NON_FINITE, "prompt 'paris'");
        open_scene(&s, (wa_bucket)bucket);
        s.kl[1] = INFINITY;
        expect(&s, "larql", WA_VERDICT_NON_FINITE, "prompt 'code'");
    }
}

static void a_wrong_row_is_an_encoding_error(void)
{
    static const struct {
        wa_encoding_basis basis;
        const char *what;
    } rules[] = {
        {WA_BASIS_EQUALITY, "layer 1, down, row 412: 1 of 1000 rows are not the model's values"},
        {WA_BASIS_F16,
         "layer 1, down, row 412: 1 of 1000 rows hold values that no rounding to f16 gives"},
        {WA_BASIS_REENCODING, "layer 1, down, row 412: 1 of 1000 rows are not LARQL's encoding"}};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        scene s;
        open_scene(&s, WA_BUCKET_QUANTIZED);
        wa_row_error *rows = &s.encoding[1 * 3 + WA_DOWN].rows;
        rows->basis = rules[i].basis;
        rows->unequal = 1;
        rows->unequal_row = 412;
        rows->unequal_error = 1e-5; /* however small */
        expect(&s, "default", WA_VERDICT_ENCODING, rules[i].what);
        open_scene(&s, WA_BUCKET_QUANTIZED); /* what was judged once: large errors of equal rows */
        s.encoding[4].rows.max = 1.0;
        s.encoding[4].rows.p99 = 0.5;
        expect(&s, "default", WA_VERDICT_MEASURED, NULL);
    }
}

/* A matrix of which no row is LARQL's, healthy but for what `change` does to it. */
static wa_encoding_figure foreign_figure(wa_format format)
{
    return (wa_encoding_figure){.checked = true,
                                .file = "interleaved_q4k.bin",
                                .format = format,
                                .nominal_bound = 0.35,
                                .rows = {.p50 = 0.08,
                                         .p99 = 0.1,
                                         .max = 0.2,
                                         .basis = WA_BASIS_REENCODING,
                                         .rows = 100,
                                         .unequal = 100,
                                         .unequal_row = 3,
                                         .steps = 0.5,
                                         .steps_row = 4,
                                         .ratio = 1.0,
                                         .gain = -0.008,
                                         .row_gain = 0.02,
                                         .row_gain_row = 5,
                                         .row_ratio = 1.2,
                                         .row_ratio_row = 6,
                                         .part_ratio = 1.0,
                                         .part_ratio_row = 7}};
}

static void another_encoder_has_limits_of_its_own(void)
{
    /* largest healthy, least that is found */
    static const struct {
        wa_format format;
        double steps[2], ratio[2], gain[2], row_gain[2];
        double row_ratio[2], expert_ratio[2];
    } table[] = {{WA_FORMAT_Q4_K,
                  {0.55, 0.56},
                  {1.05, 1.06},
                  {0.015, -0.016},
                  {0.04, -0.041},
                  {2.0, 2.01},
                  {1.36, 1.37}},
                 {WA_FORMAT_Q6_K,
                  {0.55, 0.56},
                  {1.05, 1.06},
                  {0.015, -0.016},
                  {0.04, -0.041},
                  {2.0, 2.01},
                  {1.36, 1.37}},
                 {WA_FORMAT_Q4_0,
                  {0.70, 0.71},
                  {1.15, 1.16},
                  {0.030, -0.031},
                  {0.08, -0.081},
                  {2.0, 2.01},
                  {1.43, 1.44}},
                 {WA_FORMAT_FP4,
                  {0.55, 0.56},
                  {1.05, 1.06},
                  {0.025, -0.026},
                  {0.08, -0.081},
                  {2.0, 2.01},
                  {1.36, 1.37}},
                 {WA_FORMAT_FP8,
                  {0.55, 0.56},
                  {1.10, 1.11},
                  {0.025, -0.026},
                  {0.08, -0.081},
                  {2.5, 2.51},
                  {1.56, 1.57}}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        for (int bad = 0; bad < 2; bad++) {
            for (int which = 0; which < 6; which++) {
                wa_encoding_figure f = foreign_figure(table[i].format);
                double *const figures[] = {&f.rows.steps,    &f.rows.ratio,     &f.rows.gain,
                                           &f.rows.row_gain, &f.rows.row_ratio, &f.rows.part_ratio};
                const double *const values[] = {table[i].steps,     table[i].ratio,
                                                table[i].gain,      table[i].row_gain,
                                                table[i].row_ratio, table[i].expert_ratio};
                *figures[which] = values[which][bad];
                wa_encoding_finding found = wa_encoding_judge(&f, WA_ENCODER_NEAREST);
                CU_ASSERT_EQUAL(found.faithful, bad == 0);
                CU_ASSERT_EQUAL(found.rule, WA_ENCODING_RULE_FOREIGN);
                CU_ASSERT(bad == 0 ||
                          found.statistic ==
                              (wa_encoding_statistic)(WA_ENCODING_STATISTIC_STEPS + which));
                CU_ASSERT_EQUAL(bad != 0 && found.row < 0, bad != 0 && (which == 1 || which == 2));
            }
            /* the user says that codes are not nearest */
            wa_encoding_figure f = foreign_figure(table[i].format);
            f.rows.steps = 3.0;
            f.rows.ratio = 1.9;
            CU_ASSERT(!wa_encoding_judge(&f, WA_ENCODER_NEAREST).faithful);
            CU_ASSERT(wa_encoding_judge(&f, WA_ENCODER_COMPENSATING).faithful);
            f.rows.ratio = 2.1;
            CU_ASSERT(!wa_encoding_judge(&f, WA_ENCODER_COMPENSATING).faithful);
            f.rows.ratio = 1.9;
            f.rows.row_ratio = 3.9;
            CU_ASSERT(wa_encoding_judge(&f, WA_ENCODER_COMPENSATING).faithful);
            f.rows.row_ratio = 5.1;
            CU_ASSERT(!wa_encoding_judge(&f, WA_ENCODER_COMPENSATING).faithful);
        }
}

/* Of every block format that can be read a healthy file passes and a wrong one fails, whoever made
 * it; of every one that is written also where it is held against LARQL's encoder. */
static void every_block_format_has_limits(void)
{
    size_t seen = 0;
    for (int f = 0; f < WA_FORMAT_COUNT; f++) {
        const wa_format_info *info = wa_format_get((wa_format)f);
        if (info->block_elements == 1 && f != WA_FORMAT_E4M3)
            continue;
        seen++;
        for (int own = 0; own < (info->encode != NULL ? 2 : 1); own++) {
            wa_encoding_figure figure = foreign_figure((wa_format)f);
            figure.rows.basis = own ? WA_BASIS_REENCODING : WA_BASIS_LEVELS;
            figure.rows.steps = 0.5;
            figure.rows.ratio = 1.0;
            figure.rows.gain = figure.rows.row_gain = 0.01;
            CU_ASSERT(wa_encoding_judge(&figure, WA_ENCODER_NEAREST).faithful);
            figure.rows.ratio = own ? 1.16 : 1.26;
            CU_ASSERT(!wa_encoding_judge(&figure, WA_ENCODER_NEAREST).faithful);
        }
    }
    CU_ASSERT_EQUAL(seen, 19);
}

/* The wide limits are for matrices of which a quarter of the rows or more are not LARQL's, whatever
 * the size of the errors. */
static void most_rows_decide_which_limits_hold(void)
{
    wa_encoding_figure f = foreign_figure(WA_FORMAT_Q4_K);
    f.rows.unequal = 25;
    CU_ASSERT(wa_encoding_judge(&f, WA_ENCODER_NEAREST).faithful);
    f.rows.unequal = 24;
    wa_encoding_finding found = wa_encoding_judge(&f, WA_ENCODER_COMPENSATING);
    CU_ASSERT(!found.faithful && found.rule == WA_ENCODING_RULE_REENCODING && found.row == 3 &&
              found.value == 24.0);
    f.rows.unequal = 0;
    CU_ASSERT(wa_encoding_judge(&f, WA_ENCODER_NEAREST).faithful);
    f.rows.basis = WA_BASIS_NONE; /* a damaged file: nothing passes that was held against nothing */
    CU_ASSERT(!wa_encoding_judge(&f, WA_ENCODER_NEAREST).faithful);
}

static void the_worst_projection_is_named(void)
{
    scene s;
    open_scene(&s, WA_BUCKET_EXACT);
    for (size_t i = 0; i < LAYERS * WA_PROJECTION_COUNT; i += 7) {
        s.encoding[i].rows.unequal = i == 7 ? 1 : 900;
        s.encoding[i].rows.unequal_row = 11;
        s.encoding[i].rows.unequal_error = i == 7 ? 0.5 : 0.01;
    }
    expect(&s, "default", WA_VERDICT_ENCODING, "layer 2, up, row 11");
    open_scene(&s, WA_BUCKET_EXACT);
    s.encoding[7].rows.unequal = 900;
    s.encoding[4].rows.max = NAN;
    s.encoding[4].rows.nonfinite = 3;
    expect(&s, "default", WA_VERDICT_ENCODING,
           "layer 1, up, row 7: stored values are no finite numbers, 3");
}

static void nan_in_the_encoding_never_passes(void)
{
    for (int which = 0; which < 10; which++) {
        scene s;
        open_scene(&s, WA_BUCKET_FP4);
        wa_encoding_figure *f = &s.encoding[5];
        if (which >= 3)
            *f = foreign_figure(WA_FORMAT_FP4);
        double *const figures[] = {&f->rows.max,       &f->rows.p99,   NULL,
                                   &f->rows.steps,     &f->rows.ratio, &f->rows.gain,
                                   &f->rows.row_gain,  &f->rows.ratio, &f->rows.row_ratio,
                                   &f->rows.part_ratio};
        if (which == 2)
            f->rows.nonfinite = 1;
        else
            *figures[which] = which == 7 ? INFINITY : NAN;
        expect(&s, "default", WA_VERDICT_ENCODING, "layer 1, down");
    }
}

static void a_kernel_error_fails_in_every_bucket(void)
{
    for (int bucket = 0; bucket < WA_BUCKET_COUNT; bucket++) {
        scene s;
        open_scene(&s, (wa_bucket)bucket);
        s.summary.max_kernel.value = 1.0001e-5;
        expect(&s, "default", WA_VERDICT_KERNEL, "layer 2, prompt 'paris', position 1 ('it\\'s')");
        open_scene(&s, (wa_bucket)bucket);
        s.summary.kernel_nan = (wa_extreme){INFINITY, 1, 0};
        expect(&s, "default", WA_VERDICT_KERNEL, "layer 1, prompt 'apollo', position 0");
        open_scene(&s, (wa_bucket)bucket);
        s.summary.max_kernel_own.value = 1.0001e-5;
        expect(&s, "default", WA_VERDICT_KERNEL,
               "), on the case's own residual stream: kernel differs from its oracle by 1e-05");
        open_scene(&s, (wa_bucket)bucket);
        s.summary.kernel_own_nan = (wa_extreme){INFINITY, 1, 0};
        expect(&s, "default", WA_VERDICT_KERNEL,
               "), on the case's own residual stream: the kernel or");
    }
}

/* Neither PASS nor MEASURED without a look at the kernel and at every row that is read. */
static void what_nobody_looked_at_is_unchecked(void)
{
    for (int bucket = 0; bucket < WA_BUCKET_COUNT; bucket++) {
        scene s;
        open_scene(&s, (wa_bucket)bucket);
        s.summary.max_kernel = (wa_extreme){NAN, -1, -1}; /* kernel_check 0 */
        expect(&s, "default", WA_VERDICT_UNCHECKED, "met no oracle");
        open_scene(&s, (wa_bucket)bucket);
        s.evidence.reads[WA_UP] = s.evidence.reads[WA_DOWN] = true;
        s.encoding[1 * WA_PROJECTION_COUNT + WA_GATE].checked = false; /* not read */
        s.encoding[2 * WA_PROJECTION_COUNT + WA_DOWN].checked = false;
        expect(&s, "default", WA_VERDICT_UNCHECKED, "layer 2, down (1 of 6 that it reads)");
        open_scene(&s, (wa_bucket)bucket);
        s.evidence.reads[WA_GATE] = true;
        s.evidence.encoding = NULL; /* encoding_check none */
        expect(&s, "default", WA_VERDICT_UNCHECKED, "layer 0, gate (3 of 3 that it reads)");
        for (int dispatched = 0; dispatched < 2; dispatched++) {
            open_scene(&s, (wa_bucket)bucket);
            s.evidence.reads[WA_GATE] = true; /* at layer 1 alone, and there compared */
            s.encoding[0].checked = s.encoding[2 * WA_PROJECTION_COUNT].checked = false;
            s.expected[0] = s.expected[2] = WA_LABEL_NOT_SERVED;
            for (int p = dispatched; p < PROMPTS; p++)
                s.label[p] = s.label[2 * PROMPTS + p] = WA_LABEL_NOT_SERVED;
            if (dispatched == 0)
                expect(&s, "default", WA_VERDICT_UNCHECKED,
                       "no server has layers 0, 2 of 3; there the model's own FFN stands in");
            else
                expect(&s, "default", WA_VERDICT_DISPATCH,
                       "'full_mmap' seen, 'not_served' expected");
        }
        open_scene(&s, (wa_bucket)bucket);
        s.evidence.encoding = NULL; /* and nothing is read */
        expect(&s, "default", bucket == WA_BUCKET_EXACT ? WA_VERDICT_PASS : WA_VERDICT_MEASURED,
               NULL);
    }
    scene s; /* a failure stays what it is */
    open_scene(&s, WA_BUCKET_EXACT);
    s.summary.all.max_rel_l2.value = 0.4;
    s.summary.max_kernel = (wa_extreme){NAN, -1, -1};
    expect(&s, "default", WA_VERDICT_BOUND, "rel_L2 0.4");
    CU_ASSERT(wa_verdict_is_success(WA_VERDICT_UNCHECKED));
    CU_ASSERT_EQUAL(wa_verdict_rank(WA_VERDICT_NOT_RUN), 0);
    CU_ASSERT_EQUAL(wa_verdict_rank(WA_VERDICT_PASS), WA_VERDICT_COUNT - 1);
    CU_ASSERT(wa_verdict_rank(WA_VERDICT_RATE) < wa_verdict_rank(WA_VERDICT_UNCHECKED) &&
              wa_verdict_rank(WA_VERDICT_UNCHECKED) < wa_verdict_rank(WA_VERDICT_MEASURED));
}

/* Good figures at some of the pairs that were to be checked, none at the others. */
static void sampled_pairs_without_a_figure_are_no_evidence_for_a_kernel(void)
{
    static const struct {
        int64_t found, own_found;
        wa_verdict_code code;
        const char *words;
    } parts[] = {
        {12, 12, WA_VERDICT_PASS, NULL},
        {9, 12, WA_VERDICT_KERNEL, "3 of the 12 sampled pairs have no figure"},
        {12, 0, WA_VERDICT_KERNEL,
         "12 of the 12 sampled pairs have no figure, on the case's own residual stream"},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        scene s;
        open_scene(&s, WA_BUCKET_EXACT);
        s.evidence.kernel_due = s.evidence.kernel_own_due = 12;
        s.summary.n_kernel = parts[i].found;
        s.summary.n_kernel_own = parts[i].own_found;
        expect(&s, "default", parts[i].code, parts[i].words);
    }
}

/* Each least bound that is printed is tried: it must pass, and nothing tighter by 1 %. */
static void broken_bounds_print_the_least_that_pass(void)
{
    scene s;
    open_scene(&s, WA_BUCKET_EXACT);
    s.summary.all.min_cos = (wa_extreme){0.990345678, 0, 4};
    s.summary.all.max_rel_l2 = (wa_extreme){0.123456, 2, 1};
    wa_verdict verdict = judge(&s, "default");
    CU_ASSERT_EQUAL(verdict.code, WA_VERDICT_BOUND);
    CU_ASSERT_EQUAL_FATAL(verdict.reason_count, 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(verdict.reasons[0], "layer 0, prompt 'paris', position 0"));
    CU_ASSERT_PTR_NOT_NULL(strstr(verdict.reasons[1], "layer 2, prompt 'apollo', position 1"));
    double cos = 0.0, rel_l2 = 0.0;
    CU_ASSERT_EQUAL(sscanf(strstr(verdict.reasons[0], "; cos: "), "; cos: %lf", &cos), 1);
    CU_ASSERT_EQUAL(sscanf(strstr(verdict.reasons[1], "; rel_l2: "), "; rel_l2: %lf", &rel_l2), 1);
    CU_ASSERT(cos <= 0.990345678 && 1.0 - cos < 1.01 * (1.0 - 0.990345678));
    CU_ASSERT(rel_l2 >= 0.123456 && rel_l2 < 1.01 * 0.123456);
    wa_arena_close(s.arena);
}

static void nan_extremes_never_pass_a_bound(void)
{
    scene s;
    open_scene(&s, WA_BUCKET_EXACT);
    s.summary.all.min_cos = (wa_extreme){NAN, -1, -1};
    expect(&s, "default", WA_VERDICT_BOUND, "no observation has a cosine");
    open_scene(&s, WA_BUCKET_EXACT);
    s.summary.all.max_rel_l2 = (wa_extreme){NAN, -1, -1};
    expect(&s, "default", WA_VERDICT_BOUND, "no observation has a rel_L2");
    open_scene(&s, WA_BUCKET_EXACT);
    s.summary.all.min_cos.value = NAN; /* with a place, as only a damaged summary could have it */
    expect(&s, "default", WA_VERDICT_BOUND, NULL);
    open_scene(&s, WA_BUCKET_EXACT);
    s.summary.max_kernel.value = NAN;
    expect(&s, "default", WA_VERDICT_KERNEL, NULL);
}

static void bounds_hold_at_their_very_value(void)
{
    scene s;
    open_scene(&s, WA_BUCKET_EXACT);
    s.summary.all.min_cos.value = 0.99999;
    s.summary.all.max_rel_l2.value = 1e-2;
    s.summary.max_kernel.value = 1e-5;
    s.delta[1] = -5e-3;
    s.match[2] = 0;
    s.gap[2] = 0.02;
    expect(&s, "default", WA_VERDICT_PASS, NULL);
}

static void a_flip_is_excused_only_to_a_token_near_the_references_best(void)
{
    scene s;
    open_scene(&s, WA_BUCKET_EXACT);
    s.match[2] = 0; /* 0.01 below the best */
    s.own_top[2] = " the";
    expect(&s, "default", WA_VERDICT_PASS, NULL);
    open_scene(&s, WA_BUCKET_EXACT);
    s.match[1] = 0; /* 1 below it, however near others are */
    s.own_top[1] = " x";
    expect(&s, "default", WA_VERDICT_TOP1,
           "prompt 'code': ' x' where the reference says '\\n', whose logit there is 1 higher (1 "
           "of 3 prompts)");
    open_scene(&s, WA_BUCKET_EXACT);
    s.match[2] = 0;
    s.match[0] = 0; /* what is no number is the worst */
    s.gap[2] = NAN;
    expect(&s, "default", WA_VERDICT_TOP1,
           "prompt 'paris': ' Paris' where the reference says ' Paris', and its logit there is no "
           "number (2 of 3");
    open_scene(&s, WA_BUCKET_EXACT);
    s.match[1] = 0; /* logits that are no numbers have no token */
    s.own_top[1] = "";
    s.gap[1] = NAN;
    expect(
        &s, "default", WA_VERDICT_TOP1,
        "prompt 'code': no token where the reference says '\\n', and its logit there is no number");
    open_scene(&s, WA_BUCKET_EXACT);
    s.match[0] = -1; /* neither 0 nor 1 */
    expect(&s, "default", WA_VERDICT_TOP1, NULL);
}

static void larql_excuses_no_flip(void)
{
    static const double gaps[] = {0.0, 1e-9, 0.01, 3.0};
    for (size_t i = 0; i < 4; i++) {
        scene s;
        open_scene(&s, WA_BUCKET_QUANTIZED);
        s.match[1] = 0;
        s.gap[1] = gaps[i];
        expect(&s, "larql", WA_VERDICT_TOP1, "prompt 'code'");
    }
}

static void delta_p_holds_where_the_set_says(void)
{
    scene s;
    open_scene(&s, WA_BUCKET_EXACT);
    s.delta[0] = -0.02;
    expect(&s, "default", WA_VERDICT_DELTA_P,
           "prompt 'apollo': |dP| 0.02 above 0.005 (1 of 3 prompts)");
    open_scene(&s, WA_BUCKET_EXACT);
    s.delta[0] = -0.02; /* larql looks at paris alone */
    expect(&s, "larql", WA_VERDICT_PASS, NULL);
    open_scene(&s, WA_BUCKET_EXACT);
    s.delta[2] = -0.02;
    expect(&s, "larql", WA_VERDICT_DELTA_P, "prompt 'paris'");
}

static void nan_delta_p_is_listed_as_delta_p_too(void)
{
    scene s;
    open_scene(&s, WA_BUCKET_EXACT);
    s.delta[2] = NAN;
    wa_verdict verdict = judge(&s, "larql");
    CU_ASSERT_EQUAL(verdict.code, WA_VERDICT_NON_FINITE);
    CU_ASSERT_EQUAL_FATAL(verdict.reason_count, 2);
    CU_ASSERT_EQUAL(verdict.reason_codes[1], WA_VERDICT_DELTA_P);
    wa_arena_close(s.arena);
}

static void all_that_hold_are_listed_most_severe_first(void)
{
    scene s;
    open_scene(&s, WA_BUCKET_EXACT);
    s.label[0] = WA_LABEL_EXACT;
    s.summary.nonfinite = 1;
    s.summary.first_nonfinite = (wa_extreme){NAN, 0, 0};
    s.encoding[0].rows.max = NAN;
    s.summary.max_kernel.value = 1.0;
    s.summary.all.min_cos.value = 0.5;
    s.summary.all.max_rel_l2.value = 0.9;
    s.match[0] = 0;
    s.delta[0] = 0.5;
    wa_verdict verdict = judge(&s, "default");
    static const wa_verdict_code codes[] = {
        WA_VERDICT_DISPATCH, WA_VERDICT_NON_FINITE, WA_VERDICT_ENCODING, WA_VERDICT_KERNEL,
        WA_VERDICT_BOUND,    WA_VERDICT_BOUND,      WA_VERDICT_TOP1,     WA_VERDICT_DELTA_P};
    CU_ASSERT_EQUAL(verdict.code, WA_VERDICT_DISPATCH);
    CU_ASSERT_EQUAL_FATAL(verdict.reason_count, 8);
    for (size_t i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(verdict.reason_codes[i], codes[i]);
    wa_arena_close(s.arena);
}

/* walk-paths-and-audit.md 4.16: min cos, max rel L2 with its place, Paris dP; top-1 matched, labels
 * were right. */
static void published_baselines_pass_under_larql(void)
{
    static const struct {
        wa_bucket bucket;
        double cos, rel_l2, paris;
    } rows[] = {{WA_BUCKET_EXACT, 0.99999678, 1.881125e-3, 0.8064575791 - 0.8065804839},
                {WA_BUCKET_EXACT, 0.99999624, 1.881349e-3, 0.8064380288 - 0.8065804839},
                {WA_BUCKET_QUANTIZED, 0.99630642, 9.562013e-2, 0.8024097085 - 0.8065804839},
                {WA_BUCKET_QUANTIZED, 0.99273735, 1.205209e-1, 0.8323414922 - 0.8065804839}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scene s;
        open_scene(&s, rows[i].bucket);
        s.summary.all.min_cos.value = rows[i].cos;
        s.summary.all.max_rel_l2.value = rows[i].rel_l2;
        s.delta[2] = rows[i].paris;
        expect(&s, "larql", WA_VERDICT_PASS, NULL);
        open_scene(&s, WA_BUCKET_FP4); /* whose rel_L2 no quantised row can meet */
        s.summary.all.min_cos.value = rows[i].cos;
        s.summary.all.max_rel_l2.value = rows[i].rel_l2;
        expect(&s, "larql", rows[i].bucket == WA_BUCKET_EXACT ? WA_VERDICT_PASS : WA_VERDICT_BOUND,
               "rel_L2");
    }
}

/* --- Bounds ----------------------------------------------------------------------------------- */

static wa_bounds *bounds_of(wa_arena *arena, const char *name)
{
    wa_bounds *bounds = NULL;
    wa_error err = {0};
    WA_MUST(wa_bounds_open(name, arena, &bounds, &err), &err);
    return bounds;
}

static void the_built_in_sets_are_those_of_the_design(void)
{
    wa_arena *arena;
    wa_error err = {0};
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    wa_bounds *set = bounds_of(arena, "default");
    const wa_bound *row = &set->bucket[WA_BUCKET_EXACT];
    CU_ASSERT(row->present && row->cos == 0.99999 && row->rel_l2 == 1e-2 && row->dp == 5e-3);
    CU_ASSERT(row->near_tie == 0.02 && row->dp_prompt_count == 0);
    CU_ASSERT(!set->bucket[WA_BUCKET_QUANTIZED].present && !set->bucket[WA_BUCKET_FP4].present);
    CU_ASSERT(!set->bucket[WA_BUCKET_APPROXIMATE].present && set->warning == NULL);
    CU_ASSERT(set->encoder == WA_ENCODER_NEAREST && set->kernel == 1e-5);

    static const double larql[3][3] = {
        {0.99999, 1e-2, 5e-3}, {0.99, 5e-1, 5e-2}, {0.98, 1e-2, 5e-2}};
    set = bounds_of(arena, "larql");
    for (size_t b = 0; b < 3; b++) {
        row = &set->bucket[b];
        CU_ASSERT(row->present && row->cos == larql[b][0] && row->rel_l2 == larql[b][1]);
        CU_ASSERT(row->dp == larql[b][2] && row->near_tie == 0.0);
        CU_ASSERT_EQUAL_FATAL(row->dp_prompt_count, 1);
        CU_ASSERT_STRING_EQUAL(row->dp_prompts[0], "paris");
    }
    CU_ASSERT(!set->bucket[WA_BUCKET_APPROXIMATE].present);
    CU_ASSERT_PTR_NOT_NULL_FATAL(set->warning);
    CU_ASSERT_PTR_NOT_NULL(strstr(set->warning, "fp4"));
    wa_arena_close(arena);
}

static const char *const PATH = WA_TEST_BINARY_DIR "/verdict-bounds.yaml";

static void write_file(const char *text)
{
    FILE *file = fopen(PATH, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fwrite(text, 1, strlen(text), file), strlen(text));
    CU_ASSERT_EQUAL(fclose(file), 0);
}

static bool same_number(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static bool same_row(const wa_bound *a, const wa_bound *b)
{
    bool same = a->present == b->present && same_number(a->cos, b->cos) &&
                same_number(a->rel_l2, b->rel_l2) && same_number(a->dp, b->dp) &&
                same_number(a->near_tie, b->near_tie) && same_number(a->mean_kl, b->mean_kl) &&
                same_number(a->p99_kl, b->p99_kl) && same_number(a->flip_rate, b->flip_rate) &&
                same_number(a->ppl_ratio, b->ppl_ratio) && a->dp_prompt_count == b->dp_prompt_count;
    for (size_t i = 0; same && i < a->dp_prompt_count; i++)
        same = strcmp(a->dp_prompts[i], b->dp_prompts[i]) == 0;
    return same;
}

/* Print, write, open again. except: a bucket whose rel_l2 is left out (it contradicts itself), or
 * -1. */
static void expect_round_trip(const char *name, int except)
{
    wa_arena *arena;
    wa_error err = {0};
    char *text = NULL;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    wa_bounds *before = bounds_of(arena, name);
    WA_MUST(wa_bounds_print(before, arena, &text, &err), &err);
    write_file(text);
    wa_bounds *after = bounds_of(arena, PATH);
    CU_ASSERT_STRING_EQUAL(after->name, PATH);
    CU_ASSERT(after->encoder == before->encoder && after->kernel == before->kernel);
    for (int b = 0; b < WA_BUCKET_COUNT; b++) {
        wa_bound expected = before->bucket[b];
        if (b == except)
            expected.rel_l2 = NAN;
        CU_ASSERT(same_row(&after->bucket[b], &expected));
    }
    wa_arena_close(arena);
}

static void printed_sets_can_be_opened_again(void)
{
    expect_round_trip("default", -1);
    expect_round_trip("larql", WA_BUCKET_FP4);
    write_file("encoder: compensating\nkernel: 3e-6\nquantized: {cos: 0.97, rel_l2: 0.25, dp: 0.1, "
               "dp_prompts: "
               "[\"a\\\"b\\\\c\", \"it's\", \"x\\ty\"], near_tie: 0.3, mean_kl: 0.1, p99_kl: "
               "0.3333333333333333, "
               "flip_rate: 0.05, ppl_ratio: 1.02}\napproximate: {near_tie: 1}\n");
    expect_round_trip(PATH, -1);
    CU_ASSERT_EQUAL(remove(PATH), 0);
}

static void a_factor_of_earlier_versions_is_told_to_have_no_effect(void)
{
    wa_arena *arena;
    wa_error err = {0};
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    write_file("encoding_factor: 5.5\n");
    wa_bounds *set = bounds_of(arena, PATH);
    CU_ASSERT_PTR_NOT_NULL_FATAL(set->warning);
    CU_ASSERT_PTR_NOT_NULL(strstr(set->warning, "encoding_factor has no effect"));
    CU_ASSERT_EQUAL(remove(PATH), 0);
    wa_arena_close(arena);
}

static void a_file_replaces_what_it_names(void)
{
    wa_arena *arena;
    wa_error err = {0};
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    write_file("quantized:\n  cos: 0.99\n  dp: 0.1\n  dp_prompts: [paris, code]\n");
    wa_bounds *set = bounds_of(arena, PATH);
    const wa_bound *row = &set->bucket[WA_BUCKET_QUANTIZED];
    CU_ASSERT(row->present && row->cos == 0.99 && row->dp == 0.1 && isnan(row->rel_l2));
    CU_ASSERT(isnan(row->near_tie) && row->dp_prompt_count == 2);
    CU_ASSERT_STRING_EQUAL(row->dp_prompts[1], "code");
    CU_ASSERT(!set->bucket[WA_BUCKET_EXACT].present && set->encoder == WA_ENCODER_NEAREST);
    scene s;
    open_scene(&s, WA_BUCKET_QUANTIZED); /* no near_tie: flips are not judged */
    s.match[0] = 0;
    s.delta[0] = 0.5; /* apollo is not listed */
    expect(&s, PATH, WA_VERDICT_PASS, NULL);
    wa_arena_close(arena);
    CU_ASSERT_EQUAL(remove(PATH), 0);
}

static void a_contradiction_is_refused(void)
{
    wa_arena *arena;
    wa_error err = {0};
    wa_bounds *set;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    write_file("fp4: {cos: 0.98, rel_l2: 0.01}\n");
    CU_ASSERT_EQUAL(wa_bounds_open(PATH, arena, &set, &err), WA_E_JOB);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "fp4: rel_l2 0.01 contradicts cos 0.98"));
    /* walk-paths 4.11: at cos 0.98 the smallest possible r is 1.990e-1 */
    write_file("fp4: {cos: 0.98, rel_l2: 0.1989}\n");
    CU_ASSERT_EQUAL(wa_bounds_open(PATH, arena, &set, &err), WA_E_JOB);
    write_file("fp4: {cos: 0.98, rel_l2: 0.1990}\n");
    CU_ASSERT_EQUAL(wa_bounds_open(PATH, arena, &set, &err), WA_OK);
    wa_arena_close(arena);
    CU_ASSERT_EQUAL(remove(PATH), 0);
}

/* Text and a word that the one line of error must hold. */
static void damaged_files_are_refused_in_one_line(void)
{
    static const char *const cases[][2] = {
        {"exact:\n  cosine: 0.9\n", "cosine"},
        {"exakt: {cos: 0.9}\n", "exakt"},
        {"exact: {cos: 0.9}\nexact: {cos: 0.8}\n", "already seen"},
        {"exact: {cos: 0.9, cos: 0.8}\n", "already seen"},
        {"exact: {cos: high}\n", "exact.cos: found 'high'"},
        {"exact: {cos: 0.9x}\n", "0.9x"},
        {"exact: {cos: nan}\n", "nan"},
        {"exact: {rel_l2: inf}\n", "inf"},
        {"exact: {rel_l2: 0x10}\n", "0x10"},
        {"exact: {rel_l2: 1e999}\n", "1e999"},
        {"exact: {rel_l2: -0.1}\n", "exact.rel_l2"},
        {"exact: {cos: 1.5}\n", "exact.cos"},
        {"exact: {dp: 2}\n", "exact.dp"},
        {"exact: {dp: 1}\n", "exact.dp: found 1, which bounds nothing; expected a number below 1"},
        {"quantized: {rel_l2: 1.3}\n", "quantized.rel_l2: found 1.3, which bounds nothing"},
        {"fp4: {rel_l2: 1}\n", "fp4.rel_l2: found 1, which bounds nothing"},
        {"fp4: {flip_rate: 1.0}\n", "fp4.flip_rate: found 1, which bounds nothing"},
        {"exact: {cos: 0}\n",
         "exact.cos: found 0, which bounds nothing; expected a number above 0"},
        {"exact: {cos: -0.5}\n", "exact.cos: found -0.5, which bounds nothing"},
        {"exact: {cos: }\n", "exact.cos"},
        {"exact: {}\n", "without bounds"},
        {"exact: {dp_prompts: [paris]}\n", "exact"},
        {"exact: {cos: 0.9, dp_prompts: [paris]}\n", "needs dp"},
        {"exact: {dp: 0.1, dp_prompts: paris}\n", "dp_prompts"},
        {"exact: 3\n", "exact"},
        {"- exact\n", "SEQUENCE"},
        {"encoding_factor: many\n", "encoding_factor"},
        {"encoding_factor: 0\n", "encoding_factor"},
        {"encoder: gptq\n", "'nearest' or 'compensating'"},
        {"kernel: -1\n", "kernel"},
        {"kernel: 1\n", "from 0 to 0.1"},
        {"exact: {near_tie: 1e9}\n", "exact.near_tie: found 1e+09, which bounds nothing"},
        {"exact: {mean_kl: 10}\n", "exact.mean_kl: found 10, which bounds nothing"},
        {"exact: {p99_kl: 1e300}\n", "exact.p99_kl"},
        {"exact: {ppl_ratio: 1000}\n", "exact.ppl_ratio"},
        {"exact: &a {cos: 0.9}\nfp4: *a\n", "alias"},
        {"exact: {cos: 0.9}\n---\nexact: {cos: 0.1}\n", "document"},
        {"exact: {cos: [\n", ""},
        {"\"exact\": {cos: \"0.9\n", ""},
        {"# nothing\n", "no YAML document"},
        {"", "0 bytes"},
        {"\xff\xfe\x01", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wa_arena *arena;
        wa_error err = {0};
        wa_bounds *set;
        WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
        write_file(cases[i][0]);
        CU_ASSERT_EQUAL(wa_bounds_open(PATH, arena, &set, &err), WA_E_JOB);
        if (strstr(err.text, cases[i][1]) == NULL)
            fprintf(stderr, "    '%s' lacks '%s'\n", err.text, cases[i][1]);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, cases[i][1]));
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "in bounds file '"));
        CU_ASSERT_PTR_NULL(strchr(err.text, '\n'));
        wa_arena_close(arena);
    }
    CU_ASSERT_EQUAL(remove(PATH), 0);
}

static void a_file_that_is_not_there_is_a_wrong_bounds_file(void)
{
    wa_arena *arena;
    wa_error err = {0};
    wa_bounds *set;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    CU_ASSERT_EQUAL(wa_bounds_open(WA_TEST_BINARY_DIR "/no-such-bounds.yaml", arena, &set, &err),
                    WA_E_JOB);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "no-such-bounds.yaml"));
    wa_arena_close(arena);
}

/* The scene's positions and those of nine prompts more: of three, two lose 0.1 of log-probability a
 * token, one gains it. */
typedef struct everywhere {
    int32_t prompt[EVERYWHERE], token[EVERYWHERE];
    double kl[EVERYWHERE], gap[EVERYWHERE], ref[EVERYWHERE], own[EVERYWHERE];
    int8_t match[EVERYWHERE];
    wa_rate_rows rows;
} everywhere;

static void open_everywhere(everywhere *e, scene *s)
{
    for (int i = 0; i < EVERYWHERE; i++) {
        bool ends = i % 2 == 1;
        e->prompt[i] = i / 2;
        e->token[i] = i;
        e->kl[i] = ends ? 2e-3 : 1e-3;
        e->gap[i] = 1.0;
        e->ref[i] = ends ? NAN : -2.0;
        e->own[i] = ends ? NAN : i / 2 % 3 == 2 ? -1.9 : -2.1;
        e->match[i] = 1;
    }
    e->rows = (wa_rate_rows){.obs = EVERYWHERE,
                             .obs_prompt = e->prompt,
                             .token_id = e->token,
                             .kl = e->kl,
                             .top1_match = e->match,
                             .top1_gap = e->gap,
                             .ref_next_logprob = e->ref,
                             .next_logprob = e->own};
    s->evidence.rate_rows = &e->rows;
}

/* All prompts have the same sums of KL, so the mean's limit is the mean, 1.5e-3. Log ratio: mean
 * 1/30, four times three prompts off by 1/15, 1/15 and -2/15: error sqrt(12/11 x 24/225) / 12 =
 * 0.02843, a tail to the other side, t of 11 degrees at 98.5 %
 * 2.491: limit 0.10413. */
static void rates_are_judged_by_their_upper_limit(void)
{
    static const struct {
        const char *bounds, *words;
    } sets[] = {
        {"exact: {mean_kl: 0.0015001}\n", NULL},
        {"exact: {mean_kl: 0.0014999}\n", "mean_kl 0.0015, upper 95 % limit 0.0015 above 0.0015"},
        {"exact: {ppl_ratio: 1.11}\n", NULL},
        {"exact: {ppl_ratio: 1.109}\n", "ppl_ratio: 1.11 would pass"},
        {"exact: {p99_kl: 99}\n", "24 distinct positions of 12 independent prompts are too few"},
        {"exact: {flip_rate: 0.99}\n", NULL},
        {"exact: {flip_rate: 0.1}\n", "flip_rate 0, upper 95 % limit"}};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        scene s;
        everywhere e;
        open_scene(&s, WA_BUCKET_EXACT);
        open_everywhere(&e, &s);
        write_file(sets[i].bounds);
        expect(&s, PATH, sets[i].words == NULL ? WA_VERDICT_PASS : WA_VERDICT_RATE, sets[i].words);
    }
    CU_ASSERT_EQUAL(remove(PATH), 0);
}

static void flips_within_near_tie_are_no_rate(void)
{
    static const char *const sets[] = {"exact: {flip_rate: 0.6, near_tie: 0.5}\n",
                                       "exact: {flip_rate: 0.6}\n"};
    for (size_t i = 0; i < 2; i++) {
        scene s;
        everywhere e;
        open_scene(&s, WA_BUCKET_EXACT);
        open_everywhere(&e, &s);
        for (int at = 0; at < EVERYWHERE; at += 2) {
            e.match[at] = 0;
            e.gap[at] = 0.4;
        }
        write_file(sets[i]);
        expect(&s, PATH, i == 0 ? WA_VERDICT_PASS : WA_VERDICT_RATE,
               i == 0 ? NULL : "flip_rate 0.5");
    }
    CU_ASSERT_EQUAL(remove(PATH), 0);
}

/* Bounds none of which meets anything of the case: it passed nothing. */
static void a_row_that_meets_nothing_of_a_case_is_no_pass(void)
{
    static const char *const sets[] = {"exact: {dp: 0.1, dp_prompts: [nosuch]}\n",
                                       "exact: {dp: 0.1}\n"};
    for (size_t i = 0; i < 2; i++) {
        scene s;
        open_scene(&s, WA_BUCKET_EXACT);
        write_file(sets[i]);
        expect(&s, PATH, i == 0 ? WA_VERDICT_MEASURED : WA_VERDICT_PASS, NULL);
    }
    scene s;
    open_scene(&s, WA_BUCKET_EXACT);
    s.evidence.isolated = true; /* no logits of its own */
    write_file("exact: {dp: 0.1, near_tie: 0.02}\n");
    expect(&s, PATH, WA_VERDICT_MEASURED, NULL);
    CU_ASSERT_EQUAL(remove(PATH), 0);
}

/* What nine prompts show, or ten of which two begin alike, bounds nothing. */
static void fewer_than_ten_independent_prompts_set_no_limit(void)
{
    static const char *const names[] = {"mean_kl", "p99_kl", "flip_rate", "ppl_ratio"};
    for (size_t i = 0; i < 4; i++)
        for (size_t alike = 0; alike < 2; alike++) {
            scene s;
            everywhere e;
            char text[64];
            open_scene(&s, WA_BUCKET_EXACT);
            open_everywhere(&e, &s);
            e.rows.obs = alike ? 20 : 18;
            e.token[18] = alike ? 0 : 18;
            e.token[19] = alike ? 1 : 19;
            snprintf(text, sizeof text, "exact: {%s: %s}\n", names[i], i == 2 ? "0.999" : "9");
            write_file(text);
            expect(&s, PATH, WA_VERDICT_RATE,
                   alike ? "fewer than 10 independent prompts, 9 of 10"
                         : "fewer than 10 independent prompts, 9 of 9");
        }
    CU_ASSERT_EQUAL(remove(PATH), 0);
}

static void rates_of_last_positions_cannot_be_judged(void)
{
    static const char *const names[] = {"mean_kl", "p99_kl", "flip_rate", "ppl_ratio"};
    for (size_t i = 0; i < 4; i++) {
        scene s;
        char text[64];
        open_scene(&s, WA_BUCKET_QUANTIZED);
        snprintf(text, sizeof text, "quantized: {%s: 0.5}\n", names[i]);
        write_file(text);
        wa_verdict verdict = judge(&s, PATH);
        CU_ASSERT_PTR_NULL(verdict.rates);
        CU_ASSERT_EQUAL_FATAL(verdict.reason_count, 1);
        CU_ASSERT_EQUAL(verdict.code, WA_VERDICT_RATE);
        CU_ASSERT(strncmp(verdict.reasons[0], names[i], strlen(names[i])) == 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(verdict.reasons[0], "logits: all"));
        wa_arena_close(s.arena);
    }
    CU_ASSERT_EQUAL(remove(PATH), 0);
}

static void nan_at_any_position_never_passes(void)
{
    for (size_t i = 0; i < 3; i++) {
        scene s;
        everywhere e;
        open_scene(&s, WA_BUCKET_QUANTIZED);
        open_everywhere(&e, &s);
        *(i == 0 ? &e.kl[3] : i == 1 ? &e.own[2] : &e.ref[2]) = NAN;
        write_file("quantized: {mean_kl: 1, p99_kl: 1, ppl_ratio: 9}\n");
        wa_verdict verdict = judge(&s, PATH);
        CU_ASSERT_EQUAL(verdict.code, WA_VERDICT_NON_FINITE);
        CU_ASSERT_PTR_NOT_NULL(strstr(verdict.reasons[0], i == 0 ? "position 1" : "position 0"));
        CU_ASSERT_PTR_NOT_NULL(strstr(verdict.reasons[0], "'code'"));
        bool named = false;
        for (size_t r = 0; r < verdict.reason_count; r++)
            named = named || strstr(verdict.reasons[r], i == 0 ? "mean_kl is no number"
                                                               : "ppl_ratio is no number") != NULL;
        CU_ASSERT(named);
        wa_arena_close(s.arena);
    }
    scene s; /* no bounds at all: NON-FINITE all the same */
    everywhere e;
    open_scene(&s, WA_BUCKET_FP4);
    open_everywhere(&e, &s);
    e.kl[0] = INFINITY;
    expect(&s, "default", WA_VERDICT_NON_FINITE, "position 0");
    CU_ASSERT_EQUAL(remove(PATH), 0);
}

static void rates_are_there_without_bounds_too(void)
{
    scene s;
    everywhere e;
    open_scene(&s, WA_BUCKET_QUANTIZED);
    open_everywhere(&e, &s);
    wa_verdict verdict = judge(&s, "default");
    CU_ASSERT_EQUAL(verdict.code, WA_VERDICT_MEASURED);
    CU_ASSERT_PTR_NOT_NULL_FATAL(verdict.rates);
    CU_ASSERT_DOUBLE_EQUAL(verdict.rates->mean_kl.value, 1.5e-3, 1e-18);
    CU_ASSERT_EQUAL(verdict.rates->flip_margin, WA_FLIP_MARGIN);
    wa_arena_close(s.arena);
    open_scene(&s, WA_BUCKET_EXACT);
    open_everywhere(&e, &s);
    CU_ASSERT_EQUAL(judge(&s, "default").rates->flip_margin, 0.02);
    wa_arena_close(s.arena);
}

static void every_failing_take_is_reported(void)
{
    for (size_t k = 1; k < 40; k++) {
        scene s;
        open_scene(&s, WA_BUCKET_EXACT);
        s.label[0] = WA_LABEL_EXACT;
        s.summary.nonfinite = 1;
        s.summary.first_nonfinite = (wa_extreme){NAN, 0, 0};
        s.summary.max_kernel.value = 1.0;
        s.summary.all.min_cos.value = 0.5;
        s.match[0] = 0;
        wa_bounds *bounds = bounds_of(s.arena, "default");
        wa_verdict verdict;
        wa_arena_fail_at(s.arena, k);
        wa_status status = wa_verdict_judge(bounds, &s.evidence, s.arena, &verdict, &s.err);
        CU_ASSERT(status == WA_E_MEMORY || (status == WA_OK && k > 10));
        wa_arena_close(s.arena);
    }
}

WA_SUITE("verdict", WA_CASE(a_healthy_case_passes), WA_CASE(a_bucket_without_a_row_is_measured),
         WA_CASE(a_case_that_did_not_run_says_why),
         WA_CASE(a_wrong_label_names_layer_prompt_and_labels),
         WA_CASE(what_is_no_number_fails_in_every_bucket),
         WA_CASE(a_wrong_row_is_an_encoding_error), WA_CASE(another_encoder_has_limits_of_its_own),
         WA_CASE(most_rows_decide_which_limits_hold), WA_CASE(every_block_format_has_limits),
         WA_CASE(the_worst_projection_is_named),
         WA_CASE(a_factor_of_earlier_versions_is_told_to_have_no_effect),
         WA_CASE(nan_in_the_encoding_never_passes), WA_CASE(a_kernel_error_fails_in_every_bucket),
         WA_CASE(what_nobody_looked_at_is_unchecked),
         WA_CASE(sampled_pairs_without_a_figure_are_no_evidence_for_a_kernel),
         WA_CASE(broken_bounds_print_the_least_that_pass), WA_CASE(nan_extremes_never_pass_a_bound),
         WA_CASE(bounds_hold_at_their_very_value),
         WA_CASE(a_flip_is_excused_only_to_a_token_near_the_references_best),
         WA_CASE(larql_excuses_no_flip), WA_CASE(delta_p_holds_where_the_set_says),
         WA_CASE(nan_delta_p_is_listed_as_delta_p_too),
         WA_CASE(all_that_hold_are_listed_most_severe_first),
         WA_CASE(published_baselines_pass_under_larql),
         WA_CASE(the_built_in_sets_are_those_of_the_design),
         WA_CASE(printed_sets_can_be_opened_again), WA_CASE(a_file_replaces_what_it_names),
         WA_CASE(a_contradiction_is_refused), WA_CASE(damaged_files_are_refused_in_one_line),
         WA_CASE(a_file_that_is_not_there_is_a_wrong_bounds_file),
         WA_CASE(rates_are_judged_by_their_upper_limit),
         WA_CASE(a_row_that_meets_nothing_of_a_case_is_no_pass),
         WA_CASE(flips_within_near_tie_are_no_rate),
         WA_CASE(fewer_than_ten_independent_prompts_set_no_limit),
         WA_CASE(rates_of_last_positions_cannot_be_judged),
         WA_CASE(nan_at_any_position_never_passes), WA_CASE(rates_are_there_without_bounds_too),
         WA_CASE(every_failing_take_is_reported))

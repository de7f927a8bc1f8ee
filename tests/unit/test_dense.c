/* The dense forward, layer by layer, against float64 goldens: tests/golden/dense, whose layout
 * audits/make.py tells. */
#include "engine/stage.h"

#include "golden.h"

#include <math.h>
#include <sys/stat.h>

enum { SEED = 3, TOP = 5, NAME = 16, PATH = 512 };

/* Tolerances of tests/golden/README.md: over the whole pass, and of one FFN on the golden input. */
static const double PASS_TOLERANCE = 2e-5, FFN_TOLERANCE = 2e-6;

/* One (semantics, prompt) of a golden file; pointers into its bytes may be unaligned: read by
 * memcpy. */
typedef struct group {
    char semantics[NAME], prompt[NAME];
    size_t rows;
    const uint8_t *ids, *x, *y; /* i32 [rows], f32 [L, rows, H], f64 [L, rows, H] */
} group;

typedef struct golden {
    wa_bytes file;
    size_t groups, layers, hidden;
    group group[2 * SEED];
} golden;

/* A run of the reference: what publish sees, compared with the groups of the batch. */
typedef struct witness {
    const golden *golden;
    const group *groups; /* [SEED] */
    const wa_packing *packing;
    size_t layers_seen;
    double worst_x, worst_y;
} witness;

static wa_error err;

static size_t read_count(const uint8_t *at)
{
    int32_t value;
    memcpy(&value, at, sizeof value);
    CU_ASSERT_FATAL(value >= 0);
    return (size_t)value;
}

static golden open_golden(const char *name)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s/dense/%s.bin", WA_GOLDEN, name);
    golden g = {.file = wa_test_read(path)};
    const uint8_t *at = g.file.data, *end = at + g.file.size;
    CU_ASSERT_FATAL(g.file.size > 20 && memcmp(at, "WADENSE1", 8) == 0);
    g.groups = read_count(at + 8);
    g.layers = read_count(at + 12);
    g.hidden = read_count(at + 16);
    CU_ASSERT_FATAL(g.groups <= 2 * SEED && g.groups % SEED == 0);
    at += 20;
    for (size_t i = 0; i < g.groups; i++) {
        group *one = &g.group[i];
        memcpy(one->semantics, at, NAME);
        memcpy(one->prompt, at + NAME, NAME);
        one->rows = read_count(at + 2 * NAME);
        one->ids = at + 2 * NAME + 8;
        one->x = one->ids + 4 * one->rows + TOP * 4 + TOP * 8;
        one->y = one->x + 4 * g.layers * one->rows * g.hidden;
        at = one->y + 8 * g.layers * one->rows * g.hidden;
        CU_ASSERT_FATAL(at <= end);
    }
    CU_ASSERT(at == end);
    return g;
}

static double golden_x(const golden *g, const group *one, size_t layer, size_t row, size_t i)
{
    float value;
    memcpy(&value, one->x + 4 * ((layer * one->rows + row) * g->hidden + i), sizeof value);
    return (double)value;
}

static double golden_y(const golden *g, const group *one, size_t layer, size_t row, size_t i)
{
    double value;
    memcpy(&value, one->y + 8 * ((layer * one->rows + row) * g->hidden + i), sizeof value);
    return value;
}

typedef double golden_value(const golden *g, const group *one, size_t layer, size_t row, size_t i);

/* |got - golden| / |golden| of one row; NaN when anything is no number. */
static double row_error(const golden *g, const group *one, size_t layer, size_t row,
                        const float *got, golden_value *value)
{
    double difference = 0.0, norm = 0.0;
    for (size_t i = 0; i < g->hidden; i++) {
        double want = value(g, one, layer, row, i);
        difference += ((double)got[i] - want) * ((double)got[i] - want);
        norm += want * want;
    }
    return sqrt(difference / norm);
}

/* fmax would drop a NaN. */
static double worse(double a, double b)
{
    return isnan(a) || isnan(b) ? NAN : fmax(a, b);
}

static wa_status see(void *context, size_t layer, const wa_reference *reference, wa_error *story)
{
    (void)story;
    witness *w = context;
    CU_ASSERT_EQUAL(layer, w->layers_seen);
    w->layers_seen++;
    size_t hidden = w->golden->hidden;
    for (size_t p = 0; p < SEED; p++)
        for (size_t row = 0; row < w->groups[p].rows; row++) {
            size_t at = (w->packing->start[p] + row) * hidden;
            const group *one = &w->groups[p];
            w->worst_x = worse(w->worst_x,
                               row_error(w->golden, one, layer, row, reference->x + at, golden_x));
            w->worst_y = worse(w->worst_y,
                               row_error(w->golden, one, layer, row, reference->y + at, golden_y));
        }
    return WA_OK;
}

static wa_status await_nobody(void *context, size_t layer, wa_reference *out, wa_error *story)
{
    (void)context, (void)layer, (void)out;
    return wa_fail(story, WA_E_INTERNAL, "the only rank waits for a lead");
}

static wa_status poll_nothing(void *context, wa_error *story)
{
    (void)context, (void)story;
    return WA_OK;
}

/* The three prompts of one semantics as one batch through all layers. */
static witness run_reference(const wa_model *model, const golden *g, const group *groups)
{
    size_t start[SEED + 1] = {0}, longest = 0;
    for (size_t p = 0; p < SEED; p++) {
        start[p + 1] = start[p] + groups[p].rows;
        longest = groups[p].rows > longest ? groups[p].rows : longest;
    }
    size_t rows = start[SEED];
    wa_arena *arena;
    WA_MUST(wa_arena_open("reference", 0, &arena, &err), &err);
    wa_stage_audit audit = {.model = model,
                            .max_rows = rows,
                            .max_prompts = SEED,
                            .longest_prompt = longest,
                            .topk = TOP};
    uint8_t none = 0;
    wa_share share = {.layer_count = model->layer_count,
                      .owns_case = &none,
                      .owns_vindex = &none,
                      .is_lead = true,
                      .is_last_stage = true};
    wa_dims dims = {.layers = model->layer_count, .rows = rows, .prompts = SEED, .slots = TOP};
    wa_block block;
    WA_MUST(wa_block_open(arena, dims, &block, &err), &err);
    int32_t *ids;
    float *h;
    WA_MUST(wa_arena_take(arena, rows, sizeof *ids, &ids, &err), &err);
    WA_MUST(wa_arena_take(arena, rows * model->hidden, sizeof *h, &h, &err), &err);
    for (size_t p = 0; p < SEED; p++)
        memcpy(ids + start[p], groups[p].ids, groups[p].rows * sizeof *ids);

    wa_stage_batch batch = {.rows = rows,
                            .packing = {.start = start, .prompts = SEED},
                            .ids = ids,
                            .h = h,
                            .block = &block};
    witness w = {.golden = g, .groups = groups, .packing = &batch.packing};
    wa_team_link link = {
        .context = &w, .publish = see, .await = await_nobody, .poll = poll_nothing};
    wa_stage *stage;
    WA_MUST(wa_stage_open(&audit, &share, arena, &stage, &err), &err);
    WA_MUST(wa_stage_embed(stage, &batch, &err), &err);
    WA_MUST(wa_stage_run(stage, &batch, &link, &err), &err);
    CU_ASSERT_EQUAL(w.layers_seen, g->layers);
    wa_arena_close(arena);
    return w;
}

/* y of the dense case on the golden x of every layer; the worst error. */
static double run_ffn(const wa_model *model, const golden *g, const group *one)
{
    wa_arena *arena;
    WA_MUST(wa_arena_open("ffn", 0, &arena, &err), &err);
    wa_scratch scratch;
    size_t longest = model->intermediate > model->hidden ? model->intermediate : model->hidden;
    WA_MUST(wa_scratch_open(arena, one->rows, model->intermediate, longest, &scratch, &err), &err);
    size_t count = one->rows * g->hidden;
    float *x, *y;
    WA_MUST(wa_arena_take(arena, count, sizeof *x, &x, &err), &err);
    WA_MUST(wa_arena_take(arena, count, sizeof *y, &y, &err), &err);
    wa_case dense = wa_case_dense();
    double worst = 0.0;
    for (size_t layer = 0; layer < g->layers; layer++) {
        wa_walk_layer weights;
        wa_label label;
        WA_MUST(wa_case_open_layer(&dense, model, NULL, layer, &weights, &err), &err);
        memcpy(x, one->x + 4 * layer * count, count * sizeof *x);
        wa_walk_io io = {.x = x, .y = y};
        WA_MUST(wa_case_run(&dense, &weights, one->rows, &io, 1, &scratch, &label, &err), &err);
        for (size_t row = 0; row < one->rows; row++)
            worst = worse(worst, row_error(g, one, layer, row, y + row * g->hidden, golden_y));
    }
    wa_arena_close(arena);
    return worst;
}

/* The golden models as directories; packed ones are unpacked below the build directory. */
static void model_path(const char *name, char out[PATH])
{
    char packed[PATH], script[6 * PATH];
    snprintf(out, PATH, "%s/models/%s", WA_GOLDEN, name);
    snprintf(packed, sizeof packed, "%s/models/%s/model.safetensors.gz", WA_GOLDEN, name);
    struct stat info;
    if (stat(packed, &info) != 0)
        return;
    snprintf(out, PATH, "%s/dense-%s", WA_TEST_BINARY_DIR, name);
    snprintf(
        script, sizeof script,
        "mkdir -p '%s' && cp '%s/models/%s/'*.json '%s' && gzip -dc '%s' > '%s/model.safetensors'",
        out, WA_GOLDEN, name, out, packed, out);
    CU_ASSERT_EQUAL_FATAL(system(script), 0);
}

static void check(const char *model_name, const char *golden_name, wa_semantics semantics)
{
    char path[PATH];
    model_path(model_name, path);
    wa_arena *arena;
    wa_model *model;
    WA_MUST(wa_arena_open("model", 0, &arena, &err), &err);
    WA_MUST(wa_model_open(path, semantics, arena, &model, &err), &err);
    golden g = open_golden(golden_name);
    CU_ASSERT_EQUAL_FATAL(g.layers, model->layer_count);
    CU_ASSERT_EQUAL_FATAL(g.hidden, model->hidden);

    /* Goldens with one set of groups: both semantics are the same there, or only native is
     * golden. */
    const group *groups = g.group;
    if (g.groups == 2 * SEED && strcmp(groups->semantics, wa_semantics_name(semantics)) != 0)
        groups += SEED;
    CU_ASSERT(g.groups == SEED || strcmp(groups->semantics, wa_semantics_name(semantics)) == 0);

    witness w = run_reference(model, &g, groups);
    double ffn = 0.0;
    for (size_t p = 0; p < SEED; p++)
        ffn = worse(ffn, run_ffn(model, &g, &groups[p]));
    printf("\n    %s, %s: x %.2g, y %.2g over the pass; y given x %.2g", model_name,
           wa_semantics_name(semantics), w.worst_x, w.worst_y, ffn);
    CU_ASSERT(w.worst_x <= PASS_TOLERANCE);
    CU_ASSERT(w.worst_y <= PASS_TOLERANCE);
    CU_ASSERT(ffn <= FFN_TOLERANCE);

    wa_test_free(g.file);
    wa_model_close(model);
    wa_arena_close(arena);
}

static void gemma3_in_both_semantics(void)
{
    check("tiny-gemma3", "tiny-gemma3", WA_SEMANTICS_NATIVE);
    check("tiny-gemma3", "tiny-gemma3", WA_SEMANTICS_LARQL_2026_05);
}

static void llama_in_both_semantics(void)
{
    check("tiny-llama", "tiny-llama", WA_SEMANTICS_NATIVE);
    check("tiny-llama", "tiny-llama", WA_SEMANTICS_LARQL_2026_05);
}

static void qwen3_and_odd_widths_where_both_semantics_are_one(void)
{
    check("tiny-qwen3", "tiny-qwen3", WA_SEMANTICS_NATIVE);
    check("tiny-qwen3", "tiny-qwen3", WA_SEMANTICS_LARQL_2026_05);
    check("tiny-odd", "tiny-odd", WA_SEMANTICS_NATIVE);
    check("tiny-odd", "tiny-odd", WA_SEMANTICS_LARQL_2026_05);
}

static void gemma2_with_windows_and_caps(void)
{
    check("gemma2", "gemma2", WA_SEMANTICS_NATIVE);
}

static void mistral_in_shards_with_a_window(void)
{
    check("mistral-sharded", "mistral", WA_SEMANTICS_NATIVE);
}

static void qwen2_with_biases(void)
{
    check("qwen2", "qwen2", WA_SEMANTICS_NATIVE);
}

static void llama_with_scaled_rotations(void)
{
    check("llama-linear", "llama-linear", WA_SEMANTICS_NATIVE);
    check("llama-llama3", "llama-llama3", WA_SEMANTICS_NATIVE);
}

static void granite_with_multipliers(void)
{
    check("granite", "granite", WA_SEMANTICS_NATIVE);
}

static void gpt2_without_a_gate(void)
{
    check("gpt2", "gpt2", WA_SEMANTICS_NATIVE);
    check("gpt2-hub", "gpt2", WA_SEMANTICS_NATIVE);
}

static void starcoder2_without_a_gate_in_both_semantics(void)
{
    check("tiny-starcoder2", "tiny-starcoder2", WA_SEMANTICS_NATIVE);
    check("tiny-starcoder2", "tiny-starcoder2", WA_SEMANTICS_LARQL_2026_05);
}

WA_SUITE("dense", WA_CASE(gemma3_in_both_semantics), WA_CASE(llama_in_both_semantics),
         WA_CASE(qwen3_and_odd_widths_where_both_semantics_are_one),
         WA_CASE(gemma2_with_windows_and_caps), WA_CASE(mistral_in_shards_with_a_window),
         WA_CASE(qwen2_with_biases), WA_CASE(llama_with_scaled_rotations),
         WA_CASE(granite_with_multipliers), WA_CASE(gpt2_without_a_gate),
         WA_CASE(starcoder2_without_a_gate_in_both_semantics))

/* A judgement of arrays in memory: folded, held against bounds, stored, and taken back only when it
 * follows from its figures. */
#include "judge/judgement.h"
#include "measure/diff.h"
#include "suite.h"

#include <math.h>

enum { LAYERS = 2, OBS = 3, PROMPTS = 2, STORE = 256, SLOTS = 1 };

/* What a file would hold. */
typedef struct item {
    const char *name;
    void *values;
    const char *text;
} item;

typedef struct scene {
    wa_arena *arena, *kept; /* kept: what is written */
    wa_error err;
    wa_case which;
    double cos[LAYERS][OBS], rel_l2[LAYERS][OBS], small[LAYERS][OBS], nan[LAYERS][OBS];
    int32_t index[LAYERS][OBS];
    int8_t status[LAYERS][OBS], label[LAYERS][PROMPTS], expected[LAYERS];
    size_t passes; /* how often all rows were handed over */
    item store[STORE];
    size_t stored;
    wa_result result;
} scene;

static const int32_t OBS_PROMPT[OBS] = {0, 0, 1}, OBS_POSITION[OBS] = {0, 1, 0},
                     TOKEN_ID[OBS] = {2, 5, 2};
static const char *const TOKENS[OBS] = {"<bos>", "a", "<bos>"};
static const char *const KEYS[PROMPTS] = {"paris", "code"};
static const char *const NAMES[1] = {"f16"};
static const char *const LACK[1] = {""};
static const int8_t LEFT_OUT[1] = {0};
static const double MARGIN[PROMPTS] = {2.0, 3.0}, DELTA[PROMPTS] = {1e-6, -1e-6},
                    KL[PROMPTS] = {1e-9, 1e-9};
static const double GAP[PROMPTS] = {0.0, 0.0}, NLL[PROMPTS] = {4.0, 0.0},
                    NONE[LAYERS * PROMPTS] = {0.0};
static const int32_t NLL_POSITIONS[PROMPTS] = {1, 0}, NOWHERE[LAYERS * PROMPTS] = {-1, -1, -1, -1};
static const int8_t MATCH[PROMPTS] = {1, 1};
static const char *const TEXT[PROMPTS] = {" Paris", "\n"};
static const int64_t DUE[1] = {0};

/* --- Access to memory --- */

static wa_status rows(void *context, size_t which, bool again, wa_rows_taker *take, void *taker,
                      wa_error *err)
{
    scene *s = context;
    (void)which;
    (void)again;
    (void)err;
    s->passes++;
    for (size_t l = LAYERS; l-- > 0;) { /* layers come in any order, and in pieces */
        for (size_t first = 0; first < OBS; first += 2) {
            wa_summary_rows piece = {.cos = s->cos[l] + first,
                                     .rel_l2 = s->rel_l2[l] + first,
                                     .l2 = s->small[l] + first,
                                     .max_abs = s->small[l] + first,
                                     .obs_status = s->status[l] + first,
                                     .one_minus_cos = s->small[l] + first,
                                     .norm_ratio = s->small[l] + first,
                                     .eta = s->small[l] + first,
                                     .drift = s->nan[l] + first,
                                     .kernel_rel_l2 = s->nan[l] + first,
                                     .kernel_own_rel_l2 = s->nan[l] + first,
                                     .max_abs_index = s->index[l] + first,
                                     .obs_position = OBS_POSITION + first,
                                     .first_obs = first,
                                     .count = first + 2 > OBS ? OBS - first : 2};
            take(taker, l, &piece);
        }
    }
    return WA_OK;
}

static wa_status outputs(void *context, size_t which, wa_bytes_taker *take, void *taker,
                         wa_error *err)
{
    (void)context;
    (void)which;
    (void)err;
    take(taker, KL, sizeof KL);
    return WA_OK;
}

static item *find(scene *s, const char *name)
{
    for (size_t i = 0; i < s->stored; i++)
        if (strcmp(s->store[i].name, name) == 0)
            return &s->store[i];
    CU_ASSERT_FATAL(s->stored < STORE);
    s->store[s->stored] = (item){.name = name};
    return &s->store[s->stored++];
}

static size_t bytes_of(const wa_layout *row)
{
    size_t count = row->axes[1] == 'L' ? LAYERS : 1;
    return count * wa_layout_size(row);
}

static wa_status write(void *context, const wa_layout *row, const void *values, wa_error *err)
{
    scene *s = context;
    item *it = find(s, row->name);
    WA_TRY(wa_arena_take(s->kept, bytes_of(row), 1, &it->values, err));
    memcpy(it->values, values, bytes_of(row));
    return WA_OK;
}

static wa_status read(void *context, const wa_layout *row, wa_arena *arena, void *out_pointer,
                      wa_error *err)
{
    const item *it = find(context, row->name);
    void *copy;
    if (it->values == NULL)
        return wa_fail(err, WA_E_FORMAT, "no dataset '%s'", row->name);
    WA_TRY(wa_arena_take(arena, bytes_of(row), 1, &copy, err));
    memcpy(copy, it->values, bytes_of(row));
    memcpy(out_pointer, &copy, sizeof copy);
    return WA_OK;
}

static wa_status write_text(void *context, const char *attribute, const char *text, wa_error *err)
{
    scene *s = context;
    char *copy;
    WA_TRY(wa_arena_copy(s->kept, text, strlen(text), &copy, err));
    find(s, attribute)->text = copy;
    return WA_OK;
}

static wa_status read_text(void *context, const char *attribute, wa_arena *arena, const char **out,
                           wa_error *err)
{
    (void)arena;
    *out = find(context, attribute)->text;
    return *out != NULL ? WA_OK : wa_fail(err, WA_E_FORMAT, "no attribute '%s'", attribute);
}

static wa_status write_f64(void *context, const char *attribute, double value, wa_error *err)
{
    (void)err;
    (void)value;
    find(context, attribute)->text = "a number";
    return WA_OK;
}

static wa_status write_i64(void *context, const char *attribute, int64_t value, wa_error *err)
{
    return write_f64(context, attribute, (double)value, err);
}

/* --- The scene: one exact case whose worst row is layer 1, observation 1 --- */

static void open_scene(scene *s)
{
    *s = (scene){.arena = NULL};
    WA_MUST(wa_arena_open("test", 0, &s->arena, &s->err), &s->err);
    WA_MUST(wa_arena_open("kept", 0, &s->kept, &s->err), &s->err);
    for (size_t l = 0; l < LAYERS; l++) {
        for (size_t o = 0; o < OBS; o++) {
            s->cos[l][o] = 1.0 - 1e-9 * (double)(l * OBS + o);
            s->rel_l2[l][o] = 1e-5 * (double)(1 + l) + (l == 1 && o == 1 ? 5e-5 : 0.0);
            s->small[l][o] = 1e-6;
            s->nan[l][o] = NAN;
            s->status[l][o] = WA_OBS_OK;
        }
        s->expected[l] = WA_LABEL_FULL_MMAP;
        memset(s->label[l], WA_LABEL_FULL_MMAP, sizeof s->label[l]);
    }
    s->which = (wa_case){.name = "f16:full_mmap",
                         .path = WA_PATH_FULL_MMAP,
                         .k = WA_K_ALL,
                         .bucket = WA_BUCKET_EXACT};
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        s->which.source[p].from_model = true;
    s->result = (wa_result){.path = "r.h5",
                            .meta = {.bounds_name = "default",
                                     .cases = &s->which,
                                     .expected_label = s->expected,
                                     .kernel_due = DUE,
                                     .kernel_own_due = DUE,
                                     .vindex_name = NAMES,
                                     .vindex_lack = LACK,
                                     .vindex_left_out = LEFT_OUT,
                                     .dims = {.cases = 1,
                                              .layers = LAYERS,
                                              .rows = OBS,
                                              .prompts = PROMPTS,
                                              .slots = SLOTS,
                                              .vindexes = 1},
                                     .prompt_key = KEYS,
                                     .obs_prompt = OBS_PROMPT,
                                     .obs_position = OBS_POSITION,
                                     .token_id = TOKEN_ID,
                                     .token_text = TOKENS},
                            .access = {.context = s,
                                       .rows = rows,
                                       .outputs = outputs,
                                       .read = read,
                                       .read_text = read_text,
                                       .write = write,
                                       .write_text = write_text,
                                       .write_f64 = write_f64,
                                       .write_i64 = write_i64},
                            .label = s->label[0],
                            .ref_margin = MARGIN,
                            .prob_delta = DELTA,
                            .kl = KL,
                            .top1_gap = GAP,
                            .top1_match = MATCH,
                            .top1_text = TEXT,
                            .ref_top1_text = TEXT,
                            .ref_nll = NLL,
                            .ref_nll_positions = NLL_POSITIONS,
                            .dump = {.layers = LAYERS,
                                     .prompts = PROMPTS,
                                     .x = NONE,
                                     .y = NONE,
                                     .logits = NONE,
                                     .x_at = NOWHERE,
                                     .y_at = NOWHERE,
                                     .logits_at = NOWHERE}};
}

static void close_scene(scene *s)
{
    wa_arena_close(s->arena);
    wa_arena_close(s->kept);
}

static wa_judgement *judge(scene *s, const char *bounds_name)
{
    wa_bounds *bounds;
    wa_judgement *judgement = NULL;
    WA_MUST(wa_bounds_open(bounds_name, s->arena, &bounds, &s->err), &s->err);
    WA_MUST(wa_judge(&s->result, bounds, s->arena, &judgement, &s->err), &s->err);
    return judgement;
}

/* --- Cases --- */

static void arrays_in_memory_are_folded_to_extremes_at_their_places(void)
{
    scene s;
    open_scene(&s);
    const wa_case_judgement *it = &judge(&s, "default")->cases[0];
    CU_ASSERT_EQUAL(it->summary.all.n_obs, LAYERS * OBS);
    CU_ASSERT_DOUBLE_EQUAL(it->summary.all.max_rel_l2.value, 7e-5, 1e-12);
    CU_ASSERT(it->summary.all.max_rel_l2.layer == 1 && it->summary.all.max_rel_l2.obs == 1);
    CU_ASSERT(it->summary.all.min_cos.layer == 1 && it->summary.all.min_cos.obs == 2);
    CU_ASSERT(it->summary.layer[0].max_rel_l2.obs == 0 && it->summary.layer[1].n_obs == OBS);
    /* both prompts begin with the same token */
    CU_ASSERT_EQUAL(it->summary.n_obs_distinct, LAYERS * (1 + 1));
    CU_ASSERT(s.passes >= 1 && s.passes <= 4);
    close_scene(&s);
}

static void every_figure_goes_to_its_array_and_back(void)
{
    scene s;
    open_scene(&s);
    wa_judgement *judgement = judge(&s, "default");
    for (size_t i = 0; wa_figure_at(i) != NULL; i++) {
        const wa_figure *figure = wa_figure_at(i);
        size_t size = wa_figure_count(figure, judgement) * wa_layout_size(&figure->row);
        uint8_t *before, *after;
        WA_MUST(wa_arena_take(s.arena, size, 1, &before, &s.err), &s.err);
        WA_MUST(wa_arena_take(s.arena, size, 1, &after, &s.err), &s.err);
        CU_ASSERT_PTR_EQUAL(wa_figure_row(i), &figure->row);
        wa_figure_gather(figure, judgement, before);
        wa_figure_scatter(figure, before, judgement);
        wa_figure_gather(figure, judgement, after);
        CU_ASSERT(memcmp(before, after, size) == 0);
    }
    close_scene(&s);
}

static void stored_judgement_is_taken_back_without_the_observations(void)
{
    scene s;
    wa_judgement *loaded;
    open_scene(&s);
    wa_judgement *judgement = judge(&s, "larql");
    s.result.meta.bounds_name = "larql";
    WA_MUST(wa_judgement_store(judgement, &s.result, s.arena, &s.err), &s.err);
    s.passes = 0;
    WA_MUST(wa_judgement_load(&s.result, s.arena, &loaded, &s.err), &s.err);
    CU_ASSERT_EQUAL(s.passes, 0);
    CU_ASSERT_EQUAL(loaded->exit_code, judgement->exit_code);
    CU_ASSERT_EQUAL(loaded->cases[0].verdict.code, judgement->cases[0].verdict.code);
    CU_ASSERT_STRING_EQUAL(loaded->cases[0].reasons, judgement->cases[0].reasons);
    CU_ASSERT_EQUAL(loaded->cases[0].bound.rel_l2, 1e-2);
    /* LARQL's row that contradicts itself is kept, with its warning */
    CU_ASSERT_PTR_NOT_NULL(loaded->bounds->warning);
    CU_ASSERT_EQUAL(loaded->bounds->bucket[WA_BUCKET_FP4].rel_l2, 1e-2);
    close_scene(&s);
}

static void verdict_that_its_figures_do_not_give_is_refused(void)
{
    static const char *const forged[] = {"verdict", "vindex_verdict", "max_rel_l2"};
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        scene s;
        wa_judgement *loaded;
        open_scene(&s);
        WA_MUST(wa_judgement_store(judge(&s, "default"), &s.result, s.arena, &s.err), &s.err);
        if (i < 2)
            *(int8_t *)find(&s, forged[i])->values = WA_VERDICT_BOUND;
        else
            *(double *)find(&s, forged[i])->values = 1.0; /* far beyond the bound of exact cases */
        CU_ASSERT_EQUAL(wa_judgement_load(&s.result, s.arena, &loaded, &s.err), WA_E_FORMAT);
        CU_ASSERT_PTR_NOT_NULL(
            strstr(s.err.text, "is not what the stored figures and bounds give"));
        CU_ASSERT_PTR_NULL(strchr(s.err.text, '\n'));
        close_scene(&s);
    }
}

static void place_outside_the_result_is_refused(void)
{
    scene s;
    wa_judgement *loaded;
    open_scene(&s);
    WA_MUST(wa_judgement_store(judge(&s, "default"), &s.result, s.arena, &s.err), &s.err);
    *(int32_t *)find(&s, "max_rel_l2_at_obs")->values = OBS;
    CU_ASSERT_EQUAL(wa_judgement_load(&s.result, s.arena, &loaded, &s.err), WA_E_FORMAT);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.err.text, "outside the result"));
    close_scene(&s);
}

WA_SUITE("judgement", WA_CASE(arrays_in_memory_are_folded_to_extremes_at_their_places),
         WA_CASE(every_figure_goes_to_its_array_and_back),
         WA_CASE(stored_judgement_is_taken_back_without_the_observations),
         WA_CASE(verdict_that_its_figures_do_not_give_is_refused),
         WA_CASE(place_outside_the_result_is_refused))

/* What is said of the dense model itself. */
#include "judge/reference.h"
#include "measure/logits.h"
#include "suite.h"

#include <math.h>
#include <string.h>

static void perplexity_is_the_mean_surprise_of_what_was_measured(void)
{
    static const double nll[] = {3.0, NAN, 1.0};
    static const int32_t positions[] = {3, -1, 1}; /* nothing is known of the second */
    wa_perplexity perplexity = wa_perplexity_of(nll, positions, 3);
    CU_ASSERT_EQUAL(perplexity.positions, 4);
    CU_ASSERT_DOUBLE_EQUAL(perplexity.value, exp(1.0), 1e-15);
    perplexity = wa_perplexity_of(nll, positions, 0);
    CU_ASSERT_EQUAL(perplexity.positions, 0);
    CU_ASSERT(isnan(perplexity.value));
}

static void only_what_is_large_and_well_founded_is_warned_of(void)
{
    static const struct {
        double value;
        int64_t positions;
        bool warned;
    } cases[] = {{72.0, 25, false},   {1000.0, 25, false},  {1000.5, 25, true},
                 {14429.0, 25, true}, {14429.0, 15, false}, {14429.0, 16, true},
                 {NAN, 0, false},     {NAN, 1, true},       {INFINITY, 1, true}};
    wa_arena *arena;
    wa_error err = {.status = WA_OK};
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wa_perplexity perplexity = {.value = cases[i].value, .positions = cases[i].positions};
        const char *text;
        WA_MUST(wa_perplexity_warning(&perplexity, arena, &text, &err), &err);
        CU_ASSERT_EQUAL(text != NULL, cases[i].warned);
    }
    wa_arena_close(arena);
}

static void the_text_is_read_whole_at_first_then_one_position_in_eight(void)
{
    size_t found = 0, hits[16] = {0};
    for (size_t obs = 0; obs < 1024; obs++)
        CU_ASSERT(wa_text_has(obs));
    for (size_t obs = 1024; obs < 1024 + 80000; obs++) {
        found += wa_text_has(obs);
        hits[obs % 16] += wa_text_has(obs);
    }
    CU_ASSERT(found >= 9900 && found <= 10100);
    /* prompts of 16 positions: each is met as often as the others */
    for (size_t i = 0; i < 16; i++)
        CU_ASSERT(hits[i] >= 560 && hits[i] <= 690);
}

/* Two layers, two prompts: all agree but what a case changes. */
enum { LAYERS = 2, PROMPTS = 2 };
typedef struct figures {
    double x[LAYERS * PROMPTS], y[LAYERS * PROMPTS], logits[PROMPTS];
    int32_t x_at[LAYERS * PROMPTS], y_at[LAYERS * PROMPTS], logits_at[PROMPTS];
} figures;

static wa_drift_figures view(const figures *f)
{
    return (wa_drift_figures){.layers = LAYERS,
                              .prompts = PROMPTS,
                              .x = f->x,
                              .y = f->y,
                              .logits = f->logits,
                              .x_at = f->x_at,
                              .y_at = f->y_at,
                              .logits_at = f->logits_at};
}

static figures agreeing(void)
{
    figures f = {
        .x = {1e-7, 2e-7, 3e-7, 4e-7}, .y = {2e-6, 1e-6, 1e-6, 1e-6}, .logits = {3e-6, 1e-6}};
    for (size_t i = 0; i < LAYERS * PROMPTS; i++)
        f.x_at[i] = f.y_at[i] = (int32_t)i;
    f.logits_at[0] = f.logits_at[1] = 5;
    return f;
}

static const char *words_of(const figures *f, wa_arena *arena)
{
    wa_drift_figures v = view(f);
    wa_drift drift = wa_drift_find(&v);
    const char *text;
    wa_error err = {.status = WA_OK};
    WA_MUST(
        wa_drift_text(&drift, &v, "d.h5", drift.prompt == 0 ? "paris" : "it's", arena, &text, &err),
        &err);
    return text;
}

static void agreement_tells_the_largest_distance_of_all(void)
{
    wa_arena *arena;
    wa_error err = {.status = WA_OK};
    figures f = agreeing();
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    CU_ASSERT_STRING_EQUAL(
        words_of(&f, arena),
        "agrees with 'd.h5' within 3.0e-06 at all 2 layers and in the logits (2 of 2 "
        "prompts; limit 0.001)");
    /* the dump has not the second */
    f.x_at[1] = f.x_at[3] = f.y_at[1] = f.y_at[3] = f.logits_at[1] = -1;
    f.x[1] = f.x[3] = f.y[1] = f.y[3] = f.logits[1] = NAN;
    CU_ASSERT_PTR_NOT_NULL(strstr(words_of(&f, arena), "(1 of 2 prompts;"));
    f.x[2] = 1e-3; /* just allowed */
    wa_drift_figures v = view(&f);
    CU_ASSERT_FALSE(wa_drift_find(&v).drifts);
    wa_arena_close(arena);
}

static void the_first_place_beyond_the_limit_is_named(void)
{
    wa_arena *arena;
    wa_error err = {.status = WA_OK};
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    figures f = agreeing();
    f.logits[0] = 0.5;
    CU_ASSERT_STRING_EQUAL(
        words_of(&f, arena),
        "drifts from 'd.h5': logits, prompt 'paris' position 5: rel L2 0.5 (limit 0.001); "
        "what comes before it agrees within 2.0e-06");
    f.y[3] = 0.25; /* of an earlier layer, and there of the prompt that is farther off */
    f.y[2] = 0.125;
    CU_ASSERT_PTR_NOT_NULL(
        strstr(words_of(&f, arena), "layer 1, y, prompt 'it\\'s' position 3: rel L2 0.25"));
    f.x[2] = NAN;
    CU_ASSERT_PTR_NOT_NULL(
        strstr(words_of(&f, arena), "layer 1, x, prompt 'paris' position 2: rel L2 nan"));
    f.x[1] = 2e-3;
    CU_ASSERT_PTR_NOT_NULL(strstr(
        words_of(&f, arena), "position 1: rel L2 0.002 (limit 0.001); nothing comes before it"));
    wa_arena_close(arena);
}

static void a_figure_that_is_not_there_drifts(void)
{
    figures f = agreeing();
    f.y_at[2] = -1;
    wa_drift_figures v = view(&f);
    wa_drift drift = wa_drift_find(&v);
    CU_ASSERT(drift.drifts);
    CU_ASSERT_EQUAL(drift.layer, 1);
    CU_ASSERT_EQUAL(drift.position, -1);
}

WA_SUITE("reference", WA_CASE(perplexity_is_the_mean_surprise_of_what_was_measured),
         WA_CASE(only_what_is_large_and_well_founded_is_warned_of),
         WA_CASE(the_text_is_read_whole_at_first_then_one_position_in_eight),
         WA_CASE(agreement_tells_the_largest_distance_of_all),
         WA_CASE(the_first_place_beyond_the_limit_is_named),
         WA_CASE(a_figure_that_is_not_there_drifts))

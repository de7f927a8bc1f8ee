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
    } cases[] = {{72.0, 25, false},       {1000.0, 25, false},     {1000.5, 25, true}, {14429.0, 25, true},
                 {14429.0, 15, false},    {14429.0, 16, true},     {NAN, 0, false},    {NAN, 1, true},
                 {INFINITY, 1, true}};
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
    for (size_t i = 0; i < 16; i++) /* prompts of 16 positions: each is met as often as the others */
        CU_ASSERT(hits[i] >= 560 && hits[i] <= 690);
}

WA_SUITE("reference", WA_CASE(perplexity_is_the_mean_surprise_of_what_was_measured),
         WA_CASE(only_what_is_large_and_well_founded_is_warned_of),
         WA_CASE(the_text_is_read_whole_at_first_then_one_position_in_eight))

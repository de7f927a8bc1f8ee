/* Mistyped words: which known one is meant, and when none is. */
#include "suite.h"

#include "base/spell.h"

#include <string.h>

static const char *const PATHS[] = {"sparse", "full_mmap", "exact", "interleaved_q4",
                                    "interleaved_q4k"};
enum { PATH_COUNT = sizeof PATHS / sizeof PATHS[0] };

static void one_slip_of_the_hand_is_found(void)
{
    static const struct {
        const char *typed, *meant;
    } rows[] = {{"spares", "sparse"},
                {"sparce", "sparse"},
                {"sprase", "sparse"},
                {"parse", "sparse"},
                {"sparsee", "sparse"},
                {"SPARSE", "sparse"},
                {"full-mmap", "full_mmap"},
                {"exatc", "exact"},
                {"interleaved_q4_k", "interleaved_q4k"},
                {"interleaved_q4", "interleaved_q4"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *found = wa_spell_nearest(rows[i].typed, PATHS, PATH_COUNT);
        CU_ASSERT_PTR_NOT_NULL_FATAL(found);
        CU_ASSERT_STRING_EQUAL(found, rows[i].meant);
    }
}

static void another_word_has_no_neighbour(void)
{
    static const char *const others[] = {"fastest", "x", "", "inter", "dense"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        CU_ASSERT_PTR_NULL(wa_spell_nearest(others[i], PATHS, PATH_COUNT));
    char longer[200];
    memset(longer, 'e', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    CU_ASSERT_PTR_NULL(wa_spell_nearest(longer, PATHS, PATH_COUNT));
}

static void the_hint_is_a_neighbour_or_the_list(void)
{
    char hint[WA_SPELL_HINT];
    wa_spell_hint("spares", PATHS, PATH_COUNT, hint);
    CU_ASSERT_STRING_EQUAL(hint, ", did you mean 'sparse'?");
    wa_spell_hint("fastest", PATHS, PATH_COUNT, hint);
    CU_ASSERT_STRING_EQUAL(
        hint, ", expected one of sparse, full_mmap, exact, interleaved_q4, interleaved_q4k");
    wa_spell_hint("fastest", PATHS, 1, hint);
    CU_ASSERT_STRING_EQUAL(hint, ", expected sparse");
    wa_spell_hint("fastest", PATHS, 0, hint);
    CU_ASSERT_STRING_EQUAL(hint, "");
}

static void a_list_without_end_stops_inside_the_hint(void)
{
    const char *many[200];
    for (size_t i = 0; i < 200; i++)
        many[i] = "interleaved_q4k";
    char hint[WA_SPELL_HINT];
    wa_spell_hint("fastest", many, 200, hint);
    size_t length = strlen(hint);
    CU_ASSERT(length < sizeof hint && length > sizeof hint - 40);
    CU_ASSERT_STRING_EQUAL(hint + length - strlen("q4k, …"), "q4k, …");
}

WA_SUITE("spell", WA_CASE(one_slip_of_the_hand_is_found), WA_CASE(another_word_has_no_neighbour),
         WA_CASE(the_hint_is_a_neighbour_or_the_list),
         WA_CASE(a_list_without_end_stops_inside_the_hint))

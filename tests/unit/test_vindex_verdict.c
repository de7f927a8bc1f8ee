/* The verdict of a vindex, and the inventory of its directory. */
#include "judge/vindex.h"
#include "suite.h"
#include "vindex/inventory.h"
#include "vindex/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Verdict */

static const wa_case CASES[] = {
    {.name = "a:x", .vindex = 0}, {.name = "b:x", .vindex = 1}, {.name = "a:y", .vindex = 0}};

static wa_vindex_verdict judge(int vindex, const char *lack, bool left_out, wa_verdict_code a,
                               wa_verdict_code b, wa_verdict_code c)
{
    static const char *const reasons[] = {"its file is gone"};
    wa_vindex_facts facts = {.lack = lack, .left_out = left_out};
    wa_verdict verdicts[] = {{.code = a, .reasons = reasons, .reason_count = 1},
                             {.code = b, .reasons = reasons, .reason_count = 1},
                             {.code = c, .reasons = reasons, .reason_count = 1}};
    return wa_vindex_judge(vindex, &facts, CASES, verdicts, 3);
}

static void the_most_severe_word_of_its_cases_is_the_vindexs(void)
{
    CU_ASSERT_EQUAL(
        judge(0, "", false, WA_VERDICT_PASS, WA_VERDICT_KERNEL, WA_VERDICT_MEASURED).code,
        WA_VERDICT_MEASURED);
    CU_ASSERT_EQUAL(
        judge(0, "", false, WA_VERDICT_MEASURED, WA_VERDICT_PASS, WA_VERDICT_UNCHECKED).code,
        WA_VERDICT_UNCHECKED); /* its code is larger */
    CU_ASSERT_EQUAL(judge(0, "", false, WA_VERDICT_RATE, WA_VERDICT_PASS, WA_VERDICT_ENCODING).code,
                    WA_VERDICT_ENCODING);
    CU_ASSERT_EQUAL(judge(0, "", false, WA_VERDICT_NOT_RUN, WA_VERDICT_PASS, WA_VERDICT_PASS).code,
                    WA_VERDICT_NOT_RUN);
    CU_ASSERT_STRING_EQUAL(
        judge(0, "", false, WA_VERDICT_RATE, WA_VERDICT_PASS, WA_VERDICT_PASS).reason, "");
}

static void a_vindex_of_which_no_case_ran_is_unaudited(void)
{
    wa_vindex_verdict verdict =
        judge(1, "up is missing", false, WA_VERDICT_PASS, WA_VERDICT_NOT_RUN, WA_VERDICT_PASS);
    CU_ASSERT_EQUAL(verdict.code, WA_VERDICT_UNAUDITED);
    CU_ASSERT_STRING_EQUAL(verdict.reason, "up is missing");
    verdict = judge(1, "", false, WA_VERDICT_PASS, WA_VERDICT_NOT_RUN, WA_VERDICT_PASS);
    CU_ASSERT_STRING_EQUAL(verdict.reason, "its file is gone");
    /* it has no case */
    verdict = judge(2, "", false, WA_VERDICT_PASS, WA_VERDICT_PASS, WA_VERDICT_PASS);
    CU_ASSERT_EQUAL(verdict.code, WA_VERDICT_UNAUDITED);
    CU_ASSERT_EQUAL(
        judge(2, "by choice", true, WA_VERDICT_PASS, WA_VERDICT_PASS, WA_VERDICT_PASS).code,
        WA_VERDICT_LEFT_OUT);
    CU_ASSERT(!wa_verdict_is_success(WA_VERDICT_UNAUDITED) &&
              wa_verdict_is_success(WA_VERDICT_LEFT_OUT));
}

/* --- Inventory */

static void touch(const char *directory, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fclose(file);
}

static void each_entry_is_known_or_resembles_what_is_missing(void)
{
    static const struct {
        const char *name, *like;
        bool known, payload;
    } files[] = {{"Interleaved.bin", "interleaved.bin", false, false},
                 {"down-features.bin", "down_features.bin", false, false},
                 {"gate_vectors.bin", NULL, true, true},
                 {"gate_vectros.bin", NULL, false, false}, /* the one it resembles is there */
                 {"interleaved_q4k_manifest.json", NULL, true, true},
                 {"norms.bin", NULL, true, false},
                 {"up_features.bin.tmp", NULL, true, false},
                 {"up_featurs.bin", "up_features.bin", false, false},
                 {"weights\nof: mine", NULL, false, false}};
    enum { COUNT = sizeof files / sizeof files[0] };
    char directory[] = "inventory-XXXXXX";
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
    for (size_t i = 0; i < COUNT; i++)
        touch(directory, files[i].name);
    wa_arena *arena;
    wa_error err;
    wa_vindex_entry *entries;
    size_t count;
    wa_vindex_maps maps = {.hash_count = 0};
    wa_vindex vindex = {.path = directory,
                        .maps = &maps,
                        .file = {[WA_PAYLOAD_INTERLEAVED_Q4K] = "interleaved_q4k.bin"}};
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_vindex_inventory(&vindex, arena, &entries, &count, &err), &err);
    CU_ASSERT_EQUAL_FATAL(count, COUNT);
    for (size_t i = 0; i < COUNT; i++) { /* sorted as they stand above */
        CU_ASSERT_STRING_EQUAL(entries[i].name,
                               i + 1 == COUNT ? "weights?of? mine" : files[i].name);
        CU_ASSERT_EQUAL(entries[i].what != NULL, files[i].known);
        CU_ASSERT_EQUAL(entries[i].payload, files[i].payload);
        CU_ASSERT_EQUAL(entries[i].like == NULL, files[i].like == NULL);
        if (entries[i].like != NULL && files[i].like != NULL)
            CU_ASSERT_STRING_EQUAL(entries[i].like, files[i].like);
    }
    wa_arena_close(arena);
    char command[600];
    snprintf(command, sizeof command, "rm -r '%s'", directory);
    CU_ASSERT_EQUAL(system(command), 0);
}

WA_SUITE("vindex_verdict", WA_CASE(the_most_severe_word_of_its_cases_is_the_vindexs),
         WA_CASE(a_vindex_of_which_no_case_ran_is_unaudited),
         WA_CASE(each_entry_is_known_or_resembles_what_is_missing))

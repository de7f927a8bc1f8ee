/* One CUnit suite per test program: WA_SUITE("module", WA_CASE(a_sentence_that_is_true), …). */
#ifndef WALKAUDIT_TEST_SUITE_H
#define WALKAUDIT_TEST_SUITE_H

#include "base/status.h"

#include <CUnit/Basic.h>
#include <stdio.h>

typedef struct wa_test_case {
    const char *name;
    void (*run)(void);
} wa_test_case;

#define WA_CASE(function)                                                                          \
    {                                                                                              \
#function, function                                                                        \
    }

/* Returns 0 when every listed case ran and passed, else 1 (never a count: 256 failures are not
 * success). */
static inline int wa_suite_main(const char *name, const wa_test_case *cases, size_t count)
{
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 1;
    CU_pSuite suite = CU_add_suite(name, NULL, NULL);
    for (size_t i = 0; i < count; i++)
        if (suite == NULL || CU_add_test(suite, cases[i].name, cases[i].run) == NULL)
            return 1;
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    unsigned ran = CU_get_number_of_tests_run();
    CU_cleanup_registry();
    return failed == 0 && ran == count ? 0 : 1;
}

#define WA_SUITE(name, ...)                                                                        \
    int main(void)                                                                                 \
    {                                                                                              \
        static const wa_test_case cases[] = {__VA_ARGS__};                                         \
        return wa_suite_main(name, cases, sizeof cases / sizeof cases[0]);                         \
    }

/* A call must succeed; the story is printed when it does not. */
#define WA_MUST(call, err)                                                                         \
    do {                                                                                           \
        wa_status must_status_ = (call);                                                           \
        if (must_status_ != WA_OK)                                                                 \
            fprintf(stderr, "    %s: %s\n", #call, (err)->text);                                   \
        CU_ASSERT_EQUAL_FATAL(must_status_, WA_OK);                                                \
    } while (0)

#endif

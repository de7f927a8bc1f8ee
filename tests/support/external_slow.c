/*
 * A kernel for path external that takes as long as the environment says, without using the
 * processor: a run beside which a test has time for what it is about to do, on a fast machine and
 * on a busy one alike. WALKAUDIT_TEST_DELAY: milliseconds of each call (0);
 * WALKAUDIT_TEST_ROW_DELAY: those of each row beside (0).
 */
#include "walkaudit/external.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static long milliseconds_of(const char *name)
{
    const char *value = getenv(name);
    return value == NULL ? 0 : strtol(value, NULL, 10);
}

static int run(void *context, size_t layer, size_t rows, size_t hidden, const float *x, float *y)
{
    (void)context, (void)layer;
    long milliseconds = milliseconds_of("WALKAUDIT_TEST_DELAY") +
                        (long)rows * milliseconds_of("WALKAUDIT_TEST_ROW_DELAY");
    struct timespec left = {.tv_sec = milliseconds / 1000,
                            .tv_nsec = milliseconds % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) /* a signal cuts it short */
        continue;
    memcpy(y, x, rows * hidden * sizeof *y); /* any function of x will do */
    return 0;
}

int walkaudit_external(const walkaudit_external_model *model, walkaudit_external_kernel *out)
{
    (void)model;
    *out = (walkaudit_external_kernel){
        .version = WALKAUDIT_EXTERNAL_VERSION, .label = "test:slow", .run = run};
    return 0;
}

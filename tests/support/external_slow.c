/*
 * A kernel for path external that takes as long as the environment says, without using the
 * processor: a run beside which a test has time for what it is about to do, on a fast machine and
 * on a busy one alike. WALKAUDIT_TEST_DELAY: milliseconds of each call (0).
 */
#include "walkaudit/external.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static int run(void *context, size_t layer, size_t rows, size_t hidden, const float *x, float *y)
{
    (void)context, (void)layer;
    const char *delay = getenv("WALKAUDIT_TEST_DELAY");
    long milliseconds = delay == NULL ? 0 : strtol(delay, NULL, 10);
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

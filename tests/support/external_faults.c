/* Kernels of path external that break the contract of walkaudit/external.h, one way per definition. */
#include "walkaudit/external.h"

#include <string.h>

/* Zero is a fair answer: the library is sound but for its one fault. */
static int run(void *context, size_t layer, size_t rows, size_t hidden, const float *x, float *y)
{
    (void)context, (void)x;
#ifdef FAILS
    if (layer == 1)
        return 7;
#endif
#ifdef WRITES_NOTHING
    if (layer == 1)
        return 0;
#endif
    (void)layer;
    memset(y, 0, rows * hidden * sizeof *y);
    return 0;
}

static int answer(const walkaudit_external_model *model, walkaudit_external_kernel *out)
{
    (void)model;
#ifdef DECLINES
    return 5;
#endif
    out->version = WALKAUDIT_EXTERNAL_VERSION;
    out->run = run;
#ifdef OTHER_VERSION
    out->version = WALKAUDIT_EXTERNAL_VERSION + 1;
#endif
#ifdef NO_RUN
    out->run = NULL;
#endif
#ifdef LONG_LABEL
    out->label = "a label of more than one hundred bytes, which no table could show beside the labels of other "
                 "kernels without a line of its own";
#endif
    return 0;
}

#ifdef NO_ENTRY
int another_entry(const walkaudit_external_model *model, walkaudit_external_kernel *out);
int another_entry(const walkaudit_external_model *model, walkaudit_external_kernel *out)
#else
int walkaudit_external(const walkaudit_external_model *model, walkaudit_external_kernel *out)
#endif
{
    return answer(model, out);
}

/* Kernels of path external that break the contract of walkaudit/external.h, one way per definition;
 * with none, a sound one. */
#define _DEFAULT_SOURCE
#include "walkaudit/external.h"

#include <fenv.h>
#include <float.h>
#include <locale.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What it does to the process that called it: at layer 1, or when it is loaded. */
static int misbehave(const float *x, float *y, size_t count);

#if defined SETS_FLUSH || defined LOAD_SETS_FLUSH || defined ODD_SETS_FLUSH
#ifdef __x86_64__
#include <xmmintrin.h>
static void flush(void)
{
    _mm_setcsr(_mm_getcsr() | 0x8040);
}
#else
static void flush(void)
{
    fesetround(FE_UPWARD); /* what every machine has */
}
#endif
#endif

#ifdef RECURSES
static int descend(volatile char *above, int depth)
{
    volatile char here[4096];
    here[depth % 4096] = *above;
    return depth < 0 ? 0 : descend(here, depth + 1) + here[1];
}
#endif

#ifdef THREAD_EXITS
static void *leave(void *unused)
{
    (void)unused;
    usleep(1000);
    exit(0);
}
#endif

#ifdef THREAD_CRASHES
static void *crash(void *unused)
{
    static int *volatile nowhere;
    usleep(50 * 1000); /* the call is over by then */
    *nowhere = 1;
    return unused;
}
#endif

#ifdef THREAD_REMAINS
static void *remain(void *unused)
{
    static volatile int turns;
    for (;; turns++)
        usleep(100);
    return unused;
}
#endif

static int misbehave(const float *x, float *y, size_t count)
{
    (void)x, (void)y, (void)count;
#if defined SETS_ROUNDING
    fesetround(FE_UPWARD);
#elif defined SETS_FLUSH
    flush();
#elif defined WRITES_X
    memset((void *)(uintptr_t)x, 0, count * sizeof *x);
#elif defined WRITES_PAST_Y
    y[count] = 1.0F;
#elif defined WRITES_BEFORE_Y
    y[-1] = 1.0F;
#elif defined MOVES
    if (chdir("/") != 0 || setlocale(LC_ALL, "C.UTF-8") == NULL)
        return 1;
    umask(0777);
#elif defined CALLS_EXIT
    exit(0);
#elif defined CALLS_QUICK_EXIT
    quick_exit(0);
#elif defined CALLS__EXIT
    _exit(0);
#elif defined ABORTS
    abort();
#elif defined CLOSES
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
#elif defined CRASHES
    static int *volatile nowhere;
    *nowhere = 1;
#elif defined RECURSES
    char start = 1;
    return descend(&start, 0);
#elif defined FORKS
    int status;
    pid_t child = fork();
    if (child == 0)
        exit(0);
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0
                                                                                                : 8;
#elif defined THREAD_EXITS
    for (int i = 0; i < 3; i++) { /* all call exit in the same moment */
        pthread_t thread;
        if (pthread_create(&thread, NULL, leave, NULL) != 0)
            return 8;
    }
    return 0;
#elif defined THREAD_CRASHES
    pthread_t thread;
    return pthread_create(&thread, NULL, crash, NULL);
#elif defined THREAD_REMAINS
    pthread_t thread;
    return pthread_create(&thread, NULL, remain, NULL);
#endif
    return 0;
}

/* Zero is a fair answer: the library is sound but for its one fault. */
static int run(void *context, size_t layer, size_t rows, size_t hidden, const float *x, float *y)
{
    (void)context, (void)x;
#ifdef NEEDS_ALIGNMENT
    if ((uintptr_t)x % 64 != 0 || (uintptr_t)y % 64 != 0)
        return 9;
#endif
    if (layer == 1 && misbehave(x, y, rows * hidden) != 0)
        return 8;
#ifdef FAILS
    if (layer == 1)
        return 7;
#endif
#ifdef ODD_SETS_FLUSH
    if (layer == 1 && rows % 2 == 1)
        flush();
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
#ifdef LOAD_EXITS
    exit(0);
#endif
#ifdef LOAD_SETS_FLUSH
    flush();
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
    out->label = "a label of more than one hundred bytes, which no table could show beside the "
                 "labels of other "
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

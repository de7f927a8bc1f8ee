/* Memory lent between guard pages, and what calls into foreign code leave behind. What ends a
 * process has a child of its own. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "base/foreign.h"

#include "base/signals.h"
#include "base/thread.h"
#include "suite.h"

#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const size_t SIZES[] = {4, 60, 64, 68, 4092, 4096, 4100, 100000};
enum { SIZE_COUNT = sizeof SIZES / sizeof SIZES[0] };

static void places_are_aligned_and_end_before_a_guard_page(void)
{
    wa_fence fence = {.map = NULL};
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        unsigned char *at;
        wa_error err = {.status = WA_OK};
        wa_fence_side side;
        WA_MUST(wa_fence_place(&fence, SIZES[i], &at, &err), &err);
        CU_ASSERT_EQUAL((uintptr_t)at % 64, 0);
        memset(at, 0, SIZES[i]);
        CU_ASSERT_EQUAL(wa_fence_check(&fence), WA_FENCE_WHOLE);
        CU_ASSERT(wa_fence_has(&fence, at, &side) && side == WA_FENCE_WHOLE);
        CU_ASSERT(wa_fence_has(&fence, at + (SIZES[i] + 63) / 64 * 64, &side) &&
                  side == WA_FENCE_AFTER);
        CU_ASSERT(wa_fence_has(&fence, fence.map, &side) && side == WA_FENCE_BEFORE);
        CU_ASSERT(!wa_fence_has(&fence, &fence, &side));
    }
    wa_fence_close(&fence);
    CU_ASSERT_PTR_NULL(fence.map);
}

static void bytes_beside_a_place_are_missed(void)
{
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        wa_fence fence = {.map = NULL};
        unsigned char *at;
        wa_error err = {.status = WA_OK};
        WA_MUST(wa_fence_place(&fence, SIZES[i], &at, &err), &err);
        if (SIZES[i] % 64 != 0) {
            at[SIZES[i]] = 0;
            CU_ASSERT_EQUAL(wa_fence_check(&fence), WA_FENCE_AFTER);
        }
        WA_MUST(wa_fence_place(&fence, SIZES[i], &at, &err), &err);
        CU_ASSERT_EQUAL(wa_fence_check(&fence), WA_FENCE_WHOLE);
        if (at > fence.map + fence.page) { /* else a guard page stands there */
            at[-1] = 0;
            CU_ASSERT_EQUAL(wa_fence_check(&fence), WA_FENCE_BEFORE);
        }
        wa_fence_close(&fence);
    }
}

/* --- Ends of a process --- */

typedef struct trial {
    wa_fence x, y;
    volatile unsigned char *at_x, *at_y;
} trial;

static void lend(trial *t, size_t bytes)
{
    unsigned char *x, *y;
    if (wa_fence_place(&t->x, bytes, &x, NULL) != WA_OK ||
        wa_fence_place(&t->y, bytes, &y, NULL) != WA_OK || wa_fence_lock(&t->x, NULL) != WA_OK)
        _exit(100);
    t->at_x = x;
    t->at_y = y;
    wa_foreign_prepare();
}

static void write_x(const trial *t)
{
    t->at_x[17] = t->at_x[16];
}

static void write_past_y(const trial *t)
{
    t->at_y[128] = 1;
}

static void read_past_x(const trial *t)
{
    t->at_y[0] = t->at_x[128];
}

static void leave_well(const trial *t)
{
    (void)t;
    exit(0);
}

static void leave_at_once(const trial *t)
{
    (void)t;
    _exit(0);
}

static void abandon(const trial *t)
{
    (void)t;
    abort();
}

static void close_ours(const trial *t)
{
    (void)t;
    close(STDIN_FILENO);
}

static void sound(const trial *t)
{
    t->at_y[127] = t->at_x[127];
}

static const struct {
    void (*does)(const trial *t);
    const char *said;
} ENDS[] = {{write_x,
             "walkaudit: the library wrote to x, which it may only read; at layer 12; in a test\n"},
            {write_past_y,
             "walkaudit: the library read or wrote past the end of y; at layer 12; in a test\n"},
            {read_past_x,
             "walkaudit: the library read or wrote past the end of x; at layer 12; in a test\n"},
            {leave_well, "walkaudit: the library called exit; at layer 12; in a test\n"},
            {leave_at_once, "walkaudit: the library called _exit; at layer 12; in a test\n"},
            {abandon, "walkaudit: the library was ended by SIGABRT; at layer 12; in a test\n"},
            {close_ours,
             "walkaudit: the library closed file descriptor 0, which it had not opened; at "
             "layer 12; in a test\n"},
            {sound, ""}};

static void try_it(size_t i)
{
    trial t = {.at_x = NULL};
    wa_foreign_call call = {.what = "in a test", .layer = 12, .x = &t.x, .y = &t.y};
    lend(&t, 128);
    wa_foreign_enter(&call);
    ENDS[i].does(&t);
    _exit(wa_foreign_leave());
}

static void what_ends_a_process_is_one_line_and_3(void)
{
    for (size_t i = 0; i < sizeof ENDS / sizeof ENDS[0]; i++) {
        int pipes[2], status;
        char said[1024];
        CU_ASSERT_FATAL(pipe(pipes) == 0);
        fflush(NULL);
        pid_t child = fork();
        CU_ASSERT_FATAL(child >= 0);
        if (child == 0) {
            dup2(pipes[1], STDERR_FILENO);
            try_it(i);
        }
        close(pipes[1]);
        ssize_t got, used = 0;
        while ((got = read(pipes[0], said + used, sizeof said - 1 - (size_t)used)) > 0)
            used += got;
        said[used] = '\0';
        close(pipes[0]);
        CU_ASSERT(waitpid(child, &status, 0) == child && WIFEXITED(status));
        CU_ASSERT_EQUAL(WEXITSTATUS(status), ENDS[i].does == sound ? 0 : 3);
        CU_ASSERT_STRING_EQUAL(said, ENDS[i].said);
    }
}

/* --- Between calls --- */

/* At a page that nobody may touch: a sanitizer sees through a null pointer. */
static void *crash(void *unused)
{
    volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *page = 1;
    return unused;
}

static void *give_up(void *unused)
{
    (void)unused;
    abort();
}

static void crash_ourselves(void)
{
    crash(NULL);
}

static void let_ours_crash(void)
{
    pthread_t thread;
    if (wa_thread_start(&thread, NULL, give_up, NULL) == 0)
        pthread_join(thread, NULL);
}

static void let_another_crash(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, crash, NULL) == 0)
        pthread_join(thread, NULL);
}

static int hold_and_do(void (*does)(void), char said[1024])
{
    int pipes[2], status;
    CU_ASSERT_FATAL(pipe(pipes) == 0);
    fflush(NULL);
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        dup2(pipes[1], STDERR_FILENO);
        signal(SIGSEGV, SIG_DFL); /* a sanitizer has a handler */
        wa_foreign_prepare();
        wa_foreign_hold("in a test");
        does();
        _exit(0);
    }
    close(pipes[1]);
    ssize_t got = read(pipes[0], said, 1023);
    said[got < 0 ? 0 : got] = '\0';
    close(pipes[0]);
    CU_ASSERT(waitpid(child, &status, 0) == child);
    return status;
}

static void a_thread_of_the_library_that_crashes_is_one_line_and_3(void)
{
    char said[1024];
    int status = hold_and_do(let_another_crash, said);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    CU_ASSERT_STRING_EQUAL(said, "walkaudit: a thread was ended by SIGSEGV; in a test\n");
}

static void our_own_crash_is_not_laid_on_it(void)
{
    char said[1024];
    int status = hold_and_do(crash_ourselves, said);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    CU_ASSERT_STRING_EQUAL(said, "");
    status = hold_and_do(let_ours_crash, said);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CU_ASSERT_STRING_EQUAL(said, "");
}

static atomic_bool may_end;

static void *wait_there(void *unused)
{
    while (!atomic_load(&may_end))
        sched_yield();
    return unused;
}

static void threads_of_others_are_told_from_ours(void)
{
    pthread_t own, other;
    wa_foreign_prepare();
    atomic_store(&may_end, false);
    CU_ASSERT_FATAL(wa_thread_start(&own, NULL, wait_there, NULL) == 0);
    CU_ASSERT(!wa_foreign_has_threads());
    CU_ASSERT_FATAL(pthread_create(&other, NULL, wait_there, NULL) == 0);
    CU_ASSERT(wa_foreign_has_threads());
    atomic_store(&may_end, true);
    pthread_join(own, NULL);
    pthread_join(other, NULL);
    CU_ASSERT(!wa_foreign_has_threads());
}

/* --- Modes --- */

static void modes_are_put_back_and_told(void)
{
    wa_foreign_call call = {.what = "in a test", .layer = -1};
    volatile float one = 1.0F, three = 3.0F;
    float third = one / three;
    wa_foreign_prepare();
    wa_foreign_enter(&call);
    CU_ASSERT_EQUAL(wa_foreign_leave(), 0);
    wa_foreign_enter(&call);
    fesetround(FE_UPWARD);
    CU_ASSERT_EQUAL(wa_foreign_leave(), WA_MODE_ROUNDING);
    CU_ASSERT_EQUAL(fegetround(), FE_TONEAREST);
    CU_ASSERT(one / three == third);
}

static void handlers_are_put_back(void)
{
    wa_foreign_call call = {.what = "in a test", .layer = -1};
    struct sigaction before, after;
    sigaction(SIGFPE, NULL, &before);
    wa_foreign_enter(&call);
    signal(SIGFPE, SIG_IGN);
    wa_foreign_leave();
    sigaction(SIGFPE, NULL, &after);
    CU_ASSERT(before.sa_handler == after.sa_handler);
}

WA_SUITE("foreign", WA_CASE(places_are_aligned_and_end_before_a_guard_page),
         WA_CASE(bytes_beside_a_place_are_missed), WA_CASE(what_ends_a_process_is_one_line_and_3),
         WA_CASE(a_thread_of_the_library_that_crashes_is_one_line_and_3),
         WA_CASE(our_own_crash_is_not_laid_on_it), WA_CASE(threads_of_others_are_told_from_ours),
         WA_CASE(modes_are_put_back_and_told), WA_CASE(handlers_are_put_back))

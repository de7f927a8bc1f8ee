/* The guard around HDF5: whose time and crashes it counts. A child of its own each, with a clock
 * fifty times as fast: its ten seconds are 200 ms. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "store/guard.h"

#include "suite.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FASTER = 50, THREADS = 4 };

static struct timespec shorten(struct timespec time)
{
    long long each = (time.tv_sec * 1000000000LL + time.tv_nsec) / FASTER;
    return (struct timespec){.tv_sec = each / 1000000000LL, .tv_nsec = each % 1000000000LL};
}

/* Found before the C library's. */
int timer_settime(timer_t timer, int flags, const struct itimerspec *every,
                  struct itimerspec *before)
{
    int (*real)(timer_t, int, const struct itimerspec *, struct itimerspec *);
    void *symbol = dlsym(RTLD_NEXT, "timer_settime");
    struct itimerspec faster = {.it_value = shorten(every->it_value),
                                .it_interval = shorten(every->it_interval)};
    memcpy(&real, &symbol, sizeof real);
    return real(timer, flags, &faster, before);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void *spin(void *unused)
{
    for (volatile unsigned long n = 0;; n++)
        continue;
    return unused;
}

/* Threads of a foreign library that wait busily, while HDF5 waits for the disk. */
static void others_are_busy(void)
{
    pthread_t thread;
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&thread, NULL, spin, NULL) != 0)
            _exit(100);
    while (seconds(CLOCK_PROCESS_CPUTIME_ID) < 1.0)
        nanosleep(&pause, NULL);
}

static void finds_no_end(void)
{
    while (seconds(CLOCK_THREAD_CPUTIME_ID) < 60.0)
        continue;
}

/* At a page that nobody may touch: a sanitizer sees through a null pointer. */
static void *crash(void *unused)
{
    volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *page = 1;
    return unused;
}

static void crashes(void)
{
    crash(NULL);
}

static void another_crashes(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, crash, NULL) == 0)
        pthread_join(thread, NULL);
}

/* What waitpid says of it. */
static int try_it(void (*work)(void), char said[1024])
{
    int pipes[2], status;
    ssize_t got, used = 0;
    CU_ASSERT_FATAL(pipe(pipes) == 0);
    fflush(NULL);
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        dup2(pipes[1], STDERR_FILENO);
        signal(SIGSEGV, SIG_DFL); /* a sanitizer has a handler */
        wa_guard_file("x.h5");
        wa_guard_enter();
        work();
        wa_guard_leave();
        _exit(0);
    }
    close(pipes[1]);
    while ((got = read(pipes[0], said + used, 1023 - (size_t)used)) > 0)
        used += got;
    said[used] = '\0';
    close(pipes[0]);
    CU_ASSERT(waitpid(child, &status, 0) == child);
    return status;
}

static void the_time_of_other_threads_is_not_hdf5s(void)
{
    char said[1024];
    CU_ASSERT_EQUAL(try_it(others_are_busy, said), 0);
    CU_ASSERT_STRING_EQUAL(said, "");
}

static void what_finds_no_end_is_ended(void)
{
    char said[1024];
    int status = try_it(finds_no_end, said);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    CU_ASSERT_STRING_EQUAL(said, "walkaudit: the file is damaged: HDF5 found no end in ten seconds "
                                 "over it; in file 'x.h5'\n");
}

static void a_crash_of_the_reader_is_told_of_the_file(void)
{
    char said[1024];
    int status = try_it(crashes, said);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    CU_ASSERT_STRING_EQUAL(said, "walkaudit: the file is damaged: HDF5 crashed (SIGSEGV) over it; "
                                 "in file 'x.h5'\n");
    status = try_it(another_crashes, said);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    CU_ASSERT_STRING_EQUAL(said, "");
}

WA_SUITE("guard", WA_CASE(a_crash_of_the_reader_is_told_of_the_file),
         WA_CASE(the_time_of_other_threads_is_not_hdf5s), WA_CASE(what_finds_no_end_is_ended))

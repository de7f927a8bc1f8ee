/* Signals: what is heard, and the last words over a mapped file that was cut short. Each case has a
 * process of its own. */
#include "base/signals.h"

#include "base/bytes.h"
#include "suite.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAPPED_BYTES = 1 << 16 };

/* Run `body` in a child with its stderr in `said`; returns the wait status. */
static int in_child(void (*body)(void), char *said, size_t size)
{
    int pipes[2];
    CU_ASSERT_FATAL(pipe(pipes) == 0);
    fflush(NULL);
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        dup2(pipes[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    close(pipes[1]);
    ssize_t got, used = 0;
    while ((got = read(pipes[0], said + used, size - 1 - (size_t)used)) > 0)
        used += got;
    said[used] = '\0';
    close(pipes[0]);
    int status = 0;
    CU_ASSERT(waitpid(child, &status, 0) == child);
    return status;
}

static void read_past_a_cut(void)
{
    static const char path[] = WA_TEST_BINARY_DIR "/cut-short.bin";
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
    wa_map map, other;
    wa_signals_guard();
    if (fd < 0 || ftruncate(fd, MAPPED_BYTES) != 0 || wa_map_open(path, &other, NULL) != WA_OK ||
        wa_map_open(path, &map, NULL) != WA_OK)
        _exit(100);
    wa_map_close(&other);
    if (ftruncate(fd, 0) != 0)
        _exit(101);
    _exit(map.bytes.data[MAPPED_BYTES - 1] == 0 ? 102 : 103);
}

static void a_cut_file_is_named_in_one_line_and_ends_with_3(void)
{
    char said[1024];
    int status = in_child(read_past_a_cut, said, sizeof said);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    CU_ASSERT_STRING_EQUAL(
        said,
        "walkaudit: a mapped file was cut short while it was read; in file '" WA_TEST_BINARY_DIR
        "/cut-short.bin'\n");
}

enum { MANY_MAPS = 1200 };

/* The last of very many maps, after some of the first were closed and others took their places. */
static void read_past_a_cut_of_many(void)
{
    static const char path[] = WA_TEST_BINARY_DIR "/one-of-many.bin";
    static const char last[] = WA_TEST_BINARY_DIR "/last-of-many.bin";
    static wa_map maps[MANY_MAPS], again[MANY_MAPS / 2], cut;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
    int other = open(last, O_RDWR | O_CREAT | O_TRUNC, 0666);
    wa_signals_guard();
    if (fd < 0 || ftruncate(fd, MAPPED_BYTES) != 0 || other < 0 ||
        ftruncate(other, MAPPED_BYTES) != 0)
        _exit(100);
    for (size_t i = 0; i < MANY_MAPS; i++)
        if (wa_map_open(path, &maps[i], NULL) != WA_OK)
            _exit(101);
    for (size_t i = 0; i < MANY_MAPS / 2; i++) {
        wa_map_close(&maps[i]);
        if (wa_map_open(path, &again[i], NULL) != WA_OK)
            _exit(102);
    }
    if (wa_map_open(last, &cut, NULL) != WA_OK || ftruncate(other, 0) != 0)
        _exit(103);
    _exit(cut.bytes.data[0] == 0 ? 104 : 105);
}

static void one_of_very_many_maps_is_named_as_well(void)
{
    char said[1024];
    int status = in_child(read_past_a_cut_of_many, said, sizeof said);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "in file '" WA_TEST_BINARY_DIR "/last-of-many.bin'\n"));
}

static void bus_error_elsewhere(void)
{
    wa_signals_guard();
    raise(SIGBUS);
}

static void another_bus_error_is_left_alone(void)
{
    char said[64];
    int status = in_child(bus_error_elsewhere, said, sizeof said);
    /* raise() returns from the handler once; a real access would fault again and die. */
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CU_ASSERT_STRING_EQUAL(said, "");
}

static void hear_two(void)
{
    wa_signals_hear();
    if (wa_signals_heard() != 0)
        _exit(1);
    raise(SIGUSR2);
    if (wa_signals_heard() != SIGUSR2 || wa_signal_is_urgent(SIGUSR2))
        _exit(2);
    raise(SIGTERM);
    raise(SIGUSR1);
    _exit(wa_signals_heard() == SIGTERM && wa_signal_is_urgent(SIGTERM) ? 0 : 3);
}

static void sigterm_is_heard_before_the_others(void)
{
    char said[64];
    int status = in_child(hear_two, said, sizeof said);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void compute_for_ever(void)
{
    wa_signals_prepare(true);
    wa_signals_resumable();
    wa_signals_hear();
    raise(SIGTERM);
    for (volatile int i = 0;; i = !i)
        continue;
}

static void a_step_too_long_ends_within_a_second_of_sigterm(void)
{
    char said[256];
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    int status = in_child(compute_for_ever, said, sizeof said);
    clock_gettime(CLOCK_MONOTONIC, &after);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 75);
    CU_ASSERT(strstr(said, "SIGTERM: ended in the middle of a layer") != NULL);
    CU_ASSERT(difftime(after.tv_sec, before.tv_sec) <= 2.0); /* 0.75 s, and a busy machine */
}

WA_SUITE("signals", WA_CASE(a_cut_file_is_named_in_one_line_and_ends_with_3),
         WA_CASE(one_of_very_many_maps_is_named_as_well), WA_CASE(another_bus_error_is_left_alone),
         WA_CASE(sigterm_is_heard_before_the_others),
         WA_CASE(a_step_too_long_ends_within_a_second_of_sigterm))

/* The guard around HDF5: what deadly signals are about, and a timer of the calling thread's own
 * time. */
#include "store/guard.h"

#include "base/signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { NAME = 4096, TICK_SECONDS = 2, TICKS = 5 };

/* Handlers have no arguments of ours. */
static volatile sig_atomic_t inside, ticks;
static pthread_t reader;
static char name[NAME];

static _Noreturn void end_process(const char *did, const char *more, const char *end)
{
    static char line[NAME + 256];
    strcpy(line, "walkaudit: the file is damaged: HDF5 ");
    strcat(line, did);
    strcat(line, more);
    strcat(line, end);
    strcat(line, " over it; in file '");
    strcat(line, name);
    strcat(line, "'\n");
    wa_signals_last_word(line);
}

static void on_death(int number, const siginfo_t *info)
{
    (void)info;
    if (inside && pthread_equal(pthread_self(), reader))
        end_process("crashed (", wa_signal_name(number), ")");
}

static void on_tick(int number)
{
    (void)number;
    if (inside && ++ticks >= TICKS)
        end_process("found no end in ten seconds", "", "");
}

/* Once, of the thread that reads files: other threads may belong to a foreign library, and wait
 * busily. A process that can have no timer goes without. */
static void start_timer(void)
{
    static bool started;
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGVTALRM};
    struct itimerspec every = {.it_value = {.tv_sec = TICK_SECONDS},
                               .it_interval = {.tv_sec = TICK_SECONDS}};
    struct sigaction tick = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    if (started)
        return;
    started = true;
    if (sigaction(SIGVTALRM, &tick, NULL) == 0 &&
        timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) == 0)
        timer_settime(timer, 0, &every, NULL);
}

void wa_guard_file(const char *path)
{
    snprintf(name, sizeof name, "%s", path);
    reader = pthread_self();
    wa_signals_ask(on_death);
    start_timer();
}

void wa_guard_enter(void)
{
    ticks = 0;
    inside = 1;
}

void wa_guard_leave(void)
{
    inside = 0;
}

/* The guard around HDF5: handlers of deadly signals, and a timer of the calling thread's own
 * time. */
#define _DEFAULT_SOURCE /* sigaltstack */
#include "store/guard.h"

#include "base/signals.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct {
    int number;
    const char *did;
} DEADLY[] = {{SIGSEGV, "crashed (SIGSEGV)"},
              {SIGBUS, "crashed (SIGBUS)"},
              {SIGFPE, "crashed (SIGFPE)"},
              {SIGABRT, "crashed (SIGABRT)"}};
enum {
    DEADLY_COUNT = sizeof DEADLY / sizeof DEADLY[0],
    NAME = 4096,
    STACK_BYTES = 1 << 16,
    TICK_SECONDS = 2,
    TICKS = 5
};

/* Handlers have no arguments of ours. */
static struct sigaction handlers[DEADLY_COUNT];
static volatile sig_atomic_t inside, ticks;
static char name[NAME];
static char own_stack[STACK_BYTES]; /* a damaged file may lead HDF5 into endless recursion */

static _Noreturn void end_process(const char *did)
{
    static char line[NAME + 256];
    strcpy(line, "walkaudit: the file is damaged: HDF5 ");
    strcat(line, did);
    strcat(line, " over it; in file '");
    strcat(line, name);
    strcat(line, "'\n");
    wa_signals_last_word(line);
}

static void on_death(int number, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    for (size_t i = 0; i < DEADLY_COUNT; i++)
        if (DEADLY[i].number == number) {
            if (inside)
                end_process(DEADLY[i].did);
            sigaction(number, &handlers[i], NULL); /* not HDF5's: returning repeats it */
        }
}

static void on_tick(int number)
{
    (void)number;
    if (inside && ++ticks >= TICKS)
        end_process("found no end in ten seconds");
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
    stack_t stack = {.ss_sp = own_stack, .ss_size = sizeof own_stack};
    struct sigaction death = {.sa_sigaction = on_death, .sa_flags = SA_SIGINFO | SA_ONSTACK}, now;
    snprintf(name, sizeof name, "%s", path);
    sigaltstack(&stack, NULL);
    for (size_t i = 0; i < DEADLY_COUNT; i++) /* MPI puts its own in their place when it starts */
        if (sigaction(DEADLY[i].number, NULL, &now) == 0 && now.sa_sigaction != on_death) {
            handlers[i] = now;
            sigaction(DEADLY[i].number, &death, NULL);
        }
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

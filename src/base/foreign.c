/* The guard around foreign calls: floating-point modes, signal handlers, and the end of the
 * process. */
#define _GNU_SOURCE /* sigaltstack, syscall */
#include "base/foreign.h"

#include "base/signals.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <float.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef __x86_64__
#include <xmmintrin.h>
#endif
#ifdef __linux__
#include <sys/syscall.h>
#endif

/* --- Floating-point modes --------------------------------------------------------------------- */

#ifdef __x86_64__

/* Two units: MXCSR rules what compilers use for float and double, the control word long double. */
typedef struct modes {
    unsigned mxcsr;
    unsigned short control;
} modes;

/* FTZ is 0x8000, DAZ 0x0040 */
static const unsigned SSE_ROUNDING = 0x6000, SSE_FLUSH = 0x8040, SSE_TRAPS = 0x1f80;
static const unsigned X87_ROUNDING = 0x0c00, X87_OTHER = 0x033f;

static void take_modes(modes *out)
{
    unsigned short control;
    __asm__ volatile("fnstcw %0" : "=m"(control));
    *out = (modes){.mxcsr = _mm_getcsr(), .control = control};
}

/* fninit: code of MMX that leaves without emms has marked the registers of x87 as full. */
static void put_modes(const modes *to)
{
    unsigned short control = to->control;
    __asm__ volatile("fninit\n\tfldcw %0" : : "m"(control));
    _mm_setcsr(to->mxcsr);
}

static int compare_modes(const modes *a, const modes *b)
{
    unsigned sse = a->mxcsr ^ b->mxcsr, x87 = (unsigned)a->control ^ (unsigned)b->control;
    int changed = 0;
    if ((sse & SSE_ROUNDING) != 0 || (x87 & X87_ROUNDING) != 0)
        changed |= WA_MODE_ROUNDING;
    if ((sse & SSE_FLUSH) != 0)
        changed |= WA_MODE_FLUSH;
    if ((sse & SSE_TRAPS) != 0 || (x87 & X87_OTHER) != 0)
        changed |= WA_MODE_OTHER;
    return changed;
}

#else

/* What C knows: the rounding by name, the rest as a whole. Flushing shows in what it does. */
typedef struct modes {
    fenv_t all;
    int rounding;
    bool flushes;
} modes;

static void take_modes(modes *out)
{
    volatile float least = FLT_MIN;
    fegetenv(&out->all);
    out->rounding = fegetround();
    out->flushes = least / 2.0F == 0.0F;
}

static void put_modes(const modes *to)
{
    fesetenv(&to->all);
}

static int compare_modes(const modes *a, const modes *b)
{
    return (a->rounding != b->rounding ? WA_MODE_ROUNDING : 0) |
           (a->flushes != b->flushes ? WA_MODE_FLUSH : 0);
}

#endif

const char *wa_modes_text(int changed)
{
    static const char *const words[] = {"nothing",
                                        "the rounding mode",
                                        "FTZ or DAZ",
                                        "the rounding mode and FTZ or DAZ",
                                        "other floating-point modes",
                                        "the rounding mode and others",
                                        "FTZ or DAZ and other modes",
                                        "the rounding mode, FTZ or DAZ and other modes"};
    return words[(size_t)changed % (sizeof words / sizeof words[0])];
}

/* --- What a process has one of ---------------------------------------------------------------- */

/* Our relative paths begin at the directory, and our numbers are printed and read in locale "C",
 * which is that of a program that never says otherwise. */
static struct {
    int directory;
    mode_t mask;
} surroundings;

static void take_surroundings(void)
{
    surroundings.directory = open(".", O_DIRECTORY | O_CLOEXEC);
    surroundings.mask = umask(077);
    umask(surroundings.mask);
}

/* Without the right to enter the directory we stay where the library has gone. */
static void put_surroundings(void)
{
    const char *locale = setlocale(LC_ALL, NULL);
    if (locale == NULL || strcmp(locale, "C") != 0)
        setlocale(LC_ALL, "C");
    umask(surroundings.mask);
    while (surroundings.directory >= 0 && fchdir(surroundings.directory) != 0 && errno == EINTR)
        continue;
}

/* What was open before any library was loaded: MPI's connections among them, without which its ranks
 * wait for ever. */
enum { MOST_DESCRIPTORS = 256, DESCRIPTORS_END = 1024 };
static struct pollfd descriptors[MOST_DESCRIPTORS]; /* .fd = -1: not open any more */
static nfds_t descriptor_count;

static void take_descriptors(void)
{
    for (int fd = 0; fd < DESCRIPTORS_END && descriptor_count < MOST_DESCRIPTORS; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            descriptors[descriptor_count++] = (struct pollfd){.fd = fd};
}

/* The first of them that has been closed since this was asked, or -1; one call of the system. */
static int find_closed(void)
{
    int found, first = -1;
    do
        found = poll(descriptors, descriptor_count, 0);
    while (found < 0 && errno == EINTR);
    for (nfds_t i = 0; found > 0 && i < descriptor_count; i++)
        if ((descriptors[i].revents & POLLNVAL) != 0) {
            first = first < 0 ? descriptors[i].fd : first;
            descriptors[i].fd = -1;
        }
    return first;
}

/* --- The call --------------------------------------------------------------------------------- */

enum { EXITS_AT_ONCE = 64 }; /* threads that call exit in the same moment */
enum { LINE_BYTES = 2048, STACK_BYTES = 1 << 16 };

/* Handlers have no arguments of ours. */
static struct {
    wa_foreign_call call;
    modes before;
    struct sigaction handlers[WA_SIGNALS_DEADLY];
    stack_t stack;
} state;
static volatile sig_atomic_t active, held, exit_is_ours, is_prepared;
static atomic_bool is_answered; /* a thread that called exit is about to end the process */
static char held_what[LINE_BYTES];
static volatile pid_t process;
static pthread_t caller;            /* the main thread, once there is a process */
static int others_before;           /* threads that are not ours, before any library */
static char own_stack[STACK_BYTES]; /* a call that never ends its recursion leaves no other */

static void append(char *line, const char *text)
{
    size_t used = strlen(line);
    strncat(line, text, LINE_BYTES - 2 - used);
}

static void append_number(char *line, long number)
{
    char digits[24], *at = digits + sizeof digits - 1;
    *at = '\0';
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    append(line, at);
}

static bool is_in_call(void)
{
    return active && pthread_equal(pthread_self(), caller);
}

/* Where it happened. A thread may belong to any library that is loaded, whoever is being called. */
static void append_place(char *line)
{
    bool at_call = is_in_call() || (active && held <= 1);
    if (at_call && state.call.layer >= 0) {
        append(line, "; at layer ");
        append_number(line, state.call.layer);
    }
    append(line, "; ");
    append(line, at_call     ? state.call.what
                 : held <= 1 ? held_what
                             : "in one of the libraries that cases have loaded");
}

/* Async-signal-safe, as all that it calls. */
static _Noreturn void end_process(const char *did, const char *name)
{
    char line[LINE_BYTES] = "walkaudit: ";
    append(line, did);
    append(line, name);
    append_place(line);
    strcat(line, "\n");
    wa_signals_last_word(line);
}

static const char *describe(const void *address)
{
    wa_fence_side side;
    if (state.call.x != NULL && wa_fence_has(state.call.x, address, &side))
        return side == WA_FENCE_WHOLE   ? "the library wrote to x, which it may only read"
               : side == WA_FENCE_AFTER ? "the library read or wrote past the end of x"
                                        : "the library read or wrote before the start of x";
    if (state.call.y != NULL && wa_fence_has(state.call.y, address, &side) &&
        side != WA_FENCE_WHOLE)
        return side == WA_FENCE_AFTER ? "the library read or wrote past the end of y"
                                      : "the library read or wrote before the start of y";
    return NULL;
}

static void on_death(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (getpid() != process) { /* of a child: returning repeats the access */
        struct sigaction standard = {.sa_handler = SIG_DFL};
        sigaction(number, &standard, NULL);
        return;
    }
    const char *did = number == SIGSEGV || number == SIGBUS ? describe(info->si_addr) : NULL;
    if (did != NULL)
        end_process(did, "");
    end_process(is_in_call() ? "the library was ended by " : "a thread was ended by ",
                wa_signal_name(number));
}

/* Between calls. Ours crash as they would without a library. */
static void on_stray_death(int number, const siginfo_t *info)
{
    (void)info;
    if (held > 0 && getpid() == process && !wa_thread_is_ours())
        end_process("a thread was ended by ", wa_signal_name(number));
}

static _Noreturn void wait_for_end(void)
{
    for (;;)
        pause();
}

/* Ours comes after the library's own, which were registered later. A child of the library's may
 * exit as it likes. glibc gives each registered function to one caller of `exit` only: a second
 * thread that calls it meanwhile would find none left and end the process with its own code. So
 * there are EXITS_AT_ONCE of them, and all but the first wait for the first's end. */
static void on_exit_called(void)
{
    if (getpid() != process || exit_is_ours)
        return;
    if ((active || held > 0) && atomic_exchange(&is_answered, true))
        wait_for_end();
    if (is_in_call())
        end_process("the library called exit", "");
    if (active || held > 0)
        end_process("a thread called exit while the run was at work", "");
}

#ifdef __linux__
/* Libraries find these before those of the C library, which run no handler. Only an end that the
 * call itself asks for is told: threads of MPI end the process by _exit too, when mpirun has
 * died. */
static _Noreturn void exit_at_once(int code)
{
    if (is_in_call() && getpid() == process && !wa_signals_are_ending())
        end_process("the library called _exit", "");
    for (;;)
        syscall(SYS_exit_group, code);
}

_Noreturn void _exit(int code)
{
    exit_at_once(code);
}

_Noreturn void _Exit(int code)
{
    exit_at_once(code);
}
#endif

void wa_foreign_prepare(void)
{
    process = getpid();
    caller = pthread_self();
    wa_thread_adopt();
    if (!is_prepared) {
        others_before = wa_thread_count_others();
        take_surroundings();
        take_descriptors();
    }
    for (int i = 0; i < EXITS_AT_ONCE && !is_prepared; i++)
        if (atexit(on_exit_called) != 0 || at_quick_exit(on_exit_called) != 0)
            return;
    is_prepared = 1;
}

static void look_for_closed(void)
{
    char number[LINE_BYTES] = "";
    int closed = find_closed();
    if (closed < 0)
        return;
    append_number(number, closed);
    append(number, ", which it had not opened");
    end_process("the library closed file descriptor ", number);
}

void wa_foreign_enter(const wa_foreign_call *call)
{
    stack_t stack = {.ss_sp = own_stack, .ss_size = sizeof own_stack};
    struct sigaction death = {.sa_sigaction = on_death, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    state.call = *call;
    find_closed(); /* by ourselves, since the last call */
    sigaltstack(&stack, &state.stack);
    for (size_t i = 0; i < WA_SIGNALS_DEADLY; i++)
        sigaction(wa_signals_deadly[i], &death, &state.handlers[i]);
    take_modes(&state.before);
    active = 1;
}

int wa_foreign_leave(void)
{
    modes after;
    if (atomic_load(&is_answered))
        wait_for_end();
    look_for_closed();
    active = 0;
    take_modes(&after);
    put_modes(&state.before);
    put_surroundings();
    for (size_t i = 0; i < WA_SIGNALS_DEADLY; i++)
        sigaction(wa_signals_deadly[i], &state.handlers[i], NULL);
    sigaltstack(&state.stack, NULL);
    return compare_modes(&state.before, &after);
}

void wa_foreign_hold(const char *what)
{
    snprintf(held_what, sizeof held_what, "%s", what);
    wa_signals_ask(on_stray_death);
    held++;
}

/* One that has just been joined may be seen for a moment. */
bool wa_foreign_has_threads(void)
{
    enum { TRIES = 20 };
    const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
    for (int i = 0; i < TRIES; i++) {
        int others = wa_thread_count_others();
        if (others >= 0 && others <= others_before)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

void wa_foreign_release(void)
{
    if (atomic_load(&is_answered))
        wait_for_end();
    held--;
}

void wa_foreign_expect_exit(void)
{
    exit_is_ours = 1;
}

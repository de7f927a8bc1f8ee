/* Signal handlers. They do nothing but set a flag, start a timer, or write a line and end the
 * process. */
#define _DEFAULT_SOURCE /* sigaltstack */
#include "base/signals.h"

#include "base/launched.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK_FILES = 256, NAME_BYTES = 240, EXIT_INPUT = 3, EXIT_RESUMABLE = 75 };
/* After SIGTERM to mpirun, its ranks get SIGTERM at once and SIGKILL 0.95 s later (Open MPI 4.1,
 * measured). Rank 0, whose exit code counts, goes first. */
enum { PATIENCE_MS = 750, PATIENCE_OF_OTHERS_MS = 850 };

typedef struct watched {
    uintptr_t start;
    size_t size; /* 0 = free */
    char name[NAME_BYTES];
} watched;

/* Mapped files that SIGBUS can name. A block stays where it is, and stays: a handler may read it at
 * any time. */
typedef struct watched_block {
    watched files[BLOCK_FILES];
    struct watched_block *older;
} watched_block;

/* A handler has no arguments of ours: these are the program's only variables that are not local. */
static volatile sig_atomic_t soon, now, is_ending;
static volatile sig_atomic_t ending_speaks, ending_code = EXIT_INPUT;
static timer_t patience;
static volatile sig_atomic_t has_patience;
static volatile sig_atomic_t tells_in = -1; /* a descriptor */
static watched_block first_block;
static watched_block *_Atomic newest = &first_block;

static void say(const char *text)
{
    size_t length = strlen(text);
    if (write(STDERR_FILENO, text, length) < 0)
        return; /* nobody listens: the exit code remains */
}

void wa_signals_tell_in(int descriptor)
{
    tells_in = descriptor;
}

static void tell(int what)
{
    unsigned char byte = (unsigned char)what;
    if (tells_in >= 0 && write((int)tells_in, &byte, 1) != 1)
        return; /* the launcher's own code has to do */
}

void wa_signals_tell(int code)
{
    ending_speaks = 0;
    ending_code = code;
    tell(code);
}

static _Noreturn void end(int code)
{
    wa_signals_tell(code);
    _exit(code);
}

void wa_signals_last_word(const char *line)
{
    is_ending = 1;
    say(line);
    end(EXIT_INPUT);
}

bool wa_signals_are_ending(void)
{
    return is_ending != 0;
}

/* --- Mapped files ----------------------------------------------------------------------------- */

/* NULL: all are taken. */
static watched *find_free(void)
{
    for (watched_block *block = newest; block != NULL; block = block->older)
        for (size_t i = 0; i < BLOCK_FILES; i++)
            if (block->files[i].size == 0)
                return &block->files[i];
    return NULL;
}

/* NULL: no memory. */
static watched *add_block(void)
{
    watched_block *block = calloc(1, sizeof *block);
    if (block == NULL)
        return NULL;
    block->older = newest;
    newest = block;
    return &block->files[0];
}

/* NULL: in none. */
static watched *find_holder(uintptr_t at)
{
    for (watched_block *block = newest; block != NULL; block = block->older)
        for (size_t i = 0; i < BLOCK_FILES; i++) {
            watched *file = &block->files[i];
            if (file->size != 0 && at >= file->start && at - file->start < file->size)
                return file;
        }
    return NULL;
}

bool wa_signals_watch(const void *at, size_t size, const char *path)
{
    size_t length = strlen(path);
    if (length >= NAME_BYTES) /* its end tells more than its beginning */
        path += length - (NAME_BYTES - 1);
    watched *file = find_free();
    if (file == NULL)
        file = add_block();
    if (file == NULL)
        return false;
    file->start = (uintptr_t)at;
    strcpy(file->name, path);
    file->size = size;
    return true;
}

void wa_signals_unwatch(const void *at)
{
    watched *file = find_holder((uintptr_t)at);
    if (file != NULL)
        file->size = 0;
}

/* An address in no file of ours is some other defect: it dies of SIGBUS as it would have. */
static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    const watched *file = find_holder((uintptr_t)info->si_addr);
    if (file != NULL) {
        char line[NAME_BYTES + 128] =
            "walkaudit: a mapped file was cut short while it was read; in file '";
        strcat(line, file->name);
        strcat(line, "'\n");
        wa_signals_last_word(line);
    }
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(number, &standard, NULL); /* returning repeats the access */
}

void wa_signals_guard(void)
{
    struct sigaction bus = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    struct sigaction ignored = {.sa_handler = SIG_IGN};
    sigaction(SIGBUS, &bus, NULL);
    sigaction(SIGXFSZ, &ignored, NULL);
}

/* --- Deadly signals --------------------------------------------------------------------------- */

const int wa_signals_deadly[WA_SIGNALS_DEADLY] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
enum { ANSWERS = 4, STACK_BYTES = 1 << 16 };

static wa_signals_answer *volatile answers[ANSWERS];
static struct sigaction handlers[WA_SIGNALS_DEADLY]; /* before ours */
static char own_stack[STACK_BYTES];                  /* endless recursion leaves no other */

static void on_death(int number, siginfo_t *info, void *context)
{
    (void)context;
    for (size_t i = 0; i < ANSWERS && answers[i] != NULL; i++)
        answers[i](number, info);
    for (size_t i = 0; i < WA_SIGNALS_DEADLY; i++)
        if (wa_signals_deadly[i] == number)
            sigaction(number, &handlers[i], NULL); /* returning repeats it */
}

void wa_signals_ask(wa_signals_answer *answer)
{
    stack_t stack = {.ss_sp = own_stack, .ss_size = sizeof own_stack};
    struct sigaction death = {.sa_sigaction = on_death, .sa_flags = SA_SIGINFO | SA_ONSTACK}, found;
    size_t at = 0;
    while (at < ANSWERS - 1 && answers[at] != NULL && answers[at] != answer)
        at++;
    answers[at] = answer;
    sigaltstack(&stack, NULL);
    for (size_t i = 0; i < WA_SIGNALS_DEADLY; i++)
        if (sigaction(wa_signals_deadly[i], NULL, &found) == 0 && found.sa_sigaction != on_death) {
            handlers[i] = found;
            sigaction(wa_signals_deadly[i], &death, NULL);
        }
}

/* --- Requests to stop ------------------------------------------------------------------------- */

static void on_request(int number)
{
    if (number != SIGTERM) {
        soon = number;
        return;
    }
    now = number;
    long milliseconds = ending_speaks ? PATIENCE_MS : PATIENCE_OF_OTHERS_MS;
    struct itimerspec when = {.it_value = {.tv_nsec = milliseconds * 1000000L}};
    if (has_patience)
        timer_settime(patience, 0, &when, NULL);
}

/* No error line: the cause may be another rank's end, which it has told, and mpirun's SIGTERM to
 * the rest. */
static void on_impatience(int number)
{
    (void)number;
    if (ending_speaks)
        say("SIGTERM: ended in the middle of a layer; finished batches keep their parts\n");
    is_ending = 1;
    end((int)ending_code);
}

void wa_signals_hear_requests(void)
{
    struct sigaction request = {.sa_handler = on_request, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &request, NULL);
    sigaction(SIGUSR2, &request, NULL);
}

void wa_signals_hear(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct sigaction request = {.sa_handler = on_request, .sa_flags = SA_RESTART};
    struct sigaction impatience = {.sa_handler = on_impatience};
    sigaction(SIGALRM, &impatience, NULL);
    if (!has_patience && timer_create(CLOCK_MONOTONIC, &event, &patience) == 0)
        has_patience = 1;
    wa_signals_hear_requests();
    sigaction(SIGTERM, &request, NULL);
}

static void on_end(int number)
{
    now = number;
}

void wa_signals_hear_end(void)
{
    static const int ends[] = {SIGINT, SIGHUP, SIGTERM};
    struct sigaction end = {.sa_handler = on_end, .sa_flags = SA_RESTART | (int)SA_RESETHAND};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct sigaction before;
        if (sigaction(ends[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(ends[i], &end, NULL);
    }
}

int wa_signals_heard(void)
{
    return now != 0 ? (int)now : (int)soon;
}

void wa_signals_pass_on(int signal_number)
{
    if (wa_signal_is_urgent(signal_number))
        now = signal_number;
    else
        soon = signal_number;
}

bool wa_signal_is_urgent(int signal_number)
{
    return signal_number == SIGTERM;
}

const char *wa_signal_name(int signal_number)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {{SIGTERM, "SIGTERM"}, {SIGINT, "SIGINT"},   {SIGHUP, "SIGHUP"},
                 {SIGUSR1, "SIGUSR1"}, {SIGUSR2, "SIGUSR2"}, {SIGSEGV, "SIGSEGV"},
                 {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},   {SIGILL, "SIGILL"},
                 {SIGABRT, "SIGABRT"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].number == signal_number)
            return names[i].name;
    return "signal";
}

void wa_signals_prepare(bool speaks)
{
    ending_speaks = speaks;
}

void wa_signals_resumable(void)
{
    if (ending_code != EXIT_RESUMABLE)
        tell(WA_LAUNCH_RESUMABLE);
    ending_code = EXIT_RESUMABLE;
}

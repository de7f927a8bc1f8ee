/* A child process and the socket to it. */
#define _GNU_SOURCE /* posix_spawn_file_actions_addchdir_np, addclosefrom_np */
#include "remote/process.h"

#include "base/clock.h"
#include "base/signals.h"
#include "walkaudit/external_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SLICE_MS = 100 };
static const double FAREWELL = 2.0; /* seconds that a program has for its own end */

/* Ranks have sockets, mapped files and the lock of a result open: none of it is the program's. */
static int set_up(posix_spawn_file_actions_t *actions, const char *directory, int theirs)
{
    int failed = posix_spawn_file_actions_addchdir_np(actions, directory);
    if (failed == 0)
        failed = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(actions, STDERR_FILENO, STDOUT_FILENO);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(actions, theirs, WALKAUDIT_REQUESTS);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(actions, WALKAUDIT_REQUESTS, WALKAUDIT_ANSWERS);
    if (failed == 0)
        failed = posix_spawn_file_actions_addclosefrom_np(actions, WALKAUDIT_ANSWERS + 1);
    return failed;
}

/* Handlers of ours end at exec by themselves; what is ignored would stay so (SIGXFSZ), and a
 * blocked signal blocked. */
static int set_signals(posix_spawnattr_t *attributes)
{
    sigset_t none, standard;
    sigemptyset(&none);
    sigemptyset(&standard);
    sigaddset(&standard, SIGXFSZ);
    sigaddset(&standard, SIGPIPE);
    int failed = posix_spawnattr_setpgroup(attributes, 0);
    if (failed == 0)
        failed = posix_spawnattr_setsigmask(attributes, &none);
    if (failed == 0)
        failed = posix_spawnattr_setsigdefault(attributes, &standard);
    if (failed == 0)
        failed = posix_spawnattr_setflags(
            attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return failed;
}

static int spawn(const char *command, const char *directory, int theirs, pid_t *pid)
{
    char shell[] = "sh", option[] = "-c";
    char *words[] = {shell, option, (char *)command, NULL}; /* POSIX: exec changes none of them */
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed != 0)
        return failed;
    failed = posix_spawnattr_init(&attributes);
    if (failed == 0) {
        failed = set_up(&actions, directory, theirs);
        if (failed == 0)
            failed = set_signals(&attributes);
        if (failed == 0)
            failed = posix_spawn(pid, "/bin/sh", &actions, &attributes, words, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

wa_status wa_process_open(const char *command, const char *directory, double seconds,
                          wa_process *out, wa_error *err)
{
    int ends[2];
    pid_t pid;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return wa_fail(err, WA_E_IO, "cannot make a socket for a program: %s", strerror(errno));
    int failed =
        fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 ? spawn(command, directory, ends[1], &pid) : errno;
    close(ends[1]);
    if (failed != 0) {
        close(ends[0]);
        return wa_fail(err, WA_E_IO, "cannot start a program in '%s': %s", directory,
                       strerror(failed));
    }
    *out = (wa_process){.pid = pid, .channel = ends[0], .seconds = seconds};
    return WA_OK;
}

double wa_process_deadline(const wa_process *process)
{
    return wa_clock() + process->seconds;
}

/* Has it ended, or does it before `deadline`? */
static bool await_end(const wa_process *process, double deadline, int *how)
{
    struct timespec moment = {.tv_nsec = 5000000L};
    for (;;) {
        pid_t ended = waitpid(process->pid, how, WNOHANG);
        if (ended == process->pid || (ended < 0 && errno != EINTR))
            return true;
        if (wa_clock() >= deadline)
            return false;
        nanosleep(&moment, NULL);
    }
}

/* Close the channel and leave nothing of a program that runs. Did it end by itself, and how? */
static bool end(wa_process *process, double patience, int *how)
{
    close(process->channel);
    bool ended = await_end(process, wa_clock() + patience, how);
    if (!ended)
        kill(process->pid, SIGKILL); /* it may have left its group */
    kill(-process->pid, SIGKILL);    /* what it started as well, if that has not ended */
    while (!ended && waitpid(process->pid, how, 0) < 0 && errno == EINTR)
        continue;
    *process = (wa_process){.pid = 0};
    return ended;
}

void wa_process_close(wa_process *process)
{
    int how;
    if (process->pid != 0) /* an urgent signal leaves no two seconds */
        end(process, wa_signal_is_urgent(wa_signals_heard()) ? 0.0 : FAREWELL, &how);
}

void wa_process_kill(wa_process *process)
{
    int how;
    if (process->pid != 0)
        end(process, 0.0, &how);
}

/* It closed its end. A program that is about to end is given the time to do so, as its code says
 * why. */
static wa_status fail_ended(wa_process *process, wa_error *err)
{
    int how = 0;
    if (!end(process, FAREWELL, &how))
        return wa_fail(err, WA_E_IO, "the program closed its connection");
    if (WIFSIGNALED(how))
        return wa_fail(err, WA_E_IO, "the program was ended by signal %d (%s)", WTERMSIG(how),
                       strsignal(WTERMSIG(how)));
    return wa_fail(err, WA_E_IO, "the program ended with code %d", WEXITSTATUS(how));
}

/* Wait until the channel can be used. A signal that asks for our end is not kept waiting, and a
 * program that always has a few bytes more has no longer than one that has none. */
static wa_status await_channel(wa_process *process, short events, double deadline, wa_error *err)
{
    for (;;) {
        struct pollfd one = {.fd = process->channel, .events = events};
        if (wa_signal_is_urgent(wa_signals_heard())) {
            wa_process_kill(process);
            return wa_fail(err, WA_E_STOPPED, "abandoned");
        }
        bool ready = poll(&one, 1, SLICE_MS) > 0, late = wa_clock() >= deadline;
        if (ready && !late)
            return WA_OK;
        if (!late)
            continue;
        double seconds = process->seconds;
        wa_process_kill(process);
        return wa_fail(err, WA_E_IO, "the program did not %s within %g s and was killed",
                       events == POLLIN ? "answer" : "read its request", seconds);
    }
}

wa_status wa_process_send(wa_process *process, const void *bytes, size_t size, double deadline,
                          wa_error *err)
{
    const char *at = bytes;
    if (process->pid == 0)
        return wa_fail(err, WA_E_IO, "the program has ended");
    while (size > 0) {
        ssize_t sent = send(process->channel, at, size, MSG_NOSIGNAL);
        if (sent >= 0) {
            at += sent;
            size -= (size_t)sent;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            WA_TRY(await_channel(process, POLLOUT, deadline, err));
        } else if (errno != EINTR) {
            return fail_ended(process, err);
        }
    }
    return WA_OK;
}

wa_status wa_process_receive(wa_process *process, void *bytes, size_t size, double deadline,
                             wa_error *err)
{
    char *at = bytes;
    if (process->pid == 0)
        return wa_fail(err, WA_E_IO, "the program has ended");
    while (size > 0) {
        ssize_t got = recv(process->channel, at, size, 0);
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        } else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            WA_TRY(await_channel(process, POLLIN, deadline, err));
        } else if (got == 0 || errno != EINTR) {
            return fail_ended(process, err);
        }
    }
    return WA_OK;
}

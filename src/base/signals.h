/* Signals: what was asked of this process, and a last word when a mapped file is cut short under
 * it. */
#ifndef WALKAUDIT_BASE_SIGNALS_H
#define WALKAUDIT_BASE_SIGNALS_H

#include "base/status.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

/**
 * Once, before files are mapped, and again after MPI_Init, which has handlers of its own. SIGBUS in
 * a mapped file writes one line that names it and ends the process with code 3. Writing past a
 * limit of file size becomes an error of write(2) instead of SIGXFSZ.
 */
void wa_signals_guard(void);

/** Hear SIGUSR1, SIGUSR2 and SIGTERM from now on instead of dying of them. */
void wa_signals_hear(void);
/** The same of SIGUSR1 and SIGUSR2 alone: for the time before MPI has started. */
void wa_signals_hear_requests(void);
/**
 * Hear SIGINT, SIGHUP and SIGTERM, once each: the same signal again ends the process at once. For
 * work that leaves something behind when it just ends. What is ignored (nohup) stays ignored.
 */
void wa_signals_hear_end(void);
/** The gravest signal heard so far: those that end, before SIGUSR1 and SIGUSR2; 0 = none. */
int wa_signals_heard(void);
/** As if this process had got the signal that another rank tells of. */
void wa_signals_pass_on(int signal_number);
/** Does this signal leave no time: abandon what is in flight? */
bool wa_signal_is_urgent(int signal_number);
/** "SIGTERM" and so on. Safe in a handler. */
const char *wa_signal_name(int signal_number);

/**
 * How this process ends when SIGTERM finds it in a step too long to wait for: shortly before
 * mpirun's SIGKILL, by _exit. speaks: also say so on stderr. The code is 3, from
 * wa_signals_resumable on 75.
 */
void wa_signals_prepare(bool speaks);
/** A file in which whoever ends this process, a handler too, says with which code: in one byte; and
 * wa_signals_resumable that it was called. It stays open. */
void wa_signals_tell_in(int descriptor);
/** This process is about to end with this code: say so there, if there is a file. SIGTERM from now on
 * ends it with this code, and without a line. Safe in a handler. */
void wa_signals_tell(int code);
void wa_signals_resumable(void);

/** Signals that a defect raises: SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT. */
enum { WA_SIGNALS_DEADLY = 5 };
extern const int wa_signals_deadly[WA_SIGNALS_DEADLY];
/** Of a deadly signal: end the process, if it is known what this is about, or return. In a
 * handler. */
typedef void wa_signals_answer(int number, const siginfo_t *info);
/**
 * From the main thread: ask this one of deadly signals, in any thread.
 * When all that were asked for return, the signal is what it was before. Say it again where others
 * may have put handlers in the place, as MPI does when it starts; cheap.
 */
void wa_signals_ask(wa_signals_answer *answer);

/** A line, newline included, to stderr, and the end of the process with code 3. Safe in a
 * handler. */
_Noreturn void wa_signals_last_word(const char *line);
/** Is a handler of ours ending the process? */
bool wa_signals_are_ending(void);

/** Used by wa_map_open and wa_map_close: the range of a mapped file. The name is copied. False: no
 * memory. */
WA_CHECKED bool wa_signals_watch(const void *at, size_t size, const char *path);
void wa_signals_unwatch(const void *at);

#endif

/* A program that the audit starts and talks to: bytes to it and from it, each within a time
 * limit. */
#ifndef WALKAUDIT_REMOTE_PROCESS_H
#define WALKAUDIT_REMOTE_PROCESS_H

#include "base/status.h"

#include <sys/types.h>

/** A running program. A plain value; zeroed = none. */
typedef struct wa_process {
    pid_t pid;      /* also of its process group; 0 = none */
    int channel;    /* our end of a socket pair; its ends are file descriptors 3 and 4 */
    double seconds; /* limit of one exchange */
} wa_process;

/**
 * Start `sh -c command` in a directory, in a process group of its own, with nothing of ours open
 * but standard error. Local. Errors: WA_E_IO (no socket, no process).
 */
WA_CHECKED wa_status wa_process_open(const char *command, const char *directory, double seconds,
                                     wa_process *out, wa_error *err);
/** An exchange begins: its time limit runs from here over all that is sent and received until the
 * next. */
double wa_process_deadline(const wa_process *process);
/**
 * All of so many bytes, before `deadline` (wa_clock). Errors: WA_E_IO (the program ended, and how;
 * it did not take or give the bytes in time), WA_E_STOPPED (a signal asks for this process's end).
 */
WA_CHECKED wa_status wa_process_send(wa_process *process, const void *bytes, size_t size,
                                     double deadline, wa_error *err);
WA_CHECKED wa_status wa_process_receive(wa_process *process, void *bytes, size_t size,
                                        double deadline, wa_error *err);
/** Tell it that nothing more comes, wait two seconds at most, then kill it with its group. */
void wa_process_close(wa_process *process);
/** Kill it at once: it broke the protocol. */
void wa_process_kill(wa_process *process);

#endif

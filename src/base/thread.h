/* Threads beside the one that computes: ours, and how many there are of others. */
#ifndef WALKAUDIT_BASE_THREAD_H
#define WALKAUDIT_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/**
 * Start a thread, to be joined, in which no signal is handled: the handlers were written for the
 * thread that computes. SIGBUS alone reaches it, since that is of a mapped file that was cut short.
 *
 * attributes  as of pthread_create; NULL = the usual ones
 * Returns 0, or the cause as errno has it.
 */
int wa_thread_start(pthread_t *out, const pthread_attr_t *attributes, void *(*work)(void *context),
                    void *context);

/** The calling thread is ours, though nobody started it here: the main thread. */
void wa_thread_adopt(void);
/** Is the calling thread ours? Safe in a handler. */
bool wa_thread_is_ours(void);
/** Threads of this process that are not: MPI's, and those of libraries. -1 = cannot tell. A thread
 * that has just been joined may still count. */
int wa_thread_count_others(void);

#endif

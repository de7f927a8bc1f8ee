/* A thread beside the one that computes. */
#ifndef WALKAUDIT_BASE_THREAD_H
#define WALKAUDIT_BASE_THREAD_H

#include <pthread.h>

/**
 * Start a thread, to be joined, in which no signal is handled: the handlers were written for the
 * thread that computes. SIGBUS alone reaches it, since that is of a mapped file that was cut short.
 *
 * attributes  as of pthread_create; NULL = the usual ones
 * Returns 0, or the cause as errno has it.
 */
int wa_thread_start(pthread_t *out, const pthread_attr_t *attributes, void *(*work)(void *context),
                    void *context);

#endif

/* A thread beside the one that computes. */
#include "base/thread.h"

#include <signal.h>

int wa_thread_start(pthread_t *out, const pthread_attr_t *attributes, void *(*work)(void *context),
                    void *context)
{
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a thread begins with its maker's */
    int refused = pthread_create(out, attributes, work, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return refused;
}

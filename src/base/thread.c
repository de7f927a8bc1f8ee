/* Threads beside the one that computes. */
#include "base/thread.h"

#include <dirent.h>
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>

/* What a new thread is told, by whoever waits for it to have read that. */
typedef struct beginning {
    void *(*work)(void *context);
    void *context;
    sem_t is_read;
} beginning;

static _Thread_local bool is_ours;
static atomic_int ours; /* threads, of which one is the main thread once it is adopted */

void wa_thread_adopt(void)
{
    if (!is_ours)
        atomic_fetch_add(&ours, 1);
    is_ours = true;
}

bool wa_thread_is_ours(void)
{
    return is_ours;
}

static void *begin(void *told)
{
    beginning *b = told;
    void *(*work)(void *context) = b->work;
    void *context = b->context;
    is_ours = true;
    sem_post(&b->is_read);
    void *answer = work(context);
    atomic_fetch_sub(&ours, 1);
    return answer;
}

static int start(pthread_t *out, const pthread_attr_t *attributes, beginning *b)
{
    atomic_fetch_add(&ours, 1);
    int refused = pthread_create(out, attributes, begin, b);
    if (refused != 0)
        atomic_fetch_sub(&ours, 1);
    while (refused == 0 && sem_wait(&b->is_read) != 0) /* a signal came between */
        continue;
    return refused;
}

int wa_thread_start(pthread_t *out, const pthread_attr_t *attributes, void *(*work)(void *context),
                    void *context)
{
    beginning b = {.work = work, .context = context};
    sigset_t all, before;
    if (sem_init(&b.is_read, 0, 0) != 0)
        return errno;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a thread begins with its maker's */
    int refused = start(out, attributes, &b);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sem_destroy(&b.is_read);
    return refused;
}

int wa_thread_count_others(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    if (tasks == NULL)
        return -1;
    for (const struct dirent *entry; (entry = readdir(tasks)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(tasks);
    return count - atomic_load(&ours);
}

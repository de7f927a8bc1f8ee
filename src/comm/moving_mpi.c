/* Messages that move while a rank computes. MPI moves a large one only inside its own calls, unless
 * the transport happens to copy it by itself (cross-memory attach, RDMA), so a thread makes such
 * calls meanwhile. */
#include "comm/comm_private_mpi.h"

#include "base/thread.h"

#include <string.h>
#include <time.h>

/* Between two looks. Most of the way of a large message is pieces that sender and receiver hand on
 * in turn; a look with nothing to do takes a few microseconds of the core. */
enum { PAUSE_NS = 100000 };

static void *keep_moving(void *context)
{
    wa_comm *comm = context;
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    pthread_mutex_lock(&comm->lock);
    while (!comm->ending) {
        if (comm->large == 0 || comm->failed != WA_OK) {
            pthread_cond_wait(&comm->woken, &comm->lock);
            continue;
        }
        comm->failed = wa_tickets_test(comm, &comm->failure);
        pthread_mutex_unlock(&comm->lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&comm->lock);
    }
    pthread_mutex_unlock(&comm->lock);
    return NULL;
}

wa_status wa_comm_keep_moving(wa_comm *comm, wa_error *err)
{
    int level = MPI_THREAD_SINGLE;
    WA_TRY_MPI(MPI_Query_thread, (&level));
    if (comm->size == 1 || level < MPI_THREAD_MULTIPLE)
        return WA_OK;
    comm->ending = false;
    int refused = wa_thread_start(&comm->thread, NULL, keep_moving, comm);
    if (refused != 0)
        return wa_fail(err, WA_E_MEMORY, "cannot start a thread: %s", strerror(refused));
    comm->moving = true;
    return WA_OK;
}

void wa_comm_rest(wa_comm *comm)
{
    if (!comm->moving)
        return;
    pthread_mutex_lock(&comm->lock);
    comm->ending = true;
    pthread_cond_signal(&comm->woken);
    pthread_mutex_unlock(&comm->lock);
    pthread_join(comm->thread, NULL);
    comm->moving = false;
}

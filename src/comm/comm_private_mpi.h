/* What the two files of comm share. */
#ifndef WALKAUDIT_COMM_COMM_PRIVATE_MPI_H
#define WALKAUDIT_COMM_COMM_PRIVATE_MPI_H

#include "base/arena.h"
#include "comm/comm.h"

#include <mpi.h>
#include <pthread.h>

/* Messages under way at once on one rank. Each slot, ring and collector has a fixed number of them,
 * so the sum is known: grants to every rank dominate. */
enum { WA_TICKETS_PER_RANK = 16, WA_TICKETS_LEAST = 1024 };

struct wa_comm {
    MPI_Comm mpi; /* private duplicate, errors returned */
    int rank, size;
    int nodes;
    int node_ranks;     /* ranks of this communicator on this node */
    int run_node_ranks; /* ranks of the whole run on this node */
    char host[MPI_MAX_PROCESSOR_NAME];
    wa_arena *arena; /* owned; holds this struct too */
    wa_traffic sent; /* point to point, by this rank */

    int *host_of;        /* [size] the lowest rank that shares memory with each */
    uint64_t nonce;      /* for names of shared memory: of no other communicator */
    int rings;           /* asked for so far */
    size_t shared_bytes; /* of the largest ring made here */

    /* Tickets: requests[i] with its state. Free ones form a stack; live ones are dense in `active`
     * for MPI_Testsome. */
    int capacity;
    MPI_Request *requests; /* [capacity] */
    uint8_t *done;         /* [capacity] completed, not yet asked for */
    int *free_stack;       /* [capacity] */
    int free_count;
    int high;             /* one more than the highest ticket ever used */
    int *indices;         /* [capacity] scratch of MPI_Testsome */
    MPI_Status *statuses; /* [capacity] scratch */

    /* The thread that keeps messages moving (moving_mpi.c). The lock guards tickets and the calls
     * that use them. */
    bool moving;      /* there is one */
    bool ending;      /* it shall end */
    int large;        /* live tickets of messages that are not sent at once */
    bool *is_large;   /* [capacity] */
    wa_status failed; /* what it met; told by wa_comm_poll */
    wa_error failure;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t woken; /* large or ending changed */
};

wa_status wa_mpi_failed(int code, const char *call, wa_error *err);
wa_status wa_tickets_start(wa_comm *comm, wa_error *err);
/* MPI_Testsome over all tickets; the lock is held. */
wa_status wa_tickets_test(wa_comm *comm, wa_error *err);

#define WA_TRY_MPI(function, arguments)                                                            \
    do {                                                                                           \
        int code_ = function arguments;                                                            \
        if (code_ != MPI_SUCCESS)                                                                  \
            return wa_mpi_failed(code_, #function, err);                                           \
    } while (0)

#endif

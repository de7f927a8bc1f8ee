/* Point-to-point messages: every send and receive is non-blocking and known by a ticket. */
#include "comm/comm_private_mpi.h"

#include <limits.h>

wa_status wa_tickets_start(wa_comm *comm, wa_error *err)
{
    comm->capacity = WA_TICKETS_LEAST + WA_TICKETS_PER_RANK * comm->size;
    size_t count = (size_t)comm->capacity;
    WA_TRY(wa_arena_take(comm->arena, count, sizeof *comm->requests, &comm->requests, err));
    WA_TRY(wa_arena_take(comm->arena, count, sizeof *comm->done, &comm->done, err));
    WA_TRY(wa_arena_take(comm->arena, count, sizeof *comm->free_stack, &comm->free_stack, err));
    WA_TRY(wa_arena_take(comm->arena, count, sizeof *comm->indices, &comm->indices, err));
    WA_TRY(wa_arena_take(comm->arena, count, sizeof *comm->statuses, &comm->statuses, err));
    WA_TRY(wa_arena_take(comm->arena, count, sizeof *comm->is_large, &comm->is_large, err));
    pthread_mutex_init(&comm->lock, NULL);
    pthread_cond_init(&comm->woken, NULL);
    for (int i = 0; i < comm->capacity; i++) {
        comm->requests[i] = MPI_REQUEST_NULL;
        comm->free_stack[i] = comm->capacity - 1 - i; /* low tickets first */
    }
    comm->free_count = comm->capacity;
    return WA_OK;
}

/* Every transport sends what is no larger than this at once; more may need answers of the receiver
 * on the way. */
enum { LARGE = 256 };

static wa_status take_ticket(wa_comm *comm, size_t size, wa_ticket *out, wa_error *err)
{
    if (comm->free_count == 0)
        return wa_fail(err, WA_E_INTERNAL, "more than %d messages under way", comm->capacity);
    wa_ticket ticket = comm->free_stack[--comm->free_count];
    comm->done[ticket] = 0;
    comm->is_large[ticket] = size > LARGE;
    if (ticket >= comm->high)
        comm->high = ticket + 1;
    *out = ticket;
    return WA_OK;
}

/* A request was made for the ticket. */
static void begin(wa_comm *comm, wa_ticket ticket)
{
    if (comm->is_large[ticket] && comm->large++ == 0)
        pthread_cond_signal(&comm->woken);
}

static void give_back(wa_comm *comm, wa_ticket ticket)
{
    comm->requests[ticket] = MPI_REQUEST_NULL;
    comm->free_stack[comm->free_count++] = ticket;
}

/* What is sent or received in one call: MPI counts in int, so more bytes are pieces and a rest. */
typedef struct shape {
    int count;
    MPI_Datatype type;
    bool is_made;
} shape;

static wa_status open_shape(size_t size, shape *out, wa_error *err)
{
    enum { PIECE = 1 << 30 };
    *out = (shape){.count = (int)size, .type = MPI_BYTE};
    if (size <= INT_MAX)
        return WA_OK;
    size_t pieces = size / PIECE;
    int lengths[] = {(int)pieces, (int)(size % PIECE)};
    MPI_Aint starts[] = {0, (MPI_Aint)(pieces * PIECE)};
    MPI_Datatype types[] = {MPI_DATATYPE_NULL, MPI_BYTE};
    *out = (shape){.count = 1, .is_made = true};
    WA_TRY_MPI(MPI_Type_contiguous, (PIECE, MPI_BYTE, &types[0]));
    WA_TRY_MPI(MPI_Type_create_struct, (2, lengths, starts, types, &out->type));
    WA_TRY_MPI(MPI_Type_free, (&types[0]));
    WA_TRY_MPI(MPI_Type_commit, (&out->type));
    return WA_OK;
}

/* Messages under way keep it. */
static wa_status close_shape(shape *of, wa_error *err)
{
    if (of->is_made)
        WA_TRY_MPI(MPI_Type_free, (&of->type));
    return WA_OK;
}

static wa_status post_send(wa_comm *comm, int rank, wa_tag tag, const void *bytes, size_t size,
                           wa_ticket *out, wa_error *err)
{
    wa_ticket ticket = WA_TICKET_NONE;
    shape of;
    WA_TRY(take_ticket(comm, size, &ticket, err));
    WA_TRY(open_shape(size, &of, err));
    WA_TRY_MPI(MPI_Isend,
               (bytes, of.count, of.type, rank, (int)tag, comm->mpi, &comm->requests[ticket]));
    begin(comm, ticket);
    WA_TRY(close_shape(&of, err));
    *out = ticket;
    if (tag == WA_TAG_NOTICE)
        return WA_OK;
    comm->sent.messages++;
    comm->sent.bytes += (int64_t)size;
    comm->sent.bytes_to_root += rank == 0 ? (int64_t)size : 0;
    return WA_OK;
}

static wa_status post_receive(wa_comm *comm, int rank, wa_tag tag, void *bytes, size_t size,
                              wa_ticket *out, wa_error *err)
{
    wa_ticket ticket = WA_TICKET_NONE;
    shape of;
    WA_TRY(take_ticket(comm, size, &ticket, err));
    WA_TRY(open_shape(size, &of, err));
    WA_TRY_MPI(MPI_Irecv,
               (bytes, of.count, of.type, rank, (int)tag, comm->mpi, &comm->requests[ticket]));
    begin(comm, ticket);
    WA_TRY(close_shape(&of, err));
    *out = ticket;
    return WA_OK;
}

wa_status wa_comm_send(wa_comm *comm, int rank, wa_tag tag, const void *bytes, size_t size,
                       wa_ticket *out, wa_error *err)
{
    pthread_mutex_lock(&comm->lock);
    wa_status status = post_send(comm, rank, tag, bytes, size, out, err);
    pthread_mutex_unlock(&comm->lock);
    return status;
}

wa_status wa_comm_receive(wa_comm *comm, int rank, wa_tag tag, void *bytes, size_t size,
                          wa_ticket *out, wa_error *err)
{
    pthread_mutex_lock(&comm->lock);
    wa_status status = post_receive(comm, rank, tag, bytes, size, out, err);
    pthread_mutex_unlock(&comm->lock);
    return status;
}

wa_traffic wa_comm_traffic(const wa_comm *comm)
{
    return comm->sent;
}

wa_status wa_tickets_test(wa_comm *comm, wa_error *err)
{
    if (comm->high == 0)
        return WA_OK;
    int finished = 0;
    WA_TRY_MPI(MPI_Testsome,
               (comm->high, comm->requests, &finished, comm->indices, comm->statuses));
    for (int i = 0; finished != MPI_UNDEFINED && i < finished; i++) {
        comm->done[comm->indices[i]] = 1;
        comm->large -= comm->is_large[comm->indices[i]];
    }
    return WA_OK;
}

wa_status wa_comm_poll(wa_comm *comm, wa_error *err)
{
    pthread_mutex_lock(&comm->lock);
    wa_status status = comm->failed;
    if (status != WA_OK)
        *err = comm->failure;
    else
        status = wa_tickets_test(comm, err);
    pthread_mutex_unlock(&comm->lock);
    return status;
}

bool wa_comm_is_done(wa_comm *comm, wa_ticket *ticket)
{
    if (*ticket == WA_TICKET_NONE)
        return true;
    pthread_mutex_lock(&comm->lock);
    bool done = comm->done[*ticket];
    if (done)
        give_back(comm, *ticket);
    pthread_mutex_unlock(&comm->lock);
    if (done)
        *ticket = WA_TICKET_NONE;
    return done;
}

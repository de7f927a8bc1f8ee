/* Ranks over MPI: start and end, agreement, broadcast, gather. Point to point is in
 * tickets_mpi.c. */
#include "comm/comm_private_mpi.h"

#include "base/foreign.h"
#include "base/launched.h"
#include "base/signals.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

wa_status wa_mpi_failed(int code, const char *call, wa_error *err)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    return wa_fail(err, WA_E_MPI, "%s failed: %s", call, text);
}

/* Hosts are told apart by the lowest rank that shares memory with them: that rank, and how many
 * share it. */
static wa_status find_host(MPI_Comm mpi, int *lowest, int *sharers, wa_error *err)
{
    MPI_Comm node;
    int rank = 0;
    WA_TRY_MPI(MPI_Comm_rank, (mpi, &rank));
    WA_TRY_MPI(MPI_Comm_split_type, (mpi, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
    *lowest = rank;
    MPI_Bcast(lowest, 1, MPI_INT, 0, node);
    MPI_Comm_size(node, sharers);
    MPI_Comm_free(&node);
    return WA_OK;
}

static wa_status find_nodes(wa_comm *comm, wa_error *err)
{
    int lowest = 0;
    WA_TRY(find_host(comm->mpi, &lowest, &comm->node_ranks, err));
    comm->run_node_ranks = comm->node_ranks;
    WA_TRY_MPI(MPI_Allgather, (&lowest, 1, MPI_INT, comm->host_of, 1, MPI_INT, comm->mpi));
    int leads = lowest == comm->rank;
    WA_TRY_MPI(MPI_Allreduce, (&leads, &comm->nodes, 1, MPI_INT, MPI_SUM, comm->mpi));
    return WA_OK;
}

/* Of no other communicator on this host, now or in a while: rank 0's process and time. */
static wa_status draw_nonce(wa_comm *comm, wa_error *err)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    comm->nonce = ((uint64_t)getpid() << 40) ^ ((uint64_t)now.tv_sec << 30) ^ (uint64_t)now.tv_nsec;
    WA_TRY_MPI(MPI_Bcast, (&comm->nonce, 1, MPI_UINT64_T, 0, comm->mpi));
    return WA_OK;
}

/* The ranks of a host become neighbours, however the launcher dealt them; rank 0 stays. */
static wa_status order_by_host(MPI_Comm *out, wa_error *err)
{
    int lowest = 0, sharers = 0;
    WA_TRY(find_host(MPI_COMM_WORLD, &lowest, &sharers, err));
    WA_TRY_MPI(MPI_Comm_split, (MPI_COMM_WORLD, 0, lowest, out));
    return WA_OK;
}

/* What a rank can do without the others. */
static wa_status prepare(wa_comm *comm, wa_error *err)
{
    WA_TRY_MPI(MPI_Comm_set_errhandler, (comm->mpi, MPI_ERRORS_RETURN));
    WA_TRY_MPI(MPI_Comm_rank, (comm->mpi, &comm->rank));
    WA_TRY_MPI(MPI_Comm_size, (comm->mpi, &comm->size));
    int length = 0;
    WA_TRY_MPI(MPI_Get_processor_name, (comm->host, &length));
    WA_TRY(
        wa_arena_take(comm->arena, (size_t)comm->size, sizeof *comm->host_of, &comm->host_of, err));
    return wa_tickets_start(comm, err);
}

/* NULL on failure. */
static wa_status make(MPI_Comm mpi, wa_comm **out, wa_error *err)
{
    wa_arena *arena;
    wa_comm *comm;
    *out = NULL;
    WA_TRY(wa_arena_open("comm", 0, &arena, err));
    wa_status status = wa_arena_take(arena, 1, sizeof *comm, &comm, err);
    if (status == WA_OK) {
        comm->arena = arena;
        comm->mpi = mpi;
        status = prepare(comm, err);
    }
    if (status == WA_OK)
        *out = comm;
    else
        wa_arena_close(arena);
    return status;
}

/* Say in the error of a rank that failed which one it is, unless that was said. */
static wa_status name_rank(MPI_Comm mpi, wa_status mine, wa_error *err)
{
    int rank = 0, size = 0;
    WA_TRY_MPI(MPI_Comm_rank, (mpi, &rank));
    WA_TRY_MPI(MPI_Comm_size, (mpi, &size));
    if (mine != WA_OK && size > 1 && strstr(err->text, "on rank ") == NULL)
        wa_note(err, "on rank %d of %d", rank, size);
    return WA_OK;
}

/* The lowest rank that failed speaks for all. */
static wa_status agree(MPI_Comm mpi, wa_status mine, wa_error *err)
{
    int rank = 0, speaker = INT_MAX;
    WA_TRY_MPI(MPI_Comm_rank, (mpi, &rank));
    int vote = mine == WA_OK ? INT_MAX : rank;
    WA_TRY_MPI(MPI_Allreduce, (&vote, &speaker, 1, MPI_INT, MPI_MIN, mpi));
    if (speaker == INT_MAX)
        return WA_OK;
    WA_TRY_MPI(MPI_Bcast, (err, (int)sizeof *err, MPI_BYTE, speaker, mpi));
    return err->status;
}

/* Collective over `mpi`, which the result owns. A failing rank is named by its number among those of
 * `whole`. */
static wa_status adopt(MPI_Comm mpi, MPI_Comm whole, wa_comm **out, wa_error *err)
{
    wa_comm *comm;
    wa_status status = make(mpi, &comm, err);
    WA_TRY(name_rank(whole, status, err));
    status = agree(mpi, status, err);
    if (comm == NULL) /* which was agreed on */
        return status;
    if (status == WA_OK)
        status = find_nodes(comm, err);
    if (status == WA_OK)
        status = draw_nonce(comm, err);
    if (status == WA_OK)
        *out = comm;
    else
        wa_arena_close(comm->arena);
    return status;
}

/* Asked for: HDF5 calls MPI too, so more than one thread may at once; wa_comm_keep_moving looks what
 * there is. */
static wa_status init(int *argc, char ***argv, wa_error *err)
{
    int level;
    WA_TRY_MPI(MPI_Init_thread, (argc, argv, MPI_THREAD_MULTIPLE, &level));
    return WA_OK;
}

/* Open MPI gives a lone process a daemon, for ranks that it may start later, and looks for fabrics,
 * which takes a fifth of a second where Omni-Path's libraries are installed. A lone process here
 * starts no ranks and speaks to none. Without the daemon all lone processes of a user have the same
 * session directory, which one removes while the next makes it: MPI_Init failed in 4 of 600 runs.
 * Other MPIs do not read these variables, and programs that we start do not get them. */
static wa_status init_alone(int *argc, char ***argv, wa_error *err)
{
    static const struct {
        const char *name, *value;
    } wishes[] = {{"OMPI_MCA_ess_singleton_isolated", "1"},
                  {"OMPI_MCA_orte_create_session_dirs", "false"},
                  {"OMPI_MCA_pml", "ob1"}};
    enum { WISHES = sizeof wishes / sizeof wishes[0] };
    bool ours[WISHES];
    for (size_t i = 0; i < WISHES; i++) {
        ours[i] = getenv(wishes[i].name) == NULL;
        setenv(wishes[i].name, wishes[i].value, 0);
    }
    wa_status status = init(argc, argv, err);
    for (size_t i = 0; i < WISHES; i++)
        if (ours[i])
            unsetenv(wishes[i].name);
    return status;
}

wa_status wa_comm_open(int *argc, char ***argv, wa_comm **out, wa_error *err)
{
    WA_TRY((wa_launched_by() == NULL ? init_alone : init)(argc, argv, err));
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm mpi;
    WA_TRY(order_by_host(&mpi, err));
    return adopt(mpi, mpi, out, err);
}

wa_status wa_comm_split(wa_comm *comm, int colour, wa_comm **out, wa_error *err)
{
    MPI_Comm mpi;
    WA_TRY_MPI(MPI_Comm_split, (comm->mpi, colour, comm->rank, &mpi));
    wa_comm *part = NULL;
    WA_TRY(wa_comm_agree(comm, adopt(mpi, comm->mpi, &part, err), err));
    assert(part != NULL); /* where all agree that they have it */
    part->run_node_ranks = comm->run_node_ranks;
    *out = part;
    return WA_OK;
}

void wa_comm_leave(wa_comm *part)
{
    if (part == NULL)
        return;
    wa_comm_rest(part);
    MPI_Comm_free(&part->mpi);
    wa_arena_close(part->arena);
}

void wa_comm_close(wa_comm *comm)
{
    if (comm == NULL)
        return;
    wa_comm_leave(comm);
    MPI_Finalize();
}

void wa_comm_abort(wa_comm *comm, int exit_code)
{
    wa_foreign_expect_exit();
    wa_signals_tell(exit_code);
    MPI_Abort(comm == NULL ? MPI_COMM_WORLD : comm->mpi, exit_code);
    exit(exit_code);
}

int wa_comm_rank(const wa_comm *comm)
{
    return comm->rank;
}

int wa_comm_size(const wa_comm *comm)
{
    return comm->size;
}

int wa_comm_nodes(const wa_comm *comm)
{
    return comm->nodes;
}

int wa_comm_ranks_of_node(const wa_comm *comm, bool of_run)
{
    return of_run ? comm->run_node_ranks : comm->node_ranks;
}

const char *wa_comm_host(const wa_comm *comm)
{
    return comm->host;
}

/* Other than the macros of its headers, this is what the loader chose. Some print lines on how it
 * was built, too. */
void wa_comm_library(char *out, size_t size)
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "unknown";
    int length = 0;
    (void)MPI_Get_library_version(text, &length); /* allowed before MPI_Init */
    text[strcspn(text, "\n,")] = '\0';
    for (char *at = text; *at != '\0'; at++)
        if (*at == '\t')
            *at = ' ';
    snprintf(out, size, "%s", text);
}

wa_status wa_comm_vote(wa_comm *comm, wa_status mine, wa_error *err)
{
    WA_TRY(name_rank(comm->mpi, mine, err));
    return agree(comm->mpi, mine, err);
}

/* Collectives count in int; larger buffers go in pieces. */
enum { PIECE = 1 << 30 };

wa_status wa_comm_broadcast(wa_comm *comm, void *bytes, size_t size, wa_error *err)
{
    char *at = bytes;
    for (size_t done = 0; done < size;) {
        size_t left = size - done;
        int count = left < PIECE ? (int)left : PIECE;
        WA_TRY_MPI(MPI_Bcast, (at + done, count, MPI_BYTE, 0, comm->mpi));
        done += (size_t)count;
    }
    return WA_OK;
}

wa_status wa_comm_gather(wa_comm *comm, const void *mine, size_t size, void *out, wa_error *err)
{
    if (size > PIECE)
        return wa_fail(err, WA_E_INTERNAL, "a gathered record has %zu bytes, at most %d", size,
                       PIECE);
    WA_TRY_MPI(MPI_Gather, (mine, (int)size, MPI_BYTE, out, (int)size, MPI_BYTE, 0, comm->mpi));
    return WA_OK;
}

wa_status wa_comm_meet(wa_comm *comm, wa_error *err)
{
    MPI_Request request;
    int met = 0;
    WA_TRY_MPI(MPI_Ibarrier, (comm->mpi, &request));
    WA_TRY_MPI(MPI_Test, (&request, &met, MPI_STATUS_IGNORE));
    while (!met) {
        struct timespec moment = {.tv_nsec = 1000000};
        nanosleep(&moment, NULL);
        WA_TRY_MPI(MPI_Test, (&request, &met, MPI_STATUS_IGNORE));
    }
    return WA_OK;
}

/* Rings between the ranks of a team: who shares memory, and whether the system lets them. */
#include "comm/comm_private_mpi.h"

#include "comm/ring.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

bool wa_comm_share_host(const wa_comm *comm, int first, int count)
{
    for (int r = first + 1; r < first + count; r++)
        if (comm->host_of[r] != comm->host_of[first])
            return false;
    /* For tests on one host of what ranks of several do. */
    return getenv("WALKAUDIT_APART") == NULL;
}

static void name_ring(wa_comm *comm, int writer, char name[WA_RING_NAME])
{
    snprintf(name, WA_RING_NAME, "/walkaudit-%016" PRIx64 "-%d-%d", comm->nonce, writer,
             comm->rings);
}

/* Every rank's answer to a yes-or-no question into comm->indices; nobody goes on before all have
 * answered. */
static wa_status ask_all(wa_comm *comm, bool mine, wa_error *err)
{
    int answer = mine;
    WA_TRY_MPI(MPI_Allgather, (&answer, 1, MPI_INT, comm->indices, 1, MPI_INT, comm->mpi));
    return WA_OK;
}

static bool all_of(const wa_comm *comm, const wa_ring_team *team)
{
    for (int r = team->first; r < team->first + team->count; r++)
        if (!comm->indices[r])
            return false;
    return true;
}

/* MPI_Allreduce and the like would do for windows of MPI (MPI_Win_allocate_shared) too, but Open
 * MPI 4.1's wait for ever where /dev/shm is too small: the one rank that cannot make the segment
 * leaves the others in a broadcast. */
wa_status wa_comm_open_ring(wa_comm *comm, const wa_ring_team *team, const wa_ring_shape *shape,
                            wa_ring *out, wa_error *err)
{
    wa_error refused;
    char name[WA_RING_NAME];
    *out = (wa_ring){.memory = NULL};
    comm->rings++;
    bool wanted = team->count > 1 && wa_comm_share_host(comm, team->first, team->count);
    bool writes = wanted && team->first == comm->rank, has = false;
    name_ring(comm, wanted ? team->first : 0, name);
    if (writes)
        has = wa_ring_make(name, shape, out, &refused) == WA_OK;
    WA_TRY(ask_all(comm, has, err));
    if (wanted && !writes && comm->indices[team->first])
        has = wa_ring_join(name, shape, (size_t)(comm->rank - team->first - 1), out, &refused) ==
              WA_OK;
    WA_TRY(ask_all(comm, has, err));
    if (writes && has)
        wa_ring_unname(name);
    if (has && !all_of(comm, team))
        wa_ring_close(out);
    if (writes && out->memory != NULL && out->size > comm->shared_bytes)
        comm->shared_bytes = out->size;
    return WA_OK;
}

size_t wa_comm_shared_bytes(const wa_comm *comm)
{
    return comm->shared_bytes;
}

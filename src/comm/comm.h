/* Ranks: agreement, broadcast, and non-blocking point-to-point messages behind one wait
 * function. */
#ifndef WALKAUDIT_COMM_COMM_H
#define WALKAUDIT_COMM_COMM_H

#include "comm/ring.h"

typedef struct wa_comm wa_comm;

/** Collective. MPI_Init and a private communicator with errors returned, in which the ranks of a
 * host are neighbours. */
WA_CHECKED wa_status wa_comm_open(int *argc, char ***argv, wa_comm **out, wa_error *err);
/** Collective. MPI_Finalize. */
void wa_comm_close(wa_comm *comm);
/** Collective. The ranks that give the same colour (0 or more) form a communicator of their own, in
 * the order they have here; its messages and agreements meet no others. To be left by
 * wa_comm_leave. */
WA_CHECKED wa_status wa_comm_split(wa_comm *comm, int colour, wa_comm **out, wa_error *err);
/** Collective over `part`. */
void wa_comm_leave(wa_comm *part);
/** The last resort, when agreeing itself has failed; only main calls it. Does not return. */
void wa_comm_abort(wa_comm *comm, int exit_code);

int wa_comm_rank(const wa_comm *comm);
int wa_comm_size(const wa_comm *comm);
/** Number of hosts. */
int wa_comm_nodes(const wa_comm *comm);
/** Ranks on this rank's host: of this communicator, or of the whole run. */
int wa_comm_ranks_of_node(const wa_comm *comm, bool of_run);
const char *wa_comm_host(const wa_comm *comm);
/** Name and version of the MPI library in use, one line, cut to `size`. Local; may be called before
 * wa_comm_open. */
void wa_comm_library(char *out, size_t size);

/* Behind wa_comm_agree. */
wa_status wa_comm_vote(wa_comm *comm, wa_status mine, wa_error *err);
/**
 * Collective. Turn "mine went well or badly" into one answer that all ranks share.
 * err  in/out: on failure every rank leaves with the story of the lowest failing rank
 */
WA_CHECKED static inline wa_status wa_comm_agree(wa_comm *comm, wa_status mine, wa_error *err)
{
    return wa_kept(mine, wa_comm_vote(comm, mine, err));
}
/** Collective. Rank 0's bytes to all. Sizes are equal on all ranks. */
WA_CHECKED wa_status wa_comm_broadcast(wa_comm *comm, void *bytes, size_t size, wa_error *err);
/** Collective. Fixed-size records of every rank to rank 0: out [size * ranks] there, NULL
 * elsewhere. */
WA_CHECKED wa_status wa_comm_gather(wa_comm *comm, const void *mine, size_t size, void *out,
                                    wa_error *err);
/** Collective. Wait for all ranks; the processor is free meanwhile. */
WA_CHECKED wa_status wa_comm_meet(wa_comm *comm, wa_error *err);

/* --- Shared memory ---------------------------------------------------------------------------- */

/** Ranks [first, first + count) of this rank's team, of which the first writes; count 0 or 1: it
 * has no team. */
typedef struct wa_ring_team {
    int first, count;
} wa_ring_team;

/** Do these ranks share memory? */
bool wa_comm_share_host(const wa_comm *comm, int first, int count);
/**
 * Collective over all ranks. One ring for each team; its members give the same team and shape.
 * out->memory is NULL where there is none, because the team is of several hosts or the system has
 * no such memory: the same answer on all members, and no error, since messages serve as well. To be
 * closed by wa_ring_close.
 */
WA_CHECKED wa_status wa_comm_open_ring(wa_comm *comm, const wa_ring_team *team,
                                       const wa_ring_shape *shape, wa_ring *out, wa_error *err);
/** Bytes of the largest ring that this rank has made. */
size_t wa_comm_shared_bytes(const wa_comm *comm);

/* --- Point to point --------------------------------------------------------------------------- */

typedef enum wa_tag {
    WA_TAG_REQUEST = 1,
    WA_TAG_GRANT,
    WA_TAG_REFERENCE,
    WA_TAG_RESIDUAL,
    WA_TAG_BLOCK,
    WA_TAG_DONE,
    WA_TAG_NOTICE,
    WA_TAG_BOX,
    WA_TAG_ASK,
    WA_TAG_ANSWER
} wa_tag;

/** A message under way: an index into the comm's table; WA_TICKET_NONE = none. */
typedef int wa_ticket;
enum { WA_TICKET_NONE = -1 };

/** Start a send or receive of exactly `size` bytes. `bytes` is borrowed until the ticket is done.
 * Messages between two ranks with one tag arrive in order. */
WA_CHECKED wa_status wa_comm_send(wa_comm *comm, int rank, wa_tag tag, const void *bytes,
                                  size_t size, wa_ticket *out, wa_error *err);
WA_CHECKED wa_status wa_comm_receive(wa_comm *comm, int rank, wa_tag tag, void *bytes, size_t size,
                                     wa_ticket *out, wa_error *err);
/** What this rank has sent point to point, to itself too, since the communicator was opened; beside
 * notices, whose number is a matter of time. */
typedef struct wa_traffic {
    int64_t messages, bytes, bytes_to_root; /* root: rank 0 */
} wa_traffic;
wa_traffic wa_comm_traffic(const wa_comm *comm);
/**
 * Local. From now on until wa_comm_rest messages travel while this rank computes, too: a thread
 * pushes them on as long as any is too large to be sent at once. Without it a large one moves only
 * inside wa_comm_poll, whatever the transport. Nothing happens where there is one rank, or no MPI
 * for threads. Errors: WA_E_MEMORY.
 */
WA_CHECKED wa_status wa_comm_keep_moving(wa_comm *comm, wa_error *err);
/** Local. End that. */
void wa_comm_rest(wa_comm *comm);
/** Push every message on; never blocks. The one place where requests are tested. */
WA_CHECKED wa_status wa_comm_poll(wa_comm *comm, wa_error *err);
/** Is it done? A done ticket is given back (and must not be asked again); WA_TICKET_NONE is
 * done. */
bool wa_comm_is_done(wa_comm *comm, wa_ticket *ticket);

#endif

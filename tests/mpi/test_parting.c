/* test_parting: a rank that has no memory for its part of a communicator keeps nobody waiting. Of
 * three ranks two part from the third, and rank 1 fails: all learn of it. Then it has memory. */
#include "base/arena.h"
#include "comm/comm.h"

#include <stdio.h>
#include <string.h>

static bool is_short;

wa_status __real_wa_arena_open(const char *name, size_t limit, wa_arena **out, wa_error *err);
wa_status __wrap_wa_arena_open(const char *name, size_t limit, wa_arena **out, wa_error *err);
/* The linker calls it instead of the other (--wrap). */
wa_status __wrap_wa_arena_open(const char *name, size_t limit, wa_arena **out, wa_error *err)
{
    return is_short ? wa_fail(err, WA_E_MEMORY, "no memory for '%s'", name)
                    : __real_wa_arena_open(name, limit, out, err);
}

static wa_status part_twice(wa_comm *comm, wa_error *err)
{
    wa_comm *part = NULL;
    int colour = wa_comm_rank(comm) == 2;
    is_short = wa_comm_rank(comm) == 1;
    wa_status status = wa_comm_split(comm, colour, &part, err);
    is_short = false;
    if (status != WA_E_MEMORY || strstr(err->text, "no memory for 'comm'; on rank 1 of 3") == NULL)
        return wa_fail(err, WA_E_INTERNAL, "rank %d learned nothing of it", wa_comm_rank(comm));
    WA_TRY(wa_comm_split(comm, colour, &part, err));
    bool good = wa_comm_size(part) == 2 - colour && wa_comm_rank(part) == wa_comm_rank(comm) % 2;
    wa_comm_leave(part);
    return good ? WA_OK : wa_fail(err, WA_E_INTERNAL, "parted in another way");
}

int main(int argc, char **argv)
{
    wa_comm *comm;
    wa_error err;
    if (wa_comm_open(&argc, &argv, &comm, &err) != WA_OK)
        return 1;
    wa_status status = wa_comm_size(comm) == 3 ? part_twice(comm, &err)
                                               : wa_fail(&err, WA_E_USAGE, "needs three ranks");
    if (status != WA_OK)
        fprintf(stderr, "rank %d: %s\n", wa_comm_rank(comm), err.text);
    wa_comm_close(comm);
    return status == WA_OK ? 0 : 1;
}

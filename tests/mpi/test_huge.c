/* test_huge: a message of more bytes than MPI's int counts arrives whole, and the one behind it.
 * Rank 0 sends to rank 1. 0: they did; 1: they did not. */
#include "tickets.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static const size_t SIZE = (size_t)INT_MAX + 4102, PAGE = 4096;

static unsigned char at(size_t i)
{
    return (unsigned char)(i / 4096 * 31 + i % 7 + 1);
}

/* A byte of every page, and all of the last, which are not a whole number of anything. */
static bool is_marked(size_t i)
{
    return i % PAGE == i / PAGE % PAGE || i + 2 * PAGE > SIZE;
}

static wa_status exchange(wa_comm *comm, unsigned char *bytes, wa_error *err)
{
    wa_ticket first, second;
    int last = 0;
    if (wa_comm_rank(comm) == 0) {
        last = 4711;
        for (size_t i = 0; i < SIZE; i++)
            if (is_marked(i))
                bytes[i] = at(i);
        WA_TRY(wa_comm_send(comm, 1, WA_TAG_RESIDUAL, bytes, SIZE, &first, err));
        WA_TRY(wa_comm_send(comm, 1, WA_TAG_RESIDUAL, &last, sizeof last, &second, err));
    } else {
        WA_TRY(wa_comm_receive(comm, 0, WA_TAG_RESIDUAL, bytes, SIZE, &first, err));
        WA_TRY(wa_comm_receive(comm, 0, WA_TAG_RESIDUAL, &last, sizeof last, &second, err));
    }
    WA_TRY(test_wait_for(comm, &first, err));
    WA_TRY(test_wait_for(comm, &second, err));
    for (size_t i = 0; i < SIZE; i++)
        if (is_marked(i) && bytes[i] != at(i))
            return wa_fail(err, WA_E_INTERNAL, "byte %zu is %d, expected %d", i, bytes[i], at(i));
    return last == 4711 ? WA_OK : wa_fail(err, WA_E_INTERNAL, "the second message is %d", last);
}

int main(int argc, char **argv)
{
    wa_comm *comm;
    wa_error err;
    if (wa_comm_open(&argc, &argv, &comm, &err) != WA_OK)
        return 1;
    unsigned char *bytes = calloc(SIZE, 1); /* pages that nobody marks take no memory */
    wa_status status =
        bytes == NULL || wa_comm_size(comm) != 2
            ? wa_fail(&err, WA_E_USAGE, "needs two ranks, and %zu bytes in each", SIZE)
            : exchange(comm, bytes, &err);
    status = wa_comm_agree(comm, status, &err);
    if (status != WA_OK)
        fprintf(stderr, "rank %d: %s\n", wa_comm_rank(comm), err.text);
    else if (wa_comm_rank(comm) == 0)
        printf("%zu bytes, and what follows them\n", SIZE);
    free(bytes);
    wa_comm_close(comm);
    return status == WA_OK ? 0 : 1;
}

/* test_moving [still]: does a large message arrive while its sender computes? Rank 0 sends to rank
 * 1, computes without a look at messages, and both tell the time. 0: it arrived meanwhile; 1: it
 * did not; 2: something failed. still: nothing keeps it moving. */
#include "tickets.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES = 8 << 20 };
static const double SECONDS = 3.0;

static double compute(void)
{
    volatile double sum = 0.0;
    for (double end = wa_clock() + SECONDS; wa_clock() < end;)
        for (int i = 0; i < 100000; i++)
            sum += i;
    return wa_clock();
}

static wa_status exchange(wa_comm *comm, unsigned char *bytes, double *when, wa_error *err)
{
    wa_ticket ticket;
    int rank = wa_comm_rank(comm);
    for (size_t i = 0; rank == 0 && i < BYTES; i++)
        bytes[i] = (unsigned char)(i * 31U >> 3);
    WA_TRY(wa_comm_meet(comm, err));
    if (rank == 0) {
        WA_TRY(wa_comm_send(comm, 1, WA_TAG_RESIDUAL, bytes, BYTES, &ticket, err));
        *when = compute();
        return test_wait_for(comm, &ticket, err);
    }
    WA_TRY(wa_comm_receive(comm, 0, WA_TAG_RESIDUAL, bytes, BYTES, &ticket, err));
    WA_TRY(test_wait_for(comm, &ticket, err));
    *when = wa_clock();
    for (size_t i = 0; i < BYTES; i++)
        if (bytes[i] != (unsigned char)(i * 31U >> 3))
            return wa_fail(err, WA_E_INTERNAL, "byte %zu is %d", i, bytes[i]);
    return WA_OK;
}

static wa_status run(wa_comm *comm, bool still, double when[2], wa_error *err)
{
    unsigned char *bytes = malloc(BYTES);
    double mine = 0.0;
    if (wa_comm_size(comm) != 2 || bytes == NULL) {
        free(bytes);
        return wa_fail(err, WA_E_USAGE, "needs two ranks and memory");
    }
    wa_status status = still ? WA_OK : wa_comm_keep_moving(comm, err);
    if (status == WA_OK)
        status = exchange(comm, bytes, &mine, err);
    wa_comm_rest(comm);
    free(bytes);
    WA_TRY(wa_comm_agree(comm, status, err));
    return wa_comm_gather(comm, &mine, sizeof mine, when, err);
}

int main(int argc, char **argv)
{
    wa_comm *comm;
    wa_error err;
    double when[2] = {0.0, 0.0};
    if (wa_comm_open(&argc, &argv, &comm, &err) != WA_OK)
        return 2;
    bool still = argc > 1 && strcmp(argv[1], "still") == 0;
    int code = run(comm, still, when, &err) == WA_OK ? 0 : 2;
    if (code == 0 && wa_comm_rank(comm) == 0) {
        printf("arrived %.3f s before the sender had computed\n", when[0] - when[1]);
        code = when[1] < when[0] ? 0 : 1;
    } else if (code == 2) {
        fprintf(stderr, "%s\n", err.text);
    }
    wa_comm_close(comm);
    return code;
}

/* Waiting for messages in programs that several ranks run. */
#ifndef WALKAUDIT_TESTS_TICKETS_H
#define WALKAUDIT_TESTS_TICKETS_H

#include "comm/comm.h"

#include <time.h>

/** Until it is done. Errors: those of wa_comm_poll. */
static inline wa_status test_wait_for(wa_comm *comm, wa_ticket *ticket, wa_error *err)
{
    const struct timespec moment = {.tv_nsec = 20000};
    while (!wa_comm_is_done(comm, ticket)) {
        WA_TRY(wa_comm_poll(comm, err));
        nanosleep(&moment, NULL);
    }
    return WA_OK;
}

#endif

/* Each root sends every other root one number, once: the signal it heard, or none. Each asks rank 0
 * for audits, one at a time, until it is told that there is none or says that it wants none. So
 * every message has its receive. */
#include "run/sets.h"

#include "base/signals.h"

#include <time.h>

enum { NOTHING_HEARD = 0, NO_AUDIT = -1 };
typedef enum claim { CLAIM_NEXT, CLAIM_NONE } claim;

typedef struct peer {
    int rank;
    size_t set;
    int32_t heard; /* receive buffer */
    wa_ticket hearing, telling;
    bool open; /* its number has not come yet */
    /* Rank 0 only. */
    int32_t claim, given; /* receive buffer; send buffer */
    wa_ticket claiming, giving;
    bool claims; /* it may ask again */
} peer;

struct wa_run_sets {
    wa_comm *comm;
    peer *peers;
    size_t peer_count, set;
    int32_t mine; /* send buffer */
    bool told;
    wa_error failure;
    /* Rank 0. */
    wa_dealer dealer;
    wa_run_sets_given *told_of;
    void *context;
    /* The others. */
    int32_t claim, given; /* send buffer; receive buffer */
    wa_ticket claiming, giving;
    bool claims; /* more may be asked for */
};

static bool is_dealer(const wa_run_sets *sets)
{
    return wa_comm_rank(sets->comm) == 0;
}

/* --- Opening ---------------------------------------------------------------------------------- */

static wa_status open_peer(wa_run_sets *sets, peer *p, wa_error *err)
{
    WA_TRY(wa_comm_receive(sets->comm, p->rank, WA_TAG_NOTICE, &p->heard, sizeof p->heard,
                           &p->hearing, err));
    if (!is_dealer(sets))
        return WA_OK;
    p->claims = true;
    return wa_comm_receive(sets->comm, p->rank, WA_TAG_REQUEST, &p->claim, sizeof p->claim,
                           &p->claiming, err);
}

wa_status wa_run_sets_open(wa_comm *comm, const wa_sweep *plan, wa_run_sets_given *given,
                           void *context, wa_arena *arena, wa_run_sets **out, wa_error *err)
{
    wa_run_sets *sets;
    WA_TRY(wa_arena_take(arena, 1, sizeof *sets, &sets, err));
    WA_TRY(wa_arena_take(arena, plan->set_count, sizeof *sets->peers, &sets->peers, err));
    *sets = (wa_run_sets){.comm = comm,
                          .peers = sets->peers,
                          .set = wa_sweep_set(plan, wa_comm_rank(comm)),
                          .told_of = given,
                          .context = context,
                          .claiming = WA_TICKET_NONE,
                          .giving = WA_TICKET_NONE,
                          .claims = true};
    if (is_dealer(sets))
        WA_TRY(wa_dealer_open(plan, arena, &sets->dealer, err));
    for (size_t s = 0; s < plan->set_count; s++) {
        if (s == sets->set)
            continue;
        peer *p = &sets->peers[sets->peer_count++];
        *p = (peer){.rank = plan->set_start[s],
                    .set = s,
                    .hearing = WA_TICKET_NONE,
                    .telling = WA_TICKET_NONE,
                    .claiming = WA_TICKET_NONE,
                    .giving = WA_TICKET_NONE,
                    .open = true};
        WA_TRY(open_peer(sets, p, err));
    }
    *out = sets;
    return WA_OK;
}

/* --- Serving ---------------------------------------------------------------------------------- */

static wa_status tell(wa_run_sets *sets, int number, wa_error *err)
{
    sets->mine = (int32_t)number;
    sets->told = true;
    for (size_t i = 0; i < sets->peer_count; i++) {
        peer *p = &sets->peers[i];
        WA_TRY(wa_comm_send(sets->comm, p->rank, WA_TAG_NOTICE, &sets->mine, sizeof sets->mine,
                            &p->telling, err));
    }
    return WA_OK;
}

static void hear(wa_run_sets *sets, peer *p)
{
    if (!p->open || !wa_comm_is_done(sets->comm, &p->hearing))
        return;
    p->open = false;
    if (p->heard != NOTHING_HEARD)
        wa_signals_pass_on(p->heard);
}

static size_t deal(wa_run_sets *sets, size_t set)
{
    size_t audit = wa_dealer_next(&sets->dealer, set);
    if (audit != WA_NO_AUDIT)
        sets->told_of(sets->context, set, audit);
    return audit;
}

/* Rank 0: answer a set that has asked. */
static wa_status give(wa_run_sets *sets, peer *p, wa_error *err)
{
    if (!p->claims || !wa_comm_is_done(sets->comm, &p->giving) ||
        !wa_comm_is_done(sets->comm, &p->claiming))
        return WA_OK;
    if (p->claim == CLAIM_NONE) {
        p->claims = false;
        return WA_OK;
    }
    size_t audit = deal(sets, p->set);
    p->given = audit == WA_NO_AUDIT ? NO_AUDIT : (int32_t)audit;
    p->claims = audit != WA_NO_AUDIT;
    WA_TRY(wa_comm_send(sets->comm, p->rank, WA_TAG_GRANT, &p->given, sizeof p->given, &p->giving,
                        err));
    if (!p->claims)
        return WA_OK;
    return wa_comm_receive(sets->comm, p->rank, WA_TAG_REQUEST, &p->claim, sizeof p->claim,
                           &p->claiming, err);
}

static wa_status serve(wa_run_sets *sets, wa_error *err)
{
    WA_TRY(wa_comm_poll(sets->comm, err));
    for (size_t i = 0; i < sets->peer_count; i++) {
        hear(sets, &sets->peers[i]);
        WA_TRY(give(sets, &sets->peers[i], err));
    }
    if (!sets->told && wa_signals_heard() != 0)
        return tell(sets, wa_signals_heard(), err);
    return WA_OK;
}

void wa_run_sets_beat(wa_run_sets *sets)
{
    wa_error failure = {.status = WA_OK};
    if (sets->failure.status == WA_OK && serve(sets, &failure) != WA_OK)
        sets->failure = failure;
}

/* Serve until holds(): waiting leaves the processor to others. */
static wa_status wait_until(wa_run_sets *sets, bool (*holds)(wa_run_sets *), wa_error *err)
{
    while (sets->failure.status == WA_OK && !holds(sets)) {
        struct timespec moment = {.tv_nsec = 1000000};
        nanosleep(&moment, NULL);
        wa_run_sets_beat(sets);
    }
    if (sets->failure.status != WA_OK)
        *err = sets->failure;
    return sets->failure.status;
}

/* --- Asking ----------------------------------------------------------------------------------- */

static bool is_answered(wa_run_sets *sets)
{
    return wa_comm_is_done(sets->comm, &sets->claiming) &&
           wa_comm_is_done(sets->comm, &sets->giving);
}

static wa_status ask(wa_run_sets *sets, claim what, wa_error *err)
{
    sets->claim = (int32_t)what;
    return wa_comm_send(sets->comm, 0, WA_TAG_REQUEST, &sets->claim, sizeof sets->claim,
                        &sets->claiming, err);
}

wa_status wa_run_sets_next(wa_run_sets *sets, size_t *audit_out, wa_error *err)
{
    if (is_dealer(sets)) {
        *audit_out = deal(sets, sets->set);
        return WA_OK;
    }
    WA_TRY(wa_comm_receive(sets->comm, 0, WA_TAG_GRANT, &sets->given, sizeof sets->given,
                           &sets->giving, err));
    WA_TRY(ask(sets, CLAIM_NEXT, err));
    WA_TRY(wait_until(sets, is_answered, err));
    sets->claims = sets->given != NO_AUDIT;
    *audit_out = sets->claims ? (size_t)sets->given : WA_NO_AUDIT;
    return WA_OK;
}

/* --- Closing ---------------------------------------------------------------------------------- */

static bool is_done(wa_run_sets *sets)
{
    bool all = is_answered(sets);
    for (size_t i = 0; i < sets->peer_count; i++) {
        peer *p = &sets->peers[i];
        all = !p->open && !p->claims && wa_comm_is_done(sets->comm, &p->telling) &&
              wa_comm_is_done(sets->comm, &p->giving) && all;
    }
    return all;
}

wa_status wa_run_sets_close(wa_run_sets *sets, wa_error *err)
{
    if (sets->failure.status == WA_OK && !sets->told)
        WA_TRY(tell(sets, wa_signals_heard(), err));
    if (sets->failure.status == WA_OK && !is_dealer(sets) && sets->claims)
        WA_TRY(ask(sets, CLAIM_NONE, err));
    return wait_until(sets, is_done, err);
}

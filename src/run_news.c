/* Each root sends every other root one number, once: the signal it heard, or none. So every message has its receive. */
#include "run_news.h"

#include "base/signals.h"

#include <time.h>

enum { NOTHING_HEARD = 0 };

typedef struct peer {
    int rank;
    int32_t heard; /* receive buffer */
    wa_ticket hearing, telling;
    bool open; /* its number has not come yet */
} peer;

struct wa_run_news {
    wa_comm *comm;
    peer *peers;
    size_t peer_count;
    int32_t mine; /* send buffer */
    bool told;
    wa_error failure;
};

wa_status wa_run_news_open(wa_comm *comm, const int *roots, size_t count, wa_arena *arena,
                           wa_run_news **out, wa_error *err)
{
    wa_run_news *news;
    WA_TRY(wa_arena_take(arena, 1, sizeof *news, &news, err));
    WA_TRY(wa_arena_take(arena, count, sizeof *news->peers, &news->peers, err));
    news->comm = comm;
    for (size_t i = 0; i < count; i++) {
        if (roots[i] == wa_comm_rank(comm))
            continue;
        peer *p = &news->peers[news->peer_count++];
        *p = (peer){.rank = roots[i], .hearing = WA_TICKET_NONE, .telling = WA_TICKET_NONE, .open = true};
        WA_TRY(wa_comm_receive(comm, p->rank, WA_TAG_NOTICE, &p->heard, sizeof p->heard, &p->hearing, err));
    }
    *out = news;
    return WA_OK;
}

static wa_status tell(wa_run_news *news, int number, wa_error *err)
{
    news->mine = (int32_t)number;
    news->told = true;
    for (size_t i = 0; i < news->peer_count; i++) {
        peer *p = &news->peers[i];
        WA_TRY(wa_comm_send(news->comm, p->rank, WA_TAG_NOTICE, &news->mine, sizeof news->mine, &p->telling, err));
    }
    return WA_OK;
}

static wa_status serve(wa_run_news *news, wa_error *err)
{
    WA_TRY(wa_comm_poll(news->comm, err));
    for (size_t i = 0; i < news->peer_count; i++) {
        peer *p = &news->peers[i];
        if (!p->open || !wa_comm_is_done(news->comm, &p->hearing))
            continue;
        p->open = false;
        if (p->heard != NOTHING_HEARD)
            wa_signals_pass_on(p->heard);
    }
    if (!news->told && wa_signals_heard() != 0)
        return tell(news, wa_signals_heard(), err);
    return WA_OK;
}

void wa_run_news_beat(wa_run_news *news)
{
    wa_error failure = {.status = WA_OK};
    if (news->failure.status == WA_OK && serve(news, &failure) != WA_OK)
        news->failure = failure;
}

static bool is_done(wa_run_news *news)
{
    bool all = true;
    for (size_t i = 0; i < news->peer_count; i++)
        all = !news->peers[i].open && wa_comm_is_done(news->comm, &news->peers[i].telling) && all;
    return all;
}

wa_status wa_run_news_close(wa_run_news *news, wa_error *err)
{
    if (news->failure.status == WA_OK && !news->told)
        WA_TRY(tell(news, wa_signals_heard(), err));
    while (news->failure.status == WA_OK && !is_done(news)) {
        struct timespec moment = {.tv_nsec = 1000000};
        nanosleep(&moment, NULL);
        wa_run_news_beat(news);
    }
    if (news->failure.status != WA_OK)
        *err = news->failure;
    return news->failure.status;
}

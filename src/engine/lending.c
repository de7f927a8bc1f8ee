/* Cores that their ranks lend while they wait. */
#include "engine/pipeline_private.h"

/* The ranks of a host are neighbours. */
static int first_of_host(const wa_comm *comm)
{
    int first = wa_comm_rank(comm);
    while (first > 0 && wa_comm_share_host(comm, first - 1, 2))
        first--;
    return first;
}

static int count_of_host(const wa_comm *comm, int first)
{
    int end = wa_comm_rank(comm) + 1;
    while (end < wa_comm_size(comm) && wa_comm_share_host(comm, end - 1, 2))
        end++;
    return end - first;
}

wa_status wa_lending_open(wa_pipeline *p, wa_error *err)
{
    wa_comm *comm = p->input->comm;
    int first = first_of_host(comm), count = count_of_host(comm, first);
    size_t own = (size_t)(wa_comm_rank(comm) - first), ranks = (size_t)count;
    const wa_ring_team team = {first, count};
    const wa_ring_shape shape = {
        .depth = 1, .bytes = ranks * sizeof(wa_core), .readers = ranks - 1};
    WA_TRY(wa_comm_open_ring(comm, &team, &shape, &p->board, err));
    bool told = p->board.memory != NULL && p->input->audit->engine == WA_ENGINE_WALKAUDIT;
    if (told) {
        p->cores = (wa_core *)(void *)wa_ring_board(&p->board);
        p->core = &p->cores[own];
        wa_core_describe(p->core);
    }
    WA_TRY(wa_comm_agree(comm, WA_OK, err)); /* all have */
    if (!told || p->stage == NULL)
        return WA_OK;
    WA_TRY(wa_crew_open(p->cores, ranks, own, &p->crew, err));
    wa_stage_take_help(p->stage, p->crew);
    return WA_OK;
}

double wa_lending_close(wa_pipeline *p)
{
    double lent = wa_crew_close(p->crew);
    p->crew = NULL;
    wa_ring_close(&p->board);
    return lent;
}

/* How long every audit of a sweep would take: opened, tokenised and planned for several numbers of
 * ranks. */
#include "run/predict.h"

#include "base/topology.h"
#include "engine/audit.h"
#include "store/store.h"

#include <string.h>

/* Share of the prompts that no part holds yet. */
static double missing_share(const wa_audit *audit, bool fresh, wa_arena *arena)
{
    wa_error err;
    char *path;
    wa_result_status state = {.finished = false};
    if (fresh || wa_audit_result_path(audit, NULL, &path, &err) != WA_OK ||
        wa_result_check(path, arena, &state, &err) != WA_OK)
        return 1.0;
    if (state.finished)
        return 0.0;
    return state.prompts == 0 ? 1.0 : 1.0 - (double)state.done / (double)state.prompts;
}

static wa_status predict_open(wa_audit *audit, const wa_run_prediction *p, wa_arena *arena,
                              double *times, wa_error *err)
{
    int sizes[WA_SWEEP_SIZES];
    size_t size_count = wa_sweep_sizes(wa_comm_size(p->comm), sizes);
    double share = missing_share(audit, p->options->fresh, arena);
    if (share == 0.0)
        return WA_OK;
    wa_plan_input input;
    WA_TRY(wa_audit_tokenize(audit, err));
    WA_TRY(wa_audit_plan_input(audit, wa_comm_nodes(p->comm), wa_topology_read("").memory, &input,
                               err));
    WA_TRY(wa_sweep_times(&input, sizes, size_count, arena, times, err));
    for (size_t i = 0; i < size_count; i++)
        times[i] *= share;
    return WA_OK;
}

/* times stay 0 when anything fails: running it tells the story. */
static void predict(const wa_run_prediction *p, size_t index, double *times, size_t width)
{
    wa_error err;
    wa_arena *arena;
    wa_audit *audit;
    if (wa_arena_open("prediction", 0, &arena, &err) != WA_OK)
        return;
    if (wa_audit_open(p->job, index, arena, &audit, &err) == WA_OK) {
        if (predict_open(audit, p, arena, times, &err) != WA_OK)
            memset(times, 0, width * sizeof *times);
        wa_audit_close(audit);
    }
    wa_arena_close(arena);
}

wa_status wa_run_predict(const wa_run_prediction *p, wa_arena *arena, double **times_out,
                         wa_error *err)
{
    int sizes[WA_SWEEP_SIZES];
    size_t ranks = (size_t)wa_comm_size(p->comm), rank = (size_t)wa_comm_rank(p->comm);
    size_t width = wa_sweep_sizes((int)ranks, sizes);
    size_t rounds = (p->chosen_count + ranks - 1) / ranks;
    /* rank r predicts audits r, r + ranks, …; gathered, [rank][round] */
    double *mine, *all, *times;
    wa_status status = wa_arena_take(arena, rounds * width, sizeof *mine, &mine, err);
    if (status == WA_OK)
        status = wa_arena_take(arena, ranks * rounds * width, sizeof *all, &all, err);
    if (status == WA_OK)
        status = wa_arena_take(arena, p->chosen_count * width, sizeof *times, &times, err);
    WA_TRY(wa_comm_agree(p->comm, status, err));
    *times_out = times;
    if (ranks == 1 || p->chosen_count < 2)
        return WA_OK;
    for (size_t i = rank; i < p->chosen_count; i += ranks)
        predict(p, p->chosen[i], mine + i / ranks * width, width);
    WA_TRY(wa_comm_gather(p->comm, mine, rounds * width * sizeof *mine, all, err));
    for (size_t i = 0; rank == 0 && i < p->chosen_count; i++)
        memcpy(times + i * width, all + (i % ranks * rounds + i / ranks) * width,
               width * sizeof *times);
    return wa_comm_broadcast(p->comm, times, p->chosen_count * width * sizeof *times, err);
}

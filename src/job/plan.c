/* Plans: what can be planned at all, and seats. Batches are in plan_batches.c, the grid in
 * plan_grid.c. */
#include "job/plan_grid.h"

#include <limits.h>

static wa_status check_input(const wa_plan_input *input, int ranks, wa_error *err)
{
    if (ranks < 1 || input->nodes < 1)
        return wa_fail(err, WA_E_USAGE, "%d ranks on %d nodes, expected at least 1 of each", ranks,
                       input->nodes);
    if (input->layer_count == 0 || input->layer_count > INT_MAX - 1)
        return wa_fail(err, WA_E_USAGE, "a model of %zu layers", input->layer_count);
    if (input->case_count > INT_MAX - 1)
        return wa_fail(err, WA_E_USAGE, "%zu cases", input->case_count);
    if (input->batch_rows == 0)
        return wa_fail(err, WA_E_USAGE, "batches of 0 rows");
    if (input->prompt_count == 0)
        return wa_fail(err, WA_E_USAGE, "no prompts");
    return WA_OK;
}

wa_status wa_plan_build(const wa_plan_input *input, int ranks, wa_arena *arena, wa_plan **out,
                        wa_error *err)
{
    wa_work work;
    wa_plan *plan;
    WA_TRY(check_input(input, ranks, err));
    WA_TRY(wa_arena_take(arena, 1, sizeof *plan, &plan, err));
    WA_TRY(wa_work_open(input, arena, &work, err));
    WA_TRY(wa_plan_choose_grid(&work, ranks, arena, plan, err));
    *out = plan;
    return WA_OK;
}

wa_seat wa_plan_seat(const wa_plan *plan, int rank)
{
    const wa_grid *grid = &plan->grid;
    if (rank < 0 || rank >= grid->used)
        return (wa_seat){.group = -1};
    return (wa_seat){.group = rank / grid->teams % grid->groups,
                     .stage = rank / (grid->groups * grid->teams),
                     .member = rank % grid->teams};
}

size_t wa_plan_asks_after(size_t layers)
{
    return layers - (layers + 3) / 4;
}

int wa_plan_rank(const wa_plan *plan, int group, int stage, int member)
{
    return (stage * plan->grid.groups + group) * plan->grid.teams + member;
}

const char *wa_spreading_word(bool spread)
{
    return spread ? "spread" : "whole";
}

void wa_plan_experts(const wa_plan *plan, size_t count, int member, size_t *first, size_t *end)
{
    size_t teams = (size_t)plan->grid.teams;
    *first = count * (size_t)member / teams;
    *end = count * ((size_t)member + 1) / teams;
}

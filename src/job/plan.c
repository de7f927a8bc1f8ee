/* Plans: batches, seats and rows to check. The grid is in plan_grid.c. */
#include "job/plan_grid.h"

#include "base/bytes.h"

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

/* Does prompt `prompt` begin a batch? Whole prompts, in order, up to batch_rows positions. */
static bool begins_batch(const wa_plan_input *input, size_t prompt, size_t rows)
{
    size_t with;
    return prompt == 0 || !wa_size_add(rows, input->prompt_rows[prompt], &with) ||
           with > input->batch_rows;
}

static wa_status count_batches(const wa_plan_input *input, size_t *count, size_t *obs,
                               wa_error *err)
{
    size_t batches = 0, rows = 0, total = 0;
    for (size_t p = 0; p < input->prompt_count; p++) {
        size_t own = input->prompt_rows[p];
        if (own == 0)
            return wa_fail(err, WA_E_USAGE, "prompt %zu has no positions", p);
        /* obs is an i32 in the result file */
        if (!wa_size_add(total, own, &total) || total > INT32_MAX)
            return wa_fail(err, WA_E_USAGE, "more than %d positions in all", INT32_MAX);
        bool begins = begins_batch(input, p, rows);
        batches += begins ? 1 : 0;
        rows = begins ? own : rows + own;
    }
    *count = batches;
    *obs = total;
    return WA_OK;
}

static void fill_batches(const wa_plan_input *input, wa_plan *plan)
{
    size_t at = 0, obs = 0;
    for (size_t p = 0; p < input->prompt_count; p++) {
        if (begins_batch(input, p, at == 0 ? 0 : plan->batches[at - 1].rows))
            plan->batches[at++] = (wa_batch){.first_prompt = p, .first_obs = obs};
        wa_batch *batch = &plan->batches[at - 1];
        batch->prompt_count++;
        batch->rows += input->prompt_rows[p];
        obs += input->prompt_rows[p];
        if (batch->rows > plan->max_rows)
            plan->max_rows = batch->rows;
        if (batch->prompt_count > plan->max_prompts)
            plan->max_prompts = batch->prompt_count;
    }
}

wa_status wa_plan_build(const wa_plan_input *input, int ranks, wa_arena *arena, wa_plan **out,
                        wa_error *err)
{
    WA_TRY(check_input(input, ranks, err));
    wa_plan *plan;
    WA_TRY(wa_arena_take(arena, 1, sizeof *plan, &plan, err));
    WA_TRY(count_batches(input, &plan->batch_count, &plan->obs_count, err));
    WA_TRY(wa_arena_take(arena, plan->batch_count, sizeof *plan->batches, &plan->batches, err));
    fill_batches(input, plan);
    WA_TRY(wa_plan_choose_grid(input, ranks, arena, plan, err));
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

int wa_plan_rank(const wa_plan *plan, int group, int stage, int member)
{
    return (stage * plan->grid.groups + group) * plan->grid.teams + member;
}

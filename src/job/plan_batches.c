/* Batches: how much work is left, and how whole prompts are packed into what is computed together
 * (design 10). */
#include "job/plan_grid.h"

#include "base/bytes.h"
#include "measure/logits.h"

#include <stdlib.h>

/* --- The work --- */

static wa_status sum_prompts(wa_work *work, wa_error *err)
{
    const wa_plan_input *input = work->input;
    for (size_t p = 0; p < input->prompt_count; p++) {
        size_t own = input->prompt_rows[p], first = work->first_obs[p], end;
        if (own == 0)
            return wa_fail(err, WA_E_USAGE, "prompt %zu has no positions", p);
        /* obs is an i32 in the result file */
        if (!wa_size_add(first, own, &end) || end > INT32_MAX)
            return wa_fail(err, WA_E_USAGE, "more than %d positions in all", INT32_MAX);
        double text = 0.0;
        /* a prompt's last position has no next token */
        for (size_t obs = first; obs + 1 < end; obs++)
            text += wa_text_has(obs) ? 1.0 : 0.0;
        work->first_obs[p + 1] = end;
        work->pairs[p + 1] = work->pairs[p] + (double)own * ((double)own + 1.0) / 2.0;
        work->text[p + 1] = work->text[p] + text;
        work->missing[p] = 1;
    }
    return WA_OK;
}

static wa_status leave_out_kept(wa_work *work, wa_error *err)
{
    for (size_t k = 0; k < work->input->kept_count; k++) {
        const wa_batch *kept = &work->input->kept[k];
        for (size_t p = kept->first_prompt; p < kept->first_prompt + kept->prompt_count; p++) {
            if (p >= work->input->prompt_count || !work->missing[p])
                return wa_fail(err, WA_E_INTERNAL,
                               "a kept part has prompt %zu, of %zu, or another has it too", p,
                               work->input->prompt_count);
            work->missing[p] = 0;
        }
    }
    return WA_OK;
}

wa_amount wa_work_amount(const wa_work *work, const wa_batch *batch)
{
    size_t first = batch->first_prompt, end = first + batch->prompt_count;
    return (wa_amount){.batches = 1.0,
                       .rows = (double)batch->rows,
                       .pairs = work->pairs[end] - work->pairs[first],
                       .heads =
                           (double)(work->input->logits_all ? batch->rows : batch->prompt_count),
                       .text = work->input->logits_all ? 0.0 : work->text[end] - work->text[first]};
}

wa_status wa_work_open(const wa_plan_input *input, wa_arena *arena, wa_work *out, wa_error *err)
{
    wa_work work = {.input = input};
    WA_TRY(wa_arena_take(arena, input->prompt_count + 1, sizeof *work.first_obs, &work.first_obs,
                         err));
    WA_TRY(wa_arena_take(arena, input->prompt_count + 1, sizeof *work.pairs, &work.pairs, err));
    WA_TRY(wa_arena_take(arena, input->prompt_count + 1, sizeof *work.text, &work.text, err));
    WA_TRY(wa_arena_take(arena, input->prompt_count, 1, &work.missing, err));
    WA_TRY(sum_prompts(&work, err));
    WA_TRY(leave_out_kept(&work, err));
    work.all.batches = 1.0;
    for (size_t p = 0; p < input->prompt_count; p++) {
        wa_batch alone = {.first_prompt = p, .prompt_count = 1, .rows = input->prompt_rows[p]};
        wa_amount amount = wa_work_amount(&work, &alone);
        if (!work.missing[p])
            continue;
        work.prompts++;
        work.rows += alone.rows;
        work.longest = alone.rows > work.longest ? alone.rows : work.longest;
        work.all.rows += amount.rows;
        work.all.pairs += amount.pairs;
        work.all.heads += amount.heads;
        work.all.text += amount.text;
    }
    *out = work;
    return WA_OK;
}

/* --- Packing --- */

size_t wa_packing_target(const wa_packing_rule *rule, size_t left)
{
    size_t share = rule->groups > 1 ? left * rule->sixths / (6 * rule->groups) : rule->most;
    size_t least = rule->least < rule->most ? rule->least : rule->most;
    if (share < least)
        return least;
    return share < rule->most ? share : rule->most;
}

/* Does a prompt belong into batches at all? Fixed batches are those of the whole job, whatever is
 * kept. */
static bool is_packed(const wa_work *work, size_t prompt)
{
    return work->missing[prompt] || work->input->batches_are_fixed;
}

static bool is_missing(const wa_work *work, const wa_batch *batch)
{
    for (size_t p = 0; p < batch->prompt_count; p++)
        if (work->missing[batch->first_prompt + p])
            return true;
    return false;
}

/* One batch after another; returns how many. out = NULL: only count them. */
static size_t fill_batches(const wa_work *work, const wa_packing_rule *rule, wa_batch *out)
{
    const wa_plan_input *input = work->input;
    size_t count = 0, left = work->rows;
    for (size_t p = 0; p < input->prompt_count;) {
        if (!is_packed(work, p)) {
            p++;
            continue;
        }
        wa_batch batch = {.first_prompt = p, .first_obs = work->first_obs[p]};
        size_t target = wa_packing_target(rule, left);
        do {
            batch.rows += input->prompt_rows[p++];
            batch.prompt_count++;
        } while (p < input->prompt_count && is_packed(work, p) && batch.rows < target &&
                 input->prompt_rows[p] <= target - batch.rows);
        left -= batch.rows < left ? batch.rows : left;
        if (!is_missing(work, &batch))
            continue;
        if (out != NULL)
            out[count] = batch;
        count++;
    }
    return count;
}

/* What a batch costs through all layers, on all lanes: only the order of costs matters. */
typedef struct weighed {
    double cost;
    wa_batch batch;
} weighed;

static int dearest_first(const void *left, const void *right)
{
    const weighed *a = left, *b = right;
    if (a->cost != b->cost)
        return a->cost < b->cost ? 1 : -1;
    return (a->batch.first_prompt > b->batch.first_prompt) -
           (a->batch.first_prompt < b->batch.first_prompt);
}

static wa_status order_by_cost(const wa_work *work, wa_arena *arena, wa_plan *plan, wa_error *err)
{
    const wa_plan_input *input = work->input;
    double lanes = 1.0, row = input->attention_flops_per_row + input->dense_flops_per_row;
    for (size_t c = 0; c < input->case_count; c++)
        if (input->cases[c].flops_per_row > 0.0) {
            lanes += 1.0;
            row += input->attention_flops_per_row + 2.0 * input->cases[c].flops_per_row;
        }
    weighed *list;
    wa_mark mark = wa_arena_mark(arena);
    WA_TRY(wa_arena_take(arena, plan->batch_count, sizeof *list, &list, err));
    for (size_t b = 0; b < plan->batch_count; b++) {
        wa_amount amount = wa_work_amount(work, &plan->batches[b]);
        list[b] =
            (weighed){amount.rows * row + amount.pairs * lanes * input->attention_flops_per_pair,
                      plan->batches[b]};
    }
    qsort(list, plan->batch_count, sizeof *list, dearest_first);
    for (size_t b = 0; b < plan->batch_count; b++)
        plan->batches[b] = list[b].batch;
    wa_arena_release(arena, mark);
    return WA_OK;
}

wa_status wa_work_pack(const wa_work *work, const wa_packing_rule *rule, wa_arena *arena,
                       wa_plan *plan, wa_error *err)
{
    plan->batch_count = fill_batches(work, rule, NULL);
    plan->max_rows = plan->max_prompts = 0;
    plan->obs_count = work->first_obs[work->input->prompt_count];
    WA_TRY(wa_arena_take(arena, plan->batch_count, sizeof *plan->batches, &plan->batches, err));
    fill_batches(work, rule, plan->batches);
    if (rule->dearest_first && plan->batch_count > 0)
        WA_TRY(order_by_cost(work, arena, plan, err));
    for (size_t b = 0; b < plan->batch_count; b++) {
        const wa_batch *batch = &plan->batches[b];
        plan->max_rows = batch->rows > plan->max_rows ? batch->rows : plan->max_rows;
        plan->max_prompts =
            batch->prompt_count > plan->max_prompts ? batch->prompt_count : plan->max_prompts;
    }
    return WA_OK;
}

/* --- All parts of a job --- */

static int by_prompt(const void *left, const void *right)
{
    const wa_batch *a = left, *b = right;
    return (a->first_prompt > b->first_prompt) - (a->first_prompt < b->first_prompt);
}

wa_status wa_batches_join(const wa_batch *kept, size_t kept_count, const wa_batch *made,
                          size_t made_count, size_t prompts, wa_arena *arena, wa_batch **out,
                          wa_error *err)
{
    size_t count = kept_count + made_count, prompt = 0;
    wa_batch *all;
    WA_TRY(wa_arena_take(arena, count, sizeof *all, &all, err));
    for (size_t i = 0; i < count; i++)
        all[i] = i < kept_count ? kept[i] : made[i - kept_count];
    if (count > 0)
        qsort(all, count, sizeof *all, by_prompt);
    for (size_t i = 0; i < count; i++) {
        if (all[i].first_prompt != prompt)
            return wa_fail(err, WA_E_INTERNAL,
                           "parts do not lie end to end: prompt %zu, expected %zu",
                           all[i].first_prompt, prompt);
        prompt += all[i].prompt_count;
    }
    if (prompt != prompts)
        return wa_fail(err, WA_E_INTERNAL, "parts end at prompt %zu, the job has %zu", prompt,
                       prompts);
    *out = all;
    return WA_OK;
}

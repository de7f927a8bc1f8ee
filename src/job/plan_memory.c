/* Memory of one rank by formula: what its arenas hold, term by term. Mapped files are not in it. */
#include "job/plan_grid.h"

#include "base/bytes.h"
#include "compute/kernel.h"
#include "measure/block.h"
#include "measure/logits.h"
#include "path/oracle.h"

/* Products and sums that stop at SIZE_MAX: a plan that large is refused by its size, not by
 * wrapping. */
static size_t times(size_t a, size_t b)
{
    size_t out;
    return wa_size_mul(a, b, &out) ? out : SIZE_MAX;
}

static size_t plus(size_t a, size_t b)
{
    size_t out;
    return wa_size_add(a, b, &out) ? out : SIZE_MAX;
}

/* Logits of so many rows: all of them when they may be kept between the passes, else a panel. */
static size_t logits_bytes(const wa_plan_input *input, size_t rows)
{
    size_t all = times(rows, times(input->vocab, sizeof(float)));
    return all <= WA_HEAD_KEPT_BYTES ? all : times(rows, WA_HEAD_IDS * sizeof(float));
}

/* Results of a batch: fields of these axes, for one place (block.h). Those per (case, layer,
 * position) are nearly all; with logits everywhere those per (case, position) and per position
 * count too. */
static size_t result_bytes_per_observation(wa_axes wanted)
{
    static const size_t sizes[] = {
        [WA_F64] = sizeof(double),
        [WA_I64] = sizeof(int64_t),
        [WA_I32] = sizeof(int32_t),
        [WA_I8] = sizeof(int8_t),
    };
    size_t bytes = 0;
#define ADD_FIELD(id, axes, type, unit, long_name) bytes += (axes) == wanted ? sizes[type] : 0;
    WA_FIELD_LIST(ADD_FIELD)
#undef ADD_FIELD
    return bytes;
}

size_t wa_plan_slots(const wa_grid *grid, int stage, int member)
{
    bool is_writer = stage == grid->stages - 1 && member == 0;
    return (size_t)1 + (stage > 0 ? 1 : 0) + (is_writer ? 0 : 1);
}

size_t wa_plan_gathered(const wa_grid *grid)
{
    return (size_t)grid->stages + 1;
}

size_t wa_plan_references(size_t bytes, size_t messages)
{
    enum { AHEAD_BYTES = 32 << 20, LEAST = 2 };
    size_t count = wa_size_min(AHEAD_BYTES / bytes, messages);
    return count < LEAST ? LEAST : count;
}

/* A batch's fields, nearly all of them per (case, layer, position). */
static size_t block_bytes(const wa_plan_input *input, size_t rows)
{
    size_t bytes = times(times(times(input->case_count, input->layer_count), rows),
                         result_bytes_per_observation(WA_CLO));
    if (input->logits_all)
        bytes = plus(bytes,
                     times(rows, plus(times(input->case_count, result_bytes_per_observation(WA_CA)),
                                      result_bytes_per_observation(WA_A))));
    if (input->expert_choices == 0)
        return bytes;
    size_t of_case = plus(result_bytes_per_observation(WA_CLT),
                          times(input->expert_choices, result_bytes_per_observation(WA_CLOE)));
    size_t of_row = plus(times(input->case_count, of_case),
                         times(input->expert_choices, result_bytes_per_observation(WA_LOE)));
    return plus(bytes, times(times(input->layer_count, rows), of_row));
}

/* Final norms of so many lanes; a state and a panel of logits for each of their rows at a time. */
static size_t rows_bytes(const wa_plan_input *input, size_t lanes, size_t normed, size_t heads,
                         size_t panel)
{
    size_t rows = times(lanes, heads);
    size_t bytes = plus(times(rows, sizeof(wa_logits) + sizeof(wa_divergence)), panel);
    return plus(bytes, times(times(lanes, normed),
                             plus(times(input->hidden, sizeof(float)), sizeof(size_t))));
}

/* The head of each lane and the reference; where that is of last positions only, the reference then
 * reads the text. */
static size_t head_bytes(const wa_plan_input *input, const wa_plan *plan, size_t lanes)
{
    size_t tile = wa_size_min(plan->max_rows, WA_HEAD_ROWS), all = plus(lanes, 1);
    if (input->logits_all)
        return rows_bytes(input, all, plan->max_rows, tile, logits_bytes(input, times(all, tile)));
    size_t last = rows_bytes(input, all, plan->max_prompts, plan->max_prompts,
                             logits_bytes(input, times(all, plan->max_prompts)));
    size_t text = rows_bytes(input, 1, plan->max_rows, tile,
                             times(tile, wa_size_min(input->vocab, WA_HEAD_IDS) * sizeof(float)));
    return last > text ? last : text;
}

size_t wa_plan_memory(const wa_plan_input *input, const wa_plan *plan, size_t lanes, int stages,
                      int teams)
{
    const wa_grid grid = {.groups = 1, .stages = stages, .teams = teams};
    size_t rows = plan->max_rows, row = times(input->hidden, sizeof(float));
    size_t residual = times(rows, row), block = block_bytes(input, rows);
    size_t tile = wa_size_min(rows, wa_tile_rows(input->intermediate));

    /* a slot: residuals of its lanes, results, and the same packed to be sent */
    size_t slots = wa_size_min(wa_plan_slots(&grid, stages - 1, 0), plan->batch_count);
    size_t total = times(slots, plus(times(lanes, residual), times(2, block)));
    /* gathered: a block for each batch, and a message of every rank of the group */
    size_t gathered = wa_size_min(wa_plan_gathered(&grid), plan->batch_count);
    total = plus(total, times(plus(gathered, 1), block));
    if (teams > 1 && residual > 0)
        total = plus(total, times(wa_plan_references(times(3, residual), input->layer_count + 1),
                                  times(3, residual)));
    /* of every lane: normed rows, q, k, v; of one: outputs and what they become after the norm */
    total = plus(total, times(plus(lanes, 5), residual));
    total =
        plus(total, times(times(lanes, rows),
                          times(plus(input->q_width, times(2, input->kv_width)), sizeof(float))));
    /* gate and up, on the reference's input and on the case's own */
    total = plus(total, times(times(4, tile), times(input->intermediate, sizeof(float))));
    if (input->expert_count > 0) /* gathered rows and their outputs, logits, places by expert */
        total =
            plus(total, times(tile, plus(times(2, row),
                                         plus(times(input->expert_count, sizeof(float)),
                                              times(input->expert_choices, 2 * sizeof(size_t))))));
    /* logits of the reference's router; rows that a case sent elsewhere, and their outputs */
    if (input->expert_count > 0)
        total = plus(total,
                     times(rows, plus(times(input->expert_count, sizeof(float)), times(2, row))));
    /* spread: rows and outputs of all choices on both streams, of this rank and of those that ask */
    if (plan->grid.spread && teams > 1) {
        size_t choices = times(times(2, tile), input->expert_choices);
        total = plus(total, times(times(4, choices), row));
    }
    total = plus(total, head_bytes(input, plan, lanes));
    /* the kernel check's rows: what goes to the oracle and what it answers, on both streams */
    size_t sampled = wa_sample_most(input->kernel_check, rows, plan->obs_count, input->layer_count);
    total =
        plus(total, times(times(2, sampled), times(input->hidden, sizeof(float) + sizeof(double))));
    total = plus(total, wa_oracle_bytes(times(2, sampled), input->hidden, input->intermediate));
    total = plus(total, input->check_memory);
    return plus(total, plus(WA_PANEL_BYTES, row));
}

/* Memory of one rank by formula: what its arenas hold, term by term. Mapped files are not in it. */
#include "plan_grid.h"

#include "walkaudit/block.h"
#include "walkaudit/bytes.h"
#include "walkaudit/kernel.h"
#include "walkaudit/logits.h"

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

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Logits of so many rows: all of them when they may be kept between the passes, else a panel. */
static size_t logits_bytes(const wa_plan_input *input, size_t rows)
{
    size_t all = times(rows, times(input->vocab, sizeof(float)));
    return all <= WA_HEAD_KEPT_BYTES ? all : times(rows, WA_HEAD_IDS * sizeof(float));
}

/* Results of a batch: fields of these axes, for one place (block.h). Those per (case, layer, position) are nearly all;
 * with logits everywhere those per (case, position) and per position count too. */
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

size_t wa_plan_memory(const wa_plan_input *input, const wa_plan *plan, size_t lanes, size_t slots)
{
    size_t rows = plan->max_rows, row = times(input->hidden, sizeof(float));
    size_t tile = smaller(rows, WA_TILE_ROWS);
    size_t normed = input->logits_all ? rows : plan->max_prompts;
    size_t heads = input->logits_all ? smaller(rows, WA_HEAD_ROWS) : plan->max_prompts;

    /* a slot: residuals of its lanes, x_0 and y_ref, and the results */
    size_t residuals = times(times(plus(lanes, 2), rows), row);
    size_t results = times(times(times(input->case_count, input->layer_count), rows),
                           result_bytes_per_observation(WA_CLO));
    if (input->logits_all)
        results = plus(results, times(rows, plus(times(input->case_count, result_bytes_per_observation(WA_CA)),
                                                 result_bytes_per_observation(WA_A))));
    /* shared by the slots: FFN inputs and outputs of the lanes at hand, one lane's attention,
     * activations */
    size_t inputs = times(times(plus(lanes, 3), rows), row);
    size_t attention = times(
        rows, times(plus(times(2, input->q_width), times(2, input->kv_width)), sizeof(float)));
    size_t activations = times(times(2, tile), times(input->intermediate, sizeof(float)));
    /* head: final norms of each lane and the reference; a state and a panel of logits for each of their rows at a time */
    size_t states = times(times(plus(lanes, 1), heads),
                          sizeof(wa_logits) + sizeof(wa_divergence));
    states = plus(states, logits_bytes(input, times(plus(lanes, 1), heads)));
    states = plus(states, times(times(plus(lanes, 1), normed), row));

    size_t total = times(slots, plus(residuals, results));
    total = plus(total, plus(inputs, attention));
    total = plus(total, plus(activations, states));
    return plus(total, plus(WA_PANEL_BYTES, row));
}

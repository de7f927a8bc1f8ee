/* What the two checks of a run cost (tests/bench/bench_plan.py measures it). */
#include "job/plan_checks.h"

#include "job/plan_cases.h"
#include "path/oracle.h"

#include <math.h>

/*
 * Seconds of one stored number, beside what products take: decoded for the oracle; multiplied there
 * with one evaluation; compared with the model's. And operations of our products that take the time
 * of such a product: f64 has half of f32's peak. On a core of an AMD EPYC with AVX2, SmolLM2 and
 * Gemma 3 270M, f16 and Q4_K, 40 to 640 positions (doc/speed.md).
 */
static const double DECODED = 1.7e-9, EVALUATED = 0.04e-9, COMPARED = 3.8e-9;
static const double EVALUATED_FLOPS = 4.0;
/* With so many batches a group, the others take over what the group of the first one lacks. */
enum { BATCHES_THAT_EVEN_OUT = 4 };

static double pairs_of_a_layer(const wa_plan_input *input, const wa_plan *plan)
{
    double pairs = 0.0;
    for (size_t l = 0; l < input->layer_count; l++)
        pairs += (double)wa_sample_before(input->kernel_check, plan->obs_count, plan->obs_count, l,
                                          input->layer_count);
    return pairs / (double)input->layer_count;
}

/* Seconds of one stored number, for each of a group's batches: products have as many columns as the
 * job has evaluations, WA_ORACLE_WIDEST at most, whether these are filled or not. */
static double oracle_cost(const wa_plan_input *input, const wa_plan *plan, double flops_per_second)
{
    double evaluations = 2.0 * pairs_of_a_layer(input, plan); /* on both streams */
    if (evaluations == 0.0 || plan->batch_count == 0)
        return 0.0;
    double width = (double)wa_oracle_width((size_t)ceil(evaluations));
    double products = ceil(evaluations / (double)plan->batch_count / width);
    return DECODED + (EVALUATED + EVALUATED_FLOPS / flops_per_second) * products * width;
}

/* Stored numbers of a layer that a member decodes. */
static double numbers_of_member(const wa_plan_input *input, const wa_plan *plan, int member)
{
    double numbers = 0.0;
    for (size_t c = 0; c < input->case_count; c++)
        if (plan->case_member[c] == member &&
            !wa_plan_is_answered(input, plan->case_member, c, member))
            numbers += input->cases[c].oracle_numbers;
    return numbers;
}

wa_check_costs wa_plan_check_costs(const wa_plan_input *input, const wa_plan *plan,
                                   double flops_per_second)
{
    const wa_grid *g = &plan->grid;
    double numbers_most = 0.0;
    wa_compared most = {.numbers = 0.0};
    for (int m = 0; m < g->teams; m++) {
        wa_compared own = {.numbers = 0.0};
        for (size_t v = 0; v < input->vindex_count && input->compared != NULL; v++)
            if (plan->vindex_member[v] == m) {
                own.numbers += input->compared[v].numbers;
                own.bytes += input->compared[v].bytes;
            }
        numbers_most = fmax(numbers_most, numbers_of_member(input, plan, m));
        most = own.numbers > most.numbers ? own : most;
    }
    double batches = ceil((double)plan->batch_count / g->groups);
    double layers = (double)input->layer_count / g->stages;
    double shared = batches >= BATCHES_THAT_EVEN_OUT ? g->groups : 1.0;
    double rest = plan->batch_count == 0 ? 0.0 : 1.0 / g->stages;
    return (wa_check_costs){.kernel = batches * layers * numbers_most *
                                      oracle_cost(input, plan, flops_per_second),
                            .encoding = rest * COMPARED * most.numbers / shared,
                            .encoding_bytes = rest * most.bytes};
}

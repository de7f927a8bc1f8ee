/* How many messages an audit takes, and how large they are: the arithmetic of the pipeline's files,
 * in closed form. */
#include "engine/pipeline_private.h"

/* Size of something that grows with batches, rows and prompts. */
typedef struct linear {
    size_t batch, row, prompt;
} linear;

static int64_t sum_of(const linear *l, const wa_plan_share *share)
{
    return (int64_t)(l->batch * share->batches + l->row * share->rows + l->prompt * share->prompts);
}

static linear plus(linear a, linear b)
{
    return (linear){a.batch + b.batch, a.row + b.row, a.prompt + b.prompt};
}

/* Sizes of a share's results: fields grow with rows or with prompts or with neither. */
static linear size_of_share(const wa_dims *dims, const wa_share *share)
{
    wa_dims some = *dims;
    some.rows = some.prompts = 0;
    linear out = {.batch = wa_share_bytes(&some, share)};
    some.rows = 1;
    out.row = wa_share_bytes(&some, share) - out.batch;
    some.rows = 0;
    some.prompts = 1;
    out.prompt = wa_share_bytes(&some, share) - out.batch;
    out.batch += sizeof(message_head);
    return out;
}

/* What comes on top in the block of batch 0, whichever group computes it. */
static size_t encoding_bytes(const wa_dims *dims, wa_share share)
{
    size_t without = wa_share_bytes(dims, &share);
    share.has_encoding = true;
    return wa_share_bytes(dims, &share) - without;
}

/* Blocks of all ranks of a group to its writer. */
static wa_status size_blocks(const wa_plan *plan, const wa_dims *dims, wa_arena *arena, linear *out,
                             size_t *encoding, wa_error *err)
{
    wa_pipeline_input input = {.plan = plan, .dims = *dims};
    wa_pipeline p = {.input = &input};
    *out = (linear){0};
    *encoding = 0;
    for (int stage = 0; stage < plan->grid.stages; stage++)
        for (int member = 0; member < plan->grid.teams; member++) {
            wa_share share;
            WA_TRY(wa_pipeline_make_share(&p, stage, member, arena, &share, err));
            *out = plus(*out, size_of_share(dims, &share));
            *encoding += encoding_bytes(dims, share);
        }
    return WA_OK;
}

/* Residuals from each stage to the next. */
static linear size_residuals(const wa_plan *plan, size_t row, const size_t *lanes)
{
    size_t borders = (size_t)(plan->grid.stages - 1);
    linear out = {.batch = borders * (size_t)plan->grid.teams * sizeof(message_head)};
    for (int member = 0; member < plan->grid.teams; member++)
        out.row += borders * lanes[member] * row;
    return out;
}

/* Do the members of a team stand on one of so many hosts, each with as many ranks? */
static bool is_on_one_host(const wa_plan *plan, int nodes, int group, int stage)
{
    int ranks = plan->grid.used + plan->grid.idle, each = (ranks + nodes - 1) / nodes;
    int lead = wa_plan_rank(plan, group, stage, 0);
    return lead / each == (lead + plan->grid.teams - 1) / each;
}

/* x_0, y_ref and h of each layer, and the head's rows, from leads to those teams that share no
 * memory; a group's batches are as many as any other's. */
static double size_references(const wa_plan *plan, const wa_dims *dims, size_t row, int nodes,
                              linear *out)
{
    size_t listeners = (size_t)plan->grid.teams - 1, messages = 0,
           groups = (size_t)plan->grid.groups;
    *out = (linear){0};
    for (int group = 0; group < plan->grid.groups; group++)
        for (int stage = 0; stage < plan->grid.stages; stage++) {
            size_t layers = plan->stage_start[stage + 1] - plan->stage_start[stage];
            bool is_last = stage == plan->grid.stages - 1;
            if (is_on_one_host(plan, nodes, group, stage))
                continue;
            messages += listeners * (layers + is_last);
            out->row += listeners * (3 * layers + (is_last && dims->logits_all)) * row;
            out->prompt += is_last && !dims->logits_all ? listeners * row : 0;
        }
    out->batch = messages * sizeof(message_head) / groups;
    out->row /= groups;
    out->prompt /= groups;
    return (double)messages / (double)groups;
}

wa_status wa_pipeline_traffic(const wa_plan *plan, const wa_dims *dims, size_t hidden,
                              const size_t *lanes, int nodes, wa_arena *arena, wa_traffic *out,
                              wa_error *err)
{
    const wa_grid *grid = &plan->grid;
    const int64_t batches = (int64_t)plan->batch_count, ranks = grid->used + grid->idle;
    const int64_t stages = grid->stages, teams = grid->teams, seats = stages * teams;
    const wa_plan_share all = {plan->batch_count, plan->obs_count, dims->prompts};
    linear blocks, references;
    size_t encoding, row = hidden * sizeof(float);
    WA_TRY(size_blocks(plan, dims, arena, &blocks, &encoding, err));
    double sent = size_references(plan, dims, row, nodes, &references);
    linear streams = plus(size_residuals(plan, row, lanes), references);

    /* A group asks once a batch and once in vain; every rank hears each answer and the close. */
    int64_t requests = batches + grid->groups;
    int64_t orders = requests * seats + ranks;
    int64_t to_rank_0 =
        requests * (int64_t)sizeof(int32_t) + batches * (int64_t)sizeof(message_head);
    int64_t in_blocks = sum_of(&blocks, &all) + (int64_t)encoding;
    *out = (wa_traffic){
        .messages = requests + orders + batches * (1 + seats + (stages - 1) * teams) +
                    (int64_t)(sent * (double)batches),
        .bytes = to_rank_0 + orders * (int64_t)sizeof(order) + in_blocks + sum_of(&streams, &all),
        .bytes_to_root =
            to_rank_0 + ((int64_t)plan->first_group.batches + 2) * (int64_t)sizeof(order)};
    /* rank 0 is the writer of its group; of several, another gets the first batch */
    wa_spread_count(plan, hidden, out);
    if (stages == 1)
        out->bytes_to_root +=
            sum_of(&blocks, &plan->first_group) + (grid->groups == 1 ? (int64_t)encoding : 0);
    return WA_OK;
}

/* By which rule prompts are packed into batches: each is tried, and its time judged. */
#include "job/plan_rule.h"

#include "base/bytes.h"
#include "job/plan_time.h"

#include <assert.h>

/* The slowest rank is taken to need so much more time than the fastest when ways are compared:
 * clocks, heat, neighbours and page caches differ (measured on a shared host of 16 cores: 1.2 to
 * 1.7 times). Small batches at the end even that out. */
#define SPREAD 0.3

void wa_plan_set_groups(wa_candidate *c, int ranks, size_t batches)
{
    assert(c->grid.stages > 0 && c->grid.teams > 0);
    int fit = ranks / (c->grid.stages * c->grid.teams);
    c->grid.groups = batches == 0 ? 1 : (size_t)fit < batches ? fit : (int)batches;
    c->grid.used = c->grid.groups * c->grid.stages * c->grid.teams;
    c->grid.idle = ranks - c->grid.used;
}

wa_status wa_plan_pack_by(const wa_work *work, int ranks, const wa_packing_rule *rule,
                          wa_arena *arena, wa_candidate *c, wa_plan *plan, wa_error *err)
{
    c->rule = *rule;
    WA_TRY(wa_work_pack(work, rule, arena, plan, err));
    c->batches = plan->batch_count;
    wa_plan_set_groups(c, ranks, plan->batch_count);
    return wa_plan_predict(work, plan, 0.0, arena, c, err);
}

/* Nobody knows which rank is slow: the mean of ranks that are alike, counted twice, and of two ways
 * in which they are not. Without help, which ranks that wait for whatever reason give to others: it
 * speaks for no way. */
static wa_status judge(const wa_work *work, const wa_plan *plan, wa_arena *arena, wa_candidate *c,
                       wa_error *err)
{
    static const double spreads[] = {0.0, 0.0, SPREAD, -SPREAD};
    enum { WAYS = sizeof spreads / sizeof spreads[0] };
    wa_candidate other = *c;
    other.helps = false;
    c->judged = 0.0;
    for (size_t i = 0; i < WAYS; i++) {
        WA_TRY(wa_plan_predict(work, plan, spreads[i], arena, &other, err));
        c->judged += other.time / WAYS;
    }
    return WA_OK;
}

/* Is it quicker than what was tried before, by more than a prediction can tell? */
static wa_status try_rule(const wa_work *work, int ranks, const wa_packing_rule *rule,
                          wa_arena *arena, const wa_candidate *c, wa_candidate *best, wa_error *err)
{
    wa_plan tried;
    wa_candidate now = *c;
    wa_mark mark = wa_arena_mark(arena);
    WA_TRY(wa_plan_pack_by(work, ranks, rule, arena, &now, &tried, err));
    WA_TRY(judge(work, &tried, arena, &now, err));
    wa_arena_release(arena, mark);
    if (best->batches == 0 || now.judged < 0.98 * best->judged)
        *best = now;
    return WA_OK;
}

/* Of a group's share of what is left, in sixths: what the first batches may take. */
enum { HALF = 3, MOST_SIXTHS = 5 };

/* Rows of a batch below which packing a matrix costs twice its products. */
static size_t smallest_batch(const wa_plan_input *input)
{
    return 1 + (size_t)(input->packing_rows / 2.0);
}

/* Large batches and ever smaller ones after them, down to the smallest, four or sixteen times that.
 * The first take three, four or five sixths of a group's share: more of it where that saves
 * packing. Sizes that no batch reaches are not tried. */
static wa_status try_tails(const wa_work *work, int ranks, size_t most, size_t fit, wa_arena *arena,
                           const wa_candidate *c, wa_candidate *best, wa_error *err)
{
    size_t smallest = smallest_batch(work->input);
    wa_packing_rule rule = {.groups = fit, .dearest_first = true};
    for (rule.sixths = HALF; rule.sixths <= (fit > 1 ? MOST_SIXTHS : HALF); rule.sixths++) {
        rule.most = most;
        rule.least = smallest;
        size_t first = wa_packing_target(&rule, work->rows);
        while (rule.most / 2 >= first)
            rule.most /= 2;
        for (; rule.most >= smallest; rule.most /= 2)
            for (rule.least = smallest; rule.least <= 16 * smallest && rule.least < rule.most;
                 rule.least *= 4)
                WA_TRY(try_rule(work, ranks, &rule, arena, c, best, err));
    }
    return WA_OK;
}

/* As many equal ones for every group. */
static wa_status try_shares(const wa_work *work, int ranks, size_t most, size_t fit,
                            wa_arena *arena, const wa_candidate *c, wa_candidate *best,
                            wa_error *err)
{
    enum { SHARES = 8 };
    wa_packing_rule rule = {.least = 1, .groups = 1};
    for (size_t share = 1; share <= SHARES; share++) {
        rule.most = wa_size_min((work->rows + fit * share - 1) / (fit * share), most);
        WA_TRY(try_rule(work, ranks, &rule, arena, c, best, err));
    }
    return WA_OK;
}

/* Smaller batches let stages and groups begin and end together, but each decodes and packs every
 * matrix again. Where a group has many of the largest it gets those, and smaller ones at the end;
 * else every way is tried. */
wa_status wa_plan_choose_rule(const wa_work *work, int ranks, size_t most, wa_arena *arena,
                              wa_candidate *c, wa_error *err)
{
    enum { MANY = 16 };
    size_t fit = (size_t)(ranks / (c->grid.stages * c->grid.teams));
    bool alone = fit * (size_t)c->grid.stages == 1 || work->input->batches_are_fixed;
    const wa_packing_rule largest = {.most = most,
                                     .least = smallest_batch(work->input),
                                     .groups = alone ? 1 : fit,
                                     .sixths = HALF,
                                     .dearest_first = !alone};
    wa_candidate best = {.batches = 0};
    WA_TRY(try_rule(work, ranks, &largest, arena, c, &best, err));
    if (!alone && best.batches < MANY * fit) {
        WA_TRY(try_shares(work, ranks, most, fit, arena, c, &best, err));
        WA_TRY(try_tails(work, ranks, most, fit, arena, c, &best, err));
    }
    *c = best;
    return WA_OK;
}

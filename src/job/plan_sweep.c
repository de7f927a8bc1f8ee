/* Several audits on so many ranks: one after another on all of them, or side by side on sets of
 * them. */
#include "job/plan.h"

#include "base/bytes.h"

#include <math.h>
#include <stdio.h>

/* Opening files, fingerprints and assembly take about a quarter of a second, however many ranks
 * there are; in operations of a rank of some 40 GFLOP/s. */
static const double AUDIT_OVERHEAD = 1e10;
/* More sets must promise at least this much: predictions are no better. */
static const double WORTH = 0.97;
/* Sizes follow the work dealt, and the dealing follows the sizes: this often. */
enum { ROUNDS = 4, SETS_TRIED_ONE_BY_ONE = 16 };

size_t wa_sweep_sizes(int ranks, int *sizes_out)
{
    size_t count = 0;
    for (int power = 1; power < ranks && count + 3 < WA_SWEEP_SIZES; power *= 2) {
        sizes_out[count++] = power;
        if (power >= 2 && power + power / 2 < ranks)
            sizes_out[count++] = power + power / 2;
        if (power > ranks / 2)
            break;
    }
    sizes_out[count++] = ranks;
    return count;
}

wa_status wa_sweep_times(const wa_plan_input *input, const int *sizes, size_t size_count,
                         wa_arena *arena, double *times_out, wa_error *err)
{
    int ranks = sizes[size_count - 1];
    for (size_t i = 0; i < size_count; i++) {
        wa_plan_input share = *input;
        int per_node = (ranks + input->nodes - 1) / input->nodes;
        share.nodes = (sizes[i] + per_node - 1) / per_node;
        wa_plan *plan;
        wa_mark mark = wa_arena_mark(arena);
        wa_status status = wa_plan_build(&share, sizes[i], arena, &plan, err);
        if (status != WA_OK && status != WA_E_USAGE && status != WA_E_MEMORY)
            return status;
        times_out[i] = status == WA_OK ? plan->flops_until_done : (double)INFINITY;
        wa_arena_release(arena, mark);
    }
    return WA_OK;
}

/* --- One way of dealing ----------------------------------------------------------------------- */

typedef struct dealing {
    size_t set_count;
    int *size;         /* [ranks] ranks of each set */
    double *load;      /* [ranks] time of each set */
    double *work;      /* [ranks] time on one rank of the audits of each set */
    size_t *audit_set; /* [audits] */
    double time;       /* of the longest set */
} dealing;

typedef struct table {
    const double *times; /* [audits][size_count] */
    size_t size_count, audit_count;
    int sizes[WA_SWEEP_SIZES];
    int ranks;
    size_t *order; /* [audits] dearest first */
} table;

/* An audit that does not fit on all ranks fails at once, wherever it is. */
static bool fits(const table *t, size_t audit)
{
    return isfinite(t->times[audit * t->size_count + t->size_count - 1]);
}

/* On the largest size of the table that the set holds. */
static double time_on(const table *t, size_t audit, int ranks)
{
    size_t at = 0;
    while (at + 1 < t->size_count && t->sizes[at + 1] <= ranks)
        at++;
    return AUDIT_OVERHEAD + (fits(t, audit) ? t->times[audit * t->size_count + at] : 0.0);
}

/* Work of an audit: its time on one rank, or its time on the fewest ranks it can have, times
 * those. */
static double work_of(const table *t, size_t audit)
{
    for (size_t i = 0; i < t->size_count && fits(t, audit); i++)
        if (isfinite(t->times[audit * t->size_count + i]))
            return AUDIT_OVERHEAD + t->times[audit * t->size_count + i] * t->sizes[i];
    return AUDIT_OVERHEAD;
}

/* Dearest first, each to the set that would be done with it first. */
static void deal(const table *t, dealing *d)
{
    for (size_t s = 0; s < d->set_count; s++)
        d->load[s] = d->work[s] = 0.0;
    for (size_t i = 0; i < t->audit_count; i++) {
        size_t audit = t->order[i], to = 0;
        double done = d->load[0] + time_on(t, audit, d->size[0]);
        for (size_t s = 1; s < d->set_count; s++) {
            double other = d->load[s] + time_on(t, audit, d->size[s]);
            if (other < done) {
                done = other;
                to = s;
            }
        }
        d->audit_set[audit] = to;
        d->load[to] = done;
        d->work[to] += work_of(t, audit);
    }
    d->time = 0.0;
    for (size_t s = 0; s < d->set_count; s++)
        d->time = d->load[s] > d->time ? d->load[s] : d->time;
}

static void size_evenly(const table *t, dealing *d)
{
    int sets = (int)d->set_count;
    for (int s = 0; s < sets; s++)
        d->size[s] = t->ranks / sets + (s < t->ranks % sets ? 1 : 0);
}

/* One rank to each set, then one more to the set with the most work per rank until all are
 * given. */
static void size_by_work(const table *t, dealing *d)
{
    int left = t->ranks - (int)d->set_count;
    double all = 0.0;
    for (size_t s = 0; s < d->set_count; s++)
        all += d->work[s];
    int spare = left;
    for (size_t s = 0; s < d->set_count; s++) {
        int more = (int)floor(d->work[s] / all * (double)left);
        d->size[s] = 1 + more;
        spare -= more;
    }
    while (spare-- > 0) {
        size_t to = 0;
        for (size_t s = 1; s < d->set_count; s++)
            if (d->work[s] * d->size[to] > d->work[to] * d->size[s])
                to = s;
        d->size[to]++;
    }
}

static void keep(const table *t, const dealing *d, wa_sweep *sweep)
{
    sweep->set_count = d->set_count;
    sweep->flops_until_done = d->time;
    sweep->set_start[0] = 0;
    for (size_t s = 0; s < d->set_count; s++)
        sweep->set_start[s + 1] = sweep->set_start[s] + d->size[s];
    for (size_t a = 0; a < t->audit_count; a++)
        sweep->audit_set[a] = d->audit_set[a];
}

static wa_status take_set_times(const table *t, wa_arena *arena, wa_sweep *sweep, wa_error *err)
{
    size_t sets = sweep->set_count;
    WA_TRY(wa_arena_take(arena, t->audit_count * sets, sizeof *sweep->set_time, &sweep->set_time,
                         err));
    for (size_t a = 0; a < t->audit_count; a++)
        for (size_t s = 0; s < sets; s++)
            sweep->set_time[a * sets + s] =
                time_on(t, a, sweep->set_start[s + 1] - sweep->set_start[s]);
    return WA_OK;
}

/* --- The best --------------------------------------------------------------------------------- */

static wa_status take_order(table *t, wa_arena *arena, wa_error *err)
{
    WA_TRY(wa_arena_take(arena, t->audit_count, sizeof *t->order, &t->order, err));
    /* by insertion: equal ones stay in the job's order */
    for (size_t a = 0; a < t->audit_count; a++) {
        size_t at = a;
        for (; at > 0 && work_of(t, t->order[at - 1]) < work_of(t, a); at--)
            t->order[at] = t->order[at - 1];
        t->order[at] = a;
    }
    return WA_OK;
}

static wa_status take_dealing(const table *t, wa_arena *arena, dealing *d, wa_error *err)
{
    size_t ranks = (size_t)t->ranks;
    WA_TRY(wa_arena_take(arena, ranks, sizeof *d->size, &d->size, err));
    WA_TRY(wa_arena_take(arena, ranks, sizeof *d->load, &d->load, err));
    WA_TRY(wa_arena_take(arena, ranks, sizeof *d->work, &d->work, err));
    return wa_arena_take(arena, t->audit_count, sizeof *d->audit_set, &d->audit_set, err);
}

/* Sweeps of hundreds of sets are tried at a few counts only. */
static size_t next_count(size_t sets)
{
    return sets < SETS_TRIED_ONE_BY_ONE ? sets + 1 : sets + sets / 8;
}

wa_status wa_sweep_build(const double *times, size_t audit_count, int ranks, wa_arena *arena,
                         wa_sweep **out, wa_error *err)
{
    table t = {.times = times, .audit_count = audit_count, .ranks = ranks};
    t.size_count = wa_sweep_sizes(ranks, t.sizes);
    wa_sweep *sweep;
    WA_TRY(wa_arena_take(arena, 1, sizeof *sweep, &sweep, err));
    WA_TRY(
        wa_arena_take(arena, (size_t)ranks + 1, sizeof *sweep->set_start, &sweep->set_start, err));
    WA_TRY(wa_arena_take(arena, audit_count, sizeof *sweep->audit_set, &sweep->audit_set, err));
    dealing d;
    WA_TRY(take_dealing(&t, arena, &d, err));
    WA_TRY(take_order(&t, arena, err));

    sweep->flops_side_by_side = (double)INFINITY;
    size_t most = audit_count < (size_t)ranks ? audit_count : (size_t)ranks;
    for (size_t sets = 1; sets == 1 || sets <= most; sets = next_count(sets)) {
        d.set_count = sets;
        size_evenly(&t, &d);
        for (int round = 0; round < ROUNDS; round++) {
            deal(&t, &d);
            if (sets == 1)
                sweep->flops_one_by_one = d.time;
            else if (d.time < sweep->flops_side_by_side)
                sweep->flops_side_by_side = d.time;
            if ((sets == 1 && round == 0) || d.time < WORTH * sweep->flops_until_done)
                keep(&t, &d, sweep);
            size_by_work(&t, &d);
        }
    }
    sweep->audit_count = audit_count;
    *out = sweep;
    return take_set_times(&t, arena, sweep, err);
}

void wa_sweep_reason(const wa_sweep *sweep, char *out, size_t size)
{
    int ranks = sweep->set_start[sweep->set_count];
    if (sweep->set_count > 1)
        snprintf(out, size,
                 "side by side on %zu sets of ranks, predicted %.1f x sooner than one by one",
                 sweep->set_count, sweep->flops_one_by_one / sweep->flops_until_done);
    else if (isfinite(sweep->flops_side_by_side))
        snprintf(out, size,
                 "one after another on all %d ranks; side by side they would take %.2f x as long",
                 ranks, sweep->flops_side_by_side / sweep->flops_one_by_one);
    else
        snprintf(out, size, "one after another on all %d ranks", ranks);
}

size_t wa_sweep_set(const wa_sweep *sweep, int rank)
{
    size_t set = 0;
    while (set + 1 < sweep->set_count && rank >= sweep->set_start[set + 1])
        set++;
    return set;
}

/* --- While it runs ---------------------------------------------------------------------------- */

wa_status wa_dealer_open(const wa_sweep *sweep, wa_arena *arena, wa_dealer *out, wa_error *err)
{
    wa_dealer dealer = {.sweep = sweep};
    WA_TRY(wa_arena_take(arena, sweep->audit_count, sizeof *dealer.begun, &dealer.begun, err));
    WA_TRY(wa_arena_take(arena, sweep->set_count, sizeof *dealer.current, &dealer.current, err));
    for (size_t s = 0; s < sweep->set_count; s++)
        dealer.current[s] = WA_NO_AUDIT;
    *out = dealer;
    return WA_OK;
}

static double time_of(const wa_dealer *d, size_t audit, size_t set)
{
    return d->sweep->set_time[audit * d->sweep->set_count + set];
}

/* Of all that is a set's own, the audit it works on counted whole: how much of that is left is not
 * known. */
static double time_left(const wa_dealer *d, size_t set)
{
    double left = d->current[set] == WA_NO_AUDIT ? 0.0 : time_of(d, d->current[set], set);
    for (size_t a = 0; a < d->sweep->audit_count; a++)
        if (!d->begun[a] && d->sweep->audit_set[a] == set)
            left += time_of(d, a, set);
    return left;
}

/* The last audit of the set with the most to do. */
static size_t choose_other(const wa_dealer *d, size_t set)
{
    size_t chosen = WA_NO_AUDIT;
    double most = 0.0;
    for (size_t a = 0; a < d->sweep->audit_count; a++) {
        if (d->begun[a])
            continue;
        double left = time_left(d, d->sweep->audit_set[a]);
        if (left >= most && time_of(d, a, set) <= left) {
            most = left;
            chosen = a;
        }
    }
    return chosen;
}

size_t wa_dealer_next(wa_dealer *dealer, size_t set)
{
    size_t next = 0;
    while (next < dealer->sweep->audit_count &&
           (dealer->begun[next] || dealer->sweep->audit_set[next] != set))
        next++;
    if (next == dealer->sweep->audit_count)
        next = choose_other(dealer, set);
    dealer->current[set] = next;
    if (next != WA_NO_AUDIT)
        dealer->begun[next] = 1;
    return next;
}

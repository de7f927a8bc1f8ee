/* Cuts of the layers into stages, and the time that a candidate would take. */
#include "job/plan_time.h"

#include "job/plan_cases.h"

/* Of the time that a rank of a team waits for another one, the share that it helps with that one's
 * products: the rest of the work is nobody else's. */
#define HELPED 0.75

/* --- Cutting the layers ----------------------------------------------------------------------- */

/* Layers of a stage when the last has `last` and the others share the rest evenly, longer ones
 * first. */
static size_t stage_layers(size_t layers, size_t stages, size_t last, size_t stage)
{
    if (stage == stages - 1)
        return last;
    size_t rest = layers - last, share = stages - 1;
    return rest / share + (stage < rest % share ? 1 : 0);
}

/* Ranks are slow by turns: multiples of the golden ratio are spread evenly over any number of them.
 * A negative spread is the same the other way round. */
static double slowness(double spread, int rank)
{
    double at = 0.6180339887498949 * rank, share = at - (double)(long long)at;
    return 1.0 + (spread < 0.0 ? -spread * (1.0 - share) : spread * share);
}

/* Of a group's stage, whose first rank is `lead`. Members of one host that are done help the
 * others. */
static double stage_time(const wa_candidate *c, size_t layers, bool is_last, const wa_amount *a,
                         double packing, double spread, int lead)
{
    double most = 0.0, sum = 0.0;
    for (int m = 0; m < c->grid.teams; m++) {
        double own = wa_plan_member_time(&c->members[m], layers, is_last, a, packing) *
                     slowness(spread, lead + m);
        most = own > most ? own : most;
        sum += own;
    }
    return most - (c->helps ? HELPED * (most - sum / c->grid.teams) : 0.0);
}

/* Cut so that the dearest stage is cheapest. All layers cost the same, the head is the last
 * stage's: the only choice is how many layers the last stage has. */
wa_status wa_plan_cut_layers(const wa_work *work, wa_arena *arena, wa_candidate *c, wa_error *err)
{
    size_t layers = work->input->layer_count, stages = (size_t)c->grid.stages, best = layers;
    const wa_amount *job = &work->all;
    double best_time = 0.0;
    for (size_t last = 1; stages > 1 && last <= layers - (stages - 1); last++) {
        double end = stage_time(c, last, true, job, 0.0, 0.0, 0);
        double other =
            stage_time(c, stage_layers(layers, stages, last, 0), false, job, 0.0, 0.0, 0);
        double time = end > other ? end : other;
        if (last == 1 || time <= best_time) {
            best_time = time;
            best = last;
        }
    }
    WA_TRY(wa_arena_take(arena, stages + 1, sizeof *c->stage_start, &c->stage_start, err));
    for (size_t s = 0; s < stages; s++)
        c->stage_start[s + 1] = c->stage_start[s] + stage_layers(layers, stages, best, s);
    return WA_OK;
}

/* --- Predicting the time ---------------------------------------------------------------------- */

/* Groups by when they ask for a batch, which is shortly before they are free for it: a binary heap,
 * so that many batches cost little. */
typedef struct waiting {
    double asks_at;
    size_t group, given; /* batches */
} waiting;

/* Nobody is given two batches before everybody has one, and rank 0's group gets its first after the
 * others. */
static bool comes_before(const waiting *a, const waiting *b)
{
    if (a->asks_at != b->asks_at)
        return a->asks_at < b->asks_at;
    return a->given < b->given ||
           (a->given == b->given && (b->group == 0 || a->group < b->group) && a->group != 0);
}

static void sink_top(waiting *heap, size_t count)
{
    for (size_t at = 0;;) {
        size_t child = 2 * at + 1;
        if (child >= count)
            return;
        if (child + 1 < count && comes_before(&heap[child + 1], &heap[child]))
            child++;
        if (!comes_before(&heap[child], &heap[at]))
            return;
        waiting moved = heap[at];
        heap[at] = heap[child];
        heap[child] = moved;
        at = child;
    }
}

typedef struct timeline {
    waiting *heap;    /* [groups] */
    double *free_at;  /* [groups, stages] */
    wa_amount *given; /* [groups] */
    double packing;   /* of wa_plan_member_time */
    double spread;    /* of slowness */
} timeline;

static void add_amount(wa_amount *sum, const wa_amount *more)
{
    sum->batches += more->batches;
    sum->rows += more->rows;
    sum->pairs += more->pairs;
    sum->heads += more->heads;
    sum->text += more->text;
}

/* One batch through the stages of the group that asks first. Returns the group. */
static size_t run_batch(const wa_candidate *c, const wa_amount *batch, timeline *t)
{
    size_t stages = (size_t)c->grid.stages, group = t->heap[0].group;
    double *free_at = t->free_at + group * stages, at = t->heap[0].asks_at;
    for (size_t s = 0; s < stages; s++) {
        double start = at > free_at[s] ? at : free_at[s];
        size_t layers = c->stage_start[s + 1] - c->stage_start[s];
        int lead = ((int)s * c->grid.groups + (int)group) * c->grid.teams;
        if (s == 0)
            t->heap[0].asks_at = start + stage_time(c, wa_plan_asks_after(layers), false, batch,
                                                    t->packing, t->spread, lead);
        at = start + stage_time(c, layers, s == stages - 1, batch, t->packing, t->spread, lead);
        free_at[s] = at;
    }
    add_amount(&t->given[group], batch);
    t->heap[0].given++;
    sink_top(t->heap, (size_t)c->grid.groups);
    return group;
}

/* What the members of a group's stage do. */
static void sum_busy(wa_candidate *c, size_t stage, const wa_amount *given, double packing)
{
    size_t layers = c->stage_start[stage + 1] - c->stage_start[stage];
    bool is_last = stage + 1 == (size_t)c->grid.stages;
    for (int m = 0; m < c->grid.teams; m++) {
        double products = wa_plan_member_time(&c->members[m], layers, is_last, given, 0.0);
        c->busy_sum += wa_plan_member_time(&c->members[m], layers, is_last, given, packing);
        c->busy_max = products > c->busy_max ? products : c->busy_max;
    }
}

/* Batches are handed out in order, on demand; messages are taken to cost nothing. */
wa_status wa_plan_predict(const wa_work *work, const wa_plan *plan, double spread, wa_arena *arena,
                          wa_candidate *c, wa_error *err)
{
    size_t groups = (size_t)c->grid.groups, stages = (size_t)c->grid.stages;
    timeline t = {.packing = work->input->packing_rows, .spread = spread};
    WA_TRY(wa_arena_take(arena, groups, sizeof *t.heap, &t.heap, err));
    WA_TRY(wa_arena_take(arena, groups * stages, sizeof *t.free_at, &t.free_at, err));
    WA_TRY(wa_arena_take(arena, groups, sizeof *t.given, &t.given, err));
    c->time = c->busy_max = c->busy_sum = 0.0;
    c->first_group = (wa_plan_share){0};
    for (size_t g = 0; g < groups; g++)
        t.heap[g].group = g + 1 < groups ? g + 1 : 0;
    for (size_t b = 0; b < plan->batch_count; b++) {
        wa_amount batch = wa_work_amount(work, &plan->batches[b]);
        if (run_batch(c, &batch, &t) == 0) {
            c->first_group.batches++;
            c->first_group.rows += plan->batches[b].rows;
            c->first_group.prompts += plan->batches[b].prompt_count;
        }
    }

    for (size_t g = 0; g < groups; g++) {
        double done = t.free_at[g * stages + stages - 1];
        c->time = done > c->time ? done : c->time;
        for (size_t s = 0; s < stages; s++)
            sum_busy(c, s, &t.given[g], t.packing);
    }
    return WA_OK;
}

/* How fast a rank would be: products as a run makes them, on as many processors at once as a node's
 * ranks would have. */
#include "cli/plan_rate.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/thread.h"
#include "base/topology.h"
#include "compute/kernel.h"

/* Larger matrices have the same rate within 5 %; decoding and packing are in it, for two
 * evaluations, as a case has. There are as many that caches do not hold them: a run reads its
 * weights from memory. */
enum {
    RATE_DEPTH = 512,
    RATE_ROWS = 512,
    RATE_WIDTH = 512,
    RATE_MATRICES = 256,
    RATE_EVALUATIONS = 2
};
static const double RATE_SECONDS = 0.3;

/* A layer's product as a run makes it, of plain numbers in f16. */
typedef struct sample {
    wa_matrix w;  /* the first of RATE_MATRICES */
    size_t first; /* the one that this thread begins with */
    size_t rows;
    wa_operand pairs[RATE_EVALUATIONS];
    wa_scratch scratch;
    double flops, seconds; /* what has been done, and for how long it had a processor */
} sample;

/* Numbers that all threads read. */
static wa_status open_inputs(const wa_plan_input *input, const wa_plan *plan, wa_arena *arena,
                             sample *out, wa_error *err)
{
    size_t rows = wa_size_min(plan->max_rows, RATE_ROWS),
           width = wa_size_min(input->intermediate, RATE_WIDTH);
    uint16_t *weights;
    float *x;
    size_t values = RATE_MATRICES * width * RATE_DEPTH;
    WA_TRY(wa_arena_take_raw(arena, values, sizeof *weights, &weights, err));
    WA_TRY(wa_arena_take(arena, rows * RATE_DEPTH, sizeof *x, &x, err));
    memset(weights, 0x3c, values * sizeof *weights); /* a little above 1 */
    for (size_t i = 0; i < rows * RATE_DEPTH; i++)
        x[i] = (float)(i % 5) - 2.0F;
    *out = (sample){.w = {.data = (const uint8_t *)weights,
                          .format = WA_FORMAT_F16,
                          .rows = width,
                          .cols = RATE_DEPTH,
                          .row_bytes = RATE_DEPTH * sizeof *weights},
                    .rows = rows,
                    /* of one call, decoding and packing among them */
                    .flops = 2.0 * ((double)(RATE_EVALUATIONS * rows) + input->packing_rows) *
                             (double)(width * RATE_DEPTH)};
    for (size_t i = 0; i < RATE_EVALUATIONS; i++)
        out->pairs[i].x = x;
    return WA_OK;
}

/* What a thread writes. */
static wa_status open_sample(const sample *inputs, size_t first, wa_engine engine, wa_arena *arena,
                             sample *out, wa_error *err)
{
    float *y;
    size_t values = inputs->rows * inputs->w.rows;
    *out = *inputs;
    out->first = first;
    WA_TRY(wa_arena_take(arena, RATE_EVALUATIONS * values, sizeof *y, &y, err));
    for (size_t i = 0; i < RATE_EVALUATIONS; i++)
        out->pairs[i].y = y + i * values;
    WA_TRY(wa_scratch_open(arena, out->rows, 1, RATE_DEPTH, &out->scratch, err));
    out->scratch.engine = engine;
    return WA_OK;
}

static void multiply(sample *s, size_t number)
{
    wa_matrix w = s->w;
    w.data += (s->first + number) % RATE_MATRICES * w.rows * w.row_bytes;
    wa_gemm_rows(&w, s->rows, RATE_DEPTH, s->w.rows, s->pairs, RATE_EVALUATIONS, NULL, &s->scratch);
}

/* By the processor's time, so that other work on the machine changes little. */
static void *run_sample(void *context)
{
    sample *s = context;
    multiply(s, 0); /* the first touches its memory */
    double start = wa_processor_clock(), spent = 0.0;
    size_t calls = 0;
    for (; spent < RATE_SECONDS; calls++) {
        multiply(s, 1 + calls);
        spent = wa_processor_clock() - start;
    }
    s->flops *= (double)calls;
    s->seconds = spent;
    return NULL;
}

static int threads_of(const wa_plan_input *input, const wa_plan *plan, wa_engine engine)
{
    int ranks = plan->grid.used + plan->grid.idle, each = (ranks + input->nodes - 1) / input->nodes,
        here = wa_topology_read("").cpu_count;
    if (engine == WA_ENGINE_BLAS || here < 1)
        return 1;
    return each < here ? each : here;
}

wa_status wa_plan_rate_measure(const wa_plan_input *input, const wa_plan *plan, wa_engine engine,
                               wa_arena *arena, wa_plan_rate *rate, wa_error *err)
{
    int threads = threads_of(input, plan, engine);
    sample inputs, *samples;
    pthread_t *thread;
    wa_mark mark = wa_arena_mark(arena);
    if (rate->threads == threads)
        return WA_OK;
    WA_TRY(wa_arena_take(arena, (size_t)threads, sizeof *samples, &samples, err));
    WA_TRY(wa_arena_take(arena, (size_t)threads, sizeof *thread, &thread, err));
    WA_TRY(open_inputs(input, plan, arena, &inputs, err));
    for (int t = 0; t < threads; t++)
        WA_TRY(open_sample(&inputs, (size_t)t * RATE_MATRICES / (size_t)threads, engine, arena,
                           &samples[t], err));
    wa_blas_set_threads(1); /* as a rank has */
    int started = 1;        /* the first is this thread */
    while (started < threads &&
           wa_thread_start(&thread[started], NULL, run_sample, &samples[started]) == 0)
        started++;
    run_sample(&samples[0]);
    double sum = samples[0].flops / samples[0].seconds;
    for (int t = 1; t < started; t++) {
        pthread_join(thread[t], NULL);
        sum += samples[t].flops / samples[t].seconds;
    }
    wa_arena_release(arena, mark);
    *rate = (wa_plan_rate){.flops_per_second = sum / started, .threads = started};
    return WA_OK;
}

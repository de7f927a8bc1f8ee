/* Threads on cores that others lend: every piece once, whoever makes it. */
#include "compute/crew.h"

#include "base/topology.h"
#include "compute/isa.h"
#include "compute/kernel.h"
#include "compute/pack.h"

#include "suite.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PIECES = 64, CORES = 2, SECONDS = 60, PANEL_FLOATS = WA_PACK_COLUMNS * WA_PANEL_DEPTH };

/* Cores of ranks of one host, of which the first is this process; NULL: it has one processor. */
static wa_crew *open_crew(wa_core *cores)
{
    wa_crew *crew;
    wa_error err;
    memset(cores, 0, CORES * sizeof *cores);
    for (size_t i = 0; i < CORES; i++)
        wa_core_describe(&cores[i]);
    WA_MUST(wa_crew_open(cores, CORES, 0, &crew, &err), &err);
    CU_ASSERT_EQUAL(crew != NULL, wa_topology_read("").cpu_count >= CORES);
    return crew;
}

typedef struct work {
    pthread_t own;
    atomic_int made[PIECES];
    atomic_int by_others;
    bool waits; /* the own thread's pieces end when another has made one */
} work;

static void start(work *w, bool waits)
{
    memset(w, 0, sizeof *w);
    w->own = pthread_self();
    w->waits = waits;
}

static void make(const void *context, size_t piece, float *panel)
{
    work *w = (work *)context;
    time_t until = time(NULL) + SECONDS;
    panel[0] = panel[PANEL_FLOATS - 1] = 1.0F;
    atomic_fetch_add(&w->made[piece], 1);
    if (!pthread_equal(pthread_self(), w->own))
        atomic_fetch_add(&w->by_others, 1);
    while (w->waits && atomic_load(&w->by_others) == 0 && time(NULL) < until)
        sched_yield();
}

static void check_once(const work *w)
{
    for (size_t i = 0; i < PIECES; i++)
        CU_ASSERT_EQUAL(w->made[i], 1);
}

static void a_core_whose_rank_waits_takes_pieces(void)
{
    static wa_core cores[CORES];
    static float panel[PANEL_FLOATS];
    wa_crew *crew = open_crew(cores);
    work w;
    CU_ASSERT_FALSE(wa_crew_has_help(crew));
    for (int round = 0; crew != NULL && round < 100; round++) { /* it comes again and again */
        wa_core_wait(&cores[1], true);
        CU_ASSERT_TRUE(wa_crew_has_help(crew));
        start(&w, true);
        wa_crew_run(crew, PIECES, make, &w, panel);
        check_once(&w);
        CU_ASSERT(w.by_others > 0);
        wa_core_wait(&cores[1], false);
    }
    wa_crew_close(crew);
    CU_ASSERT_EQUAL(cores[1].taken, 0);
}

static void a_core_that_is_busy_or_taken_is_left_alone(void)
{
    static wa_core cores[CORES];
    static float panel[PANEL_FLOATS];
    wa_crew *crew = open_crew(cores);
    work w;
    for (int taken = 0; taken < 2; taken++) {
        wa_core_wait(&cores[1], taken != 0);
        atomic_store(&cores[1].taken, taken); /* by a third rank */
        start(&w, false);
        wa_crew_run(crew, PIECES, make, &w, panel);
        check_once(&w);
        CU_ASSERT_EQUAL(w.by_others, 0);
        CU_ASSERT_EQUAL(cores[1].taken, taken);
    }
    CU_ASSERT(wa_crew_close(crew) >= 0.0);
}

static void nobody_helps_where_processors_are_too_few(void)
{
    static wa_core cores[CORES];
    wa_crew *crew;
    wa_error err;
    memset(cores, 0, sizeof cores); /* nobody has said which */
    WA_MUST(wa_crew_open(cores, CORES, 0, &crew, &err), &err);
    CU_ASSERT_PTR_NULL(crew);
    for (size_t i = 0; i < CORES; i++)
        cores[i].processors[0] = 1; /* one for both */
    WA_MUST(wa_crew_open(cores, CORES, 0, &crew, &err), &err);
    CU_ASSERT_PTR_NULL(crew);
    CU_ASSERT_FALSE(wa_crew_has_help(NULL));
    CU_ASSERT_EQUAL(wa_crew_close(NULL), 0.0);
}

/* Rows [rows][n] of two operands by one stored matrix, with help or without. */
static void multiply(wa_crew *crew, bool by_features, size_t rows, size_t n, size_t k,
                     const float *w, const float *x, float *y)
{
    wa_arena *arena;
    wa_scratch scratch;
    wa_error err;
    wa_operand pairs[2] = {{.x = x, .y = y}, {.x = x + rows * k, .y = y + rows * n}};
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_scratch_open(arena, rows, n, k > n ? k : n, &scratch, &err), &err);
    scratch.crew = crew;
    wa_matrix matrix = {.data = (const uint8_t *)w,
                        .format = WA_FORMAT_F32,
                        .order = WA_ROWS_PLAIN,
                        .rows = by_features ? k : n,
                        .cols = by_features ? n : k,
                        .row_bytes = (by_features ? n : k) * sizeof *w};
    if (by_features)
        wa_gemm_features(&matrix, rows, k, pairs, 2, &scratch);
    else
        wa_gemm_rows(&matrix, rows, k, n, pairs, 2, NULL, &scratch);
    wa_arena_close(arena);
}

static bool same_bytes(const void *a, const void *b, size_t size)
{
    return memcmp(a, b, size) == 0;
}

/* Pieces of a product with help are narrower. */
static void help_changes_no_bit(void)
{
    enum { ROWS = 21, N = 1000, K = 600 };
    static wa_core cores[CORES];
    static float w[N * K], x[2 * ROWS * K], alone[2 * ROWS * N], helped[2 * ROWS * N];
    wa_crew *crew = open_crew(cores);
    for (size_t i = 0; i < N * K; i++)
        w[i] = (float)((i * 2654435761U) % 2001) / 1000.0F - 1.0F;
    for (size_t i = 0; i < 2 * ROWS * K; i++)
        x[i] = (float)((i * 40503U) % 1777) / 888.0F - 1.0F;
    wa_core_wait(&cores[1], true);
    for (int by_features = 0; by_features < 2; by_features++) {
        multiply(NULL, by_features != 0, ROWS, N, K, w, x, alone);
        for (int round = 0; round < 20; round++) {
            memset(helped, 0xFF, sizeof helped);
            multiply(crew, by_features != 0, ROWS, N, K, w, x, helped);
            CU_ASSERT_TRUE(same_bytes(alone, helped, sizeof alone));
        }
    }
    wa_crew_close(crew);
}

WA_SUITE("crew", WA_CASE(a_core_whose_rank_waits_takes_pieces),
         WA_CASE(a_core_that_is_busy_or_taken_is_left_alone),
         WA_CASE(nobody_helps_where_processors_are_too_few), WA_CASE(help_changes_no_bit))

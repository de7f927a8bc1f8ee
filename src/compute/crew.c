/*
 * A rank that waits is not asked to do anything: the thread on its core belongs to the rank that has
 * the work, and so sees its memory and its mapped files. It takes one piece at a time for as long as
 * the rank waits, so what that rank loses when it goes on is the rest of a piece.
 */
#define _GNU_SOURCE /* cpu_set_t, pthread_setaffinity_np */
#include "compute/crew.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/thread.h"
#include "compute/isa.h"
#include "compute/pack.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* Products follow one another closely: a thread looks so many times for the next, and one that has
 * no piece left so many times for the others to be done, before it sleeps. */
enum { LOOKS = 2000, STACK_BYTES = 1 << 20 };

typedef struct helper {
    wa_crew *crew;
    wa_core *core;
    pthread_t thread;
    pthread_cond_t woken; /* called or crew->ending changed */
    bool called;          /* it has been given the core, and gives it back */
    double processor;     /* seconds, when it has ended */
    float *panel;
} helper;

struct wa_crew {
    pthread_mutex_t lock;
    pthread_cond_t left; /* active has become 0 */
    bool ending;
    bool open; /* helpers may join */
    size_t active;
    /* the work: changed only while nobody is active */
    wa_crew_piece *piece;
    const void *context;
    size_t pieces;
    atomic_size_t next;
    atomic_uint number;    /* of the work, for those who look without the lock */
    atomic_size_t at_work; /* as active */
    size_t count;
    helper helpers[]; /* [count] */
};

static_assert(sizeof(((wa_core *)NULL)->processors) >= sizeof(cpu_set_t), "a mask fits");

void wa_core_describe(wa_core *core)
{
    cpu_set_t mask;
    atomic_init(&core->waits, 0);
    atomic_init(&core->taken, 0);
    if (sched_getaffinity(0, sizeof mask, &mask) == 0)
        memcpy(core->processors, &mask, sizeof mask);
}

void wa_core_wait(wa_core *core, bool waits)
{
    atomic_store_explicit(&core->waits, waits, memory_order_relaxed);
}

static bool is_waiting(const wa_core *core)
{
    return atomic_load_explicit(&core->waits, memory_order_relaxed) != 0;
}

/* --- The thread of a helper ------------------------------------------------------------------- */

/* Run the next piece; false: there is none left. */
static bool take_piece(wa_crew *crew, float *panel)
{
    size_t piece = atomic_fetch_add_explicit(&crew->next, 1, memory_order_relaxed);
    if (piece < crew->pieces)
        crew->piece(crew->context, piece, panel);
    return piece < crew->pieces;
}

/* The lock is held, and given away while the pieces are worked on. */
static void join_work(helper *h)
{
    wa_crew *crew = h->crew;
    crew->active++;
    atomic_fetch_add_explicit(&crew->at_work, 1, memory_order_relaxed);
    pthread_mutex_unlock(&crew->lock);
    while (is_waiting(h->core) && take_piece(crew, h->panel))
        ;
    pthread_mutex_lock(&crew->lock);
    atomic_fetch_sub_explicit(&crew->at_work, 1, memory_order_release);
    if (--crew->active == 0)
        pthread_cond_signal(&crew->left);
}

/* Until there is other work than `number`, or the core is wanted, or for a moment. */
static void look_for_work(const helper *h, unsigned number)
{
    for (int i = 0; i < LOOKS && is_waiting(h->core) &&
                    atomic_load_explicit(&h->crew->number, memory_order_relaxed) == number;
         i++)
        sched_yield();
}

static void help(helper *h)
{
    wa_crew *crew = h->crew;
    unsigned seen;
    do {
        seen = atomic_load_explicit(&crew->number, memory_order_relaxed);
        if (crew->open && is_waiting(h->core))
            join_work(h);
        pthread_mutex_unlock(&crew->lock);
        look_for_work(h, seen);
        pthread_mutex_lock(&crew->lock);
    } while (!crew->ending && is_waiting(h->core) &&
             atomic_load_explicit(&crew->number, memory_order_relaxed) != seen);
    h->called = false;
    atomic_store_explicit(&h->core->taken, 0, memory_order_release);
}

static void *serve(void *context)
{
    helper *h = context;
    wa_crew *crew = h->crew;
    pthread_mutex_lock(&crew->lock);
    while (!crew->ending) {
        if (h->called)
            help(h);
        else
            pthread_cond_wait(&h->woken, &crew->lock);
    }
    pthread_mutex_unlock(&crew->lock);
    h->processor = wa_processor_clock();
    return NULL;
}

/* --- Opening ---------------------------------------------------------------------------------- */

/* The processors of all ranks together; 0 = unknown. */
static int count_processors(const wa_core *cores, size_t count)
{
    cpu_set_t all, mask;
    CPU_ZERO(&all);
    for (size_t i = 0; i < count; i++) {
        memcpy(&mask, cores[i].processors, sizeof mask);
        if (CPU_COUNT(&mask) == 0)
            return 0;
        CPU_OR(&all, &all, &mask);
    }
    return CPU_COUNT(&all);
}

/* On the core's processors from the start. */
static int start_thread(helper *h)
{
    cpu_set_t mask;
    pthread_attr_t attributes;
    memcpy(&mask, h->core->processors, sizeof mask);
    int refused = pthread_attr_init(&attributes);
    if (refused != 0)
        return refused;
    refused = pthread_attr_setaffinity_np(&attributes, sizeof mask, &mask);
    if (refused == 0)
        refused = pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (refused == 0)
        refused = wa_thread_start(&h->thread, &attributes, serve, h);
    pthread_attr_destroy(&attributes);
    return refused;
}

/* Where the system refuses one, the others serve. */
static bool add_helper(wa_crew *crew, wa_core *core)
{
    helper *h = &crew->helpers[crew->count];
    *h = (helper){.crew = crew, .core = core};
    h->panel = aligned_alloc(64, (size_t)WA_PACK_COLUMNS * WA_PANEL_DEPTH * sizeof *h->panel);
    if (h->panel == NULL)
        return false;
    pthread_cond_init(&h->woken, NULL);
    if (start_thread(h) != 0) {
        pthread_cond_destroy(&h->woken);
        free(h->panel);
        return false;
    }
    crew->count++;
    return true;
}

wa_status wa_crew_open(wa_core *cores, size_t count, size_t own, wa_crew **out, wa_error *err)
{
    size_t most = wa_size_min(count, WA_CREW_MOST + 1);
    *out = NULL;
    if (count < 2 || (size_t)count_processors(cores, count) < count)
        return WA_OK;
    wa_crew *crew = calloc(1, sizeof *crew + most * sizeof crew->helpers[0]);
    if (crew == NULL)
        return wa_fail(err, WA_E_MEMORY, "no memory for %zu threads", most - 1);
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->left, NULL);
    for (size_t i = 1; i < most; i++)
        if (!add_helper(crew, &cores[(own + i) % count]))
            break;
    *out = crew;
    return WA_OK;
}

double wa_crew_close(wa_crew *crew)
{
    double processor = 0.0;
    if (crew == NULL)
        return 0.0;
    pthread_mutex_lock(&crew->lock);
    crew->ending = true;
    for (size_t i = 0; i < crew->count; i++)
        pthread_cond_signal(&crew->helpers[i].woken);
    pthread_mutex_unlock(&crew->lock);
    for (size_t i = 0; i < crew->count; i++) {
        helper *h = &crew->helpers[i];
        pthread_join(h->thread, NULL);
        processor += h->processor;
        pthread_cond_destroy(&h->woken);
        free(h->panel);
    }
    pthread_cond_destroy(&crew->left);
    pthread_mutex_destroy(&crew->lock);
    free(crew);
    return processor;
}

/* --- Working ---------------------------------------------------------------------------------- */

bool wa_crew_has_help(const wa_crew *crew)
{
    for (size_t i = 0; crew != NULL && i < crew->count; i++)
        if (is_waiting(crew->helpers[i].core))
            return true;
    return false;
}

/* Wake those whose ranks have begun to wait, unless another rank has a thread there. */
static void call_helpers(wa_crew *crew)
{
    for (size_t i = 0; i < crew->count; i++) {
        helper *h = &crew->helpers[i];
        int free_core = 0;
        if (!is_waiting(h->core) ||
            !atomic_compare_exchange_strong_explicit(&h->core->taken, &free_core, 1,
                                                     memory_order_acquire, memory_order_relaxed))
            continue;
        pthread_mutex_lock(&crew->lock);
        h->called = true;
        pthread_cond_signal(&h->woken);
        pthread_mutex_unlock(&crew->lock);
    }
}

static void open_work(wa_crew *crew, size_t pieces, wa_crew_piece *piece, const void *context)
{
    pthread_mutex_lock(&crew->lock);
    crew->piece = piece;
    crew->context = context;
    crew->pieces = pieces;
    atomic_store_explicit(&crew->next, 0, memory_order_relaxed);
    crew->open = true;
    atomic_fetch_add_explicit(&crew->number, 1, memory_order_relaxed);
    pthread_mutex_unlock(&crew->lock);
}

static void close_work(wa_crew *crew)
{
    for (int i = 0; i < LOOKS && atomic_load_explicit(&crew->at_work, memory_order_acquire) > 0;
         i++)
        sched_yield();
    pthread_mutex_lock(&crew->lock);
    crew->open = false;
    while (crew->active > 0)
        pthread_cond_wait(&crew->left, &crew->lock);
    pthread_mutex_unlock(&crew->lock);
}

void wa_crew_run(wa_crew *crew, size_t pieces, wa_crew_piece *piece, const void *context,
                 float *panel)
{
    if (crew == NULL || pieces < 2) {
        for (size_t p = 0; p < pieces; p++)
            piece(context, p, panel);
        return;
    }
    open_work(crew, pieces, piece, context);
    do
        call_helpers(crew);
    while (take_piece(crew, panel));
    close_work(crew);
}

/* Hosts, processors, BLAS and memory of every rank. */
#include "run/places.h"

#include "base/topology.h"
#include "compute/kernel.h"

#include <stdio.h>
#include <string.h>

/* What each rank reports. */
typedef struct place {
    wa_topology topology;
    size_t memory; /* this communicator's share of the node's */
    int threads;
    char host[64], blas[16], core[64];
} place;

struct wa_run_places {
    size_t count;
    place *all; /* [count], rank 0 */
    size_t memory;
    wa_engine engine;
};

/* A node's memory serves all ranks of the run on it, also those of other audits. */
static size_t share_of(size_t memory, const wa_comm *comm)
{
    return memory / (size_t)wa_comm_ranks_of_node(comm, true) *
           (size_t)wa_comm_ranks_of_node(comm, false);
}

static place look(const wa_comm *comm)
{
    place mine = {.topology = wa_topology_read(""), .threads = wa_blas_threads()};
    mine.memory = share_of(mine.topology.memory, comm);
    snprintf(mine.host, sizeof mine.host, "%.63s", wa_comm_host(comm));
    wa_blas blas = wa_blas_look();
    snprintf(mine.blas, sizeof mine.blas, "%s", blas.name);
    snprintf(mine.core, sizeof mine.core, "%s", blas.core);
    return mine;
}

static bool same_core(const place *a, const place *b)
{
    return strcmp(a->blas, b->blas) == 0 && strcmp(a->core, b->core) == 0;
}

/* With engine: blas, a library gives other bits on another core type, so hosts must agree on it
 * (design 3). */
static wa_status check_cores(const wa_run_places *places, wa_error *err)
{
    const place *first = &places->all[0];
    for (size_t r = 1; r < places->count; r++)
        if (!same_core(&places->all[r], first))
            return wa_fail(
                err, WA_E_MISMATCH,
                "%s core '%s' on host '%s' (rank %zu), '%s' on host '%s' (rank 0): their bits "
                "differ; set OPENBLAS_CORETYPE or give --mixed-cores",
                places->all[r].blas, places->all[r].core, places->all[r].host, r, first->core,
                first->host);
    return WA_OK;
}

static size_t least_memory(const wa_run_places *places)
{
    size_t least = 0;
    for (size_t r = 0; r < places->count; r++)
        if (places->all[r].memory != 0 && (least == 0 || places->all[r].memory < least))
            least = places->all[r].memory;
    return least;
}

/* On this rank: may every product come out right? */
static wa_status check_products(wa_engine engine, wa_error *err)
{
    const wa_isa *isa;
    WA_TRY(wa_isa_choose(&isa, err));
    WA_TRY(wa_blas_check_room(err));
    WA_TRY(wa_dgemm_check(wa_blas_dgemm, err));
    return wa_gemm_check(engine, engine == WA_ENGINE_BLAS ? wa_blas_gemm : wa_own_gemm, isa, err);
}

wa_status wa_run_places_open(wa_comm *comm, const wa_run_options *options, wa_engine engine,
                             wa_arena *arena, wa_run_places **out, wa_error *err)
{
    wa_status status = check_products(engine, err);
    if (status != WA_OK)
        status = wa_note(err, "on host '%s'", wa_comm_host(comm));
    WA_TRY(wa_comm_agree(comm, status, err));

    bool is_root = wa_comm_rank(comm) == 0;
    wa_run_places *places;
    place mine = look(comm);
    status = wa_arena_take(arena, 1, sizeof *places, &places, err);
    if (status == WA_OK && is_root) {
        places->count = (size_t)wa_comm_size(comm);
        status = wa_arena_take(arena, places->count, sizeof mine, &places->all, err);
    }
    WA_TRY(wa_comm_agree(comm, status, err));
    WA_TRY(wa_comm_gather(comm, &mine, sizeof mine, places->all, err));
    if (is_root && engine == WA_ENGINE_BLAS && !options->mixed_cores)
        status = check_cores(places, err);
    WA_TRY(wa_comm_agree(comm, status, err));
    places->memory = least_memory(places);
    places->engine = engine;
    WA_TRY(wa_comm_broadcast(comm, &places->memory, sizeof places->memory, err));
    *out = places;
    return WA_OK;
}

size_t wa_run_places_memory(const wa_run_places *places)
{
    return places->memory;
}

bool wa_run_places_warning(const wa_run_places *places, size_t *at, char *out, size_t size)
{
    const place *first = &places->all[0];
    for (; *at < places->count; ++*at) {
        const place *p = &places->all[*at];
        bool other_host = strcmp(p->host, first->host) != 0;
        int length = 0;
        if (p->topology.cpu_count != 0 && p->threads > p->topology.cpu_count)
            length =
                snprintf(out, size,
                         "rank %zu on host '%s' has %d BLAS threads and may use %d processors (%s)",
                         *at, p->host, p->threads, p->topology.cpu_count, p->topology.cpus);
        else if (other_host && (p->topology.cpu_count != first->topology.cpu_count ||
                                p->threads != first->threads))
            length = snprintf(out, size,
                              "rank %zu on host '%s' has %d BLAS threads on %d processors, rank 0 "
                              "on host '%s' %d on %d",
                              *at, p->host, p->threads, p->topology.cpu_count, first->host,
                              first->threads, first->topology.cpu_count);
        else if (places->engine == WA_ENGINE_BLAS && other_host && !same_core(p, first))
            length = snprintf(
                out, size,
                "rank %zu on host '%s' has %s core '%s', rank 0 on host '%s' '%s': bits differ",
                *at, p->host, p->blas, p->core, first->host, first->core);
        if (length > 0) { /* once for each host */
            while (*at < places->count && strcmp(places->all[*at].host, p->host) == 0)
                ++*at;
            return true;
        }
    }
    return false;
}

/* Attributes of a file are small: beyond so many ranks the lists are cut. */
enum { LISTED_RANKS = 2048 };

void wa_run_places_describe(const wa_run_places *places, json_t *object)
{
    json_t *hosts = json_array(), *cpus = json_array(), *blas = json_array();
    for (size_t r = 0; r < places->count && r < LISTED_RANKS; r++) {
        const place *p = &places->all[r];
        char text[sizeof p->core + 16];
        snprintf(text, sizeof text, "%s x %d", p->core, p->threads);
        json_array_append_new(hosts, json_string(p->host));
        json_array_append_new(cpus, json_string(p->topology.cpus));
        json_array_append_new(blas, json_string(text));
    }
    json_object_set_new(object, "rank_host", hosts);
    json_object_set_new(object, "rank_cpus", cpus);
    json_object_set_new(object, "rank_blas", blas);
    json_object_set_new(object, "node_memory", json_integer((json_int_t)places->memory));
    json_object_set_new(object, "node_memory_limited_by",
                        json_string(places->all[0].topology.limited_by));
}

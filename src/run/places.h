/* Where the ranks of an audit run, and whether those places suit each other. */
#ifndef WALKAUDIT_RUN_PLACES_H
#define WALKAUDIT_RUN_PLACES_H

#include "run/sweep.h"

#include <jansson.h>

typedef struct wa_run_places wa_run_places;

/**
 * Collective. Check the engine's products on every rank, gather every rank's host, processors, BLAS
 * core and threads, and agree on the memory of a node.
 *
 * Errors: WA_E_UNSUPPORTED when products of a host come out wrong, WA_E_MISMATCH when BLAS cores
 * differ at engine blas without --mixed-cores; both name the host.
 */
WA_CHECKED wa_status wa_run_places_open(wa_comm *comm, const wa_run_options *options,
                                        wa_engine engine, wa_arena *arena, wa_run_places **out,
                                        wa_error *err);

/** Bytes that the ranks of this communicator may use on a node: the least of all nodes; 0 =
 * unknown. The same on every rank. */
size_t wa_run_places_memory(const wa_run_places *places);

/** Rank 0: the next warning, from *at = 0 on; false when there is none. */
bool wa_run_places_warning(const wa_run_places *places, size_t *at, char *out, size_t size);

/** Rank 0: keys rank_host, rank_cpus, rank_blas (lists by rank) and node_memory, for /run/K. */
void wa_run_places_describe(const wa_run_places *places, json_t *object);

#endif

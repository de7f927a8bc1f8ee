/* Products on cores that others leave idle: each rank of a host says when it waits, and the others
 * have a thread there that then takes pieces of what they multiply. */
#ifndef WALKAUDIT_COMPUTE_CREW_H
#define WALKAUDIT_COMPUTE_CREW_H

#include "base/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The core of one rank, in memory that the ranks of its host share. Zeros before they begin. */
typedef struct wa_core {
    _Alignas(64) atomic_int waits; /* its rank has nothing to do */
    atomic_int taken;              /* a thread of another rank is at work there */
    uint8_t processors[128];       /* that its rank may use, one bit each; zeros: unknown */
} wa_core;

/** Local. Fill in this rank's own core, before any other rank looks at it. */
void wa_core_describe(wa_core *core);
/** The rank that has the core begins to wait, or is done waiting. Local. */
void wa_core_wait(wa_core *core, bool waits);

/** The threads of one rank, on the cores of others. */
typedef struct wa_crew wa_crew;

/**
 * A thread for each of the next `count` - 1 cores after `own`, in a circle, WA_CREW_MOST of them at
 * most, all asleep. None where the ranks have fewer processors than they are, or where the system
 * gives none: *out is NULL then. To be closed by wa_crew_close. Errors: WA_E_MEMORY.
 *
 * cores  [count] of one host, borrowed; described by all
 */
enum { WA_CREW_MOST = 15 };
WA_CHECKED wa_status wa_crew_open(wa_core *cores, size_t count, size_t own, wa_crew **out,
                                  wa_error *err);
/** End the threads. Returns the seconds of a processor that they had. NULL: 0. */
double wa_crew_close(wa_crew *crew);

/** Does a rank wait whose core could be used now? false for NULL. */
bool wa_crew_has_help(const wa_crew *crew);
/** One piece of some work. panel: WA_PACK_COLUMNS x WA_PANEL_DEPTH floats of the thread's own. */
typedef void wa_crew_piece(const void *context, size_t piece, float *panel);
/** Run pieces 0 to pieces - 1, each once, in any order, on this thread and on cores whose ranks
 * wait; all are done when it returns. `crew` may be NULL; panel is this thread's. */
void wa_crew_run(wa_crew *crew, size_t pieces, wa_crew_piece *piece, const void *context,
                 float *panel);

#endif

/* Who started this process: a launcher of MPI, `walkaudit run -n`, or a person. */
#ifndef WALKAUDIT_BASE_LAUNCHED_H
#define WALKAUDIT_BASE_LAUNCHED_H

#include <stdbool.h>
#include <stddef.h>

/**
 * The variable by which mpirun, mpiexec or srun tells this process its rank ("PMI_RANK"); NULL when
 * none did. Ask before MPI_Init, since a lone process of Open MPI gives itself such variables
 * there. Local.
 */
const char *wa_launched_by(void);

/** What `walkaudit run -n` tells the ranks that it starts, in variables of its own. */
#define WA_LAUNCH_MARK                                                                             \
    "WALKAUDIT_LAUNCH_MARK" /* a file in which rank 0 says what has happened, in bytes */
#define WA_LAUNCH_TERMINALS                                                                        \
    "WALKAUDIT_LAUNCH_TERMINALS" /* which of 1 and 2 were terminals, as digits */

/** Bytes of that file. Any other is rank 0's exit code. */
enum {
    WA_LAUNCH_BEGUN = 'b',    /* MPI has started */
    WA_LAUNCH_RESUMABLE = 'r' /* from here on a run that is cut short can be resumed */
};

#define WA_LAUNCH_COLUMNS "WALKAUDIT_LAUNCH_COLUMNS" /* width of that of 1; 0 = unknown */

/** Does what is written to this descriptor end on the terminal of `walkaudit run -n`? false when
 * that did not start this process. */
bool wa_launched_on_terminal(int descriptor);

/**
 * Width of the terminal on which what is written to this descriptor ends, also that of `walkaudit
 * run -n`: COLUMNS where it is set, else what the terminal says. 0: no terminal, or one that does
 * not say. Local.
 */
size_t wa_terminal_columns(int descriptor);

#endif

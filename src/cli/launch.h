/* walkaudit run -n N: the launcher of MPI is started by the program itself. */
#ifndef WALKAUDIT_CLI_LAUNCH_H
#define WALKAUDIT_CLI_LAUNCH_H

#include "base/arena.h"

#include <stdbool.h>

/** Is this process a rank that wa_cli_launch started? */
bool wa_cli_is_launched(void);

/**
 * Start `walkaudit run` with the same words on `ranks` ranks of this machine (in an allocation of
 * Slurm: wherever the launcher puts them), wait, and hand signals on. Open MPI is allowed more
 * ranks than slots, and ranks of root.
 *
 * argv       of the verb: argv[0] is "walkaudit run"
 * exit_code  rank 0's where it is not 0, else the launcher's where that is one of ours
 *
 * Errors: WA_E_USAGE when a launcher started this process; WA_E_IO without a launcher, or when it
 * ended before rank 0 had begun; WA_E_STOPPED and WA_E_NO_PROGRESS when rank 0 ended without saying
 * how, with what can be resumed and without; WA_E_MPI when the launcher failed after rank 0 had
 * ended well.
 */
WA_CHECKED wa_status wa_cli_launch(int ranks, int argc, char **argv, wa_arena *arena,
                                   int *exit_code, wa_error *err);

/**
 * On every rank of these, once MPI has started: rank 0 says so, and will say its exit code
 * (wa_signals_tell). ranks: as asked for; size:
 * as MPI has it. A launcher of another MPI starts processes that do not know each other: WA_E_IO,
 * with true in *speaks for one of them.
 */
WA_CHECKED wa_status wa_cli_launch_began(int ranks, int rank, int size, bool *speaks,
                                         wa_error *err);

#endif

/* What a batch system set aside for this job, so that a run on a part of it is noticed. */
#ifndef WALKAUDIT_RUN_ALLOCATION_H
#define WALKAUDIT_RUN_ALLOCATION_H

#include <stdbool.h>
#include <stddef.h>

/**
 * Tasks of the Slurm allocation around this process, 0 outside of one or where Slurm names none.
 * Local, cannot fail.
 *
 * The largest of what Slurm's variables say, since no single one tells: SLURM_NTASKS is what counts
 * for srun, also where a script's --ntasks undercuts --nodes with --ntasks-per-node; srun puts its
 * own step's number in its place. Under Open MPI's mpirun, which starts its daemons by srun, the
 * variables count those, and nothing is noticed.
 */
size_t wa_allocation_tasks(void);

/** The sentence for `ranks` in an allocation of `tasks`; false and "" where all tasks are ranks.
 * Local. */
bool wa_allocation_warning(size_t ranks, size_t tasks, char *out, size_t size);

#endif

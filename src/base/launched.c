/* Traces of launchers in the environment. */
#include "base/launched.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* One that each launcher sets for its ranks, and for nothing else. */
static const char *const RANKS[] = {
    "OMPI_COMM_WORLD_RANK", /* Open MPI's mpirun */
    "PMIX_RANK",            /* every launcher with PMIx: srun --mpi=pmix, prterun */
    "PMI_RANK",             /* MPICH, Intel MPI, srun --mpi=pmi2 */
    "MV2_COMM_WORLD_RANK",  /* MVAPICH2's mpirun_rsh */
    "PALS_RANKID",          /* HPE Cray's mpiexec */
    "JSM_NAMESPACE_RANK",   /* IBM's jsrun */
    "FLUX_TASK_RANK",       /* flux run */
};

/* srun without a plugin for MPI. The batch script has SLURM_PROCID as well; its own step, and that
 * of salloc's shell, are numbered from the top: 0xfffffffb, 0xfffffffa. */
static bool is_task_of_srun(void)
{
    static const unsigned long LAST_STEP = 0xfffffff0UL;
    const char *step = getenv("SLURM_STEP_ID"), *rank = getenv("SLURM_PROCID");
    return step != NULL && rank != NULL && step[0] >= '0' && step[0] <= '9' &&
           strtoul(step, NULL, 10) < LAST_STEP;
}

const char *wa_launched_by(void)
{
    for (size_t i = 0; i < sizeof RANKS / sizeof RANKS[0]; i++)
        if (getenv(RANKS[i]) != NULL)
            return RANKS[i];
    return is_task_of_srun() ? "SLURM_PROCID" : NULL;
}

bool wa_launched_on_terminal(int descriptor)
{
    const char *terminals = getenv(WA_LAUNCH_TERMINALS);
    return terminals != NULL && strchr(terminals, '0' + descriptor) != NULL;
}

static size_t number_in(const char *variable)
{
    const char *text = getenv(variable);
    long number = text == NULL ? 0 : strtol(text, NULL, 10);
    return number > 0 ? (size_t)number : 0;
}

size_t wa_terminal_columns(int descriptor)
{
    struct winsize size;
    bool here = isatty(descriptor) != 0;
    if (!here && !wa_launched_on_terminal(descriptor))
        return 0;
    size_t columns = number_in("COLUMNS");
    if (columns == 0 && here && ioctl(descriptor, TIOCGWINSZ, &size) == 0)
        columns = size.ws_col;
    return columns > 0 ? columns : number_in(WA_LAUNCH_COLUMNS);
}

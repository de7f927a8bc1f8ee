/* Counts that Slurm exports to batch scripts and steps: sbatch(1), "Output environment
 * variables". */
#include "run/allocation.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST = 1 << 24 }; /* of nodes, of tasks: what is larger is no count */

/* A count at the start of the text; *rest is what follows it. 0: none. */
static size_t count_at(const char *text, char **rest)
{
    if (text[0] < '0' || text[0] > '9')
        return 0;
    unsigned long value = strtoul(text, rest, 10);
    return value <= MOST ? (size_t)value : 0;
}

/* The whole of a variable as a count, 0 where it is none. */
static size_t count_of(const char *variable)
{
    const char *text = getenv(variable);
    char *rest;
    size_t count = text == NULL ? 0 : count_at(text, &rest);
    return count > 0 && *rest == '\0' ? count : 0;
}

size_t wa_allocation_tasks(void)
{
    if (getenv("SLURM_JOB_ID") == NULL)
        return 0;
    size_t tasks = count_of("SLURM_NTASKS");
    size_t spread = count_of("SLURM_JOB_NUM_NODES") * count_of("SLURM_NTASKS_PER_NODE");
    return spread > tasks ? spread : tasks;
}

bool wa_allocation_warning(size_t ranks, size_t tasks, char *out, size_t size)
{
    out[0] = '\0';
    if (ranks >= tasks)
        return false;
    snprintf(out, size,
             "%zu %s in a Slurm allocation of %zu tasks: the others stay idle; where that is not "
             "meant, see that the "
             "script sets no --ntasks of its own, and that the launcher starts walkaudit on all "
             "tasks through one MPI",
             ranks, ranks == 1 ? "rank runs" : "ranks run", tasks);
    return true;
}

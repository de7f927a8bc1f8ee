/* What a host lets this process use: processors and memory. */
#ifndef WALKAUDIT_BASE_TOPOLOGY_H
#define WALKAUDIT_BASE_TOPOLOGY_H

#include <stddef.h>

/** A plain value. */
typedef struct wa_topology {
    char cpus[128]; /* binding mask as a list, "0-3,8"; ends in ",..." when cut; "" = unknown */
    int cpu_count;  /* processors in the mask; 0 = unknown */
    /* bytes that this job's processes may use on the node together; 0 = unknown */
    size_t memory;
    /* what says so: "MemAvailable", "cgroup", "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU" */
    char limited_by[32];
} wa_topology;

/**
 * The least of MemAvailable, the memory limits of the process's cgroup (versions 1 and 2) and of
 * those above it, and Slurm's. Mapped files count against a cgroup's limit too, as its page cache.
 * Local, cannot fail: what cannot be read is unknown.
 *
 * root  before /proc and /sys, "" on a real host
 */
wa_topology wa_topology_read(const char *root);

#endif

/* What a host lets a process use: limits of made-up hosts, and the processors of this one. */
#include "suite.h"

#include "base/topology.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define HOST WA_TEST_BINARY_DIR "/topology"

/* Write HOST/NAME, with the directories on its way. */
static void write_host_file(const char *name, const char *text)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", HOST, name);
    for (char *at = path + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        mkdir(path, 0777);
        *at = '/';
    }
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    fclose(file);
}

static void new_host(void)
{
    static const char *const slurm[] = {"SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU",
                                        "SLURM_CPUS_ON_NODE"};
    for (size_t i = 0; i < sizeof slurm / sizeof slurm[0]; i++)
        unsetenv(slurm[i]);
    write_host_file("proc/meminfo",
                    "MemTotal:       4000000 kB\nMemFree: 1 kB\nMemAvailable:   3000000 kB\n");
    write_host_file("proc/self/cgroup", "0::/\n");
    write_host_file("sys/fs/cgroup/job/step/memory.max", "max\n");
    write_host_file("sys/fs/cgroup/job/memory.max", "max\n");
    write_host_file("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n");
    write_host_file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
}

static void expect(size_t memory, const char *by)
{
    wa_topology host = wa_topology_read(HOST);
    if (host.memory != memory || strcmp(host.limited_by, by) != 0)
        fprintf(stderr, "    found %zu by '%s', expected %zu by '%s'\n", host.memory,
                host.limited_by, memory, by);
    CU_ASSERT_EQUAL(host.memory, memory);
    CU_ASSERT_STRING_EQUAL(host.limited_by, by);
}

static void available_memory_counts_where_nothing_else_limits(void)
{
    new_host();
    expect((size_t)3000000 * 1024, "MemAvailable");
    write_host_file("proc/self/cgroup", "0::/job/step\n");
    expect((size_t)3000000 * 1024, "MemAvailable");
    write_host_file("proc/self/cgroup", "garbage\n4:cpu\n:\n");
    expect((size_t)3000000 * 1024, "MemAvailable");
}

static void groups_of_version_2_limit_from_any_level(void)
{
    new_host();
    write_host_file("proc/self/cgroup", "0::/job/step\n");
    write_host_file("sys/fs/cgroup/job/memory.max", "2000000000\n");
    expect(2000000000, "cgroup");
    write_host_file("sys/fs/cgroup/job/step/memory.max", "1000000000\n");
    expect(1000000000, "cgroup");
    write_host_file("sys/fs/cgroup/job/step/memory.max", "nonsense\n");
    expect(2000000000, "cgroup");
}

static void groups_of_version_1_limit_in_their_own_tree(void)
{
    new_host();
    write_host_file("proc/self/cgroup", "9:cpu,cpuacct:/job\n4:memory:/job/not-seen-here\n0::/\n");
    expect((size_t)3000000 * 1024, "MemAvailable");
    write_host_file("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "1500000000\n");
    expect(1500000000, "cgroup");
    write_host_file("proc/self/cgroup", "4:memory_other:/job\n");
    expect((size_t)3000000 * 1024, "MemAvailable");
}

static void slurm_limits_by_node_or_by_processor(void)
{
    new_host();
    setenv("SLURM_MEM_PER_NODE", "1000", 1);
    expect((size_t)1000 << 20, "SLURM_MEM_PER_NODE");
    setenv("SLURM_MEM_PER_NODE", "0", 1); /* the whole node */
    expect((size_t)3000000 * 1024, "MemAvailable");
    unsetenv("SLURM_MEM_PER_NODE");
    setenv("SLURM_MEM_PER_CPU", "300", 1);
    expect((size_t)3000000 * 1024, "MemAvailable"); /* of how many processors is not said */
    setenv("SLURM_CPUS_ON_NODE", "4", 1);
    expect((size_t)1200 << 20, "SLURM_MEM_PER_CPU");
    setenv("SLURM_MEM_PER_CPU", "-1", 1);
    expect((size_t)3000000 * 1024, "MemAvailable");
    setenv("SLURM_MEM_PER_CPU", "99999999999999999999999", 1);
    expect((size_t)3000000 * 1024, "MemAvailable");
    new_host();
}

static void a_host_that_tells_nothing_is_unknown(void)
{
    wa_topology host = wa_topology_read(HOST "/nowhere");
    CU_ASSERT_EQUAL(host.memory, 0);
    CU_ASSERT_STRING_EQUAL(host.limited_by, "");
}

static void this_process_may_use_a_processor(void)
{
    wa_topology host = wa_topology_read("");
    CU_ASSERT(host.cpu_count >= 1);
    CU_ASSERT(strlen(host.cpus) >= 1);
    CU_ASSERT(strspn(host.cpus, "0123456789-,.") == strlen(host.cpus));
    CU_ASSERT(host.memory > (size_t)1 << 20);
}

WA_SUITE("topology", WA_CASE(available_memory_counts_where_nothing_else_limits),
         WA_CASE(groups_of_version_2_limit_from_any_level),
         WA_CASE(groups_of_version_1_limit_in_their_own_tree),
         WA_CASE(slurm_limits_by_node_or_by_processor),
         WA_CASE(a_host_that_tells_nothing_is_unknown), WA_CASE(this_process_may_use_a_processor))

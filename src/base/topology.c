/* Processors and memory of a host, as the kernel and Slurm tell them. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "base/topology.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Processors ------------------------------------------------------------------------------- */

/* "0-3,8"; a list that does not fit ends in ",...". */
static void list_processors(const cpu_set_t *set, char *out, size_t size)
{
    static const char cut[] = ",...";
    size_t at = 0;
    out[0] = '\0';
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, set) || (cpu > 0 && CPU_ISSET(cpu - 1, set)))
            continue;
        size_t last = cpu;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set))
            last++;
        char range[32];
        int length =
            last == cpu ? snprintf(range, sizeof range, "%s%zu", at == 0 ? "" : ",", cpu)
                        : snprintf(range, sizeof range, "%s%zu-%zu", at == 0 ? "" : ",", cpu, last);
        if (at + (size_t)length + sizeof cut > size) {
            memcpy(out + at, cut, sizeof cut);
            return;
        }
        memcpy(out + at, range, (size_t)length + 1);
        at += (size_t)length;
    }
}

static void read_processors(wa_topology *out)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return;
    out->cpu_count = CPU_COUNT(&set);
    list_processors(&set, out->cpus, sizeof out->cpus);
}

/* --- Memory ----------------------------------------------------------------------------------- */

static void limit(wa_topology *out, unsigned long long bytes, const char *by)
{
    if (bytes == 0 || bytes > SIZE_MAX || (out->memory != 0 && bytes >= out->memory))
        return;
    out->memory = (size_t)bytes;
    snprintf(out->limited_by, sizeof out->limited_by, "%s", by);
}

static void read_available(const char *root, wa_topology *out)
{
    char path[PATH_MAX], line[256];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return;
    unsigned long long kib = 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            break;
    fclose(file);
    limit(out, kib <= ULLONG_MAX / 1024 ? kib * 1024 : 0, "MemAvailable");
}

/* One file of one number; "max" and what is not there are no limits. */
static void read_limit(const char *path, wa_topology *out)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return;
    unsigned long long bytes;
    if (fscanf(file, "%llu", &bytes) == 1)
        limit(out, bytes, "cgroup");
    fclose(file);
}

/* The limit of a group and of every group above it; a container may not see those above, or only
 * them. */
static void walk_up(const char *mount, const char *group, const char *file, wa_topology *out)
{
    char at[PATH_MAX], path[PATH_MAX + 64];
    snprintf(at, sizeof at, "%s", group);
    for (;;) {
        snprintf(path, sizeof path, "%s%s/%s", mount, strcmp(at, "/") == 0 ? "" : at, file);
        read_limit(path, out);
        char *slash = strrchr(at, '/');
        if (slash == NULL || at[0] == '\0')
            return;
        *slash = '\0';
    }
}

static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += length)
        if ((at == list || at[-1] == ',') && (at[length] == ',' || at[length] == '\0'))
            return true;
    return false;
}

/* Lines "ID:CONTROLLERS:PATH"; version 2 has no controllers, cgroups(7). */
static void read_cgroups(const char *root, wa_topology *out)
{
    char path[PATH_MAX], line[PATH_MAX], mount[PATH_MAX];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return;
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (group == NULL)
            continue;
        *group++ = '\0';
        if (controllers[1] == '\0') {
            snprintf(mount, sizeof mount, "%s/sys/fs/cgroup", root);
            walk_up(mount, group, "memory.max", out);
        } else if (has_word(controllers + 1, "memory")) {
            snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/memory", root);
            walk_up(mount, group, "memory.limit_in_bytes", out);
        }
    }
    fclose(file);
}

/* A variable of megabytes or of a count; 0 when it is not set or no number. */
static unsigned long long number_of(const char *variable)
{
    const char *text = getenv(variable);
    char *end;
    if (text == NULL || text[0] < '0' || text[0] > '9')
        return 0;
    unsigned long long value = strtoull(text, &end, 10);
    return *end == '\0' && value < ((unsigned long long)1 << 40) ? value : 0;
}

/* Slurm gives megabytes, and 0 when a job may use the whole node. */
static void read_slurm(wa_topology *out)
{
    limit(out, number_of("SLURM_MEM_PER_NODE") << 20, "SLURM_MEM_PER_NODE");
    unsigned long long cpus = number_of("SLURM_CPUS_ON_NODE");
    if (cpus < 1 << 16)
        limit(out, (number_of("SLURM_MEM_PER_CPU") & 0xffffffffU) * cpus << 20,
              "SLURM_MEM_PER_CPU");
}

wa_topology wa_topology_read(const char *root)
{
    wa_topology out = {.cpu_count = 0};
    read_processors(&out);
    read_available(root, &out);
    read_cgroups(root, &out);
    read_slurm(&out);
    return out;
}

/*
 * A preloaded library that notes every wish to read mapped files ahead: madvise(MADV_WILLNEED)
 * appends "FILE OFFSET BYTES" to the file that WALKAUDIT_TEST_WISHES names, followed by a dot and
 * the process's number.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void note(uintptr_t at, size_t bytes)
{
    char name[4096], line[8192], path[4096];
    const char *log = getenv("WALKAUDIT_TEST_WISHES");
    FILE *maps = fopen("/proc/self/maps", "r");
    if (log == NULL || maps == NULL)
        return;
    while (fgets(line, sizeof line, maps) != NULL) {
        uintptr_t start, end;
        uint64_t offset;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %" SCNx64 " %*s %*s %4095s", &start, &end,
                   &offset, path) == 4 &&
            start <= at && at < end) {
            snprintf(name, sizeof name, "%.4000s.%ld", log, (long)getpid());
            FILE *out = fopen(name, "a");
            if (out != NULL) {
                fprintf(out, "%s %" PRIu64 " %zu\n", path, offset + (at - start), bytes);
                fclose(out);
            }
            break;
        }
    }
    fclose(maps);
}

int madvise(void *at, size_t bytes, int advice)
{
    int (*next)(void *, size_t, int) = (int (*)(void *, size_t, int))dlsym(RTLD_NEXT, "madvise");
    if (advice == MADV_WILLNEED)
        note((uintptr_t)at, bytes);
    return next(at, bytes, advice);
}

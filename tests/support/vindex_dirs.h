/* Directories for the vindex tests: copies of golden ones that may be damaged, and what is left in
 * them. */
#ifndef WALKAUDIT_TEST_VINDEX_DIRS_H
#define WALKAUDIT_TEST_VINDEX_DIRS_H

#include "suite.h"
#include "vindex/vindex.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_ROOM = 1024 };

/* A scratch directory of the build tree; `suite` keeps programs apart that run at the same time. */
static inline void scratch_path(char *out, const char *suite, const char *name)
{
    snprintf(out, PATH_ROOM, "%s/%s-%s", WA_TEST_BINARY_DIR, suite, name);
}

static inline bool shell(const char *format, const char *a, const char *b)
{
    char command[6 * PATH_ROOM];
    snprintf(command, sizeof command, format, a, b);
    return system(command) == 0;
}

static inline void copy_directory(const char *from, const char *to)
{
    if (!shell("rm -rf '%s'%s", to, "") || !shell("cp -R '%s' '%s'", from, to) ||
        !shell("chmod -R u+w '%s'%s", to, ""))
        abort();
}

/* Replace the content of a file in a directory. */
static inline void write_file(const char *dir, const char *name, const void *bytes, size_t size)
{
    char path[2 * PATH_ROOM];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
        abort();
}

/* A vindex that is sound, in an arena of its own; the caller closes both. */
static inline wa_vindex *must_open_vindex(const char *path, wa_arena **arena)
{
    wa_error err = {0};
    wa_vindex *vindex;
    WA_MUST(wa_arena_open("test", 0, arena, &err), &err);
    WA_MUST(wa_vindex_open(path, *arena, &vindex, &err), &err);
    return vindex;
}

/* A golden model, unpacked beside the test program; WA_GOLDEN and `suite` as above. */
static inline void unpack_model(const char *suite, const char *name, char *out)
{
    char golden[PATH_ROOM], packed[2 * PATH_ROOM], plain[2 * PATH_ROOM];
    snprintf(golden, sizeof golden, "%s/models/%s", WA_GOLDEN, name);
    scratch_path(out, suite, name);
    copy_directory(golden, out);
    snprintf(packed, sizeof packed, "%s/model.safetensors.gz", out);
    snprintf(plain, sizeof plain, "%s/model.safetensors", out);
    if (!shell("gzip -dc '%s' > '%s'", packed, plain))
        abort();
}

/* Entries of a directory whose name begins with `prefix`. */
static inline size_t count_entries(const char *dir, const char *prefix)
{
    size_t count = 0;
    DIR *list = opendir(dir);
    if (list == NULL)
        return 0;
    for (struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list))
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
                 strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(list);
    return count;
}

#endif

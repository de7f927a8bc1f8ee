/* Where this program is, and what calls it. */
#include "base/program.h"

#include "base/show.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PLACE_BYTES = 4096 };
static const char NAME[] = "walkaudit";

/* Is the first `walkaudit` of PATH this very file? */
static bool is_in_path(const char *own)
{
    const char *path = getenv("PATH");
    struct stat mine, other;
    char place[PLACE_BYTES];
    if (path == NULL || stat(own, &mine) != 0)
        return false;
    while (*path != '\0') {
        size_t length = strcspn(path, ":");
        snprintf(place, sizeof place, "%.*s/%s", (int)(length < PLACE_BYTES ? length : 0), path,
                 NAME);
        if (access(place, X_OK) == 0)
            return stat(place, &other) == 0 && other.st_dev == mine.st_dev &&
                   other.st_ino == mine.st_ino;
        path += length + (path[length] == ':' ? 1 : 0);
    }
    return false;
}

wa_status wa_program_word(wa_arena *arena, char **out, wa_error *err)
{
    char own[PLACE_BYTES], here[PLACE_BYTES];
    const char *word;
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    own[length < 0 ? 0 : length] = '\0';
    const char *slash = strrchr(own, '/');
    if (slash == NULL || strcmp(slash + 1, NAME) != 0 || is_in_path(own))
        return wa_arena_print(arena, out, err, "%s", NAME);
    size_t above = getcwd(here, sizeof here) == NULL ? 0 : strlen(here);
    const char *place = own;
    if (above > 0 && strncmp(own, here, above) == 0 && own[above] == '/')
        place = own + above + 1;
    WA_TRY(wa_show_word(place, arena, &word, err));
    return wa_arena_print(arena, out, err, "%s%s", strchr(place, '/') == NULL ? "./" : "", word);
}

wa_status wa_program_report(const char *result, wa_arena *arena, char **out, wa_error *err)
{
    const char *slash = strrchr(result, '/'), *word, *folder;
    char *program, *directory;
    size_t length = slash == NULL ? 1 : slash == result ? 1 : (size_t)(slash - result);
    WA_TRY(wa_program_word(arena, &program, err));
    WA_TRY(wa_arena_copy(arena, slash == NULL ? "." : result, length, &directory, err));
    WA_TRY(wa_show_word(result, arena, &word, err));
    WA_TRY(wa_show_word(directory, arena, &folder, err));
    return wa_arena_print(arena, out, err, "%s report %s -o %s", program, word, folder);
}

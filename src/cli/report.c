/* walkaudit report and its like: this program becomes walkaudit-report. */
#include "cli/cli.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLACE_BYTES = 4096 };
static const char PROGRAM[] = "walkaudit-report";

/* Beside this program where it is installed, or in the sources that it was built in:
 * DIR/build/PRESET/walkaudit. */
static const char *const BESIDE[] = {"", "../../analysis/", "../../../analysis/"};

/* The directory of this program with its slash, or "" where the system does not tell. */
static void find_own_directory(char out[PLACE_BYTES])
{
    ssize_t length = readlink("/proc/self/exe", out, PLACE_BYTES - 1);
    out[length < 0 ? 0 : length] = '\0';
    char *slash = strrchr(out, '/');
    out[slash == NULL ? 0 : slash + 1 - out] = '\0';
}

/* Returns only when there is no such program. */
static void become(const char *program, char **words)
{
    if (strchr(program, '/') == NULL || access(program, X_OK) == 0)
        execvp(program, words);
}

int wa_cli_report(int argc, char **argv)
{
    const char *chosen = getenv("WALKAUDIT_REPORT");
    char own[PLACE_BYTES], place[PLACE_BYTES + sizeof PROGRAM + 32];
    wa_error err = {.status = WA_OK};
    char **words;
    wa_arena *arena;
    if (wa_arena_open("words", 0, &arena, &err) != WA_OK ||
        wa_arena_take(arena, (size_t)argc + 2, sizeof *words, &words, &err) != WA_OK)
        return wa_error_print(&err);
    char *verb = strrchr(argv[0], ' ') + 1; /* of "walkaudit VERB" */
    memcpy(words + 1, argv, (size_t)argc * sizeof *words);
    words[0] = place;
    words[1] = verb;
    (void)setenv("WALKAUDIT_CALLED", "walkaudit", 1); /* the name that its messages begin with */
    if (chosen != NULL && chosen[0] != '\0') {
        snprintf(place, sizeof place, "%s", chosen);
        become(place, words);
        (void)wa_fail(&err, WA_E_IO, "WALKAUDIT_REPORT is '%s': %s", chosen, strerror(errno));
    } else {
        find_own_directory(own);
        for (size_t i = 0; own[0] != '\0' && i < sizeof BESIDE / sizeof BESIDE[0]; i++) {
            snprintf(place, sizeof place, "%s%s%s", own, BESIDE[i], PROGRAM);
            become(place, words);
        }
        snprintf(place, sizeof place, "%s", PROGRAM);
        become(place, words);
        (void)wa_fail(&err, WA_E_IO,
                      "'%s' needs the program %s, found neither beside '%swalkaudit' nor in PATH; "
                      "WALKAUDIT_REPORT may name it",
                      verb, PROGRAM, own);
    }
    int code = wa_error_print(&err);
    wa_arena_close(arena);
    return code;
}

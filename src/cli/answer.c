/* A verb's frame: an arena, a body, a failure printed. */
#include "cli/cli.h"

int wa_cli_answer(const char *name, size_t limit, wa_cli_body *body, void *words)
{
    wa_error err = {.status = WA_OK};
    wa_arena *arena;
    int exit_code = 0;
    if (wa_arena_open(name, limit, &arena, &err) != WA_OK)
        return wa_error_print(&err);
    wa_status status = body(words, arena, &exit_code, &err);
    wa_arena_close(arena);
    return status == WA_OK ? exit_code : wa_error_print(&err);
}

/* Reading and making the names that llama.cpp gives to parts. */
#include "model/split.h"

#include <string.h>

enum { DIGITS = 5 };
static const char OF[] = "-of-";
static const char END[] = ".gguf";

/* Five digits; 0 when they are not. */
static size_t number_at(const char *text)
{
    size_t number = 0;
    for (int i = 0; i < DIGITS; i++) {
        if (text[i] < '0' || text[i] > '9')
            return 0;
        number = 10 * number + (size_t)(text[i] - '0');
    }
    return number;
}

wa_split wa_split_of(const char *path)
{
    /* "-00002-of-00003.gguf" */
    enum { TAIL = 1 + DIGITS + sizeof OF - 1 + DIGITS + sizeof END - 1 };
    wa_split split = {.number = 1, .count = 1};
    size_t length = strlen(path);
    if (length <= TAIL)
        return split;
    const char *tail = path + length - TAIL;
    const char *of = tail + 1 + DIGITS, *end = path + length - (sizeof END - 1);
    size_t number = number_at(tail + 1), count = number_at(of + sizeof OF - 1);
    if (tail[0] != '-' || strncmp(of, OF, sizeof OF - 1) != 0 || strcmp(end, END) != 0 ||
        number == 0 || number > count)
        return split;
    return (wa_split){.number = number, .count = count, .stem = length - TAIL};
}

wa_status wa_split_part(const char *path, size_t number, wa_arena *arena, char **out, wa_error *err)
{
    wa_split split = wa_split_of(path);
    if (split.stem == 0)
        return wa_arena_copy(arena, path, strlen(path), out, err);
    return wa_arena_print(arena, out, err, "%.*s-%05zu-of-%05zu%s", (int)split.stem, path, number,
                          split.count, END);
}

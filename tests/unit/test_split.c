/* Names of parts of a split GGUF. */
#include "model/split.h"
#include "suite.h"

static void names_of_parts_say_which_of_how_many(void)
{
    static const struct {
        const char *path;
        size_t number, count, stem;
    } names[] = {
        {"m-00001-of-00003.gguf", 1, 3, 1},
        {"a/b-c-00002-of-00002.gguf", 2, 2, 5},
        {"m-99999-of-99999.gguf", 99999, 99999, 1},
        {"m-00001-of-00001.gguf", 1, 1, 1},
        {"m-00000-of-00003.gguf", 1, 1, 0},
        {"m-00004-of-00003.gguf", 1, 1, 0},
        {"m-0001-of-0003.gguf", 1, 1, 0},
        {"m_00001-of-00003.gguf", 1, 1, 0},
        {"m-00001-of-00003.safetensors", 1, 1, 0},
        {"m-00001-or-00003.gguf", 1, 1, 0},
        {"m-0000a-of-00003.gguf", 1, 1, 0},
        {"-00001-of-00003.gguf", 1, 1, 0},
        {"model.gguf", 1, 1, 0},
        {"", 1, 1, 0},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        wa_split split = wa_split_of(names[i].path);
        CU_ASSERT(split.number == names[i].number && split.count == names[i].count &&
                  split.stem == names[i].stem);
    }
}

static void parts_are_named_by_any_of_them(void)
{
    wa_arena *arena;
    wa_error err;
    char *path;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_split_part("a/m-00002-of-00012.gguf", 11, arena, &path, &err), &err);
    CU_ASSERT_STRING_EQUAL(path, "a/m-00011-of-00012.gguf");
    WA_MUST(wa_split_part("a/m.gguf", 1, arena, &path, &err), &err);
    CU_ASSERT_STRING_EQUAL(path, "a/m.gguf");
    wa_arena_close(arena);
}

WA_SUITE("split", WA_CASE(names_of_parts_say_which_of_how_many),
         WA_CASE(parts_are_named_by_any_of_them))

/* tokenizer.json: opened, asked for ids of a text with every kind of character, and for texts of
 * ids. */
#include "fuzz_numbers.h"
#include "model/tokenizer.h"

static void use(const wa_tokenizer *tokenizer, wa_arena *arena)
{
    static const char text[] =
        "The  capital\n of 123 <s>\t'll caf\xc3\xa9 \xe6\xbc\xa2 \xf0\x9f\xa4\x96";
    wa_error err = {0};
    int32_t *ids;
    size_t count;
    if (!fuzz_answer(
            wa_tokenizer_encode(tokenizer, text, sizeof text - 1, arena, &ids, &count, &err), &err))
        return;
    for (size_t i = 0; i < count; i++) {
        char *piece;
        fuzz_require(ids[i] >= 0 && (size_t)ids[i] < wa_tokenizer_id_count(tokenizer),
                     "id out of range");
        (void)fuzz_answer(wa_tokenizer_text(tokenizer, ids[i], arena, &piece, &err), &err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[FUZZ_PATH];
    wa_error err = {0};
    wa_tokenizer *tokenizer;
    fuzz_write("tokenizer.json", data, size);
    if (!fuzz_answer(wa_tokenizer_open(fuzz_path(path, "tokenizer.json"), &tokenizer, &err), &err))
        return 0;
    wa_arena *arena = fuzz_arena();
    use(tokenizer, arena);
    wa_arena_close(arena);
    wa_tokenizer_close(tokenizer);
    return 0;
}

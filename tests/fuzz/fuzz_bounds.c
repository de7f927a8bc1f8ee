/* A bounds file; one that is accepted prints as one that is accepted too. */
#include "fuzz_numbers.h"
#include "judge/verdict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[FUZZ_PATH], *text;
    wa_error err = {0};
    wa_bounds *bounds, *again;
    wa_arena *arena = fuzz_arena();
    fuzz_write("bounds.yaml", data, size);
    if (fuzz_answer(wa_bounds_open(fuzz_path(path, "bounds.yaml"), arena, &bounds, &err), &err) &&
        fuzz_answer(wa_bounds_print(bounds, arena, &text, &err), &err)) {
        fuzz_write("again.yaml", text, strlen(text));
        wa_status status = wa_bounds_open(fuzz_path(path, "again.yaml"), arena, &again, &err);
        if (status != WA_OK)
            fprintf(stderr, "%s\n%s\n", err.text, text);
        fuzz_require(status == WA_OK, "printed bounds are no bounds");
    }
    wa_arena_close(arena);
    return 0;
}

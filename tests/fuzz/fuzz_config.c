/* config.json beside the weights of a small model, in all semantics. */
#include "fuzz_numbers.h"
#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const wa_semantics semantics[] = {WA_SEMANTICS_NATIVE, WA_SEMANTICS_LARQL_2026_05,
                                             WA_SEMANTICS_LARQL_2026_08};
    static bool ready;
    if (!ready)
        fuzz_write_golden("model.safetensors", WA_GOLDEN "/models/qwen2/model.safetensors");
    ready = true;
    fuzz_write("config.json", data, size);
    for (size_t i = 0; i < sizeof semantics / sizeof semantics[0]; i++) {
        wa_error err = {0};
        wa_model *model;
        wa_arena *arena = fuzz_arena();
        if (fuzz_answer(wa_model_open(fuzz_directory(), semantics[i], arena, &model, &err), &err))
            wa_model_close(model);
        wa_arena_close(arena);
    }
    return 0;
}

/* model.safetensors.index.json beside the two shards of a small model. */
#include "fuzz.h"
#include "model/model.h"

#define SHARDED WA_GOLDEN "/models/mistral-sharded/"
#define FIRST "model-00001-of-00002.safetensors"
#define SECOND "model-00002-of-00002.safetensors"

static void write_model(void)
{
    fuzz_write_golden("config.json", SHARDED "config.json");
    fuzz_write_golden(FIRST, SHARDED FIRST);
    fuzz_write_golden(SECOND, SHARDED SECOND);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    wa_error err = {0};
    wa_model *model;
    if (!ready)
        write_model();
    ready = true;
    fuzz_write("model.safetensors.index.json", data, size);
    wa_arena *arena = fuzz_arena();
    if (fuzz_answer(wa_model_open(fuzz_directory(), WA_SEMANTICS_NATIVE, arena, &model, &err),
                    &err)) {
        float row[128];
        fuzz_require(model->intermediate <= 128, "an index changed the model's width");
        wa_matrix_decode(&model->layers[1].down, 0, 1, row);
        wa_model_close(model);
    }
    wa_arena_close(arena);
    return 0;
}

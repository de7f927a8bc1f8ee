/* A safetensors file: as a container, and as the weights of a one-layer model of 8 elements. */
#include "fuzz.h"
#include "model/model.h"
#include "model/safetensors.h"

static const char CONFIG[] =
    "{\"model_type\": \"llama\", \"hidden_size\": 8, \"intermediate_size\": 8, "
    "\"num_hidden_layers\": 1, \"num_attention_heads\": 1, \"num_key_value_heads\": 1, "
    "\"vocab_size\": 4, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, \"hidden_act\": \"silu\"}";

static void parse(const uint8_t *data, size_t size)
{
    wa_error err = {0};
    wa_safetensors file;
    wa_arena *arena = fuzz_arena();
    wa_bytes bytes = {.data = data, .size = size};
    if (fuzz_answer(wa_safetensors_parse(bytes, arena, &file, &err), &err))
        for (size_t i = 0; i < file.count; i++)
            fuzz_touch(file.tensors[i].data);
    wa_arena_close(arena);
}

static void open_model(void)
{
    wa_error err = {0};
    wa_model *model;
    wa_arena *arena = fuzz_arena();
    if (fuzz_answer(wa_model_open(fuzz_directory(), WA_SEMANTICS_NATIVE, arena, &model, &err),
                    &err)) {
        float row[8];
        wa_matrix_decode(&model->layers[0].down, 7, 1, row);
        wa_matrix_decode(&model->output, model->vocab - 1, 1, row);
        wa_model_close(model);
    }
    wa_arena_close(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready)
        fuzz_write("config.json", CONFIG, sizeof CONFIG - 1);
    ready = true;
    parse(data, size);
    fuzz_write("model.safetensors", data, size);
    open_model();
    return 0;
}

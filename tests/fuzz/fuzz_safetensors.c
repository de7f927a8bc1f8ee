/* A safetensors file: as a container, and as the weights of a one-layer model, which of three the
 * names and types in the file say. */
#include "fuzz.h"
#include "model/model.h"
#include "model/safetensors.h"

#include <string.h>

/* The first whose sign stands in the file is the model's; the last has none. */
static const struct {
    const char *sign, *config;
} MODELS[] = {
    {"_blocks",
     "{\"model_type\": \"gpt_oss\", \"hidden_size\": 32, \"intermediate_size\": 32, "
     "\"head_dim\": 8, "
     "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, "
     "\"num_local_experts\": 2, \"num_experts_per_tok\": 1, \"attention_bias\": true, "
     "\"layer_types\": [\"full_attention\"], \"sliding_window\": 8, \"hidden_act\": \"silu\", "
     "\"swiglu_limit\": 7.0, \"vocab_size\": 4, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, "
     "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"truncate\": false, "
     "\"original_max_position_embeddings\": 32, \"beta_fast\": 32.0, \"beta_slow\": 1.0}, "
     "\"tie_word_embeddings\": false, \"quantization_config\": {\"quant_method\": \"mxfp4\"}}"},
    {"F8_E4M3", "{\"model_type\": \"llama\", \"hidden_size\": 8, \"intermediate_size\": 8, "
                "\"num_hidden_layers\": 1, \"num_attention_heads\": 1, \"num_key_value_heads\": 1, "
                "\"vocab_size\": 4, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, "
                "\"hidden_act\": \"silu\", \"quantization_config\": {\"quant_method\": \"fp8\", "
                "\"weight_block_size\": [4, 4]}}"},
    {"", "{\"model_type\": \"llama\", \"hidden_size\": 8, \"intermediate_size\": 8, "
         "\"num_hidden_layers\": 1, \"num_attention_heads\": 1, \"num_key_value_heads\": 1, "
         "\"vocab_size\": 4, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, "
         "\"hidden_act\": \"silu\"}"},
};

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

static void decode_last(const wa_matrix *matrix)
{
    float row[32];
    fuzz_require(matrix->rows > 0 && matrix->cols <= 32, "a matrix of another model");
    wa_matrix_decode(matrix, matrix->rows - 1, 1, row);
}

static void decode_ffn(const wa_layer *layer)
{
    if (layer->experts == NULL) {
        decode_last(&layer->down);
        return;
    }
    for (size_t i = 0; i < wa_experts_ffns(layer->experts); i++) {
        const wa_expert *expert = wa_experts_ffn(layer->experts, i);
        decode_last(&expert->gate);
        decode_last(&expert->up);
        decode_last(&expert->down);
    }
}

static void open_model(void)
{
    wa_error err = {0};
    wa_model *model;
    wa_arena *arena = fuzz_arena();
    if (fuzz_answer(wa_model_open(fuzz_directory(), WA_SEMANTICS_NATIVE, arena, &model, &err),
                    &err)) {
        decode_ffn(&model->layers[0]);
        decode_last(&model->output);
        wa_model_close(model);
    }
    wa_arena_close(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static size_t written = SIZE_MAX;
    size_t i = 0;
    while (memmem(data, size, MODELS[i].sign, strlen(MODELS[i].sign)) == NULL)
        i++;
    if (i != written)
        fuzz_write("config.json", MODELS[i].config, strlen(MODELS[i].config));
    written = i;
    parse(data, size);
    fuzz_write("model.safetensors", data, size);
    open_model();
    return 0;
}

/* A GGUF file: as a container, as a model, and as a vocabulary. */
#include "fuzz.h"
#include "model/gguf.h"
#include "model/model.h"
#include "model/tokenizer.h"

static void parse(const uint8_t *data, size_t size)
{
    wa_error err = {0};
    wa_gguf *gguf;
    wa_arena *arena = fuzz_arena();
    wa_bytes bytes = {.data = data, .size = size};
    if (fuzz_answer(wa_gguf_parse(bytes, arena, &gguf, &err), &err))
        for (size_t i = 0; i < wa_gguf_tensor_count(gguf); i++)
            fuzz_touch(wa_gguf_tensor_at(gguf, i)->data);
    wa_arena_close(arena);
}

static void open_model(const char *path)
{
    wa_error err = {0};
    wa_model *model;
    wa_arena *arena = fuzz_arena();
    if (fuzz_answer(wa_model_open(path, WA_SEMANTICS_NATIVE, arena, &model, &err), &err)) {
        const wa_matrix *down = &model->layers[0].down;
        float *row = malloc(down->cols * sizeof *row);
        fuzz_require(row != NULL, "memory");
        wa_matrix_decode(down, down->rows - 1, 1, row);
        free(row);
        wa_model_close(model);
    }
    wa_arena_close(arena);
}

static void open_tokenizer(const char *path)
{
    static const char text[] = "a b\n<s> \xc3\xa9";
    wa_error err = {0};
    wa_tokenizer *tokenizer;
    wa_arena *arena = fuzz_arena();
    int32_t *ids;
    size_t count;
    if (fuzz_answer(wa_tokenizer_open(path, &tokenizer, &err), &err)) {
        (void)fuzz_answer(
            wa_tokenizer_encode(tokenizer, text, sizeof text - 1, arena, &ids, &count, &err), &err);
        wa_tokenizer_close(tokenizer);
    }
    wa_arena_close(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[FUZZ_PATH];
    parse(data, size);
    fuzz_write("model.gguf", data, size);
    fuzz_path(path, "model.gguf");
    open_model(path);
    open_tokenizer(path);
    return 0;
}

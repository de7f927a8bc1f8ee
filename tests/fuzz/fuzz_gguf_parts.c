/* A GGUF model in two parts: two bytes say how long the first is, the rest is the second. */
#include "fuzz.h"
#include "model/model.h"

#define FIRST "model-00001-of-00002.gguf"
#define SECOND "model-00002-of-00002.gguf"

static void read_matrix(const wa_matrix *matrix)
{
    if (matrix->rows == 0)
        return;
    float *row = malloc(matrix->cols * sizeof *row);
    fuzz_require(row != NULL, "memory");
    wa_matrix_decode(matrix, matrix->rows - 1, 1, row);
    free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[FUZZ_PATH];
    wa_error err = {0};
    wa_model *model;
    if (size < 2)
        return 0;
    size_t first = wa_size_min(wa_load_u16(data), size - 2);
    fuzz_write(FIRST, data + 2, first);
    fuzz_write(SECOND, data + 2 + first, size - 2 - first);
    fuzz_path(path, SECOND); /* any part stands for the model */
    wa_arena *arena = fuzz_arena();
    if (fuzz_answer(wa_model_open(path, WA_SEMANTICS_NATIVE, arena, &model, &err), &err)) {
        read_matrix(&model->embedding);
        read_matrix(&model->output);
        for (size_t l = 0; l < model->layer_count; l++) {
            read_matrix(&model->layers[l].q);
            read_matrix(&model->layers[l].down);
        }
        wa_model_close(model);
    }
    wa_arena_close(arena);
    return 0;
}

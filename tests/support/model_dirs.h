/* Tiny model directories written by tests: any family from a list of tensors, values all our own.
 */
#ifndef WALKAUDIT_TEST_MODEL_DIRS_H
#define WALKAUDIT_TEST_MODEL_DIRS_H

#include "model/model.h"

#include "golden.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

/* A tensor of the list; rank 1 has cols 0. */
typedef struct wa_test_tensor {
    const char *name;
    size_t rows, cols;
} wa_test_tensor;

enum { WA_TEST_PATH = 512 };

static inline void wa_test_write(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL_FATAL(fwrite(data, 1, size, file), size);
    CU_ASSERT_EQUAL_FATAL(fclose(file), 0);
}

/* A directory below the test's own; files of an earlier run are removed by their names. */
static inline void wa_test_make_dir(const char *name, char out[WA_TEST_PATH])
{
    static const char *const files[] = {
        "config.json",     "model.safetensors", "a.gguf", "b.gguf", "model.safetensors.index.json",
        "one.safetensors", "two.safetensors"};
    snprintf(out, WA_TEST_PATH, "%s/model-%s", WA_TEST_BINARY_DIR, name);
    CU_ASSERT_FATAL(mkdir(out, 0777) == 0 || errno == EEXIST);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[WA_TEST_PATH + 64];
        snprintf(path, sizeof path, "%s/%s", out, files[i]);
        unlink(path);
    }
}

static inline void wa_test_write_in(const char *directory, const char *name, const void *data,
                                    size_t size)
{
    char path[WA_TEST_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    wa_test_write(path, data, size);
}

/* A safetensors file of F32 tensors; element i of tensor t is t + i / 1024, exact in f32. */
static inline void wa_test_write_safetensors(const char *directory, const char *file,
                                             const wa_test_tensor *tensors, size_t count,
                                             const char *dtype)
{
    enum { HEADER = 16384 };
    char *header = malloc(HEADER);
    CU_ASSERT_PTR_NOT_NULL_FATAL(header);
    size_t used = (size_t)snprintf(header, HEADER, "{");
    size_t offset = 0;
    for (size_t t = 0; t < count; t++) {
        size_t elements = tensors[t].rows * (tensors[t].cols == 0 ? 1 : tensors[t].cols);
        char shape[64];
        if (tensors[t].cols == 0)
            snprintf(shape, sizeof shape, "[%zu]", tensors[t].rows);
        else
            snprintf(shape, sizeof shape, "[%zu,%zu]", tensors[t].rows, tensors[t].cols);
        used += (size_t)snprintf(
            header + used, HEADER - used,
            "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
            t == 0 ? "" : ",", tensors[t].name, dtype, shape, offset, offset + 4 * elements);
        CU_ASSERT_FATAL(used < HEADER - 2);
        offset += 4 * elements;
    }
    used += (size_t)snprintf(header + used, HEADER - used, "}");

    uint8_t *bytes = malloc(8 + used + offset);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    uint64_t length = used;
    memcpy(bytes, &length, sizeof length);
    memcpy(bytes + 8, header, used);
    uint8_t *at = bytes + 8 + used;
    for (size_t t = 0; t < count; t++) {
        size_t elements = tensors[t].rows * (tensors[t].cols == 0 ? 1 : tensors[t].cols);
        for (size_t i = 0; i < elements; i++, at += 4) {
            float value = (float)t + (float)i / 1024;
            memcpy(at, &value, sizeof value);
        }
    }
    wa_test_write_in(directory, file, bytes, 8 + used + offset);
    free(bytes);
    free(header);
}

static inline wa_arena *wa_test_arena(void)
{
    wa_arena *arena;
    wa_error err;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    return arena;
}

static inline wa_model *wa_test_open(const char *path, wa_semantics semantics, wa_arena *arena)
{
    wa_error err;
    wa_model *model = NULL;
    WA_MUST(wa_model_open(path, semantics, arena, &model, &err), &err);
    return model;
}

static inline void wa_test_refused(const char *path, wa_status status, const char *says)
{
    wa_error err = {0};
    wa_model *model = NULL;
    wa_arena *arena = wa_test_arena();
    wa_status found = wa_model_open(path, WA_SEMANTICS_NATIVE, arena, &model, &err);
    bool said = found == status && strstr(err.text, says) != NULL;
    if (!said)
        fprintf(stderr, "    %s gives %d '%s', expected '%s'\n", path, (int)found, err.text, says);
    CU_ASSERT(said);
    if (found == WA_OK)
        wa_model_close(model);
    wa_arena_close(arena);
}

static inline float wa_test_element(const wa_matrix *matrix, size_t row, size_t col)
{
    float *values = malloc(matrix->cols * sizeof *values);
    CU_ASSERT_PTR_NOT_NULL_FATAL(values);
    wa_matrix_decode(matrix, row, 1, values);
    float value = values[col];
    free(values);
    return value;
}

#endif

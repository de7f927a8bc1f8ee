/*
 * A kernel for path external, as you would write one: an FFN whose weights are rounded to 8 bits
 * with a scale per row, made at the start from a vindex's f32 files.
 *
 *   cc -std=c17 -O2 -ffp-contract=off -shared -fPIC -I include -o q8_kernel.so
 *   jobs/external/q8_kernel.c -lm
 *
 * With -DKEEP_F32 the weights stay as they are, and the case may say `bucket: exact`. With
 * -DPLANT_FAULT=L one feature is left out at layer L: what an audit is for.
 *
 * It needs gate_vectors.bin, up_features.bin and down_features.bin as f32, [layers, features,
 * hidden] each, of a gated model with SiLU or tanh-GELU whose layers are equally wide.
 */
#include "walkaudit/external.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef KEEP_F32
enum { ROUNDS = 0 };
#else
enum { ROUNDS = 1 };
#endif
#ifndef PLANT_FAULT
#define PLANT_FAULT ((size_t)-1)
#endif

/* What walkaudit_external returns when it declines. */
enum { UNFIT_MODEL = 1, NO_MEMORY, NO_FILE };

typedef struct kernel {
    size_t features, hidden;
    int is_silu;
    float *gate, *up, *down; /* [layers, features, hidden], rounded */
} kernel;

static void round_row(float *row, size_t n)
{
    float most = 0.0F;
    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(row[i]));
    float scale = most / 127.0F;
    for (size_t i = 0; i < n && most > 0.0F; i++)
        row[i] = scale * (float)lrintf(row[i] / scale);
}

/* All rows of a file, which must hold just them: an f16 file is half as long. */
static int read_file(const char *vindex, const char *name, size_t rows, size_t hidden, float **out)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", vindex, name);
    *out = malloc(rows * hidden * sizeof **out);
    if (*out == NULL)
        return NO_MEMORY;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NO_FILE;
    size_t count = fread(*out, sizeof **out, rows * hidden, file);
    int whole = count == rows * hidden && fgetc(file) == EOF;
    fclose(file);
    for (size_t r = 0; ROUNDS && whole && r < rows; r++)
        round_row(*out + r * hidden, hidden);
    return whole ? 0 : NO_FILE;
}

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static double activate(const kernel *k, double v)
{
    if (k->is_silu)
        return v / (1.0 + exp(-v));
    return 0.5 * v *
           (1.0 + tanh(0.79788456080286536 * (v + 0.044715 * v * v * v))); /* sqrt(2 / pi) */
}

/* One row: y = sum over features of phi(gate . x) (up . x) down. */
static void run_row(const kernel *k, size_t layer, const float *x, float *y)
{
    memset(y, 0, k->hidden * sizeof *y);
    for (size_t f = 0; f < k->features; f++) {
        size_t at = (layer * k->features + f) * k->hidden;
        if (layer == (size_t)PLANT_FAULT && f == k->features / 2)
            continue;
        float act =
            (float)(activate(k, dot(k->gate + at, x, k->hidden)) * dot(k->up + at, x, k->hidden));
        for (size_t h = 0; h < k->hidden; h++)
            y[h] += act * k->down[at + h];
    }
}

static int run(void *context, size_t layer, size_t rows, size_t hidden, const float *x, float *y)
{
    for (size_t row = 0; row < rows; row++)
        run_row(context, layer, x + row * hidden, y + row * hidden);
    return 0;
}

static void close_kernel(void *context)
{
    kernel *k = context;
    free(k->gate);
    free(k->up);
    free(k->down);
    free(k);
}

int walkaudit_external(const walkaudit_external_model *model, walkaudit_external_kernel *out)
{
    int is_silu = strcmp(model->activation, "silu") == 0;
    if (!model->gated || (!is_silu && strcmp(model->activation, "gelu_tanh") != 0))
        return UNFIT_MODEL;
    kernel *k = calloc(1, sizeof *k);
    if (k == NULL)
        return NO_MEMORY;
    *k = (kernel){.features = model->features, .hidden = model->hidden, .is_silu = is_silu};
    size_t rows = model->layers * model->features;
    int answer = read_file(model->vindex, "gate_vectors.bin", rows, k->hidden, &k->gate);
    if (answer == 0)
        answer = read_file(model->vindex, "up_features.bin", rows, k->hidden, &k->up);
    if (answer == 0)
        answer = read_file(model->vindex, "down_features.bin", rows, k->hidden, &k->down);
    if (answer != 0) {
        close_kernel(k);
        return answer;
    }
    *out = (walkaudit_external_kernel){.version = WALKAUDIT_EXTERNAL_VERSION,
                                       .label = ROUNDS ? "example:q8" : "example:f32",
                                       .context = k,
                                       .run = run,
                                       .close = close_kernel};
    return 0;
}

/* FFN layers for the path tests: random ones of any shape, and the golden ones of
 * tests/golden/walk. */
#ifndef WALKAUDIT_TEST_WALK_LAYERS_H
#define WALKAUDIT_TEST_WALK_LAYERS_H

#include "suite.h"

#include "path/evaluate.h"
#include "path/oracle.h"

#include <math.h>

static wa_error test_err;

static inline wa_arena *test_arena(void)
{
    wa_arena *arena;
    WA_MUST(wa_arena_open("test", 0, &arena, &test_err), &test_err);
    return arena;
}

static inline void *test_take(wa_arena *arena, size_t count, size_t size)
{
    void *at;
    WA_MUST(wa_arena_take(arena, count, size, &at, &test_err), &test_err);
    return at;
}

/* xorshift64*: fixed seed, same numbers everywhere; uniform in [-1, 1). */
static inline float test_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    uint64_t bits = (*state * 2685821657736338717U) >> 40;
    return (float)bits / 8388608.0F - 1.0F;
}

static inline float *test_values(wa_arena *arena, size_t count, float scale, uint64_t *seed)
{
    float *values = test_take(arena, count, sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = scale * test_random(seed);
    return values;
}

/* Values as a stored matrix of f32, f16, bf16 or a vindex's blocks; `shift` bytes off alignment.
 * Rows of blocks are padded to whole ones. */
static inline wa_matrix test_store(wa_arena *arena, const float *values, size_t rows, size_t cols,
                                   wa_format format, size_t shift)
{
    size_t row_bytes;
    CU_ASSERT_FATAL(wa_row_bytes(format, cols, &row_bytes));
    uint8_t *data = test_take(arena, rows * row_bytes + shift, 1);
    data += shift;
    bool blocks = wa_format_get(format)->encode != NULL;
    if (blocks)
        wa_rows_encode(format, values, rows, cols, data);
    for (size_t i = 0; !blocks && i < rows * cols; i++) {
        uint16_t half =
            format == WA_FORMAT_F16 ? wa_f32_to_f16(values[i]) : wa_f32_to_bf16(values[i]);
        if (format == WA_FORMAT_F32)
            memcpy(data + i * sizeof(float), &values[i], sizeof(float));
        else
            memcpy(data + i * sizeof half, &half, sizeof half);
    }
    return (wa_matrix){.data = data,
                       .name = "test",
                       .format = format,
                       .order = WA_ROWS_PLAIN,
                       .rows = rows,
                       .cols = cols,
                       .row_bytes = row_bytes};
}

static inline wa_matrix test_matrix(wa_arena *arena, size_t rows, size_t cols, wa_format format,
                                    size_t shift, float scale, uint64_t *seed)
{
    return test_store(arena, test_values(arena, rows * cols, scale, seed), rows, cols, format,
                      shift);
}

/* What kind of layer a case reads. */
typedef struct test_kind {
    bool gated, feature_major, biased;
    wa_activation activation;
    wa_format gate_format, model_format; /* of the gate file; of up and down */
    size_t shift;                        /* of float matrices, off alignment */
} test_kind;

static inline wa_walk_layer test_layer(wa_arena *arena, size_t features, size_t hidden,
                                       test_kind kind, uint64_t seed)
{
    float scale = 2.0F / sqrtf((float)hidden);
    wa_walk_layer l = {.gated = kind.gated,
                       .down_is_feature_major = kind.feature_major,
                       .activation = kind.activation,
                       .features = features,
                       .hidden = hidden};
    l.select = test_matrix(arena, features, hidden, kind.gate_format, kind.shift, scale, &seed);
    if (kind.gated)
        l.gate = l.select;
    l.up = kind.gated
               ? test_matrix(arena, features, hidden, kind.model_format, kind.shift, scale, &seed)
               : l.select;
    size_t rows = kind.feature_major ? features : hidden,
           cols = kind.feature_major ? hidden : features;
    l.down = test_matrix(arena, rows, cols, kind.model_format, kind.shift, scale, &seed);
    if (kind.biased) {
        if (kind.gated)
            l.gate_bias = test_values(arena, features, 0.5F, &seed);
        l.up_bias = test_values(arena, features, 0.5F, &seed);
        l.down_bias = test_values(arena, hidden, 0.5F, &seed);
    }
    return l;
}

static inline wa_case test_case(wa_path path, wa_label kernel, int k)
{
    return (wa_case){.name = "test:case", .path = path, .kernel = kernel, .k = k};
}

static inline wa_scratch test_scratch(wa_arena *arena, size_t rows, const wa_walk_layer *l)
{
    wa_scratch scratch;
    size_t longest = l->features > l->hidden ? l->features : l->hidden;
    WA_MUST(wa_scratch_open(arena, rows, l->features, longest, &scratch, &test_err), &test_err);
    return scratch;
}

static inline float *test_run(wa_arena *arena, const wa_case *which, const wa_walk_layer *l,
                              size_t rows, const float *x, int32_t *hits)
{
    wa_scratch scratch = test_scratch(arena, rows, l);
    float *y = test_take(arena, rows * l->hidden, sizeof *y);
    wa_walk_io io = {.x = x, .y = y, .hits = hits};
    wa_label label;
    WA_MUST(wa_case_run(which, l, rows, &io, 1, &scratch, &label, &test_err), &test_err);
    CU_ASSERT_EQUAL(label, which->kernel);
    return y;
}

/* `theirs`: the kernel's y, or NULL. */
static inline double *test_oracle_of(wa_arena *arena, const wa_case *which, const wa_walk_layer *l,
                                     size_t rows, const float *x, const int32_t *hits,
                                     const float *theirs)
{
    double *y = test_take(arena, rows * l->hidden, sizeof *y);
    wa_oracle *oracle;
    WA_MUST(wa_oracle_open(arena, rows, l->hidden, l->features, &oracle, &test_err), &test_err);
    WA_MUST(wa_oracle_run(oracle, which, l, rows, x, wa_oracle_width(rows), NULL, hits, theirs, y,
                          NULL, &test_err),
            &test_err);
    return y;
}

static inline double *test_oracle(wa_arena *arena, const wa_case *which, const wa_walk_layer *l,
                                  size_t rows, const float *x, const int32_t *hits)
{
    return test_oracle_of(arena, which, l, rows, x, hits, NULL);
}

/* |a - b| / |b| over n values. */
static inline double test_rel_l2(const float *a, const double *b, size_t n)
{
    double difference = 0.0, norm = 0.0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return sqrt(difference / norm);
}

static inline double test_rel_l2_f64(const double *a, const double *b, size_t n)
{
    double difference = 0.0, norm = 0.0;
    for (size_t i = 0; i < n; i++) {
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return sqrt(difference / norm);
}

/* --- Golden layers: tests/golden/walk/make.py tells the order of a blob ----------------------- */

enum { TEST_WALKS = 3 };

typedef struct test_golden {
    wa_matrix gate, up, down; /* of the model: down [H, F] */
    const float *up_bias, *down_bias;
    const float *x;  /* [rows, H] */
    const double *y; /* [rows, H] */
    size_t features, hidden, rows;
    wa_activation activation;
    struct {
        int k;
        const double *rel_l2, *y_last; /* [rows], [H] */
        const int32_t *hits_last;      /* [k] */
    } walk[TEST_WALKS];
} test_golden;

typedef struct test_shape {
    const char *file;
    size_t features, hidden, rows;
    bool gated, biased;
    wa_activation activation;
    int k[TEST_WALKS]; /* 0 = none */
} test_shape;

static const test_shape TEST_GEMMA = {"gemma3-layer3.bin", 512,           256, 4, true, false,
                                      WA_GELU_TANH,        {16, 128, 384}};
static const test_shape TEST_STARCODER = {
    "starcoder2-layer1.bin", 512, 256, 5, false, true, WA_GELU_TANH, {64, 200, 512}};
static const test_shape TEST_QWEN = {"qwen2-layer0.bin", 128, 64, 4, true, false, WA_SILU,
                                     {0, 0, 0}};

/* The next `bytes` bytes of the blob, copied to aligned memory. */
static inline void *test_next(wa_arena *arena, FILE *file, size_t bytes)
{
    void *at = test_take(arena, bytes, 1);
    CU_ASSERT_EQUAL_FATAL(fread(at, 1, bytes, file), bytes);
    return at;
}

static inline wa_matrix test_next_matrix(wa_arena *arena, FILE *file, size_t rows, size_t cols)
{
    return (wa_matrix){.data = test_next(arena, file, rows * cols * 2),
                       .name = "golden",
                       .format = WA_FORMAT_BF16,
                       .order = WA_ROWS_PLAIN,
                       .rows = rows,
                       .cols = cols,
                       .row_bytes = cols * 2};
}

static inline test_golden test_golden_open(wa_arena *arena, const test_shape *shape)
{
    test_golden g = {.features = shape->features,
                     .hidden = shape->hidden,
                     .rows = shape->rows,
                     .activation = shape->activation};
    char *path;
    WA_MUST(wa_arena_print(arena, &path, &test_err, "%s/walk/%s", WA_GOLDEN, shape->file),
            &test_err);
    FILE *file = fopen(path, "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    if (shape->gated)
        g.gate = test_next_matrix(arena, file, g.features, g.hidden);
    g.up = test_next_matrix(arena, file, g.features, g.hidden);
    g.down = test_next_matrix(arena, file, g.hidden, g.features);
    if (shape->biased) {
        g.up_bias = test_next(arena, file, g.features * sizeof(float));
        g.down_bias = test_next(arena, file, g.hidden * sizeof(float));
    }
    g.x = test_next(arena, file, g.rows * g.hidden * sizeof(float));
    g.y = test_next(arena, file, g.rows * g.hidden * sizeof(double));
    for (int w = 0; w < TEST_WALKS && shape->k[w] > 0; w++) {
        g.walk[w].k = shape->k[w];
        g.walk[w].rel_l2 = test_next(arena, file, g.rows * sizeof(double));
        g.walk[w].y_last = test_next(arena, file, g.hidden * sizeof(double));
        g.walk[w].hits_last = test_next(arena, file, (size_t)shape->k[w] * sizeof(int32_t));
    }
    CU_ASSERT_EQUAL(fgetc(file), EOF);
    fclose(file);
    return g;
}

/* The golden layer as the reference reads it, or as a vindex of f32 feature files does. */
static inline wa_walk_layer test_golden_layer(wa_arena *arena, const test_golden *g,
                                              bool from_vindex)
{
    wa_walk_layer l = {.gate = g->gate,
                       .up = g->up,
                       .down = g->down,
                       .up_bias = g->up_bias,
                       .down_bias = g->down_bias,
                       .activation = g->activation,
                       .gated = g->gate.rows > 0,
                       .features = g->features,
                       .hidden = g->hidden};
    l.select = l.gated ? l.gate : l.up;
    if (!from_vindex)
        return l;
    float *wide = test_take(arena, g->features * g->hidden, sizeof *wide);
    float *turned = test_take(arena, g->features * g->hidden, sizeof *turned);
    wa_matrix_decode_ref(&g->down, 0, g->hidden, wide);
    for (size_t h = 0; h < g->hidden; h++)
        for (size_t f = 0; f < g->features; f++)
            turned[f * g->hidden + h] = wide[h * g->features + f];
    l.down = test_store(arena, turned, g->features, g->hidden, WA_FORMAT_F32, 0);
    l.down_is_feature_major = true;
    return l;
}

#endif

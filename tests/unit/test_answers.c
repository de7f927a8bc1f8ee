/* Our kernels against what a LARQL server of August 2026 answered: f32 and K-quant vindexes, every
 * layer, three wires. */
#include "golden.h"
#include "vindex_dirs.h"
#include "walk_layers.h"

#include "model/model.h"
#include "path/wire.h"

#include <math.h>
#include <stdlib.h>

enum { WIRES = 3, VINDEXES = 3 };

/* Of outputs that were multiplied in another order in f32, relative to a row's largest. The server
 * multiplies by sgemm: its answers lie up to 7.7e-7 from f64 sums. */
static const double LARGEST_ERROR = 2e-6;

static wa_error err;

/* How each vindex stores gate and up, and down. */
static const struct {
    wa_format feed, down;
} STORED[VINDEXES] = {{WA_FORMAT_F32, WA_FORMAT_F32},
                      {WA_FORMAT_Q4_K, WA_FORMAT_GGML_Q6_K},
                      {WA_FORMAT_Q4_K, WA_FORMAT_Q4_K}};

/* tests/golden/served/make.py tells the order of the file. */
typedef struct answers {
    size_t layers, rows, hidden, n; /* n: values of a layer */
    const float *x;                 /* [layers, rows, hidden] */
    float *y[VINDEXES][WIRES];      /* the same; NULL = not asked */
} answers;

static const uint8_t *take(const uint8_t **at, size_t bytes)
{
    const uint8_t *here = *at;
    *at += bytes;
    return here;
}

static float *take_floats(wa_arena *arena, const uint8_t **at, size_t count, bool half)
{
    float *out = test_take(arena, count, sizeof *out);
    const uint8_t *from = take(at, count * (half ? sizeof(uint16_t) : sizeof(float)));
    if (half)
        wa_f16_decode(from, count, out);
    else
        memcpy(out, from, count * sizeof *out);
    return out;
}

static answers take_answers(wa_arena *arena, const uint8_t **at)
{
    answers a = {.layers = wa_load_u32(take(at, 4)),
                 .rows = wa_load_u32(take(at, 4)),
                 .hidden = wa_load_u32(take(at, 4))};
    a.n = a.rows * a.hidden;
    a.x = take_floats(arena, at, a.layers * a.n, false);
    for (int v = 0; v < VINDEXES; v++) {
        bool in_q8k = wa_load_u32(take(at, 4)) != 0;
        for (int w = 0; w < (in_q8k ? WIRES : WIRES - 1); w++)
            a.y[v][w] = take_floats(arena, at, a.layers * a.n, w == 1);
    }
    return a;
}

/* A projection of the model as LARQL stores it: tests/unit/test_extract_golden.c holds these bytes
 * against its own. */
static wa_matrix stored(wa_arena *arena, const wa_matrix *of_model, wa_format format)
{
    float *values = test_take(arena, of_model->rows * of_model->cols, sizeof *values);
    wa_matrix_decode(of_model, 0, of_model->rows, values);
    return test_store(arena, values, of_model->rows, of_model->cols, format, 0);
}

static wa_walk_layer layer_of(wa_arena *arena, const wa_model *model, size_t layer, wa_format feed,
                              wa_format down)
{
    const wa_layer *from = &model->layers[layer];
    return (wa_walk_layer){.gate = stored(arena, &from->gate, feed),
                           .up = stored(arena, &from->up, feed),
                           .down = stored(arena, &from->down, down),
                           .activation = model->activation,
                           .gated = true,
                           .features = from->gate.rows,
                           .hidden = model->hidden};
}

static double largest(const float *y, size_t n)
{
    double most = 0.0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)y[i]));
    return most;
}

/* Outputs further than the error from theirs, relative to the row's largest. */
static size_t apart(const float *y, const float *theirs, size_t rows, size_t hidden)
{
    size_t count = 0;
    for (size_t i = 0; i < rows * hidden; i++) {
        double unit = largest(theirs + i / hidden * hidden, hidden);
        count += fabs((double)y[i] - (double)theirs[i]) <= LARGEST_ERROR * unit ? 0 : 1;
    }
    return count;
}

/* Places of f16 from one value to the other. */
static int places_apart(float a, float b)
{
    int first = wa_f32_to_f16(a), second = wa_f32_to_f16(b);
    first = (first & 0x8000) != 0 ? -(first & 0x7fff) : first;
    second = (second & 0x8000) != 0 ? -(second & 0x7fff) : second;
    return abs(first - second);
}

/*
 * Outputs of f16 more than one place from theirs. Their f32 sums are off by e = 2e-6 of the row's
 * largest at most, and a place at |y| is |y| / 2^11 or more: below e * 2^11, which is 0.4 % of the
 * largest, the error alone spans places, and such an output may be off by it. (Position 4 of layer
 * 0 of tiny-llama has one at 0.02 % of the largest, where their sum lies 1.85 places from the f64
 * sum.)
 */
static size_t misplaced(const float *y, const float *theirs, size_t rows, size_t hidden,
                        size_t *excused)
{
    size_t count = 0;
    for (size_t i = 0; i < rows * hidden; i++) {
        double error = LARGEST_ERROR * largest(theirs + i / hidden * hidden, hidden);
        bool near_zero = fabs((double)theirs[i]) < error * 2048.0 &&
                         fabs((double)y[i] - (double)theirs[i]) <= error;
        if (places_apart(y[i], theirs[i]) > 1)
            *(near_zero ? excused : &count) += 1;
    }
    return count;
}

static void each_wire(wa_arena *arena, const answers *a, int vindex, size_t layer,
                      const wa_walk_layer *weights, size_t *excused)
{
    static const wa_wire wires[WIRES] = {WA_WIRE_F32, WA_WIRE_F16, WA_WIRE_Q8K};
    static const struct {
        wa_path path;
        wa_label label;
    } f32 = {WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP},
      dequant = {WA_PATH_INTERLEAVED_Q4K, WA_LABEL_INTERLEAVED_KQUANT_DEQUANT},
      q8k = {WA_PATH_Q8K, WA_LABEL_INTERLEAVED_KQUANT_Q8K};
    float *x = test_take(arena, a->n, sizeof *x);
    for (int w = 0; w < WIRES; w++) {
        if (a->y[vindex][w] == NULL)
            continue;
        wa_case which = wires[w] == WA_WIRE_Q8K ? test_case(q8k.path, q8k.label, WA_K_ALL)
                        : vindex == 0           ? test_case(f32.path, f32.label, WA_K_ALL)
                                                : test_case(dequant.path, dequant.label, WA_K_ALL);
        for (size_t row = 0; row < a->rows; row++) /* whoever gets x in Q8_K rounds it by itself */
            wa_wire_deliver(wires[w] == WA_WIRE_F16 ? WA_WIRE_F16 : WA_WIRE_F32,
                            a->x + layer * a->n + row * a->hidden, a->hidden, x + row * a->hidden);
        const float *y = test_run(arena, &which, weights, a->rows, x, NULL),
                    *theirs = a->y[vindex][w] + layer * a->n;
        if (wires[w] == WA_WIRE_F16)
            CU_ASSERT_EQUAL(misplaced(y, theirs, a->rows, a->hidden, excused), 0);
        if (wires[w] != WA_WIRE_F16)
            CU_ASSERT_EQUAL(apart(y, theirs, a->rows, a->hidden), 0);
    }
}

static void our_kernels_answer_as_the_server_did(void)
{
    wa_bytes file = wa_test_read(WA_GOLDEN "/served/answers.bin");
    const uint8_t *at = file.data;
    CU_ASSERT_EQUAL_FATAL(memcmp(take(&at, 8), "WAANSWER", 8), 0);
    uint32_t models = wa_load_u32(take(&at, 4));
    size_t excused = 0, in_q8k = 0, values = 0;
    for (uint32_t m = 0; m < models; m++) {
        char name[16], folder[PATH_ROOM];
        memcpy(name, take(&at, sizeof name), sizeof name);
        wa_arena *arena = test_arena();
        answers a = take_answers(arena, &at);
        wa_model *model;
        unpack_model("answers-model", name, folder);
        WA_MUST(wa_model_open(folder, WA_SEMANTICS_NATIVE, arena, &model, &err), &err);
        CU_ASSERT_FATAL(model->layer_count == a.layers && model->hidden == a.hidden);
        for (int v = 0; v < VINDEXES; v++)
            for (size_t layer = 0; layer < a.layers; layer++) {
                wa_walk_layer weights =
                    layer_of(arena, model, layer, STORED[v].feed, STORED[v].down);
                each_wire(arena, &a, v, layer, &weights, &excused);
                in_q8k += a.y[v][2] != NULL ? 1 : 0;
                values += a.n;
            }
        wa_model_close(model);
        wa_arena_close(arena);
    }
    CU_ASSERT_EQUAL((size_t)(at - file.data), file.size);
    /* both K-quant vindexes of three models, whose layers are 4, 2 and 2 */
    CU_ASSERT_EQUAL(in_q8k, 16);
    CU_ASSERT(values > 80000 && excused <= 16);
    wa_test_free(file);
}

/* Other stored numbers, and activations that are not rounded where the server's are, are seen. */
static void other_numbers_do_not(void)
{
    wa_bytes file = wa_test_read(WA_GOLDEN "/served/answers.bin");
    const uint8_t *at = file.data + 12 + 16;
    char folder[PATH_ROOM];
    wa_arena *arena = test_arena();
    answers a = take_answers(arena, &at);
    wa_model *model;
    unpack_model("answers-model", "tiny-gemma3", folder);
    WA_MUST(wa_model_open(folder, WA_SEMANTICS_NATIVE, arena, &model, &err), &err);
    wa_case dequant =
        test_case(WA_PATH_INTERLEAVED_Q4K, WA_LABEL_INTERLEAVED_KQUANT_DEQUANT, WA_K_ALL);
    wa_case q8k = test_case(WA_PATH_Q8K, WA_LABEL_INTERLEAVED_KQUANT_Q8K, WA_K_ALL);
    wa_walk_layer six = layer_of(arena, model, 0, WA_FORMAT_Q4_K, WA_FORMAT_GGML_Q6_K);
    wa_walk_layer four = layer_of(arena, model, 0, WA_FORMAT_Q4_K, WA_FORMAT_Q4_K);
    size_t excused = 0;
    const float *y = test_run(arena, &dequant, &four, a.rows, a.x, NULL);
    CU_ASSERT(apart(y, a.y[1][0], a.rows, a.hidden) > a.n / 2 &&
              misplaced(y, a.y[1][1], a.rows, a.hidden, &excused) > a.n / 2);
    CU_ASSERT(apart(y, a.y[2][2], a.rows, a.hidden) > a.n / 2);
    CU_ASSERT(apart(test_run(arena, &q8k, &six, a.rows, a.x, NULL), a.y[2][2], a.rows, a.hidden) >
              a.n / 2);
    CU_ASSERT_EQUAL(
        apart(test_run(arena, &q8k, &four, a.rows, a.x, NULL), a.y[2][2], a.rows, a.hidden), 0);
    wa_model_close(model);
    wa_arena_close(arena);
    wa_test_free(file);
}

WA_SUITE("answers", WA_CASE(our_kernels_answer_as_the_server_did), WA_CASE(other_numbers_do_not))

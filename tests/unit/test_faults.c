/* Planted faults: each is seen by the kernel check's bound in every path that sums, and in no other
 * layer. */
#define WA_PLANT_FAULTS
/* The kernels with their hooks filled in; the linker then leaves those of the library aside. */
#include "path/bands.c"
#include "path/fallback.c"
#include "path/fault.c"
#include "path/loop.c"
#include "path/products.c"
#include "path/q4.c"

#include "walk_layers.h"

#include <stdlib.h>

static const double KERNEL_BOUND = 1e-5; /* design 7 */
enum { ROWS = 8, LAYER = 3 };

static const struct path {
    wa_path path;
    wa_label kernel;
    int k;
    bool feature_major;
    wa_format gate_format, model_format; /* of the gate file; of up and down */
} PATHS[] = {
    {WA_PATH_SPARSE, WA_LABEL_SPARSE_GEMV_FULL_K, WA_K_ALL, true, WA_FORMAT_F32, WA_FORMAT_F32},
    {WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, WA_K_ALL, true, WA_FORMAT_F32, WA_FORMAT_F32},
    {WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, 60, true, WA_FORMAT_F32, WA_FORMAT_F32},
    {WA_PATH_INTERLEAVED, WA_LABEL_INTERLEAVED, WA_K_ALL, true, WA_FORMAT_F32, WA_FORMAT_F32},
    {WA_PATH_FULL_MMAP, WA_LABEL_FULL_MMAP, WA_K_ALL, true, WA_FORMAT_F32, WA_FORMAT_F32},
    {WA_PATH_EXACT, WA_LABEL_EXACT, WA_K_ALL, true, WA_FORMAT_F32, WA_FORMAT_F32},
    {WA_PATH_WEIGHTS_FALLBACK, WA_LABEL_WEIGHTS_FALLBACK_SPARSE, WA_K_ALL, false, WA_FORMAT_F32,
     WA_FORMAT_F32},
    {WA_PATH_WEIGHTS_FALLBACK, WA_LABEL_WEIGHTS_FALLBACK_SPARSE, 60, false, WA_FORMAT_F32,
     WA_FORMAT_F32},
    {WA_PATH_INTERLEAVED_Q4K, WA_LABEL_INTERLEAVED_Q4K_DEQUANT, WA_K_ALL, false, WA_FORMAT_Q4_K,
     WA_FORMAT_Q4_K},
    {WA_PATH_INTERLEAVED_Q4, WA_LABEL_INTERLEAVED_Q4_CPU, WA_K_ALL, true, WA_FORMAT_Q4_0,
     WA_FORMAT_Q4_0},
    {WA_PATH_SPARSE_SERIAL, WA_LABEL_SPARSE_SERIAL, 60, true, WA_FORMAT_F16, WA_FORMAT_FP4},
    {WA_PATH_SPARSE_PARALLEL, WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN, WA_K_ALL, false, WA_FORMAT_F16,
     WA_FORMAT_Q6_K},
    {WA_PATH_SPARSE_PARALLEL, WA_LABEL_SPARSE_PARALLEL_Q4K_DOWN, 60, false, WA_FORMAT_F16,
     WA_FORMAT_Q6_K},
};
enum { PATH_COUNT = sizeof PATHS / sizeof PATHS[0] };

static double kernel_error(const struct path *path, bool gated, wa_activation activation,
                           size_t layer)
{
    wa_arena *arena = test_arena();
    test_kind kind = {.gated = gated,
                      .feature_major = path->feature_major,
                      .activation = activation,
                      .gate_format = path->gate_format,
                      .model_format = path->model_format};
    wa_walk_layer l = test_layer(arena, 200, 64, kind, 9);
    l.layer = layer;
    wa_case which = test_case(path->path, path->kernel, path->k);
    uint64_t seed = 31;
    const float *x = test_values(arena, ROWS * l.hidden, 1.0F, &seed);
    const float *y = test_run(arena, &which, &l, ROWS, x, NULL);
    const double *truth = test_oracle(arena, &which, &l, ROWS, x, NULL);
    double worst = 0.0;
    for (size_t row = 0; row < ROWS; row++)
        worst = fmax(worst, test_rel_l2(y + row * l.hidden, truth + row * l.hidden, l.hidden));
    wa_arena_close(arena);
    return worst;
}

static void check_fault_in_every_path(const char *fault, wa_activation activation)
{
    CU_ASSERT_EQUAL_FATAL(setenv("WALKAUDIT_FAULT", fault, 1), 0);
    CU_ASSERT_EQUAL_FATAL(setenv("WALKAUDIT_FAULT_LAYER", "3", 1), 0);
    for (size_t p = 0; p < PATH_COUNT; p++)
        for (int gated = 0; gated < 2; gated++) {
            CU_ASSERT(kernel_error(&PATHS[p], gated == 1, activation, LAYER) > KERNEL_BOUND);
            CU_ASSERT(kernel_error(&PATHS[p], gated == 1, activation, LAYER + 1) < KERNEL_BOUND);
        }
    unsetenv("WALKAUDIT_FAULT_LAYER");
    CU_ASSERT(kernel_error(&PATHS[0], true, activation, LAYER + 1) > KERNEL_BOUND);
    unsetenv("WALKAUDIT_FAULT");
}

static void a_row_off_by_one_is_found_in_every_path(void)
{
    check_fault_in_every_path("row-off-by-one", WA_GELU_TANH);
}

static void bf16_activations_are_found_in_every_path(void)
{
    check_fault_in_every_path("bf16-activations", WA_SILU);
}

static void another_activation_is_found_in_every_path(void)
{
    check_fault_in_every_path("erf-gelu", WA_GELU_TANH);
    check_fault_in_every_path("erf-gelu", WA_SILU);
    check_fault_in_every_path("erf-gelu", WA_GELU_ERF);
}

static void a_sum_in_f16_is_found_in_every_path(void)
{
    check_fault_in_every_path("f16-sum", WA_GELU_TANH);
}

/* A fault of some kernels: found there, and nowhere else. */
static void check_fault_of(const char *fault, bool (*has)(const wa_case *which))
{
    setenv("WALKAUDIT_FAULT", fault, 1);
    for (size_t p = 0; p < PATH_COUNT; p++) {
        wa_case which = test_case(PATHS[p].path, PATHS[p].kernel, PATHS[p].k);
        for (int gated = 0; gated < 2; gated++) {
            double error = kernel_error(&PATHS[p], gated == 1, WA_GELU_TANH, LAYER);
            CU_ASSERT_EQUAL(error > KERNEL_BOUND, has(&which));
        }
    }
    unsetenv("WALKAUDIT_FAULT");
}

static bool is_q4(const wa_case *which)
{
    return which->kernel == WA_LABEL_INTERLEAVED_Q4_CPU;
}

static void faults_of_single_kernels_are_found_there(void)
{
    check_fault_of("wrong-down-row", wa_case_is_loop);
    check_fault_of("nibble-order", is_q4);
}

static void without_a_fault_the_same_kernels_are_right(void)
{
    unsetenv("WALKAUDIT_FAULT");
    for (size_t p = 0; p < PATH_COUNT; p++)
        CU_ASSERT(kernel_error(&PATHS[p], true, WA_GELU_TANH, LAYER) < KERNEL_BOUND);
}

static void the_reference_has_no_fault(void)
{
    static const struct path dense = {WA_PATH_DENSE, WA_LABEL_NONE,  WA_K_ALL,
                                      false,         WA_FORMAT_BF16, WA_FORMAT_BF16};
    static const char *const faults[] = {"row-off-by-one", "bf16-activations", "erf-gelu",
                                         "f16-sum",        "wrong-down-row",   "nibble-order"};
    for (size_t f = 0; f < sizeof faults / sizeof faults[0]; f++) {
        setenv("WALKAUDIT_FAULT", faults[f], 1);
        CU_ASSERT(kernel_error(&dense, true, WA_GELU_TANH, LAYER) < KERNEL_BOUND);
    }
    unsetenv("WALKAUDIT_FAULT");
}

WA_SUITE("faults", WA_CASE(a_row_off_by_one_is_found_in_every_path),
         WA_CASE(bf16_activations_are_found_in_every_path),
         WA_CASE(another_activation_is_found_in_every_path),
         WA_CASE(a_sum_in_f16_is_found_in_every_path),
         WA_CASE(faults_of_single_kernels_are_found_there),
         WA_CASE(without_a_fault_the_same_kernels_are_right), WA_CASE(the_reference_has_no_fault))

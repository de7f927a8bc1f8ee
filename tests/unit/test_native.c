/* interleaved_kquant:native: the bits of LARQL's x86 row dots (larql-2026-08.md 3.1, 9), whatever
 * rows go together. */
#include "larql_vectors.h"
#include "walk_layers.h"

#include "compute/kernel.h"

#include <math.h>

enum { BLOCK = 256 };

/* The definition, read aloud: one f32 sum; Q4_K takes low and high nibbles of a group of 64 in
 * turn. */
static float dot(wa_format format, const uint8_t *row, const float *x, size_t n)
{
    static float w[4096];
    float sum = 0.0F;
    wa_format_get(format)->decode_ref(row, n / BLOCK, w);
    for (size_t group = 0; group < n; group += 64)
        for (size_t l = 0; l < 64; l++) {
            size_t i = format == WA_FORMAT_Q4_K ? group + l / 2 + (l % 2) * 32 : group + l;
            float product = w[i] * x[i];
            sum += product;
        }
    return sum;
}

static void the_definition_gives_the_documents_bits(void)
{
    static const uint32_t q4_k[4] = {0x42aab699, 0xbdbadfa1, 0xbddcc1c6, 0x3f0809db};
    static const uint32_t q6_k[4] = {0x42aaa728, 0xbdcd0a78, 0xbdd93186, 0x3f074541};
    static const double exact[4] = {85.335938, -0.1070938, -0.1070938, 0.5302456};
    float in[2][BLOCK];
    larql_vectors(in[0], in[1]);
    for (int w = 0; w < 2; w++)
        for (int x = 0; x < 2; x++) {
            double sum = wa_dot_ref(in[w], in[x], BLOCK);
            CU_ASSERT(fabs(sum - exact[2 * w + x]) <= 5.1e-8 * fmax(1.0, fabs(sum)));
            uint8_t row[BLOCK];
            wa_rows_encode(WA_FORMAT_Q4_K, in[w], 1, BLOCK, row);
            CU_ASSERT_EQUAL(bits_of(dot(WA_FORMAT_Q4_K, row, in[x], BLOCK)), q4_k[2 * w + x]);
            wa_rows_encode(WA_FORMAT_GGML_Q6_K, in[w], 1, BLOCK, row);
            CU_ASSERT_EQUAL(bits_of(dot(WA_FORMAT_GGML_Q6_K, row, in[x], BLOCK)), q6_k[2 * w + x]);
        }
}

static wa_walk_layer layer_of(wa_arena *arena, size_t features, size_t hidden, wa_format down,
                              wa_activation phi)
{
    static const test_kind kind = {.gated = true,
                                   .activation = WA_SILU,
                                   .gate_format = WA_FORMAT_Q4_K,
                                   .model_format = WA_FORMAT_Q4_K};
    uint64_t seed = 5 + features;
    wa_walk_layer l = test_layer(arena, features, hidden, kind, 3);
    l.activation = phi;
    l.down = test_store(arena, test_values(arena, features * hidden, 0.05F, &seed), hidden,
                        features, down, 0);
    return l;
}

static void the_path_has_the_bits_of_the_definition(void)
{
    static const struct {
        size_t features, hidden, rows;
        wa_format down;
        wa_activation phi;
    } table[] = {{256, 256, 1, WA_FORMAT_GGML_Q6_K, WA_SILU},
                 {512, 768, 5, WA_FORMAT_Q6_K, WA_GELU_TANH},
                 {768, 256, 3, WA_FORMAT_Q4_K, WA_SILU}};
    for (size_t t = 0; t < sizeof table / sizeof table[0]; t++) {
        wa_arena *arena = test_arena();
        wa_case which = test_case(WA_PATH_INTERLEAVED_KQUANT_NATIVE,
                                  WA_LABEL_INTERLEAVED_KQUANT_NATIVE, WA_K_ALL);
        size_t rows = table[t].rows, features = table[t].features, hidden = table[t].hidden,
               wrong = 0;
        wa_walk_layer l = layer_of(arena, features, hidden, table[t].down, table[t].phi);
        uint64_t seed = 9;
        const float *x = test_values(arena, rows * hidden, 1.0F, &seed);
        float *act = test_take(arena, features, sizeof *act),
              *up = test_take(arena, features, sizeof *up);
        float *y = test_run(arena, &which, &l, rows, x, NULL);
        for (size_t r = 0; r < rows; r++) {
            for (size_t f = 0; f < features; f++) {
                act[f] =
                    dot(l.gate.format, l.gate.data + f * l.gate.row_bytes, x + r * hidden, hidden);
                up[f] = dot(l.up.format, l.up.data + f * l.up.row_bytes, x + r * hidden, hidden);
            }
            wa_activate_gated(l.activation, act, up, act, features);
            for (size_t h = 0; h < hidden; h++)
                wrong +=
                    bits_of(y[r * hidden + h]) !=
                    bits_of(dot(l.down.format, l.down.data + h * l.down.row_bytes, act, features));
        }
        CU_ASSERT_EQUAL(wrong, 0);
        double *truth = test_oracle(arena, &which, &l, rows, x, NULL);
        CU_ASSERT(test_rel_l2(y, truth, rows * hidden) < 3e-6);
        wa_case other =
            test_case(WA_PATH_INTERLEAVED_Q4K, WA_LABEL_INTERLEAVED_Q4K_DEQUANT, WA_K_ALL);
        float *dequant = test_run(arena, &other, &l, rows, x, NULL);
        double difference = 0.0, norm = 0.0;
        for (size_t i = 0; i < rows * hidden; i++) {
            difference += pow((double)y[i] - (double)dequant[i], 2);
            norm += pow((double)dequant[i], 2);
        }
        /* upstream's own bound, larql-2026-08.md 7.3 */
        CU_ASSERT(sqrt(difference) <= 1e-4 * sqrt(norm));
        wa_arena_close(arena);
    }
}

WA_SUITE("native", WA_CASE(the_definition_gives_the_documents_bits),
         WA_CASE(the_path_has_the_bits_of_the_definition))

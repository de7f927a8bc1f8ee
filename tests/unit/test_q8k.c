/* Integer dots of K-quants with activations in Q8_K (larql-2026-08.md 3.3, 9), the path that runs
 * them, and its oracle. */
#include "golden.h"
#include "larql_vectors.h"
#include "walk_layers.h"

#include "compute/q8k.h"

#include <math.h>

enum { BLOCK = WA_Q8_K_BLOCK };

/* The integers of one block, as the document writes them: element by element. */
static void sums_of(const wa_k_block *w, const int8_t *q, int64_t *codes, int64_t *mins)
{
    *codes = *mins = 0;
    for (int i = 0; i < BLOCK; i++) {
        *codes += (int64_t)w->scale[i / 16] * w->code[i] * q[i];
        *mins += (int64_t)w->min[i / 32] * q[i];
    }
}

/* The definition: blocks ascending, f32 left to right, each operation rounded. */
static float dot(wa_format format, const uint8_t *row, const float *x, size_t n)
{
    float sum = 0.0F;
    for (size_t b = 0; b < (n + BLOCK - 1) / BLOCK; b++) {
        int8_t q[BLOCK];
        float padded[BLOCK] = {0};
        int64_t codes, mins;
        wa_k_block w;
        memcpy(padded, x + b * BLOCK,
               (n - b * BLOCK < BLOCK ? n - b * BLOCK : BLOCK) * sizeof *padded);
        float d = wa_q8_k_round(padded, q);
        wa_k_split(format, row + b * wa_format_get(format)->block_bytes, &w);
        sums_of(&w, q, &codes, &mins);
        float above = w.d * d;
        above *= (float)codes;
        float below = w.dmin * d;
        below *= (float)mins;
        float term = above - below;
        sum += term;
    }
    return sum;
}

/* Section 9: W and X of A and B; integer sums exactly, dots to the bit, by the definition and by
 * the products that run. */
static void the_documents_dots_come_out(void)
{
    static const struct {
        wa_format format;
        int64_t codes[4], mins[4];
        uint32_t bits[4];
    } table[] = {{WA_FORMAT_Q4_K,
                  {4224577, -98987, 2464769, 2313592},
                  {-400912, -464, 318512, -7573},
                  {0x42aa8db1, 0xbdbafdf7, 0xbddeb900, 0x3f080ab6}},
                 {WA_FORMAT_GGML_Q6_K,
                  {42637394, -420826, -449342, 18639404},
                  {0, 0, 0, 0},
                  {0x42aa7e37, 0xbdcd4b85, 0xbddaf92f, 0x3f07464b}}};
    float in[2][BLOCK];
    wa_arena *arena = test_arena();
    larql_vectors(in[0], in[1]);
    for (size_t t = 0; t < 2; t++)
        for (int w = 0; w < 2; w++)
            for (int x = 0; x < 2; x++) {
                wa_matrix row = test_store(arena, in[w], 1, BLOCK, table[t].format, 0);
                wa_k_block block;
                int8_t q[BLOCK];
                int64_t codes, mins;
                float y;
                wa_q8k_rows rounded;
                wa_k_split(row.format, row.data, &block);
                wa_q8_k_round(in[x], q);
                sums_of(&block, q, &codes, &mins);
                CU_ASSERT_EQUAL(codes, table[t].codes[2 * w + x]);
                CU_ASSERT_EQUAL(mins, table[t].mins[2 * w + x]);
                CU_ASSERT_EQUAL(bits_of(dot(row.format, row.data, in[x], BLOCK)),
                                table[t].bits[2 * w + x]);
                WA_MUST(wa_q8k_take(arena, 1, BLOCK, &rounded, &test_err), &test_err);
                wa_q8k_round(in[x], BLOCK, &rounded);
                const wa_q8k_operand operand = {.x = &rounded, .y = &y};
                WA_MUST(wa_q8k_multiply(&row, &operand, 1, arena, &test_err), &test_err);
                CU_ASSERT_EQUAL(bits_of(y), table[t].bits[2 * w + x]);
            }
    wa_arena_close(arena);
}

static void activations_are_rounded_as_the_document_says(void)
{
    static const uint32_t scales[2] = {0x3c010204, 0x3a75ebd8};
    static const int8_t first[2][8] = {{-127, -126, -125, -124, -123, -122, -121, -120},
                                       {-11, -2, 8, -16, -7, 3, 12, -12}};
    static const int16_t sums[2][8] = {{-3568, -2544, -1552, -528, 496, 1520, 2513, 3536},
                                       {2, -6, -124, 221, -80, -124, 289, -242}};
    static const char *const hashes[2] = {
        "6ec5229fa31ff507c1a417b3003868b3f3f61bce884c722a50d829e03a661705",
        "3568a7cac65b94cf26531ca8d7a7f9320921c703164e996407ff4099ce02b2fb"};
    float in[2][BLOCK];
    wa_arena *arena = test_arena();
    wa_q8k_rows rounded;
    larql_vectors(in[0], in[1]);
    WA_MUST(wa_q8k_take(arena, 2, BLOCK, &rounded, &test_err), &test_err);
    wa_q8k_round(in[0], BLOCK, &rounded);
    for (int v = 0; v < 2; v++) {
        char hash[WA_SHA256_TEXT];
        wa_test_sha256(rounded.q + (size_t)v * BLOCK, BLOCK, hash);
        CU_ASSERT_STRING_EQUAL(hash, hashes[v]);
        CU_ASSERT_EQUAL(bits_of(rounded.d[v]), scales[v]);
        CU_ASSERT_EQUAL(memcmp(rounded.q + (size_t)v * BLOCK, first[v], sizeof first[v]), 0);
        CU_ASSERT_EQUAL(memcmp(rounded.sums + (size_t)v * 8, sums[v], sizeof sums[v]), 0);
    }
    int8_t q[BLOCK];
    memset(in[0], 0, sizeof in[0]);
    CU_ASSERT_EQUAL(wa_q8_k_round(in[0], q), 0.0F);
    in[0][7] = 1e-43F; /* its scale has no inverse */
    CU_ASSERT(wa_q8_k_round(in[0], q) >= 0.0F && q[7] == 0);
    static const float broken[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        in[1][200] = broken[i];
        CU_ASSERT(isnan(wa_q8_k_round(in[1], q)));
    }
    wa_arena_close(arena);
}

/* Every value that the decoder gives is the one that the integers say: on random bytes, scales of
 * any sign, both orders. */
static void split_blocks_say_what_the_decoder_says(void)
{
    static const wa_format formats[] = {WA_FORMAT_Q4_K, WA_FORMAT_Q6_K, WA_FORMAT_GGML_Q6_K};
    uint64_t seed = 77;
    size_t wrong = 0;
    for (int trial = 0; trial < 300; trial++)
        for (size_t t = 0; t < sizeof formats / sizeof formats[0]; t++) {
            uint8_t bytes[BLOCK];
            float values[BLOCK];
            wa_k_block b;
            for (int i = 0; i < BLOCK; i++)
                bytes[i] = (uint8_t)(int)(128.0F + 128.0F * test_random(&seed));
            size_t at = formats[t] == WA_FORMAT_Q4_K ? 0 : 208; /* d, and of Q4_K dmin: numbers */
            for (size_t half = at; half < at + (at == 0 ? 4 : 2); half += 2) {
                uint16_t d = wa_f32_to_f16(test_random(&seed));
                memcpy(bytes + half, &d, sizeof d);
            }
            wa_k_split(formats[t], bytes, &b);
            wa_format_get(formats[t])->decode_ref(bytes, 1, values);
            for (int i = 0; i < BLOCK; i++) {
                float scaled = b.d * (float)b.scale[i / 16];
                scaled *= (float)b.code[i];
                float below = b.dmin * (float)b.min[i / 32];
                wrong += bits_of(scaled - below + 0.0F) == bits_of(values[i] + 0.0F) ? 0 : 1;
            }
        }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(wa_format_is_k_block(WA_FORMAT_Q4_K) && !wa_format_is_k_block(WA_FORMAT_GGML_Q5_K));
}

/* Whatever rows and operands go together, and whatever pads the last block. */
static void products_have_the_bits_of_the_definition(void)
{
    static const struct {
        size_t rows, cols, x, others;
        wa_format format;
    } table[] = {{1, 256, 1, 0, WA_FORMAT_Q4_K},        {64, 512, 3, 2, WA_FORMAT_Q4_K},
                 {65, 320, 2, 1, WA_FORMAT_Q6_K},       {130, 1024, 5, 5, WA_FORMAT_Q4_K},
                 {100, 768, 1, 4, WA_FORMAT_GGML_Q6_K}, {7, 9, 2, 1, WA_FORMAT_Q4_K}};
    for (size_t t = 0; t < sizeof table / sizeof table[0]; t++) {
        wa_arena *arena = test_arena();
        uint64_t seed = 3 + t;
        size_t cols = table[t].cols, wrong = 0;
        wa_matrix w = test_matrix(arena, table[t].rows, cols, table[t].format, 0, 0.1F, &seed);
        const size_t rows[2] = {table[t].x, table[t].others};
        wa_q8k_rows rounded[2];
        wa_q8k_operand operands[2];
        const float *x[2];
        for (int i = 0; i < 2; i++) {
            x[i] = test_values(arena, rows[i] * cols + 1, 1.0F, &seed);
            WA_MUST(wa_q8k_take(arena, rows[i], cols, &rounded[i], &test_err), &test_err);
            wa_q8k_round(x[i], cols, &rounded[i]);
            operands[i] = (wa_q8k_operand){
                .x = &rounded[i], .y = test_take(arena, rows[i] * w.rows + 1, sizeof(float))};
        }
        WA_MUST(wa_q8k_multiply(&w, operands, 2, arena, &test_err), &test_err);
        for (int i = 0; i < 2; i++)
            for (size_t r = 0; r < rows[i]; r++)
                for (size_t f = 0; f < w.rows; f++)
                    wrong +=
                        bits_of(operands[i].y[r * w.rows + f]) !=
                        bits_of(dot(w.format, w.data + f * w.row_bytes, x[i] + r * cols, cols));
        CU_ASSERT_EQUAL(wrong, 0);
        w.format = WA_FORMAT_F32;
        CU_ASSERT_EQUAL(wa_q8k_multiply(&w, operands, 2, arena, &test_err), WA_E_UNSUPPORTED);
        wa_arena_close(arena);
    }
}

/* The largest sums that bytes can say do not overflow. */
static void extreme_codes_stay_exact(void)
{
    wa_arena *arena = test_arena();
    uint8_t bytes[210] = {0};
    memset(bytes + 192, 0x80, 16); /* scales of -128 under codes of -32 */
    bytes[209] = 0x3c;             /* d = 1 */
    wa_matrix w = {.data = bytes,
                   .name = "extreme",
                   .format = WA_FORMAT_Q6_K,
                   .rows = 1,
                   .cols = BLOCK,
                   .row_bytes = sizeof bytes};
    float x[BLOCK], y;
    for (int i = 0; i < BLOCK; i++)
        x[i] = 127.0F;
    wa_q8k_rows rounded;
    WA_MUST(wa_q8k_take(arena, 1, BLOCK, &rounded, &test_err), &test_err);
    wa_q8k_round(x, BLOCK, &rounded);
    const wa_q8k_operand operand = {.x = &rounded, .y = &y};
    WA_MUST(wa_q8k_multiply(&w, &operand, 1, arena, &test_err), &test_err);
    CU_ASSERT_EQUAL(y, 128.0F * 32.0F * 127.0F * BLOCK);
    wa_arena_close(arena);
}

static const wa_case WHICH = {.name = "test:q8k",
                              .path = WA_PATH_Q8K,
                              .kernel = WA_LABEL_INTERLEAVED_KQUANT_Q8K,
                              .k = WA_K_ALL};

static wa_walk_layer layer_of(wa_arena *arena, size_t features, size_t hidden, wa_format down,
                              bool biased)
{
    const test_kind kind = {.gated = true,
                            .activation = WA_GELU_TANH,
                            .gate_format = WA_FORMAT_Q4_K,
                            .model_format = WA_FORMAT_Q4_K,
                            .biased = biased};
    uint64_t seed = 5 + features;
    wa_walk_layer l = test_layer(arena, features, hidden, kind, 3);
    l.down = test_store(arena, test_values(arena, features * hidden, 0.05F, &seed), hidden,
                        features, down, 0);
    return l;
}

static double worst_row(const float *y, const double *truth, size_t rows, size_t hidden)
{
    double worst = 0.0;
    for (size_t r = 0; r < rows; r++)
        worst = fmax(worst, test_rel_l2(y + r * hidden, truth + r * hidden, hidden));
    return worst;
}

/* Down of Q4_K in whole blocks is multiplied as integers, any other as decoded rows: the server's
 * rule. */
static void the_path_rounds_activations_where_the_server_does(void)
{
    static const struct {
        size_t features, hidden;
        wa_format down;
        bool rounds;
    } table[] = {{512, 256, WA_FORMAT_Q4_K, true},
                 {512, 512, WA_FORMAT_GGML_Q6_K, false},
                 {320, 256, WA_FORMAT_Q4_K, false}};
    for (size_t t = 0; t < sizeof table / sizeof table[0]; t++) {
        enum { ROWS = 3 };
        wa_arena *arena = test_arena();
        size_t features = table[t].features, hidden = table[t].hidden, wrong = 0;
        wa_walk_layer l = layer_of(arena, features, hidden, table[t].down, false);
        uint64_t seed = 9;
        const float *x = test_values(arena, ROWS * hidden, 1.0F, &seed);
        float *act = test_take(arena, features, sizeof *act),
              *up = test_take(arena, features, sizeof *up);
        const float *y = test_run(arena, &WHICH, &l, ROWS, x, NULL);
        CU_ASSERT_EQUAL(wa_case_rounds_activations(&WHICH, &l), table[t].rounds);
        for (size_t r = 0; r < ROWS; r++) {
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
        CU_ASSERT(table[t].rounds ? wrong == 0 : wrong > hidden);
        CU_ASSERT(worst_row(y, test_oracle_of(arena, &WHICH, &l, ROWS, x, NULL, y), ROWS, hidden) <
                  2e-6);
        wa_arena_close(arena);
    }
}

/*
 * An activation near the middle of two integers goes where f32 sums say, and y moves by some 1e-3:
 * the oracle takes the kernel's side of such ties, and of nothing else. A code that is no tie, or a
 * tie taken by twice the step, stays an error.
 */
static void ties_are_no_defect_and_hide_none(void)
{
    enum { ROWS = 4096, FEATURES = 512, HIDDEN = 256 };
    wa_arena *arena = test_arena();
    wa_walk_layer l = layer_of(arena, FEATURES, HIDDEN, WA_FORMAT_Q4_K, true);
    uint64_t seed = 12;
    float *x = test_values(arena, ROWS * HIDDEN, 1.0F, &seed);
    float *y = test_run(arena, &WHICH, &l, ROWS, x, NULL);
    const double *settled = test_oracle_of(arena, &WHICH, &l, ROWS, x, NULL, y),
                 *alone = test_oracle(arena, &WHICH, &l, ROWS, x, NULL);
    CU_ASSERT(worst_row(y, settled, ROWS, HIDDEN) < 2e-6);
    size_t moved = 0;
    for (size_t r = 0; r < ROWS; r++) {
        const float *row = y + r * HIDDEN;
        moved += test_rel_l2(row, alone + r * HIDDEN, HIDDEN) > 1e-5 ? 1 : 0;
    }
    CU_ASSERT(moved > 0 && moved < ROWS / 2); /* some round another way, most do not */
    static const size_t features[] = {3, 300, 511};
    float *column = test_take(arena, (size_t)HIDDEN * FEATURES, sizeof *column);
    wa_matrix_decode(&l.down, 0, HIDDEN, column);
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
        for (size_t r = 0; r < ROWS; r++)
            for (size_t h = 0; h < HIDDEN; h++)
                y[r * HIDDEN + h] += 0.05F * column[h * FEATURES + features[i]]; /* about a step */
        const double *other = test_oracle_of(arena, &WHICH, &l, ROWS, x, NULL, y);
        size_t found = 0;
        for (size_t r = 0; r < ROWS; r++)
            found += test_rel_l2(y + r * HIDDEN, other + r * HIDDEN, HIDDEN) > 1e-5 ? 1 : 0;
        CU_ASSERT_EQUAL(found, ROWS);
    }
    x[5] = NAN;
    y = test_run(arena, &WHICH, &l, 1, x, NULL);
    CU_ASSERT(isnan(y[0]) && isnan(y[HIDDEN - 1]) &&
              isnan(test_oracle_of(arena, &WHICH, &l, 1, x, NULL, y)[0]));
    wa_arena_close(arena);
}

/* --- Experts */

enum { EXPERTS = 4, CHOSEN = 2 };
static const wa_case OF_EXPERTS = {.name = "test:experts_q8k",
                                   .path = WA_PATH_EXPERTS_Q8K,
                                   .kernel = WA_LABEL_EXPERTS_Q8K,
                                   .k = WA_K_ALL};

/* All three matrices of one format, with biases. */
static wa_expert expert_of(wa_arena *arena, size_t features, size_t hidden, wa_format format,
                           uint64_t *seed)
{
    return (wa_expert){.gate = test_matrix(arena, features, hidden, format, 0, 0.2F, seed),
                       .up = test_matrix(arena, features, hidden, format, 0, 0.2F, seed),
                       .down = test_matrix(arena, hidden, features, format, 0, 0.1F, seed),
                       .gate_bias = test_values(arena, features, 0.3F, seed),
                       .up_bias = test_values(arena, features, 0.3F, seed),
                       .down_bias = test_values(arena, hidden, 0.3F, seed)};
}

static wa_walk_layer layer_of_experts(wa_arena *arena, size_t features, size_t hidden,
                                      wa_format format)
{
    uint64_t seed = 21 + features;
    wa_experts *experts = test_take(arena, 1, sizeof *experts);
    wa_expert *list = test_take(arena, EXPERTS, sizeof *list);
    for (size_t e = 0; e < EXPERTS; e++)
        list[e] = expert_of(arena, features, hidden, format, &seed);
    *experts = (wa_experts){.count = EXPERTS,
                            .chosen = CHOSEN,
                            .widest = features,
                            .renormalised = true,
                            .experts = list};
    experts->router = test_matrix(arena, EXPERTS, hidden, WA_FORMAT_F32, 0, 1.0F, &seed);
    return (wa_walk_layer){.experts = experts,
                           .activation = WA_SILU,
                           .gated = true,
                           .features = features,
                           .hidden = hidden};
}

static float *run_experts(wa_arena *arena, const wa_walk_layer *l, size_t rows, const float *x,
                          wa_routing *routing)
{
    wa_scratch scratch = test_scratch(arena, rows, l);
    float *y = test_take(arena, rows * l->hidden, sizeof *y);
    wa_label label;
    WA_MUST(wa_routing_open(arena, l->experts, rows, routing, &test_err), &test_err);
    wa_walk_io io = {.x = x, .y = y, .routing = routing};
    WA_MUST(wa_case_run(&OF_EXPERTS, l, rows, &io, 1, &scratch, &label, &test_err), &test_err);
    CU_ASSERT_EQUAL(label, WA_LABEL_EXPERTS_Q8K);
    return y;
}

/* y += weight * FFN(x), by the definition. */
static void add_expert(wa_arena *arena, const wa_walk_layer *l, const wa_expert *ffn, float weight,
                       const float *x, float *y)
{
    size_t features = ffn->up.rows;
    float *act = test_take(arena, features, sizeof *act),
          *up = test_take(arena, features, sizeof *up);
    for (size_t f = 0; f < features; f++) {
        const wa_matrix *gate_rows = &ffn->gate, *up_rows = &ffn->up;
        act[f] = dot(gate_rows->format, wa_matrix_row(gate_rows, f), x, l->hidden);
        up[f] = dot(up_rows->format, wa_matrix_row(up_rows, f), x, l->hidden);
        act[f] += ffn->gate_bias[f];
        up[f] += ffn->up_bias[f];
    }
    wa_activate_gated(l->activation, act, up, act, features);
    for (size_t h = 0; h < l->hidden; h++) {
        float value = dot(ffn->down.format, wa_matrix_row(&ffn->down, h), act, features);
        value += ffn->down_bias[h];
        y[h] += weight * value;
    }
}

/* x and activations are rounded for either format and any width, and experts add up in ascending
 * order, whatever order the router chose them in. */
static void experts_have_the_bits_of_the_definition(void)
{
    static const struct {
        size_t features, hidden;
        wa_format format;
    } table[] = {{512, 256, WA_FORMAT_Q4_K},
                 {48, 32, WA_FORMAT_Q4_K},
                 {320, 288, WA_FORMAT_GGML_Q6_K},
                 {256, 512, WA_FORMAT_Q6_K}};
    enum { ROWS = 5 };
    for (size_t t = 0; t < sizeof table / sizeof table[0]; t++) {
        wa_arena *arena = test_arena();
        size_t hidden = table[t].hidden, wrong = 0;
        wa_walk_layer l = layer_of_experts(arena, table[t].features, hidden, table[t].format);
        uint64_t seed = 4;
        const float *x = test_values(arena, ROWS * hidden, 1.0F, &seed);
        wa_routing routing;
        const float *y = run_experts(arena, &l, ROWS, x, &routing);
        CU_ASSERT(wa_case_rounds_activations(&OF_EXPERTS, &l));
        for (size_t r = 0; r < ROWS; r++) {
            float *own = test_take(arena, hidden, sizeof *own);
            for (int32_t e = 0; e < EXPERTS; e++)
                for (size_t k = 0; k < CHOSEN; k++)
                    if (routing.expert[r * CHOSEN + k] == e)
                        add_expert(arena, &l, &l.experts->experts[e],
                                   routing.weight[r * CHOSEN + k], x + r * hidden, own);
            for (size_t h = 0; h < hidden; h++)
                wrong += bits_of(own[h]) != bits_of(y[r * hidden + h]);
        }
        CU_ASSERT_EQUAL(wrong, 0);
        const double *truth = test_oracle_of(arena, &OF_EXPERTS, &l, ROWS, x, routing.expert, y);
        CU_ASSERT(worst_row(y, truth, ROWS, hidden) < 2e-6);
        wa_arena_close(arena);
    }
}

/* The oracle sees the sum of all experts alone, and takes the kernel's side of ties in it; rows that
 * are one evaluation each have their ties. A code that is no tie stays an error. */
static void ties_of_experts_are_no_defect_and_hide_none(void)
{
    enum { ROWS = 2048, FEATURES = 320, HIDDEN = 256 };
    wa_arena *arena = test_arena();
    wa_walk_layer l = layer_of_experts(arena, FEATURES, HIDDEN, WA_FORMAT_GGML_Q6_K);
    uint64_t seed = 31;
    float *x = test_values(arena, ROWS * HIDDEN, 1.0F, &seed);
    memcpy(x + ROWS / 2 * HIDDEN, x, ROWS / 2 * HIDDEN * sizeof *x);
    size_t *seats = test_take(arena, ROWS, sizeof *seats);
    for (size_t r = 0; r < ROWS; r++)
        seats[r] = r % (ROWS / 2);
    wa_routing routing;
    float *y = run_experts(arena, &l, ROWS, x, &routing);
    double *settled = test_take(arena, ROWS * HIDDEN, sizeof *settled),
           *alone = test_take(arena, ROWS * HIDDEN, sizeof *alone);
    wa_oracle *oracle;
    WA_MUST(wa_oracle_open(arena, ROWS, HIDDEN, FEATURES, &oracle, &test_err), &test_err);
    WA_MUST(wa_oracle_run(oracle, &OF_EXPERTS, &l, ROWS, x, WA_ORACLE_WIDEST, seats, routing.expert,
                          y, settled, NULL, &test_err),
            &test_err);
    WA_MUST(wa_oracle_run(oracle, &OF_EXPERTS, &l, ROWS, x, WA_ORACLE_WIDEST, seats, routing.expert,
                          NULL, alone, NULL, &test_err),
            &test_err);
    CU_ASSERT(worst_row(y, settled, ROWS, HIDDEN) < 2e-6);
    size_t moved = 0, found = 0;
    for (size_t r = 0; r < ROWS; r++)
        moved += test_rel_l2(y + r * HIDDEN, alone + r * HIDDEN, HIDDEN) > 1e-5 ? 1 : 0;
    CU_ASSERT(moved > 0 && moved < ROWS / 2);
    float *column = test_take(arena, (size_t)HIDDEN * FEATURES, sizeof *column);
    wa_matrix_decode(&l.experts->experts[routing.expert[0]].down, 0, HIDDEN, column);
    for (size_t f = 0; f < FEATURES; f++) {
        float *other = test_take(arena, HIDDEN, sizeof *other);
        for (size_t h = 0; h < HIDDEN; h++)
            other[h] = y[h] + 0.05F * routing.weight[0] * column[h * FEATURES + f];
        const double *truth = test_oracle_of(arena, &OF_EXPERTS, &l, 1, x, routing.expert, other);
        found += test_rel_l2(other, truth, HIDDEN) > 1e-5 ? 1 : 0;
    }
    CU_ASSERT_EQUAL(found, FEATURES);
    wa_arena_close(arena);
}

/* A shared expert, and a layer that has no file, are the model's: decoded, and met by x as it is. */
static void what_the_model_lends_is_not_rounded(void)
{
    enum { ROWS = 3, FEATURES = 64, HIDDEN = 96 };
    wa_arena *arena = test_arena();
    uint64_t seed = 8;
    const float *x = test_values(arena, ROWS * HIDDEN, 1.0F, &seed);
    wa_walk_layer l = layer_of_experts(arena, FEATURES, HIDDEN, WA_FORMAT_Q4_K);
    wa_experts with = *l.experts;
    with.shared = expert_of(arena, FEATURES, HIDDEN, WA_FORMAT_BF16, &seed);
    with.shared_gate = test_matrix(arena, 1, HIDDEN, WA_FORMAT_BF16, 0, 0.2F, &seed);
    l.experts = &with;
    wa_routing routing;
    const float *y = run_experts(arena, &l, ROWS, x, &routing);
    CU_ASSERT(worst_row(y, test_oracle_of(arena, &OF_EXPERTS, &l, ROWS, x, routing.expert, y), ROWS,
                        HIDDEN) < 2e-6);
    wa_walk_layer plain = {.gate = with.shared.gate,
                           .up = with.shared.up,
                           .down = with.shared.down,
                           .of_model = true,
                           .activation = WA_SILU,
                           .gated = true,
                           .features = FEATURES,
                           .hidden = HIDDEN};
    wa_case dense = wa_case_dense();
    const float *own = test_run(arena, &dense, &plain, ROWS, x, NULL);
    const float *of_experts = test_run(arena, &OF_EXPERTS, &plain, ROWS, x, NULL);
    size_t wrong = 0;
    for (size_t i = 0; i < ROWS * HIDDEN; i++)
        wrong += bits_of(of_experts[i]) != bits_of(own[i]);
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_FALSE(wa_case_rounds_inputs(&OF_EXPERTS, &plain));
    CU_ASSERT_FALSE(wa_case_rounds_activations(&OF_EXPERTS, &plain));
    wa_arena_close(arena);
}

WA_SUITE("q8k", WA_CASE(the_documents_dots_come_out),
         WA_CASE(activations_are_rounded_as_the_document_says),
         WA_CASE(split_blocks_say_what_the_decoder_says),
         WA_CASE(products_have_the_bits_of_the_definition), WA_CASE(extreme_codes_stay_exact),
         WA_CASE(the_path_rounds_activations_where_the_server_does),
         WA_CASE(ties_are_no_defect_and_hide_none),
         WA_CASE(experts_have_the_bits_of_the_definition),
         WA_CASE(ties_of_experts_are_no_defect_and_hide_none),
         WA_CASE(what_the_model_lends_is_not_rounded))

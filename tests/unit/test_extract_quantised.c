/* Extraction in block formats: what was written is what the model holds, within the format's
 * bound. */
#include "made_model.h"
#include "suite.h"
#include "vindex/extract.h"
#include "vindex/order.h"
#include "vindex/vindex.h"
#include "vindex_dirs.h"

#include <math.h>

/* Rows of two matrices, relative L2 of each within the bound; returns how many rows are not. */
static size_t rows_beyond(const wa_matrix *stored, const wa_matrix *exact, bool turned,
                          double bound)
{
    size_t rows = turned ? exact->cols : exact->rows, cols = turned ? exact->rows : exact->cols;
    CU_ASSERT_EQUAL_FATAL(stored->cols, cols);
    CU_ASSERT_FATAL(stored->rows >= rows);
    float *found = malloc(stored->rows * cols * sizeof *found);
    float *wanted = malloc(rows * cols * sizeof *wanted);
    if (found == NULL || wanted == NULL)
        abort();
    wa_matrix_decode(stored, 0, stored->rows, found);
    wa_matrix_decode_ref(exact, 0, exact->rows, wanted);
    size_t beyond = 0;
    for (size_t r = 0; r < rows; r++) {
        double difference = 0, norm = 0;
        for (size_t c = 0; c < cols; c++) {
            double w = (double)wanted[turned ? c * rows + r : r * cols + c];
            difference += pow((double)found[r * cols + c] - w, 2);
            norm += w * w;
        }
        beyond += !(sqrt(difference) <= bound * sqrt(norm));
    }
    free(found);
    free(wanted);
    return beyond;
}

static const wa_matrix *matrix_of(const wa_layer *layer, wa_projection projection)
{
    const wa_matrix *all[WA_PROJECTION_COUNT] = {&layer->gate, &layer->up, &layer->down};
    return all[projection];
}

static void expect_payload(const wa_vindex *vindex, const wa_model *model, wa_payload payload)
{
    wa_error err = {0};
    CU_ASSERT_TRUE_FATAL(vindex->readable[payload]);
    for (size_t l = 0; l < model->layer_count; l++) {
        for (int p = 0; p < WA_PROJECTION_COUNT; p++) {
            wa_projection projection = (wa_projection)p;
            bool turned = projection == WA_DOWN && wa_payload_down_is_feature_major(payload);
            wa_matrix stored;
            if (!wa_payload_holds(payload, projection))
                continue;
            WA_MUST(wa_vindex_matrix(vindex, payload, projection, l, &stored, &err), &err);
            CU_ASSERT_EQUAL(rows_beyond(&stored, matrix_of(&model->layers[l], projection), turned,
                                        wa_format_get(stored.format)->nominal_bound),
                            0);
        }
    }
}

/* Extract a golden model and give the open vindex to `look`. */
static void with_extracted(const char *name, wa_extract_options options,
                           void look(const wa_vindex *vindex, const wa_model *model))
{
    char path[PATH_ROOM], out[PATH_ROOM];
    wa_error err = {0};
    wa_arena *arena;
    wa_model *model;
    wa_vindex *vindex;
    unpack_model("extract-quantised-model", name, path);
    scratch_path(out, "extract-quantised", wa_extract_format_name(options.format));
    options.force = true;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_model_open(path, WA_SEMANTICS_NATIVE, arena, &model, &err), &err);
    WA_MUST(wa_extract(model, out, &options, &err), &err);
    WA_MUST(wa_vindex_open(out, arena, &vindex, &err), &err);
    WA_MUST(wa_vindex_settle_orders(vindex, model, arena, &err), &err);
    look(vindex, model);
    wa_vindex_close(vindex);
    wa_model_close(model);
    wa_arena_close(arena);
}

static void look_at_q4k(const wa_vindex *vindex, const wa_model *model)
{
    expect_payload(vindex, model, WA_PAYLOAD_GATE);
    expect_payload(vindex, model, WA_PAYLOAD_INTERLEAVED_Q4K);
    expect_payload(vindex, model, WA_PAYLOAD_DOWN_FEATURES_Q4K);
    CU_ASSERT_EQUAL(vindex->gate_format, WA_FORMAT_F16);
}

/* 320 and 576, padded to 512 and 768. */
static void a_q4k_vindex_holds_the_models_weights(void)
{
    with_extracted("tiny-odd",
                   (wa_extract_options){.format = WA_EXTRACT_Q4K, .feature_major_down = true},
                   look_at_q4k);
}

static void look_at_q4k_without_gate(const wa_vindex *vindex, const wa_model *model)
{
    CU_ASSERT_EQUAL(count_entries(vindex->path, "gate_vectors.bin"), 0);
    expect_payload(vindex, model, WA_PAYLOAD_GATE);
    CU_ASSERT_EQUAL(wa_vindex_serving(vindex, WA_PAYLOAD_GATE, WA_GATE),
                    WA_PAYLOAD_INTERLEAVED_Q4K);
}

static void a_dropped_gate_is_remade_by_the_reader(void)
{
    with_extracted("tiny-qwen3", (wa_extract_options){.format = WA_EXTRACT_Q4K, .drop_gate = true},
                   look_at_q4k_without_gate);
}

static void look_at_q4_0(const wa_vindex *vindex, const wa_model *model)
{
    expect_payload(vindex, model, WA_PAYLOAD_GATE);
    expect_payload(vindex, model, WA_PAYLOAD_INTERLEAVED_Q4);
    CU_ASSERT_EQUAL(vindex->gate_format, WA_FORMAT_F16);
}

static void a_q4_0_vindex_holds_the_models_weights(void)
{
    with_extracted("tiny-odd",
                   (wa_extract_options){.format = WA_EXTRACT_Q4_0, .gate = WA_EXTRACT_GATE_F16},
                   look_at_q4_0);
}

static void look_at_fp4(const wa_vindex *vindex, const wa_model *model)
{
    expect_payload(vindex, model, WA_PAYLOAD_GATE);
    expect_payload(vindex, model, WA_PAYLOAD_FP4);
}

static void an_fp4_vindex_holds_the_models_weights(void)
{
    static const wa_fp4_policy policies[] = {WA_FP4_POLICY_A, WA_FP4_POLICY_B, WA_FP4_POLICY_C};
    for (size_t i = 0; i < 3; i++) {
        wa_extract_options options = wa_extract_defaults(WA_EXTRACT_FP4);
        options.policy = policies[i];
        options.gate = i == 0 ? WA_EXTRACT_GATE_F16 : WA_EXTRACT_GATE_F32;
        with_extracted("tiny-qwen3", options, look_at_fp4);
    }
}

/* Each row encoded here as 512 elements, 192 of them zeros, and decoded: the very bits. */
static void look_at_padded_fp4(const wa_vindex *vindex, const wa_model *model)
{
    enum { WIDTH = 320, PADDED = 512 };
    look_at_fp4(vindex, model);
    CU_ASSERT_EQUAL_FATAL(model->hidden, WIDTH);
    for (size_t l = 0; l < model->layer_count; l++) {
        wa_error err = {0};
        wa_matrix stored;
        size_t different = 0;
        WA_MUST(wa_vindex_matrix(vindex, WA_PAYLOAD_FP4, WA_UP, l, &stored, &err), &err);
        CU_ASSERT_EQUAL_FATAL(stored.cols, WIDTH);
        CU_ASSERT_EQUAL_FATAL(stored.format, WA_FORMAT_FP4);
        for (size_t r = 0; r < stored.rows; r++) {
            float row[PADDED] = {0}, found[WIDTH], decoded[PADDED];
            uint8_t blocks[2 * 137];
            wa_matrix_decode(&model->layers[l].up, r, 1, row);
            wa_format_get(WA_FORMAT_FP4)->encode_ref(row, 2, blocks);
            wa_format_get(WA_FORMAT_FP4)->decode_ref(blocks, 2, decoded);
            wa_matrix_decode(&stored, r, 1, found);
            different += memcmp(stored.data + r * stored.row_bytes, blocks, sizeof blocks) != 0;
            different += memcmp(found, decoded, sizeof found) != 0;
        }
        CU_ASSERT_EQUAL(different, 0);
    }
}

static void padded_fp4_rows_are_read_back_as_encoded(void)
{
    with_extracted("tiny-odd", wa_extract_defaults(WA_EXTRACT_FP4), look_at_padded_fp4);
}

/* --- refusals --------------------------------------------------------------------------------- */

enum { HIDDEN = 48, FEATURES = 4 };
static const float WEIGHTS[HIDDEN * FEATURES];

/* Defaults of FP4 with what a test changes. */
static wa_extract_options fp4_with(bool larql, wa_extract_gate gate, double threshold, double floor)
{
    wa_extract_options options = wa_extract_defaults(WA_EXTRACT_FP4);
    options.compat = larql ? WA_EXTRACT_COMPAT_LARQL_2026_05 : WA_EXTRACT_COMPAT_NONE;
    options.gate = gate;
    options.fp4_threshold = threshold;
    options.fp4_floor = floor;
    return options;
}

static void expect_refused(bool gated, wa_extract_options options, wa_status status,
                           const char *says)
{
    char out[PATH_ROOM];
    wa_error err = {0};
    wa_layer layer = {.gate = test_view(WEIGHTS, FEATURES, HIDDEN),
                      .up = test_view(WEIGHTS, FEATURES, HIDDEN),
                      .down = test_view(WEIGHTS, HIDDEN, FEATURES)};
    wa_model model = test_model("llama", &layer, 1, FEATURES, HIDDEN);
    model.gated = gated;
    scratch_path(out, "extract-quantised", "refused");
    CU_ASSERT_EQUAL(wa_extract(&model, out, &options, &err), status);
    if (strstr(err.text, says) == NULL)
        fprintf(stderr, "    said '%s', expected '%s'\n", err.text, says);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, says));
    CU_ASSERT_EQUAL(count_entries(WA_TEST_BINARY_DIR, "extract-quantised-refused"), 0);
}

static void what_a_format_cannot_hold_is_refused(void)
{
    expect_refused(true, (wa_extract_options){.format = WA_EXTRACT_Q4_0}, WA_E_UNSUPPORTED,
                   "hidden size 48, expected a multiple of 32");
    expect_refused(false, (wa_extract_options){.format = WA_EXTRACT_Q4K}, WA_E_UNSUPPORTED,
                   "no gate projection");
    expect_refused(true, (wa_extract_options){.format = WA_EXTRACT_F32, .drop_gate = true},
                   WA_E_USAGE, "of format q4k, not f32");
    expect_refused(true,
                   (wa_extract_options){.format = WA_EXTRACT_F16, .gate = WA_EXTRACT_GATE_F32},
                   WA_E_USAGE, "format f16 has its own type");
}

static void fp4_options_that_mean_nothing_are_refused(void)
{
    wa_extract_gate usual = WA_EXTRACT_GATE_USUAL, half = WA_EXTRACT_GATE_F16;
    expect_refused(true, fp4_with(true, usual, 16, 0.99), WA_E_UNSUPPORTED,
                   "hidden size 48, expected a multiple of 256");
    expect_refused(false, fp4_with(false, usual, 16, 0.99), WA_E_UNSUPPORTED, "no gate projection");
    expect_refused(true, fp4_with(false, usual, NAN, 0.99), WA_E_USAGE, "threshold nan");
    expect_refused(true, fp4_with(false, half, 1, 0.99), WA_E_USAGE, "threshold 1");
    expect_refused(true, fp4_with(false, usual, 16, 1.5), WA_E_USAGE, "floor 1.5");
}

WA_SUITE("extract_quantised", WA_CASE(a_q4k_vindex_holds_the_models_weights),
         WA_CASE(a_dropped_gate_is_remade_by_the_reader),
         WA_CASE(a_q4_0_vindex_holds_the_models_weights),
         WA_CASE(an_fp4_vindex_holds_the_models_weights),
         WA_CASE(padded_fp4_rows_are_read_back_as_encoded),
         WA_CASE(what_a_format_cannot_hold_is_refused),
         WA_CASE(fp4_options_that_mean_nothing_are_refused))

/* Extraction in block formats: what was written is what the model holds, within the format's bound. */
#include "suite.h"
#include "vindex_dirs.h"
#include "walkaudit/extract.h"
#include "walkaudit/vindex.h"

#include <math.h>

/* Rows of two matrices, relative L2 of each within the bound; returns how many rows are not. */
static size_t rows_beyond(const wa_matrix *stored, const wa_matrix *exact, bool turned, double bound)
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
    CU_ASSERT_EQUAL(wa_vindex_serving(vindex, WA_PAYLOAD_GATE, WA_GATE), WA_PAYLOAD_INTERLEAVED_Q4K);
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

/* --- refusals ---------------------------------------------------------------------------------- */

enum { HIDDEN = 48, FEATURES = 4 };
static const float WEIGHTS[HIDDEN * FEATURES];

static wa_matrix zeros(size_t rows, size_t cols)
{
    return (wa_matrix){.data = (const uint8_t *)WEIGHTS,
                       .name = "test",
                       .format = WA_FORMAT_F32,
                       .rows = rows,
                       .cols = cols,
                       .row_bytes = cols * sizeof *WEIGHTS};
}

static void expect_refused(bool gated, wa_extract_options options, wa_status status,
                           const char *says)
{
    char out[PATH_ROOM];
    wa_error err = {0};
    wa_layer layer = {.gate = zeros(FEATURES, HIDDEN),
                      .up = zeros(FEATURES, HIDDEN),
                      .down = zeros(HIDDEN, FEATURES)};
    wa_model model = {.path = "made-here",
                      .family = "llama",
                      .model_type = "llama",
                      .container = "safetensors",
                      .layer_count = 1,
                      .hidden = HIDDEN,
                      .intermediate = FEATURES,
                      .vocab = 8,
                      .gated = gated,
                      .layers = &layer};
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
    expect_refused(
        true, (wa_extract_options){.format = WA_EXTRACT_F16, .gate = WA_EXTRACT_GATE_F32},
        WA_E_USAGE, "format f16 has its own type");
}

WA_SUITE("extract_quantised", WA_CASE(a_q4k_vindex_holds_the_models_weights),
         WA_CASE(a_dropped_gate_is_remade_by_the_reader),
         WA_CASE(a_q4_0_vindex_holds_the_models_weights),
         WA_CASE(what_a_format_cannot_hold_is_refused))

/* Extraction of experts: every stored row is the model's row, padded to 256 and encoded by the
 * codec; routers, biases and norms are the model's values; a dense layer is a file of one entry,
 * which LARQL leaves out. */
#include "made_model.h"
#include "suite.h"
#include "vindex/experts.h"
#include "vindex/extract.h"
#include "vindex/parts.h"
#include "vindex_dirs.h"

#include <math.h>
#include <sys/stat.h>

enum {
    HIDDEN = 40,
    FEATURES = 24,
    DENSE = 56,
    EXPERTS = 5,
    LAYERS = 3,
    BLOCK = 256,
    SHAPE = HIDDEN * DENSE
};

static const struct {
    wa_extract_format format;
    wa_format stored;
} FORMATS[] = {
    {WA_EXTRACT_F32, WA_FORMAT_F32},   {WA_EXTRACT_F16, WA_FORMAT_F16},
    {WA_EXTRACT_BF16, WA_FORMAT_BF16}, {WA_EXTRACT_Q4_0, WA_FORMAT_GGML_Q4_0},
    {WA_EXTRACT_Q4K, WA_FORMAT_Q4_K},  {WA_EXTRACT_Q6K, WA_FORMAT_GGML_Q6_K},
    {WA_EXTRACT_FP4, WA_FORMAT_FP4},
};

/* A model of GPT-OSS's kind: layer 1 is dense. */
typedef struct made_model {
    wa_model model;
    wa_layer layers[LAYERS];
    wa_experts experts[LAYERS];
    wa_expert list[LAYERS][EXPERTS];
    float weights[LAYERS][EXPERTS][3][SHAPE], router[LAYERS][EXPERTS * HIDDEN],
        bias[LAYERS][EXPERTS][2 * FEATURES + HIDDEN];
    float router_bias[EXPERTS], norm[HIDDEN];
} made_model;

static made_model made;

static void fill(float *out, size_t count, float phase)
{
    for (size_t i = 0; i < count; i++)
        out[i] = 0.1F * sinf(phase + 1.7F * (float)i);
}

static void fill_layer(size_t l, const char *family)
{
    made_model *m = &made;
    bool biases = strcmp(family, "gpt_oss") == 0;
    fill(m->router[l], EXPERTS * HIDDEN, (float)l);
    for (size_t e = 0; e < EXPERTS; e++) {
        for (size_t p = 0; p < 3; p++)
            fill(m->weights[l][e][p], SHAPE, (float)(l * 31 + e * 7 + p));
        fill(m->bias[l][e], 2 * FEATURES + HIDDEN, (float)(l * 3 + e));
        m->list[l][e] = (wa_expert){.gate = test_view(m->weights[l][e][0], FEATURES, HIDDEN),
                                    .up = test_view(m->weights[l][e][1], FEATURES, HIDDEN),
                                    .down = test_view(m->weights[l][e][2], HIDDEN, FEATURES)};
        if (!biases)
            continue;
        m->list[l][e].gate_bias = m->bias[l][e];
        m->list[l][e].up_bias = m->bias[l][e] + FEATURES;
        m->list[l][e].down_bias = m->bias[l][e] + 2 * FEATURES;
    }
    m->experts[l] = (wa_experts){.count = EXPERTS,
                                 .chosen = 2,
                                 .widest = FEATURES,
                                 .experts = m->list[l],
                                 .router = test_view(m->router[l], EXPERTS, HIDDEN),
                                 .router_bias = biases ? m->router_bias : NULL};
    m->layers[l] = (wa_layer){.attn_in = {.weight = m->norm}, .ffn_in = {.weight = m->norm}};
    if (l != 1)
        m->layers[l].experts = &m->experts[l];
    else {
        m->layers[l].gate = test_view(m->weights[l][0][0], DENSE, HIDDEN);
        m->layers[l].up = test_view(m->weights[l][0][1], DENSE, HIDDEN);
        m->layers[l].down = test_view(m->weights[l][0][2], HIDDEN, DENSE);
    }
}

static const wa_model *make_model(const char *family)
{
    memset(&made, 0, sizeof made);
    fill(made.norm, HIDDEN, 0.3F);
    fill(made.router_bias, EXPERTS, 0.4F);
    for (size_t l = 0; l < LAYERS; l++)
        fill_layer(l, family);
    made.model = test_model(family, made.layers, LAYERS, DENSE, HIDDEN);
    made.model.final_norm.weight = made.norm;
    return &made.model;
}

/* The row, zeros behind it, in the bytes of the format: by the codec's own functions for one
 * row. */
static size_t encode_row(wa_format format, const float *row, size_t cols, uint8_t *out)
{
    float wide[BLOCK] = {0};
    memcpy(wide, row, cols * sizeof *row);
    const wa_format_info *info = wa_format_get(format);
    size_t bytes = BLOCK / info->block_elements * info->block_bytes;
    for (size_t i = 0; i < BLOCK && info->block_elements == 1; i++) {
        uint16_t half = format == WA_FORMAT_F16 ? wa_f32_to_f16(wide[i]) : wa_f32_to_bf16(wide[i]);
        memcpy(out + i * info->block_bytes,
               format == WA_FORMAT_F32 ? (const void *)&wide[i] : (const void *)&half,
               info->block_bytes);
    }
    if (info->block_elements > 1)
        info->encode_ref(wide, BLOCK / info->block_elements, out);
    return bytes;
}

static void expect_matrix(const wa_matrix *stored, const wa_matrix *model, wa_format format)
{
    uint8_t bytes[4 * BLOCK];
    CU_ASSERT_EQUAL(stored->format, format);
    CU_ASSERT_EQUAL_FATAL(stored->rows, model->rows);
    CU_ASSERT_EQUAL(stored->cols, model->cols);
    for (size_t r = 0; r < model->rows; r++) {
        size_t size = encode_row(format, (const float *)(const void *)model->data + r * model->cols,
                                 model->cols, bytes);
        CU_ASSERT_EQUAL_FATAL(stored->row_bytes, size);
        CU_ASSERT(memcmp(wa_matrix_row(stored, r), bytes, size) == 0);
    }
}

static void expect_expert(const wa_expert *stored, const wa_expert *model, wa_format format)
{
    expect_matrix(&stored->gate, &model->gate, format);
    expect_matrix(&stored->up, &model->up, format);
    expect_matrix(&stored->down, &model->down, format);
}

static bool same(const float *a, const float *b, size_t count)
{
    return a != NULL && b != NULL && memcmp(a, b, count * sizeof *a) == 0;
}

static void stored_experts_are_the_models_in_every_format(void)
{
    const wa_model *model = make_model("gpt_oss");
    for (size_t i = 0; i < sizeof FORMATS / sizeof FORMATS[0]; i++) {
        char out[PATH_ROOM];
        wa_arena *arena;
        wa_error err = {0};
        wa_expert dense;
        wa_extract_options options = wa_extract_defaults(FORMATS[i].format);
        options.force = true; /* the vindex of the format before, with its folder */
        scratch_path(out, "extract", "experts");
        WA_MUST(wa_extract(model, out, &options, &err), &err);
        wa_vindex *vindex = must_open_vindex(out, &arena);
        for (size_t l = 0; l < LAYERS; l += 2) {
            wa_vindex_experts found;
            WA_MUST(wa_vindex_experts_open(vindex, model, l, arena, &found, &err), &err);
            for (int role = 0; role < WA_ROUTER_ROLES; role++)
                CU_ASSERT(found.stored[role]);
            CU_ASSERT_EQUAL(found.experts.router.format, WA_FORMAT_F32);
            CU_ASSERT(memcmp(found.experts.router.data, made.router[l], sizeof made.router[l]) ==
                      0);
            CU_ASSERT(same(found.experts.router_bias, made.router_bias, EXPERTS));
            for (size_t e = 0; e < EXPERTS; e++) {
                const wa_expert *stored = &found.experts.experts[e], *own = &made.list[l][e];
                expect_expert(stored, own, FORMATS[i].stored);
                CU_ASSERT(same(stored->gate_bias, own->gate_bias, FEATURES) &&
                          same(stored->up_bias, own->up_bias, FEATURES));
                CU_ASSERT(same(stored->down_bias, own->down_bias, HIDDEN));
            }
        }
        const wa_expert own = {
            .gate = made.layers[1].gate, .up = made.layers[1].up, .down = made.layers[1].down};
        CU_ASSERT_EQUAL(wa_vindex_layer_store(vindex, 1).entries, 1);
        WA_MUST(wa_vindex_expert(vindex, 1, 0, &dense, &err), &err);
        expect_expert(&dense, &own, FORMATS[i].stored);
        /* gate rows of all experts, one after the other */
        CU_ASSERT(vindex->present[WA_PAYLOAD_GATE]);
        CU_ASSERT_EQUAL(vindex->layers[2].features, EXPERTS * FEATURES);
        CU_ASSERT_EQUAL(vindex->layers[2].feature_start, EXPERTS * FEATURES + DENSE);
        wa_vindex_close(vindex);
        wa_arena_close(arena);
    }
}

static void a_dense_layer_is_left_out_as_larql_does(void)
{
    const wa_model *model = make_model("qwen3_moe");
    char out[PATH_ROOM];
    wa_arena *arena;
    wa_error err = {0};
    wa_extract_options options = wa_extract_defaults(WA_EXTRACT_Q4K);
    options.force = true;
    options.compat = WA_EXTRACT_COMPAT_LARQL_2026_08;
    scratch_path(out, "extract", "experts-larql");
    WA_MUST(wa_extract(model, out, &options, &err), &err);
    wa_vindex *vindex = must_open_vindex(out, &arena);
    CU_ASSERT_EQUAL(wa_vindex_layer_store(vindex, 0).entries, EXPERTS);
    CU_ASSERT_EQUAL(wa_vindex_layer_store(vindex, 1).entries, 0);
    CU_ASSERT_EQUAL(vindex->layers[1].features, 0);
    CU_ASSERT_EQUAL(vindex->layers[2].feature_start, EXPERTS * FEATURES);
    CU_ASSERT(!wa_vindex_layer_store(vindex, 0).has_router_bias &&
              wa_vindex_layer_store(vindex, 0).has_router);
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

static void without_a_gate_file_experts_are_there(void)
{
    const wa_model *model = make_model("mixtral");
    char out[PATH_ROOM];
    wa_arena *arena;
    wa_error err = {0};
    wa_extract_options options = wa_extract_defaults(WA_EXTRACT_Q6K);
    options.force = options.drop_gate = true;
    scratch_path(out, "extract", "experts-no-gate");
    WA_MUST(wa_extract(model, out, &options, &err), &err);
    wa_vindex *vindex = must_open_vindex(out, &arena);
    CU_ASSERT(!vindex->present[WA_PAYLOAD_GATE]);
    CU_ASSERT_EQUAL(vindex->layers[0].features, EXPERTS * FEATURES);
    CU_ASSERT_EQUAL(wa_vindex_layer_store(vindex, 2).entries, EXPERTS);
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

static void what_experts_cannot_be_is_refused_and_leaves_nothing(void)
{
    static const struct {
        const char *family;
        wa_extract_options options;
        wa_status status;
        const char *text;
    } rows[] = {
        {"mixtral",
         {.format = WA_EXTRACT_INTERLEAVED},
         WA_E_UNSUPPORTED,
         "experts have no place in an interleaved vindex"},
        {"mixtral",
         {.format = WA_EXTRACT_Q4K, .compat = WA_EXTRACT_COMPAT_LARQL_2026_05},
         WA_E_UNSUPPORTED,
         "LARQL of May 2026"},
        {"mixtral",
         {.format = WA_EXTRACT_F32, .compat = WA_EXTRACT_COMPAT_LARQL_2026_08},
         WA_E_UNSUPPORTED,
         "not in f32"},
        {"mixtral",
         {.format = WA_EXTRACT_Q4K, .down_q4k = true},
         WA_E_USAGE,
         "one format throughout"},
        {"deepseek",
         {.format = WA_EXTRACT_Q4K},
         WA_E_UNSUPPORTED,
         "what LARQL calls the routers of deepseek is not known"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[PATH_ROOM];
        struct stat info;
        wa_error err = {0};
        scratch_path(out, "extract", "experts-refused");
        CU_ASSERT_EQUAL(wa_extract(make_model(rows[i].family), out, &rows[i].options, &err),
                        rows[i].status);
        CU_ASSERT(strstr(err.text, rows[i].text) != NULL);
        CU_ASSERT(stat(out, &info) != 0);
        CU_ASSERT(shell("test -z \"$(ls -d '%s'.tmp-* 2>/dev/null)\"%s", out, ""));
    }
    wa_error err = {0};
    const wa_extract_options q6k = wa_extract_defaults(WA_EXTRACT_Q6K);
    const wa_model *dense = make_model("llama");
    made.layers[0] = made.layers[2] = made.layers[1];
    CU_ASSERT_EQUAL(wa_extract(dense, WA_TEST_BINARY_DIR "/extract-none", &q6k, &err),
                    WA_E_UNSUPPORTED);
    CU_ASSERT(strstr(err.text, "a vindex in q6k is one of experts") != NULL);
}

/* larql-2026-08.md 5.1: the file of a layer of GPT-OSS 20B. */
static void the_documents_layer_of_gpt_oss_has_its_places(void)
{
    enum { COUNT = 32, WIDTH = 2880, ENTRY = 32, GATE_UP = 14515200, DOWN = 7257600 };
    static const uint8_t start[24] = {0x4c, 0x59, 0x52, 0x57, 1,    0,    0, 0, 5,    0,    0, 0,
                                      0x20, 0,    0,    0,    0x40, 0x0b, 0, 0, 0x40, 0x0b, 0, 0};
    wa_error err = {0};
    wa_arena *arena;
    wa_bytes header;
    uint64_t at = sizeof start + COUNT * ENTRY;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    WA_MUST(wa_layer_file_header(WA_FORMAT_GGML_Q6_K, COUNT, WIDTH, WIDTH, arena, &header, &err),
            &err);
    CU_ASSERT_EQUAL_FATAL(header.size, 1048);
    CU_ASSERT_EQUAL(memcmp(header.data, start, sizeof start), 0);
    for (size_t e = 0; e < COUNT; e++) {
        const uint8_t *entry = header.data + sizeof start + e * ENTRY;
        CU_ASSERT_EQUAL(wa_load_u64(entry), at);
        CU_ASSERT_EQUAL(wa_load_u64(entry + 8), GATE_UP);
        CU_ASSERT_EQUAL(wa_load_u64(entry + 16), at + GATE_UP);
        CU_ASSERT_EQUAL(wa_load_u64(entry + 24), DOWN);
        at += GATE_UP + DOWN;
    }
    CU_ASSERT_EQUAL(at, 696730648);
    wa_arena_close(arena);
}

WA_SUITE("extract_experts", WA_CASE(the_documents_layer_of_gpt_oss_has_its_places),
         WA_CASE(stored_experts_are_the_models_in_every_format),
         WA_CASE(a_dense_layer_is_left_out_as_larql_does),
         WA_CASE(without_a_gate_file_experts_are_there),
         WA_CASE(what_experts_cannot_be_is_refused_and_leaves_nothing))

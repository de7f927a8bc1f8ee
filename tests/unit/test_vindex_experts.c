/* Experts of a vindex: the matrices of layers/layer_NN.weights in every format and padding, router
 * and biases from norms.bin, and what does not fit the model. Offsets, sizes and orders are those
 * of larql-2026-08 5.1 and 5.3. */
#include "suite.h"
#include "vindex/experts.h"
#include "vindex/order.h"
#include "vindex_dirs.h"

#include <math.h>
#include <sys/stat.h>

/* The golden vindex: two layers, H 32. Experts are narrower than a block, so that rows of down
 * cross blocks when unpadded. */
enum { HIDDEN = 32, FEATURES = 24, EXPERTS = 3, WIDE = 256, BLOCK = 256 };
enum { GATE_UP, DOWN, REGIONS = 2 };

typedef struct number_format {
    unsigned code;
    wa_format format;
    size_t elements, bytes;
} number_format;

static const number_format FORMATS[] = {
    {0, WA_FORMAT_F32, 1, 4},         {1, WA_FORMAT_F16, 1, 2},
    {2, WA_FORMAT_BF16, 1, 2},        {3, WA_FORMAT_GGML_Q4_0, 32, 18},
    {4, WA_FORMAT_Q4_K, 256, 144},    {5, WA_FORMAT_GGML_Q6_K, 256, 210},
    {6, WA_FORMAT_GGML_Q8_0, 32, 34}, {7, WA_FORMAT_FP4, 256, 137},
};

static void put(uint8_t *at, uint64_t value, size_t size)
{
    memcpy(at, &value, size);
}

/* A file of some experts, every region of noise. */
typedef struct layer_file {
    const number_format *format;
    /* elements from a row to the next */
    size_t features, rows[REGIONS], cols[REGIONS], stride[REGIONS];
    size_t size, start[EXPERTS][REGIONS], length[REGIONS];
    uint8_t *bytes;
} layer_file;

static layer_file make_file(const number_format *format, size_t features, bool padded)
{
    layer_file f = {.format = format,
                    .features = features,
                    .rows = {2 * features, HIDDEN},
                    .cols = {HIDDEN, features}};
    f.size = 24 + 32 * EXPERTS;
    for (int part = 0; part < REGIONS; part++) {
        f.stride[part] = padded ? (f.cols[part] + BLOCK - 1) / BLOCK * BLOCK : f.cols[part];
        f.length[part] = f.rows[part] * f.stride[part] / format->elements * format->bytes;
    }
    for (size_t e = 0; e < EXPERTS; e++)
        for (int part = 0; part < REGIONS; part++) {
            f.start[e][part] = f.size;
            f.size += f.length[part];
        }
    f.bytes = malloc(f.size);
    if (f.bytes == NULL)
        abort();
    for (size_t i = 0; i < f.size; i++)
        f.bytes[i] = (uint8_t)((i * i + 3 * i) % 251);
    const uint32_t header[] = {0x5752594C, 1, format->code, EXPERTS, (uint32_t)features, HIDDEN};
    memcpy(f.bytes, header, sizeof header);
    for (size_t e = 0; e < EXPERTS; e++)
        for (size_t part = 0; part < REGIONS; part++) {
            put(f.bytes + 24 + 32 * e + 16 * part, f.start[e][part], 8);
            put(f.bytes + 32 + 32 * e + 16 * part, f.length[part], 8);
        }
    return f;
}

static void make_directory(char *path, const char *name)
{
    char layers[2 * PATH_ROOM];
    scratch_path(path, "experts", name);
    copy_directory(WA_GOLDEN "/malformed/vindex/ok", path);
    snprintf(layers, sizeof layers, "%s/layers", path);
    if (mkdir(layers, 0777) != 0)
        abort();
}

/* Rows first, first + 1, … of a region, decoded as one stream of blocks. */
static void expect_rows(const layer_file *f, size_t expert, int part, size_t first,
                        const wa_matrix *found)
{
    size_t count = f->rows[part] * f->stride[part], wrong = 0;
    float *stream = malloc(count * sizeof *stream),
          *rows = malloc(found->rows * found->cols * sizeof *rows);
    if (stream == NULL || rows == NULL)
        abort();
    wa_format_get(f->format->format)
        ->decode_ref(f->bytes + f->start[expert][part], count / f->format->elements, stream);
    wa_matrix_decode(found, 0, found->rows, rows);
    CU_ASSERT_EQUAL(found->cols, f->cols[part]);
    for (size_t r = 0; r < found->rows; r++)
        for (size_t c = 0; c < found->cols; c++) {
            float got = rows[r * found->cols + c], want = stream[(first + r) * f->stride[part] + c];
            /* noise may be a NaN of either sign */
            wrong += !(got == want || (isnan(got) && isnan(want)));
        }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(found->format, f->format->format);
    CU_ASSERT_STRING_EQUAL(found->name, "layers/layer_01.weights");
    free(stream);
    free(rows);
}

static void expect_file(const char *path, const layer_file *f, bool unpadded)
{
    wa_arena *arena;
    wa_error err = {0};
    wa_vindex *vindex = must_open_vindex(path, &arena);
    wa_layer_store store = wa_vindex_layer_store(vindex, 1),
                   none = wa_vindex_layer_store(vindex, 0);
    CU_ASSERT_EQUAL(store.entries, EXPERTS);
    CU_ASSERT_EQUAL(store.features, f->features);
    CU_ASSERT_EQUAL(store.unpadded, unpadded);
    CU_ASSERT_EQUAL(none.entries, 0);
    CU_ASSERT_EQUAL(wa_vindex_expert_layer(vindex), 1);
    for (size_t e = 0; e < EXPERTS; e++) {
        wa_expert expert;
        WA_MUST(wa_vindex_expert(vindex, 1, e, &expert, &err), &err);
        CU_ASSERT_EQUAL(expert.gate.rows, f->features);
        CU_ASSERT_EQUAL(expert.up.rows, f->features);
        CU_ASSERT_EQUAL(expert.down.rows, HIDDEN);
        expect_rows(f, e, GATE_UP, 0, &expert.gate);
        expect_rows(f, e, GATE_UP, f->features, &expert.up);
        expect_rows(f, e, DOWN, 0, &expert.down);
    }
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

static void experts_of_every_format_and_padding_are_read(void)
{
    char path[PATH_ROOM];
    make_directory(path, "formats");
    for (size_t i = 0; i < sizeof FORMATS / sizeof FORMATS[0]; i++)
        for (int unpadded = 0; unpadded < 2; unpadded++) {
            layer_file f = make_file(&FORMATS[i], FEATURES, unpadded == 0);
            write_file(path, "layers/layer_01.weights", f.bytes, f.size);
            expect_file(path, &f, unpadded != 0);
            free(f.bytes);
        }
    layer_file wide = make_file(&FORMATS[4], WIDE, false); /* no row of down needs padding */
    write_file(path, "layers/layer_01.weights", wide.bytes, wide.size);
    expect_file(path, &wide, true);
    free(wide.bytes);
}

/* MXFP4 by the document (larql-2026-08 5.2): neighbours share a byte, a scale is a power of two. */
static double mxfp4(const uint8_t *values, const uint8_t *scales, size_t element)
{
    static const double codes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    unsigned code = ((unsigned)values[element / 2] >> (element % 2 * 4)) & 15U;
    return ldexp(code > 7 ? -codes[code - 8] : codes[code], scales[element / 32] - 127);
}

/* Values and scales apart, rows of gate and up in turn, or in halves; padded to 256, so that a row
 * has 8 blocks. */
static void mxfp4_experts_are_read_from_two_regions(void)
{
    enum {
        ROW = 8,
        GATE_UP_BLOCKS = 2 * FEATURES * ROW,
        DOWN_BLOCKS = HIDDEN * ROW,
        BLOCKS = GATE_UP_BLOCKS + DOWN_BLOCKS,
        START = 32 + 64,
        SCALES = START + 16 * BLOCKS
    };
    static uint8_t bytes[SCALES + BLOCKS];
    const uint64_t table[] = {
        START,  16 * GATE_UP_BLOCKS, START + 16 * GATE_UP_BLOCKS, 16 * DOWN_BLOCKS,
        SCALES, GATE_UP_BLOCKS,      SCALES + GATE_UP_BLOCKS,     DOWN_BLOCKS};
    for (size_t i = START; i < sizeof bytes; i++)
        bytes[i] = i < SCALES ? (uint8_t)((i * i + 5 * i) % 251) : (uint8_t)(110 + i % 30);
    for (uint32_t turns = 0; turns < 2; turns++) {
        const uint32_t header[] = {0x5752594C, 1, 8, 1, FEATURES, HIDDEN, 1, turns};
        char path[PATH_ROOM];
        wa_arena *arena;
        wa_expert expert;
        wa_error err = {0};
        float row[HIDDEN];
        size_t wrong = 0;
        make_directory(path, "mxfp4");
        memcpy(bytes, header, sizeof header);
        memcpy(bytes + sizeof header, table, sizeof table);
        write_file(path, "layers/layer_01.weights", bytes, sizeof bytes);
        wa_vindex *vindex = must_open_vindex(path, &arena);
        CU_ASSERT_STRING_EQUAL(wa_vindex_layer_store(vindex, 1).format_name, "MXFP4");
        WA_MUST(wa_vindex_expert(vindex, 1, 0, &expert, &err), &err);
        const wa_matrix *all[] = {&expert.gate, &expert.up, &expert.down};
        for (size_t p = 0; p < 3; p++)
            for (size_t r = 0; r < all[p]->rows; r++) {
                size_t at = p == 2 ? GATE_UP_BLOCKS + r * ROW
                                   : (turns ? 2 * r + p : r + p * FEATURES) * ROW;
                wa_matrix_decode(all[p], r, 1, row);
                for (size_t c = 0; c < all[p]->cols; c++)
                    wrong +=
                        (double)row[c] != mxfp4(bytes + START + 16 * at, bytes + SCALES + at, c);
            }
        CU_ASSERT_EQUAL(wrong, 0);
        wa_vindex_close(vindex);
        put(bytes + 32 + 40, GATE_UP_BLOCKS - 1, 8);
        write_file(path, "layers/layer_01.weights", bytes, sizeof bytes);
        CU_ASSERT_EQUAL(wa_vindex_open(path, arena, &vindex, &err), WA_E_FORMAT);
        CU_ASSERT(strstr(err.text, "the scales of gate_up has 383 bytes, expected 384") != NULL);
        put(bytes + 24, 0, 4);
        write_file(path, "layers/layer_01.weights", bytes, sizeof bytes);
        CU_ASSERT_EQUAL(wa_vindex_open(path, arena, &vindex, &err), WA_E_UNSUPPORTED);
        CU_ASSERT(strstr(err.text, "MXFP4 with inline scales") != NULL);
        wa_arena_close(arena);
    }
}

/* --- Beside the model: f32 weights that say what they are */

typedef struct made {
    float router[EXPERTS * HIDDEN], router_bias[EXPERTS], gate_up[EXPERTS * 2 * FEATURES],
        down[EXPERTS * HIDDEN];
} made;

/* norms.bin is these values, in this order. */
static made make_norms(void)
{
    made out;
    float *all = (float *)(void *)&out;
    for (size_t i = 0; i < sizeof out / sizeof *all; i++)
        all[i] = (float)i + 0.5F;
    return out;
}

/* A model whose experts have the file's shapes and biases of -1. */
typedef struct own_model {
    wa_model model;
    wa_layer layers[2];
    wa_experts experts;
    wa_expert list[EXPERTS];
    float bias[FEATURES + HIDDEN], router[EXPERTS * HIDDEN];
} own_model;

static void make_model(own_model *own, size_t count, size_t features)
{
    memset(own, 0, sizeof *own);
    for (size_t i = 0; i < FEATURES + HIDDEN; i++)
        own->bias[i] = -1.0F;
    for (size_t e = 0; e < EXPERTS; e++)
        own->list[e] = (wa_expert){.gate = {.rows = features, .cols = HIDDEN},
                                   .up = {.rows = features, .cols = HIDDEN},
                                   .down = {.rows = HIDDEN, .cols = features},
                                   .gate_bias = own->bias,
                                   .up_bias = own->bias,
                                   .down_bias = own->bias};
    own->experts = (wa_experts){.count = count,
                                .chosen = 2,
                                .renormalised = true,
                                .experts = own->list,
                                .router_bias = own->bias,
                                .router = {.data = (const uint8_t *)own->router,
                                           .rows = count,
                                           .cols = HIDDEN,
                                           .row_bytes = 4 * HIDDEN}};
    own->layers[1].experts = &own->experts;
    own->model = (wa_model){.layer_count = 2, .hidden = HIDDEN, .layers = own->layers};
}

#define ENTRY(name, shape, offset, length)                                                         \
    "{\"key\": \"layers.1." name "\", \"kind\": \"vector\", \"shape\": [" shape                    \
    "], \"offset\": " offset ", \"length\": " length ", \"file\": \"norms.bin\"}"
static const char WHOLE[] = "[" ENTRY("mlp.router.weight", "96", "0", "384") "," ENTRY(
    "mlp.router.bias", "3", "384", "12") "," ENTRY("mlp.experts.gate_up_proj_bias", "144", "396",
                                                   "576") "," ENTRY("mlp.experts.down_proj_bias",
                                                                    "96", "972", "384") "]";

static void write_layer(char *path, const char *name, const char *manifest)
{
    layer_file f = make_file(&FORMATS[4], FEATURES, true);
    made norms = make_norms();
    make_directory(path, name);
    write_file(path, "layers/layer_01.weights", f.bytes, f.size);
    free(f.bytes);
    if (manifest == NULL)
        return;
    write_file(path, "norms.bin", &norms, sizeof norms);
    write_file(path, "weight_manifest.json", manifest, strlen(manifest));
}

static bool lists(const wa_vindex *vindex, const char *name)
{
    for (size_t i = 0; i < vindex->file_count; i++)
        if (strstr(vindex->files[i], name) != NULL)
            return true;
    return false;
}

static void router_and_biases_are_those_of_the_vindex(void)
{
    char path[PATH_ROOM];
    wa_arena *arena;
    wa_error err = {0};
    own_model own;
    wa_vindex_experts found;
    float row[HIDDEN];
    const made norms = make_norms();
    write_layer(path, "router", WHOLE);
    wa_vindex *vindex = must_open_vindex(path, &arena);
    make_model(&own, EXPERTS, FEATURES);
    WA_MUST(wa_vindex_experts_open(vindex, &own.model, 1, arena, &found, &err), &err);
    for (int role = 0; role < WA_ROUTER_ROLES; role++)
        CU_ASSERT(found.stored[role]);
    CU_ASSERT_EQUAL(found.experts.count, EXPERTS);
    CU_ASSERT_EQUAL(found.experts.chosen, 2);
    CU_ASSERT(found.experts.renormalised);
    for (size_t e = 0; e < EXPERTS; e++) {
        const wa_expert *expert = &found.experts.experts[e];
        wa_matrix_decode(&found.experts.router, e, 1, row);
        CU_ASSERT(memcmp(row, norms.router + e * HIDDEN, sizeof row) == 0);
        CU_ASSERT_EQUAL(found.experts.router_bias[e], norms.router_bias[e]);
        for (size_t f = 0; f < FEATURES; f++) { /* in turn, as GPT-OSS has them */
            CU_ASSERT_EQUAL(expert->gate_bias[f], norms.gate_up[2 * FEATURES * e + 2 * f]);
            CU_ASSERT_EQUAL(expert->up_bias[f], norms.gate_up[2 * FEATURES * e + 2 * f + 1]);
        }
        CU_ASSERT(memcmp(expert->down_bias, norms.down + e * HIDDEN, sizeof row) == 0);
        CU_ASSERT_EQUAL(expert->gate.format, WA_FORMAT_Q4_K);
    }
    CU_ASSERT(lists(vindex, "norms.bin") && lists(vindex, "weight_manifest.json") &&
              lists(vindex, "layers/layer_01.weights"));
    wa_layer_store store = wa_vindex_layer_store(vindex, 1);
    CU_ASSERT(store.has_router && store.has_router_bias && store.has_biases);
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

static void drop_biases(own_model *own)
{
    own->experts.router_bias = NULL;
    for (size_t e = 0; e < EXPERTS; e++)
        own->list[e].gate_bias = own->list[e].up_bias = own->list[e].down_bias = NULL;
}

#define GATE_UP_BIAS ENTRY("mlp.experts.gate_up_proj_bias", "144", "396", "576")
#define DOWN_BIAS ENTRY("mlp.experts.down_proj_bias", "96", "972", "384")
#define ROUTER_BIAS ENTRY("mlp.router.bias", "3", "384", "12")

/* Each by itself: the vindex's where it has it, the model's where not, and refused where the model
 * has none. */
static void every_bias_is_somebodys(void)
{
    static const struct {
        const char *manifest;
        wa_router_role role;
        const char *text;
    } rows[] = {
        {"[" ROUTER_BIAS "]", WA_ROUTER_BIAS, "layer 1: the router's bias of the vindex has no"},
        {"[" GATE_UP_BIAS "]", WA_ROUTER_GATE_UP_BIAS, "the bias of gate and up of the vindex has"},
        {"[" DOWN_BIAS "]", WA_ROUTER_DOWN_BIAS,
         "the bias of down of the vindex has no counterpart"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[PATH_ROOM];
        wa_arena *arena;
        wa_error err = {0};
        own_model own;
        wa_vindex_experts found;
        write_layer(path, "some", rows[i].manifest);
        wa_vindex *vindex = must_open_vindex(path, &arena);
        make_model(&own, EXPERTS, FEATURES);
        WA_MUST(wa_vindex_experts_open(vindex, &own.model, 1, arena, &found, &err), &err);
        for (int role = 0; role < WA_ROUTER_ROLES; role++)
            CU_ASSERT_EQUAL(found.stored[role], role == (int)rows[i].role);
        const wa_expert *expert = &found.experts.experts[1];
        CU_ASSERT((found.experts.router_bias != own.experts.router_bias) ==
                  found.stored[WA_ROUTER_BIAS]);
        CU_ASSERT((expert->up_bias != own.bias) == found.stored[WA_ROUTER_GATE_UP_BIAS]);
        CU_ASSERT((expert->down_bias != own.list[1].down_bias) ==
                  found.stored[WA_ROUTER_DOWN_BIAS]);
        drop_biases(&own);
        CU_ASSERT_EQUAL(wa_vindex_experts_open(vindex, &own.model, 1, arena, &found, &err),
                        WA_E_MISMATCH);
        CU_ASSERT(strstr(err.text, rows[i].text) != NULL);
        wa_vindex_close(vindex);
        wa_arena_close(arena);
    }
}

static void what_a_vindex_lacks_is_the_models_and_said(void)
{
    char path[PATH_ROOM];
    wa_arena *arena;
    wa_error err = {0};
    own_model own;
    wa_vindex_experts found;
    write_layer(path, "lacking", NULL);
    wa_vindex *vindex = must_open_vindex(path, &arena);
    make_model(&own, EXPERTS, FEATURES);
    WA_MUST(wa_vindex_experts_open(vindex, &own.model, 1, arena, &found, &err), &err);
    for (int role = 0; role < WA_ROUTER_ROLES; role++)
        CU_ASSERT(!found.stored[role]);
    CU_ASSERT_PTR_EQUAL(found.experts.router.data, own.experts.router.data);
    CU_ASSERT_PTR_EQUAL(found.experts.router_bias, own.experts.router_bias);
    CU_ASSERT_PTR_EQUAL(found.experts.experts[1].up_bias, own.bias);
    drop_biases(&own);
    WA_MUST(wa_vindex_experts_open(vindex, &own.model, 1, arena, &found, &err), &err);
    CU_ASSERT(!found.stored[WA_ROUTER_WEIGHT] && found.experts.router_bias == NULL);
    wa_vindex_close(vindex);
    wa_arena_close(arena);
}

static void experts_of_another_shape_are_refused(void)
{
    static const struct {
        const char *manifest;
        size_t count, features;
        const char *text;
    } rows[] = {
        {WHOLE, EXPERTS - 1, FEATURES, "layer 1 of the vindex has 3 experts, the model's has 2"},
        {WHOLE, EXPERTS, FEATURES + 1,
         "experts of layer 1 of the vindex have 24 features, the model's have 25"},
        {"[" ENTRY("mlp.router.weight", "95", "0", "380") "]", EXPERTS, FEATURES,
         "layer 1: the router of the vindex has 95 elements, the model's [3, 32]"},
        {"[" ENTRY("mlp.router.bias", "4", "0", "16") "]", EXPERTS, FEATURES,
         "the router's bias of the vindex has 4 elements"},
        {"[" ENTRY("mlp.experts.down_proj_bias", "95", "0", "380") "]", EXPERTS, FEATURES,
         "the bias of down of the vindex has 95"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[PATH_ROOM];
        wa_arena *arena;
        wa_error err = {0};
        own_model own;
        wa_vindex_experts found;
        write_layer(path, "shapes", rows[i].manifest);
        wa_vindex *vindex = must_open_vindex(path, &arena);
        make_model(&own, rows[i].count, rows[i].features);
        CU_ASSERT_EQUAL(wa_vindex_experts_open(vindex, &own.model, 1, arena, &found, &err),
                        WA_E_MISMATCH);
        CU_ASSERT(strstr(err.text, rows[i].text) != NULL);
        wa_vindex_close(vindex);
        wa_arena_close(arena);
    }
}

/* --- Element orders: Q6_K rows of the model's own values, in either order */

static float model_value(size_t expert, size_t row, size_t col)
{
    return sinf((float)(expert * 131 + row * 17 + col * 7)) * 0.1F;
}

/* Rows of 256 elements, so that they are padded already. */
static void put_rows(layer_file *f, wa_format order, size_t expert, int part, float *values)
{
    for (size_t r = 0; r < f->rows[part]; r++)
        for (size_t c = 0; c < f->stride[part]; c++)
            values[r * f->stride[part] + c] =
                c < f->cols[part] ? model_value(expert + (part == DOWN ? 50 : 0), r, c) : 0.0F;
    wa_rows_encode(order, values, f->rows[part], f->stride[part],
                   f->bytes + f->start[expert][part]);
}

static void experts_are_read_in_the_order_that_fits_the_model(void)
{
    static const struct {
        wa_format stored;
        const char *text;
    } rows[] = {
        {WA_FORMAT_GGML_Q6_K, "experts: Q6_K, order since August 2026"},
        {WA_FORMAT_Q6_K,
         "experts: Q6_K, order of before August 2026: LARQL since then reads this as noise"}};
    static float values[EXPERTS][REGIONS][2 * FEATURES * BLOCK];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[PATH_ROOM];
        wa_arena *arena;
        wa_error err = {0};
        own_model own;
        wa_expert expert;
        const char *text;
        float row[HIDDEN], worst = 0.0F;
        layer_file f = make_file(&FORMATS[5], FEATURES, true);
        make_directory(path, "orders");
        make_model(&own, EXPERTS, FEATURES);
        for (size_t e = 0; e < EXPERTS; e++) {
            put_rows(&f, rows[i].stored, e, GATE_UP, values[e][GATE_UP]);
            put_rows(&f, rows[i].stored, e, DOWN, values[e][DOWN]);
            own.list[e].gate.data = (const uint8_t *)values[e][GATE_UP];
            own.list[e].up.data = (const uint8_t *)(values[e][GATE_UP] + FEATURES * BLOCK);
            own.list[e].down.data = (const uint8_t *)values[e][DOWN];
            own.list[e].gate.row_bytes = own.list[e].up.row_bytes = own.list[e].down.row_bytes =
                4 * BLOCK;
        }
        write_file(path, "layers/layer_01.weights", f.bytes, f.size);
        free(f.bytes);
        wa_vindex *vindex = must_open_vindex(path, &arena);
        WA_MUST(wa_vindex_settle_orders(vindex, &own.model, arena, &err), &err);
        WA_MUST(wa_vindex_tell_orders(vindex, WA_PAYLOAD_EXPERTS, arena, &text, &err), &err);
        CU_ASSERT_STRING_EQUAL(text, rows[i].text);
        WA_MUST(wa_vindex_expert(vindex, 1, 2, &expert, &err), &err);
        for (size_t r = 0; r < FEATURES; r++) {
            wa_matrix_decode(&expert.up, r, 1, row);
            for (size_t c = 0; c < HIDDEN; c++)
                worst = fmaxf(worst, fabsf(row[c] - model_value(2, FEATURES + r, c)));
        }
        CU_ASSERT(worst < 0.01F);
        wa_vindex_close(vindex);
        wa_arena_close(arena);
    }
}

/* LARQL lists no layer without experts (vindex-format 2.6): what it writes of a qwen3_moe model may
 * begin with layer 1. */
static void layers_without_experts_may_be_unlisted(void)
{
    static const char text[] =
        "{\"version\": 2, \"model\": \"m\", \"family\": \"qwen3_moe\", \"num_layers\": 4, "
        "\"hidden_size\": 32,"
        "\"intermediate_size\": 16, \"vocab_size\": 8, \"embed_scale\": 1.0, \"dtype\": \"f32\", "
        "\"down_top_k\": 5, %s"
        "\"layers\": [{\"layer\": 1, \"num_features\": 8, \"offset\": 0, \"length\": 1024},"
        "{\"layer\": 2, \"num_features\": 8, \"offset\": 1024, \"length\": 1024}]}";
    static const uint8_t gate[2048];
    char path[PATH_ROOM], index[sizeof text + 64];
    wa_arena *arena;
    wa_error err = {0};
    make_directory(path, "unlisted");
    if (!shell("rm -f '%s'/*.bin%s", path, ""))
        abort();
    write_file(path, "gate_vectors.bin", gate, sizeof gate);
    write_file(path, "index.json", index,
               (size_t)snprintf(index, sizeof index, text, "\"ffn_layout\": \"per_layer\","));
    wa_vindex *vindex = must_open_vindex(path, &arena);
    CU_ASSERT_EQUAL(vindex->layers[0].features, 0);
    CU_ASSERT_EQUAL(vindex->layers[1].features, 8);
    CU_ASSERT_EQUAL(vindex->layers[2].feature_start, 8);
    CU_ASSERT_EQUAL(vindex->layers[3].features, 0);
    wa_vindex_close(vindex);
    write_file(path, "index.json", index, (size_t)snprintf(index, sizeof index, text, ""));
    CU_ASSERT_EQUAL(wa_vindex_open(path, arena, &vindex, &err), WA_E_FORMAT);
    CU_ASSERT(strstr(err.text, "2 of 4 layers listed") != NULL);
    wa_arena_close(arena);
}

WA_SUITE("vindex_experts", WA_CASE(experts_of_every_format_and_padding_are_read),
         WA_CASE(mxfp4_experts_are_read_from_two_regions),
         WA_CASE(router_and_biases_are_those_of_the_vindex), WA_CASE(every_bias_is_somebodys),
         WA_CASE(what_a_vindex_lacks_is_the_models_and_said),
         WA_CASE(experts_of_another_shape_are_refused),
         WA_CASE(experts_are_read_in_the_order_that_fits_the_model),
         WA_CASE(layers_without_experts_may_be_unlisted))

/* Models opened whole: facts and weights of every family, and every missing or misshapen tensor. */
#include "walkaudit/model.h"

#include "model/safetensors.h"

#include "model_dirs.h"

#include <math.h>

#define MODELS WA_GOLDEN "/models/"
#define GGUFS WA_GOLDEN "/gguf/"
enum { H = 8, I = 12, V = 10, HD = 4 }; /* of the models written here: 2 heads, 1 key/value head */

static wa_arena *open_arena(void)
{
    wa_arena *arena;
    wa_error err;
    WA_MUST(wa_arena_open("test", 0, &arena, &err), &err);
    return arena;
}

static wa_model *must_open(const char *path, wa_semantics semantics, wa_arena *arena)
{
    wa_error err;
    wa_model *model = NULL;
    WA_MUST(wa_model_open(path, semantics, arena, &model, &err), &err);
    return model;
}

static void refused(const char *path, wa_status status, const char *says)
{
    wa_error err = {0};
    wa_model *model = NULL;
    wa_arena *arena = open_arena();
    wa_status found = wa_model_open(path, WA_SEMANTICS_NATIVE, arena, &model, &err);
    bool said = found == status && strstr(err.text, says) != NULL;
    if (!said)
        fprintf(stderr, "    %s gives %d '%s', expected '%s'\n", path, (int)found, err.text, says);
    CU_ASSERT(said);
    if (found == WA_OK)
        wa_model_close(model);
    wa_arena_close(arena);
}

static float element(const wa_matrix *matrix, size_t row, size_t col)
{
    float *values = malloc(matrix->cols * sizeof *values);
    CU_ASSERT_PTR_NOT_NULL_FATAL(values);
    wa_matrix_decode(matrix, row, 1, values);
    float value = values[col];
    free(values);
    return value;
}

/* The stored tensor itself, decoded whole, past everything that is under test but the container. */
static float *stored(const char *path, const char *name, size_t *count)
{
    wa_error err;
    wa_safetensors file;
    wa_arena *arena = open_arena();
    wa_bytes bytes = wa_test_read(path);
    WA_MUST(wa_safetensors_parse(bytes, arena, &file, &err), &err);
    float *values = NULL;
    for (size_t i = 0; i < file.count; i++) {
        const wa_tensor *tensor = &file.tensors[i];
        if (strcmp(tensor->name, name) != 0)
            continue;
        const wa_format_info *info = wa_format_get(tensor->format);
        *count = tensor->data.size / info->block_bytes;
        values = malloc(*count * sizeof *values);
        CU_ASSERT_PTR_NOT_NULL_FATAL(values);
        info->decode_ref(tensor->data.data, *count, values);
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(values);
    wa_arena_close(arena);
    wa_test_free(bytes);
    return values;
}

/* --- golden models: facts by hand from their config.json and the tables of forward-pass.md 2.2 ---
 */

typedef struct facts {
    const char *path, *family;
    size_t layers, hidden, intermediate, q_heads, kv_heads, head_dim, vocab;
    double eps, base;
    float attn_scale, embed_scale;
    bool tied, gated;
    size_t windows[3]; /* of the first layers */
} facts;

static void golden_models_open_with_the_facts_of_their_family(void)
{
    static const facts table[] = {
        {MODELS "gemma2",
         "gemma2",
         3,
         96,
         160,
         4,
         2,
         32,
         448,
         1e-6,
         1e4,
         0.2236068f,
         9.797959f,
         true,
         true,
         {5, 0, 5}},
        {MODELS "gpt2",
         "gpt2",
         2,
         64,
         256,
         4,
         4,
         16,
         408,
         1e-5,
         1e4,
         0.25f,
         1,
         true,
         false,
         {0, 0}},
        {MODELS "gpt2-hub",
         "gpt2",
         2,
         64,
         256,
         4,
         4,
         16,
         408,
         1e-5,
         1e4,
         0.25f,
         1,
         true,
         false,
         {0}},
        {MODELS "granite",
         "granite",
         2,
         64,
         192,
         4,
         1,
         16,
         408,
         1e-5,
         1e4,
         0.09375f,
         12,
         true,
         true,
         {0, 0}},
        {MODELS "llama-linear",
         "llama",
         2,
         64,
         128,
         4,
         4,
         16,
         409,
         1e-6,
         1e4,
         0.25f,
         1,
         true,
         true,
         {0, 0}},
        {MODELS "llama-llama3",
         "llama",
         2,
         64,
         128,
         4,
         2,
         32,
         409,
         1e-5,
         1e4,
         0.17677669f,
         1,
         false,
         true,
         {0, 0}},
        {MODELS "mistral-sharded",
         "mistral",
         2,
         64,
         128,
         4,
         2,
         16,
         448,
         1e-5,
         1e4,
         0.25f,
         1,
         false,
         true,
         {6, 6}},
        {MODELS "qwen2",
         "qwen2",
         2,
         64,
         128,
         4,
         2,
         16,
         409,
         1e-6,
         1e6,
         0.25f,
         1,
         false,
         true,
         {0, 0}},
        {GGUFS "qwen2-v2.gguf",
         "qwen2",
         2,
         64,
         128,
         4,
         2,
         16,
         409,
         (double)1e-6f,
         1e6,
         0.25f,
         1,
         false,
         true,
         {0, 0}},
        {GGUFS "gemma2-q5k-bf16.gguf",
         "gemma2",
         2,
         256,
         256,
         4,
         2,
         64,
         448,
         (double)1e-6f,
         1e4,
         0.125f,
         16,
         true,
         true,
         {5, 0}},
        {GGUFS "tiny-gemma3-mixed.gguf",
         "gemma3",
         4,
         256,
         512,
         4,
         2,
         64,
         768,
         (double)1e-6f,
         1e6,
         0.125f,
         16,
         true,
         true,
         {8, 8, 8}},
        {GGUFS "tiny-llama-mixed.gguf",
         "llama",
         2,
         256,
         768,
         4,
         2,
         64,
         416,
         (double)1e-5f,
         5e5,
         0.125f,
         1,
         false,
         true,
         {0, 0}},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const facts *f = &table[i];
        wa_arena *arena = open_arena();
        wa_model *m = must_open(f->path, WA_SEMANTICS_NATIVE, arena);
        CU_ASSERT_STRING_EQUAL(m->family, f->family);
        CU_ASSERT_EQUAL(m->layer_count, f->layers);
        CU_ASSERT_EQUAL(m->hidden, f->hidden);
        CU_ASSERT_EQUAL(m->intermediate, f->intermediate);
        CU_ASSERT_EQUAL(m->q_heads, f->q_heads);
        CU_ASSERT_EQUAL(m->kv_heads, f->kv_heads);
        CU_ASSERT_EQUAL(m->head_dim, f->head_dim);
        CU_ASSERT_EQUAL(m->vocab, f->vocab);
        CU_ASSERT_EQUAL(m->norm_eps, f->eps);
        CU_ASSERT_EQUAL(m->rope_base, f->base);
        CU_ASSERT_DOUBLE_EQUAL((double)m->attn_scale, (double)f->attn_scale, 2e-8);
        CU_ASSERT_DOUBLE_EQUAL((double)m->embed_scale, (double)f->embed_scale, 1e-6);
        CU_ASSERT_EQUAL(m->tied, f->tied);
        CU_ASSERT_EQUAL(m->output.data == m->embedding.data, f->tied);
        CU_ASSERT_EQUAL(m->gated, f->gated);
        CU_ASSERT_EQUAL(m->layers[0].gate.rows, f->gated ? f->intermediate : 0);
        for (size_t l = 0; l < f->layers && l < 3; l++)
            CU_ASSERT_EQUAL(m->layers[l].window, f->windows[l]);
        wa_model_close(m);
        wa_arena_close(arena);
    }
}

static void granite_and_gemma2_scale_residuals_and_logits(void)
{
    wa_arena *arena = open_arena();
    wa_model *granite = must_open(MODELS "granite", WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL(granite->residual_multiplier, 0.22f);
    CU_ASSERT_EQUAL(granite->logits_scale, 1.0f / 6.0f);
    wa_model *gemma = must_open(MODELS "gemma2", WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL(gemma->attn_cap, 3.0f);
    CU_ASSERT_EQUAL(gemma->final_cap, 7.5f);
    CU_ASSERT_EQUAL(gemma->query_pre_attn_scalar, 20.0);
    CU_ASSERT_PTR_NOT_NULL(gemma->layers[2].attn_out.weight);
    CU_ASSERT_PTR_NOT_NULL(gemma->layers[2].ffn_out.weight);
    wa_model_close(granite);
    wa_model_close(gemma);
    wa_arena_close(arena);
}

static void gemma_norms_gain_one_from_hf_and_nothing_from_gguf(void)
{
    size_t count = 0;
    wa_arena *arena = open_arena();
    wa_model *hf = must_open(MODELS "gemma2", WA_SEMANTICS_NATIVE, arena);
    float *raw = stored(MODELS "gemma2/model.safetensors",
                        "model.layers.1.pre_feedforward_layernorm.weight", &count);
    CU_ASSERT_EQUAL_FATAL(count, 96);
    for (size_t i = 0; i < count; i++)
        CU_ASSERT_EQUAL(hf->layers[1].ffn_in.weight[i], 1.0f + raw[i]);
    free(raw);
    /* tiny-gemma3-mixed.gguf.tensors.tsv: first values of blk.0.attn_norm.weight */
    wa_model *gguf = must_open(GGUFS "tiny-gemma3-mixed.gguf", WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL(gguf->layers[0].attn_in.weight[0], 2.0078125f);
    CU_ASSERT_EQUAL(gguf->layers[0].attn_in.weight[3], 1.91796875f);
    wa_model_close(hf);
    wa_model_close(gguf);
    wa_arena_close(arena);
}

/* c_attn is [H, 3H]: column r of its second third is row r of k. */
static void gpt2_matrices_are_transposed_and_split(void)
{
    size_t count = 0;
    wa_arena *arena = open_arena();
    wa_model *m = must_open(MODELS "gpt2", WA_SEMANTICS_NATIVE, arena);
    const wa_layer *layer = &m->layers[1];
    float *attn =
        stored(MODELS "gpt2/model.safetensors", "transformer.h.1.attn.c_attn.weight", &count);
    CU_ASSERT_EQUAL_FATAL(count, 64 * 192);
    for (size_t r = 0; r < 64; r += 7)
        for (size_t c = 0; c < 64; c += 5) {
            CU_ASSERT_EQUAL(element(&layer->q, r, c), attn[c * 192 + r]);
            CU_ASSERT_EQUAL(element(&layer->k, r, c), attn[c * 192 + 64 + r]);
            CU_ASSERT_EQUAL(element(&layer->v, r, c), attn[c * 192 + 128 + r]);
        }
    float *fc = stored(MODELS "gpt2/model.safetensors", "transformer.h.1.mlp.c_fc.weight", &count);
    CU_ASSERT_EQUAL(layer->up.rows, 256);
    CU_ASSERT_EQUAL(element(&layer->up, 200, 3), fc[3 * 256 + 200]);
    float *down =
        stored(MODELS "gpt2/model.safetensors", "transformer.h.1.mlp.c_proj.weight", &count);
    CU_ASSERT_EQUAL(element(&layer->down, 3, 200), down[200 * 64 + 3]);
    float *bias =
        stored(MODELS "gpt2/model.safetensors", "transformer.h.1.attn.c_attn.bias", &count);
    CU_ASSERT(memcmp(layer->q_bias, bias, 64 * sizeof *bias) == 0);
    CU_ASSERT(memcmp(layer->k_bias, bias + 64, 64 * sizeof *bias) == 0);
    CU_ASSERT(memcmp(layer->v_bias, bias + 128, 64 * sizeof *bias) == 0);
    CU_ASSERT_PTR_NULL(layer->rope_freq);
    CU_ASSERT_EQUAL(m->positions.rows, 64);
    CU_ASSERT_PTR_NOT_NULL(layer->attn_in.bias);
    CU_ASSERT_PTR_NOT_NULL(m->final_norm.bias);
    free(attn);
    free(fc);
    free(down);
    free(bias);
    wa_model_close(m);
    wa_arena_close(arena);
}

static void matrices_are_equal(const wa_matrix *a, const wa_matrix *b)
{
    CU_ASSERT_EQUAL_FATAL(a->rows, b->rows);
    CU_ASSERT_EQUAL_FATAL(a->cols, b->cols);
    float *x = malloc(a->rows * a->cols * sizeof *x);
    float *y = malloc(a->rows * a->cols * sizeof *y);
    CU_ASSERT_FATAL(x != NULL && y != NULL);
    wa_matrix_decode(a, 0, a->rows, x);
    wa_matrix_decode(b, 0, b->rows, y);
    CU_ASSERT(memcmp(x, y, a->rows * a->cols * sizeof *x) == 0);
    free(x);
    free(y);
}

static void names_without_prefix_mean_the_same(void)
{
    wa_arena *arena = open_arena();
    wa_model *a = must_open(MODELS "gpt2", WA_SEMANTICS_NATIVE, arena);
    wa_model *b = must_open(MODELS "gpt2-hub", WA_SEMANTICS_NATIVE, arena);
    matrices_are_equal(&a->embedding, &b->embedding);
    for (size_t l = 0; l < 2; l++) {
        matrices_are_equal(&a->layers[l].k, &b->layers[l].k);
        matrices_are_equal(&a->layers[l].o, &b->layers[l].o);
        matrices_are_equal(&a->layers[l].down, &b->layers[l].down);
    }
    wa_model_close(a);
    wa_model_close(b);
    wa_arena_close(arena);
}

/* Biases are stored exactly in the GGUF; q and k of qwen2 are not permuted. */
static void a_gguf_holds_the_model_it_was_made_from(void)
{
    wa_arena *arena = open_arena();
    wa_model *a = must_open(MODELS "qwen2", WA_SEMANTICS_NATIVE, arena);
    wa_model *b = must_open(GGUFS "qwen2-v2.gguf", WA_SEMANTICS_NATIVE, arena);
    for (size_t l = 0; l < 2; l++) {
        CU_ASSERT(memcmp(a->layers[l].q_bias, b->layers[l].q_bias, 64 * sizeof(float)) == 0);
        CU_ASSERT(memcmp(a->layers[l].k_bias, b->layers[l].k_bias, 32 * sizeof(float)) == 0);
        CU_ASSERT(memcmp(a->layers[l].rope_freq, b->layers[l].rope_freq, 8 * sizeof(double)) == 0);
        matrices_are_equal(&a->layers[l].o, &b->layers[l].o); /* stored as F32 there */
        CU_ASSERT_EQUAL(b->layers[l].q.order, WA_ROWS_PLAIN);
    }
    wa_model_close(a);
    wa_model_close(b);
    wa_arena_close(arena);
}

/* llama3 scaling: by rope_freqs.weight there, by the rule of forward-pass.md 3.4 here: base 5e5,
 * factor 8, low 1, high 4, original length 64, f_31 = 5e5^(-31/32) / 8. */
static void gguf_llama_rows_and_frequencies_are_undone(void)
{
    wa_arena *arena = open_arena();
    wa_model *m = must_open(GGUFS "tiny-llama-mixed.gguf", WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL(m->layers[0].rope_freq[0], 1.0);
    CU_ASSERT_DOUBLE_EQUAL(m->layers[0].rope_freq[31], pow(5e5, -31.0 / 32) / 8, 1e-13);
    CU_ASSERT_EQUAL(m->layers[0].q.order, WA_ROWS_ROPE_PAIRS);
    CU_ASSERT_EQUAL(m->layers[0].v.order, WA_ROWS_PLAIN);
    wa_matrix plain = m->layers[0].k;
    plain.order = WA_ROWS_PLAIN;
    CU_ASSERT_EQUAL(element(&m->layers[0].k, 64 + 32 + 5, 9), element(&plain, 64 + 2 * 5 + 1, 9));
    wa_model *larql = must_open(GGUFS "tiny-llama-mixed.gguf", WA_SEMANTICS_LARQL, arena);
    CU_ASSERT_DOUBLE_EQUAL(larql->layers[0].rope_freq[31], pow(5e5, -31.0 / 32), 1e-18);
    CU_ASSERT_EQUAL(larql->norm_eps, 1e-6);
    wa_model_close(m);
    wa_model_close(larql);
    wa_arena_close(arena);
}

static void larql_models_have_no_window(void)
{
    wa_arena *arena = open_arena();
    wa_model *m = must_open(MODELS "mistral-sharded", WA_SEMANTICS_LARQL, arena);
    CU_ASSERT_EQUAL(m->layers[0].window, 0);
    CU_ASSERT_EQUAL(m->sliding_window, 6);
    wa_model *g = must_open(GGUFS "tiny-gemma3-mixed.gguf", WA_SEMANTICS_LARQL, arena);
    CU_ASSERT_EQUAL(g->layers[0].window, 0);
    CU_ASSERT_EQUAL(g->layers[0].rope_freq[16], 0.01); /* 1e4^(-1/2): the local base stays */
    wa_model_close(m);
    wa_model_close(g);
    wa_arena_close(arena);
}

static void files_and_bytes_are_counted(void)
{
    wa_arena *arena = open_arena();
    wa_model *m = must_open(MODELS "mistral-sharded", WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL_FATAL(m->file_count, 3);
    CU_ASSERT_STRING_EQUAL(m->files[0], MODELS "mistral-sharded/config.json");
    CU_ASSERT_STRING_EQUAL(m->files[2], MODELS "mistral-sharded/model-00002-of-00002.safetensors");
    /* bf16: q, o 64 x 64; k, v 32 x 64; gate, up, down 128 x 64; own head 448 x 64 */
    CU_ASSERT_EQUAL(wa_model_layer_bytes(m, 1), 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64));
    CU_ASSERT_EQUAL(wa_model_head_bytes(m), 2 * 2 * 448 * 64);
    wa_model *tied = must_open(MODELS "gpt2", WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL(wa_model_head_bytes(tied), 2 * 408 * 64);
    CU_ASSERT_EQUAL(wa_model_layer_bytes(tied, 0), 2 * (4 * 64 * 64 + 2 * 64 * 256));
    wa_model *gguf = must_open(GGUFS "gemma2-q5k-bf16.gguf", WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL(gguf->file_count, 1);
    /* Q5_K, 176 bytes for 256: q, o 256, k, v 128 rows, gate, up, down 256 rows of 256; some in
     * bf16 */
    CU_ASSERT_EQUAL(wa_model_head_bytes(gguf), 2 * 448 * 256);
    wa_model_close(m);
    wa_model_close(tied);
    wa_model_close(gguf);
    wa_arena_close(arena);
}

/* --- families written here --- */

#define CONFIG(type, more)                                                                         \
    "{\"model_type\":\"" type "\",\"hidden_size\":8,\"intermediate_size\":12,"                     \
    "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,"                 \
    "\"head_dim\":4,\"vocab_size\":10" more "}"
#define ATTENTION(p)                                                                               \
    {p "self_attn.q_proj.weight", 8, 8}, {p "self_attn.k_proj.weight", 4, 8},                      \
        {p "self_attn.v_proj.weight", 4, 8},                                                       \
    {                                                                                              \
        p "self_attn.o_proj.weight", 8, 8                                                          \
    }
#define GATED(p)                                                                                   \
    {p "mlp.gate_proj.weight", 12, 8}, {p "mlp.up_proj.weight", 12, 8},                            \
    {                                                                                              \
        p "mlp.down_proj.weight", 8, 12                                                            \
    }
#define QK_NORM(p)                                                                                 \
    {p "self_attn.q_norm.weight", 4, 0},                                                           \
    {                                                                                              \
        p "self_attn.k_norm.weight", 4, 0                                                          \
    }
#define PRE(p)                                                                                     \
    {p "input_layernorm.weight", 8, 0},                                                            \
    {                                                                                              \
        p "post_attention_layernorm.weight", 8, 0                                                  \
    }

static const wa_test_tensor llama[] = {{"model.embed_tokens.weight", 10, 8},
                                       {"model.norm.weight", 8, 0},
                                       {"lm_head.weight", 10, 8},
                                       PRE("model.layers.0."),
                                       ATTENTION("model.layers.0."),
                                       GATED("model.layers.0.")};
static const wa_test_tensor llama_bias[] = {{"model.embed_tokens.weight", 10, 8},
                                            {"model.norm.weight", 8, 0},
                                            {"lm_head.weight", 10, 8},
                                            PRE("model.layers.0."),
                                            ATTENTION("model.layers.0."),
                                            GATED("model.layers.0."),
                                            {"model.layers.0.self_attn.q_proj.bias", 8, 0},
                                            {"model.layers.0.self_attn.k_proj.bias", 4, 0},
                                            {"model.layers.0.self_attn.v_proj.bias", 4, 0},
                                            {"model.layers.0.self_attn.o_proj.bias", 8, 0}};
static const wa_test_tensor qwen3[] = {{"model.embed_tokens.weight", 10, 8},
                                       {"model.norm.weight", 8, 0},
                                       {"lm_head.weight", 10, 8},
                                       PRE("model.layers.0."),
                                       ATTENTION("model.layers.0."),
                                       GATED("model.layers.0."),
                                       QK_NORM("model.layers.0.")};
static const wa_test_tensor gemma[] = {{"model.embed_tokens.weight", 10, 8},
                                       {"model.norm.weight", 8, 0},
                                       PRE("model.layers.0."),
                                       ATTENTION("model.layers.0."),
                                       GATED("model.layers.0.")};
#define NEWER "model.language_model.layers.0."
static const wa_test_tensor gemma3[] = {/* the newer multimodal spelling, foreign parts ignored */
                                        {"model.language_model.embed_tokens.weight", 10, 8},
                                        {"model.language_model.norm.weight", 8, 0},
                                        PRE(NEWER),
                                        {NEWER "pre_feedforward_layernorm.weight", 8, 0},
                                        {NEWER "post_feedforward_layernorm.weight", 8, 0},
                                        ATTENTION(NEWER),
                                        GATED(NEWER),
                                        QK_NORM(NEWER)};
static const wa_test_tensor starcoder2[] = {{"model.embed_tokens.weight", 10, 8},
                                            {"model.norm.weight", 8, 0},
                                            {"model.norm.bias", 8, 0},
                                            PRE("model.layers.0."),
                                            {"model.layers.0.input_layernorm.bias", 8, 0},
                                            {"model.layers.0.post_attention_layernorm.bias", 8, 0},
                                            ATTENTION("model.layers.0."),
                                            {"model.layers.0.self_attn.q_proj.bias", 8, 0},
                                            {"model.layers.0.self_attn.k_proj.bias", 4, 0},
                                            {"model.layers.0.self_attn.v_proj.bias", 4, 0},
                                            {"model.layers.0.self_attn.o_proj.bias", 8, 0},
                                            {"model.layers.0.mlp.c_fc.weight", 12, 8},
                                            {"model.layers.0.mlp.c_fc.bias", 12, 0},
                                            {"model.layers.0.mlp.c_proj.weight", 8, 12},
                                            {"model.layers.0.mlp.c_proj.bias", 8, 0}};
static const wa_test_tensor tinymodel[] = {{"embed.weight", 10, 8},
                                           {"norm.weight", 8, 0},
                                           {"layers.0.attn_norm.weight", 8, 0},
                                           {"layers.0.ffn_norm.weight", 8, 0},
                                           {"layers.0.attn.q_proj.weight", 8, 8},
                                           {"layers.0.attn.k_proj.weight", 4, 8},
                                           {"layers.0.attn.v_proj.weight", 4, 8},
                                           {"layers.0.attn.o_proj.weight", 8, 8},
                                           {"layers.0.ffn.gate.weight", 12, 8},
                                           {"layers.0.ffn.up.weight", 12, 8},
                                           {"layers.0.ffn.down.weight", 8, 12}};

static const struct written {
    const char *name, *config;
    const wa_test_tensor *tensors;
    size_t count;
} written[] = {
#define WRITTEN(name, config)                                                                      \
    {                                                                                              \
#name, config, name, sizeof name / sizeof name[0]                                          \
    }
    WRITTEN(llama, CONFIG("llama", "")),
    WRITTEN(llama_bias, CONFIG("llama", ",\"attention_bias\":true")),
    WRITTEN(qwen3, CONFIG("qwen3", "")),
    WRITTEN(gemma, CONFIG("gemma", "")),
    WRITTEN(gemma3, CONFIG("gemma3", ",\"sliding_window\":3")),
    WRITTEN(starcoder2, CONFIG("starcoder2", "")),
    WRITTEN(tinymodel, CONFIG("tinymodel", "")),
};
enum { WRITTEN_COUNT = sizeof written / sizeof written[0], MAX_TENSORS = 32 };

static void write_model(const char *directory, const struct written *w,
                        const wa_test_tensor *tensors, size_t count)
{
    wa_test_write_in(directory, "config.json", w->config, strlen(w->config));
    wa_test_write_safetensors(directory, "model.safetensors", tensors, count, "F32");
}

static void every_family_opens_with_its_own_names(void)
{
    for (size_t w = 0; w < WRITTEN_COUNT; w++) {
        char directory[WA_TEST_PATH];
        wa_test_make_dir(written[w].name, directory);
        write_model(directory, &written[w], written[w].tensors, written[w].count);
        wa_arena *arena = open_arena();
        wa_model *m = must_open(directory, WA_SEMANTICS_NATIVE, arena);
        CU_ASSERT_EQUAL(m->embedding.rows, V);
        CU_ASSERT_EQUAL(m->layers[0].q.rows, 2 * HD);
        CU_ASSERT_EQUAL(m->layers[0].k.rows, HD);
        CU_ASSERT_EQUAL(m->layers[0].up.rows, I);
        CU_ASSERT_EQUAL(m->layers[0].down.rows, H);
        float offset = strncmp(m->family, "gemma", 5) == 0 ? 1.0f : 0.0f;
        CU_ASSERT_EQUAL(m->final_norm.weight[3], offset + 1 + 3.0f / 1024); /* tensor 1 */
        CU_ASSERT_EQUAL(m->layers[0].q_bias != NULL,
                        written[w].tensors == llama_bias || written[w].tensors == starcoder2);
        CU_ASSERT_EQUAL(m->layers[0].q_norm != NULL,
                        written[w].tensors == qwen3 || written[w].tensors == gemma3);
        CU_ASSERT_EQUAL(m->layers[0].ffn_out.weight != NULL, written[w].tensors == gemma3);
        CU_ASSERT_EQUAL(m->layers[0].rope_freq[0], 1.0);
        CU_ASSERT_DOUBLE_EQUAL(m->layers[0].rope_freq[1], 0.01, 1e-17); /* 1e4^(-2/4) */
        wa_model_close(m);
        wa_arena_close(arena);
    }
}

/* A stored name without its prefix, as messages tell it. */
static const char *bare(const char *name)
{
    static const char *const prefixes[] = {"model.language_model.", "model."};
    for (size_t i = 0; i < 2; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return name + strlen(prefixes[i]);
    return name;
}

static void each_missing_tensor_is_named(void)
{
    for (size_t w = 0; w < WRITTEN_COUNT; w++) {
        char directory[WA_TEST_PATH];
        wa_test_make_dir(written[w].name, directory);
        for (size_t gone = 0; gone < written[w].count; gone++) {
            wa_test_tensor tensors[MAX_TENSORS];
            size_t kept = 0;
            for (size_t t = 0; t < written[w].count; t++)
                if (t != gone)
                    tensors[kept++] = written[w].tensors[t];
            write_model(directory, &written[w], tensors, kept);
            char says[128];
            snprintf(says, sizeof says, "tensor '%s' is missing",
                     bare(written[w].tensors[gone].name));
            refused(directory, WA_E_FORMAT, says);
        }
    }
}

static void each_misshapen_tensor_is_named(void)
{
    for (size_t w = 0; w < WRITTEN_COUNT; w++) {
        char directory[WA_TEST_PATH];
        wa_test_make_dir(written[w].name, directory);
        for (size_t bad = 0; bad < written[w].count; bad++) {
            for (int change = 0; change < 3; change++) {
                wa_test_tensor tensors[MAX_TENSORS];
                memcpy(tensors, written[w].tensors, written[w].count * sizeof tensors[0]);
                tensors[bad].rows += change == 0;
                tensors[bad].cols += change == 1;
                if (change == 2) { /* the same elements in another shape */
                    tensors[bad].rows *= tensors[bad].cols == 0 ? 1 : tensors[bad].cols;
                    tensors[bad].cols = tensors[bad].cols == 0 ? 1 : 0;
                }
                write_model(directory, &written[w], tensors, written[w].count);
                refused(directory, WA_E_FORMAT, bare(written[w].tensors[bad].name));
                refused(directory, WA_E_FORMAT, ", expected [");
            }
        }
    }
}

static void a_needed_tensor_of_unknown_type_is_refused(void)
{
    char directory[WA_TEST_PATH];
    wa_test_make_dir("dtype", directory);
    write_model(directory, &written[0], llama, written[0].count);
    wa_test_write_safetensors(directory, "model.safetensors", llama, written[0].count, "X32");
    refused(directory, WA_E_UNSUPPORTED, "has type X32, which is not decoded");
    wa_test_write_safetensors(directory, "model.safetensors", llama, written[0].count, "I32");
    refused(directory, WA_E_UNSUPPORTED, "has type I32, which is not decoded");
}

static void ties_follow_the_semantics(void)
{
    char directory[WA_TEST_PATH];
    wa_test_make_dir("tie", directory);
    static const char tied[] = CONFIG("llama", ",\"tie_word_embeddings\":true");
    write_model(directory, &written[0], llama, written[0].count);
    wa_test_write_in(directory, "config.json", tied, strlen(tied));
    wa_arena *arena = open_arena();
    wa_model *native = must_open(directory, WA_SEMANTICS_NATIVE, arena);
    wa_model *larql = must_open(directory, WA_SEMANTICS_LARQL, arena);
    CU_ASSERT(native->tied && native->output.data == native->embedding.data);
    CU_ASSERT(!larql->tied && element(&larql->output, 0, 1) == 2 + 1.0f / 1024); /* lm_head */
    wa_model_close(native);
    wa_model_close(larql);
    wa_arena_close(arena);
}

/* --- directories --- */

static void a_directory_must_say_which_file_it_means(void)
{
    char directory[WA_TEST_PATH];
    wa_bytes gguf = wa_test_read(GGUFS "qwen2-v2.gguf");
    wa_test_make_dir("sources", directory);
    refused(directory, WA_E_FORMAT, "neither a .gguf nor a .safetensors file");
    wa_test_write_in(directory, "a.gguf", gguf.data, gguf.size);
    wa_arena *arena = open_arena();
    wa_model *m = must_open(directory, WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_STRING_EQUAL(m->container, "gguf");
    wa_model_close(m);
    wa_arena_close(arena);
    wa_test_write_in(directory, "b.gguf", gguf.data, gguf.size);
    refused(directory, WA_E_UNSUPPORTED, "2 .gguf and 0 .safetensors files");
    wa_test_make_dir("sources", directory);
    wa_test_write_in(directory, "a.gguf", gguf.data, gguf.size);
    write_model(directory, &written[0], llama, written[0].count);
    refused(directory, WA_E_UNSUPPORTED, "1 .gguf and 1 .safetensors files");
    wa_test_make_dir("sources", directory);
    wa_test_write_safetensors(directory, "model.safetensors", llama, written[0].count, "F32");
    refused(directory, WA_E_IO, "config.json");
    refused(WA_TEST_BINARY_DIR "/no-such-model", WA_E_IO, "cannot open");
    wa_test_free(gguf);
}

static void weights_may_lie_in_a_subdirectory(void)
{
    char directory[WA_TEST_PATH];
    char weights[WA_TEST_PATH];
    wa_test_make_dir("nested", directory);
    wa_test_make_dir("nested/weights", weights);
    wa_test_write_in(directory, "config.json", written[0].config, strlen(written[0].config));
    wa_test_write_safetensors(weights, "model.safetensors", llama, written[0].count, "F32");
    wa_arena *arena = open_arena();
    wa_model *m = must_open(directory, WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL(m->vocab, V);
    wa_model_close(m);
    wa_arena_close(arena);
}

static void write_index(const char *directory, const char *embedding_file, const char *more)
{
    char text[4096] = "{\"metadata\":{},\"weight_map\":{";
    for (size_t t = 0; t < written[0].count; t++) {
        char entry[256];
        snprintf(entry, sizeof entry, "%s\"%s\":\"%s\"", t == 0 ? "" : ",", llama[t].name,
                 t == 0 ? embedding_file : (t < 6 ? "one.safetensors" : "two.safetensors"));
        strncat(text, entry, sizeof text - strlen(text) - 1);
    }
    strncat(text, more, sizeof text - strlen(text) - 1);
    strncat(text, "}}", sizeof text - strlen(text) - 1);
    wa_test_write_in(directory, "model.safetensors.index.json", text, strlen(text));
}

static void an_index_names_exactly_what_is_read(void)
{
    char directory[WA_TEST_PATH];
    wa_test_make_dir("indexed", directory);
    wa_test_write_in(directory, "config.json", written[0].config, strlen(written[0].config));
    wa_test_write_safetensors(directory, "one.safetensors", llama, 6, "F32");
    wa_test_write_safetensors(directory, "two.safetensors", llama + 6, written[0].count - 6, "F32");
    /* a stray file that the index does not name would be a second copy of every tensor */
    wa_test_write_safetensors(directory, "model.safetensors", llama, written[0].count, "F32");
    write_index(directory, "one.safetensors", "");
    wa_arena *arena = open_arena();
    wa_model *m = must_open(directory, WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL(m->file_count, 3);
    wa_model_close(m);
    wa_arena_close(arena);

    write_index(directory, "two.safetensors", "");
    refused(directory, WA_E_FORMAT,
            "tensor 'model.embed_tokens.weight' is not in 'two.safetensors'");
    write_index(directory, "one.safetensors", ",\"model.extra\":\"one.safetensors\"");
    refused(directory, WA_E_FORMAT, "tensor 'model.extra' is not in 'one.safetensors'");
    write_index(directory, "../indexed/one.safetensors", "");
    refused(directory, WA_E_FORMAT, "no plain file name");
    write_index(directory, "three.safetensors", "");
    refused(directory, WA_E_IO, "three.safetensors");
    wa_test_write_in(directory, "model.safetensors.index.json", "{}", 2);
    refused(directory, WA_E_FORMAT, "'weight_map': found nothing");

    wa_test_make_dir("indexed", directory);
    wa_test_write_in(directory, "config.json", written[0].config, strlen(written[0].config));
    wa_test_write_safetensors(directory, "one.safetensors", llama, 6, "F32");
    wa_test_write_safetensors(directory, "two.safetensors", llama, written[0].count, "F32");
    refused(directory, WA_E_FORMAT, "have the same meaning");
}

/* --- faults --- */

static void a_failing_arena_is_reported_wherever_it_fails(void)
{
    static const char *const paths[] = {MODELS "mistral-sharded", MODELS "gpt2",
                                        GGUFS "tiny-llama-mixed.gguf"};
    for (size_t p = 0; p < sizeof paths / sizeof paths[0]; p++) {
        wa_status status = WA_E_MEMORY;
        size_t failures = 0;
        for (size_t k = 1; status != WA_OK; k++) {
            wa_error err;
            wa_model *model = NULL;
            wa_arena *arena = open_arena();
            wa_arena_fail_at(arena, k);
            status = wa_model_open(paths[p], WA_SEMANTICS_NATIVE, arena, &model, &err);
            CU_ASSERT_FATAL(status == WA_OK || status == WA_E_MEMORY);
            failures += status != WA_OK;
            if (status == WA_OK)
                wa_model_close(model);
            wa_arena_close(arena);
        }
        CU_ASSERT(failures > 20);
    }
}

static void hostile_sizes_take_no_memory(void)
{
    char directory[WA_TEST_PATH];
    wa_test_make_dir("hostile", directory);
    wa_test_write_safetensors(directory, "model.safetensors", llama, written[0].count, "F32");
    static const char deep[] =
        "{\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":12,"
        "\"num_attention_heads\":2,\"num_hidden_layers\":4000000000000}";
    static const char wide[] =
        "{\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":12,"
        "\"num_attention_heads\":1,\"head_dim\":1000000000000,"
        "\"num_hidden_layers\":1}";
    wa_test_write_in(directory, "config.json", deep, strlen(deep));
    refused(directory, WA_E_FORMAT, "4000000000000 layers, but only 12 tensors");
    wa_test_write_in(directory, "config.json", wide, strlen(wide));
    refused(directory, WA_E_FORMAT, "expected [1000000000000, 8]");
}

static void closing_nothing_is_allowed(void)
{
    wa_model_close(NULL);
    CU_ASSERT_STRING_EQUAL(wa_semantics_name(WA_SEMANTICS_LARQL), "larql");
    CU_ASSERT_STRING_EQUAL(wa_activation_name(WA_GELU_TANH), "gelu_tanh");
}

WA_SUITE("model", WA_CASE(golden_models_open_with_the_facts_of_their_family),
         WA_CASE(granite_and_gemma2_scale_residuals_and_logits),
         WA_CASE(gemma_norms_gain_one_from_hf_and_nothing_from_gguf),
         WA_CASE(gpt2_matrices_are_transposed_and_split),
         WA_CASE(names_without_prefix_mean_the_same),
         WA_CASE(a_gguf_holds_the_model_it_was_made_from),
         WA_CASE(gguf_llama_rows_and_frequencies_are_undone), WA_CASE(larql_models_have_no_window),
         WA_CASE(files_and_bytes_are_counted), WA_CASE(every_family_opens_with_its_own_names),
         WA_CASE(each_missing_tensor_is_named), WA_CASE(each_misshapen_tensor_is_named),
         WA_CASE(a_needed_tensor_of_unknown_type_is_refused), WA_CASE(ties_follow_the_semantics),
         WA_CASE(a_directory_must_say_which_file_it_means),
         WA_CASE(weights_may_lie_in_a_subdirectory), WA_CASE(an_index_names_exactly_what_is_read),
         WA_CASE(a_failing_arena_is_reported_wherever_it_fails),
         WA_CASE(hostile_sizes_take_no_memory), WA_CASE(closing_nothing_is_allowed))

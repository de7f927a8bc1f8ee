/* Golden models opened whole: facts and weights of every family, from both containers. */
#include "model/model.h"

#include "model/safetensors.h"

#include "model_dirs.h"

#include <math.h>

#define MODELS WA_GOLDEN "/models/"
#define GGUFS WA_GOLDEN "/gguf/"

/* The stored tensor itself, decoded whole, past everything that is under test but the container. */
static float *stored(const char *path, const char *name, size_t *count)
{
    wa_error err;
    wa_safetensors file;
    wa_arena *arena = wa_test_arena();
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
        wa_arena *arena = wa_test_arena();
        wa_model *m = wa_test_open(f->path, WA_SEMANTICS_NATIVE, arena);
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
    wa_arena *arena = wa_test_arena();
    wa_model *granite = wa_test_open(MODELS "granite", WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL(granite->residual_multiplier, 0.22f);
    CU_ASSERT_EQUAL(granite->logits_scale, 1.0f / 6.0f);
    wa_model *gemma = wa_test_open(MODELS "gemma2", WA_SEMANTICS_NATIVE, arena);
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
    wa_arena *arena = wa_test_arena();
    wa_model *hf = wa_test_open(MODELS "gemma2", WA_SEMANTICS_NATIVE, arena);
    float *raw = stored(MODELS "gemma2/model.safetensors",
                        "model.layers.1.pre_feedforward_layernorm.weight", &count);
    CU_ASSERT_EQUAL_FATAL(count, 96);
    for (size_t i = 0; i < count; i++)
        CU_ASSERT_EQUAL(hf->layers[1].ffn_in.weight[i], 1.0f + raw[i]);
    free(raw);
    /* tiny-gemma3-mixed.gguf.tensors.tsv: first values of blk.0.attn_norm.weight */
    wa_model *gguf = wa_test_open(GGUFS "tiny-gemma3-mixed.gguf", WA_SEMANTICS_NATIVE, arena);
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
    wa_arena *arena = wa_test_arena();
    wa_model *m = wa_test_open(MODELS "gpt2", WA_SEMANTICS_NATIVE, arena);
    const wa_layer *layer = &m->layers[1];
    float *attn =
        stored(MODELS "gpt2/model.safetensors", "transformer.h.1.attn.c_attn.weight", &count);
    CU_ASSERT_EQUAL_FATAL(count, 64 * 192);
    for (size_t r = 0; r < 64; r += 7)
        for (size_t c = 0; c < 64; c += 5) {
            CU_ASSERT_EQUAL(wa_test_element(&layer->q, r, c), attn[c * 192 + r]);
            CU_ASSERT_EQUAL(wa_test_element(&layer->k, r, c), attn[c * 192 + 64 + r]);
            CU_ASSERT_EQUAL(wa_test_element(&layer->v, r, c), attn[c * 192 + 128 + r]);
        }
    float *fc = stored(MODELS "gpt2/model.safetensors", "transformer.h.1.mlp.c_fc.weight", &count);
    CU_ASSERT_EQUAL(layer->up.rows, 256);
    CU_ASSERT_EQUAL(wa_test_element(&layer->up, 200, 3), fc[3 * 256 + 200]);
    float *down =
        stored(MODELS "gpt2/model.safetensors", "transformer.h.1.mlp.c_proj.weight", &count);
    CU_ASSERT_EQUAL(wa_test_element(&layer->down, 3, 200), down[200 * 64 + 3]);
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
    wa_arena *arena = wa_test_arena();
    wa_model *a = wa_test_open(MODELS "gpt2", WA_SEMANTICS_NATIVE, arena);
    wa_model *b = wa_test_open(MODELS "gpt2-hub", WA_SEMANTICS_NATIVE, arena);
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
    wa_arena *arena = wa_test_arena();
    wa_model *a = wa_test_open(MODELS "qwen2", WA_SEMANTICS_NATIVE, arena);
    wa_model *b = wa_test_open(GGUFS "qwen2-v2.gguf", WA_SEMANTICS_NATIVE, arena);
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
    wa_arena *arena = wa_test_arena();
    wa_model *m = wa_test_open(GGUFS "tiny-llama-mixed.gguf", WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL(m->layers[0].rope_freq[0], 1.0);
    CU_ASSERT_DOUBLE_EQUAL(m->layers[0].rope_freq[31], pow(5e5, -31.0 / 32) / 8, 1e-13);
    CU_ASSERT_EQUAL(m->layers[0].q.order, WA_ROWS_ROPE_PAIRS);
    CU_ASSERT_EQUAL(m->layers[0].v.order, WA_ROWS_PLAIN);
    wa_matrix plain = m->layers[0].k;
    plain.order = WA_ROWS_PLAIN;
    CU_ASSERT_EQUAL(wa_test_element(&m->layers[0].k, 64 + 32 + 5, 9),
                    wa_test_element(&plain, 64 + 2 * 5 + 1, 9));
    wa_model *larql =
        wa_test_open(GGUFS "tiny-llama-mixed.gguf", WA_SEMANTICS_LARQL_2026_05, arena);
    CU_ASSERT_DOUBLE_EQUAL(larql->layers[0].rope_freq[31], pow(5e5, -31.0 / 32), 1e-18);
    CU_ASSERT_EQUAL(larql->norm_eps, 1e-6);
    wa_model_close(m);
    wa_model_close(larql);
    wa_arena_close(arena);
}

static void larql_models_have_no_window(void)
{
    wa_arena *arena = wa_test_arena();
    wa_model *m = wa_test_open(MODELS "mistral-sharded", WA_SEMANTICS_LARQL_2026_05, arena);
    CU_ASSERT_EQUAL(m->layers[0].window, 0);
    CU_ASSERT_EQUAL(m->sliding_window, 6);
    wa_model *g = wa_test_open(GGUFS "tiny-gemma3-mixed.gguf", WA_SEMANTICS_LARQL_2026_05, arena);
    CU_ASSERT_EQUAL(g->layers[0].window, 0);
    CU_ASSERT_EQUAL(g->layers[0].rope_freq[16], 0.01); /* 1e4^(-1/2): the local base stays */
    wa_model_close(m);
    wa_model_close(g);
    wa_arena_close(arena);
}

static void files_and_bytes_are_counted(void)
{
    wa_arena *arena = wa_test_arena();
    wa_model *m = wa_test_open(MODELS "mistral-sharded", WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL_FATAL(m->file_count, 3);
    CU_ASSERT_STRING_EQUAL(m->files[0], MODELS "mistral-sharded/config.json");
    CU_ASSERT_STRING_EQUAL(m->files[2], MODELS "mistral-sharded/model-00002-of-00002.safetensors");
    /* bf16: q, o 64 x 64; k, v 32 x 64; gate, up, down 128 x 64; own head 448 x 64 */
    CU_ASSERT_EQUAL(wa_model_layer_bytes(m, 1), 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64));
    CU_ASSERT_EQUAL(wa_model_head_bytes(m), 2 * 2 * 448 * 64);
    wa_model *tied = wa_test_open(MODELS "gpt2", WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL(wa_model_head_bytes(tied), 2 * 408 * 64);
    CU_ASSERT_EQUAL(wa_model_layer_bytes(tied, 0), 2 * (4 * 64 * 64 + 2 * 64 * 256));
    wa_model *gguf = wa_test_open(GGUFS "gemma2-q5k-bf16.gguf", WA_SEMANTICS_NATIVE, arena);
    CU_ASSERT_EQUAL(gguf->file_count, 1);
    /* Q5_K, 176 bytes for 256: q, o 256, k, v 128 rows, gate, up, down 256 rows of 256; some in
     * bf16 */
    CU_ASSERT_EQUAL(wa_model_head_bytes(gguf), 2 * 448 * 256);
    wa_model_close(m);
    wa_model_close(tied);
    wa_model_close(gguf);
    wa_arena_close(arena);
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
            wa_arena *arena = wa_test_arena();
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

WA_SUITE("model", WA_CASE(golden_models_open_with_the_facts_of_their_family),
         WA_CASE(granite_and_gemma2_scale_residuals_and_logits),
         WA_CASE(gemma_norms_gain_one_from_hf_and_nothing_from_gguf),
         WA_CASE(gpt2_matrices_are_transposed_and_split),
         WA_CASE(names_without_prefix_mean_the_same),
         WA_CASE(a_gguf_holds_the_model_it_was_made_from),
         WA_CASE(gguf_llama_rows_and_frequencies_are_undone), WA_CASE(larql_models_have_no_window),
         WA_CASE(files_and_bytes_are_counted),
         WA_CASE(a_failing_arena_is_reported_wherever_it_fails))

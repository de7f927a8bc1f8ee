/* Synthetic models: values by theory, files that our own readers take, and a forward that behaves.
 */
#include "suite.h"

#include "compute/dense.h"
#include "measure/logits.h"
#include "model/synth.h"
#include "model/synth_parts.h"
#include "model/tokenizer.h"
#include "path/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECTORY WA_TEST_BINARY_DIR "/synth-model"

static wa_arena *new_arena(void)
{
    wa_arena *arena;
    wa_error err;
    WA_MUST(wa_arena_open("test", (size_t)512 << 20, &arena, &err), &err);
    return arena;
}

static void remove_model(const char *path)
{
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};
    char name[1000];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(name, sizeof name, "%s/%s", path, files[i]);
        unlink(name);
    }
    rmdir(path);
}

static wa_synth_options options_of(const char *family, const char *shape, uint64_t seed)
{
    return (wa_synth_options){
        .family = family, .shape = shape, .seed = seed, .dtype = WA_FORMAT_BF16};
}

static wa_synth_report write_model(const char *path, const wa_synth_options *options)
{
    wa_arena *arena = new_arena();
    wa_synth_report report;
    wa_error err;
    remove_model(path);
    WA_MUST(wa_synth(path, options, arena, &report, &err), &err);
    wa_arena_close(arena);
    return report;
}

/* --- Values ----------------------------------------------------------------------------------- */

/* The first outputs of SplitMix64 from state 1234567, as published with Rosetta Code's
 * "Pseudo-random numbers/Splitmix64". */
static void words_are_splitmix64(void)
{
    static const uint64_t published[] = {6457827717110365317u, 3203168211198807973u,
                                         9817491932198370423u, 4593380528125082431u,
                                         16408922859458223821u};
    for (size_t i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(wa_synth_word(1234567, i), published[i]);
}

static void normals_have_mean_0_variance_1_and_heavy_tails(void)
{
    enum { N = 1000000 };
    double sum = 0.0, square = 0.0, fourth = 0.0;
    for (size_t i = 0; i < N; i++) {
        double v = (double)wa_synth_normal(wa_synth_word(42, i));
        sum += v;
        square += v * v;
        fourth += v * v * v * v;
    }
    double variance = square / N, kurtosis = fourth / N / (variance * variance);
    /* the mean of N values has deviation 1e-3, their variance sqrt((kurtosis - 1) / N) = 2e-3: five
     * of each */
    CU_ASSERT(fabs(sum / N) < 5e-3);
    CU_ASSERT(fabs(variance - 1.0) < 1e-2);
    CU_ASSERT(kurtosis > 3.1 && kurtosis < 5.0);
}

static void normals_are_symmetric_and_bounded(void)
{
    /* all four uniforms at their least and largest: s = -+ (2 - 2/65536) sqrt(3) */
    double s = (2.0 - 2.0 / 65536.0) * sqrt(3.0);
    double largest = (s + s * s * s / 20.0) / sqrt(1.0 + 0.1 * 2.7 + 10.92857 / 400.0);
    CU_ASSERT_DOUBLE_EQUAL((double)wa_synth_normal(UINT64_MAX), largest, 1e-4);
    CU_ASSERT_DOUBLE_EQUAL((double)wa_synth_normal(0), -largest, 1e-4);
    for (size_t i = 0; i < 1000; i++) {
        uint64_t word = wa_synth_word(7, i); /* ~word mirrors each uniform about one half */
        CU_ASSERT_EQUAL(wa_synth_normal(word), -wa_synth_normal(~word));
    }
}

static void keys_of_other_seeds_uses_and_indices_differ(void)
{
    uint64_t key = wa_synth_key(1, "a", 0);
    CU_ASSERT_NOT_EQUAL(key, wa_synth_key(2, "a", 0));
    CU_ASSERT_NOT_EQUAL(key, wa_synth_key(1, "b", 0));
    CU_ASSERT_NOT_EQUAL(key, wa_synth_key(1, "a", 1));
    CU_ASSERT_EQUAL(key, wa_synth_key(1, "a", 0));
}

/* --- Files ------------------------------------------------------------------------------------ */

static void open_model(wa_arena *arena, wa_model **model)
{
    wa_error err;
    WA_MUST(wa_model_open(DIRECTORY, WA_SEMANTICS_NATIVE, arena, model, &err), &err);
}

static void the_widths_of_a_shape_come_back_from_our_own_reader(void)
{
    static const struct {
        const char *family, *shape;
        size_t layers, vocab;
        size_t hidden, intermediate, q_heads, kv_heads, head_dim;
        wa_activation activation;
        bool tied;
    } cases[] = {
        {"gemma3", "tiny", 0, 0, 256, 512, 4, 2, 64, WA_GELU_TANH, true},
        {"gemma3", "270m", 1, 1000, 640, 2048, 4, 1, 256, WA_GELU_TANH, true},
        {"llama", "tiny", 0, 0, 256, 768, 4, 2, 64, WA_SILU, false},
        {"llama", "270m", 1, 1000, 768, 2304, 12, 4, 64, WA_SILU, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wa_arena *arena = new_arena();
        wa_model *model;
        wa_synth_options options = options_of(cases[i].family, cases[i].shape, 1);
        options.layers = cases[i].layers;
        options.vocab = cases[i].vocab;
        wa_synth_report report = write_model(DIRECTORY, &options);
        open_model(arena, &model);
        CU_ASSERT_STRING_EQUAL(model->family, cases[i].family);
        CU_ASSERT_EQUAL(model->layer_count, cases[i].layers == 0 ? 4 : cases[i].layers);
        CU_ASSERT_EQUAL(model->layer_count, report.layers);
        CU_ASSERT_EQUAL(model->vocab, cases[i].vocab == 0 ? 768 : cases[i].vocab);
        CU_ASSERT_EQUAL(model->hidden, cases[i].hidden);
        CU_ASSERT_EQUAL(model->intermediate, cases[i].intermediate);
        CU_ASSERT_EQUAL(model->q_heads, cases[i].q_heads);
        CU_ASSERT_EQUAL(model->kv_heads, cases[i].kv_heads);
        CU_ASSERT_EQUAL(model->head_dim, cases[i].head_dim);
        CU_ASSERT_EQUAL(model->activation, cases[i].activation);
        CU_ASSERT_EQUAL(model->tied, cases[i].tied);
        CU_ASSERT_EQUAL(model->layers[0].gate.format, WA_FORMAT_BF16);
        wa_model_close(model);
        wa_arena_close(arena);
    }
    remove_model(DIRECTORY);
}

/* Root mean square of a matrix, decoded. */
static double spread_of(const wa_matrix *matrix, wa_arena *arena)
{
    float *values;
    wa_error err;
    double square = 0.0;
    WA_MUST(wa_arena_take(arena, matrix->rows * matrix->cols, sizeof *values, &values, &err), &err);
    wa_matrix_decode(matrix, 0, matrix->rows, values);
    for (size_t i = 0; i < matrix->rows * matrix->cols; i++)
        square += (double)values[i] * (double)values[i];
    return sqrt(square / (double)(matrix->rows * matrix->cols));
}

/* Families with experts: the numbers asked for, or eight of which two are chosen. */
static void experts_come_back_from_our_own_reader(void)
{
    static const struct {
        const char *family;
        size_t experts, chosen, features;   /* asked for */
        size_t count, taken, width, shared; /* read */
        bool biases;
    } cases[] = {
        {"mixtral", 0, 0, 0, 8, 2, 384, 0, false},     {"qwen2_moe", 5, 3, 40, 5, 3, 40, 80, false},
        {"qwen3_moe", 64, 8, 32, 64, 8, 32, 0, false}, {"olmoe", 1, 0, 0, 1, 1, 768, 0, false},
        {"gpt_oss", 3, 2, 24, 3, 2, 24, 0, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wa_arena *arena = new_arena();
        wa_model *model;
        wa_synth_options options = options_of(cases[i].family, "tiny", 1);
        options.experts = cases[i].experts;
        options.chosen = cases[i].chosen;
        options.features = cases[i].features;
        wa_synth_report report = write_model(DIRECTORY, &options);
        open_model(arena, &model);
        CU_ASSERT_STRING_EQUAL(model->family, cases[i].family);
        CU_ASSERT_EQUAL(model->note_count, 0);
        CU_ASSERT_EQUAL(report.experts, cases[i].count);
        for (size_t l = 0; l < model->layer_count; l++) {
            const wa_experts *experts = model->layers[l].experts;
            CU_ASSERT_FATAL(experts != NULL && experts->count == cases[i].count);
            CU_ASSERT_EQUAL(experts->chosen, cases[i].taken);
            CU_ASSERT_EQUAL(experts->experts[experts->count - 1].up.rows, cases[i].width);
            CU_ASSERT_EQUAL(experts->shared.up.rows, cases[i].shared);
            CU_ASSERT_EQUAL(experts->router_bias != NULL, cases[i].biases);
            CU_ASSERT_EQUAL(experts->experts[0].down_bias != NULL, cases[i].biases);
            /* 1/sqrt(256), times a layer's factor of 0.8 to 1.2; the same of rows and of stacked
             * columns */
            double spread = spread_of(&experts->experts[experts->count - 1].gate, arena) * 16.0;
            CU_ASSERT(spread > 0.72 && spread < 1.3);
            /* one block of eight adds sqrt(1/8) / 0.6; outliers are wider */
            spread = spread_of(&experts->experts[0].down, arena) * sqrt((double)cases[i].width) *
                     sqrt(8.0) * 0.6;
            CU_ASSERT(spread > 0.72 && spread < 1.7);
        }
        wa_model_close(model);
        wa_arena_close(arena);
    }
    remove_model(DIRECTORY);
}

static void every_dtype_holds_weights_of_the_intended_spread(void)
{
    static const char *const words[] = {"bf16", "f16", "f32"};
    for (size_t i = 0; i < 3; i++) {
        wa_arena *arena = new_arena();
        wa_model *model;
        wa_error err;
        wa_synth_options options = options_of("llama", "tiny", 5);
        WA_MUST(wa_synth_dtype_parse(words[i], &options.dtype, &err), &err);
        write_model(DIRECTORY, &options);
        open_model(arena, &model);
        CU_ASSERT_STRING_EQUAL(wa_format_get(model->layers[1].up.format)->name, words[i]);
        /* 1/sqrt(256), times a layer's factor of 0.8 to 1.2; rows of 0.75 to 1.25 add 1 % */
        double spread = spread_of(&model->layers[1].up, arena) * 16.0;
        CU_ASSERT(spread > 0.78 && spread < 1.25);
        /* the embedding has no factor: 0.5/sqrt(256), rows adding (1/12 0.25)/2 = 1 % */
        CU_ASSERT_DOUBLE_EQUAL(spread_of(&model->embedding, arena) * 32.0, sqrt(1.0 + 0.25 / 12.0),
                               0.02);
        for (size_t n = 0; n < model->hidden; n++)
            CU_ASSERT(model->layers[0].attn_in.weight[n] > 0.4f &&
                      model->layers[0].attn_in.weight[n] < 1.6f);
        wa_model_close(model);
        wa_arena_close(arena);
    }
    wa_format format;
    wa_error err;
    CU_ASSERT_EQUAL(wa_synth_dtype_parse("q8", &format, &err), WA_E_USAGE);
    remove_model(DIRECTORY);
}

static void gemma_norms_are_stored_less_one(void)
{
    wa_arena *arena = new_arena();
    wa_model *model;
    wa_synth_options options = options_of("gemma3", "tiny", 1);
    write_model(DIRECTORY, &options);
    open_model(arena, &model);
    double sum = 0.0;
    for (size_t n = 0; n < model->hidden; n++)
        sum += (double)model->layers[0].ffn_in.weight[n]; /* the reader has added the 1 */
    CU_ASSERT_DOUBLE_EQUAL(sum / (double)model->hidden, 1.0, 0.05);
    wa_model_close(model);
    wa_arena_close(arena);
    remove_model(DIRECTORY);
}

static void a_few_channels_are_outliers(void)
{
    wa_arena *arena = new_arena();
    wa_model *model;
    wa_synth_options options = options_of("llama", "tiny", 9);
    write_model(DIRECTORY, &options);
    open_model(arena, &model);
    wa_matrix row = model->layers[0].down;
    double all = spread_of(&row, arena);
    size_t outliers = 0;
    for (size_t r = 0; r < model->layers[0].down.rows; r++) {
        row = model->layers[0].down;
        row.data += r * row.row_bytes;
        row.rows = 1;
        outliers += spread_of(&row, arena) > 2.0 * all ? 1 : 0;
    }
    CU_ASSERT(outliers >= 1 &&
              outliers <= 2); /* 1 + 256 / 256 draws of a channel, of which two may agree */
    wa_model_close(model);
    wa_arena_close(arena);
    remove_model(DIRECTORY);
}

static void read_whole(const char *path, wa_map *map)
{
    wa_error err;
    WA_MUST(wa_map_open(path, map, &err), &err);
}

static void the_same_seed_gives_the_same_bytes_and_another_seed_others(void)
{
    static const char other[] = WA_TEST_BINARY_DIR "/synth-other";
    for (uint64_t seed = 3; seed <= 4; seed++) {
        wa_map a, b;
        wa_synth_options first = options_of("gemma3", "tiny", 3);
        wa_synth_options second = options_of("gemma3", "tiny", seed);
        write_model(DIRECTORY, &first);
        write_model(other, &second);
        read_whole(DIRECTORY "/model.safetensors", &a);
        read_whole(WA_TEST_BINARY_DIR "/synth-other/model.safetensors", &b);
        CU_ASSERT_EQUAL_FATAL(a.bytes.size, b.bytes.size);
        CU_ASSERT_EQUAL(memcmp(a.bytes.data, b.bytes.data, a.bytes.size) == 0, seed == 3);
        wa_map_close(&a);
        wa_map_close(&b);
    }
    remove_model(DIRECTORY);
    remove_model(other);
}

static void bad_options_and_existing_places_are_refused_and_leave_nothing(void)
{
    wa_arena *arena = new_arena();
    wa_synth_report report;
    wa_error err;
    wa_synth_options good = options_of("llama", "tiny", 0), bad = good;
    remove_model(DIRECTORY);
    bad.family = "lama";
    CU_ASSERT_EQUAL(wa_synth(DIRECTORY, &bad, arena, &report, &err), WA_E_USAGE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "unknown family 'lama'"));
    bad = good;
    bad.shape = "huge";
    CU_ASSERT_EQUAL(wa_synth(DIRECTORY, &bad, arena, &report, &err), WA_E_USAGE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "unknown shape 'huge'"));
    bad = good;
    bad.vocab = 10;
    CU_ASSERT_EQUAL(wa_synth(DIRECTORY, &bad, arena, &report, &err), WA_E_USAGE);
    bad = good;
    bad.layers = 100000;
    CU_ASSERT_EQUAL(wa_synth(DIRECTORY, &bad, arena, &report, &err), WA_E_USAGE);
    bad = good;
    bad.experts = 4;
    CU_ASSERT_EQUAL(wa_synth(DIRECTORY, &bad, arena, &report, &err), WA_E_USAGE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "models of family llama have no experts"));
    bad = options_of("mixtral", "tiny", 0);
    bad.chosen = 9;
    CU_ASSERT_EQUAL(wa_synth(DIRECTORY, &bad, arena, &report, &err), WA_E_USAGE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "8 experts of which 9 are chosen"));
    bad = good;
    bad.dtype = WA_FORMAT_Q4_K;
    CU_ASSERT_EQUAL(wa_synth(DIRECTORY, &bad, arena, &report, &err), WA_E_USAGE);
    CU_ASSERT(!wa_dir_exists(DIRECTORY));
    CU_ASSERT_EQUAL(wa_synth(WA_TEST_BINARY_DIR "/none/such", &good, arena, &report, &err),
                    WA_E_IO);
    CU_ASSERT_EQUAL_FATAL(mkdir(DIRECTORY, 0777), 0);
    CU_ASSERT_EQUAL(wa_synth(DIRECTORY, &good, arena, &report, &err), WA_E_USAGE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "exists"));
    CU_ASSERT_EQUAL(rmdir(DIRECTORY), 0); /* still empty */
    wa_arena_close(arena);
}

/* --- Tokenizer -------------------------------------------------------------------------------- */

static void any_text_survives_the_tokenizer(void)
{
    static const char *const texts[] = {"The capital of France is",
                                        "def fibonacci(n):\n    return n\n",
                                        "\xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\x8d \t1234567 it's", "a"};
    wa_arena *arena = new_arena();
    wa_tokenizer *tokenizer;
    wa_error err;
    wa_synth_options options = options_of("llama", "tiny", 0);
    write_model(DIRECTORY, &options);
    WA_MUST(wa_tokenizer_open(DIRECTORY, &tokenizer, &err), &err);
    CU_ASSERT(wa_tokenizer_id_count(tokenizer) > 256 + 100);
    CU_ASSERT(wa_tokenizer_id_count(tokenizer) <= 768);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int32_t *ids;
        size_t count, bytes = 0;
        WA_MUST(
            wa_tokenizer_encode(tokenizer, texts[i], strlen(texts[i]), arena, &ids, &count, &err),
            &err);
        CU_ASSERT_FATAL(count >= 2);
        char *bos;
        WA_MUST(wa_tokenizer_text(tokenizer, ids[0], arena, &bos, &err), &err);
        CU_ASSERT_STRING_EQUAL(bos, "<bos>");
        CU_ASSERT(wa_tokenizer_is_special(tokenizer, ids[0]));
        for (size_t t = 1; t < count; t++) {
            size_t length = 0;
            const char *piece = wa_tokenizer_piece(tokenizer, ids[t], &length);
            CU_ASSERT_PTR_NOT_NULL_FATAL(piece);
            for (size_t b = 0; b < length; b++) /* each character of a piece stands for one byte */
                bytes += ((unsigned char)piece[b] & 0xc0) != 0x80 ? 1 : 0;
        }
        CU_ASSERT_EQUAL(bytes, strlen(texts[i]));
        CU_ASSERT(i != 0 || count < 15); /* merges do something: 24 bytes */
    }
    wa_tokenizer_close(tokenizer);
    wa_arena_close(arena);
    remove_model(DIRECTORY);
}

/* --- Forward ---------------------------------------------------------------------------------- */

enum { ROWS = 12 };

/* Buffers of one small forward. */
typedef struct forward {
    const wa_model *model;
    wa_scratch scratch;
    wa_attention attention;
    wa_packing packing;
    float *h, *n, *q, *k, *v, *y;
} forward;

static void multiply(forward *f, const wa_matrix *w, const float *x, float *y)
{
    wa_operand pair = {.x = x, .y = y};
    wa_gemm_rows(w, ROWS, w->cols, w->rows, &pair, 1, NULL, &f->scratch);
}

static void add_block(forward *f, const wa_norm *out)
{
    size_t hidden = f->model->hidden;
    if (out->weight != NULL)
        wa_norm_rows(f->model, out, f->y, ROWS, hidden, f->y);
    wa_residual_add(f->h, f->y, ROWS * hidden, f->model->residual_multiplier);
}

static void run_layer(forward *f, size_t at)
{
    const wa_model *model = f->model;
    const wa_layer *layer = &model->layers[at];
    wa_case dense = wa_case_dense();
    wa_walk_layer walk;
    wa_label label;
    wa_error err;
    wa_norm_rows(model, &layer->attn_in, f->h, ROWS, model->hidden, f->n);
    multiply(f, &layer->q, f->n, f->q);
    multiply(f, &layer->k, f->n, f->k);
    multiply(f, &layer->v, f->n, f->v);
    wa_attention_run(model, at, &f->packing, f->q, f->k, f->v, &f->attention);
    multiply(f, &layer->o, f->q, f->y);
    add_block(f, &layer->attn_out);
    wa_norm_rows(model, &layer->ffn_in, f->h, ROWS, model->hidden, f->n);
    WA_MUST(wa_case_open_layer(&dense, model, NULL, at, &walk, &err), &err);
    wa_walk_io io = {.x = f->n, .y = f->y};
    WA_MUST(wa_case_run(&dense, &walk, ROWS, &io, 1, &f->scratch, &label, &err), &err);
    add_block(f, &layer->ffn_out);
}

static void open_forward(const wa_model *model, wa_arena *arena, forward *f)
{
    static const size_t start[] = {0, ROWS};
    size_t q = model->q_heads * model->head_dim, kv = model->kv_heads * model->head_dim;
    size_t widest = model->intermediate > model->hidden ? model->intermediate : model->hidden;
    wa_error err;
    *f = (forward){.model = model, .packing = {.start = start, .prompts = 1}};
    WA_MUST(wa_scratch_open(arena, ROWS, model->intermediate, widest, &f->scratch, &err), &err);
    WA_MUST(wa_attention_open(arena, model, ROWS, &f->scratch, &f->attention, &err), &err);
    WA_MUST(wa_arena_take(arena, ROWS * model->hidden, sizeof(float), &f->h, &err), &err);
    WA_MUST(wa_arena_take(arena, ROWS * model->hidden, sizeof(float), &f->n, &err), &err);
    WA_MUST(wa_arena_take(arena, ROWS * model->hidden, sizeof(float), &f->y, &err), &err);
    WA_MUST(wa_arena_take(arena, ROWS * q, sizeof(float), &f->q, &err), &err);
    WA_MUST(wa_arena_take(arena, ROWS * kv, sizeof(float), &f->k, &err), &err);
    WA_MUST(wa_arena_take(arena, ROWS * kv, sizeof(float), &f->v, &err), &err);
}

static double rms(const float *values, size_t count)
{
    double square = 0.0;
    for (size_t i = 0; i < count; i++)
        square += (double)values[i] * (double)values[i];
    return sqrt(square / (double)count);
}

/* The distribution at the last of ROWS random tokens; growth: of the residual stream, first to last
 * layer. */
static wa_logits last_logits(const wa_model *model, uint64_t seed, int32_t *last_id, double *growth)
{
    wa_arena *arena = new_arena();
    forward f;
    wa_error err;
    wa_logits logits;
    float *all;
    open_forward(model, arena, &f);
    for (size_t r = 0; r < ROWS; r++) {
        *last_id = (int32_t)(wa_synth_word(seed, r) % 400);
        WA_MUST(wa_embed(model, *last_id, r, f.n, f.h + r * model->hidden, &err), &err);
    }
    double before = rms(f.h, ROWS * model->hidden);
    for (size_t layer = 0; layer < model->layer_count; layer++)
        run_layer(&f, layer);
    *growth = rms(f.h, ROWS * model->hidden) / before;
    wa_norm_rows(model, &model->final_norm, f.h, ROWS, model->hidden, f.n);
    WA_MUST(wa_arena_take(arena, ROWS * model->vocab, sizeof *all, &all, &err), &err);
    multiply(&f, &model->output, f.n, all);
    wa_logits_start(&logits, 2);
    wa_logits_add(&logits, all + (ROWS - 1) * model->vocab, 0, model->vocab);
    wa_arena_close(arena);
    return logits;
}

/* Not degenerate: several prompts have several first tokens, none of them sure, and seldom the last
 * token. */
static void a_forward_is_finite_and_has_a_first_token_that_is_not_certain(void)
{
    enum { PROMPTS = 6 };
    static const char *const families[] = {"gemma3", "llama"};
    static const char *const shapes[] = {"tiny", "small"};
    for (size_t i = 0; i < 4; i++) {
        wa_arena *arena = new_arena();
        wa_model *model;
        wa_synth_options options = options_of(families[i / 2], shapes[i % 2], 11);
        write_model(DIRECTORY, &options);
        open_model(arena, &model);
        int32_t firsts[PROMPTS];
        size_t copies = 0, distinct = 0;
        for (size_t p = 0; p < PROMPTS; p++) {
            int32_t last = -1;
            double growth = 0.0;
            wa_logits logits = last_logits(model, 100 + p, &last, &growth);
            double top = exp(wa_logits_log_prob(&logits, (double)logits.top_logit[0]));
            CU_ASSERT_EQUAL(logits.nonfinite, 0);
            CU_ASSERT(top > 0.02 && top < 0.9999);
            /* from 1 to sqrt(hidden), or from 1 / (2 sqrt(hidden)) to 1; outliers add to it */
            CU_ASSERT(growth > 1.0 && growth < 8.0 * sqrt((double)model->hidden));
            firsts[p] = logits.top_id[0];
            copies += firsts[p] == last ? 1 : 0;
            bool known = false;
            for (size_t o = 0; o < p; o++)
                known = known || firsts[o] == firsts[p];
            distinct += known ? 0 : 1;
        }
        CU_ASSERT(copies <= 2);
        CU_ASSERT(distinct >= 3);
        wa_model_close(model);
        wa_arena_close(arena);
    }
    remove_model(DIRECTORY);
}

WA_SUITE("synth", WA_CASE(words_are_splitmix64),
         WA_CASE(normals_have_mean_0_variance_1_and_heavy_tails),
         WA_CASE(normals_are_symmetric_and_bounded),
         WA_CASE(keys_of_other_seeds_uses_and_indices_differ),
         WA_CASE(the_widths_of_a_shape_come_back_from_our_own_reader),
         WA_CASE(experts_come_back_from_our_own_reader),
         WA_CASE(every_dtype_holds_weights_of_the_intended_spread),
         WA_CASE(gemma_norms_are_stored_less_one), WA_CASE(a_few_channels_are_outliers),
         WA_CASE(the_same_seed_gives_the_same_bytes_and_another_seed_others),
         WA_CASE(bad_options_and_existing_places_are_refused_and_leave_nothing),
         WA_CASE(any_text_survives_the_tokenizer),
         WA_CASE(a_forward_is_finite_and_has_a_first_token_that_is_not_certain))

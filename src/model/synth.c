/* Synthetic models: shapes, config.json, and the streaming of model.safetensors. */
#include "model/synth.h"

#include "base/json.h"
#include "base/staging.h"
#include "model/synth_parts.h"

#include <stdlib.h>
#include <sys/stat.h>

enum {
    BUFFER_BYTES = 1 << 20,
    LAYER_LIMIT = 1000,
    EXPERT_LIMIT = 1024,
    WIDTH_LIMIT = 1 << 20,
    VOCAB_LIMIT = 1 << 21,
    PROGRESS_BYTES = 64 << 20
};

/* Widths of published models: Gemma 3 270M, 1B, 4B; Llama 3.2 1B and 3B, 3.1 8B and 70B. The others
 * are made up for tests. */
static const wa_synth_shape shapes[] = {
    /* family, name, H, I, L, q heads, kv heads, head dim, vocabulary, window, pattern, tied, seed
     */
    {WA_SYNTH_GEMMA3, "tiny", 256, 512, 4, 4, 2, 64, 768, 8, 2, true, .seed = 0},
    {WA_SYNTH_GEMMA3, "small", 512, 1536, 8, 4, 2, 128, 4096, 64, 6, true, .seed = 0},
    {WA_SYNTH_GEMMA3, "270m", 640, 2048, 18, 4, 1, 256, 262144, 512, 6, true, .seed = 0},
    {WA_SYNTH_GEMMA3, "1b", 1152, 6912, 26, 4, 1, 256, 262144, 512, 6, true, .seed = 0},
    {WA_SYNTH_GEMMA3, "4b", 2560, 10240, 34, 8, 4, 256, 262208, 1024, 6, true, .seed = 0},
    {WA_SYNTH_LLAMA, "tiny", 256, 768, 4, 4, 2, 64, 768, 0, 0, false, .seed = 0},
    {WA_SYNTH_LLAMA, "small", 512, 1536, 8, 8, 2, 64, 4096, 0, 0, false, .seed = 0},
    {WA_SYNTH_LLAMA, "270m", 768, 2304, 32, 12, 4, 64, 49152, 0, 0, true, .seed = 0},
    {WA_SYNTH_LLAMA, "1b", 2048, 8192, 16, 32, 8, 64, 128256, 0, 0, true, .seed = 0},
    {WA_SYNTH_LLAMA, "4b", 3072, 8192, 36, 24, 8, 128, 128256, 0, 0, true, .seed = 0},
    {WA_SYNTH_LLAMA, "8b", 4096, 14336, 32, 32, 8, 128, 128256, 0, 0, false, .seed = 0},
    {WA_SYNTH_LLAMA, "70b", 8192, 28672, 80, 64, 8, 128, 128256, 0, 0, false, .seed = 0},
};

static const struct {
    wa_format format;
    const char *word, *safetensors, *torch;
    size_t bytes;
} dtypes[] = {{WA_FORMAT_BF16, "bf16", "BF16", "bfloat16", 2},
              {WA_FORMAT_F16, "f16", "F16", "float16", 2},
              {WA_FORMAT_F32, "f32", "F32", "float32", 4}};

enum { DTYPES = sizeof dtypes / sizeof dtypes[0] };

wa_status wa_synth_dtype_parse(const char *name, wa_format *out, wa_error *err)
{
    for (size_t i = 0; i < DTYPES; i++) {
        if (strcmp(dtypes[i].word, name) != 0)
            continue;
        *out = dtypes[i].format;
        return WA_OK;
    }
    return wa_fail(err, WA_E_USAGE, "unknown dtype '%s', expected bf16, f16 or f32", name);
}

static wa_status find_dtype(wa_format format, size_t *out, wa_error *err)
{
    for (size_t i = 0; i < DTYPES; i++)
        if (dtypes[i].format == format) {
            *out = i;
            return WA_OK;
        }
    return wa_fail(err, WA_E_USAGE, "a synthetic model is bf16, f16 or f32");
}

static size_t given(size_t number, size_t otherwise)
{
    return number == 0 ? otherwise : number;
}

/* Experts of half the FFN are as much work as the FFN when two are chosen. */
static wa_status take_experts(const wa_synth_options *options, wa_synth_shape *shape, wa_error *err)
{
    enum { USUAL = 8, USUALLY_CHOSEN = 2 };
    bool asked = options->experts != 0 || options->chosen != 0 || options->features != 0;
    if (shape->family->experts == NULL && asked)
        return wa_fail(err, WA_E_USAGE, "models of family %s have no experts", shape->family->name);
    if (shape->family->experts == NULL)
        return WA_OK;
    shape->experts = given(options->experts, USUAL);
    shape->chosen = given(options->chosen, wa_size_min(shape->experts, USUALLY_CHOSEN));
    if (shape->experts > EXPERT_LIMIT || shape->chosen > shape->experts)
        return wa_fail(
            err, WA_E_USAGE,
            "%zu experts of which %zu are chosen, expected 1 to %d and no more than there are",
            shape->experts, shape->chosen, EXPERT_LIMIT);
    shape->features =
        given(options->features, (shape->intermediate + shape->chosen - 1) / shape->chosen);
    if (shape->features > WIDTH_LIMIT)
        return wa_fail(err, WA_E_USAGE, "experts of %zu features, expected 1 to %d",
                       shape->features, WIDTH_LIMIT);
    if (shape->family->experts->shared != NULL)
        shape->shared = 2 * shape->features;
    if (shape->family->experts->features == NULL)
        shape->intermediate = shape->features;
    return WA_OK;
}

static wa_status find_shape(const wa_synth_options *options, wa_synth_shape *out, wa_error *err)
{
    const wa_synth_family *family;
    WA_TRY(wa_synth_family_find(options->family, &family, err));
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (shapes[i].like == family->like && strcmp(shapes[i].name, options->shape) == 0) {
            *out = shapes[i];
            out->family = family;
            out->seed = options->seed;
            out->layers = options->layers == 0 ? out->layers : options->layers;
            out->vocab = options->vocab == 0 ? out->vocab : options->vocab;
            return take_experts(options, out, err);
        }
    }
    return wa_fail(err, WA_E_USAGE,
                   "unknown shape '%s', expected tiny, small, 270m, 1b, 4b, 8b or 70b",
                   options->shape);
}

static wa_status check_sizes(const wa_synth_shape *shape, const wa_synth_tokens *tokens,
                             wa_error *err)
{
    if (shape->layers > LAYER_LIMIT)
        return wa_fail(err, WA_E_USAGE, "%zu layers, expected 1 to %d", shape->layers, LAYER_LIMIT);
    if (shape->vocab < tokens->count || shape->vocab > VOCAB_LIMIT)
        return wa_fail(err, WA_E_USAGE, "a vocabulary of %zu, expected %zu to %d", shape->vocab,
                       tokens->count, VOCAB_LIMIT);
    return WA_OK;
}

/* --- config.json ------------------------------------------------------------------------------ */

/* Lines with the numbers of experts. */
static wa_status print_experts(const wa_synth_shape *s, wa_arena *arena, char **out, wa_error *err)
{
    const wa_synth_experts *keys = s->family->experts;
    if (keys == NULL)
        return WA_OK;
    WA_TRY(wa_arena_print(arena, out, err, "  \"%s\": %zu,\n  \"num_experts_per_tok\": %zu,\n",
                          keys->count, s->experts, s->chosen));
    if (keys->features != NULL)
        WA_TRY(wa_arena_print(arena, out, err, "%s  \"%s\": %zu,\n", *out, keys->features,
                              s->features));
    if (keys->shared != NULL)
        WA_TRY(
            wa_arena_print(arena, out, err, "%s  \"%s\": %zu,\n", *out, keys->shared, s->shared));
    return WA_OK;
}

static wa_status print_config(const wa_synth_shape *s, const wa_synth_tokens *tokens, size_t dtype,
                              wa_arena *arena, char **out, wa_error *err)
{
    char *windows = "";
    if (s->pattern > 0)
        WA_TRY(wa_arena_print(arena, &windows, err,
                              "  \"sliding_window\": %zu,\n"
                              "  \"sliding_window_pattern\": %zu,\n"
                              "  \"query_pre_attn_scalar\": %zu,\n"
                              "  \"attn_logit_softcapping\": null,\n"
                              "  \"final_logit_softcapping\": null,\n",
                              s->window, s->pattern, s->head_dim));
    char *experts = "";
    WA_TRY(print_experts(s, arena, &experts, err));
    return wa_arena_print(
        arena, out, err,
        "{\n%s%s%s"
        "  \"rope_scaling\": %s,\n  \"attention_bias\": %s,\n"
        "  \"hidden_size\": %zu,\n  \"intermediate_size\": %zu,\n  \"num_hidden_layers\": %zu,\n"
        "  \"num_attention_heads\": %zu,\n  \"num_key_value_heads\": %zu,\n  \"head_dim\": %zu,\n"
        "  \"vocab_size\": %zu,\n  \"max_position_embeddings\": 8192,\n"
        "  \"tie_word_embeddings\": %s,\n  \"bos_token_id\": %zu,\n  \"eos_token_id\": %zu,\n"
        "  \"torch_dtype\": \"%s\"\n}\n",
        s->family->config, windows, experts, s->family->rope == NULL ? "null" : s->family->rope,
        s->family->attention_bias ? "true" : "false", s->hidden, s->intermediate, s->layers,
        s->q_heads, s->kv_heads, s->head_dim, s->vocab, s->tied ? "true" : "false", tokens->bos,
        tokens->eos, dtypes[dtype].torch);
}

/* --- model.safetensors ------------------------------------------------------------------------ */

static size_t tensor_rows(const wa_synth_tensor *tensor)
{
    return tensor->rows == 0 ? 1 : tensor->rows;
}

static bool add_tensor(json_t *root, const wa_synth_tensor *tensor, const char *dtype,
                       uint64_t start, uint64_t end)
{
    json_t *shape = json_array();
    size_t rows = tensor->stack == 0 ? tensor->rows : tensor->rows / tensor->stack;
    if (tensor->stack > 0)
        json_array_append_new(shape, json_integer((json_int_t)tensor->stack));
    if (tensor->rows > 0)
        json_array_append_new(shape, json_integer((json_int_t)rows));
    json_array_append_new(shape, json_integer((json_int_t)tensor->cols));
    json_t *entry = json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtype, "shape", shape, "data_offsets",
                              (json_int_t)start, (json_int_t)end);
    return json_object_set_new(root, tensor->name, entry) == 0;
}

/* The header: its length as 8 bytes, then JSON padded with spaces to a multiple of 8. */
static wa_status print_header(const wa_synth_tensor *tensors, size_t count, size_t dtype,
                              wa_arena *arena, wa_bytes *out, uint64_t *payload, wa_error *err)
{
    json_t *root = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    uint64_t at = 0;
    bool fine = root != NULL;
    for (size_t i = 0; fine && i < count; i++) {
        uint64_t size = (uint64_t)tensor_rows(&tensors[i]) * tensors[i].cols * dtypes[dtype].bytes;
        fine = add_tensor(root, &tensors[i], dtypes[dtype].safetensors, at, at + size);
        at += size;
    }
    char *text = fine ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (text == NULL)
        return wa_fail(err, WA_E_MEMORY, "no memory for the header of model.safetensors");

    uint8_t *bytes;
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    uint64_t stored = padded;
    wa_status status = wa_arena_take(arena, padded + sizeof stored, 1, &bytes, err);
    if (status == WA_OK) {
        memcpy(bytes, &stored, sizeof stored); /* little-endian, as bytes.c demands of the host */
        memset(bytes + sizeof stored, ' ', padded);
        memcpy(bytes + sizeof stored, text, length);
        *out = (wa_bytes){.data = bytes, .size = padded + sizeof stored};
        *payload = at;
    }
    free(text); /* Jansson's */
    return status;
}

typedef struct writer {
    const wa_synth_options *options;
    wa_outfile file;
    uint8_t *buffer; /* [BUFFER_BYTES + one row] */
    size_t used;
    float *row;
    uint64_t done, total, told;
} writer;

static wa_status flush(writer *w, wa_error *err)
{
    WA_TRY(wa_outfile_append(&w->file, (wa_bytes){.data = w->buffer, .size = w->used}, err));
    w->done += w->used;
    w->used = 0;
    bool tell = w->done - w->told >= PROGRESS_BYTES || w->done == w->total;
    if (w->options->progress != NULL && tell) {
        w->told = w->done;
        w->options->progress(w->options->progress_context, w->done, w->total);
    }
    return WA_OK;
}

static void encode(wa_format format, const float *values, size_t count, uint8_t *out)
{
    if (format == WA_FORMAT_F32) {
        memcpy(out, values, count * sizeof *values);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t half =
            format == WA_FORMAT_BF16 ? wa_f32_to_bf16(values[i]) : wa_f32_to_f16(values[i]);
        memcpy(out + i * sizeof half, &half, sizeof half);
    }
}

static wa_status write_tensors(writer *w, const wa_synth_shape *shape,
                               const wa_synth_tensor *tensors, size_t count, size_t dtype,
                               wa_error *err)
{
    for (size_t t = 0; t < count; t++)
        for (size_t r = 0; r < tensor_rows(&tensors[t]); r++) {
            wa_synth_fill(shape, &tensors[t], r, w->row);
            encode(dtypes[dtype].format, w->row, tensors[t].cols, w->buffer + w->used);
            w->used += tensors[t].cols * dtypes[dtype].bytes;
            if (w->used >= BUFFER_BYTES)
                WA_TRY(flush(w, err));
        }
    return flush(w, err);
}

static size_t longest_row(const wa_synth_tensor *tensors, size_t count)
{
    size_t most = 0;
    for (size_t t = 0; t < count; t++)
        most = tensors[t].cols > most ? tensors[t].cols : most;
    return most;
}

static wa_status write_model(const wa_staging *staging, const wa_synth_shape *shape, size_t dtype,
                             const wa_synth_options *options, wa_synth_report *report,
                             wa_error *err)
{
    wa_arena *arena = staging->arena;
    wa_synth_tensor *tensors;
    size_t count;
    wa_bytes header;
    writer w = {.options = options};
    WA_TRY(wa_synth_list(shape, arena, &tensors, &count, err));
    WA_TRY(print_header(tensors, count, dtype, arena, &header, &w.total, err));
    size_t longest = longest_row(tensors, count);
    WA_TRY(wa_arena_take_raw(arena, longest, sizeof *w.row, &w.row, err));
    WA_TRY(wa_arena_take_raw(arena, BUFFER_BYTES + longest * sizeof(float), 1, &w.buffer, err));

    WA_TRY(wa_outfile_open(staging, "model.safetensors", &w.file, err));
    wa_status status = wa_outfile_append(&w.file, header, err);
    if (options->no_weights && status == WA_OK)
        status = wa_outfile_skip(&w.file, w.total, err);
    else if (status == WA_OK)
        status = write_tensors(&w, shape, tensors, count, dtype, err);
    if (status == WA_OK)
        status = wa_outfile_finish(&w.file, err);
    report->tensors = count;
    report->bytes = w.file.bytes;
    if (status != WA_OK)
        wa_outfile_abandon(&w.file);
    return status;
}

static wa_status write_text(const wa_staging *staging, const char *name, const char *text,
                            wa_error *err)
{
    wa_outfile file;
    WA_TRY(wa_outfile_open(staging, name, &file, err));
    wa_status status =
        wa_outfile_append(&file, (wa_bytes){(const uint8_t *)text, strlen(text)}, err);
    if (status == WA_OK)
        status = wa_outfile_finish(&file, err);
    if (status != WA_OK)
        wa_outfile_abandon(&file);
    return status;
}

static wa_status write_all(wa_staging *staging, const wa_synth_shape *shape,
                           const wa_synth_tokens *tokens, size_t dtype,
                           const wa_synth_options *options, wa_synth_report *report, wa_error *err)
{
    char *config;
    WA_TRY(print_config(shape, tokens, dtype, staging->arena, &config, err));
    WA_TRY(write_text(staging, "config.json", config, err));
    WA_TRY(write_text(staging, "tokenizer.json", tokens->json, err));
    WA_TRY(write_model(staging, shape, dtype, options, report, err));
    return wa_staging_commit(staging, err);
}

wa_status wa_synth(const char *path, const wa_synth_options *options, wa_arena *arena,
                   wa_synth_report *report, wa_error *err)
{
    wa_synth_shape shape;
    wa_synth_tokens tokens;
    wa_staging staging;
    struct stat info;
    size_t dtype = 0;
    WA_TRY(find_shape(options, &shape, err));
    WA_TRY(find_dtype(options->dtype, &dtype, err));
    WA_TRY(wa_synth_tokenizer(arena, &tokens, err));
    WA_TRY(check_sizes(&shape, &tokens, err));
    if (lstat(path, &info) == 0)
        return wa_fail(err, WA_E_USAGE, "'%s' exists; a synthetic model replaces nothing", path);
    WA_TRY(wa_staging_open(path, false, arena, &staging, err));

    wa_synth_report written = {.layers = shape.layers,
                               .hidden = shape.hidden,
                               .intermediate = shape.family->experts == NULL ? shape.intermediate
                                                                             : shape.features,
                               .experts = shape.experts,
                               .chosen = shape.chosen,
                               .vocab = shape.vocab};
    wa_status status = write_all(&staging, &shape, &tokens, dtype, options, &written, err);
    if (status != WA_OK) {
        wa_staging_abandon(&staging);
        return wa_note(err, "in '%s'", path);
    }
    *report = written;
    return WA_OK;
}

/* Every weight of a model in its place, or one line that says which is missing or misshapen. */
#include "model/weights.h"

#include "model/understood.h"
#include "model/unread.h"
#include "model/weights_experts.h"
#include "model/weights_find.h"

#include <math.h>

static wa_part whole(size_t rows)
{
    return (wa_part){.first = 0, .rows = rows, .total = rows};
}

static wa_place weight(wa_role role, int layer)
{
    return (wa_place){.role = role, .layer = layer, .suffix = ".weight"};
}

static wa_place bias(wa_role role, int layer)
{
    return (wa_place){.role = role, .layer = layer, .suffix = ".bias"};
}

/* Gemma's 1 + w, as one f32 sum: the same bits as the sum that GGUF converters store. */
static wa_status take_scaling(const wa_finder *finder, wa_role role, int layer, size_t n,
                              const float **out, wa_error *err)
{
    float *values;
    WA_TRY(wa_finder_vector(finder, weight(role, layer), whole(n), &values, err));
    float offset = finder->config->norm_offset;
    for (size_t i = 0; offset != 0 && i < n; i++)
        values[i] = offset + values[i];
    *out = values;
    return WA_OK;
}

static wa_status take_vector(const wa_finder *finder, wa_place place, wa_part part,
                             const float **out, wa_error *err)
{
    float *values;
    WA_TRY(wa_finder_vector(finder, place, part, &values, err));
    *out = values;
    return WA_OK;
}

static wa_status take_norm(const wa_finder *finder, wa_role role, int layer, wa_norm *out,
                           wa_error *err)
{
    const wa_model *facts = &finder->config->facts;
    WA_TRY(take_scaling(finder, role, layer, facts->hidden, &out->weight, err));
    if (facts->norm_kind == WA_NORM_LAYER)
        WA_TRY(take_vector(finder, bias(role, layer), whole(facts->hidden), &out->bias, err));
    return WA_OK;
}

/* A bias that is required, or (GGUF) used where it is stored. */
static wa_status take_bias(const wa_finder *finder, bool required, wa_place place, wa_part part,
                           const float **out, wa_error *err)
{
    bool optional = finder->config->optional_biases && wa_finder_has(finder, place);
    return required || optional ? take_vector(finder, place, part, out, err) : WA_OK;
}

/* One of q, k, v: a tensor of its own, or rows of the fused one. */
typedef struct projection {
    wa_role role;
    wa_part part; /* of the fused tensor */
    wa_matrix *matrix;
    const float **bias;
} projection;

static wa_status take_projection(const wa_finder *finder, int layer, bool fused,
                                 const projection *p, wa_error *err)
{
    wa_role role = fused ? WA_ROLE_QKV : p->role;
    wa_part part = fused ? p->part : whole(p->part.rows);
    const wa_config *config = finder->config;
    WA_TRY(
        wa_finder_matrix(finder, weight(role, layer), part, config->facts.hidden, p->matrix, err));
    return take_bias(finder, config->qkv_bias, bias(role, layer), part, p->bias, err);
}

static wa_status take_attention(const wa_finder *finder, int layer, wa_layer *out, wa_error *err)
{
    const wa_config *config = finder->config;
    const wa_model *facts = &config->facts;
    size_t q = facts->q_heads * facts->head_dim;
    size_t kv = facts->kv_heads * facts->head_dim;
    bool fused = !wa_finder_has(finder, weight(WA_ROLE_Q, layer)) &&
                 config->names->role[WA_ROLE_QKV] != NULL &&
                 (config->names->role[WA_ROLE_Q] == NULL ||
                  wa_finder_has(finder, weight(WA_ROLE_QKV, layer)));
    const projection projections[] = {
        {WA_ROLE_Q, {0, q, q + 2 * kv}, &out->q, &out->q_bias},
        {WA_ROLE_K, {q, kv, q + 2 * kv}, &out->k, &out->k_bias},
        {WA_ROLE_V, {q + kv, kv, q + 2 * kv}, &out->v, &out->v_bias},
    };
    for (size_t i = 0; i < 3; i++)
        WA_TRY(take_projection(finder, layer, fused, &projections[i], err));
    WA_TRY(
        wa_finder_matrix(finder, weight(WA_ROLE_O, layer), whole(facts->hidden), q, &out->o, err));
    WA_TRY(take_bias(finder, config->o_bias, bias(WA_ROLE_O, layer), whole(facts->hidden),
                     &out->o_bias, err));
    if (config->family->sinks)
        WA_TRY(take_vector(finder, wa_finder_bare(finder, WA_ROLE_SINKS, layer),
                           whole(facts->q_heads), &out->sinks, err));
    if (config->family->qk_norm == WA_QK_NORM_NONE)
        return WA_OK;
    size_t q_normed = facts->wide_qk_norm ? q : facts->head_dim;
    size_t k_normed = facts->wide_qk_norm ? kv : facts->head_dim;
    WA_TRY(take_scaling(finder, WA_ROLE_Q_NORM, layer, q_normed, &out->q_norm, err));
    return take_scaling(finder, WA_ROLE_K_NORM, layer, k_normed, &out->k_norm, err);
}

/* GGUF files have no flag for FFN biases: their presence must not go unseen. */
static wa_status refuse_ffn_bias(const wa_finder *finder, int layer, wa_error *err)
{
    static const wa_role roles[] = {WA_ROLE_GATE, WA_ROLE_UP, WA_ROLE_DOWN};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (wa_finder_has(finder, bias(roles[i], layer)))
            return wa_fail(err, WA_E_UNSUPPORTED,
                           "layer %d has FFN biases, which family '%s' does not compute", layer,
                           finder->config->family->family);
    return WA_OK;
}

/* Gate and up: tensors of their own, or rows of the fused one. */
static wa_status take_gate_and_up(const wa_finder *finder, int layer, wa_layer *out, wa_error *err)
{
    size_t hidden = finder->config->facts.hidden;
    size_t inner = finder->config->facts.intermediate;
    const wa_place gate = weight(WA_ROLE_GATE, layer), up = weight(WA_ROLE_UP, layer);
    const wa_place fused = weight(WA_ROLE_GATE_UP, layer);
    if (finder->config->names->role[WA_ROLE_GATE_UP] != NULL && !wa_finder_has(finder, gate)) {
        wa_part first = {0, inner, 2 * inner}, second = {inner, inner, 2 * inner};
        WA_TRY(wa_finder_matrix(finder, fused, first, hidden, &out->gate, err));
        return wa_finder_matrix(finder, fused, second, hidden, &out->up, err);
    }
    if (finder->config->facts.gated)
        WA_TRY(wa_finder_matrix(finder, gate, whole(inner), hidden, &out->gate, err));
    return wa_finder_matrix(finder, up, whole(inner), hidden, &out->up, err);
}

static wa_status take_ffn(const wa_finder *finder, int layer, wa_layer *out, wa_error *err)
{
    const wa_config *config = finder->config;
    size_t hidden = config->facts.hidden;
    size_t inner = config->facts.intermediate;
    WA_TRY(take_gate_and_up(finder, layer, out, err));
    WA_TRY(wa_finder_matrix(finder, weight(WA_ROLE_DOWN, layer), whole(hidden), inner, &out->down,
                            err));
    if (config->refuses_ffn_bias)
        return refuse_ffn_bias(finder, layer, err);
    bool required = config->ffn_bias;
    if (config->facts.gated)
        WA_TRY(take_bias(finder, required, bias(WA_ROLE_GATE, layer), whole(inner), &out->gate_bias,
                         err));
    WA_TRY(take_bias(finder, required, bias(WA_ROLE_UP, layer), whole(inner), &out->up_bias, err));
    return take_bias(finder, required, bias(WA_ROLE_DOWN, layer), whole(hidden), &out->down_bias,
                     err);
}

static wa_status take_layer(const wa_finder *finder, int layer, wa_layer *out, wa_error *err)
{
    wa_blocks blocks = finder->config->family->blocks;
    if (blocks != WA_BLOCKS_POST) {
        WA_TRY(take_norm(finder, WA_ROLE_ATTN_IN, layer, &out->attn_in, err));
        WA_TRY(take_norm(finder, WA_ROLE_FFN_IN, layer, &out->ffn_in, err));
    }
    if (blocks != WA_BLOCKS_PRE) {
        WA_TRY(take_norm(finder, WA_ROLE_ATTN_OUT, layer, &out->attn_out, err));
        WA_TRY(take_norm(finder, WA_ROLE_FFN_OUT, layer, &out->ffn_out, err));
    }
    WA_TRY(take_attention(finder, layer, out, err));
    if (wa_config_has_experts(finder->config, (size_t)layer))
        return wa_weights_experts(finder, layer, &out->experts, err);
    return take_ffn(finder, layer, out, err);
}

/* Rows are whatever the table has, where the configuration does not say. */
static wa_status take_table(const wa_finder *finder, wa_role role, size_t rows, wa_matrix *out,
                            wa_error *err)
{
    if (rows == 0) {
        const wa_tensor *tensor;
        WA_TRY(wa_finder_tensor(finder, weight(role, WA_NO_LAYER), &tensor, err));
        rows = tensor->rank == 2 ? tensor->shape[0] : 0;
    }
    return wa_finder_matrix(finder, weight(role, WA_NO_LAYER), whole(rows),
                            finder->config->facts.hidden, out, err);
}

static bool is_same_matrix(const wa_matrix *a, const wa_matrix *b)
{
    return a->format == b->format && a->rows == b->rows && a->cols == b->cols &&
           a->scales.data == NULL && b->scales.data == NULL &&
           memcmp(a->data, b->data, wa_matrix_bytes(a)) == 0;
}

/* A head that is stored wins over a flag that says it is the embedding: files are saved with both,
 * and whoever loads them by name takes the stored one. */
static wa_status take_output(const wa_finder *finder, wa_model *model, wa_notes *notes,
                             wa_error *err)
{
    const wa_config *config = finder->config;
    const wa_place place = weight(WA_ROLE_OUTPUT, WA_NO_LAYER);
    bool stored = wa_finder_has(finder, place);
    model->output = model->embedding;
    model->tied = config->tie != WA_TIE_NO && !stored;
    if (model->tied)
        return WA_OK;
    WA_TRY(
        wa_finder_matrix(finder, place, whole(model->vocab), model->hidden, &model->output, err));
    if (config->tie != WA_TIE_YES)
        return WA_OK;
    model->tied = is_same_matrix(&model->output, &model->embedding);
    if (model->tied) {
        model->output = model->embedding;
        return WA_OK;
    }
    return wa_notes_add(
        notes, err,
        "the configuration ties the output to the embedding, but '%.200s' is stored "
        "and differs: the stored matrix is used",
        model->output.name);
}

static wa_status take_ends(const wa_finder *finder, wa_model *model, wa_notes *notes, wa_error *err)
{
    const wa_config *config = finder->config;
    model->norm_offset = config->norm_offset;
    WA_TRY(take_table(finder, WA_ROLE_EMBEDDING, model->vocab, &model->embedding, err));
    model->vocab = model->embedding.rows;
    if (model->vocab == 0 || model->vocab < config->vocab_least)
        return wa_fail(err, WA_E_FORMAT, "the embedding has %zu rows for a vocabulary of %zu",
                       model->vocab, config->vocab_least);
    if (config->family->position_table)
        WA_TRY(take_table(finder, WA_ROLE_POSITIONS, config->positions, &model->positions, err));
    WA_TRY(take_norm(finder, WA_ROLE_FINAL_NORM, WA_NO_LAYER, &model->final_norm, err));

    return take_output(finder, model, notes, err);
}

static bool is_all_ones(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (values[i] != 1.0f)
            return false;
    return true;
}

/* GGUF's `rope_freqs.weight` holds the llama3 scaling ready for use (forward-pass.md 3.4). */
static wa_status take_divisors(const wa_finder *finder, wa_config *config, wa_error *err)
{
    const wa_tensor_entry *entry = wa_tensor_table_entry(finder->table, "rope_freqs.weight");
    size_t count = config->facts.rotary_dim / 2;
    if (entry == NULL || !config->rotates || strcmp(config->facts.container, "gguf") != 0)
        return WA_OK;
    /* under larql: known, never applied (S2) */
    finder->used[entry - finder->table->entries] = true;
    if (config->facts.semantics != WA_SEMANTICS_NATIVE)
        return WA_OK;
    const wa_tensor *tensor = entry->tensor;
    if (tensor->format != WA_FORMAT_F32 || tensor->rank != 1 || tensor->shape[0] != count)
        return wa_fail(err, WA_E_FORMAT, "tensor 'rope_freqs.weight' is no F32 vector of %zu",
                       count);
    float *values;
    WA_TRY(wa_arena_take_raw(finder->arena, count, sizeof *values, &values, err));
    wa_format_get(tensor->format)->decode(tensor->data.data, count, values);
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]) || values[i] <= 0)
            return wa_fail(err, WA_E_FORMAT,
                           "'rope_freqs.weight' holds %g at %zu, expected above 0",
                           (double)values[i], i);
    if (is_all_ones(values, count)) /* what the formula gives without them */
        return WA_OK;
    if (config->scaling.kind != WA_SCALING_NONE)
        return wa_fail(err, WA_E_UNSUPPORTED,
                       "both 'rope_freqs.weight' and a RoPE scaling type are given");
    config->rope_divisors = values;
    return WA_OK;
}

/* Frequencies are shared by all layers of a kind. */
static wa_status set_rope(const wa_config *config, wa_arena *arena, wa_model *model, wa_error *err)
{
    double *sets[WA_ROPE_LONG + 1];
    for (int set = 0; set <= WA_ROPE_LONG; set++) {
        WA_TRY(wa_arena_take(arena, model->rotary_dim / 2, sizeof **sets, &sets[set], err));
        wa_config_rope(config, (wa_rope_set)set, sets[set]);
    }
    bool stretched = config->scaling.kind == WA_SCALING_LONGROPE;
    for (size_t l = 0; l < model->layer_count; l++) {
        wa_layer *layer = &model->layers[l];
        bool sliding = wa_config_is_sliding(config, l);
        wa_rope_set set = sliding ? WA_ROPE_LOCAL : WA_ROPE_FULL;
        bool rotates = config->rotates && !wa_config_is_unrotated(config, l);
        layer->rope_freq = rotates ? sets[set] : NULL;
        layer->rope_long_freq = rotates && stretched ? sets[WA_ROPE_LONG] : NULL;
        layer->rope_long_from = stretched ? (size_t)config->scaling.original_positions : 0;
        layer->rope_factor = wa_config_rope_factor(config, set);
        bool windowed = sliding && model->semantics != WA_SEMANTICS_LARQL_2026_05; /* S3 */
        layer->window = windowed ? model->sliding_window : 0;
    }
    return WA_OK;
}

wa_status wa_weights_build(const wa_config *config, const wa_tensor_table *table, wa_arena *arena,
                           wa_model *model, wa_error *err)
{
    wa_config own = *config;
    wa_finder finder = {.config = &own, .table = table, .arena = arena};
    WA_TRY(wa_arena_take(arena, table->count, sizeof *finder.used, &finder.used, err));
    if (model->layer_count > table->count || model->layer_count > INT32_MAX)
        return wa_fail(err, WA_E_FORMAT, "%zu layers, but only %zu tensors are stored",
                       model->layer_count, table->count);
    WA_TRY(take_ends(&finder, model, &own.notes, err));
    WA_TRY(wa_arena_take(arena, model->layer_count, sizeof *model->layers, &model->layers, err));
    for (size_t l = 0; l < model->layer_count; l++)
        WA_TRY(take_layer(&finder, (int)l, &model->layers[l], err));
    WA_TRY(take_divisors(&finder, &own, err));
    WA_TRY(set_rope(&own, arena, model, err));
    WA_TRY(wa_unread_judge(&finder, &own.notes, &model->unread, err));
    model->notes = own.notes.items;
    model->note_count = own.notes.count;
    return wa_understood_build(&own, arena, model, err);
}

/* Routers, norms and biases: vectors of f32, one behind the other, and the manifest that names
 * them. */
#include "vindex/extract_norms.h"

#include "vindex/experts.h"
#include "vindex/extract_json.h"

#include <stdio.h>

static const char NORMS[] = "norms.bin";

typedef struct writer {
    const wa_model *model;
    const wa_router_names *names;
    wa_arena *arena;
    wa_outfile file;
    json_t *list;
} writer;

static wa_status put(writer *w, size_t layer, const char *name, const float *values, size_t count,
                     wa_error *err)
{
    const wa_bytes bytes = {.data = (const uint8_t *)values, .size = count * sizeof *values};
    char key[96];
    if (values == NULL)
        return WA_OK;
    if (layer < w->model->layer_count)
        snprintf(key, sizeof key, "layers.%zu.%s", layer, name);
    else
        snprintf(key, sizeof key, "%s", name);
    json_array_append_new(w->list, json_pack("{s:s, s:s, s:[I], s:I, s:I, s:s}", "key", key, "kind",
                                             "vector", "shape", (json_int_t)count, "offset",
                                             (json_int_t)w->file.bytes, "length",
                                             (json_int_t)bytes.size, "file", NORMS));
    return wa_outfile_append(&w->file, bytes, err);
}

/* The families with experts have Llama's norms, before the blocks. */
static wa_status put_vectors(writer *w, size_t layer, wa_error *err)
{
    const wa_model *m = w->model;
    const wa_layer *l = &m->layers[layer];
    size_t q = m->q_heads * m->head_dim, kv = m->kv_heads * m->head_dim;
    const struct {
        const char *name;
        const float *values;
        size_t count;
    } vectors[] = {
        {"input_layernorm.weight", l->attn_in.weight, m->hidden},
        {"post_attention_layernorm.weight", l->ffn_in.weight, m->hidden},
        {"self_attn.q_norm.weight", l->q_norm, m->wide_qk_norm ? q : m->head_dim},
        {"self_attn.k_norm.weight", l->k_norm, m->wide_qk_norm ? kv : m->head_dim},
        {"self_attn.q_proj.bias", l->q_bias, q},
        {"self_attn.k_proj.bias", l->k_bias, kv},
        {"self_attn.v_proj.bias", l->v_bias, kv},
        {"self_attn.o_proj.bias", l->o_bias, m->hidden},
        {"self_attn.sinks", l->sinks, m->q_heads},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++)
        WA_TRY(put(w, layer, vectors[i].name, vectors[i].values, vectors[i].count, err));
    return WA_OK;
}

/* Biases of all experts in one vector: gate and up in turn, or down. */
static wa_status put_biases(writer *w, size_t layer, wa_error *err)
{
    const wa_experts *experts = w->model->layers[layer].experts;
    size_t features = experts->experts[0].up.rows, hidden = w->model->hidden;
    float *both, *down;
    if (w->names->gate_up_bias == NULL || experts->experts[0].up_bias == NULL)
        return WA_OK;
    WA_TRY(wa_arena_take_raw(w->arena, experts->count, 2 * features * sizeof *both, &both, err));
    WA_TRY(wa_arena_take_raw(w->arena, experts->count, hidden * sizeof *down, &down, err));
    for (size_t e = 0; e < experts->count; e++) {
        const wa_expert *expert = &experts->experts[e];
        for (size_t f = 0; f < features; f++) {
            both[2 * (e * features + f)] = expert->gate_bias[f];
            both[2 * (e * features + f) + 1] = expert->up_bias[f];
        }
        memcpy(down + e * hidden, expert->down_bias, hidden * sizeof *down);
    }
    WA_TRY(put(w, layer, w->names->gate_up_bias, both, 2 * features * experts->count, err));
    return put(w, layer, w->names->down_bias, down, hidden * experts->count, err);
}

static wa_status put_router(writer *w, size_t layer, wa_error *err)
{
    const wa_experts *experts = w->model->layers[layer].experts;
    float *rows;
    if (experts == NULL)
        return WA_OK;
    WA_TRY(
        wa_arena_take_raw(w->arena, experts->count, w->model->hidden * sizeof *rows, &rows, err));
    wa_matrix_decode(&experts->router, 0, experts->count, rows);
    WA_TRY(put(w, layer, w->names->router, rows, experts->count * w->model->hidden, err));
    WA_TRY(put_biases(w, layer, err));
    return w->names->router_bias == NULL
               ? WA_OK
               : put(w, layer, w->names->router_bias, experts->router_bias, experts->count, err);
}

static wa_status put_all(writer *w, wa_error *err)
{
    size_t layers = w->model->layer_count;
    for (size_t l = 0; l < layers; l++) {
        wa_mark mark = wa_arena_mark(w->arena);
        WA_TRY(put_vectors(w, l, err));
        WA_TRY(put_router(w, l, err));
        wa_arena_release(w->arena, mark);
    }
    WA_TRY(put(w, layers, "norm.weight", w->model->final_norm.weight, w->model->hidden, err));
    return wa_outfile_finish(&w->file, err);
}

wa_status wa_extract_write_norms(const wa_model *model, const wa_staging *staging,
                                 wa_extract_sum *out, wa_error *err)
{
    writer w = {
        .model = model, .names = wa_router_names_of(model->family), .arena = staging->arena};
    if (w.names == NULL)
        return wa_fail(err, WA_E_UNSUPPORTED, "what LARQL calls the routers of %s is not known",
                       model->family);
    WA_TRY(wa_outfile_open(staging, NORMS, &w.file, err));
    w.list = json_array();
    if (put_all(&w, err) != WA_OK) {
        wa_outfile_abandon(&w.file);
        json_decref(w.list);
        return err->status;
    }
    out->name = NORMS;
    memcpy(out->hex, w.file.hex, sizeof out->hex);
    return wa_extract_write_json(staging, "weight_manifest.json", w.list, err);
}

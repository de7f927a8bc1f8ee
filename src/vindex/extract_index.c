/* index.json as upstream reads it (vindex-format 2), with our own "walkaudit" object. */
#include "vindex/extract_index.h"
#include "vindex/experts.h"
#include "vindex/extract_json.h"

#include <stdio.h>

/* "Q4_K+Q6_K" where layers differ, in order of first use. */
static json_t *source_format(const wa_model *model, wa_projection projection)
{
    bool used[WA_FORMAT_COUNT] = {false};
    char text[256] = "";
    size_t at = 0;
    for (size_t l = 0; l < model->layer_count; l++) {
        wa_format format = wa_extract_matrix(model, l, projection)->format;
        if (used[format])
            continue;
        used[format] = true;
        int more = snprintf(text + at, sizeof text - at, "%s%s", at == 0 ? "" : "+",
                            wa_format_get(format)->name);
        if (more > 0 && (size_t)more < sizeof text - at)
            at += (size_t)more;
    }
    return json_string(text);
}

static bool is_requantised(const wa_model *model)
{
    for (size_t l = 0; l < model->layer_count; l++)
        for (int p = 0; p < WA_PROJECTION_COUNT; p++)
            if (wa_format_is_coarse(wa_extract_matrix(model, l, (wa_projection)p)->format))
                return true;
    return false;
}

static json_t *build_extension(const wa_model *model, const wa_extract_options *options)
{
    json_t *formats = json_object();
    for (int p = 0; p < WA_PROJECTION_COUNT; p++)
        json_object_set_new(formats, wa_projection_name((wa_projection)p),
                            source_format(model, (wa_projection)p));
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:b}", "version", WALKAUDIT_VERSION, "format",
                     wa_extract_format_name(options->format), "compat",
                     wa_extract_compat_name(options->compat), "source_container", model->container,
                     "source_format", formats, "requantised", (int)is_requantised(model));
}

/* Features of all experts of a layer count together. */
static json_t *build_layers(const wa_model *model, const wa_extract_options *options,
                            size_t element)
{
    json_t *list = json_array();
    json_int_t offset = 0;
    for (size_t l = 0; l < model->layer_count; l++) {
        size_t entries = wa_extract_entries(model, options, l),
               each = wa_extract_matrix(model, l, WA_UP)->rows;
        json_int_t length = (json_int_t)(entries * each * model->hidden * element);
        if (entries == 0)
            continue;
        json_t *layer = json_pack("{s:I, s:I, s:I, s:I}", "layer", (json_int_t)l, "num_features",
                                  (json_int_t)(entries * each), "offset", offset, "length", length);
        if (model->layers[l].experts != NULL)
            json_object_update_new(layer,
                                   json_pack("{s:I, s:I}", "num_experts", (json_int_t)entries,
                                             "num_features_per_expert", (json_int_t)each));
        json_array_append_new(list, layer);
        offset += length;
    }
    return list;
}

/* vindex-format 2.7, larql-2026-08 1.2. */
static json_t *build_moe(const wa_model *model)
{
    size_t layer = wa_model_expert_layer(model);
    if (layer == model->layer_count)
        return json_null();
    const wa_experts *experts = model->layers[layer].experts;
    const wa_router_names *names = wa_router_names_of(model->family);
    /* GPT-OSS takes its softmax of the chosen */
    bool after = names != NULL && names->router_bias != NULL;
    return json_pack("{s:I, s:I, s:b, s:s, s:I, s:b}", "num_experts", (json_int_t)experts->count,
                     "top_k", (json_int_t)experts->chosen, "shared_expert",
                     (int)(experts->shared.up.rows > 0), "router_type",
                     after ? "gpt_oss_topk_then_softmax" : "top_k_softmax", "moe_intermediate_size",
                     (json_int_t)experts->experts[0].up.rows, "hybrid", 0);
}

/* Only where layers differ: upstream's extractor copies the key from configurations that have it.
 */
static json_t *build_layer_types(const wa_model *model)
{
    size_t windowed = 0;
    for (size_t l = 0; l < model->layer_count; l++)
        windowed += model->layers[l].window > 0;
    if (windowed == 0 || windowed == model->layer_count)
        return NULL;
    json_t *list = json_array();
    for (size_t l = 0; l < model->layer_count; l++)
        json_array_append_new(list, json_string(model->layers[l].window > 0 ? "sliding_attention"
                                                                            : "full_attention"));
    return list;
}

static void set_if_given(json_t *object, const char *key, double value)
{
    if (value != 0.0)
        json_object_set_new(object, key, json_real(value));
}

static json_t *build_model_config(const wa_model *model)
{
    json_t *config = json_object();
    json_t *types = build_layer_types(model);
    json_object_set_new(config, "model_type", json_string(model->model_type));
    json_object_set_new(config, "head_dim", json_integer((json_int_t)model->head_dim));
    json_object_set_new(config, "num_q_heads", json_integer((json_int_t)model->q_heads));
    json_object_set_new(config, "num_kv_heads", json_integer((json_int_t)model->kv_heads));
    json_object_set_new(config, "rope_base", json_real(model->rope_base));
    json_object_set_new(
        config, "sliding_window",
        model->sliding_window == 0 ? json_null() : json_integer((json_int_t)model->sliding_window));
    json_object_set_new(config, "moe", build_moe(model));
    if (wa_extract_has_experts(model))
        json_object_set_new(
            config, "norm_topk_prob",
            json_boolean(model->layers[wa_model_expert_layer(model)].experts->renormalised));
    if (types != NULL)
        json_object_set_new(config, "layer_types", types);
    json_object_set_new(config, "attention_k_eq_v", json_false());
    set_if_given(config, "rope_local_base", model->rope_local_base);
    set_if_given(config, "query_pre_attn_scalar", model->query_pre_attn_scalar);
    set_if_given(config, "final_logit_softcapping", (double)model->final_cap);
    return config;
}

static json_t *build_checksums(const wa_extract_sum *sums, size_t count)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++)
        json_object_set_new(object, sums[i].name, json_string(sums[i].hex));
    return object;
}

/* Who wrote it. LARQL asks for both strings, and a time would make the same vindex a different one
 * each time. */
static json_t *build_source(const wa_extract_options *options)
{
    if (options->compat != WA_EXTRACT_COMPAT_NONE)
        return json_null();
    return json_pack("{s:n, s:n, s:n, s:s, s:s}", "huggingface_repo", "huggingface_revision",
                     "safetensors_sha256", "extracted_at", "not recorded", "larql_version",
                     "walkaudit " WALKAUDIT_VERSION);
}

static json_t *build_root(const wa_model *model, const wa_extract_options *options,
                          const wa_extract_plan *plan, const wa_extract_sum *sums, size_t count)
{
    const wa_format_info *gate = wa_format_get(plan->gate_format);
    bool q4k = options->format == WA_EXTRACT_Q4K || options->format == WA_EXTRACT_Q6K;
    json_t *root =
        json_pack("{s:i, s:o, s:s, s:o}", "version", 2, "model", wa_json_text(model->path),
                  "family", model->family, "source", build_source(options));
    json_object_set_new(root, "checksums", build_checksums(sums, count));
    json_object_set_new(root, "num_layers", json_integer((json_int_t)model->layer_count));
    json_object_set_new(root, "hidden_size", json_integer((json_int_t)model->hidden));
    json_object_set_new(root, "intermediate_size", json_integer((json_int_t)model->intermediate));
    json_object_set_new(root, "vocab_size", json_integer((json_int_t)model->vocab));
    json_object_set_new(root, "embed_scale", json_real((double)model->embed_scale));
    json_object_set_new(root, "extract_level", json_string("browse"));
    json_object_set_new(root, "dtype", json_string(gate->name));
    json_object_set_new(root, "quant", json_string(q4k ? "q4k" : "none"));
    json_object_set_new(root, "layer_bands", json_null());
    json_object_set_new(root, "layers", build_layers(model, options, gate->block_bytes));
    json_object_set_new(root, "down_top_k", json_integer(0)); /* no down_meta.bin is written */
    json_object_set_new(root, "has_model_weights", json_false());
    json_object_set_new(root, "model_config", build_model_config(model));
    if (wa_extract_has_experts(model))
        json_object_set_new(root, "ffn_layout", json_string("per_layer"));
    return root;
}

wa_status wa_extract_write_index(const wa_model *model, const wa_extract_options *options,
                                 const wa_extract_plan *plan, const wa_extract_sum *sums,
                                 size_t count, json_t *fp4, const wa_staging *staging,
                                 wa_error *err)
{
    json_t *root = build_root(model, options, plan, sums, count);
    if (fp4 != NULL)
        json_object_set_new(root, "fp4", fp4);
    json_object_set_new(root, "walkaudit", build_extension(model, options));
    if (wa_extract_write_json(staging, "index.json", root, err) != WA_OK)
        return wa_note(err, "model path '%s'", model->path);
    return WA_OK;
}

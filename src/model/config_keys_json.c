/* The keys of config.json, as one table, and the walk over a file's. */
#include "model/config_keys.h"
#include "model/key_rules.h"

#include <stdio.h>
#include <string.h>

/* clang-format off */
#define USED(key_) {.key = (key_), .kind = WA_KEY_USED},
#define USED_BY(key_, families_) {.key = (key_), .kind = WA_KEY_USED, .families = (families_)},
#define INERT(key_) {.key = (key_), .kind = WA_KEY_INERT},
#define INERT_IN(key_, families_) {.key = (key_), .kind = WA_KEY_INERT, .families = (families_)},
#define ONLY(key_, only_) {.key = (key_), .kind = WA_KEY_ONLY, .only = (only_)},
#define ONLY_IN(key_, only_, families_)                                                            \
    {.key = (key_), .kind = WA_KEY_ONLY, .only = (only_), .families = (families_)},
#define NONE_OF(key_, meaning_)                                                                    \
    {.key = (key_), .kind = WA_KEY_ONLY, .only = "off", .meaning = (meaning_)},
/* clang-format on */
#define CODES(key_, only_, families_) /* weights_scales.h */                                       \
    {.key = (key_),                                                                                \
     .kind = WA_KEY_ONLY,                                                                          \
     .only = (only_),                                                                              \
     .meaning = "quantised safetensors",                                                           \
     .families = (families_)},

#define MOES "mixtral qwen2_moe qwen3_moe olmoe gpt_oss"
#define NEWER "smollm3 olmo2 olmo3 glm4 phi3 exaone4 ernie4_5 seed_oss arcee " MOES
#define NOT_GPT2 "gemma gemma2 gemma3 llama mistral qwen2 qwen3 granite starcoder2 tinymodel " NEWER
#define EXPERTS "expert models"
#define LATENT "latent attention (MLA)"

static const wa_key_rule rules[] = {
    /* clang-format off */
    /* --- read by config_json.c and config_rope.c --- */
    USED("model_type") USED("architectures") USED("text_config") USED("tie_word_embeddings")
    USED("vocab_size") USED("layer_types")
    USED_BY("hidden_size", NOT_GPT2) USED_BY("num_hidden_layers", NOT_GPT2)
    USED_BY("num_attention_heads", NOT_GPT2) USED_BY("num_key_value_heads", NOT_GPT2)
    USED_BY("intermediate_size", NOT_GPT2) USED_BY("head_dim", NOT_GPT2)
    USED_BY("rms_norm_eps", "gemma gemma2 gemma3 llama mistral qwen2 qwen3 granite tinymodel " NEWER)
    USED_BY("norm_epsilon", "starcoder2")
    ONLY_IN("hidden_act", "silu|null", "gpt_oss") ONLY_IN("swiglu_limit", "7|null", "gpt_oss")
    ONLY_IN("swiglu_alpha", "1.702|null", "gpt_oss") INERT_IN("experts_per_token", "gpt_oss") INERT_IN("initial_context_length", "gpt_oss")
    USED_BY("hidden_act", "gemma llama mistral qwen2 qwen3 granite starcoder2 tinymodel " NEWER)
    USED_BY("hidden_activation", "gemma2 gemma3") INERT_IN("hidden_activation", "gemma")
    INERT_IN("hidden_act", "gemma2 gemma3")
    USED_BY("attention_bias", "gemma gemma2 gemma3 llama qwen3 granite smollm3 olmo2 olmo3 glm4 seed_oss arcee qwen3_moe olmoe gpt_oss")
    USED_BY("mlp_bias", "llama granite smollm3 seed_oss arcee")
    USED_BY("attention_out_bias", "seed_oss") USED_BY("partial_rotary_factor", "glm4 phi3")
    USED_BY("no_rope_layers", "smollm3") USED_BY("no_rope_layer_interval", "smollm3")
    USED_BY("use_bias", "starcoder2 ernie4_5")
    USED_BY("rope_theta", NOT_GPT2) USED_BY("rope_scaling", NOT_GPT2)
    USED_BY("rope_parameters", NOT_GPT2) USED_BY("rope_local_base_freq", "gemma3")
    USED_BY("original_max_position_embeddings", NOT_GPT2)
    USED_BY("sliding_window", "gemma2 gemma3 mistral qwen2 qwen3 starcoder2 smollm3 olmo3 phi3 exaone4 mixtral gpt_oss")
    INERT_IN("sliding_window", "qwen2_moe qwen3_moe") INERT_IN("max_window_layers", "qwen2_moe qwen3_moe")
    ONLY_IN("use_sliding_window", "off", "qwen2_moe qwen3_moe")
    USED_BY("num_local_experts", MOES) USED_BY("num_experts", MOES) USED_BY("num_experts_per_tok", MOES)
    USED_BY("moe_intermediate_size", "qwen2_moe qwen3_moe") USED_BY("norm_topk_prob", "qwen2_moe qwen3_moe olmoe")
    USED_BY("shared_expert_intermediate_size", "qwen2_moe") USED_BY("qkv_bias", "qwen2_moe")
    USED_BY("decoder_sparse_step", "qwen2_moe qwen3_moe") USED_BY("mlp_only_layers", "qwen2_moe qwen3_moe")
    USED_BY("sliding_window_pattern", "gemma2 gemma3 exaone4")
    INERT_IN("_sliding_window_pattern", "gemma3") /* saved beside layer_types, never read */
    USED_BY("use_sliding_window", "qwen2 qwen3 smollm3") USED_BY("max_window_layers", "qwen2 qwen3")
    USED_BY("query_pre_attn_scalar", "gemma2 gemma3")
    USED_BY("attn_logit_softcapping", "gemma2 gemma3")
    USED_BY("final_logit_softcapping", "gemma2 gemma3")
    USED_BY("embedding_multiplier", "granite") USED_BY("attention_multiplier", "granite")
    USED_BY("residual_multiplier", "granite") USED_BY("logits_scaling", "granite")
    USED_BY("n_embd", "gpt2") USED_BY("n_layer", "gpt2") USED_BY("n_head", "gpt2")
    USED_BY("n_inner", "gpt2") USED_BY("n_positions", "gpt2") USED_BY("n_ctx", "gpt2")
    USED_BY("layer_norm_epsilon", "gpt2") USED_BY("activation_function", "gpt2")

    /* --- one value is computed, others are another model --- */
    NONE_OF("num_local_experts", EXPERTS) NONE_OF("num_experts", EXPERTS)
    NONE_OF("n_routed_experts", EXPERTS) NONE_OF("num_routed_experts", EXPERTS)
    NONE_OF("n_shared_experts", EXPERTS) NONE_OF("moe_intermediate_size", EXPERTS)
    NONE_OF("moe_num_experts", EXPERTS) NONE_OF("shared_expert_intermediate_size", EXPERTS)
    NONE_OF("kv_lora_rank", LATENT) NONE_OF("q_lora_rank", LATENT)
    NONE_OF("qk_rope_head_dim", LATENT) NONE_OF("qk_nope_head_dim", LATENT)
    NONE_OF("hidden_size_per_layer_input", "per-layer embeddings (PLE)")
    NONE_OF("num_kv_shared_layers", "shared K/V layers")
    NONE_OF("global_head_dim", "head dimensions that differ by layer")
    CODES("quantization_config", "off|an object, quant_method mxfp4|an object, quant_method fp8", "gpt_oss")
    CODES("quantization_config", "off|an object, quant_method fp8|an object, quant_method fbgemm_fp8", NULL)
    NONE_OF("compression_config", "quantised safetensors")
    NONE_OF("quantization", "quantised safetensors")
    NONE_OF("sparsity_config", "quantised safetensors")
    NONE_OF("weight_bits", "quantised weights") NONE_OF("activation_bits", "quantised activations")
    NONE_OF("input_bits", "quantised activations") NONE_OF("weight_block_size", "quantised weights")
    NONE_OF("linear_class", "quantised weights")
    NONE_OF("block_configs", "layers that differ") NONE_OF("intermediate_sizes", "layers that differ")
    NONE_OF("pruned_heads", "pruned heads")
    ONLY("mlp_bias", "false") ONLY("attention_k_eq_v", "false") ONLY("enable_moe_block", "false")
    ONLY("is_causal", "true|null") ONLY("causal", "true|null") ONLY("causal_attention", "true|null")
    ONLY("bidirectional", "off") ONLY("use_bidirectional_attention", "off")
    ONLY("is_encoder_decoder", "off") ONLY("add_cross_attention", "off")
    ONLY("partial_rotary_factor", "1|null") ONLY("rotary_pct", "1|null")
    ONLY("rotary_emb_fraction", "1|null") ONLY("rope_interleaved", "off")
    ONLY("rotary_emb_interleaved", "off") ONLY("use_mrope", "off") ONLY("use_rope", "true|null") ONLY("no_rope_layers", "off")
    ONLY("no_rope_layer_interval", "off") ONLY("nope_layer_interval", "off")
    ONLY("position_embedding_type", "rope|absolute|null") ONLY("alibi", "off")
    ONLY("use_alibi", "off") ONLY("alibi_bias_max", "off") ONLY("use_ntk", "off")
    ONLY("use_dynamic_ntk", "off") ONLY("use_logn_attn", "off")
    ONLY("clip_qkv", "off") ONLY("qk_layernorm", "off") ONLY("use_qk_norm", "off")
    ONLY("qk_norm", "off") ONLY("attention_sink*", "off") ONLY("attention_chunk_size", "off")
    ONLY("attn_temperature_tuning", "off") ONLY("attn_scale", "off") ONLY("multi_query", "off")
    ONLY("parallel_attn", "off") ONLY("use_parallel_residual", "off")
    ONLY("parallel_residual", "off") ONLY("sandwich_norm", "off") ONLY("attention_gate*", "off")
    ONLY("swiglu_limit", "off") ONLY("swiglu_alpha", "off") ONLY("swiglu_limits", "off")
    ONLY("activation_sparsity_pattern", "off") ONLY("altup_*", "off") ONLY("laurel_rank", "off")
    ONLY("scale_emb", "1|null") ONLY("scale_depth", "off") ONLY("dim_model_base", "off")
    ONLY("mup_*", "off") ONLY("emb_scale*", "1|off") ONLY("embed_scale", "1|off")
    ONLY("normalize_embedding*", "off") ONLY("scale_embedding", "off")
    ONLY("logit_scale", "1|off") ONLY("output_multiplier_scale", "1|off")
    ONLY("logits_soft_cap", "off") ONLY("lm_head_bias", "off") ONLY("mlp_only_layers", "off")
    ONLY("first_k_dense_replace", "off") ONLY("layers_block_type", "off") ONLY("mamba_*", "off")
    ONLY("ssm_*", "off") ONLY("linear_num_*_heads", "off") ONLY("full_attention_interval", "1|off")
    ONLY("residual_in_fp32", "off") ONLY("add_bias_linear", "off") ONLY("post_norm", "off")
    ONLY("rms_norm", "true|null") ONLY("zero_centered_gamma", "off")
    ONLY_IN("scale_attn_weights", "true", "gpt2")
    ONLY_IN("scale_attn_by_inverse_layer_idx", "false", "gpt2")
    ONLY_IN("norm_type", "layer_norm|null", "starcoder2")
    ONLY_IN("mlp_type", "default|null", "starcoder2")
    ONLY("norm_type", "rms_norm|rmsnorm|null") ONLY("mlp_type", "default|null")
    {.key = "auto_map", .kind = WA_KEY_WARNED,
     .meaning = "the model brings code of its own, which is not run; its model type is computed as "
                "the table of families has it"},

    /* --- of no weight in the numbers computed here --- */
    INERT("attention_bias") INERT("use_bias") INERT("*_bias") /* stored biases decide: unread.h */
    INERT("max_position_embeddings") INERT("initializer_range") INERT("initializer_factor")
    INERT("*dropout") INERT("*_dropout_prob") INERT("*_pdrop") INERT("router_jitter_noise")
    INERT("*_token_id") INERT("*_token_index") INERT("*_token_ids") INERT("*_loss_coef")
    INERT("torch_dtype") INERT("dtype") INERT("transformers_version") INERT("use_cache")
    INERT("pretraining_tp") INERT("_name_or_path") INERT("name_or_path") INERT("_commit_hash")
    INERT("*attn_implementation") INERT("_attn_implementation_*") INERT("use_flash_attn*")
    INERT("torchscript") INERT("return_dict*") INERT("output_attentions")
    INERT("output_hidden_states") INERT("output_scores") INERT("output_router_logits")
    INERT("id2label") INERT("label2id") INERT("num_labels") INERT("problem_type")
    INERT("finetuning_task") INERT("is_decoder") INERT("cross_attention_hidden_size")
    INERT("tie_encoder_decoder") INERT("tokenizer_class") INERT("processor_class") INERT("prefix")
    INERT("task_specific_params") INERT("summary_*") INERT("temperature") INERT("top_k")
    INERT("top_p") INERT("typical_p") INERT("do_sample") INERT("num_beams") INERT("num_beam_groups")
    INERT("max_length") INERT("min_length") INERT("max_new_tokens") INERT("repetition_penalty")
    INERT("encoder_no_repeat_ngram_size") INERT("no_repeat_ngram_size") INERT("length_penalty")
    INERT("early_stopping") INERT("diversity_penalty") INERT("num_return_sequences")
    INERT("bad_words_ids") INERT("suppress_tokens") INERT("begin_suppress_tokens")
    INERT("exponential_decay_length_penalty") INERT("remove_invalid_values")
    INERT("chunk_size_feed_forward") INERT("use_bfloat16") INERT("tf_legacy_loss")
    INERT("cache_implementation") INERT("gradient_checkpointing") INERT("reorder_and_upcast_attn")
    INERT("num_experts_per_tok") INERT("norm_topk_prob") INERT("decoder_sparse_step")
    INERT("num_nextn_predict_layers") INERT("num_mtp_*") INERT("mm_tokens_per_image")
    INERT("image_seq_length") INERT("vision_feature_*") INERT("projector_hidden_act")
    INERT("multimodal_projector_bias") INERT("image_grid_pinpoints") INERT("*_config")
    INERT("unsloth_*") INERT("model_name") INERT("license") INERT("_flash_attn_2_enabled")
    INERT("transformers.js_config") INERT("is_llama_config") INERT("_num_labels")
    INERT("max_sequence_length") INERT("model_max_length")
    /* clang-format on */
};

static void value_of(const json_t *json, wa_key_value *out)
{
    const char *method;
    *out = (wa_key_value){.is_off = false};
    switch (json_typeof(json)) {
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
        out->is_off = !json_is_true(json);
        (void)snprintf(out->text, sizeof out->text, "%s",
                       json_is_null(json)   ? "null"
                       : json_is_true(json) ? "true"
                                            : "false");
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        out->is_off = json_number_value(json) == 0;
        (void)snprintf(out->text, sizeof out->text, "%.12g", json_number_value(json));
        break;
    case JSON_STRING:
        out->is_off = json_string_length(json) == 0;
        (void)snprintf(out->text, sizeof out->text, "%.60s", json_string_value(json));
        break;
    case JSON_ARRAY:
        out->is_off = json_array_size(json) == 0;
        (void)snprintf(out->text, sizeof out->text, "an array of %zu", json_array_size(json));
        break;
    case JSON_OBJECT:
        out->is_off = json_object_size(json) == 0;
        /* of a quantised checkpoint "fp8", "gptq", "awq", "compressed-tensors", … */
        method = json_string_value(json_object_get(json, "quant_method"));
        (void)snprintf(out->text, sizeof out->text, "an object%s%.30s",
                       method == NULL ? "" : ", quant_method ", method == NULL ? "" : method);
        break;
    }
}

static wa_status walk(const json_t *object, const wa_family *family, wa_notes *notes,
                      wa_listing *unknown, wa_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        const wa_key_rule *rule =
            wa_key_find(rules, sizeof rules / sizeof rules[0], key, family->family);
        wa_key_value shown;
        value_of(value, &shown);
        if (rule != NULL)
            WA_TRY(wa_key_judge(rule, key, &shown, notes, err));
        else if (!json_is_null(value))
            wa_listing_add(unknown, key);
    }
    return WA_OK;
}

/* --- architectures --- */

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static bool predicts(const char *class_name)
{
    static const char *const ends[] = {"ForCausalLM", "ForConditionalGeneration", "LMHeadModel"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (ends_with(class_name, ends[i]))
            return true;
    return false;
}

/* One of the classes must be one that predicts the next token; one of another family's is told,
 * since the model type decides. Beside a text_config it is the class of the whole. */
static wa_status check_architectures(const json_t *root, bool is_whole, const wa_family *family,
                                     wa_notes *notes, wa_error *err)
{
    const json_t *list = json_object_get(root, "architectures");
    const char *found = NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        found = name != NULL ? name : "no string";
        if (name == NULL || !predicts(name))
            continue;
        if (is_whole || family->classes == NULL || wa_key_has_word(family->classes, ' ', name))
            return WA_OK;
        return wa_notes_add(notes, err,
                            "'architectures' names %.100s, which is no class of family '%s'; the "
                            "model type decides",
                            name, family->family);
    }
    if (found == NULL)
        return WA_OK; /* absent, null or empty: nothing is claimed */
    return wa_fail(err, WA_E_UNSUPPORTED,
                   "'architectures' names %.100s, which predicts no next token; expected a class "
                   "…ForCausalLM, …ForConditionalGeneration or …LMHeadModel",
                   found);
}

wa_status wa_config_keys_json(const json_t *root, const json_t *text, const wa_family *family,
                              wa_notes *notes, wa_error *err)
{
    wa_listing unknown = {0};
    WA_TRY(walk(text, family, notes, &unknown, err));
    if (root != text)
        WA_TRY(walk(root, family, notes, &unknown, err));
    WA_TRY(check_architectures(root, root != text, family, notes, err));
    if (unknown.count == 0)
        return WA_OK;
    return wa_notes_add(notes, err, "keys of config.json that family '%s' does not know: %s",
                        family->family, wa_listing_text(&unknown));
}

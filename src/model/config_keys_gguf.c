/* The keys of GGUF metadata, as one table, and the walk over a file's. */
#include "model/config_keys.h"
#include "model/key_rules.h"

#include <stdio.h>
#include <string.h>

/* clang-format off */
#define USED(key_) {.key = (key_), .kind = WA_KEY_USED},
#define USED_BY(key_, families_) {.key = (key_), .kind = WA_KEY_USED, .families = (families_)},
#define INERT(key_) {.key = (key_), .kind = WA_KEY_INERT},
#define ONLY(key_, only_) {.key = (key_), .kind = WA_KEY_ONLY, .only = (only_)},
#define NONE_OF(key_, meaning_)                                                                    \
    {.key = (key_), .kind = WA_KEY_ONLY, .only = "off", .meaning = (meaning_)},
/* clang-format on */

/* The architecture's own keys begin with a point: "llama.block_count" is ".block_count". */
static const wa_key_rule rules[] = {
    /* clang-format off */
    /* --- read by config_gguf.c --- */
    USED(".block_count") USED(".embedding_length") USED(".feed_forward_length")
    USED(".attention.head_count") USED(".attention.head_count_kv") USED(".attention.key_length")
    USED(".attention.value_length") USED(".attention.layer_norm_rms_epsilon")
    USED(".attention.layer_norm_epsilon") USED(".rope.freq_base") USED(".rope.dimension_count")
    USED(".rope.scaling.type") USED(".rope.scaling.factor") USED(".rope.scale_linear")
    USED(".rope.scaling.original_context_length") USED(".rope.scaling.yarn_beta_fast") USED(".rope.scaling.yarn_beta_slow")
    USED(".vocab_size") USED(".expert_count") USED(".expert_used_count") USED(".expert_feed_forward_length")
    USED_BY(".expert_shared_feed_forward_length", "qwen2_moe")
    USED(".rope.freq_base_swa") USED(".rope.dimension_count_swa")
    USED(".attention.key_length_swa") USED(".attention.value_length_swa")
    USED(".rope.scaling.yarn_ext_factor")
    USED_BY(".attention.sliding_window", "gemma2 gemma3 llama qwen2 qwen3 starcoder2 phi3 exaone4 mixtral gpt_oss")
    USED_BY(".attention.sliding_window_pattern", "gemma2 gemma3 llama qwen2 qwen3 starcoder2 phi3 exaone4 mixtral gpt_oss")
    USED_BY(".attn_logit_softcapping", "gemma2 gemma3")
    USED_BY(".final_logit_softcapping", "gemma2 gemma3")
    USED_BY(".embedding_scale", "granite") USED_BY(".residual_scale", "granite")
    USED_BY(".attention.scale", "granite") USED_BY(".logit_scale", "granite")

    /* --- one value is computed, others are another model --- */
    NONE_OF(".expert_shared_count", "expert models")
    NONE_OF(".attention.q_lora_rank", "latent attention (MLA)")
    NONE_OF(".attention.kv_lora_rank", "latent attention (MLA)")
    NONE_OF(".attention.key_length_mla", "latent attention (MLA)")
    NONE_OF(".attention.shared_kv_layers", "shared K/V layers")
    NONE_OF(".embedding_length_per_layer_input", "per-layer embeddings (PLE)")
    NONE_OF(".altup.*", "alternating updates") NONE_OF("adapter.*", "adapters")
    NONE_OF(".ssm.*", "state space layers") NONE_OF(".wkv.*", "state space layers")
    ONLY(".attention.causal", "true|1") ONLY(".attention.clamp_kqv", "off")
    ONLY(".attention.max_alibi_bias", "off") ONLY(".attention.relative_buckets_count", "off")
    ONLY(".attention.temperature_*", "off") ONLY(".attention.output_scale", "1|off")
    ONLY(".attention.group_norm_*", "off") ONLY(".attention.scale", "off")
    ONLY(".attn_logit_softcapping", "off") ONLY(".final_logit_softcapping", "off")
    ONLY(".router_logit_softcapping", "off") ONLY(".logit_scale", "1|off")
    ONLY(".residual_scale", "1|off") ONLY(".embedding_scale", "1|off")
    ONLY(".use_parallel_residual", "off") ONLY(".pooling_type", "off") ONLY(".swin_norm", "off")
    ONLY(".rescale_every_n_layers", "off") ONLY(".activation_sparsity_scale", "off")
    ONLY(".leading_dense_block_count", "off") ONLY(".swiglu_clamp_*", "off")
    ONLY(".rope.dimension_sections", "off") ONLY(".rope.scaling.attn_factor", "1")
    ONLY(".rope.scaling.yarn_attn_factor", "1")
    /* of granite alone llama.cpp reads this: whether it rotates at all */
    {.key = ".rope.scaling.finetuned", .kind = WA_KEY_ONLY, .only = "true|1", .families = "granite"},
    ONLY(".rope.scaling.yarn_log_multiplier", "off") ONLY(".expert_gating_func", "1|off") ONLY(".expert_weights_scale", "1|off")
    ONLY(".expert_group_*", "off") ONLY(".expert_shared_feed_forward_length", "off")
    ONLY(".rope.scaling.alpha", "off") ONLY(".attention.sliding_window", "off")
    ONLY(".full_attention_interval", "1|off")

    /* --- of no weight in the numbers computed here --- */
    INERT("general.*") INERT("tokenizer.*") INERT("split.*") INERT("quantize.*")
    INERT("imatrix.*") INERT("mradermacher.*") INERT("GGUF.*")
    INERT(".vision.*") INERT(".mm.*") INERT("clip.*") /* towers */
    INERT(".context_length") INERT(".tensor_data_layout") INERT(".expert_*")
    INERT(".nextn_predict_layers") INERT(".decoder_start_token_id")
    INERT(".rope.scaling.finetuned")
    /* clang-format on */
};

wa_status wa_config_keys_gguf(const wa_gguf *gguf, const char *architecture,
                              const wa_family *family, wa_notes *notes, wa_error *err)
{
    wa_listing unknown = {0};
    size_t prefix = strlen(architecture);
    for (size_t i = 0; i < wa_gguf_key_count(gguf); i++) {
        wa_bytes stored = wa_gguf_key_at(gguf, i);
        char key[128];
        (void)snprintf(key, sizeof key, "%.*s", (int)(stored.size < 120 ? stored.size : 120),
                       (const char *)stored.data);
        bool own = strncmp(key, architecture, prefix) == 0 && key[prefix] == '.';
        const wa_key_rule *rule = wa_key_find(rules, sizeof rules / sizeof rules[0],
                                              own ? key + prefix : key, family->family);
        if (rule == NULL) {
            wa_listing_add(&unknown, key);
            continue;
        }
        wa_key_value value = {.is_off = false};
        wa_gguf_value_text(gguf, i, value.text, sizeof value.text, &value.is_off);
        WA_TRY(wa_key_judge(rule, key, &value, notes, err));
    }
    if (unknown.count == 0)
        return WA_OK;
    return wa_notes_add(notes, err, "metadata keys that architecture '%s' does not know: %s",
                        architecture, wa_listing_text(&unknown));
}

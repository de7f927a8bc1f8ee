/* The families of synthetic models, as a table: their config.json and the tensors of a layer. */
#include "model/synth_parts.h"

#include <stdio.h>
#include <string.h>

/* clang-format off */
#define NORM(name_) {name_, WA_SYNTH_NORM, WA_SYNTH_H, WA_SYNTH_H}
#define POST_NORM(name_) {name_, WA_SYNTH_POST_NORM, WA_SYNTH_H, WA_SYNTH_H}
#define QK_NORMS(q_, k_)                                                                           \
    {"self_attn.q_norm", WA_SYNTH_QK_NORM, q_, WA_SYNTH_H},                                        \
    {"self_attn.k_norm", WA_SYNTH_QK_NORM, k_, WA_SYNTH_H}
#define ATTENTION(kind_)                                                                           \
    {"self_attn.q_proj", kind_, WA_SYNTH_Q, WA_SYNTH_H},                                           \
    {"self_attn.k_proj", kind_, WA_SYNTH_KV, WA_SYNTH_H},                                          \
    {"self_attn.v_proj", WA_SYNTH_IN, WA_SYNTH_KV, WA_SYNTH_H},                                    \
    {"self_attn.o_proj", WA_SYNTH_OUT, WA_SYNTH_H, WA_SYNTH_Q}
#define QKV_BIASES                                                                                 \
    {"self_attn.q_proj", WA_SYNTH_BIAS, WA_SYNTH_Q, WA_SYNTH_H},                                   \
    {"self_attn.k_proj", WA_SYNTH_BIAS, WA_SYNTH_KV, WA_SYNTH_H},                                  \
    {"self_attn.v_proj", WA_SYNTH_BIAS, WA_SYNTH_KV, WA_SYNTH_H}
#define GATE {"mlp.gate_proj", WA_SYNTH_IN, WA_SYNTH_I, WA_SYNTH_H}
#define UP_DOWN                                                                                    \
    {"mlp.up_proj", WA_SYNTH_IN, WA_SYNTH_I, WA_SYNTH_H},                                          \
    {"mlp.down_proj", WA_SYNTH_OUT, WA_SYNTH_H, WA_SYNTH_I}
#define FUSED_UP_DOWN                                                                              \
    {"mlp.gate_up_proj", WA_SYNTH_IN, WA_SYNTH_2I, WA_SYNTH_H},                                    \
    {"mlp.down_proj", WA_SYNTH_OUT, WA_SYNTH_H, WA_SYNTH_I}
/* clang-format on */

/* clang-format off */
#define EXPERTS_AND_ROUTER(router_, stem_, gate_, up_, down_)                                      \
    {router_, WA_SYNTH_ROUTER, WA_SYNTH_E, WA_SYNTH_H},                                            \
    {stem_ gate_, WA_SYNTH_IN, WA_SYNTH_F, WA_SYNTH_H},                                            \
    {stem_ up_, WA_SYNTH_IN, WA_SYNTH_F, WA_SYNTH_H},                                              \
    {stem_ down_, WA_SYNTH_OUT, WA_SYNTH_H, WA_SYNTH_F}
/* clang-format on */
#define MLP_EXPERTS                                                                                \
    EXPERTS_AND_ROUTER("mlp.gate", "mlp.experts.#.", "gate_proj", "up_proj", "down_proj")

static const wa_synth_experts local_experts = {.count = "num_local_experts"};
static const wa_synth_experts qwen2_experts = {.count = "num_experts",
                                               .features = "moe_intermediate_size",
                                               .shared = "shared_expert_intermediate_size"};
static const wa_synth_experts qwen3_experts = {.count = "num_experts",
                                               .features = "moe_intermediate_size"};
static const wa_synth_experts olmoe_experts = {.count = "num_experts"};

static const wa_synth_family families[] = {
    {.name = "gemma3",
     .like = WA_SYNTH_GEMMA3,
     .post_norms = true,
     .config = "  \"architectures\": [\"Gemma3ForCausalLM\"],\n"
               "  \"model_type\": \"gemma3_text\",\n"
               "  \"hidden_activation\": \"gelu_pytorch_tanh\",\n"
               "  \"rms_norm_eps\": 1e-06,\n"
               "  \"rope_theta\": 1000000.0,\n"
               "  \"rope_local_base_freq\": 10000.0,\n",
     .parts =
         {
             NORM("input_layernorm"),
             ATTENTION(WA_SYNTH_IN),
             QK_NORMS(WA_SYNTH_HEAD, WA_SYNTH_HEAD),
             POST_NORM("post_attention_layernorm"),
             NORM("pre_feedforward_layernorm"),
             POST_NORM("post_feedforward_layernorm"),
             GATE,
             UP_DOWN,
         }},
    {.name = "llama",
     .like = WA_SYNTH_LLAMA,
     .config = "  \"architectures\": [\"LlamaForCausalLM\"],\n"
               "  \"model_type\": \"llama\",\n"
               "  \"hidden_act\": \"silu\",\n"
               "  \"rms_norm_eps\": 1e-05,\n"
               "  \"rope_theta\": 500000.0,\n"
               "  \"mlp_bias\": false,\n",
     .parts =
         {
             NORM("input_layernorm"),
             ATTENTION(WA_SYNTH_SHARP),
             NORM("post_attention_layernorm"),
             GATE,
             UP_DOWN,
         }},
    {.name = "smollm3",
     .like = WA_SYNTH_LLAMA,
     .config = "  \"architectures\": [\"SmolLM3ForCausalLM\"],\n"
               "  \"model_type\": \"smollm3\",\n"
               "  \"hidden_act\": \"silu\",\n"
               "  \"rms_norm_eps\": 1e-06,\n"
               "  \"rope_theta\": 2000000.0,\n"
               "  \"no_rope_layer_interval\": 4,\n",
     .parts =
         {
             NORM("input_layernorm"),
             ATTENTION(WA_SYNTH_SHARP),
             NORM("post_attention_layernorm"),
             GATE,
             UP_DOWN,
         }},
    {.name = "olmo2",
     .like = WA_SYNTH_LLAMA,
     .post_norms = true,
     .config = "  \"architectures\": [\"Olmo2ForCausalLM\"],\n"
               "  \"model_type\": \"olmo2\",\n"
               "  \"hidden_act\": \"silu\",\n"
               "  \"rms_norm_eps\": 1e-06,\n"
               "  \"rope_theta\": 500000.0,\n",
     .parts =
         {
             ATTENTION(WA_SYNTH_IN),
             QK_NORMS(WA_SYNTH_Q, WA_SYNTH_KV),
             POST_NORM("post_attention_layernorm"),
             POST_NORM("post_feedforward_layernorm"),
             GATE,
             UP_DOWN,
         }},
    {.name = "olmo3",
     .like = WA_SYNTH_LLAMA,
     .post_norms = true,
     .config = "  \"architectures\": [\"Olmo3ForCausalLM\"],\n"
               "  \"model_type\": \"olmo3\",\n"
               "  \"hidden_act\": \"silu\",\n"
               "  \"rms_norm_eps\": 1e-06,\n"
               "  \"rope_theta\": 500000.0,\n"
               "  \"sliding_window\": 64,\n",
     .parts =
         {
             ATTENTION(WA_SYNTH_IN),
             QK_NORMS(WA_SYNTH_Q, WA_SYNTH_KV),
             POST_NORM("post_attention_layernorm"),
             POST_NORM("post_feedforward_layernorm"),
             GATE,
             UP_DOWN,
         }},
    {.name = "glm4",
     .like = WA_SYNTH_LLAMA,
     .post_norms = true,
     .attention_bias = true,
     .config = "  \"architectures\": [\"Glm4ForCausalLM\"],\n"
               "  \"model_type\": \"glm4\",\n"
               "  \"hidden_act\": \"silu\",\n"
               "  \"rms_norm_eps\": 1e-05,\n"
               "  \"rope_theta\": 10000.0,\n"
               "  \"partial_rotary_factor\": 0.5,\n",
     .parts =
         {
             NORM("input_layernorm"),
             ATTENTION(WA_SYNTH_SHARP),
             QKV_BIASES,
             POST_NORM("post_self_attn_layernorm"),
             NORM("post_attention_layernorm"),
             POST_NORM("post_mlp_layernorm"),
             FUSED_UP_DOWN,
         }},
    {.name = "phi3",
     .like = WA_SYNTH_LLAMA,
     .config = "  \"architectures\": [\"Phi3ForCausalLM\"],\n"
               "  \"model_type\": \"phi3\",\n"
               "  \"hidden_act\": \"silu\",\n"
               "  \"rms_norm_eps\": 1e-05,\n"
               "  \"rope_theta\": 10000.0,\n"
               "  \"original_max_position_embeddings\": 8192,\n",
     .parts =
         {
             NORM("input_layernorm"),
             {"self_attn.qkv_proj", WA_SYNTH_SHARP, WA_SYNTH_QKV, WA_SYNTH_H},
             {"self_attn.o_proj", WA_SYNTH_OUT, WA_SYNTH_H, WA_SYNTH_Q},
             NORM("post_attention_layernorm"),
             FUSED_UP_DOWN,
         }},
    {.name = "exaone4",
     .like = WA_SYNTH_LLAMA,
     .post_norms = true,
     .config = "  \"architectures\": [\"Exaone4ForCausalLM\"],\n"
               "  \"model_type\": \"exaone4\",\n"
               "  \"hidden_act\": \"silu\",\n"
               "  \"rms_norm_eps\": 1e-05,\n"
               "  \"rope_theta\": 1000000.0,\n"
               "  \"sliding_window\": 64,\n"
               "  \"sliding_window_pattern\": 4,\n",
     .parts =
         {
             ATTENTION(WA_SYNTH_IN),
             QK_NORMS(WA_SYNTH_HEAD, WA_SYNTH_HEAD),
             POST_NORM("post_attention_layernorm"),
             POST_NORM("post_feedforward_layernorm"),
             GATE,
             UP_DOWN,
         }},
    {.name = "ernie4_5",
     .like = WA_SYNTH_LLAMA,
     .config = "  \"architectures\": [\"Ernie4_5ForCausalLM\"],\n"
               "  \"model_type\": \"ernie4_5\",\n"
               "  \"hidden_act\": \"silu\",\n"
               "  \"rms_norm_eps\": 1e-05,\n"
               "  \"rope_theta\": 500000.0,\n"
               "  \"use_bias\": false,\n",
     .parts =
         {
             NORM("input_layernorm"),
             ATTENTION(WA_SYNTH_SHARP),
             NORM("post_attention_layernorm"),
             GATE,
             UP_DOWN,
         }},
    {.name = "seed_oss",
     .like = WA_SYNTH_LLAMA,
     .attention_bias = true,
     .config = "  \"architectures\": [\"SeedOssForCausalLM\"],\n"
               "  \"model_type\": \"seed_oss\",\n"
               "  \"hidden_act\": \"silu\",\n"
               "  \"rms_norm_eps\": 1e-06,\n"
               "  \"rope_theta\": 10000000.0,\n"
               "  \"mlp_bias\": false,\n"
               "  \"attention_out_bias\": false,\n",
     .parts =
         {
             NORM("input_layernorm"),
             ATTENTION(WA_SYNTH_SHARP),
             QKV_BIASES,
             NORM("post_attention_layernorm"),
             GATE,
             UP_DOWN,
         }},
    {.name = "arcee",
     .like = WA_SYNTH_LLAMA,
     .config = "  \"architectures\": [\"ArceeForCausalLM\"],\n"
               "  \"model_type\": \"arcee\",\n"
               "  \"hidden_act\": \"relu2\",\n"
               "  \"rms_norm_eps\": 1e-05,\n"
               "  \"rope_theta\": 10000.0,\n"
               "  \"mlp_bias\": false,\n",
     .parts =
         {
             NORM("input_layernorm"),
             ATTENTION(WA_SYNTH_SHARP),
             NORM("post_attention_layernorm"),
             UP_DOWN,
         }},
    {.name = "mixtral",
     .like = WA_SYNTH_LLAMA,
     .experts = &local_experts,
     .config = "  \"architectures\": [\"MixtralForCausalLM\"],\n"
               "  \"model_type\": \"mixtral\",\n"
               "  \"hidden_act\": \"silu\",\n"
               "  \"rms_norm_eps\": 1e-05,\n"
               "  \"rope_theta\": 1000000.0,\n"
               "  \"sliding_window\": null,\n",
     .parts =
         {
             NORM("input_layernorm"),
             ATTENTION(WA_SYNTH_SHARP),
             NORM("post_attention_layernorm"),
             EXPERTS_AND_ROUTER("block_sparse_moe.gate", "block_sparse_moe.experts.#.", "w1", "w3",
                                "w2"),
         }},
    {.name = "qwen2_moe",
     .like = WA_SYNTH_LLAMA,
     .experts = &qwen2_experts,
     .config = "  \"architectures\": [\"Qwen2MoeForCausalLM\"],\n"
               "  \"model_type\": \"qwen2_moe\",\n"
               "  \"hidden_act\": \"silu\",\n"
               "  \"rms_norm_eps\": 1e-06,\n"
               "  \"rope_theta\": 1000000.0,\n"
               "  \"norm_topk_prob\": false,\n"
               "  \"decoder_sparse_step\": 1,\n"
               "  \"use_sliding_window\": false,\n",
     .parts =
         {
             NORM("input_layernorm"),
             ATTENTION(WA_SYNTH_SHARP),
             QKV_BIASES,
             NORM("post_attention_layernorm"),
             MLP_EXPERTS,
             {"mlp.shared_expert_gate", WA_SYNTH_IN, WA_SYNTH_ONE, WA_SYNTH_H},
             {"mlp.shared_expert.gate_proj", WA_SYNTH_IN, WA_SYNTH_S, WA_SYNTH_H},
             {"mlp.shared_expert.up_proj", WA_SYNTH_IN, WA_SYNTH_S, WA_SYNTH_H},
             {"mlp.shared_expert.down_proj", WA_SYNTH_OUT, WA_SYNTH_H, WA_SYNTH_S},
         }},
    {.name = "qwen3_moe",
     .like = WA_SYNTH_LLAMA,
     .experts = &qwen3_experts,
     .config = "  \"architectures\": [\"Qwen3MoeForCausalLM\"],\n"
               "  \"model_type\": \"qwen3_moe\",\n"
               "  \"hidden_act\": \"silu\",\n"
               "  \"rms_norm_eps\": 1e-06,\n"
               "  \"rope_theta\": 1000000.0,\n"
               "  \"norm_topk_prob\": true,\n"
               "  \"decoder_sparse_step\": 1,\n"
               "  \"mlp_only_layers\": [],\n",
     .parts =
         {
             NORM("input_layernorm"),
             ATTENTION(WA_SYNTH_IN),
             QK_NORMS(WA_SYNTH_HEAD, WA_SYNTH_HEAD),
             NORM("post_attention_layernorm"),
             MLP_EXPERTS,
         }},
    {.name = "olmoe",
     .like = WA_SYNTH_LLAMA,
     .experts = &olmoe_experts,
     .config = "  \"architectures\": [\"OlmoeForCausalLM\"],\n"
               "  \"model_type\": \"olmoe\",\n"
               "  \"hidden_act\": \"silu\",\n"
               "  \"rms_norm_eps\": 1e-05,\n"
               "  \"rope_theta\": 10000.0,\n"
               "  \"norm_topk_prob\": false,\n",
     .parts =
         {
             NORM("input_layernorm"),
             ATTENTION(WA_SYNTH_IN),
             QK_NORMS(WA_SYNTH_Q, WA_SYNTH_KV),
             NORM("post_attention_layernorm"),
             MLP_EXPERTS,
         }},
    {.name = "gpt_oss",
     .like = WA_SYNTH_LLAMA,
     .attention_bias = true,
     .experts = &local_experts,
     .rope = "{\"rope_type\": \"yarn\", \"factor\": 32.0, \"beta_fast\": 32.0, \"beta_slow\": 1.0, "
             "\"original_max_position_embeddings\": 4096, \"truncate\": false}",
     .config = "  \"architectures\": [\"GptOssForCausalLM\"],\n"
               "  \"model_type\": \"gpt_oss\",\n"
               "  \"hidden_act\": \"silu\",\n"
               "  \"rms_norm_eps\": 1e-05,\n"
               "  \"rope_theta\": 150000.0,\n"
               "  \"sliding_window\": 64,\n"
               "  \"swiglu_limit\": 7.0,\n",
     .parts =
         {
             NORM("input_layernorm"),
             ATTENTION(WA_SYNTH_SHARP),
             QKV_BIASES,
             {"self_attn.o_proj", WA_SYNTH_BIAS, WA_SYNTH_H, WA_SYNTH_Q},
             {"self_attn.sinks", WA_SYNTH_SINKS, WA_SYNTH_HEADS, WA_SYNTH_ONE},
             NORM("post_attention_layernorm"),
             {"mlp.router", WA_SYNTH_ROUTER, WA_SYNTH_E, WA_SYNTH_H},
             {"mlp.router", WA_SYNTH_BIAS, WA_SYNTH_E, WA_SYNTH_H},
             {"mlp.experts.gate_up_proj", WA_SYNTH_STACK_IN, WA_SYNTH_H, WA_SYNTH_2F},
             {"mlp.experts.gate_up_proj_bias", WA_SYNTH_STACK_BIAS, WA_SYNTH_ONE, WA_SYNTH_2F},
             {"mlp.experts.down_proj", WA_SYNTH_STACK_OUT, WA_SYNTH_F, WA_SYNTH_H},
             {"mlp.experts.down_proj_bias", WA_SYNTH_STACK_BIAS, WA_SYNTH_ONE, WA_SYNTH_H},
         }},
};

wa_status wa_synth_family_find(const char *name, const wa_synth_family **out, wa_error *err)
{
    char known[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        if (strcmp(families[i].name, name) == 0) {
            *out = &families[i];
            return WA_OK;
        }
        int more = snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                            families[i].name);
        used += more > 0 ? (size_t)more : 0;
    }
    return wa_fail(err, WA_E_USAGE, "unknown family '%.100s', expected one of %s", name, known);
}

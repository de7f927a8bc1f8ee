/* The families of synthetic models, as a table: their config.json and the tensors of a layer. */
#include "model/synth_parts.h"

#include <stdio.h>
#include <string.h>

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

static const wa_synth_family families[] = {
    {.name = "gemma3",
     .like = WA_SYNTH_GEMMA3,
     .post_norms = true,
     .config =
                  "  \"architectures\": [\"Gemma3ForCausalLM\"],\n"
                  "  \"model_type\": \"gemma3_text\",\n"
                  "  \"hidden_activation\": \"gelu_pytorch_tanh\",\n"
                  "  \"rms_norm_eps\": 1e-06,\n"
                  "  \"rope_theta\": 1000000.0,\n"
                  "  \"rope_local_base_freq\": 10000.0,\n",
     .parts = {
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
     .config =
                  "  \"architectures\": [\"LlamaForCausalLM\"],\n"
                  "  \"model_type\": \"llama\",\n"
                  "  \"hidden_act\": \"silu\",\n"
                  "  \"rms_norm_eps\": 1e-05,\n"
                  "  \"rope_theta\": 500000.0,\n"
                  "  \"mlp_bias\": false,\n",
     .parts = {
                  NORM("input_layernorm"),
                  ATTENTION(WA_SYNTH_SHARP),
                  NORM("post_attention_layernorm"),
                  GATE,
                  UP_DOWN,
     }},
    {.name = "smollm3",
     .like = WA_SYNTH_LLAMA,
     .config =
                  "  \"architectures\": [\"SmolLM3ForCausalLM\"],\n"
                  "  \"model_type\": \"smollm3\",\n"
                  "  \"hidden_act\": \"silu\",\n"
                  "  \"rms_norm_eps\": 1e-06,\n"
                  "  \"rope_theta\": 2000000.0,\n"
                  "  \"no_rope_layer_interval\": 4,\n",
     .parts = {
                  NORM("input_layernorm"),
                  ATTENTION(WA_SYNTH_SHARP),
                  NORM("post_attention_layernorm"),
                  GATE,
                  UP_DOWN,
     }},
    {.name = "olmo2",
     .like = WA_SYNTH_LLAMA,
     .post_norms = true,
     .config =
                  "  \"architectures\": [\"Olmo2ForCausalLM\"],\n"
                  "  \"model_type\": \"olmo2\",\n"
                  "  \"hidden_act\": \"silu\",\n"
                  "  \"rms_norm_eps\": 1e-06,\n"
                  "  \"rope_theta\": 500000.0,\n",
     .parts = {
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
     .config =
                  "  \"architectures\": [\"Olmo3ForCausalLM\"],\n"
                  "  \"model_type\": \"olmo3\",\n"
                  "  \"hidden_act\": \"silu\",\n"
                  "  \"rms_norm_eps\": 1e-06,\n"
                  "  \"rope_theta\": 500000.0,\n"
                  "  \"sliding_window\": 64,\n",
     .parts = {
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
     .config =
                  "  \"architectures\": [\"Glm4ForCausalLM\"],\n"
                  "  \"model_type\": \"glm4\",\n"
                  "  \"hidden_act\": \"silu\",\n"
                  "  \"rms_norm_eps\": 1e-05,\n"
                  "  \"rope_theta\": 10000.0,\n"
                  "  \"partial_rotary_factor\": 0.5,\n",
     .parts = {
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
     .config =
                  "  \"architectures\": [\"Phi3ForCausalLM\"],\n"
                  "  \"model_type\": \"phi3\",\n"
                  "  \"hidden_act\": \"silu\",\n"
                  "  \"rms_norm_eps\": 1e-05,\n"
                  "  \"rope_theta\": 10000.0,\n"
                  "  \"original_max_position_embeddings\": 8192,\n",
     .parts = {
                  NORM("input_layernorm"),
                  {"self_attn.qkv_proj", WA_SYNTH_SHARP, WA_SYNTH_QKV, WA_SYNTH_H},
                  {"self_attn.o_proj", WA_SYNTH_OUT, WA_SYNTH_H, WA_SYNTH_Q},
                  NORM("post_attention_layernorm"),
                  FUSED_UP_DOWN,
     }},
    {.name = "exaone4",
     .like = WA_SYNTH_LLAMA,
     .post_norms = true,
     .config =
                  "  \"architectures\": [\"Exaone4ForCausalLM\"],\n"
                  "  \"model_type\": \"exaone4\",\n"
                  "  \"hidden_act\": \"silu\",\n"
                  "  \"rms_norm_eps\": 1e-05,\n"
                  "  \"rope_theta\": 1000000.0,\n"
                  "  \"sliding_window\": 64,\n"
                  "  \"sliding_window_pattern\": 4,\n",
     .parts = {
                  ATTENTION(WA_SYNTH_IN),
                  QK_NORMS(WA_SYNTH_HEAD, WA_SYNTH_HEAD),
                  POST_NORM("post_attention_layernorm"),
                  POST_NORM("post_feedforward_layernorm"),
                  GATE,
                  UP_DOWN,
     }},
    {.name = "ernie4_5",
     .like = WA_SYNTH_LLAMA,
     .config =
                  "  \"architectures\": [\"Ernie4_5ForCausalLM\"],\n"
                  "  \"model_type\": \"ernie4_5\",\n"
                  "  \"hidden_act\": \"silu\",\n"
                  "  \"rms_norm_eps\": 1e-05,\n"
                  "  \"rope_theta\": 500000.0,\n"
                  "  \"use_bias\": false,\n",
     .parts = {
                  NORM("input_layernorm"),
                  ATTENTION(WA_SYNTH_SHARP),
                  NORM("post_attention_layernorm"),
                  GATE,
                  UP_DOWN,
     }},
    {.name = "seed_oss",
     .like = WA_SYNTH_LLAMA,
     .attention_bias = true,
     .config =
                  "  \"architectures\": [\"SeedOssForCausalLM\"],\n"
                  "  \"model_type\": \"seed_oss\",\n"
                  "  \"hidden_act\": \"silu\",\n"
                  "  \"rms_norm_eps\": 1e-06,\n"
                  "  \"rope_theta\": 10000000.0,\n"
                  "  \"mlp_bias\": false,\n"
                  "  \"attention_out_bias\": false,\n",
     .parts = {
                  NORM("input_layernorm"),
                  ATTENTION(WA_SYNTH_SHARP),
                  QKV_BIASES,
                  NORM("post_attention_layernorm"),
                  GATE,
                  UP_DOWN,
     }},
    {.name = "arcee",
     .like = WA_SYNTH_LLAMA,
     .config =
                  "  \"architectures\": [\"ArceeForCausalLM\"],\n"
                  "  \"model_type\": \"arcee\",\n"
                  "  \"hidden_act\": \"relu2\",\n"
                  "  \"rms_norm_eps\": 1e-05,\n"
                  "  \"rope_theta\": 10000.0,\n"
                  "  \"mlp_bias\": false,\n",
     .parts = {
                  NORM("input_layernorm"),
                  ATTENTION(WA_SYNTH_SHARP),
                  NORM("post_attention_layernorm"),
                  UP_DOWN,
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

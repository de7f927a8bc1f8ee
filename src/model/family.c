/* The families, as tables. Facts: forward-pass.md 2.2, names: forward-pass.md 1.3 and 1.7,
 * refusals: forward-pass.md 2.3. */
#include "model/family.h"

/* --- names --- */

#define LLAMA_NAMES                                                                                \
    [WA_ROLE_EMBEDDING] = "embed_tokens", [WA_ROLE_OUTPUT] = "lm_head",                            \
    [WA_ROLE_FINAL_NORM] = "norm", [WA_ROLE_ATTN_IN] = "input_layernorm",                          \
    [WA_ROLE_Q] = "self_attn.q_proj", [WA_ROLE_K] = "self_attn.k_proj",                            \
    [WA_ROLE_V] = "self_attn.v_proj", [WA_ROLE_O] = "self_attn.o_proj"
#define GATED_NAMES                                                                                \
    [WA_ROLE_GATE] = "mlp.gate_proj", [WA_ROLE_UP] = "mlp.up_proj", [WA_ROLE_DOWN] = "mlp.down_proj"
#define QK_NORM_NAMES [WA_ROLE_Q_NORM] = "self_attn.q_norm", [WA_ROLE_K_NORM] = "self_attn.k_norm"

static const wa_names llama_names = {
    .layer_prefix = "layers.",
    .role = {LLAMA_NAMES, GATED_NAMES,
             QK_NORM_NAMES, [WA_ROLE_FFN_IN] = "post_attention_layernorm"},
};
static const wa_names sandwich_names = {
    .layer_prefix = "layers.",
    .role = {LLAMA_NAMES, GATED_NAMES,
             QK_NORM_NAMES, [WA_ROLE_ATTN_OUT] = "post_attention_layernorm",
             [WA_ROLE_FFN_IN] = "pre_feedforward_layernorm",
             [WA_ROLE_FFN_OUT] = "post_feedforward_layernorm"},
};
static const wa_names post_names = {
    .layer_prefix = "layers.",
    .role = {LLAMA_NAMES, GATED_NAMES,
             QK_NORM_NAMES, [WA_ROLE_ATTN_OUT] = "post_attention_layernorm",
             [WA_ROLE_FFN_OUT] = "post_feedforward_layernorm"},
};
static const wa_names glm4_names = {
    .layer_prefix = "layers.",
    .role =
        {LLAMA_NAMES, [WA_ROLE_ATTN_OUT] = "post_self_attn_layernorm",
         [WA_ROLE_FFN_IN] = "post_attention_layernorm", [WA_ROLE_FFN_OUT] = "post_mlp_layernorm",
         [WA_ROLE_GATE_UP] = "mlp.gate_up_proj", [WA_ROLE_DOWN] = "mlp.down_proj"},
};
static const wa_names phi3_names = {
    .layer_prefix = "layers.",
    .role = {[WA_ROLE_EMBEDDING] = "embed_tokens",
             [WA_ROLE_OUTPUT] = "lm_head",
             [WA_ROLE_FINAL_NORM] = "norm",
             [WA_ROLE_ATTN_IN] = "input_layernorm",
             [WA_ROLE_FFN_IN] = "post_attention_layernorm",
             [WA_ROLE_QKV] = "self_attn.qkv_proj",
             [WA_ROLE_O] = "self_attn.o_proj",
             [WA_ROLE_GATE_UP] = "mlp.gate_up_proj",
             [WA_ROLE_DOWN] = "mlp.down_proj"},
};
static const wa_names mixtral_names = {
    .layer_prefix = "layers.",
    .role = {LLAMA_NAMES, [WA_ROLE_FFN_IN] = "post_attention_layernorm",
             [WA_ROLE_ROUTER] = "block_sparse_moe.gate",
             [WA_ROLE_EXPERT_GATE] = "block_sparse_moe.experts.#.w1",
             [WA_ROLE_EXPERT_UP] = "block_sparse_moe.experts.#.w3",
             [WA_ROLE_EXPERT_DOWN] = "block_sparse_moe.experts.#.w2"},
};
static const wa_names moe_names = {
    .layer_prefix = "layers.",
    .role = {LLAMA_NAMES, GATED_NAMES, QK_NORM_NAMES, [WA_ROLE_FFN_IN] = "post_attention_layernorm",
             [WA_ROLE_ROUTER] = "mlp.gate", [WA_ROLE_EXPERT_GATE] = "mlp.experts.#.gate_proj",
             [WA_ROLE_EXPERT_UP] = "mlp.experts.#.up_proj",
             [WA_ROLE_EXPERT_DOWN] = "mlp.experts.#.down_proj",
             [WA_ROLE_SHARED_WEIGHT] = "mlp.shared_expert_gate",
             [WA_ROLE_SHARED_GATE] = "mlp.shared_expert.gate_proj",
             [WA_ROLE_SHARED_UP] = "mlp.shared_expert.up_proj",
             [WA_ROLE_SHARED_DOWN] = "mlp.shared_expert.down_proj"},
};
static const wa_names gpt_oss_names = {
    .layer_prefix = "layers.",
    .role = {LLAMA_NAMES, [WA_ROLE_FFN_IN] = "post_attention_layernorm",
             [WA_ROLE_SINKS] = "self_attn.sinks", [WA_ROLE_ROUTER] = "mlp.router",
             [WA_ROLE_PACKED_GATE_UP] = "mlp.experts.gate_up_proj",
             [WA_ROLE_PACKED_DOWN] = "mlp.experts.down_proj"},
    .bare = true,
};
static const wa_names starcoder2_names = {
    .layer_prefix = "layers.",
    .role = {LLAMA_NAMES, [WA_ROLE_FFN_IN] = "post_attention_layernorm", [WA_ROLE_UP] = "mlp.c_fc",
             [WA_ROLE_DOWN] = "mlp.c_proj"},
};
static const wa_names gpt2_names = {
    .layer_prefix = "h.",
    .role = {[WA_ROLE_EMBEDDING] = "wte",
             [WA_ROLE_POSITIONS] = "wpe",
             [WA_ROLE_OUTPUT] = "lm_head",
             [WA_ROLE_FINAL_NORM] = "ln_f",
             [WA_ROLE_ATTN_IN] = "ln_1",
             [WA_ROLE_FFN_IN] = "ln_2",
             [WA_ROLE_QKV] = "attn.c_attn",
             [WA_ROLE_O] = "attn.c_proj",
             [WA_ROLE_UP] = "mlp.c_fc",
             [WA_ROLE_DOWN] = "mlp.c_proj"},
    .conv1d = true,
};
static const wa_names tinymodel_names = {
    .layer_prefix = "layers.",
    .role = {[WA_ROLE_EMBEDDING] = "embed",
             [WA_ROLE_OUTPUT] = "lm_head",
             [WA_ROLE_FINAL_NORM] = "norm",
             [WA_ROLE_ATTN_IN] = "attn_norm",
             [WA_ROLE_FFN_IN] = "ffn_norm",
             [WA_ROLE_Q] = "attn.q_proj",
             [WA_ROLE_K] = "attn.k_proj",
             [WA_ROLE_V] = "attn.v_proj",
             [WA_ROLE_O] = "attn.o_proj",
             [WA_ROLE_GATE] = "ffn.gate",
             [WA_ROLE_UP] = "ffn.up",
             [WA_ROLE_DOWN] = "ffn.down"},
};

#define GGUF_NAMES                                                                                 \
    [WA_ROLE_EMBEDDING] = "token_embd", [WA_ROLE_POSITIONS] = "position_embd",                     \
    [WA_ROLE_OUTPUT] = "output", [WA_ROLE_FINAL_NORM] = "output_norm",                             \
    [WA_ROLE_ATTN_IN] = "attn_norm", [WA_ROLE_FFN_IN] = "ffn_norm", [WA_ROLE_Q] = "attn_q",        \
    [WA_ROLE_K] = "attn_k", [WA_ROLE_V] = "attn_v", [WA_ROLE_O] = "attn_output",                   \
    [WA_ROLE_Q_NORM] = "attn_q_norm", [WA_ROLE_K_NORM] = "attn_k_norm",                            \
    [WA_ROLE_GATE] = "ffn_gate", [WA_ROLE_UP] = "ffn_up", [WA_ROLE_DOWN] = "ffn_down"

#define GGUF_EXPERT_NAMES                                                                          \
    [WA_ROLE_ROUTER] = "ffn_gate_inp", [WA_ROLE_PACKED_GATE] = "ffn_gate_exps",                    \
    [WA_ROLE_PACKED_UP] = "ffn_up_exps", [WA_ROLE_PACKED_DOWN] = "ffn_down_exps",                  \
    [WA_ROLE_SHARED_WEIGHT] = "ffn_gate_inp_shexp", [WA_ROLE_SHARED_GATE] = "ffn_gate_shexp",      \
    [WA_ROLE_SHARED_UP] = "ffn_up_shexp", [WA_ROLE_SHARED_DOWN] = "ffn_down_shexp"

static const wa_names gguf_names = {
    .layer_prefix = "blk.",
    .role = {GGUF_NAMES, [WA_ROLE_QKV] = "attn_qkv"},
};
/* Whether a fused tensor of a permuted architecture is permuted too is not defined: not accepted.
 */
static const wa_names gguf_split_names = {.layer_prefix = "blk.",
                                          .role = {GGUF_NAMES, GGUF_EXPERT_NAMES}};
static const wa_names gguf_sandwich_names = {
    .layer_prefix = "blk.",
    .role = {GGUF_NAMES, [WA_ROLE_ATTN_OUT] = "post_attention_norm",
             [WA_ROLE_FFN_OUT] = "post_ffw_norm"},
};

static const wa_names gguf_post_names = {
    .layer_prefix = "blk.",
    .role = {[WA_ROLE_EMBEDDING] = "token_embd",
             [WA_ROLE_OUTPUT] = "output",
             [WA_ROLE_FINAL_NORM] = "output_norm",
             [WA_ROLE_ATTN_OUT] = "post_attention_norm",
             [WA_ROLE_FFN_OUT] = "post_ffw_norm",
             [WA_ROLE_Q] = "attn_q",
             [WA_ROLE_K] = "attn_k",
             [WA_ROLE_V] = "attn_v",
             [WA_ROLE_O] = "attn_output",
             [WA_ROLE_Q_NORM] = "attn_q_norm",
             [WA_ROLE_K_NORM] = "attn_k_norm",
             [WA_ROLE_GATE] = "ffn_gate",
             [WA_ROLE_UP] = "ffn_up",
             [WA_ROLE_DOWN] = "ffn_down"},
};

/* The norm before the FFN has the name of one after attention. */
#define GGUF_LATE_NAMES                                                                            \
    [WA_ROLE_EMBEDDING] = "token_embd", [WA_ROLE_OUTPUT] = "output",                               \
    [WA_ROLE_FINAL_NORM] = "output_norm", [WA_ROLE_ATTN_IN] = "attn_norm",                         \
    [WA_ROLE_FFN_IN] = "post_attention_norm", [WA_ROLE_Q] = "attn_q", [WA_ROLE_K] = "attn_k",      \
    [WA_ROLE_V] = "attn_v", [WA_ROLE_O] = "attn_output", [WA_ROLE_SINKS] = "attn_sinks",           \
    [WA_ROLE_GATE] = "ffn_gate", [WA_ROLE_UP] = "ffn_up", [WA_ROLE_DOWN] = "ffn_down"
static const wa_names gguf_late_names = {.layer_prefix = "blk.", .role = {GGUF_LATE_NAMES}};
static const wa_names gguf_gpt_oss_names = {.layer_prefix = "blk.",
                                            .role = {GGUF_LATE_NAMES, GGUF_EXPERT_NAMES}};
static const wa_names gguf_glm4_names = {
    .layer_prefix = "blk.",
    .role = {[WA_ROLE_EMBEDDING] = "token_embd",
             [WA_ROLE_OUTPUT] = "output",
             [WA_ROLE_FINAL_NORM] = "output_norm",
             [WA_ROLE_ATTN_IN] = "attn_norm",
             [WA_ROLE_ATTN_OUT] = "post_attention_norm",
             [WA_ROLE_FFN_IN] = "ffn_norm",
             [WA_ROLE_FFN_OUT] = "post_ffw_norm",
             [WA_ROLE_Q] = "attn_q",
             [WA_ROLE_K] = "attn_k",
             [WA_ROLE_V] = "attn_v",
             [WA_ROLE_O] = "attn_output",
             [WA_ROLE_GATE_UP] = "ffn_up",
             [WA_ROLE_DOWN] = "ffn_down"},
};
static const wa_names gguf_phi3_names = {
    .layer_prefix = "blk.",
    .role = {[WA_ROLE_EMBEDDING] = "token_embd",
             [WA_ROLE_OUTPUT] = "output",
             [WA_ROLE_FINAL_NORM] = "output_norm",
             [WA_ROLE_ATTN_IN] = "attn_norm",
             [WA_ROLE_FFN_IN] = "ffn_norm",
             [WA_ROLE_QKV] = "attn_qkv",
             [WA_ROLE_O] = "attn_output",
             [WA_ROLE_GATE_UP] = "ffn_up",
             [WA_ROLE_DOWN] = "ffn_down"},
};

/* As all configurations but GPT-2's have them. */
#define SIZE_KEYS                                                                                  \
    .hidden = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",        \
    .intermediate = "intermediate_size"

static const wa_config_keys common_keys = {
    SIZE_KEYS,
    .eps = "rms_norm_eps",
    .activation = "hidden_act",
};
static const wa_config_keys gpt_oss_keys = {
    SIZE_KEYS, .eps = "rms_norm_eps",
    .activation = NULL, /* its hidden_act is "silu", whatever is computed */
};
static const wa_config_keys gemma_keys = {
    SIZE_KEYS,
    .eps = "rms_norm_eps",
    .activation = "hidden_act",
    .gelu_is_tanh = true,
};
static const wa_config_keys gemma2_keys = {
    SIZE_KEYS,
    .eps = "rms_norm_eps",
    .activation = "hidden_activation",
};
static const wa_config_keys starcoder2_keys = {
    SIZE_KEYS,
    .eps = "norm_epsilon",
    .activation = "hidden_act",
};
static const wa_config_keys gpt2_keys = {
    .hidden = "n_embd",
    .layers = "n_layer",
    .heads = "n_head",
    .intermediate = "n_inner",
    .eps = "layer_norm_epsilon",
    .activation = "activation_function",
};

/* --- facts --- */

#define ATTENTION_BIAS .qkv_bias = {"attention_bias", false}, .o_bias = {"attention_bias", false}
#define FFN_BIAS .ffn_bias = {"mlp_bias", false}

#define GEMMA_FACTS                                                                                \
    .norm_kind = WA_NORM_RMS, .norm_offset = 1.0f, .gated = true, .head_dim = 256,                 \
    .activation = WA_GELU_TANH, .eps = 1e-6, ATTENTION_BIAS, .embed = WA_EMBED_SQRT,               \
    .tie = WA_TIE_YES, .larql_rope_base = 1e6
/* A Gemma 3 base of 1e6 is for full layers; sliding ones have their own. The window of 4096 is what
 * the authors' configuration classes assume when the key is absent. */
#define GEMMA3_FACTS                                                                               \
    .keys = &gemma2_keys, .family = "gemma3",                                                      \
    .classes = "Gemma3ForCausalLM Gemma3ForConditionalGeneration", .names = &sandwich_names,       \
    .blocks = WA_BLOCKS_SANDWICH, .qk_norm = WA_QK_NORM_HEADS,                                     \
    .local_rope_key = "rope_local_base_freq", .window_rule = WA_WINDOW_PATTERN,                    \
    .window_pattern = 6, .window = 4096, .rope_base = 1e6, .local_rope_base = 1e4, .q_heads = 8,   \
    .kv_heads = 4, .attn_scalar = 256, .caps = true
#define GATED_FACTS                                                                                \
    .keys = &common_keys, .norm_kind = WA_NORM_RMS, .gated = true, .activation = WA_SILU,          \
    .larql_rope_base = 1e4
#define LLAMA_FACTS GATED_FACTS, .eps = 1e-6, .rope_base = 1e4
#define NOT_LARQL "LARQL knows no such family and runs it as Llama, which is not the model"
/* Norms after the blocks, as OLMo and EXAONE have them. */
#define POST_FACTS                                                                                 \
    .names = &post_names, GATED_FACTS, .blocks = WA_BLOCKS_POST, .larql_refusal = NOT_LARQL

/* Experts (larql-2026-08.md 5.5); what is not given is what the authors' configuration classes
 * assume. */
#define NOT_NORMED                                                                                 \
    "LARQL feeds router and experts the residual without its norm, which is not the model (N13)"
static const wa_expert_rule mixtral_experts = {
    .count = 8, .chosen = 2, .features_key = "intermediate_size", .features = 14336};
static const wa_expert_rule qwen2_moe_experts = {.count = 60,
                                                 .chosen = 4,
                                                 .features_key = "moe_intermediate_size",
                                                 .features = 1408,
                                                 .shared = 5632,
                                                 .renormalise_key = "norm_topk_prob",
                                                 .some_dense = true};
static const wa_expert_rule qwen3_moe_experts = {.count = 128,
                                                 .chosen = 8,
                                                 .features_key = "moe_intermediate_size",
                                                 .features = 768,
                                                 .renormalise_key = "norm_topk_prob",
                                                 .some_dense = true};
static const wa_expert_rule olmoe_experts = {.count = 64,
                                             .chosen = 8,
                                             .features_key = "intermediate_size",
                                             .features = 2048,
                                             .renormalise_key = "norm_topk_prob"};
static const wa_expert_rule gpt_oss_experts = {.count = 128,
                                               .chosen = 4,
                                               .features_key = "intermediate_size",
                                               .features = 2880,
                                               .biases = true};

enum {
    GEMMA3,
    GEMMA3_TEXT,
    GEMMA2,
    GEMMA,
    LLAMA,
    MISTRAL,
    QWEN2,
    QWEN3,
    GRANITE,
    STARCODER2,
    GPT2,
    TINYMODEL,
    SMOLLM3,
    OLMO2,
    OLMO3,
    GLM4,
    PHI3,
    EXAONE4,
    ERNIE4_5,
    SEED_OSS,
    ARCEE,
    MIXTRAL,
    QWEN2_MOE,
    QWEN3_MOE,
    OLMOE,
    GPT_OSS,
    FAMILY_COUNT
};

static const wa_family families[FAMILY_COUNT] = {
    [GEMMA3] = {.model_type = "gemma3", GEMMA_FACTS, GEMMA3_FACTS},
    [GEMMA3_TEXT] = {.model_type = "gemma3_text", GEMMA_FACTS, GEMMA3_FACTS},
    [GEMMA2] = {.model_type = "gemma2",
                .family = "gemma2",
                .classes = "Gemma2ForCausalLM",
                .keys = &gemma2_keys,
                GEMMA_FACTS,
                .names = &sandwich_names,
                .rope_base = 1e4,
                .blocks = WA_BLOCKS_SANDWICH,
                .window_rule = WA_WINDOW_PATTERN,
                .window_pattern = 2,
                .window = 4096,
                .q_heads = 8,
                .kv_heads = 4,
                .attn_scalar = 256,
                .caps = true,
                .attn_cap = 50,
                .final_cap = 30},
    [GEMMA] = {.model_type = "gemma",
               .family = "gemma",
               .classes = "GemmaForCausalLM",
               .keys = &gemma_keys,
               GEMMA_FACTS,
               .names = &llama_names,
               .rope_base = 1e4,
               .larql_refusal = "LARQL runs Gemma 1 as Gemma 2, which is not the model (S4)"},
    [LLAMA] = {.model_type = "llama",
               .family = "llama",
               .classes = "LlamaForCausalLM LLaMAForCausalLM",
               .names = &llama_names,
               LLAMA_FACTS,
               ATTENTION_BIAS,
               FFN_BIAS},
    [MISTRAL] = {.model_type = "mistral",
                 .family = "mistral",
                 .classes = "MistralForCausalLM",
                 .names = &llama_names,
                 LLAMA_FACTS,
                 .window_rule = WA_WINDOW_ALL,
                 .window = 4096},
    [QWEN2] = {.model_type = "qwen2",
               .family = "qwen2",
               .classes = "Qwen2ForCausalLM",
               .names = &llama_names,
               LLAMA_FACTS,
               .qkv_bias = {NULL, true},
               .window_rule = WA_WINDOW_FLAG,
               .window = 4096},
    [QWEN3] = {.model_type = "qwen3",
               .family = "qwen3",
               .classes = "Qwen3ForCausalLM",
               .names = &llama_names,
               LLAMA_FACTS,
               .qk_norm = WA_QK_NORM_HEADS,
               ATTENTION_BIAS,
               .window_rule = WA_WINDOW_FLAG,
               .window = 4096},
    [GRANITE] = {.model_type = "granite",
                 .family = "granite",
                 .classes = "GraniteForCausalLM",
                 .names = &llama_names,
                 LLAMA_FACTS,
                 ATTENTION_BIAS,
                 FFN_BIAS,
                 .embed = WA_EMBED_MULTIPLIER,
                 .multipliers = true},
    [STARCODER2] = {.model_type = "starcoder2",
                    .family = "starcoder2",
                    .classes = "Starcoder2ForCausalLM",
                    .keys = &starcoder2_keys,
                    .names = &starcoder2_names,
                    .norm_kind = WA_NORM_LAYER,
                    .activation = WA_GELU_TANH,
                    .eps = 1e-5,
                    .qkv_bias = {"use_bias", true},
                    .o_bias = {"use_bias", true},
                    .ffn_bias = {"use_bias", true},
                    .window_rule = WA_WINDOW_ALL,
                    .window_in_all = true,
                    .tie = WA_TIE_YES,
                    .rope_base = 1e4,
                    .larql_rope_base = 1e4},
    [GPT2] = {.model_type = "gpt2",
              .family = "gpt2",
              .classes = "GPT2LMHeadModel",
              .keys = &gpt2_keys,
              .names = &gpt2_names,
              .norm_kind = WA_NORM_LAYER,
              .activation = WA_GELU_TANH,
              .eps = 1e-5,
              .qkv_bias = {NULL, true},
              .o_bias = {NULL, true},
              .ffn_bias = {NULL, true},
              .tie = WA_TIE_YES,
              .position_table = true,
              .rope_base = 1e4,
              .larql_rope_base = 1e4,
              .larql_refusal =
                  "LARQL rotates GPT-2 and drops its positions, which is not the model (S5)"},
    [TINYMODEL] = {.model_type = "tinymodel",
                   .family = "tinymodel",
                   LLAMA_FACTS,
                   .names = &tinymodel_names,
                   .embed = WA_EMBED_SQRT,
                   .tie = WA_TIE_IF_ABSENT},
    [SMOLLM3] = {.model_type = "smollm3",
                 .family = "smollm3",
                 .classes = "SmolLM3ForCausalLM",
                 .names = &llama_names,
                 GATED_FACTS,
                 .eps = 1e-6,
                 .rope_base = 2e6,
                 ATTENTION_BIAS,
                 FFN_BIAS,
                 .nope = WA_NOPE_LISTED,
                 .window_rule = WA_WINDOW_NOPE,
                 .kv_heads = 4,
                 .tie = WA_TIE_YES,
                 .larql_refusal = NOT_LARQL},
    [OLMO2] = {.model_type = "olmo2",
               .family = "olmo2",
               .classes = "Olmo2ForCausalLM",
               POST_FACTS,
               .rope_base = 1e4,
               .eps = 1e-5,
               ATTENTION_BIAS,
               .qk_norm = WA_QK_NORM_WIDE},
    [OLMO3] = {.model_type = "olmo3",
               .family = "olmo3",
               .classes = "Olmo3ForCausalLM",
               POST_FACTS,
               .eps = 1e-5,
               .rope_base = 5e5,
               .local_rope_base = 5e5,
               .local_rope_key = "rope_theta",
               ATTENTION_BIAS,
               .qk_norm = WA_QK_NORM_WIDE,
               .window_rule = WA_WINDOW_PATTERN,
               .window_pattern = 4,
               .window = 4096},
    [GLM4] = {.model_type = "glm4",
              .family = "glm4",
              .classes = "Glm4ForCausalLM",
              .names = &glm4_names,
              GATED_FACTS,
              .rope_base = 1e4,
              .eps = 1.5625e-7,
              .head_dim = 128,
              .kv_heads = 2,
              .blocks = WA_BLOCKS_SANDWICH,
              .qkv_bias = {"attention_bias", true},
              .rotated = 0.5,
              .rope_pairs = true,
              .larql_refusal = NOT_LARQL},
    [PHI3] = {.model_type = "phi3",
              .family = "phi3",
              .classes = "Phi3ForCausalLM",
              .names = &phi3_names,
              GATED_FACTS,
              .rope_base = 1e4,
              .eps = 1e-5,
              .rotated = 1,
              .original_positions = 4096,
              .window_rule = WA_WINDOW_ALL,
              .window_in_all = true,
              .larql_refusal = NOT_LARQL},
    [EXAONE4] = {.model_type = "exaone4",
                 .family = "exaone4",
                 .classes = "Exaone4ForCausalLM",
                 POST_FACTS,
                 .rope_base = 1e4,
                 .eps = 1e-5,
                 .kv_heads = 32,
                 .qk_norm = WA_QK_NORM_HEADS,
                 .nope = WA_NOPE_FULL,
                 .window_rule = WA_WINDOW_PATTERN,
                 .window_pattern = 4,
                 .window = 4096},
    [ERNIE4_5] = {.model_type = "ernie4_5",
                  .family = "ernie4_5",
                  .classes = "Ernie4_5ForCausalLM",
                  .names = &llama_names,
                  GATED_FACTS,
                  .eps = 1e-5,
                  .rope_base = 5e5,
                  .head_dim = 128,
                  .kv_heads = 2,
                  .rope_pairs = true,
                  .qkv_bias = {"use_bias", false},
                  .o_bias = {"use_bias", false},
                  .ffn_bias = {"use_bias", false},
                  .tie = WA_TIE_YES,
                  .larql_refusal = NOT_LARQL},
    [SEED_OSS] = {.model_type = "seed_oss",
                  .family = "seed_oss",
                  .classes = "SeedOssForCausalLM",
                  .names = &llama_names,
                  GATED_FACTS,
                  .eps = 1e-6,
                  .rope_base = 1e4,
                  .head_dim = 128,
                  .kv_heads = 8,
                  .qkv_bias = {"attention_bias", true},
                  .o_bias = {"attention_out_bias", false},
                  FFN_BIAS,
                  .larql_refusal = NOT_LARQL},
    [ARCEE] = {.model_type = "arcee",
               .family = "arcee",
               .classes = "ArceeForCausalLM",
               .keys = &common_keys,
               .names = &llama_names,
               .norm_kind = WA_NORM_RMS,
               .activation = WA_RELU2,
               .eps = 1e-5,
               .rope_base = 1e4,
               .larql_rope_base = 1e4,
               ATTENTION_BIAS,
               FFN_BIAS,
               .larql_refusal = NOT_LARQL},
    [MIXTRAL] = {.model_type = "mixtral",
                 .family = "mixtral",
                 .classes = "MixtralForCausalLM",
                 .names = &mixtral_names,
                 GATED_FACTS,
                 .eps = 1e-5,
                 .rope_base = 1e6,
                 .kv_heads = 8,
                 .window_rule = WA_WINDOW_ALL,
                 .window_in_all = true,
                 .experts = &mixtral_experts,
                 .larql_refusal = NOT_NORMED},
    [QWEN2_MOE] = {.model_type = "qwen2_moe",
                   .family = "qwen2_moe",
                   .classes = "Qwen2MoeForCausalLM",
                   .names = &moe_names,
                   LLAMA_FACTS,
                   .kv_heads = 16,
                   .qkv_bias = {"qkv_bias", true},
                   .experts = &qwen2_moe_experts,
                   .larql_refusal = NOT_NORMED},
    [QWEN3_MOE] = {.model_type = "qwen3_moe",
                   .family = "qwen3_moe",
                   .classes = "Qwen3MoeForCausalLM",
                   .names = &moe_names,
                   LLAMA_FACTS,
                   .kv_heads = 4,
                   .qk_norm = WA_QK_NORM_HEADS,
                   ATTENTION_BIAS,
                   .experts = &qwen3_moe_experts,
                   .larql_refusal = NOT_NORMED},
    [OLMOE] = {.model_type = "olmoe",
               .family = "olmoe",
               .classes = "OlmoeForCausalLM",
               .names = &moe_names,
               GATED_FACTS,
               .eps = 1e-5,
               .rope_base = 1e4,
               ATTENTION_BIAS,
               .qk_norm = WA_QK_NORM_WIDE,
               .experts = &olmoe_experts,
               .larql_refusal = NOT_NORMED},
    [GPT_OSS] = {.model_type = "gpt_oss",
                 .family = "gpt_oss",
                 .classes = "GptOssForCausalLM",
                 .keys = &gpt_oss_keys,
                 .names = &gpt_oss_names,
                 .norm_kind = WA_NORM_RMS,
                 .gated = true,
                 .activation = WA_CLAMPED_GLU,
                 .eps = 1e-5,
                 .rope_base = 1.5e5,
                 .needs_rope_object = true,
                 .head_dim = 64,
                 .kv_heads = 8,
                 .qkv_bias = {"attention_bias", true},
                 .o_bias = {"attention_bias", true},
                 .sinks = true,
                 .window_rule = WA_WINDOW_PATTERN,
                 .window_pattern = 2,
                 .window = 128,
                 .experts = &gpt_oss_experts,
                 .larql_refusal = NOT_NORMED},
};

/* `llama` also stands for Mistral, which is told by its window: all layers, when the key is there.
 */
static const wa_gguf_family gguf_families[] = {
    {.architecture = "gemma3",
     .family = &families[GEMMA3],
     .names = &gguf_sandwich_names,
     .window_rule = WA_WINDOW_PATTERN,
     .larger_layers = 62},
    {.architecture = "gemma2",
     .family = &families[GEMMA2],
     .names = &gguf_sandwich_names,
     .window_rule = WA_WINDOW_PATTERN,
     .window_layers = WA_EVERY_MODEL,
     .larger_layers = 46},
    {.architecture = "gemma", .family = &families[GEMMA], .names = &gguf_names},
    {.architecture = "llama",
     .family = &families[LLAMA],
     .names = &gguf_split_names,
     .rope_pairs = true,
     .window_rule = WA_WINDOW_ALL,
     .with_experts = &families[MIXTRAL]},
    {.architecture = "qwen2",
     .family = &families[QWEN2],
     .names = &gguf_names,
     .window_rule = WA_WINDOW_FLAG},
    {.architecture = "qwen3",
     .family = &families[QWEN3],
     .names = &gguf_names,
     .window_rule = WA_WINDOW_FLAG},
    {.architecture = "granite",
     .family = &families[GRANITE],
     .names = &gguf_split_names,
     .rope_pairs = true},
    {.architecture = "starcoder2",
     .family = &families[STARCODER2],
     .names = &gguf_names,
     .window_rule = WA_WINDOW_ALL},
    {.architecture = "gpt2", .family = &families[GPT2], .names = &gguf_names},
    {.architecture = "arcee",
     .family = &families[ARCEE],
     .names = &gguf_split_names,
     .rope_pairs = true},
    {.architecture = "olmo2", .family = &families[OLMO2], .names = &gguf_post_names},
    {.architecture = "smollm3",
     .family = &families[SMOLLM3],
     .names = &gguf_split_names,
     .rope_pairs = true},
    {.architecture = "glm4",
     .family = &families[GLM4],
     .names = &gguf_glm4_names,
     .rope_pairs = true},
    {.architecture = "phi3",
     .family = &families[PHI3],
     .names = &gguf_phi3_names,
     .window_rule = WA_WINDOW_ALL},
    {.architecture = "exaone4",
     .family = &families[EXAONE4],
     .names = &gguf_post_names,
     .window_rule = WA_WINDOW_PATTERN,
     .window_layers = 64},
    {.architecture = "ernie4_5",
     .family = &families[ERNIE4_5],
     .names = &gguf_names,
     .rope_pairs = true},
    {.architecture = "seed_oss", .family = &families[SEED_OSS], .names = &gguf_late_names},
    {.architecture = "qwen2moe", .family = &families[QWEN2_MOE], .names = &gguf_split_names},
    {.architecture = "qwen3moe",
     .family = &families[QWEN3_MOE],
     .names = &gguf_split_names,
     .renormalised = true},
    {.architecture = "olmoe", .family = &families[OLMOE], .names = &gguf_split_names},
    {.architecture = "gpt-oss",
     .family = &families[GPT_OSS],
     .names = &gguf_gpt_oss_names,
     .window_rule = WA_WINDOW_PATTERN,
     .window_layers = WA_EVERY_MODEL,
     .exact_ramp = true},
};

/* Families that are known and refused: beginning of the type, reason. First match counts. */
static const struct refusal {
    const char *prefix, *reason;
} refusals[] = {
    {"gemma4", "per-layer embeddings, shared K/V and proportional rotation are not computed"},
    {"gemma3n", "per-layer embeddings are not computed"},
    {"granitemoe", "expert models are not computed"},
    {"deepseek", "expert models with latent attention (MLA) are not computed"},
    {"llama4", "expert models are not computed"},
    {"phimoe", "expert models are not computed"},
    {"phi", "parallel blocks of the older Phi models are not computed"},
};

static wa_status refuse(const char *what, const char *type, wa_error *err)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        if (strncmp(type, refusals[i].prefix, strlen(refusals[i].prefix)) == 0)
            return wa_fail(err, WA_E_UNSUPPORTED, "%s '%s' is unsupported: %s", what, type,
                           refusals[i].reason);
    return wa_fail(err, WA_E_UNSUPPORTED, "unknown %s '%.100s'", what, type);
}

wa_status wa_family_find(const char *model_type, const wa_family **out, wa_error *err)
{
    for (size_t i = 0; i < FAMILY_COUNT; i++) {
        if (strcmp(families[i].model_type, model_type) == 0) {
            *out = &families[i];
            return WA_OK;
        }
    }
    return refuse("model type", model_type, err);
}

wa_status wa_gguf_family_find(wa_bytes architecture, const wa_gguf_family **out, wa_error *err)
{
    for (size_t i = 0; i < sizeof gguf_families / sizeof gguf_families[0]; i++) {
        const char *name = gguf_families[i].architecture;
        if (strlen(name) == architecture.size &&
            memcmp(name, architecture.data, architecture.size) == 0) {
            *out = &gguf_families[i];
            return WA_OK;
        }
    }
    char shown[64] = {0};
    size_t kept = architecture.size < sizeof shown - 1 ? architecture.size : sizeof shown - 1;
    memcpy(shown, architecture.data, kept);
    return refuse("architecture", shown, err);
}

bool wa_activation_find(const char *name, wa_activation *out)
{
    static const struct {
        const char *name;
        wa_activation activation;
    } known[] = {
        {"silu", WA_SILU},
        {"swish", WA_SILU},
        {"gelu_pytorch_tanh", WA_GELU_TANH},
        {"gelu_new", WA_GELU_TANH},
        {"gelu_fast", WA_GELU_TANH},
        {"gelu", WA_GELU_ERF},
        {"relu2", WA_RELU2},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, name) == 0) {
            *out = known[i].activation;
            return true;
        }
    }
    return false;
}

"""Write the golden data of this folder: PYTHON make.py [NAME ...], where PYTHON has torch and transformers.

For each variant of VARIANTS: NAME.json, its config.json with the names and shapes of its tensors; NAME.npz, what transformers' own class
computes from the weights of support/random_model.py, in float64 with eager attention (the classes themselves cast norms, softmax and
rotary angles to float32).

Of each prompt: `ids`, `rows` (the positions that are kept), `x` [L, rows, H] (FFN input) and `y` [L, rows, H] (FFN output on that x, in
float64), both stored as float32; `top5_id` and `top5_prob` of the last position.
"""
import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "support"))
import random_model  # noqa: E402

SEED = 7
PROMPTS = {"short": (9, [0, 8]), "long": (24, [3, 6, 9, 16, 20, 23])}
BASE = {"hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 96, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "bos_token_id": None, "eos_token_id": None,
        "pad_token_id": None}


def theta(value, **more):
    return {"rope_parameters": {"rope_theta": value, "rope_type": "default", **more}}


def yarn(**more):
    return {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 12, "rope_theta": 100.0, **more}


SHORT, LONG = [1.0, 1.3, 1.7, 2.0], [1.0, 2.0, 3.5, 5.0]
VARIANTS = {
    "smollm3-interval": {"model_type": "smollm3", "no_rope_layer_interval": 2, "tie_word_embeddings": False, **theta(300.0)},
    "smollm3-listed": {"model_type": "smollm3", "no_rope_layers": [0, 1, 0], "attention_bias": True, **theta(300.0)},
    "smollm3-windows": {"model_type": "smollm3", "no_rope_layers": [1, 0, 1], "use_sliding_window": True, "sliding_window": 6,
                        "rope_theta": 300.0},
    "olmo2-heads": {"model_type": "olmo2", "num_key_value_heads": 4, **theta(300.0)},
    "olmo2-biases": {"model_type": "olmo2", "attention_bias": True, "tie_word_embeddings": True, "num_attention_heads": 2,
                     "num_key_value_heads": 1, **theta(300.0)},
    "olmo2-linear": {"model_type": "olmo2", "rope_theta": 300.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
    "olmo3-absent": {"model_type": "olmo3", "num_hidden_layers": 5, "sliding_window": 5},
    "olmo3-yarn": {"model_type": "olmo3", "sliding_window": 7,
                   "layer_types": ["full_attention", "sliding_attention", "full_attention"],
                   "rope_parameters": {"full_attention": yarn(), "sliding_attention": {"rope_type": "default", "rope_theta": 200.0}}},
    "olmo3-old": {"model_type": "olmo3", "sliding_window": 6, "rope_theta": 500000.0,
                  "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
                  "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16, "attention_factor": 1.2,
                                   "beta_fast": 32.0, "beta_slow": 1.0}},
    "glm4-quarter": {"model_type": "glm4", "head_dim": 16, **theta(50.0, partial_rotary_factor=0.25)},
    "glm4-odd-share": {"model_type": "glm4", "head_dim": 16, "attention_bias": False, **theta(50.0, partial_rotary_factor=0.75)},
    "glm4-old": {"model_type": "glm4", "head_dim": 8, "num_key_value_heads": 1, "tie_word_embeddings": True, "rope_theta": 50.0,
                 "partial_rotary_factor": 0.5},
    "phi3-window": {"model_type": "phi3", "sliding_window": 6, "num_key_value_heads": 4, **theta(300.0)},
    "phi3-partial": {"model_type": "phi3", "original_max_position_embeddings": 12, "num_attention_heads": 2, "num_key_value_heads": 1,
                     "rope_parameters": {"rope_type": "longrope", "rope_theta": 300.0, "partial_rotary_factor": 0.5,
                                         "short_factor": SHORT, "long_factor": LONG}},
    "phi3-su": {"model_type": "phi3", "original_max_position_embeddings": 12, "rope_theta": 300.0, "tie_word_embeddings": True,
                "rope_scaling": {"type": "su", "short_factor": SHORT, "long_factor": LONG, "attention_factor": 1.3,
                                 "original_max_position_embeddings": 12}},
    "exaone4-full": {"model_type": "exaone4", "sliding_window": None, "layer_types": ["full_attention"] * 3, **theta(300.0)},
    "exaone4-pattern": {"model_type": "exaone4", "sliding_window": 6, "sliding_window_pattern": 2, "tie_word_embeddings": True,
                        **theta(300.0)},
    "exaone4-letters": {"model_type": "exaone4", "sliding_window": 5, "sliding_window_pattern": "LLG",
                        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
                        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                         "original_max_position_embeddings": 16}, "rope_theta": 300.0},
    "ernie4_5-untied": {"model_type": "ernie4_5", "tie_word_embeddings": False, "head_dim": 16, **theta(300.0)},
    "ernie4_5-heads": {"model_type": "ernie4_5", "num_key_value_heads": 4, "head_dim": 8, "rope_theta": 300.0},
    "ernie4_5-linear": {"model_type": "ernie4_5", "head_dim": 8, "rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 300.0}},
    "seed_oss-out": {"model_type": "seed_oss", "attention_out_bias": True, "head_dim": 8, **theta(300.0)},
    "seed_oss-plain": {"model_type": "seed_oss", "attention_bias": False, "head_dim": 16, "tie_word_embeddings": True, **theta(300.0)},
    "seed_oss-linear": {"model_type": "seed_oss", "head_dim": 8, "num_key_value_heads": 1, "rope_theta": 300.0,
                        "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    "arcee-biases": {"model_type": "arcee", "attention_bias": True, "mlp_bias": True, **theta(300.0)},
    "arcee-yarn": {"model_type": "arcee", "num_key_value_heads": 1, "rope_parameters": yarn()},
    "arcee-tied": {"model_type": "arcee", "num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": True,
                   **theta(300.0)},
    "llama-biases": {"model_type": "llama", "attention_bias": True, "mlp_bias": True, **theta(300.0)},
    "llama-ffn-biases": {"model_type": "llama", "mlp_bias": True, "tie_word_embeddings": True, "hidden_act": "gelu", **theta(300.0)},
    "granite-ffn-biases": {"model_type": "granite", "mlp_bias": True, "residual_multiplier": 0.5, "attention_multiplier": 0.2,
                           "logits_scaling": 2.0, "embedding_multiplier": 3.0, **theta(300.0)},
    "smollm3-biases": {"model_type": "smollm3", "attention_bias": True, "mlp_bias": True, **theta(300.0)},
    "seed_oss-biases": {"model_type": "seed_oss", "mlp_bias": True, "head_dim": 8, **theta(300.0)},
    "ernie4_5-biases": {"model_type": "ernie4_5", "use_bias": True, "head_dim": 8, **theta(300.0)},
    "llama-yarn-mscale": {"model_type": "llama", "rope_parameters": yarn(mscale=0.8, mscale_all_dim=0.4)},
    "llama-yarn-ramp": {"model_type": "llama", "rope_parameters": yarn(beta_fast=3.0, beta_slow=0.4, truncate=False)},
    "llama-yarn-longer": {"model_type": "llama", "rope_theta": 100.0,
                          "rope_scaling": {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 16}},
    "mistral-yarn": {"model_type": "mistral", "sliding_window": 7, "rope_parameters": yarn(attention_factor=0.9)},
    "qwen2-yarn": {"model_type": "qwen2", "rope_theta": 100.0,
                   "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 12}},
}


def build(name):
    config = {**BASE, **VARIANTS[name]}
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(config))
        known = transformers.AutoConfig.from_pretrained(folder)
    known._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(known, attn_implementation="eager").double().eval()
    state = model.state_dict()
    tied = known.tie_word_embeddings
    shapes = {key: list(value.shape) for key, value in state.items() if not (tied and key == "lm_head.weight")}
    with torch.no_grad():
        for key, values in random_model.tensors(shapes, SEED).items():
            state[key].copy_(torch.tensor(values.reshape(shapes[key]), dtype=torch.float64))
    config["architectures"] = [type(model).__name__]
    return model, config, shapes


def run(model, ids):
    """x (float32), y on that x, and the last position's probabilities."""
    seen = []
    hooks = [layer.mlp.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()[0])) for layer in model.model.layers]
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
    for hook in hooks:
        hook.remove()
    x = [one.float() for one in seen]
    with torch.no_grad():
        y = [layer.mlp(one.double()) for layer, one in zip(model.model.layers, x)]
    return torch.stack(x).numpy(), torch.stack(y).numpy(), torch.softmax(logits.double(), -1).numpy()


def make(name):
    model, config, shapes = build(name)
    (HERE / f"{name}.json").write_text(json.dumps({"seed": SEED, "config": config, "shapes": shapes}) + "\n")
    out = {}
    for prompt, (length, rows) in PROMPTS.items():
        ids = np.random.RandomState(length).randint(0, BASE["vocab_size"], length)
        x, y, p = run(model, ids.tolist())
        top = np.argsort(-p, kind="stable")[:5]
        assert p[top[0]] - p[top[1]] > 1e-4, f"{name}: no clear first token"
        for key, value in (("ids", ids.astype("<i4")), ("rows", np.array(rows, "<i4")), ("x", x[:, rows].astype("<f4")),
                           ("y", y[:, rows].astype("<f4")), ("top5_id", top.astype("<i4")), ("top5_prob", p[top])):
            out[f"{prompt}/{key}"] = value
    np.savez_compressed(HERE / f"{name}.npz", **out)
    print(name, (HERE / f"{name}.npz").stat().st_size)


for wanted in sys.argv[1:] or VARIANTS:
    make(wanted)

"""Write the golden data of this folder: PYTHON make.py [NAME ...], where PYTHON has torch and transformers.

For each variant of VARIANTS: NAME.json, its config.json with the names and shapes of its tensors as transformers saves them; NAME.npz,
what transformers' own class computes from the weights of support/random_model.py, in float64 with eager attention and eager experts (the
classes themselves cast norms, softmax, rotary angles and the softmax of routers to float32).

Of each prompt: `ids`, `rows` (the positions that are kept), `x` [L, rows, H] (input of the FFN or of the experts) and `y` [L, rows, H]
(output on that x, in float64), both stored as float32; `top5_id` and `top5_prob` of the last position; of layers with experts, for that
x: `expert_id` and `expert_weight` [L, rows, k], and `margin` [L, rows], the logit of the last chosen less that of the first not chosen
(-1 and NaN in other layers).
"""
import json
import pathlib
import struct
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
BASE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 96, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "bos_token_id": None, "eos_token_id": None,
        "pad_token_id": None}


def theta(value, **more):
    return {"rope_parameters": {"rope_theta": value, "rope_type": "default", **more}}


VARIANTS = {
    "mixtral-window": {"model_type": "mixtral", "num_local_experts": 5, "num_experts_per_tok": 2, "sliding_window": 6, **theta(300.0)},
    "mixtral-single": {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 1, "tie_word_embeddings": True,
                       "head_dim": 16, "rope_theta": 300.0},
    "mixtral-all": {"model_type": "mixtral", "num_local_experts": 3, "num_experts_per_tok": 3, "num_key_value_heads": 1, **theta(300.0)},
    "qwen2_moe-shared": {"model_type": "qwen2_moe", "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
                         "shared_expert_intermediate_size": 64, **theta(300.0)},
    "qwen2_moe-listed": {"model_type": "qwen2_moe", "num_experts": 4, "num_experts_per_tok": 3, "moe_intermediate_size": 32,
                         "shared_expert_intermediate_size": 16, "mlp_only_layers": [1], "norm_topk_prob": True, "rope_theta": 300.0},
    "qwen2_moe-step": {"model_type": "qwen2_moe", "num_experts": 7, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
                       "shared_expert_intermediate_size": 24, "decoder_sparse_step": 2, "qkv_bias": False, **theta(300.0)},
    "qwen3_moe-raw": {"model_type": "qwen3_moe", "num_experts": 9, "num_experts_per_tok": 4, "moe_intermediate_size": 16, "head_dim": 8,
                      **theta(300.0)},
    "qwen3_moe-sum": {"model_type": "qwen3_moe", "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 40, "head_dim": 16,
                      "norm_topk_prob": True, "attention_bias": True, "decoder_sparse_step": 2, "mlp_only_layers": [0], **theta(300.0)},
    "qwen3_moe-yarn": {"model_type": "qwen3_moe", "num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "head_dim": 8,
                       "norm_topk_prob": True, "tie_word_embeddings": True,
                       "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 12, "rope_theta": 100.0}},
    "gpt_oss-window": {"model_type": "gpt_oss", "num_local_experts": 5, "num_experts_per_tok": 2, "head_dim": 16, "sliding_window": 6,
                       "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
                       "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 12, "rope_theta": 100.0,
                                           "truncate": False}},
    "gpt_oss-alternating": {"model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 16, "sliding_window": 6,
                            "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 12,
                                                "rope_theta": 100.0, "truncate": False}},
    "gpt_oss-plain": {"model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 3, "head_dim": 8, "attention_bias": False,
                      "tie_word_embeddings": True, "sliding_window": 5, **theta(300.0)},
    "gpt_oss-all": {"model_type": "gpt_oss", "num_local_experts": 3, "num_experts_per_tok": 3, "head_dim": 8, "num_key_value_heads": 1,
                    "num_hidden_layers": 4, "sliding_window": 7, "rope_theta": 300.0,
                    "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16, "truncate": True}},
    "olmoe-raw": {"model_type": "olmoe", "num_experts": 8, "num_experts_per_tok": 3, **theta(300.0)},
    "olmoe-sum": {"model_type": "olmoe", "num_experts": 5, "num_experts_per_tok": 2, "norm_topk_prob": True, "num_key_value_heads": 4,
                  "tie_word_embeddings": True, **theta(300.0)},
    "olmoe-biases": {"model_type": "olmoe", "num_experts": 6, "num_experts_per_tok": 4, "attention_bias": True, "rope_theta": 300.0},
}


def saved_shapes(folder):
    """Of model.safetensors, as a name has them: transformers keeps experts in one tensor and saves them one by one."""
    out = {}
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        with open(path, "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        out.update({name: entry["shape"] for name, entry in header.items() if name != "__metadata__"})
    return out


def build(name):
    config = {**BASE, **VARIANTS[name]}
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(config))
        known = transformers.AutoConfig.from_pretrained(folder)
        transformers.AutoModelForCausalLM.from_config(known).save_pretrained(folder)
        shapes = saved_shapes(folder)
    with tempfile.TemporaryDirectory() as folder:
        random_model.write(pathlib.Path(folder) / "model", config, shapes, SEED)
        model = transformers.AutoModelForCausalLM.from_pretrained(pathlib.Path(folder) / "model", dtype=torch.float64,
                                                                  attn_implementation="eager", experts_implementation="eager").eval()
    config["architectures"] = [type(model).__name__]
    return model, config, shapes


def router_of(block):
    return getattr(block, "router", None) if hasattr(block, "router") else getattr(block, "gate", None) if hasattr(block, "experts") else None


def routed(block, x, count):
    """expert_id, expert_weight, margin of rows, experts by falling weight."""
    router = router_of(block)
    if router is None:
        return np.full((len(x), count), -1), np.full((len(x), count), np.nan), np.full(len(x), np.nan)
    logits, weights, ids = router(x.double())
    ranked = np.sort(logits.numpy(), axis=-1)[:, ::-1]
    margin = ranked[:, count - 1] - ranked[:, count] if ranked.shape[1] > count else np.full(len(x), np.inf)
    return ids.numpy(), weights.numpy(), margin


def run(model, ids):
    """x (float32), y on that x, routing of that x, and the last position's probabilities."""
    seen = []
    hooks = [layer.mlp.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()[0])) for layer in model.model.layers]
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
    for hook in hooks:
        hook.remove()
    x = [one.float() for one in seen]
    with torch.no_grad():
        y = [layer.mlp(one.double()[None]) for layer, one in zip(model.model.layers, x)]
        y = [(one[0] if isinstance(one, tuple) else one)[0] for one in y]
        routes = [routed(layer.mlp, one, model.config.num_experts_per_tok) for layer, one in zip(model.model.layers, x)]
    return torch.stack(x).numpy(), torch.stack(y).numpy(), [np.stack(part) for part in zip(*routes)], torch.softmax(logits.double(), -1).numpy()


def make(name):
    model, config, shapes = build(name)
    (HERE / f"{name}.json").write_text(json.dumps({"seed": SEED, "config": config, "shapes": shapes}) + "\n")
    out = {}
    for prompt, (length, rows) in PROMPTS.items():
        ids = np.random.RandomState(length).randint(0, BASE["vocab_size"], length)
        x, y, (expert, weight, margin), p = run(model, ids.tolist())
        top = np.argsort(-p, kind="stable")[:5]
        assert p[top[0]] - p[top[1]] > 1e-4, f"{name}: no clear first token"
        for key, value in (("ids", ids.astype("<i4")), ("rows", np.array(rows, "<i4")), ("x", x[:, rows].astype("<f4")),
                           ("y", y[:, rows].astype("<f4")), ("top5_id", top.astype("<i4")), ("top5_prob", p[top]),
                           ("expert_id", expert[:, rows].astype("<i4")), ("expert_weight", weight[:, rows]), ("margin", margin[:, rows])):
            out[f"{prompt}/{key}"] = value
    np.savez_compressed(HERE / f"{name}.npz", **out)
    print(name, (HERE / f"{name}.npz").stat().st_size, "least margin", min(np.nanmin(out[f"{p}/margin"]) for p in PROMPTS))


if __name__ == "__main__":
    for wanted in sys.argv[1:] or VARIANTS:
        make(wanted)

"""Models with experts against transformers' own classes: golden/experts/make.py says how the golden data came about.

What such a model can run under a vindex is path external (its own weights and another checkpoint's: test_expert_cases.py). Here the
external kernel is a file of outputs that numpy makes of captured x in float64, by a router and experts of its own.
"""
import json
import shutil
import struct

import h5py
import numpy as np
import pytest

import gguf_files
import harness
import random_model

GOLDEN = random_model.Golden(harness.GOLDEN / "experts")
VARIANTS = GOLDEN.names
SOUND = {"path": "external", "library": None, "name": "zero"}


def vindex_of(shop, name):
    """A vindex with no features in any layer: the place of a job's external paths."""
    config = GOLDEN.description(name)["config"]
    folder = shop.root / "vindexes" / name
    if folder.exists():
        return folder
    folder.mkdir(parents=True)
    layers = [{"layer": layer, "num_features": 0, "offset": 0, "length": 0} for layer in range(config["num_hidden_layers"])]
    (folder / "index.json").write_text(json.dumps(
        {"version": 2, "model": name, "family": config["model_type"], "num_layers": len(layers), "hidden_size": config["hidden_size"],
         "intermediate_size": config["intermediate_size"], "vocab_size": config["vocab_size"], "embed_scale": 1.0, "down_top_k": 5,
         "extract_level": "browse", "dtype": "f32", "layers": layers}))
    return folder


def prompts_of(shop, name):
    path = shop.root / "expert-prompts.jsonl"
    path.write_text(GOLDEN.prompts(name))
    return {"file": str(path)}


def audited(shop, name, path=None, model=None, **keys):
    paths = [path or {**SOUND, "library": str(harness.kernel("external_sound"))}]
    return shop.job(model or GOLDEN.model(name, shop.root), {"none": vindex_of(shop, name)}, paths=paths, prompts=prompts_of(shop, name), **keys)


def distance(got, want):
    """The worst relative L2 of a row."""
    got, want = got.astype("f8"), want.astype("f8")
    return (np.linalg.norm(got - want, axis=-1) / np.linalg.norm(want, axis=-1)).max()


# --- The FFN of a layer in float64, by the names of the tensors

def stored(name, layer):
    told = GOLDEN.description(name)
    here = f"model.layers.{layer}."
    return {key.removeprefix(here): values.astype("f8") for key, values in
            random_model.tensors({k: s for k, s in told["shapes"].items() if k.startswith(here)}, told["seed"]).items()}


def silu(values):
    return values / (1 + np.exp(-values))


def gated(mine, stem, x, words=("gate_proj", "up_proj", "down_proj")):
    gate, up, down = (mine[f"{stem}.{word}.weight"] for word in words)
    return (silu(x @ gate.T) * (x @ up.T)) @ down.T


def clamped(gate, up):
    gate, up = np.minimum(gate, 7), np.clip(up, -7, 7)
    return gate / (1 + np.exp(-1.702 * gate)) * (up + 1)


def expert_of_gpt_oss(mine, expert, x):
    """Gate and up lie in turn in one tensor [in, out]; biases of both and of down."""
    both = x @ mine["mlp.experts.gate_up_proj"][expert] + mine["mlp.experts.gate_up_proj_bias"][expert]
    return clamped(both[..., ::2], both[..., 1::2]) @ mine["mlp.experts.down_proj"][expert] + mine["mlp.experts.down_proj_bias"][expert]


def stem_of(config):
    return "block_sparse_moe" if config["model_type"] == "mixtral" else "mlp"


def chosen(config, mine, x):
    """Experts by falling logit, and their weights."""
    packed = config["model_type"] == "gpt_oss"
    router = "mlp.router" if packed else f"{stem_of(config)}.gate"
    logits = x @ mine[f"{router}.weight"].T + mine.get(f"{router}.bias", 0)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    best = np.argsort(-logits, axis=-1, kind="stable")[:, :config["num_experts_per_tok"]]
    weight = np.take_along_axis(p, best, -1)
    if config["model_type"] in ("mixtral", "gpt_oss") or config.get("norm_topk_prob"):
        weight /= weight.sum(-1, keepdims=True)
    return best, weight


def block(name, layer, x):
    """Router, experts and shared expert; a dense FFN where the layer has none."""
    config, mine, x = GOLDEN.description(name)["config"], stored(name, layer), x.astype("f8")
    stem, mixtral = stem_of(config), config["model_type"] == "mixtral"
    packed = config["model_type"] == "gpt_oss"
    if not packed and f"{stem}.gate.weight" not in mine:
        return gated(mine, "mlp", x)
    best, weight = chosen(config, mine, x)
    words = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")
    y = np.zeros_like(x)
    for row in range(len(x)):
        for expert, share in zip(best[row], weight[row]):
            y[row] += share * (expert_of_gpt_oss(mine, expert, x[row]) if packed else gated(mine, f"{stem}.experts.{expert}", x[row], words))
    if "mlp.shared_expert_gate.weight" in mine:
        y += gated(mine, "mlp.shared_expert", x) / (1 + np.exp(-(x @ mine["mlp.shared_expert_gate.weight"].T)))
    return y


def captured(job):
    with h5py.File(job.result_path) as file:
        return {key: file[path][()] for key, path in (("x", "captures/x"), ("y", "captures/y_ref"), ("token_id", "token_id"),
                                                      ("x_norm", "x_norm"))}


def compare_routing(name, x, got, want):
    """The same experts in the same order where the choice is clear; their weights within 1e-6 on the same x, and over the whole pass as
    near as x is; nothing in layers without experts."""
    config = GOLDEN.description(name)["config"]
    dense = want["expert_id"][..., 0] < 0
    assert np.all(got["expert_id"][dense] == -1) and np.all(np.isnan(got["expert_weight"][dense]))
    assert np.all(np.isnan(got["expert_margin"][dense])) and not dense.all()
    clear = ~dense & (want["margin"] > 1e-5) & (got["expert_margin"] > 1e-5).all(-1)
    assert clear.sum() >= 0.9 * (~dense).sum()
    assert np.array_equal(got["expert_id"][clear], want["expert_id"][clear])
    assert np.abs(got["expert_weight"] - want["expert_weight"])[clear].max() <= 2e-5
    for layer in np.flatnonzero(~dense.all(-1)):
        assert np.abs(chosen(config, stored(name, layer), want["x"][layer].astype("f8"))[1] - want["expert_weight"][layer]).max() <= 1e-6
        best, weight = chosen(config, stored(name, layer), x[layer].astype("f8"))
        assert np.array_equal(best[clear[layer]], got["expert_id"][layer][clear[layer]])
        assert np.abs(weight - got["expert_weight"][layer])[clear[layer]].max() <= 1e-6
    finite = clear & np.isfinite(want["margin"])
    assert np.abs(got["expert_margin"][..., -1][finite] - want["margin"][finite]).max(initial=0) <= 2e-5
    assert np.all(np.isinf(got["expert_margin"][..., -1]) == np.isinf(want["margin"]))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_model_with_experts_agrees_with_transformers(shop, name):
    job = audited(shop, name, captures={"tensors": ["x", "y_ref"]})
    result, kept = job.result(), captured(job)
    for prompt, want in GOLDEN.truth(name).items():
        here = result.rows(prompt)
        assert result["token_id"][here].tolist() == want["ids"].tolist()
        at = np.arange(here.start, here.stop)[want["rows"]]
        x, y = kept["x"][:, at], kept["y"][:, at]
        assert distance(x, want["x"]) <= 2e-5 and distance(y, want["y"]) <= 2e-5
        for layer in range(len(x)):
            assert distance(block(name, layer, want["x"][layer]), want["y"][layer]) <= 5e-7, "the formula of this file"
        assert distance(harness.ffn_given(GOLDEN.model(name, shop.root), want["x"]), want["y"]) <= 2e-6
        compare_routing(name, x, {field: result[field][:, at] for field in ("expert_id", "expert_weight", "expert_margin")}, want)
        number = result.prompts.index(prompt)
        assert result["ref_topk_id"][number][:5].tolist() == want["top5_id"].tolist()
        assert np.abs(np.exp(result["ref_topk_logprob"][number][:5]) - want["top5_prob"]).max() <= 1e-5


# --- GGUF, with llama.cpp's names: experts in stacks, gate and up of gpt_oss apart, rows of q and k of mixtral in pairs

ARCHITECTURES = {"mixtral": "llama", "qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "olmoe": "olmoe", "gpt_oss": "gpt-oss"}
GGUF_NAMES = {"model.embed_tokens.weight": "token_embd.weight", "lm_head.weight": "output.weight", "model.norm.weight": "output_norm.weight"}
LAYER_NAMES = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
               "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
               "self_attn.k_norm": "attn_k_norm", "block_sparse_moe.gate": "ffn_gate_inp", "mlp.gate": "ffn_gate_inp",
               "mlp.router": "ffn_gate_inp", "mlp.shared_expert_gate": "ffn_gate_inp_shexp", "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
               "mlp.shared_expert.up_proj": "ffn_up_shexp", "mlp.shared_expert.down_proj": "ffn_down_shexp"}
EXPERTS = {"w1": "gate", "w3": "up", "w2": "down", "gate_proj": "gate", "up_proj": "up", "down_proj": "down"}


def in_gguf(config, tensors):
    """{name: values} as llama.cpp's converter has them."""
    kind, out, stacks = config["model_type"], {}, {}
    for name, values in tensors.items():
        if name in GGUF_NAMES:
            out[GGUF_NAMES[name]] = values
            continue
        layer, rest = name.removeprefix("model.layers.").split(".", 1)
        stem, suffix = rest.rsplit(".", 1)
        if ".experts." in rest and kind != "gpt_oss":
            expert, word = rest.split(".experts.")[1].split(".")[:2]
            stacks.setdefault(f"blk.{layer}.ffn_{EXPERTS[word]}_exps.weight", {})[int(expert)] = values
        elif rest.startswith("mlp.experts."):
            word, bias = suffix.removesuffix("_bias"), suffix.endswith("_bias")
            end = "bias" if bias else "weight"
            turned = values if bias else values.swapaxes(1, 2)
            parts = {"gate": turned[:, ::2], "up": turned[:, 1::2]} if word == "gate_up_proj" else {"down": turned}
            out |= {f"blk.{layer}.ffn_{part}_exps.{end}": values for part, values in parts.items()}
        elif rest == "self_attn.sinks":
            out[f"blk.{layer}.attn_sinks.weight"] = values
        else:
            if kind == "mixtral" and stem in ("self_attn.q_proj", "self_attn.k_proj"):
                heads = config["num_attention_heads" if "q_proj" in stem else "num_key_value_heads"]
                values = values.reshape(heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
            word = "post_attention_norm" if kind == "gpt_oss" and stem == "post_attention_layernorm" else LAYER_NAMES[stem]
            out[f"blk.{layer}.{word}.{suffix}"] = values[0] if "gate_inp_shexp" in word else values
    return out | {name: np.stack([one[e] for e in sorted(one)]) for name, one in stacks.items()}


def write_gguf(path, name):
    told = GOLDEN.description(name)
    config, arch = told["config"], ARCHITECTURES[told["config"]["model_type"]]
    keys = {"block_count": config["num_hidden_layers"], "embedding_length": config["hidden_size"], "feed_forward_length": config["intermediate_size"],
            "attention.head_count": config["num_attention_heads"], "attention.head_count_kv": config["num_key_value_heads"],
            "attention.layer_norm_rms_epsilon": config["rms_norm_eps"], "rope.freq_base": (config.get("rope_parameters") or config)["rope_theta"],
            "expert_count": config.get("num_experts", config.get("num_local_experts")), "expert_used_count": config["num_experts_per_tok"]}
    for key, stored in (("moe_intermediate_size", "expert_feed_forward_length"), ("head_dim", "attention.key_length"),
                        ("head_dim", "attention.value_length"), ("sliding_window", "attention.sliding_window"),
                        ("shared_expert_intermediate_size", "expert_shared_feed_forward_length")):
        if key in config:
            keys[stored] = config[key]
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if rope.get("rope_type") == "yarn":
        keys |= {"rope.scaling.type": "yarn", "rope.scaling.factor": rope["factor"],
                 "rope.scaling.original_context_length": rope["original_max_position_embeddings"]}

    def entry(key, value):
        word = struct.pack("<Q", len(key)) + key.encode()
        if isinstance(value, str):
            return word + struct.pack("<IQ", 8, len(value)) + value.encode()
        return word + (struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value))

    head = entry("general.architecture", arch) + b"".join(entry(f"{arch}.{key}", value) for key, value in keys.items())
    tensors = in_gguf(config, random_model.tensors(told["shapes"], told["seed"]))
    gguf_files.write_gguf(path, len(keys) + 1, head, {key: (values.shape[::-1], 0, np.ascontiguousarray(values, "<f4").tobytes())
                                                      for key, values in tensors.items()})


@pytest.mark.parametrize("name", ["mixtral-window", "mixtral-single", "qwen2_moe-shared", "qwen3_moe-yarn", "olmoe-raw", "olmoe-biases",
                                  "gpt_oss-alternating"])
def test_a_gguf_with_experts_agrees_with_transformers(shop, name):
    folder = shop.root / "ggufs" / name
    folder.mkdir(parents=True)
    write_gguf(folder / "model.gguf", name)
    shutil.copyfile(GOLDEN.model(name, shop.root) / "tokenizer.json", folder / "tokenizer.json")
    job = audited(shop, name, model=folder / "model.gguf", captures={"tensors": ["x", "y_ref"]})
    result, kept = job.result(), captured(job)
    for prompt, want in GOLDEN.truth(name).items():
        here = result.rows(prompt)
        at = np.arange(here.start, here.stop)[want["rows"]]
        assert distance(kept["x"][:, at], want["x"]) <= 2e-5 and distance(kept["y"][:, at], want["y"]) <= 2e-5
        assert np.array_equal(result["expert_id"][:, at], want["expert_id"])
    compare_extracted(shop, folder / "model.gguf", GOLDEN.model(name, shop.root))


def compare_extracted(shop, one, other):
    """Experts, routers, norms and gates of two models of the same weights, in every byte."""
    vindexes = shop.root / "extracted-one", shop.root / "extracted-other"
    for model, vindex in zip((one, other), vindexes):
        harness.run(["extract", model, vindex, "--format", "q6k", "--force"])
    names = sorted(str(path.relative_to(vindexes[0])) for path in vindexes[0].rglob("*") if path.suffix in (".bin", ".weights"))
    assert {"gate_vectors.bin", "norms.bin", "layers/layer_00.weights"} <= set(names)
    for name in names + ["weight_manifest.json"]:
        assert (vindexes[0] / name).read_bytes() == (vindexes[1] / name).read_bytes(), name


@pytest.mark.parametrize("name", ["mixtral-window", "qwen2_moe-step"])
def test_experts_of_another_implementation_are_audited(shop, name, tmp_path):
    """numpy's outputs in float64 for the captured x pass as exact; with one expert's output left out of one row they do not."""
    first = audited(shop, name, captures={"tensors": ["x", "y_ref"]})
    first.run()
    kept = captured(first)
    y = np.stack([block(name, layer, x) for layer, x in enumerate(kept["x"])])
    for changed in (False, True):
        if changed:
            y[1, 5] *= 0.99
        with h5py.File(tmp_path / "y.h5", "w") as file:
            file["y_walk"], file["token_id"], file["x_norm"] = y, kept["token_id"], kept["x_norm"]
        path = {"path": "external", "file": str(tmp_path / "y.h5"), "name": "numpy", "bucket": "exact"}
        result = audited(shop, name, path).result(expect=1 if changed else 0)
        error = result.case("none:numpy", "rel_l2")
        assert (error[1, 5] == pytest.approx(0.01, rel=1e-3)) == changed
        error[1, 5] = 0
        assert np.max(error) <= 2e-6
        assert result.verdicts() == {"none:numpy": "BOUND" if changed else "UNCHECKED"}


@pytest.mark.parametrize("name", ["qwen2_moe-shared", "qwen3_moe-sum"])
def test_bits_are_the_same_on_any_ranks_and_batches(shop, name):
    alone = audited(shop, name)
    alone.run()
    for ranks, keys in ((1, {"batch": {"rows": 9}}), (2, {"grid": {"stages": 2}}), (3, {"grid": {"stages": 3}}),
                        (4, {"grid": {"stages": 2, "teams": 2}})):
        other = audited(shop, name, **keys)
        other.run(ranks=ranks)
        harness.assert_equal_bits(alone, other)


def test_walk_paths_are_refused_with_the_reason(shop):
    for path in ("full_mmap", "sparse", "weights_fallback", "exact"):
        said = harness.one_error_line(audited(shop, "olmoe-raw", {"path": path}).run(expect=None))
        assert "layer 0 of the model has experts, which need path 'experts' or 'experts_q8k'" in said, said
    like = {"path": "external", "library": str(harness.kernel("external_sound")), "like": "exact"}
    assert "like 'exact': layer 0 of the model has experts" in harness.one_error_line(audited(shop, "olmoe-raw", like).run(expect=None))


def test_inspect_tells_of_experts(shop):
    said = " ".join(harness.run(["inspect", GOLDEN.model("qwen2_moe-listed", shop.root)]).stdout.split())
    assert ("experts: 4 of 32 features, 3 chosen, weights that sum to 1, a shared one of 16 features by a gate; in 2 of 3 layers: 0, 2"
            in said), said


def test_inspect_tells_of_biases_and_sinks(shop):
    said = " ".join(harness.run(["inspect", GOLDEN.model("gpt_oss-plain", shop.root)]).stdout.split())
    assert "biases none; router and experts" in said and "a sink in the softmax of every head" in said and "clamped_glu, gated" in said, said


@pytest.mark.parametrize("change, said", [
    ({"swiglu_limit": 5.0}, "'swiglu_limit' is 5"),
    ({"hidden_act": "gelu"}, "'hidden_act' is gelu"),
    ({"rope_parameters": None}, "where the classes of family 'gpt_oss' assume a scaling"),
    ({"intermediate_size": 40}, "mlp.experts.gate_up_proj' has shape [4, 32, 96], expected [4, 32, 80]"),
])
def test_other_units_than_those_of_gpt_oss_are_one_line(shop, tmp_path, change, said):
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN.model("gpt_oss-plain", shop.root), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    assert said in harness.one_error_line(harness.run(["inspect", folder], expect=None))


@pytest.mark.parametrize("change, said", [
    ({"num_experts_per_tok": 9}, "'num_experts_per_tok' is 9, expected 1 to 8 experts"),
    ({"num_experts": 9}, "'model.layers.0.mlp.gate.weight' has shape [8, 32], expected [9, 32]"),
    ({"num_local_experts": 7}, "'num_local_experts' is 7, but 'num_experts' is 8"),
    ({"intermediate_size": 40}, "experts.0.gate_proj.weight' has shape [48, 32], expected [40, 32]"),
    ({"num_experts": 7}, "'model.layers.0.mlp.gate.weight' has shape [8, 32], expected [7, 32]"),
    ({"moe_intermediate_size": 5}, "'moe_intermediate_size' is 5"),
])
def test_contradictions_of_a_configuration_are_one_line(shop, tmp_path, change, said):
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN.model("olmoe-raw", shop.root), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    assert said in harness.one_error_line(harness.run(["inspect", folder], expect=None))

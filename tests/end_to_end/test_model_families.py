"""Families of today against transformers' own classes: golden/families/make.py says how the golden data came about.

Each variant has the weights that follow from a seed (support/random_model.py). FFN inputs and outputs of the dense model are captured and
compared; so are the outputs of its FFNs on the golden inputs.
"""
import json
import struct

import h5py
import numpy as np
import pytest

import harness
import random_model

GOLDEN = random_model.Golden(harness.GOLDEN / "families")
VARIANTS = GOLDEN.names
FORMATS = {"f32": "f32", "f16": "f16", "interleaved": "interleaved", "q4_0": "q4_0", "q4k": "q4k", "q4k-down4": "q4k --down q4k",
           "q4k-fm": "q4k --feature-major-down", "q4k-nogate": "q4k --drop-gate", "fp4a": "fp4 --fp4-policy a",
           "fp4b": "fp4 --fp4-policy b", "fp4c": "fp4 --fp4-policy c"}
UNGATED = ("f32", "f16", "interleaved")  # what `extract` writes of a family without a gate


def distance(got, want):
    """The worst relative L2 of a row."""
    got, want = got.astype("f8"), want.astype("f8")
    return (np.linalg.norm(got - want, axis=-1) / np.linalg.norm(want, axis=-1)).max()


def captured(job):
    """{x, y_ref}: [layer, observation, H]."""
    out = {}
    with h5py.File(job.result_path) as file:
        for tensor in ("x", "y_ref"):
            out[tensor] = file[f"captures/{tensor}"][()]
    return out


def audited(shop, name, formats, **keys):
    model = GOLDEN.model(name, shop.root)
    prompts = shop.root / "family-prompts.jsonl"
    if not prompts.exists():
        prompts.write_text(GOLDEN.prompts(name))
    vindexes = {}
    for variant in formats:
        vindexes[variant] = shop.root / "family-vindexes" / name / variant
        vindexes[variant].parent.mkdir(parents=True, exist_ok=True)
        if not vindexes[variant].exists():
            harness.run(["extract", model, vindexes[variant], "--format", *FORMATS[variant].split()])
    return shop.job(model, vindexes, prompts={"file": str(prompts)}, kernel_check=-1, **keys)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_family_agrees_with_transformers(shop, name):
    job = audited(shop, name, ["f32"], captures={"tensors": ["x", "y_ref"]})
    result, truth = job.result(), GOLDEN.truth(name)
    kept = captured(job)
    for prompt, want in truth.items():
        here = result.rows(prompt)
        assert result["token_id"][here].tolist() == want["ids"].tolist()
        at = np.arange(here.start, here.stop)[want["rows"]]
        x, y = kept["x"][:, at], kept["y_ref"][:, at]
        assert distance(x, want["x"]) <= 2e-5 and distance(y, want["y"]) <= 2e-5
        assert distance(harness.ffn_given(GOLDEN.model(name, shop.root), want["x"]), want["y"]) <= 2e-6
        number = result.prompts.index(prompt)
        assert result["ref_topk_id"][number][:5].tolist() == want["top5_id"].tolist()
        assert np.abs(np.exp(result["ref_topk_logprob"][number][:5]) - want["top5_prob"]).max() <= 1e-5
    assert set(result["verdict"]) == {"PASS"}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_format_that_a_family_allows_is_healthy(shop, name):
    """PASS or MEASURED; a stored number that is wrong would be ENCODING, a formula that is wrong KERNEL."""
    gated = any("gate" in key for key in GOLDEN.description(name)["shapes"])
    formats = list(FORMATS) if gated else list(UNGATED)
    result = audited(shop, name, formats).result()
    assert {case.split(":")[0] for case in result.cases} == set(formats)
    for case, verdict in result.verdicts().items():
        exact = result.case(case, "case_bucket") == "exact"
        assert verdict == ("PASS" if exact else "MEASURED"), (case, result.case(case, "fail_reasons"))
        assert np.max(result.case(case, "kernel_rel_l2")) <= 2e-6, case


@pytest.mark.parametrize("name", ["llama-biases", "arcee-biases"])
def test_walks_over_some_features_know_the_biases(shop, name):
    """Over all 80 features they are the dense FFN; over 20 the oracle, which has the biases too, agrees with the kernel."""
    vindex = audited(shop, name, ["f32"])
    told = json.loads(vindex.path.read_text())
    told["paths"] = [{"path": "sparse_serial", "k": k} for k in (20, 80)]
    vindex.path.write_text(json.dumps(told))
    result = vindex.result()
    assert len(result.cases) == 2
    for case in result.cases:
        assert np.max(result.case(case, "kernel_rel_l2")) <= 2e-6, case
    assert np.max(result.case("f32:sparse_serial:k80", "rel_l2")) <= 2e-6
    assert np.min(result.case("f32:sparse_serial:k20", "rel_l2")) > 1e-3


def test_where_biases_of_an_ffn_come_from_is_said(shop):
    said = harness.run(["inspect", GOLDEN.model("llama-biases", shop.root)]).stdout
    assert "q, k, v, o, gate, up, down; those of the FFN are the model's in every case, since a vindex holds none" in " ".join(said.split())


@pytest.mark.parametrize("family", ["smollm3", "olmo2", "olmo3", "glm4", "phi3", "exaone4", "ernie4_5", "seed_oss", "arcee"])
def test_synth_writes_a_model_of_the_family(shop, family):
    """Read without a remark, the first token of a prompt clear but not certain, the residual stream bounded."""
    model, vindex = shop.root / f"synth-{family}", shop.root / f"synth-{family}.vindex"
    harness.run(["synth", model, "--family", family, "--shape", "tiny"])
    harness.run(["extract", model, vindex, "--format", "f16"])
    job = shop.job(model, {"f16": vindex})
    result = job.result()
    with h5py.File(job.result_path) as file:
        assert file.attrs["model_family"] == family and file.attrs["warnings"] == ""
    assert set(result["verdict"]) == {"PASS"}
    growth = result["h_norm"][-1] / result["h_norm"][0]
    assert np.isfinite(growth).all() and growth.min() > 0.2 and growth.max() < 30
    assert 0.01 < np.median(result["ref_top1_prob"]) < 0.999


# --- GGUF, with llama.cpp's names; rows of q and k in pairs where its converter writes them so

GGUF_NAMES = {"model.embed_tokens": "token_embd", "lm_head": "output", "model.norm": "output_norm", "self_attn.q_proj": "attn_q",
              "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
              "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate_up_proj": "ffn_up",
              "self_attn.qkv_proj": "attn_qkv"}
PRE = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
POST = {"post_attention_layernorm": "post_attention_norm", "post_feedforward_layernorm": "post_ffw_norm"}
NORMS = {"arcee": PRE, "smollm3": PRE, "phi3": PRE, "ernie4_5": PRE, "olmo2": POST, "exaone4": POST,
         "seed_oss": {"input_layernorm": "attn_norm", "post_attention_layernorm": "post_attention_norm"},
         "glm4": {"input_layernorm": "attn_norm", "post_self_attn_layernorm": "post_attention_norm", "post_attention_layernorm": "ffn_norm",
                  "post_mlp_layernorm": "post_ffw_norm"}}
MADE_PAIRS = ("arcee", "smollm3")  # glm4 and ernie4_5 have them in their own checkpoints


def gguf_name(architecture, name):
    stem, suffix = name.rsplit(".", 1)
    words = GGUF_NAMES | NORMS[architecture]
    if stem in words:
        return f"{words[stem]}.{suffix}"
    layer, rest = stem.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{words[rest]}.{suffix}"


def in_pairs(values, heads):
    return values.reshape(heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def write_gguf(path, name):
    told = GOLDEN.description(name)
    config = told["config"]
    kind = config["model_type"]
    keys = {"block_count": config["num_hidden_layers"], "embedding_length": config["hidden_size"],
            "feed_forward_length": config["intermediate_size"], "attention.head_count": config["num_attention_heads"],
            "attention.head_count_kv": config["num_key_value_heads"], "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
            "rope.freq_base": (config.get("rope_parameters") or config)["rope_theta"]}
    if "head_dim" in config:
        keys |= {"attention.key_length": config["head_dim"], "attention.value_length": config["head_dim"]}
    dim = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    partial = (config.get("rope_parameters") or config).get("partial_rotary_factor")
    if partial:
        keys["rope.dimension_count"] = int(dim * partial)
    if config.get("sliding_window"):
        keys["attention.sliding_window"] = config["sliding_window"]
    if isinstance(config.get("sliding_window_pattern"), int):
        keys["attention.sliding_window_pattern"] = config["sliding_window_pattern"]

    def text(word):
        return struct.pack("<Q", len(word)) + word.encode()

    head = text("general.architecture") + struct.pack("<I", 8) + text(kind)
    for key, value in keys.items():
        head += text(f"{kind}.{key}") + (struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value))
    infos, body = b"", b""
    for stored, values in random_model.tensors(told["shapes"], told["seed"]).items():
        if kind in MADE_PAIRS and ("q_proj" in stored or "k_proj" in stored):
            values = in_pairs(values, config["num_attention_heads" if "q_proj" in stored else "num_key_value_heads"])
        infos += text(gguf_name(kind, stored)) + struct.pack("<I", values.ndim) + struct.pack(f"<{values.ndim}Q", *values.shape[::-1])
        infos += struct.pack("<IQ", 0, len(body))
        body += values.tobytes() + b"\0" * (-values.nbytes % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(told["shapes"]), len(keys) + 1) + head + infos
    path.write_bytes(head + b"\0" * (-len(head) % 32) + body)


@pytest.mark.parametrize("name", ["arcee-tied", "arcee-biases", "olmo2-heads", "olmo2-biases", "seed_oss-plain", "seed_oss-out", "ernie4_5-untied",
                                  "ernie4_5-heads", "glm4-odd-share", "glm4-quarter", "phi3-window", "exaone4-full", "exaone4-pattern"])
def test_a_gguf_of_the_family_agrees_with_transformers(shop, name):
    folder = shop.root / "ggufs" / name
    folder.mkdir(parents=True)
    write_gguf(folder / "model.gguf", name)
    told = GOLDEN.description(name)
    (folder / "tokenizer.json").write_text(json.dumps(random_model.tokenizer(told["config"]["vocab_size"])))
    prompts = folder / "prompts.jsonl"
    prompts.write_text(GOLDEN.prompts(name))
    harness.run(["extract", folder / "model.gguf", folder / "f32", "--format", "f32"])
    job = shop.job(folder / "model.gguf", {"f32": folder / "f32"}, prompts={"file": str(prompts)},
                   captures={"tensors": ["x", "y_ref"]})
    result = job.result()
    kept = captured(job)
    for prompt, want in GOLDEN.truth(name).items():
        here = result.rows(prompt)
        at = np.arange(here.start, here.stop)[want["rows"]]
        assert distance(kept["x"][:, at], want["x"]) <= 2e-5 and distance(kept["y_ref"][:, at], want["y"]) <= 2e-5
    assert set(result["verdict"]) == {"PASS"}

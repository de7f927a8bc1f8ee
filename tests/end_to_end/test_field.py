"""Inputs in the shape of public reports (golden/field): the numbers of transformers, or a refusal in one line. And every tensor of a
layer and every key of a configuration is used, known to be inert, or refused: foreign ones are planted here one by one."""
import json
import shutil
import struct

import h5py
import numpy as np
import pytest

import gguf_files
import harness

FIELD = harness.GOLDEN / "field"
PLAIN = FIELD / "fp16-variant-beside"  # a llama of two layers, for planting
GGUF = FIELD / "gguf-factor-without-type" / "model.gguf"


def audit(shop, place, **keys):
    """Log-probabilities of the next token, [prompts, vocabulary], from an audit of the model against its own f32 vindex."""
    model = place / "model.gguf" if (place / "model.gguf").exists() else place
    vindex = shop.root / f"{place.name}.vindex"
    words = ["--allow-unread"] if "allow_unread" in keys else []
    harness.run(["extract", model, vindex, "--format", "f32", "--force", *words])
    job = shop.job(model, {"v": vindex}, {"v": [{"path": "sparse"}]}, topk=128, prompts={"file": str(place / "prompts.jsonl")},
                   kernel_check=0, **keys)
    done = job.run()
    result = harness.Result(job.result_path)
    out = np.full((len(result.prompts), 128), np.nan)
    for row, (ids, values) in enumerate(zip(result["ref_topk_id"], result["ref_topk_logprob"])):
        out[row, ids] = values
    with h5py.File(job.result_path) as file:
        attributes = {name: value for name, value in file.attrs.items()}
    return out, done, attributes


def expected(place):
    return np.array(json.loads((place / "expected_logprobs.json").read_text()))


# What is said beside the numbers: in the log, in the result's attribute `warnings` and in the table.
NUMBERS = {
    "rope-scaling-theta": None,
    "rope-theta-twice": "'rope_theta' 50 of the RoPE object is used, 'rope_theta' 321 beside it is not",
    "gguf-factor-without-type": None,
    "mistral-window-absent": None,
    "tied-but-head-stored": "'lm_head.weight' is stored and differs: the stored matrix is used",
    "tie-at-root-only": None,
    "fp16-variant-beside": "files of weights that are not read: 'model.fp16.safetensors'",
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_those_of_transformers(shop, name):
    """Within 1e-4 at every token of the vocabulary. Windows, bases and ties that were read wrongly were off by 0.06 to 12."""
    found, done, attributes = audit(shop, FIELD / name)
    np.testing.assert_allclose(found, expected(FIELD / name), rtol=0, atol=1e-4)
    if NUMBERS[name] is None:
        said = done.stderr + done.stdout  # a model of random weights is warned of for its perplexity, rightly
        assert attributes["warnings"] == "" and "warning: model: " not in said and "warning: vindex " not in said
        return
    for text in (done.stderr, done.stdout, attributes["warnings"]):
        assert NUMBERS[name] in text, text


REFUSED = {
    "is-causal-false": "'is_causal' is false, only true is computed",
    "gguf-unread-tensors": "the decoder has tensors that family 'llama' does not read: 'blk.0.attn_q_norm.weight', "
                           "'blk.0.ffn_down.scale', 'blk.1.attn_q_norm.weight', 'blk.1.ffn_down.scale'",
}


def model_of(place):
    return place / "model.gguf" if (place / "model.gguf").exists() else place


def refusal(shop, model, number=0):
    done = harness.run(["extract", model, shop.root / f"none-{number}.vindex", "--format", "f32"], expect=None)
    assert done.returncode == 3, done.stderr
    return harness.one_error_line(done)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_another_model_is_refused_in_one_line(shop, name):
    assert REFUSED[name] in refusal(shop, model_of(FIELD / name))


def test_allow_unread_goes_on_and_is_stored_and_shown(shop):
    """The expected numbers are those of the model without the tensors."""
    place = FIELD / "gguf-unread-tensors"
    found, done, attributes = audit(shop, place, allow_unread="true")
    np.testing.assert_allclose(found, expected(place), rtol=0, atol=1e-4)
    assert attributes["unread_tensors"] == 4
    for text in (done.stderr, done.stdout, attributes["warnings"]):
        assert "allow_unread: tensors of the decoder are not read" in text
        assert "'blk.0.attn_q_norm.weight'" in text
    shown = harness.run(["inspect", place / "model.gguf"]).stdout
    assert "extract and run refuse this model unless allow_unread says otherwise" in shown


def test_how_a_model_was_understood_is_stored_and_shown(shop):
    _, _, attributes = audit(shop, FIELD / "rope-scaling-theta")
    shown = harness.run(["inspect", FIELD / "rope-scaling-theta"]).stdout
    facts = {
        "rope": "base 321, linear scaling by 2; all 16 dimensions of a head",
        "windows": "none", "norms": "RMS, eps 1e-06; before attention and FFN", "biases": "none",
        "scales": "attention 0.25, embedding 1, residual 1, logits 1", "caps": "attention none, final none",
        "ffn": "silu, gated", "output": "its own matrix",
    }
    for name, text in facts.items():
        assert attributes[f"model_{name}"] == text
        assert f"{name:13s} {text}\n" in shown
    gemma = harness.run(["inspect", shop.model("tiny-gemma3")]).stdout
    assert "full layers: base 1e+06, " in gemma and "; sliding layers: base 10000, no scaling" in gemma
    assert "scaled by 1 + weight; before attention and FFN, and on the output of both; q and k of each head" in gemma


# --- regular expressions of tokenizers ---

REGEX = {"caret": "an anchor at byte 0", "h": "an escape at byte 0", "intersect": "an intersection of classes at byte 6",
         "posix": "a POSIX class at byte 1"}


@pytest.mark.parametrize("name", REGEX)
def test_a_pattern_that_engines_read_differently_is_refused(shop, name):
    done = harness.run(["tokenize", FIELD / "tokenizer-regex" / f"{name}.json", "a b"], expect=None)
    assert done.returncode == 3 and REGEX[name] in harness.one_error_line(done)


def test_a_character_newer_than_the_engine_is_refused(shop):
    """U+13731 came with Unicode 16. The same text without it is read."""
    tokenizer = FIELD / "tokenizer-regex" / "unicode16.json"
    lines = shop.root / "unicode.jsonl"
    lines.write_text(json.dumps({"text": "\U00013731's"}) + "\n")
    done = harness.run(["tokenize", tokenizer, "--file", lines], expect=None)
    assert done.returncode == 3 and "U+13731 at byte 0 is not in Unicode" in done.stderr
    lines.write_text(json.dumps({"text": "\uffff's"}) + "\n")  # a noncharacter, in every version
    harness.run(["tokenize", tokenizer, "--file", lines])


# --- planted tensors and keys ---

def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], data[8 + size + entry["data_offsets"][0]:8 + size + entry["data_offsets"][1]])
            for name, entry in header.items()}


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def planted(shop, number, tensors=(), changes=None, drop=()):
    """A copy of the plain model with tensors of four ones added and keys of its config.json changed."""
    place = shop.root / f"planted-{number}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    config = json.loads((PLAIN / "config.json").read_text())
    for key in drop:
        del config[key]
    (place / "config.json").write_text(json.dumps({**config, **(changes or {})}))
    stored = read_safetensors(PLAIN / "model.safetensors")
    for name in tensors:
        stored[name] = ("F32", [4], struct.pack("<4f", 1, 1, 1, 1))
    write_safetensors(place / "model.safetensors", stored)
    return place


def notes(model, number, shop):
    """What extract remarks on a model that it takes."""
    done = harness.run(["extract", model, shop.root / f"taken-{number}.vindex", "--format", "f32", "--force"])
    return [line.split("warning: ", 1)[1] for line in done.stderr.splitlines() if "warning: " in line]


LAYER = "model.layers.1."
FOREIGN_TENSORS = [LAYER + end for end in (
    "self_attn.q_norm.weight", "self_attn.k_norm.weight", "post_feedforward_layernorm.weight", "pre_feedforward_layernorm.weight",
    "mlp.experts.0.gate_proj.weight", "mlp.gate.weight", "self_attn.sinks", "self_attn.q_proj.weight_scale",
    "mlp.down_proj.weight_scale_inv", "mlp.down_proj.qzeros", "self_attn.q_proj.bias", "mlp.up_proj.bias", "input_layernorm.bias",
    "self_attn.q_proj.lora_A.weight")] + ["lm_head.bias", "model.embed_layernorm.weight", "model.norm.bias"]


@pytest.mark.parametrize("number, name", enumerate(FOREIGN_TENSORS))
def test_a_foreign_tensor_of_the_decoder_refuses_the_model(shop, number, name):
    assert f"does not read: '{name}'" in refusal(shop, planted(shop, number, [name]), number)


NAMED_TENSORS = {
    "vision_tower.encoder.layers.0.mlp.fc1.weight": "of towers and projectors", "multi_modal_projector.linear.weight": "of towers and projectors",
    "model.mtp.layers.0.proj.weight": "of extra prediction heads", LAYER + "nextn.eh_proj.weight": "of extra prediction heads",
    "model.layers.2.mlp.up_proj.weight": "of layers beyond the model's number", "score.weight": "outside the text decoder's layers",
}


@pytest.mark.parametrize("number, name", enumerate(NAMED_TENSORS))
def test_what_is_beside_the_decoder_is_named(shop, number, name):
    model = planted(shop, number, [name])
    assert notes(model, number, shop) == [f"tensors {NAMED_TENSORS[name]} are not read: '{name}'"]


def test_inert_tensors_pass_in_silence(shop):
    names = [LAYER + "self_attn.attn.bias", LAYER + "attn.masked_bias"]
    assert notes(planted(shop, 0, names), 0, shop) == []


def test_stored_frequencies_are_inert_but_contradict_another_base(shop):
    """A rope_theta that somebody edited shows where the frequencies lie beside the weights."""
    name = LAYER + "self_attn.rotary_emb.inv_freq"
    for theta, remarks in ((10000.0, 0), (500.0, 1)):
        model = planted(shop, 0, changes={"rope_parameters": {"rope_theta": theta}})
        stored = read_safetensors(model / "model.safetensors")
        stored[name] = ("F32", [8], (1e4 ** (-np.arange(8) / 8)).astype("<f4").tobytes())
        write_safetensors(model / "model.safetensors", stored)
        found = notes(model, 0, shop)
        assert len(found) == remarks, found
        assert all(f"stored rotation frequencies are not those of the configuration, which are used: '{name}'" in n for n in found)


LINEAR = {"rope_type": "linear", "factor": 2}
FOREIGN_KEYS = [
    ({"is_causal": False}, "'is_causal' is false, only true is computed"),
    *(({"quantization_config": {"quant_method": method}},
       f"quantised safetensors are unsupported: 'quantization_config' is an object, quant_method {method}")
      for method in ("mxfp4", "gptq", "awq", "compressed-tensors", "bitsandbytes")),
    ({"architectures": ["LlamaModel"]}, "'architectures' names LlamaModel, which predicts no next token"),
    ({"architectures": ["LlamaForSequenceClassification"]}, "which predicts no next token"),
    ({"weight_bits": 4}, "quantised weights are unsupported: 'weight_bits' is 4"),
    ({"clip_qkv": 8.0}, "'clip_qkv' is 8, which changes the model and is not computed"),
    ({"num_experts": 4}, "expert models are unsupported: 'num_experts' is 4"),
    ({"kv_lora_rank": 16}, "latent attention (MLA) are unsupported"),
    ({"partial_rotary_factor": 0.5}, "'partial_rotary_factor' is 0.5, only 1 is computed"),
    ({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "'partial_rotary_factor' is 0.5, only 1 is computed"),
    ({"rope_scaling": LINEAR}, "'rope_scaling' and 'rope_parameters' are both given and differ"),
    ({"rope_parameters": {"rope_type": "dynamic", "factor": 2}}, "RoPE scaling 'dynamic' is not computed: beyond max_position_embeddings"),
    ({"rope_parameters": {"rope_type": "ntk", "factor": 2}}, "RoPE scaling 'ntk' is not computed"),
    ({"rope_parameters": [1]}, "key 'rope_parameters': found an array, expected an object"),
    ({"layer_types": ["sliding_attention", "full_attention"]}, "'layer_types' of layer 0 is 'sliding_attention'"),
    ({"attention_sinks": 4}, "'attention_sinks' is 4, which changes the model"),
    ({"no_rope_layers": [1, 0]}, "'no_rope_layers' is an array of 2, which changes the model"),
    ({"swiglu_limit": 7.0}, "'swiglu_limit' is 7, which changes the model"),
    ({"model_type": "llama_of_mine", "auto_map": {"AutoModel": "m.M"}}, "unknown model type 'llama_of_mine'"),
]


@pytest.mark.parametrize("number, change, says", [(n, *pair) for n, pair in enumerate(FOREIGN_KEYS)])
def test_a_key_that_changes_the_model_refuses_it(shop, number, change, says):
    line = refusal(shop, planted(shop, number, changes=change), number)
    assert says in line and "config.json" in line


TOLD_KEYS = [
    ({"auto_map": {"AutoModel": "modeling.M"}}, ["'auto_map': the model brings code of its own"]),
    ({"query_pre_attn_scalar": 8, "of_my_own": [1]}, ["keys of config.json that family 'llama' does not know: ", "'of_my_own'",
                                                      "'query_pre_attn_scalar'"]),
    ({"architectures": ["MixtralForCausalLM"]}, ["'architectures' names MixtralForCausalLM, which is no class of family 'llama'"]),
    ({"broken\nline\x7f": 1}, ["does not know: 'broken?line?'"]),
    ({"rope_theta": 77}, ["'rope_theta' 10000 of the RoPE object is used, 'rope_theta' 77 beside it is not"]),
    ({"rope_parameters": {"rope_theta": 1e4, "beta_fast": 32}}, ["keys of the RoPE object that are not used: 'beta_fast'"]),
]


@pytest.mark.parametrize("number, change, says", [(n, *pair) for n, pair in enumerate(TOLD_KEYS)])
def test_a_key_that_cannot_be_judged_is_told(shop, number, change, says):
    found = notes(planted(shop, number, changes=change), number, shop)
    assert len(found) == 1 and all(text in found[0] for text in says), found


def test_harmless_values_pass_in_silence(shop):
    change = {"is_causal": True, "clip_qkv": None, "num_experts": 0, "quantization_config": None, "partial_rotary_factor": 1.0,
              "layer_types": ["full_attention"] * 2, "rope_scaling": None, "rope_theta": 10000.0, "attention_chunk_size": None}
    assert notes(planted(shop, 0, changes=change), 0, shop) == []


# --- GGUF ---


def plant_gguf(path, keys=(), tensors=()):
    """A copy of GGUF with entries (key, type number, bytes) and tensors of eight F32 ones before its own."""
    data = GGUF.read_bytes()
    tensor_count, key_count = struct.unpack_from("<QQ", data, 8)
    at = 24
    for _ in range(key_count):
        at += 8 + struct.unpack_from("<Q", data, at)[0]
        at = gguf_files.skip_value(data, at + 4, struct.unpack_from("<I", data, at)[0])
    first = at
    for _ in range(tensor_count):
        at += 8 + struct.unpack_from("<Q", data, at)[0]
        at += 4 + 8 * struct.unpack_from("<I", data, at)[0] + 12
    values = data[-(-at // 32) * 32:]
    values += b"\0" * (-len(values) % 32)
    entries = b"".join(struct.pack("<Q", len(k)) + k.encode() + struct.pack("<I", kind) + value for k, kind, value in keys)
    infos = b"".join(struct.pack("<Q", len(name)) + name.encode() + struct.pack("<IQIQ", 1, 8, 0, len(values) + 32 * i)
                     for i, name in enumerate(tensors))
    head = data[:8] + struct.pack("<QQ", tensor_count + len(tensors), key_count + len(keys)) + data[24:first] + entries + data[first:at] + infos
    path.write_bytes(head + b"\0" * (-len(head) % 32) + values + struct.pack("<8f", *[1] * 8) * len(tensors))
    return path


GGUF_TENSORS = ["blk.0.attn_q_norm.weight", "blk.1.ffn_sub_norm.weight", "blk.1.attn_sub_norm.weight", "blk.0.ffn_gate_exps.weight",
                "blk.0.attn_sinks.weight", "blk.0.post_ffw_norm.weight", "blk.1.attn_output.scale", "output.bias",
                "token_embd_norm.weight", "rope_factors_long.weight"]


@pytest.mark.parametrize("number, name", enumerate(GGUF_TENSORS))
def test_a_foreign_tensor_of_a_gguf_refuses_it(shop, number, name):
    model = plant_gguf(shop.root / f"tensor-{number}.gguf", tensors=[name])
    assert f"does not read: '{name}'" in refusal(shop, model, number)


U32, F32, BOOL = (4, "<I"), (6, "<f"), (7, "<?")
GGUF_KEYS = [
    ("llama.attention.causal", BOOL, False, "'llama.attention.causal' is false, only true is computed"),
    ("llama.attention.clamp_kqv", F32, 8.0, "'llama.attention.clamp_kqv' is 8, which changes the model"),
    ("llama.expert_count", U32, 8, "'llama.expert_used_count' is missing"),
    ("llama.logit_scale", F32, 0.5, "'llama.logit_scale' is 0.5, only 1 is computed"),
    ("llama.attention.kv_lora_rank", U32, 8, "latent attention (MLA) are unsupported"),
    ("llama.final_logit_softcapping", F32, 30.0, "'llama.final_logit_softcapping' is 30, which changes the model"),
    ("llama.pooling_type", U32, 1, "'llama.pooling_type' is 1, which changes the model"),
    ("llama.rope.scaling.attn_factor", F32, 1.5, "'llama.rope.scaling.attn_factor' is 1.5, only 1 is computed"),
]


@pytest.mark.parametrize("number, key, kind, value, says", [(n, *row) for n, row in enumerate(GGUF_KEYS)])
def test_a_gguf_key_that_changes_the_model_refuses_it(shop, number, key, kind, value, says):
    model = plant_gguf(shop.root / f"key-{number}.gguf", [(key, kind[0], struct.pack(kind[1], value))])
    assert says in refusal(shop, model, number)


def test_gguf_keys_that_are_unknown_or_inert(shop):
    inert = [("llama.attention.causal", 7, b"\1"), ("general.of_whom", 4, b"\1\0\0\0"), ("llama.rope.scaling.finetuned", 7, b"\1")]
    assert notes(plant_gguf(shop.root / "inert.gguf", inert, ["blk.0.attn_rot_embd.weight"]), 0, shop) == []
    model = plant_gguf(shop.root / "unknown.gguf", [("llama.of_mine", 4, b"\1\0\0\0"), ("of.mine", 4, b"\1\0\0\0")])
    assert notes(model, 1, shop) == ["metadata keys that architecture 'llama' does not know: 'llama.of_mine', 'of.mine'"]


# --- index.json ---

INDEX = [("family", "gemma3", "family 'gemma3', the model is 'llama'"), ("vocab_size", 99, "vocab_size 99, the model has 128"),
         ("intermediate_size", 99, "intermediate_size 99, the model has 48"), ("embed_scale", 2.5, "embed_scale 2.5, the model has 1"),
         ("rope_base", 5e5, "rope_base 500000, the model has 321")]


def test_an_index_that_contradicts_the_model_is_told(shop):
    place = FIELD / "rope-scaling-theta"
    vindex = shop.root / "contradicts.vindex"
    harness.run(["extract", place, vindex, "--format", "f32"])
    index = json.loads((vindex / "index.json").read_text())
    for key, value, _ in INDEX:
        (index["model_config"] if key == "rope_base" else index)[key] = value
    (vindex / "index.json").write_text(json.dumps(index))
    job = shop.job(place, {"v": vindex}, {"v": [{"path": "sparse"}]}, prompts={"file": str(place / "prompts.jsonl")}, kernel_check=0)
    done = job.run()
    lines = [line for line in done.stderr.splitlines() if "warning: vindex 'v': index.json has " in line]
    assert len(lines) == len(INDEX), done.stderr
    assert done.stdout.count("warning: vindex 'v': index.json has ") == len(INDEX)  # and in the table
    for (_, _, says), line in zip(INDEX, lines):
        assert line.endswith(says), line

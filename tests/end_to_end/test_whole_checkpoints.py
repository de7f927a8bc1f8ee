"""`scope: model`: path `checkpoint_model`, whose own residual stream is another checkpoint's from the embedding to the head.

The oracle is an audit in which that checkpoint is the model: the case must give the logits of its reference, bit for bit.
"""
import json
import re
import shutil

import h5py
import numpy as np
import pytest

import gguf_files
import harness
import random_model
from harness import assert_equal_bits

FAMILIES = ["tiny-llama", "tiny-gemma3", "tiny-qwen3", "gpt2", "tiny-starcoder2", "granite"]
FFN, WHOLE = "other:checkpoint", "other:checkpoint_model"


def perturbed(shop, name, path, **config):
    """The golden directory with every number of every tensor, norms and biases too, a few per cent off; f32."""
    shutil.copytree(shop.model(name), path)
    random = np.random.default_rng(7)
    tensors = gguf_files.read_safetensors(path / "model.safetensors")
    tensors = {key: values * (1 + random.normal(0, 0.05, values.shape)).astype(np.float32) for key, values in tensors.items()}
    gguf_files.write_safetensors(path / "model.safetensors", tensors, "F32")
    change_config(path, **config)
    return path


def change_config(path, **keys):
    file = path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


def job(shop, model, *entries, **keys):
    made = shop.job(model, {}, **keys)
    text = json.loads(made.path.read_text())
    text["audits"][0]["vindexes"] = list(entries)
    made.path.write_text(json.dumps(text))
    return made


def whole(path, **keys):
    return {"name": "other", "checkpoint": str(path), "scope": "model", **keys}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_case_says_what_the_other_model_says(shop, tmp_path, name):
    other = perturbed(shop, name, tmp_path / "other")
    keys = {"logits": "all"}
    result = job(shop, shop.model(name), whole(other), **keys).result(expect=1)
    truth = job(shop, other, {"name": "same", "checkpoint": str(other)}, **keys).result()
    assert result.cases == [FFN, WHOLE]
    for field in ("top1_id", "top1_prob", "topk_id", "topk_logprob"):
        np.testing.assert_array_equal(result.case(WHOLE, field), truth[f"ref_{field}"])

    np.testing.assert_array_equal(result.case(WHOLE, "obs_next_logprob"), truth["obs_ref_next_logprob"])
    assert (result.case(FFN, "topk_logprob") != truth["ref_topk_logprob"]).any()
    # on the reference's own inputs both are the same FFN
    for field in ("cos", "rel_l2", "eta", "kernel_rel_l2"):
        np.testing.assert_array_equal(result.case(WHOLE, field), result.case(FFN, field))
    assert (result.case(WHOLE, "kl") > 0).all() and np.nanmax(result.case(WHOLE, "kernel_own_rel_l2")) < 1e-5


def test_a_model_is_equal_to_itself(shop):
    result = job(shop, shop.model("tiny-gemma3"), whole(shop.model("tiny-gemma3"))).result()
    for case in (FFN, WHOLE):
        assert result.case(case, "verdict") == "PASS"
        assert (result.case(case, "kl") == 0).all() and (result.case(case, "drift") == 0).all()


def test_other_cases_keep_their_bits(shop, tmp_path):
    """Its lane stands between two of the reference's model."""
    other, model = perturbed(shop, "tiny-llama", tmp_path / "other"), shop.model("tiny-llama")
    before, after = ({"name": name, "path": str(shop.vindex("tiny-llama", "f16"))} for name in ("before", "after"))
    with_it = job(shop, model, before, whole(other), after).result(expect=1)
    without = job(shop, model, before, {"name": "other", "checkpoint": str(other)}, after).result(expect=1)
    for case in without.cases:
        for field in ("cos", "rel_l2", "eta", "drift", "kernel_own_rel_l2", "kl", "topk_logprob"):
            np.testing.assert_array_equal(with_it.case(case, field), without.case(case, field))
    for field in ("h_norm", "ref_topk_logprob", "ref_nll"):
        np.testing.assert_array_equal(with_it[field], without[field])


@pytest.mark.parametrize("ranks, sets", [(2, []), (3, ["grid.teams=3"]), (4, ["grid.stages=2", "grid.teams=2"]),
                                         (4, ["grid.teams=4"]), (1, ["batch.rows=8"])])
def test_ranks_and_batches_change_no_bit(shop, tmp_path, ranks, sets):
    other = perturbed(shop, "tiny-gemma3", tmp_path / "other")
    entries = ({"name": "f16", "path": str(shop.vindex("tiny-gemma3", "f16"))}, whole(other),
               {"name": "again", "path": str(shop.vindex("tiny-gemma3", "f16"))})
    one, many = (job(shop, shop.model("tiny-gemma3"), *entries, logits="all") for _ in range(2))
    one.run(expect=1)
    many.run(ranks=ranks, sets=sets, expect=1)
    assert_equal_bits(one, many)


def test_a_quantised_embedding_makes_the_bucket(shop, tmp_path):
    """The FFN alone is of floats, so the two cases have two buckets."""
    keys, head, tensors = gguf_files.read_gguf(shop.model("tiny-llama-mixed.gguf"))
    rows = gguf_files.read_safetensors(shop.model("tiny-llama") / "model.safetensors")
    for layer in range(2):
        for ours, theirs in (("gate", "gate_proj"), ("up", "up_proj"), ("down", "down_proj")):
            values = rows[f"model.layers.{layer}.mlp.{theirs}.weight"]
            tensors[f"blk.{layer}.ffn_{ours}.weight"] = (values.shape[::-1], 0, gguf_files.f32(values)[0].tobytes())
    path = gguf_files.write_gguf(tmp_path / "file.gguf", keys, head, tensors)
    result = job(shop, shop.model("tiny-llama"), whole(path)).result(expect=None)
    assert result.case(FFN, "case_bucket") == "exact" and result.case(WHOLE, "case_bucket") == "quantized"


def test_surplus_rows_are_ignored_and_said(shop, tmp_path):
    other, model = tmp_path / "other", shop.model("tiny-llama")
    shutil.copytree(model, other)
    tensors = gguf_files.read_safetensors(other / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in tensors:
            vocab, hidden = tensors[name].shape
            tensors[name] = np.vstack([tensors[name], np.ones((64, hidden), np.float32)])
    gguf_files.write_safetensors(other / "model.safetensors", tensors, "F32")
    change_config(other, vocab_size=vocab + 64)
    made = job(shop, model, whole(other))
    done = made.run()
    assert f"64 rows of its output matrix are ignored, the model has {vocab}" in done.stdout + done.stderr
    result = harness.Result(made.result_path)
    assert (result.case(WHOLE, "kl") == 0).all() and result.case(WHOLE, "verdict") == "PASS"
    told = job(shop, other, whole(model)).run(expect=3).stderr
    assert f"has {vocab} rows of the embedding" in told and f"{vocab + 64}" in told, told


def test_ids_with_another_meaning_are_refused(shop, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(shop.model("tiny-llama"), other)
    file = other / "tokenizer.json"
    text = json.loads(file.read_text())
    vocab = text["model"]["vocab"]
    first, second = [piece for piece in vocab if vocab[piece] in (300, 301)]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    file.write_text(json.dumps(text))
    told = job(shop, shop.model("tiny-llama"), whole(other)).run(expect=3).stderr
    assert "token 300 is" in told and "other" in told, told


def test_what_scope_goes_with(shop):
    model = shop.model("tiny-llama")
    for entry, says in (({"name": "v", "path": "a", "scope": "model"}, "'scope' and 'path'"),
                        (whole(model, paths=[{"path": "checkpoint"}]), "'scope' and 'paths'"),
                        (whole(model, scope="all"), "expected 'ffn' or 'model'")):
        told = job(shop, model, entry).run(expect=2).stderr
        assert says in told, told
    assert job(shop, model, whole(model, scope="ffn")).result().cases == [FFN]
    named = {"name": "other", "checkpoint": str(model), "paths": [{"path": "checkpoint_model"}]}
    assert job(shop, model, named).result().cases == [WHOLE]


# --- ENCODING of what lies beside the FFN: attention, norms element by element, embedding and head

WRONG = [("tiny-gemma3", "model.layers.2.self_attn.q_proj.weight", (5,), "layer 2, queries, row 5: 1 of 256 rows"),
         ("gpt2", "transformer.h.1.attn.c_attn.weight", (slice(None), 67), "layer 1, keys, row 3: 1 of 64 rows"),
         ("qwen2", "model.layers.1.self_attn.v_proj.weight", (1,), "layer 1, values, row 1: 1 of 32 rows"),
         ("tiny-llama", "model.layers.0.self_attn.o_proj.weight", (17,), "layer 0, attention output, row 17: 1 of 256 rows"),
         ("qwen2", "model.layers.0.self_attn.q_proj.bias", (9,), "layer 0, bias of queries, row 9: 1 of 64 rows"),
         ("gpt2", "transformer.h.0.attn.c_attn.bias", (130,), "layer 0, bias of values, row 2: 1 of 64 rows"),
         ("tiny-starcoder2", "model.layers.1.self_attn.o_proj.bias", (8,), "layer 1, bias of attention output, row 8: 1 of 256 rows"),
         ("tiny-gemma3", "model.layers.1.self_attn.q_norm.weight", (3,), "layer 1, norm of queries, row 3: 1 of 64 rows"),
         ("tiny-gemma3", "model.layers.1.self_attn.k_norm.weight", (63,), "layer 1, norm of keys, row 63: 1 of 64 rows"),
         ("tiny-llama", "model.layers.1.input_layernorm.weight", (0,), "layer 1, norm before attention, row 0: 1 of 256 rows"),
         ("tiny-gemma3", "model.layers.0.post_attention_layernorm.weight", (200,), "layer 0, norm after attention, row 200: 1 of 256 rows"),
         ("tiny-gemma3", "model.layers.3.pre_feedforward_layernorm.weight", (7,), "layer 3, norm before the FFN, row 7: 1 of 256 rows"),
         ("tiny-gemma3", "model.layers.3.post_feedforward_layernorm.weight", (8,), "layer 3, norm after the FFN, row 8: 1 of 256 rows"),
         ("gpt2", "transformer.h.1.ln_2.bias", (9,), "layer 1, bias of the norm before the FFN, row 9: 1 of 64 rows"),
         ("tiny-gemma3", "model.embed_tokens.weight", (300,), "layer 0, embedding, row 300: 1 of 768 rows"),
         ("gpt2", "transformer.wpe.weight", (6,), "layer 0, positions, row 6: 1 of 64 rows"),
         ("tiny-llama", "lm_head.weight", (400,), "layer 1, output matrix, row 400: 1 of 416 rows"),
         ("tiny-llama", "model.norm.weight", (255,), "layer 1, final norm, row 255: 1 of 256 rows"),
         ("gpt2", "transformer.ln_f.bias", (4,), "layer 1, bias of the final norm, row 4: 1 of 64 rows")]


@pytest.mark.parametrize("name, tensor, at, said", WRONG)
def test_wrong_numbers_beside_the_ffn_are_encoding(shop, tmp_path, name, tensor, at, said):
    """Of the whole checkpoint; its FFNs alone are healthy."""
    other = tmp_path / "other"
    shutil.copytree(shop.model(name), other)
    tensors = gguf_files.read_safetensors(other / "model.safetensors")
    tensors[tensor][at] += 0.01
    gguf_files.write_safetensors(other / "model.safetensors", tensors, "F32")
    result = job(shop, shop.model(name), whole(other)).result(expect=1)
    assert result.case(FFN, "verdict") == "PASS" and result.case(WHOLE, "verdict") == "ENCODING"
    assert result.case(WHOLE, "fail_reasons").startswith(said), result.case(WHOLE, "fail_reasons")


def test_a_wrong_sink_is_encoding(shop, tmp_path):
    golden, name = random_model.Golden(harness.GOLDEN / "experts"), "gpt_oss-plain"
    model, other = golden.model(name, shop.root), tmp_path / "other"
    shutil.copytree(model, other)
    tensors = gguf_files.read_safetensors(other / "model.safetensors")
    tensors["model.layers.1.self_attn.sinks"][2] += 0.01
    gguf_files.write_safetensors(other / "model.safetensors", tensors, "F32")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(golden.prompts(name))
    result = job(shop, model, whole(other), prompts={"file": str(prompts)}).result(expect=1)
    assert result.case(FFN, "verdict") == "PASS" and result.case(WHOLE, "verdict") == "ENCODING"
    assert result.case(WHOLE, "fail_reasons").startswith("layer 1, sinks, row 2: 1 of ")


GEMMA = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
GEMMA_NORMS = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "input_layernorm": "attn_norm",
               "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
               "post_feedforward_layernorm": "post_ffw_norm"}


def gemma_gguf(shop, path, tensors):
    """All of them as f32; norms with the 1 that Gemma adds, as converters write them."""
    keys, head, stored = gguf_files.read_gguf(shop.model("tiny-gemma3-mixed.gguf"))
    for key, values in tensors.items():
        stem = key.removesuffix(".weight").removeprefix("model.")
        layer, _, rest = stem.removeprefix("layers.").partition(".")
        name = {"embed_tokens": "token_embd", "norm": "output_norm"}.get(stem) or f"blk.{layer}.{(GEMMA | GEMMA_NORMS)[rest]}"
        values = values + np.float32(1) if values.ndim == 1 else values
        assert f"{name}.weight" in stored
        stored[f"{name}.weight"] = (values.shape[::-1], 0, gguf_files.f32(values)[0].tobytes())
    return gguf_files.write_gguf(path, keys, head, stored, alignment=64)  # the golden file's


def test_norms_are_compared_as_they_are_stored(shop, tmp_path):
    """Of a GGUF file without the 1: its rounding to bf16 is healthy there, which it is not beside the sum."""
    tensors = gguf_files.read_safetensors(shop.model("tiny-gemma3") / "model.safetensors")
    rng = np.random.default_rng(3)
    tensors = {key: values * (1 + rng.normal(0, 0.01, values.shape)).astype(np.float32) for key, values in tensors.items()}
    rounded = {key: gguf_files.bf16(values)[1].reshape(values.shape) for key, values in tensors.items()}
    full, short = (gemma_gguf(shop, tmp_path / f"{word}.gguf", them) for word, them in (("full", tensors), ("short", rounded)))
    folder = tmp_path / "bf16"
    shutil.copytree(shop.model("tiny-gemma3"), folder)
    gguf_files.write_safetensors(folder / "model.safetensors", tensors, "BF16")
    for model, other, exact in ((full, folder, False), (folder, short, True), (short, folder, True)):
        result = job(shop, model, whole(other)).result(expect=None)
        assert result.case(WHOLE, "encoding_excess") <= 1, (model, other, result.case(WHOLE, "fail_reasons"))
        assert (result["row_err_max"][0] > 0).any() != exact
        assert np.count_nonzero(result["row_err_checked"][0] == "yes") == 4 * (3 + 4 + 6) + 2  # FFN, attention, norms, ends


def test_another_set_of_tensors_is_refused(shop, tmp_path):
    """A bias that one of the two does not have."""
    other = tmp_path / "other"
    shutil.copytree(shop.model("tiny-llama"), other)
    tensors = gguf_files.read_safetensors(other / "model.safetensors")
    for layer in range(2):
        for which in "qkvo":
            rows = len(tensors[f"model.layers.{layer}.self_attn.{which}_proj.weight"])
            tensors[f"model.layers.{layer}.self_attn.{which}_proj.bias"] = np.zeros(rows, np.float32)
    gguf_files.write_safetensors(other / "model.safetensors", tensors, "F32")
    change_config(other, attention_bias=True)
    told = harness.one_error_line(job(shop, shop.model("tiny-llama"), whole(other)).run(expect=3))
    assert "layer 0 has 'bias of queries' in the checkpoint" in told, told


# --- What the comparison of all tensors takes


def planned(made, *words):
    """The plan of one audit, from JSON."""
    return json.loads(harness.run(["plan", made.path, "--json", "--gflops", "40", *words]).stdout)["audits"][0]["plans"][0]


def attributes(made):
    with h5py.File(made.result_path) as file:
        return dict(file["run"]["0"].attrs)


@pytest.fixture(scope="module")
def with_a_large_vocabulary(shop):
    model = shop.root / "large-vocabulary"
    harness.run(["synth", model, "--family", "llama", "--shape", "tiny", "--vocab", "80000"])
    return model


def test_the_plan_counts_what_is_compared(shop, with_a_large_vocabulary, tmp_path):
    """Bytes to the last one; memory, most of it for the rows of the embedding; time, which is nothing without the check."""
    model = with_a_large_vocabulary
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"key": "one", "ids": [5, 6, 7]}) + "\n")
    found = {}
    for scope in ("ffn", "model"):
        made = job(shop, model, {"name": "other", "checkpoint": str(model), "scope": scope}, prompts={"file": str(prompts)})
        found[scope] = planned(made)
        made.run()
        ran = attributes(made)
        assert found[scope]["encoding_check_bytes"] == ran["bytes_encoding_check"]
        assert 0.8 * ran["arena_bytes_per_rank_max"] < found[scope]["memory_bytes"] < 1.2 * ran["arena_bytes_per_rank_max"], scope
    assert found["model"]["memory_bytes"] > found["ffn"]["memory_bytes"] + 1.5e6
    assert found["model"]["encoding_check_seconds"] > 2 * found["ffn"]["encoding_check_seconds"] > 0
    assert attributes(made)["bytes_encoding_check"] > found["ffn"]["encoding_check_bytes"]
    none = planned(made, "--set", "encoding_check=none")
    assert none["encoding_check_seconds"] == none["encoding_check_bytes"] == 0
    said = harness.run(["plan", made.path]).stdout
    assert re.search(r"^ *the encoding check reads \S+ MB on the rank that compares most, once$", said, re.MULTILINE), said


def test_a_rank_maps_the_streams_that_it_has(shop, with_a_large_vocabulary):
    """Attention, embedding and head of the other checkpoint too: the model's own FFN and twice the other's, everything else twice."""
    model = with_a_large_vocabulary
    made = job(shop, model, whole(model))
    said = harness.run(["plan", made.path, "--gflops", "40"]).stdout
    value, unit = re.search(r"^ *0 +0-\d+ +([\d.]+) ([kMG])B ", said, re.MULTILINE).groups()
    tensors = gguf_files.read_safetensors(model / "model.safetensors")
    size = {part: sum(2 * values.size for name, values in tensors.items() if values.ndim == 2 and (".mlp." in name) == (part == "ffn"))
            for part in ("ffn", "rest")}
    assert abs(float(value) * {"k": 1e3, "M": 1e6, "G": 1e9}[unit] / (3 * size["ffn"] + 2 * size["rest"]) - 1) < 0.01

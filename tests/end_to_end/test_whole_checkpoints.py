"""`scope: model`: path `checkpoint_model`, whose own residual stream is another checkpoint's from the embedding to the head.

The oracle is an audit in which that checkpoint is the model: the case must give the logits of its reference, bit for bit.
"""
import json
import shutil

import numpy as np
import pytest

import gguf_files
import harness
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

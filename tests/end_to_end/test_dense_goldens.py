"""The dense forward against independent float64 goldens, as far as a result file shows it.

Full x and y: tests/unit/test_dense.c. Here token ids, the norms of x and y, the most probable tokens.
Tolerances (tests/golden/README.md): norms 2e-5 relative, probabilities 1e-5, ids equal.
"""
import json

import numpy as np
import pytest

import harness

DIRECTORIES = [("tiny-gemma3", "native"), ("tiny-gemma3", "larql-2026-05"), ("tiny-llama", "native"), ("tiny-llama", "larql-2026-05"),
               ("tiny-qwen3", "native"), ("tiny-qwen3", "larql-2026-05"), ("tiny-odd", "native"), ("tiny-odd", "larql-2026-05"),
               ("gemma2", "native"), ("mistral-sharded", "native"), ("qwen2", "native"), ("llama-linear", "native"),
               ("llama-llama3", "native"), ("granite", "native"), ("gpt2", "native"),
               ("tiny-starcoder2", "native"), ("tiny-starcoder2", "larql-2026-05")]
GGUFS = ["tiny-gemma3-mixed.gguf", "tiny-llama-mixed.gguf", "qwen2-v2.gguf", "gemma2-q5k-bf16.gguf"]


def audit(shop, name, semantics):
    vindex = shop.vindex(name, "f32") if (harness.GOLDEN / "models" / name).is_dir() else None
    if vindex is None:  # a GGUF: LARQL has no vindex of it to be equal to
        vindex = shop.root / f"{name}.vindex"
        harness.run(["extract", shop.model(name), vindex, "--format", "f32"])
    return shop.job(shop.model(name), {"f32": vindex}, semantics=semantics).result()


def check_head(result, prompt, golden):
    at = result.prompts.index(prompt)
    assert result["token_id"][result.rows(prompt)].tolist() == list(golden["token_id"])
    assert result["ref_top1_id"][at] == golden["top5_id"][0]
    assert abs(result["ref_top1_prob"][at] - golden["top5_prob"][0]) <= 1e-5
    top = dict(zip(result["ref_topk_id"][at].tolist(), np.exp(result["ref_topk_logprob"][at])))
    for token, probability in zip(golden["top5_id"], golden["top5_prob"]):
        assert abs(top[int(token)] - probability) <= 1e-5
    for case, walk in enumerate(result["top1_id"][:, at]):  # an f32 vindex says what the model says
        assert walk == golden["top5_id"][0], result.cases[case]
        assert abs(result["prob_delta"][case, at]) <= 1e-5


@pytest.mark.parametrize("name, semantics", DIRECTORIES)
def test_dense_forward_agrees_with_float64(shop, name, semantics):
    golden = harness.dense_golden(name.removesuffix("-sharded"))
    golden = golden.get(semantics, golden["native"])
    result = audit(shop, name, semantics)
    for prompt in harness.SEED:
        check_head(result, prompt, golden[prompt])
        rows = result.rows(prompt)
        for field, vectors in (("x_norm", golden[prompt]["x"]), ("ref_norm", golden[prompt]["y"])):
            norm = np.sqrt(np.sum(np.square(vectors.astype(np.float64)), axis=-1))
            np.testing.assert_allclose(result[field][:, rows], norm, rtol=2e-5, atol=0, err_msg=f"{field} of {prompt}")
    assert set(result["verdict"]) == {"PASS"}


@pytest.mark.parametrize("name", GGUFS)
def test_gguf_agrees_with_float64(shop, name):
    golden = json.loads((harness.GOLDEN / "gguf" / f"{name}.top5.json").read_text())
    result = audit(shop, name, "native")
    for prompt in harness.SEED:
        check_head(result, prompt, golden[prompt])
    assert set(result["verdict"]) == {"PASS"}


def test_semantics_are_two_different_things(shop):
    """tiny-gemma3's goldens differ between native and larql by far more than any tolerance: a mix-up would show."""
    golden = harness.dense_golden("tiny-gemma3")
    p = [golden[s]["paris"]["top5_prob"][0] for s in ("native", "larql-2026-05")]
    assert abs(p[0] - p[1]) > 1e-4

"""Layers with experts in a case: path `checkpoint` of a model with experts against that model."""
import os
import shutil

import numpy as np
import pytest

import gguf_files
import harness
import random_model

GOLDEN = random_model.Golden(harness.GOLDEN / "experts")


def copy_of(shop, name, path, change=lambda tensors: None, dtype="BF16"):
    """The model's directory with other tensors: change has a say in {name: f32 array}."""
    told = GOLDEN.description(name)
    tensors = {key: np.array(values) for key, values in random_model.tensors(told["shapes"], told["seed"]).items()}
    change(tensors)
    shutil.copytree(GOLDEN.model(name, shop.root), path)
    gguf_files.write_safetensors(path / "model.safetensors", tensors, dtype)
    return path


def job(shop, name, checkpoints, model=None, **keys):
    """A job of checkpoints {case: path} against the golden model."""
    prompts = shop.root / f"{name}-prompts.jsonl"
    prompts.write_text(GOLDEN.prompts(name))
    made = shop.job(model or GOLDEN.model(name, shop.root), {}, prompts={"file": str(prompts)}, **keys)
    text = harness.json.loads(made.path.read_text())
    text["audits"][0]["vindexes"] = [{"name": n, "checkpoint": str(p)} for n, p in checkpoints.items()]
    made.path.write_text(harness.json.dumps(text))
    return made


def noise(tensors):
    """Each expert's numbers, and the router's, off by half a percent."""
    rng = np.random.RandomState(7)
    for key, values in tensors.items():
        if ".mlp." in key or ".block_sparse_moe." in key:
            values *= (1 + 0.005 * rng.standard_normal(values.shape)).astype("<f4")


@pytest.mark.parametrize("name", ["mixtral-window", "qwen2_moe-step", "qwen2_moe-shared", "qwen3_moe-sum", "olmoe-biases", "gpt_oss-alternating"])
def test_a_case_evaluates_experts_from_its_own_weights(shop, tmp_path, name):
    """The same numbers give the reference's bits; others give what an audit gives in which they are the reference."""
    other = copy_of(shop, name, tmp_path / "other", noise, "F32")
    made = job(shop, name, {"same": GOLDEN.model(name, shop.root), "other": other}, captures={"tensors": ["x", "y_walk"]})
    made.run(expect=None)
    result = harness.Result(made.result_path)
    assert result.case("same:checkpoint", "max_rel_l2") == 0 and (result.case("same:checkpoint", "kl") == 0).all()
    for case in ("same:checkpoint", "other:checkpoint"):
        for field in ("kernel_rel_l2", "kernel_own_rel_l2"):
            seen = result.case(case, field)[np.isfinite(result.case(case, field))]
            assert len(seen) > 0 and 0 < seen.max() < 2e-6, (case, field)
    assert result.case("other:checkpoint", "mean_rel_l2") > 1e-3
    # the same distances from the other side: its y as the reference's, relative to the other's norm
    back = job(shop, name, {"model": GOLDEN.model(name, shop.root)}, model=other)
    back.run(expect=None)
    first = 0  # layer 0 has the same input in both
    there, here = harness.Result(back.result_path), result
    np.testing.assert_allclose(here.case("other:checkpoint", "l2")[first], there.case("model:checkpoint", "l2")[first], rtol=1e-12)


@pytest.mark.parametrize("name", ["qwen2_moe-shared", "gpt_oss-window"])
def test_bits_of_a_case_are_the_same_on_any_ranks_and_batches(shop, tmp_path, name):
    checkpoints = {"other": copy_of(shop, name, tmp_path / "other", noise)}
    alone = job(shop, name, checkpoints)
    alone.run(expect=None)
    for ranks, keys in ((1, {"batch": {"rows": 9}}), (2, {"grid": {"stages": 2}}), (2, {"grid": {"teams": 2}}),
                        (3, {"grid": {"stages": 3}}), (4, {"grid": {"stages": 2, "teams": 2}})):
        other = job(shop, name, checkpoints, **keys)
        other.run(ranks=ranks, expect=None)
        harness.assert_equal_bits(alone, other)
    more = job(shop, name, checkpoints | {"same": GOLDEN.model(name, shop.root)})
    more.run(expect=None)
    a, b = harness.Result(alone.result_path), harness.Result(more.result_path)
    for field in ("rel_l2", "kernel_rel_l2", "kernel_own_rel_l2", "drift", "kl"):
        np.testing.assert_array_equal(a.case("other:checkpoint", field), b.case("other:checkpoint", field))


CONFIGURED = [({"num_experts_per_tok": 3}, "layer 0: the checkpoint has 3 experts for each row, the model 2"),
              ({"norm_topk_prob": True}, "layer 0: the weights of chosen experts sum to 1 in the checkpoint alone")]


@pytest.mark.parametrize("keys, said", CONFIGURED)
def test_another_formula_is_refused(shop, tmp_path, keys, said):
    name = "qwen2_moe-shared"
    path = copy_of(shop, name, tmp_path / "other")
    config = harness.json.loads((path / "config.json").read_text()) | keys
    (path / "config.json").write_text(harness.json.dumps(config))
    assert said in harness.one_error_line(job(shop, name, {"other": path}).run(expect=None))


# --- Faults of kernels (src/path/fault.h)

FAULTS = [("next-expert", "olmoe-raw"), ("router-bias", "gpt_oss-window"), ("expert-weights", "olmoe-raw"), ("expert-weights", "qwen3_moe-sum"),
          ("expert-halves", "mixtral-window"), ("expert-halves", "gpt_oss-window"), ("expert-input", "qwen3_moe-yarn"),
          ("no-shared-expert", "qwen2_moe-shared")]


@pytest.mark.parametrize("fault, name", FAULTS)
def test_a_kernel_that_treats_experts_wrongly_is_kernel(shop, fault, name):
    """At the layer where it does, on either stream; the program without the fault finds nothing."""
    made = job(shop, name, {"same": GOLDEN.model(name, shop.root)})
    for planted, word in (({"WALKAUDIT_FAULT": fault, "WALKAUDIT_FAULT_LAYER": "1"}, "KERNEL"), ({}, None)):
        made.run(words=("--fresh",), expect=None, program=os.environ["WALKAUDIT_FAULTY"], **planted)
        result = harness.Result(made.result_path)
        worst = np.nanmax(np.maximum(result.case("same:checkpoint", "kernel_rel_l2"), result.case("same:checkpoint", "kernel_own_rel_l2")), axis=-1)
        assert (worst[1] > 1e-3) == (word == "KERNEL") and np.all(worst[::2] < 2e-6), (fault, worst)
        if word == "KERNEL":
            assert result.case("same:checkpoint", "verdict") == "KERNEL"
            assert "layer 1, " in result.case("same:checkpoint", "fail_reasons").splitlines()[0]

"""The kernel check: what it looks at, and that it looks at every case it can judge."""
import json
import os

import h5py
import numpy as np
import pytest

import harness

WIDE = 100000  # above any FFN width of the golden models


@pytest.mark.parametrize("family", ["gemma3", "llama"])
def test_a_few_features_that_cancel_are_not_the_kernels_fault(shop, family):
    """At K of a few, y may cancel to less than f32 resolves: the error is relative to that, and a healthy kernel is not accused."""
    model, vindex = shop.root / f"few-{family}", shop.root / f"few-{family}.vindex"
    harness.run(["synth", model, "--family", family, "--shape", "tiny", "--seed", "3"])
    harness.run(["extract", model, vindex, "--format", "f16"])
    paths = [{"path": path, "k": k} for path in ("sparse_serial", "weights_fallback") for k in (1, 2, 3, 4)]
    result = shop.job(model, {"f16": vindex}, paths=paths).result()
    assert set(result["verdict"]) == {"MEASURED"}, dict(zip(result.cases, result["fail_reasons"]))


@pytest.mark.parametrize("variant, path", [("q4k", "sparse_serial"), ("q4k", "sparse_parallel"), ("f16", "sparse_serial"),
                                           ("f16", "weights_fallback")])
def test_a_k_above_the_width_means_all_features(shop, variant, path):
    """It once wrote hit lists of k entries into room for as many as there are features."""
    paths = [{"path": path, "k": WIDE}, {"path": path}]
    job = shop.job(shop.model("tiny-qwen3"), {"v": shop.vindex("tiny-qwen3", variant)}, paths=paths)
    done = job.run()
    result = harness.Result(job.result_path)
    wide, whole = f"v:{path}:k{WIDE}", f"v:{path}"
    layers = result["rel_l2"].shape[1]
    assert result.cases == [wide, whole]
    for figure in ("rel_l2", "eta", "drift", "kl", "top1_id"):
        assert np.array_equal(result.case(wide, figure), result.case(whole, figure), equal_nan=True), figure
    assert np.nanmax(result.case(wide, "kernel_rel_l2")) <= 1e-5
    assert result["case_k"].tolist() == [WIDE, -1] and result["case_k_all_layers"].tolist() == [layers, 0]
    assert f"note: {wide}: k = {WIDE} takes all features of {layers} of {layers} layers" in done.stdout
    assert f"note: {whole}: " not in done.stdout


LAYERS, OBS = 24, 39
PATHS = [{"path": "sparse"}, {"path": "exact"}, {"path": "sparse_serial", "k": 100}]


@pytest.fixture(scope="module")
def deep(shop):
    """A model of more layers than the sample has bands, its f16 vindex, and three prompts of 13 positions."""
    model, vindex, prompts = shop.root / "deep", shop.root / "deep-f16", shop.root / "deep.jsonl"
    harness.run(["synth", model, "--family", "gemma3", "--shape", "tiny", "--layers", str(LAYERS), "--seed", "3"])
    harness.run(["extract", model, vindex, "--format", "f16"])
    rng = np.random.default_rng(5)
    prompts.write_text("".join(json.dumps({"key": key, "ids": rng.integers(3, 200, OBS // 3).tolist()}) + "\n" for key in "abc"))
    return lambda **keys: shop.job(model, {"v": vindex}, **{"paths": PATHS, "prompts": {"file": str(prompts)}, **keys})


def sampled(result, field="kernel_rel_l2"):
    return np.isfinite(result[field])


def test_the_sample_meets_every_eighth_and_layer_on_both_streams(deep):
    job = deep()
    done = job.run()
    result = harness.Result(job.result_path)
    pairs = sampled(result)
    assert pairs.shape == (3, LAYERS, OBS)
    assert np.array_equal(pairs, sampled(result, "kernel_own_rel_l2"))
    assert np.all(pairs == pairs[0])
    assert np.all(pairs[0].reshape(8, LAYERS // 8, OBS).any(axis=1)), "a position at no layer of an eighth"
    assert np.all(pairs[0].sum(axis=1) >= 8)
    count = int(pairs[0].sum())
    assert result["n_kernel"].tolist() == result["n_kernel_own"].tolist() == [count] * 3
    assert result["case_kernel_due"].tolist() == result["case_kernel_own_due"].tolist() == [count] * 3
    assert f"kernel: {count} of {LAYERS * OBS} pairs, every layer, both streams\n" in done.stdout
    assert f"missed with probability (1 - p)^{count}:" in done.stdout
    assert set(result["verdict"]) <= {"PASS", "MEASURED"}


def test_batches_and_ranks_choose_no_pairs(deep):
    whole = deep().result()
    for rows, ranks, grid in ((13, None, {}), (13, 3, {"stages": 3}), (26, 2, {"stages": 1, "teams": 2})):
        other = deep(batch={"rows": rows}, grid=grid).result(ranks=ranks)
        for field in ("kernel_rel_l2", "kernel_own_rel_l2"):
            assert np.array_equal(sampled(whole, field), sampled(other, field)), (rows, ranks, field)


def test_all_none_and_numbers_of_earlier_versions(deep):
    whole = deep(kernel_check="all").result()
    assert np.all(sampled(whole)) and np.all(sampled(whole, "kernel_own_rel_l2"))
    sample = deep().result()
    pairs = sampled(sample)
    assert np.array_equal(whole["kernel_rel_l2"][pairs], sample["kernel_rel_l2"][pairs]), "an answer depends on its neighbours"
    job = deep(kernel_check=8)
    done = job.run()
    assert "note: kernel_check: 8 of an earlier version is taken as 'sample'" in done.stderr
    assert np.array_equal(sampled(harness.Result(job.result_path)), pairs)
    job = deep(kernel_check="none")
    done = job.run()
    result = harness.Result(job.result_path)
    assert not np.any(sampled(result)) and result["case_kernel_due"].tolist() == [0, 0, 0]
    assert "kernel: not checked\n" in done.stdout
    assert set(result["verdict"]) == {"UNCHECKED"}


def evaluations(job, model):
    """How many the oracle made: of its arithmetic the run says how much it was."""
    config = json.loads((model / "config.json").read_text())
    with h5py.File(job.result_path) as file:
        run = file["run"][max(file["run"], key=int)].attrs
        return float(run["flops_kernel_check"][()]) / (6 * config["hidden_size"] * config["intermediate_size"])


def test_what_is_equal_bit_for_bit_is_evaluated_once(deep, shop):
    """At the first layer a case's own input is still the reference's; and of two cases that read the same numbers and answer alike
    one needs the oracle. No bit is another by it, nor in batches of one prompt."""
    alone = deep(kernel_check="all", paths=[{"path": "exact"}])
    result = alone.result()
    assert evaluations(alone, shop.root / "deep") == OBS * (2 * LAYERS - 1)
    assert np.array_equal(result["kernel_rel_l2"][0, 0], result["kernel_own_rel_l2"][0, 0])

    company = deep(kernel_check="all", batch={"rows": 13}, paths=[{"path": p} for p in ("sparse", "full_mmap", "exact")])
    shared = company.result()
    assert evaluations(company, shop.root / "deep") == 2 * evaluations(alone, shop.root / "deep")
    for field in ("kernel_rel_l2", "kernel_own_rel_l2"):
        assert np.array_equal(shared.case("v:exact", field), result.case("v:exact", field)), field


@pytest.mark.parametrize("faulty", ["v:sparse", "v:full_mmap"])
def test_a_fault_of_one_case_is_not_that_of_another_with_the_same_truth(deep, faulty):
    paths = [{"path": p} for p in ("sparse", "full_mmap", "exact")]
    healthy = deep(paths=paths).result()
    job = deep(paths=paths)
    job.run(expect=1, program=os.environ["WALKAUDIT_FAULTY"], WALKAUDIT_FAULT="row-off-by-one", WALKAUDIT_FAULT_CASE=faulty)
    result = harness.Result(job.result_path)
    assert [case for case, verdict in zip(result.cases, result["verdict"]) if verdict == "KERNEL"] == [faulty]
    for case in set(result.cases) - {faulty}:
        for field in ("kernel_rel_l2", "kernel_own_rel_l2"):
            assert np.array_equal(result.case(case, field), healthy.case(case, field), equal_nan=True), (case, field)


@pytest.mark.parametrize("fault, own_only", [("later-batches", False), ("own-stream", True), ("between-rows", False),
                                             ("share", False)])
def test_a_fault_that_eight_rows_of_the_first_batch_would_not_meet(deep, fault, own_only):
    """Of 30 % each; what versions before looked at is right in all but the last."""
    job = deep(batch={"rows": 13})
    job.run(expect=1, program=os.environ["WALKAUDIT_FAULTY"], WALKAUDIT_FAULT=fault)
    result = harness.Result(job.result_path)
    assert set(result["verdict"]) == {"KERNEL"}
    first = result["obs_prompt"] == 0
    for case, reasons in zip(result.cases, result["fail_reasons"]):
        error, own = result.case(case, "kernel_rel_l2"), result.case(case, "kernel_own_rel_l2")
        wrong, own_wrong = np.nan_to_num(error) > 1e-5, np.nan_to_num(own) > 1e-5
        assert np.any(wrong) != own_only and np.any(own_wrong) == (fault != "between-rows")
        assert np.allclose(error[wrong], 0.3, atol=0.01) and np.allclose(own[own_wrong], 0.3, atol=0.01)
        assert ("on the case's own residual stream" in reasons.splitlines()[0]) == own_only
        if fault == "later-batches":
            assert not np.any((wrong | own_wrong)[:, first]) and np.all(wrong[:, ~first] == np.isfinite(error[:, ~first]))
        if fault == "between-rows":
            former = [i * 12 // 7 for i in range(8)]
            assert not np.any(wrong[:, former]) and not np.any(wrong[:, ~first])


def test_no_number_on_the_own_stream_is_told_though_no_oracle_and_no_next_token_met_it(deep):
    """At the last layer, at a position whose logits nobody asks for: the stream alone shows it."""
    job = deep(kernel_check="none", encoding_check="none")
    job.run(expect=1, program=os.environ["WALKAUDIT_FAULTY"], WALKAUDIT_FAULT="own-nan", WALKAUDIT_FAULT_LAYER=str(LAYERS - 1))
    result = harness.Result(job.result_path)
    for case in result.cases:
        lost = np.argwhere(np.isnan(result.case(case, "drift"))).tolist()
        assert lost and {layer for layer, _ in lost} == {LAYERS - 1} and lost[0][1] == 0
        assert result.case(case, "verdict") == "NON-FINITE" and result.case(case, "n_non_finite") == len(lost)
        assert (result.case(case, "non_finite_at_layer"), result.case(case, "non_finite_at_obs")) == (LAYERS - 1, 0)
        assert np.all(np.isfinite(result.case(case, "rel_l2"))) and np.all(np.isfinite(result.case(case, "kl")))


def test_a_fault_at_one_layer_and_in_one_share_of_its_pairs(deep):
    """The last layer alone: the sample looks there too."""
    job = deep()
    job.run(expect=1, program=os.environ["WALKAUDIT_FAULTY"], WALKAUDIT_FAULT="own-stream", WALKAUDIT_FAULT_LAYER=str(LAYERS - 1))
    result = harness.Result(job.result_path)
    for case in result.cases:
        own = np.nan_to_num(result.case(case, "kernel_own_rel_l2"))
        assert np.all(own[:-1] <= 1e-5) and (own[-1] > 0.29).sum() >= 8
        assert f"layer {LAYERS - 1}, " in result.case(case, "fail_reasons").splitlines()[0]

"""`diff`: equal bits, planted changes by layer and case, and refusals."""
import os
import shutil

import numpy as np
import pytest

import harness
from command import json_of, one_line, report
from edit_result import edit

PAYLOADS = ["gate_vectors", "up_features", "down_features", "interleaved", "interleaved_q4", "interleaved_kquant",
            "down_features_kquant", "fp4"]


def make(shop, program=None, expect=0, variants=("f16", "q4k"), **planted):
    job = shop.job(shop.model("tiny-gemma3"), {name: shop.vindex("tiny-gemma3", name) for name in variants})
    job.run(expect=expect, program=program, **planted)
    return job.result_path


@pytest.fixture(scope="module")
def old(shop):
    return make(shop)


@pytest.fixture
def changed(old, tmp_path):
    """A copy to change: changed(function of the file) -> path."""
    def change(what):
        path = tmp_path / "new.h5"
        shutil.copyfile(old, path)
        with edit(path) as file:
            what(file, list(file["case_name"].asstr()))
        return path
    return change


def lines(done, title):
    """The rows of a table of the output, without its header."""
    return done.stdout.split(f"{title}\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]


def test_the_same_job_again_is_equal_bit_for_bit(shop, old):
    done = report("diff", old, make(shop))
    rows = lines(done, "Equal bit for bit")
    assert [row.split()[0] for row in rows] == ["dense", *harness.Result(old).cases]
    assert all(row.split()[1:] == ["4", "of", "4", "none", "equal"] for row in rows)
    assert done.stdout.count("all equal") == 3 and "no observation differs in any bit" in done.stdout
    assert done.stdout.endswith("0 figures worse than 1.5 times; exit code 0\n")


def test_bf16_activations_in_a_q4k_kernel_are_named(shop, old):
    """They move rel_L2 by less than a hundredth, far below the error of the format; the kernel says so."""
    new = make(shop, os.environ["WALKAUDIT_FAULTY"], 1, WALKAUDIT_FAULT="bf16-activations", WALKAUDIT_FAULT_LAYER="2")
    before, after = harness.Result(old), harness.Result(new)
    for case in ("q4k:sparse", "q4k:interleaved_q4k"):
        moved = after.case(case, "rel_l2")[2] / before.case(case, "rel_l2")[2]
        assert np.all(np.abs(moved - 1) < 0.01)
    done = report("diff", old, new, "-n", 50, expect=1)
    dense, *rows = lines(done, "Equal bit for bit")
    assert dense.split() == ["dense", "4", "of", "4", "none", "equal"]  # the fault is in no dense kernel
    assert len(rows) == 5 and all(row.split()[1:6] == ["2", "of", "4", "2-3", "differ"] for row in rows)
    kernels = lines(done, "Kernels, against the stored numbers")
    named = {tuple(row.split()[1:3]) for row in kernels}
    assert named == {(case, "L2") for case in before.cases}
    fidelity = "\n".join(lines(done, "Fidelity, against the dense model"))
    assert "f16:sparse" in fidelity and "q4k:" not in fidelity
    assert "q4k:sparse: MEASURED → KERNEL: layer 2, " in done.stdout
    assert "first layer that is worse: L2 (f16:sparse)" in done.stdout


@pytest.mark.parametrize("name, symbol", [("drift", "drift"), ("rel_l2", "rel_L2"), ("eta", "η")])
def test_twice_the_drift_of_one_layer_is_named(old, changed, name, symbol):
    def plant(file, cases):
        file[name][cases.index("q4k:sparse"), 1] *= 2
    new = changed(plant)
    done = report("diff", old, new, expect=1)
    rows = lines(done, "Fidelity, against the dense model")
    assert [row.split()[:4] for row in rows] == [
        [symbol, "q4k:sparse", "L1", "largest"], [symbol, "q4k:sparse", "L1", "median"]]
    assert all(row.split()[-1] == "2" for row in rows)
    assert "first layer that differs: L1 (q4k:sparse)" in done.stdout and "first layer that is worse: L1 (q4k:sparse)" in done.stdout
    assert lines(done, "Equal bit for bit")[4].split() == ["q4k:sparse", "3", "of", "4", "1", "equal", "L1:", name]
    assert "2 figures worse than 1.5 times; exit code 1" in done.stdout
    report("diff", old, new, "--factor", 3)
    back = report("diff", new, old)
    assert "2 figures better by more than 1.5" in back.stdout
    rows = lines(back, "Fidelity, against the dense model")  # what moved most, downwards
    assert [row.split()[:4] for row in rows[:2]] == [[symbol, "q4k:sparse", "L1", word] for word in ("largest", "median")]
    assert all(row.split()[-1] == "0.5" for row in rows[:2])


def test_what_f32_rounds_away_is_not_worse(old, changed):
    def plant(file, cases):
        file["kernel_rel_l2"][0] *= 5  # 3e-7 to 1.6e-6
    done = report("diff", old, changed(plant))
    assert "none is worse than 1.5 times" in done.stdout
    assert lines(done, "Equal bit for bit")[1].split()[1:5] == ["0", "of", "4", "0-3"]


def test_a_dense_model_that_differs_is_named(old, changed):
    """Its norms by layer, its next tokens: then the figures of all cases rest on another reference."""
    def layer(file, cases):
        file["h_norm"][2, 7] = np.nextafter(file["h_norm"][2, 7], 9e9)
    done = report("diff", old, changed(layer))
    rows = lines(done, "Equal bit for bit")
    assert rows[0].split() == ["dense", "3", "of", "4", "2", "equal", "L2:", "h_norm"] and "dense model itself differs" in rows[-1]
    assert "first layer that differs: L2 (dense)" in done.stdout

    def tokens(file, cases):
        file["ref_topk_logprob"][1, 3] += 1e-3
    done = report("diff", old, changed(tokens))
    assert lines(done, "Equal bit for bit")[0].split()[1:] == ["4", "of", "4", "none", "differ"]
    assert "no layer differs in any bit, but next tokens do" in done.stdout


def test_encoding_rates_tokens_and_numbers_that_are_none(old, changed):
    def plant(file, cases):
        file["row_err_max"][1, PAYLOADS.index("interleaved_kquant"), 3, 2] *= 2
        file["eta"][0, 2, 5] = np.nan
        file["top1_match"][1, 1] = 0
        file["kl"][2] *= 10
        file["verdict"][2] = 5
    done = report("diff", old, changed(plant), expect=1)
    assert [row.split()[:8] for row in lines(done, "Encoding: stored rows, against the model's")] == [
        ["row", "error", "q4k", "L3", "down", "of", "interleaved_kquant,", "max"]]
    fidelity = "\n".join(lines(done, "Fidelity, against the dense model"))
    assert "L2: 1 observations more are no number" in fidelity and "apollo: lost (margin" in fidelity
    assert "KL       f16:exact" in fidelity and "f16:exact: PASS → " in done.stdout


def test_other_inputs_are_refused_by_name(shop, old):
    other = make(shop, variants=("f16",))
    line = one_line(report("diff", old, other, expect=3))
    assert "different inputs" in line and "vindex q4k: interleaved_q4k.bin" in line and "cases (" in line and len(line) < 900
    done = report("diff", old, other, "--force")
    assert "only in old: q4k:sparse, q4k:interleaved_q4k" in done.stdout and "exit code 0" in done.stdout
    job = shop.job(shop.model("tiny-qwen3"), {"f16": shop.vindex("tiny-qwen3", "f16")})
    job.run()
    assert "model: config.json" in one_line(report("diff", old, job.result_path, expect=3))
    assert "dimension 'layer'" in one_line(report("diff", old, job.result_path, "--force", expect=3))


def test_results_without_fingerprints_are_refused(old, tmp_path):
    path = tmp_path / "bare.h5"
    shutil.copyfile(old, path)
    with edit(path) as file:
        del file.attrs["fingerprint_keys"], file.attrs["fingerprint_values"]
    for pair in ((path, path), (old, path), (path, old)):
        assert "different inputs" in one_line(report("diff", *pair, expect=3))


def test_another_program_is_noted(old, changed):
    def plant(file, cases):
        values = file.attrs["fingerprint_values"]
        values[-1] = "0"
        file.attrs["fingerprint_values"] = values
    assert "different program: numeric_version (3 and 0)" in report("diff", old, changed(plant)).stdout


def test_what_is_no_result_is_one_line(old, tmp_path):
    cut = tmp_path / "cut.h5"
    cut.write_bytes(old.read_bytes()[:5000])
    one_line(report("diff", old, cut, expect=3))
    one_line(report("diff", cut, old, expect=3))
    one_line(report("diff", old, tmp_path / "none.h5", expect=3))
    one_line(report("diff", old, old, "--factor", 0.5, expect=2))


def test_what_changed_is_told_in_json(old, changed):
    same = json_of("walkaudit.diff", "diff", old, old)
    assert same["changes"] == same["verdicts"] == [] and all(case["equal"] for case in same["cases"])
    assert [case["case"] for case in same["cases"]] == ["dense", *harness.Result(old).cases]

    def worsen(file, cases):
        file["rel_l2"][cases.index("f16:sparse"), 2, 1] = np.nan
        file["kernel_rel_l2"][cases.index("q4k:sparse"), 1, 0] = 0.5

    said = json_of("walkaudit.diff", "diff", old, changed(worsen), expect=1)
    assert said["exit_code"] == 1
    assert {case["case"]: case["differing_layers"] for case in said["cases"] if not case["equal"]} == {"f16:sparse": [2], "q4k:sparse": [1]}
    worse = {(change["case"], change["measure"], change["layer"]): change for change in said["changes"] if change["worse"]}
    kernel, = (change for (case, _, layer), change in worse.items() if (case, layer) == ("q4k:sparse", 1) and change["new"] == 0.5)
    assert kernel["group"] == "kernel" and kernel["ratio"] > 1000
    assert any(case == "f16:sparse" and change["new"] is None for (case, _, _), change in worse.items())

"""Walk paths of families that differ where a walk could go wrong: no gate, biases, LayerNorm, a position table (gpt2); multipliers
and rows that no block fills (granite, hidden size 64)."""
import json

import numpy as np
import pytest

import harness

FLOATS = ["f32", "f16", "interleaved-and-features"]


def audited(shop, model, variants, **keys):
    return shop.job(shop.model(model), {v: shop.vindex(model, v) for v in variants}, kernel_check=-1, **keys).result()


@pytest.fixture(scope="module")
def gpt2(shop):
    return audited(shop, "gpt2", FLOATS, paths=[{"path": p} for p in ("sparse", "full_mmap", "exact", "interleaved", "sparse_serial")])


def test_a_family_without_a_gate_is_computed_by_its_own_formula(gpt2):
    """phi(x.U + b_up).D + b_down: no difference from the dense model. LARQL applies the gated formula in two of these paths."""
    kernels = {"sparse": "sparse:serial", "sparse_serial": "sparse:serial", "full_mmap": "full_mmap", "exact": "exact",
               "interleaved": "interleaved"}
    assert {case.split(":")[1] for case in gpt2.cases} == set(kernels)
    for case in gpt2.cases:
        assert set(gpt2.case(case, "label").reshape(-1)) == {kernels[case.split(":")[1]]}, case
        assert gpt2.case(case, "verdict") == "PASS", (case, gpt2.case(case, "fail_reasons"))
        assert np.max(gpt2.case(case, "rel_l2")) <= 2e-6, case
        assert np.max(gpt2.case(case, "kernel_rel_l2")) <= 2e-6, case
        assert np.max(np.abs(gpt2.case(case, "kl"))) <= 2e-6, case


@pytest.mark.parametrize("packed", ["q4k", "q4_0", "fp4b"])
def test_a_family_without_a_gate_has_no_packed_vindex(shop, packed):
    done = harness.run(["extract", shop.model("gpt2"), shop.root / f"none-{packed}", "--format",
                        *harness.EXTRACTED[packed].split()], expect=3)
    assert "no gate projection" in harness.one_error_line(done)


def test_a_wrong_row_of_a_family_without_a_gate(shop, tmp_path):
    """Its gate file holds the up rows, and the loop reads them there."""
    folder = shop.copy("gpt2", "f32", tmp_path / "damaged")
    values = np.memmap(folder / "gate_vectors.bin", "<f4", "r+", shape=(2, 256, 64))
    values[1, 30] = values[1, 31]
    values.flush()
    result = shop.job(shop.model("gpt2"), {"v": folder}).result(expect=1)
    assert result.case("v:sparse", "verdict") == "ENCODING"
    assert "layer 1, up, row 30:" in result.case("v:sparse", "fail_reasons") or \
        "layer 1, gate, row 30:" in result.case("v:sparse", "fail_reasons")
    assert result.case("v:exact", "verdict") == "PASS"


@pytest.mark.parametrize("variant", ["f32", "interleaved"])
def test_a_vindex_that_lists_no_layers_runs_no_case(shop, tmp_path, variant):
    """As LARQL's extractor writes families without a gate: zero features. LARQL passes on the model's own weights."""
    folder = shop.copy("gpt2", variant, tmp_path / "empty")
    index = json.loads((folder / "index.json").read_text())
    index["layers"] = []
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "gate_vectors.bin").write_bytes(b"")
    result = shop.job(shop.model("gpt2"), {"v": folder}).result(expect=1)
    assert len(result.cases) > 0 and set(result["verdict"]) == {"NOT-RUN"}
    assert all("layer 0 has zero features" in reason for reason in result["case_not_run"])
    assert all("layer 0 has zero features" in reasons for reasons in result["fail_reasons"])


@pytest.fixture(scope="module")
def granite(shop):
    return audited(shop, "granite", FLOATS + ["q4k", "q4k-down4", "q4k-fm", "q4k-nogate", "q4_0"])


def test_multipliers_and_padded_rows(granite):
    for case in granite.cases:
        exact = granite.case(case, "case_bucket") == "exact"
        assert granite.case(case, "verdict") == ("PASS" if exact else "MEASURED"), (case, granite.case(case, "fail_reasons"))
        assert np.max(granite.case(case, "kernel_rel_l2")) <= 2e-6, case
        rel = np.max(granite.case(case, "rel_l2"))
        assert rel <= 2e-6 if exact and not case.startswith("f16") else rel <= 0.5, case
    assert {"q4k:sparse", "q4k:interleaved_q4k", "q4_0:interleaved_q4"} <= set(granite.cases)

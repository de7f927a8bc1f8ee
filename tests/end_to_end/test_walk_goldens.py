"""Every observation of the f32 and f16 paths, and of walks over the K best features, against walk_golden.h5.

Tolerances (tests/golden/README.md): f32 paths 2e-6 and f16 paths 1e-6 absolute, finite K 2e-5 relative.
KL: 2e-6 absolute for every path.
"""
import numpy as np
import pytest

import harness

MODELS = ["tiny-gemma3", "tiny-llama", "tiny-qwen3"]
KS = {"tiny-gemma3": (16, 128, 384)}


def golden(name):
    """{variant: {path: {prompt: {figure: array}}}}"""
    out = {}
    with np.load(harness.GOLDEN / "audits" / name / "walk.npz") as file:
        for key in file.files:
            variant, path, prompt, figure = key.split("/")
            out.setdefault(variant, {}).setdefault(path, {}).setdefault(prompt, {})[figure] = file[key]
    return out


@pytest.fixture(scope="module", params=MODELS)
def audited(request, shop):
    name = request.param
    want = golden(name)
    ks = [int(path.removeprefix("sparse_k")) for path in want["f32"] if path.startswith("sparse_k")]
    assert ks
    vindexes = {v: shop.vindex(name, v) for v in ("f32", "f16", "interleaved")}
    job = shop.job(shop.model(name), vindexes, semantics="larql", batch={"rows": 8},
                   paths=[{"path": p} for p in ("sparse", "full_mmap", "interleaved", "exact", "sparse_serial")]
                   + [{"path": "sparse_serial", "k": k} for k in ks])
    return job.result(), want, ks


def compare(result, case, field, prompt, want, **tolerance):
    got = result.case(case, field)[:, result.rows(prompt)]
    np.testing.assert_allclose(got, want, err_msg=f"{case} {field} {prompt}", **tolerance)


def check_distribution(result, case, prompt, want):
    at = result.prompts.index(prompt)
    assert result.case(case, "top1_id")[at] == want["top1_id"].reshape(-1)[-1]
    assert abs(result.case(case, "top1_prob")[at] - want["top1_prob"].reshape(-1)[-1]) <= 1e-5
    kl = want["kl"].reshape(-1)[-1]
    assert abs(result.case(case, "kl")[at] - kl) <= 2e-6


def test_f16_paths(audited):
    result, want, _ = audited
    assert set(want["f16"]) == {"sparse", "full_mmap", "exact"}
    for path, prompts in want["f16"].items():
        for prompt, figures in prompts.items():
            compare(result, f"f16:{path}", "rel_l2", prompt, figures["rel_l2"], rtol=0, atol=1e-6)
            compare(result, f"f16:{path}", "one_minus_cos", prompt, figures["one_minus_cos"], rtol=1e-2, atol=1e-9)
            scale = np.max(figures["l2"]) / np.max(figures["rel_l2"])  # about the norm of the dense output
            compare(result, f"f16:{path}", "l2", prompt, figures["l2"], rtol=0, atol=2e-6 * scale)
            compare(result, f"f16:{path}", "max_abs", prompt, figures["max_abs"], rtol=0, atol=2e-6 * scale)
            check_distribution(result, f"f16:{path}", prompt, figures)


def test_f16_serial_walk_is_the_same_function(audited):
    result, want, _ = audited
    for prompt, figures in want["f16"]["full_mmap"].items():
        compare(result, "f16:sparse_serial", "rel_l2", prompt, figures["rel_l2"], rtol=0, atol=1e-6)


def test_f32_paths_are_the_dense_model(audited):
    """With exact numbers the exact answer is no difference at all."""
    result, _, _ = audited
    cases = [c for c in result.cases if c.startswith(("f32:", "interleaved:")) and ":k" not in c]
    assert len(cases) >= 5
    for case in cases:
        assert np.max(result.case(case, "rel_l2")) <= 2e-6, case
        assert np.max(result.case(case, "drift")) <= 2e-5, case
        assert np.max(np.abs(result.case(case, "prob_delta"))) <= 1e-5, case
        assert np.max(np.abs(result.case(case, "kl"))) <= 2e-6, case
        assert np.all(result.case(case, "top1_match") == "yes"), case


def test_walks_over_the_best_features(audited):
    result, want, ks = audited
    for k in ks:
        case = f"f32:sparse_serial:k{k}"
        for prompt, figures in want["f32"][f"sparse_k{k}"].items():
            compare(result, case, "rel_l2", prompt, figures["rel_l2"], rtol=2e-5, atol=0)
            compare(result, case, "one_minus_cos", prompt, figures["one_minus_cos"], rtol=1e-4, atol=1e-9)
            compare(result, case, "l2", prompt, figures["l2"], rtol=4e-5, atol=0)
            check_distribution(result, case, prompt, figures)
        assert result.case(case, "case_bucket") == "approximate"
        assert result.case(case, "verdict") == "MEASURED"


def test_kernels_agree_with_their_oracle_with_a_margin(audited):
    """No false alarm: all healthy cases stay at least 3 x below the 1e-5 of KERNEL, and some positions were measured."""
    result, _, _ = audited
    for case in result.cases:
        figures = result.case(case, "kernel_rel_l2")
        assert np.isfinite(figures).any(axis=1).all(), case
        assert np.nanmax(figures) <= 3.3e-6, case

"""LARQL of August 2026 on its own vindexes, computed as it computes: its audit's case interleaved_kquant
measures the path interleaved_kquant:native (larql-2026-08.md 2.5). The payloads are its own byte for byte (unit/test_extract_golden.c).
"""
import json
import shutil

import numpy as np
import pytest

import harness

MODELS = ["tiny-gemma3", "tiny-llama", "tiny-qwen3"]
OURS = {"sparse": "sparse", "full_mmap": "full_mmap", "exact": "exact", "interleaved_kquant": "interleaved_kquant_native"}
VARIANTS = {"q4k": [], "q4k-down4": ["--down", "q4k"], "q4k-fm": ["--feature-major-down"], "q4k-nogate": ["--drop-gate"]}


def extract(shop, model, variant, compat):
    folder = shop.root / f"{model}-{variant}-{compat}"
    if folder.exists():
        return folder
    harness.run(["extract", shop.model(model), folder, "--format", "q4k", "--compat", compat, *VARIANTS[variant]])
    return folder


def theirs(model, variant):
    audit = json.loads((harness.GOLDEN / "audits" / "2026-08" / model / f"{variant}.json").read_text())
    return {path["name"]: path for path in audit["paths"]}


def audit(shop, model, folder, paths, expect):
    return shop.job(shop.model(model), {"v": folder}, semantics="larql-2026-08", bounds="larql", ladder="larql-2026-08",
                    paths=[{"path": OURS[name]} for name in paths]).result(expect=expect)


def check(result, name, path, labels=True, **tolerance):
    case = f"v:{OURS[name]}"
    if labels:
        assert [set(row) for row in result.case(case, "label")] == [{layer["dispatch"]} for layer in path["per_layer"]]
    assert result.case(case, "verdict") == {"pass": "PASS", "fail": "BOUND"}[path["verdict"]]
    assert result.case(case, "case_bucket") == path["bound"]["kind"]
    assert result.case(case, "n_obs") == path["aggregate"]["n_obs"]
    want = np.array([layer["assertion"]["max_rel_l2"] for layer in path["per_layer"]])
    np.testing.assert_allclose(result.case(case, "layer_max_rel_l2"), want, **tolerance)
    for prompt, figures in path["per_prompt"].items():
        at = result.prompts.index(prompt)
        assert result["ref_top1_text"][at] == figures["dense_top1_token"]
        assert result.case(case, "top1_text")[at] == figures["walk_top1_token"]
        for ours, figure in ((result["ref_top1_prob"][at], "dense_top1_prob"), (result.case(case, "top1_prob")[at], "walk_top1_prob")):
            assert abs(ours - figures[figure]) <= 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("model", MODELS)
def test_same_as_larql_of_august(shop, model, variant):
    paths = theirs(model, variant)
    assert set(paths) == {"sparse", "interleaved_kquant"}
    result = audit(shop, model, extract(shop, model, variant, "larql-2026-08"), paths,
                   expect=int(any(path["verdict"] != "pass" for path in paths.values())))
    for name, path in paths.items():
        check(result, name, path, rtol=1e-4)


@pytest.mark.parametrize("variant", ["f32", "f16"])
@pytest.mark.parametrize("model", [*MODELS, "tiny-odd"])
def test_same_as_larql_of_august_on_float_vindexes(shop, model, variant):
    """The files of May are those of August."""
    paths = theirs(model, variant)
    assert set(paths) == {"sparse", "full_mmap", "exact"}
    result = audit(shop, model, shop.vindex(model, variant), paths, expect=0)
    for name, path in paths.items():
        check(result, name, path, rtol=0, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_where_larql_measures_another_path_ours_measures_its_own(shop, model):
    """With K-quants beside the feature files LARQL's full_mmap is native and fails its exact bound (N5)."""
    paths = theirs(model, "x-q4k-and-features")
    folder = shop.root / f"{model}-x"
    shutil.copytree(extract(shop, model, "q4k", "larql-2026-08"), folder)
    for file in ("up_features.bin", "down_features.bin"):
        shutil.copyfile(shop.vindex(model, "f32") / file, folder / file)
    wrong = paths.pop("full_mmap")
    assert wrong["verdict"] == "fail" and set(wrong["dispatch_counts"]) == {"interleaved_kquant:native"}
    result = audit(shop, model, folder, [*paths, "full_mmap"], expect=None)
    assert result.case("v:full_mmap", "verdict") == "PASS"
    assert set(result.case("v:full_mmap", "label").ravel()) == {"full_mmap"}
    for name, path in paths.items():
        check(result, name, path, rtol=1e-4, atol=1e-6)


def test_native_is_near_the_dequantised_products_and_the_same_for_either_order(shop):
    """Upstream holds the two within 1e-4 of each other."""
    folders = {"new": extract(shop, "tiny-llama", "q4k", "larql-2026-08"), "old": extract(shop, "tiny-llama", "q4k", "larql-2026-05")}
    paths = [{"path": "interleaved_kquant_native"}, {"path": "interleaved_kquant_dequant"}]
    result = shop.job(shop.model("tiny-llama"), folders, paths=paths).result()
    for figure in ("rel_l2", "cos", "kl"):
        np.testing.assert_array_equal(result.case("old:interleaved_kquant_native", figure),
                                      result.case("new:interleaved_kquant_native", figure))
    np.testing.assert_allclose(result.case("new:interleaved_kquant_native", "rel_l2"),
                               result.case("new:interleaved_kquant_dequant", "rel_l2"), rtol=1e-3)


def test_same_bits_on_any_ranks(shop):
    """A dot is of one stored row and one position: nothing else decides its bits."""
    folder = extract(shop, "tiny-qwen3", "q4k", "larql-2026-08")
    bits = []
    for ranks in (1, 2, 3):
        job = shop.job(shop.model("tiny-qwen3"), {"v": folder}, paths=[{"path": "interleaved_kquant_native"}])
        bits.append(job.result(ranks=ranks).case("v:interleaved_kquant_native", "rel_l2").tobytes())
    assert bits[0] == bits[1] == bits[2]


def test_padded_rows_are_declined_as_larql_does(shop):
    folder = shop.vindex("tiny-odd", "q4k")
    job = shop.job(shop.model("tiny-odd"), {"v": folder}, {"v": [{"path": "interleaved_kquant_native"}]})
    assert "rows of whole blocks of 256, not of 320" in harness.one_error_line(job.run(expect=2))


def test_the_ladder_of_august_lists_and_labels_as_larql_does(shop):
    """And each case hides what it does not read: LARQL's own full_mmap measures native where K-quants lie beside it (N5)."""
    folder = shop.root / "q4k-and-features"
    shutil.copytree(extract(shop, "tiny-llama", "q4k", "larql-2026-08"), folder)
    for name in ("up_features.bin", "down_features.bin"):
        shutil.copyfile(shop.vindex("tiny-llama", "f32") / name, folder / name)
    result = shop.job(shop.model("tiny-llama"), {"v": folder}, ladder="larql-2026-08").result()
    labels = {"sparse": "sparse:gemv_full_k", "full_mmap": "full_mmap", "interleaved_kquant_native": "interleaved_kquant:native",
              "interleaved_kquant_dequant": "interleaved_kquant:dequant", "exact": "exact"}
    assert list(result.cases) == [f"v:{name}" for name in labels]
    for name, label in labels.items():
        assert set(result.case(f"v:{name}", "label").ravel()) == set(result.case(f"v:{name}", "expected_label")) == {label}
        assert result.case(f"v:{name}", "verdict") == ("PASS" if name in ("full_mmap", "exact", "sparse") else "MEASURED")
    for name in ("full_mmap", "interleaved_kquant_dequant", "exact"):
        assert result.case(f"v:{name}", "case_route").startswith("interleaved_kquant:native: selected; sparse skipped: ")
    assert result.case("v:sparse", "case_route") == "sparse:gemv_full_k: selected"
    may = shop.job(shop.model("tiny-llama"), {"v": folder}, ladder="larql-2026-05").result()
    np.testing.assert_array_equal(may.case("v:interleaved_q4k", "rel_l2"), result.case("v:interleaved_kquant_dequant", "rel_l2"))
    assert may.case("v:full_mmap", "case_route").startswith("full_mmap: selected; ")
    line = harness.one_error_line(shop.job(shop.model("tiny-llama"), {"v": folder}, ladder="larql").run(expect=2))
    assert "larql-2026-05" in line and "larql-2026-08" in line

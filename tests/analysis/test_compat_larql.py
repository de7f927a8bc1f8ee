"""`report --compat larql`: LARQL's schema, places and number formats, byte for byte where the figures are its own."""
import json
import pathlib
import re

import numpy as np
import pytest

import harness
from command import one_line, report
from published import LABELS, PUBLISHED, WALK, place, published, published_layers

from walkaudit_report import compat_larql

MODELS = ["tiny-gemma3", "tiny-llama", "tiny-qwen3"]
ABSOLUTE = {"f32": 2e-6, "interleaved-and-features": 2e-6, "f16": 1e-6}  # of rel_L2
RELATIVE = 2e-5  # of rel_L2 of packed formats

SUMMARY = {
    "f16": ["| `sparse` | exact (cos≥0.99999, rel_L2≤1e-2) | 0.999997 | 1.881e-3 | ✓ | 1.229e-4 | 2.317e0 | 32 | paris | **PASS** |",
            "| `full_mmap` | exact (cos≥0.99999, rel_L2≤1e-2) | 0.999997 | 1.881e-3 | ✓ | 1.229e-4 | 2.317e0 | 32 | paris | **PASS** |",
            "| `exact` | exact (cos≥0.99999, rel_L2≤1e-2) | 0.999996 | 1.881e-3 | ✓ | 1.425e-4 | 2.213e0 | 32 | paris | **PASS** |"],
    "q4k": ["| `sparse` | quantized (cos≥0.99000, rel_L2≤5e-1) | 0.996306 | 9.562e-2 | ✓ | 4.171e-3 | 1.562e2 | 14 | paris | **PASS** |",
            "| `interleaved_q4k` | quantized (cos≥0.99000, rel_L2≤5e-1) | 0.992737 | 1.205e-1 | ✓ | 2.576e-2 | 2.305e2 | 10 | code "
            "| **PASS** |"],
}
@pytest.fixture(scope="module")
def baseline(gemma, tmp_path_factory):
    """The published baselines through the report: {vindex: (Markdown, document, JSON)}."""
    folder = tmp_path_factory.mktemp("published")
    done = report("report", "--compat", "larql", published(folder / "b.h5", gemma), "-o", folder / "out")
    assert [pathlib.Path(line).name for line in done.stdout.splitlines()] == [
        f"walk_path_audit_b_{vindex}.{suffix}" for vindex in ("f16", "q4k") for suffix in ("json", "md")] and not done.stderr
    files = {vindex: [folder / f"out/walk_path_audit_b_{vindex}.{suffix}" for suffix in ("md", "json")] for vindex in ("f16", "q4k")}
    return {vindex: (words.read_text(), json.loads(document.read_text()), document.read_text())
            for vindex, (words, document) in files.items()}


@pytest.mark.parametrize("vindex", ["f16", "q4k"])
def test_published_summary(baseline, vindex):
    lines = baseline[vindex][0].splitlines()
    assert lines[0] == "# walk_path_audit" and lines[4] == "**Prompts:** 3"
    at = lines.index("## Summary")
    assert lines[at + 4:at + 4 + len(SUMMARY[vindex])] == SUMMARY[vindex]
    assert "**Sparse K:** MAX  " in lines and "**Sparse K:** —  " in lines
    assert "**Mask:** fp4=false q4=false interleaved=false full_mmap=false q4k=false down_features=false  " in lines
    assert f"| `code` | `\\n` | `\\n` | ✓ | {WALK[f'{vindex}:sparse']['code']:.6f} | 0.998293 | " in baseline[vindex][0]


def sorted_keys(pairs):
    assert [key for key, _ in pairs] == sorted(key for key, _ in pairs)
    return dict(pairs)


@pytest.mark.parametrize("vindex", ["f16", "q4k"])
def test_published_forms(baseline, vindex):
    """Keys sorted, f32 widened in its shortest form, no newline at the end; in Markdown no exponent is padded."""
    words, document, written = baseline[vindex]
    assert json.loads(written, object_pairs_hook=sorted_keys) == document and written.endswith("\n}") and "\n  \"paths\": [" in written
    worst = PUBLISHED[f"{vindex}:sparse"][1]
    assert f'"max_rel_l2": {float(np.float32(worst))!r}' in written
    assert not re.search(r"e[-+]0|e\+", words) and re.search(r"\de-\d\b", words) and words.count("**PASS**") == len(document["paths"])


@pytest.mark.parametrize("case", PUBLISHED)
def test_published_layers(baseline, case):
    vindex, path = case.split(":")
    lines = baseline[vindex][0].split(f"## `{path}`\n")[1].split("### Per-layer\n")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line[2:-2].split(" | ")] for line in lines if line.startswith("| ") and "`" in line]
    assert len(rows) == 34
    for got, want in zip(rows, published_layers(case)):
        assert got[:2] == [want["layer"], f"`{LABELS[path]}`"] and got[8] == "39"
        assert got[3:6] == [want["rel_l2"], "{}/{}".format(*place(want["rel_l2_at"])), want["l2"]]
        assert got[7] == "{}/{}".format(*place(want["l2_at"]))
        if want["cos"] != "-":
            assert got[2] == want["cos"]


@pytest.mark.parametrize("case", PUBLISHED)
def test_published_aggregates(baseline, case):
    vindex, name = case.split(":")
    path = next(path for path in baseline[vindex][1]["paths"] if path["name"] == name)
    cos, rel, (layer, prompt, position), l2, max_abs, mean = PUBLISHED[case]
    worst, far = path["aggregate"]["assertion"], path["aggregate"]["diagnostic"]
    assert worst["min_cos"] == float(np.float32(cos)) and worst["max_rel_l2"] == float(np.float32(rel))
    assert [worst[f"worst_rel_l2_{key}"] for key in ("layer", "prompt", "pos")] == [layer, prompt, position]
    assert far["max_abs_l2"] == float(np.float32(l2)) and far["max_abs"] == float(np.float32(max_abs))
    assert [far["worst_layer"], far["worst_prompt"], far["worst_pos"]] == [11, "code", 1]
    assert far["mean_abs_l2"] == pytest.approx(mean, rel=2e-4)  # from four published digits of each layer
    assert path["aggregate"]["n_obs"] == 1326 and path["dispatch_counts"] == {LABELS[name]: 102}
    assert path["verdict"] == "pass" and path["fail_reasons"] == [] and path["fallthrough_layers"] == []


def test_number_formats_are_rusts():
    """By hand, from the rules of Rust's `{:e}` and of serde_json's shortest form."""
    assert [compat_larql.power(value) for value in (1.881125e-3, 2.316651, 0.0, 156.15038, 1e-10)] == [
        "1.881e-3", "2.317e0", "0.000e0", "1.562e2", "1.000e-10"]
    assert [compat_larql.power(value, 0) for value in (1e-2, 0.5, float("nan"))] == ["1e-2", "5e-1", "NaN"]
    for value, written in ((7.7e-7, "7.7e-7"), (1.7e-5, "0.000017"), (1e-5, "0.00001"), (9.9e-6, "9.9e-6"), (0.0, "0.0"),
                           (-0.0, "-0.0"), (1.0, "1.0"), (123456.5, "123456.5"), (1e15, "1000000000000000.0"), (1e16, "1e16"),
                           (1.5e300, "1.5e300"), (5e-324, "5e-324"), (float("nan"), "null"), (float("inf"), "null"),
                           (0.9999898672, "0.9999898672"), (3, "3")):
        assert compat_larql.number(value) == written
    for value in np.random.default_rng(5).standard_normal(2000) * 10.0 ** np.arange(-1000, 1000).clip(-300, 300):
        assert float(compat_larql.number(float(value))) == value


@pytest.mark.parametrize("name", ["tiny-qwen3/q4k", "tiny-gemma3/q4k", "tiny-gemma3/fp4b", "tiny-odd/x-q4k-and-down"])
def test_forms_are_larqls_byte_for_byte(name):
    """LARQL's own pairs of files: its JSON read and written again, and its Markdown made from its JSON."""
    source, words = ((harness.GOLDEN / f"audits/{name}.larql.{suffix}").read_text() for suffix in ("json", "md"))
    document = json.loads(source)
    assert compat_larql.to_json(document) == source
    assert compat_larql.to_markdown(document) == words.replace("`\n`", "`\\n`")


# --- Our own runs against LARQL's

def keys(value, at=""):
    """Every key of a JSON document with its place; list items stand under their number."""
    if isinstance(value, dict):
        return {f"{at}.{key}" for key in value}.union(*(keys(item, f"{at}.{key}") for key, item in value.items()))
    if isinstance(value, list):
        return set().union(*(keys(item, f"{at}[{number}]") for number, item in enumerate(value)))
    return set()


def compare(ours, theirs, rtol=0.0, atol=0.0):
    """One path. Tolerances of rel_L2 are the golden data's; an output's length is below 15, a layer's is a factor of L2."""
    assert keys(ours) == keys(theirs)
    for key in ("name", "mask", "sparse_k", "bound", "dispatch_counts", "fallthrough_layers", "verdict"):
        assert ours[key] == theirs[key], key
    assert ours["aggregate"]["n_obs"] == theirs["aggregate"]["n_obs"]
    assert len(ours["per_layer"]) == len(theirs["per_layer"])
    for got, want in zip([*ours["per_layer"], ours["aggregate"]], [*theirs["per_layer"], theirs["aggregate"]]):
        assert all(got[key] == want[key] for key in ("layer", "dispatch", "fallthrough", "n_obs") if key in want)
        np.testing.assert_allclose(got["assertion"]["max_rel_l2"], want["assertion"]["max_rel_l2"], rtol=rtol, atol=atol)
        for key in ("max_abs_l2", "max_abs", "mean_abs_l2"):
            if key in want["diagnostic"]:
                np.testing.assert_allclose(got["diagnostic"][key], want["diagnostic"][key], rtol=rtol, atol=15 * atol)
        assert abs(got["assertion"]["min_cos"] - want["assertion"]["min_cos"]) <= 1e-6  # f32 noise of LARQL's sums
        if rtol:  # the others have near ties
            places = [key for key in want["assertion"] if key.startswith("worst_")]
            assert places and all(got["assertion"][key] == want["assertion"][key] for key in places)
    for key, want in theirs["per_prompt"].items():
        got = ours["per_prompt"][key]
        assert all(got[name] == want[name] for name in ("walk_top1_token", "dense_top1_token", "top1_match"))
        for name in ("walk_top1_prob", "dense_top1_prob", "prob_delta"):
            assert abs(got[name] - want[name]) <= 1e-5
    assert [without_numbers(line) for line in ours["fail_reasons"]] == [without_numbers(line) for line in theirs["fail_reasons"]]


def without_numbers(line):
    return "".join(char for char in line if not char.isdigit())


def own(shop, model, vindex, expect, state="larql-2026-05", **keys):
    """What we write of an audit by LARQL's rules; nothing is noted of it."""
    job = shop.job(shop.model(model), {"v": vindex}, semantics=state, ladder=state, bounds="larql", **keys)
    job.run(expect=expect)
    done = report("report", "--compat", "larql", job.result_path, "-o", job.folder, expect=expect)
    assert not done.stderr, done.stderr
    return json.loads((job.folder / "walk_path_audit_job-audit_v.json").read_text())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("variant", ABSOLUTE)
def test_own_audit_as_larqls(shop, model, variant):
    theirs = json.loads((harness.GOLDEN / "audits" / model / f"{variant}.json").read_text())
    ours = own(shop, model, shop.vindex(model, variant), 0)
    assert keys(ours) == keys(theirs) and ours["prompts"] == theirs["prompts"]
    for got, want in zip(ours["paths"], theirs["paths"]):
        compare(got, want, atol=ABSOLUTE[variant])


@pytest.mark.parametrize("model, variant, reasons", [
    ("tiny-qwen3", "q4k", [[], ["min cos 0.985143 below floor 0.990000"]]),
    ("tiny-gemma3", "q4k", [[], ["min cos 0.988842 below floor 0.990000", "Paris prob delta 1.047e-1 exceeds 5e-2"]]),
    ("tiny-gemma3", "fp4b", [["max rel L2 1.580e-1 exceeds bound 1e-2 at layer 3 (prompt apollo, pos 12)"]] * 2)])
def test_own_audit_of_packed_formats_as_larqls(shop, model, variant, reasons):
    theirs = json.loads((harness.GOLDEN / f"audits/{model}/{variant}.larql.json").read_text())
    ours = own(shop, model, shop.vindex(model, variant), 1)
    assert keys(ours) == keys(theirs)
    for got, want in zip(ours["paths"], theirs["paths"]):
        compare(got, want, rtol=RELATIVE)
    assert [path["fail_reasons"] for path in ours["paths"]] == reasons


@pytest.mark.parametrize("model", MODELS)
def test_own_audit_as_larqls_of_august(shop, model, tmp_path):
    """Its case interleaved_kquant measures our interleaved_kquant_native."""
    theirs = json.loads((harness.GOLDEN / f"audits/2026-08/{model}/q4k.json").read_text())
    harness.run(["extract", shop.model(model), tmp_path / "v", "--format", "q4k", "--compat", "larql-2026-08"])
    ours = own(shop, model, tmp_path / "v", int(any(path["verdict"] == "fail" for path in theirs["paths"])), "larql-2026-08",
               paths=[{"path": "sparse"}, {"path": "interleaved_kquant_native"}])
    assert keys(ours) == keys(theirs) and ours["prompts"] == theirs["prompts"]
    for got, want in zip(ours["paths"], theirs["paths"]):
        compare(got, want, rtol=RELATIVE)


def test_what_is_no_larql_audit_is_noted(gemma, tmp_path):
    done = report("report", "--compat", "larql", gemma, "-o", tmp_path)
    assert ("semantics native, bounds default; LARQL's own figures take semantics larql-2026-05 or larql-2026-08, and bounds larql"
            in done.stderr and len(done.stderr.splitlines()) == 1)
    assert "exclude" in one_line(report("report", "--compat", "larql", "--bounds", "larql", gemma, "-o", tmp_path, expect=2))

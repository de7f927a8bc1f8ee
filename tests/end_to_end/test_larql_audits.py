"""LARQL's own audits of its own vindexes: same labels, verdicts, counts and figures; and where LARQL is wrong, what is right.

Figures: max_rel_l2 per layer within 10 % or 1e-6 absolute. The table "What walkaudit must say" is in tests/golden/README.md.
"""
import hashlib
import json

import numpy as np
import pytest

import harness

MODELS = ["tiny-gemma3", "tiny-llama", "tiny-qwen3"]


def test_the_vindexes_are_larqls_byte_for_byte(shop):
    """What the other tests stand on: `extract --compat larql` writes the very files that LARQL audited."""
    lines = (harness.GOLDEN / "audits" / "sha256.tsv").read_text().splitlines()[1:]
    assert len(lines) == 24
    for model, variant, file, digest in (line.split("\t") for line in lines):
        data = (shop.vindex(model, variant) / file).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest, (model, variant, file)


def test_subnormals_make_the_difference_of_f16(shop):
    """The default encoder rounds and keeps subnormals: bf16 weights fit into f16 but for the smallest. LARQL's flushes those."""
    model = shop.model("tiny-gemma3")
    own = shop.root / "f16-default.vindex"
    harness.run(["extract", model, own, "--format", "f16"])
    result = shop.job(model, {"own": own, "larql": shop.vindex("tiny-gemma3", "f16")}).result()
    assert result.case("own:full_mmap", "max_rel_l2") <= 2e-6
    assert result.case("larql:full_mmap", "max_rel_l2") >= 1e-3


def larql(model, variant):
    audit = json.loads((harness.GOLDEN / "audits" / model / f"{variant}.json").read_text())
    return {path["name"]: path for path in audit["paths"]}


def audit(shop, model, variant):
    return shop.job(shop.model(model), {"v": shop.vindex(model, variant)}, semantics="larql", bounds="larql")


def check_case(result, case, theirs):
    layers = theirs["per_layer"]
    assert [set(row) for row in result.case(case, "label")] == [{layer["dispatch"]} for layer in layers]
    assert sum(theirs["dispatch_counts"].values()) == result.case(case, "label").size
    assert list(result.case(case, "expected_label")) == [layer["dispatch"] for layer in layers]
    assert result.case(case, "verdict") == theirs["verdict"].upper()
    assert result.case(case, "case_bucket") == theirs["bound"]["kind"]
    assert result.case(case, "n_obs") == theirs["aggregate"]["n_obs"]
    assert list(result.case(case, "layer_n_obs")) == [layer["n_obs"] for layer in layers]
    want = np.array([layer["assertion"]["max_rel_l2"] for layer in layers])
    np.testing.assert_allclose(result.case(case, "layer_max_rel_l2"), want, rtol=0.1, atol=1e-6)
    for prompt, figures in theirs["per_prompt"].items():
        at = result.prompts.index(prompt)
        assert result["ref_top1_text"][at] == figures["dense_top1_token"]
        assert abs(result["ref_top1_prob"][at] - figures["dense_top1_prob"]) <= 1e-5
        assert result.case(case, "top1_text")[at] == figures["walk_top1_token"]
        assert abs(result.case(case, "top1_prob")[at] - figures["walk_top1_prob"]) <= 1e-5
        assert (result.case(case, "top1_match")[at] == "yes") == figures["top1_match"]
        assert abs(result.case(case, "prob_delta_compat")[at] - figures["prob_delta"]) <= 1e-5


@pytest.mark.parametrize("variant", ["f32", "f16", "interleaved-and-features"])
@pytest.mark.parametrize("model", MODELS)
def test_same_as_larql(shop, model, variant):
    theirs = larql(model, variant)
    result = audit(shop, model, variant).result(expect=sum(p["verdict"] != "pass" for p in theirs.values()))
    assert sorted(result.cases) == sorted(f"v:{name}" for name in theirs)
    for name, path in theirs.items():
        check_case(result, f"v:{name}", path)


@pytest.mark.parametrize("variant, runs, missing", [("interleaved", "interleaved", "up_features.bin"),
                                                    ("x-down-only", "exact", "up_features.bin")])
@pytest.mark.parametrize("model", MODELS)
def test_sparse_is_not_offered_where_larql_measures_another_kernel(shop, model, variant, runs, missing):
    theirs = larql(model, variant)
    assert {label for label in theirs["sparse"]["dispatch_counts"]} == {runs}  # what upstream really measured
    result = audit(shop, model, variant).result()
    assert result.cases == [f"v:{runs}"]
    check_case(result, f"v:{runs}", theirs[runs])
    refused = [text for text in result["not_offered"] if text.startswith("v:sparse:")]
    assert len(refused) == 1 and missing in refused[0], result["not_offered"]


@pytest.mark.parametrize("model", MODELS)
def test_a_vindex_without_payload_fails_where_larql_passes(shop, model):
    theirs = larql(model, "browse")
    assert [p["verdict"] for p in theirs.values()] == ["pass"]
    assert set(theirs["sparse"]["dispatch_counts"]) == {"weights_fallback:sparse"}
    done = audit(shop, model, "browse").run(expect=1)
    said = done.stdout + done.stderr
    assert "down_features.bin" in said and "PASS" not in done.stdout, said


@pytest.mark.parametrize("model", MODELS)
def test_no_path_is_forced_onto_another_kernel(shop, model):
    """A path asked of a vindex that cannot run it is an error of the job, never another kernel."""
    job = shop.job(shop.model(model), {"v": shop.vindex(model, "interleaved")}, paths=[{"path": "full_mmap"}])
    line = harness.one_error_line(job.run(expect=2))
    assert "full_mmap" in line
    harness.nothing_half_written(job)

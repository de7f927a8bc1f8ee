"""LARQL's own audits of its own vindexes: same labels, verdicts, counts and figures; and where LARQL is wrong, what is right.

Figures: max_rel_l2 per layer within 1e-4 relative, of f32 and f16 payloads 1e-6 absolute more, since LARQL's own rounding is of that size. The
table "What walkaudit must say" is in tests/golden/README.md.
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
    assert len(lines) == 125
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
    return shop.job(shop.model(model), {"v": shop.vindex(model, variant)}, semantics="larql-2026-05", bounds="larql")


def packed(model, variant):
    audit = json.loads((harness.GOLDEN / "audits" / model / "packed.json").read_text())
    return {path["name"]: path for path in audit[variant]}


def check_case(result, case, theirs):
    layers = theirs["per_layer"]
    assert [set(row) for row in result.case(case, "label")] == [{layer["dispatch"]} for layer in layers]
    assert sum(theirs["dispatch_counts"].values()) == result.case(case, "label").size
    assert list(result.case(case, "expected_label")) == [layer["dispatch"] for layer in layers]
    assert result.case(case, "verdict") == {"pass": "PASS", "fail": "BOUND"}[theirs["verdict"]]
    assert result.case(case, "case_bucket") == theirs["bound"]["kind"]
    assert result.case(case, "n_obs") == theirs["aggregate"]["n_obs"]
    assert list(result.case(case, "layer_n_obs")) == [layer["n_obs"] for layer in layers]
    want = np.array([layer["assertion"]["max_rel_l2"] for layer in layers])
    exact = theirs["bound"]["kind"] == "exact"
    np.testing.assert_allclose(result.case(case, "layer_max_rel_l2"), want, rtol=1e-4, atol=1e-6 if exact else 0)
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


@pytest.mark.parametrize("variant", ["q4k", "q4k-down4", "q4k-nogate", "q4k-from-f32", "fp4a", "fp4b", "fp4c"])
@pytest.mark.parametrize("model", MODELS)
def test_packed_payloads_same_as_larql(shop, model, variant):
    theirs = packed(model, variant)
    result = audit(shop, model, variant).result(expect=int(any(p["verdict"] != "pass" for p in theirs.values())))
    assert sorted(result.cases) == sorted(f"v:{name}" for name in theirs)
    for name, path in theirs.items():
        check_case(result, f"v:{name}", path)


def figures(result, case):
    return [result.case(case, field) for field in ("rel_l2", "one_minus_cos", "max_abs", "drift", "kl")]


def same_numbers(result, case, other):
    return all(np.array_equal(a, b) for a, b in zip(figures(result, case), figures(result, other)))


def said(result, name="v"):
    """{path: (label, bucket, verdict)} of a vindex."""
    return {case.split(":", 1)[1]: (*set(result.case(case, "label").reshape(-1)), result.case(case, "case_bucket"),
                                    result.case(case, "verdict"))
            for case in result.cases if case.startswith(name + ":")}


def beside(shop, model, variant, *others):
    """The variant `v` and others under their own names, audited together."""
    vindexes = {"v": shop.vindex(model, variant), **{o: shop.vindex(model, o) for o in others}}
    return shop.job(shop.model(model), vindexes, semantics="larql-2026-05", bounds="larql")


@pytest.mark.parametrize("model", MODELS)
def test_fp4_beside_feature_files(shop, model):
    """LARQL judges f32 by the bounds of FP4, under both names."""
    theirs = packed(model, "x-fp4b-and-features")
    assert {(*p["dispatch_counts"], p["bound"]["kind"]) for p in theirs.values()} >= {("sparse:gemv_full_k", "fp4")}
    result = beside(shop, model, "x-fp4b-and-features", "f32", "fp4b").result(expect=1)
    assert said(result) == {"sparse": ("sparse:gemv_full_k", "exact", "PASS"), "full_mmap": ("full_mmap", "exact", "PASS"),
                            "fp4_storage": ("sparse:serial", "fp4", "BOUND"), "exact": ("exact", "exact", "PASS")}
    assert same_numbers(result, "v:fp4_storage", "fp4b:fp4_storage")
    assert same_numbers(result, "v:sparse", "f32:sparse")
    check_case(result, "v:full_mmap", theirs["full_mmap"])
    check_case(result, "v:exact", theirs["exact"])


@pytest.mark.parametrize("model", MODELS)
def test_fp4_beside_k_quants(shop, model):
    """LARQL judges Q4_K by the bounds of FP4, under both names."""
    theirs = packed(model, "x-fp4b-and-q4k")
    assert theirs["fp4_storage"]["dispatch_counts"].keys() == {"sparse:gemv_full_k"}
    result = beside(shop, model, "x-fp4b-and-q4k", "q4k-from-f32", "fp4b").result(expect=1)
    assert said(result)["sparse"] == ("sparse:gemv_full_k", "quantized", "PASS")
    assert said(result)["fp4_storage"] == ("sparse:serial", "fp4", "BOUND")
    assert same_numbers(result, "v:fp4_storage", "fp4b:fp4_storage")
    assert same_numbers(result, "v:sparse", "q4k-from-f32:sparse")
    check_case(result, "v:interleaved_q4k", theirs["interleaved_q4k"])


@pytest.mark.parametrize("model", MODELS)
def test_k_quants_beside_down_features(shop, model):
    """LARQL judges `sparse` as exact, though up is Q4_K."""
    theirs = packed(model, "x-q4k-and-down")
    assert (theirs["sparse"]["bound"]["kind"], theirs["sparse"]["verdict"]) == ("exact", "fail")
    result = audit(shop, model, "x-q4k-and-down").result(expect=None)
    assert said(result)["sparse"] == ("sparse:gemv_full_k", "quantized", "PASS")
    want = [layer["assertion"]["max_rel_l2"] for layer in theirs["sparse"]["per_layer"]]
    np.testing.assert_allclose(result.case("v:sparse", "layer_max_rel_l2"), want, rtol=1e-4)
    check_case(result, "v:interleaved_q4k", theirs["interleaved_q4k"])
    check_case(result, "v:exact", theirs["exact"])


@pytest.mark.parametrize("model", MODELS)
def test_k_quants_without_a_manifest_fail_where_larql_passes(shop, model):
    theirs = packed(model, "x-q4k-no-manifest")
    assert {(*p["dispatch_counts"], p["verdict"]) for p in theirs.values()} == {("weights_fallback:sparse", "pass")}
    done = audit(shop, model, "x-q4k-no-manifest").run(expect=1)
    assert "interleaved_q4k.bin has no manifest" in done.stdout + done.stderr and "PASS" not in done.stdout


@pytest.mark.parametrize("model", MODELS)
def test_a_named_fp4_file_that_is_absent_is_damage(shop, model):
    job = audit(shop, model, "x-fp4b-missing-down")
    assert "down_features_fp8.bin" in harness.one_error_line(job.run(expect=3))
    harness.nothing_half_written(job)


@pytest.mark.parametrize("model", MODELS)
def test_without_larqls_bounds_packed_payloads_are_measured(shop, model):
    variants = ["fp4a", "fp4b", "fp4c", "q4k", "q4k-fm", "q4k-from-f32"]
    result = shop.job(shop.model(model), {v: shop.vindex(model, v) for v in variants}).result()
    for case in result.cases:
        assert result.case(case, "verdict") == ("PASS" if case == "fp4c:exact" else "MEASURED"), case


def half_towards_zero(x):
    """f32 to f16 as LARQL stores the scales of K-quants (vindex-format 5.2 B)."""
    half = x.astype("<f2")
    half.view("<u2")[np.abs(half.astype("<f4")) > np.abs(x)] -= 1
    return half


def away_from_zero(x):
    return np.trunc(x.astype(np.float64) + np.copysign(0.5, x))


Q6_K = np.dtype([("low", "u1", 128), ("high", "u1", 64), ("scale", "i1", 16), ("d", "<f2")])


def decode_q6_k(blocks):
    """[n] blocks to [n, 256] f32 (vindex-format 5.7)."""
    i = np.arange(256)
    codes = (blocks["low"][:, i // 2] >> 4 * (i % 2).astype("u1") & 15) | (blocks["high"][:, i // 4] >> 2 * (i % 4).astype("u1") & 3) << 4
    scale = blocks["d"].astype("<f4")[:, None] * blocks["scale"].astype("<f4")
    return np.repeat(scale, 16, axis=1) * (codes.astype("<f4") - 32)


def encode_q6_k(x):
    most = np.max(np.abs(x), axis=1)
    d = (most / np.float32(31 * 127)).astype("<f4")
    own = np.max(np.abs(x.reshape(-1, 16, 16)), axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(d[:, None] > 0, np.clip(away_from_zero(own / (np.float32(31) * d[:, None])), -128, 127), 0)
        step = d[:, None] * scale.astype("<f4")
        inverse = np.where(np.abs(step) > 1e-10, np.float32(1) / step, np.float32(0)).astype("<f4")
    codes = (np.clip(away_from_zero(x * np.repeat(inverse, 16, axis=1)), -32, 31) + 32).astype("u1")
    out = np.zeros(len(x), Q6_K)
    out["low"] = codes[:, ::2] & 15 | (codes[:, 1::2] & 15) << 4
    out["high"] = sum((codes[:, k::4] >> 4) << 2 * k for k in range(4))
    out["scale"], out["d"] = scale, half_towards_zero(d)
    return out


def retro(shop, model, folder):
    """Feature-major down as LARQL adds it later: from the decoded down of interleaved_q4k.bin, not from the model's."""
    shop.copy(model, "q4k-fm", folder)
    data = (folder / "interleaved_q4k.bin").read_bytes()
    entries = json.loads((folder / "interleaved_q4k_manifest.json").read_text())[2::3]
    written = []
    for entry in entries:
        blocks = np.frombuffer(data[entry["offset"]:entry["offset"] + entry["length"]], Q6_K)
        written.append(encode_q6_k(np.ascontiguousarray(decode_q6_k(blocks).reshape(entry["shape"]).T).reshape(-1, 256)).tobytes())
    (folder / "down_features_q4k.bin").write_bytes(b"".join(written))
    return folder


def test_feature_major_down_of_the_decoded_down(shop, tmp_path):
    """The variant q4k-fm-retro: LARQL's bytes, the verdicts of q4k; only a loop over features reads the file."""
    folder = retro(shop, "tiny-gemma3", tmp_path / "retro")
    assert hashlib.sha256((folder / "down_features_q4k.bin").read_bytes()).hexdigest() == \
        "be46ed3925951b452d2d32382fdefaa82c086a8755a1f2086e1064875ceaebec"  # the fixtures' FILES.tsv
    vindexes = {"v": folder, "q4k": shop.vindex("tiny-gemma3", "q4k"), "q4k-fm": shop.vindex("tiny-gemma3", "q4k-fm")}
    result = shop.job(shop.model("tiny-gemma3"), vindexes, semantics="larql-2026-05", bounds="larql",
                      paths=[{"path": p} for p in ("sparse", "interleaved_q4k", "sparse_serial")]).result(expect=1)
    for path in ("sparse", "interleaved_q4k"):
        assert same_numbers(result, f"v:{path}", f"q4k:{path}")
    assert result.case("v:sparse", "verdict") == "PASS" and result.case("v:interleaved_q4k", "verdict") == "BOUND"
    own, other = (result.case(f"{v}:sparse_serial", "rel_l2") for v in ("v", "q4k-fm"))
    assert not np.array_equal(own, other) and np.max(np.abs(own - other)) < 0.02


def test_feature_major_down_changes_nothing_that_larql_reads_elsewhere(shop):
    result = beside(shop, "tiny-gemma3", "q4k-fm", "q4k").result(expect=1)
    for path in ("sparse", "interleaved_q4k"):
        assert same_numbers(result, f"v:{path}", f"q4k:{path}")
    assert said(result) == said(result, "q4k")
    assert said(result)["sparse"] == ("sparse:gemv_full_k", "quantized", "PASS")

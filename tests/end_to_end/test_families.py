"""Walk paths of families that differ where a walk could go wrong: no gate, biases, LayerNorm (gpt2 with its position table,
starcoder2); multipliers and rows that no block fills (granite, hidden size 64)."""
import json
import struct

import numpy as np
import pytest

import harness

FLOATS = ["f32", "f16", "interleaved-and-features"]
STARCODER2 = "tiny-starcoder2"


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


@pytest.fixture(scope="module")
def starcoder2(shop):
    """The vindexes of LARQL's in-memory builder, whose gate is the up rows: with feature files, interleaved too, with down alone."""
    only = {"features": [{"path": "sparse_serial", "k": k} for k in (64, 200, 512)] +
            [{"path": p} for p in ("sparse", "full_mmap", "exact")],
            "interleaved": [{"path": "interleaved"}], "down": [{"path": "exact"}]}
    vindexes = {"features": shop.vindex(STARCODER2, "f32"), "interleaved": shop.vindex(STARCODER2, "interleaved"),
                "down": shop.vindex(STARCODER2, "x-down-only")}
    return shop.job(shop.model(STARCODER2), vindexes, only, semantics="larql-2026-05", logits="all", kernel_check=-1).result()


def test_starcoder2_agrees_with_its_goldens(starcoder2):
    """Every observation. LARQL's gated formula would be off by a rel_L2 of 2.2 in full_mmap and interleaved."""
    golden = harness.walk_golden(STARCODER2, "packed")["inmem-features"]
    assert set(golden) == {"exact", "full_mmap", *(f"sparse_serial:k{k}" for k in (64, 200, 512))}
    for path, prompts in golden.items():
        assert set(prompts) == set(harness.SEED)
        partial = path in ("sparse_serial:k64", "sparse_serial:k200")
        for prompt, want in prompts.items():
            rows = starcoder2.rows(prompt)
            rel, kl = (starcoder2.case(f"features:{path}", field) for field in ("rel_l2", "obs_kl"))
            np.testing.assert_allclose(rel[:, rows], want["rel_l2"], rtol=2e-5 if partial else 0, atol=0 if partial else 2e-6,
                                       err_msg=f"{path} {prompt}")
            np.testing.assert_allclose(kl[rows], want["kl"], rtol=5e-6 if partial else 0, atol=2e-6, err_msg=f"{path} {prompt}")
            at = starcoder2.prompts.index(prompt)
            assert starcoder2.case(f"features:{path}", "top1_id")[at] == want["top1_id"]
            assert abs(starcoder2.case(f"features:{path}", "top1_prob")[at] - want["top1_prob"]) <= 1e-5


def test_starcoder2_runs_every_kernel_by_its_own_formula(starcoder2):
    kernels = {"sparse": "sparse:serial", "full_mmap": "full_mmap", "exact": "exact", "interleaved": "interleaved"}
    for case in starcoder2.cases:
        path = case.split(":")[1]
        assert set(starcoder2.case(case, "label").reshape(-1)) == {kernels.get(path, "sparse:serial")}, case
        assert np.max(starcoder2.case(case, "kernel_rel_l2")) <= 2e-6, case
        if starcoder2.case(case, "case_bucket") == "exact":
            assert starcoder2.case(case, "verdict") == "PASS", case
            assert np.max(starcoder2.case(case, "rel_l2")) <= 2e-6 and np.max(np.abs(starcoder2.case(case, "obs_kl"))) <= 2e-6, case
    assert set(starcoder2["case_bucket"]) == {"exact", "approximate"}


@pytest.mark.parametrize("model", ["gpt2", STARCODER2])
@pytest.mark.parametrize("packed", ["q4k", "q4_0", "fp4b"])
def test_a_family_without_a_gate_has_no_packed_vindex(shop, model, packed):
    done = harness.run(["extract", shop.model(model), shop.root / f"none-{packed}", "--format",
                        *harness.EXTRACTED[packed].split()], expect=3)
    assert "no gate projection" in harness.one_error_line(done)


def write_stand_in(folder, source):
    """A llama whose gate and up are both gpt2's up, so that its packed vindexes fit gpt2. Nobody writes such files; one may have them."""
    data = (source / "model.safetensors").read_bytes()
    start = 8 + struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:start])

    def tensor(name):
        entry = header[f"transformer.{name}.weight"]
        return np.frombuffer(data[slice(*(start + at for at in entry["data_offsets"]))], "<f2").reshape(entry["shape"])

    tensors = {"model.embed_tokens.weight": tensor("wte"), "model.norm.weight": np.ones(64, "<f2")}
    for layer in range(2):
        here, up = f"model.layers.{layer}.", tensor(f"h.{layer}.mlp.c_fc").T
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{here}{name}.weight"] = np.ones(64, "<f2")
        for name in "qkvo":
            tensors[f"{here}self_attn.{name}_proj.weight"] = np.eye(64, dtype="<f2")
        tensors |= {f"{here}mlp.gate_proj.weight": up, f"{here}mlp.up_proj.weight": up,
                    f"{here}mlp.down_proj.weight": tensor(f"h.{layer}.mlp.c_proj").T}
    header, body = {}, b""
    for name, values in tensors.items():
        content = np.ascontiguousarray(values).tobytes()
        header[name] = {"dtype": "F16", "shape": values.shape, "data_offsets": [len(body), len(body) + len(content)]}
        body += content
    text = json.dumps(header).encode()
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)
    (folder / "config.json").write_text(json.dumps({
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 4, "vocab_size": len(tensors["model.embed_tokens.weight"]), "rms_norm_eps": 1e-5, "rope_theta": 1e4,
        "hidden_act": "silu", "tie_word_embeddings": True}))
    return folder


def test_packed_payloads_of_a_family_without_a_gate_run_by_its_formula(shop):
    """Right as far as the formats' errors go. Gated kernels decline to the loop over features, whose gate file holds the up rows."""
    stand_in = write_stand_in(shop.root / "stand-in", shop.model("gpt2"))
    vindexes = {v: shop.root / f"stand-in-{v}.vindex" for v in ("q4_0", "q4k", "q4k-down4", "q4k-fm", "q4k-nogate", "fp4a", "fp4b")}
    for variant, folder in vindexes.items():
        harness.run(["extract", stand_in, folder, "--format", *harness.EXTRACTED[variant].split()])
    paths = [{"path": p} for p in ("sparse", "sparse_serial", "sparse_parallel", "fp4_storage", "interleaved_q4", "interleaved_q4k")]
    result = shop.job(shop.model("gpt2"), vindexes, kernel_check=-1, paths=paths).result()
    kernels = {"interleaved_q4": "interleaved_q4:cpu", "interleaved_q4k": "interleaved_q4k:dequant",
               "sparse_parallel": "sparse:parallel_q4k_down"}
    assert len(result.cases) == 1 + 4 * 4 + 2 * 3
    for case in result.cases:
        assert set(result.case(case, "label").reshape(-1)) == {kernels.get(case.split(":")[1], "sparse:serial")}, case
        assert result.case(case, "verdict") == "MEASURED", (case, result.case(case, "fail_reasons"))
        assert np.max(result.case(case, "kernel_rel_l2")) <= 2e-6 and np.max(result.case(case, "rel_l2")) <= 0.3, case


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


def kquants_of_two(folder):
    """What LARQL's extractor writes of a family without a gate: two K-quants of each layer, up and down, and no feature file."""
    entries, size = [], 0
    for layer in range(2):
        for name, kind, rows, cols, block in (("up", "Q4_K", 512, 256, 144), ("down", "Q6_K", 256, 512, 210)):
            length = rows * cols // 256 * block
            entries.append({"key": f"layers.{layer}.mlp.{name}_proj.weight", "shape": [rows, cols], "format": kind,
                            "offset": size, "length": length})
            size += length
    (folder / "interleaved_q4k_manifest.json").write_text(json.dumps(entries))
    (folder / "interleaved_q4k.bin").write_bytes(bytes(size))
    for file in harness.FEATURES:
        (folder / file).unlink()


@pytest.mark.parametrize("model, variant, change", [("gpt2", "f32", None), ("gpt2", "interleaved", None), (STARCODER2, "f32", None),
                                                    (STARCODER2, "f32", kquants_of_two)])
def test_a_vindex_that_lists_no_layers_runs_no_case(shop, tmp_path, model, variant, change):
    """As LARQL's extractor writes families without a gate: zero features. LARQL passes on the model's own weights."""
    folder = shop.copy(model, variant, tmp_path / "empty")
    index = json.loads((folder / "index.json").read_text())
    index["layers"] = []
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "gate_vectors.bin").write_bytes(b"")
    if change is not None:
        change(folder)
    result = shop.job(shop.model(model), {"v": folder}, ladder="larql-2026-08").result(expect=1)
    assert len(result.cases) > 0 and set(result["verdict"]) == {"NOT-RUN"}
    assert all("layer 0 has zero features" in reason for reason in result["case_not_run"])
    assert all("layer 0 has zero features" in reasons for reasons in result["fail_reasons"])
    listed = harness.run(["inspect", folder]).stdout.split("cases it can run")[1].split("values\n")[0]
    assert "index.json lists no layers: zero features" in harness.run(["inspect", folder]).stdout
    lines = [line.split(None, 1) for line in listed.splitlines() if "NOT-RUN" in line]
    assert {reason for _, reason in lines} == {"NOT-RUN: layer 0 has zero features in the vindex"} and "label" not in listed, listed
    native = {"interleaved_kquant_native"} if change is not None else set()  # of gated models only, which inspect cannot know
    assert {name for name, _ in lines} == {case.removeprefix("v:") for case in result.cases} | native


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

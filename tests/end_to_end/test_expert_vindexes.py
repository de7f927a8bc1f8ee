"""Vindexes of models with experts: what extract writes and inspect lists. Layer files are read here by the document (larql-2026-08 5.1)
with numpy, and floats compared with the weights that support/random_model.py makes. unit/test_extract_experts.c compares block formats."""
import json
import os
import resource
import shutil
import struct
import subprocess

import h5py
import numpy as np
import pytest

import harness
import random_model

GOLDEN = random_model.Golden(harness.GOLDEN / "experts")
FORMATS = {"f32": 0, "f16": 1, "bf16": 2, "q4_0": 3, "q4k": 4, "q6k": 5, "fp4": 7}
NAMES = {0: "F32", 1: "F16", 2: "BF16", 3: "Q4_0", 4: "Q4_K", 5: "Q6_K", 7: "FP4"}
VARIANTS = ["mixtral-single", "qwen2_moe-step", "qwen3_moe-sum", "olmoe-raw", "gpt_oss-all"]


def weights(name):
    told = GOLDEN.description(name)
    return {key: values.astype("f4") for key, values in random_model.tensors(told["shapes"], told["seed"]).items()}


def experts_of(name, layer):
    """[(gate and up [2 F, H], down [H, F]) of each expert]; a dense layer has one."""
    here = f"model.layers.{layer}."
    mine = {key.removeprefix(here): values for key, values in weights(name).items() if key.startswith(here)}
    if "mlp.experts.gate_up_proj" in mine:  # [E, H, 2 F], gate and up in turn
        both, down = mine["mlp.experts.gate_up_proj"], mine["mlp.experts.down_proj"]
        return [(np.concatenate((both[e, :, ::2].T, both[e, :, 1::2].T)), down[e].T) for e in range(len(both))]
    stem = "block_sparse_moe" if "block_sparse_moe.gate.weight" in mine else "mlp"
    words = ("w1", "w3", "w2") if stem != "mlp" else ("gate_proj", "up_proj", "down_proj")
    stems = [f"{stem}.experts.{e}" for e in range(99) if f"{stem}.experts.{e}.{words[0]}.weight" in mine] or ["mlp"]
    return [(np.concatenate([mine[f"{at}.{word}.weight"] for word in words[:2]]), mine[f"{at}.{words[2]}.weight"]) for at in stems]


def read_layer(path):
    """Format, and the bytes of gate_up and down of each entry."""
    data = path.read_bytes()
    magic, version, code, entries, features, hidden = struct.unpack_from("<4s5I", data)
    assert (magic, version) == (b"LYRW", 1)
    table = [struct.unpack_from("<4Q", data, 24 + 32 * e) for e in range(entries)]
    assert table[0][0] == 24 + 32 * entries and table[-1][2] + table[-1][3] == len(data)
    return code, features, hidden, [(data[a:a + b], data[c:c + d]) for a, b, c, d in table]


def floats(code, data, rows, cols):
    """Rows padded to 256, without the zeros behind them."""
    flat = np.frombuffer(data, {0: "<f4", 1: "<f2", 2: "<u2"}[code])
    flat = (flat.astype("<u4") << 16).view("<f4") if code == 2 else flat.astype("f4")
    wide = flat.reshape(rows, -(-cols // 256) * 256)
    assert not wide[:, cols:].any()
    return wide[:, :cols]


def nearest(code, values):
    if code == 2:
        bits = values.view("u4").astype("u8")
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype("u4").view("f4")
    return values if code == 0 else values.astype("f2").astype("f4")


@pytest.fixture(scope="module")
def written(shop):
    folders = {}

    def write(name, word, *more):
        if (name, word, *more) not in folders:
            folder = shop.root / ("-".join((name, word, *more)).replace("--", "") + ".vindex")
            done = harness.run(["extract", GOLDEN.model(name, shop.root), folder, "--format", word, *more])
            folders[name, word, *more] = folder, done
        return folders[name, word, *more]
    return write


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("word", ["f32", "f16", "bf16"])
def test_layer_files_hold_the_models_experts(written, name, word):
    folder, _ = written(name, word)
    for layer in range(GOLDEN.description(name)["config"]["num_hidden_layers"]):
        code, features, hidden, entries = read_layer(folder / f"layers/layer_{layer:02}.weights")
        truth = experts_of(name, layer)
        assert code == FORMATS[word] and len(entries) == len(truth)
        for (gate_up, down), (own_gate_up, own_down) in zip(entries, truth):
            assert np.array_equal(floats(code, gate_up, 2 * features, hidden), nearest(code, np.ascontiguousarray(own_gate_up)))
            assert np.array_equal(floats(code, down, hidden, features), nearest(code, np.ascontiguousarray(own_down)))


@pytest.mark.parametrize("name", VARIANTS)
def test_norms_hold_routers_and_biases_by_the_manifest(written, name):
    """LARQL's keys are the checkpoint's, without "model." and with the names of one vector for all experts."""
    folder, _ = written(name, "f32")
    norms, own = (folder / "norms.bin").read_bytes(), weights(name)
    listed = json.loads((folder / "weight_manifest.json").read_text())
    at = 0
    for entry in listed:
        assert (entry["file"], entry["kind"], entry["offset"], entry["length"]) == ("norms.bin", "vector", at, 4 * entry["shape"][0])
        values = np.frombuffer(norms[at:at + entry["length"]], "<f4")
        assert np.array_equal(values, own[f"model.{entry['key']}"].ravel()), entry["key"]
        at += entry["length"]
    assert at == len(norms)
    vectors = {key.removeprefix("model.") for key in own if "norm" in key or "bias" in key or "sinks" in key or "router" in key or
               key.endswith(("mlp.gate.weight", "block_sparse_moe.gate.weight"))}
    assert {entry["key"] for entry in listed} == vectors


@pytest.mark.parametrize("word", FORMATS)
def test_inspect_lists_experts_and_finds_the_files_as_written(written, word):
    name = "qwen3_moe-sum"
    folder, _ = written(name, word)
    told = harness.run(["inspect", "--checksums", folder]).stdout
    kind = NAMES[FORMATS[word]]
    assert f"layer 0: one FFN of 48 features, {kind}; no router\n  layer 1: 6 experts of 40 features, {kind}; router\n" in told
    assert "experts, down: all finite" in told and "not read: layers/" not in told and "not read: norms.bin" not in told
    sums = told[told.index("\nchecksums\n"):].splitlines()[2:]
    assert len(sums) == 6 and sum(line.endswith(" equal") for line in sums) == 5 and "weight_manifest.json" in sums[-1], sums


def test_inspect_finds_a_value_that_is_no_number_in_an_expert(written, shop):
    folder, _ = written("mixtral-single", "f32")
    path = folder / "layers/layer_02.weights"
    whole = path.read_bytes()
    _, features, hidden, _ = read_layer(path)
    at = struct.unpack_from("<Q", whole, 24 + 32 * 3)[0] + 4 * ((features + 5) * 256 + 7)  # up row 5 of expert 3
    path.write_bytes(whole[:at] + struct.pack("<f", np.nan) + whole[at + 4:])
    told = harness.run(["inspect", folder]).stdout
    path.write_bytes(whole)
    assert "experts, up: 1 non-finite values, first at layer 2, expert 3, row 5, element 7" in told
    assert "experts, gate: all finite" in told


def test_layer_files_that_no_layer_reads_are_named(written, shop):
    folder, _ = written("mixtral-single", "f32")
    said = "entries of layers/ that no layer reads: "
    assert said not in harness.run(["inspect", folder]).stdout
    more = shop.root / "more.vindex"
    shutil.copytree(folder, more)
    for name in ("layer_9.weights", "layer_01.weights.bak"):
        shutil.copyfile(folder / "layers/layer_00.weights", more / "layers" / name)
    assert f"{said}2, 'layer_01.weights.bak' first" in harness.run(["inspect", more]).stdout


def test_a_shared_expert_is_said_to_be_the_models(written):
    said = "the shared expert of each layer has no place in a vindex: it is the model's"
    folder, done = written("qwen2_moe-step", "f32")
    assert said in done.stderr and said in harness.run(["inspect", folder]).stdout
    assert said not in written("olmoe-raw", "f32")[1].stderr


def test_the_gate_file_may_be_left_out(written):
    folder, _ = written("olmoe-raw", "q6k", "--drop-gate")
    assert not (folder / "gate_vectors.bin").exists()
    layers = json.loads((folder / "index.json").read_text())["layers"]
    assert [layer["num_features"] for layer in layers] == [layer["num_experts"] * layer["num_features_per_expert"] for layer in layers]
    assert "experts of" in harness.run(["inspect", folder]).stdout


# --- Synthetic models

@pytest.mark.parametrize("family", ["mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "gpt_oss"])
def test_synth_writes_a_model_with_experts(shop, family):
    """Read without a remark, the first token of a prompt clear but not certain, the residual stream bounded, and no expert chosen by all."""
    model = shop.root / f"synth-{family}"
    said = harness.run(["synth", model, "--family", family, "--shape", "tiny", "--experts", "6", "--chosen", "2"]).stdout
    assert "6 experts, 2 chosen, each with FFN 384" in said
    made = shop.job(model, {})
    text = json.loads(made.path.read_text())
    text["audits"][0]["vindexes"] = [{"name": "itself", "checkpoint": str(model)}]
    made.path.write_text(json.dumps(text))
    result = made.result()
    with h5py.File(made.result_path) as file:
        assert file.attrs["model_family"] == family and file.attrs["warnings"] == ""
    assert result.case("itself:checkpoint", "max_rel_l2") == 0 and "KERNEL" not in result.case("itself:checkpoint", "fail_reasons")
    growth = result["h_norm"][-1] / result["h_norm"][0]
    assert np.isfinite(growth).all() and growth.min() > 0.2 and growth.max() < 30
    assert 0.01 < np.median(result["ref_top1_prob"]) < 0.999
    for layer in result["expert_id"]:
        shares = np.bincount(layer.ravel(), minlength=6) / len(layer)
        assert (shares > 0).sum() >= 4 and shares.max() < 1, shares


@pytest.mark.parametrize("word", ["f32", "q4k"])
def test_memory_does_not_grow_with_the_experts(shop, word):
    """A layer of 128 experts with 201 MB of weights: at most 200 MB of private memory, of which OpenBLAS may reserve a part, and 100 MB that
    are used, pages of the model among them. With experts of Qwen 3 30B's width (1.2 GB of weights) it is 31 MB, as with these."""
    model, folder = shop.root / "many", shop.root / f"many-{word}.vindex"
    if not model.exists():
        harness.run(["synth", model, "--family", "qwen3_moe", "--shape", "1b", "--layers", "1", "--vocab", "512", "--experts", "128",
                     "--chosen", "8", "--features", "128"])
    private = 200 << 20
    words = harness.command(["extract", model, folder, "--format", word])
    process = subprocess.Popen(words, env=harness.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (private, private)))
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said
    assert used.ru_maxrss < 100 << 10
    assert len(read_layer(folder / "layers/layer_00.weights")[3]) == 128

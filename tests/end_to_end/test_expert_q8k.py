"""Path experts_q8k: experts of layers/layer_NN.weights by integer dots with x and activations in Q8_K (larql-2026-08 3.3, 5.4). Stored
blocks are read and multiplied here with numpy, by the document; unit/test_q8k.c holds the kernel against the definition bit for bit."""
import os
import struct

import h5py
import numpy as np
import pytest

import harness
import random_model

GOLDEN = random_model.Golden(harness.GOLDEN / "experts")
# The five families: one expert a row, a shared expert and dense layers, renormalised or not, biases and a clamp.
NAMES = ["mixtral-single", "qwen2_moe-step", "qwen3_moe-sum", "olmoe-raw", "gpt_oss-plain"]
PATHS = [{"path": "experts"}, {"path": "experts_q8k"}]
F32 = np.float32


# --- The document's arithmetic

def q8_k(x):
    """Rows of f32 [n, cols], filled up to blocks of 256: integers [n, blocks, 256] and scales [n, blocks]."""
    wide = np.zeros((len(x), -(-x.shape[1] // 256) * 256), F32)
    wide[:, :x.shape[1]] = x
    blocks = wide.reshape(len(x), -1, 256)
    d = np.abs(blocks).max(-1) / F32(127)
    inverse = np.divide(F32(1), d, out=np.zeros_like(d), where=d > 0)
    scaled = blocks * inverse[..., None]
    return np.clip(np.trunc(scaled + np.copysign(F32(0.5), scaled)), -127, 127).astype("i8"), d


def halves(data):
    return np.ascontiguousarray(data).view("<f2")[..., 0].astype(F32)


def q4_k_blocks(data):
    """[rows, blocks, 144] to codes [..., 256], scales and mins [..., 8] as integers, d and dmin."""
    six = data[..., 4:16].astype("i8").astype("i4") & 0xFF
    low, middle, high = six[..., :4], six[..., 4:8], six[..., 8:12]
    scales = np.concatenate([low & 63, (high & 15) | (low >> 6) << 4], -1)
    mins = np.concatenate([middle & 63, (high >> 4) | (middle >> 6) << 4], -1)
    nibbles = data[..., 16:144].reshape(*data.shape[:-1], 4, 32)
    codes = np.stack([nibbles & 15, nibbles >> 4], -2).reshape(*data.shape[:-1], 256)
    return codes.astype("i8").astype(np.int64), np.repeat(scales, 32, -1), mins, halves(data[..., :2]), halves(data[..., 2:4])


def q6_k_blocks(data):
    """[rows, blocks, 210]: the same; no mins."""
    low = data[..., :128].reshape(*data.shape[:-1], 2, 2, 32)
    high = data[..., 128:192].reshape(*data.shape[:-1], 2, 32)
    quarters = [(low[..., k % 2, :] >> 4 * (k // 2) & 15) | (high >> 2 * k & 3) << 4 for k in range(4)]
    codes = np.stack(quarters, -2).reshape(*data.shape[:-1], 256).astype(np.int64) - 32
    scales = np.ascontiguousarray(data[..., 192:208]).view("i1").astype(np.int64)
    none = np.zeros((*data.shape[:-1], 8), np.int64)
    return codes, np.repeat(scales, 16, -1), none, halves(data[..., 208:210]), np.zeros(data.shape[:-1], F32)


def products(stored, x):
    """[n, rows] of stored blocks with rows of x: exact integers, then f32 from left to right."""
    codes, scales, mins, d, dmin = stored
    q, dy = q8_k(x)
    out = np.zeros((len(x), len(codes)), F32)
    for b in range(codes.shape[1]):
        above = q[:, b].astype(np.int64) @ (codes[:, b] * scales[:, b]).T
        below = q[:, b].reshape(-1, 8, 32).sum(-1, dtype=np.int64) @ mins[:, b].T
        out += d[:, b] * dy[:, b, None] * above.astype(F32) - dmin[:, b] * dy[:, b, None] * below.astype(F32)
    return out


def layer_file(path):
    """Of each entry gate, up and down as blocks split into integers."""
    data = path.read_bytes()
    code, entries, features, hidden = struct.unpack_from("<4I", data, 8)
    size, split = {4: (144, q4_k_blocks), 5: (210, q6_k_blocks)}[code]

    def matrix(at, rows, cols):
        blocks = -(-cols // 256)
        return split(np.frombuffer(data, "u1", rows * blocks * size, at).reshape(rows, blocks, size))

    out = []
    for entry in range(entries):
        gate_up, length, down, _ = struct.unpack_from("<4Q", data, 24 + 32 * entry)
        out.append((matrix(gate_up, features, hidden), matrix(gate_up + length // 2, features, hidden), matrix(down, hidden, features)))
    return out


def silu(x):
    return x / (1 + np.exp(-x.astype("f8")))


def activations(family, gate, up):
    if family != "gpt_oss":
        return (silu(gate) * up).astype(F32)
    gate, up = np.minimum(gate, 7).astype("f8"), np.clip(up, -7, 7).astype("f8")
    return ((up + 1) * gate / (1 + np.exp(-1.702 * gate))).astype(F32)


def weights(name):
    told = GOLDEN.description(name)
    return {key: values.astype("f8") for key, values in random_model.tensors(told["shapes"], told["seed"]).items()}


def biases(tensors, layer, expert):
    stem = f"model.layers.{layer}.mlp.experts."
    if stem + "down_proj_bias" not in tensors:
        return 0, 0, 0
    both = tensors[stem + "gate_up_proj_bias"][expert].astype(F32)
    return both[::2], both[1::2], tensors[stem + "down_proj_bias"][expert].astype(F32)


def shared_expert(tensors, layer, x):
    stem = f"model.layers.{layer}.mlp.shared_expert"
    if stem + "_gate.weight" not in tensors:
        return 0
    gate, up, down = (tensors[f"{stem}.{word}_proj.weight"] for word in ("gate", "up", "down"))
    share = 1 / (1 + np.exp(-(x @ tensors[stem + "_gate.weight"].T)))
    return share * ((silu(x @ gate.T) * (x @ up.T)) @ down.T)


def expected(name, folder, layer, x, ids, shares):
    """y [obs, H] by the layer file, of the experts that the router chose."""
    tensors, family = weights(name), GOLDEN.description(name)["config"]["model_type"]
    entries = layer_file(folder / f"layers/layer_{layer:02}.weights")
    y = np.zeros(x.shape, "f8")
    for number, (gate, up, down) in enumerate(entries):
        of_gate, of_up, of_down = biases(tensors, layer, number)
        act = activations(family, products(gate, x) + of_gate, products(up, x) + of_up)
        out = (products(down, act) + of_down).astype("f8")
        y += (np.where(ids == number, shares, 0).sum(-1)[:, None] if len(entries) > 1 else 1) * out
    return y + shared_expert(tensors, layer, x.astype("f8"))


# --- Audits

@pytest.fixture(scope="module")
def written(shop):
    folders = {}

    def write(name, word):
        if (name, word) not in folders:
            folders[name, word] = shop.root / f"q8k-{name}-{word}.vindex"
            harness.run(["extract", GOLDEN.model(name, shop.root), folders[name, word], "--format", word])
        return folders[name, word]
    return write


def job(shop, name, vindexes, **keys):
    prompts = shop.root / f"{name}-prompts.jsonl"
    prompts.write_text(GOLDEN.prompts(name))
    return shop.job(GOLDEN.model(name, shop.root), vindexes, **{"prompts": {"file": str(prompts)}, "kernel_check": "all", **keys})


@pytest.mark.parametrize("name", NAMES)
def test_its_outputs_are_those_of_the_documents_arithmetic(shop, written, name):
    """Of the stored bytes and the captured inputs. An activation beside the middle of two integers may go either way: y moves by less than
    2e-2 then, in few rows."""
    folders = {word: written(name, word) for word in ("q4k", "q6k")}
    made = job(shop, name, folders, paths=PATHS, captures={"tensors": ["x", "y_walk"]})
    result = made.result()
    with h5py.File(made.result_path) as file:
        x, y, cases = file["captures/x"][()], file["captures/y_walk"][()], file["captures/case"][()].tolist()
    for word, folder in folders.items():
        case = f"{word}:experts_q8k"
        mine = y[cases.index(result.cases.index(case))].astype("f8")
        for layer in range(len(x)):
            truth = expected(name, folder, layer, x[layer], result["expert_id"][layer], result["expert_weight"][layer])
            far = np.linalg.norm(mine[layer] - truth, axis=-1) / np.linalg.norm(truth, axis=-1)
            assert np.mean(far < 3e-6) > 0.9 and far.max() < 2e-2, (case, layer, far)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_healthy_and_a_little_farther_than_decoded(shop, written, name):
    result = job(shop, name, {word: written(name, word) for word in ("q4k", "q6k")}).result()
    assert result.verdicts() == {f"{word}:{path['path']}": "MEASURED" for word in ("q4k", "q6k") for path in PATHS}
    for word in ("q4k", "q6k"):
        ours, decoded = f"{word}:experts_q8k", f"{word}:experts"
        assert set(result.case(ours, "label").ravel()) == set(result.case(ours, "expected_label")) == {"experts:q8k"}
        assert result.case(ours, "case_bucket") == "quantized"
        for field in ("kernel_rel_l2", "kernel_own_rel_l2"):
            assert 0 < result.case(ours, field).max() < 3e-6, (name, field)  # at every position, ties included
        gap = result.case(ours, "routing_gap")[result["layer_experts"] > 0]
        assert (gap == 0).all()
        share = np.median(result.case(ours, "rel_l2") / result.case(decoded, "rel_l2"))
        assert 1 - 1e-3 < share < (1.2 if word == "q4k" else 2), share
        assert not np.array_equal(result.case(ours, "rel_l2"), result.case(decoded, "rel_l2"))


@pytest.mark.parametrize("name", ["qwen2_moe-step", "gpt_oss-plain"])
def test_its_bits_are_the_same_on_any_ranks_and_batches(shop, written, name):
    vindexes = {"v": written(name, "q4k")}
    alone = job(shop, name, vindexes)
    alone.run()
    for ranks, keys in ((1, {"batch": {"rows": 9}}), (2, {"grid": {"stages": 2}}), (3, {"grid": {"teams": 3}}),
                        (4, {"grid": {"stages": 2, "teams": 2}})):
        other = job(shop, name, vindexes, **keys)
        other.run(ranks=ranks)
        harness.assert_equal_bits(alone, other)
    only = job(shop, name, vindexes, paths=PATHS[1:])
    a, b = harness.Result(alone.result_path), only.result()
    for field in ("rel_l2", "kernel_rel_l2", "kernel_own_rel_l2", "drift", "kl"):
        np.testing.assert_array_equal(a.case("v:experts_q8k", field), b.case("v:experts_q8k", field))


def test_layer_files_of_other_formats_have_no_integer_dots(shop, written):
    """Left out by default, with the reason; an error where the job asks for it."""
    said = "layers/layer_00.weights is in f16, and Q4_K and Q6_K alone have integer dots"
    result = job(shop, "olmoe-raw", {"v": written("olmoe-raw", "f16")}).result()
    assert result.verdicts() == {"v:experts": "PASS"}
    assert any(text == f"v:experts_q8k: {said}" for text in result["not_offered"]), result["not_offered"]
    asked = job(shop, "olmoe-raw", {"v": written("olmoe-raw", "f16")}, paths=PATHS[1:])
    assert said in harness.one_error_line(asked.run(expect=2))


def test_a_wrong_stored_row_is_encoding_in_both_paths(shop, written, tmp_path):
    folder = tmp_path / "wrong"
    harness.run(["extract", GOLDEN.model("olmoe-raw", shop.root), folder, "--format", "q4k"])
    path = folder / "layers/layer_01.weights"
    data = bytearray(path.read_bytes())
    at = struct.unpack_from("<Q", data, 24 + 32 * 2 + 16)[0] + 144 * 9  # down row 9 of expert 2
    data[at + 16:at + 24] = bytes(byte ^ 0xFF for byte in data[at + 16:at + 24])
    path.write_bytes(data)
    result = job(shop, "olmoe-raw", {"v": folder}).result(expect=1)
    for path in PATHS:
        case = f"v:{path['path']}"
        assert result.case(case, "verdict") == "ENCODING"
        assert result.case(case, "fail_reasons").startswith("layer 1, expert 2, down, row 9: "), result.case(case, "fail_reasons")


def test_a_foreign_kernel_may_claim_to_be_like_it(shop, written, tmp_path):
    """Its own answers are; those of decoded rows are not."""
    vindexes, name = {"v": written("olmoe-raw", "q4k")}, "olmoe-raw"
    made = job(shop, name, vindexes, paths=PATHS, captures={"tensors": ["x", "y_walk"]})
    made.run()
    paths = []
    with h5py.File(made.result_path) as file:
        for at, path in enumerate(("decoded", "rounded")):
            with h5py.File(tmp_path / f"{path}.h5", "w") as out:
                out["y_walk"], out["token_id"] = file["captures/y_walk"][at], file["token_id"][()]
            paths.append({"path": "external", "name": path, "file": str(tmp_path / f"{path}.h5"), "like": "experts_q8k"})
    result = job(shop, name, vindexes, paths=paths).result(expect=1)
    assert result.verdicts() == {"v:decoded": "KERNEL", "v:rounded": "MEASURED"}
    assert result.case("v:rounded", "max_kernel_rel_l2") < 3e-6 and result.case("v:decoded", "max_kernel_rel_l2") > 1e-3


FAULTS = [("next-expert", "olmoe-raw"), ("router-bias", "gpt_oss-plain"), ("expert-weights", "olmoe-raw"),
          ("expert-halves", "mixtral-single"), ("expert-input", "qwen3_moe-sum"), ("expert-bias", "gpt_oss-plain"),
          ("no-shared-expert", "qwen2_moe-step"), ("nibble-order", "olmoe-raw"), ("q8-scale", "olmoe-raw"), ("q8-scale", "gpt_oss-plain")]


@pytest.mark.parametrize("fault, name", FAULTS)
def test_a_kernel_that_treats_experts_wrongly_is_kernel(shop, written, fault, name):
    """At the layer where it does; the program without the fault finds nothing."""
    made = job(shop, name, {"v": written(name, "q4k")}, paths=PATHS[1:])
    for planted, word in (({"WALKAUDIT_FAULT": fault, "WALKAUDIT_FAULT_LAYER": "1"}, "KERNEL"), ({}, "MEASURED")):
        made.run(words=("--fresh",), expect=None, program=os.environ["WALKAUDIT_FAULTY"], **planted)
        result = harness.Result(made.result_path)
        assert result.case("v:experts_q8k", "verdict") == word, (fault, result.case("v:experts_q8k", "fail_reasons"))
        worst = np.nanmax(np.maximum(result.case("v:experts_q8k", "kernel_rel_l2"), result.case("v:experts_q8k", "kernel_own_rel_l2")),
                          axis=-1)
        assert (worst[1] > 1e-3) == (word == "KERNEL") and np.all(worst[::2] < 3e-6), (fault, worst)


# A row of this prompt in which an activation takes the other integer, that hides behind another which does.
TIED = [32, 341, 261, 71, 64, 83, 275, 396, 349, 400, 353, 82, 348, 378, 404, 368, 380, 262, 311, 386, 354, 273, 220, 78, 75, 260, 81, 261, 71, 259,
        262, 220, 82, 83, 257, 68, 82, 281, 404, 82, 348, 259, 74, 11, 306, 404, 309, 76, 68, 76, 65, 68, 81, 82, 362, 257, 68, 272, 262, 76, 13]


def test_ties_that_hide_behind_each_other_are_settled(shop, tmp_path):
    model = shop.model("qwen3_moe")
    harness.run(["extract", model, tmp_path / "v", "--format", "q4k"])
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(harness.json.dumps({"key": "long", "ids": TIED}) + "\n")
    result = shop.job(model, {"v": tmp_path / "v"}, paths=[{"path": "experts_q8k"}], kernel_check="all", prompts={"file": str(prompts)}).result()
    assert result.case("v:experts_q8k", "verdict") == "MEASURED"
    for field in ("kernel_rel_l2", "kernel_own_rel_l2"):
        assert np.nanmax(result.case("v:experts_q8k", field)) < 2e-6

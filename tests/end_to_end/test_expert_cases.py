"""Layers with experts in a case: path `checkpoint` of a model with experts against that model."""
import os
import re
import shutil
import struct
import subprocess

import h5py
import numpy as np
import pytest

import gguf_files
import harness
import random_model

GOLDEN = random_model.Golden(harness.GOLDEN / "experts")


def copy_of(shop, name, path, change=lambda tensors: None, dtype="BF16"):
    """The model's directory with other tensors: change has a say in {name: f32 array}."""
    told = GOLDEN.description(name)
    tensors = {key: np.array(values) for key, values in random_model.tensors(told["shapes"], told["seed"]).items()}
    change(tensors)
    shutil.copytree(GOLDEN.model(name, shop.root), path)
    gguf_files.write_safetensors(path / "model.safetensors", tensors, dtype)
    return path


def job(shop, name, checkpoints, model=None, prompts=None, **keys):
    """A job of checkpoints {case: path} against the golden model, on its own prompts or those of a file."""
    if prompts is None:
        prompts = shop.root / f"{name}-prompts.jsonl"
        prompts.write_text(GOLDEN.prompts(name))
    made = shop.job(model or GOLDEN.model(name, shop.root), {}, prompts={"file": str(prompts)}, **keys)
    text = harness.json.loads(made.path.read_text())
    text["audits"][0]["vindexes"] = [{"name": n, "checkpoint": str(p)} for n, p in checkpoints.items()]
    made.path.write_text(harness.json.dumps(text))
    return made


def noise(tensors):
    """Each expert's numbers, and the router's, off by half a percent."""
    rng = np.random.RandomState(7)
    for key, values in tensors.items():
        if ".mlp." in key or ".block_sparse_moe." in key:
            values *= (1 + 0.005 * rng.standard_normal(values.shape)).astype("<f4")


def noise_of_experts(tensors):
    """The same of the experts alone."""
    routers = {key: np.array(values) for key, values in tensors.items() if key.endswith(ROUTERS)}
    noise(tensors)
    tensors.update(routers)


ROUTERS = (".mlp.gate.weight", ".block_sparse_moe.gate.weight", ".mlp.router.weight")


def astray(tensors):
    """Experts as above, and routers so far off that they choose others."""
    rng = np.random.RandomState(11)
    noise_of_experts(tensors)
    for key, values in tensors.items():
        if key.endswith(ROUTERS):
            values += (0.3 * values.std() * rng.standard_normal(values.shape)).astype("<f4")


@pytest.mark.parametrize("name", ["mixtral-window", "qwen2_moe-step", "qwen2_moe-shared", "qwen3_moe-sum", "olmoe-biases", "gpt_oss-alternating"])
def test_a_case_evaluates_experts_from_its_own_weights(shop, tmp_path, name):
    """The same numbers give the reference's bits; others give what an audit gives in which they are the reference."""
    other = copy_of(shop, name, tmp_path / "other", noise, "F32")
    made = job(shop, name, {"same": GOLDEN.model(name, shop.root), "other": other}, captures={"tensors": ["x", "y_walk"]})
    made.run(expect=None)
    result = harness.Result(made.result_path)
    assert result.case("same:checkpoint", "max_rel_l2") == 0 and (result.case("same:checkpoint", "kl") == 0).all()
    for case in ("same:checkpoint", "other:checkpoint"):
        for field in ("kernel_rel_l2", "kernel_own_rel_l2"):
            seen = result.case(case, field)[np.isfinite(result.case(case, field))]
            assert len(seen) > 0 and 0 < seen.max() < 2e-6, (case, field)
    assert result.case("other:checkpoint", "mean_rel_l2") > 1e-3
    # the same distances from the other side: its y as the reference's, relative to the other's norm
    back = job(shop, name, {"model": GOLDEN.model(name, shop.root)}, model=other)
    back.run(expect=None)
    first = 0  # layer 0 has the same input in both
    there, here = harness.Result(back.result_path), result
    np.testing.assert_allclose(here.case("other:checkpoint", "l2")[first], there.case("model:checkpoint", "l2")[first], rtol=1e-12)


def through(ids, expert):
    """Rows that go through an expert. ids: [obs, choice]."""
    return (ids == expert).any(axis=-1)


def test_rows_and_errors_of_the_kernel_are_counted_for_each_expert(shop):
    """In batches of a few rows, over which they are summed; only layer 1 has experts."""
    name = "qwen2_moe-step"
    made = job(shop, name, {"same": GOLDEN.model(name, shop.root)}, batch={"rows": 9})
    result = made.result()
    rows, own_rows = result["expert_rows"], result.case("same:checkpoint", "own_expert_rows")
    checked, worst = (result.case("same:checkpoint", field) for field in ("expert_kernel_rows", "expert_kernel_rel_l2"))
    assert (rows.sum(axis=1) == (result["expert_id"] >= 0).sum(axis=(1, 2))).all() and (rows == own_rows).all()
    assert (checked > 0).any() and (checked[rows == 0] == 0).all()
    for layer, expert in np.ndindex(rows.shape):
        met = [result.case("same:checkpoint", field)[layer, through(ids[layer], expert)] for field, ids in (
            ("kernel_rel_l2", result["expert_id"]), ("kernel_own_rel_l2", result.case("same:checkpoint", "own_expert_id")))]
        errors = np.concatenate(met)
        errors = errors[~np.isnan(errors)]
        assert rows[layer, expert] == len(met[0]) and checked[layer, expert] == len(errors)
        assert worst[layer, expert] == errors.max() if len(errors) else np.isnan(worst[layer, expert])


@pytest.mark.parametrize("name", ["qwen2_moe-shared", "gpt_oss-window"])
def test_bits_of_a_case_are_the_same_on_any_ranks_and_batches(shop, tmp_path, name):
    checkpoints = {"other": copy_of(shop, name, tmp_path / "other", astray)}
    alone = job(shop, name, checkpoints)
    alone.run(expect=None)
    assert (harness.Result(alone.result_path)["other_experts_rel_l2"] > 0).any()
    for ranks, keys in ((1, {"batch": {"rows": 9}}), (2, {"grid": {"stages": 2}}), (2, {"grid": {"teams": 2}}),
                        (3, {"grid": {"stages": 3}}), (4, {"grid": {"stages": 2, "teams": 2}})):
        other = job(shop, name, checkpoints, **keys)
        other.run(ranks=ranks, expect=None)
        harness.assert_equal_bits(alone, other)
    more = job(shop, name, checkpoints | {"same": GOLDEN.model(name, shop.root)})
    more.run(expect=None)
    a, b = harness.Result(alone.result_path), harness.Result(more.result_path)
    for field in ("rel_l2", "kernel_rel_l2", "kernel_own_rel_l2", "drift", "kl", "same_experts_rel_l2", "other_experts_rel_l2"):
        np.testing.assert_array_equal(a.case("other:checkpoint", field), b.case("other:checkpoint", field))


CONFIGURED = [({"num_experts_per_tok": 3}, "layer 0: the checkpoint has 3 experts for each row, the model 2"),
              ({"norm_topk_prob": True}, "layer 0: the weights of chosen experts sum to 1 in the checkpoint alone")]


@pytest.mark.parametrize("keys, said", CONFIGURED)
def test_another_formula_is_refused(shop, tmp_path, keys, said):
    name = "qwen2_moe-shared"
    path = copy_of(shop, name, tmp_path / "other")
    config = harness.json.loads((path / "config.json").read_text()) | keys
    (path / "config.json").write_text(harness.json.dumps(config))
    assert said in harness.one_error_line(job(shop, name, {"other": path}).run(expect=None))


@pytest.mark.parametrize("factor", [1.5, np.nan])
def test_errors_of_a_foreign_kernel_lead_to_its_expert(shop, tmp_path, factor):
    """Outputs from a file are wrong at every row that goes through one expert of layer 1, and nowhere else: of the experts that only
    such rows share, it is the one all of whose rows are wrong. Errors that are no numbers are infinite, in any batch."""
    name, layer, expert = "olmoe-raw", 1, 5
    vindex = expert_vindex(name, tmp_path / "v", "<f4")
    kept = vindex_job(shop, name, {"v": vindex}, paths=[{"path": "experts"}], captures={"tensors": ["y_walk"]})
    ids = kept.result()["expert_id"]
    file = tmp_path / "y.h5"
    with h5py.File(kept.result_path) as source, h5py.File(file, "w") as out:
        y = source["captures/y_walk"][0]
        wrong = through(ids[layer], expert)
        assert 0 < wrong.sum() < len(wrong)
        y[layer, wrong] *= factor
        out["y_walk"], out["token_id"], out["x_norm"] = y, source["token_id"][()], source["x_norm"][()]
    made = vindex_job(shop, name, {"v": vindex}, kernel_check="all", batch={"rows": 9},
                      paths=[{"path": "external", "file": str(file), "name": "mine", "bucket": "exact", "like": "experts"}])
    result = made.result(expect=1)
    assert result.case("v:mine", "verdict") == ("KERNEL" if factor == 1.5 else "NON-FINITE")
    rows, worst = result.case("v:mine", "expert_kernel_rows"), result.case("v:mine", "expert_kernel_rel_l2")
    assert (result.case("v:mine", "kernel_rel_l2")[layer, wrong] > 0.1).all() and (factor == 1.5 or worst[layer, expert] == np.inf)
    assert (rows == result["expert_rows"]).all() and worst[layer, expert] > 0.1 and np.nanmax(np.delete(worst, layer, axis=0)) < 2e-6
    sound = [one for one in range(8) if not (through(ids[layer], one) & wrong).any()]
    assert all(np.isnan(worst[layer, one]) or worst[layer, one] < 2e-6 for one in sound)
    assert (result.case("v:mine", "routing_change") == "not_compared").all() and result.case("v:mine", "max_other_experts_rel_l2_at_layer") == -1


# --- Faults of kernels (src/path/fault.h)

FAULTS = [("next-expert", "olmoe-raw"), ("router-bias", "gpt_oss-window"), ("expert-weights", "olmoe-raw"), ("expert-weights", "qwen3_moe-sum"),
          ("expert-halves", "mixtral-window"), ("expert-halves", "gpt_oss-window"), ("expert-input", "qwen3_moe-yarn"),
          ("no-shared-expert", "qwen2_moe-shared")]


@pytest.mark.parametrize("fault, name", FAULTS)
def test_a_kernel_that_treats_experts_wrongly_is_kernel(shop, fault, name):
    """At the layer where it does, on either stream; the program without the fault finds nothing."""
    made = job(shop, name, {"same": GOLDEN.model(name, shop.root)})
    for planted, word in (({"WALKAUDIT_FAULT": fault, "WALKAUDIT_FAULT_LAYER": "1"}, "KERNEL"), ({}, None)):
        made.run(words=("--fresh",), expect=None, program=os.environ["WALKAUDIT_FAULTY"], **planted)
        result = harness.Result(made.result_path)
        worst = np.nanmax(np.maximum(result.case("same:checkpoint", "kernel_rel_l2"), result.case("same:checkpoint", "kernel_own_rel_l2")), axis=-1)
        assert (worst[1] > 1e-3) == (word == "KERNEL") and np.all(worst[::2] < 2e-6), (fault, worst)
        if word == "KERNEL":
            assert result.case("same:checkpoint", "verdict") == "KERNEL"
            assert "layer 1, " in result.case("same:checkpoint", "fail_reasons").splitlines()[0]


# --- Faults of files: ENCODING, with layer, expert, projection and row

def expert_key(tensors, layer, expert, word):
    return next(key for key in tensors if f"layers.{layer}." in key and f".experts.{expert}." in key and f".{word}." in key)


def one_row(tensors):
    tensors[expert_key(tensors, 1, 3, "up_proj")][5] *= 1.01


def one_row_of_gpt_oss(tensors):
    tensors["model.layers.1.mlp.experts.down_proj"][3][:, 7] *= -1  # stored [expert, in, out]


def exchanged(tensors):
    for word in ("gate_proj", "up_proj", "down_proj"):
        a, b = (expert_key(tensors, 2, expert, word) for expert in (1, 4))
        tensors[a], tensors[b] = tensors[b], tensors[a]


def halves(tensors):
    a, b = (expert_key(tensors, 0, 2, word) for word in ("gate_proj", "up_proj"))
    tensors[a], tensors[b] = tensors[b], tensors[a]


def router_off_by_one(tensors):
    key = next(key for key in tensors if "layers.1." in key and key.endswith("mlp.gate.weight"))
    tensors[key] = np.roll(tensors[key], 1, axis=0)


def expert_bias(tensors):
    tensors["model.layers.1.mlp.experts.gate_up_proj_bias"][2, 13] += 0.25  # gate and up in turn: up 6


def router_bias(tensors):
    tensors["model.layers.2.mlp.router.bias"][1] *= 1.5


def shared_row(tensors):
    tensors["model.layers.0.mlp.shared_expert.gate_proj.weight"][9] = 0


def shared_gate(tensors):
    tensors["model.layers.0.mlp.shared_expert_gate.weight"][0, 3] += 0.25


WRONG = [("olmoe-raw", one_row, "layer 1, expert 3, up, row 5: 1 of 384 rows are not the model's values"),
         ("qwen3_moe-yarn", one_row, "layer 1, expert 3, up, row 5: 1 of 120 rows are not the model's values"),
         ("gpt_oss-window", one_row_of_gpt_oss, "layer 1, expert 3, down, row 7: 1 of 160 rows are not the model's values"),
         ("qwen2_moe-shared", exchanged, "layer 2, expert "),
         ("olmoe-sum", halves, "layer 0, expert 2, "),
         ("olmoe-raw", router_off_by_one, "layer 1, router, row "),
         ("gpt_oss-window", router_bias, "layer 2, bias of the router, row 1: 1 of 5 rows are not the model's values"),
         ("gpt_oss-window", expert_bias, "layer 1, expert 2, bias of up, row 6: 1 of 240 rows are not the model's values"),
         ("qwen2_moe-shared", shared_row, "layer 0, shared expert, gate, row 9: 1 of 64 rows are not the model's values"),
         ("qwen2_moe-shared", shared_gate, "layer 0, gate of the shared expert, row 0: 1 of 1 rows are not the model's values")]


@pytest.mark.parametrize("name, change, said", WRONG)
def test_wrong_numbers_of_experts_are_encoding(shop, tmp_path, name, change, said):
    made = job(shop, name, {"other": copy_of(shop, name, tmp_path / "other", change, "F32")})
    result = made.result(expect=1)
    assert result.case("other:checkpoint", "verdict") == "ENCODING"
    assert result.case("other:checkpoint", "fail_reasons").startswith(said), result.case("other:checkpoint", "fail_reasons")


def test_a_wrong_row_of_an_expert_that_nobody_chose_is_encoding(shop, tmp_path):
    """Its outputs are never asked for, so nothing else could tell: every difference is 0."""
    name, layer = "qwen3_moe-raw", 1
    same = job(shop, name, {"same": GOLDEN.model(name, shop.root)}, prompts=one_token(shop))
    chosen = same.result()["expert_id"][layer]
    idle = next(e for e in range(9) if e not in chosen)

    def change(tensors):
        tensors[expert_key(tensors, layer, idle, "down_proj")][11] *= 1.01

    made = job(shop, name, {"other": copy_of(shop, name, tmp_path / "other", change, "F32")}, prompts=one_token(shop))
    result = made.result(expect=1)
    assert result.case("other:checkpoint", "max_rel_l2") == 0
    assert result.case("other:checkpoint", "verdict") == "ENCODING"
    assert f"layer {layer}, expert {idle}, down, row 11: " in result.case("other:checkpoint", "fail_reasons")
    errors = result["expert_err_max"][0]
    assert errors.shape == (3, 9, 3) and errors[layer, idle, 2] > 1e-3 and np.count_nonzero(errors) == 1
    assert result["expert_err_worst"][0][layer, idle, 2] == 11 and result["expert_err_unequal"][0].sum() == 1
    page, told = report(made)
    ids = result["expert_id"]
    for one in told["layers"]:
        seen = ids[one["layer"]].ravel().tolist()
        assert one["rows"] == [seen.count(expert) for expert in range(9)] and one["never"] == [e for e in range(9) if e not in seen]
    missing = sum(9 - len(set(ids[one].ravel().tolist())) for one in range(3))
    assert f"{missing} of 27 experts were never chosen by these prompts" in page
    worst, *others = told["worst"]  # all others' rows are equal: they are there for their kernels
    assert (worst["layer"], worst["expert"], worst["projection"], worst["row"], worst["unequal"]) == (layer, idle, 2, 11, 1)
    assert worst["kernel"] is None and worst["checked"] == 0 and f"| {layer} | {idle} | down 11 |" in page
    assert others and all(one["row"] is None and one["error"] == 0 and one["kernel"] > 0 for one in others)
    assert [one["kernel"] for one in others] == sorted((one["kernel"] for one in others), reverse=True)


def report(made):
    """The section on experts of the report's page, and its facts."""
    subprocess.run([harness.GOLDEN.parent.parent / "analysis" / "walkaudit-report", "report", made.result_path, "-o", made.folder,
                    "--no-plots"], stdout=subprocess.DEVNULL, check=False)
    page = next(made.folder.glob("*.md")).read_text()
    return page[page.index("# Experts"):], harness.json.loads(next(made.folder.glob("*.json")).read_text())["routing"]


def one_token(shop):
    path = shop.root / "one-token.jsonl"
    path.write_text('{"key": "one", "ids": [3]}\n')
    return path


@pytest.mark.parametrize("name", ["mixtral-all", "qwen2_moe-step", "qwen3_moe-sum", "olmoe-biases", "gpt_oss-plain"])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_healthy_floats_of_experts_pass(shop, tmp_path, name, dtype):
    """The model's values lie in bf16: f32 holds them, f16 rounds those below its normal numbers."""
    result = job(shop, name, {"other": copy_of(shop, name, tmp_path / "other", dtype=dtype)}).result()
    assert result.case("other:checkpoint", "verdict") == "PASS", result.case("other:checkpoint", "fail_reasons")
    assert result.case("other:checkpoint", "case_bucket") == "exact"
    dense = result["layer_experts"] == 0
    payload = {word: i for i, word in enumerate(result["payload"])}
    checked = result["row_err_checked"][0] == "yes"
    assert checked[payload["checkpoint"]].all() and (checked[payload["router"], :, 0] == ~dense).all()


def test_a_model_of_f32_and_its_rounding_to_bf16(shop, tmp_path):
    """Vectors too: a bias that was decoded does not say that it was bf16."""
    for name in ("gpt_oss-plain", "qwen2_moe-shared"):
        def finer(tensors):
            rng = np.random.RandomState(3)
            for values in tensors.values():
                values *= (1 + 1e-3 * rng.standard_normal(values.shape)).astype("<f4")
        fine = copy_of(shop, name, tmp_path / f"{name}-f32", finer, "F32")
        made = job(shop, name, {"bf16": copy_of(shop, name, tmp_path / f"{name}-bf16", finer, "BF16")}, model=fine)
        made.run(expect=None)
        result = harness.Result(made.result_path)
        assert result.case("bf16:checkpoint", "verdict") not in ("ENCODING", "KERNEL", "UNCHECKED"), result["fail_reasons"]
        assert result.case("bf16:checkpoint", "encoding_excess") <= 1
        assert result["row_err_basis"][0][result["row_err_checked"][0] == "yes"].tolist().count("bf16_neighbours") > 10


# --- Path `experts`: layers/layer_NN.weights (larql-2026-08.md 5.1), router and biases by weight_manifest.json

WORDS = {"mixtral": ("w1", "w3", "w2")}


def padded(rows, kind):
    wide = np.zeros((len(rows), -(-rows.shape[1] // 256) * 256), "<f4")
    wide[:, :rows.shape[1]] = rows
    return wide.astype(kind).tobytes()


def expert_vindex(name, path, kind="<f2", change=lambda tensors: None, router=True):
    """A vindex of float experts as LARQL lays them out, with or without a router of its own."""
    told = GOLDEN.description(name)
    config = told["config"]
    tensors = {key: np.array(values) for key, values in random_model.tensors(told["shapes"], told["seed"]).items()}
    change(tensors)
    words = WORDS.get(config["model_type"], ("gate_proj", "up_proj", "down_proj"))
    count = config.get("num_experts", config.get("num_local_experts"))
    width = config.get("moe_intermediate_size", config["intermediate_size"])
    hidden, norms, manifest, layers = config["hidden_size"], b"", [], []
    (path / "layers").mkdir(parents=True)
    for layer in range(config["num_hidden_layers"]):
        key = next((key for key in tensors if f"layers.{layer}." in key and key.endswith((".mlp.gate.weight", ".block_sparse_moe.gate.weight"))), None)
        if key is None:
            continue
        size = 4 * count * width * hidden  # of the rows in a gate file, which it has not
        layers.append({"layer": layer, "num_features": count * width, "offset": size * len(layers), "length": size})
        if router:
            values = tensors[key].astype("<f4").tobytes()
            manifest.append({"key": key.removeprefix("model."), "kind": "vector", "shape": [count * hidden], "offset": len(norms),
                             "length": len(values), "file": "norms.bin"})
            norms += values
        parts = []
        for expert in range(count):
            gate, up, down = (tensors[expert_key(tensors, layer, expert, word)] for word in words)
            parts += [padded(np.concatenate([gate, up]), kind), padded(down, kind)]
        at, table = 24 + 32 * count, b""
        for part in parts:
            table += struct.pack("<QQ", at, len(part))
            at += len(part)
        head = struct.pack("<4sIIIII", b"LYRW", 1, {"<f4": 0, "<f2": 1}[kind], count, width, hidden)
        (path / "layers" / f"layer_{layer:02}.weights").write_bytes(head + table + b"".join(parts))
    (path / "index.json").write_text(harness.json.dumps(
        {"version": 2, "model": name, "family": config["model_type"], "num_layers": config["num_hidden_layers"], "hidden_size": hidden,
         "intermediate_size": config["intermediate_size"], "vocab_size": config["vocab_size"], "embed_scale": 1.0, "down_top_k": 5,
         "extract_level": "all", "dtype": "f32", "ffn_layout": "per_layer", "layers": layers}))
    if router:
        (path / "norms.bin").write_bytes(norms)
        (path / "weight_manifest.json").write_text(harness.json.dumps(manifest))
    return path


def vindex_job(shop, name, vindexes, **keys):
    prompts = shop.root / f"{name}-prompts.jsonl"
    prompts.write_text(GOLDEN.prompts(name))
    return shop.job(GOLDEN.model(name, shop.root), vindexes, prompts={"file": str(prompts)}, **keys)


@pytest.mark.parametrize("name", ["mixtral-window", "olmoe-raw", "qwen2_moe-step", "qwen3_moe-sum"])
def test_the_experts_of_a_vindex_are_a_case(shop, tmp_path, name):
    """f32 holds the model's values, f16 rounds the smallest; the router is the vindex's, or the model's."""
    made = vindex_job(shop, name, {"f32": expert_vindex(name, tmp_path / "f32", "<f4"), "f16": expert_vindex(name, tmp_path / "f16", router=False)})
    result = made.result()
    assert result.verdicts() == {"f32:experts": "PASS", "f16:experts": "PASS"}
    assert result.case("f32:experts", "max_rel_l2") == 0 and (result.case("f32:experts", "label") == "experts").all()
    assert 0 <= result.case("f16:experts", "max_rel_l2") < 1e-3
    for case in ("f32:experts", "f16:experts"):
        assert result.case(case, "max_kernel_rel_l2") < 2e-6 and result.case(case, "case_bucket") == "exact"
    payload = {word: i for i, word in enumerate(result["payload"])}
    checked, experts = result["row_err_checked"] == "yes", result["layer_experts"] > 0
    assert (checked[:, payload["experts"]].all(-1) == experts).all()
    assert (checked[0, payload["router"], :, 0] == experts).all() and not checked[1, payload["router"]].any()


def test_wrong_numbers_of_experts_of_a_vindex_are_encoding(shop, tmp_path):
    for at, (name, change, said) in enumerate([WRONG[0], WRONG[1], WRONG[3], WRONG[4], WRONG[5]]):
        made = vindex_job(shop, name, {"v": expert_vindex(name, tmp_path / str(at), "<f4", change)})
        result = made.result(expect=1)
        assert result.verdicts() == {"v:experts": "ENCODING"}
        assert result.case("v:experts", "fail_reasons").startswith(said), result.case("v:experts", "fail_reasons")


def test_a_layer_without_its_file_is_told(shop, tmp_path):
    path = expert_vindex("olmoe-sum", tmp_path / "v")
    (path / "layers" / "layer_01.weights").unlink()
    said = harness.one_error_line(vindex_job(shop, "olmoe-sum", {"v": path}, paths=[{"path": "experts"}]).run(expect=None))
    assert "layers has no file of layer 1" in said, said


FORMATS = ("f32", "f16", "bf16", "q4_0", "q4k", "q6k", "fp4")


def extracted(tmp_path, family, formats):
    """A model that synth wrote, and its vindexes."""
    model = tmp_path / "model"
    harness.run(["synth", model, "--family", family, "--shape", "tiny", "--layers", "2", "--seed", "4"])
    for name in formats:
        harness.run(["extract", model, tmp_path / name, "--format", name])
    return model, {name: tmp_path / name for name in formats}


def files_of(result, vindex=0):
    return dict(line.split(": ", 1) for line in result["vindex_files"][vindex].splitlines())


@pytest.mark.parametrize("family", ["mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "gpt_oss"])
def test_experts_extracted_in_any_format_are_healthy(shop, tmp_path, family):
    model, vindexes = extracted(tmp_path, family, FORMATS)
    made = shop.job(model, vindexes, paths=[{"path": "experts"}], prompts={"file": str(some_ids(tmp_path))})
    result = made.result()
    floats = {f"{name}:experts": "PASS" for name in FORMATS[:3]}
    assert result.verdicts() == floats | {f"{name}:experts": "MEASURED" for name in FORMATS[3:]}
    orders = {name: lines[list(result["payload"]).index("experts")] for name, lines in zip(FORMATS, result["payload_order"])}
    assert orders == dict.fromkeys(FORMATS, "") | {"q4_0": "experts: Q4_0, order since August 2026",
                                                   "q6k": "experts: Q6_K, order since August 2026"}
    for at in range(len(FORMATS)):
        files = files_of(result, at)
        assert files["layers/"] == files["norms.bin"] == "read, SHA-256 as in index.json" and files["weight_manifest.json"] == "read"
        assert files["gate_vectors.bin"].startswith("not read")


def entries_of(path):
    return harness.json.loads((path / "weight_manifest.json").read_text())


def set_entries(path, entries):
    (path / "weight_manifest.json").write_text(harness.json.dumps(entries))


@pytest.mark.parametrize("lost, wrong, place", [("down_proj_bias", "gate_up_proj_bias", "bias of gate"),
                                                ("gate_up_proj_bias", "down_proj_bias", "bias of down")])
def test_half_of_the_biases_of_experts_answers_for_itself(shop, tmp_path, lost, wrong, place):
    """The other half is the model's, which is said: nothing was compared there."""
    model, vindexes = extracted(tmp_path, "gpt_oss", ["f16"])
    path = vindexes["f16"]
    set_entries(path, [entry for entry in entries_of(path) if not entry["key"].endswith(lost)])
    made = shop.job(model, vindexes, paths=[{"path": "experts"}], prompts={"file": str(some_ids(tmp_path))})
    result = made.result()
    assert result.verdicts() == {"f16:experts": "UNCHECKED"} and "bias of" in result["fail_reasons"][0], result["fail_reasons"]
    norms = bytearray((path / "norms.bin").read_bytes())
    for entry in entries_of(path):
        if entry["key"].endswith(wrong):
            values = np.frombuffer(norms, "<f4", entry["length"] // 4, entry["offset"])
            norms[entry["offset"]:entry["offset"] + entry["length"]] = (-values).tobytes()
    (path / "norms.bin").write_bytes(norms)
    made = shop.job(model, vindexes, paths=[{"path": "experts"}], prompts={"file": str(some_ids(tmp_path))})
    result = made.result(expect=1)
    assert result.verdicts() == {"f16:experts": "ENCODING"} and place in result["fail_reasons"][0], result["fail_reasons"]


@pytest.mark.parametrize("key, count, said", [("mlp.experts.gate_up_proj_bias", 2 * 384 * 8, "the bias of gate and up"),
                                              ("mlp.experts.down_proj_bias", 256 * 8, "the bias of down"), ("mlp.router.bias", 8, "the router's bias")])
def test_biases_that_the_model_has_not_are_refused(shop, tmp_path, key, count, said):
    model, vindexes = extracted(tmp_path, "olmoe", ["f16"])
    path = vindexes["f16"]
    norms = (path / "norms.bin").read_bytes()
    values = np.random.RandomState(1).standard_normal(count).astype("<f4").tobytes()
    set_entries(path, entries_of(path) + [{"key": f"layers.1.{key}", "kind": "vector", "shape": [count], "offset": len(norms),
                                           "length": len(values), "file": "norms.bin"}])
    (path / "norms.bin").write_bytes(norms + values)
    made = shop.job(model, vindexes, paths=[{"path": "experts"}], prompts={"file": str(some_ids(tmp_path))})
    line = harness.one_error_line(made.run(expect=None))
    assert f"layer 1: {said} of the vindex has no counterpart in the model" in line, line


def as_of_may(path):
    """A layer file of f32 as LARQL wrote Q4_K in May: all rows of a matrix in one stream of blocks, which cross rows."""
    data = path.read_bytes()
    *_, count, width, hidden = struct.unpack_from("<4sIIIII", data)
    at, table, body = 24 + 32 * count, b"", b""
    for part in range(2 * count):
        first, size = struct.unpack_from("<QQ", data, 24 + 16 * part)
        cols = (hidden, width)[part % 2]
        rows = np.frombuffer(data[first:first + size], "<f4").reshape((2 * width, hidden)[part % 2], -1)[:, :cols]
        assert cols % 256 > 0 and rows.size % 256 == 0
        blocks = np.asarray(gguf_files.q4_k(rows.reshape(-1, 256))[0]).tobytes()
        table += struct.pack("<QQ", at + len(body), len(blocks))
        body += blocks
    path.write_bytes(struct.pack("<4sIIIII", b"LYRW", 1, 4, count, width, hidden) + table + body)


def test_rows_that_begin_inside_blocks_are_named_as_those_of_may(shop, tmp_path):
    name = "olmoe-sum"
    path = expert_vindex(name, tmp_path / "v", "<f4")
    for file in (path / "layers").iterdir():
        as_of_may(file)
    why = "holds rows that begin inside blocks in layer 0, as LARQL wrote them until May 2026"
    done = vindex_job(shop, name, {"v": path}).run(expect=1)
    assert f"v: UNAUDITED: layers {why}; " in done.stdout, done.stdout


def test_a_layer_file_that_index_json_does_not_describe_is_told(shop, tmp_path):
    model, vindexes = extracted(tmp_path, "olmoe", ["f16"])
    with open(vindexes["f16"] / "layers" / "layer_01.weights", "r+b") as file:  # the last row: 384 features, padded to 512
        file.seek(-2 * 512, os.SEEK_END)
        low = file.read(1)
        file.seek(-2 * 512, os.SEEK_END)
        file.write(bytes([low[0] ^ 1]))
    made = shop.job(model, vindexes, paths=[{"path": "experts"}], prompts={"file": str(some_ids(tmp_path))})
    result = made.result(expect=1)
    assert result.verdicts() == {"f16:experts": "ENCODING"} and "layer 1, expert 7, down, row 255: " in result["fail_reasons"][0]
    assert files_of(result)["layers/"] == "read, SHA-256 differs from index.json"
    assert files_of(result)["norms.bin"] == "read, SHA-256 as in index.json"


def of_layers(path):
    """What inspect --json says of layers with experts."""
    return harness.json.loads(harness.run(["inspect", "--json", path]).stdout)["experts"]


def test_experts_are_told_in_json_and_as_what_a_model_stores(shop, tmp_path):
    model, vindexes = extracted(tmp_path, "qwen2_moe", ["q4_0"])
    config = harness.json.loads((model / "config.json").read_text())
    shape = {"experts": config["num_experts"], "features": config["moe_intermediate_size"]}
    assert of_layers(model) == [{"layer": layer, **shape, "chosen": config["num_experts_per_tok"], "format": "bf16",
                                 "shared_features": config["shared_expert_intermediate_size"]} for layer in range(2)]
    assert of_layers(vindexes["q4_0"]) == [{"layer": layer, **shape, "format": "Q4_0", "padded": True, "router": True, "router_bias": False,
                                            "biases": False} for layer in range(2)]
    made = shop.job(model, vindexes, paths=[{"path": "experts"}], prompts={"file": str(some_ids(tmp_path))})
    said = made.run(expect=0).stdout
    result = harness.Result(made.result_path)
    assert of_layers(made.result_path) == [{"layer": layer, "experts": config["num_experts"], "never_chosen": int((rows == 0).sum())}
                                           for layer, rows in enumerate(result["expert_rows"])]
    assert "FFN of the model: gate bf16, up bf16, down bf16\n" in said and "requantised" not in said
    dense = shop.model("tiny-llama")
    assert of_layers(dense) == of_layers(shop.vindex("tiny-llama", "f16")) == []


def test_a_run_prints_what_the_readme_shows_of_experts(tmp_path):
    """Its three commands, in a folder of their own; the bits are the same on any machine."""
    root = harness.GOLDEN.parent.parent
    section = (root / "README.md").read_text().split("## A model with experts")[1].split("\n## ")[0]
    commands, shown = (re.search(rf"```{kind}\n(.*?)```", section, re.DOTALL).group(1) for kind in ("sh", "text"))
    for folder in ("jobs", "models", "vindexes"):
        (tmp_path / folder).mkdir()
    shutil.copy(root / "jobs/experts.yaml", tmp_path / "jobs")
    for command in commands.splitlines():
        done = subprocess.run(command.replace("build/demo/walkaudit", str(harness.binary())).split(), cwd=tmp_path, env=harness.environment(),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=harness.LIMIT, check=True)
    for paragraph in shown.split("\n\n"):
        assert paragraph.strip("\n") + "\n" in done.stdout, done.stdout


def some_ids(folder):
    path = folder / "ids.jsonl"
    path.write_text("".join(harness.json.dumps({"key": f"k{i}", "ids": [5 + i, 9, 100, 40 + i, 7]}) + "\n" for i in range(4)))
    return path


# --- ROUTING

def beside(a, b):
    """The word for two choices, largest logit first."""
    return "same" if a == b else "other_order" if set(a) == set(b) else "other_experts"


def test_another_choice_on_the_same_input_is_routing(shop, tmp_path):
    """A router rounded to bf16 chooses otherwise where the model's logits are near; the data say where, and a wider margin passes."""
    name = "olmoe-raw"

    def finer(tensors):
        rng = np.random.RandomState(5)
        for key, values in tensors.items():
            if key.endswith(".mlp.gate.weight"):  # experts in pairs of nearly the same rows; three are chosen, so that one pair is parted
                values[1::2] = values[::2] * (1 + 2e-3 * rng.standard_normal(values[::2].shape)).astype("<f4")

    fine = copy_of(shop, name, tmp_path / "fine", finer, "F32")
    made = job(shop, name, {"bf16": copy_of(shop, name, tmp_path / "bf16", finer, "BF16"), "same": fine}, model=fine)
    result = made.result(expect=1)
    gap = result.case("bf16:checkpoint", "routing_gap")
    assert result.case("bf16:checkpoint", "n_routing_flips") == (gap > 0).sum() > 0
    assert gap.max() == result.case("bf16:checkpoint", "max_routing_gap") > 1e-5
    at = result.case("bf16:checkpoint", "max_routing_gap_at_layer"), result.case("bf16:checkpoint", "max_routing_gap_at_obs")
    assert gap[at] == gap.max() and gap.max() >= result["expert_margin"][at][-1] > 0
    assert result.case("bf16:checkpoint", "verdict") == "ROUTING"
    assert f"layer {at[0]}, " in result.case("bf16:checkpoint", "fail_reasons").splitlines()[0]
    assert (result.case("same:checkpoint", "routing_gap") == 0).all() and result.case("same:checkpoint", "verdict") == "PASS"
    np.testing.assert_array_equal(result.case("same:checkpoint", "own_expert_id"), result["expert_id"])
    np.testing.assert_array_equal(result.case("same:checkpoint", "own_expert_weight"), result["expert_weight"])
    for case in ("bf16:checkpoint", "same:checkpoint"):
        own, change = result.case(case, "own_expert_id"), result.case(case, "own_routing_change")
        assert change.tolist() == [[beside(a, b) for a, b in zip(*rows)] for rows in zip(result["expert_id"].tolist(), own.tolist())]
        assert ((result.case(case, "routing_gap") > 0) == (result.case(case, "routing_change") == "other_experts")).all()
    assert {"same", "other_experts"} <= set(result.case("bf16:checkpoint", "own_routing_change").ravel())
    np.testing.assert_array_equal(result.case("same:checkpoint", "own_routing_margin"), result["expert_margin"][..., -1])
    assert (result.case("same:checkpoint", "routing_change") == "same").all()
    own = result.case("bf16:checkpoint", "own_expert_id")
    apart = [set(a) != set(b) for a, b in zip(own.reshape(-1, own.shape[-1]).tolist(), result["expert_id"].reshape(-1, own.shape[-1]).tolist())]
    page, told = report(made)
    told = told["cases"]
    assert [one["other_experts"]["value"] > 0 for one in told] == [True, False] and told[0]["other_experts"]["layer"] >= 0
    assert told[0]["other_experts"]["value"] == result.case("bf16:checkpoint", "max_other_experts_rel_l2")
    for one in told[0]["layers"]:
        share = f"{one['own_stream']} ({100 * one['own_stream'] / one['pairs']:.2f} %)"
        assert f"\n| {one['layer']} | {share} |" in page.split("Rows with other experts by layer")[1]
    assert [one["same_input"] for one in told] == [(gap > 0).sum(), 0] and [one["own_stream"] for one in told] == [sum(apart), 0]
    assert sum(apart) > 0 and all(one["pairs"] == len(apart) for one in told)
    for case, some in (("bf16:checkpoint", True), ("same:checkpoint", False)):
        assert (result.case(case, "n_own_routing_flips") > 0) == some == (result.case(case, "max_other_experts_rel_l2") > 0)
    bounds = tmp_path / "bounds.yaml"
    bounds.write_text("router_margin: 10\n")
    said = harness.run(["verdict", made.result_path, "--bounds", bounds], expect=None).stdout
    assert "ROUTING" not in said


def test_a_difference_is_that_of_the_same_experts_and_what_others_add(shop, tmp_path):
    """With one expert for each row its weight is 1. So a case with the reference's router and this case's experts gives what this case
    gives by the reference's choice."""
    name = "mixtral-single"
    changes = {"astray": astray, "routed": noise_of_experts}
    made = job(shop, name, {case: copy_of(shop, name, tmp_path / case, change, "F32") for case, change in changes.items()},
               captures={"tensors": ["y_ref", "y_walk"]})
    made.run(expect=None)
    result = harness.Result(made.result_path)
    whole, same, other, change = (result.case("astray:checkpoint", field) for field in (
        "rel_l2", "same_experts_rel_l2", "other_experts_rel_l2", "routing_change"))
    apart = change == "other_experts"
    assert 0 < apart.sum() < apart.size and set(change[~apart]) == {"same"}
    np.testing.assert_array_equal(same, result.case("routed:checkpoint", "rel_l2"))
    with h5py.File(made.result_path) as file:
        y_ref, (astray_y, routed_y) = (file["captures"][tensor][()].astype(float) for tensor in ("y_ref", "y_walk"))
    np.testing.assert_allclose(other, np.linalg.norm(astray_y - routed_y, axis=-1) / np.linalg.norm(y_ref, axis=-1), rtol=1e-12)
    assert (other[~apart] == 0).all() and (same[~apart] == whole[~apart]).all() and other[apart].min() > 10 * same.max()
    assert (whole <= (same + other) * (1 + 1e-12)).all() and (whole >= (1 - 1e-12) * abs(same - other)).all()
    for field, values in (("same_experts_rel_l2", same), ("other_experts_rel_l2", other)):
        at = tuple(result.case("astray:checkpoint", f"max_{field}_at_{axis}") for axis in ("layer", "obs"))
        assert result.case("astray:checkpoint", f"max_{field}") == values.max() == values[at]
    said = harness.run(["verdict", made.result_path], expect=None).stdout
    row = next(line.split() for line in said.split("\nExperts: ")[1].splitlines() if line.startswith("astray:checkpoint"))
    assert row[1:4] == [str(apart.sum()), "of", str(apart.size)] and f"{other.max():.2e}" in row and f"{same.max():.2e}" in row
    chosen = len({(layer, expert) for layer, ids in enumerate(result["expert_id"]) for expert in ids.ravel()})
    assert (f"experts: {12 - chosen} of 12 were never chosen by these prompts: layer " if chosen < 12 else "experts: these prompts chose each of 12\n") in said

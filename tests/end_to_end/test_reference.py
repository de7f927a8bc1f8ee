"""The reference itself: does the dense model know the prompts' text, and does it agree with another implementation?

tests/golden/reference/NAME.h5: float64 dense goldens with logits at every position, independent of this program.
"""
import json

import h5py
import numpy as np
import pytest

import harness
from harness import Result, assert_equal_bits, corpus

DUMPS = harness.GOLDEN / "reference"


def surprise(name, semantics="native"):
    """{prompt: (sum of -ln p of its own next tokens, their number)} by float64."""
    out = {}
    with h5py.File(DUMPS / f"{name}.h5") as file:
        for prompt, group in file[semantics.removesuffix("-2026-05")].items():  # that dump has the word from before there were two
            logits, ids = group["logits"][()], group["token_id"][()]
            norm = np.log(np.sum(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=1)) + logits.max(axis=1)
            out[prompt] = (float(np.sum(norm[:-1] - logits[np.arange(len(ids) - 1), ids[1:]])), len(ids) - 1)
    return out


def f32(shop, name):
    vindex = shop.root / f"{name}.f32"
    if not vindex.exists():
        harness.run(["extract", shop.model(name), vindex, "--format", "f32"])
    return vindex


@pytest.mark.parametrize("name, semantics", [("gemma2", "native"), ("gpt2", "native"), ("qwen2", "native"),
                                             ("tiny-gemma3", "native"), ("tiny-gemma3", "larql-2026-05")])
@pytest.mark.parametrize("logits", ["last", "all"])
def test_perplexity_agrees_with_float64(shop, name, semantics, logits):
    job = shop.job(shop.model(name), {"f32": f32(shop, name)}, semantics=semantics, logits=logits)
    done = job.run()
    result, truth = Result(job.result_path), surprise(name, semantics)
    for at, prompt in enumerate(result.prompts):
        assert result["ref_nll_positions"][at] == truth[prompt][1]
        assert abs(result["ref_nll"][at] - truth[prompt][0]) <= 1e-5 * truth[prompt][1]
    total, count = (sum(values) for values in zip(*truth.values()))
    with h5py.File(job.result_path) as file:
        assert abs(file.attrs["reference_perplexity"] / np.exp(total / count) - 1) <= 1e-5
        assert file.attrs["reference_perplexity_positions"] == count
        shown, warning = file.attrs["reference_perplexity"].item(), file.attrs["reference_warning"]
    assert f"\ndense perplexity: {shown:.2f} on {count} of the prompts' own tokens\n" in done.stdout
    assert (warning != "") == (shown > 1000) == ("\nwarning: dense perplexity " in done.stdout)


def test_perplexity_has_the_same_bits_on_any_grid(shop):
    """Also where positions are sampled: more than 1,024 observations."""
    prompts = corpus(shop.root / "long.jsonl", 240)
    keys = {"prompts": prompts, "kernel_check": 0, "encoding_check": "none", "batch": {"rows": 64}}
    jobs = [shop.job(shop.model("tiny-gemma3"), {"f32": f32(shop, "tiny-gemma3")},
                     only={"f32": [{"path": "sparse"}, {"path": "full_mmap"}]}, grid=grid, **keys)
            for grid in ({"stages": 1, "teams": 1}, {"stages": 2, "teams": 2})]
    jobs[0].run(), jobs[1].run(ranks=4)
    assert_equal_bits(*jobs)
    result = Result(jobs[0].result_path)
    rows, measured = result["prompt_rows"], result["ref_nll_positions"]
    assert rows.sum() > 1400 and (measured >= 0).all() and (measured < rows).all()
    early = np.cumsum(rows) <= 1024
    assert (measured[early] == rows[early] - 1).all()
    assert 0 < measured[~early].sum() < 0.3 * rows[~early].sum()


def test_a_model_that_does_not_know_its_text_is_warned_of(shop):
    """The last norm times 30: sure of what is wrong. The warning is in the table, the result and what `verdict` prints."""
    model = shop.root / "sure"
    if not model.exists():
        harness.shutil.copytree(shop.model("tiny-qwen3"), model)
    path = model / "model.safetensors"
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[:8], "little")
    start, stop = json.loads(data[8:8 + size])["model.norm.weight"]["data_offsets"]
    norm = np.frombuffer(data, "<f4", (stop - start) // 4, 8 + size + start)
    data[8 + size + start:8 + size + stop] = (norm * np.float32(30)).tobytes()
    path.write_bytes(data)
    vindex = shop.root / "sure.f32"
    harness.run(["extract", model, vindex, "--format", "f32"])
    job = shop.job(model, {"f32": vindex})
    done = job.run()
    assert "\nwarning: dense perplexity " in done.stdout
    assert "\nwarning: dense perplexity " in harness.run(["verdict", job.result_path]).stdout
    with h5py.File(job.result_path) as file:
        assert file.attrs["reference_perplexity"] > 1000
        assert file.attrs["reference_warning"].startswith("dense perplexity ")


# --- Dumps


def changed(shop, name, folder, **keys):
    """A copy of a model with other keys in its config.json."""
    model = shop.root / folder
    if not model.exists():
        harness.shutil.copytree(shop.model(name), model)
        config = json.loads((model / "config.json").read_text())
        config.update(keys)
        (model / "config.json").write_text(json.dumps(config))
    return model


def attributes(job):
    with h5py.File(job.result_path) as file:
        return {key: value.item() if getattr(value, "shape", ()) == (1,) else value for key, value in file.attrs.items()
                if key.startswith("reference_")}


@pytest.mark.parametrize("name, semantics", [("gemma2", "native"), ("gpt2", "native"), ("qwen2", "native"),
                                             ("tiny-gemma3", "native"), ("tiny-gemma3", "larql-2026-05")])
def test_the_reference_agrees_with_an_independent_dump(shop, name, semantics):
    dump = DUMPS / f"{name}.h5"
    job = shop.job(shop.model(name), {"f32": f32(shop, name)}, semantics=semantics)
    done = job.run(words=["--reference-dump", dump])
    result = Result(job.result_path)
    with h5py.File(dump) as file:
        layers = file[semantics.removesuffix("-2026-05")]["paris"]["x"].shape[0]
    for field in ("dump_x_rel_l2", "dump_y_rel_l2"):
        assert result[field].shape == (layers, 3) and (result[field] > 0).all() and result[field].max() <= 2e-5
    assert result["dump_logits_rel_l2"].max() <= 2e-5
    assert (result["dump_x_position"] >= 0).all() and (result["dump_x_position"] < result["prompt_rows"]).all()
    found = attributes(job)
    assert found["reference_verdict"] == "AGREES" and found["reference_dump"] == str(dump)
    assert f"\nreference: {found['reference_agreement']}\n" in done.stdout
    assert f" at all {layers} layers and in the logits (3 of 3 prompts; limit 0.001)" in found["reference_agreement"]
    harness.run(["status", job.result_path])


def test_figures_of_a_dump_are_those_of_numpy(shop):
    """One row of x, one of y and one of the logits moved by a known distance: the figures say how far, and where."""
    path = shop.root / "moved.h5"
    harness.shutil.copyfile(DUMPS / "tiny-gemma3.h5", path)
    with h5py.File(path, "r+") as file:
        for tensor, place in (("x", (2, 5)), ("y", (3, 7)), ("logits", (9,))):
            data = file["native/apollo"][tensor]
            data[place] = data[place] * (1 + 5e-4)
    job = shop.job(shop.model("tiny-gemma3"), {"f32": f32(shop, "tiny-gemma3")})
    for logits in ("last", "all"):
        job.run(words=["--reference-dump", path, "--fresh"], sets=[f"logits={logits}"])
        result = Result(job.result_path)
        for field, at, position in (("dump_x", (2, 1), 5), ("dump_y", (3, 1), 7), ("dump_logits", (1,), 9)):
            assert abs(result[f"{field}_rel_l2"][at] - 5e-4) <= 2e-5, (field, logits)
            assert result[f"{field}_position"][at] == position
        assert attributes(job)["reference_verdict"] == "AGREES"  # below the limit of 1e-3


def test_a_model_with_another_rope_theta_drifts_at_its_first_layer(shop):
    """x of layer 0 has passed attention: it is the first that another base of the rotation changes."""
    model = changed(shop, "qwen2", "theta", rope_theta=500.0)
    job = shop.job(model, {"f32": f32(shop, "qwen2")})
    done = job.run(words=["--reference-dump", DUMPS / "qwen2.h5"], expect=1)
    found = attributes(job)
    assert found["reference_verdict"] == "REFERENCE"
    assert f"\nreference: REFERENCE: {found['reference_agreement']}\n" in done.stdout
    assert ": layer 0, x, prompt '" in found["reference_agreement"] and "nothing comes before it" in found["reference_agreement"]
    assert "exit code 1: the reference drifts from its dump" in done.stdout
    result = Result(job.result_path)
    assert set(result["verdict"]) == {"PASS"}  # what a vindex says of the model it was made of
    harness.run(["verdict", job.result_path], expect=1)
    harness.run(["status", job.result_path], expect=1)
    harness.run(["status", job.path], expect=1)


@pytest.mark.parametrize("tensor, layer", [("x", 2), ("y", 1), ("logits", 4)])
def test_the_first_place_that_drifts_is_named_on_any_grid(shop, tensor, layer):
    path = shop.root / f"drift-{tensor}.h5"
    harness.shutil.copyfile(DUMPS / "tiny-gemma3.h5", path)
    with h5py.File(path, "r+") as file:
        data = file["native/apollo"][tensor]
        if tensor == "logits":
            data[4] = data[4] * 1.5
        else:
            for later in range(layer, 4):
                data[later, 3] = data[later, 3] * 1.5
    keys = {"batch": {"rows": 8}}
    jobs = [shop.job(shop.model("tiny-gemma3"), {"f32": f32(shop, "tiny-gemma3")}, grid=grid, **keys)
            for grid in ({"stages": 1, "teams": 1}, {"stages": 2, "teams": 2})]
    jobs[0].run(words=["--reference-dump", path], expect=1)
    jobs[1].run(ranks=4, words=["--reference-dump", path], expect=1)
    assert_equal_bits(*jobs)
    where = f"layer {layer}, {tensor}" if tensor != "logits" else "logits"
    position = 3 if tensor != "logits" else 4
    text = attributes(jobs[0])["reference_agreement"]
    assert f"{where}, prompt 'apollo' position {position}: rel L2 0.33 (limit 0.001)" in text
    assert float(text.split("agrees within ")[1]) < 2e-5


def test_nan_drifts(shop):
    path = shop.root / "nan.h5"
    harness.shutil.copyfile(DUMPS / "gpt2.h5", path)
    with h5py.File(path, "r+") as file:
        file["native/code/y"][1, 2, 5] = np.nan
    job = shop.job(shop.model("gpt2"), {"f32": f32(shop, "gpt2")})
    job.run(words=["--reference-dump", path], expect=1)
    assert "layer 1, y, prompt 'code' position 2: rel L2 nan" in attributes(job)["reference_agreement"]


def test_prompts_that_a_dump_has_not_are_said(shop):
    path = shop.root / "two.h5"
    harness.shutil.copyfile(DUMPS / "gpt2.h5", path)
    with h5py.File(path, "r+") as file:
        del file["native/apollo"]
    job = shop.job(shop.model("gpt2"), {"f32": f32(shop, "gpt2")})
    job.run(words=["--reference-dump", path])
    result = Result(job.result_path)
    assert "(2 of 3 prompts; " in attributes(job)["reference_agreement"]
    assert result["dump_x_position"][:, 1].tolist() == [-1, -1] and np.isnan(result["dump_logits_rel_l2"][1])


def test_a_finished_result_without_the_dump_is_not_taken_for_one_with_it(shop):
    job = shop.job(shop.model("gpt2"), {"f32": f32(shop, "gpt2")})
    job.run()
    assert attributes(job)["reference_verdict"] == attributes(job)["reference_agreement"] == ""
    line = harness.one_error_line(job.run(words=["--reference-dump", DUMPS / "gpt2.h5"], expect=3))
    assert "--fresh" in line
    job.run(words=["--reference-dump", DUMPS / "gpt2.h5", "--fresh"])
    assert attributes(job)["reference_verdict"] == "AGREES"


def test_a_dump_may_stand_in_the_job(shop):
    job = shop.job(shop.model("gpt2"), {"f32": f32(shop, "gpt2")})
    text = json.loads(job.path.read_text())
    text["audits"][0]["reference_dump"] = "dump.h5"
    job.path.write_text(json.dumps(text))
    harness.shutil.copyfile(DUMPS / "gpt2.h5", job.folder / "dump.h5")
    job.run()
    assert attributes(job)["reference_verdict"] == "AGREES"
    text["audits"].append(dict(text["audits"][0], name="second"))
    job.path.write_text(json.dumps(text))
    line = harness.one_error_line(job.run(words=["--reference-dump", DUMPS / "gpt2.h5"], expect=2))
    assert "the job has 2 audits" in line


def spoil(kind, file):
    group = file["native/paris"]
    values = {name: group[name][()] for name in ("x", "y", "logits", "token_id")}
    if kind == "ids":
        group["token_id"][2] += 1
    elif kind == "keys":
        for key in ("paris", "apollo", "code"):
            file["native"].move(key, f"other-{key}")
    elif kind == "semantics":
        file.move("native", "larql")
    elif kind == "missing":
        del group["y"]
    elif kind == "group":
        del group["x"]
        group.create_group("x")
    else:
        name, new = {"layers": ("x", values["x"][:1]), "rows": ("y", values["y"][:, :-1]),
                     "vocabulary": ("logits", values["logits"][:, :-1]), "rank": ("x", values["x"][0]),
                     "integers": ("y", values["y"].astype("i4")),
                     "ids that are floats": ("token_id", values["token_id"].astype("f8"))}[kind]
        del group[name]
        group[name] = new


@pytest.mark.parametrize("kind, words", [
    ("ids", ("native/paris/token_id", "position 2", "the job's prompt has")),
    ("keys", ("native", "none of the job's 3 prompts")), ("semantics", ("'native'",)),
    ("missing", ("native/paris/y",)), ("group", ("native/paris/x",)),
    ("layers", ("native/paris/x", "dimension 0 has 1 entries", "2")), ("rows", ("native/paris/y", "dimension 1")),
    ("vocabulary", ("native/paris/logits", "dimension 1 has 407", "408")), ("rank", ("native/paris/x", "2 dimensions, expected 3")),
    ("integers", ("native/paris/y", "holds no floating-point numbers")),
    ("ids that are floats", ("native/paris/token_id", "holds no integers"))])
def test_what_is_no_dump_of_this_model_is_refused_in_one_line(shop, kind, words):
    path = shop.root / "spoilt.h5"
    harness.shutil.copyfile(DUMPS / "gpt2.h5", path)
    with h5py.File(path, "r+") as file:
        spoil(kind, file)
    job = shop.job(shop.model("gpt2"), {"f32": f32(shop, "gpt2")})
    line = harness.one_error_line(job.run(words=["--reference-dump", path], expect=3, ranks=2))
    assert str(path) in line and all(word in line for word in words), line
    harness.nothing_half_written(job)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"no HDF5 at all" * 100, None])
def test_what_is_no_hdf5_is_refused_in_one_line(shop, content):
    path = shop.root / "none.h5"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    job = shop.job(shop.model("gpt2"), {"f32": f32(shop, "gpt2")})
    line = harness.one_error_line(job.run(words=["--reference-dump", path], expect=3))
    assert str(path) in line
    harness.nothing_half_written(job)


def test_no_damaged_byte_of_a_dump_crashes_a_run(shop):
    """Bytes of the file's own structures changed, one at a time: an answer or one line, never a signal."""
    whole = bytearray((DUMPS / "gpt2.h5").read_bytes())
    path, job = shop.root / "damaged.h5", shop.job(shop.model("gpt2"), {"f32": f32(shop, "gpt2")})
    for at in [*range(0, 96, 7), *range(96, 4000, 311), *range(4000, len(whole), 17011)]:
        bad = bytearray(whole)
        bad[at] ^= 0xFF
        path.write_bytes(bad)
        done = job.run(words=["--reference-dump", path, "--fresh"], expect=None)
        assert done.returncode in (0, 1, 3), (at, done.returncode, done.stderr)
        if done.returncode == 3:
            harness.one_error_line(done)


# --- Dumps by transformers

SCRIPT = harness.GOLDEN.parent.parent / "analysis" / "dump_reference.py"
FAMILIES = ("qwen2", "gpt2", "gemma2", "llama-llama3")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_reference_agrees_with_transformers(shop, name):
    """Dumps that analysis/dump_reference.py made, kept with the golden data: needs no transformers."""
    job = shop.job(shop.model(name), {"f32": f32(shop, name)})
    job.run(words=["--reference-dump", DUMPS / "transformers" / f"{name}.h5"])
    result = Result(job.result_path)
    assert attributes(job)["reference_verdict"] == "AGREES"
    assert max(result[f"dump_{tensor}_rel_l2"].max() for tensor in ("x", "y", "logits")) <= 1e-5


@pytest.mark.parametrize("name, keys", [("qwen2", {"rope_theta": 20000.0}), ("llama-llama3", {"rope_theta": 400000.0}),
                                        ("llama-llama3", {"rms_norm_eps": 1e-3}), ("gemma2", {"query_pre_attn_scalar": 144})])
def test_an_edited_configuration_drifts_from_transformers_at_the_first_layer(shop, name, keys):
    """Each of these acts on attention or a norm before it: x of layer 0 is the first to show it."""
    model = changed(shop, name, f"edited-{name}-{'-'.join(keys)}", **keys)
    job = shop.job(model, {"f32": f32(shop, name)})
    job.run(words=["--reference-dump", DUMPS / "transformers" / f"{name}.h5"], expect=1)
    assert ": layer 0, x, prompt '" in attributes(job)["reference_agreement"]


def dump(*words):
    return harness.subprocess.run([harness.os.environ.get("WALKAUDIT_TORCH_PYTHON", harness.sys.executable), "-B", SCRIPT, *map(str, words)],
                                  capture_output=True, text=True, timeout=300)


def dumped(*words):
    """The script's answer; without what it needs it says what to install, and the test is skipped."""
    done = dump(*words)
    if done.returncode == 3 and "not installed" in done.stderr:
        assert done.stderr.count("\n") == 1 and "'pip install torch transformers h5py'" in done.stderr
        pytest.skip(done.stderr.strip() + " (WALKAUDIT_TORCH_PYTHON names an interpreter that has it)")
    return done


@pytest.mark.parametrize("name", FAMILIES)
def test_the_script_makes_a_dump_that_the_reference_agrees_with(shop, name, tmp_path):
    """From prompts as texts and ids, keys that HDF5 would misread among them; and from a result."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(json.dumps(line) for line in (
        {"key": "a/b", "text": "The capital of France is"}, {"key": ".", "ids": [5, 17, 9, 40]},
        {"key": "50%", "text": "def fibonacci(n):", "max_tokens": 3})))
    job = shop.job(shop.model(name), {"f32": f32(shop, name)}, prompts={"file": str(prompts)})
    for source in (prompts, job.path, job.result_path):
        done = dumped(shop.model(name), source, "-o", tmp_path / "dump.h5", "--dtype", "float64")
        assert done.returncode == 0, done.stderr
        job.run(words=["--reference-dump", tmp_path / "dump.h5", "--fresh"])
        assert attributes(job)["reference_verdict"] == "AGREES"
        assert "(3 of 3 prompts" in attributes(job)["reference_agreement"]
        assert max(Result(job.result_path)[f"dump_{tensor}_rel_l2"].max() for tensor in ("x", "y", "logits")) <= 1e-5


def test_the_script_says_in_one_line_what_it_cannot_use(shop, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"key": "a"}\n')
    for words, said in (((tmp_path, "seed"), "tokenizer.json' is missing"), ((shop.model("gpt2"), tmp_path / "no"), "is no file"),
                        ((shop.model("gpt2"), bad), "line 1"), ((shop.model("qwen2-v2.gguf"), DUMPS / "gpt2.h5"), "no result")):
        done = dumped(*words, "-o", tmp_path / "dump.h5")
        assert done.returncode == 3 and done.stderr.count("\n") == 1 and said in done.stderr, done.stderr
        assert not (tmp_path / "dump.h5").exists()


def test_without_its_packages_the_script_says_what_to_install(tmp_path):
    """An interpreter that is cut off from site packages has none of them."""
    done = harness.subprocess.run([harness.sys.executable, "-S", "-E", "-B", SCRIPT, tmp_path, "seed"], capture_output=True, text=True)
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert "torch, transformers" in done.stderr and "'pip install torch transformers h5py'" in done.stderr

"""Captures: what is kept is what was compared, bit for bit, on any grid and after any resume; and what is missing is NaN.

WALKAUDIT_KILLS: jobs whose runs with --fresh are killed (2); WALKAUDIT_SEED: of the random numbers (1).
The model is synthetic, of 11 layers, so that blocks of 8 and the cuts of stages fall into each other.
"""
import contextlib
import os
import pathlib
import random
import signal
import time

import h5py
import numpy as np
import pytest
import xarray

import edit_result
import harness

KILLS = int(os.environ.get("WALKAUDIT_KILLS", "2"))
SEED = int(os.environ.get("WALKAUDIT_SEED", "1"))
LAYERS, KEPT = 11, [0, 1, 3, 7, 8, 10]
PATHS = [{"path": "sparse"}, harness.slow_path(), {"path": "sparse_serial", "k": 16}]
CASES = ["v:sparse", "v:sparse_serial:k16"]
ALL = {"tensors": ["x", "y_ref", "y_walk"], "cases": CASES[::-1], "layers": KEPT[::-1]}  # order does not matter


@pytest.fixture(scope="module")
def inputs(shop):
    model, vindex = shop.root / "deep", shop.root / "deep.vindex"
    harness.run(["synth", model, "--family", "llama", "--shape", "tiny", "--layers", LAYERS])
    harness.run(["extract", model, vindex, "--format", "f16"])
    return model, vindex, harness.corpus(shop.root / "corpus.jsonl", 60)


def make(shop, inputs, captures=ALL, **keys):
    """The oracle, two thirds of such a run's time, is asked where its numbers are the point alone."""
    model, vindex, prompts = inputs
    keys = {"paths": PATHS, "prompts": prompts, "batch": {"rows": 24}, "kernel_check": "none", **keys}
    return shop.job(model, {"v": vindex}, **({"captures": captures} if captures else {}), **keys)


@pytest.fixture(scope="module")
def reference(shop, inputs):
    job = make(shop, inputs)
    job.run()
    return job


def folder(job):
    """Where the captures of a first run lie."""
    return job.result_path.with_name(job.result_path.name + ".captures") / "0"


def captures(job):
    """{name: array} of /captures."""
    with h5py.File(job.result_path) as file:
        return {name: item[()] for name, item in file["captures"].items()}


def same_captures(a, b):
    one, two = captures(a), captures(b)
    assert set(one) == set(two)
    for name in one:
        assert one[name].shape == two[name].shape and one[name].tobytes() == two[name].tobytes(), name


def test_they_have_the_shapes_and_scales_of_the_selection(reference):
    kept = captures(reference)
    with h5py.File(reference.result_path) as file:
        rows = file["rel_l2"].shape[2]
        assert [list(d.keys()) for d in file["captures/y_walk"].dims] == [["case"], ["layer"], ["obs"], ["hidden"]]
        sources = [source.file_name for source in file["captures/x"].virtual_sources()]
    assert kept["layer"].tolist() == KEPT and kept["case"].tolist() == [0, 2]
    assert kept["obs"].tolist() == list(range(rows)) and kept["y_walk"].dtype == np.float32
    hidden = len(kept["hidden"])
    assert kept["x"].shape == kept["y_ref"].shape == (6, rows, hidden) and kept["y_walk"].shape == (2, 6, rows, hidden)
    assert sources and all(name.startswith("job-audit.h5.captures/0/prompts-") for name in sources)
    assert all(np.all(np.isfinite(kept[name])) for name in ("x", "y_ref", "y_walk"))


def test_the_stored_differences_follow_from_them(reference):
    kept, result = captures(reference), harness.Result(reference.result_path)
    ref = kept["y_ref"].astype(np.float64)
    norm = np.sqrt(np.sum(ref**2, axis=-1))
    for i, case in enumerate(kept["case"]):
        far = np.sqrt(np.sum((kept["y_walk"][i].astype(np.float64) - ref) ** 2, axis=-1))
        stored = result["rel_l2"][case][KEPT]
        assert np.allclose(far / norm, stored, rtol=1e-12, atol=0) and np.any(stored > 0)
    for name, field in (("x", "x_norm"), ("y_ref", "ref_norm")):
        mine = np.sqrt(np.sum(kept[name].astype(np.float64) ** 2, axis=-1))
        assert np.allclose(mine, result[field][KEPT], rtol=1e-12, atol=0)


@pytest.mark.parametrize("ranks, stages, teams", [(2, 2, 1), (3, 3, 1), (3, 1, 3), (4, 2, 2), (2, 0, 0), (4, 0, 0)])
def test_any_grid_keeps_the_same_bits(shop, inputs, reference, ranks, stages, teams):
    job = make(shop, inputs, grid={"stages": stages, "teams": teams})
    job.run(ranks=ranks)
    same_captures(reference, job)
    harness.assert_equal_bits(reference, job)
    assert not [p for p in folder(job).iterdir() if p.suffix != ".h5"]


@pytest.mark.parametrize("first, then", [((None, 0, 0), (4, 2, 2)), ((3, 3, 1), (2, 1, 2))])
def test_a_killed_run_goes_on_with_another_grid(shop, inputs, reference, first, then):
    job = make(shop, inputs)
    process = harness.start(job, first[0], ("--set", f"grid.stages={first[1]}", "--set", f"grid.teams={first[2]}"), **harness.slowly(40))
    harness.wait_for_parts(job, process, 3)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    harness.wait_until_gone(job)
    done = {p.name.removesuffix(".h5") for p in harness.parts(job)}
    assert 3 <= len(done)
    had = {b: {p.name: p.stat().st_ino for p in folder(job).glob(f"{b}-*.h5")} for b in done}
    assert all(had.values())  # a part implies its captures
    stale = folder(job) / "prompts-000000-000001-layers-0000-0007-case-0000.h5.nowhere-1.tmp"
    stale.write_bytes(b"cut")
    job.run(ranks=then[0], sets=(f"grid.stages={then[1]}", f"grid.teams={then[2]}"))
    assert not stale.exists()
    for batch, files in had.items():  # neither written again nor joined by files of the other grid
        assert files == {p.name: p.stat().st_ino for p in folder(job).glob(f"{batch}-*.h5")}
    same_captures(reference, job)
    harness.assert_equal_bits(reference, job)


@pytest.mark.parametrize("harm", ["one bit", "no digest", "gone"])
def test_prompts_whose_capture_is_damaged_are_computed_again(shop, inputs, reference, harm):
    job = make(shop, inputs)
    process = harness.start(job, None, (), **harness.slowly(40))
    harness.wait_for_parts(job, process, 2)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    harness.wait_until_gone(job)
    part = harness.parts(job)[0]
    files = sorted(folder(job).glob(f"{part.name.removesuffix('.h5')}-*-case-0002.h5"))
    data = bytearray(files[-1].read_bytes())
    data[len(data) // 2] ^= 1 if harm == "one bit" else 0
    damaged = bytes(data if harm == "one bit" else data[:-83])
    files[-1].write_bytes(damaged)
    named = files[-1].name
    if harm == "gone":
        files[-1].unlink()
        named = "no capture file holds layer 8 of case 2 for prompts 0 to "
    said = job.run()
    assert "a damaged part is set aside" in said.stderr and named in said.stderr, said.stderr
    assert files[-1].read_bytes() != damaged
    same_captures(reference, job)
    harness.assert_equal_bits(reference, job)


def test_nothing_else_changes_and_nothing_is_kept_unasked(shop, inputs):
    plain, kept = (make(shop, inputs, captures, kernel_check="sample") for captures in (None, ALL))
    plain.run()
    kept.run()
    assert not folder(plain).parent.exists()
    with h5py.File(plain.result_path) as a, h5py.File(kept.result_path) as b:
        assert np.isfinite(a["kernel_rel_l2"]).any()
        assert "captures" not in a
        for name in ("rel_l2", "drift", "kl", "x_norm", "kernel_rel_l2"):
            assert a[name][()].tobytes() == b[name][()].tobytes()


def test_one_tensor_of_all_layers(shop, inputs, reference):
    job = make(shop, inputs, captures={"tensors": ["x"]})
    job.run(ranks=2)
    kept = captures(job)
    assert set(kept) == {"x", "layer", "obs", "hidden"} and kept["layer"].tolist() == list(range(LAYERS))
    assert np.array_equal(kept["x"][KEPT], captures(reference)["x"])
    assert not [p for p in folder(job).iterdir() if "case" in p.name]


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_xarray_opens_the_group_also_elsewhere_and_without_a_file(shop, inputs, tmp_path, engine):
    job = make(shop, inputs, kernel_check="sample")  # for a verdict of its k
    job.run()
    elsewhere = tmp_path / "moved"
    job.result_path.parent.rename(elsewhere)
    path = elsewhere / job.result_path.name
    with xarray.open_dataset(path, engine=engine, group="captures") as data:
        assert data["y_walk"].dims == ("case", "layer", "obs", "hidden") and data["x"].dims == ("layer", "obs", "hidden")
        assert data["layer"].values.tolist() == KEPT and data["x"].attrs["long_name"]
        whole = data["y_walk"].values
        assert np.all(np.isfinite(whole))
        assert np.array_equal(data["y_walk"].sel(layer=8, case=2).values, whole[1, 4])
    gone = sorted(path.with_name(path.name + ".captures").glob("0/prompts-*-layers-0000-*-case-0002.h5"))[1]
    gone.unlink()
    with h5py.File(path) as file:
        lengths, of = file["prompt_rows"][()], harness.prompts_of(gone)
        first, rows = int(lengths[:of.start].sum()), int(lengths[of.start:of.stop].sum())
    with xarray.open_dataset(path, engine=engine, group="captures") as data:
        hole = np.zeros(whole.shape, bool)
        hole[1, :4, first:first + rows] = True
        assert np.array_equal(np.isnan(data["y_walk"].values), hole)
        assert np.array_equal(data["y_walk"].values[~hole], whole[~hole])
    with xarray.open_dataset(path, engine=engine) as data:
        assert np.all(np.isfinite(data["rel_l2"].values))
    assert "MEASURED" in harness.run(["verdict", path], expect=None).stdout


def test_the_plan_foretells_files_and_bytes(inputs, reference, shop):
    for ranks, stages, teams in ((None, 0, 0), (4, 2, 2)):
        job = make(shop, inputs, grid={"stages": stages, "teams": teams})
        job.run(ranks=ranks)
        told = harness.run(["plan", job.path, "--ranks", ranks or 1]).stdout
        line = [l for l in told.splitlines() if l.startswith("captures:")][0]
        kept = captures(job)
        size = sum(kept[name].nbytes for name in ("x", "y_ref", "y_walk"))
        assert f"({size} bytes of values) in {len(list(folder(job).iterdir()))} files" in line, line


@pytest.mark.parametrize("wrong, said", [
    ({"tensors": ["x"], "cases": ["v:dense"]}, "captures.cases[0]: no case is called 'v:dense', expected one of v:sparse, v:slow"),
    ({"tensors": ["x"], "layers": [0, 11]}, "captures.layers[1]: the model has no layer 11, its layers are 0 to 10"),
    ({"tensors": ["z"]}, "unknown tensor 'z'"), ({"layers": [1]}, "names no 'tensors'"),
])
def test_a_wrong_selection_is_one_line(shop, inputs, wrong, said):
    job = make(shop, inputs, captures=wrong)
    assert said in harness.one_error_line(job.run(ranks=2, expect=2))
    harness.nothing_half_written(job)


def test_another_selection_is_another_job(shop, inputs):
    job = make(shop, inputs, captures={"tensors": ["x"], "layers": [2]})
    job.run()
    other = make(shop, inputs, captures={"tensors": ["x"], "layers": [4]})
    assert "captures" in harness.one_error_line(other.run(words=["--out", job.result_path], expect=3))
    other.run(words=["--out", job.result_path, "--fresh"])
    assert captures(job)["layer"].tolist() == [4]
    plain = make(shop, inputs, captures=None)
    plain.run(words=["--out", job.result_path, "--fresh"])
    assert not folder(job).parent.exists()


# --- --fresh: the old result keeps its captures until the new one takes its name


def shown(path):
    """Folders of the files that a result's captures are made of; all of the files must be there."""
    with h5py.File(path) as file:
        names = {source.file_name for name in ("x", "y_ref", "y_walk") for source in file["captures"][name].virtual_sources()}
    assert names and all((path.parent / name).exists() for name in names)
    return {pathlib.Path(name).parent.name for name in names}


def values(path):
    with h5py.File(path) as file:
        return {name: file["captures"][name][()].tobytes() for name in ("x", "y_ref", "y_walk")}


def numbers(path):
    where = path.with_name(path.name + ".captures")
    return sorted(p.name for p in where.iterdir()) if where.exists() else []


@pytest.fixture(scope="module")
def elsewhere(shop):
    """Other prompts, which give other captures."""
    return harness.corpus(shop.root / "other.jsonl", 30, seed=77)


@pytest.fixture(scope="module")
def other(shop, inputs, elsewhere):
    made = make(shop, inputs, prompts=elsewhere)
    made.run()
    return made


@pytest.mark.parametrize("ranks", [None, 3])
def test_fresh_beside_a_result_leaves_its_captures_alone(shop, inputs, reference, other, elsewhere, ranks):
    job = make(shop, inputs)
    job.run()
    old, truth = values(job.result_path), values(other.result_path)
    assert old == values(reference.result_path) and shown(job.result_path) == {"0"}
    changed = make(shop, inputs, prompts=elsewhere)
    words = ["--out", job.result_path]
    process = harness.start(changed, ranks, [*words, "--fresh"], **harness.slowly(40))
    harness.wait_until(lambda: len(harness.parts(job)) >= 2, process)
    assert numbers(job.result_path) == ["0", "1"] and values(job.result_path) == old
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    harness.wait_until_gone(job)
    assert shown(job.result_path) == {"0"} and values(job.result_path) == old
    changed.run(words=words)
    assert values(job.result_path) == truth
    assert shown(job.result_path) == {"1"} == set(numbers(job.result_path))
    job.run(words=["--fresh"])  # and back, into the number that is free
    assert values(job.result_path) == old and shown(job.result_path) == {"0"} == set(numbers(job.result_path))


@pytest.mark.parametrize("number", range(KILLS))
def test_whenever_a_fresh_run_is_killed_the_result_shows_captures_of_its_own(shop, inputs, reference, other, elsewhere, number):
    rng = random.Random(f"{SEED} captures {number}")
    job = make(shop, inputs)
    job.run(ranks=2)
    known = {"old": values(reference.result_path), "new": values(other.result_path)}
    changed = make(shop, inputs, prompts=elsewhere)
    words = ["--out", job.result_path]
    for attempt in range(3):
        fresh = ["--fresh"] if attempt == 0 or rng.random() < 0.3 else []
        process = harness.start(changed, rng.choice([None, 2, 3]), [*words, *fresh])
        count = rng.uniform(-0.1, 1.3) * 30
        end = time.monotonic() + rng.uniform(0.5, 3.0)
        while process.poll() is None and harness.prompts_done(job) < count and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(rng.choice([0.0, rng.uniform(0.0, 0.1)]))
        for pid in [process.pid, *harness.children(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(timeout=60)
        harness.wait_until_gone(job)
        assert values(job.result_path) in known.values(), "the result shows what neither run kept"
        shown(job.result_path)
    begun = values(job.result_path) == known["new"] or numbers(job.result_path) != ["0"]
    changed.run(words=[*words, *([] if begun else ["--fresh"])])
    assert values(job.result_path) == known["new"]
    assert shown(job.result_path) == set(numbers(job.result_path))


def test_files_of_others_and_links_among_the_captures_stay(shop, inputs, tmp_path):
    job = make(shop, inputs, captures={"tensors": ["x"], "layers": [2]})
    job.run()
    (tmp_path / "mine").mkdir()
    mine = tmp_path / "mine" / "prompts-000000-000001-layers-0000-0007-reference.h5"
    mine.write_bytes(b"mine")
    (folder(job).parent / "1").symlink_to(tmp_path / "mine")
    (folder(job) / "notes.txt").write_text("mine, too")
    job.run(words=["--fresh"])
    assert mine.read_bytes() == b"mine" and [p.name for p in folder(job).iterdir()] == ["notes.txt"]
    assert numbers(job.result_path) == ["0", "1", "2"]
    assert captures(job)["layer"].tolist() == [2] and np.all(np.isfinite(captures(job)["x"]))


def test_captures_beside_each_other_as_an_earlier_version_put_them_are_replaced(shop, inputs):
    job = make(shop, inputs, captures={"tensors": ["x"], "layers": [2]})
    job.run()
    before, directory = captures(job)["x"].tobytes(), folder(job).parent
    with edit_result.edit(job.result_path) as file:
        old = file["captures/x"]
        layout = h5py.VirtualLayout(old.shape, old.dtype)
        for source in old.virtual_sources():
            path = job.result_path.parent / source.file_name
            with h5py.File(path) as kept:
                shape = kept[source.dset_name].shape
            path.rename(directory / path.name)
            start, end = source.vspace.get_select_bounds()
            layout[tuple(slice(a, b + 1) for a, b in zip(start, end))] = h5py.VirtualSource(f"{directory.name}/{path.name}", source.dset_name, shape)
        del file["captures/x"]
        file.create_virtual_dataset("captures/x", layout, fillvalue=np.nan)
    folder(job).rmdir()
    assert captures(job)["x"].tobytes() == before
    job.run(words=["--fresh"])
    assert numbers(job.result_path) == ["0"] and captures(job)["x"].tobytes() == before


@pytest.mark.parametrize("when", ["before", "while", "after"])
def test_a_result_that_was_given_another_name_keeps_its_captures(shop, inputs, reference, other, elsewhere, when):
    """Before the next run, while one with --fresh computes, and between two of that: nothing that a result shows is removed."""
    job = make(shop, inputs)
    job.run()
    old, renamed = values(job.result_path), job.result_path.with_name("renamed.h5")
    changed = make(shop, inputs, prompts=elsewhere)
    words = ["--out", job.result_path]
    if when == "before":
        job.result_path.rename(renamed)
        changed.run(words=words)
    else:
        process = harness.start(changed, None, [*words, "--fresh"], **harness.slowly(40))
        harness.wait_until(lambda: len(harness.parts(job)) >= 2, process)
        if when == "while":
            job.result_path.rename(renamed)
            assert process.wait(timeout=120) == 0
        else:
            process.kill()
            process.wait(timeout=60)
            harness.wait_until_gone(job)
            job.result_path.rename(renamed)
            changed.run(words=words)
    assert values(renamed) == old and values(job.result_path) == values(other.result_path)
    assert numbers(job.result_path) == ["0", "1"] and shown(renamed) == {"0"}
    changed.run(words=["--fresh", *words])  # replaces its own, and that alone
    assert values(renamed) == old and values(job.result_path) == values(other.result_path)
    assert numbers(job.result_path) == ["0", "2"]

"""A finished result: damage in it is refused, and there is one verdict of it, whoever tells it."""
import json
import pathlib
import shutil
import subprocess

import h5py
import numpy as np
import pytest

import edit_result
import harness

MODEL = "tiny-gemma3"
REPORT = pathlib.Path(__file__).resolve().parents[2] / "analysis" / "walkaudit-report"


@pytest.fixture(scope="module")
def stored(shop):
    """Two vindexes of tiny-gemma3, logits at every position: every dataset that there is."""
    job = shop.job(shop.model(MODEL), {name: shop.vindex(MODEL, name) for name in ("f16", "q4k")}, logits="all")
    job.run()
    return job.result_path


def numbers(file):
    """Every dataset of numbers that has any."""
    return {name: item for name, item in file.items()
            if isinstance(item, h5py.Dataset) and not h5py.check_string_dtype(item.dtype) and item.size}


def test_every_dataset_of_numbers_has_a_checksum(stored):
    with h5py.File(stored) as file:
        found = numbers(file)
        assert len(found) > 150 and {"kl", "verdict", "row_err_p99", "case", "bound_cos"} <= set(found)
        assert [name for name, item in found.items() if not item.fletcher32] == []


def test_one_flipped_byte_of_any_dataset_is_refused(stored, tmp_path):
    """By HDF5 itself when it is read; and no verb gives another answer because of it."""
    path = tmp_path / "damaged.h5"
    shutil.copyfile(stored, path)
    before = {verb: harness.run([verb, path]).stdout for verb in ("verdict", "status")}
    random, refused = np.random.default_rng(5), {"verdict": set(), "status": set()}
    with h5py.File(stored) as file:
        places = {name: item.id.get_chunk_info(0) for name, item in numbers(file).items()}
    for name, place in places.items():
        at = place.byte_offset + int(random.integers(place.size))
        with open(path, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << int(random.integers(8))]))
        with h5py.File(path) as file, pytest.raises(OSError):
            file[name][()]
        for verb in before:
            assert "the file is damaged" in harness.one_error_line(harness.run([verb, path], expect=3)), (verb, name)
        edit_result.seal(path)  # as if somebody had made the digest fit
        for verb, said in before.items():
            done = harness.run([verb, path], expect=None)
            if done.returncode == 0:
                assert done.stdout == said, (verb, name)
            else:
                assert done.returncode == 3 and f"'{name}'" in harness.one_error_line(done), (verb, name)
                refused[verb].add(name)
        with open(path, "r+b") as file:
            file.seek(at)
            file.write(bytes([byte]))
        edit_result.seal(path)
    assert {"kl", "label", "row_err_p99", "rel_l2", "obs_kl", "prompt_rows", "case_bucket"} <= refused["verdict"]
    assert "verdict" in refused["status"]


# --- A result that fails


@pytest.fixture(scope="module")
def failing(shop):
    """Every case fails: two neighbouring rows are exchanged in f16, and Q4_K meets bounds that it cannot keep."""
    broken = shop.copy(MODEL, "f16", shop.root / "exchanged.vindex")
    with open(broken / "up_features.bin", "r+b") as file:
        size = 256 * 4
        file.seek(3 * size)
        rows = file.read(2 * size)
        file.seek(3 * size)
        file.write(rows[size:] + rows[:size])
    strict = shop.root / "failing.yaml"
    strict.write_text("exact:\n  cos: 0.9999999999\nquantized:\n  cos: 0.99999\n  mean_kl: 1.0e-12\n")
    job = shop.job(shop.model(MODEL), {"f16": broken, "q4k": shop.vindex(MODEL, "q4k")}, logits="all", bounds=str(strict))
    job.run(expect=1)
    assert not {"PASS", "MEASURED"} & set(stored_verdicts(job.result_path).values())
    return job.result_path


def test_no_flipped_bit_of_any_figure_makes_a_failure_a_pass(failing, tmp_path):
    """Any bit of the file, unsealed: it is damaged. The last and another bit of a chunk of each dataset of numbers, sealed anew: HDF5's
    checksum of the chunk says so, which any one bit changes, or the answer is the same to the letter."""
    path, random, tried, refused = tmp_path / "flipped.h5", np.random.default_rng(11), 0, set()
    shutil.copyfile(failing, path)
    said = harness.run(["verdict", path], expect=1).stdout
    with h5py.File(failing) as file:
        found = {name: item.id.get_chunk_info(int(random.integers(item.id.get_num_chunks()))) for name, item in numbers(file).items()}
    assert len(found) > 150
    for bit in random.integers(path.stat().st_size * 8, size=60).tolist():
        flip(path, 0, bit)
        done = harness.run(["verdict", path], expect=3)
        assert "damaged" in harness.one_error_line(done) and not done.stdout, (bit, done.stderr)
        flip(path, 0, bit)
    for name, chunk in found.items():
        start, size = chunk.byte_offset, chunk.size
        for bit in {size * 8 - 1, int(random.integers(size * 8))}:
            flip(path, start, bit)
            edit_result.seal(path)
            done = harness.run(["verdict", path], expect=None)
            if done.returncode == 1:
                assert done.stdout == said, (name, bit)
            else:
                assert done.returncode == 3 and f"'{name}'" in harness.one_error_line(done) and not done.stdout, (name, bit)
                refused.add(name)
            flip(path, start, bit)
            edit_result.seal(path)
            tried += 1
    assert path.read_bytes() == failing.read_bytes()
    assert {"rel_l2", "obs_kl", "row_err_max", "label", "case_bucket", "kernel_rel_l2", "cos"} <= refused, sorted(set(found) - refused)
    print(f"{tried} flipped bits tried in {len(found)} datasets, and 60 anywhere")


def flip(path, start, bit):
    with open(path, "r+b") as file:
        file.seek(start + bit // 8)
        byte = file.read(1)[0]
        file.seek(start + bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


# --- One verdict everywhere


STRICT = "exact:\n  cos: 0.9999999999\nquantized:\n  mean_kl: 1.0e-12\n"


def report_verdicts(path, folder):
    """What walkaudit-report says of the cases."""
    done = subprocess.run([REPORT, "report", path, "-o", folder], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    cases = json.loads((folder / f"{path.stem}.json").read_text())["cases"]
    return {case["name"]: case["verdict"] for case in cases}


def stored_verdicts(path):
    result = harness.Result(path)
    return result.verdicts()


@pytest.fixture
def job(shop):
    """Finished under the default bounds: exit code 0."""
    job = shop.job(shop.model(MODEL), {name: shop.vindex(MODEL, name) for name in ("f16", "q4k")}, logits="all")
    job.run()
    return job


def test_other_bounds_of_a_finished_job_are_stored_and_all_readers_agree(job, tmp_path):
    strict = tmp_path / "strict.yaml"
    strict.write_text(STRICT)
    before = job.result_path.read_bytes()
    measured = harness.Result(job.result_path)
    assert set(stored_verdicts(job.result_path).values()) <= {"PASS", "MEASURED"}
    done = job.run(sets=[f"bounds={strict}"], expect=1)
    assert "judged anew by bounds" in done.stderr and "finished and nothing changed" in done.stderr
    verdicts = stored_verdicts(job.result_path)
    assert {verdicts[name] for name in verdicts if name.startswith("q4k")} >= {"RATE"}
    assert report_verdicts(job.result_path, tmp_path / "report") == verdicts
    harness.run(["status", job.result_path], expect=1)
    harness.run(["status", job.path], expect=1)
    said = harness.run(["verdict", job.result_path], expect=1)  # without --bounds: those that are stored
    assert f"bounds: {strict}" in said.stdout and "nothing is stored" not in said.stderr
    strict.unlink()  # the stored values judge, not the file
    assert harness.run(["verdict", job.result_path], expect=1).stdout == said.stdout
    after = harness.Result(job.result_path)
    for name in ("rel_l2", "kl", "mean_kl", "max_rel_l2", "row_err_max"):
        assert np.array_equal(after[name], measured[name], equal_nan=True), name
    job.run()  # and back
    with h5py.File(job.result_path) as file:
        assert file.attrs["bounds_name"] == "default" and "kernel: 1e-05" in file.attrs["bounds_text"]
    assert stored_verdicts(job.result_path) == measured.verdicts() and before[:8] == job.result_path.read_bytes()[:8]
    unchanged = job.result_path.read_bytes()
    assert "judged anew" not in job.run().stderr and job.result_path.read_bytes() == unchanged
    assert list(job.result_path.parent.glob("*.tmp")) == []


def test_verdict_stores_only_when_told(job, tmp_path):
    strict = tmp_path / "strict.yaml"
    strict.write_text(STRICT)
    before = job.result_path.read_bytes()
    done = harness.run(["verdict", job.result_path, "--bounds", strict], expect=1)
    assert "nothing is stored" in done.stderr and "by bounds default" in done.stderr
    assert job.result_path.read_bytes() == before
    harness.run(["status", job.result_path])
    done = harness.run(["verdict", job.result_path, "--bounds", strict, "--store"], expect=1)
    assert "is stored in" in done.stderr
    harness.run(["status", job.result_path], expect=1)
    assert "RATE" in set(stored_verdicts(job.result_path).values())
    done = harness.run(["verdict", job.result_path, "--bounds", "larql", "--store"], expect=None)
    again = harness.run(["verdict", job.result_path], expect=done.returncode)
    assert again.stdout == done.stdout and "contradicts itself" in again.stdout


def test_a_store_that_fails_leaves_the_result_as_it_was(job, tmp_path):
    """RLIMIT_FSIZE as a full disk: the copy cannot be written."""
    before = job.result_path.read_bytes()
    limit = len(before) // 2
    done = subprocess.run(["prlimit", f"--fsize={limit}", *harness.command(["verdict", job.result_path, "--bounds", "larql", "--store"])],
                          env=harness.environment(), capture_output=True, text=True, check=False)
    assert done.returncode != 0 and job.result_path.read_bytes() == before
    harness.run(["status", job.result_path])


def test_another_result_that_takes_the_name_meanwhile_keeps_it(shop, stored, tmp_path):
    """Before each of the calls of `verdict --store` in turn, the shim moves another result there: it stays as it is, or is judged itself."""
    folder, names = tmp_path / "results", ("result.h5", "incoming.h5")
    folder.mkdir()
    result, incoming = (folder / name for name in names)
    job = shop.job(shop.model(MODEL), {"f16": shop.vindex(MODEL, "f16")}, batch={"rows": 16})
    job.run()
    other = {job.result_path.read_bytes()}
    harness.run(["verdict", job.result_path, "--bounds", "larql", "--store"], expect=None)
    judged = job.result_path.read_bytes()
    plan = {"LD_PRELOAD": str(harness.kernel("fault_shim")), "WALKAUDIT_FAULT_UNDER": str(folder)}

    def store(**extra):
        shutil.copyfile(stored, result)
        return harness.run(["verdict", result, "--bounds", "larql", "--store"], expect=None, **plan, **extra)

    store(WALKAUDIT_FAULT_COUNT=str(tmp_path / "counts"))
    calls = {line.split()[1]: int(line.split()[2]) for line in (tmp_path / "counts").read_text().splitlines()}
    places = [(kind, number) for kind in ("open", "create", "sync") for number in range(1, calls[kind] + 1)]
    places += [(kind, number) for kind in ("read", "write", "close") for number in sorted({1 + (calls[kind] - 1) * part // 5 for part in range(6)})]
    refused = kept = 0
    for kind, number in places:
        incoming.write_bytes(*other)
        done = store(WALKAUDIT_FAULT=f"{kind}:{number}:move", WALKAUDIT_FAULT_MOVE=f"{incoming}:{result}")
        assert result.read_bytes() in other | {judged}, (kind, number)
        if done.returncode == 3:
            line = harness.one_error_line(done)
            assert "was replaced or changed" in line and str(result) in line and result.read_bytes() in other, line
            refused += 1
        kept += result.read_bytes() == judged
        assert [path.name for path in folder.iterdir()] == [result.name], (kind, number)
    print(f"{len(places)} moments: {refused} refused, {kept} judged the other")
    assert refused > 3 and kept > 3


def edit(path, change):
    with edit_result.edit(path) as file:
        change(file)


def code(file, name, word):
    attributes = file[name].attrs
    return dict(zip(attributes["flag_meanings"].split(), attributes["flag_values"].tolist()))[word]


def forged_verdict(file):
    file["verdict"][0] = code(file, "verdict", "BOUND")


def forged_figure(file):
    file["min_cos"][...] = 0.5


def forged_bounds(file):
    file.attrs.modify("bounds_text", STRICT)


def forged_vindex(file):
    file["vindex_verdict"][...] = code(file, "vindex_verdict", "UNAUDITED")


@pytest.mark.parametrize("change", [forged_verdict, forged_figure, forged_bounds, forged_vindex])
def test_status_believes_no_verdict_that_its_figures_do_not_give(stored, tmp_path, change):
    """As by a tool that writes valid HDF5: no checksum tells."""
    path = tmp_path / "forged.h5"
    shutil.copyfile(stored, path)
    edit(path, change)
    for verb in ("status", "inspect"):
        line = harness.one_error_line(harness.run([verb, path], expect=3))
        assert "is not what the stored figures and bounds give" in line and str(path) in line
    harness.run(["verdict", path, "--bounds", "default", "--store"])
    assert harness.run(["status", path]).stdout == (
        harness.run(["status", stored]).stdout.replace(str(stored), str(path)).replace(str(stored.parent), str(path.parent)))

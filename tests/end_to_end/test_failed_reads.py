"""Files of other programs on a disk that fails: one read after another, in external files and reference dumps. HDF5 says of much that
it cannot read that it is not there, so that a check would fall away unseen."""
import json

import h5py
import numpy as np
import pytest

import harness

MODEL = "tiny-gemma3"


def shimmed(folder, **extra):
    """Reads below `folder` are counted, and one fails (tests/faults/shim.c)."""
    return {"LD_PRELOAD": str(harness.kernel("fault_shim")), "WALKAUDIT_FAULT_UNDER": str(folder), **extra}


@pytest.fixture(scope="module")
def captured(shop):
    job = shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")}, paths=[{"path": "full_mmap"}],
                   captures={"tensors": ["x", "y_ref"]}, batch={"rows": 16})
    job.run()
    return job.result_path


def external(shop, captured, folder):
    """A case that answers another x at the last layer: only x_norm tells."""
    with h5py.File(captured) as file, h5py.File(folder / "answers.h5", "w") as out:
        out["y_walk"], out["token_id"], out["x_norm"] = file["captures/y_ref"][()], file["token_id"][()], file["x_norm"][()]
        out["x_norm"][-1] *= 2
    paths = [{"path": "external", "file": str(folder / "answers.h5"), "name": "mine", "bucket": "exact"}]
    return shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")}, paths=paths), []


def dump(shop, captured, folder):
    """The reference's own numbers, but for one that is far off at the last layer."""
    vocab = json.loads((shop.model(MODEL) / "config.json").read_text())["vocab_size"]
    with h5py.File(captured) as file, h5py.File(folder / "dump.h5", "w") as out:
        for at, key in enumerate(file["prompt_key"].asstr()[()]):
            rows = file["obs_prompt"][()] == at
            group = out.create_group(f"native/{key}")
            group["token_id"], group["logits"] = file["token_id"][()][rows], np.zeros((int(rows.sum()), vocab), np.float32)
            group["x"], group["y"] = file["captures/x"][()][:, rows], file["captures/y_ref"][()][:, rows]
            group["y"][-1, -1, -1] += 1000
    job = shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")}, paths=[{"path": "full_mmap"}])
    return job, ["--reference-dump", folder / "dump.h5"]


@pytest.mark.parametrize("made", [external, dump])
def test_every_failed_read_is_refused_by_the_name_of_the_file(shop, captured, tmp_path, made):
    folder = tmp_path / "of-others"
    folder.mkdir()
    job, words = made(shop, captured, folder)
    sound = job.run(words=words, expect=None, **shimmed(folder, WALKAUDIT_FAULT_COUNT=str(tmp_path / "counts")))
    assert sound.returncode in (1, 3), sound.stderr  # what is wrong in it is seen
    reads = next(int(line.split()[2]) for line in (tmp_path / "counts").read_text().splitlines() if " read " in line)
    assert reads >= 8
    name, tried = next(folder.iterdir()).name, 0
    for number in sorted({1 + reads * part // 15 for part in range(15)}):
        for cause in ["EIO", "short"] if number % 4 == 0 else ["EIO"]:
            fresh = made(shop, captured, folder)[0]
            done = fresh.run(words=words, expect=None, **shimmed(folder, WALKAUDIT_FAULT=f"read:{number}:{cause}"))
            if cause == "short":  # is read on, and changes nothing
                assert done.returncode == sound.returncode, (number, done.stderr)
            else:
                assert done.returncode == 3 and name in harness.one_error_line(done), (number, done.stderr)
                assert not fresh.result_path.exists(), number
            tried += 1
    print(f"{tried} failed reads of {reads} tried")


@pytest.mark.parametrize("magic, name", [("0x6969", "NFS"), ("0x0BD00BD0", "Lustre")])
def test_a_result_on_a_file_system_that_may_refuse_locks_is_warned_of_once(shop, magic, name):
    """Readers of HDF5 lock what they read; statfs is planted, as no such file system is at hand."""
    job = shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")}, paths=[{"path": "full_mmap"}])
    planted = shimmed(job.folder, WALKAUDIT_FAULT_MOUNT=magic)
    lines = [line for line in job.run(ranks=2, words=["--fresh"], **planted).stderr.splitlines() if "HDF5_USE_FILE_LOCKING" in line]
    assert len(lines) == 1 and f"lies on {name}" in lines[0] and str(job.result_path) in lines[0], lines
    for quiet in ({**planted, "HDF5_USE_FILE_LOCKING": "FALSE"}, {**planted, "WALKAUDIT_FAULT_MOUNT": "0xEF53"}):
        assert "LOCKING" not in job.run(words=["--fresh"], **quiet).stderr

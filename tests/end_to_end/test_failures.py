"""What goes wrong outside the program: full disks, directories that cannot be written or vanish, files cut under a run, no memory.

Each must end on every rank, with exit code 3, one line that says what, and whole parts.
"""
import json
import os
import shutil
import subprocess

import h5py
import pytest

import harness
from harness import assert_equal_bits, corpus, parts, slow_path, slowly, start, wait_for_parts

PATHS = [{"path": "sparse"}, slow_path()]
GRIDS = [(1, 1, 1), (2, 2, 1), (3, 1, 3), (4, 2, 2)]  # ranks, stages, teams
as_root = pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system needs root")
not_root = pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")


@pytest.fixture(scope="module")
def prompts(shop):
    return corpus(shop.root / "long.jsonl", 90, seed=5)


@pytest.fixture(scope="module")
def reference(shop, prompts):
    job = make(shop, shop.vindex("tiny-gemma3", "f16"), prompts)
    job.run(ranks=2)
    return job


def make(shop, vindex, prompts, **keys):
    return shop.job(shop.model("tiny-gemma3"), {"f16": vindex},
                    **{"paths": PATHS, "batch": {"rows": 8}, "prompts": prompts, "kernel_check": "none", **keys})


def grid(stages, teams):
    return ["--set", f"grid.stages={stages}", "--set", f"grid.teams={teams}"]


def ends_with_3(job, process, *needles):
    """One line, with one of the needles; several ranks may meet the same cut file and say the same."""
    try:
        code = process.wait(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
    log = (job.folder / "log").read_text(errors="replace")
    lines = {line for line in log.splitlines() if line.startswith("walkaudit: ")}
    assert code == 3, f"exit {code}\n{log}"
    assert len(lines) == 1, log
    line = lines.pop()
    assert any(needle in line for needle in needles), line
    return line


def parts_are_whole(job):
    there = parts(job)
    for path in there:
        with h5py.File(path) as file:
            for name in file:
                file[name][()]  # checksums are verified
    return there


@pytest.mark.parametrize("ranks, stages, teams", GRIDS)
def test_a_part_too_large_for_the_limit_of_file_size(shop, prompts, ranks, stages, teams):
    """A write that fails on any machine: the ranks, not mpirun, may write files of 20 KB."""
    job = make(shop, shop.vindex("tiny-gemma3", "f16"), prompts)
    limited = job.folder / "limited.sh"
    limited.write_text('#!/bin/sh\nulimit -f 40\nexec "$WALKAUDIT" "$@"\n')
    limited.chmod(0o755)
    with open(job.folder / "log", "w") as log:
        process = subprocess.Popen(harness.command(["run", job.path, *grid(stages, teams)], ranks, program=limited),
                                   env=harness.environment(OMPI_MCA_btl="self,tcp"), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=log)
    ends_with_3(job, process, "File too large")
    assert not parts(job)
    assert not list(job.result_path.parent.rglob("*.tmp"))


@as_root
@pytest.mark.parametrize("size, when", [("800k", "while parts are written"), ("4m", "while it is assembled")])
@pytest.mark.parametrize("ranks, stages, teams", [(1, 1, 1), (3, 3, 1)])
def test_a_full_disk(shop, prompts, reference, size, when, ranks, stages, teams):
    job = make(shop, shop.vindex("tiny-gemma3", "f16"), prompts)
    results = job.result_path.parent
    results.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", results], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        ends_with_3(job, start(job, ranks, grid(stages, teams)), "No space left", "not enough space")
        there = parts_are_whole(job)
        assert there, when
        kept = job.folder / "kept"
        shutil.copytree(results, kept)
    finally:
        subprocess.run(["umount", results], check=True)
    results.rmdir()
    kept.rename(results)  # as if the disk had been made larger
    job.run(ranks=2)
    assert_equal_bits(reference, job)


@as_root
def test_a_result_directory_that_is_mounted_read_only(shop, prompts):
    job = make(shop, shop.vindex("tiny-gemma3", "f16"), prompts)
    results = job.result_path.parent
    results.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=100k", "none", results], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        ends_with_3(job, start(job, 3), "Read-only file system")
    finally:
        subprocess.run(["umount", results], check=True)


@not_root
def test_a_result_directory_without_permission(shop, prompts):
    job = make(shop, shop.vindex("tiny-gemma3", "f16"), prompts)
    job.result_path.parent.mkdir(mode=0o555)
    ends_with_3(job, start(job, 3), "Permission denied")


def test_a_result_directory_that_is_a_file(shop, prompts):
    job = make(shop, shop.vindex("tiny-gemma3", "f16"), prompts)
    job.result_path.parent.write_text("a file")
    ends_with_3(job, start(job, 3), "Not a directory", "File exists")


@pytest.mark.parametrize("words", [(), ("--fresh",)])
def test_a_result_that_is_a_directory_is_refused_before_anything_is_computed(shop, prompts, words):
    job = make(shop, shop.vindex("tiny-gemma3", "f16"), prompts)
    job.result_path.mkdir(parents=True)
    done = job.run(ranks=2, words=words, expect=3)
    assert f"'{job.result_path}' is a directory, expected a regular file" in harness.one_error_line(done)
    assert {p.name for p in job.result_path.parent.iterdir()} == {job.result_path.name, "job-audit.failed.json"}


@pytest.mark.parametrize("words", [(), ("--fresh",)])
def test_a_result_that_is_no_file_stays_what_it_is(shop, prompts, words):
    job = make(shop, shop.vindex("tiny-gemma3", "f16"), prompts)
    job.result_path.parent.mkdir(parents=True)
    os.mkfifo(job.result_path)
    done = job.run(words=words, expect=3)
    assert f"'{job.result_path}' is a FIFO, expected a regular file" in harness.one_error_line(done)
    assert job.result_path.is_fifo()


def test_a_limit_of_address_space_ends_a_run_with_one_line(shop, prompts, tmp_path):
    """OpenBLAS asks for its buffer without end where the system refuses it."""
    job = make(shop, shop.vindex("tiny-gemma3", "f16"), prompts)
    limited = tmp_path / "limited"
    limited.write_text('#!/bin/sh\nulimit -v 270000\nexec "$WALKAUDIT" "$@"\n')
    limited.chmod(0o755)
    done = harness.run(["run", job.path], program=limited, expect=3, limit=60)
    assert "address space" in harness.one_error_line(done)


@pytest.mark.parametrize("ranks, stages, teams", GRIDS)
def test_a_result_directory_removed_under_the_run(shop, prompts, ranks, stages, teams):
    job = make(shop, shop.vindex("tiny-gemma3", "f16"), prompts)
    process = start(job, ranks, grid(stages, teams), **slowly(10))
    wait_for_parts(job, process, 3)
    results = job.result_path.parent
    results.rename(job.folder / "gone")
    shutil.rmtree(job.folder / "gone", ignore_errors=True)
    ends_with_3(job, process, "No such file or directory", "no longer owns its result: the lock is gone")


def test_a_result_that_a_reader_holds_open(shop, prompts, reference):
    """h5py locks what it reads: a new result takes the name, and the reader keeps the old one."""
    job = make(shop, shop.vindex("tiny-gemma3", "f16"), prompts)
    job.run(ranks=2)
    with h5py.File(job.result_path) as reader:
        harness.run(["status", job.result_path])
        job.run(ranks=2, words=["--fresh"])
        assert reader["cos"][()].shape == reader["rel_l2"].shape
    assert_equal_bits(reference, job)


@pytest.mark.parametrize("ranks, stages, teams", GRIDS)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_vindex_cut_under_the_run(shop, prompts, share, ranks, stages, teams):
    """SIGBUS where the pages are gone; where reading still succeeds, the look at the inputs at the end finds it."""
    vindex = shop.copy("tiny-gemma3", "f16", shop.root / f"cut-{share}-{ranks}-{stages}.vindex")
    job = make(shop, vindex, prompts)
    process = start(job, ranks, grid(stages, teams), **slowly(10))
    wait_for_parts(job, process, 3)
    cut = vindex / "up_features.bin"
    os.truncate(cut, int(cut.stat().st_size * share))
    line = ends_with_3(job, process, "cut short while it was read", "changed while this run read it")
    assert "up_features.bin" in line
    harness.wait_until_gone(job)
    assert parts_are_whole(job)
    again = job.run(expect=None, ranks=2)
    assert again.returncode in (2, 3)  # 2: an empty file offers no path that the job asks for
    assert "up_features.bin" in harness.one_error_line(again)


@pytest.mark.parametrize("ranks, stages, teams", GRIDS)
def test_a_vindex_deleted_under_the_run(shop, prompts, reference, ranks, stages, teams):
    """Its bytes stay mapped, so every batch is done; but no result tells of inputs that are gone. With the files back it is assembled."""
    vindex = shop.copy("tiny-gemma3", "f16", shop.root / f"deleted-{ranks}-{stages}.vindex")
    kept = shop.root / f"kept-{ranks}-{stages}.vindex"
    shutil.copytree(vindex, kept, copy_function=os.link)
    job = make(shop, vindex, prompts)
    process = start(job, ranks, grid(stages, teams), **slowly(10))
    wait_for_parts(job, process, 3)
    shutil.rmtree(vindex)
    line = ends_with_3(job, process, "is gone")
    assert str(vindex) in line
    assert parts_are_whole(job) and harness.prompts_done(job) == len(harness.Result(reference.result_path)["prompt_rows"])
    assert not job.result_path.exists()
    kept.rename(vindex)
    done = job.run(ranks=2)
    assert "prompt " not in done.stderr, done.stderr
    found = [line for line in harness.differences(reference.result_path, job.result_path)
             if not any(word in line for word in ("job_text", "fingerprint", "vindex_path"))]
    assert not found, found


@pytest.mark.parametrize("ranks, stages, teams", GRIDS)
@pytest.mark.parametrize("bytes_", ["300K", "2M"])
def test_a_rank_without_memory(shop, prompts, bytes_, ranks, stages, teams):
    job = make(shop, shop.vindex("tiny-gemma3", "f16"), prompts)
    process = start(job, ranks, [*grid(stages, teams), "--memory", bytes_])
    line = ends_with_3(job, process, "arena '")
    assert "allowed" in line


def test_memory_of_the_usual_size_is_enough(shop, prompts):
    job = make(shop, shop.vindex("tiny-gemma3", "f16"), prompts)
    job.run(ranks=2, words=["--memory", "100M"])


def test_paths_that_are_no_utf_8_are_recorded_and_told(shop):
    """A directory of one byte of Latin-1: JSON shows it as \\xE9, and loses nothing."""
    folder = os.path.join(os.fsencode(shop.root), b"d\xe9")
    os.mkdir(folder)
    vindex, job = os.fsdecode(folder + b"/f16.vindex"), os.fsdecode(folder + b"/job.yaml")
    with open(job, "w") as file:
        json.dump({"name": "job", "audits": [{"name": "one", "model": str(shop.model("tiny-gemma3")),
                                              "vindexes": [{"name": "f16", "path": "f16.vindex"}]}], "paths": PATHS[:1], "result": "results"}, file)
    told = subprocess.run([harness.binary(), "run", job], env=harness.environment(), capture_output=True)
    assert told.returncode == 3 and b"warning" not in told.stderr, told.stderr
    with open(os.fsdecode(folder + b"/results/job-one.failed.json")) as file:
        assert "d\\xE9/f16.vindex" in json.load(file)["reason"]
    audit, = json.loads(harness.run(["status", "--json", job], expect=3).stdout)["audits"]
    assert audit["state"] == "failed" and "d\\xE9" in audit["failure"] and audit["result"].endswith("d\\xE9/results/job-one.h5")
    shutil.copytree(shop.vindex("tiny-gemma3", "f16"), vindex)
    harness.run(["run", job])
    result = os.fsdecode(folder + b"/results/job-one.h5")
    with h5py.File(os.fsencode(result)) as file:
        assert file["run/0"].attrs["command"].endswith("d\\xE9/job.yaml")
    said = json.loads(harness.run(["verdict", "--json", result]).stdout)
    assert said["result"].endswith("d\\xE9/results/job-one.h5") and said["vindexes"][0]["path"].endswith("d\\xE9/f16.vindex")
    for words, key in ((["inspect", "--json", vindex], "path"), (["plan", "--json", "--gflops", "5", job], "audits")):
        assert "d\\\\xE9" in json.dumps(json.loads(harness.run(words).stdout)[key])

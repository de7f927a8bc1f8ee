"""Runs that fight for one result: a suspended owner that wakes up after another took over publishes nothing, and what is
asked to be computed anew stands until it is."""
import json
import os
import pathlib
import signal
import subprocess
import time

import h5py
import pytest

import harness
from harness import corpus, parts, slow_path, slowly, start, wait_for_parts

PATHS = [{"path": "sparse"}, slow_path()]


@pytest.fixture(scope="module")
def prompts(shop):
    return corpus(shop.root / "rivals.jsonl", 60, seed=11)


def lock_of(job):
    return pathlib.Path(f"{job.result_path}.parts") / "lock"


def silence(path):
    """As if the last heartbeat of this lock were two minutes old."""
    old = time.time() - 120
    os.utime(path, (old, old))


def pretend_silent_elsewhere(job):
    """The lock as a machine out of sight would have left it."""
    path = lock_of(job)
    lock = json.loads(path.read_text())
    lock.update(host="elsewhere", boot="another boot")
    path.write_text(json.dumps(lock))
    silence(path)


def suspend(process):
    """A run and all its processes, which wake() needs."""
    group = [process.pid, *harness.descendants(process.pid)]
    for pid in group:
        os.kill(pid, signal.SIGSTOP)
    return group


def stopped_owner(shop, prompts, ranks, **keys):
    """A run with some parts, suspended, and taken for dead by whoever comes now."""
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, paths=PATHS,
                   batch={"rows": 8}, prompts=prompts, **keys)
    process = start(job, ranks, **slowly(20))
    wait_for_parts(job, process, 3)
    group = suspend(process)
    pretend_silent_elsewhere(job)
    return job, process, group


def wake(process, group):
    for pid in reversed(group):
        os.kill(pid, signal.SIGCONT)
    out = process.communicate(timeout=120)
    return process.returncode, "".join(text for text in out if text)


def test_an_owner_in_a_long_evaluation_goes_on_showing_that_it_is_alive(shop, prompts):
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, paths=PATHS, prompts=prompts)
    process = start(job, None, **slowly(60_000))
    try:
        harness.wait_until(lambda: lock_of(job).with_name("run-0.json").exists(), process)
        time.sleep(1)  # to be in its kernel, where it stays for a minute
        silence(lock_of(job))
        harness.wait_until(lambda: time.time() - lock_of(job).stat().st_mtime < 60, process, seconds=20)
    finally:
        process.kill()
        process.wait(timeout=60)


@pytest.mark.parametrize("ranks", [None, 2])
def test_a_suspended_owner_wakes_up_beside_a_finished_result(shop, prompts, ranks):
    job, process, group = stopped_owner(shop, prompts, ranks)
    settings = ["semantics=larql-2026-05"]  # another job for the same result
    job.run(sets=settings, words=["--fresh"])
    truth = job.result_path.read_bytes()
    code, _ = wake(process, group)
    assert code == 3
    assert job.result_path.read_bytes() == truth


@pytest.mark.parametrize("ranks", [None, 2])
def test_a_suspended_owner_wakes_up_while_another_works(shop, prompts, ranks):
    job, process, group = stopped_owner(shop, prompts, ranks)
    settings = ["semantics=larql-2026-05"]
    other = start(job, ranks, ["--set", settings[0], "--fresh"], **slowly(20))
    wait_for_parts(job, other, 2)
    code, _ = wake(process, group)
    assert code == 3
    assert other.wait(timeout=120) == 0
    mixed = harness.Result(job.result_path)
    alone = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, paths=PATHS,
                     batch={"rows": 8}, prompts=prompts, semantics="larql-2026-05")
    alone.run()
    for name in ("cos", "rel_l2", "kl", "eta"):
        assert mixed[name].tobytes() == harness.Result(alone.result_path)[name].tobytes(), name


# Where the owner runs: words before its command. In another numbering of processes nobody outside can ask for one of them.
ELSEWHERE = {
    "here": [],
    "under another host name": ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"],
    "in another PID namespace": ["unshare", "--pid", "--fork", "--mount-proc"],
    "in both": ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"],
}


@pytest.mark.parametrize("place, ranks", [("here", None), ("here", 2), ("under another host name", None), ("in another PID namespace", None),
                                          ("in another PID namespace", 2), ("in both", None)])
def test_one_of_two_runs_owns_a_result_wherever_they_are(shop, prompts, tmp_path, place, ranks):
    before = ELSEWHERE[place]
    if before and subprocess.run([*before, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("other names of hosts and numbers of processes need root and unshare")
    keys = {"paths": PATHS, "batch": {"rows": 8}, "prompts": prompts}
    model, vindexes = shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}
    truth, job = (shop.job(model, vindexes, **keys) for _ in range(2))
    truth.run()
    names = [job.result_path]  # of one file: as the job says, and by each of two links
    job.result_path.parent.mkdir(exist_ok=True)
    for link, target in (("folder", job.result_path.parent), ("job", job.folder)):
        (tmp_path / link).symlink_to(target)
    names += [tmp_path / "folder" / job.result_path.name, tmp_path / "job" / "results" / job.result_path.name]

    def refused():
        for name in names:
            assert "another run is computing this result" in harness.one_error_line(job.run(words=["--out", name], expect=3)), name

    owner = start(job, ranks, before=before, **slowly(40))
    try:
        wait_for_parts(job, owner, 2)
        refused()
        group = suspend(owner)
        refused()  # it may be out of sight, but was heard of a moment ago
        silence(lock_of(job))
        if place in ("here", "under another host name"):
            refused()  # it is seen to be there, however long it says nothing
            code, text = wake(owner, group)
            assert code == 0, text
        else:
            job.run(words=["--out", names[1]])
            finished = job.result_path.read_bytes()
            code, _ = wake(owner, group)
            assert code == 3
            assert job.result_path.read_bytes() == finished
    finally:
        if owner.poll() is None:  # something failed: leave none of them suspended
            for pid in reversed([owner.pid, *harness.descendants(owner.pid)]):
                os.kill(pid, signal.SIGKILL)
    harness.assert_equal_bits(job, truth)
    assert not pathlib.Path(f"{job.result_path}.parts").exists()


def test_fresh_keeps_the_old_result_until_the_new_one_is_there(shop, prompts):
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, paths=PATHS,
                   batch={"rows": 8}, prompts=prompts)
    job.run()
    old = job.result_path.read_bytes()
    process = start(job, None, ["--fresh", "--set", "semantics=larql-2026-05"], **slowly(20))
    wait_for_parts(job, process, 2)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert job.result_path.read_bytes() == old
    # The new job goes on with its parts; its result then takes the name.
    begun = len(parts(job))
    assert begun >= 2
    job.run(sets=["semantics=larql-2026-05"])
    assert job.result_path.read_bytes() != old
    assert not pathlib.Path(f"{job.result_path}.parts").exists()


@pytest.mark.parametrize("damaged", [False, True])
def test_fresh_beside_a_result_of_the_same_job_is_unfinished_until_the_new_one_is_there(shop, prompts, damaged):
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, paths=PATHS,
                   batch={"rows": 8}, prompts=prompts)
    job.run()
    if damaged:
        job.result_path.write_bytes(job.result_path.read_bytes()[:-1])
    old = job.result_path.read_bytes()
    process = start(job, None, ["--fresh"], **slowly(20))
    wait_for_parts(job, process, 2)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=60) == 75
    assert "the same command without --fresh resumes it" in (job.folder / "log").read_text()
    done = harness.prompts_done(job)
    told = json.loads(harness.run(["status", job.path, "--json"], expect=75).stdout)["audits"][0]
    assert (told["state"], told["prompts_done"], told["exit_code"]) == ("unfinished", done, 75), told
    assert job.result_path.read_bytes() == old
    # Said so, done so: the parts are kept, and the new result takes the name.
    inode = parts(job)[0].stat().st_ino
    process = start(job, None, **slowly(20))
    wait_for_parts(job, process, len(parts(job)) + 1)
    assert parts(job)[0].stat().st_ino == inode
    assert process.wait(timeout=60) == 0
    assert job.result_path.read_bytes() != old and not pathlib.Path(f"{job.result_path}.parts").exists()
    with h5py.File(job.result_path) as file:
        assert sorted(file["run"]) == ["0", "1"]
    harness.run(["status", job.path], expect=0)


def test_a_result_says_that_parts_of_another_job_beside_it_are_removed(shop, prompts):
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, paths=PATHS,
                   batch={"rows": 8}, prompts=prompts)
    job.run()
    process = start(job, None, ["--fresh", "--set", "semantics=larql-2026-05"], **slowly(20))
    wait_for_parts(job, process, 1)
    process.kill()
    process.wait(timeout=60)
    said = job.run().stderr
    assert "parts of another job, begun beside this job's result, are removed" in said, said
    harness.run(["status", job.path], expect=0)


def test_files_of_others_in_the_parts_directory_stay(shop, prompts):
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, paths=[{"path": "sparse"}])
    folder = pathlib.Path(f"{job.result_path}.parts")
    folder.mkdir(parents=True)
    kept = {"notes.txt": "mine", "notes.tmp": "mine too", "batch-1.h5": "not our spelling",
            "run-notes.tmp": "begins like ours", "prompts-000000-000001.h5.host.tmp": "no process's"}
    for name, text in kept.items():
        (folder / name).write_text(text)
    job.run()
    assert {path.name: path.read_text() for path in folder.iterdir()} == kept


def test_a_parts_directory_that_is_a_link_is_refused(shop, prompts, tmp_path):
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, paths=[{"path": "sparse"}])
    folder = pathlib.Path(f"{job.result_path}.parts")
    folder.parent.mkdir(parents=True)
    (tmp_path / "run-1.json").write_text("somebody's")
    folder.symlink_to(tmp_path)
    line = harness.one_error_line(job.run(expect=3))
    assert "is a link" in line, line
    assert (tmp_path / "run-1.json").read_text() == "somebody's"

"""Runs that are asked to stop: by a signal on any rank, or by --max-time. Design 11."""
import os
import re
import signal
import time

import pytest

import harness
from harness import assert_equal_bits, children, corpus, one_error_line, parts, start, wait_for_parts

PATHS = [{"path": "sparse"}, {"path": "full_mmap"}]
SLOW = {"paths": [{"path": "sparse_serial"}], "kernel_check": -1}


@pytest.fixture(scope="module")
def inputs(shop):
    return (shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")},
            corpus(shop.root / "long.jsonl", 90, seed=5))


@pytest.fixture(scope="module")
def longer(shop):
    return corpus(shop.root / "longer.jsonl", 900, seed=6)


def make(shop, inputs, **keys):
    model, vindexes, prompts = inputs
    return shop.job(model, vindexes, **{"paths": PATHS, "batch": {"rows": 8}, "prompts": prompts, **keys})


@pytest.fixture(scope="module")
def reference(shop, inputs):
    job = make(shop, inputs)
    job.run()
    return job


def finish(job, process, expect, limit=60):
    """Wait for the end; the exit code must be `expect`. Returns the one line that says why."""
    try:
        code = process.wait(timeout=limit)
    finally:
        if process.poll() is None:
            process.kill()
    log = (job.folder / "log").read_text(errors="replace")
    assert code == expect, log
    lines = [line for line in log.splitlines() if line.startswith("walkaudit: ")]
    assert len(lines) == 1, log
    return lines[0]


def is_resumable(job, reference, ranks=2, lock_may_stand=False):
    """status says so, and the same job on another number of ranks ends in the same bits."""
    there = len(parts(job))
    told = harness.run(["status", job.result_path], expect=75).stdout
    assert re.search(rf"unfinished, {there} of \d+ batches done", told), told
    assert lock_may_stand or not (job.result_path.with_name("job-audit.h5.parts") / "lock").exists()
    kept = {path: path.stat().st_mtime_ns for path in parts(job)}
    job.run(ranks=ranks)
    assert kept, "some part must have been kept"
    assert_equal_bits(reference, job)


# ranks, stages, teams, who hears it: the launcher (it forwards to all but SIGTERM, which it answers with exit code 1 of its
# own), the first rank, the last one
STOPS = [(signal.SIGUSR1, 1, 0, 0, "launcher"), (signal.SIGUSR1, 2, 1, 1, "launcher"), (signal.SIGUSR1, 3, 3, 1, "first"),
         (signal.SIGUSR1, 4, 2, 2, "last"), (signal.SIGUSR2, 3, 1, 3, "last"), (signal.SIGTERM, 1, 0, 0, "first"),
         (signal.SIGTERM, 4, 2, 2, "last"), (signal.SIGTERM, 4, 1, 1, "last"),
         (signal.SIGUSR1, 3, 2, 1, "last"), (signal.SIGTERM, 3, 2, 1, "last")]  # here the last one is idle


@pytest.mark.parametrize("number, ranks, stages, teams, who", STOPS)
def test_a_signal_on_any_rank_stops_all_with_75(shop, inputs, reference, number, ranks, stages, teams, who):
    job = make(shop, inputs)
    process = start(job, ranks, ["--set", f"grid.stages={stages}", "--set", f"grid.teams={teams}"])
    wait_for_parts(job, process, 4)
    members = children(process.pid)
    assert len(members) == ranks
    target = {"launcher": process.pid, "first": members[0], "last": members[-1]}[who]
    began = time.monotonic()
    os.kill(target, number)
    line = finish(job, process, 75)
    assert f"stopped by {number.name}" in line
    if number == signal.SIGTERM:
        assert time.monotonic() - began < 5  # a second, and what a busy machine takes to end processes
    is_resumable(job, reference)


def test_sigterm_to_the_launcher_keeps_the_parts(shop, inputs, reference):
    job = make(shop, inputs)
    process = start(job, 2)
    wait_for_parts(job, process, 4)
    began = time.monotonic()
    process.terminate()
    assert process.wait(timeout=30) != 0
    assert time.monotonic() - began < 10
    is_resumable(job, reference, lock_may_stand=True)  # mpirun kills its ranks after a second, come what may


def test_max_time_stops_with_75(shop, inputs, longer):
    job = make(shop, inputs, kernel_check=-1, prompts=longer)
    done = job.run(ranks=2, words=["--max-time", "2s", "--grace", "1"], expect=75)
    assert "stopped by --max-time" in one_error_line(done)
    assert parts(job)


def test_what_fits_into_the_grace_is_finished(shop, inputs):
    """Two batches of a second or more: the first is begun before the time is up, and ends within the grace. On a busy machine the
    time may be up before a batch is begun (3): then there is more of it."""
    model, vindexes, _ = inputs
    prompts = corpus(shop.root / "two.jsonl", 400, seed=9)
    job = shop.job(model, vindexes, **SLOW, batch={"rows": 1400}, prompts=prompts)
    for limit in ("1s", "2s", "4s"):
        done = job.run(words=["--max-time", limit, "--grace", "100s"], expect=None)
        if done.returncode != 3:
            break
    assert done.returncode == 75, done.stderr
    assert "with 1 of 2 batches done" in one_error_line(done)


def test_a_run_that_adds_nothing_is_3_and_names_the_time(shop, inputs):
    model, vindexes, _ = inputs
    prompts = corpus(shop.root / "one.jsonl", 600, seed=9)
    job = shop.job(model, vindexes, **SLOW, batch={"rows": 4000}, prompts=prompts)
    done = job.run(words=["--max-time", "1s", "--grace", "0"], expect=3)
    line = one_error_line(done)
    assert re.search(r"stopped by --max-time before this run had any batch done: one takes more than [\d.]+ s", line)
    assert not parts(job)


@pytest.mark.parametrize("ranks, begun", [(None, 1), (2, 2)])  # one after the other; side by side
def test_a_stopped_sweep_begins_no_further_audit(shop, inputs, longer, ranks, begun):
    model, vindexes, _ = inputs
    vindex = [{"name": "f16", "path": str(vindexes["f16"])}]
    job = shop.job(model, vindexes, paths=PATHS, batch={"rows": 8}, prompts=longer, kernel_check=-1,
                   audits=[{"name": n, "model": str(model), "vindexes": vindex} for n in ("audit", "later")])
    done = job.run(ranks=ranks, words=["--max-time", "2s", "--grace", "0"], expect=75)
    assert done.stderr.count("walkaudit: stopped by --max-time") == begun
    assert len(list((job.folder / "results").glob("*.parts"))) == begun
    assert not list((job.folder / "results").glob("*.failed.json"))


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
@pytest.mark.parametrize("rank", [0, 3])
def test_a_signal_in_one_set_of_a_sweep_stops_the_others(shop, inputs, longer, rank, number):
    model, vindexes, _ = inputs
    vindex = [{"name": "f16", "path": str(vindexes["f16"])}]
    job = shop.job(model, vindexes, paths=PATHS, batch={"rows": 8}, prompts=longer, kernel_check=-1, grid={"stages": 2},
                   audits=[{"name": n, "model": str(model), "vindexes": vindex} for n in ("audit", "other")])
    process = start(job, 4)
    wait_for_parts(job, process, 2)
    os.kill(children(process.pid)[rank], number)
    try:
        assert process.wait(timeout=30) == 75
    finally:
        process.kill()
    log = (job.folder / "log").read_text()
    assert "side by side on 2 sets" in log, log
    assert log.count(f"walkaudit: stopped by {number.name}") == 2, log


@pytest.mark.parametrize("text", ["", "5x", "3m2h", "h", "-1", "1.5h", "0", "0s"])
def test_a_wrong_duration_is_a_usage_error(shop, inputs, text):
    done = make(shop, inputs).run(words=["--max-time", text], expect=2)
    assert "--max-time" in done.stderr

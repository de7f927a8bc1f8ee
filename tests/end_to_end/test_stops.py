"""Runs that are asked to stop: by a signal on any rank, or by --max-time. Design 11.

They wait in a slow kernel (harness.slowly), so that they are at work when they are told.
"""
import os
import re
import signal
import time

import pytest

import harness
from harness import assert_equal_bits, children, corpus, one_error_line, parts, slow_path, slowly, start, wait_for_parts



@pytest.fixture(scope="module")
def inputs(shop):
    return (shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")},
            corpus(shop.root / "long.jsonl", 90, seed=5))


def make(shop, inputs, **keys):
    model, vindexes, prompts = inputs
    paths = [{"path": "sparse"}, slow_path()]
    return shop.job(model, vindexes, **{"paths": paths, "batch": {"rows": 8}, "prompts": prompts, "kernel_check": "none", **keys})


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
    harness.wait_until_gone(job)
    there = harness.prompts_done(job)
    told = harness.run(["status", job.result_path], expect=75).stdout
    assert re.search(rf"unfinished, {there} of \d+ prompts done", told), told
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
    process = start(job, ranks, ["--set", f"grid.stages={stages}", "--set", f"grid.teams={teams}"], **slowly())
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
    process = start(job, 2, **slowly())
    wait_for_parts(job, process, 4)
    began = time.monotonic()
    process.terminate()
    assert process.wait(timeout=30) != 0
    assert time.monotonic() - began < 10
    is_resumable(job, reference, lock_may_stand=True)  # mpirun kills its ranks after a second, come what may


def run_until(holds, job, grace, limits, milliseconds=60, ranks=None):
    """With more and more --max-time, until holds(): on a busy machine the first may be up before any batch is begun."""
    for limit in limits:
        done = job.run(ranks=ranks, words=["--max-time", f"{limit}s", "--grace", grace], expect=None, **slowly(milliseconds))
        if holds():
            break
    assert done.returncode == 75, done.stderr
    return done


def test_max_time_stops_with_75(shop, inputs, reference):
    job = make(shop, inputs)
    done = run_until(lambda: parts(job), job, "1s", (2, 5, 15), ranks=2)
    assert "stopped by --max-time" in one_error_line(done)
    is_resumable(job, reference)


def test_what_fits_into_the_grace_is_finished(shop, inputs):
    """Two batches of four seconds: the time is up in the middle of the first, and what is begun ends within the grace."""
    model, vindexes, _ = inputs
    job = make(shop, (model, vindexes, corpus(shop.root / "two.jsonl", 8, seed=9)), batch={"rows": 36})
    done = run_until(lambda: parts(job), job, "100s", (2, 5, 8, 11), 500)
    assert re.search(r"with [1-7] of 8 prompts done", one_error_line(done)) and len(parts(job)) == 1


def test_what_the_lead_of_a_team_has_begun_is_finished(shop, inputs):
    """Four batches of four seconds: the time is up while the member with the slow case is at the first, and the lead, which is
    done with that, has begun the second."""
    model, vindexes, _ = inputs
    job = make(shop, (model, vindexes, corpus(shop.root / "four.jsonl", 8, seed=9)), batch={"rows": 18},
               grid={"teams": 2}, paths=[slow_path(), {"path": "sparse"}])
    done = run_until(lambda: parts(job), job, "100s", (2, 3, 5, 8), 500, ranks=2)
    assert len(parts(job)) in (2, 3) and re.search(r"with [2-7] of 8 prompts done", one_error_line(done)), done.stderr


def test_a_run_that_adds_nothing_is_3_and_names_the_time(shop, inputs):
    job = make(shop, inputs, batch={"rows": 4000})
    for seconds in (1, 3, 9):  # on a busy machine the first may be up before the batch is begun
        done = job.run(words=["--max-time", f"{seconds}s", "--grace", "0"], expect=3, **slowly(300 * seconds))
        line = one_error_line(done)
        assert "stopped by --max-time" in line and not parts(job)
        if "before any batch was done" not in line:
            break
    assert re.search(r"stopped by --max-time before this run had any batch done: one takes more than [\d.]+ s", line)
    assert not parts(job)


def sweep(shop, inputs, *names, **keys):
    """A job of two audits."""
    model, vindexes, _ = inputs
    vindex = [{"name": "f16", "path": str(vindexes["f16"])}]
    return make(shop, inputs, audits=[{"name": n, "model": str(model), "vindexes": vindex} for n in names], **keys)


@pytest.mark.parametrize("ranks, begun", [(None, 1), (2, 2)])  # one after the other; side by side
def test_a_stopped_sweep_begins_no_further_audit(shop, inputs, ranks, begun):
    job = sweep(shop, inputs, "audit", "later")
    folder = job.folder / "results"
    done = run_until(lambda: len({p.parent for p in folder.glob("*.parts/prompts-*.h5")}) == begun, job, "0", (2, 5, 15), ranks=ranks)
    assert done.stderr.count("walkaudit: stopped by --max-time") == begun
    assert len(list(folder.glob("*.parts"))) == begun
    assert not list(folder.glob("*.failed.json"))


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
@pytest.mark.parametrize("rank", [0, 3])
def test_a_signal_in_one_set_of_a_sweep_stops_the_others(shop, inputs, rank, number):
    job = sweep(shop, inputs, "audit", "other", grid={"stages": 2})
    process = start(job, 4, **slowly())
    wait_for_parts(job, process, 2)
    os.kill(children(process.pid)[rank], number)
    try:
        assert process.wait(timeout=30) == 75
    finally:
        process.kill()
    log = (job.folder / "log").read_text()
    assert "side by side on 2 sets" in log, log
    # on a busy machine SIGTERM's patience may end before the other set is done with its layer
    impatient = number == signal.SIGTERM and "ended in the middle of a layer" in log
    assert log.count(f"walkaudit: stopped by {number.name}") in ((1, 2) if impatient else (2,)), log


@pytest.mark.parametrize("text", ["", "5x", "3m2h", "h", "-1", "1.5h", "0", "0s"])
def test_a_wrong_duration_is_a_usage_error(shop, inputs, text):
    done = make(shop, inputs).run(words=["--max-time", text], expect=2)
    assert "--max-time" in done.stderr

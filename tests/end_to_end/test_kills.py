"""kill -9 at random instants: one rank, all ranks, the launcher. Whatever remains is finished by another number of ranks, to the
same bits.

WALKAUDIT_KILLS: instants per kind of victim (2); WALKAUDIT_SEED: of the random numbers (1). tests/README.md has the command for 30.
"""
import os
import random
import signal
import time

import pytest

import harness
from harness import assert_equal_bits, children, corpus, parts, start, wait_until_gone

KILLS = int(os.environ.get("WALKAUDIT_KILLS", "2"))
SEED = int(os.environ.get("WALKAUDIT_SEED", "1"))
PATHS = [{"path": "sparse"}, {"path": "full_mmap"}]
# ranks, stages, teams of the run that is killed, and ranks of the one that goes on
GRIDS = [(2, 1, 1), (3, 3, 1), (3, 1, 3), (4, 2, 2), (4, 2, 1), (2, 2, 1)]


@pytest.fixture(scope="module")
def inputs(shop):
    return (shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")},
            corpus(shop.root / "long.jsonl", 100, seed=5))


def make(shop, inputs):
    model, vindexes, prompts = inputs
    return shop.job(model, vindexes, paths=PATHS, batch={"rows": 8}, prompts=prompts)


@pytest.fixture(scope="module")
def reference(shop, inputs):
    job = make(shop, inputs)
    job.run(ranks=2)
    job.prompts = len(harness.Result(job.result_path)["prompt_rows"])
    return job


def strike(process, victim, rng):
    """kill -9 for those that are still there."""
    members = children(process.pid)
    chosen = {"a rank": members and [rng.choice(members)], "all ranks": members, "the launcher": [process.pid]}[victim]
    for pid in chosen:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def wait_for_end(process):
    """The launcher must end, and by itself, but for a defect of its own: when ranks die while they start, whatever the program, Open
    MPI 4.1.4 with PMIx 4.2.2 may wait for ever in PMIx_server_finalize. So it is ended when none of its ranks was there for long."""
    end, seen = time.monotonic() + 60, time.monotonic()
    while process.poll() is None:
        now = time.monotonic()
        seen = now if children(process.pid) else seen
        if now > seen + 15:
            process.kill()
        assert now < end, "the run goes on without those that were killed"
        time.sleep(0.05)


def wait_for_progress(job, process, count, more):
    """Until so many prompts are done, and a little longer. Below 0: while it starts. Beyond the last part: while it assembles."""
    if count < 0:
        time.sleep(more * 10)
        return
    while process.poll() is None and harness.prompts_done(job) < count and not job.result_path.exists():
        time.sleep(0.001)
    time.sleep(more)


@pytest.mark.parametrize("victim", ["a rank", "all ranks", "the launcher"])
@pytest.mark.parametrize("number", range(KILLS))
def test_what_is_left_after_a_kill_is_finished_to_the_same_bits(shop, inputs, reference, victim, number):
    rng = random.Random(f"{SEED} {victim} {number}")
    ranks, stages, teams = rng.choice(GRIDS)
    job = make(shop, inputs)
    process = start(job, ranks, ["--set", f"grid.stages={stages}", "--set", f"grid.teams={teams}"])
    share, moment = rng.uniform(-0.1, 1.2), rng.uniform(0.0, 0.05)
    wait_for_progress(job, process, min(share, 1.0) * reference.prompts, rng.uniform(0.0, 2.0) if share > 1.0 else moment)
    strike(process, victim, rng)
    try:
        wait_for_end(process)
    finally:
        if process.poll() is None:
            process.kill()
    wait_until_gone(job)
    finished = job.result_path.exists()
    there = len(parts(job))
    if not finished:
        told = harness.run(["status", job.result_path], expect=None)
        assert told.returncode in (3, 75), told.stdout
        assert told.returncode == 75 or there == 0
    other = rng.choice([1, 2, 3, 4])
    job.run(ranks=other)
    assert_equal_bits(reference, job)
    assert not list(job.result_path.parent.glob("*.parts"))
    print(f"{victim} of {ranks} (stages {stages}, teams {teams}) at {share:.2f} of the prompts: "
          f"{'finished' if finished else f'{there} parts'}, gone on with {other}")

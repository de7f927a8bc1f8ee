"""--fresh over audits that are finished: whatever ends such a run, the same command without it computes what it still owed.

WALKAUDIT_KILLS: instants at which a sweep is killed (2); WALKAUDIT_SEED: of the random numbers (1).
"""
import json
import os
import pathlib
import random
import signal
import time

import h5py
import pytest

import harness

KILLS = int(os.environ.get("WALKAUDIT_KILLS", "2"))
SEED = int(os.environ.get("WALKAUDIT_SEED", "1"))
NAMES = ("first", "second", "third")


class Sweep:
    """Three audits of one small model, all finished."""

    def __init__(self, shop, prompts):
        shop.jobs += 1
        self.folder = shop.root / "jobs" / f"{shop.jobs:03d}"
        self.folder.mkdir(parents=True)
        self.path = self.folder / "job.yaml"
        vindexes = [{"name": "f16", "path": str(shop.vindex("tiny-gemma3", "f16"))}]
        audits = [{"name": name, "model": str(shop.model("tiny-gemma3")), "vindexes": vindexes} for name in NAMES]
        self.write(audits=audits, paths=[{"path": "sparse"}, harness.slow_path()], prompts=prompts, batch={"rows": 8})
        self.run()
        self.before = self.identities()

    def write(self, **keys):
        self.keys = {"name": "job", "result": "results", **keys}
        self.path.write_text(json.dumps(self.keys))

    def run(self, ranks=None, words=(), expect=0):
        return harness.run(["run", self.path, *words], ranks, expect=expect)

    def result(self, name):
        return self.folder / "results" / f"job-{name}.h5"

    def owed(self, name):
        return self.folder / "results" / f"job-{name}.h5.parts" / "owed"

    def identities(self):
        """When each result was begun first: another time for one that is computed anew."""
        out = {}
        for name in NAMES:
            with h5py.File(self.result(name)) as file:
                run = file["run/0"]
                out[name] = str(dict(run.attrs)) + str({k: v[()] for k, v in run.items() if isinstance(v, h5py.Dataset)})
        return out

    def states(self):
        told = json.loads(harness.run(["status", self.path, "--json"], expect=None).stdout)
        return {audit["audit"]: audit["state"] for audit in told["audits"]}

    def start_fresh(self, ranks=None, words=(), **extra):
        return harness.start(self, ranks, ["--fresh", *words], **extra)


@pytest.fixture(scope="module")
def prompts(shop):
    return harness.corpus(shop.root / "fresh.jsonl", 12)


def begun(sweep, name):
    return sweep.owed(name).with_name("job.json").exists()


@pytest.mark.parametrize("ranks", [None, 2])
@pytest.mark.parametrize("how", [signal.SIGUSR1, signal.SIGKILL])
def test_audits_that_a_fresh_sweep_had_not_begun_are_computed_anew(shop, prompts, how, ranks):
    sweep = Sweep(shop, prompts)
    process = sweep.start_fresh(ranks, ["--grace", "0"], **harness.slowly(40))
    harness.wait_until(lambda: len(list(sweep.owed("first").parent.glob("prompts-*.h5"))) >= 1, process)
    assert all(sweep.owed(name).exists() for name in ("second", "third")) or ranks == 2
    for pid in [process.pid, *harness.children(process.pid)]:
        os.kill(pid, how)
    process.wait(timeout=60)
    for name in NAMES:
        wait_until_free(sweep, name)
    assert "finished" not in [state for name, state in sweep.states().items() if begun(sweep, name) or sweep.owed(name).exists()]
    harness.run(["status", sweep.path, "--resumable"])
    done = sweep.run(ranks)
    if ranks is None:
        assert done.stderr.count("computed anew: an earlier run asked for that") == 2, done.stderr
    assert "not computed again" not in done.stderr
    after = sweep.identities()
    assert all(after[name] != sweep.before[name] for name in NAMES)
    assert sorted(p.name for p in (sweep.folder / "results").iterdir()) == sorted(f"job-{name}.h5" for name in NAMES)
    assert sweep.run().stderr.count("not computed again") == 3
    assert sweep.identities() == after


def wait_until_free(sweep, name):
    end = time.monotonic() + 60
    while ", running" in harness.run(["status", sweep.result(name)], expect=None).stdout:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("number", range(KILLS))
def test_whenever_a_fresh_sweep_is_killed_no_old_result_is_taken_for_a_new_one(shop, prompts, number):
    rng = random.Random(f"{SEED} fresh {number}")
    sweep = Sweep(shop, prompts)
    process = sweep.start_fresh(rng.choice([None, 1, 2]))
    start = rng.choice(NAMES)
    try:
        harness.wait_until(lambda: sweep.owed(NAMES[-1]).exists(), process)
        while process.poll() is None and sweep.owed(start).exists():
            time.sleep(0.0005)
        time.sleep(rng.choice([0.0, rng.uniform(0.0, 0.02), rng.uniform(0.0, 0.3)]))
    finally:
        for pid in [process.pid, *harness.children(process.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.wait(timeout=60)
    for name in NAMES:
        wait_until_free(sweep, name)
    sweep.run(rng.choice([None, 2, 3]))
    after = sweep.identities()
    assert [name for name in NAMES if after[name] == sweep.before[name]] == []
    assert not list((sweep.folder / "results").glob("*.parts"))


def stop_before_it_begins(sweep, words=()):
    """A fresh sweep that ends in its first audit, so that the third is owed."""
    process = sweep.start_fresh(words=words, **harness.slowly(5000))
    harness.wait_until(lambda: begun(sweep, "first"), process)
    process.kill()
    process.wait(timeout=60)
    wait_until_free(sweep, "first")
    assert sweep.owed("third").exists()


def test_another_job_does_not_replace_what_is_owed_without_being_asked(shop, prompts):
    sweep = Sweep(shop, prompts)
    stop_before_it_begins(sweep)
    old = sweep.result("third").read_bytes()
    line = harness.one_error_line(sweep.run(words=["--audit", "third", "--set", "semantics=larql-2026-05"], expect=3))
    assert "'semantics' differs" in line and "--fresh" in line
    assert sweep.result("third").read_bytes() == old and sweep.owed("third").exists()
    # One that gives the same numbers does: it would call the old result finished.
    done = sweep.run(words=["--audit", "third", "--set", "grid.teams=1"])
    assert "computed anew" in done.stderr and not sweep.owed("third").exists()
    assert sweep.result("third").read_bytes() != old


def test_a_fresh_sweep_of_another_job_goes_on_with_it(shop, prompts):
    sweep = Sweep(shop, prompts)
    words = ["--set", "semantics=larql-2026-05"]
    stop_before_it_begins(sweep, words)
    sweep.run(words=words)
    with h5py.File(sweep.result("third")) as file:
        assert "larql-2026-05" in str(dict(file.attrs))


def test_parts_of_before_are_forgotten_too(shop, prompts):
    sweep = Sweep(shop, prompts)
    sweep.result("third").unlink()
    process = harness.start(sweep, None, ["--audit", "third"], **harness.slowly(40))
    part = lambda: sorted(sweep.owed("third").parent.glob("prompts-*.h5"))
    harness.wait_until(lambda: len(part()) >= 2, process)
    process.kill()
    process.wait(timeout=60)
    wait_until_free(sweep, "third")
    stop_before_it_begins(sweep)
    assert part()
    told = json.loads(harness.run(["status", sweep.result("third"), "--json"], expect=75).stdout)["audits"][0]
    assert (told["state"], told["prompts_done"], told["prompts"]) == ("unfinished", 0, 12)
    assert "all 12 prompts are to be computed anew" in harness.run(["status", sweep.result("third")], expect=75).stdout
    sweep.run()
    with h5py.File(sweep.result("third")) as file:
        assert list(file["run"]) == ["0"]


def test_a_run_that_is_refused_beside_a_living_one_owes_nothing(shop, prompts):
    sweep = Sweep(shop, prompts)
    process = sweep.start_fresh(words=["--audit", "third"], **harness.slowly(40))
    harness.wait_until(lambda: len(list(sweep.owed("third").parent.glob("prompts-*.h5"))) >= 1, process)
    assert "another run is computing this result" in harness.one_error_line(
        sweep.run(words=["--audit", "third", "--fresh"], expect=3))
    assert not sweep.owed("third").exists()
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=60) == 75
    done = sweep.run(words=["--audit", "third"])
    assert "computed anew" not in done.stderr
    with h5py.File(sweep.result("third")) as file:
        assert len(file["run"]) == 2


def test_a_run_that_is_refused_leaves_what_the_living_one_owes(shop, prompts):
    """As when that one found an input changed: what it recorded is not the refused one's to take back."""
    sweep = Sweep(shop, prompts)
    process = sweep.start_fresh(words=["--audit", "third"], **harness.slowly(40))
    harness.wait_until(lambda: len(list(sweep.owed("third").parent.glob("prompts-*.h5"))) >= 1, process)
    record = f"{64 * 'a'} {32 * 'b'}\n"
    sweep.owed("third").write_text(record)
    sweep.run(words=["--audit", "third", "--fresh"], expect=3)
    assert sweep.owed("third").read_text() == record
    process.kill()
    process.wait(timeout=60)
    wait_until_free(sweep, "third")
    assert "computed anew" in sweep.run(words=["--audit", "third"]).stderr


def test_nothing_is_owed_where_nothing_stands(shop, prompts):
    sweep = Sweep(shop, prompts)
    sweep.result("third").unlink()
    stop = sweep.start_fresh(**harness.slowly(5000))
    harness.wait_until(lambda: begun(sweep, "first"), stop)
    assert sweep.owed("second").exists() and not sweep.owed("third").parent.exists()
    stop.kill()
    stop.wait(timeout=60)


def test_an_owed_record_that_is_damaged_counts(shop, prompts):
    sweep = Sweep(shop, prompts)
    sweep.owed("third").parent.mkdir()
    sweep.owed("third").write_text("")
    assert "computed anew" in sweep.run(words=["--audit", "third"]).stderr
    assert not pathlib.Path(sweep.owed("third").parent).exists()

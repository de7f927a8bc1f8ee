"""Sweeps: many audits in one allocation give the bits they give alone, whatever becomes of their neighbours."""
import json
import os
import pathlib
import re
import sys

import h5py
import pytest

import harness

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from compare_results import differences  # noqa: E402

MODELS = {"gemma": "tiny-gemma3", "llama": "tiny-llama", "qwen": "qwen2", "linear": "llama-linear"}
PATHS = [{"path": "full_mmap"}, {"path": "exact"}]


class Sweep:
    """A job of the four models, or of some, and of others that are broken."""

    def __init__(self, shop, audits, broken=None, **keys):
        shop.jobs += 1
        self.folder = shop.root / "jobs" / f"{shop.jobs:03d}"
        self.folder.mkdir(parents=True)
        self.path = self.folder / "job.yaml"
        self.entries = [self.entry(shop, name) for name in audits]
        for at, (name, model, vindex) in enumerate(broken or []):
            self.entries.insert(2 * at, {"name": name, "model": str(model), "vindexes": [{"name": "v", "path": str(vindex)}]})
        self.path.write_text(json.dumps({"name": "job", "audits": self.entries, "paths": PATHS, "result": "results",
                                         "batch": {"rows": 8}, **keys}))

    @staticmethod
    def entry(shop, name):
        model = MODELS[name]
        vindexes = [{"name": v, "path": str(shop.vindex(model, v))} for v in ("f32", "f16")]
        return {"name": name, "model": str(shop.model(model)), "vindexes": vindexes}

    def run(self, ranks=None, words=(), expect=0):
        return harness.run(["run", self.path, *words], ranks, expect=expect)

    def result(self, name):
        return self.folder / "results" / f"job-{name}.h5"

    def left(self):
        folder = self.folder / "results"
        return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


@pytest.fixture(scope="module")
def alone(shop):
    """Each audit in a job of its own, without mpirun."""
    out = {}
    for name in MODELS:
        out[name] = Sweep(shop, [name])
        out[name].run()
    return out


@pytest.fixture
def broken(shop):
    """An audit without a model, one with a malformed vindex, one with another model's vindex."""
    return [("nothing", shop.root / "nowhere", shop.vindex("qwen2", "f32")),
            ("malformed", shop.model("qwen2"), harness.GOLDEN / "malformed" / "vindex" / "gate-truncated"),
            ("mismatch", shop.model("tiny-llama"), shop.vindex("tiny-gemma3", "f32"))]


def assert_as_alone(sweep, alone, names=MODELS):
    for name in names:
        found = [line for line in differences(alone[name].result(name), sweep.result(name)) if "job_text" not in line]
        assert not found, f"{name}\n" + "\n".join(found[:20])


def tables(done):
    """The audits whose tables were printed, in order: each begins with its name and ends with `next:`."""
    heads = re.findall(r"^(\w+): .* semantics ", done.stdout, re.MULTILINE)
    ends = re.findall(r"^next: .*walkaudit report .*/job-(\w+)\.h5", done.stdout, re.MULTILINE)
    assert heads == ends, done.stdout
    return heads


def ranks_of(path):
    with h5py.File(path) as file:
        runs = list(file["run"].values())
        return [int(run.attrs["ranks"] if "ranks" in run.attrs else run["ranks"][()]) for run in runs]


@pytest.mark.parametrize("ranks", [None, 2, 3, 4])
def test_a_sweep_gives_the_bits_of_each_alone_in_the_jobs_order(shop, alone, ranks):
    sweep = Sweep(shop, MODELS)
    done = sweep.run(ranks=ranks)
    assert_as_alone(sweep, alone)
    assert tables(done) == list(MODELS)
    assert sweep.left() == sorted(f"job-{name}.h5" for name in MODELS)


def test_small_audits_run_side_by_side_and_say_so(shop):
    """Four audits of a few milliseconds on four ranks: each has a rank, since opening cannot be shared."""
    sweep = Sweep(shop, MODELS)
    done = sweep.run(ranks=4)
    assert "side by side on 4 sets" in done.stderr
    assert sorted(re.findall(r"^sweep: ranks (\d) to \1: ", done.stderr, re.MULTILINE)) == ["0", "1", "2", "3"]
    for name in MODELS:
        assert ranks_of(sweep.result(name)) == [1]
        assert re.search(rf"^\[{name}\] audit {name}: ", done.stderr, re.MULTILINE), done.stderr


@pytest.mark.parametrize("ranks", [None, 2, 4])
def test_broken_audits_are_recorded_and_disturb_no_other(shop, alone, broken, ranks):
    sweep = Sweep(shop, MODELS, broken)
    done = sweep.run(ranks=ranks, expect=3)
    assert_as_alone(sweep, alone)
    assert tables(done) == list(MODELS)
    lines = [line for line in done.stderr.splitlines() if line.startswith("walkaudit: ")]
    assert len(lines) == 3
    for name, word in (("nothing", "nowhere"), ("malformed", "gate-truncated"), ("mismatch", "tiny-llama")):
        assert sum(word in line and f"in audit '{name}'" in line for line in lines) == 1, lines
        record = json.loads((sweep.folder / "results" / f"job-{name}.failed.json").read_text())
        assert record["audit"] == name and record["exit_code"] == 3 and word in record["reason"]
    assert len(sweep.left()) == len(MODELS) + 3


def test_ranks_that_are_done_early_begin_what_others_have_not(shop):
    """Two sets of one rank with two audits each. Those of one are being computed by another run, as far as it can see, so it is done with
    them at once, while the first of the other set waits in a slow kernel: it begins the second."""
    prompts = shop.root / "ten.jsonl"
    prompts.write_text("".join(json.dumps({"key": f"p{i}", "text": f"the {i}th of ten"}) + "\n" for i in range(10)))
    sweep = Sweep(shop, MODELS, paths=[PATHS[0], harness.slow_path()], prompts={"file": str(prompts)})
    planned = harness.run(["plan", sweep.path, "--ranks", 2]).stdout
    first, second = (re.search(rf"^ +ranks {r} to {r}: (.*)$", planned, re.MULTILINE)[1].split() for r in (0, 1))
    assert len(first) == len(second) == 2
    for name in first:
        lock = sweep.result(name).with_name(f"job-{name}.h5.parts") / "lock"
        lock.parent.mkdir(parents=True)
        lock.write_text(json.dumps({"host": os.uname().nodename, "process": os.getpid(), "start": 0, "slurm_job": ""}))
    done = harness.run(["run", sweep.path], 2, expect=3, **harness.slowly())
    assert done.stderr.count("another run is computing this result") == 2
    assert f"sweep: ranks 0 to 0 have time for {second[1]}\n" in done.stderr
    assert tables(done) == second


def test_only_failed_runs_those_again(shop, alone, broken):
    sweep = Sweep(shop, ["gemma", "qwen"], broken[:1])
    sweep.run(ranks=3, expect=3)
    before = sweep.result("gemma").stat().st_mtime_ns
    again = sweep.run(ranks=2, words=["--only-failed"], expect=3)
    assert "gemma" not in again.stderr
    assert again.stdout.split("; ") == ["\nsweep: 0 of 1 audits finished, 0 of them with a verdict that fails", "exit code 3\n"]
    mended = json.loads(sweep.path.read_text())
    mended["audits"][0]["model"] = str(shop.model("qwen2"))
    sweep.path.write_text(json.dumps(mended))
    done = sweep.run(ranks=2, words=["--only-failed"])
    assert tables(done) == ["nothing"]
    assert sweep.left() == ["job-gemma.h5", "job-nothing.h5", "job-qwen.h5"]
    assert sweep.result("gemma").stat().st_mtime_ns == before
    assert "no audit is left" in sweep.run(words=["--only-failed"]).stderr


def test_audits_can_be_named(shop, alone):
    sweep = Sweep(shop, MODELS)
    done = sweep.run(ranks=2, words=["--audit", "qwen", "--audit", "gemma"])
    assert tables(done) == ["gemma", "qwen"]
    assert_as_alone(sweep, alone, ["gemma", "qwen"])
    assert sweep.left() == ["job-gemma.h5", "job-qwen.h5"]
    line = harness.one_error_line(sweep.run(words=["--audit", "gemini"], expect=2))
    assert "gemini" in line and "gemma" in line


def test_tasks_of_an_array_share_the_audits(shop, alone, broken):
    sweep = Sweep(shop, MODELS, broken[:1])  # nothing, gemma, llama, qwen, linear
    assert tables(sweep.run(words=["--array-index", "1/3"])) == ["gemma", "linear"]
    assert tables(sweep.run(ranks=2, words=["--array-index", "0/3"], expect=3)) == ["qwen"]
    assert tables(sweep.run(words=["--array-index", "2/3"])) == ["llama"]
    assert "no audit is left" in sweep.run(words=["--array-index", "5/6"]).stderr
    assert_as_alone(sweep, alone)
    for word in ("5", "3/3", "-1/3", "0/0", "1/3x", "a/b"):
        assert "array-index" in harness.run(["run", sweep.path, f"--array-index={word}"], expect=2).stderr


def test_the_gravest_code_wins(shop, broken):
    """A failed verdict is 1, an audit that cannot run 3: 3 outranks 1."""
    bounds = "exact: {cos: 1.0, rel_l2: 1.0e-12}\n"
    sweep = Sweep(shop, ["gemma", "qwen"], bounds="bounds.yaml")
    (sweep.folder / "bounds.yaml").write_text(bounds)
    sweep.run(ranks=2, expect=1)
    assert sweep.left() == ["job-gemma.h5", "job-qwen.h5"]  # judged, and no failure to run
    worse = Sweep(shop, ["gemma", "qwen"], broken[:1], bounds="bounds.yaml")
    (worse.folder / "bounds.yaml").write_text(bounds)
    worse.run(ranks=2, expect=3)


def test_a_finished_sweep_is_printed_again(shop):
    sweep = Sweep(shop, MODELS)
    first = sweep.run(ranks=2)
    times = {name: sweep.result(name).stat().st_mtime_ns for name in MODELS}
    again = sweep.run(ranks=4)
    assert tables(again) == tables(first)
    assert times == {name: sweep.result(name).stat().st_mtime_ns for name in MODELS}


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_result_tells_where_its_ranks_ran(shop, ranks):
    """Processors are a list of this machine's; memory is limited by something, or by a job's own limit."""
    sweep = Sweep(shop, ["gemma"])
    harness.run(["run", sweep.path], ranks, SLURM_MEM_PER_NODE="900")
    with h5py.File(sweep.result("gemma")) as file:
        run = dict(file["run"]["0"].attrs)
    assert len(run["rank_host"]) == len(run["rank_cpus"]) == len(run["rank_blas"]) == ranks == run["ranks"]
    assert set(run["rank_host"]) == {run["host"]}
    assert all(re.fullmatch(r"[0-9,.-]+", cpus) for cpus in run["rank_cpus"])
    assert set(run["rank_blas"]) == {f"{run['blas_core']} x 1"}
    assert 0 < run["node_memory"] <= 900 << 20
    assert run["node_memory_limited_by"] in ("SLURM_MEM_PER_NODE", "cgroup", "MemAvailable")


def test_more_threads_than_processors_are_a_warning(shop):
    sweep = Sweep(shop, ["gemma"], threads=500)
    done = sweep.run()
    assert "may use" in done.stderr and "warning: rank 0 on host" in done.stderr


def test_a_node_without_the_memory_is_refused(shop):
    """One megabyte does not hold a rank: one line that says how much each needs."""
    sweep = Sweep(shop, ["gemma"])
    done = harness.run(["run", sweep.path], 2, expect=3, SLURM_MEM_PER_NODE="1")
    line = harness.one_error_line(done)
    assert "2 ranks of a node need" in line and "1048576" in line

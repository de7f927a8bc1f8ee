"""What `plan` foretells is what `run` does: messages and bytes exactly, memory within a few MB, grids and sets of a sweep."""
import json
import os
import random
import re

import h5py
import pytest

import harness

PATHS = [{"path": "sparse"}, {"path": "full_mmap"}, {"path": "sparse_serial", "k": 32}]
# ranks, stages, teams: 0 = chosen. The model has 4 layers.
GRIDS = [(1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0), (2, 2, 1), (4, 4, 1), (3, 1, 3), (4, 2, 2), (4, 1, 2), (4, 2, 1)]


@pytest.fixture(scope="module")
def keys(shop):
    rng = random.Random(3)
    path = shop.root / "plans.jsonl"
    path.write_text("".join(json.dumps({"key": f"p{i}", "ids": [rng.randrange(3, 700) for _ in range(rng.randrange(1, 13))]}) + "\n"
                            for i in range(20)))
    return {"paths": PATHS, "batch": {"rows": 8}, "prompts": {"file": str(path)}}


def job_of(shop, keys):
    return shop.job(shop.model("tiny-gemma3"), {v: shop.vindex("tiny-gemma3", v) for v in ("f32", "f16")}, **keys)


def foretold(done):
    found = re.search(r"^messages: (\d+) of (\d+) bytes in all, (\d+) bytes to rank 0$", done.stdout, re.MULTILINE)
    return [int(n) for n in found.groups()]


def counted(path):
    with h5py.File(path) as file:
        run = file["run"]["0"].attrs
        return [int(run[name]) for name in ("messages", "message_bytes", "message_bytes_to_rank_0")], int(run["groups"])


@pytest.mark.parametrize("ranks, stages, teams, logits", [(*grid, "last") for grid in GRIDS] + [(*grid, "all") for grid in GRIDS[4:]])
def test_messages_and_bytes_are_those_foretold(shop, keys, ranks, stages, teams, logits):
    job = job_of(shop, keys)
    words = ["--set", f"grid.stages={stages}", "--set", f"grid.teams={teams}", "--set", f"logits={logits}"]
    plan = foretold(harness.run(["plan", job.path, "--ranks", ranks, *words]))
    job.run(ranks=ranks, words=words)
    run, groups = counted(job.result_path)
    assert plan[:2] == run[:2]
    if groups == 1:  # else groups compete for batches: how many orders and blocks rank 0 gets depends on their speed
        assert plan == run
    assert run[2] <= run[1]


def test_every_group_has_a_batch_before_any_has_two(shop, keys):
    """With a batch for each group it is known, then, who sends what to rank 0."""
    path = shop.root / "even.jsonl"
    path.write_text("".join(json.dumps({"key": f"p{i}", "ids": [5, 6, 7 + i, 8]}) + "\n" for i in range(4)))
    job = job_of(shop, {**keys, "batch": {"rows": 4}, "prompts": {"file": str(path)}})
    words = ["--set", "grid.stages=1", "--set", "grid.teams=1"]
    plan = harness.run(["plan", job.path, "--ranks", 4, *words])
    assert re.search(r"^batches: 4 of .*\n.* 4 groups x 1 stage x teams of 1; 0 idle$", plan.stdout, re.MULTILINE)
    for _ in range(3):
        job.run(ranks=4, words=["--fresh", *words])
        assert foretold(plan) == counted(job.result_path)[0]


def test_a_batch_goes_to_the_group_that_is_free_first(shop, keys):
    """Of 40, 24 and 22 rows: the last, which rank 0's own group takes with its 24, since it is through with most of those first."""
    path = shop.root / "uneven.jsonl"
    path.write_text("".join(json.dumps({"key": f"p{rows}", "ids": [5] * rows}) + "\n" for rows in (40, 24, 22)))
    job = job_of(shop, {**keys, "paths": [{"path": "sparse"}, harness.slow_path()], "batch": {"rows": 40}, "prompts": {"file": str(path)}})
    words = ["--set", "grid.stages=1", "--set", "grid.teams=1"]
    plan = harness.run(["plan", job.path, "--ranks", 2, *words])
    assert re.search(r"^batches: 3 of .*\n.* 2 groups x 1 stage x teams of 1; 0 idle$", plan.stdout, re.MULTILINE)
    job.run(ranks=2, words=words, WALKAUDIT_TEST_ROW_DELAY="3")
    run = counted(job.result_path)[0]
    assert foretold(plan) == run
    assert run[2] > run[1] / 3  # results of two of the batches came to rank 0, from itself: of 24 rows alone a quarter of the bytes


@pytest.mark.parametrize("ranks, stages, teams, logits", [(1, 1, 1, "last"), (1, 1, 1, "all"), (2, 1, 2, "last"), (4, 4, 1, "last"),
                                                         (4, 2, 2, "all")])
def test_memory_is_what_was_foretold(shop, keys, ranks, stages, teams, logits):
    """The formula counts what a group's writer may hold at once; beside it arenas hold the model's names, texts and unused ends."""
    rng = random.Random(5)
    path = shop.root / "memory.jsonl"
    path.write_text("".join(json.dumps({"key": f"p{i}", "ids": [rng.randrange(3, 700) for _ in range(256)]}) + "\n" for i in range(16)))
    job = job_of(shop, {**keys, "batch": {"rows": 1024}, "kernel_check": 0, "prompts": {"file": str(path)}})
    words = ["--set", f"grid.stages={stages}", "--set", f"grid.teams={teams}", "--set", f"logits={logits}"]
    plan = harness.run(["plan", job.path, "--ranks", ranks, "--gflops", "40", *words])
    value, unit = re.search(r"^memory:  ([\d.]+) ([kMG]?)B per rank", plan.stdout, re.MULTILINE).groups()
    foretold_bytes = float(value) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[unit]
    job.run(ranks=ranks, words=words)
    with h5py.File(job.result_path) as file:
        held = float(file["run"]["0"].attrs["arena_bytes_per_rank_max"])
    assert 0.8 * held < foretold_bytes < 1.2 * held


def test_several_numbers_of_ranks_are_compared(shop, keys):
    job = job_of(shop, keys)
    done = harness.run(["plan", job.path, "--ranks", "1,8,512", "--nodes", "4", "--gflops", "40"])
    rows = [line.split() for line in done.stdout.splitlines() if re.match(r"^ *\d+ +\d+ x \d+ x \d+ ", line)]
    assert [row[0] for row in rows] == ["1", "8", "512"]
    for row in rows:
        ranks, groups, stages, teams, idle = (int(row[i]) for i in (0, 1, 3, 5, 6))
        assert groups * stages * teams + idle == ranks
    assert "40.0 GFLOP/s a rank (as given)" in done.stdout
    one = harness.run(["plan", job.path, "--ranks", "8", "--nodes", "1"])
    assert str(foretold(one)[0]) in rows[1]
    assert re.search(r"512 ranks: .* below 4 per group", done.stderr)


@pytest.mark.parametrize("engine", ["walkaudit", "blas"])
def test_the_rate_is_that_of_the_engine_of_the_job(shop, keys, engine):
    job = job_of(shop, keys)
    words = ["--set", f"engine={engine}"]
    for ranks in ("1", "1,2"):
        done = harness.run(["plan", job.path, "--ranks", ranks, *words])
        rate = re.search(r"at ([\d.]+)(?: to [\d.]+)? GFLOP/s a rank \(measured here, engine (\w+)\)", done.stdout)
        assert float(rate[1]) > 0.0 and rate[2] == engine


def test_the_rate_is_that_of_a_node_whose_ranks_all_compute(shop, keys):
    """As many at once as a node has ranks, but no more than there are processors here; one product of BLAS."""
    job = job_of(shop, keys)
    at_once = min(3, len(os.sched_getaffinity(0)))
    said = f"measured here, {at_once} at once, engine" if at_once > 1 else "measured here, engine"
    assert said in harness.run(["plan", job.path, "--ranks", "3"]).stdout
    assert said in harness.run(["plan", job.path, "--ranks", "12", "--nodes", "4"]).stdout
    assert "measured here, engine" in harness.run(["plan", job.path, "--ranks", "3", "--set", "engine=blas"]).stdout


@pytest.mark.parametrize("ranks", [1, 2])
def test_utilisation_is_kept_beside_what_was_foretold(shop, keys, ranks):
    job = job_of(shop, keys)
    done = harness.run(["plan", job.path, "--ranks", str(ranks), "--gflops", "40"])
    job.run(ranks=ranks)
    with h5py.File(job.result_path) as file:
        run = {key: float(file["run"]["0"].attrs[key]) for key in file["run"]["0"].attrs if key.startswith("seconds_") or "utilisation" in key or key == "processor_seconds_lent"}
    spent = sum(value for key, value in run.items() if key.startswith("seconds_"))
    waited = max(run["seconds_wait"] - run["processor_seconds_lent"], 0.0)
    assert run["utilisation"] == pytest.approx(1.0 - waited / spent, abs=1e-9)
    foretold_share = float(re.search(r"predicted utilisation (\d+) %", done.stdout)[1]) / 100
    assert run["predicted_utilisation"] == pytest.approx(foretold_share, abs=0.0051)


@pytest.mark.parametrize("words", [["--ranks", "0"], ["--ranks", "1,x"], ["--ranks", ","], ["--gflops", "0"], ["--gflops", "nan"],
                                   ["--nodes", "-1"], ["--mem", "1Q"]])
def test_wrong_words_are_refused(shop, keys, words):
    assert words[0][2:] in harness.run(["plan", job_of(shop, keys).path, *words], expect=2).stderr


def test_the_memory_of_a_node_decides_the_stages(shop, keys):
    """The files' 20 MB do not fit into 24 MB beside two ranks' arenas, so two nodes share the layers; 1 MB holds no rank."""
    job = job_of(shop, keys)
    wide = harness.run(["plan", job.path, "--ranks", "4", "--nodes", "2"])
    assert re.search(r"x 1 stage x", wide.stdout)
    tight = harness.run(["plan", job.path, "--ranks", "4", "--nodes", "2", "--mem", "24M"])
    assert re.search(r"x 2 stages x", tight.stdout)
    assert "need" in harness.one_error_line(harness.run(["plan", job.path, "--ranks", "4", "--mem", "1M"], expect=3))


def test_a_sweep_is_planned_as_it_runs(shop, keys):
    job = job_of(shop, keys)
    text = json.loads(job.path.read_text())
    text["audits"] = [{**text["audits"][0], "name": name} for name in ("a", "b", "c")]
    text["audits"].append({**text["audits"][0], "name": "broken", "model": str(shop.root / "nowhere")})
    job.path.write_text(json.dumps(text))
    plan = harness.run(["plan", job.path, "--ranks", "4"], expect=3)
    sets = {name: (int(a), int(b)) for a, b, names in re.findall(r"^ +ranks (\d+) to (\d+): (.*)$", plan.stdout, re.MULTILINE)
            for name in names.split()}
    assert sorted(sets) == ["a", "b", "broken", "c"]
    run = job.run(ranks=4, expect=3)
    said = {name: (int(a), int(b)) for a, b, name in re.findall(r"^sweep: ranks (\d+) to (\d+): (.*)$", run.stderr, re.MULTILINE)}
    assert said == sets
    reasons = [re.search(r"^sweep: +(4 audits, side by side on \d sets of ranks, .*)$", text, re.MULTILINE)[1]
               for text in (plan.stdout, run.stderr)]
    assert reasons[0] == reasons[1]
    for name in "abc":
        path = job.folder / "results" / f"job-{name}.h5"
        with h5py.File(path) as file:
            assert file["run"]["0"].attrs["ranks"] == sets[name][1] - sets[name][0] + 1


@pytest.mark.parametrize("shape, layers, size", [("8b", 32, 16e9), ("70b", 80, 141e9)])
def test_a_model_for_planning_takes_no_room(shop, shape, layers, size):
    path = shop.root / f"holes-{shape}"
    done = harness.run(["synth", str(path), "--family", "llama", "--shape", shape, "--no-weights"])
    assert f"{layers} layers" in done.stdout
    info = (path / "model.safetensors").stat()
    assert info.st_size == pytest.approx(size, rel=0.01)
    assert info.st_blocks * 512 < 1 << 20
    assert f"{layers}" in harness.run(["inspect", str(path)]).stdout

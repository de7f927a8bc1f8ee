"""The same job gives the same bits: any number of ranks, any grid, after any resume; and with other cases beside it."""
import os
import signal

import h5py
import numpy as np
import pytest

import harness
from harness import assert_equal_bits, children, corpus, parts, slow_path, slowly, start, wait_for_parts

PATHS = [{"path": "sparse"}, {"path": "full_mmap"}, {"path": "exact"}, {"path": "sparse_serial"},
         {"path": "sparse_serial", "k": 32}]
# ranks, stages, teams: 0 = chosen. The model has 4 layers.
GRIDS = [(1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0), (2, 2, 1), (3, 3, 1), (4, 4, 1), (2, 1, 2), (3, 1, 3), (4, 1, 4),
         (4, 2, 2), (4, 2, 1), (2, 1, 1)]


@pytest.fixture(scope="module")
def inputs(shop):
    vindexes = {v: shop.vindex("tiny-gemma3", v) for v in ("f32", "f16")}
    return shop.model("tiny-gemma3"), vindexes, corpus(shop.root / "corpus.jsonl", 14)


def make(shop, inputs, **keys):
    model, vindexes, prompts = inputs
    keys = {"paths": PATHS, "batch": {"rows": 8}, "prompts": prompts, "kernel_check": -1, **keys}
    return shop.job(model, vindexes, **keys)


@pytest.fixture(scope="module")
def reference(shop, inputs):
    job = make(shop, inputs)
    job.run()  # without mpirun
    return job


@pytest.mark.parametrize("ranks, stages, teams", GRIDS)
def test_any_grid_gives_the_same_bits(shop, inputs, reference, ranks, stages, teams):
    job = make(shop, inputs)
    job.run(ranks=ranks, sets=(f"grid.stages={stages}", f"grid.teams={teams}"))
    assert_equal_bits(reference, job)
    assert not list((job.folder / "results").glob("*.parts"))


@pytest.mark.skipif("WALKAUDIT_OTHER" not in os.environ, reason="WALKAUDIT_OTHER names no program of another MPI")
def test_another_mpi_gives_the_same_bits(shop, inputs, reference):
    """And it is another: each names its own."""
    job = make(shop, inputs)
    job.run(program=os.environ["WALKAUDIT_OTHER"])
    libraries = []
    for path in (reference.result_path, job.result_path):
        with h5py.File(path) as file:
            libraries.append(file["run"]["0"].attrs["mpi"])
    assert libraries[0] != libraries[1]
    found = [line for line in harness.differences(reference.result_path, job.result_path) if "job_text" not in line]
    assert found in ([], ["/: attribute 'source' differs"]), "\n".join(found[:20])  # the other may be of another commit


@pytest.fixture(scope="module")
def everywhere(shop, inputs):
    job = make(shop, inputs, logits="all")
    job.run()
    return job


@pytest.mark.parametrize("ranks, stages, teams", [(2, 0, 0), (3, 3, 1), (3, 1, 3), (4, 2, 2)])
def test_logits_of_all_positions_have_the_same_bits_too(shop, inputs, everywhere, ranks, stages, teams):
    job = make(shop, inputs, logits="all")
    job.run(ranks=ranks, sets=(f"grid.stages={stages}", f"grid.teams={teams}"))
    assert_equal_bits(everywhere, job)


def test_logits_of_all_positions_only_add(reference, everywhere):
    """What does not come from the head is the same, and `logits: last` has none of the new datasets."""
    last, all_ = harness.Result(reference.result_path), harness.Result(everywhere.result_path)
    more = set(all_.data) - set(last.data)
    assert set(last.data) <= set(all_.data) and {"obs_kl", "obs_ref_margin", "mean_kl", "ppl_ratio_upper"} <= more
    known = ("obs_", "mean_kl", "p99_kl", "flip_", "far_flip_", "mean_next_", "ppl_", "n_next", "n_distinct", "n_clusters",
             "n_rated", "rated_", "bound_")
    assert not (others := [name for name in more if not name.startswith(known)]), others
    for name in ("rel_l2", "drift", "eta", "kernel_rel_l2", "h_norm", "label", "row_err_max", "verdict", "min_cos"):
        assert same(all_[name], last[name]), name


@pytest.mark.parametrize("ranks", [1, 3])
def test_another_case_changes_no_logit_of_the_others(shop, inputs, everywhere, ranks):
    model, vindexes, prompts = inputs
    fewer = shop.job(model, {"f16": vindexes["f16"]}, paths=[PATHS[4], PATHS[1]], batch={"rows": 8}, prompts=prompts,
                     kernel_check=-1, logits="all")
    part, whole = fewer.result(ranks=ranks), harness.Result(everywhere.result_path)
    names = [name for name in part.data if name.startswith("obs_") or name in ("mean_kl", "p99_kl", "ppl_ratio_err")]
    assert len(names) >= 17
    for name in names:
        if name.startswith("obs_ref_") or part[name].ndim == 1 and name.startswith("obs_"):
            assert same(part[name], whole[name]), name
        else:
            for case in part.cases:
                assert same(part.case(case, name), whole.case(case, name)), f"{name} of {case}"


def test_rates_have_their_verdict_and_their_table(reference, everywhere):
    bounds = everywhere.folder / "bounds.yaml"
    bounds.write_text("exact: {mean_kl: 1e-4, ppl_ratio: 1.01}\napproximate: {mean_kl: 1e-9, p99_kl: 1}\n")
    done = harness.run(["verdict", everywhere.result_path, "--bounds", bounds], expect=1)
    assert "Next tokens at all " in done.stdout and "PPL ratio" in done.stdout
    lines = [line for line in done.stdout.splitlines() if ": RATE: " in line]
    assert len(lines) == 4 and all("sparse_serial:k32: RATE: " in line for line in lines), done.stdout
    assert sum("mean_kl" in line and "upper 95 % limit" in line and "would pass" in line for line in lines) == 2
    assert sum("p99_kl" in line and "too few" in line for line in lines) == 2
    assert max(len(line) for line in done.stdout.split("Next tokens at all ")[1].splitlines()[:12]) <= 110
    plain = harness.run(["verdict", reference.result_path, "--bounds", bounds], expect=1)
    assert plain.stdout.count("run the job with logits: all") == 20 and "Next tokens at all" not in plain.stdout


# Every path but external (test_external.py, test_external_file.py), and every payload it may read; `full_mmap` is in PATHS.
EVERY_PATH = {
    "q4k": ["sparse", "sparse_serial", "sparse_parallel", "interleaved_q4k", "sparse_serial:k100", "sparse_parallel:k100"],
    "q4k-fm": ["sparse_serial"], "q4k-nogate": ["sparse"], "q4_0": ["interleaved_q4"],
    "fp4a": ["fp4_storage"], "fp4b": ["sparse", "sparse_serial", "fp4_storage", "sparse_serial:k100"], "fp4c": ["fp4_storage"],
    "interleaved-and-features": ["interleaved", "exact", "weights_fallback:k100"],
}


def every_path(shop, inputs):
    model, _, prompts = inputs
    only = {v: [{"path": path.split(":k")[0], **({"k": int(path.split(":k")[1])} if ":k" in path else {})} for path in paths]
            for v, paths in EVERY_PATH.items()}
    return shop.job(model, {v: shop.vindex("tiny-gemma3", v) for v in EVERY_PATH}, only, batch={"rows": 8}, prompts=prompts,
                    kernel_check=-1)


@pytest.fixture(scope="module")
def every_reference(shop, inputs):
    job = every_path(shop, inputs)
    job.run()
    result = harness.Result(job.result_path)
    assert sorted(result.cases) == sorted(f"{v}:{path}" for v, paths in EVERY_PATH.items() for path in paths)
    for case, verdict in result.verdicts().items():
        assert verdict == ("PASS" if case.endswith((":interleaved", ":exact")) else "MEASURED"), case
    return job


@pytest.mark.parametrize("ranks, stages, teams", [(1, 0, 0), (2, 0, 0), (2, 2, 1), (3, 1, 3), (4, 0, 0), (4, 2, 2)])
def test_any_grid_gives_the_same_bits_of_every_path(shop, inputs, every_reference, ranks, stages, teams):
    job = every_path(shop, inputs)
    job.run(ranks=ranks, sets=(f"grid.stages={stages}", f"grid.teams={teams}"))
    assert_equal_bits(every_reference, job)


def test_work_is_counted(reference):
    """One dense evaluation per layer and prompt, however many vindexes and cases; two walks per case."""
    result = harness.Result(reference.result_path)
    assert len(result.cases) == 10
    assert np.all(result["dense_evaluations"] == 1)
    assert result["dense_evaluations"].shape == (4, 14)
    assert np.all(result["walk_evaluations"] == 2)
    batches = harness.batches(reference.result_path)
    assert len(batches) > 4 and sum(batches) == 14


def run_attribute(job, name):
    with h5py.File(job.result_path) as file:
        return file["run"]["0"].attrs[name]


@pytest.mark.parametrize("ranks", [1, 2])
def test_what_is_the_same_is_computed_once(shop, inputs, ranks):
    """Case and reference have one input in the first layer; and sparse and full_mmap are one function of one file."""
    model, vindexes, prompts = inputs
    job = shop.job(model, {"f16": vindexes["f16"]}, paths=PATHS[:4], prompts=prompts, batch={"rows": 8},
                   kernel_check=-1)
    result = job.result(ranks=ranks)
    layers = result["flops"].shape[1]
    once = [result.case(f"f16:{case}", "flops").sum() for case in ("sparse", "exact", "sparse_serial")]
    expected = sum(once) * (2 * layers - 1) / (2 * layers)
    assert run_attribute(job, "flops_walk_ffn") == pytest.approx(expected)
    for field in ("rel_l2", "kernel_rel_l2", "kernel_own_rel_l2", "drift", "obs_status"):
        assert np.array_equal(result.case("f16:sparse", field), result.case("f16:full_mmap", field)), field
    assert np.all(result["walk_evaluations"] == 2) and np.all(result["seconds"] > 0)


def test_equal_streams_have_one_attention(shop, inputs):
    """All do in the first of 4 layers, sparse and full_mmap throughout: 1 and 3 times 4 of five lanes; 1 and 3 times 2 of two."""
    model, vindexes, prompts = inputs
    flops = []
    for paths in (PATHS[:4], PATHS[2:3]):
        job = shop.job(model, {"f16": vindexes["f16"]}, paths=paths, prompts=prompts, batch={"rows": 8})
        job.run()
        flops.append(run_attribute(job, "flops_projections"))
    assert flops[0] / flops[1] == pytest.approx(13 / 7)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two ranks need two processors to lend one")
@pytest.mark.parametrize("apart", [False, True])
def test_a_rank_without_work_lends_its_core(shop, inputs, apart):
    """One prompt is one batch, and with teams of one rank the second of two has nothing to do; on hosts of their own
    neither can help the other."""
    model, vindexes, _ = inputs
    job = shop.job(model, {"f16": vindexes["f16"]}, prompts=corpus(shop.root / f"one-{apart}.jsonl", 1))
    job.run(ranks=2, sets=("grid.teams=1",), **({"WALKAUDIT_APART": "1"} if apart else {}))
    assert run_attribute(job, "idle") == 1
    assert (run_attribute(job, "processor_seconds_lent") == 0) == apart
    alone = shop.job(model, {"f16": vindexes["f16"]}, prompts=corpus(shop.root / f"one-{apart}.jsonl", 1))
    alone.run()
    assert_equal_bits(alone, job)


def test_every_observation_is_there(reference):
    result = harness.Result(reference.result_path)
    for field in ("rel_l2", "cos", "one_minus_cos", "l2", "max_abs", "eta", "drift", "kernel_rel_l2", "norm_ratio"):
        assert np.isfinite(result[field]).all(), field
    assert set(result["obs_status"].reshape(-1)) == {"ok"}


@pytest.mark.parametrize("ranks", [1, 3])
def test_another_case_changes_no_bit_of_the_others(shop, inputs, reference, ranks):
    model, vindexes, prompts = inputs
    fewer = shop.job(model, {"f16": vindexes["f16"]}, paths=[PATHS[4], PATHS[1]], batch={"rows": 8}, prompts=prompts,
                     kernel_check=-1)
    part, whole = fewer.result(ranks=ranks), harness.Result(reference.result_path)
    assert sorted(part.cases) == ["f16:full_mmap", "f16:sparse_serial:k32"]
    compared = 0
    with h5py.File(reference.result_path) as file:
        shared = {"obs", "prompt", "layer"}
        dims = {name: [d[0].name.strip("/") if len(d) else "" for d in item.dims]
                for name, item in file.items() if isinstance(item, h5py.Dataset)}
    for name in whole.data.keys() - {"seconds", "case", "case_vindex"}:
        if dims[name][:1] == ["case"]:
            for case in part.cases:
                assert same(part.case(case, name), whole.case(case, name)), f"{name} of {case}"
                compared += 1
        elif set(dims[name][:1]) <= shared:
            assert same(part[name], whole[name]), name
            compared += 1
    assert compared > 80


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and (list(a.reshape(-1)) == list(b.reshape(-1)) if a.dtype == object else
                                   a.tobytes() == b.tobytes())


LONG_PATHS = [PATHS[0], slow_path()]


@pytest.fixture(scope="module")
def long_inputs(shop, inputs):
    return inputs[0], {"f16": inputs[1]["f16"]}, corpus(shop.root / "long.jsonl", 150, seed=5)


@pytest.fixture(scope="module")
def long_reference(shop, long_inputs):
    job = make(shop, long_inputs, kernel_check=8, paths=LONG_PATHS)
    job.run()
    return job


@pytest.mark.parametrize("ranks, victim", [(None, "the program"), (3, "a rank")])
def test_a_killed_run_is_resumed_to_the_same_bits(shop, long_inputs, long_reference, ranks, victim):
    job = make(shop, long_inputs, kernel_check=8, paths=LONG_PATHS)
    process = start(job, ranks, **slowly())
    try:
        wait_for_parts(job, process, 5)
        target = process.pid if victim == "the program" else children(process.pid)[-1]
        os.kill(target, signal.SIGKILL)
        assert process.wait(timeout=60) != 0
    finally:
        if process.poll() is None:
            process.kill()
    assert not job.result_path.exists()
    kept = {path: path.stat().st_mtime_ns for path in parts(job)}
    assert kept
    status = harness.run(["status", job.result_path], expect=75)
    assert f"unfinished, {harness.prompts_done(job)} of 150 prompts done" in status.stdout
    job.run(ranks=2)
    assert_equal_bits(long_reference, job)
    assert not list((job.folder / "results").glob("*.parts"))
    with h5py.File(job.result_path) as file:
        assert len(file["run"]) == 2  # the killed run keeps its place


def test_lost_parts_are_computed_again(shop, long_inputs, long_reference):
    job = make(shop, long_inputs, kernel_check=8, paths=LONG_PATHS)
    process = start(job, None, **slowly(20))
    try:
        wait_for_parts(job, process, 12)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
    there = parts(job)
    for path in (there[0], there[5]):
        path.unlink()
    damaged = there[7].read_bytes()
    there[7].write_bytes(damaged[:len(damaged) // 2])
    job.run(ranks=2)
    assert_equal_bits(long_reference, job)


def test_a_finished_result_is_not_computed_again(reference):
    before = reference.result_path.stat().st_mtime_ns
    again = reference.run(ranks=2)
    assert reference.result_path.stat().st_mtime_ns == before
    assert "f32:full_mmap" in again.stdout
    other = reference.run(sets=("topk=7",), expect=3)
    assert "'settings' differs" in harness.one_error_line(other)
    assert reference.result_path.stat().st_mtime_ns == before


def test_verdict_and_status_of_a_finished_result(reference):
    assert "f16:sparse" in harness.run(["verdict", reference.result_path]).stdout
    reference.run()  # if another job was refused there, the failure stands until this one is answered again
    harness.run(["status", reference.result_path])
    harness.run(["inspect", reference.result_path])

"""How prompts are packed into batches changes no bit of a result: any batch.rows, number of ranks and grid; and a run goes on with
what another left, whatever that had packed."""
import os
import signal

import h5py
import numpy as np
import pytest

import harness
from harness import assert_equal_bits, corpus, slow_path, slowly, start, wait_for_parts

PROMPTS = 30
# Matrix products, per-feature loops that rank and sum, quantised blocks, and a kernel that is not ours.
PATHS = [{"path": "sparse"}, {"path": "full_mmap"}, {"path": "sparse_serial", "k": 32}, {"path": "weights_fallback", "k": 100},
         {"path": "external", "library": str(harness.kernel("external_odd_sets_flush")), "name": "flush"}]
ONLY = {"f16": PATHS, "q4k": [{"path": "sparse"}, {"path": "sparse_parallel"}]}
# batch.rows, ranks, stages, teams; 0 = chosen. The model has 4 layers.
WAYS = [(8, 1, 0, 0), (64, 1, 0, 0), (8, 2, 0, 0), (64, 2, 2, 1), (512, 2, 1, 2), (8, 3, 3, 1), (64, 3, 1, 3), (512, 3, 1, 1),
        (8, 4, 0, 0), (64, 4, 2, 2), (512, 4, 1, 1), (512, 4, 4, 1)]


@pytest.fixture(scope="module")
def inputs(shop):
    return (shop.model("tiny-gemma3"), {v: shop.vindex("tiny-gemma3", v) for v in ONLY},
            corpus(shop.root / "corpus.jsonl", PROMPTS, seed=21))


def make(shop, inputs, rows, **keys):
    model, vindexes, prompts = inputs
    keys = {"batch": {"rows": rows}, "prompts": prompts, "kernel_check": "all", "logits": "all", "engine": "walkaudit", **keys}
    return shop.job(model, vindexes, ONLY, **keys)


@pytest.fixture(scope="module")
def reference(shop, inputs):
    job = make(shop, inputs, 512)
    job.run()
    assert harness.batches(job.result_path) == [PROMPTS]
    return job


@pytest.mark.parametrize("rows, ranks, stages, teams", WAYS)
def test_no_way_of_packing_changes_a_bit(shop, inputs, reference, rows, ranks, stages, teams):
    job = make(shop, inputs, rows)
    job.run(ranks=ranks, sets=(f"grid.stages={stages}", f"grid.teams={teams}"))
    packed = harness.batches(job.result_path)
    assert sum(packed) == PROMPTS and (len(packed) > 1 or rows == 512)
    assert_equal_bits(reference, job)


def test_every_rank_gets_its_share_whatever_the_limit(shop, inputs, reference):
    """512 rows hold all prompts; four ranks that shared them by groups had one batch, and three were idle."""
    job = make(shop, inputs, 512)
    done = job.run(ranks=4, sets=("grid.stages=1", "grid.teams=1"))
    assert "4 groups x 1 stage x 1 team;" in done.stderr and "idle" not in done.stderr, done.stderr
    packed = harness.batches(job.result_path)
    assert len(packed) >= 4 and max(packed) <= (PROMPTS + 3) // 4 + 1
    assert_equal_bits(reference, job)


def test_a_result_tells_the_bytes_of_one_pass(shop, inputs, reference):
    job = make(shop, inputs, 8)
    job.run()
    one, many = harness.Result(reference.result_path), harness.Result(job.result_path)
    assert len(harness.batches(job.result_path)) > 5
    assert np.array_equal(one["bytes_read"], many["bytes_read"]) and (one["bytes_read"][:4] > 0).all()
    assert np.array_equal(one["flops"], many["flops"])
    with h5py.File(job.result_path) as file:
        assert not [name for name in file if name.startswith("batch")]


def test_other_rows_are_no_other_job_but_of_an_engine_whose_bits_depend_on_them(shop, inputs, reference):
    """`engine: blas` packs by batch.rows alone, whatever the ranks, and a result of other rows is another one."""
    before = reference.result_path.stat().st_mtime_ns
    assert "not computed again" in reference.run(sets=("batch.rows=8",)).stderr
    assert reference.result_path.stat().st_mtime_ns == before
    job = make(shop, inputs, 24, engine="blas")
    job.run(ranks=3, sets=("grid.stages=1", "grid.teams=1"))
    alone = make(shop, inputs, 24, engine="blas")
    alone.run()
    assert harness.batches(job.result_path) == harness.batches(alone.result_path)
    assert_equal_bits(alone, job)
    assert "'batch.rows' differs" in harness.one_error_line(job.run(sets=("batch.rows=8",), expect=3))


def test_other_threads_are_no_other_job_but_of_an_engine_whose_bits_depend_on_them(shop, inputs, reference):
    assert "not computed again" in reference.run(sets=("threads=2",)).stderr
    job = make(shop, inputs, 512, threads=2)
    job.run()
    assert_equal_bits(reference, job)
    blas = make(shop, inputs, 512, engine="blas")
    blas.run()
    assert "'threads' differs" in harness.one_error_line(blas.run(sets=("threads=2",), expect=3))


@pytest.mark.parametrize("first, then", [((8, None), (64, 3)), ((64, 2), (8, None)), ((8, 3), (512, None)), ((24, None), (16, 4))])
def test_a_killed_run_goes_on_with_other_rows(shop, inputs, reference, first, then):
    """What is there is kept, what is missing is packed anew; once, with the row errors in whichever part has them."""
    paths = {**ONLY, "f16": [*PATHS, slow_path()]}
    model, vindexes, prompts = inputs
    job = shop.job(model, vindexes, paths, batch={"rows": first[0]}, prompts=prompts, kernel_check="all", logits="all", engine="walkaudit")
    process = start(job, first[1], **slowly(15))
    try:
        wait_for_parts(job, process, 2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
    harness.wait_until_gone(job)
    kept = {path.name: path.stat().st_mtime_ns for path in harness.parts(job)}
    done = harness.prompts_done(job)
    assert 2 <= len(kept) and done < PROMPTS
    job.run(ranks=then[1], sets=(f"batch.rows={then[0]}",))
    assert sum(harness.batches(job.result_path, run=1)) == PROMPTS - done
    whole = shop.job(model, vindexes, paths, batch={"rows": 512}, prompts=prompts, kernel_check="all", logits="all", engine="walkaudit")
    whole.run()
    assert_equal_bits(whole, job)

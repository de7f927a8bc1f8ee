"""Experts spread over the ranks of a team: the same bits as on one rank, whoever has which expert; and no rank waits for ever."""
import os
import re
import signal

import h5py
import pytest

import harness
from harness import assert_equal_bits, children, parts, slow_path, slowly, start, wait_for_parts

# ranks, stages, teams. The models have 4 layers and 6 experts, of which 3 are chosen.
GRIDS = [(2, 1, 2), (3, 1, 3), (4, 1, 4), (4, 2, 2), (4, 1, 2)]
FAMILIES = {"qwen2_moe": ["f16"], "gpt_oss": ["q6k"]}  # a shared expert; biases


@pytest.fixture(scope="module", params=FAMILIES)
def inputs(request, shop):
    family = request.param
    model = shop.root / f"spread-{family}"
    harness.run(["synth", model, "--family", family, "--shape", "tiny", "--experts", "6", "--chosen", "3"])
    vindexes = {}
    for form in FAMILIES[family]:
        vindexes[form] = shop.root / f"spread-{family}-{form}.vindex"
        harness.run(["extract", model, vindexes[form], "--format", form])
    return model, vindexes


def job_of(shop, inputs, same=True, **keys):
    """Cases: each vindex's experts, and with `same` the model as a checkpoint of itself."""
    model, vindexes = inputs
    made = shop.job(model, vindexes, **{"batch": {"rows": 24}, "prompts": harness.corpus(shop.root / "spread.jsonl", 9), **keys})
    text = harness.json.loads(made.path.read_text())
    if same:
        text["audits"][0]["vindexes"].append({"name": "same", "checkpoint": str(model)})
    made.path.write_text(harness.json.dumps(text))
    return made


def spread(stages, teams, *more):
    words = ["grid.experts=spread", f"grid.stages={stages}", f"grid.teams={teams}", *more]
    return [word for setting in words for word in ("--set", setting)]


def attributes(path):
    with h5py.File(path) as file:
        return dict(file["run"][max(file["run"], key=int)].attrs)


@pytest.fixture(scope="module")
def alone(shop, inputs):
    job = job_of(shop, inputs)
    job.run()
    assert attributes(job.result_path)["experts"] == "whole"
    kernels = {"f16": ["experts"], "q6k": ["experts", "experts_q8k"]}
    expected = [f"{form}:{kernel}" for form in inputs[1] for kernel in kernels[form]]
    assert harness.Result(job.result_path).cases == [*expected, "same:checkpoint"]
    return job


@pytest.mark.parametrize("ranks, stages, teams", GRIDS)
def test_spread_experts_give_the_same_bits(shop, inputs, alone, ranks, stages, teams):
    """Also a member that has no case serves: of four there are two cases and the reference."""
    job = job_of(shop, inputs)
    done = job.run(ranks=ranks, words=spread(stages, teams))
    assert "teams, experts spread;" in done.stderr
    assert_equal_bits(alone, job)
    run = attributes(job.result_path)
    assert run["experts"] == "spread" and int(run["teams"]) == teams


@pytest.mark.parametrize("ranks, stages, teams", [(2, 1, 2), (4, 2, 2)])
def test_rows_travel_and_the_plan_says_how_many(shop, inputs, ranks, stages, teams):
    """Messages exactly where every member is asked at each layer; bytes within a tenth, since not all experts are chosen equally often.
    (A checkpoint of itself would take the reference's way throughout, and half its rows would stay.)"""
    job = job_of(shop, inputs, same=False)
    plan = harness.run(["plan", job.path, "--ranks", ranks, *spread(stages, teams)]).stdout
    whole = harness.run(["plan", job.path, "--ranks", ranks, *spread(stages, teams, "grid.experts=whole")]).stdout
    assert f"experts: spread over the {teams} ranks of a team; rows travel, about " in plan and "experts: " not in whole
    told, less = (re.search(r"^messages: (\d+) of (\d+) bytes", text, re.MULTILINE).groups() for text in (plan, whole))
    job.run(ranks=ranks, words=spread(stages, teams))
    run = attributes(job.result_path)
    assert int(run["messages"]) == int(told[0]) > int(less[0])
    rows = int(told[1]) - int(less[1])
    assert abs(int(run["message_bytes"]) - int(told[1])) < 0.1 * rows


def test_engine_blas_gives_the_same_bits_spread(shop, inputs):
    jobs = [job_of(shop, inputs, engine="blas") for _ in range(2)]
    jobs[0].run()
    jobs[1].run(ranks=2, words=spread(1, 2))
    assert_equal_bits(*jobs)


@pytest.mark.parametrize("victim", [0, -1])
def test_a_killed_run_is_resumed_to_the_same_bits(shop, inputs, victim):
    """By a spread run, by one that is not, and the other way round."""
    keys = {"batch": {"rows": 8}, "paths": [{"path": "experts"}, slow_path()],
            "prompts": harness.corpus(shop.root / "spread-long.jsonl", 60, seed=5)}
    whole, job = (job_of(shop, inputs, **keys) for _ in range(2))
    whole.run()
    process = start(job, 3, words=spread(1, 3), **slowly())
    try:
        wait_for_parts(job, process, 3)
        os.kill(children(process.pid)[victim], signal.SIGKILL)
        assert process.wait(timeout=60) != 0
    finally:
        if process.poll() is None:
            process.kill()
    assert parts(job) and not job.result_path.exists()
    job.run(ranks=2, words=spread(1, 2) if victim == 0 else ())
    assert_equal_bits(whole, job)


def test_nobody_waits_for_a_rank_that_fails(shop, inputs):
    """A kernel that fails on the rank of its case ends the run with one line on all."""
    broken = {"path": "external", "library": str(harness.kernel("external_fails")), "name": "broken"}
    job = job_of(shop, inputs, paths=[{"path": "experts"}, broken])
    done = job.run(ranks=3, words=spread(1, 3), expect=3)
    assert "broken" in harness.one_error_line(done)


@pytest.mark.parametrize("words, said", [(["grid.experts=some"], "'grid.experts' is 'some', expected 'spread' or 'whole'"),
                                         (["grid.experts=spread", "grid.teams=7"], "grid.teams is 7, at most 6 fit")])
def test_wrong_words_are_refused(shop, inputs, words, said):
    job = job_of(shop, inputs)
    more = [word for setting in words for word in ("--set", setting)]
    assert said in harness.one_error_line(harness.run(["plan", job.path, "--ranks", "8", *more], expect=2))


def test_a_model_without_experts_has_none_to_spread(shop):
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")})
    done = harness.run(["plan", job.path, "--ranks", "2", "--set", "grid.experts=spread"], expect=2)
    assert "grid.experts is spread, but the model has no experts" in harness.one_error_line(done)


def test_memory_decides_whether_experts_are_spread(shop):
    """A stage of one layer larger than a node: over as many nodes as it takes, and else not."""
    path = shop.root / "spread-large"
    harness.run(["synth", path, "--family", "mixtral", "--shape", "1b", "--layers", "2", "--experts", "64", "--chosen", "2", "--features",
                 "1024", "--no-weights"])
    job = shop.job(path, {}, prompts=harness.corpus(shop.root / "spread-plan.jsonl", 9))
    text = harness.json.loads(job.path.read_text())
    text["audits"][0]["vindexes"] = [{"name": "same", "checkpoint": str(path)}]
    job.path.write_text(harness.json.dumps(text))

    def plan(nodes, memory, ranks, *more):
        done = harness.run(["plan", job.path, "--ranks", ranks, "--nodes", nodes, "--gflops", "40", "--json", "--mem", memory, *more])
        return harness.json.loads(done.stdout)["audits"][0]["plans"][0]

    layer = 64 * 3 * 1024 * 2048 * 2  # bytes of a layer's experts
    for nodes, memory, ranks, stages, teams, how in [(2, 9 * layer, 4, 1, None, "whole"), (2, 3 * layer, 4, 2, None, "whole"),
                                                     (4, 1.8 * layer, 4, 2, 2, "spread"), (8, 0.9 * layer, 16, 2, 8, "spread"),
                                                     (1, 1.8 * layer, 4, 1, None, "whole")]:
        found = plan(nodes, int(memory), ranks)
        assert (found["experts"], found["stages"]) == (how, stages), (nodes, memory, found)
        assert teams in (None, found["teams"]), (nodes, memory, found)
    assert plan(4, int(1.8 * layer), 4, "--set", "grid.experts=whole")["experts"] == "whole"

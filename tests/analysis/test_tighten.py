"""`tighten`: LARQL's published rules again, one headroom in the native rule, and files that `walkaudit verdict` takes."""
import math
import re

import numpy as np
import pytest

import harness
from command import one_line, report
from made import Made
from published import published
from edit_result import edit


def read(path):
    """{bucket: {key: number}} of a bounds file, by hand: the comments aside it is two levels of YAML."""
    found, row = {}, None
    for line in path.read_text().splitlines():
        line = line.split("#")[0].rstrip()
        if re.fullmatch(r"\w+:", line):
            row = found.setdefault(line[:-1], {})
        elif line:
            key, value = line.split(": ")
            row[key.strip()] = value if value.startswith("[") else float(value)
    return found


def tighten(path, target, *words, expect=0):
    done = report("tighten", path, "-o", target, *words, expect=expect)
    return done, read(target)


def test_larqls_rule_gives_the_published_bounds(gemma, tmp_path):
    """0.999996 -> 0.99999 and 0.992737 -> 0.99; 1.8813e-3 * 4 = 7.525e-3 and 0.12052 * 4 = 0.4821, rounded up."""
    source = published(tmp_path / "published.h5", gemma)
    done, rows = tighten(source, tmp_path / "larql.yaml", "--rule", "larql")
    assert [(name, row["cos"], row["rel_l2"]) for name, row in rows.items()] == [
        ("exact", 0.99999, 7.6e-3), ("quantized", 0.99, 0.49)]
    assert rows["exact"]["dp"] == 5.7e-4 and rows["quantized"]["dp"] == 0.11 and rows["exact"]["dp_prompts"] == '["paris"]'
    assert "  cos: 0.99  # which allows rel_L2 from 0.1411 on" in done.stdout  # sqrt(1 - 0.99^2), as published
    assert "# worst rel_L2 0.1205: q4k:interleaved_q4k, layer 10, code/1" in done.stdout
    assert "# worst 1 - cos 3.76e-06: f16:exact" in done.stdout and "of 1326 observations; published.h5" in done.stdout
    assert "fewer than 2000" in done.stderr and done.stdout == (tmp_path / "larql.yaml").read_text()
    text = harness.run(["verdict", source, "--bounds", tmp_path / "larql.yaml"]).stdout
    assert re.search(r"\n5 cases: .*\b0 fail", text), text  # UNCHECKED: nobody looked at published figures


@pytest.mark.parametrize("factor", [1.1, 2, 4, 8])
def test_the_native_rule_keeps_one_headroom(gemma, tmp_path, factor):
    source = published(tmp_path / "published.h5", gemma)
    with edit(source) as file:  # as f64 sums give it: the published cosine of f16 is noise
        file["min_cos"][:3] = 1 - 1.7695e-6
        file["one_minus_cos"][:3] = 1.7695e-6
        file["cos"][:3] = np.maximum(file["cos"][:3], 1 - 1.7695e-6)
    _, rows = tighten(source, tmp_path / "native.yaml", "--factor", factor)
    for name, angle, rel in (("exact", 1.7695e-6, 1.881349e-3), ("quantized", 7.26265e-3, 0.1205209)):
        assert 1 - rows[name]["cos"] == pytest.approx(factor ** 2 * angle, rel=0.011)
        assert factor * rel <= rows[name]["rel_l2"] <= factor * rel * 1.1
        assert rows[name]["rel_l2"] >= math.sqrt(1 - rows[name]["cos"] ** 2)
    harness.run(["verdict", source, "--bounds", tmp_path / "native.yaml"])


def test_own_results_pass_the_bounds_they_propose(gemma, sweep, tmp_path):
    target = tmp_path / "own.yaml"
    done = report("tighten", gemma, sweep, "-o", target)
    rows = read(target)
    assert list(rows) == ["exact"] and rows["exact"]["near_tie"] == 0.02
    assert "no evidence: job-audit.h5: f16:sparse_serial:k8 is approximate" in done.stdout
    for path in (gemma, sweep):
        harness.run(["verdict", path, "--bounds", target])
    both = [harness.Result(path) for path in (gemma, sweep)]
    worst = max(result["max_rel_l2"][result["case_bucket"] == "exact"].max() for result in both)
    assert 4 * worst <= rows["exact"]["rel_l2"] <= 4.4 * worst
    total = sum(int(result["n_obs_distinct"].max()) for result in both)
    assert f"# {total} distinct observations of" in done.stdout


def test_the_same_observations_count_once(gemma, sweep, tmp_path):
    again = tmp_path / "again.h5"
    again.write_bytes(gemma.read_bytes())
    n = [int(harness.Result(path)["n_obs_distinct"].max()) for path in (gemma, sweep)]
    done = report("tighten", gemma, again, "-o", tmp_path / "b.yaml")
    assert f"# {n[0]} distinct observations of 6 cases, 3 prompts" in done.stdout and "fewer than 2000" in done.stderr
    done = report("tighten", gemma, sweep, again, "-o", tmp_path / "b.yaml")
    assert f"# {sum(n)} distinct observations of 10 cases, 6 prompts" in done.stdout


def test_the_warning_ends_at_two_thousand(gemma, tmp_path):
    for prompts, warned in (({"a": 1000, "b": 999}, True), ({"a": 1000, "b": 1000}, False)):
        made = Made(tmp_path / "n.h5", gemma, ["v:exact"], 1, prompts, fill={"one_minus_cos": 1e-8, "rel_l2": 2e-4})
        made["min_cos"][0], made["max_rel_l2"][0] = 1 - 1e-8, 2e-4
        for name in ("min_cos", "max_rel_l2"):
            made[f"{name}_at_layer"][0] = made[f"{name}_at_obs"][0] = 0
        made.close()
        done = report("tighten", tmp_path / "n.h5", "-o", tmp_path / "b.yaml")
        assert f"# {sum(prompts.values())} distinct observations of" in done.stdout
        assert ("fewer than 2000" in done.stderr) == ("fewer than 2000" in done.stdout) == warned


def test_bounds_stay_above_f32_rounding(shop, tmp_path):
    job = shop.job(shop.model("tiny-gemma3"), {"f32": shop.vindex("tiny-gemma3", "f32")})
    job.run()
    _, rows = tighten(job.result_path, tmp_path / "f32.yaml")
    assert rows["exact"]["rel_l2"] == 6.4e-6 and rows["exact"]["dp"] == 1e-5  # 4 * 1.6e-6


def test_a_job_takes_the_file(shop, gemma, tmp_path):
    tighten(gemma, tmp_path / "bounds.yaml")
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, bounds=str(tmp_path / "bounds.yaml"))
    job.run()


def test_what_is_wrong_is_no_evidence(failing, gemma, tmp_path):
    done = report("tighten", failing, gemma, "-o", tmp_path / "b.yaml")
    assert re.search(r"# no evidence: job-audit.h5: wrong:\S+ is ENCODING", done.stdout)
    assert "wrong:" not in done.stdout.split("\nexact:")[1]


def test_requantised_models_are_no_evidence_for_the_native_rule(gemma, tmp_path):
    source = published(tmp_path / "r.h5", gemma)
    with edit(source) as file:
        file.attrs["requantised"] = [1]
    assert "requantised" in one_line(report("tighten", source, "-o", tmp_path / "b.yaml", expect=3))
    assert not (tmp_path / "b.yaml").exists()
    tighten(source, tmp_path / "b.yaml", "--rule", "larql")


def test_cases_that_are_named_alone_are_evidence(gemma, tmp_path):
    """Formats of one bucket may lose very unlike amounts."""
    source = published(tmp_path / "published.h5", gemma)
    done, rows = tighten(source, tmp_path / "b.yaml", "--rule", "larql", "--cases", "f16:e*", "q4k:s*")
    assert set(rows) == {"exact", "quantized"} and rows["quantized"]["rel_l2"] == 0.39  # 4 * 9.562e-2
    assert "# no evidence: published.h5: q4k:interleaved_q4k is not asked for" in done.stdout
    assert "q4k:interleaved_q4k, layer" not in done.stdout and "distinct observations of 1 case," in done.stdout
    line = one_line(report("tighten", source, "-o", tmp_path / "c.yaml", "--rule", "larql", "--cases", "q5k*", expect=3))
    assert "is not asked for" in line and not (tmp_path / "c.yaml").exists()


def test_the_published_f16_pair_contradicts_itself(gemma, tmp_path):
    """1 - cos = 3.8e-6 demands rel_L2 of 2.7e-3, not 1.9e-3: LARQL's f32 sums. Its own rule hides that under a decimal."""
    source = published(tmp_path / "published.h5", gemma)
    assert "rel_l2 0.0076 contradicts cos 0.99993" in one_line(report("tighten", source, "-o", tmp_path / "b.yaml", expect=3))


@pytest.mark.parametrize("rule", ["native", "larql"])
def test_a_pair_that_contradicts_itself_is_refused(gemma, tmp_path, rule):
    """cos 0.98 and rel_L2 1e-3 of one output cannot both be measured."""
    made = Made(tmp_path / "c.h5", gemma, ["v:exact"], 2, fill={"one_minus_cos": 0.02})
    made["min_cos"][0], made["max_rel_l2"][0] = 0.98, 1e-3
    for name in ("min_cos", "max_rel_l2"):
        made[f"{name}_at_layer"][0] = made[f"{name}_at_obs"][0] = 1
    made.close()
    line = one_line(report("tighten", tmp_path / "c.h5", "-o", tmp_path / "b.yaml", "--rule", rule, expect=3))
    assert "refused" in line and "contradicts cos" in line and not (tmp_path / "b.yaml").exists()


def test_wrong_words_and_files_are_one_line(gemma, tmp_path):
    one_line(report("tighten", gemma, "-o", tmp_path / "b.yaml", "--rule", "larql", "--factor", 2, expect=2))
    one_line(report("tighten", gemma, "-o", tmp_path / "b.yaml", "--factor", 1, expect=2))
    (tmp_path / "cut.h5").write_bytes(gemma.read_bytes()[:3000])
    one_line(report("tighten", gemma, tmp_path / "cut.h5", "-o", tmp_path / "b.yaml", expect=3))


FAR = "exact: {rel_l2: 1.0e-9}\n"  # which no f16 vindex keeps


def test_a_case_beyond_its_own_bounds_is_no_evidence(shop, tmp_path):
    """It became the bound that it broke."""
    (tmp_path / "far.yaml").write_text(FAR)
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, bounds=str(tmp_path / "far.yaml"))
    job.run(expect=1)
    line = one_line(report("tighten", job.result_path, "-o", tmp_path / "b.yaml", expect=3))
    assert "BOUND under its own bounds (--accept-failing would take it)" in line and not (tmp_path / "b.yaml").exists()
    _, rows = tighten(job.result_path, tmp_path / "b.yaml", "--accept-failing")
    assert rows["exact"]["rel_l2"] > 1e-9


@pytest.mark.parametrize("keys", [{"kernel_check": 0}, {"encoding_check": "none"}, {"kernel_check": 0, "encoding_check": "none"}])
def test_what_nobody_looked_at_is_no_evidence(shop, tmp_path, keys):
    """Neither as UNCHECKED nor where a broken bound hides that word; no option takes it."""
    (tmp_path / "far.yaml").write_text(FAR)
    for bounds in ("default", str(tmp_path / "far.yaml")):
        job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, bounds=bounds, **keys)
        job.run(expect=0 if bounds == "default" else 1)
        line = one_line(report("tighten", job.result_path, "-o", tmp_path / "b.yaml", "--accept-failing", expect=3))
        assert "nothing to measure" in line and not (tmp_path / "b.yaml").exists()


def test_bounds_that_bound_nothing_are_refused(gemma, tmp_path):
    """rel_l2: 1.3 was proposed, and taken."""
    for name, value, words in (("max_rel_l2", 0.33, "exact.rel_l2 would be 1.4, which bounds nothing"),
                               ("min_cos", 0.5, "exact.cos would be -7, which bounds nothing")):
        made = Made(tmp_path / f"{name}.h5", gemma, ["v:exact"], 2, fill={"one_minus_cos": 0.5 if name == "min_cos" else 1e-8})
        made["min_cos"][0], made["max_rel_l2"][0] = 1 - 1e-8, 2e-4
        made[name][0] = value
        for extreme in ("min_cos", "max_rel_l2"):
            made[f"{extreme}_at_layer"][0] = made[f"{extreme}_at_obs"][0] = 1
        made.close()
        line = one_line(report("tighten", tmp_path / f"{name}.h5", "-o", tmp_path / "b.yaml", expect=3))
        assert words in line and "--factor" in line and not (tmp_path / "b.yaml").exists()


def test_rates_are_proposed_from_their_limits(shop, tmp_path):
    """1.5 times the limit, rounded up; and the result passes what it proposes."""
    prompts = harness.corpus(tmp_path / "corpus.jsonl", 12)
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, prompts=prompts, logits="all")
    job.run()
    done, rows = tighten(job.result_path, tmp_path / "b.yaml")
    result = harness.Result(job.result_path)
    for name in ("mean_kl", "flip_rate", "ppl_ratio"):
        base, limit = float(name == "ppl_ratio"), result[("far_" if name == "flip_rate" else "") + name + "_upper"].max()
        assert 1.5 * (limit - base) <= (rows["exact"][name] - base) * (1 + 1e-9), name
        assert rows["exact"][name] - base <= max(1.5 * 1.1 * (limit - base), 1.1e-5), name
    assert "p99_kl" not in rows["exact"] and "# p99_kl: no upper limit, 12 independent prompts and" in done.stdout
    harness.run(["verdict", job.result_path, "--bounds", tmp_path / "b.yaml"])


def test_few_prompts_propose_no_rate(sweep, tmp_path):
    done, rows = tighten(sweep, tmp_path / "b.yaml")
    assert not {"mean_kl", "flip_rate", "ppl_ratio"} & set(rows["exact"]) and "# mean_kl: no upper limit, 3 independent prompts" in done.stdout

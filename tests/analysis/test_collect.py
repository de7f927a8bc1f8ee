"""`collect`: one table over a sweep, with every case, every failed audit and every file that is no result."""
import csv
import json
import shutil

import h5py
import numpy as np
import pytest
import xarray

import harness
from command import one_line, report

from walkaudit_report import layout, sweep as table


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def collected(gemma, sweep, failing, tmp_path_factory):
    """Three results, one failed audit: (folder, rows of the CSV)."""
    folder = tmp_path_factory.mktemp("sweep")
    for name, path in (("a/gemma.h5", gemma), ("b.h5", sweep), ("c.h5", failing)):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(path, folder / name)
    record = {"audit": "big", "exit_code": 3, "model": "big.gguf", "reason": "the model is truncated; \"x\", y"}
    (folder / "job-big.failed.json").write_text(json.dumps(record))
    done = report("collect", folder, "-o", folder / "sweep.h5")
    assert done.stdout.splitlines()[-1].endswith("1 audit that could not run; 0 files that cannot be read") and not done.stderr
    return folder, read_csv(folder / "sweep.csv")


def test_every_case_has_a_row_with_its_figures(collected, gemma, sweep, failing):
    rows = {(row["result"], row["case"]): row for row in collected[1]}
    total = 0
    for name, path in (("a/gemma.h5", gemma), ("b.h5", sweep), ("c.h5", failing)):
        result = harness.Result(path)
        for case, title in enumerate(result.cases):
            row = rows[name, title]
            total += 1
            assert row["verdict"] == result["verdict"][case] and row["reasons"] == result["fail_reasons"][case]
            assert row["vindex"] == title.split(":")[0] and row["audit"] == "audit" and row["bucket"] == result["case_bucket"][case]
            worst = np.unravel_index(np.argmax(result["rel_l2"][case]), result["rel_l2"][case].shape)
            assert float(row["max_rel_l2"]) == result["rel_l2"][case][worst] and int(row["max_rel_l2_layer"]) == worst[0]
            assert row["max_rel_l2_prompt"] == result.prompts[result["obs_prompt"][worst[1]]]
            assert int(row["max_rel_l2_position"]) == result["obs_position"][worst[1]]
            assert row["max_rel_l2_token"] == result["token_text"][worst[1]]
            for key in result.data:  # every extreme of the file, at its place
                if key in row and f"{key}_at_obs" in result.data:
                    obs = result[f"{key}_at_obs"][case]
                    assert float(row[key]) == result[key][case] and int(row[f"{key}_layer"]) == result[f"{key}_at_layer"][case]
                    assert row[f"{key}_prompt"] == result.prompts[result["obs_prompt"][obs]]
                    assert int(row[f"{key}_position"]) == result["obs_position"][obs]
                    assert row[f"{key}_token"] == result["token_text"][obs]
            assert float(row["max_kl"]) == result["kl"][case].max()
            assert int(row["bytes_read"]) == result["bytes_read"][case].sum() and float(row["seconds"]) > 0
            assert int(row["flops"]) == result["flops"][case].sum() > 0
            assert (row["mean_kl"] != "") == ("mean_kl" in result.data)
            assert row["k"] == ("all" if result["case_k"][case] < 0 else str(result["case_k"][case]))
    assert total == len(rows) - 1


def test_a_failed_audit_has_a_row_with_its_reason(collected):
    row = collected[1][-1]
    assert [row[name] for name in ("result", "job", "audit", "model", "verdict", "reasons", "max_rel_l2", "layers")] == [
        "job-big.failed.json", "job", "big", "big.gguf", "FAILED", "the model is truncated; \"x\", y", "", ""]


def test_an_audit_that_walkaudit_could_not_run_has_its_reason(shop, tmp_path):
    """A sweep of two audits, the model of one of which is missing."""
    job = shop.job(shop.model("tiny-qwen3"), {"f32": shop.vindex("tiny-qwen3", "f32")})
    words = json.loads(job.path.read_text())
    words["audits"].append({**words["audits"][0], "name": "absent", "model": str(tmp_path / "none.gguf")})
    job.path.write_text(json.dumps(words))
    job.run(expect=3)
    report("collect", job.folder / "results", "-o", tmp_path / "sweep.h5")
    rows = read_csv(tmp_path / "sweep.csv")
    assert [row["audit"] for row in rows] == ["audit"] * (len(rows) - 1) + ["absent"] and len(rows) > 1
    record = json.loads((job.folder / "results/job-absent.failed.json").read_text())
    assert rows[-1]["verdict"] == "FAILED" and rows[-1]["reasons"] == record["reason"] and "none.gguf" in rows[-1]["reasons"]


def test_an_audit_that_failed_and_was_begun_again_is_unfinished_once(tmp_path):
    record = tmp_path / "job-a.failed.json"
    for code, parts, verdicts in ((75, False, ["FAILED"]), (75, True, ["UNFINISHED"]), (3, True, ["FAILED", "UNFINISHED"])):
        record.write_text(json.dumps({"audit": "a", "model": "m", "reason": "as it is", "exit_code": code}))
        if parts:
            (tmp_path / "job-a.h5.parts").mkdir(exist_ok=True)
        report("collect", tmp_path, "-o", tmp_path / "sweep.h5", expect=75 if parts else 0)
        assert [row["verdict"] for row in read_csv(tmp_path / "sweep.csv")] == verdicts


def test_a_result_that_is_computed_anew_is_unfinished_as_status_says(shop, tmp_path):
    """A run with --fresh that was killed over the first of two audits: parts of one, a record `owed` of the other, both results whole."""
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")}, batch={"rows": 8},
                   paths=[{"path": "sparse"}, harness.slow_path()], prompts=harness.corpus(tmp_path / "prompts.jsonl", 12))
    words = json.loads(job.path.read_text())
    words["audits"].append({**words["audits"][0], "name": "second"})
    job.path.write_text(json.dumps(words))
    job.run()
    folder = job.folder / "results"
    report("collect", folder, "-o", tmp_path / "sweep.h5")
    report("index", folder, "-o", tmp_path)
    process = harness.start(job, None, ["--fresh"], **harness.slowly(40))
    harness.wait_until(lambda: list(folder.glob("*.h5.parts/prompts-*.h5")), process)
    process.kill()
    process.wait(timeout=60)
    assert len(list(folder.glob("*.h5"))) == 2
    for path in folder.glob("*.h5"):
        harness.run(["status", path], expect=75)
    report("collect", folder, "-o", tmp_path / "sweep.h5", expect=75)
    report("index", folder, "-o", tmp_path, expect=75)
    rows = read_csv(tmp_path / "sweep.csv")
    assert {row["verdict"] for row in rows if row["case"]} == {"PASS", "UNCHECKED"}  # of before
    told = {row["result"]: row["reasons"] for row in rows if not row["case"]}
    assert [row["verdict"] for row in rows if not row["case"]] == ["UNFINISHED"] * 2
    assert set(told) == {path.name for path in folder.glob("*.h5")} and all("earlier run's" in why for why in told.values())
    assert all(f"{name}: {why}" in (tmp_path / "INDEX.md").read_text() for name, why in told.items())
    job.run()
    assert not list(folder.glob("*.parts"))
    report("collect", folder, "-o", tmp_path / "sweep.h5")
    report("index", folder, "-o", tmp_path)


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_the_hdf5_table_holds_the_same(collected, engine):
    folder, rows = collected
    with xarray.open_dataset(folder / "sweep.h5", engine=engine) as data:
        assert list(data.sizes.items()) == [("row", len(rows))] and set(rows[0]) == set(data.data_vars)
        for name in ("case", "verdict", "max_rel_l2_token", "reasons"):
            assert [str(value) for value in data[name].values] == [row[name] for row in rows]
        for name in ("max_rel_l2", "min_cos", "seconds", "flip_rate_upper"):
            want = [float(row[name] or "nan") for row in rows]
            assert np.array_equal(data[name].values, want, equal_nan=True)
        assert data["max_rel_l2_layer"].values[-1] == -1 and data["seconds"].attrs["units"] == "s"


def test_again_and_beside_other_verbs(collected):
    """The table itself is no result: neither of a second `collect` nor of `index`."""
    folder, rows = collected
    before = (folder / "sweep.csv").read_bytes()
    report("collect", folder, "-o", folder / "sweep.h5")
    assert (folder / "sweep.csv").read_bytes() == before
    report("collect", folder, "-o", folder / "other/again.h5")
    assert (folder / "other/again.csv").read_bytes() == before
    report("index", folder, "-o", folder / "other", expect=1)
    assert "sweep" not in (folder / "other/INDEX.md").read_text()


def test_what_is_no_result_has_a_row_and_exit_code_3(gemma, tmp_path):
    (tmp_path / "cut.h5").write_bytes(gemma.read_bytes()[:4000])
    (tmp_path / "text.h5").write_text("nothing")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["data"] = 1
    (tmp_path / "x-y.failed.json").write_text("[1")
    (tmp_path / "begun.h5.parts").mkdir()
    (tmp_path / "begun.h5.parts/prompts-000000-000001.h5").write_text("")
    shutil.copyfile(gemma, tmp_path / "good.h5")
    done = report("collect", tmp_path, "-o", tmp_path / "sweep.h5", expect=3)
    rows = {row["result"]: row for row in read_csv(tmp_path / "sweep.csv")}
    assert {name for name, row in rows.items() if row["verdict"] == "UNREADABLE"} == {
        "cut.h5", "text.h5", "foreign.h5", "x-y.failed.json"}
    assert rows["begun.h5"]["verdict"] == "UNFINISHED" and "1 finished part" in rows["begun.h5"]["reasons"]
    assert rows["good.h5"]["verdict"] == "PASS" and "4 files that cannot be read" in done.stdout
    assert all("\n" not in row["reasons"] for row in rows.values())


def test_only_a_table_is_replaced(gemma, tmp_path):
    shutil.copyfile(gemma, tmp_path / "a.h5")
    shutil.copyfile(gemma, tmp_path / "b.h5")
    assert "replace" in one_line(report("collect", tmp_path, "-o", tmp_path / "b.h5", expect=3))
    assert (tmp_path / "b.h5").read_bytes() == gemma.read_bytes()
    one_line(report("collect", tmp_path, "-o", tmp_path / "table.txt", expect=2))
    one_line(report("collect", tmp_path / "none", "-o", tmp_path / "t.h5", expect=3))
    (tmp_path / "empty").mkdir()
    one_line(report("collect", tmp_path / "empty", "-o", tmp_path / "t.h5", expect=3))


def test_columns_have_one_meaning_each():
    assert [table.unit(name) for name in ("max_l2", "rest_max_l2", "first_max_max_abs", "mean_kl_upper", "mean_next_logprob_delta",
                                             "min_cos")] == ["activation", "activation", "activation", "nat", "nat", "1"]
    assert all(kind in table.ABSENT and meaning for kind, meaning in table.columns().values())


def test_bytes_touched_fall_with_k(collected, shop):
    """Of f32 matrices of one size: the gate, and of up and down the share of K in the features."""
    features = json.loads((shop.model("tiny-qwen3") / "config.json").read_text())["intermediate_size"]
    rows = [row for row in collected[1] if row["result"] == "b.h5"]
    seen = set()
    for row in rows:
        read, touched = int(row["bytes_read"]), int(row["bytes_touched"])
        if row["k"] == "all":
            assert touched == read
        elif row["vindex"] == "f32":
            seen.add(touched)
            assert abs(touched - read * (1 + 2 * int(row["k"]) / features) / 3) <= 1
    assert len(seen) == 2 and all(touched < read for touched in seen)


def test_page_of_a_sweep_shows_every_case_and_what_is_lost(collected):
    source = (collected[0] / "sweep.html").read_text()
    rows = collected[1]
    assert f"{sum(bool(row['case']) for row in rows)} cases of 3 models" in source
    lost, matrix = source.split('id="lost"')[1].split("</section>")[0], source.split('id="matrix"')[1].split("</section>")[0]
    assert "job-big.failed.json: FAILED: the model is truncated" in lost
    body = matrix.split("<tbody>")[1]
    assert body.index("tiny-llama wrong") < body.index("tiny-gemma3 f16")  # failing ones first
    for word in ("PASS", "MEASURED", "ENCODING"):
        assert body.count(f">{word}<small>") == sum(row["verdict"] == word for row in rows if row["case"])
    charts = source.split('id="cost"')[1].split("</section>")[0]
    assert charts.count("<figure") == 3 and "flip rate against bytes" in charts
    points = charts.split("</figure>")[0]
    assert points.count("data-told") == sum(bool(row["p95_rel_l2"]) for row in rows) and points.count('class="line') == 2  # K of two vindexes
    assert source.count("<script>") == 1 and "http" not in source.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")

"""The README's lines of Python answer what they say they answer, and its commands are commands; the baselines are those
committed."""
import contextlib
import importlib.util
import io
import json
import pathlib
import re
import shlex

import numpy as np
import pytest

import harness
from command import report
from walkaudit_report import cli
from edit_result import edit

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = ROOT / "analysis" / "README.md"
QUESTIONS, TABLE, CAPTURED = FILES = "results/demo-smollm2.h5", "results/sweep.h5", "RESULT.h5"  # what each block reads


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", README.read_text(), re.DOTALL)


def block_about(file, path, engine="h5netcdf"):
    """The one block of Python that reads this file, with a path and an engine of ours."""
    found = [block for block in blocks("python") if f'("{file}"' in block]
    assert len(found) == 1 and found[0].count('"h5netcdf"') == 1
    return found[0].replace(f'"{file}"', f'"{path}"').replace('"h5netcdf"', f'"{engine}"')


def run(lines, names):
    """What the lines print."""
    with contextlib.redirect_stdout(io.StringIO()) as written:
        exec(lines, names)
    return written.getvalue()


def test_every_block_of_python_is_run_by_a_test():
    """Here, each by the file that it reads."""
    assert [next(file for file in FILES if f'("{file}"' in block) for block in blocks("python")] == [TABLE, QUESTIONS, CAPTURED]


def answers(path, engine="h5netcdf"):
    """What each of the five prints writes, as text; a case's row by its name."""
    lines = block_about(QUESTIONS, path, engine)
    assert lines.count("\n") <= 11 and lines.count("print(") == 5
    names = {}
    texts = [run(part, names) for part in re.split(r"(?<=\n)(?=print)", lines)]
    names["data"].close()
    return texts[1:]


def row(text, name):
    """Words of the line that begins with a name."""
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [name])


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_lines_answer_on_a_failing_result(failing, engine):
    direct = harness.Result(failing)
    why, where, layers, changed, cost = answers(failing, engine)
    for name, reasons in zip(direct.cases, direct["fail_reasons"]):
        assert (name in why) == bool(reasons)
    first = direct["obs_position"] == 0
    for at, name in enumerate(direct.cases):
        layer, obs = np.unravel_index(np.argmax(direct["rel_l2"][at]), direct["rel_l2"][at].shape)
        words = row(where, name)
        assert str(layer) in words and str(obs) in words
        assert str(direct["bytes_read"][at].sum()) in row(cost, name)
        p95 = float(row(cost, name)[-1])
        assert np.isclose(p95, np.quantile(direct["rel_l2"][at][:, ~first], 0.95), rtol=1e-4)
    for layer, values in enumerate(direct["rel_l2"][0][:, ~first]):
        words = [float(word) for word in row(layers, str(layer))]
        assert np.allclose(words[1:], np.quantile(values, [0.5, 0.95]), rtol=1e-3, atol=1e-7)
    assert all(key in changed for key in harness.SEED)


def test_lines_answer_when_nothing_fails(gemma):
    why, *_ = answers(gemma)
    assert "Series([]" in why


def test_changed_predictions_are_named(gemma, tmp_path):
    path = tmp_path / "changed.h5"
    path.write_bytes(gemma.read_bytes())
    with edit(path) as file:
        file["top1_match"][1, 2] = 0
        file["top1_text"][1, 2] = "other"
    _, _, _, changed, _ = answers(path)
    assert [row(changed, name)[1:] for name in harness.Result(path).cases] == [[], ["other"], []]


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_lines_on_a_sweep_sort_what_passes(gemma, failing, tmp_path, engine):
    for name, path in (("passing", gemma), ("failing", failing)):
        (tmp_path / f"{name}.h5").write_bytes(path.read_bytes())
    report("collect", tmp_path, "-o", tmp_path / "sweep.h5")
    lines = run(block_about(TABLE, tmp_path / "sweep.h5", engine), names := {}).splitlines()[1:]
    rows = [line.split() for line in lines if not line.startswith("row")]
    result = harness.Result(gemma)
    bytes_read = [result["bytes_read"][at].sum() for at in range(len(result.cases))]
    assert [words[1] for words in rows] == [result.cases[at] for at in np.argsort(bytes_read, kind="stable")]
    assert [int(words[3]) for words in rows] == sorted(bytes_read)
    assert all(np.isclose(float(words[2]), result.case(words[1], "max_rel_l2").max(), rtol=1e-4) for words in rows)
    assert set(names["table"]["case"]) >= set(harness.Result(failing).cases)


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_lines_on_captures_give_the_difference_that_was_measured(shop, engine):
    job = shop.job(shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")},
                   captures={"tensors": ["y_ref", "y_walk"]})
    job.run()
    shown = run(block_about(CAPTURED, job.result_path, engine), names := {})
    names["kept"].close()
    values = [float(word) for word in re.findall(r"\d\.\d+(?:e[-+]\d+)?", shown.split("Coordinates")[0])]
    l2 = harness.Result(job.result_path)["l2"][0, 3]
    assert len(values) == len(l2)
    np.testing.assert_allclose(values, l2, rtol=1e-4)  # as printed


def test_commands_of_the_readme_are_understood():
    commands = [shlex.split(line) for line in "".join(blocks("sh")).splitlines()]
    assert {words[1] for words in commands} == {"report", "plot", "index"}
    for words in commands:
        assert words[0] == "analysis/walkaudit-report"
        cli.build_parser().parse_args(words[1:])


def test_every_verb_is_listed():
    for name in cli.VERBS:
        assert re.search(rf"^\| `{name} ", README.read_text(), re.MULTILINE), name


def test_the_baselines_of_the_document_are_those_of_the_committed_results():
    spec = importlib.util.spec_from_file_location("summarise", ROOT / "jobs" / "baselines" / "summarise.py")
    summarise = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(summarise)
    text = (ROOT / "doc" / "baselines.md").read_text()
    for name, least in (("smollm2", 18), ("gemma3-270m", 18)):
        report = json.loads((ROOT / "jobs" / "baselines" / "results" / f"{name}.json").read_text())
        assert f"{summarise.table(report)}\n\n" in text, name
        assert f"{report['size']['observations']:,} positions, {report['size']['layers']} layers" in text
        assert report["size"]["observations"] >= 2000 and len(report["cases"]) == least and report["job"]["requantised"]
        by_name = {case["name"]: case for case in report["cases"]}
        assert {case["vindex"] for case in report["cases"]} == {"f32", "f16", "q4_0", "q4k", "q4k-down4", "fp4a", "fp4b", "fp4c"}
        for left_out in set(by_name) - set(summarise.SHOWN):  # baselines.md: equal bit for bit to one that is shown
            twin = {"full_mmap": "sparse", "sparse": "fp4_storage"}.get(by_name[left_out]["path"])
            shown = by_name[f"{by_name[left_out]['vindex']}:{twin}" if twin else "f32:exact"]
            for part in ("extremes", "rates", "next_token", "encoding"):
                assert by_name[left_out][part] == shown[part], (left_out, part)

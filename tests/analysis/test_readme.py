"""The README's lines of xarray answer their five questions, and its commands are commands."""
import contextlib
import io
import pathlib
import re
import shlex

import h5py
import numpy as np
import pytest

import harness
from walkaudit_report import cli

README = pathlib.Path(__file__).resolve().parents[2] / "analysis" / "README.md"
PATH = "results/demo-smollm2.h5"


def block(kind):
    found = re.search(rf"```{kind}\n(.*?)```", README.read_text(), re.DOTALL)
    return found.group(1)


def answers(path, engine="h5netcdf"):
    """What each of the five prints writes, as text; a case's row by its name."""
    lines = block("python")
    assert lines.count("\n") <= 11 and lines.count("print(") == 5 and lines.count(PATH) == 1
    names, texts = {}, []
    for part in re.split(r"(?<=\n)(?=print)", lines.replace(PATH, str(path)).replace('"h5netcdf"', f'"{engine}"')):
        with contextlib.redirect_stdout(io.StringIO()) as written:
            exec(part, names)
        texts.append(written.getvalue())
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
    with h5py.File(path, "r+") as file:
        file["top1_match"][1, 2] = 0
        file["top1_text"][1, 2] = "other"
    _, _, _, changed, _ = answers(path)
    assert [row(changed, name)[1:] for name in harness.Result(path).cases] == [[], ["other"], []]


def test_commands_of_the_readme_are_understood():
    commands = [shlex.split(line) for line in block("sh").splitlines()]
    assert {words[1] for words in commands} == {"report", "plot", "index"}
    for words in commands:
        assert words[0] == "analysis/walkaudit-report"
        cli.build_parser().parse_args(words[1:])


def test_every_verb_is_listed():
    for name in cli.VERBS:
        assert re.search(rf"^\| `{name} ", README.read_text(), re.MULTILINE), name

"""What all verbs share: help, progress on a terminal and nowhere else. The script is started as a user starts it."""
import functools
import os
import pty
import re
import subprocess

import pytest

import command
from command import LIMIT, SCRIPT, SOURCE, one_line
from walkaudit_report import cli

report = functools.partial(command.report, forks=False)


def on_a_terminal(*words):
    """What the command writes to a terminal on stderr."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen([str(SCRIPT), *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs,
                             env=dict(os.environ, LC_ALL="C.UTF-8"))
    os.close(theirs)
    written = b""
    while True:
        try:
            written += os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert child.wait(LIMIT) == 0
    return written.decode()


@pytest.mark.parametrize("words, steps", [
    (("report", "RESULT", "-o", "OUT", "--no-plots"), 15), (("report", "--compat", "larql", "RESULT", "-o", "OUT"), 3),
    (("worst", "RESULT"), 3), (("diff", "RESULT", "RESULT"), 3), (("collect", "FOLDER", "-o", "OUT/sweep.h5"), 1),
    (("index", "FOLDER", "-o", "OUT"), 1)])
def test_a_terminal_shows_a_bar_that_goes_away(gemma, tmp_path, words, steps):
    places = {"RESULT": str(gemma), "FOLDER": str(gemma.parent), "OUT": str(tmp_path)}
    written = on_a_terminal(*(re.sub("RESULT|FOLDER|OUT", lambda found: places[found[0]], word) for word in words))
    bars = re.findall(r"\r\x1b\[K(\w+) (█*)(·*) (\d+)/(\d+) ", written)
    assert [int(done) for *_, done, _ in bars[:steps]] == list(range(1, steps + 1))
    assert {int(total) for *_, total in bars[:steps]} == {steps}
    assert all(len(full) + len(rest) == 24 for _, full, rest, _, _ in bars) and len(bars[steps - 1][1]) == 24
    assert "\r\x1b[K" in written[written.rindex(f"{steps}/{steps}"):]  # the last thing it does is to clear the line


@pytest.mark.parametrize("words, answers", [
    (("report", "RESULT", "-o", "OUT", "--no-plots"), False), (("report", "--compat", "larql", "RESULT", "-o", "OUT"), False),
    (("plot", "RESULT", "-o", "OUT", "--maps", "1"), False), (("collect", "FOLDER", "-o", "OUT/sweep.h5"), False),
    (("index", "FOLDER", "-o", "OUT"), False), (("worst", "RESULT"), True), (("diff", "RESULT", "RESULT"), True)])
def test_a_quiet_verb_prints_what_was_asked_for_only(gemma, tmp_path, words, answers):
    places = {"RESULT": str(gemma), "FOLDER": str(gemma.parent), "OUT": str(tmp_path)}
    words = [re.sub("RESULT|FOLDER|OUT", lambda found: places[found[0]], word) for word in words]
    loud, quiet = report(*words), report(*words, "--quiet")
    assert quiet.stderr == "" and loud.stdout
    assert quiet.stdout == (loud.stdout if answers else "")
    assert list(tmp_path.iterdir()) or answers
    assert on_a_terminal(*words, "-q") == ""


def test_there_is_no_bar_elsewhere(gemma, tmp_path):
    assert report("report", gemma, "-o", tmp_path, "--no-plots").stderr == ""


@pytest.mark.parametrize("verb", ["", *cli.VERBS])
def test_help_of_every_verb(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        cli.main([*([verb] if verb else []), "--help"], SOURCE)
    written = capsys.readouterr()
    assert end.value.code == 0 and not written.err
    assert written.out.startswith(f"usage: walkaudit-report{' ' + verb if verb else ''} ")
    assert all(len(line) <= 80 for line in written.out.splitlines()), written.out
    assert all(name in written.out for name in (cli.VERBS if not verb else ["--help"]))


@pytest.mark.parametrize("extra", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
                                   {"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}])
@pytest.mark.parametrize("words", [["worst"], ["worst", "--by", "cos"], ["diff"]])
def test_output_that_is_not_utf8_is_escaped(gemma, words, extra):
    """A traceback would end with 1, which of `diff` means "worse"."""
    paths = [gemma, gemma] if words == ["diff"] else [gemma]
    environment = {"LC_ALL": "C.UTF-8", **extra}
    done = subprocess.run([str(SCRIPT), words[0], *map(str, paths), *words[1:]], capture_output=True, check=False, timeout=LIMIT,
                          env=dict(os.environ, **environment), stdin=subprocess.DEVNULL)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    assert words == ["diff"] or b"\\u03b7" in done.stdout


def test_verbs_that_draw_nothing_need_no_matplotlib(gemma, tmp_path):
    """Half of the time that most of them take would be its start; one that draws says in a line what is missing."""
    (tmp_path / "matplotlib.py").write_text("raise ImportError('none here', name='matplotlib')\n")
    report("worst", gemma, PYTHONPATH=str(tmp_path))
    report("report", gemma, "-o", tmp_path / "out", PYTHONPATH=str(tmp_path))
    line = one_line(report("plot", gemma, "-o", tmp_path / "out", expect=3, PYTHONPATH=str(tmp_path)))
    assert "the Python package 'matplotlib' is missing" in line


def test_an_answer_that_cannot_be_written_is_one_line(gemma):
    with open("/dev/full", "w") as full:
        done = subprocess.run([str(SCRIPT), "worst", str(gemma)], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, text=True,
                              timeout=LIMIT)
    assert (done.returncode, done.stderr) == (3, "walkaudit-report: 'standard output': cannot read or write; No space left on device\n")
